//! The gradient of the loss of a batch with respect to every weight.
//!
//! A batch is cut into groups of sequences that threads take by turns, up through the blocks and back down one block at a
//! time. What a block's weights are told is then summed over all groups, each thread some rows of each matrix. The cut and
//! the order of every sum are those of the batch, so the number of threads changes no bit.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use bertology_checkpoint::{Affine, Parameter, PositionIds, Segments};
use bertology_kernels::elementwise::add_assign;
use bertology_kernels::norm::layer_norm_backward_affine;
use bertology_kernels::product::linear_backward_input;
use bertology_kernels::{Matrix, MatrixMut, Product, Real};
use rayon::prelude::*;

use crate::block::{BlockPass, Training};
use crate::dropout::{DropSite, Drops};
use crate::embedding::{drop_masks, embed};
use crate::gradients::Gradients;
use crate::lm_head::LmPass;
use crate::objective::{Parts, cross_entropy};
use crate::record::BlockRecord;
use crate::rows::Rows;
use crate::taps::Taps;
use crate::task_head::TaskHead;
use crate::workspace::{LayerTrace, Scratch, Workspace, sized};
use crate::{Error, Model, PackedBatch, PassOptions, Sequence, SequenceOutput, Target};

mod states;
mod weights;

pub use states::TaughtStates;
use states::{StatesTrace, add_distances};

/// Tokens that a group should have: enough for products to be fast, few enough for many threads to have one.
const GROUP_TOKENS: usize = 256;
/// Groups come in multiples of this, so that two or four threads have equal shares.
const EVEN: usize = 4;
/// Rows of a weight matrix whose gradient is one thread's work.
const WEIGHT_ROWS: usize = 128;
/// Positions whose logits over the vocabulary are held at once.
const LOGIT_ROWS: usize = 128;

/// What a training pass is asked for.
#[derive(Debug, Clone, Copy)]
pub struct TrainingOptions<'a> {
    /// One target a sequence.
    pub targets: &'a [Target],
    /// What each sequence's loss is multiplied by in the sum whose gradient is taken; `1 / batch size` for the mean.
    pub weights: &'a [f64],
    /// Drop values with the probabilities of [`Architecture::dropout`](bertology_checkpoint::Architecture::dropout): a
    /// seed, and the number of the step. The same pair drops the same values.
    pub dropout: Option<(u64, u64)>,
    /// Another model's hidden states, to come close to.
    pub states: Option<TaughtStates<'a>>,
    /// Raised from elsewhere, it ends the pass before the next layer with [`Error::Stopped`].
    pub stop: Option<&'a AtomicBool>,
}

/// Threads and buffers of training passes, reused from step to step.
///
/// # Cost
/// Per token and layer of a batch `3W + W + 3 · hidden + intermediate` numbers (`W` the width of its heads), per token besides
/// `3W + 6 · hidden + 3 · intermediate`, and as much again for the tokens that threads are at. The gradients are beside it: one number for each weight.
#[derive(Debug)]
pub struct TrainingWorkspace<R> {
    threads: usize,
    pool: Option<rayon::ThreadPool>,
    groups: Vec<Group<R>>,
    /// Of the threads: what is in them outlives no step.
    scratch: Mutex<Vec<Scratch<R>>>,
}

/// Some sequences of a batch.
#[derive(Debug)]
struct Group<R> {
    batch: PackedBatch,
    /// Number of the first sequence in the whole batch.
    first: usize,
    rows: Rows,
    work: Workspace<R>,
    record: BlockRecord<R>,
    /// `[rows, hidden]`, on the way down `[tokens, hidden]`
    gradient: Vec<R>,
    /// Gradient of the embeddings' sum, `[tokens, embedding size]`, where it is not `gradient`.
    narrow: Vec<R>,
    /// Weight and bias of the embeddings' norm: gradients.
    norm: Vec<R>,
    states: StatesTrace<R>,
}

impl<R: Real> TrainingWorkspace<R> {
    /// For so many threads; 0 counts as 1.
    ///
    /// # Errors
    /// [`Error::Threads`]: the system gives no threads.
    pub fn new(threads: usize) -> Result<Self, Error> {
        let threads = threads.max(1);
        let pool = (threads > 1)
            .then(|| rayon::ThreadPoolBuilder::new().num_threads(threads).build())
            .transpose()
            .map_err(|source| Error::Threads {
                threads,
                reason: source.to_string(),
            })?;
        Ok(Self {
            threads,
            pool,
            groups: Vec::new(),
            scratch: Mutex::default(),
        })
    }

    /// `work` on each of these, by all threads.
    pub fn for_each<T: Send>(&self, tasks: Vec<T>, work: impl Fn(T) + Send + Sync) {
        spread(self.pool.as_ref(), tasks, work);
    }

    /// `work` on every group, which has a thread's scratch meanwhile; the first error in their order.
    fn each(
        pool: Option<&rayon::ThreadPool>,
        scratch: &Mutex<Vec<Scratch<R>>>,
        groups: &mut [Group<R>],
        work: impl Fn(&mut Group<R>) -> Result<(), Error> + Send + Sync,
    ) -> Result<(), Error> {
        let all = || scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let work = |group: &mut Group<R>| {
            let own = all().pop();
            group.work.scratch = own.unwrap_or_default();
            let done = work(group);
            all().push(std::mem::take(&mut group.work.scratch));
            done
        };
        let Some(pool) = pool else {
            return groups.iter_mut().try_for_each(work);
        };
        let each: Vec<_> = pool.install(|| groups.par_iter_mut().map(work).collect());
        each.into_iter().collect()
    }
}

/// `work` on each of these, by the threads of the pool if there is one.
fn spread<T: Send>(
    pool: Option<&rayon::ThreadPool>,
    tasks: Vec<T>,
    work: impl Fn(T) + Send + Sync,
) {
    match pool {
        Some(pool) => pool.install(|| tasks.into_par_iter().for_each(work)),
        None => tasks.into_iter().for_each(work),
    }
}

/// Cuts sequences of these lengths into groups of about equal numbers of tokens.
fn cut(lengths: &[usize]) -> Vec<Range<usize>> {
    let tokens: usize = lengths.iter().sum();
    let groups = tokens
        .div_ceil(GROUP_TOKENS)
        .next_multiple_of(EVEN)
        .min(lengths.len());
    let mut ranges = Vec::with_capacity(groups);
    let (mut start, mut before) = (0, 0);
    for group in 1..=groups {
        // At least one sequence each, and one left for every group behind.
        let (mut end, limit) = (start, lengths.len() - (groups - group));
        while end < limit && (end == start || before * groups < tokens * group) {
            before += lengths[end];
            end += 1;
        }
        if group == groups {
            end = lengths.len();
        }
        ranges.push(start..end);
        start = end;
    }
    ranges
}

impl<R: crate::Real> Model<R> {
    /// Adds to `gradients` that of `Σ weight · loss` over the sequences with respect to every weight; gives the loss
    /// and the logits of every sequence, with dropout where it is asked for.
    ///
    /// A row of a table that belongs to the padding token has no gradient of its own where transformers' class gives it
    /// none (`padding_idx`).
    ///
    /// # Numerics
    /// The same bits for any number of threads.
    ///
    /// # Errors
    /// Sequences, targets or weights that do not fit the model or one another; [`Error::NotFinite`];
    /// [`Error::DropoutRate`].
    pub fn add_gradients(
        &self,
        sequences: &[Sequence],
        options: &TrainingOptions<'_>,
        workspace: &mut TrainingWorkspace<R>,
        gradients: &mut Gradients<R>,
    ) -> Result<Vec<SequenceOutput<R>>, Error> {
        R::learn(self, sequences, options, workspace, gradients)
    }
}

impl<R: Real> Model<R> {
    /// [`Model::add_gradients`].
    pub(crate) fn learn(
        &self,
        sequences: &[Sequence],
        options: &TrainingOptions<'_>,
        workspace: &mut TrainingWorkspace<R>,
        gradients: &mut Gradients<R>,
    ) -> Result<Vec<SequenceOutput<R>>, Error> {
        // 1. Everything that can be refused is refused before anything is computed.
        let arch = self.architecture();
        let whole = PackedBatch::new(arch, sequences)?;
        let pass = PassOptions {
            targets: Some(options.targets),
            ..PassOptions::default()
        };
        let parts = self.check_targets(&whole, &pass)?.unwrap_or_default();
        if options.weights.len() != sequences.len() {
            return Err(Error::TargetCount {
                targets: options.weights.len(),
                sequences: sequences.len(),
            });
        }
        self.check_states(sequences, options)?;
        let drops = match options.dropout {
            Some((seed, step)) => Some(self.drops(seed, step)?),
            None => None,
        };
        if gradients.values().len() != self.parameters() {
            return Err(Error::GradientCount {
                found: gradients.values().len(),
                parameters: self.parameters(),
            });
        }
        if sequences.is_empty() {
            return Ok(Vec::new());
        }
        // 2. Up, every group by itself.
        let lengths: Vec<usize> = sequences.iter().map(Sequence::len).collect();
        let ranges = cut(&lengths);
        let (pool, threads) = (workspace.pool.as_ref(), workspace.threads);
        let scratch = &workspace.scratch;
        for (at, range) in ranges.iter().enumerate() {
            let batch = PackedBatch::new(arch, &sequences[range.clone()])?;
            let taps = Taps::new(&mut [], &mut [])?;
            let rows = match options.states {
                // Every token of the last layer is looked at.
                Some(_) => Rows::All,
                None => self.rows_read(&batch, &pass, Some(&parts[range.clone()]), &taps),
            };
            match workspace.groups.get_mut(at) {
                Some(group) => (group.batch, group.rows, group.first) = (batch, rows, range.start),
                None => workspace.groups.push(Group::new(batch, rows, range.start)),
            }
        }
        let groups = &mut workspace.groups[..ranges.len()];
        let go_on = || match options.stop {
            Some(stop) if stop.load(Ordering::Relaxed) => Err(Error::Stopped),
            _ => Ok(()),
        };
        TrainingWorkspace::each(pool, scratch, groups, |group| {
            self.up(group, options, drops, &go_on)
        })?;
        // 3. The heads, and the gradients of the last hidden states.
        let mut outputs = Vec::with_capacity(sequences.len());
        for group in groups.iter_mut() {
            self.head_of(group, &parts, options, drops, gradients, &mut outputs)?;
        }
        if self.shell.lm.is_some() {
            self.language_head(
                groups,
                &parts,
                options,
                (pool, threads),
                gradients,
                &mut outputs,
            )?;
        }
        add_distances(groups, &mut outputs);
        for group in groups.iter_mut() {
            let mut taps = Taps::new(&mut [], &mut [])?;
            let Group {
                batch,
                work,
                gradient,
                ..
            } = group;
            self.final_norm_backward(batch, gradient, &work.last, Some(gradients), &mut taps)?;
            group.record.distance_sum.clear();
        }
        // 4. Down, block by block.
        for layer in (0..self.depth()).rev() {
            go_on()?;
            TrainingWorkspace::each(pool, scratch, groups, |group| {
                self.down(layer, group, drops)
            })?;
            self.weights_of_block(layer, groups, pool, gradients);
        }
        TrainingWorkspace::each(pool, scratch, groups, |group| {
            self.below_blocks(group, drops)
        })?;
        let sums = groups
            .iter()
            .map(|g| (&g.batch, g.record.distance_sum.as_slice()));
        self.relative_table(sums, gradients);
        self.tables(groups, gradients);
        Ok(outputs)
    }

    fn drops(&self, seed: u64, step: u64) -> Result<Drops, Error> {
        let rates = self.architecture().dropout;
        let all = [
            rates.embeddings,
            rates.attention_probs,
            rates.distances,
            rates.attention_output,
            rates.mlp_inner,
            rates.mlp_output,
            rates.head_input,
            rates.classifier,
        ];
        match all.into_iter().find(|rate| !(0.0..1.0).contains(rate)) {
            Some(rate) => Err(Error::DropoutRate { rate }),
            None => Ok(Drops::new(rates, seed, step)),
        }
    }

    fn training_block<'a>(
        &'a self,
        layer: usize,
        batch: &'a PackedBatch,
        rows: &'a Rows,
        drops: Option<Drops>,
    ) -> BlockPass<'a, R> {
        BlockPass {
            training: Some(Training { drops }),
            ..self.block(layer, batch, rows, &PassOptions::default())
        }
    }

    fn up(
        &self,
        group: &mut Group<R>,
        options: &TrainingOptions<'_>,
        drops: Option<Drops>,
        go_on: &impl Fn() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Group {
            batch,
            first,
            rows,
            work,
            gradient,
            states,
            ..
        } = group;
        let mut taps = Taps::new(&mut [], &mut [])?;
        let drops = drops.map(|drops| drops.from(*first));
        let Workspace {
            layers,
            scratch,
            hidden,
            last,
            embedding,
        } = work;
        layers.resize_with(self.depth(), LayerTrace::default);
        states.begin(batch.len());
        embed(self, batch, hidden, embedding, drops.as_ref(), 1, &mut taps)?;
        for (layer, trace) in layers.iter_mut().enumerate() {
            go_on()?;
            let block = self.training_block(layer, batch, rows, drops);
            block.forward(hidden, trace, scratch, &mut taps)?;
            states.compare(layer, hidden, (batch, *first), self.depth(), options);
        }
        self.final_norm(batch, rows, hidden, last, &mut taps)?;
        sized(gradient, hidden.len()).fill(R::ZERO);
        Ok(())
    }

    /// Losses and logits of the heads that read a sequence or a token by itself.
    fn head_of(
        &self,
        group: &mut Group<R>,
        parts: &[Parts<'_>],
        options: &TrainingOptions<'_>,
        drops: Option<Drops>,
        gradients: &mut Gradients<R>,
        outputs: &mut Vec<SequenceOutput<R>>,
    ) -> Result<(), Error> {
        let width = self.architecture().hidden_size;
        let mut taps = Taps::new(&mut [], &mut [])?;
        let training = Training {
            drops: drops.map(|drops| drops.from(group.first)),
        };
        for sequence in 0..group.batch.len() {
            let range = group.rows.range(&group.batch, sequence);
            let part = range.start * width..range.end * width;
            let head = TaskHead {
                model: self,
                batch: &group.batch,
                rows: &group.rows,
                sequence,
                threads: 1,
                keep_token_logits: false,
                keep_target_logits: false,
                words: None,
                training: Some((training, options.weights[group.first + sequence])),
            };
            outputs.push(head.run(
                &group.work.hidden[part.clone()],
                Some(&parts[group.first + sequence]),
                Some(&mut group.gradient[part]),
                Some(gradients),
                &mut taps,
            )?);
        }
        Ok(())
    }

    /// Losses of the tokens that a language model is to give, many sequences at once.
    fn language_head(
        &self,
        groups: &mut [Group<R>],
        parts: &[Parts<'_>],
        options: &TrainingOptions<'_>,
        (pool, threads): (Option<&rayon::ThreadPool>, usize),
        gradients: &mut Gradients<R>,
        outputs: &mut [SequenceOutput<R>],
    ) -> Result<(), Error> {
        let Some(lm) = &self.shell.lm else {
            return Ok(());
        };
        let arch = self.architecture();
        let (width, vocab) = (arch.hidden_size, arch.vocab_size);
        let mut wanted = Vec::new();
        for (at, group) in groups.iter().enumerate() {
            for sequence in 0..group.batch.len() {
                let number = group.first + sequence;
                let targets = parts[number].tokens.unwrap_or_default();
                let count = targets.iter().flatten().count();
                for (position, target) in targets.iter().enumerate() {
                    let row = group.rows.row(&group.batch, sequence, position);
                    if let (Some(label), Some(row)) = (target, row) {
                        let place = group.rows.range(&group.batch, sequence).start + row;
                        wanted.push((at, place * width, number, *label as usize, count));
                    }
                }
            }
        }
        let decoder = match &lm.decoder {
            Some(_) => Parameter::LmDecoder(Affine::Weight),
            None => Parameter::WordEmbeddings,
        };
        let pass = LmPass {
            model: self,
            lm,
            threads,
        };
        for some in wanted.chunks(LOGIT_ROWS) {
            let states = some
                .iter()
                .flat_map(|(at, place, ..)| &groups[*at].work.hidden[*place..place + width]);
            let states: Vec<R> = states.copied().collect();
            let within = |work: &mut (dyn FnMut() + Send)| match pool {
                Some(pool) => pool.install(work),
                None => work(),
            };
            let mut chunk = None;
            within(&mut || chunk = Some(pass.forward(states.clone())));
            let Some(chunk) = chunk else { continue };
            let mut d_logits = vec![R::ZERO; chunk.logits.len()];
            let rows = chunk
                .logits
                .chunks_exact(vocab)
                .zip(d_logits.chunks_exact_mut(vocab));
            for ((logits, d), (_, _, number, label, count)) in rows.zip(some) {
                let share = 1.0 / *count as f64;
                let loss = cross_entropy(logits, *label, share, Some(d));
                let weight = R::from_f64(options.weights[*number]);
                d.iter_mut().for_each(|d| *d *= weight);
                if let Some(sum) = &mut outputs[*number].loss {
                    *sum += loss;
                }
            }
            let dy = Matrix::new(&d_logits, some.len(), vocab);
            let x = Matrix::new(&chunk.normed, some.len(), arch.embedding_size);
            let weight = gradients.of_mut(decoder);
            let task = |(block, rows): (usize, &mut [R])| {
                let count = rows.len() / x.cols();
                let first = block * WEIGHT_ROWS;
                let dy = dy.transposed().slice_rows(first..first + count);
                Product::add(1).run(MatrixMut::new(rows, count, x.cols()), dy, x);
            };
            let size = WEIGHT_ROWS * arch.embedding_size;
            spread(pool, weight.chunks_mut(size).enumerate().collect(), task);
            gradients.add_columns(Parameter::LmDecoder(Affine::Bias), &d_logits);
            let mut d_states = Vec::new();
            within(&mut || {
                d_states = pass.backward(&chunk, &d_logits, Some((&states, &mut *gradients)));
            });
            for (d, (at, place, ..)) in d_states.chunks_exact(width).zip(some) {
                add_assign(&mut groups[*at].gradient[*place..place + width], d);
            }
        }
        for (number, output) in outputs.iter().enumerate() {
            if output.loss.is_some_and(|loss| !loss.is_finite()) {
                return Err(Error::LossNotFinite { sequence: number });
            }
        }
        Ok(())
    }

    fn down(&self, layer: usize, group: &mut Group<R>, drops: Option<Drops>) -> Result<(), Error> {
        let drops = drops.map(|drops| drops.from(group.first));
        let mut taps = Taps::new(&mut [], &mut [])?;
        let block = self.training_block(layer, &group.batch, &group.rows, drops);
        let Workspace {
            layers, scratch, ..
        } = &mut group.work;
        group.states.add_to(layer, &mut group.gradient);
        block.backward(
            &mut group.gradient,
            &layers[layer],
            scratch,
            true,
            Some(&mut group.record),
            &mut taps,
            |_, _, _| {},
        )
    }

    /// From the gradient of what the first block reads to that of the embeddings' sum.
    fn below_blocks(&self, group: &mut Group<R>, drops: Option<Drops>) -> Result<(), Error> {
        let (arch, shell) = (self.architecture(), &self.shell);
        let width = arch.embedding_size;
        let Group {
            batch,
            first,
            work,
            gradient,
            narrow,
            norm,
            ..
        } = group;
        let d = match &shell.projection {
            Some(map) => {
                let d = sized(narrow, batch.tokens() * width);
                let upper = Matrix::new(gradient, batch.tokens(), arch.hidden_size);
                linear_backward_input(d, upper, map.matrix(), 1);
                d
            }
            None => gradient.as_mut_slice(),
        };
        if let Some(drops) = drops.map(|drops| drops.from(*first)) {
            drops.rows(DropSite::Embeddings, 0, batch, &Rows::All, d, width);
        }
        if let Some(of) = &shell.norm {
            let (weight, bias) = sized(norm, 2 * width).split_at_mut(width);
            weight.fill(R::ZERO);
            bias.fill(R::ZERO);
            layer_norm_backward_affine(weight, bias, d, &work.embedding.hat);
            of.backward(d, &work.embedding.hat, &work.embedding.rstd);
        }
        Ok(())
    }

    /// Adds the gradients of everything below the first block.
    fn tables(&self, groups: &[Group<R>], gradients: &mut Gradients<R>) {
        let (arch, shell) = (self.architecture(), &self.shell);
        let width = arch.embedding_size;
        // Rows that transformers' classes never move (`padding_idx` of their tables).
        let pad = arch.pad_id.filter(|_| !arch.causal);
        let pad_position = match arch.position_ids {
            PositionIds::AfterPadding { pad_id } => Some(pad_id),
            PositionIds::FromZero => None,
        };
        for group in groups {
            let tokens = group.batch.tokens();
            let d = if shell.projection.is_some() {
                let dy = Matrix::new(&group.gradient, tokens, arch.hidden_size);
                let x = Matrix::new(&group.work.embedding.narrow, tokens, width);
                gradients.add_linear(Parameter::EmbeddingProjection, dy, x);
                &group.narrow
            } else {
                &group.gradient
            };
            if shell.norm.is_some() {
                let (weight, bias) = group.norm.split_at(width);
                let norm = Parameter::EmbeddingNorm;
                add_assign(gradients.of_mut(norm(Affine::Weight)), weight);
                if shell.norm.as_ref().is_some_and(|norm| norm.biased) {
                    add_assign(gradients.of_mut(norm(Affine::Bias)), bias);
                }
            }
            let rows = || d.chunks_exact(width);
            let mut of_words = Cow::Borrowed(d.as_slice());
            if arch.token_dropout.is_some() {
                let texts = group.batch.ranges().map(|range| &group.batch.ids[range]);
                drop_masks(arch, texts, of_words.to_mut());
            }
            let words = group.batch.ids.iter().copied();
            let words = words.zip(of_words.chunks_exact(width));
            let words = words.filter(|(id, _)| Some(*id) != pad);
            gradients.add_to_rows(Parameter::WordEmbeddings, width, words);
            if shell.positions.is_some() {
                let positions = group.batch.positions.iter().copied().zip(rows());
                let positions = positions.filter(|(at, _)| Some(*at) != pad_position);
                gradients.add_to_rows(Parameter::PositionEmbeddings, width, positions);
            }
            let table = match arch.segments {
                Segments::None => continue,
                Segments::Words => Parameter::WordEmbeddings,
                Segments::Table(_) => Parameter::SegmentEmbeddings,
            };
            let segments = group.batch.segments.iter().zip(rows());
            let segments = segments.filter_map(|(segment, row)| Some(((*segment)?, row)));
            gradients.add_to_rows(table, width, segments);
        }
    }
}

impl<R: Real> Group<R> {
    fn new(batch: PackedBatch, rows: Rows, first: usize) -> Self {
        Self {
            batch,
            first,
            rows,
            work: Workspace::new(),
            record: BlockRecord::default(),
            gradient: Vec::new(),
            narrow: Vec::new(),
            norm: Vec::new(),
            states: StatesTrace::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_hold_every_sequence_once() {
        for lengths in [
            vec![5],
            vec![600, 3],
            vec![40; 32],
            vec![1, 2000, 1, 1, 500, 30, 30, 30, 30],
            vec![128; 33],
        ] {
            let ranges = cut(&lengths);
            let mut next = 0;
            for range in &ranges {
                assert_eq!(range.start, next);
                assert!(range.end > range.start, "{lengths:?} {ranges:?}");
                next = range.end;
            }
            assert_eq!(next, lengths.len());
        }
        assert_eq!(cut(&[40; 32]).len(), 8);
    }
}
