//! `index.json`: what is in the shards.

use bertology_model::Pass;
use bertology_store::Element;
use serde_json::{Value, json};

use super::layout::{Content, Layout};
use super::plan::Extraction;
use super::write::Summary;

impl Extraction {
    /// Arrays, shards and counts, for machines and curious people.
    pub(super) fn index(&self, summary: &Summary) -> Value {
        let mut index = json!({
            "format": 1,
            "file_format": self.options.format,
            "dtype": Element::Float(self.options.float).name(),
            "pool": self.options.pool,
            "counts": self.counts,
            "shards": summary.shards,
        });
        #[cfg(feature = "parquet")]
        if self.options.format == super::Format::Parquet {
            index["tables"] = tables(&self.layout);
            return index;
        }
        index["arrays"] = arrays(&self.layout).into();
        index
    }
}

/// Columns by table.
#[cfg(feature = "parquet")]
fn tables(layout: &Layout) -> Value {
    use bertology_store::Kind;
    let strings = std::sync::Arc::new([]) as std::sync::Arc<[String]>;
    let entry = |named: super::tables::Named| {
        let columns = named.table.columns.into_iter().map(|column| {
            let kind = match column.kind {
                Kind::I32 => "int32".to_owned(),
                Kind::I64 => "int64".to_owned(),
                Kind::F64 => "float64".to_owned(),
                Kind::Text => "string".to_owned(),
                Kind::List(float) => format!("list of {}", Element::Float(float).name()),
            };
            json!({ "name": column.name, "type": kind })
        });
        json!({ "name": named.name, "columns": columns.collect::<Vec<_>>() })
    };
    let tables = super::tables::tables(layout, super::layout::Sizes::default(), &strings);
    tables.into_iter().map(entry).collect()
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
