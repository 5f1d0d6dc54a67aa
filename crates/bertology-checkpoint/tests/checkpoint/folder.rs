//! A tiny model folder, to be bent by the tests: 2 layers, 2 heads of width 2, 5 words.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bertology_checkpoint::{Checkpoint, Dtype, Error, OpenOptions};
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

pub(crate) struct Folder {
    directory: tempfile::TempDir,
    pub(crate) config: Value,
    pub(crate) tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
}

impl Folder {
    /// A two-label BERT classifier.
    pub(crate) fn bert() -> Self {
        let mut folder = Self {
            directory: tempfile::tempdir().unwrap(),
            config: json!({
                "architectures": ["BertForSequenceClassification"],
                "model_type": "bert",
                "vocab_size": 5,
                "hidden_size": 4,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "intermediate_size": 3,
                "max_position_embeddings": 6,
                "type_vocab_size": 2,
                "hidden_act": "gelu",
                "layer_norm_eps": 1e-12,
                "pad_token_id": 0,
                "transformers_version": "4.57.6"
            }),
            tensors: BTreeMap::new(),
        };
        folder.encoder("bert.");
        folder.affine("bert.pooler.dense", &[4, 4]);
        folder.affine("classifier", &[2, 4]);
        folder
    }

    /// The same size with RoBERTa's names and its two-layer classifier.
    pub(crate) fn roberta() -> Self {
        let mut folder = Self::bert();
        folder.tensors.clear();
        folder.set("model_type", "roberta");
        folder.set("architectures", json!(["RobertaForSequenceClassification"]));
        folder.set("pad_token_id", 1);
        folder.encoder("roberta.");
        folder.affine("classifier.dense", &[4, 4]);
        folder.affine("classifier.out_proj", &[2, 4]);
        folder
    }

    /// A masked language model on BERT, its decoder tied.
    pub(crate) fn masked_lm() -> Self {
        let mut folder = Self::bert();
        folder.set("architectures", json!(["BertForMaskedLM"]));
        folder
            .tensors
            .retain(|name, _| name.contains("embeddings") || name.contains("encoder"));
        folder.affine("cls.predictions.transform.dense", &[4, 4]);
        folder.affine("cls.predictions.transform.LayerNorm", &[4]);
        folder.tensor("cls.predictions.bias", &[5]);
        folder
    }

    fn encoder(&mut self, prefix: &str) {
        self.tensor(
            &format!("{prefix}embeddings.word_embeddings.weight"),
            &[5, 4],
        );
        self.tensor(
            &format!("{prefix}embeddings.position_embeddings.weight"),
            &[6, 4],
        );
        self.tensor(
            &format!("{prefix}embeddings.token_type_embeddings.weight"),
            &[2, 4],
        );
        self.affine(&format!("{prefix}embeddings.LayerNorm"), &[4]);
        for layer in 0..2 {
            let name = |rest: &str| format!("{prefix}encoder.layer.{layer}.{rest}");
            for part in ["query", "key", "value"] {
                self.affine(&name(&format!("attention.self.{part}")), &[4, 4]);
            }
            self.affine(&name("attention.output.dense"), &[4, 4]);
            self.affine(&name("attention.output.LayerNorm"), &[4]);
            self.affine(&name("intermediate.dense"), &[3, 4]);
            self.affine(&name("output.dense"), &[4, 3]);
            self.affine(&name("output.LayerNorm"), &[4]);
        }
    }

    pub(crate) fn affine(&mut self, stem: &str, weight: &[usize]) {
        self.tensor(&format!("{stem}.weight"), weight);
        self.tensor(&format!("{stem}.bias"), &weight[..1]);
    }

    /// An f32 tensor with values that occur nowhere else in the folder.
    pub(crate) fn tensor(&mut self, name: &str, shape: &[usize]) {
        let base = (self.tensors.len() as f32 + 1.0) * 100.0;
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|at| base + at as f32).collect();
        self.values(name, shape, &values);
    }

    pub(crate) fn values(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.tensors
            .insert(name.into(), (Dtype::F32, shape.to_vec(), bytes));
    }

    pub(crate) fn raw(&mut self, name: &str, dtype: Dtype, shape: &[usize], bytes: Vec<u8>) {
        self.tensors
            .insert(name.into(), (dtype, shape.to_vec(), bytes));
    }

    pub(crate) fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.config[key] = value.into();
    }

    pub(crate) fn unset(&mut self, key: &str) {
        self.config.as_object_mut().unwrap().remove(key);
    }

    /// Gives every tensor whose name starts with `from` a name that starts with `to`.
    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        self.tensors = std::mem::take(&mut self.tensors)
            .into_iter()
            .map(|(name, tensor)| {
                let new = name.strip_prefix(from).map(|rest| format!("{to}{rest}"));
                (new.unwrap_or(name), tensor)
            })
            .collect();
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn weights(&self) -> Vec<u8> {
        serialize(self.tensors.iter())
    }

    /// Writes the config and `model.safetensors`.
    pub(crate) fn write(&self) -> &Path {
        fs::write(self.file("config.json"), self.config.to_string()).unwrap();
        fs::write(self.file("model.safetensors"), self.weights()).unwrap();
        self.path()
    }

    pub(crate) fn open(&self) -> Result<Checkpoint, Error> {
        Checkpoint::open(self.write(), &OpenOptions::new())
    }

    /// What opening the folder says is wrong with it.
    pub(crate) fn refusal(&self) -> String {
        self.open().expect_err("must be refused").to_string()
    }
}

pub(crate) fn serialize<'a>(
    tensors: impl Iterator<Item = (&'a String, &'a (Dtype, Vec<usize>, Vec<u8>))>,
) -> Vec<u8> {
    let views: Vec<(&String, TensorView<'_>)> = tensors
        .map(|(name, (dtype, shape, bytes))| {
            (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        })
        .collect();
    safetensors::serialize(views, None).unwrap()
}

/// Fails with both texts unless `text` contains `part`.
pub(crate) fn assert_says(text: &str, part: &str) {
    assert!(text.contains(part), "`{text}` does not say `{part}`");
}
