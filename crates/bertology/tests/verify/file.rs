//! Reference files that can be changed, and what is said about them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bertology::verify::{Reference, ReferenceError, Verification, VerifyOptions, verify};
use bertology::{Error, LoadedModel};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize_to_file};

pub(crate) fn golden(folder: &str) -> PathBuf {
    bertology_testkit::golden(&format!("engine/{folder}"))
}

pub(crate) fn options(prefixes: &[&str]) -> VerifyOptions {
    VerifyOptions {
        prefixes: prefixes.iter().map(|&p| p.to_owned()).collect(),
        threads: 1,
        ..VerifyOptions::default()
    }
}

/// A reference file that can be changed.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
}

impl File {
    pub(crate) fn golden(folder: &str) -> Self {
        Self::read(&golden(folder).join("golden.safetensors"))
    }

    pub(crate) fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = file.iter().map(|(name, view)| {
            let parts = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
            (name.to_owned(), parts)
        });
        Self {
            tensors: tensors.collect(),
        }
    }

    pub(crate) fn put(mut self, name: &str, shape: &[usize], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let parts = (Dtype::F32, shape.to_vec(), bytes);
        self.tensors.insert(name.to_owned(), parts);
        self
    }

    pub(crate) fn put_ids(mut self, name: &str, shape: &[usize], values: &[i64]) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let parts = (Dtype::I64, shape.to_vec(), bytes);
        self.tensors.insert(name.to_owned(), parts);
        self
    }

    pub(crate) fn floats(&self, name: &str) -> Vec<f32> {
        let bytes = self.tensors[name].2.chunks_exact(4);
        bytes
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect()
    }

    pub(crate) fn ids(&self, name: &str) -> Vec<i64> {
        let bytes = self.tensors[name].2.chunks_exact(8);
        bytes
            .map(|b| i64::from_le_bytes(b.try_into().unwrap()))
            .collect()
    }

    /// Changes one entry.
    pub(crate) fn plant(self, name: &str, at: &[usize], change: impl Fn(f32) -> f32) -> Self {
        let shape = self.tensors[name].1.clone();
        let mut values = self.floats(name);
        let index = at.iter().zip(&shape).fold(0, |i, (a, n)| i * n + a);
        values[index] = change(values[index]);
        self.put(name, &shape, &values)
    }

    /// Changes every entry.
    pub(crate) fn map(self, name: &str, change: impl Fn(f32) -> f32) -> Self {
        let shape = self.tensors[name].1.clone();
        let values: Vec<f32> = self.floats(name).into_iter().map(change).collect();
        self.put(name, &shape, &values)
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.tensors.remove(name).unwrap();
        self
    }

    pub(crate) fn rename(mut self, from: &str, to: &str) -> Self {
        let parts = self.tensors.remove(from).unwrap();
        self.tensors.insert(to.to_owned(), parts);
        self
    }

    /// What only inputs and the results of one group are, the latter without their prefix.
    pub(crate) fn plain(self, prefix: &str) -> Self {
        let tensors = self.tensors.into_iter().filter_map(|(name, parts)| {
            let group = ["ones.", "some.", "layer_off.", "left.", "left_positions."];
            match name.strip_prefix(prefix) {
                Some(rest) => Some((rest.to_owned(), parts)),
                None if group.iter().any(|g| name.starts_with(g)) => None,
                None => Some((name, parts)),
            }
        });
        Self {
            tensors: tensors.collect(),
        }
    }

    pub(crate) fn write(&self, path: &Path) {
        let views = self.tensors.iter().map(|(name, (dtype, shape, bytes))| {
            let view = TensorView::new(*dtype, shape.clone(), bytes).unwrap();
            (name, view)
        });
        serialize_to_file(views, None, path).unwrap();
    }

    pub(crate) fn reference(&self) -> Reference {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reference.safetensors");
        self.write(&path);
        Reference::open(&path).unwrap()
    }

    pub(crate) fn verify(&self, folder: &str, prefixes: &[&str]) -> Result<Verification, Error> {
        let model = LoadedModel::open(golden(folder)).unwrap();
        verify(model.model(), &self.reference(), &options(prefixes))
    }

    #[track_caller]
    pub(crate) fn refused(
        &self,
        folder: &str,
        prefixes: &[&str],
        parts: &[&str],
    ) -> ReferenceError {
        match self.verify(folder, prefixes) {
            Err(Error::Reference(error)) => {
                let message = error.to_string();
                for part in parts {
                    assert!(message.contains(part), "no `{part}` in: {message}");
                }
                error
            }
            other => panic!("{other:?}"),
        }
    }
}
