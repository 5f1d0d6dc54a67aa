//! Plain text as documents, and rows of token ids.

use crate::error::DataError;
use crate::example::{Example, SkipReason};
use crate::reader::Rows;

/// What is one document in a file of plain text.
///
/// Lines end with LF or CR LF; within a document of several lines they are joined by LF. A line is
/// blank if it holds nothing but white space.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Documents {
    /// Every line. Blank lines are skipped and counted.
    #[default]
    Lines,
    /// Every run of lines without a blank one. The blank lines between them are no documents and
    /// not counted.
    Paragraphs,
    /// The whole file, blank lines and the end of the last line included.
    WholeFile,
}

/// So many characters of a wrong value are quoted.
const QUOTED: usize = 40;

impl Rows {
    /// The next document of a file of plain text.
    pub(crate) fn next_document(
        &mut self,
        documents: Documents,
    ) -> Result<Option<Example>, DataError> {
        let limit = self.lines.limit();
        let mut first = None;
        let mut blank = true;
        let mut text = String::new();
        while let Some(line) = self.lines.next_line()? {
            let empty = line.text.trim().is_empty();
            match documents {
                Documents::Lines if empty => {
                    self.skipped.push(line.number, SkipReason::BlankLine);
                    continue;
                }
                Documents::Lines => return Ok(Some(document(line.text.to_owned(), line.number))),
                Documents::Paragraphs if empty && first.is_none() => continue,
                Documents::Paragraphs if empty => break,
                Documents::Paragraphs if first.is_some() => text.push('\n'),
                Documents::Paragraphs | Documents::WholeFile => {}
            }
            blank &= empty;
            let start = *first.get_or_insert(line.number);
            text.push_str(line.text);
            if documents == Documents::WholeFile && !line.end.is_empty() {
                text.push('\n');
            }
            if text.len() > limit {
                return Err(DataError::DocumentTooLong {
                    path: self.lines.path().to_owned(),
                    line: start,
                    limit,
                });
            }
        }
        Ok(first.filter(|_| !blank).map(|start| document(text, start)))
    }

    /// The next row of a file of token ids.
    pub(crate) fn next_token_ids(&mut self) -> Result<Option<Example>, DataError> {
        let path = self.lines.path().to_owned();
        while let Some(line) = self.lines.next_line()? {
            let (values, comment) = match line.text.split_once('#') {
                Some((values, _)) => (values, true),
                None => (line.text, false),
            };
            let ids = values
                .split_whitespace()
                .enumerate()
                .map(|(at, value)| {
                    value.parse().map_err(|_| DataError::NotATokenId {
                        path: path.clone(),
                        line: line.number,
                        column: at + 1,
                        found: value.chars().take(QUOTED).collect(),
                    })
                })
                .collect::<Result<Vec<u32>, _>>()?;
            if ids.is_empty() {
                let reason = if comment {
                    SkipReason::Comment
                } else {
                    SkipReason::BlankLine
                };
                self.skipped.push(line.number, reason);
                continue;
            }
            return Ok(Some(Example {
                token_ids: Some(ids),
                line: line.number,
                ..Example::default()
            }));
        }
        Ok(None)
    }
}

fn document(text: String, line: u64) -> Example {
    Example {
        text,
        line,
        ..Example::default()
    }
}
