//! Programs that nobody would write.

use bertology_code::{
    Code, CodeError, Faulty, GraphKind, InputMode, LANGUAGES, Reading, Refusal, Snippet, Strings,
    Syntax, Tail, Wrapping,
};

use crate::{language, read};

/// Nothing walks a tree by calling itself: a thread with little room would not survive it.
fn in_little_room(work: impl FnOnce() + Send + 'static) {
    let small = std::thread::Builder::new().stack_size(128 << 10);
    small.spawn(work).unwrap().join().unwrap();
}

#[test]
fn ten_thousand_levels_are_read_without_recursion() {
    in_little_room(|| {
        const LEVELS: usize = 10_000;
        for (name, open, middle, close) in [
            ("python", "(", "x", ")"),
            ("javascript", "[", "x", "]"),
            ("java", "{", ";", "}"),
            ("rust", "fn f(){", "", "}"),
            ("go", "func f() {}", "", ""),
            ("typescript", "f(", "x", ")"),
        ] {
            let code = [open.repeat(LEVELS), middle.to_owned(), close.repeat(LEVELS)].concat();
            let reading = Reading::default().with_faulty(Faulty::Keep);
            let found = read(name, &code, &reading).unwrap();
            assert!(found.leaves().len() >= LEVELS, "{name}");
            let some: Vec<usize> = (0..found.leaves().len()).step_by(500).collect();
            for kind in GraphKind::ALL {
                let graph = found.graph(kind, Tail::Keep, &some);
                let distances = graph.distances(&some).unwrap();
                assert_eq!(distances.get(0, 0), 0);
            }
            assert!(found.syntax().functions(&code).len() <= LEVELS);
        }
    });
}

#[test]
fn a_megabyte_is_read_and_more_is_refused_by_its_size() {
    let line = "    x = f(x, 'a', [1, 2, 3])\n";
    let code = format!("def f(x):\n{}", line.repeat((1 << 20) / line.len() - 1));
    assert!(code.len() <= 1 << 20);
    let found = read("python", &code, &Reading::default()).unwrap();
    // Of a model that reads 512 pieces, with all that it does not read on the paths.
    let seen = found.visible(1000);
    let graph = found.graph(GraphKind::ChainFlow, Tail::Keep, &seen);
    let distances = graph.distances(&seen).unwrap();
    assert_eq!(distances.size(), seen.len());
    let all: Vec<usize> = (0..found.leaves().len()).collect();
    assert!(matches!(
        graph.distances(&all),
        Err(CodeError::TooManyRows { limit: 4096, .. })
    ));
    let many: Vec<usize> = (0..4096).collect();
    assert!(matches!(
        graph.distances(&many),
        Err(CodeError::TooMuchWork { .. })
    ));

    let refused = read("python", &code.repeat(2), &Reading::default()).unwrap_err();
    let Refusal::TooLarge { bytes, limit } = refused else {
        panic!("{refused}")
    };
    assert_eq!((bytes, limit), (2 * code.len(), 1 << 20));
}

/// A text that is no program at all: it is read or refused, in a time that grows with its length.
#[test]
fn texts_without_an_end_are_bounded() {
    const LENGTH: usize = 10_000;
    for language in LANGUAGES {
        for piece in [
            "/* ",
            "\"",
            "'",
            "`${",
            "f\"{",
            "(",
            "{[(",
            "<",
            "if x then ",
            "a ? ",
            "\\\n",
            "r#\"",
            "<<~A\n",
            "é",
            "\u{0}",
            "/a",
            "x<y<",
            "def ",
            "\n\n  ",
            "#if a\n",
        ] {
            let code = piece.repeat(LENGTH / piece.len());
            let reading = Reading::of(InputMode::Normalised).with_faulty(Faulty::Keep);
            let found = Snippet::new(Code::new(language, code), &reading);
            if let Ok(found) = found {
                let seen: Vec<usize> = (0..found.leaves().len().min(50)).collect();
                let graph = found.graph(GraphKind::ChainFlow, Tail::Keep, &seen);
                graph.distances(&seen).unwrap();
            }
        }
    }
}

/// The parser calls itself once for each bracket of this text that it gave up.
#[test]
fn what_the_parser_lets_go_does_not_end_the_process() {
    in_little_room(|| {
        let code = "{[(".repeat(20_000);
        let reading = Reading::default().with_faulty(Faulty::Keep);
        let found = read("java", &code, &reading).unwrap();
        assert!(found.leaves().len() > 50_000);
    });
}

/// A distance that does not fit is said to be one.
#[test]
fn what_is_too_far_apart_is_refused() {
    let levels = 40_000;
    let code = format!(
        "[{}x{}, {}y{}]",
        "[".repeat(levels),
        "]".repeat(levels),
        "[".repeat(levels),
        "]".repeat(levels)
    );
    let syntax = Syntax::parse(language("javascript"), &code, Wrapping::Never, 1 << 20).unwrap();
    assert!(!syntax.has_errors());
    let found = read("javascript", &code, &Reading::default()).unwrap();
    let names = found.leaves().iter().enumerate();
    let names: Vec<usize> = names
        .filter(|(_, leaf)| leaf.kind == "identifier")
        .map(|(number, _)| number)
        .collect();
    let graph = found.graph(GraphKind::Ast, Tail::Keep, &names);
    let Err(CodeError::TooFar { distance, .. }) = graph.distances(&names) else {
        panic!("it fits")
    };
    assert!(distance > 80_000);
}

#[test]
fn every_reading_survives_text_of_another_language() {
    for language in LANGUAGES {
        for other in LANGUAGES {
            let text = std::fs::read_to_string(crate::languages::fixture(other)).unwrap();
            for input in [
                InputMode::Joined,
                InputMode::Normalised,
                InputMode::Raw,
                InputMode::Tokens,
            ] {
                for strings in [Strings::Collapse, Strings::Expand, Strings::Legacy] {
                    let tokens = text.split(' ').map(str::to_owned).collect();
                    let code = Code::new(language, text.clone()).with_tokens(tokens);
                    let reading = Reading::of(input)
                        .with_strings(strings)
                        .with_faulty(Faulty::Keep);
                    let found = Snippet::new(code, &reading).unwrap();
                    assert!(
                        found
                            .spans()
                            .iter()
                            .flatten()
                            .all(|span| found.model_text().is_char_boundary(span.end))
                    );
                }
            }
        }
    }
}
