//! What units cost.

use bertology_checkpoint::{Architecture, FeedForward};

use super::groups::{Groups, Kind, PerUnit};

/// What each group costs with so many of its units: entry `k` of a group is the cost of `k`.
#[derive(Debug, Clone, PartialEq)]
pub struct Costs {
    of: PerUnit<f64>,
    /// What is paid whatever goes.
    fixed: f64,
}

impl Costs {
    /// From a table: `of[group][k]` is what `k` units of a group cost, from 0 on and rising.
    #[must_use]
    pub fn new(of: PerUnit<f64>, fixed: f64) -> Self {
        Self { of, fixed }
    }

    /// Each unit costs alike.
    fn linear(groups: &Groups, fixed: f64, each: impl Fn(usize, Kind) -> f64) -> Self {
        let of = groups.iter().zip(groups.counts());
        let of = of.map(|((layer, kind), count)| {
            let each = each(layer, kind);
            (0..=count).map(|k| each * k as f64).collect()
        });
        Self::new(of.collect(), fixed)
    }

    /// Multiply-adds of the blocks per token, of texts whose attention costs per token what it costs in one of `length` tokens.
    /// Embeddings and what is above the blocks are not counted, as in Kwon et al. 2022.
    #[must_use]
    pub fn operations(arch: &Architecture, groups: &Groups, length: f64) -> Self {
        let (hidden, dim) = (arch.hidden_size as f64, arch.head_dim() as f64);
        let maps = match arch.feed_forward {
            FeedForward::Plain => 2.0,
            FeedForward::Gated => 3.0,
        };
        Self::linear(groups, 0.0, |layer, kind| match kind {
            Kind::Heads => {
                let seen = arch
                    .reach(layer)
                    .map_or(length, |reach| length.min(2.0 * reach as f64 + 1.0));
                4.0 * hidden * dim + 2.0 * seen * dim
            }
            Kind::Neurons => maps * hidden,
        })
    }

    /// Bytes of weights, of `whole` bytes with all units; `per_weight` of each.
    #[must_use]
    pub fn bytes(arch: &Architecture, groups: &Groups, whole: u64, per_weight: f64) -> Self {
        let (hidden, dim) = (arch.hidden_size as f64, arch.head_dim() as f64);
        let bias = |biased: bool| if biased { 1.0 } else { 0.0 };
        let halves = match arch.feed_forward {
            FeedForward::Plain => 1.0,
            FeedForward::Gated => 2.0,
        };
        let head = dim * (4.0 * hidden + 3.0 * bias(arch.attention_bias));
        let neuron = halves * (hidden + bias(arch.mlp_bias)) + hidden;
        let mut costs = Self::linear(groups, 0.0, |_, kind| {
            per_weight
                * match kind {
                    Kind::Heads => head,
                    Kind::Neurons => neuron,
                }
        });
        costs.fixed = whole as f64 - costs.whole();
        costs
    }

    /// Of all units.
    #[must_use]
    pub fn whole(&self) -> f64 {
        let all = self.of.iter().filter_map(|of| of.last());
        self.fixed + all.sum::<f64>()
    }

    /// Of what stays.
    #[must_use]
    pub fn of(&self, keep: &PerUnit<bool>) -> f64 {
        let groups = self.of.iter().zip(keep);
        let costs = groups.map(|(of, keep)| of[keep.iter().filter(|stays| **stays).count()]);
        self.fixed + costs.sum::<f64>()
    }

    /// What is paid whatever goes.
    #[must_use]
    pub fn fixed(&self) -> f64 {
        self.fixed
    }

    /// Of so many units of a group.
    ///
    /// # Panics
    /// If there is no such group, or it has fewer units.
    #[must_use]
    pub fn of_group(&self, group: usize, units: usize) -> f64 {
        self.of[group][units]
    }

    /// Of `k` units of a group, for every `k`.
    pub(crate) fn group(&self, group: usize) -> &[f64] {
        &self.of[group]
    }
}
