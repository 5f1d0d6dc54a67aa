//! No library crate names an option of this command: it says what would do in its own terms, and the command adds
//! the option.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};

/// String literals of the source, in attributes such as `#[error("…")]` too, but not in doc comments.
fn literals(tokens: TokenStream, into: &mut Vec<String>) {
    let mut after_hash = false;
    for token in tokens {
        match &token {
            TokenTree::Group(group) => {
                let mut inside = group.stream().into_iter();
                let doc = matches!(inside.next(), Some(TokenTree::Ident(name)) if name == "doc");
                if !(after_hash && doc) {
                    literals(group.stream(), into);
                }
            }
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                if text.contains('"') {
                    into.push(text);
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
        // `#[…]`, and `#![…]`.
        after_hash = matches!(&token, TokenTree::Punct(p) if p.as_char() == '#' || (after_hash && p.as_char() == '!'));
    }
}

/// The options in a text: two hyphens at the beginning of a word and a name behind them. A property of a style
/// sheet (`--share: 3px`) and a mark of a page (`<!--name-->`) are none.
fn options(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("--") {
        let begins = |before: char| before.is_whitespace() || "\"(`'[/,".contains(before);
        let name: String = text[at + 2..]
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c))
            .collect();
        let behind = text[at + 2 + name.len()..].chars().next();
        if text[..at].chars().next_back().is_none_or(begins)
            && name.len() > 1
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && behind != Some(':')
        {
            found.push(format!("--{name}"));
        }
    }
    found
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn options_are_told_from_what_looks_like_one() {
    for (text, found) in [
        ("\"take --split dev\"", &["--split"][..]),
        (
            "\"or more (--rows N, `--memory`)\"",
            &["--rows", "--memory"],
        ),
        ("\"--too-long cut\"", &["--too-long"]),
        (
            "\"again with a\\\n         --text-column\"",
            &["--text-column"],
        ),
        ("\"<!--bertology:data--> a--b --m{level}\"", &[]),
        ("\"--share:{:.1}%\" models--gpt2", &[]),
    ] {
        assert_eq!(options(text), found, "{text}");
    }
    let code = "/// See --quiet.\n#[error(\"say --task\")]\nfn f() { g(r#\"--rows\"#); } // --seed";
    let mut found = Vec::new();
    literals(code.parse().unwrap(), &mut found);
    let found: Vec<_> = found.iter().map(|text| options(text)).collect();
    assert_eq!(found, [["--task"], ["--rows"]]);
}

#[test]
fn no_library_message_names_an_option() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    for entry in fs::read_dir(crates).unwrap() {
        let path = entry.unwrap().path();
        if !path.ends_with("bertology-cli") && path.join("src").is_dir() {
            sources(&path.join("src"), &mut files);
        }
    }
    assert!(files.len() > 100, "{} files", files.len());
    let mut named = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let tokens = text
            .parse()
            .unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let mut found = Vec::new();
        literals(tokens, &mut found);
        for literal in found.iter().filter(|literal| !options(literal).is_empty()) {
            named.push(format!("{}: {literal}", file.display()));
        }
    }
    assert!(named.is_empty(), "{}", named.join("\n"));
}
