//! What heads look at on the surface: neighbours, special tokens, punctuation, or everything alike; and how much
//! the loss depends on it (Clark et al. 2019, section 3).
//!
//! With `α[i,j]` the attention of query `i` to key `j` in a document of `n` tokens, per head:
//!
//! | key | sum | divided by: `paper` | `exact` |
//! | --- | --- | --- | --- |
//! | `self` | `Σ_i α[i,i]` | n | n |
//! | `next` | `Σ_i α[i,i+1]` | n | n − 1 |
//! | `previous` | `Σ_i α[i,i−1]` | n | n − 1 |
//! | `sep`, `cls`, `punct`, `first` | over all rows, to keys of the class | n | rows that see such a key |
//! | `sep_sep` | over the rows of `[SEP]`, to `[SEP]` | number of `[SEP]` | the same |
//! | `rest_sep` | over all other rows, to `[SEP]` | n − number of `[SEP]` | the same, if there is one |
//!
//! Models that see both sides have all but `first`; causal ones have `self`, `previous`, `first` (the first
//! position) and `punct`: `next` is 0 there, and nothing else draws attention as `[SEP]` does. The released code
//! divides `sep_sep` by 2 and `rest_sep` by n − 2, which is the same for its pairs of segments.
//!
//! Averages are over documents, each counting alike (as the paper's); `micro` averages over rows. A document
//! whose denominator is 0 takes no part.

mod average;
mod behaviour;
mod classes;
mod document;
mod lens;
mod state;

use serde::{Deserialize, Serialize};

pub use average::Average;
pub use behaviour::{Behaviour, Thresholds};
pub use classes::{Anchors, PUNCTUATION, TokenClasses};
pub use lens::{DocumentPatterns, PatternLens};
pub use state::{EntropyAverages, GradientAverages, Patterns, PatternsState};

/// Weight of the uniform distribution in the smoothed rows whose entropy the paper's code takes.
pub const PAPER_SMOOTHING: f64 = 0.0001;

/// What attention goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Key {
    /// The token itself.
    #[serde(rename = "self")]
    Itself,
    /// The token behind.
    #[serde(rename = "next")]
    Next,
    /// The token before.
    #[serde(rename = "previous")]
    Previous,
    /// Any `[SEP]` (`</s>`).
    #[serde(rename = "sep")]
    Sep,
    /// Any `[CLS]` (`<s>`).
    #[serde(rename = "cls")]
    Cls,
    /// The first position, whatever stands there.
    #[serde(rename = "first")]
    First,
    /// A punctuation mark.
    #[serde(rename = "punct")]
    Punctuation,
    /// Any `[SEP]`, from a `[SEP]`.
    #[serde(rename = "sep_sep")]
    SepToSep,
    /// Any `[SEP]`, from all other tokens.
    #[serde(rename = "rest_sep")]
    RestToSep,
}

const KEYS: [Key; 8] = [
    Key::Itself,
    Key::Next,
    Key::Previous,
    Key::Sep,
    Key::Cls,
    Key::Punctuation,
    Key::SepToSep,
    Key::RestToSep,
];
const CAUSAL_KEYS: [Key; 4] = [Key::Itself, Key::Previous, Key::First, Key::Punctuation];

impl Key {
    /// The keys of a model.
    #[must_use]
    pub fn of(causal: bool) -> &'static [Self] {
        if causal { &CAUSAL_KEYS } else { &KEYS }
    }

    /// Its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Itself => "self",
            Self::Next => "next",
            Self::Previous => "previous",
            Self::Sep => "sep",
            Self::Cls => "cls",
            Self::First => "first",
            Self::Punctuation => "punct",
            Self::SepToSep => "sep_sep",
            Self::RestToSep => "rest_sep",
        }
    }
}

/// The classes of keys that gradients are averaged over: every token belongs to the first that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum KeyClass {
    /// `[CLS]`.
    Cls,
    /// `[SEP]`.
    Sep,
    /// The first position.
    First,
    /// Punctuation marks.
    #[serde(rename = "punct")]
    Punctuation,
    /// All other tokens.
    Other,
}

const TARGETS: [KeyClass; 4] = [
    KeyClass::Cls,
    KeyClass::Sep,
    KeyClass::Punctuation,
    KeyClass::Other,
];
const CAUSAL_TARGETS: [KeyClass; 3] = [KeyClass::First, KeyClass::Punctuation, KeyClass::Other];

impl KeyClass {
    /// The classes of a model.
    #[must_use]
    pub fn of(causal: bool) -> &'static [Self] {
        if causal { &CAUSAL_TARGETS } else { &TARGETS }
    }

    /// Its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cls => "cls",
            Self::Sep => "sep",
            Self::First => "first",
            Self::Punctuation => "punct",
            Self::Other => "other",
        }
    }
}

/// What sums over rows are divided by; see the [module](self).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Denominators {
    /// As the paper's code: all tokens, so that a head that always looks at the next token has (n − 1)/n.
    #[default]
    Paper,
    /// The rows for which there is such a key, so that it has 1.
    Exact,
}

/// Which gradients are studied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gradients {
    /// None: no loss is needed.
    #[default]
    None,
    /// `|∂L/∂α|`: the paper.
    Plain,
    /// And `|α · ∂L/∂α|`, which the paper does not have.
    ///
    /// # Cost
    /// One sequence is put through the model at a time, so that only its maps are kept until their gradients
    /// are there: `4 · layers · heads · tokens²` bytes a thread.
    TimesAttention,
}

/// How patterns are measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatternOptions {
    /// What sums over rows are divided by.
    pub denominators: Denominators,
    /// Take the entropy of rows smoothed with [`PAPER_SMOOTHING`], as the paper's code does, over the keys that
    /// a row sees. Otherwise 0 ln 0 = 0.
    pub entropy_smoothing: bool,
    /// Which gradients are studied.
    pub gradients: Gradients,
}
