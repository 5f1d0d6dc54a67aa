//! The built binary, a model of two thousand parameters and data for it.

use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// Words that the toy tokenizer knows; the model has 60 rows.
const WORDS: [&str; 12] = [
    "the", "cat", "dog", "horse", "sees", "likes", "runs", "a", "small", "old", "not", "never",
];
pub(crate) const LAYERS: usize = 3;
pub(crate) const HEADS: usize = 4;

pub(crate) fn golden(name: &str) -> PathBuf {
    bertology_testkit::golden(&format!("engine/{name}"))
}

/// What a command gave.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}\n{}", self.out, self.err);
        self
    }

    /// Did its work, and the answer is "not yet".
    #[track_caller]
    pub(crate) fn not_yet(self) -> Self {
        assert_eq!(self.code, Some(3), "{}\n{}", self.out, self.err);
        assert!(self.err.is_empty(), "{}", self.err);
        self
    }

    /// Failed with this code and one sentence that says all of these.
    #[track_caller]
    pub(crate) fn failed(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        let message = self.err.lines().last().unwrap_or_default();
        assert!(message.starts_with("error: "), "{}", self.err);
        for part in parts {
            assert!(self.err.contains(part), "no `{part}` in: {}", self.err);
        }
        for word in ["panicked", "backtrace", "unwrap", "Err("] {
            assert!(!self.err.contains(word), "{}", self.err);
        }
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}", self.out))
    }
}

/// The first example of a command's page is what the command prints, but for the time in the last line.
#[track_caller]
pub(crate) fn example(name: &str) {
    let root = bertology_testkit::workspace();
    let page = root.join(format!("docs/commands/{name}.md"));
    let page = fs::read_to_string(page).unwrap();
    let (_, shown) = page.split_once("$ bertology ").unwrap();
    let (line, shown) = shown.split_once('\n').unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    let printed = command().args(words).current_dir(root).output().unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    let (printed, _) = printed.trim_end().rsplit_once('\n').unwrap();
    assert!(shown.starts_with(printed), "{printed}");
}

/// The binary without the surroundings of whoever runs the tests, and never on a network.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bertology"));
    for (name, _) in std::env::vars() {
        if name.starts_with("HF_") || name.starts_with("HUGGING") || name == "TRANSFORMERS_CACHE" {
            command.env_remove(name);
        }
    }
    command
        .env_remove("NO_COLOR")
        .env_remove("TERM")
        .env("HF_HUB_OFFLINE", "1")
        .env("HF_HOME", "/nonexistent");
    command
}

pub(crate) fn run<S: AsRef<OsStr>>(args: &[S]) -> Ran {
    Ran::of(command().args(args).output().unwrap())
}

/// A folder with a model of 3 layers and 4 heads, a tokenizer, and labelled sentences.
pub(crate) struct Toy {
    folder: TempDir,
}

impl Toy {
    pub(crate) fn new() -> Self {
        Self::with_examples(40)
    }

    pub(crate) fn with_examples(count: usize) -> Self {
        let folder = TempDir::new().unwrap();
        let toy = Self { folder };
        fs::create_dir(toy.path("model")).unwrap();
        for file in ["config.json", "model.safetensors"] {
            let source = golden("bert-absolute").join(file);
            fs::copy(source, toy.path("model").join(file)).unwrap();
        }
        let mut vocabulary = String::from("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n");
        for word in WORDS {
            let _ = writeln!(vocabulary, "{word}");
        }
        for at in WORDS.len() + 5..60 {
            let _ = writeln!(vocabulary, "w{at}");
        }
        toy.write("model/vocab.txt", &vocabulary);
        toy.write(
            "model/tokenizer_config.json",
            r#"{"tokenizer_class": "BertTokenizer", "do_lower_case": true}"#,
        );
        toy.write("data.tsv", &sentences(count));
        toy
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// `COMMAND model --data data.tsv …`.
    pub(crate) fn arguments(&self, command: &str, more: &[&str]) -> Vec<String> {
        let mut all = vec![
            command.to_owned(),
            self.text("model"),
            "--data".into(),
            self.text("data.tsv"),
            "--text-column".into(),
            "text".into(),
            "--label-column".into(),
            "label".into(),
        ];
        all.extend(more.iter().map(|&word| word.to_owned()));
        all
    }

    /// Runs a command on the model and the data; `OUT` in an argument is this folder.
    pub(crate) fn run(&self, command: &str, more: &[&str]) -> Ran {
        let base = self.folder.path().to_str().unwrap();
        let all: Vec<String> = self
            .arguments(command, more)
            .into_iter()
            .map(|word| word.replace("OUT", base))
            .collect();
        run(&all)
    }

    /// Names in a folder of this one, in order.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub(crate) fn record(&self, folder: &str) -> Value {
        serde_json::from_slice(&self.bytes(&format!("{folder}/run.json"))).unwrap()
    }

    /// NumPy's name of the element type, the shape and the values of an array.
    pub(crate) fn array(&self, name: &str) -> (String, Vec<u64>, Vec<f64>) {
        let bytes = self.bytes(name);
        let file = npyz::NpyFile::new(&bytes[..]).unwrap();
        let shape = file.shape().to_vec();
        let kind = file.dtype().descr().replace('\'', "");
        let values: Vec<f64> = match kind.as_str() {
            "<f4" => as_f64(file.into_vec::<f32>().unwrap()),
            "<f8" => file.into_vec().unwrap(),
            "<i8" => file
                .into_vec::<i64>()
                .unwrap()
                .iter()
                .map(|v| *v as f64)
                .collect(),
            other => panic!("{name}: {other}"),
        };
        (kind, shape, values)
    }

    /// The rows of a CSV file without quotes.
    pub(crate) fn table(&self, name: &str) -> Vec<Vec<String>> {
        let text = String::from_utf8(self.bytes(name)).unwrap();
        let rows = text
            .lines()
            .map(|line| line.split(',').map(str::to_owned).collect());
        rows.collect()
    }
}

fn as_f64(values: Vec<f32>) -> Vec<f64> {
    values.into_iter().map(f64::from).collect()
}

/// Sentences of two to nine words with one of the model's labels, always the same.
fn sentences(count: usize) -> String {
    let mut text = String::from("text\tlabel\n");
    for i in 0..count {
        let words: Vec<&str> = (0..2 + i * 5 % 8)
            .map(|j| WORDS[(i * 7 + j * j * 3 + i * j) % WORDS.len()])
            .collect();
        let _ = writeln!(text, "{}\tLABEL_{}", words.join(" "), (i * i + 1) % 3);
    }
    text
}
