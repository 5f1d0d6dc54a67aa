//! Where the GLUE files lie and what their columns mean.
//!
//! Source: the processors of transformers 4.57 (`data/processors/glue.py`) as tabulated in the
//! project's specification. All files are tab-separated without quoting.

use std::path::{Path, PathBuf};

use crate::error::DataError;
use crate::table::{Fields, LabelField};
use crate::task::{Split, Task};

/// How the rows of one GLUE file are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GlueLayout {
    pub(crate) task: Task,
    pub(crate) fields: Fields,
    /// Whether the first line names the columns.
    pub(crate) header: bool,
    /// Number of columns where there is no header to tell it.
    pub(crate) columns: usize,
    /// Whether rows with too few columns are skipped (and reported) instead of refused.
    pub(crate) skip_short: bool,
}

impl GlueLayout {
    /// The layout of the classic `.tsv` files.
    fn tsv(task: Task, split: Split) -> Self {
        let last = Some(LabelField::Last);
        let fields = |text, pair, label| Fields { text, pair, label };
        let fields = match (task, split) {
            (Task::Cola, Split::Test) | (Task::Sst2, Split::Test) => fields(1, None, None),
            (Task::Cola, _) => fields(3, None, Some(LabelField::At(1))),
            (Task::Sst2, _) => fields(0, None, Some(LabelField::At(1))),
            (Task::Mrpc, Split::Test) => fields(3, Some(4), None),
            (Task::Mrpc, _) => fields(3, Some(4), Some(LabelField::At(0))),
            (Task::StsB, Split::Test) => fields(7, Some(8), None),
            (Task::StsB, _) => fields(7, Some(8), last),
            (Task::Qqp, Split::Test) => fields(1, Some(2), None),
            (Task::Qqp, _) => fields(3, Some(4), Some(LabelField::At(5))),
            // The test rows end with the second sentence: their last column is no label.
            (Task::Mnli | Task::MnliMismatched, Split::Test) => fields(8, Some(9), None),
            (Task::Mnli | Task::MnliMismatched, _) => fields(8, Some(9), last),
            (Task::Qnli | Task::Rte | Task::Wnli, Split::Test) => fields(1, Some(2), None),
            (Task::Qnli | Task::Rte | Task::Wnli, _) => fields(1, Some(2), last),
        };
        Self {
            task,
            fields,
            header: !(task == Task::Cola && split != Split::Test),
            columns: fields.min_columns(),
            skip_short: task == Task::Qqp,
        }
    }
}

/// Name of the split's file in the task's folder.
fn tsv_name(task: Task, split: Split) -> &'static str {
    match (task, split) {
        (Task::Mnli, Split::Dev) => "dev_matched.tsv",
        (Task::Mnli, Split::Test) => "test_matched.tsv",
        (Task::MnliMismatched, Split::Dev) => "dev_mismatched.tsv",
        (Task::MnliMismatched, Split::Test) => "test_mismatched.tsv",
        (_, Split::Train) => "train.tsv",
        (_, Split::Dev) => "dev.tsv",
        (_, Split::Test) => "test.tsv",
    }
}

/// Name of the split's file in the original MRPC corpus, whose columns are those of `train.tsv`.
/// It has no dev set: the classic one is a part of its training set.
fn mrpc_txt_name(task: Task, split: Split) -> Option<&'static str> {
    match (task, split) {
        (Task::Mrpc, Split::Train) => Some("msr_paraphrase_train.txt"),
        (Task::Mrpc, Split::Test) => Some("msr_paraphrase_test.txt"),
        _ => None,
    }
}

/// Spellings of the task's folder below the GLUE folder.
fn folder_names(task: Task) -> Vec<&'static str> {
    let mut names = vec![task.folder()];
    let others: &[&'static str] = match task {
        Task::Cola => &["cola"],
        Task::Mnli | Task::MnliMismatched => &["mnli"],
        Task::Mrpc => &["mrpc"],
        Task::Sst2 => &["SST2", "sst-2", "sst2"],
        Task::StsB => &["STSB", "sts-b", "stsb"],
        Task::Qqp => &["qqp"],
        Task::Qnli => &["qnli"],
        Task::Rte => &["rte"],
        Task::Wnli => &["wnli"],
    };
    names.extend(others);
    names
}

/// Finds a split's file in `folder`, which is the task's folder or the GLUE folder above it.
pub(crate) fn find(
    folder: &Path,
    task: Task,
    split: Split,
) -> Result<(PathBuf, GlueLayout), DataError> {
    if !folder.is_dir() {
        let path = folder.to_owned();
        return Err(if folder.exists() {
            DataError::NotAFolder { path }
        } else {
            DataError::NoSuchFolder { path }
        });
    }
    let layout = GlueLayout::tsv(task, split);
    let mut candidates = vec![(tsv_name(task, split), layout)];
    if let Some(txt) = mrpc_txt_name(task, split) {
        // The original test file keeps the labels that GLUE's test file drops.
        candidates.push((txt, GlueLayout::tsv(task, Split::Train)));
    }
    let mut tried = Vec::new();
    let below = folder_names(task).into_iter().map(|name| folder.join(name));
    for place in std::iter::once(folder.to_owned()).chain(below) {
        for (name, layout) in &candidates {
            let path = place.join(name);
            if path.is_file() {
                return Ok((path, *layout));
            }
            tried.push(path);
        }
    }
    let hint = if task == Task::Mrpc && split == Split::Dev {
        "; the original msr_paraphrase_*.txt files have no dev set, so take the test split or the \
         GLUE files"
    } else {
        "; give the task's folder or the GLUE folder above it, or another split"
    };
    Err(DataError::MissingFile {
        task,
        split,
        tried,
        hint,
    })
}
