//! Which tokens belong to which class.

use std::collections::BTreeMap;

use bertology_tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};

use crate::input::prepare::special;
use crate::{Error, LoadedModel};

/// The punctuation of Clark et al.
pub const PUNCTUATION: &str = ".,";

/// The classes of tokens of one model, by ids of its vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenClasses {
    /// The tokens that draw attention besides words.
    pub anchors: Anchors,
    /// Punctuation marks and the tokens that are one of them and nothing else.
    pub punctuation: BTreeMap<char, Vec<u32>>,
}

/// The tokens that draw attention whatever the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Anchors {
    /// Of models that see both sides: the token before a text and the one behind it.
    Special {
        /// `[CLS]` or `<s>`.
        cls: u32,
        /// `[SEP]` or `</s>`.
        sep: u32,
    },
    /// Of causal models: the first position, whatever token holds it.
    First,
}

impl TokenClasses {
    /// Finds the classes in a model's vocabulary. A punctuation mark stands for every token that spells it
    /// and nothing else: `.`, and with a mark of word starts or ends `Ġ.`, `▁.`, `.</w>`.
    ///
    /// `None` are the marks [`PUNCTUATION`]; of these some may have no token.
    ///
    /// # Errors
    /// No tokenizer, no beginning or end token in a model that sees both sides, a mark without a token.
    pub fn of_model(model: &LoadedModel, punctuation: Option<&str>) -> Result<Self, Error> {
        let tokenizer = model.tokenizer()?;
        let anchors = if model.architecture().causal {
            Anchors::First
        } else {
            let hint = "take a checkpoint with its tokenizer's special tokens";
            Anchors::Special {
                cls: special(
                    model.outline(),
                    tokenizer.cls_id(),
                    "beginning (`[CLS]`)",
                    hint,
                )?,
                sep: special(model.outline(), tokenizer.sep_id(), "end (`[SEP]`)", hint)?,
            }
        };
        let marks: BTreeMap<char, Vec<u32>> = punctuation
            .unwrap_or(PUNCTUATION)
            .chars()
            .map(|mark| (mark, spellings(tokenizer, mark)))
            .collect();
        if let (Some(_), None) = (punctuation, marks.keys().next()) {
            return Err(Error::Option {
                option: "the punctuation",
                value: "empty".to_owned(),
                reason: "give at least one mark",
            });
        }
        let missing = marks.iter().find(|(_, ids)| ids.is_empty());
        if let (Some(_), Some((mark, _))) = (punctuation, missing) {
            return Err(Error::Option {
                option: "a punctuation mark",
                value: format!("`{mark}`"),
                reason: "the vocabulary has no token that is this mark and nothing else; leave it out",
            });
        }
        Ok(Self {
            anchors,
            punctuation: marks,
        })
    }

    /// Punctuation marks for which the vocabulary has no token.
    pub fn missing(&self) -> impl Iterator<Item = char> + '_ {
        let empty = self.punctuation.iter().filter(|(_, ids)| ids.is_empty());
        empty.map(|(mark, _)| *mark)
    }

    /// Whether the model sees only what stands before.
    #[must_use]
    pub fn is_causal(&self) -> bool {
        self.anchors == Anchors::First
    }

    /// The tokens of a sequence by class.
    pub(super) fn places(&self, ids: &[u32]) -> Places {
        let of = |class: &dyn Fn(usize) -> bool| (0..ids.len()).filter(|at| class(*at)).collect();
        let (cls, sep) = match self.anchors {
            Anchors::Special { cls, sep } => (of(&|at| ids[at] == cls), of(&|at| ids[at] == sep)),
            Anchors::First => (of(&|at| at == 0), Vec::new()),
        };
        Places {
            tokens: ids.len(),
            causal: self.is_causal(),
            begin: cls,
            sep,
            punctuation: of(&|at| {
                self.punctuation
                    .values()
                    .any(|spellings| spellings.contains(&ids[at]))
            }),
        }
    }
}

/// Where the classes of a sequence are, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) tokens: usize,
    pub(super) causal: bool,
    /// `[CLS]`, or the first position.
    pub(super) begin: Vec<usize>,
    pub(super) sep: Vec<usize>,
    pub(super) punctuation: Vec<usize>,
}

/// All tokens that are this character, with or without a mark of word starts or ends.
fn spellings(tokenizer: &Tokenizer, mark: char) -> Vec<u32> {
    let plain = mark.to_string();
    let mut ids: Vec<u32> = [byte_level(&plain), plain]
        .iter()
        .flat_map(|text| {
            [
                text.clone(),
                format!("Ġ{text}"),
                format!("▁{text}"),
                format!("{text}</w>"),
            ]
        })
        .filter_map(|token| tokenizer.token_to_id(&token))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// How vocabularies of bytes (GPT-2, RoBERTa) write a text: printable bytes as themselves, the others as
/// the characters from U+0100 on, in order.
fn byte_level(text: &str) -> String {
    let printable = |byte: u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let written = |byte: u8| {
        if printable(byte) {
            return char::from(byte);
        }
        let before = (0..byte).filter(|other| !printable(*other)).count();
        u32::try_from(0x100 + before)
            .ok()
            .and_then(char::from_u32)
            .unwrap_or(char::REPLACEMENT_CHARACTER)
    };
    text.bytes().map(written).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `bytes_to_unicode` of GPT-2's encoder writes them.
    #[test]
    fn bytes_are_written_as_gpt2_writes_them() {
        assert_eq!(byte_level(".,!"), ".,!");
        assert_eq!(byte_level(" "), "Ġ");
        assert_eq!(byte_level("。"), "ãĢĤ");
        assert_eq!(byte_level("\u{ad}"), "ÂŃ");
    }

    #[test]
    fn classes_are_places_of_ids() {
        let classes = TokenClasses {
            anchors: Anchors::Special { cls: 1, sep: 2 },
            punctuation: [('.', vec![7, 8]), (',', vec![9])].into(),
        };
        let places = classes.places(&[1, 5, 8, 2, 9, 1, 2]);
        assert_eq!(places.begin, [0, 5]);
        assert_eq!(places.sep, [3, 6]);
        assert_eq!(places.punctuation, [2, 4]);
        let causal = TokenClasses {
            anchors: Anchors::First,
            ..classes
        };
        let places = causal.places(&[7, 1, 9]);
        assert_eq!((places.begin, places.sep), (vec![0], vec![]));
        assert_eq!(places.punctuation, [0, 2]);
    }
}
