//! Factors for what stays, so that each half of a block does to the residual stream what it did before any unit went.
//!
//! Layer by layer, attention and then the feed-forward block, with everything below already as it will be: of every token of
//! some texts `A m` is what the units that stay add to the stream, each weighed by its factor, and `b` what has to be added so
//! that the stream is what it is in the whole model (Kwon et al. 2022, section 4.4, fit the output of each layer in this way).
//! The factors go into the output map at once.
//!
//! `A` has a row for every token and number of the hidden size, and is never made: with `X` what the map reads and `W` its
//! weight, `AᵀA = (XᵀX) ∘ (WᵀW)` and `Aᵀb = diag(Xᵀ B W)`; for heads, these summed over the numbers of a head.

use std::ops::{ControlFlow, Range};

use bertology_checkpoint::{Pooling, TaskHead};
use bertology_model::kernels::product::Product;
use bertology_model::{
    Half, Matrix, MatrixMut, Model, OutputMap, PackedBatch, Sequence, Workspace,
};

use super::groups::{Groups, Kind, PerUnit};
use super::least_squares::Normal;
use crate::drive::each;
use crate::input::corpus::packed;
use crate::watch::Purpose;
use crate::{Error, Watch};

/// `λ` over the mean diagonal: what is hardly determined stays as it is.
pub const RIDGE: f64 = 1e-2;

/// Factors beyond this say that the texts do not determine them; the half is left as it was.
const LARGEST: f64 = 10.0;

/// Tokens of a batch.
const BATCH_TOKENS: usize = 1024;

/// What tuning did to a half of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gain {
    /// Layer, zero-based.
    pub layer: usize,
    /// Which half.
    pub kind: Kind,
    /// `‖b - A·1‖² / ‖b‖²`: share of what should be added that is missed without factors.
    pub before: f64,
    /// With them.
    pub after: f64,
    /// The fit gave factors beyond all measure; they were not taken.
    pub refused: bool,
}

/// Factors of what stays, and what they did.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuned {
    /// A factor for every unit of the whole model; 0 is gone.
    pub factors: PerUnit<f64>,
    /// Half by half.
    pub gains: Vec<Gain>,
}

impl Tuned {
    /// What stays as it is.
    #[must_use]
    pub fn untuned(keep: &PerUnit<bool>) -> Self {
        Self {
            factors: super::groups::factors(keep),
            gains: Vec::new(),
        }
    }
}

/// A batch in both models.
struct Walk {
    batch: PackedBatch,
    /// `[tokens, hidden]`: the stream of the whole model, and of the smaller one.
    whole: Vec<f32>,
    smaller: Vec<f32>,
}

/// Factors of all units for a model without some of them: `keep` says which stay, `whole` has all. Half a block at a time is the
/// processor's work, wherever the models' passes run: the same factors to the bit.
///
/// # Errors
/// Sequences that the model cannot take; values that are not finite; an interruption.
pub fn tune(
    whole: &Model<f32>,
    keep: &PerUnit<bool>,
    sequences: &[Sequence],
    threads: usize,
    watch: &mut dyn Watch,
) -> Result<Tuned, Error> {
    let groups = Groups::of(whole);
    let (heads, neurons) = groups.masks(&super::groups::factors(keep))?;
    let mut fitted = Fitted {
        factors: super::groups::factors(keep),
        model: whole.folded(&heads, &neurons)?,
        gains: Vec::new(),
        threads,
    };
    let mut walks = begin(whole, sequences, threads)?;
    let halves = 2 * groups.layers() as u64;
    watch.begin(Purpose::Tuning, 0, halves);
    for layer in 0..groups.layers() {
        go_on(watch, 2 * layer as u64, halves)?;
        fitted.fit(
            layer,
            Kind::Heads,
            &walks,
            keep,
            |model, walk, workspace| {
                let of = |model: &Model<f32>, stream: &[f32], workspace: &mut Workspace<f32>| {
                    model.attention_half(layer, &walk.batch, stream, workspace)
                };
                Ok([
                    of(whole, &walk.whole, workspace)?,
                    of(model, &walk.smaller, workspace)?,
                ])
            },
        )?;
        go_on(watch, 2 * layer as u64 + 1, halves)?;
        // With the new factors: what attention adds, then the feed-forward block.
        fitted.fit(
            layer,
            Kind::Neurons,
            &walks,
            keep,
            |model, walk, workspace| {
                let mut of = |model: &Model<f32>, stream: &[f32]| {
                    let attention = model.attention_half(layer, &walk.batch, stream, workspace)?;
                    Ok::<_, Error>(model.mlp_half(layer, &walk.batch, attention, workspace)?.0)
                };
                Ok([of(whole, &walk.whole)?, of(model, &walk.smaller)?])
            },
        )?;
        walks = step(walks, layer, [whole, &fitted.model], threads)?;
    }
    go_on(watch, halves, halves)?;
    Ok(Tuned {
        factors: fitted.factors,
        gains: fitted.gains,
    })
}

fn go_on(watch: &mut dyn Watch, done: u64, total: u64) -> Result<(), Error> {
    match watch.advance(done, total) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Interrupted { done, total }),
    }
}

/// The streams that leave a layer, in the whole model and in the smaller one.
fn step(
    walks: Vec<Walk>,
    layer: usize,
    [whole, smaller]: [&Model<f32>; 2],
    threads: usize,
) -> Result<Vec<Walk>, Error> {
    let mut next = Vec::with_capacity(walks.len());
    each(
        threads,
        walks.into_iter(),
        |workspace, walk| {
            let mut of = |model: &Model<f32>, stream: &[f32]| {
                let attention = model.attention_half(layer, &walk.batch, stream, workspace)?;
                Ok::<_, Error>(model.mlp_half(layer, &walk.batch, attention, workspace)?.1)
            };
            let (whole, smaller) = (of(whole, &walk.whole)?, of(smaller, &walk.smaller)?);
            Ok(Walk {
                batch: walk.batch,
                whole,
                smaller,
            })
        },
        |walk| {
            next.push(walk);
            Ok(())
        },
    )?;
    Ok(next)
}

/// What enters layer 0, of every batch.
fn begin(model: &Model<f32>, sequences: &[Sequence], threads: usize) -> Result<Vec<Walk>, Error> {
    let mut batches: Vec<Vec<Sequence>> = Vec::new();
    let mut tokens = usize::MAX;
    for sequence in sequences {
        if tokens.saturating_add(sequence.len()) > BATCH_TOKENS {
            batches.push(Vec::new());
            tokens = 0;
        }
        tokens += sequence.len();
        if let Some(batch) = batches.last_mut() {
            batch.push(sequence.clone());
        }
    }
    let mut walks = Vec::with_capacity(batches.len());
    each(
        threads,
        batches.into_iter(),
        |workspace, sequences| {
            let batch = packed(model.architecture(), &sequences, |_, error| error)?;
            let stream = model.stream(&batch, workspace)?;
            Ok(Walk {
                batch,
                smaller: stream.clone(),
                whole: stream,
            })
        },
        |walk| {
            walks.push(walk);
            Ok(())
        },
    )?;
    Ok(walks)
}

/// The rows of the last layer that the model's head reads, where it is one of each sequence; nothing: all.
fn places_read(model: &Model<f32>, batch: &PackedBatch) -> Option<Vec<usize>> {
    let arch = model.architecture();
    let of_sequences = matches!(
        arch.head,
        TaskHead::SequenceClassification { .. } | TaskHead::NextSentence
    );
    let place = |range: Range<usize>| match arch.pooling {
        Pooling::First => Some(range.start),
        Pooling::Last => Some(range.end - 1),
        _ => None,
    };
    match of_sequences {
        true => batch.ranges().map(place).collect(),
        false => None,
    }
}

/// The factors so far, and the model that has them in its maps.
struct Fitted {
    factors: PerUnit<f64>,
    model: Model<f32>,
    gains: Vec<Gain>,
    threads: usize,
}

impl Fitted {
    /// Fits the factors of a group and folds them into the model. `halves` gives a half of a block of one batch, in the whole
    /// model and in the smaller one.
    fn fit(
        &mut self,
        layer: usize,
        kind: Kind,
        walks: &[Walk],
        keep: &PerUnit<bool>,
        halves: impl Fn(&Model<f32>, &Walk, &mut Workspace<f32>) -> Result<[Half<f32>; 2], Error> + Sync,
    ) -> Result<(), Error> {
        let model = &self.model;
        let group = kind.group(layer);
        let (map, block) = match kind {
            Kind::Heads => {
                let map = model.attention_output_map(layer);
                (map, model.architecture().head_dim())
            }
            Kind::Neurons => (model.mlp_output_map(layer), 1),
        };
        let mut sums = Summed::new(map.weight, block);
        let last = model.architecture().num_layers - 1;
        each(
            self.threads,
            walks.iter(),
            |workspace, walk| {
                let [whole, smaller] = halves(model, walk, workspace)?;
                let places = (layer == last)
                    .then(|| places_read(model, &walk.batch))
                    .flatten();
                Ok(match places {
                    Some(places) => {
                        let rows = |half: &Half<f32>| half.rows(&places, walk.batch.tokens());
                        Terms::of(map, &rows(&whole), &rows(&smaller))
                    }
                    None => Terms::of(map, &whole, &smaller),
                })
            },
            |terms| {
                sums.add(&terms);
                Ok(())
            },
        )?;
        let mut normal = sums.finish(map.weight);
        if kind == Kind::Heads {
            normal = normal.of(&model.head_places(layer));
        }
        let ones = vec![1.0; normal.right.len()];
        let found = normal.solve(RIDGE);
        let refused = !found.iter().all(|factor| factor.abs() <= LARGEST);
        let taken = if refused { &ones } else { &found };
        let share = |m: &[f64]| normal.residual(m) / normal.target.max(f64::MIN_POSITIVE);
        self.gains.push(Gain {
            layer,
            kind,
            before: share(&ones),
            after: share(taken),
            refused,
        });
        if refused {
            return Ok(());
        }
        let own = Groups::of(model);
        let mut of_model: PerUnit<f64> = own.counts().iter().map(|n| vec![1.0; *n]).collect();
        of_model[group].clone_from(taken);
        let (heads, neurons) = own.masks(&of_model)?;
        self.model = model.folded(&heads, &neurons)?;
        let mut taken = taken.iter();
        for (factor, stays) in self.factors[group].iter_mut().zip(&keep[group]) {
            if *stays && let Some(found) = taken.next() {
                *factor = *found;
            }
        }
        Ok(())
    }
}

/// Sums over tokens of one batch.
struct Terms {
    /// `XᵀX [width, width]`
    reads: Vec<f32>,
    /// `diag(Xᵀ B W) [width]`
    right: Vec<f64>,
    target: f64,
}

impl Terms {
    fn of(map: OutputMap<'_, f32>, whole: &Half<f32>, smaller: &Half<f32>) -> Self {
        let OutputMap {
            weight,
            bias,
            scale,
        } = map;
        let (hidden, width) = (weight.rows(), weight.cols());
        let tokens = smaller.to.len() / hidden.max(1);
        // B: what the map has to give, besides its bias, so that the smaller model's stream becomes that of the whole model.
        let scale = scale as f32;
        let mut target = whole.sum();
        for (row, to) in target
            .chunks_exact_mut(hidden)
            .zip(smaller.to.chunks_exact(hidden))
        {
            for (value, to) in row.iter_mut().zip(to) {
                *value = (*value - *to) / scale;
            }
            for (value, bias) in row.iter_mut().zip(bias) {
                *value -= *bias;
            }
        }
        let reads = Matrix::new(&smaller.reads, tokens, width);
        let mut square = vec![0.0_f32; width * width];
        let into = MatrixMut::new(&mut square, width, width);
        Product::replace(1).run(into, reads.transposed(), reads);
        let mut back = vec![0.0_f32; tokens * width];
        let into = MatrixMut::new(&mut back, tokens, width);
        Product::replace(1).run(into, Matrix::new(&target, tokens, hidden), weight);
        let mut right = vec![0.0_f64; width];
        let rows = smaller.reads.chunks_exact(width.max(1));
        for (reads, back) in rows.zip(back.chunks_exact(width.max(1))) {
            for ((right, x), b) in right.iter_mut().zip(reads).zip(back) {
                *right += f64::from(*x) * f64::from(*b);
            }
        }
        Self {
            reads: square,
            right,
            target: target.iter().map(|b| f64::from(*b).powi(2)).sum(),
        }
    }
}

/// [`Terms`] of all batches, in order.
struct Summed {
    reads: Vec<f64>,
    right: Vec<f64>,
    target: f64,
    /// Numbers of a unit.
    block: usize,
}

impl Summed {
    fn new(weight: Matrix<'_, f32>, block: usize) -> Self {
        let width = weight.cols();
        Self {
            reads: vec![0.0; width * width],
            right: vec![0.0; width],
            target: 0.0,
            block,
        }
    }

    fn add(&mut self, terms: &Terms) {
        for (sum, term) in self.reads.iter_mut().zip(&terms.reads) {
            *sum += f64::from(*term);
        }
        for (sum, term) in self.right.iter_mut().zip(&terms.right) {
            *sum += term;
        }
        self.target += terms.target;
    }

    /// Weighed by the map, and summed over the numbers of each unit.
    fn finish(&self, weight: Matrix<'_, f32>) -> Normal {
        let width = weight.cols();
        let mut map = vec![0.0_f32; width * width];
        let into = MatrixMut::new(&mut map, width, width);
        Product::replace(1).run(into, weight.transposed(), weight);
        let units = width / self.block;
        let mut square = vec![0.0; units * units];
        for (row, (reads, map)) in self
            .reads
            .chunks_exact(width.max(1))
            .zip(map.chunks_exact(width.max(1)))
            .enumerate()
        {
            let into = &mut square[row / self.block * units..][..units];
            for (col, (reads, map)) in reads.iter().zip(map).enumerate() {
                into[col / self.block] += reads * f64::from(*map);
            }
        }
        let right = self.right.chunks(self.block);
        Normal {
            square,
            right: right.map(|of| of.iter().sum()).collect(),
            target: self.target,
        }
    }
}
