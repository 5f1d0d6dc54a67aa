//! Many probes through the same batches, on some threads.
//!
//! A probe's step runs on one thread and adds up nothing with another's: the same bits for any number of threads. A
//! batch is made once for all probes that see it, when the first of them comes to it, and dropped behind the last. The
//! probe that is behind goes first, so that probes stay within about a step of each other and few batches are held; no
//! thread waits for the others at the end of a step.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

use crate::Error;

/// Who goes through which batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lane {
    /// Lanes of a group see the same batches.
    pub(crate) group: usize,
    /// How many of them.
    pub(crate) steps: usize,
}

/// A step in the order in which one thread takes them: number, group, lane.
type Place = (usize, usize, usize);

/// Batches that are held: made by whoever comes first.
type Held<B> = HashMap<(usize, usize), (Arc<OnceLock<Option<B>>>, usize)>;

struct State<B> {
    /// Steps done, lane by lane.
    done: Vec<usize>,
    running: Vec<bool>,
    held: Held<B>,
    /// Of those so far the one that a single thread would have come to first.
    error: Option<(Place, Error)>,
    /// A thread panicked: the others are not to wait for it.
    panicked: bool,
}

/// Tells the others when its thread panics.
struct Alarm<'a, B>(&'a Mutex<State<B>>, &'a Condvar);

impl<B> Drop for Alarm<'_, B> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .panicked = true;
            self.1.notify_all();
        }
    }
}

/// Runs `step(room, lane, step, batch)` for each lane's steps in order, on `threads` threads with a `room` each.
///
/// # Errors
/// The error of `make` or `step` that one thread would have come to first, whatever the number of threads; then lanes
/// have come to different places.
pub(crate) fn march<B: Send + Sync, R: Default>(
    lanes: &[Lane],
    threads: usize,
    make: impl Fn(usize, usize) -> Result<B, Error> + Sync,
    step: impl Fn(&mut R, usize, usize, &B) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let state = Mutex::new(State {
        done: vec![0; lanes.len()],
        running: vec![false; lanes.len()],
        held: HashMap::new(),
        error: None,
        panicked: false,
    });
    let changed = Condvar::new();
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    let fail = |place: Place, error: Error| {
        let mut now = lock();
        if now.error.as_ref().is_none_or(|(first, _)| place < *first) {
            now.error = Some((place, error));
        }
    };
    let work = || {
        let mut room = R::default();
        let _alarm = Alarm(&state, &changed);
        loop {
            let mut now = lock();
            let lane = loop {
                if now.panicked {
                    return;
                }
                // What comes before an error may have one of its own, and is gone through to the end.
                let last = now.error.as_ref().map(|(place, _)| *place);
                let behind = |lane: &usize| {
                    let place = (now.done[*lane], lanes[*lane].group, *lane);
                    now.done[*lane] < lanes[*lane].steps && last.is_none_or(|last| place < last)
                };
                let open = (0..lanes.len()).filter(behind);
                let idle = open.clone().filter(|lane| !now.running[*lane]);
                match idle.min_by_key(|lane| (now.done[*lane], lanes[*lane].group, *lane)) {
                    Some(lane) => break lane,
                    None if open.count() == 0 => return,
                    None => now = changed.wait(now).unwrap_or_else(PoisonError::into_inner),
                }
            };
            let (group, at) = (lanes[lane].group, now.done[lane]);
            now.running[lane] = true;
            let (batch, _) = now.held.entry((group, at)).or_insert_with(|| {
                let wanted = |lane: &&Lane| lane.group == group && lane.steps > at;
                let users = lanes.iter().filter(wanted).count();
                (Arc::new(OnceLock::new()), users)
            });
            let batch = Arc::clone(batch);
            drop(now);
            let made = batch.get_or_init(|| {
                let made = make(group, at);
                made.map_err(|error| fail((at, group, 0), error)).ok()
            });
            // Whoever failed to make it has said so.
            if let Some(made) = made
                && let Err(error) = step(&mut room, lane, at, made)
            {
                fail((at, group, lane), error);
            }
            let mut now = lock();
            now.running[lane] = false;
            now.done[lane] += 1;
            if let Some((_, users)) = now.held.get_mut(&(group, at)) {
                *users -= 1;
                if *users == 0 {
                    now.held.remove(&(group, at));
                }
            }
            drop(now);
            changed.notify_all();
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.clamp(1, lanes.len().max(1)) {
            scope.spawn(work);
        }
        work();
    });
    let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    state.error.map_or(Ok(()), |(_, error)| Err(error))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::edge::Fault;

    #[test]
    fn every_lane_sees_its_batches_in_order_and_each_is_made_once() {
        let lane = |group, steps| Lane { group, steps };
        let lanes = [lane(0, 3), lane(1, 5), lane(0, 3), lane(1, 0), lane(0, 4)];
        for threads in [1, 2, 7] {
            let made = AtomicUsize::new(0);
            let seen: Vec<Mutex<Vec<(usize, usize)>>> =
                Vec::from_iter(lanes.map(|_| Mutex::default()));
            march::<_, ()>(
                &lanes,
                threads,
                |group, step| {
                    made.fetch_add(1, Ordering::Relaxed);
                    Ok((group, step))
                },
                |(), lane, step, batch| {
                    assert_eq!(*batch, (lanes[lane].group, step));
                    seen[lane].lock().unwrap().push(*batch);
                    Ok(())
                },
            )
            .unwrap();
            for (lane, seen) in lanes.iter().zip(seen) {
                let expected: Vec<_> = (0..lane.steps).map(|step| (lane.group, step)).collect();
                assert_eq!(seen.into_inner().unwrap(), expected);
            }
            assert_eq!(made.into_inner(), 9);
        }
    }

    #[test]
    fn an_error_ends_all_lanes() {
        let lanes = [Lane { group: 0, steps: 9 }; 3];
        let fail = |at: usize| {
            if at == 4 {
                Err(Fault::NoTargets.into())
            } else {
                Ok(())
            }
        };
        for threads in [1, 3] {
            let found = march::<_, ()>(&lanes, threads, |_, at| fail(at), |(), _, _, ()| Ok(()));
            assert!(matches!(found, Err(Error::Edge(Fault::NoTargets))));
            let found = march::<_, ()>(&lanes, threads, |_, _| Ok(()), |(), _, at, ()| fail(at));
            assert!(found.is_err());
        }
        // Which of several it is does not depend on who is faster.
        let own = |lane| Fault::Interrupted { validations: lane };
        for threads in [1, 2, 3, 8] {
            for _ in 0..50 {
                let step = |(): &mut (), lane: usize, at, (): &()| match (lane, at) {
                    (0, 5) | (1, 4) | (2, 4) => Err(own(lane).into()),
                    _ => Ok(()),
                };
                let found = march::<_, ()>(&lanes, threads, |_, _| Ok(()), step);
                assert!(matches!(
                    found,
                    Err(Error::Edge(Fault::Interrupted { validations: 1 }))
                ));
            }
        }
        march::<_, ()>(&[], 2, |_, _| Ok(()), |(), _, _, ()| Ok(())).unwrap();
    }
}
