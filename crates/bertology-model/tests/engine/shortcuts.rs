//! What is left out, shared or taken in blocks changes no result.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use bertology_model::{
    Capture, Error, Event, HeadId, HeadMask, Interests, Intervention, LayerSite, Masking,
    MatrixMut, ModelSite, Observer, PackedBatch, Pass, PassOptions, Place, Replaced, Sequence,
    SequenceOutput, Tap, Target, Workspace,
};

use crate::fixture::{Fixture, distance};
use crate::laws::CLASSIFIERS;

/// Positions of the last layer that nobody reads are left out; whoever looks at them has them computed,
/// and no result changes.
#[test]
fn looking_at_unread_positions_changes_nothing() {
    let language = [
        "bert-mlm",
        "gpt2-lm",
        "gpt-lm",
        "bert-pretraining",
        "albert-pretraining",
        "bert-bare",
        "gpt2-bare",
    ];
    for name in CLASSIFIERS.into_iter().chain(language) {
        let fixture = Fixture::open(name);
        let model = fixture.model::<f64>();
        let batch = fixture.batch(&model);
        let mut targets = fixture.has("labels").then(|| fixture.targets());
        for target in targets.iter_mut().flatten() {
            // Few enough that leaving out the others pays, none at all for the second text.
            if let Target::Tokens(tokens) | Target::PreTraining { tokens, .. } = target {
                let last = tokens.iter().rposition(Option::is_some);
                let keep = last.filter(|_| tokens.len() != 5);
                for (i, token) in tokens.iter_mut().enumerate() {
                    *token = token.filter(|_| Some(i) == keep);
                }
            }
        }
        let look = |interests: Interests| {
            let mut capture = Capture::new(interests);
            let options = PassOptions {
                targets: targets.as_deref(),
                mask_gradients: targets.is_some(),
                ..PassOptions::default()
            };
            let output = model
                .run(&batch, &options, &mut Workspace::new(), &mut [&mut capture])
                .expect("pass");
            (output.sequences, capture)
        };
        let entropy = Interests::none().value(LayerSite::AttentionProbs);
        let (few, maps) = look(entropy);
        let (all, all_maps) = look(entropy.value(LayerSite::HiddenState));
        let (none, _) = look(Interests::none());
        for (((few, all), none), n) in few.iter().zip(&all).zip(&none).zip(batch.ranges()) {
            for other in [few, none] {
                assert!(distance(&other.logits, &all.logits) < 1e-12, "{name} {n:?}");
                assert_eq!(other.loss.is_some(), all.loss.is_some());
                let off = other.loss.unwrap_or(0.0) - all.loss.unwrap_or(0.0);
                assert!(off.abs() < 1e-12, "{name} {n:?}: {off}");
                let gradient =
                    |o: &SequenceOutput<f64>| o.mask_gradient.clone().unwrap_or_default();
                assert!(
                    distance(&gradient(other), &gradient(all)) < 1e-12,
                    "{name} {n:?}"
                );
            }
        }
        for (pass, tap, sequence, head, map) in maps.iter() {
            let found = all_maps
                .iter()
                .find(|(p, t, s, h, _)| (*p, *t, *s, *h) == (pass, tap, sequence, head));
            assert!(distance(&map.data, &found.expect("seen").4.data) < 1e-12);
        }
    }
}

/// Leaving heads out one by one, with what is common computed once, gives what each smaller model gives.
#[test]
fn leaving_out_each_head_equals_pruning_it() {
    for name in CLASSIFIERS
        .into_iter()
        .chain(["bert-mlm", "gpt2-lm", "gpt-lm", "bert-bare"])
    {
        let fixture = Fixture::open(name);
        let model = fixture.model::<f64>();
        let batch = fixture.batch(&model);
        let targets = fixture.has("labels").then(|| fixture.targets());
        let mut mask = HeadMask::ones(&model);
        mask.set(HeadId { layer: 0, head: 0 }, 0.5);
        let options = PassOptions {
            masking: Masking::Shared(&mask),
            targets: targets.as_deref(),
            token_logits: name == "gpt-lm",
            target_logits: true,
            ..PassOptions::default()
        };
        let heads: Vec<HeadId> = model.heads().collect();
        let mut seen = Vec::new();
        model
            .run_without_each(
                &batch,
                &options,
                &mut Workspace::new(),
                &heads,
                |head, found| {
                    let rest = model.without_heads(head).expect("prune");
                    let mut mask = mask.clone();
                    if let Some(head) = head {
                        mask.set(head, 0.0);
                    }
                    let options = PassOptions {
                        masking: Masking::Shared(&mask),
                        ..options
                    };
                    let expected = rest
                        .run(&batch, &options, &mut Workspace::new(), &mut [])
                        .expect("pass");
                    for (a, b) in found.iter().zip(&expected.sequences) {
                        assert!(distance(&a.logits, &b.logits) < 1e-12, "{name} {head:?}");
                        let off = a.loss.unwrap_or(0.0) - b.loss.unwrap_or(0.0);
                        assert!(off.abs() < 1e-12, "{name} {head:?}");
                        let tokens =
                            |o: &SequenceOutput<f64>| o.token_logits.clone().unwrap_or_default();
                        assert!(distance(&tokens(a), &tokens(b)) < 1e-12, "{name} {head:?}");
                        let there = |o: &SequenceOutput<f64>| o.target_logits.clone();
                        let (found, expected) = (there(a), there(b));
                        assert_eq!(found.is_some(), expected.is_some(), "{name} {head:?}");
                        let off =
                            distance(&found.unwrap_or_default(), &expected.unwrap_or_default());
                        assert!(off < 1e-12, "{name} {head:?}");
                    }
                    assert_eq!(found.len(), batch.len());
                    seen.extend(head);
                },
            )
            .expect("ablation");
        assert_eq!(seen, heads, "{name}");
        let outside = [HeadId { layer: 0, head: 9 }];
        let error = model
            .run_without_each(&batch, &options, &mut Workspace::new(), &outside, |_, _| {})
            .expect_err("no such head");
        assert!(error.to_string().contains("L0H9 does not exist"));
    }
}

/// With one head left in its layer, under a mask too, a batch gives what the model without all others gives.
#[test]
fn heads_alone_share_what_is_common() {
    for name in CLASSIFIERS.into_iter().chain(["gpt-lm"]) {
        let fixture = Fixture::open(name);
        let model = fixture.model::<f64>();
        let batch = fixture.batch(&model);
        let targets = fixture.has("labels").then(|| fixture.targets());
        let mut mask = HeadMask::ones(&model);
        mask.set(HeadId { layer: 0, head: 0 }, 0.5);
        let options = PassOptions {
            masking: Masking::Shared(&mask),
            targets: targets.as_deref(),
            ..PassOptions::default()
        };
        let heads: Vec<HeadId> = model.heads().collect();
        let (mut seen, mut moved, mut whole) = (Vec::new(), 0, Vec::new());
        model
            .run_with_each_alone(
                &batch,
                &options,
                &mut Workspace::new(),
                &heads,
                |head, found| {
                    let Some(head) = head else {
                        whole = found;
                        return;
                    };
                    let others = heads
                        .iter()
                        .filter(|other| other.layer == head.layer && **other != head);
                    let others: Vec<HeadId> = others.copied().collect();
                    let rest = model.without_heads(others.clone()).expect("prune");
                    let mut mask = mask.clone();
                    others.iter().for_each(|other| mask.set(*other, 0.0));
                    let options = PassOptions {
                        masking: Masking::Shared(&mask),
                        ..options
                    };
                    let expected = rest
                        .run(&batch, &options, &mut Workspace::new(), &mut [])
                        .expect("pass");
                    for ((a, b), all) in found.iter().zip(&expected.sequences).zip(&whole) {
                        assert!(distance(&a.logits, &b.logits) < 1e-12, "{name} {head}");
                        let off = a.loss.unwrap_or(0.0) - b.loss.unwrap_or(0.0);
                        assert!(off.abs() < 1e-12, "{name} {head}");
                        let loss = a.loss != all.loss || distance(&a.logits, &all.logits) > 1e-9;
                        moved += usize::from(loss);
                    }
                    assert_eq!(found.len(), batch.len());
                    seen.push(head);
                },
            )
            .expect("heads alone");
        assert_eq!(seen, heads, "{name}");
        assert!(moved > 0, "{name}: no head alone differs from the whole");

        // A layer with one head is whole with it, to the bit.
        let one = HeadId { layer: 1, head: 1 };
        let others = heads.iter().filter(|head| head.layer == 1 && **head != one);
        let others: Vec<HeadId> = others.copied().collect();
        let lonely = model.without_heads(others.clone()).expect("prune");
        others.iter().for_each(|other| mask.set(*other, 0.0));
        let options = PassOptions {
            masking: Masking::Shared(&mask),
            targets: targets.as_deref(),
            ..PassOptions::default()
        };
        let mut found = Vec::new();
        lonely
            .run_with_each_alone(&batch, &options, &mut Workspace::new(), &[one], |_, all| {
                found.push(all);
            })
            .expect("a head alone");
        assert_eq!(found[0], found[1], "{name}");
    }
}

/// Long texts are taken a tile of queries at a time, unless someone looks at scores, probabilities or their gradients: both ways
/// agree.
#[test]
fn tiles_of_queries_change_nothing() {
    for name in [
        "bert-mlm",
        "esmc-mlm",
        "eurobert-mlm",
        "gte-mlm",
        "jinabert-mlm",
        "gpt-lm",
        "gpt2-lm",
        "modernbert-mlm",
        "mpnet-mlm",
    ] {
        let fixture = Fixture::open(name);
        let model = fixture.model::<f64>();
        let causal = model.architecture().causal;
        let told = !model.architecture().positions.ignores_ids();
        let sequences: Vec<Sequence> = [300_u32, 128, 129, 7]
            .into_iter()
            .map(|n| Sequence {
                positions: (0..n).filter(|_| told).map(|i| i % 16).collect(),
                ..Sequence::new((0..n).map(|i| 5 + (i * i * 7 + n) % 50).collect())
            })
            .collect();
        let targets: Vec<Target> = sequences
            .iter()
            .map(|s| match causal {
                true => Target::next_tokens(&s.ids),
                false => Target::Tokens(s.ids.iter().map(|id| Some(*id)).collect()),
            })
            .collect();
        let batch = PackedBatch::new(model.architecture(), &sequences).expect("batch");
        let options = PassOptions {
            targets: Some(&targets),
            mask_gradients: true,
            ..PassOptions::default()
        };
        let look = |interests: Interests| {
            let mut capture = Capture::new(interests.gradient(ModelSite::Embeddings));
            let output = model
                .run(&batch, &options, &mut Workspace::new(), &mut [&mut capture])
                .expect("pass");
            (output.sequences, capture)
        };
        // Whoever may change anything has everything computed, too.
        struct Nothing;
        impl Intervention<f64> for Nothing {
            fn interests(&self) -> Interests {
                Interests::none()
            }

            fn intervene(&mut self, _: &Place, _: MatrixMut<'_, f64>) -> Result<Replaced, Error> {
                Ok(Replaced::Nothing)
            }
        }
        let forward = model
            .run_with(
                &batch,
                &options,
                &mut Workspace::new(),
                &mut [],
                &mut [&mut Nothing],
            )
            .expect("pass");
        let (blocks, below) = look(Interests::none());
        for (x, y) in blocks.iter().zip(&forward.sequences) {
            assert!((x.loss.expect("loss") - y.loss.expect("loss")).abs() < 1e-12);
        }
        let (whole, below_whole) = look(Interests::none().gradient(LayerSite::AttentionProbs));
        let tap = Tap::Model(ModelSite::Embeddings);
        for (b, (x, y)) in blocks.iter().zip(&whole).enumerate() {
            assert!((x.loss.expect("loss") - y.loss.expect("loss")).abs() < 1e-12);
            let gradient = |o: &SequenceOutput<f64>| o.mask_gradient.clone().expect("gradient");
            assert!(distance(&gradient(x), &gradient(y)) < 1e-11, "{name} {b}");
            let seen = |c: &Capture<f64>| c.get(Pass::Backward, tap, b).expect("seen").data.clone();
            assert!(
                distance(&seen(&below), &seen(&below_whole)) < 1e-11,
                "{name} {b}"
            );
        }
    }
}

/// A signal raised while a pass runs ends it at the next layer, on the way up and on the way back.
#[test]
fn a_raised_signal_ends_a_pass() {
    struct Raise<'a>(&'a AtomicBool, Interests, usize);
    impl Observer<f64> for Raise<'_> {
        fn interests(&self) -> Interests {
            self.1
        }

        fn observe(&mut self, _: &Event<'_, f64>) -> ControlFlow<()> {
            self.2 += 1;
            self.0.store(true, Ordering::Relaxed);
            ControlFlow::Continue(())
        }
    }
    let fixture = Fixture::open(CLASSIFIERS[0]);
    let model = fixture.model::<f64>();
    let batch = fixture.batch(&model);
    let targets = fixture.targets();
    for interests in [
        Interests::none().value(LayerSite::MlpOutput),
        Interests::none().gradient(LayerSite::MlpOutput),
    ] {
        let stop = AtomicBool::new(false);
        let options = PassOptions {
            targets: Some(&targets),
            stop: Some(&stop),
            ..PassOptions::default()
        };
        let mut raise = Raise(&stop, interests, 0);
        let ended = model.run(&batch, &options, &mut Workspace::new(), &mut [&mut raise]);
        assert!(matches!(ended, Err(Error::Stopped)), "{ended:?}");
        // One layer of each text was seen, no other.
        assert_eq!(raise.2, batch.len());
        let heads: Vec<HeadId> = model.heads().collect();
        let ended =
            model.run_without_each(&batch, &options, &mut Workspace::new(), &heads, |_, _| {
                panic!("nothing is finished")
            });
        assert!(matches!(ended, Err(Error::Stopped)), "{ended:?}");
    }
}

/// A pass for observers alone shows them what any pass shows them, and gives no results.
#[test]
fn a_pass_for_observers_alone_shows_the_same() {
    let causal = ["gpt2-lm", "gpt-lm", "bert-relative-key"];
    for name in CLASSIFIERS.into_iter().chain(causal) {
        let fixture = Fixture::open(name);
        let model = fixture.model::<f64>();
        let batch = fixture.batch(&model);
        for site in [
            LayerSite::AttentionProbs,
            LayerSite::Key,
            LayerSite::Value,
            LayerSite::HeadOutput,
            LayerSite::MlpInner,
            LayerSite::HiddenState,
        ] {
            let look = |observed_only: bool| {
                let mut capture = Capture::new(Interests::none().value(site));
                let options = PassOptions {
                    observed_only,
                    ..PassOptions::default()
                };
                // What an earlier pass left behind must not be taken for values.
                let mut workspace = Workspace::new();
                for _ in 0..2 {
                    let observers: &mut [&mut dyn Observer<f64>] = &mut [&mut capture];
                    let output = model.run(&batch, &options, &mut workspace, observers);
                    let output = output.expect("pass");
                    assert_eq!(output.sequences.len(), batch.len());
                    let given = output.sequences.iter().any(|s| !s.logits.is_empty());
                    assert!(!(given && observed_only), "{name}");
                }
                capture
            };
            let (alone, usual) = (look(true), look(false));
            assert!(alone.iter().next().is_some());
            for ((.., a), (.., b)) in alone.iter().zip(usual.iter()) {
                assert!(distance(&a.data, &b.data) < 1e-12, "{name} {site:?}");
            }
            assert_eq!(alone.iter().count(), usual.iter().count());
        }
        let mut sees_logits = Capture::new(Interests::none().value(ModelSite::Logits));
        let options = PassOptions {
            observed_only: true,
            ..PassOptions::default()
        };
        let mut run = |options: &PassOptions<'_>| {
            model.run(
                &batch,
                options,
                &mut Workspace::new(),
                &mut [&mut sees_logits],
            )
        };
        let output = run(&options).expect("pass");
        let any = output.sequences.iter().any(|s| !s.logits.is_empty());
        assert_eq!(any, CLASSIFIERS.contains(&name), "{name}");
        let both = PassOptions {
            token_logits: true,
            ..options
        };
        assert!(matches!(run(&both), Err(Error::ObservedOnly)));
        let ablated =
            model.run_without_each(&batch, &options, &mut Workspace::new(), &[], |_, _| {});
        assert!(matches!(ablated, Err(Error::ObservedOnly)));
    }
}
