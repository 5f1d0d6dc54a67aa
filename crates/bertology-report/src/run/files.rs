//! Arrays and tables of a run folder.

use std::fs;
use std::io;
use std::path::PathBuf;

use bertology_data::CsvTable;
use bertology_store::npy::{self, Array};
use serde_json::Value;

use super::{HeadValues, Run, RunError};

impl Run {
    /// The bytes of a file; nothing if it is not there.
    fn bytes(&self, file: &str) -> Result<Option<(PathBuf, Vec<u8>)>, RunError> {
        let path = self.folder.join(file);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some((path, bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(RunError::Io { path, source }),
        }
    }

    /// An array of any shape.
    pub(crate) fn array(&self, file: &str) -> Result<Option<Array>, RunError> {
        let Some((path, bytes)) = self.bytes(file)? else {
            return Ok(None);
        };
        let array = npy::decode(&bytes);
        array
            .map(Some)
            .map_err(|source| RunError::Npy { path, source })
    }

    /// An array of this shape.
    pub(crate) fn shaped(
        &self,
        file: &str,
        expected: &[usize],
    ) -> Result<Option<Vec<f64>>, RunError> {
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

    /// A number per head; NaN is none.
    pub(crate) fn head_array(&self, file: &str) -> Result<Option<HeadValues>, RunError> {
        let (layers, heads) = (self.model.layers, self.model.heads);
        let values = self.shaped(file, &[layers, heads])?;
        Ok(values.map(|values| HeadValues {
            layers,
            heads,
            values: values
                .into_iter()
                .map(|v| v.is_finite().then_some(v))
                .collect(),
        }))
    }

    /// A table.
    pub(crate) fn table(&self, file: &str) -> Result<Option<Table>, RunError> {
        let Some((path, bytes)) = self.bytes(file)? else {
            return Ok(None);
        };
        let text = String::from_utf8(bytes).map_err(|error| RunError::Io {
            path: path.clone(),
            source: io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()),
        })?;
        let csv = CsvTable::parse(&text).map_err(|source| RunError::Csv {
            path: path.clone(),
            source,
        })?;
        Ok(Some(Table { path, csv }))
    }

    /// A JSON file other than `run.json`.
    pub(crate) fn json(&self, file: &str) -> Result<Option<Value>, RunError> {
        let Some((path, bytes)) = self.bytes(file)? else {
            return Ok(None);
        };
        let value = serde_json::from_slice(&bytes);
        value
            .map(Some)
            .map_err(|source| RunError::Json { path, source })
    }
}

/// A table with the name of its file, for messages.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    path: PathBuf,
    csv: CsvTable,
}

impl Table {
    pub(crate) fn columns(&self) -> &[String] {
        &self.csv.columns
    }

    pub(crate) fn len(&self) -> usize {
        self.csv.rows.len()
    }

    pub(crate) fn has(&self, column: &str) -> bool {
        self.csv.column(column).is_some()
    }

    /// A column as it is written.
    pub(crate) fn texts(&self, column: &str) -> Result<Vec<&str>, RunError> {
        let at = self.csv.column(column).ok_or_else(|| RunError::Column {
            path: self.path.clone(),
            column: column.into(),
        })?;
        let fields = self
            .csv
            .rows
            .iter()
            .map(|row| row.get(at).map_or("", String::as_str));
        Ok(fields.collect())
    }

    /// A column of numbers; an empty field and NaN are none.
    pub(crate) fn numbers(&self, column: &str) -> Result<Vec<Option<f64>>, RunError> {
        let fields = self.texts(column)?.into_iter().enumerate();
        fields
            .map(|(row, text)| match text.parse::<f64>() {
                _ if text.is_empty() => Ok(None),
                Ok(value) => Ok(value.is_finite().then_some(value)),
                Err(_) => Err(self.wrong(row, column, text, "a number")),
            })
            .collect()
    }

    /// The heads of the rows; none where a row is of no head.
    pub(crate) fn heads(&self) -> Result<Vec<Option<(usize, usize)>>, RunError> {
        let (layers, heads) = (self.texts("layer")?, self.texts("head")?);
        let index = |row: usize, column: &str, text: &str| {
            text.parse::<usize>()
                .map_err(|_| self.wrong(row, column, text, "a whole number from 0 on"))
        };
        let pairs = layers.into_iter().zip(heads).enumerate();
        pairs
            .map(|(row, (layer, head))| {
                if layer.is_empty() && head.is_empty() {
                    return Ok(None);
                }
                Ok(Some((
                    index(row, "layer", layer)?,
                    index(row, "head", head)?,
                )))
            })
            .collect()
    }

    fn wrong(&self, row: usize, column: &str, found: &str, expected: &'static str) -> RunError {
        RunError::Field {
            path: self.path.clone(),
            row: row + 1,
            column: column.into(),
            found: found.chars().take(40).collect(),
            expected,
        }
    }

    /// A column of numbers as a number per head, of the rows that `keep` chooses.
    pub(crate) fn head_values(
        &self,
        run: &Run,
        column: &str,
        keep: impl Fn(usize) -> bool,
    ) -> Result<HeadValues, RunError> {
        let mut found = HeadValues::empty(run.model.layers, run.model.heads);
        let numbers = self.numbers(column)?.into_iter();
        for (row, (head, value)) in self.heads()?.into_iter().zip(numbers).enumerate() {
            let Some((layer, head)) = head.filter(|_| keep(row)) else {
                continue;
            };
            if !found.set(layer, head, value) {
                let head = format!("{layer}.{head}");
                return Err(self.wrong(row, "head", &head, "a head of the model"));
            }
        }
        Ok(found)
    }
}
