//! What NomicBERT's config classes read besides sizes: that of transformers 5, and that of the code that came with the first
//! files, which has GPT-2's names.

use serde_json::Value;

use crate::Error;
use crate::arch::{Activation, Rotary};
use crate::config::Config;

impl Config {
    /// Whether the config is one of the first files' code.
    pub(crate) fn nomic_is_older(&self) -> bool {
        self.value("n_embd").is_some()
    }

    /// Options of the first files' code that make another block, or other angles.
    pub(super) fn refuse_other_nomic(&self) -> Result<(), Error> {
        let flags = [
            ("prenorm", "norms behind the residual alone are"),
            (
                "parallel_block",
                "attention before the feed-forward block alone is",
            ),
            ("use_rms_norm", "norms by mean and deviation alone are"),
            (
                "causal",
                "only encoders are, in which every token sees every other",
            ),
            (
                "rotary_emb_interleaved",
                "rotation of the halves of a head alone is",
            ),
            ("rotary_head_dim", "rotation by the position alone is"),
        ];
        for (key, supported) in flags {
            if self.flag(key, false)? {
                return Err(self.unsupported(key, &Value::Bool(true), supported));
            }
        }
        let angles =
            "angles that grow evenly with the position alone are; it must be absent or null";
        let absent = [
            ("rotary_emb_scale_base", angles),
            ("rotary_scaling_factor", angles),
            (
                "num_heads_kv",
                "a key and value head for each query head alone is; it must be absent or null",
            ),
            (
                "moe_every_n_layers",
                "a mixture of experts is not; it must be absent, null or 0",
            ),
        ];
        for (key, supported) in absent {
            if let Some(value) = self.value(key).filter(|value| value.as_f64() != Some(0.0)) {
                return Err(self.unsupported(key, value, supported));
            }
        }
        Ok(())
    }

    /// The angles of queries and keys `[head_dim]`, of which the first files' code may turn a part (`rotary_emb_fraction`).
    pub(super) fn nomic_rotary(&self, head_dim: usize) -> Result<Rotary, Error> {
        if !self.nomic_is_older() {
            return self.one_rotary(head_dim, 1000.0);
        }
        let key = "rotary_emb_base";
        let base = match self.value(key) {
            Some(value) => self.base(key, value)?,
            None => 1000.0,
        };
        let key = "rotary_emb_fraction";
        let Some(value) = self.value(key) else {
            let problem = "is missing, which is to say 0; only rotary positions are supported, not those of a table";
            return Err(self.wrong(key, problem.into()));
        };
        let turned = value.as_f64().map(|share| share * head_dim as f64);
        let width = (2..=head_dim)
            .step_by(2)
            .find(|width| turned == Some(*width as f64));
        let Some(width) = width else {
            let supported =
                format!("a share of the {head_dim} numbers of a head that gives pairs is");
            return Err(self.unsupported(key, value, &supported));
        };
        Ok(Rotary {
            width,
            base,
            window_base: base,
            slowdown: 1.0,
        })
    }

    /// `hidden_act`, or `activation_function` of the first files' code.
    pub(super) fn nomic_activation(&self) -> Result<Activation, Error> {
        let key = "activation_function";
        let value = self.value(key).filter(|_| self.nomic_is_older());
        let Some(value) = value else {
            return self.named_activation("hidden_act", Activation::Silu);
        };
        match value.as_str() {
            Some("swiglu") => Ok(Activation::Silu),
            Some("geglu") => Ok(Activation::Gelu),
            _ => Err(self.unsupported(key, value, "for NomicBERT \"swiglu\" and \"geglu\" are")),
        }
    }

    /// Whether maps add a bias: those of attention, or those of the feed-forward block and of the masked-LM head.
    pub(super) fn nomic_biases(&self, attention: bool) -> Result<bool, Error> {
        if !self.nomic_is_older() {
            return Ok(false);
        }
        if attention {
            return self.flag("qkv_proj_bias", true);
        }
        let (first, second) = ("mlp_fc1_bias", "mlp_fc2_bias");
        let biased = self.flag(first, true)?;
        if self.flag(second, true)? != biased {
            let value = Value::Bool(!biased);
            return Err(self.unsupported(second, &value, "the same as `mlp_fc1_bias` is"));
        }
        Ok(biased)
    }
}
