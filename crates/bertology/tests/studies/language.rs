//! Language models on text: windows, targets, averages, and what transformers computed.

use std::fs;
use std::path::Path;

use bertology::corpus::DocumentCounts;
use bertology::drive::{Progress, Study, Work, drive};
use bertology::evaluate::MaskedModel;
use bertology::importance::{ImportanceOptions, importance};
use bertology::masking::{Direction, Metric, mask_heads};
use bertology::{
    Corpus, CorpusOptions, Evaluation, Granularity, HeadMask, ImportanceState, LoadedModel,
    Objective, Outcome, Sequence, Source, TokenMasking, TooLong, Watch, evaluate,
};
use serde_json::Value;

use super::fixture::{Fixture, budget, difference, rows, spread, stop_after, stopped};

/// The golden masked language model (2 layers, 3 heads, 60 tokens, 24 positions).
pub(super) fn bert() -> Fixture {
    Fixture::of("bert-mlm", |_, _| {})
}

pub(super) fn unmasked(max_length: usize, stride: Option<usize>) -> CorpusOptions {
    let mut options = CorpusOptions::default();
    options.objective = Some(Objective::MaskedLm {
        masking: TokenMasking::Unmasked,
    });
    options.max_length = Some(max_length);
    options.stride = stride;
    options
}

pub(super) fn seeded(seed: u64) -> CorpusOptions {
    let mut options = CorpusOptions::default();
    options.objective = Some(Objective::MaskedLm {
        masking: TokenMasking::Random {
            probability: 0.15,
            seed,
        },
    });
    options
}

/// Lines of words that the fixtures' vocabulary has.
pub(super) fn text(count: usize) -> String {
    let lines = rows(count).into_iter().map(|(text, _)| text + "\n");
    lines.collect()
}

pub(super) fn evaluated(model: &LoadedModel, corpus: &Corpus) -> Evaluation {
    evaluate::evaluate(model, corpus, None, &Work::threads(2), &mut ()).unwrap()
}

/// Keeps what it is told.
#[derive(Debug, Default)]
struct Rows(Vec<(u64, u64, usize, usize, usize, f64)>);

impl Watch for Rows {
    fn example(&mut self, o: &Outcome<'_>) {
        assert!(o.verdict.is_none() && o.logits.is_empty());
        self.0
            .push((o.index, o.line, o.window, o.tokens, o.targets, o.loss));
    }
}

/// A vocabulary for RoBERTa and GPT-2 whose tokens have the golden models' ids.
fn byte_level_vocabulary(folder: &Path, class: &str) {
    let mut vocabulary = serde_json::Map::new();
    for (id, token) in ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        .iter()
        .enumerate()
    {
        vocabulary.insert((*token).to_owned(), id.into());
    }
    for id in 5..60 {
        let character = char::from(b'!' + id as u8);
        vocabulary.insert(character.to_string(), id.into());
    }
    let vocabulary = serde_json::to_string(&vocabulary).unwrap();
    fs::write(folder.join("vocab.json"), vocabulary).unwrap();
    fs::write(folder.join("merges.txt"), "#version: 0.2\n").unwrap();
    let config = format!("{{\"tokenizer_class\": \"{class}\"}}");
    fs::write(folder.join("tokenizer_config.json"), config).unwrap();
}

/// One pass in f32 on either side, relative where a loss is above 1: transformers takes the logarithms
/// in f32, too.
const LOSS: f64 = 2e-6;
const IMPORTANCE: f64 = 2e-4;

#[test]
fn windows_losses_and_importance_are_those_of_transformers() {
    let studies =
        std::fs::read_to_string(bertology_testkit::golden("studies/language.json")).unwrap();
    let studies: Vec<Value> = serde_json::from_str(&studies).unwrap();
    assert!(studies.len() >= 5);
    for study in &studies {
        let name = study["model"].as_str().unwrap();
        let number = |key: &str| study[key].as_u64().unwrap() as usize;
        let floats = |key: &str| -> Vec<f64> {
            let values = study[key].as_array().unwrap();
            values.iter().map(|v| v.as_f64().unwrap()).collect()
        };
        let fixture = Fixture::of(name, |_, _| {});
        if name.starts_with("roberta") {
            fs::remove_file(fixture.folder.path().join("vocab.txt")).unwrap();
            byte_level_vocabulary(fixture.folder.path(), "RobertaTokenizer");
        }
        let model = fixture.model();
        let documents = study["documents"].as_array().unwrap();
        let ids: Vec<String> = documents
            .iter()
            .map(|row| {
                let ids: Vec<String> = row
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(Value::to_string)
                    .collect();
                ids.join(" ")
            })
            .collect();
        let path = fixture.write("ids.txt", ids.join("\n"));
        let mut options = unmasked(number("max_length"), Some(number("stride")));
        if study["masked"] == false {
            options.objective = None;
        }
        let corpus = Corpus::new(&model, Source::token_ids(&path), &options).unwrap();
        let counts = *corpus.documents().unwrap();
        assert_eq!(counts.windows, number("windows") as u64, "{name}");
        assert_eq!(counts.targets, number("targets") as u64, "{name}");

        let mut seen = Rows::default();
        let found = importance(
            &model,
            &corpus,
            &ImportanceOptions::default(),
            &budget(40),
            &mut seen,
        )
        .unwrap();
        let losses: Vec<f64> = seen.0.iter().map(|row| row.5).collect();
        let expected = floats("window_losses");
        assert_eq!(losses.len(), expected.len());
        for (found, expected) in losses.iter().zip(&expected) {
            assert!(
                (found - expected).abs() < LOSS * expected.max(1.0),
                "{name}: {found} {expected}"
            );
        }
        let loss = study["loss"].as_f64().unwrap();
        assert!(
            (found.evaluation.loss - loss).abs() < LOSS * loss.max(1.0),
            "{name}"
        );
        let error = difference(found.raw.values(), &floats("importance"));
        assert!(error < IMPORTANCE, "{name}: {error}");
    }
}

/// Without logits every token is as likely as any other.
#[test]
fn a_model_that_knows_nothing_loses_the_logarithm_of_its_vocabulary() {
    let fixture = Fixture::of("bert-mlm", |name, values| {
        if name.starts_with("cls.predictions") && name.ends_with("bias")
            || name.contains("LayerNorm")
        {
            values.fill(0.0);
        }
    });
    let model = fixture.model();
    let path = fixture.write("text.txt", text(40));
    for options in [unmasked(10, Some(3)), seeded(1)] {
        let corpus = Corpus::new(&model, Source::lines(&path), &options).unwrap();
        let found = evaluated(&model, &corpus);
        assert!((found.loss - 60_f64.ln()).abs() < 1e-6, "{}", found.loss);
        let perplexity = found.metrics.get("pseudo_perplexity").unwrap();
        assert!((perplexity - 60.0).abs() < 1e-4, "{perplexity}");
        assert_eq!(perplexity, found.loss.exp());
    }
}

/// GPT-2 with a tokenizer whose tokens are single characters: `&` is 5, `0` is 15.
fn characters() -> Fixture {
    let fixture = Fixture::of("gpt2-lm", |name, values| {
        // The final norm gives nothing to the logits.
        if name.contains("ln_f") {
            values.fill(0.0);
        }
    });
    fs::remove_file(fixture.folder.path().join("vocab.txt")).unwrap();
    byte_level_vocabulary(fixture.folder.path(), "GPT2Tokenizer");
    let config = r#"{"tokenizer_class": "GPT2Tokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}"#;
    fixture.write("tokenizer_config.json", config);
    fixture
}

/// One token a byte, every token as likely as any other.
#[test]
fn bits_per_byte_and_perplexity_have_a_closed_form() {
    let fixture = characters();
    let model = fixture.model();
    let lines = fixture.write("text.txt", format!("{}\n&'\n(\n", "0123456789".repeat(5)));
    let ids = fixture.write("ids.txt", "9 10 11\n");
    for (bos, targets, skipped) in [(false, 49 + 1, 1), (true, 50 + 2 + 1, 0)] {
        let mut options = CorpusOptions::default();
        options.objective = Some(Objective::CausalLm { bos });
        for (max_length, stride) in [(None, None), (Some(5), Some(4)), (Some(16), Some(1))] {
            options.max_length = max_length;
            options.stride = stride;
            let corpus = Corpus::new(&model, Source::lines(&lines), &options).unwrap();
            let counts = corpus.documents().unwrap();
            assert_eq!((counts.targets, counts.without_targets), (targets, skipped));
            let found = evaluated(&model, &corpus);
            assert!((found.loss - 60_f64.ln()).abs() < 1e-6, "{}", found.loss);
            let metric = |name| found.metrics.get(name).unwrap();
            assert!((metric("perplexity") - 60.0).abs() < 1e-4);
            assert!((metric("bits_per_byte") - 60_f64.log2()).abs() < 1e-6);
            assert_eq!(found.targets, targets);
        }
        let corpus = Corpus::new(&model, Source::token_ids(&ids), &options).unwrap();
        assert_eq!(
            evaluated(&model, &corpus).metrics.get("bits_per_byte"),
            None
        );
        let first = &corpus.sequences(1).unwrap()[0].ids;
        assert_eq!(first.first(), Some(&if bos { 0 } else { 9 }));
    }
}

/// A causal window's targets are the tokens that follow.
#[test]
fn the_first_token_is_a_target_only_behind_a_beginning() {
    let fixture = characters();
    let model = fixture.model();
    let path = fixture.write("text.txt", "0123456\n");
    let mut options = CorpusOptions::default();
    options.objective = Some(Objective::CausalLm { bos: true });
    options.max_length = Some(4);
    options.stride = Some(3);
    let corpus = Corpus::new(&model, Source::lines(&path), &options).unwrap();
    let mut seen = Rows::default();
    evaluate::evaluate(&model, &corpus, None, &Work::threads(1), &mut seen).unwrap();
    let sequences = corpus.sequences(9).unwrap();
    let ids: Vec<_> = sequences.iter().map(|s| s.ids.clone()).collect();
    assert_eq!(
        ids,
        [vec![0, 15, 16, 17], vec![17, 18, 19, 20], vec![20, 21]]
    );
    let targets: Vec<_> = seen.0.iter().map(|row| (row.2, row.4)).collect();
    assert_eq!(targets, [(0, 3), (1, 3), (2, 1)]);
    options.stride = Some(4);
    let error = Corpus::new(&model, Source::lines(&path), &options).unwrap_err();
    assert!(error.to_string().contains("1 to 3"), "{error}");
    options.stride = None;
    options.max_length = Some(1);
    let error = Corpus::new(&model, Source::lines(&path), &options).unwrap_err();
    assert!(error.to_string().contains("no token to predict"), "{error}");
    // GPT's tokenizer has no such token.
    let none = super::fixture::embedded("tiny-gpt");
    let mut options = CorpusOptions::default();
    options.objective = Some(Objective::CausalLm { bos: true });
    let error = Corpus::new(&none, Source::lines(&path), &options).unwrap_err();
    assert!(
        error.to_string().contains("score the texts without it"),
        "{error}"
    );
}

/// The average over all tokens, from single passes over sequences made by hand.
#[test]
fn the_loss_is_averaged_over_tokens_and_not_over_windows() {
    let fixture = bert();
    let model = fixture.model();
    // One document of 14 tokens in windows of 6 with stride 4, one of a single token.
    let words: Vec<String> = (10..24).map(|id| format!("w{id}")).collect();
    let path = fixture.write("text.txt", format!("{}\n\nw7\n", words.join(" ")));
    let corpus = Corpus::new(&model, Source::lines(&path), &unmasked(8, Some(4))).unwrap();
    let mut seen = Rows::default();
    let found = evaluate::evaluate(&model, &corpus, None, &Work::threads(1), &mut seen).unwrap();
    let keys: Vec<_> = seen.0.iter().map(|r| (r.0, r.1, r.2, r.3, r.4)).collect();
    assert_eq!(
        keys,
        [
            (0, 1, 0, 8, 6),
            (0, 1, 1, 8, 4),
            (0, 1, 2, 8, 4),
            (1, 3, 0, 3, 1)
        ]
    );
    let ids: Vec<u32> = (10..24).collect();
    let framed = |part: &[u32]| [&[2], part, &[3]].concat();
    let by_hand = [
        (framed(&ids[0..6]), 0..6),
        (framed(&ids[4..10]), 2..6),
        (framed(&ids[8..14]), 2..6),
        (framed(&[7]), 0..1),
    ];
    let (mut total, mut count) = (0.0, 0.0);
    for (ids, counted) in by_hand {
        for at in counted {
            // One token at a time: the loss of each from a pass of its own.
            let mut targets = vec![None; ids.len()];
            targets[at + 1] = Some(ids[at + 1]);
            total += one_loss(&model, &ids, targets);
            count += 1.0;
        }
    }
    assert_eq!(found.targets, 15);
    assert!((found.loss - total / count).abs() < 1e-6);
    let mean_of_windows = seen.0.iter().map(|r| r.5).sum::<f64>() / 4.0;
    assert!(
        (found.loss - mean_of_windows).abs() > 1e-4,
        "a test that could not fail"
    );
}

fn one_loss(model: &LoadedModel, ids: &[u32], targets: Vec<Option<u32>>) -> f64 {
    use bertology::Target;
    use bertology::model::{PackedBatch, PassOptions, Workspace};
    let sequence = [Sequence::new(ids.to_vec())];
    let batch = PackedBatch::new(model.architecture(), &sequence).unwrap();
    let targets = [Target::Tokens(targets)];
    let options = PassOptions {
        targets: Some(&targets),
        ..PassOptions::default()
    };
    let found = model
        .model()
        .run(&batch, &options, &mut Workspace::new(), &mut []);
    found.unwrap().sequences[0].loss.unwrap()
}

#[test]
fn what_fits_is_one_window_whatever_is_done_with_the_rest() {
    let fixture = bert();
    let model = fixture.model();
    let path = fixture.write("text.txt", text(30));
    let all: Vec<Evaluation> = [TooLong::Window, TooLong::Cut, TooLong::Error]
        .into_iter()
        .map(|too_long| {
            let mut options = unmasked(24, None);
            options.too_long = Some(too_long);
            let corpus = Corpus::new(&model, Source::lines(&path), &options).unwrap();
            assert_eq!(corpus.stride(), (too_long == TooLong::Window).then_some(11));
            let counts = corpus.documents().unwrap();
            assert_eq!((counts.windows, counts.windowed, counts.cut), (30, 0, 0));
            evaluated(&model, &corpus)
        })
        .collect();
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0], all[2]);
}

#[test]
fn long_documents_are_cut_windowed_or_refused_and_counted() {
    let fixture = bert();
    let model = fixture.model();
    let words: Vec<String> = (10..24).map(|id| format!("w{id}")).collect();
    let path = fixture.write("text.txt", format!("w5 w6\n{}\n", words.join(" ")));
    let corpus = |too_long| {
        let mut options = unmasked(8, None);
        options.too_long = Some(too_long);
        Corpus::new(&model, Source::lines(&path), &options)
    };
    let cut = corpus(TooLong::Cut).unwrap();
    let expected = DocumentCounts {
        documents: 2,
        cut: 1,
        tokens_cut: 8,
        windows: 2,
        targets: 8,
        ..DocumentCounts::default()
    };
    assert_eq!(cut.documents(), Some(&expected));
    let found = evaluated(&model, &cut);
    assert_eq!((found.truncation.examples, found.truncation.tokens), (1, 8));
    let windowed = corpus(TooLong::Window).unwrap();
    // Room for 6 tokens, half of that as stride: 0-6, 3-9, 6-12, 9-14.
    assert_eq!(windowed.stride(), Some(3));
    let counts = windowed.documents().unwrap();
    assert_eq!(
        (counts.windowed, counts.windows, counts.targets),
        (1, 5, 16)
    );
    let message = corpus(TooLong::Error).unwrap_err().to_string();
    assert!(
        message.contains("line 2: 16 tokens, but the longest input is 8"),
        "{message}"
    );
}

#[test]
fn interrupted_in_the_middle_of_a_document_it_goes_on_to_the_same_bits() {
    let fixture = bert();
    let model = fixture.model();
    let path = fixture.write("text.txt", text(40).replace('\n', " "));
    let mut options = seeded(5);
    options.max_length = Some(12);
    let corpus = Corpus::new(&model, Source::lines(&path), &options).unwrap();
    let counts = corpus.documents().unwrap();
    assert_eq!((counts.documents, counts.windowed), (1, 1));
    assert_eq!(corpus.examples(), counts.windows);
    assert!(counts.windows > 40, "{counts:?}");
    let work = spread(2, 24);
    for granularity in [Granularity::Example, Granularity::Batch { size: 4 }] {
        let request = ImportanceOptions::new(granularity);
        let whole = importance(&model, &corpus, &request, &work, &mut ()).unwrap();
        let masked = MaskedModel::new(&model, None, false).unwrap();
        let state = ImportanceState::new(&masked, &corpus, granularity).unwrap();
        let progress = Progress::new(state);
        let mut progress = stopped(&model, &corpus, progress, &work, &mut stop_after(17));
        drive(&model, &corpus, &mut progress, &work, &mut ()).unwrap();
        let resumed = progress.study().finish().unwrap();
        assert_eq!(resumed, whole);
    }
}

#[test]
fn the_masking_loop_lets_the_loss_rise_to_its_bound() {
    let fixture = bert();
    let model = fixture.model();
    let path = fixture.write("text.txt", text(30));
    let corpus = Corpus::new(&model, Source::lines(&path), &unmasked(24, None)).unwrap();
    let metric = Metric::of(&corpus, None).unwrap();
    assert_eq!(
        (metric.name.as_str(), metric.direction),
        ("loss", Direction::Lower)
    );
    let message = Metric::of(&corpus, Some("acc")).unwrap_err().to_string();
    assert!(
        message.contains("`acc`") && message.contains("pseudo_perplexity"),
        "{message}"
    );
    for name in [None, Some("pseudo_perplexity")] {
        let mut options = bertology::MaskingOptions::default();
        options.threshold = bertology::masking::Threshold::Relative(1.001);
        options.metric = name.map(str::to_owned);
        let found = mask_heads(&model, &corpus, &options, &Work::default(), None, &mut ()).unwrap();
        assert_eq!(found.direction, Direction::Lower);
        let base = &found.steps[0];
        let of = |step: &bertology::masking::Step| match name {
            None => step.loss,
            Some(name) => step.metrics.get(name).unwrap(),
        };
        let bound = found.bound.unwrap();
        assert!((bound - 1.001 * of(base)).abs() < 1e-12);
        assert!(
            found
                .steps
                .iter()
                .all(|step| step.passed == (of(step) <= bound))
        );
        // The result is what an evaluation under the mask finds.
        let mask: HeadMask = found.mask();
        let again =
            evaluate::evaluate(&model, &corpus, Some(&mask), &Work::threads(1), &mut ()).unwrap();
        assert!((again.loss - found.kept().loss).abs() < 1e-6);
    }
}
