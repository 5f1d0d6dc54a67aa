//! Files from outside, opened and read with care.
//!
//! Whoever reads a file that somebody else may have written reads it here. A pipe would block for ever, a
//! device never end, and a pointer of git-lfs is not what its name says: all three are refused, as
//! [`std::io::Error`]s whose text says what to do. Errors of the readers wrap them and name the file.

mod json;
mod memory;

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

use thiserror::Error;

pub use json::{as_python_writes, from_slice, python_float, shown};
pub use memory::{IN_MEMORY, MemoryFolder, exists, held, is_file, is_folder, length, names};

/// The most that is read into memory at once, in bytes: far above any file that is not mapped or read line by
/// line, and below what would bring a machine down.
pub const WHOLE: u64 = 1 << 30;

/// How a pointer of git-lfs begins (<https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>).
const LFS: &[u8] = b"version https://git-lfs";

/// Why a file was not read although the system would have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A pipe, a device or a socket: it may block, never end, and cannot be read twice.
    #[error("it is {what}, not a file; save what it gives to a file and give that")]
    NotAFile {
        /// `a pipe`, `a device` or `a socket`.
        what: &'static str,
    },
    /// What git leaves in the place of a large file that was not fetched.
    #[error("it is a git-lfs pointer, not the file itself; run `git lfs pull` in its folder")]
    LfsPointer,
    /// Larger than [`WHOLE`].
    #[error("it has {found} bytes, and files of this kind are read up to {most} bytes")]
    TooLarge {
        /// Bytes that it has, or that were read before giving up.
        found: u64,
        /// Bytes that would do.
        most: u64,
    },
}

impl Refusal {
    /// What an error was made of, if it was one of these.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal {
            Refusal::NotAFile { .. } => io::ErrorKind::InvalidInput,
            Refusal::LfsPointer | Refusal::TooLarge { .. } => io::ErrorKind::InvalidData,
        };
        Self::new(kind, refusal)
    }
}

/// Opens a file for reading. The kind is asked before, since opening a pipe waits for whoever writes into it.
/// A folder is opened as the system opens it: reading from it fails.
///
/// # Errors
/// What the system says, and [`Refusal::NotAFile`].
pub fn open(path: &Path) -> io::Result<File> {
    check(&std::fs::metadata(path)?)?;
    let file = File::open(path)?;
    // Another file may lie there by now.
    check(&file.metadata()?)?;
    Ok(file)
}

fn check(metadata: &Metadata) -> Result<(), Refusal> {
    let kind = metadata.file_type();
    if kind.is_file() || kind.is_dir() {
        return Ok(());
    }
    Err(Refusal::NotAFile { what: what(kind) })
}

#[cfg(unix)]
fn what(kind: std::fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(not(unix))]
fn what(_kind: std::fs::FileType) -> &'static str {
    "a device"
}

/// A whole file, at most [`WHOLE`] bytes, on disk or [in memory](MemoryFolder).
///
/// # Errors
/// What the system says, and every [`Refusal`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_up_to(path, WHOLE)
}

/// A whole file of at most so many bytes.
///
/// # Errors
/// As [`read`].
pub fn read_up_to(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let too_large = |found| Refusal::TooLarge { found, most };
    if let Some(bytes) = held(path) {
        return match bytes.len() as u64 {
            length if length > most => Err(too_large(length).into()),
            _ => Ok(bytes.to_vec()),
        };
    }
    let file = open(path)?;
    let length = file.metadata()?.len();
    if length > most {
        return Err(too_large(length).into());
    }
    let mut bytes = Vec::new();
    let room = usize::try_from(length).unwrap_or(usize::MAX);
    bytes.try_reserve_exact(room.saturating_add(1))?;
    // Some files of the system claim no bytes and give many.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(too_large(bytes.len() as u64).into());
    }
    if is_lfs_pointer(&bytes) {
        return Err(Refusal::LfsPointer.into());
    }
    Ok(bytes)
}

/// A whole text of UTF-8, at most [`WHOLE`] bytes.
///
/// # Errors
/// As [`read`], and bytes that are not UTF-8.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

/// Whether these are the first bytes of a pointer of git-lfs.
#[must_use]
pub fn is_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(LFS)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_or_refused_by_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(read(&path).unwrap(), b"12345");
        assert_eq!(read_up_to(&path, 5).unwrap(), b"12345");
        let error = read_up_to(&path, 4).unwrap_err();
        assert_eq!(
            Refusal::of(&error),
            Some(Refusal::TooLarge { found: 5, most: 4 })
        );
        // A hole costs nothing on disk and would cost its length in memory.
        let file = File::create(&path).unwrap();
        file.set_len(1 << 40).unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(
            Refusal::of(&error),
            Some(Refusal::TooLarge { .. })
        ));
        assert!(read(folder.path()).is_err(), "a folder");
    }

    #[test]
    fn a_pointer_is_told_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n";
        std::fs::write(&path, pointer).unwrap();
        let error = read(&path).unwrap_err();
        assert_eq!(Refusal::of(&error), Some(Refusal::LfsPointer));
        assert!(error.to_string().contains("git lfs pull"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn devices_and_sockets_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        for (path, what) in [
            (path.as_path(), "a socket"),
            (Path::new("/dev/zero"), "a device"),
        ] {
            let error = read(path).unwrap_err();
            assert_eq!(Refusal::of(&error), Some(Refusal::NotAFile { what }));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_refused_without_waiting_for_a_writer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let error = open(&path).unwrap_err();
        assert_eq!(
            Refusal::of(&error),
            Some(Refusal::NotAFile { what: "a pipe" })
        );
    }
}
