//! Readers for GLUE, for any texts with labels or without, and for treebanks; the metrics of the GLUE
//! tasks.
//!
//! This crate answers one question: *what are the examples, the labels and the score?* It knows no
//! model. Data flows through it in this order:
//!
//! 1. A [`Source`] names a file and how its rows are read: [`Source::glue`] finds the file of a
//!    [`Task`] and [`Split`], [`Source::table`] takes the user's own TSV, CSV or JSON Lines file,
//!    [`Source::text`] a file of plain text and [`Source::token_ids`] one of token ids.
//! 2. [`Source::open`] gives an [`ExampleReader`], an iterator over [`Example`]s in constant
//!    memory; [`Source::load`] gathers them into a [`Dataset`]. Both end with a [`DatasetInfo`]:
//!    what was read, what was skipped and why, and the SHA-256 of the file.
//! 3. A [`LabelMap`] turns the label written in the file into the model's class id (or a number).
//! 4. A [`MetricState`] accumulates predictions against labels, merges with others of its kind, and
//!    finishes into the metrics under the names of the reference scripts.
//!
//! Dependency trees and coreference have a reader of their own: [`conllu::Treebank`]. So have texts with labelled
//! spans, for probes: [`edge::Records`].
//!
//! ```
//! use bertology_data::{LabelMap, LabelOrder, MetricSet, MetricState, Source, Split, Target, Task};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! std::fs::write(
//!     folder.path().join("dev.tsv"),
//!     "sentence\tlabel\na joy to watch \t1\nno fun at all \t0\n",
//! )?;
//! let task: Task = "SST2".parse()?;
//! let data = Source::glue(folder.path(), task, Split::Dev)?.load()?;
//! let labels = LabelMap::new(&["LABEL_0", "LABEL_1"], Some(task), LabelOrder::Task)?;
//! let mut state = MetricState::new(MetricSet::for_task(task), 2, labels.positive())?;
//! for example in &data.examples {
//!     let label = labels.target(example, &data.info.path)?;
//!     state.observe(Target::Class(1), label)?;
//! }
//! assert_eq!(state.finish(), [("acc", 0.5)]);
//! # Ok(())
//! # }
//! ```

mod confusion;
pub mod conllu;
mod content;
mod correlation;
mod csv;
pub mod edge;
mod error;
mod example;
mod glue;
mod header;
mod json;
mod labels;
mod line;
mod metrics;
mod questions;
mod reader;
mod record;
pub mod relations;
mod source;
mod span;
mod table;
mod tagged;
mod tags;
mod task;
mod text;

pub use confusion::{Cells, Confusion, EdgeTask, Slice, Strata};
pub use content::Content;
pub use correlation::{correlation_interval, correlation_p_value, kendall, pearson, spearman};
pub use csv::{CsvError, CsvTable};
pub use error::{DataError, MetricError};
pub use example::{
    Answer, Answers, Dataset, DatasetInfo, Example, RawLabel, SkipReason, Skipped, SkippedRow,
    TaggedWord,
};
pub use header::{GuessedHeader, Header};
pub use labels::{Assumption, LabelMap, LabelOrder};
pub use line::{Line, LineMark, LineReader};
pub use metrics::{MetricSet, MetricState, Target, argmax};
pub use reader::{ExampleReader, Mark};
pub use source::{DEFAULT_MAX_DOCUMENT_BYTES, DEFAULT_MAX_LINE_BYTES, ReadOptions, Source};
pub use span::{AnswerScore, AnswerSums, SpanGuess};
pub use table::{Columns, TableFormat};
pub use tags::{TagCounts, TagSet};
pub use task::{Mode, Split, Task};
pub use text::Documents;
