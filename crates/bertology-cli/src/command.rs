//! The skeleton of every command that studies a corpus: open, go through it, save on the way, resume, write, show.
//!
//! A command says what is its own ([`StudyCommand`]); [`run`] does the rest, in one order for all.

use std::path::PathBuf;
use std::time::Duration;

use bertology::attention::Supply;
use bertology::drive::{DEFAULT_CHUNK, Lens, PartState, Progress, Study, Work, drive};
use bertology::watch::Savable;
use bertology::{Error, LoadedModel, OpenAs};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::args::{OutputArgs, StudyArgs};
use crate::commands::Done;
use crate::failure::{Failure, sentence};
use crate::interrupt::Graceful;
use crate::parts;
use crate::record::{Clock, Run};
use crate::run_folder::{self, Earlier, RunFolder, STATE, STATE_PREDICTIONS};
use crate::session::{self, Opened, failure};
use crate::show::Screen;
use crate::show::text::plural;
use crate::told::{Rows, Told};
use crate::watcher::Watcher;

/// What is a command's own.
pub(crate) trait StudyCommand: Serialize + Sized {
    /// As it is typed.
    const NAME: &'static str;
    /// What the stretch of time is called in which the corpus is gone through.
    const LAP: &'static str = "attention";

    /// What is opened besides the model.
    type Input;
    /// Where the sequences come from.
    type Supply: Supply;
    /// What adds up.
    type Study: Study<Lens: Lens<Item = <Self::Supply as Supply>::Item>>;

    /// What can be refused or put in its place before anything is opened.
    fn prepare(&mut self, screen: &Screen) -> Result<(), Failure> {
        let _ = screen;
        Ok(())
    }

    /// The head that is read; most studies read none.
    fn open_as(&self) -> OpenAs {
        OpenAs::DeclaredOrEncoder
    }

    /// Opens the data.
    fn open(&self, opened: &Opened, screen: &Screen) -> Result<Self::Input, Failure>;

    /// Adds to the record what the options do not say: the data, the content of files in the place of their
    /// names, the seed that matters.
    fn identity(&self, input: &Self::Input, run: &mut Run);

    /// What is done in the place of the study, if anything.
    fn instead(
        &self,
        opened: &Opened,
        input: &Self::Input,
        run: &Run,
        screen: &Screen,
    ) -> Result<Option<Done>, Failure> {
        let _ = (opened, input, run, screen);
        Ok(None)
    }

    /// Whether results are written at all.
    fn writes(&self) -> bool {
        true
    }

    /// What is gone through, one after the other.
    fn stages<'a>(
        &self,
        opened: &'a Opened,
        input: &'a Self::Input,
        folder: Option<&RunFolder>,
    ) -> Result<Vec<Stage<'a, Self>>, Failure>;

    /// What is counted, in the singular.
    fn unit(&self, input: &Self::Input) -> &'static str;

    /// The rows that are written down of every unit of the first stage.
    fn told(&self, input: &Self::Input) -> Option<Rows> {
        let _ = input;
        None
    }

    /// Model and data in a line or two.
    fn headline(&self, opened: &Opened, input: &Self::Input) -> Result<String, Failure>;

    /// What deserves a word before the work begins.
    fn notes(&self, input: &Self::Input, screen: &Screen) {
        let _ = (input, screen);
    }

    /// Just before the work begins, or goes on: the last moment to refuse it.
    fn ready(
        &self,
        input: &Self::Input,
        folder: Option<&RunFolder>,
        stages: &[Stage<'_, Self>],
        screen: &Screen,
    ) -> Result<(), Failure> {
        let _ = (input, folder, stages, screen);
        Ok(())
    }

    /// Brings what the parts of a run left besides their states into the folder of the whole.
    fn gather(
        &self,
        input: &Self::Input,
        parts: &[PathBuf],
        folder: &RunFolder,
    ) -> Result<(), Failure> {
        let _ = (input, parts, folder);
        Ok(())
    }

    /// Writes the results into the folder, if there is one, and gives them for the record and for people.
    fn results(
        &self,
        ended: &mut Ended<'_>,
        input: &Self::Input,
        studies: Vec<Self::Study>,
    ) -> Result<Shown, Failure>;
}

/// One corpus, the model that it goes through, and what adds up.
pub(crate) struct Stage<'a, C: StudyCommand> {
    pub(crate) model: &'a LoadedModel,
    pub(crate) supply: &'a C::Supply,
    pub(crate) progress: Progress<C::Study>,
}

impl<'a, C: StudyCommand> Stage<'a, C> {
    pub(crate) fn new(model: &'a LoadedModel, supply: &'a C::Supply, study: C::Study) -> Self {
        Self {
            model,
            supply,
            progress: Progress::new(study),
        }
    }

    /// Units to go through.
    fn units(&self) -> u64 {
        let (first, end) = self.progress.bounds(self.supply.total());
        end - first
    }

    /// Units accounted for.
    pub(crate) fn done(&self) -> u64 {
        self.progress.done(self.supply.total())
    }
}

/// What a command needs at its end.
pub(crate) struct Ended<'a> {
    pub(crate) opened: &'a Opened,
    pub(crate) folder: Option<&'a RunFolder>,
    pub(crate) run: &'a mut Run,
    /// Of going through the corpus.
    pub(crate) time: Duration,
    pub(crate) screen: &'a Screen,
}

/// What a command found: for its record, and for people.
pub(crate) struct Shown {
    pub(crate) results: Value,
    pub(crate) text: String,
}

/// Where a command begins.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Start<'a> {
    /// With its corpus.
    Corpus,
    /// With the finished parts of it.
    Parts(&'a parts::Parts),
}

/// `state.json` of a study.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    /// Of each stage that was begun.
    stages: Vec<Value>,
    /// Bytes of the unfinished predictions that belong to it.
    prediction_bytes: Option<u64>,
    /// Which part of the corpus this is, if it is one.
    part: Option<bertology::drive::Part>,
    /// Units accounted for, and units in all.
    units: (u64, u64),
}

/// How the library spreads the work.
pub(crate) fn work(args: &crate::args::WorkArgs) -> Work {
    Work {
        threads: session::threads(args),
        batch_tokens: args.tokens_per_batch.map(usize::from),
    }
}

/// Verifies early, before anything is loaded, that the output folder may be used.
pub(crate) fn check_output(output: &OutputArgs, resume: bool) -> Result<(), Failure> {
    match &output.output {
        Some(path) => Ok(RunFolder::check(path, output.overwrite, resume)?),
        None => Ok(()),
    }
}

/// The output folder, and what an earlier run left there for this one.
pub(crate) fn open_output(
    output: &OutputArgs,
    resume: bool,
    run: &Run,
) -> Result<(Option<RunFolder>, Earlier), Failure> {
    let Some(path) = &output.output else {
        return Ok((None, Earlier::Nothing));
    };
    let folder = run_folder::open(path, output.overwrite, resume)?;
    let earlier = if resume {
        folder.earlier(&run.identity)?
    } else {
        Earlier::Nothing
    };
    if let Earlier::Complete(_) = earlier {
        run_folder::tidy(&folder)?;
    }
    Ok((Some(folder), earlier))
}

/// What an interruption means for the user.
pub(crate) fn interrupted(what: &str, folder: Option<&RunFolder>) -> Failure {
    Failure::Interrupted(match folder {
        Some(folder) => format!(
            "interrupted after {what}; continue with the same command and --resume (the state is \
             in {})",
            folder.path().display()
        ),
        None => format!(
            "interrupted after {what}; nothing was saved, because there is no --output folder"
        ),
    })
}

/// A fault of what was saved, or of anything else: of the former the file is named.
pub(crate) fn of_state(folder: Option<&RunFolder>, error: &Error) -> Failure {
    match (folder, error) {
        (Some(folder), Error::State { .. } | Error::StateImpossible { .. }) => {
            let path = folder.path().join(STATE);
            let why = sentence(error);
            Failure::input(format!(
                "{}: {why}; start again with --overwrite",
                path.display()
            ))
        }
        _ => failure(error),
    }
}

/// A saved state that was read back as JSON, as what it is.
pub(crate) fn saved<T: serde::de::DeserializeOwned>(
    folder: Option<&RunFolder>,
    state: Value,
) -> Result<T, Failure> {
    serde_json::from_value(state).map_err(|source| of_state(folder, &Error::State { source }))
}

/// A command from its options to its document.
pub(crate) fn run<I, O>(
    mut args: StudyArgs<I, O>,
    start: Start<'_>,
    screen: &Screen,
) -> Result<Done, Failure>
where
    I: Args,
    O: Args,
    StudyArgs<I, O>: StudyCommand,
{
    let clock = Clock::start();
    args.prepare(screen)?;
    if args.writes() {
        check_output(&args.output, args.resume.resume)?;
    }
    let opened =
        Opened::new(&args.model, args.open_as(), screen)?.computing(&args.computing, screen)?;
    let input = args.open(&opened, screen)?;
    let mut begun = match Begun::new(&args, &opened, &input, clock, screen)? {
        Ok(begun) => begun,
        Err(done) => return Ok(done),
    };
    // From the first line printed on, Ctrl-C keeps what was computed.
    let graceful = Graceful::begin();
    begun.say(screen)?;
    match start {
        Start::Corpus => {
            args.ready(&input, begun.folder.as_ref(), &begun.stages, screen)?;
            begun.mark()?;
            begun.open_told()?;
            begun.go_through(screen)?;
        }
        Start::Parts(parts) => {
            begun.mark()?;
            begun.open_told()?;
            begun
                .take_parts(parts)
                .map_err(|wrong| begun.discard(wrong))?;
        }
    }
    drop(graceful);
    begun.end(screen)
}

/// A command whose model, data and folder are open.
pub(crate) struct Begun<'a, C: StudyCommand> {
    command: &'a C,
    opened: &'a Opened,
    input: &'a C::Input,
    run: Run,
    folder: Option<RunFolder>,
    stages: Vec<Stage<'a, C>>,
    /// Of the unfinished predictions so many belong to the state.
    prediction_bytes: Option<u64>,
    told: Option<Told>,
    work: Work,
    part: Option<bertology::drive::Part>,
    /// What an earlier run has saved is gone on with.
    resumes: bool,
    /// The state in the folder says that the run has begun, and no more.
    only_begun: bool,
}

impl<'a, I, O> Begun<'a, StudyArgs<I, O>>
where
    I: Args,
    O: Args,
    StudyArgs<I, O>: StudyCommand,
{
    /// Opens the folder and makes everything ready; or says what there is to say in the place of a study.
    pub(crate) fn new(
        args: &'a StudyArgs<I, O>,
        opened: &'a Opened,
        input: &'a <StudyArgs<I, O> as StudyCommand>::Input,
        clock: Clock,
        screen: &Screen,
    ) -> Result<Result<Self, Done>, Failure> {
        let mut run = Run::new(<StudyArgs<I, O> as StudyCommand>::NAME, args, clock, opened)?;
        args.identity(input, &mut run);
        let chunk = args.grid.chunk.map_or(DEFAULT_CHUNK, u64::from);
        run.identity.set("chunk", json!(chunk));
        if let Some(done) = args.instead(opened, input, &run, screen)? {
            return Ok(Err(done));
        }
        let (folder, earlier) = open_output(&args.output, args.resume.resume, &run)?;
        let mut bytes = None;
        let mut states = Vec::new();
        match earlier {
            Earlier::Nothing => {}
            Earlier::Complete(document) => {
                if let Some(folder) = &folder {
                    parts::same_part(folder, &document, args.grid.part)?;
                }
                screen.note("this run is complete already; nothing to resume");
                return Ok(Err(document.into()));
            }
            Earlier::Interrupted(state) => {
                let state: State = saved(folder.as_ref(), state)?;
                (states, bytes) = (state.stages, state.prediction_bytes);
            }
        }
        let resumes = !states.is_empty();
        let mut states = states.into_iter();
        let mut stages = Vec::new();
        for Stage {
            model,
            supply,
            progress,
        } in args.stages(opened, input, folder.as_ref())?
        {
            let progress = progress
                .chunks_of(chunk)
                .and_then(|progress| progress.part(args.grid.part))
                .and_then(|progress| match states.next() {
                    Some(state) => progress.resume(state),
                    None => Ok(progress),
                });
            stages.push(Stage {
                model,
                supply,
                progress: progress.map_err(|e| of_state(folder.as_ref(), &e))?,
            });
        }
        if resumes {
            let done = stages.iter().map(Stage::done).sum();
            screen.note(&format!(
                "resuming after {}",
                plural(done, args.unit(input))
            ));
        }
        Ok(Ok(Self {
            command: args,
            opened,
            input,
            run,
            folder,
            stages,
            prediction_bytes: bytes,
            told: None,
            work: work(&args.work),
            part: args.grid.part,
            resumes,
            only_begun: false,
        }))
    }
}

impl<C: StudyCommand> Begun<'_, C> {
    /// The study of the first stage as it was made elsewhere.
    pub(crate) fn put(&mut self, study: C::Study) {
        let progress = Progress::new(study.empty());
        self.stages[0].progress = progress.finished(study);
    }

    /// Everything is loaded.
    pub(crate) fn lap(&mut self) {
        self.run.clock.lap("load");
    }

    pub(crate) fn say(&mut self, screen: &Screen) -> Result<(), Failure> {
        screen.say(&self.command.headline(self.opened, self.input)?);
        self.command.notes(self.input, screen);
        self.lap();
        Ok(())
    }

    /// Says in the folder that the run has begun, before anything else is in it: whenever the process is
    /// killed, what it leaves can be resumed. What was there before goes.
    pub(crate) fn mark(&mut self) -> Result<(), Failure> {
        let Some(folder) = self.folder.as_ref().filter(|_| !self.resumes) else {
            return Ok(());
        };
        let state = State {
            stages: Vec::new(),
            prediction_bytes: None,
            part: self.part,
            units: (0, self.units()),
        };
        let model = self.run.model_folder();
        self.only_begun = true;
        let begun = folder.begin(&self.run.identity, json!(state), model);
        Ok(begun?)
    }

    fn open_told(&mut self) -> Result<(), Failure> {
        if let (Some(folder), Some(rows)) = (&self.folder, self.command.told(self.input)) {
            let path = folder.path().join(STATE_PREDICTIONS);
            // Killed between the last two files, a run has them under their final name.
            let named = folder.path().join(rows.file());
            if self.prediction_bytes.is_some() && !path.exists() && named.exists() {
                std::fs::rename(&named, &path)
                    .map_err(|error| Failure::io("rename", &named, &error))?;
            }
            self.told = Some(Told::open(&path, rows, self.prediction_bytes)?);
        }
        Ok(())
    }

    /// Units of all stages.
    fn units(&self) -> u64 {
        self.stages.iter().map(Stage::units).sum()
    }

    /// Brings every stage to its end, or saves how far it came.
    fn go_through(&mut self, screen: &Screen) -> Result<(), Failure> {
        let unit = self.command.unit(self.input);
        let part = self.part;
        let total = self.units();
        let mut finished: Vec<Value> = Vec::new();
        let mut before = 0;
        for at in 0..self.stages.len() {
            let Stage {
                model,
                supply,
                progress,
            } = &mut self.stages[at];
            let (folder, identity) = (self.folder.as_ref(), &self.run.identity);
            let only_begun = &mut self.only_begun;
            let mut save = |state: Value, prediction_bytes: Option<u64>, done: u64| match folder {
                None => Ok(()),
                Some(folder) => {
                    let stages = finished.iter().cloned().chain([state]).collect();
                    let state = State {
                        stages,
                        prediction_bytes,
                        part,
                        units: (before + done, total),
                    };
                    folder.save_state(identity, json!(state))?;
                    *only_begun = false;
                    Ok(())
                }
            };
            if at > 0 {
                self.told.iter_mut().for_each(Told::close);
            }
            let mut watcher = Watcher::new(screen).of(unit).telling(self.told.as_mut());
            if folder.is_some() {
                watcher = watcher.saving(&mut save);
            }
            let result = drive(model, *supply, progress, &self.work, &mut watcher);
            let stopped = matches!(result, Err(Error::Interrupted { .. }));
            if stopped {
                watcher.save(progress);
            }
            match (watcher.into_failure(), result) {
                (None, Ok(())) => {}
                (None, Err(Error::Interrupted { .. })) => {
                    let what = plural(before + self.stages[at].done(), unit);
                    return Err(interrupted(&what, self.folder.as_ref()));
                }
                (Some(wrong), _) => return Err(self.discard(wrong)),
                (None, Err(error)) => {
                    let wrong = of_state(self.folder.as_ref(), &error);
                    return Err(self.discard(wrong));
                }
            }
            if self.stages.len() > 1 {
                let state = self.stages[at].progress.save();
                finished.push(state.map_err(|e| failure(&e))?);
            }
            before += self.stages[at].done();
        }
        screen.stop();
        Ok(())
    }

    /// What failed before anything was saved leaves an empty folder.
    pub(crate) fn discard(&mut self, wrong: Failure) -> Failure {
        self.told = None;
        let folder = self.folder.as_ref().filter(|_| self.only_begun);
        let model = self.run.model_folder();
        let removed = folder.map_or(Ok(()), |folder| folder.clear(model));
        removed.map_or_else(Failure::from, |()| wrong)
    }

    /// Folds the parts, in the place of going through the corpus.
    fn take_parts(&mut self, parts: &parts::Parts) -> Result<(), Failure> {
        parts.agree(&self.run.identity)?;
        self.run.device = parts.device();
        let stages = std::mem::take(&mut self.stages);
        for (at, stage) in stages.into_iter().enumerate() {
            let states: Vec<PartState> = parts.states(at)?;
            let blank = Progress::new(stage.progress.fresh().empty());
            let progress = stage.progress.merge(states).map_err(|error| {
                parts
                    .blame(at, |part| blank.check_part(part))
                    .unwrap_or_else(|| failure(&error))
            })?;
            self.stages.push(Stage { progress, ..stage });
        }
        if let Some(folder) = &self.folder {
            self.command.gather(self.input, parts.folders(), folder)?;
        }
        if let Some(told) = &mut self.told {
            parts.told(told)?;
        }
        Ok(())
    }

    /// Writes and shows what was found.
    pub(crate) fn end(mut self, screen: &Screen) -> Result<Done, Failure> {
        let time = self.run.clock.lap(C::LAP);
        if let (Some(folder), Some(told)) = (&self.folder, self.told.take()) {
            told.finish(folder.path())?;
        }
        if let (Some(part), Some(folder)) = (self.part, &self.folder) {
            let states = self.stages.into_iter().map(|stage| {
                let total = stage.supply.total();
                stage.progress.into_part(total).map_err(|e| failure(&e))
            });
            let states = states.collect::<Result<Vec<_>, _>>()?;
            let document = parts::write(folder, &self.run, part, &states)?;
            screen.say(&format!(
                "Part {part} is finished; `bertology merge` puts the parts together\nResults are in {}",
                folder.path().display()
            ));
            return Ok(document.into());
        }
        let studies = std::mem::take(&mut self.stages).into_iter();
        let studies = studies.map(|stage| stage.progress.into_study()).collect();
        let mut ended = Ended {
            opened: self.opened,
            folder: self.folder.as_ref(),
            run: &mut self.run,
            time,
            screen,
        };
        let found = self.command.results(&mut ended, self.input, studies);
        let Shown { results, text } = found.map_err(|wrong| self.discard(wrong))?;
        let document = self.run.document(&results);
        let document = run_folder::complete(self.folder.as_ref(), document)?;
        screen.say(&text);
        crate::commands::say_folder(self.folder.as_ref(), screen);
        Ok(document.into())
    }
}
