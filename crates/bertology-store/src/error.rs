//! What the store refuses, with the evidence.

use std::io;
use std::path::{Path, PathBuf};

use bertology_error::Kind;

use crate::Element;

/// Why a shard could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// An element type that the format does not have.
    #[error("{format} has no {element} numbers; take {instead}", element = element.name())]
    NoSuchElement {
        /// The format.
        format: &'static str,
        /// The element type.
        element: Element,
        /// What would do.
        instead: &'static str,
    },
    /// More or fewer bytes than the array has room for.
    #[error(
        "the array {array} of the shard has room for {expected} bytes and was given {given}; the \
         texts are not the ones that were counted"
    )]
    Size {
        /// The array.
        array: String,
        /// Bytes by its shape.
        expected: u64,
        /// Bytes that came.
        given: u64,
    },
    /// The library for zip archives refused.
    #[error("cannot write {}: {source}", path.display())]
    Zip {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: zip::result::ZipError,
    },
    /// The library for Parquet refused.
    #[cfg(feature = "parquet")]
    #[error("cannot write {}: {source}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: parquet::errors::ParquetError,
    },
    /// A table whose columns do not fit its arrays.
    #[error("the column {column} cannot be written: {reason}")]
    Column {
        /// The column.
        column: String,
        /// Why not.
        reason: String,
    },
}

impl StoreError {
    /// Whose fault it was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            #[cfg(feature = "parquet")]
            Self::Parquet { .. } => Kind::Environment,
            Self::Io { .. } | Self::Size { .. } | Self::Zip { .. } => Kind::Environment,
            // Whoever writes a table made its columns and its arrays.
            Self::Column { .. } => Kind::Internal,
            Self::NoSuchElement { .. } => Kind::Input,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_the_surroundings_and_a_format_is_chosen() {
        let full = StoreError::io("write", Path::new("a"))(io::ErrorKind::StorageFull.into());
        assert_eq!(full.kind(), Kind::Environment);
        let format = StoreError::NoSuchElement {
            format: "npz",
            element: Element::Float(crate::Float::Bf16),
            instead: "float32",
        };
        assert_eq!(format.kind(), Kind::Input);
        let column = StoreError::Column {
            column: "text".to_owned(),
            reason: String::new(),
        };
        assert_eq!(column.kind(), Kind::Internal);
        assert_eq!(crate::npy::NpyError::NotNpy.kind(), Kind::Input);
    }
}
