//! What a request may depend on, and the environment variables behind it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The address of the Hugging Face hub.
pub const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// Something happened during a download.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DownloadEvent<'a> {
    /// A file's transfer begins.
    Started {
        /// The file's name in the repository.
        file: &'a str,
        /// Its size in bytes.
        bytes: u64,
    },
    /// More of the current file has arrived, or was there from an interrupted transfer.
    Advanced {
        /// Bytes since the last event.
        bytes: u64,
    },
    /// What the cache held of the file is not what the hub announces. It was deleted, and all of the file is fetched.
    Discarded {
        /// The file's name in the repository.
        file: &'a str,
    },
    /// The server wants to be left alone for a while, and is.
    Waiting {
        /// What was asked for: a file's name in the repository, or `the list of files`.
        what: &'a str,
        /// How long.
        seconds: u64,
    },
    /// The current file is complete.
    Finished {
        /// The file's name in the repository.
        file: &'a str,
    },
}

/// Receives the events of a download.
pub type ProgressCallback = Arc<dyn Fn(&DownloadEvent<'_>) + Send + Sync>;

/// How models are looked up.
#[derive(Clone)]
#[non_exhaustive]
pub struct HubOptions {
    /// Branch, tag or commit of a hub repository; `None` is `main`.
    pub revision: Option<String>,
    /// The folder of the cache, which holds one folder `models--org--name` a model. `None` only
    /// where the environment names no home folder; hub ids are refused then.
    pub cache_dir: Option<PathBuf>,
    /// Answer from the cache only.
    pub offline: bool,
    /// Address of the hub, without a slash at its end.
    pub endpoint: String,
    /// The user's token, sent with every request to the endpoint and to nobody else, wherever the endpoint redirects.
    pub token: Option<String>,
    /// How often a broken transfer is continued, and a request repeated that the hub could not answer just then,
    /// before it counts as failed.
    pub retries: usize,
    /// How long a server may send nothing (fewer than 1,024 bytes of a file) before it counts as gone.
    pub stall: Duration,
    /// Whether the user wants progress bars (`HF_HUB_DISABLE_PROGRESS_BARS`). This crate draws
    /// none; who draws them from [`HubOptions::progress`] should ask.
    pub progress_bars: bool,
    /// Told about each step of a download.
    pub progress: Option<ProgressCallback>,
}

impl Default for HubOptions {
    /// The public hub, no token and no cache folder: see [`HubOptions::from_env`] for a user's.
    fn default() -> Self {
        Self {
            revision: None,
            cache_dir: None,
            offline: false,
            endpoint: DEFAULT_ENDPOINT.to_owned(),
            token: None,
            retries: 3,
            stall: Duration::from_secs(30),
            progress_bars: true,
            progress: None,
        }
    }
}

impl std::fmt::Debug for HubOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubOptions")
            .field("revision", &self.revision)
            .field("cache_dir", &self.cache_dir)
            .field("offline", &self.offline)
            .field("endpoint", &self.endpoint_shown())
            // A token must not end in a log.
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("retries", &self.retries)
            .field("stall", &self.stall)
            .field("progress_bars", &self.progress_bars)
            .field("progress", &self.progress.is_some())
            .finish()
    }
}

impl HubOptions {
    /// The options that the user's environment asks for, as transformers 4.57 and
    /// `huggingface_hub` read it. `get` gives a variable's value; an empty one counts as absent.
    ///
    /// | what | from, the first that is set |
    /// | --- | --- |
    /// | home | `HF_HOME`, `$XDG_CACHE_HOME/huggingface`, `~/.cache/huggingface` |
    /// | cache | `TRANSFORMERS_CACHE`, `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`, `hub` in the home |
    /// | token | `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN`, the file `HF_TOKEN_PATH`, `token` in the home |
    /// | endpoint | `HF_ENDPOINT`, the public hub |
    /// | offline | `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE` is `1`, `ON`, `YES` or `TRUE` |
    /// | stall | `HF_HUB_DOWNLOAD_TIMEOUT`, whole seconds; 30 |
    /// | progress bars | unless `HF_HUB_DISABLE_PROGRESS_BARS` is one of these |
    ///
    /// A token file that cannot be read counts as absent: it is no error to have none.
    #[must_use]
    pub fn from_env(get: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| get(name).filter(|value| !value.trim().is_empty());
        let user = get("HOME")
            .or_else(|| get("USERPROFILE"))
            .map(PathBuf::from);
        let path = |name: &str| get(name).map(|value| expand(&value, user.as_deref()));
        let home = path("HF_HOME")
            .or_else(|| path("XDG_CACHE_HOME").map(|cache| cache.join("huggingface")))
            .or_else(|| {
                user.as_ref()
                    .map(|user| user.join(".cache").join("huggingface"))
            });

        let cache_dir = [
            "TRANSFORMERS_CACHE",
            "HF_HUB_CACHE",
            "HUGGINGFACE_HUB_CACHE",
        ]
        .into_iter()
        .find_map(path)
        .or_else(|| home.as_ref().map(|home| home.join("hub")));
        let token = get("HF_TOKEN")
            .or_else(|| get("HUGGING_FACE_HUB_TOKEN"))
            .or_else(|| {
                let file = path("HF_TOKEN_PATH").or_else(|| Some(home.as_ref()?.join("token")))?;
                std::fs::read_to_string(file).ok()
            });
        let endpoint = get("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
        let stall = get("HF_HUB_DOWNLOAD_TIMEOUT")
            .and_then(|seconds| seconds.trim().parse().ok())
            .filter(|&seconds: &u64| seconds > 0)
            .map(Duration::from_secs);
        let on = |name: &str| get(name).is_some_and(|value| is_true(&value));
        let default = Self::default();
        Self {
            cache_dir,
            stall: stall.unwrap_or(default.stall),
            token: token
                .map(|token| token.trim().to_owned())
                .filter(|token| !token.is_empty()),
            endpoint: endpoint.trim().trim_end_matches('/').to_owned(),
            offline: on("HF_HUB_OFFLINE") || on("TRANSFORMERS_OFFLINE"),
            progress_bars: !on("HF_HUB_DISABLE_PROGRESS_BARS"),
            ..default
        }
    }

    /// The endpoint for messages: a password in it is nobody's business.
    pub(crate) fn endpoint_shown(&self) -> String {
        let Some((scheme, rest)) = self.endpoint.split_once("://") else {
            return self.endpoint.clone();
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        format!("{scheme}://{host}{path}")
    }

    #[cfg(feature = "download")]
    pub(crate) fn tell(&self, event: &DownloadEvent<'_>) {
        if let Some(progress) = &self.progress {
            progress(event);
        }
    }
}

fn is_true(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].contains(&value.trim().to_ascii_uppercase().as_str())
}

/// `~` and `~/…` in a path from the environment.
fn expand(value: &str, user: Option<&Path>) -> PathBuf {
    match (value.strip_prefix('~'), user) {
        (Some(""), Some(user)) => user.to_owned(),
        (Some(rest), Some(user)) if rest.starts_with(['/', '\\']) => user.join(&rest[1..]),
        _ => PathBuf::from(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> HubOptions {
        HubOptions::from_env(|name| {
            let found = pairs.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn cache(pairs: &[(&str, &str)]) -> String {
        env(pairs).cache_dir.unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn the_cache_folder() {
        let user = ("HOME", "/u");
        assert_eq!(cache(&[user]), "/u/.cache/huggingface/hub");
        let xdg = ("XDG_CACHE_HOME", "/x");
        assert_eq!(cache(&[user, xdg]), "/x/huggingface/hub");
        let home = ("HF_HOME", "~/hf");
        assert_eq!(cache(&[user, xdg, home]), "/u/hf/hub");
        let old = ("HUGGINGFACE_HUB_CACHE", "/old");
        assert_eq!(cache(&[user, home, old]), "/old");
        let hub = ("HF_HUB_CACHE", "/hub");
        assert_eq!(cache(&[user, home, old, hub]), "/hub");
        let transformers = ("TRANSFORMERS_CACHE", "/t");
        assert_eq!(cache(&[user, home, old, hub, transformers]), "/t");
        assert_eq!(cache(&[user, ("HF_HUB_CACHE", " "), home]), "/u/hf/hub");
        assert_eq!(cache(&[("USERPROFILE", "/w")]), "/w/.cache/huggingface/hub");
        assert_eq!(env(&[]).cache_dir, None);
    }

    #[test]
    fn offline_endpoint_and_bars() {
        let plain = env(&[]);
        assert!(!plain.offline && plain.progress_bars);
        assert_eq!(plain.endpoint, DEFAULT_ENDPOINT);
        for yes in ["1", "on", "Yes", "TRUE"] {
            assert!(env(&[("HF_HUB_OFFLINE", yes)]).offline, "{yes}");
            assert!(env(&[("TRANSFORMERS_OFFLINE", yes)]).offline, "{yes}");
            assert!(
                !env(&[("HF_HUB_DISABLE_PROGRESS_BARS", yes)]).progress_bars,
                "{yes}"
            );
        }
        for no in ["0", "off", "false", "2", ""] {
            assert!(!env(&[("HF_HUB_OFFLINE", no)]).offline, "{no}");
        }
        assert_eq!(
            env(&[("HF_ENDPOINT", "http://127.0.0.1:1/")]).endpoint,
            "http://127.0.0.1:1"
        );
        let stall = |text| env(&[("HF_HUB_DOWNLOAD_TIMEOUT", text)]).stall.as_secs();
        assert_eq!(
            ["7", " 90 ", "0", "soon", ""].map(stall),
            [7, 90, 30, 30, 30]
        );
    }

    #[test]
    fn the_token() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        assert_eq!(env(&[("HF_HOME", home)]).token, None);
        std::fs::write(folder.path().join("token"), "from-home\n").unwrap();
        assert_eq!(env(&[("HF_HOME", home)]).token.unwrap(), "from-home");
        let file = folder.path().join("other");
        std::fs::write(&file, "from-path\n").unwrap();
        let path = ("HF_TOKEN_PATH", file.to_str().unwrap());
        assert_eq!(env(&[("HF_HOME", home), path]).token.unwrap(), "from-path");
        let token = ("HF_TOKEN", "from-env");
        let options = env(&[("HF_HOME", home), path, token]);
        assert_eq!(options.token.as_deref(), Some("from-env"));
        assert!(!format!("{options:?}").contains("from-env"));

        let password = env(&[("HF_ENDPOINT", "https://me:secret@hub.example:8/a@b/")]);
        assert_eq!(password.endpoint_shown(), "https://hub.example:8/a@b");
        assert!(!format!("{password:?}").contains("secret"));
    }
}
