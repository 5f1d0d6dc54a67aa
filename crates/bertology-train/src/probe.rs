//! The probes: a distribution over candidate heads for every word of a sentence.
//!
//! With F the features of [`Features`](crate::Features), columns i in {ROOT, 1..m}, and
//! `F_c[j, ROOT] = Σ_q r_q F_c[j, q]` over the pieces of evidence q for ROOT:
//!
//! | probe | logit of candidate i for word j |
//! | --- | --- |
//! | [`Kind::Attention`] | `Σ_c θ_c F_c[j, i]` |
//! | [`Kind::Words`] | `Σ_c (W_c · (v_j ⊕ v_i) + b_c) F_c[j, i]` |
//! | [`Kind::Distance`] | `o · tanh(H · (d_ji ⊕ v_j ⊕ v_i) + h)` |
//!
//! Clark, Khandelwal, Levy and Manning 2019, section 5.2; the vector of ROOT is zero.

mod attention;
mod distance;
mod loss;
mod words;

use std::fmt;

use bertology_kernels::{Matrix, MatrixMut, Product, Real};
use serde::{Deserialize, Serialize};

use self::distance::{DISTANCES, HIDDEN};
use crate::error::expect;
use crate::random::Draws;
use crate::{Adam, Error, Example, Optimizer};

/// What a probe reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Attention alone: a weight per channel.
    Attention,
    /// Attention, weighted by what the two words are.
    Words,
    /// The two words and their distance, no attention: what the others must beat.
    Distance,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Attention, Self::Words, Self::Distance];

    /// The name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Attention => "attention",
            Self::Words => "words",
            Self::Distance => "distance",
        }
    }

    /// Whether it needs word vectors.
    #[must_use]
    pub fn reads_words(self) -> bool {
        self != Self::Attention
    }

    /// Whether it needs attention maps.
    #[must_use]
    pub fn reads_attention(self) -> bool {
        self != Self::Distance
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which candidate bears which word's vector.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Alignment {
    /// Each its own, ROOT zero.
    #[default]
    Correct,
    /// As in the released code: ROOT bears word 1's, candidate k word k+1's, the last one zero.
    Legacy,
}

/// Sizes that a probe's parameters depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Channels of the features: twice the heads.
    pub channels: usize,
    /// Pieces of evidence for ROOT.
    pub roots: usize,
    /// Length of a word vector.
    pub dim: usize,
}

/// A named array of a probe.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// `theta`, `root`, …
    pub name: &'static str,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: Vec<f32>,
}

/// A probe in training: parameters and the optimiser's state.
#[derive(Debug)]
pub struct Probe<T = f32> {
    kind: Kind,
    shape: Shape,
    alignment: Alignment,
    /// All arrays of [`layout`], in one row.
    values: Vec<T>,
    optimizer: Optimizer<T>,
}

/// What a forward pass leaves for the backward pass.
struct Forward<T> {
    /// `[word, candidate]`, ROOT first.
    logits: Vec<T>,
    /// Sums over channels `[word, column]`, or hidden units `[word, candidate, 256]`.
    inner: Vec<T>,
    /// `[column, dim]`: the vectors that the candidates bear; empty where no words are read.
    candidates: Vec<T>,
}

impl Probe {
    /// A probe with its first values: Glorot-uniform from the seed, biases zero.
    #[must_use]
    pub fn new(kind: Kind, shape: Shape, alignment: Alignment, adam: Adam, seed: u64) -> Self {
        let mut draws = Draws::new(seed, kind.name());
        let mut values = Vec::new();
        for (name, sizes) in layout(kind, shape) {
            let count = sizes.iter().product();
            let drawn = match sizes[..] {
                _ if name.ends_with("bias") => vec![0.0; count],
                [rows, columns] => draws.glorot(count, rows, columns),
                // Single scalars, as far as the initialiser can see.
                _ if name == "root" => draws.glorot(count, 1, 1),
                _ => draws.glorot(count, count, count),
            };
            values.extend(drawn.into_iter().map(|value| value as f32));
        }
        Self::with(kind, shape, alignment, adam, values)
    }

    /// The parameters as they are now.
    #[must_use]
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut rest = &self.values[..];
        let arrays = layout(self.kind, self.shape).into_iter();
        arrays
            .map(|(name, shape)| {
                let (values, behind) = rest.split_at(shape.iter().product());
                rest = behind;
                Parameter {
                    name,
                    shape,
                    values: values.to_vec(),
                }
            })
            .collect()
    }
}

impl<T: Real> Probe<T> {
    fn with(kind: Kind, shape: Shape, alignment: Alignment, adam: Adam, values: Vec<T>) -> Self {
        Self {
            kind,
            shape,
            alignment,
            optimizer: Optimizer::new(adam, values.len()),
            values,
        }
    }

    /// What it reads.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Numbers that are learnt.
    #[must_use]
    pub fn size(&self) -> usize {
        self.values.len()
    }

    /// The loss of a sentence: the sum of the cross-entropies of its words, in nats.
    ///
    /// # Errors
    /// An example of another shape.
    pub fn loss(&self, example: &Example<T>) -> Result<f64, Error> {
        let forward = self.forward(example)?;
        Ok(loss::cross_entropy(&forward.logits, &example.heads).0)
    }

    /// One step of Adam on a sentence; gives the loss before the step.
    ///
    /// # Errors
    /// An example of another shape, or a loss that is not finite: then the parameters are as before.
    pub fn step(&mut self, sentence: usize, example: &Example<T>) -> Result<f64, Error> {
        let (loss, gradient) = self.gradient(example)?;
        if !loss.is_finite() {
            return Err(Error::NotFinite {
                probe: self.kind.name(),
                sentence,
                loss,
            });
        }
        self.optimizer.step(&mut self.values, &gradient, 1.0);
        Ok(loss)
    }

    /// For each word the candidate with the highest logit, the first of equals: 0 for ROOT, else a word's
    /// number from 1.
    ///
    /// # Errors
    /// An example of another shape.
    pub fn predict(&self, example: &Example<T>) -> Result<Vec<u32>, Error> {
        let logits = self.forward(example)?.logits;
        let rows = logits.chunks_exact(example.features.words + 1);
        Ok(rows
            .map(|row| {
                let mut best = 0;
                for (at, logit) in row.iter().enumerate() {
                    if *logit > row[best] {
                        best = at;
                    }
                }
                // Sentences are far shorter than 2³².
                best as u32
            })
            .collect())
    }

    /// The loss, and its gradient with respect to the parameters.
    fn gradient(&self, example: &Example<T>) -> Result<(f64, Vec<T>), Error> {
        let (shape, values) = (self.shape, &self.values[..]);
        let forward = self.forward(example)?;
        let (loss, logits) = loss::cross_entropy(&forward.logits, &example.heads);
        let gradient = match self.kind {
            Kind::Attention => attention::backward(values, &example.features, &forward, &logits),
            Kind::Words => words::backward(shape, values, example, &forward, &logits),
            Kind::Distance => distance::backward(shape.dim, values, example, &forward, &logits),
        };
        Ok((loss, gradient))
    }

    fn forward(&self, example: &Example<T>) -> Result<Forward<T>, Error> {
        self.check(example)?;
        let (shape, values) = (self.shape, &self.values[..]);
        Ok(match self.kind {
            Kind::Attention => attention::forward(values, &example.features),
            Kind::Words => {
                let candidates = self.candidates(example, shape.roots);
                words::forward(shape, values, example, candidates)
            }
            Kind::Distance => {
                let candidates = self.candidates(example, 1);
                distance::forward(shape.dim, values, example, candidates)
            }
        })
    }

    fn check(&self, example: &Example<T>) -> Result<(), Error> {
        let features = &example.features;
        let words = features.words;
        expect("gold heads", example.heads.len(), words)?;
        let beyond = example.heads.iter().map(|head| *head as usize);
        if let Some(beyond) = beyond.filter(|head| *head > words).max() {
            expect("gold head of a word", beyond, words)?;
        }
        if self.kind.reads_words() {
            expect(
                "word vectors",
                example.vectors.len(),
                words * self.shape.dim,
            )?;
        }
        if self.kind.reads_attention() {
            expect(
                "channels of the features",
                features.channels,
                self.shape.channels,
            )?;
            expect("evidence for ROOT", features.roots, self.shape.roots)?;
        }
        Ok(())
    }

    /// `[columns, dim]`: what ROOT bears, `roots` times, then what each candidate word bears.
    fn candidates(&self, example: &Example<T>, roots: usize) -> Vec<T> {
        let (vectors, dim) = (&example.vectors[..], self.shape.dim);
        let size = (roots + example.features.words) * dim;
        let mut all = Vec::with_capacity(size);
        match self.alignment {
            Alignment::Correct => {
                all.resize(roots * dim, T::ZERO);
                all.extend_from_slice(vectors);
            }
            Alignment::Legacy => {
                let (first, rest) = vectors.split_at(dim.min(vectors.len()));
                all.extend(first.repeat(roots));
                all.extend_from_slice(rest);
                all.resize(size, T::ZERO);
            }
        }
        all
    }
}

/// `dst = a · b`, all of it: what a probe multiplies is too small for several threads.
fn product<T: Real>(dst: &mut [T], a: Matrix<'_, T>, b: Matrix<'_, T>) {
    Product::replace(1).run(MatrixMut::new(dst, a.rows(), b.cols()), a, b);
}

/// Names and shapes of a probe's parameters.
fn layout(kind: Kind, shape: Shape) -> Vec<(&'static str, Vec<usize>)> {
    let Shape {
        channels,
        roots,
        dim,
    } = shape;
    match kind {
        Kind::Attention => vec![("theta", vec![channels]), ("root", vec![roots])],
        Kind::Words => vec![
            ("theta", vec![2 * dim, channels]),
            ("bias", vec![channels]),
            ("root", vec![roots]),
        ],
        // No bias behind the output: it would be the same for all candidates of a word.
        Kind::Distance => vec![
            ("hidden", vec![DISTANCES + 2 * dim, HIDDEN]),
            ("hidden_bias", vec![HIDDEN]),
            ("out", vec![HIDDEN, 1]),
        ],
    }
}

#[cfg(test)]
mod tests;
