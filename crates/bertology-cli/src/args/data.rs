//! Which data, and what the model is scored for on them.

use std::path::PathBuf;

use bertology::data::LabelOrder;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Legacy, SequenceArgs};

/// Where the texts are.
#[derive(Debug, Clone, Default, Args, Serialize)]
pub(crate) struct SourceArgs {
    /// GLUE task: cola, mnli, mnli-mm, mrpc, sst-2, sts-b, qqp, qnli, rte or wnli.
    #[arg(long, value_name = "TASK", alias = "task-name", help_heading = "Data")]
    pub(crate) task: Option<String>,
    /// The task's folder, or the GLUE folder above it; with --text-column a .tsv, .csv or .jsonl.
    #[arg(long, value_name = "PATH", alias = "data-dir", help_heading = "Data")]
    pub(crate) data: Option<PathBuf>,
    /// GLUE: train, dev or test [default: dev].
    #[arg(long, value_name = "SPLIT", help_heading = "Data")]
    pub(crate) split: Option<String>,
    /// Plain text, one document a line unless --documents says otherwise; no labels.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    #[arg(conflicts_with_all = ["task", "data", "text_column", "token_ids"])]
    pub(crate) text: Option<PathBuf>,
    /// What is one document of --text [default: line; for .fasta, .fa and .faa: fasta].
    #[arg(long, value_name = "UNIT", help_heading = "Data", requires = "text")]
    pub(crate) documents: Option<DocumentsArg>,
    /// Ready token ids in place of texts: integers, one document a line.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    #[arg(conflicts_with_all = ["task", "data", "text_column"])]
    pub(crate) token_ids: Option<PathBuf>,
    /// Own table: the column of the text (name or zero-based number); with --ner that of the words [default:
    /// tokens, or the first].
    #[arg(long, value_name = "COLUMN", help_heading = "Data")]
    pub(crate) text_column: Option<String>,
    /// Own table: the column of the second text.
    #[arg(
        long,
        value_name = "COLUMN",
        help_heading = "Data",
        requires = "text_column"
    )]
    pub(crate) pair_column: Option<String>,
    /// Own table: the column of the label; with --ner that of the words' labels [default: ner_tags, or the last].
    #[arg(long, value_name = "COLUMN", help_heading = "Data")]
    pub(crate) label_column: Option<String>,
    /// Own table (.tsv, .csv): whether line 1 names the columns [default: yes if a column is given by name,
    /// else as the first rows look].
    #[arg(
        long,
        value_name = "YES/NO",
        help_heading = "Data",
        requires = "text_column"
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) header: Option<HeaderArg>,
    /// For a model that does not name its classes: the label of class 0, of class 1, and so on, as the
    /// file writes them, with commas between.
    #[arg(
        long,
        value_name = "LABELS",
        help_heading = "Data",
        value_delimiter = ','
    )]
    #[arg(conflicts_with_all = ["swapped_mnli_labels", "text", "token_ids"])]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) label_order: Vec<String>,
    /// Labels of MNLI as transformers orders them for RoBERTa: contradiction, neutral, entailment.
    #[arg(long, help_heading = "Data")]
    pub(crate) swapped_mnli_labels: bool,
    /// Stop after so many examples (rows or documents).
    #[arg(long, value_name = "N", help_heading = "Data")]
    pub(crate) limit: Option<usize>,
}

/// Which examples, and what the model is scored for on them.
#[derive(Debug, Clone, Default, Args, Serialize)]
pub(crate) struct DataArgs {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) source: SourceArgs,
    /// For token classifiers, sentences whose words have labels: an object a sentence (.json, .jsonl), lists in
    /// two columns (.csv), or a word a line as at CoNLL (any other name).
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    #[arg(conflicts_with_all = ["task", "data", "split", "text", "documents", "token_ids", "pair_column", "header"])]
    #[arg(conflicts_with_all = ["squad", "objective", "swapped_mnli_labels"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ner: Option<PathBuf>,
    /// For question answering: SQuAD 1.1 or 2.0, or an object a question with question, context and answers.
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    #[arg(conflicts_with_all = ["task", "data", "split", "text", "documents", "token_ids", "text_column"])]
    #[arg(conflicts_with_all = ["pair_column", "label_column", "header", "label_order", "objective"])]
    #[arg(conflicts_with = "swapped_mnli_labels")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) squad: Option<PathBuf>,
    /// Tokens of a context that two windows of it share [default: 128].
    #[arg(long, value_name = "N", help_heading = "Sequences", requires = "squad")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) doc_stride: Option<usize>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) sequence: SequenceArgs,
    /// What the model is scored for [default: what its head was made for].
    #[arg(long, value_name = "WHAT", help_heading = "Objective")]
    pub(crate) objective: Option<ObjectiveArg>,
    /// mlm: chance of each token to be predicted; 0 is --unmasked [default: 0.15].
    #[arg(
        long,
        value_name = "P",
        help_heading = "Objective",
        allow_negative_numbers = true
    )]
    pub(crate) mlm_probability: Option<f64>,
    /// mlm: leave the text as it is, and predict every token.
    #[arg(long, help_heading = "Objective", conflicts_with = "mlm_probability")]
    pub(crate) unmasked: bool,
    /// mlm: seed of the choice of tokens [default: 42].
    #[arg(long, value_name = "SEED", help_heading = "Objective")]
    #[serde(skip)]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) legacy: Legacy,
}

/// Whether the first line of a table is its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HeaderArg {
    /// It is.
    Yes,
    /// It is an example.
    No,
}

impl DataArgs {
    /// The same reading of another file, or of another folder of GLUE's.
    pub(crate) fn of_file(mut self, path: PathBuf) -> Self {
        let source = &mut self.source;
        let places = [
            &mut self.ner,
            &mut self.squad,
            &mut source.text,
            &mut source.token_ids,
        ];
        let place = places.into_iter().find(|place| place.is_some());
        *place.unwrap_or(&mut source.data) = Some(path);
        self
    }
}

impl SourceArgs {
    /// What the classes of a model that does not name them are.
    pub(crate) fn order(&self) -> LabelOrder {
        match (&self.label_order, self.swapped_mnli_labels) {
            (_, true) => LabelOrder::SwappedMnli,
            (labels, false) if labels.is_empty() => LabelOrder::Task,
            (labels, false) => LabelOrder::Given(labels.clone()),
        }
    }
}

/// What is one document of plain text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DocumentsArg {
    /// Every line that is not blank.
    Line,
    /// Lines between blank ones.
    Paragraph,
    /// The whole file.
    File,
    /// A sequence of residues: what stands behind a line that begins with `>`.
    Fasta,
}

/// What the model is scored for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ObjectiveArg {
    /// The labels of the data.
    Label,
    /// The next token: GPT and GPT-2 with a language-model head.
    Lm,
    /// Hidden tokens: BERT and RoBERTa with a masked-language-model head.
    Mlm,
}
