//! Which languages there are. A language is one row of [`table`](mod@self::table).

mod table;

use std::path::Path;
use std::sync::LazyLock;

use crate::error::CodeError;

pub use table::LANGUAGES;

/// What the code of a function is put into where it is no whole program alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wrapper {
    /// A text that has this needs no wrapper.
    pub unless: &'static str,
    /// What stands before and behind, the first that parses without a fault.
    pub around: &'static [(&'static str, &'static str)],
}

/// What string literals were in the grammars of 2022, whose leaves the published lists of types name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegacyStrings {
    /// Leaves as they are.
    Expanded,
    /// One leaf of the literal's own kind.
    Collapsed,
    /// Two quotation marks; what is between them lay in no leaf.
    Quotes,
}

/// A language: its grammar, and which of the grammar's kinds mean what.
#[derive(Debug)]
pub struct Language {
    /// Its name, as CodeSearchNet writes it: lower case.
    pub name: &'static str,
    /// Other names.
    pub aliases: &'static [&'static str],
    /// What file names end in, without the dot.
    pub extensions: &'static [&'static str],
    /// Crate and version of the grammar. Kinds of leaves depend on it, so that results name it.
    pub grammar: &'static str,
    /// Comments, whose insides are no leaves either.
    pub comments: &'static [&'static str],
    /// Leaves that are no tokens of the program.
    pub dropped: &'static [&'static str],
    /// Functions and methods with a body.
    pub functions: &'static [&'static str],
    /// What gives names to the functions inside.
    pub scopes: &'static [&'static str],
    /// String literals, which become one leaf if all their named parts are among `string_parts`.
    pub strings: &'static [&'static str],
    /// What a string literal without interpolation is made of; blanks in it belong to the program.
    pub string_parts: &'static [&'static str],
    /// What they were in 2022.
    pub legacy_strings: LegacyStrings,
    /// Leaves that are joined to the one before with the same text: data flow.
    pub flow: &'static [&'static str],
    /// Whether a plain string that is the first statement of a body is a docstring.
    pub docstrings: bool,
    /// What a function is put into where it is no program alone.
    pub wrapper: Option<Wrapper>,
    pub(crate) parser: LazyLock<tree_sitter::Language>,
    kinds: LazyLock<Vec<u8>>,
}

/// A kind is a comment.
pub(crate) const COMMENT: u8 = 1;
/// No token of the program.
pub(crate) const DROPPED: u8 = 1 << 1;
/// A function or method.
pub(crate) const FUNCTION: u8 = 1 << 2;
/// A string literal.
pub(crate) const STRING: u8 = 1 << 3;
/// A part of one.
pub(crate) const STRING_PART: u8 = 1 << 4;
/// Joined to others by data flow.
pub(crate) const FLOW: u8 = 1 << 5;
/// Not a token that is named by its text.
pub(crate) const NAMED: u8 = 1 << 6;
/// Gives a name to functions inside.
pub(crate) const SCOPE: u8 = 1 << 7;

impl Language {
    /// The language of this name or alias, in any case of letters.
    ///
    /// # Errors
    ///
    /// [`CodeError::UnknownLanguage`], also if this build has no grammar for it.
    pub fn named(name: &str) -> Result<&'static Self, CodeError> {
        let wanted = name.trim().to_lowercase();
        let known = |language: &&&Self| {
            language.name == wanted || language.aliases.contains(&wanted.as_str())
        };
        let found = LANGUAGES.iter().find(known).copied();
        found.ok_or_else(|| CodeError::UnknownLanguage {
            name: name.to_owned(),
            known: Self::names(),
        })
    }

    /// The language of a file with this name.
    #[must_use]
    pub fn of_path(path: &Path) -> Option<&'static Self> {
        let end = path.extension()?.to_str()?.to_lowercase();
        let known = |language: &&&Self| language.extensions.contains(&end.as_str());
        LANGUAGES.iter().find(known).copied()
    }

    /// The names of all languages of this build.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        LANGUAGES.iter().map(|language| language.name).collect()
    }

    /// The name of a kind of nodes.
    pub(crate) fn kind_name(&'static self, kind: u16) -> &'static str {
        self.parser.node_kind_for_id(kind).unwrap_or("ERROR")
    }

    /// What a kind of nodes means.
    pub(crate) fn class(&self, kind: u16) -> u8 {
        self.kinds.get(usize::from(kind)).copied().unwrap_or(NAMED)
    }

    /// The number of a field, 0 where the grammar has no such one.
    pub(crate) fn field(&self, name: &str) -> u16 {
        self.parser.field_id_for_name(name).map_or(0, u16::from)
    }

    /// Every kind that a row names, with the column where it stands.
    pub fn kinds_named(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let columns = [
            ("comments", self.comments),
            ("dropped", self.dropped),
            ("functions", self.functions),
            ("scopes", self.scopes),
            ("strings", self.strings),
            ("string_parts", self.string_parts),
            ("flow", self.flow),
        ];
        columns
            .into_iter()
            .flat_map(|(column, kinds)| kinds.iter().map(move |kind| (column, *kind)))
    }

    /// Whether the grammar has nodes of this name (not tokens of that text).
    #[must_use]
    pub fn has_kind(&self, name: &str) -> bool {
        self.parser.id_for_node_kind(name, true) != 0
    }

    /// What every kind means. A token may be called as a node is (`string` is a keyword of TypeScript), hence the
    /// question whether a kind is named.
    fn classes(&self) -> Vec<u8> {
        let count = self.parser.node_kind_count();
        let ids = 0..u16::try_from(count).unwrap_or(u16::MAX);
        ids.map(|id| {
            if !self.parser.node_kind_is_named(id) {
                return 0;
            }
            let name = self.parser.node_kind_for_id(id).unwrap_or_default();
            let columns = [
                (COMMENT, self.comments),
                (DROPPED, self.dropped),
                (FUNCTION, self.functions),
                (SCOPE, self.scopes),
                (STRING, self.strings),
                (STRING_PART, self.string_parts),
                (FLOW, self.flow),
            ];
            let set = columns.iter().filter(|(_, kinds)| kinds.contains(&name));
            set.fold(NAMED, |all, (flag, _)| all | flag)
        })
        .collect()
    }
}

/// There is one of each.
impl PartialEq for Language {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Language {}

impl std::fmt::Display for Language {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}
