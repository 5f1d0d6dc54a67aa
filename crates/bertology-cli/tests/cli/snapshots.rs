//! What users read, word by word: the help, what is said of mistakes, the text of a report page.
//!
//! CONTRIBUTING.md names the command that takes over a wanted change.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Ran, command};

const MODEL: &str = "assets/tiny-bert";
const TASK: [&str; 4] = ["--task", "cola", "--data", "assets/grammar"];

#[track_caller]
fn assert_snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// In the folder of the workspace, so that the paths of the models are the same everywhere.
fn run<S: AsRef<str>>(args: &[S]) -> Ran {
    let mut command = command();
    command
        .args(args.iter().map(AsRef::as_ref))
        .current_dir(bertology_testkit::workspace())
        .env_remove("COLUMNS")
        .env_remove("TRANSFORMERS_OFFLINE");
    Ran::of(command.output().unwrap())
}

/// The commands that a help names.
fn commands_of(help: &str) -> Vec<&str> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        // Deeper lines go on with what was said of a command.
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .map(|line| line.split_whitespace().next().unwrap())
        .filter(|name| *name != "help")
        .collect()
}

/// Adds the help of the commands that `help` names, and of theirs; gives how many there are.
fn add_help(before: &[&str], help: &str, text: &mut String) -> usize {
    let mut count = 0;
    for name in commands_of(help) {
        let path = [before, &[name]].concat();
        let help = run(&[&path[..], &["--help"]].concat()).ok().out;
        write!(text, "\n$ bertology {} --help\n{help}", path.join(" ")).unwrap();
        count += 1 + add_help(&path, &help, text);
    }
    count
}

#[test]
fn help_of_every_command() {
    let whole = run(&["--help"]).ok().out;
    let mut text = format!("$ bertology --help\n{whole}");
    let count = add_help(&[], &whole, &mut text);
    assert!(count > 25, "{count} commands in\n{whole}");
    // Lines of blanks, as in front of a default, do not survive every editor.
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    assert_snapshot("help", &lines.join("\n"));
}

/// A folder in which things are wrong.
fn mistakes() -> TempDir {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("data.tsv"), "text\tlabel\nthe cat sleeps\t1\n").unwrap();
    fs::write(at("mask.json"), "[[1, 1], [0, 1]]").unwrap();
    let out = |name: &str| at(name).to_str().unwrap().to_owned();
    let importance = |name: &str, more: &[&str]| {
        let folder = out(name);
        let mut args = vec!["importance", MODEL, "--limit", "24", "--output", &folder];
        args.extend(TASK);
        args.extend(more);
        run(&args).ok();
    };
    importance("run", &[]);
    for part in ["1/3", "3/3"] {
        let name = format!("part-{}", &part[..1]);
        importance(&name, &["--chunk", "8", "--part", part]);
    }
    importance("future", &[]);
    let record = at("future/run.json");
    let mut value: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    value["format"] = json!(99);
    fs::write(&record, value.to_string()).unwrap();
    folder
}

#[test]
fn what_is_said_of_mistakes() {
    let folder = mistakes();
    let base = folder.path().to_str().unwrap();
    let task = TASK.join(" ");
    let mut text = String::new();
    for line in [
        "",
        "importance",
        "importance MODEL",
        "importance MODEL --task unheard --data assets/grammar",
        "importance MODEL TASK --limt 3",
        "importance nobody/model TASK",
        "importance assets/grammar TASK",
        "importance MODEL --data OUT/data.tsv --text-column sentence --label-column label",
        "importance MODEL --data OUT/data.tsv --text-column text",
        "importance MODEL TASK --limit 3 --output OUT/run",
        "importance MODEL TASK --part 4/3",
        "importance MODEL --text assets/grammar/dev.txt --objective lm",
        "evaluate MODEL TASK --mask OUT/mask.json",
        "evaluate MODEL TASK --heads 9:0",
        "evaluate MODEL TASK --heads nine",
        "extract MODEL --text assets/grammar/dev.txt --output OUT/x",
        "extract MODEL --text assets/grammar/dev.txt --output OUT/x --tokens --too-long window --stride 999",
        "merge OUT/part-1 OUT/part-3 --output OUT/merged",
        "merge OUT/part-1 OUT/run --output OUT/merged",
        "report OUT/future",
        "report OUT",
        "coref MODEL",
        "view MODEL text --output OUT/nowhere/page.html",
    ] {
        let args: Vec<String> = line
            .replace("TASK", &task)
            .split_whitespace()
            .map(|word| word.replace("MODEL", MODEL).replace("OUT", base))
            .collect();
        let ran = run(&args);
        assert!(matches!(ran.code, Some(1 | 2)), "{line}: {ran:?}");
        let said = ran.err.replace(base, "OUT");
        // Without a command the help is shown, which has a snapshot of its own.
        let said = said
            .lines()
            .take(if line.is_empty() { 1 } else { usize::MAX });
        let said: Vec<&str> = said.map(str::trim_end).collect();
        let code = ran.code.unwrap();
        writeln!(text, "$ bertology {line}\n{}\n[{code}]\n", said.join("\n")).unwrap();
    }
    assert!(!Path::new(base).join("x").exists());
    assert_snapshot("mistakes", &text);
}

/// The text of a page: a line an element, a table's cells side by side; no scripts, styles and drawings.
fn text_of(page: &str) -> String {
    let mut text = String::new();
    let mut rest = page;
    while let Some((before, behind)) = rest.split_once('<') {
        text.push_str(before);
        let (tag, mut after) = behind.split_once('>').unwrap();
        let name: String = tag
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '/')
            .collect();
        if let "script" | "style" | "svg" = name.as_str() {
            (_, after) = after.split_once(&format!("</{name}>")).unwrap();
        }
        match name.as_str() {
            "td" | "th" | "/td" | "/th" | "dd" => text.push(' '),
            "/dt" => text.push(':'),
            "span" | "/span" | "/dd" => text.push(' '),
            _ => text.push('\n'),
        }
        rest = after;
    }
    text.push_str(rest);
    let lines = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Without what another processor, day or version changes: fractions, times, versions, digests.
fn lasting(text: &str) -> String {
    let changes = |word: &str| {
        let number = word
            .chars()
            .all(|c| c.is_ascii_digit() || ".e-".contains(c));
        let fraction = number && word.trim_end_matches('.').contains('.');
        let digest = word.len() == 64 && word.chars().all(|c| c.is_ascii_hexdigit());
        let time = word.ends_with('Z') && word.starts_with(|c: char| c.is_ascii_digit());
        fraction || digest || time
    };
    let line = |line: &str| {
        let words: Vec<&str> = line
            .split(' ')
            .map(|word| if changes(word) { "#" } else { word })
            .collect();
        words.join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn text_of_a_report() {
    let folder = TempDir::new().unwrap();
    let base = folder.path().to_str().unwrap();
    let mut args = vec![
        "importance",
        MODEL,
        "--limit",
        "24",
        "--threads",
        "2",
        "--output",
        base,
    ];
    args.extend(TASK);
    run(&args).ok();
    let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(!page.contains(base), "the page says where the folder is");
    let name = folder.path().file_name().unwrap().to_str().unwrap();
    assert_snapshot("report", &lasting(&text_of(&page).replace(name, "OUT")));
}
