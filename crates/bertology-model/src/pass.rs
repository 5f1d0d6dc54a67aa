//! One pass over one batch: forward, and backward where someone asks for gradients.

use std::sync::atomic::{AtomicBool, Ordering};

use bertology_checkpoint::{Parameter, Positions};
use bertology_kernels::Real;

use crate::block::BlockPass;
use crate::embedding::embed;
use crate::gradients::Gradients;
use crate::intervention::Place;
use crate::objective::{Parts, Target};
use crate::rows::Rows;
use crate::taps::{ATTENTION_SITES, LayerSite, ModelSite, Observer, Pass, Site, Tap, Taps};
use crate::task_head::{TaskHead, positions_read};
use crate::workspace::{FinalTrace, LayerTrace, Scratch, Workspace, sized};
use crate::{Error, Interests, Intervention, Masking, Model, NeuronMask, PackedBatch};

/// What a pass should do besides the forward computation.
#[derive(Debug, Clone, Copy, Default)]
pub struct PassOptions<'a> {
    /// The head mask.
    pub masking: Masking<'a>,
    /// The mask of the neurons of all feed-forward blocks, one for every sequence.
    pub neurons: Option<&'a NeuronMask>,
    /// One target per sequence: losses are computed.
    pub targets: Option<&'a [Target]>,
    /// Compute the gradient of each sequence's loss with respect to each head's mask factor.
    pub mask_gradients: bool,
    /// Keep the language model's logits of every position in the output.
    ///
    /// # Cost
    /// `tokens × vocab` numbers.
    pub token_logits: bool,
    /// Keep the language model's logits of the positions that have a target in the output.
    ///
    /// # Cost
    /// `targets × vocab` numbers.
    pub target_logits: bool,
    /// Threads inside the matrix products; 0 counts as 1. Many batches are better spread over
    /// threads with [`crate::parallel`].
    pub threads: usize,
    /// Leave out what no observer sees: the logits are not wanted, and the results of the sequences come
    /// empty. Not together with targets, [`PassOptions::token_logits`] or [`PassOptions::target_logits`].
    pub observed_only: bool,
    /// Go on with values that are NaN or infinite, which otherwise end the pass with [`Error::NotFinite`].
    ///
    /// # Numerics
    /// What is checked: the embeddings, what each half of a block adds, every hidden state, logits and loss,
    /// their gradients on the way back, and whatever an observer sees. It costs less than 1 % of a pass.
    pub allow_nonfinite: bool,
    /// Raised from elsewhere, it ends the pass before the next layer with [`Error::Stopped`].
    pub stop: Option<&'a AtomicBool>,
}

impl PassOptions<'_> {
    /// Refuses masks of heads or neurons that do not fit.
    pub(crate) fn check_masks<R: Real>(
        &self,
        model: &Model<R>,
        sequences: usize,
    ) -> Result<(), Error> {
        self.masking.check(model, sequences)?;
        self.neurons.map_or(Ok(()), |mask| mask.check(model))
    }

    /// Whether somebody reads the logits of every token.
    pub(crate) fn reads_all_logits<R: Real>(&self, taps: &Taps<'_, '_, '_, R>) -> bool {
        let mut ways = [Pass::Forward, Pass::Backward].into_iter();
        self.token_logits || ways.any(|pass| taps.wants(pass, ModelSite::TokenLogits))
    }

    pub(crate) fn go_on(&self) -> Result<(), Error> {
        match self.stop {
            Some(stop) if stop.load(Ordering::Relaxed) => Err(Error::Stopped),
            _ => Ok(()),
        }
    }
}

/// The result for one sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct SequenceOutput<R> {
    /// Logits of the sequence-level head, `[labels]`; empty if the model has none.
    pub logits: Vec<R>,
    /// Logits over the vocabulary `[n, vocab]`, if [`PassOptions::token_logits`] asked for them.
    pub token_logits: Option<Vec<R>>,
    /// Logits over the vocabulary `[targets, vocab]` of the positions that have a target, ascending, if
    /// [`PassOptions::target_logits`] asked for them.
    pub target_logits: Option<Vec<R>>,
    /// Loss of this sequence alone, if there were targets.
    pub loss: Option<f64>,
    /// `∂loss/∂factor` of every head, row-major `[layers, heads]`; 0 where a head was pruned away.
    pub mask_gradient: Option<Vec<f64>>,
}

impl<R> Default for SequenceOutput<R> {
    fn default() -> Self {
        Self {
            logits: Vec::new(),
            token_logits: None,
            target_logits: None,
            loss: None,
            mask_gradient: None,
        }
    }
}

/// The result of a pass.
#[derive(Debug, Clone, PartialEq)]
pub struct PassOutput<R> {
    /// One entry per sequence of the batch, in its order.
    pub sequences: Vec<SequenceOutput<R>>,
}

impl<R: crate::Real> Model<R> {
    /// Runs a batch through the model.
    ///
    /// Gradients are those of each sequence's own loss: sequences never mix, so a batch of one and
    /// a batch of many give the same numbers. No gradient of any weight is computed.
    ///
    /// # Numerics
    /// A sequence's numbers do not depend on the batch it is in beyond rounding: the matrix library
    /// picks its kernel by the number of rows, which changes the order of sums. The same batch gives
    /// the same bits.
    ///
    /// # Errors
    /// Masks or targets that do not fit; gradients without targets; a site that this model does not
    /// have; an observer that stopped.
    pub fn run(
        &self,
        batch: &PackedBatch,
        options: &PassOptions<'_>,
        workspace: &mut Workspace<R>,
        observers: &mut [&mut dyn Observer<R>],
    ) -> Result<PassOutput<R>, Error> {
        self.run_with(batch, options, workspace, observers, &mut [])
    }

    /// [`Model::run`] with values changed on the way: see [`crate::intervention`].
    ///
    /// # Errors
    /// As [`Model::run`]; interventions at sites where nothing can be changed, or that do not fit.
    pub fn run_with(
        &self,
        batch: &PackedBatch,
        options: &PassOptions<'_>,
        workspace: &mut Workspace<R>,
        observers: &mut [&mut dyn Observer<R>],
        interventions: &mut [&mut dyn Intervention<R>],
    ) -> Result<PassOutput<R>, Error> {
        R::pass(self, batch, options, workspace, observers, interventions)
    }
}

impl<R: Real> Model<R> {
    /// [`Model::run_with`].
    pub(crate) fn pass(
        &self,
        batch: &PackedBatch,
        options: &PassOptions<'_>,
        workspace: &mut Workspace<R>,
        observers: &mut [&mut dyn Observer<R>],
        interventions: &mut [&mut dyn Intervention<R>],
    ) -> Result<PassOutput<R>, Error> {
        // 1. Everything that can be refused is refused before anything is computed.
        for intervention in interventions.iter() {
            intervention.check(self, batch)?;
        }
        let mut taps = Taps::new(observers, interventions)?;
        taps.allow_nonfinite(options.allow_nonfinite);
        if self.shell.final_norm.is_none() {
            taps.refuse(
                ModelSite::LastResidual,
                "this model has no final norm; HiddenState of the last layer is its residual stream",
            )?;
        }
        if self.shell.rotary.is_none() {
            for site in [LayerSite::RotatedQuery, LayerSite::RotatedKey] {
                taps.refuse(site, "positions turn no queries and keys in this model")?;
            }
        }
        options.check_masks(self, batch.len())?;
        let targets = self.check_targets(batch, options)?;
        let backward = options.mask_gradients || taps.interests().any_gradient();
        if backward && targets.is_none() {
            return Err(Error::NoTargets);
        }
        if batch.is_empty() {
            return Ok(PassOutput {
                sequences: Vec::new(),
            });
        }
        let wanted = targets.is_some() || options.token_logits || options.target_logits;
        if options.observed_only && wanted {
            return Err(Error::ObservedOnly);
        }
        // 2. What nobody asked for is left out: the task heads, and rows of the last layer.
        let above = [
            Site::Model(ModelSite::Pooled),
            Site::Model(ModelSite::Logits),
            Site::Model(ModelSite::TokenLogits),
            Site::Model(ModelSite::Loss),
        ];
        let headless =
            options.observed_only && !above.iter().any(|site| taps.wants(Pass::Forward, *site));
        #[cfg(feature = "device")]
        if let Some(runner) = &self.placed.runner {
            let asked = crate::device::Asked {
                model: self,
                batch,
                options,
                targets: targets.as_deref(),
                backward,
                headless,
            };
            return runner.pass(&asked, &mut taps);
        }

        // 3. Embeddings and blocks. `hidden` is the residual stream throughout.
        let Workspace {
            layers: traces,
            scratch,
            hidden,
            last,
            embedding,
        } = workspace;
        // Without a backward pass every layer overwrites the same trace.
        traces.resize_with(if backward { self.depth() } else { 1 }, LayerTrace::default);
        embed(
            self,
            batch,
            hidden,
            embedding,
            None,
            options.threads,
            &mut taps,
        )?;
        let rows = if headless && self.rows_may_be_left_out(&taps) {
            Rows::at(batch, batch.ranges().map(|_| []))
        } else {
            self.rows_read(batch, options, targets.as_deref(), &taps)
        };
        for layer in 0..self.depth() {
            options.go_on()?;
            let trace = &mut traces[if backward { layer } else { 0 }];
            self.block(layer, batch, &rows, options)
                .forward(hidden, trace, scratch, &mut taps)?;
        }

        // 4. The last norm, then the task heads. They give the loss, and with it its gradient with
        //    respect to `hidden`.
        self.final_norm(batch, &rows, hidden, last, &mut taps)?;
        if headless {
            return Ok(PassOutput {
                sequences: vec![SequenceOutput::default(); batch.len()],
            });
        }

        let mut gradient = vec![R::ZERO; if backward { hidden.len() } else { 0 }];
        let below = backward.then_some(gradient.as_mut_slice());
        let mut sequences = self.task_outputs(
            batch,
            &rows,
            options,
            targets.as_deref(),
            None,
            hidden,
            below,
            &mut taps,
        )?;
        // 5. That gradient goes down the same path, block by block, into the results.
        if backward {
            self.final_norm_backward(batch, &mut gradient, last, None, &mut taps)?;
            self.backward(
                batch,
                &rows,
                options,
                traces,
                scratch,
                gradient,
                &mut taps,
                &mut sequences,
            )?;
        }
        Ok(PassOutput { sequences })
    }

    /// Everything above the last block, sequence by sequence; `hidden` and `gradient` are
    /// `[rows, hidden]`, the gradient arrives as zeros. `words` are the losses of a language model's tokens, a number a sequence,
    /// where they have been found already.
    #[allow(clippy::too_many_arguments, reason = "two call sites, all of one pass")]
    pub(crate) fn task_outputs(
        &self,
        batch: &PackedBatch,
        rows: &Rows,
        options: &PassOptions<'_>,
        targets: Option<&[Parts<'_>]>,
        words: Option<&[f64]>,
        hidden: &[R],
        mut gradient: Option<&mut [R]>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<Vec<SequenceOutput<R>>, Error> {
        let width = self.architecture().hidden_size;
        (0..batch.len())
            .map(|sequence| {
                let range = rows.range(batch, sequence);
                let part = range.start * width..range.end * width;
                let head = TaskHead {
                    model: self,
                    batch,
                    rows,
                    sequence,
                    threads: options.threads,
                    keep_token_logits: options.token_logits,
                    keep_target_logits: options.target_logits,
                    words: words.map(|losses| losses[sequence]),
                    training: None,
                };
                let target = targets.map(|targets| &targets[sequence]);
                let gradient = gradient.as_deref_mut().map(|all| &mut all[part.clone()]);
                head.run(&hidden[part], target, gradient, None, taps)
            })
            .collect()
    }

    /// The positions of the last layer that are worth computing: those that the heads read, or all where
    /// someone looks at that layer, changes values, or gradients go below the head outputs.
    pub(crate) fn rows_read(
        &self,
        batch: &PackedBatch,
        options: &PassOptions<'_>,
        targets: Option<&[Parts<'_>]>,
        taps: &Taps<'_, '_, '_, R>,
    ) -> Rows {
        if !self.rows_may_be_left_out(taps) {
            return Rows::All;
        }
        self.rows_of_heads(batch, options, targets, taps)
    }

    /// The positions that the heads read.
    pub(crate) fn rows_of_heads(
        &self,
        batch: &PackedBatch,
        options: &PassOptions<'_>,
        targets: Option<&[Parts<'_>]>,
        taps: &Taps<'_, '_, '_, R>,
    ) -> Rows {
        let all = options.reads_all_logits(taps);
        let read = (0..batch.len()).map(|sequence| {
            let target = targets.map(|targets| &targets[sequence]);
            positions_read(self, batch.ids(sequence), target, all)
        });
        match read.collect::<Option<Vec<_>>>() {
            Some(positions) => Rows::at(batch, positions),
            None => Rows::All,
        }
    }

    fn rows_may_be_left_out(&self, taps: &Taps<'_, '_, '_, R>) -> bool {
        let arch = self.architecture();
        let anywhere = arch.positions == Positions::Absolute
            && arch.disentangled.is_none()
            && !arch.query_key_norm;
        !taps.looks_at_rows() && anywhere
    }

    /// The norm after the last block, where there is one.
    pub(crate) fn final_norm(
        &self,
        batch: &PackedBatch,
        rows: &Rows,
        hidden: &mut [R],
        trace: &mut FinalTrace<R>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        let Some(norm) = &self.shell.final_norm else {
            return Ok(());
        };
        let arch = self.architecture();
        let hat = sized(&mut trace.hat, hidden.len());
        hat.copy_from_slice(hidden);
        let rstd = sized(&mut trace.rstd, hat.len() / arch.hidden_size);
        norm.forward(hidden, hat, rstd, arch.norm_epsilon);
        let tap = Tap::Layer(arch.num_layers - 1, LayerSite::HiddenState);
        taps.edit_rows(tap, batch, hidden, arch.hidden_size)?;
        taps.check_rows(Pass::Forward, tap, batch, rows, hidden)?;
        taps.emit_rows(Pass::Forward, tap, batch, hidden, arch.hidden_size)
    }

    pub(crate) fn final_norm_backward(
        &self,
        batch: &PackedBatch,
        gradient: &mut [R],
        trace: &FinalTrace<R>,
        weights: Option<&mut Gradients<R>>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        let Some(norm) = &self.shell.final_norm else {
            return Ok(());
        };
        let arch = self.architecture();
        let tap = Tap::Layer(arch.num_layers - 1, LayerSite::HiddenState);
        taps.emit_rows(Pass::Backward, tap, batch, gradient, arch.hidden_size)?;
        taps.block_rows(tap, batch, gradient, arch.hidden_size);
        if let Some(weights) = weights {
            weights.add_norm(Parameter::FinalNorm, gradient, &trace.hat);
        }
        norm.backward(gradient, &trace.hat, &trace.rstd);
        Ok(())
    }

    pub(crate) fn block<'a>(
        &'a self,
        layer: usize,
        batch: &'a PackedBatch,
        rows: &'a Rows,
        options: &PassOptions<'a>,
    ) -> BlockPass<'a, R> {
        let last = layer + 1 == self.depth();
        BlockPass {
            rows: if last { rows } else { &Rows::All },
            arch: self.architecture(),
            weights: self.layer(layer),
            layer,
            batch,
            masking: options.masking,
            neuron_mask: options.neurons,
            threads: options.threads,
            bias: self.shell.relative_bias.as_deref(),
            relative: self.shell.relative.as_ref(),
            rotary: self.shell.rotary.as_ref(),
            training: None,
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one call site, all of one pass")]
    fn backward(
        &self,
        batch: &PackedBatch,
        rows: &Rows,
        options: &PassOptions<'_>,
        traces: &[LayerTrace<R>],
        scratch: &mut Scratch<R>,
        mut gradient: Vec<R>,
        taps: &mut Taps<'_, '_, '_, R>,
        sequences: &mut [SequenceOutput<R>],
    ) -> Result<(), Error> {
        let arch = self.architecture();
        for output in sequences.iter_mut() {
            output.mask_gradient = Some(vec![0.0; arch.num_layers * arch.num_heads]);
        }
        let floor = self.backward_floor(taps.interests());
        for layer in (floor.layer..self.depth()).rev() {
            options.go_on()?;
            let deeper = layer > floor.layer || floor.through;
            let block = self.block(layer, batch, rows, options);
            let trace = &traces[layer];
            block.backward(
                &mut gradient,
                trace,
                scratch,
                deeper,
                None,
                taps,
                |sequence, id, value| {
                    if let Some(all) = &mut sequences[sequence].mask_gradient {
                        all[id.layer * arch.num_heads + id.head] = value;
                    }
                },
            )?;
        }
        self.check_mask_gradients(options, sequences)?;
        let site = Tap::Model(ModelSite::Embeddings);
        taps.emit_rows(Pass::Backward, site, batch, &gradient, arch.hidden_size)?;
        if !options.mask_gradients {
            for output in sequences {
                output.mask_gradient = None;
            }
        }
        Ok(())
    }

    /// What lies between the gradients of hidden states and those of the mask's factors.
    pub(crate) fn check_mask_gradients(
        &self,
        options: &PassOptions<'_>,
        sequences: &[SequenceOutput<R>],
    ) -> Result<(), Error> {
        if options.allow_nonfinite {
            return Ok(());
        }
        let heads = self.architecture().num_heads;
        for (sequence, output) in sequences.iter().enumerate() {
            let all = output.mask_gradient.iter().flatten();
            if let Some(at) = all.copied().position(|value| !value.is_finite()) {
                return Err(Error::NotFinite {
                    place: Place {
                        tap: Tap::Layer(at / heads, LayerSite::HeadMask),
                        sequence,
                        head: Some(at % heads),
                    },
                    gradient: true,
                    without: None,
                });
            }
        }
        Ok(())
    }

    /// How far down the gradients are read.
    pub(crate) fn backward_floor(&self, interests: Interests) -> Floor {
        let wants = |site: LayerSite| interests.contains(Pass::Backward, site);
        let through = interests.contains(Pass::Backward, ModelSite::Embeddings)
            || ATTENTION_SITES.into_iter().any(wants);
        let every_layer = through
            || [
                LayerSite::HeadContribution,
                LayerSite::AttentionOutput,
                LayerSite::MlpInner,
                LayerSite::NeuronMask,
                LayerSite::MlpOutput,
                LayerSite::HiddenState,
            ]
            .into_iter()
            .any(wants)
            || interests.contains(Pass::Backward, ModelSite::LastResidual);
        let lowest_head = self.heads().next().map_or(self.depth(), |id| id.layer);
        Floor {
            layer: if every_layer { 0 } else { lowest_head },
            through,
        }
    }

    pub(crate) fn check_targets<'t>(
        &self,
        batch: &PackedBatch,
        options: &PassOptions<'t>,
    ) -> Result<Option<Vec<Parts<'t>>>, Error> {
        let Some(targets) = options.targets else {
            return Ok(None);
        };
        if targets.len() != batch.len() {
            return Err(Error::TargetCount {
                targets: targets.len(),
                sequences: batch.len(),
            });
        }
        let arch = self.architecture();
        targets
            .iter()
            .enumerate()
            .map(|(i, t)| t.parts(i, batch.range(i).len(), &arch.head, arch.vocab_size))
            .collect::<Result<_, _>>()
            .map(Some)
    }
}

/// The lowest layer whose gradients are read, and whether they are read below its head outputs.
pub(crate) struct Floor {
    pub(crate) layer: usize,
    pub(crate) through: bool,
}
