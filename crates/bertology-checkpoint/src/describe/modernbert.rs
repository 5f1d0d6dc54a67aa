//! What ModernBERT's config class reads besides sizes: windows, bases of angles and the pooling of its classifiers.

use serde_json::Value;

use crate::Error;
use crate::arch::{Pooling, Rotary, Windows};
use crate::config::Config;

/// What version 5 of transformers calls layers that see everything, and those that see a window.
const LAYERS: [&str; 2] = ["full_attention", "sliding_attention"];

impl Config {
    /// The angles of queries and keys `[head_dim]`: `global_rope_theta` and `local_rope_theta`, or `rope_parameters` of
    /// version 5.
    pub(super) fn rotary(&self, head_dim: usize) -> Result<Rotary, Error> {
        if let Some(value) = self.value("rope_scaling") {
            let supported =
                "angles that grow evenly with the position alone are; it must be absent or null";
            return Err(self.unsupported("rope_scaling", value, supported));
        }
        self.check_pairs(head_dim)?;
        let by_layer = self.value("rope_parameters");
        let mut bases = [160_000.0, 10_000.0];
        let keys = ["global_rope_theta", "local_rope_theta"];
        for ((base, key), kind) in bases.iter_mut().zip(keys).zip(LAYERS) {
            let of_kind = by_layer
                .and_then(|all| all.get(kind))
                .filter(|of| !of.is_null());
            if let Some(of) = of_kind
                && of.get("rope_type").is_some_and(|kind| kind != "default")
            {
                let supported = "only \"rope_type\": \"default\" is";
                return Err(self.unsupported("rope_parameters", of, supported));
            }
            let named = of_kind.and_then(|of| of.get("rope_theta"));
            if let Some(value) = named.or_else(|| self.value(key)) {
                *base = self.base(key, value)?;
            }
        }
        // An explicit null is the base of the other layers, up to version 4.57.
        if by_layer.is_none() && self.raw().get(keys[1]).is_some_and(Value::is_null) {
            bases[1] = bases[0];
        }
        Ok(Rotary {
            width: head_dim,
            base: bases[0],
            window_base: bases[1],
            slowdown: 1.0,
        })
    }

    /// Refuses heads whose numbers cannot be turned.
    pub(super) fn check_pairs(&self, head_dim: usize) -> Result<(), Error> {
        if head_dim.is_multiple_of(2) {
            return Ok(());
        }
        let problem = format!("gives heads of {head_dim} numbers, which cannot be turned in pairs");
        Err(self.wrong("num_attention_heads", problem))
    }

    pub(super) fn base(&self, key: &str, value: &Value) -> Result<f64, Error> {
        value
            .as_f64()
            .filter(|base| base.is_finite() && *base > 0.0)
            .ok_or_else(|| {
                let shown = bertology_file::shown(value);
                self.wrong(key, format!("is {shown}, not a number > 0"))
            })
    }

    /// `global_attn_every_n_layers` (or `layer_types` of version 5) and `local_attention`, of which half lies on either side.
    pub(super) fn windows(&self, num_layers: usize) -> Result<Windows, Error> {
        let global_every = match self.value("layer_types") {
            None => self.size("global_attn_every_n_layers", 3)?,
            Some(value) => {
                let refuse = || {
                    let supported = "only \"full_attention\" in layer 0 and every so many behind it, \
                                     \"sliding_attention\" in the others, is";
                    self.unsupported("layer_types", value, supported)
                };
                let kinds = value.as_array().ok_or_else(refuse)?;
                let again = kinds.iter().skip(1).position(|kind| kind == LAYERS[0]);
                let every = again.map_or(num_layers, |at| at + 1);
                let right = |(layer, kind): (usize, &Value)| {
                    kind == LAYERS[usize::from(!layer.is_multiple_of(every))]
                };
                if kinds.len() != num_layers || !kinds.iter().enumerate().all(right) {
                    return Err(refuse());
                }
                every
            }
        };
        Ok(Windows {
            global_every,
            reach: self.size("local_attention", 128)? / 2,
        })
    }

    pub(super) fn classifier_pooling(&self) -> Result<Pooling, Error> {
        let key = "classifier_pooling";
        match self.value(key) {
            None => Ok(Pooling::First),
            Some(value) => match value.as_str() {
                Some("cls") => Ok(Pooling::First),
                Some("mean") => Ok(Pooling::Mean),
                _ => Err(self.unsupported(key, value, "\"cls\" and \"mean\" are")),
            },
        }
    }
}
