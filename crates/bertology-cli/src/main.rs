//! The command `bertology`: arguments, progress, terminal and run folders. What is computed, and by
//! which formula, is the library's part.

mod args;
mod assumptions;
mod command;
mod commands;
mod cut_short;
mod data;
mod failure;
mod head_choice;
mod interrupt;
mod npy;
mod out_of_memory;
mod pages;
mod parts;
mod record;
mod remedy;
mod run_folder;
mod session;
mod show;
mod study;
mod tables;
mod told;
mod watcher;

use std::process::ExitCode;

use clap::Parser;
use serde_json::json;

use args::Cli;
use bertology::tokenizer;
use command::Start;
use failure::Failure;
use show::Screen;
use show::escape::{self, Keep};

/// The command did its work, and the answer is "not yet".
const NOT_YET: u8 = 3;

/// A panic of the tokenizer library becomes an error, which is all that the user should see of it. One for want of
/// memory ends the program as such.
fn hear_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        out_of_memory::end_if_said(panic);
        if !tokenizer::contains_panics() {
            usual(panic);
        }
    }));
}

fn main() -> ExitCode {
    hear_panics();
    cut_short::watch();
    let cli = match Cli::try_parse_from(args::normalise(std::env::args_os())) {
        Ok(cli) => cli,
        Err(error) => return refused(&error),
    };
    let screen = Screen::new(cli.display);
    let result =
        interrupt::install().and_then(|()| commands::run(cli.command, Start::Corpus, &screen));
    screen.stop();
    let (mut document, failure, not_yet) = match result {
        Ok(done) => (done.document, done.failure, done.not_yet),
        Err(failure) => (json!({}), Some(failure), false),
    };
    if let Some(failure) = &failure {
        document["error"] = failure.document();
    }
    screen.document(&document);
    let Some(failure) = failure.or(screen.failure()) else {
        return match not_yet && !screen.is_json() {
            true => ExitCode::from(NOT_YET),
            false => ExitCode::SUCCESS,
        };
    };
    show::eprintln(&format!("error: {failure}"));
    ExitCode::from(failure.exit_code())
}

/// A command line that is none, or asks for help.
fn refused(error: &clap::Error) -> ExitCode {
    // Help and version come this way too, and go to stdout.
    let typed = error.render().to_string();
    if error.use_stderr() && escape::visible(&typed, Keep::Lines) != typed {
        for line in typed.lines() {
            show::eprintln(line);
        }
    } else {
        let _ = error.print();
    }
    let code = u8::try_from(error.exit_code()).unwrap_or(2);
    let json = std::env::args_os().any(|word| word == "--json");
    if json && error.use_stderr() {
        let message = typed.strip_prefix("error: ").unwrap_or(&typed).trim_end();
        let document = json!({ "error": Failure::input(message).document() });
        show::println(&escape::json(&format!("{document:#}")));
    }
    ExitCode::from(code)
}
