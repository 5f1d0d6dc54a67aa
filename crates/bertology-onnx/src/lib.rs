//! A checkpoint as one ONNX file, which other runtimes compute without this library.
//!
//! [`write()`] builds the graph of an [`Architecture`](bertology_checkpoint::Architecture) and streams the weights behind it. There is one
//! builder for all families: it reads the facts that the engine reads, and gives on real tokens the numbers that the engine gives.
//!
//! # Graph
//! Inputs are `input_ids`, `attention_mask` and, where the model tells segments apart, `token_type_ids`, each int64
//! `[batch_size, sequence_length]`. A text may be padded on either side: what the mask says 0 of is not seen, and positions are
//! counted from the first token of which it says 1. GPT's segments, which are words and may be absent, are no input. Outputs are f32 and have the names that transformers gives them. All numbers
//! are f32, whatever the checkpoint's type.
//!
//! Opset 17 is the first with `LayerNormalization`, which runtimes have had since 2022, and 8 the version of the format that
//! came with it.
//!
//! ```no_run
//! use bertology_checkpoint::{Checkpoint, OpenOptions};
//! use bertology_onnx::{Options, write};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let checkpoint = Checkpoint::open("bert-base-uncased".as_ref(), &OpenOptions::new())?;
//! let report = write(&checkpoint, "model.onnx".as_ref(), &Options::new().attentions(true))?;
//! println!("{} bytes", report.bytes);
//! # Ok(())
//! # }
//! ```

mod build;
mod error;
mod file;
mod graph;
mod proto;
mod weights;

pub use error::Error;
pub use file::{Options, Report, write};
pub use graph::{Element, Port, Size};
