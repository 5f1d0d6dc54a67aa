//! Values that are not finite end a pass at the place where they come up, wherever they come from.

use std::fs;
use std::path::Path;

use bertology_checkpoint::{Checkpoint, OpenOptions};
use bertology_model::{
    Capture, Error, HeadId, Interests, LayerSite, Model, ModelSite, PassOptions, Place, Tap,
    Workspace,
};
use serde_json::Value;

use crate::fixture::{Fixture, placed};

/// Classifiers with gelu and relu, language models, norms before and after.
const MODELS: [&str; 6] = [
    "bert-absolute",
    "distilbert",
    "roberta-mlm",
    "gpt2",
    "gpt2-lm",
    "gpt",
];

/// The tensors of a safetensors file, and where their bytes lie in it.
fn tensors(bytes: &[u8]) -> Vec<(String, std::ops::Range<usize>)> {
    let (size, rest) = bytes.split_first_chunk::<8>().unwrap();
    let header = usize::try_from(u64::from_le_bytes(*size)).unwrap();
    let names: Value = serde_json::from_slice(&rest[..header]).unwrap();
    let start = 8 + header;
    let places = names.as_object().unwrap().iter();
    places
        .filter(|(name, _)| *name != "__metadata__")
        .map(|(name, entry)| {
            let end = |at: usize| entry["data_offsets"][at].as_u64().unwrap() as usize;
            (name.clone(), start + end(0)..start + end(1))
        })
        .collect()
}

/// The model of a fixture in which one value takes the place of all of a tensor.
fn planted(fixture: &Fixture, tensor: &str, value: f32, folder: &Path) -> Model<f32> {
    let mut bytes = fs::read(fixture.folder.join("model.safetensors")).unwrap();
    let found = tensors(&bytes).into_iter().find(|(name, _)| name == tensor);
    for number in bytes[found.unwrap().1].chunks_exact_mut(4) {
        number.copy_from_slice(&value.to_le_bytes());
    }
    fs::write(folder.join("model.safetensors"), bytes).unwrap();
    fs::copy(
        fixture.folder.join("config.json"),
        folder.join("config.json"),
    )
    .unwrap();
    let checkpoint = Checkpoint::open(folder, &OpenOptions::default()).unwrap();
    placed(Model::from_checkpoint(&checkpoint).unwrap())
}

fn options(targets: &[bertology_model::Target]) -> PassOptions<'_> {
    PassOptions {
        targets: Some(targets),
        ..PassOptions::default()
    }
}

/// The place that a pass names.
fn named(fixture: &Fixture, model: &Model<f32>) -> Place {
    let (batch, targets) = (fixture.batch(model), fixture.targets());
    let (options, mut workspace) = (options(&targets), Workspace::new());
    let error = model.run(&batch, &options, &mut workspace, &mut []);
    let heads: Vec<HeadId> = model.heads().collect();
    let without = model.run_without_each(&batch, &options, &mut workspace, &heads, |_, _| {
        panic!("a result came out");
    });
    let places = [error.unwrap_err(), without.unwrap_err()].map(|error| match error {
        Error::NotFinite {
            place,
            gradient: false,
            without: None,
        } => place,
        other => panic!("{other}"),
    });
    assert_eq!(places[0], places[1]);
    // Who allows it gets what comes out.
    let allowed = PassOptions {
        allow_nonfinite: true,
        ..options
    };
    let output = model.run(&batch, &allowed, &mut workspace, &mut []);
    let losses = output.unwrap().sequences.into_iter();
    assert!(losses.map(|s| s.loss.unwrap()).any(|loss| loss.is_nan()));
    places[0]
}

/// The number behind `layer.` or `h.` in a tensor's name.
fn layer_of(tensor: &str) -> Option<usize> {
    let mut parts = tensor.split('.');
    parts.find(|part| ["layer", "h"].contains(part))?;
    parts.next()?.parse().ok()
}

/// Whatever weight is NaN, the pass ends in its layer: torch's logits are NaN for every one of them.
#[test]
fn every_weight_that_is_nan_is_found_where_it_is() {
    for name in MODELS {
        let (fixture, folder) = (Fixture::open(name), tempfile::tempdir().unwrap());
        let layers = fixture.model::<f32>().architecture().num_layers;
        let file = fs::read(fixture.folder.join("model.safetensors")).unwrap();
        for (tensor, _) in tensors(&file) {
            let model = planted(&fixture, &tensor, f32::NAN, folder.path());
            let place = named(&fixture, &model);
            let what = format!("{name}, {tensor}: {place}");
            match (place.tap, layer_of(&tensor)) {
                (Tap::Layer(found, _), Some(layer)) => assert_eq!(found, layer, "{what}"),
                // The residual stream that leaves the last block.
                (Tap::Model(ModelSite::LastResidual), Some(layer)) => {
                    assert_eq!(layer + 1, layers, "{what}");
                }
                (Tap::Layer(found, site), None) => {
                    assert!(tensor.contains("ln_f"), "{what}");
                    assert_eq!(
                        (found + 1, site),
                        (layers, LayerSite::HiddenState),
                        "{what}"
                    );
                }
                (Tap::Model(site), None) => assert!(
                    [
                        ModelSite::Embeddings,
                        ModelSite::Pooled,
                        ModelSite::Logits,
                        ModelSite::TokenLogits
                    ]
                    .contains(&site),
                    "{what}"
                ),
                (Tap::Model(_), Some(_)) => panic!("{what}"),
            }
        }
    }
}

/// Finite weights whose square is not: torch 2.9.1 gives NaN for a row of 1e21 in its layer norm.
#[test]
fn hidden_states_too_large_for_their_norm_are_no_row_of_biases() {
    let folder = tempfile::tempdir().unwrap();
    for (name, tensor) in [
        ("bert-absolute", "bert.embeddings.word_embeddings.weight"),
        ("gpt2", "transformer.wte.weight"),
    ] {
        let fixture = Fixture::open(name);
        let bytes = fs::read(fixture.folder.join("model.safetensors")).unwrap();
        let (_, range) = tensors(&bytes).into_iter().find(|t| t.0 == tensor).unwrap();
        for value in [1e21_f32, 1e30, 3e38] {
            // One number a token, so that the variance is not zero.
            let mut bytes = bytes.clone();
            let width = fixture.model::<f32>().architecture().hidden_size;
            for row in bytes[range.clone()].chunks_exact_mut(4 * width) {
                row[..4].copy_from_slice(&value.to_le_bytes());
            }
            fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
            let config = "config.json";
            fs::copy(fixture.folder.join(config), folder.path().join(config)).unwrap();
            let checkpoint = Checkpoint::open(folder.path(), &OpenOptions::default()).unwrap();
            let place = named(
                &fixture,
                &placed(Model::from_checkpoint(&checkpoint).unwrap()),
            );
            let expected = match name {
                "gpt2" => Tap::Layer(0, LayerSite::AttentionOutput),
                _ => Tap::Model(ModelSite::Embeddings),
            };
            assert_eq!(place.tap, expected, "{value}");
        }
    }
}

/// A map that nobody carries on is checked by whoever looks at it.
#[test]
fn a_map_of_the_last_layer_is_checked_where_it_is_seen() {
    let (fixture, folder) = (Fixture::open("bert-bare"), tempfile::tempdir().unwrap());
    let last = fixture.model::<f32>().architecture().num_layers - 1;
    let file = fs::read(fixture.folder.join("model.safetensors")).unwrap();
    let query = format!("layer.{last}.attention.self.query.weight");
    let (tensor, _) = tensors(&file)
        .into_iter()
        .find(|(name, _)| name.ends_with(&query))
        .unwrap();
    let model = planted(&fixture, &tensor, f32::NAN, folder.path());
    let mut capture = Capture::new(Interests::none().value(LayerSite::AttentionProbs));
    let options = PassOptions {
        observed_only: true,
        ..PassOptions::default()
    };
    let batch = fixture.batch(&model);
    let error = model
        .run(&batch, &options, &mut Workspace::new(), &mut [&mut capture])
        .unwrap_err();
    let Error::NotFinite { place, .. } = error else {
        panic!("{error}")
    };
    let expected = Tap::Layer(last, LayerSite::AttentionProbs);
    assert_eq!(
        (place.tap, place.head, place.sequence),
        (expected, Some(0), 0)
    );
    assert_eq!(
        error.to_string().split(" is ").next(),
        Some(format!("the value at AttentionProbs of L{last}H0").as_str())
    );
}
