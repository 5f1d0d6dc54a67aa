//! What Python gives as input, as the engine takes it.

use bertology::model::{Sequence, Target};
use bertology::{Encoding, Error, LoadedModel};
use pyo3::prelude::*;

/// A text, a pair of texts, or ready token ids.
#[derive(FromPyObject)]
pub(crate) enum Given {
    Text(String),
    Pair(String, String),
    Ids(Vec<u32>),
}

/// A sequence, and what the tokenizer knows of it; nothing of ready ids.
pub(crate) struct Prepared {
    pub(crate) sequence: Sequence,
    pub(crate) encoding: Option<Encoding>,
}

impl Given {
    /// The tokens. With a `max_length` texts are cut to it, the longer of a pair first; without one a text that is too
    /// long is an error.
    pub(crate) fn prepare(
        &self,
        model: &LoadedModel,
        max_length: Option<usize>,
    ) -> Result<Prepared, Error> {
        let encode = |text: &str, pair: Option<&str>| match max_length {
            Some(_) => model.encode(text, pair, max_length),
            None => Ok(model.tokenizer()?.encode(text, pair, None)?),
        };
        let encoding = match self {
            Self::Text(text) => encode(text, None)?,
            Self::Pair(first, second) => encode(first, Some(second))?,
            Self::Ids(ids) => {
                return Ok(Prepared {
                    sequence: Sequence::new(ids.clone()),
                    encoding: None,
                });
            }
        };
        Ok(Prepared {
            sequence: LoadedModel::sequence(encoding.clone()),
            encoding: Some(encoding),
        })
    }
}

/// What a sequence should have given.
#[derive(FromPyObject)]
pub(crate) enum Aim {
    Label(usize),
    Value(f64),
    Labels(Vec<bool>),
    /// Of each position, with nothing where it does not count.
    Tokens(Vec<Option<u32>>),
    /// A kind by name, and its number: `("logit", 1)`.
    Named(String, usize),
    /// `"next"`: the text itself.
    Word(String),
}

impl Aim {
    pub(crate) fn target(
        &self,
        model: &LoadedModel,
        sequence: &Sequence,
    ) -> Result<Target, String> {
        use bertology::checkpoint::TaskHead;
        let head = &model.architecture().head;
        Ok(match self {
            Self::Label(class) => match head {
                TaskHead::NextSentence => Target::NextSentence(*class),
                TaskHead::SequenceClassification {
                    problem: bertology::checkpoint::Problem::Regression,
                    ..
                } => Target::Value(*class as f64),
                _ => Target::Label(*class),
            },
            Self::Value(value) => Target::Value(*value),
            Self::Labels(labels) => Target::Labels(labels.clone()),
            Self::Tokens(tokens) => match head.token_scores() {
                Some(_) => Target::TokenLabels(tokens.clone()),
                None => Target::Tokens(tokens.clone()),
            },
            Self::Named(kind, at) if kind == "logit" => Target::Logit(*at),
            Self::Word(word) if word == "next" => Target::next_tokens(&sequence.ids),
            Self::Named(word, _) | Self::Word(word) => {
                return Err(format!(
                    "{word:?} is no target; give a class, a number, tokens or labels of every position, \
                     (\"logit\", class), or \"next\" for language models"
                ));
            }
        })
    }
}
