//! How long a layer takes on this machine, by the number of its heads and neurons.

use std::ops::ControlFlow;
use std::time::Instant;

use bertology_model::{Model, PassOptions, Sequence, Workspace};

use serde::{Deserialize, Serialize};

use super::cost::Costs;
use super::groups::{Groups, Kind, PerUnit};
use crate::input::corpus::packed;
use crate::watch::Purpose;
use crate::{Error, Watch};

/// Widths that are measured, besides none; between them times are interpolated.
const WIDTHS: usize = 8;

/// Every model is timed so often; the fastest run counts, which is the one that nothing disturbed.
const ROUNDS: usize = 5;

/// Seconds of one forward pass over some texts, where passes run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerTimes {
    /// Of the attention of one layer with 0, 1, ... heads.
    pub heads: Vec<f64>,
    /// Of the feed-forward block of one layer with so many neurons, by rising number, from 0.
    pub neurons: Vec<(usize, f64)>,
    /// Of everything else.
    pub fixed: f64,
}

/// Measures by whole passes over one batch of models in which every layer has as many heads, or neurons, where the model's passes
/// run: on a device what it takes. On the processor `threads` work within the pass.
///
/// # Errors
/// Sequences that do not fit; an interruption.
pub fn layer_times(
    model: &Model<f32>,
    sequences: &[Sequence],
    threads: usize,
    watch: &mut dyn Watch,
) -> Result<LayerTimes, Error> {
    let batch = packed(model.architecture(), sequences, |_, error| error)?;
    let groups = Groups::of(model);
    let most = |kind: Kind| {
        let counts = groups.iter().zip(groups.counts());
        let of_kind = counts.filter(|((_, of), _)| *of == kind);
        of_kind.map(|(_, count)| count).max().unwrap_or(0)
    };
    let (heads, width) = (most(Kind::Heads), most(Kind::Neurons));
    let mut widths: Vec<usize> = (0..=WIDTHS).map(|at| width * at / WIDTHS).collect();
    widths.dedup();
    let points: Vec<(usize, usize)> = (0..=heads)
        .map(|count| (count, width))
        .chain(widths.iter().map(|count| (heads, *count)))
        .collect();
    let models: Vec<Model<f32>> = points
        .iter()
        .map(|(heads, width)| {
            let factors: PerUnit<f64> = groups
                .iter()
                .zip(groups.counts())
                .map(|((_, kind), count)| {
                    let left = match kind {
                        Kind::Heads => *heads,
                        Kind::Neurons => *width,
                    };
                    (0..count).map(|at| f64::from(at < left)).collect()
                })
                .collect();
            let (heads, neurons) = groups.masks(&factors)?;
            Ok(model.folded(&heads, &neurons)?)
        })
        .collect::<Result<_, Error>>()?;
    let options = PassOptions {
        threads,
        ..PassOptions::default()
    };
    let mut workspace = Workspace::new();
    let mut fastest = vec![f64::INFINITY; models.len()];
    let total = (ROUNDS * models.len()) as u64;
    watch.begin(Purpose::Timing, 0, total);
    let mut done = 0;
    for _ in 0..ROUNDS {
        for (model, fastest) in models.iter().zip(&mut fastest) {
            let start = Instant::now();
            model.run(&batch, &options, &mut workspace, &mut [])?;
            *fastest = fastest.min(start.elapsed().as_secs_f64());
            done += 1;
            if let ControlFlow::Break(()) = watch.advance(done, total) {
                return Err(Error::Interrupted { done, total });
            }
        }
    }
    let (of_heads, of_neurons) = fastest.split_at(heads + 1);
    let layers = groups.layers().max(1) as f64;
    let found = rising(of_heads, layers);
    let neurons: Vec<(usize, f64)> = widths.into_iter().zip(rising(of_neurons, layers)).collect();
    let of_layer = found.last().unwrap_or(&0.0) + neurons.last().map_or(0.0, |(_, t)| *t);
    Ok(LayerTimes {
        fixed: (fastest[heads] - layers * of_layer).max(0.0),
        heads: found,
        neurons,
    })
}

/// Seconds of one layer more than the first entry's. More units never cost less: what says otherwise is noise.
fn rising(seconds: &[f64], layers: f64) -> Vec<f64> {
    let mut longest = 0.0_f64;
    seconds
        .iter()
        .map(|t| {
            longest = longest.max((t - seconds[0]) / layers);
            longest
        })
        .collect()
}

impl LayerTimes {
    /// Whether a measurement can have given this: of a file nobody knows.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        let known = |seconds: &f64| seconds.is_finite() && *seconds >= 0.0;
        let neurons = self.neurons.windows(2);
        self.heads.is_sorted()
            && neurons
                .clone()
                .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1)
            && self.heads.iter().chain([&self.fixed]).all(known)
            && self.neurons.iter().all(|(_, seconds)| known(seconds))
            && !self.heads.is_empty()
            && !self.neurons.is_empty()
    }

    /// Seconds as costs.
    #[must_use]
    pub fn costs(&self, groups: &Groups) -> Costs {
        let of = groups.iter().zip(groups.counts());
        let of = of.map(|((_, kind), count)| {
            (0..=count)
                .map(|units| match kind {
                    Kind::Heads => self.heads.get(units).copied().unwrap_or(0.0),
                    Kind::Neurons => self.of_width(units),
                })
                .collect()
        });
        Costs::new(of.collect(), self.fixed)
    }

    fn of_width(&self, width: usize) -> f64 {
        let above = self.neurons.partition_point(|(known, _)| *known < width);
        let Some((high, slow)) = self.neurons.get(above).copied() else {
            return self.neurons.last().map_or(0.0, |(_, t)| *t);
        };
        match above
            .checked_sub(1)
            .and_then(|below| self.neurons.get(below))
        {
            Some((low, fast)) if width < high => {
                fast + (slow - fast) * (width - low) as f64 / (high - low) as f64
            }
            _ => slow,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_between_those_measured_are_interpolated() {
        let times = LayerTimes {
            heads: vec![0.0, 1.0, 3.0],
            neurons: vec![(0, 0.0), (4, 2.0), (8, 8.0)],
            fixed: 5.0,
        };
        let costs = times.costs(&Groups::for_tests(&[(2, 8), (1, 6)]));
        let expected = [0.0, 0.5, 1.0, 1.5, 2.0, 3.5, 5.0, 6.5, 8.0];
        assert_eq!(costs.group(1), expected);
        assert_eq!(costs.group(2), [0.0, 1.0]);
        assert_eq!(costs.group(3), &expected[..7]);
        assert!((costs.whole() - (5.0 + 3.0 + 8.0 + 1.0 + 5.0)).abs() < 1e-12);
    }
}
