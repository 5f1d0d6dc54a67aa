//! Word maps on disk, so that a second epoch, or a run that was interrupted, need not ask the model again.
//!
//! The first sentences that fit under the limit are kept, in files of some megabytes that appear whole or not at
//! all. Their names carry a key: the hash of everything that the maps depend on.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use half::f16;
use half::slice::HalfFloatSliceExt;
use serde::{Deserialize, Serialize};

use crate::Error;

const MAGIC: &[u8; 8] = b"BTLMAPS1";
/// A file is closed when it holds so many bytes.
const FILE_BYTES: usize = 32 << 20;
/// Start of the names of files that are being written.
const TEMPORARY: &str = ".bertology-";
/// Start of the names of the files of a cache.
pub const CACHE_FILE_PREFIX: &str = "maps-";

/// How exactly maps are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Half precision, as the paper's code keeps maps: relative error at most 2⁻¹¹.
    #[default]
    F16,
    /// Single precision: as the model gives them.
    F32,
}

impl Precision {
    /// Rounds to this precision, so that values are the same whether they come from disk or from the model.
    pub fn round(self, values: &mut [f32]) {
        if self == Self::F16 {
            let mut halves = vec![f16::ZERO; values.len()];
            halves.convert_from_f32_slice(values);
            halves.convert_to_f32_slice(values);
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }

    fn put(self, values: &[f32], out: &mut Vec<u8>) {
        match self {
            Self::F16 => {
                let mut halves = vec![f16::ZERO; values.len()];
                halves.convert_from_f32_slice(values);
                out.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
            }
            Self::F32 => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        }
    }

    fn get(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F16 => {
                let halves: Vec<f16> = bytes
                    .chunks_exact(2)
                    .map(|pair| f16::from_le_bytes([pair[0], pair[1]]))
                    .collect();
                let mut values = vec![0.0; halves.len()];
                halves.convert_to_f32_slice(&mut values);
                values
            }
            Self::F32 => bytes
                .chunks_exact(4)
                .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
                .collect(),
        }
    }
}

/// One file: some sentences in a row.
#[derive(Debug)]
struct Shard {
    path: PathBuf,
    /// Its first sentence.
    first: usize,
    /// Where each sentence's values begin, and where the last one's end.
    offsets: Vec<usize>,
}

/// Word maps of the first sentences of a treebank.
#[derive(Debug)]
pub struct MapCache {
    folder: PathBuf,
    key: String,
    precision: Precision,
    limit: u64,
    shards: Vec<Shard>,
    /// Sentences on disk.
    kept: usize,
    bytes: u64,
    /// Sentences that are not on disk yet, and their sizes.
    pending: Vec<u8>,
    sizes: Vec<usize>,
    /// How many of these a commit has closed.
    committed: usize,
    /// A sentence did not fit: none after it is kept.
    full: bool,
    /// The file read last.
    open: Option<(usize, Vec<u8>)>,
}

impl MapCache {
    /// The cache of a folder with what an earlier run under the same key has left there. `key`: a hash, in
    /// letters and digits, of all that the maps depend on.
    ///
    /// Files of this key that are damaged are removed, and so are those behind them: they can be made again.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(folder: &Path, key: &str, precision: Precision, limit: u64) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(Error::io("create the folder", folder))?;
        remove_leftovers(folder)?;
        let mut cache = Self {
            folder: folder.into(),
            key: key.into(),
            precision,
            limit,
            shards: Vec::new(),
            kept: 0,
            bytes: 0,
            pending: Vec::new(),
            sizes: Vec::new(),
            committed: 0,
            full: false,
            open: None,
        };
        let mut number = 0;
        loop {
            let path = cache.path(number);
            let bytes = match bertology_file::read(&path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(Error::io("read", &path)(error)),
            };
            let whole = cache.offsets(&bytes);
            match whole {
                Some(offsets) if cache.bytes + bytes.len() as u64 <= limit => {
                    cache.adopt(path, offsets, bytes.len());
                }
                _ => {
                    cache.remove_from(number)?;
                    break;
                }
            }
            number += 1;
        }
        Ok(cache)
    }

    /// Sentences on disk.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept
    }

    /// Whether no sentence is on disk.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept == 0
    }

    /// Bytes on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Offers the values of a sentence; they are kept if all sentences before it are and they fit.
    pub fn put(&mut self, sentence: usize, values: &[f32]) {
        if self.full || sentence != self.kept + self.sizes.len() {
            return;
        }
        let size = values.len() * self.precision.bytes();
        let with_it = self.header_bytes(self.sizes.len() + 1) + self.pending.len() + size;
        if self.bytes + with_it as u64 > self.limit {
            self.full = true;
            self.drop_uncommitted();
            return;
        }
        self.precision.put(values, &mut self.pending);
        self.sizes.push(size);
    }

    /// Closes a group of sentences: groups are kept whole or not at all. The model computes them together, and
    /// in other company the last bits may be others.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn commit(&mut self) -> Result<(), Error> {
        self.committed = self.sizes.len();
        if self.pending.len() >= FILE_BYTES || self.full {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes the groups that are not on disk yet.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn flush(&mut self) -> Result<(), Error> {
        self.drop_uncommitted();
        if self.sizes.is_empty() {
            return Ok(());
        }
        let path = self.path(self.shards.len());
        let mut head = Vec::with_capacity(self.header_bytes(self.sizes.len()));
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&(self.key.len() as u64).to_le_bytes());
        head.extend_from_slice(self.key.as_bytes());
        for number in [self.precision.bytes(), self.kept, self.sizes.len()] {
            head.extend_from_slice(&(number as u64).to_le_bytes());
        }
        for size in &self.sizes {
            head.extend_from_slice(&(*size as u64).to_le_bytes());
        }
        let failed = || Error::io("write", &path);
        let mut file = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .tempfile_in(&self.folder)
            .map_err(Error::io("create a file in", &self.folder))?;
        file.write_all(&head).map_err(failed())?;
        file.write_all(&self.pending).map_err(failed())?;
        file.as_file().sync_data().map_err(failed())?;
        file.persist(&path)
            .map(drop::<File>)
            .map_err(|error| failed()(error.error))?;
        let mut offsets = vec![head.len()];
        let mut end = head.len();
        for size in &self.sizes {
            end += size;
            offsets.push(end);
        }
        self.adopt(path, offsets, end);
        self.pending.clear();
        self.sizes.clear();
        self.committed = 0;
        Ok(())
    }

    fn drop_uncommitted(&mut self) {
        self.sizes.truncate(self.committed);
        self.pending.truncate(self.sizes.iter().sum());
    }

    /// The values of a sentence, if it is on disk.
    ///
    /// # Errors
    /// [`Error::Io`]; also where a file is no longer what it was.
    pub fn get(&mut self, sentence: usize) -> Result<Option<Vec<f32>>, Error> {
        if sentence >= self.kept {
            return Ok(None);
        }
        let at = self.shards.partition_point(|shard| shard.first <= sentence) - 1;
        let shard = &self.shards[at];
        let bytes = match self.open.take() {
            Some((open, bytes)) if open == at => bytes,
            _ => {
                let bytes =
                    bertology_file::read(&shard.path).map_err(Error::io("read", &shard.path))?;
                if self.offsets_from(&bytes, shard.first).as_ref() != Some(&shard.offsets) {
                    let changed = io::Error::other("the file changed while it was in use");
                    return Err(Error::io("read", &shard.path)(changed));
                }
                bytes
            }
        };
        let index = sentence - shard.first;
        let values = self
            .precision
            .get(&bytes[shard.offsets[index]..shard.offsets[index + 1]]);
        self.open = Some((at, bytes));
        Ok(Some(values))
    }

    /// Removes the files of this key.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove(self) -> Result<(), Error> {
        self.remove_from(0)
    }

    fn remove_from(&self, number: usize) -> Result<(), Error> {
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

    fn path(&self, number: usize) -> PathBuf {
        let key: String = self.key.chars().take(16).collect();
        self.folder
            .join(format!("{CACHE_FILE_PREFIX}{key}-{number:05}.bin"))
    }

    fn adopt(&mut self, path: PathBuf, offsets: Vec<usize>, bytes: usize) {
        let first = self.kept;
        self.kept += offsets.len() - 1;
        self.bytes += bytes as u64;
        self.shards.push(Shard {
            path,
            first,
            offsets,
        });
    }

    fn header_bytes(&self, sentences: usize) -> usize {
        MAGIC.len() + 8 + self.key.len() + 3 * 8 + 8 * sentences
    }

    /// Where the sentences of the next file begin; nothing if it is not whole or not of this cache.
    fn offsets(&self, bytes: &[u8]) -> Option<Vec<usize>> {
        self.offsets_from(bytes, self.kept)
    }

    fn offsets_from(&self, bytes: &[u8], first: usize) -> Option<Vec<usize>> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let number = |rest: &mut &[u8]| {
            let (head, tail) = rest.split_first_chunk::<8>()?;
            *rest = tail;
            usize::try_from(u64::from_le_bytes(*head)).ok()
        };
        let length = number(&mut rest)?;
        let (key, tail) = rest.split_at_checked(length)?;
        rest = tail;
        let same = key == self.key.as_bytes()
            && number(&mut rest)? == self.precision.bytes()
            && number(&mut rest)? == first;
        let sentences = number(&mut rest)?;
        if !same || sentences == 0 || sentences > rest.len() / 8 {
            return None;
        }
        let mut end = self.header_bytes(sentences);
        let mut offsets = vec![end];
        for _ in 0..sentences {
            end = end.checked_add(number(&mut rest)?)?;
            offsets.push(end);
        }
        (end == bytes.len()).then_some(offsets)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(at: usize) -> Vec<f32> {
        (0..4 + at).map(|i| i as f32 / 3.0 + at as f32).collect()
    }

    fn filled(folder: &Path, precision: Precision, limit: u64) -> MapCache {
        let mut cache = MapCache::open(folder, "abc", precision, limit).unwrap();
        for at in 0..10 {
            cache.put(at, &sentence(at));
            if at % 4 == 3 || at == 9 {
                cache.commit().unwrap();
                cache.flush().unwrap();
            }
        }
        cache
    }

    #[test]
    fn what_is_put_is_found_again_by_a_later_run() {
        let folder = tempfile::tempdir().unwrap();
        for precision in [Precision::F32, Precision::F16] {
            let mut cache = filled(folder.path(), precision, 1 << 20);
            assert_eq!(cache.len(), 10);
            let mut again = MapCache::open(folder.path(), "abc", precision, 1 << 20).unwrap();
            assert_eq!((again.len(), again.bytes()), (10, cache.bytes()));
            for at in [9, 0, 4, 3, 3] {
                let mut expected = sentence(at);
                precision.round(&mut expected);
                assert_eq!(cache.get(at).unwrap(), Some(expected.clone()));
                assert_eq!(again.get(at).unwrap(), Some(expected));
            }
            assert_eq!(again.get(10).unwrap(), None);
            // Another key finds nothing, and removing one key leaves the other.
            let other = MapCache::open(folder.path(), "abd", precision, 1 << 20).unwrap();
            assert!(other.is_empty());
            other.remove().unwrap();
            again.remove().unwrap();
            let names = fs::read_dir(folder.path()).unwrap();
            assert_eq!(names.count(), 0);
        }
    }

    #[test]
    fn half_precision_rounds_to_eleven_bits() {
        let mut values = [1.0 / 3.0, 0.1, 1.0, 0.0];
        Precision::F16.round(&mut values);
        assert_eq!(values, [0.333_251_95, 0.099_975_586, 1.0, 0.0]);
    }

    #[test]
    fn the_first_sentences_that_fit_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let whole = filled(folder.path(), Precision::F32, 1 << 20);
        let bytes = whole.bytes();
        whole.remove().unwrap();
        // The last group does not fit, though its first sentence would.
        let cache = filled(folder.path(), Precision::F32, bytes - 1);
        assert_eq!(cache.len(), 8);
        assert!(cache.bytes() < bytes);
        // Nor does one come in that is out of order, or one that nobody commits.
        cache.remove().unwrap();
        let mut cache = MapCache::open(folder.path(), "abc", Precision::F32, 1 << 20).unwrap();
        cache.put(1, &sentence(1));
        cache.put(0, &sentence(0));
        cache.flush().unwrap();
        assert!(cache.is_empty());
        assert!(filled(&folder.path().join("none"), Precision::F32, 0).is_empty());
    }

    #[test]
    fn damaged_files_are_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let cache = filled(folder.path(), Precision::F32, 1 << 20);
        let (first, second) = (cache.path(0), cache.path(1));
        let bytes = fs::read(&second).unwrap();
        for cut in [0, 7, 20, 60, bytes.len() - 1] {
            fs::write(&second, &bytes[..cut]).unwrap();
            let found = MapCache::open(folder.path(), "abc", Precision::F32, 1 << 20).unwrap();
            assert_eq!(found.len(), 4, "{cut}");
            assert!(!second.exists() && first.exists());
            fs::write(&second, &bytes).unwrap();
        }
        // The first file in the place of the second one.
        fs::copy(&first, &second).unwrap();
        fs::write(folder.path().join(".bertology-x"), b"half").unwrap();
        let found = MapCache::open(folder.path(), "abc", Precision::F32, 1 << 20).unwrap();
        assert_eq!(found.len(), 4);
        assert!(!folder.path().join(".bertology-x").exists());
        // And one that changes behind the cache's back.
        let mut cache = filled(folder.path(), Precision::F32, 1 << 20);
        fs::write(cache.path(0), b"nothing").unwrap();
        assert!(cache.get(0).is_err());
    }
}
