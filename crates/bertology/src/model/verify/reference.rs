//! A reference file in memory.

use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

use super::names::Named;
use super::{Error, ReferenceError};

/// A safetensors file with what another program computed.
#[derive(Debug)]
pub struct Reference {
    path: PathBuf,
    /// Sorted by name.
    tensors: Vec<(String, Tensor)>,
}

/// One tensor, in the file's own bytes.
#[derive(Debug)]
pub(super) struct Tensor {
    pub(super) shape: Vec<usize>,
    dtype: Dtype,
    bytes: Vec<u8>,
}

impl Reference {
    /// Reads a file. What its tensors mean is judged by [`super::verify`].
    ///
    /// # Errors
    /// [`ReferenceError::Unreadable`], [`ReferenceError::NotSafetensors`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        let bytes = match bertology_file::read(&path) {
            Ok(bytes) => bytes,
            Err(source) => return Err(ReferenceError::Unreadable { path, source }.into()),
        };
        let file = match SafeTensors::deserialize(&bytes) {
            Ok(file) => file,
            Err(source) => return Err(ReferenceError::NotSafetensors { path, source }.into()),
        };
        let mut tensors: Vec<(String, Tensor)> = file
            .iter()
            .map(|(name, view)| {
                let tensor = Tensor {
                    shape: view.shape().to_vec(),
                    dtype: view.dtype(),
                    bytes: view.data().to_vec(),
                };
                (name.to_owned(), tensor)
            })
            .collect();
        tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Self { path, tensors })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn tensors(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, t)| (name.as_str(), t))
    }
}

fn array<const N: usize>(bytes: &[u8], index: usize) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&bytes[index * N..(index + 1) * N]);
    value
}

impl Tensor {
    /// The number at a row-major index of a tensor that [`Named::floats`] has passed.
    pub(super) fn float(&self, index: usize) -> f64 {
        match self.dtype {
            Dtype::F64 => f64::from_le_bytes(array(&self.bytes, index)),
            _ => f64::from(f32::from_le_bytes(array(&self.bytes, index))),
        }
    }
}

impl<'a> Named<'a> {
    /// The tensor, if it holds numbers that results can be compared with.
    pub(super) fn floats(self) -> Result<&'a Tensor, ReferenceError> {
        match self.tensor.dtype {
            Dtype::F32 | Dtype::F64 => Ok(self.tensor),
            Dtype::F16 | Dtype::BF16 => Err(self.wrong_type(
                "two or three digits say little; compute and write the reference in float32",
            )),
            _ => Err(self.wrong_type("results are compared as float32 or float64")),
        }
    }

    /// Integers, row-major.
    pub(super) fn integers(self) -> Result<Vec<i64>, ReferenceError> {
        let bytes = &self.tensor.bytes;
        let count: usize = self.tensor.shape.iter().product();
        Ok(match self.tensor.dtype {
            Dtype::I64 => (0..count)
                .map(|i| i64::from_le_bytes(array(bytes, i)))
                .collect(),
            Dtype::I32 => (0..count)
                .map(|i| i64::from(i32::from_le_bytes(array(bytes, i))))
                .collect(),
            Dtype::U8 | Dtype::BOOL => bytes.iter().map(|byte| i64::from(*byte)).collect(),
            _ => return Err(self.wrong_type("int64 (torch.long) is needed")),
        })
    }

    /// Numbers of any kind, row-major.
    pub(super) fn numbers(self) -> Result<Vec<f64>, ReferenceError> {
        if let Ok(tensor) = self.floats() {
            let count: usize = tensor.shape.iter().product();
            return Ok((0..count).map(|i| tensor.float(i)).collect());
        }
        let integers = self.integers();
        integers.map(|all| all.into_iter().map(|v| v as f64).collect())
    }

    pub(super) fn wrong_shape(self, needs: impl Into<String>) -> ReferenceError {
        ReferenceError::Shape {
            name: self.name.to_owned(),
            found: self.tensor.shape.clone(),
            needs: needs.into(),
        }
    }

    fn wrong_type(self, needs: &'static str) -> ReferenceError {
        ReferenceError::ElementType {
            name: self.name.to_owned(),
            found: self.tensor.dtype.to_string(),
            needs,
        }
    }

    pub(super) fn wrong_value(self, sequence: usize, reason: impl Into<String>) -> ReferenceError {
        ReferenceError::Input {
            name: self.name.to_owned(),
            sequence,
            reason: reason.into(),
        }
    }
}
