//! Safetensors files as tests read them.

use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// A safetensors file, in memory. The tensors' values come in the order of the file: rows first.
#[derive(Debug)]
pub struct Tensors {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Tensors {
    /// Reads a file.
    ///
    /// # Panics
    /// If it cannot be read. What is in it is looked at when a tensor is asked for.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self {
            path: path.to_owned(),
            bytes,
        }
    }

    /// Reads a file of `golden/`, as in `probes/optim.safetensors`.
    ///
    /// # Panics
    /// As [`Self::read`].
    #[must_use]
    pub fn golden(path: &str) -> Self {
        Self::read(&super::golden(path))
    }

    /// Whether there is a tensor of that name.
    ///
    /// # Panics
    /// If the file is damaged.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.file().tensor(name).is_ok()
    }

    /// The names of all tensors, in order.
    ///
    /// # Panics
    /// If the file is damaged.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let file = self.file();
        let mut names: Vec<String> = file.names().into_iter().map(Into::into).collect();
        names.sort_unstable();
        names
    }

    /// The sizes of a tensor's axes.
    ///
    /// # Panics
    /// If it is not there.
    #[must_use]
    pub fn shape(&self, name: &str) -> Vec<usize> {
        self.tensor(name).shape().to_vec()
    }

    /// The values of a tensor of single precision.
    ///
    /// # Panics
    /// If it is not there, or of another type.
    #[must_use]
    pub fn f32(&self, name: &str) -> Vec<f32> {
        let tensor = self.tensor(name);
        match tensor.dtype() {
            Dtype::F32 => each(tensor.data(), f32::from_le_bytes),
            other => panic!("{name} of {} is {other:?}", self.path.display()),
        }
    }

    /// The values of a tensor of any type of number, widened.
    ///
    /// # Panics
    /// If it is not there, or holds no numbers of 32 or 64 bits.
    #[must_use]
    pub fn f64(&self, name: &str) -> Vec<f64> {
        let tensor = self.tensor(name);
        match tensor.dtype() {
            Dtype::F32 => each(tensor.data(), |b| f64::from(f32::from_le_bytes(b))),
            Dtype::F64 => each(tensor.data(), f64::from_le_bytes),
            _ => {
                let values = self.whole::<i64>(name).into_iter();
                values.map(|value| value as f64).collect()
            }
        }
    }

    /// The values of a tensor of whole numbers.
    ///
    /// # Panics
    /// If it is not there, of another type, or one of them is no `T`.
    #[must_use]
    pub fn whole<T: TryFrom<i64, Error: Debug>>(&self, name: &str) -> Vec<T> {
        let tensor = self.tensor(name);
        let values: Vec<i64> = match tensor.dtype() {
            Dtype::I32 => each(tensor.data(), |b| i64::from(i32::from_le_bytes(b))),
            Dtype::I64 => each(tensor.data(), i64::from_le_bytes),
            other => panic!("{name} of {} is {other:?}", self.path.display()),
        };
        let values = values.into_iter();
        values.map(|value| value.try_into().unwrap()).collect()
    }

    fn file(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes)
            .unwrap_or_else(|e| panic!("{}: {e}", self.path.display()))
    }

    fn tensor(&self, name: &str) -> TensorView<'_> {
        self.file()
            .tensor(name)
            .unwrap_or_else(|_| panic!("{} has no {name}", self.path.display()))
    }
}

fn each<T, const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, rest) = bytes.as_chunks();
    assert!(rest.is_empty());
    chunks.iter().map(|chunk| number(*chunk)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Tensors {
        Tensors::golden("studies/attention/tiny-bert.safetensors")
    }

    #[test]
    fn numbers_come_as_they_are_asked_for() {
        let file = file();
        let ends: Vec<usize> = file.whole("documents.offsets");
        assert_eq!(ends.len(), file.shape("documents.offsets")[0]);
        let ids: Vec<u32> = file.whole("documents.input_ids");
        assert_eq!(Some(&ids.len()), ends.last());
        let wide: Vec<f64> = ids.iter().map(|id| f64::from(*id)).collect();
        assert_eq!(file.f64("documents.input_ids"), wide);
        assert!(file.has("distances.sum") && !file.has("distances"));
    }

    #[test]
    #[should_panic(expected = "tiny-bert.safetensors has no unheard.of")]
    fn a_missing_tensor_is_named() {
        let _ = file().f32("unheard.of");
    }

    #[test]
    #[should_panic(expected = "distances.sum of ")]
    fn another_type_is_refused() {
        let _ = file().f32("distances.sum");
    }
}
