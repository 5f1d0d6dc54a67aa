//! One row split into fields: tab-separated without quoting, or RFC 4180.

/// The fields of one row, end to end in one string that is reused from row to row.
#[derive(Debug, Default)]
pub(crate) struct Record {
    text: String,
    ends: Vec<usize>,
}

impl Record {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.text.get(start..end)
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    fn end_field(&mut self) {
        self.ends.push(self.text.len());
    }

    /// Splits a line at its tabs; quotes are text.
    pub(crate) fn set_tsv(&mut self, line: &str) {
        self.clear();
        for field in line.split('\t') {
            self.text.push_str(field);
            self.end_field();
        }
    }
}

/// Why a CSV row cannot be split; each names the zero-based column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CsvFault {
    /// A quote inside a field that neither opens nor closes it.
    StrayQuote(usize),
}

/// Whether the row is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CsvProgress {
    /// The line ended the row.
    Complete,
    /// The line ended inside a quoted field, which goes on in the next line.
    InQuotes,
}

/// Splits RFC 4180 rows that come line by line, since a quoted field may hold line ends.
///
/// The state is kept here, and not in a general CSV reader, because a reader that is lenient about
/// quotes (as most are) lets one forgotten quote swallow the rest of the file as one field, without
/// a word. This one is strict: a quote opens a field only as its first character, closes it only as
/// its last, and is doubled inside.
#[derive(Debug, Default)]
pub(crate) struct CsvSplitter {
    record: Record,
    in_quotes: bool,
}

impl CsvSplitter {
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// Zero-based column that is being read.
    pub(crate) fn column(&self) -> usize {
        self.record.len()
    }

    /// Bytes of text held for the current row.
    pub(crate) fn held(&self) -> usize {
        self.record.text.len()
    }

    /// Forgets the row before; call at the start of each row.
    pub(crate) fn start(&mut self) {
        self.record.clear();
        self.in_quotes = false;
    }

    /// Adds a line, which was ended by `end`.
    pub(crate) fn push_line(&mut self, line: &str, end: &str) -> Result<CsvProgress, CsvFault> {
        let mut rest = line;
        loop {
            if !self.in_quotes {
                match rest.strip_prefix('"') {
                    Some(quoted) => {
                        self.in_quotes = true;
                        rest = quoted;
                    }
                    None => match self.push_plain(rest)? {
                        Some(next) => {
                            rest = next;
                            continue;
                        }
                        None => return Ok(CsvProgress::Complete),
                    },
                }
            }
            // Inside a quoted field: up to the next quote everything is text.
            let Some((text, after)) = rest.split_once('"') else {
                self.record.text.push_str(rest);
                self.record.text.push_str(end);
                return Ok(CsvProgress::InQuotes);
            };
            self.record.text.push_str(text);
            if let Some(doubled) = after.strip_prefix('"') {
                self.record.text.push('"');
                rest = doubled;
                continue;
            }
            self.in_quotes = false;
            if after.is_empty() {
                self.record.end_field();
                return Ok(CsvProgress::Complete);
            }
            let Some(next) = after.strip_prefix(',') else {
                return Err(CsvFault::StrayQuote(self.column()));
            };
            self.record.end_field();
            rest = next;
        }
    }

    /// Takes an unquoted field from the front; gives what follows its comma, if there is one.
    fn push_plain<'a>(&mut self, rest: &'a str) -> Result<Option<&'a str>, CsvFault> {
        let (field, next) = match rest.split_once(',') {
            Some((field, next)) => (field, Some(next)),
            None => (rest, None),
        };
        if field.contains('"') {
            return Err(CsvFault::StrayQuote(self.column()));
        }
        self.record.text.push_str(field);
        self.record.end_field();
        Ok(next)
    }
}
