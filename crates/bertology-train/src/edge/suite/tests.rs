use super::*;
use crate::edge::chance::{Decisions, over_seeds, over_sentences, standard_error};
use crate::edge::summary::{Summary, center_of_gravity, uniform_divergence};
use crate::edge::{Classifier, HeldStates, Profile, Selection, Stop};
use crate::random::Draws as Uniform;

const CLASSES: usize = 4;
const HIDDEN: usize = 12;
const LAYERS: usize = 5;
/// Targets of a sentence.
const EACH: usize = 4;

/// States of noise, but for the layers `planted`: each target's label stands at one of them, by turns.
struct Planted {
    states: HeldStates,
    train: Split,
    dev: Split,
}

impl Planted {
    fn new(planted: &[usize], train: usize, dev: usize) -> Self {
        let pieces = (train + dev) * EACH;
        let mut draws = Draws::of([77, planted.len() as u64]);
        let labels: Vec<u16> = (0..pieces).map(|_| draws.below(CLASSES) as u16).collect();
        let values = Uniform::new(5, "noise").uniform(pieces * LAYERS * HIDDEN, 1.7);
        let values = values.into_iter().map(|value| value as f32).collect();
        let mut states = HeldStates::new(LAYERS, HIDDEN, values).unwrap();
        for (piece, label) in labels.iter().enumerate() {
            let Some(layer) = planted.get(piece % planted.len().max(1)) else {
                continue;
            };
            let row = &mut states.values_mut()[(piece * LAYERS + layer) * HIDDEN..][..HIDDEN];
            row.fill(0.0);
            row[usize::from(*label)] = 5.0;
        }
        let split = |sentences: std::ops::Range<usize>| {
            let mut split = Split::new(1, CLASSES).unwrap();
            for sentence in sentences {
                let own = labels.iter().enumerate().skip(sentence * EACH).take(EACH);
                for (piece, label) in own {
                    let span = [piece as u32, piece as u32 + 1];
                    split.target(span, None, &[*label], 0).unwrap();
                }
                split.end_sentence();
            }
            split
        };
        Self {
            train: split(0..train),
            dev: split(train..train + dev),
            states,
        }
    }

    fn data(&self) -> Data<'_> {
        Data {
            states: &self.states,
            train: &self.train,
            dev: &self.dev,
        }
    }

    /// Small probes that learn quickly.
    fn plan(&self, seeds: &[u64], epochs: u32) -> Plan {
        let design = Design {
            projection: 16,
            classifier: Classifier::Mlp(16),
            ..Design::default()
        };
        let mut settings = Profile::Fast.settings(&self.train);
        settings.batch = BatchSize::Targets(128);
        settings.adam.learning_rate = 1e-2;
        settings.mixing_rate = 5e-2;
        let settings = settings.with_epochs(epochs, &self.train);
        Plan::cumulative(design, LAYERS, seeds, settings)
    }
}

fn go(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn trained<'a>(data: Data<'a>, plan: Plan, threads: usize) -> Suite<'a> {
    let mut suite = Suite::new(data, plan).unwrap();
    while suite.round(threads, &go).unwrap() {}
    suite
}

/// F1 of each probe on the development split, with its sentences' decisions.
fn scores<'a>(suite: &Suite<'_>, dev: &'a Split) -> Vec<Tally<'a>> {
    let output = suite.plan().design.output;
    let tallies = suite.evaluate(
        dev,
        2,
        |_| Tally::new(dev, output, None),
        |tally, target, logits| {
            tally.add(target, logits);
        },
    );
    tallies.unwrap()
}

fn full_mix(suite: &Suite<'_>) -> Vec<f64> {
    let (weights, _) = suite.mixing(LAYERS - 1).unwrap();
    weights.into_iter().map(f64::from).collect()
}

#[test]
fn a_planted_layer_is_found() {
    let layer = 2;
    let planted = Planted::new(&[layer], 300, 150);
    let mut plan = planted.plan(&[1], 60);
    // Weights go on moving when the score has long come to its end: the best is that of the lowest loss.
    plan.settings.selection = Selection::Loss;
    plan.settings.patience = 60;
    plan.settings.halving_patience = 60;
    let suite = trained(planted.data(), plan, 2);
    let f1: Vec<f64> = scores(&suite, &planted.dev).iter().map(Tally::f1).collect();
    // Of four labels none is ever likely enough below: no label is given.
    assert!(f1[..layer].iter().all(|f1| *f1 < 0.1), "{f1:?}");
    assert!(f1[layer..].iter().all(|f1| *f1 >= 0.99), "{f1:?}");
    let summary = Summary::new(&f1, 0.01);
    assert!(summary.has_gain);
    let found = summary.expected_layer.unwrap();
    assert!((found - layer as f64).abs() <= 0.05, "{found}");
    let found = summary.gain_divergence.unwrap();
    let most = (LAYERS as f64 - 1.0).log2();
    assert!((found - most).abs() <= 0.1, "{found}");
    let weights = full_mix(&suite);
    assert!(weights[layer] >= 0.9, "{weights:?}");
    assert!((center_of_gravity(&weights) - layer as f64).abs() < 0.2);
    assert!(uniform_divergence(&weights) > 1.0);
}

/// With the papers' learning rate the weights of a small task hardly move: the right layer is ahead and no more.
#[test]
fn the_papers_rate_hardly_moves_the_weights() {
    let layer = 3;
    let planted = Planted::new(&[layer], 200, 50);
    let mut plan = planted.plan(&[1], 1);
    plan.settings = Profile::Paper.settings(&planted.train);
    plan.settings.most_validations = 40;
    plan.settings.patience = 40;
    plan.readings = vec![Reading::Mix(LAYERS as u16 - 1)];
    let suite = trained(planted.data(), plan, 1);
    let (weights, _) = suite.mixing(0).unwrap();
    let others = (0..LAYERS).filter(|l| *l != layer);
    assert!(
        others.clone().all(|l| weights[l] < weights[layer]),
        "{weights:?}"
    );
    assert!(weights[layer] < 0.5, "{weights:?}");
}

#[test]
fn two_planted_layers_share_the_gain() {
    let planted = Planted::new(&[1, 3], 400, 200);
    let suite = trained(planted.data(), planted.plan(&[1], 12), 2);
    let f1: Vec<f64> = scores(&suite, &planted.dev).iter().map(Tally::f1).collect();
    let summary = Summary::new(&f1, 0.01);
    // F1 of half of the targets is no half of the F1: the gain of layer 1 is seen in recall.
    let recall: Vec<f64> = scores(&suite, &planted.dev)
        .iter()
        .map(|tally| {
            let [right, _, missed] = tally.counts();
            right as f64 / (right + missed) as f64
        })
        .collect();
    let by_recall = Summary::new(&recall, 0.01);
    let found = by_recall.expected_layer.unwrap();
    assert!((found - 2.0).abs() <= 0.1, "{found} {recall:?} {f1:?}");
    let found = by_recall.gain_divergence.unwrap();
    let expected = (LAYERS as f64 - 1.0).log2() - 1.0;
    assert!((found - expected).abs() <= 0.15, "{found} {recall:?}");
    assert!(summary.has_gain);
}

#[test]
fn without_a_signal_there_is_no_gain() {
    for shuffle in [false, true] {
        let planted = if shuffle {
            let mut planted = Planted::new(&[2], 200, 100);
            planted.train = crate::edge::control::shuffled(&planted.train, 3).unwrap();
            // Else all targets of a class would be right or wrong together.
            planted.dev = crate::edge::control::shuffled(&planted.dev, 3).unwrap();
            planted
        } else {
            Planted::new(&[], 200, 100)
        };
        let mut plan = planted.plan(&[1, 2, 3], 4);
        plan.design.output = Output::Softmax;
        let suite = trained(planted.data(), plan, 2);
        let tallies = scores(&suite, &planted.dev);
        let f1: Vec<Vec<f64>> = tallies
            .chunks(LAYERS)
            .map(|seed| seed.iter().map(Tally::f1).collect())
            .collect();
        // 400 targets: five standard deviations of a quarter.
        assert!(
            f1.iter().flatten().all(|f1| (f1 - 0.25).abs() < 0.11),
            "{f1:?}"
        );
        let gains: Vec<f64> = f1.iter().map(|f1| f1[LAYERS - 1] - f1[0]).collect();
        let mean: Vec<f64> = (0..LAYERS)
            .map(|layer| f1.iter().map(|f1| f1[layer]).sum::<f64>() / 3.0)
            .collect();
        let summary = Summary::new(&mean, standard_error(&gains).unwrap());
        let decisions: Vec<Decisions<'_>> = tallies
            .chunks(LAYERS)
            .map(|seed| seed.iter().map(Tally::sentences).collect())
            .collect();
        let gain = over_sentences(&decisions, 200, 1, |curves| {
            let gains = curves.iter().map(|curve| curve[LAYERS - 1] - curve[0]);
            Some(gains.sum::<f64>() / 3.0)
        });
        let gain = gain.unwrap();
        assert!(
            !summary.has_gain || !gain.excludes_zero(),
            "{gains:?} {gain:?}"
        );
        assert!(over_seeds(&gains).interval.is_some());
    }
}

/// Nothing of a probe depends on its neighbours or on threads, and `mix(0)` with γ at rest is `single(0)`.
#[test]
fn a_probe_is_the_same_alone_and_among_others() {
    let planted = Planted::new(&[1], 60, 20);
    let plan = planted.plan(&[4, 9], 3);
    let values = |suite: &Suite<'_>, probe: usize| -> Vec<f32> {
        let arrays = suite.arrays(probe);
        arrays
            .iter()
            .flat_map(|array| array.values)
            .copied()
            .collect()
    };
    let together = trained(planted.data(), plan.clone(), 1);
    for threads in [2, 5] {
        let others = trained(planted.data(), plan.clone(), threads);
        for probe in 0..2 * LAYERS {
            assert_eq!(values(&others, probe), values(&together, probe));
        }
        assert!(others.courses().eq(together.courses()));
    }
    for (at, seed) in plan.seeds.iter().enumerate() {
        for (layer, reading) in plan.readings.iter().enumerate() {
            let alone = Plan {
                readings: vec![*reading],
                seeds: vec![*seed],
                ..plan.clone()
            };
            let alone = trained(planted.data(), alone, 1);
            let probe = at * LAYERS + layer;
            assert_eq!(
                values(&alone, 0),
                values(&together, probe),
                "{seed} {layer}"
            );
            assert_eq!(alone.courses().next(), together.courses().nth(probe));
        }
    }
    assert_ne!(values(&together, 0), values(&together, LAYERS));
}

/// What is stored between the pieces of the targets changes nothing.
#[test]
fn a_store_of_more_pieces_gives_the_same_probe() {
    let planted = Planted::new(&[1], 40, 20);
    let size = LAYERS * HIDDEN;
    let pieces = planted.states.pieces();
    let mut values = vec![9.0; 3 * pieces * size];
    let all = planted.states.values().chunks_exact(size);
    for (own, wide) in all.zip(values.chunks_exact_mut(3 * size)) {
        wide[size..2 * size].copy_from_slice(own);
    }
    let spread = |split: &Split| {
        let mut wide = Split::new(1, CLASSES).unwrap();
        for sentence in 0..split.sentences() {
            for target in split.targets_of(sentence) {
                let of = split.get(target);
                let span = [of.spans[0][0] * 3 + 1, of.spans[0][0] * 3 + 2];
                wide.target(span, None, of.labels, 0).unwrap();
            }
            wide.end_sentence();
        }
        wide
    };
    let wide = Planted {
        states: HeldStates::new(LAYERS, HIDDEN, values).unwrap(),
        train: spread(&planted.train),
        dev: spread(&planted.dev),
    };
    let plan = planted.plan(&[4], 2);
    let own = trained(planted.data(), plan.clone(), 1);
    let other = trained(wide.data(), plan, 2);
    assert!(own.courses().eq(other.courses()));
    for probe in 0..LAYERS {
        assert_eq!(own.arrays(probe), other.arrays(probe));
    }
}

#[test]
fn a_mix_of_one_layer_is_that_layer() {
    let planted = Planted::new(&[0], 60, 20);
    let mut plan = planted.plan(&[4], 1);
    plan.readings = vec![Reading::Mix(0), Reading::Single(0)];
    // γ moves with the general rate, so that at the first step both are the same still.
    plan.settings.batch = BatchSize::Targets(10_000);
    let suite = Suite::new(planted.data(), plan).unwrap();
    let collect = |suite: &Suite<'_>| {
        let add = |all: &mut Vec<Vec<f32>>, target: usize, logits: &[f32]| {
            all[target] = logits.to_vec();
        };
        let new = |_| vec![Vec::new(); planted.dev.targets()];
        suite.evaluate(&planted.dev, 1, new, add).unwrap()
    };
    let found = collect(&suite);
    assert_eq!(found[0], found[1]);
    assert_eq!(
        (suite.mixing(0), suite.mixing(1)),
        (Some((vec![1.0], 1.0)), None)
    );
}

fn saved(suite: &Suite<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    suite.save(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_training_goes_on_from_what_was_saved() {
    let planted = Planted::new(&[1], 60, 20);
    for interval in [Interval::Epoch, Interval::Steps(3)] {
        let mut plan = planted.plan(&[4, 9], 5);
        plan.settings.interval = interval;
        plan.settings.patience = 2;
        plan.settings.halving_patience = 0;
        plan.settings.most_validations = 9;
        let mut whole = Suite::new(planted.data(), plan.clone()).unwrap();
        let mut states = vec![saved(&whole)];
        while whole.round(2, &go).unwrap() {
            states.push(saved(&whole));
        }
        let last = saved(&whole);
        assert!(states.len() > 3);
        let stops: Vec<Option<Stop>> = whole.courses().map(|course| course.stop).collect();
        assert!(stops.iter().all(Option::is_some));
        for state in &states {
            let resume = Suite::resume(planted.data(), plan.clone(), &mut &state[..]);
            let mut suite = resume.unwrap();
            assert_eq!(saved(&suite), *state);
            // One that is given up within a round leaves its state as it was.
            let give_up = |_| ControlFlow::Break(());
            let error = suite.round(2, &give_up).unwrap_err();
            assert!(
                matches!(error, Error::Edge(Fault::Interrupted { .. })),
                "{error}"
            );
            let resume = Suite::resume(planted.data(), plan.clone(), &mut &state[..]);
            let mut suite = resume.unwrap();
            while suite.round(1, &go).unwrap() {}
            assert!(saved(&suite) == last);
        }
        let done = Suite::resume(planted.data(), plan.clone(), &mut &last[..]).unwrap();
        assert!(done.is_done());
    }
}

#[test]
fn a_state_of_something_else_is_refused() {
    let planted = Planted::new(&[1], 60, 20);
    let plan = planted.plan(&[4], 5);
    let mut suite = Suite::new(planted.data(), plan.clone()).unwrap();
    suite.round(1, &go).unwrap();
    let state = saved(&suite);
    let refused = |plan: &Plan, bytes: &[u8]| -> String {
        let error = Suite::resume(planted.data(), plan.clone(), &mut &bytes[..]).unwrap_err();
        assert!(matches!(error, Error::Edge(Fault::State { .. })), "{error}");
        error.to_string()
    };
    for end in [0, 5, 13, 20, 30, state.len() / 2, state.len() - 1] {
        assert!(refused(&plan, &state[..end]).contains("too soon"));
    }
    assert!(refused(&plan, &[&state[..], &[0]].concat()).contains("behind its end"));
    let mut other = plan.clone();
    other.seeds = vec![5];
    assert!(refused(&other, &state).contains("other probes"));
    let mut wrong = state.clone();
    wrong[0] ^= 1;
    assert!(refused(&plan, &wrong).contains("another kind"));
    let mut wrong = state.clone();
    wrong[13..21].fill(0xff);
    assert!(refused(&plan, &wrong).contains("impossible"));
    let mut wrong = state.clone();
    wrong[21] = b'[';
    assert!(refused(&plan, &wrong).contains("cannot be read"));
    let mut wrong = state.clone();
    let end = wrong.len();
    wrong[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(refused(&plan, &wrong).contains("finite"));
    // A course that nobody can have had.
    let text = String::from_utf8_lossy(&state[21..]).into_owned();
    let at = 21 + text.find("\"best\":0").unwrap() + 7;
    let mut wrong = state.clone();
    wrong[at] = b'7';
    assert!(refused(&plan, &wrong).contains("best validation"));
    let smaller = Planted::new(&[1], 50, 20);
    let found = Suite::resume(smaller.data(), plan, &mut &state[..]).unwrap_err();
    assert!(found.to_string().contains("other data"));
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let planted = Planted::new(&[1], 20, 10);
    let plan = planted.plan(&[4], 5);
    let refused = |data: Data<'_>, plan: Plan| Suite::new(data, plan).unwrap_err().to_string();
    let mut high = plan.clone();
    high.readings.push(Reading::Single(LAYERS as u16));
    assert!(refused(planted.data(), high).contains("the highest is 4"));
    let empty = Split::new(1, CLASSES).unwrap();
    let data = Data {
        train: &empty,
        ..planted.data()
    };
    assert!(refused(data, plan.clone()).contains("no target"));
    let mut other = Split::new(1, CLASSES + 1).unwrap();
    other.target([0, 1], None, &[], 0).unwrap();
    other.end_sentence();
    let data = Data {
        dev: &other,
        ..planted.data()
    };
    assert!(refused(data, plan.clone()).contains("labels"));
    let mut soft = plan.clone();
    soft.design.output = Output::Softmax;
    let mut many = planted.train.clone();
    many.target([0, 1], None, &[0, 1], 0).unwrap();
    many.end_sentence();
    let data = Data {
        train: &many,
        ..planted.data()
    };
    assert!(refused(data, soft).contains("target 80"));
    for change in [
        |plan: &mut Plan| plan.seeds.clear(),
        |plan: &mut Plan| plan.design.projection = 0,
        |plan: &mut Plan| plan.design.unit_dropout = 1.0,
        |plan: &mut Plan| plan.settings.batch = BatchSize::Sentences(0),
        |plan: &mut Plan| plan.settings.adam.learning_rate = f64::NAN,
        |plan: &mut Plan| plan.settings.most_validations = 0,
    ] {
        let mut plan = plan.clone();
        change(&mut plan);
        assert!(refused(planted.data(), plan).contains("cannot be the"));
    }
    let mut planted = Planted::new(&[1], 20, 10);
    planted.states.values_mut()[7] = f32::NAN;
    let mut suite = Suite::new(planted.data(), plan).unwrap();
    let error = suite.round(2, &go).unwrap_err();
    assert!(
        matches!(error, Error::Edge(Fault::NotFinite { layer: 0, .. })),
        "{error}"
    );
}

#[test]
fn a_probe_that_still_rises_has_not_converged() {
    let planted = Planted::new(&[0], 100, 50);
    let mut plan = planted.plan(&[1], 4);
    plan.readings = vec![Reading::Mix(0)];
    plan.settings.adam.learning_rate = 1e-3;
    let course = |plan: Plan| {
        trained(planted.data(), plan, 1)
            .courses()
            .next()
            .unwrap()
            .clone()
    };
    let slow = course(plan.clone());
    assert_eq!(slow.stop, Some(Stop::Limit));
    assert!(!slow.converged(Selection::F1), "{slow:?}");
    plan.settings.adam.learning_rate = 1e-2;
    plan.settings.most_validations = 60;
    let quick = course(plan);
    assert_eq!(quick.stop, Some(Stop::Patience));
    assert!(quick.converged(Selection::F1) && quick.converged(Selection::Loss));
    assert_eq!(quick.best().unwrap().f1, 1.0);
}

/// Labels that states tell cost less per target the more there are; labels that mean nothing cost what they cost.
#[test]
fn code_lengths_tell_signal_from_noise() {
    let planted = Planted::new(&[1], 200, 60);
    let mut plan = planted.plan(&[1], 15);
    plan.design.output = Output::Softmax;
    plan.settings.batch = BatchSize::Targets(64);
    plan.readings = vec![Reading::Mix(0), Reading::Mix(1)];
    let code = |planted: &Planted| {
        crate::edge::mdl::online_code(planted.data(), &plan, 0, 2, &go).unwrap()
    };
    let found = code(&planted);
    let [noise, signal] = &found[..] else {
        panic!("two probes")
    };
    assert_eq!(signal.uniform, 800.0 * 2.0);
    assert!(
        signal.compression() > 2.0 && noise.compression() < 1.1,
        "{found:?}"
    );
    let small = Planted::new(&[1], 50, 60);
    let fewer = code(&small);
    assert!(fewer[1].compression() < signal.compression(), "{fewer:?}");
    let mut shuffled = Planted::new(&[1], 200, 60);
    shuffled.train = crate::edge::control::shuffled(&shuffled.train, 1).unwrap();
    shuffled.dev = crate::edge::control::shuffled(&shuffled.dev, 1).unwrap();
    let other = code(&shuffled);
    assert!(other[1].online > signal.online * 1.5, "{other:?}");
}
