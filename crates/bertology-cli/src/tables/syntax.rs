//! The files of `bertology syntax`.

use bertology::attention::Proportion;
use bertology::attention::syntax::{BestHead, Direction, RelationScores, SyntaxCounts};
use bertology_run::registry::{RELATIONS, SYNTAX_HEADS};
use bertology_run::results::{RelationCounts, SyntaxAxes};
use bertology_run::rows::SyntaxRow;

use super::ends;
use crate::failure::Failure;
use crate::npy;
use crate::run_folder::RunFolder;

/// The best heads as a table; the words right of every head as an array, and what its axes are.
pub(crate) fn write(
    folder: &RunFolder,
    counts: &SyntaxCounts,
    best: &[RelationScores],
) -> Result<(), Failure> {
    let rows = best.iter().flat_map(|relation| {
        let directions = relation.directions.iter();
        directions.map(move |head| row(relation, head))
    });
    folder.write_table(&[], rows)?;
    let (shape, correct) = counts.all_correct();
    let correct: Vec<i64> = correct.iter().map(|count| *count as i64).collect();
    folder.write(SYNTAX_HEADS, &npy::encode(&shape, &correct))?;
    Ok(folder.write_json(RELATIONS, &axes(counts))?)
}

fn row(relation: &RelationScores, head: &BestHead) -> SyntaxRow {
    let within = Proportion {
        part: head.score.part,
        whole: head.reachable,
    };
    let (low, high) = ends(head.score);
    let baseline = relation.baseline;
    SyntaxRow {
        relation: relation.relation.clone(),
        direction: head.direction.name().into(),
        best: Some(head.direction == relation.best().direction),
        layer: head.head.layer,
        head: head.head.head,
        correct: head.score.part,
        total: head.score.whole,
        accuracy: head.score.share(),
        low,
        high,
        reachable: Some(head.reachable),
        reachable_accuracy: within.share(),
        baseline_offset: Some(baseline.offset),
        baseline_correct: Some(baseline.score.part),
        baseline_accuracy: baseline.score.share(),
        baseline_in_reach: Some(head.baseline_in_reach),
        chosen_by_correct: Some(head.chosen_by.part),
        chosen_by_total: Some(head.chosen_by.whole),
    }
}

/// What the axes of the array are, and what is known of each relation without any head.
fn axes(counts: &SyntaxCounts) -> SyntaxAxes {
    let offsets = counts.options().all_offsets();
    let names = counts.rows().names().iter().enumerate();
    let relations = names.map(|(row, name)| {
        let reachable = Direction::ALL.map(|direction| counts.reachable(direction, row));
        let baselines = offsets.iter();
        RelationCounts {
            relation: name.clone(),
            total: counts.total(row),
            reachable: reachable.to_vec(),
            baseline_correct: baselines
                .map(|offset| Some(counts.offset(*offset, row)?.part))
                .collect(),
        }
    });
    let abstained = Direction::ALL.map(|direction| {
        let live = counts.live().into_iter();
        live.map(|head| counts.abstained(direction, head)).collect()
    });
    SyntaxAxes {
        axes: ["direction", "layer", "head", "relation"]
            .map(Into::into)
            .into(),
        directions: Direction::ALL
            .map(|direction| direction.name().into())
            .into(),
        heads_present: counts.live().iter().map(ToString::to_string).collect(),
        abstained: abstained.to_vec(),
        relations: relations.collect(),
        offsets,
    }
}
