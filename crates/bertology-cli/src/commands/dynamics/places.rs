//! Where the checkpoints of a training are, and in which order.

use std::fs;
use std::path::Path;

use bertology::dynamics::{Moment, MomentError, in_order, step_of};

use crate::failure::{Failure, sentence};
use crate::show::Screen;

/// The file that makes a folder a checkpoint.
const CONFIG: &str = "config.json";
/// Where `bertology finetune` puts checkpoints.
const INSIDE: &str = "checkpoints";

/// A checkpoint: the step, if it was said, what it is called, and where it is.
type Named = (Option<u64>, String, String);

/// The checkpoints that were named, by ascending step; with each a folder or hub id.
pub(super) fn find(given: &[String], screen: &Screen) -> Result<Vec<(Moment, String)>, Failure> {
    let mut all: Vec<Named> = Vec::new();
    for word in given {
        let (step, place) = split(word);
        if !Path::new(place).is_dir() {
            all.push((step, called(place), place.to_owned()));
        } else if is_checkpoint(Path::new(place)) {
            let inside = below(Path::new(place))?;
            // A training that is over leaves its model beside its checkpoints.
            if given.len() == 1 && step.is_none() && inside.len() > 1 {
                screen.note(&format!(
                    "{place} is a model itself, whose step is not known, and left out: its checkpoints are read"
                ));
                all.extend(inside);
            } else {
                all.push((step, called(place), place.to_owned()));
            }
        } else {
            all.extend(of_folder(step, place)?);
        }
    }
    let found = in_order(all).map_err(|error| refused(&error, given))?;
    match &found[..] {
        [(moment, _)] => Err(Failure::input(format!(
            "{}: one checkpoint is no training; `bertology mask --schedule` makes the curves of a single model{}",
            moment.name,
            hint(&given[0])
        ))),
        _ => Ok(found),
    }
}

fn refused(error: &MomentError, given: &[String]) -> Failure {
    let why = sentence(error);
    let hints = given.iter().map(|word| hint(word));
    let hint = hints.reduce(|one, other| if one.is_empty() { other } else { one });
    Failure::input(match error {
        MomentError::SameStep { .. } => format!(
            "{why}; name the checkpoints one by one and leave one out, or say the step, as in 2000k=FOLDER"
        ),
        _ => format!(
            "{why}; say it, as in 2000k=FOLDER, or name the checkpoints one by one and leave this one out{}",
            hint.unwrap_or_default()
        ),
    })
}

/// `2000k=FOLDER` in its two parts. A folder whose name looks so is a folder.
fn split(word: &str) -> (Option<u64>, &str) {
    let parts = word.split_once('=');
    match parts.filter(|_| !Path::new(word).exists()) {
        Some((step, place)) if step.starts_with(|c: char| c.is_ascii_digit()) => {
            (step_of(step), place)
        }
        _ => (None, word),
    }
}

/// The last name of a folder or hub id.
fn called(place: &str) -> String {
    let path = Path::new(place);
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let full = || {
        let path = fs::canonicalize(path).ok()?;
        Some(path.file_name()?.to_string_lossy().into_owned())
    };
    name.or_else(full).unwrap_or_else(|| place.to_owned())
}

fn is_checkpoint(folder: &Path) -> bool {
    folder.join(CONFIG).is_file()
}

/// The checkpoints that are direct subfolders, by name.
fn below(folder: &Path) -> Result<Vec<Named>, Failure> {
    let failed = |error| Failure::io("read", folder, &error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if !is_checkpoint(&path) {
            continue;
        }
        let Some(place) = path.to_str() else {
            return Err(Failure::input(format!(
                "{}: the name of this checkpoint is not UTF-8; rename it",
                path.display()
            )));
        };
        found.push((None, called(place), place.to_owned()));
    }
    found.sort();
    Ok(found)
}

fn of_folder(step: Option<u64>, place: &str) -> Result<Vec<Named>, Failure> {
    if step.is_some() {
        return Err(Failure::input(format!(
            "{place}: this folder has no {CONFIG}, and a step is said of a checkpoint; leave the step out for a folder of \
             checkpoints"
        )));
    }
    let found = below(Path::new(place))?;
    if found.is_empty() {
        return Err(Failure::input(format!(
            "{place}: there is no checkpoint here: neither the folder nor one directly in it has a {CONFIG}{}",
            hint(place)
        )));
    }
    Ok(found)
}

/// Where checkpoints may be meant to be.
fn hint(place: &str) -> String {
    let inside = Path::new(place).join(INSIDE);
    match below(&inside) {
        Ok(found) if !found.is_empty() => format!("; did you mean {}?", inside.display()),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_may_stand_before_the_name() {
        assert_eq!(split("2000k=org/model"), (Some(2_000_000), "org/model"));
        assert_eq!(split("12=x=y"), (Some(12), "x=y"));
        assert_eq!(split("lr=3/step-5"), (None, "lr=3/step-5"));
        assert_eq!(split("org/model"), (None, "org/model"));
        assert_eq!(called("org/model-7k"), "model-7k");
        assert_eq!(called("a/b/checkpoint-5/"), "checkpoint-5");
    }
}
