//! Results as pages: one HTML file each, which needs no network and opens from disk.
//!
//! This crate knows results, not models: it is given numbers and texts, as plain structs or in a run
//! folder, and gives the text of a file. The pages are built from `web/` at the root of the repository and embedded here, so
//! that a build of this crate needs Rust only; `web/README.md` tells how a page is added.
//!
//! | module | page |
//! | --- | --- |
//! | [`number`] | numbers as people read them |
//! | [`page`] | what all pages share: a document, packed arrays, escaping |
//! | [`viewer`] | the attention of one text, head by head |
//! | [`report()`] | one run: figures and tables of whatever its command computes |
//! | [`join`] | all that several runs say of each head of one model |
//! | [`CodeTree`] | the tree of a program, as a figure alone |
//! | [`compare()`] | two runs of one command, head by head |
//! | [`compare_cat()`] | runs of the CAT-score of several models |
//! | [`compare_edge()`] | two runs of edge probing, task by task and layer by layer |
//!
//! The last five read run folders ([`bertology_run::Run`]) and give a [`Document`]: text, tables and figures that are whole
//! without a script, and each figure as an SVG file of its own.

pub mod number;
pub mod page;
pub mod viewer;

mod compare;
mod compare_cat;
mod compare_edge;
mod csv;
mod document;
mod error;
mod figure;
mod heads;
mod html;
mod place;
mod quantities;
mod report;
mod speed;

pub use compare::{Comparison, Shift, compare};
pub use compare_cat::{CatComparison, Downstream, compare_cat};
pub use compare_edge::{
    CAUSAL, EdgeComparison, EdgeDecisions, EdgePair, EdgeShift, EdgeStatistic, Redraw, compare_edge,
};
pub use document::Document;
pub use error::Error;
pub use figure::{CodeLeaf, CodeNode, CodeTree, Figure, MOST_LEAVES, MOST_LEVELS};
pub use heads::{Joined, join};
pub use report::report;
pub use speed::times_as_fast;
