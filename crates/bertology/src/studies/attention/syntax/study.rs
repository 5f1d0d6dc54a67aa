//! What every head names as the head of every word.

use bertology_model::kernels::strongest::{NONE, Strongest};
use bertology_model::reduction::{Partners, Reduction, Table};
use bertology_model::{Event, HeadId, Interests, LayerSite, Matrix, Sequence};

use super::arcs::{Questions, Rows};
use super::{Direction, SyntaxOptions};
use crate::Error;
use crate::drive::{Lens, Wants};
use crate::input::treebank::SentenceItem;
use crate::input::words::{RowMode, Words};

/// The number of directions.
pub(super) const DIRECTIONS: usize = Direction::ALL.len();

/// Asks every head for the head of every word; see [the module](super).
#[derive(Debug, Clone)]
pub struct SyntaxLens {
    options: SyntaxOptions,
    rows: Rows,
    layers: usize,
    heads: usize,
}

impl SyntaxLens {
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

    /// Holds what a head named for every word, `[words]`, against the answers.
    fn judge(&self, part: &mut SyntaxPart, head: HeadId, direction: Direction, named: &[usize]) {
        let count = part.questions.list.len();
        let head = head.layer * self.heads + head.head;
        let cell = head * DIRECTIONS + direction as usize;
        let right = &mut part.right[cell * count..(cell + 1) * count];
        for (right, question) in right.iter_mut().zip(&part.questions.list) {
            *right = question.head == Some(named[question.asked]);
        }
        let abstained = named.iter().filter(|word| **word == NONE).count();
        part.abstained[cell] = abstained as u32;
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
    found: Strongest,
}

impl Lens for SyntaxLens {
    type Item = SentenceItem;
    type Part = SyntaxPart;

    fn wants(&self) -> Wants<'_> {
        Wants::sites(Interests::none().value(LayerSite::AttentionProbs))
    }

    fn begin(&self, item: &SentenceItem, _: &Sequence) -> Result<SyntaxPart, Error> {
        let questions = Questions::new(&item.sentence, &item.shared, &self.rows, &self.options);
        let cells = self.layers * self.heads * DIRECTIONS;
        Ok(SyntaxPart {
            right: vec![false; cells * questions.list.len()],
            abstained: vec![0; cells],
            questions,
            found: Strongest::default(),
        })
    }

    fn see(&self, item: &SentenceItem, part: &mut SyntaxPart, event: &Event<'_, f32>) {
        let Some(head) = event.head_id() else {
            return;
        };
        let (words, shared) = (&item.words, &item.shared);
        ask(
            &mut part.found,
            event.value,
            words,
            shared,
            self.options.rows,
        );
        let found = std::mem::take(&mut part.found);
        for direction in Direction::ALL {
            self.judge(part, head, direction, named(&found, direction));
        }
        part.found = found;
    }

    fn tables(&self) -> usize {
        usize::from(self.options.rows != RowMode::Max)
    }

    fn reductions(&self, item: &SentenceItem, _: &SyntaxPart) -> Vec<Reduction> {
        let partners = item
            .words
            .partners(self.options.rows, &item.shared, |_| false);
        partners.map(Reduction::Partners).into_iter().collect()
    }

    fn see_table(&self, _: &SentenceItem, part: &mut SyntaxPart, table: &Table<'_, f32>) {
        let Some(head) = table.head else {
            return;
        };
        for direction in Direction::ALL {
            let column = match direction {
                Direction::DependentToHead => Partners::IN_ROW,
                Direction::HeadToDependent => Partners::IN_COLUMN,
                Direction::Both => Partners::IN_BOTH,
            };
            let named: Vec<usize> = table
                .named(column)
                .map(|word| word.unwrap_or(NONE))
                .collect();
            self.judge(part, head, direction, &named);
        }
    }

    fn close(&self, _: &SentenceItem, part: &mut SyntaxPart) -> Result<(), Error> {
        part.found = Strongest::default();
        Ok(())
    }
}

/// Finds the word that each word names.
fn ask(
    named: &mut Strongest,
    map: Matrix<'_, f32>,
    words: &Words,
    shared: &[Option<usize>],
    rows: RowMode,
) {
    named.find(words.len(), |word, row| {
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
    });
}

/// What was found in a direction, `[words]`.
fn named(found: &Strongest, direction: Direction) -> &[usize] {
    match direction {
        Direction::DependentToHead => found.by_row(),
        Direction::HeadToDependent => found.by_column(),
        Direction::Both => found.by_both(),
    }
}
