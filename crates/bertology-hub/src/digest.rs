//! What the hub announces about a file's content.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// The digest that a tag is. The hub tags what lies in its large storage with the SHA-256 of the content, and what lies
/// in the git repository with git's own name of it; mirrors tag the latter with the plain SHA-1 of the content. Any
/// other tag says nothing about the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Announced {
    Sha256,
    Sha1,
    Nothing,
}

impl Announced {
    pub(crate) fn by(tag: &str) -> Self {
        let hexadecimal = tag.bytes().all(|byte| byte.is_ascii_hexdigit());
        match tag.len() {
            64 if hexadecimal => Self::Sha256,
            40 if hexadecimal => Self::Sha1,
            _ => Self::Nothing,
        }
    }
}

/// Takes a file's bytes as they pass.
#[derive(Debug)]
pub(crate) enum Digest {
    Sha256(Sha256),
    Sha1 { git: Sha1, plain: Sha1 },
    Nothing,
}

impl Digest {
    /// For a file of `size` bytes, which git's name of it begins with.
    pub(crate) fn new(tag: &str, size: u64) -> Self {
        match Announced::by(tag) {
            Announced::Sha256 => Self::Sha256(Sha256::new()),
            Announced::Sha1 => Self::Sha1 {
                git: Sha1::new_with_prefix(format!("blob {size}\0")),
                plain: Sha1::new(),
            },
            Announced::Nothing => Self::Nothing,
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(digest) => digest.update(bytes),
            Self::Sha1 { git, plain } => {
                git.update(bytes);
                plain.update(bytes);
            }
            Self::Nothing => {}
        }
    }

    /// Takes a file that is there.
    pub(crate) fn read(&mut self, path: &Path) -> io::Result<()> {
        if matches!(self, Self::Nothing) {
            return Ok(());
        }
        let mut file = File::open(path)?;
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(()),
                read => self.update(&buffer[..read]),
            }
        }
    }

    /// Compares with the tag; `Err` holds what the content is instead.
    pub(crate) fn compare(self, tag: &str) -> Result<(), String> {
        let found = match self {
            Self::Sha256(digest) => hexadecimal(&digest.finalize()),
            Self::Sha1 { git, plain } => {
                if hexadecimal(&plain.finalize()).eq_ignore_ascii_case(tag) {
                    return Ok(());
                }
                hexadecimal(&git.finalize())
            }
            Self::Nothing => return Ok(()),
        };
        if found.eq_ignore_ascii_case(tag) {
            Ok(())
        } else {
            Err(found)
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_the_public_hub() {
        // The digests are those of sha256sum, sha1sum and `git hash-object`.
        let text = b"hello\n";
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        let plain = "f572d396fae9206628714fb2ce00f72e94f2258f";
        for tag in [sha256, git, plain, &sha256.to_uppercase(), "v1-abc"] {
            let compare = |text: &[u8]| {
                let mut digest = Digest::new(tag, 6);
                digest.update(&text[..3]);
                digest.update(&text[3..]);
                digest.compare(tag)
            };
            assert_eq!(compare(text), Ok(()), "{tag}");
            assert_eq!(compare(b"hallo\n").is_err(), tag != "v1-abc", "{tag}");
        }
    }
}
