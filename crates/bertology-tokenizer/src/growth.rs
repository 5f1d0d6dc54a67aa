//! How much longer a normalizer may make a text.
//!
//! A handful of replacements, each of which doubles the text, would make a terabyte of a line. So what each
//! step may add is bounded when the files are read, and where the product of all steps is large the steps are
//! gone through one by one before the library goes through them all.

use tokenizers::normalizers::replace::Replace;
use tokenizers::{NormalizedString, Normalizer, NormalizerWrapper};

/// Bytes that one step may put in the place of what it finds.
const MOST_CONTENT: usize = 256;
/// Bytes to which a text may grow without being looked at.
const UNSEEN: f64 = 67_108_864.0;
/// How many times longer than before a text may become; NFKC, the largest of honest ones, makes 18 of some.
const MOST_TIMES: usize = 64;
/// The same, of a text so short that it does not matter.
const SHORT: usize = 1 << 16;

/// The steps of a normalizer.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    steps: Vec<NormalizerWrapper>,
    /// How many times longer all steps together may make a text.
    times: f64,
}

impl Growth {
    /// What is wrong with a step of the normalizer, if something is.
    pub(crate) fn of(normalizer: Option<&NormalizerWrapper>) -> Result<Self, String> {
        let mut steps = Vec::new();
        if let Some(normalizer) = normalizer {
            flatten(normalizer, &mut steps);
        }
        let mut growth = Self { steps, times: 1.0 };
        for step in &growth.steps {
            growth.times *= times(step)?;
        }
        Ok(growth)
    }

    /// Refuses a text that the normalizer would make too long; gives the text's normal form where it was made.
    pub(crate) fn check(&self, text: &str) -> Result<(), String> {
        if text.len() as f64 * self.times <= UNSEEN {
            return Ok(());
        }
        self.normal(text).map(drop)
    }

    /// A text after all steps.
    pub(crate) fn normal(&self, text: &str) -> Result<String, String> {
        let most = text.len().saturating_mul(MOST_TIMES).max(SHORT);
        let mut normalized = NormalizedString::from(text);
        for step in &self.steps {
            let done = step.normalize(&mut normalized);
            done.map_err(|error| error.to_string())?;
            if normalized.len() > most {
                return Err(format!(
                    "the normalizer of tokenizer.json makes {} bytes and more of {}",
                    normalized.len(),
                    text.len()
                ));
            }
        }
        Ok(normalized.get().to_owned())
    }
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
        NormalizerWrapper::NFKC(_)
        | NormalizerWrapper::NFKD(_)
        | NormalizerWrapper::Nmt(_)
        | NormalizerWrapper::Precompiled(_) => Ok(18.0),
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
