//! `bertology demo edge-probe`: four tasks of the built-in grammar, whose answer is known.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt::Write as _;

use bertology_run::Rows;
use bertology_run::read_json;
use bertology_run::studies::edge::{EdgeLayerRow, EdgeResults};
use bertology_run::table::Row as _;
use serde_json::{Map, Value, json};

use super::{rule, unpack, write};
use crate::args::{DemoArgs, DemoModel};
use crate::assets::{Asset, assets};
use crate::commands::Done;
use crate::failure::Failure;
use crate::pages;
use crate::run_folder::{self, RunFolder};
use crate::show::Screen;
use crate::show::text::count;

pub(super) const TREES: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/assets/grammar/dev.conllu"
));
pub(super) const RECORDS: &[Asset] = assets![
    "grammar/edge/agreement-train.jsonl",
    "grammar/edge/agreement-dev.jsonl",
    "grammar/edge/coreference-train.jsonl",
    "grammar/edge/coreference-dev.jsonl",
    "grammar/edge/known.json",
];

/// Of five acceptable sentences of the treebank, so many are trained on, and the others scored.
const TRAINED_ON: usize = 3;

/// A task, and what is asked in it.
struct Question {
    task: &'static str,
    /// What makes records of trees; the others lie ready.
    conversion: Option<&'static str>,
    asked: &'static str,
    /// The words of the spans are right on exactly half of the targets: each words bear each label equally often.
    twins: bool,
}

const QUESTIONS: [Question; 4] = [
    Question {
        task: "pos",
        conversion: Some("ud-pos"),
        asked: "part of speech of a word; only a few words have several",
        twins: false,
    },
    Question {
        task: "dependencies",
        conversion: Some("ud-deps"),
        asked: "relation of a word to its head; the two words mostly tell",
        twins: false,
    },
    Question {
        task: "agreement",
        conversion: None,
        asked: "is the subject of a verb singular or plural, where the verb does not show it\n\
                (\"The boys near the teacher WILL sleep\")",
        twins: true,
    },
    Question {
        task: "coreference",
        conversion: None,
        asked: "is a noun what a pronoun means, where two nouns could be\n\
                (\"The TEACHER near the boy admires HIMSELF\")",
        twins: true,
    },
];

/// Probes that need not be as wide as the paper's, and have time to end.
const PROBES: [&str; 14] = [
    "--layer0",
    "word-only",
    "--decide",
    "softmax",
    "--hidden",
    "64",
    "--epochs",
    "150",
    "--seeds",
    "3",
    "--controls",
    "random-encoder",
    "--random-encoder",
    "1",
];

const NEXT: &str = "\
Next, a real model (a folder, or a name on the Hugging Face hub) on a treebank:

  bertology edge-data ud-deps en-train.conllu --output train.jsonl
  bertology edge-data ud-deps en-dev.conllu --output dev.jsonl
  bertology edge-probe bert-base-uncased --train train.jsonl \\
      --dev dev.jsonl --output out";

pub(super) fn run(args: &DemoArgs, screen: &Screen) -> Result<Done, Failure> {
    RunFolder::check(&args.output, args.overwrite, false)?;
    let story = args.model.story();
    let _folder = run_folder::open(&args.output, args.overwrite, false)?;
    let (train, dev) = divided(TREES);
    let suite = suite();
    let made = [
        ("grammar/edge/train.conllu", train.as_bytes()),
        ("grammar/edge/dev.conllu", dev.as_bytes()),
        ("grammar/edge/tasks.toml", suite.as_bytes()),
    ];
    let of_model = story
        .assets()
        .filter(|file| file.path.starts_with(story.model));
    unpack(of_model.chain(RECORDS.iter().copied()), &args.output)?;
    for (path, bytes) in made {
        write(path, bytes, &args.output)?;
    }
    let mut text = format!(
        "The built-in grammar knows the answer to four questions about its sentences:\n\n{}",
        questions()
    );
    let _ = write!(
        text,
        "\nWhat do the layers of {} know of them? Model and data are now in\n{}, and every command below \
         is one that you can type.",
        story.model,
        args.output.display()
    );
    screen.say(&text);

    let folder = args.output.join("grammar/edge");
    let mut sentences = Map::new();
    for question in &QUESTIONS {
        for part in ["train", "dev"] {
            if let Some(conversion) = question.conversion {
                let records = folder.join(format!("{}-{part}.jsonl", question.task));
                let words: [OsString; 6] = [
                    "bertology".into(),
                    "edge-data".into(),
                    conversion.into(),
                    folder.join(format!("{part}.conllu")).into(),
                    "--output".into(),
                    records.into(),
                ];
                args.typed(words.into(), screen)?;
            }
        }
        let counted = split(&folder, question.task)?;
        sentences.insert(question.task.into(), counted);
    }
    screen.say(&format!("\n{}", said_of(&sentences)));

    let out = args.output.join("edge-probe");
    let mut words: Vec<OsString> = vec!["bertology".into(), "edge-probe".into()];
    words.push(args.output.join(story.model).into());
    words.extend(["--suite".into(), folder.join("tasks.toml").into()]);
    words.extend(PROBES.map(OsString::from));
    words.extend(["--output".into(), out.clone().into()]);
    let probes = args.typed(args.with_threads(words), screen)?;

    let results: EdgeResults = serde_json::from_value(probes["results"].clone())
        .map_err(|error| Failure::work(format!("the demonstration is at fault: {error}")))?;
    let known = read_json(&folder.join("known.json"))?;
    let rows: Rows<EdgeLayerRow> =
        Rows::read(&out.join(EdgeLayerRow::FILE)).map_err(|error| pages::failure(&error.into()))?;
    let answers = answers(args.model, &results, &rows.all, &known);
    screen.say(&format!(
        "\n{}\n{}\nLayers, mixing weights, and the targets one by one are in\n{}\n\n{NEXT}",
        rule(),
        told(args.model, &answers),
        out.join("report.html").display()
    ));
    let answers: Vec<Value> = answers.iter().map(Answer::document).collect();
    Ok(json!({
        "command": "demo",
        "story": "edge-probe",
        "model": story.model,
        "folder": args.output,
        "sentences": sentences,
        "answers": answers,
        "edge_probe": probes,
    })
    .into())
}

fn questions() -> String {
    let mut text = String::new();
    for question in &QUESTIONS {
        let asked = question.asked.replace('\n', "\n                ");
        let _ = writeln!(text, "  {:<14}{asked}", question.task);
    }
    text
}

/// The acceptable sentences of the treebank, each once: those that are trained on, and the others.
fn divided(trees: &str) -> (String, String) {
    let mut seen = HashSet::new();
    let sentences = trees.split_inclusive("\n\n").filter(|sentence| {
        let text = sentence.lines().find(|line| line.starts_with("# text = "));
        sentence.contains("\n# acceptability = 1\n") && seen.insert(text)
    });
    let (mut train, mut dev) = (String::new(), String::new());
    for (at, sentence) in sentences.enumerate() {
        let part = if at % 5 < TRAINED_ON {
            &mut train
        } else {
            &mut dev
        };
        part.push_str(sentence);
    }
    (train, dev)
}

fn suite() -> String {
    let table = |question: &Question| {
        let task = question.task;
        format!(
            "[[task]]\nname = \"{task}\"\ntrain = \"{task}-train.jsonl\"\ndev = \"{task}-dev.jsonl\"\n"
        )
    };
    QUESTIONS.iter().map(table).collect::<Vec<_>>().join("\n")
}

/// How many sentences a task has to train on and to score, and how many are in both.
fn split(folder: &std::path::Path, task: &str) -> Result<Value, Failure> {
    let texts = |part: &str| {
        let path = folder.join(format!("{task}-{part}.jsonl"));
        let lines =
            std::fs::read_to_string(&path).map_err(|error| Failure::io("read", &path, &error))?;
        let texts = lines.lines().filter_map(|line| {
            let record: Value = serde_json::from_str(line).ok()?;
            Some(record["text"].as_str()?.to_lowercase())
        });
        Ok::<_, Failure>(texts.collect::<Vec<_>>())
    };
    let (train, dev) = (texts("train")?, texts("dev")?);
    let trained: HashSet<&String> = train.iter().collect();
    let both = dev.iter().filter(|text| trained.contains(text)).count();
    Ok(json!({ "train": train.len(), "dev": dev.len(), "both": both }))
}

fn said_of(sentences: &Map<String, Value>) -> String {
    let mut text = String::from("Sentences to train on, to score, and in both:\n");
    for (task, found) in sentences {
        let number = |part: &str| count(found[part].as_u64().unwrap_or(0));
        let _ = write!(
            text,
            "\n  {task:<14}{:>6}{:>6}{:>4}",
            number("train"),
            number("dev"),
            number("both")
        );
    }
    text
}

/// What is known of a task, and what was found.
struct Answer {
    question: &'static Question,
    /// How often the best rule is right that sees the words of the spans alone.
    words: f64,
    /// How often a reader of all that the model has read can be right, where that is known.
    all: Option<f64>,
    /// Three standard errors of `words` on as many targets.
    margin: f64,
    layers: Vec<Option<f64>>,
    untrained: Option<f64>,
    expected_layer: Option<f64>,
}

impl Answer {
    /// Layer 0 sees words alone, and tells no more than they do.
    fn agrees(&self) -> bool {
        let bottom = self.layers.first().copied().flatten();
        bottom.is_some_and(|found| {
            if self.question.twins {
                (found - self.words).abs() < 1e-9
            } else {
                found <= self.words + self.margin
            }
        })
    }

    /// The first layer from which on all tell more than words do.
    fn context_from(&self) -> Option<usize> {
        let more = |found: &&Option<f64>| found.is_some_and(|f| f > self.words + self.margin);
        let layers = self.layers.iter().rev().take_while(more).count();
        (layers > 0).then(|| self.layers.len() - layers)
    }

    fn document(&self) -> Value {
        json!({
            "task": self.question.task,
            "known": { "words": self.words, "all": self.all, "margin": self.margin, "exact": self.question.twins },
            "layers": self.layers,
            "untrained_encoder": self.untrained,
            "expected_layer": self.expected_layer,
            "layer_0_agrees": self.agrees(),
            "context_from": self.context_from(),
        })
    }
}

fn answers(
    model: DemoModel,
    results: &EdgeResults,
    rows: &[EdgeLayerRow],
    known: &Value,
) -> Vec<Answer> {
    let case = match model {
        DemoModel::TinyBert | DemoModel::TinyGpt => "lower case",
        DemoModel::TinyGpt2 => "as written",
    };
    let of = |question: &'static Question| {
        let task = results
            .tasks
            .iter()
            .find(|task| task.name == question.task)?;
        let words = known["words"][case][question.task].as_f64()?;
        let targets: u64 = task.stable_from.iter().sum();
        // What follows a word decides of some what they are, and causal models have not read it. The verb and the
        // pronoun come last.
        let whole = question.twins || model == DemoModel::TinyBert;
        Some(Answer {
            question,
            words,
            all: whole.then_some(1.0),
            margin: 3.0 * (words * (1.0 - words) / targets as f64).sqrt(),
            layers: rows
                .iter()
                .filter(|row| row.task == task.name)
                .map(|row| row.score)
                .collect(),
            untrained: task.random_encoder.as_ref().and_then(|found| found.value),
            expected_layer: task.expected_layer.value,
        })
    };
    QUESTIONS.iter().filter_map(of).collect()
}

fn share(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{:.1}", 100.0 * value))
}

fn told(model: DemoModel, answers: &[Answer]) -> String {
    let layers = answers.first().map_or(0, |answer| answer.layers.len());
    let mut text = String::from("What is known and what was found, in % of the targets\n\n");
    let _ = writeln!(text, "  {:<13}{:>11}  found: layer", "", "known");
    let _ = write!(text, "  {:<13}{:>6}{:>5}  ", "task", "words", "all");
    for layer in 0..layers {
        let _ = write!(text, "{layer:>6}");
    }
    let _ = write!(text, "{:>11}{:>10}", "untrained", "expected");
    for answer in answers {
        let all = answer
            .all
            .map_or("-".into(), |all| format!("{:.0}", 100.0 * all));
        let words = share(Some(answer.words));
        let _ = write!(text, "\n  {:<13}{words:>6}{all:>5}  ", answer.question.task);
        for found in &answer.layers {
            let _ = write!(text, "{:>6}", share(*found));
        }
        let expected = answer.expected_layer;
        let expected = expected.map_or("-".into(), |layer| format!("{layer:.2}"));
        let _ = write!(text, "{:>11}{expected:>10}", share(answer.untrained));
    }
    text.push_str(
        "\n\n\
         words      the best that any rule can do that sees the words of the spans and no\n           \
         others, by the grammar; layer 0 is such a rule\n\
         all        whoever has read the sentence can tell all\n\
         untrained  all layers of an encoder that has learnt nothing, but sees all words\n\
         expected   mean layer, weighted by what each adds\n",
    );
    if model != DemoModel::TinyBert {
        text.push_str(
            "\nA causal model has not read what follows a word, so that it cannot tell all of\n\
             pos and dependencies; how much it could is not known.\n",
        );
    }
    for answer in answers {
        let _ = write!(text, "\n{}", verdict(answer));
    }
    text
}

fn verdict(answer: &Answer) -> String {
    let bottom = share(answer.layers.first().copied().flatten());
    let known = share(Some(answer.words));
    let margin = share(Some(answer.margin));
    let layer_0 = match (answer.agrees(), answer.question.twins) {
        (true, true) => "agrees: layer 0 is right on exactly half, as it must be.".to_owned(),
        (true, false) => format!(
            "agrees: layer 0 finds {bottom}, and words tell {known} at most, give or take {margin}."
        ),
        (false, _) => format!("DISAGREES: layer 0 finds {bottom}, and words tell {known} at most."),
    };
    let context = match answer.context_from() {
        Some(layer) => format!("From layer {layer} on more is found than words can tell."),
        None => "In no layer is more found than words can tell.".to_owned(),
    };
    format!("{} {layer_0}\n  {context}\n", answer.question.task)
}
