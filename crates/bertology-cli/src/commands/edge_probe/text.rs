//! What is said on the terminal.

use std::fmt::Write as _;

use bertology_run::studies::edge::{EdgeQuantity, EdgeResults, EdgeTask};
use bertology_train::edge::Room;

use super::results::Tables;
use crate::show::text::{bytes, count, plural};

fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{:.1}", 100.0 * value))
}

fn layer(found: &EdgeQuantity) -> String {
    match (found.value, found.low, found.high) {
        (Some(value), Some(low), Some(high)) => format!("{value:.2} ({low:.2} to {high:.2})"),
        (Some(value), ..) => format!("{value:.2}"),
        _ => "-".into(),
    }
}

/// How large the states will be.
pub(super) fn room(room: &Room) -> String {
    let mut text = format!(
        "states: {} × {} layers × {} numbers × {} bytes",
        plural(room.pieces, "token"),
        room.layers,
        room.hidden,
        room.number
    );
    if room.encoders > 1 {
        let _ = write!(text, ", of {} encoders", room.encoders);
    }
    let _ = write!(text, ": {}", bytes(room.needed));
    if room.kept > 0 {
        let _ = write!(text, ", of which {} are there", bytes(room.kept));
    }
    let _ = write!(text, "; {} are free", bytes(room.free));
    text
}

pub(super) fn text(found: &EdgeResults, tables: &Tables) -> String {
    let mut text =
        String::from("F1 by layer, 0 is what goes into the first block; means of seeds\n");
    let layers = tables
        .layers
        .iter()
        .map(|row| row.layer + 1)
        .max()
        .unwrap_or(0);
    let width = found.tasks.iter().map(|task| task.name.chars().count());
    let width = width.max().unwrap_or(0).clamp(4, 20);
    // As many layers in a row as 80 columns hold.
    let room = (78_usize.saturating_sub(width) / 6).max(1);
    for block in (0..layers).collect::<Vec<_>>().chunks(room) {
        let _ = write!(text, "  {:<width$}", "layer");
        for layer in block {
            let _ = write!(text, "{layer:>6}");
        }
        for task in &found.tasks {
            let _ = write!(text, "\n  {:<width$}", short(&task.name, width));
            for layer in block {
                let row = tables.layers.iter();
                let mut row = row.filter(|row| row.task == task.name && row.layer == *layer);
                let score = row.next().and_then(|row| row.score);
                let _ = write!(text, "{:>6}", share(score));
            }
        }
        text.push('\n');
    }
    let standardized = found.probe.get("standardized") == Some(&serde_json::Value::Bool(true));
    for task in &found.tasks {
        text.push_str(&of_task(task, tables, standardized));
    }
    for pair in &found.order {
        let difference = &pair.difference;
        let said = match (pair.ordered, difference.value.unwrap_or_default() > 0.0) {
            (false, _) => format!("{} and {} cannot be ordered", pair.first, pair.second),
            (true, true) => format!("{} comes before {}", pair.first, pair.second),
            (true, false) => format!("{} comes before {}", pair.second, pair.first),
        };
        let _ = write!(
            text,
            "\n{said}: expected layer of {} less that of {} {}",
            pair.second,
            pair.first,
            layer(difference)
        );
        if let (Some(low), Some(high)) = (difference.bootstrap_low, difference.bootstrap_high) {
            let _ = write!(text, ", over sentences {low:.2} to {high:.2}");
        }
    }
    if let Some(size) = found.cache.get("bytes").and_then(serde_json::Value::as_u64) {
        let of = |key: &str| {
            let number = found.cache.get(key).and_then(serde_json::Value::as_u64);
            number.unwrap_or_default()
        };
        let _ = write!(
            text,
            "\n\n{}, {} of them read, states of {}",
            plural(of("sequences"), "sequence"),
            plural(of("pieces"), "token"),
            bytes(size)
        );
    }
    text
}

fn short(name: &str, width: usize) -> String {
    name.chars().take(width).collect()
}

fn of_task(task: &EdgeTask, tables: &Tables, standardized: bool) -> String {
    let mut text = format!(
        "\n{}: {}, {} scored on {}",
        task.name,
        plural(task.labels, "label"),
        task.judged_by,
        task.scored_on
    );
    let line = |text: &mut String, name: &str, value: String| {
        let _ = write!(text, "\n  {name:<36}{value}");
    };
    line(&mut text, "most frequent label", share(task.majority));
    line(
        &mut text,
        "most frequent label of the words",
        share(task.type_majority),
    );
    if let Some(words) = &task.word_only {
        line(
            &mut text,
            "words without position and context",
            share(words.value),
        );
    }
    if let Some(bag) = &task.word_bag {
        line(&mut text, "  spans as their means", share(bag.value));
    }
    line(&mut text, "layer 0", share(task.bottom.value));
    line(&mut text, "all layers", share(task.top.value));
    for group in task.groups.iter().filter(|group| group.support > 0) {
        line(
            &mut text,
            &format!("  {}", group.name),
            share(group.top.value),
        );
    }
    if let Some(random) = &task.random_encoder {
        line(
            &mut text,
            "all layers, untrained encoder",
            share(random.value),
        );
    }
    let last = tables.layers.iter().rfind(|row| row.task == task.name);
    if let Some(row) = last {
        for (name, value) in [
            ("all layers, shuffled labels", row.shuffled),
            ("all layers, control task", row.control),
            ("all layers, selectivity", row.selectivity),
            ("all layers, control by first span", row.control_first),
        ] {
            if value.is_some() {
                line(&mut text, name, share(value));
            }
        }
        if let (Some(bits), Some(times)) = (row.code_bits, row.compression) {
            let value = format!("{} bits, {times:.1} times fewer", count(bits as u64));
            line(&mut text, "all layers, online code", value);
        }
    }
    match &task.guard {
        Some(guard) => line(&mut text, "expected layer", format!("- ({guard})")),
        None => {
            line(&mut text, "expected layer", layer(&task.expected_layer));
            if let (Some(low), Some(high)) = (
                task.expected_layer.bootstrap_low,
                task.expected_layer.bootstrap_high,
            ) {
                line(
                    &mut text,
                    "  over sentences drawn again",
                    format!("{low:.2} to {high:.2}"),
                );
            }
            line(&mut text, "K(gains), bits", layer(&task.gain_divergence));
        }
    }
    if task.centre_of_gravity.value.is_some() {
        line(
            &mut text,
            if standardized {
                "centre of gravity, standardized"
            } else {
                "centre of gravity"
            },
            layer(&task.centre_of_gravity),
        );
        line(
            &mut text,
            "  weights times norms",
            layer(&task.centre_of_gravity_by_norm),
        );
        line(
            &mut text,
            "K(weights), bits",
            layer(&task.weight_divergence),
        );
    }
    text.push('\n');
    text
}
