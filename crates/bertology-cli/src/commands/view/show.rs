//! Where the page goes: to a file, or to the browser.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::{Builder, NamedTempFile};

use crate::failure::Failure;
use crate::run_folder::TEMPORARY;
use crate::show::Screen;

/// Verifies that the page may be written there, before any work is done.
pub(super) fn check(path: &Path, overwrite: bool) -> Result<(), Failure> {
    if path.is_dir() {
        return Err(Failure::input(format!(
            "--output {}: this is a folder; give a file, {}",
            path.display(),
            path.join("attention.html").display()
        )));
    }
    let folder = folder(path);
    if !folder.is_dir() {
        return Err(Failure::input(format!(
            "--output {}: there is no folder {}",
            path.display(),
            folder.display()
        )));
    }
    if path.exists() && !overwrite {
        return Err(Failure::input(format!(
            "--output {}: the file is there already; --overwrite replaces it",
            path.display()
        )));
    }
    Ok(())
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Writes the page whole or not at all.
pub(super) fn write(path: &Path, html: &[u8], overwrite: bool) -> Result<(), Failure> {
    let failed = |error| Failure::io("write", path, &error);
    let mut file = Builder::new()
        .prefix(TEMPORARY)
        .tempfile_in(folder(path))
        .map_err(failed)?;
    file.write_all(html).map_err(failed)?;
    permit(&file);
    let kept = if overwrite {
        file.persist(path)
    } else {
        file.persist_noclobber(path)
    };
    kept.map(drop).map_err(|error| failed(error.error))
}

/// Temporary files can be read by their owner alone; a page is a file like any other.
#[cfg(unix)]
fn permit(file: &NamedTempFile) {
    use std::os::unix::fs::PermissionsExt;
    // A page that its owner alone can read is still a page.
    let _ = file
        .as_file()
        .set_permissions(std::fs::Permissions::from_mode(0o644));
}

#[cfg(not(unix))]
fn permit(_: &NamedTempFile) {}

/// Writes the page to a temporary file that stays, and opens it where there is something to open it with.
pub(super) fn open(html: &[u8], screen: &Screen) -> Result<PathBuf, Failure> {
    let folder = std::env::temp_dir();
    let failed = |error| Failure::io("write into", &folder, &error);
    let mut file = Builder::new()
        .prefix("bertology-view-")
        .suffix(".html")
        .tempfile()
        .map_err(failed)?;
    file.write_all(html).map_err(failed)?;
    let (_, path) = file.keep().map_err(|error| failed(error.error))?;
    if !start(&path) {
        screen.note(
            "there is no browser to open here; open the file with one, or name it with --output",
        );
    }
    Ok(path)
}

/// Hands a file to what the system opens such files with.
fn start(path: &Path) -> bool {
    let mut command = if cfg!(target_os = "macos") {
        Command::new("open")
    } else if cfg!(windows) {
        let mut command = Command::new("cmd");
        command.args(["/C", "start", ""]);
        command
    } else {
        let shows =
            |name: &str| std::env::var_os(name).is_some_and(|value| value != *OsStr::new(""));
        if !shows("DISPLAY") && !shows("WAYLAND_DISPLAY") {
            return false;
        }
        Command::new("xdg-open")
    };
    command
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .is_ok()
}
