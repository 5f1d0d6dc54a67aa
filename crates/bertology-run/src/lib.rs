//! What lies in a run folder.
//!
//! Every command that studies a model ends in a folder: arrays, tables, `run.json` with everything about
//! the run, and `report.html`. This crate names the files, writes them and reads them; it knows no model.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`registry`] | every file that any command writes, and what it means |
//! | [`RunFolder`] | the writer: files appear whole or not at all, `run.json` last |
//! | [`rows`] | the rows of every table |
//! | [`results`] | what each command puts into `run.json` |
//! | [`studies`] | the three for studies that have a file of their own |
//! | [`Run`] | the reader |
//! | [`Holder`] | who writes into a folder: one process at a time |
//!
//! `docs/run-folder.md` lists the registry for readers.

pub mod registry;
pub mod results;
pub mod rows;
pub mod studies;
pub mod table;

mod error;
mod folder;
mod head_column;
mod identity;
mod lock;
mod read;
mod state;
mod time;

pub use error::FolderError;
pub use folder::{Earlier, RunFolder, Stream, read_json};
pub use head_column::HeadColumn;
pub use identity::{Difference, Identity, Subject};
pub use lock::Holder;
pub use read::{ModelFacts, Rows, Run, RunError, text_of};
pub use state::{Saved, sha256};
pub use time::timestamp;

/// The layout of a run folder that is written and read, as `run.json` has it under `format`.
pub const FORMAT: u64 = 1;
