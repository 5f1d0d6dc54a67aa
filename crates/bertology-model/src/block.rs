//! One post-norm block, forwards and backwards:
//! `h = norm(x + attention(x))`, `y = norm(h + mlp(h))`.

use bertology_checkpoint as checkpoint;
use bertology_checkpoint::Architecture;
use bertology_kernels::elementwise::add_assign;
use bertology_kernels::matrix::{linear, linear_backward_input};
use bertology_kernels::norm::{layer_norm, layer_norm_backward};
use bertology_kernels::{Activation, Matrix, Real};

use crate::attention::AttentionPass;
use crate::mask::HeadId;
use crate::model::Layer;
use crate::taps::{LayerSite, Pass, Tap, Taps};
use crate::workspace::{LayerTrace, Scratch, sized};
use crate::{Error, Masking, PackedBatch};

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

/// One block over one batch.
pub(crate) struct BlockPass<'a, R> {
    pub(crate) arch: &'a Architecture,
    pub(crate) weights: &'a Layer<R>,
    pub(crate) layer: usize,
    pub(crate) batch: &'a PackedBatch,
    pub(crate) masking: Masking<'a>,
    pub(crate) threads: usize,
}

impl<R: Real> BlockPass<'_, R> {
    fn attention(&self) -> AttentionPass<'_, R> {
        AttentionPass {
            arch: self.arch,
            weights: &self.weights.attention,
            layer: self.layer,
            batch: self.batch,
            masking: self.masking,
        }
    }

    fn emit(
        &self,
        taps: &mut Taps<'_, '_, R>,
        pass: Pass,
        site: LayerSite,
        data: &[R],
    ) -> Result<(), Error> {
        taps.emit_rows(
            pass,
            Tap::Layer(self.layer, site),
            self.batch,
            data,
            self.arch.hidden_size,
        )
    }

    /// Replaces `x [tokens, hidden]` by the block's output and leaves in `trace` what
    /// [`Self::backward`] needs.
    pub(crate) fn forward(
        &self,
        x: &mut [R],
        trace: &mut LayerTrace<R>,
        scratch: &mut Scratch<R>,
        taps: &mut Taps<'_, '_, R>,
    ) -> Result<(), Error> {
        let (tokens, hidden, inner) = (
            self.batch.tokens(),
            self.arch.hidden_size,
            self.arch.intermediate_size,
        );
        let attention = self.attention();
        let weights = &attention.weights;
        let rest = &self.weights.rest;

        let qkv = sized(&mut trace.qkv, tokens * weights.qkv.outputs());
        let input = Matrix::new(x, tokens, hidden);
        linear(
            qkv,
            input,
            weights.qkv.matrix(),
            &weights.qkv.bias,
            self.threads,
        );
        attention.forward(trace, scratch, taps)?;

        let masked = attention.masked(&trace.context, &mut scratch.heads);
        attention.emit_contributions(masked, &mut scratch.tap, taps)?;
        let sum = sized(&mut trace.attention_hat, tokens * hidden);
        let masked = Matrix::new(masked, tokens, weights.output.inputs);
        linear(
            sum,
            masked,
            weights.output.matrix(),
            &weights.output.bias,
            self.threads,
        );
        self.emit(taps, Pass::Forward, LayerSite::AttentionOutput, sum)?;
        add_assign(sum, x);
        let middle = sized(&mut scratch.hidden, tokens * hidden);
        let norm = &rest.attention_norm;
        let rstd = sized(&mut trace.attention_rstd, tokens);
        layer_norm(
            middle,
            sum,
            rstd,
            &norm.weight,
            &norm.bias,
            self.arch.norm_epsilon,
        );

        let pre = sized(&mut trace.mlp_pre, tokens * inner);
        let input = Matrix::new(middle, tokens, hidden);
        linear(
            pre,
            input,
            rest.mlp_in.matrix(),
            &rest.mlp_in.bias,
            self.threads,
        );
        let activated = sized(&mut scratch.inner, tokens * inner);
        kernel_of(self.arch.activation).forward(activated, pre);
        let sum = sized(&mut trace.mlp_hat, tokens * hidden);
        let input = Matrix::new(activated, tokens, inner);
        linear(
            sum,
            input,
            rest.mlp_out.matrix(),
            &rest.mlp_out.bias,
            self.threads,
        );
        self.emit(taps, Pass::Forward, LayerSite::MlpOutput, sum)?;
        add_assign(sum, middle);
        let norm = &rest.mlp_norm;
        let rstd = sized(&mut trace.mlp_rstd, tokens);
        layer_norm(
            x,
            sum,
            rstd,
            &norm.weight,
            &norm.bias,
            self.arch.norm_epsilon,
        );
        self.emit(taps, Pass::Forward, LayerSite::HiddenState, x)
    }

    /// Replaces `dy [tokens, hidden]`, the gradient of the block's output, by that of its input;
    /// with `deeper` false the input's gradient is not computed and `dy` is left undefined.
    pub(crate) fn backward(
        &self,
        dy: &mut [R],
        trace: &LayerTrace<R>,
        scratch: &mut Scratch<R>,
        deeper: bool,
        taps: &mut Taps<'_, '_, R>,
        mask_gradient: impl FnMut(usize, HeadId, f64),
    ) -> Result<(), Error> {
        let (tokens, hidden, inner) = (
            self.batch.tokens(),
            self.arch.hidden_size,
            self.arch.intermediate_size,
        );
        let attention = self.attention();
        let weights = &attention.weights;
        let rest = &self.weights.rest;
        let back = Pass::Backward;

        self.emit(taps, back, LayerSite::HiddenState, dy)?;
        layer_norm_backward(dy, &trace.mlp_hat, &trace.mlp_rstd, &rest.mlp_norm.weight);
        self.emit(taps, back, LayerSite::MlpOutput, dy)?;
        let d_inner = sized(&mut scratch.inner, tokens * inner);
        let upper = Matrix::new(dy, tokens, hidden);
        linear_backward_input(d_inner, upper, rest.mlp_out.matrix(), self.threads);
        kernel_of(self.arch.activation).backward(d_inner, &trace.mlp_pre);
        let d_middle = sized(&mut scratch.hidden, tokens * hidden);
        let d_inner = Matrix::new(d_inner, tokens, inner);
        linear_backward_input(d_middle, d_inner, rest.mlp_in.matrix(), self.threads);
        add_assign(dy, d_middle);

        let norm = &rest.attention_norm;
        layer_norm_backward(
            dy,
            &trace.attention_hat,
            &trace.attention_rstd,
            &norm.weight,
        );
        self.emit(taps, back, LayerSite::AttentionOutput, dy)?;
        self.emit_contribution_gradients(dy, taps)?;
        let d_heads = sized(&mut scratch.heads, tokens * weights.output.inputs);
        let upper = Matrix::new(dy, tokens, hidden);
        linear_backward_input(d_heads, upper, weights.output.matrix(), self.threads);
        attention.backward(trace, scratch, deeper, taps, mask_gradient)?;
        if deeper {
            let d_input = sized(&mut scratch.hidden, tokens * hidden);
            let d_qkv = Matrix::new(&scratch.qkv, tokens, weights.qkv.outputs());
            linear_backward_input(d_input, d_qkv, weights.qkv.matrix(), self.threads);
            add_assign(dy, d_input);
        }
        Ok(())
    }

    /// Every head adds to the same residual stream, so each one's contribution has the gradient of
    /// the attention output.
    fn emit_contribution_gradients(
        &self,
        dy: &[R],
        taps: &mut Taps<'_, '_, R>,
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
