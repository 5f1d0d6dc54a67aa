//! Files of code, found and read.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bertology_data::{Content, DataError};

use super::{Passed, PassedOver};
use crate::error::{CodeError, Refusal};
use crate::language::Language;

/// What a file holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// An object a line.
    Lines,
    /// Source code.
    Source(&'static Language),
}

#[derive(Debug, Clone)]
pub(super) struct CodeFile {
    pub(super) path: Arc<Path>,
    pub(super) form: Form,
    pub(super) content: Content,
}

impl CodeFile {
    fn new(path: &Path, form: Form) -> Self {
        Self {
            path: path.into(),
            form,
            content: Content::default(),
        }
    }
}

/// The language of a source file. Whoever says one knows better than the name: C++ stands in files that end in `.h`.
pub(crate) fn language_of(
    path: &Path,
    said: Option<&'static Language>,
) -> Result<&'static Language, CodeError> {
    let found = said.or_else(|| Language::of_path(path));
    found.ok_or_else(|| CodeError::UnknownExtension {
        path: path.to_owned(),
        known: Language::names(),
    })
}

/// The text of a source file that is the only one.
pub(crate) fn read(path: &Path, limit: usize) -> Result<String, CodeError> {
    match Content::default().read(path, limit as u64)? {
        Some((bytes, _)) => text(path, bytes),
        None => Err(too_large(path, limit)),
    }
}

/// A source file that is not read for its size.
pub(super) fn too_large(path: &Path, limit: usize) -> CodeError {
    let bytes = fs::metadata(path).map_or(limit + 1, |of| of.len() as usize);
    CodeError::Refused {
        path: path.to_owned(),
        line: 1,
        refusal: Refusal::TooLarge { bytes, limit },
    }
}

/// A file that was named.
pub(super) fn one(path: &Path, language: Option<&'static Language>) -> Result<CodeFile, CodeError> {
    let end = path.extension().and_then(|end| end.to_str());
    let form = match end.map(str::to_lowercase).as_deref() {
        Some("jsonl" | "ndjson" | "json") => Form::Lines,
        _ => Form::Source(language_of(path, language)?),
    };
    Ok(CodeFile::new(path, form))
}

/// All files of code below a folder, in the order of their paths.
pub(super) fn below(
    folder: &Path,
    language: Option<&'static Language>,
    strangers: &mut PassedOver,
) -> Result<Vec<CodeFile>, CodeError> {
    let failed = |path: &Path, source| DataError::Io {
        path: path.to_owned(),
        source,
    };
    let mut all: Vec<PathBuf> = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).map_err(|source| failed(&folder, source))? {
            let entry = entry.map_err(|source| failed(&folder, source))?;
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            let path = entry.path();
            let kind = entry.file_type().map_err(|source| failed(&path, source))?;
            if kind.is_dir() {
                open.push(path);
            } else if path.is_file() {
                all.push(path);
            }
        }
    }
    all.sort();
    let mut found = Vec::new();
    for path in all {
        let is_lines = path.extension().is_some_and(|end| end == "jsonl");
        let of_name = Language::of_path(&path);
        match (is_lines, of_name) {
            (true, _) => found.push(CodeFile::new(&path, Form::Lines)),
            (false, Some(known)) if language.is_none_or(|language| language == known) => {
                found.push(CodeFile::new(&path, Form::Source(known)));
            }
            (false, _) => {
                if strangers.count == 0 {
                    strangers.path = path;
                    strangers.reason = match language {
                        Some(_) => Passed::OtherLanguage,
                        None => Passed::NoGrammar,
                    };
                }
                strangers.count += 1;
            }
        }
    }
    Ok(found)
}

/// The text of a source file, without a byte order mark.
pub(super) fn text(path: &Path, bytes: Vec<u8>) -> Result<String, CodeError> {
    if bertology_file::is_lfs_pointer(&bytes) {
        return Err(CodeError::Data(DataError::Io {
            path: path.to_owned(),
            source: bertology_file::Refusal::LfsPointer.into(),
        }));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().get(..error.utf8_error().valid_up_to());
        let before = before.unwrap_or_default();
        let lines = before.iter().filter(|byte| **byte == b'\n').count();
        let begun = before
            .iter()
            .rev()
            .take_while(|byte| **byte != b'\n')
            .count();
        CodeError::NotUtf8 {
            path: path.to_owned(),
            line: lines as u64 + 1,
            byte: begun + 1,
        }
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}
