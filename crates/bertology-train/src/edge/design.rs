//! What a probe is: which layers it reads, how it sees a span, how it decides.

use std::ops::Range;

use bertology_kernels::Real;
use serde::{Deserialize, Serialize};

use super::{Fault, LayerStates, Split};
use crate::Error;
use crate::random::Draws;

/// Which layers a probe reads; 0 is the embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reading {
    /// All up to this one, mixed: `x = γ Σ_l softmax(a)_l h_l` (the cumulative probes of the ACL paper).
    Mix(u16),
    /// This one alone; nothing is learnt about layers.
    Single(u16),
}

impl Reading {
    /// The highest layer that is read.
    #[must_use]
    pub fn top(self) -> usize {
        let (Self::Mix(layer) | Self::Single(layer)) = self;
        usize::from(layer)
    }

    /// Mixing logits and the scale γ.
    fn parameters(self) -> usize {
        match self {
            Self::Mix(top) => usize::from(top) + 2,
            Self::Single(_) => 0,
        }
    }
}

/// How the vectors of a span become one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// Weighted by a softmax over the span of `w · v + c` (Lee, He, Lewis and Zettlemoyer 2017); both papers.
    #[default]
    Attention,
    /// Their mean: the control that learns no weights.
    Mean,
    /// The last one: the only one that has seen the whole span in a causal model.
    Last,
    /// The first and the last, side by side.
    Endpoints,
}

impl Pooling {
    /// Vectors that a span becomes.
    pub(crate) fn parts(self) -> usize {
        match self {
            Self::Endpoints => 2,
            Self::Attention | Self::Mean | Self::Last => 1,
        }
    }
}

/// From the vectors of the spans to logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Classifier {
    /// `B · dropout(norm(tanh(A z + a))) + b` with this many units.
    Mlp(usize),
    /// `B z + b`.
    Linear,
}

/// From logits to probabilities, and to a loss.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// Each label by itself: σ and binary cross-entropy. A label is given where its logit is not negative: none, one
    /// or several of them.
    #[default]
    Sigmoid,
    /// One label of all: softmax and cross-entropy. The label with the highest logit is given, the first of equals.
    Softmax,
}

/// What all probes of a suite have in common.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Design {
    /// How a span becomes a vector.
    pub pooling: Pooling,
    /// Width of the projection, apart for each role.
    pub projection: usize,
    /// From the vectors to logits.
    pub classifier: Classifier,
    /// From logits to probabilities.
    pub output: Output,
    /// How often a number of the mixed vector is zeroed in training: one mask for both roles.
    pub input_dropout: f64,
    /// How often a unit of the classifier is zeroed in training.
    pub unit_dropout: f64,
}

impl Default for Design {
    /// That of the papers' code.
    fn default() -> Self {
        Self {
            pooling: Pooling::Attention,
            projection: 256,
            classifier: Classifier::Mlp(256),
            output: Output::Sigmoid,
            input_dropout: 0.2,
            unit_dropout: 0.3,
        }
    }
}

/// Epsilon of the layer norm, as PyTorch's default.
pub(crate) const NORM_EPSILON: f64 = 1e-5;

/// All sizes of one probe, and where its parameters lie in one row of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shape {
    pub(crate) design: Design,
    pub(crate) reading: Reading,
    /// Numbers of a layer.
    pub(crate) hidden: usize,
    pub(crate) roles: usize,
    pub(crate) classes: usize,
}

/// Where the parameters of a role lie.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RoleLayout {
    /// `[projection, hidden]`
    pub(crate) weight: Range<usize>,
    /// `[projection]`
    pub(crate) bias: Range<usize>,
    /// `[projection]`, and behind it one number, the bias of the attention logit; empty without attention.
    pub(crate) attention: Range<usize>,
}

/// Where the parameters of a probe lie.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layout {
    /// Mixing logits `[layers read]`; empty where one layer is read.
    pub(crate) mixing: Range<usize>,
    /// γ; empty where one layer is read.
    pub(crate) gamma: Range<usize>,
    pub(crate) roles: Vec<RoleLayout>,
    /// `[outer, roles · parts · projection]`: A, or B of a linear classifier.
    pub(crate) outer: Range<usize>,
    /// `[outer]`
    pub(crate) outer_bias: Range<usize>,
    /// Norm's weight, norm's bias `[units]`; empty where linear.
    pub(crate) norm: [Range<usize>; 2],
    /// `[classes, units]`; empty where linear.
    pub(crate) inner: Range<usize>,
    /// `[classes]`; empty where linear.
    pub(crate) inner_bias: Range<usize>,
    pub(crate) size: usize,
}

/// A named array of a probe.
#[derive(Debug, Clone, PartialEq)]
pub struct Array<'a> {
    /// `mix.logits`, `span1.weight`, …
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: &'a [f32],
}

impl Shape {
    /// # Errors
    /// A layer that the states do not have; sizes of zero; probabilities that are none.
    pub(crate) fn new(
        design: Design,
        reading: Reading,
        states: &dyn LayerStates,
        split: &Split,
    ) -> Result<Self, Error> {
        let bad = |what, value: f64| Err(Fault::Design { what, value }.into());
        if reading.top() >= states.layers() {
            return Err(Fault::Layer {
                layer: reading.top(),
                layers: states.layers(),
            }
            .into());
        }
        if design.projection == 0 {
            return bad("width of the projection", 0.0);
        }
        if design.classifier == Classifier::Mlp(0) {
            return bad("number of units", 0.0);
        }
        for (what, value) in [
            ("dropout of the input", design.input_dropout),
            ("dropout of the units", design.unit_dropout),
        ] {
            if !(0.0..1.0).contains(&value) {
                return bad(what, value);
            }
        }
        Ok(Self {
            design,
            reading,
            hidden: states.hidden(),
            roles: split.roles(),
            classes: split.classes(),
        })
    }

    /// Layers that are read, from 0.
    pub(crate) fn layers(&self) -> usize {
        self.reading.top() + 1
    }

    /// Vectors of a role.
    pub(crate) fn parts(&self) -> usize {
        self.design.pooling.parts()
    }

    /// Rows of the matrix behind the projections: units, or classes.
    pub(crate) fn outer(&self) -> usize {
        match self.design.classifier {
            Classifier::Mlp(units) => units,
            Classifier::Linear => self.classes,
        }
    }

    /// Width of z.
    pub(crate) fn joined(&self) -> usize {
        self.roles * self.parts() * self.design.projection
    }

    pub(crate) fn is_mlp(&self) -> bool {
        self.design.classifier != Classifier::Linear
    }

    pub(crate) fn attends(&self) -> bool {
        self.design.pooling == Pooling::Attention
    }

    pub(crate) fn layout(&self) -> Layout {
        let mut end = 0;
        let mut next = |count: usize| {
            let start = end;
            end += count;
            start..end
        };
        let read = self.reading.parameters();
        let (mixing, gamma) = (next(read.saturating_sub(1)), next(read.min(1)));
        let projection = self.design.projection;
        let roles = (0..self.roles)
            .map(|_| RoleLayout {
                weight: next(projection * self.hidden),
                bias: next(projection),
                attention: next(if self.attends() { projection + 1 } else { 0 }),
            })
            .collect();
        let outer = next(self.outer() * self.joined());
        let outer_bias = next(self.outer());
        let units = if self.is_mlp() { self.outer() } else { 0 };
        let norm = [next(units), next(units)];
        let inner = next(self.classes * units);
        let inner_bias = next(if self.is_mlp() { self.classes } else { 0 });
        Layout {
            mixing,
            gamma,
            roles,
            outer,
            outer_bias,
            norm,
            inner,
            inner_bias,
            size: end,
        }
    }

    /// First values: linear maps uniform in ±1/√fan_in as PyTorch's, the norm 1 and 0, mixing logits 0, γ 1.
    ///
    /// Each array has a stream of its own that depends on the seed and on its name, so that the probes of a seed have
    /// the same first values wherever they have the same arrays.
    pub(crate) fn first_values<T: Real>(&self, seed: u64) -> Vec<T> {
        let layout = self.layout();
        let mut values = vec![T::ZERO; layout.size];
        let mut draw = |name: &str, range: &Range<usize>, fan_in: usize| {
            let limit = (fan_in.max(1) as f64).sqrt().recip();
            let drawn = Draws::new(seed, name).uniform(range.len(), limit);
            for (value, drawn) in values[range.clone()].iter_mut().zip(drawn) {
                *value = T::from_f64(drawn);
            }
        };
        let projection = self.design.projection;
        for (role, at) in layout.roles.iter().enumerate() {
            let name = |what| format!("span{}.{what}", role + 1);
            draw(&name("weight"), &at.weight, self.hidden);
            draw(&name("bias"), &at.bias, self.hidden);
            draw(&name("attention"), &at.attention, projection);
        }
        draw("outer.weight", &layout.outer, self.joined());
        draw("outer.bias", &layout.outer_bias, self.joined());
        draw("inner.weight", &layout.inner, self.outer());
        draw("inner.bias", &layout.inner_bias, self.outer());
        values[layout.gamma].fill(T::ONE);
        values[layout.norm[0].clone()].fill(T::ONE);
        values
    }

    /// The parameters by name, those without numbers left out.
    pub(crate) fn arrays<'a>(&self, values: &'a [f32]) -> Vec<Array<'a>> {
        let layout = self.layout();
        let (projection, outer) = (self.design.projection, self.outer());
        let mut arrays = Vec::new();
        let mut add = |name: String, range: Range<usize>, shape: &[usize]| {
            if !range.is_empty() {
                arrays.push(Array {
                    name,
                    shape: shape.to_vec(),
                    values: &values[range],
                });
            }
        };
        add("mix.logits".into(), layout.mixing, &[self.layers()]);
        add("mix.gamma".into(), layout.gamma, &[]);
        for (role, at) in layout.roles.into_iter().enumerate() {
            let name = |what| format!("span{}.{what}", role + 1);
            add(name("weight"), at.weight, &[projection, self.hidden]);
            add(name("bias"), at.bias, &[projection]);
            if !at.attention.is_empty() {
                let bias = at.attention.end - 1;
                add(
                    name("attention.weight"),
                    at.attention.start..bias,
                    &[projection],
                );
                add(name("attention.bias"), bias..bias + 1, &[]);
            }
        }
        add("outer.weight".into(), layout.outer, &[outer, self.joined()]);
        add("outer.bias".into(), layout.outer_bias, &[outer]);
        let [weight, bias] = layout.norm;
        add("norm.weight".into(), weight, &[outer]);
        add("norm.bias".into(), bias, &[outer]);
        add("inner.weight".into(), layout.inner, &[self.classes, outer]);
        add("inner.bias".into(), layout.inner_bias, &[self.classes]);
        arrays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(roles: usize, hidden: usize, classes: usize, reading: Reading) -> Shape {
        Shape {
            design: Design::default(),
            reading,
            hidden,
            roles,
            classes,
        }
    }

    /// The papers' probes: 263,425 + 257 C numbers for one span of BERT-base, 526,082 + 257 C for two, and m + 2.
    #[test]
    fn probes_have_the_papers_sizes() {
        for classes in [2, 49] {
            for top in [0_u16, 12] {
                let size = |roles| shape(roles, 768, classes, Reading::Mix(top)).layout().size;
                assert_eq!(size(1), 263_425 + 257 * classes + usize::from(top) + 2);
                assert_eq!(size(2), 526_082 + 257 * classes + usize::from(top) + 2);
            }
        }
        assert_eq!(
            shape(1, 768, 2, Reading::Single(3)).layout().size,
            263_425 + 514
        );
    }

    #[test]
    fn probes_of_a_seed_begin_alike() {
        let (low, high) = (
            shape(2, 20, 3, Reading::Mix(0)),
            shape(2, 20, 3, Reading::Mix(4)),
        );
        let (a, b): (Vec<f32>, Vec<f32>) = (low.first_values(7), high.first_values(7));
        assert_eq!(a[2..], b[6..]);
        assert_eq!(b[..6], [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_ne!(a, low.first_values::<f32>(8));
        let arrays = high.arrays(&b);
        let of = |name: &str| arrays.iter().find(|array| array.name == name).unwrap();
        assert!(of("norm.weight").values.iter().all(|v| *v == 1.0));
        assert!(of("norm.bias").values.iter().all(|v| *v == 0.0));
        assert_ne!(of("span1.weight").values, of("span2.weight").values);
        // Uniform within ±1/√20: the largest of 5,120 is near the limit.
        let limit = 20.0_f32.sqrt().recip();
        let largest = of("span1.weight")
            .values
            .iter()
            .fold(0.0_f32, |m, v| m.max(v.abs()));
        assert!(
            largest <= limit && largest > 0.99 * limit,
            "{largest} {limit}"
        );
        assert_eq!(
            arrays.iter().map(|array| array.values.len()).sum::<usize>(),
            b.len()
        );
    }
}
