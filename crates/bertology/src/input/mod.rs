//! From files to the model's inputs: read, encoded, given targets, cut or windowed, and accounted for.
//!
//! | module | question |
//! | --- | --- |
//! | [`supply`] | what does a study ask of an input, whatever it is? |
//! | [`corpus`] | which examples does a data file give, and what is predicted in each? |
//! | [`objective`] | labels, next tokens, hidden tokens? |
//! | [`windows`] | what of inputs that are longer than the model? |
//! | [`passages`] | which sequences does a file of texts give? |
//! | [`treebank`] | and a treebank? |
//! | [`texts`] | either of the two |
//! | [`words`] | which tokens are a word, and what is attention between words? |
//! | [`account`] | what became of it all? |

pub mod account;
pub mod align;
pub mod corpus;
pub mod documents;
pub mod mentions;
pub mod objective;
pub mod passages;
pub mod prepare;
pub mod supply;
pub mod texts;
pub mod treebank;
pub mod windows;
pub mod words;

pub(crate) mod marks;
mod pairs;
pub(crate) mod target;
