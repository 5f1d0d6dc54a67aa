//! A file with its layout, and the reader that walks through it.

use std::path::{Path, PathBuf};

use crate::error::DataError;
use crate::example::{Dataset, DatasetInfo, Example, SkipReason, Skipped};
use crate::glue::{self, GlueLayout};
use crate::line::{LineMark, LineReader};
use crate::record::{CsvFault, CsvProgress, CsvSplitter, Record};
use crate::table::{self, Columns, Fields, TableFormat};
use crate::task::{Mode, Split, Task};
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

/// A data file and how its rows are read. Opening it again reads it again from the start.
#[derive(Debug, Clone)]
pub struct Source {
    path: PathBuf,
    layout: Layout,
    split: Option<Split>,
    options: ReadOptions,
}

#[derive(Debug, Clone)]
enum Layout {
    Glue(GlueLayout),
    Table(TableFormat, Columns),
    Text(Documents),
    TokenIds,
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

    fn unlabelled(path: &Path, layout: Layout) -> Self {
        Self {
            path: path.to_owned(),
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
            Layout::Table(..) | Layout::Text(_) | Layout::TokenIds => None,
        }
    }

    /// Whether the examples carry labels.
    #[must_use]
    pub fn has_labels(&self) -> bool {
        match &self.layout {
            Layout::Glue(layout) => layout.fields.label.is_some(),
            Layout::Table(_, columns) => columns.label.is_some(),
            Layout::Text(_) | Layout::TokenIds => false,
        }
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
        let lines = LineReader::open(&self.path, self.options.max_line_bytes)?;
        let mut reader = ExampleReader {
            rows: Rows {
                lines,
                skipped: Skipped::default(),
                record: Record::default(),
            },
            shape: Shape::Json(Columns::text("")),
            task: self.task(),
            split: self.split,
            limit: self.options.limit,
            given: 0,
            state: State::Reading,
            has_header: false,
        };
        reader.shape = reader.read_header(&self.layout)?;
        Ok(reader)
    }

    /// Opens the file at a place where a reader of it was; what is before it is not read, but for the
    /// header. Lines, the limit and the account go on as if it had been.
    ///
    /// # Errors
    ///
    /// As [`Source::open`].
    pub fn open_at(&self, mark: &Mark) -> Result<ExampleReader, DataError> {
        let mut reader = self.open()?;
        reader.rows.lines.seek(mark.lines)?;
        reader.rows.skipped.clone_from(&mark.skipped);
        reader.given = mark.given;
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

/// How rows become examples, once the header is known.
#[derive(Debug)]
enum Shape {
    /// Every row has exactly `columns` fields.
    Tsv {
        fields: Fields,
        columns: usize,
        from: &'static str,
        skip_short: bool,
    },
    Csv {
        fields: Fields,
        columns: usize,
        splitter: CsvSplitter,
    },
    Json(Columns),
    Text(Documents),
    TokenIds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    /// The file or the limit ended the reading.
    Done,
    /// A row was bad; nothing is handed out after it.
    Failed,
}

/// Lines with those that are skipped taken out.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) lines: LineReader,
    pub(crate) skipped: Skipped,
    record: Record,
}

/// A place between two examples of a file, to go on from; see [`Source::open_at`].
#[derive(Debug, Clone)]
pub struct Mark {
    lines: LineMark,
    given: u64,
    skipped: Skipped,
}

impl Mark {
    /// Examples before it.
    #[must_use]
    pub fn examples(&self) -> u64 {
        self.given
    }
}

/// Hands out the examples of a file one by one, in constant memory.
///
/// The first error ends the iteration. Call [`ExampleReader::finish`] at the end for the account of
/// what was read.
#[derive(Debug)]
pub struct ExampleReader {
    rows: Rows,
    shape: Shape,
    task: Option<Task>,
    split: Option<Split>,
    limit: Option<usize>,
    given: u64,
    state: State,
    has_header: bool,
}

impl ExampleReader {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.rows.lines.path()
    }

    /// Bytes taken from the file so far, for a progress bar; runs ahead by the buffer's 64 KiB.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.rows.lines.bytes_read()
    }

    /// Examples handed out so far, those before the place where the reading began included.
    #[must_use]
    pub fn examples(&self) -> u64 {
        self.given
    }

    /// The place behind the last example.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark {
            lines: self.rows.lines.mark(),
            given: self.given,
            skipped: self.rows.skipped.clone(),
        }
    }

    /// The rows skipped so far.
    #[must_use]
    pub fn skipped(&self) -> &Skipped {
        &self.rows.skipped
    }

    /// Reads the rest of the file only to hash it, and gives the account of the whole.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] if the rest cannot be read.
    pub fn finish(self) -> Result<DatasetInfo, DataError> {
        let path = self.path().to_owned();
        let (bytes, sha256) = self.rows.lines.finish()?;
        Ok(DatasetInfo {
            path,
            task: self.task,
            split: self.split,
            examples: self.given,
            limit: self.limit,
            skipped: self.rows.skipped,
            bytes,
            sha256,
        })
    }

    fn read_header(&mut self, layout: &Layout) -> Result<Shape, DataError> {
        let rows = &mut self.rows;
        match layout {
            Layout::Glue(layout) if !layout.header => Ok(Shape::Tsv {
                fields: layout.fields,
                columns: layout.columns,
                from: "this file has no header and always that many",
                skip_short: layout.skip_short,
            }),
            Layout::Glue(layout) => {
                let line = rows.next_tsv()?.ok_or_else(|| rows.empty())?;
                self.has_header = true;
                check_glue_header(rows, line, layout)?;
                Ok(Shape::Tsv {
                    fields: layout.fields,
                    columns: rows.record.len(),
                    from: "as in the header",
                    skip_short: layout.skip_short,
                })
            }
            Layout::Table(TableFormat::Tsv, columns) => {
                rows.next_tsv()?.ok_or_else(|| rows.empty())?;
                self.has_header = true;
                let fields = columns.resolve(rows.lines.path(), &rows.record)?;
                let columns = rows.record.len();
                Ok(Shape::Tsv {
                    fields,
                    columns,
                    from: "as in the header",
                    skip_short: false,
                })
            }
            Layout::Table(TableFormat::Csv, columns) => {
                let mut splitter = CsvSplitter::default();
                rows.next_csv(&mut splitter)?.ok_or_else(|| rows.empty())?;
                self.has_header = true;
                let fields = columns.resolve(rows.lines.path(), splitter.record())?;
                Ok(Shape::Csv {
                    fields,
                    columns: splitter.record().len(),
                    splitter,
                })
            }
            Layout::Table(TableFormat::Jsonl, columns) => Ok(Shape::Json(columns.clone())),
            Layout::Text(documents) => Ok(Shape::Text(*documents)),
            Layout::TokenIds => Ok(Shape::TokenIds),
        }
    }

    /// The next example, or `None` at the end of the file.
    fn read(&mut self) -> Result<Option<Example>, DataError> {
        let rows = &mut self.rows;
        match &mut self.shape {
            Shape::Tsv {
                fields,
                columns,
                from,
                skip_short,
            } => loop {
                let Some(line) = rows.next_tsv()? else {
                    return Ok(None);
                };
                let found = rows.record.len();
                if *skip_short && found < fields.min_columns() {
                    let expected = fields.min_columns();
                    rows.skipped
                        .push(line, SkipReason::ShortRow { found, expected });
                    continue;
                }
                rows.check_columns(line, found, *columns, from)?;
                return fields
                    .example(rows.lines.path(), line, &rows.record)
                    .map(Some);
            },
            Shape::Csv {
                fields,
                columns,
                splitter,
            } => {
                let Some(line) = rows.next_csv(splitter)? else {
                    return Ok(None);
                };
                let record = splitter.record();
                rows.check_columns(line, record.len(), *columns, "as in the header")?;
                fields.example(rows.lines.path(), line, record).map(Some)
            }
            Shape::Json(columns) => rows.next_json(columns),
            Shape::Text(documents) => rows.next_document(*documents),
            Shape::TokenIds => rows.next_token_ids(),
        }
    }

    /// What to say when the file ends: an error if it had no example at all.
    fn at_end(&self) -> Result<(), DataError> {
        if self.given > 0 {
            return Ok(());
        }
        let path = self.path().to_owned();
        let skipped = &self.rows.skipped;
        if skipped.short_rows + skipped.comments > 0
            && let Some(first) = skipped
                .first
                .iter()
                .find(|row| row.reason != SkipReason::BlankLine)
        {
            return Err(DataError::AllSkipped {
                path,
                skipped: skipped.total(),
                line: first.line,
                reason: first.reason.to_string(),
            });
        }
        Err(if self.has_header {
            DataError::OnlyHeader { path }
        } else {
            DataError::EmptyFile { path }
        })
    }
}

impl Iterator for ExampleReader {
    type Item = Result<Example, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state != State::Reading {
            return None;
        }
        if self.limit.is_some_and(|limit| self.given >= limit as u64) {
            self.state = State::Done;
            return None;
        }
        let error = match self.read() {
            Ok(Some(example)) => {
                self.given += 1;
                return Some(Ok(example));
            }
            Ok(None) => match self.at_end() {
                Ok(()) => {
                    self.state = State::Done;
                    return None;
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        self.state = State::Failed;
        Some(Err(error))
    }
}

impl std::iter::FusedIterator for ExampleReader {}

/// Too few columns mean another task's file; a label in the first line means a lost header.
fn check_glue_header(rows: &Rows, line: u64, layout: &GlueLayout) -> Result<(), DataError> {
    let found = rows.record.len();
    if found < layout.columns {
        return Err(DataError::ColumnCount {
            path: rows.lines.path().to_owned(),
            line,
            found,
            expected: format!("at least {}", layout.columns),
            why: format!(
                "this is what {} files have; is it another task's file?",
                layout.task
            ),
        });
    }
    let Some(column) = layout.fields.label_index(found) else {
        return Ok(());
    };
    let label = rows.record.get(column).unwrap_or_default();
    let is_label = match layout.task.mode() {
        Mode::Classification => layout.task.labels().contains(&label),
        Mode::Regression => label.trim().parse::<f64>().is_ok(),
    };
    if is_label {
        return Err(DataError::NoHeader {
            path: rows.lines.path().to_owned(),
            task: layout.task,
            column,
            found: label.to_owned(),
        });
    }
    Ok(())
}

impl Rows {
    fn empty(&self) -> DataError {
        DataError::EmptyFile {
            path: self.lines.path().to_owned(),
        }
    }

    fn check_columns(
        &self,
        line: u64,
        found: usize,
        expected: usize,
        from: &str,
    ) -> Result<(), DataError> {
        if found == expected {
            return Ok(());
        }
        Err(DataError::ColumnCount {
            path: self.lines.path().to_owned(),
            line,
            found,
            expected: expected.to_string(),
            why: from.to_owned(),
        })
    }

    /// Splits the next line that is not blank into `record`; gives its number.
    fn next_tsv(&mut self) -> Result<Option<u64>, DataError> {
        while let Some(line) = self.lines.next_line()? {
            if line.text.is_empty() {
                self.skipped.push(line.number, SkipReason::BlankLine);
                continue;
            }
            self.record.set_tsv(line.text);
            return Ok(Some(line.number));
        }
        Ok(None)
    }

    /// Splits the next row, which may span lines; gives the number of its first line.
    fn next_csv(&mut self, splitter: &mut CsvSplitter) -> Result<Option<u64>, DataError> {
        let limit = self.lines.limit();
        let mut first: Option<u64> = None;
        splitter.start();
        loop {
            let Some(line) = self.lines.next_line()? else {
                let Some(line) = first else { return Ok(None) };
                let path = self.lines.path().to_owned();
                return Err(DataError::UnclosedQuote {
                    path,
                    line,
                    column: splitter.column(),
                });
            };
            if first.is_none() && line.text.is_empty() {
                self.skipped.push(line.number, SkipReason::BlankLine);
                continue;
            }
            let start = *first.get_or_insert(line.number);
            let progress = splitter.push_line(line.text, line.end);
            let path = || self.lines.path().to_owned();
            match progress {
                Err(CsvFault::StrayQuote(column)) => {
                    return Err(DataError::StrayQuote {
                        path: path(),
                        line: start,
                        column,
                    });
                }
                Ok(_) if splitter.held() > limit => {
                    return Err(DataError::LineTooLong {
                        path: path(),
                        line: start,
                        limit,
                    });
                }
                Ok(CsvProgress::Complete) => return Ok(Some(start)),
                Ok(CsvProgress::InQuotes) => {}
            }
        }
    }

    fn next_json(&mut self, columns: &Columns) -> Result<Option<Example>, DataError> {
        let path = self.lines.path().to_owned();
        while let Some(line) = self.lines.next_line()? {
            if line.text.trim().is_empty() {
                self.skipped.push(line.number, SkipReason::BlankLine);
                continue;
            }
            return table::example_from_json(columns, &path, line.number, line.text).map(Some);
        }
        Ok(None)
    }
}
