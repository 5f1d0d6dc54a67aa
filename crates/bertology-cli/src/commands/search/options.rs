//! From the options of a search to the library's.

use bertology::Corpus;
use bertology::masking::{Direction, Goal, MaskingOptions, Metric, Recompute, Threshold};
use serde_json::json;

use crate::args::{DataArgs, DropArg, MaskingArgs, RecomputeArg, ScoreArgs, ThresholdModeArg};
use crate::data;
use crate::failure::Failure;
use crate::record::Run;
use crate::session::{Opened, failure};
use crate::show::Screen;
use crate::show::text::plural;
use crate::study;

/// What can be wrong with the options before anything is loaded.
pub(crate) fn check(masking: &MaskingArgs) -> Result<(), Failure> {
    let given = masking.threshold.or(masking.masking_threshold);
    if given.is_none() && masking.threshold_mode != ThresholdModeArg::Relative {
        return Err(Failure::input(
            "--threshold-mode absolute and drop have no default threshold; give --threshold",
        ));
    }
    if masking.refine && masking.has_goal() && !masking.has_bound() {
        return Err(Failure::input(
            "--refine goes back where the score fails, and no score ends this search; give --threshold or --max-drop \
             too, or leave --refine out",
        ));
    }
    Ok(())
}

/// On which data heads are chosen, if those are others than the ones that are scored.
pub(crate) fn choosing(
    opened: &Opened,
    data: &DataArgs,
    choose_on: Option<&str>,
    scored: &Corpus,
    screen: &Screen,
) -> Result<Option<Corpus>, Failure> {
    let Some(what) = choose_on else {
        return Ok(None);
    };
    let chosen = data::corpus(opened, &data::elsewhere(data, what)?, screen)?;
    if chosen.info().sha256 == scored.info().sha256 && chosen.examples() == scored.examples() {
        return Err(Failure::input(format!(
            "--choose-on {what}: these are the examples that are scored; name others, or leave it out"
        )));
    }
    Ok(Some(chosen))
}

/// Names the data that heads are chosen on by their content, and how many examples of them.
pub(crate) fn set_choosing(run: &mut Run, choosing: Option<&Corpus>) {
    if let Some(choosing) = choosing {
        run.set_second("choose_on", choosing);
        let content = json!([choosing.info().sha256, choosing.examples()]);
        run.identity.set("choose_on", content);
    }
}

/// Says on which data heads are chosen; `how` is what is done there.
pub(crate) fn say_choosing(how: &str, choosing: Option<&Corpus>, screen: &Screen) {
    match choosing {
        Some(choosing) => screen.say(&format!(
            "heads are {how} on {}: {}",
            choosing.source().path().display(),
            plural(choosing.examples(), study::unit(choosing))
        )),
        None => screen.note(&format!(
            "heads are {how} on the data that are scored, which flatters; --choose-on takes others for that"
        )),
    }
}

/// The threshold for a metric that improves in this direction.
fn value(masking: &MaskingArgs, direction: Direction, screen: &Screen) -> f64 {
    match (masking.threshold, masking.masking_threshold, direction) {
        (Some(value), _, _) | (None, Some(value), Direction::Higher) => value,
        (None, Some(share), Direction::Lower)
            if masking.threshold_mode == ThresholdModeArg::Relative
                && share > 0.0
                && share < 1.0 =>
        {
            let factor = 1.0 / share;
            screen.note(&format!(
                "--masking_threshold {share} lets a loss grow to {factor:.4} times its first value \
                 (1/{share}), as in run_prune_gpt.py; --threshold takes that factor itself"
            ));
            factor
        }
        (None, Some(value), Direction::Lower) => value,
        (None, None, Direction::Higher) => 0.9,
        (None, None, Direction::Lower) => 1.1,
    }
}

/// When the score has fallen too far.
fn threshold(
    masking: &MaskingArgs,
    metric: &Metric,
    point: Option<f64>,
    screen: &Screen,
) -> Result<Threshold, Failure> {
    if let Some(given) = masking.max_drop {
        let instead = "--heads-left N for a search that no score ends";
        return drop_of(given, metric, point, instead);
    }
    if masking.has_goal() && !masking.has_bound() {
        return Ok(Threshold::Unbounded);
    }
    let value = value(masking, metric.direction, screen);
    Ok(match masking.threshold_mode {
        ThresholdModeArg::Relative => Threshold::Relative(value),
        ThresholdModeArg::Absolute => Threshold::Absolute(value),
        ThresholdModeArg::Drop => Threshold::Drop(value),
    })
}

/// How far a metric may fall, whose `point` is a hundredth of its greatest value; `instead` is for whom any score will do.
pub(crate) fn drop_of(
    given: DropArg,
    metric: &Metric,
    point: Option<f64>,
    instead: &str,
) -> Result<Threshold, Failure> {
    match given {
        DropArg::Points(points) => match point {
            Some(point) => Ok(Threshold::Drop(points * point)),
            None => Err(Failure::input(format!(
                "--max-drop {given}: {} has no greatest value that a point could be a hundredth of; say how many per cent of its \
                 first value it may get worse by, as in --max-drop {points}%",
                metric.name
            ))),
        },
        DropArg::Percent(percent) if metric.direction == Direction::Lower => {
            Ok(Threshold::Relative((100.0 + percent) / 100.0))
        }
        DropArg::Percent(percent) if percent >= 100.0 => Err(Failure::input(format!(
            "--max-drop {given} lets {} fall to nothing; give less than 100%, or {instead}",
            metric.name
        ))),
        DropArg::Percent(percent) => Ok(Threshold::Relative((100.0 - percent) / 100.0)),
    }
}

/// What the search is to reach, of a model of so many heads.
fn goal(masking: &MaskingArgs, heads: usize) -> Option<Goal> {
    let share = masking
        .keep
        .map(|share| (share * heads as f64).round() as usize);
    let left = share.or(masking.heads_left).map(Goal::HeadsLeft);
    left.or(masking.max_size.map(Goal::FileBytes))
        .or(masking.min_speedup.map(Goal::Speedup))
}

/// The library's options from those of the command line; heads are chosen on `corpus`.
pub(crate) fn options(
    masking: &MaskingArgs,
    score: &ScoreArgs,
    opened: &Opened,
    corpus: &Corpus,
    screen: &Screen,
) -> Result<MaskingOptions, Failure> {
    let metric = Metric::of(corpus, masking.metric.as_deref()).map_err(|e| failure(&e))?;
    let mut options = MaskingOptions::default();
    options.reference = masking.reference;
    options.threshold = threshold(masking, &metric, metric.point(corpus), screen)?;
    options.goal = goal(masking, opened.model.model().heads().count());
    options.refine = masking.refine || masking.max_drop.is_some();
    options.amount = masking.amount;
    options.recompute = match masking.recompute {
        RecomputeArg::Step => Recompute::Each,
        RecomputeArg::Once => Recompute::Once,
    };
    options.min_heads_per_layer = masking.min_heads_per_layer;
    options.max_steps = masking.max_steps;
    options.metric.clone_from(&masking.metric);
    options.normalization = study::normalization(score);
    options.granularity = study::granularity(score, screen);
    Ok(options)
}
