//! Numbers on their way to numpy, which takes the memory over: nothing is copied.

use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;

/// An array of this shape that owns `values`.
pub(crate) fn array<'py, T: numpy::Element>(
    py: Python<'py>,
    values: Vec<T>,
    shape: &[usize],
) -> PyResult<Bound<'py, PyAny>> {
    let flat = PyArray1::from_vec(py, values);
    Ok(flat.reshape(shape)?.into_any())
}
