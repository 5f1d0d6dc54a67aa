//! Programs, and files of them.

use std::hint::black_box;
use std::sync::LazyLock;

use bertology_code::{
    Code, Docstrings, Faulty, Functions, Graph, GraphKind, InputMode, LANGUAGES, LegacyLeaves,
    Reading, Shape, Snippet, Strings, Syntax, Tail, Wrapping,
};

use crate::memory::bounded;
use crate::scratch::{Scratch, choose};

/// A program: the first three bytes say in which language, and how it is read.
pub fn code(data: &[u8]) {
    bounded(data.len(), || read(data));
}

fn read(bytes: &[u8]) {
    let [language, input, strings, rest @ ..] = bytes else {
        return;
    };
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    let language = LANGUAGES[usize::from(*language) % LANGUAGES.len()];
    let inputs = [
        InputMode::Joined,
        InputMode::Normalised,
        InputMode::Raw,
        InputMode::Tokens,
    ];
    let all_strings = [Strings::Collapse, Strings::Expand, Strings::Legacy];
    let docstrings = match input & 4 {
        0 => Docstrings::Drop,
        _ => Docstrings::Keep,
    };
    let reading = Reading::of(inputs[usize::from(*input) % 4])
        .with_strings(all_strings[usize::from(*strings) % 3])
        .with_docstrings(docstrings)
        .with_faulty(Faulty::Keep);
    if let Ok(syntax) = Syntax::parse(language, text, Wrapping::Never, 1 << 20) {
        for function in syntax.functions(text) {
            let part = syntax.below(function.node);
            assert_eq!(part.nodes()[0].range(), 0..function.range.len());
        }
    }
    let tokens = text.split('\n').map(str::to_owned).collect();
    let code = Code::new(language, text).with_tokens(tokens);
    if let Ok(legacy) = LegacyLeaves::new(code.clone(), 1 << 20) {
        let words: Vec<Option<&str>> = text.split_whitespace().take(64).map(Some).collect();
        let found = legacy.search(&words, None);
        assert_eq!(found.leaves.len(), words.len());
        let mut own: Vec<usize> = found.leaves.into_iter().flatten().collect();
        assert!(own.is_sorted());
        own.dedup();
        assert!(found.kinds.len() >= own.len());
        let _ = legacy.distances(&own);
    }
    let Ok(snippet) = Snippet::new(code, &reading) else {
        return;
    };
    let (mut end, mut placed) = (0, 0);
    for (number, leaf) in snippet.leaves().iter().enumerate() {
        assert!(leaf.start >= end && leaf.end > leaf.start);
        end = leaf.end;
        if let Some(span) = snippet.spans()[number].clone() {
            assert!(span.start >= placed && span.end > span.start);
            placed = span.end;
            let said = &snippet.model_text()[span];
            if !matches!(reading.input, InputMode::Tokens) {
                assert_eq!(said, snippet.leaf_text(number));
            }
        }
    }
    // A few dozen leaves, so that an input takes no longer than it should.
    let mut rows = snippet.visible(usize::MAX);
    rows.truncate(48);
    let graphs: [Graph; 3] = GraphKind::ALL.map(|kind| snippet.graph(kind, Tail::Keep, &rows));
    let Ok(found) = graphs
        .iter()
        .map(|graph| graph.distances(&rows))
        .collect::<Result<Vec<_>, _>>()
    else {
        return;
    };
    let searched = graphs[0].distances_by_search(&rows);
    assert_eq!(searched.ok().as_ref(), Some(&found[0]));
    for cell in 0..rows.len() * rows.len() {
        let [ast, chain, flow] = [0, 1, 2].map(|kind: usize| found[kind].values()[cell]);
        assert!(flow <= chain && chain <= ast);
    }
    let cut = snippet.graph(GraphKind::ChainFlow, Tail::Drop, &rows);
    let _ = cut.with_tree(Shape::Random { seed: 1 }).distances(&rows);
}

/// A file of functions, one a line, and a source file of the language that the first byte says.
pub fn functions(data: &[u8]) {
    static FOLDER: LazyLock<Scratch> = LazyLock::new(|| Scratch::with(&[]));
    let (kind, rest) = choose(data, LANGUAGES.len() + 1);
    let language = LANGUAGES.get(kind).copied();
    let name = match language {
        Some(language) => format!("f.{}", language.extensions[0]),
        None => "f.jsonl".to_owned(),
    };
    FOLDER.read(&name, rest, |path| {
        let Ok(functions) = Functions::new(path, language) else {
            return;
        };
        let _ = black_box(functions.count());
        let Ok(mut reader) = functions.open() else {
            return;
        };
        let mark = reader.mark();
        for code in reader.by_ref() {
            match code {
                Ok(code) => drop(black_box(Snippet::new(code, &Reading::default()))),
                Err(error) => return drop(black_box(error.to_string())),
            }
        }
        let whole = reader.finish().ok();
        let again = functions.open_at(&mark).map(|mut again| {
            let read = again.by_ref().filter(Result::is_ok).count() as u64;
            (read, again.finish().ok())
        });
        if let (Some(whole), Ok((read, Some(again)))) = (whole, again) {
            assert_eq!(
                (read, &again.sha256),
                (whole.counts.functions, &whole.sha256)
            );
        }
    });
}
