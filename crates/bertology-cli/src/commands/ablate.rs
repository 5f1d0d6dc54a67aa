//! `bertology ablate`: what the score loses without each head.

use std::time::{Duration, Instant};

use bertology::ablation::{Ablation, AblationOptions, AblationState};
use bertology::masking::Metric;
use bertology::{Corpus, Error, HeadId};
use bertology_run::results::{AblateResults, AblatedHead, finite};
use serde_json::json;

use super::Done;
use crate::args::{AblateArgs, Masks};
use crate::data;
use crate::failure::Failure;
use crate::interrupt::{self, Graceful};
use crate::record::{self, Clock, Run};
use crate::run_folder::{self, Earlier, RunFolder};
use crate::session::{self, Opened, failure};
use crate::show::Screen;
use crate::show::removals::removals_text;
use crate::show::text::{plural, seconds};
use crate::study;
use crate::tables::{Removals, grid};
use crate::watcher::Watcher;

/// Time between two savings of the state.
const SAVE_EVERY: Duration = Duration::from_secs(60);

pub(crate) fn run(mut args: AblateArgs, screen: &Screen) -> Result<Done, Failure> {
    let clock = Clock::start();
    args.legacy
        .apply(Masks::No, &mut args.model, &mut args.data, &mut |text| {
            screen.note(text);
        })?;
    study::check_output(&args.output, args.resume.resume)?;
    let opened = Opened::new(&args.model, data::open_as(&args.data), screen)?;
    let corpus = data::corpus(&opened, &args.data, &args.work, screen)?;
    let metric = Metric::of(&corpus, args.metric.as_deref()).map_err(|e| failure(&e))?;
    let mask = study::chosen_mask(&opened, args.mask.as_deref(), &[])?;
    let heads = heads(&args, &opened)?;
    let mut options = AblationOptions::default().threads(session::threads(&args.work));
    if let Some(mask) = &mask {
        options = options.mask(mask);
    }
    if let Some(heads) = &heads {
        options = options.heads(heads);
    }
    let fresh = AblationState::new(&opened.model, &options).map_err(|e| head_failure(&e))?;
    let mut run = Run::new(
        "ablate",
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
    let work = Work {
        opened: &opened,
        corpus: &corpus,
        options: &options,
        run: &run,
        folder: folder.as_ref(),
        screen,
    };
    let found = work.finish(fresh, earlier)?;
    drop(graceful);
    let time = run.clock.lap("ablation");

    let change = found.change(&corpus, &metric).map_err(|e| failure(&e))?;
    let removals = Removals {
        found: &found,
        change: &change,
        classes: corpus.metrics().is_some_and(|set| !set.is_regression()),
    };
    if let Some(folder) = &folder {
        removals.write(folder)?;
    }
    let document = run.document(&results(removals, &metric));
    if let Some(folder) = &folder {
        run_folder::complete(folder, &document)?;
    }
    screen.say(&format!("\n{}", removals_text(removals, &metric, screen)))?;
    screen.say(&format!(
        "\nWith all heads: {}\n{}\n{}",
        study::metrics(&found.whole.metrics, found.whole.loss),
        study::counts(&found.whole, &corpus),
        seconds(time)
    ))?;
    super::say_folder(folder.as_ref(), screen)?;
    Ok(document.into())
}

/// The heads named, if any were.
fn heads(args: &AblateArgs, opened: &Opened) -> Result<Option<Vec<HeadId>>, Failure> {
    if args.heads.is_empty() {
        return Ok(None);
    }
    let (layers, width) = opened.shape();
    let named = study::named_heads(&args.heads, layers, width)?;
    Ok(Some(
        named
            .iter()
            .map(|(layer, head)| HeadId { layer, head })
            .collect(),
    ))
}

/// A head that is not there was named by the user.
fn head_failure(error: &Error) -> Failure {
    match error {
        Error::Model(_) => Failure::input(error.to_string()),
        _ => failure(error),
    }
}

/// What a run of the study needs.
struct Work<'a> {
    opened: &'a Opened,
    corpus: &'a Corpus,
    options: &'a AblationOptions<'a>,
    run: &'a Run,
    folder: Option<&'a RunFolder>,
    screen: &'a Screen,
}

impl Work<'_> {
    /// From the beginning, or from where an earlier run stopped, to the end.
    fn finish(&self, fresh: AblationState, earlier: Earlier) -> Result<Ablation, Failure> {
        let unit = study::unit(self.corpus);
        let mut state = match earlier {
            Earlier::Interrupted(value) => {
                let state: AblationState = serde_json::from_value(value).map_err(|error| {
                    Failure::input(format!(
                        "the saved state cannot be read ({error}); start again with --overwrite"
                    ))
                })?;
                let done = plural(state.examples_done(), unit);
                self.screen.note(&format!("resuming after {done}"));
                state
            }
            _ => fresh,
        };
        let mut saved = Instant::now();
        let mut on_ablation = |state: &AblationState| {
            if saved.elapsed() >= SAVE_EVERY {
                self.save(state)?;
                saved = Instant::now();
            }
            Ok(())
        };
        let mut watcher = Watcher::new(self.screen)
            .over(self.corpus)
            .on_ablation(&mut on_ablation);
        let result = state.run(&self.opened.model, self.corpus, self.options, &mut watcher);
        if let Some(failure) = watcher.into_failure() {
            return Err(failure);
        }
        self.screen.stop();
        match result {
            Ok(()) => state.finish(self.corpus).map_err(|e| failure(&e)),
            Err(Error::Interrupted { .. }) if interrupt::requested() => {
                self.save(&state)?;
                let what = plural(state.examples_done(), unit);
                Err(study::interrupted(&what, self.folder))
            }
            Err(error) => Err(failure(&error)),
        }
    }

    fn save(&self, state: &AblationState) -> Result<(), Failure> {
        let Some(folder) = self.folder else {
            return Ok(());
        };
        let saved = serde_json::to_value(state)
            .map_err(|error| Failure::work(format!("cannot save the state: {error}")))?;
        Ok(folder.save_state(&self.run.identity, saved)?)
    }
}

fn results(removals: Removals<'_>, metric: &Metric) -> AblateResults {
    let Removals {
        found,
        change,
        classes,
    } = removals;
    let heads = found.without.iter().map(|without| {
        let paired = without.paired;
        AblatedHead {
            head: without.head.to_string(),
            change: change.get(without.head),
            loss_change: finite(without.loss_change),
            loss_standard_error: finite(paired.loss_standard_error),
            changed: classes.then_some(paired.changed),
            right_to_wrong: classes.then_some(paired.right_to_wrong),
            wrong_to_right: classes.then_some(paired.wrong_to_right),
            p_value: classes.then(|| paired.p_value()),
            metrics: record::metrics(&without.evaluation.metrics),
            loss: finite(without.evaluation.loss),
        }
    });
    AblateResults {
        metric: Some(metric.name.clone()),
        direction: record::name_of(&metric.direction),
        evaluation: Some(record::evaluation(&found.whole)),
        heads: heads.collect(),
        head_ablation: grid(change),
        head_ablation_loss: grid(&found.loss_change()),
    }
}
