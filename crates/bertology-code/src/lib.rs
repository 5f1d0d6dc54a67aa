//! Programs as trees.
//!
//! This crate answers one question: *what does a program's tree look like, and where are its tokens in the text that a
//! model reads?* It knows no model. Code flows through it in this order:
//!
//! 1. [`Functions`] names a file of functions (JSON Lines as CodeSearchNet has them), a source file or a folder of them,
//!    and gives [`Code`] by code.
//! 2. [`Snippet::new`] parses it ([`Syntax`]), takes its [`Leaf`]s and makes the text for the model as a [`Reading`] says,
//!    with a span for each leaf.
//! 3. [`Snippet::graph`] puts edges between the leaves ([`GraphKind`]), and [`Graph::distances`] counts how many lie between
//!    any two ([`Distances`]). [`Graph::with_tree`], [`Distances::offsets`] and [`Distances::truncated`] give what any
//!    claim about the tree has to beat.
//!
//! ```
//! # #[cfg(feature = "python")] {
//! use bertology_code::{Code, GraphKind, Language, Reading, Snippet, Tail};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let code = Code::new(Language::named("python")?, "def f(x):\n    return x  # the same\n");
//! let snippet = Snippet::new(code, &Reading::default())?;
//! assert_eq!(snippet.model_text(), "def f ( x ) : return x");
//! // A model that reads the first 13 bytes sees the first six leaves.
//! let seen = snippet.visible(13);
//! let distances = snippet.graph(GraphKind::Chain, Tail::Keep, &seen).distances(&seen)?;
//! assert_eq!(distances.row(0), [0, 1, 2, 3, 3, 2]);
//! # Ok(())
//! # }
//! # main().unwrap();
//! # }
//! ```
//!
//! | module | question |
//! | --- | --- |
//! | `language` | which languages are there, and which kinds of nodes mean what? |
//! | `syntax` | which nodes has a text, and which functions? |
//! | `leaves`, `docstring` | which of them are the tokens? |
//! | `model_text` | what does a model read, and where are the tokens in it? |
//! | `graph`, `distance` | what is joined to what, and how far is it? |
//! | `baseline` | which trees know nothing of the program? |
//! | `legacy` | what did the released code take for leaves, and for their tokens? |
//! | `functions`, `sample` | which functions does a file or folder hold, and which are taken? |
#![forbid(unsafe_code)]
#![cfg_attr(
    not(any(
        feature = "c",
        feature = "cpp",
        feature = "go",
        feature = "java",
        feature = "javascript",
        feature = "php",
        feature = "python",
        feature = "ruby",
        feature = "rust",
        feature = "typescript",
    )),
    allow(
        unused,
        reason = "a build without languages has no row for what makes rows"
    )
)]

mod baseline;
mod code;
mod distance;
mod docstring;
mod error;
mod functions;
mod graph;
mod language;
mod leaves;
mod legacy;
mod model_text;
mod sample;
mod snippet;
mod syntax;

pub use baseline::Shape;
pub use code::Code;
pub use distance::{Distances, MAX_ROWS};
pub use error::{CodeError, LineFault, Refusal};
pub use functions::{
    FunctionCounts, FunctionInfo, FunctionMark, FunctionReader, Functions, Passed, PassedOver,
};
pub use graph::{Graph, GraphKind};
pub use language::{LANGUAGES, Language, LegacyStrings, Wrapper};
pub use leaves::{Docstrings, Leaf, Strings, leaves};
pub use legacy::{LegacyLeaves, LegacySearch};
pub use sample::sample;
pub use snippet::{Faulty, InputMode, Reading, Snippet, Tail};
pub use syntax::{DEFAULT_MAX_BYTES, Function, Node, Syntax, Wrapping};
