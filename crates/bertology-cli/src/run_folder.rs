//! A run is a folder: arrays, tables, `run.json`, and `state.json` while it is not finished.
//!
//! Every file appears whole or not at all. `run.json` is written last: where it is, the run is
//! complete.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bertology::extract;
use bertology_report::Run;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::failure::{Failure, sentence};
use crate::show::eprintln;

/// The file that says that a run is complete, and everything about it.
pub(crate) const RUN: &str = "run.json";
/// The page that shows a complete run; made from the other files.
pub(crate) const REPORT: &str = "report.html";
/// The saved state of a run that is not finished.
pub(crate) const STATE: &str = "state.json";
/// The predictions of a run that is not finished.
pub(crate) const STATE_PREDICTIONS: &str = "state-predictions.csv";
/// Start of the names of files that are being written; the library's writer of checkpoints uses the
/// same.
pub(crate) const TEMPORARY: &str = ".bertology-";
/// Everything that a run may have left besides shards; `--overwrite` removes these, shards, and
/// nothing else.
pub(crate) const OWN_FILES: &[&str] = &[
    RUN,
    REPORT,
    STATE,
    "attention_gradients.csv",
    "attention_patterns.csv",
    "attn_entropy.npy",
    "attn_entropy_first.npy",
    "attn_entropy_last.npy",
    "behaviours.csv",
    "head_ablation.npy",
    "head_ablation_loss.npy",
    "ablation.csv",
    "clusters.csv",
    "head_distances.npy",
    "head_importance.npy",
    "head_importance_raw.npy",
    "head_mask.npy",
    "head_ranks.npy",
    "masks.npy",
    "heads.csv",
    "curve.csv",
    "predictions.csv",
    "probes.csv",
    "probe_weights.npy",
    "syntax.csv",
    "syntax_heads.npy",
    "relations.json",
    "coref.csv",
    "coref_baselines.csv",
    STATE_PREDICTIONS,
    "part.json",
    "chunks.jsonl",
];
/// The folder of the checkpoint that `prune` writes.
pub(crate) const MODEL: &str = "model";
/// The folder of the word maps that `attention-probe` keeps while it runs.
pub(crate) const MAPS: &str = "maps";
/// Start of the names of the files in it.
const MAPS_PREFIX: &str = "maps-";

/// What a saved state must agree with to be continued.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The command.
    pub(crate) command: String,
    /// The version that wrote it: sums of another version may mean something else.
    pub(crate) version: String,
    /// Every option that changes results.
    pub(crate) options: Value,
    /// SHA-256 of the model's content.
    pub(crate) model_sha256: String,
    /// SHA-256 of the tokenizer's files.
    pub(crate) tokenizer_sha256: Option<String>,
    /// SHA-256 of the data file.
    pub(crate) data_sha256: Option<String>,
}

/// `state.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    identity: Identity,
    state: Value,
}

/// What `--resume` found.
#[derive(Debug)]
pub(crate) enum Earlier {
    /// Nothing: the run starts from the beginning.
    Nothing,
    /// A state to continue from.
    Interrupted(Value),
    /// A complete run with the same options.
    Complete(Value),
}

/// The folder of one run.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Verifies that the folder may be used, without changing anything.
    pub(crate) fn check(path: &Path, overwrite: bool, resume: bool) -> Result<(), Failure> {
        if path.exists() && !path.is_dir() {
            return Err(Failure::input(format!(
                "--output {}: this is a file; give a folder",
                path.display()
            )));
        }
        let occupied = match fs::read_dir(path) {
            Ok(mut entries) => {
                entries.any(|entry| entry.map_or(true, |entry| !is_temporary(&entry.file_name())))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(Failure::io("read the folder", path, &error)),
        };
        if !occupied || overwrite {
            return Ok(());
        }
        if resume {
            if [RUN, "part.json", STATE]
                .iter()
                .any(|name| path.join(name).exists())
            {
                return Ok(());
            }
            return Err(Failure::input(format!(
                "--output {}: the folder is not empty, and there is no state.json of an \
                 interrupted run to resume; choose another folder",
                path.display()
            )));
        }
        let hint = if path.join(STATE).exists() {
            "it holds an interrupted run: continue it with --resume, start again with --overwrite"
        } else {
            "choose another folder, or replace its results with --overwrite"
        };
        Err(Failure::input(format!(
            "--output {}: the folder is not empty; {hint}",
            path.display()
        )))
    }

    /// Makes the folder ready. With `overwrite` the files of an earlier run disappear.
    pub(crate) fn open(path: &Path, overwrite: bool) -> Result<Self, Failure> {
        fs::create_dir_all(path).map_err(|error| Failure::io("create the folder", path, &error))?;
        let folder = Self { path: path.into() };
        folder.remove_leftovers()?;
        if overwrite {
            for name in OWN_FILES {
                folder.remove(name)?;
            }
            extract::remove(path)
                .map_err(|error| Failure::io("remove the shards in", path, &error))?;
            folder.remove_maps()?;
        }
        Ok(folder)
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What an earlier run with this identity has left.
    pub(crate) fn earlier(&self, identity: &Identity) -> Result<Earlier, Failure> {
        let complete = [RUN, "part.json"].map(|name| self.path.join(name));
        if let Some(run) = complete.into_iter().find(|path| path.exists()) {
            let document = read_json(&run)?;
            let found: Identity = document
                .get("identity")
                .cloned()
                .and_then(|value| serde_json::from_value(value).ok())
                .ok_or_else(|| {
                    Failure::input(format!("{}: not a run of this program", run.display()))
                })?;
            agree(&run, &found, identity)?;
            return Ok(Earlier::Complete(document));
        }
        let path = self.path.join(STATE);
        if !path.exists() {
            return Ok(Earlier::Nothing);
        }
        let saved: Saved = serde_json::from_value(read_json(&path)?).map_err(|error| {
            Failure::input(format!(
                "{}: not the state of a run ({error}); start again with --overwrite",
                path.display()
            ))
        })?;
        agree(&path, &saved.identity, identity)?;
        Ok(Earlier::Interrupted(saved.state))
    }

    /// Whether there is a saved state of an unfinished run.
    pub(crate) fn has_state(&self) -> bool {
        self.path.join(STATE).exists()
    }

    /// The run, or its part, is finished.
    pub(crate) fn remove_state(&self) -> Result<(), Failure> {
        self.remove(STATE)
    }

    /// Saves the state of an unfinished run.
    pub(crate) fn save_state(&self, identity: &Identity, state: Value) -> Result<(), Failure> {
        let saved = Saved {
            identity: identity.clone(),
            state,
        };
        let text = serde_json::to_vec(&saved)
            .map_err(|error| Failure::work(format!("cannot save the state: {error}")))?;
        self.write(STATE, &text)
    }

    /// Writes a file, whole or not at all.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        let mut stream = self.stream(name)?;
        stream.put(bytes)?;
        stream.finish()
    }

    /// Begins a file that grows while the run goes on and appears when it is finished.
    pub(crate) fn stream(&self, name: &str) -> Result<Stream, Failure> {
        let path = self.path.join(name);
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMPORARY);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As an ordinary new file: the umask decides who may read it.
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let file = builder
            .tempfile_in(&self.path)
            .map_err(|error| Failure::io("create a file in", &self.path, &error))?;
        Ok(Stream {
            file: io::BufWriter::new(file),
            path,
        })
    }

    /// Writes a JSON file for people and machines.
    pub(crate) fn write_json(&self, name: &str, value: &Value) -> Result<(), Failure> {
        let mut text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::work(format!("cannot write {name}: {error}")))?;
        text.push('\n');
        self.write(name, text.as_bytes())
    }

    /// Marks the run as complete: `run.json` appears, the saved state goes. The page is made from what is
    /// there then; that it cannot be made does not undo the run.
    pub(crate) fn complete(&self, run: &Value) -> Result<(), Failure> {
        self.write_json(RUN, run)?;
        self.remove(STATE)?;
        self.remove(STATE_PREDICTIONS)?;
        if let Err(why) = self.report() {
            eprintln(&format!(
                "note: no {REPORT}: {why}; `bertology report {}` makes it",
                self.path.display()
            ));
        }
        Ok(())
    }

    fn report(&self) -> Result<(), Failure> {
        let failed = |error: &dyn std::error::Error| Failure::work(sentence(error));
        let run = Run::open(&self.path).map_err(|error| failed(&error))?;
        let document = bertology_report::report(&run).map_err(|error| failed(&error))?;
        let html = document.render().map_err(|error| failed(&error))?;
        self.write(REPORT, html.as_bytes())
    }

    fn remove(&self, name: &str) -> Result<(), Failure> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Failure::io("remove", &path, &error))
            }
            _ => Ok(()),
        }
    }

    fn remove_maps(&self) -> Result<(), Failure> {
        let folder = self.path.join(MAPS);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(|error| Failure::io("read the folder", &folder, &error))?,
        };
        for entry in entries {
            let name = entry
                .map_err(|error| Failure::io("read the folder", &folder, &error))?
                .file_name();
            let ours = name
                .to_str()
                .is_some_and(|name| name.starts_with(MAPS_PREFIX));
            if ours || is_temporary(&name) {
                let path = folder.join(name);
                fs::remove_file(&path).map_err(|error| Failure::io("remove", &path, &error))?;
            }
        }
        // Not empty: something that is not of this program, which stays.
        let _ = fs::remove_dir(&folder);
        Ok(())
    }

    /// Files that a killed process was writing.
    fn remove_leftovers(&self) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::io("read the folder", &self.path, &error);
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if is_temporary(&entry.file_name()) {
                let path = entry.path();
                let removed = if path.is_dir() {
                    fs::remove_dir_all(&path)
                } else {
                    fs::remove_file(&path)
                };
                removed.map_err(|error| Failure::io("remove", &path, &error))?;
            }
        }
        Ok(())
    }
}

/// A file that appears when it is finished; dropped before, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Stream {
    file: io::BufWriter<NamedTempFile>,
    path: PathBuf,
}

impl Stream {
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file
            .write_all(bytes)
            .map_err(|error| Failure::io("write", &self.path, &error))
    }

    pub(crate) fn finish(self) -> Result<(), Failure> {
        let Self { file, path } = self;
        let failed = |error: io::Error| Failure::io("write", &path, &error);
        let file = file
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&path)
            .map(drop::<File>)
            .map_err(|error| failed(error.error))
    }
}

fn is_temporary(name: &OsStr) -> bool {
    name.to_str()
        .is_some_and(|name| name.starts_with(TEMPORARY))
}

pub(crate) fn read_json(path: &Path) -> Result<Value, Failure> {
    let bytes = fs::read(path).map_err(|error| Failure::io("read", path, &error))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::input(format!("{} is not valid JSON: {error}", path.display())))
}

/// The first difference between two runs that should be the same.
pub(crate) fn agree(path: &Path, found: &Identity, wanted: &Identity) -> Result<(), Failure> {
    let differs = |what: &str, was: &str, is: &str| {
        Err(Failure::input(format!(
            "{}: this run cannot be resumed: {what} was {was}, now it is {is}; give the same again, \
             or start anew with --overwrite",
            path.display()
        )))
    };
    if found.command != wanted.command {
        return differs("the command", &found.command, &wanted.command);
    }
    if found.version != wanted.version {
        return differs("the version of bertology", &found.version, &wanted.version);
    }
    if found.model_sha256 != wanted.model_sha256 {
        return differs(
            "the SHA-256 of the model",
            &found.model_sha256,
            &wanted.model_sha256,
        );
    }
    for (what, was, is) in [
        (
            "the SHA-256 of the tokenizer",
            &found.tokenizer_sha256,
            &wanted.tokenizer_sha256,
        ),
        (
            "the SHA-256 of the data",
            &found.data_sha256,
            &wanted.data_sha256,
        ),
    ] {
        if was != is {
            let show = |hash: &Option<String>| hash.clone().unwrap_or_else(|| "none".into());
            return differs(what, &show(was), &show(is));
        }
    }
    if found.options != wanted.options {
        let keys = found
            .options
            .as_object()
            .into_iter()
            .chain(wanted.options.as_object())
            .flat_map(|map| map.keys());
        for key in keys {
            let (was, is) = (found.options.get(key), wanted.options.get(key));
            if was != is {
                let show = |value: Option<&Value>| {
                    value.map_or_else(|| "not given".into(), Value::to_string)
                };
                let name = format!("--{}", key.replace('_', "-"));
                return differs(&name, &show(was), &show(is));
            }
        }
    }
    Ok(())
}

impl Identity {
    /// Puts the content in the place of the name of a file.
    pub(crate) fn set(&mut self, option: &str, value: Value) {
        if let Value::Object(options) = &mut self.options {
            options.insert(option.into(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_that_cannot_be_made_does_not_undo_the_run() {
        let base = tempfile::tempdir().unwrap();
        let folder = RunFolder::open(base.path(), false).unwrap();
        let record = json!({
            "format": 1,
            "command": "importance",
            "model": { "name": "m", "num_layers": 1, "num_heads": 2 },
            "identity": { "model_sha256": "aa" },
        });
        folder.write("head_importance.npy", b"damaged").unwrap();
        folder.complete(&record).unwrap();
        assert!(base.path().join(RUN).exists() && !base.path().join(REPORT).exists());

        fs::remove_file(base.path().join("head_importance.npy")).unwrap();
        folder.complete(&record).unwrap();
        assert!(base.path().join(REPORT).exists());
        // And with `--overwrite` it goes.
        RunFolder::open(base.path(), true).unwrap();
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }
}
