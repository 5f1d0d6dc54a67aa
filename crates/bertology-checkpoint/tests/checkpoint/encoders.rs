//! What the configs and files of encoders since 2024 say besides sizes.

use std::collections::BTreeMap;

use bertology_checkpoint::{
    Activation, Affine, Checkpoint, Export, Family, FeedForward, HeadSet, LayerParameter, NormKind,
    OpenAs, OpenOptions, Parameter, Pooling, Positions, TaskHead, WriteOptions, write_pruned,
    write_trained,
};
use serde_json::{Value, json};

use crate::families::changed;
use crate::folder::assert_says;

fn open(folder: &std::path::Path) -> Checkpoint {
    Checkpoint::open(folder, &OpenOptions::new()).unwrap()
}

fn engine(name: &str) -> std::path::PathBuf {
    bertology_testkit::golden(&format!("engine/{name}"))
}

/// What a training would give back: every parameter in the canonical layout.
fn canonical(source: &Checkpoint) -> BTreeMap<Parameter, Vec<f32>> {
    use LayerParameter as P;
    let parameters = source.parameters().map(|(parameter, _)| parameter);
    let mut values: BTreeMap<Parameter, Vec<f32>> = parameters
        .map(|parameter| (parameter, source.values(parameter).unwrap().unwrap()))
        .collect();
    for layer in 0..source.architecture().num_layers {
        for affine in [Affine::Weight, Affine::Bias] {
            let fused: [(P, &[P]); 2] = [
                (
                    P::QueryKeyValue(affine),
                    &[P::Query(affine), P::Key(affine), P::Value(affine)],
                ),
                (
                    P::MlpIn(affine),
                    &[P::MlpActivated(affine), P::MlpGate(affine)],
                ),
            ];
            for (whole, parts) in fused {
                let parts = parts.iter().map(|part| Parameter::Layer(layer, *part));
                let given: Vec<_> = parts.filter_map(|part| values.remove(&part)).collect();
                if !given.is_empty() {
                    values.insert(Parameter::Layer(layer, whole), given.concat());
                }
            }
        }
    }
    values
}

/// A folder written as after a training that moved nothing holds what its source holds.
fn comes_back(name: &str) {
    let source = open(&engine(name));
    let values = canonical(&source);
    let out = tempfile::tempdir().unwrap();
    let given = |parameter| values.get(&parameter).map(Vec::as_slice);
    write_trained(&source, given, &out.path().join("model"), out.path()).unwrap();
    let written = open(&out.path().join("model"));
    let held = |checkpoint: &Checkpoint| -> BTreeMap<String, Vec<f32>> {
        let tensors = checkpoint.parameters();
        tensors
            .map(|(_, tensor)| (tensor.name().to_owned(), tensor.to_f32().unwrap()))
            .collect()
    };
    assert_eq!(held(&source), held(&written), "{name}");
}

/// Heads leave a file, or stay in it as zeros.
fn loses_heads(name: &str) {
    let source = open(&engine(name));
    let arch = source.architecture();
    let heads = HeadSet::parse("0:0 1:0,2", arch.num_layers, arch.num_heads).unwrap();
    let out = tempfile::tempdir().unwrap();
    for (export, folder) in [(Export::Pruned, "pruned"), (Export::Zeroed, "zeroed")] {
        let to = out.path().join(folder);
        write_pruned(&source, &heads, &to, &WriteOptions::new(export)).unwrap();
        let written = open(&to);
        let arch = written.architecture();
        let gone = match export {
            Export::Pruned => &arch.pruned_heads,
            Export::Zeroed => &arch.zeroed_heads,
        };
        assert_eq!(HeadSet::from(gone.clone()), heads, "{name} {folder}");
    }
}

#[test]
fn files_come_back_whole() {
    for name in [
        "eurobert",
        "eurobert-mean",
        "eurobert-mlm",
        "eurobert-tokens",
    ] {
        comes_back(name);
    }
    for name in ["eurobert", "eurobert-mean"] {
        loses_heads(name);
    }
}

#[test]
fn eurobert_is_what_its_config_says() {
    let arch = changed("eurobert", &json!({})).unwrap();
    assert_eq!(arch.family, Family::EuroBert);
    assert_eq!(
        (arch.norm_kind, arch.norm_bias, arch.norm_epsilon),
        (NormKind::RootMeanSquare, false, 1e-5)
    );
    assert_eq!(
        (arch.feed_forward, arch.activation, arch.pooler_activation),
        (FeedForward::Gated, Activation::Silu, Activation::Gelu)
    );
    assert!(!arch.embedding_norm && !arch.attention_bias && !arch.mlp_bias && arch.head_bias);
    assert_eq!(arch.pooling, Pooling::MeanOfPooled);
    assert!((arch.dropout.attention_probs, arch.dropout.classifier) == (0.0, 0.0));
    let dropped = changed("eurobert", &json!({"attention_dropout": 0.2})).unwrap();
    assert_eq!(dropped.dropout.attention_probs, 0.2);
    let biased = changed("eurobert-mean", &json!({})).unwrap();
    assert!(biased.attention_bias && biased.mlp_bias);

    // The angles, as versions 4 and 5 write them.
    let base = |changes: Value| match changed("eurobert", &changes).unwrap().positions {
        Positions::Rotary(rotary) => (rotary.width, rotary.base),
        other => panic!("{other:?}"),
    };
    assert_eq!(base(json!({})), (8, 300.0));
    let older = json!({"rope_parameters": null, "rope_scaling": null, "rope_theta": 250_000});
    assert_eq!(base(older), (8, 250_000.0));
    assert_eq!(base(json!({"rope_parameters": null})), (8, 10_000.0));
    let both = json!({"rope_scaling": {"type": "default"}, "rope_theta": 5});
    assert_eq!(base(both), (8, 300.0));

    let pooling = |changes: Value| changed("eurobert", &changes).map(|arch| arch.pooling);
    for (said, is) in [("bos", Pooling::First), ("mean", Pooling::Mean)] {
        assert_eq!(pooling(json!({"classifier_pooling": said})), Ok(is));
        let older = json!({"classifier_pooling": null, "clf_pooling": said});
        assert_eq!(pooling(older), Ok(is));
    }
    let neither = json!({"classifier_pooling": null});
    assert_eq!(pooling(neither), Ok(Pooling::MeanOfPooled));

    for (name, changes, says) in [
        (
            "eurobert",
            json!({"num_key_value_heads": 2}),
            "EuroBERT-210m, is, 610m and 2.1B are not",
        ),
        ("eurobert", json!({"head_dim": 16}), "`head_dim` is 16"),
        (
            "eurobert",
            json!({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}),
            "`rope_scaling`",
        ),
        (
            "eurobert",
            json!({"rope_parameters": {"rope_type": "linear", "rope_theta": 300.0}}),
            "`rope_parameters`",
        ),
        (
            "eurobert",
            json!({"rope_parameters": null, "rope_theta": 0}),
            "`rope_theta`",
        ),
        ("eurobert", json!({"classifier_pooling": "max"}), "\"late\""),
        (
            "eurobert",
            json!({"clf_pooling": "mean"}),
            "`clf_pooling`, which means the same, is",
        ),
        (
            "eurobert",
            json!({"architectures": ["EuroBertForQuestionAnswering"]}),
            "EuroBertForQuestionAnswering",
        ),
        (
            "eurobert-mlm",
            json!({"tie_word_embeddings": true}),
            "lm_head.weight",
        ),
        ("eurobert-mlm", json!({"mlp_bias": true}), "bias"),
    ] {
        assert_says(&changed(name, &changes).unwrap_err(), says);
    }
    // Its class does not tie the output layer unless it is told to.
    let untied = changed("eurobert-mlm", &json!({"tie_word_embeddings": null})).unwrap();
    assert_eq!(
        (untied.head, untied.lm_transform),
        (TaskHead::MaskedLm, false)
    );
    let head = |name| changed(name, &json!({"architectures": null})).unwrap().head;
    assert!(matches!(
        head("eurobert"),
        TaskHead::SequenceClassification { .. }
    ));
    assert!(matches!(
        head("eurobert-tokens"),
        TaskHead::TokenClassification { .. }
    ));
    assert_eq!(head("eurobert-mlm"), TaskHead::MaskedLm);
    assert_eq!(head("eurobert-bare"), TaskHead::None);
    let refused = Checkpoint::open(
        &engine("eurobert-bare"),
        &OpenOptions::new().open_as(OpenAs::QuestionAnswering),
    );
    assert_says(&refused.unwrap_err().to_string(), "with question answering");
}
