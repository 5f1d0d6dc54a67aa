//! Raw tensors of a model folder, under the names and types that the files give them.

mod index;
#[cfg(feature = "pickle")]
mod legacy;
mod map;
#[cfg(feature = "pickle")]
mod pickle;
mod safetensors;
#[cfg(feature = "pickle")]
mod strided;
#[cfg(feature = "pickle")]
mod unpickle;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::safetensors::Dtype;
use half::{bf16, f16};

use crate::Error;
use map::FileBytes;
#[cfg(feature = "pickle")]
use strided::Strided;

/// One tensor as a file stores it. Its bytes are a view of the mapped file wherever the format
/// allows, so holding a tensor costs no memory until its values are read.
#[derive(Clone)]
pub struct Tensor {
    name: String,
    file: Arc<Path>,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Bytes,
}

#[derive(Clone)]
enum Bytes {
    Mapped {
        file: FileBytes,
        range: Range<usize>,
    },
    /// In another order than row-major; copied when somebody asks.
    #[cfg(feature = "pickle")]
    Strided(Arc<Strided>),
}

impl Bytes {
    fn len(&self) -> usize {
        match self {
            Self::Mapped { range, .. } => range.len(),
            #[cfg(feature = "pickle")]
            Self::Strided(view) => view.len(),
        }
    }
}

/// The nearest value that a floating-point type of a file has; of other types the value itself.
#[must_use]
pub fn rounded(dtype: Dtype, value: f64) -> f64 {
    match dtype {
        Dtype::F32 => f64::from(value as f32),
        Dtype::F16 => f16::from_f64(value).to_f64(),
        Dtype::BF16 => bf16::from_f64(value).to_f64(),
        _ => value,
    }
}

impl Tensor {
    /// Checks that the bytes are as many as shape and type ask for.
    fn new(
        name: String,
        file: Arc<Path>,
        dtype: Dtype,
        shape: Vec<usize>,
        bytes: Bytes,
    ) -> Result<Self, Error> {
        let tensor = Self {
            name,
            file,
            dtype,
            shape,
            bytes,
        };
        let needed = elements(&tensor.shape)
            .and_then(|count| count.checked_mul(tensor.dtype.bitsize()))
            .map(|bits| bits.div_ceil(8));
        if needed == Some(tensor.bytes.len()) {
            return Ok(tensor);
        }
        Err(Error::Corrupt {
            path: tensor.file.to_path_buf(),
            problem: format!(
                "tensor `{}` of type {} and shape {:?} has {} bytes",
                tensor.name,
                tensor.dtype,
                tensor.shape,
                tensor.bytes.len()
            ),
        })
    }

    /// Name in the file, without what a wrapper of PyTorch put before all names
    /// ([`Report::wrapper`](crate::Report::wrapper)).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The weights file that holds it.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Type of its elements in the file.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Sizes, outermost first.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        // `new` has checked that the product does not overflow.
        self.shape.iter().product()
    }

    /// Whether there are no elements: a projection of a layer without heads, for instance.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as stored: row-major, little-endian.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped { file, range } => &file.as_slice()[range.clone()],
            #[cfg(feature = "pickle")]
            Bytes::Strided(view) => view.bytes(),
        }
    }

    /// Says that the elements are not needed for now, after they were converted: memory that only holds
    /// a part of the file is free for others. They stay readable.
    pub fn release(&self) {
        match &self.bytes {
            Bytes::Mapped { file, range } => file.release(range.clone()),
            #[cfg(feature = "pickle")]
            Bytes::Strided(_) => {}
        }
    }

    /// The elements in place, if they are f32 and happen to be aligned for it.
    #[must_use]
    pub fn as_f32_slice(&self) -> Option<&[f32]> {
        if self.dtype != Dtype::F32 || cfg!(target_endian = "big") {
            return None;
        }
        bytemuck::try_cast_slice(self.bytes()).ok()
    }

    /// Appends elements of this tensor, given as bytes, multiplied by a factor and [rounded](rounded) to the tensor's type; of
    /// other types than floating-point ones the bytes as they are.
    pub(crate) fn extend_scaled(&self, bytes: &[u8], factor: f64, to: &mut Vec<u8>) {
        fn each<const N: usize>(bytes: &[u8], to: &mut Vec<u8>, f: impl Fn([u8; N]) -> [u8; N]) {
            let (whole, _) = bytes.as_chunks::<N>();
            to.extend(whole.iter().flat_map(|one| f(*one)));
        }
        let dtype = self.dtype();
        let scaled = |value: f64| rounded(dtype, value * factor);
        match dtype {
            Dtype::F32 => each(bytes, to, |b| {
                (scaled(f32::from_le_bytes(b).into()) as f32).to_le_bytes()
            }),
            Dtype::F64 => each(bytes, to, |b| scaled(f64::from_le_bytes(b)).to_le_bytes()),
            Dtype::F16 => each(bytes, to, |b| {
                f16::from_f64(scaled(f16::from_le_bytes(b).to_f64())).to_le_bytes()
            }),
            Dtype::BF16 => each(bytes, to, |b| {
                bf16::from_f64(scaled(bf16::from_le_bytes(b).to_f64())).to_le_bytes()
            }),
            _ => to.extend_from_slice(bytes),
        }
    }

    /// The elements as f32, row-major. f16 and bf16 convert exactly, f64 is rounded.
    ///
    /// # Errors
    /// [`Error::Dtype`] if the elements are not floating-point numbers.
    pub fn to_f32(&self) -> Result<Vec<f32>, Error> {
        if let Some(values) = self.as_f32_slice() {
            return Ok(values.to_vec());
        }
        self.convert(|v| v, f16::to_f32, bf16::to_f32, |v| v as f32)
    }

    /// The elements as f64, row-major. Every type that is accepted converts exactly.
    ///
    /// # Errors
    /// [`Error::Dtype`] if the elements are not floating-point numbers.
    pub fn to_f64(&self) -> Result<Vec<f64>, Error> {
        self.convert(f64::from, f16::to_f64, bf16::to_f64, |v| v)
    }

    fn convert<T>(
        &self,
        single: impl Fn(f32) -> T,
        half: impl Fn(f16) -> T,
        brain: impl Fn(bf16) -> T,
        double: impl Fn(f64) -> T,
    ) -> Result<Vec<T>, Error> {
        let bytes = self.bytes();
        Ok(match self.dtype {
            Dtype::F32 => map_chunks(bytes, |b| single(f32::from_le_bytes(b))),
            Dtype::F16 => map_chunks(bytes, |b| half(f16::from_le_bytes(b))),
            Dtype::BF16 => map_chunks(bytes, |b| brain(bf16::from_le_bytes(b))),
            Dtype::F64 => map_chunks(bytes, |b| double(f64::from_le_bytes(b))),
            _ => return Err(self.wrong_dtype()),
        })
    }

    pub(crate) fn is_floating(&self) -> bool {
        matches!(
            self.dtype,
            Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64
        )
    }

    pub(crate) fn wrong_dtype(&self) -> Error {
        Error::Dtype {
            tensor: self.name.clone(),
            file: self.file.to_path_buf(),
            dtype: self.dtype,
        }
    }

    pub(crate) fn same_values(&self, other: &Self) -> bool {
        self.dtype == other.dtype && self.shape == other.shape && self.bytes() == other.bytes()
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tensor")
            .field("name", &self.name)
            .field("file", &self.file)
            .field("dtype", &self.dtype)
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

fn map_chunks<const N: usize, T>(bytes: &[u8], convert: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes
        .as_chunks::<N>()
        .0
        .iter()
        .map(|chunk| convert(*chunk))
        .collect()
}

/// Number of elements, or nothing if it does not fit a `usize`.
fn elements(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1_usize, |product, &size| product.checked_mul(size))
}

/// Every tensor of a folder and the files they came from.
#[derive(Debug)]
pub(crate) struct TensorSet {
    /// Sorted by name.
    pub(crate) tensors: Vec<Tensor>,
    /// Weights files, in reading order.
    pub(crate) files: Vec<PathBuf>,
    /// What every name began with and was taken away; empty where nothing was.
    pub(crate) wrapper: String,
}

/// What wrappers of PyTorch put before every name: `DistributedDataParallel` and `torch.compile`.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

const SAFETENSORS: &str = "model.safetensors";
const SAFETENSORS_INDEX: &str = "model.safetensors.index.json";
const PICKLE: &str = "pytorch_model.bin";
const PICKLE_INDEX: &str = "pytorch_model.bin.index.json";

impl TensorSet {
    /// Opens the weights of `folder`, preferring the files in the order in which transformers
    /// prefers them.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let present =
            |name: &str| Some(folder.join(name)).filter(|path| bertology_file::exists(path));
        let files = if let Some(path) = present(SAFETENSORS) {
            vec![path]
        } else if let Some(path) = present(SAFETENSORS_INDEX) {
            return Self::from_index(folder, &path);
        } else if let Some(path) = present(PICKLE) {
            vec![path]
        } else if let Some(path) = present(PICKLE_INDEX) {
            return Self::from_index(folder, &path);
        } else {
            return Err(no_weights(folder));
        };
        Self::from_files(files).map(Self::unwrapped)
    }

    /// Takes the prefixes of wrappers away where every name has them. The order by name stays.
    fn unwrapped(mut self) -> Self {
        while let Some(prefix) = WRAPPERS.into_iter().find(|prefix| {
            !self.tensors.is_empty() && self.tensors.iter().all(|t| t.name.starts_with(prefix))
        }) {
            for tensor in &mut self.tensors {
                tensor.name.drain(..prefix.len());
            }
            self.wrapper.push_str(prefix);
        }
        self
    }

    fn from_files(files: Vec<PathBuf>) -> Result<Self, Error> {
        let mut by_name: BTreeMap<String, Tensor> = BTreeMap::new();
        for path in &files {
            for tensor in read_file(path)? {
                if let Some(first) = by_name.get(&tensor.name) {
                    return Err(Error::DuplicateName {
                        name: tensor.name,
                        first: first.file.to_path_buf(),
                        second: path.clone(),
                    });
                }
                by_name.insert(tensor.name.clone(), tensor);
            }
        }
        Ok(Self {
            tensors: by_name.into_values().collect(),
            files,
            wrapper: String::new(),
        })
    }

    fn from_index(folder: &Path, index: &Path) -> Result<Self, Error> {
        let map = index::read(index)?;
        let mut names: Vec<&str> = map.values().map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        let files: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
        for (name, path) in names.iter().zip(&files) {
            if !bertology_file::is_file(path) {
                return Err(Error::Index {
                    path: index.into(),
                    problem: format!("it names the shard `{name}`, which is not in the folder"),
                });
            }
        }
        let set = Self::from_files(files)?;
        for (name, shard) in &map {
            let found = set
                .tensors
                .binary_search_by(|tensor| tensor.name.as_str().cmp(name));
            let right = found
                .ok()
                .and_then(|at| set.tensors.get(at))
                .is_some_and(|tensor| tensor.file.file_name() == Some(shard.as_ref()));
            if !right {
                return Err(Error::Index {
                    path: index.into(),
                    problem: format!("it places tensor `{name}` in `{shard}`, which lacks it"),
                });
            }
        }
        Ok(set.unwrapped())
    }
}

fn read_file(path: &Path) -> Result<Vec<Tensor>, Error> {
    let bytes = FileBytes::open(path)?;
    if bertology_file::is_lfs_pointer(bytes.as_slice()) {
        return Err(Error::LfsPointer { path: path.into() });
    }
    let shared: Arc<Path> = path.into();
    if path
        .extension()
        .is_some_and(|extension| extension == "safetensors")
    {
        return safetensors::read(&shared, &bytes);
    }
    #[cfg(feature = "pickle")]
    return pickle::read(&shared, &bytes);
    #[cfg(not(feature = "pickle"))]
    return Err(Error::PickleDisabled { path: path.into() });
}

/// The most helpful refusal for a folder without usable weights.
fn no_weights(folder: &Path) -> Error {
    let names = bertology_file::names(folder).unwrap_or_default();
    let foreign = |fits: &dyn Fn(&str) -> bool, format, option| {
        let file = names.iter().find(|name| fits(name))?.clone();
        Some(Error::ForeignWeights {
            path: folder.into(),
            file,
            format,
            option,
        })
    };
    foreign(
        &|n| n.starts_with("tf_model") && n.contains(".h5"),
        "TensorFlow",
        "from_tf",
    )
    .or_else(|| foreign(&|n| n.contains(".ckpt"), "TensorFlow", "from_tf"))
    .or_else(|| {
        foreign(
            &|n| n.starts_with("flax_model") && n.contains(".msgpack"),
            "Flax",
            "from_flax",
        )
    })
    .unwrap_or_else(|| Error::NoWeights {
        path: folder.into(),
    })
}
