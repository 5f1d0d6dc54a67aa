//! `bertology bench`: how fast a model is, and whether another one is faster.

mod args;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use bertology::timing::{
    Load, Times, TimingOptions, measure, percentile, random_sequences, speed_ratio,
};
use bertology::{Error, LoadedModel, Objective, OpenAs};
use bertology_report::times_as_fast;
use bertology_run::results::finite;
use bertology_run::studies::bench::{BenchCell, BenchResults, BenchRow, BenchedModel};
use serde_json::json;

use crate::args::ModelArgs;
use crate::command;
use crate::commands::Done;
use crate::failure::Failure;
use crate::interrupt::{self, Graceful};
use crate::record::{Clock, Run};
use crate::run_folder;
use crate::session::{self, Opened, failure};
use crate::show::Screen;
use crate::show::text::{bytes, count, plural, seconds};
use crate::watcher::Watcher;

pub(crate) use args::{ABOUT, BenchArgs};

/// Of the intervals of all cells together: a run of two equal models shall seldom claim anything anywhere.
const COVERAGE: f64 = 0.95;
/// Tokens of a sequence where nothing else is said.
const LENGTH: usize = 128;
const OPEN_AS: OpenAs = OpenAs::DeclaredOrEncoder;

/// A size of batch with a length.
#[derive(Debug, Clone, Copy)]
struct Cell {
    batch_size: usize,
    length: usize,
}

pub(crate) fn run(args: BenchArgs, screen: &Screen) -> Result<Done, Failure> {
    let clock = Clock::start();
    args.parts
        .refuse("parts of a run on several machines say nothing of the speed of one")?;
    command::check_output(&args.output, false)?;
    session::say_precision(&args.computing, screen);
    let opened = open(&args, screen)?;
    let located = opened.iter().map(|(_, opened)| &opened.located);
    session::refuse_within(&args.output, located)?;
    let cells = cells(&args, &opened)?;
    let loads = loads(&cells, &opened, args.seed, screen)?;
    let mut run = Run::new("bench", &args, clock, &opened[0].1)?;
    run.set_seed(Some(args.seed));
    if let Some((_, other)) = opened.get(1) {
        run.identity.set("against", json!(other.sha256()?));
    }
    let models = models(&opened)?;
    let (folder, _) = command::open_output(&args.output, false, &run)?;
    screen.say(&headline(&models));
    run.clock.lap("load");
    let graceful = Graceful::begin();
    let mut watcher = Watcher::new(screen);
    let sources: Vec<_> = opened
        .iter()
        .map(|(named, opened)| {
            let folder = opened.located.folder.clone();
            (folder, session::options(named, OPEN_AS))
        })
        .collect();
    // Each is opened again and again; once more would be one too many in memory.
    drop(opened);
    let mut options = TimingOptions::default();
    options.rounds = args.rounds.map(usize::from);
    options.threads = args.threads.map_or(0, usize::from);
    let found = measure(
        |at| {
            let model = LoadedModel::open_with(&sources[at].0, &sources[at].1)?;
            model
                .in_precision(args.computing.precision)?
                .on(&args.computing.place.device)
        },
        sources.len(),
        &loads,
        &options,
        &mut watcher,
    );
    screen.stop();
    let found = found.map_err(|error| stopped(&error))?;
    drop(graceful);
    let time = run.clock.lap("timing");
    let results = results(&cells, models, found, args.seed);
    let rows = rows(&results);
    let document = run.document(&results);
    if let Some(folder) = &folder {
        // Only now: until then an interruption leaves everything as it was.
        folder.begin(&run.identity, json!({}), run.model_folder())?;
        folder.write_table::<BenchRow, _>(&[], &rows)?;
    }
    let document = run_folder::complete(folder.as_ref(), document)?;
    screen.say(&format!("\n{}\n{}", text(&results, &rows), seconds(time)));
    crate::commands::say_folder(folder.as_ref(), screen);
    Ok(document.into())
}

fn stopped(error: &Error) -> Failure {
    if interrupt::requested() {
        return Failure::Interrupted("interrupted while timing; nothing is written".into());
    }
    failure(error)
}

/// The model, and the one that it is held against, each with how it was named.
fn open(args: &BenchArgs, screen: &Screen) -> Result<Vec<(ModelArgs, Opened)>, Failure> {
    let mut named = vec![args.model.clone()];
    named.extend(args.against.iter().map(|other| args.model.other(other)));
    let mut all = Vec::new();
    for named in named {
        let (computing, silent) = (&args.computing, Screen::silent());
        // Where both are is said once.
        let of = if all.is_empty() { screen } else { &silent };
        let opened = Opened::new(&named, OPEN_AS, screen)?
            .in_precision(computing.precision)?
            .on(&computing.place, of)?;
        all.push((named, opened));
    }
    Ok(all)
}

fn cells(args: &BenchArgs, opened: &[(ModelArgs, Opened)]) -> Result<Vec<Cell>, Failure> {
    let limits = opened.iter().map(|(_, opened)| {
        let limit = opened.model.architecture().max_tokens();
        (limit, opened.located.name.as_str())
    });
    let (limit, name) = limits.min_by_key(|(limit, _)| *limit).unwrap_or_default();
    let lengths: Vec<usize> = match &args.lengths[..] {
        [] => vec![LENGTH.min(limit)],
        given => given.iter().copied().map(NonZeroUsize::get).collect(),
    };
    if let Some(length) = lengths.iter().find(|length| **length > limit) {
        return Err(Failure::input(format!(
            "--lengths {length}: {name} reads no more than {limit} tokens; give at most that"
        )));
    }
    let sizes: Vec<usize> = args
        .batch_sizes
        .iter()
        .copied()
        .map(NonZeroUsize::get)
        .collect();
    for (option, values) in [("--lengths", &lengths), ("--batch-sizes", &sizes)] {
        let mut seen = BTreeSet::new();
        if let Some(twice) = values.iter().find(|value| !seen.insert(**value)) {
            return Err(Failure::input(format!(
                "{option}: {twice} is given twice; leave one out"
            )));
        }
    }
    let of = |length: usize| {
        sizes
            .iter()
            .map(move |&batch_size| Cell { batch_size, length })
    };
    Ok(lengths.into_iter().flat_map(of).collect())
}

/// The same random tokens for all models: those that each of them has, special ones excepted.
fn loads(
    cells: &[Cell],
    opened: &[(ModelArgs, Opened)],
    seed: u64,
    screen: &Screen,
) -> Result<Vec<Load>, Failure> {
    let sizes: Vec<usize> = opened
        .iter()
        .map(|(_, opened)| opened.model.architecture().vocab_size)
        .collect();
    let vocabulary = sizes.iter().copied().min().unwrap_or_default();
    if sizes.iter().any(|size| *size != vocabulary) {
        screen.note(&format!(
            "the models have vocabularies of {}; tokens are drawn from the first {}",
            sizes
                .iter()
                .map(|size| count(*size as u64))
                .collect::<Vec<_>>()
                .join(" and "),
            count(vocabulary as u64)
        ));
    }
    let special: Vec<u32> = opened
        .iter()
        .flat_map(|(_, opened)| special(&opened.model))
        .collect();
    let language = opened.iter().all(|(_, opened)| {
        let head = &opened.model.architecture().head;
        matches!(
            Objective::of(head),
            Some(Objective::CausalLm { .. } | Objective::MaskedLm { .. })
        )
    });
    let load = |cell: &Cell| {
        let (size, length) = (cell.batch_size, cell.length);
        Ok(Load {
            sequences: random_sequences(vocabulary, &special, size, length, seed)
                .map_err(|e| failure(&e))?,
            of_second: None,
            batch_tokens: None,
            token_logits: language,
        })
    };
    cells.iter().map(load).collect()
}

fn special(model: &LoadedModel) -> Vec<u32> {
    let mut ids: Vec<Option<u32>> = vec![model.architecture().pad_id];
    if let Ok(tokenizer) = model.tokenizer() {
        ids.extend([
            tokenizer.bos_id(),
            tokenizer.eos_id(),
            tokenizer.pad_id(),
            tokenizer.cls_id(),
            tokenizer.sep_id(),
            tokenizer.mask_id(),
            tokenizer.unk_id(),
        ]);
    }
    ids.into_iter().flatten().collect()
}

fn models(opened: &[(ModelArgs, Opened)]) -> Result<Vec<BenchedModel>, Failure> {
    let model = |(_, opened): &(ModelArgs, Opened)| {
        let model = opened.model.model();
        Ok(BenchedModel {
            name: opened.located.name.clone(),
            sha256: opened.sha256()?,
            parameters: model.parameters() as u64,
            heads: model.heads().count() as u64,
        })
    };
    opened.iter().map(model).collect()
}

/// The most memory that the process ever held, where the system tells.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn results(
    cells: &[Cell],
    models: Vec<BenchedModel>,
    found: Vec<Times>,
    seed: u64,
) -> BenchResults {
    // Bonferroni: what each may miss adds up.
    let each = 1.0 - (1.0 - COVERAGE) / cells.len().max(1) as f64;
    let threads = found.first().map_or(0, |times| times.threads as u64);
    let cell = |(cell, times): (&Cell, Times)| {
        let ratio = match &times.seconds[..] {
            [before, after] => speed_ratio(before, after, each, seed),
            _ => None,
        };
        BenchCell {
            batch_size: cell.batch_size as u64,
            length: cell.length as u64,
            speed: ratio.and_then(|found| finite(found.ratio)),
            interval: ratio.map(|found| (found.low, found.high)),
            seconds: times.seconds,
        }
    };
    BenchResults {
        models,
        threads,
        peak_bytes: peak_bytes(),
        coverage: COVERAGE,
        cells: cells.iter().zip(found).map(cell).collect(),
    }
}

fn rows(results: &BenchResults) -> Vec<BenchRow> {
    let row = |cell: &BenchCell, model: usize, times: &[f64]| {
        let mut sorted = times.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| percentile(&sorted, share);
        let each_second = cell.batch_size as f64 / at(0.5);
        let of_other = |value: Option<f64>| value.filter(|_| model == 1);
        BenchRow {
            model,
            batch_size: cell.batch_size,
            length: cell.length,
            rounds: times.len() as u64,
            p50_ms: at(0.5) * 1e3,
            p90_ms: at(0.9) * 1e3,
            p99_ms: at(0.99) * 1e3,
            examples_per_second: each_second,
            tokens_per_second: each_second * cell.length as f64,
            speed: of_other(cell.speed),
            low: of_other(cell.interval.map(|(low, _)| low)),
            high: of_other(cell.interval.map(|(_, high)| high)),
        }
    };
    let mut rows = Vec::new();
    for cell in &results.cells {
        let all = cell.seconds.iter().enumerate();
        rows.extend(all.map(|(model, times)| row(cell, model, times)));
    }
    rows
}

fn headline(models: &[BenchedModel]) -> String {
    let lines = models.iter().zip(["", "against "]).map(|(model, what)| {
        format!(
            "{what}{}: {}, {} parameters",
            model.name,
            plural(model.heads, "head"),
            count(model.parameters)
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn text(results: &BenchResults, rows: &[BenchRow]) -> String {
    let mut lines = vec![format!(
        "{:>5}  {:>6}  {:<7}  {:>6}  {:>9}  {:>9}  {:>9}  {:>10}  {:>10}",
        "batch",
        "length",
        "model",
        "rounds",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "examples/s",
        "tokens/s"
    )];
    let lines_of = |row: &BenchRow| {
        format!(
            "{:>5}  {:>6}  {:<7}  {:>6}  {:>9.2}  {:>9.2}  {:>9.2}  {:>10.1}  {:>10.0}",
            row.batch_size,
            row.length,
            if row.model == 0 { "model" } else { "against" },
            row.rounds,
            row.p50_ms,
            row.p90_ms,
            row.p99_ms,
            row.examples_per_second,
            row.tokens_per_second
        )
    };
    lines.extend(rows.iter().map(lines_of));
    let ratios: Vec<String> = results
        .cells
        .iter()
        .filter_map(|cell| {
            let told = times_as_fast(cell.speed?, cell.interval?);
            let (size, length) = (cell.batch_size, cell.length);
            Some(format!("{size:>5}  {length:>6}  {told}"))
        })
        .collect();
    if let Some(other) = results.models.get(1)
        && !ratios.is_empty()
    {
        let together = match ratios.len() {
            1 => "95 % interval".to_owned(),
            many => format!("95 % intervals for all {many} together"),
        };
        lines.push(format!(
            "\n{} against {} ({together})\nbatch  length",
            other.name, results.models[0].name
        ));
        lines.extend(ratios);
    }
    let of = match results.models.len() {
        1 => "",
        _ => ", with both models in it",
    };
    let threads = plural(results.threads, "thread");
    lines.push(match results.peak_bytes {
        Some(peak) => format!(
            "\n{threads}; peak memory of the process{of}: {}",
            bytes(peak)
        ),
        None => format!("\n{threads}"),
    });
    lines.join("\n")
}
