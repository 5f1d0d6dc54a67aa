//! The search of the paper's released code, on cases worked out by hand.

use std::collections::BTreeSet;

use bertology_code::{Code, LegacyLeaves, LegacySearch, Refusal};

use crate::language;

fn leaves(name: &str, code: &str, tokens: &[&str]) -> LegacyLeaves {
    let tokens = tokens.iter().map(|token| (*token).to_owned()).collect();
    LegacyLeaves::new(Code::new(language(name), code).with_tokens(tokens), 1000).unwrap()
}

fn toy() -> LegacyLeaves {
    let tokens = ["def", "f", "(", "x", ")", ":", "return", "x"];
    leaves("python", "def f(x):\n    return x\n", &tokens)
}

fn sought<'a>(text: &'a str) -> Vec<Option<&'a str>> {
    let special = |token: &'a str| (token != "<s>" && token != "</s>").then_some(token);
    text.split(' ').map(special).collect()
}

/// `f` stands in `def`, so that the name of the function has no token and the first leaf two: it is listed twice, and every
/// kind behind it is one late.
#[test]
fn a_token_is_found_in_the_text_of_an_earlier_leaf() {
    let toy = toy();
    let found = toy.search(&sought("<s> def Ġf Ġ( Ġx Ġ) Ġ: Ġreturn Ġx </s>"), None);
    let leaves = [0, 0, 2, 3, 4, 5, 6, 7].map(Some);
    assert_eq!(found.leaves[0], None);
    assert_eq!(found.leaves[1..9], leaves);
    assert_eq!(found.leaves[9], None);
    let kinds = [
        "def",
        "def",
        "(",
        "identifier",
        ")",
        ":",
        "return",
        "identifier",
    ];
    assert_eq!(found.kinds, kinds);
    // Of the toy's distances in chain and flow: def, `(` and the first x.
    let distances = toy.distances(&[0, 2, 3]).unwrap();
    assert_eq!(distances.values(), [0, 2, 3, 2, 0, 1, 3, 1, 0]);
}

/// What is nowhere sends the search back to what it found last.
#[test]
fn what_is_not_found_moves_nothing() {
    let toy = toy();
    let found = toy.search(&sought("def Ġ( Ġ%3d Ċ Ġx Ġ) Ġ( Ġreturn"), None);
    let leaves = [
        Some(0),
        Some(2),
        None,
        None,
        Some(3),
        Some(4),
        None,
        Some(6),
    ];
    assert_eq!(found.leaves, leaves);
}

/// Of some kinds, tokens of others are found in the next leaf that holds them, or nowhere.
#[test]
fn only_leaves_of_listed_kinds_are_looked_at() {
    let toy = toy();
    let kinds = |kinds: &[&str]| -> BTreeSet<String> {
        kinds.iter().map(|kind| (*kind).to_owned()).collect()
    };
    let tokens = sought("def Ġf Ġ( Ġx Ġ) Ġ: Ġreturn Ġx");
    let LegacySearch {
        leaves: of,
        kinds: listed,
    } = toy.search(&tokens, Some(&kinds(&["identifier", ")"])));
    let expected = [None, Some(1), None, Some(3), Some(4), None, None, Some(7)];
    assert_eq!(of, expected);
    assert_eq!(listed, ["identifier", "identifier", ")", "identifier"]);
    assert!(toy.search(&tokens, Some(&kinds(&["if"]))).kinds.is_empty());
    // An `f` in front of the call's parenthesis goes to the keyword.
    let code = leaves("python", "f(g)\nif g: f(g)\n", &["f"]);
    let found = code.search(&sought("f Ġ( Ġg"), Some(&kinds(&["if"])));
    assert_eq!(found.leaves, [Some(4), None, None]);
}

/// Columns are bytes and are taken for characters; lines of one leaf are put together.
#[test]
fn texts_are_cut_as_the_released_code_cuts_them() {
    let code = leaves("java", "int f() { g(\"é\", x); /* a\nb */ }", &["int"]);
    let texts: Vec<&str> = code.texts().iter().map(String::as_str).collect();
    // Behind the accent everything is one character late; the comment is left out.
    let before = ["int", "f", "(", ")", "{", "g", "("];
    let behind = ["\"é\",", " ", ")", ";", " ", "}"];
    assert_eq!(texts, [&before[..], &behind[..]].concat());
    assert_eq!(code.kinds()[7], "string_literal");
    let code = leaves("python", "f(\"\"\"a\nb\"\"\")\n", &["f"]);
    assert_eq!(code.texts(), ["f", "(", "\"\"\"", "\"\"\"", ")"]);
    assert_eq!(code.kinds()[2..4], ["\"", "\""]);
    let code = leaves("go", "func f() string {\n\treturn `a\nb`\n}", &["func"]);
    assert!(code.texts().contains(&"`".to_owned()), "{:?}", code.texts());
}

/// Code with faults is taken; what its parser missed is an empty leaf in which nothing is found.
#[test]
fn missing_tokens_are_empty_leaves() {
    let code = leaves("java", "int f( { return 1 }", &["int"]);
    let empty = code.texts().iter().filter(|text| text.is_empty()).count();
    assert_eq!(empty, 2, "{:?}", code.texts());
    let found = code.search(&sought("int Ġf Ġ( Ġ{ Ġreturn Ġ1 Ġ}"), None);
    assert_eq!(found.leaves.iter().flatten().count(), 7);
}

#[test]
fn the_model_reads_the_list_of_tokens() {
    let code = leaves(
        "python",
        "f\n",
        &["a\nb", "  c ", "\"</s>\"", "\u{1c}", "d\u{a0}"],
    );
    assert_eq!(code.model_text(), "a b c \"<unk>\" d");
    let without = LegacyLeaves::new(Code::new(language("python"), "f\n"), 1000);
    assert_eq!(without.unwrap_err(), Refusal::NoTokens);
    // A node that is the whole tree is no leaf.
    let empty = leaves("python", "", &["x"]);
    assert!(empty.search(&[Some("x")], None).leaves == [None]);
}

/// A megabyte in one line, with a character of two bytes, and 10,000 levels: neither takes long nor too deep a stack.
#[test]
fn large_and_deep_code_is_searched() {
    let long = format!("x = \"é\" + {}1\n", "a + ".repeat(200_000));
    let long = Code::new(language("python"), long).with_tokens(vec!["a".to_owned()]);
    let begun = std::time::Instant::now();
    let leaves = LegacyLeaves::new(long, 1 << 20).unwrap();
    assert!(leaves.texts().len() > 400_000);
    assert_eq!(leaves.search(&[Some("+"), Some("é")], None).leaves.len(), 2);
    assert!(begun.elapsed().as_secs() < 60);
    let deep = format!("x = {}1{}\n", "(".repeat(10_000), ")".repeat(10_000));
    let deep = Code::new(language("python"), deep).with_tokens(vec!["x".to_owned()]);
    let leaves = LegacyLeaves::new(deep, 1 << 20).unwrap();
    assert_eq!(leaves.texts().len(), 20_003);
    assert_eq!(leaves.distances(&[0, 1]).unwrap().values()[1], 1);
}
