//! A pass that adds nothing up: what the model gave is handed on, a batch at a time and in order.
//!
//! Its state is with whoever takes it, on disk.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bertology::attention::{Fate, Supply};
use bertology::drive::{Contribution, Lens, Progress, Study, Work, drive};
use bertology::{LoadedModel, Watch, watch};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use crate::Error;

/// What sees a sequence, and what the pass is for.
pub(crate) trait Handed: Lens + Clone {
    const PURPOSE: watch::Purpose;
}

/// What became of a sequence.
pub(crate) type Arrived<L> = Fate<(<L as Lens>::Item, <L as Lens>::Part)>;

/// Puts every unit behind the first `done` through the model and hands over what the lens saw of those that were
/// computed together.
///
/// An interruption is no error here: what was handed over by then is done.
pub(crate) fn hand_over<P, L>(
    model: &LoadedModel,
    supply: &P,
    lens: &L,
    done: u64,
    work: &Work,
    watch: &mut dyn Watch,
    take: &mut dyn FnMut(Vec<Arrived<L>>) -> Result<(), Error>,
) -> Result<Ended, Error>
where
    P: Supply<Item = L::Item>,
    L: Handed,
    L::Item: Clone,
{
    let arrivals = Arrivals {
        lens: lens.clone(),
        queue: Arc::default(),
    };
    let mut groups: Groups<'_, '_, L> = Groups {
        watch,
        queue: Arc::clone(&arrivals.queue),
        take,
        failure: None,
    };
    let mut progress = Progress::new(arrivals).after(done);
    let result = drive(model, supply, &mut progress, work, &mut groups);
    match (groups.failure.take(), result) {
        (Some(failure), _) => Err(failure),
        (None, Err(bertology::Error::Interrupted { total, .. })) => {
            Ok(Ended::Interrupted { total })
        }
        (None, Err(error)) => Err(error.into()),
        (None, Ok(())) => Ok(Ended::Whole),
    }
}

/// How a pass ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With the last unit.
    Whole,
    /// The user asked to stop.
    Interrupted {
        /// Units of the whole.
        total: u64,
    },
}

type Queue<L> = Arc<Mutex<Vec<Arrived<L>>>>;

fn lock<T>(queue: &Mutex<T>) -> MutexGuard<'_, T> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Arrivals<L: Lens> {
    lens: L,
    queue: Queue<L>,
}

impl<L: Lens> fmt::Debug for Arrivals<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrivals").finish_non_exhaustive()
    }
}

impl<L: Lens> Serialize for Arrivals<L> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de, L: Lens> Deserialize<'de> for Arrivals<L> {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom("this pass has no state of its own"))
    }
}

impl<L: Handed> Study for Arrivals<L>
where
    L::Item: Clone,
{
    type Lens = L;
    type Found = ();

    const PURPOSE: watch::Purpose = L::PURPOSE;

    fn lens(&self) -> L {
        self.lens.clone()
    }

    fn empty(&self) -> Self {
        Self {
            lens: self.lens.clone(),
            queue: Arc::clone(&self.queue),
        }
    }

    fn agrees(&self, _: &Self) -> Result<(), bertology::Error> {
        Ok(())
    }

    fn add(&mut self, fate: Fate<Contribution<'_, Self>>) -> Result<(), bertology::Error> {
        lock(&self.queue).push(match fate {
            Fate::Studied(found) => Fate::Studied((found.item.clone(), found.part)),
            Fate::LeftOut(why) => Fate::LeftOut(why),
        });
        Ok(())
    }

    fn merge(&mut self, _: Self) -> Result<(), bertology::Error> {
        Ok(())
    }

    fn finish(&self) -> Result<(), bertology::Error> {
        Ok(())
    }
}

/// Deals with the units that the model computed together when all of them have arrived.
struct Groups<'a, 'w, L: Lens> {
    watch: &'w mut dyn Watch,
    queue: Queue<L>,
    take: &'a mut dyn FnMut(Vec<Arrived<L>>) -> Result<(), Error>,
    failure: Option<Error>,
}

impl<L: Lens> Watch for Groups<'_, '_, L> {
    fn begin(&mut self, purpose: watch::Purpose, done: u64, total: u64) {
        self.watch.begin(purpose, done, total);
    }

    fn stop_signal(&self) -> Option<Arc<AtomicBool>> {
        self.watch.stop_signal()
    }

    fn advance(&mut self, done: u64, total: u64) -> ControlFlow<()> {
        let arrived = std::mem::take(&mut *lock(&self.queue));
        if let Err(failure) = (self.take)(arrived) {
            self.failure = Some(failure);
            return ControlFlow::Break(());
        }
        self.watch.advance(done, total)
    }
}
