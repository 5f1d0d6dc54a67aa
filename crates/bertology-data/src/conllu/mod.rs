//! Treebanks in CoNLL-U: dependency trees of sentences, and coreference in the style of CorefUD.
//!
//! This module answers one question: *what are the words of a sentence, how do they depend on each
//! other, and which of them refer to the same thing?*
//!
//! 1. A [`Treebank`] names the file. [`Treebank::open`] gives a [`TreebankReader`], an iterator over
//!    [`Sentence`]s in constant memory; [`Treebank::open_documents`] gives a [`DocumentReader`],
//!    which groups them by `# newdoc`. Both end with a [`TreebankInfo`].
//! 2. A [`Sentence`] is a checked tree: words numbered without a gap, one root, no cycle.
//!    [`Sentence::spaced_text`] and [`Sentence::written_text`] give its text with the place of every
//!    word.
//! 3. [`Document::mentions`] resolves the `Entity=` brackets of a [`Document`].
//!
//! Words, sentences and heads are counted from 0 here; lines of the file and the ids in messages are
//! counted from 1, as in the file. What is read from a file of ten columns:
//!
//! | in the file | here |
//! | --- | --- |
//! | id `k`: a word | a [`Word`]; a FORM of `_` is an underscore |
//! | id `a-b`: a multiword token | a [`MultiwordToken`]: its surface form and the space after it |
//! | id `k.d`: an empty node, also `0.1` | an [`EmptyNode`], in no tree; its HEAD is not read |
//! | HEAD, DEPREL | [`Word::head`], [`Word::relation`]; DEPS is not read |
//! | MISC `SpaceAfter=No` | [`Word::space_after`], [`MultiwordToken::space_after`] |
//! | comments before the first word: `sent_id`, `text`, `newdoc`, `newpar`, `global.Entity` | the fields of [`Sentence`] |
//! | other comments, and those further down in a sentence | not kept |
//!
//! Source: <https://universaldependencies.org/format.html>; for coreference CorefUD 1.0,
//! <https://ufal.mff.cuni.cz/corefud>.

mod document;
mod entities;
mod fault;
mod parse;
mod reader;
mod sentence;
mod written;

pub use document::{Document, DocumentReader};
pub use entities::{DEFAULT_ENTITY_LAYOUT, Mention, Mentions};
pub use fault::TreebankFault;
pub use reader::{Treebank, TreebankCounts, TreebankInfo, TreebankReader};
pub use sentence::{Boundary, EmptyNode, MultiwordToken, Sentence, SurfaceToken, Word};
pub use written::{SpannedText, WordSpan};
