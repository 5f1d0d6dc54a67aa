//! `bertology compress`: fewer heads and neurons under a cost, without training.

mod args;
mod outcome;
mod then;
mod times;

use bertology::checkpoint::{Cut, Export, WriteOptions, cut_file_bytes};
use bertology::compress::{
    Chosen, Compressed, Costs, Gradients, Groups, Measure, OutOfReach, PerUnit, Rules, choose,
    compress, cut, factors, gradients,
};
use bertology::drive::Work;
use bertology::evaluate::evaluate_some;
use bertology::input::sample::Sample;
use bertology::input::supply::{Supply as _, first_sequences};
use bertology::masking::Metric;
use bertology::pruning::{Timing, compare_speed, write_compared};
use bertology::timing::TimingOptions;
use bertology::{Corpus, Objective, Sequence};
use bertology_run::studies::compress::PointRow;
use serde_json::json;

use self::then::Recovery;
use super::pair::Pair;
use super::{Done, search};
use crate::args::DataArgs;
use crate::command;
use crate::data;
use crate::failure::Failure;
use crate::interrupt::{self, Graceful};
use crate::record::{Clock, Run};
use crate::run_folder::{self, MODEL};
use crate::session::{self, Opened, failure};
use crate::show::Screen;
use crate::show::text::{bytes, percent};
use crate::study;
use crate::watcher::Watcher;

pub(crate) use args::{ABOUT, CompressArgs, MeasureArg};

/// Of the draws, unless it is given.
pub(super) const SEED: u64 = 42;
/// Examples on which `--max-drop` looks at the score; none of those whose gradients are taken.
const HELD_OUT: u64 = 1000;
/// Tokens of the batch by which layers are timed.
const TIMED_TOKENS: usize = 1024;
/// Texts of a batch at which both models are timed, and for how many seconds each.
const BATCHES: [usize; 2] = [1, 16];
const SECONDS: f64 = 0.5;
/// Shares of the operations between which `--max-drop` ends its search.
const CLOSE: f64 = 0.01;

pub(crate) fn run(mut args: CompressArgs, screen: &Screen) -> Result<Done, Failure> {
    let mut clock = Clock::start();
    args.parts
        .refuse("which units go is known when all examples have been seen")?;
    if args.goal().is_none() {
        return Err(Failure::input(
            "what is to be reached? Give --flops 60%, --speedup 1.5, --max-size 30MB or --max-drop 1pt",
        ));
    }
    if args.output.output.is_none() {
        return Err(Failure::input(
            "compress writes a checkpoint; say where with --output DIR (it goes to DIR/model)",
        ));
    }
    if args.time_again && args.speedup.is_none() {
        return Err(Failure::input(
            "--time-again measures the times that --speedup goes by, and there is none; leave it out, or give --speedup",
        ));
    }
    if args.keep_shape && args.speedup.is_some() {
        return Err(Failure::input(
            "--speedup with --keep-shape: zeros in place of what is taken out are computed like any other numbers, so that nothing \
             gets faster; leave one out",
        ));
    }
    command::check_output(&args.output, false)?;
    if !data::named(&args.data) {
        return Err(Failure::input(
            "which heads and neurons matter is told by data: --task NAME --data DIR, --text FILE or others",
        ));
    }
    let opened = Opened::new(&args.model, data::open_as(&args.data), screen)?;
    session::refuse_within(&args.output, [&opened.located])?;
    refuse_what_cannot_leave(&opened, args.neurons_only, "--neurons-only")?;
    let given = args.data.seed;
    let seed = given.unwrap_or(SEED);
    settle_seed(&mut args.data, &opened);
    let corpus = data::corpus(&opened, &args.data, screen)?;
    let choosing = search::choosing(
        &opened,
        &args.data,
        choose_on(args.choose_on.as_deref(), &args.data),
        &corpus,
        screen,
    )?;
    let out = args.output.output.clone().unwrap_or_default();
    let recovery = Recovery::of(&args, (&opened, &corpus), given, &out.join(MODEL), &out)?;
    clock.lap("load");
    let mut run = Run::new("compress", &args, clock, &opened)?;
    run.set_seed(Some(seed));
    run.set_corpus(&corpus, args.data.seed);
    search::set_choosing(&mut run, choosing.as_ref());
    screen.say(&study::headline(&opened, &corpus));
    study::note_skipped(&corpus, screen);
    match &choosing {
        Some(choosing) => screen.say(&format!(
            "units are chosen on {}",
            choosing.source().path().display()
        )),
        None => screen.note(
            "units are chosen on the data that are scored, which flatters; --choose-on takes others for that",
        ),
    }
    let graceful = Graceful::begin();
    let found = Study {
        args: &args,
        opened: &opened,
        corpus: &corpus,
        chosen_on: choosing.as_ref().unwrap_or(&corpus),
        work: command::work(&args.work),
        seed,
        groups: Groups::of(opened.model.model()),
        screen,
    }
    .run(&mut run);
    screen.stop();
    let found = found.map_err(|error| match interrupt::requested() {
        true => Failure::Interrupted("interrupted; nothing is written".into()),
        false => error,
    })?;
    // Only now: what is refused or interrupted leaves nothing behind.
    let (folder, _) = command::open_output(&args.output, false, &run)?;
    let Some(folder) = folder else {
        return Err(Failure::input("no --output folder given"));
    };
    folder.begin(&run.identity, json!({}), run.model_folder())?;
    then::clear(folder.path())?;
    let target = folder.path().join(MODEL);
    let export = match args.keep_shape {
        true => Export::Zeroed,
        false => Export::Pruned,
    };
    let written = write_compared(
        &found.smaller.model,
        &found.cut,
        &target,
        &WriteOptions::new(export).overwrite(args.output.overwrite),
        &found.sequences,
    );
    let written = written.map_err(|e| failure(&e))?;
    drop(graceful);
    run.clock.lap("write");
    outcome::write_tables(&folder, &found)?;
    let results = outcome::results(&args, &opened.model, &found, &written, &target, seed);
    let document = run_folder::complete(Some(&folder), run.document(&results))?;
    screen.say(&format!("\n{}", outcome::text(&found, &results)));
    screen.say(&format!(
        "The checkpoint is in {}\nThe record is in {}",
        target.display(),
        folder.path().display()
    ));
    let Some(recovery) = recovery else {
        return Ok(document.into());
    };
    // The record is written; what follows is a run of its own.
    drop(folder);
    let mut document = document;
    document["then"] = recovery.run(screen)?;
    Ok(document.into())
}

/// What goes from one of several layers of the same weights goes from all of them, and a head whose queries and keys go through one
/// norm with all others' takes little with it: no search here knows that.
pub(super) fn refuse_what_cannot_leave(
    opened: &Opened,
    neurons_only: bool,
    option: &str,
) -> Result<(), Failure> {
    let (arch, name) = (opened.model.architecture(), &opened.located.name);
    if arch.shared_layers.is_some() {
        return Err(Failure::input(format!(
            "the layers of {name} share their weights, and what is chosen layer by layer cannot leave them; take heads out of all \
             alike with `bertology prune --heads`"
        )));
    }
    if arch.query_key_norm && !neurons_only {
        return Err(Failure::input(format!(
            "queries and keys of all heads of {name} go through one norm, so that a head that goes takes little with it; take out \
             neurons alone with {option}"
        )));
    }
    Ok(())
}

/// `--seed` is of the draws of examples; of hidden words only where there are some.
pub(super) fn settle_seed(data: &mut DataArgs, opened: &Opened) {
    let own = Objective::of(&opened.model.architecture().head);
    let hides = match data.objective {
        Some(crate::args::ObjectiveArg::Mlm) => true,
        Some(_) => false,
        None => matches!(own, Some(Objective::MaskedLm { .. })),
    };
    if !hides || data.unmasked {
        data.seed = None;
    }
}

/// The data that units are chosen on, where they are not those that are scored.
pub(super) fn choose_on<'a>(given: Option<&'a str>, data: &DataArgs) -> Option<&'a str> {
    let source = &data.source;
    let other = source.task.is_some() && source.split.as_deref() != Some("train");
    given.or(other.then_some("train"))
}

/// What was found.
struct Found {
    groups: Groups,
    chosen: Chosen,
    smaller: Compressed,
    cut: Cut,
    /// Of operations.
    operations: Costs,
    length: f64,
    examples: u64,
    tuned_on: u64,
    points: Vec<PointRow>,
    bound: Option<(Metric, f64)>,
    scores: Pair,
    timing: Vec<Timing>,
    /// On which the written checkpoint is compared.
    sequences: Vec<Sequence>,
}

struct Study<'a> {
    args: &'a CompressArgs,
    opened: &'a Opened,
    corpus: &'a Corpus,
    chosen_on: &'a Corpus,
    work: Work,
    seed: u64,
    groups: Groups,
    screen: &'a Screen,
}

impl Study<'_> {
    fn run(self, run: &mut Run) -> Result<Found, Failure> {
        let args = self.args;
        let (model, chosen_on) = (&self.opened.model, self.chosen_on);
        let total = chosen_on.total();
        let held_out = match args.max_drop {
            Some(_) => HELD_OUT.min(total / 3),
            None => 0,
        };
        if args.max_drop.is_some() && held_out == 0 {
            return Err(Failure::input(format!(
                "{}: --max-drop scores on examples of which no gradient is taken, and there are {} in all; give at least 3",
                chosen_on.source().path().display(),
                total
            )));
        }
        let sizes = [held_out, args.examples.get().min(total - held_out)];
        let drawn = Sample::disjoint(chosen_on, &sizes, self.seed);
        let [apart, sample] = &drawn[..] else {
            return Err(Failure::input("no examples to choose units on"));
        };
        let unit = study::unit(chosen_on);
        let mut watcher = Watcher::new(self.screen).of(unit);
        let taken = gradients(model, sample, &self.work, &mut watcher);
        self.screen.stop();
        let taken = taken.map_err(|e| failure(&e))?;
        run.clock.lap("gradients");
        let tune_on = match args.no_tune {
            true => Vec::new(),
            false => {
                let units = usize::try_from(args.tune_examples.get()).unwrap_or(usize::MAX);
                first_sequences(sample, units).map_err(|e| failure(&e))?
            }
        };
        let length = taken.length();
        let operations = Costs::operations(model.architecture(), &self.groups, length);
        let scores = self.measure().scores(&taken);
        let examples = taken.examples() as u64;
        let search = Search {
            study: &self,
            taken,
            scores,
            tune_on: &tune_on,
        };
        let mut points = Vec::new();
        let mut bound = None;
        let (chosen, smaller) = if args.max_drop.is_some() {
            search.by_score(&operations, apart, &mut points, &mut bound)?
        } else {
            let (costs, budget) = self.goal(&operations)?;
            let chosen = match args.max_size {
                Some(_) => search.within_bytes(&costs, budget)?,
                None => search.within(&costs, budget)?,
            };
            // The gradients are not needed any more, and are the most of what is held.
            drop(search);
            let smaller = self.finish(&chosen, &tune_on)?;
            (chosen, smaller)
        };
        run.clock.lap("search");
        let pair = Pair::measure(model, &smaller.model, self.corpus, &self.work, self.screen);
        let pair = pair.map_err(|e| failure(&e))?;
        run.clock.lap("comparison");
        let timing = self.timing(&smaller)?;
        run.clock.lap("timing");
        let sequences = bertology::pruning::first_sequences(self.corpus);
        Ok(Found {
            cut: cut(&self.groups, &smaller.tuned.factors),
            sequences: sequences.map_err(|e| failure(&e))?,
            groups: self.groups,
            chosen,
            smaller,
            operations,
            length,
            examples,
            tuned_on: tune_on.len() as u64,
            points,
            bound,
            scores: pair,
            timing,
        })
    }

    fn measure(&self) -> Measure {
        match self.args.measure {
            MeasureArg::Fisher => Measure::Fisher,
            MeasureArg::Michel => Measure::Michel,
            MeasureArg::Taylor => Measure::Taylor,
            MeasureArg::Taylor2 => Measure::Taylor2,
            MeasureArg::Random => Measure::Random { seed: self.seed },
        }
    }

    /// The costs that the goal is about, and how much is allowed.
    fn goal(&self, operations: &Costs) -> Result<(Costs, f64), Failure> {
        let (args, model) = (self.args, &self.opened.model);
        if let Some(share) = args.flops {
            return Ok((operations.clone(), share * operations.whole()));
        }
        if let Some(goal) = args.max_size {
            let (export, checkpoint) = (Export::Pruned, model.checkpoint());
            let whole = cut_file_bytes(checkpoint, &Cut::default(), export);
            let whole = whole.map_err(|e| failure(&e.into()))?;
            let report = checkpoint.report().parts.total();
            let each = report.bytes as f64 / report.parameters.max(1) as f64;
            if whole <= goal {
                return Err(Failure::input(format!(
                    "--max-size: the weights file has {} with all heads and neurons already, and {} are allowed: nothing need go; \
                     give a smaller size",
                    bytes(whole),
                    bytes(goal)
                )));
            }
            let costs = Costs::bytes(model.architecture(), &self.groups, whole, each);
            return Ok((costs, goal as f64));
        }
        let times = self.args.speedup.unwrap_or(1.0);
        let mut sequences =
            first_sequences(self.chosen_on, TIMED_TOKENS).map_err(|e| failure(&e))?;
        let mut tokens = 0;
        sequences.retain(|sequence| {
            tokens += sequence.len();
            tokens <= TIMED_TOKENS || tokens == sequence.len()
        });
        let again = args.time_again;
        let measured = times::times(model, &sequences, self.work.all(), again, self.screen);
        let costs = measured.map_err(|e| failure(&e))?.costs(&self.groups);
        let budget = costs.whole() / times;
        Ok((costs, budget))
    }

    /// Takes out what does not stay, and tunes the rest on these texts, if there are any.
    fn finish(&self, chosen: &Chosen, tune_on: &[Sequence]) -> Result<Compressed, Failure> {
        let mut watcher = Watcher::new(self.screen);
        let tune_on = (!tune_on.is_empty()).then_some(tune_on);
        let found = compress(
            &self.opened.model,
            &chosen.keep,
            tune_on,
            self.work.all(),
            &mut watcher,
        );
        self.screen.stop();
        found.map_err(|e| failure(&e))
    }

    fn timing(&self, smaller: &Compressed) -> Result<Vec<Timing>, Failure> {
        if self.args.keep_shape {
            return Ok(Vec::new());
        }
        let mut options = TimingOptions::default();
        options.threads = self.work.threads;
        options.seconds = SECONDS;
        let mut all = Vec::new();
        for size in BATCHES {
            let sequences = first_sequences(self.corpus, size).map_err(|e| failure(&e))?;
            let mut watcher = Watcher::new(self.screen);
            let (before, after) = (&self.opened.model, &smaller.model);
            let tokens = Some(usize::MAX);
            let timing = compare_speed(before, after, &sequences, tokens, &options, &mut watcher);
            self.screen.stop();
            all.push(timing.map_err(|e| failure(&e))?);
        }
        Ok(all)
    }

    /// A cost that cannot be had, and the nearest that can.
    fn out_of_reach(&self, costs: &Costs, refused: OutOfReach) -> Failure {
        let whole = costs.whole();
        let kept = match (self.args.heads_only, self.args.neurons_only) {
            (true, _) => "all neurons and a head in every layer stay",
            (_, true) => "all heads and a neuron in every layer stay",
            _ => "a head and a neuron in every layer stay",
        };
        Failure::input(match self.args {
            CompressArgs {
                max_size: Some(size),
                ..
            } => format!(
                "--max-size: the weights file cannot have less than {} ({kept}, and all embeddings), and {} are asked for; give at \
                 least {}B",
                bytes(refused.least.ceil() as u64),
                bytes(*size),
                refused.least.ceil()
            ),
            CompressArgs {
                speedup: Some(times),
                ..
            } => format!(
                "--speedup {times}: by the times measured, no more than {:.2} times as fast can be had ({kept}); give less",
                (100.0 * whole / refused.least).floor() / 100.0
            ),
            _ => format!(
                "--flops: no less than {:.2}% of the operations can be left ({kept}); give more",
                (10_000.0 * refused.least / whole).ceil() / 100.0
            ),
        })
    }
}

/// A search, as often as a goal needs it.
struct Search<'a> {
    study: &'a Study<'a>,
    taken: Gradients,
    scores: PerUnit<f64>,
    tune_on: &'a [Sequence],
}

impl Search<'_> {
    fn within(&self, costs: &Costs, budget: f64) -> Result<Chosen, Failure> {
        let Study { args, groups, .. } = self.study;
        let rules = Rules {
            heads_only: args.heads_only,
            neurons_only: args.neurons_only,
            uniform: args.uniform,
        };
        let exchange = !args.no_exchange && args.measure != MeasureArg::Random;
        let chosen = choose(
            groups,
            &self.taken,
            &self.scores,
            costs,
            budget,
            rules,
            exchange,
        );
        chosen.map_err(|refused| self.study.out_of_reach(costs, refused))
    }

    /// [`Self::within`], the file's header counted as well, whose length depends on what it says.
    fn within_bytes(&self, costs: &Costs, goal: f64) -> Result<Chosen, Failure> {
        let checkpoint = self.study.opened.model.checkpoint();
        let mut budget = goal;
        loop {
            let chosen = self.within(costs, budget)?;
            let gone = cut(&self.study.groups, &factors(&chosen.keep));
            let written = cut_file_bytes(checkpoint, &gone, Export::Pruned);
            let over = written.map_err(|e| failure(&e.into()))? as f64 - goal;
            if over <= 0.0 {
                return Ok(chosen);
            }
            budget -= over;
        }
    }

    /// The smallest model whose score keeps to the bound: the share of the operations is halved between what passed and what
    /// failed.
    fn by_score(
        &self,
        operations: &Costs,
        apart: &Sample<'_, Corpus>,
        points: &mut Vec<PointRow>,
        bound: &mut Option<(Metric, f64)>,
    ) -> Result<(Chosen, Compressed), Failure> {
        let study = self.study;
        let metric = Metric::of(study.chosen_on, study.args.metric.as_deref());
        let metric = metric.map_err(|e| failure(&e))?;
        let Some(given) = study.args.max_drop else {
            return Err(Failure::input("--max-drop is not given"));
        };
        let threshold = search::drop_of(
            given,
            &metric,
            metric.point(study.chosen_on),
            "--flops 60% for a model that no score chooses",
        )?;
        let score = |model: &bertology::LoadedModel| {
            let mut watcher = Watcher::new(study.screen).of(study::unit(study.chosen_on));
            let found = evaluate_some(
                model,
                study.chosen_on,
                apart,
                None,
                &study.work,
                &mut watcher,
            );
            study.screen.stop();
            let found = found.map_err(|e| failure(&e))?;
            let score = found.score(study.chosen_on, &metric.name);
            score.map_err(|e| failure(&e))
        };
        let base = score(&study.opened.model)?;
        let least = metric.bound(threshold, base).map_err(|e| failure(&e))?;
        let Some(least) = least else {
            return Err(Failure::input("--max-drop gives no bound"));
        };
        let whole = operations.whole();
        let counts = study.groups.counts();
        let mut point = |share: f64, keep: Option<&PerUnit<bool>>, score: f64, passed: bool| {
            let left = |first: usize| -> usize {
                let all = |group: usize| {
                    keep.map_or(counts[group], |keep| {
                        keep[group].iter().filter(|stays| **stays).count()
                    })
                };
                (first..counts.len()).step_by(2).map(all).sum()
            };
            points.push(PointRow {
                point: points.len(),
                operations: share,
                heads: left(0),
                neurons: left(1),
                score: Some(score).filter(|score| score.is_finite()),
                passed,
            });
        };
        point(1.0, None, base, true);
        let (mut low, mut high) = (0.0_f64, 1.0_f64);
        let mut best = None;
        while high - low > CLOSE {
            let share = f64::midpoint(low, high);
            // What cannot be had at all is below every bound.
            let Ok(chosen) = self.within(operations, share * whole) else {
                low = share;
                continue;
            };
            let smaller = study.finish(&chosen, self.tune_on)?;
            let found = score(&smaller.model)?;
            let passed = metric.passes(found, least);
            point(chosen.cost / whole, Some(&chosen.keep), found, passed);
            study.screen.say(&format!(
                "  {:>5.1}% of the operations: {} {found:.4} {}",
                100.0 * chosen.cost / whole,
                metric.name,
                if passed { "" } else { "(too little)" }
            ));
            if passed {
                high = share;
                best = Some((chosen, smaller));
            } else {
                low = share;
            }
        }
        *bound = Some((metric.clone(), least));
        best.ok_or_else(|| {
            Failure::input(format!(
                "--max-drop {given}: {} falls below {least:.4} with {} of the operations already; allow more, or give --flops",
                metric.name,
                percent((1000.0 * low) as u64, 1000)
            ))
        })
    }
}
