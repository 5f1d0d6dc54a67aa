//! `state.json`: what an unfinished run has summed up, whose it is, and a checksum of both.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::error::FolderError;
use crate::identity::Identity;
use crate::registry::STATE;

/// What `state.json` holds besides its checksum.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Saved {
    /// The folder still has files of an earlier run, which this one is about to remove.
    #[serde(default)]
    pub(crate) clearing: bool,
    /// Whose it is.
    pub identity: Identity,
    /// What was summed up.
    pub state: Value,
}

/// The file begins with this, the checksum and [`CLOSE`]; what is checked is all that follows.
const OPEN: &[u8] = br#"{"sha256":""#;
const CLOSE: &[u8] = br#"","#;
const DIGITS: usize = 64;

/// SHA-256 in hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of the file.
pub(crate) fn seal(saved: &Saved) -> Result<Vec<u8>, FolderError> {
    let body = serde_json::to_vec(saved).map_err(|source| FolderError::Document {
        name: STATE.into(),
        source,
    })?;
    let rest = body.strip_prefix(b"{").unwrap_or(&body);
    let sum = sha256(rest);
    Ok([OPEN, sum.as_bytes(), CLOSE, rest].concat())
}

/// What the file holds, if it is as it was written.
pub(crate) fn unseal(path: &Path, bytes: &[u8]) -> Result<Saved, FolderError> {
    let damaged = || FolderError::Damaged { path: path.into() };
    let after = bytes.strip_prefix(OPEN).ok_or_else(damaged)?;
    let (sum, after) = after.split_at_checked(DIGITS).ok_or_else(damaged)?;
    let rest = after.strip_prefix(CLOSE).ok_or_else(damaged)?;
    if sha256(rest).as_bytes() != sum {
        return Err(damaged());
    }
    serde_json::from_slice(bytes).map_err(|source| FolderError::State {
        path: path.into(),
        source,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_changed_byte_is_seen() {
        let saved = Saved {
            clearing: false,
            identity: Identity {
                command: "syntax".into(),
                version: "1".into(),
                options: json!({ "limit": 3 }),
                model_sha256: "aa".into(),
                tokenizer_sha256: None,
                data_sha256: None,
            },
            state: json!([0.1, 17, "x"]),
        };
        let bytes = seal(&saved).unwrap();
        let path = Path::new("state.json");
        assert_eq!(unseal(path, &bytes).unwrap().state, saved.state);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let found = unseal(path, &changed).unwrap_err();
            assert!(
                matches!(found, FolderError::Damaged { .. }),
                "byte {at}: {found}"
            );
            assert!(unseal(path, &bytes[..at]).is_err(), "cut to {at}");
        }
    }
}
