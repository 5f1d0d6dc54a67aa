//! A score, and the same without each fold of the examples.

use serde::{Deserialize, Serialize};

use crate::drive::{Contribution, Progress, Study, Work, drive};
use crate::evaluate::{Evaluation, EvaluationLens, EvaluationState, MaskedModel};
use crate::input::supply::Fate;
use crate::masking::Metric;
use crate::watch::Purpose;
use crate::{Corpus, Error, LoadedModel, Watch};

/// A score on all examples, and without each fold of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Folded {
    /// Of all.
    pub score: f64,
    /// Mean loss of all.
    pub loss: f64,
    /// Without each fold.
    pub without: Vec<f64>,
}

/// Scores a model. Example `i` is in fold `i mod folds`.
///
/// # Errors
/// Data that the model cannot take; fewer than two folds; an interruption.
pub fn folded(
    model: &LoadedModel,
    corpus: &Corpus,
    metric: &Metric,
    folds: usize,
    work: &Work,
    watch: &mut dyn Watch,
) -> Result<Folded, Error> {
    let masked = MaskedModel::new(model, None, false)?;
    let fold = EvaluationState::new(&masked, corpus).without_intervals();
    let mut progress = Progress::new(FoldsState {
        folds: vec![fold; folds.max(1)],
    });
    drive(model, corpus, &mut progress, work, watch)?;
    let folds = progress.into_study().folds;
    let all = together(folds.iter())?;
    let mut without = Vec::with_capacity(folds.len());
    for left_out in 0..folds.len() {
        let others = folds.iter().enumerate().filter(|(at, _)| *at != left_out);
        let of = together(others.map(|(_, fold)| fold))?;
        without.push(of.score(corpus, &metric.name)?);
    }
    Ok(Folded {
        score: all.score(corpus, &metric.name)?,
        loss: all.loss,
        without,
    })
}

fn together<'a>(folds: impl Iterator<Item = &'a EvaluationState>) -> Result<Evaluation, Error> {
    let mut all: Option<EvaluationState> = None;
    for fold in folds {
        match &mut all {
            None => all = Some(fold.clone()),
            Some(all) => all.merge(fold.clone())?,
        }
    }
    all.ok_or(Error::Option {
        option: "the number of folds",
        value: "1".to_owned(),
        reason: "give at least 2",
    })?
    .finish()
}

/// The examples of each fold, scored apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct FoldsState {
    folds: Vec<EvaluationState>,
}

impl Study for FoldsState {
    type Lens = EvaluationLens;
    type Found = ();

    const PURPOSE: Purpose = Purpose::Evaluation;

    fn lens(&self) -> EvaluationLens {
        self.folds[0].lens()
    }

    fn empty(&self) -> Self {
        Self {
            folds: self.folds.iter().map(Study::empty).collect(),
        }
    }

    fn agrees(&self, fresh: &Self) -> Result<(), Error> {
        self.folds[0].agrees(&fresh.folds[0])
    }

    fn add(&mut self, fate: Fate<Contribution<'_, Self>>) -> Result<(), Error> {
        let folds = self.folds.len() as u64;
        match fate {
            Fate::Studied(Contribution { item, part, tokens }) => {
                let fold = usize::try_from(item.index % folds).unwrap_or(0);
                self.folds[fold].add(Fate::Studied(Contribution { item, part, tokens }))
            }
            Fate::LeftOut(why) => self.folds[0].add(Fate::LeftOut(why)),
        }
    }

    fn merge(&mut self, next: Self) -> Result<(), Error> {
        for (fold, next) in self.folds.iter_mut().zip(next.folds) {
            fold.merge(next)?;
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), Error> {
        Ok(())
    }
}
