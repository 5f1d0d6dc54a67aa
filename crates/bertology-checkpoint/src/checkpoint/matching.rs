//! Which tensor of the files is which parameter, and what is wrong with them.

use std::collections::BTreeMap;
use std::path::Path;

use super::OpenOptions;
use crate::Error;
use crate::arch::{Architecture, Family, TaskHead};
use crate::expected::expected;
use crate::names::{IgnoreReason, Meaning, Names};
use crate::parameter::{Affine, LayerParameter, Parameter};
use crate::report::{Ignored, MissingTensor, Report, TensorInfo};
use crate::tensors::{Tensor, TensorSet};

/// The work of matching tensors with parameters.
#[derive(Default)]
pub(super) struct Matching {
    pub(super) by_parameter: BTreeMap<Parameter, usize>,
    /// Decoder tensors that may be copies of tied ones.
    decoder: Vec<(Affine, usize)>,
    pub(super) report: Report,
    pub(super) problems: Vec<Error>,
    /// A task head that the files lack, or have in another size, is to be begun anew; with `true` one that fits, too.
    pub(super) begins: Option<bool>,
    pub(super) begun: Vec<Parameter>,
}

impl Matching {
    pub(super) fn sort(&mut self, folder: &Path, set: &TensorSet, names: &Names<'_>) {
        for (at, tensor) in set.tensors.iter().enumerate() {
            match names.meaning(tensor.name()) {
                Meaning::Use(parameter) => self.claim(folder, set, parameter, at),
                Meaning::TiedDecoder(affine) => self.decoder.push((affine, at)),
                Meaning::Ignore(reason) => self.ignore(tensor, reason),
                Meaning::Unknown => self.report.unexpected.push(TensorInfo::of(tensor)),
            }
        }
    }

    fn claim(&mut self, folder: &Path, set: &TensorSet, parameter: Parameter, at: usize) {
        let Some(&first) = self.by_parameter.get(&parameter) else {
            self.by_parameter.insert(parameter, at);
            return;
        };
        if let (Some(first), Some(second)) = (set.tensors.get(first), set.tensors.get(at)) {
            self.report.unexpected.push(TensorInfo::of(second));
            self.problems.push(Error::Duplicate {
                path: folder.into(),
                parameter,
                first: first.name().into(),
                second: second.name().into(),
            });
        }
    }

    fn ignore(&mut self, tensor: &Tensor, reason: IgnoreReason) {
        self.report.ignored.push(Ignored {
            tensor: TensorInfo::of(tensor),
            reason,
        });
    }

    /// A decoder's tensor in the file counts only where it equals the tied one or nothing is tied.
    pub(super) fn settle_decoder(
        &mut self,
        folder: &Path,
        set: &TensorSet,
        names: &Names<'_>,
        tied: bool,
        options: &OpenOptions,
    ) {
        let decoder_wins = matches!(
            names.architecture.family,
            Family::Roberta | Family::XlmRoberta | Family::Camembert | Family::Albert
        );
        for (affine, at) in std::mem::take(&mut self.decoder) {
            let Some(tensor) = set.tensors.get(at) else {
                continue;
            };
            let partner = match affine {
                Affine::Weight if !tied => None,
                Affine::Weight => Some(Parameter::WordEmbeddings),
                Affine::Bias => Some(Parameter::LmDecoder(Affine::Bias)),
            };
            let other = partner
                .and_then(|parameter| self.by_parameter.get(&parameter))
                .and_then(|&at| set.tensors.get(at));
            match other {
                Some(other) if other.same_values(tensor) => {
                    tensor.release();
                    self.ignore(tensor, IgnoreReason::TiedCopy);
                }
                // transformers sets both, then lets RoBERTa's own name share the decoder's.
                Some(other) if affine == Affine::Bias && decoder_wins => {
                    self.ignore(other, IgnoreReason::OtherBias);
                    self.by_parameter
                        .insert(Parameter::LmDecoder(Affine::Bias), at);
                }
                Some(_) if options.allow_unexpected => {
                    self.ignore(
                        tensor,
                        match affine {
                            Affine::Weight => IgnoreReason::OverriddenByTie,
                            Affine::Bias => IgnoreReason::OtherBias,
                        },
                    );
                }
                Some(other) => {
                    self.report.unexpected.push(TensorInfo::of(tensor));
                    let (tensor, other, file) = (
                        tensor.name().into(),
                        other.name().into(),
                        tensor.file().into(),
                    );
                    self.problems.push(match affine {
                        Affine::Weight => Error::Untied {
                            tensor,
                            tied: other,
                            file,
                        },
                        Affine::Bias => Error::TwoBiases {
                            tensor,
                            used: other,
                            file,
                        },
                    });
                }
                // Without word embeddings the tie cannot hold; that is reported as missing.
                None if affine == Affine::Weight && tied => {
                    self.report.unexpected.push(TensorInfo::of(tensor));
                }
                None => self.claim(folder, set, Parameter::LmDecoder(affine), at),
            }
        }
        let has_lm = matches!(
            names.architecture.head,
            TaskHead::MaskedLm | TaskHead::PreTraining | TaskHead::CausalLm
        );
        let decoder = Parameter::LmDecoder(Affine::Weight);
        if has_lm && !tied {
            let shape = vec![
                names.architecture.vocab_size,
                names.architecture.embedding_size,
            ];
            self.expect(set, names, decoder, &shape);
        }
    }

    pub(super) fn verify(&mut self, folder: &Path, set: &TensorSet, names: &Names<'_>) {
        for (parameter, shape) in expected(names.architecture) {
            self.expect(set, names, parameter, &shape);
        }
        let missing: Vec<String> = self.report.missing.iter().map(|m| m.name.clone()).collect();
        if !missing.is_empty() {
            let task = match names.architecture.head {
                TaskHead::None => None,
                TaskHead::SequenceClassification { .. } => Some("sequence classifier"),
                TaskHead::MaskedLm => Some("masked language model"),
                TaskHead::CausalLm => Some("causal language model"),
                TaskHead::NextSentence => Some("next-sentence predictor"),
                TaskHead::PreTraining => Some("pre-training head"),
                TaskHead::TokenClassification { .. } => Some("token classifier"),
                TaskHead::QuestionAnswering => Some("question-answering model"),
                TaskHead::ReplacedTokens => Some("replaced-token discriminator"),
            };
            let of_head: Vec<String> = missing
                .iter()
                .filter(|name| !names.in_base(name))
                .cloned()
                .collect();
            let path = folder.to_path_buf();
            self.problems.insert(
                0,
                match task {
                    Some(task) if of_head.len() == missing.len() => Error::MissingHead {
                        path,
                        task,
                        names: of_head,
                    },
                    _ => Error::Missing {
                        path,
                        names: missing,
                    },
                },
            );
        }
        let classifier = matches!(
            names.architecture.head,
            TaskHead::SequenceClassification { .. }
        );
        let dense_is_head = classifier && !names.reads_base_pooler();
        for (&parameter, &at) in &self.by_parameter {
            let Some(tensor) = set.tensors.get(at) else {
                continue;
            };
            self.report.used.push(TensorInfo::of(tensor));
            self.report.parts.add(parameter, tensor, dense_is_head);
        }
    }

    fn expect(
        &mut self,
        set: &TensorSet,
        names: &Names<'_>,
        parameter: Parameter,
        shape: &[usize],
    ) {
        let tensor = self
            .by_parameter
            .get(&parameter)
            .and_then(|&at| set.tensors.get(at));
        let fits = tensor.is_some_and(|t| t.shape() == names.stored_shape(parameter, shape));
        let of_encoder = matches!(parameter, Parameter::Pooler(_)) && names.reads_base_pooler();
        let anew = self.begins == Some(true) && !of_encoder;
        if self.begins.is_some() && parameter.is_of_head() && (anew || !fits) {
            if let (Some(tensor), Some(_)) = (tensor, self.by_parameter.remove(&parameter)) {
                self.ignore(tensor, IgnoreReason::OtherTask);
            }
            self.begun.push(parameter);
            self.report.begun.push(MissingTensor {
                name: names.name_of(parameter),
                shape: names.stored_shape(parameter, shape),
            });
            return;
        }
        let Some(tensor) = tensor else {
            let missing = MissingTensor {
                name: names.name_of(parameter),
                shape: names.stored_shape(parameter, shape),
            };
            self.report.missing.push(missing);
            return;
        };
        let shape = &names.stored_shape(parameter, shape);
        if tensor.shape() != shape {
            self.problems.push(Error::Shape {
                tensor: tensor.name().into(),
                file: tensor.file().into(),
                found: tensor.shape().to_vec(),
                expected: shape.to_vec(),
                hint: shape_hint(parameter, names.architecture),
            });
        } else if !tensor.is_floating() {
            self.problems.push(tensor.wrong_dtype());
        }
    }
}

/// The usual cause of a wrong shape, where there is one.
fn shape_hint(parameter: Parameter, architecture: &Architecture) -> &'static str {
    match parameter {
        Parameter::Layer(
            layer,
            LayerParameter::Query(_)
            | LayerParameter::Key(_)
            | LayerParameter::Value(_)
            | LayerParameter::QueryKeyValue(_)
            | LayerParameter::AttentionOutput(_),
        ) => {
            if architecture.pruned_heads.contains_key(&layer) {
                "; `pruned_heads` of this layer may not be those of the file"
            } else {
                "; if heads were pruned from this layer, `pruned_heads` must name them"
            }
        }
        Parameter::Classifier(_) | Parameter::TokenScores(_) => {
            "; `id2label` sets the number of labels"
        }
        _ => "",
    }
}
