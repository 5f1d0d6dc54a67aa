//! A mask of neurons: what it computes, its gradient, and what it refuses.

use bertology_model::{
    Capture, Error, Interests, LayerSite, Masking, Model, NeuronMask, Pass, PassOptions, Place,
    Replacements, SequenceOutput, Tap, Workspace,
};

use crate::fixture::{Fixture, distance};

/// Plain and gated blocks, norms before and after, shared layers, classifiers and language models.
pub(crate) const MODELS: [&str; 12] = [
    "bert-absolute",
    "roberta",
    "mpnet",
    "modernbert",
    "eurobert-mlm",
    "albert-mlm",
    "esm-mlm",
    "esmc-mlm",
    "gte-mlm",
    "jinabert-mlm",
    "gpt2-lm",
    "gpt2",
];

/// Some neurons gone, some weaker, most as they are.
pub(crate) fn mask(model: &Model<f64>) -> NeuronMask {
    let mut mask = NeuronMask::ones(model);
    let arch = model.architecture();
    for layer in 0..arch.num_layers {
        for neuron in 0..arch.intermediate_size {
            match (neuron + layer) % 5 {
                0 => mask.set(layer, neuron, 0.0),
                1 => mask.set(layer, neuron, 0.5),
                _ => {}
            }
        }
    }
    mask
}

pub(crate) fn outputs(
    fixture: &Fixture,
    model: &Model<f64>,
    neurons: Option<&NeuronMask>,
    observer: Option<&mut Capture<f64>>,
    replaced: Option<&mut Replacements<f64>>,
) -> Vec<SequenceOutput<f64>> {
    let targets = fixture.targets();
    let options = PassOptions {
        neurons,
        targets: Some(&targets),
        mask_gradients: true,
        ..PassOptions::default()
    };
    let batch = fixture.batch(model);
    let mut workspace = Workspace::new();
    let mut nobody = Capture::new(Interests::none());
    let mut nothing = Replacements::new();
    let observer = observer.unwrap_or(&mut nobody);
    let replaced = replaced.unwrap_or(&mut nothing);
    let found = model.run_with(
        &batch,
        &options,
        &mut workspace,
        &mut [observer],
        &mut [replaced],
    );
    found.expect("pass").sequences
}

pub(crate) fn loss(outputs: &[SequenceOutput<f64>]) -> f64 {
    outputs
        .iter()
        .map(|output| output.loss.expect("loss"))
        .sum()
}

#[test]
fn the_gradient_is_the_central_difference() {
    for name in MODELS {
        let fixture = Fixture::open(name);
        let model = fixture.model::<f64>();
        let mask = mask(&model);
        let mut seen = Capture::new(Interests::none().gradient(LayerSite::NeuronMask));
        outputs(&fixture, &model, Some(&mask), Some(&mut seen), None);
        let arch = model.architecture();
        let mut largest = 0.0_f64;
        for layer in 0..arch.num_layers {
            // One that is gone, one that is weaker, one that is whole.
            for neuron in [5 - layer % 5, 6 - layer % 5, 8 - layer % 5] {
                let sequences = seen
                    .iter()
                    .filter(|(_, tap, ..)| *tap == Tap::Layer(layer, LayerSite::NeuronMask));
                let gradient: f64 = sequences
                    .map(|(.., value)| {
                        value
                            .data
                            .chunks(value.cols)
                            .map(|row| row[neuron])
                            .sum::<f64>()
                    })
                    .sum();
                let at = |step: f64| {
                    let mut moved = mask.clone();
                    moved.set(layer, neuron, mask.layer(layer)[neuron] + step);
                    loss(&outputs(&fixture, &model, Some(&moved), None, None))
                };
                let difference = (at(1e-4) - at(-1e-4)) / 2e-4;
                assert!(
                    (gradient - difference).abs() < 1e-7 * (1.0 + gradient.abs()),
                    "{name}, layer {layer}, neuron {neuron}: {gradient} {difference}"
                );
                largest = largest.max(gradient.abs());
            }
        }
        assert!(largest > 1e-6, "{name}");
    }
}

/// What the mask makes of a block is what it makes when its neurons are replaced by their masked values; and the gradient of
/// the neurons is then that of the values times their factor.
#[test]
fn a_mask_is_a_replacement_of_neurons() {
    for name in MODELS {
        let fixture = Fixture::open(name);
        let model = fixture.model::<f64>();
        let (mask, inner) = (mask(&model), LayerSite::MlpInner);
        let mut seen = Capture::new(Interests::none().value(inner).gradient(inner));
        let masked = outputs(&fixture, &model, Some(&mask), Some(&mut seen), None);
        let mut replaced = Replacements::new();
        for (pass, tap, sequence, _, value) in seen.iter() {
            let Tap::Layer(layer, _) = tap else { continue };
            if pass == Pass::Forward {
                let mut value = value.clone();
                let factors = mask.layer(layer);
                for row in value.data.chunks_mut(factors.len()) {
                    row.iter_mut()
                        .zip(factors)
                        .for_each(|(value, factor)| *value *= factor);
                }
                replaced = replaced.value(
                    Place {
                        tap,
                        sequence,
                        head: None,
                    },
                    value,
                );
            }
        }
        let mut again = Capture::new(Interests::none().gradient(inner));
        let by_hand = outputs(
            &fixture,
            &model,
            None,
            Some(&mut again),
            Some(&mut replaced),
        );
        assert!((loss(&masked) - loss(&by_hand)).abs() < 1e-12, "{name}");
        for (a, b) in masked.iter().zip(&by_hand) {
            assert!(distance(&a.logits, &b.logits) < 1e-12, "{name}");
        }
        // Of the last layer: below it gradients stop at what is replaced.
        let tap = Tap::Layer(model.architecture().num_layers - 1, inner);
        let factors = mask.layer(model.architecture().num_layers - 1);
        let of = |capture: &Capture<f64>| -> Vec<Vec<f64>> {
            let found = capture
                .iter()
                .filter(|(pass, of, ..)| (*pass, *of) == (Pass::Backward, tap));
            found.map(|(.., value)| value.data.clone()).collect()
        };
        for (masked, by_hand) in of(&seen).iter().zip(of(&again)) {
            let rows = by_hand.chunks(factors.len());
            let expected =
                rows.flat_map(|row| row.iter().zip(factors).map(|(d, factor)| d * factor));
            let expected: Vec<f64> = expected.collect();
            assert!(distance(masked, &expected) < 1e-12, "{name}");
        }
    }
}

#[test]
fn a_mask_of_ones_is_no_mask_and_one_of_another_model_is_refused() {
    let fixture = Fixture::open("modernbert");
    let model = fixture.model::<f64>();
    let ones = NeuronMask::ones(&model);
    assert_eq!(
        outputs(&fixture, &model, Some(&ones), None, None),
        outputs(&fixture, &model, None, None, None)
    );
    let other = NeuronMask::from_values(1, 3, vec![1.0; 3]).expect("mask");
    let options = PassOptions {
        neurons: Some(&other),
        ..PassOptions::default()
    };
    let batch = fixture.batch(&model);
    let refused = model
        .run(&batch, &options, &mut Workspace::new(), &mut [])
        .unwrap_err();
    assert!(
        matches!(
            refused,
            Error::NeuronMaskShape {
                found_neurons: 3,
                ..
            }
        ),
        "{refused}"
    );
    assert!(NeuronMask::from_values(2, 3, vec![1.0; 5]).is_err());
    let wrong = NeuronMask::from_values(2, 3, vec![1.0, 1.0, 1.0, 1.0, f64::NAN, 1.0]).unwrap_err();
    assert!(
        matches!(
            wrong,
            Error::NeuronMaskValue {
                layer: 1,
                neuron: 1,
                ..
            }
        ),
        "{wrong}"
    );
    let mut impossible = Capture::<f64>::new(Interests::none().value(LayerSite::NeuronMask));
    let options = PassOptions {
        masking: Masking::None,
        ..PassOptions::default()
    };
    let refused = model
        .run(
            &batch,
            &options,
            &mut Workspace::new(),
            &mut [&mut impossible],
        )
        .unwrap_err();
    assert!(refused.to_string().contains("NeuronMask"), "{refused}");
}
