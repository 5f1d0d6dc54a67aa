//! Files of expected numbers, for the tests.

use std::path::Path;

use safetensors::SafeTensors;

pub(crate) struct Golden(Vec<u8>);

impl Golden {
    pub(crate) fn read(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/probes");
        Self(std::fs::read(folder.join(name)).unwrap())
    }

    fn numbers<T, const N: usize>(
        &self,
        name: &str,
        number: fn([u8; N]) -> T,
    ) -> (Vec<usize>, Vec<T>) {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = file.tensor(name).unwrap();
        let bytes = tensor.data().chunks_exact(N);
        let values = bytes.map(|bytes| number(bytes.try_into().unwrap()));
        (tensor.shape().to_vec(), values.collect())
    }

    /// Shape and values.
    pub(crate) fn f32(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        self.numbers(name, f32::from_le_bytes)
    }

    pub(crate) fn f64(&self, name: &str) -> Vec<f64> {
        self.numbers(name, f64::from_le_bytes).1
    }

    pub(crate) fn i64(&self, name: &str) -> Vec<i64> {
        self.numbers(name, i64::from_le_bytes).1
    }
}
