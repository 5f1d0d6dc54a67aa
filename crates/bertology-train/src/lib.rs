//! Probes trained on what transformers compute: which word is the head of which, from attention maps.
//!
//! Clark, Khandelwal, Levy and Manning (2019, section 5.2) ask how much of a sentence's dependency tree all
//! heads of a model hold together. For every word a probe gives a distribution over its candidate heads, ROOT
//! and the words of the sentence; the model stays as it is.
//!
//! | module | question |
//! | --- | --- |
//! | [`experiment`] | from two treebanks to a table of scores |
//! | `sentences` | sentences with their attention, from the model or from disk |
//! | `features` | what does a probe see of a sentence? |
//! | [`probe`] | which distribution, which loss, one step of training |
//! | `vectors` | word vectors from a file |
//! | `cache` | maps on disk, so that the model need not be asked again |
//! | [`score`] | how often is the head right, and how sure is that? |
//!
//! Parameters and gradients are candle's, and so is the optimiser (AdamW without decay, which is Adam); first
//! values come from a generator of our own, since candle's for the CPU takes no seed.

pub mod experiment;
pub mod probe;
pub mod score;

mod cache;
mod error;
mod features;
mod random;
mod sentences;
mod vectors;

pub use cache::{CACHE_FILE_PREFIX, MapCache, Precision};
pub use error::Error;
pub use features::{Example, Features, Layout};
pub use probe::{Adam, Alignment, Kind, Parameter, Probe, Shape};
pub use score::Uas;
pub use sentences::{Account, Sentence, Sentences};
pub use vectors::{Vectors, WordVectors};
