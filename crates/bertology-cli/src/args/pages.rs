//! Arguments of the commands that show finished runs: `report`, `heads`, `compare`.

use std::path::PathBuf;

use clap::Args;

/// `bertology report`
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The folder of a complete run; report.html is written into it.
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
    /// Also write each figure into this folder, as an SVG file.
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub(crate) figures: Option<PathBuf>,
}

/// `bertology heads`
#[derive(Debug, Args)]
pub(crate) struct HeadsArgs {
    /// Folders of complete runs of one model.
    #[arg(value_name = "RUN", required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// Write the table to this CSV file.
    #[arg(long, short, value_name = "FILE", help_heading = "Output")]
    pub(crate) output: Option<PathBuf>,
    /// Write a page with the table, to be put in order by any column.
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) html: Option<PathBuf>,
    /// Replace files that are there.
    #[arg(long, help_heading = "Output")]
    pub(crate) overwrite: bool,
}

/// `bertology compare`
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The folder of a complete run.
    #[arg(value_name = "RUN_A")]
    pub(crate) first: PathBuf,
    /// The folder of another run of the same command.
    #[arg(value_name = "RUN_B")]
    pub(crate) second: PathBuf,
    /// Further runs: of cat, which puts several models beside each other.
    #[arg(value_name = "RUN")]
    pub(crate) more: Vec<PathBuf>,
    /// Write a page with the differences of every head.
    #[arg(long, short, value_name = "FILE", help_heading = "Output")]
    pub(crate) output: Option<PathBuf>,
    /// Also write each figure into this folder, as an SVG file.
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub(crate) figures: Option<PathBuf>,
    /// Replace a page that is there.
    #[arg(long, help_heading = "Output")]
    pub(crate) overwrite: bool,
}
