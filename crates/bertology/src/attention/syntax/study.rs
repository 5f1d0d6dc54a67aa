//! What every head names as the head of every word.

use bertology_model::{Matrix, Sequence};

use super::arcs::{Questions, Rows};
use super::{Direction, SyntaxOptions};
use crate::attention::survey::{MapStudy, MapView};
use crate::attention::treebank::SentenceItem;
use crate::attention::words::{RowMode, Words};

/// The number of directions.
pub(super) const DIRECTIONS: usize = Direction::ALL.len();
/// No word was named.
const NOBODY: usize = usize::MAX;

/// Asks every head for the head of every word; see [the module](super).
#[derive(Debug, Clone)]
pub struct SyntaxStudy {
    options: SyntaxOptions,
    rows: Rows,
    layers: usize,
    heads: usize,
}

impl SyntaxStudy {
    /// For a model of this shape, pruned heads included.
    #[must_use]
    pub fn new(options: SyntaxOptions, rows: Rows, layers: usize, heads: usize) -> Self {
        Self {
            options,
            rows,
            layers,
            heads,
        }
    }
}

/// What a sentence contributes.
#[derive(Debug)]
pub struct SyntaxPart {
    pub(super) questions: Questions,
    /// Whether the answer is right, `[layers · heads, directions, questions]`.
    pub(super) right: Vec<bool>,
    /// For how many words nobody was named, `[layers · heads, directions]`.
    pub(super) abstained: Vec<u32>,
    named: Named,
}

impl MapStudy for SyntaxStudy {
    type Item = SentenceItem;
    type Part = SyntaxPart;

    fn begin(&self, item: &SentenceItem, _: &Sequence) -> SyntaxPart {
        let questions = Questions::new(&item.sentence, &item.shared, &self.rows, &self.options);
        let cells = self.layers * self.heads * DIRECTIONS;
        SyntaxPart {
            right: vec![false; cells * questions.list.len()],
            abstained: vec![0; cells],
            questions,
            named: Named::default(),
        }
    }

    fn see(&self, item: &SentenceItem, part: &mut SyntaxPart, view: &MapView<'_>) {
        let named = &mut part.named;
        named.ask(view.map, &item.words, &item.shared, self.options.rows);
        let head = view.head.layer * self.heads + view.head.head;
        let count = part.questions.list.len();
        for (direction, named) in named.by_direction.iter().enumerate() {
            let cell = head * DIRECTIONS + direction;
            let right = &mut part.right[cell * count..(cell + 1) * count];
            for (right, question) in right.iter_mut().zip(&part.questions.list) {
                *right = question.head == Some(named[question.asked]);
            }
            let abstained = named.iter().filter(|word| **word == NOBODY).count();
            part.abstained[cell] = abstained as u32;
        }
    }

    fn close(&self, _: &SentenceItem, part: &mut SyntaxPart) {
        part.named = Named::default();
    }
}

/// The word that each word names, and what it takes to find it.
#[derive(Debug, Default)]
struct Named {
    /// In the order of [`Direction::ALL`], `[words]` each.
    by_direction: [Vec<usize>; DIRECTIONS],
    best: [Vec<f64>; DIRECTIONS],
    /// Attention between words, `[words, words]`.
    between: Vec<f64>,
}

impl Named {
    /// One pass over the map: each row is merged, searched, and held against what the columns had so far.
    fn ask(
        &mut self,
        map: Matrix<'_, f32>,
        words: &Words,
        shared: &[Option<usize>],
        rows: RowMode,
    ) {
        let count = words.len();
        // Nothing but weights above 0 names a word, and of equals the first: `>` from 0 on does both.
        for (named, best) in self.by_direction.iter_mut().zip(&mut self.best) {
            named.clear();
            named.resize(count, NOBODY);
            best.clear();
            best.resize(count, 0.0);
        }
        self.between.resize(count * count, 0.0);
        let [by_row, by_column, by_both] = &mut self.by_direction;
        let [_, column_best, both_best] = &mut self.best;
        for word in 0..count {
            let (above, rest) = self.between.split_at_mut(word * count);
            let row = &mut rest[..count];
            words.attention_from(map, word, rows, row);
            row[word] = 0.0;
            if let Some(range) = shared[word] {
                // Those that have the same tokens are the word itself.
                for (weight, other) in row.iter_mut().zip(shared) {
                    if *other == Some(range) {
                        *weight = 0.0;
                    }
                }
            }
            let greatest = row.iter().fold(0.0, |most, weight| f64::max(most, *weight));
            if greatest > 0.0 {
                let first = row.iter().position(|weight| *weight == greatest);
                by_row[word] = first.unwrap_or(NOBODY);
            }
            // Choices instead of jumps: which is greater is as good as random.
            for ((weight, best), named) in row
                .iter()
                .zip(column_best.iter_mut())
                .zip(by_column.iter_mut())
            {
                let better = *weight > *best;
                *best = if better { *weight } else { *best };
                *named = if better { word } else { *named };
            }
            // The words before this one are complete: the sums of every pair, in ascending order for both.
            let (mut most, mut choice) = (0.0, NOBODY);
            for (other, (best, named)) in both_best
                .iter_mut()
                .zip(by_both.iter_mut())
                .enumerate()
                .take(word)
            {
                let sum = row[other] + above[other * count + word];
                let better = sum > most;
                most = if better { sum } else { most };
                choice = if better { other } else { choice };
                let better = sum > *best;
                *best = if better { sum } else { *best };
                *named = if better { word } else { *named };
            }
            both_best[word] = most;
            by_both[word] = choice;
        }
    }
}
