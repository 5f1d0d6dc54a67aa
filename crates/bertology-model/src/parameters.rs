//! Every weight of a model under its name, in one order.

use std::ops::Range;
use std::sync::Arc;

use bertology_checkpoint::{Affine, LayerParameter, Parameter, TaskHead};
use bertology_kernels::{Precision, Real};

use crate::Model;
use crate::linear::Linear;
use crate::model::Norm;

/// One parameter of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterPlace {
    /// Its canonical name. Queries, keys and values are one parameter,
    /// [`LayerParameter::QueryKeyValue`], whatever the file has.
    pub parameter: Parameter,
    /// Its shape, `[out, in]` or `[rows, width]` of a matrix, `[width]` of a vector.
    pub shape: Vec<usize>,
    /// Where it lies in arrays that hold all parameters end to end.
    pub range: Range<usize>,
}

/// The parameters of a model in their order: embeddings, blocks from the lowest, what is above them. Tied parameters are
/// there once, and so are those of layers that have them in common, under the first of these layers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    places: Vec<ParameterPlace>,
}

impl Layout {
    /// All parameters, in order.
    #[must_use]
    pub fn places(&self) -> &[ParameterPlace] {
        &self.places
    }

    /// Numbers in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.last().map_or(0, |place| place.range.end)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where a parameter lies, if the model has it.
    #[must_use]
    pub fn range(&self, parameter: Parameter) -> Option<Range<usize>> {
        let place = self.places.iter().find(|p| p.parameter == parameter);
        place.map(|place| place.range.clone())
    }

    /// Where the parameters of one block lie.
    pub(crate) fn layer(&self, layer: usize) -> Range<usize> {
        let of: Vec<_> = self
            .places
            .iter()
            .filter(|place| matches!(place.parameter, Parameter::Layer(l, _) if l == layer))
            .map(|place| &place.range)
            .collect();
        of.first().map_or(0, |first| first.start)..of.last().map_or(0, |last| last.end)
    }

    fn push(&mut self, parameter: Parameter, shape: &[usize]) {
        let start = self.len();
        self.places.push(ParameterPlace {
            parameter,
            shape: shape.to_vec(),
            range: start..start + shape.iter().product::<usize>(),
        });
    }
}

/// Calls `$visit` with every parameter, its shape and its values, borrowed as `$share` and `$mutable` say. Written once
/// for reading and for writing, so that both have one order.
macro_rules! walk {
    ($arch:expr, $shell:expr, $layers:expr, $visit:expr, $attention:path, $rest:path, [$($mutable:tt)?]) => {{
        let (arch, shell) = ($arch, $shell);
        let mut visit = $visit;
        let (hidden, rows) = (arch.hidden_size, arch.embedding_size);
        macro_rules! linear {
            ($name:expr, $map:expr) => {{
                let (name, map): (fn(Affine) -> Parameter, &$($mutable)? Linear<R>) = ($name, $map);
                visit(name(Affine::Weight), &[map.outputs, map.inputs], &$($mutable)? map.weight[..]);
                if !map.bias.is_empty() {
                    visit(name(Affine::Bias), &[map.outputs], &$($mutable)? map.bias[..]);
                }
            }};
        }
        macro_rules! norm {
            ($name:expr, $norm:expr) => {{
                let (name, norm): (fn(Affine) -> Parameter, &$($mutable)? Norm<R>) = ($name, $norm);
                let width = norm.weight.len();
                visit(name(Affine::Weight), &[width], &$($mutable)? norm.weight[..]);
                if norm.biased {
                    visit(name(Affine::Bias), &[width], &$($mutable)? norm.bias[..]);
                }
            }};
        }
        let words = shell.words.len() / rows;
        visit(Parameter::WordEmbeddings, &[words, rows], &$($mutable)? shell.words[..]);
        if let Some(table) = &$($mutable)? shell.positions {
            visit(Parameter::PositionEmbeddings, &[table.len() / rows, rows], &$($mutable)? table[..]);
        }
        if !shell.segments.is_empty() {
            let shape = [shell.segments.len() / rows, rows];
            visit(Parameter::SegmentEmbeddings, &shape, &$($mutable)? shell.segments[..]);
        }
        if let Some(norm) = &$($mutable)? shell.norm {
            norm!(Parameter::EmbeddingNorm, norm);
        }
        if let Some(map) = &$($mutable)? shell.projection {
            linear!(Parameter::EmbeddingProjection, map);
        }
        if let Some(table) = &$($mutable)? shell.relative_bias {
            let shape = [table.len() / arch.num_heads, arch.num_heads];
            visit(Parameter::RelativeAttentionBias, &shape, &$($mutable)? table[..]);
        }
        if let Some(table) = &$($mutable)? shell.relative {
            let shape = [table.rows.len() / hidden, hidden];
            visit(Parameter::RelativeEmbeddings, &shape, &$($mutable)? table.rows[..]);
            if let Some(norm) = &$($mutable)? table.norm {
                norm!(Parameter::RelativeNorm, norm);
            }
        }
        for (index, layer) in $layers {
            use LayerParameter as P;
            macro_rules! of {
                ($parameter:expr) => {
                    |affine| Parameter::Layer(index, $parameter(affine))
                };
            }
            macro_rules! layer_linear {
                ($parameter:expr, $map:expr, $biased:expr) => {{
                    let name = of!($parameter);
                    let map: &$($mutable)? Linear<R> = $map;
                    visit(name(Affine::Weight), &[map.outputs, map.inputs], &$($mutable)? map.weight[..]);
                    // A layer without heads has a bias of no numbers.
                    if $biased {
                        visit(name(Affine::Bias), &[map.outputs], &$($mutable)? map.bias[..]);
                    }
                }};
            }
            macro_rules! layer_norm {
                ($parameter:expr, $norm:expr) => {{
                    let name = of!($parameter);
                    let norm: &$($mutable)? Norm<R> = $norm;
                    visit(name(Affine::Weight), &[hidden], &$($mutable)? norm.weight[..]);
                    if norm.biased {
                        visit(name(Affine::Bias), &[hidden], &$($mutable)? norm.bias[..]);
                    }
                }};
            }
            let attention = $attention(&$($mutable)? layer.attention);
            layer_linear!(P::QueryKeyValue, &$($mutable)? attention.qkv, arch.attention_bias);
            if let Some([queries, keys]) = &$($mutable)? attention.norms {
                layer_norm!(P::QueryNorm, queries);
                layer_norm!(P::KeyNorm, keys);
            }
            if let Some(table) = &$($mutable)? attention.distance {
                let dim = arch.head_dim();
                let table: &$($mutable)? Vec<R> = table;
                visit(
                    Parameter::Layer(index, P::DistanceEmbedding),
                    &[table.len() / dim, dim],
                    &$($mutable)? table[..],
                );
            }
            if let Some(maps) = &$($mutable)? attention.distance_maps {
                layer_linear!(P::DistanceMaps, maps, arch.attention_bias);
            }
            layer_linear!(P::AttentionOutput, &$($mutable)? attention.output, arch.attention_bias);
            let rest = $rest(&$($mutable)? layer.rest);
            if let Some(norm) = &$($mutable)? rest.attention_norm {
                layer_norm!(P::AttentionNorm, norm);
            }
            layer_linear!(P::MlpIn, &$($mutable)? rest.mlp_in, arch.mlp_bias);
            layer_linear!(P::MlpOut, &$($mutable)? rest.mlp_out, arch.mlp_out_bias);
            layer_norm!(P::MlpNorm, &$($mutable)? rest.mlp_norm);
        }
        if let Some(norm) = &$($mutable)? shell.final_norm {
            norm!(Parameter::FinalNorm, norm);
        }
        if let Some(map) = &$($mutable)? shell.pooler {
            linear!(Parameter::Pooler, map);
        }
        if let Some(norm) = &$($mutable)? shell.pooler_norm {
            norm!(Parameter::PoolerNorm, norm);
        }
        if let Some(map) = &$($mutable)? shell.classifier {
            match arch.head {
                TaskHead::NextSentence | TaskHead::PreTraining => linear!(Parameter::NextSentence, map),
                _ => linear!(Parameter::Classifier, map),
            }
        }
        if let Some(lm) = &$($mutable)? shell.lm {
            if let Some((dense, after)) = &$($mutable)? lm.transform {
                linear!(Parameter::LmTransform, dense);
                norm!(Parameter::LmNorm, after);
            }
            if let Some(decoder) = &$($mutable)? lm.decoder {
                let shape = [decoder.len() / rows, rows];
                visit(Parameter::LmDecoder(Affine::Weight), &shape, &$($mutable)? decoder[..]);
            }
            if !lm.bias.is_empty() {
                let shape = [lm.bias.len()];
                visit(Parameter::LmDecoder(Affine::Bias), &shape, &$($mutable)? lm.bias[..]);
            }
        }
        if let Some(scores) = &$($mutable)? shell.scores {
            if let Some((dense, after)) = &$($mutable)? scores.dense {
                linear!(Parameter::TokenTransform, dense);
                if let Some(norm) = after {
                    norm!(Parameter::TokenNorm, norm);
                }
            }
            linear!(Parameter::TokenScores, &$($mutable)? scores.output);
        }
    }};
}

impl<R: Real> Model<R> {
    /// Calls `visit` with every parameter, its shape and its values, in the order of [`Model::layout`]. A regression over
    /// attention ([`Model::contacts`]) is not among them: no loss reads it.
    pub fn each_parameter<'m>(&'m self, visit: impl FnMut(Parameter, &[usize], &'m [R])) {
        let (arch, shell) = (&*self.arch, &*self.shell);
        let layers = self.first_layers().into_iter().zip(&self.blocks);
        walk!(arch, shell, layers, visit, Arc::as_ref, Arc::as_ref, []);
    }

    /// [`Model::each_parameter`], to be changed. What this model shares with others, or with its file, is copied first. The
    /// model computes in f32 from now on: parts of weights ([`Model::with_precision`]) do not follow their changes.
    pub fn each_parameter_mut<'m>(
        &'m mut self,
        visit: impl FnMut(Parameter, &[usize], &'m mut [R]),
    ) {
        if self.precision != Precision::F32 {
            self.precision = Precision::F32;
            self.split();
        }
        let layers = self.first_layers().into_iter().zip(&mut self.blocks);
        let arch = &*self.arch;
        let shell = Arc::make_mut(&mut self.shell);
        walk!(
            arch,
            shell,
            layers,
            visit,
            Arc::make_mut,
            Arc::make_mut,
            [mut]
        );
    }

    /// The first layer of each block.
    fn first_layers(&self) -> Vec<usize> {
        let mut first = vec![0; self.blocks.len()];
        for (layer, block) in self.block_of.iter().enumerate().rev() {
            first[*block] = layer;
        }
        first
    }

    /// Names, shapes and places of all parameters.
    #[must_use]
    pub fn layout(&self) -> Layout {
        let mut layout = Layout::default();
        self.each_parameter(|parameter, shape, _| layout.push(parameter, shape));
        layout
    }

    /// Number of weights, tied ones once.
    #[must_use]
    pub fn parameters(&self) -> usize {
        let mut count = 0;
        self.each_parameter(|_, _, values| count += values.len());
        count
    }
}
