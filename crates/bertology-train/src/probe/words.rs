//! The probe on attention and words: `Σ_c (W_c · (v_j ⊕ v_i) + b_c) F_c[j, i]`.
//!
//! The weight of a channel is a part of the word and a part of the candidate:
//! `A[j, c] + B[i, c]` with `A = v · W_own + b` and `B = candidates · W_candidate`. So attention is summed a word at a
//! time with a row of A, and a column at a time with a row of B.

use bertology_kernels::elementwise::add_assign;
use bertology_kernels::{Matrix, MatrixMut, Product, Real};

use super::attention::{with_root, with_root_backward};
use super::{Forward, Shape, product};
use crate::{Example, Features};

/// Where the arrays end in a row of parameters: those of the own vector, of the candidate's, and the bias.
fn ends(shape: Shape) -> [usize; 3] {
    let part = shape.dim * shape.channels;
    [part, 2 * part, 2 * part + shape.channels]
}

/// `parameters`: theta `[2 dim, channel]`, bias `[channel]`, then the factors of the evidence for ROOT.
/// `candidates [column, dim]`.
pub(super) fn forward<T: Real>(
    shape: Shape,
    parameters: &[T],
    example: &Example<T>,
    candidates: Vec<T>,
) -> Forward<T> {
    let Shape { channels, dim, .. } = shape;
    let features = &example.features;
    let (words, columns) = (features.words, features.columns());
    let [own, theta, bias] = ends(shape);
    let mut of_word = parameters[theta..bias].repeat(words);
    Product::add(1).run(
        MatrixMut::new(&mut of_word, words, channels),
        Matrix::new(&example.vectors, words, dim),
        Matrix::new(&parameters[..own], dim, channels),
    );
    let mut of_candidate = vec![T::ZERO; columns * channels];
    product(
        &mut of_candidate,
        Matrix::new(&candidates, columns, dim),
        Matrix::new(&parameters[own..theta], dim, channels),
    );
    let mut sums = vec![T::ZERO; words * columns];
    for word in 0..words {
        product(
            &mut sums[word * columns..][..columns],
            of_one_word(features, word),
            Matrix::new(&of_word[word * channels..], channels, 1),
        );
    }
    for column in 0..columns {
        // Without words there is nothing behind the first.
        let sums = sums.get_mut(column..).unwrap_or_default();
        Product::add(1).run(
            MatrixMut::strided(sums, words, 1, columns),
            of_one_column(features, column),
            Matrix::new(&of_candidate[column * channels..], channels, 1),
        );
    }
    Forward {
        logits: with_root(&sums, &parameters[bias..], words),
        inner: sums,
        candidates,
    }
}

/// The gradient with respect to the parameters, from that with respect to the logits.
pub(super) fn backward<T: Real>(
    shape: Shape,
    parameters: &[T],
    example: &Example<T>,
    forward: &Forward<T>,
    logits: &[T],
) -> Vec<T> {
    let Shape { channels, dim, .. } = shape;
    let features = &example.features;
    let (words, columns) = (features.words, features.columns());
    let [own, theta, bias] = ends(shape);
    let mut gradient = vec![T::ZERO; parameters.len()];
    let (rest, root) = gradient.split_at_mut(bias);
    let sums = with_root_backward(logits, &forward.inner, &parameters[bias..], root, words);
    let mut of_word = vec![T::ZERO; words * channels];
    let (thetas, bias) = rest.split_at_mut(theta);
    for word in 0..words {
        let row = &mut of_word[word * channels..][..channels];
        let weights = Matrix::new(&sums[word * columns..], 1, columns);
        product(row, weights, of_one_word(features, word));
        add_assign(bias, row);
    }
    let mut of_candidate = vec![T::ZERO; columns * channels];
    for column in 0..columns {
        let weights = Matrix::strided(sums.get(column..).unwrap_or_default(), words, 1, columns);
        product(
            &mut of_candidate[column * channels..][..channels],
            weights.transposed(),
            of_one_column(features, column),
        );
    }
    let (for_own, for_candidate) = thetas.split_at_mut(own);
    product(
        for_own,
        Matrix::new(&example.vectors, words, dim).transposed(),
        Matrix::new(&of_word, words, channels),
    );
    product(
        for_candidate,
        Matrix::new(&forward.candidates, columns, dim).transposed(),
        Matrix::new(&of_candidate, columns, channels),
    );
    gradient
}

/// `[column, channel]`
fn of_one_word<T: Real>(features: &Features<T>, word: usize) -> Matrix<'_, T> {
    let (columns, channels) = (features.columns(), features.channels);
    Matrix::new(
        &features.values[word * columns * channels..],
        columns,
        channels,
    )
}

/// `[word, channel]`
fn of_one_column<T: Real>(features: &Features<T>, column: usize) -> Matrix<'_, T> {
    let (columns, channels) = (features.columns(), features.channels);
    let first = features.values.get(column * channels..).unwrap_or_default();
    Matrix::strided(first, features.words, channels, columns * channels)
}
