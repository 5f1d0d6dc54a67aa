//! What the score loses, or gains, without each head, or with each as the only one of its layer.
//!
//! Every head is removed alone (its mask factor 0, all others as they are) and all examples are scored
//! anew: Michel, Levy and Neubig 2019, section 3.2. Where importance asks how fast the loss changes as a
//! head is weakened a little, this asks what is lost when it is gone. A pass over the data puts each batch
//! through the whole model once and then through what is above each head
//! ([`Model::run_without_each`](bertology_model::Model::run_without_each)), at about half the cost of one
//! evaluation a head.
//!
//! The other way round ([`Ablated::Others`]), all heads of a layer but one are removed and all other layers are
//! whole (section 3.3, tables 2 and 3): can one head do the work of its layer? [`Ablation::best_of_each_layer`]
//! chooses that head. Chosen on the examples that it is scored on, the best of many looks better than it is; choose on
//! others (appendix A).
//!
//! # Signs
//! A change is the value without the head less the value with it. Metrics of labelled data are the better
//! the higher they are: negative means that the removal hurts. The loss, perplexities and bits per byte
//! are the better the lower they are: positive means that the removal hurts.
//!
//! # What a change means
//! Both models answer the same examples, so that they are compared pair by pair ([`paired`](crate::studies::paired)): the
//! predictions that turn from right to wrong and from wrong to right, with the exact two-sided [`sign_test`], and the
//! standard error of the change of the mean loss.
//!
//! With many heads some p-values are small by chance alone: of 144 heads that do nothing, up to 7 have one
//! below 0.05.
//!
//! # Numerics
//! One f32 pass per example and head, sums in f64, in file order. Sums do not depend on threads; which
//! examples share a batch changes an example's numbers by rounding at most.

mod agreement;
mod keep_one;

use serde::{Deserialize, Serialize};

use bertology_model::{HeadId, HeadMask, Sequence, SequenceOutput};

pub use crate::drive::Ablated;
pub use crate::studies::paired::{Paired, sign_test};
pub use agreement::{Agreement, agreement};
pub use keep_one::significant;

use crate::drive::{Contribution, Lens, Progress, Study, Wants, Work, drive};
use crate::input::corpus::ExampleItem;
use crate::input::supply::Fate;
use crate::objective::LOSS;
use crate::studies::evaluate::{Answer, Evaluation, Factors, MaskedModel, Reply, Scorer, Tally};
use crate::studies::metric::Metric;
use crate::studies::paired::PairedSums;
use crate::watch::Purpose;
use crate::{Corpus, Error, HeadTable, LoadedModel, Watch};

/// Which heads are left out, and from what.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct AblationOptions<'a> {
    /// The heads to leave out, one at a time; `None` means every head that there is.
    pub heads: Option<&'a [HeadId]>,
    /// A head mask under which all this happens; `None` keeps every head.
    pub mask: Option<&'a HeadMask>,
    /// What is left out when it is a head's turn.
    pub ablated: Ablated,
}

impl<'a> AblationOptions<'a> {
    /// Only these heads.
    #[must_use]
    pub fn heads(mut self, heads: &'a [HeadId]) -> Self {
        self.heads = Some(heads);
        self
    }

    /// Each head as the only one of its layer.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.ablated = Ablated::Others;
        self
    }

    /// With a head mask.
    #[must_use]
    pub fn mask(mut self, mask: &'a HeadMask) -> Self {
        self.mask = Some(mask);
        self
    }
}

/// How the model does with all its heads, and without each, or with each alone in its layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Ablation {
    /// With all heads (that the mask keeps).
    pub whole: Evaluation,
    /// What is left out for a head.
    pub ablated: Ablated,
    /// Without each head studied, or with it alone, in the order of (layer, head).
    pub without: Vec<WithoutHead>,
    /// Zeros for the heads studied.
    table: HeadTable,
}

/// How the model does without one head, or with it as the only one of its layer: what is said of a model without
/// it holds of the model with it alone then.
#[derive(Debug, Clone, PartialEq)]
pub struct WithoutHead {
    /// The head that is left out, or alone.
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

    /// Per head `[layers, heads]`: the score without it. NaN where the metric is not a number; heads that were
    /// not studied have no value.
    ///
    /// # Errors
    /// A metric that the data are not scored with.
    pub fn scores(&self, corpus: &Corpus, metric: &Metric) -> Result<HeadTable, Error> {
        let scores = self.without.iter();
        let scores = scores.map(|without| without.evaluation.score(corpus, &metric.name));
        Ok(self.fill(&scores.collect::<Result<Vec<_>, _>>()?))
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
    factors: Factors,
    /// Of states from before there was a choice, the head.
    #[serde(default)]
    ablated: Ablated,
    /// Zeros; says which heads are left out in turn.
    table: HeadTable,
    /// Zeros; says which heads there are.
    present: HeadTable,
    whole: Tally,
    /// In the order of (layer, head).
    without: Vec<Sums>,
}

/// What is summed for one head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sums {
    tally: Tally,
    paired: PairedSums,
}

impl AblationState {
    /// Nothing accumulated yet: of `model` under its mask, which was made of `whole`, without each of `heads`
    /// (`None`: every head that there is), or with each alone in its layer.
    ///
    /// # Errors
    /// A head that does not exist, is pruned away or masked; no head at all.
    pub fn new(
        whole: &LoadedModel,
        model: &MaskedModel,
        corpus: &Corpus,
        heads: Option<&[HeadId]>,
        ablated: Ablated,
    ) -> Result<Self, Error> {
        let (table, present) = tables(whole, model.model(), heads)?;
        let tally = Tally::with_intervals(Scorer::of(corpus));
        let factors = model.factors().clone();
        Ok(Self::zeros(factors, ablated, table, present, tally))
    }

    fn zeros(
        factors: Factors,
        ablated: Ablated,
        table: HeadTable,
        present: HeadTable,
        tally: Tally,
    ) -> Self {
        let sums = Sums {
            tally: tally.without_intervals(),
            paired: PairedSums::default(),
        };
        Self {
            factors,
            ablated,
            without: vec![sums; table.live().count()],
            table,
            present,
            whole: tally,
        }
    }
}

/// Hears what the model says with all heads and without each.
#[derive(Debug)]
pub struct AblationLens {
    factors: Factors,
    heads: Vec<HeadId>,
    ablated: Ablated,
}

/// What one example contributes.
#[derive(Debug, Default)]
pub struct ExampleAnswers {
    whole: Reply,
    without: Vec<Answer>,
}

impl Lens for AblationLens {
    type Item = ExampleItem;
    type Part = ExampleAnswers;

    fn wants(&self) -> Wants<'_> {
        Wants {
            outputs: true,
            masking: self.factors.get(),
            without: Some(&self.heads),
            ablated: self.ablated,
            ..Wants::default()
        }
    }

    fn begin(&self, _: &ExampleItem, _: &Sequence) -> Result<ExampleAnswers, Error> {
        Ok(ExampleAnswers::default())
    }

    fn output(
        &self,
        item: &ExampleItem,
        part: &mut ExampleAnswers,
        without: Option<HeadId>,
        output: &SequenceOutput<f32>,
    ) -> Result<(), Error> {
        if without.is_none() {
            return part.whole.hear(item, output);
        }
        part.without.push(Answer::of(output, item)?);
        Ok(())
    }
}

impl Study for AblationState {
    type Lens = AblationLens;
    type Found = Ablation;

    const PURPOSE: Purpose = Purpose::Ablation;

    fn lens(&self) -> AblationLens {
        AblationLens {
            factors: self.factors.clone(),
            heads: self.table.live().collect(),
            ablated: self.ablated,
        }
    }

    fn empty(&self) -> Self {
        let (table, present) = (self.table.clone(), self.present.clone());
        let (factors, tally) = (self.factors.clone(), self.whole.empty());
        Self::zeros(factors, self.ablated, table, present, tally)
    }

    fn agrees(&self, fresh: &Self) -> Result<(), Error> {
        if self.present != fresh.present {
            let (was, is) = (self.present.describe(), fresh.present.describe());
            return Error::state_mismatch("the set of heads that the model has", was, is);
        }
        if self.table != fresh.table || self.without.len() != fresh.without.len() {
            let (was, is) = (self.table.describe(), fresh.table.describe());
            return Error::state_mismatch("the set of heads to leave out", was, is);
        }
        if self.ablated != fresh.ablated {
            let said = |ablated| match ablated {
                Ablated::Head => "each head",
                Ablated::Others => "all heads of a layer but one",
            };
            let (was, is) = (
                said(self.ablated).to_owned(),
                said(fresh.ablated).to_owned(),
            );
            return Error::state_mismatch("what is left out", was, is);
        }
        self.factors.agrees(&fresh.factors)?;
        self.whole.agrees(&fresh.whole)?;
        for (sums, fresh) in self.without.iter().zip(&fresh.without) {
            sums.tally.agrees(&fresh.tally)?;
            Error::unless_possible(
                sums.tally.examples == self.whole.examples,
                "without",
                "not every head was left out of every example",
            )?;
        }
        Ok(())
    }

    fn add(&mut self, fate: Fate<Contribution<'_, Self>>) -> Result<(), Error> {
        let Fate::Studied(Contribution { item, part, tokens }) = fate else {
            return Ok(());
        };
        let whole = part.whole.answer();
        self.whole.observe(item, tokens, &whole);
        for (sums, answer) in self.without.iter_mut().zip(&part.without) {
            sums.tally.observe(item, tokens, answer);
            sums.paired.observe(&whole, answer, item.targets);
        }
        Ok(())
    }

    fn tell(found: &Contribution<'_, Self>, watch: &mut dyn Watch) {
        watch.example(&found.part.whole.outcome(found.item, found.tokens));
    }

    fn merge(&mut self, next: Self) -> Result<(), Error> {
        let differs = self.table != next.table || self.present != next.present;
        if differs || self.ablated != next.ablated {
            return Err(Error::Merge {
                reason: "they leave out different heads, or from different models",
            });
        }
        self.whole.merge(&next.whole);
        for (mine, theirs) in self.without.iter_mut().zip(&next.without) {
            mine.tally.merge(&theirs.tally);
            mine.paired.merge(&theirs.paired);
        }
        Ok(())
    }

    fn finish(&self) -> Result<Ablation, Error> {
        let whole = self.whole.finish()?;
        let without = self.table.live().zip(&self.without).map(|(head, sums)| {
            Ok(WithoutHead {
                head,
                evaluation: sums.tally.finish()?,
                loss_change: sums.paired.loss_change(),
                paired: sums.paired.finish(),
            })
        });
        Ok(Ablation {
            whole,
            ablated: self.ablated,
            without: without.collect::<Result<_, Error>>()?,
            table: self.table.clone(),
        })
    }
}

/// Zeros for the heads to leave out, and for those that are there.
fn tables(
    model: &LoadedModel,
    masked: &LoadedModel,
    heads: Option<&[HeadId]>,
) -> Result<(HeadTable, HeadTable), Error> {
    let present = HeadTable::zeros(masked.model());
    if present.live().next().is_none() {
        return Err(Error::NoHeads {
            path: model.checkpoint().folder().to_owned(),
            action: "leave out",
        });
    }
    let Some(heads) = heads else {
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

/// The score with all heads and without each in turn, or with each alone in its layer, over all examples.
///
/// # Errors
/// A mask that does not fit; as [`AblationState::new`] and [`drive`].
pub fn ablate(
    model: &LoadedModel,
    corpus: &Corpus,
    options: &AblationOptions<'_>,
    work: &Work,
    watch: &mut dyn Watch,
) -> Result<Ablation, Error> {
    let masked = MaskedModel::new(model, options.mask, false)?;
    let state = AblationState::new(model, &masked, corpus, options.heads, options.ablated)?;
    let mut progress = Progress::new(state);
    drive(masked.model(), corpus, &mut progress, work, watch)?;
    progress.study().finish()
}
