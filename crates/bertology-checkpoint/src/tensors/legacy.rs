//! PyTorch's format before 1.6, which `torch.save(..., _use_new_zipfile_serialization=False)` still writes:
//! five pickles one behind the other (a magic number, the version, facts of the machine, the state dict, the
//! names of the storages), then each storage: its number of elements in eight bytes, and its bytes
//! (`torch.serialization._legacy_save`).

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::Tensor;
use super::map::FileBytes;
use super::pickle::{corrupt, fault, view};
use super::unpickle::{Fault, Machine, TensorSpec, Value, malformed};
use crate::Error;

/// `0x1950a86a20f9469cfc6c`, little-endian as a pickle holds it.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const VERSION: i64 = 1001;

pub(super) fn read(path: &Arc<Path>, file: &FileBytes) -> Result<Vec<Tensor>, Error> {
    let bytes = file.as_slice();
    let found = parse(bytes).map_err(|found| fault(path, found))?;
    found
        .entries
        .into_iter()
        .map(|(name, spec)| {
            let Some(range) = found.storages.get(&spec.storage) else {
                let problem = format!("tensor `{name}` lies in a storage that is not in the file");
                return Err(corrupt(path, problem));
            };
            view(path, file, range.clone(), name, spec)
        })
        .collect()
}

struct Found {
    entries: Vec<(String, TensorSpec)>,
    /// Where in the file the bytes of a storage lie.
    storages: HashMap<String, Range<usize>>,
}

fn parse(bytes: &[u8]) -> Result<Found, Fault> {
    let mut at = 0;
    let (magic, machine) = next(bytes, &mut at)?;
    if machine.long(magic) != Some(&MAGIC) {
        return Err(Fault::Other(
            "it is a pickle, but not one that PyTorch wrote".into(),
        ));
    }
    let (version, _) = next(bytes, &mut at)?;
    if !matches!(version, Value::Int(VERSION)) {
        return malformed(format!("its version is not {VERSION}"));
    }
    let (facts, machine) = next(bytes, &mut at)?;
    if matches!(
        machine.get(facts, "little_endian")?,
        Some(Value::Bool(false))
    ) {
        return malformed("its numbers are big-endian; save it again elsewhere");
    }
    let (state, machine) = next(bytes, &mut at)?;
    let entries = machine.tensors_of(state)?;
    let sizes = machine.storages()?;
    let (keys, machine) = next(bytes, &mut at)?;
    let mut storages = HashMap::new();
    for key in machine.texts_of(keys)? {
        let Some(&(len, size)) = sizes.get(key) else {
            return malformed(format!("storage `{key}` belongs to no tensor"));
        };
        let start = at.checked_add(8);
        let end = start.and_then(|start| start.checked_add(size));
        let (Some(start), Some(end)) = (start, end.filter(|end| *end <= bytes.len())) else {
            return malformed(format!("storage `{key}` ends outside the file"));
        };
        if bytes.get(at..start) != Some(&(len as u64).to_le_bytes()) {
            return malformed(format!(
                "storage `{key}` has another size than its tensors say"
            ));
        }
        storages.insert(key.to_owned(), start..end);
        at = end;
    }
    Ok(Found { entries, storages })
}

/// The pickle at a place of the file, which moves behind it.
fn next<'a>(bytes: &'a [u8], at: &mut usize) -> Result<(Value, Machine<'a>), Fault> {
    let mut machine = Machine::new(bytes.get(*at..).unwrap_or_default());
    let value = machine.run()?;
    *at += machine.taken();
    Ok((value, machine))
}
