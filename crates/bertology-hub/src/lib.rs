//! From a model name to a folder on disk: local folders, the cache of the user, the Hugging Face
//! hub.
//!
//! [`resolve`] takes what a user calls a model and gives the folder that holds its files:
//!
//! ```no_run
//! # fn main() -> Result<(), bertology_hub::HubError> {
//! use bertology_hub::{HubOptions, resolve};
//!
//! let options = HubOptions::from_env(|name| std::env::var(name).ok());
//! let resolved = resolve("textattack/bert-base-uncased-MRPC", &options)?;
//! println!("{} ({:?})", resolved.folder.display(), resolved.source);
//! # Ok(())
//! # }
//! ```
//!
//! Files go into the cache that transformers and the other Hugging Face libraries use, in its
//! layout (`models--org--name/{blobs,refs,snapshots}`), so that a model fetched by either is
//! there for both.
//!
//! Fetching is done on top of a small HTTP client, `ureq`, which follows no redirect by itself: the token goes to the
//! endpoint's own address only. What is fetched is compared with the digest that the hub announces, has the size that
//! was announced, and has to keep coming. Without the feature `download` (on by default) only local folders and the
//! cache are looked into.

mod cache;
#[cfg(feature = "download")]
mod client;
#[cfg(feature = "download")]
mod digest;
#[cfg(feature = "download")]
mod download;
mod error;
mod files;
mod name;
mod options;
#[cfg(feature = "download")]
mod transfer;

use std::path::PathBuf;

pub use error::{HubError, NotCachedReason};
pub use options::{DEFAULT_ENDPOINT, DownloadEvent, HubOptions, ProgressCallback};

use cache::RepoCache;
use name::Name;

/// Where a resolved folder came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The name was a folder.
    Folder,
    /// The cache held every file; nothing was fetched.
    Cache,
    /// Some or all files were fetched from the hub.
    Hub,
}

/// A model's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolved {
    /// The folder that holds the model's files.
    pub folder: PathBuf,
    /// Where it came from.
    pub source: Source,
    /// The revision asked for (`main` where none was); `None` for a local folder.
    pub revision: Option<String>,
    /// The commit that the revision stood for, 40 hexadecimal digits; `None` for a local folder.
    pub commit: Option<String>,
    /// Why the hub could not be asked whether the revision has moved on, where the cache stood
    /// in for it. Worth telling the user.
    pub unreachable: Option<String>,
}

/// Finds the folder of a model.
///
/// A path that exists as a folder wins. A name that can only be a path (it begins with `.`, `/`
/// or `~`, ends in a slash, holds a backslash or more than one slash) and is no folder is refused
/// as such and never looked up on the hub. Anything else is a hub id, `name` or `organisation/name`.
///
/// Of a hub repository only what a model needs is fetched: the configuration, the tokenizer's
/// files, and one set of weights, `model.safetensors` (or its shards) before
/// `pytorch_model.bin` (or its shards). Files that the cache holds for the revision's present
/// commit are not fetched again. Where the hub cannot be reached, the cached commit is used and
/// [`Resolved::unreachable`] says so.
///
/// # Errors
/// See [`HubError`]: each variant says what to do.
pub fn resolve(name: &str, options: &HubOptions) -> Result<Resolved, HubError> {
    let id = match Name::parse(name)? {
        Name::Folder(folder) => {
            if let Some(revision) = &options.revision {
                let revision = revision.clone();
                return Err(HubError::RevisionOfFolder { folder, revision });
            }
            return Ok(Resolved {
                folder,
                source: Source::Folder,
                revision: None,
                commit: None,
                unreachable: None,
            });
        }
        Name::Hub(id) => id,
    };
    let revision = name::revision(options.revision.as_deref())?;
    let cache_dir = options.cache_dir.as_ref().ok_or(HubError::NoCacheFolder)?;
    let cache = RepoCache::new(cache_dir, &id)?;

    if options.offline {
        return cache.resolve(&revision, NotCachedReason::Offline);
    }
    #[cfg(feature = "download")]
    return download::resolve(&cache, &revision, options);
    #[cfg(not(feature = "download"))]
    return cache.resolve(&revision, NotCachedReason::NoDownload);
}
