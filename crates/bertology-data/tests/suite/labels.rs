//! From the file's labels to the model's ids.

use std::path::Path;

use bertology_data::{
    Assumption, DataError, Example, LabelMap, LabelOrder, Mode, RawLabel, Target, Task,
};

fn map(names: &[&str], task: Option<Task>) -> LabelMap {
    LabelMap::new(names, task, LabelOrder::Task).expect("these names suit the task")
}

fn class(map: &LabelMap, label: &str) -> Option<usize> {
    map.class(&RawLabel::new(label))
}

fn example(label: Option<&str>) -> Example {
    Example {
        text: String::new(),
        label: label.map(RawLabel::new),
        line: 7,
        ..Example::default()
    }
}

#[test]
fn exact_names_then_any_case() {
    let model = map(&["Yes", "yes", "NO"], None);
    assert_eq!(class(&model, "Yes"), Some(0));
    assert_eq!(class(&model, "yes"), Some(1));
    assert_eq!(class(&model, "no"), Some(2));
    // Two names fit, so none does.
    assert_eq!(class(&model, "YES"), None);
    // A model that names its labels does not take ids for labels.
    assert_eq!(class(&model, "0"), None);
    assert_eq!(model.names(), ["Yes", "yes", "NO"]);
}

#[test]
fn the_models_order_wins_over_the_tasks() {
    let model = map(
        &["CONTRADICTION", "NEUTRAL", "ENTAILMENT"],
        Some(Task::Mnli),
    );
    let ids: Vec<_> = Task::Mnli
        .labels()
        .iter()
        .map(|label| class(&model, label))
        .collect();
    assert_eq!(ids, [Some(0), Some(2), Some(1)]);
    let model = map(&["1", "0"], Some(Task::Mrpc));
    assert_eq!((class(&model, "0"), class(&model, "1")), (Some(1), Some(0)));
    assert_eq!(model.positive(), Some(0));
}

#[test]
fn generic_names_take_the_tasks_order() {
    let generic = ["LABEL_0", "LABEL_1", "LABEL_2"];
    let ids = |order| {
        let model = LabelMap::new(&generic, Some(Task::Mnli), order).unwrap();
        let ids = Task::Mnli
            .labels()
            .iter()
            .map(|label| class(&model, label).unwrap());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(ids(LabelOrder::Task), [0, 1, 2]);
    // Contradiction, neutral, entailment: the order of the old RoBERTa scripts, only when asked.
    assert_eq!(ids(LabelOrder::SwappedMnli), [0, 2, 1]);
    for task in [Task::Cola, Task::Qnli, Task::Wnli] {
        let model = map(&generic[..2], Some(task));
        let ids: Vec<_> = task
            .labels()
            .iter()
            .map(|label| class(&model, label))
            .collect();
        assert_eq!(ids, [Some(0), Some(1)], "{task}");
        assert_eq!(model.positive(), Some(1));
    }
    // Names out of their generic places are names.
    let model = map(&["LABEL_1", "LABEL_0"], Some(Task::Cola));
    assert_eq!(class(&model, "1"), None);
}

#[test]
fn names_of_the_hubs_data_set_are_known() {
    let cases = [
        (Task::Sst2, ["NEGATIVE", "POSITIVE"]),
        (Task::Mrpc, ["not equivalent", "equivalent"]),
        (Task::Qqp, ["not_duplicate", "duplicate"]),
        (Task::Cola, ["unacceptable", "acceptable"]),
    ];
    for (task, names) in cases {
        let model = map(&names, Some(task));
        assert_eq!(
            (class(&model, "0"), class(&model, "1")),
            (Some(0), Some(1)),
            "{task}"
        );
        let model = map(&[names[1], names[0]], Some(task));
        assert_eq!(
            (class(&model, "0"), class(&model, "1")),
            (Some(1), Some(0)),
            "{task}"
        );
        assert_eq!(model.positive(), Some(0), "{task}");
    }
    let model = map(&["Entailment", "Not-Entailment"], Some(Task::Rte));
    assert_eq!(class(&model, "not_entailment"), Some(1));
    // Own data has no task, so nothing is guessed.
    assert_eq!(class(&map(&["negative", "positive"], None), "1"), None);
}

#[test]
fn own_data_with_a_generic_model_uses_ids() {
    let model = map(&["LABEL_0", "LABEL_1"], None);
    for (label, id) in [
        ("1", Some(1)),
        ("LABEL_1", Some(1)),
        ("0.0", Some(0)),
        ("1.0", Some(1)),
    ] {
        assert_eq!(class(&model, label), id, "{label}");
    }
    for label in ["2", "-1", "0.5", "yes", "nan", "1e300"] {
        assert_eq!(class(&model, label), None, "{label}");
    }
}

#[test]
fn an_unknown_label_names_file_line_and_the_known_ones() {
    let model = map(
        &["contradiction", "entailment", "neutral"],
        Some(Task::Mnli),
    );
    let file = Path::new("glue/MNLI/dev_matched.tsv");
    let error = model.target(&example(Some("-")), file).unwrap_err();
    assert_eq!(
        error.to_string(),
        "glue/MNLI/dev_matched.tsv, line 7: the label `-` is not one of the model's labels: \
         `contradiction`, `entailment`, `neutral`; correct the file, or give the classes the file's \
         names in id2label and label2id of the model's config.json"
    );
    let error = model.target(&example(None), file).unwrap_err().to_string();
    assert!(error.starts_with("glue/MNLI/dev_matched.tsv, line 7: the example has no label; use"));
    assert_eq!(
        model.target(&example(Some("neutral")), file).unwrap(),
        Target::Class(2)
    );
}

#[test]
fn regression_labels_are_finite_numbers() {
    let model = map(&["LABEL_0"], Some(Task::StsB));
    assert_eq!(model.mode(), Mode::Regression);
    let file = Path::new("dev.tsv");
    assert_eq!(
        model.target(&example(Some("3.25")), file).unwrap(),
        Target::Value(3.25)
    );
    for bad in ["", "high", "nan", "inf"] {
        let error = model
            .target(&example(Some(bad)), file)
            .unwrap_err()
            .to_string();
        let expected = format!("dev.tsv, line 7: the label `{bad}` is not a finite number");
        assert!(error.starts_with(&expected), "{error}");
    }
    assert_eq!(map(&["score"], None).mode(), Mode::Regression);
}

#[test]
fn models_that_do_not_suit() {
    let new = |names: &[&str], task, order| LabelMap::new(names, task, order).unwrap_err();
    let error = new(&["a", "b"], Some(Task::Mnli), LabelOrder::Task).to_string();
    assert!(
        error.starts_with("the model has 2 outputs, but mnli needs 3"),
        "{error}"
    );
    let error = new(&["a", "b"], Some(Task::StsB), LabelOrder::Task);
    assert!(matches!(
        error,
        DataError::LabelCount {
            expected: 1,
            found: 2,
            ..
        }
    ));
    assert!(matches!(
        new(&[], None, LabelOrder::Task),
        DataError::NoModelLabels
    ));
    let error = new(&["a", "b", "a"], None, LabelOrder::Task);
    assert!(matches!(
        error,
        DataError::DuplicateModelLabel {
            first: 0,
            second: 2,
            ..
        }
    ));

    let swapped = || LabelOrder::SwappedMnli;
    let named = ["contradiction", "entailment", "neutral"];
    let error = new(&named, Some(Task::Mnli), swapped()).to_string();
    assert!(
        error.contains("the model names its labels itself"),
        "{error}"
    );
    let error = new(&["LABEL_0", "LABEL_1"], Some(Task::Rte), swapped()).to_string();
    assert!(error.contains("the task is rte"), "{error}");
    let error = new(&["LABEL_0", "LABEL_1"], None, swapped()).to_string();
    assert!(error.contains("the data are not MNLI"), "{error}");
}

#[test]
fn a_given_order_names_the_classes_of_a_model_that_does_not() {
    let generic = ["LABEL_0", "LABEL_1", "LABEL_2"];
    let given = |text: &str| LabelOrder::Given(text.split(',').map(str::to_owned).collect());
    let class = |map: &LabelMap, label: &str| map.class(&RawLabel::new(label));
    let order = given("neutral,entailment,contradiction");
    let map = LabelMap::new(&generic, Some(Task::Mnli), order).unwrap();
    assert_eq!(map.assumption(), None);
    let ids = ["neutral", "entailment", "contradiction"].map(|label| class(&map, label));
    assert_eq!(ids, [Some(0), Some(1), Some(2)]);
    // Ids of own data, too.
    let map = LabelMap::new(&generic[..2], None, given("1,0")).unwrap();
    assert_eq!([class(&map, "1"), class(&map, "0.0")], [Some(0), Some(1)]);
    let map = LabelMap::new(&generic[..2], None, given("Yes,no")).unwrap();
    assert_eq!([class(&map, "yes"), class(&map, "true")], [Some(0), None]);
    for (labels, task, order, part) in [
        (
            &generic[..],
            None,
            "a,b",
            "2 labels are given for the 3 classes",
        ),
        (&generic, None, "a,b,a", "`a` is given twice"),
        (
            &generic,
            Some(Task::Mnli),
            "neutral,entailment,no",
            "`no` is no label of this task",
        ),
        (
            &["yes", "no"],
            None,
            "no,yes",
            "names its classes itself: yes, no",
        ),
        (&generic[..1], None, "a", "one output"),
    ] {
        let error = LabelMap::new(labels, task, given(order)).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn what_is_assumed_is_said() {
    let generic = ["LABEL_0", "LABEL_1", "LABEL_2"];
    let assumed = |labels: &[&str], task, order| {
        let map = LabelMap::new(labels, task, order).unwrap();
        map.assumption().cloned()
    };
    let mnli = ["contradiction", "entailment", "neutral"].map(str::to_owned);
    let order = Some(Assumption::Order(mnli.to_vec()));
    assert_eq!(
        assumed(&generic, Some(Task::MnliMismatched), LabelOrder::Task),
        order
    );
    let swapped = LabelOrder::SwappedMnli;
    assert_eq!(assumed(&generic, Some(Task::Mnli), swapped), None);
    let names = ["ENTAILMENT", "NEUTRAL", "CONTRADICTION"];
    assert_eq!(assumed(&names, Some(Task::Mnli), LabelOrder::Task), None);
    assert_eq!(
        assumed(&generic[..2], Some(Task::Cola), LabelOrder::Task),
        None
    );
    let booleans = Some(Assumption::Booleans);
    assert_eq!(assumed(&generic[..2], None, LabelOrder::Task), booleans);
    let map = map(&generic[..2], None);
    let ids = ["False", "true", "TRUE"].map(|label| map.class(&RawLabel::new(label)));
    assert_eq!(ids, [Some(0), Some(1), Some(1)]);
}
