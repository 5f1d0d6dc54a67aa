//! `bertology compress`: fewer heads, neurons and tokens, without training.

mod args;
mod goal;
mod outcome;
mod then;
mod times;
mod vocabulary;

use bertology::checkpoint::{Cut, Export, WriteOptions, cut_file_bytes};
use bertology::compress::{
    Chosen, Compressed, Costs, Groups, Measure, OutOfReach, compress, cut, gradients,
};
use bertology::drive::Work;
use bertology::input::sample::Sample;
use bertology::input::supply::{Supply as _, first_sequences};
use bertology::masking::Metric;
use bertology::pruning::{Timing, compare_speed_of, write_compared_with};
use bertology::timing::TimingOptions;
use bertology::{Corpus, Objective, Sequence};
use bertology_run::studies::compress::PointRow;
use serde_json::json;

use self::goal::Search;
use self::then::Recovery;
use self::vocabulary::{Trimmed, Whole};
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
use crate::show::text::bytes;
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
    if args.goal().is_none() && args.trim_vocabulary.is_empty() {
        return Err(Failure::input(
            "what is to be reached? Give --flops 60%, --speedup 1.5, --max-size 30MB or --max-drop 1pt, or --trim-vocabulary FILE for \
             fewer tokens",
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
    if args.goal().is_none() {
        return vocabulary::alone(&args, clock, screen);
    }
    if !data::named(&args.data) {
        return Err(Failure::input(
            "which heads and neurons matter is told by data: --task NAME --data DIR, --text FILE or others",
        ));
    }
    let opened =
        Opened::new(&args.model, data::open_as(&args.data), screen)?.on(&args.place, screen)?;
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
    let trimmed = Trimmed::of(&args, &opened, Some(&corpus), screen)?;
    let chosen_on = choosing.as_ref().unwrap_or(&corpus);
    let whole = Whole {
        model: &opened.model,
        corpus: &corpus,
        chosen_on,
    };
    // Heads and neurons leave the model that reads the smaller vocabulary, by what they do to it.
    let own = trimmed.as_ref().map(|trimmed| {
        trimmed.record(&mut run);
        run.clock.lap("vocabulary");
        let what = choose_on(args.choose_on.as_deref(), &args.data);
        let elsewhere = what.map(|what| data::elsewhere(&args.data, what));
        let elsewhere = elsewhere.transpose()?;
        let choosing = elsewhere.map(|data| trimmed.corpus(&data)).transpose()?;
        Ok::<_, Failure>((trimmed.corpus(&args.data)?, choosing))
    });
    let own = own.transpose()?;
    let reads = own.as_ref().map_or((&corpus, chosen_on), |(own, chosen)| {
        (own, chosen.as_ref().unwrap_or(own))
    });
    let smaller = trimmed.as_ref().map_or(&opened, |trimmed| &trimmed.opened);
    let found = Study {
        args: &args,
        opened: smaller,
        corpus: reads.0,
        chosen_on: reads.1,
        whole,
        work: command::work(&args.work),
        seed,
        groups: Groups::of(smaller.model.model()),
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
    let cut = match &trimmed {
        Some(trimmed) => found.cut.clone().tokens(trimmed.vocabulary.cut()),
        None => found.cut.clone(),
    };
    let written = write_compared_with(
        opened.model.checkpoint(),
        &found.smaller.model,
        &cut,
        &target,
        &WriteOptions::new(export).overwrite(args.output.overwrite),
        &found.sequences,
    );
    let written = written.map_err(|e| failure(&e))?;
    drop(graceful);
    run.clock.lap("write");
    outcome::write_tables(&folder, &found)?;
    let mut results = outcome::results(&args, &opened.model, &found, &written, &target, seed);
    if let Some(trimmed) = &trimmed {
        trimmed.write_map(&folder)?;
        results.vocabulary = Some(trimmed.results(&written.report.left_behind));
    }
    let document = run_folder::complete(Some(&folder), run.document(&results))?;
    let objective = corpus.objective();
    screen.say(&format!("\n{}", outcome::text(&found, &results, objective)));
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
    whole: Whole<'a>,
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
            let of_whole = Sample::disjoint(self.whole.chosen_on, &sizes, self.seed);
            let aparts = [&of_whole[0], apart];
            search.by_score(&operations, aparts, &mut points, &mut bound)?
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
        let whole = (self.whole.model, self.whole.corpus);
        let sides = [whole, (&smaller.model, self.corpus)];
        let pair = Pair::measure_each(sides, &self.work, self.screen);
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
                let way_out = match args.trim_vocabulary.is_empty() {
                    true => "give a smaller size",
                    false => {
                        "with --trim-vocabulary alone it is so small; give a smaller size, or leave --max-size out"
                    }
                };
                return Err(Failure::input(format!(
                    "--max-size: the weights file has {} with all heads and neurons already, and {} are allowed: nothing need go; \
                     {way_out}",
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
            let first = |corpus| first_sequences(corpus, size).map_err(|e| failure(&e));
            let (own, of_smaller) = (first(self.whole.corpus)?, first(self.corpus)?);
            let mut watcher = Watcher::new(self.screen);
            let models = [self.whole.model, &smaller.model];
            let tokens = Some(usize::MAX);
            let sequences = [&own[..], &of_smaller[..]];
            let timing = compare_speed_of(models, sequences, tokens, &options, &mut watcher);
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
