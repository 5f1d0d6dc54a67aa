//! What the configs and files of some families say besides sizes.

use std::collections::BTreeMap;

use bertology_checkpoint::{
    Activation, Affine, Architecture, Checkpoint, Export, Family, HeadSet, IgnoreReason,
    LayerParameter, OpenAs, OpenOptions, Parameter, PositionIds, Positions, SharedLayers,
    WriteOptions, cut_file_bytes, write_pruned, write_trained,
};
use serde_json::{Value, json};

use crate::folder::assert_says;

/// A folder of golden/engine with another config, opened.
pub(crate) fn changed(name: &str, changes: &Value) -> Result<Architecture, String> {
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

/// The frequencies, which transformers looks for, and the contact head, which no loss trains.
#[test]
fn esm_is_written_with_what_no_training_moves() {
    let source = Checkpoint::open(
        &bertology_testkit::golden("engine/esm-mlm"),
        &OpenOptions::new(),
    )
    .unwrap();
    let values = source.parameters().map(|(p, t)| (p, t.to_f32().unwrap()));
    let mut values: BTreeMap<Parameter, Vec<f32>> = values.collect();
    for (layer, affine) in [0, 1, 2]
        .into_iter()
        .flat_map(|layer| [Affine::Weight, Affine::Bias].map(|affine| (layer, affine)))
    {
        use LayerParameter as P;
        let parts = [P::Query(affine), P::Key(affine), P::Value(affine)];
        let fused = parts.map(|part| values[&Parameter::Layer(layer, part)].clone());
        let name = Parameter::Layer(layer, P::QueryKeyValue(affine));
        values.insert(name, fused.concat());
    }
    values.retain(|parameter, _| !matches!(parameter, Parameter::ContactHead(_)));
    let out = tempfile::tempdir().unwrap();
    let given = |parameter| values.get(&parameter).map(Vec::as_slice);
    write_trained(&source, given, &out.path().join("model"), out.path()).unwrap();
    let written = Checkpoint::open(&out.path().join("model"), &OpenOptions::new()).unwrap();
    let held = |checkpoint: &Checkpoint| -> BTreeMap<String, Vec<f32>> {
        let tensors = checkpoint.tensors().iter();
        tensors
            .filter(|tensor| !tensor.name().starts_with("esm.embeddings.position_"))
            .map(|tensor| (tensor.name().to_owned(), tensor.to_f32().unwrap()))
            .collect()
    };
    let (before, after) = (held(&source), held(&written));
    assert_eq!(before, after);
    let frequency = "esm.encoder.layer.2.attention.self.rotary_embeddings.inv_freq";
    assert!((after[frequency][1] - 0.1).abs() < 1e-6);
    assert!(after.contains_key("esm.contact_head.regression.weight"));
}

#[test]
fn albert_says_which_layers_share_their_weights() {
    let arch = changed("albert", &json!({})).unwrap();
    assert_eq!((arch.family, arch.num_layers), (Family::Albert, 3));
    assert_eq!(
        arch.shared_layers,
        Some(SharedLayers {
            groups: 1,
            inner: 1
        })
    );
    assert_eq!(arch.own_layers().collect::<Vec<_>>(), [0]);
    // As many layers as the config asks for: the files have one block.
    let more = changed("albert", &json!({"num_hidden_layers": 12})).unwrap();
    assert_eq!((more.num_layers, more.weights_of(11)), (12, 0));
    let narrow = changed("albert-bare", &json!({})).unwrap();
    assert!(narrow.embedding_projection && narrow.embedding_size == narrow.hidden_size);
    for (name, changes, says) in [
        (
            "albert",
            json!({"num_hidden_groups": 2}),
            "which does not divide the 3 layers",
        ),
        (
            "albert",
            json!({"num_hidden_groups": 3}),
            "`num_hidden_groups` is 3, but the weights hold 1",
        ),
        (
            "albert-groups-tokens",
            json!({"num_hidden_groups": 1}),
            "`num_hidden_groups` is 1, but the weights hold 2",
        ),
        (
            "albert-groups-tokens",
            json!({"inner_group_num": 1}),
            "`inner_group_num` is 1, but the weights hold 2",
        ),
        (
            "albert",
            json!({"num_hidden_layers": 2_000_000}),
            "`num_hidden_layers`",
        ),
        (
            "albert",
            json!({"inner_group_num": 2_000_000}),
            "`num_hidden_layers`",
        ),
        (
            "albert",
            json!({"position_embedding_type": "relative_key"}),
            "for ALBERT only",
        ),
        (
            "albert",
            json!({"architectures": ["AlbertForPreTraining"]}),
            "`id2label` gives 3 labels",
        ),
        (
            "albert",
            json!({"pruned_heads": {"1": [0]}}),
            "the layers are 0 to 0",
        ),
    ] {
        assert_says(&changed(name, &changes).unwrap_err(), says);
    }
}

/// transformers counts the blocks of the files in `pruned_heads`, of which each is that of several layers.
#[test]
fn heads_go_from_all_layers_that_share_their_weights_or_from_none() {
    let open = |folder: &std::path::Path| Checkpoint::open(folder, &OpenOptions::new()).unwrap();
    let source = open(&bertology_testkit::golden("engine/albert"));
    let expected = open(&bertology_testkit::golden("engine/albert-pruned"));
    let heads = HeadSet::parse("0:0,2 1:0,2 2:0,2", 3, 4).unwrap();
    assert_eq!(
        HeadSet::from(expected.architecture().pruned_heads.clone()),
        heads
    );
    let out = tempfile::tempdir().unwrap();
    let to = |name: &str| out.path().join(name);
    let options = WriteOptions::new(Export::Pruned);
    let report = write_pruned(&source, &heads, &to("pruned"), &options).unwrap();
    let written = open(&to("pruned"));
    assert_eq!(written.config().raw()["pruned_heads"], json!({"0": [0, 2]}));
    assert_eq!(
        written.architecture().pruned_heads,
        expected.architecture().pruned_heads
    );
    for (parameter, tensor) in expected.parameters() {
        let own = written.parameter(parameter).unwrap();
        assert_eq!(
            (own.name(), own.to_f32().unwrap()),
            (tensor.name(), tensor.to_f32().unwrap())
        );
    }
    // Two heads of one block: 2 (4 D d + 3 d).
    assert_eq!(
        report.before.parameters - report.after.parameters,
        2 * (4 * 32 * 8 + 3 * 8)
    );

    write_pruned(
        &source,
        &heads,
        &to("zeroed"),
        &WriteOptions::new(Export::Zeroed),
    )
    .unwrap();
    assert_eq!(
        HeadSet::from(open(&to("zeroed")).architecture().zeroed_heads.clone()),
        heads
    );
    // What is gone already may be named for one layer alone.
    let again = HeadSet::parse("1:0", 3, 4).unwrap();
    write_pruned(&written, &again, &to("again"), &options).unwrap();
    write_pruned(&open(&to("zeroed")), &again, &to("of-zeros"), &options).unwrap();
    let zeros = open(&to("of-zeros")).architecture().zeroed_heads.clone();
    assert_eq!(HeadSet::from(zeros), heads);
    // The third block of four is that of layers 4 and 6.
    let groups = open(&bertology_testkit::golden("engine/albert-groups-tokens"));
    let heads = HeadSet::parse("4:1 6:1", 8, 3).unwrap();
    write_pruned(&groups, &heads, &to("groups"), &options).unwrap();
    let written = open(&to("groups"));
    assert_eq!(written.config().raw()["pruned_heads"], json!({"2": [1]}));
    assert_eq!(
        HeadSet::from(written.architecture().pruned_heads.clone()),
        heads
    );

    let one = HeadSet::parse("0:3 2:3", 3, 4).unwrap();
    for export in [Export::Pruned, Export::Zeroed] {
        let refused =
            write_pruned(&source, &one, &to("one"), &WriteOptions::new(export)).unwrap_err();
        assert_says(
            &refused.to_string(),
            "head 3 of layer 0 cannot go from the file while layer 1 keeps it",
        );
        assert_says(&refused.to_string(), "(0:3 1:3 2:3)");
        let refused = cut_file_bytes(&source, &one.clone().into(), export).unwrap_err();
        assert_says(&refused.to_string(), "share their weights");
    }
    assert!(!to("one").exists());
    // Nor can a layer be written that was parted from the others in memory.
    let parted = |parameter| match parameter {
        Parameter::Layer(2, _) => Some(&[0.0_f32][..]),
        _ => None,
    };
    let refused = write_trained(&source, parted, &to("one"), out.path()).unwrap_err();
    assert_says(
        &refused.to_string(),
        "layer 2 has lost heads that layer 0 has kept",
    );
    assert!(!to("one").exists());
}

/// A folder of golden/engine with other tensors.
fn rewritten(
    name: &str,
    keep: impl Fn(&str) -> bool,
    more: &[(&str, Vec<f32>)],
) -> Result<Checkpoint, bertology_checkpoint::Error> {
    let source = bertology_testkit::golden(&format!("engine/{name}"));
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(source.join("config.json"), copy.path().join("config.json")).unwrap();
    let bytes = std::fs::read(source.join("model.safetensors")).unwrap();
    let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors = read.tensors();
    tensors.retain(|(name, _)| keep(name));
    let more: Vec<(&str, usize, Vec<u8>)> = more
        .iter()
        .map(|(name, values)| {
            (
                *name,
                values.len(),
                values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            )
        })
        .collect();
    for (name, count, bytes) in &more {
        let dtype = safetensors::Dtype::F32;
        let view = safetensors::tensor::TensorView::new(dtype, vec![*count], bytes).unwrap();
        tensors.push(((*name).to_owned(), view));
    }
    let written = safetensors::serialize(tensors, None).unwrap();
    std::fs::write(copy.path().join("model.safetensors"), written).unwrap();
    Checkpoint::open(copy.path(), &OpenOptions::new())
}

/// A model that has the bias of its output layer under two names: transformers 4.57.6 computes with the decoder's.
#[test]
fn albert_takes_the_bias_of_its_decoder() {
    let other = [("predictions.decoder.bias", vec![2.0_f32; 60])];
    let checkpoint = rewritten("albert-mlm", |_| true, &other).unwrap();
    let bias = checkpoint.values(Parameter::LmDecoder(Affine::Bias));
    assert_eq!(bias.unwrap().unwrap(), [2.0; 60]);
    let ignored = &checkpoint.report().ignored;
    assert_eq!(ignored.len(), 1);
    assert_eq!(ignored[0].tensor.name, "predictions.bias");
}

/// There is a map behind the embeddings even where it leads from one width to the same.
#[test]
fn albert_needs_the_map_behind_its_embeddings() {
    let map = "encoder.embedding_hidden_mapping_in.";
    let refused = rewritten("albert-bare", |name| !name.starts_with(map), &[]).unwrap_err();
    assert_says(
        &refused.to_string(),
        "encoder.embedding_hidden_mapping_in.weight",
    );
}
