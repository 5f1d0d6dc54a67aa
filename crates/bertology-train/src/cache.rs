//! Word maps on disk, so that a second epoch, or a run that was interrupted, need not ask the model again.
//!
//! The first sentences that fit under the limit are kept, in files of some megabytes that appear whole or not at
//! all. Their names carry a key: the hash of everything that the maps depend on.

use std::path::Path;

use half::f16;
use half::slice::HalfFloatSliceExt;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::shards::{Kind, Shards};

const MAPS: Kind = Kind {
    magic: b"BTLMAPS1",
    prefix: CACHE_FILE_PREFIX,
};
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

    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }

    pub(crate) fn put(self, values: &[f32], out: &mut Vec<u8>) {
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
        let mut values = vec![0.0; bytes.len() / self.bytes()];
        self.decode(bytes, &mut values);
        values
    }

    /// As many numbers as `out` has room for.
    pub(crate) fn decode(self, bytes: &[u8], out: &mut [f32]) {
        match self {
            Self::F16 => match bytemuck::try_cast_slice(bytes) {
                Ok(halves) if cfg!(target_endian = "little") => {
                    <[f16]>::convert_to_f32_slice(halves, out);
                }
                _ => {
                    let halves = bytes.as_chunks().0.iter();
                    for (out, half) in out.iter_mut().zip(halves) {
                        *out = f16::from_le_bytes(*half).to_f32();
                    }
                }
            },
            Self::F32 => {
                let values = bytes.as_chunks().0.iter();
                for (out, value) in out.iter_mut().zip(values) {
                    *out = f32::from_le_bytes(*value);
                }
            }
        }
    }
}

/// Word maps of the first sentences of a treebank.
#[derive(Debug)]
pub struct MapCache {
    shards: Shards,
    precision: Precision,
    limit: u64,
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
        Ok(Self {
            shards: Shards::open(folder, MAPS, key, precision.bytes(), limit)?,
            precision,
            limit,
            full: false,
            open: None,
        })
    }

    /// Sentences on disk.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.kept()
    }

    /// Whether no sentence is on disk.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shards.bytes()
    }

    /// Offers the values of a sentence; they are kept if all sentences before it are and they fit.
    pub fn put(&mut self, sentence: usize, values: &[f32]) {
        if self.full || sentence != self.shards.next() {
            return;
        }
        let size = values.len() * self.precision.bytes();
        if self.shards.bytes_with(size) > self.limit {
            self.full = true;
            self.shards.drop_uncommitted();
            return;
        }
        self.shards.put(|out| self.precision.put(values, out));
    }

    /// Closes a group of sentences: groups are kept whole or not at all. The model computes them together, and
    /// in other company the last bits may be others.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn commit(&mut self) -> Result<(), Error> {
        self.shards.commit()?;
        if self.full {
            self.shards.flush()?;
        }
        Ok(())
    }

    /// Writes the groups that are not on disk yet.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn flush(&mut self) -> Result<(), Error> {
        self.shards.flush()
    }

    /// The values of a sentence, if it is on disk.
    ///
    /// # Errors
    /// [`Error::Io`]; also where a file is no longer what it was.
    pub fn get(&mut self, sentence: usize) -> Result<Option<Vec<f32>>, Error> {
        let Some((at, place)) = self.shards.find(sentence) else {
            return Ok(None);
        };
        let bytes = match self.open.take() {
            Some((open, bytes)) if open == at => bytes,
            _ => self.shards.read(at)?,
        };
        let values = self.precision.get(&bytes[place]);
        self.open = Some((at, bytes));
        Ok(Some(values))
    }

    /// Removes the files of this key.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove(self) -> Result<(), Error> {
        self.shards.remove_from(0)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        let (first, second) = (cache.shards.path(0), cache.shards.path(1));
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
        fs::write(cache.shards.path(0), b"nothing").unwrap();
        assert!(cache.get(0).is_err());
    }
}
