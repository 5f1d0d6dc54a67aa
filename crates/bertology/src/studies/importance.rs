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
//! predicted tokens (see [`crate::input::objective`]); a batch's loss is the mean over its examples, which for
//! windows of equal length is the mean over its tokens, as in `run_prune_gpt.py`.
//!
//! `Batch` with one example a batch is `Example` times `n/t`, and so equal after any normalisation.
//! `Token ≥ Example ≥ (t/n) · Batch`, head by head. `Script` depends on the order of the data.
//!
//! Entropy is the mean over all queries of `-Σ_k p ln p` in nats, of the softmax before any mask.
//!
//! # Numerics
//! One f32 pass per example; sums in f64, in file order. Sums do not depend on threads; which
//! examples share a batch changes an example's numbers by rounding at most.

use serde::{Deserialize, Serialize};

use bertology_model::HeadMask;

use crate::drive::sweep::{Accumulate, Answer, Sweep, Wanted};
use crate::studies::evaluate::{Evaluation, Masked, Tally};
use crate::watch::Pass;
use crate::{Corpus, Error, HeadTable, LoadedModel, Watch};

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
    /// 0: all that the machine offers. The result does not depend on it.
    pub threads: usize,
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

    /// With so many threads.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
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
    /// What was summed before the absolute value.
    pub granularity: Granularity,
    /// Metrics, mean loss and counts.
    pub evaluation: Evaluation,
}

/// A partial result: it can be saved, loaded and continued.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImportanceState {
    granularity: Granularity,
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
}

impl ImportanceState {
    /// Nothing accumulated yet.
    ///
    /// # Errors
    /// A mask that does not fit, a batch size of 0, a model or mask without heads.
    pub fn new(model: &LoadedModel, options: &ImportanceOptions<'_>) -> Result<Self, Error> {
        if options.granularity.batch_size() == Some(0) {
            return Err(Error::Option {
                option: "the batch size",
                value: "0".to_owned(),
                reason: "give at least 1 example a batch",
            });
        }
        let masked = Masked::new(model, options.mask, options.compute_masked)?;
        let table = HeadTable::zeros(masked.model.model());
        if table.live().next().is_none() {
            return Err(Error::NoHeads {
                path: model.checkpoint().folder().to_owned(),
                action: "score",
            });
        }
        let zeros = table.values().to_vec();
        Ok(Self {
            granularity: options.granularity,
            table,
            tally: Tally::default(),
            scores: zeros.clone(),
            entropy: zeros.clone(),
            batch: zeros.clone(),
            in_batch: 0,
            running: zeros,
        })
    }

    /// Examples accumulated.
    #[must_use]
    pub fn examples_done(&self) -> u64 {
        self.tally.examples
    }

    /// Accumulates every example of `corpus` after the first [`Self::examples_done`]. After an
    /// error, [`Error::Interrupted`] among them, the state holds all examples reported as done.
    ///
    /// # Errors
    /// An example that cannot be put through the model or gives a number that is not finite; a state
    /// that was made for another granularity or mask; an interruption.
    pub fn run(
        &mut self,
        model: &LoadedModel,
        corpus: &Corpus,
        options: &ImportanceOptions<'_>,
        watch: &mut dyn Watch,
    ) -> Result<(), Error> {
        watch.begin(Pass::Importance, self.examples_done(), corpus.examples());
        self.run_quietly(model, corpus, options, watch)
    }

    pub(crate) fn run_quietly(
        &mut self,
        model: &LoadedModel,
        corpus: &Corpus,
        options: &ImportanceOptions<'_>,
        watch: &mut dyn Watch,
    ) -> Result<(), Error> {
        let masked = Masked::new(model, options.mask, options.compute_masked)?;
        self.check(&masked.model, corpus, options)?;
        let sweep = Sweep {
            model: &masked.model,
            corpus,
            masking: masked.masking(),
            wanted: Wanted::Scores {
                positions: self.granularity == Granularity::Token,
            },
            threads: options.threads,
            skip: self.examples_done(),
        };
        let classes = corpus.classes();
        sweep.run(
            watch,
            &mut Filling {
                state: self,
                classes,
            },
        )
    }

    fn check(
        &self,
        model: &LoadedModel,
        corpus: &Corpus,
        options: &ImportanceOptions<'_>,
    ) -> Result<(), Error> {
        if self.granularity != options.granularity {
            return Error::state_mismatch(
                "the granularity",
                self.granularity.to_string(),
                options.granularity.to_string(),
            );
        }
        let table = HeadTable::zeros(model.model());
        let cells = table.values().len();
        let lengths = [&self.scores, &self.entropy, &self.batch, &self.running];
        if self.table != table || lengths.iter().any(|values| values.len() != cells) {
            return Error::state_mismatch(
                "the set of heads",
                heads_of(&self.table),
                heads_of(&table),
            );
        }
        self.tally.check_fits(corpus)
    }

    fn observe(&mut self, answer: &Answer, classes: usize) {
        self.tally.observe(answer, classes);
        add(&mut self.entropy, &answer.entropy);
        match self.granularity {
            Granularity::Example => add_absolute(&mut self.scores, &answer.gradient, 1.0),
            Granularity::Token => add_absolute(&mut self.scores, &answer.positions, 1.0),
            Granularity::Batch { size } | Granularity::Script { size } => {
                add(&mut self.batch, &answer.gradient);
                self.in_batch += 1;
                if self.in_batch == size {
                    self.close_batch();
                }
            }
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
            add_absolute(&mut self.scores, &self.running, 1.0);
        } else {
            add_absolute(&mut self.scores, &self.batch, share);
        }
        self.batch.fill(0.0);
        self.in_batch = 0;
    }

    /// Adds the result of the examples that follow, computed apart. For batches the first part must
    /// end with a whole batch.
    ///
    /// # Errors
    /// [`Error::Merge`] for `Script`, whose parts depend on all before them, and for parts of
    /// different studies.
    pub fn merge(&mut self, other: &Self) -> Result<(), Error> {
        let refuse = |reason| Err(Error::Merge { reason });
        if self.granularity != other.granularity {
            return refuse("they have different granularities");
        }
        if self.table != other.table {
            return refuse("they score different heads");
        }
        if let Granularity::Script { .. } = self.granularity {
            return refuse("with granularity script every batch depends on all before it");
        }
        if self.in_batch > 0 {
            return refuse("the first part ends within a batch; end it with a whole batch");
        }
        self.tally.merge(&other.tally);
        add(&mut self.scores, &other.scores);
        add(&mut self.entropy, &other.entropy);
        self.batch.clone_from(&other.batch);
        self.in_batch = other.in_batch;
        Ok(())
    }

    /// The result so far; the state can go on afterwards.
    ///
    /// # Errors
    /// [`Error::NoExamples`].
    pub fn finish(&self, corpus: &Corpus) -> Result<Importance, Error> {
        let evaluation = self.tally.finish(corpus)?;
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
            granularity: self.granularity,
            evaluation,
        })
    }
}

/// How many heads a table has numbers for.
pub(crate) fn heads_of(table: &HeadTable) -> String {
    format!(
        "{} of [{}, {}]",
        table.live().count(),
        table.layers(),
        table.heads()
    )
}

/// A state while a pass fills it.
struct Filling<'a> {
    state: &'a mut ImportanceState,
    classes: usize,
}

impl Accumulate for Filling<'_> {
    fn add(&mut self, answer: &Answer) {
        self.state.observe(answer, self.classes);
    }
}

fn add(sums: &mut [f64], values: &[f64]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

fn add_absolute(sums: &mut [f64], values: &[f64], factor: f64) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value.abs() * factor;
    }
}

/// Importance and entropy of every head over all examples.
///
/// # Errors
/// As [`ImportanceState::new`] and [`ImportanceState::run`].
pub fn importance(
    model: &LoadedModel,
    corpus: &Corpus,
    options: &ImportanceOptions<'_>,
    watch: &mut dyn Watch,
) -> Result<Importance, Error> {
    let mut state = ImportanceState::new(model, options)?;
    state.run(model, corpus, options, watch)?;
    state.finish(corpus)
}
