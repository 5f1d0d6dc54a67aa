//! Lines of a file: bounded in length, checked, counted, and hashed on the way.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bertology_file::Refusal;
use sha2::{Digest, Sha256};

use crate::error::DataError;

/// Hashes and counts every byte that passes.
struct HashingReader {
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl Read for HashingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        if let Some(new) = buffer.get(..read) {
            self.hash.update(new);
        }
        self.bytes += read as u64;
        Ok(read)
    }
}

/// Reads a text file line by line. A line ends with LF or CR LF; a lone CR is text. A byte order
/// mark at the start is dropped. Holds one line at a time, of at most `limit` bytes.
pub(crate) struct LineReader {
    path: PathBuf,
    inner: BufReader<HashingReader>,
    buffer: Vec<u8>,
    at: LineMark,
    /// Whether what is before was passed over, so that the hash is not that of the file.
    sought: bool,
    limit: usize,
}

/// A place between two lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LineMark {
    /// Bytes before it.
    byte: u64,
    /// Lines before it.
    line: u64,
}

/// A line without its end.
pub(crate) struct Line<'a> {
    pub(crate) text: &'a str,
    /// From 1.
    pub(crate) number: u64,
    /// What ended it: LF, CR LF, or nothing at the end of the file.
    pub(crate) end: &'static str,
}

impl LineReader {
    pub(crate) fn open(path: &Path, limit: usize) -> Result<Self, DataError> {
        // Every study reads its data again, so that what can be read only once is refused.
        let file = bertology_file::open(path).map_err(|source| {
            let path = path.to_owned();
            match Refusal::of(&source) {
                Some(Refusal::NotAFile { .. }) => DataError::NotAFile { path },
                _ => DataError::Io { path, source },
            }
        })?;
        let inner = HashingReader {
            file,
            hash: Sha256::new(),
            bytes: 0,
        };
        Ok(Self {
            path: path.to_owned(),
            inner: BufReader::with_capacity(1 << 16, inner),
            buffer: Vec::new(),
            at: LineMark::default(),
            sought: false,
            limit,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes taken from the file so far, what is buffered included.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.inner.get_ref().bytes
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// The next line, or `None` at the end of the file.
    pub(crate) fn next_line(&mut self) -> Result<Option<Line<'_>>, DataError> {
        const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
        self.buffer.clear();
        // Room for a byte order mark and CR LF beyond the limit; the exact check comes below.
        let most = (self.limit as u64).saturating_add(5);
        let read = (&mut self.inner)
            .take(most)
            .read_until(b'\n', &mut self.buffer)
            .map_err(|source| DataError::Io {
                path: self.path.clone(),
                source,
            })?;
        if read == 0 {
            return Ok(None);
        }
        self.at.byte += read as u64;
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

    /// The place behind the last line.
    pub(crate) fn mark(&self) -> LineMark {
        self.at
    }

    /// Goes on from a place of the same file; what is before it is not read.
    pub(crate) fn seek(&mut self, mark: LineMark) -> Result<(), DataError> {
        let to = SeekFrom::Start(mark.byte);
        // What was read ahead is dropped with the buffer.
        self.inner.consume(self.inner.buffer().len());
        let sought = self.inner.get_mut().file.seek(to);
        sought.map_err(|source| DataError::Io {
            path: self.path.clone(),
            source,
        })?;
        self.at = mark;
        self.sought = true;
        Ok(())
    }

    /// Reads the file to its end (after [`LineReader::seek`] anew from its start); gives its size and its
    /// SHA-256 in hex.
    pub(crate) fn finish(mut self) -> Result<(u64, String), DataError> {
        if self.sought {
            return Self::open(&self.path, self.limit)?.finish();
        }
        io::copy(&mut self.inner, &mut io::sink()).map_err(|source| DataError::Io {
            path: self.path.clone(),
            source,
        })?;
        let HashingReader { hash, bytes, .. } = self.inner.into_inner();
        let digest = hash.finalize();
        Ok((
            bytes,
            digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        ))
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
