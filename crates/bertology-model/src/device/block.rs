//! One block on a device: [`crate::block`] and [`crate::feed_forward`] operation by operation.

use bertology_checkpoint::{FeedForward, NormPlacement};
use bertology_device::{Activate, Columns, Reduce};
use bertology_kernels::Real;

use super::pass::DevicePass;
use super::weights::{Linear, Norm};
use crate::Error;
use crate::block::kernel_of;
use crate::taps::{LayerSite, Pass, Taps};

/// What the backward pass of a block needs from its forward pass, [`crate::workspace::LayerTrace`] on a device.
pub(super) struct Trace<B> {
    pub(super) qkv: B,
    pub(super) context: B,
    /// Of queries and of keys: what went into their norms, normalised, and the inverse deviations.
    pub(super) normed: Vec<[B; 2]>,
    /// Queries and keys of distances.
    pub(super) distances: Option<B>,
    attention_hat: B,
    attention_rstd: B,
    mlp_pre: B,
    neurons: Option<B>,
    mlp_hat: B,
    mlp_rstd: B,
}

impl<R: Real, D: Reduce<R>> DevicePass<'_, R, D> {
    /// Buffers for a layer.
    pub(super) fn trace(&self, layer: usize) -> Result<Trace<D::Buffer>, Error> {
        let (attention, rest) = self.layer(layer);
        let (tokens, hidden) = (self.batch.tokens(), self.arch().hidden_size);
        let zeros = |width: usize| self.device.zeros(tokens * width);
        Ok(Trace {
            qkv: zeros(attention.qkv.outputs)?,
            context: zeros(attention.output.inputs)?,
            normed: Vec::new(),
            distances: None,
            attention_hat: zeros(hidden)?,
            attention_rstd: zeros(1)?,
            mlp_pre: zeros(rest.mlp_in.outputs)?,
            neurons: None,
            mlp_hat: zeros(hidden)?,
            mlp_rstd: zeros(1)?,
        })
    }

    pub(super) fn linear(
        &self,
        y: &mut D::Buffer,
        x: &D::Buffer,
        map: &Linear<D::Buffer>,
        rows: usize,
    ) {
        let size = [rows, map.inputs, map.outputs];
        self.device
            .linear(y, x, &map.weight, map.bias.as_ref(), size);
    }

    fn linear_backward(&self, dx: &mut D::Buffer, dy: &D::Buffer, map: &Linear<D::Buffer>) {
        let size = [self.batch.tokens(), map.inputs, map.outputs];
        self.device.linear_backward(dx, dy, &map.weight, size);
    }

    /// `y = norm(x)`; `hat` and `rstd` keep what the backward pass needs.
    pub(super) fn norm(
        &self,
        y: &mut D::Buffer,
        x: &D::Buffer,
        hat: &mut D::Buffer,
        rstd: &mut D::Buffer,
        norm: &Norm<D::Buffer>,
        width: usize,
    ) {
        let (tokens, all) = (self.batch.tokens(), Columns::all(width));
        self.device.copy(hat, all, x, all, tokens);
        self.normalise(y, hat, rstd, norm, [tokens, width]);
    }

    /// [`Self::norm`] of what is in `hat` already; `size` is rows and width.
    pub(super) fn normalise(
        &self,
        y: &mut D::Buffer,
        hat: &mut D::Buffer,
        rstd: &mut D::Buffer,
        norm: &Norm<D::Buffer>,
        size: [usize; 2],
    ) {
        let (weight, bias, epsilon) = (&norm.weight, &norm.bias, self.arch().norm_epsilon);
        self.device
            .norm(y, hat, rstd, weight, bias, size, epsilon, norm.centred);
    }

    pub(super) fn norm_backward(
        &self,
        d: &mut D::Buffer,
        hat: &D::Buffer,
        rstd: &D::Buffer,
        norm: &Norm<D::Buffer>,
        width: usize,
    ) {
        let size = [self.batch.tokens(), width];
        self.device
            .norm_backward(d, hat, rstd, &norm.weight, size, norm.centred);
    }

    fn copy_of(&self, x: &D::Buffer, width: usize) -> Result<D::Buffer, Error> {
        let mut copy = self.device.zeros(self.batch.tokens() * width)?;
        let all = Columns::all(width);
        self.device
            .copy(&mut copy, all, x, all, self.batch.tokens());
        Ok(copy)
    }

    fn add(&self, out: &mut D::Buffer, x: &D::Buffer) {
        let len = self.batch.tokens() * self.arch().hidden_size;
        self.device.add(out, x, len);
    }

    /// What a half of the block gives, or its gradient, as it is added to the residual stream.
    fn scale_branch(&self, x: &mut D::Buffer) {
        let arch = self.arch();
        if arch.branch_scale != 1.0 {
            let len = self.batch.tokens() * arch.hidden_size;
            self.device.scale(x, R::from_f64(arch.branch_scale), len);
        }
    }

    fn activation(&self, inner: usize) -> Activate {
        Activate {
            function: kernel_of(self.arch().activation),
            inner,
            gated: self.arch().feed_forward == FeedForward::Gated,
        }
    }

    /// `x [tokens, hidden]` becomes the block's output.
    pub(super) fn block(
        &self,
        layer: usize,
        x: &mut D::Buffer,
        trace: &mut Trace<D::Buffer>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        let (block, hidden) = (self.host_block(layer), self.arch().hidden_size);
        let (attention, rest) = self.layer(layer);
        let tokens = self.batch.tokens();
        let zeros = || self.device.zeros(tokens * hidden);
        let pre = self.arch().norm == NormPlacement::Pre;

        // 1. Attention, of the residual stream or of its norm.
        let mut update = zeros()?;
        let before = rest.attention_norm.as_ref().filter(|_| pre);
        let mut normed = zeros()?;
        if let Some(norm) = before {
            let (hat, rstd) = (&mut trace.attention_hat, &mut trace.attention_rstd);
            self.norm(&mut normed, x, hat, rstd, norm, hidden);
        }
        let input = if before.is_some() { &normed } else { &*x };
        self.linear(&mut trace.qkv, input, &attention.qkv, tokens);
        self.norm_queries_and_keys(layer, trace)?;
        self.attend(layer, trace, taps)?;
        let masked = self.masked_heads(layer, &trace.context)?;
        let masked = masked.as_ref().unwrap_or(&trace.context);
        if taps.wants(Pass::Forward, LayerSite::HeadContribution) {
            self.settle(taps)?;
            let masked = self.rows_of(masked, attention.output.inputs)?;
            let host = block.attention(&[]);
            host.emit_contributions(&masked, &mut Vec::new(), taps)?;
        }
        self.linear(&mut update, masked, &attention.output, tokens);
        self.scale_branch(&mut update);
        let tap = block.tap(LayerSite::AttentionOutput);
        self.pass_by(tap, &mut update, hidden, taps)?;

        // 2. The feed-forward half, of the stream that attention has been added to, behind a norm.
        let mut h = zeros()?;
        if pre {
            self.add(x, &update);
            let (hat, rstd) = (&mut trace.mlp_hat, &mut trace.mlp_rstd);
            self.norm(&mut h, x, hat, rstd, &rest.mlp_norm, hidden);
            self.feed_forward(layer, &h, &mut update, trace, taps)?;
            self.add(x, &update);
        } else {
            self.add(&mut update, x);
            match &rest.attention_norm {
                Some(norm) => {
                    let (hat, rstd) = (&mut trace.attention_hat, &mut trace.attention_rstd);
                    self.norm(&mut h, &update, hat, rstd, norm, hidden);
                }
                None => h = update,
            }
            let mut second = zeros()?;
            self.feed_forward(layer, &h, &mut second, trace, taps)?;
            self.add(&mut second, &h);
            let (hat, rstd) = (&mut trace.mlp_hat, &mut trace.mlp_rstd);
            self.norm(x, &second, hat, rstd, &rest.mlp_norm, hidden);
        }
        self.pass_by(block.tap(LayerSite::HiddenState), x, hidden, taps)
    }

    fn feed_forward(
        &self,
        layer: usize,
        input: &D::Buffer,
        out: &mut D::Buffer,
        trace: &mut Trace<D::Buffer>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        let (block, hidden) = (self.host_block(layer), self.arch().hidden_size);
        let (_, rest) = self.layer(layer);
        let (tokens, inner) = (self.batch.tokens(), rest.mlp_out.inputs);
        self.linear(&mut trace.mlp_pre, input, &rest.mlp_in, tokens);
        let mut activated = self.device.zeros(tokens * inner)?;
        let by = self.activation(inner);
        self.device
            .activate(&mut activated, &trace.mlp_pre, tokens, by);
        let tap = block.tap(LayerSite::MlpInner);
        self.look(tap, &mut activated, inner, taps)?;
        if taps.wants(Pass::Backward, LayerSite::NeuronMask) {
            trace.neurons = Some(self.copy_of(&activated, inner)?);
        }
        self.mask_neurons(layer, &mut activated, inner)?;
        self.linear(out, &activated, &rest.mlp_out, tokens);
        self.scale_branch(out);
        let tap = block.tap(LayerSite::MlpOutput);
        self.pass_by(tap, out, hidden, taps)
    }

    /// Multiplies rows of neurons, or of their gradients, by the factors of the layer.
    fn mask_neurons(&self, layer: usize, x: &mut D::Buffer, inner: usize) -> Result<(), Error> {
        let Some(mask) = self.options.neurons else {
            return Ok(());
        };
        let factors = mask.layer(layer)[..inner].iter();
        let factors: Vec<R> = factors.map(|factor| R::from_f64(*factor)).collect();
        let factors = self.device.upload(&factors)?;
        let tokens = self.batch.tokens();
        self.device.scale_columns(x, &factors, tokens, inner);
        Ok(())
    }

    /// The gradient of the block's output becomes that of its input, if `deeper`; `mask_gradients` receives those of the
    /// layer's head mask.
    pub(super) fn block_backward(
        &self,
        layer: usize,
        dy: &mut D::Buffer,
        trace: &Trace<D::Buffer>,
        deeper: bool,
        mask_gradients: &mut D::Buffer,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        let (block, hidden) = (self.host_block(layer), self.arch().hidden_size);
        let (attention, rest) = self.layer(layer);
        let tokens = self.batch.tokens();
        let post = self.arch().norm == NormPlacement::Post;
        self.pass_back(block.tap(LayerSite::HiddenState), dy, hidden, taps)?;
        let (hat, rstd) = (&trace.mlp_hat, &trace.mlp_rstd);
        if post {
            self.norm_backward(dy, hat, rstd, &rest.mlp_norm, hidden);
        }
        let mut branch = self.copy_of(dy, hidden)?;
        let tap = block.tap(LayerSite::MlpOutput);
        self.pass_back(tap, &mut branch, hidden, taps)?;
        self.scale_branch(&mut branch);
        let mut d = self.feed_forward_backward(layer, &branch, trace, taps)?;
        let (first_hat, first_rstd) = (&trace.attention_hat, &trace.attention_rstd);
        if post {
            self.add(dy, &d);
            if let Some(norm) = &rest.attention_norm {
                self.norm_backward(dy, first_hat, first_rstd, norm, hidden);
            }
        } else {
            self.norm_backward(&mut d, hat, rstd, &rest.mlp_norm, hidden);
            self.add(dy, &d);
        }

        let mut branch = self.copy_of(dy, hidden)?;
        let tap = block.tap(LayerSite::AttentionOutput);
        self.pass_back(tap, &mut branch, hidden, taps)?;
        if taps.wants(Pass::Backward, LayerSite::HeadContribution) {
            self.settle(taps)?;
            block.emit_contribution_gradients(&self.rows_of(&branch, hidden)?, taps)?;
        }
        self.scale_branch(&mut branch);
        let mut d_heads = self.device.zeros(tokens * attention.output.inputs)?;
        self.linear_backward(&mut d_heads, &branch, &attention.output);
        let d_qkv = self.attend_backward(layer, d_heads, trace, deeper, mask_gradients, taps)?;
        let Some(mut d_qkv) = d_qkv else {
            return Ok(());
        };
        self.norm_queries_and_keys_backward(layer, trace, &mut d_qkv)?;
        self.linear_backward(&mut d, &d_qkv, &attention.qkv);
        if let Some(norm) = rest.attention_norm.as_ref().filter(|_| !post) {
            self.norm_backward(&mut d, first_hat, first_rstd, norm, hidden);
        }
        self.add(dy, &d);
        Ok(())
    }

    /// The gradient of the feed-forward block's input; `dy` is that of its output.
    fn feed_forward_backward(
        &self,
        layer: usize,
        dy: &D::Buffer,
        trace: &Trace<D::Buffer>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<D::Buffer, Error> {
        let (block, hidden) = (self.host_block(layer), self.arch().hidden_size);
        let (_, rest) = self.layer(layer);
        let (tokens, inner) = (self.batch.tokens(), rest.mlp_out.inputs);
        let mut d_inner = self.device.zeros(tokens * inner)?;
        self.linear_backward(&mut d_inner, dy, &rest.mlp_out);
        if let Some(neurons) = &trace.neurons {
            let mut each = self.copy_of(&d_inner, inner)?;
            self.device.multiply(&mut each, neurons, tokens * inner);
            let tap = block.tap(LayerSite::NeuronMask);
            self.look_back(tap, &mut each, inner, taps)?;
        }
        self.mask_neurons(layer, &mut d_inner, inner)?;
        let tap = block.tap(LayerSite::MlpInner);
        self.look_back(tap, &mut d_inner, inner, taps)?;
        let mut d_pre = self.device.zeros(tokens * rest.mlp_in.outputs)?;
        let by = self.activation(inner);
        self.device
            .activate_backward(&mut d_pre, &d_inner, &trace.mlp_pre, tokens, by);
        let mut d = self.device.zeros(tokens * hidden)?;
        self.linear_backward(&mut d, &d_pre, &rest.mlp_in);
        Ok(d)
    }

    /// Brings queries and keys to scale; nothing where they have no norms.
    fn norm_queries_and_keys(
        &self,
        layer: usize,
        trace: &mut Trace<D::Buffer>,
    ) -> Result<(), Error> {
        let (attention, _) = self.layer(layer);
        let Some(norms) = &attention.norms else {
            return Ok(());
        };
        let (tokens, width) = (self.batch.tokens(), attention.output.inputs);
        let all = Columns::all(width);
        for (part, norm) in norms.iter().enumerate() {
            let columns = packed(part, width);
            let mut hat = self.device.zeros(tokens * width)?;
            let mut rstd = self.device.zeros(tokens)?;
            let mut y = self.device.zeros(tokens * width)?;
            let device = self.device;
            device.copy(&mut hat, all, &trace.qkv, columns, tokens);
            self.normalise(&mut y, &mut hat, &mut rstd, norm, [tokens, width]);
            device.copy(&mut trace.qkv, columns, &y, all, tokens);
            trace.normed.push([hat, rstd]);
        }
        Ok(())
    }

    fn norm_queries_and_keys_backward(
        &self,
        layer: usize,
        trace: &Trace<D::Buffer>,
        d_qkv: &mut D::Buffer,
    ) -> Result<(), Error> {
        let (attention, _) = self.layer(layer);
        let Some(norms) = &attention.norms else {
            return Ok(());
        };
        let (tokens, width) = (self.batch.tokens(), attention.output.inputs);
        let all = Columns::all(width);
        for (part, (norm, [hat, rstd])) in norms.iter().zip(&trace.normed).enumerate() {
            let columns = packed(part, width);
            let mut d = self.device.zeros(tokens * width)?;
            self.device.copy(&mut d, all, d_qkv, columns, tokens);
            self.norm_backward(&mut d, hat, rstd, norm, width);
            self.device.copy(d_qkv, columns, &d, all, tokens);
        }
        Ok(())
    }
}

/// Queries (0) or keys (1) among `[tokens, 3 · width]`.
fn packed(part: usize, width: usize) -> Columns {
    Columns {
        first: part * width,
        stride: 3 * width,
        width,
    }
}
