//! States on disk are what the model gives, whatever happens on the way.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bertology::checkpoint::Parameter;
use bertology::data::edge::{Records, Vocabulary};
use bertology::drive::Work;
use bertology::input::spans::{LongRecords, SpanAligner, SpanOptions};
use bertology::{LoadedModel, Watch, watch};

use super::*;
use crate::{Error, Precision};

fn model(name: &str) -> LoadedModel {
    LoadedModel::open(bertology_testkit::workspace().join("assets").join(name)).unwrap()
}

/// Words of which the built-in models have most as one token.
const TEXT: &str = r#"{"text":"the women admire the horses","targets":[{"span1":[0,2],"span2":[4,5],"label":"a"},{"span1":[2,3],"span2":[0,1],"label":["b","c"]}]}
{"text":"the horses faint","targets":[{"span1":[1,2],"span2":[1,3],"label":"z"}]}
{"text":"the women admire the horses","targets":[{"span1":[3,4],"span2":[4,5],"label":[]}]}
"#;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn records(&self, name: &str, text: &str) -> Records {
        fs::write(self.at(name), text).unwrap();
        Records::new(&self.at(name))
    }

    /// Every word of many sentences, all different.
    fn many(&self, name: &str, sentences: usize) -> Records {
        let words = [
            "the", "women", "admire", "horses", "faint", "a", "girl", "and",
        ];
        let line = |at: usize| {
            let of = |place: u32| words[(at / 8_usize.pow(place)) % 8];
            let text: Vec<&str> = (0..5).map(of).collect();
            let targets: Vec<String> = (0..5)
                .map(|word| format!("{{\"span1\":[{word},{}],\"label\":\"x\"}}", word + 1))
                .collect();
            format!(
                "{{\"text\":\"{}\",\"targets\":[{}]}}\n",
                text.join(" "),
                targets.join(",")
            )
        };
        let text: String = (0..sentences).map(line).collect();
        self.records(name, &text)
    }
}

fn gathering(model: &LoadedModel) -> Gathering {
    Gathering::new(SpanAligner::new(model, &SpanOptions::default()).unwrap())
}

fn gather(model: &LoadedModel, records: &Records) -> (Pieces, Gathered) {
    let mut all = gathering(model);
    let found = all.read(records, &Work::threads(1), &mut ()).unwrap();
    (all.finish().unwrap(), found)
}

fn extract(
    folder: &Path,
    model: &LoadedModel,
    pieces: &Pieces,
    options: &StateOptions,
) -> Result<StateStore, Error> {
    StateStore::extract(folder, model, pieces, options, &Work::threads(2), &mut ())
}

fn all_states(store: &StateStore) -> Vec<f32> {
    let pieces: Vec<u32> = (0..store.pieces() as u32).collect();
    let mut out = vec![0.0; pieces.len() * store.layers() * store.hidden()];
    store.gather(&pieces, &mut out).unwrap();
    out
}

fn single() -> StateOptions {
    StateOptions {
        precision: Precision::F32,
        ..StateOptions::default()
    }
}

#[test]
fn targets_point_at_the_states_of_their_tokens() {
    let place = Place::new();
    let records = place.records("a.jsonl", TEXT);
    for name in ["tiny-bert", "tiny-gpt", "tiny-gpt2"] {
        let model = model(name);
        let (pieces, found) = gather(&model, &records);
        assert_eq!(
            (pieces.sequences(), found.targets()),
            (2, 4),
            "one text comes twice"
        );
        let options = StateOptions {
            last_layer: LastLayer::AfterNorm,
            ..single()
        };
        let store = extract(&place.at(name), &model, &pieces, &options).unwrap();
        // All words of the first text; of the second `the` is in no span.
        let ids = |at: usize| -> Vec<u32> {
            let all = pieces.ids(at);
            pieces.positions(at).map(|position| all[position]).collect()
        };
        assert_eq!(store.pieces(), ids(0).len() + ids(1).len());
        let vocabulary = Vocabulary::new(["a", "b", "c"]);
        let split = pieces.split(&found, &vocabulary).unwrap();
        split.check(&store).unwrap();
        assert_eq!(
            (split.sentences(), split.targets(), split.roles()),
            (3, 4, 2)
        );
        assert_eq!(
            (split.get(1).labels, split.get(1).unknown),
            (&[1, 2][..], 0)
        );
        assert_eq!((split.get(2).labels, split.get(2).unknown), (&[][..], 1));
        assert_eq!(
            split.get(0).spans[1],
            split.get(3).spans[1],
            "the same words"
        );
        // Held against the library's own way to the same states.
        let (layers, hidden) = (store.layers(), store.hidden());
        for (target, text, tokens) in [
            (0, 0, found_tokens(&pieces, &found, 0)),
            (2, 1, found_tokens(&pieces, &found, 2)),
        ] {
            let inputs = [bertology::Sequence::new(pieces.ids(text).to_vec())];
            let whole = model.hidden_states(&inputs).unwrap().remove(0);
            let span = split.get(target).spans[0];
            let mut out = vec![0.0; tokens.len() * layers * hidden];
            let stored: Vec<u32> = (span[0]..span[1]).collect();
            assert_eq!(stored.len(), tokens.len());
            store.gather(&stored, &mut out).unwrap();
            for (piece, token) in tokens.enumerate() {
                for (layer, states) in whole.iter().enumerate() {
                    let expected = &states.data[token * hidden..][..hidden];
                    let got = &out[(piece * layers + layer) * hidden..][..hidden];
                    for (expected, got) in expected.iter().zip(got) {
                        // In other company the last bits may be others.
                        assert!((expected - got).abs() < 1e-4, "{name} layer {layer}");
                    }
                }
            }
        }
    }
}

/// Tokens of the first span of a target.
fn found_tokens(pieces: &Pieces, found: &Gathered, target: usize) -> std::ops::Range<usize> {
    let sequence = found.sequence_of(target) as usize;
    let first = pieces.positions(sequence).next().unwrap();
    let split = pieces.split(found, &Vocabulary::new(["a"])).unwrap();
    let before: usize = (0..sequence).map(|at| pieces.positions(at).count()).sum();
    let span = split.get(target).spans[0];
    // The positions of these texts that are wanted lie side by side.
    first + span[0] as usize - before..first + span[1] as usize - before
}

#[test]
fn half_precision_is_the_nearest() {
    let place = Place::new();
    let model = model("tiny-bert");
    let (pieces, _) = gather(&model, &place.records("a.jsonl", TEXT));
    let whole = extract(&place.at("f32"), &model, &pieces, &single()).unwrap();
    let half = extract(&place.at("f16"), &model, &pieces, &StateOptions::default()).unwrap();
    let mut expected = all_states(&whole);
    Precision::F16.round(&mut expected);
    assert_eq!(all_states(&half), expected);
    assert!(half.bytes() < whole.bytes());
    let needed = StateStore::bytes_needed(&model, &pieces, Precision::F16);
    assert!(half.bytes() - needed < 200, "{} and {needed}", half.bytes());
}

#[test]
fn the_last_layer_is_before_its_norm_unless_told_otherwise() {
    let place = Place::new();
    let records = place.records("a.jsonl", TEXT);
    for (name, differ) in [("tiny-gpt2", true), ("tiny-bert", false)] {
        let model = model(name);
        let (pieces, _) = gather(&model, &records);
        let states = |folder: &str, last_layer| {
            let options = StateOptions {
                last_layer,
                ..single()
            };
            let store = extract(&place.at(folder), &model, &pieces, &options).unwrap();
            (all_states(&store), store.layers(), store.hidden())
        };
        let (before, layers, hidden) = states(&format!("{name}-b"), LastLayer::BeforeNorm);
        let (after, ..) = states(&format!("{name}-a"), LastLayer::AfterNorm);
        let last = (layers - 1) * hidden;
        let rows = before.chunks_exact(layers * hidden);
        for (before, after) in rows.zip(after.chunks_exact(layers * hidden)) {
            assert_eq!(before[..last], after[..last]);
            assert_eq!(before[last..] != after[last..], differ, "{name}");
            if !differ {
                continue;
            }
            // The norm by itself, in double precision.
            let weights = |parameter| model.checkpoint().values(parameter).unwrap().unwrap();
            let (scale, shift) = (
                weights(Parameter::FinalNorm(bertology::checkpoint::Affine::Weight)),
                weights(Parameter::FinalNorm(bertology::checkpoint::Affine::Bias)),
            );
            let normed = norm(
                &before[last..],
                &scale,
                &shift,
                model.architecture().norm_epsilon,
            );
            assert!(
                normed
                    .iter()
                    .zip(&after[last..])
                    .all(|(a, b)| (a - f64::from(*b)).abs() < 1e-4)
            );
        }
    }
}

fn norm(row: &[f32], scale: &[f32], shift: &[f32], epsilon: f64) -> Vec<f64> {
    let row: Vec<f64> = row.iter().map(|value| f64::from(*value)).collect();
    let mean = row.iter().sum::<f64>() / row.len() as f64;
    let variance = row.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / row.len() as f64;
    let scaled = row.iter().zip(scale).zip(shift);
    scaled
        .map(|((value, scale), shift)| {
            (value - mean) / (variance + epsilon).sqrt() * f64::from(*scale) + f64::from(*shift)
        })
        .collect()
}

/// Rows of the table and the norm of the embeddings, computed apart.
#[test]
fn words_alone_know_no_position() {
    let place = Place::new();
    let records = place.records("a.jsonl", TEXT);
    for name in ["tiny-bert", "tiny-gpt2"] {
        let model = model(name);
        let (pieces, _) = gather(&model, &records);
        let options = StateOptions {
            layer_zero: LayerZero::WordOnly,
            ..single()
        };
        let store = extract(&place.at(name), &model, &pieces, &options).unwrap();
        let full = extract(
            &place.at(&format!("{name}-full")),
            &model,
            &pieces,
            &single(),
        )
        .unwrap();
        let (words, full) = (all_states(&store), all_states(&full));
        let size = store.layers() * store.hidden();
        let values = |parameter| model.checkpoint().values(parameter).unwrap();
        let table = values(Parameter::WordEmbeddings).unwrap();
        let affine = |which| values(Parameter::EmbeddingNorm(which));
        let ids = (0..pieces.sequences())
            .flat_map(|at| pieces.positions(at).map(move |position| (at, position)))
            .map(|(at, position)| pieces.ids(at)[position] as usize);
        for (piece, id) in ids.enumerate() {
            let row = &table[id * store.hidden()..][..store.hidden()];
            let expected = match affine(bertology::checkpoint::Affine::Weight) {
                Some(scale) => {
                    let shift = affine(bertology::checkpoint::Affine::Bias).unwrap();
                    norm(row, &scale, &shift, model.architecture().norm_epsilon)
                }
                None => row.iter().map(|value| f64::from(*value)).collect(),
            };
            let got = &words[piece * size..][..store.hidden()];
            let near = |(a, b): (&f64, &f32)| (a - f64::from(*b)).abs() < 1e-4;
            assert!(expected.iter().zip(got).all(near), "{name}");
            let (other, hidden) = (&full[piece * size..][..size], store.hidden());
            assert_ne!(got, &other[..hidden]);
            assert_eq!(
                words[piece * size + hidden..][..size - hidden],
                other[hidden..]
            );
        }
    }
}

/// Stops after so many batches.
struct StopAfter(usize);

impl Watch for StopAfter {
    fn begin(&mut self, _: watch::Purpose, _: u64, _: u64) {}

    fn advance(&mut self, _: u64, _: u64) -> ControlFlow<()> {
        self.0 = self.0.saturating_sub(1);
        if self.0 == 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// The names and bytes of all files of a folder.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn an_interrupted_extraction_goes_on_to_the_same_states() {
    let place = Place::new();
    let model = model("tiny-bert");
    let mut all = gathering(&model);
    for (name, sentences) in [("a.jsonl", 700), ("b.jsonl", 1500)] {
        all.read(&place.many(name, sentences), &Work::threads(2), &mut ())
            .unwrap();
    }
    let pieces = all.finish().unwrap();
    assert_eq!(
        pieces.sequences(),
        1500,
        "the second file begins as the first"
    );
    let options = StateOptions::default();
    let whole = extract(&place.at("whole"), &model, &pieces, &options).unwrap();
    let mut stops = 0;
    let folder = place.at("stopped");
    let again = loop {
        let work = Work {
            threads: 1,
            ..Work::default()
        };
        let mut stop = StopAfter(3);
        match StateStore::extract(&folder, &model, &pieces, &options, &work, &mut stop) {
            Ok(store) => break store,
            Err(Error::Interrupted { sentences, total }) => {
                assert!(sentences < total && total == 1500);
                stops += 1;
            }
            Err(other) => panic!("{other}"),
        }
        assert!(stops < 20, "no progress");
    };
    assert!(stops >= 2, "{stops}");
    assert_eq!(all_states(&again), all_states(&whole));
    // Nothing is asked of the model any more.
    let before = files(&folder);
    extract(&folder, &model, &pieces, &options).unwrap();
    assert_eq!(files(&folder), before);
    // A damaged file is made again.
    let (name, bytes) = &before[0];
    fs::write(folder.join(name), &bytes[..bytes.len() / 2]).unwrap();
    let mended = extract(&folder, &model, &pieces, &options).unwrap();
    assert_eq!(all_states(&mended), all_states(&whole));
    mended.remove().unwrap();
    assert!(files(&folder).is_empty());
}

#[test]
fn states_of_something_else_are_refused() {
    let place = Place::new();
    let bert = model("tiny-bert");
    let records = place.records("a.jsonl", TEXT);
    let (pieces, _) = gather(&bert, &records);
    let folder = place.at("states");
    let options = StateOptions::default();
    extract(&folder, &bert, &pieces, &options).unwrap();
    let before = files(&folder);
    let refused = |model: &LoadedModel, pieces: &Pieces, options: &StateOptions, part: &str| {
        let error = extract(&folder, model, pieces, options).unwrap_err();
        assert_eq!(error.kind(), bertology::Kind::Input);
        let error = error.to_string();
        assert!(error.contains(part), "no `{part}` in: {error}");
        assert_eq!(files(&folder), before);
    };
    refused(
        &bert,
        &pieces,
        &single(),
        "another precision: F16 there, F32 here",
    );
    let words = StateOptions {
        layer_zero: LayerZero::WordOnly,
        ..options.clone()
    };
    refused(&bert, &pieces, &words, "another layer 0");
    let random = StateOptions {
        variant: Some("random 1".into()),
        ..options.clone()
    };
    refused(
        &bert,
        &pieces,
        &random,
        "another variant of the model: none there, random 1 here",
    );
    let other = place.records("b.jsonl", &TEXT.replace("faint", "run"));
    let (other, _) = gather(&bert, &other);
    refused(&bert, &other, &options, "another set of records");
    let gpt2 = model("tiny-gpt2");
    let (of_gpt2, _) = gather(&gpt2, &records);
    refused(&gpt2, &of_gpt2, &options, "another model");
    fs::write(folder.join(STATE_MANIFEST), "{").unwrap();
    let error = extract(&folder, &bert, &pieces, &options)
        .unwrap_err()
        .to_string();
    assert!(error.contains("no account of hidden states"), "{error}");
}

#[test]
fn a_disk_that_is_too_small_is_refused_before_anything_is_written() {
    let place = Place::new();
    let model = model("tiny-bert");
    let (pieces, _) = gather(&model, &place.records("a.jsonl", TEXT));
    let folder = place.at("states");
    let (options, work) = (StateOptions::default(), Work::threads(1));
    let extract = |free: u64| {
        let free = |_: &Path| Ok(free);
        StateStore::extract_with(&folder, &model, &pieces, &options, &work, &mut (), free)
    };
    let needed = StateStore::bytes_needed(&model, &pieces, Precision::F16);
    let error = extract(needed - 1).unwrap_err();
    assert_eq!(error.kind(), bertology::Kind::Environment);
    let error = error.to_string();
    assert!(error.contains(&needed.to_string()), "{error}");
    assert!(!folder.exists());
    extract(needed).unwrap();
    // What is there needs no room.
    extract(100).unwrap();
}

#[test]
fn what_half_precision_cannot_hold_is_refused_with_its_line() {
    let place = Place::new();
    // The norm of the embeddings, with the greatest weights that its file can hold.
    let folder = place.at("model");
    fs::create_dir(&folder).unwrap();
    let from = bertology_testkit::workspace().join("assets/tiny-bert");
    for entry in fs::read_dir(&from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    let file = folder.join("model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let (_, tensor) = header
        .as_object()
        .unwrap()
        .iter()
        .find(|(name, _)| name.ends_with("embeddings.LayerNorm.weight"))
        .unwrap();
    let offsets = tensor["data_offsets"].as_array().unwrap();
    let offset = |at: usize| 8 + length + offsets[at].as_u64().unwrap() as usize;
    assert_eq!(tensor["dtype"], "F16");
    for value in bytes[offset(0)..offset(1)].chunks_exact_mut(2) {
        value.copy_from_slice(&half::f16::MAX.to_le_bytes());
    }
    fs::write(&file, bytes).unwrap();
    let model = LoadedModel::open(&folder).unwrap();
    let (pieces, _) = gather(&model, &place.records("a.jsonl", TEXT));
    let error = extract(&place.at("f16"), &model, &pieces, &StateOptions::default()).unwrap_err();
    assert_eq!(error.kind(), bertology::Kind::Numeric);
    let error = error.to_string();
    assert!(error.contains("a.jsonl, line 1: layer 0 holds"), "{error}");
    extract(&place.at("f32"), &model, &pieces, &single()).unwrap();
}

#[test]
fn what_was_dropped_is_counted_by_label() {
    let place = Place::new();
    let model = model("tiny-bert");
    let options = SpanOptions {
        max_length: Some(6),
        too_long: LongRecords::Drop,
        ..SpanOptions::default()
    };
    let aligner = SpanAligner::new(&model, &options).unwrap();
    let mut all = Gathering::new(aligner);
    let found = all
        .read(&place.records("a.jsonl", TEXT), &Work::threads(1), &mut ())
        .unwrap();
    // `horses` is the fifth word, and four fit.
    assert_eq!(
        (found.counts.targets, found.counts.dropped, found.targets()),
        (4, 2, 2)
    );
    assert_eq!(found.dropped.iter().collect::<Vec<_>>(), [("a", 1)]);
    assert_eq!(
        found.dropped_targets.iter().copied().collect::<Vec<_>>(),
        [0, 3]
    );
    assert_eq!((found.counts.too_long, found.counts.records), (2, 3));
    let refused = found.check_dropped().unwrap_err().to_string();
    assert!(refused.contains("2 of 4 targets"), "{refused}");
    let nothing = TEXT.lines().take(1).collect::<String>();
    let nothing = nothing.replace("[0,2]", "[4,5]").replace("[0,1]", "[4,5]");
    let refused = all.read(
        &place.records("b.jsonl", &nothing),
        &Work::threads(1),
        &mut (),
    );
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("b.jsonl: all 2 targets"), "{refused}");
}
