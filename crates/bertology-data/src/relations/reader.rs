//! The records of a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::record::RelationRecord;
use crate::content::Content;
use crate::error::DataError;
use crate::line::LineReader;
use crate::source::ReadOptions;

/// A file of related units, one record a line. Opening it again reads it again from the start, and once it was read to its
/// end it has to stay as it is.
#[derive(Debug, Clone)]
pub struct RelationFile {
    path: PathBuf,
    content: Content,
    options: ReadOptions,
}

impl RelationFile {
    /// Takes a file of records.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            content: Content::default(),
            options: ReadOptions::default(),
        }
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
    pub fn open(&self) -> Result<RelationReader, DataError> {
        if self.options.limit == Some(0) {
            return Err(DataError::ZeroLimit);
        }
        let limit = self.options.max_line_bytes;
        Ok(RelationReader {
            lines: LineReader::open(&self.path, limit, &self.content)?,
            limit: self.options.limit,
            counts: RelationCounts::default(),
            ended: false,
        })
    }
}

/// How much there was in the records handed out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RelationCounts {
    /// Records.
    pub records: u64,
    /// Their units.
    pub units: u64,
    /// Ordered pairs of two different units of a record.
    pub possible: u64,
    /// Related pairs by label.
    pub labels: BTreeMap<String, u64>,
    /// What contacts are known of without that there is a sequence.
    #[serde(skip_serializing_if = "is_zero")]
    pub unused: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl RelationCounts {
    /// Counts a record.
    pub(super) fn add(&mut self, record: &RelationRecord) {
        let units = record.units() as u64;
        self.records += 1;
        self.units += units;
        self.possible += units * units.saturating_sub(1);
        for pair in &record.pairs {
            match self.labels.get_mut(&pair.label) {
                Some(count) => *count += 1,
                None => drop(self.labels.insert(pair.label.clone(), 1)),
            }
        }
    }

    /// Related pairs.
    #[must_use]
    pub fn pairs(&self) -> u64 {
        self.labels.values().sum()
    }
}

/// An account of records that were read, fit for a run's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RelationInfo {
    /// The file; of proteins that of their sequences.
    pub path: PathBuf,
    /// The limit on records, if one was set.
    pub limit: Option<usize>,
    /// What was handed out.
    #[serde(flatten)]
    pub counts: RelationCounts,
    /// SHA-256 of the file, 64 lower-case hex digits; of proteins that of both files' digits one behind the other.
    pub sha256: String,
}

/// Hands out records one by one, holding one at a time; blank lines are passed over. The first error ends the iteration, and a
/// file whose records have no pair at all is one.
#[derive(Debug)]
pub struct RelationReader {
    lines: LineReader,
    limit: Option<usize>,
    counts: RelationCounts,
    ended: bool,
}

impl RelationReader {
    /// What was handed out so far.
    #[must_use]
    pub fn counts(&self) -> &RelationCounts {
        &self.counts
    }

    /// Reads the rest of the file only to hash it, and gives the account of the whole.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] if the rest cannot be read.
    pub fn finish(self) -> Result<RelationInfo, DataError> {
        let path = self.lines.path().to_owned();
        let (_, sha256) = self.lines.finish()?;
        Ok(RelationInfo {
            path,
            limit: self.limit,
            counts: self.counts,
            sha256,
        })
    }

    fn read(&mut self) -> Result<Option<RelationRecord>, DataError> {
        let path = self.lines.path().to_owned();
        while let Some(line) = self.lines.next_line()? {
            if line.text.trim().is_empty() {
                continue;
            }
            let number = line.number;
            let object = crate::json::object(line.text, &path, number)?;
            let record = RelationRecord::parse(object, number);
            let record = record.map_err(|fault| DataError::Relation {
                path,
                line: number,
                fault: Box::new(fault),
            })?;
            self.counts.add(&record);
            return Ok(Some(record));
        }
        Ok(None)
    }

    fn end(&self) -> Option<DataError> {
        let path = self.lines.path().to_owned();
        match self.counts.records {
            0 => Some(DataError::EmptyFile { path }),
            records => (self.counts.pairs() == 0).then_some(DataError::NoPairs { path, records }),
        }
    }
}

impl Iterator for RelationReader {
    type Item = Result<RelationRecord, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let enough = self
            .limit
            .is_some_and(|limit| self.counts.records >= limit as u64);
        let read = if enough { Ok(None) } else { self.read() };
        if let Ok(Some(record)) = read {
            return Some(Ok(record));
        }
        self.ended = true;
        read.err().or_else(|| self.end()).map(Err)
    }
}

impl std::iter::FusedIterator for RelationReader {}
