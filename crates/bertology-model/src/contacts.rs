//! Which residues of a protein touch, as a regression over the attention of all heads has it (Rao et al. 2021).

use std::ops::ControlFlow;

use bertology_kernels::Real;

use crate::linear::Linear;
use crate::taps::{Event, Interests, LayerSite, Observer};
use crate::{Error, Masking, Model, PackedBatch, PassOptions, Workspace};

/// The end of a protein (`<eos>`), a constant of transformers' class.
const END: u32 = 2;

/// Which residues of one protein touch.
#[derive(Debug, Clone, PartialEq)]
pub struct Contacts {
    /// The tokens of the sequence less its first and its last, which are `<cls>` and `<eos>`.
    pub residues: usize,
    /// How probable it is that two residues touch, `[residues, residues]`, row-major and symmetric.
    pub probabilities: Vec<f64>,
}

/// Adds up what the attention of all heads says.
struct Regression<'a, R> {
    head: &'a Linear<R>,
    batch: &'a PackedBatch,
    masking: Masking<'a>,
    /// Of the unpruned model, in a layer.
    heads: usize,
    /// Of each sequence, `[residues, residues]`.
    sums: Vec<Vec<f64>>,
}

impl<R: crate::Real> Model<R> {
    /// The checkpoint's regression over the attention of all heads: a weight a head, `[layers · heads]` of the unpruned model,
    /// and the intercept; none without a contact head.
    #[must_use]
    pub fn contact_weights(&self) -> Option<(Vec<f64>, f64)> {
        let head = self.shell.contacts.as_ref()?;
        let weights = head.weight.iter().map(|weight| weight.to_f64());
        Some((
            weights.collect(),
            head.bias.first().map_or(0.0, |bias| bias.to_f64()),
        ))
    }

    /// Which residues touch, protein by protein, as transformers' `predict_contacts` has it: the attention of each head among
    /// the residues is made symmetric, what the mean attention of both residues explains is taken off (APC), and the
    /// checkpoint's regression makes a probability of all heads together.
    ///
    /// A head that is gone has nothing to say, as one that looks everywhere alike; a head mask multiplies what a head says.
    /// Of `options` targets and kept logits are refused.
    ///
    /// # Errors
    /// [`Error::NoContactHead`]; as [`Model::run`].
    pub fn contacts(
        &self,
        batch: &PackedBatch,
        options: &PassOptions<'_>,
        workspace: &mut Workspace<R>,
    ) -> Result<Vec<Contacts>, Error> {
        let head = self.shell.contacts.as_ref().ok_or(Error::NoContactHead)?;
        let residues = |tokens: usize| tokens.saturating_sub(2);
        let bias = head.bias.first().map_or(0.0, |bias| bias.to_f64());
        let sums = batch.ranges().map(|range| {
            let count = residues(range.len());
            vec![bias; count * count]
        });
        let mut regression = Regression {
            head,
            batch,
            masking: options.masking,
            heads: self.architecture().num_heads,
            sums: sums.collect(),
        };
        let options = PassOptions {
            observed_only: true,
            ..*options
        };
        self.run(batch, &options, workspace, &mut [&mut regression])?;
        let lengths = batch.ranges().map(|range| residues(range.len()));
        let found = lengths.zip(regression.sums);
        Ok(found
            .map(|(residues, sums)| Contacts {
                residues,
                probabilities: sums.iter().map(|sum| 1.0 / (1.0 + (-sum).exp())).collect(),
            })
            .collect())
    }
}

impl<R: Real> Observer<R> for Regression<'_, R> {
    fn interests(&self) -> Interests {
        Interests::none().value(LayerSite::AttentionProbs)
    }

    fn observe(&mut self, event: &Event<'_, R>) -> ControlFlow<()> {
        let Some(id) = event.head_id() else {
            return ControlFlow::Continue(());
        };
        let sequence = event.sequence;
        let place = id.layer * self.heads + id.head;
        let weight = self.head.weight[place].to_f64() * self.masking.factor(sequence, id);
        let ids = self.batch.ids(sequence);
        let residues = ids.len().saturating_sub(2);
        // Ends within the sequence have no attention, as in transformers.
        let said = |i: usize, j: usize| {
            if ids[i + 1] == END || ids[j + 1] == END {
                return 0.0;
            }
            let (there, back) = (event.value.row(i + 1)[j + 1], event.value.row(j + 1)[i + 1]);
            there.to_f64() + back.to_f64()
        };
        let of = |i: usize| -> f64 { (0..residues).map(|j| said(i, j)).sum() };
        let totals: Vec<f64> = (0..residues).map(of).collect();
        let total: f64 = totals.iter().sum();
        if total == 0.0 {
            return ControlFlow::Continue(());
        }
        let rows = self.sums[sequence].chunks_exact_mut(residues.max(1));
        for (i, row) in rows.enumerate() {
            for (j, sum) in row.iter_mut().enumerate() {
                *sum += weight * (said(i, j) - totals[i] * totals[j] / total);
            }
        }
        ControlFlow::Continue(())
    }
}
