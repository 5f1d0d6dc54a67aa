//! The options of `bertology cat`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::code::ReadingArgs;
use super::{SequenceArgs, StudyArgs};

pub(crate) const ABOUT: &str = "\
How a model of code attends to its structure: the CAT-score of every layer and head (Chen et al. 2022), with controls.

The score is the share of cells that have both high attention and small distance in the tree, among those that have either. \
Neighbours are near in any tree: attention that knows positions alone scores about a half, so that every score stands beside \
its controls.";

/// `bertology cat`
pub(crate) type CatArgs = StudyArgs<CodeArgs, CatOwn>;

/// Functions, and how they become sequences.
#[derive(Debug, Args, Serialize)]
pub(crate) struct CodeArgs {
    /// Functions: JSON Lines with `code`, a source file, or a folder of either.
    #[arg(long, value_name = "PATH", help_heading = "Code")]
    pub(crate) code: PathBuf,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) reading: ReadingArgs,
    /// Take only the functions with these numbers, from 0 in the order of reading: a file with one a line.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "sample",
        help_heading = "Code"
    )]
    pub(crate) indices: Option<PathBuf>,
    /// Draw so many functions without replacement (--seed).
    #[arg(long, value_name = "N", help_heading = "Code")]
    pub(crate) sample: Option<NonZeroUsize>,
    /// Read only the first N functions.
    #[arg(long, value_name = "N", help_heading = "Code")]
    pub(crate) limit: Option<usize>,
    /// Leave out functions with fewer leaves, counted in what the model reads.
    #[arg(
        long,
        value_name = "N",
        default_value_t = bertology::input::code::DEFAULT_MIN_LEAVES,
        help_heading = "Code"
    )]
    pub(crate) min_leaves: usize,
    /// Whether leaves that the model does not read stay in chain and flow.
    #[arg(
        long,
        value_name = "HOW",
        default_value = "keep",
        help_heading = "Tree"
    )]
    pub(crate) tail: TailArg,
    /// What a token with characters of several leaves counts for.
    #[arg(
        long,
        value_name = "HOW",
        default_value = "share",
        help_heading = "Attention"
    )]
    pub(crate) shared_tokens: SharedTokensArg,
    /// What stands before a function besides what the tokenizer puts there.
    #[arg(
        long,
        value_name = "WHAT",
        default_value = "none",
        help_heading = "Sequences"
    )]
    pub(crate) prefix: PrefixArg,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) sequence: SequenceArgs,
}

/// Whether leaves that the model does not read stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TailArg {
    /// They stay in chain and flow: the paper.
    Keep,
    /// They leave both, which changes distances.
    Drop,
}

/// What a token of several leaves counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SharedTokensArg {
    /// Each of them.
    Share,
    /// The first.
    First,
    /// The one with the most of its bytes.
    MaxOverlap,
    /// None.
    Drop,
}

/// What stands before a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PrefixArg {
    /// Nothing more.
    None,
    /// UniXcoder's own: `<s> <encoder-only> </s>`.
    EncoderOnly,
}

/// What is measured.
#[derive(Debug, Args, Serialize)]
pub(crate) struct CatOwn {
    /// Attention above this quantile is high, distance below one minus it small: a fraction.
    #[arg(
        long,
        value_name = "A/B",
        default_value = "3/4",
        help_heading = "Score"
    )]
    pub(crate) quantile: FractionArg,
    /// How high attention is chosen.
    #[arg(
        long = "match",
        value_name = "HOW",
        default_value = "quantile",
        help_heading = "Score"
    )]
    pub(crate) matching: MatchArg,
    /// How attention between tokens becomes attention between leaves.
    #[arg(
        long,
        value_name = "HOW",
        default_value = "mean-mean",
        help_heading = "Attention"
    )]
    pub(crate) leaf_mean: LeafMeanArg,
    /// Make every row's attention to leaves sum to one.
    #[arg(long, help_heading = "Attention")]
    pub(crate) renormalise: bool,
    /// Score also the leaves of frequent kinds alone: `shared`, `static`, `own` (those of this model, chosen on functions that are not
    /// scored), `none`, or a file with a kind a line.
    #[arg(
        long,
        value_name = "WHICH",
        default_value = "shared",
        help_heading = "Score"
    )]
    pub(crate) frequent: FrequentArg,
    /// Of the functions, the share on which kinds are chosen with --frequent own [default: 1/5].
    #[arg(long, value_name = "A/B", help_heading = "Score")]
    pub(crate) held_out: Option<FractionArg>,
    /// Score as the paper's released code does, too, for comparison with figures that were recorded with it; functions need `code_tokens`.
    #[arg(long, help_heading = "Score")]
    pub(crate) legacy: bool,
    /// Encoders of the same architecture with first values, as a control.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Controls")]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) random_encoder: u32,
    /// Permutations of the leaves, as a control and for the best of all heads.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 200,
        help_heading = "Controls"
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub(crate) permutations: u32,
    /// How often functions are drawn again for intervals.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1000,
        help_heading = "Controls"
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(crate) resamples: u32,
    /// Of all that is drawn.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 42,
        help_heading = "Controls"
    )]
    pub(crate) seed: u64,
    /// A score of the model elsewhere, to stand beside its own on the page (bleu=19.3); may be repeated.
    #[arg(long, value_name = "NAME=SCORE", help_heading = "Output")]
    pub(crate) downstream: Vec<NamedScore>,
    /// The function whose attention and distances are shown, by its number [default: the first of 12 to 40 leaves].
    #[arg(long, value_name = "N", help_heading = "Output")]
    pub(crate) example: Option<u64>,
}

/// How high attention is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MatchArg {
    /// Above the quantile: the paper.
    Quantile,
    /// As many cells as are near.
    Top,
}

/// How attention between tokens becomes attention between leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LeafMeanArg {
    /// The mean over the tokens of both: the paper.
    MeanMean,
    /// The mean over those that look, the sum over those that are looked at.
    MeanSum,
}

/// Kinds of leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FrequentArg {
    /// None.
    None,
    /// Of the paper's figures.
    Shared,
    /// Of the released code.
    Static,
    /// Of the model itself, on functions that are not scored.
    Own,
    /// Of a file.
    File(PathBuf),
}

impl FromStr for FrequentArg {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "none" => Self::None,
            "shared" => Self::Shared,
            "static" => Self::Static,
            "own" => Self::Own,
            file => Self::File(file.into()),
        })
    }
}

/// A fraction in whole numbers, or a decimal one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct FractionArg {
    pub(crate) numerator: u32,
    pub(crate) denominator: u32,
}

impl FromStr for FractionArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = match text.split_once('/') {
            Some((numerator, denominator)) => numerator.parse().ok().zip(denominator.parse().ok()),
            None => decimal(text),
        };
        let (numerator, denominator) =
            parsed.ok_or("give a fraction such as 3/4, or a decimal one such as 0.75")?;
        Ok(Self {
            numerator,
            denominator,
        })
    }
}

/// 0.75 as 75/100: exact, which no float is.
fn decimal(text: &str) -> Option<(u32, u32)> {
    let digits = text.strip_prefix("0.").or(text.strip_prefix('.'))?;
    let numbers = digits.bytes().all(|byte| byte.is_ascii_digit());
    let denominator = 10_u32.checked_pow(u32::try_from(digits.len()).ok()?)?;
    (numbers && !digits.is_empty())
        .then(|| digits.parse().ok())
        .flatten()
        .map(|numerator| (numerator, denominator))
}

/// `NAME=SCORE`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct NamedScore {
    pub(crate) name: String,
    pub(crate) score: f64,
}

impl FromStr for NamedScore {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || "give a name and a number, such as bleu=19.3".to_owned();
        let (name, score) = text.split_once('=').ok_or_else(wanted)?;
        let score: f64 = score.parse().map_err(|_| wanted())?;
        if name.is_empty() || !score.is_finite() {
            return Err(wanted());
        }
        Ok(Self {
            name: name.to_owned(),
            score,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_exact() {
        let parse = |text: &str| {
            text.parse::<FractionArg>()
                .map(|f| (f.numerator, f.denominator))
        };
        assert_eq!(parse("3/4"), Ok((3, 4)));
        assert_eq!(parse("0.75"), Ok((75, 100)));
        assert_eq!(parse(".5"), Ok((5, 10)));
        for wrong in ["", "1", "75", "0.", "-0.5", "3/", "0.7e1", "0.12345678901"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn scores_have_names() {
        let parse = |text: &str| text.parse::<NamedScore>().map(|s| (s.name, s.score));
        assert_eq!(parse("bleu=19.3"), Ok(("bleu".into(), 19.3)));
        for wrong in ["19.3", "=1", "bleu=", "bleu=nan", "bleu=inf"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
