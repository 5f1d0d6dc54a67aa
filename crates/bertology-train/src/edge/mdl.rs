//! How many bits the labels of a task take, given the states: the online code.
//!
//! Voita and Titov 2020. Sentences are put into one random order and cut at the [`PORTIONS`]; the labels of the first
//! portion are sent as if all were equally likely, those of each later one with the probe that was trained on all before
//! it. With C labels, n targets and t_i of them before the end of portion i,
//!
//! ```text
//! L = t_1 log₂ C - Σ_i Σ_{t_i < k ≤ t_(i+1)} log₂ p_i(y_k | x_k)          compression = n log₂ C / L
//! ```
//!
//! Where a target may have several labels or none, C bits take the place of log₂ C and `Σ_c log₂ p(y_c)` that of `log₂ p(y)`: a
//! variant of the code that is not theirs. Their reports count kbits of 1,024 bits.

use bertology::random::Draws;
use serde::{Deserialize, Serialize};

use super::settings::Selection;
use super::suite::{Data, Look, Plan, Suite};
use super::{Fault, Output, Split};
use crate::Error;

/// Shares of the targets at which the training is cut. Nothing is sent with the probe of the last.
pub const PORTIONS: [f64; 11] = [
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0,
];

/// No label costs more bits: probabilities below 2⁻³⁰ are taken for it, and counted.
pub const MOST_BITS: f64 = 30.0;

/// The sentences of each portion, in one random order; portions in which nothing would be new are left out. Cut behind
/// the first sentence with which the portion's share of the targets is reached.
///
/// # Errors
/// A split without targets.
pub fn portions(split: &Split, seed: u64) -> Result<Vec<Vec<u32>>, Error> {
    let mut order: Vec<u32> = (0..split.sentences() as u32)
        .filter(|sentence| !split.targets_of(*sentence as usize).is_empty())
        .collect();
    if order.is_empty() {
        return Err(Fault::NoTargets.into());
    }
    Draws::of([seed, 0x6d64_6c00]).shuffle(&mut order);
    let all = split.targets() as f64;
    let mut portions = vec![Vec::new()];
    let mut shares = PORTIONS.iter().map(|share| share * all).peekable();
    let mut done = 0;
    for sentence in order {
        if let Some(open) = portions.last_mut() {
            open.push(sentence);
        }
        done += split.targets_of(sentence as usize).len();
        let mut full = false;
        while shares.next_if(|share| done as f64 >= *share).is_some() {
            full = true;
        }
        if full {
            portions.push(Vec::new());
        }
    }
    portions.retain(|portion| !portion.is_empty());
    Ok(portions)
}

/// Bits of the labels of some targets under a probe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Bits {
    /// All of them.
    pub bits: f64,
    /// Targets.
    pub targets: u64,
    /// Labels that cost [`MOST_BITS`], whatever the probe says.
    pub clamped: u64,
}

impl Bits {
    /// Adds a target. One whose label is not among the classes costs [`MOST_BITS`].
    pub fn add(&mut self, logits: &[f32], labels: &[u16], output: Output) {
        self.targets += 1;
        let mut pay = |nats: f64| {
            let bits = nats / std::f64::consts::LN_2;
            self.clamped += u64::from(bits > MOST_BITS);
            self.bits += bits.min(MOST_BITS);
        };
        match output {
            Output::Softmax => pay(output.loss(logits, labels).unwrap_or(f64::INFINITY)),
            Output::Sigmoid => {
                for (label, logit) in logits.iter().enumerate() {
                    let applies = labels.iter().any(|l| usize::from(*l) == label);
                    let against = f64::from(if applies { -*logit } else { *logit });
                    pay(against.max(0.0) + (-against.abs()).exp().ln_1p());
                }
            }
        }
    }
}

/// Bits of a target if all labels are equally likely.
#[must_use]
pub fn uniform_bits(classes: usize, output: Output) -> f64 {
    match output {
        Output::Softmax => (classes as f64).log2(),
        Output::Sigmoid => classes as f64,
    }
}

/// The code length of a probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CodeLength {
    /// Bits of the online code.
    pub online: f64,
    /// Bits if all labels are equally likely.
    pub uniform: f64,
    /// Bits of the training's labels under the probe that was trained on all of them.
    pub data: f64,
    /// Labels that cost [`MOST_BITS`].
    pub clamped: u64,
    /// Targets of the first portion, and of each later one the bits.
    pub first: u64,
    /// Portion by portion, from the second.
    pub portions: Vec<Bits>,
}

impl CodeLength {
    /// Of the first portion's targets and of the later portions.
    #[must_use]
    pub fn new(
        first: u64,
        portions: Vec<Bits>,
        data: Bits,
        classes: usize,
        output: Output,
    ) -> Self {
        let each = uniform_bits(classes, output);
        let targets = first + portions.iter().map(|portion| portion.targets).sum::<u64>();
        Self {
            online: first as f64 * each + portions.iter().map(|portion| portion.bits).sum::<f64>(),
            uniform: targets as f64 * each,
            data: data.bits,
            clamped: portions.iter().map(|portion| portion.clamped).sum(),
            first,
            portions,
        }
    }

    /// How many times shorter than the uniform code.
    #[must_use]
    pub fn compression(&self) -> f64 {
        self.uniform / self.online
    }

    /// About what the probe itself costs: the online code less the data under the final probe.
    #[must_use]
    pub fn model(&self) -> f64 {
        self.online - self.data
    }
}

/// The code lengths of all probes of a plan, seed by seed, in each the readings in order.
///
/// Every portion's probes are trained from the start on all portions before, with the loss of the development split
/// deciding about stopping, whatever the plan selects by.
///
/// # Errors
/// Those of [`Suite::new`] and [`Suite::round`].
pub fn online_code(
    data: Data<'_>,
    plan: &Plan,
    order: u64,
    threads: usize,
    look: Look<'_>,
) -> Result<Vec<CodeLength>, Error> {
    let output = plan.design.output;
    let mut plan = plan.clone();
    plan.settings.selection = Selection::Loss;
    let portions = portions(data.train, order)?;
    let count = plan.seeds.len() * plan.readings.len();
    let mut bits: Vec<Vec<Bits>> = vec![Vec::new(); count];
    let mut last = vec![Bits::default(); count];
    let mut known = Vec::new();
    for (at, portion) in portions.iter().enumerate() {
        known.extend(portion);
        let train = data.train.subset(&known)?;
        let mut suite = Suite::new(
            Data {
                train: &train,
                ..data
            },
            plan.clone(),
        )?;
        while suite.round(threads, look)? {}
        let sent = match portions.get(at + 1) {
            Some(next) => data.train.subset(next)?,
            None => train.clone(),
        };
        let found = suite.evaluate(
            &sent,
            threads,
            |_| Bits::default(),
            |bits, target, logits| bits.add(logits, sent.get(target).labels, output),
        )?;
        if at + 1 < portions.len() {
            bits.iter_mut()
                .zip(found)
                .for_each(|(bits, found)| bits.push(found));
        } else {
            last = found;
        }
    }
    let targets = |sentence: &u32| data.train.targets_of(*sentence as usize).len() as u64;
    let first: u64 = portions
        .first()
        .map_or(0, |portion| portion.iter().map(targets).sum());
    let classes = data.train.classes();
    let all = bits.into_iter().zip(last);
    Ok(all
        .map(|(bits, last)| CodeLength::new(first, bits, last, classes, output))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(sentences: usize, classes: usize) -> Split {
        let mut split = Split::new(1, classes).unwrap();
        for sentence in 0..sentences {
            for target in 0..sentence % 4 {
                let label = ((sentence + target) % classes) as u16;
                split.target([0, 1], None, &[label], 0).unwrap();
            }
            split.end_sentence();
        }
        split
    }

    #[test]
    fn portions_are_the_split() {
        let split = split(4000, 5);
        let portions = portions(&split, 3).unwrap();
        assert_eq!(portions.len(), 11);
        let targets = |portion: &Vec<u32>| -> usize {
            portion
                .iter()
                .map(|s| split.targets_of(*s as usize).len())
                .sum()
        };
        let mut done = 0;
        for (portion, share) in portions.iter().zip(PORTIONS) {
            done += targets(portion);
            let wanted = share * split.targets() as f64;
            assert!(
                done as f64 >= wanted && (done as f64) < wanted + 4.0,
                "{done} {wanted}"
            );
        }
        let mut all = portions.concat();
        all.sort_unstable();
        let some: Vec<u32> = (0..4000).filter(|s| s % 4 != 0).collect();
        assert_eq!(all, some);
        assert_eq!(super::portions(&split, 3).unwrap(), portions);
        // Six targets: shares of less than one are one portion.
        let small = super::portions(&self::split(4, 5), 0).unwrap();
        assert!(small.len() <= 3 && small.iter().all(|portion| !portion.is_empty()));
        assert!(super::portions(&Split::new(1, 2).unwrap(), 0).is_err());
    }

    #[test]
    fn equal_probabilities_cost_the_uniform_code() {
        for (output, classes) in [(Output::Softmax, 48), (Output::Sigmoid, 7)] {
            let split = split(500, classes);
            let mut bits = Bits::default();
            for target in 10..split.targets() {
                bits.add(&vec![0.0; classes], split.get(target).labels, output);
            }
            let code = CodeLength::new(10, vec![bits], bits, classes, output);
            assert!(
                (code.online - code.uniform).abs() < 1e-9 * code.uniform,
                "{code:?}"
            );
            assert!((code.compression() - 1.0).abs() < 1e-12);
            let each = uniform_bits(classes, output);
            assert!((code.uniform - split.targets() as f64 * each).abs() < 1e-9);
            assert!((code.model() - 10.0 * each).abs() < 1e-6);
        }
    }

    #[test]
    fn surprise_has_an_end() {
        let mut bits = Bits::default();
        bits.add(&[200.0, 0.0], &[1], Output::Softmax);
        bits.add(&[200.0, 0.0], &[], Output::Softmax);
        assert_eq!((bits.bits, bits.clamped, bits.targets), (60.0, 2, 2));
        let mut bits = Bits::default();
        bits.add(&[200.0, -200.0], &[1], Output::Sigmoid);
        assert_eq!((bits.bits, bits.clamped), (60.0, 2));
        let mut bits = Bits::default();
        bits.add(&[200.0, -200.0], &[0], Output::Sigmoid);
        assert!(bits.bits < 1e-50 && bits.clamped == 0);
    }
}
