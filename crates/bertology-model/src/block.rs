//! One block, forwards and backwards. Post-norm: `h = norm(x + attention(x))`, `y = norm(h + mlp(h))`;
//! pre-norm: `h = x + attention(norm(x))`, `y = h + mlp(norm(h))`.

use bertology_checkpoint as checkpoint;
use bertology_checkpoint::{Architecture, NormPlacement};
use bertology_kernels::elementwise::add_assign;
use bertology_kernels::norm::layer_norm_backward_affine;
use bertology_kernels::{Activation, Matrix, MatrixMut, Real};

use crate::attention::AttentionPass;
use crate::dropout::{DropSite, Drops};
use crate::mask::HeadId;
use crate::model::{Layer, Norm, RelativeTable};
use crate::positions::PositionGradients;
use crate::record::BlockRecord;
use crate::rotary::Rotary;
use crate::rows::Rows;
use crate::taps::{LayerSite, ModelSite, Pass, Tap, Taps};
use crate::workspace::{LayerTrace, Scratch, sized};
use crate::{Error, Masking, NeuronMask, PackedBatch};

/// The kernel for an activation that a description names.
pub(crate) fn kernel_of(activation: checkpoint::Activation) -> Activation {
    match activation {
        checkpoint::Activation::Gelu => Activation::Gelu,
        checkpoint::Activation::GeluTanh => Activation::GeluTanh,
        checkpoint::Activation::Relu => Activation::Relu,
        checkpoint::Activation::Silu => Activation::Silu,
        checkpoint::Activation::QuickGelu => Activation::QuickGelu,
        checkpoint::Activation::Tanh => Activation::Tanh,
    }
}

/// What a block does besides when it is trained: it keeps its input, and drops values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Training {
    pub(crate) drops: Option<Drops>,
}

/// One block over one batch.
pub(crate) struct BlockPass<'a, R> {
    pub(crate) arch: &'a Architecture,
    pub(crate) weights: &'a Layer<R>,
    pub(crate) layer: usize,
    pub(crate) batch: &'a PackedBatch,
    /// The positions that are carried on; where they are not all, nobody looks at this block's rows.
    pub(crate) rows: &'a Rows,
    pub(crate) masking: Masking<'a>,
    pub(crate) neuron_mask: Option<&'a NeuronMask>,
    pub(crate) threads: usize,
    /// `[buckets, heads]`: what distance adds to scores, where the model has such a table.
    pub(crate) bias: Option<&'a [R]>,
    /// What distances are, where they have queries and keys.
    pub(crate) relative: Option<&'a RelativeTable<R>>,
    pub(crate) rotary: Option<&'a Rotary<R>>,
    pub(crate) training: Option<Training>,
}

impl<R: Real> BlockPass<'_, R> {
    pub(crate) fn drops(&self) -> Option<Drops> {
        self.training.and_then(|training| training.drops)
    }

    /// What a half of the block gives, or its gradient, as it is added to the residual stream.
    pub(crate) fn scale_branch(&self, data: &mut [R]) {
        if self.arch.branch_scale != 1.0 {
            let scale = R::from_f64(self.arch.branch_scale);
            data.iter_mut().for_each(|value| *value *= scale);
        }
    }

    /// Drops from rows that go to the residual stream, or from their gradient.
    pub(crate) fn drop_rows(&self, site: DropSite, data: &mut [R]) {
        self.drop_wide(site, data, self.arch.hidden_size);
    }

    /// Drops from rows of this width, or from their gradient.
    pub(crate) fn drop_wide(&self, site: DropSite, data: &mut [R], width: usize) {
        if let Some(drops) = self.drops() {
            drops.rows(site, self.layer, self.batch, self.rows, data, width);
        }
    }

    /// This block's attention; `distances` are the queries and keys that distances have in it, or empty.
    pub(crate) fn attention<'d>(&'d self, distances: &'d [R]) -> AttentionPass<'d, R> {
        AttentionPass {
            arch: self.arch,
            weights: &self.weights.attention,
            layer: self.layer,
            batch: self.batch,
            rows: self.rows,
            masking: self.masking,
            drops: self.drops(),
            bias: self.bias,
            distances: self.distances(distances),
            rotary: self.rotary,
        }
    }

    /// Where a site of this block is: the residual stream that leaves the last block of a model with a
    /// final norm has a name of its own.
    pub(crate) fn tap(&self, site: LayerSite) -> Tap {
        let before_final_norm =
            self.arch.norm == NormPlacement::Pre && self.layer + 1 == self.arch.num_layers;
        if site == LayerSite::HiddenState && before_final_norm {
            Tap::Model(ModelSite::LastResidual)
        } else {
            Tap::Layer(self.layer, site)
        }
    }

    /// Lets a value be changed, then seen.
    pub(crate) fn pass_by(
        &self,
        taps: &mut Taps<'_, '_, '_, R>,
        site: LayerSite,
        data: &mut [R],
    ) -> Result<(), Error> {
        let (tap, width) = (self.tap(site), self.arch.hidden_size);
        taps.edit_rows(tap, self.batch, data, width)?;
        taps.check_rows(Pass::Forward, tap, self.batch, self.rows, data)?;
        taps.emit_rows(Pass::Forward, tap, self.batch, data, width)
    }

    /// Lets a gradient be seen, then stops it where the value was changed.
    fn pass_back(
        &self,
        taps: &mut Taps<'_, '_, '_, R>,
        site: LayerSite,
        gradient: &mut [R],
    ) -> Result<(), Error> {
        let (tap, width) = (self.tap(site), self.arch.hidden_size);
        taps.check_rows(Pass::Backward, tap, self.batch, self.rows, gradient)?;
        taps.emit_rows(Pass::Backward, tap, self.batch, gradient, width)?;
        taps.block_rows(tap, self.batch, gradient, width);
        Ok(())
    }

    /// The norm between the residual stream and attention; nothing post-norm, and in a first block without.
    pub(crate) fn norm_before_attention(&self) -> Option<&Norm<R>> {
        match self.arch.norm {
            NormPlacement::Post => None,
            NormPlacement::Pre => self.weights.rest.attention_norm.as_ref(),
        }
    }

    /// The norm of the residual stream behind attention; nothing pre-norm.
    pub(crate) fn norm_behind_attention(&self) -> Option<&Norm<R>> {
        match self.arch.norm {
            NormPlacement::Post => self.weights.rest.attention_norm.as_ref(),
            NormPlacement::Pre => None,
        }
    }

    /// `y = norm(hat)`; `hat` and `rstd` keep what the backward pass needs.
    fn normalise(&self, norm: &Norm<R>, hat: &mut [R], rstd: &mut Vec<R>, y: &mut [R]) {
        let rstd = sized(rstd, hat.len() / self.arch.hidden_size);
        norm.forward(y, hat, rstd, self.arch.norm_epsilon);
    }

    /// `out [rows, hidden] = attention(input [tokens, hidden])`.
    fn attend(
        &self,
        input: &[R],
        out: &mut [R],
        trace: &mut LayerTrace<R>,
        scratch: &mut Scratch<R>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        let (tokens, hidden) = (self.batch.tokens(), self.arch.hidden_size);
        // Taken out of its place while the rest of the trace is in use.
        let mut distances = std::mem::take(&mut trace.distances);
        self.meet_distances(&mut distances, &mut scratch.distances);
        let attention = self.attention(&distances);
        let weights = &attention.weights;
        let qkv = sized(&mut trace.qkv, tokens * weights.qkv.outputs);
        let input = Matrix::new(input, tokens, hidden);
        if self.rows.count(self.batch) == 0 && !attention.reads_values(taps) {
            let (width, stride) = (2 * attention.width(), weights.qkv.outputs);
            let queries_and_keys = MatrixMut::strided(qkv, tokens, width, stride);
            let map = &weights.qkv;
            map.forward_some(queries_and_keys, input, width, self.threads);
        } else {
            weights.qkv.forward(qkv, input, self.threads);
        }
        self.norm_queries_and_keys(trace, &mut scratch.tap);
        attention.forward(trace, scratch, taps)?;
        let masked = attention.masked(&trace.context, &mut scratch.heads);
        attention.emit_contributions(masked, &mut scratch.tap, taps)?;
        let masked = Matrix::new(masked, self.rows.count(self.batch), weights.output.inputs);
        weights.output.forward(out, masked, self.threads);
        trace.distances = distances;
        self.scale_branch(out);
        self.drop_rows(DropSite::AttentionOutput, out);
        self.pass_by(taps, LayerSite::AttentionOutput, out)
    }

    /// Replaces `x [tokens, hidden]` by the block's output `[rows, hidden]` and leaves in `trace` what
    /// [`Self::backward`] needs.
    pub(crate) fn forward(
        &self,
        x: &mut Vec<R>,
        trace: &mut LayerTrace<R>,
        scratch: &mut Scratch<R>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        let mut update = std::mem::take(&mut scratch.update);
        self.attention_output(x, &mut update, trace, scratch, taps)?;
        self.finish(x, &mut update, trace, scratch, taps)?;
        scratch.update = update;
        Ok(())
    }

    /// The first half of [`Self::forward`]: `out [rows, hidden]`, what attention adds to `x`.
    pub(crate) fn attention_output(
        &self,
        x: &[R],
        out: &mut Vec<R>,
        trace: &mut LayerTrace<R>,
        scratch: &mut Scratch<R>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        let out = sized(out, self.rows.count(self.batch) * self.arch.hidden_size);
        let Some(norm) = self.norm_before_attention() else {
            if self.training.is_some() {
                sized(&mut trace.input, x.len()).copy_from_slice(x);
            }
            return self.attend(x, out, trace, scratch, taps);
        };
        // Taken out of its place while the rest of `scratch` is in use.
        let mut normed = std::mem::take(&mut scratch.hidden);
        let hat = sized(&mut trace.attention_hat, x.len());
        hat.copy_from_slice(x);
        let h = sized(&mut normed, x.len());
        self.normalise(norm, hat, &mut trace.attention_rstd, h);
        self.attend(h, out, trace, scratch, taps)?;
        scratch.hidden = normed;
        Ok(())
    }

    /// The second half: from `x [tokens, hidden]` and what attention adds to it, `update [rows, hidden]`, to
    /// the block's output in `x`. `update` leaves as a buffer of no particular content.
    pub(crate) fn finish(
        &self,
        x: &mut Vec<R>,
        update: &mut Vec<R>,
        trace: &mut LayerTrace<R>,
        scratch: &mut Scratch<R>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        let width = self.arch.hidden_size;
        let len = self.rows.count(self.batch) * width;
        let rest = &self.weights.rest;
        let mut mlp_hat = std::mem::take(&mut trace.mlp_hat);
        let mut middle = std::mem::take(&mut scratch.hidden);
        let (second, h) = (sized(&mut mlp_hat, len), sized(&mut middle, len));
        match self.arch.norm {
            NormPlacement::Post => {
                std::mem::swap(&mut trace.attention_hat, update);
                let first = sized(&mut trace.attention_hat, len);
                self.rows.add_from(first, x, width);
                match self.norm_behind_attention() {
                    Some(norm) => self.normalise(norm, first, &mut trace.attention_rstd, h),
                    None => h.copy_from_slice(first),
                }
                self.feed_forward(h, second, trace, scratch, taps)?;
                add_assign(second, h);
                let y = sized(x, len);
                self.normalise(&rest.mlp_norm, second, &mut trace.mlp_rstd, y);
            }
            NormPlacement::Pre => {
                self.rows.compact(x, width);
                add_assign(x, update);
                second.copy_from_slice(x);
                self.normalise(&rest.mlp_norm, second, &mut trace.mlp_rstd, h);
                self.feed_forward(h, update, trace, scratch, taps)?;
                add_assign(x, update);
            }
        }
        trace.mlp_hat = mlp_hat;
        scratch.hidden = middle;
        self.pass_by(taps, LayerSite::HiddenState, x)
    }

    /// `scratch.hidden [tokens, hidden]` ← the gradient of attention's input, if `deeper`; `dy` is that
    /// of its output.
    #[allow(clippy::too_many_arguments, reason = "one call site, all of one pass")]
    fn attend_backward(
        &self,
        dy: &mut [R],
        trace: &LayerTrace<R>,
        scratch: &mut Scratch<R>,
        deeper: bool,
        mut record: Option<&mut BlockRecord<R>>,
        taps: &mut Taps<'_, '_, '_, R>,
        mask_gradient: impl FnMut(usize, HeadId, f64),
    ) -> Result<(), Error> {
        let (tokens, hidden) = (self.batch.tokens(), self.arch.hidden_size);
        let rows = self.rows.count(self.batch);
        let attention = self.attention(&trace.distances);
        let weights = &attention.weights;
        self.emit_contribution_gradients(dy, taps)?;
        self.scale_branch(dy);
        let width = weights.output.inputs;
        let d_heads = sized(&mut scratch.heads, rows * width);
        let upper = Matrix::new(dy, rows, hidden);
        weights.output.backward(d_heads, upper, self.threads);
        let below = deeper || record.is_some();
        let positions = record.as_deref_mut().map(|record| PositionGradients {
            distances: &mut record.distances,
            bias: &mut record.bias,
        });
        attention.backward(trace, scratch, below, positions, taps, mask_gradient)?;
        if below {
            self.norm_queries_and_keys_backward(trace, scratch, record);
        }
        if !deeper {
            return Ok(());
        }
        let d_input = sized(&mut scratch.hidden, tokens * hidden);
        let qkv = &weights.qkv;
        if *self.rows == Rows::All {
            let d_qkv = Matrix::new(&scratch.qkv, tokens, qkv.outputs);
            qkv.backward(d_input, d_qkv, self.threads);
            return Ok(());
        }
        // Keys and values of every token, queries of a few.
        let d_key_value = Matrix::new(&scratch.qkv, tokens, 2 * width);
        qkv.backward_of(d_input, d_key_value, width..3 * width, self.threads);
        let d_query = Matrix::new(&scratch.query, rows, width);
        let d = sized(&mut scratch.tap, rows * hidden);
        qkv.backward_of(d, d_query, 0..width, self.threads);
        self.rows.add_to(d_input, d, hidden);
        Ok(())
    }

    /// Replaces `dy [rows, hidden]`, the gradient of the block's output, by that of its input
    /// `[tokens, hidden]`; with `deeper` false the input's gradient is not computed and `dy` is left
    /// undefined. `record` receives what the gradients of the block's weights are made of.
    #[allow(clippy::too_many_arguments, reason = "two call sites, all of one pass")]
    pub(crate) fn backward(
        &self,
        dy: &mut Vec<R>,
        trace: &LayerTrace<R>,
        scratch: &mut Scratch<R>,
        deeper: bool,
        mut record: Option<&mut BlockRecord<R>>,
        taps: &mut Taps<'_, '_, '_, R>,
        mask_gradient: impl FnMut(usize, HeadId, f64),
    ) -> Result<(), Error> {
        let rest = &self.weights.rest;
        let above = &rest.mlp_norm;
        self.pass_back(taps, LayerSite::HiddenState, dy)?;
        if let Some(record) = record.as_deref_mut() {
            record.begin(self, trace);
        }
        let post = self.arch.norm == NormPlacement::Post;
        if post {
            if let Some(record) = record.as_deref_mut() {
                let [weight, bias] = record.mlp_norm();
                layer_norm_backward_affine(weight, bias, dy, &trace.mlp_hat);
            }
            above.backward(dy, &trace.mlp_hat, &trace.mlp_rstd);
        }
        let mut branch = self.branch(dy, scratch, LayerSite::MlpOutput, taps)?;
        self.drop_rows(DropSite::MlpOutput, &mut branch);
        self.scale_branch(&mut branch);
        self.feed_forward_backward(&branch, trace, scratch, taps)?;
        scratch.update = branch;
        if let Some(record) = record.as_deref_mut() {
            record.keep_feed_forward(self, trace, scratch);
        }
        if post {
            add_assign(dy, &scratch.hidden);
            if let Some(norm) = self.norm_behind_attention() {
                if let Some(record) = record.as_deref_mut() {
                    let [weight, bias] = record.attention_norm();
                    layer_norm_backward_affine(weight, bias, dy, &trace.attention_hat);
                }
                norm.backward(dy, &trace.attention_hat, &trace.attention_rstd);
            }
        } else {
            let d = &mut scratch.hidden;
            if let Some(record) = record.as_deref_mut() {
                let [weight, bias] = record.mlp_norm();
                layer_norm_backward_affine(weight, bias, d, &trace.mlp_hat);
            }
            above.backward(d, &trace.mlp_hat, &trace.mlp_rstd);
            add_assign(dy, d);
        }
        let mut branch = self.branch(dy, scratch, LayerSite::AttentionOutput, taps)?;
        self.drop_rows(DropSite::AttentionOutput, &mut branch);
        let result = self.attend_backward(
            &mut branch,
            trace,
            scratch,
            // A pre-norm block's first norm lies below its projections.
            deeper || (record.is_some() && !post),
            record.as_deref_mut(),
            taps,
            mask_gradient,
        );
        scratch.update = branch;
        result?;
        if let Some(record) = record {
            record.keep_attention(self, trace, scratch);
            if self.norm_before_attention().is_some() {
                let [weight, bias] = record.attention_norm();
                layer_norm_backward_affine(weight, bias, &scratch.hidden, &trace.attention_hat);
            }
        }
        if deeper {
            let d = &mut scratch.hidden;
            if let Some(norm) = self.norm_before_attention() {
                norm.backward(d, &trace.attention_hat, &trace.attention_rstd);
            }
            self.rows.add_to(d, dy, self.arch.hidden_size);
            std::mem::swap(d, dy);
        }
        Ok(())
    }

    /// The gradient that enters a branch beside the residual stream, seen and, where the branch's
    /// output was replaced, stopped. The caller gives the buffer back to `scratch.update`.
    fn branch(
        &self,
        dy: &[R],
        scratch: &mut Scratch<R>,
        site: LayerSite,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<Vec<R>, Error> {
        let mut branch = std::mem::take(&mut scratch.update);
        sized(&mut branch, dy.len()).copy_from_slice(dy);
        self.pass_back(taps, site, &mut branch)?;
        Ok(branch)
    }

    /// Every head adds to the same residual stream, so each one's contribution has the gradient of
    /// the attention output.
    pub(crate) fn emit_contribution_gradients(
        &self,
        dy: &[R],
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        let (pass, site) = (Pass::Backward, LayerSite::HeadContribution);
        if !taps.wants(pass, site) {
            return Ok(());
        }
        let hidden = self.arch.hidden_size;
        for (sequence, range) in self.batch.ranges().enumerate() {
            let value = Matrix::new(
                &dy[range.start * hidden..range.end * hidden],
                range.len(),
                hidden,
            );
            for head in &self.weights.attention.heads {
                let id = HeadId {
                    layer: self.layer,
                    head: *head,
                };
                taps.emit_head(pass, site, sequence, id, value)?;
            }
        }
        Ok(())
    }
}
