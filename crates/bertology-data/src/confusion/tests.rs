use super::*;

fn scores(labels: &[&str], targets: &[(&[f32], &[usize])]) -> Confusion {
    let mut scores = Confusion::new(Vocabulary::new(labels.iter().copied()));
    for (logits, labels) in targets {
        scores.observe(logits, labels, &[]).unwrap();
    }
    scores
}

fn cells(tp: u64, fp: u64, miss: u64, tn: u64) -> Cells {
    Cells {
        true_positives: tp,
        false_positives: fp,
        false_negatives: miss,
        true_negatives: tn,
    }
}

/// Counted by hand; a logit of 0, and of -0, fires, and the smallest below does not.
#[test]
fn a_table_counted_by_hand() {
    let tiny = -f32::MIN_POSITIVE;
    let found = scores(
        &["a", "b", "c"],
        &[
            (&[1.0, -1.0, -1.0], &[0]),
            (&[0.0, 2.0, -1.0], &[1]),
            (&[-1.0, -1.0, tiny], &[2]),
            (&[-0.0, 1.0, -1.0], &[0, 1]),
            (&[-1.0, -1.0, -1.0], &[]),
        ],
    );
    let rows: Vec<_> = found.rows().map(|(_, cells)| cells).collect();
    assert_eq!(
        rows,
        [cells(2, 1, 0, 2), cells(2, 0, 0, 3), cells(0, 0, 1, 4)]
    );
    let all = found.cells(&Slice::All);
    assert_eq!(all, cells(4, 1, 1, 9));
    assert_eq!((all.precision(), all.recall(), all.f1()), (0.8, 0.8, 0.8));
    assert_eq!(all.accuracy(), 13.0 / 15.0);
    // (4·9 - 1·1) / √(5·5·10·10)
    assert!((all.mcc() - 35.0 / 50.0).abs() < 1e-12);
    assert_eq!(found.exact_match(), 3.0 / 5.0);
    assert_eq!(found.argmax_accuracy(), None, "one target has two labels");
    let third = found.macro_f1(&Slice::All).unwrap();
    assert!((third - (0.8 + 1.0 + 0.0) / 3.0).abs() < 1e-12);
}

#[test]
fn nothing_of_nothing_is_zero() {
    let empty = Cells::default();
    let all = [
        empty.precision(),
        empty.recall(),
        empty.f1(),
        empty.accuracy(),
        empty.mcc(),
    ];
    assert_eq!(all, [0.0; 5]);
    assert_eq!(cells(0, 0, 3, 4).precision(), 0.0);
    assert_eq!(cells(0, 3, 0, 4).recall(), 0.0);
    // All of one kind: the denominator of the correlation is 0.
    assert_eq!(cells(5, 0, 0, 0).mcc(), 0.0);
    assert_eq!(cells(5, 0, 0, 5).mcc(), 1.0);
    assert_eq!(cells(0, 5, 5, 0).mcc(), -1.0);
}

#[test]
fn the_greatest_logit_counts_where_targets_have_one_label() {
    let found = scores(
        &["a", "b"],
        &[
            (&[-2.0, -1.0], &[1]),
            (&[3.0, 1.0], &[1]),
            (&[3.0, 1.0], &[0]),
        ],
    );
    assert_eq!(found.argmax_accuracy(), Some(2.0 / 3.0));
    assert_eq!(found.exact_match(), 0.0);
}

/// A softmax answers with one label, however small its logit.
#[test]
fn what_fires_may_be_decided_otherwise() {
    let mut found = scores(&["a", "b"], &[]);
    found.observe_given(&[false, true], 1, &[1], &[]).unwrap();
    found.observe_given(&[true, false], 0, &[1], &[]).unwrap();
    assert_eq!(found.cells(&Slice::All), cells(1, 1, 1, 1));
    assert_eq!(found.argmax_accuracy(), Some(0.5));
    assert!(found.observe_given(&[true], 0, &[1], &[]).is_err());
}

#[test]
fn what_the_vocabulary_has_not_counts_as_missed() {
    let mut small = Confusion::new(Vocabulary::new(["a"]));
    let mut whole = Confusion::new(Vocabulary::new(["a", "z"]));
    for (logit, label) in [(1.0, "a"), (1.0, "z"), (-1.0, "z"), (-1.0, "a")] {
        let (labels, unseen): (&[usize], &[&str]) = match label {
            "a" => (&[0], &[]),
            _ => (&[], &["z"]),
        };
        small.observe(&[logit], labels, unseen).unwrap();
        let index = usize::from(label == "z");
        whole.observe(&[logit, -1.0], &[index], &[]).unwrap();
    }
    assert!(small.rows().eq(whole.rows()));
    assert_eq!(small.exact_match(), whole.exact_match());
    assert_eq!((small.unseen(), whole.unseen()), (2, 0));
}

#[test]
fn every_task_has_its_slice() {
    let labels = [
        "0",
        "1",
        "ARG0",
        "ARGA",
        "ARG6",
        "ARGM",
        "ARGM-LOC",
        "ARGMX",
        "C-ARG0",
        "R-ARGM-LOC",
        "Other",
        "ARG",
    ];
    let of = |slice: Slice| -> Vec<&str> {
        labels
            .iter()
            .copied()
            .filter(|label| slice.contains(label))
            .collect()
    };
    assert_eq!(of(EdgeTask::Coref.reported()), ["1"]);
    assert_eq!(
        of(EdgeTask::Srl.reported()),
        ["ARG0", "ARGA", "ARGM", "ARGM-LOC"]
    );
    assert_eq!(of(Slice::CoreRoles), ["ARG0", "ARGA"]);
    assert_eq!(of(Slice::OtherRoles), ["ARGM", "ARGM-LOC"]);
    assert_eq!(of(EdgeTask::SemEval.reported()).len(), labels.len() - 1);
    assert_eq!(of(EdgeTask::Plain.reported()).len(), labels.len());
    assert_eq!(of(Slice::Label("ARG".into())), ["ARG"]);
}

#[test]
fn what_cannot_be_scored_is_refused_and_not_counted() {
    let mut found = scores(&["a", "b"], &[]);
    assert!(found.observe(&[1.0], &[0], &[]).is_err());
    assert!(found.observe(&[1.0, 1.0], &[2], &[]).is_err());
    let nan = found.observe(&[1.0, f32::NAN], &[0], &[]).unwrap_err();
    assert_eq!(nan, MetricError::NotANumber { index: 1 });
    assert_eq!(found, scores(&["a", "b"], &[]));
    assert!(found.merge(&scores(&["a"], &[])).is_err());
}

#[test]
fn parts_add_up_to_the_whole_and_so_do_strata() {
    let targets: [(&[f32], &[usize]); 3] = [
        (&[1.0, -1.0], &[0]),
        (&[1.0, 1.0], &[1]),
        (&[-1.0, -1.0], &[0]),
    ];
    let whole = scores(&["a", "b"], &targets);
    let mut merged = scores(&["a", "b"], &targets[..1]);
    merged.merge(&scores(&["a", "b"], &targets[1..])).unwrap();
    assert_eq!(merged, whole);
    let mut strata = Strata::new(Vocabulary::new(["a", "b"]));
    for (at, (logits, labels)) in targets.iter().enumerate() {
        strata.observe(at as u64 % 2, logits, labels, &[]).unwrap();
    }
    let found: Vec<_> = strata
        .iter()
        .map(|(at, scores)| (at, scores.targets()))
        .collect();
    assert_eq!(found, [(0, 2), (1, 1)]);
    let sum: Cells = strata
        .iter()
        .map(|(_, scores)| scores.cells(&Slice::All))
        .sum();
    assert_eq!(sum, whole.cells(&Slice::All));
}
