//! `pytorch_model.bin`: a zip archive of one pickle and, uncompressed, the storages that its
//! tensors are views of. Contiguous tensors are therefore views of the mapped file.

use std::io::Cursor;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use zip::{CompressionMethod, ZipArchive};

use super::map::FileBytes;
use super::unpickle::{self, Fault, TensorSpec};
use super::{Bytes, Tensor, elements};
use crate::Error;

pub(super) fn read(path: &Arc<Path>, file: &FileBytes) -> Result<Vec<Tensor>, Error> {
    let bytes = file.as_slice();
    // A bare pickle of protocol 2 or later, or an archive in the tar format of 2016.
    if matches!(bytes, [0x80, 2..=5, ..]) || bytes.get(257..262) == Some(b"ustar") {
        return Err(Error::LegacyPickle {
            path: path.to_path_buf(),
        });
    }
    let mut archive = Archive::open(path, file)?;
    let pickle = archive.record("data.pkl")?;
    let pickle = bytes.get(pickle).unwrap_or_default();
    let entries = unpickle::state_dict(pickle).map_err(|fault| match fault {
        Fault::Malformed(problem) => archive.corrupt(problem),
        Fault::Other(problem) => Error::NotAStateDict {
            path: path.to_path_buf(),
            problem,
        },
        Fault::Refused(global) => Error::UnsafePickle {
            path: path.to_path_buf(),
            global,
        },
    })?;
    entries
        .into_iter()
        .map(|(name, spec)| archive.tensor(name, spec))
        .collect()
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
        let corrupt = |problem: String| Error::Corrupt {
            path: path.to_path_buf(),
            problem,
        };
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
        Error::Corrupt {
            path: self.path.to_path_buf(),
            problem: problem.into(),
        }
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

    fn tensor(&mut self, name: String, spec: TensorSpec) -> Result<Tensor, Error> {
        let record = self.record(&format!("data/{}", spec.storage))?;
        let Some(view) = View::of(&spec, record.len()) else {
            return Err(self.corrupt(format!(
                "tensor `{name}` of shape {:?} does not fit its storage of {} bytes",
                spec.shape,
                record.len()
            )));
        };
        let bytes = match view {
            View::Range(range) => Bytes::Mapped {
                file: self.file.clone(),
                range: record.start + range.start..record.start + range.end,
            },
            View::Strided => {
                let storage = self.file.as_slice().get(record).unwrap_or_default();
                Bytes::Owned(gather(storage, &spec).into())
            }
        };
        Tensor::new(name, self.path.clone(), spec.dtype, spec.shape, bytes)
    }
}

/// How a tensor lies in its storage.
enum View {
    /// Row-major: this range of bytes.
    Range(Range<usize>),
    /// In another order: transposed, for instance.
    Strided,
}

impl View {
    /// Nothing if the tensor reaches outside a storage of `bytes` bytes, or repeats elements: then
    /// a small file could claim any size.
    fn of(spec: &TensorSpec, bytes: usize) -> Option<Self> {
        let item = spec.dtype.bitsize() / 8;
        let held = spec.storage_len.min(bytes / item);
        let count = elements(&spec.shape)?;
        if count == 0 {
            return Some(Self::Range(0..0));
        }
        let last = spec
            .shape
            .iter()
            .zip(&spec.strides)
            .try_fold(spec.offset, |at, (&size, &stride)| {
                at.checked_add((size - 1).checked_mul(stride)?)
            })?;
        if last >= held || count > held {
            return None;
        }
        let mut expected = 1;
        let contiguous = spec
            .shape
            .iter()
            .zip(&spec.strides)
            .rev()
            .all(|(&size, &stride)| {
                let fits = size == 1 || stride == expected;
                expected *= size;
                fits
            });
        if contiguous {
            Some(Self::Range(
                spec.offset * item..(spec.offset + count) * item,
            ))
        } else {
            Some(Self::Strided)
        }
    }
}

/// Copies a strided tensor into row-major order; [`View::of`] has checked its bounds.
fn gather(storage: &[u8], spec: &TensorSpec) -> Vec<u8> {
    let item = spec.dtype.bitsize() / 8;
    let count = elements(&spec.shape).unwrap_or(0);
    let mut bytes = Vec::with_capacity(count * item);
    let mut index = vec![0; spec.shape.len()];
    for _ in 0..count {
        let at: usize = spec.offset
            + index
                .iter()
                .zip(&spec.strides)
                .map(|(&i, &stride): (&usize, _)| i * stride)
                .sum::<usize>();
        bytes.extend_from_slice(storage.get(at * item..(at + 1) * item).unwrap_or_default());
        for (position, &size) in index.iter_mut().zip(&spec.shape).rev() {
            *position += 1;
            if *position < size {
                break;
            }
            *position = 0;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(offset: usize, shape: &[usize], strides: &[usize]) -> TensorSpec {
        TensorSpec {
            dtype: safetensors::Dtype::I16,
            storage: "0".into(),
            storage_len: 12,
            offset,
            shape: shape.into(),
            strides: strides.into(),
        }
    }

    #[test]
    fn strided_views_are_copied_into_row_major_order() {
        let storage: Vec<u8> = (0..12_i16).flat_map(i16::to_le_bytes).collect();
        let read = |spec: &TensorSpec| -> Option<Vec<u8>> {
            Some(match View::of(spec, storage.len())? {
                View::Range(range) => storage.get(range)?.to_vec(),
                View::Strided => gather(&storage, spec),
            })
        };
        let low = |spec| read(&spec).map(|b| b.iter().step_by(2).copied().collect::<Vec<u8>>());
        // torch.arange(12).view(3, 4), a slice of its rows, its transpose, every other column.
        assert_eq!(
            low(spec(4, &[2, 4], &[4, 1])),
            Some(vec![4, 5, 6, 7, 8, 9, 10, 11])
        );
        assert_eq!(low(spec(0, &[2, 3], &[1, 4])), Some(vec![0, 4, 8, 1, 5, 9]));
        assert_eq!(
            low(spec(1, &[3, 2], &[4, 2])),
            Some(vec![1, 3, 5, 7, 9, 11])
        );
        assert_eq!(low(spec(2, &[3, 2], &[4, 2])), None, "reaches past the end");
    }
}
