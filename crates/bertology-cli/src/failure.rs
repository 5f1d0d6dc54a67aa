//! How a command ends when it does not succeed.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

/// Why a command stopped, as one sentence, and the exit code that goes with it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line or the input is wrong: exit code 2.
    Input(String),
    /// The work failed: exit code 1.
    Work(String),
    /// Interrupted by the user: exit code 130.
    Interrupted(String),
    /// Nobody reads the output any more (`bertology inspect … | head`): no message, exit code 0.
    BrokenPipe,
}

impl Failure {
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::Input(message.into())
    }

    pub(crate) fn work(message: impl Into<String>) -> Self {
        Self::Work(message.into())
    }

    /// A file operation that failed, as in "cannot write out/run.json: no space left on device".
    pub(crate) fn io(action: &str, path: &Path, source: &io::Error) -> Self {
        Self::Work(format!("cannot {action} {}: {source}", path.display()))
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Input(_) => 2,
            Self::Work(_) => 1,
            Self::Interrupted(_) => 130,
            Self::BrokenPipe => 0,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(message) | Self::Work(message) | Self::Interrupted(message) => {
                f.write_str(message)
            }
            Self::BrokenPipe => f.write_str("nobody reads the output"),
        }
    }
}

/// An error and those of its causes that say something new.
pub(crate) fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
