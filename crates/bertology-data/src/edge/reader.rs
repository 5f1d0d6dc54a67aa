//! The records of a file.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::record::Record;
use crate::content::Content;
use crate::error::DataError;
use crate::line::LineReader;
use crate::source::ReadOptions;

/// A file of records, one JSON object a line. Opening it again reads it again from the start, and once it was read
/// to its end it has to stay as it is, as with a [`Source`](crate::Source).
#[derive(Debug, Clone)]
pub struct Records {
    path: PathBuf,
    content: Content,
    options: ReadOptions,
    one_span: bool,
}

impl Records {
    /// Takes a file of records.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            content: Content::default(),
            options: ReadOptions::default(),
            one_span: false,
        }
    }

    /// Takes every target as one of a single span: `span2` goes to [`Target::rest`](super::Target::rest), so that it
    /// stands where it stood when the record is written again. Otherwise all targets of a file have one span, or
    /// all have two.
    #[must_use]
    pub fn with_one_span(mut self) -> Self {
        self.one_span = true;
        self
    }

    /// Changes how much is read.
    #[must_use]
    pub fn with_options(mut self, options: ReadOptions) -> Self {
        self.options = options;
        self
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file to read record by record.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`], [`DataError::NotAFile`], [`DataError::ZeroLimit`].
    pub fn open(&self) -> Result<RecordReader, DataError> {
        if self.options.limit == Some(0) {
            return Err(DataError::ZeroLimit);
        }
        let limit = self.options.max_line_bytes;
        Ok(RecordReader {
            lines: LineReader::open(&self.path, limit, &self.content)?,
            limit: self.options.limit,
            counts: RecordCounts::default(),
            two_spans: None,
            one_span: self.one_span,
            ended: false,
        })
    }
}

/// How much there was in the records handed out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct RecordCounts {
    /// Records with targets.
    pub records: u64,
    /// Their words.
    pub words: u64,
    /// Their targets.
    pub targets: u64,
    /// Targets without any label.
    pub unlabelled: u64,
    /// Targets with several labels.
    pub several_labels: u64,
    /// Records without targets, passed over.
    pub without_targets: u64,
}

impl RecordCounts {
    /// Counts a record.
    pub fn add(&mut self, record: &Record) {
        if record.targets.is_empty() {
            self.without_targets += 1;
            return;
        }
        self.records += 1;
        self.words += record.words().count() as u64;
        self.targets += record.targets.len() as u64;
        for target in &record.targets {
            let labels = target.labels.set().len();
            self.unlabelled += u64::from(labels == 0);
            self.several_labels += u64::from(labels > 1);
        }
    }
}

/// An account of a file of records that was read, fit for a run's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordInfo {
    /// The file.
    pub path: PathBuf,
    /// The limit on records, if one was set.
    pub limit: Option<usize>,
    /// What was handed out; less than the file holds if a limit stopped the reading.
    #[serde(flatten)]
    pub counts: RecordCounts,
    /// Size of the whole file in bytes.
    pub bytes: u64,
    /// SHA-256 of the whole file (also when a limit stopped the reading), 64 lower-case hex digits.
    pub sha256: String,
}

/// Hands out the records of a file one by one, holding one at a time. Records without targets are counted and passed
/// over; so are blank lines, uncounted.
///
/// The first error ends the iteration. A file without a record that has targets is an error.
#[derive(Debug)]
pub struct RecordReader {
    lines: LineReader,
    limit: Option<usize>,
    counts: RecordCounts,
    /// Whether the targets so far have two spans.
    two_spans: Option<bool>,
    one_span: bool,
    ended: bool,
}

impl RecordReader {
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

    /// What was handed out so far.
    #[must_use]
    pub fn counts(&self) -> &RecordCounts {
        &self.counts
    }

    /// Whether the targets so far have two spans; nothing before the first.
    #[must_use]
    pub fn two_spans(&self) -> Option<bool> {
        self.two_spans
    }

    /// Reads the rest of the file only to hash it, and gives the account of the whole.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] if the rest cannot be read.
    pub fn finish(self) -> Result<RecordInfo, DataError> {
        let path = self.path().to_owned();
        let (bytes, sha256) = self.lines.finish()?;
        Ok(RecordInfo {
            path,
            limit: self.limit,
            counts: self.counts,
            bytes,
            sha256,
        })
    }

    fn read(&mut self) -> Result<Option<Record>, DataError> {
        let path = self.lines.path().to_owned();
        while let Some(line) = self.lines.next_line()? {
            if line.text.trim().is_empty() {
                continue;
            }
            let number = line.number;
            let object = crate::json::object(line.text, &path, number)?;
            let wrong = |fault| DataError::Record {
                path: path.clone(),
                line: number,
                fault: Box::new(fault),
            };
            let mut record = Record::parse(object, self.one_span).map_err(wrong)?;
            record.line = number;
            self.counts.add(&record);
            let Some(first) = record.targets.first() else {
                continue;
            };
            let found = first.span2.is_some();
            if *self.two_spans.get_or_insert(found) != found {
                return Err(wrong(super::RecordFault::SpanNumber {
                    target: super::Place::Target(1),
                    found,
                }));
            }
            return Ok(Some(record));
        }
        Ok(None)
    }

    fn nothing_found(&self) -> DataError {
        let path = self.path().to_owned();
        match self.counts.without_targets {
            0 => DataError::EmptyFile { path },
            records => DataError::NoTargets { path, records },
        }
    }
}

impl Iterator for RecordReader {
    type Item = Result<Record, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let given = self.counts.records;
        if self.ended || self.limit.is_some_and(|limit| given >= limit as u64) {
            return None;
        }
        let error = match self.read() {
            Ok(Some(record)) => return Some(Ok(record)),
            Ok(None) if given > 0 => {
                self.ended = true;
                return None;
            }
            Ok(None) => self.nothing_found(),
            Err(error) => error,
        };
        self.ended = true;
        Some(Err(error))
    }
}

impl std::iter::FusedIterator for RecordReader {}
