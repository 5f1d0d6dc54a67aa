//! Folders that transformers 4.57.6 wrote.

use std::path::PathBuf;

use bertology_checkpoint::{
    Affine, Checkpoint, Export, HeadSet, IgnoreReason, LayerParameter, OpenAs, OpenOptions,
    Parameter, Problem, TaskHead, WriteOptions, write_pruned,
};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../bertology-model/tests/golden")
        .join(name)
}

fn open(name: &str) -> Checkpoint {
    Checkpoint::open(&golden(name), &OpenOptions::new()).unwrap()
}

fn values(checkpoint: &Checkpoint) -> Vec<(Parameter, Vec<f32>)> {
    checkpoint
        .parameters()
        .map(|(p, tensor)| (p, tensor.to_f32().unwrap()))
        .collect()
}

#[test]
fn every_folder_opens_with_every_tensor_used_or_explained() {
    let mut count = 0;
    for entry in std::fs::read_dir(golden("")).unwrap() {
        let path = entry.unwrap().path();
        if !path.join("config.json").is_file() {
            continue;
        }
        count += 1;
        let inspection = Checkpoint::inspect(&path).unwrap();
        assert!(
            inspection.problems.is_empty(),
            "{}: {:?}",
            path.display(),
            inspection.problems
        );
        assert!(inspection.report.missing.is_empty() && inspection.report.unexpected.is_empty());
        let checkpoint = Checkpoint::open(&path, &OpenOptions::new()).unwrap();
        let report = checkpoint.report();
        assert_eq!(
            report.used.len() + report.ignored.len(),
            checkpoint.tensors().len()
        );
    }
    assert!(count >= 20, "only {count} golden folders");
}

/// The same random model, saved in every format that transformers reads.
#[test]
fn all_formats_and_namings_give_the_same_numbers() {
    let reference = values(&open("bert-absolute"));
    for name in [
        "bert-bin",
        "bert-bin-sharded",
        "bert-sharded",
        "bert-legacy-names",
        "bert-noprefix",
    ] {
        assert!(values(&open(name)) == reference, "{name}");
    }
    for (name, relative) in [("bert-f16", 1e-3), ("bert-bf16", 8e-3)] {
        for ((parameter, narrow), (_, wide)) in values(&open(name)).iter().zip(&reference) {
            for (a, b) in narrow.iter().zip(wide) {
                // Subnormal f16 numbers lose relative precision.
                assert!(
                    (a - b).abs() <= relative * b.abs() + 1e-7,
                    "{name} {parameter}: {a} {b}"
                );
            }
        }
    }
}

#[test]
fn tasks_are_those_of_the_config() {
    let head = |name| open(name).architecture().head.clone();
    assert_eq!(
        head("bert-absolute"),
        TaskHead::SequenceClassification {
            num_labels: 3,
            problem: Problem::SingleLabel
        }
    );
    assert_eq!(
        head("bert-regression"),
        TaskHead::SequenceClassification {
            num_labels: 1,
            problem: Problem::Regression
        }
    );
    assert_eq!(head("bert-mlm"), TaskHead::MaskedLm);
    assert_eq!(head("roberta-mlm"), TaskHead::MaskedLm);
    assert_eq!(head("bert-nsp"), TaskHead::NextSentence);
    assert_eq!(head("bert-pretraining"), TaskHead::PreTraining);
    assert_eq!(head("roberta-bare"), TaskHead::None);
}

#[test]
fn legacy_names_and_buffers_are_accounted_for() {
    let checkpoint = open("bert-legacy-names");
    let ignored = &checkpoint.report().ignored;
    assert!(ignored.iter().any(
        |i| i.tensor.name == "bert.embeddings.position_ids" && i.reason == IgnoreReason::Buffer
    ));
    let norm = checkpoint
        .parameter(Parameter::EmbeddingNorm(Affine::Weight))
        .unwrap();
    assert!(norm.name().ends_with("LayerNorm.gamma"), "{}", norm.name());
}

#[test]
fn a_classifier_opens_as_an_encoder() {
    let options = OpenOptions::new().open_as(OpenAs::Encoder);
    let bert = Checkpoint::open(&golden("bert-absolute"), &options).unwrap();
    assert_eq!(bert.architecture().head, TaskHead::None);
    assert!(bert.architecture().pooler);
    assert_eq!(
        bert.report().ignored.len(),
        2,
        "classifier.weight and .bias"
    );
    let roberta = Checkpoint::open(&golden("roberta"), &options).unwrap();
    assert!(
        !roberta.architecture().pooler,
        "its dense layer belongs to the classifier"
    );
    assert!(
        roberta
            .parameter(Parameter::Pooler(Affine::Weight))
            .is_none()
    );
    assert_eq!(roberta.report().ignored.len(), 4);
}

/// transformers' own `prune_heads` is the reference: same tensors to the byte.
#[test]
fn pruning_gives_the_tensors_that_transformers_gives() {
    for (full, pruned) in [
        ("bert-absolute", "bert-absolute-pruned"),
        ("roberta", "roberta-pruned"),
    ] {
        let expected = open(pruned);
        let heads: HeadSet = expected.architecture().pruned_heads.clone().into();
        assert!(heads.len() >= 5);
        let out = tempfile::tempdir().unwrap();
        let target = out.path().join("pruned");
        let source = open(full);
        let report =
            write_pruned(&source, &heads, &target, &WriteOptions::new(Export::Pruned)).unwrap();
        let written = Checkpoint::open(&target, &OpenOptions::new()).unwrap();
        assert_eq!(written.architecture(), expected.architecture());
        assert_eq!(values(&written), values(&expected), "{full}");
        // Specification: each head holds 4 D d + 3 d parameters.
        let (width, dim) = (
            source.architecture().hidden_size,
            source.architecture().head_dim(),
        );
        let removed = report.before.parameters - report.after.parameters;
        assert_eq!(removed as usize, heads.len() * (4 * width * dim + 3 * dim));
        assert_eq!(report.after, written.report().parts.total());
    }
}

#[test]
fn zeroing_a_pruned_checkpoint_restores_the_full_shape() {
    let full = open("bert-absolute");
    let pruned = open("bert-absolute-pruned");
    let heads: HeadSet = pruned.architecture().pruned_heads.clone().into();
    let out = tempfile::tempdir().unwrap();
    let (a, b) = (out.path().join("a"), out.path().join("b"));
    let options = WriteOptions::new(Export::Zeroed);
    write_pruned(&full, &heads, &a, &options).unwrap();
    write_pruned(&pruned, &HeadSet::new(), &b, &options).unwrap();
    let (a, b) = (
        Checkpoint::open(&a, &OpenOptions::new()).unwrap(),
        Checkpoint::open(&b, &OpenOptions::new()).unwrap(),
    );
    assert_eq!(a.architecture(), full.architecture());
    assert_eq!(b.architecture(), full.architecture());
    assert_eq!(values(&a), values(&b));
    let (layer, head) = heads.iter().next().unwrap();
    let dim = full.architecture().head_dim();
    for part in [
        LayerParameter::Query,
        LayerParameter::Key,
        LayerParameter::Value,
    ] {
        let bias = a
            .parameter(Parameter::Layer(layer, part(Affine::Bias)))
            .unwrap();
        assert!(
            bias.to_f32().unwrap()[head * dim..(head + 1) * dim]
                .iter()
                .all(|v| *v == 0.0)
        );
    }
}
