//! A model so small that a thousand fit into a second: one layer of two heads, four wide.

/// Its `config.json`.
pub(crate) const CONFIG: &str = r#"{"architectures": ["BertForSequenceClassification"], "model_type": "bert",
"hidden_act": "gelu", "hidden_size": 4, "intermediate_size": 6, "layer_norm_eps": 1e-12, "max_position_embeddings": 8,
"num_attention_heads": 2, "num_hidden_layers": 1, "pad_token_id": 0, "type_vocab_size": 2, "vocab_size": 9,
"id2label": {"0": "no", "1": "yes"}, "label2id": {"no": 0, "yes": 1}}"#;

/// Its tensors.
const TENSORS: [(&str, &[usize]); 23] = [
    ("bert.embeddings.word_embeddings.weight", &[9, 4]),
    ("bert.embeddings.position_embeddings.weight", &[8, 4]),
    ("bert.embeddings.token_type_embeddings.weight", &[2, 4]),
    ("bert.embeddings.LayerNorm.weight", &[4]),
    ("bert.embeddings.LayerNorm.bias", &[4]),
    ("bert.encoder.layer.0.attention.self.query.weight", &[4, 4]),
    ("bert.encoder.layer.0.attention.self.query.bias", &[4]),
    ("bert.encoder.layer.0.attention.self.key.weight", &[4, 4]),
    ("bert.encoder.layer.0.attention.self.key.bias", &[4]),
    ("bert.encoder.layer.0.attention.self.value.weight", &[4, 4]),
    ("bert.encoder.layer.0.attention.self.value.bias", &[4]),
    (
        "bert.encoder.layer.0.attention.output.dense.weight",
        &[4, 4],
    ),
    ("bert.encoder.layer.0.attention.output.dense.bias", &[4]),
    (
        "bert.encoder.layer.0.attention.output.LayerNorm.weight",
        &[4],
    ),
    ("bert.encoder.layer.0.attention.output.LayerNorm.bias", &[4]),
    ("bert.encoder.layer.0.intermediate.dense.weight", &[6, 4]),
    ("bert.encoder.layer.0.intermediate.dense.bias", &[6]),
    ("bert.encoder.layer.0.output.dense.weight", &[4, 6]),
    ("bert.encoder.layer.0.output.dense.bias", &[4]),
    ("bert.encoder.layer.0.output.LayerNorm.weight", &[4]),
    ("bert.encoder.layer.0.output.LayerNorm.bias", &[4]),
    ("bert.pooler.dense.weight", &[4, 4]),
    ("bert.pooler.dense.bias", &[4]),
];

const HEAD: [(&str, &[usize]); 2] = [("classifier.weight", &[2, 4]), ("classifier.bias", &[2])];

/// Its `model.safetensors`: small numbers, of which none repeats.
pub(crate) fn weights() -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, shape) in TENSORS.iter().chain(&HEAD) {
        let start = data.len();
        for at in 0..shape.iter().product() {
            let value = ((start + 7 * at) % 101) as f32 / 101.0 - 0.5;
            data.extend(value.to_le_bytes());
        }
        let entry = serde_json::json!({
            "dtype": "F32", "shape": shape, "data_offsets": [start, data.len()],
        });
        header.insert((*name).to_owned(), entry);
    }
    let header = serde_json::Value::Object(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    file
}
