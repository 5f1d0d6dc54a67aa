//! SVG as text. Everything that comes from outside is escaped here.

use std::fmt::Write;

use super::palette::Paint;
use crate::page::escape_text;

/// The font of figures: what a paper's figures are set in.
pub(crate) const FONT: &str = "Helvetica Neue, Helvetica, Arial, DejaVu Sans, sans-serif";

/// How a shape looks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Style {
    pub(crate) fill: Option<Paint>,
    pub(crate) stroke: Option<(Paint, f64)>,
    pub(crate) dash: Option<&'static str>,
    pub(crate) opacity: Option<f64>,
}

impl Style {
    pub(crate) fn fill(paint: Paint) -> Self {
        Self {
            fill: Some(paint),
            ..Self::default()
        }
    }

    pub(crate) fn stroke(paint: Paint, width: f64) -> Self {
        Self {
            stroke: Some((paint, width)),
            ..Self::default()
        }
    }

    pub(crate) fn outlined(self, paint: Paint, width: f64) -> Self {
        Self {
            stroke: Some((paint, width)),
            ..self
        }
    }

    pub(crate) fn dashed(self, dash: &'static str) -> Self {
        Self {
            dash: (!dash.is_empty()).then_some(dash),
            ..self
        }
    }

    pub(crate) fn faint(self, opacity: f64) -> Self {
        Self {
            opacity: Some(opacity),
            ..self
        }
    }
}

/// A shape that stands for something: what is read out at it, and its row of the figure's table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mark {
    /// A sentence with the numbers.
    pub(crate) says: String,
    /// A line of CSV.
    pub(crate) row: String,
    /// The head, so that a page can show it in all figures.
    pub(crate) head: Option<(usize, usize)>,
}

/// Where a text begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A drawing that grows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Svg {
    pub(crate) width: f64,
    pub(crate) height: f64,
    body: String,
}

impl Svg {
    pub(crate) fn new(width: f64, height: f64) -> Self {
        Self {
            width,
            height,
            body: String::new(),
        }
    }

    pub(crate) fn rect(&mut self, place: [f64; 4], radius: f64, style: Style, mark: Option<&Mark>) {
        let [x, y, width, height] = place;
        let mut attributes = vec![("x", x), ("y", y), ("width", width), ("height", height)];
        if radius > 0.0 {
            attributes.push(("rx", radius));
        }
        self.shape("rect", &attributes, None, style, mark);
    }

    pub(crate) fn circle(&mut self, at: [f64; 2], radius: f64, style: Style, mark: Option<&Mark>) {
        let attributes = [("cx", at[0]), ("cy", at[1]), ("r", radius)];
        self.shape("circle", &attributes, None, style, mark);
    }

    pub(crate) fn line(&mut self, from: [f64; 2], to: [f64; 2], style: Style) {
        let attributes = [
            ("x1", from[0]),
            ("y1", from[1]),
            ("x2", to[0]),
            ("y2", to[1]),
        ];
        self.shape("line", &attributes, None, style, None);
    }

    pub(crate) fn path(&mut self, path: &str, style: Style, mark: Option<&Mark>) {
        self.shape("path", &[], Some(path), style, mark);
    }

    fn shape(
        &mut self,
        name: &str,
        attributes: &[(&str, f64)],
        path: Option<&str>,
        style: Style,
        mark: Option<&Mark>,
    ) {
        let body = &mut self.body;
        let _ = write!(body, "<{name}");
        if let Some(path) = path {
            let _ = write!(body, " d=\"{path}\"");
        }
        for (key, value) in attributes {
            let _ = write!(body, " {key}=\"{}\"", number(*value));
        }
        let mut classes = Vec::new();
        classes.extend(mark.map(|_| "mark".to_owned()));
        match style.fill {
            Some(paint) => {
                let _ = write!(body, " fill=\"{}\"", paint.hex());
                classes.push(format!("f-{}", paint.class()));
            }
            None => body.push_str(" fill=\"none\""),
        }
        if let Some((paint, width)) = style.stroke {
            let (hex, width) = (paint.hex(), number(width));
            let _ = write!(body, " stroke=\"{hex}\" stroke-width=\"{width}\"");
            classes.push(format!("s-{}", paint.class()));
        }
        if let Some(dash) = style.dash {
            let _ = write!(body, " stroke-dasharray=\"{dash}\"");
        }
        if let Some(opacity) = style.opacity {
            let _ = write!(body, " opacity=\"{}\"", number(opacity));
        }
        let _ = write!(body, " class=\"{}\"", classes.join(" "));
        let Some(mark) = mark else {
            body.push_str("/>");
            return;
        };
        if let Some((layer, head)) = mark.head {
            let _ = write!(body, " data-head=\"{layer}.{head}\"");
        }
        body.push_str(" data-row=\"");
        escape_text(body, &mark.row);
        body.push_str("\"><title>");
        escape_text(body, &mark.says);
        let _ = write!(body, "</title></{name}>");
    }

    pub(crate) fn text(
        &mut self,
        at: [f64; 2],
        size: f64,
        paint: Paint,
        anchor: Anchor,
        text: &str,
    ) {
        self.turned(at, size, paint, anchor, 0.0, text);
    }

    /// Text turned by so many degrees about where it begins.
    pub(crate) fn turned(
        &mut self,
        at: [f64; 2],
        size: f64,
        paint: Paint,
        anchor: Anchor,
        degrees: f64,
        text: &str,
    ) {
        let [x, y] = at.map(number);
        let body = &mut self.body;
        let _ = write!(
            body,
            "<text x=\"{x}\" y=\"{y}\" font-size=\"{}\" fill=\"{}\" class=\"f-{}\"",
            number(size),
            paint.hex(),
            paint.class()
        );
        match anchor {
            Anchor::Start => {}
            Anchor::Middle => body.push_str(" text-anchor=\"middle\""),
            Anchor::End => body.push_str(" text-anchor=\"end\""),
        }
        if degrees != 0.0 {
            let _ = write!(body, " transform=\"rotate({} {x} {y})\"", number(degrees));
        }
        body.push('>');
        escape_text(body, text);
        body.push_str("</text>");
    }

    /// The element, with a name for those who cannot see it. `alone` gives what a file needs besides.
    pub(crate) fn render(&self, title: &str, alone: bool) -> String {
        let (width, height) = (number(self.width), number(self.height));
        let mut text = String::with_capacity(self.body.len() + 400);
        let _ = write!(
            text,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" font-family=\"{FONT}\" role=\"img\" class=\"figure\"><title>"
        );
        escape_text(&mut text, title);
        text.push_str("</title>");
        if alone {
            let hex = Paint::Surface.hex();
            let _ = write!(
                text,
                "<rect width=\"{width}\" height=\"{height}\" fill=\"{hex}\"/>"
            );
        }
        text.push_str(&self.body);
        text.push_str("</svg>");
        if alone {
            text.push('\n');
        }
        text
    }
}

/// A coordinate: two decimals are finer than any printer.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".into()
    } else {
        text.into()
    }
}

/// The outline of one of seven shapes about a point, so that kinds can be told apart without colour.
pub(crate) fn symbol(kind: usize, [x, y]: [f64; 2], radius: f64) -> String {
    let polygon = |corners: &[(f64, f64)]| {
        let mut path = String::new();
        for (at, (dx, dy)) in corners.iter().enumerate() {
            let letter = if at == 0 { 'M' } else { 'L' };
            let (x, y) = (number(x + dx * radius), number(y + dy * radius));
            let _ = write!(path, "{letter}{x} {y}");
        }
        path.push('Z');
        path
    };
    // The colours come round after eight, the shapes after seven: 56 pairs.
    match kind % 7 {
        0 => {
            let (left, top, r) = (number(x - radius), number(y), number(radius));
            let d = number(radius * 2.0);
            format!("M{left} {top}a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 -{d} 0Z")
        }
        1 => polygon(&[(-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)]),
        2 => polygon(&[(0.0, -1.15), (1.1, 0.85), (-1.1, 0.85)]),
        3 => polygon(&[(0.0, -1.25), (1.25, 0.0), (0.0, 1.25), (-1.25, 0.0)]),
        4 => polygon(&[(0.0, 1.15), (1.1, -0.85), (-1.1, -0.85)]),
        5 => polygon(&[
            (-0.4, -1.15),
            (0.4, -1.15),
            (0.4, -0.4),
            (1.15, -0.4),
            (1.15, 0.4),
            (0.4, 0.4),
            (0.4, 1.15),
            (-0.4, 1.15),
            (-0.4, 0.4),
            (-1.15, 0.4),
            (-1.15, -0.4),
            (-0.4, -0.4),
        ]),
        _ => polygon(&[
            (-0.6, -1.04),
            (0.6, -1.04),
            (1.2, 0.0),
            (0.6, 1.04),
            (-0.6, 1.04),
            (-1.2, 0.0),
        ]),
    }
}

/// Strokes that can be told apart without colour.
pub(crate) fn dash(kind: usize) -> &'static str {
    ["", "6 3", "2 3", "9 3 2 3", "12 4", "4 2 1 2"][kind % 6]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_and_coordinates_are_short() {
        let mut svg = Svg::new(100.0, 50.5);
        let mark = Mark {
            says: "<b> & \"c\"".into(),
            row: "\"x\",1".into(),
            head: Some((3, 5)),
        };
        svg.rect(
            [1.0, 2.345_6, -0.001, 4.10],
            0.0,
            Style::fill(Paint::Warm),
            Some(&mark),
        );
        svg.text([0.0, 0.0], 11.0, Paint::Ink, Anchor::End, "</svg>");
        let text = svg.render("<title>", true);
        assert!(text.contains("<title>&lt;title&gt;</title>"), "{text}");
        assert!(
            text.contains("<title>&lt;b&gt; &amp; &quot;c&quot;</title></rect>"),
            "{text}"
        );
        assert!(
            text.contains("y=\"2.35\" width=\"0\" height=\"4.1\""),
            "{text}"
        );
        assert!(
            text.contains("data-head=\"3.5\" data-row=\"&quot;x&quot;,1\""),
            "{text}"
        );
        assert_eq!(text.matches("</svg>").count(), 1);
    }
}
