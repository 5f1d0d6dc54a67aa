//! What do heads look at? Studies of attention maps over whole corpora (Clark, Khandelwal, Levy and Manning
//! 2019, *What Does BERT Look At?*).
//!
//! | module | question |
//! | --- | --- |
//! | [`passages`] | which sequences does a file of texts give? |
//! | [`words`] | which tokens are a word, and what is attention between words? |
//! | [`treebank`] | and a treebank? |
//! | [`mod@survey`] | how does every map of a corpus come by a study? |
//! | [`patterns`] | does a head look at neighbours, at special tokens, at punctuation, or everywhere? |
//! | [`account`] | what was studied of a file, and what was not? |
//! | [`cluster`] | which heads look at the same things? |
//! | [`syntax`] | which head finds the syntactic heads of words? |
//! | [`coref`] | which head finds what a pronoun or name refers back to? |
//! | [`proportion`] | what does so many of so many tell? |
//!
//! A map is handed to the study while it is hot and then gone; studies keep sums, in f64 and in file order, or
//! counts. Layers and heads are zero-based. Maps are those of transformers with eager attention in f32; the
//! paper's released code stored f16, so that its numbers can be repeated to three digits.

pub mod account;
pub mod cluster;
pub mod coref;
pub mod passages;
pub mod patterns;
pub mod proportion;
pub mod survey;
pub mod syntax;
pub mod treebank;
pub mod words;

mod counts;
mod pairs;

pub use account::Account;
pub use counts::SequenceCounts;
pub use passages::{Long, Packing, TextItem, TextOptions, TextPassages};
pub use proportion::Proportion;
pub use survey::{
    Contribution, Fate, LeftOut, MapStudy, MapView, Passage, Supply, SurveyOptions, Units, survey,
};
pub use treebank::{InputMode, SentenceItem, SentencePassages, TreebankOptions};
pub use words::{Alignment, RowMode, WordMap, Words};
