//! Reading JSON objects, as Python writes them, with the file in every error.

use std::path::Path;

use serde_json::{Map, Value};

use crate::Error;

/// The object in `path`, its keys in the order of the file.
pub(crate) fn read_object(path: &Path) -> Result<Map<String, Value>, Error> {
    let bytes = bertology_file::read(path).map_err(Error::io("read", path))?;
    bertology_file::from_slice(&bytes).map_err(|source| Error::Json {
        path: path.into(),
        source,
    })
}
