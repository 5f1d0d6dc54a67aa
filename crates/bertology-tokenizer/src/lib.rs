//! Tokenizers as they lie in a model folder, with pairs, truncation and offsets as in transformers.
//!
//! [`Tokenizer::from_folder`] reads `tokenizer.json` or, where that is absent, the older files
//! (`vocab.txt`; `vocab.json` with `merges.txt`), and obeys `tokenizer_config.json`,
//! `special_tokens_map.json` and `added_tokens.json` the way the *fast* tokenizers of
//! transformers 4.57 do. The ids, segment ids and offsets are those of
//! `AutoTokenizer.from_pretrained(folder)(text, pair, truncation=True, max_length=…)`; nothing is
//! ever padded.
//!
//! For OpenAI GPT the reference is `OpenAIGPTTokenizerFast` too, which splits words as BERT's does.
//! The slow `OpenAIGPTTokenizer` cleans and splits texts with ftfy and spaCy where these are
//! installed, and then gives other ids for a few texts.
//!
//! ```no_run
//! # fn main() -> Result<(), bertology_tokenizer::TokenizerError> {
//! use bertology_tokenizer::Tokenizer;
//!
//! let tokenizer = Tokenizer::from_folder("bert-base-uncased")?;
//! let encoding = tokenizer.encode("The cat sat.", Some("It was tired."), Some(128))?;
//! assert_eq!(encoding.ids.len(), encoding.segment_ids.len());
//! # Ok(())
//! # }
//! ```

mod assemble;
mod check;
mod encoding;
mod error;
mod files;
mod growth;
mod guard;
mod merges;
mod patterns;
mod residues;
mod sentencepiece;
mod settings;
mod tokenizer;
mod trim;

pub use encoding::Encoding;
pub use error::TokenizerError;
pub use guard::contains_panics;
pub use tokenizer::Tokenizer;
pub use trim::Trimmed;
