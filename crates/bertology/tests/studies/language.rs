//! Language models on text: windows, targets, averages, and what transformers computed.

use std::fs;
use std::path::Path;

use bertology::corpus::DocumentCounts;
use bertology::data::{Columns, Documents};
use bertology::importance::{ImportanceOptions, importance};
use bertology::masking::{Direction, Metric, mask_heads};
use bertology::{
    Corpus, CorpusOptions, Error, Evaluation, Granularity, HeadMask, ImportanceState, LoadedModel,
    Objective, Outcome, Sequence, Source, TokenMasking, TooLong, Watch, evaluate,
};
use serde_json::Value;

use super::fixture::{Fixture, StopAfter, difference, golden, rows};

/// The golden masked language model (2 layers, 3 heads, 60 tokens, 24 positions).
fn bert() -> Fixture {
    Fixture::of("bert-mlm", |_, _| {})
}

fn unmasked(max_length: usize, stride: Option<usize>) -> CorpusOptions {
    let mut options = CorpusOptions::default();
    options.objective = Some(Objective::MaskedLm {
        masking: TokenMasking::Unmasked,
    });
    options.max_length = Some(max_length);
    options.stride = stride;
    options
}

fn seeded(seed: u64) -> CorpusOptions {
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
fn text(count: usize) -> String {
    let lines = rows(count).into_iter().map(|(text, _)| text + "\n");
    lines.collect()
}

fn evaluated(model: &LoadedModel, corpus: &Corpus) -> Evaluation {
    evaluate::evaluate(model, corpus, None, 2, &mut ()).unwrap()
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
    let studies = include_str!("../golden/language.json");
    let studies: Vec<Value> = serde_json::from_str(studies).unwrap();
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
        options.batch_tokens = 40;
        let corpus = Corpus::new(&model, Source::token_ids(&path), &options).unwrap();
        let counts = *corpus.documents().unwrap();
        assert_eq!(counts.windows, number("windows") as u64, "{name}");
        assert_eq!(counts.targets, number("targets") as u64, "{name}");

        let mut seen = Rows::default();
        let found = importance(&model, &corpus, &ImportanceOptions::default(), &mut seen).unwrap();
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
    let found = evaluate::evaluate(&model, &corpus, None, 1, &mut seen).unwrap();
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
        message.contains("line 2: 14 tokens, but the longest input is 6"),
        "{message}"
    );
}

#[test]
fn masking_depends_on_the_seed_and_on_nothing_else() {
    let fixture = bert();
    let model = fixture.model();
    let path = fixture.write("text.txt", text(60));
    let sequences = |options: &CorpusOptions, limit| {
        let source = Source::lines(&path).with_limit(limit);
        let corpus = Corpus::new(&model, source, options).unwrap();
        corpus.sequences(&model, 999).unwrap()
    };
    let mut options = seeded(7);
    let first = sequences(&options, None);
    options.batch_tokens = 1;
    assert_eq!(first, sequences(&options, None));
    assert_eq!(first[..11], sequences(&options, Some(11)));
    assert_ne!(first, sequences(&seeded(8), None));
    let mut other = CorpusOptions::default();
    other.objective = None;
    assert_ne!(
        first,
        sequences(&other, None),
        "the default seed is another"
    );

    let mut losses = Vec::new();
    for (threads, batch_tokens) in [(1, 1024), (3, 1024), (2, 30)] {
        let mut options = seeded(7);
        options.batch_tokens = batch_tokens;
        let corpus = Corpus::new(&model, Source::lines(&path), &options).unwrap();
        losses.push(evaluate::evaluate(&model, &corpus, None, threads, &mut ()).unwrap());
    }
    assert_eq!(
        losses[0], losses[1],
        "threads change nothing, not even a bit"
    );
    assert!((losses[0].loss - losses[2].loss).abs() < 1e-6);
    assert_eq!(losses[0].targets, losses[2].targets);
}

#[test]
fn special_tokens_are_never_hidden_and_hidden_tokens_are_the_targets() {
    let fixture = bert();
    let model = fixture.model();
    // `zebra` is unknown, and a mask written in the text is a mask token.
    let line = "zebra w5 [MASK] w6 w7 zebra w8\n";
    let path = fixture.write("text.txt", format!("{}zebra\n", line.repeat(400)));
    let mut options = seeded(3);
    let corpus = Corpus::new(&model, Source::lines(&path), &options).unwrap();
    let counts = corpus.documents().unwrap();
    assert_eq!((counts.documents, counts.without_targets), (401, 1));
    assert_eq!(counts.windows, 400);
    let original = [2, 1, 5, 4, 6, 7, 1, 8, 3];
    let mut changed = [0; 9];
    for sequence in corpus.sequences(&model, 999).unwrap() {
        for (at, (found, original)) in sequence.ids.iter().zip(&original).enumerate() {
            changed[at] += u32::from(found != original);
        }
    }
    let never = [0, 1, 3, 6, 8];
    assert!(never.iter().all(|at| changed[*at] == 0), "{changed:?}");
    assert!(
        [2, 4, 5, 7].iter().all(|at| changed[*at] > 20),
        "{changed:?}"
    );

    options.objective = Some(Objective::MaskedLm {
        masking: TokenMasking::Unmasked,
    });
    let corpus = Corpus::new(&model, Source::lines(&path), &options).unwrap();
    assert_eq!(corpus.sequences(&model, 1).unwrap()[0].ids, original);
    assert_eq!(corpus.documents().unwrap().targets, 400 * 4);
}

#[test]
fn ids_and_texts_give_the_same_and_ids_may_bring_their_frame() {
    let fixture = bert();
    let model = fixture.model();
    let options = unmasked(8, Some(4));
    let texts = fixture.write("text.txt", "w10 w11 w12 w13 w14 w15 w16 w17\nw5\n");
    let ids = fixture.write("ids.txt", "10 11 12 13 14 15 16 17 # one\n\n2 5 3\n");
    let table = fixture.write(
        "text.jsonl",
        "{\"t\": \"w10 w11 w12 w13 w14 w15 w16 w17\"}\n{\"t\": \"w5\"}\n",
    );
    let sources = [
        Source::lines(&texts),
        Source::token_ids(&ids),
        Source::table(&table, Columns::text("t")).unwrap(),
        Source::text(
            &fixture.write("paragraphs.txt", "w10 w11 w12 w13\nw14 w15 w16 w17\n\nw5"),
            Documents::Paragraphs,
        ),
    ];
    let found: Vec<(Vec<Sequence>, Evaluation)> = sources
        .into_iter()
        .map(|source| {
            let corpus = Corpus::new(&model, source, &options).unwrap();
            let sequences = corpus.sequences(&model, 99).unwrap();
            (sequences, evaluated(&model, &corpus))
        })
        .collect();
    assert!(found.iter().all(|f| *f == found[0]));
    let ids: Vec<_> = found[0].0.iter().map(|s| s.ids.clone()).collect();
    assert_eq!(
        ids,
        [
            vec![2, 10, 11, 12, 13, 14, 15, 3],
            vec![2, 14, 15, 16, 17, 3],
            vec![2, 5, 3]
        ]
    );
}

#[test]
fn interrupted_in_the_middle_of_a_document_it_goes_on_to_the_same_bits() {
    let fixture = bert();
    let model = fixture.model();
    let path = fixture.write("text.txt", text(40).replace('\n', " "));
    let mut options = seeded(5);
    options.max_length = Some(12);
    options.batch_tokens = 24;
    let corpus = Corpus::new(&model, Source::lines(&path), &options).unwrap();
    let counts = corpus.documents().unwrap();
    assert_eq!((counts.documents, counts.windowed), (1, 1));
    assert_eq!(corpus.examples(), counts.windows);
    assert!(counts.windows > 40, "{counts:?}");
    for granularity in [Granularity::Example, Granularity::Batch { size: 4 }] {
        let request = ImportanceOptions::new(granularity).threads(2);
        let whole = importance(&model, &corpus, &request, &mut ()).unwrap();
        let mut state = ImportanceState::new(&model, &request).unwrap();
        let mut stop = StopAfter {
            examples: 17,
            lines: Vec::new(),
        };
        let error = state.run(&model, &corpus, &request, &mut stop).unwrap_err();
        assert!(matches!(error, Error::Interrupted { .. }), "{error}");
        let saved = serde_json::to_string(&state).unwrap();
        let mut state: ImportanceState = serde_json::from_str(&saved).unwrap();
        state.run(&model, &corpus, &request, &mut ()).unwrap();
        let resumed = state.finish(&corpus).unwrap();
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
        let found = mask_heads(&model, &corpus, &options, None, &mut ()).unwrap();
        assert_eq!(found.direction, Direction::Lower);
        let base = &found.steps[0];
        let of = |step: &bertology::masking::Step| match name {
            None => step.loss,
            Some(name) => step.metrics.get(name).unwrap(),
        };
        assert!((found.bound - 1.001 * of(base)).abs() < 1e-12);
        assert!(
            found
                .steps
                .iter()
                .all(|step| step.passed == (of(step) <= found.bound))
        );
        // The result is what an evaluation under the mask finds.
        let mask: HeadMask = found.mask();
        let again = evaluate::evaluate(&model, &corpus, Some(&mask), 1, &mut ()).unwrap();
        assert!((again.loss - found.kept().loss).abs() < 1e-6);
    }
}

#[test]
fn what_does_not_fit_together_is_refused_with_the_way_out() {
    let fixture = bert();
    let model = fixture.model();
    let classifier = Fixture::new();
    let classifier = classifier.model();
    let lines = Source::lines(&fixture.write("text.txt", "w5 w6 w7\n"));
    let refused = |model: &LoadedModel, source: &Source, change: &dyn Fn(&mut CorpusOptions)| {
        let mut options = CorpusOptions::default();
        change(&mut options);
        Corpus::new(model, source.clone(), &options)
            .unwrap_err()
            .to_string()
    };
    let says = |message: String, parts: &[&str]| {
        for part in parts {
            assert!(message.contains(part), "no `{part}` in: {message}");
        }
    };
    let none = |_: &mut CorpusOptions| {};
    says(
        refused(&classifier, &lines, &none),
        &["no labels", "--objective mlm"],
    );
    let labelled = fixture.write("labelled.tsv", "text\tlabel\nw5\t0\n");
    let labelled = Source::table(&labelled, Columns::text("text").with_label("label")).unwrap();
    says(
        refused(&model, &labelled, &none),
        &["masked-LM head", "--text FILE"],
    );
    let labels = |options: &mut CorpusOptions| options.objective = Some(Objective::Labels);
    says(
        refused(&model, &labelled, &labels),
        &["masked-LM head", "classifier"],
    );
    let causal = |o: &mut CorpusOptions| o.objective = Some(Objective::CausalLm { bos: false });
    says(
        refused(&model, &lines, &causal),
        &["masked-LM head", "causal language modelling"],
    );
    let pairs = fixture.write("pairs.tsv", "a\tb\nw5\tw6\n");
    let pairs = Source::table(&pairs, Columns::text("a").with_pair("b")).unwrap();
    says(
        refused(&model, &pairs, &none),
        &["pairs.tsv, line 2", "--pair-column"],
    );
    let chance = |p: f64| {
        move |o: &mut CorpusOptions| {
            o.objective = Some(Objective::MaskedLm {
                masking: TokenMasking::Random {
                    probability: p,
                    seed: 0,
                },
            });
        }
    };
    for p in [0.0, -0.1, 1.5, f64::NAN] {
        says(
            refused(&model, &lines, &chance(p)),
            &["above 0 and at most 1"],
        );
    }
    let window = |o: &mut CorpusOptions| o.too_long = Some(TooLong::Window);
    says(
        refused(&classifier, &labelled, &window),
        &["a label belongs to a whole text"],
    );
    let stride = |stride| move |o: &mut CorpusOptions| o.stride = Some(stride);
    says(
        refused(&classifier, &labelled, &stride(3)),
        &["windows alone have a stride"],
    );
    says(
        refused(&model, &lines, &stride(0)),
        &["stride of 0", "1 to 22"],
    );
    says(
        refused(&model, &lines, &stride(23)),
        &["stride of 23", "1 to 22"],
    );
    let cut = |o: &mut CorpusOptions| {
        o.too_long = Some(TooLong::Cut);
        o.stride = Some(3);
    };
    says(
        refused(&model, &lines, &cut),
        &["windows alone have a stride"],
    );
    let short = |o: &mut CorpusOptions| o.max_length = Some(2);
    says(
        refused(&model, &lines, &short),
        &["leaves no token to predict"],
    );
    let ids = Source::token_ids(&fixture.write("ids.txt", "5 6\n7 60\n"));
    says(
        refused(&model, &ids, &none),
        &["ids.txt, line 2: the id 60 (value 2", "vocabulary of 60"],
    );
    let unknown = Source::lines(&fixture.write("unknown.txt", "zebra\nzebra zebra\n"));
    says(
        refused(&model, &unknown, &none),
        &["none of the documents (2)"],
    );
    let bare = LoadedModel::open(golden("bert-mlm")).unwrap();
    says(refused(&bare, &lines, &none), &["bert-mlm", "tokenizer"]);
    let strict = |o: &mut CorpusOptions| {
        o.too_long = Some(TooLong::Error);
        o.max_length = Some(5);
    };
    let long = fixture.write("long.tsv", "text\tlabel\nw5\t0\nw5 w6 w7 w8\t1\n");
    let long = Source::table(&long, Columns::text("text").with_label("label")).unwrap();
    says(
        refused(&classifier, &long, &strict),
        &["long.tsv, line 3: 6 tokens", "is 5"],
    );
}
