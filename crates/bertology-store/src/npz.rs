//! NumPy archives: a zip of stored `.npy` files with no time of day in it.

use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

use crate::shard::{flushed, folder_of, persist, temporary};
use crate::{ArraySpec, Element, Float, FullShard, StoreError};

/// From this size on an entry of a zip archive needs 64-bit sizes.
const LARGE: u64 = u32::MAX as u64;

/// The header of a `.npy` file, version 1.0.
fn header(kind: &str, shape: &[u64]) -> Vec<u8> {
    let sizes: Vec<String> = shape.iter().map(u64::to_string).collect();
    let comma = if sizes.len() == 1 { "," } else { "" };
    let mut text = format!(
        "{{'descr': '{kind}', 'fortran_order': False, 'shape': ({}{comma}), }}",
        sizes.join(", ")
    );
    // Ten bytes before the text, a line end behind it, a multiple of 64 in all.
    let padding = (text.len() + 11).next_multiple_of(64) - text.len() - 11;
    text.extend(std::iter::repeat_n(' ', padding));
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

/// Refuses what NumPy cannot express.
///
/// # Errors
/// [`StoreError::NoSuchElement`] for bfloat16.
pub fn check(float: Float) -> Result<(), StoreError> {
    numpy(Element::Float(float)).map(drop)
}

fn numpy(element: Element) -> Result<&'static str, StoreError> {
    element.numpy().ok_or(StoreError::NoSuchElement {
        format: "NumPy's npz",
        element,
        instead: "float32, float16 or the format safetensors",
    })
}

/// Nearly the size of an archive with these arrays, not less.
#[must_use]
pub fn npz_bytes(arrays: &[ArraySpec]) -> u64 {
    let entry = |array: &ArraySpec| {
        let kind = array.element.numpy().unwrap_or("<f4");
        // Two zip records with the name, 64-bit sizes and their fixed parts.
        header(kind, &array.shape).len() as u64 + array.bytes() + 2 * (array.name.len() as u64 + 70)
    };
    arrays.iter().map(entry).sum::<u64>() + 128
}

impl FullShard {
    /// Saves as a NumPy archive, `numpy.load` reads it; gives its size.
    ///
    /// # Errors
    /// [`StoreError::NoSuchElement`] for bfloat16, [`StoreError::Io`], [`StoreError::Zip`].
    pub fn save_npz(self, path: &Path) -> Result<u64, StoreError> {
        let failed = |source| StoreError::Zip {
            path: path.to_owned(),
            source,
        };
        let file = BufWriter::new(temporary(&folder_of(path))?);
        let mut archive = ZipWriter::new(file);
        for (at, array) in self.arrays().iter().enumerate() {
            let header = header(numpy(array.element)?, &array.shape);
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Stored)
                .last_modified_time(zip::DateTime::default())
                .unix_permissions(0o644)
                .large_file(header.len() as u64 + array.bytes() >= LARGE);
            archive
                .start_file(format!("{}.npy", array.name), options)
                .map_err(failed)?;
            let mut values = self.reader(at, 0)?;
            archive
                .write_all(&header)
                .and_then(|()| copy(&mut values, &mut archive))
                .map_err(StoreError::io("write", path))?;
        }
        let file = archive.finish().map_err(failed)?;
        persist(flushed(file).map_err(StoreError::io("write", path))?, path)
    }
}

/// As `io::copy`, in pieces that make the disk happy.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 18];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => to.write_all(&buffer[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
