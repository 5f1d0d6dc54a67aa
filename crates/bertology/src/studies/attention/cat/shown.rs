//! One function, to look at.

use crate::input::snippet::{LeafMean, SnippetItem};
use crate::input::supply::Passage;
use crate::{Error, LoadedModel};

/// Attention between a function's leaves, `[layers][leaves · leaves]` row by row, the mean over each layer's heads; empty
/// for a layer without heads.
///
/// # Errors
/// As [`LoadedModel::attentions`].
pub fn leaf_attention(
    model: &LoadedModel,
    passage: &Passage<SnippetItem>,
) -> Result<Vec<Vec<f32>>, Error> {
    let item = &passage.item;
    let maps = model.attentions(std::slice::from_ref(&passage.sequence))?;
    let (cells, mut room) = (item.leaves() * item.leaves(), Vec::new());
    let mut layers = Vec::new();
    for layer in 0..model.architecture().num_layers {
        let (mut sums, mut heads) = (vec![0.0; cells], 0_u32);
        for (_, map) in maps.iter().flat_map(|maps| maps.layer(layer)) {
            let map = bertology_model::Matrix::new(&map.data, map.rows, map.cols);
            item.tokens
                .add(&mut sums, map, LeafMean::MeanMean, &mut room);
            heads += 1;
        }
        let mean = |sum: f64| (sum / f64::from(heads)) as f32;
        layers.push(match heads {
            0 => Vec::new(),
            _ => sums.into_iter().map(mean).collect(),
        });
    }
    Ok(layers)
}
