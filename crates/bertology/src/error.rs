//! What a study refuses, with the evidence.

use std::path::PathBuf;

use bertology_data::{DataError, MetricError};
use bertology_error::Kind;
use bertology_model::HeadId;
use bertology_tokenizer::TokenizerError;

use crate::objective::Objective;

pub use extract::ExtractError;
pub use reference::{Place, ReferenceError};
pub use search::SearchError;
pub use vocabulary::VocabularyError;

mod extract;
mod reference;
mod search;
mod vocabulary;

/// Why a study could not be made. Each message is complete in itself; `source()` leads to the error
/// beneath where there is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] bertology_checkpoint::Error),
    /// A model's name could not be turned into a folder.
    #[error(transparent)]
    Hub(#[from] bertology_hub::HubError),
    /// The tokenizer cannot be read, or cannot express a text.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The data cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Programs cannot be read.
    #[cfg(feature = "code")]
    #[error(transparent)]
    Code(#[from] bertology_code::CodeError),
    /// The predictions cannot be scored.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// The engine refused.
    #[error(transparent)]
    Model(#[from] bertology_model::Error),
    /// There is no such device.
    #[error("{device} cannot be used: {reason}; everything runs on the processor, too")]
    NoDevice {
        /// What was asked for.
        device: String,
        /// What the system says.
        reason: String,
    },
    /// The checkpoint cannot be written as ONNX.
    #[error(transparent)]
    Onnx(#[from] bertology_onnx::Error),
    /// A reference file cannot be compared with the model.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// Nothing can be extracted.
    #[error(transparent)]
    Extract(Box<ExtractError>),
    /// Heads are searched in vain.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// A vocabulary cannot become smaller.
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
    /// One example cannot be put through the model.
    #[error("{}, line {line}: {source}", path.display())]
    Example {
        /// The data file.
        path: PathBuf,
        /// Its line, from 1.
        line: u64,
        /// What is wrong.
        source: Box<Error>,
    },
    /// A loss, logit or gradient is infinite or not a number.
    #[error(
        "the {what} is {value}, which is not a finite number; the weights hold such values or the \
         model overflows on this example, so no score can be trusted"
    )]
    NotFinite {
        /// `loss`, `logit 1`, `gradient of L0H3` or the like.
        what: String,
        /// The value.
        value: f64,
    },
    /// The data file changed between two passes.
    #[error(
        "{}: the file changed while it was in use: {before} examples at first, {now} now; \
         start again with a file that stays as it is", path.display()
    )]
    DataChanged {
        /// The data file.
        path: PathBuf,
        /// Examples at first.
        before: u64,
        /// Examples in this pass.
        now: u64,
    },
    /// The model has no head that gives a loss for labelled examples.
    #[error(
        "{}: the model has {found}, but labelled examples need a sequence classifier (or a \
         regression head); take a fine-tuned checkpoint, or score a language model on plain text", path.display()
    )]
    NoClassifier {
        /// The model's folder.
        path: PathBuf,
        /// What the model has.
        found: &'static str,
        /// What that is scored for, if it is scored at all.
        scored: Option<Objective>,
    },
    /// The model has no head that says something of a text or its words.
    #[error(
        "{}: the model has {found}, which gives texts neither a class nor a number; predictions need a classifier of texts \
         or of tokens, or a regression head: take a fine-tuned checkpoint",
        path.display()
    )]
    NothingSaid {
        /// The model's folder.
        path: PathBuf,
        /// What the model has.
        found: &'static str,
    },
    /// A regression of several numbers a text.
    #[error(
        "{}: the model is a regression head of {outputs} outputs, and its loss would need as many numbers for \
         each text where data have one label; study its attention, which needs no labels, or the gradients of \
         one output",
        path.display()
    )]
    ManyValues {
        /// The model's folder.
        path: PathBuf,
        /// Its outputs.
        outputs: usize,
    },
    /// The task and the head disagree about what a label is.
    #[error(
        "{}: the data have {data} labels, but the model has {found}; take a checkpoint that was \
         fine-tuned for this task", path.display()
    )]
    WrongProblem {
        /// The model's folder.
        path: PathBuf,
        /// `class` or `number`.
        data: &'static str,
        /// What the model has.
        found: &'static str,
    },
    /// A file without a single text.
    #[error("{}: there is no text in this file", path.display())]
    NoTexts {
        /// The file.
        path: PathBuf,
    },
    /// A treebank without coreference.
    #[error(
        "{}: no mention of any entity in this treebank; coreference is read from Entity= in the column MISC, as in \
         CorefUD and GUM", path.display()
    )]
    NoMentions {
        /// The file.
        path: PathBuf,
    },
    /// The data have no labels.
    #[error(
        "{}: these data have no labels, which {found} needs; take a split with labels, name the \
         column that holds them, or score a language model, if {} holds the head for it", path.display(), model.display()
    )]
    NoLabels {
        /// The data file.
        path: PathBuf,
        /// The model's folder.
        model: PathBuf,
        /// What the model has.
        found: &'static str,
    },
    /// The data have labels, but a language model is scored on text alone.
    #[error(
        "{}: these data are read with labels, but the model has {found}, which is scored on text \
         alone; give the text without labels, or take a fine-tuned classifier to use the labels", path.display()
    )]
    LabelsForLm {
        /// The data file.
        path: PathBuf,
        /// What the model has.
        found: &'static str,
    },
    /// The model has no head that gives a loss for any data.
    #[error(
        "{}: the model has {found}, which gives no loss for texts or labels; take a checkpoint with a \
         classifier or a language-model head, or name the objective if the checkpoint holds \
         another head", path.display()
    )]
    NoObjective {
        /// The model's folder.
        path: PathBuf,
        /// What the model has.
        found: &'static str,
    },
    /// The data are not what the head is scored on.
    #[error(
        "{}: these data are {holds}, but the model has {found}, which is scored on {}; take such data, or a \
         checkpoint for these", path.display(), needs.data()
    )]
    OtherData {
        /// The data file.
        path: PathBuf,
        /// What the examples are.
        holds: &'static str,
        /// What the model has.
        found: &'static str,
        /// What it is scored for.
        needs: Objective,
    },
    /// No sentence has a word that counts.
    #[error("{}: none of the sentences ({sentences}) has a word with a label other than -100", path.display())]
    NoLabelledWord {
        /// The data file.
        path: PathBuf,
        /// Sentences in it.
        sentences: u64,
    },
    /// A question leaves no room for the text.
    #[error(
        "a question of {question} tokens leaves room for {room} tokens of its text in a sequence of {limit}, and \
         two windows share {shared}; raise the maximum length, or let windows share less"
    )]
    LongQuestion {
        /// Tokens of the question.
        question: usize,
        /// Tokens of a text that fit beside it.
        room: usize,
        /// The longest sequence.
        limit: usize,
        /// Tokens that two windows share.
        shared: usize,
    },
    /// A stride of windows was given where they share a number of tokens.
    #[error(
        "a stride of {stride}: the step from window to window depends on the length of the question, and what is \
         chosen is how many tokens of the text two windows share"
    )]
    StrideOfQuestions {
        /// The stride.
        stride: usize,
    },
    /// The head gives no loss for the objective.
    #[error(
        "{}: the model has {found}, which gives no loss for {objective}; take another checkpoint or \
         another objective", path.display()
    )]
    WrongObjective {
        /// The model's folder.
        path: PathBuf,
        /// What the model has.
        found: &'static str,
        /// What was asked for.
        objective: &'static str,
    },
    /// A special token that an objective needs is not in the tokenizer or not in the model.
    #[error("{}: the tokenizer has no {token} token that the model knows; {hint}", path.display())]
    NoSpecialToken {
        /// The model's folder.
        path: PathBuf,
        /// Which one.
        token: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// A language model was given pairs of texts.
    #[error("a language model reads one text at a time; leave the second text out")]
    PairOfTexts,
    /// An input is longer than allowed, and that was to be an error.
    #[error(
        "{tokens} tokens, but the longest input is {limit}; raise the maximum length if the model \
         admits it, or let long inputs be cut or, for language models, taken in windows"
    )]
    TooLong {
        /// Tokens of the input.
        tokens: usize,
        /// The most allowed.
        limit: usize,
    },
    /// A record of labelled spans is longer than allowed, and that was to be an error.
    #[error(
        "{tokens} tokens, but the longest input is {limit}; raise the maximum length if the model admits it, or let \
         targets beyond it be dropped, or a window be read around each target"
    )]
    LongRecord {
        /// Tokens of the record.
        tokens: usize,
        /// The most allowed.
        limit: usize,
    },
    /// The tokens of a word cannot be used.
    #[error(
        "word {word} (from 0), `{form}`, {reason} of this model's tokenizer; take the word or its targets out"
    )]
    WordPieces {
        /// Its number, from 0.
        word: usize,
        /// The word, cut to 40 characters.
        form: String,
        /// What is wrong with them.
        reason: &'static str,
    },
    /// A pair that would have to be read through windows.
    #[error(
        "a pair of {tokens} tokens, and the limit is {limit}; a pair cannot be taken in windows, so \
         let it be cut"
    )]
    LongPair {
        /// Tokens of the pair.
        tokens: usize,
        /// The limit.
        limit: usize,
    },
    /// A stride where nothing is taken in windows.
    #[error(
        "the stride is {stride}, but windows alone have a stride; let inputs that are too long be taken in \
         windows, or give no stride"
    )]
    StrideOfNothing {
        /// As asked for.
        stride: usize,
    },
    /// The stride is out of range.
    #[error(
        "a stride of {stride} tokens would pass over tokens or leave them without context in windows of \
         {length}; give 1 to {most}"
    )]
    Stride {
        /// As asked for.
        stride: usize,
        /// The largest that is possible.
        most: usize,
        /// Tokens of a window, special ones included.
        length: usize,
    },
    /// A token that the vocabulary does not have.
    #[error(
        "the model's vocabulary has no token `{token}`; give `tokens` as the tokenizer writes them, or words as `words`"
    )]
    NoSuchToken {
        /// The token.
        token: String,
    },
    /// A token id is beyond the model's vocabulary.
    #[error(
        "the id {id} (value {column} of the line, from 1) is beyond the model's vocabulary of \
         {vocabulary}; were these ids made with another tokenizer?"
    )]
    TokenId {
        /// The id.
        id: u32,
        /// Which value of the line, from 1.
        column: usize,
        /// Rows of the vocabulary.
        vocabulary: usize,
    },
    /// No document has a token to predict.
    #[error(
        "{}: none of the documents ({documents}) has a token to predict; a document needs two tokens \
         (one, behind a beginning-of-text token or for a masked language model)", path.display()
    )]
    NoTargets {
        /// The data file.
        path: PathBuf,
        /// Documents read.
        documents: u64,
    },
    /// The model folder has no usable tokenizer.
    #[error(
        "{}: no tokenizer of this folder can be used, and texts, masked words and kinds of tokens need one: \
         {source}", path.display()
    )]
    NoTokenizer {
        /// The model's folder.
        path: PathBuf,
        /// Why not.
        source: std::sync::Arc<TokenizerError>,
    },
    /// The maximum length exceeds the model's.
    #[error(
        "a maximum length of {requested} tokens is beyond the model's {limit}; give at most {limit}"
    )]
    MaxLength {
        /// As asked for.
        requested: usize,
        /// The model's.
        limit: usize,
    },
    /// A number that an option cannot have.
    #[error("{option} is {value}; {reason}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What would do.
        reason: &'static str,
    },
    /// A threshold relative to a score that is not above 0.
    #[error(
        "{metric} is {score} before any head is masked, and a threshold relative to a score that \
         is not above 0 means nothing; use an absolute threshold (stop below a value) or a drop \
         (stop when the score has fallen by more than an amount)"
    )]
    RelativeThreshold {
        /// The metric.
        metric: String,
        /// Its value for the whole model.
        score: f64,
    },
    /// The metric has no value before any head is masked.
    #[error(
        "{metric} is not a number before any head is masked (constant predictions or labels?), so \
         no threshold can be compared with it; use more examples or another metric"
    )]
    MetricUndefined {
        /// The metric.
        metric: String,
    },
    /// The whole model is already on the wrong side of an absolute threshold.
    #[error(
        "{metric} is {score} before any head is masked, already on the wrong side of the threshold \
         {bound}; give a threshold that the whole model passes"
    )]
    BaseFails {
        /// The metric.
        metric: String,
        /// Its value for the whole model.
        score: f64,
        /// The threshold.
        bound: f64,
    },
    /// Two partial results, or a partial result and a request, do not belong together.
    #[error("the saved state does not fit this request: {what} was {saved}, now {requested}")]
    StateMismatch {
        /// What differs.
        what: &'static str,
        /// In the state.
        saved: String,
        /// In the request.
        requested: String,
    },
    /// A saved state holds numbers that no corpus gives: it is damaged, or somebody changed it.
    #[error("the saved state is damaged: in {field}, {what}")]
    StateImpossible {
        /// Where in the state.
        field: &'static str,
        /// What cannot be.
        what: &'static str,
    },
    /// Two partial results cannot be added.
    #[error("partial results cannot be merged: {reason}")]
    Merge {
        /// Why not.
        reason: &'static str,
    },
    /// A saved state cannot be written or read back.
    #[error("the saved state cannot be used: {source}")]
    State {
        /// Where, and what is wrong.
        source: serde_json::Error,
    },
    /// A study that cannot be made part by part.
    #[error("this study cannot be made in parts: {reason}; make it whole")]
    NotInParts {
        /// Why not.
        reason: &'static str,
    },
    /// Two studies that cannot share a pass.
    #[error("these studies cannot share a pass: {reason}; make them one after the other")]
    Apart {
        /// Why not.
        reason: &'static str,
    },
    /// A value was asked for that the experiment did not keep.
    #[error("{what} was not observed; {remedy}")]
    NotObserved {
        /// The value.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A matrix that is not one of distances.
    #[error("these are no distances: {reason}")]
    Distances {
        /// Why not.
        reason: String,
    },
    /// The maps of one sequence do not fit into memory.
    #[error(
        "{tokens} tokens: to compare {heads} heads, their attention maps must be in memory at the same \
         time, {} for each thread where {} are allowed; take shorter sequences, compare \
         some rows of each, or allow more memory", size(*bytes), size(*limit)
    )]
    MapsTooLarge {
        /// Tokens of the sequence.
        tokens: usize,
        /// Heads compared.
        heads: usize,
        /// Bytes that the maps would take.
        bytes: u64,
        /// Bytes that they may take.
        limit: u64,
    },
    /// There was nothing to average.
    #[error("no example has been accumulated, so there is no result yet")]
    NoExamples,
    /// A head to leave out that is not there to begin with.
    #[error(
        "{head} is masked already, so leaving it out changes nothing; name heads that the mask keeps"
    )]
    HeadMasked {
        /// The head.
        head: HeadId,
    },
    /// The model has no heads left to study.
    #[error("{}: every head of this model is pruned away or masked, so there is nothing to {action}", path.display())]
    NoHeads {
        /// The model's folder.
        path: PathBuf,
        /// `score`, `mask`, `leave out`.
        action: &'static str,
    },
    /// A checkpoint that was just written does not compute what it should.
    #[error(
        "{}: the checkpoint just written differs from the pruned model by {difference:e} in \
         {what} (allowed {allowed:e}); do not use it, and please report this", path.display()
    )]
    Verification {
        /// The folder written.
        path: PathBuf,
        /// What was compared.
        what: &'static str,
        /// Largest absolute difference.
        difference: f64,
        /// Largest that rounding explains.
        allowed: f64,
    },
    /// A head that the mask keeps is not in the table that ranks it.
    #[error("{head} is not masked but has no score; the scores belong to another mask")]
    Unscored {
        /// The head.
        head: HeadId,
    },
    /// The one who looks on asked to stop within a pass.
    #[error("interrupted after {done} of {total} examples; what was finished is kept")]
    Interrupted {
        /// Examples of the pass accumulated.
        done: u64,
        /// Examples of the pass.
        total: u64,
    },
}

/// Sizes of which the smaller one is still told from nothing.
fn size(bytes: u64) -> String {
    let gib = bytes as f64 / f64::from(1 << 30);
    if gib < 0.1 {
        format!("{:.2} MiB", gib * 1024.0)
    } else {
        format!("{gib:.1} GiB")
    }
}

impl Error {
    /// Whose fault it was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Checkpoint(error) => error.kind(),
            Self::Hub(error) => error.kind(),
            Self::Tokenizer(error) => error.kind(),
            Self::Data(error) => error.kind(),
            #[cfg(feature = "code")]
            Self::Code(error) => error.kind(),
            Self::Metric(error) => error.kind(),
            Self::Model(error) => error.kind(),
            Self::Onnx(error) => error.kind(),
            Self::Reference(error) => error.kind(),
            Self::Extract(error) => error.kind(),
            Self::Search(error) => error.kind(),
            Self::Vocabulary(error) => error.kind(),
            Self::Example { source, .. } => source.kind(),
            Self::DataChanged { .. } | Self::NoTokenizer { .. } | Self::NoDevice { .. } => {
                Kind::Environment
            }
            Self::NotFinite { .. } => Kind::Numeric,
            Self::Interrupted { .. } => Kind::Interrupted,
            Self::Verification { .. } | Self::Unscored { .. } => Kind::Internal,
            Self::NoClassifier { .. }
            | Self::NothingSaid { .. }
            | Self::WrongProblem { .. }
            | Self::ManyValues { .. }
            | Self::NoTexts { .. }
            | Self::NoMentions { .. }
            | Self::NoLabels { .. }
            | Self::LabelsForLm { .. }
            | Self::NoObjective { .. }
            | Self::WrongObjective { .. }
            | Self::OtherData { .. }
            | Self::NoLabelledWord { .. }
            | Self::LongQuestion { .. }
            | Self::StrideOfQuestions { .. }
            | Self::NoSpecialToken { .. }
            | Self::PairOfTexts
            | Self::TooLong { .. }
            | Self::LongRecord { .. }
            | Self::WordPieces { .. }
            | Self::LongPair { .. }
            | Self::StrideOfNothing { .. }
            | Self::Stride { .. }
            | Self::TokenId { .. }
            | Self::NoSuchToken { .. }
            | Self::NoTargets { .. }
            | Self::MaxLength { .. }
            | Self::Option { .. }
            | Self::RelativeThreshold { .. }
            | Self::MetricUndefined { .. }
            | Self::BaseFails { .. }
            | Self::StateMismatch { .. }
            | Self::StateImpossible { .. }
            | Self::Merge { .. }
            | Self::State { .. }
            | Self::NotInParts { .. }
            | Self::Apart { .. }
            | Self::NotObserved { .. }
            | Self::Distances { .. }
            | Self::MapsTooLarge { .. }
            | Self::NoExamples
            | Self::HeadMasked { .. }
            | Self::NoHeads { .. } => Kind::Input,
        }
    }

    /// Refuses a saved state in which something cannot be.
    pub(crate) fn unless_possible(
        possible: bool,
        field: &'static str,
        what: &'static str,
    ) -> Result<(), Self> {
        match possible {
            true => Ok(()),
            false => Err(Self::StateImpossible { field, what }),
        }
    }

    /// A saved state that belongs to another study.
    pub(crate) fn state_mismatch<T>(
        what: &'static str,
        saved: String,
        requested: String,
    ) -> Result<T, Self> {
        Err(Self::StateMismatch {
            what,
            saved,
            requested,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_error_keeps_its_kind() {
        let blamed = |source: Error| Error::Example {
            path: PathBuf::from("dev.tsv"),
            line: 2,
            source: Box::new(source),
        };
        let wrapped = [
            (
                bertology_checkpoint::Error::NoWeights {
                    path: PathBuf::new(),
                }
                .into(),
                Kind::Environment,
            ),
            (
                bertology_hub::HubError::NoCacheFolder.into(),
                Kind::Environment,
            ),
            (DataError::ZeroLimit.into(), Kind::Input),
            (MetricError::NotANumber { index: 0 }.into(), Kind::Numeric),
            (bertology_model::Error::Stopped.into(), Kind::Interrupted),
            (ExtractError::NoValues.into(), Kind::Input),
            (
                ExtractError::NoRoom {
                    needed: 2,
                    available: 1,
                }
                .into(),
                Kind::Environment,
            ),
            (
                ReferenceError::AllZero {
                    name: "logits".to_owned(),
                }
                .into(),
                Kind::Input,
            ),
        ];
        for (error, kind) in wrapped {
            let error: Error = error;
            assert_eq!(error.kind(), kind, "{error}");
            let error = blamed(error);
            assert_eq!(error.kind(), kind, "{error}");
        }
    }

    #[test]
    fn own_errors_say_whose_fault_they_are() {
        let what = "loss".to_owned();
        let value = f64::NAN;
        assert_eq!(Error::NotFinite { what, value }.kind(), Kind::Numeric);
        assert_eq!(Error::PairOfTexts.kind(), Kind::Input);
        let (done, total) = (1, 2);
        let stopped = Error::Interrupted { done, total };
        assert_eq!(stopped.kind(), Kind::Interrupted);
        let changed = Error::DataChanged {
            path: PathBuf::from("dev.tsv"),
            before: 2,
            now: 1,
        };
        assert_eq!(changed.kind(), Kind::Environment);
    }
}
