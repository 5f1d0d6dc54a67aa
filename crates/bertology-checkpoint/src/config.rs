//! `config.json` as transformers 4.57 reads it: defaults of its classes, every option that changes
//! a result obeyed or refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::arch::{Activation, Architecture, Family, PositionIds, Positions, Problem, TaskHead};
use crate::{Error, json};

/// The name of the config file in a model folder.
pub(crate) const CONFIG_FILE: &str = "config.json";

/// Which head to put on the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OpenAs {
    /// The one for which the checkpoint was saved: `architectures` in `config.json`, or, where that
    /// is absent, what the tensors show.
    #[default]
    Declared,
    /// None: hidden states only.
    Encoder,
    /// A sequence classifier or regressor.
    SequenceClassification,
    /// The masked language model.
    MaskedLm,
    /// Next-sentence prediction.
    NextSentence,
    /// Masked language model and next-sentence prediction.
    PreTraining,
}

/// A config file, its text kept for writing.
#[derive(Debug, Clone)]
pub struct Config {
    path: PathBuf,
    raw: Map<String, Value>,
}

/// Sizes are held below this, so that products of two of them cannot overflow.
const LARGEST: u64 = u32::MAX as u64;

impl Config {
    /// Reads `config.json` of a model folder.
    ///
    /// # Errors
    /// If the folder or the file is absent, or the file is not a JSON object.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        if !folder.is_dir() {
            return Err(Error::NotAFolder {
                path: folder.into(),
            });
        }
        let path = folder.join(CONFIG_FILE);
        if !path.is_file() {
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

    /// Builds the description; `names` are the tensor names of the checkpoint, consulted only for
    /// what the config leaves out. [`Architecture::pooler`] says here whether the head *needs* a
    /// pooler; what the file holds is settled when the tensors are matched.
    pub(crate) fn architecture(
        &self,
        names: &[&str],
        open_as: OpenAs,
    ) -> Result<Architecture, Error> {
        let family = self.family(names)?;
        self.refuse_other_computations()?;
        let hidden_size = self.size("hidden_size", 768)?;
        let num_heads = self.size("num_attention_heads", 12)?;
        if hidden_size % num_heads != 0 {
            return Err(self.wrong(
                "hidden_size",
                format!("is {hidden_size}, not a multiple of num_attention_heads = {num_heads}"),
            ));
        }
        if let Some(value) = self.value("embedding_size")
            && value.as_u64() != Some(hidden_size as u64)
        {
            return Err(self.unsupported(
                "embedding_size",
                value,
                "factorised embeddings are not; it must equal hidden_size",
            ));
        }
        let vocab_size = self.size(
            "vocab_size",
            if family == Family::Bert {
                30_522
            } else {
                50_265
            },
        )?;
        let max_positions = self.size("max_position_embeddings", 512)?;
        let num_layers = self.size("num_hidden_layers", 12)?;
        let pad_id = self.pad_id(family, vocab_size)?;
        let position_ids = match (family, pad_id) {
            (Family::Bert, _) => PositionIds::FromZero,
            (Family::Roberta, Some(pad_id)) => PositionIds::AfterPadding { pad_id },
            (Family::Roberta, None) => {
                return Err(self.wrong(
                    "pad_token_id",
                    "is null, but RoBERTa counts positions from the padding token's id".into(),
                ));
            }
        };
        let activation = self.activation()?;
        let labels = self.labels()?;
        let head = self.head(family, names, open_as, labels.len())?;
        let pooler = match head {
            TaskHead::None | TaskHead::MaskedLm => false,
            TaskHead::SequenceClassification { .. }
            | TaskHead::NextSentence
            | TaskHead::PreTraining => true,
        };
        let architecture = Architecture {
            family,
            vocab_size,
            hidden_size,
            num_layers,
            num_heads,
            intermediate_size: self.size("intermediate_size", 3072)?,
            max_positions,
            num_segments: self.size("type_vocab_size", 2)?,
            positions: self.positions()?,
            position_ids,
            activation,
            lm_activation: match family {
                Family::Bert => activation,
                Family::Roberta => Activation::Gelu,
            },
            norm_epsilon: self.norm_epsilon()?,
            pad_id,
            labels: match head {
                TaskHead::SequenceClassification { .. } => labels,
                _ => Vec::new(),
            },
            head,
            pooler,
            pruned_heads: self.pruned_heads(num_layers, num_heads)?,
        };
        if architecture.max_tokens() == 0 {
            return Err(self.wrong(
                "max_position_embeddings",
                format!("is {max_positions}, which leaves no position for any token"),
            ));
        }
        Ok(architecture)
    }

    /// Whether the masked-LM decoder shares the word embeddings.
    pub(crate) fn ties_embeddings(&self) -> Result<bool, Error> {
        self.flag("tie_word_embeddings", true)
    }

    fn family(&self, names: &[&str]) -> Result<Family, Error> {
        const SUPPORTED: &str = "only \"bert\" and \"roberta\" are";
        if let Some(value) = self.value("model_type") {
            return match value.as_str() {
                Some("bert") => Ok(Family::Bert),
                Some("roberta") => Ok(Family::Roberta),
                _ => Err(self.unsupported("model_type", value, SUPPORTED)),
            };
        }
        // Files from before transformers 2.3 name no type.
        match self.declared_class() {
            Some(class) if class.starts_with("Bert") => return Ok(Family::Bert),
            Some(class) if class.starts_with("Roberta") => return Ok(Family::Roberta),
            Some(class) => {
                return Err(self.unsupported("architectures", &class.into(), SUPPORTED));
            }
            None => {}
        }
        let any = |prefix: &str| names.iter().any(|name| name.starts_with(prefix));
        if any("bert.") {
            Ok(Family::Bert)
        } else if any("roberta.") {
            Ok(Family::Roberta)
        } else {
            Err(self.wrong(
                "model_type",
                "is missing, and neither `architectures` nor the tensor names tell the family; add \
                 \"model_type\": \"bert\" or \"roberta\""
                    .into(),
            ))
        }
    }

    /// Options of the two classes that turn the model into another one.
    fn refuse_other_computations(&self) -> Result<(), Error> {
        for key in ["is_decoder", "add_cross_attention", "is_encoder_decoder"] {
            if self.flag(key, false)? {
                return Err(self.unsupported(
                    key,
                    &Value::Bool(true),
                    "only encoders are, in which every token sees every other",
                ));
            }
        }
        if let Some(value) = self.value("quantization_config") {
            return Err(self.unsupported(
                "quantization_config",
                value,
                "save the model in f32, f16 or bf16",
            ));
        }
        Ok(())
    }

    fn head(
        &self,
        family: Family,
        names: &[&str],
        open_as: OpenAs,
        num_labels: usize,
    ) -> Result<TaskHead, Error> {
        let open_as = match open_as {
            OpenAs::Declared => match self.declared_class() {
                Some(class) => self.head_of_class(family, class)?,
                None => self.head_of_tensors(family, names)?,
            },
            asked => asked,
        };
        let no_such = |task: &str| {
            self.unsupported(
                "model_type",
                &"roberta".into(),
                &format!("with {task}, only BERT is"),
            )
        };
        Ok(match (open_as, family) {
            (OpenAs::Encoder | OpenAs::Declared, _) => TaskHead::None,
            (OpenAs::SequenceClassification, _) => TaskHead::SequenceClassification {
                num_labels,
                problem: self.problem(num_labels)?,
            },
            (OpenAs::MaskedLm, _) => TaskHead::MaskedLm,
            (OpenAs::NextSentence, Family::Bert) => TaskHead::NextSentence,
            (OpenAs::PreTraining, Family::Bert) => TaskHead::PreTraining,
            (OpenAs::NextSentence | OpenAs::PreTraining, Family::Roberta) => {
                return Err(no_such("next-sentence prediction"));
            }
        })
    }

    fn head_of_class(&self, family: Family, class: &str) -> Result<OpenAs, Error> {
        let prefix = match family {
            Family::Bert => "Bert",
            Family::Roberta => "Roberta",
        };
        let unsupported = || Error::UnsupportedTask {
            path: self.path.clone(),
            architecture: class.to_owned(),
        };
        match (class.strip_prefix(prefix).ok_or_else(unsupported)?, family) {
            ("Model", _) => Ok(OpenAs::Encoder),
            ("ForSequenceClassification", _) => Ok(OpenAs::SequenceClassification),
            ("ForMaskedLM", _) => Ok(OpenAs::MaskedLm),
            ("ForNextSentencePrediction", Family::Bert) => Ok(OpenAs::NextSentence),
            ("ForPreTraining", Family::Bert) => Ok(OpenAs::PreTraining),
            _ => Err(unsupported()),
        }
    }

    /// Old files without `architectures`: the head's tensors tell.
    fn head_of_tensors(&self, family: Family, names: &[&str]) -> Result<OpenAs, Error> {
        let any = |prefix: &str| names.iter().any(|name| name.starts_with(prefix));
        let ambiguous = |evidence: &str| {
            Err(Error::AmbiguousTask {
                path: self.path.clone(),
                evidence: evidence.to_owned(),
            })
        };
        if any("qa_outputs.") {
            return ambiguous("`qa_outputs`, of a question-answering model");
        }
        match family {
            Family::Bert => {
                let pooler = any("bert.pooler.") || any("pooler.");
                match (any("cls.predictions."), any("cls.seq_relationship.")) {
                    _ if any("classifier.") && pooler => Ok(OpenAs::SequenceClassification),
                    _ if any("classifier.") => {
                        ambiguous("`classifier` without a pooler, as a token classifier has it")
                    }
                    (true, true) => Ok(OpenAs::PreTraining),
                    (true, false) => Ok(OpenAs::MaskedLm),
                    (false, true) => Ok(OpenAs::NextSentence),
                    (false, false) => Ok(OpenAs::Encoder),
                }
            }
            Family::Roberta if any("classifier.out_proj.") => Ok(OpenAs::SequenceClassification),
            Family::Roberta if any("classifier.") => {
                ambiguous("`classifier` without `out_proj`, as a token classifier has it")
            }
            Family::Roberta if any("lm_head.") => Ok(OpenAs::MaskedLm),
            Family::Roberta => Ok(OpenAs::Encoder),
        }
    }

    fn problem(&self, num_labels: usize) -> Result<Problem, Error> {
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

    fn positions(&self) -> Result<Positions, Error> {
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

    fn activation(&self) -> Result<Activation, Error> {
        let Some(value) = self.value("hidden_act") else {
            return Ok(Activation::Gelu);
        };
        match value.as_str() {
            Some("gelu" | "gelu_python") => Ok(Activation::Gelu),
            Some("gelu_new" | "gelu_pytorch_tanh" | "gelu_fast") => Ok(Activation::GeluTanh),
            Some("relu") => Ok(Activation::Relu),
            Some("silu" | "swish") => Ok(Activation::Silu),
            Some("quick_gelu") => Ok(Activation::QuickGelu),
            Some("tanh") => Ok(Activation::Tanh),
            _ => Err(self.unsupported(
                "hidden_act",
                value,
                "gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu, silu, swish, quick_gelu and \
                 tanh are",
            )),
        }
    }

    fn norm_epsilon(&self) -> Result<f64, Error> {
        let Some(value) = self.value("layer_norm_eps") else {
            return Ok(1e-12);
        };
        value
            .as_f64()
            .filter(|epsilon| epsilon.is_finite() && *epsilon >= 0.0)
            .ok_or_else(|| self.wrong("layer_norm_eps", format!("is {value}, not a number ≥ 0")))
    }

    fn pad_id(&self, family: Family, vocab_size: usize) -> Result<Option<u32>, Error> {
        let value = match self.raw.get("pad_token_id") {
            None => return Ok(Some(if family == Family::Bert { 0 } else { 1 })),
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
                        "is {value}, not a token id from 0 to {}",
                        vocab_size.saturating_sub(1)
                    ),
                )
            })
    }

    /// `id2label`, else `num_labels` (2 where both are absent) made-up names.
    fn labels(&self) -> Result<Vec<String>, Error> {
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

    fn pruned_heads(
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
                return Err(self.wrong(KEY, format!("has {list} for layer {key}, not a list")));
            };
            for head in list {
                let number = head.as_u64().filter(|&number| number < heads as u64);
                let Some(number) = number else {
                    return Err(self.wrong(
                        KEY,
                        format!(
                            "names head {head} of layer {layer}; the heads are 0 to {}",
                            heads - 1
                        ),
                    ));
                };
                pruned.entry(layer).or_default().insert(number as usize);
            }
        }
        Ok(pruned)
    }

    /// A key that is present and not null.
    fn value(&self, key: &str) -> Option<&Value> {
        self.raw.get(key).filter(|value| !value.is_null())
    }

    fn size(&self, key: &str, default: usize) -> Result<usize, Error> {
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
                    format!("is {value}, not a whole number from 1 to {LARGEST}"),
                )
            })
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool, Error> {
        match self.value(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(value) => Err(self.wrong(key, format!("is {value}, neither true nor false"))),
        }
    }

    fn wrong(&self, key: &str, problem: String) -> Error {
        Error::Config {
            path: self.path.clone(),
            key: key.into(),
            problem,
        }
    }

    fn unsupported(&self, key: &str, value: &Value, supported: &str) -> Error {
        let value = value.to_string();
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
