//! How long the gradients of queries, keys and values are.

use bertology_model::{Event, Interests, LayerSite, Model, Sequence};
use serde::{Deserialize, Serialize};

use crate::compress::{Moments, Score};
use crate::drive::{Contribution, Lens, Progress, Study, Wants, Work, drive};
use crate::input::corpus::ExampleItem;
use crate::input::supply::{Fate, Supply};
use crate::watch::Purpose;
use crate::{Error, HeadTable, LoadedModel, Watch};

/// Whose gradients, in the order of what is found.
const SITES: [LayerSite; 3] = [LayerSite::Query, LayerSite::Key, LayerSite::Value];

/// Per head the mean over examples of the norm of its gradient, `(1/n) Σ_e ‖∂loss_e/∂x‖` over tokens and dimensions of the head.
#[derive(Debug, Clone, PartialEq)]
pub struct Norms {
    /// `x` the queries, `[layers, heads]` row-major; 0 for heads that are not there.
    pub query: Vec<Score>,
    /// `x` the keys; of heads that share them, the part of each.
    pub key: Vec<Score>,
    /// `x` the values; of heads that share them, the part of each.
    pub value: Vec<Score>,
}

/// [`Norms`] of a supply.
///
/// # Errors
/// Units without a target or that the model cannot take; an interruption.
pub fn norms<S: Supply<Item = ExampleItem>>(
    model: &LoadedModel,
    supply: &S,
    work: &Work,
    watch: &mut dyn Watch,
) -> Result<Norms, Error> {
    let mut progress = Progress::new(NormsState::new(model.model()));
    drive(model, supply, &mut progress, work, watch)?;
    progress.study().finish()
}

/// Norms on their way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NormsState {
    heads: HeadTable,
    /// `[query, key, value][layers, heads]`.
    sums: Vec<Moments>,
}

impl NormsState {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(model: &Model<f32>) -> Self {
        let heads = HeadTable::zeros(model);
        Self {
            sums: vec![Moments::default(); SITES.len() * heads.values().len()],
            heads,
        }
    }
}

/// Sees the gradients.
#[derive(Debug)]
pub struct NormsLens {
    heads: HeadTable,
}

impl Lens for NormsLens {
    type Item = ExampleItem;
    /// Squared norms `[query, key, value][layers, heads]`.
    type Part = Vec<f64>;

    fn wants(&self) -> Wants<'_> {
        let sites = SITES.iter();
        Wants::sites(sites.fold(Interests::none(), |all, site| all.gradient(*site)))
    }

    fn begin(&self, _: &ExampleItem, _: &Sequence) -> Result<Vec<f64>, Error> {
        Ok(vec![0.0; SITES.len() * self.heads.values().len()])
    }

    fn see(&self, _: &ExampleItem, part: &mut Vec<f64>, event: &Event<'_, f32>) {
        let (Some(head), Some(site)) = (
            event.head_id(),
            SITES
                .iter()
                .position(|site| event.tap.site() == (*site).into()),
        ) else {
            return;
        };
        let cells = self.heads.values().len();
        let cell = site * cells + head.layer * self.heads.heads() + head.head;
        let squares = event.value.iter_rows().flatten();
        part[cell] += squares.map(|g| f64::from(*g).powi(2)).sum::<f64>();
    }

    fn close(&self, _: &ExampleItem, part: &mut Vec<f64>) -> Result<(), Error> {
        match part.iter().find(|value| !value.is_finite()) {
            None => Ok(()),
            Some(value) => Err(Error::NotFinite {
                what: "the norm of the gradient of a head's queries, keys or values".to_owned(),
                value: *value,
            }),
        }
    }
}

impl Study for NormsState {
    type Lens = NormsLens;
    type Found = Norms;

    const PURPOSE: Purpose = Purpose::Importance;

    fn lens(&self) -> NormsLens {
        NormsLens {
            heads: self.heads.clone(),
        }
    }

    fn empty(&self) -> Self {
        Self {
            sums: vec![Moments::default(); self.sums.len()],
            heads: self.heads.clone(),
        }
    }

    fn agrees(&self, fresh: &Self) -> Result<(), Error> {
        if self.heads == fresh.heads && self.sums.len() == fresh.sums.len() {
            return Ok(());
        }
        let (was, is) = (self.heads.describe(), fresh.heads.describe());
        Error::state_mismatch("the set of heads that the model has", was, is)
    }

    fn add(&mut self, fate: Fate<Contribution<'_, Self>>) -> Result<(), Error> {
        if let Fate::Studied(found) = fate {
            for (sum, square) in self.sums.iter_mut().zip(&found.part) {
                sum.add(square.sqrt());
            }
        }
        Ok(())
    }

    fn merge(&mut self, next: Self) -> Result<(), Error> {
        for (sum, next) in self.sums.iter_mut().zip(&next.sums) {
            sum.merge(next);
        }
        Ok(())
    }

    fn finish(&self) -> Result<Norms, Error> {
        let cells = self.heads.values().len();
        let of = |site: usize| {
            let sums = &self.sums[site * cells..][..cells];
            sums.iter().map(Moments::mean).collect()
        };
        Ok(Norms {
            query: of(0),
            key: of(1),
            value: of(2),
        })
    }
}
