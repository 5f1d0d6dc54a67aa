//! Changing what a pass computes, at the same sites at which observers look.
//!
//! An [`Intervention`] replaces values: a head's output by zero, by its mean or by another run's, any
//! site by a given matrix. What it replaces is a constant from then on: the gradient *at* the site is
//! that with respect to the new value, and no gradient flows below it. Observers see the value after
//! every intervention. Reading and changing are two traits so that looking can never change a result.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use bertology_kernels::{Matrix, MatrixMut, Real};

use crate::mask::HeadId;
use crate::taps::{Captured, Interests, LayerSite, ModelSite, Pass, Site, Tap};
use crate::{Error, Model, PackedBatch};

/// Where an intervention acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The site and, inside a block, its layer (zero-based).
    pub tap: Tap,
    /// Which sequence of the batch, zero-based.
    pub sequence: usize,
    /// Which head (number in the unpruned model), at sites that are per head.
    pub head: Option<usize>,
}

impl fmt::Display for Place {
    /// Without the sequence, whose place in a batch is nothing that a reader knows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.tap, self.head) {
            (Tap::Layer(layer, site), Some(head)) => {
                write!(f, "{site:?} of {}", HeadId { layer, head })
            }
            (Tap::Layer(layer, site), None) => write!(f, "{site:?} of layer {layer}"),
            (Tap::Model(site), _) => write!(f, "{site:?}"),
        }
    }
}

/// Which rows (tokens; queries of attention maps) an intervention replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Replaced {
    /// None: the value is as it was.
    #[default]
    Nothing,
    /// All of them.
    All,
    /// These.
    Rows(Range<usize>),
}

/// Someone who changes values on the way up.
pub trait Intervention<R: Real> {
    /// The values (not gradients) that [`Intervention::intervene`] wants to change. Asked once a pass.
    /// All sites but `AttentionEntropy`, `HeadContribution`, `HeadMask`, `Pooled`, `Logits`, `TokenLogits` and `Loss`.
    fn interests(&self) -> Interests;

    /// Refuses, before the pass, what it could not do: layers, heads or sequences that do not exist.
    ///
    /// # Errors
    /// Why it cannot act on this model and batch.
    fn check(&self, model: &Model<R>, batch: &PackedBatch) -> Result<(), Error> {
        let _ = (model, batch);
        Ok(())
    }

    /// Changes `value` in place, shaped as the site says, and tells what is a constant from now on.
    /// Rows changed but not told would get the gradient of a value that is not there.
    ///
    /// # Errors
    /// Whatever ends the pass, a replacement of another shape for example.
    fn intervene(&mut self, place: &Place, value: MatrixMut<'_, R>) -> Result<Replaced, Error>;
}

/// Sites at which nothing can be changed, and why.
pub(crate) fn check(interests: &Interests) -> Result<(), Error> {
    let refuse = |site: &dyn std::fmt::Debug, reason| {
        Err(Error::NoIntervention {
            site: format!("{site:?}"),
            reason,
        })
    };
    if interests.any_gradient() {
        return refuse(&"a gradient", "interventions act on values");
    }
    let contribution = "it is computed for observers only; change HeadOutput or AttentionOutput";
    if interests.contains(Pass::Forward, LayerSite::HeadContribution) {
        return refuse(&LayerSite::HeadContribution, contribution);
    }
    if interests.contains(Pass::Forward, LayerSite::AttentionEntropy) {
        let reason = "it is computed for observers only; change AttentionProbs";
        return refuse(&LayerSite::AttentionEntropy, reason);
    }
    for site in [
        ModelSite::Pooled,
        ModelSite::Logits,
        ModelSite::TokenLogits,
        ModelSite::Loss,
    ] {
        if interests.contains(Pass::Forward, site) {
            return refuse(&site, "nothing but the loss is above it");
        }
    }
    if interests.contains(Pass::Forward, LayerSite::HeadMask) {
        return refuse(&LayerSite::HeadMask, "the mask is your input; give another");
    }
    Ok(())
}

/// What was replaced in a forward pass, for its backward pass.
#[derive(Debug, Default)]
pub(crate) struct Edits<R> {
    places: BTreeMap<Place, Edit<R>>,
}

#[derive(Debug)]
struct Edit<R> {
    rows: Vec<Range<usize>>,
    /// The new value, at sites that the backward pass computes again.
    kept: Option<Vec<R>>,
}

impl<R: Real> Edits<R> {
    pub(crate) fn record(&mut self, place: Place, replaced: &Replaced, value: Matrix<'_, R>) {
        let rows = match replaced {
            Replaced::Nothing => return,
            Replaced::All => 0..value.rows(),
            Replaced::Rows(rows) => rows.start..rows.end.min(value.rows()),
        };
        let again = matches!(
            place.tap,
            Tap::Layer(_, LayerSite::AttentionScores | LayerSite::AttentionProbs)
        );
        let edit = self.places.entry(place).or_insert(Edit {
            rows: Vec::new(),
            kept: None,
        });
        edit.rows.push(rows);
        if again {
            edit.kept = Some(value.to_vec());
        }
    }

    /// Puts the new value in the place of one that was computed again.
    pub(crate) fn replay(&self, place: &Place, value: &mut [R]) {
        if let Some(kept) = self.places.get(place).and_then(|edit| edit.kept.as_ref()) {
            value.copy_from_slice(kept);
        }
    }

    /// No gradient flows below what was replaced.
    pub(crate) fn block(&self, place: &Place, mut gradient: MatrixMut<'_, R>) {
        let Some(edit) = self.places.get(place) else {
            return;
        };
        for row in edit.rows.iter().cloned().flatten() {
            gradient.row_mut(row).fill(R::ZERO);
        }
    }
}

/// Replaces values at chosen places by given ones: ablation by zero or by a mean, or the values of
/// another run.
///
/// ```
/// use bertology_model::{LayerSite, HeadId, Replacements};
///
/// // Head 3 of layer 1 says nothing, in every sequence.
/// let ablation = Replacements::<f32>::new().zero(HeadId { layer: 1, head: 3 });
/// # let _ = ablation;
/// ```
#[derive(Debug, Clone, Default)]
pub struct Replacements<R> {
    interests: Interests,
    /// By tap, head and sequence; `None` is every sequence.
    values: BTreeMap<(Tap, Option<usize>, Option<usize>), Value<R>>,
}

#[derive(Debug, Clone)]
enum Value<R> {
    /// The same row for every token; empty means zeros.
    Row(Vec<R>),
    Matrix(Captured<R>),
}

impl<R: Real> Replacements<R> {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The head's output (before the output projection) becomes zero in every sequence: the same
    /// function as a mask factor of 0.
    #[must_use]
    pub fn zero(self, id: HeadId) -> Self {
        self.row(id, Vec::new())
    }

    /// The head's output becomes this row `[head_dim]` for every token of every sequence: ablation by
    /// the mean, say over a corpus.
    #[must_use]
    pub fn mean(self, id: HeadId, row: Vec<R>) -> Self {
        self.row(id, row)
    }

    fn row(mut self, id: HeadId, row: Vec<R>) -> Self {
        let tap = Tap::Layer(id.layer, LayerSite::HeadOutput);
        self.interests = self.interests.value(LayerSite::HeadOutput);
        self.values
            .insert((tap, Some(id.head), None), Value::Row(row));
        self
    }

    /// The value at one place becomes `value`, which must have the site's shape there.
    #[must_use]
    pub fn value(mut self, place: Place, value: Captured<R>) -> Self {
        self.interests = match place.tap.site() {
            Site::Layer(site) => self.interests.value(site),
            Site::Model(site) => self.interests.value(site),
        };
        let key = (place.tap, place.head, Some(place.sequence));
        self.values.insert(key, Value::Matrix(value));
        self
    }
}

impl<R: Real> Intervention<R> for Replacements<R> {
    fn interests(&self) -> Interests {
        self.interests
    }

    fn check(&self, model: &Model<R>, batch: &PackedBatch) -> Result<(), Error> {
        let arch = model.architecture();
        for (tap, head, sequence) in self.values.keys() {
            if let Some(sequence) = sequence.filter(|s| *s >= batch.len()) {
                return Err(Error::NoSuchSequence {
                    sequence,
                    sequences: batch.len(),
                });
            }
            let Tap::Layer(layer, _) = *tap else { continue };
            let id = HeadId {
                layer,
                head: head.unwrap_or(0),
            };
            if layer >= arch.num_layers || id.head >= arch.num_heads {
                return Err(Error::NoSuchHead {
                    head: id,
                    layers: arch.num_layers,
                    heads: arch.num_heads,
                });
            }
            if head.is_some() && !model.has_head(id) {
                return Err(Error::HeadGone { head: id });
            }
        }
        Ok(())
    }

    fn intervene(&mut self, place: &Place, mut value: MatrixMut<'_, R>) -> Result<Replaced, Error> {
        let found = self
            .values
            .get(&(place.tap, place.head, Some(place.sequence)))
            .or_else(|| self.values.get(&(place.tap, place.head, None)));
        let (rows, cols) = (value.rows(), value.cols());
        let fits = match found {
            None => return Ok(Replaced::Nothing),
            Some(Value::Row(row)) => row.is_empty() || row.len() == cols,
            Some(Value::Matrix(matrix)) => (matrix.rows, matrix.cols) == (rows, cols),
        };
        if !fits {
            return Err(Error::ReplacementShape {
                place: *place,
                rows,
                cols,
            });
        }
        for i in 0..rows {
            match found {
                Some(Value::Row(row)) if !row.is_empty() => value.row_mut(i).copy_from_slice(row),
                Some(Value::Matrix(matrix)) => value
                    .row_mut(i)
                    .copy_from_slice(&matrix.data[i * cols..(i + 1) * cols]),
                _ => value.row_mut(i).fill(R::ZERO),
            }
        }
        Ok(Replaced::All)
    }
}
