//! Kinds of leaves that are frequent and often attended to, as the paper's authors chose them.
//!
//! Kinds are a grammar's names; strings are one leaf (`strings = collapse`), as in the grammars of 2022.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// A published choice of kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FrequentKinds {
    /// Of the figures: kinds whose ranks by confidence in four models' last layers sum to less than 40.
    Shared,
    /// Of the released code (`is_frequent_type`).
    Static,
}

/// Language, and the kinds of [`FrequentKinds::Shared`] and of [`FrequentKinds::Static`].
const PUBLISHED: [(&str, &[&str], &[&str]); 4] = [
    (
        "go",
        &[
            "package_identifier",
            "if",
            "=",
            "return",
            "type_identifier",
            ":",
            "interpreted_string_literal",
            "field_identifier",
        ],
        &[
            "package_identifier",
            "type_identifier",
            "field_identifier",
            "if",
            "return",
            "=",
        ],
    ),
    (
        "java",
        &[
            "public",
            "string_literal",
            "{",
            ";",
            "return",
            "=",
            "}",
            ",",
            ")",
        ],
        &[
            ")",
            "public",
            "string_literal",
            "identifier",
            "}",
            "return",
            "type_identifier",
            "if",
        ],
    ),
    (
        "javascript",
        &["function", ")", "(", "{", "string", ";", "identifier", ","],
        &["function", ")", "string", "identifier", "(", ";", "{", "}"],
    ),
    (
        "python",
        &[
            "]",
            "def",
            ")",
            "for",
            "identifier",
            ":",
            "if",
            "return",
            "(",
            "=",
            ",",
        ],
        &[")", "def", "return", "identifier", "if", "for", ":", "]"],
    ),
];

impl FrequentKinds {
    /// By language. There is none for languages that the paper does not have.
    #[must_use]
    pub fn by_language(self) -> BTreeMap<String, BTreeSet<String>> {
        let all = PUBLISHED.iter().map(|(language, shared, fixed)| {
            let kinds = match self {
                Self::Shared => shared,
                Self::Static => fixed,
            };
            let kinds = kinds.iter().map(|kind| (*kind).to_owned());
            ((*language).to_owned(), kinds.collect())
        });
        all.collect()
    }

    /// [`FrequentKinds::Static`] by the names of the grammars of 2022.
    #[cfg(feature = "code")]
    pub(super) fn of_2022() -> BTreeMap<String, BTreeSet<String>> {
        let mut all = Self::Static.by_language();
        if let Some(kinds) = all.get_mut("javascript") {
            kinds.remove("string");
            kinds.insert("string_fragment".to_owned());
        }
        all
    }
}
