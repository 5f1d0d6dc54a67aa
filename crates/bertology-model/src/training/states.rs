//! Hidden states that a model in training is to come close to: those of a teacher.

use bertology_kernels::Real;
use bertology_kernels::elementwise::add_assign;

use super::{Group, TrainingOptions};
use crate::{Error, Model, PackedBatch, Sequence, SequenceOutput};

/// The outputs of another model's blocks for the same tokens, and how much the distance from them counts.
#[derive(Debug, Clone, Copy)]
pub struct TaughtStates<'a> {
    /// `[sequence][layer]`, each `[tokens, hidden]`: what every block puts out, before any norm behind the last one.
    pub states: &'a [Vec<Vec<f32>>],
    /// Multiplies the mean squared difference over layers, tokens and hidden units, which is added to a sequence's loss.
    pub weight: f64,
}

/// What a group has of [`TaughtStates`].
#[derive(Debug)]
pub(super) struct StatesTrace<R> {
    /// `[layer][tokens, hidden]`: the gradient of the distance with respect to what the block puts out.
    gradients: Vec<Vec<R>>,
    /// The distance of each sequence, weighted.
    losses: Vec<f64>,
}

impl<R> Default for StatesTrace<R> {
    fn default() -> Self {
        Self {
            gradients: Vec::new(),
            losses: Vec::new(),
        }
    }
}

impl<R: Real> StatesTrace<R> {
    /// Nothing of the batch before.
    pub(super) fn begin(&mut self, sequences: usize) {
        self.gradients.iter_mut().for_each(Vec::clear);
        self.losses.clear();
        self.losses.resize(sequences, 0.0);
    }

    /// What a block puts out, `hidden [tokens, hidden]`, against what it should.
    pub(super) fn compare(
        &mut self,
        layer: usize,
        hidden: &[R],
        (batch, first): (&PackedBatch, usize),
        layers: usize,
        options: &TrainingOptions<'_>,
    ) {
        let Some(taught) = options.states else {
            return;
        };
        let width = hidden.len() / batch.tokens().max(1);
        self.gradients.resize_with(layers, Vec::new);
        let gradient = &mut self.gradients[layer];
        gradient.clear();
        for sequence in 0..batch.len() {
            let range = batch.range(sequence);
            let own = &hidden[range.start * width..range.end * width];
            let of = &taught.states[first + sequence][layer];
            let share = taught.weight / (layers * own.len()) as f64;
            let slope = R::from_f64(2.0 * share * options.weights[first + sequence]);
            let differences = own.iter().zip(of);
            let differences = differences.map(|(own, of)| *own - R::from_f64(f64::from(*of)));
            let mut squares = 0.0;
            gradient.extend(differences.map(|difference| {
                squares += difference.to_f64() * difference.to_f64();
                difference * slope
            }));
            self.losses[sequence] += share * squares;
        }
    }

    /// Adds to the gradient with respect to what a block puts out.
    pub(super) fn add_to(&self, layer: usize, gradient: &mut [R]) {
        if let Some(own) = self.gradients.get(layer).filter(|own| !own.is_empty()) {
            add_assign(gradient, own);
        }
    }
}

impl<R: Real> Model<R> {
    /// Refuses states of other shapes.
    pub(super) fn check_states(
        &self,
        sequences: &[Sequence],
        options: &TrainingOptions<'_>,
    ) -> Result<(), Error> {
        let Some(taught) = options.states else {
            return Ok(());
        };
        let (layers, width) = (self.depth(), self.architecture().hidden_size);
        if taught.states.len() != sequences.len() {
            return Err(Error::TaughtStates {
                what: "sequences",
                found: taught.states.len(),
                expected: sequences.len(),
            });
        }
        for (states, sequence) in taught.states.iter().zip(sequences) {
            if states.len() != layers {
                return Err(Error::TaughtStates {
                    what: "layers",
                    found: states.len(),
                    expected: layers,
                });
            }
            let expected = sequence.len() * width;
            if let Some(wrong) = states.iter().find(|state| state.len() != expected) {
                return Err(Error::TaughtStates {
                    what: "numbers in the states of a layer",
                    found: wrong.len(),
                    expected,
                });
            }
        }
        Ok(())
    }
}

/// Adds the distances to the losses of their sequences.
pub(super) fn add_distances<R>(groups: &[Group<R>], outputs: &mut [SequenceOutput<R>]) {
    for group in groups {
        for (sequence, distance) in group.states.losses.iter().enumerate() {
            if let Some(loss) = &mut outputs[group.first + sequence].loss {
                *loss += distance;
            }
        }
    }
}
