//! The command `bertology`: arguments, progress, terminal and run folders. What is computed, and by
//! which formula, is the library's part.

mod args;
mod commands;
mod data;
mod failure;
mod head_choice;
mod interrupt;
mod npy;
mod pages;
mod record;
mod remedy;
mod run_folder;
mod saved;
mod session;
mod show;
mod study;
mod tables;
mod watcher;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use failure::Failure;
use show::Screen;

fn main() -> ExitCode {
    let cli = match Cli::try_parse_from(args::normalise(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, and go to stdout.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let screen = Screen::new(cli.display);
    let result = interrupt::install().and_then(|()| match cli.command {
        Command::Importance(args) => commands::importance::run(args, &screen),
        Command::Ablate(args) => commands::ablate::run(args, &screen),
        Command::Mask(args) => commands::mask::run(args, &screen),
        Command::Prune(args) => commands::prune::run(*args, &screen),
        Command::Evaluate(args) => commands::evaluate::run(args, &screen),
        Command::Extract(args) => commands::extract::run(*args, &screen),
        Command::Patterns(args) => commands::patterns::run(&args, &screen),
        Command::Cluster(args) => commands::cluster::run(*args, &screen),
        Command::Syntax(args) => commands::syntax::run(&args, &screen),
        Command::Coref(args) => commands::coref::run(&args, &screen),
        Command::AttentionProbe(args) => commands::attention_probe::run(*args, &screen),
        Command::Inspect(args) => commands::inspect::run(args, &screen),
        Command::Verify(args) => commands::verify::run(args, &screen),
        Command::View(args) => commands::view::run(*args, &screen),
        Command::Report(args) => commands::report::run(&args, &screen),
        Command::Heads(args) => commands::heads::run(&args, &screen),
        Command::Compare(args) => commands::compare::run(&args, &screen),
        Command::Demo(args) => commands::demo::run(&args, &screen),
    });
    screen.stop();
    let failure = match result {
        Ok(done) => screen.document(&done.document).err().or(done.failure),
        Err(failure) => Some(failure),
    };
    let Some(failure) = failure else {
        return ExitCode::SUCCESS;
    };
    if !matches!(failure, Failure::BrokenPipe) {
        show::eprintln(&format!("error: {failure}"));
    }
    ExitCode::from(failure.exit_code())
}
