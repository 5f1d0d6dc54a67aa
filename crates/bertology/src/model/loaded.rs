//! A model with its tokenizer, and what it computes for a few texts.
//!
//! ```
//! use bertology::{HeadId, LoadedModel, Target};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/tiny-bert");
//! let model = LoadedModel::open(folder)?;
//! let texts = ["The woman faints.", "The woman faint."];
//! let labels = [Target::Label(1), Target::Label(0)];
//!
//! let states = model.hidden_states(&texts)?; // [text][layer], embeddings first
//! assert_eq!(states[0].len(), model.architecture().num_layers + 1);
//!
//! let head = HeadId { layer: 2, head: 0 };
//! let attentions = model.attentions(&texts)?;
//! let map = &attentions[1][head]; // [query, key]
//! assert_eq!((map.rows, map.cols), (6, 6));
//!
//! // The importance of a head is the size of the loss's slope by its mask: outputs times their
//! // gradients, summed.
//! let outputs = model.head_outputs(&texts)?; // [tokens, head_dim], before the output projection
//! let gradients = model.head_output_gradients(&texts, &labels)?;
//! let (output, gradient) = (&outputs[0][head], &gradients[0][head]);
//! let slope: f32 = output.data.iter().zip(&gradient.data).map(|(o, g)| o * g).sum();
//! let slopes = model.mask_gradients(&texts, &labels)?;
//! let expected = slopes[0].get(head).ok_or("no such head")?;
//! assert!((f64::from(slope) - expected).abs() < 1e-5);
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use bertology_checkpoint::{Architecture, Checkpoint, NewHead, OpenOptions};
use bertology_hub::HubOptions;
use bertology_model::kernels::Precision;
use bertology_model::{HeadId, Model, Sequence};
use bertology_tokenizer::{Encoding, Tokenizer, TokenizerError};

use crate::Error;
use crate::random::Draws;

/// A model without its weights: what it takes to turn texts into its sequences. Cloning shares all but the description.
#[derive(Debug, Clone)]
pub struct Outline {
    checkpoint: Arc<Checkpoint>,
    architecture: Architecture,
    heads: Vec<HeadId>,
    tokenizer: Result<Arc<Tokenizer>, Arc<TokenizerError>>,
}

impl Outline {
    /// The checkpoint that the weights came from.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The description of the model as it is now, heads removed in memory included.
    #[must_use]
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The heads that the model has, in order.
    #[must_use]
    pub fn heads(&self) -> &[HeadId] {
        &self.heads
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`] with the reason why the folder's could not be read.
    pub fn tokenizer(&self) -> Result<&Tokenizer, Error> {
        self.tokenizer
            .as_deref()
            .map_err(|source| Error::NoTokenizer {
                path: self.checkpoint.folder().to_owned(),
                source: Arc::clone(source),
            })
    }
}

/// A checkpoint, its weights in memory, and its tokenizer. Cloning shares all of them.
#[derive(Debug, Clone)]
pub struct LoadedModel {
    outline: Outline,
    model: Model<f32>,
}

/// Threads that the machine offers.
pub(crate) fn all_threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

impl LoadedModel {
    /// Opens a folder in the Hugging Face layout as what its config declares.
    ///
    /// A folder without a usable tokenizer opens too; only [`LoadedModel::encode`] is refused then.
    ///
    /// # Errors
    /// Whatever is wrong with the config or the weights.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(folder, &OpenOptions::new())
    }

    /// Opens a model by name: a folder, or a model on the hub, fetched into the user's cache.
    ///
    /// # Errors
    /// Why the name gives no folder; then as [`LoadedModel::open`].
    pub fn from_name(name: &str, options: &HubOptions) -> Result<Self, Error> {
        Self::open(bertology_hub::resolve(name, options)?.folder)
    }

    /// Opens a folder with another task head, or with tensors that nothing uses.
    ///
    /// # Errors
    /// As [`LoadedModel::open`].
    pub fn open_with(folder: impl AsRef<Path>, options: &OpenOptions) -> Result<Self, Error> {
        let folder = folder.as_ref();
        let checkpoint = Checkpoint::open(folder, options)?;
        let model = Model::from_checkpoint(&checkpoint)?;
        Ok(Self::assemble(checkpoint, model, folder))
    }

    /// The same computing its linear maps in a precision ([`Model::with_precision`]).
    ///
    /// # Errors
    /// None that a model in f32 has.
    pub fn in_precision(self, precision: Precision) -> Result<Self, Error> {
        let (outline, model) = self.into_parts();
        let model = model.with_precision(precision)?;
        Ok(Self { outline, model })
    }

    /// The same with its passes on a device that the caller brings ([`Model::on_device`]); [`LoadedModel::on`] finds one.
    ///
    /// # Errors
    /// A precision other than f32.
    #[cfg(feature = "gpu")]
    pub fn with_device<D>(self, device: D) -> Result<Self, Error>
    where
        D: bertology_model::bertology_device::Reduce<f32> + 'static,
        D::Buffer: 'static,
    {
        let (outline, model) = self.into_parts();
        let model = model.on_device(device)?;
        Ok(Self { outline, model })
    }

    fn assemble(checkpoint: Checkpoint, model: Model<f32>, folder: &Path) -> Self {
        let tokenizer = Tokenizer::from_folder(folder);
        let outline = Outline {
            checkpoint: Arc::new(checkpoint),
            architecture: model.architecture().clone(),
            heads: model.heads().collect(),
            tokenizer: tokenizer.map(Arc::new).map_err(Arc::new),
        };
        Self { outline, model }
    }

    /// Opens a folder to train it for a task ([`Checkpoint::open_to_train`]); what the head lacks begins with values drawn
    /// from `seed`.
    ///
    /// # Errors
    /// As [`LoadedModel::open`].
    pub fn open_to_train(
        folder: impl AsRef<Path>,
        options: &OpenOptions,
        head: &NewHead,
        seed: u64,
    ) -> Result<Self, Error> {
        let folder = folder.as_ref();
        let checkpoint = Checkpoint::open_to_train(folder, options, head)?;
        let mut draws = Draws::of([seed, 0x6865_6164]);
        let mut normal = || draws.normal();
        let model = Model::from_checkpoint_to_train(&checkpoint, &mut normal)?;
        Ok(Self::assemble(checkpoint, model, folder))
    }

    /// The weights, and what else there is.
    #[must_use]
    pub fn into_parts(self) -> (Outline, Model<f32>) {
        (self.outline, self.model)
    }

    /// Weights of a model trained from the one that `outline` is of, or made of it.
    #[must_use]
    pub fn from_parts(outline: Outline, model: Model<f32>) -> Self {
        Self {
            outline: Outline {
                architecture: model.architecture().clone(),
                heads: model.heads().collect(),
                ..outline
            },
            model,
        }
    }

    /// The same with other weights, those of a model trained from this one. [`LoadedModel::checkpoint`] stays what it was.
    #[must_use]
    pub fn with_model(&self, model: Model<f32>) -> Self {
        Self::from_parts(self.outline.clone(), model)
    }

    /// Writes the weights as they are now, with config and tokenizer, as a folder that others can load
    /// ([`bertology_checkpoint::write_trained`]); gives the names of the files. They are made in `scratch`, a folder on the
    /// same file system, and moved.
    ///
    /// # Errors
    /// Heads removed in memory since the checkpoint was opened; whatever the system refuses.
    pub fn save(&self, folder: &Path, scratch: &Path) -> Result<Vec<String>, Error> {
        let mut values = BTreeMap::new();
        self.model.each_parameter(|parameter, _, of| {
            values.insert(parameter, of);
        });
        let value = |parameter| values.get(&parameter).copied();
        Ok(bertology_checkpoint::write_trained(
            self.checkpoint(),
            value,
            folder,
            scratch,
        )?)
    }

    /// The checkpoint that the weights came from.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        self.outline.checkpoint()
    }

    /// The same without weights, which keeps them from no one.
    #[must_use]
    pub fn outline(&self) -> &Outline {
        &self.outline
    }

    /// The engine's model.
    #[must_use]
    pub fn model(&self) -> &Model<f32> {
        &self.model
    }

    /// The description of the model as it is now, heads removed in memory included.
    #[must_use]
    pub fn architecture(&self) -> &Architecture {
        self.model.architecture()
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`] with the reason why the folder's could not be read.
    pub fn tokenizer(&self) -> Result<&Tokenizer, Error> {
        self.outline.tokenizer()
    }

    /// With other weights of the same inputs and outputs. [`LoadedModel::checkpoint`] stays that which was opened.
    #[must_use]
    pub fn changed(&self, model: Model<f32>) -> Self {
        self.with_model(model)
    }

    /// The same model without these heads, in memory: the same function as masking them.
    ///
    /// # Errors
    /// A head that the unpruned model does not have.
    pub fn without_heads(&self, heads: impl IntoIterator<Item = HeadId>) -> Result<Self, Error> {
        Ok(self.with_model(self.model.without_heads(heads)?))
    }

    /// The same architecture with first values drawn from a seed ([`Model::untrained`]): an encoder that has learnt
    /// nothing, with this tokenizer. [`LoadedModel::checkpoint`] stays that of the trained one.
    #[must_use]
    pub fn untrained(&self, seed: u64) -> Self {
        let mut draws = Draws::of([seed, 0x756e_7472]);
        self.with_model(self.model.untrained(|| draws.normal()))
    }

    /// The longest sequence, special tokens included: the smaller of what the position table admits
    /// and what the tokenizer's files say.
    #[must_use]
    pub fn max_length(&self) -> usize {
        let positions = self.architecture().max_tokens();
        let stated = self.tokenizer().ok();
        let stated = stated.and_then(|tokenizer| tokenizer.model_max_length());
        stated.map_or(positions, |limit| limit.min(positions))
    }

    /// `max_length` if the model admits it; the model's own limit for `None`.
    pub(crate) fn checked_length(&self, max_length: Option<usize>) -> Result<usize, Error> {
        let limit = self.architecture().max_tokens();
        match max_length {
            None => Ok(self.max_length()),
            Some(requested) if requested > limit => Err(Error::MaxLength { requested, limit }),
            Some(requested) => Ok(requested),
        }
    }

    /// Encodes a text or a pair with its special tokens, cut to `max_length` tokens (`None`: to the
    /// model's limit), the longer text first. [`Encoding::truncated`] counts what was cut.
    ///
    /// # Errors
    /// [`Error::NoTokenizer`], [`Error::MaxLength`], or what the tokenizer refuses.
    pub fn encode(
        &self,
        text: &str,
        pair: Option<&str>,
        max_length: Option<usize>,
    ) -> Result<Encoding, Error> {
        let length = self.checked_length(max_length)?;
        Ok(self.tokenizer()?.encode(text, pair, Some(length))?)
    }

    /// An encoding as the engine takes it. Segments that are all 0 are left out: that is what absent
    /// ones mean to BERT, while GPT's segments are tokens, of which its tokenizers give none.
    #[must_use]
    pub fn sequence(encoding: Encoding) -> Sequence {
        let mut sequence = Sequence::new(encoding.ids);
        if encoding.segment_ids.iter().any(|segment| *segment != 0) {
            sequence.segments = encoding.segment_ids;
        }
        sequence
    }
}

/// What can be put through a model: a text, a pair of texts, or ready token ids.
pub trait Input {
    /// The tokens. Texts are not cut: a text beyond the model's limit is an error.
    ///
    /// # Errors
    /// A text that cannot be encoded or is too long, or a model without tokenizer.
    fn sequence(&self, model: &LoadedModel) -> Result<Sequence, Error>;
}

impl Input for Sequence {
    fn sequence(&self, _model: &LoadedModel) -> Result<Sequence, Error> {
        Ok(self.clone())
    }
}

impl Input for &str {
    fn sequence(&self, model: &LoadedModel) -> Result<Sequence, Error> {
        let encoding = model.tokenizer()?.encode(self, None, None)?;
        Ok(LoadedModel::sequence(encoding))
    }
}

impl Input for String {
    fn sequence(&self, model: &LoadedModel) -> Result<Sequence, Error> {
        self.as_str().sequence(model)
    }
}

impl Input for (&str, &str) {
    fn sequence(&self, model: &LoadedModel) -> Result<Sequence, Error> {
        let encoding = model.tokenizer()?.encode(self.0, Some(self.1), None)?;
        Ok(LoadedModel::sequence(encoding))
    }
}
