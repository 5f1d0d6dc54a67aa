//! Does the model compute here what it computes elsewhere? A model against a file that another
//! program wrote, site by site.
//!
//! The file is in safetensors format and holds inputs (`input_ids`, `attention_mask`, `labels`, …)
//! and results (`hidden_states.0` …, `attentions.0` …, `logits`, `loss`, `grad.hidden_states.0`, …)
//! under the names of transformers; `docs/commands/verify.md` has the ten lines of Python that write
//! one. The model is run on the inputs, and every result is compared where a token is, not where
//! padding is. The answer names the first tensor, in the order of the computation, that does not
//! agree: what follows it is computed from it.
//!
//! ```no_run
//! use bertology::LoadedModel;
//! use bertology::verify::{Reference, VerifyOptions, verify};
//!
//! let model = LoadedModel::open("path/to/model")?;
//! let reference = Reference::open("reference.safetensors")?;
//! let found = verify(model.model(), &reference, &VerifyOptions::default())?;
//! match found.first_divergence() {
//!     None => println!("all {} tensors agree", found.comparisons.len()),
//!     Some(first) => println!("{} differs at {}", first.name, first.worst.place),
//! }
//! # Ok::<(), bertology::Error>(())
//! ```

mod compare;
mod inputs;
mod names;
mod reference;
mod report;

use bertology_model::{Masking, Model, PackedBatch, PassOptions, Real, Workspace};

pub use crate::error::{Place, ReferenceError};
pub use reference::Reference;
pub use report::{Comparison, HeadError, Ignored, Verification, Worst};

use bertology_model::kernels::Precision;

use crate::Error;
use crate::model::loaded::all_threads;
use compare::Judge;
use inputs::Inputs;
use names::Account;

/// Largest errors that pass, relative to the scale of the tensor: the largest absolute value that the
/// reference has where it is compared, and at least 1 for logits and losses, which are differences of
/// larger numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerances {
    /// Hidden states, attention, logits and other values; 2e-5. Two programs that compute the same in
    /// f32 differ by some 1e-6 of the scale (measured on tiny and six-layer models); with the wrong one
    /// of the two forms of GELU the first hidden state is off by 1e-4 of it.
    pub values: f64,
    /// Losses; 1e-5.
    pub loss: f64,
    /// Gradients; 1e-4. A nearly saturated softmax leaves small differences of large numbers.
    pub gradients: f64,
}

impl Default for Tolerances {
    fn default() -> Self {
        Self::of(Precision::F32)
    }
}

impl Tolerances {
    /// Those of a precision: 2e-5, 1e-5 and 1e-4 in f32. Models of three layers are off by up to 2e-5 in values and 5e-5 in
    /// gradients with `split`, by 1e-2 and .2 with `bf16`: allowed are 1e-4, 1e-4 and 5e-4; 5e-2, 5e-2 and .5.
    #[must_use]
    pub fn of(precision: Precision) -> Self {
        let (values, loss, gradients) = match precision {
            Precision::F32 => (2e-5, 1e-5, 1e-4),
            Precision::Split => (1e-4, 1e-4, 5e-4),
            Precision::Bf16 => (5e-2, 5e-2, 0.5),
        };
        Self {
            values,
            loss,
            gradients,
        }
    }
}

/// How a reference is read and judged.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VerifyOptions {
    /// Where a file holds several groups of results, as `ones.logits` and `some.logits`: the group to
    /// compare, with or without the dot, and then groups in which inputs are looked up before they are
    /// taken from outside any group.
    pub prefixes: Vec<String>,
    /// What counts as agreement.
    pub tolerances: Tolerances,
    /// Threads inside the matrix products; 0 for all.
    pub threads: usize,
}

/// Runs `model` on the inputs of `reference` and compares it with the results there.
///
/// # Loss and gradients
/// A loss of one number is the mean over the batch as transformers computes it: over sequences, and for
/// language models over all tokens that count. Gradients are those of that loss. Where the file has a
/// loss for every sequence, gradients are those of their sum; `mask_grad [batch, layers, heads]` is
/// that of each sequence's own loss either way.
///
/// # Head mask
/// Under `head_mask`, `attentions.N` are multiplied by it, as transformers returns them, while
/// `attention_probs.N` are the softmax.
///
/// # Padding
/// Padding may be on either side. Where `position_ids` are absent, positions count it, as they do in
/// transformers (except in RoBERTa, whose positions skip the padding id).
///
/// # Errors
/// [`Error::Reference`] for a file that cannot be compared as a whole: a tensor that is not understood
/// or has a wrong shape, an input that is missing, results that are not finite or all zeros, no result
/// at all. [`Error::Option`] for a tolerance that is not a positive number; what the engine refuses.
/// Values that differ are no error.
pub fn verify<R: Real>(
    model: &Model<R>,
    reference: &Reference,
    options: &VerifyOptions,
) -> Result<Verification, Error> {
    check(&options.tolerances)?;
    let arch = model.architecture();
    let prefixes: Vec<String> = options
        .prefixes
        .iter()
        .map(|prefix| format!("{}.", prefix.trim_end_matches('.')))
        .collect();
    let mut account = Account::new(reference, arch, &prefixes)?;
    account.drop_input("pool_positions", "the model finds the last token itself");
    let inputs = Inputs::read(&mut account, arch)?;
    let mut judge = Judge::new(std::mem::take(&mut account.results), &inputs, arch)?;
    let batch = PackedBatch::new(arch, &inputs.sequences)?;
    let pass = PassOptions {
        masking: inputs.mask.as_ref().map_or(Masking::None, Masking::Shared),
        targets: inputs.targets.as_deref(),
        mask_gradients: judge.wants_mask_gradients(),
        threads: if options.threads == 0 {
            all_threads()
        } else {
            options.threads
        },
        // They are values that differ.
        allow_nonfinite: true,
        ..PassOptions::default()
    };
    let output = model.run(&batch, &pass, &mut Workspace::new(), &mut [&mut judge])?;
    judge.outputs(&output.sequences, arch);
    Ok(Verification {
        sequences: batch.len(),
        tokens: batch.tokens(),
        padding: batch.len() * inputs.width - batch.tokens(),
        comparisons: judge.finish(&options.tolerances)?,
        inputs: account
            .inputs
            .values()
            .map(|named| named.name.to_owned())
            .collect(),
        ignored: account.ignored,
    })
}

fn check(tolerances: &Tolerances) -> Result<(), Error> {
    let all = [
        ("the tolerance of values", tolerances.values),
        ("the tolerance of losses", tolerances.loss),
        ("the tolerance of gradients", tolerances.gradients),
    ];
    match all.into_iter().find(|(_, t)| !(*t > 0.0 && t.is_finite())) {
        None => Ok(()),
        Some((option, value)) => Err(Error::Option {
            option,
            value: value.to_string(),
            reason: "it must be a positive number",
        }),
    }
}
