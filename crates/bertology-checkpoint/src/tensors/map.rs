//! A weights file in memory without reading it first.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;

use crate::Error;

/// The bytes of a file, mapped read-only where it is on a disk, and shared by the tensors in it.
#[derive(Debug, Clone)]
pub(crate) enum FileBytes {
    Mapped(Arc<Mmap>),
    /// Of a folder in memory.
    Held(Arc<Vec<u8>>),
}

impl FileBytes {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        if let Some(bytes) = bertology_file::held(path) {
            return Ok(Self::Held(bytes));
        }
        let file = bertology_file::open(path).map_err(Error::io("open", path))?;
        let length = file.metadata().map_err(Error::io("read", path))?.len();
        if length == 0 {
            return Err(Error::Corrupt {
                path: path.into(),
                problem: "the file is empty".into(),
            });
        }
        #[allow(unsafe_code, reason = "mapping a file has no safe interface")]
        // SAFETY: the map is read-only and handed out only as `&[u8]`, for which every bit pattern
        // is valid. The remaining condition, that nobody shortens or rewrites the file meanwhile,
        // holds for model folders: the hub's cache and our own writer replace files by renaming,
        // which leaves a mapped file intact.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io("map", path))?;
        Ok(Self::Mapped(Arc::new(map)))
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Held(bytes) => bytes,
        }
    }

    /// Gives the memory of a stretch back to the system; whoever reads there again has it read from the
    /// file again. Nothing happens on systems that cannot do this, nor to what lies in memory alone: it changes no content, only memory.
    pub(crate) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Self::Mapped(map) = self {
            #[allow(unsafe_code, reason = "advice on a map may discard changes to it")]
            // SAFETY: the map is read-only and backed by a file, so there are no changes to discard.
            let _ = unsafe {
                map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len())
            };
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}
