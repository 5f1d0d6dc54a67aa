//! What every graph is, whichever family it is of.

use std::collections::BTreeSet;

use bertology_checkpoint::{Affine, HeadSet, Parameter};
use bertology_onnx::{Element, Options, Size};

use crate::{opened, written};

/// Names are unique, and what is read is there before.
#[test]
fn every_value_is_there_before_it_is_read() {
    let folders = bertology_testkit::golden_folders("engine");
    assert!(folders.len() > 90);
    for name in folders {
        let checkpoint = opened(&name);
        let options = Options::new().hidden_states(true).attentions(true);
        let (report, model) = written(&checkpoint, &options);
        assert_eq!((model.format, model.opset), (8, 17));
        assert_eq!(model.producer, "bertology");

        let mut there = BTreeSet::new();
        let mut add = |value: &str| {
            assert!(!value.is_empty(), "{name}: a value without a name");
            assert!(there.insert(value.to_owned()), "{name}: {value} twice");
        };
        model.inputs.iter().for_each(|port| add(&port.name));
        model.tensors.iter().for_each(|tensor| add(&tensor.name));
        let mut read = BTreeSet::new();
        let mut nodes = BTreeSet::new();
        for node in &model.nodes {
            for input in &node.inputs {
                assert!(there.contains(input), "{name}: {} reads {input}", node.name);
                read.insert(input.clone());
            }
            for output in &node.outputs {
                assert!(there.insert(output.clone()), "{name}: {output} twice");
            }
            assert!(nodes.insert(node.name.clone()), "{name}: {}", node.name);
        }
        let given: BTreeSet<&str> = model.outputs.iter().map(|port| &*port.name).collect();
        for node in &model.nodes {
            let useful = |output: &String| read.contains(output) || given.contains(&**output);
            assert!(
                node.outputs.iter().all(useful),
                "{name}: nobody reads {}",
                node.name
            );
        }
        for port in &model.outputs {
            assert!(there.contains(&port.name), "{name}: no {}", port.name);
        }
        for tensor in &model.tensors {
            assert!(
                read.contains(&tensor.name),
                "{name}: {} is read by none",
                tensor.name
            );
            let each = if tensor.kind == 1 { 4 } else { 8 };
            let count: usize = tensor.shape.iter().product();
            assert_eq!(tensor.data.len(), count * each, "{name}: {}", tensor.name);
        }
        for port in &model.inputs {
            assert!(
                read.contains(&port.name),
                "{name}: {} is read by none",
                port.name
            );
            assert_eq!(port.kind, 7);
            assert_eq!(port.shape, ["batch_size", "sequence_length"]);
        }
        // What is said is what is there.
        let said = |ports: &[bertology_onnx::Port]| -> Vec<String> {
            ports.iter().map(|port| port.name.clone()).collect()
        };
        let found = |ports: &[crate::decoded::Port]| -> Vec<String> {
            ports.iter().map(|port| port.name.clone()).collect()
        };
        assert_eq!(said(&report.inputs), found(&model.inputs));
        assert_eq!(said(&report.outputs), found(&model.outputs));
        for (said, found) in report.outputs.iter().zip(&model.outputs) {
            assert_eq!((said.element, found.kind), (Element::Float, 1));
            let shape = said.shape.iter().map(|size| match size {
                Size::Batch => "batch_size".to_owned(),
                Size::Length => "sequence_length".to_owned(),
                Size::Fixed(size) => size.to_string(),
            });
            assert_eq!(shape.collect::<Vec<_>>(), found.shape, "{name}");
        }
        let layers = checkpoint.architecture().num_layers;
        let outputs = found(&model.outputs);
        for (stem, count) in [("hidden_states", layers + 1), ("attentions", layers)] {
            let starts = |output: &&String| output.starts_with(stem);
            assert_eq!(outputs.iter().filter(starts).count(), count, "{name}");
        }
    }
}

/// Outputs have the names of transformers, and nothing is given out that nobody asked for.
#[test]
fn outputs_are_those_of_the_head() {
    for (name, outputs) in [
        ("bert-bare", &["last_hidden_state", "pooler_output"][..]),
        ("distilbert-bare", &["last_hidden_state"]),
        ("bert-absolute", &["logits"]),
        ("bert-nsp", &["logits"]),
        ("bert-mlm", &["logits"]),
        ("gpt2-lm", &["logits"]),
        ("bert-answers", &["start_logits", "end_logits"]),
        (
            "bert-pretraining",
            &["prediction_logits", "seq_relationship_logits"],
        ),
        ("albert-pretraining", &["prediction_logits", "sop_logits"]),
        ("electra-discriminator", &["logits"]),
        ("electra-tokens", &["logits"]),
    ] {
        let (_, model) = written(&opened(name), &Options::new());
        let found: Vec<&str> = model.outputs.iter().map(|port| &*port.name).collect();
        assert_eq!(found, outputs, "{name}");
    }
    let (_, model) = written(&opened("electra-discriminator"), &Options::new());
    assert_eq!(model.outputs[0].shape, ["batch_size", "sequence_length"]);
}

/// Only models that tell segments apart ask for them.
#[test]
fn inputs_are_those_of_the_model() {
    for (name, segments) in [
        ("bert-absolute", true),
        ("electra", true),
        ("albert", true),
        ("roberta", false),
        ("distilbert", false),
        ("mpnet", false),
        ("gpt2", false),
        ("modernbert", false),
        ("esm", false),
    ] {
        let (_, model) = written(&opened(name), &Options::new());
        let found: Vec<&str> = model.inputs.iter().map(|port| &*port.name).collect();
        let expected = ["input_ids", "attention_mask", "token_type_ids"];
        assert_eq!(found, expected[..2 + usize::from(segments)], "{name}");
    }
}

/// A table that two things read lies in the file once, and layers that share their weights have them once.
#[test]
fn weights_are_there_once() {
    let checkpoint = opened("bert-mlm");
    let (_, model) = written(&checkpoint, &Options::new());
    let arch = checkpoint.architecture();
    let large = arch.vocab_size * arch.embedding_size;
    let tables = model
        .tensors
        .iter()
        .filter(|tensor| tensor.shape.iter().product::<usize>() == large);
    assert_eq!(tables.count(), 1);
    let words = model.tensor("word_embeddings").unwrap();
    let values = checkpoint.values(Parameter::WordEmbeddings).unwrap();
    assert_eq!(words.floats(), values.unwrap());
    assert_eq!(words.shape, [arch.vocab_size, arch.embedding_size]);

    let albert = opened("albert");
    assert!(albert.architecture().num_layers > 1);
    let (_, model) = written(&albert, &Options::new());
    let queries = model
        .tensors
        .iter()
        .filter(|tensor| tensor.name.ends_with("query.weight"));
    assert_eq!(queries.count(), 1);
    // An output layer of its own is one more.
    let (_, model) = written(&opened("gpt2-untied"), &Options::new());
    assert!(model.tensor("lm_decoder.weight").is_some());
}

/// Maps are turned, and lose what their heads lose.
#[test]
fn maps_have_the_shapes_of_what_is_left() {
    let checkpoint = opened("bert-absolute");
    let arch = checkpoint.architecture();
    let (dim, hidden) = (arch.head_dim(), arch.hidden_size);
    let without: HeadSet = [(0, 1), (0, 3), (2, 0)].into_iter().collect();
    let options = Options::new().attentions(true).without(without);
    let (_, model) = written(&checkpoint, &options);
    let shape = |name: &str| model.tensor(name).unwrap().shape.clone();
    assert_eq!(shape("layer.0.query.weight"), [hidden, 2 * dim]);
    assert_eq!(shape("layer.0.query.bias"), [2 * dim]);
    assert_eq!(shape("layer.0.attention_output.weight"), [2 * dim, hidden]);
    assert_eq!(shape("layer.1.value.weight"), [hidden, 4 * dim]);
    assert_eq!(shape("layer.2.value.weight"), [hidden, 3 * dim]);
    assert_eq!(
        shape("layer.1.mlp_in.weight"),
        [hidden, arch.intermediate_size]
    );
    assert_eq!(shape("classifier.weight"), [hidden, 3]);
    assert_eq!(model.outputs[1].shape[1], "2");
    assert_eq!(model.metadata["pruned_heads"], "0:1,3 2:0");

    // `[out, in]` of the checkpoint is `[in, out]` of the file, without heads 1 and 3.
    let query = Parameter::Layer(
        0,
        bertology_checkpoint::LayerParameter::Query(Affine::Weight),
    );
    let values = checkpoint.values(query).unwrap().unwrap();
    let found = model.tensor("layer.0.query.weight").unwrap().floats();
    for input in 0..hidden {
        for (output, of) in (0..dim).chain(2 * dim..3 * dim).enumerate() {
            assert_eq!(found[input * 2 * dim + output], values[of * hidden + input]);
        }
    }
}

/// A layer without any head adds the bias of its output alone, and has an attention of nobody.
#[test]
fn a_layer_may_lose_all_its_heads() {
    for name in [
        "bert-absolute",
        "gpt2",
        "modernbert",
        "deberta",
        "albert",
        "esmc",
    ] {
        let checkpoint = opened(name);
        let heads = checkpoint.architecture().num_heads;
        let without: HeadSet = (0..heads).map(|head| (0, head)).collect();
        let options = Options::new().attentions(true).without(without);
        let (report, model) = written(&checkpoint, &options);
        let attention = report
            .outputs
            .iter()
            .find(|port| port.name == "attentions.0");
        assert_eq!(attention.unwrap().shape[1], Size::Fixed(0), "{name}");
        // Where layers share their weights the others keep them, under the name of the first that has them.
        assert!(model.tensor("layer.0.query.weight").is_none(), "{name}");
        assert!(model.tensor("layer.1.value.weight").is_some(), "{name}");
    }
}

#[test]
fn labels_and_source_are_in_the_file() {
    let options = Options::new().source("a model");
    let (_, model) = written(&opened("bert-absolute"), &options);
    assert_eq!(model.metadata["source"], "a model");
    assert_eq!(
        model.metadata["id2label"],
        r#"{"0":"LABEL_0","1":"LABEL_1","2":"LABEL_2"}"#
    );
    let (report, model) = written(&opened("roberta-mlm"), &Options::new());
    assert!(!model.metadata.contains_key("id2label"));
    assert!(!model.metadata.contains_key("source"));
    assert_eq!(model.metadata["max_length"], report.max_tokens.to_string());
}

/// The same file every time.
#[test]
fn the_same_checkpoint_gives_the_same_operators() {
    let (_, first) = written(&opened("deberta"), &Options::new());
    let (_, second) = written(&opened("deberta"), &Options::new());
    let names = |model: &crate::decoded::Model| -> Vec<(String, String)> {
        let nodes = model.nodes.iter();
        nodes
            .map(|node| (node.name.clone(), node.operator.clone()))
            .collect()
    };
    assert_eq!(names(&first), names(&second));
}
