//! The probe on attention alone: `Σ_c θ_c F_c[j, i]`; and what it shares with the one on words, ROOT's columns.

use bertology_kernels::elementwise::dot;
use bertology_kernels::{Matrix, Real};

use super::{Forward, product};
use crate::Features;

/// `parameters`: theta `[channel]`, then the factors of the evidence for ROOT.
pub(super) fn forward<T: Real>(parameters: &[T], features: &Features<T>) -> Forward<T> {
    let (theta, root) = parameters.split_at(features.channels);
    let mut sums = vec![T::ZERO; features.words * features.columns()];
    let cells = Matrix::new(&features.values, sums.len(), features.channels);
    product(&mut sums, cells, Matrix::new(theta, theta.len(), 1));
    Forward {
        logits: with_root(&sums, root, features.words),
        inner: sums,
        candidates: Vec::new(),
    }
}

/// The gradient with respect to the parameters, from that with respect to the logits.
pub(super) fn backward<T: Real>(
    parameters: &[T],
    features: &Features<T>,
    forward: &Forward<T>,
    logits: &[T],
) -> Vec<T> {
    let mut gradient = vec![T::ZERO; parameters.len()];
    let (theta, root) = gradient.split_at_mut(features.channels);
    let factors = &parameters[features.channels..];
    let sums = with_root_backward(logits, &forward.inner, factors, root, features.words);
    let cells = Matrix::new(&features.values, sums.len(), features.channels);
    product(theta, Matrix::new(&sums, 1, sums.len()), cells);
    gradient
}

/// Logits `[word, candidate]` from sums over channels `[word, column]`: the columns of evidence for ROOT become one,
/// each with its factor.
pub(super) fn with_root<T: Real>(sums: &[T], root: &[T], words: usize) -> Vec<T> {
    let mut logits = Vec::with_capacity(words * (words + 1));
    let columns = root.len() + words;
    for word in 0..words {
        let (evidence, candidates) = sums[word * columns..][..columns].split_at(root.len());
        logits.push(dot(evidence, root));
        logits.extend_from_slice(candidates);
    }
    logits
}

/// The gradient with respect to the sums, from that with respect to the logits; adds that with respect to the factors
/// to `root_gradient`.
pub(super) fn with_root_backward<T: Real>(
    logits: &[T],
    sums: &[T],
    root: &[T],
    root_gradient: &mut [T],
    words: usize,
) -> Vec<T> {
    let mut gradient = Vec::with_capacity(sums.len());
    for (word, row) in logits.chunks_exact(words + 1).enumerate() {
        let evidence = &sums[word * (root.len() + words)..];
        for (to, sum) in root_gradient.iter_mut().zip(evidence) {
            *to += row[0] * *sum;
        }
        gradient.extend(root.iter().map(|factor| *factor * row[0]));
        gradient.extend_from_slice(&row[1..]);
    }
    gradient
}
