//! Errors of every precision, judged by the model in f64.

use bertology_model::kernels::Precision;
use bertology_model::{
    Capture, Error, HeadId, Interests, LayerSite, Masking, Model, PackedBatch, Pass, PassOptions,
    Real, Tap, Workspace,
};

use crate::fixture::{Fixture, distance, scale};
use crate::laws::CLASSIFIERS;

/// Of everything that a pass gives.
struct Values {
    states: Vec<f64>,
    logits: Vec<f64>,
    gradient: Vec<f64>,
}

fn values<R: Real>(model: &Model<R>, fixture: &Fixture) -> Values {
    let sequences = fixture.sequences();
    let batch = PackedBatch::new(model.architecture(), &sequences).expect("batch");
    let targets = fixture.targets();
    let mut capture = Capture::new(Interests::none().value(LayerSite::HiddenState));
    let options = PassOptions {
        masking: Masking::None,
        targets: Some(&targets),
        mask_gradients: true,
        ..PassOptions::default()
    };
    let output = model
        .run(&batch, &options, &mut Workspace::new(), &mut [&mut capture])
        .expect("pass");
    let wide = |numbers: &[R]| -> Vec<f64> { numbers.iter().map(|x| x.to_f64()).collect() };
    let layers = model.architecture().num_layers;
    let states = (0..sequences.len()).flat_map(|sequence| {
        // The stream that leaves the last block of a pre-norm model has another name.
        (0..layers - 1).flat_map(move |layer| [(sequence, layer)])
    });
    Values {
        states: states
            .flat_map(|(sequence, layer)| {
                let tap = Tap::Layer(layer, LayerSite::HiddenState);
                let value = capture.get(Pass::Forward, tap, sequence).expect("a state");
                wide(&value.data)
            })
            .collect(),
        logits: output
            .sequences
            .iter()
            .flat_map(|o| wide(&o.logits))
            .collect(),
        gradient: output
            .sequences
            .iter()
            .flat_map(|o| o.mask_gradient.clone().expect("a gradient"))
            .collect(),
    }
}

/// By the largest entry: states and logits, gradients of the heads' masks.
fn errors(ours: &Values, exact: &Values) -> [f64; 3] {
    let error = |a: &[f64], b: &[f64]| distance(a, b) / scale(b);
    let states = error(&ours.states, &exact.states);
    // A language model that learns gives a loss, and no logits.
    let logits = if exact.logits.is_empty() {
        states
    } else {
        error(&ours.logits, &exact.logits)
    };
    [states, logits, error(&ours.gradient, &exact.gradient)]
}

#[test]
fn errors_are_those_of_the_precision() {
    let names = CLASSIFIERS
        .into_iter()
        .chain(["bert-mlm", "gpt2-lm", "gpt2-untied"]);
    for name in names {
        let fixture = Fixture::open(name);
        let exact = values(&fixture.model::<f64>(), &fixture);
        let of = |precision| {
            let model = fixture.model::<f32>().with_precision(precision);
            errors(&values(&model.expect("a precision"), &fixture), &exact)
        };
        let [single, split, narrow] = Precision::ALL.map(of);
        for i in 0..3 {
            assert!(single[i] < 5e-6, "{name} {single:?}");
            assert!((1e-9..6e-5).contains(&split[i]), "{name} {split:?}");
            assert!((1e-4..0.5).contains(&narrow[i]), "{name} {narrow:?}");
        }
    }
}

#[test]
fn pruned_models_keep_the_precision() {
    let fixture = Fixture::open("bert-absolute");
    let model = fixture
        .model::<f32>()
        .with_precision(Precision::Bf16)
        .unwrap();
    let heads = [HeadId { layer: 0, head: 1 }, HeadId { layer: 2, head: 0 }];
    let pruned = model.without_heads(heads).unwrap();
    assert_eq!(pruned.precision(), Precision::Bf16);
    let fresh = fixture.model::<f32>().without_heads(heads).unwrap();
    let exact = values(&fresh, &fixture);
    let fresh = fresh.with_precision(Precision::Bf16).unwrap();
    let (pruned, fresh) = (values(&pruned, &fixture), values(&fresh, &fixture));
    assert_eq!(pruned.logits, fresh.logits);
    assert_eq!(pruned.gradient, fresh.gradient);
    assert_ne!(pruned.logits, exact.logits);
}

#[test]
fn changed_weights_are_computed_with_as_they_are() {
    let fixture = Fixture::open("bert-mlm");
    let mut model = fixture
        .model::<f32>()
        .with_precision(Precision::Split)
        .unwrap();
    model.each_parameter_mut(|_, _, values| values.iter_mut().for_each(|x| *x *= 0.5));
    assert_eq!(model.precision(), Precision::F32);
    let mut twin = fixture.model::<f32>();
    twin.each_parameter_mut(|_, _, values| values.iter_mut().for_each(|x| *x *= 0.5));
    assert_eq!(
        values(&model, &fixture).logits,
        values(&twin, &fixture).logits
    );
}

#[test]
fn other_numbers_have_no_precision() {
    let model = Fixture::open("bert-absolute").model::<f64>();
    assert!(model.clone().with_precision(Precision::F32).is_ok());
    let refused = model.with_precision(Precision::Split);
    assert!(matches!(refused, Err(Error::Precision { .. })));
}
