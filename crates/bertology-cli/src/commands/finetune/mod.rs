//! `bertology finetune`: a model trained for a task.

mod args;
mod head;

use std::path::Path;

use bertology::masking::Metric;
use bertology::{Corpus, OpenAs, Task};
use bertology_run::results::{self, finite};
use bertology_run::studies::finetune::{
    FinetuneResults, TrainingScoreRow, TrainingStepRow, WrittenModel,
};
use bertology_run::table::More;
use bertology_train::Adam;
use bertology_train::finetune::{self, Data, Distillation, Options, Outcome};
use serde_json::json;

use crate::args::DataArgs;
use crate::command;
use crate::commands::{Done, needed};
use crate::data;
use crate::failure::Failure;
use crate::interrupt::{self, Graceful};
use crate::record::{self, Clock, Run};
use crate::run_folder::{self, Earlier, RunFolder};
use crate::session::{self, Opened, failure, train_failure};
use crate::show::Screen;
use crate::show::escape::name;
use crate::show::text::{count, plural, seconds};
use crate::study;
use crate::watcher::Watcher;

pub(crate) use args::{ABOUT, FinetuneArgs};

pub(crate) fn run(mut args: FinetuneArgs, screen: &Screen) -> Result<Done, Failure> {
    let clock = Clock::start();
    args.parts
        .refuse("a training goes through the examples one step after the other")?;
    let Some(place) = args.output.output.clone() else {
        return Err(Failure::input(
            "no --output folder given; the trained model is written there",
        ));
    };
    if args.source.task.is_some() {
        args.source.split.get_or_insert_with(|| "train".into());
    }
    refuse_own(&place, Path::new(args.model.name()?))?;
    command::check_output(&args.output, args.resume.resume)?;
    let located = session::locate(&args.model, screen)?;
    let (open_as, new) = head::wanted(&args, &located, screen)?;
    let opened = Opened::to_train(&args.model, located, open_as, &new, args.seed, screen)?;
    let input = Input::open(&args, &opened, screen)?;
    let options = options(&args);
    let mut run = Run::new("finetune", &args, clock, &opened)?;
    input.identify(&mut run, args.seed)?;
    let (folder, earlier) = command::open_output(&args.output, args.resume.resume, &run)?;
    let folder = needed(folder.as_ref())?;
    if let Earlier::Complete(document) = earlier {
        finetune::remove(folder.path()).map_err(|error| train_failure(&error))?;
        screen.note("this run is complete already; nothing to resume");
        return Ok(document.into());
    }
    if let Earlier::Nothing = earlier {
        // The training is the state; this says whose it is.
        folder.begin(&run.identity, json!({}), run.model_folder())?;
        if let Err(wrong) = refuse_checkpoints(folder) {
            folder.clear(run.model_folder())?;
            return Err(wrong);
        }
    }
    let graceful = Graceful::begin();
    screen.say(&input.headline(&opened));
    note_begun(&opened, screen);
    study::note_skipped(&input.train, screen);
    run.clock.lap("load");
    let key = key(&run)?;
    let mut watcher = Watcher::new(screen).of(study::unit(&input.train));
    let trained = finetune::run(
        opened.model,
        input.data(),
        &options,
        folder.path(),
        &key,
        &mut watcher,
    );
    if let Some(failure) = watcher.into_failure() {
        return Err(failure);
    }
    screen.stop();
    let trained = match trained {
        Ok(trained) => trained,
        Err(bertology_train::Error::TrainingInterrupted { steps, .. })
            if interrupt::requested() =>
        {
            let done = plural(steps, "step");
            return Err(command::interrupted(&done, Some(folder)));
        }
        Err(_) if interrupt::requested() => {
            return Err(command::interrupted("reading the examples", Some(folder)));
        }
        Err(error) => return Err(train_failure(&error)),
    };
    drop(graceful);
    let time = run.clock.lap("training");
    let saved = trained.model.save(folder.path(), folder.path());
    let files = saved.map_err(|e| failure(&e))?;
    tables(folder, &trained)?;
    let outcome = outcome(&trained, folder, files);
    let document = run_folder::complete(Some(folder), run.document(&outcome))?;
    finetune::remove(folder.path()).map_err(|error| train_failure(&error))?;
    screen.say(&format!(
        "\n{}\n{}",
        text(&trained, &outcome),
        seconds(time)
    ));
    if trained.left_out > 0 {
        screen.note(&format!(
            "{} without anything to learn from left out",
            plural(trained.left_out, study::unit(&input.train))
        ));
    }
    screen.say(&format!("The model is in {}", folder.path().display()));
    Ok(document.into())
}

/// The model that is read is never written over.
fn refuse_own(place: &Path, model: &Path) -> Result<(), Failure> {
    let same = std::fs::canonicalize(place).ok() == std::fs::canonicalize(model).ok();
    if place.exists() && same {
        return Err(Failure::input(format!(
            "--output {}: this is the model itself; choose another folder",
            place.display()
        )));
    }
    Ok(())
}

/// Those of another training would stand beside the new ones.
fn refuse_checkpoints(folder: &RunFolder) -> Result<(), Failure> {
    let path = folder.path().join(finetune::CHECKPOINTS);
    if path.exists() {
        return Err(Failure::input(format!(
            "{}: checkpoints of an earlier training are here; remove them, or choose another --output",
            path.display()
        )));
    }
    Ok(())
}

fn note_begun(opened: &Opened, screen: &Screen) {
    let begun = &opened.model.checkpoint().report().begun;
    if !begun.is_empty() {
        let names: Vec<String> = begun
            .iter()
            .map(|tensor| name(&tensor.name).into_owned())
            .collect();
        screen.note(&format!(
            "the model does not have {}; new ones are trained from random values",
            names.join(", ")
        ));
    }
}

/// What makes a training this one and no other.
fn key(run: &Run) -> Result<String, Failure> {
    let identity = serde_json::to_vec(&run.identity)
        .map_err(|error| Failure::work(format!("cannot record the options: {error}")))?;
    Ok(bertology_run::sha256(&identity))
}

/// The teacher and the examples as it sees them.
struct Teacher {
    opened: Opened,
    corpus: Corpus,
}

/// What a model is trained with.
struct Input {
    train: Corpus,
    dev: Option<Corpus>,
    teacher: Option<Teacher>,
}

impl Input {
    fn open(args: &FinetuneArgs, opened: &Opened, screen: &Screen) -> Result<Self, Failure> {
        let train_args = data_args(args);
        let train = data::corpus(opened, &train_args, screen)?;
        let dev = match dev_args(args)? {
            Some(dev) => Some(data::corpus(opened, &dev, &Screen::silent())?),
            None => None,
        };
        let needs = [
            (args.patience.is_some(), "--patience"),
            (args.keep == args::KeepArg::Best, "--keep best"),
            (args.metric.is_some(), "--metric"),
        ];
        if let (None, Some((_, option))) = (&dev, needs.iter().find(|(given, _)| *given)) {
            return Err(Failure::input(format!(
                "{option} needs scores on the way, but there are no data to score; give --dev FILE"
            )));
        }
        if let Some(dev) = &dev {
            Metric::of(dev, args.metric.as_deref()).map_err(|e| failure(&e))?;
        }
        let teacher = match &args.distill {
            Some(name) => Some(teacher(args, name, &train_args, &train, screen)?),
            None => None,
        };
        Ok(Self {
            train,
            dev,
            teacher,
        })
    }

    fn data(&self) -> Data<'_> {
        Data {
            train: &self.train,
            dev: self.dev.as_ref(),
            teacher: self
                .teacher
                .as_ref()
                .map(|teacher| (&teacher.opened.model, &teacher.corpus)),
        }
    }

    fn identify(&self, run: &mut Run, seed: u64) -> Result<(), Failure> {
        run.set_corpus(&self.train, Some(seed));
        if let Some(dev) = &self.dev {
            run.identity.set("dev", json!(dev.info().sha256));
        }
        if let Some(teacher) = &self.teacher {
            run.identity.set("distill", json!(teacher.opened.sha256()?));
        }
        Ok(())
    }

    fn headline(&self, opened: &Opened) -> String {
        let mut text = study::headline(opened, &self.train);
        if let Some(dev) = &self.dev {
            text.push_str(&format!(
                "\ndev {}: {}",
                name(&dev.source().path().display().to_string()),
                plural(dev.examples(), study::unit(dev))
            ));
        }
        if let Some(teacher) = &self.teacher {
            text.push_str(&format!(
                "\nteacher: {}",
                name(&teacher.opened.located.name)
            ));
        }
        text
    }
}

fn teacher(
    args: &FinetuneArgs,
    of: &str,
    train_args: &DataArgs,
    train: &Corpus,
    screen: &Screen,
) -> Result<Teacher, Failure> {
    let Some(labels) = train.labels() else {
        return Err(Failure::input(
            "--distill: a teacher is asked for classes or a number of whole texts, and these data have none; leave it out",
        ));
    };
    let opened = Opened::new(&args.model.other(of), OpenAs::Declared, screen)?;
    let corpus = data::corpus(&opened, train_args, &Screen::silent())?;
    let own = corpus.labels().map(|labels| labels.names().to_vec());
    if own.as_deref() != Some(labels.names()) {
        return Err(Failure::input(format!(
            "--distill {of}: its classes are {}, those of the model to be trained {}; a teacher has the same in the same \
             order",
            own.unwrap_or_default().join(", "),
            labels.names().join(", ")
        )));
    }
    Ok(Teacher { opened, corpus })
}

/// Options of data for the library's reader.
fn data_args(args: &FinetuneArgs) -> DataArgs {
    DataArgs {
        source: args.source.clone(),
        ner: args.ner.clone(),
        squad: args.squad.clone(),
        sequence: args.sequence.clone(),
        objective: args.objective,
        mlm_probability: args.mlm_probability,
        ..DataArgs::default()
    }
}

/// The dev data: GLUE's, or a file of the kind of the training data.
fn dev_args(args: &FinetuneArgs) -> Result<Option<DataArgs>, Failure> {
    let mut dev = data_args(args);
    dev.source.limit = None;
    match (&args.dev, args.source.task.is_some()) {
        (Some(_), true) => Err(Failure::input(
            "--dev names a file, and --task has a dev split of its own; leave --dev out",
        )),
        (None, true) if args.source.split.as_deref() == Some("dev") => Err(Failure::input(
            "--split dev would train on what is scored; leave it out, or train on a table of your own",
        )),
        (None, true) => {
            dev.source.split = Some("dev".into());
            Ok(Some(dev))
        }
        (Some(path), false) => Ok(Some(dev.of_file(path.clone()))),
        (None, false) => Ok(None),
    }
}

fn options(args: &FinetuneArgs) -> Options {
    let default = Distillation::default();
    Options {
        epochs: u64::from(u32::from(args.epochs)),
        max_steps: args.max_steps.map(u64::from),
        batch_size: usize::from(args.batch_size),
        accumulation: usize::from(args.accumulate),
        adam: Adam {
            learning_rate: args.learning_rate,
            weight_decay: args.weight_decay,
            ..Adam::default()
        },
        decline: args.schedule.value(),
        warmup: args.warmup,
        max_norm: (args.max_grad_norm > 0.0).then_some(args.max_grad_norm),
        layer_decay: args.layer_decay,
        freeze: args.freeze.clone(),
        dropout: !args.no_dropout,
        seed: args.seed,
        evaluate_every: args.evaluate_every.map(u64::from),
        metric: args.metric.clone(),
        patience: args.patience.map(u32::from),
        keep: args.keep.value(),
        checkpoints: args.checkpoints,
        distillation: Distillation {
            temperature: args.temperature.unwrap_or(default.temperature),
            share: args.distill_share.unwrap_or(default.share),
            hidden: args.distill_hidden.unwrap_or(default.hidden),
        },
        work: command::work(&args.work),
    }
}

fn epoch(step: u64, trained: &Outcome) -> f64 {
    step as f64 / trained.steps_per_epoch as f64
}

fn tables(folder: &RunFolder, trained: &Outcome) -> Result<(), Failure> {
    let steps = trained.steps.iter().zip(1_u64..);
    let steps = steps.map(|(step, number)| TrainingStepRow {
        step: number,
        epoch: epoch(number, trained),
        loss: step.loss,
        rate: step.rate,
        norm: step.norm,
    });
    folder.write_table::<TrainingStepRow, _>(&[], steps)?;
    let names: Vec<String> = trained
        .evaluated
        .first()
        .map(|look| {
            look.metrics
                .iter()
                .map(|(name, _)| name.to_owned())
                .collect()
        })
        .unwrap_or_default();
    let looks = trained.evaluated.iter().enumerate();
    let looks = looks.map(|(at, look)| TrainingScoreRow {
        step: look.step,
        epoch: epoch(look.step, trained),
        loss: look.loss,
        chosen: trained.chosen == Some(at),
        metrics: More(
            look.metrics
                .iter()
                .map(|(_, value)| finite(value))
                .collect(),
        ),
    });
    Ok(folder.write_table::<TrainingScoreRow, _>(&names, looks)?)
}

fn outcome(trained: &Outcome, folder: &RunFolder, files: Vec<String>) -> FinetuneResults {
    let chosen = trained.chosen.and_then(|at| trained.evaluated.get(at));
    let begun = &trained.model.checkpoint().report().begun;
    FinetuneResults {
        steps: trained.steps.len() as u64,
        steps_per_epoch: trained.steps_per_epoch,
        examples: trained.examples,
        left_out: trained.left_out,
        metric: trained.metric.clone(),
        score: chosen.and_then(|look| finite(look.score)),
        metrics: chosen.map_or_else(results::Metrics::default, |look| {
            record::metrics(&look.metrics)
        }),
        stopped_early: trained.stopped_early,
        begun: begun.iter().map(|tensor| tensor.name.clone()).collect(),
        checkpoint: WrittenModel {
            folder: folder.path().display().to_string(),
            files,
            on_the_way: trained
                .checkpoints
                .iter()
                .filter_map(|(_, path)| path.strip_prefix(folder.path()).ok())
                .map(|path| path.display().to_string())
                .collect(),
            parameters: trained.model.model().parameters() as u64,
        },
    }
}

fn text(trained: &Outcome, outcome: &FinetuneResults) -> String {
    let mut lines = Vec::new();
    if let (Some(first), Some(last)) = (trained.steps.first(), trained.steps.last()) {
        lines.push(format!(
            "{} steps of {} examples: loss {:.4} at the first, {:.4} at the last",
            count(outcome.steps),
            count(outcome.examples),
            first.loss,
            last.loss
        ));
    }
    for (at, look) in trained.evaluated.iter().enumerate() {
        let metrics: Vec<String> = look
            .metrics
            .iter()
            .map(|(name, value)| format!("{name} {value:.4}"))
            .collect();
        let chosen = if trained.chosen == Some(at) && trained.evaluated.len() > 1 {
            "  written"
        } else {
            ""
        };
        lines.push(format!(
            "epoch {:<5} step {:<7} loss {:.4}  {}{chosen}",
            format!("{:.2}", epoch(look.step, trained)),
            look.step,
            look.loss,
            metrics.join("  ")
        ));
    }
    if trained.stopped_early {
        lines.push("ended before its last step, because the score was not better any more".into());
    }
    lines.join("\n")
}

/// The labels of GLUE's tasks as the hub names them, or as the files do.
fn task_labels(task: Task) -> Vec<String> {
    let names = match task.label_aliases() {
        [] => task.labels(),
        names => names,
    };
    names.iter().map(|name| (*name).to_owned()).collect()
}
