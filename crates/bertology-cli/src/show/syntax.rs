//! The best head of each relation as a table.

use std::fmt::Write;

use bertology::attention::Proportion;
use bertology::attention::syntax::{BestHead, RelationScores, SyntaxCounts};

use super::text::{count, plural};

/// Relations of fewer words say little; the paper's limit.
const FEWEST: u64 = 100;
/// Of a small treebank.
const FEWEST_OF_FEW: u64 = 20;
/// Words of a treebank that is not small.
const MANY: u64 = 10_000;

/// The relations that are shown, and how many others there are.
pub(crate) struct Shown<'a> {
    pub(crate) relations: Vec<&'a RelationScores>,
    pub(crate) hidden: u64,
    pub(crate) fewest: u64,
}

impl<'a> Shown<'a> {
    pub(crate) fn new(all: &'a [RelationScores], words: u64, fewest: Option<u64>) -> Self {
        let few = if words < MANY { FEWEST_OF_FEW } else { FEWEST };
        let fewest = fewest.unwrap_or(few);
        let (relations, others): (Vec<_>, Vec<_>) =
            all.iter().partition(|relation| relation.total >= fewest);
        Self {
            relations,
            hidden: others.len() as u64,
            fewest,
        }
    }

    /// The table, and what its columns are.
    pub(crate) fn text(&self, counts: &SyntaxCounts) -> String {
        let causal = counts.is_causal();
        let mut text = format!(
            "The best head of each relation (layers and heads counted from 0)\n  {:<17}{:>8}  \
             {:<7} {:<9} {:>6}  {:<11}  {:>8}",
            "relation", "words", "head", "direction", "% right", "  95 %", "% at offset"
        );
        for relation in &self.relations {
            text.push('\n');
            text.push_str(&row(relation));
        }
        text.push_str(
            "\n  dep->head: the dependent attends most to its head; head<-dep: the head attends\n  \
             most to the dependent; at offset: the best fixed distance to the head",
        );
        if causal {
            // A table of its own: beside the other it would be wider than a terminal.
            let _ = write!(
                text,
                "\n\n  {:<17}{:>8}  {:>8}  both",
                "relation", "% seen", "% of it"
            );
            for relation in &self.relations {
                text.push('\n');
                text.push_str(&reach(relation));
            }
            text.push_str(
                "\n  seen: words whose head this direction can name, as no word sees those behind \
                 it;\n  of it: right among these; both: the head that is best by the sum of both \
                 directions;\n  *: this direction cannot see the word at that offset",
            );
        }
        if self.hidden > 0 {
            let _ = write!(
                text,
                "\n  not shown: {} of fewer than {} (--min-count)",
                plural(self.hidden, "relation"),
                plural(self.fewest, "word"),
            );
        }
        text
    }
}

fn row(relation: &RelationScores) -> String {
    let best = relation.best();
    let baseline = relation.baseline;
    let mut text = format!(
        "  {:<17}{:>8}  {:<7} {:<9} {:>7}  {:<11}  {:>6} ({:+}){}",
        relation.relation,
        count(relation.total),
        best.head.to_string(),
        best.direction.name(),
        percent(best.score),
        interval(best.score),
        percent(baseline.score),
        baseline.offset,
        if best.baseline_in_reach { " " } else { "*" },
    );
    text.truncate(text.trim_end().len());
    text
}

/// What the best head, which sees no word behind another, could find at all.
fn reach(relation: &RelationScores) -> String {
    let best = relation.best();
    let reach = Proportion {
        part: best.reachable,
        whole: relation.total,
    };
    let [_, _, both] = &relation.directions;
    format!(
        "  {:<17}{:>8}  {:>8}  {} {}",
        relation.relation,
        percent(reach),
        percent(within(best)),
        both.head,
        percent(both.score)
    )
}

fn within(best: &BestHead) -> Proportion {
    Proportion {
        part: best.score.part,
        whole: best.reachable,
    }
}

/// A share in per cent.
pub(super) fn percent(score: Proportion) -> String {
    let share = score.share();
    share.map_or_else(|| "-".into(), |share| format!("{:.1}", 100.0 * share))
}

fn interval(score: Proportion) -> String {
    let interval = score.interval();
    interval.map_or_else(String::new, |(low, high)| {
        format!("{:.1}-{:.1}", 100.0 * low, 100.0 * high)
    })
}
