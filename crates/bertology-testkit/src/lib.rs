//! What the tests of several crates share.
//!
//! Everything here panics where a file is missing or broken: that is a failed test.

#![allow(clippy::unwrap_used, reason = "only tests depend on this crate")]

mod tensors;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

pub use tensors::Tensors;

/// Beside files in a golden folder: which others of that folder are kept in a neighbour, by name.
const SAME_AS: &str = "same_as.json";

/// The folder of the workspace.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// A file or folder of `golden/`, as in `engine/bert-absolute` or `studies/cluster.json`.
///
/// A folder that shares files with its neighbours is put together beside the test program, from links; it
/// must not be written to.
///
/// # Panics
/// If there is no such thing.
#[must_use]
pub fn golden(path: &str) -> PathBuf {
    let kept = workspace().join("golden").join(path);
    assert!(kept.exists(), "there is no {}", kept.display());
    let shared = shared(&kept);
    if shared.is_empty() {
        return kept;
    }
    assemble(path, &kept, &shared).unwrap()
}

/// The names of the folders in a part of `golden/`, such as `engine`, in order.
///
/// # Panics
/// If there is no such part.
#[must_use]
pub fn golden_folders(part: &str) -> Vec<String> {
    let entries = fs::read_dir(workspace().join("golden").join(part)).unwrap();
    let mut names: Vec<String> = entries
        .map(Result::unwrap)
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The files of a folder that are kept elsewhere, and where.
fn shared(folder: &Path) -> BTreeMap<String, PathBuf> {
    let Ok(text) = fs::read_to_string(folder.join(SAME_AS)) else {
        return BTreeMap::new();
    };
    let named: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
    let neighbours = folder.parent().unwrap();
    named
        .into_iter()
        .map(|(name, holder)| (name.clone(), neighbours.join(holder).join(name)))
        .collect()
}

/// A folder of links to what is kept in `kept` and to `shared`.
fn assemble(
    path: &str,
    kept: &Path,
    shared: &BTreeMap<String, PathBuf>,
) -> Result<PathBuf, io::Error> {
    let mut files = shared.clone();
    for entry in fs::read_dir(kept)? {
        let entry = entry?;
        if entry.file_name() != SAME_AS {
            files.insert(entry.file_name().into_string().unwrap(), entry.path());
        }
    }
    // Named by what it links to: another checkout or another list is another folder.
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    let programs = env::current_exe()?.parent().unwrap().join("golden");
    let place = programs
        .join(format!("{:016x}", hasher.finish()))
        .join(path);
    if place.is_dir() {
        return Ok(place);
    }
    let parent = place.parent().unwrap();
    fs::create_dir_all(parent)?;
    let made = tempfile::tempdir_in(parent)?;
    for (name, file) in &files {
        link(&file.canonicalize()?, &made.path().join(name))?;
    }
    // Tests run side by side; who comes second finds the folder there, which is as good.
    let made = made.keep();
    if fs::rename(&made, &place).is_err() {
        fs::remove_dir_all(&made)?;
    }
    assert!(place.is_dir(), "{} could not be made", place.display());
    Ok(place)
}

#[cfg(unix)]
fn link(from: &Path, to: &Path) -> Result<(), io::Error> {
    std::os::unix::fs::symlink(from, to)
}

#[cfg(not(unix))]
fn link(from: &Path, to: &Path) -> Result<(), io::Error> {
    fs::copy(from, to).map(|_| ())
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    /// Smaller files stay where they are looked for; the same number as in `tools/golden/shared.py`.
    const LEAST: u64 = 4096;

    #[test]
    fn no_golden_file_is_a_copy_of_another() {
        let mut seen = BTreeMap::new();
        let mut folders = vec![workspace().join("golden")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.metadata().unwrap().len() >= LEAST {
                    let digest = Sha256::digest(fs::read(&path).unwrap()).to_vec();
                    if let Some(other) = seen.insert(digest, path.clone()) {
                        panic!("{} is {}", path.display(), other.display());
                    }
                }
            }
        }
        assert!(seen.len() > 60, "{} files", seen.len());
    }

    #[test]
    fn shared_files_are_those_of_the_neighbour() {
        let (twin, holder) = (
            golden("engine/gpt2-upcast"),
            golden("engine/gpt2-token-types"),
        );
        let read = |folder: &Path, file: &str| fs::read(folder.join(file)).unwrap();
        assert_eq!(
            read(&twin, "model.safetensors"),
            read(&holder, "model.safetensors")
        );
        assert_ne!(read(&twin, "config.json"), read(&holder, "config.json"));
        assert!(!twin.join(SAME_AS).exists());
        assert_eq!(twin, golden("engine/gpt2-upcast"));
    }

    #[test]
    fn every_part_has_its_folders() {
        assert!(golden_folders("engine").contains(&"bert-absolute".to_owned()));
        assert!(golden_folders("tokenizer").contains(&"gpt2".to_owned()));
    }

    #[test]
    #[should_panic(expected = "there is no")]
    fn what_is_missing_is_named() {
        let _ = golden("engine/bert-unheard-of");
    }
}
