//! Below and above the blocks: embeddings, and the task heads with their losses and gradients.

use bertology_kernels::matrix::{linear, linear_backward_input};
use bertology_kernels::norm::{layer_norm, layer_norm_backward};
use bertology_kernels::{Activation, Matrix, Real};

use crate::block::kernel_of;
use crate::model::{Linear, LmHead};
use crate::objective::{Parts, cross_entropy};
use crate::pass::SequenceOutput;
use crate::taps::{Event, ModelSite, Pass, Tap, Taps};
use crate::workspace::{Scratch, sized};
use crate::{Error, Model, PackedBatch};

/// `hidden [tokens, hidden]` ← norm(word + segment + position).
pub(crate) fn embed<R: Real>(
    model: &Model<R>,
    batch: &PackedBatch,
    hidden: &mut Vec<R>,
    scratch: &mut Scratch<R>,
    taps: &mut Taps<'_, '_, R>,
) -> Result<(), Error> {
    let shell = &model.shell;
    let width = model.architecture().hidden_size;
    let sum = sized(&mut scratch.hidden, batch.tokens() * width);
    let row = |table: &[R], id: u32| -> std::ops::Range<usize> {
        let first = id as usize * width;
        debug_assert!(first + width <= table.len());
        first..first + width
    };
    for (token, out) in sum.chunks_exact_mut(width).enumerate() {
        out.copy_from_slice(&shell.words[row(&shell.words, batch.ids[token])]);
        if !shell.segments.is_empty() {
            let segment = row(&shell.segments, batch.segments[token]);
            for (o, v) in out.iter_mut().zip(&shell.segments[segment]) {
                *o += *v;
            }
        }
        if let Some(positions) = &shell.positions {
            let position = row(positions, batch.positions[token]);
            for (o, v) in out.iter_mut().zip(&positions[position]) {
                *o += *v;
            }
        }
    }
    let hidden = sized(hidden, batch.tokens() * width);
    let mut rstd = vec![R::ZERO; batch.tokens()];
    let epsilon = model.architecture().norm_epsilon;
    layer_norm(
        hidden,
        sum,
        &mut rstd,
        &shell.norm.weight,
        &shell.norm.bias,
        epsilon,
    );
    taps.emit_rows(
        Pass::Forward,
        Tap::Model(ModelSite::Embeddings),
        batch,
        hidden,
        width,
    )
}

/// Everything above the last block for one sequence: logits, loss and, where `gradient` is given,
/// the gradient of the loss with respect to the last hidden state.
pub(crate) struct HeadPass<'a, R> {
    pub(crate) model: &'a Model<R>,
    pub(crate) sequence: usize,
    pub(crate) threads: usize,
    /// Keep the logits of every position in the output.
    pub(crate) keep_token_logits: bool,
}

impl<R: Real> HeadPass<'_, R> {
    fn emit(
        &self,
        taps: &mut Taps<'_, '_, R>,
        pass: Pass,
        site: ModelSite,
        data: &[R],
        cols: usize,
    ) -> Result<(), Error> {
        if !taps.wants(pass, site) {
            return Ok(());
        }
        let value = Matrix::new(data, data.len() / cols, cols);
        let tap = Tap::Model(site);
        taps.emit(Event {
            pass,
            tap,
            sequence: self.sequence,
            head: None,
            value,
        })
    }

    /// `hidden` and `gradient` are `[n, hidden]`; `gradient` arrives as zeros.
    pub(crate) fn run(
        &self,
        hidden: &[R],
        target: Option<&Parts<'_>>,
        mut gradient: Option<&mut [R]>,
        taps: &mut Taps<'_, '_, R>,
    ) -> Result<SequenceOutput<R>, Error> {
        let mut output = SequenceOutput::default();
        let mut loss = 0.0;
        self.sequence_head(
            hidden,
            target,
            gradient.as_deref_mut(),
            taps,
            &mut output,
            &mut loss,
        )?;
        if let Some(lm) = &self.model.shell.lm {
            let tokens = target.and_then(|t| t.tokens);
            self.token_head(lm, hidden, tokens, gradient, taps, &mut output, &mut loss)?;
        }
        if target.is_some() {
            output.loss = Some(loss);
            self.emit(
                taps,
                Pass::Forward,
                ModelSite::Loss,
                &[R::from_f64(loss)],
                1,
            )?;
        }
        Ok(output)
    }

    /// Pooler and sequence-level logits.
    fn sequence_head(
        &self,
        hidden: &[R],
        target: Option<&Parts<'_>>,
        gradient: Option<&mut [R]>,
        taps: &mut Taps<'_, '_, R>,
        output: &mut SequenceOutput<R>,
        loss: &mut f64,
    ) -> Result<(), Error> {
        let shell = &self.model.shell;
        let Some(pooler) = &shell.pooler else {
            return Ok(());
        };
        let width = self.model.architecture().hidden_size;
        let pooled = self.pool(pooler, &hidden[..width]);
        self.emit(taps, Pass::Forward, ModelSite::Pooled, &pooled, width)?;
        let Some(classifier) = &shell.classifier else {
            return Ok(());
        };

        let labels = classifier.outputs();
        let mut logits = vec![R::ZERO; labels];
        let input = Matrix::new(&pooled, 1, width);
        linear(&mut logits, input, classifier.matrix(), &classifier.bias, 1);
        self.emit(taps, Pass::Forward, ModelSite::Logits, &logits, labels)?;
        if let Some(target) = target.and_then(|t| t.sequence) {
            let mut d_logits = vec![R::ZERO; labels];
            *loss += target.loss(&logits, &mut d_logits);
            if let Some(gradient) = gradient {
                self.emit(taps, Pass::Backward, ModelSite::Logits, &d_logits, labels)?;
                let mut d_pooled = vec![R::ZERO; width];
                let upper = Matrix::new(&d_logits, 1, labels);
                linear_backward_input(&mut d_pooled, upper, classifier.matrix(), 1);
                self.emit(taps, Pass::Backward, ModelSite::Pooled, &d_pooled, width)?;
                for (d, p) in d_pooled.iter_mut().zip(&pooled) {
                    *d *= R::ONE - *p * *p;
                }
                let upper = Matrix::new(&d_pooled, 1, width);
                linear_backward_input(&mut gradient[..width], upper, pooler.matrix(), 1);
            }
        }
        output.logits = logits;
        Ok(())
    }

    /// `tanh(W h₀ + b)`.
    fn pool(&self, pooler: &Linear<R>, first: &[R]) -> Vec<R> {
        let mut pre = vec![R::ZERO; first.len()];
        linear(
            &mut pre,
            Matrix::new(first, 1, first.len()),
            pooler.matrix(),
            &pooler.bias,
            1,
        );
        let mut pooled = vec![R::ZERO; first.len()];
        Activation::Tanh.forward(&mut pooled, &pre);
        pooled
    }

    /// Masked-LM logits, of all positions where someone reads them, else of those with a target.
    #[allow(clippy::too_many_arguments, reason = "one call site, all of one pass")]
    fn token_head(
        &self,
        lm: &LmHead<R>,
        hidden: &[R],
        targets: Option<&[Option<u32>]>,
        gradient: Option<&mut [R]>,
        taps: &mut Taps<'_, '_, R>,
        output: &mut SequenceOutput<R>,
        loss: &mut f64,
    ) -> Result<(), Error> {
        let arch = self.model.architecture();
        let (width, vocab) = (arch.hidden_size, arch.vocab_size);
        let n = hidden.len() / width;
        let all = self.keep_token_logits
            || taps.wants(Pass::Forward, ModelSite::TokenLogits)
            || taps.wants(Pass::Backward, ModelSite::TokenLogits);
        let rows: Vec<usize> = (0..n)
            .filter(|i| all || targets.is_some_and(|targets| targets[*i].is_some()))
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        let input: Vec<R> = rows
            .iter()
            .flat_map(|i| &hidden[i * width..(i + 1) * width])
            .copied()
            .collect();
        let mut pre = vec![R::ZERO; input.len()];
        let matrix = Matrix::new(&input, rows.len(), width);
        linear(
            &mut pre,
            matrix,
            lm.transform.matrix(),
            &lm.transform.bias,
            self.threads,
        );
        let function = kernel_of(arch.lm_activation);
        let mut hat = vec![R::ZERO; pre.len()];
        function.forward(&mut hat, &pre);
        let mut normed = vec![R::ZERO; pre.len()];
        let mut rstd = vec![R::ZERO; rows.len()];
        let norm = &lm.norm;
        layer_norm(
            &mut normed,
            &mut hat,
            &mut rstd,
            &norm.weight,
            &norm.bias,
            arch.norm_epsilon,
        );
        let decoder = Matrix::new(
            lm.decoder.as_ref().unwrap_or(&self.model.shell.words),
            vocab,
            width,
        );
        let mut logits = vec![R::ZERO; rows.len() * vocab];
        let matrix = Matrix::new(&normed, rows.len(), width);
        linear(&mut logits, matrix, decoder, &lm.bias, self.threads);
        if all {
            self.emit(taps, Pass::Forward, ModelSite::TokenLogits, &logits, vocab)?;
        }
        if let Some(targets) = targets {
            let count = targets.iter().flatten().count();
            let mut d_logits = vec![R::ZERO; logits.len()];
            for (slot, i) in rows.iter().enumerate() {
                let Some(label) = targets[*i] else { continue };
                *loss += cross_entropy(
                    &logits[slot * vocab..(slot + 1) * vocab],
                    label as usize,
                    1.0 / count as f64,
                    &mut d_logits[slot * vocab..(slot + 1) * vocab],
                );
            }
            if let Some(gradient) = gradient {
                if all {
                    self.emit(
                        taps,
                        Pass::Backward,
                        ModelSite::TokenLogits,
                        &d_logits,
                        vocab,
                    )?;
                }
                let mut d = vec![R::ZERO; normed.len()];
                let upper = Matrix::new(&d_logits, rows.len(), vocab);
                linear_backward_input(&mut d, upper, decoder, self.threads);
                layer_norm_backward(&mut d, &hat, &rstd, &norm.weight);
                function.backward(&mut d, &pre);
                let mut d_hidden = vec![R::ZERO; d.len()];
                let upper = Matrix::new(&d, rows.len(), width);
                linear_backward_input(&mut d_hidden, upper, lm.transform.matrix(), self.threads);
                for (slot, i) in rows.iter().enumerate() {
                    let source = &d_hidden[slot * width..(slot + 1) * width];
                    for (g, d) in gradient[i * width..(i + 1) * width].iter_mut().zip(source) {
                        *g += *d;
                    }
                }
            }
        }
        if self.keep_token_logits {
            output.token_logits = Some(logits);
        }
        Ok(())
    }
}
