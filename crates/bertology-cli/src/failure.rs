//! How a command ends when it does not succeed.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

use bertology::Kind;
use serde_json::{Value, json};

/// Why a command stopped, as one sentence, and the exit code that goes with it.
#[derive(Debug)]
pub enum Failure {
    /// The command line or the input is wrong: exit code 2.
    Input(String),
    /// The work failed: exit code 1.
    Work(String),
    /// Interrupted by the user: exit code 130.
    Interrupted(String),
}

impl Failure {
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::Input(message.into())
    }

    pub(crate) fn work(message: impl Into<String>) -> Self {
        Self::Work(message.into())
    }

    /// A command line that is none.
    pub(crate) fn command_line(error: &clap::Error) -> Self {
        let typed = error.render().to_string();
        let message = typed.strip_prefix("error: ").unwrap_or(&typed);
        Self::input(message.trim_end())
    }

    /// A fault that the library found. Its kind decides how the command ends; the remedy names options, which the
    /// library does not know.
    pub(crate) fn found(kind: Kind, error: &dyn Error, remedy: Option<&str>) -> Self {
        let mut message = sentence(error);
        if let Some(remedy) = remedy {
            message.push_str("; ");
            message.push_str(remedy);
        }
        match kind {
            Kind::Input => Self::Input(message),
            Kind::Environment | Kind::Numeric | Kind::Internal => Self::Work(message),
            Kind::Interrupted => Self::Interrupted(message),
        }
    }

    /// A file operation that failed, as in "cannot write out/run.json: no space left on device".
    pub(crate) fn io(action: &str, path: &Path, source: &io::Error) -> Self {
        Self::Work(format!("cannot {action} {}: {source}", path.display()))
    }

    /// For machines: what `--json` prints under `error`.
    #[must_use]
    pub fn document(&self) -> Value {
        let kind = match self {
            Self::Input(_) => "input",
            Self::Work(_) => "work",
            Self::Interrupted(_) => "interrupted",
        };
        json!({
            "kind": kind,
            "message": self.to_string(),
            "exit_code": self.exit_code(),
        })
    }

    /// With which the command ends: 2, 1 or 130.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Input(_) => 2,
            Self::Work(_) => 1,
            Self::Interrupted(_) => 130,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(message) | Self::Work(message) | Self::Interrupted(message) => {
                f.write_str(message)
            }
        }
    }
}

/// An error and those of its causes that say something new.
pub fn sentence(error: &dyn Error) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_decides_the_exit_code() {
        let fault = io::Error::other("the disk is full");
        for (kind, code) in [
            (Kind::Input, 2),
            (Kind::Environment, 1),
            (Kind::Numeric, 1),
            (Kind::Interrupted, 130),
            (Kind::Internal, 1),
        ] {
            let failure = Failure::found(kind, &fault, Some("say --output DIR"));
            assert_eq!(failure.exit_code(), code, "{kind:?}");
            assert_eq!(failure.to_string(), "the disk is full; say --output DIR");
        }
    }
}
