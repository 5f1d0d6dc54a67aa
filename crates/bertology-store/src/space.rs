//! Room on the disk.

use std::io;
use std::path::Path;

/// Bytes that this user may still write at `path`, or at the nearest folder above it that exists.
///
/// # Errors
/// What the operating system says when it cannot tell.
pub fn available(path: &Path) -> io::Result<u64> {
    let mut folder = std::path::absolute(path)?;
    while !folder.exists() && folder.pop() {}
    fs4::available_space(&folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_to_come_has_the_room_of_the_one_above() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let below = folder.path().join("not/there/yet");
        assert!(available(&below).expect("a size") > 0);
    }
}
