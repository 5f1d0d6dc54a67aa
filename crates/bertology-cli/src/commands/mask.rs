//! `bertology mask`: mask heads, least important first, until the score falls below a threshold.

use bertology::chance::chance_of;
use bertology::drive::Work;
use bertology::evaluate::LOSS;
use bertology::masking::{
    Direction, MaskingOptions, MaskingOutcome, MaskingState, Metric, ModelEvaluator, Recompute,
    Search, Step, StopReason, Threshold,
};
use bertology::{Corpus, Error, HeadTable};
use bertology_run::results::{MaskResults, MaskStep, finite};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Done;
use crate::args::{MaskArgs, MaskingArgs, Masks, RecomputeArg, ScoreArgs, ThresholdModeArg};
use crate::assumptions;
use crate::command;
use crate::data;
use crate::failure::Failure;
use crate::interrupt::{self, Graceful};
use crate::record::{self, Clock, Run};
use crate::run_folder::{self, Earlier, RunFolder};
use crate::session::{Opened, failure};
use crate::show::Screen;
use crate::show::heat::Grid;
use crate::show::text::{plural, seconds};
use crate::study;
use crate::tables::{Scores, cells, grid, write_curve, write_mask};
use crate::watcher::Watcher;

pub(crate) fn run(mut args: MaskArgs, screen: &Screen) -> Result<Done, Failure> {
    let clock = Clock::start();
    args.parts.refuse(NOT_IN_PARTS)?;
    let note = &mut |text: &str| screen.note(text);
    args.data.obey_legacy(Masks::Yes, &args.model, note)?;
    command::check_output(&args.output, args.resume.resume)?;
    check(&args.masking)?;
    let opened = Opened::new(&args.model, data::open_as(&args.data), screen)?;
    let corpus = data::corpus(&opened, &args.data, screen)?;
    if args.schedule.schedule.is_some() {
        super::schedule::check(&args)?;
    }
    let options = options(&args.masking, &args.score, Some(&corpus), screen)?;
    let mut run = Run::new("mask", &args, clock, &opened)?;
    run.set_corpus(&corpus, args.data.seed);
    let (folder, earlier) = command::open_output(&args.output, args.resume.resume, &run)?;
    if let Earlier::Complete(document) = earlier {
        screen.note("this run is complete already; nothing to resume");
        return Ok(document.into());
    }
    if let Some(share) = args.schedule.schedule {
        if let (Some(folder), Earlier::Nothing) = (&folder, &earlier) {
            folder.begin(&run.identity, json!({}), run.model_folder())?;
        }
        let opening = super::schedule::Opening {
            args: &args,
            opened: &opened,
            corpus: &corpus,
            share,
        };
        return super::schedule::run(&opening, run, (folder, earlier), screen);
    }
    begin(folder.as_ref(), &earlier, &run)?;
    screen.say(&study::headline(&opened, &corpus));
    study::note_skipped(&corpus, screen);
    run.clock.lap("load");

    let search = Searching {
        opened: &opened,
        corpus: &corpus,
        options: &options,
        work: command::work(&args.work),
        run: &run,
        folder: folder.as_ref(),
    };
    let outcome = search.finish(earlier, screen)?;
    let time = run.clock.lap("masking");
    if let Some(folder) = &folder {
        write(folder, &outcome, &options)?;
    }
    let document = run.document(&results(&outcome, &options));
    let document = run_folder::complete(folder.as_ref(), document)?;
    screen.say(&format!("\n{}", summary(&outcome, &options, screen)));
    screen.say(&seconds(time));
    super::say_folder(folder.as_ref(), screen);
    Ok(document.into())
}

/// `state.json` of a search for heads.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    /// The finished steps, if there are any.
    search: Option<MaskingState>,
    /// How far the pass of the next step has come.
    pass: Option<Value>,
}

/// Says whose the folder is, unless a run in it goes on.
pub(crate) fn begin(
    folder: Option<&RunFolder>,
    earlier: &Earlier,
    run: &Run,
) -> Result<(), Failure> {
    match (folder, earlier) {
        (Some(folder), Earlier::Nothing) => {
            let state = json!(State::default());
            Ok(folder.begin(&run.identity, state, run.model_folder())?)
        }
        _ => Ok(()),
    }
}

/// Why a search for heads is not made in parts.
pub(crate) const NOT_IN_PARTS: &str =
    "every step of the masking loop depends on the one before, which must have seen all examples";

/// What can be wrong with the options before anything is loaded.
pub(crate) fn check(masking: &MaskingArgs) -> Result<(), Failure> {
    let given = masking.threshold.or(masking.masking_threshold);
    if given.is_none() && masking.threshold_mode != ThresholdModeArg::Relative {
        return Err(Failure::input(
            "--threshold-mode absolute and drop have no default threshold; give --threshold",
        ));
    }
    Ok(())
}

/// The threshold for a metric that improves in this direction.
fn threshold(masking: &MaskingArgs, direction: Direction, screen: &Screen) -> f64 {
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

/// The library's options from those of the command line. Without data nothing is searched, and the
/// direction of no metric matters.
pub(crate) fn options(
    masking: &MaskingArgs,
    score: &ScoreArgs,
    corpus: Option<&Corpus>,
    screen: &Screen,
) -> Result<MaskingOptions, Failure> {
    let direction = match corpus {
        None => Direction::Higher,
        Some(corpus) => {
            let metric = Metric::of(corpus, masking.metric.as_deref());
            metric.map_err(|e| failure(&e))?.direction
        }
    };
    let value = threshold(masking, direction, screen);
    let mut options = MaskingOptions::default();
    options.reference = masking.reference;
    options.threshold = match masking.threshold_mode {
        ThresholdModeArg::Relative => Threshold::Relative(value),
        ThresholdModeArg::Absolute => Threshold::Absolute(value),
        ThresholdModeArg::Drop => Threshold::Drop(value),
    };
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

/// The masking loop over a model and its data.
pub(crate) struct Searching<'a> {
    pub(crate) opened: &'a Opened,
    pub(crate) corpus: &'a Corpus,
    pub(crate) options: &'a MaskingOptions,
    pub(crate) work: Work,
    pub(crate) run: &'a Run,
    pub(crate) folder: Option<&'a RunFolder>,
}

impl Searching<'_> {
    /// One line a step, the state saved within and after every step.
    pub(crate) fn finish(
        &self,
        earlier: Earlier,
        screen: &Screen,
    ) -> Result<MaskingOutcome, Failure> {
        let state = match earlier {
            Earlier::Interrupted(value) => command::saved(self.folder, value)?,
            _ => State::default(),
        };
        let mut saved = state.search.is_some() || state.pass.is_some();
        let outcome = self.search(state, &mut saved, screen);
        match (&outcome, self.folder) {
            (Ok(_) | Err(Failure::Interrupted(_)), _) | (_, None) => outcome,
            // What failed before anything was saved leaves an empty folder.
            (Err(_), Some(folder)) if !saved => {
                folder.clear(self.run.model_folder())?;
                outcome
            }
            _ => outcome,
        }
    }

    fn search(
        &self,
        State { search, pass }: State,
        saved: &mut bool,
        screen: &Screen,
    ) -> Result<MaskingOutcome, Failure> {
        let Self {
            corpus, options, ..
        } = *self;
        let metric = Metric::of(corpus, options.metric.as_deref()).map_err(|e| failure(&e))?;
        // The loss stands beside every metric; beside the loss stands what else there is.
        let names = corpus.metric_names();
        let beside = if metric.name == LOSS {
            names.into_iter().find(|name| *name != LOSS).unwrap_or(LOSS)
        } else {
            LOSS
        };
        let line = |step: &Step| line(step, metric.direction, beside);
        // Before anything is shown: who sees that the search goes on may stop it.
        let graceful = Graceful::begin();
        screen.say(&format!(
            "\n  {:>4}  {:>10}  {:>12}  {beside:>9}",
            "step", "heads left", metric.name
        ));
        if *saved {
            let steps = search.iter().flat_map(|state| &state.steps);
            let finished = plural(steps.clone().count() as u64, "finished step");
            let within = if pass.is_some() {
                " and a part of the next"
            } else {
                ""
            };
            screen.note(&format!("resuming after {finished}{within}"));
            for step in steps {
                screen.say(&line(step));
            }
        }
        let model = &self.opened.model;
        let evaluator = ModelEvaluator::new(model, corpus, options, self.work);
        let mut evaluator = evaluator.map_err(|e| failure(&e))?.after(pass);
        let search = Search::new(evaluator.start(), &metric, options, search);
        let mut search = search.map_err(|e| command::of_state(self.folder, &e))?;
        loop {
            let before = (!search.state().steps.is_empty()).then(|| search.state().clone());
            let mut save = |pass: Option<Value>, search: Option<MaskingState>| {
                if let Some(folder) = self.folder {
                    let state = json!(State { search, pass });
                    folder.save_state(&self.run.identity, state)?;
                    *saved = true;
                }
                Ok(())
            };
            let mut within = |pass: Value, _, _| save(Some(pass), before.clone());
            let mut watcher = Watcher::new(screen).of(study::unit(corpus));
            if self.folder.is_some() {
                watcher = watcher.saving(&mut within);
            }
            let step = search.step(&mut evaluator, &mut watcher);
            let done = watcher.done();
            if let Some(failure) = watcher.into_failure() {
                return Err(failure);
            }
            screen.stop();
            let steps = |number: usize| plural(number as u64, "finished step");
            let what = match step {
                Ok(None) => break,
                Ok(Some(step)) => {
                    let (text, finished) = (line(step), step.step + 1);
                    save(None, Some(search.state().clone()))?;
                    screen.say(&text);
                    steps(finished)
                }
                Err(Error::Interrupted { .. }) if interrupt::requested() => {
                    save(evaluator.interrupted().cloned(), before)?;
                    let finished = steps(search.state().steps.len());
                    let done = plural(done, study::unit(corpus));
                    format!("{finished} and {done} of the next")
                }
                Err(error) => return Err(command::of_state(self.folder, &error)),
            };
            if interrupt::requested() {
                return Err(command::interrupted(&what, self.folder));
            }
        }
        drop(graceful);
        if let Some(first) = search.state().steps.first() {
            assumptions::say_chance(corpus, &first.metrics, &[], screen);
        }
        let outcome = search.finish().map_err(|e| failure(&e))?;
        if let Some(chance) = chance_of(corpus, &outcome.metric)
            && outcome.bound <= chance
        {
            screen.note(&format!(
                "the bound {:.4} of {} is not above {chance:.4}, which chance gives: a model that knows nothing \
                 passes it; a stricter --threshold stops before",
                outcome.bound, outcome.metric
            ));
        }
        if outcome.kept().live == 0 {
            screen.note(
                "every head is masked: the threshold passes a model without any; --threshold sets a stricter one, \
                 --min-heads-per-layer N keeps heads",
            );
        }
        Ok(outcome)
    }
}

fn line(step: &Step, direction: Direction, beside: &str) -> String {
    let score = step
        .score
        .map_or_else(|| "undefined".into(), |score| format!("{score:.4}"));
    let verdict = match direction {
        _ if step.passed => "",
        Direction::Higher => "  too low: undone",
        Direction::Lower => "  too high: undone",
    };
    format!(
        "  {:>4}  {:>10}  {score:>12}  {:>width$.4}{verdict}",
        step.step,
        step.live,
        step.metrics.get(beside).unwrap_or(step.loss),
        width = beside.len().max(9)
    )
}

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
    let steps = outcome.steps.iter().map(|step| MaskStep {
        step: step.step as u64,
        heads_left: step.live as u64,
        score: step.score,
        passed: step.passed,
        loss: finite(step.loss),
        metrics: record::metrics(&step.metrics),
        masked_heads: record::names(&step.masked),
    });
    let base = base_scores(outcome, options);
    MaskResults {
        granularity: options.granularity.to_string(),
        metric: Some(outcome.metric.clone()),
        higher_is_better: outcome.direction == Direction::Higher,
        threshold: options.threshold.to_string(),
        bound: finite(outcome.bound),
        score_before: finite(outcome.base_score),
        score_after: outcome.kept().score,
        heads_before: outcome.steps.first().map(|step| step.live as u64),
        heads_left: Some(outcome.kept().live as u64),
        heads_per_step: outcome.heads_per_step as u64,
        stop: Some(record::name_of(&outcome.stop)),
        masked_heads: masked_by_loop(outcome).map(|id| id.to_string()).collect(),
        head_mask: keep
            .chunks(mask.heads().max(1))
            .map(<[_]>::to_vec)
            .collect(),
        head_importance: base.map(|(_, normalized)| grid(&normalized)),
        steps: steps.collect(),
        curves: Vec::new(),
    }
}

fn masked_by_loop(outcome: &MaskingOutcome) -> impl Iterator<Item = bertology::HeadId> {
    let kept = outcome.steps.iter().take(outcome.last_passing + 1);
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
        StopReason::MinHeads => "every layer is down to the fewest heads allowed",
        _ => "the loop ended",
    }
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
    let mut text = format!(
        "{} of {before} heads left ({} masked); {} {:.4} -> {score:.4}, bound {:.4}\n\
         Stopped because {}.",
        left,
        before - left,
        outcome.metric,
        outcome.base_score,
        outcome.bound,
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
