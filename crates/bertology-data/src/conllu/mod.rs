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
//! ```
//! use bertology_data::conllu::Treebank;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let file = folder.path().join("dev.conllu");
//! std::fs::write(
//!     &file,
//!     "# newdoc id = d1\n# text = She sang.\n\
//!      1\tShe\tshe\tPRON\tPRP\t_\t2\tnsubj\t_\tEntity=(e1-person-1)\n\
//!      2\tsang\tsing\tVERB\tVBD\t_\t0\troot\t_\tSpaceAfter=No\n\
//!      3\t.\t.\tPUNCT\t.\t_\t2\tpunct\t_\t_\n",
//! )?;
//! let mut reader = Treebank::new(&file).open()?;
//! for sentence in reader.by_ref() {
//!     let sentence = sentence?;
//!     assert_eq!(sentence.words[0].head, Some(1));
//!     assert_eq!(sentence.spaced_text().text, "She sang .");
//!     assert_eq!(sentence.written_text(&file)?.spans[2].characters, 8..9);
//! }
//! assert_eq!(reader.finish()?.counts.words, 3);
//!
//! for document in Treebank::new(&file).open_documents()? {
//!     let mentions = document?.mentions(&file)?.mentions;
//!     assert_eq!((mentions[0].entity.as_str(), mentions[0].words.clone()), ("e1", 0..1));
//! }
//! # Ok(())
//! # }
//! ```
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
pub use reader::{Treebank, TreebankCounts, TreebankInfo, TreebankMark, TreebankReader};
pub use sentence::{Boundary, EmptyNode, MultiwordToken, Sentence, SurfaceToken, Word};
pub use written::{SpannedText, WordSpan};
