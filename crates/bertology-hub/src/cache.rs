//! The cache's layout, `models--org--name/{blobs,refs,snapshots}`, read without a network.

use std::path::{Path, PathBuf};

use crate::files::{self, Lack};
use crate::{HubError, NotCachedReason, Resolved, Source};

/// One model's folder in the cache.
#[derive(Debug)]
pub(crate) struct RepoCache {
    /// The hub id.
    pub(crate) id: String,
    /// The cache itself.
    pub(crate) cache: PathBuf,
}

impl RepoCache {
    pub(crate) fn new(cache: &Path, id: &str) -> Result<Self, HubError> {
        let cache = std::path::absolute(cache).map_err(|source| HubError::Cache {
            path: cache.to_owned(),
            source,
        })?;
        Ok(Self {
            id: id.to_owned(),
            cache,
        })
    }

    fn folder(&self) -> PathBuf {
        self.cache
            .join(format!("models--{}", self.id.replace('/', "--")))
    }

    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder().join("snapshots").join(commit)
    }

    pub(crate) fn reference(&self, revision: &str) -> PathBuf {
        self.folder().join("refs").join(revision)
    }

    #[cfg(feature = "download")]
    pub(crate) fn blob(&self, etag: &str) -> PathBuf {
        self.folder().join("blobs").join(etag)
    }

    /// The commit that the cache last saw a revision stand for.
    fn commit(&self, revision: &str) -> Option<String> {
        if let Ok(commit) = std::fs::read_to_string(self.reference(revision)) {
            let commit = commit.trim();
            if is_commit(commit) {
                return Some(commit.to_owned());
            }
        }
        (is_commit(revision) && self.snapshot(revision).is_dir()).then(|| revision.to_owned())
    }

    /// What a snapshot lacks to be a whole model; `None` where it lacks nothing.
    pub(crate) fn lack(&self, commit: &str) -> Result<Option<String>, HubError> {
        let snapshot = self.snapshot(commit);
        let listing = listing(&snapshot);
        let wanted = match files::choose(listing.iter().map(String::as_str)) {
            Ok(wanted) => wanted,
            Err(Lack::Config) => return Ok(Some("config.json is missing".into())),
            Err(Lack::Weights) => return Ok(Some("the weights are missing".into())),
            Err(Lack::Foreign { files, .. }) => {
                return Ok(Some(format!("of the weights only {files}")));
            }
        };
        if wanted.is_sharded() {
            for shard in files::shards(&snapshot.join(wanted.weights))? {
                if !listing.contains(&shard) {
                    return Ok(Some(format!("{shard} is missing")));
                }
            }
        }
        Ok(None)
    }

    /// Answers from the cache alone.
    pub(crate) fn resolve(
        &self,
        revision: &str,
        reason: NotCachedReason,
    ) -> Result<Resolved, HubError> {
        let missing = match self.commit(revision) {
            None if self.folder().is_dir() => "other revisions of it are".to_owned(),
            None => format!("there is no {}", self.folder().display()),
            Some(commit) => match self.lack(&commit)? {
                Some(lack) => format!("{lack} in {}", self.snapshot(&commit).display()),
                None => {
                    let unreachable = match reason {
                        NotCachedReason::Unreachable(reason) => Some(reason),
                        NotCachedReason::Offline | NotCachedReason::NoDownload => None,
                    };
                    return Ok(Resolved {
                        folder: self.snapshot(&commit),
                        source: Source::Cache,
                        revision: Some(revision.to_owned()),
                        commit: Some(commit),
                        unreachable,
                    });
                }
            },
        };
        Err(HubError::NotCached {
            name: self.id.clone(),
            revision: revision.to_owned(),
            cache: self.cache.clone(),
            missing,
            reason,
        })
    }
}

/// The files of a snapshot that are really there: a link to a deleted blob is not.
fn listing(snapshot: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(snapshot) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| snapshot.join(name).is_file())
        .collect()
}

/// Forty hexadecimal digits.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
