//! Half blocks one after the other are a pass.

use bertology_model::{Capture, Interests, LayerSite, ModelSite, PassOptions, Tap, Workspace};

use crate::fixture::{Fixture, distance};
use crate::neurons::MODELS;

#[test]
fn half_blocks_one_after_the_other_are_a_pass() {
    for name in MODELS {
        let fixture = Fixture::open(name);
        let model = fixture.model::<f64>();
        let batch = fixture.batch(&model);
        let sites = [
            LayerSite::HeadOutput,
            LayerSite::AttentionOutput,
            LayerSite::MlpInner,
            LayerSite::MlpOutput,
            LayerSite::HiddenState,
        ];
        let interests = sites
            .iter()
            .fold(Interests::none(), |all, site| all.value(*site));
        let mut last = Interests::none().value(ModelSite::Embeddings);
        if model.architecture().norm == bertology_checkpoint::NormPlacement::Pre {
            last = last.value(ModelSite::LastResidual);
        }
        let mut seen = Capture::new(interests.union(last));
        let options = PassOptions::default();
        let mut workspace = Workspace::new();
        model
            .run(&batch, &options, &mut workspace, &mut [&mut seen])
            .expect("pass");
        // Of all sequences, end to end; heads side by side.
        let all = |wanted: Tap| -> Vec<f64> {
            let mut rows: Vec<Vec<f64>> = Vec::new();
            let mut sequence_of = None;
            let mut first = 0;
            for (_, tap, sequence, _, value) in seen.iter() {
                if tap != wanted {
                    continue;
                }
                if sequence_of != Some(sequence) {
                    sequence_of = Some(sequence);
                    first = rows.len();
                    rows.resize(first + value.rows, Vec::new());
                }
                for (row, part) in rows[first..].iter_mut().zip(value.data.chunks(value.cols)) {
                    row.extend_from_slice(part);
                }
            }
            rows.concat()
        };
        let mut stream = model.stream(&batch, &mut workspace).expect("stream");
        let embeddings = all(Tap::Model(ModelSite::Embeddings));
        assert!(distance(&stream, &embeddings) < 1e-12, "{name}");
        let layers = model.architecture().num_layers;
        for layer in 0..layers {
            let at = |site| all(Tap::Layer(layer, site));
            let attention = model
                .attention_half(layer, &batch, &stream, &mut workspace)
                .expect("attention");
            assert!(
                distance(&attention.reads, &at(LayerSite::HeadOutput)) < 1e-12,
                "{name}"
            );
            assert!(distance(&attention.adds, &at(LayerSite::AttentionOutput)) < 1e-12);
            assert_eq!(attention.to, stream);
            let (mlp, next) = model
                .mlp_half(layer, &batch, attention, &mut workspace)
                .expect("feed-forward");
            assert!(
                distance(&mlp.reads, &at(LayerSite::MlpInner)) < 1e-12,
                "{name}"
            );
            assert!(
                distance(&mlp.adds, &at(LayerSite::MlpOutput)) < 1e-12,
                "{name}"
            );
            stream = next;
            let pre = model.architecture().norm == bertology_checkpoint::NormPlacement::Pre;
            let leaves = match layer + 1 == layers && pre {
                true => all(Tap::Model(ModelSite::LastResidual)),
                false => at(LayerSite::HiddenState),
            };
            assert!(distance(&stream, &leaves) < 1e-12, "{name}");
            if pre {
                assert!(distance(&stream, &mlp.sum()) < 1e-12, "{name}");
            }
            // What is added is the map of what is read.
            let map = model.mlp_output_map(layer);
            let (width, inner) = (map.weight.rows(), map.weight.cols());
            for (row, adds) in mlp.reads.chunks(inner).zip(mlp.adds.chunks(width)) {
                for (at, adds) in adds.iter().enumerate() {
                    let weights = map.weight.row(at);
                    let sum: f64 = row.iter().zip(weights).map(|(a, b)| a * b).sum();
                    let bias = map.bias.get(at).copied().unwrap_or_default();
                    assert!((map.scale * (sum + bias) - adds).abs() < 1e-10, "{name}");
                }
            }
        }
    }
}
