//! The loss under a head mask, and where it goes as the mask changes.

use bertology_model::{HeadMask, Masking, PassOptions, Sequence, Target};

use crate::drive::each;
use crate::input::corpus::packed;
use crate::{Error, LoadedModel};

/// Sequences of a job: few, whatever the threads, so that nothing depends on them.
const TOGETHER: usize = 8;

/// Mean loss of examples under a mask, in nats, and the mean of its gradient with respect to the factor of every head, row-major
/// `[layers, heads]`, 0 for heads that are not there. Summed in the order of the examples.
///
/// # Errors
/// Examples that the model cannot take, a mask that does not fit.
pub fn slopes(
    model: &LoadedModel,
    examples: &[&(Sequence, Target)],
    mask: &HeadMask,
    threads: usize,
) -> Result<(f64, Vec<f64>), Error> {
    let share = 1.0 / examples.len().max(1) as f64;
    let (mut loss, mut gradient) = (0.0, vec![0.0; mask.values().len()]);
    each(
        threads,
        examples.chunks(TOGETHER),
        |workspace, examples| {
            let (sequences, targets): (Vec<Sequence>, Vec<Target>) =
                examples.iter().map(|example| (*example).clone()).unzip();
            let batch = packed(model.architecture(), &sequences, |_, error| error)?;
            let options = PassOptions {
                masking: Masking::Shared(mask),
                targets: Some(&targets),
                mask_gradients: true,
                ..PassOptions::default()
            };
            let output = model.model().run(&batch, &options, workspace, &mut [])?;
            Ok(output.sequences)
        },
        |outputs| {
            for output in outputs {
                loss += share * output.loss.unwrap_or(f64::NAN);
                let slopes = output.mask_gradient.unwrap_or_default();
                for (sum, slope) in gradient.iter_mut().zip(slopes) {
                    *sum += share * slope;
                }
            }
            Ok(())
        },
    )?;
    Ok((loss, gradient))
}
