//! Everything that the crate promises, seen from outside.

mod conllu;
mod conversions;
mod edge;
mod faults;
mod glue;
mod labels;
mod metrics;
mod places;
mod table;
mod text;
mod words;

use std::path::{Path, PathBuf};

use bertology_data::{Columns, DataError, Dataset, Source, Split, Task};
use tempfile::TempDir;

/// A folder with one file in it (its name may have folders before it).
pub(crate) struct Fixture {
    folder: TempDir,
    file: PathBuf,
}

impl Fixture {
    pub(crate) fn new(name: &str, content: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let fixture = Self {
            file: folder.path().join(name),
            folder,
        };
        fixture.add(name, content);
        fixture
    }

    pub(crate) fn add(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a file has a folder"))
            .expect("a folder can be made");
        std::fs::write(path, content).expect("a file can be written");
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    pub(crate) fn glue(&self, task: Task, split: Split) -> Result<Dataset, DataError> {
        Source::glue(self.folder(), task, split)?.load()
    }

    pub(crate) fn table(&self, columns: Columns) -> Result<Dataset, DataError> {
        Source::table(self.file(), columns)?.load()
    }
}

/// Examples as `(text, pair or empty, label or empty, line)`.
pub(crate) fn rows(data: &Dataset) -> Vec<(&str, &str, &str, u64)> {
    data.examples
        .iter()
        .map(|example| {
            let label = example.label.as_ref().map_or("", |label| label.as_str());
            (
                example.text.as_str(),
                example.pair.as_deref().unwrap_or(""),
                label,
                example.line,
            )
        })
        .collect()
}
