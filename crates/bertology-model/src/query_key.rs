//! Norms of queries and keys over all heads of a layer together, forwards and backwards.

use bertology_kernels::Real;
use bertology_kernels::norm::layer_norm_backward_affine;

use crate::block::BlockPass;
use crate::record::BlockRecord;
use crate::workspace::{LayerTrace, Scratch, sized};

/// Copies `width` numbers of every row from column `first` on.
fn columns<R: Real>(out: &mut Vec<R>, packed: &[R], stride: usize, first: usize, width: usize) {
    let out = sized(out, packed.len() / stride * width);
    for (to, from) in out.chunks_exact_mut(width).zip(packed.chunks_exact(stride)) {
        to.copy_from_slice(&from[first..first + width]);
    }
}

/// Puts them back.
fn put_columns<R: Real>(packed: &mut [R], given: &[R], stride: usize, first: usize, width: usize) {
    for (to, from) in packed
        .chunks_exact_mut(stride)
        .zip(given.chunks_exact(width))
    {
        to[first..first + width].copy_from_slice(from);
    }
}

impl<R: Real> BlockPass<'_, R> {
    /// Brings queries and keys in `trace.qkv [tokens, 3W]` to scale; nothing where they have no norms.
    pub(crate) fn norm_queries_and_keys(&self, trace: &mut LayerTrace<R>, buffer: &mut Vec<R>) {
        let attention = &self.weights.attention;
        let Some(norms) = &attention.norms else {
            return;
        };
        let (width, stride) = (attention.output.inputs, attention.qkv.outputs);
        for (part, (norm, kept)) in norms.iter().zip(&mut trace.normed).enumerate() {
            columns(&mut kept.hat, &trace.qkv, stride, part * width, width);
            let y = sized(buffer, kept.hat.len());
            let rstd = sized(&mut kept.rstd, self.batch.tokens());
            norm.forward(y, &mut kept.hat, rstd, self.arch.norm_epsilon);
            put_columns(&mut trace.qkv, y, stride, part * width, width);
        }
    }

    /// From the gradients of queries and keys in `scratch.qkv [tokens, 3W]` to those of what went into their norms. Where there are
    /// norms positions are rotary, so that all rows are computed.
    pub(crate) fn norm_queries_and_keys_backward(
        &self,
        trace: &LayerTrace<R>,
        scratch: &mut Scratch<R>,
        mut record: Option<&mut BlockRecord<R>>,
    ) {
        let attention = &self.weights.attention;
        let Some(norms) = &attention.norms else {
            return;
        };
        let (width, stride) = (attention.output.inputs, attention.qkv.outputs);
        let (mut d, mut none) = (Vec::new(), vec![R::ZERO; width]);
        for (part, (norm, kept)) in norms.iter().zip(&trace.normed).enumerate() {
            columns(&mut d, &scratch.qkv, stride, part * width, width);
            if let Some(record) = record.as_deref_mut() {
                let weight = &mut record.query_key[part * width..][..width];
                layer_norm_backward_affine(weight, &mut none, &d, &kept.hat);
            }
            norm.backward(&mut d, &kept.hat, &kept.rstd);
            put_columns(&mut scratch.qkv, &d, stride, part * width, width);
        }
    }
}
