//! Models without the tokens that a corpus does not need.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bertology::checkpoint::{
    Checkpoint, Cut, Export, OpenOptions, TokenCut, WriteOptions, write_cut,
};
use bertology::drive::Work;
use bertology::paired::compare_each;
use bertology::verify::{Reference, VerifyOptions, verify};
use bertology::vocabulary::{Missing, Tally, Vocabulary, missing, tally, write};
use bertology::{
    Corpus, CorpusOptions, Error, LoadedModel, Source, Split, Task, VocabularyError, Watch,
};
use bertology_testkit::Tensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use tempfile::TempDir;

use super::fixture::golden;

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Tensors of f32 or i64, by name.
fn save(path: &Path, tensors: &[(String, Dtype, Vec<usize>, Vec<u8>)]) {
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        let view = TensorView::new(*dtype, shape.clone(), bytes).unwrap();
        (name.as_str(), view)
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    fs::write(path, bytes).unwrap();
}

/// What transformers computed for a golden model, said of its inputs under new ids and of the tokens that stay.
fn renumbered(tensors: &Tensors, rows: &[u32], vocab: usize, gpt: bool, to: &Path) {
    let place = |id: i64| rows.binary_search(&u32::try_from(id).unwrap());
    let mut all = Vec::new();
    for name in tensors.names() {
        let inputs = ["input_ids", "token_type_ids"].contains(&name.as_str());
        if inputs {
            let ids = tensors.whole::<i64>(&name).into_iter();
            let tokens = name == "input_ids" || gpt;
            let ids = ids.map(|id| {
                if tokens {
                    place(id).unwrap() as i64
                } else {
                    id
                }
            });
            let bytes = ids.flat_map(i64::to_le_bytes).collect();
            all.push((name.clone(), Dtype::I64, tensors.shape(&name), bytes));
        } else if name == "attention_mask" {
            let bytes = tensors.whole::<i64>(&name).into_iter();
            let bytes = bytes.flat_map(i64::to_le_bytes).collect();
            all.push((name.clone(), Dtype::I64, tensors.shape(&name), bytes));
        } else if name == "ones.logits" || name.starts_with("ones.hidden_states.") {
            let (mut shape, mut values) = (tensors.shape(&name), tensors.f32(&name));
            if name == "ones.logits" && shape.len() == 3 && shape[2] == vocab {
                let kept = values.chunks(vocab);
                values = kept
                    .flat_map(|all| rows.iter().map(|row| all[*row as usize]))
                    .collect();
                shape[2] = rows.len();
            }
            let bytes = values.into_iter().flat_map(f32::to_le_bytes).collect();
            all.push((name.clone(), Dtype::F32, shape, bytes));
        }
    }
    save(to, &all);
}

/// Hidden states, logits of tasks and of tokens that stay, in every family and with every head, against numbers of transformers.
#[test]
fn every_family_computes_what_transformers_computed_with_all_tokens() {
    let (mut seen, mut of_tokens) = (0, 0);
    for name in bertology_testkit::golden_folders("engine") {
        let folder = golden(&name);
        let Ok(checkpoint) = Checkpoint::open(&folder, &OpenOptions::new()) else {
            continue;
        };
        let tensors = Tensors::read(&folder.join("golden.safetensors"));
        if !tensors.has("input_ids") || !tensors.has("ones.hidden_states.0") {
            continue;
        }
        let vocab = checkpoint.architecture().vocab_size;
        let gpt = name.starts_with("gpt");
        let mut kept: BTreeSet<u32> = tensors.whole::<u32>("input_ids").into_iter().collect();
        if gpt && tensors.has("token_type_ids") {
            kept.extend(tensors.whole::<u32>("token_type_ids"));
        }
        kept.extend(checkpoint.named_tokens().unwrap());
        // Whatever else is there goes, but for the last; at least one token does.
        kept.insert(vocab as u32 - 1);
        let rows: Vec<u32> = kept.into_iter().collect();
        assert!(rows.len() < vocab, "{name}");
        let out = tempfile::tempdir().unwrap();
        let tokens = TokenCut {
            rows: rows.clone(),
            ..TokenCut::default()
        };
        let cut = Cut::default().tokens(tokens);
        let target = out.path().join("model");
        let report = write_cut(
            &checkpoint,
            &cut,
            &target,
            &WriteOptions::new(Export::Pruned),
        )
        .unwrap();
        assert_eq!(report.tokens, (vocab, rows.len()), "{name}");
        assert!(report.after.bytes < report.before.bytes, "{name}");
        assert_eq!(
            json_of(&target.join("config.json"))["vocab_size"],
            rows.len()
        );
        let reference = out.path().join("reference.safetensors");
        renumbered(&tensors, &rows, vocab, gpt, &reference);
        let model = LoadedModel::open(&target).unwrap();
        let options = VerifyOptions {
            prefixes: vec!["ones".into()],
            ..VerifyOptions::default()
        };
        let found = verify(
            model.model(),
            &Reference::open(&reference).unwrap(),
            &options,
        );
        let found = found.unwrap_or_else(|error| panic!("{name}: {error}"));
        let first = found.first_divergence().map(|first| first.name.clone());
        assert!(found.agrees() && first.is_none(), "{name}: {first:?}");
        if tensors.has("ones.logits") {
            of_tokens += usize::from(tensors.shape("ones.logits").last() == Some(&vocab));
        }
        seen += 1;
    }
    assert!(seen > 80 && of_tokens > 15, "{seen} {of_tokens}");
}

/// A golden model whose vocabulary is that of a tokenizer, `more` rows beyond it; its embeddings are made up.
fn dressed(engine: &str, tokenizer: &str, more: usize, settings: &Value) -> TempDir {
    let out = tempfile::tempdir().unwrap();
    let from = bertology_testkit::golden(tokenizer);
    for entry in fs::read_dir(&from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "cases.json" && entry.file_name() != "config.json" {
            fs::copy(entry.path(), out.path().join(entry.file_name())).unwrap();
        }
    }
    let mut config = json_of(&golden(engine).join("config.json"));
    let rows = {
        fs::write(out.path().join("config.json"), config.to_string()).unwrap();
        let tokenizer = bertology::Tokenizer::from_folder(out.path()).unwrap();
        config["pad_token_id"] = json!(tokenizer.pad_id());
        tokenizer.vocab_size() + more
    };
    let vocab = config["vocab_size"].as_u64().unwrap() as usize;
    config["vocab_size"] = json!(rows);
    for (key, value) in settings.as_object().unwrap() {
        config[key] = value.clone();
    }
    fs::write(out.path().join("config.json"), config.to_string()).unwrap();
    let tensors = Tensors::read(&golden(engine).join("model.safetensors"));
    let all: Vec<_> = tensors
        .names()
        .into_iter()
        .map(|name| {
            let mut shape = tensors.shape(&name);
            let mut values = tensors.f32(&name);
            if shape.first() == Some(&vocab) {
                let inner: usize = shape[1..].iter().product();
                shape[0] = rows;
                // The same for tensors that are tied.
                let made = (0..rows * inner).map(|at| ((at * 37 % 101) as f32 - 50.0) / 90.0);
                values = made.collect();
            }
            let bytes = values.into_iter().flat_map(f32::to_le_bytes).collect();
            (name, Dtype::F32, shape, bytes)
        })
        .collect();
    save(&out.path().join("model.safetensors"), &all);
    out
}

/// A text file of some cases of a tokenizer, and the lines.
fn corpus(tokenizer: &str, every: usize, folder: &Path) -> (PathBuf, Vec<String>) {
    let cases = json_of(&bertology_testkit::golden(tokenizer).join("cases.json"));
    let texts = cases.as_array().unwrap().iter();
    let lines: Vec<String> = texts
        .filter_map(|case| case["text"].as_str())
        .filter(|text| {
            !text.trim().is_empty() && text.len() < 60 && !text.contains(['\n', '\r', '\0'])
        })
        .map(str::to_owned)
        .step_by(every)
        .collect();
    let path = folder.join("corpus.txt");
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    (path, lines)
}

#[test]
fn models_with_tokenizers_of_every_kind_are_the_same_function_of_the_corpus() {
    let none = json!({});
    for (engine, tokenizer, settings) in [
        ("bert-mlm", "tokenizer/bert-uncased", &none),
        ("bert-pretraining", "tokenizer/bert-uncased-json", &none),
        (
            "bert-absolute",
            "tokenizer/bert-cased-json",
            &json!({"cls_token_id": 2, "eos_token_id": [3]}),
        ),
        ("distilbert-mlm", "tokenizer/bert-uncased-json", &none),
        ("electra-generator", "tokenizer/bert-uncased-json", &none),
        ("mpnet-mlm", "tokenizer/mpnet", &none),
        ("roberta-mlm", "tokenizer/roberta", &none),
        ("roberta-mlm", "tokenizer/roberta-json", &none),
        ("camembert-mlm", "tokenizer/camembert", &none),
        ("xlm-roberta", "tokenizer/xlm-roberta", &none),
        ("albert-mlm", "tokenizer/albert", &none),
        ("deberta-mlm", "sentencepiece/deberta", &none),
        ("deberta-renamed-mlm", "sentencepiece/deberta-json", &none),
        ("modernbert-mlm", "tokenizer/bert-cased-json", &none),
        ("nomic-mlm", "tokenizer/bert-uncased-json", &none),
        ("gpt-lm", "tokenizer/gpt", &none),
        ("gpt2-lm", "tokenizer/gpt2", &none),
        ("gpt2-untied", "tokenizer/gpt2-json", &none),
    ] {
        let what = format!("{engine} with {tokenizer}");
        let folder = dressed(engine, tokenizer, 3, settings);
        let whole = LoadedModel::open(folder.path()).unwrap_or_else(|e| panic!("{what}: {e}"));
        let (path, lines) = corpus(tokenizer, 4, folder.path());
        let sources = [Source::lines(&path)];
        let seen = tally(&whole, &sources, &mut ()).unwrap();
        assert_eq!(seen.texts, lines.len() as u64, "{what}");
        let vocabulary = Vocabulary::of(&whole, &seen).unwrap();
        let (rows, left) = vocabulary.rows();
        assert_eq!(rows, vocabulary.tokens().0 + 3, "{what}");
        assert!(left < rows, "{what}");
        let out = tempfile::tempdir().unwrap();
        let target = out.path().join("model");
        let options = WriteOptions::new(Export::Pruned);
        let written = write(&whole, &vocabulary, &sources, &target, &options, &mut ());
        let written = written.unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(written.texts, lines.len() as u64, "{what}");
        assert!(written.compared > 3, "{what}");
        let smaller = LoadedModel::open(&target).unwrap();
        assert_eq!(smaller.architecture().vocab_size, left, "{what}");
        let (old, new) = (whole.tokenizer().unwrap(), smaller.tokenizer().unwrap());
        for line in &lines {
            let pieces = |of: &bertology::Tokenizer| -> Vec<String> {
                let ids = of.encode(line, None, None).unwrap().ids.into_iter();
                ids.map(|id| of.id_to_token(id).unwrap()).collect()
            };
            assert_eq!(pieces(new), pieces(old), "{what}: {line:?}");
        }
        let states = |of: &LoadedModel| {
            let most = whole.architecture().max_tokens();
            let texts = lines.iter().map(String::as_str);
            let texts = texts.filter(|text| old.encode(text, None, None).unwrap().len() <= most);
            let texts: Vec<&str> = texts.take(3).collect();
            assert!(!texts.is_empty(), "{what}");
            format!("{:?}", of.hidden_states(&texts).unwrap())
        };
        assert_eq!(states(&smaller), states(&whole), "{what}");
        // Ids in the config are those of the tokenizer.
        let config = json_of(&target.join("config.json"));
        assert_eq!(config["pad_token_id"], json!(new.pad_id()), "{what}");
        if settings.get("cls_token_id").is_some() {
            assert_eq!(config["cls_token_id"], json!(new.cls_id()));
            assert_eq!(config["eos_token_id"], json!([new.sep_id()]));
        }
        assert!(!target.join("spm.model").exists(), "{what}");
        // Of the corpus nothing is missing; of other texts something is.
        let count = |path: &Path| {
            missing(&whole, &smaller, &vocabulary, &Source::lines(path), &mut ()).unwrap()
        };
        let own = count(&path);
        assert_eq!((own.gone, own.changed), (0, 0), "{what}");
        assert_eq!((own.tokens, own.tokens_now), (seen.tokens, seen.tokens));
        assert_eq!(own.unknown, own.unknown_now, "{what}");
        let (all, _) = corpus(tokenizer, 1, folder.path());
        let all = count(&all);
        assert!(
            all.gone > 0 && all.changed > 0 && all.tokens_now >= all.tokens,
            "{what}: {all:?}"
        );
    }
}

fn tiny() -> LoadedModel {
    super::fixture::embedded("tiny-bert")
}

fn lines(folder: &TempDir, name: &str, text: &str) -> Source {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    Source::lines(&path)
}

/// What is opened again is compared to the last bit, on the device of the whole model.
#[cfg(feature = "gpu")]
#[test]
fn the_smaller_model_is_where_the_whole_one_is() {
    let model = tiny().on(&bertology::Device::Host).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let corpus = [lines(&folder, "a.txt", "the woman faints .\n")];
    let seen = tally(&model, &corpus, &mut ()).unwrap();
    let vocabulary = Vocabulary::of(&model, &seen).unwrap();
    let (out, options) = (folder.path().join("out"), WriteOptions::new(Export::Pruned));
    let written = write(&model, &vocabulary, &corpus, &out, &options, &mut ()).unwrap();
    assert_eq!(written.model.device().kind, "host");
}

#[test]
fn what_differs_is_an_error_and_leaves_nothing() {
    let (model, folder) = (tiny(), tempfile::tempdir().unwrap());
    let corpus = lines(&folder, "a.txt", "the woman faints .\n");
    let other = lines(
        &folder,
        "b.txt",
        "the woman faints .\nmany dogs annoy the guest .\n",
    );
    let seen = tally(&model, &[corpus], &mut ()).unwrap();
    let vocabulary = Vocabulary::of(&model, &seen).unwrap();
    let out = folder.path().join("out");
    let options = WriteOptions::new(Export::Pruned);
    let error = write(&model, &vocabulary, &[other], &out, &options, &mut ()).unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Vocabulary(VocabularyError::OtherPieces { line: 2, .. })
        ),
        "{error}"
    );
    assert!(!out.exists());
    // The files of others stay.
    fs::create_dir(&out).unwrap();
    fs::write(out.join("mine"), "x").unwrap();
    let other = lines(&folder, "b.txt", "many dogs annoy the guest .\n");
    let options = options.overwrite(true);
    write(&model, &vocabulary, &[other], &out, &options, &mut ()).unwrap_err();
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
}

#[test]
fn what_cannot_be_trimmed_is_said() {
    let (model, folder) = (tiny(), tempfile::tempdir().unwrap());
    let says = |source: Source, says: &str| {
        let error = tally(&model, &[source], &mut ()).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    };
    says(lines(&folder, "empty.txt", "\n\n"), "is empty");
    fs::write(folder.path().join("ids.txt"), "1 2 3\n").unwrap();
    says(
        Source::token_ids(&folder.path().join("ids.txt")),
        "ready token ids",
    );
    // All of its words at once: nothing can go.
    let vocab = fs::read_to_string(super::fixture::assets().join("tiny-bert/vocab.txt")).unwrap();
    let whole: Vec<&str> = vocab.lines().filter(|token| !token.contains('#')).collect();
    let pieces: Vec<String> = vocab
        .lines()
        .filter_map(|token| Some(format!("a{}", token.strip_prefix("##")?)))
        .collect();
    let text = format!("{} {}\n", whole.join(" "), pieces.join(" "));
    let seen = tally(&model, &[lines(&folder, "all.txt", &text)], &mut ()).unwrap();
    match Vocabulary::of(&model, &seen) {
        Err(error) => assert!(
            error.to_string().contains("481 tokens are needed"),
            "{error}"
        ),
        Ok(left) => assert!(left.rows().1 > 450, "{:?}", left.rows()),
    }
    struct Impatient;
    impl Watch for Impatient {
        fn advance(&mut self, _done: u64, _total: u64) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    let source = lines(&folder, "b.txt", "the woman faints .\n");
    let error = tally(&model, &[source], &mut Impatient).unwrap_err();
    assert!(matches!(error, Error::Interrupted { .. }), "{error}");
    assert_eq!(Missing::default().gone, Tally::default().tokens);
}

/// Two models read the same examples as tokens of their own.
#[test]
fn models_of_two_vocabularies_are_compared_example_by_example() {
    let (whole, folder) = (tiny(), tempfile::tempdir().unwrap());
    let grammar = super::fixture::assets().join("grammar");
    let source = Source::glue(&grammar, Task::Cola, Split::Dev).unwrap();
    let source = source.with_limit(Some(40));
    let trimmed = |whole: &LoadedModel, source: Source, to: &str| {
        let sources = [source];
        let seen = tally(whole, &sources, &mut ()).unwrap();
        let vocabulary = Vocabulary::of(whole, &seen).unwrap();
        let options = WriteOptions::new(Export::Pruned);
        let to = folder.path().join(to);
        write(whole, &vocabulary, &sources, &to, &options, &mut ())
            .unwrap()
            .model
    };
    let corpus = |model: &LoadedModel, source: &Source| {
        Corpus::new(model, source.clone(), &CorpusOptions::default()).unwrap()
    };
    let compared = |whole: &LoadedModel, smaller: &LoadedModel, source: &Source| {
        let (old, new) = (corpus(whole, source), corpus(smaller, source));
        let sides = [(whole, &old), (smaller, &new)];
        compare_each(sides, &Work::default(), &mut ()).unwrap()
    };
    // Of the corpus nothing changes.
    let smaller = trimmed(&whole, source.clone(), "own");
    let found = compared(&whole, &smaller, &source);
    assert_eq!(found.before, found.after);
    assert_eq!(
        (
            found.loss_change,
            found.paired.loss_standard_error,
            found.paired.changed
        ),
        (0.0, 0.0, 0)
    );
    // Of other texts it does, and labels are one an example all the same.
    let poor = trimmed(
        &whole,
        lines(&folder, "a.txt", "the woman faints .\n"),
        "poor",
    );
    let found = compared(&whole, &poor, &source);
    assert!(found.loss_change != 0.0 && found.paired.loss_standard_error > 0.0);
    // A language model is asked for more tokens then, and no two examples are a pair.
    let whole = super::fixture::embedded("tiny-gpt2");
    let text = fs::read_to_string(grammar.join("dev.txt")).unwrap();
    let text: Vec<&str> = text.lines().take(12).collect();
    let text = lines(&folder, "b.txt", &(text.join("\n") + "\n"));
    let poor = trimmed(&whole, lines(&folder, "c.txt", "the woman\n"), "causal");
    let found = compared(&whole, &poor, &text);
    assert!(found.paired.loss_standard_error.is_nan());
    assert_eq!(found.loss_change, found.after.loss - found.before.loss);
}
