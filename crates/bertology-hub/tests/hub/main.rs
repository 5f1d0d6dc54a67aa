//! Names to folders, against a tiny hub on the loopback interface.
#![allow(clippy::unwrap_used)]

mod local;
#[cfg(feature = "download")]
mod online;
#[cfg(feature = "download")]
mod server;
#[cfg(feature = "download")]
mod trust;
#[cfg(feature = "download")]
mod world;

use std::fs;
use std::path::{Path, PathBuf};

use bertology_hub::HubOptions;

const COMMIT: &str = "89abcdef0123456789abcdef0123456789abcdef";

/// Options with a cache of their own and an address at which nobody is.
fn options(cache: &Path) -> HubOptions {
    let mut options = HubOptions::default();
    options.cache_dir = Some(cache.to_owned());
    options.endpoint = "http://127.0.0.1:9".to_owned();
    options.retries = 0;
    options
}

/// A cache in the layout of the Hugging Face libraries, with one model in it.
fn cached(cache: &Path, files: &[(&str, &str)]) -> PathBuf {
    let repo = cache.join("models--org--model");
    let snapshot = repo.join("snapshots").join(COMMIT);
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(repo.join("refs")).unwrap();
    fs::write(repo.join("refs/main"), COMMIT).unwrap();
    for (name, text) in files {
        fs::write(snapshot.join(name), text).unwrap();
    }
    snapshot
}
