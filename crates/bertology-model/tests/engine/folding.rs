//! Masks folded into the weights, in memory and in a checkpoint, are the masks.

use bertology_checkpoint::{
    Checkpoint, Cut, Export, HeadSet, OpenOptions, WriteOptions, write_cut,
};
use bertology_model::{
    Error, HeadId, HeadMask, Masking, Model, NeuronMask, PassOptions, SequenceOutput, Workspace,
};

use crate::fixture::{Fixture, distance, placed};
use crate::neurons::{MODELS, loss, mask};

/// Heads gone, weaker, stronger; a layer keeps one at least.
fn heads(model: &Model<f64>) -> HeadMask {
    let mut mask = HeadMask::ones(model);
    for (at, id) in model.heads().enumerate() {
        match at % 4 {
            1 => mask.set(id, 0.0),
            2 => mask.set(id, 0.5),
            3 => mask.set(id, 2.0),
            _ => {}
        }
    }
    mask
}

fn run(
    fixture: &Fixture,
    model: &Model<f64>,
    masks: Option<(&HeadMask, &NeuronMask)>,
) -> Vec<SequenceOutput<f64>> {
    let targets = fixture.targets();
    let options = PassOptions {
        neurons: masks.map(|(_, neurons)| neurons),
        masking: masks.map_or(Masking::None, |(heads, _)| Masking::Shared(heads)),
        targets: Some(&targets),
        ..PassOptions::default()
    };
    let batch = fixture.batch(model);
    let found = model.run(&batch, &options, &mut Workspace::new(), &mut []);
    found.expect("pass").sequences
}

fn same(name: &str, found: &[SequenceOutput<f64>], expected: &[SequenceOutput<f64>]) {
    assert!((loss(found) - loss(expected)).abs() < 1e-12, "{name}");
    for (a, b) in found.iter().zip(expected) {
        assert!(distance(&a.logits, &b.logits) < 1e-12, "{name}");
    }
}

#[test]
fn a_folded_model_is_the_masked_one() {
    for name in MODELS {
        let fixture = Fixture::open(name);
        let model = fixture.model::<f64>();
        let (heads, neurons) = (heads(&model), mask(&model));
        let expected = run(&fixture, &model, Some((&heads, &neurons)));
        let folded = model.folded(&heads, &neurons).expect("folded");
        same(name, &run(&fixture, &folded, None), &expected);
        // What is gone is gone.
        let (before, after) = (model.architecture(), folded.architecture());
        for layer in 0..before.num_layers {
            let kept = neurons.layer(layer).iter().filter(|factor| **factor != 0.0);
            assert_eq!(after.neurons(layer), kept.count(), "{name}");
        }
        let live = folded.heads().collect::<Vec<_>>();
        assert_eq!(live, heads.live().collect::<Vec<_>>(), "{name}");
        // Once more, of what is left: the masks of a folded model are its own.
        let refused = NeuronMask::from_values(
            before.num_layers,
            before.intermediate_size,
            vec![1.0; before.num_layers * before.intermediate_size],
        );
        let refused = folded.folded(&HeadMask::ones(&folded), &refused.expect("mask"));
        assert!(matches!(refused, Err(Error::NeuronPruned { .. })), "{name}");
        let (ones, mut fewer) = (HeadMask::ones(&folded), NeuronMask::ones(&folded));
        fewer.set(0, 0, 0.0);
        let expected = run(&fixture, &folded, Some((&ones, &fewer)));
        let again = folded.folded(&ones, &fewer).expect("folded");
        same(name, &run(&fixture, &again, None), &expected);
    }
}

#[test]
fn a_layer_may_lose_everything() {
    let fixture = Fixture::open("modernbert");
    let model = fixture.model::<f64>();
    let (mut heads, mut neurons) = (HeadMask::ones(&model), NeuronMask::ones(&model));
    for head in 0..model.architecture().num_heads {
        heads.set(HeadId { layer: 1, head }, 0.0);
    }
    for neuron in 0..model.architecture().intermediate_size {
        neurons.set(1, neuron, 0.0);
    }
    let expected = run(&fixture, &model, Some((&heads, &neurons)));
    let folded = model.folded(&heads, &neurons).expect("folded");
    same("modernbert", &run(&fixture, &folded, None), &expected);
    let (report, written) = written(&fixture, &model, &heads, &neurons, Export::Pruned);
    assert_eq!(report.hollow_layers, [1]);
    assert_eq!(report.zeroed_survivors.len(), 1);
    same("modernbert", &run(&fixture, &written, None), &expected);
}

/// The checkpoint of the fixture as it is written under two masks, opened again.
fn written(
    fixture: &Fixture,
    model: &Model<f64>,
    heads: &HeadMask,
    neurons: &NeuronMask,
    export: Export,
) -> (bertology_checkpoint::WriteReport, Model<f64>) {
    let source = Checkpoint::open(&fixture.folder, &OpenOptions::default()).expect("source");
    let gone: HeadSet = heads.masked().map(|id| (id.layer, id.head)).collect();
    let mut cut = Cut::from(gone);
    for id in heads.live() {
        cut = cut.weigh(id.layer, id.head, heads.get(id));
    }
    for layer in 0..model.architecture().num_layers {
        cut = cut.neurons(layer, neurons.layer(layer).to_vec());
    }
    let folder = tempfile::tempdir().expect("folder");
    let to = folder.path().join("cut");
    let report = write_cut(&source, &cut, &to, &WriteOptions::new(export)).expect("written");
    let opened = Checkpoint::open(&to, &OpenOptions::default()).expect("opened");
    let model = placed(Model::from_checkpoint(&opened).expect("model"));
    (report, model)
}

#[test]
fn a_written_model_is_the_masked_one() {
    for name in MODELS {
        let fixture = Fixture::open(name);
        let model = fixture.model::<f64>();
        let arch = model.architecture();
        if arch.shared_layers.is_some() {
            continue;
        }
        let (heads, neurons) = (heads(&model), mask(&model));
        let expected = run(&fixture, &model, Some((&heads, &neurons)));
        for export in [Export::Pruned, Export::Zeroed] {
            if export == Export::Pruned && arch.query_key_norm {
                continue;
            }
            let (report, written) = written(&fixture, &model, &heads, &neurons, export);
            same(name, &run(&fixture, &written, None), &expected);
            let widths: Vec<usize> = (0..arch.num_layers)
                .map(|layer| written.architecture().neurons(layer))
                .collect();
            assert_eq!(report.widths, widths, "{name}");
            if export == Export::Pruned {
                assert!(widths.iter().all(|width| *width < arch.intermediate_size));
            }
        }
    }
}
