//! Ctrl-C, and going on afterwards.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use crate::harness::{Ran, Toy, command};
use crate::parts::same;

/// Examples that keep a run busy for longer than it takes to press a key on a loaded machine.
pub(crate) const LONG: usize = if cfg!(debug_assertions) {
    2_000
} else {
    20_000
};

/// What asks a run to stop.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// What schedulers of clusters send.
    Terminate,
    /// What nobody is asked about.
    Kill,
    /// What a look at the missing part of a mapped file brings.
    Bus,
}

/// Starts a command, waits for a line that begins with `until`, and presses Ctrl-C.
pub(crate) fn interrupt(args: &[String], until: &str) -> Ran {
    stop(args, until, Signal::Interrupt)
}

/// Starts a command, waits for a line that begins with `until`, and asks it to stop.
pub(crate) fn stop(args: &[String], until: &str, signal: Signal) -> Ran {
    stop_when(args, until, signal, || true)
}

/// As [`stop`], and asks when `ready`, which is looked at as long as the run lasts.
fn stop_when(args: &[String], until: &str, signal: Signal, ready: impl Fn() -> bool) -> Ran {
    let mut child = command()
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut out = String::new();
    loop {
        let mut line = String::new();
        assert!(
            reader.read_line(&mut line).unwrap() > 0,
            "no `{until}`: {out}"
        );
        out.push_str(&line);
        if line.starts_with(until) {
            break;
        }
    }
    while !ready() {
        assert!(child.try_wait().unwrap().is_none(), "it ended: {out}");
        std::thread::yield_now();
    }
    send(&child, signal);
    reader.read_to_string(&mut out).unwrap();
    let mut ran = Ran::of(child.wait_with_output().unwrap());
    ran.out = out;
    ran
}

/// Presses Ctrl-C when some of the work is done.
fn interrupt_midway(args: impl Fn(&[&str]) -> Vec<String>, until: &str) -> Ran {
    stop_midway(args, until, Signal::Interrupt)
}

/// Stops a run when some of its work is done. Where the machine is so busy that the signal comes before the first
/// batch is through, the run goes on and is asked again.
pub(crate) fn stop_midway(
    args: impl Fn(&[&str]) -> Vec<String>,
    until: &str,
    signal: Signal,
) -> Ran {
    let mut ran = stop(&args(&[]), until, signal).failed(130, &["interrupted after", "--resume"]);
    for _ in 0..200 {
        if !ran.err.contains("interrupted after 0 ") {
            return ran;
        }
        ran = stop(&args(&["--resume"]), until, signal).failed(130, &["interrupted after"]);
    }
    panic!("nothing is ever done: {}", ran.err);
}

pub(crate) fn press(child: &Child) {
    send(child, Signal::Interrupt);
}

fn send(child: &Child, signal: Signal) {
    let pid = child.id().to_string();
    let name = match signal {
        Signal::Interrupt => "-INT",
        Signal::Terminate => "-TERM",
        Signal::Kill => "-KILL",
        Signal::Bus => "-BUS",
    };
    assert!(
        Command::new("kill")
            .args([name, &pid])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn a_file_that_was_shortened_while_mapped_is_told() {
    let toy = Toy::with_examples(LONG);
    stop(&toy.arguments("importance", &[]), "", Signal::Bus)
        .failed(1, &["was shortened meanwhile"]);
}

#[test]
fn importance_goes_on_to_the_same_bytes() {
    let toy = Toy::with_examples(LONG);
    let base = [
        "--granularity",
        "script",
        "--batch-size",
        "7",
        "--tokens-per-batch",
        "64",
    ];
    let args = |out: &str, more: &[&str]| {
        let out = toy.text(out);
        let mut all = base.to_vec();
        all.extend(["--output", &out]);
        all.extend(more);
        toy.arguments("importance", &all)
    };
    let model = toy.text("model");
    interrupt_midway(|more| args("run", more), &model);
    assert_eq!(toy.names("run"), ["state-predictions.csv", "state.json"]);

    // Without --resume the state is safe.
    crate::harness::run(&args("run", &[])).failed(2, &["interrupted run", "--resume"]);
    // Other options do not belong to it.
    crate::harness::run(&args("run", &["--resume", "--max-length", "12"]))
        .failed(2, &["cannot be resumed", "--max-length"]);
    // Lines written after the last saving of the state are not lines twice.
    let path = toy.path("run/state-predictions.csv");
    let mut predictions = std::fs::read(&path).unwrap();
    predictions.extend_from_slice(b"9999,1,LABEL_0,LABEL_0,0.5,3,0,0,0\n9999,2,LAB");
    std::fs::write(&path, predictions).unwrap();
    // Interrupted again, then finished; and once without interruption.
    interrupt(&args("run", &["--resume"]), &model).failed(130, &["interrupted after"]);
    let ran = crate::harness::run(&args("run", &["--resume", "--threads", "1"])).ok();
    assert!(ran.err.contains("resuming after"), "{}", ran.err);
    crate::harness::run(&args("whole", &[])).ok();
    assert_eq!(toy.names("run"), toy.names("whole"));
    for name in toy.names("whole") {
        let (found, expected) = (format!("run/{name}"), format!("whole/{name}"));
        if name == "run.json" || name == "report.html" {
            assert_eq!(toy.record("run")["results"], toy.record("whole")["results"]);
        } else {
            assert!(toy.bytes(&found) == toy.bytes(&expected), "{name}");
        }
    }
}

#[test]
fn ablation_goes_on_to_the_same_bytes() {
    let toy = Toy::with_examples(LONG / 4);
    let args = |out: &str, more: &[&str]| {
        let out = toy.text(out);
        let mut all = vec!["--tokens-per-batch", "64", "--output", &out];
        all.extend(more);
        toy.arguments("ablate", &all)
    };
    let model = toy.text("model");
    interrupt_midway(|more| args("run", more), &model);
    assert_eq!(toy.names("run"), ["state.json"]);
    crate::harness::run(&args("run", &["--resume", "--heads", "0.1"]))
        .failed(2, &["cannot be resumed", "--heads"]);
    interrupt(&args("run", &["--resume"]), &model).failed(130, &["interrupted after"]);
    let ran = crate::harness::run(&args("run", &["--resume", "--threads", "1"])).ok();
    assert!(ran.err.contains("resuming after"), "{}", ran.err);
    crate::harness::run(&args("whole", &[])).ok();
    assert_eq!(toy.names("run"), toy.names("whole"));
    assert_eq!(toy.record("run")["results"], toy.record("whole")["results"]);
    for name in [
        "ablation.csv",
        "head_ablation.npy",
        "head_ablation_loss.npy",
    ] {
        let (found, expected) = (format!("run/{name}"), format!("whole/{name}"));
        assert!(toy.bytes(&found) == toy.bytes(&expected), "{name}");
    }
}

#[test]
fn patterns_go_on_to_the_same_bytes() {
    let toy = Toy::with_examples(LONG);
    let args = |out: &str, more: &[&str]| {
        let out = toy.text(out);
        let mut all = vec!["--gradients", "--tokens-per-batch", "64", "--output", &out];
        all.extend(more);
        toy.arguments("patterns", &all)
    };
    let model = toy.text("model");
    let ran = interrupt_midway(|more| args("run", more), &model);
    assert!(ran.err.contains(" texts"), "{}", ran.err);
    assert_eq!(toy.names("run"), ["state.json"]);
    crate::harness::run(&args("run", &["--resume", "--denominators", "exact"]))
        .failed(2, &["cannot be resumed", "--denominators"]);
    interrupt(&args("run", &["--resume"]), &model).failed(130, &["interrupted after"]);
    let ran = crate::harness::run(&args("run", &["--resume", "--threads", "1"])).ok();
    assert!(ran.err.contains("resuming after"), "{}", ran.err);
    crate::harness::run(&args("whole", &[])).ok();
    assert_eq!(toy.names("run"), toy.names("whole"));
    assert_eq!(toy.record("run")["results"], toy.record("whole")["results"]);
    for name in toy.names("whole") {
        // They have times in them.
        if name == "run.json" || name == "report.html" {
            continue;
        }
        let (found, expected) = (format!("run/{name}"), format!("whole/{name}"));
        assert!(toy.bytes(&found) == toy.bytes(&expected), "{name}");
    }
}

#[test]
fn masking_goes_on_from_its_last_step() {
    let toy = Toy::with_examples(LONG / 6);
    let base = ["--threshold-mode", "absolute", "--threshold", "0.01"];
    let args = |out: &str, more: &[&str]| {
        let out = toy.text(out);
        let mut all = base.to_vec();
        all.extend(["--output", &out]);
        all.extend(more);
        toy.arguments("mask", &all)
    };
    interrupt(&args("run", &[]), "     1  ").failed(130, &["finished step", "--resume"]);
    assert_eq!(toy.names("run"), ["state.json"]);
    let ran = crate::harness::run(&args("run", &["--resume"])).ok();
    assert!(ran.err.contains("resuming after"), "{}", ran.err);
    crate::harness::run(&args("whole", &[])).ok();
    assert_eq!(toy.names("run"), toy.names("whole"));
    for name in ["curve.csv", "masks.npy", "head_mask.npy", "heads.csv"] {
        let (found, expected) = (format!("run/{name}"), format!("whole/{name}"));
        assert!(toy.bytes(&found) == toy.bytes(&expected), "{name}");
    }
}

#[test]
fn without_a_folder_nothing_is_promised() {
    let toy = Toy::with_examples(LONG);
    let args = toy.arguments("importance", &["--tokens-per-batch", "64"]);
    interrupt(&args, &toy.text("model")).failed(130, &["nothing was saved", "--output"]);
}

#[test]
fn leftovers_of_a_killed_process_do_not_disturb() {
    let toy = Toy::new();
    std::fs::create_dir(toy.path("run")).unwrap();
    toy.write("run/.bertology-x1y2", "half a fi");
    toy.run("importance", &["--output", "OUT/run"]).ok();
    assert!(toy.names("run").iter().all(|name| !name.starts_with('.')));
    toy.write("run/run.json", "{");
    toy.run("importance", &["--output", "OUT/run", "--resume"])
        .failed(2, &["run.json", "not valid JSON"]);
}

#[test]
fn distances_go_on_to_the_same_bytes() {
    let toy = Toy::new();
    let text = "the cat sees a small dog\nnever a horse\nthe old dog runs\n".repeat(LONG / 3);
    toy.write("texts.txt", &text);
    let (model, texts) = (toy.text("model"), toy.text("texts.txt"));
    let args = |out: &str, more: &[&str]| -> Vec<String> {
        let out = toy.text(out);
        let all = [
            "cluster",
            &model,
            "--text",
            &texts,
            "--tokens-per-batch",
            "64",
            "--output",
            &out,
        ];
        all.iter()
            .chain(more)
            .map(|&word| word.to_owned())
            .collect()
    };
    interrupt_midway(|more| args("run", more), &model);
    assert_eq!(toy.names("run"), ["state.json"]);
    crate::harness::run(&args("run", &["--resume", "--smoothing", "none"]))
        .failed(2, &["cannot be resumed", "--smoothing"]);
    interrupt(&args("run", &["--resume"]), &model).failed(130, &["interrupted after"]);
    let ran = crate::harness::run(&args("run", &["--resume", "--threads", "1"])).ok();
    assert!(ran.err.contains("resuming after"), "{}", ran.err);
    crate::harness::run(&args("whole", &[])).ok();
    assert_eq!(toy.names("run"), toy.names("whole"));
    assert_eq!(toy.record("run")["results"], toy.record("whole")["results"]);
    for name in ["clusters.csv", "head_distances.npy"] {
        let (found, expected) = (format!("run/{name}"), format!("whole/{name}"));
        assert!(toy.bytes(&found) == toy.bytes(&expected), "{name}");
    }
}

/// What a scheduler sends before it takes the machine away is as good as Ctrl-C.
#[test]
fn terminated_runs_go_on_to_the_same_bytes() {
    let toy = Toy::with_examples(3 * LONG);
    let text = "the cat sees a small dog\nnever a horse\nthe old dog runs\n";
    toy.write("texts.txt", &text.repeat(LONG / 2));
    let (model, texts) = (toy.text("model"), toy.text("texts.txt"));
    let extract = |format| {
        let words = ["extract", &model, "--text", &texts, "--shard-size", "200"];
        let values = ["--hidden-states", "--attentions", "1", "--format", format];
        let all = words.iter().chain(&values);
        all.map(|&word| word.to_owned()).collect::<Vec<_>>()
    };
    for (name, base, differs) in [
        ("evaluate", toy.arguments("evaluate", &[]), "--heads=0.1"),
        ("safetensors", extract("safetensors"), "--dtype=f16"),
        ("parquet", extract("parquet"), "--dtype=f16"),
    ] {
        let (run, whole) = (format!("{name}-run"), format!("{name}-whole"));
        let args = |out: &str, more: &[&str]| {
            let mut all = base.clone();
            let out = toy.text(out);
            all.extend(["--tokens-per-batch", "64", "--output", &out].map(str::to_owned));
            all.extend(more.iter().map(|&word| word.to_owned()));
            all
        };
        let slowly = |more: &[&str]| args(&run, &[&["--threads", "1"], more].concat());
        if base[0] == "extract" {
            // Texts are finished by shards, which take longer than a signal does.
            let first = match name {
                "parquet" => "examples/shard-00000.parquet",
                _ => "shard-00000.safetensors",
            };
            let first = toy.path(&run).join(first);
            stop_when(&slowly(&[]), &model, Signal::Terminate, || first.exists())
                .failed(130, &["interrupted after", "--resume"]);
        } else {
            stop_midway(slowly, &model, Signal::Terminate);
        }
        assert!(toy.path(&run).join("state.json").exists());
        crate::harness::run(&args(&run, &[])).failed(2, &["interrupted run", "--resume"]);
        let (option, _) = differs.split_once('=').unwrap();
        crate::harness::run(&args(&run, &["--resume", differs]))
            .failed(2, &["cannot be resumed", option]);
        let ran = crate::harness::run(&args(&run, &["--resume"])).ok();
        assert!(ran.err.contains("resuming after"), "{}", ran.err);
        crate::harness::run(&args(&whole, &[])).ok();
        same(&toy, &run, &whole);
    }
}
