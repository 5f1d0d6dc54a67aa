//! What ESM's config class reads besides sizes: how positions enter, and what masks do to the embeddings of a text.

use crate::Error;
use crate::arch::{Positions, Rotary, TokenDropout};
use crate::config::Config;

/// The base of ESM's angles, a constant of its class.
const BASE: f64 = 10_000.0;

impl Config {
    /// `position_embedding_type`: rotary in ESM-2, absolute in ESM-1b and where nothing is said.
    pub(super) fn esm_positions(&self, head_dim: usize) -> Result<Positions, Error> {
        let key = "position_embedding_type";
        let Some(value) = self.value(key) else {
            return Ok(Positions::Absolute);
        };
        match value.as_str() {
            Some("absolute") => Ok(Positions::Absolute),
            Some("rotary") => {
                self.check_pairs(head_dim)?;
                Ok(Positions::Rotary(Rotary {
                    width: head_dim,
                    base: BASE,
                    window_base: BASE,
                    slowdown: 1.0,
                }))
            }
            // Its relative positions scale the terms of queries and of keys differently than BERT's do.
            _ => Err(self.unsupported(
                key,
                value,
                "for ESM only \"rotary\" (ESM-2) and \"absolute\" (ESM-1b) are",
            )),
        }
    }

    /// `token_dropout`, with the mask that it asks for.
    pub(super) fn token_dropout(&self, vocab_size: usize) -> Result<Option<TokenDropout>, Error> {
        if !self.flag("token_dropout", false)? {
            return Ok(None);
        }
        let key = "mask_token_id";
        let Some(value) = self.value(key) else {
            return Err(self.wrong(
                key,
                "is missing, but `token_dropout` treats masks as a case of its own; say which token is the mask".into(),
            ));
        };
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        let id = id.filter(|id| (*id as usize) < vocab_size);
        id.map(|mask_id| Some(TokenDropout { mask_id }))
            .ok_or_else(|| {
                let shown = bertology_file::shown(value);
                let last = vocab_size.saturating_sub(1);
                self.wrong(key, format!("is {shown}, not a token id from 0 to {last}"))
            })
    }
}
