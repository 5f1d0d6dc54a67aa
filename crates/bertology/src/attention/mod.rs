//! What do heads look at? Studies of attention maps over whole corpora (Clark, Khandelwal, Levy and Manning
//! 2019, *What Does BERT Look At?*).
//!
//! | module | question |
//! | --- | --- |
//! | [`passages`] | which sequences does a file of texts give? |
//! | [`words`] | which tokens are a word, and what is attention between words? |
//! | [`survey`] | how does every map of a corpus come by a study? |
//! | [`patterns`] | does a head look at neighbours, at special tokens, at punctuation, or everywhere? |
//! | [`account`] | what was studied of a file, and what was not? |
//! | [`cluster`] | which heads look at the same things? |
//!
//! A map is handed to the study while it is hot and then gone; studies keep sums, in f64 and in file order, or
//! counts. Layers and heads are zero-based. Maps are those of transformers with eager attention in f32; the
//! paper's released code stored f16, so that its numbers can be repeated to three digits.

pub mod account;
pub mod cluster;
pub mod passages;
pub mod patterns;
pub mod survey;
pub mod words;

mod counts;
mod pairs;

pub use counts::SequenceCounts;
pub use account::Account;
pub use passages::{Long, Packing, TextItem, TextOptions, TextPassages};
pub use survey::{
    Contribution, Fate, LeftOut, MapStudy, MapView, Passage, Supply, SurveyOptions, Units, survey,
};
pub use words::{Alignment, RowMode, WordMap, Words};
