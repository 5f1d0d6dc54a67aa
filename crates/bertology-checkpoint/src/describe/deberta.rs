//! What DeBERTa's config class reads besides sizes: what distances have for queries and keys.

use serde_json::Value;

use crate::Error;
use crate::arch::{Disentangled, Positions};
use crate::config::Config;

impl Config {
    /// Options that make another model, or another pooler.
    pub(super) fn refuse_other_deberta(
        &self,
        hidden_size: usize,
        head_dim: usize,
    ) -> Result<(), Error> {
        let key = "conv_kernel_size";
        if let Some(value) = self.value(key).filter(|value| value.as_f64() != Some(0.0)) {
            let supported = "a convolution beside the first layer is not (DeBERTa-v2 xlarge and xxlarge); DeBERTa-v3 has none";
            return Err(self.unsupported(key, value, supported));
        }
        for (key, only) in [
            ("attention_head_size", head_dim),
            ("pooler_hidden_size", hidden_size),
        ] {
            if let Some(value) = self.value(key)
                && self.size(key, only)? != only
            {
                return Err(self.unsupported(key, value, &format!("only {only} is")));
            }
        }
        Ok(())
    }

    /// Whether tokens read a table of positions.
    pub(super) fn deberta_positions(&self) -> Result<Positions, Error> {
        Ok(if self.flag("position_biased_input", true)? {
            Positions::Absolute
        } else {
            Positions::Nowhere
        })
    }

    /// `pos_att_type`: whether queries meet keys of distances, and keys queries of distances.
    pub(super) fn distances_meet(&self) -> Result<[bool; 2], Error> {
        let key = "pos_att_type";
        let Some(value) = self.value(key) else {
            return Ok([false, false]);
        };
        let refuse = || {
            self.unsupported(
                key,
                value,
                "\"c2p\" and \"p2c\" are, as a list or joined by `|`",
            )
        };
        let names: Vec<String> = match value {
            Value::String(text) => text
                .split('|')
                .map(|name| name.trim().to_lowercase())
                .collect(),
            Value::Array(list) => {
                let names = list.iter().map(|name| name.as_str().map(str::to_owned));
                names.collect::<Option<_>>().ok_or_else(refuse)?
            }
            _ => return Err(refuse()),
        };
        let known = ["c2p", "p2c", ""];
        if names.iter().any(|name| !known.contains(&name.as_str())) {
            return Err(refuse());
        }
        Ok(["c2p", "p2c"].map(|kind| names.iter().any(|name| name == kind)))
    }

    /// `relative_attention` and what belongs to it.
    pub(super) fn disentangled(&self, max_positions: usize) -> Result<Option<Disentangled>, Error> {
        if !self.flag("relative_attention", false)? {
            return Ok(None);
        }
        // Numbers below 1 are the class's way to leave them out.
        let above_zero = |key: &str| match self.value(key) {
            Some(value) if value.as_i64().is_some_and(|number| number < 1) => Ok(None),
            None => Ok(None),
            Some(_) => self.size(key, 1).map(Some),
        };
        let farthest = above_zero("max_relative_positions")?.unwrap_or(max_positions);
        let key = "position_buckets";
        let buckets = above_zero(key)?;
        if let Some(buckets) = buckets
            && (buckets < 2 || buckets / 2 >= farthest.saturating_sub(1))
        {
            let problem = format!(
                "is {buckets}, but it must be from 2 to less than twice the {farthest} distances that are told apart"
            );
            return Err(self.wrong(key, problem));
        }
        let [keys, queries] = self.distances_meet()?;
        let norm = match self.value("norm_rel_ebd") {
            None => String::new(),
            Some(value) => value.as_str().map(str::to_lowercase).ok_or_else(|| {
                self.unsupported("norm_rel_ebd", value, "\"none\" and \"layer_norm\" are")
            })?,
        };
        Ok(Some(Disentangled {
            buckets,
            farthest,
            keys,
            queries,
            shared: self.flag("share_att_key", false)?,
            normed: norm.split('|').any(|part| part.trim() == "layer_norm"),
        }))
    }

    /// Whether a masked-LM head has the names of the published files: `legacy`, or what the files show.
    pub(super) fn deberta_renamed(&self, names: &[&str]) -> Result<bool, Error> {
        let any = |prefix: &str| names.iter().any(|name| name.starts_with(prefix));
        let shown = any("lm_predictions.") && !any("cls.predictions.");
        Ok(!self.flag("legacy", !shown)?)
    }
}
