//! What the score loses, or gains, without each head: leave one out.
//!
//! Every head is removed alone (its mask factor 0, all others as they are) and all examples are scored
//! anew: Michel, Levy and Neubig 2019, section 3.2. Where importance asks how fast the loss changes as a
//! head is weakened a little, this asks what is lost when it is gone. A pass over the data puts each batch
//! through the whole model once and then through what is above each head
//! ([`Model::run_without_each`](bertology_model::Model::run_without_each)), at about half the cost of one
//! evaluation a head.
//!
//! # Signs
//! A change is the value without the head less the value with it. Metrics of labelled data are the better
//! the higher they are: negative means that the removal hurts. The loss, perplexities and bits per byte
//! are the better the lower they are: positive means that the removal hurts.
//!
//! # What a change means
//! Both models answer the same examples, so only the examples on which they differ tell them apart:
//!
//! - for classifiers, the predictions that turn from right to wrong and from wrong to right, with the exact
//!   two-sided [`sign_test`];
//! - for every objective, the standard error of the change of the mean loss. With `d[e]` the change of
//!   example `e`'s mean loss over its `t[e]` targets (1 for a label), `T = Σ t`, `D = Σ t d / T` the change
//!   and `n` examples, it is `sqrt(n/(n-1) Σ t² (d - D)²) / T`: the linearised error of a ratio, and with
//!   one target an example the usual `s/√n`. Windows of one document count as independent examples; where
//!   neighbours share their mistakes the true error is larger.
//!
//! With many heads some p-values are small by chance alone: of 144 heads that do nothing, up to 7 have one
//! below 0.05.
//!
//! # Numerics
//! One f32 pass per example and head, sums in f64, in file order. Sums do not depend on threads; which
//! examples share a batch changes an example's numbers by rounding at most.

mod paired;

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use bertology_model::{HeadId, HeadMask};

pub use paired::{Paired, sign_test};

use crate::drive::sweep::{Accumulate, Answer, Sweep, Wanted};
use crate::studies::evaluate::{Evaluation, LOSS, Masked, Tally};
use crate::studies::importance::heads_of;
use crate::studies::masking::Metric;
use crate::watch::Pass;
use crate::{Corpus, Error, HeadTable, LoadedModel, Watch};
use paired::PairedSums;

/// Which heads are left out, and from what.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct AblationOptions<'a> {
    /// The heads to leave out, one at a time; `None` means every head that there is.
    pub heads: Option<&'a [HeadId]>,
    /// A head mask under which all this happens; `None` keeps every head.
    pub mask: Option<&'a HeadMask>,
    /// 0: all that the machine offers. The result does not depend on it.
    pub threads: usize,
}

impl<'a> AblationOptions<'a> {
    /// Only these heads.
    #[must_use]
    pub fn heads(mut self, heads: &'a [HeadId]) -> Self {
        self.heads = Some(heads);
        self
    }

    /// With a head mask.
    #[must_use]
    pub fn mask(mut self, mask: &'a HeadMask) -> Self {
        self.mask = Some(mask);
        self
    }

    /// With so many threads.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }
}

/// How the model does with all its heads, and without each.
#[derive(Debug, Clone, PartialEq)]
pub struct Ablation {
    /// With all heads (that the mask keeps).
    pub whole: Evaluation,
    /// Without each head studied, in the order of (layer, head).
    pub without: Vec<WithoutHead>,
    /// Zeros for the heads studied.
    table: HeadTable,
}

/// How the model does without one head.
#[derive(Debug, Clone, PartialEq)]
pub struct WithoutHead {
    /// The head that is left out.
    pub head: HeadId,
    /// Metrics, mean loss and counts without it.
    pub evaluation: Evaluation,
    /// Mean loss without it less mean loss with it, in nats per target.
    pub loss_change: f64,
    /// What differs, example by example.
    pub paired: Paired,
}

impl Ablation {
    /// Per head `[layers, heads]`: the score without it less the score with it. NaN where the metric is not
    /// a number; heads that were not studied have no value.
    ///
    /// # Errors
    /// A metric that the data are not scored with.
    pub fn change(&self, corpus: &Corpus, metric: &Metric) -> Result<HeadTable, Error> {
        if metric.name == LOSS {
            return Ok(self.loss_change());
        }
        let whole = self.whole.score(corpus, &metric.name)?;
        let mut changes = Vec::with_capacity(self.without.len());
        for without in &self.without {
            changes.push(without.evaluation.score(corpus, &metric.name)? - whole);
        }
        Ok(self.fill(&changes))
    }

    /// Per head `[layers, heads]`: the mean loss without it less the mean loss with it, in nats per target.
    #[must_use]
    pub fn loss_change(&self) -> HeadTable {
        let changes: Vec<f64> = self.without.iter().map(|found| found.loss_change).collect();
        self.fill(&changes)
    }

    /// A head's result; `None` if it was not studied.
    #[must_use]
    pub fn get(&self, head: HeadId) -> Option<&WithoutHead> {
        let at = self.without.binary_search_by_key(&head, |found| found.head);
        at.ok().and_then(|at| self.without.get(at))
    }

    fn fill(&self, values: &[f64]) -> HeadTable {
        self.table.map(|head, _| {
            let at = self.without.binary_search_by_key(&head, |found| found.head);
            // The table and the list name the same heads.
            at.map_or(f64::NAN, |at| values[at])
        })
    }
}

/// A partial result: it can be saved, loaded and continued.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AblationState {
    /// Zeros; says which heads are left out in turn.
    table: HeadTable,
    /// Zeros; says which heads there are.
    present: HeadTable,
    whole: Tally,
    /// In the order of (layer, head).
    without: Vec<Sums>,
}

/// What is summed for one head.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Sums {
    tally: Tally,
    paired: PairedSums,
}

impl AblationState {
    /// Nothing accumulated yet.
    ///
    /// # Errors
    /// A mask that does not fit; a head that does not exist, is pruned away or masked; no head at all.
    pub fn new(model: &LoadedModel, options: &AblationOptions<'_>) -> Result<Self, Error> {
        let masked = Masked::new(model, options.mask, false)?;
        let (table, present) = tables(model, &masked.model, options)?;
        Ok(Self {
            without: vec![Sums::default(); table.live().count()],
            table,
            present,
            whole: Tally::default(),
        })
    }

    /// Examples accumulated.
    #[must_use]
    pub fn examples_done(&self) -> u64 {
        self.whole.examples
    }

    /// Accumulates every example of `corpus` after the first [`Self::examples_done`]. After an
    /// error, [`Error::Interrupted`] among them, the state holds all examples reported as done.
    ///
    /// # Errors
    /// An example that cannot be put through the model or gives a number that is not finite; a state
    /// that was made for other heads or another mask; an interruption.
    pub fn run(
        &mut self,
        model: &LoadedModel,
        corpus: &Corpus,
        options: &AblationOptions<'_>,
        watch: &mut dyn Watch,
    ) -> Result<(), Error> {
        watch.begin(Pass::Ablation, self.examples_done(), corpus.examples());
        let masked = Masked::new(model, options.mask, false)?;
        self.check(tables(model, &masked.model, options)?, corpus)?;
        let heads: Vec<HeadId> = self.table.live().collect();
        let sweep = Sweep {
            model: &masked.model,
            corpus,
            masking: masked.masking(),
            wanted: Wanted::WithoutEach(&heads),
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

    fn check(&self, wanted: (HeadTable, HeadTable), corpus: &Corpus) -> Result<(), Error> {
        let (table, present) = wanted;
        if self.present != present {
            let (was, is) = (heads_of(&self.present), heads_of(&present));
            return Error::state_mismatch("the set of heads that the model has", was, is);
        }
        if self.table != table || self.without.len() != table.live().count() {
            let (was, is) = (heads_of(&self.table), heads_of(&table));
            return Error::state_mismatch("the set of heads to leave out", was, is);
        }
        self.whole.check_fits(corpus)
    }

    fn observe(&mut self, answer: &Answer, classes: usize) {
        self.whole.observe(answer, classes);
        for (sums, said) in self.without.iter_mut().zip(&answer.without) {
            sums.tally.observe_as(answer, said, classes);
            sums.paired.observe(&answer.said, said, answer.targets);
        }
    }

    /// Adds the result of the examples that follow, computed apart.
    ///
    /// # Errors
    /// [`Error::Merge`] for parts of different studies.
    pub fn merge(&mut self, other: &Self) -> Result<(), Error> {
        if self.table != other.table || self.present != other.present {
            return Err(Error::Merge {
                reason: "they leave out different heads, or from different models",
            });
        }
        self.whole.merge(&other.whole);
        for (mine, theirs) in self.without.iter_mut().zip(&other.without) {
            mine.tally.merge(&theirs.tally);
            mine.paired.merge(&theirs.paired);
        }
        Ok(())
    }

    /// The result so far; the state can go on afterwards.
    ///
    /// # Errors
    /// [`Error::NoExamples`].
    pub fn finish(&self, corpus: &Corpus) -> Result<Ablation, Error> {
        let whole = self.whole.finish(corpus)?;
        let without = self.table.live().zip(&self.without).map(|(head, sums)| {
            Ok(WithoutHead {
                head,
                evaluation: sums.tally.finish(corpus)?,
                loss_change: sums.paired.loss_change(),
                paired: sums.paired.finish(),
            })
        });
        Ok(Ablation {
            whole,
            without: without.collect::<Result<_, Error>>()?,
            table: self.table.clone(),
        })
    }
}

/// A state while a pass fills it.
struct Filling<'a> {
    state: &'a mut AblationState,
    classes: usize,
}

impl Accumulate for Filling<'_> {
    fn add(&mut self, answer: &Answer) {
        self.state.observe(answer, self.classes);
    }

    fn show(&self, watch: &mut dyn Watch) -> ControlFlow<()> {
        watch.ablation(self.state)
    }
}

/// Zeros for the heads to leave out, and for those that are there.
fn tables(
    model: &LoadedModel,
    masked: &LoadedModel,
    options: &AblationOptions<'_>,
) -> Result<(HeadTable, HeadTable), Error> {
    let present = HeadTable::zeros(masked.model());
    if present.live().next().is_none() {
        return Err(Error::NoHeads {
            path: model.checkpoint().folder().to_owned(),
            action: "leave out",
        });
    }
    let Some(heads) = options.heads else {
        return Ok((present.clone(), present));
    };
    if heads.is_empty() {
        return Err(Error::Option {
            option: "the list of heads",
            value: "empty".to_owned(),
            reason: "name at least one head, or give no list to study every head",
        });
    }
    for &head in heads {
        if head.layer >= present.layers() || head.head >= present.heads() {
            return Err(Error::Model(bertology_model::Error::NoSuchHead {
                head,
                layers: present.layers(),
                heads: present.heads(),
            }));
        }
        if !model.model().has_head(head) {
            return Err(Error::Model(bertology_model::Error::HeadGone { head }));
        }
        if present.get(head).is_none() {
            return Err(Error::HeadMasked { head });
        }
    }
    Ok((present.restricted(|head| heads.contains(&head)), present))
}

/// The score with all heads and without each in turn, over all examples.
///
/// # Errors
/// As [`AblationState::new`] and [`AblationState::run`].
pub fn ablate(
    model: &LoadedModel,
    corpus: &Corpus,
    options: &AblationOptions<'_>,
    watch: &mut dyn Watch,
) -> Result<Ablation, Error> {
    let mut state = AblationState::new(model, options)?;
    state.run(model, corpus, options, watch)?;
    state.finish(corpus)
}
