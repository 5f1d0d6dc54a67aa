//! What the user sees: text or JSON on stdout, notes and progress on stderr.

pub(crate) mod coref;
pub(crate) mod escape;
pub(crate) mod heat;
pub(crate) mod passages;
pub(crate) mod patterns;
pub(crate) mod plane;
mod progress;
pub(crate) mod removals;
pub(crate) mod syntax;
pub(crate) mod text;

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};

use serde_json::Value;

use crate::args::{Display, When};
use crate::failure::Failure;
use escape::Keep;
pub(crate) use progress::{Progress, download_bar};

/// The terminal, as the options want it used.
#[derive(Debug)]
pub(crate) struct Screen {
    json: bool,
    quiet: bool,
    color: bool,
    progress: RefCell<Option<Progress>>,
}

impl Screen {
    pub(crate) fn new(display: Display) -> Self {
        let color = wants_color(
            display.color,
            std::env::var_os("NO_COLOR").as_deref(),
            std::env::var_os("TERM").as_deref(),
            io::stdout().is_terminal(),
        );
        Self {
            json: display.json,
            quiet: display.quiet,
            color: color && !display.json,
            progress: RefCell::new(None),
        }
    }

    /// Whether notes and progress are unwanted.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether colours may be used on stdout.
    pub(crate) fn color(&self) -> bool {
        self.color
    }

    /// Prints a line, or several, for people.
    pub(crate) fn say(&self, text: &str) -> Result<(), Failure> {
        if self.json || self.quiet {
            return Ok(());
        }
        let keep = if self.color {
            Keep::Colors
        } else {
            Keep::Lines
        };
        self.without_progress(|| print(&escape::visible(text, keep)))
    }

    /// Prints the result for machines, if that is what was asked for.
    pub(crate) fn document(&self, value: &Value) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::work(format!("cannot write the result as JSON: {error}")))?;
        self.without_progress(|| print(&escape::json(&text)))
    }

    /// Says on stderr what the user should know but need not act upon.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.without_progress(|| eprintln(&format!("note: {text}")));
        }
    }

    /// Shows how far the work is; replaces an earlier display.
    pub(crate) fn start(&self, label: &str, unit: &'static str, total: u64) {
        let progress = (!self.quiet).then(|| Progress::new(label, unit, total));
        self.progress.replace(progress);
    }

    /// So many units are done.
    pub(crate) fn advance_to(&self, done: u64) {
        if let Some(progress) = &mut *self.progress.borrow_mut() {
            progress.set(done);
        }
    }

    /// Takes the display of progress away.
    pub(crate) fn stop(&self) {
        self.progress.replace(None);
    }

    fn without_progress<T>(&self, print: impl FnOnce() -> T) -> T {
        match &*self.progress.borrow() {
            Some(progress) => progress.suspend(print),
            None => print(),
        }
    }
}

/// `NO_COLOR` counts with any value but the empty one (<https://no-color.org>).
fn wants_color(when: When, no_color: Option<&OsStr>, term: Option<&OsStr>, terminal: bool) -> bool {
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto => {
            terminal
                && no_color.is_none_or(OsStr::is_empty)
                && term.is_none_or(|term| term != "dumb")
        }
    }
}

/// Writes text that [`escape`] went through.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::BrokenPipe,
            _ => Failure::work(format!("cannot write to the standard output: {error}")),
        })
}

/// As `eprintln!` of one line; that panics when stderr is closed.
pub(crate) fn eprintln(text: &str) {
    let text = escape::visible(text, Keep::Nothing);
    let _ = writeln!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_need_a_terminal_that_is_not_told_otherwise() {
        let color = |when, no_color: Option<&str>, term: Option<&str>, terminal| {
            wants_color(
                when,
                no_color.map(OsStr::new),
                term.map(OsStr::new),
                terminal,
            )
        };
        assert!(color(When::Auto, None, Some("xterm"), true));
        assert!(color(When::Auto, Some(""), None, true));
        assert!(!color(When::Auto, Some("0"), None, true));
        assert!(!color(When::Auto, None, Some("dumb"), true));
        assert!(!color(When::Auto, None, None, false));
        assert!(color(When::Always, Some("1"), None, false));
        assert!(!color(When::Never, None, None, true));
    }
}
