use std::ops::ControlFlow;

use bertology::checkpoint::NewHead;
use bertology::drive::Work;
use bertology::{OpenOptions, Source, Split, Task, corpus::CorpusOptions};
use bertology_testkit::{Tensors, golden, workspace};

use super::*;
use crate::Adam;

fn asset(name: &str) -> PathBuf {
    workspace().join("assets").join(name)
}

fn tiny() -> LoadedModel {
    let head = NewHead::default();
    LoadedModel::open_to_train(asset("tiny-bert"), &OpenOptions::new(), &head, 1).unwrap()
}

fn grammar(model: &LoadedModel, limit: usize) -> Corpus {
    let source = Source::glue(&asset("grammar"), Task::Cola, Split::Dev).unwrap();
    Corpus::new(
        model,
        source.with_limit(Some(limit)),
        &CorpusOptions::default(),
    )
    .unwrap()
}

/// Those of the golden file.
fn golden_options() -> Options {
    Options {
        max_steps: Some(50),
        batch_size: 8,
        adam: Adam {
            learning_rate: 5e-4,
            weight_decay: 0.1,
            ..Adam::default()
        },
        warmup: 0.2,
        max_norm: Some(0.5),
        dropout: false,
        seed: 7,
        work: Work::threads(2),
        ..Options::default()
    }
}

fn trained(options: &Options, watch: &mut dyn Watch, place: &Path) -> Result<Outcome, Error> {
    let model = tiny();
    let (train, dev) = (grammar(&model, 200), grammar(&model, 40));
    let data = Data {
        train: &train,
        dev: Some(&dev),
        teacher: None,
    };
    run(model.clone(), data, options, place, "key", watch)
}

fn weights(outcome: &Outcome) -> Vec<f32> {
    let mut all = Vec::new();
    let model = outcome.model.model();
    model.each_parameter(|_, _, values| all.extend_from_slice(values));
    all
}

/// PyTorch's model, AdamW, clipping and schedule in f32 on the same 50 batches. Losses and weights are 50 steps of rounding
/// apart: a weight is compared with the largest of its tensor.
#[test]
fn fifty_steps_are_pytorchs() {
    let golden = Tensors::golden("training/finetune-bert.safetensors");
    let place = tempfile::tempdir().unwrap();
    let found = trained(&golden_options(), &mut (), place.path()).unwrap();
    let expected = golden.f64("loss");
    assert_eq!(found.steps.len(), expected.len());
    for (at, (step, loss)) in found.steps.iter().zip(&expected).enumerate() {
        assert!(
            (step.loss - loss).abs() <= 1e-4 * loss.max(0.1),
            "step {at}: {} {loss}",
            step.loss
        );
    }
    for (at, (step, norm)) in found.steps.iter().zip(golden.f64("norm")).enumerate() {
        assert!(
            (step.norm - norm).abs() <= 1e-3 * norm,
            "step {at}: {} {norm}",
            step.norm
        );
    }
    let rates = golden.f64("rate");
    for (step, rate) in found.steps.iter().zip(rates) {
        assert!((step.rate - rate).abs() < 1e-9);
    }
    let folder = place.path().join("model");
    found.model.save(&folder, place.path()).unwrap();
    let written = Tensors::read(&folder.join("model.safetensors"));
    let mut compared = 0;
    for name in golden.names() {
        let Some(tensor) = name.strip_prefix("after.") else {
            continue;
        };
        // It moves no softmax: its gradient is rounding, which Adam divides by the size of that rounding.
        if tensor.ends_with("key.bias") {
            continue;
        }
        let (own, theirs) = (written.f64(tensor), golden.f64(&name));
        let largest = own
            .iter()
            .fold(0.0_f64, |most, value| most.max(value.abs()));
        // Every so many of them is in the file.
        for (at, value) in theirs.iter().enumerate() {
            let own = own[at * own.len().div_ceil(100)];
            assert!(
                (own - value).abs() <= 1e-4 * largest,
                "{tensor} [{at}]: {own} {value}"
            );
            compared += 1;
        }
    }
    assert!(compared > 4000, "{compared}");
}

/// Stops after some steps.
struct After(u64);

impl Watch for After {
    fn advance(&mut self, done: u64, total: u64) -> ControlFlow<()> {
        // Of the training, not of a look at the dev set.
        if total != 12 || done < self.0 {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(())
    }
}

fn short() -> Options {
    Options {
        max_steps: Some(12),
        dropout: true,
        evaluate_every: Some(5),
        keep: Keep::Best,
        ..golden_options()
    }
}

#[test]
fn neither_threads_nor_interruptions_change_a_bit() {
    let place = tempfile::tempdir().unwrap();
    let whole = trained(&short(), &mut (), place.path()).unwrap();
    let looks: Vec<u64> = whole.evaluated.iter().map(|look| look.step).collect();
    assert_eq!(looks, [5, 10, 12]);
    let alone = Options {
        work: Work::threads(1),
        ..short()
    };
    let place = tempfile::tempdir().unwrap();
    let one = trained(&alone, &mut (), place.path()).unwrap();
    assert_eq!(weights(&whole), weights(&one));
    let place = tempfile::tempdir().unwrap();
    for stop in [1, 4, 5, 6, 11, 12] {
        match trained(&short(), &mut After(stop), place.path()) {
            Err(Error::TrainingInterrupted { steps, total: 12 }) => assert_eq!(steps, stop),
            other => panic!("{other:?}"),
        }
    }
    let pieces = trained(&short(), &mut (), place.path()).unwrap();
    assert_eq!(weights(&whole), weights(&pieces));
    assert_eq!(whole.steps, pieces.steps);
    assert_eq!(whole.evaluated, pieces.evaluated);
}

#[test]
fn a_state_of_another_training_is_refused() {
    let place = tempfile::tempdir().unwrap();
    trained(&short(), &mut After(2), place.path()).unwrap_err();
    let path = place.path().join(STATE);
    let bytes = std::fs::read(&path).unwrap();
    let model = tiny();
    let train = grammar(&model, 200);
    let data = Data {
        train: &train,
        dev: None,
        teacher: None,
    };
    let again = |key: &str| run(model.clone(), data, &short(), place.path(), key, &mut ());
    let error = again("other").unwrap_err();
    assert!(error.to_string().contains("another model"), "{error}");
    for damaged in [&bytes[..bytes.len() - 3], &bytes[..40], b"nothing"] {
        std::fs::write(&path, damaged).unwrap();
        let error = again("key").unwrap_err();
        assert!(matches!(error, Error::Saved { .. }), "{error}");
    }
    remove(place.path()).unwrap();
    again("key").unwrap();
}

#[test]
fn what_is_frozen_stays_and_what_is_not_moves() {
    let place = tempfile::tempdir().unwrap();
    let options = Options {
        max_steps: Some(2),
        freeze: vec![Freeze::Embeddings, Freeze::Layers(3)],
        ..golden_options()
    };
    let found = trained(&options, &mut (), place.path()).unwrap();
    let mut before = Vec::new();
    let model = tiny();
    model
        .model()
        .each_parameter(|name, _, values| before.push((name, values.to_vec())));
    let mut before = before.into_iter();
    found.model.model().each_parameter(|name, _, values| {
        let (of, was) = before.next().unwrap();
        assert_eq!(of, name);
        let text = name.to_string();
        let frozen = text.contains("Embedding")
            || ["0", "1", "2"]
                .iter()
                .any(|layer| text.starts_with(&format!("Layer({layer}, ")));
        assert_eq!(was == values, frozen, "{text}");
    });
    let options = Options {
        freeze: vec![Freeze::Encoder, Freeze::Embeddings],
        ..options
    };
    trained(&options, &mut (), tempfile::tempdir().unwrap().path()).unwrap();
}

/// Without dropout two batches of four make the step of one of eight.
#[test]
fn accumulated_batches_are_one() {
    let options = Options {
        max_steps: Some(5),
        ..golden_options()
    };
    let halves = Options {
        batch_size: 4,
        accumulation: 2,
        ..options.clone()
    };
    let one = trained(&options, &mut (), tempfile::tempdir().unwrap().path()).unwrap();
    let two = trained(&halves, &mut (), tempfile::tempdir().unwrap().path()).unwrap();
    for (one, two) in one.steps.iter().zip(&two.steps) {
        assert!(
            (one.loss - two.loss).abs() < 1e-4,
            "{} {}",
            one.loss,
            two.loss
        );
    }
}

/// A teacher that is the model itself and has all of the say leaves it where it is: the gradient is 0.
#[test]
fn a_model_learns_nothing_from_itself() {
    let model = tiny();
    let train = grammar(&model, 40);
    let options = Options {
        max_steps: Some(3),
        max_norm: None,
        distillation: Distillation {
            temperature: 2.0,
            share: 1.0,
            hidden: 1.0,
        },
        ..golden_options()
    };
    let data = Data {
        train: &train,
        dev: None,
        teacher: Some((&model, &train)),
    };
    let place = tempfile::tempdir().unwrap();
    let found = run(model.clone(), data, &options, place.path(), "key", &mut ()).unwrap();
    // The first step has a learning rate of 0.
    assert!(
        found.steps[0].norm < 1e-4 && found.steps[1].norm < 1e-4,
        "{:?}",
        found.steps
    );
    assert!(found.steps[0].loss.abs() < 1e-9);
}

/// A model that is shown the states of another comes closer to them, and one of another shape is refused.
#[test]
fn hidden_states_draw_near_and_must_fit() {
    let model = tiny();
    let train = grammar(&model, 40);
    let (outline, mut weights) = model.clone().into_parts();
    weights.each_parameter_mut(|_, _, values| values.iter_mut().for_each(|value| *value *= 1.2));
    let teacher = LoadedModel::from_parts(outline, weights);
    let options = |hidden| Options {
        max_steps: Some(12),
        distillation: Distillation {
            temperature: 2.0,
            share: 0.0,
            hidden,
        },
        adam: Adam {
            learning_rate: 1e-3,
            ..Adam::default()
        },
        ..golden_options()
    };
    let data = |teacher| Data {
        train: &train,
        dev: None,
        teacher: Some((teacher, &train)),
    };
    let place = tempfile::tempdir().unwrap();
    let learnt = |teacher, hidden: f64, key| {
        run(
            model.clone(),
            data(teacher),
            &options(hidden),
            place.path(),
            key,
            &mut (),
        )
    };
    let found = learnt(&teacher, 10.0, "near").unwrap();
    remove(place.path()).unwrap();
    let (first, last) = (found.steps[0].loss, found.steps[11].loss);
    assert!(last < 0.8 * first, "{first} {last}");
    let small = LoadedModel::open(golden("engine/bert-absolute")).unwrap();
    let error = learnt(&small, 1.0, "small").unwrap_err();
    assert!(matches!(error, Error::TeacherShape { .. }), "{error}");
    let source = Source::glue(&asset("grammar"), Task::Cola, Split::Train).unwrap();
    let others = Corpus::new(
        &model,
        source.with_limit(Some(40)),
        &CorpusOptions::default(),
    );
    let others = others.unwrap();
    let data = Data {
        teacher: Some((&teacher, &others)),
        ..data(&teacher)
    };
    let error = run(
        model.clone(),
        data,
        &options(1.0),
        place.path(),
        "others",
        &mut (),
    );
    let error = error.unwrap_err();
    assert!(
        matches!(error, Error::TeacherTokens { example: 0 }),
        "{error}"
    );
}

/// One block that three layers share is trained at one rate, all of it or nothing.
#[test]
fn layers_that_share_their_weights_are_not_told_apart() {
    let folder = golden("engine/albert");
    let checkpoint = bertology::Checkpoint::open(&folder, &OpenOptions::new()).unwrap();
    let model = bertology::Model::<f32>::from_checkpoint(&checkpoint).unwrap();
    let learner = |freeze: Vec<Freeze>, layer_decay: f64| {
        let options = Options {
            freeze,
            layer_decay,
            ..golden_options()
        };
        Learner::new(model.clone(), &options, 1).map(drop)
    };
    for freeze in [
        Freeze::Layers(0),
        Freeze::Layers(3),
        Freeze::Embeddings,
        Freeze::Encoder,
    ] {
        learner(vec![freeze], 1.0).unwrap();
    }
    for (freeze, decay) in [(vec![Freeze::Layers(2)], 1.0), (Vec::new(), 0.9)] {
        let refused = learner(freeze, decay).unwrap_err();
        assert!(matches!(refused, Error::SharedLayers { .. }), "{refused}");
        assert_eq!(refused.kind(), bertology::Kind::Input);
    }
}
