//! What the model gave, on disk: units in a row, in files of some megabytes that appear whole or not at all.
//!
//! Names and heads of the files carry a key, the hash of everything that the values depend on.
//!
//! | bytes | |
//! | --- | --- |
//! | 8 | magic of the kind |
//! | 8, n | length of the key, the key |
//! | 8 each | bytes of a number, number of the first unit, units, bytes of each unit |
//! | | the units |

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::Error;

/// A file is closed when it holds so many bytes.
const FILE_BYTES: usize = 32 << 20;
/// Start of the names of files that are being written.
const TEMPORARY: &str = ".bertology-";

/// What files of a kind begin with, and their names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) magic: &'static [u8; 8],
    pub(crate) prefix: &'static str,
}

/// One file: some units in a row.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) path: PathBuf,
    /// Its first unit.
    pub(crate) first: usize,
    /// Where each unit's bytes begin, and where the last one's end.
    pub(crate) offsets: Vec<usize>,
}

/// The first units of something, those that are on disk and those that are about to be.
#[derive(Debug)]
pub(crate) struct Shards {
    folder: PathBuf,
    kind: Kind,
    key: String,
    /// Bytes of a number.
    item: usize,
    shards: Vec<Shard>,
    /// Units on disk.
    kept: usize,
    bytes: u64,
    /// Units that are not on disk yet, and their sizes.
    pending: Vec<u8>,
    sizes: Vec<usize>,
    /// How many of these a commit has closed.
    committed: usize,
}

impl Shards {
    /// What an earlier run under the same key has left in a folder, as far as it has at most `limit` bytes.
    ///
    /// Files of this key that are damaged are removed, and so are those behind them: they can be made again.
    pub(crate) fn open(
        folder: &Path,
        kind: Kind,
        key: &str,
        item: usize,
        limit: u64,
    ) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(Error::io("create the folder", folder))?;
        remove_leftovers(folder)?;
        let mut shards = Self {
            folder: folder.into(),
            kind,
            key: key.into(),
            item,
            shards: Vec::new(),
            kept: 0,
            bytes: 0,
            pending: Vec::new(),
            sizes: Vec::new(),
            committed: 0,
        };
        let mut number = 0;
        loop {
            let path = shards.path(number);
            let file = match bertology_file::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(Error::io("read", &path)(error)),
            };
            let length = file.metadata().map_err(Error::io("read", &path))?.len();
            let offsets = shards.offsets(file, length, shards.kept);
            match offsets.map_err(Error::io("read", &path))? {
                Some(offsets) if shards.bytes + length <= limit => {
                    shards.adopt(path, offsets, length);
                }
                _ => {
                    shards.remove_from(number)?;
                    break;
                }
            }
            number += 1;
        }
        Ok(shards)
    }

    /// Units on disk.
    pub(crate) fn kept(&self) -> usize {
        self.kept
    }

    /// Number of the next unit.
    pub(crate) fn next(&self) -> usize {
        self.kept + self.sizes.len()
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes on disk if the next unit had so many and all were written.
    pub(crate) fn bytes_with(&self, size: usize) -> u64 {
        let more = self.header_bytes(self.sizes.len() + 1) + self.pending.len() + size;
        self.bytes + more as u64
    }

    /// The files.
    pub(crate) fn files(&self) -> &[Shard] {
        &self.shards
    }

    /// Adds a unit: `write` appends its bytes.
    pub(crate) fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.pending.len();
        write(&mut self.pending);
        self.sizes.push(self.pending.len() - before);
    }

    /// Closes a group of units: groups are kept whole or not at all.
    pub(crate) fn commit(&mut self) -> Result<(), Error> {
        self.committed = self.sizes.len();
        if self.pending.len() >= FILE_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes the groups that are not on disk yet.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        self.drop_uncommitted();
        if self.sizes.is_empty() {
            return Ok(());
        }
        let path = self.path(self.shards.len());
        let mut head = Vec::with_capacity(self.header_bytes(self.sizes.len()));
        head.extend_from_slice(self.kind.magic);
        head.extend_from_slice(&(self.key.len() as u64).to_le_bytes());
        head.extend_from_slice(self.key.as_bytes());
        for number in [self.item, self.kept, self.sizes.len()] {
            head.extend_from_slice(&(number as u64).to_le_bytes());
        }
        for size in &self.sizes {
            head.extend_from_slice(&(*size as u64).to_le_bytes());
        }
        write_whole(&path, &[&head, &self.pending])?;
        let mut offsets = vec![head.len()];
        let mut end = head.len();
        for size in &self.sizes {
            end += size;
            offsets.push(end);
        }
        self.adopt(path, offsets, end as u64);
        self.pending.clear();
        self.sizes.clear();
        self.committed = 0;
        Ok(())
    }

    /// Forgets units of a group that is not closed.
    pub(crate) fn drop_uncommitted(&mut self) {
        self.sizes.truncate(self.committed);
        self.pending.truncate(self.sizes.iter().sum());
    }

    /// The file of a unit, and where in it the unit is.
    pub(crate) fn find(&self, unit: usize) -> Option<(usize, Range<usize>)> {
        if unit >= self.kept {
            return None;
        }
        let at = self.shards.partition_point(|shard| shard.first <= unit) - 1;
        let Shard { first, offsets, .. } = &self.shards[at];
        Some((at, offsets[unit - first]..offsets[unit - first + 1]))
    }

    /// A whole file, which must be what it was.
    pub(crate) fn read(&self, at: usize) -> Result<Vec<u8>, Error> {
        let shard = &self.shards[at];
        let bytes = bertology_file::read(&shard.path).map_err(Error::io("read", &shard.path))?;
        self.check(at, &bytes)?;
        Ok(bytes)
    }

    /// Refuses bytes that are not those of a file as it was.
    pub(crate) fn check(&self, at: usize, bytes: &[u8]) -> Result<(), Error> {
        let shard = &self.shards[at];
        let offsets = self.offsets(bytes, bytes.len() as u64, shard.first);
        let offsets = offsets.map_err(Error::io("read", &shard.path))?;
        if offsets.as_ref() == Some(&shard.offsets) {
            return Ok(());
        }
        let changed = io::Error::other("the file changed while it was in use");
        Err(Error::io("read", &shard.path)(changed))
    }

    pub(crate) fn remove_from(&self, number: usize) -> Result<(), Error> {
        for number in number.. {
            let path = self.path(number);
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(Error::io("remove", &path)(error)),
            }
        }
        Ok(())
    }

    pub(crate) fn path(&self, number: usize) -> PathBuf {
        let key: String = self.key.chars().take(16).collect();
        let prefix = self.kind.prefix;
        self.folder.join(format!("{prefix}{key}-{number:05}.bin"))
    }

    fn adopt(&mut self, path: PathBuf, offsets: Vec<usize>, bytes: u64) {
        let first = self.kept;
        self.kept += offsets.len() - 1;
        self.bytes += bytes;
        self.shards.push(Shard {
            path,
            first,
            offsets,
        });
    }

    pub(crate) fn header_bytes(&self, units: usize) -> usize {
        self.kind.magic.len() + 8 + self.key.len() + 3 * 8 + 8 * units
    }

    /// Where the units of a file begin, read from its head; nothing if it is not whole or not of this key.
    fn offsets(
        &self,
        mut file: impl Read,
        length: u64,
        first: usize,
    ) -> io::Result<Option<Vec<usize>>> {
        let mut expected = self.kind.magic.to_vec();
        expected.extend((self.key.len() as u64).to_le_bytes());
        expected.extend(self.key.as_bytes());
        for number in [self.item, first] {
            expected.extend((number as u64).to_le_bytes());
        }
        let mut head = vec![0; self.header_bytes(0)];
        let end = head.len() as u64;
        if length < end {
            return Ok(None);
        }
        file.read_exact(&mut head)?;
        let units = head
            .strip_prefix(&*expected)
            .and_then(|rest| rest.first_chunk())
            .map(|number| u64::from_le_bytes(*number));
        // Claims of a damaged file are held against its length before anything is reserved for them.
        let Some(units) = units.filter(|units| (1..=(length - end) / 8).contains(units)) else {
            return Ok(None);
        };
        let units = usize::try_from(units).map_err(io::Error::other)?;
        let mut sizes = vec![0; 8 * units];
        file.read_exact(&mut sizes)?;
        let mut end = self.header_bytes(units);
        let mut offsets = vec![end];
        for size in sizes.as_chunks::<8>().0 {
            let size = usize::try_from(u64::from_le_bytes(*size)).ok();
            let Some(next) = size.and_then(|size| end.checked_add(size)) else {
                return Ok(None);
            };
            end = next;
            offsets.push(end);
        }
        Ok((end as u64 == length).then_some(offsets))
    }
}

/// A file of these parts, whole or not at all.
pub(crate) fn write_whole(path: &Path, parts: &[&[u8]]) -> Result<(), Error> {
    whole(path, |file| {
        parts.iter().try_for_each(|part| file.write_all(part))
    })
}

/// What is written appears under its name when all of it is on disk.
pub(crate) fn whole(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), Error> {
    let failed = || Error::io("write", path);
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .tempfile_in(folder)
        .map_err(Error::io("create a file in", folder))?;
    write(file.as_file_mut()).map_err(failed())?;
    file.as_file().sync_data().map_err(failed())?;
    file.persist(path)
        .map(drop::<File>)
        .map_err(|error| failed()(error.error))
}

/// Files that a killed process was writing.
fn remove_leftovers(folder: &Path) -> Result<(), Error> {
    let entries = fs::read_dir(folder).map_err(Error::io("read the folder", folder))?;
    for entry in entries {
        let entry = entry.map_err(Error::io("read the folder", folder))?;
        let name = entry.file_name();
        if name
            .to_str()
            .is_some_and(|name| name.starts_with(TEMPORARY))
        {
            let path = entry.path();
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}
