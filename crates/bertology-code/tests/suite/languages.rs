//! Every language of this build, by a file of its own.

use std::path::{Path, PathBuf};

use bertology_code::{
    Code, Functions, InputMode, LANGUAGES, Language, Reading, Snippet, Strings, Syntax, Wrapping,
};

/// The file of every language.
pub(crate) fn fixture(language: &Language) -> PathBuf {
    let name = match language.name {
        "python" => "shop.py",
        "java" => "Till.java",
        "javascript" => "till.js",
        "typescript" => "till.ts",
        "rust" => "till.rs",
        "ruby" => "till.rb",
        other => return folder().join(format!("till.{other}")),
    };
    folder().join(name)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Every function of a language's file.
pub(crate) fn functions(language: &'static Language) -> Vec<Code> {
    let reader = Functions::new(&fixture(language), None)
        .unwrap()
        .open()
        .unwrap();
    reader.map(Result::unwrap).collect()
}

#[test]
fn a_row_names_kinds_that_its_grammar_has() {
    for language in LANGUAGES {
        for (column, kind) in language.kinds_named() {
            assert!(
                language.has_kind(kind),
                "{language} has no {kind}, which is among its {column}"
            );
        }
    }
}

#[test]
fn a_language_is_found_by_its_names_and_by_those_of_its_files() {
    for language in LANGUAGES {
        for name in [language.name].iter().chain(language.aliases) {
            assert_eq!(Language::named(&name.to_uppercase()).unwrap(), *language);
        }
        for end in language.extensions {
            let path = PathBuf::from(format!("a.{end}"));
            assert_eq!(Language::of_path(&path), Some(*language), "{end}");
        }
        let (name, version) = language.grammar.split_once(' ').unwrap();
        assert!(name.starts_with("tree-sitter-") && version.contains('.'));
    }
    let error = Language::named("cobol").unwrap_err().to_string();
    assert!(
        error.contains("`cobol`") && error.contains(LANGUAGES[0].name),
        "{error}"
    );
}

/// The versions that results name are those that are built in.
#[test]
fn rows_name_the_versions_of_the_manifest() {
    let manifest = include_str!("../../Cargo.toml");
    for language in LANGUAGES {
        let (name, version) = language.grammar.split_once(' ').unwrap();
        let line = format!("{name} = {{ version = \"={version}\"");
        assert!(manifest.contains(&line), "{line}");
    }
}

#[test]
fn the_files_are_valid_and_their_outermost_functions_are_found() {
    let expected = [
        (
            "python",
            vec!["Till.__init__", "Till.pay", "Till.report", "empty"],
        ),
        ("java", vec!["Till.Till", "Till.pay", "Till.text"]),
        (
            "javascript",
            vec!["start", "pay", "Till.last", "Till.all", "exports.report"],
        ),
        ("typescript", vec!["Till.constructor", "Till.pay", "pick"]),
        ("tsx", vec!["Row"]),
        ("go", vec!["Pay", "Map"]),
        ("rust", vec!["Till<'a>.pay", "outer"]),
        ("c", vec!["pay", "find"]),
        (
            "cpp",
            vec!["shop.Till.Till", "shop.Till.pay", "shop::count"],
        ),
        ("ruby", vec!["Shop.Till.pay", "Shop.Till.empty?"]),
        ("php", vec!["Till.pay", "text"]),
    ];
    for language in LANGUAGES {
        let text = std::fs::read_to_string(fixture(language)).unwrap();
        let syntax = Syntax::parse(language, &text, Wrapping::Never, 1 << 20).unwrap();
        let fault = syntax.first_error().map(|node| &text[node.range()]);
        assert_eq!(fault, None, "{language}");
        let names: Vec<String> = functions(language)
            .into_iter()
            .map(|code| code.name.unwrap_or_default())
            .collect();
        let (_, wanted) = expected
            .iter()
            .find(|(name, _)| *name == language.name)
            .unwrap();
        assert_eq!(names, *wanted, "{language}");
    }
}

/// Every byte of a token is in one leaf, and comments are in none.
#[test]
fn leaves_hold_the_whole_program_but_comments() {
    for language in LANGUAGES {
        for code in functions(language) {
            for strings in [Strings::Collapse, Strings::Expand, Strings::Legacy] {
                let reading = Reading::of(InputMode::Raw).with_strings(strings);
                let found = Snippet::new(code.clone(), &reading).unwrap();
                let mut end = 0;
                for leaf in found.leaves() {
                    assert!(leaf.start >= end && leaf.end > leaf.start);
                    end = leaf.end;
                }
                if strings != Strings::Collapse {
                    continue;
                }
                let mut rest = found.text().as_bytes().to_vec();
                for leaf in found.leaves() {
                    rest[leaf.range()].fill(b' ');
                }
                for node in found.syntax().nodes() {
                    let kind = found.syntax().kind(node);
                    let is_text =
                        language.string_parts.contains(&kind) || kind == "format_specifier";
                    if found.syntax().is_comment(node) {
                        assert!(rest[node.range()].iter().any(|byte| *byte != b' '));
                    }
                    // The text of literals with something in them lies in no leaf.
                    if found.syntax().is_comment(node) || is_text {
                        rest[node.range()].fill(b' ');
                    }
                }
                let rest = String::from_utf8_lossy(&rest);
                let left: String = rest.split_whitespace().collect();
                // A line of Python that goes on.
                assert!(
                    ["", "\\"].contains(&left.as_str()),
                    "{language}: {left:?} in {}",
                    found.text()
                );
            }
        }
    }
}

#[test]
fn what_a_leaf_is_in_the_models_text_is_what_it_is_in_the_code() {
    for language in LANGUAGES {
        for code in functions(language) {
            for input in [InputMode::Joined, InputMode::Normalised, InputMode::Raw] {
                for strings in [Strings::Collapse, Strings::Expand, Strings::Legacy] {
                    let reading = Reading::of(input).with_strings(strings);
                    let found = Snippet::new(code.clone(), &reading).unwrap();
                    let mut end = 0;
                    for (leaf, span) in found.spans().iter().enumerate() {
                        let said = found.leaf_text(leaf);
                        let Some(span) = span else {
                            assert_eq!(said.trim(), "", "{language}");
                            continue;
                        };
                        assert_eq!(&found.model_text()[span.clone()], said, "{language}");
                        assert!(span.start >= end);
                        end = span.end;
                    }
                }
            }
        }
    }
}
