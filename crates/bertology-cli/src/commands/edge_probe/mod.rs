//! `bertology edge-probe`: what every layer knows of the structure of sentences.

mod args;
mod results;
mod suite;
mod text;

use std::fs;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};

use bertology::OpenAs;
use bertology::input::spans::LongRecords;
use bertology_run::studies::edge::{
    DECISIONS, EdgeExampleRow, EdgeLabelRow, EdgeLayerRow, EdgeScoreRow, EdgeStratumRow,
    EdgeWeightRow, LABEL_PROBABILITIES, PROBABILITIES,
};
use bertology_run::table::{self, Row as _};
use bertology_train::Precision;
use bertology_train::edge::experiment::{self, Controls, Options, Outcome, Task};
use bertology_train::edge::{Design, Room, StateOptions};
use half::f16;
use serde_json::json;
use tempfile::TempDir;

use crate::args::CacheDtypeArg;
use crate::command;
use crate::commands::Done;
use crate::failure::Failure;
use crate::interrupt::{self, Graceful};
use crate::npy::{self, Element as _};
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
    let opened = Opened::new(&args.model, OpenAs::DeclaredOrEncoder, screen)?
        .computing(&args.computing, screen)?;
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
        write_examples(folder, &found)?;
        if args.label_probabilities {
            write_probabilities(folder, &found)?;
        }
        let (shape, decisions) = results::decisions(&found);
        folder.write(DECISIONS, &npy::encode(&shape, &decisions))?;
    }
    let document = run_folder::complete(folder.as_ref(), document)?;
    // Only now: until then they are what a killed run goes on with.
    if !args.keep_cache {
        place.clear()?;
    }
    screen.say(&format!("\n{}", text::text(&outcome, &tables)));
    if causal {
        screen.note(bertology_report::CAUSAL);
    }
    screen.say(&format!("\n{}", seconds(time)));
    crate::commands::say_folder(folder.as_ref(), screen);
    Ok(document.into())
}

/// The targets one by one, a row at a time: there may be many.
fn write_examples(folder: &RunFolder, found: &Outcome) -> Result<(), Failure> {
    let rows = || found.tasks.iter().flat_map(results::examples);
    let mut table = folder.stream(EdgeExampleRow::FILE)?;
    let mut text = table::header::<EdgeExampleRow>(&[]);
    for (row, _) in rows() {
        table::line(&mut text, &row);
        table.put(text.as_bytes())?;
        text.clear();
    }
    table.put(text.as_bytes())?;
    table.finish()?;
    let layers = found.tasks.first().map_or(0, |task| task.norms.len());
    let single = found.tasks.iter().map(|task| task.traces.single()).sum();
    let mut array = folder.stream(PROBABILITIES)?;
    let mut bytes = npy::header::<f32>(&[single, layers, 2]);
    for (_, pairs) in rows() {
        for value in pairs.as_flattened() {
            value.put(&mut bytes);
        }
        array.put(&bytes)?;
        bytes.clear();
    }
    array.put(&bytes)?;
    Ok(array.finish()?)
}

/// The probabilities of all labels, as wide as the task with most labels.
fn write_probabilities(folder: &RunFolder, found: &Outcome) -> Result<(), Failure> {
    let layers = found.tasks.first().map_or(0, |task| task.norms.len());
    let targets = found.tasks.iter().map(|task| task.split().targets()).sum();
    let labels = found.tasks.iter().map(|task| task.vocabulary.len()).max();
    let labels = labels.unwrap_or_default();
    let mut array = folder.stream(LABEL_PROBABILITIES)?;
    array.put(&npy::header::<f16>(&[targets, layers, labels]))?;
    for task in &found.tasks {
        let Some(path) = &task.probabilities else {
            continue;
        };
        let failed = |error| Failure::io("read", path, &error);
        let mut file = BufReader::new(bertology_file::open(path).map_err(failed)?);
        let own = task.vocabulary.len();
        let mut row = vec![0; own * 2];
        for _ in 0..labels - own {
            row.extend(f16::NAN.to_le_bytes());
        }
        for _ in 0..task.split().targets() * layers {
            file.read_exact(&mut row[..own * 2]).map_err(failed)?;
            array.put(&row)?;
        }
    }
    array.finish()?;
    for path in found
        .tasks
        .iter()
        .filter_map(|task| task.probabilities.as_ref())
    {
        // With --keep-cache they would stay twice.
        fs::remove_file(path).map_err(|error| Failure::io("remove", path, &error))?;
    }
    Ok(())
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
    let (pooling, later) = args.pooling.value();
    let first = args.seed;
    Ok(Options {
        design: Design {
            pooling,
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
        later,
        probabilities: args.label_probabilities,
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
