//! What EuroBERT's config class reads besides sizes: Llama's angles and heads, and the pooling of its classifiers.

use crate::Error;
use crate::arch::{Pooling, Rotary};
use crate::config::Config;

impl Config {
    /// Angles of all numbers of a head with one base in all layers: `rope_theta`, or `rope_parameters` of version 5.
    pub(super) fn one_rotary(&self, head_dim: usize, default: f64) -> Result<Rotary, Error> {
        for key in ["rope_scaling", "rope_parameters"] {
            let Some(value) = self.value(key) else {
                continue;
            };
            let kind = value.get("rope_type").or_else(|| value.get("type"));
            let kind = kind.filter(|kind| !kind.is_null());
            if kind.is_some_and(|kind| kind != "default") || !value.is_object() {
                let supported = "angles that grow evenly with the position alone are (\"rope_type\": \"default\")";
                return Err(self.unsupported(key, value, supported));
            }
        }
        self.check_pairs(head_dim)?;
        let key = "rope_theta";
        let named = self.value("rope_parameters").and_then(|all| all.get(key));
        let named = named.filter(|base| !base.is_null());
        let base = match named.or_else(|| self.value(key)) {
            Some(value) => self.base(key, value)?,
            None => default,
        };
        Ok(Rotary {
            width: head_dim,
            base,
            window_base: base,
            slowdown: 1.0,
        })
    }

    /// Refuses heads of another width than the hidden size gives, and query heads that share keys and values.
    pub(super) fn check_own_heads(&self, heads: usize, head_dim: usize) -> Result<(), Error> {
        let checks = [
            (
                "num_key_value_heads",
                heads,
                "key and value heads that several query heads share are not; of EuroBERT the size with a pair for each, \
                 EuroBERT-210m, is, 610m and 2.1B are not",
            ),
            (
                "head_dim",
                head_dim,
                "heads of another width than hidden_size / num_attention_heads are not",
            ),
        ];
        for (key, expected, supported) in checks {
            if let Some(value) = self.value(key)
                && self.size(key, expected)? != expected
            {
                return Err(self.unsupported(key, value, supported));
            }
        }
        Ok(())
    }

    /// `classifier_pooling`; the code that came with the first files calls it `clf_pooling`.
    pub(super) fn eurobert_pooling(&self) -> Result<Pooling, Error> {
        let [named, older] =
            ["classifier_pooling", "clf_pooling"].map(|key| (key, self.value(key)));
        let (key, value) = match (named.1, older.1) {
            (Some(value), Some(other)) if value != other => {
                let other = bertology_file::shown(other);
                let problem = format!(
                    "is {}, but `{}`, which means the same, is {other}",
                    bertology_file::shown(value),
                    older.0
                );
                return Err(self.wrong(named.0, problem));
            }
            (Some(value), _) => (named.0, value),
            (None, Some(value)) => (older.0, value),
            (None, None) => return Ok(Pooling::MeanOfPooled),
        };
        match value.as_str() {
            Some("bos") => Ok(Pooling::First),
            Some("mean") => Ok(Pooling::Mean),
            Some("late") => Ok(Pooling::MeanOfPooled),
            _ => Err(self.unsupported(key, value, "\"bos\", \"mean\" and \"late\" are")),
        }
    }
}
