//! What the configs and files of encoders since 2024 say besides sizes.

use std::collections::BTreeMap;

use bertology_checkpoint::{
    Activation, Affine, Architecture, Checkpoint, Disentangled, Export, Family, FeedForward,
    HeadSet, LayerParameter, NormKind, NormPlacement, OpenAs, OpenOptions, Parameter, Pooling,
    Positions, Segments, TaskHead, WriteOptions, write_pruned, write_trained,
};
use serde_json::{Value, json};

use crate::families::changed;
use crate::folder::assert_says;

pub(crate) fn open(folder: &std::path::Path) -> Checkpoint {
    Checkpoint::open(folder, &OpenOptions::new()).unwrap()
}

pub(crate) fn engine(name: &str) -> std::path::PathBuf {
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
            let fused: [(P, &[P]); 3] = [
                (
                    P::DistanceMaps(affine),
                    &[P::DistanceQuery(affine), P::DistanceKey(affine)],
                ),
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
        "albert-pretraining",
        "jinabert",
        "jinabert-bare",
        "jinabert-mlm",
        "modernbert-answers",
        "modernbert-tokens",
        "deberta",
        "deberta-answers",
        "deberta-mlm",
        "deberta-renamed-mlm",
        "deberta-tokens",
        "esmc",
        "esmc-bare",
        "esmc-mlm",
        "esmc-tokens",
        "eurobert",
        "eurobert-mean",
        "eurobert-mlm",
        "eurobert-tokens",
        "gte",
        "gte-bare",
        "gte-mlm",
        "gte-tokens",
        "nomic",
        "nomic-bare",
        "nomic-mlm",
        "nomic-tokens",
    ] {
        comes_back(name);
    }
    for name in [
        "deberta",
        "deberta-mlm",
        "deberta-tokens",
        "eurobert",
        "eurobert-mean",
        "nomic",
        "nomic-mlm",
        "modernbert-answers",
        "modernbert-tokens",
        "gte",
        "gte-mlm",
        "jinabert",
        "jinabert-mlm",
    ] {
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

/// As transformers 5 writes it, and as the code that came with the first files does.
#[test]
fn nomicbert_is_what_either_of_its_configs_says() {
    let turned = |arch: &Architecture| match arch.positions {
        Positions::Rotary(rotary) => (rotary.width, rotary.base),
        other => panic!("{other:?}"),
    };
    let arch = changed("nomic", &json!({})).unwrap();
    assert_eq!(
        (arch.family, arch.norm),
        (Family::NomicBert, NormPlacement::Post)
    );
    assert_eq!(
        (arch.feed_forward, arch.activation),
        (FeedForward::Gated, Activation::Silu)
    );
    assert_eq!(
        (arch.norm_kind, arch.norm_epsilon),
        (NormKind::Layer, 1e-12)
    );
    assert!(!arch.attention_bias && !arch.mlp_bias && arch.norm_bias && arch.embedding_norm);
    assert!(arch.head_bias && arch.lm_transform_bias && arch.lm_bias);
    assert_eq!((turned(&arch), arch.max_tokens()), ((8, 300.0), 24));
    assert_eq!(arch.segments, Segments::Table(2));
    let default = changed("nomic", &json!({"rope_parameters": null})).unwrap();
    assert_eq!(turned(&default), (8, 1000.0));

    let older = changed("nomic-mlm", &json!({})).unwrap();
    assert_eq!(
        (older.head.clone(), turned(&older)),
        (TaskHead::MaskedLm, (4, 1000.0))
    );
    assert!(!older.lm_transform_bias && !older.lm_bias && older.lm_transform);
    assert_eq!(
        (older.activation, older.lm_activation),
        (Activation::Silu, Activation::Silu)
    );
    let epsilon = changed("nomic-mlm", &json!({"layer_norm_epsilon": null})).unwrap();
    assert_eq!(epsilon.norm_epsilon, 1e-5);
    let dropped = json!({"resid_pdrop": 0.25, "attn_pdrop": 0.5});
    let dropped = changed("nomic-mlm", &dropped).unwrap().dropout;
    assert_eq!((dropped.embeddings, dropped.attention_probs), (0.25, 0.5));
    assert_eq!((dropped.attention_output, dropped.mlp_output), (0.25, 0.25));
    let bare = changed("nomic-bare", &json!({})).unwrap();
    assert_eq!(
        (bare.activation, turned(&bare)),
        (Activation::Gelu, (8, 300.0))
    );
    let longer = changed("nomic-bare", &json!({"max_position_embeddings": 12})).unwrap();
    assert_eq!(longer.max_tokens(), 12);
    let padded = json!({"vocab_size": 55, "pad_vocab_size_multiple": 20});
    assert_eq!(changed("nomic-bare", &padded).unwrap().vocab_size, 60);

    for (name, changes, says) in [
        ("nomic-mlm", json!({"prenorm": true}), "`prenorm`"),
        (
            "nomic-mlm",
            json!({"parallel_block": true}),
            "`parallel_block`",
        ),
        ("nomic-mlm", json!({"use_rms_norm": true}), "`use_rms_norm`"),
        ("nomic-mlm", json!({"causal": true}), "`causal`"),
        (
            "nomic-mlm",
            json!({"rotary_emb_interleaved": true}),
            "`rotary_emb_interleaved`",
        ),
        (
            "nomic-mlm",
            json!({"rotary_emb_scale_base": 512}),
            "`rotary_emb_scale_base`",
        ),
        (
            "nomic-mlm",
            json!({"rotary_scaling_factor": 2}),
            "`rotary_scaling_factor`",
        ),
        ("nomic-mlm", json!({"num_heads_kv": 1}), "`num_heads_kv`"),
        (
            "nomic-mlm",
            json!({"moe_every_n_layers": 2}),
            "a mixture of experts is not",
        ),
        (
            "nomic-mlm",
            json!({"rotary_emb_fraction": 0.3}),
            "a share of the 8 numbers",
        ),
        (
            "nomic-mlm",
            json!({"rotary_emb_fraction": 0.0}),
            "`rotary_emb_fraction`",
        ),
        (
            "nomic-mlm",
            json!({"rotary_emb_fraction": null}),
            "only rotary positions",
        ),
        (
            "nomic-mlm",
            json!({"activation_function": "gelu"}),
            "\"geglu\"",
        ),
        ("nomic-mlm", json!({"mlp_fc2_bias": true}), "`mlp_fc2_bias`"),
        (
            "nomic-mlm",
            json!({"mlp_fc1_bias": true, "mlp_fc2_bias": true}),
            "fc11.bias",
        ),
        ("nomic-mlm", json!({"qkv_proj_bias": null}), "Wqkv.bias"),
        (
            "nomic-mlm",
            json!({"n_head": 2, "num_attention_heads": 3}),
            "`n_head`",
        ),
        (
            "nomic",
            json!({"type_vocab_size": 0}),
            "token_type_embeddings",
        ),
        ("nomic", json!({"head_dim": 4}), "`head_dim`"),
        (
            "nomic",
            json!({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}),
            "`rope_parameters`",
        ),
        (
            "nomic",
            json!({"architectures": ["NomicBertForQuestionAnswering"]}),
            "NomicBertForQuestionAnswering",
        ),
    ] {
        assert_says(&changed(name, &changes).unwrap_err(), says);
    }
    let head = |name| changed(name, &json!({"architectures": null})).unwrap().head;
    assert!(matches!(
        head("nomic"),
        TaskHead::SequenceClassification { .. }
    ));
    assert!(matches!(
        head("nomic-tokens"),
        TaskHead::TokenClassification { .. }
    ));
    assert_eq!(
        (head("nomic-mlm"), head("nomic-bare")),
        (TaskHead::MaskedLm, TaskHead::None)
    );
    // What training writes has the prefix that its source has, or that of transformers.
    let source = open(&engine("nomic-mlm"));
    assert_eq!(
        source
            .parameter(Parameter::EmbeddingNorm(Affine::Bias))
            .unwrap()
            .name(),
        "bert.emb_ln.bias"
    );
}

/// Every way in which a config says what distances have for queries and keys.
#[test]
fn deberta_is_what_its_config_says() {
    let arch = changed("deberta", &json!({})).unwrap();
    let third = Disentangled {
        buckets: Some(6),
        farthest: 24,
        keys: true,
        queries: true,
        shared: true,
        normed: true,
    };
    assert_eq!(arch.family, Family::DebertaV2);
    assert_eq!(
        (arch.disentangled, arch.positions),
        (Some(third), Positions::Nowhere)
    );
    assert_eq!((arch.score_scale.terms, arch.segments), (3, Segments::None));
    assert_eq!(
        (arch.norm_epsilon, arch.pooler_activation),
        (1e-7, Activation::Gelu)
    );
    assert_eq!((arch.pooling, arch.max_tokens()), (Pooling::First, 24));
    // As the published files of DeBERTa-v3 write it, and as transformers does.
    let written = changed(
        "deberta",
        &json!({"pos_att_type": "p2c|c2p", "architectures": null}),
    );
    assert_eq!(written.unwrap().disentangled, Some(third));
    let of = |changes: Value| changed("deberta", &changes).unwrap().disentangled.unwrap();
    let longer = of(json!({"max_relative_positions": 40}));
    assert_eq!((longer.farthest, longer.rows()), (40, 12));
    let one = changed("deberta", &json!({"pos_att_type": ["c2p"]})).unwrap();
    assert_eq!(one.score_scale.terms, 2);
    let one = one.disentangled.unwrap();
    assert!(one.keys && !one.queries);
    let rates = json!({"hidden_dropout_prob": 0.2, "pooler_dropout": 0.3, "cls_dropout": 0.4});
    let rates = changed("deberta", &rates).unwrap().dropout;
    assert_eq!(
        (rates.distances, rates.head_input, rates.classifier),
        (0.2, 0.3, 0.4)
    );

    let own = changed("deberta-tokens", &json!({})).unwrap();
    let distances = own.disentangled.unwrap();
    assert_eq!(
        (distances.buckets, distances.farthest, distances.rows()),
        (None, 3, 6)
    );
    assert!(!distances.shared && !distances.normed && distances.own_maps() == 2);
    assert_eq!(
        (own.positions, own.segments),
        (Positions::Absolute, Segments::Table(2))
    );
    let none = changed("deberta-answers", &json!({})).unwrap();
    // transformers scales the scores by the terms that are named, though there are none.
    assert_eq!((none.disentangled, none.score_scale.terms), (None, 2));

    for (name, changes, says) in [
        (
            "deberta",
            json!({"conv_kernel_size": 3}),
            "a convolution beside the first layer",
        ),
        (
            "deberta",
            json!({"attention_head_size": 16}),
            "`attention_head_size`",
        ),
        (
            "deberta",
            json!({"pooler_hidden_size": 16}),
            "`pooler_hidden_size`",
        ),
        (
            "deberta",
            json!({"pos_att_type": ["p2p"]}),
            "`pos_att_type`",
        ),
        ("deberta", json!({"pos_att_type": 3}), "`pos_att_type`"),
        ("deberta", json!({"norm_rel_ebd": 1}), "`norm_rel_ebd`"),
        (
            "deberta",
            json!({"position_buckets": 1}),
            "`position_buckets`",
        ),
        (
            "deberta",
            json!({"position_buckets": 46}),
            "`position_buckets`",
        ),
        ("deberta", json!({"position_buckets": 8}), "[16, 32]"),
        ("deberta", json!({"position_buckets": -1}), "[48, 32]"),
        ("deberta", json!({"share_att_key": false}), "pos_key_proj"),
        (
            "deberta",
            json!({"norm_rel_ebd": "none"}),
            "encoder.LayerNorm",
        ),
        (
            "deberta",
            json!({"relative_attention": false}),
            "rel_embeddings",
        ),
        (
            "deberta",
            json!({"position_biased_input": true}),
            "position_embeddings",
        ),
        (
            "deberta",
            json!({"type_vocab_size": 2}),
            "token_type_embeddings",
        ),
        (
            "deberta-tokens",
            json!({"pos_att_type": ["c2p"]}),
            "pos_query_proj",
        ),
        (
            "deberta-tokens",
            json!({"share_att_key": true}),
            "pos_key_proj",
        ),
        (
            "deberta-tokens",
            json!({"embedding_size": 16}),
            "`embedding_size`",
        ),
        (
            "deberta-renamed-mlm",
            json!({"legacy": true}),
            "cls.predictions.transform.dense.weight",
        ),
        (
            "deberta",
            json!({"architectures": ["DebertaV2ForMultipleChoice"]}),
            "DebertaV2ForMultipleChoice",
        ),
    ] {
        assert_says(&changed(name, &changes).unwrap_err(), says);
    }
    // A table of positions that nobody reads is left aside, as transformers leaves it.
    let unread = json!({"position_biased_input": false});
    assert_eq!(
        changed("deberta-tokens", &unread).unwrap().positions,
        Positions::Nowhere
    );

    let head = |name, changes| changed(name, &changes).unwrap().head;
    let undeclared = || json!({"architectures": null, "legacy": null});
    assert!(matches!(
        head("deberta", undeclared()),
        TaskHead::SequenceClassification { .. }
    ));
    assert!(matches!(
        head("deberta-tokens", undeclared()),
        TaskHead::TokenClassification { .. }
    ));
    assert_eq!(head("deberta-mlm", undeclared()), TaskHead::MaskedLm);
    assert_eq!(head("deberta-bare", undeclared()), TaskHead::None);
    // The published files have a masked-LM head under other names, and no word of it in their config. It has no output layer.
    let published = json!({"architectures": null, "legacy": null, "tie_word_embeddings": null});
    let published = changed("deberta-renamed-mlm", &published).unwrap();
    assert!(published.renamed_lm && published.head == TaskHead::MaskedLm);
    let encoder = OpenOptions::new().open_as(OpenAs::Encoder);
    let encoder = Checkpoint::open(&engine("deberta-renamed-mlm"), &encoder).unwrap();
    assert!(
        encoder
            .report()
            .ignored
            .iter()
            .any(|i| i.tensor.name.starts_with("lm_predictions."))
    );
}
