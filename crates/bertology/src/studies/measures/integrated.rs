//! Integrated gradients over factors.

use bertology_model::{HeadMask, NeuronMask};

use crate::compress::{Gradients, Groups, Kind, gradients};
use crate::drive::Work;
use crate::input::corpus::ExampleItem;
use crate::input::supply::Supply;
use crate::{Error, LoadedModel, Watch};

/// For each example and unit `∫ ∂loss/∂factor dα` along the way on which the factors of all units of these kinds are `α`, from 0 to 1:
/// Sundararajan, Taly and Yan 2017, with factors in the place of inputs, and none in that of the baseline. Units of other kinds
/// stay as they are and get 0.
///
/// The integral is taken by the midpoints of `points` equal parts. All units of an example together give its loss with all of
/// them less that without any, to the error of that rule: the completeness of the method.
///
/// # Errors
/// As [`gradients`]; no points or no kinds.
pub fn integrated<S: Supply<Item = ExampleItem>>(
    model: &LoadedModel,
    supply: &S,
    kinds: &[Kind],
    points: usize,
    work: &Work,
    watch: &mut dyn Watch,
) -> Result<Gradients, Error> {
    let nothing = || Error::Option {
        option: "the points of integrated gradients",
        value: points.to_string(),
        reason: "give at least one, and one kind of units",
    };
    if kinds.is_empty() {
        return Err(nothing());
    }
    let groups = Groups::of(model.model());
    let kind_of: Vec<Kind> = groups.iter().map(|(_, kind)| kind).collect();
    let mut sum: Option<Gradients> = None;
    for point in 0..points {
        let factor = (point as f64 + 0.5) / points as f64;
        let of = |kind: Kind| if kinds.contains(&kind) { factor } else { 1.0 };
        let heads = scaled(&HeadMask::ones(model.model()), of(Kind::Heads))?;
        let neurons = NeuronMask::ones(model.model());
        let neurons = NeuronMask::from_values(
            groups.layers(),
            neurons.values().len() / groups.layers().max(1),
            times(neurons.values(), of(Kind::Neurons)),
        )?;
        // In the weights the factor is 1 again, so that its gradient is the one that is looked for times the factor.
        let weakened = model.changed(model.model().folded(&heads, &neurons)?);
        let mut found = gradients(&weakened, supply, work, watch)?;
        found.keep(|group| kinds.contains(&kind_of[group]));
        found.scale(1.0 / (points as f64 * factor));
        match &mut sum {
            Some(sum) => sum.add(&found),
            None => sum = Some(found),
        }
    }
    sum.ok_or_else(nothing)
}

fn scaled(mask: &HeadMask, factor: f64) -> Result<HeadMask, Error> {
    let values = times(mask.values(), factor);
    Ok(HeadMask::from_values(mask.layers(), mask.heads(), values)?)
}

fn times(values: &[f64], factor: f64) -> Vec<f64> {
    values.iter().map(|value| factor * value).collect()
}
