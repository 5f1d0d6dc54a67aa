//! The graph of an architecture, from what it says alone: the same facts that the engine reads.

use bertology_checkpoint::{
    Activation, Affine, Architecture, Checkpoint, FeedForward, HeadSet, LayerParameter, NormKind,
    NormPlacement, Parameter, PositionIds, Positions, Segments,
};

use crate::graph::{Attr, BOOL, Element, Graph, Name, Size};
use crate::weights::{Data, Kept, Piece};

mod attention;
mod distances;
mod task;

/// The hidden states of a batch, `[batch, length, hidden]`.
const ROWS: [Size; 2] = [Size::Batch, Size::Length];

/// Builds the graph of one checkpoint.
pub(crate) struct Builder<'a> {
    checkpoint: &'a Checkpoint,
    arch: &'a Architecture,
    /// Heads that are left out besides those that are gone.
    without: &'a HeadSet,
    pub(crate) graph: Graph,
    /// `[batch, length]`
    ids: Name,
    /// `[batch, length]`: 1 for tokens, 0 for padding.
    mask: Name,
    segments: Option<Name>,
}

/// A weight or bias: what it is called, what of the checkpoint it is, and its shape in the graph.
#[derive(Debug, Clone)]
struct Weight {
    name: Parameter,
    piece: Piece,
}

/// An affine map of the graph.
#[derive(Debug, Clone)]
struct Map {
    weight: Weight,
    bias: Option<Weight>,
}

impl Weight {
    /// A whole vector.
    fn vector(parameter: Parameter, width: usize) -> Self {
        let mut weight = Self::whole(parameter, width, 1);
        weight.piece.vector = true;
        weight
    }

    /// A whole map or table.
    fn whole(parameter: Parameter, outputs: usize, inputs: usize) -> Self {
        Self {
            name: parameter,
            piece: Piece {
                parameter,
                outputs,
                inputs,
                vector: false,
                part: (0, 1),
                kept_outputs: None,
                kept_inputs: None,
                transposed: false,
            },
        }
    }
}

impl Map {
    /// A map of the checkpoint as it stands there.
    fn whole(
        make: impl Fn(Affine) -> Parameter,
        outputs: usize,
        inputs: usize,
        biased: bool,
    ) -> Self {
        Self {
            weight: Weight::whole(make(Affine::Weight), outputs, inputs),
            bias: biased.then(|| Weight::vector(make(Affine::Bias), outputs)),
        }
    }

    /// Changes what both are.
    fn each(mut self, mut change: impl FnMut(&mut Weight)) -> Self {
        change(&mut self.weight);
        self.bias.iter_mut().for_each(change);
        self
    }

    /// With these outputs only.
    fn keep_outputs(self, kept: Option<&Kept>) -> Self {
        self.each(|of| of.piece.kept_outputs = kept.cloned())
    }

    /// With these inputs only.
    fn keep_inputs(mut self, kept: Option<&Kept>) -> Self {
        self.weight.piece.kept_inputs = kept.cloned();
        self
    }

    /// As part of one tensor of the file.
    fn part_of(self, make: impl Fn(Affine) -> Parameter, part: (usize, usize)) -> Self {
        let mut affine = [Affine::Weight, Affine::Bias].into_iter();
        self.each(|of| {
            if let Some(affine) = affine.next() {
                of.piece.parameter = make(affine);
                of.piece.part = part;
            }
        })
    }
}

/// A parameter's name in the graph: `Layer(0, Query(Weight))` is `layer.0.query.weight`.
fn readable(parameter: Parameter) -> String {
    let mut name = String::new();
    for word in parameter
        .to_string()
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
    {
        if !name.is_empty() {
            name.push('.');
        }
        for (at, letter) in word.char_indices() {
            if letter.is_ascii_uppercase() && at > 0 {
                name.push('_');
            }
            name.push(letter.to_ascii_lowercase());
        }
    }
    name
}

impl<'a> Builder<'a> {
    pub(crate) fn new(checkpoint: &'a Checkpoint, without: &'a HeadSet) -> Self {
        let arch = checkpoint.architecture();
        let mut graph = Graph::default();
        let ids = graph.input("input_ids", Element::Int, ROWS.to_vec());
        let mask = graph.input("attention_mask", Element::Int, ROWS.to_vec());
        let segments = match arch.segments {
            Segments::Table(2..) => {
                Some(graph.input("token_type_ids", Element::Int, ROWS.to_vec()))
            }
            Segments::Table(_) | Segments::None | Segments::Words => None,
        };
        Self {
            checkpoint,
            arch,
            without,
            graph,
            ids,
            mask,
            segments,
        }
    }

    /// The whole graph, with the outputs that are asked for besides those of the heads.
    pub(crate) fn build(mut self, hidden_states: bool, attentions: bool) -> Graph {
        let arch = self.arch;
        let mut states = Vec::with_capacity(arch.num_layers + 1);
        let mut maps = Vec::with_capacity(arch.num_layers);
        self.graph.scope = "embeddings".into();
        let mut hidden = self.embeddings();
        states.push(hidden.clone());
        for layer in 0..arch.num_layers {
            self.graph.scope = format!("layer.{layer}");
            let (output, map) = self.block(layer, &hidden);
            hidden = output;
            states.push(hidden.clone());
            maps.push(map);
        }
        self.graph.scope = "encoder".into();
        if arch.norm == NormPlacement::Pre {
            let (width, biased) = (arch.hidden_size, arch.final_norm_bias);
            hidden = self.norm(&hidden, Parameter::FinalNorm, width, biased);
            states.pop();
            states.push(hidden.clone());
        }
        self.task(&hidden);
        let wide = [Size::Batch, Size::Length, Size::Fixed(arch.hidden_size)];
        if hidden_states {
            for (at, state) in states.iter().enumerate() {
                let name = format!("hidden_states.{at}");
                self.graph.output(name, state, wide.to_vec());
            }
        }
        if attentions {
            for (layer, map) in maps.into_iter().enumerate() {
                let heads = self.heads(layer).len();
                let map = map.unwrap_or_else(|| self.no_attention());
                let shape = vec![Size::Batch, Size::Fixed(heads), Size::Length, Size::Length];
                let name = format!("attentions.{layer}");
                self.graph.output(name, &map, shape);
            }
        }
        self.graph
    }

    /// The initializer of a weight.
    fn weight(&mut self, weight: &Weight) -> Name {
        let piece = &weight.piece;
        let kept = |kept: &Option<Kept>, size| match kept {
            Some(kept) => kept.slots.len() * kept.width,
            None => size,
        };
        let mut shape = vec![kept(&piece.kept_outputs, piece.outputs)];
        if !piece.vector {
            shape.push(kept(&piece.kept_inputs, piece.inputs));
        }
        if piece.transposed {
            shape.reverse();
        }
        let data = || Data::Piece(piece.clone());
        self.graph.initializer(readable(weight.name), &shape, data)
    }

    /// A parameter that is a vector.
    fn vector(&mut self, parameter: Parameter, width: usize) -> Name {
        self.weight(&Weight::vector(parameter, width))
    }

    /// A parameter that is a table.
    fn table(&mut self, parameter: Parameter, rows: usize, width: usize) -> Name {
        self.weight(&Weight::whole(parameter, rows, width))
    }

    /// `value [.., inputs]` through a map to `[.., outputs]`.
    fn linear(&mut self, value: &str, map: &Map) -> Name {
        let mut turned = map.weight.clone();
        turned.piece.transposed = true;
        let weight = self.weight(&turned);
        let product = self.graph.matmul(value, &weight);
        match &map.bias {
            None => product,
            Some(bias) => {
                let bias = self.weight(bias);
                self.graph.add(&product, &bias)
            }
        }
    }

    /// What a map of nothing gives: its bias, `[outputs]`.
    fn bias_alone(&mut self, map: &Map) -> Option<Name> {
        map.bias.as_ref().map(|bias| self.weight(bias))
    }

    /// A norm of rows `[.., width]`.
    fn norm(
        &mut self,
        value: &str,
        make: impl Fn(Affine) -> Parameter,
        width: usize,
        biased: bool,
    ) -> Name {
        let epsilon = self.arch.norm_epsilon as f32;
        let weight = self.vector(make(Affine::Weight), width);
        let bias = biased.then(|| self.vector(make(Affine::Bias), width));
        let graph = &mut self.graph;
        match self.arch.norm_kind {
            NormKind::Layer => {
                let inputs: Vec<&str> = [value, &weight]
                    .into_iter()
                    .chain(bias.as_deref())
                    .collect();
                let attributes = [("axis", Attr::Int(-1)), ("epsilon", Attr::Float(epsilon))];
                graph.with("LayerNormalization", &inputs, &attributes)
            }
            NormKind::RootMeanSquare => {
                let squares = graph.mul(value, value);
                let attributes = [("axes", Attr::Ints(&[-1])), ("keepdims", Attr::Int(1))];
                let mean = graph.with("ReduceMean", &[&squares], &attributes);
                let epsilon = graph.float(epsilon);
                let mean = graph.add(&mean, &epsilon);
                let scale = graph.op("Sqrt", &[&mean]);
                let normed = graph.op("Div", &[value, &scale]);
                let scaled = graph.mul(&normed, &weight);
                bias.map_or(scaled.clone(), |bias| graph.add(&scaled, &bias))
            }
        }
    }

    fn activation(&mut self, activation: Activation, x: &str) -> Name {
        let graph = &mut self.graph;
        match activation {
            Activation::Relu => graph.op("Relu", &[x]),
            Activation::Tanh => graph.op("Tanh", &[x]),
            Activation::Silu => {
                let share = graph.op("Sigmoid", &[x]);
                graph.mul(x, &share)
            }
            Activation::QuickGelu => {
                let scaled = graph.scaled(x, 1.702);
                let share = graph.op("Sigmoid", &[&scaled]);
                graph.mul(x, &share)
            }
            // Both in the order in which runtimes look for them, to compute them in one step.
            Activation::Gelu => {
                let [one, half] = [1.0, 0.5].map(|of| graph.float(of));
                let root = graph.float(std::f32::consts::SQRT_2);
                let scaled = graph.op("Div", &[x, &root]);
                let erf = graph.op("Erf", &[&scaled]);
                let share = graph.add(&erf, &one);
                let doubled = graph.mul(x, &share);
                graph.mul(&doubled, &half)
            }
            Activation::GeluTanh => {
                let [one, half] = [1.0, 0.5].map(|of| graph.float(of));
                let three = graph.float(3.0);
                let cube = graph.op("Pow", &[x, &three]);
                let cube = graph.scaled(&cube, 0.044_715);
                let sum = graph.add(x, &cube);
                let scaled = graph.scaled(&sum, (2.0 / std::f64::consts::PI).sqrt());
                let tanh = graph.op("Tanh", &[&scaled]);
                let share = graph.add(&tanh, &one);
                let halved = graph.mul(x, &half);
                graph.mul(&halved, &share)
            }
        }
    }

    /// `[batch, length, hidden]`: what tokens are before the first block.
    fn embeddings(&mut self) -> Name {
        let arch = self.arch;
        let width = arch.embedding_size;
        let words = self.table(Parameter::WordEmbeddings, arch.vocab_size, width);
        let mut sum = self.graph.gather(&words, &self.ids, 0);
        sum = self.drop_masks(&sum);
        if let Segments::Table(rows) = arch.segments {
            let segments = self.table(Parameter::SegmentEmbeddings, rows, width);
            // Of one row there is no choice.
            let segment = match &self.segments {
                Some(segments) => segments.clone(),
                None => self.graph.int(0),
            };
            let row = self.graph.gather(&segments, &segment, 0);
            sum = self.graph.add(&sum, &row);
        }
        if arch.positions == Positions::Absolute {
            let rows = arch.max_positions;
            let table = self.table(Parameter::PositionEmbeddings, rows, width);
            let positions = self.positions();
            let positions = self.graph.gather(&table, &positions, 0);
            sum = self.graph.add(&sum, &positions);
        }
        if arch.embedding_norm {
            sum = self.norm(&sum, Parameter::EmbeddingNorm, width, arch.norm_bias);
        }
        if arch.embedding_projection {
            let make = Parameter::EmbeddingProjection;
            sum = self.linear(&sum, &Map::whole(make, arch.hidden_size, width, true));
        }
        sum
    }

    /// What masks do to the embeddings of words, where they do something.
    fn drop_masks(&mut self, words: &str) -> Name {
        let Some(rule) = self.arch.token_dropout else {
            return words.to_owned();
        };
        let graph = &mut self.graph;
        let mask_id = graph.int(rule.mask_id.into());
        let is_mask = graph.op("Equal", &[&self.ids, &mask_id]);
        let ones = graph.cast(&is_mask, Element::Float.code());
        let real = graph.cast(&self.mask, Element::Float.code());
        let masks = graph.mul(&ones, &real);
        let (axis, keep) = (graph.ints(&[1]), [("keepdims", Attr::Int(1))]);
        let masks = graph.with("ReduceSum", &[&masks, &axis], &keep);
        let tokens = graph.with("ReduceSum", &[&real, &axis], &keep);
        let share = graph.op("Div", &[&masks, &tokens]);
        let one = graph.float(1.0);
        let left = graph.op("Sub", &[&one, &share]);
        let kept = graph.float(bertology_checkpoint::TokenDropout::KEPT as f32);
        let factor = graph.op("Div", &[&kept, &left]);
        let factor = graph.unsqueeze(&factor, &[2]);
        let scaled = graph.mul(words, &factor);
        let is_mask = graph.unsqueeze(&is_mask, &[2]);
        let zero = graph.float(0.0);
        graph.op("Where", &[&is_mask, &zero, &scaled])
    }

    /// `[batch, length]`: the position of each token, counted from the first that is no padding.
    fn positions(&mut self) -> Name {
        let graph = &mut self.graph;
        let axis = graph.int(1);
        match self.arch.position_ids {
            PositionIds::FromZero => {
                let count = graph.op("CumSum", &[&self.mask, &axis]);
                let one = graph.int(1);
                let before = graph.op("Sub", &[&count, &one]);
                graph.mul(&before, &self.mask)
            }
            PositionIds::AfterPadding { pad_id } => {
                let pad = graph.int(pad_id.into());
                let is_pad = graph.op("Equal", &[&self.ids, &pad]);
                let counts = graph.op("Not", &[&is_pad]);
                let counts = graph.cast(&counts, Element::Int.code());
                let counts = graph.mul(&counts, &self.mask);
                let count = graph.op("CumSum", &[&counts, &axis]);
                let count = graph.mul(&count, &counts);
                graph.add(&count, &pad)
            }
        }
    }

    /// `[batch, length]`, boolean: which tokens are no padding.
    fn real(&mut self) -> Name {
        self.graph.cast(&self.mask, BOOL)
    }

    /// A block: what it makes of `x [batch, length, hidden]`, and its attention `[batch, heads, query, key]`, which a block
    /// without heads has none of.
    fn block(&mut self, layer: usize, x: &str) -> (Name, Option<Name>) {
        let arch = self.arch;
        let own = arch.weights_of(layer);
        let (width, biased) = (arch.hidden_size, arch.norm_bias);
        let attention_norm =
            move |affine| Parameter::Layer(own, LayerParameter::AttentionNorm(affine));
        let mlp_norm = move |affine| Parameter::Layer(own, LayerParameter::MlpNorm(affine));
        let has_norm = layer > 0 || arch.first_attention_norm;
        match arch.norm {
            NormPlacement::Post => {
                let (update, map) = self.attention(layer, x);
                let mut h = self.added(x, update);
                if has_norm {
                    h = self.norm(&h, attention_norm, width, biased);
                }
                let update = self.feed_forward(layer, &h);
                let sum = self.added(&h, update);
                (self.norm(&sum, mlp_norm, width, biased), map)
            }
            NormPlacement::Pre => {
                let normed = if has_norm {
                    self.norm(x, attention_norm, width, biased)
                } else {
                    x.to_owned()
                };
                let (update, map) = self.attention(layer, &normed);
                let h = self.added(x, update);
                let normed = self.norm(&h, mlp_norm, width, biased);
                let update = self.feed_forward(layer, &normed);
                (self.added(&h, update), map)
            }
        }
    }

    /// The residual stream with what a half of a block adds, which may be nothing.
    fn added(&mut self, x: &str, update: Option<Name>) -> Name {
        match update {
            None => x.to_owned(),
            Some(update) => {
                let update = self.graph.scaled(&update, self.arch.branch_scale);
                self.graph.add(x, &update)
            }
        }
    }

    /// What the feed-forward half of a block gives.
    fn feed_forward(&mut self, layer: usize, x: &str) -> Option<Name> {
        let arch = self.arch;
        let own = arch.weights_of(layer);
        let (width, inner) = (arch.hidden_size, arch.neurons(layer));
        let of =
            |make: fn(Affine) -> LayerParameter| move |affine| Parameter::Layer(own, make(affine));
        let out = Map::whole(of(LayerParameter::MlpOut), width, inner, arch.mlp_out_bias);
        if inner == 0 {
            return self.bias_alone(&out);
        }
        let inside = match arch.feed_forward {
            FeedForward::Plain => {
                let map = Map::whole(of(LayerParameter::MlpIn), inner, width, arch.mlp_bias);
                let inside = self.linear(x, &map);
                self.activation(arch.activation, &inside)
            }
            FeedForward::Gated => {
                let halves = [LayerParameter::MlpActivated, LayerParameter::MlpGate];
                let halves: [fn(Affine) -> LayerParameter; 2] = halves;
                let [activated, gate] = [0, 1].map(|part| {
                    let make = of(halves[part]);
                    let map = Map::whole(make, inner, width, arch.mlp_bias);
                    let map = if self.checkpoint.parameter(make(Affine::Weight)).is_some() {
                        map
                    } else {
                        map.part_of(of(LayerParameter::MlpIn), (part, 2))
                    };
                    self.linear(x, &map)
                });
                let activated = self.activation(arch.activation, &activated);
                self.graph.mul(&activated, &gate)
            }
        };
        Some(self.linear(&inside, &out))
    }
}
