//! Logits over the vocabulary, their loss and its gradient, a few positions at a time.

use bertology_checkpoint::Parameter;
use bertology_kernels::elementwise::add_assign;
use bertology_kernels::{Matrix, MatrixMut, Real};

use crate::block::kernel_of;
use crate::gradients::Gradients;
use crate::linear::Factor;
use crate::model::LmHead;
use crate::objective::cross_entropy;
use crate::pass::SequenceOutput;
use crate::taps::{ModelSite, Pass, Taps};
use crate::task_head::TaskHead;
use crate::{Error, Model};

/// Positions whose logits are held at once where nobody reads them: 64 rows of GPT-2's vocabulary are
/// 12 MiB, and products of that height are as fast as taller ones.
const ROWS: usize = 64;

/// What one chunk's backward pass needs from its forward pass.
pub(crate) struct Chunk<R> {
    /// Input of the decoder, `[rows, embedding size]`.
    pub(crate) normed: Vec<R>,
    /// Masked LMs: input of the activation, normalised input of the norm, `1 / √(var + ε)`.
    transform: Option<(Vec<R>, Vec<R>, Vec<R>)>,
    pub(crate) logits: Vec<R>,
}

/// The way from hidden states to logits over the vocabulary, and back.
pub(crate) struct LmPass<'a, R> {
    pub(crate) model: &'a Model<R>,
    pub(crate) lm: &'a LmHead<R>,
    pub(crate) threads: usize,
}

impl<R: Real> TaskHead<'_, R> {
    /// Logits of all positions where someone reads them, else of those with a target. Adds to `loss`
    /// and, where it is given, to `gradient [n, hidden]`.
    #[allow(clippy::too_many_arguments, reason = "one call site, all of one pass")]
    pub(crate) fn token_head(
        &self,
        lm: &LmHead<R>,
        hidden: &[R],
        targets: Option<&[Option<u32>]>,
        mut gradient: Option<&mut [R]>,
        taps: &mut Taps<'_, '_, '_, R>,
        output: &mut SequenceOutput<R>,
        loss: &mut f64,
    ) -> Result<(), Error> {
        let arch = self.model.architecture();
        let (width, vocab) = (arch.hidden_size, arch.vocab_size);
        let n = self.batch.range(self.sequence).len();
        let all = self.keep_token_logits
            || taps.wants(Pass::Forward, ModelSite::TokenLogits)
            || taps.wants(Pass::Backward, ModelSite::TokenLogits);
        let rows: Vec<usize> = (0..n)
            .filter(|i| all || targets.is_some_and(|targets| targets[*i].is_some()))
            .collect();
        let count = targets.map_or(0, |targets| targets.iter().flatten().count());
        for rows in rows.chunks(if all { n.max(1) } else { ROWS }) {
            // Where each position's state lies in `hidden`.
            let places: Vec<usize> = rows.iter().map(|i| self.row(*i) * width).collect();
            let states = places
                .iter()
                .flat_map(|place| &hidden[*place..place + width]);
            let pass = LmPass {
                model: self.model,
                lm,
                threads: self.threads,
            };
            let chunk = pass.forward(states.copied().collect());
            let site = ModelSite::TokenLogits;
            self.emit(taps, Pass::Forward, site, &chunk.logits, vocab)?;
            if let Some(targets) = targets {
                if self.keep_target_logits {
                    let kept = output.target_logits.get_or_insert_default();
                    for (logits, i) in chunk.logits.chunks_exact(vocab).zip(rows) {
                        if targets[*i].is_some() {
                            kept.extend_from_slice(logits);
                        }
                    }
                }
                // Without a backward pass nobody reads the gradient.
                let size = if gradient.is_some() {
                    chunk.logits.len()
                } else {
                    0
                };
                let mut d_logits = vec![R::ZERO; size];
                let mut below = d_logits.chunks_exact_mut(vocab);
                for (logits, i) in chunk.logits.chunks_exact(vocab).zip(rows) {
                    let d = below.next();
                    let Some(label) = targets[*i] else { continue };
                    *loss += cross_entropy(logits, label as usize, 1.0 / count as f64, d);
                }
                if let Some(gradient) = gradient.as_deref_mut() {
                    self.emit(taps, Pass::Backward, site, &d_logits, vocab)?;
                    let d_hidden = pass.backward(&chunk, &d_logits, None);
                    for (d, place) in d_hidden.chunks_exact(width).zip(&places) {
                        add_assign(&mut gradient[*place..place + width], d);
                    }
                }
            }
            if self.keep_token_logits {
                output.token_logits = Some(chunk.logits);
            }
        }
        Ok(())
    }
}

impl<R: Real> LmPass<'_, R> {
    /// `[vocab, embedding size]`
    fn decoder(&self) -> Factor<'_, R> {
        let arch = self.model.architecture();
        let weight = self.lm.decoder.as_ref().unwrap_or(&self.model.shell.words);
        Factor {
            weight: Matrix::new(weight, arch.vocab_size, arch.embedding_size),
            parts: self.lm.parts.as_ref(),
        }
    }

    /// The logits of hidden states `[rows, hidden]`.
    pub(crate) fn forward(&self, states: Vec<R>) -> Chunk<R> {
        let (lm, arch) = (self.lm, self.model.architecture());
        let width = arch.hidden_size;
        let rows = states.len() / width;
        let mut normed = states;
        let transform = lm.transform.as_ref().map(|(dense, norm)| {
            let mut pre = vec![R::ZERO; rows * dense.outputs];
            let input = Matrix::new(&normed, rows, width);
            dense.forward(&mut pre, input, self.threads);
            normed = vec![R::ZERO; pre.len()];
            let mut hat = vec![R::ZERO; pre.len()];
            kernel_of(arch.lm_activation).forward(&mut hat, &pre);
            let mut rstd = vec![R::ZERO; rows];
            norm.forward(&mut normed, &mut hat, &mut rstd, arch.norm_epsilon);
            (pre, hat, rstd)
        });
        let mut logits = vec![R::ZERO; rows * arch.vocab_size];
        let input = Matrix::new(&normed, rows, arch.embedding_size);
        let y = MatrixMut::new(&mut logits, rows, arch.vocab_size);
        let (all, bias) = (0..arch.vocab_size, &lm.bias);
        self.decoder().forward(y, input, all, bias, self.threads);
        Chunk {
            normed,
            transform,
            logits,
        }
    }

    /// The gradient of the chunk's hidden states, `[rows, hidden]`. With the states themselves, the gradients of the dense
    /// layer and of the norm are added to those of the weights.
    pub(crate) fn backward(
        &self,
        chunk: &Chunk<R>,
        d_logits: &[R],
        weights: Option<(&[R], &mut Gradients<R>)>,
    ) -> Vec<R> {
        let (lm, arch) = (self.lm, self.model.architecture());
        let (width, rows) = (arch.hidden_size, d_logits.len() / arch.vocab_size);
        let mut d = vec![R::ZERO; chunk.normed.len()];
        let upper = Matrix::new(d_logits, rows, arch.vocab_size);
        let all = 0..arch.vocab_size;
        self.decoder().backward(&mut d, upper, all, self.threads);
        let (Some((dense, norm)), Some((pre, hat, rstd))) = (&lm.transform, &chunk.transform)
        else {
            return d;
        };
        let mut weights = weights;
        if let Some((_, weights)) = &mut weights {
            weights.add_norm(Parameter::LmNorm, &d, hat);
        }
        norm.backward(&mut d, hat, rstd);
        kernel_of(arch.lm_activation).backward(&mut d, pre);
        let mut d_hidden = vec![R::ZERO; rows * width];
        let upper = Matrix::new(&d, rows, dense.outputs);
        if let Some((states, weights)) = weights {
            weights.add_linear(
                Parameter::LmTransform,
                upper,
                Matrix::new(states, rows, width),
            );
        }
        dense.backward(&mut d_hidden, upper, self.threads);
        d_hidden
    }
}
