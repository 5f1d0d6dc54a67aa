//! The files of `bertology syntax`.

use std::fmt::Write;

use bertology::attention::Proportion;
use bertology::attention::syntax::{Direction, RelationScores, SyntaxCounts};
use serde_json::{Value, json};

use super::csv_field;
use crate::failure::Failure;
use crate::npy;
use crate::run_folder::RunFolder;

/// `syntax.csv`, `syntax_heads.npy` and `relations.json`.
pub(crate) fn write(
    folder: &RunFolder,
    counts: &SyntaxCounts,
    best: &[RelationScores],
) -> Result<(), Failure> {
    folder.write("syntax.csv", csv(best).as_bytes())?;
    let (shape, correct) = counts.all_correct();
    let correct: Vec<i64> = correct.iter().map(|count| *count as i64).collect();
    folder.write("syntax_heads.npy", &npy::encode(&shape, &correct))?;
    folder.write_json("relations.json", &axes(counts))
}

/// A row per relation and direction.
fn csv(best: &[RelationScores]) -> String {
    let mut text = String::from(
        "relation,direction,best,layer,head,correct,total,accuracy,low,high,reachable,\
         reachable_accuracy,baseline_offset,baseline_correct,baseline_accuracy,baseline_in_reach,\
         chosen_by_correct,chosen_by_total\n",
    );
    for relation in best {
        for head in &relation.directions {
            let within = Proportion {
                part: head.score.part,
                whole: head.reachable,
            };
            let baseline = relation.baseline;
            let _ = writeln!(
                text,
                "{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
                csv_field(&relation.relation),
                head.direction.name(),
                u8::from(head.direction == relation.best().direction),
                head.head.layer,
                head.head.head,
                scored(head.score),
                head.reachable,
                number(within.share()),
                baseline.offset,
                baseline.score.part,
                number(baseline.score.share()),
                u8::from(head.baseline_in_reach),
                head.chosen_by.part,
                head.chosen_by.whole,
            );
        }
    }
    text
}

/// `correct,total,accuracy,low,high`.
pub(super) fn scored(score: Proportion) -> String {
    let (low, high) = score.interval().unzip();
    let numbers = [score.share(), low, high].map(number).join(",");
    format!("{},{},{numbers}", score.part, score.whole)
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// What the axes of `syntax_heads.npy` are, and what is known of each relation without any head.
fn axes(counts: &SyntaxCounts) -> Value {
    let offsets = counts.options().all_offsets();
    let relations: Vec<Value> = counts
        .rows()
        .names()
        .iter()
        .enumerate()
        .map(|(row, name)| {
            let reachable = Direction::ALL.map(|direction| counts.reachable(direction, row));
            let baselines: Vec<Option<u64>> = offsets
                .iter()
                .map(|offset| Some(counts.offset(*offset, row)?.part))
                .collect();
            json!({
                "relation": name,
                "total": counts.total(row),
                "reachable": reachable,
                "baseline_correct": baselines,
            })
        })
        .collect();
    let live: Vec<String> = counts.live().iter().map(ToString::to_string).collect();
    let abstained: Vec<Vec<u64>> = Direction::ALL
        .map(|direction| {
            let live = counts.live().into_iter();
            live.map(|head| counts.abstained(direction, head)).collect()
        })
        .to_vec();
    json!({
        "axes": ["direction", "layer", "head", "relation"],
        "directions": Direction::ALL.map(Direction::name),
        "heads_present": live,
        "abstained": abstained,
        "offsets": offsets,
        "relations": relations,
    })
}
