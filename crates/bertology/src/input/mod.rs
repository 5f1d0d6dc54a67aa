//! From files to the model's inputs: read, encoded, given targets, cut or windowed, and accounted for.
//!
//! | module | question |
//! | --- | --- |
//! | [`supply`] | what does a study ask of an input, whatever it is? |
//! | [`corpus`] | which examples does a data file give, and what is predicted in each? |
//! | [`passages`] | which sequences does a file of texts give? |
//! | [`treebank`], [`documents`] | and a treebank, by sentences and by documents? |
//! | [`texts`] | texts from either of the two? |
//! | [`mentions`] | who is spoken of in a document? |
//! | [`prepare`] | how does a text become sequences: special tokens, cuts, windows? |
//! | [`windows`] | what of inputs that are longer than the model? |
//! | [`align`] | which tokens are pieces of which word, leaf or span? |
//! | `code` | and of the leaves of programs? (feature `code`) |
//! | `legacy` | and of these as the released code of CAT-probing reads them? (feature `code`) |
//! | [`snippet`] | what is known of a program, and what is attention between its leaves? |
//! | [`spans`] | and of labelled spans, as probes read them? |
//! | [`relations`] | and of units that are related: words, tokens, residues? |
//! | [`words`] | which tokens are a word, and what is attention between words? |
//! | [`account`] | what became of it all? |
//!
//! A text passes one way: a supply reads it, [`prepare::Preparer`] (or [`align::Aligner`]) makes its sequences,
//! `target` says what is predicted in them. `marks` are the places from which a supply can read on.

pub mod account;
pub mod align;
#[cfg(feature = "code")]
pub mod code;
pub mod corpus;
pub mod documents;
#[cfg(feature = "code")]
pub mod legacy;
pub mod mentions;
pub mod passages;
pub mod prepare;
pub mod relations;
pub mod sample;
pub mod snippet;
pub mod spans;
pub mod supply;
pub mod texts;
pub mod treebank;
pub mod windows;
pub mod words;

pub(crate) mod marks;
mod pairs;
pub(crate) mod target;
