//! What do heads look at? Studies of attention maps over whole corpora (Clark, Khandelwal, Levy and Manning
//! 2019, *What Does BERT Look At?*).
//!
//! | module | question |
//! | --- | --- |
//! | [`passages`] | which sequences does a file of texts give? |
//! | [`words`] | which tokens are a word, and what is attention between words? |
//! | [`treebank`] | and a treebank? |
//! | [`patterns`] | does a head look at neighbours, at special tokens, at punctuation, or everywhere? |
//! | [`cat`] | does attention follow the tree of a program? |
//! | [`cluster`] | which heads look at the same things? |
//! | [`syntax`] | which head finds the syntactic heads of words? |
//! | [`distance`] | how far does a head look? |
//! | [`relations`] | does attention follow any labelled pairs of words, tokens or residues? |
//! | [`coref`] | which head finds what a pronoun or name refers back to? |
//! | [`proportion`] | what does so many of so many tell? |
//!
//! A map is handed to the study while it is hot and then gone; studies keep sums, in f64 and in file order, or
//! counts. Layers and heads are zero-based. Maps are those of transformers with eager attention in f32; the
//! paper's released code stored f16, so that its numbers can be repeated to three digits.

pub mod cat;
pub mod cluster;
pub mod coref;
pub mod distance;
pub mod patterns;
pub mod relations;
pub mod syntax;

mod of_sentences;

pub use crate::input::account::SequenceCounts;
pub use crate::input::passages::{self, Packing, TextItem, TextOptions, TextPassages};
pub use crate::input::supply::{Fate, LeftOut, Passage, Supply, Units};
pub use crate::input::texts::TextSupply;
pub use crate::input::treebank::{
    self, InputMode, SentenceItem, SentencePassages, TreebankOptions,
};
pub use crate::input::words::{self, Alignment, RowMode, WordMap, Words};
pub use crate::studies::proportion::{self, Proportion};
pub use of_sentences::OfSentences;
