//! Every option of `config.json` is obeyed or refused by name.

use bertology_checkpoint::{
    Activation, Checkpoint, Error, Family, OpenAs, OpenOptions, PositionIds, Positions, Problem,
    TaskHead,
};
use serde_json::{Value, json};

use crate::folder::{Folder, assert_says};

fn refusal(key: &str, value: Value) -> String {
    let mut folder = Folder::bert();
    folder.set(key, value);
    let text = folder.refusal();
    assert_says(&text, &format!("`{key}`"));
    assert_says(&text, "config.json");
    text
}

/// What the class of MPNet has in its code cannot be another number.
#[test]
fn mpnet_has_one_table_and_one_padding_token() {
    let source = bertology_testkit::golden("engine/mpnet");
    let read = std::fs::read(source.join("config.json")).unwrap();
    for (key, value) in [
        ("relative_attention_num_buckets", json!(64)),
        ("pad_token_id", json!(0)),
        ("pad_token_id", json!(null)),
    ] {
        let copy = tempfile::tempdir().unwrap();
        let mut config: Value = serde_json::from_slice(&read).unwrap();
        config[key] = value;
        std::fs::write(copy.path().join("config.json"), config.to_string()).unwrap();
        let weights = "model.safetensors";
        std::fs::copy(source.join(weights), copy.path().join(weights)).unwrap();
        let error = Checkpoint::open(copy.path(), &OpenOptions::new()).unwrap_err();
        assert_says(&error.to_string(), &format!("`{key}`"));
        assert_says(&error.to_string(), "for MPNet only");
    }
}

/// Windows and angles of ModernBERT, as versions 4 and 5 of transformers write them.
#[test]
fn modernbert_says_in_either_way_what_its_layers_see() {
    let source = bertology_testkit::golden("engine/modernbert");
    let read = std::fs::read(source.join("config.json")).unwrap();
    let open = |changes: Value| {
        let copy = tempfile::tempdir().unwrap();
        let mut config: Value = serde_json::from_slice(&read).unwrap();
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        std::fs::write(copy.path().join("config.json"), config.to_string()).unwrap();
        let weights = "model.safetensors";
        std::fs::copy(source.join(weights), copy.path().join(weights)).unwrap();
        Checkpoint::open(copy.path(), &OpenOptions::new())
            .map(|opened| opened.architecture().clone())
            .map_err(|error| error.to_string())
    };
    let bases = |changes: Value| match open(changes).unwrap().positions {
        Positions::Rotary(rotary) => (rotary.width, rotary.base, rotary.window_base),
        other => panic!("{other:?}"),
    };
    let old = open(json!({})).unwrap();
    let reach: Vec<_> = (0..4).map(|layer| old.reach(layer)).collect();
    assert_eq!(reach, [None, Some(3), Some(3), None]);
    assert_eq!(bases(json!({})), (8, 300.0, 20.0));
    assert_eq!(bases(json!({"local_rope_theta": null})), (8, 300.0, 300.0));
    let (full, near) = ("full_attention", "sliding_attention");
    let new = json!({
        "rope_parameters": {
            full: {"rope_type": "default", "rope_theta": 7.0},
            near: {"rope_type": "default", "rope_theta": 9},
        },
        "layer_types": [full, near, full, near],
        "global_attn_every_n_layers": null,
    });
    assert_eq!(bases(new.clone()), (8, 7.0, 9.0));
    let new = open(new).unwrap();
    let reach: Vec<_> = (0..4).map(|layer| new.reach(layer)).collect();
    assert_eq!(reach, [None, Some(3), None, Some(3)]);
    let only = open(json!({"layer_types": [full, near, near, near]})).unwrap();
    assert_eq!((only.reach(0), only.reach(3)), (None, Some(3)));
    for (key, value) in [
        ("layer_types", json!([near, full, full, near])),
        ("layer_types", json!([full, near])),
        ("rope_scaling", json!({"rope_type": "yarn"})),
        (
            "rope_parameters",
            json!({full: {"rope_type": "linear", "factor": 2.0}}),
        ),
        ("global_rope_theta", json!("wide")),
        ("local_rope_theta", json!(0)),
        ("classifier_pooling", json!("max")),
        ("decoder_bias", json!(false)),
        ("mlp_dropout", json!(1.5)),
        ("norm_bias", json!("no")),
    ] {
        let error = open(json!({ key: value })).unwrap_err();
        assert_says(&error, &format!("`{key}`"));
    }
}

#[test]
fn what_would_change_the_model_is_refused_by_name() {
    for (family, reason) in [
        ("t5", "not computed of it: attention to a second text"),
        (
            "llama",
            "key and value heads that several query heads share",
        ),
        ("deberta", "queries, keys and values of each head by turns"),
        ("neobert", "the layout of its weights"),
    ] {
        let error = refusal("model_type", json!(family));
        assert_says(&error, &format!("\"{family}\""));
        assert_says(&error, reason);
    }
    assert_says(
        &refusal("model_type", json!(7)),
        "only \"bert\", \"roberta\", \"xlm-roberta\", \"camembert\", \"electra\", \"distilbert\", \"mpnet\", \"modernbert\", \
         \"albert\", \"esm\", \"esmc\", \"eurobert\", \"nomic_bert\", \"gte\", \"new\", \"deberta-v2\", \"openai-gpt\", \"gpt2\" are",
    );
    assert_says(&refusal("is_decoder", json!(true)), "only encoders");
    refusal("add_cross_attention", json!(true));
    refusal("is_encoder_decoder", json!(true));
    assert_says(
        &refusal("position_embedding_type", json!("alibi")),
        "\"relative_key\"",
    );
    assert_says(&refusal("hidden_act", json!("mish")), "gelu_new");
    assert_says(&refusal("embedding_size", json!(128)), "hidden_size");
    refusal("quantization_config", json!({"bits": 4}));
    refusal("problem_type", json!("ranking"));
    refusal("is_decoder", json!("yes"));
}

#[test]
fn sizes_out_of_range_are_refused_with_the_value() {
    for key in [
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "max_position_embeddings",
        "type_vocab_size",
    ] {
        for value in [
            json!(-1),
            json!(0),
            json!(1.5),
            json!("4"),
            json!(1e300),
            json!(u64::MAX),
        ] {
            assert_says(&refusal(key, value.clone()), &value.to_string());
        }
    }
    let mut folder = Folder::bert();
    folder.set("num_attention_heads", 3);
    assert_says(
        &folder.refusal(),
        "not a multiple of num_attention_heads = 3",
    );
    refusal("layer_norm_eps", json!(-1.0));
    refusal("layer_norm_eps", json!("small"));
    refusal("pad_token_id", json!(-1));
    assert_says(&refusal("pad_token_id", json!(5)), "from 0 to 4");
    // Sizes that pass, but that no file could hold: refused before anything is built.
    for (key, part) in [
        ("num_hidden_layers", "the weights hold 2 layers"),
        ("vocab_size", "[4294967295, 4]"),
        ("max_position_embeddings", "[4294967295, 4]"),
    ] {
        let mut folder = Folder::bert();
        folder.set(key, u32::MAX);
        assert_says(&folder.refusal(), part);
    }
    let mut folder = Folder::bert();
    folder.set("hidden_size", u32::MAX);
    folder.set("num_attention_heads", u32::MAX);
    assert_says(&folder.refusal(), "has shape [5, 4]");
}

#[test]
fn absent_options_have_the_defaults_of_transformers() {
    let mut folder = Folder::bert();
    for key in [
        "hidden_act",
        "layer_norm_eps",
        "pad_token_id",
        "type_vocab_size",
    ] {
        folder.unset(key);
    }
    let checkpoint = folder.open().unwrap();
    let architecture = checkpoint.architecture();
    assert_eq!(architecture.activation, Activation::Gelu);
    assert_eq!(architecture.norm_epsilon, 1e-12);
    assert_eq!(architecture.pad_id, Some(0));
    assert_eq!(architecture.labels, ["LABEL_0", "LABEL_1"]);
    folder.set("pad_token_id", Value::Null);
    assert_eq!(folder.open().unwrap().architecture().pad_id, None);

    let mut folder = Folder::roberta();
    folder.unset("pad_token_id");
    let roberta = folder.open().unwrap();
    assert_eq!(
        roberta.architecture().position_ids,
        PositionIds::AfterPadding { pad_id: 1 }
    );
    assert_eq!(roberta.architecture().max_tokens(), 4);
    folder.set("hidden_act", "relu");
    let roberta = folder.open().unwrap();
    assert_eq!(roberta.architecture().activation, Activation::Relu);
    assert_eq!(roberta.architecture().lm_activation, Activation::Gelu);
    folder.set("pad_token_id", Value::Null);
    assert_says(&folder.refusal(), "`pad_token_id` is null");
    folder.set("pad_token_id", 4);
    folder.set("max_position_embeddings", 5);
    assert_says(&folder.refusal(), "leaves no position");
}

#[test]
fn labels_come_from_id2label() {
    let mut folder = Folder::bert();
    folder.set("id2label", json!({"1": "yes", "0": "no"}));
    let checkpoint = folder.open().unwrap();
    assert_eq!(checkpoint.architecture().labels, ["no", "yes"]);
    folder.set("id2label", json!({"0": "score"}));
    assert_says(&folder.refusal(), "`id2label` sets the number of labels");
    folder.values("classifier.weight", &[1, 4], &[0.0; 4]);
    folder.values("classifier.bias", &[1], &[0.0]);
    let regression = TaskHead::SequenceClassification {
        num_labels: 1,
        problem: Problem::Regression,
    };
    assert_eq!(folder.open().unwrap().architecture().head, regression);
    folder.unset("id2label");
    folder.set("num_labels", 1);
    assert_eq!(folder.open().unwrap().architecture().head, regression);

    for wrong in [
        json!({"NaN": "x", "0": "y"}),
        json!({"-1": "x", "0": "y"}),
        json!({"0": "x", "2": "y"}),
        json!({"0": "x", "00": "y"}),
        json!({"99999999999999999999": "x"}),
        json!({}),
        json!(["x", "y"]),
    ] {
        refusal("id2label", wrong);
    }
    refusal("num_labels", json!(u32::MAX));
}

#[test]
fn problem_types_are_obeyed() {
    for (name, problem) in [
        ("regression", Problem::Regression),
        ("single_label_classification", Problem::SingleLabel),
        ("multi_label_classification", Problem::MultiLabel),
    ] {
        let mut folder = Folder::bert();
        folder.set("problem_type", name);
        let head = TaskHead::SequenceClassification {
            num_labels: 2,
            problem,
        };
        assert_eq!(folder.open().unwrap().architecture().head, head);
    }
}

#[test]
fn pruned_heads_are_read_in_any_order_and_checked() {
    let mut folder = Folder::bert();
    folder.set("pruned_heads", json!({"1": [1, 1], "0": []}));
    let text = folder.refusal();
    assert_says(&text, "encoder.layer.1.attention.");
    assert_says(&text, "may not be those of the file");
    for part in ["query", "key", "value"] {
        folder.tensor(
            &format!("bert.encoder.layer.1.attention.self.{part}.weight"),
            &[2, 4],
        );
        folder.tensor(
            &format!("bert.encoder.layer.1.attention.self.{part}.bias"),
            &[2],
        );
    }
    folder.tensor(
        "bert.encoder.layer.1.attention.output.dense.weight",
        &[4, 2],
    );
    let checkpoint = folder.open().unwrap();
    assert_eq!(checkpoint.architecture().heads(0), [0, 1]);
    assert_eq!(checkpoint.architecture().heads(1), [0]);
    assert!(
        !checkpoint.architecture().pruned_heads.contains_key(&0),
        "empty list"
    );
    folder.unset("pruned_heads");
    assert_says(&folder.refusal(), "`pruned_heads` must name them");

    assert_says(
        &refusal("pruned_heads", json!({"2": [0]})),
        "layer `2`; the layers are 0 to 1",
    );
    assert_says(
        &refusal("pruned_heads", json!({"0": [2]})),
        "head 2 of layer 0",
    );
    assert_says(&refusal("pruned_heads", json!({"0": [-1]})), "head -1");
    refusal("pruned_heads", json!({"-1": [0]}));
    refusal("pruned_heads", json!({"0": 1}));
    refusal("pruned_heads", json!([[0, 1]]));
}

#[test]
fn tasks_without_a_head_here_are_refused_and_open_as_encoders() {
    let mut folder = Folder::bert();
    for class in ["BertForMultipleChoice", "BertLMHeadModel", "RobertaModel"] {
        folder.set("architectures", json!([class]));
        let text = folder.refusal();
        assert_says(&text, class);
        assert_says(&text, "bare encoder");
    }
    let options = OpenOptions::new().open_as(OpenAs::Encoder);
    let checkpoint = Checkpoint::open(folder.write(), &options).unwrap();
    assert_eq!(checkpoint.architecture().head, TaskHead::None);
    let inspection = Checkpoint::inspect(folder.write()).unwrap();
    assert!(matches!(
        inspection.problems.as_slice(),
        [Error::UnsupportedTask { .. }]
    ));

    let options = OpenOptions::new().open_as(OpenAs::NextSentence);
    let error = Checkpoint::open(Folder::roberta().write(), &options).unwrap_err();
    assert_says(&error.to_string(), "next-sentence prediction");
}

#[test]
fn family_and_task_are_read_off_the_tensors_where_the_config_is_silent() {
    let silent = |mut folder: Folder| {
        folder.unset("model_type");
        folder.unset("architectures");
        folder
    };
    let head = |folder: &Folder| folder.open().unwrap().architecture().head.clone();
    let classifier = TaskHead::SequenceClassification {
        num_labels: 2,
        problem: Problem::SingleLabel,
    };
    assert_eq!(head(&silent(Folder::bert())), classifier);
    assert_eq!(head(&silent(Folder::roberta())), classifier);
    assert_eq!(head(&silent(Folder::masked_lm())), TaskHead::MaskedLm);
    let roberta = silent(Folder::roberta());
    assert_eq!(
        roberta.open().unwrap().architecture().family,
        Family::Roberta
    );

    let mut token = silent(Folder::bert());
    token.tensors.retain(|name, _| !name.contains("pooler"));
    let classes = TaskHead::TokenClassification { num_labels: 2 };
    assert_eq!(head(&token), classes);
    let mut nameless = silent(Folder::bert());
    nameless.rename("bert.", "");
    assert_says(&nameless.refusal(), "add \"model_type\"");
}

/// Heads on single tokens have tensors that no other head has, but for those that choose among answers.
#[test]
fn heads_on_tokens_are_read_off_their_tensors() {
    for name in [
        "bert-tokens",
        "roberta-tokens",
        "electra-tokens",
        "bert-answers",
        "distilbert-answers",
    ] {
        let whole = bertology_testkit::golden(&format!("engine/{name}"));
        let open =
            |folder: &std::path::Path| Checkpoint::open(folder, &OpenOptions::new()).unwrap();
        let silent = changed(name, &[("architectures", Value::Null)]);
        let (found, declared) = (open(silent.path()), open(&whole));
        assert_eq!(
            found.architecture().head,
            declared.architecture().head,
            "{name}"
        );
        assert!(
            declared.architecture().head.token_scores().is_some(),
            "{name}"
        );
    }
    let mut chooses = Folder::roberta();
    chooses.unset("architectures");
    chooses.rename("classifier.out_proj.", "classifier.");
    chooses.rename("classifier.dense.", "roberta.pooler.dense.");
    assert_says(&chooses.refusal(), "multiple-choice");
}

#[test]
fn unknown_keys_and_their_order_are_kept() {
    let mut folder = Folder::bert();
    folder.set("zebra", 1);
    folder.set("aardvark", json!({"x": null}));
    let checkpoint = folder.open().unwrap();
    let keys: Vec<&String> = checkpoint.config().raw().keys().collect();
    assert_eq!(keys[0], "architectures");
    assert_eq!(keys[keys.len() - 2..], ["zebra", "aardvark"]);
    assert_eq!(
        checkpoint.config().declared_class(),
        Some("BertForSequenceClassification")
    );
}

/// The config of a golden folder with some keys changed.
fn changed(golden: &str, changes: &[(&str, Value)]) -> tempfile::TempDir {
    let from = bertology_testkit::golden(&format!("engine/{golden}"));
    let to = tempfile::tempdir().unwrap();
    std::fs::copy(
        from.join("model.safetensors"),
        to.path().join("model.safetensors"),
    )
    .unwrap();
    let text = std::fs::read_to_string(from.join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    for (key, value) in changes {
        config[*key] = value.clone();
    }
    std::fs::write(to.path().join("config.json"), config.to_string()).unwrap();
    to
}

/// Both spellings of a size are read; two that contradict each other are refused.
#[test]
fn generic_names_of_gpt_sizes_are_aliases() {
    let open = |folder: &tempfile::TempDir| Checkpoint::open(folder.path(), &OpenOptions::new());
    let null = Value::Null;
    let generic = changed(
        "gpt2-lm",
        &[
            ("n_embd", null.clone()),
            ("hidden_size", json!(24)),
            ("n_layer", null.clone()),
            ("num_hidden_layers", json!(3)),
            ("n_head", null),
            ("num_attention_heads", json!(4)),
            ("n_ctx", json!(7)),
        ],
    );
    let arch = open(&generic).unwrap().architecture().clone();
    assert_eq!(
        (arch.hidden_size, arch.num_layers, arch.num_heads),
        (24, 3, 4)
    );
    assert_eq!(arch.intermediate_size, 96, "four times the hidden size");
    let contradiction = changed("gpt2-lm", &[("num_attention_heads", json!(3))]);
    let text = open(&contradiction).unwrap_err().to_string();
    assert_says(&text, "`n_head`, which means the same, is 4");
}

/// What GPT-2's config can ask for is obeyed or refused by name.
#[test]
fn options_of_gpt2_are_read() {
    let open = |key: &str, value: Value| {
        let folder = changed("gpt2-lm", &[(key, value)]);
        Checkpoint::open(folder.path(), &OpenOptions::new())
            .map(|checkpoint| checkpoint.architecture().clone())
    };
    let plain = open("summary_type", json!("cls_index")).unwrap();
    assert!((plain.score_scale.factor(16, 3) - 0.25).abs() < 1e-15);
    let unscaled = open("scale_attn_weights", json!(false)).unwrap();
    assert!((unscaled.score_scale.factor(16, 3) - 1.0).abs() < 1e-15);
    let inverse = open("scale_attn_by_inverse_layer_idx", json!(true)).unwrap();
    assert!((inverse.score_scale.factor(16, 3) - 0.0625).abs() < 1e-15);
    let upcast = open("reorder_and_upcast_attn", json!(true)).unwrap();
    assert_eq!(
        upcast.score_scale, plain.score_scale,
        "the same function in f32"
    );
    assert_eq!(plain.pad_id, None);
    assert_eq!(open("pad_token_id", json!(7)).unwrap().pad_id, Some(7));
    assert_eq!(
        open("is_decoder", json!(true)).unwrap(),
        plain,
        "a GPT is one anyway"
    );
    for (key, value, says) in [
        ("add_cross_attention", json!(true), "`add_cross_attention`"),
        (
            "activation_function",
            json!("gelu_10"),
            "`activation_function`",
        ),
        ("scale_attn_weights", json!("yes"), "neither true nor false"),
        ("n_inner", json!(50), "h.0.mlp.c_fc"),
        ("pad_token_id", json!(60), "not a token id from 0 to 59"),
        ("tie_word_embeddings", json!(false), "lm_head.weight"),
    ] {
        let text = open(key, value).unwrap_err().to_string();
        assert_says(&text, says);
    }
}

/// The tables of transformers 4.57.6: `ACT2FN`, and `ACT_FNS` of the first GPT.
#[test]
fn activations_are_those_of_the_same_names_in_transformers() {
    use bertology_checkpoint::Activation as A;
    let mut folder = Folder::bert();
    for (name, expected) in [
        ("gelu", A::Gelu),
        ("gelu_python", A::Gelu),
        ("gelu_new", A::GeluTanh),
        ("gelu_fast", A::GeluTanh),
        ("gelu_pytorch_tanh", A::GeluTanh),
        ("gelu_accurate", A::GeluTanh),
        ("gelu_python_tanh", A::GeluTanh),
        ("relu", A::Relu),
        ("silu", A::Silu),
        ("swish", A::Silu),
        ("quick_gelu", A::QuickGelu),
        ("tanh", A::Tanh),
    ] {
        folder.set("hidden_act", name);
        let found = folder.open().unwrap().architecture().activation;
        assert_eq!(found, expected, "{name}");
    }
    let afn = |name: &str| {
        let source = bertology_testkit::golden("engine/gpt-lm");
        let copy = tempfile::tempdir().unwrap();
        let read = std::fs::read(source.join("config.json")).unwrap();
        let mut config: serde_json::Value = serde_json::from_slice(&read).unwrap();
        config["afn"] = json!(name);
        std::fs::write(copy.path().join("config.json"), config.to_string()).unwrap();
        let weights = "model.safetensors";
        std::fs::copy(source.join(weights), copy.path().join(weights)).unwrap();
        let opened = Checkpoint::open(copy.path(), &OpenOptions::new());
        opened.map(|found| found.architecture().activation)
    };
    for (name, expected) in [
        ("gelu", A::GeluTanh),
        ("relu", A::Relu),
        ("silu", A::Silu),
        ("swish", A::Silu),
    ] {
        assert_eq!(afn(name).unwrap(), expected, "{name}");
    }
    for name in [
        "gelu_new",
        "gelu_python",
        "gelu_fast",
        "quick_gelu",
        "tanh",
        "mish",
    ] {
        let error = afn(name).unwrap_err().to_string();
        assert_says(&error, "`afn`");
        assert_says(&error, "gelu (its tanh form");
    }
}

/// DNABERT-2 and MosaicBERT call themselves BERT.
#[test]
fn another_model_that_calls_itself_bert_is_known_by_its_tensors() {
    let mut folder = Folder::bert();
    let attention = "bert.encoder.layer.0.attention.self";
    folder.rename(&format!("{attention}.query"), &format!("{attention}.Wqkv"));
    let text = folder.refusal();
    for part in ["`model_type` is \"bert\"", "DNABERT-2", "ALiBi"] {
        assert_says(&text, part);
    }
}
