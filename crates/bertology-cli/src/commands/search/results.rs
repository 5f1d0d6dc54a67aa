//! What a search found: for the folder, the record and people.

use bertology::HeadTable;
use bertology::masking::{Direction, Goal, MaskingOptions, MaskingOutcome, StopReason};
use bertology_run::results::{MaskResults, MaskStep, finite};

use crate::failure::Failure;
use crate::record;
use crate::run_folder::RunFolder;
use crate::show::Screen;
use crate::show::heat::Grid;
use crate::show::text::{bytes, plural};
use crate::tables::{Scores, cells, grid, write_curve, write_mask};

/// Arrays and tables of the loop.
pub(crate) fn write(
    folder: &RunFolder,
    outcome: &MaskingOutcome,
    options: &MaskingOptions,
) -> Result<(), Failure> {
    write_mask(folder, &outcome.mask())?;
    write_curve(folder, outcome)?;
    if let Some((raw, normalized)) = base_scores(outcome, options) {
        let scores = Scores {
            raw,
            normalized: &normalized,
            entropy: None,
            standard_error: None,
            intervals: None,
        };
        scores.write(folder)?;
    }
    Ok(())
}

/// Scores of all heads before any is masked.
fn base_scores<'a>(
    outcome: &'a MaskingOutcome,
    options: &MaskingOptions,
) -> Option<(&'a HeadTable, HeadTable)> {
    let raw = outcome.steps.first()?.raw.as_ref()?;
    Some((raw, options.normalization.apply(raw)))
}

/// The loop as the run's record holds it.
pub(crate) fn results(outcome: &MaskingOutcome, options: &MaskingOptions) -> MaskResults {
    let mask = outcome.mask();
    let keep: Vec<u8> = mask.values().iter().map(|v| u8::from(*v != 0.0)).collect();
    let counts_heads = matches!(options.goal, Some(Goal::HeadsLeft(_)));
    let steps = outcome.steps.iter().map(|step| MaskStep {
        step: step.step as u64,
        heads_left: step.live as u64,
        score: step.score,
        passed: step.passed,
        loss: finite(step.loss),
        metrics: record::metrics(&step.metrics),
        masked_heads: record::names(&step.masked),
        // Heads are told already.
        toward_goal: step.toward.filter(|_| !counts_heads),
    });
    let base = base_scores(outcome, options);
    MaskResults {
        granularity: options.granularity.to_string(),
        metric: Some(outcome.metric.clone()),
        higher_is_better: outcome.direction == Direction::Higher,
        threshold: options.threshold.to_string(),
        bound: outcome.bound,
        score_before: finite(outcome.base_score),
        score_after: outcome.kept().score,
        heads_before: outcome.steps.first().map(|step| step.live as u64),
        heads_left: Some(outcome.kept().live as u64),
        heads_per_step: outcome.heads_per_step as u64,
        refined: options.refine.then_some(true),
        goal: options.goal.map(|goal| goal.to_string()),
        goal_reached: options.goal.map(|_| outcome.stop == StopReason::Goal),
        stop: Some(record::name_of(&outcome.stop)),
        masked_heads: masked_by_loop(outcome).map(|id| id.to_string()).collect(),
        head_mask: keep
            .chunks(mask.heads().max(1))
            .map(<[_]>::to_vec)
            .collect(),
        head_importance: base.map(|(_, normalized)| grid(&normalized)),
        steps: steps.collect(),
        ..MaskResults::default()
    }
}

/// Of the steps up to the last that passed, those that passed: a block that failed is undone.
fn masked_by_loop(outcome: &MaskingOutcome) -> impl Iterator<Item = bertology::HeadId> {
    let kept = outcome.steps.iter().take(outcome.last_passing + 1);
    let kept = kept.filter(|step| step.passed);
    let mut heads: Vec<_> = kept.flat_map(|step| step.masked.iter().copied()).collect();
    heads.sort_unstable();
    heads.into_iter()
}

fn why(stop: StopReason, direction: Direction) -> &'static str {
    match stop {
        StopReason::Threshold if direction == Direction::Lower => {
            "the next step rose above the threshold"
        }
        StopReason::Threshold => "the next step fell below the threshold",
        StopReason::Exhausted => "no head is left, and the score still passes",
        StopReason::MetricUndefined => "the metric of the next step is not a number",
        StopReason::MaxSteps => "the steps allowed are used up",
        StopReason::Goal => "the goal is reached",
        StopReason::MinHeads => "every layer is down to the fewest heads allowed",
        _ => "the loop ended",
    }
}

/// A goal in words.
pub(super) fn goal_text(goal: Goal) -> String {
    match goal {
        Goal::HeadsLeft(heads) => plural(heads as u64, "head"),
        Goal::FileBytes(size) => format!("a file of at most {}", bytes(size)),
        Goal::Speedup(times) => format!("{times} times as fast"),
        other => other.to_string(),
    }
}

/// How far a search came towards a goal, in words.
pub(super) fn came_to(goal: Goal, found: f64) -> String {
    match goal {
        Goal::HeadsLeft(_) => plural(found as u64, "head"),
        Goal::FileBytes(_) => format!("a file of {}", bytes(found as u64)),
        Goal::Speedup(_) => format!("at least {found:.2} times as fast"),
        other => other.to_string(),
    }
}

/// What is said of a goal that was not reached.
pub(super) fn missed(outcome: &MaskingOutcome, goal: Goal) -> String {
    let left = plural(outcome.kept().live as u64, "head");
    let came = match (goal, outcome.kept().toward) {
        (Goal::HeadsLeft(_), _) | (_, None) => String::new(),
        (_, Some(found)) => format!(" ({})", came_to(goal, found)),
    };
    let advice = match outcome.stop {
        StopReason::Threshold if matches!(goal, Goal::Speedup(_)) => {
            "a looser bound on the score, or smaller blocks (--amount), may come further"
        }
        StopReason::Threshold | StopReason::MetricUndefined => {
            "a looser bound on the score, or none, comes further"
        }
        StopReason::MaxSteps => "--max-steps ends the search before",
        StopReason::MinHeads => "--min-heads-per-layer keeps the others",
        _ => "no mask comes further",
    };
    format!(
        "the goal, {}, was not reached: {} with {left} left{came}; {advice}",
        goal_text(goal),
        why(outcome.stop, outcome.direction)
    )
}

/// What the loop found, in words and as a strip.
pub(crate) fn summary(
    outcome: &MaskingOutcome,
    options: &MaskingOptions,
    screen: &Screen,
) -> String {
    let before = outcome.steps.first().map_or(0, |step| step.live);
    let left = outcome.kept().live;
    let score = outcome.kept().score.unwrap_or(f64::NAN);
    let bound = outcome
        .bound
        .map_or_else(String::new, |bound| format!(", bound {bound:.4}"));
    let came = match (options.goal, outcome.kept().toward) {
        (None | Some(Goal::HeadsLeft(_)), _) | (_, None) => String::new(),
        (Some(goal), Some(found)) => format!("; {}", came_to(goal, found)),
    };
    let mut text = format!(
        "{} of {before} heads left ({} masked); {} {:.4} -> {score:.4}{bound}{came}\n\
         Stopped because {}.",
        left,
        before - left,
        outcome.metric,
        outcome.base_score,
        why(outcome.stop, outcome.direction)
    );
    if let Some((_, normalized)) = base_scores(outcome, options) {
        let mask = outcome.mask();
        let left = normalized.restricted(|id| mask.get(id) != 0.0);
        let (cells, all) = (cells(&left), cells(&normalized));
        let grid = Grid::new(&cells, left.heads()).on_the_scale_of(&all);
        text.push_str(&format!(
            "\n\nHeads left, by importance before masking, 0 least to 9 most (. masked)\n{}",
            grid.strip(screen.color())
        ));
    }
    text
}
