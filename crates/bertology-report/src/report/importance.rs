//! `bertology importance`.

use bertology_run::RunError;
use bertology_run::registry::{ENTROPY, IMPORTANCE};

use super::{Page, Parts, heat};
use crate::document::Block;
use crate::figure::{Axis, Dots};
use crate::quantities;

pub(super) const PAGES: &[Page] = &[Page {
    command: "importance",
    title: "Importance of heads",
    write,
    quantities: quantities::importance,
}];

fn write(parts: &mut Parts<'_>) -> Result<(), RunError> {
    parts.headline();
    figures(parts);
    parts.heads_table(
        "importance",
        "Importance is brought to a scale from 0 to 1; raw importance is the mean size of the loss's gradient \
         with respect to the head's factor.",
    );
    Ok(())
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
