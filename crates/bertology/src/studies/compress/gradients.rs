//! The gradient of every example's loss with respect to the mask factor of every head and neuron.

use bertology_model::{Event, HeadId, Interests, LayerSite, Model, Sequence, SequenceOutput, Tap};
use serde::{Deserialize, Serialize};

use super::groups::{Groups, Kind};
use crate::drive::{Contribution, Lens, Progress, Study, Wants, Work, drive};
use crate::input::corpus::ExampleItem;
use crate::input::supply::{Fate, Supply};
use crate::watch::Purpose;
use crate::{Error, LoadedModel, Watch};

/// `[examples, units]`: the units group by group, as in [`Groups`].
#[derive(Debug, Clone, PartialEq)]
pub struct Gradients {
    counts: Vec<usize>,
    /// A row for each example; by themselves, since all of them end to end would be twice as much while they grow.
    rows: Vec<Vec<f32>>,
    /// Tokens of all examples, and the sum of their squares.
    tokens: [f64; 2],
}

impl Gradients {
    /// From a row of all units for each example, of so many units a group, and the tokens of each example.
    ///
    /// # Panics
    /// If a row is not as long as the groups are together.
    #[must_use]
    pub fn new(counts: Vec<usize>, rows: Vec<Vec<f32>>, tokens: &[usize]) -> Self {
        let units: usize = counts.iter().sum();
        assert!(rows.iter().all(|row| row.len() == units));
        let sum = |power: i32| tokens.iter().map(|n| (*n as f64).powi(power)).sum();
        Self {
            counts,
            rows,
            tokens: [sum(1), sum(2)],
        }
    }

    /// Number of examples.
    #[must_use]
    pub fn examples(&self) -> usize {
        self.rows.len()
    }

    /// The length at which attention costs per token what it costs on average here, `Σ n² / Σ n` over examples of `n` tokens.
    #[must_use]
    pub fn length(&self) -> f64 {
        self.tokens[1] / self.tokens[0].max(1.0)
    }

    /// Those with respect to a factor of whole layers, one a group: of a layer's heads and neurons together, which is the sum of
    /// theirs.
    #[must_use]
    pub fn layers(&self) -> Self {
        let widths: Vec<usize> = self.counts.chunks(2).map(|of| of.iter().sum()).collect();
        let of_layers = |row: &Vec<f32>| {
            let mut rest = &row[..];
            let mut sum = |width: &usize| {
                let (layer, behind) = rest.split_at(*width);
                rest = behind;
                layer.iter().map(|g| f64::from(*g)).sum::<f64>() as f32
            };
            widths.iter().map(&mut sum).collect()
        };
        Self {
            counts: vec![1; widths.len()],
            rows: self.rows.iter().map(of_layers).collect(),
            tokens: self.tokens,
        }
    }

    pub(crate) fn scale(&mut self, factor: f64) {
        for g in self.rows.iter_mut().flatten() {
            *g = (factor * f64::from(*g)) as f32;
        }
    }

    /// Adds another's rows, of the same examples.
    pub(crate) fn add(&mut self, other: &Self) {
        for (row, other) in self.rows.iter_mut().zip(&other.rows) {
            for (sum, g) in row.iter_mut().zip(other) {
                *sum += g;
            }
        }
    }

    /// Forgets the gradients of groups of other kinds.
    pub(crate) fn keep(&mut self, wanted: impl Fn(usize) -> bool) {
        let mut first = 0;
        for (group, count) in self.counts.iter().enumerate() {
            if !wanted(group) {
                for row in &mut self.rows {
                    row[first..first + count].fill(0.0);
                }
            }
            first += count;
        }
    }

    /// Units of each group.
    #[must_use]
    pub fn counts(&self) -> &[usize] {
        &self.counts
    }

    /// Those of a group, example by example.
    ///
    /// # Panics
    /// If there is no such group.
    pub fn group(&self, group: usize) -> impl ExactSizeIterator<Item = &[f32]> {
        let first: usize = self.counts[..group].iter().sum();
        let units = first..first + self.counts[group];
        self.rows.iter().map(move |row| &row[units.clone()])
    }
}

/// Tokens put through the model at once on the processor unless told otherwise: less than elsewhere, since neurons are kept of all
/// layers besides, and rows of gradients grow meanwhile. A device has memory of its own, and too little to do with so few.
const BATCH_TOKENS: usize = 512;

/// Takes the gradients of every unit of `supply`.
///
/// # Errors
/// Units without a target or that the model cannot take; an interruption.
pub fn gradients<S: Supply<Item = ExampleItem>>(
    model: &LoadedModel,
    supply: &S,
    work: &Work,
    watch: &mut dyn Watch,
) -> Result<Gradients, Error> {
    let work = Work {
        batch_tokens: work
            .batch_tokens
            .or_else(|| model.other_device().is_none().then_some(BATCH_TOKENS)),
        ..*work
    };
    let mut progress = Progress::new(GradientsState::new(model.model()));
    drive(model, supply, &mut progress, &work, watch)?;
    let state = progress.into_study();
    Ok(Gradients::new(state.counts, state.rows, &state.tokens))
}

/// Rows that come in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct GradientsState {
    /// Original numbers of the heads of each layer.
    heads: Vec<Vec<usize>>,
    /// Heads of a layer of the unpruned model.
    all_heads: usize,
    counts: Vec<usize>,
    rows: Vec<Vec<f32>>,
    tokens: Vec<usize>,
}

impl GradientsState {
    fn new(model: &Model<f32>) -> Self {
        let groups = Groups::of(model);
        Self {
            heads: (0..groups.layers())
                .map(|layer| groups.heads(layer).to_vec())
                .collect(),
            all_heads: model.architecture().num_heads,
            counts: groups.counts(),
            rows: Vec::new(),
            tokens: Vec::new(),
        }
    }
}

/// Sees the gradients of neurons, hears those of heads.
#[derive(Debug)]
struct GradientLens {
    heads: Vec<Vec<usize>>,
    all_heads: usize,
    counts: Vec<usize>,
    /// Where each group begins.
    starts: Vec<usize>,
}

impl Lens for GradientLens {
    type Item = ExampleItem;
    /// One row.
    type Part = Vec<f32>;

    fn wants(&self) -> Wants<'_> {
        Wants {
            interests: Interests::none().gradient(LayerSite::NeuronMask),
            outputs: true,
            mask_gradients: true,
            ..Wants::default()
        }
    }

    fn begin(&self, _: &ExampleItem, _: &Sequence) -> Result<Vec<f32>, Error> {
        Ok(vec![0.0; self.counts.iter().sum()])
    }

    fn see(&self, _: &ExampleItem, part: &mut Vec<f32>, event: &Event<'_, f32>) {
        let Tap::Layer(layer, _) = event.tap else {
            return;
        };
        let group = Kind::Neurons.group(layer);
        let into = &mut part[self.starts[group]..][..self.counts[group]];
        let mut sums = vec![0.0_f64; into.len()];
        for row in event.value.iter_rows() {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += f64::from(*value);
            }
        }
        for (into, sum) in into.iter_mut().zip(sums) {
            *into = sum as f32;
        }
    }

    fn output(
        &self,
        _: &ExampleItem,
        part: &mut Vec<f32>,
        _: Option<HeadId>,
        output: &SequenceOutput<f32>,
    ) -> Result<(), Error> {
        let all = output.mask_gradient.as_deref().unwrap_or_default();
        for (layer, heads) in self.heads.iter().enumerate() {
            let into = &mut part[self.starts[Kind::Heads.group(layer)]..][..heads.len()];
            for (into, head) in into.iter_mut().zip(heads) {
                *into = all[layer * self.all_heads + head] as f32;
            }
        }
        Ok(())
    }

    fn close(&self, _: &ExampleItem, part: &mut Vec<f32>) -> Result<(), Error> {
        match part.iter().find(|value| !value.is_finite()) {
            None => Ok(()),
            Some(value) => Err(Error::NotFinite {
                what: "the gradient of the factor of a head or neuron".to_owned(),
                value: f64::from(*value),
            }),
        }
    }

    fn bytes(&self, _: u64) -> u64 {
        4 * self.counts.iter().sum::<usize>() as u64
    }
}

impl Study for GradientsState {
    type Lens = GradientLens;
    type Found = ();

    const PURPOSE: Purpose = Purpose::Importance;

    fn lens(&self) -> GradientLens {
        let mut starts = Vec::with_capacity(self.counts.len());
        let mut sum = 0;
        for count in &self.counts {
            starts.push(sum);
            sum += count;
        }
        GradientLens {
            heads: self.heads.clone(),
            all_heads: self.all_heads,
            counts: self.counts.clone(),
            starts,
        }
    }

    fn empty(&self) -> Self {
        Self {
            rows: Vec::new(),
            tokens: Vec::new(),
            ..self.clone()
        }
    }

    fn agrees(&self, _: &Self) -> Result<(), Error> {
        Ok(())
    }

    fn add(&mut self, fate: Fate<Contribution<'_, Self>>) -> Result<(), Error> {
        if let Fate::Studied(found) = fate {
            self.rows.push(found.part);
            self.tokens.push(found.tokens);
        }
        Ok(())
    }

    fn merge(&mut self, mut next: Self) -> Result<(), Error> {
        self.rows.append(&mut next.rows);
        self.tokens.append(&mut next.tokens);
        Ok(())
    }

    fn finish(&self) -> Result<(), Error> {
        Ok(())
    }
}
