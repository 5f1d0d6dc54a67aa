//! What can be wrong with related units. Every message says what to do.

/// A fault of a record; [`DataError::Relation`](crate::DataError::Relation) says where it is.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RelationFault {
    /// A key that means nothing.
    #[error("there is no `{key}` in such a record; known are {known}")]
    UnknownKey {
        /// The key.
        key: String,
        /// Those that are.
        known: &'static str,
    },
    /// A key is not there.
    #[error("the record has no `{key}`; write {expected}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// A value has a type that its key does not allow.
    #[error("`{key}` cannot be read; write {expected}")]
    Type {
        /// The key.
        key: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// No text, or several.
    #[error("the record has {found} of `text`, `words`, `residues` and `tokens`; give one of them")]
    Texts {
        /// So many.
        found: usize,
    },
    /// A word with white space in it, or without a letter.
    #[error("`{key}` {number} (from 0) is empty or has white space in it; a unit is one word")]
    Unit {
        /// The key.
        key: &'static str,
        /// Which.
        number: usize,
    },
    /// A pair that is written in another way.
    #[error(
        "pair {number} (from 1) cannot be read; write [from, to, \"label\"], [from, to, \"label\", weight], or an object with \
         `from`, `to`, `label` and perhaps `weight`"
    )]
    Pair {
        /// Which.
        number: usize,
    },
    /// A pair of units that are not there.
    #[error(
        "pair {number} (from 1) is of units {from} and {to}, and there are {units}, counted from 0"
    )]
    Beyond {
        /// Which.
        number: usize,
        /// Its first unit.
        from: usize,
        /// Its second.
        to: usize,
        /// Units of the record.
        units: usize,
    },
    /// A unit that is related to itself.
    #[error("pair {number} (from 1) relates unit {unit} to itself; take it out")]
    Itself {
        /// Which.
        number: usize,
        /// The unit.
        unit: usize,
    },
    /// A weight that is none.
    #[error("pair {number} (from 1) has the weight {weight}; weights are above 0")]
    Weight {
        /// Which.
        number: usize,
        /// The weight.
        weight: f64,
    },
    /// The same pair again.
    #[error(
        "pair {number} (from 1) says again that {from} is related to {to} as `{label}`; take one out"
    )]
    Twice {
        /// Which.
        number: usize,
        /// Its first unit.
        from: usize,
        /// Its second.
        to: usize,
        /// Its label.
        label: String,
    },
    /// A sequence without a line of contacts.
    #[error("{contacts} has no line whose `id` is `{name}`; add it, or take the sequence out")]
    NoContacts {
        /// The file of contacts.
        contacts: String,
        /// The sequence.
        name: String,
    },
    /// A sequence without a name.
    #[error("the sequence has no name behind `>`, by which its contacts could be found")]
    NoName,
    /// A name that occurs twice.
    #[error("`{name}` is there twice; names say which contacts belong to which sequence")]
    SameName {
        /// The name.
        name: String,
    },
    /// Coordinates of another number of residues.
    #[error(
        "there are {found} coordinates, and the sequence has {residues} residues; write null for those not known"
    )]
    Coordinates {
        /// So many.
        found: usize,
        /// Of the sequence.
        residues: usize,
    },
}
