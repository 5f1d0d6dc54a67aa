//! The observer that encodes what passes by.

use std::collections::HashMap;
use std::ops::ControlFlow;

use bertology_model::kernels::Matrix;
use bertology_model::{Event, Interests, Observer, Pass, Tap};
use bertology_store::Float;

use super::Pool;
use super::request::{Rows, Slot};
use super::texts::{Item, Word};

type Key = (Pass, Tap, Option<usize>);

/// Encodes the chosen values of a batch, each into the bytes of its array.
pub(super) struct Recorder<'a> {
    places: HashMap<Key, usize>,
    interests: Interests,
    slots: &'a [Slot],
    items: &'a [Item],
    float: Float,
    pool: Pool,
    /// Bytes by slot, and sequences in them.
    bytes: Vec<Vec<u8>>,
    seen: Vec<usize>,
    row: Vec<f32>,
    /// Finite numbers that the type on disk cannot hold.
    overflows: u64,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(slots: &'a [Slot], items: &'a [Item], float: Float, pool: Pool) -> Self {
        let key = |slot: &Slot| (slot.pass, slot.tap, slot.head);
        Self {
            places: slots
                .iter()
                .enumerate()
                .map(|(at, s)| (key(s), at))
                .collect(),
            interests: slots
                .iter()
                .fold(Interests::none(), |set, slot| slot.interest(set)),
            slots,
            items,
            float,
            pool,
            bytes: vec![Vec::new(); slots.len()],
            seen: vec![0; slots.len()],
            row: Vec::new(),
            overflows: 0,
        }
    }

    /// The bytes by slot, and how many numbers were too large for their type.
    ///
    /// # Panics
    /// If a sequence was not seen at every chosen place.
    pub(super) fn finish(self) -> (Vec<Vec<u8>>, u64) {
        for (slot, seen) in self.slots.iter().zip(&self.seen) {
            let expected = self.items.len();
            assert_eq!(*seen, expected, "sequences at {}", slot.name());
        }
        (self.bytes, self.overflows)
    }

    fn pooled(&mut self, slot: usize, value: Matrix<'_, f32>, words: &[Word]) {
        for word in words {
            let row: &[f32] = match self.pool {
                Pool::Last => value.row(word.end - 1),
                Pool::Mean => {
                    mean(&mut self.row, value, word);
                    &self.row
                }
                Pool::First | Pool::None => value.row(word.first),
            };
            self.overflows += self.float.encode(row, &mut self.bytes[slot]);
        }
    }
}

/// The mean over the tokens of a word, summed in double precision.
fn mean(to: &mut Vec<f32>, value: Matrix<'_, f32>, word: &Word) {
    let count = (word.end - word.first) as f64;
    to.clear();
    to.extend((0..value.cols()).map(|column| {
        let tokens = word.first..word.end;
        let sum: f64 = tokens.map(|at| f64::from(value.row(at)[column])).sum();
        (sum / count) as f32
    }));
}

impl Observer<f32> for Recorder<'_> {
    fn interests(&self) -> Interests {
        self.interests
    }

    fn observe(&mut self, event: &Event<'_, f32>) -> ControlFlow<()> {
        let Some(&slot) = self.places.get(&(event.pass, event.tap, event.head)) else {
            return ControlFlow::Continue(());
        };
        assert_eq!(
            self.seen[slot],
            event.sequence,
            "order of sequences at {}",
            self.slots[slot].name()
        );
        self.seen[slot] += 1;
        if self.pool != Pool::None && self.slots[slot].rows == Rows::Token {
            let items = self.items;
            self.pooled(slot, event.value, &items[event.sequence].words);
        } else {
            for row in event.value.iter_rows() {
                self.overflows += self.float.encode(row, &mut self.bytes[slot]);
            }
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_a_mean() {
        let data = [1.0, 2.0, 3.0, 4.0, 8.0, 16.0];
        let word = Word {
            text: 0,
            number: 0,
            first: 1,
            end: 3,
            start_char: 0,
            end_char: 0,
        };
        let mut row = Vec::new();
        mean(&mut row, Matrix::new(&data, 3, 2), &word);
        assert_eq!(row, [5.5, 10.0]);
    }
}
