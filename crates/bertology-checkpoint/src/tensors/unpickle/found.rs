//! What a pickle holds, once it was read to its end.

use std::collections::{HashMap, HashSet};

use super::{Fault, Machine, Span, TensorSpec, Value, malformed, size};

/// Tensors of a state dict.
const MOST_TENSORS: usize = 1 << 18;

impl Machine<'_> {
    /// The tensors of a dictionary of nothing else, in its order.
    pub(in crate::tensors) fn tensors_of(
        &self,
        top: Value,
    ) -> Result<Vec<(String, TensorSpec)>, Fault> {
        let Value::Dict(dict) = top else {
            return Err(Fault::Other(
                "the pickle does not hold a dictionary of tensors".into(),
            ));
        };
        let mut seen = HashSet::new();
        let mut found = Vec::new();
        for entry in self.inside(dict) {
            let Value::Text(_) = entry.key else {
                let kind = entry.key.kind();
                return Err(Fault::Other(format!("it has a key that is {kind}")));
            };
            let key = self.text(entry.key)?;
            let Value::Tensor(at) = entry.value else {
                return Err(Fault::Other(format!(
                    "entry `{key}` is {}, not a tensor",
                    entry.value.kind()
                )));
            };
            if !seen.insert(key) {
                return malformed(format!("entry `{key}` occurs twice"));
            }
            if seen.len() > MOST_TENSORS {
                return malformed(format!("it describes more than {MOST_TENSORS} tensors"));
            }
            found.push((key.to_owned(), self.spec(at)?));
        }
        Ok(found)
    }

    fn spec(&self, at: u32) -> Result<TensorSpec, Fault> {
        let call = self.calls.get(at as usize);
        let storage = call.and_then(|call| self.storages.get(call.storage as usize));
        let (Some(call), Some(storage)) = (call, storage) else {
            return malformed("a tensor has no storage");
        };
        let sizes = |span: Span| -> Result<Vec<usize>, Fault> {
            span.of(&self.items).iter().map(|v| size(*v)).collect()
        };
        Ok(TensorSpec {
            dtype: storage.dtype,
            storage: self.text(Value::Text(storage.key))?.to_owned(),
            storage_len: storage.len,
            offset: call.offset,
            shape: sizes(call.shape)?,
            strides: sizes(call.strides)?,
        })
    }

    /// Every storage that the pickle names, with its numbers of elements and of bytes.
    pub(in crate::tensors) fn storages(&self) -> Result<HashMap<&str, (usize, usize)>, Fault> {
        let mut found = HashMap::new();
        for storage in &self.storages {
            let key = self.text(Value::Text(storage.key))?;
            let bytes = storage.len.checked_mul(storage.dtype.bitsize() / 8);
            let Some(bytes) = bytes else {
                return malformed(format!("storage `{key}` has {} elements", storage.len));
            };
            let size = (storage.len, bytes);
            if *found.entry(key).or_insert(size) != size {
                return malformed(format!("storage `{key}` has two sizes"));
            }
        }
        Ok(found)
    }

    /// The texts of a list of texts.
    pub(in crate::tensors) fn texts_of(&self, list: Value) -> Result<Vec<&str>, Fault> {
        let Value::List(list) = list else {
            return malformed(format!("a list is expected, not {}", list.kind()));
        };
        self.inside(list)
            .map(|entry| self.text(entry.value))
            .collect()
    }

    /// A value of a dictionary by its name; nothing where it is not there.
    pub(in crate::tensors) fn get(&self, dict: Value, name: &str) -> Result<Option<Value>, Fault> {
        let Value::Dict(dict) = dict else {
            return malformed(format!("a dictionary is expected, not {}", dict.kind()));
        };
        let mut entries = self.inside(dict);
        let found = entries.find(|entry| self.text(entry.key).is_ok_and(|key| key == name));
        Ok(found.map(|entry| entry.value))
    }

    /// The bytes of an integer of more than eight.
    pub(in crate::tensors) fn long(&self, value: Value) -> Option<&[u8]> {
        match value {
            Value::Long(span) => Some(span.of(self.input)),
            _ => None,
        }
    }
}
