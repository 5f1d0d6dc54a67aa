//! The writer of a run folder.
//!
//! Every file appears whole or not at all. `state.json` comes first and `run.json` last: where the one is, a run
//! can go on, and where the other is, it is complete. So whenever the process is killed, the folder can be resumed.

use std::borrow::Borrow;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};
use tempfile::NamedTempFile;

use crate::error::FolderError;
use crate::identity::Identity;
use crate::lock::{self, Holder, Lock};
use crate::registry::{
    Kind, LOCK, MODEL, PART, RUN, STATE, STATE_PREDICTIONS, TEMPORARY, files, is_half_shard,
    is_on_the_way, known, of_checkpoint,
};
use crate::state::{Saved, seal, sha256, unseal};
use crate::table::{Row, table};

/// What an earlier run has left in a folder.
#[derive(Debug)]
pub enum Earlier {
    /// Nothing: the run starts from the beginning.
    Nothing,
    /// A state to continue from.
    Interrupted(Value),
    /// A complete run with the same identity: its `run.json`.
    Complete(Value),
}

/// The folder of one run, and of one process as long as this lives.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    lock: Lock,
}

/// Whether a file belongs to runs by its name alone; one of a model may be anybody's.
fn removable(name: &str) -> bool {
    known(name).is_some_and(|file| !matches!(file.kind, Kind::Checkpoint))
}

impl RunFolder {
    /// Verifies that the folder may be used, without changing anything: it is empty or absent, it may be
    /// overwritten, or a run in it may go on.
    ///
    /// # Errors
    /// [`FolderError::NotAFolder`], [`FolderError::InUse`], [`FolderError::NotEmpty`],
    /// [`FolderError::NothingToResume`], or what the file system refuses.
    pub fn check(path: &Path, overwrite: bool, resume: bool) -> Result<(), FolderError> {
        Self::check_free(path)?;
        Self::check_content(path, overwrite, resume)
    }

    /// Verifies that no process writes into the folder.
    ///
    /// # Errors
    /// [`FolderError::InUse`] with who does.
    pub fn check_free(path: &Path) -> Result<(), FolderError> {
        match lock::holder(path) {
            None => Ok(()),
            Some(holder) => Err(FolderError::InUse {
                path: path.into(),
                holder,
            }),
        }
    }

    /// Who writes into the folder, as far as the process has said so; `None`: nobody.
    #[must_use]
    pub fn holder(path: &Path) -> Option<Option<Holder>> {
        lock::holder(path)
    }

    /// Verifies what [`RunFolder::check`] does of the content, whoever may be at work in the folder.
    ///
    /// # Errors
    /// As there, but for [`FolderError::InUse`].
    pub fn check_content(path: &Path, overwrite: bool, resume: bool) -> Result<(), FolderError> {
        if path.exists() && !path.is_dir() {
            return Err(FolderError::NotAFolder { path: path.into() });
        }
        let occupied = match fs::read_dir(path) {
            Ok(mut entries) => {
                // What a process that was killed leaves before its first state is no state.
                let passed = |name: &OsStr| {
                    let of_state = name == STATE_PREDICTIONS || is_half(name);
                    is_temporary(name) || (resume && of_state)
                };
                entries.any(|entry| entry.map_or(true, |entry| !passed(&entry.file_name())))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(FolderError::io("read the folder", path)(error)),
        };
        if !occupied || overwrite {
            return Ok(());
        }
        let interrupted = path.join(STATE).exists();
        if !resume {
            return Err(FolderError::NotEmpty {
                path: path.into(),
                interrupted,
            });
        }
        if [RUN, PART].iter().any(|name| path.join(name).exists()) || interrupted {
            Ok(())
        } else {
            Err(FolderError::NothingToResume { path: path.into() })
        }
    }

    /// Makes the folder ready: it exists, it is this process's, and nothing in it is left of a process that was
    /// killed.
    ///
    /// # Errors
    /// [`FolderError::InUse`]; what the file system refuses.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        fs::create_dir_all(path).map_err(FolderError::io("create the folder", path))?;
        let lock = Lock::take(path)?;
        let path = path.into();
        let folder = Self { path, lock };
        folder.remove_leftovers()?;
        Ok(folder)
    }

    /// As [`RunFolder::open`], with what [`RunFolder::check`] verifies, now that nobody else can change it.
    ///
    /// # Errors
    /// As those two.
    pub fn open_for(path: &Path, overwrite: bool, resume: bool) -> Result<Self, FolderError> {
        let folder = Self::open(path)?;
        Self::check_content(path, overwrite, resume)?;
        Ok(folder)
    }

    /// Why nobody is kept from writing into this folder too; nothing where the file system knows locks.
    #[must_use]
    pub fn unlocked(&self) -> Option<&io::Error> {
        self.lock.refused()
    }

    /// Says whose the folder is from now on, before anything else is in it, and removes what earlier runs have
    /// left, as [`RunFolder::clear`] does.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn begin(
        &self,
        identity: &Identity,
        state: Value,
        keep: Option<&Path>,
    ) -> Result<(), FolderError> {
        let left = |entry: &fs::DirEntry| !is_temporary(&entry.file_name());
        if entries(&self.path)?.iter().any(left) {
            // Half cleared, the folder is neither the earlier run nor this one.
            self.save(identity, state.clone(), true)?;
            self.clear_but_state(keep)?;
        }
        self.save(identity, state, false)
    }

    /// Removes what earlier runs have left: the files of the [registry](crate::registry), folders that are
    /// empty then, and nothing else. Of a checkpoint only the files that `run.json` names go, and none of the
    /// folder `keep`: that of the model which is being read.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn clear(&self, keep: Option<&Path>) -> Result<(), FolderError> {
        self.clear_but_state(keep)?;
        // Last, so that what is half cleared can still be resumed.
        self.remove(STATE)
    }

    fn clear_but_state(&self, keep: Option<&Path>) -> Result<(), FolderError> {
        let kept = keep.and_then(|keep| fs::canonicalize(keep).ok());
        let model = self.path.join(MODEL);
        if kept.is_none() || fs::canonicalize(&model).ok() != kept {
            for name in self.checkpoint_files() {
                self.remove(format!("{MODEL}/{name}"))?;
            }
            remove_if_empty(&model);
        }
        let own = if kept.is_none() || fs::canonicalize(&self.path).ok() != kept {
            self.recorded("/results/checkpoint/files")
        } else {
            Vec::new()
        };
        self.clear_on_the_way(kept.as_deref())?;
        for entry in entries(&self.path)? {
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                continue;
            };
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if name != MODEL {
                    clear_inside(&path, &name)?;
                }
            } else if name != STATE && (removable(&name) || own.contains(&name)) {
                fs::remove_file(&path).map_err(FolderError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Removes the models on a training's way that the record names.
    fn clear_on_the_way(&self, kept: Option<&Path>) -> Result<(), FolderError> {
        for name in self.recorded_as("/results/checkpoint/on_the_way", is_on_the_way) {
            let folder = self.path.join(name);
            if kept.is_some() && fs::canonicalize(&folder).ok().as_deref() == kept {
                continue;
            }
            for entry in entries(&folder)? {
                let path = entry.path();
                if entry.file_name().to_str().is_some_and(of_checkpoint) {
                    fs::remove_file(&path).map_err(FolderError::io("remove", &path))?;
                }
            }
            remove_if_empty(&folder);
            remove_if_empty(&self.path.join("checkpoints"));
        }
        Ok(())
    }

    /// The files of the checkpoint that the run in this folder has written, as its record names them.
    fn checkpoint_files(&self) -> Vec<String> {
        self.recorded("/results/checkpoint/report/files")
    }

    /// Names of files that the record has at this place.
    fn recorded(&self, place: &str) -> Vec<String> {
        // A name only: a damaged record must not lead elsewhere.
        let inside = |name: &str| Path::new(name).file_name() == Some(OsStr::new(name));
        self.recorded_as(place, inside)
    }

    /// Those of the names that may be.
    fn recorded_as(&self, place: &str, may_be: impl Fn(&str) -> bool) -> Vec<String> {
        let record = read_json(&self.path.join(RUN)).unwrap_or_default();
        let files = record.pointer(place);
        let files = files.and_then(Value::as_array).into_iter().flatten();
        let names = files.filter_map(Value::as_str);
        names
            .filter(|name| may_be(name))
            .map(str::to_owned)
            .collect()
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What an earlier run with this identity has left.
    ///
    /// # Errors
    /// A run of another identity ([`FolderError::Differs`]), and files that cannot be read.
    pub fn earlier(&self, identity: &Identity) -> Result<Earlier, FolderError> {
        let complete = [RUN, PART].map(|name| self.path.join(name));
        let saved = Self::saved(&self.path);
        if matches!(&saved, Ok(Some(saved)) if saved.clearing) {
            return Ok(Earlier::Nothing);
        }
        if let Some(run) = complete.into_iter().find(|path| path.exists()) {
            let document = read_json(&run)?;
            let found = document.get("identity").cloned();
            let found: Option<Identity> = found.and_then(|v| serde_json::from_value(v).ok());
            let Some(found) = found else {
                return Err(FolderError::NotARun { path: run });
            };
            agree(run, &found, identity)?;
            return Ok(Earlier::Complete(document));
        }
        let Some(saved) = saved? else {
            return Ok(Earlier::Nothing);
        };
        agree(self.path.join(STATE), &saved.identity, identity)?;
        Ok(Earlier::Interrupted(saved.state))
    }

    /// The state of the unfinished run in a folder; nothing if there is none.
    ///
    /// # Errors
    /// [`FolderError::Damaged`], [`FolderError::State`]; what the file system refuses.
    pub fn saved(folder: &Path) -> Result<Option<Saved>, FolderError> {
        let path = folder.join(STATE);
        match fs::read(&path) {
            Ok(bytes) => unseal(&path, &bytes).map(Some),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(FolderError::io("read", path)(error)),
        }
    }

    /// The state is of no use any more: the run, or its part, is complete.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn remove_state(&self) -> Result<(), FolderError> {
        for entry in entries(&self.path)? {
            let name = entry.file_name();
            if name == STATE_PREDICTIONS || is_half(&name) {
                self.remove(name)?;
            }
        }
        self.remove(STATE)
    }

    /// Saves the state of an unfinished run.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn save_state(&self, identity: &Identity, state: Value) -> Result<(), FolderError> {
        self.save(identity, state, false)
    }

    fn save(&self, identity: &Identity, state: Value, clearing: bool) -> Result<(), FolderError> {
        let saved = Saved {
            clearing,
            identity: identity.clone(),
            state,
        };
        self.write(STATE, &seal(&saved)?)
    }

    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
        let mut stream = self.stream(name)?;
        stream.put(bytes)?;
        stream.finish()
    }

    /// Begins a file that grows while the run goes on and appears when it is finished.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn stream(&self, name: &str) -> Result<Stream, FolderError> {
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
            .map_err(FolderError::io("create a file in", &self.path))?;
        Ok(Stream {
            file: io::BufWriter::new(file),
            path,
        })
    }

    /// Writes a JSON file for people and machines.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), FolderError> {
        let mut text =
            serde_json::to_string_pretty(value).map_err(|source| FolderError::Document {
                name: name.into(),
                source,
            })?;
        text.push('\n');
        self.write(name, text.as_bytes())
    }

    /// Writes a table: its line of names, `more` being those that only the run knows, and its rows.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn write_table<R: Row, B: Borrow<R>>(
        &self,
        more: &[String],
        rows: impl IntoIterator<Item = B>,
    ) -> Result<(), FolderError> {
        self.write(R::FILE, table::<R, B>(more, rows).as_bytes())
    }

    /// Marks the run as complete: `run.json` appears, with the checksums of what is read back from the folder
    /// under `files`, and the saved state goes. Gives what is in it.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn complete(&self, mut run: Value) -> Result<Value, FolderError> {
        if let Value::Object(run) = &mut run {
            run.insert("files".into(), Value::Object(self.checksums()?));
        }
        self.write_json(RUN, &run)?;
        self.remove_state()?;
        Ok(run)
    }

    /// SHA-256 of the arrays, the tables and the JSON files, by name.
    fn checksums(&self) -> Result<Map<String, Value>, FolderError> {
        let mut sums = Map::new();
        for file in files() {
            let read = matches!(
                file.kind,
                Kind::Array { .. } | Kind::Table { .. } | Kind::Json
            );
            if read && ![RUN, PART].contains(&file.written) {
                let path = self.path.join(file.written);
                match fs::read(&path) {
                    Ok(bytes) => {
                        sums.insert(file.written.into(), sha256(&bytes).into());
                    }
                    Err(error) if is_absent(&error) => {}
                    Err(error) => return Err(FolderError::io("read", path)(error)),
                }
            }
        }
        Ok(sums)
    }

    fn remove(&self, name: impl AsRef<Path>) -> Result<(), FolderError> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(FolderError::io("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Files that a killed process was writing.
    fn remove_leftovers(&self) -> Result<(), FolderError> {
        for entry in entries(&self.path)? {
            if is_temporary(&entry.file_name()) && entry.file_name() != LOCK {
                let path = entry.path();
                let removed = if path.is_dir() {
                    fs::remove_dir_all(&path)
                } else {
                    fs::remove_file(&path)
                };
                removed.map_err(FolderError::io("remove", &path))?;
            }
        }
        Ok(())
    }
}

/// Removes the files of the registry in a folder of the run folder.
fn clear_inside(folder: &Path, name: &str) -> Result<(), FolderError> {
    let mut ours = false;
    for entry in entries(folder)? {
        let file = entry.file_name();
        let registered = file
            .to_str()
            .and_then(|file| known(&format!("{name}/{file}")))
            .is_some();
        // Temporary files are ours where a command writes into the folder itself.
        if registered || (name == crate::registry::MAPS && is_temporary(&file)) {
            let path = entry.path();
            fs::remove_file(&path).map_err(FolderError::io("remove", &path))?;
            ours = true;
        }
    }
    if ours || crate::registry::is_folder(name) {
        remove_if_empty(folder);
    }
    Ok(())
}

/// A folder with something of somebody else stays.
fn remove_if_empty(folder: &Path) {
    let _ = fs::remove_dir(folder);
}

fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>, FolderError> {
    let read = || fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>();
    read().map_err(FolderError::io("read the folder", folder))
}

/// A file that appears when it is finished; dropped before, it leaves nothing.
#[derive(Debug)]
pub struct Stream {
    file: io::BufWriter<NamedTempFile>,
    path: PathBuf,
}

impl Stream {
    /// Adds to the file.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), FolderError> {
        self.file
            .write_all(bytes)
            .map_err(FolderError::io("write", &self.path))
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn finish(self) -> Result<(), FolderError> {
        let Self { file, path } = self;
        let finish = || {
            let file = file.into_inner().map_err(|error| error.into_error())?;
            file.as_file().sync_all()?;
            file.persist(&path)
                .map(drop::<File>)
                .map_err(|error| error.error)
        };
        finish().map_err(FolderError::io("write", &path))
    }
}

/// Not there, or not even in a folder.
fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::NotFound | Kind::NotADirectory)
}

fn is_half(name: &OsStr) -> bool {
    name.to_str().is_some_and(is_half_shard)
}

fn is_temporary(name: &OsStr) -> bool {
    name.to_str()
        .is_some_and(|name| name.starts_with(TEMPORARY))
}

/// Reads a JSON file.
///
/// # Errors
/// [`FolderError::Json`]; what the file system refuses.
pub fn read_json(path: &Path) -> Result<Value, FolderError> {
    let bytes = bertology_file::read(path).map_err(FolderError::io("read", path))?;
    serde_json::from_slice(&bytes).map_err(|source| FolderError::Json {
        path: path.into(),
        source,
    })
}

fn agree(path: PathBuf, found: &Identity, wanted: &Identity) -> Result<(), FolderError> {
    match found.difference(wanted) {
        None => Ok(()),
        Some(difference) => Err(FolderError::Differs {
            path,
            subject: difference.subject,
            was: difference.was,
            is: difference.is,
        }),
    }
}

#[cfg(test)]
mod tests;
