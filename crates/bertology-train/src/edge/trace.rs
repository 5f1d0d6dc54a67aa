//! Targets one by one: at which layer the probes come to the right answer, and stay with it.
//!
//! Tenney, Das and Pavlick 2019 (ACL), section 4.1, look at the probabilities of each layer's probe for a target; they do
//! not say how sigmoids are brought to the sum 1. Here `p̃_c = σ(o_c) / Σ σ(o)`, and with a softmax its
//! probabilities, averaged over seeds. The probes of two layers are trained apart, so that an answer that
//! flips may be the encoder's or the probes' doing: averages over several seeds say more.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::tally::best;
use super::{Output, Split};

/// Targets whose largest layer-average of p̃ is at most this are ambiguous.
pub const AMBIGUOUS: f64 = 0.7;
/// The least that p̃ of the right label has to rise from the first to the last layer for [`Trace::expected_layer`].
pub const LEAST_RISE: f64 = 0.1;

/// The probabilities of every layer for every target, averaged over seeds.
#[derive(Debug, Clone, PartialEq)]
pub struct Traces {
    layers: usize,
    classes: usize,
    /// `[target][layer][class]`: sums over seeds
    sums: Vec<f32>,
    /// Of each layer.
    seeds: Vec<u32>,
}

/// What became of a target from layer to layer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// The lowest layer whose answer is right.
    pub first_correct: Option<usize>,
    /// The lowest layer from which on all answers are right: `None` if the last one is wrong.
    pub stable: Option<usize>,
    /// How often right turns to wrong or wrong to right between neighbouring layers.
    pub flips: usize,
    /// `Σ l δ_l / Σ δ_l` with δ the rises of p̃ of the right label; only if it rises by [`LEAST_RISE`] in all.
    pub expected_layer: Option<f64>,
}

impl Trace {
    /// Of whether each layer's answer is right, and of its p̃ for the right label.
    #[must_use]
    pub fn new(correct: &[bool], truth: &[f64]) -> Self {
        let behind_wrong = correct
            .iter()
            .rposition(|right| !right)
            .map_or(0, |at| at + 1);
        let rises: Vec<f64> = truth.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let rise: f64 = rises.iter().sum();
        let layers = rises
            .iter()
            .zip(1_u32..)
            .map(|(rise, l)| rise * f64::from(l));
        Self {
            first_correct: correct.iter().position(|right| *right),
            stable: (behind_wrong < correct.len()).then_some(behind_wrong),
            flips: correct.windows(2).filter(|pair| pair[0] != pair[1]).count(),
            expected_layer: (rise >= LEAST_RISE).then(|| layers.sum::<f64>() / rise),
        }
    }

    /// Right at every layer.
    #[must_use]
    pub fn is_trivial(&self) -> bool {
        self.stable == Some(0)
    }

    /// Right at no layer.
    #[must_use]
    pub fn is_never(&self) -> bool {
        self.first_correct.is_none()
    }
}

impl Traces {
    /// Of nothing yet.
    ///
    /// Takes 4 bytes for each target, layer and class.
    #[must_use]
    pub fn new(split: &Split, layers: usize) -> Self {
        let classes = split.classes();
        Self {
            layers,
            classes,
            sums: vec![0.0; split.targets() * layers * classes],
            seeds: vec![0; layers],
        }
    }

    /// Adds what the probe of a layer and of one seed says, `logits [targets, classes]` in the split's order.
    ///
    /// # Panics
    /// On another number of logits, or past the last layer.
    #[track_caller]
    pub fn add(&mut self, layer: usize, logits: &[f32], output: Output) {
        assert_eq!(logits.len() * self.layers, self.sums.len(), "logits");
        self.seeds[layer] += 1;
        let (classes, size) = (self.classes, self.layers * self.classes);
        let targets = self.sums.chunks_exact_mut(size);
        for (sums, logits) in targets.zip(logits.chunks_exact(classes)) {
            let probabilities = normalized(logits, output);
            let sums = &mut sums[layer * classes..][..classes];
            for (sum, probability) in sums.iter_mut().zip(probabilities) {
                *sum += probability as f32;
            }
        }
    }

    /// Layers.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// p̃ of a target at a layer, `[classes]`; zeros before anything was added.
    ///
    /// # Panics
    /// Past the last one.
    #[must_use]
    pub fn probabilities(&self, target: usize, layer: usize) -> Vec<f64> {
        let sums = &self.sums[(target * self.layers + layer) * self.classes..][..self.classes];
        let seeds = f64::from(self.seeds[layer].max(1));
        sums.iter().map(|sum| f64::from(*sum) / seeds).collect()
    }

    /// What became of a target that has exactly one label; `None` of others. An answer is the class of the highest p̃,
    /// the first of equals.
    ///
    /// # Panics
    /// Past the last target.
    #[must_use]
    pub fn trace(&self, split: &Split, target: usize) -> Option<Trace> {
        let [label] = split.get(target).labels else {
            return None;
        };
        let label = usize::from(*label);
        let (mut correct, mut truth) = (Vec::new(), Vec::new());
        for layer in 0..self.layers {
            let p = self.probabilities(target, layer);
            correct.push(best(&p) == label);
            truth.push(p[label]);
        }
        Some(Trace::new(&correct, &truth))
    }

    /// The layer-averages of p̃ of a target, `[classes]`.
    #[must_use]
    pub fn averages(&self, target: usize) -> Vec<f64> {
        let mut averages = vec![0.0; self.classes];
        for layer in 0..self.layers {
            for (average, p) in averages.iter_mut().zip(self.probabilities(target, layer)) {
                *average += p / self.layers as f64;
            }
        }
        averages
    }

    /// Whether no label has a layer-average above [`AMBIGUOUS`]: the paper shows sentences with more than one such target.
    #[must_use]
    pub fn is_ambiguous(&self, target: usize) -> bool {
        self.averages(target)
            .iter()
            .all(|average| *average <= AMBIGUOUS)
    }

    /// The wrong label with the highest layer-average, which is shown beside the right one.
    #[must_use]
    pub fn rival(&self, split: &Split, target: usize) -> Option<usize> {
        let labels = split.get(target).labels;
        let mut averages = self.averages(target);
        for label in labels {
            averages[usize::from(*label)] = f64::NEG_INFINITY;
        }
        let rival = best(&averages);
        averages
            .get(rival)
            .is_some_and(|average| average.is_finite())
            .then_some(rival)
    }

    /// How many targets are stable from each layer on, `[layers]`, and behind them how many never are: the analogue of
    /// E_Δ that is a distribution. Targets without exactly one label are left out.
    #[must_use]
    pub fn stable_layers(&self, split: &Split) -> Vec<u64> {
        let mut counts = vec![0; self.layers + 1];
        for trace in (0..split.targets()).filter_map(|target| self.trace(split, target)) {
            counts[trace.stable.unwrap_or(self.layers)] += 1;
        }
        counts
    }
}

/// How many pairs of targets, one of each task and both in one sentence, are decided in which order: at a lower layer in the
/// first task, in the second, at the same layer. Each list holds the layers from which on a sentence's targets are right
/// ([`Trace::stable`]); targets that never are belong to no pair.
#[must_use]
pub fn precedence<'l>(sentences: impl Iterator<Item = [&'l [Option<usize>]; 2]>) -> [u64; 3] {
    let mut counts = [0; 3];
    for [first, second] in sentences {
        for one in first.iter().flatten() {
            for other in second.iter().flatten() {
                counts[match one.cmp(other) {
                    Ordering::Less => 0,
                    Ordering::Greater => 1,
                    Ordering::Equal => 2,
                }] += 1;
            }
        }
    }
    counts
}

fn normalized(logits: &[f32], output: Output) -> Vec<f64> {
    let mut p = output.probabilities(logits);
    if output == Output::Sigmoid {
        let total: f64 = p.iter().sum();
        if total > 0.0 {
            p.iter_mut().for_each(|p| *p /= total);
        }
    }
    p
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_of_decision() {
        let trace = Trace::new(
            &[false, true, false, true, true],
            &[0.1, 0.5, 0.3, 0.6, 0.9],
        );
        assert_eq!(
            (trace.first_correct, trace.stable, trace.flips),
            (Some(1), Some(3), 3)
        );
        // (1·0.4 - 2·0.2 + 3·0.3 + 4·0.3) / 0.8
        assert!((trace.expected_layer.unwrap() - 2.625).abs() < 1e-12);
        assert!(Trace::new(&[true, true], &[0.8, 0.85]).is_trivial());
        assert_eq!(Trace::new(&[true, true], &[0.8, 0.85]).expected_layer, None);
        let wrong = Trace::new(&[true, false], &[0.5, 0.7]);
        assert_eq!(
            (wrong.stable, wrong.flips, wrong.is_never()),
            (None, 1, false)
        );
        assert!(Trace::new(&[false, false], &[0.0, 0.0]).is_never());
    }

    #[test]
    fn pairs_of_one_sentence_are_put_in_order() {
        let sentences: [[&[Option<usize>]; 2]; 3] = [
            // 1 < 2, 1 < 4, 3 > 2, 3 < 4; what never is right has no place.
            [&[Some(1), Some(3), None], &[Some(2), Some(4), None]],
            [&[Some(0)], &[Some(0)]],
            [&[], &[Some(5)]],
        ];
        assert_eq!(precedence(sentences.into_iter()), [3, 1, 1]);
    }

    #[test]
    fn probabilities_are_averages_over_seeds() {
        let mut split = Split::new(1, 3).unwrap();
        split.target([0, 1], None, &[1], 0).unwrap();
        split.target([1, 2], None, &[0, 1], 0).unwrap();
        split.end_sentence();
        let mut traces = Traces::new(&split, 2);
        let logits = |p: [f32; 3]| p.map(f32::ln);
        let row = |first: [f32; 3]| [logits(first), logits([0.2, 0.3, 0.5])].concat();
        traces.add(0, &row([0.5, 0.3, 0.2]), Output::Softmax);
        traces.add(0, &row([0.7, 0.1, 0.2]), Output::Softmax);
        traces.add(1, &row([0.1, 0.6, 0.3]), Output::Softmax);
        let near = |found: &[f64], expected: [f64; 3]| {
            assert!(
                found
                    .iter()
                    .zip(expected)
                    .all(|(a, b)| (a - b).abs() < 1e-6),
                "{found:?}"
            );
        };
        near(&traces.probabilities(0, 0), [0.6, 0.2, 0.2]);
        near(&traces.averages(0), [0.35, 0.4, 0.25]);
        let trace = traces.trace(&split, 0).unwrap();
        assert_eq!(trace.stable, Some(1));
        assert!((trace.expected_layer.unwrap() - 1.0).abs() < 1e-9);
        assert_eq!(traces.trace(&split, 1), None);
        assert!(traces.is_ambiguous(0));
        assert_eq!(
            (traces.rival(&split, 0), traces.rival(&split, 1)),
            (Some(0), Some(2))
        );
        assert_eq!(traces.stable_layers(&split), [0, 1, 0]);
        // Sigmoids to the sum 1.
        let mut traces = Traces::new(&split, 1);
        traces.add(0, &[0.0, 0.0, -200.0, 3.0, -200.0, -200.0], Output::Sigmoid);
        near(&traces.probabilities(0, 0), [0.5, 0.5, 0.0]);
        near(&traces.probabilities(1, 0), [1.0, 0.0, 0.0]);
        assert!(!traces.is_ambiguous(1));
    }
}
