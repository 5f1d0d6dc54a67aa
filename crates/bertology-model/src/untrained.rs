//! The same architecture with first values, as before any training: what a study is held against.

use std::sync::Arc;

use bertology_kernels::Real;

use crate::Model;
use crate::linear::Linear;
use crate::model::{Attention, Layer, LayerRest, Norm, RelativeTable, Shell, Weights};

/// Standard deviation of first values: `initializer_range` of the configs of BERT, GPT and GPT-2.
pub(crate) const SCALE: f64 = 0.02;

impl<R: Real> Model<R> {
    /// This architecture, heads removed included, with first values: maps and tables of embeddings are drawn from a normal
    /// distribution of standard deviation 0.02, biases are 0, norms do not scale (`_init_weights` of transformers; it sets
    /// the row of the padding token to 0 besides, which no input holds). There is nothing above the blocks: no pooler, no
    /// task head.
    ///
    /// `normal` gives independent draws of mean 0 and deviation 1.
    #[must_use]
    pub fn untrained(&self, mut normal: impl FnMut() -> f64) -> Self {
        let mut draw = |count: usize| -> Vec<R> {
            (0..count).map(|_| R::from_f64(SCALE * normal())).collect()
        };
        let shell = &self.shell;
        let drawn = Shell {
            words: draw(shell.words.len()).into(),
            positions: shell
                .positions
                .as_ref()
                .map(|table| draw(table.len()).into()),
            segments: draw(shell.segments.len()),
            norm: shell.norm.as_ref().map(unit),
            projection: shell.projection.as_ref().map(|map| linear(map, &mut draw)),
            relative_bias: shell.relative_bias.as_ref().map(|table| draw(table.len())),
            relative: shell.relative.as_ref().map(|table| RelativeTable {
                rows: draw(table.rows.len()),
                norm: table.norm.as_ref().map(unit),
            }),
            rotary: shell.rotary.clone(),
            final_norm: shell.final_norm.as_ref().map(unit),
            pooler: None,
            pooler_norm: None,
            contacts: None,
            classifier: None,
            lm: None,
            scores: None,
        };
        let blocks = self.blocks.iter().map(|layer| {
            let (attention, rest) = (&layer.attention, &layer.rest);
            Layer {
                attention: Arc::new(Attention {
                    heads: attention.heads.clone(),
                    qkv: linear(&attention.qkv, &mut draw),
                    norms: attention
                        .norms
                        .as_ref()
                        .map(|norms| norms.each_ref().map(unit)),
                    output: linear(&attention.output, &mut draw),
                    distance: attention.distance.as_ref().map(|table| draw(table.len())),
                    distance_maps: attention
                        .distance_maps
                        .as_ref()
                        .map(|maps| linear(maps, &mut draw)),
                }),
                rest: Arc::new(LayerRest {
                    attention_norm: rest.attention_norm.as_ref().map(unit),
                    mlp_in: linear(&rest.mlp_in, &mut draw),
                    mlp_out: linear(&rest.mlp_out, &mut draw),
                    mlp_norm: unit(&rest.mlp_norm),
                }),
            }
        });
        let blocks = blocks.collect();
        self.with_encoder(drawn, blocks)
    }
}

fn unit<R: Real>(norm: &Norm<R>) -> Norm<R> {
    Norm {
        weight: vec![R::ONE; norm.weight.len()],
        bias: vec![R::ZERO; norm.bias.len()],
        biased: norm.biased,
        centred: norm.centred,
    }
}

fn linear<R: Real>(map: &Linear<R>, draw: &mut impl FnMut(usize) -> Vec<R>) -> Linear<R> {
    let weight = Weights::Owned(draw(map.weight.len()));
    let bias = vec![R::ZERO; map.bias.len()];
    Linear::new(weight, bias, map.inputs, map.outputs)
}
