//! Types of numbers on disk, little-endian.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// The type of an array's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Element {
    /// Computed values.
    Float(Float),
    /// IEEE 754 double precision.
    F64,
    /// Signed, 32 bits.
    I32,
    /// Signed, 64 bits.
    I64,
}

/// To what precision computed values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Float {
    /// IEEE 754 single precision: as computed.
    F32,
    /// IEEE 754 half precision: 11 bits of precision, up to 65504.
    F16,
    /// The upper half of an `f32`: 8 bits of precision, the range of `f32`.
    Bf16,
}

/// Numbers converted at once, on the stack.
const PIECE: usize = 512;

impl Element {
    /// Bytes of one number.
    #[must_use]
    pub fn size(self) -> u64 {
        match self {
            Self::Float(Float::F16 | Float::Bf16) => 2,
            Self::Float(Float::F32) | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }

    /// `float32`, `bfloat16` and so on, as NumPy and PyTorch say.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Float(Float::F32) => "float32",
            Self::Float(Float::F16) => "float16",
            Self::Float(Float::Bf16) => "bfloat16",
            Self::F64 => "float64",
            Self::I32 => "int32",
            Self::I64 => "int64",
        }
    }

    /// The name in a safetensors header.
    pub(crate) fn safetensors(self) -> &'static str {
        match self {
            Self::Float(Float::F32) => "F32",
            Self::Float(Float::F16) => "F16",
            Self::Float(Float::Bf16) => "BF16",
            Self::F64 => "F64",
            Self::I32 => "I32",
            Self::I64 => "I64",
        }
    }

    /// NumPy's type string; NumPy has no bfloat16.
    pub(crate) fn numpy(self) -> Option<&'static str> {
        match self {
            Self::Float(Float::F32) => Some("<f4"),
            Self::Float(Float::F16) => Some("<f2"),
            Self::Float(Float::Bf16) => None,
            Self::F64 => Some("<f8"),
            Self::I32 => Some("<i4"),
            Self::I64 => Some("<i8"),
        }
    }
}

impl Float {
    /// Appends numbers in this type, rounded to the nearest, ties to even. Gives how many finite
    /// numbers became infinite because they exceed the range of the type.
    pub fn encode(self, values: &[f32], out: &mut Vec<u8>) -> u64 {
        let mut lost = 0;
        match self {
            Self::F32 => {
                out.reserve(values.len() * 4);
                for value in values {
                    out.extend_from_slice(&value.to_le_bytes());
                }
            }
            Self::F16 => {
                out.reserve(values.len() * 2);
                let mut piece = [f16::ZERO; PIECE];
                for values in values.chunks(PIECE) {
                    // Whole slices use the processor's own conversion.
                    let piece = &mut piece[..values.len()];
                    piece.convert_from_f32_slice(values);
                    for (half, value) in piece.iter().zip(values) {
                        out.extend_from_slice(&half.to_le_bytes());
                        lost += u64::from(half.is_infinite() && value.is_finite());
                    }
                }
            }
            Self::Bf16 => {
                out.reserve(values.len() * 2);
                for value in values {
                    let half = bf16::from_f32(*value);
                    out.extend_from_slice(&half.to_le_bytes());
                    lost += u64::from(half.is_infinite() && value.is_finite());
                }
            }
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(float: Float, values: &[f32]) -> (Vec<u8>, u64) {
        let mut bytes = Vec::new();
        let lost = float.encode(values, &mut bytes);
        (bytes, lost)
    }

    /// Bit patterns by hand, from the definitions of the formats.
    #[test]
    fn halves_round_to_nearest_even_and_say_what_they_lose() {
        let above_one = |steps: f32, bits: i32| 1.0 + steps * 2.0_f32.powi(-bits);
        // 1 + 2⁻¹¹ lies between 1 and 1 + 2⁻¹⁰: a tie, and 1 is even. 65520 is the first to be lost.
        let values = [above_one(1.0, 11), above_one(3.0, 11), 65519.0, 65520.0];
        let (bytes, lost) = encoded(Float::F16, &values);
        assert_eq!(bytes, [0x00, 0x3c, 0x02, 0x3c, 0xff, 0x7b, 0x00, 0x7c]);
        assert_eq!(lost, 1);
        // 1 + 2⁻⁸ is a tie of bfloat16; the largest f32 rounds to infinity.
        let values = [above_one(1.0, 8), above_one(3.0, 8), f32::MAX];
        let (bytes, lost) = encoded(Float::Bf16, &values);
        assert_eq!(bytes, [0x80, 0x3f, 0x82, 0x3f, 0x80, 0x7f]);
        assert_eq!(lost, 1);
    }

    #[test]
    fn infinities_and_nan_are_not_lost() {
        let values = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
        for float in [Float::F32, Float::F16, Float::Bf16] {
            let (bytes, lost) = encoded(float, &values);
            assert_eq!(bytes.len() as u64, 3 * Element::Float(float).size());
            assert_eq!(lost, 0);
        }
    }

    /// The fast path for many numbers gives what the crate gives for each.
    #[test]
    fn pieces_join_without_a_seam() {
        let values: Vec<f32> = (0..1500).map(|i| (i as f32 - 700.0) * 0.37).collect();
        let (bytes, _) = encoded(Float::F16, &values);
        let expected: Vec<u8> = values
            .iter()
            .flat_map(|value| f16::from_f32(*value).to_le_bytes())
            .collect();
        assert!(bytes == expected);
    }
}
