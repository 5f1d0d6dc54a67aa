//! Model folders as transformers writes them, as people damage them, and as we write them.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod damage;
mod encoders;
mod families;
mod folder;
mod golden;
mod hostile;
mod newest;
mod options;
mod prune;
mod tensors;
