//! To which word every mention attends most.

use bertology_model::reduction::{Partners, Reduction, Table};
use bertology_model::{Event, Interests, LayerSite, Sequence};

use super::{Candidates, Category};
use crate::Error;
use crate::drive::{Lens, Wants};
use crate::input::documents::DocumentItem;
use crate::input::words::RowMode;

/// The number of readings.
pub(super) const READINGS: usize = Candidates::ALL.len();

/// Asks every head for an antecedent of every mention that has one; see [the module](super).
#[derive(Debug, Clone)]
pub struct CorefLens {
    rows: RowMode,
    layers: usize,
    heads: usize,
}

impl CorefLens {
    /// For a model of this shape, pruned heads included.
    #[must_use]
    pub fn new(rows: RowMode, layers: usize, heads: usize) -> Self {
        Self {
            rows,
            layers,
            heads,
        }
    }
}

/// What a document contributes.
#[derive(Debug)]
pub struct CorefPart {
    pub(super) scored: Vec<ScoredMention>,
    /// What the answers are, `[layers · heads, readings, scored]`.
    pub(super) answers: Vec<Answer>,
    /// Which words are head words of mentions.
    heads: Vec<bool>,
    row: Vec<f64>,
}

/// A mention that has antecedents.
#[derive(Debug)]
pub(super) struct ScoredMention {
    /// Which of the document's mentions it is.
    pub(super) mention: usize,
    pub(super) category: Category,
    head: usize,
    /// Head words of its antecedents.
    antecedents: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Right,
    Wrong,
    None,
}

impl Lens for CorefLens {
    type Item = DocumentItem;
    type Part = CorefPart;

    fn wants(&self) -> Wants<'_> {
        Wants::sites(Interests::none().value(LayerSite::AttentionProbs))
    }

    fn begin(&self, item: &DocumentItem, _: &Sequence) -> Result<CorefPart, Error> {
        let mentions = &item.mentions;
        let scored: Vec<ScoredMention> = mentions
            .scored()
            .map(|at| ScoredMention {
                mention: at,
                category: mentions.mentions[at].category,
                head: mentions.mentions[at].head,
                antecedents: mentions.antecedents(at).map(|other| other.head).collect(),
            })
            .collect();
        let mut heads = vec![false; item.words.len()];
        for mention in &mentions.mentions {
            heads[mention.head] = true;
        }
        Ok(CorefPart {
            answers: vec![Answer::None; self.layers * self.heads * READINGS * scored.len()],
            scored,
            heads,
            row: vec![0.0; item.words.len()],
        })
    }

    fn see(&self, item: &DocumentItem, part: &mut CorefPart, event: &Event<'_, f32>) {
        let Some(head) = event.head_id() else {
            return;
        };
        let count = part.scored.len();
        let head = head.layer * self.heads + head.head;
        for (at, mention) in part.scored.iter().enumerate() {
            let row = &mut part.row;
            item.words
                .attention_from(event.value, mention.head, self.rows, row);
            row[mention.head] = 0.0;
            if let Some(range) = item.shared[mention.head] {
                for (weight, other) in row.iter_mut().zip(&item.shared) {
                    if *other == Some(range) {
                        *weight = 0.0;
                    }
                }
            }
            let heads = &part.heads;
            let named = [
                greatest(row, |_| true),
                greatest(&row[..mention.head], |_| true),
                greatest(row, |word| heads[word]),
            ];
            for (reading, named) in named.into_iter().enumerate() {
                part.answers[(head * READINGS + reading) * count + at] = mention.answer(named);
            }
        }
    }

    fn tables(&self) -> usize {
        usize::from(self.rows != RowMode::Max)
    }

    fn reductions(&self, item: &DocumentItem, part: &CorefPart) -> Vec<Reduction> {
        let partners = item
            .words
            .partners(self.rows, &item.shared, |word| part.heads[word]);
        partners.map(Reduction::Partners).into_iter().collect()
    }

    fn see_table(&self, _: &DocumentItem, part: &mut CorefPart, table: &Table<'_, f32>) {
        let Some(head) = table.head else {
            return;
        };
        let count = part.scored.len();
        let head = head.layer * self.heads + head.head;
        let readings = [Partners::IN_ROW, Partners::BEFORE, Partners::MARKED];
        for (reading, column) in readings.into_iter().enumerate() {
            let named: Vec<Option<usize>> = table.named(column).collect();
            for (at, mention) in part.scored.iter().enumerate() {
                let answer = mention.answer(named[mention.head]);
                part.answers[(head * READINGS + reading) * count + at] = answer;
            }
        }
    }
}

impl ScoredMention {
    /// Whether what was named for it is one of its antecedents.
    fn answer(&self, named: Option<usize>) -> Answer {
        match named {
            None => Answer::None,
            Some(word) if self.antecedents.contains(&word) => Answer::Right,
            Some(_) => Answer::Wrong,
        }
    }
}

/// The first of the greatest weights above 0 among those that may be.
fn greatest(row: &[f64], may_be: impl Fn(usize) -> bool) -> Option<usize> {
    let mut best = 0.0;
    let mut named = None;
    for (word, weight) in row.iter().enumerate() {
        if *weight > best && may_be(word) {
            best = *weight;
            named = Some(word);
        }
    }
    named
}
