//! What is gained by really removing heads: a smaller model in memory and on disk, its size, its
//! score and its speed.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use bertology_checkpoint::{
    Architecture, HeadSet, OpenAs, OpenOptions, TaskHead, WriteOptions, WriteReport, write_pruned,
};
use bertology_model::{
    Capture, HeadId, HeadMask, Interests, LayerSite, ModelSite, Observer, PackedBatch, PassOptions,
    Sequence, Target, Workspace,
};
use serde::Serialize;

use crate::drive::{Work, each};
use crate::objective::Objective;
use crate::watch::Purpose;
use crate::{Error, LoadedModel, Watch};

/// Largest difference between the pruned model in memory and its checkpoint, relative to the largest
/// value compared, that rounding explains (f32 sums over other numbers of heads).
const VERIFY_TOLERANCE: f64 = 1e-4;

/// Sizes of a model before and after pruning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// Heads before.
    pub heads_before: usize,
    /// Heads after.
    pub heads_after: usize,
    /// Weights before, tied ones once.
    pub parameters_before: usize,
    /// Weights after.
    pub parameters_after: usize,
}

/// A model without some of its heads.
#[derive(Debug, Clone)]
pub struct Pruned {
    /// The smaller model, in memory; a fully pruned layer keeps only its output bias.
    pub model: LoadedModel,
    /// The heads removed now (not those that the checkpoint lacked already).
    pub removed: HeadSet,
    /// Sizes before and after.
    pub sizes: Sizes,
}

/// The heads that a mask switches off.
#[must_use]
pub fn masked_heads(mask: &HeadMask) -> HeadSet {
    mask.masked().map(|id| (id.layer, id.head)).collect()
}

/// Removes heads in memory. Heads that are gone already are accepted.
///
/// # Errors
/// A head that the unpruned model does not have.
pub fn prune(model: &LoadedModel, heads: &HeadSet) -> Result<Pruned, Error> {
    let ids = heads.iter().map(|(layer, head)| HeadId { layer, head });
    let pruned = model.without_heads(ids)?;
    let removed = heads
        .iter()
        .filter(|(layer, head)| {
            model.model().has_head(HeadId {
                layer: *layer,
                head: *head,
            })
        })
        .collect();
    Ok(Pruned {
        sizes: Sizes {
            heads_before: model.model().heads().count(),
            heads_after: pruned.model().heads().count(),
            parameters_before: model.model().parameters(),
            parameters_after: pruned.model().parameters(),
        },
        model: pruned,
        removed,
    })
}

/// How two models are timed against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimingOptions {
    /// Pairs of runs, at least 5.
    pub pairs: usize,
    /// Tokens put through a model at once.
    pub batch_tokens: usize,
    /// 0: all that the machine offers.
    pub threads: usize,
}

impl Default for TimingOptions {
    fn default() -> Self {
        Self {
            pairs: 7,
            batch_tokens: crate::drive::run::DEFAULT_BATCH_TOKENS,
            threads: 0,
        }
    }
}

/// Forward passes of two models over the same batches, one after the other in turn, alternately the
/// one and the other first, after one round to warm up that is not counted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timing {
    /// Sequences in a run.
    pub sequences: usize,
    /// Tokens in a run.
    pub tokens: usize,
    /// Threads.
    pub threads: usize,
    /// Seconds of each run of the whole model.
    pub before: Vec<f64>,
    /// Seconds of each run of the pruned model, in the same order.
    pub after: Vec<f64>,
    /// Median over the pairs of `before / after`: above 1 the pruned model is faster.
    pub speedup: f64,
    /// Smallest and largest ratio of a pair.
    pub range: (f64, f64),
}

/// Measures how much faster `after` is than `before`.
///
/// # Errors
/// No sequences, fewer than 5 pairs, sequences that do not fit the models, an interruption.
pub fn compare_speed(
    before: &LoadedModel,
    after: &LoadedModel,
    sequences: &[Sequence],
    options: &TimingOptions,
    watch: &mut dyn Watch,
) -> Result<Timing, Error> {
    let refuse = |option, value: usize, reason| {
        Err(Error::Option {
            option,
            value: value.to_string(),
            reason,
        })
    };
    if options.pairs < 5 {
        return refuse(
            "the number of timed pairs",
            options.pairs,
            "give at least 5",
        );
    }
    if sequences.is_empty() {
        return refuse("the number of timed sequences", 0, "give at least 1");
    }
    let threads = Work::threads(options.threads).all();
    let batches = batches(before.architecture(), sequences, options.batch_tokens)?;
    let total = options.pairs as u64;
    watch.begin(Purpose::Timing, 0, total);
    let mut timing = Timing {
        sequences: sequences.len(),
        tokens: batches.iter().map(PackedBatch::tokens).sum(),
        threads,
        before: Vec::new(),
        after: Vec::new(),
        speedup: f64::NAN,
        range: (f64::NAN, f64::NAN),
    };
    for pair in 0..=options.pairs {
        let (a, b) = if pair % 2 == 0 {
            let a = forward_seconds(before, &batches, threads)?;
            (a, forward_seconds(after, &batches, threads)?)
        } else {
            let b = forward_seconds(after, &batches, threads)?;
            (forward_seconds(before, &batches, threads)?, b)
        };
        if pair == 0 {
            continue;
        }
        timing.before.push(a);
        timing.after.push(b);
        if watch.advance(pair as u64, total).is_break() {
            return Err(Error::Interrupted {
                done: pair as u64,
                total,
            });
        }
    }
    let pairs = timing.before.iter().zip(&timing.after);
    let mut ratios: Vec<f64> = pairs.map(|(a, b)| a / b).collect();
    ratios.sort_by(f64::total_cmp);
    timing.speedup = median(&ratios);
    if let (Some(least), Some(most)) = (ratios.first(), ratios.last()) {
        timing.range = (*least, *most);
    }
    Ok(timing)
}

/// Of ascending numbers.
fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

fn batches(
    arch: &Architecture,
    sequences: &[Sequence],
    batch_tokens: usize,
) -> Result<Vec<PackedBatch>, Error> {
    let mut batches = Vec::new();
    let mut rest = sequences;
    while !rest.is_empty() {
        let mut tokens = 0;
        let fitting = rest.iter().take_while(|sequence| {
            let first = tokens == 0;
            tokens += sequence.len();
            first || tokens <= batch_tokens
        });
        let (batch, after) = rest.split_at(fitting.count());
        batches.push(PackedBatch::new(arch, batch)?);
        rest = after;
    }
    Ok(batches)
}

fn forward_seconds(
    model: &LoadedModel,
    batches: &[PackedBatch],
    threads: usize,
) -> Result<f64, Error> {
    let start = Instant::now();
    let (model, options) = (model.model(), PassOptions::default());
    each(
        threads,
        batches.iter(),
        |workspace, batch| Ok(model.run(batch, &options, workspace, &mut [])?),
        |_| Ok(()),
    )?;
    Ok(start.elapsed().as_secs_f64())
}

/// `count` sequences of `length` arbitrary tokens (at most the model's limit), the same at every
/// call: for timing and comparing models without data.
#[must_use]
pub fn synthetic_sequences(arch: &Architecture, count: usize, length: usize) -> Vec<Sequence> {
    let length = length.clamp(1, arch.max_tokens().max(1));
    // Padding is the one token that RoBERTa's positions treat otherwise.
    let pad = arch.pad_id.map_or(u64::MAX, u64::from);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut token = || loop {
        // Knuth's MMIX generator; the high bits are the good ones.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let id = (state >> 33) % arch.vocab_size.max(1) as u64;
        if id != pad || arch.vocab_size <= 1 {
            return id as u32;
        }
    };
    (0..count)
        .map(|_| Sequence::new((0..length).map(|_| token()).collect()))
        .collect()
}

/// A pruned checkpoint on disk.
#[derive(Debug, Clone, Serialize)]
pub struct Written {
    /// Files, sizes, heads.
    pub report: WriteReport,
    /// Sequences on which the checkpoint, opened again, was compared with the pruned model.
    pub compared: usize,
    /// Largest absolute difference of a final hidden state or logit between the two.
    pub largest_difference: f64,
}

/// Writes the checkpoint without `heads` into `folder`, opens it again, and compares what it
/// computes for `sequences` with the pruned model in memory.
///
/// The heads are removed from the checkpoint that `model` was opened from; heads that were removed
/// only in memory are removed too.
///
/// # Errors
/// What [`write_pruned`] refuses; [`Error::Verification`] if the two differ.
pub fn write(
    model: &LoadedModel,
    heads: &HeadSet,
    folder: &Path,
    options: &WriteOptions,
    sequences: &[Sequence],
) -> Result<Written, Error> {
    let mut all = heads.clone();
    all.extend(HeadSet::from(model.architecture().pruned_heads.clone()).iter());
    let pruned = prune(model, &all)?;
    let report = write_pruned(model.checkpoint(), &all, folder, options)?;
    let open_as = match model.architecture().head {
        TaskHead::None => OpenAs::Encoder,
        TaskHead::SequenceClassification { .. } => OpenAs::SequenceClassification,
        TaskHead::MaskedLm => OpenAs::MaskedLm,
        TaskHead::CausalLm => OpenAs::CausalLm,
        TaskHead::NextSentence => OpenAs::NextSentence,
        TaskHead::PreTraining | TaskHead::ReplacedTokens => OpenAs::PreTraining,
        TaskHead::TokenClassification { .. } => OpenAs::TokenClassification,
        TaskHead::QuestionAnswering => OpenAs::QuestionAnswering,
    };
    let reopened = OpenOptions::new().open_as(open_as).allow_unexpected(true);
    let reopened = LoadedModel::open_with(folder, &reopened)?;
    let mut largest_difference = 0.0_f64;
    for sequence in sequences {
        let (expected, found) = (
            outputs(&pruned.model, sequence)?,
            outputs(&reopened, sequence)?,
        );
        for (what, expected) in &expected {
            let found = found.get(what).map_or(&[][..], Vec::as_slice);
            let scale = expected
                .iter()
                .fold(1.0_f64, |max, v| max.max(f64::from(v.abs())));
            let difference = largest(expected, found);
            if difference.is_nan() || difference > VERIFY_TOLERANCE * scale {
                return Err(Error::Verification {
                    path: folder.to_owned(),
                    what,
                    difference,
                    allowed: VERIFY_TOLERANCE * scale,
                });
            }
            largest_difference = largest_difference.max(difference);
        }
    }
    Ok(Written {
        report,
        compared: sequences.len(),
        largest_difference,
    })
}

fn largest(expected: &[f32], found: &[f32]) -> f64 {
    if expected.len() != found.len() {
        return f64::INFINITY;
    }
    let differences = expected.iter().zip(found);
    differences.fold(0.0, |max, (a, b)| {
        let difference = (f64::from(*a) - f64::from(*b)).abs();
        if difference.is_nan() {
            f64::NAN
        } else {
            max.max(difference)
        }
    })
}

/// Tokens of a sequence whose loss is compared, where there is a head over the vocabulary: all of its
/// weights take part in each.
const COMPARED_TOKENS: usize = 4;

/// Final hidden state, logits where there are any, and the loss of a language model at the first
/// tokens.
fn outputs(
    model: &LoadedModel,
    sequence: &Sequence,
) -> Result<BTreeMap<&'static str, Vec<f32>>, Error> {
    let arch = model.architecture();
    let batch = PackedBatch::new(arch, std::slice::from_ref(sequence))?;
    let mut capture = Capture::new(
        Interests::none()
            .value(LayerSite::HiddenState)
            .value(ModelSite::Logits),
    );
    let observers: &mut [&mut dyn Observer<f32>] = &mut [&mut capture];
    let mut workspace = Workspace::new();
    let tokens = sequence.ids.iter().enumerate();
    let targets = [Target::Tokens(
        tokens
            .map(|(at, id)| (at < COMPARED_TOKENS).then_some(*id))
            .collect(),
    )];
    let reads_tokens = matches!(
        Objective::of(&arch.head),
        Some(Objective::CausalLm { .. } | Objective::MaskedLm { .. })
    );
    let options = PassOptions {
        targets: reads_tokens.then_some(&targets[..]),
        ..PassOptions::default()
    };
    let run = model
        .model()
        .run(&batch, &options, &mut workspace, observers)?;
    let mut outputs = BTreeMap::new();
    if let Some(loss) = run.sequences.first().and_then(|output| output.loss) {
        outputs.insert("the loss", vec![loss as f32]);
    }
    for (_, tap, _, _, value) in capture.iter() {
        let what = match tap {
            bertology_model::Tap::Model(_) => "the logits",
            // Layers come in order: the last one stays.
            bertology_model::Tap::Layer(..) => "the final hidden states",
        };
        outputs.insert(what, value.data.clone());
    }
    Ok(outputs)
}
