//! One module per command.

pub(crate) mod ablate;
pub(crate) mod attention_probe;
pub(crate) mod cluster;
pub(crate) mod compare;
pub(crate) mod coref;
pub(crate) mod demo;
pub(crate) mod evaluate;
pub(crate) mod extract;
pub(crate) mod heads;
pub(crate) mod importance;
pub(crate) mod inspect;
pub(crate) mod mask;
pub(crate) mod patterns;
pub(crate) mod prune;
pub(crate) mod report;
pub(crate) mod syntax;
pub(crate) mod verify;
pub(crate) mod view;

use serde_json::Value;

use crate::failure::Failure;
use crate::run_folder::RunFolder;
use crate::show::Screen;

/// What a command found: the document of `--json`, and the failure that it ends with all the same.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) document: Value,
    pub(crate) failure: Option<Failure>,
}

impl From<Value> for Done {
    fn from(document: Value) -> Self {
        Self {
            document,
            failure: None,
        }
    }
}

fn say_folder(folder: Option<&RunFolder>, screen: &Screen) -> Result<(), Failure> {
    match folder {
        Some(folder) => screen.say(&format!("Results are in {}", folder.path().display())),
        None => Ok(()),
    }
}
