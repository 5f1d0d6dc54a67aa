//! How are a corpus's arrays put on disk?
//!
//! A *shard* is a set of named arrays whose sizes are known before the first value comes. Values
//! arrive in pieces, array by array or mixed, and go straight to their place in one file: a writer
//! holds nothing but the piece that it was given. A shard appears whole or not at all, and the same
//! values give the same bytes.
//!
//! | module | question |
//! | --- | --- |
//! | [`element`] | how is a number rounded to its type on disk? |
//! | [`shard`] | where does each array lie, and is all of it there? |
//! | [`npy`] | how is one array of real numbers read and written? |
//! | [`npz`] | how does a shard become a NumPy archive? |
//! | [`table`] | how does it become rows of a Parquet table? |
//! | [`space`] | how much room is left? |
//!
//! ```
//! use bertology_store::{ArraySpec, Element, Float, ShardWriter};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let states = ArraySpec::new("hidden_states.0", Element::Float(Float::F16), [3, 2]);
//! let mut writer = ShardWriter::create(folder.path(), vec![states])?;
//! let mut bytes = Vec::new();
//! for rows in [&[1.0, 2.0][..], &[3.0, 4.0, 5.0, 6.0]] {
//!     bytes.clear();
//!     Float::F16.encode(rows, &mut bytes);
//!     writer.append(0, &bytes)?;
//! }
//! let path = folder.path().join("shard-00000.safetensors");
//! writer.finish()?.save_safetensors(&path)?;
//! assert!(path.exists());
//! # Ok(())
//! # }
//! ```

pub mod element;
pub mod npy;
pub mod npz;
pub mod shard;
pub mod space;
#[cfg(feature = "parquet")]
pub mod table;

mod error;

pub use element::{Element, Float};
pub use error::StoreError;
pub use shard::{ArraySpec, FullShard, ShardWriter, write_whole};
#[cfg(feature = "parquet")]
pub use table::{Column, Group, Kind, Lengths, Table, Values};
