//! Every tensor is used, ignored for a reason, missing or unexpected.

use bertology_checkpoint::{
    Affine, Checkpoint, Dtype, IgnoreReason, OpenAs, OpenOptions, Parameter, TaskHead,
};

use crate::folder::{Folder, assert_says};

#[test]
fn a_classifier_without_its_tensors_is_no_classifier() {
    let mut folder = Folder::bert();
    folder
        .tensors
        .retain(|name, _| !name.starts_with("classifier"));
    let text = folder.refusal();
    assert_says(&text, "holds no fine-tuned sequence classifier");
    assert_says(&text, "`classifier.weight`, `classifier.bias`");
    let mut folder = Folder::roberta();
    folder
        .tensors
        .retain(|name, _| !name.starts_with("classifier"));
    let text = folder.refusal();
    assert_says(&text, "4 tensors missing");
    assert_says(&text, "`classifier.dense.weight`");
    assert_says(&text, "`classifier.out_proj.bias`");
}

#[test]
fn missing_tensors_are_named_as_the_file_would_name_them() {
    let mut folder = Folder::bert();
    folder
        .tensors
        .remove("bert.encoder.layer.1.output.dense.bias");
    assert_says(
        &folder.refusal(),
        "1 tensor missing: `bert.encoder.layer.1.output.dense.bias`",
    );
    folder.rename("bert.", "");
    assert_says(
        &folder.refusal(),
        "missing: `encoder.layer.1.output.dense.bias`",
    );
    let inspection = Checkpoint::inspect(folder.write()).unwrap();
    assert_eq!(inspection.report.missing.len(), 1);
    assert_eq!(inspection.report.missing[0].shape, [4]);
}

#[test]
fn unexpected_tensors_are_an_error_unless_allowed() {
    let mut folder = Folder::bert();
    folder.tensor("bert.encoder.layer.2.output.dense.bias", &[4]);
    folder.tensor("bert.encoder.layer.01.output.dense.bias", &[4]);
    folder.tensor("adapter.weight", &[1]);
    let text = folder.refusal();
    for name in ["layer.2.output", "layer.01.output", "`adapter.weight`"] {
        assert_says(&text, name);
    }
    let allowed = OpenOptions::new().allow_unexpected(true);
    let checkpoint = Checkpoint::open(folder.path(), &allowed).unwrap();
    assert_eq!(checkpoint.report().unexpected.len(), 3);
}

#[test]
fn shapes_and_types_are_verified_with_names() {
    let mut folder = Folder::bert();
    folder.tensor("bert.encoder.layer.0.intermediate.dense.weight", &[4, 3]);
    let text = folder.refusal();
    for part in [
        "intermediate.dense.weight",
        "model.safetensors",
        "[4, 3]",
        "[3, 4]",
    ] {
        assert_says(&text, part);
    }
    let mut folder = Folder::bert();
    folder.raw("bert.pooler.dense.bias", Dtype::I32, &[4], vec![0; 16]);
    let text = folder.refusal();
    assert_says(&text, "`bert.pooler.dense.bias` has type I32");
    assert_says(&text, "F32, F16, BF16 or F64");
}

#[test]
fn one_parameter_cannot_have_two_tensors() {
    let mut folder = Folder::bert();
    folder.tensor("bert.embeddings.LayerNorm.gamma", &[4]);
    let text = folder.refusal();
    assert_says(&text, "`bert.embeddings.LayerNorm.gamma`");
    assert_says(&text, "`bert.embeddings.LayerNorm.weight`");
}

#[test]
fn prefixed_and_bare_names_do_not_mix() {
    let mut folder = Folder::bert();
    folder.rename("bert.embeddings.", "embeddings.");
    assert_says(
        &folder.refusal(),
        "`bert.embeddings.word_embeddings.weight`",
    );
}

#[test]
fn values_convert_exactly() {
    let mut folder = Folder::bert();
    let bits = |values: [u16; 4]| {
        values
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    // 1, -2, 2^-24 (the least f16), 65504 (the greatest).
    folder.raw(
        "bert.pooler.dense.bias",
        Dtype::F16,
        &[4],
        bits([0x3c00, 0xc000, 0x0001, 0x7bff]),
    );
    // 1, -2, 2^-133 (the least bf16), infinity.
    folder.raw(
        "bert.embeddings.LayerNorm.bias",
        Dtype::BF16,
        &[4],
        bits([0x3f80, 0xc000, 0x0001, 0x7f80]),
    );
    let doubles: Vec<u8> = [0.1_f64, -1e300]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    folder.raw("classifier.bias", Dtype::F64, &[2], doubles);
    let checkpoint = folder.open().unwrap();
    let tensor = |parameter| checkpoint.parameter(parameter).unwrap();
    let half = tensor(Parameter::Pooler(Affine::Bias));
    assert_eq!(
        half.to_f32().unwrap(),
        [1.0, -2.0, 2.0_f32.powi(-24), 65504.0]
    );
    assert_eq!(
        half.to_f64().unwrap(),
        [1.0, -2.0, 2.0_f64.powi(-24), 65504.0]
    );
    assert!(half.as_f32_slice().is_none());
    let brain = tensor(Parameter::EmbeddingNorm(Affine::Bias));
    assert_eq!(
        brain.to_f32().unwrap(),
        [1.0, -2.0, f32::from_bits(1 << 16), f32::INFINITY]
    );
    let double = tensor(Parameter::Classifier(Affine::Bias));
    assert_eq!(double.to_f64().unwrap(), [0.1, -1e300]);
    assert_eq!(double.to_f32().unwrap(), [0.1, f32::NEG_INFINITY]);
    let single = tensor(Parameter::Classifier(Affine::Weight));
    assert_eq!(
        single.as_f32_slice().map(<[f32]>::to_vec),
        Some(single.to_f32().unwrap())
    );
    assert_eq!(single.to_f64().unwrap().len(), 8);
}

#[test]
fn a_tied_decoder_counts_only_where_it_may() {
    let reason = |folder: &Folder, allow: bool| {
        let options = OpenOptions::new().allow_unexpected(allow);
        let checkpoint = Checkpoint::open(folder.write(), &options)?;
        let decoder = Parameter::LmDecoder(Affine::Weight);
        assert!(checkpoint.parameter(decoder).is_none());
        Ok::<_, bertology_checkpoint::Error>(checkpoint.report().ignored[0].reason)
    };
    let mut folder = Folder::masked_lm();
    let tied = folder.tensors["bert.embeddings.word_embeddings.weight"].clone();
    folder
        .tensors
        .insert("cls.predictions.decoder.weight".into(), tied);
    assert_eq!(reason(&folder, false).unwrap(), IgnoreReason::TiedCopy);

    folder.tensor("cls.predictions.decoder.weight", &[5, 4]);
    let text = folder.refusal();
    assert_says(&text, "`cls.predictions.decoder.weight` differs from");
    assert_says(&text, "\"tie_word_embeddings\": false");
    assert_eq!(
        reason(&folder, true).unwrap(),
        IgnoreReason::OverriddenByTie
    );

    folder.set("tie_word_embeddings", false);
    let checkpoint = folder.open().unwrap();
    let own = checkpoint
        .parameter(Parameter::LmDecoder(Affine::Weight))
        .unwrap();
    assert_eq!(own.name(), "cls.predictions.decoder.weight");
    folder.tensors.remove("cls.predictions.decoder.weight");
    assert_says(
        &folder.refusal(),
        "missing: `cls.predictions.decoder.weight`",
    );
}

#[test]
fn either_name_of_the_decoder_bias_will_do_but_not_two_values() {
    let mut folder = Folder::masked_lm();
    let bias = folder.tensors["cls.predictions.bias"].clone();
    folder
        .tensors
        .insert("cls.predictions.decoder.bias".into(), bias);
    let checkpoint = folder.open().unwrap();
    assert_eq!(
        checkpoint.report().ignored[0].reason,
        IgnoreReason::TiedCopy
    );
    folder.tensors.remove("cls.predictions.bias");
    let checkpoint = folder.open().unwrap();
    let own = checkpoint
        .parameter(Parameter::LmDecoder(Affine::Bias))
        .unwrap();
    assert_eq!(own.name(), "cls.predictions.decoder.bias");
    folder.tensor("cls.predictions.bias", &[5]);
    assert_says(
        &folder.refusal(),
        "`cls.predictions.decoder.bias` differs from `cls.predictions.bias`",
    );
    // Nothing that the config says about ties would help.
    for tie in [true, false] {
        if !tie {
            folder.tensor("cls.predictions.decoder.weight", &[5, 4]);
            folder.set("tie_word_embeddings", false);
        }
        let text = folder.refusal();
        assert_says(&text, "remove `cls.predictions.decoder.bias`");
        assert!(!text.contains("tie_word_embeddings"), "{text}");
    }
    // Both ways out: transformers 4.57.6 computes with `cls.predictions.bias`.
    let options = OpenOptions::new().allow_unexpected(true);
    let checkpoint = Checkpoint::open(folder.write(), &options).unwrap();
    let ignored = &checkpoint.report().ignored[0];
    assert_eq!(ignored.tensor.name, "cls.predictions.decoder.bias");
    assert_eq!(ignored.reason, IgnoreReason::OtherBias);
    folder.tensors.remove("cls.predictions.decoder.bias");
    let checkpoint = folder.open().unwrap();
    let bias = Parameter::LmDecoder(Affine::Bias);
    assert_eq!(
        checkpoint.parameter(bias).unwrap().name(),
        "cls.predictions.bias"
    );
}

#[test]
fn the_bias_of_robertas_decoder_is_the_one_that_counts() {
    // transformers 4.57.6: 1 in `lm_head.bias` and 2 in `lm_head.decoder.bias` give 2, tied or not.
    let mut folder = Folder::roberta();
    folder.set("architectures", serde_json::json!(["RobertaForMaskedLM"]));
    folder
        .tensors
        .retain(|name, _| name.starts_with("roberta."));
    folder.affine("lm_head.dense", &[4, 4]);
    folder.affine("lm_head.layer_norm", &[4]);
    folder.values("lm_head.bias", &[5], &[1.0; 5]);
    let bias = Parameter::LmDecoder(Affine::Bias);
    let own = |folder: &Folder| {
        let checkpoint = folder.open().unwrap();
        let tensor = checkpoint.parameter(bias).unwrap();
        (tensor.name().to_owned(), tensor.to_f32().unwrap()[0])
    };
    assert_eq!(own(&folder), ("lm_head.bias".to_owned(), 1.0));
    folder.values("lm_head.decoder.bias", &[5], &[2.0; 5]);
    assert_eq!(own(&folder), ("lm_head.decoder.bias".to_owned(), 2.0));
    let checkpoint = folder.open().unwrap();
    let ignored = &checkpoint.report().ignored[0];
    assert_eq!(
        (ignored.tensor.name.as_str(), ignored.reason),
        ("lm_head.bias", IgnoreReason::OtherBias)
    );
    folder.tensors.remove("lm_head.bias");
    assert_eq!(own(&folder), ("lm_head.decoder.bias".to_owned(), 2.0));
}

#[test]
fn heads_of_other_tasks_are_ignored_with_the_reason() {
    // bert-base-uncased is saved as a masked LM with pooler and next-sentence head beside.
    let mut folder = Folder::masked_lm();
    folder.tensor("cls.seq_relationship.weight", &[2, 4]);
    folder.tensor("cls.seq_relationship.bias", &[2]);
    folder.tensor("bert.pooler.dense.weight", &[4, 4]);
    folder.tensor("bert.pooler.dense.bias", &[4]);
    folder.raw(
        "bert.embeddings.position_ids",
        Dtype::I64,
        &[1, 6],
        vec![0; 48],
    );
    let checkpoint = folder.open().unwrap();
    let reasons: Vec<_> = checkpoint
        .report()
        .ignored
        .iter()
        .map(|i| (i.tensor.name.as_str(), i.reason))
        .collect();
    assert_eq!(
        reasons,
        [
            ("bert.embeddings.position_ids", IgnoreReason::Buffer),
            ("bert.pooler.dense.bias", IgnoreReason::UnusedPooler),
            ("bert.pooler.dense.weight", IgnoreReason::UnusedPooler),
            ("cls.seq_relationship.bias", IgnoreReason::OtherTask),
            ("cls.seq_relationship.weight", IgnoreReason::OtherTask),
        ]
    );
    let open = |open_as| Checkpoint::open(folder.path(), &OpenOptions::new().open_as(open_as));
    assert_eq!(
        open(OpenAs::PreTraining).unwrap().architecture().head,
        TaskHead::PreTraining
    );
    assert!(open(OpenAs::PreTraining).unwrap().architecture().pooler);
    assert!(open(OpenAs::Encoder).unwrap().architecture().pooler);
    let text = open(OpenAs::SequenceClassification)
        .unwrap_err()
        .to_string();
    assert_says(&text, "no fine-tuned sequence classifier");
}

#[test]
fn parameters_are_counted_by_part() {
    let checkpoint = Folder::bert().open().unwrap();
    let parts = checkpoint.report().parts;
    // D = 4, I = 3, 2 layers; 5 words, 6 positions, 2 segments; 2 labels.
    assert_eq!(parts.embeddings.parameters, (5 + 6 + 2) * 4);
    assert_eq!(parts.attention.parameters, 2 * 4 * (16 + 4));
    assert_eq!(parts.feed_forward.parameters, 2 * (12 + 3 + 12 + 4));
    assert_eq!(parts.norms.parameters, 8 + 2 * 16);
    assert_eq!(parts.pooler.parameters, 20);
    assert_eq!(parts.task_head.parameters, 10);
    assert_eq!(parts.total().parameters, 52 + 160 + 62 + 40 + 20 + 10);
    assert_eq!(parts.total().bytes, 4 * parts.total().parameters);
    let roberta = Folder::roberta().open().unwrap();
    assert_eq!(roberta.report().parts.pooler.parameters, 0);
    assert_eq!(roberta.report().parts.task_head.parameters, 30);
}

#[test]
fn the_content_hash_depends_on_content_alone() {
    let folder = Folder::bert();
    let hash = folder.open().unwrap().content_hash().unwrap().to_owned();
    assert_eq!(hash.len(), 64);
    assert_eq!(Folder::bert().open().unwrap().content_hash().unwrap(), hash);
    let mut other = Folder::bert();
    other.set("zebra", 1);
    assert_ne!(other.open().unwrap().content_hash().unwrap(), hash);
}
