//! Two models on one corpus, example by example.

use bertology::evaluate::evaluate;
use bertology::paired::compare;
use bertology::{Corpus, CorpusOptions, HeadId, Source, Watch};

use super::fixture::{Fixture, budget, embedded, rows};

/// A model whose classifier says the opposite: what is planted is found, whatever the model knows.
#[test]
fn planted_changes_are_counted() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let rows = rows(60);
    let corpus = fixture.corpus(&model, &rows);
    // Class 0 is taken for class 1, and the other way round.
    let exchanged = Fixture::with_weights(|name, values| {
        if name.starts_with("classifier.") {
            let row = values.len() / 3;
            let (first, rest) = values.split_at_mut(row);
            first.swap_with_slice(&mut rest[..row]);
        }
    });
    let other = exchanged.model();
    let found = compare(&model, &other, &corpus, &budget(100), &mut ()).unwrap();
    struct Predictions(Vec<(usize, usize)>);
    impl Watch for Predictions {
        fn example(&mut self, outcome: &bertology::Outcome<'_>) {
            use bertology::data::Target::Class;
            let verdict = outcome.verdict.unwrap();
            let (Class(label), Class(prediction)) = (verdict.label, verdict.prediction) else {
                panic!("no classes");
            };
            self.0.push((label, prediction));
        }
    }
    let mut said = Predictions(Vec::new());
    let alone = evaluate(&model, &corpus, None, &budget(100), &mut said).unwrap();
    assert_eq!(found.before, alone);
    let count = |asked: &dyn Fn(usize, usize) -> bool| {
        said.0
            .iter()
            .filter(|(label, is)| asked(*label, *is))
            .count() as u64
    };
    let swapped = |class: usize| [1, 0, 2][class];
    let changed = count(&|_, is| swapped(is) != is);
    let lost = count(&|label, is| is == label && swapped(is) != label);
    let gained = count(&|label, is| is != label && swapped(is) == label);
    assert!(
        changed > 0 && lost + gained > 0,
        "the model says class 2 alone"
    );
    let paired = found.paired;
    assert_eq!(
        (paired.changed, paired.right_to_wrong, paired.wrong_to_right),
        (changed, lost, gained)
    );
    let right = |accuracy: f64| (accuracy * 60.0).round() as u64;
    let (before, after) = (
        found.before.metrics.get("acc").unwrap(),
        found.after.metrics.get("acc").unwrap(),
    );
    assert_eq!(right(after) + lost, right(before) + gained);
    // Nothing differs from itself.
    let same = compare(&model, &model, &corpus, &budget(100), &mut ()).unwrap();
    assert_eq!(
        (
            same.paired.changed,
            same.loss_change,
            same.paired.loss_standard_error
        ),
        (0, 0.0, 0.0)
    );
    assert_eq!(same.paired.p_value(), 1.0);
}

/// With one target an example the error is `s/√n` of the changes, made here of the losses that are told one by one; chunks and
/// threads do not matter to the pairs.
#[test]
fn the_error_of_a_change_is_that_of_its_pairs() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(50));
    let smaller = model
        .without_heads([HeadId { layer: 0, head: 1 }, HeadId { layer: 2, head: 3 }])
        .unwrap();
    struct Losses(Vec<f64>);
    impl Watch for Losses {
        fn example(&mut self, outcome: &bertology::Outcome<'_>) {
            self.0.push(outcome.loss);
        }
    }
    let losses = |model| {
        let mut losses = Losses(Vec::new());
        evaluate(model, &corpus, None, &budget(100), &mut losses).unwrap();
        losses.0
    };
    let (before, after) = (losses(&model), losses(&smaller));
    let changes: Vec<f64> = before.iter().zip(&after).map(|(b, a)| a - b).collect();
    let n = changes.len() as f64;
    let mean = changes.iter().sum::<f64>() / n;
    let squares: f64 = changes.iter().map(|change| (change - mean).powi(2)).sum();
    let expected = (squares / (n - 1.0) / n).sqrt();
    let found = compare(&model, &smaller, &corpus, &budget(64), &mut ()).unwrap();
    assert!(
        (found.loss_change - mean).abs() < 1e-6 * mean.abs().max(1e-3),
        "{}",
        found.loss_change
    );
    let error = found.paired.loss_standard_error;
    assert!(
        (error - expected).abs() < 1e-4 * expected,
        "{error} {expected}"
    );
    assert!(((found.after.loss - found.before.loss) - found.loss_change).abs() < 1e-12);
}

#[test]
fn windows_of_texts_are_pairs_too() {
    let model = embedded("tiny-gpt2");
    let fixture = Fixture::new();
    let path = fixture.write(
        "texts.txt",
        "the cat sleeps .\nthe dogs sleep .\nthe women faint .\n",
    );
    let corpus = Corpus::new(&model, Source::lines(&path), &CorpusOptions::default()).unwrap();
    let smaller = model.without_heads([HeadId { layer: 0, head: 0 }]).unwrap();
    let found = compare(&model, &smaller, &corpus, &budget(100), &mut ()).unwrap();
    assert!(((found.after.loss - found.before.loss) - found.loss_change).abs() < 1e-12);
    assert!(found.paired.loss_standard_error > 0.0);
    assert_eq!((found.paired.changed, found.paired.p_value()), (0, 1.0));
}
