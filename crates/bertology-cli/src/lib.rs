//! The command `bertology`: arguments, progress, terminal and run folders. What is computed, and by
//! which formula, is the library's part.
//!
//! [`main`] is the program. [`call`] runs one command within another program, which hears of its notes and progress
//! ([`Listener`]), may ask it to stop ([`Stop`]), and gets the document that `--json` prints. [`options`] says which
//! commands and options there are.

mod args;
mod assets;
mod assumptions;
mod call;
mod catalogue;
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

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Once;

use clap::Parser;
use serde_json::json;

use args::Cli;
use bertology::tokenizer;
use command::Start;
use show::Screen;
use show::escape::{self, Keep};

pub use assets::Asset;
pub use call::{Listener, call};
pub use catalogue::options;
pub use commands::demo::files as embedded;
pub use failure::{Failure, sentence};
pub use interrupt::Stop;

/// The command did its work, and the answer is "not yet".
const NOT_YET: u8 = 3;

/// A panic of the tokenizer library becomes an error, which is all that the user should see of it. One for want of
/// memory ends the program as such.
fn hear_panics() {
    static HEARD: Once = Once::new();
    HEARD.call_once(hook);
}

fn hook() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        out_of_memory::end_if_said(panic);
        if !tokenizer::contains_panics() {
            usual(panic);
        }
    }));
}

/// The program, its name first among the words.
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::from(exit_code(words.into_iter().collect()))
}

/// The program, for a caller that ends with this code itself.
#[must_use]
pub fn exit_code(words: Vec<OsString>) -> u8 {
    hear_panics();
    cut_short::watch();
    let json = words.iter().any(|word| word == "--json");
    call::said(&words);
    let cli = match Cli::try_parse_from(args::normalise(words)) {
        Ok(cli) => cli,
        Err(error) => return refused(&error, json),
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
            true => NOT_YET,
            false => 0,
        };
    };
    show::eprintln(&format!("error: {failure}"));
    failure.exit_code()
}

/// A command line that is none, or asks for help.
fn refused(error: &clap::Error, json: bool) -> u8 {
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
    if json && error.use_stderr() {
        let document = json!({ "error": Failure::command_line(error).document() });
        show::println(&escape::json(&format!("{document:#}")));
    }
    code
}
