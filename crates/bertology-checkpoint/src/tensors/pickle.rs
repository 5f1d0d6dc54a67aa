//! `pytorch_model.bin`: a zip archive of one pickle and, uncompressed, the storages that its
//! tensors are views of. Contiguous tensors are therefore views of the mapped file.

use std::io::Cursor;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use zip::{CompressionMethod, ZipArchive};

use super::map::FileBytes;
use super::strided::{Strided, View};
use super::unpickle::{self, Fault, TensorSpec};
use super::{Bytes, Tensor, legacy};
use crate::Error;

pub(super) fn read(path: &Arc<Path>, file: &FileBytes) -> Result<Vec<Tensor>, Error> {
    let bytes = file.as_slice();
    let tensors = match bytes {
        // A bare pickle of protocol 2 or later.
        [0x80, 2..=5, ..] => legacy::read(path, file)?,
        // An archive in the tar format of 2016.
        _ if bytes.get(257..262) == Some(b"ustar") => {
            return Err(Error::LegacyPickle {
                path: path.to_path_buf(),
            });
        }
        _ => read_archive(path, file)?,
    };
    let claimed = tensors.iter().fold(0_usize, |sum, tensor| {
        sum.saturating_add(tensor.bytes.len())
    });
    if claimed > bytes.len().saturating_mul(MOST_SHARED) {
        return Err(corrupt(
            path,
            format!(
                "its tensors share their storages so often that {} bytes claim to be {claimed}",
                bytes.len()
            ),
        ));
    }
    Ok(tensors)
}

/// How often tensors may share the bytes of a file on average: layers that share their weights do.
const MOST_SHARED: usize = 32;

fn read_archive(path: &Arc<Path>, file: &FileBytes) -> Result<Vec<Tensor>, Error> {
    let mut archive = Archive::open(path, file)?;
    let pickle = archive.record("data.pkl")?;
    let pickle = file.as_slice().get(pickle).unwrap_or_default();
    let entries = unpickle::state_dict(pickle).map_err(|found| fault(path, found))?;
    entries
        .into_iter()
        .map(|(name, spec)| {
            let record = archive.record(&format!("data/{}", spec.storage))?;
            view(path, file, record, name, spec)
        })
        .collect()
}

pub(super) fn corrupt(path: &Path, problem: impl Into<String>) -> Error {
    Error::Corrupt {
        path: path.to_path_buf(),
        problem: problem.into(),
    }
}

pub(super) fn fault(path: &Path, fault: Fault) -> Error {
    let path = path.to_path_buf();
    match fault {
        Fault::Malformed(problem) => Error::Corrupt { path, problem },
        Fault::Other(problem) => Error::NotAStateDict { path, problem },
        Fault::Refused(global) => Error::UnsafePickle { path, global },
    }
}

/// A tensor in the storage whose bytes lie in this range of the file.
pub(super) fn view(
    path: &Arc<Path>,
    file: &FileBytes,
    record: Range<usize>,
    name: String,
    spec: TensorSpec,
) -> Result<Tensor, Error> {
    let bytes = match View::of(&spec, record.len()) {
        None => {
            let problem = format!(
                "tensor `{name}` of shape {:?} does not fit its storage of {} bytes",
                spec.shape,
                record.len()
            );
            return Err(corrupt(path, problem));
        }
        Some(View::Range(range)) => Bytes::Mapped {
            file: file.clone(),
            range: record.start + range.start..record.start + range.end,
        },
        Some(View::Strided) => Bytes::Strided(Arc::new(Strided::new(file, record, &spec))),
    };
    Tensor::new(name, path.clone(), spec.dtype, spec.shape, bytes)
}

struct Archive<'a> {
    path: &'a Arc<Path>,
    file: &'a FileBytes,
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// What precedes `data.pkl` in its name: the archive's own name and a slash.
    prefix: String,
}

impl<'a> Archive<'a> {
    fn open(path: &'a Arc<Path>, file: &'a FileBytes) -> Result<Self, Error> {
        let corrupt = |problem: String| corrupt(path, problem);
        let zip = ZipArchive::new(Cursor::new(file.as_slice()))
            .map_err(|e| corrupt(format!("it is no PyTorch archive ({e})")))?;
        let prefixes: Vec<String> = zip
            .file_names()
            .flatten()
            .filter_map(|name| name.strip_suffix("data.pkl").map(str::to_owned))
            .filter(|prefix| prefix.is_empty() || prefix.ends_with('/'))
            .collect();
        let [prefix] = prefixes.as_slice() else {
            return Err(corrupt(format!(
                "the archive holds {} pickles, not one",
                prefixes.len()
            )));
        };
        let prefix = prefix.clone();
        let mut archive = Self {
            path,
            file,
            zip,
            prefix,
        };
        // Written since PyTorch 2.1; absent means little-endian.
        if let Ok(range) = archive.record("byteorder")
            && file.as_slice().get(range) != Some(b"little")
        {
            return Err(archive.corrupt("its numbers are big-endian; save it again elsewhere"));
        }
        Ok(archive)
    }

    fn corrupt(&self, problem: impl Into<String>) -> Error {
        corrupt(self.path, problem)
    }

    /// Where a record's bytes lie in the file.
    fn record(&mut self, name: &str) -> Result<Range<usize>, Error> {
        let full = format!("{}{name}", self.prefix);
        let found = self.zip.by_name(&full).map(|entry| {
            (
                entry.compression(),
                entry.data_start(),
                entry.size(),
                entry.compressed_size(),
            )
        });
        let (method, start, size, stored) = match found {
            Ok(found) => found,
            Err(error) => return Err(self.corrupt(format!("record `{full}`: {error}"))),
        };
        if method != CompressionMethod::Stored || size != stored {
            return Err(self.corrupt(format!(
                "record `{full}` is compressed, which PyTorch never does"
            )));
        }
        let start = start.and_then(|start| usize::try_from(start).ok());
        let size = usize::try_from(size).ok();
        start
            .zip(size)
            .and_then(|(start, size)| Some(start..start.checked_add(size)?))
            .filter(|range| self.file.as_slice().get(range.clone()).is_some())
            .ok_or_else(|| self.corrupt(format!("record `{full}` ends outside the file")))
    }
}
