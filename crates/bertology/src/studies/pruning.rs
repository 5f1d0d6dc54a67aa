//! What is gained by really removing heads: a smaller model in memory and on disk, its size, its
//! score and its speed.

use std::collections::BTreeMap;
use std::path::Path;

use bertology_checkpoint::{
    Architecture, Checkpoint, Cut, Export, HeadSet, OpenAs, OpenOptions, TaskHead, WriteOptions,
    WriteReport, cut_file_bytes, write_cut,
};
use bertology_model::{
    Capture, HeadId, HeadMask, Interests, LayerSite, ModelSite, Observer, PackedBatch, PassOptions,
    Sequence, Target, Workspace,
};
use serde::Serialize;

use crate::drive::run::{DEFAULT_BATCH_TOKENS, DEVICE_BATCH_TOKENS};
use crate::objective::Objective;
use crate::studies::timing::{self, Load, SpeedRatio, TimingOptions};
use crate::{Corpus, Error, LoadedModel, Watch};

/// Largest difference between the pruned model in memory and its checkpoint, relative to the largest
/// value compared, that rounding explains (f32 sums over other numbers of heads).
const VERIFY_TOLERANCE: f64 = 1e-4;

/// Of the interval of the speed.
const COVERAGE: f64 = 0.95;

/// Examples, and of these tokens, that stand for data where models are timed and compared.
const EXAMPLES: usize = 256;
const TOKENS: usize = 2048;

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

impl Sizes {
    /// Of a model and what became of it.
    #[must_use]
    pub fn of(before: &LoadedModel, after: &LoadedModel) -> Self {
        let (before, after) = (before.model(), after.model());
        Self {
            heads_before: before.heads().count(),
            heads_after: after.heads().count(),
            parameters_before: before.parameters(),
            parameters_after: after.parameters(),
        }
    }
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
        sizes: Sizes::of(model, &pruned),
        model: pruned,
        removed,
    })
}

/// Forward passes of two models over the same inputs, as [`timing::measure`] takes them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timing {
    /// Sequences in a run.
    pub sequences: usize,
    /// Tokens in a run.
    pub tokens: usize,
    /// Threads.
    pub threads: usize,
    /// The device on which the pruned model ran, unless that was the processor.
    pub device: Option<String>,
    /// Seconds of each run of the whole model.
    pub before: Vec<f64>,
    /// Seconds of each run of the pruned model, in the same order.
    pub after: Vec<f64>,
    /// How many times as fast the pruned model is, with the 95 % interval of [`timing::speed_ratio`].
    pub speed: SpeedRatio,
}

/// Measures how much faster `after` is than `before`, batches of `batch_tokens` tokens one after the other: each where its passes
/// run.
///
/// # Errors
/// No sequences, fewer than 10 rounds, sequences that do not fit the models, an interruption.
pub fn compare_speed(
    before: &LoadedModel,
    after: &LoadedModel,
    sequences: &[Sequence],
    batch_tokens: Option<usize>,
    options: &TimingOptions,
    watch: &mut dyn Watch,
) -> Result<Timing, Error> {
    compare_speed_of(
        [before, after],
        [sequences; 2],
        batch_tokens,
        options,
        watch,
    )
}

/// [`compare_speed`] of models that read the same texts as tokens of their own.
///
/// # Errors
/// As [`compare_speed`].
pub fn compare_speed_of(
    [before, after]: [&LoadedModel; 2],
    [sequences, of_second]: [&[Sequence]; 2],
    batch_tokens: Option<usize>,
    options: &TimingOptions,
    watch: &mut dyn Watch,
) -> Result<Timing, Error> {
    // As much at a time as studies take there.
    let usual = match before.other_device() {
        None => DEFAULT_BATCH_TOKENS,
        Some(_) => DEVICE_BATCH_TOKENS,
    };
    let load = Load {
        sequences: sequences.to_vec(),
        of_second: Some(of_second.to_vec()),
        batch_tokens: Some(batch_tokens.unwrap_or(usual)),
        token_logits: false,
    };
    let open = |at| Ok(if at == 0 { before } else { after }.clone());
    let found = timing::measure(open, 2, &[load], options, watch)?;
    let device = after.other_device().map(|device| device.name);
    let none = || Error::Option {
        option: "the number of timed models",
        value: "0".into(),
        reason: "give two",
    };
    let times = found.into_iter().next().ok_or_else(none)?;
    let [before, after] = <[Vec<f64>; 2]>::try_from(times.seconds).map_err(|_| none())?;
    let speed = timing::speed_ratio(&before, &after, COVERAGE, 0).ok_or_else(none)?;
    Ok(Timing {
        sequences: times.sequences,
        tokens: times.tokens,
        threads: times.threads,
        device,
        before,
        after,
        speed,
    })
}

/// The first inputs of some data, at least one, that hold no more than 2,048 tokens together: for timing and comparing
/// models.
///
/// # Errors
/// What reading and encoding refuse.
pub fn first_sequences(corpus: &Corpus) -> Result<Vec<Sequence>, Error> {
    let mut sequences = corpus.sequences(EXAMPLES)?;
    let mut tokens = 0;
    let fitting = sequences.iter().take_while(|sequence| {
        tokens += sequence.len();
        tokens <= TOKENS
    });
    let count = fitting.count().max(1);
    sequences.truncate(count);
    Ok(sequences)
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

/// The heads, and those that are gone from the model already, in its files or in memory alone.
fn with_those_gone(model: &LoadedModel, heads: &HeadSet) -> HeadSet {
    let mut all = heads.clone();
    all.extend(HeadSet::from(model.architecture().pruned_heads.clone()).iter());
    all
}

/// Bytes of the weights file that [`write`](fn@write) writes without `heads` in this form. Nothing is written.
///
/// # Errors
/// A head that the unpruned model does not have; files that cannot be read.
pub fn file_bytes(model: &LoadedModel, heads: &HeadSet, export: Export) -> Result<u64, Error> {
    let all = with_those_gone(model, heads);
    Ok(cut_file_bytes(model.checkpoint(), &all.into(), export)?)
}

/// Writes the checkpoint without `heads` into `folder`, opens it again, and compares what it
/// computes for `sequences` with the pruned model in memory, both on the device of `model`.
///
/// The heads are removed from the checkpoint that `model` was opened from; heads that were removed
/// only in memory are removed too.
///
/// # Errors
/// What [`write_cut`] refuses; [`Error::Verification`] if the two differ.
pub fn write(
    model: &LoadedModel,
    heads: &HeadSet,
    folder: &Path,
    options: &WriteOptions,
    sequences: &[Sequence],
) -> Result<Written, Error> {
    let all = with_those_gone(model, heads);
    let pruned = prune(model, &all)?;
    write_compared(&pruned.model, &all.into(), folder, options, sequences)
}

/// Writes the checkpoint of `smaller` as `cut` says into `folder`, opens it again, and compares what it computes for
/// `sequences` with `smaller`, which is the model in memory after the same cut.
///
/// # Errors
/// What [`write_cut`] refuses; [`Error::Verification`] if the two differ.
pub fn write_compared(
    smaller: &LoadedModel,
    cut: &Cut,
    folder: &Path,
    options: &WriteOptions,
    sequences: &[Sequence],
) -> Result<Written, Error> {
    write_compared_with(
        smaller.checkpoint(),
        smaller,
        cut,
        folder,
        options,
        sequences,
    )
}

/// [`write_compared`] of another checkpoint than that which `smaller` was opened from.
///
/// # Errors
/// As [`write_compared`].
pub fn write_compared_with(
    checkpoint: &Checkpoint,
    smaller: &LoadedModel,
    cut: &Cut,
    folder: &Path,
    options: &WriteOptions,
    sequences: &[Sequence],
) -> Result<Written, Error> {
    let report = write_cut(checkpoint, cut, folder, options)?;
    let open_as = same_head(&smaller.architecture().head);
    let reopened = OpenOptions::new().open_as(open_as).allow_unexpected(true);
    // Two kinds of devices round differently, which is not what is looked for.
    let reopened = LoadedModel::open_with(folder, &reopened)?.placed_as(smaller)?;
    let mut largest_difference = 0.0_f64;
    for sequence in sequences {
        let (expected, found) = (outputs(smaller, sequence)?, outputs(&reopened, sequence)?);
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

/// To open another checkpoint with the head that a model has.
pub(crate) fn same_head(head: &TaskHead) -> OpenAs {
    match head {
        TaskHead::None => OpenAs::Encoder,
        TaskHead::SequenceClassification { .. } => OpenAs::SequenceClassification,
        TaskHead::MaskedLm => OpenAs::MaskedLm,
        TaskHead::CausalLm => OpenAs::CausalLm,
        TaskHead::NextSentence => OpenAs::NextSentence,
        TaskHead::PreTraining | TaskHead::ReplacedTokens => OpenAs::PreTraining,
        TaskHead::TokenClassification { .. } => OpenAs::TokenClassification,
        TaskHead::QuestionAnswering => OpenAs::QuestionAnswering,
    }
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
