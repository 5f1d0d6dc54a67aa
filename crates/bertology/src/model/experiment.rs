//! One input, one question: what does the model compute under this mask, with these values changed?
//!
//! [`LoadedModel::experiment`] begins a question, [`Experiment::run`] answers it. Nothing is kept on the
//! model: two questions cannot disturb each other.
//!
//! ```
//! use bertology::{HeadId, LoadedModel};
//! use bertology::model::{Interests, LayerSite};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/tiny-gpt2");
//! let model = LoadedModel::open(folder)?; // a language model
//! let text = "The horses were admired.";
//! let head = HeadId { layer: 1, head: 2 };
//!
//! // Values and gradients of a site, for the loss of predicting the text itself.
//! let seen = model
//!     .experiment(&text)?
//!     .next_tokens()
//!     .observe(Interests::none().value(LayerSite::HeadOutput).gradient(LayerSite::HeadOutput))
//!     .run()?;
//! let output = seen.head_value(head, LayerSite::HeadOutput)?; // [tokens, head_dim]
//! let gradient = seen.head_gradient(head, LayerSite::HeadOutput)?;
//! let slope: f32 = output.data.iter().zip(&gradient.data).map(|(o, g)| o * g).sum();
//!
//! // Ablation by zero: how much does the text's loss rise without the head?
//! let without = model.experiment(&text)?.next_tokens().zero(head).run()?;
//! let rise = without.loss()? - seen.loss()?;
//! assert!(rise.abs() > 1e-6 && slope.is_finite());
//! # Ok(())
//! # }
//! ```

use bertology_model::taps::Captured;
use bertology_model::{
    Capture, HeadId, HeadMask, Interests, Intervention, LayerSite, Masking, NeuronMask, Observer,
    PackedBatch, Pass, PassOptions, Place, Replacements, Sequence, SequenceOutput, Tap, Target,
    Workspace,
};

use crate::model::loaded::Input;
use crate::{Error, HeadTable, LoadedModel};

/// A question to a model about one input; every method adds to it.
#[derive(Debug, Clone)]
pub struct Experiment<'m> {
    model: &'m LoadedModel,
    sequence: Sequence,
    target: Option<Target>,
    mask: Option<HeadMask>,
    neurons: Option<NeuronMask>,
    interests: Interests,
    replacements: Replacements<f32>,
    replaced: bool,
    token_logits: bool,
}

/// The answer to an [`Experiment`].
#[derive(Debug, Clone)]
pub struct Seen {
    output: SequenceOutput<f32>,
    capture: Capture<f32>,
    gradients: Option<HeadTable>,
}

impl LoadedModel {
    /// Begins a question about one input.
    ///
    /// # Errors
    /// An input that cannot be encoded.
    pub fn experiment<I: Input>(&self, input: &I) -> Result<Experiment<'_>, Error> {
        Ok(Experiment {
            model: self,
            sequence: input.sequence(self)?,
            target: None,
            mask: None,
            neurons: None,
            interests: Interests::none(),
            replacements: Replacements::new(),
            replaced: false,
            token_logits: false,
        })
    }

    /// The mean of a head's output `[head_dim]` over all tokens of all inputs, special tokens included:
    /// what [`Experiment::mean`] puts in the place of the head.
    ///
    /// # Errors
    /// A head that the model does not have; no inputs; inputs that cannot be encoded.
    pub fn mean_head_output<I: Input>(&self, id: HeadId, inputs: &[I]) -> Result<Vec<f32>, Error> {
        let mut sums = vec![0.0_f64; self.architecture().head_dim()];
        let mut tokens = 0_u64;
        for input in inputs {
            let seen = self
                .experiment(input)?
                .observe(Interests::none().value(LayerSite::HeadOutput))
                .run()?;
            for row in seen
                .head_value(id, LayerSite::HeadOutput)?
                .data
                .chunks(sums.len())
            {
                tokens += 1;
                for (sum, value) in sums.iter_mut().zip(row) {
                    *sum += f64::from(*value);
                }
            }
        }
        if tokens == 0 {
            return Err(Error::NoExamples);
        }
        Ok(sums
            .into_iter()
            .map(|sum| (sum / tokens as f64) as f32)
            .collect())
    }
}

impl Experiment<'_> {
    /// The tokens that the model will see.
    #[must_use]
    pub fn sequence(&self) -> &Sequence {
        &self.sequence
    }

    /// What the model should have said: gives a loss, and gradients where they are observed.
    #[must_use]
    pub fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    /// The text itself is the target, each token predicted from those before it (causal language
    /// models).
    #[must_use]
    pub fn next_tokens(self) -> Self {
        let target = Target::next_tokens(&self.sequence.ids);
        self.target(target)
    }

    /// A factor for every head.
    #[must_use]
    pub fn mask(mut self, mask: HeadMask) -> Self {
        self.mask = Some(mask);
        self
    }

    /// A factor for every neuron of the feed-forward blocks; their gradient is at [`LayerSite::NeuronMask`].
    #[must_use]
    pub fn neurons(mut self, mask: NeuronMask) -> Self {
        self.neurons = Some(mask);
        self
    }

    /// The head's output becomes zero.
    #[must_use]
    pub fn zero(mut self, id: HeadId) -> Self {
        self.replacements = self.replacements.zero(id);
        self.replaced = true;
        self
    }

    /// The head's output becomes this row `[head_dim]` at every token; see
    /// [`LoadedModel::mean_head_output`].
    #[must_use]
    pub fn mean(mut self, id: HeadId, row: Vec<f32>) -> Self {
        self.replacements = self.replacements.mean(id, row);
        self.replaced = true;
        self
    }

    /// The value at a site becomes `value`, of the site's shape; `head` at sites that are per head.
    /// With a value that another experiment saw, this is activation patching.
    #[must_use]
    pub fn replace(mut self, tap: Tap, head: Option<usize>, value: Captured<f32>) -> Self {
        let place = Place {
            tap,
            sequence: 0,
            head,
        };
        self.replacements = self.replacements.value(place, value);
        self.replaced = true;
        self
    }

    /// Values and gradients to be kept.
    #[must_use]
    pub fn observe(mut self, interests: Interests) -> Self {
        self.interests = self.interests.union(interests);
        self
    }

    /// Keep a language model's logits of every position.
    #[must_use]
    pub fn token_logits(mut self) -> Self {
        self.token_logits = true;
        self
    }

    /// Asks the model.
    ///
    /// # Errors
    /// A mask, target or replacement that does not fit the model or the input; gradients without a
    /// target; a site that the model does not have.
    pub fn run(mut self) -> Result<Seen, Error> {
        let engine = self.model.model();
        let sequence = std::slice::from_ref(&self.sequence);
        let batch = PackedBatch::new(engine.architecture(), sequence)?;
        let mut capture = Capture::new(self.interests);
        let targets = self.target.as_ref().map(std::slice::from_ref);
        let options = PassOptions {
            masking: self.mask.as_ref().map_or(Masking::None, Masking::Shared),
            neurons: self.neurons.as_ref(),
            targets,
            mask_gradients: targets.is_some(),
            token_logits: self.token_logits,
            target_logits: false,
            threads: 1,
            ..PassOptions::default()
        };
        let mut output = {
            let observers: &mut [&mut dyn Observer<f32>] = &mut [&mut capture];
            let all: &mut [&mut dyn Intervention<f32>] = &mut [&mut self.replacements];
            let interventions = if self.replaced { all } else { &mut [] };
            let mut workspace = Workspace::new();
            engine.run_with(&batch, &options, &mut workspace, observers, interventions)?
        };
        let output = output.sequences.pop().unwrap_or_default();
        let gradients = output.mask_gradient.as_ref().map(|gradient| {
            let zeros = HeadTable::zeros(engine);
            let heads = zeros.heads();
            zeros.map(|id, _| gradient[id.layer * heads + id.head])
        });
        Ok(Seen {
            output,
            capture,
            gradients,
        })
    }
}

impl Seen {
    /// Loss of the input, in nats (squared units for regression).
    ///
    /// # Errors
    /// [`Error::NotObserved`] without a target.
    pub fn loss(&self) -> Result<f64, Error> {
        self.output.loss.ok_or(Error::NotObserved {
            what: "a loss".to_owned(),
            remedy: "give the experiment a target",
        })
    }

    /// Logits of the sequence-level head, `[labels]`; empty if the model has none.
    #[must_use]
    pub fn logits(&self) -> &[f32] {
        &self.output.logits
    }

    /// A language model's logits, `[tokens, vocab]` row by row.
    ///
    /// # Errors
    /// [`Error::NotObserved`] unless [`Experiment::token_logits`] asked for them and the model has a
    /// language-model head.
    pub fn token_logits(&self) -> Result<&[f32], Error> {
        self.output
            .token_logits
            .as_deref()
            .ok_or(Error::NotObserved {
                what: "logits of every token".to_owned(),
                remedy: "ask a language model for them with token_logits()",
            })
    }

    /// Signed gradient of the loss with respect to every head's mask factor; its absolute value is the
    /// head's importance for this input.
    ///
    /// # Errors
    /// [`Error::NotObserved`] without a target.
    pub fn mask_gradients(&self) -> Result<&HeadTable, Error> {
        self.gradients.as_ref().ok_or(Error::NotObserved {
            what: "gradients of the head mask".to_owned(),
            remedy: "give the experiment a target",
        })
    }

    /// The value at a site that is not per head.
    ///
    /// # Errors
    /// [`Error::NotObserved`].
    pub fn value(&self, tap: Tap) -> Result<&Captured<f32>, Error> {
        found(self.capture.get(Pass::Forward, tap, 0), &tap)
    }

    /// The gradient at a site that is not per head.
    ///
    /// # Errors
    /// [`Error::NotObserved`].
    pub fn gradient(&self, tap: Tap) -> Result<&Captured<f32>, Error> {
        found(self.capture.get(Pass::Backward, tap, 0), &tap)
    }

    /// The value of one head at a site.
    ///
    /// # Errors
    /// [`Error::NotObserved`].
    pub fn head_value(&self, id: HeadId, site: LayerSite) -> Result<&Captured<f32>, Error> {
        let value = self.capture.get_head(Pass::Forward, id, site, 0);
        found(value, &(id, site))
    }

    /// The gradient of one head at a site.
    ///
    /// # Errors
    /// [`Error::NotObserved`].
    pub fn head_gradient(&self, id: HeadId, site: LayerSite) -> Result<&Captured<f32>, Error> {
        let value = self.capture.get_head(Pass::Backward, id, site, 0);
        found(value, &(id, site))
    }

    /// Everything kept.
    #[must_use]
    pub fn capture(&self) -> &Capture<f32> {
        &self.capture
    }
}

fn found<'c>(
    value: Option<&'c Captured<f32>>,
    place: &dyn std::fmt::Debug,
) -> Result<&'c Captured<f32>, Error> {
    value.ok_or_else(|| Error::NotObserved {
        what: format!("{place:?}"),
        remedy: "name the site in observe(), and a layer and head that the model has",
    })
}
