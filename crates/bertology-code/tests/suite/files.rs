//! Files and folders of functions.

use std::fs;
use std::path::{Path, PathBuf};

use bertology_code::{
    Code, CodeError, FunctionInfo, Functions, InputMode, LineFault, Passed, Reading, Refusal,
    Snippet, sample,
};
use bertology_data::DataError;
use tempfile::TempDir;

use crate::language;

struct Folder(TempDir);

impl Folder {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = TempDir::new().unwrap();
        for (name, bytes) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

fn lines(text: &str) -> (Folder, PathBuf) {
    let folder = Folder::new(&[("f.jsonl", text.as_bytes())]);
    let path = folder.path("f.jsonl");
    (folder, path)
}

fn all(functions: &Functions) -> Result<(Vec<Code>, FunctionInfo), CodeError> {
    let mut reader = functions.open()?;
    let found = reader.by_ref().collect::<Result<Vec<_>, _>>()?;
    Ok((found, reader.finish()?))
}

fn texts(found: &[Code]) -> Vec<&str> {
    found.iter().map(|code| code.text.as_str()).collect()
}

#[test]
fn lines_are_read_under_all_their_names() {
    let text = concat!(
        r#"{"repo": "r", "func_name": "A.f", "language": "python", "code": "a\n", "code_tokens": ["a"], "sha": "0"}"#,
        "\r\n\n",
        r#"{"language": "JavaScript", "original_string": "b", "idx": 1}"#,
        "\n",
        r#"{"language": "go", "code": null, "function": "c", "function_tokens": ["c", "d"], "x": NaN}"#,
        "\n",
    );
    let (_folder, path) = lines(text);
    let (found, info) = all(&Functions::new(&path, None).unwrap()).unwrap();
    assert_eq!(texts(&found), ["a\n", "b", "c"]);
    let of = |code: &Code| (code.index, code.line, code.language.name);
    assert_eq!(
        found.iter().map(of).collect::<Vec<_>>(),
        [(0, 1, "python"), (1, 3, "javascript"), (2, 4, "go")]
    );
    assert_eq!(found[0].name.as_deref(), Some("A.f"));
    assert_eq!(
        found[2].tokens.as_deref(),
        Some(&["c".to_owned(), "d".to_owned()][..])
    );
    assert_eq!(
        (info.counts.functions, info.files, info.bytes),
        (3, 1, text.len() as u64)
    );
    // `sha256sum` of the text.
    assert_eq!(info.sha256.len(), 64);
}

#[test]
fn other_languages_are_counted_if_one_is_asked_for() {
    let text = concat!(
        r#"{"language": "go", "code": "a"}"#,
        "\n",
        r#"{"language": "python", "code": "b"}"#,
        "\n",
        r#"{"language": "cobol", "code": "c"}"#,
        "\n",
        r#"{"code": "d"}"#,
        "\n",
    );
    let (_folder, path) = lines(text);
    let python = Functions::new(&path, Some(language("python"))).unwrap();
    let (found, info) = all(&python).unwrap();
    assert_eq!(texts(&found), ["b", "d"]);
    let [passed] = &info.counts.passed_over[..] else {
        panic!("{info:?}")
    };
    assert_eq!(
        (passed.reason, passed.count, passed.line),
        (Passed::OtherLanguage, 2, 1)
    );

    // Without one every line has to say its own.
    let fault = |functions: &Functions| match all(functions).unwrap_err() {
        CodeError::Line { line, fault, .. } => (line, fault),
        other => panic!("{other}"),
    };
    let any = Functions::new(&path, None).unwrap();
    let (line, unknown) = fault(&any);
    assert!(
        line == 3 && matches!(unknown, LineFault::UnknownLanguage { .. }),
        "{unknown}"
    );
    assert_eq!(
        fault(&any.clone().with_selected(vec![3])),
        (4, LineFault::NoLanguage)
    );
    let rust = Functions::new(&path, Some(language("rust"))).unwrap();
    let error = all(&rust.with_selected(vec![0])).unwrap_err().to_string();
    assert!(
        error.contains("no functions") && error.contains("of another language"),
        "{error}"
    );
}

#[test]
fn lines_that_are_no_functions_are_refused_by_their_number() {
    let cases: [(&[u8], &str); 9] = [
        (b"{\"code\": ", "line 2: it is not JSON: EOF"),
        (b"[\"code\"]", "line 2: it is a list and not an object"),
        (b"{}", "line 2: it has no `code`"),
        (b"{\"code\": 1}", "line 2: its `code` is a number"),
        (
            b"{\"code\": \"a\", \"code_tokens\": \"a\"}",
            "its `code_tokens` is a text and not a list of texts",
        ),
        (
            b"{\"code\": \"a\", \"code_tokens\": [1]}",
            "a list with a number in it",
        ),
        (
            b"{\"code\": \"a\", \"language\": 1}",
            "its `language` is a number",
        ),
        (b"{\"code\": \"a\xff\"}", "line 2"),
        (b"{\"code\": \"a\x00\"}", "line 2"),
    ];
    for (line, expected) in cases {
        let bytes = [b"{\"code\": \"a\"}\n", line, b"\n"].concat();
        let folder = Folder::new(&[("f.jsonl", &bytes)]);
        let functions = Functions::new(&folder.path("f.jsonl"), Some(language("python"))).unwrap();
        let error = all(&functions).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.kind(), bertology_error::Kind::Input);
    }
}

const PYTHON: &str = "import os\n\ndef f(x):\n    def inner(): pass\n    return x\n\n\nclass C:\n    @property\n    def g(self):\n        return 1\n";

#[test]
fn functions_of_source_files_are_found_and_keep_their_lines() {
    let bytes = [b"\xef\xbb\xbf", PYTHON.replace('\n', "\r\n").as_bytes()].concat();
    let folder = Folder::new(&[
        ("a/b.py", PYTHON.as_bytes()),
        ("a/a.go", b"package p\n\nfunc F() {}\n"),
        ("z.py", &bytes),
        ("empty.py", b""),
        ("latin.py", b"x = 1\ny = '\xe9'\n"),
        ("large.py", &b"x = 1\n".repeat(2000)),
        ("notes.txt", b"def f(): pass"),
        (".git/c.py", b"def f(): pass"),
        (
            "f.jsonl",
            b"{\"code\": \"h()\", \"language\": \"python\"}\n",
        ),
    ]);
    let functions = Functions::new(folder.0.path(), None)
        .unwrap()
        .with_max_bytes(10_000);
    let (found, info) = all(&functions).unwrap();
    let said: Vec<(String, u64, Option<&str>)> = found
        .iter()
        .map(|code| {
            let path = code.path.strip_prefix(folder.0.path()).unwrap();
            (path.display().to_string(), code.line, code.name.as_deref())
        })
        .collect();
    let row = |path: &str, line, name| (path.to_owned(), line, name);
    assert_eq!(
        said,
        [
            row("a/a.go", 3, Some("F")),
            row("a/b.py", 3, Some("f")),
            row("a/b.py", 10, Some("C.g")),
            row("f.jsonl", 1, None),
            row("z.py", 3, Some("f")),
            row("z.py", 10, Some("C.g")),
        ]
    );
    assert_eq!(
        found[1].text,
        "def f(x):\n    def inner(): pass\n    return x"
    );
    let passed: Vec<(Passed, u64, u64)> = info
        .counts
        .passed_over
        .iter()
        .map(|row| (row.reason, row.count, row.line))
        .collect();
    assert_eq!(
        passed,
        [
            (Passed::NoGrammar, 1, 1),
            (Passed::NoFunctions, 1, 1),
            (Passed::TooLarge, 1, 1),
            (Passed::NotUtf8, 1, 2),
        ]
    );
    // A method is what it is in its class, and its leaves those of its text alone.
    let method = Snippet::new(found[2].clone(), &Reading::default()).unwrap();
    let alone = Code::new(language("python"), found[2].text.clone());
    let alone = Snippet::new(alone, &Reading::default()).unwrap();
    assert_eq!(method.model_text(), "def g ( self ) : return 1");
    assert_eq!(method.model_text(), alone.model_text());
    let python = Functions::new(folder.0.path(), Some(language("python"))).unwrap();
    assert_eq!(all(&python).unwrap().0.len(), 5);
}

#[test]
fn a_file_that_was_named_is_refused_where_one_of_many_is_counted() {
    let folder = Folder::new(&[
        ("latin.py", b"x = 1\ny = '\xe9'\n"),
        ("large.py", &b"x = 1\n".repeat(200_000)),
        ("empty.py", b""),
        ("notes.txt", b"def f(): pass\n"),
        ("none/notes.txt", b""),
        (
            "lfs.py",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        ),
    ]);
    let error = |name: &str| {
        let found = Functions::new(&folder.path(name), None).and_then(|of| all(&of).map(drop));
        found.unwrap_err()
    };
    let latin = error("latin.py");
    assert!(
        matches!(
            latin,
            CodeError::NotUtf8 {
                line: 2,
                byte: 6,
                ..
            }
        ),
        "{latin}"
    );
    let large = error("large.py");
    let too_large = matches!(
        &large,
        CodeError::Refused {
            refusal: Refusal::TooLarge {
                bytes: 1_200_000,
                ..
            },
            ..
        }
    );
    assert!(too_large, "{large}");
    assert!(
        error("empty.py")
            .to_string()
            .contains("no functions were found in it: 1 without functions")
    );
    assert!(matches!(
        error("notes.txt"),
        CodeError::UnknownExtension { .. }
    ));
    assert!(
        error("none")
            .to_string()
            .contains("no functions were found in 0 files: 1 of no language known here")
    );
    assert!(error("lfs.py").to_string().contains("git-lfs"));
    assert!(matches!(
        error("missing.py"),
        CodeError::Data(DataError::Io { .. })
    ));
    let asked = Functions::new(&folder.path("notes.txt"), Some(language("python"))).unwrap();
    assert_eq!(all(&asked).unwrap().0.len(), 1);
}

fn many() -> (Folder, [PathBuf; 2]) {
    let line = |at| format!("{{\"language\": \"python\", \"code\": \"f({at})\"}}\n");
    let jsonl: String = (0..30).map(line).collect();
    let function = |at| format!("def f{at}(): return {at}\n");
    let source: String = (0..7).map(function).collect();
    let folder = Folder::new(&[
        ("f.jsonl", jsonl.as_bytes()),
        ("src/a.py", source.as_bytes()),
        ("src/b.txt", b""),
        ("src/c.py", source.as_bytes()),
        ("src/d.jsonl", jsonl.as_bytes()),
        ("src/e.py", source.as_bytes()),
    ]);
    let paths = [folder.path("f.jsonl"), folder.path("src")];
    (folder, paths)
}

#[test]
fn reading_goes_on_from_every_place_as_if_it_had_never_stopped() {
    let (_folder, paths) = many();
    for path in &paths {
        let functions = Functions::new(path, None).unwrap();
        let (whole, info) = all(&functions).unwrap();
        for stop in 0..=whole.len() {
            let mut first = functions.open().unwrap();
            for _ in 0..stop {
                first.next().unwrap().unwrap();
            }
            let mut second = functions.open_at(&first.mark()).unwrap();
            let rest: Vec<Code> = second.by_ref().map(Result::unwrap).collect();
            assert_eq!(texts(&rest), texts(&whole[stop..]));
            let numbers = |of: &[Code]| {
                of.iter()
                    .map(|code| (code.index, code.line))
                    .collect::<Vec<_>>()
            };
            assert_eq!(numbers(&rest), numbers(&whole[stop..]));
            assert_eq!(second.finish().unwrap(), info);
        }
    }
}

#[test]
fn what_is_selected_is_read_and_what_is_not_there_is_missed() {
    let (_folder, paths) = many();
    for path in &paths {
        let functions = Functions::new(path, None).unwrap();
        let count = functions.count().unwrap();
        let whole = all(&functions).unwrap();
        assert_eq!(whole.0.len() as u64, count);
        let some = sample(count, 5, 3);
        let (found, info) = all(&functions.clone().with_selected(some.clone())).unwrap();
        assert_eq!(
            found.iter().map(|code| code.index).collect::<Vec<_>>(),
            some
        );
        assert_eq!((info.sha256, info.counts.functions), (whole.1.sha256, 5));
        let error = all(&functions.clone().with_selected(vec![0, count])).unwrap_err();
        let said = matches!(error, CodeError::NoSuchUnit { index, units, .. } if index == count && units == count);
        assert!(said, "{error}");
        let (few, _) = all(&functions.clone().with_limit(Some(2))).unwrap();
        assert_eq!(texts(&few), texts(&whole.0[..2]));
        assert!(functions.with_limit(Some(0)).open().is_err());
    }
}

#[test]
fn a_file_that_changes_is_refused() {
    for (name, other) in [
        ("f.jsonl", "{\"code\": \"b\", \"language\": \"go\"}\n"),
        ("f.py", "def g(): pass\n"),
    ] {
        let folder = Folder::new(&[
            ("f.jsonl", b"{\"code\": \"a\", \"language\": \"go\"}\n"),
            ("f.py", b"def f(): pass\n"),
        ]);
        let path = folder.path(name);
        let functions = Functions::new(&path, None).unwrap();
        all(&functions).unwrap();
        fs::write(&path, other).unwrap();
        let error = all(&functions).unwrap_err();
        assert!(
            matches!(error, CodeError::Data(DataError::Changed { .. })),
            "{error}"
        );
    }
}

#[test]
fn lists_of_tokens_come_with_their_lines() {
    let text = r#"{"language": "java", "code": "int  a ;", "code_tokens": ["int", "a", ";"]}"#;
    let (_folder, path) = lines(text);
    let (mut found, _) = all(&Functions::new(Path::new(&path), None).unwrap()).unwrap();
    let snippet = Snippet::new(found.remove(0), &Reading::of(InputMode::Tokens)).unwrap();
    assert_eq!(snippet.model_text(), "int a ;");
}
