//! `bertology importance`.

use bertology_run::RunError;
use bertology_run::registry::{ENTROPY, IMPORTANCE};
use bertology_run::rows::ImportanceRow;

use super::{Page, Parts, heat};
use crate::document::Block;
use crate::figure::{Axis, Bar, Bars, Dots, Figure, Shape};
use crate::number::short;
use crate::quantities;

pub(super) const PAGES: &[Page] = &[Page {
    command: "importance",
    title: "Importance of heads",
    write,
    quantities: quantities::importance,
}];

/// Heads whose importance is drawn with its interval.
const SHOWN: usize = 30;

fn write(parts: &mut Parts<'_>) -> Result<(), RunError> {
    parts.headline();
    figures(parts);
    let rows = parts.run.rows::<ImportanceRow>()?;
    if let Some(figure) = rows.and_then(|rows| how_sure(&rows.all)) {
        parts.add("How sure the ranks are", vec![Block::Figures(vec![figure])]);
    }
    parts.heads_table(
        "importance",
        "Importance is brought to a scale from 0 to 1; raw importance is the mean size of the loss's gradient \
         with respect to the head's factor.",
    );
    Ok(())
}

/// The most important heads, each with the intervals of its importance and of its rank.
fn how_sure(all: &[ImportanceRow]) -> Option<Figure> {
    let mut rows: Vec<(usize, Bar)> = all
        .iter()
        .filter_map(|row| {
            let (rank, low, high) = (row.rank?, row.rank_low?, row.rank_high?);
            let bar = Bar {
                name: format!("L{}H{}", row.layer, row.head),
                note: format!("rank {rank}, {low} to {high}"),
                value: row.importance?,
                low: row.importance_low,
                high: row.importance_high,
                head: Some((row.layer, row.head)),
                ..Bar::default()
            };
            Some((rank, bar))
        })
        .collect();
    rows.sort_by_key(|(rank, _)| *rank);
    rows.truncate(SHOWN);
    let rows: Vec<Bar> = rows.into_iter().map(|(_, bar)| bar).collect();
    let ends = || rows.iter().flat_map(|row| [Some(row.value), row.low, row.high]);
    let bars = Bars {
        rows: &rows,
        axis: Axis::of("importance", ends().flatten()).with_zero().rounded(5),
        shape: Shape::Dot,
        kind: "head",
        baseline: None,
        interval: Some("95 % interval"),
        write: short,
    };
    (!rows.is_empty()).then(|| {
        bars.draw().named(
            "importance-intervals",
            format!("The {} most important heads", rows.len()),
            "What other examples of the same kind would give: intervals of the importance and, in grey, of the rank, \
             from 200 replicates of the examples. 0 is the most important.",
        )
    })
}

/// What is known of importance and entropy, as far as the folder has it.
pub(super) fn figures(parts: &mut Parts<'_>) {
    let mut figures = Vec::new();
    match parts.quantity("importance") {
        Some(importance) => {
            let mut map = heat(importance);
            map.caption =
                "How much the loss depends on each head; heads without a score are masked or \
                           not in the model."
                    .into();
            let spread = Dots {
                values: &importance.values,
                axis: Axis::of("importance", importance.values.known())
                    .with_zero()
                    .rounded(6),
            };
            let spread = spread.draw().named(
                "spread-importance",
                "Distribution of importance",
                "A dot for each head.",
            );
            figures.push(map);
            figures.push(spread);
        }
        None => parts.missing(IMPORTANCE, "importance is not shown"),
    }
    match parts.quantity("entropy") {
        Some(entropy) => {
            let mut map = heat(entropy);
            map.caption = "How spread each head's attention is, mean over all queries: 0 nats where one token \
                           gets it all."
                .into();
            let at = figures.len().min(1);
            figures.insert(at, map);
            let spread = Dots {
                values: &entropy.values,
                axis: Axis::of("entropy (nats)", entropy.values.known())
                    .with_zero()
                    .rounded(6),
            };
            let spread = spread.draw().named(
                "spread-entropy",
                "Distribution of entropy",
                "A dot for each head.",
            );
            figures.push(spread);
        }
        None if parts.run.command() == "importance" => {
            parts.missing(ENTROPY, "entropy is not shown");
        }
        None => {}
    }
    if !figures.is_empty() {
        parts.add("Heads", vec![Block::Figures(figures)]);
    }
}
