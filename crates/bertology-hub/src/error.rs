//! Why a model could not be found or fetched.

use std::path::PathBuf;

use bertology_error::Kind;

/// Why only the cache was looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotCachedReason {
    /// The user asked for it.
    Offline,
    /// The crate was built without the feature `download`.
    NoDownload,
    /// The hub did not answer; with what happened.
    Unreachable(String),
}

impl std::fmt::Display for NotCachedReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Offline => f.write_str(
                "offline mode is on, so nothing is fetched: unset HF_HUB_OFFLINE and \
                 TRANSFORMERS_OFFLINE, or fetch the model once while online",
            ),
            Self::NoDownload => f.write_str(
                "this build cannot download (feature \"download\" is off): fetch the model with \
                 another tool, or give a local folder",
            ),
            Self::Unreachable(reason) => write!(
                f,
                "the hub cannot be reached ({reason}): check the network and HF_ENDPOINT, or give \
                 a local folder"
            ),
        }
    }
}

/// Why a model could not be found or fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The name can only be a path, and there is no such folder.
    #[error(
        "there is no folder {path}; a model of the hub is written name or organisation/name, \
         without a leading dot or slash"
    )]
    FolderNotFound {
        /// The name given.
        path: PathBuf,
    },

    /// The name is a file.
    #[error("{path} is a file; give the folder that holds the model's config.json and weights")]
    NotAFolder {
        /// The name given.
        path: PathBuf,
    },

    /// The name is neither a folder nor a possible hub id.
    #[error("{name:?} is neither a folder here nor a possible name on the hub: {reason}")]
    InvalidName {
        /// The name given.
        name: String,
        /// The rule it breaks.
        reason: &'static str,
    },

    /// The revision cannot be a branch, tag or commit.
    #[error("{revision:?} is not a possible revision: give a branch, a tag or a commit")]
    InvalidRevision {
        /// The revision given.
        revision: String,
    },

    /// A revision was asked of a local folder.
    #[error("{folder} is a local folder, which has no revision {revision:?}: leave it out")]
    RevisionOfFolder {
        /// The folder.
        folder: PathBuf,
        /// The revision given.
        revision: String,
    },

    /// It is not known where the cache is.
    #[error("no cache folder is known: set HF_HOME, HF_HUB_CACHE or HOME, or give a local folder")]
    NoCacheFolder,

    /// The hub has no such repository, or hides it.
    #[error(
        "there is no model {name} at {endpoint}, or it is private; check the spelling, and for a \
         private model set HF_TOKEN to a token of an account that may read it"
    )]
    RepositoryNotFound {
        /// The hub id.
        name: String,
        /// The hub's address.
        endpoint: String,
    },

    /// The repository has no such revision.
    #[error("{name} has no branch, tag or commit {revision:?} at {endpoint}")]
    RevisionNotFound {
        /// The hub id.
        name: String,
        /// The revision asked for.
        revision: String,
        /// The hub's address.
        endpoint: String,
    },

    /// The repository lacks a file that every model needs.
    #[error("{name} (revision {revision}) has no {file}; it holds: {listing}")]
    FileNotFound {
        /// The hub id.
        name: String,
        /// The revision asked for.
        revision: String,
        /// The file.
        file: String,
        /// What is there instead, shortened.
        listing: String,
    },

    /// The repository has weights, but only of frameworks that are not read.
    #[error(
        "{name} (revision {revision}) has only TensorFlow or flax weights ({files}), which are not \
         read; convert them with transformers 4: AutoModel….from_pretrained({name:?}, {flag}=True)\
         .save_pretrained(folder), and give that folder"
    )]
    ForeignWeights {
        /// The hub id.
        name: String,
        /// The revision asked for.
        revision: String,
        /// The weight files found.
        files: String,
        /// `from_tf` or `from_flax`.
        flag: &'static str,
    },

    /// The hub wants to know who asks (401).
    #[error(
        "{endpoint} does not show {name} to {who} (401): either there is no such model, or it is \
         private or gated; accept its terms at {endpoint}/{name} if it has any, and set HF_TOKEN to \
         a token of that account ({endpoint}/settings/tokens)"
    )]
    Unauthorised {
        /// The hub id.
        name: String,
        /// The hub's address.
        endpoint: String,
        /// `anonymous users` or `the token that was sent`.
        who: &'static str,
    },

    /// The model's owner wants terms to be accepted first (401 or 403).
    #[error(
        "{name} is gated: accept its terms at {endpoint}/{name} and set HF_TOKEN to a token of \
         that account ({endpoint}/settings/tokens); the request was sent {how}"
    )]
    Gated {
        /// The hub id.
        name: String,
        /// The hub's address.
        endpoint: String,
        /// `without a token` or `with a token`.
        how: &'static str,
    },

    /// A transfer broke off. Nothing incomplete is left under the file's final name.
    #[error(
        "the transfer of {file} of {name} broke off after {received} of {expected} bytes \
         ({reason}); run the command again to continue it"
    )]
    Interrupted {
        /// The hub id.
        name: String,
        /// The file.
        file: String,
        /// Bytes that had arrived.
        received: u64,
        /// The file's size.
        expected: u64,
        /// What happened.
        reason: String,
    },

    /// The cache does not hold the model, and only the cache could be asked.
    #[error("{name} (revision {revision}) is not in the cache {cache} ({missing}), and {reason}")]
    NotCached {
        /// The hub id.
        name: String,
        /// The revision asked for.
        revision: String,
        /// The cache folder that was searched.
        cache: PathBuf,
        /// What is missing there.
        missing: String,
        /// Why the hub was not asked.
        reason: NotCachedReason,
    },

    /// The hub told which files there are, and then could not be reached.
    #[error("{endpoint} cannot be reached for {what} ({reason}); run the command again")]
    Unreachable {
        /// The hub's address.
        endpoint: String,
        /// What was asked for.
        what: String,
        /// What happened.
        reason: String,
    },

    /// The hub answered with a status that means nothing here.
    #[error("{endpoint} answered {status} when asked for {what} of {name}; try again later")]
    Status {
        /// The hub id.
        name: String,
        /// The hub's address.
        endpoint: String,
        /// The status.
        status: u16,
        /// What was asked for.
        what: String,
    },

    /// A server that is asked too much, and wants more time than a program waits.
    #[error(
        "{endpoint} answered {status} when asked for {what} of {name} and wants no request for {seconds} s; run the \
         command again then"
    )]
    AskedToWait {
        /// The hub id.
        name: String,
        /// The address that answered.
        endpoint: String,
        /// The status.
        status: u16,
        /// What was asked for.
        what: String,
        /// How long it wants to be left alone.
        seconds: u64,
    },

    /// A redirect that is not followed: in a circle, without end, to nowhere, or from an encrypted address to one
    /// that is not.
    #[error("{what} of {name} cannot be fetched: {reason}; is HF_ENDPOINT right?")]
    Redirect {
        /// The hub id.
        name: String,
        /// What was asked for.
        what: String,
        /// Who redirects and what is wrong with it.
        reason: String,
    },

    /// What came is not what the hub announced. It was deleted.
    #[error(
        "{file} of {name} is not what the hub announces: its digest should be {expected} and is {found}; what came \
         was deleted. Run the command again, and if this stays so, do not trust the network or the mirror that it \
         comes from"
    )]
    Digest {
        /// The hub id.
        name: String,
        /// The file.
        file: String,
        /// The digest announced, SHA-256 or SHA-1 in hexadecimal digits.
        expected: String,
        /// The digest of what came; of SHA-1, as git names a file.
        found: String,
    },

    /// More came than the hub announced.
    #[error(
        "the transfer of {file} of {name} was stopped: more came than the {announced} bytes that were announced; what \
         came was deleted. Run the command again, and if this stays so, do not trust the network or the mirror that it \
         comes from"
    )]
    MoreThanAnnounced {
        /// The hub id.
        name: String,
        /// The file.
        file: String,
        /// The size announced, in bytes.
        announced: u64,
    },

    /// A file that is read whole, and is announced larger than any such file is.
    #[error(
        "{file} of {name} is announced with {announced} bytes, and no such file has more than {limit}: it is not \
         fetched"
    )]
    TooLarge {
        /// The hub id.
        name: String,
        /// The file.
        file: String,
        /// The size announced, in bytes.
        announced: u64,
        /// The largest that is fetched.
        limit: u64,
    },

    /// The file does not fit on the disk.
    #[error(
        "{file} of {name} does not fit into the cache {folder}: {missing} bytes are missing of it, and {free} are \
         free; make room, or set HF_HUB_CACHE to a folder on another disk"
    )]
    NoSpace {
        /// The hub id.
        name: String,
        /// The file.
        file: String,
        /// The cache.
        folder: PathBuf,
        /// What is still to be fetched, in bytes.
        missing: u64,
        /// What is free, in bytes.
        free: u64,
    },

    /// What git keeps in the place of a large file was given in its place.
    #[error(
        "{path} is a git-lfs pointer, not the file itself{}",
        match from {
            Some(endpoint) => format!(", as {endpoint} gives it: it serves no large files; is HF_ENDPOINT right?"),
            None => "; run `git lfs pull` in that folder".to_owned(),
        }
    )]
    LfsPointer {
        /// The file.
        path: PathBuf,
        /// The hub that gave it; `None` where it lay on the disk.
        from: Option<String>,
    },

    /// The token is none.
    #[error(
        "the token holds characters that no token has; set HF_TOKEN to a token of the hub, or log in again \
         (its file is HF_TOKEN_PATH, or `token` in HF_HOME)"
    )]
    InvalidToken,

    /// The hub's address is none.
    #[error("{endpoint:?} is no address of a hub: {reason}; set HF_ENDPOINT to one, or unset it")]
    InvalidEndpoint {
        /// The address given.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },

    /// The hub's answer makes no sense.
    #[error(
        "the answer of {endpoint} about {name} cannot be used: {reason}; is HF_ENDPOINT right?"
    )]
    Protocol {
        /// The hub id.
        name: String,
        /// The hub's address.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },

    /// The cache cannot be read or written.
    #[error("cannot use {path} of the cache: {source}")]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// Another process is fetching the same file.
    #[error(
        "another process is fetching the same file (it holds {lock}); run again when it is done"
    )]
    Busy {
        /// The lock file.
        lock: PathBuf,
    },

    /// An index of shards in the cache is broken.
    #[error("{path} is not an index of shards: {reason}; delete it and run again")]
    Index {
        /// The index.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl HubError {
    /// Whose fault it was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoCacheFolder
            | Self::RepositoryNotFound { .. }
            | Self::RevisionNotFound { .. }
            | Self::FileNotFound { .. }
            | Self::ForeignWeights { .. }
            | Self::Unauthorised { .. }
            | Self::Gated { .. }
            | Self::Interrupted { .. }
            | Self::NotCached { .. }
            | Self::Unreachable { .. }
            | Self::Status { .. }
            | Self::AskedToWait { .. }
            | Self::Redirect { .. }
            | Self::Digest { .. }
            | Self::MoreThanAnnounced { .. }
            | Self::TooLarge { .. }
            | Self::NoSpace { .. }
            | Self::LfsPointer { .. }
            | Self::InvalidToken
            | Self::InvalidEndpoint { .. }
            | Self::Protocol { .. }
            | Self::Cache { .. }
            | Self::Busy { .. }
            | Self::Index { .. } => Kind::Environment,
            Self::FolderNotFound { .. }
            | Self::NotAFolder { .. }
            | Self::InvalidName { .. }
            | Self::InvalidRevision { .. }
            | Self::RevisionOfFolder { .. } => Kind::Input,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_input_and_the_network_is_the_surroundings() {
        let name = HubError::InvalidName {
            name: "a b".to_owned(),
            reason: "",
        };
        assert_eq!(name.kind(), Kind::Input);
        assert_eq!(HubError::NoCacheFolder.kind(), Kind::Environment);
        // Nobody asked for this interruption.
        let broken = HubError::Interrupted {
            name: "gpt2".to_owned(),
            file: "model.safetensors".to_owned(),
            received: 1,
            expected: 2,
            reason: String::new(),
        };
        assert_eq!(broken.kind(), Kind::Environment);
    }
}
