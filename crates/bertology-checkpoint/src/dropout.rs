//! With which probability training sets values to zero, as the config classes of transformers name it.

use serde_json::Value;

use crate::Error;
use crate::arch::{DropoutRates, Family, TaskHead};
use crate::config::Config;

impl Config {
    pub(crate) fn dropout(&self, family: Family, head: &TaskHead) -> Result<DropoutRates, Error> {
        let sequence = matches!(head, TaskHead::SequenceClassification { .. });
        let tokens = matches!(head, TaskHead::TokenClassification { .. });
        let answers = *head == TaskHead::QuestionAnswering;
        let mut rates = match family {
            Family::OpenAiGpt | Family::Gpt2 => {
                let residual = self.rate("resid_pdrop", 0.1)?;
                return Ok(DropoutRates {
                    embeddings: self.rate("embd_pdrop", 0.1)?,
                    attention_probs: self.rate("attn_pdrop", 0.1)?,
                    distances: 0.0,
                    attention_output: residual,
                    mlp_inner: 0.0,
                    mlp_output: residual,
                    // Only token classifiers have one; it has no key of its own in older files.
                    head_input: 0.0,
                    classifier: 0.0,
                });
            }
            Family::ModernBert => {
                let attention = self.rate("attention_dropout", 0.0)?;
                return Ok(DropoutRates {
                    embeddings: self.rate("embedding_dropout", 0.0)?,
                    attention_probs: attention,
                    distances: 0.0,
                    attention_output: attention,
                    mlp_inner: self.rate("mlp_dropout", 0.0)?,
                    mlp_output: 0.0,
                    head_input: 0.0,
                    classifier: if sequence || tokens || answers {
                        self.rate("classifier_dropout", 0.0)?
                    } else {
                        0.0
                    },
                });
            }
            Family::DebertaV2 => {
                let rate = self.rate("hidden_dropout_prob", 0.1)?;
                let pooler = self.rate("pooler_dropout", 0.0)?;
                return Ok(DropoutRates {
                    embeddings: rate,
                    attention_probs: self.rate("attention_probs_dropout_prob", 0.1)?,
                    distances: rate,
                    attention_output: rate,
                    mlp_inner: 0.0,
                    mlp_output: rate,
                    head_input: match (sequence, tokens) {
                        (true, _) => pooler,
                        (_, true) => rate,
                        _ => 0.0,
                    },
                    classifier: if sequence {
                        self.rate("cls_dropout", rate)?
                    } else {
                        0.0
                    },
                });
            }
            Family::NomicBert => {
                let older = self.nomic_is_older();
                let key = if older {
                    "resid_pdrop"
                } else {
                    "hidden_dropout_prob"
                };
                let rate = self.rate(key, if older { 0.1 } else { 0.0 })?;
                let of_head = match older {
                    true => self.rate("embd_pdrop", 0.1)?,
                    false => rate,
                };
                let of_head = self.rate("classifier_dropout", of_head)?;
                return Ok(DropoutRates {
                    embeddings: rate,
                    attention_probs: match older {
                        true => self.rate("attn_pdrop", 0.1)?,
                        false => self.rate("attention_probs_dropout_prob", 0.0)?,
                    },
                    distances: 0.0,
                    attention_output: rate,
                    mlp_inner: 0.0,
                    mlp_output: rate,
                    head_input: if tokens { of_head } else { 0.0 },
                    classifier: if sequence { of_head } else { 0.0 },
                });
            }
            Family::Gte | Family::GteNew => {
                let rate = self.rate("hidden_dropout_prob", 0.1)?;
                let of_head = self.rate("classifier_dropout", rate)?;
                return Ok(DropoutRates {
                    embeddings: rate,
                    attention_probs: self.rate("attention_probs_dropout_prob", 0.0)?,
                    distances: 0.0,
                    attention_output: rate,
                    mlp_inner: rate,
                    mlp_output: rate,
                    head_input: if tokens { of_head } else { 0.0 },
                    classifier: if sequence { of_head } else { 0.0 },
                });
            }
            Family::Esmc => {
                let of_head = self.rate("classifier_dropout", 0.1)?;
                return Ok(DropoutRates {
                    attention_probs: self.rate("attention_dropout", 0.0)?,
                    head_input: if sequence || tokens { of_head } else { 0.0 },
                    classifier: if sequence { of_head } else { 0.0 },
                    ..DropoutRates::default()
                });
            }
            Family::EuroBert => {
                return Ok(DropoutRates {
                    attention_probs: self.rate("attention_dropout", 0.0)?,
                    ..DropoutRates::default()
                });
            }
            Family::DistilBert => {
                let rate = self.rate("dropout", 0.1)?;
                let classifier = self.rate("seq_classif_dropout", 0.2)?;
                let answers = self.rate("qa_dropout", 0.1)?;
                return Ok(DropoutRates {
                    embeddings: rate,
                    attention_probs: self.rate("attention_dropout", 0.1)?,
                    distances: 0.0,
                    attention_output: 0.0,
                    mlp_inner: 0.0,
                    mlp_output: rate,
                    head_input: match head {
                        TaskHead::TokenClassification { .. } => rate,
                        TaskHead::QuestionAnswering => answers,
                        _ => 0.0,
                    },
                    classifier: if sequence { classifier } else { 0.0 },
                });
            }
            Family::Albert => {
                let rate = self.rate("hidden_dropout_prob", 0.0)?;
                let pooled = sequence || *head == TaskHead::PreTraining;
                let of_head = match self.rate("classifier_dropout_prob", 0.1)? {
                    // Token classifiers take the other rate where this one is null.
                    _ if tokens
                        && self
                            .raw()
                            .get("classifier_dropout_prob")
                            .is_some_and(Value::is_null) =>
                    {
                        rate
                    }
                    given => given,
                };
                return Ok(DropoutRates {
                    embeddings: rate,
                    attention_probs: self.rate("attention_probs_dropout_prob", 0.0)?,
                    distances: 0.0,
                    attention_output: rate,
                    // Its class makes a layer for that and never runs it.
                    mlp_inner: 0.0,
                    mlp_output: 0.0,
                    head_input: if tokens { of_head } else { 0.0 },
                    classifier: if pooled { of_head } else { 0.0 },
                });
            }
            _ => {
                let rate = self.rate("hidden_dropout_prob", 0.1)?;
                DropoutRates {
                    embeddings: rate,
                    attention_probs: self.rate("attention_probs_dropout_prob", 0.1)?,
                    distances: 0.0,
                    attention_output: rate,
                    mlp_inner: 0.0,
                    mlp_output: rate,
                    head_input: 0.0,
                    classifier: 0.0,
                }
            }
        };
        if family == Family::JinaBert {
            // Before the second map of the feed-forward block, not behind it.
            rates.mlp_inner = std::mem::take(&mut rates.mlp_output);
        }
        let of_head = match family {
            // Their heads have no rate of their own.
            Family::MpNet | Family::Esm => rates.embeddings,
            _ => self.rate("classifier_dropout", rates.embeddings)?,
        };
        if family == Family::Esm {
            // Its class leaves them alone whatever the config says.
            rates.embeddings = 0.0;
        }
        if sequence {
            rates.classifier = of_head;
        }
        // RoBERTa, ELECTRA and ESM drop before the dense layer of their classifiers too.
        if tokens || (sequence && !matches!(family, Family::Bert | Family::JinaBert)) {
            rates.head_input = of_head;
        }
        Ok(rates)
    }

    fn rate(&self, key: &str, default: f64) -> Result<f64, Error> {
        let Some(value) = self.value(key) else {
            return Ok(default);
        };
        value
            .as_f64()
            .filter(|rate| (0.0..=1.0).contains(rate))
            .ok_or_else(|| {
                let shown = bertology_file::shown(value);
                self.wrong(key, format!("is {shown}, not a probability from 0 to 1"))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::Problem;

    const SEQUENCE: TaskHead = TaskHead::SequenceClassification {
        num_labels: 2,
        problem: Problem::SingleLabel,
    };

    fn rates(family: Family, head: &TaskHead, config: &str) -> Result<DropoutRates, Error> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        Config::read(folder.path())?.dropout(family, head)
    }

    #[test]
    fn a_head_of_its_own_rate() {
        let config = r#"{"hidden_dropout_prob": 0.2, "classifier_dropout": 0.3}"#;
        let bert = rates(Family::Bert, &SEQUENCE, config).unwrap();
        assert_eq!((bert.head_input, bert.classifier), (0.0, 0.3));
        assert_eq!((bert.embeddings, bert.attention_probs), (0.2, 0.1));
        let roberta = rates(Family::Roberta, &SEQUENCE, config).unwrap();
        assert_eq!((roberta.head_input, roberta.classifier), (0.3, 0.3));
        let null = r#"{"hidden_dropout_prob": 0.2, "classifier_dropout": null}"#;
        let bert = rates(Family::Bert, &SEQUENCE, null).unwrap();
        assert_eq!(bert.classifier, 0.2);
        let masked = rates(Family::Bert, &TaskHead::MaskedLm, config).unwrap();
        assert_eq!((masked.head_input, masked.classifier), (0.0, 0.0));
        let distil = rates(Family::DistilBert, &SEQUENCE, "{}").unwrap();
        assert_eq!((distil.attention_output, distil.classifier), (0.0, 0.2));
        let esm = rates(Family::Esm, &SEQUENCE, config).unwrap();
        assert_eq!((esm.embeddings, esm.attention_output), (0.0, 0.2));
        assert_eq!((esm.head_input, esm.classifier), (0.2, 0.2));
        let albert = rates(Family::Albert, &SEQUENCE, "{}").unwrap();
        assert_eq!((albert.embeddings, albert.classifier), (0.0, 0.1));
        let tokens = TaskHead::TokenClassification { num_labels: 2 };
        let config = r#"{"hidden_dropout_prob": 0.2, "classifier_dropout_prob": null}"#;
        let albert = rates(Family::Albert, &tokens, config).unwrap();
        assert_eq!((albert.attention_output, albert.mlp_output), (0.2, 0.0));
        assert_eq!((albert.head_input, albert.classifier), (0.2, 0.0));
        let both = rates(Family::Albert, &TaskHead::PreTraining, "{}").unwrap();
        assert_eq!((both.head_input, both.classifier), (0.0, 0.1));
        let config = r#"{"classifier_dropout": 0.3}"#;
        for head in [&SEQUENCE, &tokens, &TaskHead::QuestionAnswering] {
            let modern = rates(Family::ModernBert, head, config).unwrap();
            assert_eq!((modern.head_input, modern.classifier), (0.0, 0.3));
        }
        let masked = rates(Family::ModernBert, &TaskHead::MaskedLm, config).unwrap();
        assert_eq!((masked.head_input, masked.classifier), (0.0, 0.0));
        let wrong = rates(Family::Gpt2, &SEQUENCE, r#"{"attn_pdrop": 1.5}"#).unwrap_err();
        assert!(wrong.to_string().contains("attn_pdrop"), "{wrong}");
    }
}
