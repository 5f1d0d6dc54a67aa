//! The reader that walks through a file.

use std::path::Path;
use std::vec;

use crate::error::DataError;
use crate::example::{DatasetInfo, Example, SkipReason, Skipped};
use crate::glue::GlueLayout;
use crate::header::{self, GuessedHeader, Header};
use crate::line::{LineMark, LineReader};
use crate::questions::{self, Asked};
use crate::record::{CsvFault, CsvProgress, CsvSplitter, Record};
use crate::source::Layout;
use crate::table::{self, Columns, Fields, TableFormat};
use crate::tagged::{self, TagFormat};
use crate::task::{Mode, Split, Task};
use crate::text::Documents;

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
        from: &'static str,
        splitter: CsvSplitter,
    },
    Json(Columns),
    Text(Documents),
    TokenIds,
    /// `width`: fields of a line, once it is known.
    Sentences {
        columns: Columns,
        width: Option<usize>,
    },
    Tagged(Box<Self>),
    TaggedJson(Columns),
    Questions,
    /// What a document of JSON held.
    Loaded(vec::IntoIter<Asked>),
    LoadedSentences(vec::IntoIter<Example>),
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

/// A place between two examples of a file, to go on from; see
/// [`Source::open_at`](crate::Source::open_at).
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
    guessed_header: Option<GuessedHeader>,
}

/// The first rows of a table, and those behind the first.
struct FirstRows {
    first: Vec<String>,
    rest: Vec<Vec<String>>,
}

impl ExampleReader {
    /// Reads the header, if the file must have one.
    pub(crate) fn new(
        lines: LineReader,
        layout: &Layout,
        task: Option<Task>,
        split: Option<Split>,
        limit: Option<usize>,
    ) -> Result<Self, DataError> {
        let mut reader = Self {
            rows: Rows {
                lines,
                skipped: Skipped::default(),
                record: Record::default(),
            },
            shape: Shape::Json(Columns::text("")),
            task,
            split,
            limit,
            given: 0,
            state: State::Reading,
            has_header: false,
            guessed_header: None,
        };
        reader.shape = reader.read_header(layout)?;
        Ok(reader)
    }

    /// Goes on from a place of the same file.
    pub(crate) fn go_on(&mut self, mark: &Mark) -> Result<(), DataError> {
        self.rows.skipped.clone_from(&mark.skipped);
        self.given = mark.given;
        let before = usize::try_from(mark.given).unwrap_or(usize::MAX);
        match &mut self.shape {
            Shape::Loaded(rows) => drop(rows.by_ref().take(before).count()),
            Shape::LoadedSentences(rows) => drop(rows.by_ref().take(before).count()),
            _ => self.rows.lines.seek(mark.lines)?,
        }
        Ok(())
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.rows.lines.path()
    }

    /// Bytes taken from the file so far, for a progress bar; runs ahead by the buffer's 16 KiB.
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
            guessed_header: self.guessed_header,
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
                let (named, guessed) = named(rows, &rows.record, TableFormat::Tsv, columns)?;
                let fields = columns.resolve(rows.lines.path(), &rows.record, named)?;
                let columns = rows.record.len();
                if !named {
                    rows.begin_anew()?;
                }
                self.has_header = named;
                self.guessed_header = guessed;
                Ok(Shape::Tsv {
                    fields,
                    columns,
                    from: like_the_first(named),
                    skip_short: false,
                })
            }
            Layout::Table(TableFormat::Csv, columns) => {
                let mut splitter = CsvSplitter::default();
                rows.next_csv(&mut splitter)?.ok_or_else(|| rows.empty())?;
                let (named, guessed) = named(rows, splitter.record(), TableFormat::Csv, columns)?;
                let fields = columns.resolve(rows.lines.path(), splitter.record(), named)?;
                if !named {
                    rows.begin_anew()?;
                }
                self.has_header = named;
                self.guessed_header = guessed;
                Ok(Shape::Csv {
                    fields,
                    columns: splitter.record().len(),
                    from: like_the_first(named),
                    splitter,
                })
            }
            Layout::Table(TableFormat::Jsonl, columns) => Ok(Shape::Json(columns.clone())),
            Layout::Text(documents) => Ok(Shape::Text(*documents)),
            Layout::TokenIds => Ok(Shape::TokenIds),
            Layout::Tagged(TagFormat::Lines, columns) => Ok(Shape::Sentences {
                columns: columns.clone(),
                width: None,
            }),
            Layout::Tagged(TagFormat::Csv, columns) => {
                let table = Layout::Table(TableFormat::Csv, columns.clone());
                Ok(Shape::Tagged(Box::new(self.read_header(&table)?)))
            }
            Layout::Tagged(TagFormat::Json, columns) => match rows.json_document()? {
                None => Ok(Shape::TaggedJson(columns.clone())),
                Some(document) => {
                    let path = rows.lines.path();
                    let sentences = document.rows.iter().map(|row| {
                        // A document's rows have no lines of their own.
                        let object = questions::object(path, 1, row)?;
                        tagged::from_object(columns, path, 1, object)
                    });
                    let sentences = sentences.collect::<Result<Vec<_>, _>>()?;
                    Ok(Shape::LoadedSentences(sentences.into_iter()))
                }
            },
            Layout::Questions => match rows.json_document()? {
                None => Ok(Shape::Questions),
                Some(document) => {
                    let asked = questions::of_document(rows.lines.path(), document)?;
                    Ok(Shape::Loaded(asked.into_iter()))
                }
            },
        }
    }

    /// The next example, or `None` at the end of the file.
    fn read(&mut self) -> Result<Option<Example>, DataError> {
        Self::read_row(&mut self.rows, &mut self.shape)
    }

    fn read_row(rows: &mut Rows, shape: &mut Shape) -> Result<Option<Example>, DataError> {
        match shape {
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
                from,
                splitter,
            } => {
                let Some(line) = rows.next_csv(splitter)? else {
                    return Ok(None);
                };
                let record = splitter.record();
                rows.check_columns(line, record.len(), *columns, from)?;
                fields.example(rows.lines.path(), line, record).map(Some)
            }
            Shape::Json(columns) => rows
                .next_json(|path, line, text| table::example_from_json(columns, path, line, text)),
            Shape::Text(documents) => rows.next_document(*documents),
            Shape::TokenIds => rows.next_token_ids(),
            Shape::Sentences { columns, width } => rows.next_sentence(columns, width),
            Shape::Tagged(table) => {
                let row = Self::read_row(rows, table)?;
                row.map(|row| tagged::from_cells(rows.lines.path(), row))
                    .transpose()
            }
            Shape::TaggedJson(columns) => rows.next_json(|path, line, text| {
                let object = table::object_from_json(path, line, text)?;
                tagged::from_object(columns, path, line, &object)
            }),
            Shape::Questions => rows.next_json(|path, line, text| {
                let object = table::object_from_json(path, line, text)?;
                Ok(questions::of_object(path, line, &object, None)?.example())
            }),
            Shape::Loaded(asked) => Ok(asked.next().map(Asked::example)),
            Shape::LoadedSentences(sentences) => Ok(sentences.next()),
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

/// Where the expected number of columns comes from.
fn like_the_first(named: bool) -> &'static str {
    match named {
        true => "as in the header",
        false => "as in the first row",
    }
}

/// Whether the first row of a table names its columns, and whether that was guessed.
fn named(
    rows: &Rows,
    first: &Record,
    format: TableFormat,
    columns: &Columns,
) -> Result<(bool, Option<GuessedHeader>), DataError> {
    let path = || rows.lines.path().to_owned();
    // A number that is none of a column is refused as a name is.
    let there = |(text, label): &(usize, Option<usize>)| {
        *text.max(label.as_ref().unwrap_or(&0)) < first.len()
    };
    let unnamed = columns
        .numbers()
        .filter(|found| first.len() == 1 || there(found));
    let guesses = columns.header == Header::Guess && unnamed.is_some();
    if !guesses && first.len() > 1 {
        return Ok((columns.header != Header::Absent, None));
    }
    let FirstRows { first, rest } = first_rows(rows, first, format);
    let found = header::other_separator(format, &first, &rest, &columns.wanted());
    if let Some(found) = found {
        return Err(DataError::WrongSeparator {
            path: path(),
            found,
            expected: match format {
                TableFormat::Csv => "commas",
                _ => "tabs",
            },
        });
    }
    let Some((text, label)) = unnamed.filter(|_| guesses) else {
        return Ok((columns.header != Header::Absent, None));
    };
    match header::guess(&first, &rest, text, label) {
        None => Err(DataError::HeaderUnclear {
            path: path(),
            first,
        }),
        Some(guessed) => Ok((guessed == GuessedHeader::Header, Some(guessed))),
    }
}

/// Looks ahead with a reader of its own. What is wrong with these rows is said when they are read.
fn first_rows(rows: &Rows, first: &Record, format: TableFormat) -> FirstRows {
    let owned = |record: &Record| record.fields().map(str::to_owned).collect::<Vec<_>>();
    let mut rest = Vec::new();
    if let Ok(lines) = rows.lines.again() {
        let mut ahead = Rows {
            lines,
            skipped: Skipped::default(),
            record: Record::default(),
        };
        let mut splitter = CsvSplitter::default();
        for at in 0..=header::SAMPLE {
            let found = match format {
                TableFormat::Csv => ahead.next_csv(&mut splitter),
                _ => ahead.next_tsv(),
            };
            let Ok(Some(_)) = found else { break };
            if at > 0 {
                rest.push(owned(match format {
                    TableFormat::Csv => splitter.record(),
                    _ => &ahead.record,
                }));
            }
        }
    }
    FirstRows {
        first: owned(first),
        rest,
    }
}

/// Too few columns mean another task's file; a label in the first line means a lost header.
fn check_glue_header(rows: &Rows, line: u64, layout: &GlueLayout) -> Result<(), DataError> {
    let found = rows.record.len();
    if found == 1
        && let Some(field) = rows.record.get(0)
        && field.matches(',').count() + 1 >= layout.columns
    {
        return Err(DataError::WrongSeparator {
            path: rows.lines.path().to_owned(),
            found: "commas",
            expected: "tabs",
        });
    }
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

    /// Goes back to before the first row, which is an example; the hash begins anew, too.
    fn begin_anew(&mut self) -> Result<(), DataError> {
        self.skipped = Skipped::default();
        self.lines = self.lines.again()?;
        Ok(())
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

    /// The next object of a file with one a line.
    fn next_json(
        &mut self,
        example: impl Fn(&Path, u64, &str) -> Result<Example, DataError>,
    ) -> Result<Option<Example>, DataError> {
        let path = self.lines.path().to_owned();
        while let Some(line) = self.lines.next_line()? {
            if line.text.trim().is_empty() {
                self.skipped.push(line.number, SkipReason::BlankLine);
                continue;
            }
            return example(&path, line.number, line.text).map(Some);
        }
        Ok(None)
    }
}
