//! What can be wrong with a corpus that is to become records. Every message says what to do.

/// A fault of a corpus; [`DataError::Convert`](crate::DataError::Convert) says where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertFault {
    /// A word with white space in it.
    #[error(
        "the form `{form}` holds white space, at which a record's words are divided; write another character there"
    )]
    SpaceInForm {
        /// The form, cut to 40 characters.
        form: String,
    },
    /// What the published converter cannot read.
    #[error(
        "the multiword token {first}-{last} is more than the published converter can read, whose faults were asked \
         for; read this release without them"
    )]
    Multiword {
        /// Id of its first word.
        first: usize,
        /// Id of its last word.
        last: usize,
    },
    /// More mentions in a sentence than pairs can be made of.
    #[error(
        "the sentence has {mentions} mentions, and pairs are made of at most {most}; divide it, or take mentions out"
    )]
    TooManyMentions {
        /// Mentions of the sentence.
        mentions: usize,
        /// The most allowed.
        most: usize,
    },
    /// A line that is not where it should be.
    #[error("`{found}` is not {expected}")]
    Layout {
        /// The line, cut to 40 characters.
        found: String,
        /// What should stand there.
        expected: &'static str,
    },
    /// The tags of a nominal do not stand once around some words.
    #[error("<{tag}> and </{tag}> must stand once around some characters of the sentence")]
    Tags {
        /// `e1` or `e2`.
        tag: &'static str,
    },
    /// A table lacks a column.
    #[error(
        "the table has no column `{column}`; it is named in the first line of the published one"
    )]
    Column {
        /// Its name.
        column: &'static str,
    },
    /// A field holds something else.
    #[error("the {field} is `{found}`, expected {expected}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What it holds, cut to 40 characters.
        found: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// A sentence is spoken of that is not there.
    #[error(
        "sentence {number} is spoken of, and {treebank} has {sentences}; give the file of the same split and release"
    )]
    NoSuchSentence {
        /// From 1.
        number: u64,
        /// The treebank.
        treebank: String,
        /// How many there are.
        sentences: u64,
    },
    /// A word is spoken of that is not there.
    #[error(
        "words {start} to {end} (from 0) are spoken of, and the sentence has {words}; the sentences must be those of \
         the release that was annotated"
    )]
    NoSuchWord {
        /// The first word, from 0.
        start: usize,
        /// The last word, from 0.
        end: usize,
        /// Words of the sentence.
        words: usize,
    },
    /// Two texts of different splits are the same.
    #[error(
        "the text of this example is in the splits `{first}` and `{second}`; keep it in one of them"
    )]
    TwoSplits {
        /// Where it was first.
        first: String,
        /// Where it is now.
        second: String,
    },
}

/// The beginning of a value, for a message.
pub(super) fn quote(value: &str) -> String {
    value.chars().take(40).collect()
}
