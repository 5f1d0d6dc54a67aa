//! Factors of heads by gradient descent, with all weights as they are, under a penalty for heads that stay.
//!
//! The loss of the examples under a factor for each of `H` heads plus `weight` times the share of heads that stay is made small by
//! Adam. With [`Penalty::L1`] that share is `(1/H) Σ |m|` and factors stay at or above 0; with [`Penalty::L0`] factors are drawn from the hard concrete
//! distribution (Louizos, Welling and Kingma 2018, equations 10 to 12) with `β = 2/3`, `γ = -0.1`, `ζ = 1.1`, and the share is how
//! many of them are not 0 on average, as Voita et al. 2019 (section 5) learn which heads translate.

#[cfg(test)]
mod tests;

use bertology::corpus::ExampleItem;
use bertology::drive::Work;
use bertology::input::supply::{Supply, sequences_with_targets};
use bertology::measures::slopes;
use bertology::random::Draws;
use bertology::watch::Purpose;
use bertology::{Error, HeadId, HeadMask, LoadedModel, Sequence, Target, Watch};

use crate::optim::{Adam, Optimizer};

/// Temperature of the hard concrete distribution, and how far it is stretched.
const BETA: f64 = 2.0 / 3.0;
const LOW: f64 = -0.1;
const HIGH: f64 = 1.1;
/// Logarithm of the odds that a gate is open at the beginning: nearly all are.
const OPEN: f64 = 2.0;

/// What heads that stay cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Penalty {
    /// Their factors.
    L1,
    /// That they are there.
    L0,
}

/// How gates are learnt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateOptions {
    /// What heads that stay cost.
    pub penalty: Penalty,
    /// What all heads cost together, in nats.
    pub weight: f64,
    /// Steps of Adam.
    pub steps: usize,
    /// Examples of a step; they are gone through in orders drawn by the seed.
    pub batch: usize,
    /// Learning rate, of factors (L1) or of logarithms of odds (L0).
    pub rate: f64,
    /// Of the order of examples and the draws of gates.
    pub seed: u64,
}

impl GateOptions {
    /// 200 steps of 32 examples at a rate of 0.02 (L1) or 0.1 (L0), all heads together cost a nat.
    #[must_use]
    pub fn new(penalty: Penalty, seed: u64) -> Self {
        Self {
            penalty,
            weight: 1.0,
            steps: 200,
            batch: 32,
            rate: match penalty {
                Penalty::L1 => 0.02,
                Penalty::L0 => 0.1,
            },
            seed,
        }
    }
}

/// What was learnt.
#[derive(Debug, Clone, PartialEq)]
pub struct Gates {
    /// Heads in the order of (layer, head), those that the model has.
    pub heads: Vec<HeadId>,
    /// The factor of each (L1), or how likely it is not to be 0 (L0).
    pub scores: Vec<f64>,
    /// The factor that each has where nothing is drawn; of L1 its score.
    pub factors: Vec<f64>,
    /// Mean loss of all examples under these factors, in nats.
    pub loss: f64,
    /// `weight` times the share of heads that stay.
    pub penalty: f64,
}

/// Learns gates on a supply of examples, whose sequences are kept in memory.
///
/// Gradients of a step are summed in the order of its examples, so that threads change nothing.
///
/// # Errors
/// No examples, steps or examples of a step; examples without a target or that the model cannot take; an interruption.
pub fn learn_gates<S: Supply<Item = ExampleItem>>(
    model: &LoadedModel,
    supply: &S,
    options: &GateOptions,
    work: &Work,
    watch: &mut dyn Watch,
) -> Result<Gates, Error> {
    let examples = sequences_with_targets(supply)?;
    let none = [options.steps, options.batch, examples.len()].contains(&0);
    if none || !(options.rate > 0.0 && options.weight >= 0.0) {
        return Err(Error::Option {
            option: "the learning of gates",
            value: format!(
                "{} steps of {} of {} examples, rate {}, weight {}",
                options.steps,
                options.batch,
                examples.len(),
                options.rate,
                options.weight
            ),
            reason: "give at least one step, one example and a rate above 0",
        });
    }
    let heads: Vec<HeadId> = model.model().heads().collect();
    let learner = Learner {
        model,
        heads: &heads,
        options,
        threads: work.all(),
    };
    let (start, adam) = (learner.start(), learner.adam());
    let mut values = vec![start; heads.len()];
    let mut optimizer = Optimizer::new(adam, heads.len());
    let mut order: Vec<usize> = Vec::new();
    let mut epoch = 0;
    watch.begin(Purpose::FineTuning, 0, options.steps as u64);
    for step in 0..options.steps {
        let mut batch = Vec::with_capacity(options.batch);
        while batch.len() < options.batch.min(examples.len()) {
            if order.is_empty() {
                order = (0..examples.len()).rev().collect();
                // All at once need no order.
                if options.batch < examples.len() {
                    Draws::of([options.seed, 0, epoch]).shuffle(&mut order);
                }
                epoch += 1;
            }
            batch.extend(order.pop().map(|at| &examples[at]));
        }
        let gates = learner.drawn(&values, step);
        let (_, gradient) = learner.pass(&gates.factors, &batch)?;
        let gradient: Vec<f64> = gradient
            .iter()
            .zip(&gates.slopes)
            .zip(learner.penalty_slopes(&values))
            .map(|((g, slope), penalty)| g * slope + penalty)
            .collect();
        optimizer.step(&mut values, &gradient, 1.0);
        if options.penalty == Penalty::L1 {
            values.iter_mut().for_each(|value| *value = value.max(0.0));
        }
        if watch
            .advance(step as u64 + 1, options.steps as u64)
            .is_break()
        {
            return Err(Error::Interrupted {
                done: step as u64 + 1,
                total: options.steps as u64,
            });
        }
    }
    let factors: Vec<f64> = values.iter().map(|v| learner.settled(*v)).collect();
    let all: Vec<&(Sequence, Target)> = examples.iter().collect();
    let (loss, _) = learner.pass(&factors, &all)?;
    let scores: Vec<f64> = values.iter().map(|value| learner.stays(*value)).collect();
    let share = scores.iter().sum::<f64>() / scores.len().max(1) as f64;
    Ok(Gates {
        scores,
        factors,
        loss,
        penalty: options.weight * share,
        heads,
    })
}

/// Factors of a step, and how each changes with what is learnt.
struct Drawn {
    factors: Vec<f64>,
    slopes: Vec<f64>,
}

struct Learner<'a> {
    model: &'a LoadedModel,
    heads: &'a [HeadId],
    options: &'a GateOptions,
    threads: usize,
}

impl Learner<'_> {
    fn start(&self) -> f64 {
        match self.options.penalty {
            Penalty::L1 => 1.0,
            Penalty::L0 => OPEN,
        }
    }

    fn adam(&self) -> Adam {
        Adam {
            learning_rate: self.options.rate,
            ..Adam::default()
        }
    }

    fn drawn(&self, values: &[f64], step: usize) -> Drawn {
        let mut drawn = Drawn {
            factors: values.to_vec(),
            slopes: vec![1.0; values.len()],
        };
        if self.options.penalty == Penalty::L0 {
            let mut draws = Draws::of([self.options.seed, 1, step as u64]);
            for (factor, slope) in drawn.factors.iter_mut().zip(&mut drawn.slopes) {
                // In (0, 1), so that both logarithms are finite.
                let u = draws.unit().mul_add(1.0 - 2e-6, 1e-6);
                let open = sigmoid((u.ln() - (1.0 - u).ln() + *factor) / BETA);
                let stretched = open * (HIGH - LOW) + LOW;
                *slope = match stretched > 0.0 && stretched < 1.0 {
                    true => (HIGH - LOW) * open * (1.0 - open) / BETA,
                    false => 0.0,
                };
                *factor = stretched.clamp(0.0, 1.0);
            }
        }
        drawn
    }

    /// The factor where nothing is drawn.
    fn settled(&self, value: f64) -> f64 {
        match self.options.penalty {
            Penalty::L1 => value,
            Penalty::L0 => (sigmoid(value) * (HIGH - LOW) + LOW).clamp(0.0, 1.0),
        }
    }

    /// How much of a head stays.
    fn stays(&self, value: f64) -> f64 {
        match self.options.penalty {
            Penalty::L1 => value,
            Penalty::L0 => sigmoid(value - BETA * (-LOW / HIGH).ln()),
        }
    }

    /// Of the penalty.
    fn penalty_slopes(&self, values: &[f64]) -> impl Iterator<Item = f64> {
        let share = self.options.weight / values.len().max(1) as f64;
        values.iter().map(move |value| {
            share
                * match self.options.penalty {
                    Penalty::L1 if *value > 0.0 => 1.0,
                    Penalty::L1 => 0.0,
                    Penalty::L0 => {
                        let stays = self.stays(*value);
                        stays * (1.0 - stays)
                    }
                }
        })
    }

    /// Mean loss and mean gradient with respect to the factors.
    fn pass(
        &self,
        factors: &[f64],
        batch: &[&(Sequence, Target)],
    ) -> Result<(f64, Vec<f64>), Error> {
        let arch = self.model.architecture();
        let (layers, heads) = (arch.num_layers, arch.num_heads);
        let mut mask = HeadMask::from_values(layers, heads, vec![0.0; layers * heads])?;
        for (head, factor) in self.heads.iter().zip(factors) {
            mask.set(*head, *factor);
        }
        let (loss, all) = slopes(self.model, batch, &mask, self.threads)?;
        let of = |id: &HeadId| all[id.layer * heads + id.head];
        Ok((loss, self.heads.iter().map(of).collect()))
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}
