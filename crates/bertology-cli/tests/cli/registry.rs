//! Every file that any command writes is in the registry, and `--overwrite` removes all of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use bertology_run::registry::{files as registered, known};
use tempfile::TempDir;

use crate::harness::run;

/// What the commands have in common, with `A/` for the embedded models and their corpus and `T/` for a folder.
const RUNS: &[(&str, &[&str])] = &[
    (
        "importance",
        &[
            "A/tiny-bert",
            "--task",
            "cola",
            "--data",
            "A/grammar/CoLA",
            "--limit",
            "9",
        ],
    ),
    ("importance", &["A/tiny-gpt", "--text", "T/texts.txt"]),
    (
        "ablate",
        &["A/tiny-gpt", "--text", "T/texts.txt", "--heads", "0.1"],
    ),
    (
        "ablate",
        &[
            "A/tiny-bert",
            "--task",
            "cola",
            "--data",
            "A/grammar",
            "--limit",
            "9",
            "--keep-one",
            "--select-split",
            "train",
        ],
    ),
    (
        "ablate",
        &[
            "A/tiny-gpt",
            "--text",
            "T/texts.txt",
            "--and",
            "A/grammar/dev.txt",
            "--and-limit",
            "3",
        ],
    ),
    (
        "mask",
        &["A/tiny-gpt", "--text", "T/texts.txt", "--max-steps", "1"],
    ),
    (
        "mask",
        &[
            "A/tiny-gpt",
            "--text",
            "T/texts.txt",
            "--schedule",
            "50%",
            "--seeds",
            "1",
        ],
    ),
    (
        "prune",
        &["A/tiny-gpt", "--text", "T/texts.txt", "--max-steps", "1"],
    ),
    ("prune", &["A/tiny-bert", "--heads", "0.1"]),
    (
        "evaluate",
        &["A/tiny-gpt", "--text", "T/texts.txt", "--heads", "0.1"],
    ),
    (
        "predict",
        &["A/tiny-bert", "--text", "T/texts.txt", "--heads", "0.1"],
    ),
    (
        "patterns",
        &["A/tiny-gpt", "--text", "T/texts.txt", "--gradients"],
    ),
    ("patterns", &["A/tiny-bert", "--text", "T/texts.txt"]),
    ("syntax", &["A/tiny-bert", "--conllu", "T/trees.conllu"]),
    ("coref", &["A/tiny-bert", "--conllu", "T/entities.conllu"]),
    ("distance", &["A/tiny-bert", "--conllu", "T/trees.conllu"]),
    (
        "relations",
        &[
            "A/tiny-bert",
            "--data",
            "T/pairs.jsonl",
            "--train",
            "T/pairs.jsonl",
        ],
    ),
    (
        "cat",
        &[
            "A/tiny-bert",
            "--code",
            "T/functions.jsonl",
            "--legacy",
            "--permutations",
            "9",
            "--resamples",
            "9",
        ],
    ),
    ("cluster", &["A/tiny-bert", "--text", "T/texts.txt"]),
    (
        "extract",
        &[
            "A/tiny-bert",
            "--text",
            "T/texts.txt",
            "--logits",
            "--shard-size",
            "3",
        ],
    ),
    (
        "extract",
        &[
            "A/tiny-bert",
            "--text",
            "T/texts.txt",
            "--keys",
            "0.1",
            "--format",
            "npz",
        ],
    ),
    (
        "extract",
        &[
            "A/tiny-bert",
            "--text",
            "T/texts.txt",
            "--attentions",
            "0",
            "--format",
            "parquet",
        ],
    ),
    (
        "attention-probe",
        &[
            "A/tiny-bert",
            "--train",
            "T/trees.conllu",
            "--dev",
            "T/trees.conllu",
            "--keep-cache",
        ],
    ),
    (
        "dynamics",
        &[
            "T/training",
            "--task",
            "cola",
            "--data",
            "A/grammar/CoLA",
            "--limit",
            "9",
            "--schedule",
            "50%",
            "--seeds",
            "1",
        ],
    ),
    (
        "compress",
        &[
            "A/tiny-bert",
            "--task",
            "cola",
            "--data",
            "A/grammar/CoLA",
            "--max-drop",
            "50%",
            "--examples",
            "30",
            "--trim-vocabulary",
            "A/grammar/dev.txt",
        ],
    ),
    (
        "judge",
        &[
            "A/tiny-bert",
            "--task",
            "cola",
            "--data",
            "A/grammar/CoLA",
            "--limit",
            "20",
            "--examples",
            "20",
            "--seeds",
            "1",
            "--left",
            "50%",
        ],
    ),
    (
        "bench",
        &[
            "A/tiny-bert",
            "--against",
            "A/tiny-gpt",
            "--batch-sizes",
            "1,2",
            "--rounds",
            "10",
        ],
    ),
    (
        "finetune",
        &[
            "A/tiny-bert",
            "--task",
            "cola",
            "--data",
            "A/grammar/CoLA",
            "--limit",
            "9",
            "--max-steps",
            "1",
            "--checkpoints",
        ],
    ),
    (
        "edge-probe",
        &[
            "A/tiny-bert",
            "--train",
            "T/records.jsonl",
            "--dev",
            "T/records.jsonl",
            "--seeds",
            "1",
            "--epochs",
            "1",
            "--label-probabilities",
            "--keep-cache",
        ],
    ),
];

/// Every file below a folder, relative to it.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap();
                found.insert(name.replace('\\', "/"));
            }
        }
    }
    found
}

#[test]
fn all_files_are_registered_and_removed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let assets = root.join("assets");
    let base = TempDir::new().unwrap();
    let write = |name: &str, text: &str| fs::write(base.path().join(name), text).unwrap();
    let text = fs::read_to_string(assets.join("grammar/dev.txt")).unwrap();
    write(
        "texts.txt",
        &text.lines().take(8).collect::<Vec<_>>().join("\n"),
    );
    let trees = fs::read_to_string(assets.join("grammar/dev.conllu")).unwrap();
    let trees: Vec<&str> = trees.split_inclusive("\n\n").take(6).collect();
    write("trees.conllu", &trees.concat());
    write("functions.jsonl", crate::cat::FUNCTIONS);
    let records = base.path().join("records.jsonl");
    let trees = base.path().join("trees.conllu");
    let words = [
        "edge-data".as_ref(),
        "ud-deps".as_ref(),
        trees.as_os_str(),
        "--output".as_ref(),
        records.as_os_str(),
    ];
    run(&words.map(|word| word.to_str().unwrap())).ok();
    for step in ["checkpoint-5", "checkpoint-1k"] {
        let checkpoint = base.path().join("training").join(step);
        fs::create_dir_all(&checkpoint).unwrap();
        for entry in fs::read_dir(assets.join("tiny-bert")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), checkpoint.join(entry.file_name())).unwrap();
        }
    }
    write(
        "pairs.jsonl",
        "{\"text\": \"The cat sleeps\", \"pairs\": [[0, 1, \"det\"], [1, 2, \"nsubj\"]]}\n",
    );
    write("entities.conllu", &crate::treebanks::treebank(6));

    let at = |word: &str| match (word.strip_prefix("A/"), word.strip_prefix("T/")) {
        (Some(name), _) => assets.join(name).to_str().unwrap().to_owned(),
        (_, Some(name)) => base.path().join(name).to_str().unwrap().to_owned(),
        _ => word.to_owned(),
    };
    let out = at("T/out");
    let mut written: BTreeSet<&str> = BTreeSet::new();
    for (command, words) in RUNS {
        let mut all = vec![(*command).to_owned()];
        all.extend(words.iter().map(|word| at(word)));
        all.extend(["--output".into(), out.clone(), "--overwrite".into()]);
        run(&all).ok();
        // What the run before has left is gone: every file is one that this command writes.
        for name in files(Path::new(&out)) {
            let file = known(&name).unwrap_or_else(|| panic!("{command}: {name}"));
            let own = file.commands.is_empty() || file.commands.contains(command);
            assert!(own, "{command}: {name} is of {:?}", file.commands);
            written.insert(file.written);
        }
    }
    // And what is registered is written, states and parts aside.
    let passing = [
        "state.json",
        "state-predictions.csv",
        "shard-NNNNN.half",
        "part.json",
        "chunks.jsonl",
        "training.state",
    ];
    let elsewhere = ["shard-NNNNN.parquet"];
    for file in registered() {
        let never = passing.contains(&file.written) || elsewhere.contains(&file.written);
        assert!(never || written.contains(file.written), "{}", file.written);
    }
}
