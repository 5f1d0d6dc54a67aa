//! A set of arrays of known sizes in one file that fills up piece by piece.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tempfile::{NamedTempFile, TempPath};

use crate::{Element, StoreError};

/// Start of the names of files that are being written.
pub const TEMPORARY: &str = ".bertology-";

/// One array: its name, the type of its numbers, and its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArraySpec {
    /// Name, unique within the shard.
    pub name: String,
    /// Type of its numbers.
    pub element: Element,
    /// Shape, row-major.
    pub shape: Vec<u64>,
}

impl ArraySpec {
    /// An array.
    pub fn new(name: impl Into<String>, element: Element, shape: impl Into<Vec<u64>>) -> Self {
        Self {
            name: name.into(),
            element,
            shape: shape.into(),
        }
    }

    /// Bytes of its numbers.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shape.iter().product::<u64>() * self.element.size()
    }
}

/// The header of a safetensors file, and where in the file each array begins.
///
/// Arrays with wider numbers come first, so that every array is aligned to its numbers.
fn plan(arrays: &[ArraySpec]) -> (Vec<u8>, Vec<u64>) {
    let mut order: Vec<usize> = (0..arrays.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(arrays[*at].element.size()));
    let mut starts = vec![0; arrays.len()];
    let mut entries = Map::new();
    let mut end = 0;
    for at in order {
        let array = &arrays[at];
        starts[at] = end;
        end += array.bytes();
        entries.insert(
            array.name.clone(),
            json!({
                "dtype": array.element.safetensors(),
                "shape": array.shape,
                "data_offsets": [starts[at], end],
            }),
        );
    }
    let mut json = Value::Object(entries).to_string().into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend(json);
    for start in &mut starts {
        *start += header.len() as u64;
    }
    (header, starts)
}

/// The exact size of a safetensors file with these arrays.
#[must_use]
pub fn safetensors_bytes(arrays: &[ArraySpec]) -> u64 {
    plan(arrays).0.len() as u64 + arrays.iter().map(ArraySpec::bytes).sum::<u64>()
}

/// A shard that is being filled. Dropped before its time, it leaves nothing behind.
#[derive(Debug)]
pub struct ShardWriter {
    file: NamedTempFile,
    arrays: Vec<ArraySpec>,
    starts: Vec<u64>,
    filled: Vec<u64>,
}

impl ShardWriter {
    /// Begins a shard under a temporary name in `folder`.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn create(folder: &Path, arrays: Vec<ArraySpec>) -> Result<Self, StoreError> {
        let (header, starts) = plan(&arrays);
        let mut file = temporary(folder)?;
        let path = file.path().to_owned();
        let end = header.len() as u64 + arrays.iter().map(ArraySpec::bytes).sum::<u64>();
        file.write_all(&header)
            .and_then(|()| file.as_file().set_len(end))
            .map_err(StoreError::io("write", &path))?;
        Ok(Self {
            filled: vec![0; arrays.len()],
            file,
            arrays,
            starts,
        })
    }

    /// Goes on with a shard that [`ShardWriter::keep`] left at `path`, of whose arrays so many bytes were filled.
    ///
    /// # Errors
    /// [`StoreError::Io`]; [`StoreError::Size`] for more than there is room for.
    pub fn resume(
        path: &Path,
        arrays: Vec<ArraySpec>,
        filled: Vec<u64>,
    ) -> Result<Self, StoreError> {
        let (_, starts) = plan(&arrays);
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(StoreError::io("open", path))?;
        let writer = Self {
            file: kept(file, path)?,
            arrays,
            starts,
            filled,
        };
        for (array, spec) in writer.arrays.iter().enumerate() {
            let given = writer.filled.get(array).copied().unwrap_or(u64::MAX);
            if given > spec.bytes() {
                return Err(writer.wrong_size(array, given));
            }
        }
        Ok(writer)
    }

    /// Puts what there is on disk under a name of its own, where it stays when the process ends; gives the bytes
    /// of each array that are filled, which [`ShardWriter::resume`] needs.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn keep(&mut self, path: &Path) -> Result<&[u64], StoreError> {
        let failed = || StoreError::io("write", path);
        self.file.as_file().sync_data().map_err(failed())?;
        if self.file.path() != path {
            let file = self.file.as_file().try_clone().map_err(failed())?;
            std::fs::rename(self.file.path(), path).map_err(failed())?;
            self.file = kept(file, path)?;
        }
        Ok(&self.filled)
    }

    /// Appends bytes to an array, by its place in the list.
    ///
    /// # Errors
    /// [`StoreError::Size`] for more than there is room for; [`StoreError::Io`].
    ///
    /// # Panics
    /// If there is no such array.
    pub fn append(&mut self, array: usize, bytes: &[u8]) -> Result<(), StoreError> {
        let spec = &self.arrays[array];
        let (at, len) = (self.filled[array], bytes.len() as u64);
        if at + len > spec.bytes() {
            return Err(self.wrong_size(array, at + len));
        }
        let start = SeekFrom::Start(self.starts[array] + at);
        let file = self.file.as_file_mut();
        file.seek(start)
            .and_then(|_| file.write_all(bytes))
            .map_err(StoreError::io("write", self.file.path()))?;
        self.filled[array] += len;
        Ok(())
    }

    /// Verifies that every array is complete.
    ///
    /// # Errors
    /// [`StoreError::Size`] for an array with too little in it.
    pub fn finish(self) -> Result<FullShard, StoreError> {
        for (array, spec) in self.arrays.iter().enumerate() {
            if self.filled[array] != spec.bytes() {
                return Err(self.wrong_size(array, self.filled[array]));
            }
        }
        Ok(FullShard {
            file: self.file,
            arrays: self.arrays,
            starts: self.starts,
        })
    }

    fn wrong_size(&self, array: usize, given: u64) -> StoreError {
        StoreError::Size {
            array: self.arrays[array].name.clone(),
            expected: self.arrays[array].bytes(),
            given,
        }
    }
}

/// A shard with all of its values, to be saved in one or several formats.
#[derive(Debug)]
pub struct FullShard {
    file: NamedTempFile,
    arrays: Vec<ArraySpec>,
    starts: Vec<u64>,
}

impl FullShard {
    /// The arrays.
    #[must_use]
    pub fn arrays(&self) -> &[ArraySpec] {
        &self.arrays
    }

    /// Saves as a safetensors file; gives its size. Arrays with wider numbers come first in it.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn save_safetensors(self, path: &Path) -> Result<u64, StoreError> {
        persist(self.file, path)
    }

    /// The bytes of an array from its byte `from` on.
    pub(crate) fn reader(&self, array: usize, from: u64) -> Result<impl Read + '_, StoreError> {
        let mut file = self.file.as_file();
        file.seek(SeekFrom::Start(self.starts[array] + from))
            .map_err(StoreError::io("read", self.file.path()))?;
        Ok(file.take(self.arrays[array].bytes().saturating_sub(from)))
    }

    /// Fills `bytes` from an array.
    #[cfg(feature = "parquet")]
    pub(crate) fn read(&self, array: usize, from: u64, bytes: &mut [u8]) -> Result<(), StoreError> {
        self.reader(array, from)?
            .read_exact(bytes)
            .map_err(StoreError::io("read", self.file.path()))
    }
}

/// A file that stays when it is dropped.
fn kept(file: File, path: &Path) -> Result<NamedTempFile, StoreError> {
    let path = TempPath::try_from_path(path).map_err(StoreError::io("open", path))?;
    let mut file = NamedTempFile::from_parts(file, path);
    file.disable_cleanup(true);
    Ok(file)
}

/// A new file in `folder` with the rights of an ordinary one.
pub(crate) fn temporary(folder: &Path) -> Result<NamedTempFile, StoreError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder
        .tempfile_in(folder)
        .map_err(StoreError::io("create a file in", folder))
}

/// Gives a file its name when all of it is on disk; gives its size.
pub(crate) fn persist(file: NamedTempFile, path: &Path) -> Result<u64, StoreError> {
    file.as_file()
        .sync_all()
        .map_err(StoreError::io("write", path))?;
    let file = file
        .persist(path)
        .map_err(|error| StoreError::io("write", path)(error.error))?;
    let length = file.metadata().map_err(StoreError::io("read", path))?.len();
    Ok(length)
}

/// Writes a file that appears whole or not at all.
///
/// # Errors
/// [`StoreError::Io`].
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut file = temporary(&folder_of(path))?;
    file.write_all(bytes)
        .map_err(StoreError::io("write", path))?;
    persist(file, path).map(drop)
}

/// The folder in which a file's temporary twin is made.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Unwraps a buffered file whose last bytes may fail to be written.
pub(crate) fn flushed(file: BufWriter<NamedTempFile>) -> io::Result<NamedTempFile> {
    file.into_inner().map_err(io::IntoInnerError::into_error)
}
