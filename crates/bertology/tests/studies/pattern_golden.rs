//! Patterns of the embedded models against independent numpy over transformers' maps (`tools/golden`).

use std::fs;
use std::path::Path;

use bertology::attention::patterns::{
    Average, Denominators, Gradients, PatternOptions, Patterns, PatternsState, TokenClasses,
};
use bertology::attention::{Fate, Passage, Supply, TextItem, Units};
use bertology::drive::{Study, Work};
use bertology::model::{Capture, Interests, LayerSite, PackedBatch, Pass, PassOptions, Workspace};
use bertology::{Error, HeadId, HeadTable, LoadedModel, Sequence, Target};
use bertology_testkit::Tensors;
use serde_json::Value;

use super::fixture::driven;
use super::fixture::embedded;

/// Of the largest value: maps are f32 on both sides and differ by about 1e-6 after some layers; the numpy
/// reference takes entropies in f64, we in f32.
const TOLERANCE: f64 = 1e-5;

/// Of the largest value: what gradients lose on their way down through the layers, in f32 on both sides, as in
/// the engine's own golden tests.
const GRADIENT_TOLERANCE: f64 = 1e-4;

struct Golden {
    arrays: Tensors,
    names: Value,
}

impl Golden {
    fn of(model: &str) -> Self {
        let folder = bertology_testkit::golden("studies/attention");
        let names = fs::read(folder.join(format!("{model}.json"))).unwrap();
        Self {
            arrays: Tensors::read(&folder.join(format!("{model}.safetensors"))),
            names: serde_json::from_slice(&names).unwrap(),
        }
    }

    /// `[K, L, H]`: the plane of one key.
    fn plane(&self, name: &str, at: usize, cells: usize) -> Vec<f64> {
        self.arrays.f64(name)[at * cells..(at + 1) * cells].to_vec()
    }

    fn documents(&self) -> Vec<Vec<u32>> {
        let ids: Vec<u32> = self.arrays.whole("documents.input_ids");
        let ends: Vec<usize> = self.arrays.whole("documents.offsets");
        ends.windows(2).map(|w| ids[w[0]..w[1]].to_vec()).collect()
    }

    fn list(&self, name: &str) -> Vec<String> {
        let values = self.names[name].as_array().unwrap().iter();
        values
            .map(|value| value.as_str().unwrap().to_owned())
            .collect()
    }
}

/// Ready ids with the losses that belong to them.
struct Ready(Vec<(Vec<u32>, Option<Target>)>);

impl Supply for Ready {
    type Raw = usize;
    type Item = TextItem;

    fn path(&self) -> &Path {
        Path::new("golden")
    }

    fn total(&self) -> u64 {
        self.0.len() as u64
    }

    fn open(&self, first: u64) -> Result<Units<'_, usize>, Error> {
        Ok(Box::new((first as usize..self.0.len()).map(Ok)))
    }

    fn size(&self, raw: &usize) -> usize {
        self.0[*raw].0.len()
    }

    fn line(&self, raw: &usize) -> u64 {
        *raw as u64 + 1
    }

    fn prepare(&self, raw: usize) -> Result<Fate<Vec<Passage<TextItem>>>, Error> {
        let (ids, target) = self.0[raw].clone();
        Ok(Fate::one(Passage {
            item: TextItem {
                special: vec![false; ids.len()],
                ids: ids.clone(),
                cut: 0,
            },
            sequence: Sequence::new(ids),
            target,
        }))
    }
}

fn measured(model: &LoadedModel, supply: &Ready, options: PatternOptions) -> Patterns {
    let classes = TokenClasses::of_model(model, None).unwrap();
    let state = PatternsState::new(model, classes, options).unwrap();
    let state = driven(model, supply, state, &Work::default());
    state.finish().unwrap()
}

/// Values of all heads; NaN stands for none.
#[track_caller]
fn same(what: &str, table: &HeadTable, expected: &[f64], tolerance: f64) {
    assert_eq!(table.values().len(), expected.len(), "{what}");
    let scale = expected.iter().filter(|v| !v.is_nan());
    let scale = scale.fold(0.0_f64, |max, v| max.max(v.abs()));
    for (id, expected) in expected.iter().enumerate().map(|(at, value)| {
        let (layer, head) = (at / table.heads(), at % table.heads());
        (HeadId { layer, head }, *value)
    }) {
        match table.get(id) {
            None => assert!(expected.is_nan(), "{what} {id}: {expected}"),
            Some(found) => {
                let off = (found - expected).abs();
                assert!(off <= tolerance * scale, "{what} {id}: {found} {expected}");
            }
        }
    }
}

const MODELS: [&str; 3] = ["tiny-bert", "tiny-gpt2", "tiny-gpt"];

#[test]
fn patterns_are_those_of_numpy() {
    for name in MODELS {
        let golden = Golden::of(name);
        let model = embedded(name);
        let documents = golden.documents().into_iter().map(|ids| (ids, None));
        let supply = Ready(documents.collect());
        for (mode, denominators) in [
            ("paper", Denominators::Paper),
            ("exact", Denominators::Exact),
        ] {
            let options = PatternOptions {
                denominators,
                // The two choices of the paper's code go together here; each is compared with its own file.
                entropy_smoothing: mode == "paper",
                gradients: Gradients::None,
            };
            let found = measured(&model, &supply, options);
            let marks = found.classes.punctuation.values().flatten();
            let mut marks: Vec<u64> = marks.map(|id| u64::from(*id)).collect();
            marks.sort_unstable();
            assert_eq!(golden.names["punctuation_ids"], Value::from(marks));
            let keys: Vec<&str> = found.keys.iter().map(|(key, _)| key.name()).collect();
            assert_eq!(golden.list("keys"), keys);
            let cells = found.entropy.all.mean.values().len();
            for (at, (key, average)) in found.keys.iter().enumerate() {
                let what = format!("{name} {mode} {}", key.name());
                assert_eq!(
                    golden.names["documents"][mode][at], average.documents,
                    "{what}"
                );
                for (kind, table) in [
                    ("mean", &average.mean),
                    ("standard_error", &average.standard_error),
                    ("micro", &average.micro),
                ] {
                    let expected = golden.plane(&format!("patterns.{mode}.{kind}"), at, cells);
                    same(&format!("{what} {kind}"), table, &expected, TOLERANCE);
                }
            }
            let entropy = &found.entropy;
            for (kind, average) in [
                ("all", &entropy.all),
                ("one", &entropy.one),
                ("normalised", &entropy.normalized),
            ] {
                for (of, table) in [
                    ("mean", &average.mean),
                    ("standard_error", &average.standard_error),
                ] {
                    let what = format!("entropy.{mode}.{kind}.{of}");
                    let expected = golden.arrays.f64(&what);
                    same(&format!("{name} {what}"), table, &expected, TOLERANCE);
                }
            }
            let micro = golden.arrays.f64(&format!("entropy.{mode}.all.micro"));
            same("micro", &entropy.all.micro, &micro, TOLERANCE);
            let uniform = golden.arrays.f64(&format!("entropy.{mode}.uniform.mean"))[0];
            assert!((entropy.uniform - uniform).abs() < 1e-12, "{name}");
        }
    }
}

/// One whole map of gradients: that the softmax is a leaf, and where its rows and columns lie.
#[track_caller]
fn same_map(golden: &Golden, at: usize, model: &LoadedModel, ids: &[u32], target: &Target) {
    let site = LayerSite::AttentionProbs;
    let mut capture = Capture::new(Interests::none().gradient(site));
    let sequences = [Sequence::new(ids.to_vec())];
    let batch = PackedBatch::new(model.architecture(), &sequences).unwrap();
    let options = PassOptions {
        targets: Some(std::slice::from_ref(target)),
        ..PassOptions::default()
    };
    let mut workspace = Workspace::default();
    let engine = model.model();
    engine
        .run(&batch, &options, &mut workspace, &mut [&mut capture])
        .unwrap();
    let place = |part: usize| golden.names["gradient_map_of"][part].as_u64().unwrap() as usize;
    let id = HeadId {
        layer: place(0),
        head: place(1),
    };
    let found = capture.get_head(Pass::Backward, id, site, 0).unwrap();
    let expected = golden.arrays.f32(&format!("gradients.{at}.map"));
    let scale = expected.iter().fold(0.0_f32, |max, g| max.max(g.abs()));
    let n = ids.len();
    let seen = |cell: usize| !model.architecture().causal || cell % n <= cell / n;
    for (cell, (found, expected)) in found.data.iter().zip(&expected).enumerate() {
        let off = f64::from((found - expected).abs());
        assert!(
            !seen(cell) || off <= GRADIENT_TOLERANCE * f64::from(scale),
            "{id} {cell}: {found} {expected}"
        );
    }
}

#[test]
fn gradients_are_those_of_autograd() {
    for name in MODELS {
        let golden = Golden::of(name);
        let model = embedded(name);
        let labels = golden.names["gradient_labels"].as_array().unwrap().iter();
        for (at, label) in labels.enumerate() {
            let ids = golden
                .arrays
                .whole::<u32>(&format!("gradients.{at}.input_ids"));
            let target = match label.as_u64() {
                Some(label) => Target::Label(label as usize),
                None => Target::next_tokens(&ids),
            };
            let options = PatternOptions {
                gradients: Gradients::TimesAttention,
                ..PatternOptions::default()
            };
            same_map(&golden, at, &model, &ids, &target);
            let found = measured(&model, &Ready(vec![(ids, Some(target))]), options);
            let names: Vec<&str> = found.gradients.iter().map(|of| of.target.name()).collect();
            assert_eq!(golden.list("gradient_classes"), names);
            let classes = names.len();
            for (class, of) in found.gradients.iter().enumerate() {
                let weighted = of.times_attention.as_ref().unwrap();
                let kinds: [(&str, &Average); 4] = [
                    ("mean", &of.mean),
                    ("row_sum", &of.row_sum),
                    ("weighted_mean", &weighted[0]),
                    ("weighted_row_sum", &weighted[1]),
                ];
                for (kind, average) in kinds {
                    let what = format!("gradients.{at}.{kind}");
                    // `[L, H, classes]`
                    let values = golden.arrays.f64(&what).into_iter().skip(class);
                    let expected: Vec<f64> = values.step_by(classes).collect();
                    let what = format!("{name} {what} {}", of.target.name());
                    same(&what, &average.mean, &expected, GRADIENT_TOLERANCE);
                }
            }
        }
    }
}
