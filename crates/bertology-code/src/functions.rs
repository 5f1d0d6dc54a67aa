//! Which functions a file or a folder holds.

pub(crate) mod files;
mod line;
mod passed;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bertology_data::{DEFAULT_MAX_DOCUMENT_BYTES, DataError, LineMark, LineReader};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::code::Code;
use crate::error::CodeError;
use crate::language::Language;
use crate::syntax::{DEFAULT_MAX_BYTES, Syntax, Wrapping};

use files::{CodeFile, Form};
pub use passed::{FunctionCounts, Passed, PassedOver};

/// Functions in a file or folder. Opening it again reads it again from the start, and a file that was read to its end has
/// to stay as it is.
///
/// - A file whose name ends in `.jsonl`, `.ndjson` or `.json`: an object a line, as in CodeSearchNet. `code` (or
///   `original_string` or `function`) is the text, `code_tokens` (or `function_tokens`) a list of its tokens, `language` its
///   language, `func_name` its name; all but the first may be missing.
/// - Any other file: source code. Its functions are those that are in no other function; what is inside of one is a part
///   of it. Their trees are cut out of that of the file, so that a method is parsed in its class.
/// - A folder: all files below it whose name says that they are source code or `.jsonl`, in the order of their paths.
///   Names that begin with a dot are passed over; links to folders are not followed.
#[derive(Debug, Clone)]
pub struct Functions {
    path: PathBuf,
    files: Arc<[CodeFile]>,
    is_folder: bool,
    /// Files below the folder that are of no language known here.
    strangers: PassedOver,
    language: Option<&'static Language>,
    selected: Option<Arc<[u64]>>,
    limit: Option<usize>,
    max_bytes: usize,
}

impl Functions {
    /// Finds the files. With a language, other files and lines are passed over, and a file whose name says nothing is of
    /// that language.
    ///
    /// # Errors
    ///
    /// [`CodeError::UnknownExtension`], [`CodeError::NoFunctions`] of a folder without any code, and [`CodeError::Data`].
    pub fn new(path: &Path, language: Option<&'static Language>) -> Result<Self, CodeError> {
        let is_folder = path.is_dir();
        let mut strangers = PassedOver::default();
        let files = match is_folder {
            true => files::below(path, language, &mut strangers)?,
            false => vec![files::one(path, language)?],
        };
        let functions = Self {
            path: path.to_owned(),
            files: files.into(),
            is_folder,
            strangers,
            language,
            selected: None,
            limit: None,
            max_bytes: DEFAULT_MAX_BYTES,
        };
        match functions.files.is_empty() {
            true => Err(functions.nothing(&functions.counts())),
            false => Ok(functions),
        }
    }

    /// Takes only those with these numbers, in the order of reading from 0. In a file of JSON Lines without blank ones that
    /// is the number of the line less one.
    #[must_use]
    pub fn with_selected(mut self, mut indices: Vec<u64>) -> Self {
        indices.sort_unstable();
        indices.dedup();
        self.selected = Some(indices.into());
        self
    }

    /// Stops after so many.
    #[must_use]
    pub fn with_limit(mut self, limit: Option<usize>) -> Self {
        self.limit = limit;
        self
    }

    /// The largest source file that is parsed, in bytes.
    #[must_use]
    pub fn with_max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// The file or folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many there are, whatever is selected: for [`sample`](fn@crate::sample).
    ///
    /// # Errors
    ///
    /// As [`Functions::open`] and reading.
    pub fn count(&self) -> Result<u64, CodeError> {
        let mut all = self.clone();
        // Nothing is selected, so that lines are counted and not read.
        all.selected = Some(Arc::new([]));
        all.limit = None;
        let mut reader = all.open()?;
        reader.read_on()?;
        Ok(reader.index)
    }

    /// Opens it at its start.
    ///
    /// # Errors
    ///
    /// [`DataError::ZeroLimit`].
    pub fn open(&self) -> Result<FunctionReader, CodeError> {
        if self.limit == Some(0) {
            return Err(DataError::ZeroLimit.into());
        }
        Ok(FunctionReader {
            functions: self.clone(),
            file: 0,
            now: Now::Before,
            index: 0,
            counts: self.counts(),
            ended: false,
        })
    }

    /// Opens it where a reader of it was. What is before is not read, except in the source file where that is.
    ///
    /// # Errors
    ///
    /// As [`Functions::open`] and reading.
    pub fn open_at(&self, mark: &FunctionMark) -> Result<FunctionReader, CodeError> {
        let mut reader = self.open()?;
        reader.file = mark.file;
        reader.index = mark.index;
        let counts = mark.counts.clone();
        if let Some(file) = self.files.get(mark.file) {
            match mark.place {
                Place::Begin => {}
                Place::Line(place) => {
                    let mut lines = reader.lines(file)?;
                    lines.seek(place)?;
                    reader.now = Now::Lines(Box::new(lines));
                }
                Place::Behind(functions) => {
                    let before = mark.index - functions as u64;
                    let found = reader.functions_of(file, before)?;
                    reader.now =
                        Now::Source(functions, found.into_iter().skip(functions).collect());
                }
            }
        }
        reader.counts = counts;
        Ok(reader)
    }

    fn counts(&self) -> FunctionCounts {
        let mut counts = FunctionCounts::default();
        counts.passed_over.extend(self.strangers.some());
        counts
    }

    fn nothing(&self, counts: &FunctionCounts) -> CodeError {
        let files = self.files.len();
        CodeError::NoFunctions {
            path: self.path.clone(),
            read: match (self.is_folder, files) {
                (false, _) => "it".to_owned(),
                (true, 1) => "one file".to_owned(),
                (true, _) => format!("{files} files"),
            },
            reasons: counts.passed_over.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A place between two functions.
#[derive(Debug, Clone)]
pub struct FunctionMark {
    file: usize,
    place: Place,
    index: u64,
    counts: FunctionCounts,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Begin,
    Line(LineMark),
    /// So many functions of the source file are before.
    Behind(usize),
}

/// What is known of functions that were read, fit for a run's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FunctionInfo {
    /// The file or folder.
    pub path: PathBuf,
    /// How many files.
    pub files: usize,
    /// Their bytes, but for those of source files too large to be read.
    pub bytes: u64,
    /// SHA-256 in hex: of one file its own, of a folder that of a list of its files with theirs.
    pub sha256: String,
    /// What was read.
    #[serde(flatten)]
    pub counts: FunctionCounts,
}

/// Hands out functions one by one, holding those of one source file at a time.
///
/// The first error ends the iteration; so does reading nothing at all, which is one.
#[derive(Debug)]
pub struct FunctionReader {
    functions: Functions,
    file: usize,
    now: Now,
    /// The number of the next one.
    index: u64,
    counts: FunctionCounts,
    ended: bool,
}

/// The file that is open.
#[derive(Debug)]
enum Now {
    Before,
    Lines(Box<LineReader>),
    /// How many were handed out, and the rest.
    Source(usize, VecDeque<Code>),
}

impl FunctionReader {
    /// What was read so far.
    #[must_use]
    pub fn counts(&self) -> &FunctionCounts {
        &self.counts
    }

    /// The place behind the last one, for [`Functions::open_at`].
    #[must_use]
    pub fn mark(&self) -> FunctionMark {
        FunctionMark {
            file: self.file,
            place: match &self.now {
                Now::Before => Place::Begin,
                Now::Lines(lines) => Place::Line(lines.mark()),
                Now::Source(functions, _) => Place::Behind(*functions),
            },
            index: self.index,
            counts: self.counts.clone(),
        }
    }

    /// Reads the rest only to hash it, and gives the account of the whole.
    ///
    /// # Errors
    ///
    /// [`CodeError::Data`], and [`CodeError::NoSuchUnit`] if one was selected that is not there.
    pub fn finish(mut self) -> Result<FunctionInfo, CodeError> {
        let wanted = self.functions.selected.as_ref();
        let wanted = wanted.and_then(|selected| selected.last().copied());
        if let Some(index) = wanted
            && self.counts.functions < self.functions.limit.unwrap_or(usize::MAX) as u64
        {
            self.read_on()?;
            if index >= self.index {
                return Err(CodeError::NoSuchUnit {
                    index,
                    units: self.index,
                    path: self.functions.path.clone(),
                });
            }
        }
        let (mut bytes, mut hashes) = (0, Vec::new());
        for file in self.functions.files.iter() {
            let (read, hash) = match file.form {
                // A file that was read to its end is only looked at.
                Form::Lines => self.lines(file)?.finish()?,
                Form::Source(_) => match file.content.read(&file.path, self.most())? {
                    Some((read, hash)) => (read.len() as u64, hash),
                    None => (0, "too large".to_owned()),
                },
            };
            bytes += read;
            let name = file.path.strip_prefix(&self.functions.path);
            let name = name.unwrap_or(&file.path).display().to_string();
            hashes.push((name, hash));
        }
        let sha256 = match (&hashes[..], self.functions.is_folder) {
            ([(_, only)], false) => only.clone(),
            _ => {
                let mut all = Sha256::new();
                for (name, hash) in &hashes {
                    all.update(format!("{hash}  {name}\n"));
                }
                let digest = all.finalize();
                digest.iter().map(|byte| format!("{byte:02x}")).collect()
            }
        };
        Ok(FunctionInfo {
            path: self.functions.path.clone(),
            files: hashes.len(),
            bytes,
            sha256,
            counts: self.counts,
        })
    }

    fn read_on(&mut self) -> Result<(), CodeError> {
        while self.read()?.is_some() {}
        Ok(())
    }

    fn most(&self) -> u64 {
        self.functions.max_bytes as u64
    }

    fn lines(&self, file: &CodeFile) -> Result<LineReader, CodeError> {
        let limit = DEFAULT_MAX_DOCUMENT_BYTES;
        Ok(LineReader::open(&file.path, limit, &file.content)?)
    }

    fn is_selected(&self, index: u64) -> bool {
        let selected = self.functions.selected.as_ref();
        selected.is_none_or(|selected| selected.binary_search(&index).is_ok())
    }

    /// The next one, whatever the limit.
    fn read(&mut self) -> Result<Option<Code>, CodeError> {
        loop {
            let Some(file) = self.functions.files.get(self.file).cloned() else {
                return Ok(None);
            };
            match &mut self.now {
                Now::Before => {
                    self.now = match file.form {
                        Form::Lines => Now::Lines(Box::new(self.lines(&file)?)),
                        Form::Source(_) => Now::Source(0, self.functions_of(&file, self.index)?),
                    };
                }
                Now::Source(given, rest) => {
                    let Some(code) = rest.pop_front() else {
                        self.file += 1;
                        self.now = Now::Before;
                        continue;
                    };
                    *given += 1;
                    self.index += 1;
                    if self.is_selected(code.index) {
                        return Ok(Some(code));
                    }
                }
                Now::Lines(lines) => {
                    let Some(found) = lines.next_line()? else {
                        self.file += 1;
                        self.now = Now::Before;
                        continue;
                    };
                    if found.text.trim().is_empty() {
                        continue;
                    }
                    let index = self.index;
                    self.index += 1;
                    let selected = self.functions.selected.as_ref();
                    if selected.is_some_and(|selected| selected.binary_search(&index).is_err()) {
                        continue;
                    }
                    let number = found.number;
                    let read = line::parse(found.text, self.functions.language);
                    let read = read.map_err(|fault| CodeError::Line {
                        path: file.path.to_path_buf(),
                        line: number,
                        fault,
                    })?;
                    match read {
                        Some(mut code) => {
                            (code.index, code.line) = (index, number);
                            code.path = file.path.clone();
                            return Ok(Some(code));
                        }
                        None => self.counts.pass(Passed::OtherLanguage, &file.path, number),
                    }
                }
            }
        }
    }

    /// The functions of a source file; none, and counted, if it cannot be read and is one of many.
    fn functions_of(&mut self, file: &CodeFile, index: u64) -> Result<VecDeque<Code>, CodeError> {
        let Form::Source(language) = file.form else {
            return Ok(VecDeque::new());
        };
        let alone = !self.functions.is_folder;
        let limit = self.functions.max_bytes;
        let refused = |refusal| CodeError::Refused {
            path: file.path.to_path_buf(),
            line: 1,
            refusal,
        };
        let Some((bytes, _)) = file.content.read(&file.path, self.most())? else {
            if alone {
                return Err(files::too_large(&file.path, limit));
            }
            self.counts.pass(Passed::TooLarge, &file.path, 1);
            return Ok(VecDeque::new());
        };
        let text = match files::text(&file.path, bytes) {
            Ok(text) => text,
            Err(CodeError::NotUtf8 { line, .. }) if !alone => {
                self.counts.pass(Passed::NotUtf8, &file.path, line);
                return Ok(VecDeque::new());
            }
            Err(error) => return Err(error),
        };
        let syntax = match Syntax::parse(language, &text, Wrapping::Never, limit) {
            Ok(syntax) => syntax,
            Err(refusal) if alone => return Err(refused(refusal)),
            Err(_) => {
                self.counts.pass(Passed::NotParsed, &file.path, 1);
                return Ok(VecDeque::new());
            }
        };
        let whole = Code {
            path: file.path.clone(),
            ..Code::new(language, text)
        };
        let found = syntax.functions(&whole.text).into_iter();
        let outermost = found.filter(|function| function.outermost);
        let found: VecDeque<Code> = outermost
            .enumerate()
            .map(|(number, function)| Code {
                index: index + number as u64,
                ..whole.cut(&syntax, &function)
            })
            .collect();
        if found.is_empty() {
            self.counts.pass(Passed::NoFunctions, &file.path, 1);
        }
        Ok(found)
    }
}

impl Iterator for FunctionReader {
    type Item = Result<Code, CodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let given = self.counts.functions;
        let limit = self.functions.limit;
        if self.ended || limit.is_some_and(|limit| given >= limit as u64) {
            return None;
        }
        let error = match self.read() {
            Ok(Some(code)) => {
                self.counts.functions += 1;
                return Some(Ok(code));
            }
            Ok(None) if given > 0 => {
                self.ended = true;
                return None;
            }
            Ok(None) => self.functions.nothing(&self.counts),
            Err(error) => error,
        };
        self.ended = true;
        Some(Err(error))
    }
}

impl std::iter::FusedIterator for FunctionReader {}
