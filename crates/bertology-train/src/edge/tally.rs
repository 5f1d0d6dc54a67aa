//! What logits say: which labels are given, how often that is right, how probable the right ones were.

use bertology_kernels::elementwise::softplus_sum;
use bertology_kernels::softmax::{log_sum_exp, softmax_rows};

use super::{Output, Split};

impl Output {
    /// Whether each label is given. Sigmoid: where the logit is not negative; softmax: the highest, the first of
    /// equals.
    #[must_use]
    pub fn given(self, logits: &[f32]) -> Vec<bool> {
        match self {
            Self::Sigmoid => logits.iter().map(|logit| *logit >= 0.0).collect(),
            Self::Softmax => {
                let best = best(logits);
                (0..logits.len()).map(|label| label == best).collect()
            }
        }
    }

    /// σ of each logit, or their softmax; in f64.
    #[must_use]
    pub fn probabilities(self, logits: &[f32]) -> Vec<f64> {
        let mut values: Vec<f64> = logits.iter().map(|logit| f64::from(*logit)).collect();
        match self {
            Self::Sigmoid => {
                for value in &mut values {
                    *value = ((-*value).exp() + 1.0).recip();
                }
            }
            Self::Softmax => {
                let width = values.len();
                softmax_rows(&mut values, width);
            }
        }
        values
    }

    /// The loss of a target whose labels these are, in nats; `None` where softmax has no known label.
    #[must_use]
    pub fn loss(self, logits: &[f32], labels: &[u16]) -> Option<f64> {
        let of = |label: &u16| f64::from(logits[usize::from(*label)]);
        match self {
            Self::Sigmoid => {
                let all = f64::from(softplus_sum(logits));
                Some(all - labels.iter().map(of).sum::<f64>())
            }
            Self::Softmax => labels.first().map(|label| log_sum_exp(logits) - of(label)),
        }
    }
}

/// The first of the highest.
pub(super) fn best<T: PartialOrd>(values: &[T]) -> usize {
    let mut best = 0;
    for (at, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = at;
        }
    }
    best
}

/// Right and wrong decisions of a sentence: true positives, false positives, false negatives.
pub type Counts = [u32; 3];

/// Micro-averaged F1 of counts, in [0, 1]; 0 without any.
#[must_use]
pub fn f1(counts: [u64; 3]) -> f64 {
    let [right, wrong, missed] = counts.map(|count| count as f64);
    let all = 2.0 * right + wrong + missed;
    if all == 0.0 { 0.0 } else { 2.0 * right / all }
}

/// Decisions of one probe on a split, sentence by sentence, in whatever order targets come.
#[derive(Debug, Clone, PartialEq)]
pub struct Tally<'a> {
    split: &'a Split,
    output: Output,
    /// Labels that count.
    counted: Option<&'a [bool]>,
    /// By the sentence of each target.
    sentences: Vec<Counts>,
    loss: f64,
    losses: u64,
}

impl<'a> Tally<'a> {
    /// Of no target yet. `counted` says which labels count; `None`: all.
    #[must_use]
    pub fn new(split: &'a Split, output: Output, counted: Option<&'a [bool]>) -> Self {
        Self {
            split,
            output,
            counted,
            sentences: vec![[0; 3]; split.sentences()],
            loss: 0.0,
            losses: 0,
        }
    }

    /// Adds a target by its number; what it added to its sentence.
    pub fn add(&mut self, target: usize, logits: &[f32]) -> Counts {
        let of = self.split.get(target);
        if let Some(loss) = self.output.loss(logits, of.labels) {
            self.loss += loss;
            self.losses += 1;
        }
        let mut counts = [0; 3];
        let top = (self.output == Output::Softmax).then(|| best(logits));
        let given = |label| top.map_or(logits[label] >= 0.0, |top| top == label);
        let counts_for = |label: usize| self.counted.is_none_or(|counted| counted[label]);
        let mut right = of.labels.iter().map(|label| usize::from(*label)).peekable();
        for label in 0..logits.len() {
            let applies = right.next_if_eq(&label).is_some();
            if counts_for(label) {
                match (given(label), applies) {
                    (true, true) => counts[0] += 1,
                    (true, false) => counts[1] += 1,
                    (false, true) => counts[2] += 1,
                    (false, false) => {}
                }
            }
        }
        // Nobody can give them; with some labels left out they are not known to count.
        if self.counted.is_none() {
            counts[2] += u32::from(of.unknown);
        }
        if let Some(sums) = self.sentences.get_mut(self.split.sentence_of(target)) {
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        counts
    }

    /// Of each sentence.
    #[must_use]
    pub fn sentences(&self) -> &[Counts] {
        &self.sentences
    }

    /// Of all sentences.
    #[must_use]
    pub fn counts(&self) -> [u64; 3] {
        total(self.sentences.iter())
    }

    /// Micro-averaged F1, in [0, 1].
    #[must_use]
    pub fn f1(&self) -> f64 {
        f1(self.counts())
    }

    /// Mean loss of a target, in nats, those without a known label left out.
    #[must_use]
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.losses.max(1) as f64
    }
}

/// The sum of some sentences' counts.
pub(crate) fn total<'c>(sentences: impl Iterator<Item = &'c Counts>) -> [u64; 3] {
    let mut sum = [0; 3];
    for counts in sentences {
        for (sum, count) in sum.iter_mut().zip(counts) {
            *sum += u64::from(*count);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_counted() {
        let mut split = Split::new(1, 3).unwrap();
        split.target([0, 1], None, &[0, 2], 0).unwrap();
        split.end_sentence();
        split.target([1, 2], None, &[], 1).unwrap();
        split.target([1, 2], None, &[1], 0).unwrap();
        split.end_sentence();
        let mut tally = Tally::new(&split, Output::Sigmoid, None);
        // A logit of 0 is p = 1/2, which counts as given; so does minus zero.
        tally.add(0, &[0.0, -0.0, -1e-30]);
        tally.add(1, &[-1.0, -1.0, -1.0]);
        tally.add(2, &[1.0, 2.0, -1.0]);
        assert_eq!(tally.sentences(), [[1, 1, 1], [1, 1, 1]]);
        assert_eq!(tally.counts(), [2, 2, 2]);
        assert_eq!(tally.f1(), 0.5);
        let only = [false, true, false];
        let mut tally = Tally::new(&split, Output::Softmax, Some(&only));
        tally.add(0, &[1.0, 1.0, 0.0]);
        tally.add(1, &[0.0, 1.0, 0.0]);
        tally.add(2, &[3.0, 1.0, 0.0]);
        assert_eq!(tally.counts(), [0, 1, 1]);
        assert_eq!(f1([0; 3]), 0.0);
    }

    #[test]
    fn losses_are_cross_entropies() {
        let logits = [0.3_f32, -200.0, 4.0];
        let p = Output::Sigmoid.probabilities(&logits);
        let expected = -(p[0].ln() + (1.0 - p[2]).ln());
        let found = Output::Sigmoid.loss(&logits, &[0]).unwrap();
        assert!((found - expected).abs() < 1e-5);
        let p = Output::Softmax.probabilities(&logits);
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let found = Output::Softmax.loss(&logits, &[2]).unwrap();
        assert!((found + p[2].ln()).abs() < 1e-6);
        assert_eq!(Output::Softmax.loss(&logits, &[]), None);
        assert_eq!(Output::Softmax.given(&[1.0, 1.0]), [true, false]);
        assert_eq!(Output::Sigmoid.given(&[0.0, -1.0]), [true, false]);
    }
}
