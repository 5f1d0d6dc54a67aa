//! Which nodes are leaves, language by language.

use bertology_code::{Docstrings, Faulty, InputMode, Reading, Refusal, Strings, Wrapping};

use crate::{kinds, read, snippet, texts};

fn with(name: &str, text: &str, strings: Strings) -> Vec<String> {
    let reading = Reading::of(InputMode::Raw).with_strings(strings);
    let found = read(name, text, &reading).unwrap();
    let both = kinds(&found).into_iter().zip(texts(&found));
    both.map(|(kind, text)| match kind == text {
        true => kind.to_owned(),
        false => format!("{kind}:{text}"),
    })
    .collect()
}

#[test]
fn strings_are_one_leaf_or_as_the_grammar_has_them_or_as_they_were() {
    let code = "a = \"b c\"\n";
    assert_eq!(
        with("python", code, Strings::Collapse),
        ["identifier:a", "=", "string:\"b c\""]
    );
    assert_eq!(
        with("python", code, Strings::Expand),
        [
            "identifier:a",
            "=",
            "string_start:\"",
            "string_content:b c",
            "string_end:\""
        ]
    );
    assert_eq!(
        with("python", code, Strings::Legacy),
        ["identifier:a", "=", "\"", "\""]
    );

    let code = "func f() { a := \"b\" + `c` }";
    assert_eq!(
        with("go", code, Strings::Collapse)[5..10],
        [
            "identifier:a",
            ":=",
            "interpreted_string_literal:\"b\"",
            "+",
            "raw_string_literal:`c`"
        ]
    );
    assert_eq!(
        with("go", code, Strings::Legacy)[5..12],
        ["identifier:a", ":=", "\"", "\"", "+", "`", "`"]
    );

    let code = "void f() { g(\"b\\n\", 'c'); }";
    let whole = "string_literal:\"b\\n\"";
    assert_eq!(with("java", code, Strings::Collapse)[7], whole);
    assert_eq!(with("java", code, Strings::Legacy)[7], whole);
    assert_eq!(
        with("java", code, Strings::Collapse)[9],
        "character_literal:'c'"
    );
    assert_eq!(
        with("java", code, Strings::Expand)[7..11],
        ["\"", "string_fragment:b", "escape_sequence:\\n", "\""]
    );

    let code = "f('b', `c`, `d${e}`, /g/)";
    assert_eq!(
        with("javascript", code, Strings::Collapse),
        [
            "identifier:f",
            "(",
            "string:'b'",
            ",",
            "template_string:`c`",
            ",",
            "`",
            "string_fragment:d",
            "${",
            "identifier:e",
            "}",
            "`",
            ",",
            "/",
            "regex_pattern:g",
            "/",
            ")"
        ]
    );
    assert_eq!(
        with("javascript", code, Strings::Legacy),
        with("javascript", code, Strings::Expand)
    );
}

/// Text between escapes lies in no leaf, and a string inside a formatted one is a string.
#[test]
fn formatted_strings_keep_their_parts() {
    assert_eq!(
        with("python", "f\"a\\n b {g('c')}\"\n", Strings::Collapse),
        [
            "string_start:f\"",
            "escape_sequence:\\n",
            "{",
            "identifier:g",
            "(",
            "string:'c'",
            ")",
            "}",
            "string_end:\""
        ]
    );
    assert_eq!(
        with("python", "'a\\n b'\n", Strings::Expand),
        ["string_start:'", "escape_sequence:\\n", "string_end:'"]
    );
    // A row of strings is not one: what stands between is no token.
    assert_eq!(
        with("python", "x = ('a'  # c\n 'b')\n", Strings::Collapse),
        ["identifier:x", "=", "(", "string:'a'", "string:'b'", ")"]
    );
}

#[test]
fn comments_and_all_that_is_in_them_are_no_leaves() {
    for (name, code, expected) in [
        ("python", "a  # b\n", "a"),
        ("java", "int a; // b\n/* c */ /** d */", "int a ;"),
        ("javascript", "<!-- d\na // b\n/* c */", "a"),
        ("go", "var a int // b\n/* c */", "var a int"),
        (
            "rust",
            "/// doc\n/** more */ //! no\nfn a() {} // b\n/* c /* d */ */",
            "fn a ( ) { }",
        ),
        ("typescript", "a // b\n/* c */", "a"),
        ("c", "int a; // b\n/* c */", "int a ;"),
        ("cpp", "int a; // b\n/* c */", "int a ;"),
        ("ruby", "a # b\n=begin\nc\n=end\n", "a"),
        ("php", "<?php $a; // b\n# c\n/* d */", "$ a ;"),
    ] {
        if bertology_code::Language::named(name).is_err() {
            continue;
        }
        let found = snippet(name, code);
        assert_eq!(found.model_text(), expected, "{name}");
    }
}

#[test]
fn raw_strings_of_rust_lose_their_hidden_marks_or_are_whole() {
    let code = "fn f() { r#\"x\"#; }";
    let of = |strings| with("rust", code, strings);
    assert_eq!(of(Strings::Collapse)[5], "raw_string_literal:r#\"x\"#");
    assert_eq!(of(Strings::Expand)[5], "string_content:x");
}

/// CPython's rule, judged by CPython: `ast.get_docstring` of each.
#[test]
fn docstrings_are_those_of_cpython() {
    for (code, is) in [
        ("def f():\n    'doc'\n    g()\n", true),
        ("def f():\n    # first\n    r'''doc'''\n    g()\n", true),
        ("def f():\n    'doc' \"more\"; g()\n", true),
        ("def f():\n    ('doc')\n    g()\n", true),
        ("class f:\n    U'doc'\n    g()\n", true),
        ("async def f():\n    'doc'\n    g()\n", true),
        ("'doc'\ng()\n", true),
        ("def f():\n    f'doc'\n    g()\n", false),
        ("def f():\n    b'doc'\n    g()\n", false),
        ("def f():\n    'doc' f'more'\n    g()\n", false),
        ("def f():\n    'doc' + 'more'\n    g()\n", false),
        ("def f():\n    g()\n    'doc'\n", false),
        ("def f():\n    'doc',\n    g()\n", false),
        ("def f():\n    'doc'.g()\n", false),
        ("def f():\n    x = 'doc'\n    g()\n", false),
        ("if f:\n    'doc'\n    g()\n", false),
    ] {
        let found = snippet("python", code);
        let kept = found.model_text().contains("doc");
        assert_eq!(!kept, is, "{code}: {}", found.model_text());
        let reading = Reading::of(InputMode::Joined).with_docstrings(Docstrings::Keep);
        assert!(
            read("python", code, &reading)
                .unwrap()
                .model_text()
                .contains("doc")
        );
        // Where the model reads the code as it is, it reads docstrings, too.
        let raw = read("python", code, &Reading::of(InputMode::Raw)).unwrap();
        assert!(
            texts(&raw).iter().any(|text| text.contains("doc")),
            "{code}"
        );
    }
}

#[test]
fn what_the_parser_missed_is_no_leaf() {
    let code = "int f( { return 1 }";
    let refused = read("java", code, &Reading::default()).unwrap_err();
    assert!(
        matches!(refused, Refusal::Faulty { line: 1, .. }),
        "{refused}"
    );
    let reading = Reading::default().with_faulty(Faulty::Keep);
    let found = read("java", code, &reading).unwrap();
    assert_eq!(texts(&found), ["int", "f", "(", "{", "return", "1", "}"]);
    let missing = found.syntax().nodes().iter();
    let missing: Vec<&str> = missing
        .filter(|node| node.is_missing())
        .map(|node| found.syntax().kind(node))
        .collect();
    assert_eq!(missing, [")", ";"]);
}

#[test]
fn what_the_parser_could_not_make_out_is_an_inner_node() {
    let code = "def f(x):\n    return x\n\ndef ? g\n";
    let refused = read("python", code, &Reading::default()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "it is not valid python: `def ? g` in line 4, column 1 of it"
    );
    let reading = Reading::default().with_faulty(Faulty::Keep);
    let found = read("python", code, &reading).unwrap();
    assert_eq!(
        texts(&found)[..8],
        ["def", "f", "(", "x", ")", ":", "return", "x"]
    );
    assert!(
        found
            .syntax()
            .nodes()
            .iter()
            .any(bertology_code::Node::is_error)
    );
    assert!(!kinds(&found).contains(&"ERROR") || texts(&found).contains(&"?"));
}

#[test]
fn nothing_but_blanks_and_comments_is_refused() {
    for code in ["", " \n\t", "# only\n", "\"\"\"doc\"\"\"\n"] {
        let refused = read("python", code, &Reading::default()).unwrap_err();
        assert_eq!(refused, Refusal::Empty, "{code:?}");
    }
}

#[cfg(feature = "php")]
#[test]
fn php_without_a_tag_is_text_and_in_a_wrapper_code() {
    let method = "public function f($a) {\n    return $a . \"b $a\"; // c\n}";
    let bare = Reading::default().with_wrapping(Wrapping::Never);
    let text = read("php", method, &bare).unwrap();
    assert!(text.is_only_text());
    assert_eq!(kinds(&text), ["text"]);
    let distances = crate::distances(&text, bertology_code::GraphKind::ChainFlow);
    assert_eq!(distances.values(), [0]);

    let wrapped = snippet("php", method);
    assert!(!wrapped.is_only_text());
    let class = format!("<?php\nclass C {{\n{method}\n}}\n");
    let whole = snippet("php", &class);
    // Behind `class C {`, before `}`.
    let inside = 3..whole.leaves().len() - 1;
    assert_eq!(texts(&wrapped), texts(&whole)[inside.clone()]);
    assert_eq!(kinds(&wrapped), kinds(&whole)[inside.clone()]);
    for kind in bertology_code::GraphKind::ALL {
        let inside: Vec<usize> = inside.clone().collect();
        let expected = crate::distances(&whole, kind).of(&inside);
        assert_eq!(
            crate::distances(&wrapped, kind),
            expected,
            "{}",
            kind.name()
        );
    }
    // Statements, which no class may hold, and a comment that would swallow the end of the wrapper.
    assert_eq!(snippet("php", "$a = 1; // b").model_text(), "$ a = 1 ;");
    assert_eq!(
        snippet("php", "function f() {} // b").model_text(),
        "function f ( ) { }"
    );
}

#[cfg(not(feature = "php"))]
#[test]
fn nothing_is_wrapped_that_is_a_program_alone() {
    let bare = Reading::default().with_wrapping(Wrapping::Never);
    assert_eq!(
        kinds(&read("python", "a\n", &bare).unwrap()),
        ["identifier"]
    );
}
