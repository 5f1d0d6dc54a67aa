//! `bertology evaluate`: the task's metrics.

use bertology::evaluate::evaluate;
use bertology_run::results::EvaluateResults;

use super::Done;
use crate::args::{EvaluateArgs, Masks};
use crate::data;
use crate::failure::Failure;
use crate::interrupt::{self, Graceful};
use crate::record::{self, Clock, Run};
use crate::run_folder::{self, PREDICTIONS, TEMPORARY};
use crate::session::{self, Opened, failure};
use crate::show::Screen;
use crate::show::text::{plural, seconds};
use crate::study;
use crate::tables::write_mask;
use crate::watcher::{Predictions, Watcher};

pub(crate) fn run(mut args: EvaluateArgs, screen: &Screen) -> Result<Done, Failure> {
    let clock = Clock::start();
    args.legacy
        .apply(Masks::No, &mut args.model, &mut args.data, &mut |text| {
            screen.note(text);
        })?;
    study::check_output(&args.output, false)?;
    let opened = Opened::new(&args.model, data::open_as(&args.data), screen)?;
    let corpus = data::corpus(&opened, &args.data, &args.work, screen)?;
    let mask = study::chosen_mask(&opened, args.mask.as_deref(), &args.heads)?;
    let mut run = Run::new(
        "evaluate",
        &args,
        args.data.seed,
        clock,
        &opened,
        Some(&corpus),
    )?;
    let (folder, _) = study::open_output(&args.output, false, &run)?;
    screen.say(&study::headline(&opened, &corpus))?;
    study::note_skipped(&corpus, screen);
    run.clock.lap("load");

    let mut predictions = folder
        .as_ref()
        .map(|folder| {
            let path = folder.path().join(format!("{TEMPORARY}{PREDICTIONS}"));
            Predictions::open(&path, &corpus, None)
        })
        .transpose()?;
    let graceful = Graceful::begin();
    let mut watcher = Watcher::new(screen)
        .over(&corpus)
        .predictions(predictions.as_mut());
    let threads = session::threads(&args.work);
    let result = evaluate(&opened.model, &corpus, mask.as_ref(), threads, &mut watcher);
    if let Some(failure) = watcher.into_failure() {
        return Err(failure);
    }
    drop(graceful);
    screen.stop();
    let found = match result {
        Ok(found) => found,
        Err(error) => {
            if let Some(predictions) = predictions {
                predictions.discard()?;
            }
            return Err(if interrupt::requested() {
                Failure::Interrupted("interrupted; an evaluation starts from the beginning".into())
            } else {
                failure(&error)
            });
        }
    };
    let time = run.clock.lap("evaluation");
    if let (Some(folder), Some(predictions)) = (&folder, predictions) {
        predictions.finish(&folder.path().join(PREDICTIONS))?;
        if let Some(mask) = &mask {
            write_mask(folder, mask)?;
        }
    }
    let masked = mask.as_ref().map(|mask| {
        let heads = mask.masked();
        heads
            .filter(|id| opened.model.model().has_head(*id))
            .map(|id| id.to_string())
            .collect::<Vec<_>>()
    });
    let document = run.document(&EvaluateResults {
        evaluation: Some(record::evaluation(&found)),
        masked_heads: masked.clone(),
    });
    if let Some(folder) = &folder {
        run_folder::complete(folder, &document)?;
    }
    if let Some(masked) = &masked {
        let all = opened.model.model().heads().count() as u64;
        screen.say(&format!(
            "{} of {} masked",
            masked.len(),
            plural(all, "head")
        ))?;
    }
    screen.say(&format!(
        "{}\n{}\n{}",
        study::metrics(&found.metrics, found.loss),
        study::counts(&found, &corpus),
        seconds(time)
    ))?;
    super::say_folder(folder.as_ref(), screen)?;
    Ok(document.into())
}
