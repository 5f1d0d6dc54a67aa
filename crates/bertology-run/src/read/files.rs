//! Arrays and tables of a run folder.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};

use bertology_data::CsvTable;
use bertology_store::npy::{self, Array};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Run, RunError};
use crate::head_column::HeadColumn;
use crate::state::sha256;
use crate::table::{Cells, OfHead, Row};

impl Run {
    /// Whether a file is as the run has written it; folders of older versions have no checksums. What is wrong with
    /// a file says more than that it was changed, so this is looked at when it could be read.
    fn unchanged(&self, file: &str, bytes: &[u8]) -> Result<(), RunError> {
        let sums = self.record.get("files");
        let sum = sums.and_then(|sums| sums.get(file)).and_then(Value::as_str);
        match sum {
            Some(sum) if sum != sha256(bytes) => Err(RunError::Changed {
                path: self.folder.join(file),
            }),
            _ => {
                self.sound().insert(file.to_owned());
                Ok(())
            }
        }
    }

    /// Nothing panics while it is held, and what is in it is true all the same.
    fn sound(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.sound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether every file that the run has written and that is still there is as it was written; those that were read
    /// already are not read again.
    ///
    /// # Errors
    /// [`RunError::Changed`] with the first that is not; a file that cannot be read.
    pub fn check_files(&self) -> Result<(), RunError> {
        let sums = self.record.get("files").and_then(Value::as_object);
        for file in sums.into_iter().flat_map(|sums| sums.keys()) {
            if self.sound().contains(file) {
                continue;
            }
            if let Some((_, bytes)) = self.bytes(file)? {
                self.unchanged(file, &bytes)?;
            }
        }
        Ok(())
    }

    /// The bytes of a file; nothing if it is not there.
    fn bytes(&self, file: &str) -> Result<Option<(PathBuf, Vec<u8>)>, RunError> {
        let path = self.folder.join(file);
        match bertology_file::read(&path) {
            Ok(bytes) => Ok(Some((path, bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(RunError::Io { path, source }),
        }
    }

    /// An array of any shape; nothing if the file is not there.
    ///
    /// # Errors
    /// A file that cannot be read or is damaged.
    pub fn array(&self, file: &str) -> Result<Option<Array>, RunError> {
        let Some((path, bytes)) = self.bytes(file)? else {
            return Ok(None);
        };
        let array = npy::decode(&bytes).map_err(|source| RunError::Npy { path, source })?;
        self.unchanged(file, &bytes)?;
        Ok(Some(array))
    }

    /// An array of this shape, row-major; nothing if the file is not there.
    ///
    /// # Errors
    /// A file that cannot be read or is damaged, and another shape.
    pub fn shaped(&self, file: &str, expected: &[usize]) -> Result<Option<Vec<f64>>, RunError> {
        match self.array(file)? {
            None => Ok(None),
            Some(array) if array.shape == expected => Ok(Some(array.values)),
            Some(array) => Err(RunError::Shape {
                path: self.folder.join(file),
                found: array.shape,
                expected: expected.to_vec(),
            }),
        }
    }

    /// An array `[layers, heads]` as a number per head; NaN is none. Nothing if the file is not there.
    ///
    /// # Errors
    /// A file that cannot be read or is damaged, and another shape.
    pub fn head_array(&self, file: &str) -> Result<Option<HeadColumn>, RunError> {
        let (layers, heads) = (self.model.layers, self.model.heads);
        let values = self.shaped(file, &[layers, heads])?;
        Ok(values.map(|values| HeadColumn {
            layers,
            heads,
            values: values
                .into_iter()
                .map(|v| v.is_finite().then_some(v))
                .collect(),
        }))
    }

    /// The rows of a table; nothing if its file is not there.
    ///
    /// # Errors
    /// A file that cannot be read or is damaged, a column that is not there, a field that is not what its
    /// column holds.
    pub fn rows<R: Row>(&self) -> Result<Option<Rows<R>>, RunError> {
        let Some((path, bytes)) = self.bytes(R::FILE)? else {
            return Ok(None);
        };
        let sound = self.unchanged(R::FILE, &bytes);
        let rows = Rows::parse(path, bytes)?;
        sound?;
        Ok(Some(rows))
    }

    /// A number per head from the rows of a table: what `value` gives, and nothing where it gives none.
    ///
    /// # Errors
    /// A row of a head that the model has not.
    pub fn per_head<R: OfHead>(
        &self,
        rows: &Rows<R>,
        value: impl Fn(&R) -> Option<f64>,
    ) -> Result<HeadColumn, RunError> {
        let mut found = HeadColumn::empty(self.model.layers, self.model.heads);
        for (at, row) in rows.all.iter().enumerate() {
            let (layer, head) = row.head();
            let known = found.get(layer, head);
            let value = value(row).filter(|value| value.is_finite()).or(known);
            if !found.set(layer, head, value) {
                return Err(RunError::Field {
                    path: rows.path.clone(),
                    row: at + 1,
                    column: "head".into(),
                    found: format!("{layer}.{head}"),
                    expected: "a head of the model",
                });
            }
        }
        Ok(found)
    }

    /// A JSON file other than `run.json`; nothing if it is not there.
    ///
    /// # Errors
    /// A file that cannot be read or is not what it should be.
    pub fn json<T: DeserializeOwned>(&self, file: &str) -> Result<Option<T>, RunError> {
        let Some((path, bytes)) = self.bytes(file)? else {
            return Ok(None);
        };
        let value = serde_json::from_slice(&bytes);
        let value = value.map_err(|source| RunError::Json { path, source })?;
        self.unchanged(file, &bytes)?;
        Ok(Some(value))
    }
}

/// The rows of a table, with the name of its file for messages.
#[derive(Debug, Clone)]
pub struct Rows<R> {
    path: PathBuf,
    /// In the order of the file.
    pub all: Vec<R>,
    /// The names of the columns that only the run knows.
    pub more: Vec<String>,
}

impl<R: Row> Rows<R> {
    /// Reads the table of a file outside of any run.
    ///
    /// # Errors
    /// As [`Run::rows`]; and a file that is not there.
    pub fn read(path: &Path) -> Result<Self, RunError> {
        let bytes = bertology_file::read(path).map_err(|source| RunError::Io {
            path: path.into(),
            source,
        })?;
        Self::parse(path.into(), bytes)
    }

    fn parse(path: PathBuf, bytes: Vec<u8>) -> Result<Self, RunError> {
        let text = String::from_utf8(bytes).map_err(|error| RunError::Io {
            path: path.clone(),
            source: io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()),
        })?;
        let csv = CsvTable::parse(&text).map_err(|source| RunError::Csv {
            path: path.clone(),
            source,
        })?;
        let own = R::columns(&[]);
        let more: Vec<String> = csv
            .columns
            .iter()
            .filter(|name| !own.contains(name))
            .cloned()
            .collect();
        let rows = csv.rows.iter().enumerate().map(|(at, fields)| {
            R::take(&Cells {
                path: &path,
                columns: &csv.columns,
                more: &more,
                fields,
                row: at + 1,
            })
        });
        let all = rows.collect::<Result<_, _>>()?;
        Ok(Self { path, all, more })
    }
}
