//! `bertology mask`: mask heads, least important first, until the score falls below a threshold or a goal is reached.

use bertology::HeadId;
use bertology_run::results::ComparedResults;
use serde_json::json;

use super::pair::Pair;
use super::{Done, search};
use crate::args::{MaskArgs, Masks};
use crate::command;
use crate::data;
use crate::failure::Failure;
use crate::interrupt::{self, Graceful};
use crate::record::{Clock, Run};
use crate::run_folder::{self, Earlier};
use crate::session::{Opened, failure};
use crate::show::Screen;
use crate::show::text::seconds;
use crate::study;

pub(crate) fn run(mut args: MaskArgs, screen: &Screen) -> Result<Done, Failure> {
    let clock = Clock::start();
    args.parts.refuse(search::NOT_IN_PARTS)?;
    let note = &mut |text: &str| screen.note(text);
    args.data.obey_legacy(Masks::Yes, &args.model, note)?;
    command::check_output(&args.output, args.resume.resume)?;
    if args.schedule.schedule.is_some() {
        super::schedule::check(&args)?;
    } else {
        search::check(&args.masking)?;
    }
    let opened = Opened::new(&args.model, data::open_as(&args.data), screen)?
        .computing(&args.computing, screen)?;
    let corpus = data::corpus(&opened, &args.data, screen)?;
    let choosing = search::choosing(
        &opened,
        &args.data,
        args.masking.choose_on.as_deref(),
        &corpus,
        screen,
    )?;
    let mut run = Run::new("mask", &args, clock, &opened)?;
    run.set_corpus(&corpus, args.data.seed);
    search::set_choosing(&mut run, choosing.as_ref());
    let chosen_on = choosing.as_ref().unwrap_or(&corpus);
    let options = match args.schedule.schedule {
        Some(_) => None,
        None => {
            let (masking, score) = (&args.masking, &args.score);
            Some(search::options(masking, score, &opened, chosen_on, screen)?)
        }
    };
    let (folder, earlier) = command::open_output(&args.output, args.resume.resume, &run)?;
    if let Earlier::Complete(document) = earlier {
        screen.note("this run is complete already; nothing to resume");
        return Ok(document.into());
    }
    let (Some(options), None) = (options, args.schedule.schedule) else {
        if let (Some(folder), Earlier::Nothing) = (&folder, &earlier) {
            folder.begin(&run.identity, json!({}), run.model_folder())?;
        }
        let opening = super::schedule::Opening {
            args: &args,
            opened: &opened,
            corpus: &corpus,
            choosing: choosing.as_ref(),
            share: args.schedule.schedule.unwrap_or(1.0),
        };
        return super::schedule::run(&opening, run, (folder, earlier), screen);
    };
    search::begin(folder.as_ref(), &earlier, &run)?;
    screen.say(&study::headline(&opened, &corpus));
    search::say_choosing("chosen", choosing.as_ref(), screen);
    study::note_skipped(&corpus, screen);
    run.clock.lap("load");

    let work = command::work(&args.work);
    let searching = search::Searching {
        opened: &opened,
        corpus: chosen_on,
        options: &options,
        work,
        run: &run,
        folder: folder.as_ref(),
    };
    let outcome = searching.finish(earlier, screen)?;
    let time = run.clock.lap("masking");
    let mut results = search::results(&outcome, &options);
    let mut text = format!("\n{}", search::summary(&outcome, &options, screen));
    if choosing.is_some() {
        let masked: Vec<HeadId> = outcome.mask().masked().collect();
        let smaller = opened
            .model
            .without_heads(masked)
            .map_err(|e| failure(&e))?;
        let graceful = Graceful::begin();
        let pair = Pair::measure(&opened.model, &smaller, &corpus, &work, screen);
        drop(graceful);
        let pair = pair.map_err(|error| match interrupt::requested() {
            true => command::interrupted("the search", folder.as_ref()),
            false => failure(&error),
        })?;
        run.clock.lap("comparison");
        text.push_str(&format!(
            "\n\nOn the data of the run, which no head was chosen on:\n{}\n{}",
            pair.table(),
            pair.said().join("\n")
        ));
        results.on_data = Some(ComparedResults::from(&pair));
    }
    if let Some(folder) = &folder {
        search::write(folder, &outcome, &options)?;
    }
    let document = run.document(&results);
    let document = run_folder::complete(folder.as_ref(), document)?;
    screen.say(&text);
    screen.say(&seconds(time));
    super::say_folder(folder.as_ref(), screen);
    Ok(document.into())
}
