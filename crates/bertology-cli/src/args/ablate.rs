//! `bertology ablate`: which heads are left out, and of what data besides.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{DataArgs, LegacySteps, StudyArgs};
use crate::failure::Failure;

/// `bertology ablate`
pub(crate) type AblateArgs = StudyArgs<DataArgs, AblateOwn>;

/// What is left out.
#[derive(Debug, Args, Serialize)]
pub(crate) struct AblateOwn {
    /// Leave out only these heads, one at a time: 3.5, L3H5, 3:5, 0:1,3 or 5:0-4; may be repeated
    /// [default: every head].
    #[arg(long, value_name = "HEADS", help_heading = "Ablation")]
    pub(crate) heads: Vec<String>,
    /// Do all this under a head mask: .npy or .json, 1 keeps, 0 masks.
    #[arg(long, value_name = "FILE", help_heading = "Ablation")]
    pub(crate) mask: Option<PathBuf>,
    /// The metric whose change is shown and written [default: the task's own; loss for language
    /// models].
    #[arg(
        long,
        value_name = "NAME",
        alias = "metric-name",
        help_heading = "Ablation"
    )]
    pub(crate) metric: Option<String>,
    /// Each head as the only one of its layer, other layers whole, in the place of leaving it out; names the best head
    /// of every layer.
    #[arg(long, help_heading = "Ablation")]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) keep_one: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) select: SelectArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) and: AndArgs,
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) legacy: LegacySteps,
}

/// The data on which the best head of a layer is chosen.
#[derive(Debug, Args, Serialize)]
pub(crate) struct SelectArgs {
    /// --keep-one: choose the best heads on this file or folder, of the same kind as the data, and score them on the
    /// data.
    #[arg(
        long,
        value_name = "PATH",
        help_heading = "Ablation",
        requires = "keep_one"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) select_on: Option<PathBuf>,
    /// --keep-one: choose them on this split of the GLUE task, such as train.
    #[arg(
        long,
        value_name = "SPLIT",
        help_heading = "Ablation",
        requires = "keep_one"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) select_split: Option<String>,
    /// Choose them on so many examples [default: --limit].
    #[arg(
        long,
        value_name = "N",
        help_heading = "Ablation",
        requires = "keep_one"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) select_limit: Option<usize>,
}

/// The data on which heads are left out once more.
#[derive(Debug, Args, Serialize)]
pub(crate) struct AndArgs {
    /// The same removals on this file or folder, of the same kind as the data, and how the changes correlate.
    #[arg(
        long,
        value_name = "PATH",
        help_heading = "Ablation",
        conflicts_with = "keep_one"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) and: Option<PathBuf>,
    /// The same on another GLUE task of the same labels, such as mnli-mm.
    #[arg(
        long,
        value_name = "TASK",
        help_heading = "Ablation",
        conflicts_with = "keep_one"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) and_task: Option<String>,
    /// The same on another split of the GLUE task.
    #[arg(
        long,
        value_name = "SPLIT",
        help_heading = "Ablation",
        conflicts_with = "keep_one"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) and_split: Option<String>,
    /// So many examples of it [default: --limit].
    #[arg(
        long,
        value_name = "N",
        help_heading = "Ablation",
        conflicts_with = "keep_one"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) and_limit: Option<usize>,
}

impl AblateOwn {
    /// The options of the second data, if there are any: those of the first with another file, task or split.
    ///
    /// # Errors
    /// A part of GLUE where the data are not GLUE's, a limit of nothing.
    pub(crate) fn second(&self, first: &DataArgs) -> Result<Option<DataArgs>, Failure> {
        let (select, and) = (&self.select, &self.and);
        let (names, path, task, split, limit) = if self.keep_one {
            (
                ["--select-on", "", "--select-split", "--select-limit"],
                &select.select_on,
                &None,
                &select.select_split,
                select.select_limit,
            )
        } else {
            (
                ["--and", "--and-task", "--and-split", "--and-limit"],
                &and.and,
                &and.and_task,
                &and.and_split,
                and.and_limit,
            )
        };
        if path.is_none() && task.is_none() && split.is_none() {
            return match limit {
                None => Ok(None),
                Some(limit) => Err(Failure::input(format!(
                    "{} {limit} limits other data, but none are named; give {} PATH or {} SPLIT, too",
                    names[3], names[0], names[2]
                ))),
            };
        }
        let mut data = first.clone();
        let glue = data.source.task.is_some();
        for (given, name) in [(task, names[1]), (split, names[2])] {
            if let Some(given) = given
                && !glue
            {
                return Err(Failure::input(format!(
                    "{name} {given} chooses among GLUE's files, and the data are none of GLUE's; give {} FILE",
                    names[0]
                )));
            }
        }
        if let Some(path) = path {
            data = data.of_file(path.clone());
        }
        let source = &mut data.source;
        source.task = task.clone().or(source.task.take());
        source.split = split.clone().or(source.split.take());
        source.limit = limit.or(source.limit);
        Ok(Some(data))
    }
}
