//! Heads and head masks as users give them: `--mask FILE`, `--heads 0:1,3`.

use std::path::Path;

use serde_json::Value;

use crate::failure::Failure;
use crate::npy;

/// Largest mask file that is read.
const MAX_BYTES: u64 = 64 << 20;

/// Row-major factors `[layers, heads]`, read and of the model's shape.
pub(crate) fn read_mask(path: &Path, layers: usize, heads: usize) -> Result<Vec<f64>, Failure> {
    let wrong = |what: String| Failure::input(format!("head mask {}: {what}", path.display()));
    let bytes = bertology_file::read_up_to(path, MAX_BYTES)
        .map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let (shape, values) = match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => from_json(&bytes).map_err(&wrong)?,
        Some("npy") => npy::decode(&bytes)
            .map(|array| (array.shape, array.values))
            .map_err(|error| wrong(error.to_string()))?,
        _ => return Err(wrong("its name must end in .npy or .json".into())),
    };
    if shape.len() == 3 {
        return Err(wrong(format!(
            "it holds {shape:?}, one mask per step; save the step that you want as a file of its \
             own, [{layers}, {heads}]"
        )));
    }
    if shape != [layers, heads] {
        return Err(wrong(format!(
            "its shape is {shape:?}, but the model has {layers} layers of {heads} heads, so \
             [{layers}, {heads}] is needed"
        )));
    }
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(values),
        Some(at) => Err(wrong(format!(
            "L{}H{} is {}; write 1 to keep a head and 0 to mask it",
            at / heads,
            at % heads,
            values.get(at).copied().unwrap_or(f64::NAN)
        ))),
    }
}

/// The mask's entries as yes or no, for commands that cannot weaken a head.
pub(crate) fn as_switches(path: &Path, values: &[f64], heads: usize) -> Result<Vec<bool>, Failure> {
    values
        .iter()
        .enumerate()
        .map(|(at, value)| {
            if *value == 1.0 {
                Ok(true)
            } else if *value == 0.0 {
                Ok(false)
            } else {
                Err(Failure::input(format!(
                    "head mask {}: L{}H{} is {value}, but a head is either kept (1) or removed (0)",
                    path.display(),
                    at / heads,
                    at % heads
                )))
            }
        })
        .collect()
}

/// A list of lists, or an object with one under `head_mask`.
fn from_json(bytes: &[u8]) -> Result<(Vec<usize>, Vec<f64>), String> {
    const FORM: &str = "expected one list per layer with a number per head, [[1, 0], [1, 1]]";
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| format!("it is not JSON: {error}"))?;
    let rows = value
        .get("head_mask")
        .unwrap_or(&value)
        .as_array()
        .ok_or(FORM)?;
    let mut values = Vec::new();
    let mut width = None;
    for (layer, row) in rows.iter().enumerate() {
        let row = row.as_array().ok_or(FORM)?;
        if *width.get_or_insert(row.len()) != row.len() {
            return Err(format!(
                "layer {layer} has {} entries, the layers before it {}",
                row.len(),
                width.unwrap_or_default()
            ));
        }
        for (head, value) in row.iter().enumerate() {
            values.push(match value {
                Value::Bool(keep) => f64::from(u8::from(*keep)),
                Value::Number(number) => number.as_f64().ok_or(FORM)?,
                other => return Err(format!("L{layer}H{head} is {other}; {FORM}")),
            });
        }
    }
    Ok((vec![rows.len(), width.unwrap_or_default()], values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_masks_are_lists_of_lists() {
        let (shape, values) = from_json(b"[[1, 0.5], [true, false]]").unwrap();
        assert_eq!((shape, values), (vec![2, 2], vec![1.0, 0.5, 1.0, 0.0]));
        assert!(from_json(br#"{"head_mask": [[1, 0]], "x": 1}"#).is_ok());
        for bad in ["[[1], [1, 0]]", "[1, 0]", "3", "[[\"a\"]]", "[[1,"] {
            assert!(from_json(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
