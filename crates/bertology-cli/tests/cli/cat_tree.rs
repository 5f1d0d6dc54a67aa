//! `bertology cat-tree`

use std::fs;

use tempfile::TempDir;

use crate::harness::{Ran, run};

const TILL: &str = "def first(x):\n    return x\n\n\nclass Till:\n    def pay(self, prices):\n        \
    \"\"\"Adds.\"\"\"\n        return sum(prices)  # all\n\n\nclass Other:\n    def pay(self): ...\n";

struct Code(TempDir);

impl Code {
    fn new() -> Self {
        let code = Self(TempDir::new().unwrap());
        code.write("till.py", TILL.as_bytes());
        code
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.path().join(name), bytes).unwrap();
    }

    fn tree(&self, name: &str, more: &[&str]) -> Ran {
        let path = self.0.path().join(name);
        let before = ["cat-tree", path.to_str().unwrap()];
        run(&[&before[..], more].concat())
    }
}

/// The page shows what the command says.
#[test]
fn the_tree_looks_as_its_page_shows() {
    let page = fs::read_to_string(bertology_testkit::workspace().join("docs/commands/cat-tree.md"));
    let page = page.unwrap();
    let (_, shown) = page.split_once("--function first\n").unwrap();
    let (shown, _) = shown.split_once("\n```").unwrap();
    let code = Code::new();
    let said = code.tree("till.py", &["--function", "first"]).ok().out;
    let folder = format!("{}/", code.0.path().display());
    assert_eq!(said.replace(&folder, "").trim_end(), shown);
}

#[test]
fn every_number_is_in_the_document() {
    let code = Code::new();
    let ran = code.tree(
        "till.py",
        &["--function", "Till.pay", "--json", "--graph", "chain"],
    );
    let document = ran.ok().json();
    assert_eq!(document["language"], "python");
    assert_eq!(document["line"], 6);
    assert_eq!(document["function"], "Till.pay");
    assert_eq!(
        document["model_text"],
        "def pay ( self , prices ) : return sum ( prices )"
    );
    let leaves = document["leaves"].as_array().unwrap();
    let text = document["model_text"].as_str().unwrap();
    for leaf in leaves {
        let [from, to] = [0, 1].map(|at| leaf["span"][at].as_u64().unwrap() as usize);
        assert_eq!(leaf["text"], text[from..to]);
    }
    // Joined to the next, and by four edges of the tree to the last.
    assert_eq!(document["distances"][0][1], 1);
    assert_eq!(
        document["distances"].as_array().unwrap().len(),
        leaves.len()
    );
    assert_eq!(document["flow"], serde_json::json!([]));
    assert_eq!(document["nodes"][0]["kind"], "function_definition");
}

#[test]
fn a_drawing_has_a_cell_for_every_pair_of_leaves() {
    let code = Code::new();
    let svg = code.0.path().join("tree.svg");
    let arguments = ["--function", "first", "--svg", svg.to_str().unwrap()];
    code.tree("till.py", &arguments).ok();
    let drawn = fs::read_to_string(&svg).unwrap();
    assert_eq!(drawn.matches("data-row=").count(), 64);
    code.tree("till.py", &arguments)
        .failed(2, &["the file is there already", "--overwrite"]);
    code.tree("till.py", &[&arguments[..], &["--overwrite"]].concat())
        .ok();
    code.write("long.py", "f(a, b)\n".repeat(60).as_bytes());
    let long = code.tree("long.py", &["--svg", svg.to_str().unwrap(), "--overwrite"]);
    long.failed(2, &["up to 200 leaves, and there are 360", "--function"]);
}

#[test]
fn functions_are_found_in_lines_too() {
    let code = Code::new();
    let lines = concat!(
        r#"{"language": "java", "code": "int f() { return 1; }", "func_name": "A.f"}"#,
        "\n",
        r#"{"language": "python", "code": "g(x)", "func_name": "g", "code_tokens": ["g", "(", "x", ")"]}"#,
        "\n",
    );
    code.write("f.jsonl", lines.as_bytes());
    let first = code.tree("f.jsonl", &[]).ok().out;
    assert!(
        first.contains("line 1: A.f") && first.contains("int f ( ) { return 1 ; }"),
        "{first}"
    );
    let second = code
        .tree("f.jsonl", &["--line", "2", "--input", "tokens"])
        .ok()
        .out;
    assert!(second.contains("  g ( x )"), "{second}");
    code.tree("f.jsonl", &["--input", "tokens"])
        .failed(2, &["line 1: it has no `code_tokens`", "--input"]);
    code.tree("f.jsonl", &["--function", "h"])
        .failed(2, &["none of its 2 functions is called `h`"]);
}

#[test]
fn what_cannot_be_shown_is_refused_with_its_place() {
    let code = Code::new();
    code.tree("till.py", &["--function", "pay"]).failed(
        2,
        &[
            "2 functions are called so",
            "Till.pay (line 6)",
            "Other.pay (line 12)",
            "--line",
        ],
    );
    code.tree("till.py", &["--function", "pay", "--line", "12"])
        .ok();
    code.tree("till.py", &["--function", "none"])
        .failed(2, &["no function is called `none`", "first (line 1)"]);
    code.tree("till.py", &["--language", "cobol"])
        .failed(2, &["no grammar for `cobol`", "python"]);
    code.write("a.txt", b"def f(): pass\n");
    code.tree("a.txt", &[]).failed(2, &["a.txt", "--language"]);
    code.tree("a.txt", &["--language", "python"]).ok();
    code.write("fault.py", b"x = 1\ndef ? g\n");
    code.tree("fault.py", &[]).failed(
        2,
        &[
            "not valid python",
            "`def ? g` in line 2, column 1",
            "--keep-errors",
        ],
    );
    code.tree("fault.py", &["--keep-errors"]).ok();
    code.write("latin.py", b"x = 1\ny = '\xe9'\n");
    code.tree("latin.py", &[])
        .failed(2, &["latin.py, line 2: byte 6", "UTF-8"]);
    code.write("empty.py", b"# nothing\n");
    code.tree("empty.py", &[]).failed(2, &["no tokens"]);
    code.write("large.py", &b"x = 1\n".repeat(200_000));
    code.tree("large.py", &[])
        .failed(2, &["1200000 bytes; at most 1048576"]);
    code.tree("missing.py", &[]).failed(1, &["missing.py"]);
    code.tree(".", &[]).failed(2, &["this is a folder"]);
}

/// What is in a program is shown and not obeyed.
#[test]
fn a_terminal_obeys_no_program() {
    let code = Code::new();
    code.write(
        "evil.py",
        "x = '\u{1b}]0;owned\u{7}\u{9b}2J'  # \u{202e}\nf\u{1b}\n".as_bytes(),
    );
    let ran = code.tree("evil.py", &["--keep-errors"]).ok();
    assert!(ran.out.contains("\\u{1b}]0;owned\\u{7}"), "{}", ran.out);
    let obeyed = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
    assert!(!ran.out.contains(obeyed), "{:?}", ran.out);
}

#[test]
fn what_is_too_much_for_a_terminal_or_for_a_matrix_is_said() {
    let code = Code::new();
    code.write("long.py", "f(a, b)\n".repeat(1000).as_bytes());
    let long = code.tree("long.py", &[]).ok().out;
    assert!(
        long.contains("a matrix has at most 4096"),
        "{}",
        &long[long.len() - 200..]
    );
    code.write("wide.py", "f(a, b)\n".repeat(6).as_bytes());
    let wide = code.tree("wide.py", &[]).ok().out;
    assert!(
        wide.contains("The matrix of 36 leaves is too wide"),
        "{wide}"
    );
    let deep = [
        "(".repeat(10_000),
        "x".to_owned(),
        ")".repeat(10_000),
        "\n".to_owned(),
    ]
    .concat();
    code.write("deep.py", deep.as_bytes());
    let deep = code.tree("deep.py", &[]).ok().out;
    assert!(
        deep.contains("(10001)") && deep.len() < 10_000_000,
        "{}",
        deep.len()
    );
}
