//! Pairs of words, tokens or residues that are related: who depends on whom, what refers to what, which residues of a protein
//! touch.
//!
//! # Records
//! One JSON object a line. What is related is given in one of four ways, and its units are counted from zero:
//!
//! | key | units |
//! | --- | --- |
//! | `text` | its words, divided at white space |
//! | `words` | a list of words |
//! | `residues` | a protein's letters, in one word |
//! | `tokens` | a list of the model's own tokens, special ones included: exactly what it reads |
//!
//! `pairs` holds `[from, to, label]`, `[from, to, label, weight]` or objects with these keys. `id` names the record, `info` is
//! passed over.
//!
//! ```
//! use bertology_data::relations::{RelationFile, RelationText};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let file = folder.path().join("relations.jsonl");
//! std::fs::write(
//!     &file,
//!     r#"{"text": "Rivers carve valleys", "pairs": [[0, 1, "nsubj"], [2, 1, "obj", 0.5]]}"#,
//! )?;
//! let mut reader = RelationFile::new(&file).open()?;
//! let record = reader.next().unwrap()?;
//! assert_eq!(record.units(), 3);
//! assert_eq!((record.pairs[1].label.as_str(), record.pairs[1].weight), ("obj", 0.5));
//! assert_eq!(reader.finish()?.counts.labels["nsubj"], 1);
//! # Ok(())
//! # }
//! ```

mod fault;
mod proteins;
mod reader;
mod record;

pub use fault::RelationFault;
pub use proteins::{CONTACT, CONTACT_DISTANCE, ContactFile, Proteins};
pub use reader::{RelationCounts, RelationFile, RelationInfo, RelationReader};
pub use record::{RelatedPair, RelationRecord, RelationText};
