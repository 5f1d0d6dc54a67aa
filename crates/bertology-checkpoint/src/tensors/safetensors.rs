//! `*.safetensors`: the tensors are views of the mapped file.

use std::path::Path;
use std::sync::Arc;

use safetensors::SafeTensors;

use super::map::FileBytes;
use super::{Bytes, Tensor};
use crate::Error;

/// Length of the number before the header.
const PREFIX: usize = 8;

pub(super) fn read(path: &Arc<Path>, file: &FileBytes) -> Result<Vec<Tensor>, Error> {
    let corrupt = |problem: String| Error::Corrupt {
        path: path.to_path_buf(),
        problem,
    };
    // Checks offsets against the file's length and shapes against offsets.
    let (header, metadata) =
        SafeTensors::read_metadata(file.as_slice()).map_err(|e| corrupt(e.to_string()))?;
    let base = header
        .checked_add(PREFIX)
        .ok_or_else(|| corrupt("header too large".into()))?;
    metadata
        .tensors()
        .into_iter()
        .map(|(name, info)| {
            let (start, end) = info.data_offsets;
            let range = base.checked_add(start).zip(base.checked_add(end));
            let range = range
                .map(|(start, end)| start..end)
                .filter(|range| file.as_slice().get(range.clone()).is_some())
                .ok_or_else(|| corrupt(format!("tensor `{name}` ends outside the file")))?;
            let bytes = Bytes::Mapped {
                file: file.clone(),
                range,
            };
            Tensor::new(name, path.clone(), info.dtype, info.shape.clone(), bytes)
        })
        .collect()
}
