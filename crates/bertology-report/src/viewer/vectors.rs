//! Queries and keys, a signed byte a number: each vector has its own scale, and a number is off by at most
//! 1/254 of the largest of its vector.

use crate::Error;
use crate::page::Packed;

/// The queries and keys of one layer.
#[derive(Debug, Clone)]
pub struct Vectors {
    tokens: usize,
    width: usize,
    queries: Side,
    keys: Side,
}

#[derive(Debug, Clone, Default)]
struct Side {
    largest: Vec<u8>,
    numbers: Vec<u8>,
}

impl Vectors {
    /// None yet, of so many tokens, `width` numbers each.
    #[must_use]
    pub fn new(tokens: usize, width: usize) -> Self {
        Self {
            tokens,
            width,
            queries: Side::default(),
            keys: Side::default(),
        }
    }

    /// Bytes that the vectors of a layer take in the file before they are compressed.
    #[must_use]
    pub fn size(tokens: usize, width: usize, heads: usize) -> u64 {
        (2 * heads * tokens * (width + 4)) as u64 * 4 / 3
    }

    /// Adds the queries of the next head, `[tokens, width]`.
    ///
    /// # Errors
    /// Another number of them, or some that are no numbers.
    pub fn push_queries(&mut self, values: &[f32]) -> Result<(), Error> {
        self.queries.push(values, self.tokens, self.width)
    }

    /// Adds the keys of the next head, `[tokens, width]`.
    ///
    /// # Errors
    /// As [`Vectors::push_queries`].
    pub fn push_keys(&mut self, values: &[f32]) -> Result<(), Error> {
        self.keys.push(values, self.tokens, self.width)
    }

    /// Largest of each query (f32), of each key, then queries and keys (i8), all heads one after the other
    /// in each part.
    #[must_use]
    pub fn pack(&self) -> Packed {
        let parts = [
            &self.queries.largest,
            &self.keys.largest,
            &self.queries.numbers,
            &self.keys.numbers,
        ];
        Packed::new(&parts.map(Vec::as_slice).concat())
    }
}

impl Side {
    fn push(&mut self, values: &[f32], tokens: usize, width: usize) -> Result<(), Error> {
        if values.len() != tokens * width {
            return Err(Error::Count {
                what: "numbers of a head's queries or keys".into(),
                expected: tokens * width,
                found: values.len(),
            });
        }
        for vector in values.chunks_exact(width.max(1)) {
            let largest = vector
                .iter()
                .fold(0.0_f32, |top, value| top.max(value.abs()));
            if !vector.iter().all(|value| value.is_finite()) {
                return Err(Error::NotFinite {
                    what: "a number of a query or key".into(),
                });
            }
            self.largest.extend_from_slice(&largest.to_le_bytes());
            self.numbers.extend(vector.iter().map(|value| {
                let step = if largest > 0.0 {
                    (value / largest * 127.0).round()
                } else {
                    0.0
                };
                // Between -127 and 127 by construction.
                (step as i8).to_le_bytes()[0]
            }));
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_off_by_at_most_a_254th_of_the_largest() {
        let values: Vec<f32> = (0..60)
            .map(|i| ((i * 37 % 61) as f32 - 30.0) * 0.3)
            .collect();
        let mut vectors = Vectors::new(6, 10);
        vectors.push_queries(&values).unwrap();
        vectors.push_keys(&vec![0.0; 60]).unwrap();
        for (at, vector) in values.chunks(10).enumerate() {
            let largest = &vectors.queries.largest[at * 4..at * 4 + 4];
            let largest = f32::from_le_bytes(largest.try_into().unwrap());
            for (i, value) in vector.iter().enumerate() {
                let byte = vectors.queries.numbers[at * 10 + i];
                let stored = f32::from(i8::from_le_bytes([byte])) / 127.0 * largest;
                assert!((stored - value).abs() <= largest / 254.0 * 1.0001);
            }
        }
        assert!(vectors.keys.numbers.iter().all(|byte| *byte == 0));
        assert!(vectors.push_keys(&[0.0; 59]).is_err());
        assert!(vectors.push_queries(&[f32::NAN; 60]).is_err());
    }
}
