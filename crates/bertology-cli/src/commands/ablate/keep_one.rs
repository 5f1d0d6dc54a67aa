//! Each head as the only one of its layer: files, record and text.

use bertology::ablation::{WithoutHead, significant};
use bertology::masking::Metric;
use bertology::{Corpus, HeadId, HeadTable};
use bertology_run::results::{AblateResults, finite};
use bertology_run::studies::removals::{
    KEEP_ONE, KEEP_ONE_CHANGE, KeepOneLayerRow, KeepOneResults, KeepOneRow, KeptHead,
};
use serde_json::json;

use super::Second;
use crate::command::{Ended, Shown};
use crate::failure::Failure;
use crate::record;
use crate::run_folder::RunFolder;
use crate::session::failure;
use crate::show::keep_one::{Best, Choice, keep_one_text};
use crate::tables::{Removals, f32_array, grid, metric_names, metric_values};

/// Writes and says what one head a layer does.
pub(super) fn results(
    ended: &Ended<'_>,
    corpus: &Corpus,
    metric: &Metric,
    removals: Removals<'_>,
    selected: Option<Second<'_>>,
) -> Result<Shown, Failure> {
    let Removals {
        found,
        change,
        classes,
    } = removals;
    let scores = found.scores(corpus, metric).map_err(|e| failure(&e))?;
    let (chosen, chosen_scores) = match selected {
        None => (found.best_of_each_layer(corpus, metric), Ok(scores.clone())),
        Some(other) => (
            other.found.best_of_each_layer(other.corpus, other.metric),
            other.found.scores(other.corpus, other.metric),
        ),
    };
    let (chosen, chosen_scores) = (
        chosen.map_err(|e| failure(&e))?,
        chosen_scores.map_err(|e| failure(&e))?,
    );
    let best: Vec<Best<'_>> = chosen
        .iter()
        .filter_map(|head| {
            let found = found.get(*head)?;
            Some(Best {
                found,
                selection_score: chosen_scores.get(*head),
                score: scores.get(*head),
                change: change.get(*head),
                significant: significant(found, classes),
            })
        })
        .collect();
    if let Some(folder) = ended.folder {
        write(folder, removals, &scores, &best)?;
    }
    let on = selected.map_or(corpus, |other| other.corpus);
    let file = on.source().path().display().to_string();
    let examples = selected.map_or(&found.whole, |other| &other.found.whole);
    let kept = KeepOneResults {
        selected_on_scored_data: selected.is_none(),
        selected_on: file.clone(),
        selection_examples: Some(examples.examples),
        layers: best.iter().map(|best| kept(best, classes)).collect(),
        significant_layers: Some(best.iter().filter(|best| best.significant).count() as u64),
        score: grid(&scores),
        change: grid(change),
        loss_change: grid(&found.loss_change()),
    };
    let results = AblateResults {
        metric: Some(metric.name.clone()),
        direction: record::name_of(&metric.direction),
        evaluation: Some(record::evaluation(&found.whole)),
        keep_one: Some(kept),
        ..AblateResults::default()
    };
    let choice = match selected {
        None => Choice::Scored,
        Some(_) => Choice::Other {
            file: &file,
            examples: examples.examples,
            unit: crate::study::unit(on),
        },
    };
    Ok(Shown {
        results: json!(results),
        text: keep_one_text(removals, metric, &best, choice, ended.screen),
    })
}

fn kept(best: &Best<'_>, classes: bool) -> KeptHead {
    let paired = best.found.paired;
    KeptHead {
        head: best.found.head.to_string(),
        selection_score: best.selection_score.and_then(finite),
        score: best.score.and_then(finite),
        change: best.change.and_then(finite),
        loss_change: finite(best.found.loss_change),
        loss_standard_error: finite(paired.loss_standard_error),
        p_value: classes.then(|| paired.p_value()),
        significant: best.significant,
    }
}

fn write(
    folder: &RunFolder,
    removals: Removals<'_>,
    scores: &HeadTable,
    best: &[Best<'_>],
) -> Result<(), Failure> {
    folder.write(KEEP_ONE, &f32_array(scores))?;
    folder.write(KEEP_ONE_CHANGE, &f32_array(removals.change))?;
    let of_classes = |count: u64| removals.classes.then_some(count);
    let p_value = |found: &WithoutHead| removals.classes.then(|| found.paired.p_value());
    let value = |table: &HeadTable, head: HeadId| table.get(head).and_then(finite);
    let names = metric_names(&removals.found.whole.metrics);
    let rows = removals.found.without.iter().map(|found| KeepOneRow {
        layer: found.head.layer,
        head: found.head.head,
        score: value(scores, found.head),
        change: value(removals.change, found.head),
        loss_change: found.loss_change,
        loss_standard_error: finite(found.paired.loss_standard_error),
        changed: of_classes(found.paired.changed),
        right_to_wrong: of_classes(found.paired.right_to_wrong),
        wrong_to_right: of_classes(found.paired.wrong_to_right),
        p_value: p_value(found),
        significant: significant(found, removals.classes),
        loss: Some(found.evaluation.loss),
        metrics: metric_values(&found.evaluation.metrics),
    });
    folder.write_table(&names, rows)?;
    let rows = best.iter().map(|best| KeepOneLayerRow {
        layer: best.found.head.layer,
        head: best.found.head.head,
        selection_score: best.selection_score.and_then(finite),
        score: best.score.and_then(finite),
        change: best.change.and_then(finite),
        loss_change: best.found.loss_change,
        loss_standard_error: finite(best.found.paired.loss_standard_error),
        right_to_wrong: of_classes(best.found.paired.right_to_wrong),
        wrong_to_right: of_classes(best.found.paired.wrong_to_right),
        p_value: p_value(best.found),
        significant: best.significant,
    });
    Ok(folder.write_table(&[], rows)?)
}
