//! What is written for a corpus: the library's own values, transformers' values, and the same bytes
//! whatever happens on the way.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bertology::drive::{Progress, Work, drive};
use bertology::extract::{
    ExtractOptions, Extraction, Float, Format, GradientOf, Heads, Layers, Pool, Request, Summary,
    Texts,
};
use bertology::model::LayerSite;
use bertology::model::taps::Captured;
use bertology::watch::{Purpose, Savable};
use bertology::{Error, HeadId, HeadSet, LoadedModel, Source, Target, Watch};
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors};
use serde_json::Value;
use tempfile::TempDir;

use super::fixture::{Fixture, assets, embedded, golden, rows, spread, stop_after};

/// The same list as in `tools/golden/make_extract_golden.py`.
const TEXTS: [&str; 3] = [
    "The woman faints.",
    "Unbelievable crocodiles naïvely admired the horses!",
    "the goat",
];

/// Arrays of numbers, whatever their type on disk.
pub(crate) type Arrays = BTreeMap<String, (Vec<usize>, Vec<f64>)>;

fn decode(kind: &str, bytes: &[u8]) -> Vec<f64> {
    match kind {
        "F32" => each(bytes, |b| f64::from(f32::from_le_bytes(b))),
        "F16" => each(bytes, |b| f16::from_le_bytes(b).to_f64()),
        "BF16" => each(bytes, |b| bf16::from_le_bytes(b).to_f64()),
        "F64" => each(bytes, f64::from_le_bytes),
        "I32" => each(bytes, |b| f64::from(i32::from_le_bytes(b))),
        "I64" => each(bytes, |b| i64::from_le_bytes(b) as f64),
        other => panic!("{other}"),
    }
}

fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|chunk| number(*chunk))
        .collect()
}

pub(crate) fn safetensors(path: &Path) -> Arrays {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let kind = |dtype| match dtype {
        Dtype::F32 => "F32",
        Dtype::F16 => "F16",
        Dtype::BF16 => "BF16",
        Dtype::F64 => "F64",
        Dtype::I32 => "I32",
        Dtype::I64 => "I64",
        other => panic!("{other:?}"),
    };
    file.iter()
        .map(|(name, view)| {
            let values = decode(kind(view.dtype()), view.data());
            (name.to_owned(), (view.shape().to_vec(), values))
        })
        .collect()
}

fn npz(path: &Path) -> Arrays {
    let mut archive = zip::ZipArchive::new(fs::File::open(path).unwrap()).unwrap();
    (0..archive.len())
        .map(|at| {
            let mut entry = archive.by_index(at).unwrap();
            let name = entry
                .name()
                .unwrap()
                .strip_suffix(".npy")
                .unwrap()
                .to_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            let file = npyz::NpyFile::new(&bytes[..]).unwrap();
            let shape = file.shape().iter().map(|n| *n as usize).collect::<Vec<_>>();
            let descr = file.dtype().descr();
            let kind = match descr.trim_matches('\'') {
                "<f4" => "F32",
                "<f2" => "F16",
                "<f8" => "F64",
                "<i4" => "I32",
                "<i8" => "I64",
                other => panic!("{other}"),
            };
            let numbers: usize = shape.iter().product();
            let size = match kind {
                "F16" => 2,
                "F32" | "I32" => 4,
                _ => 8,
            };
            let values = decode(kind, &bytes[bytes.len() - numbers * size..]);
            (name, (shape, values))
        })
        .collect()
}

/// One array without its shape.
pub(crate) fn values<'a>(arrays: &'a Arrays, name: &str) -> &'a [f64] {
    match arrays.get(name) {
        Some((_, values)) => values,
        None => panic!("no {name} among {:?}", arrays.keys()),
    }
}

pub(crate) fn assert_near(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1e-3_f64, |max, v| max.max(v.abs()));
    for (at, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * scale, "{what}[{at}]: {a} {b}");
    }
}

pub(crate) fn planned(
    model: &LoadedModel,
    texts: Texts,
    request: &Request,
    options: ExtractOptions,
) -> Extraction {
    let work = Work::default();
    Extraction::new(model, texts, request, options, &work, &mut ()).unwrap()
}

/// Writes to a folder of its own.
pub(crate) fn written(extraction: &Extraction) -> (TempDir, Summary) {
    written_by(extraction, &Work::default())
}

fn written_by(extraction: &Extraction, work: &Work) -> (TempDir, Summary) {
    let folder = tempfile::tempdir().unwrap();
    let summary = extraction.write(folder.path(), work, &mut ()).unwrap();
    (folder, summary)
}

pub(crate) fn shard(folder: &TempDir, number: usize) -> PathBuf {
    folder.path().join(format!("shard-{number:05}.safetensors"))
}

pub(crate) fn options(edit: impl FnOnce(&mut ExtractOptions)) -> ExtractOptions {
    let mut options = ExtractOptions::default();
    edit(&mut options);
    options
}

fn everything() -> Request {
    let all = Heads::all;
    Request::new()
        .hidden_states(Layers::All)
        .attentions(all())
        .head_outputs(all())
        .head_contributions(all())
        .per_head(LayerSite::AttentionScores, all())
        .per_head(LayerSite::Query, all())
        .per_head(LayerSite::Key, all())
        .per_head(LayerSite::Value, all())
        .logits()
}

/// Agreement with another implementation in float32: sums of a few hundred terms in another order.
const PARITY: f64 = 2e-5;

#[test]
fn values_are_those_of_transformers() {
    let expected = safetensors(&bertology_testkit::golden("studies/extract.safetensors"));
    let model = embedded("tiny-bert");
    let heads = || Heads::these(HeadSet::from_iter([(2, 0), (3, 1)]));
    let request = Request::new()
        .hidden_states(Layers::parse("0,2,4").unwrap())
        .attentions(heads())
        .head_outputs(heads())
        .logits()
        .gradients(GradientOf::Class(1));
    let extraction = planned(
        &model,
        Texts::given(TEXTS),
        &request,
        ExtractOptions::default(),
    );
    let (folder, _) = written(&extraction);
    let found = safetensors(&shard(&folder, 0));
    let mut compared = 0;
    for (name, (shape, expected)) in &expected {
        let Some((found_shape, found)) = found.get(name) else {
            assert!(name.starts_with("pooled."), "{name}");
            continue;
        };
        assert_eq!(shape, found_shape, "{name}");
        assert_near(name, found, expected, PARITY);
        compared += 1;
    }
    assert_eq!(compared, 19);
    // No gradients of head outputs are in the golden file; all others must be.
    let extra: Vec<_> = found
        .keys()
        .filter(|name| !expected.contains_key(*name))
        .collect();
    assert!(
        extra
            .iter()
            .any(|name| *name == "gradients.head_outputs.2.0"),
        "{extra:?}"
    );

    for pool in [Pool::First, Pool::Last, Pool::Mean] {
        let request = Request::new().hidden_states(Layers::parse("4").unwrap());
        let options = options(|o| o.pool = pool);
        let extraction = planned(&model, Texts::given(TEXTS), &request, options);
        // [CLS] and [SEP] of three texts.
        assert_eq!(extraction.counts().tokens_without_word, 6);
        let (folder, _) = written(&extraction);
        let found = safetensors(&shard(&folder, 0));
        let name = format!("pooled.{pool}");
        assert_eq!(found["hidden_states.4"].0, expected[&name].0);
        let (found_values, expected) =
            (values(&found, "hidden_states.4"), values(&expected, &name));
        assert_near(&name, found_values, expected, PARITY);
        assert_eq!(values(&found, "word_offsets"), [0.0, 4.0, 11.0, 13.0]);
        let spans = values(&found, "words.char_end")[4..11].to_vec();
        assert_eq!(spans, [12.0, 23.0, 31.0, 39.0, 43.0, 50.0, 51.0]);
        assert_eq!(values(&found, "words.num_tokens")[4..7], [12.0, 9.0, 7.0]);
    }
}

/// One sequence a batch, as [`LoadedModel`] runs them: not even the last bit may differ.
#[test]
fn values_are_those_of_the_library() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let texts: Vec<String> = rows(7).into_iter().map(|(text, _)| text).collect();
    let targets = vec![Target::Label(2); 7];
    let request = everything().gradients(GradientOf::Class(2));
    let options = options(|o| o.shard_size = 4);
    let extraction = planned(&model, Texts::given(&texts), &request, options);
    let (folder, summary) = written_by(&extraction, &spread(0, 1));
    assert_eq!(
        summary
            .shards
            .iter()
            .map(|s| s.examples)
            .collect::<Vec<_>>(),
        [4, 3]
    );
    let shards = [0, 1].map(|number| safetensors(&shard(&folder, number)));

    let states = model.hidden_states(&texts).unwrap();
    let gradients = model.hidden_state_gradients(&texts, &targets).unwrap();
    let attentions = model.attentions(&texts).unwrap();
    let attention_gradients = model.attention_gradients(&texts, &targets).unwrap();
    let outputs = model.head_outputs(&texts).unwrap();
    let output_gradients = model.head_output_gradients(&texts, &targets).unwrap();
    let logits = model.logits(&texts).unwrap();
    for text in 0..7 {
        let (arrays, at) = (&shards[text / 4], text % 4);
        let range = |name: &str| {
            let offsets = values(arrays, name);
            offsets[at] as usize..offsets[at + 1] as usize
        };
        let (tokens, pairs) = (range("offsets"), range("attention_offsets"));
        let same = |name: String, expected: &Captured<f32>| {
            let all = values(arrays, &name);
            let range = if name.contains("attention") {
                pairs.clone()
            } else {
                tokens.start * expected.cols..tokens.end * expected.cols
            };
            let expected: Vec<f64> = expected.data.iter().map(|v| f64::from(*v)).collect();
            assert!(all[range] == expected, "{name} of text {text}");
        };
        for layer in 0..=3 {
            same(format!("hidden_states.{layer}"), &states[text][layer]);
            same(
                format!("gradients.hidden_states.{layer}"),
                &gradients[text][layer],
            );
        }
        for id in model.model().heads() {
            let HeadId { layer, head } = id;
            for (name, values) in [
                ("attentions", &attentions),
                ("gradients.attentions", &attention_gradients),
                ("head_outputs", &outputs),
                ("gradients.head_outputs", &output_gradients),
            ] {
                same(format!("{name}.{layer}.{head}"), &values[text][id]);
            }
        }
        let logits: Vec<f64> = logits[text].iter().map(|v| f64::from(*v)).collect();
        // Nobody reads most positions of the last layer where only logits are wanted: products of
        // another height, rounded in another order.
        for (found, expected) in values(arrays, "logits")[at * 3..at * 3 + 3]
            .iter()
            .zip(&logits)
        {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
        assert_eq!(values(arrays, "examples")[at], text as f64);
        assert_eq!(values(arrays, "lines")[at], text as f64 + 1.0);
        let loss = -logits[2] + logits.iter().map(|z| z.exp()).sum::<f64>().ln();
        assert!((values(arrays, "loss")[at] - loss).abs() < 1e-6);
        // What the head adds is its output through the projection; softmax of scores is attention.
        let scores = &values(arrays, "attention_scores.1.2")[pairs.clone()];
        let probs = &values(arrays, "attentions.1.2")[pairs.clone()];
        let n = tokens.len();
        for (scores, probs) in scores.chunks(n).zip(probs.chunks(n)) {
            let sum: f64 = scores.iter().map(|s| s.exp()).sum();
            let softmax: Vec<f64> = scores.iter().map(|s| s.exp() / sum).collect();
            assert_near("softmax", &softmax, probs, 1e-5);
        }
    }
}

#[test]
fn every_format_and_type_holds_the_same_numbers() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let texts: Vec<String> = rows(30).into_iter().map(|(text, _)| text).collect();
    let request = everything().gradients(GradientOf::Class(0));
    let arrays = |format: Format, float: Float| {
        let options = options(|o| (o.format, o.float) = (format, float));
        let extraction = planned(&model, Texts::given(&texts), &request, options);
        let (folder, summary) = written(&extraction);
        let path = folder
            .path()
            .join(format!("shard-00000.{}", format.extension()));
        assert_eq!(summary.bytes, fs::metadata(&path).unwrap().len());
        let estimate = extraction.bytes(0..extraction.num_shards());
        match format {
            Format::Npz => {
                assert!((summary.bytes..summary.bytes * 51 / 50).contains(&estimate));
                npz(&path)
            }
            _ => {
                assert_eq!(summary.bytes, estimate);
                safetensors(&path)
            }
        }
    };
    let whole = arrays(Format::Safetensors, Float::F32);
    assert!(arrays(Format::Npz, Float::F32) == whole);
    let half = arrays(Format::Safetensors, Float::F16);
    let brain = arrays(Format::Safetensors, Float::Bf16);
    assert!(arrays(Format::Npz, Float::F16) == half);
    for (name, (_, whole)) in &whole {
        let rounded =
            |round: fn(f32) -> f64| whole.iter().map(|v| round(*v as f32)).collect::<Vec<_>>();
        if name.contains(".") || name == "logits" {
            assert!(
                values(&half, name) == rounded(|v| f16::from_f32(v).to_f64()),
                "{name}"
            );
            assert!(
                values(&brain, name) == rounded(|v| bf16::from_f32(v).to_f64()),
                "{name}"
            );
        } else {
            assert!(
                values(&half, name) == whole && values(&brain, name) == whole,
                "{name}"
            );
        }
    }
    for format in [Format::Npz, Format::Parquet] {
        let options = options(|o| (o.format, o.float) = (format, Float::Bf16));
        let texts = Texts::given(&texts);
        let work = Work::default();
        let error = Extraction::new(&model, texts, &request, options, &work, &mut ());
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("bfloat16") && error.contains("float16"),
            "{error}"
        );
    }
}

/// Stops as soon as an example beyond `0` is done: in the middle of a shard.
struct StopPast(u64);

impl Watch for StopPast {
    fn advance(&mut self, done: u64, total: u64) -> ControlFlow<()> {
        if done > self.0 && done < total {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// Where a run began.
struct FirstOf(Option<u64>);

impl Watch for FirstOf {
    fn begin(&mut self, _: Purpose, done: u64, _: u64) {
        self.0 = Some(done);
    }
}

/// Bytes by path, from a folder and those in it.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = PathBuf::from(entry.file_name());
        if entry.path().is_dir() {
            let below = contents(&entry.path()).into_iter();
            found.extend(below.map(|(path, bytes)| (name.join(path), bytes)));
        } else {
            found.insert(name, fs::read(entry.path()).unwrap());
        }
    }
    found
}

fn same_contents(a: &Path, b: &Path) {
    let (a, b) = (contents(a), contents(b));
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (name, bytes) in &a {
        assert!(*bytes == b[name], "{}", name.display());
    }
}

#[test]
fn interruptions_and_threads_change_no_byte() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let texts: Vec<String> = rows(50).into_iter().map(|(text, _)| text).collect();
    let request = everything().gradients(GradientOf::Class(0));
    // A process that was killed may have finished its shard without saving that it did: the file is gone.
    let cases = [Format::Safetensors, Format::Npz, Format::Parquet];
    for (format, gone) in cases
        .map(|format| [(format, false), (format, true)])
        .as_flattened()
    {
        let (format, gone) = (*format, *gone);
        let options = options(|o| (o.format, o.shard_size) = (format, 12));
        let plan = planned(&model, Texts::given(&texts), &request, options);
        let (whole, summary) = written_by(&plan, &spread(1, 40));
        assert_eq!(summary.shards.len(), 5);
        // The shard that is not full is one of those to come.
        for (first, shards) in [(24, 2..5), (27, 2..5), (49, 4..5), (50, 5..5)] {
            assert_eq!(plan.shards_of(first, 50), shards);
        }
        let (threaded, _) = written_by(&plan, &spread(3, 40));
        same_contents(whole.path(), threaded.path());

        let resumed = tempfile::tempdir().unwrap();
        let go_on = |saved: Option<Value>, threads, watch: &mut dyn Watch| {
            let mut progress = Progress::new(plan.study(resumed.path()));
            if let Some(saved) = saved {
                progress = progress.resume(saved).unwrap();
            }
            let ended = drive(&model, &plan, &mut progress, &spread(threads, 40), watch);
            (ended, progress)
        };
        let (stopped, mut progress) = go_on(None, 3, &mut stop_after(24));
        assert!(matches!(
            stopped,
            Err(Error::Interrupted {
                done: 24,
                total: 50
            })
        ));
        let saved = progress.save().unwrap();
        let (stopped, mut progress) = go_on(Some(saved), 2, &mut StopPast(26));
        assert!(matches!(stopped, Err(Error::Interrupted { done, total: 50 }) if done < 36));
        assert_eq!(progress.study().shards(), 2);
        let saved = progress.save().unwrap();
        let next = saved["next"].as_u64().unwrap();
        assert!((27..36).contains(&next), "{next}");
        drop(progress);
        // A shard that cannot have been filled so far; one that is not there is begun again.
        for (place, value) in [
            ("/open/half/sizes/tokens", 1_u64 << 40),
            ("/open/half/sizes/examples", 0),
            ("/open/half/filled/0", 1),
            ("/open/half/shard", 9),
            ("/total/bytes", 1),
        ] {
            let mut saved = saved.clone();
            *saved.pointer_mut(place).unwrap() = value.into();
            let resumed = Progress::new(plan.study(resumed.path())).resume(saved);
            let refused = resumed.and_then(|mut progress| {
                drive(&model, &plan, &mut progress, &spread(1, 40), &mut ())
            });
            let refused = refused.expect_err(place);
            assert!(
                matches!(refused, Error::StateImpossible { .. }),
                "{place}: {refused}"
            );
        }
        let left = contents(resumed.path());
        assert!(left.keys().all(|name| !name.ends_with("index.json")));
        let number = |name: &PathBuf| name.to_str().unwrap().contains("shard-0000");
        assert!(left.keys().all(number), "{:?}", left.keys());
        let half = resumed.path().join("shard-00002.half");
        assert!(half.exists());
        if gone {
            fs::remove_file(&half).unwrap();
        }
        let mut first = FirstOf(None);
        let (ended, progress) = go_on(Some(saved), 2, &mut first);
        ended.unwrap();
        assert_eq!(first.0, Some(if gone { 24 } else { next }));
        assert!(!half.exists());
        let summary = plan.finish(resumed.path(), progress.study()).unwrap();
        assert_eq!(summary.shards.len(), 5);
        same_contents(whole.path(), resumed.path());

        let lost = contents(resumed.path()).into_keys().next().unwrap();
        let name = if format == Format::Parquet {
            lost
        } else {
            PathBuf::from(format!("shard-00000.{}", format.extension()))
        };
        fs::remove_file(resumed.path().join(&name)).unwrap();
        let error = plan.check_shards(resumed.path(), 0..2).unwrap_err();
        assert!(error.to_string().contains("is missing"), "{error}");
        let error = plan.finish(resumed.path(), progress.study());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("is missing"), "{error}");
    }
}

/// Language models: the loss is that of the logits in the same shard.
#[test]
fn losses_of_language_models_follow_from_their_logits() {
    for (folder, objective) in [
        (assets().join("tiny-gpt2"), GradientOf::NextTokens),
        (golden("bert-mlm"), GradientOf::Tokens),
    ] {
        let model = LoadedModel::open(&folder).unwrap();
        let vocabulary = model.architecture().vocab_size;
        let ids = tempfile::tempdir().unwrap();
        let path = ids.path().join("ids.txt");
        fs::write(&path, "7 8 9 10 11 12\n13 14 15\n9\n").unwrap();
        let request = Request::new().logits().gradients(objective);
        let extraction = planned(
            &model,
            Source::token_ids(&path).into(),
            &request,
            ExtractOptions::default(),
        );
        let (out, _) = written(&extraction);
        let arrays = safetensors(&shard(&out, 0));
        assert_eq!(arrays["token_logits"].0, [10, vocabulary]);
        let ids = values(&arrays, "input_ids");
        let logits: Vec<&[f64]> = values(&arrays, "token_logits").chunks(vocabulary).collect();
        let gradients: Vec<&[f64]> = values(&arrays, "gradients.token_logits")
            .chunks(vocabulary)
            .collect();
        let next = usize::from(objective == GradientOf::NextTokens);
        for (text, range) in [0..6, 6..9, 9..10].into_iter().enumerate() {
            let places: Vec<usize> = (range.start..range.end - next).collect();
            assert_eq!(values(&arrays, "num_targets")[text], places.len() as f64);
            let loss = values(&arrays, "loss")[text];
            if places.is_empty() {
                assert!(loss.is_nan());
                continue;
            }
            let mut sum = 0.0;
            for at in &places {
                let row = logits[*at];
                let target = ids[at + next] as usize;
                let normalizer = row.iter().map(|z| z.exp()).sum::<f64>().ln();
                sum += normalizer - row[target];
                let slope = ((row[target] - normalizer).exp() - 1.0) / places.len() as f64;
                assert!((gradients[*at][target] - slope).abs() < 1e-5);
            }
            let expected = sum / places.len() as f64;
            assert!((loss - expected).abs() < 1e-5, "{loss} {expected}");
        }
    }
}
