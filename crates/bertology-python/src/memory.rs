//! A model that a program holds in its memory, as files that are on no disk.

use bertology_file::MemoryFolder;
use numpy::{PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use safetensors::tensor::{Dtype, View};
use std::borrow::Cow;

use crate::errors;

/// An array that lives while the file is made.
struct Weights<'a> {
    shape: Vec<usize>,
    values: &'a [f32],
}

impl View for &Weights<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        // Files of weights are little-endian, and so is every machine that this is built for.
        Cow::Borrowed(bytemuck::cast_slice(self.values))
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}

/// A folder in memory with a config, weights as `model.safetensors`, and other files as they are.
///
/// `tensors` maps names to contiguous arrays of float32, `files` names to bytes; without tensors the weights are among
/// the files.
pub(crate) fn folder(
    py: Python<'_>,
    name: &str,
    tensors: &Bound<'_, PyDict>,
    files: &Bound<'_, PyDict>,
) -> PyResult<MemoryFolder> {
    let mut names = Vec::with_capacity(tensors.len());
    let mut arrays: Vec<PyReadonlyArrayDyn<'_, f32>> = Vec::with_capacity(tensors.len());
    for (name, array) in tensors {
        let name: String = name.extract()?;
        let array = array
            .cast::<PyArrayDyn<f32>>()
            .map_err(|_| errors::input(py, format!("tensor {name}: give an array of float32")))?;
        names.push(name);
        arrays.push(array.try_readonly()?);
    }
    let mut weights = Vec::with_capacity(names.len());
    for (name, array) in names.iter().zip(&arrays) {
        let values = array.as_slice().map_err(|_| {
            errors::input(
                py,
                format!("tensor {name}: give a contiguous array, as numpy.ascontiguousarray does"),
            )
        })?;
        weights.push(Weights {
            shape: array.shape().to_vec(),
            values,
        });
    }
    let mut all = Vec::with_capacity(files.len() + 1);
    for (name, bytes) in files {
        let bytes = bytes.cast::<PyBytes>()?;
        all.push((name.extract()?, bytes.as_bytes().to_vec()));
    }
    if !weights.is_empty() {
        let named = names.iter().zip(&weights);
        let bytes = safetensors::serialize(named, None).map_err(|error| {
            errors::input(
                py,
                format!("the weights cannot be kept as safetensors: {error}"),
            )
        })?;
        all.push(("model.safetensors".to_owned(), bytes));
    }
    Ok(MemoryFolder::new(name, all))
}
