//! A training on its way to disk and back: exact, so that one that was killed comes to the same bytes.
//!
//! ```text
//! "fine-tuning 1\n"   length of the head in 8 bytes   head: JSON   arrays: f32, least byte first
//! ```
//!
//! The arrays are the weights, the means of gradients and of their squares and, where the best weights are to be kept and
//! are not the last, those.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Evaluated, Step};
use crate::Error;

const MAGIC: &[u8; 14] = b"fine-tuning 1\n";
/// More than courses of a million steps take.
const LONGEST_HEAD: u64 = 1 << 30;

/// How far a training has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Course {
    /// Every step so far.
    pub(crate) steps: Vec<Step>,
    /// Every look at the dev set so far.
    pub(crate) evaluated: Vec<Evaluated>,
    /// Which of them was the best.
    pub(crate) best: Option<usize>,
    /// It is over before its last step, because nothing got better.
    pub(crate) stopped_early: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    /// Of whose training this is.
    key: String,
    size: usize,
    best: bool,
    course: Course,
}

/// What lies on disk.
pub(crate) struct Saved {
    pub(crate) course: Course,
    pub(crate) values: Vec<f32>,
    pub(crate) moments: [Vec<f32>; 2],
    pub(crate) best: Option<Vec<f32>>,
}

/// Writes to a temporary name, then renames: what was there stays whole until the new one is.
pub(crate) fn write(
    path: &Path,
    key: &str,
    course: &Course,
    values: &[f32],
    moments: [&[f32]; 2],
    best: Option<&[f32]>,
) -> Result<(), Error> {
    let failed = |source| Error::io("write", path)(source);
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let head = Head {
        key: key.to_owned(),
        size: values.len(),
        best: best.is_some(),
        course: course.clone(),
    };
    let put = || -> std::io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".bertology-")
            .tempfile_in(folder)?;
        let head = serde_json::to_vec(&head)?;
        {
            let mut writer = BufWriter::with_capacity(1 << 20, file.as_file_mut());
            writer.write_all(MAGIC)?;
            writer.write_all(&(head.len() as u64).to_le_bytes())?;
            writer.write_all(&head)?;
            for array in [values, moments[0], moments[1]].into_iter().chain(best) {
                for some in array.chunks(1 << 14) {
                    let bytes: Vec<u8> = some.iter().flat_map(|v| v.to_le_bytes()).collect();
                    writer.write_all(&bytes)?;
                }
            }
            writer.flush()?;
        }
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    put().map_err(failed)
}

/// Reads what [`write`] wrote for the same training; nothing where there is no file.
pub(crate) fn read(path: &Path, key: &str, size: usize) -> Result<Option<Saved>, Error> {
    if !path.exists() {
        return Ok(None);
    }
    let wrong = |what: &str| Error::Saved {
        path: path.to_owned(),
        what: what.to_owned(),
    };
    let ends = |_| wrong("ends too soon");
    let file = File::open(path).map_err(Error::io("open", path))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut magic = [0; MAGIC.len()];
    reader.read_exact(&mut magic).map_err(ends)?;
    if &magic != MAGIC {
        return Err(wrong("is of another kind, or of another version"));
    }
    let mut length = [0; 8];
    reader.read_exact(&mut length).map_err(ends)?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST_HEAD {
        return Err(wrong("has a head of an impossible length"));
    }
    let mut head = Vec::new();
    (&mut reader)
        .take(length)
        .read_to_end(&mut head)
        .map_err(ends)?;
    let head: Head = serde_json::from_slice(&head)
        .map_err(|error| wrong(&format!("has a head that cannot be read: {error}")))?;
    if head.key != key || head.size != size {
        return Err(wrong("is of another model, other data or other options"));
    }
    let mut array = || -> Result<Vec<f32>, Error> {
        let mut values = Vec::with_capacity(size);
        let mut bytes = vec![0; 1 << 16];
        while values.len() < size {
            let some = (size - values.len()).min(1 << 14);
            let bytes = &mut bytes[..4 * some];
            reader.read_exact(bytes).map_err(ends)?;
            let (words, _) = bytes.as_chunks::<4>();
            values.extend(words.iter().map(|word| f32::from_le_bytes(*word)));
        }
        Ok(values)
    };
    let saved = Saved {
        values: array()?,
        moments: [array()?, array()?],
        best: if head.best { Some(array()?) } else { None },
        course: head.course,
    };
    if reader.read(&mut [0]).map_err(ends)? != 0 {
        return Err(wrong("goes on behind its end"));
    }
    let sound = saved
        .course
        .best
        .is_none_or(|best| best < saved.course.evaluated.len());
    if !sound {
        return Err(wrong("names a best evaluation that it does not have"));
    }
    Ok(Some(saved))
}
