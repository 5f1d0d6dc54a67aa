//! The regression over all heads: fitted on a file of its own.

use std::path::Path;

use bertology::attention::relations::{
    Gather, Gathered, HeadRegression, RelationPassages, RelationSettings,
};
use bertology::Error;
use bertology::drive::{Progress, drive};
use bertology_train::relations::{Fit, FitOptions, fit};
use serde::{Deserialize, Serialize};

use crate::args::WorkArgs;
use crate::args::relations::AskedArgs;
use crate::command::work;
use crate::failure::Failure;
use crate::interrupt::{self, Graceful};
use crate::session::{Opened, failure};
use crate::show::Screen;
use crate::show::text::{count, plural};
use crate::watcher::Watcher;

/// What it is called in tables.
const NAME: &str = "regression";

/// A regression and how it came about: what `regression.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Trained {
    pub(super) regression: HeadRegression,
    options: FitOptions,
    /// SHA-256 of what it was fitted on.
    data: String,
    /// Pairs that it was fitted on.
    pairs: u64,
    /// Of the unrelated pairs, the share that was taken.
    kept: f64,
    fits: Vec<Fit>,
}

/// On what, and how.
pub(super) struct TrainedOn<'a> {
    pub(super) passages: &'a RelationPassages,
    pub(super) settings: &'a RelationSettings,
    pub(super) asked: &'a AskedArgs,
    pub(super) work: &'a WorkArgs,
}

impl Trained {
    /// That of an earlier run.
    pub(super) fn read(file: &Path) -> Result<Self, Failure> {
        let wrong = |what: String| {
            Failure::input(format!(
                "--regression {}: {what}; give the regression.json of a run of `relations` or `contacts` with --train",
                file.display()
            ))
        };
        let bytes = bertology_file::read(file).map_err(|error| wrong(error.to_string()))?;
        bertology_file::from_slice(&bytes).map_err(|error| wrong(error.to_string()))
    }

    pub(super) fn sha256(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        bertology_run::sha256(text.as_bytes())
    }

    /// In a sentence.
    pub(super) fn say(&self) -> String {
        let mut text = format!(
            "A regression over all heads, fitted on {}{}",
            plural(self.pairs, "pair"),
            if self.kept < 1.0 {
                format!(" (one in {:.1} of those that are not related)", 1.0 / self.kept)
            } else {
                String::new()
            }
        );
        let open: Vec<&str> = self.fits.iter().filter(|fit| !fit.converged).map(|fit| fit.label.as_str()).collect();
        if !open.is_empty() {
            text.push_str(&format!("; not at its minimum after {} steps: {}", count(self.options.most_steps as u64), open.join(", ")));
        }
        text
    }
}

/// Gathers pairs and fits a regression a label.
pub(super) fn train(opened: &Opened, on: &TrainedOn<'_>, screen: &Screen) -> Result<Trained, Failure> {
    let TrainedOn { passages, settings, asked, work: work_args } = on;
    let most = u64::from(asked.train_pairs);
    let gather = Gather::at_most((*settings).clone(), passages, most, asked.seed);
    let kept = gather.keep;
    let mut progress = Progress::new(Gathered::new(&opened.model, passages, gather));
    let graceful = Graceful::begin();
    let mut watcher = Watcher::new(screen).of("text");
    let work = work(work_args);
    let stopped = || {
        Failure::Interrupted(
            "interrupted while the regression was trained; nothing was saved yet: give the same command again".to_owned(),
        )
    };
    match drive(&opened.model, *passages, &mut progress, &work, &mut watcher) {
        Ok(()) => {}
        Err(Error::Interrupted { .. }) => return Err(stopped()),
        Err(error) => return Err(failure(&error)),
    }
    screen.stop();
    let gathered = progress.into_study();
    let threads = match work.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let options = asked.fit();
    screen.start("regression", "labels", gathered.labels().len() as u64);
    let fitted = fit(NAME, &gathered, &options, threads, |done| {
        screen.advance_to(done as u64);
        !interrupt::requested()
    });
    screen.stop();
    let Some((regression, fits)) = fitted else {
        return Err(stopped());
    };
    drop(graceful);
    if regression.labels.is_empty() {
        return Err(Failure::input(
            "no label of the training data relates some of the pairs in range and not others, so that there is nothing to \
             tell apart; give other data, or other --distances",
        ));
    }
    Ok(Trained {
        regression,
        options,
        data: passages.info().sha256.clone(),
        pairs: gathered.pairs() as u64,
        kept,
        fits,
    })
}
