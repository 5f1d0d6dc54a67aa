//! Edge probing: texts with labelled spans, from files that hold them and from corpora that do not.
//!
//! A probe sees one span or two of a text and says which labels they have: a part of speech, a relation, whether
//! both speak of one thing (Tenney et al. 2019). All tasks have one form, a JSON object a line:
//!
//! ```
//! use bertology_data::edge::{LabelCounts, Records, Vocabulary};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let file = folder.path().join("deps.jsonl");
//! std::fs::write(
//!     &file,
//!     r#"{"text": "Rivers carve valleys", "targets": [
//!         {"span1": [0, 1], "span2": [1, 2], "label": "nsubj"},
//!         {"span1": [2, 3], "span2": [1, 2], "label": "obj"}]}"#.replace('\n', " "),
//! )?;
//! let mut labels = LabelCounts::default();
//! let mut reader = Records::new(&file).open()?;
//! for record in reader.by_ref() {
//!     let record = record?;
//!     assert_eq!(record.words().nth(2), Some("valleys"));
//!     labels.add(&record);
//! }
//! assert_eq!(reader.finish()?.counts.targets, 2);
//! assert_eq!(Vocabulary::new(labels.labels()).names(), ["nsubj", "obj"]);
//! # Ok(())
//! # }
//! ```
//!
//! | module | question |
//! | --- | --- |
//! | `record` | what is a text with its targets, and what is refused in it? |
//! | `reader` | which records does a file hold? |
//! | `vocabulary` | which labels are there? |
//! | [`convert`] | how does a corpus in another form become records? |
//! | `twister` | which lines does Python's generator choose? |

pub mod convert;

mod fault;
mod reader;
mod record;
mod twister;
mod vocabulary;

pub use fault::{Place, RecordFault};
pub use reader::{RecordCounts, RecordInfo, RecordReader, Records};
pub use record::{Labels, Record, Target, WrittenText};
pub use twister::MersenneTwister;
pub use vocabulary::{LabelCounts, Vocabulary};
