//! A model walked through by hand, half a block at a time, for those who change its weights on the way.

use std::ops::ControlFlow;

use bertology_checkpoint::NormPlacement;
use bertology_kernels::elementwise::add_assign;
use bertology_kernels::{Matrix, Real};

use crate::embedding::embed;
use crate::linear::Linear;
use crate::rows::Rows;
use crate::taps::{Event, Interests, LayerSite, Observer, Taps};
use crate::workspace::LayerTrace;
use crate::{Error, Model, PackedBatch, PassOptions, Workspace};

/// What one half of a block reads through its output map, and what it does to the residual stream:
/// `to + adds`, where `adds = scale · (reads · weightᵀ + bias)`.
#[derive(Debug, Clone)]
pub struct Half<R> {
    /// `[tokens, W]`: head outputs, head-major; or `[tokens, neurons]`.
    pub reads: Vec<R>,
    /// `[tokens, hidden]`: what it is added to.
    pub to: Vec<R>,
    /// `[tokens, hidden]`: what is added.
    pub adds: Vec<R>,
}

/// The output map of a half of a block.
#[derive(Debug, Clone, Copy)]
pub struct OutputMap<'a, R> {
    /// `[hidden, W]` or `[hidden, neurons]`.
    pub weight: Matrix<'a, R>,
    /// `[hidden]`, or empty where there is none.
    pub bias: &'a [R],
    /// 1 in most families ([`Architecture::branch_scale`](bertology_checkpoint::Architecture::branch_scale)).
    pub scale: f64,
}

impl<'a, R: Real> OutputMap<'a, R> {
    fn new(map: &'a Linear<R>, scale: f64) -> Self {
        Self {
            weight: map.matrix(),
            bias: &map.bias,
            scale,
        }
    }
}

/// Copies what the feed-forward block adds.
struct Added<R>(Vec<R>);

impl<R: Real> Observer<R> for Added<R> {
    fn interests(&self) -> Interests {
        Interests::none().value(LayerSite::MlpOutput)
    }

    fn observe(&mut self, event: &Event<'_, R>) -> ControlFlow<()> {
        for row in event.value.iter_rows() {
            self.0.extend_from_slice(row);
        }
        ControlFlow::Continue(())
    }
}

impl<R: crate::Real> Model<R> {
    /// The residual stream that enters layer 0, `[tokens, hidden]`.
    ///
    /// # Errors
    /// Values that are not finite.
    pub fn stream(
        &self,
        batch: &PackedBatch,
        workspace: &mut Workspace<R>,
    ) -> Result<Vec<R>, Error> {
        R::begin(self, batch, workspace)
    }

    /// The attention of a layer (zero-based) on the stream that enters it, `[tokens, hidden]`.
    ///
    /// # Errors
    /// Values that are not finite.
    ///
    /// # Panics
    /// If there is no such layer, or the stream is another batch's.
    pub fn attention_half(
        &self,
        layer: usize,
        batch: &PackedBatch,
        stream: &[R],
        workspace: &mut Workspace<R>,
    ) -> Result<Half<R>, Error> {
        R::attend(self, layer, batch, stream, workspace)
    }

    /// The feed-forward block of a layer, and the stream that leaves the layer, of the stream that enters it and of what
    /// attention adds to that: the [`Half::to`] and [`Half::adds`] of [`Model::attention_half`].
    ///
    /// # Errors
    /// Values that are not finite.
    ///
    /// # Panics
    /// If there is no such layer, or the stream is another batch's.
    pub fn mlp_half(
        &self,
        layer: usize,
        batch: &PackedBatch,
        attention: Half<R>,
        workspace: &mut Workspace<R>,
    ) -> Result<(Half<R>, Vec<R>), Error> {
        R::feed_forward(self, layer, batch, attention, workspace)
    }

    /// What turns head outputs of a layer into what its attention adds.
    ///
    /// # Panics
    /// If there is no such layer.
    #[must_use]
    pub fn attention_output_map(&self, layer: usize) -> OutputMap<'_, R> {
        OutputMap::new(&self.layer(layer).attention.output, self.arch.branch_scale)
    }

    /// Where among the heads that [`Half::reads`] has room for those of a layer stand, in order: one after the other, unless queries
    /// and keys of all heads go through one norm, where room is left for heads that are gone.
    ///
    /// # Panics
    /// If there is no such layer.
    #[must_use]
    pub fn head_places(&self, layer: usize) -> Vec<usize> {
        let attention = &self.layer(layer).attention;
        let places = 0..attention.heads.len();
        places.map(|place| attention.slot(place)).collect()
    }

    /// What turns neurons of a layer into what its feed-forward block adds.
    ///
    /// # Panics
    /// If there is no such layer.
    #[must_use]
    pub fn mlp_output_map(&self, layer: usize) -> OutputMap<'_, R> {
        OutputMap::new(&self.layer(layer).rest.mlp_out, self.arch.branch_scale)
    }
}

impl<R: Real> Model<R> {
    pub(crate) fn begin(
        &self,
        batch: &PackedBatch,
        workspace: &mut Workspace<R>,
    ) -> Result<Vec<R>, Error> {
        let mut hidden = Vec::new();
        let trace = &mut workspace.embedding;
        let mut taps = Taps::new(&mut [], &mut [])?;
        embed(self, batch, &mut hidden, trace, None, 1, &mut taps)?;
        Ok(hidden)
    }

    pub(crate) fn attend(
        &self,
        layer: usize,
        batch: &PackedBatch,
        stream: &[R],
        workspace: &mut Workspace<R>,
    ) -> Result<Half<R>, Error> {
        let options = PassOptions::default();
        let block = self.block(layer, batch, &Rows::All, &options);
        workspace.layers.resize_with(1, LayerTrace::default);
        let (trace, scratch) = (&mut workspace.layers[0], &mut workspace.scratch);
        let mut adds = Vec::new();
        let mut taps = Taps::new(&mut [], &mut [])?;
        block.attention_output(stream, &mut adds, trace, scratch, &mut taps)?;
        Ok(Half {
            reads: trace.context.clone(),
            to: stream.to_vec(),
            adds,
        })
    }

    pub(crate) fn feed_forward(
        &self,
        layer: usize,
        batch: &PackedBatch,
        attention: Half<R>,
        workspace: &mut Workspace<R>,
    ) -> Result<(Half<R>, Vec<R>), Error> {
        let options = PassOptions::default();
        let block = self.block(layer, batch, &Rows::All, &options);
        workspace.layers.resize_with(1, LayerTrace::default);
        let (trace, scratch) = (&mut workspace.layers[0], &mut workspace.scratch);
        let (mut stream, mut update) = (attention.to, attention.adds);
        let mut added = Added(Vec::with_capacity(update.len()));
        let observers: &mut [&mut dyn Observer<R>] = &mut [&mut added];
        let mut taps = Taps::new(observers, &mut [])?;
        block.finish(&mut stream, &mut update, trace, scratch, &mut taps)?;
        drop(taps);
        let to = match self.arch.norm {
            NormPlacement::Post => scratch.hidden.clone(),
            NormPlacement::Pre => {
                let with = stream.iter().zip(&added.0);
                with.map(|(sum, added)| *sum - *added).collect()
            }
        };
        let half = Half {
            reads: scratch.inner.clone(),
            to,
            adds: added.0,
        };
        Ok((half, stream))
    }
}

impl<R: Real> Half<R> {
    /// Some of the tokens, by their places in the batch.
    ///
    /// # Panics
    /// If there is no such place.
    #[must_use]
    pub fn rows(&self, places: &[usize], tokens: usize) -> Self {
        let some = |values: &[R]| {
            let width = values.len() / tokens.max(1);
            let rows = places
                .iter()
                .map(|at| &values[at * width..(at + 1) * width]);
            rows.flatten().copied().collect()
        };
        Self {
            reads: some(&self.reads),
            to: some(&self.to),
            adds: some(&self.adds),
        }
    }

    /// `to + adds`, `[tokens, hidden]`.
    #[must_use]
    pub fn sum(&self) -> Vec<R> {
        let mut sum = self.to.clone();
        add_assign(&mut sum, &self.adds);
        sum
    }
}
