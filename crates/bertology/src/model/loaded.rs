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
use std::ops::{ControlFlow, Index};
use std::path::Path;
use std::sync::Arc;

use bertology_checkpoint::{Architecture, Checkpoint, OpenOptions};
use bertology_hub::HubOptions;
use bertology_model::taps::Captured;
use bertology_model::{
    Capture, HeadId, Interests, LayerSite, Model, ModelSite, Observer, PackedBatch, Pass,
    PassOptions, Sequence, Site, Tap, Target, parallel,
};
use bertology_tokenizer::{Encoding, Tokenizer, TokenizerError};

use crate::{Error, HeadTable};

/// A checkpoint, its weights in memory, and its tokenizer. Cloning shares all of them.
#[derive(Debug, Clone)]
pub struct LoadedModel {
    checkpoint: Arc<Checkpoint>,
    model: Model<f32>,
    tokenizer: Result<Arc<Tokenizer>, Arc<TokenizerError>>,
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
        Ok(Self {
            model: Model::from_checkpoint(&checkpoint)?,
            checkpoint: Arc::new(checkpoint),
            tokenizer: Tokenizer::from_folder(folder)
                .map(Arc::new)
                .map_err(Arc::new),
        })
    }

    /// The checkpoint that the weights came from.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
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
        self.tokenizer
            .as_deref()
            .map_err(|source| Error::NoTokenizer {
                path: self.checkpoint.folder().to_owned(),
                source: Arc::clone(source),
            })
    }

    /// The same model without these heads, in memory: the same function as masking them.
    ///
    /// # Errors
    /// A head that the unpruned model does not have.
    pub fn without_heads(&self, heads: impl IntoIterator<Item = HeadId>) -> Result<Self, Error> {
        Ok(Self {
            model: self.model.without_heads(heads)?,
            ..self.clone()
        })
    }

    /// The longest sequence, special tokens included: the smaller of what the position table admits
    /// and what the tokenizer's files say.
    #[must_use]
    pub fn max_length(&self) -> usize {
        let positions = self.architecture().max_tokens();
        let stated = self.tokenizer.as_ref().ok();
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
    pub(crate) fn sequence(encoding: Encoding) -> Sequence {
        let mut sequence = Sequence::new(encoding.ids);
        if encoding.segment_ids.iter().any(|segment| *segment != 0) {
            sequence.segments = encoding.segment_ids;
        }
        sequence
    }

    /// Hidden states of every input: `[input][layer]`, each `[tokens, hidden]`. `L + 1` entries an
    /// input, the embeddings first, as transformers' `hidden_states`.
    ///
    /// ```
    /// use bertology::{LoadedModel};
    /// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/tiny-bert");
    /// let model = LoadedModel::open(folder)?;
    /// let texts = ["The horses were admired."];
    /// let states = model.hidden_states(&texts)?;
    /// let last = &states[0][model.architecture().num_layers];
    /// assert_eq!((last.rows, last.cols), (7, 128)); // [tokens, hidden]
    /// # Ok::<(), bertology::Error>(())
    /// ```
    ///
    /// # Errors
    /// Inputs that cannot be encoded or do not fit the model.
    pub fn hidden_states<I: Input>(&self, inputs: &[I]) -> Result<Vec<Vec<Captured<f32>>>, Error> {
        self.rows(inputs, None, Pass::Forward)
    }

    /// Gradients of each input's loss with respect to [`LoadedModel::hidden_states`], same shape.
    ///
    /// ```
    /// use bertology::{LoadedModel, Target};
    /// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/tiny-bert");
    /// let model = LoadedModel::open(folder)?;
    /// let texts = ["The horses were admired."];
    /// let gradients = model.hidden_state_gradients(&texts, &[Target::Label(1)])?;
    /// // A classifier reads the first token of the last layer only.
    /// let last = &gradients[0][model.architecture().num_layers];
    /// assert!(last.data[last.cols..].iter().all(|g| *g == 0.0));
    /// # Ok::<(), bertology::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`LoadedModel::hidden_states`]; targets that do not fit the inputs or the task head.
    pub fn hidden_state_gradients<I: Input>(
        &self,
        inputs: &[I],
        targets: &[Target],
    ) -> Result<Vec<Vec<Captured<f32>>>, Error> {
        self.rows(inputs, Some(targets), Pass::Backward)
    }

    /// Attention probabilities of every input and head, `[query, key]`: the softmax, before any head
    /// mask.
    ///
    /// ```
    /// use bertology::{HeadId, LoadedModel};
    /// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/tiny-bert");
    /// let model = LoadedModel::open(folder)?;
    /// let texts = ["The horses were admired."];
    /// let attentions = model.attentions(&texts)?;
    /// let map = &attentions[0][HeadId { layer: 1, head: 2 }];
    /// let row: f32 = map.data[..map.cols].iter().sum();
    /// assert!((row - 1.0).abs() < 1e-6); // a distribution over keys for every query
    /// # Ok::<(), bertology::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`LoadedModel::hidden_states`].
    pub fn attentions<I: Input>(&self, inputs: &[I]) -> Result<Vec<PerHead>, Error> {
        self.per_head(inputs, None, Pass::Forward, LayerSite::AttentionProbs)
    }

    /// Gradients of each input's loss with respect to [`LoadedModel::attentions`].
    ///
    /// ```
    /// use bertology::{HeadId, LoadedModel, Target};
    /// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/tiny-bert");
    /// let model = LoadedModel::open(folder)?;
    /// let texts = ["The horses were admired."];
    /// let gradients = model.attention_gradients(&texts, &[Target::Label(1)])?;
    /// assert_eq!(gradients[0].layer(0).count(), 4); // heads of layer 0
    /// assert_eq!(gradients[0][HeadId { layer: 0, head: 3 }].rows, 7);
    /// # Ok::<(), bertology::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`LoadedModel::hidden_state_gradients`].
    pub fn attention_gradients<I: Input>(
        &self,
        inputs: &[I],
        targets: &[Target],
    ) -> Result<Vec<PerHead>, Error> {
        let site = LayerSite::AttentionProbs;
        self.per_head(inputs, Some(targets), Pass::Backward, site)
    }

    /// Outputs of every input and head, `[tokens, head_dim]`: attention probabilities times values,
    /// before the output projection.
    ///
    /// ```
    /// use bertology::{HeadId, LoadedModel};
    /// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/tiny-bert");
    /// let model = LoadedModel::open(folder)?;
    /// let texts = ["The horses were admired."];
    /// let outputs = model.head_outputs(&texts)?;
    /// let output = &outputs[0][HeadId { layer: 2, head: 0 }];
    /// assert_eq!((output.rows, output.cols), (7, 32)); // [tokens, head_dim]
    /// # Ok::<(), bertology::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`LoadedModel::hidden_states`].
    pub fn head_outputs<I: Input>(&self, inputs: &[I]) -> Result<Vec<PerHead>, Error> {
        self.per_head(inputs, None, Pass::Forward, LayerSite::HeadOutput)
    }

    /// Gradients of each input's loss with respect to [`LoadedModel::head_outputs`].
    ///
    /// ```
    /// use bertology::{LoadedModel, Target};
    /// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/tiny-bert");
    /// let model = LoadedModel::open(folder)?;
    /// let texts = ["The horses were admired."];
    /// let gradients = model.head_output_gradients(&texts, &[Target::Label(1)])?;
    /// assert_eq!(gradients[0].iter().count(), 16); // 4 layers of 4 heads
    /// # Ok::<(), bertology::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`LoadedModel::hidden_state_gradients`].
    pub fn head_output_gradients<I: Input>(
        &self,
        inputs: &[I],
        targets: &[Target],
    ) -> Result<Vec<PerHead>, Error> {
        let site = LayerSite::HeadOutput;
        self.per_head(inputs, Some(targets), Pass::Backward, site)
    }

    /// Signed gradient of each input's loss with respect to the mask factor of every head: the
    /// importance of a head is the mean of its absolute value.
    ///
    /// ```
    /// use bertology::{LoadedModel, Target};
    /// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/tiny-bert");
    /// let model = LoadedModel::open(folder)?;
    /// let texts = ["The horses were admired."];
    /// let slopes = model.mask_gradients(&texts, &[Target::Label(1)])?;
    /// assert!(slopes[0].iter().all(|(_, slope)| slope != 0.0));
    /// # Ok::<(), bertology::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`LoadedModel::hidden_state_gradients`].
    pub fn mask_gradients<I: Input>(
        &self,
        inputs: &[I],
        targets: &[Target],
    ) -> Result<Vec<HeadTable>, Error> {
        let mut tables = Vec::with_capacity(inputs.len());
        self.for_each(inputs, Some(targets), true, Interests::none(), |found| {
            let zeros = HeadTable::zeros(&self.model);
            let gradient = found.mask_gradient.unwrap_or_default();
            let heads = zeros.heads();
            tables.push(zeros.map(|id, _| gradient[id.layer * heads + id.head]));
        })?;
        Ok(tables)
    }

    /// Logits of the sequence-level head for every input, `[labels]`; empty if the model has none.
    ///
    /// # Errors
    /// As [`LoadedModel::hidden_states`].
    pub fn logits<I: Input>(&self, inputs: &[I]) -> Result<Vec<Vec<f32>>, Error> {
        let mut logits = Vec::with_capacity(inputs.len());
        self.for_each(inputs, None, false, Interests::none(), |found| {
            logits.push(found.logits);
        })?;
        Ok(logits)
    }

    fn rows<I: Input>(
        &self,
        inputs: &[I],
        targets: Option<&[Target]>,
        pass: Pass,
    ) -> Result<Vec<Vec<Captured<f32>>>, Error> {
        let sites = [
            Site::from(ModelSite::Embeddings),
            Site::from(LayerSite::HiddenState),
        ];
        let mut all = Vec::with_capacity(inputs.len());
        self.for_each(inputs, targets, false, interests(pass, &sites), |found| {
            // A pass emits the layers in the order of its computation.
            let mut layers: Vec<(usize, Captured<f32>)> = found
                .captured
                .iter()
                .map(|(_, tap, _, _, value)| match tap {
                    Tap::Layer(layer, _) => (layer + 1, value.clone()),
                    Tap::Model(_) => (0, value.clone()),
                })
                .collect();
            layers.sort_by_key(|(layer, _)| *layer);
            all.push(layers.into_iter().map(|(_, value)| value).collect());
        })?;
        Ok(all)
    }

    fn per_head<I: Input>(
        &self,
        inputs: &[I],
        targets: Option<&[Target]>,
        pass: Pass,
        site: LayerSite,
    ) -> Result<Vec<PerHead>, Error> {
        let mut all = Vec::with_capacity(inputs.len());
        let interests = interests(pass, &[Site::from(site)]);
        self.for_each(inputs, targets, false, interests, |found| {
            let mut maps = BTreeMap::new();
            for (_, tap, _, head, value) in found.captured.iter() {
                if let (Tap::Layer(layer, _), Some(head)) = (tap, head) {
                    maps.insert(HeadId { layer, head }, value.clone());
                }
            }
            all.push(PerHead { maps });
        })?;
        Ok(all)
    }

    /// Runs every input by itself, on all cores, and hands over what was asked for in order.
    fn for_each<I: Input>(
        &self,
        inputs: &[I],
        targets: Option<&[Target]>,
        mask_gradients: bool,
        interests: Interests,
        mut each: impl FnMut(Found),
    ) -> Result<(), Error> {
        if let Some(targets) = targets
            && targets.len() != inputs.len()
        {
            return Err(Error::Model(bertology_model::Error::TargetCount {
                targets: targets.len(),
                sequences: inputs.len(),
            }));
        }
        let sequences = inputs
            .iter()
            .map(|input| input.sequence(self))
            .collect::<Result<Vec<_>, _>>()?;
        let jobs = sequences.iter().enumerate();
        let mut failure = None;
        parallel::in_order(
            all_threads().min(inputs.len()),
            jobs,
            |workspace, (i, sequence)| -> Result<Found, Error> {
                let batch = PackedBatch::new(self.architecture(), std::slice::from_ref(sequence))?;
                let mut captured = Capture::new(interests);
                let options = PassOptions {
                    targets: targets.map(|t| &t[i..=i]),
                    mask_gradients,
                    ..PassOptions::default()
                };
                let observers: &mut [&mut dyn Observer<f32>] = &mut [&mut captured];
                let mut output = self.model.run(&batch, &options, workspace, observers)?;
                let output = output.sequences.pop().unwrap_or_default();
                Ok(Found {
                    logits: output.logits,
                    mask_gradient: output.mask_gradient,
                    captured,
                })
            },
            |found| match found {
                Ok(found) => {
                    each(found);
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            },
        );
        failure.map_or(Ok(()), Err)
    }
}

fn interests(pass: Pass, sites: &[Site]) -> Interests {
    sites
        .iter()
        .fold(Interests::none(), |set, site| match pass {
            Pass::Forward => set.value(*site),
            Pass::Backward => set.gradient(*site),
        })
}

/// What one input gave.
struct Found {
    logits: Vec<f32>,
    mask_gradient: Option<Vec<f64>>,
    captured: Capture<f32>,
}

/// One matrix per head of one input; pruned heads have none.
#[derive(Debug, Clone, PartialEq)]
pub struct PerHead {
    maps: BTreeMap<HeadId, Captured<f32>>,
}

impl PerHead {
    /// The matrix of a head, if the model has the head.
    #[must_use]
    pub fn get(&self, id: HeadId) -> Option<&Captured<f32>> {
        self.maps.get(&id)
    }

    /// All heads and their matrices, in order.
    pub fn iter(&self) -> impl Iterator<Item = (HeadId, &Captured<f32>)> {
        self.maps.iter().map(|(id, value)| (*id, value))
    }

    /// The heads of one layer and their matrices, in order.
    pub fn layer(&self, layer: usize) -> impl Iterator<Item = (usize, &Captured<f32>)> {
        let heads = HeadId { layer, head: 0 }..HeadId {
            layer: layer.saturating_add(1),
            head: 0,
        };
        self.maps.range(heads).map(|(id, value)| (id.head, value))
    }
}

impl Index<HeadId> for PerHead {
    type Output = Captured<f32>;

    /// # Panics
    /// If the model has no such head.
    #[track_caller]
    fn index(&self, id: HeadId) -> &Captured<f32> {
        match self.get(id) {
            Some(value) => value,
            None => panic!("{id} is not a head of this model"),
        }
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
