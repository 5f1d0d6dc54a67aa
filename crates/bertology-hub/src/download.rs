//! Fetching from the hub into the cache, on top of `hf-hub`.
//!
//! That crate transfers single files. What it leaves to its user is done here: one commit for
//! all files of a model, no second transfer of a blob that is there, and no file under its final
//! name unless it is whole.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use hf_hub::api::Progress;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};

use crate::cache::{RepoCache, is_commit};
use crate::files::{self, Lack};
use crate::{DownloadEvent, HubError, HubOptions, NotCachedReason, Resolved, Source};

/// How long the hub may take to accept a connection, and to begin to answer.
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(30);

pub(crate) fn resolve(
    cache: &RepoCache,
    revision: &str,
    options: &HubOptions,
) -> Result<Resolved, HubError> {
    let hub = Hub {
        cache,
        revision,
        options,
        api: api(cache, options)?,
    };
    let Commit { sha, listing } = match hub.commit() {
        Ok(commit) => commit,
        Err(Failure::Unreachable(reason)) => {
            return cache.resolve(revision, NotCachedReason::Unreachable(reason));
        }
        Err(Failure::Refused(error)) => return Err(error),
    };
    let wanted = files::choose(listing.iter().map(String::as_str))
        .map_err(|lack| hub.unusable(lack, &listing))?;

    let files = hub.files(&sha);
    let mut fetched = false;
    for file in &wanted.small {
        fetched |= files.ensure(file)?;
    }
    fetched |= files.ensure(wanted.weights)?;
    if wanted.is_sharded() {
        for shard in files::shards(&cache.snapshot(&sha).join(wanted.weights))? {
            if !listing.contains(&shard) {
                return Err(hub.file_not_found(&shard, &listing));
            }
            fetched |= files.ensure(&shard)?;
        }
    }
    // Only now, so that a reference never stands for a commit that is only half there.
    hub.write_reference(&sha)?;
    Ok(Resolved {
        folder: cache.snapshot(&sha),
        source: if fetched { Source::Hub } else { Source::Cache },
        revision: Some(revision.to_owned()),
        commit: Some(sha),
        unreachable: None,
    })
}

fn api(cache: &RepoCache, options: &HubOptions) -> Result<Api, HubError> {
    ApiBuilder::from_cache(Cache::new(cache.cache.clone()))
        .with_endpoint(options.endpoint.clone())
        .with_token(options.token.clone())
        .with_retries(options.retries)
        .with_progress(false)
        .with_user_agent("bertology", env!("CARGO_PKG_VERSION"))
        .build()
        .map_err(|error| HubError::Protocol {
            name: cache.id.clone(),
            endpoint: options.endpoint.clone(),
            reason: error.to_string(),
        })
}

/// What a revision stands for.
struct Commit {
    sha: String,
    /// All files of the repository.
    listing: BTreeSet<String>,
}

/// Why the hub did not tell.
enum Failure {
    /// It did not answer; the cache may stand in.
    Unreachable(String),
    /// It answered no.
    Refused(HubError),
}

struct Hub<'a> {
    cache: &'a RepoCache,
    revision: &'a str,
    options: &'a HubOptions,
    api: Api,
}

impl Hub<'_> {
    fn repo(&self, revision: &str) -> ApiRepo {
        let id = self.cache.id.clone();
        self.api.repo(Repo::with_revision(
            id,
            RepoType::Model,
            revision.to_owned(),
        ))
    }

    fn files<'a>(&'a self, sha: &'a str) -> Files<'a> {
        Files {
            hub: self,
            sha,
            repo: self.repo(sha),
        }
    }

    /// Asks what the revision stands for.
    fn commit(&self) -> Result<Commit, Failure> {
        let request = self.repo(self.revision).info_request();
        let answer = request
            .config()
            // The status is wanted together with the headers that explain it.
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(ANSWER))
            .build()
            .call();
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(error) if is_network(&error) => {
                return Err(Failure::Unreachable(error.to_string()));
            }
            Err(error) => return Err(Failure::Refused(self.protocol(error.to_string()))),
        };
        let status = answer.status().as_u16();
        let code = answer
            .headers()
            .get("x-error-code")
            .and_then(|code| code.to_str().ok());
        if status != 200 {
            let code = code.unwrap_or_default().to_owned();
            return Err(self.refusal(status, &code));
        }
        let text = answer
            .body_mut()
            .read_to_string()
            .map_err(|error| Failure::Unreachable(error.to_string()))?;
        self.read_commit(&text).map_err(Failure::Refused)
    }

    fn read_commit(&self, text: &str) -> Result<Commit, HubError> {
        let json: serde_json::Value = serde_json::from_str(text)
            .map_err(|error| self.protocol(format!("not JSON: {error}")))?;
        let sha = json
            .get("sha")
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        if !is_commit(sha) {
            return Err(self.protocol(format!("{sha:?} is no commit")));
        }
        let siblings = json.get("siblings").and_then(serde_json::Value::as_array);
        let listing = siblings
            .ok_or_else(|| self.protocol("no list of files".into()))?
            .iter()
            .filter_map(|file| Some(file.get("rfilename")?.as_str()?.to_owned()))
            .collect();
        Ok(Commit {
            sha: sha.to_owned(),
            listing,
        })
    }

    /// What a status other than 200 means, with the hub's own code where it gives one.
    fn refusal(&self, status: u16, code: &str) -> Failure {
        let name = self.cache.id.clone();
        let endpoint = self.options.endpoint.clone();
        Failure::Refused(match (status, code) {
            (429 | 500.., _) => return Failure::Unreachable(format!("it answered {status}")),
            (403, _) | (401, "GatedRepo") => self.gated(),
            (401, _) => {
                let who = match self.options.token {
                    Some(_) => "the token that was sent",
                    None => "anonymous users",
                };
                HubError::Unauthorised {
                    name,
                    endpoint,
                    who,
                }
            }
            (404, "RevisionNotFound") => self.revision_not_found(),
            (404, "") if self.revision != "main" && self.exists() => self.revision_not_found(),
            (404, _) => HubError::RepositoryNotFound { name, endpoint },
            _ => HubError::Status {
                name,
                endpoint,
                status,
                what: "the list of files".into(),
            },
        })
    }

    /// Whether the repository has a main branch, for a hub that does not say what it misses.
    fn exists(&self) -> bool {
        self.repo("main").info_request().call().is_ok()
    }

    fn revision_not_found(&self) -> HubError {
        HubError::RevisionNotFound {
            name: self.cache.id.clone(),
            revision: self.revision.to_owned(),
            endpoint: self.options.endpoint.clone(),
        }
    }

    fn gated(&self) -> HubError {
        HubError::Gated {
            name: self.cache.id.clone(),
            endpoint: self.options.endpoint.clone(),
            how: if self.options.token.is_some() {
                "with a token"
            } else {
                "without a token"
            },
        }
    }

    fn protocol(&self, reason: String) -> HubError {
        HubError::Protocol {
            name: self.cache.id.clone(),
            endpoint: self.options.endpoint.clone(),
            reason,
        }
    }

    fn unusable(&self, lack: Lack, listing: &BTreeSet<String>) -> HubError {
        match lack {
            Lack::Config => self.file_not_found(files::CONFIG, listing),
            Lack::Weights => self.file_not_found("model.safetensors or pytorch_model.bin", listing),
            Lack::Foreign { files, flag } => HubError::ForeignWeights {
                name: self.cache.id.clone(),
                revision: self.revision.to_owned(),
                files,
                flag,
            },
        }
    }

    fn file_not_found(&self, file: &str, listing: &BTreeSet<String>) -> HubError {
        const SHOWN: usize = 12;
        let mut shown: Vec<&str> = listing.iter().take(SHOWN).map(String::as_str).collect();
        if listing.len() > SHOWN {
            shown.push("…");
        }
        HubError::FileNotFound {
            name: self.cache.id.clone(),
            revision: self.revision.to_owned(),
            file: file.to_owned(),
            listing: if shown.is_empty() {
                "nothing".into()
            } else {
                shown.join(", ")
            },
        }
    }

    /// Notes what the revision stands for, for the next time without a network. A commit needs
    /// no note.
    fn write_reference(&self, sha: &str) -> Result<(), HubError> {
        // hf-hub notes each commit under its own name, which nobody reads.
        let _ = fs::remove_file(self.cache.reference(sha));
        if self.revision == sha {
            return Ok(());
        }
        let path = self.cache.reference(self.revision);
        let write = || {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            if fs::read_to_string(&path).is_ok_and(|stored| stored.trim() == sha) {
                return Ok(());
            }
            let mut temporary = path.clone().into_os_string();
            temporary.push(format!(".{}.tmp", std::process::id()));
            fs::write(&temporary, sha)?;
            fs::rename(&temporary, &path)
        };
        write().map_err(|source| HubError::Cache {
            path: path.clone(),
            source,
        })
    }
}

/// The files of one commit.
struct Files<'a> {
    hub: &'a Hub<'a>,
    sha: &'a str,
    repo: ApiRepo,
}

impl Files<'_> {
    /// Makes sure that the snapshot has a file; whether it was fetched for that.
    fn ensure(&self, file: &str) -> Result<bool, HubError> {
        let cache = self.hub.cache;
        let pointer = cache.snapshot(self.sha).join(file);
        if pointer.is_file() {
            return Ok(false);
        }
        // A link whose blob was deleted would stand in the way of the new one.
        self.remove(&pointer)?;

        let metadata = self
            .hub
            .api
            .metadata(&self.repo.url(file))
            .map_err(|error| self.failed(error, file, None))?;
        let (etag, size) = (metadata.etag(), metadata.size() as u64);
        // Both become part of a path.
        if etag.is_empty()
            || !etag
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        {
            return Err(self
                .hub
                .protocol(format!("{file} has the impossible tag {etag:?}")));
        }
        if metadata.commit_hash() != self.sha {
            let found = metadata.commit_hash();
            return Err(self
                .hub
                .protocol(format!("{file} is of commit {found}, not {}", self.sha)));
        }

        let blob = cache.blob(etag);
        if length(&blob) == Some(size) {
            // Another commit has the same file.
            link(&blob, etag, &pointer).map_err(|source| HubError::Cache {
                path: pointer.clone(),
                source,
            })?;
            return Ok(false);
        }
        self.remove(&blob)?;
        let part = blob.with_extension("part");
        if length(&part).is_some_and(|there| there >= size) {
            // Nothing is left to continue, which hf-hub would ask for nonetheless.
            self.remove(&part)?;
        }

        let meter = Meter {
            options: self.hub.options,
            file,
            started: false,
        };
        let fetched = self.repo.download_with_progress(file, meter);
        if let Err(error) = fetched {
            return Err(self.failed(error, file, Some((length(&part).unwrap_or(0), size))));
        }
        let there = length(&pointer).unwrap_or(0);
        if there != size {
            self.remove(&pointer)?;
            self.remove(&blob)?;
            return Err(self.interrupted(file, there, size, "its size is wrong".into()));
        }
        Ok(true)
    }

    fn remove(&self, path: &Path) -> Result<(), HubError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(HubError::Cache {
                path: path.to_owned(),
                source: error,
            }),
            _ => Ok(()),
        }
    }

    fn interrupted(&self, file: &str, received: u64, expected: u64, reason: String) -> HubError {
        let name = self.hub.cache.id.clone();
        HubError::Interrupted {
            name,
            file: file.to_owned(),
            received,
            expected,
            reason,
        }
    }

    /// What an error of `hf-hub` means; `progress` is what of the file is there and its size,
    /// once the transfer has begun.
    fn failed(&self, error: ApiError, file: &str, progress: Option<(u64, u64)>) -> HubError {
        let name = self.hub.cache.id.clone();
        let endpoint = self.hub.options.endpoint.clone();
        let broken = |reason: String| match progress {
            Some((received, expected)) => self.interrupted(file, received, expected, reason),
            None => HubError::Unreachable {
                endpoint: endpoint.clone(),
                what: format!("{file} of {name}"),
                reason,
            },
        };
        match error {
            ApiError::TooManyRetries(last) => self.failed(*last, file, progress),
            ApiError::RequestError(error) => match *error {
                // The repository was shown, its files are not.
                ureq::Error::StatusCode(401 | 403) => self.hub.gated(),
                ureq::Error::StatusCode(status) => {
                    let what = file.to_owned();
                    HubError::Status {
                        name,
                        endpoint: endpoint.clone(),
                        status,
                        what,
                    }
                }
                error if is_network(&error) => broken(error.to_string()),
                error => self.hub.protocol(format!("{file}: {error}")),
            },
            ApiError::IoError(error) if is_disk(&error) => HubError::Cache {
                path: self.hub.cache.cache.clone(),
                source: error,
            },
            ApiError::IoError(error) => broken(error.to_string()),
            ApiError::LockAcquisition(lock) => HubError::Busy { lock },
            ApiError::InvalidResume => broken("what was there before does not fit".into()),
            error => self.hub.protocol(format!("{file}: {error}")),
        }
    }
}

fn length(path: &Path) -> Option<u64> {
    fs::metadata(path)
        .ok()
        .filter(fs::Metadata::is_file)
        .map(|metadata| metadata.len())
}

/// Points from a snapshot to a blob, as the other libraries do: with a relative link where the
/// system has links, else with a copy.
fn link(blob: &Path, etag: &str, pointer: &Path) -> io::Result<()> {
    if let Some(folder) = pointer.parent() {
        fs::create_dir_all(folder)?;
    }
    #[cfg(unix)]
    {
        let _ = blob;
        std::os::unix::fs::symlink(Path::new("../../blobs").join(etag), pointer)
    }
    #[cfg(not(unix))]
    {
        let _ = etag;
        fs::hard_link(blob, pointer).or_else(|_| fs::copy(blob, pointer).map(drop))
    }
}

/// Whether a request failed on the way, as opposed to being malformed or refused.
fn is_network(error: &ureq::Error) -> bool {
    matches!(
        error,
        ureq::Error::Io(_)
            | ureq::Error::Timeout(_)
            | ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed
            | ureq::Error::Protocol(_)
            | ureq::Error::Tls(_)
            | ureq::Error::ConnectProxyFailed(_)
    )
}

/// Whether an error while a body was copied to a file is the file's.
fn is_disk(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotADirectory
    )
}

/// Hands hf-hub's progress on.
struct Meter<'a> {
    options: &'a HubOptions,
    file: &'a str,
    started: bool,
}

impl Meter<'_> {
    fn tell(&self, event: &DownloadEvent<'_>) {
        if let Some(progress) = &self.options.progress {
            progress(event);
        }
    }
}

impl Progress for Meter<'_> {
    fn init(&mut self, size: usize, _: &str) {
        // hf-hub begins twice.
        if !self.started {
            self.started = true;
            self.tell(&DownloadEvent::Started {
                file: self.file,
                bytes: size as u64,
            });
        }
    }

    fn update(&mut self, size: usize) {
        if size > 0 {
            self.tell(&DownloadEvent::Advanced { bytes: size as u64 });
        }
    }

    fn finish(&mut self) {
        self.tell(&DownloadEvent::Finished { file: self.file });
    }
}
