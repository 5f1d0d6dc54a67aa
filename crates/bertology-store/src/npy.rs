//! NumPy's `.npy` files, version 1.0 written, 1.0 to 3.0 read
//! (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>).

use bertology_error::Kind;
use thiserror::Error;

const MAGIC: &[u8] = b"\x93NUMPY";

/// An element type that is written.
pub trait Element: Copy {
    /// NumPy's name of the type.
    const DESCR: &'static str;
    /// Appends the little-endian bytes.
    fn put(self, bytes: &mut Vec<u8>);
}

macro_rules! element {
    ($($type:ty => $descr:literal),*) => {$(
        impl Element for $type {
            const DESCR: &'static str = $descr;
            fn put(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}
element!(half::f16 => "<f2", f32 => "<f4", f64 => "<f8", i64 => "<i8");

/// The bytes of a file with these values, of this shape, in C order.
#[must_use]
pub fn encode<T: Element>(shape: &[usize], values: &[T]) -> Vec<u8> {
    debug_assert_eq!(shape.iter().product::<usize>(), values.len());
    let mut bytes = header::<T>(shape);
    bytes.reserve(size_of_val(values));
    for value in values {
        value.put(&mut bytes);
    }
    bytes
}

/// What stands before the values of a file of this shape, which follow as [`Element::put`] writes them, in C order.
#[must_use]
pub fn header<T: Element>(shape: &[usize]) -> Vec<u8> {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    let comma = if shape.len() == 1 { "," } else { "" };
    let mut header = format!(
        "{{'descr': '{}', 'fortran_order': False, 'shape': ({}{comma}), }}",
        T::DESCR,
        sizes.join(", ")
    );
    // The data begin at a multiple of 64; the header ends with a line feed.
    let before = MAGIC.len() + 4;
    while !(before + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = Vec::with_capacity(before + header.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[1, 0]);
    bytes.extend_from_slice(&(header.len() as u16).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes
}

/// An array of any real type.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Its sizes, outermost first; none for a single number.
    pub shape: Vec<usize>,
    /// In C order, as f64 whatever they are in the file.
    pub values: Vec<f64>,
}

/// What is wrong with a file, as a clause that follows its name and a colon.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NpyError {
    /// Another kind of file, or its beginning only.
    #[error("it is not a NumPy .npy file, or it is cut off")]
    NotNpy,
    /// A header without one of its three keys, or with one that cannot be understood.
    #[error("its header has no usable {key}")]
    Header {
        /// `descr`, `fortran_order` or `shape`.
        key: &'static str,
    },
    /// Elements that are no real numbers.
    #[error("its elements are {descr}; save it as float32, float64, bool or an integer type")]
    Elements {
        /// NumPy's name of the type.
        descr: String,
    },
    /// More or fewer numbers than the header promises.
    #[error("its header promises {shape:?} elements of {size} bytes, but {found} bytes follow")]
    Size {
        /// As the header has it.
        shape: Vec<usize>,
        /// Bytes of an element.
        size: usize,
        /// Bytes behind the header.
        found: usize,
    },
}

impl NpyError {
    /// Whose fault it was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotNpy | Self::Header { .. } | Self::Elements { .. } | Self::Size { .. } => {
                Kind::Input
            }
        }
    }
}

/// Reads a file.
///
/// # Errors
/// [`NpyError`]: no file of this kind, cut off, or of elements that are no real numbers. A damaged file
/// is never half read.
pub fn decode(bytes: &[u8]) -> Result<Array, NpyError> {
    let (header, data) = split(bytes).ok_or(NpyError::NotNpy)?;
    let header = String::from_utf8_lossy(header);
    let bad = |key: &'static str| NpyError::Header { key };
    let descr = after(&header, "descr")
        .and_then(|rest| rest.strip_prefix(['\'', '"']))
        .and_then(|rest| rest.split(['\'', '"']).next())
        .ok_or_else(|| bad("descr"))?;
    let fortran = after(&header, "fortran_order").ok_or_else(|| bad("fortran_order"))?;
    let fortran = fortran.starts_with("True");
    let shape = shape(&header).ok_or_else(|| bad("shape"))?;
    let (size, read) = reader(descr).ok_or_else(|| NpyError::Elements {
        descr: descr.to_owned(),
    })?;
    let count = shape
        .iter()
        .try_fold(1_usize, |product, size| product.checked_mul(*size));
    if count.and_then(|count| count.checked_mul(size)) != Some(data.len()) {
        return Err(NpyError::Size {
            shape,
            size,
            found: data.len(),
        });
    }
    let mut values: Vec<f64> = data.chunks_exact(size).map(read).collect();
    if fortran {
        values = to_c_order(&shape, &values);
    }
    Ok(Array { shape, values })
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (version, rest) = rest.split_at_checked(2)?;
    let (length, rest) = match version.first()? {
        1 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_le_bytes(*length)), rest)
        }
        2 | 3 => {
            let (length, rest) = rest.split_first_chunk::<4>()?;
            (usize::try_from(u32::from_le_bytes(*length)).ok()?, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// What follows a key of the header's dictionary.
fn after<'h>(header: &'h str, key: &str) -> Option<&'h str> {
    let (_, rest) = header.split_once(key)?;
    Some(
        rest.trim_start_matches(['\'', '"'])
            .trim_start()
            .strip_prefix(':')?
            .trim_start(),
    )
}

fn shape(header: &str) -> Option<Vec<usize>> {
    let inside = after(header, "shape")?
        .strip_prefix('(')?
        .split(')')
        .next()?;
    inside
        .split(',')
        .map(str::trim)
        .filter(|size| !size.is_empty())
        .map(|size| size.parse().ok())
        .collect()
}

type Reader = fn(&[u8]) -> f64;

fn half(bytes: &[u8]) -> f64 {
    let bytes = bytes.try_into();
    bytes.map_or(f64::NAN, |bytes| half::f16::from_le_bytes(bytes).to_f64())
}

fn reader(descr: &str) -> Option<(usize, Reader)> {
    macro_rules! number {
        ($type:ty, $from:ident) => {{
            fn read(bytes: &[u8]) -> f64 {
                bytes
                    .try_into()
                    .map_or(f64::NAN, |bytes| <$type>::$from(bytes) as f64)
            }
            Some((size_of::<$type>(), read as Reader))
        }};
    }
    match descr {
        "|b1" | "|u1" => number!(u8, from_le_bytes),
        "|i1" => number!(i8, from_le_bytes),
        "<i2" => number!(i16, from_le_bytes),
        "<u2" => number!(u16, from_le_bytes),
        "<i4" => number!(i32, from_le_bytes),
        "<u4" => number!(u32, from_le_bytes),
        "<i8" => number!(i64, from_le_bytes),
        "<u8" => number!(u64, from_le_bytes),
        "<f2" => Some((2, half)),
        "<f4" => number!(f32, from_le_bytes),
        "<f8" => number!(f64, from_le_bytes),
        ">i4" => number!(i32, from_be_bytes),
        ">i8" => number!(i64, from_be_bytes),
        ">f4" => number!(f32, from_be_bytes),
        ">f8" => number!(f64, from_be_bytes),
        _ => None,
    }
}

/// Column-major values (first index fastest) as row-major ones.
fn to_c_order(shape: &[usize], values: &[f64]) -> Vec<f64> {
    let mut index = vec![0; shape.len()];
    let mut out = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        let mut offset = 0;
        for (at, size) in index.iter().zip(shape).rev() {
            offset = offset * size + at;
        }
        out.extend(values.get(offset));
        for (at, size) in index.iter_mut().zip(shape).rev() {
            *at += 1;
            if *at < *size {
                break;
            }
            *at = 0;
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// `numpy.save` of `numpy.asfortranarray([[1, 0, 1], [0, 1, 1]], dtype=numpy.int64)`.
    const FORTRAN: &str = "934e554d5059010076007b276465736372273a20273c6938272c2027666f727472616e5f\
        6f72646572273a20547275652c20277368617065273a2028322c2033292c207d";

    #[test]
    fn what_is_written_is_read() {
        let bytes = encode(&[2, 3], &[1.0_f32, 0.0, 0.5, -1.0, 2.0, 3.0]);
        assert!(bytes.starts_with(b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', "));
        assert_eq!(bytes.len(), 128 + 24);
        let array = decode(&bytes).unwrap();
        assert_eq!(array.shape, [2, 3]);
        assert_eq!(array.values, [1.0, 0.0, 0.5, -1.0, 2.0, 3.0]);
        assert_eq!(decode(&encode(&[3], &[7_i64, -8, 9])).unwrap().shape, [3]);
        let bytes = encode(&[2], &[1.0, -0.333].map(half::f16::from_f64));
        // As `numpy.float16([1, -0.333]).tobytes()`.
        assert_eq!(bytes[128..], [0x00, 0x3c, 0x54, 0xb5]);
        assert_eq!(decode(&bytes).unwrap().values, [1.0, -0.333_007_812_5]);
    }

    #[test]
    fn fortran_order_and_other_types_are_understood() {
        let digits = FORTRAN.replace(char::is_whitespace, "");
        let mut bytes: Vec<u8> = (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
            .collect();
        bytes.resize(127, b' ');
        bytes.push(b'\n');
        for value in [1_i64, 0, 0, 1, 1, 1] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        let array = decode(&bytes).unwrap();
        assert_eq!(array.shape, [2, 3]);
        assert_eq!(array.values, [1.0, 0.0, 1.0, 0.0, 1.0, 1.0]);
    }

    #[test]
    fn damaged_files_are_errors() {
        let good = encode(&[2, 2], &[1.0_f64; 4]);
        for end in 0..good.len() {
            assert!(decode(&good[..end]).is_err(), "{end}");
        }
        let text = String::from_utf8_lossy(&good[10..128]).into_owned();
        for (from, to) in [
            ("(2, 2)", "(99999999999, 99999999999)"),
            ("(2, 2)", "(-2, 2)"),
            ("<f8", "|O8"),
            ("shape", "sharp"),
        ] {
            let mut bytes = good[..10].to_vec();
            let mut header = text.replace(from, to);
            header.truncate(118);
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(&good[128..]);
            assert!(decode(&bytes).is_err(), "{to}");
        }
    }
}
