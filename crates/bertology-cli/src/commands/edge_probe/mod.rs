//! `bertology edge-probe`: what every layer knows of the structure of sentences.

mod args;
mod results;
mod suite;
mod text;

use std::path::{Path, PathBuf};

use bertology::OpenAs;
use bertology::input::spans::LongRecords;
use bertology_run::studies::edge::{
    DECISIONS, EdgeExampleRow, EdgeLabelRow, EdgeLayerRow, EdgeScoreRow, EdgeStratumRow,
    EdgeWeightRow, PROBABILITIES,
};
use bertology_run::table::Row as _;
use bertology_train::Precision;
use bertology_train::edge::experiment::{self, Controls, Options, Task};
use bertology_train::edge::{Design, Room, StateOptions};
use serde_json::json;
use tempfile::TempDir;

use crate::args::CacheDtypeArg;
use crate::command;
use crate::commands::Done;
use crate::failure::Failure;
use crate::interrupt::{self, Graceful};
use crate::npy;
use crate::record::{Clock, Run};
use crate::run_folder::{self, Earlier, RunFolder};
use crate::session::{Opened, train_failure};
use crate::show::Screen;
use crate::show::text::{plural, seconds};
use crate::watcher::Watcher;

pub(crate) use args::{ABOUT, ControlArg, EdgeProbeArgs};

pub(crate) fn run(args: EdgeProbeArgs, screen: &Screen) -> Result<Done, Failure> {
    let clock = Clock::start();
    args.parts
        .refuse("training goes through the records one after the other")?;
    command::check_output(&args.output, args.resume.resume)?;
    let tasks = suite::tasks(&args)?;
    let options = options(&args)?;
    let opened = Opened::new(&args.model, OpenAs::DeclaredOrEncoder, screen)?;
    let mut run = Run::new("edge-probe", &args, clock, &opened)?;
    run.set_seed(Some(args.seed));
    let hashes = suite::hashes(&tasks)?;
    run.set_data(Some(suite::digest(&hashes)), json!({ "tasks": hashes }));
    let (folder, earlier) = command::open_output(&args.output, args.resume.resume, &run)?;
    let place = Place::open(folder.as_ref(), options.controls.untrained)?;
    if let Earlier::Complete(document) = earlier {
        if !args.keep_cache {
            // Killed at its very end, a run has not removed them.
            place.clear()?;
        }
        screen.note("this run is complete already; nothing to resume");
        return Ok(document.into());
    }
    if let (Some(folder), Earlier::Nothing) = (&folder, &earlier) {
        // States and trainings are the state; this says whose they are.
        folder.begin(&run.identity, json!({}), run.model_folder())?;
    }
    let graceful = Graceful::begin();
    screen.say(&headline(&opened, &tasks));
    run.clock.lap("load");
    let mut watcher = Watcher::new(screen).of("sequence");
    let found = {
        let mut tell = |room: &Room| screen.say(&text::room(room));
        let (model, watch) = (&opened.model, &mut watcher);
        experiment::run(model, &tasks, &options, &place.path, &mut tell, watch)
    };
    if let Some(failure) = watcher.into_failure() {
        return Err(failure);
    }
    screen.stop();
    let found = match found {
        Ok(found) => found,
        Err(_) if interrupt::requested() => {
            return Err(command::interrupted(
                "keeping states and trainings",
                folder.as_ref(),
            ));
        }
        Err(error) => return Err(train_failure(&error)),
    };
    drop(graceful);
    let time = run.clock.lap("probes");
    let tables = results::Tables::of(&found);
    let causal = opened.model.architecture().causal;
    let outcome = results::results(
        &found,
        results::probe(&found, args.standardize, causal),
        args.resamples,
    );
    let document = run.document(&outcome);
    if let Some(folder) = &folder {
        folder.write_table::<EdgeLayerRow, _>(&[], &tables.layers)?;
        folder.write_table::<EdgeScoreRow, _>(&[], &tables.scores)?;
        folder.write_table::<EdgeLabelRow, _>(&[], &tables.labels)?;
        folder.write_table::<EdgeStratumRow, _>(&[], &tables.strata)?;
        folder.write_table::<EdgeWeightRow, _>(&[], &tables.weights)?;
        folder.write_table::<EdgeExampleRow, _>(&[], &tables.examples)?;
        let (shape, decisions) = results::decisions(&found);
        folder.write(DECISIONS, &npy::encode(&shape, &decisions))?;
        let layers = found.tasks.first().map_or(0, |task| task.norms.len());
        let shape = [tables.examples.len(), layers, 2];
        folder.write(PROBABILITIES, &npy::encode(&shape, &tables.probabilities))?;
    }
    let document = run_folder::complete(folder.as_ref(), document)?;
    // Only now: until then they are what a killed run goes on with.
    if !args.keep_cache {
        place.clear()?;
    }
    screen.say(&format!("\n{}", text::text(&outcome, &tables)));
    for task in found.tasks.iter().filter(|task| task.traces.is_none()) {
        screen.note(&format!(
            "{}: {} are too many to be told one by one: {} is without them; score fewer records, or take fewer --seeds",
            task.name,
            plural(task.split().targets() as u64, "target"),
            EdgeExampleRow::FILE
        ));
    }
    if causal {
        screen.note(bertology_report::CAUSAL);
    }
    screen.say(&format!("\n{}", seconds(time)));
    crate::commands::say_folder(folder.as_ref(), screen);
    Ok(document.into())
}

fn options(args: &EdgeProbeArgs) -> Result<Options, Failure> {
    let wanted = |control: ControlArg| {
        let all = args.controls.contains(&ControlArg::All);
        all || args.controls.contains(&control)
    };
    if args.controls.contains(&ControlArg::None) && args.controls.len() > 1 {
        return Err(Failure::input(
            "--controls: none and others contradict each other; give one or the other",
        ));
    }
    let hidden = usize::from(args.hidden);
    let first = args.seed;
    Ok(Options {
        design: Design {
            pooling: args.pooling.value(),
            projection: hidden,
            classifier: args.probe.value(hidden),
            output: args.decide.value(),
            ..Design::default()
        },
        profile: args.profile.value(),
        epochs: args.epochs.map(u32::from),
        seeds: (0..u64::from(u16::from(args.seeds)))
            .map(|at| first.wrapping_add(at))
            .collect(),
        single: args.single_layers,
        standardize: args.standardize,
        known: args.labels.value(),
        spans: args.reading.options(LongRecords::Error),
        states: StateOptions {
            precision: match args.cache_dtype {
                CacheDtypeArg::F16 => Precision::F16,
                CacheDtypeArg::F32 => Precision::F32,
            },
            layer_zero: args.layer0.value(),
            last_layer: args.last_layer.value(),
            variant: None,
        },
        controls: Controls {
            untrained: if wanted(ControlArg::RandomEncoder) {
                args.random_encoder
            } else {
                0
            },
            shuffled: wanted(ControlArg::Shuffled),
            control: wanted(ControlArg::ControlTask),
            words: wanted(ControlArg::Words),
            code: wanted(ControlArg::CodeLength),
        },
        score_dev: args.paper_dev,
        allow_dropped: args.allow_dropped,
        work: command::work(&args.work),
    })
}

/// Where states and trainings are kept while the command runs.
struct Place {
    path: PathBuf,
    /// Of a run without an output folder; removed with this.
    _temporary: Option<TempDir>,
    untrained: u32,
}

impl Place {
    fn open(folder: Option<&RunFolder>, untrained: u32) -> Result<Self, Failure> {
        let (path, temporary) = match folder {
            Some(folder) => (folder.path().to_owned(), None),
            None => {
                let failed =
                    |error| Failure::io("create a folder in", &std::env::temp_dir(), &error);
                let temporary = tempfile::tempdir().map_err(failed)?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        Ok(Self {
            path,
            _temporary: temporary,
            untrained,
        })
    }

    fn clear(&self) -> Result<(), Failure> {
        experiment::remove(&self.path, self.untrained).map_err(|error| train_failure(&error))
    }
}

fn headline(opened: &Opened, tasks: &[Task]) -> String {
    let (layers, _) = opened.shape();
    let mut text = format!(
        "{}: {}, states of {} of them",
        opened.located.name,
        plural(layers as u64, "block"),
        layers + 1
    );
    for task in tasks {
        let name = |path: &Path| path.display().to_string();
        text.push_str(&format!(
            "\n{}: train {}, dev {}",
            task.name,
            name(task.train.path()),
            name(task.dev.path())
        ));
        if let Some(test) = &task.test {
            text.push_str(&format!(", test {}", name(test.path())));
        }
    }
    text
}
