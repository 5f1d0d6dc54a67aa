//! `bertology judge`: which measure deserves trust.

mod args;
mod measures;
mod outcome;

use bertology::compress::{Costs, Groups, Score};
use bertology::drive::Work;
use bertology::input::sample::Sample;
use bertology::input::supply::{Supply as _, first_sequences};
use bertology::judge::{Curve, Folded, curve, folded};
use bertology::masking::Metric;
use bertology::{Corpus, Error};
use serde::{Deserialize, Serialize};
use serde_json::json;

use self::measures::Scoring;
use super::{Done, compress, search};
use crate::command;
use crate::data;
use crate::failure::Failure;
use crate::interrupt::{self, Graceful};
use crate::record::{self, Clock, Run};
use crate::run_folder::{self, Earlier, RunFolder};
use crate::session::{Opened, failure};
use crate::show::Screen;
use crate::show::text::plural;
use crate::study;
use crate::watcher::Watcher;

pub(crate) use args::{ABOUT, JudgeArgs, JudgedMeasure};

/// Texts by whose length operations are counted.
const COUNTED: usize = 500;

pub(crate) fn run(mut args: JudgeArgs, screen: &Screen) -> Result<Done, Failure> {
    let clock = Clock::start();
    args.parts
        .refuse("which units go is known when all examples have been seen")?;
    settle_measures(&mut args)?;
    command::check_output(&args.output, args.resume.resume)?;
    if !data::named(&args.data) {
        return Err(Failure::input(
            "measures are judged by a score on data: --task NAME --data DIR, --text FILE or others",
        ));
    }
    let opened =
        Opened::new(&args.model, data::open_as(&args.data), screen)?.on(&args.place, screen)?;
    compress::refuse_what_cannot_leave(
        &opened,
        args.units == args::UnitsArg::Neurons,
        "--units neurons",
    )?;
    let first = args.data.seed.unwrap_or(compress::SEED);
    compress::settle_seed(&mut args.data, &opened);
    let corpus = data::corpus(&opened, &args.data, screen)?;
    let choose_on = compress::choose_on(args.choose_on.as_deref(), &args.data);
    let choosing = search::choosing(&opened, &args.data, choose_on, &corpus, screen)?;
    let metric = Metric::of(&corpus, args.metric.as_deref()).map_err(|e| failure(&e))?;
    refuse_nothing_to_judge(&args, &opened, &corpus)?;
    let mut run = Run::new("judge", &args, clock, &opened)?;
    run.set_corpus(&corpus, args.data.seed);
    run.set_seed(Some(first));
    run.identity.set("seed", json!(first));
    search::set_choosing(&mut run, choosing.as_ref());
    let (folder, earlier) = command::open_output(&args.output, args.resume.resume, &run)?;
    let state = match earlier {
        Earlier::Complete(document) => {
            screen.note("this run is complete already; nothing to resume");
            return Ok(document.into());
        }
        Earlier::Interrupted(state) if state != json!({}) => {
            command::saved(folder.as_ref(), state)?
        }
        Earlier::Interrupted(_) => State::default(),
        Earlier::Nothing => {
            if let Some(folder) = &folder {
                folder.begin(&run.identity, json!({}), run.model_folder())?;
            }
            State::default()
        }
    };
    screen.say(&study::headline(&opened, &corpus));
    study::note_skipped(&corpus, screen);
    match &choosing {
        Some(choosing) => screen.say(&format!(
            "units are scored on {}",
            choosing.source().path().display()
        )),
        None => screen.note(
            "units are scored on the data that judge, which flatters every measure but random; --choose-on takes others for that",
        ),
    }
    note_draws(&args, choosing.as_ref().unwrap_or(&corpus), screen);
    run.clock.lap("load");
    let graceful = Graceful::begin();
    let mut judging = Judging {
        args: &args,
        opened: &opened,
        corpus: &corpus,
        chosen_on: choosing.as_ref().unwrap_or(&corpus),
        metric: &metric,
        seeds: (0..args.seeds.get())
            .map(|n| first.wrapping_add(n))
            .collect(),
        work: command::work(&args.work),
        run: &run,
        folder: folder.as_ref(),
        screen,
        state,
    };
    let done = judging.finish();
    screen.stop();
    let whole = done.map_err(|error| match (&error, interrupt::requested()) {
        (Error::Interrupted { .. }, true) => {
            let curves = plural(judging.state.finished.len() as u64, "finished curve");
            command::interrupted(&curves, folder.as_ref())
        }
        _ => failure(&error),
    })?;
    let found = Found {
        whole,
        finished: judging.state.finished,
        seeds: judging.seeds,
        groups: Groups::of(opened.model.model()),
        operations: operations(&opened, &corpus)?,
    };
    drop(graceful);
    run.clock.lap("judging");
    let judged = outcome::judged(&args, &found, &metric);
    if let Some(folder) = &folder {
        outcome::write_tables(folder, &args, &found, &judged)?;
    }
    let document = run.document(&judged.results);
    let document = run_folder::complete(folder.as_ref(), document)?;
    screen.say(&format!("\n{}", outcome::text(&judged)));
    super::say_folder(folder.as_ref(), screen);
    Ok(document.into())
}

/// Each measure once, `random` always; what is not one of these units is refused.
fn settle_measures(args: &mut JudgeArgs) -> Result<(), Failure> {
    let mut measures: Vec<JudgedMeasure> = Vec::new();
    for measure in args.measures.iter().chain([&JudgedMeasure::Random]) {
        if !measure.is_of(args.units) {
            return Err(Failure::input(format!(
                "--measures {}: it is no measure of {}; leave it out, or take other --units",
                record::name_of(measure),
                record::name_of(&args.units)
            )));
        }
        if !measures.contains(measure) {
            measures.push(*measure);
        }
    }
    let has = |these: &[JudgedMeasure]| measures.iter().any(|measure| these.contains(measure));
    let gates = has(&[JudgedMeasure::GatesL1, JudgedMeasure::GatesL0]);
    for (option, given, measure, taken) in [
        (
            "--points",
            args.points.is_some(),
            "integrated",
            has(&[JudgedMeasure::Integrated]),
        ),
        (
            "--orders",
            args.orders.is_some(),
            "shapley",
            has(&[JudgedMeasure::Shapley]),
        ),
        ("--gate-steps", args.gate_steps.is_some(), "gates-l0", gates),
        (
            "--gate-weight",
            args.gate_weight.is_some(),
            "gates-l0",
            gates,
        ),
    ] {
        if given && !taken {
            return Err(Failure::input(format!(
                "{option} is of the measure {measure}, which is not judged; leave it out, or add it to --measures"
            )));
        }
    }
    args.measures = measures;
    args.left.sort_by(|a, b| b.total_cmp(a));
    args.left.dedup();
    Ok(())
}

/// Two examples at least, and shares at which something goes.
fn refuse_nothing_to_judge(
    args: &JudgeArgs,
    opened: &Opened,
    corpus: &Corpus,
) -> Result<(), Failure> {
    if corpus.total() < 2 {
        return Err(Failure::input(format!(
            "{}: how sure a difference is comes from parts of the examples that judge, and there is one; give at least two",
            corpus.source().path().display()
        )));
    }
    let groups = Groups::of(opened.model.model());
    let units = args.units.units();
    let (all, least) = (units.count(&groups), units.least(&groups));
    let goes = |share: &f64| ((share * all as f64).round() as usize).max(least) < all;
    if !args.left.iter().any(goes) {
        let name = record::name_of(&args.units);
        return Err(Failure::input(match least < all {
            true => format!(
                "--left: at these shares none of {} goes; give smaller ones, down to {:.1}%",
                plural(all as u64, name.trim_end_matches('s')),
                100.0 * least as f64 / all as f64
            ),
            false => format!(
                "--units {name}: the model has {all} and as many stay at least, so that none can go; take other --units"
            ),
        }));
    }
    Ok(())
}

/// Where draws cannot differ, or there is one, that is said.
fn note_draws(args: &JudgeArgs, chosen_on: &Corpus, screen: &Screen) {
    let (examples, all) = (args.examples.get(), chosen_on.total());
    if args.seeds.get() == 1 {
        screen.note(
            "with one draw nothing is known of how much draws matter, so that no difference has an interval; give --seeds 2 or more",
        );
    } else if examples >= all {
        screen.note(&format!(
            "every draw has all {} to score units on; fewer --examples make them differ",
            plural(all, study::unit(chosen_on))
        ));
    }
}

/// Of the model's blocks, at the length of the texts that judge.
fn operations(opened: &Opened, corpus: &Corpus) -> Result<Costs, Failure> {
    let sequences = first_sequences(corpus, COUNTED).map_err(|e| failure(&e))?;
    let sum = |power: i32| -> f64 {
        let lengths = sequences.iter().map(|sequence| sequence.len() as f64);
        lengths.map(|length| length.powi(power)).sum()
    };
    let length = sum(2) / sum(1).max(1.0);
    let groups = Groups::of(opened.model.model());
    Ok(Costs::operations(
        opened.model.architecture(),
        &groups,
        length,
    ))
}

/// `state.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    /// The score of the model as it is.
    whole: Option<Folded>,
    finished: Vec<Finished>,
}

/// A measure by one draw of examples.
#[derive(Debug, Serialize, Deserialize)]
struct Finished {
    scores: Vec<Score>,
    curve: Curve,
}

/// What was found.
struct Found {
    whole: Folded,
    finished: Vec<Finished>,
    seeds: Vec<u64>,
    groups: Groups,
    operations: Costs,
}

struct Judging<'a> {
    args: &'a JudgeArgs,
    opened: &'a Opened,
    corpus: &'a Corpus,
    chosen_on: &'a Corpus,
    metric: &'a Metric,
    seeds: Vec<u64>,
    work: Work,
    run: &'a Run,
    folder: Option<&'a RunFolder>,
    screen: &'a Screen,
    state: State,
}

impl Judging<'_> {
    /// All measures by all draws; the state is saved after each.
    fn finish(&mut self) -> Result<Folded, Error> {
        let model = &self.opened.model;
        let unit = study::unit(self.corpus);
        let screen = self.screen;
        let whole = match &self.state.whole {
            Some(whole) => whole.clone(),
            None => {
                let mut watcher = Watcher::new(screen).of(unit);
                let folds = usize::try_from(self.args.folds).unwrap_or(usize::MAX);
                let examples = usize::try_from(self.corpus.total()).unwrap_or(usize::MAX);
                let folds = folds.min(examples.max(2));
                folded(
                    model,
                    self.corpus,
                    self.metric,
                    folds,
                    &self.work,
                    &mut watcher,
                )?
            }
        };
        if !whole.score.is_finite() {
            return Err(Error::NotFinite {
                what: format!(
                    "{} of the model as it is (give another --metric)",
                    self.metric.name
                ),
                value: whole.score,
            });
        }
        self.state.whole = Some(whole.clone());
        if !self.state.finished.is_empty() {
            let done = plural(self.state.finished.len() as u64, "finished curve");
            screen.note(&format!("resuming after {done}"));
        }
        for seed in self.seeds.clone() {
            let examples = self.args.examples.get().min(self.chosen_on.total());
            let drawn = Sample::disjoint(self.chosen_on, &[examples], seed);
            let Some(sample) = drawn.first() else {
                continue;
            };
            let mut scoring = Scoring {
                args: self.args,
                model,
                corpus: self.chosen_on,
                sample,
                seed,
                work: self.work,
                taken: None,
            };
            for measure in &self.args.measures {
                let name = record::name_of(measure);
                let of_this = |of: &Finished| of.curve.seed == seed && of.curve.measure == name;
                if self.state.finished.iter().any(of_this) {
                    continue;
                }
                let mut watcher = Watcher::new(screen).of(unit);
                let scores = scoring.of(*measure, &mut watcher)?;
                screen.stop();
                let values: Vec<f64> = scores.iter().map(|score| score.value).collect();
                let mut watcher = Watcher::new(screen).of(unit);
                let found = curve(
                    model,
                    self.corpus,
                    self.metric,
                    self.args.units.units(),
                    (&name, seed),
                    &values,
                    &self.args.left,
                    &whole,
                    &self.work,
                    &mut watcher,
                )?;
                screen.stop();
                screen.say(&outcome::line(&found, self.metric));
                self.state.finished.push(Finished {
                    scores,
                    curve: found,
                });
                self.save();
            }
        }
        Ok(whole)
    }

    fn save(&self) {
        if let Some(folder) = self.folder {
            let saved = folder.save_state(&self.run.identity, json!(self.state));
            if let Err(error) = saved {
                self.screen
                    .note(&format!("the state is not saved: {error}"));
            }
        }
    }
}
