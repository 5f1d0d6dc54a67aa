//! Rows of tables: a struct a row, from which the line of names, the writer and the reader follow.

use std::borrow::Borrow;
use std::fmt::Write;

use crate::read::RunError;

/// A row of a table of a run folder.
pub trait Row: Sized {
    /// The table's file.
    const FILE: &'static str;

    /// The names of the columns in order; `more` are those that only the run knows, such as metrics.
    fn columns(more: &[String]) -> Vec<String>;

    /// Adds the fields to a line, each with a comma behind it.
    fn put(&self, line: &mut String);

    /// Reads the fields of a row.
    ///
    /// # Errors
    /// A column that is not there, a field that is not what its column holds.
    fn take(cells: &Cells<'_>) -> Result<Self, RunError>;
}

/// A row about one head.
pub trait OfHead: Row {
    /// Layer and head, counted from 0.
    fn head(&self) -> (usize, usize);
}

/// The line of names.
#[must_use]
pub fn header<R: Row>(more: &[String]) -> String {
    let mut line = String::new();
    for name in R::columns(more) {
        field(&mut line, &name);
        line.push(',');
    }
    end(&mut line);
    line
}

/// Adds a row to a text.
pub fn line<R: Row>(text: &mut String, row: &R) {
    row.put(text);
    end(text);
}

/// A whole table.
pub fn table<R: Row, B: Borrow<R>>(more: &[String], rows: impl IntoIterator<Item = B>) -> String {
    let mut text = header::<R>(more);
    for row in rows {
        line(&mut text, row.borrow());
    }
    text
}

fn end(text: &mut String) {
    if text.ends_with(',') {
        text.pop();
    }
    text.push('\n');
}

/// A field of a CSV file, quoted where it must be (RFC 4180).
fn field(line: &mut String, text: &str) {
    if text.contains([',', '"', '\n', '\r']) {
        let _ = write!(line, "\"{}\"", text.replace('"', "\"\""));
    } else {
        line.push_str(text);
    }
}

/// What a field may hold.
pub trait Value: Sized {
    /// For messages: what should stand there.
    const EXPECTED: &'static str;

    /// Adds the field to a line.
    fn put(&self, line: &mut String);

    /// Reads the field.
    fn parse(text: &str) -> Option<Self>;
}

macro_rules! value {
    ($($kind:ty: $expected:literal),+) => {$(
        impl Value for $kind {
            const EXPECTED: &'static str = $expected;

            fn put(&self, line: &mut String) {
                let _ = write!(line, "{self}");
            }

            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        }
    )+};
}

value! {
    usize: "a whole number from 0 on",
    u64: "a whole number from 0 on",
    i64: "a whole number",
    f32: "a number",
    f64: "a number"
}

impl Value for String {
    const EXPECTED: &'static str = "a text";

    fn put(&self, line: &mut String) {
        field(line, self);
    }

    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "0 or 1";

    fn put(&self, line: &mut String) {
        line.push(if *self { '1' } else { '0' });
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        }
    }
}

/// The fields of the columns that only the run knows, in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct More<T>(pub Vec<T>);

/// A field of a row struct: one column, or several.
pub trait Cell: Sized {
    /// Adds the names of its columns.
    fn names(name: &str, _more: &[String], names: &mut Vec<String>) {
        names.push(name.to_owned());
    }

    /// Adds its fields to a line, each with a comma behind it.
    fn put(&self, line: &mut String);

    /// Reads it.
    ///
    /// # Errors
    /// A column that is not there, a field that is not what its column holds.
    fn take(cells: &Cells<'_>, name: &str) -> Result<Self, RunError>;
}

impl<T: Value> Cell for T {
    fn put(&self, line: &mut String) {
        Value::put(self, line);
        line.push(',');
    }

    fn take(cells: &Cells<'_>, name: &str) -> Result<Self, RunError> {
        let at = cells.column(name).ok_or_else(|| cells.lacks(name))?;
        let text = cells.text(at);
        T::parse(text).ok_or_else(|| cells.wrong(name, text, T::EXPECTED))
    }
}

/// An empty field, or a column that older versions did not write.
impl<T: Value> Cell for Option<T> {
    fn put(&self, line: &mut String) {
        if let Some(value) = self {
            value.put(line);
        }
        line.push(',');
    }

    fn take(cells: &Cells<'_>, name: &str) -> Result<Self, RunError> {
        match cells.column(name) {
            None => Ok(None),
            Some(at) if cells.text(at).is_empty() => Ok(None),
            Some(_) => T::take(cells, name).map(Some),
        }
    }
}

impl<T: Value> Cell for More<Option<T>> {
    fn names(_name: &str, more: &[String], names: &mut Vec<String>) {
        names.extend_from_slice(more);
    }

    fn put(&self, line: &mut String) {
        for value in &self.0 {
            value.put(line);
        }
    }

    fn take(cells: &Cells<'_>, _name: &str) -> Result<Self, RunError> {
        let values = cells.more.iter().map(|name| Cell::take(cells, name));
        values.collect::<Result<_, _>>().map(Self)
    }
}

/// Columns and what earlier versions called them.
const RENAMED: [(&str, &str); 1] = [("importance_raw", "raw")];

/// The fields of a row that is read.
#[derive(Debug)]
pub struct Cells<'a> {
    pub(crate) path: &'a std::path::Path,
    pub(crate) columns: &'a [String],
    /// The names of the columns that the row's struct does not name.
    pub(crate) more: &'a [String],
    pub(crate) fields: &'a [String],
    /// Counted from 1, without the line of names.
    pub(crate) row: usize,
}

impl Cells<'_> {
    fn column(&self, name: &str) -> Option<usize> {
        let find = |name: &str| self.columns.iter().position(|column| column == name);
        find(name).or_else(|| {
            let (_, old) = RENAMED.iter().find(|(new, _)| *new == name)?;
            find(old)
        })
    }

    fn text(&self, at: usize) -> &str {
        self.fields.get(at).map_or("", String::as_str)
    }

    fn lacks(&self, column: &str) -> RunError {
        RunError::Column {
            path: self.path.into(),
            column: column.into(),
        }
    }

    pub(crate) fn wrong(&self, column: &str, found: &str, expected: &'static str) -> RunError {
        RunError::Field {
            path: self.path.into(),
            row: self.row,
            column: column.into(),
            found: found.chars().take(40).collect(),
            expected,
        }
    }
}

/// A row struct with its file: `row! { /// … struct Name in "file.csv" { /// … field: Type, … } }`.
macro_rules! row {
    ($(
        $(#[$about:meta])*
        struct $name:ident in $file:literal {
            $($(#[$means:meta])* $field:ident: $kind:ty,)+
        }
    )+) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[$means])* pub $field: $kind,)+
        }

        impl $crate::table::Row for $name {
            const FILE: &'static str = $file;

            fn columns(more: &[String]) -> Vec<String> {
                let mut names = Vec::new();
                $(<$kind as $crate::table::Cell>::names(stringify!($field), more, &mut names);)+
                names
            }

            fn put(&self, line: &mut String) {
                $($crate::table::Cell::put(&self.$field, line);)+
            }

            fn take(cells: &$crate::table::Cells<'_>) -> Result<Self, $crate::RunError> {
                Ok(Self {
                    $($field: $crate::table::Cell::take(cells, stringify!($field))?,)+
                })
            }
        }
    )+};
}

macro_rules! of_head {
    ($($name:ident),+) => {$(
        impl $crate::table::OfHead for $name {
            fn head(&self) -> (usize, usize) {
                (self.layer, self.head)
            }
        }
    )+};
}

pub(crate) use {of_head, row};
