//! What all pages share: a template with places to fill, a JSON document, and packed arrays.
//!
//! The template is a finished page but for its title and its data. The document goes into it as JSON in
//! which no character can end the element that holds it; arrays go as base64 of a raw deflate stream
//! (about a third of the size of the numbers as decimal text), and are unpacked by the page when it needs
//! them. Text reaches the page's reader only through the document, where scripts set it as text.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde::Serialize;

use crate::Error;

const TITLE: &str = "<!--bertology:title-->";
const BODY: &str = "<!--bertology:body-->";
const DATA: &str = "<!--bertology:data-->";

/// Bytes as they lie in a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed(String);

impl Packed {
    /// Compresses and encodes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        // Neither call can fail: a vector takes whatever is written.
        let packed = encoder
            .write_all(bytes)
            .and_then(|()| encoder.finish())
            .unwrap_or_default();
        Self(STANDARD.encode(packed))
    }

    /// Bytes that it takes in the file.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

/// A page being put together.
#[derive(Debug, Clone)]
pub struct Page {
    template: &'static str,
    title: String,
    document: String,
    arrays: Vec<(String, Packed)>,
    body: String,
}

impl Page {
    /// A page with its title and its document.
    ///
    /// # Errors
    /// A document that cannot be written as JSON.
    pub fn new(
        template: &'static str,
        title: &str,
        document: &impl Serialize,
    ) -> Result<Self, Error> {
        Ok(Self {
            template,
            title: title.to_owned(),
            document: serde_json::to_string(document)?,
            arrays: Vec::new(),
            body: String::new(),
        })
    }

    /// What a page shows before, and without, its script: markup in which all texts are escaped. For templates
    /// that have a place for it.
    #[must_use]
    pub(crate) fn body(mut self, markup: String) -> Self {
        self.body = markup;
        self
    }

    /// Adds an array under a name of letters, digits, dots and dashes.
    #[must_use]
    pub fn array(mut self, name: impl Into<String>, array: Packed) -> Self {
        self.arrays.push((name.into(), array));
        self
    }

    /// The text of the file.
    #[must_use]
    pub fn render(&self) -> String {
        let arrays: usize = self.arrays.iter().map(|(_, array)| array.size() + 80).sum();
        let mut html = String::with_capacity(
            self.template.len() + self.body.len() + self.document.len() * 2 + arrays,
        );
        let (head, rest) = cut(self.template, TITLE);
        let (before, tail) = cut(rest, DATA);
        html.push_str(head);
        escape_text(&mut html, &self.title);
        match before.split_once(BODY) {
            Some((above, below)) => {
                html.push_str(above);
                html.push_str(&self.body);
                html.push_str(below);
            }
            None => html.push_str(before),
        }
        html.push_str("<script type=\"application/json\" id=\"data\">");
        escape_json(&mut html, &self.document);
        html.push_str("</script>\n");
        for (name, Packed(array)) in &self.arrays {
            html.push_str("<script type=\"application/octet-stream\" id=\"array-");
            escape_text(&mut html, name);
            html.push_str("\">");
            html.push_str(array);
            html.push_str("</script>\n");
        }
        html.push_str(tail);
        html
    }
}

/// What is before and behind a place of a template; all before it where the template lacks the place,
/// which a test of this crate refuses.
fn cut<'t>(template: &'t str, place: &str) -> (&'t str, &'t str) {
    template.split_once(place).unwrap_or((template, ""))
}

/// Characters that could be taken for markup become references.
pub(crate) fn escape_text(html: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
}

/// In JSON these characters stand inside strings only, where an escape means the same.
fn escape_json(html: &mut String, json: &str) {
    for character in json.chars() {
        match character {
            '<' => html.push_str("\\u003c"),
            '>' => html.push_str("\\u003e"),
            '&' => html.push_str("\\u0026"),
            '\u{2028}' => html.push_str("\\u2028"),
            '\u{2029}' => html.push_str("\\u2029"),
            other => html.push(other),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read;

    use flate2::read::DeflateDecoder;

    use super::*;

    const TEMPLATE: &str =
        "<title><!--bertology:title--></title><!--bertology:data--><script>run()</script>";

    #[test]
    fn markup_in_texts_stays_text() {
        let nasty = "</script><script>alert(1)</script><!-- & \u{2028} <!--bertology:data-->";
        let page = Page::new(TEMPLATE, nasty, &[nasty]).unwrap();
        let html = page.array("a", Packed::new(b"xyz")).render();
        assert_eq!(html.matches("<script").count(), 3);
        assert_eq!(html.matches("</script>").count(), 3);
        assert!(!html.contains("<!--"));
        let json = html.split("id=\"data\">").nth(1).unwrap();
        let json = json.split("</script>").next().unwrap();
        let back: Vec<String> = serde_json::from_str(json).unwrap();
        assert_eq!(back, [nasty]);
        assert!(html.starts_with("<title>&lt;/script&gt;&lt;script&gt;alert(1)"));
    }

    #[test]
    fn arrays_come_back() {
        let bytes: Vec<u8> = (0..5000_u32).map(|i| (i * i % 251) as u8).collect();
        let Packed(text) = Packed::new(&bytes);
        let packed = STANDARD.decode(text).unwrap();
        let mut back = Vec::new();
        DeflateDecoder::new(&packed[..])
            .read_to_end(&mut back)
            .unwrap();
        assert_eq!(back, bytes);
    }

    #[test]
    fn templates_have_both_places_once() {
        for template in [crate::viewer::TEMPLATE, crate::document::TEMPLATE] {
            assert_eq!(template.matches(TITLE).count(), 1);
            assert_eq!(template.matches(DATA).count(), 1);
            assert!(template.contains("default-src 'none'"));
            for outside in ["http://", "https://", "src=", "@import", "url(h"] {
                // The namespace of SVG is a name, not an address.
                let text = template.replace("http://www.w3.org/", "");
                assert!(!text.contains(outside), "{outside}");
            }
        }
    }
}
