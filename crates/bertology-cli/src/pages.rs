//! Files of pages and figures, each whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use bertology_report::{Document, Error};
use bertology_run::Run;
use tempfile::NamedTempFile;

use crate::failure::Failure;
use crate::parts;
use crate::remedy;
use crate::run_folder::{PART, TEMPORARY};

/// A fault in a run folder or in what is to be shown, as a failure.
pub(crate) fn failure(error: &Error) -> Failure {
    Failure::found(error.kind(), error, remedy::of_pages(error))
}

pub(crate) fn open(path: &Path) -> Result<Run, Failure> {
    parts::at_rest(path)?;
    if path.join(PART).exists() {
        return Err(Failure::input(format!(
            "{}: a part of a run has no page; `bertology merge` puts the parts together",
            path.display()
        )));
    }
    Run::open(path).map_err(|error| failure(&error.into()))
}

/// Refuses a run whose files are not as they were written, those that no page shows included. What is wrong with a file
/// says more than that it was changed, so this comes when all was read.
pub(crate) fn unchanged(run: &Run) -> Result<(), Failure> {
    run.check_files().map_err(|error| failure(&error.into()))
}

/// Refuses to replace a file unless that was asked for.
pub(crate) fn check(option: &str, path: &Path, overwrite: bool) -> Result<(), Failure> {
    if path.is_dir() {
        return Err(Failure::input(format!(
            "{option} {}: this is a folder; give a file",
            path.display()
        )));
    }
    if path.exists() && !overwrite {
        return Err(Failure::input(format!(
            "{option} {}: the file is there already; choose another name, or replace it with \
             --overwrite",
            path.display()
        )));
    }
    Ok(())
}

/// A file under a temporary name, which goes unless it is kept.
#[derive(Debug)]
pub(crate) struct NewFile {
    path: PathBuf,
    file: NamedTempFile,
}

impl NewFile {
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        fs::create_dir_all(folder)
            .map_err(|error| Failure::io("create the folder", folder, &error))?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMPORARY);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As an ordinary new file: the umask decides who may read it.
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let file = builder.tempfile_in(folder);
        Ok(Self {
            file: file.map_err(|error| Failure::io("write", path, &error))?,
            path: path.to_owned(),
        })
    }

    /// It is whole.
    pub(crate) fn keep(self) -> Result<(), Failure> {
        let failed = |error: &std::io::Error| Failure::io("write", &self.path, error);
        let file = self.file;
        file.as_file().sync_all().map_err(|error| failed(&error))?;
        let kept = file.persist(&self.path).map(drop::<File>);
        kept.map_err(|error| failed(&error.error))
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

pub(crate) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let mut file = NewFile::create(path)?;
    file.write_all(text.as_bytes())
        .map_err(|error| Failure::io("write", path, &error))?;
    file.keep()
}

pub(crate) fn write_page(path: &Path, document: &Document) -> Result<(), Failure> {
    let html = document.render().map_err(|error| failure(&error))?;
    write(path, &html)
}

/// Every figure as `DIR/NAME.svg`; gives the names of the files.
pub(crate) fn write_figures(folder: &Path, document: &Document) -> Result<Vec<PathBuf>, Failure> {
    if folder.exists() && !folder.is_dir() {
        return Err(Failure::input(format!(
            "--figures {}: this is a file; give a folder",
            folder.display()
        )));
    }
    document
        .figures()
        .map(|figure| {
            let path = folder.join(format!("{}.svg", figure.id()));
            write(&path, &figure.file())?;
            Ok(path)
        })
        .collect()
}
