//! Folders that lie in memory alone.
//!
//! A program that has a model in its memory, and on no disk, puts the files that the model would be into one of these.
//! Whoever reads through this crate then reads them by their path, as any other file. The paths begin with
//! [`IN_MEMORY`], which names nothing on a disk unless somebody made it; what is in memory comes first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// How the path of every such folder begins.
pub const IN_MEMORY: &str = "in-memory";

type Files = BTreeMap<String, Arc<Vec<u8>>>;

static FOLDERS: RwLock<BTreeMap<PathBuf, Files>> = RwLock::new(BTreeMap::new());

/// A folder in memory. Its files can be read for as long as it lives; what is read already stays.
#[derive(Debug)]
pub struct MemoryFolder {
    path: PathBuf,
}

impl MemoryFolder {
    /// A folder of these files, by name. Its path ends with `name`, in which everything but letters, digits, `-`, `_` and
    /// `.` becomes `-`.
    #[must_use]
    pub fn new(name: &str, files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let name: String = name
            .chars()
            .map(|c| if plain(c) { c } else { '-' })
            .collect();
        // Each in a folder of its own, so that two of one name differ.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed).to_string();
        let path: PathBuf = [IN_MEMORY, &number, &name].iter().collect();
        let files = files.into_iter();
        let files = files.map(|(name, bytes)| (name, Arc::new(bytes))).collect();
        let mut folders = FOLDERS.write().unwrap_or_else(PoisonError::into_inner);
        folders.insert(path.clone(), files);
        Self { path }
    }

    /// Where its files are found.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for MemoryFolder {
    fn drop(&mut self) {
        let mut folders = FOLDERS.write().unwrap_or_else(PoisonError::into_inner);
        folders.remove(&self.path);
    }
}

/// What `found` makes of the files of a folder in memory; nothing where it is none.
fn within<T>(folder: &Path, found: impl FnOnce(&Files) -> T) -> Option<T> {
    let folders = FOLDERS.read().unwrap_or_else(PoisonError::into_inner);
    folders.get(folder).map(found)
}

/// The bytes of a file that lies in memory; nothing where it does not.
#[must_use]
pub fn held(path: &Path) -> Option<Arc<Vec<u8>>> {
    let name = path.file_name()?.to_str()?;
    within(path.parent()?, |files| files.get(name).cloned()).flatten()
}

/// Whether there is a folder, on disk or in memory.
#[must_use]
pub fn is_folder(path: &Path) -> bool {
    within(path, |_| ()).is_some() || path.is_dir()
}

/// Whether there is a file, on disk or in memory.
#[must_use]
pub fn is_file(path: &Path) -> bool {
    held(path).is_some() || path.is_file()
}

/// Whether there is anything of that name, on disk or in memory.
#[must_use]
pub fn exists(path: &Path) -> bool {
    held(path).is_some() || within(path, |_| ()).is_some() || path.exists()
}

/// The length of a file in bytes, on disk or in memory.
///
/// # Errors
/// What the system says.
pub fn length(path: &Path) -> std::io::Result<u64> {
    match held(path) {
        Some(bytes) => Ok(bytes.len() as u64),
        None => Ok(std::fs::metadata(path)?.len()),
    }
}

/// The names of what lies in a folder, sorted, on disk or in memory. Names that are not UTF-8 are left out.
///
/// # Errors
/// What the system says.
pub fn names(folder: &Path) -> std::io::Result<Vec<String>> {
    if let Some(names) = within(folder, |files| files.keys().cloned().collect()) {
        return Ok(names);
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        names.extend(entry?.file_name().to_str().map(str::to_owned));
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn files_are_there_while_the_folder_lives() {
        let file = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
        let folder = MemoryFolder::new("A model/1", [file("b", "two"), file("a", "one")]);
        let path = folder.path().to_owned();
        assert!(path.ends_with("A-model-1"), "{path:?}");
        assert!(is_folder(&path) && exists(&path) && !is_file(&path));
        let a = path.join("a");
        assert!(is_file(&a) && exists(&a) && !is_folder(&a));
        assert_eq!(crate::read(&a).unwrap(), b"one");
        assert_eq!(crate::read_up_to(&a, 3).unwrap(), b"one");
        assert!(crate::read_up_to(&a, 2).is_err());
        assert_eq!(names(&path).unwrap(), ["a", "b"]);
        assert_eq!(length(&a).unwrap(), 3);
        assert!(!exists(&path.join("c")));

        let other = MemoryFolder::new("A model/1", [file("a", "1")]);
        assert_ne!(other.path(), path);
        let kept = held(&a).unwrap();
        drop(folder);
        assert!(!exists(&a) && !is_folder(&path) && names(&path).is_err());
        assert_eq!(*kept, b"one");
    }
}
