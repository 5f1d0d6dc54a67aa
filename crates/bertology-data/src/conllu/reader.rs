//! A treebank, and the reader that walks through its sentences.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::document::DocumentReader;
use super::parse::{Draft, Fault};
use super::sentence::Sentence;
use crate::content::Content;
use crate::error::DataError;
use crate::line::{LineMark, LineReader};
use crate::source::ReadOptions;

/// A file of sentences in CoNLL-U. Opening it again reads it again from the start, and once it was read to its end it
/// has to stay as it is, as with a [`Source`](crate::Source).
#[derive(Debug, Clone)]
pub struct Treebank {
    path: PathBuf,
    content: Content,
    options: ReadOptions,
}

impl Treebank {
    /// Takes a file in CoNLL-U.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            content: Content::default(),
            options: ReadOptions::default(),
        }
    }

    /// Changes how much is read. [`ReadOptions::max_line_bytes`] bounds a whole sentence.
    #[must_use]
    pub fn with_options(mut self, options: ReadOptions) -> Self {
        self.options = options;
        self
    }

    /// Changes only the limit: on sentences for [`Treebank::open`], on documents for
    /// [`Treebank::open_documents`].
    #[must_use]
    pub fn with_limit(mut self, limit: Option<usize>) -> Self {
        self.options.limit = limit;
        self
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file to read sentence by sentence.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`], [`DataError::NotAFile`], [`DataError::ZeroLimit`].
    pub fn open(&self) -> Result<TreebankReader, DataError> {
        if self.options.limit == Some(0) {
            return Err(DataError::ZeroLimit);
        }
        Ok(TreebankReader {
            lines: LineReader::open(&self.path, self.options.max_line_bytes, &self.content)?,
            draft: Draft::default(),
            layout: None,
            limit: self.options.limit,
            counts: TreebankCounts::default(),
            state: State::Reading,
        })
    }

    /// Opens the file at a place where a reader of its sentences was; what is before it is not read. Lines, the
    /// limit and the counts go on as if it had been.
    ///
    /// # Errors
    ///
    /// As [`Treebank::open`].
    pub fn open_at(&self, mark: &TreebankMark) -> Result<TreebankReader, DataError> {
        let mut reader = self.open()?;
        reader.lines.seek(mark.lines)?;
        reader.layout.clone_from(&mark.layout);
        reader.counts = mark.counts;
        Ok(reader)
    }

    /// Opens the file at a place where a reader of its documents was, as [`Treebank::open_at`].
    ///
    /// # Errors
    ///
    /// As [`Treebank::open`].
    pub fn open_documents_at(&self, mark: &TreebankMark) -> Result<DocumentReader, DataError> {
        let mut sentences = self.open_at(mark)?;
        let limit = sentences.limit.take();
        Ok(DocumentReader::new(sentences, limit))
    }

    /// Opens the file to read document by document; see [`DocumentReader`].
    ///
    /// # Errors
    ///
    /// As [`Treebank::open`].
    pub fn open_documents(&self) -> Result<DocumentReader, DataError> {
        let mut sentences = self.open()?;
        let limit = sentences.limit.take();
        Ok(DocumentReader::new(sentences, limit))
    }
}

/// A place between two sentences (or documents) of a treebank, to go on from; see [`Treebank::open_at`].
#[derive(Debug, Clone)]
pub struct TreebankMark {
    lines: LineMark,
    /// The `# global.Entity` in force.
    layout: Option<Arc<str>>,
    counts: TreebankCounts,
}

impl TreebankMark {
    /// The same place, with what was handed out since.
    pub(super) fn with_counts_of(&self, other: &Self) -> Self {
        Self {
            counts: other.counts,
            ..self.clone()
        }
    }
}

/// How much there was in the sentences handed out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TreebankCounts {
    /// Documents begun: `# newdoc` comments, and the first sentence if it has none.
    pub documents: u64,
    /// Sentences.
    pub sentences: u64,
    /// Words: the nodes of the trees.
    pub words: u64,
    /// Words with relation `punct`.
    pub punctuation: u64,
    /// Multiword tokens.
    pub multiword_tokens: u64,
    /// Empty nodes.
    pub empty_nodes: u64,
    /// Sentences of one word, in which no word has a head.
    pub one_word_sentences: u64,
    /// Words of the longest sentence.
    pub longest_sentence: u64,
    /// Words whose FORM is `_`. Few are underscores of a text; if nearly all words are so, the
    /// treebank was published without its text.
    pub underscores: u64,
}

impl TreebankCounts {
    fn add(&mut self, sentence: &Sentence) {
        let words = sentence.words.len() as u64;
        let begins = sentence.new_document.is_some() || self.sentences == 0;
        let underscores = sentence.words.iter().filter(|word| word.form == "_");
        let punctuation = sentence.words.iter().filter(|word| word.is_punctuation());
        self.documents += u64::from(begins);
        self.sentences += 1;
        self.words += words;
        self.punctuation += punctuation.count() as u64;
        self.multiword_tokens += sentence.ranges.len() as u64;
        self.empty_nodes += sentence.empty_nodes.len() as u64;
        self.one_word_sentences += u64::from(words == 1);
        self.longest_sentence = self.longest_sentence.max(words);
        self.underscores += underscores.count() as u64;
    }
}

/// An account of a treebank that was read, fit for a run's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TreebankInfo {
    /// The file.
    pub path: PathBuf,
    /// The limit on sentences or documents, if one was set.
    pub limit: Option<usize>,
    /// What was handed out; less than the file holds if a limit stopped the reading.
    #[serde(flatten)]
    pub counts: TreebankCounts,
    /// Size of the whole file in bytes.
    pub bytes: u64,
    /// SHA-256 of the whole file (also when a limit stopped the reading), 64 lower-case hex digits.
    pub sha256: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    /// The file or the limit ended the reading.
    Done,
    /// A sentence was bad; nothing is handed out after it.
    Failed,
}

/// Hands out the sentences of a treebank one by one, holding one at a time.
///
/// The first error ends the iteration. Call [`TreebankReader::finish`] at the end for the account of
/// what was read.
#[derive(Debug)]
pub struct TreebankReader {
    lines: LineReader,
    draft: Draft,
    /// The `# global.Entity` in force.
    layout: Option<Arc<str>>,
    limit: Option<usize>,
    counts: TreebankCounts,
    state: State,
}

impl TreebankReader {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.lines.path()
    }

    /// Bytes taken from the file so far, for a progress bar; runs ahead by the buffer's 16 KiB.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.lines.bytes_read()
    }

    /// The place behind the last sentence.
    #[must_use]
    pub fn mark(&self) -> TreebankMark {
        TreebankMark {
            lines: self.lines.mark(),
            layout: self.layout.clone(),
            counts: self.counts,
        }
    }

    /// What was handed out so far.
    #[must_use]
    pub fn counts(&self) -> &TreebankCounts {
        &self.counts
    }

    /// Reads the rest of the file only to hash it, and gives the account of the whole.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] if the rest cannot be read.
    pub fn finish(self) -> Result<TreebankInfo, DataError> {
        let path = self.path().to_owned();
        let (bytes, sha256) = self.lines.finish()?;
        Ok(TreebankInfo {
            path,
            limit: self.limit,
            counts: self.counts,
            bytes,
            sha256,
        })
    }

    /// The account with another limit, that of documents.
    pub(super) fn finish_with_limit(self, limit: Option<usize>) -> Result<TreebankInfo, DataError> {
        let info = self.finish()?;
        Ok(TreebankInfo { limit, ..info })
    }

    /// Counts a sentence as handed out.
    pub(super) fn hand_out(&mut self, sentence: &Sentence) {
        self.counts.add(sentence);
    }

    /// The next sentence and the bytes of its lines, not counted yet; none at the end of the file.
    /// Not to be called again after an error.
    pub(super) fn read(&mut self) -> Result<Option<(Sentence, usize)>, DataError> {
        let limit = self.lines.limit();
        while let Some(line) = self.lines.next_line()? {
            // A line of tabs may be a word that lost its fields.
            let blank = line.text.trim_matches(' ').is_empty();
            let bytes = self.draft.bytes();
            let read = if blank {
                self.draft.finish(false, self.layout.as_ref())
            } else {
                let (text, number) = (line.text, line.number);
                let pushed = self.draft.push(text, number, limit, &mut self.layout);
                pushed.map(|()| None)
            };
            if let Some(sentence) = read.map_err(|fault| self.error(fault))? {
                return Ok(Some((sentence, bytes)));
            }
        }
        let bytes = self.draft.bytes();
        let last = self.draft.finish(true, self.layout.as_ref());
        let last = last.map_err(|fault| self.error(fault))?;
        Ok(last.map(|sentence| (sentence, bytes)))
    }

    fn error(&self, (line, fault): Fault) -> DataError {
        DataError::Treebank {
            path: self.path().to_owned(),
            line,
            sentence: self.draft.id().map(str::to_owned),
            fault: Box::new(fault),
        }
    }

    /// What to say of a file in which nothing was found.
    pub(super) fn nothing_found(&self) -> DataError {
        DataError::NoSentences {
            path: self.path().to_owned(),
        }
    }
}

impl Iterator for TreebankReader {
    type Item = Result<Sentence, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state != State::Reading {
            return None;
        }
        let given = self.counts.sentences;
        if self.limit.is_some_and(|limit| given >= limit as u64) {
            self.state = State::Done;
            return None;
        }
        let error = match self.read() {
            Ok(Some((sentence, _))) => {
                self.hand_out(&sentence);
                return Some(Ok(sentence));
            }
            Ok(None) if given > 0 => {
                self.state = State::Done;
                return None;
            }
            Ok(None) => self.nothing_found(),
            Err(error) => error,
        };
        self.state = State::Failed;
        Some(Err(error))
    }
}

impl std::iter::FusedIterator for TreebankReader {}
