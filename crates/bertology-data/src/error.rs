//! What can be wrong with data, and with scoring it. Every message says what, where, and what to do.

use std::io;
use std::path::PathBuf;

use bertology_error::Kind;

use crate::conllu::TreebankFault;
use crate::edge::RecordFault;
use crate::edge::convert::ConvertFault;
use crate::relations::RelationFault;
use crate::task::{Split, Task};

mod metric;

pub use metric::MetricError;

/// A fault of a data file, of the request for it, or of a label in it.
///
/// Lines are counted from 1, bytes within a line from 1, columns from 0.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// No GLUE task has this name.
    #[error(
        "unknown GLUE task `{name}`; expected one of cola, mnli, mnli-mm, mrpc, sst-2, sts-b, qqp, \
         qnli, rte, wnli (of other data, name the columns)"
    )]
    UnknownTask {
        /// The name as given.
        name: String,
    },
    /// No split has this name.
    #[error("unknown split `{name}`; expected train, dev or test")]
    UnknownSplit {
        /// The name as given.
        name: String,
    },
    /// The data folder does not exist.
    #[error("{path}: no such folder; give the task's folder or the GLUE folder above it", path = path.display())]
    NoSuchFolder {
        /// The folder as given.
        path: PathBuf,
    },
    /// A file was given where GLUE's folder is expected.
    #[error(
        "{path} is a file, but GLUE data is read from a folder; give the folder, or name the \
         file's columns", path = path.display()
    )]
    NotAFolder {
        /// The path as given.
        path: PathBuf,
    },
    /// None of the names under which the split may be stored exists.
    #[error("no {split} file of {task} found; tried {}{hint}", list_paths(tried))]
    MissingFile {
        /// The task asked for.
        task: Task,
        /// The split asked for.
        split: Split,
        /// Every path that was tried, in order.
        tried: Vec<PathBuf>,
        /// What may be done, or empty.
        hint: &'static str,
    },
    /// The format of an own data file cannot be told from its name.
    #[error(
        "{path}: cannot tell the format from the file's name; expected .tsv, .csv or .jsonl (a \
         JSON array must be rewritten with one object a line)", path = path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// A limit of 0 examples was asked for.
    #[error("a limit of 0 examples reads nothing; give at least 1, or no limit")]
    ZeroLimit,
    /// A pipe or a device, which cannot be read twice.
    #[error(
        "{path}: not a regular file, but data are read more than once; save them in a file first",
        path = path.display()
    )]
    NotAFile {
        /// The path as given.
        path: PathBuf,
    },
    /// The file is not what it was when it was first read.
    #[error(
        "{path}: the file changed while it was in use; start again with a file that stays as it is",
        path = path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused to open or read the file.
    #[error("{path}: cannot read the file: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file has no bytes, or only blank lines.
    #[error("{path}: the file is empty; expected examples, one a line", path = path.display())]
    EmptyFile {
        /// The file.
        path: PathBuf,
    },
    /// The file ends after its header.
    #[error("{path}: the file has only a header and no examples", path = path.display())]
    OnlyHeader {
        /// The file.
        path: PathBuf,
    },
    /// Every row was skipped.
    #[error(
        "{path}: not one example could be read; all {skipped} rows were skipped, the first in line \
         {line}: {reason}", path = path.display()
    )]
    AllSkipped {
        /// The file.
        path: PathBuf,
        /// How many rows were skipped.
        skipped: u64,
        /// Line of the first one.
        line: u64,
        /// Why the first one was skipped.
        reason: String,
    },
    /// The first line of a GLUE file that must have a header is an example.
    #[error(
        "{path}, line 1: the {task} file must start with a header, but column {column} holds the \
         label `{found}`; put the header back, or the first example would be lost", path = path.display()
    )]
    NoHeader {
        /// The file.
        path: PathBuf,
        /// The task whose layout is expected.
        task: Task,
        /// Zero-based column of the label.
        column: usize,
        /// What was found there.
        found: String,
    },
    /// A row has another number of columns than its file must have.
    #[error(
        "{path}, line {line}: {}, expected {expected} ({why}); check for a missing \
         field or a separator inside a text", plural(*found, "column"), path = path.display()
    )]
    ColumnCount {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// Columns found.
        found: usize,
        /// Columns expected, such as `4` or `at least 5`.
        expected: String,
        /// Where the expectation comes from.
        why: String,
    },
    /// A line is longer than the reader's limit.
    #[error(
        "{path}, line {line}: longer than {limit} bytes; a quote that is never closed or the wrong \
         format does this, else raise the limit", path = path.display()
    )]
    LineTooLong {
        /// The file.
        path: PathBuf,
        /// The line (for CSV: the first line of the record).
        line: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// A document of several lines is longer than the reader's limit.
    #[error(
        "{path}, line {line}: the document that begins here is longer than {limit} bytes; divide it \
         by lines (one document a line) or by blank lines, or split the file", path = path.display()
    )]
    DocumentTooLong {
        /// The file.
        path: PathBuf,
        /// First line of the document.
        line: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// A file of sequences is not FASTA.
    #[error("{path}, line {line}: not FASTA: {problem}", path = path.display())]
    Fasta {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A file of token ids holds something else.
    #[error(
        "{path}, line {line}: `{found}` (value {column} of the line, from 1) is not a token id; \
         expected integers from 0 up, separated by spaces (a text is given as a text, not as ids)",
        path = path.display()
    )]
    NotATokenId {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// Which value of the line, from 1.
        column: usize,
        /// The value as written, cut to 40 characters.
        found: String,
    },
    /// A line is not UTF-8.
    #[error(
        "{path}, line {line}: not UTF-8 from byte {byte} of the line on; convert the file, for \
         example with `iconv -f LATIN1 -t UTF-8` or `iconv -f UTF-16 -t UTF-8`", path = path.display()
    )]
    InvalidUtf8 {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// First bad byte within the line, from 1.
        byte: usize,
    },
    /// A line holds a NUL byte.
    #[error(
        "{path}, line {line}: a NUL byte at byte {byte} of the line; the file is binary, damaged or \
         UTF-16 (`iconv -f UTF-16 -t UTF-8` converts it)", path = path.display()
    )]
    NulByte {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// The byte within the line, from 1.
        byte: usize,
    },
    /// A sentence of a treebank, or the coreference in it, cannot be used.
    #[error("{path}, line {line}{}: {fault}", of_sentence(sentence.as_deref()), path = path.display())]
    Treebank {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// Its `sent_id`, if it has one.
        sentence: Option<String>,
        /// What is wrong.
        fault: Box<TreebankFault>,
    },
    /// A treebank holds no sentence.
    #[error(
        "{path}: no sentence; expected CoNLL-U, one word a line in 10 fields separated by tabs and \
         a blank line after each sentence", path = path.display()
    )]
    NoSentences {
        /// The file.
        path: PathBuf,
    },
    /// A record of labelled spans cannot be used.
    #[error("{path}, line {line}: {fault}", path = path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// What is wrong.
        fault: Box<RecordFault>,
    },
    /// A record of related units cannot be used.
    #[error("{path}, line {line}: {fault}", path = path.display())]
    Relation {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// What is wrong.
        fault: Box<RelationFault>,
    },
    /// A file of related units that relates none.
    #[error(
        "{path}: not one of the {records} records has a pair; write them into `pairs`, as \
         {{\"text\": \"Rivers carve valleys\", \"pairs\": [[0, 1, \"nsubj\"], [2, 1, \"obj\"]]}}",
        path = path.display()
    )]
    NoPairs {
        /// The file.
        path: PathBuf,
        /// Records in it.
        records: u64,
    },
    /// A file of records without a target.
    #[error(
        "{path}: not one of the {records} records has a target; write them into `targets`, as \
         {{\"text\": \"Rivers carve valleys\", \"targets\": [{{\"span1\": [0, 1], \"label\": \"NNS\"}}]}}",
        path = path.display()
    )]
    NoTargets {
        /// The file.
        path: PathBuf,
        /// How many records there are.
        records: u64,
    },
    /// A line of a corpus cannot be made a record of labelled spans.
    #[error("{path}, line {line}: {fault}", path = path.display())]
    Convert {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// What is wrong.
        fault: Box<ConvertFault>,
    },
    /// A corpus gave no record of labelled spans.
    #[error("{path}: nothing of this file became a record ({found}); {hint}", path = path.display())]
    NothingConverted {
        /// The file.
        path: PathBuf,
        /// What was found in it.
        found: String,
        /// What may be done.
        hint: &'static str,
    },
    /// A requested column is not in the header.
    #[error(
        "{path}: no {role} column `{column}`; the header has {}{}", list_names(available),
        " (a zero-based number works too)", path = path.display()
    )]
    UnknownColumn {
        /// The file.
        path: PathBuf,
        /// `text`, `pair` or `label`.
        role: &'static str,
        /// The column as asked for.
        column: String,
        /// The header's names.
        available: Vec<String>,
    },
    /// A column of a file without a header is not there, or was asked for by name.
    #[error(
        "{path}: no {role} column `{column}`; line 1 is read as an example and not as a header, so columns \
         are numbers from 0 to {}", columns.saturating_sub(1), path = path.display()
    )]
    NoSuchNumber {
        /// The file.
        path: PathBuf,
        /// `text`, `pair` or `label`.
        role: &'static str,
        /// The column as asked for.
        column: String,
        /// How many columns line 1 has.
        columns: usize,
    },
    /// Columns are asked for by number, and the first line may be their header or an example.
    #[error(
        "{path}: the columns are given by number, and whether line 1 ({}) is a header or an example cannot be \
         told; say which it is", list_names(first), path = path.display()
    )]
    HeaderUnclear {
        /// The file.
        path: PathBuf,
        /// The fields of line 1.
        first: Vec<String>,
    },
    /// The fields are separated otherwise than the file's name says.
    #[error(
        "{path}, line 1: the columns are separated by {found}, where {expected} are expected; {}",
        separator_advice(found, expected), path = path.display()
    )]
    WrongSeparator {
        /// The file.
        path: PathBuf,
        /// What separates them.
        found: &'static str,
        /// What should, by the file's name or task.
        expected: &'static str,
    },
    /// A requested column name occurs more than once in the header.
    #[error(
        "{path}: the header has {count} columns named `{column}`; name the {role} column by its \
         zero-based number instead", path = path.display()
    )]
    AmbiguousColumn {
        /// The file.
        path: PathBuf,
        /// `text`, `pair` or `label`.
        role: &'static str,
        /// The column as asked for.
        column: String,
        /// How often the header has it.
        count: usize,
    },
    /// A quoted CSV field is never closed.
    #[error(
        "{path}, line {line}: the quoted field in column {column} is never closed; write a quote \
         inside a quoted field twice (if quotes are plain text here, the file is a TSV)", path = path.display()
    )]
    UnclosedQuote {
        /// The file.
        path: PathBuf,
        /// First line of the record.
        line: u64,
        /// Zero-based column.
        column: usize,
    },
    /// A quote stands where RFC 4180 has none.
    #[error(
        "{path}, line {line}: a quote inside column {column} that neither opens nor closes it; \
         quote the whole field and write quotes inside it twice", path = path.display()
    )]
    StrayQuote {
        /// The file.
        path: PathBuf,
        /// First line of the record.
        line: u64,
        /// Zero-based column.
        column: usize,
    },
    /// A line of a JSON Lines file is not a JSON object.
    #[error("{path}, line {line}: not a JSON object: {reason}; write one object a line", path = path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// The parser's reason.
        reason: String,
    },
    /// A JSON object lacks a requested key.
    #[error("{path}, line {line}: no {role} key `{key}`; the object has {}", list_names(available), path = path.display())]
    MissingKey {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// `text`, `pair` or `label`.
        role: &'static str,
        /// The key as asked for.
        key: String,
        /// The keys of this object.
        available: Vec<String>,
    },
    /// A JSON value has a type that its role does not allow.
    #[error("{path}, line {line}: the {role} `{key}` is {found}, expected {expected}", path = path.display())]
    JsonType {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// `text`, `pair` or `label`.
        role: &'static str,
        /// The key.
        key: String,
        /// The kind of value found.
        found: &'static str,
        /// The kind of value expected.
        expected: &'static str,
    },
    /// A file of JSON is a document without rows.
    #[error(
        "{path}: {found} where rows are expected; write one object a line, an array of objects, or an object \
         whose `data` is such an array, as in SQuAD", path = path.display()
    )]
    NoRows {
        /// The file.
        path: PathBuf,
        /// What stands there.
        found: &'static str,
    },
    /// A sentence has more words than labels, or fewer.
    #[error(
        "{path}, line {line}: {} and {}; every word has one label", plural(*words, "word"),
        plural(*tags, "label"), path = path.display()
    )]
    TagCount {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// Words of the sentence.
        words: usize,
        /// Labels of the sentence.
        tags: usize,
    },
    /// An answer does not lie in its text.
    #[error(
        "{path}, line {line}: an answer to question `{id}` begins at character {start} and ends behind its text \
         of {}; answer_start counts characters of `context` from 0", plural(*characters, "character"),
        path = path.display()
    )]
    AnswerBeyond {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// The question's name.
        id: String,
        /// Where the answer begins.
        start: usize,
        /// Characters of the text.
        characters: usize,
    },
    /// The label field is empty.
    #[error("{path}, line {line}: the label is empty; fill it in or remove the row", path = path.display())]
    EmptyLabel {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
    },
    /// A label is needed but the example has none.
    #[error(
        "{path}, line {line}: the example has no label; use the dev split (GLUE publishes no test \
         labels), or name the column that holds it", path = path.display()
    )]
    Unlabelled {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
    },
    /// The label is not one of the model's.
    #[error(
        "{path}, line {line}: the label `{label}` is not one of the model's labels: {}; {hint}",
        list_names(known), path = path.display()
    )]
    UnknownLabel {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// The label as written.
        label: String,
        /// The labels that are known, in the order of the model's ids.
        known: Vec<String>,
        /// What may be done.
        hint: String,
    },
    /// The label of a regression task is not a finite number.
    #[error("{path}, line {line}: the label `{label}` is not a finite number, which regression needs", path = path.display())]
    NotANumber {
        /// The file.
        path: PathBuf,
        /// The line.
        line: u64,
        /// The label as written.
        label: String,
    },
    /// The model has another number of outputs than the task.
    #[error(
        "the model has {found} outputs, but {task} needs {expected}; use a model fine-tuned on \
         {task}, or another task"
    )]
    LabelCount {
        /// The task.
        task: Task,
        /// Outputs that the task needs.
        expected: usize,
        /// Outputs (labels) that the model has.
        found: usize,
    },
    /// The model names no label at all.
    #[error("the model has no labels; a classifier is needed")]
    NoModelLabels,
    /// Two outputs of the model have the same name.
    #[error(
        "the model gives the ids {first} and {second} the same label `{label}`; correct id2label in its config.json"
    )]
    DuplicateModelLabel {
        /// The name.
        label: String,
        /// Lower id.
        first: usize,
        /// Higher id.
        second: usize,
    },
    /// An order of the labels was given that cannot apply.
    #[error("the order of the labels cannot be used: {reason}")]
    OrderNotApplicable {
        /// Why.
        reason: String,
    },
    /// The swapped label order was asked for where it cannot apply.
    #[error("the swapped MNLI label order cannot be used: {reason}")]
    SwapNotApplicable {
        /// Why.
        reason: String,
    },
}

impl DataError {
    /// Whose fault it was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            // The labels are those of the model's config.json.
            Self::Io { .. } | Self::Changed { .. } | Self::DuplicateModelLabel { .. } => {
                Kind::Environment
            }
            Self::UnknownTask { .. }
            | Self::UnknownSplit { .. }
            | Self::NoSuchFolder { .. }
            | Self::NotAFolder { .. }
            | Self::MissingFile { .. }
            | Self::UnknownFormat { .. }
            | Self::ZeroLimit
            | Self::NotAFile { .. }
            | Self::EmptyFile { .. }
            | Self::OnlyHeader { .. }
            | Self::AllSkipped { .. }
            | Self::NoHeader { .. }
            | Self::ColumnCount { .. }
            | Self::LineTooLong { .. }
            | Self::DocumentTooLong { .. }
            | Self::Fasta { .. }
            | Self::NotATokenId { .. }
            | Self::InvalidUtf8 { .. }
            | Self::NulByte { .. }
            | Self::Treebank { .. }
            | Self::NoSentences { .. }
            | Self::Record { .. }
            | Self::Relation { .. }
            | Self::NoPairs { .. }
            | Self::NoTargets { .. }
            | Self::Convert { .. }
            | Self::NothingConverted { .. }
            | Self::UnknownColumn { .. }
            | Self::NoSuchNumber { .. }
            | Self::HeaderUnclear { .. }
            | Self::WrongSeparator { .. }
            | Self::AmbiguousColumn { .. }
            | Self::UnclosedQuote { .. }
            | Self::StrayQuote { .. }
            | Self::Json { .. }
            | Self::MissingKey { .. }
            | Self::JsonType { .. }
            | Self::NoRows { .. }
            | Self::TagCount { .. }
            | Self::AnswerBeyond { .. }
            | Self::EmptyLabel { .. }
            | Self::Unlabelled { .. }
            | Self::UnknownLabel { .. }
            | Self::NotANumber { .. }
            | Self::LabelCount { .. }
            | Self::NoModelLabels
            | Self::OrderNotApplicable { .. }
            | Self::SwapNotApplicable { .. } => Kind::Input,
        }
    }
}

/// `1 field`, `2 fields`.
pub(crate) fn plural(count: usize, noun: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{s}")
}

fn of_sentence(id: Option<&str>) -> String {
    id.map_or_else(String::new, |id| format!(", sentence `{id}`"))
}

fn list_paths(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    names.join(", ")
}

/// A step that makes the file readable.
fn separator_advice(found: &str, expected: &str) -> &'static str {
    match (found, expected) {
        ("tabs", "commas") => "give the file a name that ends in .tsv",
        ("commas", "tabs") => {
            "give the file a name that ends in .csv (the files of GLUE: write it with tabs)"
        }
        _ => "write the file with tabs (.tsv) or commas (.csv)",
    }
}

/// At most this many names are spelled out in a message.
const MAX_LISTED: usize = 20;

fn list_names(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    let mut listed: Vec<String> = names
        .iter()
        .take(MAX_LISTED)
        .map(|name| format!("`{name}`"))
        .collect();
    if names.len() > MAX_LISTED {
        listed.push(format!("and {} more", names.len() - MAX_LISTED));
    }
    listed.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_are_the_input_and_the_disk_is_the_surroundings() {
        let path = PathBuf::from("dev.tsv");
        let source = io::ErrorKind::PermissionDenied.into();
        let io = DataError::Io { path, source };
        assert_eq!(io.kind(), Kind::Environment);
        assert_eq!(DataError::ZeroLimit.kind(), Kind::Input);
        let label = DataError::DuplicateModelLabel {
            label: "yes".to_owned(),
            first: 0,
            second: 1,
        };
        assert_eq!(label.kind(), Kind::Environment);
    }
}
