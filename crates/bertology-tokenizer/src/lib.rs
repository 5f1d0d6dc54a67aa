//! Tokenizers as they lie in a model folder, with pairs, truncation and offsets as in transformers.
