//! A model in memory: the architecture, its weights in the canonical layout, and surgery on heads.

use std::any::TypeId;
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use bertology_checkpoint::{Architecture, Checkpoint, TaskHead, Tensor};
use bertology_kernels::norm::{layer_norm, layer_norm_backward};
use bertology_kernels::parts::Parts;
use bertology_kernels::{Matrix, Precision, Real};

use crate::linear::Linear;
use crate::placed::Placed;
use crate::rotary::Rotary;
use crate::{Error, HeadId};

mod reader;
mod surgery;

use reader::Reader;

/// A large parameter: in memory, or where the mapped file has it.
#[derive(Debug, Clone)]
pub(crate) enum Weights<R> {
    Owned(Vec<R>),
    /// Only where `R` is `f32` and the file's values need no conversion.
    Mapped(Tensor),
}

impl<R: Real> Deref for Weights<R> {
    type Target = [R];

    fn deref(&self) -> &[R] {
        match self {
            Self::Owned(values) => values,
            Self::Mapped(tensor) => bytemuck::cast_slice(tensor.as_f32_slice().unwrap_or_default()),
        }
    }
}

impl<R: Real> DerefMut for Weights<R> {
    /// Values of the file are copied first.
    fn deref_mut(&mut self) -> &mut [R] {
        if let Self::Mapped(_) = self {
            *self = Self::Owned(self.to_vec());
        }
        match self {
            Self::Owned(values) => values,
            Self::Mapped(_) => &mut [],
        }
    }
}

impl<R> Weights<R> {
    /// Gives pages of a mapped file back to the system until they are read again.
    pub(crate) fn release(&self) {
        if let Self::Mapped(tensor) = self {
            tensor.release();
        }
    }
}

impl<R> From<Vec<R>> for Weights<R> {
    fn from(values: Vec<R>) -> Self {
        Self::Owned(values)
    }
}

/// A norm: its affine part, `[width]` each.
#[derive(Debug, Clone)]
pub(crate) struct Norm<R> {
    pub(crate) weight: Vec<R>,
    /// Zeros where the norm has none.
    pub(crate) bias: Vec<R>,
    /// Whether the bias is a weight of the model.
    pub(crate) biased: bool,
    /// Whether the mean is taken off.
    pub(crate) centred: bool,
}

impl<R: Real> Norm<R> {
    /// `y [rows, width]` of `hat`, which keeps what the backward pass needs, as does `rstd [rows]`.
    pub(crate) fn forward(&self, y: &mut [R], hat: &mut [R], rstd: &mut [R], epsilon: f64) {
        layer_norm(
            y,
            hat,
            rstd,
            &self.weight,
            &self.bias,
            epsilon,
            self.centred,
        );
    }

    /// The gradient of the input in the place of that of the output.
    pub(crate) fn backward(&self, d: &mut [R], hat: &[R], rstd: &[R]) {
        layer_norm_backward(d, hat, rstd, &self.weight, self.centred);
    }
}

/// The attention of one layer. `W = heads.len() · head_dim`.
#[derive(Debug, Clone)]
pub(crate) struct Attention<R> {
    /// Original numbers of the heads that are present, ascending.
    pub(crate) heads: Vec<usize>,
    /// `[3W, hidden]`: queries, keys, values, each head-major.
    pub(crate) qkv: Linear<R>,
    /// Of queries and of keys, `[W]` each, where these go through norms: `W` is that of all heads then, also of those that are
    /// gone, which have no other place than their queries and keys.
    pub(crate) norms: Option<[Norm<R>; 2]>,
    /// `[hidden, W]`.
    pub(crate) output: Linear<R>,
    /// `[2P - 1, head_dim]`, relative positions only; shared by the heads.
    pub(crate) distance: Option<Vec<R>>,
    /// `[kW, hidden]`: queries of distances, then their keys, or the one of them that there is, where these have maps of their
    /// own.
    pub(crate) distance_maps: Option<Linear<R>>,
}

impl<R> Attention<R> {
    /// Where the numbers of a head lie, by its place among those present.
    pub(crate) fn slot(&self, place: usize) -> usize {
        match self.norms {
            Some(_) => self.heads[place],
            None => place,
        }
    }
}

/// One block.
#[derive(Debug)]
pub(crate) struct Layer<R> {
    pub(crate) attention: Arc<Attention<R>>,
    pub(crate) rest: Arc<LayerRest<R>>,
}

impl<R> Clone for Layer<R> {
    fn clone(&self) -> Self {
        Self {
            attention: Arc::clone(&self.attention),
            rest: Arc::clone(&self.rest),
        }
    }
}

/// What a block has besides attention; head surgery never touches it.
#[derive(Debug, Clone)]
pub(crate) struct LayerRest<R> {
    /// The first block of ModernBERT has none.
    pub(crate) attention_norm: Option<Norm<R>>,
    pub(crate) mlp_in: Linear<R>,
    pub(crate) mlp_out: Linear<R>,
    pub(crate) mlp_norm: Norm<R>,
}

/// Embeddings and everything above the blocks; head surgery never touches it.
#[derive(Debug, Clone)]
pub(crate) struct Shell<R> {
    pub(crate) words: Weights<R>,
    pub(crate) positions: Option<Weights<R>>,
    /// Empty where the family has no table of segments.
    pub(crate) segments: Vec<R>,
    pub(crate) norm: Option<Norm<R>>,
    /// From the tables' width to the residual stream's, where they differ.
    pub(crate) projection: Option<Linear<R>>,
    /// `[buckets, heads]` of the unpruned model: what distance adds to the scores of a head, in every layer.
    pub(crate) relative_bias: Option<Vec<R>>,
    /// What distances are, in every layer, where they have queries and keys.
    pub(crate) relative: Option<RelativeTable<R>>,
    /// What turns queries and keys.
    pub(crate) rotary: Option<Rotary<R>>,
    /// After the last block.
    pub(crate) final_norm: Option<Norm<R>>,
    pub(crate) pooler: Option<Linear<R>>,
    pub(crate) pooler_norm: Option<Norm<R>>,
    /// From the attention of all heads, `[1, layers · heads]`, to whether two residues touch.
    pub(crate) contacts: Option<Linear<R>>,
    /// Classifier, or the next-sentence head.
    pub(crate) classifier: Option<Linear<R>>,
    pub(crate) lm: Option<LmHead<R>>,
    pub(crate) scores: Option<TokenScores<R>>,
}

/// What distances are before any layer's maps.
#[derive(Debug, Clone)]
pub(crate) struct RelativeTable<R> {
    /// `[rows, hidden]`
    pub(crate) rows: Vec<R>,
    pub(crate) norm: Option<Norm<R>>,
}

/// A few logits of every token by itself.
#[derive(Debug, Clone)]
pub(crate) struct TokenScores<R> {
    /// A dense layer before them, and what follows its activation.
    pub(crate) dense: Option<(Linear<R>, Option<Norm<R>>)>,
    /// `[logits, hidden]`
    pub(crate) output: Linear<R>,
}

/// Logits over the vocabulary at every position.
#[derive(Debug, Clone)]
pub(crate) struct LmHead<R> {
    /// Dense layer and norm before the decoder, masked LMs only.
    pub(crate) transform: Option<(Linear<R>, Norm<R>)>,
    /// `[vocab, embedding size]`; `None` where tied to the word embeddings.
    pub(crate) decoder: Option<Weights<R>>,
    /// `[vocab]`, or empty where there is none.
    pub(crate) bias: Vec<R>,
    /// What is multiplied by instead of the decoder, where the precision is not that of the weight.
    pub(crate) parts: Option<Parts>,
}

/// A transformer ready to run. Cloning shares the weights.
#[derive(Debug)]
pub struct Model<R> {
    pub(crate) arch: Arc<Architecture>,
    pub(crate) shell: Arc<Shell<R>>,
    /// The blocks that have weights of their own, in the order in which layers begin to use them.
    pub(crate) blocks: Vec<Layer<R>>,
    /// For each layer the place of its block.
    pub(crate) block_of: Vec<usize>,
    pub(crate) precision: Precision,
    pub(crate) placed: Placed<R>,
}

impl<R> Clone for Model<R> {
    fn clone(&self) -> Self {
        Self {
            precision: self.precision,
            placed: self.placed.clone(),
            arch: Arc::clone(&self.arch),
            shell: Arc::clone(&self.shell),
            blocks: self.blocks.clone(),
            block_of: self.block_of.clone(),
        }
    }
}

/// Gives independent draws of mean 0 and deviation 1.
pub type Normal<'a> = &'a mut dyn FnMut() -> f64;

impl<R: crate::Real> Model<R> {
    /// Takes the weights out of a checkpoint, converted to `R`. Heads of which it holds zeros only
    /// ([`Architecture::zeroed_heads`]) are left out, as those that it does not hold at all.
    ///
    /// # Errors
    /// A parameter that is missing or has another size than the architecture says.
    pub fn from_checkpoint(checkpoint: &Checkpoint) -> Result<Self, Error> {
        R::read(checkpoint, None)
    }

    /// [`Model::from_checkpoint`] of a checkpoint opened for training ([`Checkpoint::open_to_train`]): the parts of its head
    /// that the files lack get first values as in transformers (`_init_weights`), maps from a normal distribution of
    /// standard deviation 0.02, biases 0, norms that do not scale.
    ///
    /// # Errors
    /// As [`Model::from_checkpoint`].
    pub fn from_checkpoint_to_train(
        checkpoint: &Checkpoint,
        normal: Normal<'_>,
    ) -> Result<Self, Error> {
        R::read(checkpoint, Some(normal))
    }
}

impl<R: Real> Model<R> {
    /// [`Model::from_checkpoint`].
    pub(crate) fn read(checkpoint: &Checkpoint, normal: Option<Normal<'_>>) -> Result<Self, Error> {
        let arch = checkpoint.architecture().clone();
        let reader = Reader {
            checkpoint,
            normal: normal.map(RefCell::new),
        };
        let own: Vec<usize> = arch.own_layers().collect();
        let blocks = own
            .iter()
            .map(|layer| reader.layer(&arch, *layer))
            .collect::<Result<_, _>>()?;
        let place = |layer| own.binary_search(&arch.weights_of(layer)).unwrap_or(layer);
        let block_of = (0..arch.num_layers).map(place).collect();
        let shell = Arc::new(reader.shell(&arch)?);
        let zeroed: Vec<HeadId> = arch
            .zeroed_heads
            .iter()
            .flat_map(|(&layer, heads)| heads.iter().map(move |&head| HeadId { layer, head }))
            .collect();
        let model = Self {
            arch: Arc::new(arch),
            shell,
            blocks,
            block_of,
            precision: Precision::F32,
            placed: Placed::on_processor(),
        };
        model.without_heads(zeroed)
    }

    /// The description; `pruned_heads` includes heads removed by [`Model::without_heads`].
    #[must_use]
    pub fn architecture(&self) -> &Architecture {
        &self.arch
    }

    /// Number of layers.
    pub(crate) fn depth(&self) -> usize {
        self.block_of.len()
    }

    /// The weights of a layer, which other layers may have, too.
    pub(crate) fn layer(&self, layer: usize) -> &Layer<R> {
        &self.blocks[self.block_of[layer]]
    }

    /// The first layer that has the weights of this one.
    pub(crate) fn first_with(&self, layer: usize) -> usize {
        let block = self.block_of[layer];
        let first = self.block_of.iter().position(|other| *other == block);
        first.unwrap_or(layer)
    }

    /// The heads that the model has, in order.
    pub fn heads(&self) -> impl Iterator<Item = HeadId> + '_ {
        (0..self.depth()).flat_map(|layer| {
            let heads = self.layer(layer).attention.heads.iter();
            heads.map(move |head| HeadId { layer, head: *head })
        })
    }

    /// Whether the model has this head.
    #[must_use]
    pub fn has_head(&self, id: HeadId) -> bool {
        id.layer < self.depth()
            && self
                .layer(id.layer)
                .attention
                .heads
                .binary_search(&id.head)
                .is_ok()
    }

    /// These weights as an encoder of this architecture, without a task.
    pub(crate) fn with_encoder(&self, shell: Shell<R>, blocks: Vec<Layer<R>>) -> Self {
        let mut arch = (*self.arch).clone();
        arch.head = TaskHead::None;
        arch.pooler = false;
        let mut encoder = Self {
            arch: Arc::new(arch),
            shell: Arc::new(shell),
            blocks,
            block_of: self.block_of.clone(),
            precision: self.precision,
            placed: self.placed.clone(),
        };
        if encoder.precision != Precision::F32 {
            encoder.split();
        }
        encoder
    }

    /// The model with the maps of its blocks and of its language-model head computed in a precision; all else stays f32:
    /// attention, norms, poolers and classifiers. A model without some of the heads keeps to it; one whose weights are to be
    /// changed ([`Model::each_parameter_mut`]) is f32 again.
    ///
    /// # Errors
    /// [`Error::Precision`]: the model does not compute in f32. A model that is on a device stays in f32, which is an error, too.
    pub fn with_precision(mut self, precision: Precision) -> Result<Self, Error> {
        if precision != self.precision {
            if TypeId::of::<R>() != TypeId::of::<f32>() {
                return Err(Error::Precision { precision });
            }
            #[cfg(feature = "device")]
            if let Some(device) = self.device() {
                let device = device.name.clone();
                return Err(Error::DevicePrecision { precision, device });
            }
            self.precision = precision;
            self.split();
        }
        Ok(self)
    }

    /// How exactly linear maps are computed.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Makes what is multiplied by of the weights, as the precision wants it.
    pub(crate) fn split(&mut self) {
        let precision = self.precision;
        for layer in &mut self.blocks {
            let attention = Arc::make_mut(&mut layer.attention);
            attention.qkv.set_precision(precision);
            attention.output.set_precision(precision);
            if let Some(maps) = &mut attention.distance_maps {
                maps.set_precision(precision);
            }
            let rest = Arc::make_mut(&mut layer.rest);
            rest.mlp_in.set_precision(precision);
            rest.mlp_out.set_precision(precision);
        }
        if self.shell.lm.is_none() {
            return;
        }
        let shell = Arc::make_mut(&mut self.shell);
        let (vocab, width) = (self.arch.vocab_size, self.arch.embedding_size);
        if let Some(lm) = &mut shell.lm {
            if let Some((dense, _)) = &mut lm.transform {
                dense.set_precision(precision);
            }
            let decoder = lm.decoder.as_ref().unwrap_or(&shell.words);
            lm.parts = Parts::new(Matrix::new(decoder, vocab, width), precision);
        }
    }
}
