//! What goes on inside, written down for a whole corpus: hidden states, attention, outputs of heads,
//! their gradients, in shards that NumPy, PyTorch and pandas read.
//!
//! ```
//! use bertology::extract::{ExtractOptions, Extraction, Heads, Layers, GradientOf, Request, Texts};
//! use bertology::LoadedModel;
//! use bertology::drive::Work;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/tiny-bert");
//! # let output = tempfile::tempdir()?;
//! # let output = output.path();
//! let model = LoadedModel::open(folder)?;
//! let texts = Texts::given(["The woman faints.", "The horses were admired."]);
//! let request = Request::new()
//!     .hidden_states(Layers::All)
//!     .attentions(Heads::parse("2.0 L3H1", model.architecture())?)
//!     .gradients(GradientOf::Class(1));
//!
//! let (options, work) = (ExtractOptions::default(), Work::default());
//! let extraction = Extraction::new(&model, texts, &request, options, &work, &mut ())?;
//! assert_eq!(extraction.counts().tokens, 13); // counted before anything is written
//! let summary = extraction.write(output, &work, &mut ())?;
//! assert_eq!(summary.shards.len(), 1);
//! assert!(output.join("shard-00000.safetensors").exists() && output.join("index.json").exists());
//! # Ok(())
//! # }
//! ```
//!
//! The texts are read twice: once to check and to count them, which gives the exact size of every
//! array before the model runs, and once to put them through the model. A batch's values go straight
//! to their place in the shard, so the memory is that of a few batches, however many texts there
//! are. Batches never reach over the end of a shard; a shard therefore has the same bytes whether or
//! not the ones before it were written by the same run.

mod index;
mod layout;
mod plan;
mod recorder;
mod request;
#[cfg(feature = "parquet")]
mod tables;
mod texts;
mod write;

use std::fmt;

use bertology_data::LabelOrder;
use serde::{Deserialize, Serialize};

pub use crate::error::ExtractError;
pub use crate::input::account::TextCounts;
pub use bertology_store::Float;
pub use plan::Extraction;
pub use recorder::{Recorded, Recorder};
pub use request::{GradientOf, Heads, Layers, Request};
pub use texts::{Item, Texts};
pub use write::{ExtractState, ShardRecord, Summary};

use crate::input::windows::TooLong;

/// Examples in a shard unless the options say otherwise.
pub const DEFAULT_SHARD_SIZE: usize = 1000;

/// Format of the shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One safetensors file a shard.
    Safetensors,
    /// One NumPy archive a shard.
    Npz,
    /// Tables: one row a token, or a token and head; one file a table and shard.
    Parquet,
}

impl Format {
    /// What file names end in.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Npz => "npz",
            Self::Parquet => "parquet",
        }
    }
}

/// How the tokens of a word become one row. Special tokens are of no word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// They do not: every token is a row.
    None,
    /// The first token stands for the word.
    First,
    /// The last token stands for the word.
    Last,
    /// The mean of its tokens.
    Mean,
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::First => "first",
            Self::Last => "last",
            Self::Mean => "mean",
        })
    }
}

/// How values are written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExtractOptions {
    /// Format of the shards.
    pub format: Format,
    /// Type of the values on disk.
    pub float: Float,
    /// Pooling by word of values per token.
    pub pool: Pool,
    /// What is done with a text of more tokens than the limit. Cut: the longer text of a pair first.
    /// Windows: each has the special tokens of a whole text; pairs are refused.
    pub too_long: TooLong,
    /// Tokens from the beginning of one window to that of the next. `None`: what a window holds of a
    /// text, so that no token comes twice. Otherwise tokens that the window before has are context.
    pub stride: Option<usize>,
    /// The limit in tokens, special ones included; `None`: the model's own.
    pub max_length: Option<usize>,
    /// Put the model's beginning-of-text token before texts whose tokenizer does not (GPT-2).
    pub bos: bool,
    /// Examples in a shard.
    pub shard_size: usize,
    /// Write values that are NaN or infinite, which otherwise are an error that names the place.
    pub allow_nonfinite: bool,
    /// The order of the labels in a model that does not name them.
    pub label_order: LabelOrder,
}

impl Default for ExtractOptions {
    fn default() -> Self {
        Self {
            format: Format::Safetensors,
            float: Float::F32,
            pool: Pool::None,
            too_long: TooLong::Error,
            stride: None,
            max_length: None,
            bos: false,
            shard_size: DEFAULT_SHARD_SIZE,
            allow_nonfinite: false,
            label_order: LabelOrder::Task,
        }
    }
}
