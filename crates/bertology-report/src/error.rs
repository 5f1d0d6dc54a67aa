//! What can be wrong with the numbers that a page is asked to show.

use thiserror::Error;

/// Why a page was not made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// Numbers that do not fit what the page says of them.
    #[error("{what}: expected {expected} values, found {found}")]
    Count {
        /// Which numbers.
        what: String,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A number that is not one.
    #[error("{what} is not finite")]
    NotFinite {
        /// Which number.
        what: String,
    },
    /// The document of a page cannot be written as JSON.
    #[error("cannot write the document of the page: {source}")]
    Document {
        /// Why.
        #[from]
        source: serde_json::Error,
    },
    /// The page would be larger than wanted, even with the fewest numbers that are of use.
    #[error(
        "the attention of {heads} heads over {tokens} tokens takes about {needed} bytes even with the \
         {kept} largest weights of each token alone, more than the {limit} allowed"
    )]
    TooLarge {
        /// Heads to be shown.
        heads: usize,
        /// Tokens.
        tokens: usize,
        /// Weights kept of each token.
        kept: usize,
        /// Estimate, in bytes.
        needed: u64,
        /// In bytes.
        limit: u64,
    },
}
