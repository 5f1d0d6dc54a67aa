//! What the commands write.

use bertology::HeadId;
use bertology::attention::Proportion;
use bertology::attention::relations::{Cut, HeadFound, Mean, Relations, Scored, Share};
use bertology_run::studies::relations::{
    BestValue, EXAMPLE, REGRESSION, RegressionScores, RelationBest, RelationCounts,
    RelationHeadRow, RelationMap, RelationRegressionRow, RelationResults,
};

use super::train::Trained;
use crate::failure::Failure;
use crate::record;
use crate::run_folder::RunFolder;
use crate::tables::ends;

/// Tables of heads and regressions, the regression itself, the first text.
pub(super) fn write(
    folder: &RunFolder,
    study: &Relations,
    trained: Option<&Trained>,
) -> Result<(), Failure> {
    let heads: Vec<HeadId> = study.heads().live().collect();
    let rows = views(study).flat_map(|(label, range)| {
        heads.iter().map(move |head| head_row(study, label, range, *head))
    });
    folder.write_table(&[], rows)?;
    if !study.regressions().is_empty() {
        let numbers = 0..study.regressions().len();
        let rows = numbers.flat_map(|number| {
            views(study).map(move |(label, range)| regression_row(study, number, label, range))
        });
        folder.write_table(&[], rows)?;
    }
    if let Some(trained) = trained {
        folder.write_json(REGRESSION, trained)?;
    }
    if let (Some(example), Some(regression)) = (study.example(), study.regressions().first()) {
        let map = RelationMap {
            regression: regression.clone(),
            line: example.line,
            name: example.name.clone(),
            units: example.units,
            label: example.label.clone(),
            related: example.related.clone(),
            strongest: example.strongest.clone(),
        };
        folder.write_json(EXAMPLE, &map)?;
    }
    Ok(())
}

/// Every label in every range.
pub(super) fn views(study: &Relations) -> impl Iterator<Item = (usize, usize)> + use<> {
    let (labels, ranges) = (study.labels().len(), study.settings().distances.len());
    (0..labels).flat_map(move |label| (0..ranges).map(move |range| (label, range)))
}

fn interval(mean: &Mean) -> (Option<f64>, Option<f64>) {
    mean.interval().unzip()
}

fn of_share(share: Option<Share>) -> [Option<f64>; 3] {
    let ends = share.and_then(|of| of.interval);
    [share.map(|of| of.share), ends.map(|ends| ends.0), ends.map(|ends| ends.1)]
}

fn head_row(study: &Relations, label: usize, range: usize, head: HeadId) -> RelationHeadRow {
    let HeadFound { share, excess, scored } = study.head(label, range, head);
    let [share, share_low, share_high] = of_share(share);
    let [excess, excess_low, excess_high] = of_share(excess);
    let [precision, length, half, fifth] = scored.precision;
    let (precision_low, precision_high) = interval(&precision);
    let [from, to] = scored.accuracy;
    let ((from_low, from_high), (to_low, to_high)) = (ends(from), ends(to));
    let [from_matched, to_matched] = scored.matched_accuracy;
    let (matched_auc_low, matched_auc_high) = interval(&scored.matched_auc);
    RelationHeadRow {
        label: study.labels()[label].clone(),
        distances: study.settings().distances[range].name.clone(),
        layer: head.layer,
        head: head.head,
        share,
        share_low,
        share_high,
        background: study.background(label, range),
        excess,
        excess_low,
        excess_high,
        precision: precision.mean(),
        precision_low,
        precision_high,
        precision_length: length.mean(),
        precision_half: half.mean(),
        precision_fifth: fifth.mean(),
        from_correct: from.part,
        from_total: from.whole,
        from_accuracy: from.share(),
        from_low,
        from_high,
        from_matched: from_matched.mean(),
        to_correct: to.part,
        to_total: to.whole,
        to_accuracy: to.share(),
        to_low,
        to_high,
        to_matched: to_matched.mean(),
        matched_auc: scored.matched_auc.mean(),
        matched_auc_low,
        matched_auc_high,
    }
}

fn regression_row(
    study: &Relations,
    number: usize,
    label: usize,
    range: usize,
) -> RelationRegressionRow {
    let scored = study.regression(number, label, range);
    let [precision, length, half, fifth] = scored.precision;
    let (precision_low, precision_high) = interval(&precision);
    let (precision_length_low, precision_length_high) = interval(&length);
    let (average_precision_low, average_precision_high) = interval(&scored.average_precision);
    let (auc_low, auc_high) = interval(&scored.auc);
    let (matched_auc_low, matched_auc_high) = interval(&scored.matched_auc);
    RelationRegressionRow {
        regression: study.regressions()[number].clone(),
        label: study.labels()[label].clone(),
        distances: study.settings().distances[range].name.clone(),
        texts: precision.texts(),
        precision: precision.mean(),
        precision_low,
        precision_high,
        precision_length: length.mean(),
        precision_length_low,
        precision_length_high,
        precision_half: half.mean(),
        precision_fifth: fifth.mean(),
        from_accuracy: scored.accuracy[0].share(),
        from_matched: scored.matched_accuracy[0].mean(),
        to_accuracy: scored.accuracy[1].share(),
        to_matched: scored.matched_accuracy[1].mean(),
        average_precision: scored.average_precision.mean(),
        average_precision_low,
        average_precision_high,
        auc: scored.auc.mean(),
        auc_low,
        auc_high,
        matched_auc: scored.matched_auc.mean(),
        matched_auc_low,
        matched_auc_high,
    }
}

/// The head with the most of something, the first of equals.
fn best(study: &Relations, value: impl Fn(HeadId) -> Option<BestValue>) -> Option<BestValue> {
    let mut best: Option<BestValue> = None;
    for head in study.heads().live() {
        if let Some(found) = value(head)
            && best.as_ref().is_none_or(|best| found.value > best.value)
        {
            best = Some(found);
        }
    }
    best
}

fn named(head: HeadId, value: f64, ends: Option<(f64, f64)>, matched: Option<f64>) -> BestValue {
    BestValue {
        head: head.to_string(),
        value,
        low: ends.map(|ends| ends.0),
        high: ends.map(|ends| ends.1),
        matched,
    }
}

/// What is known of the best heads of a label in a range.
pub(super) fn best_of(study: &Relations, label: usize, range: usize) -> RelationBest {
    let of = |head| study.head(label, range, head);
    let accuracy = |side: usize| {
        best(study, |head| {
            let scored = of(head).scored;
            let accuracy: Proportion = scored.accuracy[side];
            let matched = scored.matched_accuracy[side].mean();
            Some(named(head, accuracy.share()?, accuracy.interval(), matched))
        })
    };
    let regressions = study.regressions().iter().enumerate();
    RelationBest {
        label: study.labels()[label].clone(),
        distances: study.settings().distances[range].name.clone(),
        pairs: study.related(label, range),
        background: study.background(label, range),
        share: best(study, |head| {
            let HeadFound { share, excess, .. } = of(head);
            let (share, excess) = (share?, excess?);
            Some(named(head, share.share, share.interval, Some(share.share - excess.share)))
        }),
        precision: best(study, |head| {
            let mean = of(head).scored.precision[0];
            Some(named(head, mean.mean()?, mean.interval(), None))
        }),
        from: accuracy(0),
        to: accuracy(1),
        regressions: regressions
            .map(|(number, name)| (name.clone(), scores(&study.regression(number, label, range))))
            .collect(),
    }
}

fn scores(scored: &Scored) -> RegressionScores {
    let cuts = Cut::ALL.iter().zip(&scored.precision).skip(1);
    RegressionScores {
        precision: scored.precision[0].mean(),
        precision_at: cuts.map(|(cut, mean)| (record::name_of(cut), mean.mean())).collect(),
        average_precision: scored.average_precision.mean(),
        auc: scored.auc.mean(),
        matched_auc: scored.matched_auc.mean(),
    }
}

/// What stands in `run.json`.
pub(super) fn results(study: &Relations) -> RelationResults {
    let (settings, counts, tally) = (study.settings(), study.counts(), study.tally());
    RelationResults {
        counts: Some(RelationCounts {
            sequences: counts.sequences,
            tokens: counts.tokens,
            words: tally.units,
            pairs: tally.pairs,
            pairs_lost: tally.lost,
            cut: counts.cut,
            units_cut: tally.beyond,
            too_long: counts.too_long,
            empty: counts.empty,
            without_tokens: tally.without_tokens,
            straddling: tally.straddling,
        }),
        row_mode: record::name_of(&settings.rows),
        symmetric: settings.symmetric,
        apc: settings.apc,
        min_attention: settings.least_attention,
        relations: views(study).map(|(label, range)| best_of(study, label, range)).collect(),
    }
}
