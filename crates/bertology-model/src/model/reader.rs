//! Weights out of a checkpoint, their sizes checked.

use std::any::TypeId;
use std::cell::RefCell;
use std::sync::Arc;

use bertology_checkpoint::{
    Affine, Architecture, Checkpoint, FeedForward, LayerParameter, NormKind, NormPlacement,
    Parameter, Positions, ScoreBias, Segments, TaskHead,
};
use bertology_kernels::Real;

use super::{
    Attention, Layer, LayerRest, LmHead, Norm, Normal, RelativeTable, Shell, TokenScores, Weights,
};
use crate::Error;
use crate::linear::Linear;
use crate::rotary::Rotary;
use crate::untrained::SCALE as FIRST;

/// Reads parameters of one checkpoint and checks their sizes.
pub(super) struct Reader<'a, 'n> {
    pub(super) checkpoint: &'a Checkpoint,
    /// Where the first values of parameters that begin anew come from.
    pub(super) normal: Option<RefCell<Normal<'n>>>,
}

impl Reader<'_, '_> {
    fn optional<R: Real>(&self, parameter: Parameter, len: usize) -> Result<Option<Vec<R>>, Error> {
        let Some(values) = self.checkpoint.values(parameter)? else {
            return Ok(self.begun(parameter, len));
        };
        let values: Vec<R> = values.into_iter().map(R::from_f32).collect();
        if values.len() == len {
            Ok(Some(values))
        } else {
            Err(Error::ParameterShape {
                parameter: parameter.to_string(),
                found: values.len(),
                expected: len,
            })
        }
    }

    /// The first values of a parameter that begins anew: maps from a normal distribution, biases 0, norms 1.
    fn begun<R: Real>(&self, parameter: Parameter, len: usize) -> Option<Vec<R>> {
        let normal = self.normal.as_ref()?;
        let name = self.checkpoint.begins(parameter)?;
        let norm = matches!(
            parameter,
            Parameter::LmNorm(_) | Parameter::PoolerNorm(_) | Parameter::TokenNorm(_)
        );
        Some(match (name, norm) {
            (Affine::Bias, _) => vec![R::ZERO; len],
            (Affine::Weight, true) => vec![R::ONE; len],
            (Affine::Weight, false) => {
                let mut normal = normal.borrow_mut();
                (0..len).map(|_| R::from_f64(FIRST * normal())).collect()
            }
        })
    }

    fn vector<R: Real>(&self, parameter: Parameter, len: usize) -> Result<Vec<R>, Error> {
        self.optional(parameter, len)?
            .ok_or_else(|| Error::MissingParameter {
                parameter: parameter.to_string(),
            })
    }

    /// A large parameter, left in the file where it can be used as it lies there.
    fn weights<R: Real>(
        &self,
        parameter: Parameter,
        len: usize,
    ) -> Result<Option<Weights<R>>, Error> {
        let in_place = self.checkpoint.in_place(parameter);
        match in_place.filter(|t| TypeId::of::<R>() == TypeId::of::<f32>() && t.len() == len) {
            Some(tensor) => Ok(Some(Weights::Mapped(tensor.clone()))),
            None => Ok(self.optional(parameter, len)?.map(Weights::Owned)),
        }
    }

    fn needed<R: Real>(&self, parameter: Parameter, len: usize) -> Result<Weights<R>, Error> {
        self.weights(parameter, len)?
            .ok_or_else(|| Error::MissingParameter {
                parameter: parameter.to_string(),
            })
    }

    fn linear<R: Real>(
        &self,
        name: impl Fn(Affine) -> Parameter,
        outputs: usize,
        inputs: usize,
    ) -> Result<Linear<R>, Error> {
        self.linear_if(true, name, outputs, inputs)
    }

    /// A map that may lack its bias.
    fn linear_if<R: Real>(
        &self,
        biased: bool,
        name: impl Fn(Affine) -> Parameter,
        outputs: usize,
        inputs: usize,
    ) -> Result<Linear<R>, Error> {
        let weight = self.needed(name(Affine::Weight), outputs * inputs)?;
        let bias = if biased {
            self.vector(name(Affine::Bias), outputs)?
        } else {
            Vec::new()
        };
        Ok(Linear::new(weight, bias, inputs, outputs))
    }

    fn norm<R: Real>(
        &self,
        name: impl Fn(Affine) -> Parameter,
        width: usize,
    ) -> Result<Norm<R>, Error> {
        self.norm_of(self.checkpoint.architecture().norm_bias, name, width)
    }

    fn norm_of<R: Real>(
        &self,
        biased: bool,
        name: impl Fn(Affine) -> Parameter,
        width: usize,
    ) -> Result<Norm<R>, Error> {
        let arch = self.checkpoint.architecture();
        Ok(Norm {
            centred: arch.norm_kind == NormKind::Layer,
            weight: self.vector(name(Affine::Weight), width)?,
            bias: if biased {
                self.vector(name(Affine::Bias), width)?
            } else {
                vec![R::ZERO; width]
            },
            biased,
        })
    }

    pub(super) fn layer<R: Real>(
        &self,
        arch: &Architecture,
        index: usize,
    ) -> Result<Layer<R>, Error> {
        use LayerParameter as P;
        let (hidden, inner) = (arch.hidden_size, arch.neurons(index));
        let first = match arch.feed_forward {
            FeedForward::Plain => inner,
            FeedForward::Gated => 2 * inner,
        };
        let (maps, mlp) = (arch.attention_bias, arch.mlp_bias);
        let heads = arch.heads(index);
        let width = heads.len() * arch.head_dim();
        let name = |p: fn(Affine) -> LayerParameter| move |a| Parameter::Layer(index, p(a));

        // One map, or those that stand in the files in the place of it, one below the other.
        let stacked = |whole: fn(Affine) -> LayerParameter,
                       parts: &[fn(Affine) -> LayerParameter],
                       biased: bool,
                       rows: usize| {
            let weight = Parameter::Layer(index, whole(Affine::Weight));
            if self.checkpoint.parameter(weight).is_some() || parts.is_empty() {
                return self.linear_if(biased, name(whole), rows, hidden);
            }
            let (mut weight, mut bias) = (Vec::with_capacity(rows * hidden), Vec::new());
            for part in parts {
                let of = self.linear_if::<R>(biased, name(*part), rows / parts.len(), hidden)?;
                weight.extend_from_slice(&of.weight);
                bias.extend(of.bias);
                of.weight.release();
            }
            Ok(Linear::new(weight.into(), bias, hidden, rows))
        };
        let parts: [fn(Affine) -> LayerParameter; 3] = [P::Query, P::Key, P::Value];
        let qkv = stacked(P::QueryKeyValue, &parts, maps, 3 * width)?;
        let halves: [fn(Affine) -> LayerParameter; 2] = [P::MlpActivated, P::MlpGate];
        let halves = match arch.feed_forward {
            FeedForward::Plain => &[],
            FeedForward::Gated => halves.as_slice(),
        };
        let distance = match arch.positions {
            Positions::Absolute | Positions::Rotary(_) | Positions::Nowhere => None,
            Positions::RelativeKey | Positions::RelativeKeyQuery => {
                let len = (2 * arch.max_positions - 1) * arch.head_dim();
                Some(self.vector(Parameter::Layer(index, P::DistanceEmbedding), len)?)
            }
        };
        let mut distance_maps: Vec<fn(Affine) -> LayerParameter> = Vec::new();
        if let Some(distances) = arch.disentangled.filter(|distances| !distances.shared) {
            if distances.queries {
                distance_maps.push(P::DistanceQuery);
            }
            if distances.keys {
                distance_maps.push(P::DistanceKey);
            }
        }
        Ok(Layer {
            attention: Arc::new(Attention {
                heads,
                qkv,
                norms: if arch.query_key_norm {
                    Some([
                        self.norm_of(false, name(P::QueryNorm), width)?,
                        self.norm_of(false, name(P::KeyNorm), width)?,
                    ])
                } else {
                    None
                },
                output: self.linear_if(maps, name(P::AttentionOutput), hidden, width)?,
                distance,
                distance_maps: match distance_maps.len() {
                    0 => None,
                    count => Some(stacked(
                        P::DistanceMaps,
                        &distance_maps,
                        maps,
                        count * width,
                    )?),
                },
            }),
            rest: Arc::new(LayerRest {
                attention_norm: self.norm_if(
                    index > 0 || arch.first_attention_norm,
                    name(P::AttentionNorm),
                    hidden,
                )?,
                mlp_in: stacked(P::MlpIn, halves, mlp, first)?,
                mlp_out: self.linear_if(arch.mlp_out_bias, name(P::MlpOut), hidden, inner)?,
                mlp_norm: self.norm(name(P::MlpNorm), hidden)?,
            }),
        })
    }

    pub(super) fn shell<R: Real>(&self, arch: &Architecture) -> Result<Shell<R>, Error> {
        let (hidden, rows) = (arch.hidden_size, arch.embedding_size);
        let positions = match arch.positions {
            Positions::Absolute => {
                Some(self.needed(Parameter::PositionEmbeddings, arch.max_positions * rows)?)
            }
            Positions::RelativeKey
            | Positions::RelativeKeyQuery
            | Positions::Rotary(_)
            | Positions::Nowhere => None,
        };
        let classifier = match arch.head {
            TaskHead::SequenceClassification { num_labels, .. } if arch.classifier_bias => {
                Some(self.linear(Parameter::Classifier, num_labels, hidden)?)
            }
            TaskHead::SequenceClassification { num_labels, .. } => {
                Some(self.linear_if(false, Parameter::Classifier, num_labels, hidden)?)
            }
            TaskHead::NextSentence | TaskHead::PreTraining => {
                Some(self.linear(Parameter::NextSentence, 2, hidden)?)
            }
            _ => None,
        };
        let segments = match arch.segments {
            Segments::Table(segments) => {
                self.vector(Parameter::SegmentEmbeddings, segments * rows)?
            }
            Segments::None | Segments::Words => Vec::new(),
        };
        Ok(Shell {
            words: self.needed(Parameter::WordEmbeddings, arch.vocab_size * rows)?,
            positions,
            segments,
            norm: self.norm_if(arch.embedding_norm, Parameter::EmbeddingNorm, rows)?,
            projection: arch
                .embedding_projection
                .then(|| self.linear(Parameter::EmbeddingProjection, hidden, rows))
                .transpose()?,
            relative_bias: match arch.score_bias {
                ScoreBias::None | ScoreBias::Slopes => None,
                ScoreBias::Buckets => {
                    let len = ScoreBias::BUCKETS * arch.num_heads;
                    Some(self.vector(Parameter::RelativeAttentionBias, len)?)
                }
            },
            relative: match arch.disentangled {
                None => None,
                Some(distances) => Some(RelativeTable {
                    rows: self.vector(Parameter::RelativeEmbeddings, distances.rows() * hidden)?,
                    norm: self.norm_if(distances.normed, Parameter::RelativeNorm, hidden)?,
                }),
            },
            rotary: Rotary::new(arch),
            final_norm: match arch.norm {
                NormPlacement::Pre => {
                    Some(self.norm_of(arch.final_norm_bias, Parameter::FinalNorm, hidden)?)
                }
                NormPlacement::Post => None,
            },
            pooler: if arch.pooler {
                Some(self.linear_if(arch.head_bias, Parameter::Pooler, hidden, hidden)?)
            } else {
                None
            },
            pooler_norm: self.norm_if(
                arch.pooler && arch.pooler_norm,
                Parameter::PoolerNorm,
                hidden,
            )?,
            contacts: arch
                .contact_head
                .then(|| self.linear(Parameter::ContactHead, 1, arch.num_layers * arch.num_heads))
                .transpose()?,
            classifier,
            lm: self.lm(arch)?,
            scores: self.scores(arch)?,
        })
    }

    fn scores<R: Real>(&self, arch: &Architecture) -> Result<Option<TokenScores<R>>, Error> {
        let hidden = arch.hidden_size;
        let Some(scores) = arch.head.token_scores() else {
            return Ok(None);
        };
        Ok(Some(TokenScores {
            dense: match arch.token_transform {
                None => None,
                Some(transform) => Some((
                    self.linear_if(transform.bias, Parameter::TokenTransform, hidden, hidden)?,
                    self.norm_if(transform.norm, Parameter::TokenNorm, hidden)?,
                )),
            },
            output: self.linear(Parameter::TokenScores, scores, hidden)?,
        }))
    }

    fn norm_if<R: Real>(
        &self,
        present: bool,
        name: impl Fn(Affine) -> Parameter,
        width: usize,
    ) -> Result<Option<Norm<R>>, Error> {
        present.then(|| self.norm(name, width)).transpose()
    }

    fn lm<R: Real>(&self, arch: &Architecture) -> Result<Option<LmHead<R>>, Error> {
        let (hidden, rows, vocab) = (arch.hidden_size, arch.embedding_size, arch.vocab_size);
        let masked = matches!(arch.head, TaskHead::MaskedLm | TaskHead::PreTraining);
        if !masked && arch.head != TaskHead::CausalLm {
            return Ok(None);
        }
        let transform = if masked && arch.lm_transform {
            let dense =
                self.linear_if(arch.lm_transform_bias, Parameter::LmTransform, rows, hidden)?;
            Some((dense, self.norm(Parameter::LmNorm, rows)?))
        } else {
            None
        };
        let bias = if masked && arch.lm_bias {
            self.vector(Parameter::LmDecoder(Affine::Bias), vocab)?
        } else {
            Vec::new()
        };
        Ok(Some(LmHead {
            transform,
            decoder: self.weights(Parameter::LmDecoder(Affine::Weight), vocab * rows)?,
            bias,
            parts: None,
        }))
    }
}
