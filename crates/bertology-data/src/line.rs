//! Lines of a file: bounded in length, checked, counted, and hashed on the way.

use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use bertology_file::Refusal;

use crate::content::{self, BlockReader, Content};
use crate::error::DataError;

/// Reads a text file line by line. A line ends with LF or CR LF; a lone CR is text. A byte order
/// mark at the start is dropped. Holds one line at a time, of at most `limit` bytes.
pub struct LineReader {
    path: PathBuf,
    inner: BlockReader,
    content: Content,
    buffer: Vec<u8>,
    at: LineMark,
    /// The place before the last line, and whether that line is handed out once more.
    before: LineMark,
    again: bool,
    limit: usize,
}

/// A place between two lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LineMark {
    /// Bytes before it.
    byte: u64,
    /// Lines before it.
    line: u64,
}

/// A line without its end.
#[derive(Debug)]
pub struct Line<'a> {
    /// What is before its end.
    pub text: &'a str,
    /// From 1.
    pub number: u64,
    /// What ended it: LF, CR LF, or nothing at the end of the file.
    pub end: &'static str,
}

impl LineReader {
    /// Opens a file to read lines of at most `limit` bytes. One that was read before must still be what it was then.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`], [`DataError::NotAFile`].
    pub fn open(path: &Path, limit: usize, content: &Content) -> Result<Self, DataError> {
        let file = content::open(path)?;
        Ok(Self {
            path: path.to_owned(),
            inner: BlockReader::new(file, content),
            content: content.clone(),
            buffer: Vec::new(),
            at: LineMark::default(),
            before: LineMark::default(),
            again: false,
            limit,
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes taken from the file so far, what is buffered included.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.inner.size()
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Another reader of the same file, at its beginning.
    pub(crate) fn again(&self) -> Result<Self, DataError> {
        Self::open(&self.path, self.limit, &self.content)
    }

    /// The next line, or `None` at the end of the file.
    ///
    /// # Errors
    ///
    /// [`DataError::LineTooLong`], [`DataError::NulByte`], [`DataError::InvalidUtf8`], [`DataError::Io`] and
    /// [`DataError::Changed`].
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, DataError> {
        const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
        if !std::mem::take(&mut self.again) {
            self.buffer.clear();
            // Room for a byte order mark and CR LF beyond the limit; the exact check comes below.
            let most = (self.limit as u64).saturating_add(5);
            (&mut self.inner)
                .take(most)
                .read_until(b'\n', &mut self.buffer)
                .map_err(|source| self.failed(source))?;
        }
        if self.buffer.is_empty() {
            return Ok(None);
        }
        self.before = self.at;
        self.at.byte += self.buffer.len() as u64;
        self.at.line += 1;
        let number = self.at.line;
        let mut bytes = self.buffer.as_slice();
        if number == 1 {
            if bertology_file::is_lfs_pointer(bytes) {
                return Err(DataError::Io {
                    path: self.path.clone(),
                    source: Refusal::LfsPointer.into(),
                });
            }
            bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        }
        let mut end = "";
        if let Some(rest) = bytes.strip_suffix(b"\n") {
            (bytes, end) = match rest.strip_suffix(b"\r") {
                Some(rest) => (rest, "\r\n"),
                None => (rest, "\n"),
            };
        }
        if bytes.len() > self.limit {
            let path = self.path.clone();
            return Err(DataError::LineTooLong {
                path,
                line: number,
                limit: self.limit,
            });
        }
        // NUL first: UTF-16 text is full of them, and often not UTF-8 only further on.
        if let Some(at) = bytes.iter().position(|&byte| byte == 0) {
            let path = self.path.clone();
            return Err(DataError::NulByte {
                path,
                line: number,
                byte: at + 1,
            });
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(Line { text, number, end })),
            Err(error) => Err(DataError::InvalidUtf8 {
                path: self.path.clone(),
                line: number,
                byte: error.valid_up_to() + 1,
            }),
        }
    }

    /// Gives the last line back: it is the next one once more.
    pub(crate) fn give_back(&mut self) {
        self.at = self.before;
        self.again = true;
    }

    /// The place behind the last line.
    #[must_use]
    pub fn mark(&self) -> LineMark {
        self.at
    }

    /// Goes on from a place of the same file; what is before it is not read.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] and [`DataError::Changed`].
    pub fn seek(&mut self, mark: LineMark) -> Result<(), DataError> {
        let sought = self.inner.seek(mark.byte);
        sought.map_err(|source| self.failed(source))?;
        self.at = mark;
        self.again = false;
        Ok(())
    }

    /// Reads the file to its end (after [`LineReader::seek`] anew from its start); gives its size and its
    /// SHA-256 in hex.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] and [`DataError::Changed`].
    pub fn finish(mut self) -> Result<(u64, String), DataError> {
        if self.inner.sought() {
            return Self::open(&self.path, self.limit, &self.content)?.finish();
        }
        let read = io::copy(&mut self.inner, &mut io::sink());
        read.map_err(|source| self.failed(source))?;
        Ok(self.inner.finish())
    }

    fn failed(&self, source: io::Error) -> DataError {
        let path = self.path.clone();
        match self.inner.changed() {
            true => DataError::Changed { path },
            false => DataError::Io { path, source },
        }
    }
}

impl std::fmt::Debug for LineReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LineReader")
            .field("path", &self.path)
            .field("line", &self.at.line)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
