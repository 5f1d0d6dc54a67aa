//! Forward passes over a file of token ids, timed: `forward MODEL IDS [--observe WHAT] [--threads N]
//! [--repeats N] [--batch-tokens N]`.
//!
//! Each line of IDS is one sequence of token ids. The model is loaded once; then the file goes through it
//! `--repeats` times after a warm-up, in packed batches of at most about `--batch-tokens` (1024) tokens,
//! one batch a thread. WHAT is
//!
//! - `none`: what the task head says and nothing else;
//! - `statistics`: every hidden state is read (sums of squares) and every head's attention entropy is
//!   computed, while the values are hot;
//! - `everything`: every forward site is read;
//! - `capture`: every forward site is kept in memory until the pass over the file has ended.
//!
//! Prints one JSON object: seconds of each pass (loading excluded), tokens, peak memory, and numbers by
//! which other programs can be seen to have computed the same. `benches/peers/compare.py` runs it.

use std::error::Error;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bertology::LoadedModel;
use bertology::checkpoint::arch::{NormPlacement, TaskHead};
use bertology::drive::each;
use bertology::model::kernels::elementwise::dot;
use bertology::model::kernels::softmax::entropy;
use bertology::model::{
    Capture, Event, Interests, LayerSite, Model, ModelSite, Observer, PackedBatch, PassOptions,
    Sequence, Site, Workspace,
};
use serde_json::json;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Observe {
    None,
    Statistics,
    Everything,
    Capture,
}

struct Options {
    model: PathBuf,
    ids: PathBuf,
    observe: Observe,
    threads: usize,
    repeats: usize,
    batch_tokens: usize,
}

impl Options {
    fn parse() -> Result<Self, Box<dyn Error>> {
        let mut options = Self {
            model: PathBuf::new(),
            ids: PathBuf::new(),
            observe: Observe::None,
            threads: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            repeats: 1,
            batch_tokens: 1024,
        };
        let mut paths = Vec::new();
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            if !name.starts_with("--") {
                paths.push(PathBuf::from(name));
                continue;
            }
            let value = arguments.next().ok_or(format!("{name} needs a value"))?;
            match name.as_str() {
                "--observe" => {
                    options.observe = match value.as_str() {
                        "none" => Observe::None,
                        "statistics" => Observe::Statistics,
                        "everything" => Observe::Everything,
                        "capture" => Observe::Capture,
                        _ => return Err(format!("nothing to observe is called {value}").into()),
                    }
                }
                "--threads" => options.threads = value.parse::<NonZeroUsize>()?.get(),
                "--repeats" => options.repeats = value.parse::<NonZeroUsize>()?.get(),
                "--batch-tokens" => options.batch_tokens = value.parse::<NonZeroUsize>()?.get(),
                _ => return Err(format!("unknown option {name}").into()),
            }
        }
        let Ok([model, ids]) = <[PathBuf; 2]>::try_from(paths) else {
            return Err(
                "usage: forward MODEL IDS [--observe none|statistics|everything|capture] \
                        [--threads N] [--repeats N] [--batch-tokens N]"
                    .into(),
            );
        };
        Ok(Self {
            model,
            ids,
            ..options
        })
    }
}

/// One sequence a line.
fn read_ids(path: &Path) -> Result<Vec<Sequence>, Box<dyn Error>> {
    let text = std::fs::read_to_string(path)?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            let ids = line
                .split_whitespace()
                .map(str::parse)
                .collect::<Result<_, _>>()?;
            Ok(Sequence::new(ids))
        })
        .collect()
}

/// Batches of like size in file order, as many as keep all threads busy.
fn batches(
    model: &Model<f32>,
    sequences: &[Sequence],
    options: &Options,
) -> Result<Vec<PackedBatch>, Box<dyn Error>> {
    let total: usize = sequences.iter().map(Sequence::len).sum();
    let rounds = total.div_ceil(options.batch_tokens * options.threads);
    let count = rounds * options.threads;
    let mut parts: Vec<Vec<Sequence>> = vec![Vec::new(); count];
    let mut before = 0;
    for sequence in sequences {
        parts[before * count / total].push(sequence.clone());
        before += sequence.len();
    }
    parts
        .iter()
        .filter(|part| !part.is_empty())
        .map(|part| Ok(PackedBatch::new(model.architecture(), part)?))
        .collect()
}

/// Every site that this model has on the way up.
fn all_sites(model: &Model<f32>) -> Interests {
    let arch = model.architecture();
    let mut sites: Vec<Site> = vec![ModelSite::Embeddings.into()];
    sites.extend(
        [
            LayerSite::Query,
            LayerSite::Key,
            LayerSite::Value,
            LayerSite::AttentionScores,
            LayerSite::AttentionProbs,
            LayerSite::HeadOutput,
            LayerSite::AttentionOutput,
            LayerSite::MlpOutput,
            LayerSite::HiddenState,
        ]
        .map(Site::from),
    );
    if arch.norm == NormPlacement::Pre {
        sites.push(ModelSite::LastResidual.into());
    }
    match arch.head {
        TaskHead::None => {}
        TaskHead::SequenceClassification { .. } | TaskHead::NextSentence => {
            sites.push(ModelSite::Logits.into());
        }
        TaskHead::MaskedLm
        | TaskHead::CausalLm
        | TaskHead::TokenClassification { .. }
        | TaskHead::QuestionAnswering
        | TaskHead::ReplacedTokens => sites.push(ModelSite::TokenLogits.into()),
        TaskHead::PreTraining => {
            sites.push(ModelSite::Logits.into());
            sites.push(ModelSite::TokenLogits.into());
        }
    }
    sites.into_iter().fold(Interests::none(), Interests::value)
}

/// Reads everything that it is shown.
struct Reader {
    interests: Interests,
    /// Sum of squares of all that is finite there (causal scores are −∞ at unseen keys).
    squares: f64,
    /// Nats, over heads and queries.
    entropy: f64,
    queries: usize,
}

impl Reader {
    fn new(interests: Interests) -> Self {
        Self {
            interests,
            squares: 0.0,
            entropy: 0.0,
            queries: 0,
        }
    }
}

impl Observer<f32> for Reader {
    fn interests(&self) -> Interests {
        self.interests
    }

    fn observe(&mut self, event: &Event<'_, f32>) -> ControlFlow<()> {
        if event.tap.site() == Site::Layer(LayerSite::AttentionProbs) {
            self.entropy += event
                .value
                .iter_rows()
                .map(|row| f64::from(entropy(row)))
                .sum::<f64>();
            self.queries += event.value.rows();
            return ControlFlow::Continue(());
        }
        for row in event.value.iter_rows() {
            let square = f64::from(dot(row, row));
            if square.is_finite() {
                self.squares += square;
            }
        }
        ControlFlow::Continue(())
    }
}

/// What is left of one batch.
#[derive(Default)]
struct Found {
    /// Sum of |logit| of the sequence-level head.
    logits: f64,
    squares: f64,
    entropy: f64,
    queries: usize,
    kept: Option<Capture<f32>>,
}

fn run(
    model: &Model<f32>,
    batch: &PackedBatch,
    observe: Observe,
    workspace: &mut Workspace<f32>,
) -> Result<Found, bertology::model::Error> {
    let pass = PassOptions::default();
    let mut found = Found::default();
    let output = match observe {
        Observe::None => model.run(batch, &pass, workspace, &mut [])?,
        Observe::Statistics | Observe::Everything => {
            let mut reader = Reader::new(if observe == Observe::Everything {
                all_sites(model)
            } else {
                Interests::none()
                    .value(ModelSite::Embeddings)
                    .value(LayerSite::HiddenState)
                    .value(LayerSite::AttentionProbs)
            });
            let output = model.run(batch, &pass, workspace, &mut [&mut reader])?;
            found.squares = reader.squares;
            found.entropy = reader.entropy;
            found.queries = reader.queries;
            output
        }
        Observe::Capture => {
            let mut capture = Capture::new(all_sites(model));
            let output = model.run(batch, &pass, workspace, &mut [&mut capture])?;
            found.kept = Some(capture);
            output
        }
    };
    let logits = output
        .sequences
        .iter()
        .flat_map(|sequence| &sequence.logits);
    found.logits = logits.map(|logit| f64::from(logit.abs())).sum();
    Ok(found)
}

/// All batches; seconds, and what was found.
fn pass(
    model: &Model<f32>,
    batches: &[PackedBatch],
    options: &Options,
) -> Result<(f64, Vec<Found>), Box<dyn Error>> {
    let start = Instant::now();
    let mut results = Vec::with_capacity(batches.len());
    each(
        options.threads,
        batches.iter(),
        |workspace, batch| Ok(run(model, batch, options.observe, workspace)?),
        |found| {
            results.push(found);
            Ok(())
        },
    )?;
    Ok((start.elapsed().as_secs_f64(), results))
}

/// The most memory that the process ever held, where the system tells.
fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse()?;
    let loaded = LoadedModel::open(&options.model)?;
    let model = loaded.model();
    let sequences = read_ids(&options.ids)?;
    if sequences.is_empty() {
        return Err(format!("{} holds no sequence", options.ids.display()).into());
    }
    let batches = batches(model, &sequences, &options)?;
    pass(
        model,
        &batches[..batches.len().min(options.threads)],
        &options,
    )?;

    let mut seconds = Vec::with_capacity(options.repeats);
    let mut found = Vec::new();
    for _ in 0..options.repeats {
        // What the pass before has kept must not count as this one's memory.
        drop(std::mem::take(&mut found));
        let time;
        (time, found) = pass(model, &batches, &options)?;
        seconds.push(time);
    }
    let tokens: usize = sequences.iter().map(Sequence::len).sum();
    let sum = |part: fn(&Found) -> f64| found.iter().map(part).sum::<f64>();
    let queries: usize = found.iter().map(|found| found.queries).sum();
    let kept = found.iter().filter_map(|found| found.kept.as_ref());
    println!(
        "{}",
        json!({
            "passes_s": seconds,
            "sequences": sequences.len(),
            "tokens": tokens,
            "batches": batches.len(),
            "threads": options.threads,
            "peak_mib": peak_mib(),
            "logits_mean": sum(|found| found.logits) / sequences.len() as f64,
            "squares": sum(|found| found.squares),
            "entropy_mean": (queries > 0).then(|| sum(|found| found.entropy) / queries as f64),
            "values_kept": kept.map(|capture| capture.iter().count()).sum::<usize>(),
        })
    );
    Ok(())
}
