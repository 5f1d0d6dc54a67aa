//! `examples/cluster`: what the documentation shows is what runs, and what a scheduler does to a part is survived.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::{Ran, Toy, command, run};
use crate::interrupted::interrupt;

fn recipe(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/cluster")
        .join(name)
}

/// Runs a shell with the built binary in front of the search path.
fn shell(toy: &Toy, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let binary = Path::new(env!("CARGO_BIN_EXE_bertology"));
    let search = std::env::join_paths(
        std::iter::once(binary.parent().unwrap().to_owned())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let mut bash = Command::new("bash");
    for (name, value) in command().get_envs() {
        match value {
            Some(value) => bash.env(name, value),
            None => bash.env_remove(name),
        };
    }
    bash.args(arguments)
        .current_dir(toy.path("."))
        .env("PATH", search.unwrap())
        .envs(variables.iter().copied());
    Ran::of(bash.output().unwrap())
}

/// Seventy examples in chunks of eight.
const STUDY: [&str; 10] = [
    "importance",
    "model",
    "--data",
    "data.tsv",
    "--text-column",
    "text",
    "--label-column",
    "label",
    "--chunk",
    "8",
];

/// The commands of a recipe, without the parameters and remarks above them.
fn what_runs(name: &str) -> String {
    let text = fs::read_to_string(recipe(name)).unwrap();
    if let Some((_, rest)) = text.split_once("            - |\n") {
        let indented = rest
            .lines()
            .map_while(|line| line.strip_prefix("              "));
        return indented.collect::<Vec<_>>().join("\n");
    }
    let first = ["\nexec bertology", "\nfor k", "\nseq "];
    let at = first.iter().find_map(|first| text.find(first));
    text[at.unwrap()..].trim().to_owned()
}

fn script(toy: &Toy, name: &str, variables: &[(&str, &str)], study: &[&str]) -> Ran {
    let path = recipe(name);
    let path = path.to_str().unwrap();
    shell(toy, &[&[path], study].concat(), variables)
}

/// Every file but those with times in them.
#[track_caller]
fn same_files(toy: &Toy, one: &str, other: &str) {
    assert_eq!(toy.names(one), toy.names(other));
    for name in toy.names(one) {
        if name == "run.json" || name == "report.html" {
            continue;
        }
        let (found, expected) = (format!("{one}/{name}"), format!("{other}/{name}"));
        assert!(toy.bytes(&found) == toy.bytes(&expected), "{name}");
    }
    assert_eq!(toy.record(one)["results"], toy.record(other)["results"]);
}

fn whole(toy: &Toy) {
    toy.run("importance", &["--chunk", "8", "--output", "OUT/whole"])
        .ok();
}

#[test]
fn the_shell_recipe_makes_the_whole_run() {
    let toy = Toy::with_examples(70);
    whole(&toy);
    let variables = [("PARTS", "3"), ("OUT", "out")];
    let ran = script(&toy, "shell.sh", &variables, &STUDY).ok();
    assert!(ran.out.contains("Part 3/3 is finished"), "{}", ran.out);
    same_files(&toy, "out/merged", "whole");
    // Run again, it begins nothing anew; what is lost is made again.
    fs::remove_dir_all(toy.path("out/part-2")).unwrap();
    let ran = script(&toy, "shell.sh", &variables, &STUDY).ok();
    assert_eq!(
        ran.err.matches("complete already").count(),
        2,
        "{}",
        ran.err
    );
    same_files(&toy, "out/merged", "whole");
    // With another number of parts the folders hold other parts.
    script(&toy, "shell.sh", &[("PARTS", "4"), ("OUT", "out")], &STUDY)
        .failed(2, &["it holds part 1/3", "part 1/4 is asked for"]);
}

#[test]
fn the_slurm_recipe_makes_the_whole_run_without_slurm_too() {
    let toy = Toy::with_examples(70);
    whole(&toy);
    for task in ["2", "1"] {
        let variables = [
            ("PARTS", "2"),
            ("OUT", "out"),
            ("SLURM_ARRAY_TASK_ID", task),
            ("SLURM_CPUS_PER_TASK", "1"),
        ];
        script(&toy, "slurm-array.sh", &variables, &STUDY).ok();
    }
    script(&toy, "slurm-merge.sh", &[("OUT", "out")], &[]).ok();
    same_files(&toy, "out/merged", "whole");
}

#[test]
fn the_command_of_the_kubernetes_job_makes_the_whole_run() {
    let toy = Toy::with_examples(70);
    whole(&toy);
    // The study of the file, on what is here.
    let parts = what_runs("kubernetes-job.yaml");
    let study = "importance model --task mrpc --data glue";
    assert!(parts.contains(study), "{parts}");
    let parts = parts.replace(study, &STUDY.join(" "));
    for index in ["1", "0", "2"] {
        let variables = [
            ("PARTS", "3"),
            ("JOB_COMPLETION_INDEX", index),
            ("THREADS", "1"),
        ];
        shell(&toy, &["-c", &parts], &variables).ok();
    }
    shell(&toy, &["-c", &what_runs("kubernetes-merge.yaml")], &[]).ok();
    same_files(&toy, "out/merged", "whole");
}

#[test]
fn the_documentation_shows_the_recipes_as_they_are() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/many-machines.md");
    let docs = fs::read_to_string(docs).unwrap();
    for entry in fs::read_dir(recipe("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(docs.contains(&name), "{name} is not explained");
        if name.ends_with(".py") {
            continue;
        }
        for line in what_runs(&name).lines().map(str::trim) {
            assert!(
                docs.contains(line),
                "{name}: `{line}` is not in the documentation"
            );
        }
    }
}

/// Enough that a part is not at its end when it is killed.
const LONG: usize = if cfg!(debug_assertions) {
    2_000
} else {
    20_000
};

#[test]
fn a_part_killed_at_its_beginning_goes_on() {
    let toy = Toy::with_examples(LONG);
    let output = toy.text("part");
    let own = ["--part", "1/1", "--threads", "1", "--output", &output];
    let arguments = toy.arguments("importance", &own);
    let mut child = command()
        .args(&arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Nothing else is there before the state.
    let visible = |toy: &Toy| {
        let names = fs::read_dir(toy.path("part")).into_iter().flatten();
        names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .any(|name| !name.starts_with('.'))
    };
    while !visible(&toy) {
        assert!(child.try_wait().unwrap().is_none(), "it is at its end");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(toy.path("part/state.json").exists());
    let ran = run(&["status", &output]).not_yet();
    assert!(ran.out.contains("units"), "{}", ran.out);
    let resumed: Vec<String> = arguments.into_iter().chain(["--resume".into()]).collect();
    run(&resumed).ok();
    assert!(toy.path("part/part.json").exists() && !toy.path("part/state.json").exists());
}

#[test]
fn a_part_killed_before_its_last_file_goes_on() {
    let toy = Toy::with_examples(LONG);
    let output = toy.text("run");
    let arguments = |more: &[&str]| {
        let own = ["--tokens-per-batch", "64", "--output", &output];
        toy.arguments("importance", &[&own[..], more].concat())
    };
    interrupt(&arguments(&[]), &toy.text("model")).failed(130, &["interrupted after"]);
    // The predictions have their name already, the record of the run is not there yet.
    let unfinished = toy.path("run/state-predictions.csv");
    fs::rename(&unfinished, toy.path("run/predictions.csv")).unwrap();
    run(&arguments(&["--resume"])).ok();
    toy.run(
        "importance",
        &["--tokens-per-batch", "64", "--output", "OUT/whole"],
    )
    .ok();
    same_files(&toy, "run", "whole");
}

#[test]
fn a_failed_part_does_not_hide_the_others() {
    let toy = Toy::with_examples(70);
    let part = ["--chunk", "8", "--part", "1/2", "--output", "OUT/part-1"];
    toy.run("importance", &part).ok();
    fs::create_dir(toy.path("part-2")).unwrap();
    let folders = [toy.text("part-1"), toy.text("part-2")];
    let ran = run(&["status", &folders[0], &folders[1]]).not_yet();
    for said in ["1/2  finished", "nothing saved", "Missing: 2/2"] {
        assert!(ran.out.contains(said), "no `{said}` in {}", ran.out);
    }
    let ran = run(&["status", &folders[1]]).not_yet();
    assert!(
        ran.out.contains("No part has saved anything"),
        "{}",
        ran.out
    );
}
