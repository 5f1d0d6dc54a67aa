//! `*.index.json`: which shard holds which tensor.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::Error;
use crate::json;

/// Tensor name to shard file name. Shards must lie beside the index.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, String>, Error> {
    let wrong = |problem: String| Error::Index {
        path: path.into(),
        problem,
    };
    let value = json::read_object(path)?;
    let Some(Value::Object(map)) = value.get("weight_map") else {
        return Err(wrong(
            "no `weight_map` from tensor names to shard files".into(),
        ));
    };
    if map.is_empty() {
        return Err(wrong("`weight_map` is empty".into()));
    }
    map.iter()
        .map(|(tensor, shard)| {
            let shard = shard
                .as_str()
                .filter(|name| Path::new(name).file_name() == Some(name.as_ref()))
                .ok_or_else(|| {
                    wrong(format!(
                        "`{tensor}` is mapped to {shard}, not to a file of this folder"
                    ))
                })?;
            Ok((tensor.clone(), shard.to_owned()))
        })
        .collect()
}
