//! What the user sees: text or JSON on stdout, notes and progress on stderr.

pub(crate) mod coref;
pub(crate) mod escape;
pub(crate) mod heat;
pub(crate) mod keep_one;
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
use std::sync::Arc;

use serde_json::Value;

use crate::args::{Display, When};
use crate::call::Listener;
use crate::failure::Failure;
use escape::Keep;
pub(crate) use progress::{Progress, download_bar};

/// The terminal, as the options want it used.
pub(crate) struct Screen {
    json: bool,
    quiet: bool,
    color: bool,
    progress: RefCell<Option<Progress>>,
    /// Who hears notes and progress in the place of the terminal.
    listener: Option<Arc<dyn Listener>>,
    /// What the standard output has last refused; nothing is written to it any more.
    refused: RefCell<Option<io::Error>>,
}

impl Screen {
    pub(crate) fn new(display: Display) -> Self {
        Self::heard(display, None)
    }

    /// With someone who hears notes and progress in the place of the terminal.
    pub(crate) fn heard(display: Display, listener: Option<Arc<dyn Listener>>) -> Self {
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
            listener,
            refused: RefCell::new(None),
        }
    }

    /// For what says the same once more of something else.
    pub(crate) fn silent() -> Self {
        Self::new(Display {
            json: false,
            quiet: true,
            color: When::Never,
        })
    }

    /// Whether notes and progress are unwanted.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Who hears notes and progress in the place of the terminal.
    pub(crate) fn listener(&self) -> Option<Arc<dyn Listener>> {
        self.listener.clone()
    }

    /// Whether colours may be used on stdout.
    pub(crate) fn color(&self) -> bool {
        self.color
    }

    /// Prints a line, or several, for people. Whatever becomes of them, the work goes on;
    /// [`Screen::failure`] tells.
    pub(crate) fn say(&self, text: &str) {
        let keep = if self.color {
            Keep::Colors
        } else {
            Keep::Lines
        };
        if !self.json && !self.quiet {
            self.print(&escape::visible(text, keep));
        }
    }

    /// Prints the result for machines, if that is what was asked for.
    pub(crate) fn document(&self, value: &Value) {
        if self.json {
            // Indented, as `Value` writes itself.
            self.print(&escape::json(&format!("{value:#}")));
        }
    }

    fn print(&self, text: &str) {
        if self.refused.borrow().is_none() {
            let printed = self.without_progress(|| print(text));
            self.refused.replace(printed.err());
        }
    }

    /// Whether the result is printed for machines.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// What the standard output has refused. That nobody reads it any more (`bertology mask … | head -3`) is no
    /// failure.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let refused = self.refused.borrow();
        let error = refused.as_ref()?;
        (error.kind() != io::ErrorKind::BrokenPipe)
            .then(|| Failure::work(format!("cannot write to the standard output: {error}")))
    }

    /// Says on stderr what the user should know but need not act upon.
    pub(crate) fn note(&self, text: &str) {
        match &self.listener {
            Some(listener) => listener.note(text),
            None if self.quiet => {}
            None => self.without_progress(|| eprintln(&format!("note: {text}"))),
        }
    }

    /// Shows how far the work is; replaces an earlier display.
    pub(crate) fn start(&self, label: &str, unit: &'static str, total: u64) {
        match &self.listener {
            Some(listener) => listener.begin(label, unit, total),
            None => {
                let progress = (!self.quiet).then(|| Progress::new(label, unit, total));
                self.progress.replace(progress);
            }
        }
    }

    /// So many units are done.
    pub(crate) fn advance_to(&self, done: u64) {
        if let Some(listener) = &self.listener {
            listener.advance(done);
        }
        if let Some(progress) = &mut *self.progress.borrow_mut() {
            progress.set(done);
        }
    }

    /// Takes the display of progress away.
    pub(crate) fn stop(&self) {
        if let Some(listener) = &self.listener {
            listener.end();
        }
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
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// As `println!`, which panics when stdout is closed.
pub(crate) fn println(text: &str) {
    let _ = print(text);
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
