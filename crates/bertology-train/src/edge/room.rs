//! How much disk the states of a run take, known before any of them is computed.

use std::io;
use std::path::{Path, PathBuf};

use bertology::LoadedModel;

use super::{Pieces, STATE_FILE_PREFIX, StateOptions, StateStore, StatesFault};
use crate::Error;

/// The size of the hidden states of a run, and the room for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Where they are kept.
    pub folder: PathBuf,
    /// Positions that some span holds, each sequence once.
    pub pieces: u64,
    /// Layers of a position: L + 1.
    pub layers: u64,
    /// Numbers of a layer.
    pub hidden: u64,
    /// Bytes of a number.
    pub number: u64,
    /// Encoders whose states are kept: the trained one and those that have learnt nothing.
    pub encoders: u64,
    /// Bytes of all of them together.
    pub needed: u64,
    /// Bytes of them that an earlier run has left there.
    pub kept: u64,
    /// Bytes that are free on that disk.
    pub free: u64,
}

impl Room {
    /// Of states in `folders`, one of each encoder, which are there already.
    ///
    /// # Errors
    /// Folders that cannot be read.
    pub(super) fn new(
        model: &LoadedModel,
        pieces: &Pieces,
        options: &StateOptions,
        folders: &[PathBuf],
        available: impl FnOnce(&Path) -> io::Result<u64>,
    ) -> Result<Self, Error> {
        let folder = folders.first().cloned().unwrap_or_default();
        let free = available(&folder).map_err(Error::io("find out the free room of", &folder))?;
        let arch = model.architecture();
        let encoders = folders.len() as u64;
        let mut kept = 0;
        for folder in folders {
            kept += stored(folder).map_err(Error::io("read the folder", folder))?;
        }
        Ok(Self {
            folder,
            pieces: pieces.pieces() as u64,
            layers: arch.num_layers as u64 + 1,
            hidden: arch.hidden_size as u64,
            number: options.precision.bytes() as u64,
            encoders,
            needed: encoders * StateStore::bytes_needed(model, pieces, options.precision),
            kept,
            free,
        })
    }

    /// Refuses what the disk does not hold, before the first state of the first encoder is written.
    ///
    /// # Errors
    /// [`StatesFault::NoRoom`].
    pub fn check(&self) -> Result<(), StatesFault> {
        let more = self.needed.saturating_sub(self.kept);
        if more <= self.free {
            return Ok(());
        }
        Err(StatesFault::NoRoom {
            folder: self.folder.clone(),
            needed: more,
            available: self.free,
        })
    }
}

/// Bytes of the files of states in a folder.
fn stored(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in folder.read_dir()? {
        let entry = entry?;
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with(STATE_FILE_PREFIX)
        {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_states_of_all_encoders_have_to_fit() {
        let room = |needed, kept, free| Room {
            folder: "out/states".into(),
            pieces: 10,
            layers: 3,
            hidden: 4,
            number: 2,
            encoders: 2,
            needed,
            kept,
            free,
        };
        room(480, 0, 480).check().unwrap();
        room(480, 480, 0).check().unwrap();
        let refused = room(480, 80, 399).check().unwrap_err().to_string();
        assert!(
            refused.contains("400") && refused.contains("399") && refused.contains("states"),
            "{refused}"
        );
    }

    #[test]
    fn files_of_states_count_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [("states-00000.bin", 70), ("training-0.bin", 9)] {
            std::fs::write(folder.path().join(name), vec![0; bytes]).unwrap();
        }
        assert_eq!(stored(folder.path()).unwrap(), 70);
    }
}
