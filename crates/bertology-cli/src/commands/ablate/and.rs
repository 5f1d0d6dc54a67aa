//! The same removals on a second set of data: files, record and text.

use bertology::ablation::{Agreement, agreement};
use bertology::masking::Metric;
use bertology_run::results::finite;
use bertology_run::studies::removals::{ABLATION_AND, AblationAndRow, AndResults, Correlation};

use super::Second;
use crate::command::Ended;
use crate::failure::Failure;
use crate::record;
use crate::session::failure;
use crate::show::escape::name;
use crate::show::text::wrapped;
use crate::study;
use crate::tables::{Removals, f32_array, grid};

/// Columns of the text.
const WIDTH: usize = 78;

/// Writes what was found on the second data, for the record, and says it.
pub(super) fn results(
    ended: &Ended<'_>,
    metric: &Metric,
    removals: Removals<'_>,
    second: Second<'_>,
) -> Result<(AndResults, String), Failure> {
    let other = second.found;
    let change = other.change(second.corpus, second.metric);
    let change = change.map_err(|e| failure(&e))?;
    let found = agreement(removals.change, &change);
    let of_loss = agreement(&removals.found.loss_change(), &other.loss_change());
    if let Some(folder) = ended.folder {
        folder.write(ABLATION_AND, &f32_array(&change))?;
        let of_classes = |count: u64| removals.classes.then_some(count);
        let pairs = removals.found.without.iter().zip(&other.without);
        let rows = pairs.map(|(first, second)| AblationAndRow {
            layer: first.head.layer,
            head: first.head.head,
            change: removals.change.get(first.head).and_then(finite),
            change_and: change.get(first.head).and_then(finite),
            loss_change: finite(first.loss_change),
            loss_change_and: finite(second.loss_change),
            loss_standard_error_and: finite(second.paired.loss_standard_error),
            right_to_wrong_and: of_classes(second.paired.right_to_wrong),
            wrong_to_right_and: of_classes(second.paired.wrong_to_right),
            p_value_and: removals.classes.then(|| second.paired.p_value()),
        });
        folder.write_table(&[], rows)?;
    }
    let file = second.corpus.source().path().display().to_string();
    let metrics = study::metrics(&other.whole.metrics, other.whole.loss);
    let mut said = format!(
        "The same on {}\n  with all heads: {metrics}\n  {}",
        name(&file),
        study::counts(&other.whole, second.corpus)
    );
    let mut line = |name: &str, found: &Agreement| {
        let sentence = format!("change of {name}: {}", sentence(found));
        let lines = wrapped(&sentence, WIDTH).replace('\n', "\n    ");
        said.push_str(&format!("\n  {lines}"));
    };
    line(&metric.name, &found);
    if metric.name != bertology::evaluate::LOSS {
        line(bertology::evaluate::LOSS, &of_loss);
    }
    let results = AndResults {
        file,
        metric: Some(second.metric.name.clone()),
        evaluation: Some(record::evaluation(&other.whole)),
        change: correlation(&found),
        loss_change: correlation(&of_loss),
        head_ablation: grid(&change),
    };
    Ok((results, said))
}

fn correlation(found: &Agreement) -> Correlation {
    Correlation {
        heads: found.heads as u64,
        pearson: finite(found.pearson),
        pearson_interval: found.interval,
        pearson_p_value: found.p_value,
        spearman: finite(found.spearman),
        spearman_p_value: found.spearman_p_value,
    }
}

fn sentence(found: &Agreement) -> String {
    if found.pearson.is_nan() {
        return "no correlation, since one side does not vary".into();
    }
    let p = |p: Option<f64>| p.map_or_else(String::new, |p| format!("p {}", probability(p)));
    let interval = found.interval.map_or_else(String::new, |(low, high)| {
        format!("95 % {low:.2} to {high:.2}, ")
    });
    format!(
        "over {} heads Pearson r {:.3} ({interval}{}), Spearman \u{3c1} {:.3} ({})",
        found.heads,
        found.pearson,
        p(found.p_value),
        found.spearman,
        p(found.spearman_p_value)
    )
}

fn probability(p: f64) -> String {
    match p {
        p if p >= 0.001 => format!("{p:.3}"),
        p if p < 1e-99 => "< 1e-99".into(),
        p => format!("{p:.0e}"),
    }
}
