//! Every example of `docs/commands`, and of the recipe beside it, runs as it stands there.
//!
//! A folder holds models and files under the very names that the pages use, made up and small.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tempfile::TempDir;

use crate::harness::{command, golden};

/// Examples that need what no test has, and what that is.
const ELSEWHERE: [(&str, &str); 3] = [
    (
        "merge part-3 part-1 ",
        "shows how a missing part is refused",
    ),
    ("tiny-bert.safetensors", "written by Python"),
    ("[--", "a synopsis, no example"),
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The commands of a page, whole lines of its blocks of code.
fn examples(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut inside, mut open) = (false, String::new());
    for line in page.lines() {
        if line.starts_with("```") {
            inside = !inside;
            continue;
        }
        let line = line.strip_prefix("$ ").unwrap_or(line);
        if !inside || (open.is_empty() && !line.starts_with("bertology ")) {
            continue;
        }
        match line.strip_suffix('\\') {
            Some(begun) => open.push_str(begun),
            None => found.push(std::mem::take(&mut open) + line),
        }
    }
    found
}

/// Weights of any kind: small numbers, and ones where a norm scales.
fn write_weights(folder: &Path, shapes: &[(String, Vec<usize>)]) {
    let mut state = 1_u32;
    let mut bytes: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, shape) in shapes {
        let scale =
            name.contains("LayerNorm.weight") || name.contains("ln_") && name.ends_with("weight");
        let values = (0..shape.iter().product::<usize>()).flat_map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = f64::from(state >> 8) / f64::from(1 << 24) - 0.5;
            let value = if scale { 1.0 } else { noise * 0.6 };
            (value as f32).to_le_bytes()
        });
        bytes.push((name.clone(), shape.clone(), values.collect()));
    }
    let views: HashMap<&str, TensorView<'_>> = bytes
        .iter()
        .map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
            (name.as_str(), view)
        })
        .collect();
    let file = safetensors::serialize(&views, None).unwrap();
    fs::write(folder.join("model.safetensors"), file).unwrap();
}

const HIDDEN: usize = 24;
const INNER: usize = 32;

/// The tokenizer of a built-in model, for longer texts.
fn tokenizer(from: &str, folder: &Path) {
    fs::create_dir(folder).unwrap();
    for entry in fs::read_dir(workspace().join("assets").join(from)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with("token") || name.starts_with("vocab") || name == "merges.txt" {
            let text = fs::read_to_string(entry.path()).unwrap();
            let text = text.replace("\"model_max_length\": 64", "\"model_max_length\": 1024");
            fs::write(folder.join(name), text).unwrap();
        }
    }
}

/// A BERT of twelve layers of twelve heads, with the tokenizer of the built-in one.
pub(crate) fn bert(folder: &Path, class: &str) {
    tokenizer("tiny-bert", folder);
    let config = format!(
        r#"{{"model_type": "bert", "architectures": ["{class}"], "hidden_size": {HIDDEN}, "intermediate_size": {INNER},
        "num_hidden_layers": 12, "num_attention_heads": 12, "vocab_size": 481, "max_position_embeddings": 512,
        "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "pad_token_id": 0}}"#
    );
    fs::write(folder.join("config.json"), config).unwrap();
    let mut shapes: Vec<(String, Vec<usize>)> = Vec::new();
    let mut linear = |name: String, out: usize, input: usize| {
        shapes.push((format!("{name}.weight"), vec![out, input]));
        shapes.push((format!("{name}.bias"), vec![out]));
    };
    for layer in 0..12 {
        let at = format!("bert.encoder.layer.{layer}");
        for part in ["self.query", "self.key", "self.value", "output.dense"] {
            linear(format!("{at}.attention.{part}"), HIDDEN, HIDDEN);
        }
        linear(format!("{at}.intermediate.dense"), INNER, HIDDEN);
        linear(format!("{at}.output.dense"), HIDDEN, INNER);
    }
    if class == "BertForMaskedLM" {
        linear("cls.predictions.transform.dense".into(), HIDDEN, HIDDEN);
    } else {
        linear("bert.pooler.dense".into(), HIDDEN, HIDDEN);
        linear("classifier".into(), 2, HIDDEN);
    }
    let mut norm = |name: String| {
        for part in ["weight", "bias"] {
            shapes.push((format!("{name}.LayerNorm.{part}"), vec![HIDDEN]));
        }
    };
    norm("bert.embeddings".into());
    for layer in 0..12 {
        norm(format!("bert.encoder.layer.{layer}.attention.output"));
        norm(format!("bert.encoder.layer.{layer}.output"));
    }
    if class == "BertForMaskedLM" {
        norm("cls.predictions.transform".into());
        shapes.push(("cls.predictions.bias".into(), vec![481]));
    }
    for (name, rows) in [("word", 481), ("position", 512), ("token_type", 2)] {
        shapes.push((
            format!("bert.embeddings.{name}_embeddings.weight"),
            vec![rows, HIDDEN],
        ));
    }
    write_weights(folder, &shapes);
}

/// A GPT-2 of two layers that reads a thousand tokens, with the tokenizer of the built-in one.
fn gpt2(folder: &Path) {
    tokenizer("tiny-gpt2", folder);
    let config = format!(
        r#"{{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": {HIDDEN}, "n_inner": {INNER},
        "n_layer": 2, "n_head": 2, "vocab_size": 640, "n_positions": 1024, "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5, "bos_token_id": 0, "eos_token_id": 0}}"#
    );
    fs::write(folder.join("config.json"), config).unwrap();
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("transformer.wte.weight".into(), vec![640, HIDDEN]),
        ("transformer.wpe.weight".into(), vec![1024, HIDDEN]),
    ];
    let mut linear = |name: String, input: usize, out: usize| {
        shapes.push((format!("transformer.{name}.weight"), vec![input, out]));
        shapes.push((format!("transformer.{name}.bias"), vec![out]));
    };
    for layer in 0..2 {
        linear(format!("h.{layer}.attn.c_attn"), HIDDEN, 3 * HIDDEN);
        linear(format!("h.{layer}.attn.c_proj"), HIDDEN, HIDDEN);
        linear(format!("h.{layer}.mlp.c_fc"), HIDDEN, INNER);
        linear(format!("h.{layer}.mlp.c_proj"), INNER, HIDDEN);
    }
    for norm in ["h.0.ln_1", "h.0.ln_2", "h.1.ln_1", "h.1.ln_2", "ln_f"] {
        for part in ["weight", "bias"] {
            shapes.push((format!("transformer.{norm}.{part}"), vec![HIDDEN]));
        }
    }
    write_weights(folder, &shapes);
}

/// Everything that the pages name, and where commands run.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            folder: TempDir::new().unwrap(),
        };
        let at = |name: &str| place.folder.path().join(name);
        for model in ["MODEL", "minilm-mrpc"] {
            bert(&at(model), "BertForSequenceClassification");
        }
        bert(&at("bert-base-uncased"), "BertForMaskedLM");
        symlink(workspace().join("assets"), at("assets")).unwrap();
        // Checkpoints of trainings.
        for (checkpoint, model) in [
            ("trained/checkpoints/step-00000", "assets/tiny-bert"),
            ("trained/checkpoints/step-00060", "assets/tiny-bert"),
            ("training/checkpoint-500", "MODEL"),
            ("training/checkpoint-1500", "minilm-mrpc"),
            ("google/multiberts-seed_0-step_0k", "bert-base-uncased"),
            ("google/multiberts-seed_0-step_20k", "bert-base-uncased"),
            ("google/multiberts-seed_0", "bert-base-uncased"),
        ] {
            fs::create_dir_all(at(checkpoint).parent().unwrap()).unwrap();
            symlink(at(model), at(checkpoint)).unwrap();
        }
        gpt2(&at("gpt2"));
        fs::create_dir_all(at("golden/engine")).unwrap();
        symlink(golden("gpt2-lm"), at("golden/engine/gpt2-lm")).unwrap();
        fs::create_dir_all(at("golden/studies")).unwrap();
        symlink(
            golden("../studies/relations"),
            at("golden/studies/relations"),
        )
        .unwrap();
        for (name, of) in [("pairs", "test"), ("more-pairs", "train")] {
            let pairs = golden(&format!("../studies/relations/{of}.jsonl"));
            fs::copy(pairs, at(&format!("{name}.jsonl"))).unwrap();
        }
        fs::create_dir(at("facebook")).unwrap();
        crate::proteins::model_in(&at("facebook/esm2_t12_35M_UR50D"));
        for name in ["test", "train"] {
            fs::write(
                at(&format!("{name}.fasta")),
                ">1abcA\nMKTAYIAKQRQISFVKSHFSRQLE\n",
            )
            .unwrap();
            fs::write(
                at(&format!("{name}-contacts.jsonl")),
                "{\"id\": \"1abcA\", \"contacts\": [[0, 7], [3, 18]]}\n",
            )
            .unwrap();
        }

        for (name, of) in [("bert-ner", "tags"), ("bert-squad", "answers")] {
            symlink(golden(&format!("../studies/{of}")), at(name)).unwrap();
        }
        fs::copy(at("bert-ner/data.conll"), at("valid.txt")).unwrap();
        fs::write(
            at("dev-v2.0.json"),
            r#"{"version": "v2.0", "data": [{"paragraphs": [{"context": "maria was born in paris", "qas": [
                {"id": "1", "question": "who?", "is_impossible": false, "answers": [{"text": "maria", "answer_start": 0}]},
                {"id": "2", "question": "when?", "is_impossible": true, "answers": []}]}]}]}"#,
        )
        .unwrap();

        let grammar = workspace().join("assets/grammar");
        let dev = fs::read_to_string(grammar.join("dev.txt")).unwrap();
        let lines: Vec<&str> = dev.lines().take(12).collect();
        for name in ["novel.txt", "lines.txt", "sentences.txt", "50k.txt"] {
            fs::write(at(name), lines.join("\n") + "\n").unwrap();
        }
        // Documents, for pairs of segments.
        fs::write(
            at("wiki.txt"),
            lines
                .chunks(4)
                .map(|text| text.join("\n"))
                .collect::<Vec<_>>()
                .join("\n\n"),
        )
        .unwrap();
        let pair = format!("{}\n\n{}\t{}\n", lines[0], lines[1], lines[2]);
        fs::write(at("texts.txt"), pair).unwrap();
        let trees = fs::read_to_string(grammar.join("dev.conllu")).unwrap();
        let trees: Vec<&str> = trees.split_inclusive("\n\n").take(20).collect();
        for name in [
            "dev",
            "test",
            "train",
            "en_ewt-ud-dev",
            "en_ewt-ud-test",
            "gum-dev",
        ] {
            fs::write(at(&format!("{name}.conllu")), trees.concat()).unwrap();
        }
        for name in ["F", "FILE"] {
            fs::write(at(name), trees.concat()).unwrap();
        }
        let mut mrpc = String::from("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n");
        let mut reviews = String::from("review,stars\n");
        let mut objects = String::new();
        for (id, pair) in lines.chunks(2).enumerate() {
            let label = id % 2;
            let _ = writeln!(mrpc, "{label}\t{id}\t{id}\t{}\t{}", pair[0], pair[1]);
            let _ = writeln!(reviews, "\"{}\",{label}", pair[0]);
            let _ = writeln!(objects, "{{\"text\": \"{}\"}}", pair[0]);
        }
        for glue in ["GLUE/MRPC", "glue/MRPC"] {
            fs::create_dir_all(at(glue)).unwrap();
            // Heads are not chosen on the file on which they are scored: one pair more to train on.
            let more = mrpc.lines().last().map(|last| format!("{mrpc}{last}\n"));
            // Without labels, and an index in their place.
            let test = mrpc.replacen("Quality", "index", 1);
            for (split, text) in [
                ("train", more.as_ref().unwrap()),
                ("dev", &mrpc),
                ("test", &test),
            ] {
                fs::write(at(glue).join(format!("{split}.tsv")), text).unwrap();
            }
        }
        fs::write(at("reviews.csv"), reviews).unwrap();
        fs::write(at("x.jsonl"), objects).unwrap();
        fs::write(
            at("till.py"),
            "def first(x):\n    return x\n\n\nclass Till:\n    def pay(self, prices):\n        return sum(prices)\n",
        )
        .unwrap();
        fs::create_dir(at("src")).unwrap();
        fs::copy(at("till.py"), at("src/till.py")).unwrap();
        fs::write(at("functions.jsonl"), crate::cat::FUNCTIONS).unwrap();
        // Corpora that become records of labelled spans: one example each, and eight of SemEval.
        let relation = |id| format!("{id}\t\"A <e1>fire</e1> from a <e2>wire</e2>.\"\nOther\n\n");
        let relations: String = (1..9).map(relation).collect();
        fs::write(at("TRAIN_FILE.TXT"), relations).unwrap();
        fs::write(
            at("protoroles_eng_ud1.2_11082016.tsv"),
            "Sentence.ID\tPred.Token\tArg.Tokens.Begin\tArg.Tokens.End\tProperty\tResponse\tApplicable\n\
             en-ud-dev.conllu 1\t2\t0\t1\texistence\t5\tyes\n",
        )
        .unwrap();
        fs::write(at("en-ud-dev.conllu"), trees.concat()).unwrap();
        fs::write(
            at("recast_dpr_data.txt"),
            "text: The cat ran because it was wet.\nhypothesis: The cat ran because the cat was wet.\n\
             entailed: entailed\npartof: train\n",
        )
        .unwrap();
        fs::write(
            at("tasks.toml"),
            "[[task]]\ntrain = \"train.jsonl\"\ndev = \"dev.jsonl\"\n",
        )
        .unwrap();
        let vectors: String = ["the", "woman", "faint"]
            .map(|word| format!("{word}{}\n", " 0.5".repeat(100)))
            .concat();
        fs::write(at("glove.6B.100d.txt"), vectors).unwrap();

        // Runs that the pages begin with.
        let data = "--task mrpc --data GLUE --overwrite --quiet --output";
        place.run(&format!(
            "bertology mask MODEL {data} kept --heads-left 130"
        ));
        fs::copy(at("kept/head_mask.npy"), at("head_mask.npy")).unwrap();
        for (command, runs) in [
            (
                "importance",
                &[
                    "importance-run",
                    "pretrained",
                    "finetuned",
                    "whole",
                    "pruned",
                    "runs/a",
                ][..],
            ),
            ("ablate", &["ablate-run"]),
        ] {
            for run in runs {
                let one = if command == "ablate" {
                    "--heads 0.1"
                } else {
                    ""
                };
                place.run(&format!("bertology {command} MODEL {one} {data} {run}"));
            }
        }
        for run in [
            "pretrained",
            "finetuned",
            "codebert",
            "graphcodebert",
            "unixcoder",
        ] {
            place.run(&format!(
                "bertology cat MODEL --code functions.jsonl --resamples 9 --permutations 9 --output {run}-cat"
            ));
        }
        place.run("bertology patterns MODEL --text lines.txt --output patterns-run");
        place.run(
            "bertology relations MODEL --data pairs.jsonl --train more-pairs.jsonl --output relations-run",
        );
        place.run("bertology prune MODEL --heads 0.1 --quiet --output smaller");
        place
    }

    /// Pages begin with `out` as a run of masking left it.
    fn begin(&self) {
        let out = self.folder.path().join("out");
        if out.exists() {
            fs::remove_dir_all(&out).unwrap();
        }
        self.run("cp -r kept out");
    }

    /// Runs of parts lie where the pages of parts look for them.
    fn parts(&self) {
        let runs = self.folder.path().join("runs");
        if runs.exists() {
            fs::remove_dir_all(runs).unwrap();
        }
        for part in 1..=3 {
            for to in ["", "runs/"] {
                self.run(&format!(
                    "bertology syntax MODEL --conllu FILE --chunk 10 --part {part}/3 --output {to}part-{part} --overwrite"
                ));
            }
        }
    }

    #[track_caller]
    fn run(&self, line: &str) {
        let binary = Path::new(env!("CARGO_BIN_EXE_bertology"));
        let mut path = binary.parent().unwrap().as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        // As clean as for all other tests.
        for (name, value) in command().get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let shell = shell
            .args(["-c", line])
            .env("PATH", path)
            .current_dir(self.folder.path());
        let ran = shell.output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        // Asked for parts that are not all there, this is the answer.
        let not_yet = line.starts_with("bertology status ") && ran.status.code() == Some(3);
        assert!(ran.status.success() || not_yet, "{line}\n{said}");
        // What an example asks for has an effect.
        assert!(!said.contains("has no effect"), "{line}\n{said}");
    }
}

#[test]
fn every_example_of_the_pages_runs() {
    let place = Place::new();
    let pages = workspace().join("docs/commands");
    let mut pages: Vec<PathBuf> = fs::read_dir(pages)
        .unwrap()
        .map(|page| page.unwrap().path())
        .collect();
    pages.push(workspace().join("docs/smaller-and-faster.md"));
    pages.sort();
    let mut ran = 0;
    // Those of parts come last: they take the place of other runs.
    pages.sort_by_key(|page| {
        ["status.md", "merge.md"]
            .iter()
            .any(|name| page.ends_with(name))
    });
    for page in pages {
        let of_parts = page.ends_with("merge.md") || page.ends_with("status.md");
        for line in examples(&fs::read_to_string(&page).unwrap()) {
            if ELSEWHERE.iter().any(|(part, _)| line.contains(part)) {
                continue;
            }
            let (typed, _) = line.split_once(" #").unwrap_or((&line, ""));
            let mut words = typed.trim_end().to_owned();
            // The folders are there already.
            if words.contains("--output ")
                || words.contains("--figures ") && words.contains("compare")
            {
                words.push_str(" --overwrite");
            } else if words.starts_with("bertology view ") {
                words.push_str(" --output seen.html --overwrite");
            } else if words.starts_with("bertology demo") {
                words.push_str(" --output demo --overwrite");
            }
            place.begin();
            if of_parts {
                place.parts();
            }
            place.run(&words);
            ran += 1;
        }
    }
    assert!(ran > 60, "{ran} examples were found");
}
