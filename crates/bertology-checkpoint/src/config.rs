//! `config.json` as transformers 4.57 reads it: defaults of its classes, every option that changes
//! a result obeyed or refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bertology_file::shown;
use serde_json::{Map, Value};

use crate::arch::{Architecture, Family, Positions, Problem};
use crate::{Error, json};

/// The name of the config file in a model folder.
pub(crate) const CONFIG_FILE: &str = "config.json";

/// Neurons of the feed-forward block of each layer, in models that have lost some. No other program knows it.
pub(crate) const WIDTHS_KEY: &str = "intermediate_sizes";
/// What PEFT writes beside the weights of an adapter.
const ADAPTER_FILE: &str = "adapter_config.json";

/// Which head to put on the base model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OpenAs {
    /// The one for which the checkpoint was saved: `architectures` in `config.json`, or, where that
    /// is absent, what the tensors show.
    #[default]
    Declared,
    /// As [`OpenAs::Declared`] where that head is supported and the files have it, else as
    /// [`OpenAs::Encoder`]: for those who read nothing of the head.
    DeclaredOrEncoder,
    /// None: hidden states only.
    Encoder,
    /// A sequence classifier or regressor.
    SequenceClassification,
    /// The masked language model.
    MaskedLm,
    /// The causal language model.
    CausalLm,
    /// Next-sentence prediction.
    NextSentence,
    /// Masked language model and next-sentence prediction; of ELECTRA, which tokens were replaced.
    PreTraining,
    /// A classifier of tokens.
    TokenClassification,
    /// Start and end of an answer.
    QuestionAnswering,
}

/// A config file, its text kept for writing.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) path: PathBuf,
    pub(crate) raw: Map<String, Value>,
}

/// Sizes are held below this, so that products of two of them cannot overflow.
const LARGEST: u64 = u32::MAX as u64;

impl Config {
    /// Reads `config.json` of a model folder.
    ///
    /// # Errors
    /// If the folder or the file is absent, or the file is not a JSON object.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        if !bertology_file::is_folder(folder) {
            return Err(Error::NotAFolder {
                path: folder.into(),
            });
        }
        // transformers would load the adapter's base model from elsewhere, and the adapter on top of it.
        let adapter = folder.join(ADAPTER_FILE);
        if bertology_file::exists(&adapter) {
            return Err(Error::Adapter { path: adapter });
        }
        let path = folder.join(CONFIG_FILE);
        if !bertology_file::exists(&path) {
            return Err(Error::MissingConfig {
                path: folder.into(),
            });
        }
        let raw = json::read_object(&path)?;
        Ok(Self { path, raw })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every key of the file in its order, also those that nothing here reads.
    #[must_use]
    pub fn raw(&self) -> &Map<String, Value> {
        &self.raw
    }

    /// The class that the checkpoint was saved from: the first entry of `architectures`.
    #[must_use]
    pub fn declared_class(&self) -> Option<&str> {
        self.value("architectures")?.as_array()?.first()?.as_str()
    }

    /// Whether the language model's output layer shares the word embeddings.
    pub(crate) fn ties_embeddings(&self, architecture: &Architecture) -> Result<bool, Error> {
        let family = architecture.family;
        let tied = self.flag(
            "tie_word_embeddings",
            !matches!(family, Family::EuroBert | Family::Esmc),
        )?;
        // DeBERTa's other masked-LM head has no output layer, whatever the config says.
        Ok(tied || architecture.renamed_lm)
    }

    pub(crate) fn problem(&self, num_labels: usize) -> Result<Problem, Error> {
        let Some(value) = self.value("problem_type") else {
            return Ok(if num_labels == 1 {
                Problem::Regression
            } else {
                Problem::SingleLabel
            });
        };
        match value.as_str() {
            Some("regression") => Ok(Problem::Regression),
            Some("single_label_classification") => Ok(Problem::SingleLabel),
            Some("multi_label_classification") => Ok(Problem::MultiLabel),
            _ => Err(self.unsupported(
                "problem_type",
                value,
                "\"regression\", \"single_label_classification\" and \
                 \"multi_label_classification\" are",
            )),
        }
    }

    pub(crate) fn positions(&self) -> Result<Positions, Error> {
        let Some(value) = self.value("position_embedding_type") else {
            return Ok(Positions::Absolute);
        };
        match value.as_str() {
            Some("absolute") => Ok(Positions::Absolute),
            Some("relative_key") => Ok(Positions::RelativeKey),
            Some("relative_key_query") => Ok(Positions::RelativeKeyQuery),
            _ => Err(self.unsupported(
                "position_embedding_type",
                value,
                "\"absolute\", \"relative_key\" and \"relative_key_query\" are",
            )),
        }
    }

    pub(crate) fn norm_epsilon(&self, key: Option<&str>, default: f64) -> Result<f64, Error> {
        let Some((key, value)) = key.and_then(|key| Some((key, self.value(key)?))) else {
            return Ok(default);
        };
        value
            .as_f64()
            .filter(|epsilon| epsilon.is_finite() && *epsilon >= 0.0)
            .ok_or_else(|| self.wrong(key, format!("is {}, not a number ≥ 0", shown(value))))
    }

    pub(crate) fn pad_id(
        &self,
        default: Option<u32>,
        vocab_size: usize,
    ) -> Result<Option<u32>, Error> {
        let value = match self.raw.get("pad_token_id") {
            None => return Ok(default),
            Some(Value::Null) => return Ok(None),
            Some(value) => value,
        };
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.filter(|&id| (id as usize) < vocab_size)
            .map(Some)
            .ok_or_else(|| {
                self.wrong(
                    "pad_token_id",
                    format!(
                        "is {}, not a token id from 0 to {}",
                        shown(value),
                        vocab_size.saturating_sub(1)
                    ),
                )
            })
    }

    /// `id2label`, else `num_labels` (2 where both are absent) made-up names.
    pub(crate) fn labels(&self) -> Result<Vec<String>, Error> {
        /// Far above any classifier, far below what would exhaust memory.
        const MOST: usize = 1 << 20;
        let made_up = |id: usize| format!("LABEL_{id}");
        let Some(value) = self.value("id2label") else {
            let count = self.size("num_labels", 2)?;
            if count > MOST {
                return Err(self.wrong("num_labels", format!("is {count}, above {MOST}")));
            }
            return Ok((0..count).map(made_up).collect());
        };
        let Value::Object(map) = value else {
            return Err(self.wrong(
                "id2label",
                "is not an object from label ids to names".into(),
            ));
        };
        if map.is_empty() {
            return Err(self.wrong(
                "id2label",
                "is empty; a classifier has at least one label".into(),
            ));
        }
        let mut labels: Vec<Option<String>> = vec![None; map.len()];
        for (key, name) in map {
            let slot = key
                .trim()
                .parse::<usize>()
                .ok()
                .and_then(|id| labels.get_mut(id));
            let Some(slot) = slot else {
                return Err(self.wrong(
                    "id2label",
                    format!(
                        "has the key `{key}`; its {0} keys must be 0 to {1}",
                        map.len(),
                        map.len() - 1
                    ),
                ));
            };
            let name = name
                .as_str()
                .map_or_else(|| name.to_string(), str::to_owned);
            if slot.replace(name).is_some() {
                return Err(self.wrong("id2label", format!("has the id of key `{key}` twice")));
            }
        }
        Ok(labels
            .into_iter()
            .enumerate()
            .map(|(id, name)| name.unwrap_or_else(|| made_up(id)))
            .collect())
    }

    pub(crate) fn pruned_heads(
        &self,
        layers: usize,
        heads: usize,
    ) -> Result<BTreeMap<usize, BTreeSet<usize>>, Error> {
        const KEY: &str = "pruned_heads";
        let Some(value) = self.value(KEY) else {
            return Ok(BTreeMap::new());
        };
        let Value::Object(map) = value else {
            return Err(self.wrong(KEY, "is not an object from layers to lists of heads".into()));
        };
        let mut pruned: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for (key, list) in map {
            let layer = key
                .trim()
                .parse::<usize>()
                .ok()
                .filter(|&layer| layer < layers);
            let Some(layer) = layer else {
                return Err(self.wrong(
                    KEY,
                    format!("names layer `{key}`; the layers are 0 to {}", layers - 1),
                ));
            };
            let Value::Array(list) = list else {
                return Err(self.wrong(
                    KEY,
                    format!("has {} for layer {key}, not a list", shown(list)),
                ));
            };
            for head in list {
                let number = head.as_u64().filter(|&number| number < heads as u64);
                let Some(number) = number else {
                    return Err(self.wrong(
                        KEY,
                        format!(
                            "names head {} of layer {layer}; the heads are 0 to {}",
                            shown(head),
                            heads - 1
                        ),
                    ));
                };
                pruned.entry(layer).or_default().insert(number as usize);
            }
        }
        Ok(pruned)
    }

    /// Layers that have lost neurons, by [`WIDTHS_KEY`]: one number for every layer.
    pub(crate) fn narrowed(
        &self,
        layers: usize,
        neurons: usize,
    ) -> Result<BTreeMap<usize, usize>, Error> {
        let Some(value) = self.value(WIDTHS_KEY) else {
            return Ok(BTreeMap::new());
        };
        let list = value.as_array().filter(|list| list.len() == layers);
        let Some(list) = list else {
            return Err(self.wrong(
                WIDTHS_KEY,
                format!("is not a list of {layers} numbers, one for each layer"),
            ));
        };
        let mut narrowed = BTreeMap::new();
        for (layer, width) in list.iter().enumerate() {
            let known = width
                .as_u64()
                .and_then(|width| usize::try_from(width).ok())
                .filter(|width| (1..=neurons).contains(width));
            let Some(width) = known else {
                return Err(self.wrong(
                    WIDTHS_KEY,
                    format!(
                        "has {} for layer {layer}; it may be 1 to {neurons}",
                        shown(width)
                    ),
                ));
            };
            if width < neurons {
                narrowed.insert(layer, width);
            }
        }
        Ok(narrowed)
    }

    /// [`Self::narrowed`] where layers share their weights.
    pub(crate) fn no_narrowed(&self) -> Result<BTreeMap<usize, usize>, Error> {
        match self.value(WIDTHS_KEY) {
            None => Ok(BTreeMap::new()),
            Some(_) => Err(self.wrong(
                WIDTHS_KEY,
                "is given, but the layers of this model have their weights in common".into(),
            )),
        }
    }

    /// A key that is present and not null.
    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        self.raw.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn size(&self, key: &str, default: usize) -> Result<usize, Error> {
        let Some(value) = self.value(key) else {
            return Ok(default);
        };
        value
            .as_u64()
            .filter(|&size| size > 0 && size <= LARGEST)
            .and_then(|size| usize::try_from(size).ok())
            .ok_or_else(|| {
                self.wrong(
                    key,
                    format!(
                        "is {}, not a whole number from 1 to {LARGEST}",
                        shown(value)
                    ),
                )
            })
    }

    pub(crate) fn flag(&self, key: &str, default: bool) -> Result<bool, Error> {
        match self.value(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(value) => {
                Err(self.wrong(key, format!("is {}, neither true nor false", shown(value))))
            }
        }
    }

    pub(crate) fn wrong(&self, key: &str, problem: String) -> Error {
        Error::Config {
            path: self.path.clone(),
            key: key.into(),
            problem,
        }
    }

    pub(crate) fn unsupported(&self, key: &str, value: &Value, supported: &str) -> Error {
        let value = bertology_file::shown(value);
        Error::UnsupportedOption {
            path: self.path.clone(),
            key: key.into(),
            value: if value.len() > 80 {
                "set".into()
            } else {
                value
            },
            supported: supported.into(),
        }
    }
}
