//! The run folder as commands use it: the remedies that name options, and the page of a complete run.

use std::path::Path;

use bertology_run::{FolderError, Run, Subject};
use serde_json::Value;

pub(crate) use bertology_run::registry::{
    CHUNKS, MAPS, MODEL, PART, PREDICTIONS, REPORT, RUN, STATE, STATE_PREDICTIONS, TEMPORARY,
};
pub(crate) use bertology_run::{Earlier, Identity, RunFolder};

use crate::failure::{Failure, sentence};
use crate::show::eprintln;

/// A difference between runs as the command line names it.
pub(crate) fn subject(subject: &Subject) -> String {
    match subject {
        Subject::Option(key) => format!("--{}", key.replace('_', "-")),
        other => other.to_string(),
    }
}

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Self {
        let said = sentence(&error);
        match &error {
            FolderError::NotAFolder { path } => Self::Input(format!(
                "--output {}: this is a file; give a folder",
                path.display()
            )),
            FolderError::NotEmpty { interrupted, .. } => Self::Input(format!(
                "--output {said}; {}",
                if *interrupted {
                    "it holds an interrupted run: continue it with --resume, start again with \
                     --overwrite"
                } else {
                    "choose another folder, or replace its results with --overwrite"
                }
            )),
            FolderError::NothingToResume { .. } => {
                Self::Input(format!("--output {said}; choose another folder"))
            }
            FolderError::State { .. } | FolderError::Damaged { .. } => {
                Self::Input(format!("{said}; start again with --overwrite"))
            }
            FolderError::InUse { .. } => Self::Work(format!(
                "--output {said}; wait for its end, or choose another folder"
            )),
            FolderError::Differs {
                path,
                subject,
                was,
                is,
            } => {
                let what = self::subject(subject);
                Self::Input(format!(
                    "{}: this run cannot be resumed: {what} was {was}, now it is {is}; give the same \
                     again, or start anew with --overwrite",
                    path.display()
                ))
            }
            _ => Self::found(error.kind(), &error, None),
        }
    }
}

/// Makes the folder ready, which is this process's from then on.
pub(crate) fn open(path: &Path, overwrite: bool, resume: bool) -> Result<RunFolder, Failure> {
    RunFolder::open_for(path, overwrite, resume)
        .map_err(Failure::from)
        .map(noted)
}

/// The same of a folder that may hold other things: those of a survey lie in folders of their own.
pub(crate) fn shared(path: &Path) -> Result<RunFolder, Failure> {
    RunFolder::open(path).map_err(Failure::from).map(noted)
}

fn noted(folder: RunFolder) -> RunFolder {
    if let Some(why) = folder.unlocked() {
        eprintln(&format!(
            "note: {} cannot be locked ({why}); see that no other run writes into it",
            folder.path().display()
        ));
    }
    folder
}

/// Marks the run as complete. The page is made from what is in the folder then; that it cannot be made does
/// not undo the run.
pub(crate) fn complete(folder: Option<&RunFolder>, run: Value) -> Result<Value, Failure> {
    let Some(folder) = folder else {
        return Ok(run);
    };
    let run = folder.complete(run)?;
    show(folder);
    Ok(run)
}

/// Does what is left to do where a run was killed when it was complete: its state goes, and the page is made.
pub(crate) fn tidy(folder: &RunFolder) -> Result<(), Failure> {
    folder.remove_state()?;
    let there = |name: &str| folder.path().join(name).exists();
    if there(RUN) && !there(REPORT) {
        show(folder);
    }
    Ok(())
}

fn show(folder: &RunFolder) {
    if let Err(why) = report(folder) {
        eprintln(&format!(
            "note: no {REPORT}: {why}; `bertology report {}` makes it",
            folder.path().display()
        ));
    }
}

fn report(folder: &RunFolder) -> Result<(), Failure> {
    let failed = |error: &dyn std::error::Error| Failure::work(sentence(error));
    let run = Run::open(folder.path()).map_err(|error| failed(&error))?;
    let document = bertology_report::report(&run).map_err(|error| failed(&error))?;
    let html = document.render().map_err(|error| failed(&error))?;
    Ok(folder.write(REPORT, html.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use bertology_run::registry::RUN;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_that_cannot_be_made_does_not_undo_the_run() {
        let base = tempfile::tempdir().unwrap();
        let folder = open(base.path(), false, false).unwrap();
        let record = json!({
            "format": 1,
            "command": "importance",
            "model": { "name": "m", "num_layers": 1, "num_heads": 2 },
            "identity": { "model_sha256": "aa" },
        });
        folder.write("head_importance.npy", b"damaged").unwrap();
        complete(Some(&folder), record.clone()).unwrap();
        assert!(base.path().join(RUN).exists() && !base.path().join(REPORT).exists());

        fs::remove_file(base.path().join("head_importance.npy")).unwrap();
        complete(Some(&folder), record).unwrap();
        assert!(base.path().join(REPORT).exists());
        // And with `--overwrite` it goes.
        folder.clear(None).unwrap();
        drop(folder);
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }
}
