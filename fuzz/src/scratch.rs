//! A folder that lasts as long as the process, and in which one file changes.

use std::fs;
use std::path::{Path, PathBuf};

use crate::memory::bounded;

#[derive(Debug)]
pub(crate) struct Scratch {
    folder: tempfile::TempDir,
}

impl Scratch {
    /// With these files in it.
    pub(crate) fn with(files: &[(&str, &[u8])]) -> Self {
        let scratch = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        for (name, bytes) in files {
            scratch.write(name, bytes);
        }
        scratch
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).expect("a folder");
        }
        fs::write(&path, bytes).expect("room for a file");
        path
    }

    /// Writes a file, and reads it under the bounds.
    pub(crate) fn read<T>(&self, name: &str, bytes: &[u8], read: impl FnOnce(&Path) -> T) -> T {
        let path = self.write(name, bytes);
        bounded(bytes.len(), || read(&path))
    }
}

/// The first byte, as a choice among so many, and the rest.
pub(crate) fn choose(data: &[u8], among: usize) -> (usize, &[u8]) {
    match data.split_first() {
        Some((&first, rest)) => (usize::from(first) % among, rest),
        None => (0, data),
    }
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
