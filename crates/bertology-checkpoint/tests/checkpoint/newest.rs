//! What the configs and files of the newest families say, and of heads that came later.

use bertology_checkpoint::{
    Activation, Affine, Architecture, Checkpoint, Cut, Export, Family, FeedForward, HeadSet,
    LayerParameter, NewHead, NormPlacement, OpenAs, OpenOptions, Parameter, Positions, ScoreBias,
    Segments, TaskHead, TokenTransform, WriteOptions, cut_file_bytes, write_cut, write_pruned,
};
use serde_json::json;

use crate::encoders::{engine, open};
use crate::families::changed;
use crate::folder::assert_says;

/// Its heads for tokens and for answers have a dense layer and a norm, which a masked language model has under the same names.
#[test]
fn modernbert_scores_tokens_behind_a_transform() {
    let arch = changed("modernbert-tokens", &json!({})).unwrap();
    let transform = |activation, bias| {
        Some(TokenTransform {
            activation,
            bias,
            norm: true,
        })
    };
    assert_eq!(arch.head, TaskHead::TokenClassification { num_labels: 5 });
    assert_eq!(arch.token_transform, transform(Activation::Gelu, false));
    assert_eq!((arch.pooler, arch.lm_bias), (false, true));
    let answers = changed("modernbert-answers", &json!({})).unwrap();
    assert_eq!(answers.head, TaskHead::QuestionAnswering);
    assert_eq!(answers.token_transform, transform(Activation::Relu, true));
    let whole = changed("modernbert-tokens", &json!({"classifier_bias": true}));
    assert_says(&whole.unwrap_err(), "head.dense.bias");
    let which = changed("modernbert-tokens", &json!({"architectures": null}));
    assert_says(&which.unwrap_err(), "texts, tokens and answers");
    let three = changed(
        "modernbert-tokens",
        &json!({"architectures": ["ModernBertForQuestionAnswering"]}),
    );
    assert_says(&three.unwrap_err(), "gives 5 labels");
    let words = open(&engine("modernbert-mlm"));
    for (open_as, labels) in [
        (OpenAs::TokenClassification, 3),
        (OpenAs::QuestionAnswering, 2),
    ] {
        let names = (0..labels).map(|label| label.to_string()).collect();
        let head = NewHead::new(names, None, None);
        let begun = Checkpoint::open_to_train(
            &engine("modernbert-mlm"),
            &OpenOptions::new().open_as(open_as),
            &head,
        )
        .unwrap();
        let names: Vec<&str> = (begun.report().begun.iter())
            .map(|of| of.name.as_str())
            .collect();
        assert_eq!(names, ["classifier.weight", "classifier.bias"]);
        let kept = |checkpoint: &Checkpoint, of: Parameter| checkpoint.values(of).unwrap().unwrap();
        assert_eq!(
            kept(&begun, Parameter::TokenNorm(Affine::Weight)),
            kept(&words, Parameter::LmNorm(Affine::Weight))
        );
        let anew = Checkpoint::open_to_train(
            &engine("modernbert-mlm"),
            &OpenOptions::new().open_as(open_as),
            &head.anew(true),
        )
        .unwrap();
        assert_eq!(anew.report().begun.len(), 4);
        assert_eq!(
            anew.begins(Parameter::TokenNorm(Affine::Weight)),
            Some(Affine::Weight)
        );
    }
}

/// Both tasks with which it was trained at first.
#[test]
fn albert_keeps_both_of_its_first_heads() {
    let arch = changed("albert-pretraining", &json!({})).unwrap();
    assert_eq!((arch.head, arch.pooler), (TaskHead::PreTraining, true));
    let told = changed("albert-pretraining", &json!({"architectures": null}));
    assert_eq!(told.unwrap().head, TaskHead::PreTraining);
    // A masked language model of such files leaves the other head aside.
    let words = changed(
        "albert-pretraining",
        &json!({"architectures": ["AlbertForMaskedLM"]}),
    );
    assert_eq!(words.unwrap().head, TaskHead::MaskedLm);
    let lacks = changed(
        "albert-mlm",
        &json!({"architectures": ["AlbertForPreTraining"]}),
    );
    assert_says(&lacks.unwrap_err(), "sop_classifier.classifier.weight");
}

/// Norms of queries and keys over all heads, blocks that add more or less than they give, and a last norm without bias.
#[test]
fn esmc_is_what_its_config_says() {
    let arch = changed("esmc", &json!({})).unwrap();
    assert_eq!((arch.family, arch.norm), (Family::Esmc, NormPlacement::Pre));
    assert_eq!(
        (arch.query_key_norm, arch.norm_bias, arch.final_norm_bias),
        (true, true, false)
    );
    assert_eq!((arch.attention_bias, arch.mlp_bias), (false, false));
    assert!((arch.branch_scale - 12.0_f64.sqrt()).abs() < 1e-15);
    assert_eq!(
        (arch.activation, arch.norm_epsilon),
        (Activation::Silu, 1e-5)
    );
    assert_eq!(
        (arch.feed_forward, arch.segments),
        (FeedForward::Gated, Segments::None)
    );
    assert_eq!(
        (arch.dropout.head_input, arch.dropout.classifier),
        (0.1, 0.1)
    );
    let Positions::Rotary(rotary) = arch.positions else {
        panic!("not rotary");
    };
    assert_eq!((rotary.width, rotary.base), (8, 10_000.0));
    let biased = changed("esmc-tokens", &json!({})).unwrap();
    assert_eq!((biased.attention_bias, biased.mlp_bias), (true, true));
    let lm = changed("esmc-mlm", &json!({"tie_word_embeddings": null})).unwrap();
    assert_eq!((lm.lm_activation, lm.lm_bias), (Activation::Gelu, true));
    for (name, changes, says) in [
        (
            "esmc",
            json!({"num_key_value_heads": 2}),
            "`num_key_value_heads`",
        ),
        (
            "esmc",
            json!({"pruned_heads": {"0": [1]}}),
            "`pruned_heads`",
        ),
        ("esmc", json!({"attention_bias": true}), "q_proj.bias"),
        (
            "esmc",
            json!({"architectures": ["EsmcForQuestionAnswering"]}),
            "EsmcForQuestionAnswering",
        ),
    ] {
        assert_says(&changed(name, &changes).unwrap_err(), says);
    }
    let head = |name| changed(name, &json!({"architectures": null})).unwrap().head;
    assert!(matches!(
        head("esmc"),
        TaskHead::SequenceClassification { .. }
    ));
    assert!(matches!(
        head("esmc-tokens"),
        TaskHead::TokenClassification { .. }
    ));
    assert_eq!(
        (head("esmc-mlm"), head("esmc-bare")),
        (TaskHead::MaskedLm, TaskHead::None)
    );
}

/// A head's queries and keys are in the norm of all others, so that only what it gives can become zero.
#[test]
fn esmc_keeps_the_queries_and_keys_of_every_head() {
    let source = open(&engine("esmc"));
    let arch = source.architecture();
    let heads = HeadSet::parse("0:0 1:0,2", arch.num_layers, arch.num_heads).unwrap();
    let out = tempfile::tempdir().unwrap();
    let write = |export| {
        write_pruned(
            &source,
            &heads,
            &out.path().join("cut"),
            &WriteOptions::new(export),
        )
    };
    let refused = write(Export::Pruned).unwrap_err();
    assert_says(&refused.to_string(), "cannot leave the files");
    let bytes = |export| cut_file_bytes(&source, &heads.clone().into(), export).unwrap();
    assert_eq!(bytes(Export::Pruned), bytes(Export::Zeroed));
    write(Export::Zeroed).unwrap();
    let written = open(&out.path().join("cut"));
    assert_eq!(
        HeadSet::from(written.architecture().zeroed_heads.clone()),
        heads
    );
    for (parameter, tensor) in source.parameters() {
        let (before, after) = (
            tensor.to_f32().unwrap(),
            written.values(parameter).unwrap().unwrap(),
        );
        let changes = match parameter {
            Parameter::Layer(0 | 1, of) => matches!(
                of,
                LayerParameter::Value(_) | LayerParameter::AttentionOutput(Affine::Weight)
            ),
            _ => false,
        };
        assert_eq!(before != after, changes, "{parameter}");
    }
    // Neurons may leave.
    let neurons = Cut::default().neurons(0, (0..28).map(|at| f64::from(at % 2)).collect());
    let to = out.path().join("narrow");
    write_cut(&source, &neurons, &to, &WriteOptions::new(Export::Pruned)).unwrap();
    assert_eq!(open(&to).architecture().neurons(0), 14);
}

/// As transformers 5 writes it, and as the code that came with the first files does.
#[test]
fn gte_is_what_either_of_its_configs_says() {
    let turned = |arch: &Architecture| match arch.positions {
        Positions::Rotary(rotary) => rotary,
        _ => panic!("not rotary"),
    };
    let arch = changed("gte", &json!({})).unwrap();
    assert_eq!((arch.family, arch.norm), (Family::Gte, NormPlacement::Post));
    assert_eq!(
        (arch.attention_bias, arch.mlp_bias, arch.mlp_out_bias),
        (true, false, true)
    );
    assert_eq!(
        (arch.feed_forward, arch.segments),
        (FeedForward::Gated, Segments::Table(2))
    );
    assert_eq!(
        (arch.dropout.mlp_inner, arch.dropout.classifier),
        (0.1, 0.1)
    );
    let rotary = turned(&arch);
    assert_eq!(
        (rotary.width, rotary.base, rotary.slowdown),
        (8, 300.0, 1.0)
    );
    let default = changed("gte", &json!({"rope_parameters": null})).unwrap();
    assert_eq!(turned(&default).base, 160_000.0);

    let older = changed("gte-mlm", &json!({})).unwrap();
    assert_eq!(
        (older.family, older.segments),
        (Family::GteNew, Segments::None)
    );
    let rotary = turned(&older);
    assert_eq!((rotary.base, rotary.slowdown), (600.0, 2.0_f64.powf(0.25)));
    let plain = changed(
        "gte-mlm",
        &json!({"rope_scaling": null, "rope_theta": null}),
    )
    .unwrap();
    let rotary = turned(&plain);
    assert_eq!((rotary.base, rotary.slowdown), (10_000.0, 1.0));
    // The activation of its masked-LM head is that of the blocks there, and fixed in transformers.
    let relu = |name| {
        changed(name, &json!({"hidden_act": "relu"}))
            .unwrap()
            .lm_activation
    };
    assert_eq!(
        (relu("gte-mlm"), relu("gte")),
        (Activation::Relu, Activation::Gelu)
    );
    for (name, changes, says) in [
        (
            "gte-mlm",
            json!({"layer_norm_type": "rms_norm"}),
            "`layer_norm_type`",
        ),
        (
            "gte-mlm",
            json!({"position_embedding_type": "absolute"}),
            "\"rope\"",
        ),
        (
            "gte-mlm",
            json!({"logn_attention_scale": true}),
            "`logn_attention_scale`",
        ),
        (
            "gte-mlm",
            json!({"logn_attention_clip1": true}),
            "`logn_attention_clip1`",
        ),
        ("gte-mlm", json!({"pack_qkv": false}), "`pack_qkv`"),
        (
            "gte-mlm",
            json!({"rope_scaling": {"type": "linear", "factor": 2.0}}),
            "\"ntk\"",
        ),
        (
            "gte-mlm",
            json!({"rope_scaling": {"type": "ntk", "factor": 0.5}}),
            "from 1 up",
        ),
        (
            "gte-mlm",
            json!({"rope_scaling": {"type": "ntk"}}),
            "from 1 up",
        ),
        (
            "gte-mlm",
            json!({"rope_scaling": {"type": "ntk", "factor": 2.0, "mixed_b": 0.6}}),
            "without \"mixed_b\"",
        ),
        (
            "gte-mlm",
            json!({"type_vocab_size": 2}),
            "token_type_embeddings",
        ),
        (
            "gte",
            json!({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}),
            "`rope_parameters`",
        ),
        (
            "gte",
            json!({"architectures": ["GteForQuestionAnswering"]}),
            "GteForQuestionAnswering",
        ),
    ] {
        assert_says(&changed(name, &changes).unwrap_err(), says);
    }
    let head = |name| changed(name, &json!({"architectures": null})).unwrap().head;
    assert!(matches!(
        head("gte"),
        TaskHead::SequenceClassification { .. }
    ));
    assert!(matches!(
        head("gte-tokens"),
        TaskHead::TokenClassification { .. }
    ));
    assert_eq!(
        (head("gte-mlm"), head("gte-bare")),
        (TaskHead::MaskedLm, TaskHead::None)
    );
    // What is activated comes first here, and last in the files.
    let source = open(&engine("gte"));
    let first = Parameter::Layer(0, LayerParameter::MlpIn(Affine::Weight));
    let stored = source.parameter(first).unwrap().to_f32().unwrap();
    let values = source.values(first).unwrap().unwrap();
    let half = stored.len() / 2;
    assert_eq!(
        (&values[..half], &values[half..]),
        (&stored[half..], &stored[..half])
    );
    assert!(source.in_place(first).is_none());
}

/// BERT's config with code of its own behind it, which its tensors tell.
#[test]
fn jinabert_is_told_by_its_tensors() {
    let arch = changed("jinabert", &json!({})).unwrap();
    assert_eq!(
        (arch.family, arch.positions),
        (Family::JinaBert, Positions::Nowhere)
    );
    assert_eq!(
        (arch.score_bias, arch.feed_forward),
        (ScoreBias::Slopes, FeedForward::Gated)
    );
    assert_eq!((arch.mlp_bias, arch.mlp_out_bias), (false, true));
    assert_eq!(
        (arch.activation, arch.segments),
        (Activation::Gelu, Segments::Table(2))
    );
    let dropped = &arch.dropout;
    assert_eq!(
        (dropped.mlp_inner, dropped.mlp_output, dropped.head_input),
        (0.1, 0.0, 0.0)
    );
    let other = changed("jinabert-mlm", &json!({"feed_forward_type": "reglu"})).unwrap();
    assert_eq!(
        (other.activation, other.lm_activation),
        (Activation::Relu, Activation::Gelu)
    );
    for (changes, says) in [
        (
            json!({"position_embedding_type": "absolute"}),
            "only \"alibi\"",
        ),
        (
            json!({"position_embedding_type": null}),
            "`position_embedding_type` is missing",
        ),
        (json!({"feed_forward_type": "original"}), "\"reglu\""),
        (
            json!({"feed_forward_type": null}),
            "`feed_forward_type` is missing",
        ),
        (
            json!({"architectures": ["BertForSequenceClassification"]}),
            "BertForSequenceClassification",
        ),
    ] {
        assert_says(&changed("jinabert", &changes).unwrap_err(), says);
    }
    let head = |name| changed(name, &json!({"architectures": null})).unwrap().head;
    assert!(matches!(
        head("jinabert"),
        TaskHead::SequenceClassification { .. }
    ));
    assert_eq!(
        (head("jinabert-mlm"), head("jinabert-bare")),
        (TaskHead::MaskedLm, TaskHead::None)
    );
    // Eight heads halve from one to the next; twelve have four between the first of sixteen besides.
    let slopes = |heads| (0..heads).map(move |head| ScoreBias::slope(head, heads));
    assert!(slopes(8).eq((1..=8).map(|power| 0.5_f64.powi(power))));
    let twelve: Vec<f64> = slopes(12).collect();
    assert!(twelve[..8].iter().copied().eq(slopes(8)));
    let between = [0.5, 1.5, 2.5, 3.5].map(|power: f64| (-power).exp2());
    assert!(
        twelve[8..]
            .iter()
            .zip(between)
            .all(|(a, b)| (a - b).abs() < 1e-15)
    );
}
