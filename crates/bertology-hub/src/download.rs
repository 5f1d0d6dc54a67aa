//! Fetching from the hub into the cache: one commit for all files of a model.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use crate::cache::{RepoCache, is_commit};
use crate::client::{Answer, Client, Trouble, pause};
use crate::files::{self, Lack};
use crate::transfer::Files;
use crate::{DownloadEvent, HubError, HubOptions, NotCachedReason, Resolved, Source};

/// The longest list of files that is read. A repository of a hundred thousand files has five of them.
const LIST: u64 = 16 << 20;

pub(crate) fn resolve(
    cache: &RepoCache,
    revision: &str,
    options: &HubOptions,
) -> Result<Resolved, HubError> {
    let hub = Hub {
        cache,
        revision,
        options,
        client: Client::new(options)?,
    };
    let mut failures = 0;
    let Commit { sha, listing } = loop {
        let (reason, asked) = match hub.commit() {
            Ok(commit) => break commit,
            Err(Failure::Refused(error)) => return Err(error),
            Err(Failure::Unreachable {
                reason,
                retry_after,
            }) => (reason, retry_after),
        };
        // What is in the cache is better than waiting.
        let cached = cache.resolve(revision, NotCachedReason::Unreachable(reason));
        if cached.is_ok() || failures as usize >= options.retries {
            return cached;
        }
        let Some(wait) = pause(failures, asked) else {
            return cached;
        };
        hub.wait("the list of files", wait);
        failures += 1;
    };
    let wanted = files::choose(listing.iter().map(String::as_str))
        .map_err(|lack| hub.unusable(lack, &listing))?;

    let files = Files::new(&hub, &sha);
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

/// What a revision stands for.
struct Commit {
    sha: String,
    /// All files of the repository.
    listing: BTreeSet<String>,
}

/// Why the hub did not tell.
enum Failure {
    /// It did not answer; the cache may stand in.
    Unreachable {
        reason: String,
        /// How many seconds it wants to be left alone.
        retry_after: Option<u64>,
    },
    /// It answered no.
    Refused(HubError),
}

/// One repository of the hub, at one revision.
#[derive(Debug)]
pub(crate) struct Hub<'a> {
    pub(crate) cache: &'a RepoCache,
    revision: &'a str,
    pub(crate) options: &'a HubOptions,
    pub(crate) client: Client,
}

impl Hub<'_> {
    /// The address of a file.
    pub(crate) fn file(&self, sha: &str, file: &str) -> String {
        let (endpoint, id) = (&self.options.endpoint, &self.cache.id);
        format!("{endpoint}/{id}/resolve/{sha}/{}", escape(file))
    }

    /// The address of what a revision stands for.
    fn info(&self, revision: &str) -> String {
        let (endpoint, id) = (&self.options.endpoint, &self.cache.id);
        format!("{endpoint}/api/models/{id}/revision/{}", escape(revision))
    }

    /// Tells the user of a pause that is long enough to be wondered at, and makes it.
    pub(crate) fn wait(&self, what: &str, wait: Duration) {
        if wait >= Duration::from_secs(1) {
            self.options.tell(&DownloadEvent::Waiting {
                what,
                seconds: wait.as_secs(),
            });
        }
        std::thread::sleep(wait);
    }

    /// Asks what the revision stands for.
    fn commit(&self) -> Result<Commit, Failure> {
        let answer = self.client.get(&self.info(self.revision), None);
        let answer = answer.map_err(|trouble| self.no_list(trouble))?;
        if answer.status != 200 {
            return Err(self.refusal(&answer));
        }
        let text = answer
            .text(LIST, self.options.stall)
            .map_err(|trouble| self.no_list(trouble))?;
        self.read_commit(&text).map_err(Failure::Refused)
    }

    fn no_list(&self, trouble: Trouble) -> Failure {
        Failure::Refused(match trouble {
            Trouble::Network(reason) => {
                return Failure::Unreachable {
                    reason,
                    retry_after: None,
                };
            }
            Trouble::Redirect(reason) => self.redirect("the list of files", reason),
            Trouble::Nonsense(reason) => self.protocol(reason),
        })
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
    fn refusal(&self, answer: &Answer) -> Failure {
        if answer.is_passing() {
            let retry_after = answer.retry_after();
            let status = answer.status;
            let reason = match retry_after {
                Some(seconds) if seconds > 0 => {
                    format!("it answered {status} and wants no request for {seconds} s")
                }
                _ => format!("it answered {status}"),
            };
            return Failure::Unreachable {
                reason,
                retry_after,
            };
        }
        let code = answer.header("x-error-code").unwrap_or_default();
        let name = self.cache.id.clone();
        let endpoint = self.options.endpoint_shown();
        Failure::Refused(match (answer.status, code) {
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
                status: answer.status,
                what: "the list of files".into(),
            },
        })
    }

    /// Whether the repository has a main branch, for a hub that does not say what it misses.
    fn exists(&self) -> bool {
        let answer = self.client.get(&self.info("main"), None);
        answer.is_ok_and(|answer| answer.status == 200)
    }

    fn revision_not_found(&self) -> HubError {
        HubError::RevisionNotFound {
            name: self.cache.id.clone(),
            revision: self.revision.to_owned(),
            endpoint: self.options.endpoint_shown(),
        }
    }

    pub(crate) fn gated(&self) -> HubError {
        HubError::Gated {
            name: self.cache.id.clone(),
            endpoint: self.options.endpoint_shown(),
            how: if self.options.token.is_some() {
                "with a token"
            } else {
                "without a token"
            },
        }
    }

    pub(crate) fn protocol(&self, reason: String) -> HubError {
        HubError::Protocol {
            name: self.cache.id.clone(),
            endpoint: self.options.endpoint_shown(),
            reason,
        }
    }

    pub(crate) fn redirect(&self, what: &str, reason: String) -> HubError {
        HubError::Redirect {
            name: self.cache.id.clone(),
            what: what.to_owned(),
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

/// A name as a part of an address.
fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
