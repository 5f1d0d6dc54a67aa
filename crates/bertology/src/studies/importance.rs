//! How much each head matters, and how spread its attention is.
//!
//! The importance of a head is the size of the gradient of the loss with respect to the head's mask
//! factor (Michel, Levy and Neubig 2019). With `g[e]` the signed gradient of example `e`'s own loss,
//! `a[e,s]` the share of position `s` in it (`g[e] = Σ_s a[e,s]`), `n` examples and `t` tokens:
//!
//! | granularity | raw score | source |
//! | --- | --- | --- |
//! | [`Example`](Granularity::Example) | `(1/n) Σ_e abs(g[e])` | the paper, equation 2 |
//! | [`Token`](Granularity::Token) | `(1/n) Σ_e Σ_s abs(a[e,s])` | the paper's BERT code |
//! | [`Batch`](Granularity::Batch) | `(1/t) Σ_b abs(mean of g over batch b)` | what `run_bertology.py` intends |
//! | [`Script`](Granularity::Script) | `(1/t) Σ_b abs(sum of the means of batches 1 to b)` | what it computes: gradients are never cleared |
//!
//! An example is a row with its label, or for language models a window with the mean loss over its
//! predicted tokens, for token classifiers a sentence with the mean loss over its labelled words, for question
//! answering a window with the loss of its span (see [`crate::objective`]); a batch's loss is the mean over its examples, which for
//! windows of equal length is the mean over its tokens, as in `run_prune_gpt.py`.
//!
//! `Batch` with one example a batch is `Example` times `n/t`, and so equal after any normalisation.
//! `Token ≥ Example ≥ (t/n) · Batch`, head by head. `Script` depends on the order of the data.
//!
//! Entropy is the mean over all queries of `-Σ_k p ln p` in nats, of the softmax before any mask.
//!
//! # How sure
//! Scores of examples differ, and with them those of other examples of the same kind would: [`Spread`] has the standard error of
//! each raw score over examples (`Batch`: over batches) and, from 200 replicates of them (see below), the middle 95 % of
//! normalised scores and ranks. Examples count as independent draws, windows of one text too. `Script`, where each batch
//! depends on all before it, has none. A replicate holds each example as often as a Poisson variable of mean 1 says, drawn
//! from its place in the file: the same at every run, however it is cut into parts.
//!
//! # Numerics
//! One f32 pass per example; sums in f64, in file order. Sums do not depend on threads; which
//! examples share a batch changes an example's numbers by rounding at most.

use bertology_model::{
    Event, HeadId, HeadMask, Interests, LayerSite, Sequence, SequenceOutput, Tap,
};
use serde::{Deserialize, Serialize};

use crate::drive::{Contribution, Lens, Progress, Study, Wants, Work, drive};
use crate::input::corpus::ExampleItem;
use crate::input::supply::Fate;
use crate::studies::evaluate::{Evaluation, Factors, MaskedModel, Reply, Scorer, Tally};
use crate::table::check_finite;
use crate::watch::Purpose;
use crate::{Corpus, Error, HeadTable, LoadedModel, Watch};

use spread::Sample;
pub use spread::{HeadIntervals, Spread};

mod spread;

/// What is summed before the absolute value is taken; see the [module](self).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Granularity {
    /// The positions of an example.
    #[default]
    Example,
    /// Nothing: every position counts for itself.
    Token,
    /// All positions of so many examples in file order; the last batch may be shorter.
    Batch {
        /// Examples.
        size: usize,
    },
    /// As `Batch`, and every batch adds to the signed sum of all before it.
    Script {
        /// Examples.
        size: usize,
    },
}

impl Granularity {
    fn batch_size(self) -> Option<usize> {
        match self {
            Self::Example | Self::Token => None,
            Self::Batch { size } | Self::Script { size } => Some(size),
        }
    }
}

impl std::fmt::Display for Granularity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Example => f.write_str("example"),
            Self::Token => f.write_str("token"),
            Self::Batch { size } => write!(f, "batch:{size}"),
            Self::Script { size } => write!(f, "script:{size}"),
        }
    }
}

/// How importance is computed.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct ImportanceOptions<'a> {
    /// What is summed before the absolute value.
    pub granularity: Granularity,
    /// A head mask; `None` keeps every head.
    pub mask: Option<&'a HeadMask>,
    /// Compute masked heads too: their output counts for nothing, but they have a gradient and so a
    /// score, as in the reference script. By default they are not computed and have no score.
    pub compute_masked: bool,
}

impl<'a> ImportanceOptions<'a> {
    /// The defaults with another granularity.
    #[must_use]
    pub fn new(granularity: Granularity) -> Self {
        Self {
            granularity,
            ..Self::default()
        }
    }

    /// With a head mask.
    #[must_use]
    pub fn mask(mut self, mask: &'a HeadMask) -> Self {
        self.mask = Some(mask);
        self
    }

    /// With masked heads computed or not.
    #[must_use]
    pub fn compute_masked(mut self, compute: bool) -> Self {
        self.compute_masked = compute;
        self
    }
}

/// Importance and entropy of every head, and the scores of the same pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    /// Scores before any normalisation; see [`crate::studies::normalize`]. Live are the heads computed.
    pub raw: HeadTable,
    /// Mean attention entropy over queries, in nats.
    pub entropy: HeadTable,
    /// How sure the scores are; none of [`Granularity::Script`] and of a single example.
    pub spread: Option<Spread>,
    /// What was summed before the absolute value.
    pub granularity: Granularity,
    /// Metrics, mean loss and counts.
    pub evaluation: Evaluation,
}

/// A partial result: it can be saved, loaded and continued.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImportanceState {
    granularity: Granularity,
    factors: Factors,
    /// Zeros; says which heads are computed.
    table: HeadTable,
    tally: Tally,
    /// Undivided scores, row-major `[layers, heads]`.
    scores: Vec<f64>,
    entropy: Vec<f64>,
    /// Signed sum over the examples of the unfinished batch.
    batch: Vec<f64>,
    in_batch: usize,
    /// `Script`: signed sum of the means of all finished batches.
    running: Vec<f64>,
    /// Place of the last example of the unfinished batch.
    last: [u64; 2],
    /// None of [`Granularity::Script`].
    sample: Option<Sample>,
}

impl ImportanceState {
    /// Nothing accumulated yet of a model under its mask.
    ///
    /// # Errors
    /// A batch size of 0, a model or mask without heads.
    pub fn new(
        model: &MaskedModel,
        corpus: &Corpus,
        granularity: Granularity,
    ) -> Result<Self, Error> {
        if granularity.batch_size() == Some(0) {
            return Err(Error::Option {
                option: "the batch size",
                value: "0".to_owned(),
                reason: "give at least 1 example a batch",
            });
        }
        let table = HeadTable::zeros(model.model().model());
        if table.live().next().is_none() {
            return Err(Error::NoHeads {
                path: model.model().checkpoint().folder().to_owned(),
                action: "score",
            });
        }
        let tally = Tally::with_intervals(Scorer::of(corpus));
        Ok(Self::zeros(
            granularity,
            model.factors().clone(),
            table,
            tally,
        ))
    }

    fn zeros(granularity: Granularity, factors: Factors, table: HeadTable, tally: Tally) -> Self {
        let zeros = table.values().to_vec();
        Self {
            granularity,
            factors,
            table,
            tally,
            scores: zeros.clone(),
            entropy: zeros.clone(),
            batch: zeros.clone(),
            in_batch: 0,
            last: [0; 2],
            sample: match granularity {
                Granularity::Script { .. } => None,
                _ => Some(Sample::new(zeros.len())),
            },
            running: zeros,
        }
    }

    /// What an example or a batch adds to every score.
    fn add_unit(&mut self, place: [u64; 2], signed: &[f64], factor: f64) {
        let values: Vec<f64> = signed.iter().map(|value| value.abs() * factor).collect();
        add(&mut self.scores, &values);
        if let Some(sample) = &mut self.sample {
            sample.observe(place, &values);
        }
    }

    fn close_batch(&mut self) {
        if self.in_batch == 0 {
            return;
        }
        let share = 1.0 / self.in_batch as f64;
        if let Granularity::Script { .. } = self.granularity {
            for (running, batch) in self.running.iter_mut().zip(&self.batch) {
                *running += batch * share;
            }
            add_absolute(&mut self.scores, &self.running);
        } else {
            let batch = std::mem::take(&mut self.batch);
            self.add_unit(self.last, &batch, share);
            self.batch = batch;
        }
        self.batch.fill(0.0);
        self.in_batch = 0;
    }
}

/// Sees how spread attention is, and hears what the model says.
#[derive(Debug)]
pub struct ImportanceLens {
    factors: Factors,
    /// Contributions of positions, too.
    positions: bool,
    layers: usize,
    heads: usize,
}

/// What one example contributes; tables are row-major `[layers, heads]`.
#[derive(Debug)]
pub struct ExampleScores {
    reply: Reply,
    /// Of the loss with respect to the mask factors.
    gradient: Vec<f64>,
    /// Sums over positions of absolute contributions to it; empty unless wanted.
    positions: Vec<f64>,
    /// Sums over queries, in nats.
    entropy: Vec<f64>,
}

impl Lens for ImportanceLens {
    type Item = ExampleItem;
    type Part = ExampleScores;

    fn wants(&self) -> Wants<'_> {
        let mut interests = Interests::none().value(LayerSite::AttentionEntropy);
        if self.positions {
            interests = interests.gradient(LayerSite::HeadMask);
        }
        Wants {
            interests,
            outputs: true,
            mask_gradients: true,
            masking: self.factors.get(),
            ..Wants::default()
        }
    }

    fn begin(&self, _: &ExampleItem, _: &Sequence) -> Result<ExampleScores, Error> {
        let cells = self.layers * self.heads;
        Ok(ExampleScores {
            reply: Reply::default(),
            gradient: Vec::new(),
            positions: vec![0.0; if self.positions { cells } else { 0 }],
            entropy: vec![0.0; cells],
        })
    }

    fn see(&self, _: &ExampleItem, part: &mut ExampleScores, event: &Event<'_, f32>) {
        let (Tap::Layer(layer, site), Some(head)) = (event.tap, event.head) else {
            return;
        };
        let cell = layer * self.heads + head;
        let rows = event.value.iter_rows();
        if site == LayerSite::HeadMask {
            part.positions[cell] = rows.flatten().map(|v| f64::from(v.abs())).sum();
        } else {
            part.entropy[cell] = rows.flatten().map(|v| f64::from(*v)).sum();
        }
    }

    fn output(
        &self,
        item: &ExampleItem,
        part: &mut ExampleScores,
        _: Option<HeadId>,
        output: &SequenceOutput<f32>,
    ) -> Result<(), Error> {
        part.reply.hear(item, output)?;
        part.gradient = output.mask_gradient.clone().unwrap_or_default();
        Ok(())
    }

    fn close(&self, _: &ExampleItem, part: &mut ExampleScores) -> Result<(), Error> {
        check_finite("gradient", &part.gradient, self.heads)?;
        check_finite("gradient", &part.positions, self.heads)?;
        check_finite("entropy", &part.entropy, self.heads)
    }
}

impl Study for ImportanceState {
    type Lens = ImportanceLens;
    type Found = Importance;

    const PURPOSE: Purpose = Purpose::Importance;

    fn lens(&self) -> ImportanceLens {
        ImportanceLens {
            factors: self.factors.clone(),
            positions: self.granularity == Granularity::Token,
            layers: self.table.layers(),
            heads: self.table.heads(),
        }
    }

    fn empty(&self) -> Self {
        let (factors, table) = (self.factors.clone(), self.table.clone());
        Self::zeros(self.granularity, factors, table, self.tally.empty())
    }

    /// Whole batches; with [`Granularity::Script`] the whole corpus.
    fn chunk(&self, wanted: u64) -> u64 {
        match self.granularity {
            Granularity::Example | Granularity::Token => wanted,
            Granularity::Batch { size } => wanted
                .checked_next_multiple_of(size as u64)
                .unwrap_or(u64::MAX),
            Granularity::Script { .. } => u64::MAX,
        }
    }

    /// Where units are questions with several windows, no chunk is a number of whole batches: its last one may be
    /// shorter.
    fn close_chunk(&mut self) -> Result<(), Error> {
        if matches!(self.granularity, Granularity::Batch { .. }) && self.tally.of_windows() {
            self.close_batch();
        }
        Ok(())
    }

    fn agrees(&self, fresh: &Self) -> Result<(), Error> {
        if self.granularity != fresh.granularity {
            return Error::state_mismatch(
                "the granularity",
                self.granularity.to_string(),
                fresh.granularity.to_string(),
            );
        }
        let cells = fresh.table.values().len();
        let lengths = [&self.scores, &self.entropy, &self.batch, &self.running];
        if self.table != fresh.table || lengths.iter().any(|values| values.len() != cells) {
            return Error::state_mismatch(
                "the set of heads",
                self.table.describe(),
                fresh.table.describe(),
            );
        }
        self.factors.agrees(&fresh.factors)?;
        self.tally.agrees(&fresh.tally)?;
        if let Some(sample) = &self.sample {
            sample.check(cells)?;
        }
        Error::unless_possible(
            self.sample.is_some() == fresh.sample.is_some(),
            "sample",
            "it is there where it cannot be, or lacks",
        )?;
        Error::unless_possible(
            self.in_batch < self.granularity.batch_size().unwrap_or(1)
                && self.in_batch as u64 <= self.tally.examples,
            "in_batch",
            "a batch holds more examples than it can",
        )?;
        Error::unless_possible(
            not_negative(&self.scores),
            "scores",
            "a sum of absolute values is negative",
        )?;
        Error::unless_possible(
            not_negative(&self.entropy),
            "entropy",
            "a sum of entropies is negative",
        )
    }

    fn add(&mut self, fate: Fate<Contribution<'_, Self>>) -> Result<(), Error> {
        let Fate::Studied(Contribution { item, part, tokens }) = fate else {
            return Ok(());
        };
        self.tally.observe(item, tokens, &part.reply.answer());
        add(&mut self.entropy, &part.entropy);
        let place = [item.index, item.window as u64];
        match self.granularity {
            Granularity::Example => self.add_unit(place, &part.gradient, 1.0),
            Granularity::Token => self.add_unit(place, &part.positions, 1.0),
            Granularity::Batch { size } | Granularity::Script { size } => {
                add(&mut self.batch, &part.gradient);
                self.last = place;
                self.in_batch += 1;
                if self.in_batch == size {
                    self.close_batch();
                }
            }
        }
        Ok(())
    }

    fn tell(found: &Contribution<'_, Self>, watch: &mut dyn Watch) {
        watch.example(&found.part.reply.outcome(found.item, found.tokens));
    }

    /// For batches the first part must end with a whole batch; `Script` has no parts.
    fn merge(&mut self, next: Self) -> Result<(), Error> {
        let refuse = |reason| Err(Error::Merge { reason });
        if self.granularity != next.granularity {
            return refuse("they have different granularities");
        }
        if self.table != next.table {
            return refuse("they score different heads");
        }
        if self.tally.examples == 0 {
            *self = next;
            return Ok(());
        }
        if let Granularity::Script { .. } = self.granularity {
            return refuse("with granularity script every batch depends on all before it");
        }
        if self.in_batch > 0 {
            return refuse("the first part ends within a batch; end it with a whole batch");
        }
        self.tally.merge(&next.tally);
        add(&mut self.scores, &next.scores);
        add(&mut self.entropy, &next.entropy);
        (self.batch, self.in_batch, self.last) = (next.batch, next.in_batch, next.last);
        if let (Some(mine), Some(theirs)) = (&mut self.sample, &next.sample) {
            mine.merge(theirs);
        }
        Ok(())
    }

    fn finish(&self) -> Result<Importance, Error> {
        let evaluation = self.tally.finish()?;
        let mut whole = self.clone();
        whole.close_batch();
        let (examples, tokens) = (evaluation.examples as f64, evaluation.tokens as f64);
        let divisor = match self.granularity {
            Granularity::Example | Granularity::Token => examples,
            Granularity::Batch { .. } | Granularity::Script { .. } => tokens,
        };
        let heads = self.table.heads();
        let fill = |values: &[f64], divisor: f64| {
            self.table
                .map(|id, _| values[id.layer * heads + id.head] / divisor)
        };
        Ok(Importance {
            raw: fill(&whole.scores, divisor),
            entropy: fill(&whole.entropy, tokens),
            spread: whole
                .sample
                .as_ref()
                .and_then(|sample| sample.finish(&self.table, &whole.scores, divisor)),
            granularity: self.granularity,
            evaluation,
        })
    }
}

fn not_negative(sums: &[f64]) -> bool {
    sums.iter().all(|sum| *sum >= 0.0)
}

fn add(sums: &mut [f64], values: &[f64]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

fn add_absolute(sums: &mut [f64], values: &[f64]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value.abs();
    }
}

/// Importance and entropy of every head over all examples.
///
/// # Errors
/// A mask that does not fit; as [`ImportanceState::new`] and [`drive`].
pub fn importance(
    model: &LoadedModel,
    corpus: &Corpus,
    options: &ImportanceOptions<'_>,
    work: &Work,
    watch: &mut dyn Watch,
) -> Result<Importance, Error> {
    let masked = MaskedModel::new(model, options.mask, options.compute_masked)?;
    let state = ImportanceState::new(&masked, corpus, options.granularity)?;
    let mut progress = Progress::new(state);
    drive(masked.model(), corpus, &mut progress, work, watch)?;
    progress.study().finish()
}
