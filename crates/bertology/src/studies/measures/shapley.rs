//! What a head adds to those that are there already, over all orders.

use bertology_model::{HeadId, HeadMask, Model, Sequence, SequenceOutput};
use serde::{Deserialize, Serialize};

use crate::compress::{Moments, Score};
use crate::drive::{Contribution, Lens, Progress, Study, Wants, Work, drive};
use crate::input::corpus::ExampleItem;
use crate::input::supply::{Fate, Supply};
use crate::random::Draws;
use crate::watch::Purpose;
use crate::{Error, HeadTable, LoadedModel, Watch};

/// Per head the Shapley value of the loss that it saves: what the loss falls by when the head comes to those before it, in the mean
/// of all orders of all heads and of all examples.
#[derive(Debug, Clone, PartialEq)]
pub struct Shapley {
    /// In the order of (layer, head), those that the model has.
    pub heads: Vec<(HeadId, Score)>,
    /// Mean loss without any head less mean loss with all, in nats: the sum of all values, whatever the orders were.
    pub total: f64,
}

/// [`Shapley`] values by samples of orders: `orders` for each example, each of which is also gone through backwards (antithetic
/// pairs; Castro, Gómez and Tejada 2009, Mitchell et al. 2022). Orders are of `seed` and the place of the example alone.
///
/// The model runs `2 · orders · heads` times for each example, a little less.
///
/// # Errors
/// No orders; units without a target or that the model cannot take; an interruption.
pub fn shapley<S: Supply<Item = ExampleItem>>(
    model: &LoadedModel,
    supply: &S,
    orders: usize,
    seed: u64,
    work: &Work,
    watch: &mut dyn Watch,
) -> Result<Shapley, Error> {
    let state = ShapleyState::new(model.model(), orders, seed)?;
    let mut progress = Progress::new(state);
    drive(model, supply, &mut progress, work, watch)?;
    progress.study().finish()
}

/// Values on their way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShapleyState {
    heads: HeadTable,
    orders: usize,
    seed: u64,
    /// By head that is there: what it saves in the mean of an example's orders.
    saved: Vec<Moments>,
    total: Moments,
}

impl ShapleyState {
    /// Nothing seen yet.
    ///
    /// # Errors
    /// No orders.
    pub fn new(model: &Model<f32>, orders: usize, seed: u64) -> Result<Self, Error> {
        if orders == 0 {
            return Err(Error::Option {
                option: "the orders of Shapley values",
                value: "0".to_owned(),
                reason: "give at least 1",
            });
        }
        let heads = HeadTable::zeros(model);
        Ok(Self {
            saved: vec![Moments::default(); heads.live().count()],
            heads,
            orders,
            seed,
            total: Moments::default(),
        })
    }
}

/// Draws the orders and hears the losses.
#[derive(Debug)]
pub struct ShapleyLens {
    heads: HeadTable,
    live: Vec<HeadId>,
    orders: usize,
    seed: u64,
}

impl ShapleyLens {
    /// Which head comes when, by place among those that are there; every order and then the same backwards.
    fn orders(&self, item: &ExampleItem) -> impl Iterator<Item = Vec<usize>> {
        let numbers = [self.seed, item.index, item.window as u64];
        let mut draws = Draws::of(numbers);
        let heads = self.live.len();
        (0..self.orders).flat_map(move |_| {
            let mut order: Vec<usize> = (0..heads).collect();
            draws.shuffle(&mut order);
            let backwards = order.iter().rev().copied().collect();
            [order, backwards]
        })
    }
}

impl Lens for ShapleyLens {
    type Item = ExampleItem;
    /// Losses: without any head, with all, and of every order those between.
    type Part = Vec<f64>;

    fn wants(&self) -> Wants<'_> {
        Wants {
            outputs: true,
            own_masks: true,
            ..Wants::default()
        }
    }

    fn begin(&self, _: &ExampleItem, _: &Sequence) -> Result<Vec<f64>, Error> {
        Ok(Vec::new())
    }

    fn masks(&self, item: &ExampleItem) -> Vec<HeadMask> {
        let (layers, heads) = (self.heads.layers(), self.heads.heads());
        // Zeros are finite and of this shape.
        let none = HeadMask::from_values(layers, heads, vec![0.0; layers * heads])
            .unwrap_or_else(|e| unreachable!("{e}"));
        let mut all = none.clone();
        self.live.iter().for_each(|head| all.set(*head, 1.0));
        let mut masks = vec![none.clone(), all];
        for order in self.orders(item) {
            let mut mask = none.clone();
            for place in &order[..order.len().saturating_sub(1)] {
                mask.set(self.live[*place], 1.0);
                masks.push(mask.clone());
            }
        }
        masks
    }

    fn output(
        &self,
        _: &ExampleItem,
        part: &mut Vec<f64>,
        _: Option<HeadId>,
        output: &SequenceOutput<f32>,
    ) -> Result<(), Error> {
        part.push(output.loss.unwrap_or(f64::NAN));
        Ok(())
    }

    /// From losses to what each head saves, and behind that the whole.
    fn close(&self, item: &ExampleItem, part: &mut Vec<f64>) -> Result<(), Error> {
        if let Some(loss) = part.iter().find(|loss| !loss.is_finite()) {
            return Err(Error::NotFinite {
                what: "the loss under a head mask".to_owned(),
                value: *loss,
            });
        }
        let [none, all, between @ ..] = &part[..] else {
            return Ok(());
        };
        let heads = self.live.len();
        let mut saved = vec![0.0; heads + 1];
        let share = 1.0 / (2 * self.orders) as f64;
        for (order, losses) in self.orders(item).zip(between.chunks(heads.max(2) - 1)) {
            let mut before = *none;
            let losses = losses.iter().take(heads.saturating_sub(1)).chain([all]);
            for (place, loss) in order.iter().zip(losses) {
                saved[*place] += share * (before - loss);
                before = *loss;
            }
        }
        saved[heads] = none - all;
        *part = saved;
        Ok(())
    }
}

impl Study for ShapleyState {
    type Lens = ShapleyLens;
    type Found = Shapley;

    const PURPOSE: Purpose = Purpose::Ablation;

    fn lens(&self) -> ShapleyLens {
        ShapleyLens {
            live: self.heads.live().collect(),
            heads: self.heads.clone(),
            orders: self.orders,
            seed: self.seed,
        }
    }

    fn empty(&self) -> Self {
        Self {
            heads: self.heads.clone(),
            saved: vec![Moments::default(); self.saved.len()],
            total: Moments::default(),
            ..*self
        }
    }

    fn agrees(&self, fresh: &Self) -> Result<(), Error> {
        if self.heads != fresh.heads {
            let (was, is) = (self.heads.describe(), fresh.heads.describe());
            return Error::state_mismatch("the set of heads that the model has", was, is);
        }
        let of = |state: &Self| format!("{} from seed {}", state.orders, state.seed);
        match (self.orders, self.seed) == (fresh.orders, fresh.seed) {
            true => Ok(()),
            false => Error::state_mismatch("the orders of heads", of(self), of(fresh)),
        }
    }

    fn add(&mut self, fate: Fate<Contribution<'_, Self>>) -> Result<(), Error> {
        if let Fate::Studied(found) = fate {
            let sums = self.saved.iter_mut().chain([&mut self.total]);
            for (sum, saved) in sums.zip(&found.part) {
                sum.add(*saved);
            }
        }
        Ok(())
    }

    fn merge(&mut self, next: Self) -> Result<(), Error> {
        let sums = self.saved.iter_mut().chain([&mut self.total]);
        for (sum, next) in sums.zip(next.saved.iter().chain([&next.total])) {
            sum.merge(next);
        }
        Ok(())
    }

    fn finish(&self) -> Result<Shapley, Error> {
        Ok(Shapley {
            heads: self
                .heads
                .live()
                .zip(self.saved.iter().map(Moments::mean))
                .collect(),
            total: self.total.mean().value,
        })
    }
}
