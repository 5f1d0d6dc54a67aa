//! What is said and kept of a compression.

use std::path::Path;

use bertology::Objective;
use bertology::compress::{Gain, Kind, PerUnit};
use bertology::pruning::{Sizes, Written};
use bertology_report::times_as_fast;
use bertology_run::results::finite;
use bertology_run::studies::compress::{CompressResults, LayerRow, NEURON_MASK, PointRow};

use super::{CompressArgs, Found, vocabulary};
use crate::commands::pair::Pair;
use crate::commands::prune;
use crate::failure::Failure;
use crate::npy;
use crate::record;
use crate::run_folder::RunFolder;
use crate::session::failure;
use crate::show::text::{bytes, count, percent, plural};
use crate::tables::write_mask;

/// How many of a group stay.
fn left(keep: &[bool]) -> usize {
    keep.iter().filter(|stays| **stays).count()
}

impl Found {
    fn neurons(&self) -> (u64, u64) {
        let of_layers = self.chosen.keep.iter().skip(1).step_by(2);
        of_layers.fold((0, 0), |(before, after), keep| {
            (before + keep.len() as u64, after + left(keep) as u64)
        })
    }

    fn layers(&self) -> Vec<LayerRow> {
        let keep = &self.chosen.keep;
        let gain = |layer: usize, kind: Kind| -> Option<&Gain> {
            let gains = self.smaller.tuned.gains.iter();
            gains
                .clone()
                .find(|gain| (gain.layer, gain.kind) == (layer, kind))
        };
        (0..self.groups.layers())
            .map(|layer| {
                let [first, second] = [Kind::Heads, Kind::Neurons].map(|kind| kind.group(layer));
                let (heads, neurons) = (&keep[first], &keep[second]);
                let cost = |of: fn(&[bool]) -> usize| {
                    self.operations.of_group(first, of(heads))
                        + self.operations.of_group(second, of(neurons))
                };
                let attention = gain(layer, Kind::Heads);
                let mlp = gain(layer, Kind::Neurons);
                LayerRow {
                    layer,
                    heads_before: heads.len(),
                    heads_after: left(heads),
                    neurons_before: neurons.len(),
                    neurons_after: left(neurons),
                    operations_before: cost(<[bool]>::len),
                    operations_after: cost(left),
                    attention_missed: attention.and_then(|gain| finite(gain.before)),
                    attention_missed_tuned: attention.and_then(|gain| finite(gain.after)),
                    feed_forward_missed: mlp.and_then(|gain| finite(gain.before)),
                    feed_forward_missed_tuned: mlp.and_then(|gain| finite(gain.after)),
                }
            })
            .collect()
    }
}

pub(super) fn write_tables(folder: &RunFolder, found: &Found) -> Result<(), Failure> {
    let kept: PerUnit<f64> = bertology::compress::factors(&found.chosen.keep);
    let (heads, neurons) = found.groups.masks(&kept).map_err(|e| failure(&e))?;
    write_mask(folder, &heads)?;
    let values: Vec<f32> = neurons.values().iter().map(|value| *value as f32).collect();
    let shape = [heads.layers(), values.len() / heads.layers().max(1)];
    folder.write(NEURON_MASK, &npy::encode(&shape, &values))?;
    folder.write_table::<LayerRow, _>(&[], &found.layers())?;
    if !found.points.is_empty() {
        folder.write_table::<PointRow, _>(&[], &found.points)?;
    }
    Ok(())
}

pub(super) fn results(
    args: &CompressArgs,
    whole: &bertology::LoadedModel,
    found: &Found,
    written: &Written,
    target: &Path,
    seed: u64,
) -> CompressResults {
    let widths = &written.report.widths;
    let Pair { found: scores, .. } = &found.scores;
    CompressResults {
        goal: args.goal().unwrap_or_default(),
        measure: record::name_of(&args.measure),
        examples: found.examples,
        tuned_on: found.tuned_on,
        seed,
        length: finite(found.length),
        operations: Some((
            found.operations.whole(),
            found.operations.of(&found.chosen.keep),
        )),
        neurons: Some(found.neurons()),
        sizes: Some(prune::sizes(&Sizes::of(whole, &found.smaller.model))),
        objective: (!args.no_exchange).then_some(found.chosen.objective.into()),
        metric: found.bound.as_ref().map(|(metric, _)| metric.name.clone()),
        bound: found.bound.as_ref().and_then(|(_, bound)| finite(*bound)),
        evaluation_before: Some(record::evaluation(&scores.before)),
        evaluation_after: Some(record::evaluation(&scores.after)),
        paired: Some(found.scores.change()),
        timing: found.timing.iter().map(prune::timing).collect(),
        checkpoint: Some(prune::checkpoint(written)),
        widths: widths.iter().map(|width| *width as u64).collect(),
        export: export(args.keep_shape, widths).into(),
        folder: target.to_string_lossy().into_owned(),
        vocabulary: None,
    }
}

/// The form of a checkpoint.
pub(super) fn export(keep_shape: bool, widths: &[usize]) -> &'static str {
    let even = widths.windows(2).all(|pair| pair[0] == pair[1]);
    match (keep_shape, even) {
        (true, _) => "zeroed",
        (false, true) => "uniform",
        (false, false) => "compact",
    }
}

/// Sizes before and after.
pub(super) fn sizes(results: &CompressResults) -> Vec<String> {
    let mut lines = vec![format!(
        "  {:<12} {:>14}  {:>14}  {:>9}",
        "", "before", "after", "left"
    )];
    let mut row = |name: &str, before: String, after: String, share: String| {
        lines.push(format!(
            "  {name:<12} {before:>14}  {after:>14}  {share:>9}"
        ));
    };
    let mut number = |name: &str, before: u64, after: u64| {
        row(name, count(before), count(after), percent(after, before));
    };
    if let Some(sizes) = &results.sizes {
        number("heads", sizes.heads_before, sizes.heads_after);
    }
    if let Some(found) = &results.vocabulary {
        number("tokens", found.rows.0, found.rows.1);
    }
    if let Some((before, after)) = results.neurons {
        number("neurons", before, after);
    }
    if let Some((before, after)) = results.operations {
        number("operations", before as u64, after as u64);
    }
    if let Some(sizes) = &results.sizes {
        number(
            "parameters",
            sizes.parameters_before,
            sizes.parameters_after,
        );
    }
    if let Some(written) = &results.checkpoint {
        let (before, after) = (
            written.report.file_bytes_before,
            written.report.file_bytes_after,
        );
        row("file", bytes(before), bytes(after), percent(after, before));
    }
    lines
}

/// Scores before and after, beneath the sizes.
pub(super) fn scores(pair: &Pair) -> Vec<String> {
    let row = |[name, before, after, change]: [String; 4]| {
        format!("  {name:<12} {before:>14}  {after:>14}  {change:>9}")
    };
    let head = ["", "", "", "change"].map(str::to_owned);
    std::iter::once(head).chain(pair.rows()).map(row).collect()
}

pub(super) fn text(found: &Found, results: &CompressResults, objective: Objective) -> String {
    let mut lines = sizes(results);
    lines.extend(scores(&found.scores));

    lines.push(
        "Operations are multiply-adds of the layers per token. Layers are counted from 0:".into(),
    );
    lines.push(format!(
        "  {:<6} {:>10} {:>15}   {:<22} {}",
        "layer", "heads", "neurons", "attention missed", "feed-forward missed"
    ));
    let missed = |before: Option<f64>, after: Option<f64>| match (before, after) {
        (Some(before), Some(after)) => {
            format!("{:.1}% -> {:.1}%", 100.0 * before, 100.0 * after)
        }
        _ => "-".to_owned(),
    };
    for layer in found.layers() {
        let of = |after: usize, before: usize| format!("{after} of {before}");
        lines.push(format!(
            "  {:<6} {:>10} {:>15}   {:<22} {}",
            layer.layer,
            of(layer.heads_after, layer.heads_before),
            of(layer.neurons_after, layer.neurons_before),
            missed(layer.attention_missed, layer.attention_missed_tuned),
            missed(layer.feed_forward_missed, layer.feed_forward_missed_tuned),
        ));
    }
    let refused = found
        .smaller
        .tuned
        .gains
        .iter()
        .filter(|gain| gain.refused)
        .count();
    if refused > 0 {
        lines.push(format!(
            "{} left without factors: the texts do not determine them; give more with --tune-examples",
            plural(refused as u64, "half layer")
        ));
    }
    if let (Some((before, after)), true) = (
        results.objective,
        results.objective.is_some_and(|(b, _)| b > 0.0),
    ) {
        lines.push(format!(
            "Expected loss of what goes (Fisher): {before:.3e}, {after:.3e} after exchanges"
        ));
    }
    if let Some(found) = &results.vocabulary {
        lines.extend(vocabulary::said(found, Some(objective)));
    }
    lines.extend(found.scores.said());
    for timing in &found.timing {
        let speed = &timing.speed;
        lines.push(format!(
            "Speed{} at a batch of {}: {}",
            prune::where_timed(timing),
            timing.sequences,
            times_as_fast(speed.ratio, (speed.low, speed.high)),
        ));
    }
    if let Some(written) = &results.checkpoint {
        for (layer, head) in &written.report.zeroed_survivors {
            lines.push(format!(
                "Layer {layer} has no head left; L{layer}H{head} is written as zeros."
            ));
        }
        lines.push(format!(
            "Opened again and compared on {}: largest difference {:.1e}",
            plural(written.compared, "sequence"),
            written.largest_difference.unwrap_or(f64::NAN)
        ));
    }
    let only_here = match results.export.as_str() {
        "compact" => {
            "Layers differ in width, which only bertology reads; --uniform is read by transformers 4.57, --keep-shape by all."
        }
        _ => return lines.join("\n"),
    };
    lines.push(only_here.into());
    lines.join("\n")
}
