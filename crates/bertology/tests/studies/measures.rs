//! Measures of heads, neurons and layers: as PyTorch's from the same formulas, exact values of small games, and what must be equal
//! however the work is done.

use std::fs;

use bertology::compress::{Kind, Measure, Score, gradients};
use bertology::drive::{Progress, Work, drive};
use bertology::evaluate::evaluate;
use bertology::measures::{ShapleyState, integrated, norms, shapley};
use bertology::watch::Savable;
use bertology::{Error, HeadMask};
use bertology_testkit::golden;
use serde_json::Value;

use super::fixture::{grammar, stop_after};

fn reference() -> Value {
    let text = fs::read_to_string(golden("studies/compress.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// All numbers of nested lists, in order.
fn flat(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(list) => list.iter().flat_map(flat).collect(),
        other => vec![other.as_f64().unwrap()],
    }
}

#[track_caller]
fn close(found: &[f64], expected: &[f64], relative: f64) {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0_f64, |a, b| a.max(b.abs()));
    assert!(largest > 0.0);
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let off = (found - expected).abs();
        let most = relative * expected.abs() + 1e-5 * largest;
        assert!(off < most, "{at}: {found} {expected}");
    }
}

fn values(scores: &[Score]) -> Vec<f64> {
    scores.iter().map(|score| score.value).collect()
}

/// Judge: PyTorch in f64, the same midpoints; 1e-3 of each.
#[test]
fn integrated_gradients_are_what_pytorch_finds() {
    let reference = &reference()["integrated"];
    let (model, corpus) = grammar(Some(24));
    let points = reference["points"].as_u64().unwrap() as usize;
    let along = |kinds: &[Kind]| {
        let work = Work::default();
        let found = integrated(&model, &corpus, kinds, points, &work, &mut ()).unwrap();
        Measure::Signed.scores(&found)
    };
    let minus = |values: Vec<f64>| -> Vec<f64> { values.iter().map(|value| -value).collect() };
    let heads = along(&[Kind::Heads]);
    let of_heads: Vec<f64> = heads.iter().step_by(2).flatten().copied().collect();
    close(&of_heads, &minus(flat(&reference["heads"])), 1e-3);
    // Neurons are not on that way.
    assert!(heads.iter().skip(1).step_by(2).flatten().all(|v| *v == 0.0));
    let both = along(&[Kind::Heads, Kind::Neurons]);
    for (kind, expected) in reference["both"].as_array().unwrap().iter().enumerate() {
        let groups = both.iter().skip(kind).step_by(2);
        let found: Vec<f64> = groups
            .flat_map(|group| group.iter().take(12))
            .copied()
            .collect();
        close(&found, &minus(flat(expected)), 1e-3);
    }
}

/// Completeness: with many points all heads together give the loss without them less that with them.
#[test]
fn integrated_gradients_add_up_to_the_loss_without_heads() {
    let (model, corpus) = grammar(Some(24));
    let found = integrated(
        &model,
        &corpus,
        &[Kind::Heads],
        64,
        &Work::default(),
        &mut (),
    )
    .unwrap();
    let sum: f64 = Measure::Signed.scores(&found).iter().flatten().sum();
    let loss = |mask: Option<&HeadMask>| {
        evaluate(&model, &corpus, mask, &Work::default(), &mut ())
            .unwrap()
            .loss
    };
    let none = HeadMask::from_values(4, 4, vec![0.0; 16]).unwrap();
    let expected = loss(Some(&none)) - loss(None);
    let reference = reference()["integrated"]["without_heads"].as_f64().unwrap();
    assert!(
        (expected + reference).abs() < 1e-5,
        "{expected} {reference}"
    );
    assert!(
        (sum - expected).abs() < 0.01 * expected.abs(),
        "{sum} {expected}"
    );
}

/// Judge: PyTorch in f64; 1e-3 of each.
#[test]
fn norms_of_gradients_are_what_pytorch_finds() {
    let reference = &reference()["norms"];
    let (model, corpus) = grammar(Some(24));
    let found = norms(&model, &corpus, &Work::default(), &mut ()).unwrap();
    for (name, of) in [
        ("query", &found.query),
        ("key", &found.key),
        ("value", &found.value),
    ] {
        close(&values(of), &flat(&reference[name]), 1e-3);
        assert!(of.iter().all(|score| score.error.unwrap() > 0.0), "{name}");
    }
}

/// Judge: the exact values, from the losses of all 65,536 sets of heads in PyTorch. Of 16 values a few may be beyond two
/// standard errors, none beyond four.
#[test]
fn sampled_shapley_values_are_the_exact_ones_within_their_errors() {
    let reference = &reference()["shapley"];
    let exact = flat(&reference["values"]);
    let (model, corpus) = grammar(reference["examples"].as_u64().map(|n| n as usize));
    // The examples are fixed, their orders are what is drawn: the error of interest is over seeds.
    let seeds = 12;
    let runs: Vec<_> = (0..seeds)
        .map(|seed| shapley(&model, &corpus, 8, seed, &Work::default(), &mut ()).unwrap())
        .collect();
    let mut far = 0;
    for (head, exact) in exact.iter().enumerate() {
        let of: Vec<f64> = runs.iter().map(|run| run.heads[head].1.value).collect();
        let mean = of.iter().sum::<f64>() / of.len() as f64;
        let squares: f64 = of.iter().map(|v| (v - mean).powi(2)).sum();
        let error = (squares / (of.len() * (of.len() - 1)) as f64).sqrt();
        let off = (mean - exact).abs() / error;
        assert!(off < 4.0, "head {head}: {mean} {exact} {error}");
        far += usize::from(off > 2.2);
    }
    assert!(far <= 3, "{far} of 16 are far off");
    // Whatever the orders, all heads together save what the loss falls by.
    for run in &runs {
        let sum: f64 = run.heads.iter().map(|(_, score)| score.value).sum();
        assert!((sum - run.total).abs() < 1e-9, "{sum} {}", run.total);
        assert!((exact.iter().sum::<f64>() - run.total).abs() < 1e-5);
    }
}

#[test]
fn shapley_values_of_parts_and_threads_are_those_of_the_whole() {
    let (model, corpus) = grammar(Some(10));
    let fresh = |orders| {
        let state = ShapleyState::new(model.model(), orders, 7).unwrap();
        Progress::new(state).chunks_of(2).unwrap()
    };
    let whole = shapley(&model, &corpus, 1, 7, &Work::threads(1), &mut ()).unwrap();
    let more = Work {
        batch_tokens: Some(40),
        ..Work::threads(3)
    };
    let other = shapley(&model, &corpus, 1, 7, &more, &mut ()).unwrap();
    for ((head, a), (same, b)) in whole.heads.iter().zip(&other.heads) {
        assert_eq!(head, same);
        assert!((a.value - b.value).abs() < 1e-5 && a.error.is_some());
    }
    // Interrupted, saved, read back, gone on with.
    let mut progress = fresh(1);
    let interrupted = drive(
        &model,
        &corpus,
        &mut progress,
        &Work::threads(1),
        &mut stop_after(4),
    );
    assert!(
        matches!(interrupted, Err(Error::Interrupted { .. })),
        "{interrupted:?}"
    );
    let saved = progress.save().unwrap();
    let mut read = fresh(1).resume(saved.clone()).unwrap();
    drive(&model, &corpus, &mut read, &Work::threads(1), &mut ()).unwrap();
    let mut straight = fresh(1);
    drive(&model, &corpus, &mut straight, &Work::threads(1), &mut ()).unwrap();
    assert_eq!(read.study(), straight.study());
    // A study that may not be there is put under its masks where it is.
    let state = ShapleyState::new(model.model(), 1, 7).unwrap();
    let mut maybe = Progress::new(Some(state)).chunks_of(2).unwrap();
    drive(&model, &corpus, &mut maybe, &Work::threads(1), &mut ()).unwrap();
    assert_eq!(maybe.study().as_ref(), Some(straight.study()));
    assert!(ShapleyState::new(model.model(), 0, 7).is_err());
    // A state of other orders is another study's.
    let refused = fresh(2).resume(saved).map(|_| ());
    assert!(
        matches!(refused, Err(Error::StateMismatch { .. })),
        "{refused:?}"
    );
}

/// The chain rule: a factor of a layer is one of all its heads and neurons.
#[test]
fn gradients_of_layers_are_sums_of_their_units() {
    let (model, corpus) = grammar(Some(6));
    let found = gradients(&model, &corpus, &Work::default(), &mut ()).unwrap();
    let layers = found.layers();
    assert_eq!(layers.counts(), [1; 4]);
    for layer in 0..4 {
        for (example, row) in layers.group(layer).enumerate() {
            let units =
                [2 * layer, 2 * layer + 1].map(|group| found.group(group).nth(example).unwrap());
            let sum: f64 = units
                .iter()
                .flat_map(|of| of.iter())
                .map(|g| f64::from(*g))
                .sum();
            assert!((f64::from(row[0]) - sum).abs() < 1e-6, "{} {sum}", row[0]);
        }
    }
    // The sum of the layer's block of the Fisher information.
    let fisher = Measure::Fisher.scores(&layers);
    let block = |layer: usize| -> f64 {
        let squares = layers.group(layer).map(|row| f64::from(row[0]).powi(2));
        squares.sum::<f64>() / 6.0
    };
    for (layer, fisher) in fisher.iter().enumerate() {
        assert!((fisher[0] - block(layer)).abs() < 1e-9);
    }
}

/// Closed forms of the standard errors of means, on numbers that can be checked by hand.
#[test]
fn scores_come_with_their_standard_errors() {
    let rows = vec![vec![1.0, 2.0], vec![-3.0, 2.0], vec![2.0, 2.0]];
    let found = bertology::compress::Gradients::new(vec![1, 1], rows, &[1, 1, 1]);
    let michel = Measure::Michel.estimates(&found);
    // 1, 3, 2: mean 2, s = 1.
    assert!((michel[0][0].value - 2.0).abs() < 1e-12);
    assert!((michel[0][0].error.unwrap() - 1.0 / 3.0_f64.sqrt()).abs() < 1e-12);
    assert_eq!(michel[1][0].error, Some(0.0));
    // 1, -3, 2: mean 0.
    let taylor = Measure::Taylor.estimates(&found);
    assert_eq!((taylor[0][0].value, taylor[0][0].error), (0.0, Some(0.0)));
    let signed = Measure::Signed.estimates(&found);
    assert!((signed[1][0].value + 2.0).abs() < 1e-12);
    let one = bertology::compress::Gradients::new(vec![1], vec![vec![1.0]], &[1]);
    assert_eq!(Measure::Fisher.estimates(&one)[0][0].error, None);
    assert_eq!(
        Measure::Random { seed: 1 }.estimates(&one)[0][0].error,
        None
    );
}
