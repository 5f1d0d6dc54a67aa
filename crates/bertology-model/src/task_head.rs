//! Above the blocks: the heads of a task, on a sequence and on its tokens, with their losses and gradients.

use std::collections::BTreeSet;

use bertology_checkpoint as checkpoint;
use bertology_checkpoint::{Affine, Parameter, Pooling};
use bertology_kernels::elementwise::add_assign;
use bertology_kernels::product::{linear, linear_backward_input};
use bertology_kernels::{Activation, Matrix, Real};

use crate::block::{Training, kernel_of};
use crate::dropout::DropSite;
use crate::gradients::Gradients;
use crate::intervention::Place;
use crate::linear::Linear;
use crate::model::TokenScores;
use crate::objective::{Parts, ScoreTarget};
use crate::pass::SequenceOutput;
use crate::rows::Rows;
use crate::taps::{Event, ModelSite, Pass, Tap, Taps};
use crate::{Error, Model, PackedBatch};

/// Everything above the last block for one sequence: logits, loss and, where `gradient` is given,
/// the gradient of the loss with respect to the last hidden state.
pub(crate) struct TaskHead<'a, R> {
    pub(crate) model: &'a Model<R>,
    pub(crate) batch: &'a PackedBatch,
    /// The positions whose last hidden state there is.
    pub(crate) rows: &'a Rows,
    pub(crate) sequence: usize,
    pub(crate) threads: usize,
    /// Keep the logits of every position in the output.
    pub(crate) keep_token_logits: bool,
    /// Keep the logits of the positions that have a target in the output.
    pub(crate) keep_target_logits: bool,
    /// The loss of a language model's tokens, where it has been found already, with its gradient.
    pub(crate) words: Option<f64>,
    /// What training does besides, and what it multiplies this sequence's loss by.
    pub(crate) training: Option<(Training, f64)>,
}

impl<R: Real> TaskHead<'_, R> {
    pub(crate) fn emit(
        &self,
        taps: &mut Taps<'_, '_, '_, R>,
        pass: Pass,
        site: ModelSite,
        data: &[R],
        cols: usize,
    ) -> Result<(), Error> {
        let value = Matrix::new(data, data.len() / cols, cols);
        let tap = Tap::Model(site);
        if !taps.wants(pass, site) {
            let place = Place {
                tap,
                sequence: self.sequence,
                head: None,
            };
            return taps.check_finite(pass, place, value);
        }
        taps.emit(Event {
            pass,
            tap,
            sequence: self.sequence,
            head: None,
            value,
        })
    }

    /// `hidden` and `gradient` are `[rows, hidden]` of this sequence; `gradient` arrives as zeros. To `weights` are added
    /// the gradients of the head's weights, but for those of a language model, which are found for many sequences at once.
    pub(crate) fn run(
        &self,
        hidden: &[R],
        target: Option<&Parts<'_>>,
        mut gradient: Option<&mut [R]>,
        mut weights: Option<&mut Gradients<R>>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<SequenceOutput<R>, Error> {
        let mut output = SequenceOutput::default();
        let mut loss = 0.0;
        self.sequence_head(
            hidden,
            target,
            gradient.as_deref_mut(),
            weights.as_deref_mut(),
            taps,
            &mut output,
            &mut loss,
        )?;
        if let Some(words) = self.words {
            loss += words;
        } else if let Some(lm) = &self.model.shell.lm
            && weights.is_none()
        {
            let tokens = target.and_then(|t| t.tokens);
            self.token_head(lm, hidden, tokens, gradient, taps, &mut output, &mut loss)?;
        } else if let Some(scores) = &self.model.shell.scores {
            let target = target.and_then(|t| t.scores);
            self.token_scores(
                scores,
                hidden,
                target,
                gradient,
                weights,
                taps,
                &mut output,
                &mut loss,
            )?;
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

    /// Drops from rows that belong to these positions of the sequence, or from their gradient.
    fn drop(
        &self,
        site: DropSite,
        positions: impl Iterator<Item = usize>,
        data: &mut [R],
        width: usize,
    ) {
        if let Some((Training { drops: Some(drops) }, _)) = &self.training {
            drops.positions(site, 0, self.sequence, positions, data, width);
        }
    }

    /// Multiplies the gradient of the logits by the weight of this sequence's loss.
    fn weigh(&self, d_logits: &mut [R]) {
        if let Some((_, weight)) = self.training {
            let weight = R::from_f64(weight);
            d_logits.iter_mut().for_each(|d| *d *= weight);
        }
    }

    /// Pooler and sequence-level logits.
    #[allow(clippy::too_many_arguments, reason = "one call site, all of one pass")]
    fn sequence_head(
        &self,
        hidden: &[R],
        target: Option<&Parts<'_>>,
        gradient: Option<&mut [R]>,
        mut weights: Option<&mut Gradients<R>>,
        taps: &mut Taps<'_, '_, '_, R>,
        output: &mut SequenceOutput<R>,
        loss: &mut f64,
    ) -> Result<(), Error> {
        let shell = &self.model.shell;
        let width = self.model.architecture().hidden_size;
        if shell.pooler.is_none() && shell.classifier.is_none() {
            return Ok(());
        }
        let arch = self.model.architecture();
        let position = self.pooled_position();
        let drop = |site, data: &mut [R]| self.drop(site, std::iter::once(position), data, width);
        // Means are of all rows; else the row of one position is read.
        let mean = arch.pooling == Pooling::Mean;
        let places = if mean || arch.pooling == Pooling::MeanOfPooled {
            0..hidden.len()
        } else {
            let place = self.row(position) * width;
            place..place + width
        };
        let mut read = hidden[places.clone()].to_vec();
        if mean {
            read = mean_of(&read, width);
        }
        let count = read.len() / width;
        let input_dropped = |data: &mut [R]| {
            let first = if count == 1 { position } else { 0 };
            self.drop(DropSite::HeadInput, first..first + count, data, width);
        };
        input_dropped(&mut read);
        let read = read.as_slice();
        let mut pooled = match &shell.pooler {
            Some(pooler) => self.pool(pooler, read),
            None => read.to_vec(),
        };
        let normed = shell.pooler_norm.as_ref().map(|norm| {
            let (mut hat, mut rstd) = (pooled.clone(), vec![R::ZERO; count]);
            norm.forward(&mut pooled, &mut hat, &mut rstd, arch.norm_epsilon);
            (norm, hat, rstd)
        });
        if count > 1 {
            pooled = mean_of(&pooled, width);
        }
        drop(DropSite::Classifier, &mut pooled);
        self.emit(taps, Pass::Forward, ModelSite::Pooled, &pooled, width)?;
        let Some(classifier) = &shell.classifier else {
            return Ok(());
        };

        let labels = classifier.outputs;
        let mut logits = vec![R::ZERO; labels];
        let input = Matrix::new(&pooled, 1, width);
        linear(&mut logits, input, classifier.matrix(), &classifier.bias, 1);
        self.emit(taps, Pass::Forward, ModelSite::Logits, &logits, labels)?;
        if let Some(target) = target.and_then(|t| t.sequence) {
            let mut d_logits = vec![R::ZERO; labels];
            *loss += target.loss(&logits, &mut d_logits);
            self.weigh(&mut d_logits);
            if let Some(weights) = weights.as_deref_mut() {
                let upper = Matrix::new(&d_logits, 1, labels);
                weights.add_linear(self.classifier_name(), upper, input);
            }
            if let Some(gradient) = gradient {
                self.emit(taps, Pass::Backward, ModelSite::Logits, &d_logits, labels)?;
                let mut d_pooled = vec![R::ZERO; width];
                let upper = Matrix::new(&d_logits, 1, labels);
                linear_backward_input(&mut d_pooled, upper, classifier.matrix(), 1);
                drop(DropSite::Classifier, &mut d_pooled);
                self.emit(taps, Pass::Backward, ModelSite::Pooled, &d_pooled, width)?;
                if count > 1 {
                    d_pooled = spread_mean(&d_pooled, count);
                }
                if let Some((norm, hat, rstd)) = &normed {
                    if let Some(weights) = weights.as_deref_mut() {
                        weights.add_norm(Parameter::PoolerNorm, &d_pooled, hat);
                    }
                    norm.backward(&mut d_pooled, hat, rstd);
                }
                if let Some(pooler) = &shell.pooler {
                    let dense = self.dense(pooler, read);
                    self.pooler_activation().backward(&mut d_pooled, &dense);
                    let upper = Matrix::new(&d_pooled, count, width);
                    if let Some(weights) = weights {
                        let input = Matrix::new(read, count, width);
                        weights.add_linear(Parameter::Pooler, upper, input);
                    }
                    let mut below = vec![R::ZERO; d_pooled.len()];
                    linear_backward_input(&mut below, upper, pooler.matrix(), 1);
                    d_pooled = below;
                }
                input_dropped(&mut d_pooled);
                if mean {
                    d_pooled = spread_mean(&d_pooled, places.len() / width);
                }
                gradient[places].copy_from_slice(&d_pooled);
            }
        }
        output.logits = logits;
        Ok(())
    }

    /// What the map of the sequence's logits is called.
    fn classifier_name(&self) -> fn(Affine) -> Parameter {
        match self.model.architecture().head {
            checkpoint::TaskHead::NextSentence | checkpoint::TaskHead::PreTraining => {
                Parameter::NextSentence
            }
            _ => Parameter::Classifier,
        }
    }

    /// The logits of every token; `hidden` holds every position.
    #[allow(clippy::too_many_arguments, reason = "one call site, all of one pass")]
    fn token_scores(
        &self,
        scores: &TokenScores<R>,
        hidden: &[R],
        target: Option<ScoreTarget<'_>>,
        gradient: Option<&mut [R]>,
        mut weights: Option<&mut Gradients<R>>,
        taps: &mut Taps<'_, '_, '_, R>,
        output: &mut SequenceOutput<R>,
        loss: &mut f64,
    ) -> Result<(), Error> {
        let arch = self.model.architecture();
        let transform = arch.token_transform.map(|transform| transform.activation);
        let activation = kernel_of(transform.unwrap_or(arch.activation));
        let (width, outputs) = (arch.hidden_size, scores.output.outputs);
        let rows = hidden.len() / width;
        let mut dropped = Vec::new();
        let hidden = if self.training.is_some() {
            dropped.extend_from_slice(hidden);
            self.drop(DropSite::HeadInput, 0..rows, &mut dropped, width);
            &dropped
        } else {
            hidden
        };
        let dense = scores.dense.as_ref().map(|(dense, after)| {
            let mut pre = vec![R::ZERO; hidden.len()];
            let input = Matrix::new(hidden, rows, width);
            linear(&mut pre, input, dense.matrix(), &dense.bias, self.threads);
            let mut read = vec![R::ZERO; pre.len()];
            activation.forward(&mut read, &pre);
            let normed = after.as_ref().map(|norm| {
                let (mut hat, mut rstd) = (read.clone(), vec![R::ZERO; rows]);
                norm.forward(&mut read, &mut hat, &mut rstd, arch.norm_epsilon);
                (norm, hat, rstd)
            });
            self.drop(DropSite::Classifier, 0..rows, &mut read, width);
            (dense, pre, normed, read)
        });
        let read = dense.as_ref().map_or(hidden, |(_, _, _, read)| read);
        let mut logits = vec![R::ZERO; rows * outputs];
        let input = Matrix::new(read, rows, width);
        let map = &scores.output;
        linear(&mut logits, input, map.matrix(), &map.bias, self.threads);
        let site = ModelSite::TokenLogits;
        self.emit(taps, Pass::Forward, site, &logits, outputs)?;
        if let Some(target) = target {
            let mut d_logits = vec![R::ZERO; logits.len()];
            *loss += target.loss(&logits, outputs, &mut d_logits);
            self.weigh(&mut d_logits);
            if let Some(weights) = weights.as_deref_mut() {
                let upper = Matrix::new(&d_logits, rows, outputs);
                weights.add_linear(Parameter::TokenScores, upper, input);
            }
            if let Some(gradient) = gradient {
                self.emit(taps, Pass::Backward, site, &d_logits, outputs)?;
                let upper = Matrix::new(&d_logits, rows, outputs);
                linear_backward_input(gradient, upper, map.matrix(), self.threads);
                if let Some((dense, pre, normed, _)) = &dense {
                    let mut d = gradient.to_vec();
                    self.drop(DropSite::Classifier, 0..rows, &mut d, width);
                    if let Some((norm, hat, rstd)) = normed {
                        if let Some(weights) = weights.as_deref_mut() {
                            weights.add_norm(Parameter::TokenNorm, &d, hat);
                        }
                        norm.backward(&mut d, hat, rstd);
                    }
                    activation.backward(&mut d, pre);
                    let upper = Matrix::new(&d, rows, width);
                    if let Some(weights) = weights {
                        let input = Matrix::new(hidden, rows, width);
                        weights.add_linear(Parameter::TokenTransform, upper, input);
                    }
                    linear_backward_input(gradient, upper, dense.matrix(), self.threads);
                }
                self.drop(DropSite::HeadInput, 0..rows, gradient, width);
            }
        }
        if self.keep_token_logits {
            output.token_logits = Some(logits);
        }
        Ok(())
    }

    /// `W h + b` of the pooler, for every row.
    fn dense(&self, pooler: &Linear<R>, read: &[R]) -> Vec<R> {
        let mut dense = vec![R::ZERO; read.len()];
        let input = Matrix::new(read, read.len() / pooler.inputs, pooler.inputs);
        linear(&mut dense, input, pooler.matrix(), &pooler.bias, 1);
        dense
    }

    /// `f(W h + b)`.
    fn pool(&self, pooler: &Linear<R>, read: &[R]) -> Vec<R> {
        let dense = self.dense(pooler, read);
        let mut pooled = vec![R::ZERO; read.len()];
        self.pooler_activation().forward(&mut pooled, &dense);
        pooled
    }

    fn pooler_activation(&self) -> Activation {
        kernel_of(self.model.architecture().pooler_activation)
    }

    /// The row of this sequence that holds a position.
    ///
    /// # Panics
    /// If [`Self::positions`] does not name it.
    pub(crate) fn row(&self, position: usize) -> usize {
        self.rows
            .row(self.batch, self.sequence, position)
            .expect("a position that the head reads is carried on")
    }

    /// The position that the classifier reads.
    fn pooled_position(&self) -> usize {
        pooled_position(self.model, self.batch.ids(self.sequence))
    }
}

/// The mean of rows `[rows, width]`.
fn mean_of<R: Real>(rows: &[R], width: usize) -> Vec<R> {
    let (first, others) = rows.split_at(width);
    let mut mean = first.to_vec();
    for row in others.chunks_exact(width) {
        add_assign(&mut mean, row);
    }
    let share = R::from_f64(width as f64 / rows.len() as f64);
    mean.iter_mut().for_each(|value| *value *= share);
    mean
}

/// From the gradient of a mean to that of its `count` rows.
fn spread_mean<R: Real>(gradient: &[R], count: usize) -> Vec<R> {
    let share = R::from_f64(1.0 / count as f64);
    let row: Vec<R> = gradient.iter().map(|value| *value * share).collect();
    row.repeat(count)
}

fn pooled_position<R: Real>(model: &Model<R>, ids: &[u32]) -> usize {
    let arch = model.architecture();
    match (arch.pooling, arch.pad_id) {
        (Pooling::First | Pooling::Mean | Pooling::MeanOfPooled, _) => 0,
        (Pooling::Last, Some(pad)) => ids.iter().rposition(|id| *id != pad).unwrap_or(0),
        (Pooling::Last, None) => ids.len() - 1,
    }
}

/// The positions of one sequence that the heads read, ascending; `None` if they are all.
pub(crate) fn positions_read<R: Real>(
    model: &Model<R>,
    ids: &[u32],
    target: Option<&Parts<'_>>,
    all_logits: bool,
) -> Option<BTreeSet<usize>> {
    let shell = &model.shell;
    if shell.scores.is_some() {
        return None;
    }
    let mut positions = BTreeSet::new();
    if shell.pooler.is_some() || shell.classifier.is_some() {
        let pooling = model.architecture().pooling;
        if matches!(pooling, Pooling::Mean | Pooling::MeanOfPooled) {
            return None;
        }
        positions.insert(pooled_position(model, ids));
    }
    if shell.lm.is_some() {
        if all_logits {
            return None;
        }
        let targets = target.and_then(|t| t.tokens).unwrap_or_default();
        positions.extend((0..ids.len()).filter(|i| targets.get(*i).is_some_and(Option::is_some)));
    }
    Some(positions)
}
