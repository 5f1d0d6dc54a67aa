//! A bar on a terminal, a plain line every few seconds elsewhere.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How far one stretch of work is.
#[derive(Debug)]
pub(crate) enum Progress {
    Bar(ProgressBar),
    Lines {
        label: String,
        unit: &'static str,
        total: u64,
        last: Instant,
    },
}

impl Progress {
    pub(crate) fn new(label: &str, unit: &'static str, total: u64) -> Self {
        if !io::stderr().is_terminal() {
            return Self::Lines {
                label: label.into(),
                unit,
                total,
                last: Instant::now(),
            };
        }
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(8));
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(super::escape::name(label).into_owned());
        Self::Bar(bar)
    }

    pub(crate) fn set(&mut self, done: u64) {
        match self {
            Self::Bar(bar) => bar.set_position(done),
            Self::Lines {
                label,
                unit,
                total,
                last,
            } => {
                if last.elapsed() < LINE_EVERY {
                    return;
                }
                *last = Instant::now();
                super::eprintln(&format!("{label}: {done} of {total} {unit}"));
            }
        }
    }

    /// Prints without the bar in the way.
    pub(crate) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        match self {
            Self::Bar(bar) => bar.suspend(print),
            Self::Lines { .. } => print(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// A bar for the transfer of a file, on a terminal.
pub(crate) fn download_bar(file: &str, bytes: u64) -> Option<ProgressBar> {
    if !io::stderr().is_terminal() {
        return None;
    }
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr_with_hz(8));
    let template = "{msg} {wide_bar} {bytes}/{total_bytes} {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(super::escape::name(file).into_owned());
    Some(bar)
}
