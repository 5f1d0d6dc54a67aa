//! Plain text as documents, and rows of token ids.

use std::ffi::OsStr;
use std::path::Path;

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
    /// Every record of FASTA: the lines behind one that begins with `>`, put together without white space, and without a `*` at
    /// the end, which is no residue. Lines that begin with `;` are comments.
    Fasta,
}

impl Documents {
    /// [`Documents::Fasta`] for a file with one of its usual endings, else [`Documents::Lines`].
    #[must_use]
    pub fn of_file(path: &Path) -> Self {
        let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        let fasta = ["fasta", "fa", "faa"];
        if fasta.iter().any(|known| ending.eq_ignore_ascii_case(known)) {
            Self::Fasta
        } else {
            Self::Lines
        }
    }
}

/// So many characters of a wrong value are quoted.
const QUOTED: usize = 40;

impl Rows {
    /// The next document of a file of plain text.
    pub(crate) fn next_document(
        &mut self,
        documents: Documents,
    ) -> Result<Option<Example>, DataError> {
        if documents == Documents::Fasta {
            return self.next_fasta();
        }
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
                Documents::Paragraphs | Documents::WholeFile | Documents::Fasta => {}
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

    /// The next record of a file of sequences.
    fn next_fasta(&mut self) -> Result<Option<Example>, DataError> {
        let (path, limit) = (self.lines.path().to_owned(), self.lines.limit());
        let wrong = |line, problem| DataError::Fasta {
            path: path.clone(),
            line,
            problem,
        };
        let mut header = None;
        let mut text = String::new();
        while let Some(line) = self.lines.next_line()? {
            if line.text.starts_with(';') {
                continue;
            }
            if line.text.starts_with('>') {
                if header.is_some() {
                    self.lines.give_back();
                    break;
                }
                let name = line.text[1..].split_whitespace().next();
                header = Some((line.number, name.map(str::to_owned)));
                continue;
            }
            if line.text.trim().is_empty() {
                continue;
            }
            let Some((first, _)) = header else {
                return Err(wrong(line.number, "no line with `>` stands before it"));
            };
            text.extend(line.text.split_whitespace());
            if text.len() > limit {
                return Err(DataError::DocumentTooLong {
                    path,
                    line: first,
                    limit,
                });
            }
        }
        if text.ends_with('*') {
            text.pop();
        }
        match header {
            None => Ok(None),
            Some((first, _)) if text.is_empty() => Err(wrong(
                first,
                "the record that begins here has no sequence; take it out",
            )),
            Some((first, name)) => Ok(Some(Example {
                name,
                ..document(text, first)
            })),
        }
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
