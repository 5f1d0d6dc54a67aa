//! The command `bertology`: arguments, progress, terminal and run folders. What is computed, and by
//! which formula, is the library's part.

mod args;
mod command;
mod commands;
mod cut_short;
mod data;
mod failure;
mod head_choice;
mod interrupt;
mod npy;
mod pages;
mod parts;
mod record;
mod remedy;
mod run_folder;
mod session;
mod show;
mod study;
mod tables;
mod watcher;

use std::process::ExitCode;

use clap::Parser;

use args::Cli;
use bertology::tokenizer;
use command::Start;
use failure::Failure;
use show::Screen;
use show::escape::{self, Keep};

/// A panic of the tokenizer library becomes an error, which is all that the user should see of it.
fn quiet_contained_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !tokenizer::contains_panics() {
            usual(panic);
        }
    }));
}

fn main() -> ExitCode {
    quiet_contained_panics();
    cut_short::watch();
    let cli = match Cli::try_parse_from(args::normalise(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, and go to stdout.
            let typed = error.render().to_string();
            if error.use_stderr() && escape::visible(&typed, Keep::Lines) != typed {
                for line in typed.lines() {
                    show::eprintln(line);
                }
            } else {
                let _ = error.print();
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let screen = Screen::new(cli.display);
    let result =
        interrupt::install().and_then(|()| commands::run(cli.command, Start::Corpus, &screen));
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
