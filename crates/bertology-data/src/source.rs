//! A file with its layout.

use std::path::{Path, PathBuf};

use crate::content::Content;
use crate::error::DataError;
use crate::example::Dataset;
use crate::glue::{self, GlueLayout};
use crate::line::LineReader;
use crate::reader::{ExampleReader, Mark};
use crate::table::{Columns, TableFormat};
use crate::tagged::TagFormat;
use crate::task::{Split, Task};
use crate::text::Documents;

/// Longest line (for CSV: longest row) that is read unless [`ReadOptions`] says otherwise: 1 MiB.
pub const DEFAULT_MAX_LINE_BYTES: usize = 1 << 20;

/// Longest document of unlabelled text (and longest row of token ids) that is read unless
/// [`ReadOptions`] says otherwise: 64 MiB. A document is held whole.
pub const DEFAULT_MAX_DOCUMENT_BYTES: usize = 64 << 20;

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadOptions {
    /// Stop after so many examples (sentences or documents of a treebank); at least 1.
    pub limit: Option<usize>,
    /// Longest line (for CSV: longest row; for text: longest document; for treebanks: longest
    /// sentence) in bytes; a longer one is an error.
    pub max_line_bytes: usize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            limit: None,
            max_line_bytes: DEFAULT_MAX_LINE_BYTES,
        }
    }
}

/// A data file and how its rows are read. Opening it again reads it again from the start, and once it was read to its
/// end, by this source or a clone of it, it has to stay as it is ([`DataError::Changed`]).
#[derive(Debug, Clone)]
pub struct Source {
    path: PathBuf,
    content: Content,
    layout: Layout,
    split: Option<Split>,
    options: ReadOptions,
}

/// How the rows of a file are read.
#[derive(Debug, Clone)]
pub(crate) enum Layout {
    Glue(GlueLayout),
    Table(TableFormat, Columns),
    Text(Documents),
    TokenIds,
    Tagged(TagFormat, Columns),
    Questions,
}

impl Source {
    /// Finds the file of a GLUE split in `folder`: the task's own folder (`DIR/dev.tsv`) or the
    /// GLUE folder above it (`DIR/MRPC/dev.tsv`), in this order.
    ///
    /// MRPC is also found as the original corpus (`msr_paraphrase_train.txt`,
    /// `msr_paraphrase_test.txt`). Test files have no labels, except that original one.
    ///
    /// # Errors
    ///
    /// [`DataError::NoSuchFolder`], [`DataError::NotAFolder`], or [`DataError::MissingFile`] with
    /// every path that was tried.
    pub fn glue(folder: &Path, task: Task, split: Split) -> Result<Self, DataError> {
        let (path, layout) = glue::find(folder, task, split)?;
        let options = ReadOptions::default();
        Ok(Self {
            path,
            content: Content::default(),
            layout: Layout::Glue(layout),
            split: Some(split),
            options,
        })
    }

    /// Takes the user's own file, its format told by its name.
    ///
    /// # Errors
    ///
    /// [`DataError::UnknownFormat`] if the name does not tell.
    pub fn table(path: &Path, columns: Columns) -> Result<Self, DataError> {
        let format = TableFormat::from_path(path)?;
        Ok(Self::table_with_format(path, format, columns))
    }

    /// Takes the user's own file in a given format.
    #[must_use]
    pub fn table_with_format(path: &Path, format: TableFormat, columns: Columns) -> Self {
        let mut options = ReadOptions::default();
        if columns.label.is_none() {
            options.max_line_bytes = DEFAULT_MAX_DOCUMENT_BYTES;
        }
        Self {
            path: path.to_owned(),
            content: Content::default(),
            layout: Layout::Table(format, columns),
            split: None,
            options,
        }
    }

    /// Takes a file of plain text, UTF-8, which holds documents and no labels.
    #[must_use]
    pub fn text(path: &Path, documents: Documents) -> Self {
        Self::unlabelled(path, Layout::Text(documents))
    }

    /// Takes a file of plain text with one document a line.
    #[must_use]
    pub fn lines(path: &Path) -> Self {
        Self::text(path, Documents::Lines)
    }

    /// Takes a file of token ids: whitespace-separated integers, one document a line, `#` begins a
    /// comment. This is what NumPy's `savetxt` writes with `fmt="%d"` and what `run_prune_gpt.py`
    /// reads; rows may differ in length here. Whether a vocabulary has the ids is for whoever knows
    /// it.
    #[must_use]
    pub fn token_ids(path: &Path) -> Self {
        Self::unlabelled(path, Layout::TokenIds)
    }

    /// Takes a file of sentences whose words have labels. Its format is told by its name:
    ///
    /// - `.json`, `.jsonl`, `.ndjson`: an object a sentence, one a line or in an array, with a list of words
    ///   (`tokens`) and one of labels (`ner_tags`), which are strings or class ids;
    /// - `.csv`: the same lists in two cells, as Python or JSON writes lists or with spaces between;
    /// - anything else: a word a line, its fields between tabs or spaces, a blank line behind each sentence, as at
    ///   CoNLL-2003. The word is the first field and the label the last; `-DOCSTART-` lines are passed over.
    ///
    /// `words` and `labels` name other columns, keys or (zero-based) fields. A label of -100 says that its word
    /// does not count.
    #[must_use]
    pub fn tagged(path: &Path, words: Option<&str>, labels: Option<&str>) -> Self {
        let format = TagFormat::of(path);
        let columns = match format {
            TagFormat::Lines => {
                let mut columns = Columns::text(words.unwrap_or("0"));
                columns.label = labels.map(str::to_owned);
                columns
            }
            TagFormat::Csv | TagFormat::Json => {
                Columns::text(words.unwrap_or("tokens")).with_label(labels.unwrap_or("ner_tags"))
            }
        };
        Self::unlabelled(path, Layout::Tagged(format, columns))
    }

    /// Takes a file of questions about texts: SQuAD 1.1 or 2.0 (`data`, `paragraphs`, `qas`), or an object a
    /// question, one a line or in an array or in `data`, with `question`, `context`, `answers` and perhaps `id`.
    /// A file that is one document is held in memory while it is read.
    #[must_use]
    pub fn questions(path: &Path) -> Self {
        Self::unlabelled(path, Layout::Questions)
    }

    fn unlabelled(path: &Path, layout: Layout) -> Self {
        Self {
            path: path.to_owned(),
            content: Content::default(),
            layout,
            split: None,
            options: ReadOptions {
                max_line_bytes: DEFAULT_MAX_DOCUMENT_BYTES,
                ..ReadOptions::default()
            },
        }
    }

    /// Changes how much is read.
    #[must_use]
    pub fn with_options(mut self, options: ReadOptions) -> Self {
        self.options = options;
        self
    }

    /// Changes only the limit on examples.
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

    /// The GLUE task, if this is one.
    #[must_use]
    pub fn task(&self) -> Option<Task> {
        match &self.layout {
            Layout::Glue(layout) => Some(layout.task),
            _ => None,
        }
    }

    /// Whether the examples are texts that carry a label each.
    #[must_use]
    pub fn has_labels(&self) -> bool {
        match &self.layout {
            Layout::Glue(layout) => layout.fields.label.is_some(),
            Layout::Table(_, columns) => columns.label.is_some(),
            Layout::Text(_) | Layout::TokenIds | Layout::Tagged(..) | Layout::Questions => false,
        }
    }

    /// Whether the examples are sentences whose words have labels.
    #[must_use]
    pub fn has_tags(&self) -> bool {
        matches!(self.layout, Layout::Tagged(..))
    }

    /// Whether the examples are questions with answers.
    #[must_use]
    pub fn has_questions(&self) -> bool {
        matches!(self.layout, Layout::Questions)
    }

    /// Whether the examples are token ids and not texts.
    #[must_use]
    pub fn has_token_ids(&self) -> bool {
        matches!(self.layout, Layout::TokenIds)
    }

    /// Opens the file and reads its header, if it must have one.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`], [`DataError::ZeroLimit`], [`DataError::EmptyFile`], and what can be wrong
    /// with a header: [`DataError::UnknownColumn`], [`DataError::AmbiguousColumn`],
    /// [`DataError::ColumnCount`], [`DataError::NoHeader`].
    pub fn open(&self) -> Result<ExampleReader, DataError> {
        if self.options.limit == Some(0) {
            return Err(DataError::ZeroLimit);
        }
        let lines = LineReader::open(&self.path, self.options.max_line_bytes, &self.content)?;
        ExampleReader::new(
            lines,
            &self.layout,
            self.task(),
            self.split,
            self.options.limit,
        )
    }

    /// Opens the file at a place where a reader of it was; what is before it is not read, but for the
    /// header. Lines, the limit and the account go on as if it had been.
    ///
    /// # Errors
    ///
    /// As [`Source::open`].
    pub fn open_at(&self, mark: &Mark) -> Result<ExampleReader, DataError> {
        let mut reader = self.open()?;
        reader.go_on(mark)?;
        Ok(reader)
    }

    /// Reads all examples (or as many as the limit allows) into memory.
    ///
    /// # Errors
    ///
    /// As [`Source::open`], and whatever is wrong with a row.
    pub fn load(&self) -> Result<Dataset, DataError> {
        let mut reader = self.open()?;
        let examples = reader.by_ref().collect::<Result<Vec<_>, _>>()?;
        Ok(Dataset {
            examples,
            info: reader.finish()?,
        })
    }
}
