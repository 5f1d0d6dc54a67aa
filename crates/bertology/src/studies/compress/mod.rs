//! Smaller and faster without training: heads and neurons that matter least go, what stays is weighed anew.
//!
//! The way of Kwon et al. 2022 ("A Fast Post-Training Pruning Framework for Transformers", NeurIPS, arXiv 2204.09656), in four steps:
//!
//! 1. [`gradients`](fn@gradients): for some examples the gradient of the loss with respect to a factor of every head and neuron, at 1.
//! 2. [`search`](fn@search): by the mean squares of these ([`Measure::Fisher`]) those units stay whose loss is least under a cost
//!    ([`Costs`]): operations, bytes, or seconds as measured.
//! 3. [`rearrange`](fn@rearrange): within each group units are exchanged where two do the same work.
//! 4. [`tune`](fn@tune): factors of what stays, by least squares, so that each half of a block does to the residual stream what it
//!    did; they go into the weights.
//!
//! Each step can be left out. Groups are the heads of a layer and the neurons of its feed-forward block; none loses its last
//! unit. Steps 1 and 4 read texts, of which only the first needs targets.
//!
//! # What differs from the published code
//! Gradients are those of single examples, where its are of batches of 32; the search chooses among all numbers of heads and
//! about 128 widths a layer and then takes back what the budget has room for, where its first one fixes heads globally; the ridge
//! of the least squares pulls towards 1.

use bertology_checkpoint::{Affine, Cut, LayerParameter, Parameter, Tensor, rounded};
use bertology_model::{Matrix, Sequence};

use crate::{Error, LoadedModel, Watch};

mod cost;
mod gradients;
mod groups;
mod latency;
mod least_squares;
mod measure;
mod rearrange;
mod search;
mod tune;

pub use cost::Costs;
pub use gradients::{Gradients, gradients};
pub use groups::{Groups, Kind, PerUnit, factors};
pub use latency::{LayerTimes, layer_times};
pub use least_squares::Normal;
pub(crate) use measure::Moments;
pub use measure::{Measure, Score};
pub use rearrange::rearrange;
pub use search::{OutOfReach, Rules, search};
pub use tune::{Gain, RIDGE, Tuned, tune};

/// What stays, and what that is expected to cost in loss.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// Which units stay.
    pub keep: PerUnit<bool>,
    /// What they cost.
    pub cost: f64,
    /// Sum of the scores of those that go.
    pub scores_lost: f64,
    /// The Fisher objective `zᵀ F z` over all groups, before units were exchanged and after; the same where they were not.
    pub objective: [f64; 2],
}

/// Chooses what stays: steps 2 and, with `exchange`, 3.
///
/// # Errors
/// A budget that cannot be kept.
pub fn choose(
    groups: &Groups,
    gradients: &Gradients,
    scores: &PerUnit<f64>,
    costs: &Costs,
    budget: f64,
    rules: Rules,
    exchange: bool,
) -> Result<Chosen, OutOfReach> {
    let mut keep = search(groups, scores, costs, budget, rules)?;
    let units = scores.iter().flatten().zip(keep.iter().flatten());
    let scores_lost = units
        .filter(|(_, stays)| !**stays)
        .map(|(score, _)| score)
        .sum();
    let mut objective = [0.0; 2];
    if exchange {
        for (group, keep) in keep.iter_mut().enumerate() {
            let rows: Vec<f32> = gradients.group(group).flatten().copied().collect();
            let rows = Matrix::new(&rows, gradients.examples(), keep.len());
            let [before, after] = rearrange(rows, keep);
            objective[0] += before;
            objective[1] += after;
        }
    }
    Ok(Chosen {
        cost: costs.of(&keep),
        keep,
        scores_lost,
        objective,
    })
}

/// A smaller model, in memory.
#[derive(Debug, Clone)]
pub struct Compressed {
    /// The model; it computes what it will when its checkpoint is read.
    pub model: LoadedModel,
    /// What the weights of the whole model became.
    pub tuned: Tuned,
}

/// Takes units out, and with `tune_on` tunes the others on these texts.
///
/// # Errors
/// Texts that the model cannot take; an interruption.
pub fn compress(
    model: &LoadedModel,
    keep: &PerUnit<bool>,
    tune_on: Option<&[Sequence]>,
    threads: usize,
    watch: &mut dyn Watch,
) -> Result<Compressed, Error> {
    let tuned = match tune_on {
        Some(sequences) => tune(model.model(), keep, sequences, threads, watch)?,
        None => Tuned::untuned(keep),
    };
    let (heads, neurons) = Groups::of(model.model()).masks(&tuned.factors)?;
    // As the file will have them: scores and speed are those of the model that is written.
    let map = Parameter::Layer(0, LayerParameter::MlpOut(Affine::Weight));
    let dtype = model.checkpoint().parameter(map).map(Tensor::dtype);
    let round = |value: f64| dtype.map_or(value, |dtype| rounded(dtype, value));
    let smaller = model.model().folded_and_rounded(&heads, &neurons, round)?;
    Ok(Compressed {
        model: model.changed(smaller),
        tuned,
    })
}

/// What is to be written of a checkpoint so that it computes what the units' factors say.
#[must_use]
pub fn cut(groups: &Groups, factors: &PerUnit<f64>) -> Cut {
    let mut gone = Vec::new();
    let mut weighed = Vec::new();
    let mut neurons = Vec::new();
    for (layer, kind) in groups.iter() {
        let factors = &factors[kind.group(layer)];
        if kind == Kind::Neurons {
            if factors.iter().any(|factor| *factor != 1.0) {
                neurons.push((layer, factors.clone()));
            }
            continue;
        }
        for (head, factor) in groups.heads(layer).iter().zip(factors) {
            match *factor {
                0.0 => gone.push((layer, *head)),
                1.0 => {}
                factor => weighed.push((layer, *head, factor)),
            }
        }
    }
    let mut cut = Cut::from(gone.into_iter().collect::<bertology_checkpoint::HeadSet>());
    for (layer, head, factor) in weighed {
        cut = cut.weigh(layer, head, factor);
    }
    for (layer, factors) in neurons {
        cut = cut.neurons(layer, factors);
    }
    cut
}
