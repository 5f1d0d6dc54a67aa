//! The search for heads, as `mask` and `prune` make it.

use bertology::chance::chance_of;
use bertology::drive::Work;
use bertology::evaluate::LOSS;
use bertology::masking::{
    Direction, Goal, MaskingOptions, MaskingOutcome, MaskingState, Metric, ModelEvaluator, Search,
    Step, StopReason,
};
use bertology::{Corpus, Error};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::assumptions;
use crate::command;
use crate::failure::Failure;
use crate::interrupt::{self, Graceful};
use crate::record::Run;
use crate::run_folder::{Earlier, RunFolder};
use crate::session::{Opened, failure};
use crate::show::Screen;
use crate::show::text::{bytes, plural};
use crate::study;
use crate::watcher::Watcher;

mod options;
mod results;

pub(crate) use options::{check, choosing, drop_of, options, say_choosing, set_choosing};
pub(crate) use results::{results, summary, write};

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
        let line = |step: &Step| line(step, metric.direction, beside, options.goal);
        // Before anything is shown: who sees that the search goes on may stop it.
        let graceful = Graceful::begin();
        let toward = match options.goal {
            Some(Goal::FileBytes(_)) => format!("  {:>9}", "file"),
            Some(Goal::Speedup(_)) => format!("  {:>9}", "speed >="),
            _ => String::new(),
        };
        screen.say(&format!(
            "\n  {:>4}  {:>10}  {:>12}  {beside:>9}{toward}",
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
                    // Where times were taken, the pass before them is finished.
                    let now = (!search.state().steps.is_empty()).then(|| search.state().clone());
                    save(evaluator.interrupted().cloned(), now)?;
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
        if let (Some(chance), Some(bound)) = (chance_of(corpus, &outcome.metric), outcome.bound)
            && bound <= chance
        {
            screen.note(&format!(
                "the bound {bound:.4} of {} is not above {chance:.4}, which chance gives: a model that knows nothing \
                 passes it; a stricter --threshold stops before",
                outcome.metric
            ));
        }
        if let Some(goal) = options.goal
            && outcome.stop != StopReason::Goal
        {
            screen.note(&results::missed(&outcome, goal));
        }
        if outcome.kept().live == 0 && outcome.bound.is_some() {
            screen.note(
                "every head is masked: the threshold passes a model without any; --threshold sets a stricter one, \
                 --min-heads-per-layer N keeps heads",
            );
        }
        Ok(outcome)
    }
}

/// Fails if not even a model without any head that may go reaches the goal: there is nothing worth writing.
pub(crate) fn refuse_unreached(
    outcome: &MaskingOutcome,
    options: &MaskingOptions,
) -> Result<(), Failure> {
    let (Some(goal), Some(found)) = (options.goal, outcome.kept().toward) else {
        return Ok(());
    };
    let without = match outcome.stop {
        StopReason::Exhausted => "without any head",
        StopReason::MinHeads => "without all heads that may go",
        _ => return Ok(()),
    };
    Err(Failure::input(format!(
        "the goal, {}, is not reached: even {without} it is {} only; nothing is written. Ask for less",
        results::goal_text(goal),
        results::came_to(goal, found)
    )))
}

/// The line of a step: `beside` is the metric beside the one that decides.
fn line(step: &Step, direction: Direction, beside: &str, goal: Option<Goal>) -> String {
    let score = step
        .score
        .map_or_else(|| "undefined".into(), |score| format!("{score:.4}"));
    let verdict = match direction {
        _ if step.passed => "",
        Direction::Higher => "  too low: undone",
        Direction::Lower => "  too high: undone",
    };
    let toward = match (goal, step.toward) {
        (None | Some(Goal::HeadsLeft(_)), _) => String::new(),
        (_, None) => format!("  {:>9}", "-"),
        (Some(Goal::FileBytes(_)), Some(size)) => format!("  {:>9}", bytes(size as u64)),
        (_, Some(times)) => format!("  {times:>9.2}"),
    };
    format!(
        "  {:>4}  {:>10}  {score:>12}  {:>width$.4}{toward}{verdict}",
        step.step,
        step.live,
        step.metrics.get(beside).unwrap_or(step.loss),
        width = beside.len().max(9)
    )
}
