//! Every reader of foreign bytes, each as a function of bytes.
//!
//! A reader may refuse what it is given. It may not panic, nor take more memory than 64 MB and twenty times its input,
//! nor more than two seconds (`run.py`, which runs the targets, sets the last).

mod memory;
mod programs;
mod readers;
mod scratch;
mod tiny;

pub use programs::{code, functions};
pub use readers::{
    config, corpora, glue, index, npy, pickle_file, pickle_program, records, reference, run,
    safetensors, states, tables, tokenizer, trainings, treebank, words,
};
