//! A training on its way to disk and back: exact, so that one that was killed comes to the same bytes.
//!
//! In the form of [`archive`]. The arrays are the weights, the means of gradients and of their squares and, where the best
//! weights are to be kept, those.

use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::learner::Learner;
use super::{Evaluated, Step};
use crate::shards::whole;
use crate::{Error, archive};

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
    learner: &Learner,
    best: Option<&[f32]>,
) -> Result<(), Error> {
    let head = Head {
        key: key.to_owned(),
        size: learner.size(),
        best: best.is_some(),
        course: course.clone(),
    };
    whole(path, |file| {
        let mut writer = BufWriter::with_capacity(1 << 20, file);
        archive::write_head(&mut writer, MAGIC, &head)?;
        // One parameter after the other: a copy of them all would be the most that a training ever holds.
        let mut written = Ok(());
        learner.model.each_parameter(|_, _, values| {
            if written.is_ok() {
                written = archive::write_array(&mut writer, values);
            }
        });
        written?;
        for array in learner.moments().into_iter().chain(best) {
            archive::write_array(&mut writer, array)?;
        }
        writer.flush()
    })
}

/// Reads what [`write`] wrote for the same training; nothing where there is no file.
pub(crate) fn read(path: &Path, key: &str, size: usize) -> Result<Option<Saved>, Error> {
    if !path.exists() {
        return Ok(None);
    }
    let wrong = |what: String| Error::Saved {
        path: path.to_owned(),
        what,
    };
    let file = bertology_file::open(path).map_err(Error::io("open", path))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let head: Head = archive::read_head(&mut reader, MAGIC, LONGEST_HEAD).map_err(wrong)?;
    if head.key != key || head.size != size {
        return Err(wrong(
            "is of another model, other data or other options".into(),
        ));
    }
    let mut array = || -> Result<Vec<f32>, Error> {
        let mut values = vec![0.0; size];
        archive::read_array(&mut reader, &mut values).map_err(wrong)?;
        Ok(values)
    };
    let saved = Saved {
        values: array()?,
        moments: [array()?, array()?],
        best: if head.best { Some(array()?) } else { None },
        course: head.course,
    };
    archive::expect_end(&mut reader).map_err(wrong)?;
    let sound = saved
        .course
        .best
        .is_none_or(|best| best < saved.course.evaluated.len());
    if !sound {
        return Err(wrong(
            "names a best evaluation that it does not have".into(),
        ));
    }
    Ok(Some(saved))
}
