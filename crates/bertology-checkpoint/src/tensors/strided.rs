//! Tensors that lie in their storage in another order than row-major: transposed, or a slice of columns.

use std::ops::Range;
use std::sync::OnceLock;

use super::elements;
use super::map::FileBytes;
use super::unpickle::TensorSpec;

/// How a tensor lies in its storage.
pub(super) enum View {
    /// Row-major: this range of bytes.
    Range(Range<usize>),
    /// In another order: transposed, for instance.
    Strided,
}

impl View {
    /// Nothing if the tensor reaches outside a storage of `bytes` bytes, or repeats elements: then
    /// a small file could claim any size.
    pub(super) fn of(spec: &TensorSpec, bytes: usize) -> Option<Self> {
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

/// A view whose elements are put in order when they are first read: a file of thousands of views that no
/// parameter uses costs nothing.
pub(super) struct Strided {
    file: FileBytes,
    storage: Range<usize>,
    /// Bytes of an element.
    item: usize,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
    ordered: OnceLock<Vec<u8>>,
}

impl Strided {
    /// [`View::of`] has checked that the tensor fits.
    pub(super) fn new(file: &FileBytes, storage: Range<usize>, spec: &TensorSpec) -> Self {
        Self {
            file: file.clone(),
            storage,
            item: spec.dtype.bitsize() / 8,
            offset: spec.offset,
            shape: spec.shape.clone(),
            strides: spec.strides.clone(),
            ordered: OnceLock::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        elements(&self.shape).unwrap_or(0) * self.item
    }

    /// The elements in row-major order.
    pub(super) fn bytes(&self) -> &[u8] {
        self.ordered.get_or_init(|| {
            let storage = self.file.as_slice().get(self.storage.clone());
            self.ordered_from(storage.unwrap_or_default())
        })
    }

    fn ordered_from(&self, storage: &[u8]) -> Vec<u8> {
        let item = self.item;
        let count = elements(&self.shape).unwrap_or(0);
        let mut bytes = Vec::with_capacity(count * item);
        let mut index = vec![0; self.shape.len()];
        for _ in 0..count {
            let at: usize = self.offset
                + index
                    .iter()
                    .zip(&self.strides)
                    .map(|(&i, &stride): (&usize, _)| i * stride)
                    .sum::<usize>();
            bytes.extend_from_slice(storage.get(at * item..(at + 1) * item).unwrap_or_default());
            for (position, &size) in index.iter_mut().zip(&self.shape).rev() {
                *position += 1;
                if *position < size {
                    break;
                }
                *position = 0;
            }
        }
        bytes
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
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
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("storage");
        std::fs::write(&path, &storage).unwrap();
        let file = FileBytes::open(&path).unwrap();
        let read = |spec: &TensorSpec| -> Option<Vec<u8>> {
            Some(match View::of(spec, storage.len())? {
                View::Range(range) => storage.get(range)?.to_vec(),
                View::Strided => Strided::new(&file, 0..storage.len(), spec).bytes().to_vec(),
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

    #[test]
    fn a_view_costs_nothing_until_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("storage");
        std::fs::write(&path, [0; 24]).unwrap();
        let file = FileBytes::open(&path).unwrap();
        let view = Strided::new(&file, 0..24, &spec(0, &[2, 3], &[1, 4]));
        assert_eq!(view.len(), 12);
        assert!(view.ordered.get().is_none());
        assert_eq!(view.bytes().len(), 12);
    }
}
