//! Results as pages: one HTML file each, which needs no network and opens from disk.
//!
//! This crate knows results, not models: it is given numbers and texts as plain structs and gives the
//! text of a file. The pages are built from `web/` at the root of the repository and embedded here, so
//! that a build of this crate needs Rust only; `web/README.md` tells how a page is added.
//!
//! | module | page |
//! | --- | --- |
//! | [`page`] | what all pages share: a document, packed arrays, escaping |
//! | [`viewer`] | the attention of one text, head by head |

pub mod page;
pub mod viewer;

mod error;

pub use error::Error;
