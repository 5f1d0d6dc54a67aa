//! A model, its gradients and the optimiser's memory of them.

use std::ops::Range;

use bertology::checkpoint::{Architecture, Parameter};
use bertology::model::{
    Gradients, Layout, Model, Sequence, SequenceOutput, TrainingOptions, TrainingWorkspace,
};
use bertology_kernels::adam::{AdamStep, adam_step};

use super::{Freeze, Options};
use crate::{Adam, Error};

/// Numbers that one thread moves at a time.
const BLOCK: usize = 1 << 16;

/// What the optimiser does with one parameter.
#[derive(Debug, Clone, PartialEq)]
struct Part {
    /// Where it lies among all numbers.
    range: Range<usize>,
    /// Multiplies the learning rate; 0 where the parameter is frozen.
    rate: f64,
    decays: bool,
}

/// A model in training.
#[derive(Debug)]
pub(crate) struct Learner {
    pub(crate) model: Model<f32>,
    gradients: Gradients<f32>,
    mean: Vec<f32>,
    square: Vec<f32>,
    parts: Vec<Part>,
    pub(super) work: TrainingWorkspace<f32>,
    adam: Adam,
    max_norm: Option<f64>,
    /// Steps taken.
    pub(crate) steps: u64,
}

/// One block of numbers on its way through the optimiser.
struct Move<'a> {
    step: AdamStep,
    values: &'a mut [f32],
    gradient: &'a [f32],
    mean: &'a mut [f32],
    square: &'a mut [f32],
}

impl Learner {
    /// Makes the weights its own, if they were somebody else's.
    ///
    /// # Errors
    /// [`Error::AllFrozen`]; [`Error::SharedLayers`]; threads that the system does not give.
    pub(crate) fn new(
        mut model: Model<f32>,
        options: &Options,
        threads: usize,
    ) -> Result<Self, Error> {
        check_shared(model.architecture(), options)?;
        model.each_parameter_mut(|_, _, _| {});
        let gradients = Gradients::new(&model);
        let size = gradients.values().len();
        let layers = model.architecture().num_layers;
        let parts = parts(gradients.layout(), layers, options);
        if parts.iter().all(|part| part.rate == 0.0) {
            return Err(Error::AllFrozen);
        }
        Ok(Self {
            model,
            gradients,
            mean: vec![0.0; size],
            square: vec![0.0; size],
            parts,
            work: TrainingWorkspace::new(threads).map_err(bertology::Error::from)?,
            adam: options.adam,
            max_norm: options.max_norm,
            steps: 0,
        })
    }

    /// Adds the gradient of `Σ weight · loss`.
    pub(crate) fn add(
        &mut self,
        sequences: &[Sequence],
        options: &TrainingOptions<'_>,
    ) -> Result<Vec<SequenceOutput<f32>>, Error> {
        let (work, gradients) = (&mut self.work, &mut self.gradients);
        let outputs = self
            .model
            .add_gradients(sequences, options, work, gradients);
        Ok(outputs.map_err(bertology::Error::from)?)
    }

    /// Moves the weights against the gradient with this learning rate, and clears it; gives the gradient's norm before it
    /// was clipped.
    pub(crate) fn step(&mut self, rate: f64) -> Result<f64, Error> {
        for part in self.parts.iter().filter(|part| part.rate == 0.0) {
            self.gradients.values_mut()[part.range.clone()].fill(0.0);
        }
        let norm = self.gradients.norm();
        if !norm.is_finite() {
            return Err(Error::Diverged { step: self.steps });
        }
        // `torch.nn.utils.clip_grad_norm_`.
        let scale = self
            .max_norm
            .map_or(1.0, |most| (most / (norm + 1e-6)).min(1.0));
        self.steps += 1;
        let share = |beta: f64| 1.0 - beta.powf(self.steps as f64);
        let adam = self.adam;
        let step = |part: &Part| AdamStep {
            gradient_scale: scale,
            beta1: adam.beta1,
            beta2: adam.beta2,
            size: rate * part.rate / share(adam.beta1),
            root_scale: share(adam.beta2).sqrt().recip(),
            epsilon: adam.epsilon,
            kept: if part.decays {
                1.0 - rate * part.rate * adam.weight_decay
            } else {
                1.0
            },
        };
        let (mut gradient, mut mean, mut square) = (
            self.gradients.values(),
            self.mean.as_mut_slice(),
            self.square.as_mut_slice(),
        );
        let mut parts = self.parts.iter();
        let mut moves = Vec::new();
        self.model.each_parameter_mut(|_, _, values| {
            let (own, rest) = gradient.split_at(values.len());
            gradient = rest;
            let (own_mean, rest) = std::mem::take(&mut mean).split_at_mut(values.len());
            mean = rest;
            let (own_square, rest) = std::mem::take(&mut square).split_at_mut(values.len());
            square = rest;
            let Some(part) = parts.next().filter(|part| part.rate > 0.0) else {
                return;
            };
            let blocks = values
                .chunks_mut(BLOCK)
                .zip(own.chunks(BLOCK))
                .zip(own_mean.chunks_mut(BLOCK))
                .zip(own_square.chunks_mut(BLOCK));
            moves.extend(blocks.map(|(((values, gradient), mean), square)| Move {
                step: step(part),
                values,
                gradient,
                mean,
                square,
            }));
        });
        self.work.for_each(moves, |block| {
            let Move {
                step,
                values,
                gradient,
                mean,
                square,
            } = block;
            adam_step(step, values, gradient, mean, square, &mut []);
        });
        self.gradients.clear();
        Ok(norm)
    }

    /// All weights end to end.
    pub(crate) fn values(&self) -> Vec<f32> {
        let mut all = Vec::with_capacity(self.mean.len());
        self.model
            .each_parameter(|_, _, values| all.extend_from_slice(values));
        all
    }

    /// Sets all weights.
    pub(crate) fn set_values(&mut self, all: &[f32]) {
        let mut rest = all;
        self.model.each_parameter_mut(|_, _, values| {
            let (own, behind) = rest.split_at(values.len());
            values.copy_from_slice(own);
            rest = behind;
        });
    }

    /// Numbers in the model.
    pub(crate) fn size(&self) -> usize {
        self.mean.len()
    }

    /// The means of the gradients and of their squares.
    pub(crate) fn moments(&self) -> [&[f32]; 2] {
        [&self.mean, &self.square]
    }

    /// The same, to be filled.
    pub(crate) fn moments_mut(&mut self) -> [&mut [f32]; 2] {
        [&mut self.mean, &mut self.square]
    }
}

/// How high a parameter stands: 0 the embeddings, then the blocks, then the task head.
fn height(parameter: Parameter, layers: usize) -> usize {
    match parameter {
        Parameter::WordEmbeddings
        | Parameter::PositionEmbeddings
        | Parameter::SegmentEmbeddings
        | Parameter::EmbeddingNorm(_)
        | Parameter::EmbeddingProjection(_)
        | Parameter::RelativeEmbeddings
        | Parameter::RelativeNorm(_) => 0,
        Parameter::Layer(layer, _) => layer + 1,
        _ => layers + 1,
    }
}

/// Vectors (biases and norms) do not decay, matrices do, as transformers' Trainer has it.
/// Refuses rates by layer where layers have their weights in common.
fn check_shared(arch: &Architecture, options: &Options) -> Result<(), Error> {
    let mut later = (0..arch.num_layers).filter(|layer| arch.weights_of(*layer) != *layer);
    let Some(first) = later.next() else {
        return Ok(());
    };
    #[allow(clippy::float_cmp, reason = "what nobody asked for is 1 to the bit")]
    if options.layer_decay != 1.0 {
        let what = "a learning rate that falls by layer";
        return Err(Error::SharedLayers { what });
    }
    let parted = |below: usize| {
        std::iter::once(first)
            .chain(later.clone())
            .any(|layer| (layer < below) != (arch.weights_of(layer) < below))
    };
    let divides = |freeze: &Freeze| matches!(freeze, Freeze::Layers(below) if parted(*below));
    if options.freeze.iter().any(divides) {
        let what = "freezing the lowest ones";
        return Err(Error::SharedLayers { what });
    }
    Ok(())
}

fn parts(layout: &Layout, layers: usize, options: &Options) -> Vec<Part> {
    let part = |place: &bertology::model::ParameterPlace| {
        let height = height(place.parameter, layers);
        let frozen = options.freeze.iter().any(|freeze| match freeze {
            Freeze::Embeddings => height == 0,
            Freeze::Layers(below) => (1..=*below).contains(&height),
            Freeze::Encoder => height <= layers,
        });
        let below = u32::try_from(layers + 1 - height).unwrap_or(u32::MAX);
        Part {
            range: place.range.clone(),
            rate: if frozen {
                0.0
            } else {
                options.layer_decay.powf(f64::from(below))
            },
            decays: place.shape.len() > 1,
        }
    };
    layout.places().iter().map(part).collect()
}
