//! `bertology patterns`

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{ObjectiveArg, PassageArgs, StudyArgs};

pub(crate) const ABOUT: &str = "\
What every head looks at: itself, its neighbours, special tokens, punctuation, or everything alike.

Averages over documents, per head and layer, the entropy of attention, and a word for what a head does \
(Clark et al. 2019, section 3). With --gradients, how much the model's loss depends on attention to each \
class of tokens.";

/// `bertology patterns`
pub(crate) type PatternsArgs = StudyArgs<PassageArgs, PatternsOwn>;

/// What is asked.
#[derive(Debug, Args, Serialize)]
pub(crate) struct PatternsOwn {
    /// What sums over rows of attention are divided by.
    #[arg(
        long,
        value_name = "HOW",
        default_value = "paper",
        help_heading = "Patterns"
    )]
    pub(crate) denominators: DenominatorsArg,
    /// The punctuation marks, each one character [default: . and , where the vocabulary has them].
    #[arg(long, value_name = "MARKS", help_heading = "Patterns")]
    pub(crate) punctuation: Option<String>,
    /// Take the entropy of rows smoothed by 1/10000, as the paper's code does.
    #[arg(long, help_heading = "Patterns")]
    pub(crate) entropy_smoothing: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) gradients: GradientArgs,
}

/// Gradients with respect to attention, and of which loss.
#[derive(Debug, Args, Serialize)]
pub(crate) struct GradientArgs {
    /// Also the size of the loss's gradient with respect to attention, by class of token.
    #[arg(long, help_heading = "Gradients")]
    pub(crate) gradients: bool,
    /// Also that of gradients times attention, which the paper does not have.
    #[arg(long, help_heading = "Gradients", requires = "gradients")]
    pub(crate) gradient_times_attention: bool,
    /// The loss [default: what the model's head was made for].
    #[arg(
        long,
        value_name = "WHAT",
        help_heading = "Gradients",
        requires = "gradients"
    )]
    pub(crate) objective: Option<ObjectiveArg>,
    /// mlm: chance of each token to be predicted; 0 is --unmasked [default: 0.15].
    #[arg(
        long,
        value_name = "P",
        help_heading = "Gradients",
        requires = "gradients",
        allow_negative_numbers = true
    )]
    pub(crate) mlm_probability: Option<f64>,
    /// mlm: leave the text as it is, and predict every token.
    #[arg(
        long,
        help_heading = "Gradients",
        requires = "gradients",
        conflicts_with = "mlm_probability"
    )]
    pub(crate) unmasked: bool,
    /// mlm: seed of the choice of tokens [default: 42].
    #[arg(
        long,
        value_name = "SEED",
        help_heading = "Gradients",
        requires = "gradients"
    )]
    #[serde(skip)]
    pub(crate) seed: Option<u64>,
}

/// What sums over rows are divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DenominatorsArg {
    /// All tokens, as the paper's code: a head that always looks at the next token has (n - 1)/n.
    Paper,
    /// The rows that have such a key: it has 1.
    Exact,
}
