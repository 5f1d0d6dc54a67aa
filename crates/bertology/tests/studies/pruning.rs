//! Removing heads in memory and on disk.

use bertology::checkpoint::{Export, WriteOptions};
use bertology::pruning::{compare_speed, masked_heads, prune, synthetic_sequences, write};
use bertology::timing::{Load, TimingOptions, measure};
use bertology::{Error, HeadId, HeadMask, HeadSet, LoadedModel, evaluate};

use super::fixture::{Fixture, HEAD_DIM, HEADS, HIDDEN, LAYERS, StopAfter, budget, golden, rows};

fn heads(text: &str) -> HeadSet {
    HeadSet::parse(text, LAYERS, HEADS).unwrap()
}

#[test]
fn sizes_follow_the_formula_and_scores_those_of_the_mask() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(15));
    for (text, count) in [
        ("", 0),
        ("0:1", 1),
        ("0:1 1:0-3", 5),
        ("0:0-3 1:0-3 2:0-3", 12),
    ] {
        let pruned = prune(&model, &heads(text)).unwrap();
        let sizes = pruned.sizes;
        assert_eq!((sizes.heads_before, sizes.heads_after), (12, 12 - count));
        let removed = count * (4 * HIDDEN * HEAD_DIM + 3 * HEAD_DIM);
        assert_eq!(sizes.parameters_before - sizes.parameters_after, removed);

        let mut mask = HeadMask::ones(model.model());
        for (layer, head) in heads(text).iter() {
            mask.set(HeadId { layer, head }, 0.0);
        }
        assert_eq!(masked_heads(&mask), heads(text));
        let smaller =
            evaluate::evaluate(&pruned.model, &corpus, None, &budget(100), &mut ()).unwrap();
        let masked =
            evaluate::evaluate(&model, &corpus, Some(&mask), &budget(100), &mut ()).unwrap();
        assert_eq!(smaller, masked);
    }
    // Again changes nothing, and only what is new counts as removed.
    let once = prune(&model, &heads("0:1")).unwrap();
    let twice = prune(&once.model, &heads("0:1 2:2")).unwrap();
    assert_eq!(twice.removed, heads("2:2"));
    assert_eq!(twice.sizes.heads_after, 10);
    let error = prune(&model, &[(3, 0)].into_iter().collect()).unwrap_err();
    assert!(error.to_string().contains("L3H0"), "{error}");
}

/// The weights of what is opened again are carried to the device of the model that it was made of.
#[cfg(feature = "gpu")]
#[test]
fn what_is_written_is_compared_on_the_device_of_the_model() {
    let fixture = Fixture::new();
    let model = fixture.model().on(&bertology::Device::Host).unwrap();
    let sequences = synthetic_sequences(model.architecture(), 1, 4);
    let write = |name: &str| {
        let (folder, options) = (
            fixture.folder.path().join(name),
            WriteOptions::new(Export::Zeroed),
        );
        write(&model, &heads("0:1"), &folder, &options, &sequences).unwrap();
        model.model().carried()
    };
    // Now all that the model in memory needs is there, but for the layer that has lost a head.
    let before = write("first");
    let carried = write("second") - before;
    let weights = 4 * model.model().parameters() as u64;
    assert!(carried > weights / 2, "{carried} of {weights}");
}

#[test]
fn what_is_written_computes_the_same_and_is_checked() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let sequences = synthetic_sequences(model.architecture(), 3, 12);
    for (name, export) in [("pruned", Export::Pruned), ("zeroed", Export::Zeroed)] {
        for (i, text) in ["0:1", "0:1,2 1:0-3", "0:0-3 1:0-3 2:0-3"]
            .into_iter()
            .enumerate()
        {
            let folder = fixture.folder.path().join(format!("{name}-{i}"));
            let options = WriteOptions::new(export);
            let written = write(&model, &heads(text), &folder, &options, &sequences).unwrap();
            assert_eq!(written.compared, 3);
            assert!(
                written.largest_difference < 1e-5,
                "{}",
                written.largest_difference
            );
            // With its tokenizer.
            let reopened = LoadedModel::open(&folder).unwrap();
            let expected = prune(&model, &heads(text)).unwrap().model;
            let texts = ["w5 w6", "w7"];
            let (found, expected) = (reopened.logits(&texts), expected.logits(&texts));
            for (a, b) in found
                .unwrap()
                .iter()
                .flatten()
                .zip(expected.unwrap().iter().flatten())
            {
                assert!((a - b).abs() < 1e-5);
            }
        }
    }
}

#[test]
fn heads_removed_in_memory_are_not_written_back() {
    let fixture = Fixture::new();
    let model = fixture
        .model()
        .without_heads([HeadId { layer: 2, head: 0 }])
        .unwrap();
    let folder = fixture.folder.path().join("both");
    let sequences = synthetic_sequences(model.architecture(), 1, 8);
    let options = WriteOptions::new(Export::Pruned);
    write(&model, &heads("0:1"), &folder, &options, &sequences).unwrap();
    let reopened = LoadedModel::open(&folder).unwrap();
    assert!(!reopened.model().has_head(HeadId { layer: 2, head: 0 }));
    assert_eq!(reopened.model().heads().count(), 10);
}

#[test]
fn models_of_every_kind_are_written_and_compared() {
    for name in [
        "bert-bare",
        "bert-mlm",
        "bert-nsp",
        "roberta",
        "roberta-pruned",
        "bert-f16",
    ] {
        let model = LoadedModel::open(golden(name)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let first: HeadSet = model
            .model()
            .heads()
            .take(1)
            .map(|id| (id.layer, id.head))
            .collect();
        let sequences = synthetic_sequences(model.architecture(), 2, 9);
        let path = folder.path().join("out");
        let options = WriteOptions::new(Export::Pruned);
        let written = write(&model, &first, &path, &options, &sequences);
        let written = written.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(written.largest_difference < 1e-4, "{name}");
    }
}

#[test]
fn speed_is_measured_in_pairs() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let none = prune(&model, &heads("0:0-3 1:0-3 2:0-3")).unwrap().model;
    let sequences = synthetic_sequences(model.architecture(), 20, 16);
    let mut options = TimingOptions::default();
    options.rounds = Some(11);
    options.threads = 1;
    let timing = compare_speed(&model, &none, &sequences, Some(64), &options, &mut ()).unwrap();
    assert_eq!((timing.before.len(), timing.after.len()), (11, 11));
    assert_eq!(
        (timing.sequences, timing.tokens, timing.threads),
        (20, 320, 1)
    );
    let speed = timing.speed;
    assert!(speed.low <= speed.ratio && speed.ratio <= speed.high);
    assert!(
        timing
            .before
            .iter()
            .chain(&timing.after)
            .all(|seconds| *seconds > 0.0)
    );
    let mut stop = StopAfter {
        examples: 2,
        lines: Vec::new(),
    };
    let error = compare_speed(&model, &none, &sequences, None, &options, &mut stop).unwrap_err();
    assert!(
        matches!(error, Error::Interrupted { done: 2, total: 10 }),
        "{error}"
    );
    options.rounds = Some(9);
    let error = compare_speed(&model, &none, &sequences, None, &options, &mut ()).unwrap_err();
    assert!(error.to_string().contains("at least 10"), "{error}");
    options.rounds = Some(10);
    let error = compare_speed(&model, &none, &[], None, &options, &mut ()).unwrap_err();
    assert!(error.to_string().contains("at least 1"), "{error}");
}

#[test]
fn every_load_is_timed_on_models_opened_anew() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let load = |count, length| Load {
        sequences: synthetic_sequences(model.architecture(), count, length),
        ..Load::default()
    };
    let loads = [load(1, 8), load(3, 5)];
    let mut options = TimingOptions::default();
    options.rounds = Some(20);
    let mut opened = Vec::new();
    let mut open = |at| {
        opened.push(at);
        Ok(model.clone())
    };
    let found = measure(&mut open, 2, &loads, &options, &mut ()).unwrap();
    assert_eq!(opened[..6], [0, 1, 1, 0, 0, 1]);
    assert_eq!(opened.len(), 20);
    let sizes: Vec<_> = found
        .iter()
        .map(|one| (one.sequences, one.tokens))
        .collect();
    assert_eq!(sizes, [(1, 8), (3, 15)]);
    for times in &found {
        assert!(times.seconds.iter().all(|times| times.len() == 20));
        assert_eq!(times.seconds.len(), 2);
    }
    options.rounds = Some(3);
    let alone = measure(|_| Ok(model.clone()), 1, &loads, &options, &mut ()).unwrap();
    assert_eq!(alone[1].seconds[0].len(), 3);
    options.rounds = Some(0);
    let error = measure(|_| Ok(model.clone()), 1, &loads, &options, &mut ()).unwrap_err();
    assert!(error.to_string().contains("at least 1"), "{error}");
    options.rounds = None;
    options.seconds = f64::NAN;
    let error = measure(|_| Ok(model.clone()), 1, &loads, &options, &mut ()).unwrap_err();
    assert!(error.to_string().contains("above 0"), "{error}");
    options.seconds = 1e-6;
    let found = measure(|_| Ok(model.clone()), 1, &loads, &options, &mut ()).unwrap();
    assert_eq!(found[0].seconds[0].len(), 10);
}

#[test]
fn made_up_sequences_fit_any_model() {
    for name in ["bert-absolute", "roberta"] {
        let model = LoadedModel::open(golden(name)).unwrap();
        let arch = model.architecture();
        let sequences = synthetic_sequences(arch, 4, 1000);
        assert!(sequences.iter().all(|s| s.len() == arch.max_tokens()));
        assert_eq!(sequences, synthetic_sequences(arch, 4, 1000));
        model.logits(&sequences).unwrap();
    }
}
