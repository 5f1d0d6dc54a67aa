//! Labels of words and answers to questions, against transformers, seqeval and SQuAD's script.

use std::fs;
use std::path::{Path, PathBuf};

use bertology::ablation::{AblationOptions, ablate};
use bertology::drive::Work;
use bertology::importance::{ImportanceOptions, importance};
use bertology::masking::{Direction, Metric};
use bertology::{
    Corpus, CorpusOptions, Error, Granularity, HeadId, HeadMask, LoadedModel, Outcome, Source,
    Target, TooLong, Watch, evaluate,
};
use bertology_testkit::golden;
use serde_json::Value;

/// f32 against f32, sums in another order.
const TOLERANCE: f64 = 2e-5;

struct Golden {
    folder: PathBuf,
    model: LoadedModel,
    expected: Value,
}

impl Golden {
    fn new(name: &str) -> Self {
        let folder = golden(&format!("studies/{name}"));
        let expected = fs::read_to_string(folder.join("expected.json")).unwrap();
        Self {
            model: LoadedModel::open(&folder).unwrap(),
            expected: serde_json::from_str(&expected).unwrap(),
            folder,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn options(&self) -> CorpusOptions {
        let number = |key: &str| self.expected[key].as_u64().map(|n| n as usize);
        let mut options = CorpusOptions::default();
        options.max_length = number("max_length");
        options.shared = number("doc_stride");
        options
    }

    fn corpus(&self, source: Source) -> Corpus {
        Corpus::new(&self.model, source, &self.options()).unwrap()
    }

    fn tags(&self, name: &str) -> Source {
        let keys = (name == "data.json").then_some(("words", "tags"));
        Source::tagged(
            &self.file(name),
            keys.map(|keys| keys.0),
            keys.map(|keys| keys.1),
        )
    }
}

fn near(what: &str, found: f64, expected: &Value) {
    let expected = expected.as_f64().unwrap();
    let bound = TOLERANCE * (1.0 + expected.abs());
    assert!(
        (found - expected).abs() < bound,
        "{what}: {found}, expected {expected}"
    );
}

/// Keeps the losses of the examples.
#[derive(Default)]
struct Losses(Vec<f64>);

impl Watch for Losses {
    fn example(&mut self, outcome: &Outcome<'_>) {
        assert_eq!(outcome.verdict, None);
        self.0.push(outcome.loss);
    }
}

/// Importance, losses and metrics of a corpus, whatever the threads and the batches.
fn agrees(golden: &Golden, corpus: &Corpus, expected: &Value, examples: &Value) {
    for threads in [1, 3] {
        let work = Work {
            threads,
            batch_tokens: Some(50 * threads),
        };
        let mut losses = Losses::default();
        let found = importance(
            &golden.model,
            corpus,
            &ImportanceOptions::default(),
            &work,
            &mut losses,
        )
        .unwrap();
        let examples = examples.as_array().unwrap();
        assert_eq!(losses.0.len(), examples.len());
        for (at, (loss, example)) in losses.0.iter().zip(examples).enumerate() {
            near(&format!("loss {at}"), *loss, &example["loss"]);
        }
        near("loss", found.evaluation.loss, &expected["loss"]);
        let metrics = expected["metrics"].as_object().unwrap();
        assert_eq!(found.evaluation.metrics.iter().count(), metrics.len());
        for (name, value) in metrics {
            near(name, found.evaluation.score(corpus, name).unwrap(), value);
            assert_eq!(
                Metric::of(corpus, Some(name)).unwrap().direction,
                Direction::Higher
            );
        }
        let largest = found.raw.values().iter().fold(0.0, |a: f64, b| a.max(*b));
        for (layer, row) in expected["importance"]
            .as_array()
            .unwrap()
            .iter()
            .enumerate()
        {
            for (head, expected) in row.as_array().unwrap().iter().enumerate() {
                let found = found.raw.get(HeadId { layer, head }).unwrap();
                let expected = expected.as_f64().unwrap();
                assert!(
                    (found - expected).abs() < TOLERANCE * largest,
                    "{layer}.{head}: {found}, expected {expected}"
                );
            }
        }
        let evaluated = evaluate::evaluate(&golden.model, corpus, None, &work, &mut ()).unwrap();
        assert_eq!(evaluated.metrics, found.evaluation.metrics);
    }
    assert_eq!(Metric::of(corpus, None).unwrap().name, "f1");
    assert_eq!(
        Metric::of(corpus, Some("loss")).unwrap().direction,
        Direction::Lower
    );
    let error = Metric::of(corpus, Some("mcc")).unwrap_err().to_string();
    assert!(error.contains("f1, "), "{error}");
}

#[test]
fn labels_of_words_are_those_of_run_ner() {
    let golden = Golden::new("tags");
    let expected = golden.expected["sentences"].as_array().unwrap();
    // In columns a word that is nothing to the tokenizer is one, too.
    for name in ["data.jsonl", "data.json", "data.conll"] {
        let corpus = golden.corpus(golden.tags(name));
        assert_eq!(corpus.examples(), expected.len() as u64, "{name}");
        let sequences = corpus.sequences(100).unwrap();
        for (sequence, expected) in sequences.iter().zip(expected) {
            assert_eq!(serde_json::json!(sequence.ids), expected["ids"], "{name}");
        }
        agrees(
            &golden,
            &corpus,
            &golden.expected,
            &golden.expected["sentences"],
        );
    }
}

#[test]
fn answers_are_those_of_run_qa() {
    let golden = Golden::new("answers");
    for (name, file) in [("squad2", "squad2.json"), ("squad1", "squad1.jsonl")] {
        let expected = &golden.expected[name];
        let corpus = golden.corpus(Source::questions(&golden.file(file)));
        assert_eq!(corpus.may_lack_answers(), name == "squad2");
        let windows = expected["windows"].as_array().unwrap();
        assert!(
            windows.len() as u64 > corpus.examples(),
            "some texts are long"
        );
        for (sequence, window) in corpus.sequences(100).unwrap().iter().zip(windows) {
            assert_eq!(serde_json::json!(sequence.ids), window["ids"], "{name}");
        }
        agrees(&golden, &corpus, expected, &expected["windows"]);
    }
}

/// A batch of windows ends with its chunk, whose units are questions: the same sums however the corpus is cut.
#[test]
fn batches_of_windows_end_with_their_chunk() {
    let golden = Golden::new("answers");
    let corpus = golden.corpus(Source::questions(&golden.file("squad2.json")));
    let batch = |size| {
        let options = ImportanceOptions::new(Granularity::Batch { size });
        importance(&golden.model, &corpus, &options, &Work::threads(2), &mut ()).unwrap()
    };
    let one = batch(1).raw;
    let example = importance(
        &golden.model,
        &corpus,
        &ImportanceOptions::default(),
        &Work::threads(1),
        &mut (),
    );
    let example = example.unwrap();
    let (windows, tokens) = (
        example.evaluation.examples as f64,
        example.evaluation.tokens as f64,
    );
    for (one, all) in one.values().iter().zip(example.raw.values()) {
        assert!(
            (one * tokens / windows - all).abs() < TOLERANCE * all.abs().max(1e-6),
            "{one} {all}"
        );
    }
    assert_ne!(batch(5).raw, one);
}

/// Leaving out a head is masking it, for every metric.
#[test]
fn a_head_left_out_is_a_head_masked() {
    let tags = Golden::new("tags");
    let answers = Golden::new("answers");
    for (golden, corpus) in [
        (&tags, tags.corpus(tags.tags("data.jsonl"))),
        (
            &answers,
            answers.corpus(Source::questions(&answers.file("squad2.json"))),
        ),
    ] {
        let work = Work::threads(2);
        let found = ablate(
            &golden.model,
            &corpus,
            &AblationOptions::default(),
            &work,
            &mut (),
        )
        .unwrap();
        let mut differs = false;
        for without in &found.without {
            let mut mask = HeadMask::ones(golden.model.model());
            mask.set(without.head, 0.0);
            let masked =
                evaluate::evaluate(&golden.model, &corpus, Some(&mask), &work, &mut ()).unwrap();
            assert_eq!(
                masked.metrics, without.evaluation.metrics,
                "{}",
                without.head
            );
            differs |= masked.metrics != found.whole.metrics;
        }
        assert!(differs);
    }
}

fn spans(golden: &Golden, content: &str) -> Vec<Target> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jsonl");
    fs::write(&path, content).unwrap();
    use bertology::attention::{Fate, Supply};
    let corpus = golden.corpus(Source::questions(&path));
    let units = corpus.open(0).unwrap();
    let passages = units.flat_map(|raw| match corpus.prepare(raw.unwrap()).unwrap() {
        Fate::Studied(passages) => passages,
        Fate::LeftOut(_) => Vec::new(),
    });
    passages.filter_map(|passage| passage.target).collect()
}

/// Where the answer begins with the window's last token, transformers' loop runs on to the end of the padding; here
/// the answer is that token.
#[test]
fn an_answer_of_the_last_token_is_there() {
    let golden = Golden::new("answers");
    let row = |text: &str, start: usize| {
        format!(
            "{{\"question\": \"who?\", \"context\": \"the old king\", \"answers\": [{{\"text\": \"{text}\", \
             \"answer_start\": {start}}}]}}\n"
        )
    };
    // [CLS] w ##h ##o ? [SEP] the old king [SEP]
    let found = spans(
        &golden,
        &(row("king", 8) + &row("old king", 4) + &row("the", 0) + &row("l", 5)),
    );
    let expected = [(8, 8), (7, 8), (6, 6), (7, 7)];
    let expected = expected.map(|(start, end)| Target::Span { start, end });
    assert_eq!(found, expected);
}

fn refused(model: &LoadedModel, source: Source, change: impl Fn(&mut CorpusOptions)) -> String {
    let mut options = CorpusOptions::default();
    change(&mut options);
    Corpus::new(model, source, &options)
        .unwrap_err()
        .to_string()
}

#[test]
fn what_a_head_is_not_scored_on_is_refused() {
    let (tags, answers) = (Golden::new("tags"), Golden::new("answers"));
    let (words, questions) = (
        tags.tags("data.jsonl"),
        Source::questions(&answers.file("squad2.json")),
    );
    let plain = |_: &mut CorpusOptions| {};
    let found = refused(&tags.model, questions.clone(), plain);
    assert!(
        found.contains("questions with answers, but the model has a token classifier"),
        "{found}"
    );
    let found = refused(&answers.model, words.clone(), plain);
    assert!(
        found.contains("which is scored on questions with answers"),
        "{found}"
    );
    let found = refused(
        &tags.model,
        Source::lines(&answers.file("squad1.jsonl")),
        plain,
    );
    assert!(
        found.contains("texts without labels, but the model has a token classifier"),
        "{found}"
    );
    for too_long in [TooLong::Skip, TooLong::Window] {
        let found = refused(&tags.model, words.clone(), |o| o.too_long = Some(too_long));
        assert!(found.contains("whole sentences"), "{found}");
    }
    for too_long in [TooLong::Skip, TooLong::Cut] {
        let found = refused(&answers.model, questions.clone(), |o| {
            o.too_long = Some(too_long)
        });
        assert!(found.contains("through windows"), "{found}");
    }
    let found = refused(&answers.model, questions, |o| o.stride = Some(3));
    assert!(found.contains("two windows share"), "{found}");
}

fn with_row(golden: &Golden, name: &str, row: &str, limit: usize) -> Result<Corpus, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, row).unwrap();
    let source = match Path::new(name).extension().is_some_and(|e| e == "jsonl") {
        true => Source::questions(&path),
        false => Source::tagged(&path, None, None),
    };
    let mut options = golden.options();
    options.max_length = Some(limit);
    let corpus = Corpus::new(&golden.model, source, &options)?;
    evaluate::evaluate(&golden.model, &corpus, None, &Work::threads(1), &mut ())?;
    Ok(corpus)
}

#[test]
fn what_is_wrong_in_a_row_is_said() {
    let tags = Golden::new("tags");
    let said = |name: &str, row: &str| with_row(&tags, name, row, 24).unwrap_err().to_string();
    let found = said("x.txt", "king O\nriver B-RIVER\n");
    for part in ["line 1", "`B-RIVER`", "`B-PER`, `I-PER`"] {
        assert!(found.contains(part), "{found}");
    }
    let found = said("x.json", "{\"tokens\": [\"king\"], \"ner_tags\": [7]}");
    assert!(found.contains("`7`"), "{found}");
    let found = said("x.json", "{\"tokens\": [\"king\"], \"ner_tags\": [-100]}");
    assert!(found.contains("none of the sentences (1)"), "{found}");
    // One sentence of two has nothing to predict.
    let corpus = with_row(&tags, "x.txt", "king -100\n\nriver B-LOC\n", 24).unwrap();
    assert_eq!((corpus.examples(), corpus.without_targets()), (2, 1));
    let answers = Golden::new("answers");
    let row = format!(
        "{{\"question\": \"{}\", \"context\": \"{}\", \"answers\": []}}",
        "king ".repeat(20),
        "river ".repeat(40)
    );
    let found = with_row(&answers, "x.jsonl", &row, 30)
        .unwrap_err()
        .to_string();
    for part in [
        "line 1",
        "question of 20 tokens",
        "room for 7 tokens",
        "share 12",
    ] {
        assert!(found.contains(part), "{found}");
    }
}
