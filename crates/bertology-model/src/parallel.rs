//! Many batches on several threads, results in input order.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Condvar, Mutex, PoisonError};

use bertology_kernels::Real;

use crate::Workspace;

/// Jobs that may be finished but not yet consumed, per thread: bounds memory when an early job is
/// slow.
const LOOKAHEAD: usize = 2;

struct State<I, T> {
    jobs: I,
    next: usize,
    exhausted: bool,
    stop: bool,
    consumed: usize,
    done: BTreeMap<usize, T>,
    running: usize,
}

/// Runs `work` on every job, each thread with a workspace of its own, and hands the results to
/// `consume` in the order of the jobs, on the calling thread.
///
/// The order of consumption, and so every sum that `consume` makes, does not depend on the number
/// of threads. Memory holds at most three jobs per thread. `Break` from `consume` stops the run:
/// jobs not yet begun are not taken.
pub fn in_order<R, J, T, I, W, C>(threads: usize, jobs: I, work: W, mut consume: C)
where
    R: Real,
    T: Send,
    I: Iterator<Item = J> + Send,
    J: Send,
    W: Fn(&mut Workspace<R>, J) -> T + Sync,
    C: FnMut(T) -> ControlFlow<()>,
{
    let threads = threads.max(1);
    if threads == 1 {
        let mut workspace = Workspace::new();
        for job in jobs {
            if consume(work(&mut workspace, job)).is_break() {
                return;
            }
        }
        return;
    }
    let state = Mutex::new(State {
        jobs,
        next: 0,
        exhausted: false,
        stop: false,
        consumed: 0,
        done: BTreeMap::new(),
        running: 0,
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
        lock().stop = true;
        changed.notify_all();
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let _guard = Worker(&abort);
                let mut workspace = Workspace::new();
                let mut guard = lock();
                loop {
                    while !guard.stop
                        && !guard.exhausted
                        && guard.next >= guard.consumed + (1 + LOOKAHEAD) * threads
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
                    guard.running += 1;
                    drop(guard);
                    let result = work(&mut workspace, job);
                    guard = lock();
                    guard.running -= 1;
                    guard.done.insert(index, result);
                    changed.notify_all();
                }
            });
        }
        let mut guard = lock();
        loop {
            let index = guard.consumed;
            if let Some(result) = guard.done.remove(&index) {
                drop(guard);
                let flow = consume(result);
                guard = lock();
                guard.consumed += 1;
                guard.stop |= flow.is_break();
                changed.notify_all();
                if flow.is_break() {
                    return;
                }
            } else if guard.stop || (guard.exhausted && guard.running == 0) {
                return;
            } else {
                guard = changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whatever_the_threads() {
        for threads in 1..6 {
            let mut seen = Vec::new();
            in_order::<f32, _, _, _, _, _>(
                threads,
                0..100_u64,
                |_, job| {
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
            in_order::<f32, _, _, _, _, _>(
                threads,
                0..,
                |_, job: u64| job,
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
        in_order::<f32, _, _, _, _, _>(
            2,
            0..10_u64,
            |_, job| assert!(job != 3, "job 3"),
            |()| ControlFlow::Continue(()),
        );
    }
}
