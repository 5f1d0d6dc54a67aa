//! One command within another program.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use clap::Parser;
use serde_json::Value;

use crate::args::{self, Cli, Display, When};
use crate::command::Start;
use crate::failure::Failure;
use crate::interrupt::Stop;
use crate::show::Screen;
use crate::{commands, hear_panics};

/// Who hears what a command says on its way. Called on the thread of the command.
pub trait Listener: Send + Sync {
    /// What the user should know but need not act upon.
    fn note(&self, text: &str);
    /// A stretch of work of `total` units begins and replaces an earlier one.
    fn begin(&self, label: &str, unit: &str, total: u64);
    /// So many units of it are done.
    fn advance(&self, done: u64);
    /// It has ended.
    fn end(&self);
}

thread_local! {
    /// What was asked for on this thread, without the program's name.
    static WORDS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Remembers what was asked for, the program's name first.
pub(crate) fn said(words: &[OsString]) {
    let rest = words.iter().skip(1);
    let rest = rest.map(|word| word.to_string_lossy().into_owned());
    WORDS.set(rest.collect());
}

/// What was asked for on this thread, without the program's name.
pub(crate) fn words() -> Vec<String> {
    WORDS.with_borrow(Clone::clone)
}

/// Runs a command and gives what `--json` prints. `words` are those of the command line without the program's name.
/// Nothing is printed. A command that finds something and fails all the same (`verify`) says why under `error`. It runs on the calling thread until it is done, or until `stop` was asked for and what is finished
/// is saved.
///
/// # Errors
/// As one sentence, whatever the command would end with.
pub fn call(
    words: impl IntoIterator<Item = OsString>,
    listener: Option<Arc<dyn Listener>>,
    stop: &Stop,
) -> Result<Value, Failure> {
    hear_panics();
    let name: OsString = OsStr::new("bertology").into();
    let words: Vec<OsString> = std::iter::once(name).chain(words).collect();
    said(&words);
    let cli = Cli::try_parse_from(args::normalise(words));
    let cli = cli.map_err(|error| Failure::command_line(&error))?;
    let display = Display {
        json: true,
        quiet: listener.is_none(),
        color: When::Never,
    };
    let screen = Screen::heard(display, listener);
    let done = stop.during(|| commands::run(cli.command, Start::Corpus, &screen));
    screen.stop();
    let mut done = done?;
    if let Some(failure) = done.failure {
        done.document["error"] = failure.document();
    }
    Ok(done.document)
}
