//! The lens that encodes what passes by.

use std::collections::HashMap;
use std::sync::Arc;

use bertology_model::kernels::Matrix;
use bertology_model::{Event, HeadId, Interests, Pass, Sequence, SequenceOutput, Tap, Target};
use bertology_store::Float;

use super::layout::Layout;
use super::request::Rows;
use super::texts::{Item, Word};
use super::{ExtractOptions, Pool};
use crate::Error;
use crate::drive::{Lens, Wants};

type Key = (Pass, Tap, Option<usize>);

/// Encodes the chosen values of a sequence, each into the bytes of its array.
#[derive(Debug)]
pub struct Recorder {
    places: HashMap<Key, usize>,
    interests: Interests,
    layout: Arc<Layout>,
    float: Float,
    pool: Pool,
    allow_nonfinite: bool,
}

/// What was recorded of a sequence.
#[derive(Debug)]
pub struct Recorded {
    /// Bytes by slot.
    pub(super) values: Vec<Vec<u8>>,
    pub(super) loss: Option<f64>,
    /// Finite numbers that the type on disk cannot hold.
    pub(super) overflows: u64,
    /// Numbers that are not finite in the model; counted where they are allowed.
    pub(super) nonfinite: u64,
    row: Vec<f32>,
}

impl Recorder {
    pub(super) fn new(layout: &Arc<Layout>, options: &ExtractOptions) -> Self {
        let slots = layout.slots.iter();
        let key = |slot: &super::request::Slot| (slot.pass, slot.tap, slot.head);
        Self {
            places: slots
                .clone()
                .enumerate()
                .map(|(at, s)| (key(s), at))
                .collect(),
            interests: slots.fold(Interests::none(), |set, slot| slot.interest(set)),
            layout: Arc::clone(layout),
            float: options.float,
            pool: options.pool,
            allow_nonfinite: options.allow_nonfinite,
        }
    }

    fn pooled(&self, part: &mut Recorded, slot: usize, value: Matrix<'_, f32>, words: &[Word]) {
        for word in words {
            let row: &[f32] = match self.pool {
                Pool::Last => value.row(word.end - 1),
                Pool::Mean => {
                    mean(&mut part.row, value, word);
                    &part.row
                }
                Pool::First | Pool::None => value.row(word.first),
            };
            part.overflows += self.float.encode(row, &mut part.values[slot]);
        }
    }
}

impl Lens for Recorder {
    type Item = Item;
    type Part = Recorded;

    fn wants(&self) -> Wants<'_> {
        Wants {
            outputs: true,
            allow_nonfinite: self.allow_nonfinite,
            ..Wants::sites(self.interests)
        }
    }

    fn begin(&self, _: &Item, _: &Sequence) -> Result<Recorded, Error> {
        Ok(Recorded {
            values: vec![Vec::new(); self.layout.slots.len()],
            loss: None,
            overflows: 0,
            nonfinite: 0,
            row: Vec::new(),
        })
    }

    fn see(&self, item: &Item, part: &mut Recorded, event: &Event<'_, f32>) {
        let Some(&slot) = self.places.get(&(event.pass, event.tap, event.head)) else {
            return;
        };
        if self.allow_nonfinite {
            let values = event.value.iter_rows().flatten();
            part.nonfinite += values.filter(|value| !value.is_finite()).count() as u64;
        }
        if self.pool != Pool::None && self.layout.slots[slot].rows == Rows::Token {
            self.pooled(part, slot, event.value, &item.words);
        } else {
            for row in event.value.iter_rows() {
                part.overflows += self.float.encode(row, &mut part.values[slot]);
            }
        }
    }

    fn output(
        &self,
        item: &Item,
        part: &mut Recorded,
        _: Option<HeadId>,
        output: &SequenceOutput<f32>,
    ) -> Result<(), Error> {
        part.loss = match output.loss {
            // A mean over nothing.
            Some(_) if matches!(item.target, Some(Target::Tokens(_))) && item.targets() == 0 => {
                Some(f64::NAN)
            }
            loss => loss,
        };
        Ok(())
    }

    fn bytes(&self, tokens: u64) -> u64 {
        self.layout.bytes_of(tokens)
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
