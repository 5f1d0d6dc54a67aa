//! Compression: scores as PyTorch's, least squares as SciPy's, and planted models whose answer is known.

use std::fs;

use bertology::checkpoint::{Export, WriteOptions};
use bertology::compress::{
    Costs, Gradients, Groups, Measure, Normal, Rules, choose, compress, cut, factors, gradients,
    layer_times,
};
use bertology::drive::Work;
use bertology::input::sample::Sample;
use bertology::input::supply::{Supply, first_sequences};
use bertology::pruning::write_compared;
use bertology::{Error, LoadedModel};
use bertology_model::Sequence;
use bertology_testkit::golden;
use serde_json::Value;

use super::fixture::{Fixture, grammar, rows, stop_after};

fn reference() -> Value {
    let text = fs::read_to_string(golden("studies/compress.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().unwrap();
    list.iter().map(|v| v.as_f64().unwrap()).collect()
}

fn taken(
    model: &LoadedModel,
    supply: &impl Supply<Item = bertology::corpus::ExampleItem>,
) -> Gradients {
    gradients(model, supply, &Work::default(), &mut ()).unwrap()
}

/// PyTorch's in f64, ours in f32: 1e-3 of each, or of the largest where squares of small gradients are compared.
#[test]
fn scores_are_what_pytorch_finds() {
    let reference = reference();
    let (model, corpus) = grammar(Some(24));
    let found = taken(&model, &corpus);
    assert_eq!(
        found.examples() as u64,
        reference["examples"].as_u64().unwrap()
    );
    for (name, measure) in [
        ("michel", Measure::Michel),
        ("fisher", Measure::Fisher),
        ("taylor", Measure::Taylor),
        ("taylor2", Measure::Taylor2),
    ] {
        let scores = measure.scores(&found);
        for (kind, first) in [("heads", 0), ("neurons", 1)] {
            let expected = reference[kind][name].as_array().unwrap();
            let largest = expected
                .iter()
                .flat_map(numbers)
                .fold(0.0_f64, |a, b| a.max(b.abs()));
            assert!(largest > 0.0);
            for (layer, expected) in expected.iter().enumerate() {
                let scores = &scores[2 * layer + first];
                for (unit, expected) in numbers(expected).iter().enumerate() {
                    let difference = (scores[unit] - expected).abs();
                    assert!(
                        difference < 1e-3 * expected.abs() + 1e-6 * largest,
                        "{name} of {kind} {unit}, layer {layer}: {} {expected}",
                        scores[unit]
                    );
                }
            }
        }
    }
    // Draws are of their seed.
    let draws = |seed| Measure::Random { seed }.scores(&found);
    assert_eq!(draws(1), draws(1));
    assert_ne!(draws(1), draws(2));
}

#[test]
fn least_squares_are_what_lsmr_finds() {
    for system in reference()["least_squares"].as_array().unwrap() {
        let a: Vec<Vec<f64>> = system["a"]
            .as_array()
            .unwrap()
            .iter()
            .map(numbers)
            .collect();
        let (b, expected) = (numbers(&system["b"]), numbers(&system["m"]));
        let units = expected.len();
        let column = |i: usize| a.iter().map(move |row| row[i]);
        let dot = |i: usize, j: usize| column(i).zip(column(j)).map(|(x, y)| x * y).sum();
        let normal = Normal {
            square: (0..units * units)
                .map(|at| dot(at / units, at % units))
                .collect(),
            right: (0..units)
                .map(|i| column(i).zip(&b).map(|(x, b)| x * b).sum())
                .collect(),
            target: b.iter().map(|b| b * b).sum(),
        };
        let found = normal.solve(system["ridge"].as_f64().unwrap());
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
        let residual = system["residual"].as_f64().unwrap();
        assert!((normal.residual(&found) - residual).abs() < 1e-5 * (1.0 + residual));
    }
}

#[test]
fn samples_are_of_their_seed_and_apart() {
    let (_, corpus) = grammar(Some(200));
    let drawn = Sample::disjoint(&corpus, &[50, 30], 7);
    let sizes: Vec<u64> = drawn.iter().map(Supply::total).collect();
    assert_eq!(sizes, [50, 30]);
    assert!(drawn[0].picks().is_sorted() && drawn[1].picks().is_sorted());
    assert!(
        drawn[0]
            .picks()
            .iter()
            .all(|pick| !drawn[1].picks().contains(pick))
    );
    let again = Sample::disjoint(&corpus, &[50, 30], 7);
    assert_eq!(drawn[1].picks(), again[1].picks());
    let other = Sample::disjoint(&corpus, &[50, 30], 8);
    assert_ne!(drawn[0].picks(), other[0].picks());
    // More than there is: the first whole, then what is left.
    let all = Sample::disjoint(&corpus, &[150, 90, 5], 7);
    let sizes: Vec<u64> = all.iter().map(Supply::total).collect();
    assert_eq!(sizes, [150, 50, 0]);
    // Units are those of the whole, wherever the reading begins.
    let lines = |sample: &Sample<'_, _>, first: u64| -> Vec<u64> {
        sample
            .open(first)
            .unwrap()
            .map(|raw| sample.line(&raw.unwrap()))
            .collect()
    };
    let whole: Vec<u64> = corpus
        .open(0)
        .unwrap()
        .map(|raw| corpus.line(&raw.unwrap()))
        .collect();
    let expected: Vec<u64> = drawn[0]
        .picks()
        .iter()
        .map(|pick| whole[*pick as usize])
        .collect();
    assert_eq!(lines(&drawn[0], 0), expected);
    assert_eq!(lines(&drawn[0], 49), expected[49..]);
    assert!(lines(&drawn[0], 50).is_empty());
}

/// Two heads and some neurons whose output is nothing anyway: they go first, and nothing is lost.
#[test]
fn what_does_nothing_goes_first_and_nothing_is_lost() {
    let fixture = Fixture::with_weights(|name, values| {
        let columns = |width: usize, gone: &dyn Fn(usize) -> bool, values: &mut Vec<f32>| {
            for row in values.chunks_mut(width) {
                row.iter_mut()
                    .enumerate()
                    .filter(|(at, _)| gone(*at))
                    .for_each(|(_, v)| *v = 0.0);
            }
        };
        let hidden = 32;
        match name {
            "bert.encoder.layer.0.attention.output.dense.weight" => {
                columns(hidden, &|at| at / (hidden / 4) == 2, values);
            }
            "bert.encoder.layer.1.output.dense.weight" => {
                let width = values.len() / hidden;
                columns(width, &|at| at % 3 == 0, values);
            }
            _ => {}
        }
    });
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(12));
    let groups = Groups::of(model.model());
    let found = taken(&model, &corpus);
    let scores = Measure::Fisher.scores(&found);
    assert_eq!(scores[0][2], 0.0);
    assert!(scores[3].iter().step_by(3).all(|score| *score == 0.0));
    let costs = Costs::operations(model.architecture(), &groups, 12.0);
    let idle = scores[3].iter().step_by(3).count();
    let free = costs.of_group(0, 1) + costs.of_group(3, idle);
    let budget = costs.whole() - free;
    let chosen = choose(
        &groups,
        &found,
        &scores,
        &costs,
        budget,
        Rules::default(),
        true,
    )
    .unwrap();
    assert_eq!(chosen.scores_lost, 0.0);
    assert!(!chosen.keep[0][2]);
    let texts = first_sequences(&corpus, 12).unwrap();
    let smaller = compress(&model, &chosen.keep, Some(&texts), 1, &mut ()).unwrap();
    for gain in &smaller.tuned.gains {
        // Differences of sums in f32.
        assert!(gain.before < 1e-6 && gain.after < 1e-6, "{gain:?}");
    }
    let inputs = ["w5 w6 w7", "w8"];
    let (before, after) = (
        model.logits(&inputs).unwrap(),
        smaller.model.logits(&inputs).unwrap(),
    );
    for (a, b) in before.iter().flatten().zip(after.iter().flatten()) {
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }
    assert_eq!(
        smaller.model.architecture().neurons(1),
        scores[3].len() - idle
    );
}

/// Two neurons that always fire alike: when one goes, tuning doubles the other, and the model computes what it did.
#[test]
fn a_twin_takes_over_what_its_twin_did() {
    let fixture = Fixture::with_weights(|name, values| match name {
        "bert.encoder.layer.1.intermediate.dense.weight" => {
            let (first, rest) = values.split_at_mut(32);
            rest[..32].copy_from_slice(first);
        }
        "bert.encoder.layer.1.intermediate.dense.bias" => values[1] = values[0],
        _ => {}
    });
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(20));
    let texts = first_sequences(&corpus, 20).unwrap();
    let groups = Groups::of(model.model());
    let mut keep: Vec<Vec<bool>> = groups.counts().iter().map(|n| vec![true; *n]).collect();
    keep[3][0] = false;
    let smaller = compress(&model, &keep, Some(&texts), 2, &mut ()).unwrap();
    let gain = smaller
        .tuned
        .gains
        .iter()
        .find(|gain| gain.layer == 1 && gain.before > 1e-6);
    let gain = gain.expect("something is missed without factors");
    assert!(gain.after < gain.before, "{gain:?}");
    // Its own weights differ from the twin's, so that the factor is what the data say, not 2.
    assert!((smaller.tuned.factors[3][1] - 1.0).abs() > 1e-3);
    // Whatever the number of threads: the same.
    let one = compress(&model, &keep, Some(&texts), 1, &mut ()).unwrap();
    assert_eq!(one.tuned, smaller.tuned);
    // Wherever passes run, half a block at a time is the processor's work; the smaller model stays where the whole one is.
    #[cfg(feature = "gpu")]
    {
        let there = model.clone().on(&bertology::Device::Host).unwrap();
        let found = compress(&there, &keep, Some(&texts), 1, &mut ()).unwrap();
        assert_eq!(found.tuned, smaller.tuned);
        assert_eq!(found.model.device().kind, "host");
    }
    // Written, opened again, the same; in both forms.
    for (name, export) in [("compact", Export::Pruned), ("zeros", Export::Zeroed)] {
        let folder = fixture.folder.path().join(name);
        let cut = cut(&groups, &smaller.tuned.factors);
        let options = WriteOptions::new(export);
        let written = write_compared(&smaller.model, &cut, &folder, &options, &texts[..3]).unwrap();
        assert!(
            written.largest_difference < 1e-5,
            "{}",
            written.largest_difference
        );
    }
}

/// What a block adds is its half times a factor there, and a head that goes keeps its place.
#[test]
fn blocks_that_add_by_a_factor_are_tuned_behind_it() {
    let folder = golden("engine/esmc");
    let model = LoadedModel::open(&folder).unwrap();
    let text = |n: u32| Sequence::new((0..n).map(|at| 4 + at * 7 % 20).collect());
    let texts: Vec<Sequence> = (8..20).map(text).collect();
    let groups = Groups::of(model.model());
    let all: Vec<Vec<bool>> = groups.counts().iter().map(|n| vec![true; *n]).collect();
    let whole = compress(&model, &all, Some(&texts), 2, &mut ()).unwrap();
    for gain in &whole.tuned.gains {
        // Sums of squares in f32, taken from one another.
        assert!(gain.before < 1e-6 && !gain.refused, "{gain:?}");
    }
    let mut keep = all;
    keep[0][1] = false;
    keep[3][5] = false;
    let smaller = compress(&model, &keep, Some(&texts), 2, &mut ()).unwrap();
    let missed = smaller.tuned.gains.iter().filter(|gain| gain.before > 1e-4);
    assert!(missed.clone().count() > 1);
    for gain in missed {
        assert!(gain.after < gain.before && !gain.refused, "{gain:?}");
    }
    assert_eq!(smaller.tuned.factors[0][1], 0.0);
}

#[test]
fn budgets_that_cannot_be_kept_are_told_with_the_least() {
    let (model, corpus) = grammar(Some(8));
    let groups = Groups::of(model.model());
    let found = taken(&model, &corpus);
    let scores = Measure::Fisher.scores(&found);
    let costs = Costs::operations(model.architecture(), &groups, found.length());
    let search =
        |budget: f64, rules: Rules| choose(&groups, &found, &scores, &costs, budget, rules, false);
    let refused = search(1.0, Rules::default()).unwrap_err();
    let least = search(refused.least, Rules::default()).unwrap();
    assert!(
        least
            .keep
            .iter()
            .all(|keep| keep.iter().filter(|stays| **stays).count() == 1)
    );
    assert!((least.cost - refused.least).abs() < 1e-6 * refused.least);
    let heads = Rules {
        heads_only: true,
        ..Rules::default()
    };
    assert!(search(0.5 * costs.whole(), heads).unwrap_err().least > 0.5 * costs.whole());
    let even = Rules {
        uniform: true,
        ..Rules::default()
    };
    let chosen = search(0.6 * costs.whole(), even).unwrap();
    assert!(chosen.cost <= 0.6 * costs.whole() * (1.0 + 1e-9));
    let widths: Vec<usize> = factors(&chosen.keep)
        .iter()
        .skip(1)
        .step_by(2)
        .map(|of| of.iter().filter(|factor| **factor != 0.0).count())
        .collect();
    assert!(
        widths.windows(2).all(|pair| pair[0] == pair[1]),
        "{widths:?}"
    );
}

#[test]
fn layers_are_timed_and_everything_can_be_stopped() {
    let (model, corpus) = grammar(Some(8));
    let texts = first_sequences(&corpus, 8).unwrap();
    let times = layer_times(model.model(), &texts, 1, &mut ()).unwrap();
    let groups = Groups::of(model.model());
    assert!(times.heads.is_sorted() && times.heads[0] == 0.0);
    let costs = times.costs(&groups);
    assert!(costs.whole() > 0.0 && costs.whole().is_finite());
    let keep: Vec<Vec<bool>> = groups.counts().iter().map(|n| vec![true; *n]).collect();
    for after in 0..2 {
        let stopped = compress(&model, &keep, Some(&texts), 1, &mut stop_after(after)).unwrap_err();
        assert!(matches!(stopped, Error::Interrupted { .. }), "{stopped}");
        let stopped = layer_times(model.model(), &texts, 1, &mut stop_after(after)).unwrap_err();
        assert!(matches!(stopped, Error::Interrupted { .. }), "{stopped}");
    }
}
