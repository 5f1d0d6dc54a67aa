//! `bertology survey`: several studies of a treebank in one pass, a run folder each.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use bertology::attention::cluster::DistanceState;
use bertology::attention::patterns::PatternsState;
use bertology::attention::syntax::SyntaxCounts;
use bertology::attention::{OfSentences, SentencePassages};
use bertology::drive::{DEFAULT_CHUNK, Progress, Study, drive};
use bertology::{Error, OpenAs};
use bertology_run::FolderError;
use clap::{Args, Parser, ValueEnum};
use serde_json::{Map, Value, json};

use super::Done;
use crate::args::{Cli, Command, StudyArg, StudyArgs, SurveyArgs};
use crate::command::{self, Begun, StudyCommand};
use crate::data;
use crate::failure::Failure;
use crate::interrupt::Graceful;
use crate::record::{Clock, Run, name_of};
use crate::run_folder::{self, Earlier, STATE};
use crate::session::{Opened, failure};
use crate::show::Screen;
use crate::show::text::plural;
use crate::watcher::Watcher;

/// What adds up, as far as it was asked for. A study of texts takes the sentences for texts.
type Studies = (
    Option<OfSentences<PatternsState>>,
    (Option<SyntaxCounts>, Option<OfSentences<DistanceState>>),
);

pub(crate) fn run(args: SurveyArgs, screen: &Screen) -> Result<Done, Failure> {
    let clock = Clock::start();
    if let Some(part) = args.grid.part {
        return Err(Failure::input(format!(
            "--part {part}: a survey writes several run folders, and parts are parts of one; give \
             --part to each study's own command"
        )));
    }
    let Some(output) = &args.output.output else {
        return Err(Failure::input(
            "a survey writes a run folder for each study; say where with --output DIR",
        ));
    };
    let wanted: BTreeSet<StudyArg> = args.own.studies.iter().copied().collect();
    if wanted.len() < args.own.studies.len() {
        return Err(Failure::input("--studies: name each study once"));
    }
    let (mut patterns, mut syntax, mut cluster) = (None, None, None);
    for study in wanted {
        match typed(study, &args, output)? {
            Command::Patterns(args) => patterns = Some(prepared(*args, screen)?),
            Command::Syntax(args) => syntax = Some(prepared(*args, screen)?),
            Command::Cluster(args) => cluster = Some(prepared(*args, screen)?),
            _ => {
                return Err(Failure::work(
                    "this is no study of a survey; please report it",
                ));
            }
        }
    }
    let opened = Opened::new(&args.model, OpenAs::DeclaredOrEncoder, screen)?
        .computing(&args.computing, screen)?;
    let treebank = data::treebank(&args.input.conllu, args.own.limit);
    let sentences = SentencePassages::new(
        &opened.model,
        treebank,
        data::treebank_options(&args.input)?,
    );
    let sentences = sentences.map_err(|e| failure(&e))?;
    let mut run = Run::new("survey", &args, clock, &opened)?;
    run.set_data(Some(sentences.info().sha256.clone()), Value::Null);
    let folder = run_folder::shared(output)?;
    let interrupted = output.join(STATE).exists();
    if interrupted && !args.resume.resume && !args.output.overwrite {
        let path = output.clone();
        return Err(FolderError::NotEmpty { path, interrupted }.into());
    }
    if args.output.overwrite {
        folder.remove_state()?;
    }
    let saved = match args.resume.resume {
        true => folder.earlier(&run.identity)?,
        false => Earlier::Nothing,
    };

    let patterns_input = opened_with(patterns.as_ref(), &opened, screen)?;
    let syntax_input = opened_with(syntax.as_ref(), &opened, screen)?;
    let cluster_input = opened_with(cluster.as_ref(), &opened, screen)?;
    let mut documents = Map::new();
    // Of those, too, that a killed survey has finished: they are in its state.
    let fresh: Studies = (
        fresh(patterns.as_ref(), &opened, patterns_input.as_ref())?.map(OfSentences),
        (
            fresh(syntax.as_ref(), &opened, syntax_input.as_ref())?,
            fresh(cluster.as_ref(), &opened, cluster_input.as_ref())?.map(OfSentences),
        ),
    );
    let mut patterns = begun(
        patterns.as_ref(),
        &opened,
        patterns_input.as_ref(),
        &mut documents,
        screen,
    )?;
    let mut syntax = begun(
        syntax.as_ref(),
        &opened,
        syntax_input.as_ref(),
        &mut documents,
        screen,
    )?;
    let mut cluster = begun(
        cluster.as_ref(),
        &opened,
        cluster_input.as_ref(),
        &mut documents,
        screen,
    )?;
    let chunk = args.grid.chunk.map_or(DEFAULT_CHUNK, u64::from);
    let progress = Progress::new(fresh).chunks_of(chunk);
    let progress = progress.and_then(|progress| match saved {
        Earlier::Interrupted(state) => progress.resume(state),
        _ => Ok(progress),
    });
    let mut progress = progress.map_err(|e| command::of_state(Some(&folder), &e))?;
    let total = sentences.info().counts.sentences;
    if progress.done(total) > 0 {
        let done = plural(progress.done(total), "sentence");
        screen.note(&format!("resuming after {done}"));
    }

    let graceful = Graceful::begin();
    screen.say(&headline(&opened, &sentences));
    if patterns.is_some() || syntax.is_some() || cluster.is_some() {
        let mut save = |state: Value, _, _| Ok(folder.save_state(&run.identity, state)?);
        let mut watcher = Watcher::new(screen).of("sentence").saving(&mut save);
        let work = command::work(&args.work);
        let result = drive(
            &opened.model,
            &sentences,
            &mut progress,
            &work,
            &mut watcher,
        );
        if matches!(result, Err(Error::Interrupted { .. })) {
            watcher.save(&mut progress);
        }
        let wrong = match (watcher.into_failure(), result) {
            (Some(failure), _) => Some(failure),
            (None, Ok(())) => None,
            (None, Err(Error::Interrupted { .. })) => {
                let what = plural(progress.done(total), "sentence");
                return Err(command::interrupted(&what, Some(&folder)));
            }
            (None, Err(error)) => Some(command::of_state(Some(&folder), &error)),
        };
        if let Some(mut wrong) = wrong {
            if !output.join(STATE).exists() {
                wrong = discarded(patterns.as_mut(), wrong);
                wrong = discarded(syntax.as_mut(), wrong);
                wrong = discarded(cluster.as_mut(), wrong);
            }
            return Err(wrong);
        }
        screen.stop();
    }
    drop(graceful);
    let (patterns_state, (syntax_state, cluster_state)) = progress.into_study();
    end(
        patterns,
        patterns_state.map(|study| study.0),
        &mut documents,
        screen,
    )?;
    end(syntax, syntax_state, &mut documents, screen)?;
    end(
        cluster,
        cluster_state.map(|study| study.0),
        &mut documents,
        screen,
    )?;
    folder.remove_state()?;
    Ok(json!({ "command": "survey", "studies": documents }).into())
}

fn prepared<C: StudyCommand>(mut command: C, screen: &Screen) -> Result<C, Failure> {
    command.prepare(screen)?;
    Ok(command)
}

type Input<C> = <C as StudyCommand>::Input;

/// What a study opens besides the model, if it was asked for.
fn opened_with<C: StudyCommand>(
    command: Option<&C>,
    opened: &Opened,
    screen: &Screen,
) -> Result<Option<Input<C>>, Failure> {
    command
        .map(|command| command.open(opened, screen))
        .transpose()
}

/// A study with nothing added, if it was asked for.
fn fresh<C: StudyCommand>(
    command: Option<&C>,
    opened: &Opened,
    input: Option<&Input<C>>,
) -> Result<Option<C::Study>, Failure> {
    let (Some(command), Some(input)) = (command, input) else {
        return Ok(None);
    };
    let stages = command.stages(opened, input, None)?;
    Ok(stages.first().map(|stage| stage.progress.fresh().empty()))
}

/// What failed before anything was saved leaves no state.
fn discarded<C: StudyCommand>(begun: Option<&mut Begun<'_, C>>, wrong: Failure) -> Failure {
    match begun {
        None => wrong,
        Some(begun) => begun.discard(wrong),
    }
}

/// A study ready to go, if it was asked for and is not finished already; then its document is put with the others.
fn begun<'a, I: Args, O: Args>(
    command: Option<&'a StudyArgs<I, O>>,
    opened: &'a Opened,
    input: Option<&'a Input<StudyArgs<I, O>>>,
    documents: &mut Map<String, Value>,
    screen: &Screen,
) -> Result<Option<Begun<'a, StudyArgs<I, O>>>, Failure>
where
    StudyArgs<I, O>: StudyCommand,
{
    let (Some(command), Some(input)) = (command, input) else {
        return Ok(None);
    };
    command::check_output(
        &command.output,
        command.resume.resume || command.output.overwrite,
    )?;
    match Begun::new(command, opened, input, Clock::start(), screen)? {
        Ok(mut begun) => {
            begun.mark()?;
            begun.lap();
            Ok(Some(begun))
        }
        Err(done) => {
            let name = <StudyArgs<I, O> as StudyCommand>::NAME;
            documents.insert(name.to_owned(), done.document);
            Ok(None)
        }
    }
}

/// Writes and shows what a study found.
fn end<C: StudyCommand>(
    begun: Option<Begun<'_, C>>,
    study: Option<C::Study>,
    documents: &mut Map<String, Value>,
    screen: &Screen,
) -> Result<(), Failure> {
    if let (Some(mut begun), Some(study)) = (begun, study) {
        screen.say(&format!("\n{}", C::NAME));
        begun.put(study);
        documents.insert(C::NAME.to_owned(), begun.end(screen)?.document);
    }
    Ok(())
}

/// A study's own command as it would be typed.
fn typed(study: StudyArg, args: &SurveyArgs, output: &Path) -> Result<Command, Failure> {
    let name = study.to_possible_value();
    let name = name.as_ref().map_or("", |value| value.get_name());
    let mut words: Vec<OsString> = vec!["bertology".into(), name.into()];
    words.push(args.model.name()?.into());
    words.extend(["--conllu".into(), args.input.conllu.clone().into()]);
    words.extend(["--output".into(), output.join(name).into()]);
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            words.extend([name.into(), value.into()]);
        }
    };
    let sequence = &args.input.sequence;
    option("--limit", args.own.limit.map(|n| n.to_string()));
    option("--max-length", sequence.max_length.map(|n| n.to_string()));
    option("--too-long", sequence.too_long.map(|how| name_of(&how)));
    option("--input", args.input.input.map(|what| name_of(&what)));
    option("--chunk", args.grid.chunk.map(|n| n.to_string()));
    option("--threads", args.work.threads.map(|n| n.to_string()));
    let tokens = args.work.tokens_per_batch;
    option("--tokens-per-batch", tokens.map(|n| n.to_string()));
    if study == StudyArg::Syntax {
        option("--row-mode", Some(name_of(&args.input.row_mode)));
    }
    for (given, flag) in [
        (sequence.bos, "--bos"),
        (args.output.overwrite, "--overwrite"),
        (args.resume.resume, "--resume"),
    ] {
        if given {
            words.push(flag.into());
        }
    }
    let cli = Cli::try_parse_from(words);
    let cli = cli.map_err(|error| Failure::input(format!("`{name}` refuses: {error}")))?;
    Ok(cli.command)
}

fn headline(opened: &Opened, sentences: &SentencePassages) -> String {
    let (layers, heads) = opened.shape();
    let info = sentences.info();
    format!(
        "{}: {layers} layers of {heads} heads\n{}: {}",
        opened.located.name,
        info.path.display(),
        plural(info.counts.sentences, "sentence")
    )
}
