//! What ALBERT's config class reads besides sizes: which layers have their weights in common.

use crate::Error;
use crate::arch::{Positions, SharedLayers};
use crate::config::Config;

/// Layers that a config may ask for; its files say nothing of their number. ALBERT has 12.
const MOST: usize = 1024;

impl Config {
    /// `num_hidden_groups` and `inner_group_num`.
    pub(super) fn shared_layers(&self, num_layers: usize) -> Result<SharedLayers, Error> {
        let groups = self.size("num_hidden_groups", 1)?;
        let inner = self.size("inner_group_num", 1)?;
        if num_layers.saturating_mul(inner) > MOST {
            let problem = format!(
                "is {num_layers}, each of `inner_group_num` = {inner} blocks; up to {MOST} blocks that share their weights \
                 are accepted"
            );
            return Err(self.wrong("num_hidden_layers", problem));
        }
        if !num_layers.is_multiple_of(groups) {
            let problem = format!(
                "is {groups}, which does not divide the {num_layers} layers of `num_hidden_layers` into equal groups"
            );
            return Err(self.wrong("num_hidden_groups", problem));
        }
        Ok(SharedLayers { groups, inner })
    }

    /// `position_embedding_type`: its class adds relative positions to scores once these are scaled, as no other does.
    pub(super) fn albert_positions(&self) -> Result<Positions, Error> {
        let key = "position_embedding_type";
        match self.value(key) {
            Some(value) if value != "absolute" => {
                Err(self.unsupported(key, value, "for ALBERT only \"absolute\" is"))
            }
            _ => Ok(Positions::Absolute),
        }
    }
}
