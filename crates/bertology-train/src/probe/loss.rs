//! The loss of a sentence and its gradient.

use bertology_kernels::Real;
use bertology_kernels::softmax::{log_sum_exp, weighted_softmax};

/// The sum of the cross-entropies of all words in nats, and its gradient with respect to the logits.
///
/// `logits [word, candidate]` with as many candidates as words and ROOT, `heads [word]`; an element of the gradient
/// is the candidate's probability, less 1 for the head.
pub(super) fn cross_entropy<T: Real>(logits: &[T], heads: &[u32]) -> (f64, Vec<T>) {
    let mut gradient = vec![T::ZERO; logits.len()];
    let candidates = heads.len() + 1;
    let rows = logits
        .chunks_exact(candidates)
        .zip(gradient.chunks_exact_mut(candidates));
    let mut loss = 0.0;
    for ((row, gradient), head) in rows.zip(heads) {
        let (head, normalizer) = (*head as usize, log_sum_exp(row));
        loss += normalizer - row[head].to_f64();
        weighted_softmax(gradient, row, normalizer, 1.0);
        gradient[head] -= T::ONE;
    }
    (loss, gradient)
}
