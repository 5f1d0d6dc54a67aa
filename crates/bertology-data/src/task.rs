//! The GLUE tasks: their names, labels, files and metrics, as data.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::DataError;

/// One of the GLUE tasks, named as in transformers (MNLI counts twice, once for each dev set).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Task {
    /// Corpus of Linguistic Acceptability: is the sentence acceptable?
    #[serde(rename = "cola")]
    Cola,
    /// Multi-Genre NLI, evaluated on the matched genres.
    #[serde(rename = "mnli")]
    Mnli,
    /// Multi-Genre NLI, evaluated on the mismatched genres.
    #[serde(rename = "mnli-mm")]
    MnliMismatched,
    /// Microsoft Research Paraphrase Corpus: do the sentences mean the same?
    #[serde(rename = "mrpc")]
    Mrpc,
    /// Stanford Sentiment Treebank, two classes.
    #[serde(rename = "sst-2")]
    Sst2,
    /// Semantic Textual Similarity Benchmark: a score from 0 to 5.
    #[serde(rename = "sts-b")]
    StsB,
    /// Quora Question Pairs: is the one a duplicate of the other?
    #[serde(rename = "qqp")]
    Qqp,
    /// Question NLI: does the sentence answer the question?
    #[serde(rename = "qnli")]
    Qnli,
    /// Recognizing Textual Entailment.
    #[serde(rename = "rte")]
    Rte,
    /// Winograd NLI.
    #[serde(rename = "wnli")]
    Wnli,
}

/// What a task asks of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One of several classes: the model has one logit a class.
    Classification,
    /// A number: the model has one output.
    Regression,
}

/// Which part of a task's data is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// The training set.
    Train,
    /// The development set, on which GLUE models are evaluated.
    Dev,
    /// The test set; GLUE publishes no labels for it.
    Test,
}

impl Task {
    /// Every task, in the order of the reference's table.
    pub const ALL: [Self; 10] = [
        Self::Cola,
        Self::Mnli,
        Self::MnliMismatched,
        Self::Mrpc,
        Self::Sst2,
        Self::StsB,
        Self::Qqp,
        Self::Qnli,
        Self::Rte,
        Self::Wnli,
    ];

    /// The task's name as transformers spells it, such as `sst-2`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cola => "cola",
            Self::Mnli => "mnli",
            Self::MnliMismatched => "mnli-mm",
            Self::Mrpc => "mrpc",
            Self::Sst2 => "sst-2",
            Self::StsB => "sts-b",
            Self::Qqp => "qqp",
            Self::Qnli => "qnli",
            Self::Rte => "rte",
            Self::Wnli => "wnli",
        }
    }

    /// The task's folder in the classic GLUE download, such as `SST-2`.
    #[must_use]
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Cola => "CoLA",
            Self::Mnli | Self::MnliMismatched => "MNLI",
            Self::Mrpc => "MRPC",
            Self::Sst2 => "SST-2",
            Self::StsB => "STS-B",
            Self::Qqp => "QQP",
            Self::Qnli => "QNLI",
            Self::Rte => "RTE",
            Self::Wnli => "WNLI",
        }
    }

    /// The labels as the files write them, in the order of the class ids that transformers gives
    /// them. Empty for regression.
    #[must_use]
    pub const fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Cola | Self::Mrpc | Self::Sst2 | Self::Qqp | Self::Wnli => &["0", "1"],
            Self::Mnli | Self::MnliMismatched => &["contradiction", "entailment", "neutral"],
            Self::Qnli | Self::Rte => &["entailment", "not_entailment"],
            Self::StsB => &[],
        }
    }

    /// The names under which the `glue` data set of the hub, and so many a checkpoint's `id2label`,
    /// knows the labels `0` and `1` of [`Task::labels`]. Empty where the files have names already.
    #[must_use]
    pub const fn label_aliases(self) -> &'static [&'static str] {
        match self {
            Self::Cola => &["unacceptable", "acceptable"],
            Self::Mrpc => &["not_equivalent", "equivalent"],
            Self::Sst2 => &["negative", "positive"],
            Self::Qqp => &["not_duplicate", "duplicate"],
            Self::Wnli => &["not_entailment", "entailment"],
            _ => &[],
        }
    }

    /// Whether the task asks for a class or a number.
    #[must_use]
    pub const fn mode(self) -> Mode {
        match self {
            Self::StsB => Mode::Regression,
            _ => Mode::Classification,
        }
    }

    /// How many outputs a model for this task has: its classes, or 1 for regression.
    #[must_use]
    pub const fn num_labels(self) -> usize {
        match self {
            Self::StsB => 1,
            _ => self.labels().len(),
        }
    }

    /// Whether each example has two texts.
    #[must_use]
    pub const fn is_pair(self) -> bool {
        !matches!(self, Self::Cola | Self::Sst2)
    }

    /// The names of the task's metrics, in the reference's order.
    #[must_use]
    pub fn metric_keys(self) -> &'static [&'static str] {
        crate::metrics::MetricSet::for_task(self).keys()
    }

    /// The metric that decides when masking stops unless the user names another.
    ///
    /// `acc` wherever the task has it, as in the reference script, whose default of `acc` for every
    /// task does not exist for the others; they get `mcc`, `mnli/acc`, `mnli-mm/acc` and `corr`.
    #[must_use]
    pub fn default_metric(self) -> &'static str {
        crate::metrics::MetricSet::for_task(self).default_key()
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Task {
    type Err = DataError;

    /// Reads a task's name in any case; `-` and `_` may be left out or exchanged, so `sst-2`,
    /// `SST-2`, `sst2`, `stsb` and `mnli_mm` are all known, and `mnli-matched`,
    /// `mnli-mismatched` too.
    fn from_str(name: &str) -> Result<Self, DataError> {
        let plain: String = name
            .trim()
            .chars()
            .filter(|c| !matches!(c, '-' | '_' | ' '))
            .flat_map(char::to_lowercase)
            .collect();
        Ok(match plain.as_str() {
            "cola" => Self::Cola,
            "mnli" | "mnlim" | "mnlimatched" => Self::Mnli,
            "mnlimm" | "mnlimis" | "mnlimismatched" => Self::MnliMismatched,
            "mrpc" => Self::Mrpc,
            "sst2" => Self::Sst2,
            "stsb" => Self::StsB,
            "qqp" => Self::Qqp,
            "qnli" => Self::Qnli,
            "rte" => Self::Rte,
            "wnli" => Self::Wnli,
            _ => {
                return Err(DataError::UnknownTask {
                    name: name.to_owned(),
                });
            }
        })
    }
}

impl Split {
    /// The split's name: `train`, `dev` or `test`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Dev => "dev",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Split {
    type Err = DataError;

    /// Reads `train`, `dev` (also `validation`, `valid`, `val`) or `test`, in any case.
    fn from_str(name: &str) -> Result<Self, DataError> {
        Ok(match name.trim().to_ascii_lowercase().as_str() {
            "train" => Self::Train,
            "dev" | "validation" | "valid" | "val" => Self::Dev,
            "test" => Self::Test,
            _ => {
                return Err(DataError::UnknownSplit {
                    name: name.to_owned(),
                });
            }
        })
    }
}
