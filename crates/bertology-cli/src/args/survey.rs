//! `bertology survey`

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{StudyArgs, TreebankArgs};

/// `bertology survey`
pub(crate) type SurveyArgs = StudyArgs<TreebankArgs, SurveyOwn>;

/// What is asked.
#[derive(Debug, Args, Serialize)]
pub(crate) struct SurveyOwn {
    /// The studies, with commas between them; each is made as its own command makes it by default.
    #[arg(
        long,
        value_name = "STUDIES",
        value_delimiter = ',',
        required = true,
        help_heading = "Survey"
    )]
    pub(crate) studies: Vec<StudyArg>,
    /// Read only the first N sentences.
    #[arg(long, value_name = "N", help_heading = "Data")]
    pub(crate) limit: Option<usize>,
}

/// A study that can share a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StudyArg {
    /// What every head looks at.
    Patterns,
    /// Every head as a predictor of dependency relations.
    Syntax,
    /// Which heads look at the same things.
    Cluster,
}
