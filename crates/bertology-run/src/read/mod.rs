//! A run folder, read back: `run.json`, arrays and tables; no model.
//!
//! Folders of older versions lack some files: what is missing is told, what is there is read. What is there
//! and damaged is an error that names the file.

mod error;
mod files;
mod record;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::FORMAT;
use crate::registry::RUN;

pub use error::RunError;
pub use files::Rows;
pub use record::text_of;

/// Layers of a model, and heads of a layer: several times those of any model. Pages have a number for each head
/// and for each pair of layers, so that what `run.json` claims beyond them would only ask for memory.
const MOST_LAYERS: usize = 1024;
/// Heads of a model, with those that were pruned.
const MOST_HEADS: usize = 1 << 16;

/// What `run.json` says of the model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFacts {
    /// As the user named it.
    pub name: String,
    /// BERT, GPT-2 and so on.
    pub family: String,
    /// Layers.
    pub layers: usize,
    /// Heads of a layer of the unpruned model.
    pub heads: usize,
    /// Heads that are left.
    pub present: u64,
    /// Weights.
    pub parameters: Option<u64>,
    /// SHA-256 of the model's content.
    pub sha256: String,
}

/// A complete run.
#[derive(Debug, Clone)]
pub struct Run {
    folder: PathBuf,
    record: Value,
    command: String,
    model: ModelFacts,
    /// Files that were read and found as they were written.
    sound: Arc<Mutex<BTreeSet<String>>>,
}

impl Run {
    /// Reads the record of a run; arrays and tables are read when they are needed.
    ///
    /// # Errors
    /// A folder without `run.json`, a `run.json` that is not this program's or is of a newer version.
    pub fn open(folder: &Path) -> Result<Self, RunError> {
        let path = folder.join(RUN);
        let bytes = bertology_file::read(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => RunError::NotARun {
                folder: folder.into(),
            },
            _ => RunError::Io {
                path: path.clone(),
                source,
            },
        })?;
        let record: Value = serde_json::from_slice(&bytes).map_err(|source| RunError::Json {
            path: path.clone(),
            source,
        })?;
        let lacks = |what: &'static str| RunError::Lacks {
            path: path.clone(),
            what,
        };
        let format = record.get("format").and_then(Value::as_u64);
        match format.ok_or_else(|| lacks("format"))? {
            FORMAT => {}
            found => {
                return Err(RunError::Format {
                    path,
                    found,
                    known: FORMAT,
                });
            }
        }
        let text = |pointer: &'static str| {
            let value = record.pointer(pointer).and_then(Value::as_str);
            value
                .map(str::to_owned)
                .ok_or_else(|| lacks(pointer.trim_start_matches('/')))
        };
        let whole = |pointer: &'static str| {
            let value = record.pointer(pointer).and_then(Value::as_u64);
            value.ok_or_else(|| lacks(pointer.trim_start_matches('/')))
        };
        let size = |pointer: &'static str| {
            let value = usize::try_from(whole(pointer)?).ok();
            let value = value.filter(|value| (1..=MOST_LAYERS).contains(value));
            value.ok_or_else(|| lacks(pointer.trim_start_matches('/')))
        };
        let (layers, heads) = (size("/model/num_layers")?, size("/model/num_heads")?);
        if layers * heads > MOST_HEADS {
            return Err(lacks("number of heads"));
        }
        let model = ModelFacts {
            name: text("/model/name")?,
            family: text("/model/family").unwrap_or_default(),
            layers,
            heads,
            present: whole("/model/heads_present").unwrap_or((layers * heads) as u64),
            parameters: whole("/model/parameters").ok(),
            sha256: text("/identity/model_sha256").or_else(|_| text("/model/sha256"))?,
        };
        let command = text("/command")?;
        Ok(Self {
            sound: Arc::default(),
            folder: folder.into(),
            command,
            model,
            record,
        })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The command that wrote it.
    #[must_use]
    pub fn command(&self) -> &str {
        &self.command
    }

    /// The model that it is about.
    #[must_use]
    pub fn model(&self) -> &ModelFacts {
        &self.model
    }

    /// The folder's last name, to tell runs apart.
    #[must_use]
    pub fn name(&self) -> String {
        let path = self
            .folder
            .canonicalize()
            .unwrap_or_else(|_| self.folder.clone());
        let name = path.file_name().unwrap_or(path.as_os_str());
        name.to_string_lossy().into_owned()
    }
}
