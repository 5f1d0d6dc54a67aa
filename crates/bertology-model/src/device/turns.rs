//! A batch without each head in turn, many heads at once: [`crate::ablation`] on a device.
//!
//! What lies below the layer of a head is computed once. From there on the batch stands once for every head, each time under
//! another mask, so that a device has more to do at a time than one batch would give it.

use bertology_device::Reduce;
use bertology_kernels::Real;

use super::Asked;
use super::pass::DevicePass;
use super::weights::Weights;
use crate::taps::Taps;
use crate::{Error, HeadId, HeadMask, Masking, PassOptions, Removal, SequenceOutput};

/// Tokens that are computed at once, unless one batch has more.
const TOKENS: usize = 4096;

/// The results of the whole model and without each of `heads`, which are there, each once and in order.
pub(super) fn run<R: Real, D: Reduce<R>>(
    device: &D,
    weights: &Weights<R, D::Buffer>,
    asked: &Asked<'_, R>,
    removal: fn(HeadId) -> Removal,
    heads: &[HeadId],
    each: &mut dyn FnMut(Option<HeadId>, Vec<SequenceOutput<R>>),
) -> Result<(), Error> {
    let mut taps = Taps::new(&mut [], &mut [])?;
    taps.allow_nonfinite(asked.options.allow_nonfinite);
    let whole = DevicePass::new(device, weights, asked)?;
    let mut x = whole.embed(&mut taps)?;
    let at_once = (TOKENS / asked.batch.tokens().max(1)).max(1);
    let mut results = Vec::with_capacity(heads.len());
    for layer in 0..asked.model.depth() {
        asked.options.go_on()?;
        let here: Vec<HeadId> = heads
            .iter()
            .copied()
            .filter(|head| head.layer == layer)
            .collect();
        for some in here.chunks(at_once) {
            let found = without(device, weights, asked, removal, some, (layer, &x))?;
            results.extend(some.iter().copied().zip(found));
        }
        let mut trace = whole.trace(layer)?;
        whole.block(layer, &mut x, &mut trace, &mut taps)?;
    }
    whole.final_norm(&mut x, &mut taps)?;
    each(None, whole.outputs(&x, asked, &mut taps)?.0);
    for (head, found) in results {
        each(Some(head), found);
    }
    Ok(())
}

/// The results without each of some heads of a layer, of which `x` is the input.
fn without<R: Real, D: Reduce<R>>(
    device: &D,
    weights: &Weights<R, D::Buffer>,
    asked: &Asked<'_, R>,
    removal: fn(HeadId) -> Removal,
    heads: &[HeadId],
    (layer, x): (usize, &D::Buffer),
) -> Result<Vec<Vec<SequenceOutput<R>>>, Error> {
    let (model, times) = (asked.model, heads.len());
    let (sequences, tokens) = (asked.batch.len(), asked.batch.tokens());
    let batch = asked.batch.repeated(times);
    let targets = asked.targets.map(|targets| targets.repeat(times));
    let mut masks = Vec::with_capacity(times * sequences);
    for head in heads {
        for sequence in 0..sequences {
            let mut mask = HeadMask::ones(model);
            for id in model.heads() {
                let gone = match removal(*head) {
                    Removal::Head(gone) => id == gone,
                    Removal::Others(stays) => id.layer == stays.layer && id != stays,
                };
                let factor = asked.options.masking.factor(sequence, id);
                mask.set(id, if gone { 0.0 } else { factor });
            }
            masks.push(mask);
        }
    }
    let options = PassOptions {
        masking: Masking::PerSequence(&masks),
        targets: None,
        ..*asked.options
    };
    let repeated = Asked {
        model,
        batch: &batch,
        options: &options,
        targets: targets.as_deref(),
        backward: false,
        headless: false,
    };
    let mut taps = Taps::new(&mut [], &mut [])?;
    taps.allow_nonfinite(options.allow_nonfinite);
    let places: Vec<u32> = (0..times).flat_map(|_| 0..tokens as u32).collect();
    let places = device.indices(&places)?;
    let width = model.architecture().hidden_size;
    let mut y = device.zeros(times * tokens * width)?;
    device.gather(&mut y, x, &places, width, false);
    let pass = DevicePass::new(device, weights, &repeated)?;
    let found = pass.rise(layer, y, &repeated, &mut taps);
    let mut found = found.map_err(|error| match error {
        Error::NotFinite {
            mut place,
            gradient,
            ..
        } => {
            let without = removal(heads[place.sequence / sequences]);
            place.sequence %= sequences;
            Error::NotFinite {
                place,
                gradient,
                without: Some(without),
            }
        }
        other => other,
    })?;
    let mut each = Vec::with_capacity(times);
    while !found.is_empty() {
        let rest = found.split_off(sequences);
        each.push(found);
        found = rest;
    }
    Ok(each)
}
