//! What the configs and files of some families say besides sizes.

use bertology_checkpoint::{
    Activation, Architecture, Checkpoint, Family, IgnoreReason, OpenAs, OpenOptions, PositionIds,
    Positions,
};
use serde_json::{Value, json};

use crate::folder::assert_says;

/// A folder of golden/engine with another config, opened.
fn changed(name: &str, changes: &Value) -> Result<Architecture, String> {
    let source = bertology_testkit::golden(&format!("engine/{name}"));
    let copy = tempfile::tempdir().unwrap();
    let read = std::fs::read(source.join("config.json")).unwrap();
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
}

#[test]
fn esm_counts_positions_and_masks_as_its_config_says() {
    let rotary = changed("esm-mlm", &json!({"hidden_act": "relu"})).unwrap();
    assert_eq!(rotary.family, Family::Esm);
    assert!(
        matches!(rotary.positions, Positions::Rotary(turned) if turned.width == 8 && turned.base == 1e4)
    );
    // Its class reads no `hidden_act`.
    assert_eq!(rotary.activation, Activation::Gelu);
    assert_eq!(
        (rotary.position_ids, rotary.max_tokens()),
        (PositionIds::FromZero, 26)
    );
    assert!(rotary.contact_head && !rotary.embedding_norm);
    let dropout = rotary.token_dropout.unwrap();
    assert_eq!(dropout.mask_id, 32);
    assert!((dropout.factor(&[0, 32, 5, 2]) - 0.88 / 0.75).abs() < 1e-12);
    let absolute = changed("esm-tokens", &json!({})).unwrap();
    assert_eq!(absolute.positions, Positions::Absolute);
    assert_eq!(
        absolute.position_ids,
        PositionIds::AfterPadding { pad_id: 1 }
    );
    assert!(absolute.embedding_norm);
    let silent = changed(
        "esm-mlm",
        &json!({"token_dropout": false, "mask_token_id": null}),
    );
    assert_eq!(silent.unwrap().token_dropout, None);
    for (name, changes, says) in [
        (
            "esm-mlm",
            json!({"is_folding_model": true}),
            "`is_folding_model`",
        ),
        ("esm-mlm", json!({"mask_token_id": null}), "`mask_token_id`"),
        ("esm-mlm", json!({"mask_token_id": 60}), "from 0 to 59"),
        (
            "esm-mlm",
            json!({"position_embedding_type": "relative_key"}),
            "for ESM only",
        ),
        (
            "esm-mlm",
            json!({"num_attention_heads": 32}),
            "cannot be turned in pairs",
        ),
        (
            "esm",
            json!({"position_embedding_type": "absolute"}),
            "position_embeddings",
        ),
        (
            "esm-tokens",
            json!({"emb_layer_norm_before": false}),
            "embeddings.layer_norm",
        ),
        (
            "esm-tokens",
            json!({"pad_token_id": null}),
            "`pad_token_id`",
        ),
        (
            "esm-tokens",
            json!({"architectures": ["EsmForProteinFolding"]}),
            "EsmForProteinFolding",
        ),
    ] {
        assert_says(&changed(name, &changes).unwrap_err(), says);
    }
}

/// Older files of ESM-2 hold a table of positions and the frequencies of every layer, which are computed.
#[test]
fn esm_ignores_what_it_computes_itself() {
    let checkpoint = Checkpoint::open(
        &bertology_testkit::golden("engine/esm-mlm"),
        &OpenOptions::new(),
    )
    .unwrap();
    let ignored = &checkpoint.report().ignored;
    let frequencies = ignored
        .iter()
        .filter(|i| i.tensor.name.ends_with("rotary_embeddings.inv_freq"));
    assert_eq!(frequencies.count(), 3);
    let reason = |name: &str| {
        ignored
            .iter()
            .find(|i| i.tensor.name == name)
            .unwrap()
            .reason
    };
    assert_eq!(reason("esm.embeddings.position_ids"), IgnoreReason::Buffer);
    let table = reason("esm.embeddings.position_embeddings.weight");
    assert_eq!(table, IgnoreReason::UnusedPositions);
    assert_eq!(ignored.len(), 5);
    let refused = Checkpoint::open(
        &bertology_testkit::golden("engine/esm-mlm"),
        &OpenOptions::new().open_as(OpenAs::QuestionAnswering),
    );
    assert_says(&refused.unwrap_err().to_string(), "with question answering");
}
