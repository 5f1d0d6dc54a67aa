//! Layers that have their weights in common: masks and pruned heads are of one layer all the same, weights are there once.

use std::collections::BTreeSet;

use bertology_checkpoint::Parameter;
use bertology_model::{HeadId, HeadMask, Masking, Model, PassOptions, Workspace};

use crate::fixture::{Fixture, distance};

fn logits(fixture: &Fixture, model: &Model<f64>, masking: Masking<'_>) -> Vec<f64> {
    let batch = fixture.batch(model);
    let options = PassOptions {
        masking,
        ..PassOptions::default()
    };
    let output = model.run(&batch, &options, &mut Workspace::new(), &mut []);
    let sequences = output.expect("pass").sequences;
    sequences.into_iter().flat_map(|one| one.logits).collect()
}

#[test]
fn a_head_is_masked_or_pruned_in_one_layer() {
    let fixture = Fixture::open("albert");
    let model = fixture.model::<f64>();
    let mut seen = vec![logits(&fixture, &model, Masking::None)];
    for layer in 0..3 {
        let id = HeadId { layer, head: 1 };
        let mut mask = HeadMask::ones(&model);
        mask.set(id, 0.0);
        let masked = logits(&fixture, &model, Masking::Shared(&mask));
        let pruned = model.without_heads([id]).expect("pruned");
        assert!(!pruned.has_head(id) && pruned.heads().count() == 11);
        assert!(distance(&masked, &logits(&fixture, &pruned, Masking::None)) < 1e-12);
        assert!(
            seen.iter().all(|other| distance(&masked, other) > 1e-3),
            "{layer}"
        );
        seen.push(masked);
    }
}

/// The layers under whose names a model has weights.
fn own(model: &Model<f32>) -> BTreeSet<usize> {
    let places = model.layout().places().to_vec();
    let layers = places.iter().filter_map(|place| match place.parameter {
        Parameter::Layer(layer, _) => Some(layer),
        _ => None,
    });
    layers.collect()
}

#[test]
fn weights_are_there_once() {
    let groups = Fixture::open("albert-groups-tokens").model::<f32>();
    assert_eq!(groups.architecture().num_layers, 8);
    // Two blocks, run twice, then two others.
    assert_eq!(own(&groups), [0, 1, 4, 5].into());
    let arch = groups.architecture();
    let first: Vec<usize> = (0..8).map(|layer| arch.weights_of(layer)).collect();
    assert_eq!(first, [0, 1, 0, 1, 4, 5, 4, 5]);

    let model = Fixture::open("albert").model::<f32>();
    assert_eq!(own(&model), [0].into());
    let arch = model.architecture();
    let head = 4 * arch.hidden_size * arch.head_dim() + 3 * arch.head_dim();
    let everywhere = (0..3).map(|layer| HeadId { layer, head: 2 });
    let pruned = model.without_heads(everywhere).expect("pruned");
    assert_eq!(model.parameters() - pruned.parameters(), head);
    assert_eq!(own(&pruned), [0].into());
    // Layers 0 and 2 go on together.
    let parted = model.without_heads([HeadId { layer: 1, head: 2 }]);
    assert_eq!(own(&parted.expect("pruned")), [0, 1].into());
    let drawn = model.untrained(|| 1.0);
    assert_eq!(own(&drawn), [0].into());
}
