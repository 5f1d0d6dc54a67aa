//! What is true of passes on a device beyond what is true of all passes, which `BERTOLOGY_TEST_DEVICE` tests there.

use bertology_kernels::Precision;
use bertology_model::bertology_device::{self as device, Host};
use bertology_model::{
    Capture, Error, HeadId, Interests, LayerSite, Masking, Model, ModelSite, PassOptions, Site,
    Workspace,
};

use crate::fixture::{Fixture, placed};

/// Everything that can be seen on both ways of a pass, and what it gives.
fn everything(fixture: &Fixture, model: &Model<f64>) -> (Vec<f64>, Vec<String>) {
    let sites = [
        LayerSite::Query,
        LayerSite::Key,
        LayerSite::Value,
        LayerSite::AttentionScores,
        LayerSite::AttentionProbs,
        LayerSite::HeadOutput,
        LayerSite::HeadContribution,
        LayerSite::AttentionOutput,
        LayerSite::MlpInner,
        LayerSite::MlpOutput,
        LayerSite::HiddenState,
    ];
    let mut interests = Interests::none()
        .value(ModelSite::Embeddings)
        .gradient(ModelSite::Embeddings)
        .gradient(LayerSite::HeadMask)
        .gradient(LayerSite::NeuronMask);
    for site in sites.map(Site::Layer) {
        interests = interests.value(site).gradient(site);
    }
    let mut capture = Capture::new(interests);
    let targets = fixture.targets();
    let options = PassOptions {
        targets: Some(&targets),
        mask_gradients: true,
        ..PassOptions::default()
    };
    let batch = fixture.batch(model);
    let output = model
        .run(&batch, &options, &mut Workspace::new(), &mut [&mut capture])
        .expect("a pass");
    let mut numbers = Vec::new();
    for sequence in &output.sequences {
        numbers.extend_from_slice(&sequence.logits);
        numbers.extend(sequence.loss);
        numbers.extend(sequence.mask_gradient.iter().flatten());
    }
    let mut places = Vec::new();
    for (pass, tap, sequence, head, value) in capture.iter() {
        places.push(format!("{pass:?} {tap:?} {sequence} {head:?}"));
        numbers.extend_from_slice(&value.data);
    }
    (numbers, places)
}

/// A device that holds little has the attention of few heads at a time, and the same results.
#[test]
fn small_buffers_change_nothing() {
    for name in [
        "bert-absolute",
        "bert-relative-key-query",
        "deberta",
        "gpt2",
    ] {
        let fixture = Fixture::open(name);
        let on = |host: Host| fixture.model::<f64>().on_device(host).expect("placed");
        let longest = fixture.sequences().iter().map(|s| s.len()).max().unwrap();
        // The map of one head in the longest text, and what distances it meets.
        let bytes = (longest * 4 * longest * 8) as u64;
        let (whole, places) = everything(&fixture, &on(Host::new()));
        let (parts, same) = everything(&fixture, &on(Host::with_limits(u64::MAX, bytes)));
        assert_eq!(places, same, "{name}");
        for (a, b) in whole.iter().zip(&parts) {
            let near = (a - b).abs() <= 1e-12 * a.abs().max(1.0);
            assert!(a == b || near, "{name}: {a} {b}");
        }
        // One map is too much.
        let tiny = on(Host::with_limits(u64::MAX, 64));
        let batch = fixture.batch(&tiny);
        let refused = tiny.run(
            &batch,
            &PassOptions::default(),
            &mut Workspace::new(),
            &mut [],
        );
        assert!(
            matches!(refused, Err(Error::Device(device::Error::TooLarge { .. }))),
            "{name}: {refused:?}"
        );
    }
}

/// Bytes that cross to the device and back are the rows that the classifier reads, the ids, and a table.
#[test]
fn little_crosses() {
    let fixture = Fixture::open("bert-absolute");
    let model = fixture
        .model::<f32>()
        .on_device(Host::new())
        .expect("placed");
    let batch = fixture.batch(&model);
    let targets = fixture.targets();
    let options = PassOptions {
        targets: Some(&targets),
        mask_gradients: true,
        ..PassOptions::default()
    };
    let mut work = Workspace::new();
    let mut run = || {
        model
            .run(&batch, &options, &mut work, &mut [])
            .expect("a pass");
        model.carried()
    };
    let first = run();
    let again = run() - first;
    let arch = model.architecture();
    let (sequences, tokens) = (batch.len(), batch.tokens());
    let heads = arch.num_layers * arch.num_heads;
    // Rows and their gradients; ids, positions and segments; places, flags and gradients of the mask, small things of shapes.
    let rows = 2 * sequences * arch.hidden_size;
    let tables = 3 * tokens + sequences * (heads + 64 * arch.num_layers) + 1024;
    let most = 4 * (rows + tables) as u64;
    assert!(again < most, "{again} of {most} bytes");
    assert!(
        again < first / 2,
        "weights are carried once: {first} {again}"
    );
    assert_eq!(run() - first - again, again);
}

/// Losses of language models and their gradients, found on the device a few targets at a time, are the engine's own; with the
/// logits asked for, which are found on the processor, too.
#[test]
fn losses_of_words_are_those_of_the_processor() {
    let names = [
        "bert-mlm",
        "bert-pretraining",
        "albert-mlm",
        "electra-generator",
        "esm-mlm",
        "modernbert-mlm",
        "deberta-mlm",
        "gpt-lm",
        "gpt2-lm",
        "gpt2-untied",
    ];
    for name in names {
        let fixture = Fixture::open(name);
        let targets = fixture.targets();
        let run = |model: &Model<f64>, target_logits| {
            let options = PassOptions {
                targets: Some(&targets),
                mask_gradients: true,
                target_logits,
                ..PassOptions::default()
            };
            let batch = fixture.batch(model);
            let output = model.run(&batch, &options, &mut Workspace::new(), &mut []);
            let mut numbers = Vec::new();
            for sequence in output.expect("a pass").sequences {
                numbers.extend(sequence.loss);
                numbers.extend(sequence.mask_gradient.into_iter().flatten());
                numbers.extend(sequence.logits);
            }
            numbers
        };
        let here = run(&fixture.model(), true);
        let longest = fixture.sequences().iter().map(|s| s.len()).max().unwrap();
        let map_bytes = (longest * 4 * longest * 8) as u64;
        for host in [Host::new(), Host::with_limits(u64::MAX, map_bytes)] {
            let model = fixture.model::<f64>().on_device(host).expect("placed");
            for target_logits in [false, true] {
                let there = run(&model, target_logits);
                assert_eq!(here.len(), there.len(), "{name}");
                for (a, b) in here.iter().zip(&there) {
                    assert!((a - b).abs() < 1e-10, "{name}: {a} {b}");
                }
            }
        }
    }
}

/// Weights that two models have in common are carried once; changed ones again.
#[test]
fn models_without_some_heads_are_on_the_device_too() {
    let fixture = Fixture::open("bert-absolute");
    let model = fixture
        .model::<f32>()
        .on_device(Host::new())
        .expect("placed");
    let batch = fixture.batch(&model);
    let logits = |model: &Model<f32>| {
        let output = model.run(
            &batch,
            &PassOptions::default(),
            &mut Workspace::new(),
            &mut [],
        );
        output.expect("a pass").sequences[0].logits.clone()
    };
    let whole = logits(&model);
    let carried = model.carried();
    let head = HeadId { layer: 1, head: 0 };
    let mut cut = model.without_heads([head]).expect("pruned");
    assert_eq!(cut.device().map(|info| info.name.as_str()), Some("host"));
    let cut_logits = logits(&cut);
    assert_ne!(cut_logits, whole);
    assert!(model.carried() - carried < carried / 2);
    cut.each_parameter_mut(|_, _, values| values.iter_mut().for_each(|x| *x *= 0.5));
    assert_ne!(logits(&cut), cut_logits);
    assert_eq!(logits(&model), whole);
}

#[test]
fn a_device_has_one_precision() {
    let fixture = Fixture::open("bert-absolute");
    let on = fixture
        .model::<f32>()
        .on_device(Host::new())
        .expect("placed");
    let refused = on.with_precision(Precision::Split);
    assert!(matches!(refused, Err(Error::DevicePrecision { .. })));
    if fixture.model::<f32>().device().is_none() {
        let split = fixture.model::<f32>().with_precision(Precision::Split);
        let refused = split.expect("a precision").on_device(Host::new());
        assert!(matches!(refused, Err(Error::DevicePrecision { .. })));
    }
}

/// The tests of this folder run where they are told to.
#[test]
fn tests_are_placed() {
    let wanted = std::env::var("BERTOLOGY_TEST_DEVICE").is_ok();
    let model = placed(Fixture::open("bert-absolute").model::<f32>());
    assert_eq!(model.device().is_some(), wanted);
    let options = PassOptions {
        masking: Masking::None,
        ..PassOptions::default()
    };
    let batch = Fixture::open("bert-absolute").batch(&model);
    model
        .run(&batch, &options, &mut Workspace::new(), &mut [])
        .expect("a pass");
    assert_eq!(model.carried() > 0, wanted);
}
