//! The metrics, against scikit-learn 1.x and scipy 1.x and by hand.

use bertology_data::{
    MetricError, MetricSet, MetricState, Target, Task, argmax, pearson, spearman,
};

fn classes(
    set: MetricSet,
    num_classes: usize,
    predictions: &[usize],
    labels: &[usize],
) -> MetricState {
    let mut state = MetricState::new(set, num_classes, None).expect("the classes suit the metrics");
    for (&prediction, &label) in predictions.iter().zip(labels) {
        state
            .observe(Target::Class(prediction), Target::Class(label))
            .expect("the classes are in range");
    }
    state
}

fn values(pairs: &[(f64, f64)]) -> MetricState {
    let mut state =
        MetricState::new(MetricSet::Correlations, 1, None).expect("regression has no classes");
    for &(prediction, label) in pairs {
        state
            .observe(Target::Value(prediction), Target::Value(label))
            .expect("the values are numbers");
    }
    state
}

#[track_caller]
fn assert_close(found: f64, expected: f64) {
    assert!(
        (found - expected).abs() < 1e-12,
        "found {found}, expected {expected}"
    );
}

#[test]
fn the_specifications_unit_cases() {
    let state = classes(MetricSet::AccuracyAndF1, 2, &[1, 0, 1, 1], &[1, 0, 0, 1]);
    let found = state.finish();
    assert_eq!(
        found.iter().map(|(key, _)| *key).collect::<Vec<_>>(),
        ["acc", "f1", "acc_and_f1"]
    );
    assert_close(found[0].1, 0.75);
    assert_close(found[1].1, 0.8);
    assert_close(found[2].1, 0.775);
    let constant = classes(MetricSet::Matthews, 2, &[1, 1, 1, 1], &[1, 0, 0, 1]);
    assert_eq!(constant.finish(), [("mcc", 0.0)]);
    let constant = classes(MetricSet::Matthews, 2, &[1, 0, 0, 1], &[0, 0, 0, 0]);
    assert_eq!(constant.finish(), [("mcc", 0.0)]);
    let no_positive = classes(MetricSet::AccuracyAndF1, 2, &[0, 0], &[1, 0]);
    assert_eq!(
        no_positive.finish(),
        [("acc", 0.5), ("f1", 0.0), ("acc_and_f1", 0.25)]
    );

    let pairs = [(1.0, 1.5), (2.0, 2.0), (3.0, 2.9), (4.0, 5.0)];
    let found = values(&pairs).finish();
    assert_eq!(
        found.iter().map(|(key, _)| *key).collect::<Vec<_>>(),
        ["pearson", "spearmanr", "corr"]
    );
    assert_close(found[0].1, 0.951985373116423);
    assert_close(found[1].1, 1.0);
    assert_close(found[2].1, (0.951985373116423 + 1.0) / 2.0);
}

#[test]
fn classification_as_scikit_learn() {
    // from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
    // p=[(i*7+3)%11%2 for i in range(40)]; l=[(i*5+1)%13%2 for i in range(40)]
    // accuracy_score(l,p), f1_score(l,p), matthews_corrcoef(l,p), f1_score(l,p,pos_label=0)
    let series = |modulo: usize| -> (Vec<usize>, Vec<usize>) {
        (0..40)
            .map(|i| ((i * 7 + 3) % 11 % modulo, (i * 5 + 1) % 13 % modulo))
            .unzip()
    };
    let (predictions, labels) = series(2);
    let found = classes(MetricSet::Binary, 2, &predictions, &labels).finish();
    assert_eq!(found[0], ("acc", 0.55));
    assert_close(found[1].1, 0.5263157894736842);
    assert_close(found[2].1, 0.09774436090225563);
    let mut other = MetricState::new(MetricSet::Binary, 2, Some(0)).unwrap();
    for (&prediction, &label) in predictions.iter().zip(&labels) {
        other
            .observe(Target::Class(prediction), Target::Class(label))
            .unwrap();
    }
    assert_close(other.value_of("f1").unwrap(), 0.5714285714285714);

    // The same with %3 in place of %2: accuracy_score(l,p), matthews_corrcoef(l,p)
    let (predictions, labels) = series(3);
    let found = classes(MetricSet::Accuracy, 3, &predictions, &labels).finish();
    assert_eq!(found, [("acc", 0.05)]);
    let found = classes(MetricSet::Matthews, 3, &predictions, &labels).finish();
    assert_close(found[0].1, -0.4330196386970881);
}

#[test]
fn correlations_as_scipy() {
    // from scipy.stats import pearsonr, spearmanr
    // x=[(i*37%101)/10 for i in range(60)]; y=[(i*53%29)/4 + (i*37%101)/20 for i in range(60)]
    // pearsonr(x,y)[0], spearmanr(x,y)[0]
    let pairs: Vec<(f64, f64)> = (0..60)
        .map(|i| {
            let x = f64::from(i * 37 % 101);
            (x / 10.0, f64::from(i * 53 % 29) / 4.0 + x / 20.0)
        })
        .collect();
    assert_close(pearson(&pairs), 0.6275001205149894);
    assert_close(spearman(&pairs), 0.609391497638233);

    // With many ties:
    // x=[(i*37%101)//9 for i in range(60)]; y=[(i*53%13)//2 + (i*37%101)//20 for i in range(60)]
    let pairs: Vec<(f64, f64)> = (0..60)
        .map(|i| {
            let x = i * 37 % 101;
            (f64::from(x / 9), f64::from(i * 53 % 13 / 2 + x / 20))
        })
        .collect();
    assert_close(pearson(&pairs), 0.639953987426436);
    assert_close(spearman(&pairs), 0.6247675102367235);

    // Far from zero, where one pass over sums of squares would lose all digits:
    // x=[1e9+i%7 for i in range(50)]; y=[(i*3)%5 for i in range(50)]
    let pairs: Vec<(f64, f64)> = (0..50)
        .map(|i| (1e9 + f64::from(i % 7), f64::from(i * 3 % 5)))
        .collect();
    assert!((pearson(&pairs) - 0.055898970062230664).abs() < 1e-9);
    assert_close(spearman(&pairs), 0.056926507860846964);
}

#[test]
fn correlations_where_they_are_undefined() {
    // 0.1 summed ten times and divided by ten is not 0.1: a constant must still be seen as one.
    let constant: Vec<(f64, f64)> = (0..10).map(|i| (0.1, f64::from(i))).collect();
    let swapped: Vec<(f64, f64)> = constant.iter().map(|&(x, y)| (y, x)).collect();
    for pairs in [
        &constant,
        &swapped,
        &vec![],
        &vec![(1.0, 2.0)],
        &vec![(1.0, f64::INFINITY), (2.0, 0.0)],
    ] {
        assert!(pearson(pairs).is_nan(), "{pairs:?}");
        assert!(spearman(pairs).is_nan(), "{pairs:?}");
    }
    for (_, value) in values(&constant).finish() {
        assert!(value.is_nan());
    }
    assert_close(pearson(&[(1e-300, 1e300), (2e-300, -1e300)]), -1.0);
    assert_close(spearman(&[(-0.0, 1.0), (0.0, 1.0), (1.0, 2.0)]), 1.0);
}

#[test]
fn merging_equals_observing_all() {
    let (predictions, labels): (Vec<usize>, Vec<usize>) =
        (0..40).map(|i| (i * 7 % 3, i * 5 % 4 % 3)).unzip();
    let whole = classes(MetricSet::MnliAccuracy, 3, &predictions, &labels);
    for cut in [0, 1, 17, 40] {
        let mut merged = classes(
            MetricSet::MnliAccuracy,
            3,
            &predictions[cut..],
            &labels[cut..],
        );
        let front = classes(
            MetricSet::MnliAccuracy,
            3,
            &predictions[..cut],
            &labels[..cut],
        );
        merged.merge(&front).unwrap();
        assert_eq!(merged, whole);
        assert_eq!(merged.count(), 40);
    }
    let pairs: Vec<(f64, f64)> = (0..50)
        .map(|i| (f64::from(i * 31 % 17) / 3.0, f64::from(i * 13 % 19) / 7.0))
        .collect();
    let whole = values(&pairs);
    let mut merged = values(&pairs[20..]);
    merged.merge(&values(&pairs[..20])).unwrap();
    // Another order of the examples, and yet the same bits.
    assert_eq!(merged.finish(), whole.finish());

    let error = merged
        .merge(&classes(MetricSet::Accuracy, 2, &[], &[]))
        .unwrap_err();
    assert!(matches!(error, MetricError::Merge { .. }));
    let mut two = MetricState::new(MetricSet::Accuracy, 2, None).unwrap();
    assert!(
        two.merge(&MetricState::new(MetricSet::Accuracy, 3, None).unwrap())
            .is_err()
    );
}

#[test]
fn nothing_observed_is_undefined() {
    for task in Task::ALL {
        let set = MetricSet::for_task(task);
        let state = MetricState::new(set, task.num_labels(), None).unwrap();
        let found = state.finish();
        assert_eq!(
            found.iter().map(|(key, _)| *key).collect::<Vec<_>>(),
            task.metric_keys()
        );
        assert!(found.iter().all(|(_, value)| value.is_nan()), "{task}");
    }
}

#[test]
fn logits_become_predictions() {
    assert_eq!(argmax(&[0.0, 2.0, 2.0, -1.0]).unwrap(), 1);
    assert_eq!(argmax(&[f32::NEG_INFINITY, f32::NEG_INFINITY]).unwrap(), 0);
    assert_eq!(argmax(&[]), Err(MetricError::NoLogits));
    assert_eq!(
        argmax(&[1.0, f32::NAN]),
        Err(MetricError::NotANumber { index: 1 })
    );

    let mut state = MetricState::new(MetricSet::Accuracy, 2, None).unwrap();
    state.observe_logits(&[0.5, 0.5], Target::Class(0)).unwrap();
    state
        .observe_logits(&[0.5, 0.75], Target::Class(0))
        .unwrap();
    assert_eq!(state.finish(), [("acc", 0.5)]);
    let mut state = MetricState::new(MetricSet::Correlations, 1, None).unwrap();
    state.observe_logits(&[0.5], Target::Value(1.0)).unwrap();
    state.observe_logits(&[1.5], Target::Value(3.0)).unwrap();
    assert_eq!(state.value_of("corr").unwrap(), 1.0);
    let error = state
        .observe_logits(&[f32::NAN], Target::Value(1.0))
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("output 0 of the model is NaN"),
        "{error}"
    );
    assert_eq!(state.count(), 2);
}

#[test]
fn the_metrics_of_own_data() {
    assert_eq!(
        MetricSet::for_outputs(1).keys(),
        ["pearson", "spearmanr", "corr"]
    );
    assert_eq!(MetricSet::for_outputs(2).keys(), ["acc", "f1", "mcc"]);
    assert_eq!(MetricSet::for_outputs(5).keys(), ["acc"]);
}

#[test]
fn metric_names() {
    let set = MetricSet::for_task(Task::MnliMismatched);
    assert_eq!(set.key("acc").unwrap(), "mnli-mm/acc");
    assert_eq!(set.key("mnli-mm/acc").unwrap(), "mnli-mm/acc");
    // The reference's default of `acc` is no metric of CoLA: said before anything is computed.
    let error = MetricSet::for_task(Task::Cola).key("acc").unwrap_err();
    assert_eq!(
        error.to_string(),
        "no metric `acc` here; expected one of mcc"
    );
    for task in Task::ALL {
        assert!(MetricSet::for_task(task).key(task.default_metric()).is_ok());
    }
}

#[test]
fn what_cannot_be_scored_is_refused_and_changes_nothing() {
    let mut state = MetricState::new(MetricSet::Accuracy, 2, None).unwrap();
    let error = state
        .observe(Target::Class(2), Target::Class(0))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the prediction is class 2, but there are only 2 classes (0 to 1)"
    );
    let error = state
        .observe(Target::Class(0), Target::Value(1.0))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the metrics acc need a class, but the label is a number"
    );
    assert_eq!(state.count(), 0);
    let mut state = MetricState::new(MetricSet::Correlations, 1, None).unwrap();
    let error = state
        .observe(Target::Class(0), Target::Value(1.0))
        .unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("need a number, but the prediction is a class")
    );

    let error = MetricState::new(MetricSet::AccuracyAndF1, 3, None).unwrap_err();
    assert!(
        error.to_string().contains("f1 needs exactly two"),
        "{error}"
    );
    assert!(MetricState::new(MetricSet::Accuracy, 0, None).is_err());
    assert!(MetricState::new(MetricSet::Accuracy, usize::MAX, None).is_err());
    assert!(MetricState::new(MetricSet::Binary, 2, Some(2)).is_err());
}
