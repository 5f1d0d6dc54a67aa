//! Laws that hold for any weights: no reference implementation needed.

use bertology_model::{
    Capture, HeadId, HeadMask, Interests, LayerSite, Masking, Model, PackedBatch, Pass,
    PassOptions, Real, Sequence, SequenceOutput, Tap, Target, Workspace,
};
use proptest::prelude::{ProptestConfig, any, prop, proptest};

use crate::fixture::{Fixture, distance};

pub(crate) const CLASSIFIERS: [&str; 18] = [
    "bert-absolute",
    "bert-relative-key",
    "bert-relative-key-query",
    "roberta",
    "distilbert",
    "electra",
    "mpnet",
    "modernbert",
    "albert",
    "esm",
    "esmc",
    "eurobert",
    "nomic",
    "jinabert",
    "gte",
    "deberta",
    "gpt2",
    "gpt",
];

fn run<R: Real>(
    model: &Model<R>,
    sequences: &[Sequence],
    targets: Option<&[Target]>,
    masking: Masking<'_>,
) -> Vec<SequenceOutput<R>> {
    let batch = PackedBatch::new(model.architecture(), sequences).expect("batch");
    let options = PassOptions {
        masking,
        targets,
        mask_gradients: targets.is_some(),
        ..PassOptions::default()
    };
    model
        .run(&batch, &options, &mut Workspace::new(), &mut [])
        .expect("pass")
        .sequences
}

fn total_loss(model: &Model<f64>, fixture: &Fixture, mask: &HeadMask) -> f64 {
    let targets = fixture.targets();
    run(
        model,
        &fixture.sequences(),
        Some(&targets),
        Masking::Shared(mask),
    )
    .iter()
    .map(|o| o.loss.expect("loss"))
    .sum()
}

/// Central differences in f64 at factors 1, ½ and 0; the error must fall with the square of the
/// step, which a gradient that is merely close cannot do.
#[test]
fn mask_gradient_is_the_central_difference() {
    for name in CLASSIFIERS
        .into_iter()
        .chain(["bert-regression", "bert-mlm", "bert-pretraining"])
        .chain(["electra-generator", "electra-discriminator"])
        .chain(["bert-tokens", "bert-answers", "esm-tokens"])
        .chain(["albert-groups-tokens", "albert-pretraining"])
        .chain(["modernbert-tokens", "modernbert-answers"])
        .chain(["gpt2-lm", "gpt-lm", "gpt2-all-options", "gpt2-untied"])
    {
        let fixture = Fixture::open(name);
        let model = fixture.model::<f64>();
        let mut mask = HeadMask::ones(&model);
        mask.set(HeadId { layer: 0, head: 1 }, 0.5);
        mask.set(HeadId { layer: 1, head: 2 }, 0.0);
        let targets = fixture.targets();
        let outputs = run(
            &model,
            &fixture.sequences(),
            Some(&targets),
            Masking::Shared(&mask),
        );
        for id in model.heads() {
            let index = id.layer * mask.heads() + id.head;
            let gradient: f64 = outputs
                .iter()
                .map(|o| o.mask_gradient.as_ref().expect("gradient")[index])
                .sum();
            let error = |step: f64| {
                let at = |sign: f64| {
                    let mut moved = mask.clone();
                    moved.set(id, mask.get(id) + sign * step);
                    total_loss(&model, &fixture, &moved)
                };
                ((at(1.0) - at(-1.0)) / (2.0 * step) - gradient).abs()
            };
            let (coarse, fine) = (error(1e-3), error(1e-4));
            assert!(
                fine < 1e-6 * (1.0 + gradient.abs()),
                "{name} {id}: {gradient} off by {fine}"
            );
            assert!(
                fine < coarse / 20.0 || fine < 1e-10,
                "{name} {id}: {coarse:e} {fine:e}"
            );
        }
    }
}

#[test]
fn gates_at_zero_equal_ablation_and_pruning() {
    for name in CLASSIFIERS {
        let fixture = Fixture::open(name);
        let model = fixture.model::<f64>();
        let sequences = fixture.sequences();
        for variant in 0..6 {
            let mut mask = HeadMask::ones(&model);
            for id in model.heads() {
                let off = match variant {
                    0 => false,
                    1 => id == HeadId { layer: 1, head: 3 },
                    2 => id.layer == 1,
                    3 => true,
                    4 => (id.layer + id.head) % 2 == 0,
                    _ => id.head != 2,
                };
                if off {
                    mask.set(id, 0.0);
                }
            }
            let masked = run(&model, &sequences, None, Masking::Shared(&mask));
            let pruned = model.without_masked(&mask).expect("pruned");
            assert_eq!(pruned.heads().count(), mask.live().count());
            let removed = run(&pruned, &sequences, None, Masking::None);
            for (a, b) in masked.iter().zip(&removed) {
                assert!(
                    distance(&a.logits, &b.logits) < 1e-12,
                    "{name} variant {variant}"
                );
            }
        }
    }
}

#[test]
fn a_mask_of_ones_is_no_mask_bit_for_bit() {
    let fixture = Fixture::open("roberta");
    let model = fixture.model::<f32>();
    let targets = fixture.targets();
    let sequences = fixture.sequences();
    let ones = HeadMask::ones(&model);
    let a = run(&model, &sequences, Some(&targets), Masking::None);
    let b = run(&model, &sequences, Some(&targets), Masking::Shared(&ones));
    assert_eq!(a, b);
}

/// One mask per sequence gives each sequence what it gets alone under its own mask.
#[test]
fn masks_per_sequence_act_on_their_own_sequence_only() {
    let fixture = Fixture::open("bert-relative-key");
    let model = fixture.model::<f64>();
    let (sequences, targets) = (fixture.sequences(), fixture.targets());
    let masks: Vec<HeadMask> = (0..sequences.len())
        .map(|b| {
            let values = (0..12)
                .map(|i| [0.0, 1.0, 0.3][(i * (b + 1) + b) % 3])
                .collect();
            HeadMask::from_values(3, 4, values).expect("mask")
        })
        .collect();
    let together = run(
        &model,
        &sequences,
        Some(&targets),
        Masking::PerSequence(&masks),
    );
    for b in 0..sequences.len() {
        let alone = run(
            &model,
            &sequences[b..=b],
            Some(&targets[b..=b]),
            Masking::Shared(&masks[b]),
        );
        assert!(distance(&together[b].logits, &alone[0].logits) < 1e-12);
        let ours = together[b].mask_gradient.as_ref().expect("gradient");
        assert!(distance(ours, alone[0].mask_gradient.as_ref().expect("gradient")) < 1e-12);
    }
}

#[test]
fn pruning_composes_in_any_order() {
    let fixture = Fixture::open("bert-absolute");
    let model = fixture.model::<f32>();
    let a = [HeadId { layer: 0, head: 0 }, HeadId { layer: 0, head: 2 }];
    let b = [HeadId { layer: 0, head: 3 }, HeadId { layer: 2, head: 1 }];
    let together = model.without_heads(a.into_iter().chain(b)).expect("prune");
    let one = model
        .without_heads(a)
        .and_then(|m| m.without_heads(b))
        .expect("prune");
    let other = model
        .without_heads(b)
        .and_then(|m| m.without_heads(a))
        .expect("prune");
    let again = together.without_heads(a).expect("idempotent");
    let sequences = fixture.sequences();
    let expected = run(&together, &sequences, None, Masking::None);
    for model in [one, other, again] {
        assert_eq!(model.architecture(), together.architecture());
        assert_eq!(run(&model, &sequences, None, Masking::None), expected);
    }
    let outside = model
        .without_heads([HeadId { layer: 0, head: 4 }])
        .expect_err("out of range");
    assert_eq!(
        outside.to_string(),
        "L0H4 does not exist: the model has 3 layers of 4 heads, zero-based"
    );
}

/// 4·D·d + 3·d parameters per head.
#[test]
fn removed_parameters_follow_the_formula() {
    let model = Fixture::open("bert-absolute").model::<f32>();
    let arch = model.architecture().clone();
    let per_head = 4 * arch.hidden_size * arch.head_dim() + 3 * arch.head_dim();
    let heads: Vec<HeadId> = model.heads().collect();
    for n in 0..=heads.len() {
        let pruned = model
            .without_heads(heads[..n].iter().copied())
            .expect("prune");
        assert_eq!(model.parameters() - pruned.parameters(), n * per_head);
    }
}

/// Σ contributions + output bias = attention output: the bias is what is left with no head.
#[test]
fn contributions_add_up_to_the_attention_output() {
    for name in CLASSIFIERS {
        let fixture = Fixture::open(name);
        let model = fixture.model::<f64>();
        let interests = Interests::none()
            .value(LayerSite::HeadContribution)
            .value(LayerSite::AttentionOutput);
        let look = |model: &Model<f64>| {
            let mut capture = Capture::new(interests);
            let batch = fixture.batch(model);
            model
                .run(
                    &batch,
                    &PassOptions::default(),
                    &mut Workspace::new(),
                    &mut [&mut capture],
                )
                .expect("pass");
            capture
        };
        let capture = look(&model);
        let headless = look(&model.without_heads(model.heads()).expect("prune"));
        for layer in 0..3 {
            let tap = Tap::Layer(layer, LayerSite::AttentionOutput);
            let whole = capture.get(Pass::Forward, tap, 0).expect("output");
            let bias = headless.get(Pass::Forward, tap, 0).expect("bias");
            let mut sum = bias.data.clone();
            for head in 0..4 {
                let id = HeadId { layer, head };
                let part = capture
                    .get_head(Pass::Forward, id, LayerSite::HeadContribution, 0)
                    .expect("contribution");
                sum.iter_mut().zip(&part.data).for_each(|(s, p)| *s += p);
            }
            assert!(distance(&whole.data, &sum) < 1e-12, "{name} layer {layer}");
        }
    }
}

/// The gradient of a cross-entropy is that of the logits, weighted by the softmax less one at the label.
#[test]
fn gradients_of_logits_make_up_that_of_the_loss() {
    for name in CLASSIFIERS {
        let fixture = Fixture::open(name);
        let model = fixture.model::<f64>();
        let sequences = fixture.sequences();
        let slopes = |target: Target| {
            let targets = vec![target; sequences.len()];
            run(&model, &sequences, Some(&targets), Masking::None)
        };
        let loss = slopes(Target::Label(1));
        let labels = loss[0].logits.len();
        let logits: Vec<_> = (0..labels).map(|k| slopes(Target::Logit(k))).collect();
        for (b, found) in loss.iter().enumerate() {
            let exps: Vec<f64> = found.logits.iter().map(|z| z.exp()).collect();
            let sum: f64 = exps.iter().sum();
            let mut expected = vec![0.0; model.heads().count()];
            for (k, run) in logits.iter().enumerate() {
                assert_eq!(run[b].loss, Some(found.logits[k]), "{name}");
                let weight = exps[k] / sum - f64::from(u8::from(k == 1));
                let slope = run[b].mask_gradient.iter().flatten();
                expected
                    .iter_mut()
                    .zip(slope)
                    .for_each(|(e, s)| *e += weight * s);
            }
            let ours = found.mask_gradient.as_ref().expect("gradient");
            assert!(distance(ours, &expected) < 1e-10, "{name}");
        }
    }
}

/// Only position 0 of the last layer is read by a classifier.
#[test]
fn locality_of_the_last_layer() {
    let fixture = Fixture::open("bert-absolute");
    let model = fixture.model::<f64>();
    let batch = fixture.batch(&model);
    let targets = fixture.targets();
    let mut capture = Capture::new(
        Interests::none()
            .gradient(LayerSite::HeadOutput)
            .gradient(LayerSite::HeadMask),
    );
    let options = PassOptions {
        targets: Some(&targets),
        ..PassOptions::default()
    };
    model
        .run(&batch, &options, &mut Workspace::new(), &mut [&mut capture])
        .expect("pass");
    let id = HeadId { layer: 2, head: 1 };
    let gradient = capture
        .get_head(Pass::Backward, id, LayerSite::HeadOutput, 0)
        .expect("seen");
    assert!(
        gradient.data[..gradient.cols]
            .iter()
            .any(|v| v.abs() > 1e-6)
    );
    assert!(gradient.data[gradient.cols..].iter().all(|v| *v == 0.0));
    let positions = capture
        .get_head(Pass::Backward, id, LayerSite::HeadMask, 0)
        .expect("seen");
    assert!(positions.data[0] != 0.0 && positions.data[1..].iter().all(|v| *v == 0.0));
}

#[test]
fn attention_rows_are_distributions_of_true_length() {
    let fixture = Fixture::open("bert-relative-key-query");
    let model = fixture.model::<f32>();
    let batch = fixture.batch(&model);
    let mut capture = Capture::new(Interests::none().value(LayerSite::AttentionProbs));
    let mask = fixture.mask("layer_off");
    let options = PassOptions {
        masking: Masking::Shared(&mask),
        ..PassOptions::default()
    };
    model
        .run(&batch, &options, &mut Workspace::new(), &mut [&mut capture])
        .expect("pass");
    let mut maps = 0;
    for (_, _, sequence, _, map) in capture.iter() {
        let n = batch.range(sequence).len();
        assert_eq!((map.rows, map.cols), (n, n));
        for row in map.data.chunks(n) {
            assert!(
                (row.iter().sum::<f32>() - 1.0).abs() < 1e-6,
                "masked heads keep their map"
            );
            assert!(row.iter().all(|p| (0.0..=1.0).contains(p)));
        }
        maps += 1;
    }
    assert_eq!(maps, 3 * 4 * 4);
}

/// A head's entropies are those of its map, wherever rows of the last layer are left out.
#[test]
fn entropies_are_those_of_the_maps() {
    for name in CLASSIFIERS {
        let fixture = Fixture::open(name);
        let model = fixture.model::<f64>();
        let batch = fixture.batch(&model);
        let seen = |sites: &[LayerSite]| {
            let interests = sites
                .iter()
                .fold(Interests::none(), |all, site| all.value(*site));
            let mut capture = Capture::new(interests);
            let options = PassOptions::default();
            model
                .run(&batch, &options, &mut Workspace::new(), &mut [&mut capture])
                .expect("pass");
            capture
        };
        let maps = seen(&[LayerSite::AttentionProbs]);
        let sums = seen(&[LayerSite::AttentionEntropy]);
        assert_eq!(sums.iter().count(), maps.iter().count(), "{name}");
        for ((.., map), (.., sum)) in maps.iter().zip(sums.iter()) {
            let terms = map.data.iter().filter(|p| **p > 0.0);
            let expected: f64 = terms.map(|p| -p * p.ln()).sum();
            assert_eq!((sum.rows, sum.cols), (1, 1));
            assert!(
                (sum.data[0] - expected).abs() < 1e-9 * expected.max(1.0),
                "{name}"
            );
        }
    }
}

/// A token of a causal model cannot know what follows: changing a later token changes nothing before
/// it, not even in the last bit.
#[test]
fn later_tokens_cannot_change_earlier_ones() {
    for name in ["gpt2-lm", "gpt-lm", "gpt2-all-options"] {
        let fixture = Fixture::open(name);
        let model = fixture.model::<f32>();
        let ids: Vec<u32> = (0..12).map(|i| 5 + (i * 7) % 40).collect();
        let hidden = |ids: &[u32]| {
            let batch = PackedBatch::new(model.architecture(), &[Sequence::new(ids.to_vec())]);
            let mut capture = Capture::new(Interests::none().value(LayerSite::HiddenState));
            let options = PassOptions::default();
            model
                .run(
                    &batch.expect("batch"),
                    &options,
                    &mut Workspace::new(),
                    &mut [&mut capture],
                )
                .expect("pass");
            let last = Tap::Layer(model.architecture().num_layers - 1, LayerSite::HiddenState);
            capture.get(Pass::Forward, last, 0).expect("seen").clone()
        };
        let whole = hidden(&ids);
        for at in 1..ids.len() {
            let mut changed = ids.clone();
            changed[at] = 3;
            let other = hidden(&changed);
            let before = at * whole.cols;
            assert_eq!(whole.data[..before], other.data[..before], "{name} {at}");
            let here = before..before + whole.cols;
            assert_ne!(whole.data[here.clone()], other.data[here], "{name} {at}");
        }
    }
}

#[test]
fn refusals_say_what_to_do() {
    let fixture = Fixture::open("roberta");
    let model = fixture.model::<f32>();
    let arch = model.architecture();
    let refuse = |sequence: Sequence| {
        PackedBatch::new(arch, &[sequence])
            .expect_err("refused")
            .to_string()
    };
    assert!(refuse(Sequence::new(vec![])).contains("no tokens"));
    assert!(refuse(Sequence::new(vec![5; 600])).contains("truncate it to"));
    assert!(refuse(Sequence::new(vec![5, 60_000])).contains("token id 60000 at position 1"));
    let odd = Sequence {
        segments: vec![0],
        ..Sequence::new(vec![5, 6])
    };
    assert!(refuse(odd).contains("2 tokens but 1 segment ids"));

    let batch = fixture.batch(&model);
    let run = |options: PassOptions<'_>| {
        model
            .run(&batch, &options, &mut Workspace::new(), &mut [])
            .expect_err("refused")
            .to_string()
    };
    let narrow = HeadMask::from_values(3, 3, vec![1.0; 9]).expect("mask");
    let message = run(PassOptions {
        masking: Masking::Shared(&narrow),
        ..Default::default()
    });
    assert_eq!(
        message,
        "the head mask is [3, 3], the model has [3, 4] (layers, heads)"
    );
    let message = run(PassOptions {
        mask_gradients: true,
        ..Default::default()
    });
    assert!(message.contains("gradients need a loss"));
    let message = run(PassOptions {
        targets: Some(&[Target::Label(0)]),
        ..Default::default()
    });
    assert!(message.contains("1 targets for 4 sequences"));
    let labels = vec![Target::Label(7); 4];
    let message = run(PassOptions {
        targets: Some(&labels),
        ..Default::default()
    });
    assert!(
        message.contains("the highest label is 7, the model admits 1"),
        "{message}"
    );
    let values = vec![Target::Value(0.5); 4];
    let message = run(PassOptions {
        targets: Some(&values),
        ..Default::default()
    });
    assert!(
        message.contains("this model has a single-label classifier"),
        "{message}"
    );
    assert!(HeadMask::from_values(1, 2, vec![1.0, f64::NAN]).is_err());

    let pruned = Fixture::open("roberta-pruned").model::<f32>();
    let full = HeadMask::from_values(3, 4, vec![1.0; 12]).expect("mask");
    let message = full.check(&pruned).expect_err("pruned away").to_string();
    assert!(message.contains("L0H0 is pruned away"), "{message}");

    let mut impossible = Capture::new(Interests::none().value(LayerSite::HeadMask));
    let error = model
        .run(
            &batch,
            &PassOptions::default(),
            &mut Workspace::new(),
            &mut [&mut impossible],
        )
        .expect_err("no such value");
    assert!(
        error
            .to_string()
            .contains("HeadMask cannot be observed forward")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A sequence's results do not depend on its company in the batch, on threads, nor on what the
    /// workspace held before. The matrix library picks its kernel by the number of rows, so sums
    /// may be rounded in another order: 1e-5 of the logits' scale, 1e-4 of the gradients' scale (the
    /// golden weights amplify differences, see the golden tests).
    #[test]
    fn batch_composition_changes_nothing(
        lengths in prop::collection::vec(1_usize..17, 1..7),
        seed in any::<u32>(),
        threads in 1_usize..4,
        family in 0..CLASSIFIERS.len(),
    ) {
        let fixture = Fixture::open(CLASSIFIERS[family]);
        let model = fixture.model::<f32>();
        let mut state = u64::from(seed) + 1;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % below) as u32
        };
        let sequences: Vec<Sequence> = lengths
            .iter()
            .map(|n| Sequence::new((0..*n).map(|_| 3 + next(50)).collect()))
            .collect();
        let targets: Vec<Target> =
            lengths.iter().map(|_| Target::Label(next(2) as usize)).collect();
        let mut workspace = Workspace::new();
        let batch = PackedBatch::new(model.architecture(), &sequences).expect("batch");
        let options = PassOptions {
            targets: Some(&targets),
            mask_gradients: true,
            threads,
            ..PassOptions::default()
        };
        let together = model.run(&batch, &options, &mut workspace, &mut []).expect("pass");
        for (i, sequence) in sequences.iter().enumerate() {
            let batch =
                PackedBatch::new(model.architecture(), std::slice::from_ref(sequence)).expect("batch");
            let options = PassOptions { targets: Some(&targets[i..=i]), threads: 1, ..options };
            let alone = model.run(&batch, &options, &mut workspace, &mut []).expect("pass");
            let (a, b) = (&together.sequences[i], &alone.sequences[0]);
            let logits: Vec<f64> = b.logits.iter().map(|v| f64::from(*v)).collect();
            let scale = logits.iter().fold(1.0_f64, |m, v| m.max(v.abs()));
            assert!(distance(&a.logits, &logits) <= 1e-5 * scale, "{a:?} {b:?}");
            let gradient = b.mask_gradient.as_ref().expect("gradient");
            let scale = gradient.iter().fold(1e-3_f64, |m, v| m.max(v.abs()));
            let worst = distance(a.mask_gradient.as_ref().expect("gradient"), gradient);
            assert!(worst <= 1e-4 * scale, "{worst} {scale}");
        }
    }
}
