//! Many batches on several threads, results in input order.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Jobs that may be finished but not yet consumed, per thread: bounds memory when an early job is
/// slow.
const LOOKAHEAD: usize = 2;

/// How often a raised signal is looked for.
const POLL: Duration = Duration::from_millis(20);

/// Bytes that must be free beside a thread's stack for it to begin: std and the C library end the program where a
/// thread does not get what it asks for in its first steps.
const ROOM_TO_BEGIN: usize = 16 << 20;

fn room_for_a_thread() -> bool {
    memmap2::MmapMut::map_anon(ROOM_TO_BEGIN).is_ok()
}

struct State<I, T> {
    /// Threads that are past their first steps.
    begun: usize,
    jobs: I,
    next: usize,
    exhausted: bool,
    stop: bool,
    consumed: usize,
    done: BTreeMap<usize, T>,
    /// Jobs under way, each with what tells it to give up.
    running: BTreeMap<usize, Arc<AtomicBool>>,
}

impl<I, T> State<I, T> {
    /// No further job is taken, and those are given up behind which nothing is finished: what they would
    /// have been needed for is not lost.
    fn wind_up(&mut self) {
        self.stop = true;
        let last = self.done.last_key_value().map(|(index, _)| *index);
        for (index, give_up) in &self.running {
            if last.is_none_or(|last| *index > last) {
                give_up.store(true, Ordering::SeqCst);
            }
        }
    }
}

/// Runs `work` on every job, each thread on a lane of its own (a [`Workspace`](crate::Workspace) or what
/// another engine works on), and hands the results to `consume` in the order of the jobs, on the calling
/// thread.
///
/// The order of consumption, and so every sum that `consume` makes, does not depend on the number
/// of threads. Memory holds at most three jobs per thread. `Break` from `consume` stops the run:
/// jobs not yet begun are not taken. When `stop` is raised by anyone, no further job is taken; a job
/// is told to give up by the flag that `work` receives, unless a later one is finished already, so that no
/// more than one job a thread is lost.
///
/// Where the system gives fewer threads than were asked for, those that there are do the work.
pub fn in_order<L, J, T, I, W, C>(
    threads: usize,
    jobs: I,
    stop: Option<&AtomicBool>,
    lane: impl Fn() -> L + Sync,
    work: W,
    mut consume: C,
) where
    T: Send,
    I: Iterator<Item = J> + Send,
    J: Send,
    W: Fn(&mut L, J, &AtomicBool) -> T + Sync,
    C: FnMut(T) -> ControlFlow<()>,
{
    let threads = threads.max(1);
    let raised = || stop.is_some_and(|stop| stop.load(Ordering::SeqCst));
    if threads == 1 {
        return alone(jobs, stop, &lane, &work, &mut consume);
    }
    let state = Mutex::new(State {
        begun: 0,
        jobs,
        next: 0,
        exhausted: false,
        stop: false,
        consumed: 0,
        done: BTreeMap::new(),
        running: BTreeMap::new(),
    });
    let changed = Condvar::new();
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    // A panic in `work` must wake the consumer, not leave it waiting.
    struct Worker<'a, F: Fn()>(&'a F);
    impl<F: Fn()> Drop for Worker<'_, F> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                (self.0)();
            }
        }
    }
    let abort = || {
        let mut guard = lock();
        guard.stop = true;
        guard.running.clear();
        changed.notify_all();
    };
    let worker = || {
        let _guard = Worker(&abort);
        lock().begun += 1;
        changed.notify_all();
        let mut lane = lane();
        let mut guard = lock();
        loop {
            while !guard.stop
                && !guard.exhausted
                && guard.next >= guard.consumed + (1 + LOOKAHEAD).saturating_mul(threads)
            {
                guard = changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
            }
            if guard.stop || guard.exhausted {
                return;
            }
            let Some(job) = guard.jobs.next() else {
                guard.exhausted = true;
                changed.notify_all();
                return;
            };
            let index = guard.next;
            guard.next += 1;
            let give_up = Arc::new(AtomicBool::new(false));
            guard.running.insert(index, Arc::clone(&give_up));
            drop(guard);
            let result = work(&mut lane, job, &give_up);
            guard = lock();
            guard.running.remove(&index);
            guard.done.insert(index, result);
            changed.notify_all();
        }
    };
    let started = std::thread::scope(|scope| {
        // One after the other, so that each finds the room that was looked for.
        let spawn = |before: &usize| {
            let thread = std::thread::Builder::new();
            let began = room_for_a_thread() && thread.spawn_scoped(scope, worker).is_ok();
            if began {
                let first_steps = |state: &mut State<_, _>| state.begun <= *before;
                let waited = changed.wait_while(lock(), first_steps);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
            }
            began
        };
        let started = (0..threads).take_while(spawn).count();
        if started == 0 {
            return false;
        }
        let mut guard = lock();
        loop {
            let index = guard.consumed;
            if raised() && !guard.stop {
                guard.wind_up();
            }
            if let Some(result) = guard.done.remove(&index) {
                drop(guard);
                let flow = consume(result);
                guard = lock();
                guard.consumed += 1;
                if flow.is_break() {
                    guard.done.clear();
                    guard.wind_up();
                }
                changed.notify_all();
                if flow.is_break() {
                    return true;
                }
            } else if (guard.stop || guard.exhausted) && guard.running.is_empty() {
                return true;
            } else if stop.is_some() {
                let waited = changed.wait_timeout(guard, POLL);
                guard = waited.unwrap_or_else(PoisonError::into_inner).0;
            } else {
                guard = changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
            }
        }
    });
    if !started {
        let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
        alone(state.jobs, stop, &lane, &work, &mut consume);
    }
}

/// The same on the calling thread.
fn alone<L, J, T>(
    jobs: impl Iterator<Item = J>,
    stop: Option<&AtomicBool>,
    lane: &impl Fn() -> L,
    work: &impl Fn(&mut L, J, &AtomicBool) -> T,
    consume: &mut impl FnMut(T) -> ControlFlow<()>,
) {
    let never = AtomicBool::new(false);
    let mut lane = lane();
    for job in jobs {
        let flow = consume(work(&mut lane, job, stop.unwrap_or(&never)));
        if flow.is_break() || stop.is_some_and(|stop| stop.load(Ordering::SeqCst)) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whatever_the_threads() {
        for threads in 1..6 {
            let mut seen = Vec::new();
            in_order(
                threads,
                0..100_u64,
                None,
                || (),
                |(), job: u64, _| {
                    // Uneven work: early jobs of each block are the slowest.
                    let rounds = (10 - job % 10) * 20_000;
                    (
                        job,
                        (0..rounds).fold(job, |a, b| a.wrapping_mul(31).wrapping_add(b)),
                    )
                },
                |(job, _)| {
                    seen.push(job);
                    ControlFlow::Continue(())
                },
            );
            assert_eq!(seen, (0..100).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_break_stops_taking_jobs() {
        for threads in [1, 4] {
            let mut seen = 0;
            in_order(
                threads,
                0..,
                None,
                || (),
                |(), job: u64, _| job,
                |_| {
                    seen += 1;
                    if seen == 7 {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                },
            );
            assert_eq!(seen, 7);
        }
    }

    #[test]
    #[should_panic(expected = "panicked")]
    fn a_panicking_job_does_not_hang() {
        in_order(
            2,
            0..10_u64,
            None,
            || (),
            |(), job, _| assert!(job != 3, "job 3"),
            |()| ControlFlow::Continue(()),
        );
    }

    /// Two threads; job 0 is slow, and 1 is finished when the signal comes: 0 must not be given up, what is
    /// under way behind it may be.
    #[test]
    fn a_signal_loses_no_more_than_one_job_a_thread() {
        let stop = AtomicBool::new(false);
        let finished = Mutex::new(false);
        let woken = Condvar::new();
        let mut kept = Vec::new();
        let given_up = Mutex::new(Vec::new());
        in_order(
            2,
            0..10_u64,
            Some(&stop),
            || (),
            |(), job, give_up| {
                match job {
                    0 => {
                        let mut done = finished.lock().unwrap();
                        while !*done {
                            done = woken.wait(done).unwrap();
                        }
                        stop.store(true, Ordering::SeqCst);
                    }
                    1 => {}
                    _ => {
                        // What came before is in its place when this one begins.
                        *finished.lock().unwrap() = true;
                        woken.notify_all();
                        while !give_up.load(Ordering::SeqCst) {
                            std::thread::yield_now();
                        }
                        given_up.lock().unwrap().push(job);
                        return None;
                    }
                }
                Some(job)
            },
            |result| match result {
                Some(job) => {
                    kept.push(job);
                    ControlFlow::Continue(())
                }
                None => ControlFlow::Break(()),
            },
        );
        assert_eq!(kept, [0, 1]);
        assert!(given_up.lock().unwrap().len() <= 2);
    }
}
