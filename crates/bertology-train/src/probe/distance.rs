//! The probe on words and their distance, without attention: `o · tanh(H · (d_ji ⊕ v_j ⊕ v_i) + h)`.
//!
//! H is three parts, and what a word or a candidate adds to the hidden units is computed once for all its pairs.

use bertology_kernels::elementwise::add_assign;
use bertology_kernels::{Activation, Matrix, MatrixMut, Product, Real};

use super::{Forward, product};
use crate::Example;

/// Hidden units.
pub(super) const HIDDEN: usize = 256;
/// Numbers that describe the distance between two words.
pub(super) const DISTANCES: usize = 8;

/// Where the arrays end in a row of parameters: those of the distance, of the own vector, of the candidate's, and the
/// bias.
fn ends(dim: usize) -> [usize; 4] {
    [0, dim, 2 * dim, 2 * dim + 1].map(|rows| (DISTANCES + rows) * HIDDEN)
}

/// `parameters`: hidden `[8 + 2 dim, 256]`, its bias `[256]`, out `[256]`. `candidates [word + 1, dim]`.
pub(super) fn forward<T: Real>(
    dim: usize,
    parameters: &[T],
    example: &Example<T>,
    candidates: Vec<T>,
) -> Forward<T> {
    let words = example.features.words;
    let [distance, own, candidate, bias] = ends(dim);
    let mut of_word = parameters[candidate..bias].repeat(words);
    Product::add(1).run(
        MatrixMut::new(&mut of_word, words, HIDDEN),
        Matrix::new(&example.vectors, words, dim),
        Matrix::new(&parameters[distance..own], dim, HIDDEN),
    );
    let mut of_candidate = vec![T::ZERO; (words + 1) * HIDDEN];
    product(
        &mut of_candidate,
        Matrix::new(&candidates, words + 1, dim),
        Matrix::new(&parameters[own..candidate], dim, HIDDEN),
    );
    let pairs = words * (words + 1);
    let mut sums = of_candidate.repeat(words);
    for (pair, row) in sums.chunks_exact_mut(HIDDEN).enumerate() {
        add_assign(row, &of_word[pair / (words + 1) * HIDDEN..][..HIDDEN]);
    }
    Product::add(1).run(
        MatrixMut::new(&mut sums, pairs, HIDDEN),
        Matrix::new(&distances(words), pairs, DISTANCES),
        Matrix::new(&parameters[..distance], DISTANCES, HIDDEN),
    );
    let mut units = vec![T::ZERO; sums.len()];
    Activation::Tanh.forward(&mut units, &sums);
    let mut logits = vec![T::ZERO; pairs];
    product(
        &mut logits,
        Matrix::new(&units, pairs, HIDDEN),
        Matrix::new(&parameters[bias..], HIDDEN, 1),
    );
    Forward {
        logits,
        inner: units,
        candidates,
    }
}

/// The gradient with respect to the parameters, from that with respect to the logits.
pub(super) fn backward<T: Real>(
    dim: usize,
    parameters: &[T],
    example: &Example<T>,
    forward: &Forward<T>,
    logits: &[T],
) -> Vec<T> {
    let words = example.features.words;
    let [distance, own, candidate, bias] = ends(dim);
    let pairs = logits.len();
    let mut gradient = vec![T::ZERO; parameters.len()];
    let (rest, for_out) = gradient.split_at_mut(bias);
    let (hidden, for_bias) = rest.split_at_mut(candidate);
    let units = Matrix::new(&forward.inner, pairs, HIDDEN);
    product(for_out, Matrix::new(logits, 1, pairs), units);
    // With respect to what tanh was taken of, and its sums over the pairs of a word and of a candidate.
    let mut sums = forward.inner.clone();
    let mut of_word = vec![T::ZERO; words * HIDDEN];
    let mut of_candidate = vec![T::ZERO; (words + 1) * HIDDEN];
    let out = &parameters[bias..];
    for (pair, row) in sums.chunks_exact_mut(HIDDEN).enumerate() {
        for (unit, weight) in row.iter_mut().zip(out) {
            *unit = logits[pair] * *weight * (T::ONE - *unit * *unit);
        }
        let (word, candidate) = (pair / (words + 1), pair % (words + 1));
        add_assign(&mut of_word[word * HIDDEN..][..HIDDEN], row);
        add_assign(&mut of_candidate[candidate * HIDDEN..][..HIDDEN], row);
    }
    for row in of_word.chunks_exact(HIDDEN) {
        add_assign(for_bias, row);
    }
    let (for_distance, rest) = hidden.split_at_mut(distance);
    let (for_own, for_candidate) = rest.split_at_mut(own - distance);
    product(
        for_distance,
        Matrix::new(&distances(words), pairs, DISTANCES).transposed(),
        Matrix::new(&sums, pairs, HIDDEN),
    );
    product(
        for_own,
        Matrix::new(&example.vectors, words, dim).transposed(),
        Matrix::new(&of_word, words, HIDDEN),
    );
    product(
        for_candidate,
        Matrix::new(&forward.candidates, words + 1, dim).transposed(),
        Matrix::new(&of_candidate, words + 1, HIDDEN),
    );
    gradient
}

/// `[word j, candidate i, 8]`: `(i-j)⁺/m`, `(j-i)⁺/m`, whether `i-j` is -2, -1, 0, 1, 2, whether i is ROOT;
/// words are numbered from 1, and ROOT is 0.
fn distances<T: Real>(words: usize) -> Vec<T> {
    let mut values = Vec::with_capacity(words * (words + 1) * DISTANCES);
    let whether = |is: bool| if is { T::ONE } else { T::ZERO };
    let share = |part: usize| T::from_f64(part as f64 / words as f64);
    for word in 1..=words {
        for candidate in 0..=words {
            values.push(share(candidate.saturating_sub(word)));
            values.push(share(word.saturating_sub(candidate)));
            for offset in -2_isize..=2 {
                values.push(whether(word.checked_add_signed(offset) == Some(candidate)));
            }
            values.push(whether(candidate == 0));
        }
    }
    values
}
