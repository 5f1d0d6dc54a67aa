//! Which task head a checkpoint has: what its class says, or, in older files, its tensors.

use serde_json::Value;

use crate::Error;
use crate::arch::{Family, TaskHead};
use crate::config::{Config, OpenAs};

impl Family {
    /// Whether transformers has a class of the family that answers questions, with a head that is known here.
    fn answers(self) -> bool {
        !matches!(
            self,
            Self::Esm | Self::Esmc | Self::EuroBert | Self::NomicBert | Self::Gte | Self::GteNew
        )
    }
}

impl Config {
    pub(crate) fn head(
        &self,
        family: Family,
        names: &[&str],
        open_as: OpenAs,
        num_labels: usize,
    ) -> Result<TaskHead, Error> {
        let open_as = match open_as {
            OpenAs::Declared | OpenAs::DeclaredOrEncoder => match self.declared_class() {
                Some(class) => self.head_of_class(family, class)?,
                None => self.head_of_tensors(family, names)?,
            },
            asked => asked,
        };
        let no_such = |task: &str, who: &str| {
            let value = Value::from(family.config().model_type);
            let supported =
                format!("with {task}, only {who}; take another objective or another model");
            Err(self.unsupported("model_type", &value, &supported))
        };
        Ok(match (open_as, family) {
            (OpenAs::Encoder | OpenAs::Declared | OpenAs::DeclaredOrEncoder, _) => TaskHead::None,
            (OpenAs::SequenceClassification, _) => TaskHead::SequenceClassification {
                num_labels,
                problem: self.problem(num_labels)?,
            },
            (OpenAs::MaskedLm, family) if !family.config().causal => TaskHead::MaskedLm,
            (OpenAs::MaskedLm, _) => {
                return no_such(
                    "masked language modelling",
                    "BERT, RoBERTa, DistilBERT, ELECTRA, MPNet, ModernBERT, ALBERT, ESM-2, ESM-C, EuroBERT, NomicBERT, GTE and DeBERTa are",
                );
            }
            (OpenAs::CausalLm, Family::OpenAiGpt | Family::Gpt2) => TaskHead::CausalLm,
            (OpenAs::CausalLm, _) => {
                return no_such("causal language modelling", "GPT and GPT-2 are");
            }
            (OpenAs::NextSentence, Family::Bert) => TaskHead::NextSentence,
            (OpenAs::PreTraining, Family::Albert) if num_labels != 2 => {
                return Err(self.wrong(
                    "id2label",
                    format!("gives {num_labels} labels, but two segments stand in their order or do not: two"),
                ));
            }
            (OpenAs::PreTraining, Family::Bert | Family::Albert) => TaskHead::PreTraining,
            (OpenAs::PreTraining, Family::Electra) => TaskHead::ReplacedTokens,
            (OpenAs::TokenClassification | OpenAs::QuestionAnswering, Family::OpenAiGpt) => {
                return no_such("a score per token", "the other families are");
            }
            (OpenAs::QuestionAnswering, family) if !family.answers() => {
                return no_such("question answering", "the other families of text are");
            }
            (OpenAs::TokenClassification, _) => TaskHead::TokenClassification { num_labels },
            (OpenAs::QuestionAnswering, _) if num_labels != 2 => {
                return Err(self.wrong(
                    "id2label",
                    format!(
                        "gives {num_labels} labels, but an answer has two: its start and its end"
                    ),
                ));
            }
            (OpenAs::QuestionAnswering, _) => TaskHead::QuestionAnswering,
            (OpenAs::NextSentence | OpenAs::PreTraining, _) => {
                return no_such("next-sentence prediction", "BERT is");
            }
        })
    }

    fn head_of_class(&self, family: Family, class: &str) -> Result<OpenAs, Error> {
        let unsupported = || Error::UnsupportedTask {
            path: self.path().to_owned(),
            architecture: class.to_owned(),
        };
        let task = class
            .strip_prefix(family.config().class_prefix)
            .ok_or_else(unsupported)?;
        match (task, family) {
            ("Model", _) => Ok(OpenAs::Encoder),
            ("ForSequenceClassification", _) => Ok(OpenAs::SequenceClassification),
            ("ForQuestionAnswering", family) if !family.answers() => Err(unsupported()),
            ("ForTokenClassification", family) if family != Family::OpenAiGpt => {
                Ok(OpenAs::TokenClassification)
            }
            ("ForQuestionAnswering", family) if family != Family::OpenAiGpt => {
                Ok(OpenAs::QuestionAnswering)
            }
            ("ForMaskedLM", family) if !family.config().causal => Ok(OpenAs::MaskedLm),
            ("LMHeadModel", Family::OpenAiGpt | Family::Gpt2) => Ok(OpenAs::CausalLm),
            // So the code that came with the first files calls it.
            ("ForPreTraining", Family::NomicBert) => Ok(OpenAs::MaskedLm),
            ("ForNextSentencePrediction", Family::Bert) => Ok(OpenAs::NextSentence),
            ("ForPreTraining", Family::Bert | Family::Electra | Family::Albert) => {
                Ok(OpenAs::PreTraining)
            }
            _ => Err(unsupported()),
        }
    }

    /// Old files without `architectures`: the head's tensors tell.
    fn head_of_tensors(&self, family: Family, names: &[&str]) -> Result<OpenAs, Error> {
        let any = |prefix: &str| names.iter().any(|name| name.starts_with(prefix));
        let ambiguous = |evidence: &str| {
            Err(Error::AmbiguousTask {
                path: self.path().to_owned(),
                evidence: evidence.to_owned(),
            })
        };
        if any("qa_outputs.") && family != Family::OpenAiGpt {
            return Ok(OpenAs::QuestionAnswering);
        }
        // A pooler or a summary beside a lone `classifier` is that of a multiple-choice model.
        let pooled = names.iter().any(|name| name.contains("pooler."));
        let chooses = pooled || any("sequence_summary.");
        match family {
            Family::Bert => match (any("cls.predictions."), any("cls.seq_relationship.")) {
                _ if any("classifier.") && pooled => Ok(OpenAs::SequenceClassification),
                _ if any("classifier.") => Ok(OpenAs::TokenClassification),
                (true, true) => Ok(OpenAs::PreTraining),
                (true, false) => Ok(OpenAs::MaskedLm),
                (false, true) => Ok(OpenAs::NextSentence),
                (false, false) => Ok(OpenAs::Encoder),
            },
            Family::Electra if any("discriminator_predictions.") => Ok(OpenAs::PreTraining),
            Family::Electra if any("generator_predictions.") => Ok(OpenAs::MaskedLm),
            Family::Roberta
            | Family::XlmRoberta
            | Family::Camembert
            | Family::Electra
            | Family::MpNet
            | Family::Esm
                if any("classifier.out_proj.") =>
            {
                Ok(OpenAs::SequenceClassification)
            }
            Family::Roberta
            | Family::XlmRoberta
            | Family::Camembert
            | Family::Electra
            | Family::MpNet
                if any("classifier.") && chooses =>
            {
                ambiguous("`classifier` behind a pooler, as a multiple-choice model has it")
            }
            Family::Roberta
            | Family::XlmRoberta
            | Family::Camembert
            | Family::Electra
            | Family::MpNet
            | Family::Esm
                if any("classifier.") =>
            {
                Ok(OpenAs::TokenClassification)
            }
            Family::Roberta
            | Family::XlmRoberta
            | Family::Camembert
            | Family::MpNet
            | Family::Esm
                if any("lm_head.") =>
            {
                Ok(OpenAs::MaskedLm)
            }
            Family::Roberta
            | Family::XlmRoberta
            | Family::Camembert
            | Family::Electra
            | Family::MpNet
            | Family::Esm => Ok(OpenAs::Encoder),
            Family::Albert if any("classifier.") && pooled => Ok(OpenAs::SequenceClassification),
            Family::Albert if any("classifier.") => Ok(OpenAs::TokenClassification),
            Family::Albert if any("predictions.") && any("sop_classifier.") => {
                Ok(OpenAs::PreTraining)
            }
            Family::Albert if any("predictions.") => Ok(OpenAs::MaskedLm),
            Family::Albert => Ok(OpenAs::Encoder),
            Family::DebertaV2 if any("classifier.") && pooled => Ok(OpenAs::SequenceClassification),
            Family::DebertaV2 if any("classifier.") => Ok(OpenAs::TokenClassification),
            Family::DebertaV2 if any("cls.predictions.") || any("lm_predictions.") => {
                Ok(OpenAs::MaskedLm)
            }
            Family::DebertaV2 => Ok(OpenAs::Encoder),
            Family::NomicBert | Family::Gte | Family::GteNew | Family::JinaBert
                if any("classifier.") && pooled =>
            {
                Ok(OpenAs::SequenceClassification)
            }
            Family::NomicBert | Family::Gte | Family::GteNew | Family::JinaBert
                if any("classifier.") =>
            {
                Ok(OpenAs::TokenClassification)
            }
            Family::JinaBert if any("cls.predictions.") => Ok(OpenAs::MaskedLm),
            Family::JinaBert => Ok(OpenAs::Encoder),
            Family::Gte | Family::GteNew if any("lm_head.") => Ok(OpenAs::MaskedLm),
            Family::Gte | Family::GteNew => Ok(OpenAs::Encoder),
            Family::NomicBert if any("cls.predictions.") => Ok(OpenAs::MaskedLm),
            Family::NomicBert => Ok(OpenAs::Encoder),
            Family::Esmc if any("classifier.") => Ok(OpenAs::SequenceClassification),
            Family::Esmc if any("score.") => Ok(OpenAs::TokenClassification),
            Family::Esmc if any("lm_head.") => Ok(OpenAs::MaskedLm),
            Family::Esmc => Ok(OpenAs::Encoder),
            Family::EuroBert if any("dense.") => Ok(OpenAs::SequenceClassification),
            Family::EuroBert if any("classifier.") => Ok(OpenAs::TokenClassification),
            Family::EuroBert if any("lm_head.") => Ok(OpenAs::MaskedLm),
            Family::EuroBert => Ok(OpenAs::Encoder),
            Family::ModernBert if any("decoder.") => Ok(OpenAs::MaskedLm),
            Family::ModernBert if any("classifier.") => {
                ambiguous("`classifier`, as models for texts, tokens and answers have it")
            }
            Family::ModernBert => Ok(OpenAs::Encoder),
            Family::DistilBert if any("pre_classifier.") => Ok(OpenAs::SequenceClassification),
            Family::DistilBert if any("classifier.") => Ok(OpenAs::TokenClassification),
            Family::DistilBert if any("vocab_transform.") => Ok(OpenAs::MaskedLm),
            Family::DistilBert => Ok(OpenAs::Encoder),
            Family::OpenAiGpt | Family::Gpt2 if any("score.") => Ok(OpenAs::SequenceClassification),
            Family::Gpt2 if any("classifier.") => Ok(OpenAs::TokenClassification),
            Family::OpenAiGpt | Family::Gpt2 if any("multiple_choice_head.") => {
                ambiguous("`multiple_choice_head`, of a model with two heads")
            }
            // The output layer is tied and normally absent: the model is a language model all the same.
            Family::OpenAiGpt | Family::Gpt2 => Ok(OpenAs::CausalLm),
        }
    }
}
