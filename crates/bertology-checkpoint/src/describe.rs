//! From `config.json` to the description of a model: which class it is, and what that class reads.

use serde_json::Value;

use crate::Error;
use crate::arch::{
    Activation, Architecture, Family, FeedForward, NormKind, NormPlacement, Pooling, PositionIds,
    Positions, ScoreBias, ScoreScale, Segments, TaskHead, TokenTransform,
};
use crate::config::{Config, OpenAs};

mod albert;
mod classes;
mod deberta;
mod esm;
mod eurobert;
mod foreign;
mod gte;
mod heads;
mod jinabert;
mod modernbert;
mod nomicbert;

use classes::{ConfigClass, FAMILIES};

impl Family {
    /// The class of transformers that has this head.
    pub(crate) fn class(self, head: &TaskHead) -> String {
        let task = match head {
            TaskHead::None => "Model",
            TaskHead::SequenceClassification { .. } => "ForSequenceClassification",
            TaskHead::MaskedLm => "ForMaskedLM",
            TaskHead::CausalLm => "LMHeadModel",
            TaskHead::NextSentence => "ForNextSentencePrediction",
            TaskHead::PreTraining | TaskHead::ReplacedTokens => "ForPreTraining",
            TaskHead::TokenClassification { .. } => "ForTokenClassification",
            TaskHead::QuestionAnswering => "ForQuestionAnswering",
        };
        format!("{}{task}", self.config().class_prefix)
    }

    /// Whether this class is the family's model without a task head.
    pub(crate) fn is_base_class(self, class: &str) -> bool {
        class.strip_prefix(self.config().class_prefix) == Some("Model")
    }
}

/// The `model_type`s that can be read, as messages list them.
fn supported() -> String {
    FAMILIES
        .map(|family| format!("\"{}\"", family.config().model_type))
        .join(", ")
}

impl Config {
    /// Builds the description; `names` are the tensor names of the checkpoint, consulted only for
    /// what the config leaves out. [`Architecture::pooler`] says here whether the head *needs* a
    /// pooler, [`Architecture::contact_head`] nothing; what the file holds is settled when the tensors are matched.
    pub(crate) fn architecture(
        &self,
        names: &[&str],
        open_as: OpenAs,
    ) -> Result<Architecture, Error> {
        let family = self.family(names)?;
        let class = family.config();
        self.refuse_other_computations(family)?;
        let hidden_size = self.one_of(class.hidden_size, class.default_hidden_size)?;
        let num_heads = self.one_of(class.num_heads, class.default_heads)?;
        if hidden_size % num_heads != 0 {
            return Err(self.wrong(
                class.hidden_size[0],
                format!(
                    "is {hidden_size}, not a multiple of {} = {num_heads}",
                    class.num_heads[0]
                ),
            ));
        }
        let embedding_size = match class.embedding_size {
            Some(default) => self.size("embedding_size", default)?,
            None => hidden_size,
        };
        if class.embedding_size.is_none()
            && let Some(value) = self.value("embedding_size")
            && value.as_u64() != Some(hidden_size as u64)
        {
            return Err(self.unsupported(
                "embedding_size",
                value,
                "factorised embeddings are not; it must equal hidden_size",
            ));
        }
        let nomic = family == Family::NomicBert;
        let mut vocab_size = self.size("vocab_size", class.vocab_size)?;
        if nomic && self.nomic_is_older() {
            let multiple = self.size("pad_vocab_size_multiple", 1)?;
            vocab_size = vocab_size.div_ceil(multiple).saturating_mul(multiple);
        }
        // Its first files name how many positions a text may have, those of transformers 5 how many it had in training.
        let of_positions = match self.value(class.max_positions[0]) {
            None if nomic => &["n_positions"],
            _ => class.max_positions,
        };
        let max_positions = self.one_of(of_positions, class.default_max_positions)?;
        let num_layers = self.one_of(class.num_layers, class.default_layers)?;
        let shared_layers = match family {
            Family::Albert => Some(self.shared_layers(num_layers)?),
            _ => None,
        };
        let num_layers = shared_layers.map_or(num_layers, |shared| num_layers * shared.inner);
        let pad_id = self.pad_id(class.pad_id, vocab_size)?;
        let positions = match family {
            Family::DistilBert | Family::MpNet | Family::OpenAiGpt | Family::Gpt2 => {
                Positions::Absolute
            }
            Family::ModernBert => Positions::Rotary(self.rotary(hidden_size / num_heads)?),
            Family::EuroBert | Family::Esmc => {
                self.check_own_heads(num_heads, hidden_size / num_heads)?;
                Positions::Rotary(self.one_rotary(hidden_size / num_heads, 10_000.0)?)
            }
            Family::NomicBert => {
                self.check_own_heads(num_heads, hidden_size / num_heads)?;
                Positions::Rotary(self.nomic_rotary(hidden_size / num_heads)?)
            }
            Family::Gte => {
                self.check_own_heads(num_heads, hidden_size / num_heads)?;
                Positions::Rotary(self.one_rotary(hidden_size / num_heads, 160_000.0)?)
            }
            Family::GteNew => {
                self.refuse_other_gte()?;
                Positions::Rotary(self.gte_rotary(hidden_size / num_heads)?)
            }
            Family::DebertaV2 => {
                self.refuse_other_deberta(hidden_size, hidden_size / num_heads)?;
                self.deberta_positions()?
            }
            Family::Albert => self.albert_positions()?,
            Family::JinaBert => self.jina_positions()?,
            Family::Esm => self.esm_positions(hidden_size / num_heads)?,
            _ => self.positions()?,
        };
        let counts = class.counts_from_padding && !matches!(positions, Positions::Rotary(_));
        let position_ids = match (counts, pad_id) {
            (true, Some(pad_id)) => PositionIds::AfterPadding { pad_id },
            (true, None) => {
                return Err(self.wrong(
                    "pad_token_id",
                    "is null, but this family counts positions from the padding token's id".into(),
                ));
            }
            (false, _) => PositionIds::FromZero,
        };
        let modern = family == Family::ModernBert;
        let activation = self.activation(family)?;
        // ModernBERT has keys of its own for all heads, and its biases are options.
        let of_heads = match family {
            Family::ModernBert => {
                self.named_activation("classifier_activation", Activation::Gelu)?
            }
            Family::JinaBert => self.named_activation("hidden_act", Activation::Gelu)?,
            _ => activation,
        };
        let biased = |key: &str| match (family, key) {
            (Family::NomicBert, "attention_bias") => self.nomic_biases(true),
            (Family::NomicBert, "mlp_bias") => self.nomic_biases(false),
            (Family::ModernBert, _)
            | (Family::EuroBert | Family::Esmc, "attention_bias" | "mlp_bias") => {
                self.flag(key, false)
            }
            (Family::EuroBert, "norm_bias")
            | (Family::Gte | Family::GteNew | Family::JinaBert, "mlp_bias") => Ok(false),
            _ => Ok(true),
        };
        let labels = self.labels()?;
        let head = self.head(family, names, open_as, labels.len())?;
        let causal = family.config().causal;
        let (inner, default_inner) = class.intermediate_size;
        let default_inner = default_inner.unwrap_or_else(|| hidden_size.saturating_mul(4));
        let intermediate_size = self.one_of(inner, default_inner)?;
        let mut architecture = Architecture {
            family,
            vocab_size,
            embedding_size,
            embedding_projection: family == Family::Albert || embedding_size != hidden_size,
            hidden_size,
            num_layers,
            shared_layers,
            num_heads,
            intermediate_size,
            narrowed: match shared_layers {
                None => self.narrowed(num_layers, intermediate_size)?,
                Some(_) => self.no_narrowed()?,
            },
            max_positions,
            segments: match family {
                Family::DistilBert
                | Family::MpNet
                | Family::ModernBert
                | Family::Esm
                | Family::Esmc
                | Family::EuroBert => Segments::None,
                _ if causal => Segments::Words,
                Family::NomicBert => self.segments_or_none(2)?,
                Family::Gte | Family::GteNew => self.segments_or_none(1)?,
                Family::DebertaV2 => self.segments_or_none(0)?,
                _ => Segments::Table(self.size("type_vocab_size", 2)?),
            },
            token_dropout: match family {
                Family::Esm => self.token_dropout(vocab_size)?,
                _ => None,
            },
            embedding_norm: match family {
                Family::Esm => self.flag("emb_layer_norm_before", false)?,
                Family::EuroBert | Family::Esmc => false,
                _ => !causal,
            },
            norm: match family {
                Family::Gpt2
                | Family::ModernBert
                | Family::Esm
                | Family::Esmc
                | Family::EuroBert => NormPlacement::Pre,
                _ => NormPlacement::Post,
            },
            causal,
            score_scale: self.score_scale(family)?,
            score_bias: match family {
                Family::MpNet => ScoreBias::Buckets,
                Family::JinaBert => ScoreBias::Slopes,
                _ => ScoreBias::None,
            },
            pooling: match family {
                Family::ModernBert => self.classifier_pooling()?,
                Family::EuroBert => self.eurobert_pooling()?,
                _ if causal => Pooling::Last,
                _ => Pooling::First,
            },
            positions,
            query_key_norm: family == Family::Esmc,
            disentangled: match family {
                Family::DebertaV2 => self.disentangled(max_positions)?,
                _ => None,
            },
            windows: modern.then(|| self.windows(num_layers)).transpose()?,
            feed_forward: match family {
                Family::ModernBert
                | Family::EuroBert
                | Family::Esmc
                | Family::NomicBert
                | Family::Gte
                | Family::GteNew
                | Family::JinaBert => FeedForward::Gated,
                _ => FeedForward::Plain,
            },
            norm_kind: match family {
                Family::EuroBert => NormKind::RootMeanSquare,
                _ => NormKind::Layer,
            },
            norm_bias: biased("norm_bias")?,
            final_norm_bias: family != Family::Esmc && biased("norm_bias")?,
            branch_scale: match family {
                Family::Esmc => (36.0 / num_layers as f64).sqrt(),
                _ => 1.0,
            },
            attention_bias: biased("attention_bias")?,
            mlp_bias: biased("mlp_bias")?,
            mlp_out_bias: match family {
                Family::Gte | Family::GteNew | Family::JinaBert => true,
                _ => biased("mlp_bias")?,
            },
            first_attention_norm: !modern,
            head_bias: biased("classifier_bias")?,
            pooler_norm: modern,
            token_transform: match family {
                Family::ModernBert if head.token_scores().is_some() => Some(TokenTransform {
                    activation: of_heads,
                    bias: biased("classifier_bias")?,
                    norm: true,
                }),
                _ if head == TaskHead::ReplacedTokens => Some(TokenTransform {
                    activation,
                    bias: true,
                    norm: false,
                }),
                _ => None,
            },
            contact_head: false,
            position_ids,
            activation,
            renamed_lm: family == Family::DebertaV2 && self.deberta_renamed(names)?,
            lm_transform: !causal && family != Family::EuroBert,
            lm_transform_bias: match family {
                Family::NomicBert if self.nomic_is_older() => biased("mlp_bias")?,
                _ => biased("classifier_bias")?,
            },
            lm_bias: match family {
                Family::EuroBert => biased("mlp_bias")?,
                Family::NomicBert if self.nomic_is_older() => biased("mlp_bias")?,
                _ => !causal,
            },
            lm_activation: match family {
                Family::Roberta
                | Family::XlmRoberta
                | Family::Camembert
                | Family::Electra
                | Family::MpNet
                | Family::Esmc
                | Family::Gte => Activation::Gelu,
                _ => of_heads,
            },
            norm_epsilon: match family {
                Family::NomicBert if self.nomic_is_older() => {
                    self.norm_epsilon(Some("layer_norm_epsilon"), 1e-5)?
                }
                _ => self.norm_epsilon(class.norm_epsilon.0, class.norm_epsilon.1)?,
            },
            pad_id,
            labels: match head {
                TaskHead::SequenceClassification { .. } | TaskHead::TokenClassification { .. } => {
                    labels
                }
                _ => Vec::new(),
            },
            classifier_bias: !causal,
            pooler: !causal
                && matches!(
                    head,
                    TaskHead::SequenceClassification { .. }
                        | TaskHead::NextSentence
                        | TaskHead::PreTraining
                ),
            pooler_activation: match family {
                Family::DistilBert => Activation::Relu,
                Family::Electra | Family::EuroBert => Activation::Gelu,
                Family::ModernBert => of_heads,
                Family::DebertaV2 => {
                    self.named_activation("pooler_hidden_act", Activation::Gelu)?
                }
                _ => Activation::Tanh,
            },
            dropout: self.dropout(family, &head)?,
            head,
            pruned_heads: match shared_layers {
                None => self.pruned_heads(num_layers, num_heads)?,
                Some(shared) => self.pruned_heads(shared.blocks(), num_heads)?,
            },
            zeroed_heads: std::collections::BTreeMap::new(),
        };
        if shared_layers.is_some() {
            // The config names blocks; every layer that has their weights lacks the same heads.
            let of_blocks = std::mem::take(&mut architecture.pruned_heads);
            let of_layers = (0..num_layers).filter_map(|layer| {
                let heads = of_blocks.get(&architecture.block(layer))?;
                Some((layer, heads.clone()))
            });
            architecture.pruned_heads = of_layers.collect();
        }
        if architecture.query_key_norm && !architecture.pruned_heads.is_empty() {
            let problem = "names heads, but queries and keys of all heads are brought to one scale together, so that none can be missing";
            return Err(self.wrong("pruned_heads", problem.into()));
        }
        if architecture.max_tokens() == 0 {
            return Err(self.wrong(
                class.max_positions[0],
                format!("is {max_positions}, which leaves no position for any token"),
            ));
        }
        Ok(architecture)
    }

    /// `type_vocab_size`, which may be 0.
    fn segments_or_none(&self, default: usize) -> Result<Segments, Error> {
        let key = "type_vocab_size";
        let none = match self.value(key) {
            None => default == 0,
            Some(value) => value.as_u64() == Some(0),
        };
        if none {
            return Ok(Segments::None);
        }
        Ok(Segments::Table(self.size(key, default)?))
    }

    /// A size that may stand under several names, which must not contradict each other.
    fn one_of(&self, keys: &[&str], default: usize) -> Result<usize, Error> {
        let mut found: Option<(&str, usize)> = None;
        for key in keys {
            if self.value(key).is_none() {
                continue;
            }
            let size = self.size(key, default)?;
            match found {
                Some((first, other)) if other != size => {
                    return Err(self.wrong(
                        key,
                        format!("is {size}, but `{first}`, which means the same, is {other}"),
                    ));
                }
                _ => found = Some((key, size)),
            }
        }
        Ok(found.map_or(default, |(_, size)| size))
    }

    pub(crate) fn family(&self, names: &[&str]) -> Result<Family, Error> {
        let find = |by: &dyn Fn(&ConfigClass) -> bool| {
            FAMILIES.into_iter().find(|family| by(family.config()))
        };
        if let Some(value) = self.value("model_type") {
            let name = value.as_str().unwrap_or_default();
            if name == "bert"
                && let Some(problem) = foreign::disguised(names)
            {
                return Err(self.wrong("model_type", problem.into()));
            }
            if name == "bert" && foreign::is_jina(names) {
                return Ok(Family::JinaBert);
            }
            return find(&|class| class.model_type == name).ok_or_else(|| {
                let lacking = foreign::lacking(name)
                    .map(|what| format!("not computed of it: {what}; "))
                    .unwrap_or_default();
                // T5, BART, Pegasus and their kin say so, or name a class that only such models have.
                let two = self.flag("is_encoder_decoder", false).unwrap_or(false)
                    || self
                        .declared_class()
                        .is_some_and(|class| class.ends_with("ForConditionalGeneration"));
                let but = if two {
                    ", and no encoder with a decoder behind it"
                } else {
                    ""
                };
                let supported = format!(
                    "{lacking}only {} are supported{but}; take a model of one of these types",
                    supported()
                );
                self.unsupported("model_type", value, &supported)
            });
        }
        // Files from before transformers 2.3 name no type.
        if let Some(name) = self.declared_class() {
            return find(&|class| name.starts_with(class.class_prefix))
                .ok_or_else(|| {
                    self.wrong(
                        "model_type",
                        format!(
                            "is missing, and the class {name} in `architectures` is of no family that is \
                             known; if it is one of these, add \"model_type\": {}",
                            supported()
                        ),
                    )
                });
        }
        // GPT and GPT-2 share their prefix; their token tables have names of their own.
        let any = |family: Family| {
            let table = family.table();
            names.iter().any(|name| {
                if matches!(family, Family::ModernBert | Family::EuroBert) {
                    // Its prefix is that of many families that are not known here; its files name their type.
                    false
                } else if family.config().causal {
                    let base = name.strip_prefix(table.prefix).unwrap_or(name);
                    table.tables.iter().any(|(_, stored)| *stored == base)
                } else {
                    name.starts_with(table.prefix)
                }
            })
        };
        FAMILIES
            .into_iter()
            .find(|family| any(*family))
            .ok_or_else(|| {
                self.wrong(
                "model_type",
                format!(
                    "is missing, and neither `architectures` nor the tensor names tell the family; \
                     add \"model_type\" with one of {}",
                    supported()
                ),
            )
            })
    }

    /// Options of the classes that turn the model into another one.
    fn refuse_other_computations(&self, family: Family) -> Result<(), Error> {
        // A GPT is a decoder whatever `is_decoder` says.
        let keys: &[&str] = if family.config().causal {
            &["add_cross_attention", "is_encoder_decoder"]
        } else {
            &["is_decoder", "add_cross_attention", "is_encoder_decoder"]
        };
        let supported = if family.config().causal {
            "only models without an encoder beside them are"
        } else {
            "only encoders are, in which every token sees every other"
        };
        for key in keys {
            if self.flag(key, false)? {
                return Err(self.unsupported(key, &Value::Bool(true), supported));
            }
        }
        if family == Family::MpNet {
            // The class has both numbers in its code.
            let fixed = [
                ("relative_attention_num_buckets", ScoreBias::BUCKETS as u64),
                ("pad_token_id", 1),
            ];
            for (key, only) in fixed {
                if let Some(value) = self.raw().get(key).filter(|v| v.as_u64() != Some(only)) {
                    return Err(self.unsupported(key, value, &format!("for MPNet only {only} is")));
                }
            }
        }
        if family == Family::NomicBert {
            self.refuse_other_nomic()?;
        }
        if family == Family::ModernBert && !self.flag("decoder_bias", true)? {
            let value = Value::Bool(false);
            return Err(self.unsupported("decoder_bias", &value, "only true is"));
        }
        if family == Family::Esm && self.flag("is_folding_model", false)? {
            let value = Value::Bool(true);
            let supported = "only language models of proteins are, not ESMFold; take one such as facebook/esm2_t12_35M_UR50D";
            return Err(self.unsupported("is_folding_model", &value, supported));
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

    fn score_scale(&self, family: Family) -> Result<ScoreScale, Error> {
        if family != Family::Gpt2 {
            let met = match family {
                Family::DebertaV2 => self.distances_meet()?,
                _ => [false, false],
            };
            return Ok(ScoreScale {
                by_head_dim: true,
                by_layer: false,
                terms: 1 + met.into_iter().filter(|met| *met).count(),
            });
        }
        // The order and the precision of the same product; in f32 it is the same function.
        self.flag("reorder_and_upcast_attn", false)?;
        Ok(ScoreScale {
            by_head_dim: self.flag("scale_attn_weights", true)?,
            by_layer: self.flag("scale_attn_by_inverse_layer_idx", false)?,
            terms: 1,
        })
    }

    fn activation(&self, family: Family) -> Result<Activation, Error> {
        match family {
            Family::NomicBert => return self.nomic_activation(),
            Family::JinaBert => return self.jina_activation(),
            _ => {}
        }
        let (key, default) = family.config().activation;
        // ESM's class has its activation in its code; `hidden_act` in its files says nothing.
        let Some(value) = self.value(key).filter(|_| family != Family::Esm) else {
            return Ok(default);
        };
        let name = value.as_str().unwrap_or_default();
        if family == Family::OpenAiGpt {
            // The first GPT has a table of names of its own, in which `gelu` means another function.
            return match name {
                "gelu" => Ok(Activation::GeluTanh),
                "relu" => Ok(Activation::Relu),
                "silu" | "swish" => Ok(Activation::Silu),
                _ => Err(self.unsupported(
                    key,
                    value,
                    "for the first GPT only gelu (its tanh form, which is gelu_new elsewhere), relu, silu and \
                     swish are, as in transformers",
                )),
            };
        }
        self.named_activation(key, default)
    }

    /// An activation by the name that most classes of transformers have for it.
    fn named_activation(&self, key: &str, default: Activation) -> Result<Activation, Error> {
        let Some(value) = self.value(key) else {
            return Ok(default);
        };
        match value.as_str().unwrap_or_default() {
            "gelu" | "gelu_python" => Ok(Activation::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" | "gelu_accurate" | "gelu_python_tanh" => {
                Ok(Activation::GeluTanh)
            }
            "relu" => Ok(Activation::Relu),
            "silu" | "swish" => Ok(Activation::Silu),
            "quick_gelu" => Ok(Activation::QuickGelu),
            "tanh" => Ok(Activation::Tanh),
            _ => Err(self.unsupported(
                key,
                value,
                "gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, gelu_accurate, gelu_python_tanh, gelu_python, relu, \
                 silu, swish, quick_gelu and tanh are",
            )),
        }
    }
}
