//! A batch without each head in turn, or with each as the only one of its layer, sharing all that is common.
//!
//! A head of layer `l` changes nothing below `l`, and in layer `l` its output enters by one addition. So the
//! layers below and the attention of layer `l` are computed once for all heads; only what is above is
//! computed anew: about half of a full pass a head, on average over the layers.

use std::fmt;

use bertology_kernels::{Matrix, MatrixMut, Product, Real};

use crate::embedding::embed;
use crate::rows::Rows;
use crate::taps::Taps;
use crate::workspace::{LayerTrace, sized};
use crate::{Error, HeadId, Model, PackedBatch, PassOptions, SequenceOutput, Workspace};

/// What is left out for a head, where heads are taken in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Removal {
    /// The head itself; all others stay.
    Head(HeadId),
    /// The other heads of its layer: it is the only one left there. Other layers keep all of theirs.
    Others(HeadId),
}

impl Removal {
    /// The head whose turn it is.
    #[must_use]
    pub fn head(self) -> HeadId {
        match self {
            Self::Head(head) | Self::Others(head) => head,
        }
    }
}

/// As a phrase behind what went wrong.
impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(head) => write!(f, "without {head}"),
            Self::Others(head) => write!(f, "with {head} as the only head of its layer"),
        }
    }
}

impl<R: crate::Real> Model<R> {
    /// Runs a batch as it is, then without each of `heads` in turn: the result that
    /// [`Model::without_heads`] with that one head gives (to rounding), at about half the cost.
    ///
    /// `each` receives `None` with the result of the whole model first, then every head with its own.
    /// Heads come in the order of (layer, head), each once.
    ///
    /// # Cost
    /// Beyond [`Model::run`]: `tokens × hidden` numbers four times, and the results of all heads, which are
    /// kept until that of the whole model is there.
    ///
    /// # Errors
    /// As [`Model::run`]; [`Error::NoSuchHead`], [`Error::HeadGone`]; gradients, which are not computed here; [`Error::ObservedOnly`], since nobody observes.
    pub fn run_without_each(
        &self,
        batch: &PackedBatch,
        options: &PassOptions<'_>,
        workspace: &mut Workspace<R>,
        heads: &[HeadId],
        mut each: impl FnMut(Option<HeadId>, Vec<SequenceOutput<R>>),
    ) -> Result<(), Error> {
        R::in_turn(
            self,
            batch,
            options,
            workspace,
            Removal::Head,
            heads,
            &mut each,
        )
    }

    /// Runs a batch as it is, then with each of `heads` in turn as the only head of its layer, other layers
    /// whole: the result that [`Model::without_heads`] with all other heads of that layer gives (to rounding), at
    /// about half the cost. Where a layer has one head only, or all others add nothing, the result is that of the
    /// whole model to the bit.
    ///
    /// All else as [`Model::run_without_each`]. Beyond its cost, each head brings a product of
    /// `rows × (width - head width) × hidden`: what the other heads contribute is taken away at once.
    ///
    /// # Errors
    /// As [`Model::run_without_each`].
    pub fn run_with_each_alone(
        &self,
        batch: &PackedBatch,
        options: &PassOptions<'_>,
        workspace: &mut Workspace<R>,
        heads: &[HeadId],
        mut each: impl FnMut(Option<HeadId>, Vec<SequenceOutput<R>>),
    ) -> Result<(), Error> {
        R::in_turn(
            self,
            batch,
            options,
            workspace,
            Removal::Others,
            heads,
            &mut each,
        )
    }
}

impl<R: Real> Model<R> {
    /// [`Model::run_without_each`] and [`Model::run_with_each_alone`]: `removal` says of a head what is left out.
    pub(crate) fn in_turn(
        &self,
        batch: &PackedBatch,
        options: &PassOptions<'_>,
        workspace: &mut Workspace<R>,
        removal: fn(HeadId) -> Removal,
        heads: &[HeadId],
        each: &mut dyn FnMut(Option<HeadId>, Vec<SequenceOutput<R>>),
    ) -> Result<(), Error> {
        match self.turns(batch, options, workspace, removal, heads, each) {
            // The pass without a head comes first, but the whole model may be as broken.
            Err(Error::NotFinite {
                place,
                gradient,
                without: without @ Some(_),
            }) => {
                self.pass(batch, options, workspace, &mut [], &mut [])?;
                Err(Error::NotFinite {
                    place,
                    gradient,
                    without,
                })
            }
            other => other,
        }
    }

    fn turns(
        &self,
        batch: &PackedBatch,
        options: &PassOptions<'_>,
        workspace: &mut Workspace<R>,
        removal: fn(HeadId) -> Removal,
        heads: &[HeadId],
        each: &mut dyn FnMut(Option<HeadId>, Vec<SequenceOutput<R>>),
    ) -> Result<(), Error> {
        // 1. Heads that are there and options that make sense here; each head once, in order.
        let arch = self.architecture();
        for head in heads {
            if head.layer >= arch.num_layers || head.head >= arch.num_heads {
                return Err(Error::NoSuchHead {
                    head: *head,
                    layers: arch.num_layers,
                    heads: arch.num_heads,
                });
            }
            if !self.has_head(*head) {
                return Err(Error::HeadGone { head: *head });
            }
        }
        if options.mask_gradients {
            return Err(Error::NoGradients);
        }
        if options.observed_only {
            return Err(Error::ObservedOnly);
        }
        let mut heads = heads.to_vec();
        heads.sort_unstable();
        heads.dedup();
        let mut taps = Taps::new(&mut [], &mut [])?;
        taps.allow_nonfinite(options.allow_nonfinite);
        options.check_masks(self, batch.len())?;
        let targets = self.check_targets(batch, options)?;
        if batch.is_empty() {
            each(None, Vec::new());
            heads.iter().for_each(|head| each(Some(*head), Vec::new()));
            return Ok(());
        }

        #[cfg(feature = "device")]
        if let Some(runner) = &self.placed.runner {
            let asked = crate::device::Asked {
                model: self,
                batch,
                options,
                targets: targets.as_deref(),
                backward: false,
                headless: false,
            };
            return runner.turns(&asked, removal, &heads, each);
        }

        // 2. `x` is the residual stream of the whole model. It rises one layer a turn.
        let rows = self.rows_read(batch, options, targets.as_deref(), &taps);
        let mut x = Vec::new();
        embed(
            self,
            batch,
            &mut x,
            &mut workspace.embedding,
            None,
            options.threads,
            &mut taps,
        )?;
        let mut results = Vec::with_capacity(heads.len());
        let mut shared = Shared::default();
        workspace.layers.resize_with(1, LayerTrace::default);
        for layer in 0..self.depth() {
            options.go_on()?;
            // 3. The attention of this layer, once for all of its heads.
            let here = heads.iter().filter(|head| head.layer == layer);
            let block = self.block(layer, batch, &rows, options);
            let Workspace {
                layers, scratch, ..
            } = &mut *workspace;
            let trace = &mut layers[0];
            block.attention_output(&x, &mut shared.output, trace, scratch, &mut taps)?;
            let context = block
                .attention(&[])
                .masked(&trace.context, &mut scratch.heads);
            shared.context.clear();
            shared.context.extend_from_slice(context);
            // 4. For each head of this layer a stream `y` of its own: the attention output less what the
            //    head adds, or all others, the rest of this block, the blocks above, the task heads.
            for head in here {
                options.go_on()?;
                let removed = removal(*head);
                taps.leave_out(Some(removed));
                let mut y = x.clone();
                let mut output = shared.without(self, &rows, batch, removed);
                let Workspace {
                    layers, scratch, ..
                } = &mut *workspace;
                block.finish(&mut y, &mut output, &mut layers[0], scratch, &mut taps)?;
                for above in layer + 1..self.depth() {
                    let trace = &mut workspace.layers[0];
                    self.block(above, batch, &rows, options).forward(
                        &mut y,
                        trace,
                        &mut workspace.scratch,
                        &mut taps,
                    )?;
                }
                self.final_norm(batch, &rows, &mut y, &mut workspace.last, &mut taps)?;
                let found = self.task_outputs(
                    batch,
                    &rows,
                    options,
                    targets.as_deref(),
                    None,
                    &y,
                    None,
                    &mut taps,
                )?;
                results.push((*head, found));
            }
            taps.leave_out(None);
            // 5. With nothing taken away the block is finished, and `x` is ready for the next layer.
            let Workspace {
                layers, scratch, ..
            } = &mut *workspace;
            block.finish(
                &mut x,
                &mut shared.output,
                &mut layers[0],
                scratch,
                &mut taps,
            )?;
        }
        // 6. After the last layer `x` gives the result of the whole model, which callers see first.
        self.final_norm(batch, &rows, &mut x, &mut workspace.last, &mut taps)?;
        let whole = self.task_outputs(
            batch,
            &rows,
            options,
            targets.as_deref(),
            None,
            &x,
            None,
            &mut taps,
        )?;
        each(None, whole);
        for (head, found) in results {
            each(Some(head), found);
        }
        Ok(())
    }
}

/// What all heads of one layer share.
#[derive(Debug, Default)]
struct Shared<R> {
    /// `[rows, W]`: outputs of all heads, masked.
    context: Vec<R>,
    /// `[rows, hidden]`: after the output projection.
    output: Vec<R>,
}

impl<R: Real> Shared<R> {
    /// The attention output less what the heads contribute that are left out.
    fn without(
        &self,
        model: &Model<R>,
        rows: &Rows,
        batch: &PackedBatch,
        removed: Removal,
    ) -> Vec<R> {
        let id = removed.head();
        let arch = model.architecture();
        let (hidden, dim) = (arch.hidden_size, arch.head_dim());
        let attention = &model.layer(id.layer).attention;
        let mut output = self.output.clone();
        let Ok(place) = attention.heads.binary_search(&id.head) else {
            return output;
        };
        let slot = attention.slot(place);
        let last = id.layer + 1 == arch.num_layers;
        let rows = if last {
            rows.count(batch)
        } else {
            batch.tokens()
        };
        if rows == 0 {
            return output;
        }
        let width = attention.output.inputs;
        let (start, end) = (slot * dim, (slot + 1) * dim);
        let columns = match removed {
            Removal::Head(_) => [start..end, end..end],
            Removal::Others(_) => [0..start, end..width],
        };
        let subtract = Product {
            scale: R::from_f64(-arch.branch_scale),
            accumulate: true,
            threads: 1,
        };
        let output_rows = sized(&mut output, rows * hidden);
        for columns in columns.into_iter().filter(|columns| !columns.is_empty()) {
            let (from, count) = (columns.start, columns.len());
            let context = Matrix::strided(&self.context[from..], rows, count, width);
            let weight = &attention.output.weight[from..];
            subtract.run(
                MatrixMut::new(output_rows, rows, hidden),
                context,
                Matrix::strided(weight, hidden, count, width).transposed(),
            );
        }
        output
    }
}
