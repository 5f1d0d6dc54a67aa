//! A training on its way to disk and back: exact, so that one that was killed comes to the same bytes.
//!
//! In the form of [`archive`]. The arrays are those of each probe in order: its parameters, and while it is trained the best ones, the means, the
//! mean squares and their maxima. Sizes follow from the plan, so that nothing that a file says is allocated unseen.

use std::io::{Read, Write};

use serde::{Deserialize, Serialize};

use super::suite::{Cursor, Data, Plan, Suite};
use super::training::{Course, Training};
use super::{Fault, Split};
use crate::{Error, archive};

const MAGIC: &[u8; 13] = b"edge suite 1\n";
/// More than courses of thousands of probes take.
const LONGEST_HEAD: u64 = 1 << 28;

/// What splits and states have to have in common with those before.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sizes {
    layers: usize,
    hidden: usize,
    roles: usize,
    classes: usize,
    train: [usize; 2],
    dev: [usize; 2],
}

impl Sizes {
    fn of(data: &Data<'_>) -> Self {
        let both = |split: &Split| [split.sentences(), split.targets()];
        Self {
            layers: data.states.layers(),
            hidden: data.states.hidden(),
            roles: data.train.roles(),
            classes: data.train.classes(),
            train: both(data.train),
            dev: both(data.dev),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    plan: Plan,
    sizes: Sizes,
    validations: usize,
    cursors: Vec<Cursor>,
    courses: Vec<Course>,
    /// Of each probe that is trained still; 0 of the others.
    steps: Vec<u64>,
}

fn wrong(what: impl Into<String>) -> Error {
    Fault::State { what: what.into() }.into()
}

impl Suite<'_> {
    /// Writes all that is needed to go on from here.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn save(&self, writer: &mut dyn Write) -> std::io::Result<()> {
        let head = Head {
            plan: self.plan.clone(),
            sizes: Sizes::of(&self.data),
            validations: self.validations,
            cursors: self.cursors.clone(),
            courses: self.courses().cloned().collect(),
            steps: self.probes.iter().map(Training::steps).collect(),
        };
        archive::write_head(writer, MAGIC, &head)?;
        let mut arrays = self.probes.iter().flat_map(Training::saved);
        arrays.try_for_each(|array| archive::write_array(writer, array))
    }
}

impl<'a> Suite<'a> {
    /// Goes on from what [`Suite::save`] wrote, with the same data and plan.
    ///
    /// # Errors
    /// A state of other data or another plan, one that is cut off or too long, or says what cannot be.
    pub fn resume(data: Data<'a>, plan: Plan, reader: &mut dyn Read) -> Result<Self, Error> {
        let mut suite = Self::new(data, plan)?;
        let head: Head = archive::read_head(reader, MAGIC, LONGEST_HEAD).map_err(wrong)?;
        if head.plan != suite.plan {
            return Err(wrong("is of other probes or other settings"));
        }
        if head.sizes != Sizes::of(&data) {
            return Err(wrong("is of other data"));
        }
        let count = suite.probes.len();
        if head.cursors.len() != suite.cursors.len()
            || head.courses.len() != count
            || head.steps.len() != count
        {
            return Err(wrong("is of another number of probes"));
        }
        let mut read = |values: &mut [f32]| {
            archive::read_array(reader, values).map_err(wrong)?;
            if values.iter().any(|value| !value.is_finite()) {
                return Err(wrong("holds values that are no finite numbers"));
            }
            Ok(())
        };
        let saved = head.courses.into_iter().zip(head.steps);
        for (probe, (course, steps)) in suite.probes.iter_mut().zip(saved) {
            if (course.reading, course.seed) != (probe.course.reading, probe.course.seed) {
                return Err(wrong("has the probes in another order"));
            }
            course.check().map_err(wrong)?;
            if course.validations.len() > head.validations {
                return Err(wrong("has a probe with more validations than there were"));
            }
            let (shape, settings) = (probe.shape, &suite.plan.settings);
            *probe = Training::resumed(shape, course, steps, settings, &mut read)?;
        }
        archive::expect_end(reader).map_err(wrong)?;
        suite.cursors = head.cursors;
        suite.validations = head.validations;
        Ok(suite)
    }
}
