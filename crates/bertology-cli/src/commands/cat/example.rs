//! The function that is shown.

use bertology::LoadedModel;
use bertology::attention::cat::{SnippetItem, leaf_attention};
use bertology::attention::{Fate, Supply as _};
use bertology::input::code::{CodePassages, ReadCode};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::session::failure;

/// Leaves that a page has room for.
const LEAVES: std::ops::RangeInclusive<usize> = 12..=40;

/// Attention of every layer and distances of one function; nothing where none is of a good size.
pub(super) fn find(
    model: &LoadedModel,
    passages: &CodePassages,
    wanted: Option<u64>,
) -> Result<Value, Failure> {
    let failed = |e: bertology::Error| failure(&e);
    for code in passages.open(0).map_err(failed)? {
        let code = code.map_err(failed)?;
        if wanted.is_some_and(|wanted| wanted != code.index) {
            continue;
        }
        let Fate::Studied(ReadCode { passage, snippet, leaves }) = passages.read(code).map_err(failed)? else {
            continue;
        };
        let item: &SnippetItem = &passage.item;
        if wanted.is_none() && !LEAVES.contains(&item.leaves()) {
            continue;
        }
        let layers = leaf_attention(model, &passage).map_err(failed)?;
        let texts = leaves.iter().map(|leaf| snippet.leaf_text(*leaf));
        return Ok(json!({
            "index": item.index,
            "line": item.line,
            "name": item.name,
            "language": item.language,
            "leaves": texts.collect::<Vec<_>>(),
            "kinds": item.kinds,
            "distances": item.distances,
            "attention": layers,
        }));
    }
    match wanted {
        None => Ok(Value::Null),
        Some(wanted) => Err(Failure::input(format!(
            "--example {wanted}: there is no function of this number that has a score; numbers are from 0, as in \
             cat_snippets.csv"
        ))),
    }
}
