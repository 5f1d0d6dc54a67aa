//! A checkpoint with fewer tokens: which tensors have a row for each, and which numbers of the configs are ids.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::Error;
use crate::arch::TaskHead;
use crate::checkpoint::Checkpoint;
use crate::json::read_object;
use crate::names::{Meaning, Names};
use crate::parameter::{Affine, Parameter};
use crate::tensors::Tensor;

/// What generation is steered by, where it has a file of its own.
pub(crate) const GENERATION: &str = "generation_config.json";

/// The tokens that stay when a checkpoint is written anew, and the files of the tokenizer that knows them alone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TokenCut {
    /// Rows of the token embedding that stay, ascending; a row's new number is its place here.
    pub rows: Vec<u32>,
    /// The tokenizer's files by name, in the place of the source's.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl TokenCut {
    fn place(&self, old: u64) -> Option<usize> {
        self.rows.binary_search(&u32::try_from(old).ok()?).ok()
    }

    pub(crate) fn check(&self, vocab_size: usize) -> Result<(), Error> {
        let ascending = self.rows.windows(2).all(|pair| pair[0] < pair[1]);
        let last = self.rows.last();
        match last.filter(|last| ascending && (**last as usize) < vocab_size) {
            Some(_) => Ok(()),
            None => Err(Error::TokenRows { vocab_size }),
        }
    }

    /// The rows that stay of a tensor that has one for each token.
    pub(crate) fn gather<'t>(&self, tensor: &'t Tensor) -> Cow<'t, [u8]> {
        let inner: usize = tensor.shape().iter().skip(1).product();
        let row = inner * tensor.dtype().bitsize() / 8;
        let mut bytes = Vec::with_capacity(row * self.rows.len());
        for at in &self.rows {
            let start = *at as usize * row;
            let found = tensor.bytes().get(start..start + row);
            bytes.extend_from_slice(found.unwrap_or_default());
        }
        bytes.into()
    }

    /// The config of so many tokens, whose ids are new ones.
    pub(crate) fn config(&self, checkpoint: &Checkpoint, config: &mut Map<String, Value>) {
        /// Of code that makes more rows of a number that is no multiple of this one.
        const MULTIPLE: &str = "pad_vocab_size_multiple";
        self.renumber(config);
        config.insert("vocab_size".into(), json!(self.rows.len()));
        if config.contains_key(MULTIPLE) {
            config.insert(MULTIPLE.into(), json!(1));
        }
        // Where the config is silent, the class says which row is padding: not the same any longer.
        if let Some(old) = checkpoint.architecture().pad_id
            && !config.contains_key("pad_token_id")
            && let Some(place) = self
                .place(old.into())
                .filter(|place| *place != old as usize)
        {
            config.insert("pad_token_id".into(), json!(place));
        }
    }

    /// New ids in the place of old ones; what names no row that stays is left as it is.
    pub(crate) fn renumber(&self, config: &mut Map<String, Value>) {
        each_id(config, &mut |id| {
            if let Some(place) = id.as_u64().and_then(|old| self.place(old)) {
                *id = json!(place);
            }
        });
    }
}

/// Every number of a config that is a token's id.
fn each_id(object: &mut Map<String, Value>, change: &mut dyn FnMut(&mut Value)) {
    const LISTS: [&str; 3] = ["suppress_tokens", "begin_suppress_tokens", "bad_words_ids"];
    fn numbers(value: &mut Value, change: &mut dyn FnMut(&mut Value)) {
        match value {
            Value::Array(list) => list.iter_mut().for_each(|value| numbers(value, change)),
            Value::Number(_) => change(value),
            _ => {}
        }
    }
    for (key, value) in object {
        let names = key.ends_with("_token_id") || key.ends_with("_token_ids");
        if names || LISTS.contains(&key.as_str()) {
            numbers(value, change);
        } else if let Value::Object(inner) = value {
            each_id(inner, change);
        }
    }
}

impl Checkpoint {
    /// Rows of the token embedding that `config.json` and `generation_config.json` name by their numbers, the padding's
    /// included: they stay whatever else goes.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn named_tokens(&self) -> Result<BTreeSet<u32>, Error> {
        let rows = self.architecture().vocab_size;
        let mut named: BTreeSet<u32> = self.architecture().pad_id.into_iter().collect();
        let mut configs = vec![self.config().raw().clone()];
        configs.extend(generation(self.folder())?);
        for config in &mut configs {
            each_id(config, &mut |id| {
                named.extend(id.as_u64().and_then(|id| u32::try_from(id).ok()));
            });
        }
        named.retain(|id| (*id as usize) < rows);
        Ok(named)
    }

    /// Names of the tensors that have a row for each token, those of heads that are not opened included.
    pub(crate) fn tensors_of_tokens(&self) -> BTreeSet<&str> {
        let names: Vec<&str> = self.tensors().iter().map(Tensor::name).collect();
        let mut architecture = self.architecture().clone();
        let prefix = architecture.family.table().prefix_in(&names);
        let mut found: BTreeSet<&str> = self
            .parameters()
            .filter(|(parameter, _)| parameter.has_row_for_each_token())
            .map(|(_, tensor)| tensor.name())
            .collect();
        // What another head reads travels with the checkpoint, and has to fit it.
        for head in [TaskHead::MaskedLm, TaskHead::CausalLm] {
            architecture.head = head;
            architecture.lm_bias = true;
            let of = Names {
                architecture: &architecture,
                prefix,
            };
            let tensors = self.tensors().iter();
            let rows = architecture.vocab_size;
            let fitting = tensors.filter(|tensor| tensor.shape().first() == Some(&rows));
            let named = fitting.filter(|tensor| match of.meaning(tensor.name()) {
                Meaning::Use(parameter) => parameter.has_row_for_each_token(),
                Meaning::TiedDecoder(_) => true,
                Meaning::Ignore(_) | Meaning::Unknown => false,
            });
            found.extend(named.map(Tensor::name));
        }
        found
    }
}

impl Parameter {
    /// Whether its tensor has a row for each token along its first axis: what a smaller vocabulary changes, whatever the
    /// family. A test holds this to the shapes that are [expected](crate::expected).
    pub(crate) fn has_row_for_each_token(self) -> bool {
        matches!(
            self,
            Self::WordEmbeddings | Self::LmDecoder(Affine::Weight | Affine::Bias)
        )
    }
}

/// `generation_config.json`, where the folder has one.
pub(crate) fn generation(folder: &Path) -> Result<Option<Map<String, Value>>, Error> {
    let path = folder.join(GENERATION);
    bertology_file::exists(&path)
        .then(|| read_object(&path))
        .transpose()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::OpenOptions;
    use crate::expected::expected;

    /// The rule of [`Parameter::has_row_for_each_token`] against the shapes of every family: they change with the vocabulary.
    #[test]
    fn tensors_with_a_row_for_each_token_are_those_whose_shapes_follow_the_vocabulary() {
        let mut seen = 0;
        for name in bertology_testkit::golden_folders("engine") {
            let folder = bertology_testkit::golden(&format!("engine/{name}"));
            let Ok(checkpoint) = Checkpoint::open(&folder, &OpenOptions::new()) else {
                continue;
            };
            let mut larger = checkpoint.architecture().clone();
            larger.vocab_size += 1;
            let shapes = expected(checkpoint.architecture());
            for ((parameter, shape), (_, other)) in shapes.iter().zip(expected(&larger)) {
                let follows = shape[0] + 1 == other[0] && shape[1..] == other[1..];
                assert!(follows || *shape == other, "{name}: {parameter}");
                assert_eq!(
                    follows,
                    parameter.has_row_for_each_token(),
                    "{name}: {parameter}"
                );
            }
            // No golden folder has another axis of as many.
            let rows = checkpoint.architecture().vocab_size;
            let by_size = checkpoint.tensors().iter();
            let by_size = by_size.filter(|tensor| tensor.shape().first() == Some(&rows));
            let by_size: BTreeSet<&str> = by_size.map(Tensor::name).collect();
            assert_eq!(checkpoint.tensors_of_tokens(), by_size, "{name}");
            // The same where another head is opened.
            if let Ok(bare) =
                Checkpoint::open(&folder, &OpenOptions::new().open_as(crate::OpenAs::Encoder))
            {
                assert_eq!(bare.tensors_of_tokens(), by_size, "{name}, bare");
            }
            seen += 1;
        }
        assert!(seen > 90, "{seen}");
    }

    #[test]
    fn rows_are_named_once_in_order_and_within_the_vocabulary() {
        let cut = |rows: &[u32]| TokenCut {
            rows: rows.to_vec(),
            ..TokenCut::default()
        };
        cut(&[0, 2, 5]).check(6).unwrap();
        for wrong in [&[][..], &[0, 0], &[2, 1], &[0, 6]] {
            let error = cut(wrong).check(6).unwrap_err();
            assert!(error.to_string().ends_with("from 0 to 5"), "{error}");
        }
    }

    #[test]
    fn ids_in_configs_are_found_wherever_they_stand() {
        let mut config = json!({
            "pad_token_id": 1, "eos_token_id": [2, 9], "bos_token_id": null, "mask_token_id": -1, "sep_token_id": 50_000,
            "hidden_size": 2, "bad_words_ids": [[4], [2, 4]], "decoder": {"decoder_start_token_id": 4}, "token_id": "2",
        });
        let tokens = TokenCut {
            rows: vec![1, 2, 4, 9],
            ..TokenCut::default()
        };
        tokens.renumber(config.as_object_mut().unwrap());
        assert_eq!(
            config,
            json!({
                "pad_token_id": 0, "eos_token_id": [1, 3], "bos_token_id": null, "mask_token_id": -1, "sep_token_id": 50_000,
                "hidden_size": 2, "bad_words_ids": [[2], [1, 2]], "decoder": {"decoder_start_token_id": 2}, "token_id": "2",
            })
        );
    }

    /// Where the config is silent, the class has a padding of its own, and positions count from it.
    #[test]
    fn what_the_class_says_of_padding_is_written_where_it_no_longer_holds() {
        let folder = tempfile::tempdir().unwrap();
        let (source, out) = (folder.path().join("source"), folder.path().join("out"));
        let golden = bertology_testkit::golden("engine/roberta-bare");
        std::fs::create_dir(&source).unwrap();
        for name in ["config.json", "model.safetensors"] {
            std::fs::copy(golden.join(name), source.join(name)).unwrap();
        }
        let mut config = read_object(&source.join("config.json")).unwrap();
        config.remove("pad_token_id");
        config.insert("pad_vocab_size_multiple".into(), json!(64));
        crate::write::write_json(&source.join("config.json"), &config).unwrap();
        std::fs::write(source.join(GENERATION), r#"{"eos_token_id": 7}"#).unwrap();
        let checkpoint = Checkpoint::open(&source, &OpenOptions::new()).unwrap();
        assert_eq!(checkpoint.architecture().pad_id, Some(1));
        let named = checkpoint.named_tokens().unwrap();
        assert!(named.contains(&1) && named.contains(&7), "{named:?}");
        let tokens = TokenCut {
            rows: (1..60).filter(|row| *row != 3).collect(),
            ..TokenCut::default()
        };
        let options = crate::WriteOptions::new(crate::Export::Pruned);
        let cut = crate::Cut::default().tokens(tokens);
        crate::write_cut(&checkpoint, &cut, &out, &options).unwrap();
        let written = read_object(&out.join("config.json")).unwrap();
        assert_eq!(written["pad_token_id"], 0);
        assert_eq!(written["pad_vocab_size_multiple"], 1);
        let smaller = Checkpoint::open(&out, &OpenOptions::new()).unwrap();
        assert_eq!(smaller.architecture().pad_id, Some(0));
        assert_eq!(generation(&out).unwrap().unwrap()["eos_token_id"], 5);
    }
}
