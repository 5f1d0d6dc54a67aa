//! What the config class of JinaBERT's code reads besides what BERT's does.

use crate::Error;
use crate::arch::{Activation, Positions};
use crate::config::Config;

impl Config {
    /// `position_embedding_type`: its layers with a gate have slopes of scores.
    pub(super) fn jina_positions(&self) -> Result<Positions, Error> {
        let key = "position_embedding_type";
        match self.value(key) {
            Some(value) if value == "alibi" => Ok(Positions::Nowhere),
            Some(value) => Err(self.unsupported(key, value, "for JinaBERT only \"alibi\" is")),
            None => Err(self.wrong(
                key,
                "is missing; for JinaBERT only \"alibi\" is supported".into(),
            )),
        }
    }

    /// `feed_forward_type`.
    pub(super) fn jina_activation(&self) -> Result<Activation, Error> {
        let key = "feed_forward_type";
        match self.value(key) {
            Some(value) if value == "geglu" => Ok(Activation::Gelu),
            Some(value) if value == "reglu" => Ok(Activation::Relu),
            Some(value) => {
                Err(self.unsupported(key, value, "for JinaBERT \"geglu\" and \"reglu\" are"))
            }
            None => Err(self.wrong(
                key,
                "is missing; \"geglu\" and \"reglu\" are supported".into(),
            )),
        }
    }
}
