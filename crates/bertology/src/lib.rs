//! Studies of what happens inside transformers: importance, masking and pruning of heads.
//!
//! | module | question |
//! | --- | --- |
//! | [`input`] | what does the model read, and what became of the rest? |
//! | [`drive`] | how does every input go through the model, and what adds up? |
//! | [`left_out`] | what does it say about one input without each head? |
//! | [`loaded`] | a model with its tokenizer: what does it compute for these texts? |
//! | [`experiment`] | and under a mask, or with values changed on the way? |
//! | [`attribution`] | how much of the loss does each head account for? |
//! | [`corpus`] | which examples? Streamed, in file order |
//! | [`objective`] | scored for what: labels, next tokens, hidden tokens? |
//! | [`windows`] | what of inputs that are longer than the model? |
//! | [`evaluate`] | how well does the model do on them? |
//! | [`predict`] | what does it say of texts that have no labels? |
//! | [`importance`] | how much does each head matter, and how spread is its attention? |
//! | [`ablation`] | what does the score lose without each head? |
//! | [`attention`] | what do heads look at? |
//! | [`paired`] | two models on the same examples: what differs? |
//! | [`normalize`] | how are raw scores made comparable, and ranked? |
//! | [`masking`] | how many heads can go before the score falls? |
//! | [`dynamics`] | and at every checkpoint of a training? |
//! | [`extract`] | what goes on inside, written down for a whole corpus |
//! | [`pruning`] | what is gained by really removing them? |
//! | [`compress`] | and with neurons of the feed-forward blocks, under a cost, without training? |
//! | [`vocabulary`] | and without the tokens that a corpus does not need? |
//! | [`random`] | which numbers does chance give, the same everywhere? |
//! | [`verify`] | does the model compute what it computes in transformers? |
//! | [`watch`] | who looks on while a study runs, and stops it? |
//!
//! Layers and heads are zero-based everywhere, and a head always bears the number that it has in
//! the unpruned model. A study is an accumulator: its state can be saved, and the same study goes
//! on from there.

pub use bertology_checkpoint as checkpoint;
pub use bertology_data as data;
pub use bertology_hub as hub;
pub use bertology_onnx as onnx;
pub use bertology_store as store;
pub use bertology_tokenizer as tokenizer;

pub mod drive;
pub mod input;
pub mod model;
pub mod objective;
pub mod random;
pub mod studies;
pub mod watch;

mod error;
mod table;

pub use input::{corpus, windows};
pub use model::{device, experiment, loaded, verify};
pub use studies::{
    ablation, attention, attribution, chance, compress, curve, dynamics, evaluate, extract,
    importance, judge, left_out, masking, measures, normalize, paired, predict, pruning, student,
    timing, vocabulary,
};

pub use bertology_checkpoint::{Architecture, Checkpoint, HeadSet, OpenAs, OpenOptions};
pub use bertology_data::{Source, Split, Task};
pub use bertology_error::Kind;
pub use bertology_model::kernels::Precision;
pub use bertology_model::kernels::parts::{Bf16Unit, bf16_unit};
pub use bertology_model::{HeadId, HeadMask, Model, Sequence, Target};
pub use bertology_tokenizer::{Encoding, Tokenizer};

pub use ablation::{Ablation, AblationState};
pub use corpus::{Corpus, CorpusOptions};
pub use device::{Device, DeviceInfo};
pub use error::{Error, SearchError, VocabularyError};
pub use evaluate::Evaluation;
pub use importance::{Granularity, Importance, ImportanceState};
pub use left_out::WithoutEach;
pub use loaded::{LoadedModel, Outline};
pub use masking::{MaskingOptions, MaskingOutcome, MaskingState};
pub use objective::{Objective, TokenMasking};
pub use table::HeadTable;
pub use watch::{Outcome, Verdict, Watch};
pub use windows::TooLong;

/// The README's program compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
