//! The options of `run_bertology.py` and `run_prune_gpt.py` that mean nothing here, or that another command obeys.

use std::ffi::OsString;

use clap::Args;

use super::{DataArgs, ModelArgs};
use crate::failure::Failure;

/// Options of the script without a counterpart. Each is obeyed, noted, or refused.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Legacy {
    /// The script's way to ask for masking and pruning.
    #[arg(long, hide = true)]
    try_masking: bool,
    /// The script's --limit, with -1 for all.
    #[arg(long, hide = true, value_name = "N", allow_negative_numbers = true)]
    #[arg(conflicts_with = "limit")]
    data_subset: Option<i64>,
    #[arg(long, hide = true, value_name = "NAME")]
    config_name: Option<String>,
    #[arg(long, hide = true, value_name = "NAME")]
    tokenizer_name: Option<String>,
    #[arg(long, hide = true)]
    overwrite_cache: bool,
    #[arg(long, hide = true, value_name = "RANK", allow_negative_numbers = true)]
    local_rank: Option<i64>,
    #[arg(long, hide = true)]
    no_cuda: bool,
    #[arg(long, hide = true, value_name = "IP")]
    server_ip: Option<String>,
    #[arg(long, hide = true, value_name = "PORT")]
    server_port: Option<String>,
}

/// The script's options of masking, given to a command that masks nothing.
#[derive(Debug, Args)]
pub(crate) struct LegacyMasking {
    #[arg(long, hide = true, value_name = "NAME")]
    metric_name: Option<String>,
    #[command(flatten)]
    steps: LegacySteps,
}

/// The same for a command that has a metric of its own.
#[derive(Debug, Args)]
pub(crate) struct LegacySteps {
    #[arg(long, hide = true, value_name = "T", allow_negative_numbers = true)]
    masking_threshold: Option<f64>,
    #[arg(long, hide = true, value_name = "SHARE", allow_negative_numbers = true)]
    masking_amount: Option<f64>,
}

impl LegacyMasking {
    /// Says what has no effect.
    pub(crate) fn note(&self, note: &mut dyn FnMut(&str)) {
        if self.metric_name.is_some() {
            note(&without_masking("--metric_name"));
        }
        self.steps.note(note);
    }
}

impl LegacySteps {
    /// Says what has no effect.
    pub(crate) fn note(&self, note: &mut dyn FnMut(&str)) {
        for (given, name) in [
            (self.masking_threshold.is_some(), "--masking_threshold"),
            (self.masking_amount.is_some(), "--masking_amount"),
        ] {
            if given {
                note(&without_masking(name));
            }
        }
    }
}

fn without_masking(name: &str) -> String {
    format!(
        "{name} has no effect: nothing is masked here; `bertology mask` and `bertology prune` obey it"
    )
}

/// Which command the options were given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Masks {
    /// `mask` and `prune`: `--try_masking` is what they do.
    Yes,
    /// `importance`, `ablate` and `evaluate`.
    No,
}

impl DataArgs {
    /// Moves the script's options that can be obeyed to their place and says what has no effect.
    pub(crate) fn obey_legacy(
        &mut self,
        masks: Masks,
        model: &ModelArgs,
        note: &mut dyn FnMut(&str),
    ) -> Result<(), Failure> {
        let subset = self.legacy.check(masks, model, note)?;
        self.source.limit = subset.or(self.source.limit);
        Ok(())
    }
}

impl Legacy {
    /// The number of examples, if the script's option gives one.
    fn check(
        &self,
        masks: Masks,
        model: &ModelArgs,
        note: &mut dyn FnMut(&str),
    ) -> Result<Option<usize>, Failure> {
        let name = model.name().ok();
        if self.try_masking && masks == Masks::No {
            return Err(Failure::input(
                "--try_masking masks and prunes heads, which other commands do: give the same \
                 options to `bertology mask` (mask only) or `bertology prune` (mask, then prune)",
            ));
        }
        if let Some(config) = &self.config_name
            && name != Some(config.as_str())
        {
            return Err(Failure::input(format!(
                "--config_name {config} differs from the model, but a model's config.json is read \
                 beside its weights only; put the file there and leave the option out"
            )));
        }
        if let Some(tokenizer) = &self.tokenizer_name
            && name != Some(tokenizer.as_str())
        {
            return Err(Failure::input(format!(
                "--tokenizer_name {tokenizer} differs from the model, but a model's tokenizer is \
                 read beside its weights only; copy its files there and leave the option out"
            )));
        }
        if self.server_ip.is_some() || self.server_port.is_some() {
            return Err(Failure::input(
                "--server_ip and --server_port attach a Python debugger, which does not exist \
                 here; leave them out",
            ));
        }
        match self.local_rank {
            Some(rank) if rank != -1 => {
                return Err(Failure::input(format!(
                    "--local_rank {rank} asks for a distributed run, which is not offered; leave \
                     it out and use --threads"
                )));
            }
            Some(_) => note("--local_rank -1 has no effect: the run is not distributed"),
            None => {}
        }
        let subset = match self.data_subset {
            Some(subset) if subset >= 1 => usize::try_from(subset).ok(),
            Some(-1) | None => None,
            Some(subset) => {
                return Err(Failure::input(format!(
                    "--data_subset {subset}: give a number of examples from 1 up, or -1 for all"
                )));
            }
        };
        if self.overwrite_cache {
            note("--overwrite_cache has no effect: encoded examples are not cached");
        }
        if self.no_cuda {
            note("--no_cuda has no effect: everything runs on the CPU");
        }
        Ok(subset)
    }
}

/// Turns the underscores of long options into dashes: `--data_dir=my_dir` becomes
/// `--data-dir=my_dir`. Values stay as they are, and so does everything after `--`.
pub(crate) fn normalise(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut options = true;
    arguments
        .into_iter()
        .map(|argument| {
            options &= argument != "--";
            let Some(text) = argument
                .to_str()
                .filter(|text| options && text.starts_with("--"))
            else {
                return argument;
            };
            match text.split_once('=') {
                Some((name, value)) => format!("{}={value}", name.replace('_', "-")).into(),
                None => text.replace('_', "-").into(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_of_long_options_change() {
        let given = [
            "a_b",
            "--data_dir",
            "x_y",
            "--max_seq_length=1_2",
            "-o_p",
            "--",
            "--a_b",
        ];
        let expected = [
            "a_b",
            "--data-dir",
            "x_y",
            "--max-seq-length=1_2",
            "-o_p",
            "--",
            "--a_b",
        ];
        assert_eq!(normalise(given.iter().map(OsString::from)), expected);
    }
}
