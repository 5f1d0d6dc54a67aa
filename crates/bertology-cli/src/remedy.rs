//! What would do about a fault, in the options of this command.
//!
//! The library says what is wrong and what would do in its own terms, and knows no options: it is called from
//! other programs, too.

use bertology::checkpoint;
use bertology::data::DataError;
use bertology::data::edge::RecordFault;
use bertology::data::edge::convert::ConvertFault;
use bertology::extract::ExtractError;
use bertology::hub::{HubError, NotCachedReason};
use bertology::tokenizer::TokenizerError;
use bertology::{Error, Objective, SearchError, model};

use crate::run_folder::PART;

const OPENED_SO: &str = "extract, patterns, syntax, coref, cluster, distance, relations, contacts, view and prune --heads open it so of themselves";
const IDS_FROM_PYTHON: &str =
    "`bertology extract MODEL --token-ids FILE --hidden-states all` takes them, one text a line";

/// A clause for the end of the library's sentence, where an option is the way out.
pub(crate) fn remedy(error: &Error) -> Option<&'static str> {
    match error {
        Error::Example { source, .. } => remedy(source),
        Error::Checkpoint(error) | Error::Model(model::Error::Checkpoint(error)) => {
            of_checkpoint(error)
        }
        Error::Onnx(bertology::onnx::Error::Checkpoint(error)) => of_checkpoint(error),
        Error::Onnx(bertology::onnx::Error::Exists { .. }) => Some("--overwrite replaces it"),
        Error::Hub(error) => of_hub(error),
        #[cfg(feature = "code")]
        Error::Code(error) => of_code(error),
        Error::Data(error) => of_data(error),
        Error::NoClassifier {
            scored: Some(Objective::CausalLm { .. } | Objective::MaskedLm { .. }),
            ..
        } => Some("plain text is named with --text FILE, and scored without --objective label"),
        Error::NoClassifier { .. } => {
            Some("extract, patterns, cluster, view and prune --heads need no head")
        }
        Error::NothingSaid { .. } => Some(
            "`bertology finetune` trains one, `bertology evaluate` scores language models (--text) and question answering \
             (--squad), and `bertology view` shows which words a language model expects",
        ),
        Error::NoLabels { .. } => Some(
            "--label-column COLUMN names it, --split dev is GLUE's with labels, --objective mlm or lm scores a language \
             model; `bertology patterns`, `cluster` and `extract` need none, unless they are asked for gradients",
        ),
        Error::NoTokenizer { source, .. }
            if matches!(**source, TokenizerError::PythonOnly { .. }) =>
        {
            Some(IDS_FROM_PYTHON)
        }
        Error::Tokenizer(TokenizerError::PythonOnly { .. }) => Some(IDS_FROM_PYTHON),
        Error::LabelsForLm { .. } => Some(
            "leave --task or --label-column out and name the text with --text FILE, or with --data FILE \
             --text-column COLUMN",
        ),
        Error::ManyValues { .. } => Some(
            "`bertology patterns` and `cluster` do the one, `extract --hidden-states all --objective logit:K \
             --gradients` the other, K from 0",
        ),
        Error::NoObjective { .. } => Some(
            "--objective label, lm or mlm names it; without a head `bertology patterns`, `cluster` and `extract` look \
             at the encoder",
        ),
        Error::WrongObjective { .. } => Some("--objective chooses it"),
        Error::OtherData { needs, .. } => of_other_data(*needs),
        Error::LongQuestion { .. } => Some("say --max-length N or --doc-stride N"),
        Error::StrideOfQuestions { .. } => Some("say --doc-stride N in the place of --stride"),
        Error::NoSpecialToken { token: "mask", .. } => Some("say --unmasked"),
        Error::NoSpecialToken { .. } => Some("leave --bos out"),
        Error::PairOfTexts => Some("leave --pair-column out"),
        Error::RelativeThreshold { .. } => {
            Some("say --threshold-mode drop or absolute, with --threshold X, or --max-drop 1pt")
        }
        Error::Search(SearchError::NeverMissed { .. }) => {
            Some("--heads-left N and --keep SHARE mask so many heads whatever the score")
        }
        Error::Search(SearchError::TooFewHeads { .. }) => {
            Some("--min-heads-per-layer says how many")
        }
        Error::Extract(error) => match **error {
            ExtractError::MissingShard { .. } => Some("say --overwrite in the place of --resume"),
            ExtractError::NoValues => Some("--hidden-states all adds them"),
            _ => None,
        },
        Error::StateImpossible { .. } => Some("start again with --overwrite"),
        Error::NotInParts { .. } => Some("leave --part out"),
        Error::TooLong { .. } => Some("say --max-length N, or another --too-long"),
        Error::LongRecord { .. } => {
            Some("say --max-length N, --too-long drop or --too-long window")
        }
        Error::LongPair { .. } => Some("say --too-long cut"),
        Error::StrideOfNothing { .. } => {
            Some("leave --stride out, or where texts have no labels say --too-long window")
        }
        Error::NoTargets { .. } => {
            Some("--bos puts such a token before each text, where the tokenizer has one")
        }
        Error::Model(model::Error::NotFinite { .. }) => {
            Some("`extract --allow-nonfinite` writes such values as they are")
        }
        Error::MapsTooLarge { .. } => {
            Some("say --max-length N --too-long cut, --rows N or --memory GIB")
        }
        _ => None,
    }
}

#[cfg(feature = "code")]
fn of_code(error: &bertology_code::CodeError) -> Option<&'static str> {
    use bertology_code::{CodeError as E, LineFault, Refusal};
    match error {
        E::UnknownExtension { .. }
        | E::Line {
            fault: LineFault::NoLanguage | LineFault::UnknownLanguage { .. },
            ..
        } => Some("--language NAME says it"),
        E::Refused { refusal, .. } => match refusal {
            Refusal::Faulty { .. } => Some("--keep-errors takes it all the same"),
            Refusal::NoTokens => Some("say another --input"),
            _ => None,
        },
        _ => None,
    }
}

/// How data are named that a head is scored on.
fn of_other_data(needs: Objective) -> Option<&'static str> {
    match needs {
        Objective::Tags => Some(
            "importance, ablate, evaluate, mask, prune, compress and judge take them as --ner FILE",
        ),
        Objective::Answers => Some(
            "importance, ablate, evaluate, mask, prune, compress and judge take them as --squad FILE",
        ),
        Objective::Labels => Some(
            "name them with --task NAME --data FOLDER, or --data FILE --text-column COLUMN --label-column COLUMN",
        ),
        Objective::CausalLm { .. } | Objective::MaskedLm { .. } => {
            Some("name them with --text FILE")
        }
        _ => None,
    }
}

fn of_checkpoint(error: &checkpoint::Error) -> Option<&'static str> {
    use checkpoint::Error as E;
    match error {
        E::Unexpected { .. } | E::Untied { .. } | E::TwoBiases { .. } => {
            Some("say --allow-unexpected")
        }
        E::UnsupportedTask { .. } | E::AmbiguousTask { .. } | E::MissingHead { .. } => {
            Some(OPENED_SO)
        }
        E::OutputExists { .. } => Some("say --overwrite"),
        _ => None,
    }
}

fn of_hub(error: &HubError) -> Option<&'static str> {
    match error {
        HubError::RevisionOfFolder { .. } => Some("--revision is for models of the hub"),
        HubError::NoCacheFolder => Some("--cache-dir DIR names one"),
        HubError::NotCached {
            reason: NotCachedReason::Offline,
            ..
        } => Some("--offline turns that mode on, too"),
        _ => None,
    }
}

fn of_data(error: &DataError) -> Option<&'static str> {
    match error {
        DataError::UnknownTask { .. } | DataError::NotAFolder { .. } => {
            Some("--text-column and --label-column name them")
        }
        DataError::UnknownLabel { known, .. } if unnamed(known) => {
            Some("--label-order says what the classes are, from 0 on")
        }
        DataError::HeaderUnclear { .. } => Some("--header yes or --header no says it"),
        DataError::NoSuchNumber { .. } => Some("--header yes says that line 1 names the columns"),
        DataError::OrderNotApplicable { .. } => Some("--label-order gives it"),
        DataError::SwapNotApplicable { .. } => Some("leave --swapped-mnli-labels out"),
        DataError::MissingFile { .. } => Some("--split chooses it"),
        DataError::Unlabelled { .. } => Some("say --split dev or --label-column COLUMN"),
        DataError::LabelCount { .. } => Some("--task names it"),
        DataError::Record { fault, .. } => match **fault {
            RecordFault::NotWritten => Some("say --input words"),
            RecordFault::SpanNumber { .. } => Some("--one-span takes no notice of second spans"),
            _ => None,
        },
        DataError::Convert { fault, .. } => match **fault {
            ConvertFault::Multiword { .. } => Some("leave --published-faults out"),
            _ => None,
        },
        _ => None,
    }
}

/// Whether the model has made-up names for its classes.
pub(crate) fn unnamed(labels: &[String]) -> bool {
    let mut labels = labels.iter().enumerate();
    labels.all(|(id, label)| *label == format!("LABEL_{id}"))
}

/// The same for what pages are made of.
pub(crate) fn of_pages(error: &bertology_report::Error) -> Option<&'static str> {
    use bertology_report::Error as E;
    use bertology_run::RunError;
    match error {
        E::Run(RunError::NotARun { folder }) if folder.join(PART).exists() => {
            Some("it is a part, and `bertology merge` makes a run of all parts")
        }
        E::Run(RunError::NotARun { .. }) => {
            Some("the command that began the run finishes it with --resume")
        }
        E::NothingOfHeads { command, .. } if command == "edge-probe" => Some(
            "its numbers are of layers: `bertology report` shows them, `bertology compare` holds two such runs against each other",
        ),
        E::TooLarge { texts: 2.., .. } => Some(
            "give fewer texts, choose fewer heads with --layers or --heads, cut the texts with --max-length, or raise --size-limit",
        ),
        E::TooLarge { .. } => Some(
            "choose fewer with --layers or --heads, cut the text with --max-length, or raise --size-limit",
        ),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn the_option_depends_on_what_is_missing() {
        let lacks = |token| Error::NoSpecialToken {
            path: PathBuf::new(),
            token,
            hint: "",
        };
        assert_eq!(remedy(&lacks("mask")), Some("say --unmasked"));
        assert_eq!(remedy(&lacks("beginning-of-text")), Some("leave --bos out"));
    }

    #[test]
    fn an_error_within_another_has_its_remedy() {
        let path = PathBuf::new;
        let unexpected = || checkpoint::Error::Unexpected {
            path: path(),
            names: Vec::new(),
        };
        let found = remedy(&unexpected().into()).unwrap();
        assert!(found.contains("--allow-unexpected"), "{found}");
        let inner = model::Error::from(unexpected());
        assert_eq!(remedy(&inner.into()), Some(found));
        let line = Error::Example {
            path: path(),
            line: 2,
            source: Box::new(Error::PairOfTexts),
        };
        assert_eq!(remedy(&line), Some("leave --pair-column out"));
        assert_eq!(remedy(&Error::NoExamples), None);
        let shard = ExtractError::MissingShard { path: path() };
        let found = remedy(&Error::Extract(Box::new(shard)));
        assert_eq!(found, Some("say --overwrite in the place of --resume"));
    }
}
