//! Dropout inside a model: a value's fate depends on the seed, the step and its own place, so that neither threads nor the
//! cut of a batch change what is dropped, and the backward pass need not be told.

use bertology_checkpoint::DropoutRates;
use bertology_kernels::Real;
use bertology_kernels::dropout::{Dropout, mixed};

use crate::PackedBatch;
use crate::rows::Rows;

/// The places where values are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DropSite {
    Embeddings,
    /// Of one head, zero-based in the unpruned model.
    AttentionProbs(usize),
    /// Rows of the table of distances, the same for all sequences of a step.
    Distances,
    AttentionOutput,
    MlpInner,
    MlpOutput,
    HeadInput,
    Classifier,
}

/// What is dropped of the sequences of one batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drops {
    rates: DropoutRates,
    key: u64,
    /// Number of the batch's first sequence in the whole step.
    first: usize,
}

impl Drops {
    /// Of step `step` of a training with this seed.
    pub(crate) fn new(rates: DropoutRates, seed: u64, step: u64) -> Self {
        Self {
            rates,
            key: mixed(mixed(seed) ^ step),
            first: 0,
        }
    }

    /// The same for a batch that begins with sequence `first` of the step.
    pub(crate) fn from(self, first: usize) -> Self {
        Self { first, ..self }
    }

    fn rate(&self, site: DropSite) -> f64 {
        match site {
            DropSite::Embeddings => self.rates.embeddings,
            DropSite::AttentionProbs(_) => self.rates.attention_probs,
            DropSite::Distances => self.rates.distances,
            DropSite::AttentionOutput => self.rates.attention_output,
            DropSite::MlpInner => self.rates.mlp_inner,
            DropSite::MlpOutput => self.rates.mlp_output,
            DropSite::HeadInput => self.rates.head_input,
            DropSite::Classifier => self.rates.classifier,
        }
    }

    /// Whether nothing is dropped there.
    pub(crate) fn is_off(&self, site: DropSite) -> bool {
        Dropout::new(self.rate(site)).is_off()
    }

    fn place(&self, site: DropSite, layer: usize, sequence: usize) -> u64 {
        let code = match site {
            DropSite::Embeddings => 0,
            DropSite::AttentionOutput => 1,
            DropSite::MlpOutput => 2,
            DropSite::HeadInput => 3,
            DropSite::Classifier => 4,
            DropSite::Distances => u64::MAX,
            DropSite::MlpInner => u64::MAX - 1,
            DropSite::AttentionProbs(head) => 5 + head as u64,
        };
        let sequence = match site {
            DropSite::Distances => 0,
            _ => (self.first + sequence) as u64,
        };
        mixed(mixed(mixed(self.key ^ code) ^ layer as u64) ^ sequence)
    }

    /// Drops from consecutive rows of one sequence, `[rows, width]`, whose positions are given; the same call serves their
    /// gradient.
    pub(crate) fn positions<R: Real>(
        &self,
        site: DropSite,
        layer: usize,
        sequence: usize,
        positions: impl Iterator<Item = usize>,
        data: &mut [R],
        width: usize,
    ) {
        let dropout = Dropout::new(self.rate(site));
        if dropout.is_off() {
            return;
        }
        let place = self.place(site, layer, sequence);
        for (row, position) in data.chunks_exact_mut(width).zip(positions) {
            dropout.apply(row, mixed(place ^ position as u64));
        }
    }

    /// Drops from `[rows, width]` of a whole batch.
    pub(crate) fn rows<R: Real>(
        &self,
        site: DropSite,
        layer: usize,
        batch: &PackedBatch,
        rows: &Rows,
        data: &mut [R],
        width: usize,
    ) {
        if self.is_off(site) {
            return;
        }
        for (sequence, tokens) in batch.ranges().enumerate() {
            let range = rows.range(batch, sequence);
            let data = &mut data[range.start * width..range.end * width];
            match rows.tokens(sequence) {
                None => self.positions(site, layer, sequence, 0..tokens.len(), data, width),
                Some(read) => {
                    let positions = read.iter().map(|token| token - tokens.start);
                    self.positions(site, layer, sequence, positions, data, width);
                }
            }
        }
    }
}
