//! A hub and a cache: what every test with a server begins with.

use std::fs;
use std::path::{Path, PathBuf};

use bertology_hub::{HubError, HubOptions, Resolved, resolve};

use crate::server::{Hub, Server};

pub(crate) const FILES: [(&str, &[u8]); 8] = [
    ("config.json", b"{\"model_type\": \"bert\"}"),
    (
        "model.safetensors",
        b"the weights, which are longer than the rest",
    ),
    ("pytorch_model.bin", b"the same weights again"),
    ("vocab.txt", b"[PAD]\n[UNK]\n"),
    ("tokenizer_config.json", b"{}"),
    ("README.md", b"# Model"),
    ("onnx/model.onnx", b"other weights"),
    (".gitattributes", b"*"),
];

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) cache: tempfile::TempDir,
}

impl World {
    pub(crate) fn new(hub: Hub) -> Self {
        Self {
            server: Server::start(hub),
            cache: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn options(&self) -> HubOptions {
        let mut options = crate::options(self.cache.path());
        options.endpoint = self.server.endpoint();
        options
    }

    pub(crate) fn resolve(&self) -> Result<Resolved, HubError> {
        resolve("org/model", &self.options())
    }

    pub(crate) fn repo(&self) -> PathBuf {
        self.cache.path().join("models--org--model")
    }

    /// The names below a folder of the repository's cache, sorted.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.repo().join(folder)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.retain(|name| !name.ends_with(".lock"));
        names.sort();
        names
    }
}

pub(crate) fn read(folder: &Path, file: &str) -> Vec<u8> {
    fs::read(folder.join(file)).unwrap()
}
