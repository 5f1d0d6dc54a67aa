//! What a model's name can be.

use std::path::{Path, PathBuf};

use crate::HubError;

/// A name, told apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// An existing folder.
    Folder(PathBuf),
    /// A repository of the hub.
    Hub(String),
}

impl Name {
    pub(crate) fn parse(name: &str) -> Result<Self, HubError> {
        let path = Path::new(name);
        if bertology_file::is_folder(path) {
            return Ok(Self::Folder(path.to_owned()));
        }
        if path.is_file() {
            return Err(HubError::NotAFolder {
                path: path.to_owned(),
            });
        }
        let looks_like_path = name.starts_with(['.', '/', '~'])
            || name.ends_with('/')
            || name.contains('\\')
            || path.is_absolute()
            || name.matches('/').count() > 1;
        if looks_like_path {
            return Err(HubError::FolderNotFound {
                path: path.to_owned(),
            });
        }
        check_id(name).map_err(|reason| HubError::InvalidName {
            name: name.to_owned(),
            reason,
        })?;
        Ok(Self::Hub(name.to_owned()))
    }
}

/// The hub's own rules (`validate_repo_id` of `huggingface_hub`).
fn check_id(id: &str) -> Result<(), &'static str> {
    if id.is_empty() {
        return Err("it is empty");
    }
    if id.len() > 96 {
        return Err("it is longer than 96 characters");
    }
    if id.contains("--") || id.contains("..") {
        return Err("it contains \"--\" or \"..\"");
    }
    if id.ends_with(".git") {
        return Err("it ends in \".git\"");
    }
    for part in id.split('/') {
        if part.is_empty() || part.starts_with(['-', '.']) || part.ends_with(['-', '.']) {
            return Err("a part of it is empty, or begins or ends with \"-\" or \".\"");
        }
        if !part
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        {
            return Err("it has characters other than letters, digits, \"-\", \"_\" and \".\"");
        }
    }
    Ok(())
}

/// A branch, a tag or a commit. It becomes part of an address and of a path, so only what is
/// harmless in both goes through.
pub(crate) fn revision(revision: Option<&str>) -> Result<String, HubError> {
    let revision = revision.unwrap_or("main");
    let harmless = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    if revision.split('/').all(harmless) && !revision.contains("..") {
        return Ok(revision.to_owned());
    }
    Err(HubError::InvalidRevision {
        revision: revision.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hub_ids() {
        for id in [
            "gpt2",
            "org/name",
            "google-bert/bert-base-uncased",
            "a/b.c_d-e",
        ] {
            assert_eq!(Name::parse(id).unwrap(), Name::Hub(id.to_owned()));
        }
        for id in [
            "",
            "a b",
            "-x",
            "x-",
            "a--b",
            "a/.b",
            "x.git",
            "é",
            "a/b?c",
            &"x".repeat(97),
        ] {
            let invalid = matches!(
                Name::parse(id),
                Err(HubError::InvalidName { .. } | HubError::FolderNotFound { .. })
            );
            assert!(invalid, "{id:?}");
        }
    }

    #[test]
    fn revisions() {
        assert_eq!(revision(None).unwrap(), "main");
        assert_eq!(revision(Some("refs/pr/3")).unwrap(), "refs/pr/3");
        assert_eq!(revision(Some("v1.0-rc_2")).unwrap(), "v1.0-rc_2");
        for bad in [
            "", "../x", "a//b", "/a", "a b", "a?b", "a%2Fb", "a..b", ".", "x\n",
        ] {
            assert!(revision(Some(bad)).is_err(), "{bad:?}");
        }
    }
}
