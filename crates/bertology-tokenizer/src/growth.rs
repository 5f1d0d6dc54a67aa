//! How much longer a normalizer may make a text.
//!
//! A handful of replacements, each of which doubles the text, would make a terabyte of a line. So what each
//! step may add is bounded when the files are read, and where the product of all steps is large the steps are
//! gone through one by one before the library goes through them all.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokenizers::normalizers::precompiled::Precompiled;
use tokenizers::normalizers::replace::Replace;
use tokenizers::{NormalizedString, Normalizer, NormalizerWrapper};

use crate::patterns::Pattern;

/// Bytes that one step may put in the place of what it finds.
const MOST_CONTENT: usize = 256;
/// Bytes to which a text may grow without being looked at; the library keeps 17 for each.
const UNSEEN: f64 = 1_048_576.0;
/// How many times longer than before a text may become; NFKC, the largest of honest ones, makes 18 of some.
const MOST_TIMES: usize = 64;
/// The same, of a text so short that it does not matter.
const SHORT: usize = 1 << 16;

/// A text is looked at in pieces of this many bytes where a map of characters might make much of it.
const PIECE: usize = 4096;

/// The steps of a normalizer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Growth {
    steps: Vec<Step>,
    /// How many times longer all steps together may make a text.
    times: f64,
}

/// A step, and what is known of it before it sees a text.
#[derive(Debug, Clone)]
struct Step {
    does: NormalizerWrapper,
    /// What it puts something in the place of.
    finds: Option<Pattern>,
    times: f64,
}

impl Growth {
    /// What is wrong with a step of the normalizer, if something is.
    pub(crate) fn of(normalizer: Option<&NormalizerWrapper>) -> Result<Self, String> {
        let mut all = Vec::new();
        if let Some(normalizer) = normalizer {
            flatten(normalizer, &mut all);
        }
        let steps: Vec<Step> = all.into_iter().map(Step::of).collect::<Result<_, _>>()?;
        let times = steps.iter().map(|step| step.times).product();
        Ok(Self { steps, times })
    }

    /// Refuses a text that the normalizer would make too long; gives the text's normal form where it was made.
    pub(crate) fn check(&self, text: &str) -> Result<(), String> {
        let quick = |step: &Step| step.finds.as_ref().is_none_or(Pattern::is_quick);
        if text.len() as f64 * self.times <= UNSEEN && self.steps.iter().all(quick) {
            return Ok(());
        }
        self.normal(text).map(drop)
    }

    /// A text after all steps.
    pub(crate) fn normal(&self, text: &str) -> Result<String, String> {
        let most = text.len().saturating_mul(MOST_TIMES).max(SHORT);
        let mut normalized = NormalizedString::from(text);
        let small = |length: usize| {
            if length <= most {
                return Ok(());
            }
            Err(format!(
                "the normalizer of tokenizer.json makes {length} bytes and more of {}",
                text.len()
            ))
        };
        for step in &self.steps {
            step.foresee(normalized.get(), most).and_then(small)?;
            let done = step.does.normalize(&mut normalized);
            done.map_err(|error| error.to_string())?;
            small(normalized.len())?;
        }
        Ok(normalized.get().to_owned())
    }
}

impl Step {
    fn of(does: NormalizerWrapper) -> Result<Self, String> {
        let finds = match &does {
            NormalizerWrapper::Replace(replace) => Some(Pattern::new(&searched(replace)?)?),
            _ => None,
        };
        let times = times(&does)?;
        Ok(Self { does, finds, times })
    }

    /// Bytes of the text after this step, as far as they can be told without it; no more than `most` are counted.
    fn foresee(&self, text: &str, most: usize) -> Result<usize, String> {
        match (&self.does, &self.finds) {
            (NormalizerWrapper::Replace(replace), Some(pattern)) => {
                let found = pattern.find_in(text)?;
                let put = found.matches.saturating_mul(replace.content.len());
                Ok((text.len() - found.bytes).saturating_add(put))
            }
            (NormalizerWrapper::Precompiled(map), _) => Ok(mapped(map, text, most)),
            _ => Ok(text.len()),
        }
    }
}

/// Bytes that a map of characters makes of a text, counted in pieces until there are too many.
fn mapped(map: &Precompiled, text: &str, most: usize) -> usize {
    let (mut sum, mut rest) = (0, text);
    while !rest.is_empty() && sum <= most {
        let (piece, behind) = rest.split_at(rest.floor_char_boundary(PIECE));
        sum += map.normalize_string(piece).len();
        rest = behind;
    }
    sum
}

/// The regular expression that a replacement looks for.
fn searched(replace: &Replace) -> Result<String, String> {
    let written = serde_json::to_value(replace).map_err(|error| error.to_string())?;
    let pattern = &written["pattern"];
    let literal = pattern["String"]
        .as_str()
        .map(|text| fancy_regex::escape(text).into_owned());
    let regex = pattern["Regex"].as_str().map(str::to_owned);
    literal
        .or(regex)
        .ok_or_else(|| "its normalizer replaces nothing".to_owned())
}

/// Refuses a compiled map of characters that claims to be longer than it is: the library would reserve what it claims. Of
/// the normalizer as it is written, before the library reads it.
pub(crate) fn claims(normalizer: &Value) -> Result<(), String> {
    if let Some(steps) = normalizer.get("normalizers").and_then(Value::as_array) {
        return steps.iter().try_for_each(claims);
    }
    let Some(map) = normalizer
        .get("precompiled_charsmap")
        .and_then(Value::as_str)
    else {
        return Ok(());
    };
    // Four bytes of them are the length in bytes of what follows.
    let begin = map.get(..8).and_then(|begin| STANDARD.decode(begin).ok());
    let length = begin
        .as_deref()
        .and_then(<[u8]>::first_chunk)
        .map(|four| u32::from_le_bytes(*four));
    match length {
        Some(length) if length as usize <= map.len() => Ok(()),
        Some(length) => Err(format!(
            "its normalizer's map of characters claims {length} bytes, and the file has {}",
            map.len()
        )),
        None => Err("its normalizer's map of characters is no map".to_owned()),
    }
}

/// The bytes of the longest text that a compiled map puts in the place of a character.
fn longest(map: &Precompiled) -> Result<usize, String> {
    let wrong = || "its normalizer's map of characters is no map".to_owned();
    let written = serde_json::to_value(map).map_err(|error| error.to_string())?;
    let written = written["precompiled_charsmap"].as_str().ok_or_else(wrong)?;
    let bytes = STANDARD.decode(written).map_err(|_| wrong())?;
    // The length of the tree, the tree, and all texts, each with a zero behind it.
    let tree = bytes
        .first_chunk()
        .map(|four| u32::from_le_bytes(*four))
        .ok_or_else(wrong)?;
    let texts = bytes.get(4 + tree as usize / 4 * 4..).ok_or_else(wrong)?;
    Ok(texts
        .split(|byte| *byte == 0)
        .map(<[u8]>::len)
        .max()
        .unwrap_or(0))
}

fn flatten(normalizer: &NormalizerWrapper, steps: &mut Vec<NormalizerWrapper>) {
    match normalizer {
        NormalizerWrapper::Sequence(sequence) => {
            for inner in sequence.as_ref() {
                flatten(inner, steps);
            }
        }
        step => steps.push(step.clone()),
    }
}

/// How many times longer a step may make a text, at most.
fn times(step: &NormalizerWrapper) -> Result<f64, String> {
    match step {
        NormalizerWrapper::Replace(replace) => {
            let length = replace.content.len();
            if length > MOST_CONTENT {
                return Err(format!(
                    "its normalizer puts {length} bytes in the place of what it finds; up to {MOST_CONTENT} are \
                     accepted"
                ));
            }
            // What it finds has a byte at least, or none where it matches between characters.
            let between = inserts(replace)?;
            Ok(length.max(1) as f64 + if between { length as f64 } else { 0.0 })
        }
        NormalizerWrapper::Prepend(prepend) if prepend.prepend.len() > MOST_CONTENT => {
            Err(format!(
                "its normalizer puts {} bytes before every text; up to {MOST_CONTENT} are accepted",
                prepend.prepend.len()
            ))
        }
        NormalizerWrapper::ByteLevel(_) => Ok(2.0),
        NormalizerWrapper::Precompiled(map) => match longest(map)? {
            length if length > MOST_CONTENT => Err(format!(
                "its normalizer's map puts {length} bytes in the place of a character; up to {MOST_CONTENT} are accepted"
            )),
            length => Ok(length.max(1) as f64),
        },
        NormalizerWrapper::NFKC(_) | NormalizerWrapper::NFKD(_) | NormalizerWrapper::Nmt(_) => {
            Ok(18.0)
        }
        NormalizerWrapper::NFC(_)
        | NormalizerWrapper::NFD(_)
        | NormalizerWrapper::BertNormalizer(_)
        | NormalizerWrapper::Lowercase(_) => Ok(3.0),
        _ => Ok(1.0),
    }
}

/// Whether the pattern matches where there is nothing: tried on characters that no pattern names.
fn inserts(replace: &Replace) -> Result<bool, String> {
    const NOBODYS: &str = "\u{10fffd}\u{10fffc}";
    let mut text = NormalizedString::from(NOBODYS);
    let done = replace.normalize(&mut text);
    done.map_err(|error| error.to_string())?;
    Ok(text.get().contains('\u{10fffd}') && text.get() != NOBODYS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn growth(steps: &serde_json::Value) -> Result<Growth, String> {
        let normalizer = serde_json::from_value(json!({"type": "Sequence", "normalizers": steps}));
        Growth::of(Some(&normalizer.expect("a normalizer")))
    }

    #[test]
    fn doubling_again_and_again_is_refused() {
        for step in [
            json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}),
            json!({"type": "Replace", "pattern": {"Regex": "."}, "content": "aa"}),
            json!({"type": "Replace", "pattern": {"Regex": "b*"}, "content": "a"}),
            json!({"type": "ByteLevel"}),
        ] {
            let growth = growth(&json!(vec![step.clone(); 60])).expect("each step alone is small");
            let said = growth.check("aéa").expect_err("it grows without end");
            assert!(said.contains("of 4"), "{step}: {said}");
            growth.check("").expect("nothing stays nothing, or nearly");
        }
        let long =
            json!([{"type": "Replace", "pattern": {"String": "a"}, "content": "a".repeat(300)}]);
        assert!(growth(&long).expect_err("too long").contains("300 bytes"));
    }

    #[test]
    fn honest_normalizers_are_not_gone_through_twice() {
        // Those of ALBERT, XLNet and XLM-RoBERTa.
        let steps = json!([
            {"type": "Replace", "pattern": {"String": "``"}, "content": "\""},
            {"type": "Replace", "pattern": {"String": "''"}, "content": "\""},
            {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ]);
        let growth = growth(&steps).expect("sound");
        assert!(growth.times < 200.0, "{}", growth.times);
        growth.check(&"ﷺ ".repeat(20_000)).expect("18 times longer");
        assert_eq!(growth.normal("A  É").expect("sound"), "a▁e");
    }
}
