//! What heads look at, for people.

use std::fmt::Write;

use bertology::HeadId;
use bertology::attention::patterns::{Average, Behaviour, Denominators, Key, Patterns, Thresholds};

use super::text::plural;

/// Heads named for each behaviour.
const NAMED: usize = 5;

/// `layer 12 `
const LABEL: usize = 10;

/// Layers, behaviours, and layers of gradients.
pub(crate) fn text(found: &Patterns, thresholds: &Thresholds) -> String {
    let mut parts = vec![averages(found), entropies(found)];
    if !found.gradients.is_empty() {
        parts.push(gradients(found));
    }
    parts.push(behaviours(found, thresholds));
    parts.join("\n\n")
}

/// A column of numbers by layer.
struct Column<'a> {
    name: &'a str,
    average: &'a Average,
    show: fn(f64) -> String,
}

fn table(columns: &[Column<'_>]) -> String {
    let columns: Vec<Vec<String>> = columns
        .iter()
        .map(|column| {
            let numbers = column.average.layers().into_iter();
            let numbers = numbers.map(|value| value.map_or_else(|| ".".into(), column.show));
            [column.name.to_owned()]
                .into_iter()
                .chain(numbers)
                .collect()
        })
        .collect();
    let rows = columns.first().map_or(0, Vec::len);
    let mut lines = Vec::with_capacity(rows);
    for row in 0..rows {
        let label = match row {
            0 => String::new(),
            _ => format!("  layer {}", row - 1),
        };
        let mut line = format!("{label:<LABEL$}");
        for column in &columns {
            let width = column.iter().map(String::len).max().unwrap_or(0) + 2;
            let _ = write!(line, "{:>width$}", column[row]);
        }
        lines.push(line);
    }
    lines.join("\n")
}

fn fraction(value: f64) -> String {
    format!("{value:.3}")
}

fn scientific(value: f64) -> String {
    format!("{value:.2e}")
}

fn averages(found: &Patterns) -> String {
    let columns: Vec<Column<'_>> = found
        .keys
        .iter()
        .map(|(key, average)| Column {
            name: key.name(),
            average,
            show: fraction,
        })
        .collect();
    let divided = match found.options.denominators {
        Denominators::Paper => "all tokens, as the paper's code",
        Denominators::Exact => "the rows that have such a key",
    };
    format!(
        "Attention to each kind of token, mean of a layer's heads (counted from 0),\n\
         divided by {divided}\n{}",
        table(&columns)
    )
}

fn entropies(found: &Patterns) -> String {
    let one = if found.classes.is_causal() {
        "last row"
    } else {
        "first row"
    };
    let entropy = &found.entropy;
    let columns = [
        ("all rows", &entropy.all),
        (one, &entropy.one),
        ("of possible", &entropy.normalized),
    ];
    let columns = columns.map(|(name, average)| Column {
        name,
        average,
        show: fraction,
    });
    format!(
        "Entropy of attention in nats, and as a share of what is possible; a head that\n\
         looks everywhere alike has {:.3}\n{}",
        entropy.uniform,
        table(&columns)
    )
}

fn gradients(found: &Patterns) -> String {
    let columns: Vec<Column<'_>> = found
        .gradients
        .iter()
        .map(|of| Column {
            name: of.target.name(),
            average: &of.mean,
            show: scientific,
        })
        .collect();
    format!(
        "Size of the loss's gradient with respect to attention, by what attention goes to\n{}",
        table(&columns)
    )
}

/// The quantity that a behaviour was told by.
fn evidence(found: &Patterns, behaviour: Behaviour) -> Option<&Average> {
    let key = match behaviour {
        Behaviour::Next => Key::Next,
        Behaviour::Previous => Key::Previous,
        Behaviour::First => Key::First,
        Behaviour::Cls => Key::Cls,
        Behaviour::Sep => Key::Sep,
        Behaviour::Punctuation => Key::Punctuation,
        _ => return Some(&found.entropy.all),
    };
    found.key(key)
}

fn behaviours(found: &Patterns, thresholds: &Thresholds) -> String {
    let mut text = format!(
        "Behaviours: more than {} to a neighbour, {} to a class, {} nats for broad",
        thresholds.neighbour, thresholds.class, thresholds.broad
    );
    if found.entropy.uniform < thresholds.broad {
        text.push_str(
            "\n  (made for 128 tokens: these texts are too short for any head to be broad)",
        );
    }
    let all = found.behaviours(thresholds);
    let mut kinds: Vec<Behaviour> = all.iter().filter_map(|(_, behaviour)| *behaviour).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        let table = evidence(found, kind).map(|average| &average.mean);
        let mut heads: Vec<(HeadId, f64)> = all
            .iter()
            .filter(|(_, behaviour)| *behaviour == Some(kind))
            .filter_map(|(id, _)| Some((*id, table?.get(*id)?)))
            .collect();
        // Stable: heads with the same number stay in order.
        heads.sort_by(|a, b| b.1.total_cmp(&a.1));
        let names: Vec<String> = heads
            .iter()
            .take(NAMED)
            .map(|(id, value)| format!("{id} {value:.2}"))
            .collect();
        let _ = write!(text, "\n  {:<10}{}", kind.name(), names.join("  "));
        if heads.len() > NAMED {
            let _ = write!(text, "  and {} more", heads.len() - NAMED);
        }
    }
    let none = all
        .iter()
        .filter(|(_, behaviour)| behaviour.is_none())
        .count();
    let _ = write!(text, "\n  none of these: {}", plural(none as u64, "head"));
    text
}
