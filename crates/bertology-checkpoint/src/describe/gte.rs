//! What GTE's config classes read besides sizes: that of transformers 5, which is EuroBERT's way to say it, and that of the code
//! that came with the first files.

use serde_json::Value;

use crate::Error;
use crate::arch::Rotary;
use crate::config::Config;

impl Config {
    /// Options of the first files' code that make another block, or other tensors.
    pub(super) fn refuse_other_gte(&self) -> Result<(), Error> {
        let only = [
            ("layer_norm_type", "layer_norm"),
            ("position_embedding_type", "rope"),
        ];
        for (key, only) in only {
            if let Some(value) = self.value(key).filter(|value| *value != only) {
                return Err(self.unsupported(key, value, &format!("for GTE only \"{only}\" is")));
            }
        }
        for key in ["logn_attention_scale", "logn_attention_clip1"] {
            if self.flag(key, false)? {
                let supported = "scores whose scale does not depend on the length of the text are";
                return Err(self.unsupported(key, &Value::Bool(true), supported));
            }
        }
        if !self.flag("pack_qkv", true)? {
            let supported = "queries, keys and values in one tensor are";
            return Err(self.unsupported("pack_qkv", &Value::Bool(false), supported));
        }
        Ok(())
    }

    /// The angles of queries and keys `[head_dim]` as the first files' code has them. With `rope_scaling` of the type `ntk` the
    /// base is `factor` times as large and all angles are divided by `factor^(2 / head_dim)` (<https://kexue.fm/archives/9706>).
    pub(super) fn gte_rotary(&self, head_dim: usize) -> Result<Rotary, Error> {
        self.check_pairs(head_dim)?;
        let key = "rope_theta";
        let base = match self.value(key) {
            Some(value) => self.base(key, value)?,
            None => 10_000.0,
        };
        let key = "rope_scaling";
        let Some(value) = self.value(key) else {
            return Ok(Rotary {
                width: head_dim,
                base,
                window_base: base,
                slowdown: 1.0,
            });
        };
        let mixed = value.get("mixed_b").is_some_and(|mixed| !mixed.is_null());
        let factor = value.get("factor").and_then(Value::as_f64);
        // Below 1 the code of the first files leaves the angles alone.
        let factor = factor.filter(|factor| factor.is_finite() && *factor >= 1.0);
        let of_kind = value.get("type").is_some_and(|kind| kind == "ntk") && !mixed;
        let Some(factor) = factor.filter(|_| of_kind) else {
            let supported =
                "\"type\": \"ntk\" with a \"factor\" from 1 up and without \"mixed_b\" is";
            return Err(self.unsupported(key, value, supported));
        };
        Ok(Rotary {
            width: head_dim,
            base: base * factor,
            window_base: base * factor,
            slowdown: factor.powf(2.0 / head_dim as f64),
        })
    }
}
