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

use std::fmt;

use candle_core::{D, DType, Device, Tensor, Var};
use candle_nn::ops::log_softmax;
use candle_nn::optim::{AdamW, Optimizer, ParamsAdamW};
use serde::{Deserialize, Serialize};

use crate::error::expect;
use crate::random::Draws;
use crate::{Error, Example};

/// Hidden units of the probe on distances and words.
const HIDDEN: usize = 256;
/// Numbers that describe the distance between two words.
const DISTANCES: usize = 8;

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

/// Adam's constants.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Adam {
    /// Learning rate.
    pub learning_rate: f64,
    /// Decay of the mean gradient.
    pub beta1: f64,
    /// Decay of the mean squared gradient.
    pub beta2: f64,
    /// Added to the root of the mean square.
    pub epsilon: f64,
}

impl Default for Adam {
    /// Those of the paper's code.
    fn default() -> Self {
        Self {
            learning_rate: 0.002,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        }
    }
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

/// A probe in training: parameters and Adam's state.
#[derive(Debug)]
pub struct Probe {
    kind: Kind,
    shape: Shape,
    alignment: Alignment,
    parameters: Vec<(&'static str, Var)>,
    optimizer: AdamW,
}

impl Probe {
    /// A probe with its first values: Glorot-uniform from the seed, biases zero.
    ///
    /// # Errors
    /// [`Error::Tensor`].
    pub fn new(
        kind: Kind,
        shape: Shape,
        alignment: Alignment,
        adam: Adam,
        seed: u64,
    ) -> Result<Self, Error> {
        let mut draws = Draws::new(seed, kind.name());
        let values = layout(kind, shape)
            .into_iter()
            .map(|(name, sizes)| {
                let count = sizes.iter().product();
                let values = match sizes[..] {
                    _ if name.ends_with("bias") => vec![0.0; count],
                    [rows, columns] => draws.glorot(count, rows, columns),
                    // Single scalars, as far as the initialiser can see.
                    _ if name == "root" => draws.glorot(count, 1, 1),
                    _ => draws.glorot(count, count, count),
                };
                Ok((name, Tensor::from_vec(values, sizes, &Device::Cpu)?))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        Self::with(kind, shape, alignment, adam, values, DType::F32)
    }

    fn with(
        kind: Kind,
        shape: Shape,
        alignment: Alignment,
        adam: Adam,
        values: Vec<(&'static str, Tensor)>,
        precision: DType,
    ) -> Result<Self, Error> {
        let parameters = values
            .into_iter()
            .map(|(name, tensor)| {
                // A copy: a parameter of its own must not change what it came from.
                let tensor = tensor.to_dtype(precision)?.copy()?;
                Ok((name, Var::from_tensor(&tensor)?))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let vars = parameters.iter().map(|(_, var)| var.clone()).collect();
        let optimizer = AdamW::new(
            vars,
            ParamsAdamW {
                lr: adam.learning_rate,
                beta1: adam.beta1,
                beta2: adam.beta2,
                eps: adam.epsilon,
                // Without decay AdamW is Adam.
                weight_decay: 0.0,
            },
        )?;
        Ok(Self {
            kind,
            shape,
            alignment,
            parameters,
            optimizer,
        })
    }

    /// What it reads.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Numbers that are learnt.
    #[must_use]
    pub fn size(&self) -> usize {
        self.parameters
            .iter()
            .map(|(_, var)| var.elem_count())
            .sum()
    }

    /// The parameters as they are now.
    ///
    /// # Errors
    /// [`Error::Tensor`].
    pub fn parameters(&self) -> Result<Vec<Parameter>, Error> {
        self.parameters
            .iter()
            .map(|(name, var)| {
                Ok(Parameter {
                    name,
                    shape: var.dims().to_vec(),
                    values: var.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?,
                })
            })
            .collect()
    }

    /// The loss of a sentence: the sum of the cross-entropies of its words, in nats.
    ///
    /// # Errors
    /// An example of another shape.
    pub fn loss(&self, example: &Example) -> Result<f64, Error> {
        number(&self.loss_tensor(example)?)
    }

    /// One step of Adam on a sentence; gives the loss before the step.
    ///
    /// # Errors
    /// An example of another shape, or a loss that is not finite: then the parameters are as before.
    pub fn step(&mut self, sentence: usize, example: &Example) -> Result<f64, Error> {
        let tensor = self.loss_tensor(example)?;
        let loss = number(&tensor)?;
        if !loss.is_finite() {
            return Err(Error::NotFinite {
                probe: self.kind.name(),
                sentence,
                loss,
            });
        }
        self.optimizer.backward_step(&tensor)?;
        Ok(loss)
    }

    /// For each word the candidate with the highest logit, the first of equals: 0 for ROOT, else a word's
    /// number from 1.
    ///
    /// # Errors
    /// An example of another shape.
    pub fn predict(&self, example: &Example) -> Result<Vec<u32>, Error> {
        let logits = self.logits(example)?.to_dtype(DType::F32)?;
        Ok(logits
            .to_vec2::<f32>()?
            .iter()
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

    fn var(&self, name: &'static str) -> &Tensor {
        let found = self.parameters.iter().find(|(of, _)| *of == name);
        found
            .map(|(_, var)| var.as_tensor())
            .expect("`layout` names the parameters of each kind")
    }

    fn precision(&self) -> DType {
        self.parameters
            .first()
            .map_or(DType::F32, |(_, var)| var.dtype())
    }

    fn tensor(
        &self,
        values: Vec<f32>,
        shape: impl Into<candle_core::Shape>,
    ) -> Result<Tensor, Error> {
        let tensor = Tensor::from_vec(values, shape.into(), &Device::Cpu)?;
        Ok(tensor.to_dtype(self.precision())?)
    }

    fn loss_tensor(&self, example: &Example) -> Result<Tensor, Error> {
        let words = example.features.words;
        expect("gold heads", example.heads.len(), words)?;
        let beyond = example.heads.iter().map(|head| *head as usize);
        if let Some(beyond) = beyond.filter(|head| *head > words).max() {
            expect("gold head of a word", beyond, words)?;
        }
        let gold = Tensor::from_slice(&example.heads, (words, 1), &Device::Cpu)?;
        let log = log_softmax(&self.logits(example)?, D::Minus1)?;
        Ok(log.gather(&gold, 1)?.sum_all()?.neg()?)
    }

    /// `[word, candidate]`, ROOT first.
    fn logits(&self, example: &Example) -> Result<Tensor, Error> {
        let (words, dim) = (example.features.words, self.shape.dim);
        if self.kind.reads_words() {
            expect("word vectors", example.vectors.len(), words * dim)?;
        }
        match self.kind {
            Kind::Attention | Kind::Words => self.attention_logits(example),
            Kind::Distance => self.distance_logits(example),
        }
    }

    fn attention_logits(&self, example: &Example) -> Result<Tensor, Error> {
        let Shape {
            channels,
            roots,
            dim,
        } = self.shape;
        let (words, columns) = (example.features.words, example.features.columns());
        expect(
            "channels of the features",
            example.features.channels,
            channels,
        )?;
        expect("evidence for ROOT", example.features.roots, roots)?;
        let features = self.tensor(example.features.values.clone(), (words, columns, channels))?;
        let theta = self.var("theta");
        // [word, column]: the sum over channels, the columns of evidence for ROOT still apart.
        let sums = if self.kind == Kind::Attention {
            features
                .reshape((words * columns, channels))?
                .matmul(&theta.reshape((channels, 1))?)?
                .reshape((words, columns))?
        } else {
            let own = self.tensor(example.vectors.clone(), (words, dim))?;
            let candidates = self.candidates(example, roots)?;
            let of_word = own
                .matmul(&theta.narrow(0, 0, dim)?)?
                .broadcast_add(self.var("bias"))?;
            let of_candidate = candidates.matmul(&theta.narrow(0, dim, dim)?)?;
            let from_words = features.matmul(&of_word.unsqueeze(2)?)?.squeeze(2)?;
            let from_candidates = features
                .transpose(0, 1)?
                .matmul(&of_candidate.unsqueeze(2)?)?
                .squeeze(2)?;
            (from_words + from_candidates.t()?)?
        };
        let root = sums
            .narrow(1, 0, roots)?
            .contiguous()?
            .matmul(&self.var("root").reshape((roots, 1))?)?;
        Ok(Tensor::cat(&[root, sums.narrow(1, roots, words)?], 1)?)
    }

    /// `[columns, dim]`: what ROOT bears, `roots` times, then what each candidate word bears.
    fn candidates(&self, example: &Example, roots: usize) -> Result<Tensor, Error> {
        let (words, dim) = (example.features.words, self.shape.dim);
        let zero = vec![0.0; dim];
        let (root, rest): (&[f32], Vec<&[f32]>) = match self.alignment {
            Alignment::Correct => (&zero, example.vectors.chunks_exact(dim).collect()),
            Alignment::Legacy => {
                let mut vectors = example.vectors.chunks_exact(dim);
                let root = vectors.next().unwrap_or(&zero);
                (root, vectors.chain([&zero[..]]).collect())
            }
        };
        let all: Vec<&[f32]> = vec![root; roots].into_iter().chain(rest).collect();
        self.tensor(all.concat(), (roots + words, dim))
    }

    fn distance_logits(&self, example: &Example) -> Result<Tensor, Error> {
        let (words, dim) = (example.features.words, self.shape.dim);
        let distances = self.tensor(distances(words), (words * (words + 1), DISTANCES))?;
        let hidden = self.var("hidden");
        let own = self.tensor(example.vectors.clone(), (words, dim))?;
        let own = own.matmul(&hidden.narrow(0, DISTANCES, dim)?)?;
        let candidates = self.candidates(example, 1)?;
        let candidates = candidates.matmul(&hidden.narrow(0, DISTANCES + dim, dim)?)?;
        let sums = distances
            .matmul(&hidden.narrow(0, 0, DISTANCES)?)?
            .reshape((words, words + 1, HIDDEN))?
            .broadcast_add(&own.unsqueeze(1)?)?
            .broadcast_add(&candidates.unsqueeze(0)?)?
            .broadcast_add(self.var("hidden_bias"))?;
        Ok(sums
            .tanh()?
            .reshape((words * (words + 1), HIDDEN))?
            .matmul(self.var("out"))?
            .reshape((words, words + 1))?)
    }
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

/// `[word j, candidate i, 8]`: `(i-j)⁺/m`, `(j-i)⁺/m`, whether `i-j` is -2, -1, 0, 1, 2, whether i is ROOT;
/// words are numbered from 1, and ROOT is 0.
fn distances(words: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(words * (words + 1) * DISTANCES);
    let length = words as f32;
    for word in 1..=words {
        for candidate in 0..=words {
            values.push(candidate.saturating_sub(word) as f32 / length);
            values.push(word.saturating_sub(candidate) as f32 / length);
            for offset in -2_isize..=2 {
                let is = word.checked_add_signed(offset) == Some(candidate);
                values.push(f32::from(u8::from(is)));
            }
            values.push(f32::from(u8::from(candidate == 0)));
        }
    }
    values
}

fn number(tensor: &Tensor) -> Result<f64, Error> {
    Ok(tensor.to_dtype(DType::F64)?.to_scalar()?)
}

#[cfg(test)]
mod tests;
