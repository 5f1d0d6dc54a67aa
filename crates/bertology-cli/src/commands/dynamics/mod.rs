//! `bertology dynamics`: heads along a training.

mod args;
mod output;
mod places;
mod training;

use bertology::dynamics::{Dynamics, DynamicsOptions, Subject, dispensable};
use bertology::masking::Metric;
use bertology::{Corpus, Error};
use serde_json::json;

use crate::args::Masks;
use crate::command;
use crate::commands::Done;
use crate::data;
use crate::failure::Failure;
use crate::interrupt::{self, Graceful};
use crate::record::{Clock, Run};
use crate::run_folder::{self, Earlier, RunFolder};
use crate::session::{self, Opened, failure};
use crate::show::Screen;
use crate::show::escape::name;
use crate::show::text::{plural, seconds};
use crate::study;
use crate::watcher::Watcher;
use training::Training;

pub(crate) use args::{ABOUT, DynamicsArgs};

pub(crate) fn run(mut args: DynamicsArgs, screen: &Screen) -> Result<Done, Failure> {
    let clock = Clock::start();
    args.parts
        .refuse("heads are masked in the order that a whole pass of each checkpoint finds")?;
    let note = &mut |text: &str| screen.note(text);
    let any = args.model("");
    args.data.obey_legacy(Masks::Yes, &any, note)?;
    command::check_output(&args.output, args.resume.resume)?;
    let places = places::find(&args.folders, screen)?;
    session::say_precision(&args.computing, screen);
    let (training, last) = Training::open(&args, places, screen)?;
    session::refuse_within(&args.output, training.located())?;
    let input = Input::open(&args, &last, screen)?;
    let options = options(&args, screen);
    let mut run = Run::new("dynamics", &args, clock, &last)?;
    run.set_corpus(&input.corpus, args.data.seed);
    run.identity.set("checkpoints", training.identity());
    if let Some(choosing) = &input.choosing {
        run.identity.set("choose_on", json!(choosing.info().sha256));
    }
    let (folder, earlier) = command::open_output(&args.output, args.resume.resume, &run)?;
    if let Earlier::Complete(document) = earlier {
        screen.note("this run is complete already; nothing to resume");
        return Ok(document.into());
    }
    if let (Some(folder), Earlier::Nothing) = (&folder, &earlier) {
        folder.begin(&run.identity, json!({}), run.model_folder())?;
    }
    let heads = last.model.model().heads().collect();
    let fresh = Dynamics::new(training.moments.clone(), heads, options);
    input.say(&training, &last, screen);
    let metric = input.metric.clone();
    let granularity = fresh.options().granularity.to_string();
    let same = input.choosing.is_none();
    drop((last, input));
    let dynamics = resumed(fresh, earlier, folder.as_ref(), screen)?;
    run.clock.lap("load");
    let graceful = Graceful::begin();
    let dynamics = go_through(&args, &training, dynamics, &run, folder.as_ref(), screen)?;
    drop(graceful);
    let time = run.clock.lap("curves");
    let found = output::Found {
        dynamics: &dynamics,
        training: &training,
        metric: &metric,
    };
    if let Some(folder) = &folder {
        found.write(folder)?;
    }
    let results = found.results(granularity, same);
    let document = run_folder::complete(folder.as_ref(), run.document(&results))?;
    screen.say(&format!("\n{}\n{}", output::text(&results), seconds(time)));
    crate::commands::say_folder(folder.as_ref(), screen);
    Ok(document.into())
}

fn options(args: &DynamicsArgs, screen: &Screen) -> DynamicsOptions {
    let mut options = DynamicsOptions::default();
    options.share = args.schedule;
    options.seeds = args.seeds();
    options.granularity = study::granularity(&args.score, screen);
    options.normalization = study::normalization(&args.score);
    options
}

/// Data for one checkpoint.
struct Input {
    corpus: Corpus,
    /// Where heads are ranked on other data than are scored.
    choosing: Option<Corpus>,
    metric: Metric,
}

impl Input {
    fn open(args: &DynamicsArgs, opened: &Opened, screen: &Screen) -> Result<Self, Failure> {
        let corpus = data::corpus(opened, &args.data, screen)?;
        let metric = Metric::of(&corpus, args.metric.as_deref()).map_err(|e| failure(&e))?;
        let choosing = match &args.choose_on {
            None => None,
            Some(what) => {
                let other = data::elsewhere(&args.data, what)?;
                Some(data::corpus(opened, &other, &Screen::silent())?)
            }
        };
        Ok(Self {
            corpus,
            choosing,
            metric,
        })
    }

    fn subject<'a>(&'a self, opened: &'a Opened) -> Subject<'a> {
        Subject {
            model: &opened.model,
            corpus: &self.corpus,
            ranked_on: self.choosing.as_ref().unwrap_or(&self.corpus),
            metric: &self.metric,
        }
    }

    fn say(&self, training: &Training, opened: &Opened, screen: &Screen) {
        let (layers, heads) = opened.shape();
        let (Some(first), Some(last)) = (training.moments.first(), training.moments.last()) else {
            return;
        };
        screen.say(&format!(
            "{} from {} to {}: {layers} layers of {heads} heads\n{}",
            plural(training.moments.len() as u64, "checkpoint"),
            name(&first.name),
            name(&last.name),
            study::corpus_line(&self.corpus)
        ));
        match &self.choosing {
            Some(choosing) => {
                screen.say(&format!("heads are ranked on {}", study::corpus_line(choosing)));
            }
            None => screen.note(
                "heads are ranked on the data that are scored, which flatters; --choose-on ranks them on others",
            ),
        }
        study::note_skipped(&self.corpus, screen);
    }
}

/// What an earlier run has found, or nothing yet.
fn resumed(
    fresh: Dynamics,
    earlier: Earlier,
    folder: Option<&RunFolder>,
    screen: &Screen,
) -> Result<Dynamics, Failure> {
    let Earlier::Interrupted(state) = earlier else {
        return Ok(fresh);
    };
    // Begun and no more.
    if state.is_null() || state == json!({}) {
        return Ok(fresh);
    }
    let saved: Dynamics = command::saved(folder, state)?;
    saved
        .agrees(&fresh)
        .map_err(|e| command::of_state(folder, &e))?;
    let done = plural(saved.done().0 as u64, "pass");
    screen.note(&format!("resuming after {done}"));
    Ok(saved)
}

/// Makes all passes, the state saved after each. One model is in memory at a time.
fn go_through(
    args: &DynamicsArgs,
    training: &Training,
    mut dynamics: Dynamics,
    run: &Run,
    folder: Option<&RunFolder>,
    screen: &Screen,
) -> Result<Dynamics, Failure> {
    let work = command::work(&args.work);
    let silent = Screen::silent();
    while let Some(at) = dynamics.at() {
        let opened = training.model(args, at, &silent)?;
        let input = Input::open(args, &opened, &silent)?;
        let subject = input.subject(&opened);
        while dynamics.at() == Some(at) {
            let mut watcher = Watcher::new(screen).of(study::unit(&input.corpus));
            let passed = dynamics.pass(&subject, &work, &mut watcher);
            if let Some(failure) = watcher.into_failure() {
                return Err(failure);
            }
            screen.stop();
            match passed {
                Err(Error::Interrupted { .. }) if interrupt::requested() => {
                    let done = plural(dynamics.done().0 as u64, "finished pass");
                    return Err(command::interrupted(&done, folder));
                }
                passed => passed.map_err(|e| failure(&e))?,
            }
            if let Some(folder) = folder {
                folder.save_state(&run.identity, json!(dynamics))?;
            }
        }
        screen.say(&finished(&dynamics, at, &input.metric));
    }
    Ok(dynamics)
}

/// A line of a checkpoint that is done.
fn finished(dynamics: &Dynamics, at: usize, metric: &Metric) -> String {
    let curves = &dynamics.found()[at].curves;
    let score = curves.whole().and_then(|point| point.score);
    let can_go = dispensable(score, curves.points(0), metric.direction);
    let can_go = can_go.map_or_else(String::new, |heads| {
        let all = plural(dynamics.heads().len() as u64, "head");
        format!(", {heads} of {all} can go")
    });
    let score = score.map_or_else(|| "-".into(), |score| format!("{score:.4}"));
    format!(
        "{} of {}  {}: {} {score}{can_go}",
        at + 1,
        dynamics.moments().len(),
        name(&dynamics.moments()[at].name),
        metric.name
    )
}
