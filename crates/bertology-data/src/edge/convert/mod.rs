//! Corpora in forms of their own, as records.
//!
//! | module | corpus |
//! | --- | --- |
//! | `ud` | treebanks: dependencies, parts of speech, features |
//! | `coref` | treebanks with coreference (CorefUD) |
//! | `semeval` | SemEval-2010 task 8: relations between two marked nominals |
//! | `spr` | semantic proto-roles, both releases |
//! | `dpr` | definite pronouns, recast as entailment |
//!
//! A [`Conversion`] hands out records one by one and counts what it left out. OntoNotes and the Penn Treebank, which
//! nobody may pass on, come as records from the tools that the paper's authors published; they need no conversion.

mod coref;
mod dpr;
mod fault;
mod semeval;
mod spr;
mod ud;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use coref::Singletons;
pub use fault::ConvertFault;
pub use semeval::SemEvalPart;
pub use ud::{DependencyOptions, Punctuation, Root, Subtypes, UdTask};

use super::reader::RecordCounts;
use super::record::Record;
use super::vocabulary::LabelCounts;
use crate::conllu::Treebank;
use crate::error::DataError;
use crate::source::ReadOptions;

/// What a conversion reads.
trait Corpus {
    /// The next record; it may have no targets.
    fn read(&mut self, left_out: &mut LeftOut) -> Result<Option<Record>, DataError>;

    /// Reads the rest; the size and the SHA-256 of the file.
    fn finish(self: Box<Self>) -> Result<(u64, String), DataError>;
}

/// How much of a corpus became no target, by reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct LeftOut(BTreeMap<&'static str, u64>);

impl LeftOut {
    fn add(&mut self, reason: &'static str) {
        *self.0.entry(reason).or_default() += 1;
    }

    /// Reasons, with how often there was each.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(reason, count)| (*reason, *count))
    }
}

/// An account of a conversion, fit for a run's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConversionInfo {
    /// The corpus.
    pub path: PathBuf,
    /// What was handed out.
    #[serde(flatten)]
    pub counts: RecordCounts,
    /// What was not.
    pub left_out: LeftOut,
    /// Size of the corpus in bytes.
    pub bytes: u64,
    /// SHA-256 of the corpus, 64 lower-case hex digits.
    pub sha256: String,
}

/// Hands out the records of a corpus one by one, all with targets. The first error ends it, and it is an error if
/// there is no record at all.
pub struct Conversion {
    path: PathBuf,
    corpus: Box<dyn Corpus>,
    hint: &'static str,
    counts: RecordCounts,
    labels: LabelCounts,
    left_out: LeftOut,
    ended: bool,
}

impl Conversion {
    fn new(path: &Path, corpus: impl Corpus + 'static, hint: &'static str) -> Self {
        Self {
            path: path.to_owned(),
            corpus: Box::new(corpus),
            hint,
            counts: RecordCounts::default(),
            labels: LabelCounts::default(),
            left_out: LeftOut::default(),
            ended: false,
        }
    }

    /// The words of a treebank.
    ///
    /// # Errors
    /// [`DataError::Io`], [`DataError::NotAFile`].
    pub fn ud(path: &Path, task: UdTask) -> Result<Self, DataError> {
        let hint = task.hint();
        let corpus = ud::Ud::new(&Treebank::new(path), task)?;
        Ok(Self::new(path, corpus, hint))
    }

    /// Pairs of mentions in the sentences of a treebank, as CorefUD writes them: `1` where both speak of the same
    /// thing, else `0`.
    ///
    /// # Errors
    /// As [`Conversion::ud`].
    pub fn coref(path: &Path, singletons: Singletons) -> Result<Self, DataError> {
        let corpus = coref::Coref::new(&Treebank::new(path), singletons)?;
        let hint = "give a treebank with coreference in `Entity=`, as CorefUD has it";
        Ok(Self::new(path, corpus, hint))
    }

    /// SemEval-2010 task 8, a file with labels.
    ///
    /// # Errors
    /// As [`Conversion::ud`].
    pub fn semeval(path: &Path, part: SemEvalPart) -> Result<Self, DataError> {
        let corpus = semeval::SemEval::new(path, part, ReadOptions::default())?;
        let hint = "give TRAIN_FILE.TXT or TEST_FILE_FULL.TXT of SemEval-2010 task 8";
        Ok(Self::new(path, corpus, hint))
    }

    /// Semantic proto-roles of the first release, from the JSON that holds their sentences. `split`: only records
    /// of this one.
    ///
    /// # Errors
    /// As [`Conversion::ud`].
    pub fn spr1(path: &Path, split: Option<&str>) -> Result<Self, DataError> {
        let corpus = spr::Spr1::new(path, split, ReadOptions::default())?;
        Ok(Self::new(path, corpus, SPLIT_HINT))
    }

    /// Semantic proto-roles of the second release (`protoroles_eng_ud1.2_11082016.tsv`) for the sentences of one
    /// file of UD English EWT 1.2. `split`: which of the release's files it is; else its name says it.
    ///
    /// # Errors
    /// As [`Conversion::ud`]; a table without its columns.
    pub fn spr2(path: &Path, treebank: &Path, split: Option<&str>) -> Result<Self, DataError> {
        let corpus = spr::Spr2::new(path, treebank, split, ReadOptions::default())?;
        Ok(Self::new(path, corpus, SPLIT_HINT))
    }

    /// Definite pronouns as `recast_dpr_data.txt` has them. `split`: only records of this one.
    ///
    /// # Errors
    /// As [`Conversion::ud`].
    pub fn dpr(path: &Path, split: Option<&str>) -> Result<Self, DataError> {
        let corpus = dpr::Dpr::new(path, split, ReadOptions::default())?;
        Ok(Self::new(path, corpus, SPLIT_HINT))
    }

    /// What was handed out so far.
    #[must_use]
    pub fn counts(&self) -> &RecordCounts {
        &self.counts
    }

    /// The labels of what was handed out so far.
    #[must_use]
    pub fn labels(&self) -> &LabelCounts {
        &self.labels
    }

    /// What was left out so far.
    #[must_use]
    pub fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    /// Reads the rest of the corpus only to hash it, and gives the account of the whole.
    ///
    /// # Errors
    /// [`DataError::Io`] if the rest cannot be read.
    pub fn finish(self) -> Result<ConversionInfo, DataError> {
        let (bytes, sha256) = self.corpus.finish()?;
        Ok(ConversionInfo {
            path: self.path,
            counts: self.counts,
            left_out: self.left_out,
            bytes,
            sha256,
        })
    }

    fn nothing(&self) -> DataError {
        let mut found: Vec<String> = Vec::new();
        if self.counts.without_targets > 0 {
            let count = self.counts.without_targets;
            found.push(format!("sentences without a target: {count}"));
        }
        found.extend(
            self.left_out
                .iter()
                .map(|(reason, count)| format!("{reason}: {count}")),
        );
        if found.is_empty() {
            found.push("it is empty".to_owned());
        }
        DataError::NothingConverted {
            path: self.path.clone(),
            found: found.join(", "),
            hint: self.hint,
        }
    }
}

const SPLIT_HINT: &str = "choose a split that the file has";

impl Iterator for Conversion {
    type Item = Result<Record, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            match self.corpus.read(&mut self.left_out) {
                Ok(Some(record)) => {
                    self.counts.add(&record);
                    if !record.targets.is_empty() {
                        self.labels.add(&record);
                        return Some(Ok(record));
                    }
                }
                Ok(None) => {
                    self.ended = true;
                    return (self.counts.records == 0).then(|| Err(self.nothing()));
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl std::iter::FusedIterator for Conversion {}

impl std::fmt::Debug for Conversion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conversion")
            .field("path", &self.path)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

fn fault(path: &Path, line: u64, fault: ConvertFault) -> DataError {
    DataError::Convert {
        path: path.to_owned(),
        line,
        fault: Box::new(fault),
    }
}
