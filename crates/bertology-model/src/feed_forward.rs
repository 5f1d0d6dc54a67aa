//! The feed-forward half of a block, forwards and backwards: two maps, between them an activation, which may be gated.

use bertology_checkpoint::{Architecture, FeedForward};
use bertology_kernels::{Matrix, Real};

use crate::Error;
use crate::block::{BlockPass, kernel_of};
use crate::dropout::DropSite;
use crate::taps::{LayerSite, Pass, Taps};
use crate::workspace::{LayerTrace, Scratch, sized};

/// What the second map reads, `activated [rows, inner]`, from what the first map gave.
pub(crate) fn activate<R: Real>(arch: &Architecture, activated: &mut [R], pre: &[R], inner: usize) {
    // A layer that has lost all its neurons.
    if inner == 0 {
        return;
    }
    let activation = kernel_of(arch.activation);
    match arch.feed_forward {
        FeedForward::Plain => activation.forward(activated, pre),
        FeedForward::Gated => {
            let rows = activated.chunks_exact_mut(inner);
            for (y, pre) in rows.zip(pre.chunks_exact(2 * inner)) {
                let (x, gate) = pre.split_at(inner);
                activation.forward(y, x);
                y.iter_mut().zip(gate).for_each(|(y, gate)| *y *= *gate);
            }
        }
    }
}

impl<R: Real> BlockPass<'_, R> {
    /// Neurons of this block.
    pub(crate) fn neurons(&self) -> usize {
        self.weights.rest.mlp_out.inputs
    }

    /// `out [rows, hidden] = mlp(input)`.
    pub(crate) fn feed_forward(
        &self,
        input: &[R],
        out: &mut [R],
        trace: &mut LayerTrace<R>,
        scratch: &mut Scratch<R>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        let (rows, inner) = (self.rows.count(self.batch), self.neurons());
        let rest = &self.weights.rest;
        let pre = sized(&mut trace.mlp_pre, rows * rest.mlp_in.outputs);
        let input = Matrix::new(input, rows, self.arch.hidden_size);
        rest.mlp_in.forward(pre, input, self.threads);
        let activated = sized(&mut scratch.inner, rows * inner);
        activate(self.arch, activated, pre, inner);
        let tap = self.tap(LayerSite::MlpInner);
        taps.edit_rows(tap, self.batch, activated, inner)?;
        taps.emit_rows(Pass::Forward, tap, self.batch, activated, inner)?;
        if taps.wants(Pass::Backward, LayerSite::NeuronMask) {
            sized(&mut trace.neurons, rows * inner).copy_from_slice(activated);
        }
        self.apply_neuron_mask(activated);
        self.drop_wide(DropSite::MlpInner, activated, inner);
        let input = Matrix::new(activated, rows, inner);
        rest.mlp_out.forward(out, input, self.threads);
        self.scale_branch(out);
        self.drop_rows(DropSite::MlpOutput, out);
        self.pass_by(taps, LayerSite::MlpOutput, out)
    }

    /// `scratch.hidden` ← the gradient of the feed-forward block's input; `dy` is that of its output. `scratch.inner`
    /// keeps that of the activation's input.
    pub(crate) fn feed_forward_backward(
        &self,
        dy: &[R],
        trace: &LayerTrace<R>,
        scratch: &mut Scratch<R>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        let (rows, hidden, inner) = (
            self.rows.count(self.batch),
            self.arch.hidden_size,
            self.neurons(),
        );
        let rest = &self.weights.rest;
        let d_inner = sized(&mut scratch.inner, rows * inner);
        let upper = Matrix::new(dy, rows, hidden);
        rest.mlp_out.backward(d_inner, upper, self.threads);
        self.drop_wide(DropSite::MlpInner, d_inner, inner);
        if taps.wants(Pass::Backward, LayerSite::NeuronMask) {
            let each = sized(&mut scratch.gated, rows * inner);
            for (each, (d, neuron)) in each.iter_mut().zip(d_inner.iter().zip(&trace.neurons)) {
                *each = *d * *neuron;
            }
            let tap = self.tap(LayerSite::NeuronMask);
            taps.emit_rows(Pass::Backward, tap, self.batch, each, inner)?;
        }
        self.apply_neuron_mask(d_inner);
        let tap = self.tap(LayerSite::MlpInner);
        taps.emit_rows(Pass::Backward, tap, self.batch, d_inner, inner)?;
        taps.block_rows(tap, self.batch, d_inner, inner);
        self.activation_backward(&trace.mlp_pre, scratch);
        let d_input = sized(&mut scratch.hidden, rows * hidden);
        let d_inner = Matrix::new(&scratch.inner, rows, rest.mlp_in.outputs);
        rest.mlp_in.backward(d_input, d_inner, self.threads);
        Ok(())
    }

    /// Multiplies rows of neurons, or of their gradients, by the factors of the layer.
    fn apply_neuron_mask(&self, rows: &mut [R]) {
        let Some(mask) = self.neuron_mask else {
            return;
        };
        let factors: Vec<R> = mask.layer(self.layer)[..self.neurons()]
            .iter()
            .map(|of| R::from_f64(*of))
            .collect();
        for row in rows.chunks_exact_mut(factors.len().max(1)) {
            row.iter_mut()
                .zip(&factors)
                .for_each(|(value, factor)| *value *= *factor);
        }
    }

    /// `scratch.inner` arrives as the gradient of what [`activate`] gives and leaves as that of `pre`, its input.
    fn activation_backward(&self, pre: &[R], scratch: &mut Scratch<R>) {
        let activation = kernel_of(self.arch.activation);
        let inner = self.neurons();
        if inner == 0 {
            return;
        }
        match self.arch.feed_forward {
            FeedForward::Plain => activation.backward(&mut scratch.inner, pre),
            FeedForward::Gated => {
                let gated = sized(&mut scratch.gated, pre.len());
                let rows = gated.chunks_exact_mut(2 * inner);
                let given = scratch
                    .inner
                    .chunks_exact(inner)
                    .zip(pre.chunks_exact(2 * inner));
                for (d, (dy, pre)) in rows.zip(given) {
                    let (x, gate) = pre.split_at(inner);
                    let (dx, d_gate) = d.split_at_mut(inner);
                    activation.forward(d_gate, x);
                    d_gate.iter_mut().zip(dy).for_each(|(d, dy)| *d *= *dy);
                    for (dx, (dy, gate)) in dx.iter_mut().zip(dy.iter().zip(gate)) {
                        *dx = *dy * *gate;
                    }
                    activation.backward(dx, x);
                }
                std::mem::swap(&mut scratch.inner, &mut scratch.gated);
            }
        }
    }
}
