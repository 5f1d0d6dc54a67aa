//! Jobs that are no study's, in order all the same.

use std::ops::ControlFlow;

use bertology_model::{Workspace, parallel};

use crate::Error;

/// Runs `work` on every job, on so many threads, each with a workspace of its own, and hands what comes of them to
/// `take` in order, on the calling thread.
///
/// # Errors
/// The first of `work` or `take`, which ends it.
pub fn each<J: Send, T: Send>(
    threads: usize,
    jobs: impl Iterator<Item = J> + Send,
    work: impl Fn(&mut Workspace<f32>, J) -> Result<T, Error> + Sync,
    mut take: impl FnMut(T) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut failure = None;
    parallel::in_order(
        threads,
        jobs,
        None,
        Workspace::new,
        |workspace, job, _| work(workspace, job),
        |found| match found.and_then(&mut take) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        },
    );
    failure.map_or(Ok(()), Err)
}
