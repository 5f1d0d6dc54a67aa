//! The content of a file as it was when it was first read, and a reader that refuses any other.
//!
//! Every study reads its data again. What has been replaced meanwhile must not be mixed with what was there: every
//! block is compared before a byte of it is used.

use std::fs::File;
use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use bertology_file::Refusal;
use sha2::{Digest, Sha256};

use crate::error::DataError;

/// Bytes of a block: so many are read at a time, and the hash of as many as are before it takes about 100 more.
const BLOCK: usize = 1 << 14;

/// What a file holds, known from the first reading to its end on; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Content(Arc<OnceLock<Vec<Sha256>>>);

/// Reads a file block by block and hashes it on the way.
pub(crate) struct BlockReader {
    file: File,
    content: Content,
    /// SHA-256 of the file as far as each block, to be remembered; where it was read before only the last.
    hashes: Vec<Sha256>,
    /// It was read before.
    known: bool,
    /// The block in `block`; the next one to be read before the first.
    number: usize,
    block: Vec<u8>,
    /// Bytes of the block that were taken.
    taken: usize,
    bytes: u64,
    /// What is before was passed over, so that the hash is not that of the file.
    sought: bool,
    /// The file is not what it was.
    changed: bool,
}

impl BlockReader {
    pub(crate) fn new(file: File, content: &Content) -> Self {
        Self {
            file,
            content: content.clone(),
            hashes: vec![Sha256::new()],
            known: content.0.get().is_some(),
            number: 0,
            block: Vec::new(),
            taken: 0,
            bytes: 0,
            sought: false,
            changed: false,
        }
    }

    /// Bytes taken from the file so far, what is buffered included.
    pub(crate) fn size(&self) -> u64 {
        self.bytes
    }

    /// Whether what is before was passed over.
    pub(crate) fn sought(&self) -> bool {
        self.sought
    }

    /// Whether an error comes from a file that is not what it was.
    pub(crate) fn changed(&self) -> bool {
        self.changed
    }

    /// Goes on at a byte; what is before its block is not read.
    pub(crate) fn seek(&mut self, byte: u64) -> io::Result<()> {
        self.sought = true;
        self.block.clear();
        self.taken = 0;
        let Some(known) = self.before() else {
            // Nothing to compare it with.
            return self.file.seek(SeekFrom::Start(byte)).map(drop);
        };
        let number = usize::try_from(byte / BLOCK as u64).map_err(io::Error::other)?;
        self.hashes = vec![known.get(number).cloned().unwrap_or_default()];
        self.number = number;
        self.file
            .seek(SeekFrom::Start(byte - byte % BLOCK as u64))?;
        self.load()?;
        self.taken = ((byte % BLOCK as u64) as usize).min(self.block.len());
        Ok(())
    }

    fn before(&self) -> Option<&Vec<Sha256>> {
        self.content.0.get().filter(|_| self.known)
    }

    /// The next block, empty at the end of the file.
    fn load(&mut self) -> io::Result<()> {
        self.block.clear();
        self.taken = 0;
        let file = &mut self.file;
        file.take(BLOCK as u64).read_to_end(&mut self.block)?;
        self.bytes += self.block.len() as u64;
        let before = self.hashes.last().cloned().unwrap_or_default();
        let hash = before.chain_update(&self.block);
        if let Some(known) = self.before() {
            let same = match self.block.is_empty() {
                true => self.number + 1 == known.len(),
                false => known
                    .get(self.number + 1)
                    .is_some_and(|known| known.clone().finalize() == hash.clone().finalize()),
            };
            if !same {
                self.changed = true;
                self.block.clear();
                return Err(io::Error::other("the file has changed"));
            }
            self.hashes = vec![hash];
        } else if !self.sought && !self.block.is_empty() {
            self.hashes.push(hash);
        }
        if !self.block.is_empty() {
            self.number += 1;
        }
        Ok(())
    }

    /// After the end of the file: its size and its SHA-256 in hex. From now on it has to stay as it is.
    pub(crate) fn finish(self) -> (u64, String) {
        let digest = self.hashes.last().cloned().unwrap_or_default().finalize();
        if !self.known {
            // Of two first readings one is remembered.
            let _ = self.content.0.set(self.hashes);
        }
        (
            self.bytes,
            digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        )
    }
}

impl Content {
    /// A whole file of at most so many bytes, with its SHA-256 in hex; nothing of one that is larger. One that was read
    /// before must still be what it was then.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`], [`DataError::NotAFile`] and [`DataError::Changed`].
    pub fn read(&self, path: &Path, most: u64) -> Result<Option<(Vec<u8>, String)>, DataError> {
        let file = open(path)?;
        let failed = |source| DataError::Io {
            path: path.to_owned(),
            source,
        };
        if file.metadata().map_err(failed)?.len() > most {
            return Ok(None);
        }
        let mut reader = BlockReader::new(file, self);
        let mut bytes = Vec::new();
        let read = (&mut reader).take(most + 1).read_to_end(&mut bytes);
        match read {
            // It has grown meanwhile.
            Ok(read) if read as u64 > most => Ok(None),
            Ok(_) => {
                let (_, sha256) = reader.finish();
                Ok(Some((bytes, sha256)))
            }
            Err(_) if reader.changed() => Err(DataError::Changed {
                path: path.to_owned(),
            }),
            Err(source) => Err(failed(source)),
        }
    }
}

/// Opens a file. Every study reads its data again, so that what can be read only once is refused.
pub(crate) fn open(path: &Path) -> Result<File, DataError> {
    bertology_file::open(path).map_err(|source| {
        let path = path.to_owned();
        match Refusal::of(&source) {
            Some(Refusal::NotAFile { .. }) => DataError::NotAFile { path },
            _ => DataError::Io { path, source },
        }
    })
}

impl Read for BlockReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for BlockReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken == self.block.len() {
            self.load()?;
        }
        Ok(self.block.get(self.taken..).unwrap_or_default())
    }

    fn consume(&mut self, taken: usize) {
        self.taken += taken;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    fn read(path: &std::path::Path, content: &Content, from: u64) -> io::Result<Vec<u8>> {
        let mut reader = BlockReader::new(File::open(path)?, content);
        let mut bytes = Vec::new();
        if from > 0 {
            reader.seek(from)?;
        }
        reader.read_to_end(&mut bytes)?;
        if !reader.sought() {
            reader.finish();
        }
        Ok(bytes)
    }

    #[test]
    fn no_byte_of_another_file_is_given_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        for size in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 77] {
            let bytes: Vec<u8> = (0..size).map(|at| (at * 7 % 251) as u8).collect();
            fs::write(&path, &bytes).unwrap();
            let content = Content::default();
            assert_eq!(read(&path, &content, 0).unwrap(), bytes);
            for from in [0, 1.min(size), size / 2, size.saturating_sub(1)] {
                let rest = bytes.get(from..).unwrap();
                assert_eq!(read(&path, &content, from as u64).unwrap(), rest, "{from}");
            }
            // Changed, shorter and longer.
            for at in [0, size / 2, size.saturating_sub(1)] {
                let mut other = bytes.clone();
                if let Some(byte) = other.get_mut(at) {
                    *byte ^= 1;
                    fs::write(&path, &other).unwrap();
                    assert!(read(&path, &content, 0).is_err(), "{size} at {at}");
                }
                let shorter = bytes.get(..at).unwrap();
                if shorter.len() < size {
                    fs::write(&path, shorter).unwrap();
                    assert!(read(&path, &content, 0).is_err(), "{size} to {at}");
                }
                let longer = [&bytes[..], &vec![0; at + 1]].concat();
                fs::write(&path, longer).unwrap();
                assert!(read(&path, &content, 0).is_err(), "{size} and {at}");
            }
        }
    }
}
