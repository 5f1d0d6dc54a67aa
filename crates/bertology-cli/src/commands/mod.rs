//! One module per command.

pub(crate) mod ablate;
pub(crate) mod attention_probe;
pub(crate) mod cluster;
pub(crate) mod compare;
pub(crate) mod coref;
pub(crate) mod demo;
pub(crate) mod evaluate;
pub(crate) mod extract;
pub(crate) mod heads;
pub(crate) mod importance;
pub(crate) mod inspect;
pub(crate) mod mask;
pub(crate) mod merge;
pub(crate) mod patterns;
pub(crate) mod prune;
pub(crate) mod report;
pub(crate) mod status;
pub(crate) mod survey;
pub(crate) mod syntax;
pub(crate) mod verify;
pub(crate) mod view;

use serde_json::Value;

use crate::args::Command;
use crate::command::{self, Start};
use crate::failure::Failure;
use crate::run_folder::RunFolder;
use crate::show::Screen;

/// Runs a command. Studies begin where `start` says, with their corpus or with its finished parts.
pub(crate) fn run(command: Command, start: Start<'_>, screen: &Screen) -> Result<Done, Failure> {
    match command {
        Command::Importance(args) => command::run(*args, start, screen),
        Command::Ablate(args) => command::run(*args, start, screen),
        Command::Evaluate(args) => command::run(*args, start, screen),
        Command::Extract(args) => command::run(*args, start, screen),
        Command::Patterns(args) => command::run(*args, start, screen),
        Command::Cluster(args) => command::run(*args, start, screen),
        Command::Syntax(args) => command::run(*args, start, screen),
        Command::Coref(args) => command::run(*args, start, screen),
        Command::Mask(args) => mask::run(args, screen),
        Command::Prune(args) => prune::run(*args, screen),
        Command::AttentionProbe(args) => attention_probe::run(*args, screen),
        Command::Survey(args) => survey::run(*args, screen),
        Command::Merge(args) => merge::run(&args, screen),
        Command::Status(args) => status::run(&args, screen),
        Command::Inspect(args) => inspect::run(args, screen),
        Command::Verify(args) => verify::run(args, screen),
        Command::View(args) => view::run(*args, screen),
        Command::Report(args) => report::run(&args, screen),
        Command::Heads(args) => heads::run(&args, screen),
        Command::Compare(args) => compare::run(&args, screen),
        Command::Demo(args) => demo::run(&args, screen),
    }
}

/// What a command found: the document of `--json`, and the failure that it ends with all the same.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) document: Value,
    pub(crate) failure: Option<Failure>,
}

impl From<Value> for Done {
    fn from(document: Value) -> Self {
        Self {
            document,
            failure: None,
        }
    }
}

pub(crate) fn say_folder(folder: Option<&RunFolder>, screen: &Screen) -> Result<(), Failure> {
    match folder {
        Some(folder) => screen.say(&format!("Results are in {}", folder.path().display())),
        None => Ok(()),
    }
}

/// The state of a study that has one stage.
fn only<S>(studies: Vec<S>) -> Result<S, Failure> {
    let last = studies.into_iter().last();
    last.ok_or_else(|| Failure::work("nothing was studied; please report this"))
}

/// The folder of a command that cannot do without one.
fn needed(folder: Option<&RunFolder>) -> Result<&RunFolder, Failure> {
    folder.ok_or_else(|| Failure::input("no --output folder given"))
}
