//! The options of `bertology relations` and `bertology contacts`.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::str::FromStr;

use bertology::attention::relations::Distances;
use bertology_train::relations::{FitOptions, Penalty};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{RowModeArg, SequenceArgs, StudyArgs};

pub(crate) const ABOUT: &str = "\
Whether attention follows labelled pairs of words, tokens or residues: every head, and a regression over all of them.

Data are JSON lines: a `text`, `words`, `residues` or `tokens`, and `pairs` as [from, to, label] or [from, to, label, weight], \
counted from 0. Every number stands beside what unrelated pairs of the same texts and distances give. With --train a logistic \
regression over the attention of all heads is fitted on one file and scored on the other (Vig and Belinkov 2019, Clark et al. 2019, \
Rao et al. 2021).";

pub(crate) const CONTACTS_ABOUT: &str = "\
Whether attention follows the contacts of proteins: every head, the checkpoint's contact head, a regression over all heads.

Attention both ways is added and corrected by its average product; contacts are judged at short, medium and long range, by \
precision at L, L/2 and L/5 (Rao et al. 2021). Contacts are JSON lines: {\"id\": NAME, \"contacts\": [[i, j], ...]} or \
{\"id\": NAME, \"coordinates\": [[x, y, z], null, ...]} of C-beta atoms, of which those nearer than 8 touch; residues count from 0.";

/// `bertology relations`
pub(crate) type RelationsArgs = StudyArgs<PairsArgs, RelationsOwn>;

/// `bertology contacts`
pub(crate) type ContactsArgs = StudyArgs<ProteinsArgs, ContactsOwn>;

/// Related units.
#[derive(Debug, Args, Serialize)]
pub(crate) struct PairsArgs {
    /// Texts with labelled pairs, JSON lines.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub(crate) data: PathBuf,
    /// Fit a regression over all heads on this file, and score it on that of --data.
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Data",
        conflicts_with = "regression"
    )]
    pub(crate) train: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) sequence: SequenceArgs,
}

/// Proteins and their contacts.
#[derive(Debug, Args, Serialize)]
pub(crate) struct ProteinsArgs {
    /// Sequences, in FASTA.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub(crate) fasta: PathBuf,
    /// Their contacts, JSON lines with the names of the sequences.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub(crate) contacts: PathBuf,
    /// Fit a regression over all heads on these sequences, and score it on those of --fasta.
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Data",
        requires = "train_contacts",
        conflicts_with = "regression"
    )]
    pub(crate) train_fasta: Option<PathBuf>,
    /// The contacts of --train-fasta.
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Data",
        requires = "train_fasta"
    )]
    pub(crate) train_contacts: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) sequence: SequenceArgs,
}

/// What is asked of labelled pairs.
#[derive(Debug, Args, Serialize)]
pub(crate) struct RelationsOwn {
    /// Pairs have no direction: attention both ways is added.
    #[arg(long, help_heading = "Attention")]
    pub(crate) symmetric: bool,
    /// Take off what the sums of row and column explain (average product correction).
    #[arg(long, help_heading = "Attention")]
    pub(crate) apc: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) asked: AskedArgs,
}

/// What is asked of contacts.
#[derive(Debug, Args, Serialize)]
pub(crate) struct ContactsOwn {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) asked: AskedArgs,
}

/// What both ask.
#[derive(Debug, Args, Serialize)]
pub(crate) struct AskedArgs {
    /// Read only the first N records (of each file).
    #[arg(long, value_name = "N", help_heading = "Data")]
    pub(crate) limit: Option<usize>,
    /// What the attention from a unit of several tokens is.
    #[arg(
        long,
        value_name = "MODE",
        default_value = "mean",
        help_heading = "Attention"
    )]
    pub(crate) row_mode: RowModeArg,
    /// Shares are of entries with at least so much attention, as Vig et al. (2021) have them with .3; 0: of attention itself.
    #[arg(
        long,
        value_name = "A",
        default_value_t = 0.0,
        help_heading = "Attention"
    )]
    pub(crate) min_attention: f64,
    /// Judge pairs so many units apart: NAME=LEAST-MOST or NAME=LEAST-, several with commas between [default: all=1-; of contacts
    /// short=6-11,medium=12-23,long=24-].
    #[arg(
        long,
        value_name = "RANGES",
        value_delimiter = ',',
        help_heading = "Attention"
    )]
    pub(crate) distances: Vec<DistancesArg>,
    /// Score the regression that an earlier run left (its regression.json) and train none.
    #[arg(long, value_name = "FILE", help_heading = "Regression")]
    pub(crate) regression: Option<PathBuf>,
    /// What keeps weights small.
    #[arg(
        long,
        value_name = "PENALTY",
        default_value = "l2",
        help_heading = "Regression"
    )]
    pub(crate) penalty: PenaltyArg,
    /// How much pairs count beside the penalty: C of scikit-learn's LogisticRegression.
    #[arg(long, value_name = "C", default_value_t = 1.0, value_parser = above_zero, help_heading = "Regression")]
    pub(crate) inverse_penalty: f64,
    /// Train on about so many pairs: all that are related, and of the others as many as fit, each counting for those left out.
    #[arg(long, value_name = "N", default_value_t = TRAIN_PAIRS, help_heading = "Regression")]
    pub(crate) train_pairs: NonZeroU64,
    /// Of which unrelated pairs are taken.
    #[arg(
        long,
        value_name = "SEED",
        default_value_t = 42,
        help_heading = "Regression"
    )]
    pub(crate) seed: u64,
}

/// 230 MB of a model of 12 layers with 12 heads, where pairs have a direction.
const TRAIN_PAIRS: NonZeroU64 = NonZeroU64::new(200_000).unwrap();

/// What keeps weights small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PenaltyArg {
    /// Half the sum of their squares.
    L2,
    /// The sum of their absolute values, which leaves most at zero.
    L1,
}

impl AskedArgs {
    pub(crate) fn fit(&self) -> FitOptions {
        FitOptions {
            penalty: match self.penalty {
                PenaltyArg::L2 => Penalty::L2,
                PenaltyArg::L1 => Penalty::L1,
            },
            strength: self.inverse_penalty,
            ..FitOptions::default()
        }
    }
}

fn above_zero(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && f64::is_finite(number) => Ok(number),
        _ => Err("give a number above 0".to_owned()),
    }
}

/// `NAME=LEAST-MOST`
#[derive(Debug, Clone)]
pub(crate) struct DistancesArg(pub(crate) Distances);

impl Serialize for DistancesArg {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl FromStr for DistancesArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "give NAME=LEAST-MOST or NAME=LEAST-, such as near=1-5 or far=24-";
        let (name, bounds) = text.split_once('=').ok_or(wrong)?;
        let (least, most) = bounds.split_once('-').ok_or(wrong)?;
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| wrong);
        let distances = Distances {
            name: name.trim().to_owned(),
            least: number(least)?,
            most: if most.trim().is_empty() {
                None
            } else {
                Some(number(most)?)
            },
        };
        match distances.name.is_empty()
            || distances.least == 0
            || distances.most.is_some_and(|m| m < distances.least)
        {
            true => {
                Err("distances begin at 1 and end where they begin or behind; give NAME=LEAST-MOST")
            }
            false => Ok(Self(distances)),
        }
    }
}
