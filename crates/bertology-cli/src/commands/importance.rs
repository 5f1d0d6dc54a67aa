//! `bertology importance`: entropy and importance of every head.

use std::time::{Duration, Instant};

use bertology::importance::{Importance, ImportanceOptions, ImportanceState};
use bertology::{Corpus, Error};
use bertology_run::results::ImportanceResults;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Done;
use crate::args::{ImportanceArgs, Masks};
use crate::data;
use crate::failure::Failure;
use crate::interrupt::{self, Graceful};
use crate::record::{self, Clock, Run};
use crate::run_folder::{self, Earlier, PREDICTIONS, RunFolder, STATE_PREDICTIONS};
use crate::session::{self, Opened, failure};
use crate::show::Screen;
use crate::show::text::{plural, seconds};
use crate::study;
use crate::tables::{Scores, grid};
use crate::watcher::{Predictions, Watcher};

/// Time between two savings of the state.
const SAVE_EVERY: Duration = Duration::from_secs(60);

pub(crate) fn run(mut args: ImportanceArgs, screen: &Screen) -> Result<Done, Failure> {
    let clock = Clock::start();
    args.legacy
        .apply(Masks::No, &mut args.model, &mut args.data, &mut |text| {
            screen.note(text);
        })?;
    study::check_output(&args.output, args.resume.resume)?;
    let granularity = study::granularity(&args.score, screen);
    let opened = Opened::new(&args.model, data::open_as(&args.data), screen)?;
    let corpus = data::corpus(&opened, &args.data, &args.work, screen)?;
    let mask = study::chosen_mask(&opened, args.mask.as_deref(), &[])?;
    let mut options = ImportanceOptions::new(granularity).threads(session::threads(&args.work));
    if let Some(mask) = &mask {
        options = options.mask(mask);
    }
    let mut run = Run::new(
        "importance",
        &args,
        args.data.seed,
        clock,
        &opened,
        Some(&corpus),
    )?;
    if let Some(mask) = &mask {
        // The file's name says nothing; its content does.
        run.identity.set("mask", json!(mask.values()));
    }
    let (folder, earlier) = study::open_output(&args.output, args.resume.resume, &run)?;
    if let Earlier::Complete(document) = earlier {
        screen.note("this run is complete already; nothing to resume");
        return Ok(document.into());
    }
    // From the first line printed on, Ctrl-C keeps what was computed.
    let graceful = Graceful::begin();
    screen.say(&study::headline(&opened, &corpus))?;
    study::note_skipped(&corpus, screen);
    run.clock.lap("load");

    let found = score(
        &opened,
        &corpus,
        &options,
        &run,
        folder.as_ref(),
        earlier,
        screen,
    )?;
    drop(graceful);
    let time = run.clock.lap("importance");
    let normalization = study::normalization(&args.score);
    let normalized = normalization.apply(&found.raw);
    if let Some(folder) = &folder {
        let scores = Scores {
            raw: &found.raw,
            normalized: &normalized,
            entropy: Some(&found.entropy),
        };
        scores.write(folder)?;
    }
    let document = run.document(&ImportanceResults {
        granularity: granularity.to_string(),
        evaluation: Some(record::evaluation(&found.evaluation)),
        head_importance: grid(&normalized),
        head_importance_raw: grid(&found.raw),
        attn_entropy: grid(&found.entropy),
    });
    if let Some(folder) = &folder {
        run_folder::complete(folder, &document)?;
    }

    screen.say(&format!(
        "\n{}",
        study::importance_text(&normalized, normalization, screen)
    ))?;
    screen.say(&format!("\n{}", study::entropy_text(&found.entropy)))?;
    let evaluation = &found.evaluation;
    screen.say(&format!(
        "\n{}\n{}\n{}",
        study::metrics(&evaluation.metrics, evaluation.loss),
        study::counts(evaluation, &corpus),
        seconds(time)
    ))?;
    super::say_folder(folder.as_ref(), screen)?;
    Ok(document.into())
}

/// What is saved of an unfinished run.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    importance: ImportanceState,
    /// Bytes of the unfinished predictions that belong to it.
    prediction_bytes: u64,
}

fn score(
    opened: &Opened,
    corpus: &Corpus,
    options: &ImportanceOptions<'_>,
    run: &Run,
    folder: Option<&RunFolder>,
    earlier: Earlier,
    screen: &Screen,
) -> Result<Importance, Failure> {
    let model = &opened.model;
    let (mut state, bytes) = match earlier {
        Earlier::Interrupted(value) => {
            let saved: State = serde_json::from_value(value).map_err(|error| {
                Failure::input(format!(
                    "the saved state cannot be read ({error}); start again with --overwrite"
                ))
            })?;
            let done = saved.importance.examples_done();
            screen.note(&format!(
                "resuming after {}",
                plural(done, study::unit(corpus))
            ));
            (saved.importance, Some(saved.prediction_bytes))
        }
        _ => {
            let fresh = ImportanceState::new(model, options).map_err(|e| failure(&e))?;
            (fresh, None)
        }
    };
    let mut predictions = folder
        .map(|folder| {
            let path = folder.path().join(STATE_PREDICTIONS);
            Predictions::open(&path, corpus, bytes)
        })
        .transpose()?;
    let mut continued = false;
    loop {
        let mut watcher = Watcher::new(screen)
            .over(corpus)
            .predictions(predictions.as_mut())
            .pause_at(folder.map(|_| Instant::now() + SAVE_EVERY))
            .continued(continued);
        let result = state.run(model, corpus, options, &mut watcher);
        let wrong = match (watcher.into_failure(), result) {
            (Some(failure), _) => Some(failure),
            (None, Ok(())) => break,
            (None, Err(Error::Interrupted { .. })) => None,
            (None, Err(error)) => Some(failure(&error)),
        };
        if let Some(wrong) = wrong {
            // Predictions are of use only beside the state that they belong to.
            if let Some(predictions) = predictions
                && folder.is_some_and(|folder| !folder.has_state())
            {
                predictions.discard()?;
            }
            return Err(wrong);
        }
        if let (Some(folder), Some(predictions)) = (folder, &mut predictions) {
            let saved = State {
                prediction_bytes: predictions.save()?,
                importance: state.clone(),
            };
            let saved = serde_json::to_value(saved)
                .map_err(|error| Failure::work(format!("cannot save the state: {error}")))?;
            folder.save_state(&run.identity, saved)?;
        }
        if interrupt::requested() {
            let what = plural(state.examples_done(), study::unit(corpus));
            return Err(study::interrupted(&what, folder));
        }
        continued = true;
    }
    screen.stop();
    if let (Some(folder), Some(predictions)) = (folder, predictions) {
        predictions.finish(&folder.path().join(PREDICTIONS))?;
    }
    state.finish(corpus).map_err(|e| failure(&e))
}
