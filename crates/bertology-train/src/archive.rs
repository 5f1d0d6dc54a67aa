//! How trainings lie on disk, exactly: a word that says what it is, a head of JSON, and arrays of f32 behind it, least byte
//! first.
//!
//! ```text
//! magic   length of the head in 8 bytes   head: JSON   arrays
//! ```
//!
//! Whoever reads knows how long the arrays are, so that nothing that a file says is allocated unseen. What is wrong with a
//! file is said in words that fit behind its name.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Numbers that are turned into bytes at a time.
const BLOCK: usize = 1 << 14;

pub(crate) fn write_head(
    writer: &mut dyn Write,
    magic: &[u8],
    head: &impl Serialize,
) -> io::Result<()> {
    let head = serde_json::to_vec(head)?;
    writer.write_all(magic)?;
    writer.write_all(&(head.len() as u64).to_le_bytes())?;
    writer.write_all(&head)
}

pub(crate) fn write_array(writer: &mut dyn Write, array: &[f32]) -> io::Result<()> {
    let mut bytes = Vec::new();
    for values in array.chunks(BLOCK) {
        bytes.clear();
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        writer.write_all(&bytes)?;
    }
    Ok(())
}

fn ends_too_soon(_: io::Error) -> String {
    "ends too soon".into()
}

/// A head of at most `longest` bytes.
pub(crate) fn read_head<T: DeserializeOwned>(
    reader: &mut dyn Read,
    magic: &[u8],
    longest: u64,
) -> Result<T, String> {
    let mut found = vec![0; magic.len()];
    reader.read_exact(&mut found).map_err(ends_too_soon)?;
    if found != magic {
        return Err("is of another kind, or of another version".into());
    }
    let mut length = [0; 8];
    reader.read_exact(&mut length).map_err(ends_too_soon)?;
    let length = u64::from_le_bytes(length);
    if length > longest {
        return Err("has a head of an impossible length".into());
    }
    let mut head = Vec::new();
    let mut inside = reader.take(length);
    inside.read_to_end(&mut head).map_err(ends_too_soon)?;
    if head.len() as u64 != length {
        return Err("ends too soon".into());
    }
    serde_json::from_slice(&head)
        .map_err(|error| format!("has a head that cannot be read: {error}"))
}

/// Fills an array.
pub(crate) fn read_array(reader: &mut dyn Read, array: &mut [f32]) -> Result<(), String> {
    let mut bytes = Vec::new();
    for values in array.chunks_mut(BLOCK) {
        bytes.resize(values.len() * 4, 0);
        reader.read_exact(&mut bytes).map_err(ends_too_soon)?;
        let (words, _) = bytes.as_chunks::<4>();
        for (value, word) in values.iter_mut().zip(words) {
            *value = f32::from_le_bytes(*word);
        }
    }
    Ok(())
}

/// Nothing may follow.
pub(crate) fn expect_end(reader: &mut dyn Read) -> Result<(), String> {
    match reader.read(&mut [0]).map_err(ends_too_soon)? {
        0 => Ok(()),
        _ => Err("goes on behind its end".into()),
    }
}
