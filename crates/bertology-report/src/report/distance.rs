//! `bertology distance`.

use bertology_run::studies::distance::{DistanceRow, TOKENS, TOKENS_WITHOUT_SPECIAL, WORDS};
use bertology_run::table::Row as _;
use bertology_run::{Run, RunError};

use super::{Page, Parts, heat};
use crate::document::Block;
use crate::figure::Figure;
use crate::quantities::Quantity;

pub(super) const PAGES: &[Page] = &[Page {
    command: "distance",
    title: "How far heads look",
    write,
    quantities,
}];

/// File, key, name and unit of each measure.
const MEASURES: [(&str, &str, &str, &str); 3] = [
    (WORDS, "distance_words", "distance between words", "words"),
    (
        TOKENS,
        "distance_tokens",
        "distance between tokens",
        "tokens",
    ),
    (
        TOKENS_WITHOUT_SPECIAL,
        "distance_tokens_without_special",
        "distance without special tokens",
        "tokens",
    ),
];

fn write(parts: &mut Parts<'_>) -> Result<(), RunError> {
    parts.headline();
    let mut figures: Vec<Figure> = Vec::new();
    for (file, key, ..) in MEASURES {
        match parts.quantity(key) {
            Some(quantity) => {
                let mut map = heat(quantity);
                map.caption = "Mean over all attention; 0 is a head that looks at itself.".into();
                figures.push(map);
            }
            None => parts.missing(file, "these distances are not shown"),
        }
    }
    if !figures.is_empty() {
        parts.add("Distances", vec![Block::Figures(figures)]);
    }
    parts.heads_table(
        "distance_words",
        &format!(
            "Means weighted by attention; {} has their standard errors over sentences.",
            DistanceRow::FILE
        ),
    );
    Ok(())
}

fn quantities(run: &Run, found: &mut Vec<Quantity>) -> Result<(), RunError> {
    for (file, key, name, unit) in MEASURES {
        if let Some(values) = run.head_array(file)? {
            found.push(Quantity::new(key, name, unit, values));
        }
    }
    Ok(())
}
