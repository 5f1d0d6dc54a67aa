//! Model folders as transformers writes them, as people damage them, and as we write them.

mod damage;
mod folder;
mod golden;
mod options;
mod prune;
mod tensors;
