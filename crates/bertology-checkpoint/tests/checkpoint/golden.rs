//! Folders that transformers 4.57.6 wrote.

use std::path::PathBuf;

use bertology_checkpoint::{
    Affine, Checkpoint, Export, HeadSet, IgnoreReason, LayerParameter, OpenAs, OpenOptions,
    Parameter, Problem, TaskHead, WriteOptions, write_pruned,
};
use bertology_testkit::golden_folders;
use serde_json::{Value, json};

fn golden(name: &str) -> PathBuf {
    bertology_testkit::golden(&format!("engine/{name}"))
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
    for name in golden_folders("engine") {
        let path = golden(&name);
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
        "bert-bin-legacy",
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
    assert_eq!(head("electra-generator"), TaskHead::MaskedLm);
    assert_eq!(head("electra-discriminator"), TaskHead::ReplacedTokens);
    assert_eq!(head("camembert-mlm"), TaskHead::MaskedLm);
    assert_eq!(head("mpnet-mlm"), TaskHead::MaskedLm);
    assert_eq!(
        head("bert-tokens"),
        TaskHead::TokenClassification { num_labels: 5 }
    );
    assert_eq!(head("distilbert-answers"), TaskHead::QuestionAnswering);
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
        ("distilbert", "distilbert-pruned"),
        ("electra", "electra-pruned"),
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

/// The same for the fused, turned tensors of GPT files. The pruned folders are classifiers on the
/// blocks of the language models.
#[test]
fn pruning_turned_tensors_gives_those_of_transformers() {
    for (full, pruned) in [("gpt2-lm", "gpt2-pruned"), ("gpt-lm", "gpt-pruned")] {
        let expected = open(pruned);
        let heads: HeadSet = expected.architecture().pruned_heads.clone().into();
        assert_eq!(heads.len(), 5);
        let out = tempfile::tempdir().unwrap();
        let target = out.path().join("pruned");
        let source = open(full);
        let options = WriteOptions::new(Export::Pruned);
        let report = write_pruned(&source, &heads, &target, &options).unwrap();
        let written = Checkpoint::open(&target, &OpenOptions::new()).unwrap();
        let blocks = |checkpoint: &Checkpoint| -> Vec<(Parameter, Vec<usize>, Vec<f32>)> {
            checkpoint
                .parameters()
                .filter(|(parameter, _)| matches!(parameter, Parameter::Layer(..)))
                .map(|(p, tensor)| (p, tensor.shape().to_vec(), tensor.to_f32().unwrap()))
                .collect()
        };
        assert_eq!(blocks(&written), blocks(&expected), "{full}");
        let (width, dim) = (
            source.architecture().hidden_size,
            source.architecture().head_dim(),
        );
        let removed = report.before.parameters - report.after.parameters;
        assert_eq!(removed as usize, heads.len() * (4 * width * dim + 3 * dim));
    }
}

/// Specification: `h.i.attn.bias` is a buffer, `h.i.attn.c_attn.bias` is not; linear maps of the blocks
/// are stored as `[in, out]` and handed out as `[out, in]`.
#[test]
fn gpt_files_keep_buffers_and_turned_maps_apart() {
    for name in ["gpt2-noprefix-buffers", "gpt-noprefix-buffers"] {
        let checkpoint = open(name);
        assert_eq!(checkpoint.architecture().head, TaskHead::CausalLm, "{name}");
        let ignored = &checkpoint.report().ignored;
        for buffer in ["h.1.attn.bias", "h.1.attn.masked_bias"] {
            let found = ignored.iter().find(|i| i.tensor.name == buffer);
            assert_eq!(
                found.unwrap().reason,
                IgnoreReason::Buffer,
                "{name} {buffer}"
            );
        }
        let fused = |affine| Parameter::Layer(1, LayerParameter::QueryKeyValue(affine));
        let bias = checkpoint.parameter(fused(Affine::Bias)).unwrap();
        assert_eq!(bias.name(), "h.1.attn.c_attn.bias");
        let weight = checkpoint.parameter(fused(Affine::Weight)).unwrap();
        let width = checkpoint.architecture().hidden_size;
        assert_eq!(weight.shape(), [width, 3 * width]);
        let stored = weight.to_f32().unwrap();
        let canonical = checkpoint.values(fused(Affine::Weight)).unwrap().unwrap();
        for (row, col) in [(0, 0), (0, 1), (5, 17), (width - 1, 3 * width - 1)] {
            assert_eq!(canonical[col * width + row], stored[row * 3 * width + col]);
        }
        // Tables are as they are stored.
        let words = Parameter::WordEmbeddings;
        let stored = checkpoint.parameter(words).unwrap().to_f32().unwrap();
        assert_eq!(checkpoint.values(words).unwrap().unwrap(), stored);
    }
}

#[test]
fn causal_models_open_as_what_they_hold() {
    let opened =
        |name: &str, as_what| Checkpoint::open(&golden(name), &OpenOptions::new().open_as(as_what));
    // The output layer is tied: any GPT is a language model.
    for name in ["gpt2", "gpt2-bare", "gpt-bare"] {
        let checkpoint = opened(name, OpenAs::CausalLm).unwrap();
        assert_eq!(checkpoint.architecture().head, TaskHead::CausalLm, "{name}");
    }
    let bare = opened("gpt2-lm", OpenAs::Encoder).unwrap();
    assert_eq!(bare.architecture().head, TaskHead::None);
    let says = |name, as_what, part: &str| {
        let text = opened(name, as_what).unwrap_err().to_string();
        assert!(text.contains(part), "`{text}` does not say `{part}`");
    };
    says("gpt2-lm", OpenAs::SequenceClassification, "score.weight");
    says(
        "gpt2-lm",
        OpenAs::MaskedLm,
        "only BERT, RoBERTa, DistilBERT, ELECTRA, MPNet, ModernBERT, ALBERT, ESM-2, ESM-C, EuroBERT, NomicBERT, GTE and DeBERTa are",
    );
    says("bert-mlm", OpenAs::CausalLm, "only GPT and GPT-2 are");
    says("distilbert", OpenAs::NextSentence, "only BERT is");
    // Its own output layer where the config unties it, and only there.
    let untied = open("gpt2-untied");
    assert!(
        untied
            .parameter(Parameter::LmDecoder(Affine::Weight))
            .is_some()
    );
    let tied = open("gpt2-lm");
    assert!(
        tied.parameter(Parameter::LmDecoder(Affine::Weight))
            .is_none()
    );
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
    // Of that shape, and known for what they are.
    let mut expected = full.architecture().clone();
    expected.zeroed_heads = pruned.architecture().pruned_heads.clone();
    assert_eq!(a.architecture(), &expected);
    assert_eq!(b.architecture(), &expected);
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

/// Published configs as they stand but for the sizes, on small weights of their family.
///
/// Where each was read, all in 2026: CodeBERT in guillaume-be/rust-bert#219, and as transformers 4.40 and 4.48 saved it
/// in naolia1211/Blockchain-Smart-Contract-Security and bikeread/Reviewly; UniXcoder in pachanitha/NPC_Project
/// (transformers 4.48); DNABERT in its own repository, jerryji1993/DNABERT, `dnabert-config/bert-config-6`, and as its
/// fork of transformers saved it with an LSTM's options; BERTweet in qlwang25/image2text_conversion; PhoBERT in
/// green-leo/KG.BERT-based-model (transformers 4.12). ProtBERT's is quoted by programs that build it without the file.
/// GraphCodeBERT's and CodeGPT's were found nowhere: they stand for what their authors say, the forms of RoBERTa-base
/// and of GPT-2 (microsoft/CodeXGLUE#7).
#[test]
fn configs_of_published_models_open_as_they_are() {
    let roberta = json!({
        "architectures": ["RobertaModel"], "attention_probs_dropout_prob": 0.1, "bos_token_id": 0,
        "classifier_dropout": null, "eos_token_id": 2, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
        "initializer_range": 0.02, "layer_norm_eps": 1e-5, "model_type": "roberta", "output_past": true,
        "pad_token_id": 1, "position_embedding_type": "absolute", "torch_dtype": "float32",
        "transformers_version": "4.40.0", "use_cache": true,
    });
    // Neither a type nor the norm's epsilon: from before transformers 2.3.
    let old_bert = json!({
        "architectures": ["BertForMaskedLM"], "attention_probs_dropout_prob": 0.0, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0, "initializer_range": 0.02,
    });
    let with = |base: &Value, more: Value| {
        let mut config = base.clone();
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        config
    };
    for (model, weights, published, head, epsilon) in [
        (
            "microsoft/codebert-base",
            "roberta-bare",
            roberta.clone(),
            TaskHead::None,
            1e-5,
        ),
        (
            "microsoft/graphcodebert-base",
            "roberta-mlm",
            with(&roberta, json!({"architectures": ["RobertaForMaskedLM"]})),
            TaskHead::MaskedLm,
            1e-5,
        ),
        (
            "microsoft/unixcoder-base",
            "roberta-bare",
            with(
                &roberta,
                json!({"gradient_checkpointing": false, "transformers_version": "4.48.0"}),
            ),
            TaskHead::None,
            1e-5,
        ),
        (
            "microsoft/CodeGPT-small-py",
            "gpt2-lm",
            json!({
                "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1,
                "embd_pdrop": 0.1, "initializer_range": 0.02, "layer_norm_epsilon": 1e-5,
                "model_type": "gpt2", "resid_pdrop": 0.1, "summary_activation": null,
                "summary_first_dropout": 0.1, "summary_proj_to_labels": true, "summary_type": "cls_index",
                "summary_use_proj": true,
            }),
            TaskHead::CausalLm,
            1e-5,
        ),
        (
            "Rostlab/prot_bert",
            "bert-mlm",
            old_bert.clone(),
            TaskHead::MaskedLm,
            1e-12,
        ),
        (
            "jerryji1993/DNABERT, 6-mers",
            "bert-mlm",
            with(
                &old_bert,
                json!({"attention_probs_dropout_prob": 0.1, "hidden_dropout_prob": 0.1}),
            ),
            TaskHead::MaskedLm,
            1e-12,
        ),
        (
            "DNABERT as its fork saves it",
            "bert-mlm",
            json!({
                "architectures": ["BertForMaskedLM"], "attention_probs_dropout_prob": 0.1, "bos_token_id": 0,
                "do_sample": false, "eos_token_ids": 0, "finetuning_task": null, "hidden_act": "gelu",
                "hidden_dropout_prob": 0.1, "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
                "initializer_range": 0.02, "is_decoder": false, "label2id": {"LABEL_0": 0, "LABEL_1": 1},
                "layer_norm_eps": 1e-12, "length_penalty": 1.0, "max_length": 20, "model_type": "bert",
                "num_beams": 1, "num_labels": 2, "num_return_sequences": 1, "num_rnn_layer": 1,
                "output_attentions": false, "output_hidden_states": false, "output_past": true,
                "pad_token_id": 0, "pruned_heads": {}, "repetition_penalty": 1.0, "rnn": "lstm",
                "rnn_dropout": 0.0, "rnn_hidden": 768, "split": 10, "temperature": 1.0, "top_k": 50,
                "top_p": 1.0, "torchscript": false, "use_bfloat16": false,
            }),
            TaskHead::MaskedLm,
            1e-12,
        ),
        (
            "vinai/bertweet-base",
            "roberta-mlm",
            json!({
                "architectures": ["RobertaForMaskedLM"], "attention_probs_dropout_prob": 0.1,
                "bos_token_id": 0, "eos_token_id": 2, "gradient_checkpointing": false, "hidden_act": "gelu",
                "hidden_dropout_prob": 0.1, "initializer_range": 0.02, "layer_norm_eps": 1e-5,
                "model_type": "roberta", "pad_token_id": 1, "tokenizer_class": "BertweetTokenizer",
            }),
            TaskHead::MaskedLm,
            1e-5,
        ),
        (
            "vinai/phobert-base",
            "roberta-bare",
            with(
                &roberta,
                json!({
                    "gradient_checkpointing": false, "tokenizer_class": "PhobertTokenizer",
                    "transformers_version": "4.12.2",
                }),
            ),
            TaskHead::None,
            1e-5,
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let text = std::fs::read_to_string(golden(weights).join("config.json")).unwrap();
        let small: Value = serde_json::from_str(&text).unwrap();
        let mut config = published;
        for size in [
            "hidden_size",
            "intermediate_size",
            "max_position_embeddings",
            "num_attention_heads",
            "num_hidden_layers",
            "type_vocab_size",
            "vocab_size",
            "n_embd",
            "n_head",
            "n_layer",
            "n_positions",
            "n_inner",
        ] {
            if let Some(value) = small.get(size) {
                config[size] = value.clone();
            }
        }
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let file = "model.safetensors";
        std::fs::copy(golden(weights).join(file), folder.path().join(file)).unwrap();
        let opened = Checkpoint::open(folder.path(), &OpenOptions::new());
        let opened = opened.unwrap_or_else(|error| panic!("{model}: {error}"));
        assert_eq!(opened.architecture().head, head, "{model}");
        assert_eq!(opened.architecture().norm_epsilon, epsilon, "{model}");
    }
}
