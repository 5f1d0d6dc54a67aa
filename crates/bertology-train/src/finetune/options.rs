//! How a model is trained.

use bertology::drive::Work;
use serde::{Deserialize, Serialize};

use crate::Adam;

/// What is not trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Freeze {
    /// Tables of words, positions and segments, their norm.
    Embeddings,
    /// So many blocks, from the lowest.
    Layers(usize),
    /// Everything below the task head.
    Encoder,
}

/// How the learning rate goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decline {
    /// In a straight line to 0.
    #[default]
    Linear,
    /// Half a cosine to 0.
    Cosine,
    /// Not at all.
    Constant,
}

/// Which weights are the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// Those after the last step.
    #[default]
    Last,
    /// Those with the best score on the dev set; the earlier of equals.
    Best,
}

/// How a teacher counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Distillation {
    /// Softens both distributions; above 0.
    pub temperature: f64,
    /// Of the teacher's part in the loss, in `[0, 1]`.
    pub share: f64,
    /// Multiplies the mean squared distance from the teacher's hidden states, which is added to the loss; 0 leaves them out.
    pub hidden: f64,
}

impl Default for Distillation {
    /// Half and half, temperature 2.
    fn default() -> Self {
        Self {
            temperature: 2.0,
            share: 0.5,
            hidden: 0.0,
        }
    }
}

/// How a model is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Passes over the examples.
    pub epochs: u64,
    /// Ends after so many steps, even within an epoch; the schedule is laid out for them.
    pub max_steps: Option<u64>,
    /// Examples of one pass of the model.
    pub batch_size: usize,
    /// Batches whose gradients make a step.
    pub accumulation: usize,
    /// Constants of AdamW; the weight decay is for matrices alone.
    pub adam: Adam,
    /// How the learning rate goes after the warm-up.
    pub decline: Decline,
    /// Share of all steps in which the learning rate rises from 0.
    pub warmup: f64,
    /// Gradients of a greater norm are scaled down to it.
    pub max_norm: Option<f64>,
    /// Each block's learning rate is this times that of the one above it; 1 for one rate.
    pub layer_decay: f64,
    /// What is not trained.
    pub freeze: Vec<Freeze>,
    /// Whether values are dropped as the config says.
    pub dropout: bool,
    /// Of the order of the examples, of dropout and, for masked language models, of the masks.
    pub seed: u64,
    /// Steps between two looks at the dev set; `None`: after each epoch.
    pub evaluate_every: Option<u64>,
    /// The score that decides; `None`: the task's own.
    pub metric: Option<String>,
    /// Ends when the dev score was not better so often in a row.
    pub patience: Option<u32>,
    /// Which weights are the result.
    pub keep: Keep,
    /// Writes a checkpoint before the first step and at every look at the dev set.
    pub checkpoints: bool,
    /// How a teacher counts, if there is one.
    pub distillation: Distillation,
    /// How the work is spread.
    pub work: Work,
}

impl Default for Options {
    /// What fine-tuning a BERT on GLUE usually takes.
    fn default() -> Self {
        Self {
            epochs: 3,
            max_steps: None,
            batch_size: 32,
            accumulation: 1,
            adam: Adam {
                learning_rate: 3e-5,
                weight_decay: 0.01,
                ..Adam::default()
            },
            decline: Decline::Linear,
            warmup: 0.1,
            max_norm: Some(1.0),
            layer_decay: 1.0,
            freeze: Vec::new(),
            dropout: true,
            seed: 42,
            evaluate_every: None,
            metric: None,
            patience: None,
            keep: Keep::Last,
            checkpoints: false,
            distillation: Distillation::default(),
            work: Work::default(),
        }
    }
}
