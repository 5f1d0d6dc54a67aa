//! Distances with queries and keys of their own: heads take theirs along, and distances beyond the buckets have a row.

use bertology_checkpoint::Disentangled;
use bertology_model::{
    Capture, HeadId, HeadMask, Interests, LayerSite, Masking, Model, Observer, PackedBatch, Pass,
    PassOptions, Sequence, Tap, Workspace,
};
use bertology_testkit::Tensors;

use crate::fixture::{Fixture, distance};

/// The last hidden states of some texts.
fn states(model: &Model<f64>, texts: &[Sequence], masking: Masking<'_>) -> Vec<f64> {
    let batch = PackedBatch::new(model.architecture(), texts).expect("a batch");
    let mut capture = Capture::new(Interests::none().value(LayerSite::HiddenState));
    let observers: &mut [&mut dyn Observer<f64>] = &mut [&mut capture];
    let options = PassOptions {
        masking,
        ..PassOptions::default()
    };
    let workspace = &mut Workspace::new();
    model
        .run(&batch, &options, workspace, observers)
        .expect("a pass");
    let last = Tap::Layer(model.architecture().num_layers - 1, LayerSite::HiddenState);
    let of = |text| {
        capture
            .get(Pass::Forward, last, text)
            .expect("a state")
            .data
            .clone()
    };
    (0..texts.len()).flat_map(of).collect()
}

#[test]
fn heads_take_their_maps_of_distances_along() {
    for name in [
        "deberta",
        "deberta-mlm",
        "deberta-renamed-mlm",
        "deberta-tokens",
    ] {
        let fixture = Fixture::open(name);
        let (model, texts) = (fixture.model::<f64>(), fixture.sequences());
        let whole = states(&model, &texts, Masking::None);
        // One head of the first layer, all but the last of the second; then all.
        let heads = model.architecture().num_heads;
        for left in [1, 0] {
            let mut gone = vec![HeadId { layer: 0, head: 1 }];
            gone.extend((0..heads - left).map(|head| HeadId { layer: 1, head }));
            let mut mask = HeadMask::ones(&model);
            gone.iter().for_each(|id| mask.set(*id, 0.0));
            let masked = states(&model, &texts, Masking::Shared(&mask));
            let pruned = model.without_heads(gone).expect("pruned");
            let pruned = states(&pruned, &texts, Masking::None);
            assert!(distance(&masked, &pruned) < 1e-12, "{name} {left}");
            assert!(distance(&masked, &whole) > 1e-3, "{name} {left}");
        }
    }
}

/// A text has the same states in any company: the rows that a batch makes ready are those of its longest text.
#[test]
fn rows_of_distances_do_not_depend_on_the_batch() {
    for name in ["deberta", "deberta-tokens"] {
        let fixture = Fixture::open(name);
        let (model, texts) = (fixture.model::<f64>(), fixture.sequences());
        let together = states(&model, &texts, Masking::None);
        let alone = texts.iter().flat_map(|text| {
            let one = std::slice::from_ref(text);
            states(&model, one, Masking::None)
        });
        let alone: Vec<f64> = alone.collect();
        assert!(distance(&together, &alone) < 1e-12, "{name}");
    }
}

/// Which row of DeBERTa's table a distance reads, with the numbers of DeBERTa-v3 and with smaller ones.
#[test]
fn distances_read_the_same_rows() {
    let file = Fixture::open("deberta").folder.join("buckets.safetensors");
    let file = Tensors::read(&file);
    for (name, buckets, farthest) in [
        ("256.512", 256, 512),
        ("32.128", 32, 128),
        ("6.24", 6, 24),
        ("7.24", 7, 24),
    ] {
        let rule = Disentangled {
            buckets: Some(buckets),
            farthest,
            keys: true,
            queries: true,
            shared: true,
            normed: true,
        };
        let rows = file.f64(name);
        assert_eq!(rows.len(), 2201);
        for (offset, row) in (-1100..).zip(&rows) {
            assert_eq!(rule.row(offset) as f64, *row, "{name} {offset}");
        }
    }
}
