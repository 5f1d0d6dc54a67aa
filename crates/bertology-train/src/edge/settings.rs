//! How probes are trained: two profiles, and every difference between them.

use serde::{Deserialize, Serialize};

use super::{BatchSize, Fault, Split};
use crate::{Adam, Error};

/// A set of settings by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Ends when nothing gets better, which data of any size come to: the default.
    #[default]
    Fast,
    /// The settings of the papers' code, which were made for hundreds of thousands of steps.
    Paper,
}

/// What one unit of the loss is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LossScale {
    /// Mean over targets of the sum over labels: the size of a step does not depend on the number of labels.
    Targets,
    /// Mean over all pairs of a target and a label.
    Cells,
}

/// When a probe is validated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interval {
    /// After each epoch, or after each quarter of one that has 1,000 steps or more.
    Epoch,
    /// After so many steps.
    Steps(usize),
}

/// What a validation looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Selection {
    /// Micro-averaged F1 over all labels, in [0, 1].
    F1,
    /// The mean loss of a target, in nats: for code lengths.
    Loss,
}

/// How probes are trained.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The profile that these are, or began as.
    pub profile: Profile,
    /// What a step sees.
    pub batch: BatchSize,
    /// What its loss is.
    pub loss: LossScale,
    /// Constants of the optimiser; its learning rate is that of all but the mixing logits.
    pub adam: Adam,
    /// Learning rate of the mixing logits; γ has the general one.
    pub mixing_rate: f64,
    /// Largest norm of a probe's gradient.
    pub clip: f64,
    /// When a probe is validated.
    pub interval: Interval,
    /// Sentences of the development split, the first ones, that a validation looks at; all of them if `None`.
    pub validation_sentences: Option<usize>,
    /// What a validation looks at.
    pub selection: Selection,
    /// By how much a score must rise to be taken for a rise.
    pub threshold: f64,
    /// Whether a loss that still falls to a new lowest is progress, too, so that neither rates are halved nor training
    /// ends meanwhile. At first a probe fires at random and scores more than in the next epochs, when it fires for nothing.
    pub loss_is_progress: bool,
    /// Rates are halved after more than so many validations without a rise.
    pub halving_patience: u32,
    /// A probe stops after so many validations without a new best.
    pub patience: u32,
    /// A probe stops when its learning rate falls below this.
    pub lowest_rate: f64,
    /// Validations at most.
    pub most_validations: u32,
}

/// By how much the score may still rise within the last third of the validations of a probe that has run out of them
/// and is taken for settled: 0.2 F1, below what two seeds differ by.
pub const SETTLED: f64 = 0.002;

/// Epochs of `fast` at most, unless told otherwise: 25,000 targets of a treebank have their best after 35 to 80, and
/// [`Settings::patience`] ends what is settled.
pub const FAST_EPOCHS: u32 = 100;

/// A split with fewer sentences is small for `paper`: the code told tasks apart by name, and those with fewer were its
/// small ones (SPR, DPR and SemEval have at most 6,851; the treebank, the smallest of the others, 12,522).
pub const PAPER_SMALL: usize = 10_000;

/// A difference between the profiles: what, in `fast`, in `paper`.
pub type Difference = [&'static str; 3];

/// Every difference between the profiles, with why.
///
/// `paper` is what the configuration of the papers' code says (jiant 1, `edgeprobe`), with these deviations, which both
/// profiles have: the encoder's own dropout is off, for states are computed once; sentences are not sorted by length, for
/// spans are ragged; each probe's gradient is clipped by itself, as when it is trained alone.
pub const DIFFERENCES: [Difference; 9] = [
    [
        "a step sees",
        "whole sentences with up to 1,024 targets, or a sixteenth of all if that is less",
        "32 sentences",
    ],
    [
        "loss",
        "mean over targets of the sum over labels",
        "mean over all pairs of target and label",
    ],
    ["learning rate", "1e-3", "1e-4"],
    ["learning rate of the mixing logits", "1e-2", "1e-4"],
    [
        "validated",
        "after each epoch; each quarter of one with 1,000 steps or more",
        "after 1,000 steps; 100 with fewer than 10,000 sentences",
    ],
    [
        "validated on",
        "the whole split",
        "its first 5,000 sentences",
    ],
    [
        "rates are halved",
        "after 2 validations without a rise or a new lowest loss",
        "after 6",
    ],
    [
        "stops",
        "after 5 validations without a new best or a new lowest loss",
        "after 21",
    ],
    [
        "at most",
        "at most 100 epochs",
        "250,000 steps; 10,000 with fewer than 10,000 sentences",
    ],
];

impl Profile {
    /// The name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Paper => "paper",
        }
    }

    /// Its settings for this training split. See [`DIFFERENCES`].
    #[must_use]
    pub fn settings(self, train: &Split) -> Settings {
        let fast = Settings {
            profile: self,
            // Of a small corpus an epoch has some steps, too.
            batch: BatchSize::Targets((train.targets() / 16).clamp(32, 1024)),
            loss: LossScale::Targets,
            adam: Adam {
                learning_rate: 1e-3,
                amsgrad: true,
                ..Adam::default()
            },
            mixing_rate: 1e-2,
            clip: 5.0,
            interval: Interval::Epoch,
            validation_sentences: None,
            selection: Selection::F1,
            threshold: 1e-4,
            loss_is_progress: true,
            halving_patience: 1,
            patience: 5,
            lowest_rate: 1e-6,
            most_validations: 0,
        };
        match self {
            Self::Fast => fast.with_epochs(FAST_EPOCHS, train),
            Self::Paper => {
                let small = train.sentences() < PAPER_SMALL;
                Settings {
                    batch: BatchSize::Sentences(32),
                    loss: LossScale::Cells,
                    adam: Adam {
                        learning_rate: 1e-4,
                        ..fast.adam
                    },
                    mixing_rate: 1e-4,
                    interval: Interval::Steps(if small { 100 } else { 1000 }),
                    validation_sentences: Some(5000),
                    loss_is_progress: false,
                    halving_patience: 5,
                    patience: 21,
                    most_validations: if small { 100 } else { 250 },
                    ..fast
                }
            }
        }
    }
}

impl Settings {
    /// With at most so many epochs, rounded up to whole intervals.
    #[must_use]
    pub fn with_epochs(mut self, epochs: u32, train: &Split) -> Self {
        let steps = self.steps_per_epoch(train);
        self.most_validations = match self.interval {
            Interval::Epoch => epochs.saturating_mul(self.parts(train) as u32),
            Interval::Steps(interval) => {
                let all = steps.saturating_mul(epochs as usize);
                u32::try_from(all.div_ceil(interval.max(1))).unwrap_or(u32::MAX)
            }
        };
        self
    }

    /// About how many steps an epoch has: how sentences fill batches depends on their order.
    #[must_use]
    pub fn steps_per_epoch(&self, train: &Split) -> usize {
        match self.batch {
            BatchSize::Targets(limit) => train.targets().div_ceil(limit.max(1)),
            BatchSize::Sentences(limit) => {
                let some = |s: &usize| !train.targets_of(*s).is_empty();
                let some = (0..train.sentences()).filter(some).count();
                some.div_ceil(limit.max(1))
            }
        }
    }

    /// Validations of an epoch where they follow epochs.
    pub(crate) fn parts(&self, train: &Split) -> usize {
        if self.steps_per_epoch(train) < 1000 {
            1
        } else {
            4
        }
    }

    /// # Errors
    /// A size of zero, a rate that is no positive number.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let bad = |what, value: f64| Err(Fault::Design { what, value }.into());
        let (BatchSize::Targets(size) | BatchSize::Sentences(size)) = self.batch;
        if size == 0 {
            return bad("size of a batch", 0.0);
        }
        if self.interval == Interval::Steps(0) {
            return bad("interval of the validations", 0.0);
        }
        if self.most_validations == 0 {
            return bad("number of validations", 0.0);
        }
        if self.validation_sentences == Some(0) {
            return bad("number of sentences to validate on", 0.0);
        }
        for (what, value) in [
            ("learning rate", self.adam.learning_rate),
            ("learning rate of the mixing logits", self.mixing_rate),
            ("largest norm of a gradient", self.clip),
        ] {
            if !(value.is_finite() && value > 0.0) {
                return bad(what, value);
            }
        }
        Ok(())
    }
}
