//! A row a language. `docs/add-a-language.md` says what goes where.

use std::sync::LazyLock;

#[cfg(feature = "php")]
use super::Wrapper;
use super::{Language, LegacyStrings};

/// The languages of this build.
pub static LANGUAGES: &[&Language] = &[
    #[cfg(feature = "c")]
    &C,
    #[cfg(feature = "cpp")]
    &CPP,
    #[cfg(feature = "go")]
    &GO,
    #[cfg(feature = "java")]
    &JAVA,
    #[cfg(feature = "javascript")]
    &JAVASCRIPT,
    #[cfg(feature = "php")]
    &PHP,
    #[cfg(feature = "python")]
    &PYTHON,
    #[cfg(feature = "ruby")]
    &RUBY,
    #[cfg(feature = "rust")]
    &RUST,
    #[cfg(feature = "typescript")]
    &TYPESCRIPT,
    #[cfg(feature = "typescript")]
    &TSX,
];

/// Each row of the table, with the two columns that follow from the others.
macro_rules! language {
    ($(#[$meta:meta])* $row:ident = $grammar:expr; { $($column:ident: $value:expr,)* }) => {
        $(#[$meta])*
        static $row: Language = Language {
            $($column: $value,)*
            parser: LazyLock::new(|| $grammar.into()),
            kinds: LazyLock::new(|| $row.classes()),
        };
    };
}

#[cfg(any(feature = "javascript", feature = "typescript"))]
const ECMA_FUNCTIONS: &[&str] = &[
    "function_declaration",
    "function_expression",
    "generator_function",
    "generator_function_declaration",
    "arrow_function",
    "method_definition",
];

language! {
    #[cfg(feature = "python")]
    PYTHON = tree_sitter_python::LANGUAGE; {
        name: "python",
        aliases: &["py", "python3"],
        extensions: &["py", "pyi"],
        grammar: "tree-sitter-python 0.25.0",
        comments: &["comment"],
        dropped: &["line_continuation"],
        functions: &["function_definition"],
        scopes: &["class_definition"],
        strings: &["string"],
        string_parts: &["string_start", "string_content", "escape_sequence", "escape_interpolation", "string_end"],
        legacy_strings: LegacyStrings::Quotes,
        flow: &["identifier"],
        docstrings: true,
        wrapper: None,
    }
}

language! {
    #[cfg(feature = "java")]
    JAVA = tree_sitter_java::LANGUAGE; {
        name: "java",
        aliases: &[],
        extensions: &["java"],
        grammar: "tree-sitter-java 0.23.5",
        comments: &["line_comment", "block_comment"],
        dropped: &[],
        functions: &["method_declaration", "constructor_declaration", "compact_constructor_declaration"],
        scopes: &["class_declaration", "interface_declaration", "enum_declaration", "record_declaration"],
        strings: &["string_literal"],
        string_parts: &["string_fragment", "multiline_string_fragment", "escape_sequence"],
        legacy_strings: LegacyStrings::Collapsed,
        flow: &["identifier"],
        docstrings: false,
        wrapper: None,
    }
}

language! {
    #[cfg(feature = "javascript")]
    JAVASCRIPT = tree_sitter_javascript::LANGUAGE; {
        name: "javascript",
        aliases: &["js"],
        extensions: &["js", "mjs", "cjs", "jsx"],
        grammar: "tree-sitter-javascript 0.25.0",
        comments: &["comment", "html_comment"],
        dropped: &[],
        functions: ECMA_FUNCTIONS,
        scopes: &["class_declaration", "class"],
        strings: &["string", "template_string"],
        string_parts: &["string_fragment", "escape_sequence"],
        legacy_strings: LegacyStrings::Expanded,
        flow: &["identifier"],
        docstrings: false,
        wrapper: None,
    }
}

/// TypeScript and TSX have two parsers and the same kinds.
#[cfg(feature = "typescript")]
macro_rules! typescript {
    ($row:ident = $grammar:expr, $name:literal, $aliases:expr, $extensions:expr) => {
        language! {
            $row = $grammar; {
                name: $name,
                aliases: $aliases,
                extensions: $extensions,
                grammar: "tree-sitter-typescript 0.23.2",
                comments: &["comment", "html_comment"],
                dropped: &[],
                functions: ECMA_FUNCTIONS,
                scopes: &["class_declaration", "abstract_class_declaration", "class", "internal_module"],
                strings: &["string", "template_string"],
                string_parts: &["string_fragment", "escape_sequence"],
                legacy_strings: LegacyStrings::Expanded,
                flow: &["identifier"],
                docstrings: false,
                wrapper: None,
            }
        }
    };
}

#[cfg(feature = "typescript")]
typescript!(
    TYPESCRIPT = tree_sitter_typescript::LANGUAGE_TYPESCRIPT,
    "typescript",
    &["ts"],
    &["ts", "mts", "cts"]
);
#[cfg(feature = "typescript")]
typescript!(
    TSX = tree_sitter_typescript::LANGUAGE_TSX,
    "tsx",
    &[],
    &["tsx"]
);

language! {
    #[cfg(feature = "go")]
    GO = tree_sitter_go::LANGUAGE; {
        name: "go",
        aliases: &["golang"],
        extensions: &["go"],
        grammar: "tree-sitter-go 0.25.0",
        comments: &["comment"],
        dropped: &[],
        functions: &["function_declaration", "method_declaration", "func_literal"],
        scopes: &[],
        strings: &["interpreted_string_literal", "raw_string_literal"],
        string_parts: &["interpreted_string_literal_content", "raw_string_literal_content", "escape_sequence"],
        legacy_strings: LegacyStrings::Quotes,
        flow: &["identifier"],
        docstrings: false,
        wrapper: None,
    }
}

language! {
    #[cfg(feature = "rust")]
    RUST = tree_sitter_rust::LANGUAGE; {
        name: "rust",
        aliases: &["rs"],
        extensions: &["rs"],
        grammar: "tree-sitter-rust 0.24.2",
        comments: &["line_comment", "block_comment"],
        dropped: &[],
        functions: &["function_item"],
        scopes: &["impl_item", "trait_item", "mod_item"],
        strings: &["string_literal", "raw_string_literal"],
        string_parts: &["string_content", "escape_sequence"],
        legacy_strings: LegacyStrings::Expanded,
        flow: &["identifier"],
        docstrings: false,
        wrapper: None,
    }
}

language! {
    #[cfg(feature = "c")]
    C = tree_sitter_c::LANGUAGE; {
        name: "c",
        aliases: &[],
        extensions: &["c", "h"],
        grammar: "tree-sitter-c 0.24.2",
        comments: &["comment"],
        dropped: &[],
        functions: &["function_definition"],
        scopes: &[],
        strings: &["string_literal", "system_lib_string"],
        string_parts: &["string_content", "escape_sequence"],
        legacy_strings: LegacyStrings::Expanded,
        flow: &["identifier"],
        docstrings: false,
        wrapper: None,
    }
}

language! {
    #[cfg(feature = "cpp")]
    CPP = tree_sitter_cpp::LANGUAGE; {
        name: "cpp",
        aliases: &["c++", "cxx"],
        extensions: &["cc", "cpp", "cxx", "hh", "hpp", "hxx"],
        grammar: "tree-sitter-cpp 0.23.4",
        comments: &["comment"],
        dropped: &[],
        functions: &["function_definition"],
        scopes: &["class_specifier", "struct_specifier", "namespace_definition"],
        strings: &["string_literal", "raw_string_literal", "system_lib_string"],
        string_parts: &["string_content", "escape_sequence", "raw_string_delimiter", "raw_string_content"],
        legacy_strings: LegacyStrings::Expanded,
        flow: &["identifier"],
        docstrings: false,
        wrapper: None,
    }
}

language! {
    #[cfg(feature = "ruby")]
    RUBY = tree_sitter_ruby::LANGUAGE; {
        name: "ruby",
        aliases: &["rb"],
        extensions: &["rb"],
        grammar: "tree-sitter-ruby 0.23.1",
        comments: &["comment"],
        dropped: &[],
        functions: &["method", "singleton_method"],
        scopes: &["class", "module"],
        strings: &["string", "bare_string"],
        string_parts: &["string_content", "escape_sequence", "heredoc_content"],
        legacy_strings: LegacyStrings::Expanded,
        flow: &["identifier"],
        docstrings: false,
        wrapper: None,
    }
}

language! {
    #[cfg(feature = "php")]
    PHP = tree_sitter_php::LANGUAGE_PHP; {
        name: "php",
        aliases: &[],
        extensions: &["php"],
        grammar: "tree-sitter-php 0.25.1",
        comments: &["comment"],
        dropped: &["php_tag"],
        functions: &["function_definition", "method_declaration"],
        scopes: &["class_declaration", "interface_declaration", "trait_declaration", "enum_declaration"],
        strings: &["string", "encapsed_string"],
        string_parts: &["string_content", "escape_sequence", "nowdoc_string"],
        legacy_strings: LegacyStrings::Expanded,
        // A variable is a `variable_name` with a `name` in it, to which data flow does not apply.
        flow: &[],
        docstrings: false,
        // A method is none outside of a class, and without a tag all is text between programs.
        wrapper: Some(Wrapper {
            unless: "<?",
            around: &[("<?php class C { ", "\n}"), ("<?php ", "")],
        }),
    }
}
