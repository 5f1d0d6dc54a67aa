//! The texts that a model reads, and the places of leaves in them.

use bertology_code::{Code, GraphKind, InputMode, Reading, Refusal, Snippet, Strings, Tail};

use crate::{distances, kinds, language, read, texts};

fn text(input: InputMode, code: &str) -> String {
    let found = read("python", code, &Reading::of(input)).unwrap();
    found.model_text().to_owned()
}

const CODE: &str = "\n def f(x):\n    \"\"\"Doc.\"\"\"\n    # c\n    return  g(x) # d\n\n";

#[test]
fn every_mode_has_its_text() {
    let code = CODE.trim_start();
    assert_eq!(
        text(InputMode::Joined, code),
        "def f ( x ) : return g ( x )"
    );
    assert_eq!(text(InputMode::Normalised, code), "def f(x): return g(x)");
    assert_eq!(text(InputMode::Raw, code), code);
    let tokens = "def f ( x ) : return g ( x )".split(' ').map(str::to_owned);
    let code = Code::new(language("python"), code).with_tokens(tokens.collect());
    let found = Snippet::new(code, &Reading::of(InputMode::Tokens)).unwrap();
    assert_eq!(found.model_text(), "def f ( x ) : return g ( x )");
    assert_eq!(found.strange_tokens(), 0);
}

/// Bytes, not characters.
#[test]
fn places_are_bytes() {
    let code = "s = \"héllo→\" # 变量\n";
    let reading = Reading::of(InputMode::Raw).with_strings(Strings::Expand);
    let found = read("python", code, &reading).unwrap();
    assert_eq!(texts(&found), ["s", "=", "\"", "héllo→", "\""]);
    let spans: Vec<_> = found.spans().iter().flatten().cloned().collect();
    // h [5,6) é [6,8) llo [8,11) → [11,14)
    assert_eq!(spans, [0..1, 2..3, 4..5, 5..14, 14..15]);
}

/// The pieces of a byte-level tokenizer: `):` is of two leaves, five are of none.
#[test]
fn pieces_of_the_raw_text_meet_leaves_as_the_specification_says() {
    let code = "def f(x):\n    return x\n";
    let found = read("python", code, &Reading::of(InputMode::Raw)).unwrap();
    let pieces = [
        "def", " f", "(", "x", "):", "\n", " ", " ", " ", " return", " x", "\n",
    ];
    assert_eq!(pieces.concat(), code);
    let mut from = 0;
    let met: Vec<Vec<&str>> = pieces
        .iter()
        .map(|piece| {
            let start = from + (piece.len() - piece.trim_start().len());
            from += piece.len();
            let spans = found.spans().iter().enumerate();
            let of = spans.filter(|(_, span)| {
                span.as_ref()
                    .is_some_and(|span| span.start < from && start < span.end && start < from)
            });
            of.map(|(leaf, _)| found.leaf_text(leaf)).collect()
        })
        .collect();
    assert_eq!(met[4], [")", ":"]);
    assert_eq!(met.iter().filter(|leaves| leaves.is_empty()).count(), 5);
    assert_eq!(met[9], ["return"]);
}

#[test]
fn blanks_around_code_change_no_leaf_and_no_distance() {
    let cases = [
        ("python", "def f(x):\n    return x"),
        ("java", "int f(int x) { return x; }"),
        ("javascript", "function f(x) { return x }"),
        ("go", "func f(x int) int { return x }"),
        ("rust", "fn f(x: u8) -> u8 { x }"),
        ("typescript", "function f(x: number) { return x }"),
    ];
    for (name, code) in cases {
        for input in [InputMode::Joined, InputMode::Normalised, InputMode::Raw] {
            let of = |code: &str| {
                let found = read(name, code, &Reading::of(input)).unwrap();
                let seen = found.visible(usize::MAX);
                let said = seen.iter().map(|leaf| found.leaf_text(*leaf).to_owned());
                let said: Vec<String> = said.collect();
                let kinds: Vec<_> = seen.iter().map(|leaf| kinds(&found)[*leaf]).collect();
                let graph = found.graph(GraphKind::ChainFlow, Tail::Keep, &seen);
                let text = found.model_text().to_owned();
                (said, kinds, graph.distances(&seen).unwrap(), text)
            };
            let plain = of(code);
            for behind in ["\n", "  \n\n", "\r\n\r\n", "\t \n"] {
                let more = of(&format!("{code}{behind}"));
                assert_eq!(
                    (&more.0, &more.1, &more.2),
                    (&plain.0, &plain.1, &plain.2),
                    "{name}"
                );
                if input != InputMode::Raw {
                    assert_eq!(more.3, plain.3, "{name}");
                }
            }
        }
    }
}

/// Blanks of the program are not blanks between its tokens.
#[test]
fn blanks_inside_of_strings_are_kept() {
    let code = "x  =  'a  b'  +  f\"c  d\\n  e { y  +  1 }  g\"\n";
    assert_eq!(
        text(InputMode::Normalised, code),
        "x = 'a  b' + f\"c  d\\n  e { y + 1 }  g\""
    );
    let code = "x = 1 + \\\n    2\n";
    assert_eq!(text(InputMode::Normalised, code), "x = 1 + \\ 2");
    assert_eq!(text(InputMode::Joined, code), "x = 1 + 2");
}

#[test]
fn lines_that_end_as_on_windows_are_blanks() {
    let unix = "def f(x):\n    # c\n    return x\n";
    let windows = unix.replace('\n', "\r\n");
    for input in [InputMode::Joined, InputMode::Normalised] {
        assert_eq!(text(input, &windows), text(input, unix));
    }
    let raw = read("python", &windows, &Reading::of(InputMode::Raw)).unwrap();
    assert_eq!(texts(&raw), ["def", "f", "(", "x", ")", ":", "return", "x"]);
    assert_eq!(raw.model_text(), windows);
}

/// A space between elements of JSX is a leaf, and no piece ever belongs to it.
#[test]
fn a_leaf_of_blanks_has_no_place_but_stays_in_the_chain() {
    let code = "<b>{x} {y}</b>\n";
    for input in [InputMode::Joined, InputMode::Normalised, InputMode::Raw] {
        let found = read("javascript", code, &Reading::of(input)).unwrap();
        let blank = texts(&found).iter().position(|text| *text == " ").unwrap();
        assert_eq!(kinds(&found)[blank], "jsx_text");
        assert_eq!(found.spans()[blank], None);
        assert!(!found.visible(usize::MAX).contains(&blank));
        let all = distances(&found, GraphKind::Chain);
        assert_eq!(all.get(blank - 1, blank), 1);
    }
}

#[test]
fn the_list_of_tokens_is_followed_through_what_it_leaves_out_and_adds() {
    let code =
        "def f(x):\n    '''Doc: x = 1'''\n    # x = 2\n    y = 'a  b' + \"c\"\n    return  x\n";
    let list = |said: &str| -> Vec<String> { said.split('|').map(str::to_owned).collect() };
    let tokens = list("def|f|(|x|)|:|y|=|'a  b'|+|strange|\"c\"|\n|return|x");
    let found = Snippet::new(
        Code::new(language("python"), code).with_tokens(tokens),
        &Reading::of(InputMode::Tokens),
    )
    .unwrap();
    let text = "def f ( x ) : y = 'a b' + strange \"c\" return x";
    assert_eq!(found.model_text(), text);
    assert_eq!(found.strange_tokens(), 1);
    let placed: Vec<&str> = found
        .spans()
        .iter()
        .map(|span| span.clone().map_or("-", |span| &text[span]))
        .collect();
    assert_eq!(
        placed,
        [
            "def", "f", "(", "x", ")", ":", "y", "=", "'a b'", "+", "\"c\"", "return", "x"
        ]
    );
    // Comments that stay in the list, as at Java.
    let code = "int f() { /* one */ return 1; }";
    let tokens = list("int|f|(|)|{|/*|one|*/|return|1|;|}");
    let found = Snippet::new(
        Code::new(language("java"), code).with_tokens(tokens),
        &Reading::of(InputMode::Tokens),
    )
    .unwrap();
    assert_eq!(found.strange_tokens(), 0);
    assert!(found.spans().iter().all(Option::is_some));
    assert_eq!(
        &found.model_text()[found.spans()[5].clone().unwrap()],
        "return"
    );

    let without = Code::new(language("java"), "int a;");
    let refused = Snippet::new(without, &Reading::of(InputMode::Tokens)).unwrap_err();
    assert_eq!(refused, Refusal::NoTokens);
}

/// What a model does not reach is no row; it stays on the paths unless it is dropped.
#[test]
fn a_cut_tail_loses_its_rows_and_keeps_its_edges() {
    let code = "f(a, b, a)\n";
    let found = read("python", code, &Reading::default()).unwrap();
    assert_eq!(found.model_text(), "f ( a , b , a )");
    // `b` is the last leaf that begins before byte 9.
    assert_eq!(found.visible(8), [0, 1, 2, 3]);
    assert_eq!(found.visible(9), [0, 1, 2, 3, 4]);
    let seen = found.visible(9);
    let keep = found.graph(GraphKind::ChainFlow, Tail::Keep, &seen);
    let drop = found.graph(GraphKind::ChainFlow, Tail::Drop, &seen);
    assert_eq!((keep.num_leaves(), drop.num_leaves()), (8, 5));
    assert_eq!((keep.flow().len(), drop.flow().len()), (1, 0));
    let (keep, drop) = (
        keep.distances(&seen).unwrap(),
        drop.distances(&seen).unwrap(),
    );
    assert_eq!(keep.size(), 5);
    assert!(keep.values().iter().zip(drop.values()).all(|(a, b)| a <= b));
}
