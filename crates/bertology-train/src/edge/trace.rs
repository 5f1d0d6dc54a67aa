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

/// What the layers say of every target, each target in a few bytes a layer whatever the number of labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Traces {
    layers: usize,
    /// `[target][layer]`: p̃ of the label and of its rival.
    pairs: Vec<[f32; 2]>,
    /// `[target][layer]`: whether the answer is right.
    right: Vec<bool>,
    rivals: Vec<Option<u16>>,
    ambiguous: Vec<bool>,
    /// Whether there is one label of which all this is.
    single: Vec<bool>,
}

/// The probabilities of every layer for some targets, averaged over seeds.
#[derive(Debug)]
pub(super) struct Window {
    layers: usize,
    classes: usize,
    /// `[target][layer][class]`: sums over seeds of p̃.
    sums: Vec<f32>,
    /// The same of what the labels' outputs are before they are brought to the sum 1, where it is wanted.
    raw: Option<Vec<f32>>,
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

impl Window {
    /// Of so many targets, without probabilities yet.
    pub(super) fn new(targets: usize, classes: usize, layers: usize, raw: bool) -> Self {
        let sums = vec![0.0; targets * layers * classes];
        Self {
            layers,
            classes,
            raw: raw.then(|| sums.clone()),
            sums,
            seeds: vec![0; layers],
        }
    }

    /// Adds what the probe of a layer and of one seed says, `logits [targets, classes]`.
    pub(super) fn add(&mut self, layer: usize, logits: &[f32], output: Output) {
        debug_assert_eq!(logits.len() * self.layers, self.sums.len());
        self.seeds[layer] += 1;
        let (classes, size) = (self.classes, self.layers * self.classes);
        for (target, logits) in logits.chunks_exact(classes).enumerate() {
            let at = target * size + layer * classes;
            let mut probabilities = output.probabilities(logits);
            if let Some(raw) = &mut self.raw {
                for (sum, probability) in raw[at..at + classes].iter_mut().zip(&probabilities) {
                    *sum += *probability as f32;
                }
            }
            normalize(&mut probabilities, output);
            let sums = &mut self.sums[at..at + classes];
            for (sum, probability) in sums.iter_mut().zip(probabilities) {
                *sum += probability as f32;
            }
        }
    }

    /// p̃ of a target at a layer, `[classes]`; zeros before anything was added.
    fn probabilities(&self, target: usize, layer: usize) -> Vec<f64> {
        self.mean(&self.sums, target, layer).collect()
    }

    fn mean<'w>(
        &self,
        sums: &'w [f32],
        target: usize,
        layer: usize,
    ) -> impl Iterator<Item = f64> + use<'w> {
        let sums = &sums[(target * self.layers + layer) * self.classes..][..self.classes];
        let seeds = f64::from(self.seeds[layer].max(1));
        sums.iter().map(move |sum| f64::from(*sum) / seeds)
    }

    /// Means over seeds of every label's σ, or of its softmax: `[target, layer, class]`, if they were wanted.
    pub(super) fn raw(&self) -> impl Iterator<Item = f64> {
        let raw = self.raw.iter();
        raw.flat_map(move |raw| {
            let rows = (0..raw.len() / self.classes.max(1))
                .map(|row| (row / self.layers, row % self.layers));
            rows.flat_map(move |(target, layer)| self.mean(raw, target, layer))
        })
    }

    /// The layer-averages of p̃ of a target, `[classes]`.
    fn averages(&self, target: usize) -> Vec<f64> {
        let mut averages = vec![0.0; self.classes];
        for layer in 0..self.layers {
            for (average, p) in averages.iter_mut().zip(self.probabilities(target, layer)) {
                *average += p / self.layers as f64;
            }
        }
        averages
    }
}

impl Traces {
    /// Of no target yet.
    pub(super) fn new(layers: usize) -> Self {
        Self {
            layers,
            pairs: Vec::new(),
            right: Vec::new(),
            rivals: Vec::new(),
            ambiguous: Vec::new(),
            single: Vec::new(),
        }
    }

    /// Adds the targets of a window, those of the split from `first` on.
    pub(super) fn add(&mut self, window: &Window, split: &Split, first: usize) {
        for at in 0..window.sums.len() / (window.layers * window.classes) {
            let labels = split.get(first + at).labels;
            let mut averages = window.averages(at);
            self.ambiguous
                .push(averages.iter().all(|average| *average <= AMBIGUOUS));
            for label in labels {
                averages[usize::from(*label)] = f64::NEG_INFINITY;
            }
            let rival = best(&averages);
            let rival = averages.get(rival).filter(|a| a.is_finite()).map(|_| rival);
            let label = labels.first().map(|label| usize::from(*label));
            for layer in 0..self.layers {
                let p = window.probabilities(at, layer);
                let of = |class: Option<usize>| class.map_or(0.0, |class| p[class] as f32);
                self.right.push(Some(best(&p)) == label);
                self.pairs.push([of(label), of(rival)]);
            }
            // Classes are fewer than 2¹⁶.
            self.rivals.push(rival.map(|rival| rival as u16));
            self.single.push(labels.len() == 1);
        }
    }

    /// Layers.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// Targets that have exactly one label.
    #[must_use]
    pub fn single(&self) -> usize {
        self.single.iter().filter(|single| **single).count()
    }

    /// p̃ of the label and of [`Traces::rival`] at every layer.
    ///
    /// # Panics
    /// Past the last target.
    #[must_use]
    pub fn pairs(&self, target: usize) -> &[[f32; 2]] {
        &self.pairs[target * self.layers..][..self.layers]
    }

    /// What became of a target that has exactly one label; `None` of others. An answer is the class of the highest p̃,
    /// the first of equals.
    ///
    /// # Panics
    /// Past the last target.
    #[must_use]
    pub fn trace(&self, target: usize) -> Option<Trace> {
        let truth = self
            .pairs(target)
            .iter()
            .map(|[label, _]| f64::from(*label));
        let right = &self.right[target * self.layers..][..self.layers];
        self.single[target].then(|| Trace::new(right, &truth.collect::<Vec<_>>()))
    }

    /// Whether no label has a layer-average above [`AMBIGUOUS`]: the paper shows sentences with more than one such target.
    ///
    /// # Panics
    /// Past the last target.
    #[must_use]
    pub fn is_ambiguous(&self, target: usize) -> bool {
        self.ambiguous[target]
    }

    /// The wrong label with the highest layer-average, which is shown beside the right one.
    ///
    /// # Panics
    /// Past the last target.
    #[must_use]
    pub fn rival(&self, target: usize) -> Option<usize> {
        self.rivals[target].map(usize::from)
    }

    /// How many targets are stable from each layer on, `[layers]`, and behind them how many never are: the analogue of
    /// E_Δ that is a distribution. Targets without exactly one label are left out.
    #[must_use]
    pub fn stable_layers(&self) -> Vec<u64> {
        let mut counts = vec![0; self.layers + 1];
        for trace in (0..self.single.len()).filter_map(|target| self.trace(target)) {
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

/// To the sum 1.
fn normalize(p: &mut [f64], output: Output) {
    if output == Output::Sigmoid {
        let total: f64 = p.iter().sum();
        if total > 0.0 {
            p.iter_mut().for_each(|p| *p /= total);
        }
    }
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
        let mut window = Window::new(2, 3, 2, false);
        let logits = |p: [f32; 3]| p.map(f32::ln);
        let row = |first: [f32; 3]| [logits(first), logits([0.2, 0.3, 0.5])].concat();
        window.add(0, &row([0.5, 0.3, 0.2]), Output::Softmax);
        window.add(0, &row([0.7, 0.1, 0.2]), Output::Softmax);
        window.add(1, &row([0.1, 0.6, 0.3]), Output::Softmax);
        let near = |found: &[f64], expected: [f64; 3]| {
            assert!(
                found
                    .iter()
                    .zip(expected)
                    .all(|(a, b)| (a - b).abs() < 1e-6),
                "{found:?}"
            );
        };
        near(&window.probabilities(0, 0), [0.6, 0.2, 0.2]);
        near(&window.averages(0), [0.35, 0.4, 0.25]);
        let mut traces = Traces::new(2);
        traces.add(&window, &split, 0);
        let trace = traces.trace(0).unwrap();
        assert_eq!(trace.stable, Some(1));
        assert!((trace.expected_layer.unwrap() - 1.0).abs() < 1e-6);
        assert_eq!(traces.trace(1), None);
        assert!(traces.is_ambiguous(0));
        assert_eq!((traces.rival(0), traces.rival(1)), (Some(0), Some(2)));
        for (found, expected) in traces.pairs(0).iter().zip([[0.2, 0.6], [0.6, 0.1]]) {
            assert!(
                found
                    .iter()
                    .zip(expected)
                    .all(|(a, b)| (a - b).abs() < 1e-6)
            );
        }
        assert_eq!(traces.stable_layers(), [0, 1, 0]);
        assert_eq!(traces.single(), 1);
        // Sigmoids to the sum 1, and as they are.
        let mut window = Window::new(2, 3, 1, true);
        for _ in 0..2 {
            window.add(0, &[0.0, 0.0, -200.0, 3.0, -200.0, -200.0], Output::Sigmoid);
        }
        near(&window.probabilities(0, 0), [0.5, 0.5, 0.0]);
        near(&window.probabilities(1, 0), [1.0, 0.0, 0.0]);
        let raw: Vec<f64> = window.raw().collect();
        near(&raw[..3], [0.5, 0.5, 0.0]);
        near(&raw[3..], [1.0 / (1.0 + (-3.0_f64).exp()), 0.0, 0.0]);
        let mut traces = Traces::new(1);
        traces.add(&window, &split, 0);
        assert!(!traces.is_ambiguous(1));
    }
}
