//! The parameters that a description asks for, and their shapes.

use std::collections::BTreeSet;

use crate::arch::{
    Architecture, FeedForward, NormPlacement, Positions, ScoreBias, Segments, TaskHead,
};
use crate::parameter::{Affine, LayerParameter, Parameter};

/// Every parameter that the architecture reads, with its canonical shape. A language model's output
/// weight is absent: whether it has its own depends on the tie, which [`Architecture`] does not know.
pub(crate) fn expected(architecture: &Architecture) -> Vec<(Parameter, Vec<usize>)> {
    let (width, rows) = (architecture.hidden_size, architecture.embedding_size);
    let mut list = vec![(
        Parameter::WordEmbeddings,
        vec![architecture.vocab_size, rows],
    )];
    if architecture.positions == Positions::Absolute {
        list.push((
            Parameter::PositionEmbeddings,
            vec![architecture.max_positions, rows],
        ));
    }
    if let Segments::Table(segments) = architecture.segments {
        list.push((Parameter::SegmentEmbeddings, vec![segments, rows]));
    }
    let norms = architecture.norm_bias;
    if architecture.embedding_norm {
        with_bias(&mut list, Parameter::EmbeddingNorm, vec![rows], rows, norms);
    }
    if architecture.embedding_projection {
        let map = vec![width, rows];
        affine_map(&mut list, Parameter::EmbeddingProjection, map, width);
    }
    if architecture.score_bias == ScoreBias::Buckets {
        let table = vec![ScoreBias::BUCKETS, architecture.num_heads];
        list.push((Parameter::RelativeAttentionBias, table));
    }
    if let Some(distances) = architecture.disentangled {
        list.push((Parameter::RelativeEmbeddings, vec![distances.rows(), width]));
        if distances.normed {
            with_bias(
                &mut list,
                Parameter::RelativeNorm,
                vec![width],
                width,
                norms,
            );
        }
    }
    for index in architecture.own_layers() {
        layer_expected(architecture, index, &mut list);
    }
    if architecture.norm == NormPlacement::Pre {
        let biased = architecture.final_norm_bias;
        with_bias(&mut list, Parameter::FinalNorm, vec![width], width, biased);
    }
    if architecture.contact_head {
        let heads = architecture
            .num_layers
            .saturating_mul(architecture.num_heads);
        affine_map(&mut list, Parameter::ContactHead, vec![1, heads], 1);
    }
    if architecture.pooler {
        let biased = architecture.head_bias;
        with_bias(
            &mut list,
            Parameter::Pooler,
            vec![width, width],
            width,
            biased,
        );
        if architecture.pooler_norm {
            with_bias(&mut list, Parameter::PoolerNorm, vec![width], width, norms);
        }
    }
    if let TaskHead::SequenceClassification { num_labels, .. } = architecture.head {
        let weight = vec![num_labels, width];
        list.push((Parameter::Classifier(Affine::Weight), weight));
        if architecture.classifier_bias {
            list.push((Parameter::Classifier(Affine::Bias), vec![num_labels]));
        }
    }
    if matches!(
        architecture.head,
        TaskHead::MaskedLm | TaskHead::PreTraining
    ) {
        if architecture.lm_transform {
            let (map, biased) = (vec![rows, width], architecture.lm_transform_bias);
            with_bias(&mut list, Parameter::LmTransform, map, rows, biased);
            with_bias(&mut list, Parameter::LmNorm, vec![rows], rows, norms);
        }
        if architecture.lm_bias {
            let bias = Parameter::LmDecoder(Affine::Bias);
            list.push((bias, vec![architecture.vocab_size]));
        }
    }
    if matches!(
        architecture.head,
        TaskHead::NextSentence | TaskHead::PreTraining
    ) {
        affine_map(&mut list, Parameter::NextSentence, vec![2, width], 2);
    }
    if let Some(transform) = architecture.token_transform {
        let (map, biased) = (vec![width, width], transform.bias);
        with_bias(&mut list, Parameter::TokenTransform, map, width, biased);
        if transform.norm {
            with_bias(&mut list, Parameter::TokenNorm, vec![width], width, norms);
        }
    }
    if let Some(scores) = architecture.head.token_scores() {
        affine_map(
            &mut list,
            Parameter::TokenScores,
            vec![scores, width],
            scores,
        );
    }
    list
}

fn layer_expected(
    architecture: &Architecture,
    index: usize,
    list: &mut Vec<(Parameter, Vec<usize>)>,
) {
    let (width, inner) = (architecture.hidden_size, architecture.neurons(index));
    let pruned = architecture
        .pruned_heads
        .get(&index)
        .map_or(0, BTreeSet::len);
    let heads = architecture.num_heads.saturating_sub(pruned) * architecture.head_dim();
    let mut add = |make: fn(Affine) -> LayerParameter, weight: Vec<usize>, bias: usize, biased| {
        list.push((Parameter::Layer(index, make(Affine::Weight)), weight));
        if biased {
            list.push((Parameter::Layer(index, make(Affine::Bias)), vec![bias]));
        }
    };
    let (maps, norms) = (architecture.attention_bias, architecture.norm_bias);
    let first = match architecture.feed_forward {
        FeedForward::Plain => inner,
        FeedForward::Gated => inner.saturating_mul(2),
    };
    if architecture.family.table().fused() {
        let all = heads.saturating_mul(3);
        add(LayerParameter::QueryKeyValue, vec![all, width], all, maps);
    } else {
        add(LayerParameter::Query, vec![heads, width], heads, maps);
        add(LayerParameter::Key, vec![heads, width], heads, maps);
        add(LayerParameter::Value, vec![heads, width], heads, maps);
    }
    if architecture.query_key_norm {
        add(LayerParameter::QueryNorm, vec![width], width, false);
        add(LayerParameter::KeyNorm, vec![width], width, false);
    }
    if let Some(distances) = architecture.disentangled.filter(|of| !of.shared) {
        if distances.queries {
            add(
                LayerParameter::DistanceQuery,
                vec![heads, width],
                heads,
                maps,
            );
        }
        if distances.keys {
            add(LayerParameter::DistanceKey, vec![heads, width], heads, maps);
        }
    }
    add(
        LayerParameter::AttentionOutput,
        vec![width, heads],
        width,
        maps,
    );
    if index > 0 || architecture.first_attention_norm {
        add(LayerParameter::AttentionNorm, vec![width], width, norms);
    }
    let maps = architecture.mlp_bias;
    if architecture.family.table().parted() {
        for half in [
            LayerParameter::MlpActivated as fn(Affine) -> LayerParameter,
            LayerParameter::MlpGate,
        ] {
            add(half, vec![inner, width], inner, maps);
        }
    } else {
        add(LayerParameter::MlpIn, vec![first, width], first, maps);
    }
    let maps = architecture.mlp_out_bias;
    add(LayerParameter::MlpOut, vec![width, inner], width, maps);
    add(LayerParameter::MlpNorm, vec![width], width, norms);
    if architecture.positions.is_relative() {
        let rows = (2 * architecture.max_positions).saturating_sub(1);
        list.push((
            Parameter::Layer(index, LayerParameter::DistanceEmbedding),
            vec![rows, architecture.head_dim()],
        ));
    }
}

fn affine_map(
    list: &mut Vec<(Parameter, Vec<usize>)>,
    make: fn(Affine) -> Parameter,
    weight: Vec<usize>,
    bias: usize,
) {
    with_bias(list, make, weight, bias, true);
}

/// A map or norm whose bias may be missing.
fn with_bias(
    list: &mut Vec<(Parameter, Vec<usize>)>,
    make: fn(Affine) -> Parameter,
    weight: Vec<usize>,
    bias: usize,
    biased: bool,
) {
    list.push((make(Affine::Weight), weight));
    if biased {
        list.push((make(Affine::Bias), vec![bias]));
    }
}
