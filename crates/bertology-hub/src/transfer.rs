//! One file from the hub into the cache.
//!
//! A file comes under the name of a part and gets its own only when it is whole and is what was announced. A part is
//! continued the next time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::client::{Answer, Steady, Trouble, describe, pause};
use crate::digest::Digest;
use crate::download::Hub;
use crate::files;
use crate::{DownloadEvent, HubError};

/// The largest configuration or tokenizer that is fetched; the largest known have a tenth of it.
const SMALL: u64 = 256 << 20;

/// How often another process's lock is tried, a second apart.
const LOCK_TRIES: usize = 6;

/// The files of one commit.
#[derive(Debug)]
pub(crate) struct Files<'a> {
    hub: &'a Hub<'a>,
    sha: &'a str,
}

/// What the hub says about a file.
#[derive(Debug)]
struct Announcement {
    /// Names the content, and the blob.
    tag: String,
    size: u64,
}

/// Why a file did not come.
#[derive(Debug)]
struct Failure {
    error: Box<HubError>,
    again: Again,
}

/// Whether another try may succeed.
#[derive(Debug)]
enum Again {
    Never,
    Later {
        /// How many seconds the server wants to be left alone.
        retry_after: Option<u64>,
    },
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self {
            error: Box::new(error),
            again: Again::Never,
        }
    }
}

impl<'a> Files<'a> {
    pub(crate) fn new(hub: &'a Hub<'a>, sha: &'a str) -> Self {
        Self { hub, sha }
    }

    /// Makes sure that the snapshot has a file; whether it was fetched for that.
    pub(crate) fn ensure(&self, file: &str) -> Result<bool, HubError> {
        let cache = self.hub.cache;
        let pointer = cache.snapshot(self.sha).join(file);
        if pointer.is_file() {
            return Ok(false);
        }
        // A link whose blob was deleted would stand in the way of the new one.
        remove(&pointer)?;

        let announced = self.patiently(file, || self.announcement(file))?;
        if !files::is_weights(file) && announced.size > SMALL {
            return Err(HubError::TooLarge {
                name: cache.id.clone(),
                file: file.to_owned(),
                announced: announced.size,
                limit: SMALL,
            });
        }
        let blob = cache.blob(&announced.tag);
        if let Some(folder) = blob.parent() {
            fs::create_dir_all(folder).map_err(|source| unusable(folder, source))?;
        }
        let _lock = lock(&blob.with_extension("lock"))?;
        // Another commit may have the same file, and another process may have fetched it meanwhile.
        let fetched = !self.reuse(file, &announced, &blob)?;
        if fetched {
            self.fetch(file, &announced, &blob)?;
        }
        link(&blob, &announced.tag, &pointer).map_err(|source| unusable(&pointer, source))?;
        Ok(fetched)
    }

    /// Asks again what may be answered later.
    fn patiently<T>(
        &self,
        file: &str,
        mut attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, HubError> {
        let mut failures = 0;
        loop {
            let (error, retry_after) = match attempt() {
                Ok(value) => return Ok(value),
                Err(failure) => match failure.again {
                    Again::Never => return Err(*failure.error),
                    Again::Later { retry_after } => (failure.error, retry_after),
                },
            };
            let wait = pause(failures, retry_after);
            let Some(wait) = wait.filter(|_| (failures as usize) < self.hub.options.retries) else {
                return Err(*error);
            };
            failures += 1;
            self.hub.wait(file, wait);
        }
    }

    fn announcement(&self, file: &str) -> Result<Announcement, Failure> {
        const PROBE: Option<&str> = Some("bytes=0-0");
        let client = &self.hub.client;
        let lost = |trouble| self.trouble(file, trouble, None);
        let answer = client
            .ask_home(&self.hub.file(self.sha, file), PROBE)
            .map_err(lost)?;
        // An empty file has no first byte.
        if answer.elsewhere.is_none() && !matches!(answer.status, 200 | 206 | 416) {
            return Err(self.refused(file, &answer));
        }
        let tag = answer
            .header("x-linked-etag")
            .or_else(|| answer.header("etag"))
            .unwrap_or_default();
        let tag = tag.trim_start_matches("W/").trim_matches('"').to_owned();
        // It becomes part of a path.
        let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if tag.is_empty() || !tag.chars().all(harmless) {
            return Err(self.nonsense(file, format!("it has the impossible tag {tag:?}")));
        }
        let commit = answer.header("x-repo-commit").unwrap_or_default();
        if commit != self.sha {
            return Err(self.nonsense(
                file,
                format!("it is of commit {commit:?}, not {}", self.sha),
            ));
        }
        let size = match linked_size(&answer).or_else(|| size(&answer)) {
            Some(size) => Some(size),
            None => match &answer.elsewhere {
                Some(address) => {
                    let answer = client.get(address, PROBE).map_err(lost)?;
                    if !matches!(answer.status, 200 | 206 | 416) {
                        return Err(self.refused(file, &answer));
                    }
                    size(&answer)
                }
                None => None,
            },
        };
        match size {
            Some(size) => Ok(Announcement { tag, size }),
            None => Err(self.nonsense(file, "its size is not told".into())),
        }
    }

    /// Whether the cache has the content already. What it has under the content's name and is something else, is
    /// deleted.
    fn reuse(&self, file: &str, announced: &Announcement, blob: &Path) -> Result<bool, HubError> {
        let Some(there) = length(blob) else {
            return Ok(false);
        };
        let mut digest = Digest::new(&announced.tag, announced.size);
        let whole = there == announced.size && {
            digest.read(blob).map_err(|source| unusable(blob, source))?;
            digest.compare(&announced.tag).is_ok()
        };
        if !whole {
            remove(blob)?;
            self.tell(&DownloadEvent::Discarded { file });
        }
        Ok(whole)
    }

    fn fetch(&self, file: &str, announced: &Announcement, blob: &Path) -> Result<(), HubError> {
        let part = blob.with_extension("part");
        if length(&part).is_some_and(|there| there > announced.size) {
            remove(&part)?;
        }
        let missing = announced.size - length(&part).unwrap_or(0);
        // A system that does not tell its free space will say when there is none.
        if let Some(free) = blob
            .parent()
            .and_then(|folder| fs4::available_space(folder).ok())
            && free < missing
        {
            return Err(HubError::NoSpace {
                name: self.hub.cache.id.clone(),
                file: file.to_owned(),
                folder: self.hub.cache.cache.clone(),
                missing,
                free,
            });
        }
        let mut transfer = Transfer {
            files: self,
            file,
            announced,
            part: part.clone(),
            told: None,
        };
        self.patiently(file, || transfer.attempt())?;
        if files::is_pointer_file(&part).map_err(|source| unusable(&part, source))? {
            remove(&part)?;
            return Err(HubError::LfsPointer {
                path: PathBuf::from(file),
                from: Some(self.hub.options.endpoint_shown()),
            });
        }
        fs::rename(&part, blob).map_err(|source| unusable(blob, source))?;
        self.tell(&DownloadEvent::Finished { file });
        Ok(())
    }

    fn tell(&self, event: &DownloadEvent<'_>) {
        self.hub.options.tell(event);
    }

    fn nonsense(&self, file: &str, reason: String) -> Failure {
        self.hub.protocol(format!("{file}: {reason}")).into()
    }

    /// What an answer other than the file means.
    fn refused(&self, file: &str, answer: &Answer) -> Failure {
        let (name, what) = (self.hub.cache.id.clone(), file.to_owned());
        let (endpoint, status) = (answer.origin.clone(), answer.status);
        let retry_after = answer.retry_after();
        let error = match (status, retry_after) {
            // The repository was shown, its files are not.
            (401 | 403, _) => return self.hub.gated().into(),
            (_, Some(seconds)) if answer.is_passing() && pause(0, retry_after).is_none() => {
                HubError::AskedToWait {
                    name,
                    endpoint,
                    status,
                    what,
                    seconds,
                }
            }
            _ => HubError::Status {
                name,
                endpoint,
                status,
                what,
            },
        };
        Failure {
            error: Box::new(error),
            again: if answer.is_passing() {
                Again::Later { retry_after }
            } else {
                Again::Never
            },
        }
    }

    /// What no answer means; `progress` is what of the file is there and its size, once the transfer has begun.
    fn trouble(&self, file: &str, trouble: Trouble, progress: Option<(u64, u64)>) -> Failure {
        let name = self.hub.cache.id.clone();
        let reason = match trouble {
            Trouble::Network(reason) => reason,
            Trouble::Redirect(reason) => return self.hub.redirect(file, reason).into(),
            Trouble::Nonsense(reason) => return self.nonsense(file, reason),
        };
        let error = match progress {
            Some((received, expected)) => HubError::Interrupted {
                name,
                file: file.to_owned(),
                received,
                expected,
                reason,
            },
            None => HubError::Unreachable {
                endpoint: self.hub.options.endpoint_shown(),
                what: format!("{file} of {name}"),
                reason,
            },
        };
        Failure {
            error: Box::new(error),
            again: Again::Later { retry_after: None },
        }
    }
}

/// A file on its way.
struct Transfer<'a> {
    files: &'a Files<'a>,
    file: &'a str,
    announced: &'a Announcement,
    part: PathBuf,
    /// How many bytes of the file the user was told of.
    told: Option<u64>,
}

impl Transfer<'_> {
    /// Continues the part to its end, and compares it with what was announced.
    fn attempt(&mut self) -> Result<(), Failure> {
        let size = self.announced.size;
        let mut there = length(&self.part).unwrap_or(0);
        let resumed = there > 0;
        let mut digest = Digest::new(&self.announced.tag, size);
        if resumed {
            digest
                .read(&self.part)
                .map_err(|source| unusable(&self.part, source))?;
        }
        self.tell_of(there);
        let mut part = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.part)
            .map_err(|source| unusable(&self.part, source))?;
        if there < size {
            let answer = self.request(there)?;
            let continued = answer.status == 206;
            if !continued {
                // The server sends everything whatever is asked for.
                part.set_len(0)
                    .map_err(|source| unusable(&self.part, source))?;
                digest = Digest::new(&self.announced.tag, size);
                there = 0;
            }
            let received = self.copy(answer, there, &mut part, &mut digest);
            if received.is_err() && !continued {
                remove(&self.part)?;
            }
            received?;
        }
        part.sync_all()
            .map_err(|source| unusable(&self.part, source))?;
        drop(part);
        match digest.compare(&self.announced.tag) {
            Ok(()) => Ok(()),
            Err(found) => {
                remove(&self.part)?;
                let error = HubError::Digest {
                    name: self.files.hub.cache.id.clone(),
                    file: self.file.to_owned(),
                    expected: self.announced.tag.clone(),
                    found,
                };
                if !resumed {
                    return Err(error.into());
                }
                // What was there before may be at fault, so all of it is fetched once more.
                self.files
                    .tell(&DownloadEvent::Discarded { file: self.file });
                self.told = None;
                self.attempt()
            }
        }
    }

    fn request(&self, there: u64) -> Result<Answer, Failure> {
        let size = self.announced.size;
        let hub = self.files.hub;
        let url = hub.file(self.files.sha, self.file);
        let answer = hub.client.get(&url, Some(&format!("bytes={there}-")));
        let answer = answer
            .map_err(|trouble| self.files.trouble(self.file, trouble, Some((there, size))))?;
        let comes = match answer.status {
            200 => size,
            206 => {
                let range = answer.content_range();
                let fits = range.is_some_and(|range| {
                    range.first == Some(there) && range.total.is_none_or(|total| total == size)
                });
                if !fits {
                    let reason = "the part that was asked for is not the part that came";
                    return Err(self.files.nonsense(self.file, reason.into()));
                }
                size - there
            }
            _ => return Err(self.files.refused(self.file, &answer)),
        };
        let encoding = answer.header("content-encoding").unwrap_or("identity");
        if encoding != "identity" {
            let reason = format!("it comes packed ({encoding:?}), which was not asked for");
            return Err(self.files.nonsense(self.file, reason));
        }
        if answer.content_length().is_some_and(|length| length > comes) {
            return Err(self.more_than_announced());
        }
        Ok(answer)
    }

    fn copy(
        &mut self,
        answer: Answer,
        mut there: u64,
        part: &mut File,
        digest: &mut Digest,
    ) -> Result<(), Failure> {
        let size = self.announced.size;
        let bounded = answer.content_length().is_some();
        let mut body = Steady::new(
            answer.into_body().into_reader(),
            self.files.hub.options.stall,
        );
        let mut buffer = vec![0; 1 << 16];
        while there < size {
            let read = match body.read(&mut buffer) {
                Ok(0) => Err("it ended too early".to_owned()),
                Ok(read) => Ok(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(describe(&error)),
            };
            let read = read.map_err(|reason| {
                let trouble = Trouble::Network(reason);
                self.files.trouble(self.file, trouble, Some((there, size)))
            })?;
            if read as u64 > size - there {
                return Err(self.more_than_announced());
            }
            let bytes = &buffer[..read];
            part.write_all(bytes)
                .map_err(|source| unusable(&self.part, source))?;
            digest.update(bytes);
            there += read as u64;
            self.tell_of(there);
        }
        // What has no announced length may go on behind the file's end, and is another file then.
        if !bounded && matches!(body.read(&mut buffer[..1]), Ok(1)) {
            return Err(self.more_than_announced());
        }
        Ok(())
    }

    fn more_than_announced(&self) -> Failure {
        // Nothing of it can be trusted to be the file's beginning.
        if let Err(error) = remove(&self.part) {
            return error.into();
        }
        HubError::MoreThanAnnounced {
            name: self.files.hub.cache.id.clone(),
            file: self.file.to_owned(),
            announced: self.announced.size,
        }
        .into()
    }

    fn tell_of(&mut self, there: u64) {
        let told = self.told.unwrap_or_else(|| {
            self.files.tell(&DownloadEvent::Started {
                file: self.file,
                bytes: self.announced.size,
            });
            0
        });
        if there > told {
            self.files.tell(&DownloadEvent::Advanced {
                bytes: there - told,
            });
        }
        self.told = Some(there.max(told));
    }
}

fn linked_size(answer: &Answer) -> Option<u64> {
    answer.header("x-linked-size")?.trim().parse().ok()
}

/// The size of the whole file, from an answer to a request for its first byte.
fn size(answer: &Answer) -> Option<u64> {
    match answer.status {
        206 | 416 => answer.content_range()?.total,
        200 => answer.content_length(),
        _ => None,
    }
}

fn unusable(path: &Path, source: io::Error) -> HubError {
    HubError::Cache {
        path: path.to_owned(),
        source,
    }
}

fn remove(path: &Path) -> Result<(), HubError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unusable(path, error)),
        _ => Ok(()),
    }
}

fn length(path: &Path) -> Option<u64> {
    fs::metadata(path)
        .ok()
        .filter(fs::Metadata::is_file)
        .map(|metadata| metadata.len())
}

/// Keeps other processes away from a blob, those of other libraries included, until the file is closed.
fn lock(path: &Path) -> Result<File, HubError> {
    let file = File::create(path).map_err(|source| unusable(path, source))?;
    for attempt in 0..LOCK_TRIES {
        if attempt > 0 {
            std::thread::sleep(Duration::from_secs(1));
        }
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {}
            // A file system without locks: two transfers of one file are told by its digest.
            Ok(()) | Err(TryLockError::Error(_)) => return Ok(file),
        }
    }
    Err(HubError::Busy {
        lock: path.to_owned(),
    })
}

/// Points from a snapshot to a blob, as the other libraries do: with a relative link where the
/// system has links, else with a copy.
fn link(blob: &Path, tag: &str, pointer: &Path) -> io::Result<()> {
    if let Some(folder) = pointer.parent() {
        fs::create_dir_all(folder)?;
    }
    #[cfg(unix)]
    let made = {
        let _ = blob;
        std::os::unix::fs::symlink(Path::new("../../blobs").join(tag), pointer)
    };
    #[cfg(not(unix))]
    let made = {
        let _ = tag;
        fs::hard_link(blob, pointer).or_else(|_| fs::copy(blob, pointer).map(drop))
    };
    match made {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && pointer.is_file() => Ok(()),
        made => made,
    }
}
