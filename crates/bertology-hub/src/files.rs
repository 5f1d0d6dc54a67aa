//! Which files of a repository a model needs.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::HubError;

/// Files besides the weights, without which a folder is no model.
pub(crate) const CONFIG: &str = "config.json";

/// The weights, in order of preference. Each may be an index of shards.
const WEIGHTS: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// Weights of other frameworks, and the switch with which transformers reads them.
const FOREIGN: [(&str, &str); 4] = [
    ("tf_model.h5", "from_tf"),
    ("tf_model.h5.index.json", "from_tf"),
    ("flax_model.msgpack", "from_flax"),
    ("flax_model.msgpack.index.json", "from_flax"),
];

/// What to have of a repository.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Configuration and tokenizer.
    pub(crate) small: Vec<String>,
    /// The weights, or the index of their shards.
    pub(crate) weights: &'static str,
}

impl Wanted {
    pub(crate) fn is_sharded(&self) -> bool {
        self.weights.ends_with(".index.json")
    }
}

/// Why a listing is not a model's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    Config,
    Weights,
    Foreign { files: String, flag: &'static str },
}

/// Chooses from the names at a repository's top level.
pub(crate) fn choose<'a>(listing: impl IntoIterator<Item = &'a str>) -> Result<Wanted, Lack> {
    let names: BTreeSet<&str> = listing
        .into_iter()
        .filter(|name| !name.contains('/'))
        .collect();
    if !names.contains(CONFIG) {
        return Err(Lack::Config);
    }
    let Some(weights) = WEIGHTS.into_iter().find(|name| names.contains(name)) else {
        let foreign: Vec<_> = FOREIGN
            .into_iter()
            .filter(|(name, _)| names.contains(name))
            .collect();
        return Err(match foreign.first() {
            None => Lack::Weights,
            Some(&(_, flag)) => {
                let files: Vec<&str> = foreign.iter().map(|(name, _)| *name).collect();
                Lack::Foreign {
                    files: files.join(", "),
                    flag,
                }
            }
        });
    };
    let small = names
        .into_iter()
        .filter(|name| is_small(name))
        .map(str::to_owned)
        .collect();
    Ok(Wanted { small, weights })
}

fn is_small(name: &str) -> bool {
    let named = [
        CONFIG,
        "generation_config.json",
        "merges.txt",
        "spm.model",
        "special_tokens_map.json",
        "added_tokens.json",
    ];
    let plain = !name.starts_with('.')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    named.contains(&name) || (plain && (name.starts_with("tokenizer") || name.starts_with("vocab")))
}

/// Whether a file holds weights, as opposed to what is read whole into memory.
#[cfg(feature = "download")]
pub(crate) fn is_weights(name: &str) -> bool {
    !name.ends_with(".json") && !is_small(name)
}

/// Whether a file is what git keeps in the place of a large file's content.
pub(crate) fn is_pointer_file(path: &Path) -> io::Result<bool> {
    const FIRST_LINE: &[u8] = b"version https://git-lfs.github.com/spec/";
    let mut first = Vec::new();
    File::open(path)?
        .take(FIRST_LINE.len() as u64)
        .read_to_end(&mut first)?;
    Ok(first == FIRST_LINE)
}

/// The largest index that is read. One of a thousand shards and a million tensors has a third of it.
const INDEX: u64 = 256 << 20;

/// The names of the shards that an index lists.
pub(crate) fn shards(index: &Path) -> Result<BTreeSet<String>, HubError> {
    let broken = |reason: String| HubError::Index {
        path: index.to_owned(),
        reason,
    };
    let unreadable = |source| HubError::Cache {
        path: index.to_owned(),
        source,
    };
    if is_pointer_file(index).map_err(unreadable)? {
        return Err(HubError::LfsPointer {
            path: index.to_owned(),
            from: None,
        });
    }
    let mut bytes = Vec::new();
    let file = File::open(index).map_err(unreadable)?;
    file.take(INDEX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > INDEX {
        return Err(broken(format!("it is larger than {INDEX} bytes")));
    }
    let json: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
    let map = json
        .get("weight_map")
        .and_then(serde_json::Value::as_object)
        .ok_or_else(|| broken("it has no \"weight_map\"".into()))?;
    let mut shards = BTreeSet::new();
    for (tensor, file) in map {
        // A shard is a file beside its index; anything else could point out of the folder.
        let name = file
            .as_str()
            .filter(|name| {
                !name.is_empty() && !name.contains(['/', '\\']) && !name.starts_with('.')
            })
            .ok_or_else(|| broken(format!("{tensor} is in {file}, which is not a file name")))?;
        shards.insert(name.to_owned());
    }
    if shards.is_empty() {
        return Err(broken("its \"weight_map\" is empty".into()));
    }
    Ok(shards)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_set_of_weights_and_no_more() {
        let wanted = choose([
            "README.md",
            "config.json",
            "flax_model.msgpack",
            "merges.txt",
            "model.safetensors",
            "onnx/config.json",
            "pytorch_model.bin",
            "spm.model",
            "tokenizer.json",
            "tokenizer_config.json",
            "training_args.bin",
            "vocab.json",
        ])
        .unwrap();
        assert_eq!(wanted.weights, "model.safetensors");
        let small = [
            "config.json",
            "merges.txt",
            "spm.model",
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.json",
        ];
        assert_eq!(wanted.small, small);
    }

    #[test]
    fn preferences_and_lacks() {
        let weights = |names: &[&'static str]| choose(names.iter().copied()).map(|w| w.weights);
        let both = [
            "config.json",
            "pytorch_model.bin",
            "model.safetensors.index.json",
        ];
        assert_eq!(weights(&both), Ok("model.safetensors.index.json"));
        assert_eq!(weights(&["model.safetensors"]), Err(Lack::Config));
        assert_eq!(
            weights(&["config.json", "adapter_model.safetensors"]),
            Err(Lack::Weights)
        );
        let foreign = weights(&["config.json", "flax_model.msgpack", "tf_model.h5"]);
        let files = "tf_model.h5, flax_model.msgpack".to_owned();
        assert_eq!(
            foreign,
            Err(Lack::Foreign {
                files,
                flag: "from_tf"
            })
        );
    }

    #[test]
    fn an_index_cannot_point_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join("index.json");
        let read = |text: &str| {
            std::fs::write(&index, text).unwrap();
            shards(&index)
        };
        let good = read(r#"{"weight_map": {"a": "s1", "b": "s2", "c": "s1"}}"#).unwrap();
        assert_eq!(good.into_iter().collect::<Vec<_>>(), ["s1", "s2"]);
        for bad in [
            r#"{"weight_map": {"a": "../s1"}}"#,
            r#"{"weight_map": {"a": "/s1"}}"#,
            r#"{"weight_map": {"a": ".."}}"#,
            r#"{"weight_map": {"a": 1}}"#,
            r#"{"weight_map": {}}"#,
            r#"{}"#,
            "{",
        ] {
            assert!(matches!(read(bad), Err(HubError::Index { .. })), "{bad}");
        }
    }
}
