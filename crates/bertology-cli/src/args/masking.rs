//! How heads are searched: what ends the search, and on which data.

use clap::{Args, ValueEnum};
use serde::Serialize;

/// How heads are masked.
#[derive(Debug, Args, Serialize)]
pub(crate) struct MaskingArgs {
    /// The metric that must not fall, or one that must not rise: loss, perplexity, pseudo_perplexity,
    /// bits_per_byte [default: the task's own; loss for language models].
    #[arg(
        long,
        value_name = "NAME",
        alias = "metric-name",
        help_heading = "Masking"
    )]
    pub(crate) metric: Option<String>,
    /// The worst score that passes, see --threshold-mode [default for relative: 0.9; 1.1 for loss,
    /// perplexity and their like].
    #[arg(long, value_name = "T", help_heading = "Masking")]
    #[arg(allow_negative_numbers = true)]
    pub(crate) threshold: Option<f64>,
    /// The scripts' --threshold, a share of the score also where that is a loss.
    #[arg(long, value_name = "T", hide = true, conflicts_with = "threshold")]
    pub(crate) masking_threshold: Option<f64>,
    /// How the threshold is read.
    #[arg(
        long,
        value_name = "MODE",
        default_value = "relative",
        help_heading = "Masking"
    )]
    pub(crate) threshold_mode: ThresholdModeArg,
    /// Share of all heads to mask at each step.
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = AMOUNT,
        alias = "masking-amount"
    )]
    #[arg(help_heading = "Masking")]
    pub(crate) amount: f64,
    /// When heads are scored anew.
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "step",
        help_heading = "Masking"
    )]
    pub(crate) recompute: RecomputeArg,
    /// Never leave a layer with fewer heads than this.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Masking")]
    pub(crate) min_heads_per_layer: usize,
    /// Stop after so many steps.
    #[arg(long, value_name = "N", help_heading = "Masking")]
    pub(crate) max_steps: Option<usize>,
    /// Rank as run_bertology.py does: masked heads stay in the norms.
    #[arg(long, help_heading = "Masking")]
    pub(crate) reference: bool,
    /// How much the score may lose in all: 1pt is one point, a hundredth of the metric's greatest value; 1% is a hundredth of
    /// the first score (a loss may grow by it). The last heads are found one by one, as with --refine.
    #[arg(long, value_name = "DROP", value_parser = loss_of_score, help_heading = "Masking")]
    #[arg(conflicts_with_all = ["threshold", "masking_threshold", "threshold_mode"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_drop: Option<DropArg>,
    /// After the step that fails, go on from the last mask that passed, head by head, until one fails.
    #[arg(long, help_heading = "Masking")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) refine: bool,
    /// Mask the least important heads until just this share of all is left, such as 50% or 0.5; the score ends the search
    /// only if --threshold or --max-drop is given too.
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Goals")]
    #[arg(conflicts_with_all = ["heads_left", "max_size", "min_speedup"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep: Option<f64>,
    /// The same, until just so many heads are left.
    #[arg(long, value_name = "N", help_heading = "Goals")]
    #[arg(conflicts_with_all = ["max_size", "min_speedup"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) heads_left: Option<usize>,
    /// The same, until the weights file that `prune` writes is no larger than this: 30MB, 28.5MiB, 500kB, 1GB.
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Goals", conflicts_with = "min_speedup")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_size: Option<u64>,
    /// The same, until the pruned model is this many times as fast on this machine, by the lower end of the 95 % interval; it
    /// is timed after each step.
    #[arg(
        long,
        value_name = "TIMES",
        help_heading = "Goals",
        allow_negative_numbers = true
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min_speedup: Option<f64>,
    /// Choose heads on other data than are scored: a split of GLUE or a file of the kind of --data, and how many examples of
    /// it, as in train:2000.
    #[arg(long, value_name = "DATA[:N]", help_heading = "Masking")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) choose_on: Option<String>,
}

/// What `--amount` is unless it is given.
const AMOUNT: f64 = 0.1;

impl MaskingArgs {
    /// Whether a goal is given, which ends the search without a score.
    pub(crate) fn has_goal(&self) -> bool {
        self.keep.is_some()
            || self.heads_left.is_some()
            || self.max_size.is_some()
            || self.min_speedup.is_some()
    }

    /// Whether a bound on the score is given.
    pub(crate) fn has_bound(&self) -> bool {
        self.threshold.is_some() || self.masking_threshold.is_some() || self.max_drop.is_some()
    }

    /// What is given that only a search for heads reads, by the names of the options.
    pub(crate) fn of_search(&self) -> Option<&'static str> {
        let set = [
            (self.threshold.is_some(), "--threshold"),
            (self.masking_threshold.is_some(), "--masking_threshold"),
            (
                self.threshold_mode != ThresholdModeArg::Relative,
                "--threshold-mode",
            ),
            (self.max_drop.is_some(), "--max-drop"),
            (self.refine, "--refine"),
            (self.keep.is_some(), "--keep"),
            (self.heads_left.is_some(), "--heads-left"),
            (self.max_size.is_some(), "--max-size"),
            (self.min_speedup.is_some(), "--min-speedup"),
            ((self.amount - AMOUNT).abs() > f64::EPSILON, "--amount"),
            (self.recompute != RecomputeArg::Step, "--recompute"),
            (self.min_heads_per_layer > 0, "--min-heads-per-layer"),
            (self.max_steps.is_some(), "--max-steps"),
            (self.reference, "--reference"),
        ];
        set.iter().find(|(given, _)| *given).map(|(_, name)| *name)
    }
}

/// How much the score may lose.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum DropArg {
    /// Hundredths of the metric's greatest value.
    Points(f64),
    /// Hundredths of the first score.
    Percent(f64),
}

impl std::fmt::Display for DropArg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Points(points) => write!(f, "{points}pt"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for DropArg {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

pub(crate) fn loss_of_score(text: &str) -> Result<DropArg, String> {
    let wanted =
        "write a number from 0 up with its unit: 1pt (one point) or 1% (of the first score)";
    let number = |text: &str| match text.trim().parse::<f64>() {
        Ok(value) if value >= 0.0 && value.is_finite() => Ok(value),
        _ => Err(wanted.to_owned()),
    };
    match (text.strip_suffix("pt"), text.strip_suffix('%')) {
        (Some(points), _) => Ok(DropArg::Points(number(points)?)),
        (_, Some(percent)) => Ok(DropArg::Percent(number(percent)?)),
        _ => Err(wanted.to_owned()),
    }
}

/// `50%` or `0.5`.
pub(crate) fn part(text: &str) -> Option<f64> {
    let (number, scale) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    let value: f64 = number.trim().parse().ok()?;
    Some(value / scale)
}

fn share(text: &str) -> Result<f64, String> {
    match part(text) {
        Some(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("write a share of the heads from 0 to 1, such as 50% or 0.5".into()),
    }
}

/// Bytes: `30MB`, `28.5MiB`; of a fraction of a byte what is whole.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, f64); 8] = [
        ("kib", 1024.0),
        ("mib", 1_048_576.0),
        ("gib", 1_073_741_824.0),
        ("kb", 1e3),
        ("mb", 1e6),
        ("gb", 1e9),
        ("b", 1.0),
        ("", 1.0),
    ];
    let lower = text.trim().to_ascii_lowercase();
    let found = UNITS.iter().find_map(|(unit, scale)| {
        let number = lower.strip_suffix(unit)?.trim_end();
        let value: f64 = number.parse().ok()?;
        Some(value * scale)
    });
    match found {
        Some(bytes) if (1.0..1e18).contains(&bytes) => Ok(bytes as u64),
        _ => Err("write a number of bytes, or with a unit: 500kB, 30MB, 28.5MiB, 1GB".into()),
    }
}

/// How the threshold is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ThresholdModeArg {
    /// Score at least T times the first one (loss: at most).
    Relative,
    /// Score at least T (loss: at most).
    Absolute,
    /// Score at least the first one minus T (loss: at most the first one plus T).
    Drop,
}

/// When heads are scored anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RecomputeArg {
    /// After every step.
    Step,
    /// Only before the first step.
    Once,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_decimal_and_binary_units() {
        for (text, bytes) in [
            ("30MB", 30_000_000),
            ("30 mb", 30_000_000),
            ("1MiB", 1_048_576),
            ("28.5MiB", 29_884_416),
            ("1.5kB", 1_500),
            ("2KiB", 2_048),
            ("1GB", 1_000_000_000),
            ("1gib", 1_073_741_824),
            ("1234", 1_234),
            ("7B", 7),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "", "MB", "-1MB", "0", "0.5", "1TB", "1e30", "inf", "nan", "30 M B",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn drops_have_a_unit_and_shares_are_shares() {
        assert_eq!(loss_of_score("1pt"), Ok(DropArg::Points(1.0)));
        assert_eq!(loss_of_score("0.5 pt"), Ok(DropArg::Points(0.5)));
        assert_eq!(loss_of_score("2%"), Ok(DropArg::Percent(2.0)));
        for text in ["1", "", "pt", "%", "-1pt", "-1%", "nan%", "infpt", "1pts"] {
            assert!(loss_of_score(text).is_err(), "{text}");
        }
        assert_eq!(share("50%"), Ok(0.5));
        assert_eq!(share("0"), Ok(0.0));
        for text in ["150%", "-1", "half", "nan"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
