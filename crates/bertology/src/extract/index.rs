//! `index.json`: what is in the shards.

use serde_json::{Value, json};

use super::layout::{Content, Layout};
use super::plan::Extraction;
use super::write::Summary;
use bertology_model::Pass;

impl Extraction {
    /// Arrays, shards and counts, for machines and curious people.
    pub(super) fn index(&self, summary: &Summary) -> Value {
        json!({
            "format": 1,
            "file_format": self.options.format,
            "dtype": bertology_store::Element::Float(self.options.float).name(),
            "pool": self.options.pool,
            "counts": self.counts,
            "shards": summary.shards,
            "arrays": arrays(&self.layout),
        })
    }
}

fn arrays(layout: &Layout) -> Vec<Value> {
    let mut arrays = Vec::new();
    for array in &layout.arrays {
        let mut entry = json!({
            "name": array.name,
            "dtype": array.element.name(),
            "axes": layout.axes(array),
            "width": array.width,
        });
        if let Content::Values(at) = array.content {
            let slot = &layout.slots[at];
            entry["values"] = json!({
                "of": slot.what,
                "gradient": slot.pass == Pass::Backward,
                "layer": slot.layer,
                "head": slot.head,
            });
        }
        arrays.push(entry);
    }
    arrays
}
