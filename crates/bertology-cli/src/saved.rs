//! A study that is saved while it goes on, so that it can go on from there.

use std::time::{Duration, Instant};

use bertology::{Error, Watch};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::Failure;
use crate::interrupt;
use crate::record::Run;
use crate::run_folder::{Earlier, RunFolder};
use crate::session::failure;
use crate::show::Screen;
use crate::show::text::plural;
use crate::study;
use crate::watcher::Watcher;

/// Time between two savings of the state.
const SAVE_EVERY: Duration = Duration::from_secs(60);

/// Where a study's state is saved, and what it is called.
#[derive(Clone, Copy)]
pub(crate) struct Saved<'a> {
    pub(crate) run: &'a Run,
    pub(crate) folder: Option<&'a RunFolder>,
    pub(crate) screen: &'a Screen,
    /// What is counted, in the singular: `text`, `sentence`.
    pub(crate) unit: &'static str,
}

impl Saved<'_> {
    /// Takes a study from the beginning, or from where an earlier run stopped, to its end.
    ///
    /// `study` goes on from the state that it is given; `done` says how far a state is.
    pub(crate) fn finish<S: Serialize + DeserializeOwned>(
        &self,
        fresh: S,
        earlier: Earlier,
        done: impl Fn(&S) -> u64,
        mut study: impl FnMut(&mut S, &mut dyn Watch) -> Result<(), Error>,
    ) -> Result<S, Failure> {
        let mut state = match earlier {
            Earlier::Interrupted(value) => {
                let state: S = serde_json::from_value(value).map_err(|error| {
                    Failure::input(format!(
                        "the saved state cannot be read ({error}); start again with --overwrite"
                    ))
                })?;
                let done = plural(done(&state), self.unit);
                self.screen.note(&format!("resuming after {done}"));
                state
            }
            _ => fresh,
        };
        let mut continued = false;
        loop {
            let mut watcher = Watcher::new(self.screen)
                .of(self.unit)
                .pause_at(self.folder.map(|_| Instant::now() + SAVE_EVERY))
                .continued(continued);
            let result = study(&mut state, &mut watcher);
            match (watcher.into_failure(), result) {
                (Some(failure), _) => return Err(failure),
                (None, Ok(())) => break,
                (None, Err(Error::Interrupted { .. })) => self.save(&state)?,
                (None, Err(error)) => return Err(failure(&error)),
            }
            if interrupt::requested() {
                let what = plural(done(&state), self.unit);
                return Err(study::interrupted(&what, self.folder));
            }
            continued = true;
        }
        self.screen.stop();
        Ok(state)
    }

    fn save(&self, state: &impl Serialize) -> Result<(), Failure> {
        let Some(folder) = self.folder else {
            return Ok(());
        };
        let state = serde_json::to_value(state)
            .map_err(|error| Failure::work(format!("cannot save the state: {error}")))?;
        Ok(folder.save_state(&self.run.identity, state)?)
    }
}
