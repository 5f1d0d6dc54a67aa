//! A CSV table held whole: what a run folder's tables are read with.

use crate::error::plural;
use bertology_error::Kind;
use thiserror::Error;

use crate::record::{CsvFault, CsvProgress, CsvSplitter};

/// A table with a line of names on top.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CsvTable {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The fields, row by row; every row has as many as there are columns.
    pub rows: Vec<Vec<String>>,
}

/// Why a table cannot be read. Lines are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CsvError {
    /// There is not even a line of names.
    #[error("it is empty")]
    Empty,
    /// A quote inside a field that neither opens nor closes it.
    #[error("line {line}: a stray quote in field {}", column + 1)]
    StrayQuote {
        /// Where the row begins.
        line: usize,
        /// Zero-based.
        column: usize,
    },
    /// The file ends inside a quoted field.
    #[error("line {line}: a quote is opened and never closed")]
    Unclosed {
        /// Where the row begins.
        line: usize,
    },
    /// A row of another width than the names.
    #[error("line {line}: {}, but {} a name", plural(*found, "field"), match expected {
        1 => "1 column has".to_owned(),
        more => format!("{more} columns have"),
    })]
    Width {
        /// Where the row begins.
        line: usize,
        /// Columns with a name.
        expected: usize,
        /// Fields of the row.
        found: usize,
    },
}

impl CsvError {
    /// Whose fault it was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Empty | Self::StrayQuote { .. } | Self::Unclosed { .. } | Self::Width { .. } => {
                Kind::Input
            }
        }
    }
}

impl CsvTable {
    /// Reads RFC 4180, strictly: a row of another width, a stray or an open quote is an error. Blank lines
    /// are passed over.
    ///
    /// # Errors
    /// [`CsvError`], with the line.
    pub fn parse(text: &str) -> Result<Self, CsvError> {
        let mut splitter = CsvSplitter::default();
        let mut table = Self::default();
        let mut begun = None;
        for (number, whole) in text.split_inclusive('\n').enumerate() {
            let line = whole.strip_suffix('\n').unwrap_or(whole);
            let line = line.strip_suffix('\r').unwrap_or(line);
            let start = *begun.get_or_insert_with(|| {
                splitter.start();
                number + 1
            });
            if line.is_empty() && start == number + 1 {
                begun = None;
                continue;
            }
            match splitter.push_line(line, whole.get(line.len()..).unwrap_or("\n")) {
                Err(CsvFault::StrayQuote(column)) => {
                    return Err(CsvError::StrayQuote {
                        line: start,
                        column,
                    });
                }
                Ok(CsvProgress::InQuotes) => {}
                Ok(CsvProgress::Complete) => {
                    let fields = splitter.record().fields().map(str::to_owned).collect();
                    table.push(start, fields)?;
                    begun = None;
                }
            }
        }
        match begun {
            Some(line) => Err(CsvError::Unclosed { line }),
            None if table.columns.is_empty() => Err(CsvError::Empty),
            None => Ok(table),
        }
    }

    fn push(&mut self, line: usize, fields: Vec<String>) -> Result<(), CsvError> {
        if self.columns.is_empty() {
            self.columns = fields;
        } else if fields.len() == self.columns.len() {
            self.rows.push(fields);
        } else {
            return Err(CsvError::Width {
                line,
                expected: self.columns.len(),
                found: fields.len(),
            });
        }
        Ok(())
    }

    /// Which column has this name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_those_of_the_csv_crate() {
        for text in [
            "a,b\n1,2\n3,4\n",
            "a,b\r\n\"x, \"\"y\"\"\",\"two\nlines\"\r\n\n,\n",
            "a\n1",
        ] {
            let table = CsvTable::parse(text).expect("a good table");
            let mut judge = csv::Reader::from_reader(text.as_bytes());
            let names: Vec<String> = judge
                .headers()
                .expect("names")
                .iter()
                .map(Into::into)
                .collect();
            assert_eq!(table.columns, names);
            let rows: Vec<Vec<String>> = judge
                .records()
                .map(|row| row.expect("a row").iter().map(Into::into).collect())
                .collect();
            assert_eq!(table.rows, rows);
        }
        assert_eq!(
            CsvTable::parse("a,b\n1,2\n").expect("good").column("b"),
            Some(1)
        );
    }

    #[test]
    fn damaged_tables_are_errors() {
        let wrong = |text| CsvTable::parse(text).expect_err("a damaged table");
        assert_eq!(wrong(""), CsvError::Empty);
        assert_eq!(wrong("a,b\n1,\"2\n3,4\n"), CsvError::Unclosed { line: 2 });
        assert_eq!(
            wrong("a,b\n\n1,2\"\n"),
            CsvError::StrayQuote { line: 3, column: 1 }
        );
        let width = CsvError::Width {
            line: 3,
            expected: 2,
            found: 3,
        };
        assert_eq!(wrong("a,b\n1,2\n1,2,3\n"), width);
    }
}
