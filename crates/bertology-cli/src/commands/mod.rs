//! One module per command.

use serde_json::Value;

use crate::args::{Command, ComputingArgs, GridArgs, OutputArgs, ResumeArgs};
use crate::command::{self, Start};
use crate::failure::Failure;
use crate::run_folder::RunFolder;
use crate::show::Screen;

/// The options of a study that merging changes.
struct Written<'a> {
    computing: &'a mut ComputingArgs,
    grid: &'a mut GridArgs,
    resume: &'a mut ResumeArgs,
    output: &'a mut OutputArgs,
}

/// The commands that study a corpus, which the skeleton runs whole or in parts, and all others.
macro_rules! commands {
    (
        ($start:ident, $screen:ident)
        studies { $($(#[$gate:meta])* $study:ident $module:ident,)* }
        others { $($(#[$meta:meta])* $other:pat => $run:expr,)* }
    ) => {
        $($(#[$gate])* pub(crate) mod $module;)*

        /// Runs a command. Studies begin where `start` says, with their corpus or with its finished parts.
        pub(crate) fn run(
            command: Command,
            $start: Start<'_>,
            $screen: &Screen,
        ) -> Result<Done, Failure> {
            match command {
                $($(#[$gate])* Command::$study(args) => command::run(*args, $start, $screen),)*
                $($(#[$meta])* $other => $run,)*
            }
        }

        /// Where a study's options say which part is made, where, and where it goes.
        fn written(command: &mut Command) -> Option<Written<'_>> {
            match command {
                $($(#[$gate])* Command::$study(args) => {
                    Some(Written {
                        computing: &mut args.computing,
                        grid: &mut args.grid,
                        resume: &mut args.resume,
                        output: &mut args.output,
                    })
                })*
                _ => None,
            }
        }
    };
}

commands! {
    (start, screen)
    studies {
        Importance importance,
        Ablate ablate,
        Evaluate evaluate,
        Predict predict,
        Extract extract,
        Patterns patterns,
        Cluster cluster,
        Syntax syntax,
        Coref coref,
        Distance distance,
        Relations relations,
        Contacts contacts,
        #[cfg(feature = "code")]
        Cat cat,
    }
    others {
        Command::Mask(args) => mask::run(*args, screen),
        Command::EdgeProbe(args) => edge_probe::run(*args, screen),
        Command::Finetune(args) => finetune::run(*args, screen),
        Command::Dynamics(args) => dynamics::run(*args, screen),
        Command::Bench(args) => bench::run(*args, screen),
        Command::Prune(args) => prune::run(*args, screen),
        Command::Compress(args) => compress::run(*args, screen),
        Command::Judge(args) => judge::run(*args, screen),
        Command::AttentionProbe(args) => attention_probe::run(*args, screen),
        Command::EdgeData(args) => edge_data::run(&args, screen),
        Command::Survey(args) => survey::run(*args, screen),
        Command::Merge(args) => merge::run(&args, screen),
        Command::Status(args) => status::run(&args, screen),
        Command::Export(args) => export::run(*args, screen),
        Command::Devices => devices::run(screen),
        Command::Inspect(args) => inspect::run(args, screen),
        Command::Verify(args) => verify::run(args, screen),
        Command::View(args) => view::run(*args, screen),
        #[cfg(feature = "code")]
        Command::CatTree(args) => cat_tree::run(&args, screen),
        Command::Report(args) => report::run(&args, screen),
        Command::Heads(args) => heads::run(&args, screen),
        Command::Compare(args) => compare::run(&args, screen),
        Command::Demo(args) => demo::run(&args, screen),
        Command::Completions(args) => shells::completions(&args, screen),
        Command::Man(args) => shells::man(&args, screen),
    }
}

pub(crate) mod attention_probe;
pub(crate) mod bench;
#[cfg(feature = "code")]
pub(crate) mod cat_tree;
pub(crate) mod compare;
mod compare_cat;
mod compare_edge;
pub(crate) mod compress;
pub(crate) mod demo;
pub(crate) mod devices;
pub(crate) mod dynamics;
pub(crate) mod edge_data;
pub(crate) mod edge_probe;
pub(crate) mod export;
pub(crate) mod finetune;
pub(crate) mod heads;
pub(crate) mod inspect;
pub(crate) mod judge;
pub(crate) mod mask;
pub(crate) mod merge;
mod pair;
pub(crate) mod prune;
pub(crate) mod report;
mod schedule;
mod search;
mod shells;
pub(crate) mod status;
pub(crate) mod survey;
pub(crate) mod verify;
pub(crate) mod view;

/// What a command found: the document of `--json`, and how it ends all the same.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) document: Value,
    pub(crate) failure: Option<Failure>,
    /// The answer is "not yet": exit code 3 for scripts, which `--json` has in its document instead.
    pub(crate) not_yet: bool,
}

impl From<Value> for Done {
    fn from(document: Value) -> Self {
        Self {
            document,
            failure: None,
            not_yet: false,
        }
    }
}

pub(crate) fn say_folder(folder: Option<&RunFolder>, screen: &Screen) {
    if let Some(folder) = folder {
        screen.say(&format!("Results are in {}", folder.path().display()));
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
