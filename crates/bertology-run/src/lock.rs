//! One process at a time in a run folder.
//!
//! The lock is the operating system's, on a file that names its holder: it ends with the process, however that
//! ends, so that what a killed process leaves blocks nobody.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::FolderError;
use crate::registry::LOCK;
use crate::time::timestamp;

/// A lock that somebody only looks at, or that is just being given up, is free again at once.
const TRIES: usize = 20;
const BETWEEN: Duration = Duration::from_millis(5);

/// Who writes into a run folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The number of the process.
    pub pid: u32,
    /// The machine that it runs on.
    pub host: String,
    /// Universal time when it took the folder.
    pub since: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, host, since } = self;
        write!(f, "process {pid} on {host} since {since}")
    }
}

impl Holder {
    fn here() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            pid: std::process::id(),
            host: host(),
            since: timestamp(now.map_or(0, |time| time.as_secs())),
        }
    }
}

/// The name of this machine, as far as it says it.
fn host() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let known = kernel
        .or_else(|| std::env::var("HOSTNAME").ok())
        .or_else(|| std::env::var("COMPUTERNAME").ok());
    match known.as_deref().map(str::trim) {
        None | Some("") => "a machine without a name".into(),
        Some(name) => name.into(),
    }
}

/// A folder that is this process's; the file goes with it.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    /// None where the file system knows no locks.
    file: Option<File>,
    /// Why there is none.
    refused: Option<io::Error>,
}

impl Lock {
    /// Takes a folder that is there.
    pub(crate) fn take(folder: &Path) -> Result<Self, FolderError> {
        let path = folder.join(LOCK);
        for attempt in 0..TRIES {
            if attempt > 0 {
                std::thread::sleep(BETWEEN);
            }
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let file = options
                .open(&path)
                .map_err(FolderError::io("create", &path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => {
                    let _ = fs::remove_file(&path);
                    return Ok(Self {
                        path,
                        file: None,
                        refused: Some(error),
                    });
                }
            }
            // Its last holder may have removed it in between: then the lock is on a file that nobody sees.
            if same_file(&file, &path) {
                sign(&file).map_err(FolderError::io("write", &path))?;
                return Ok(Self {
                    path,
                    file: Some(file),
                    refused: None,
                });
            }
        }
        Err(FolderError::InUse {
            path: folder.into(),
            holder: read(&path),
        })
    }

    /// Why the folder is not locked, if it is not.
    pub(crate) fn refused(&self) -> Option<&io::Error> {
        self.refused.as_ref()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.file.is_some() {
            // Before the lock goes, so that nobody else's file is removed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether another process is at work in a folder, and which, as far as it says so.
pub(crate) fn holder(folder: &Path) -> Option<Option<Holder>> {
    let path = folder.join(LOCK);
    let file = File::open(&path).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(read(&path)),
        // What nobody holds was left by a process that was killed.
        _ => None,
    }
}

fn sign(mut file: &File) -> io::Result<()> {
    file.set_len(0)?;
    serde_json::to_writer(&mut file, &Holder::here())?;
    file.flush()
}

fn read(path: &Path) -> Option<Holder> {
    let mut text = String::new();
    // A name and two numbers.
    File::open(path)
        .ok()?
        .take(4096)
        .read_to_string(&mut text)
        .ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(unix)]
fn same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(named)) => (held.dev(), held.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// Elsewhere a file that is open cannot be removed.
#[cfg(not(unix))]
fn same_file(_: &File, _: &Path) -> bool {
    true
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_holder() {
        let base = tempfile::tempdir().unwrap();
        let lock = Lock::take(base.path()).unwrap();
        let error = Lock::take(base.path()).unwrap_err().to_string();
        let pid = format!("process {} on ", std::process::id());
        assert!(
            error.contains(&pid) && error.contains(" since 2"),
            "{error}"
        );
        assert!(holder(base.path()).is_some());
        drop(lock);
        assert!(holder(base.path()).is_none());
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_process_leaves_blocks_nobody() {
        let base = tempfile::tempdir().unwrap();
        fs::write(base.path().join(LOCK), "half a na").unwrap();
        assert!(holder(base.path()).is_none());
        let lock = Lock::take(base.path()).unwrap();
        assert_eq!(
            read(&base.path().join(LOCK)).unwrap().pid,
            std::process::id()
        );
        drop(lock);
    }
}
