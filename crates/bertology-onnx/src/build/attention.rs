//! Attention: queries and keys, what is seen, scores, probabilities, and what they make of values.

use bertology_checkpoint::{Affine, LayerParameter, Parameter, Positions, Rotary};

use super::{Builder, Map};
use crate::graph::{Attr, Element, Name};
use crate::weights::{Data, Kept};

type Make = fn(Affine) -> LayerParameter;

impl Builder<'_> {
    /// The heads of a layer that take part, under their original numbers.
    pub(super) fn heads(&self, layer: usize) -> Vec<usize> {
        let zeroed = self.arch.zeroed_heads.get(&layer);
        let gone = |head: &usize| {
            zeroed.is_some_and(|set| set.contains(head)) || self.without.contains(layer, *head)
        };
        let heads = self.arch.heads(layer).into_iter();
        heads.filter(|head| !gone(head)).collect()
    }

    /// Their places among those of the file, where they are not all of these.
    fn kept(&self, layer: usize) -> Option<Kept> {
        let (there, left) = (self.arch.heads(layer), self.heads(layer));
        let place = |head: &usize| there.binary_search(head).ok();
        (there.len() > left.len()).then(|| Kept {
            width: self.arch.head_dim(),
            slots: left.iter().filter_map(place).collect(),
        })
    }

    /// The number of a layer in the names of its maps: that of the first layer with the same weights, unless that one has
    /// other heads.
    fn named(&self, layer: usize) -> usize {
        let own = self.arch.weights_of(layer);
        if self.heads(own) == self.heads(layer) {
            own
        } else {
            layer
        }
    }

    /// A map from hidden states to something of all heads of the file; queries, keys and values may be one tensor there.
    pub(super) fn to_heads(&self, layer: usize, make: Make) -> Map {
        let arch = self.arch;
        let outputs = arch.heads(layer).len() * arch.head_dim();
        let named = self.named(layer);
        let of = |make: Make| move |affine| Parameter::Layer(named, make(affine));
        let map = Map::whole(of(make), outputs, arch.hidden_size, arch.attention_bias);
        if self
            .checkpoint
            .parameter(of(make)(Affine::Weight))
            .is_some()
        {
            return map;
        }
        let part = match make(Affine::Weight) {
            LayerParameter::Query(_) => 0,
            LayerParameter::Key(_) => 1,
            _ => 2,
        };
        map.part_of(of(LayerParameter::QueryKeyValue), (part, 3))
    }

    /// The same of the heads that take part.
    pub(super) fn to_kept_heads(&self, layer: usize, make: Make) -> Map {
        self.to_heads(layer, make)
            .keep_outputs(self.kept(layer).as_ref())
    }

    /// Queries or keys `[batch, length, W]`, behind their norm where they have one, which is of all heads together.
    fn projected(&mut self, layer: usize, x: &str, make: Make, norm: Make) -> Name {
        if !self.arch.query_key_norm {
            return self.linear(x, &self.to_kept_heads(layer, make));
        }
        let width = self.arch.heads(layer).len() * self.arch.head_dim();
        let own = self.arch.weights_of(layer);
        let all = self.linear(x, &self.to_heads(layer, make));
        let norm = move |affine| Parameter::Layer(own, norm(affine));
        let normed = self.norm(&all, norm, width, false);
        let Some(kept) = self.kept(layer) else {
            return normed;
        };
        let columns = kept.slots.iter().flat_map(|slot| {
            let first = slot * kept.width;
            first..first + kept.width
        });
        let columns: Vec<i64> = columns.map(|column| column as i64).collect();
        let (name, count) = (format!("layer.{layer}.columns"), columns.len());
        let columns = || Data::Ints(columns);
        let columns = self.graph.initializer(name, &[count], columns);
        self.graph.gather(&normed, &columns, -1)
    }

    /// What attention adds to the residual stream, `[batch, length, hidden]`, and its probabilities `[batch, heads, query, key]`.
    pub(super) fn attention(&mut self, layer: usize, x: &str) -> (Option<Name>, Option<Name>) {
        use LayerParameter as P;
        let arch = self.arch;
        let heads = self.heads(layer).len();
        let (there, dim) = (arch.heads(layer).len(), arch.head_dim());
        let named = self.named(layer);
        let output = Map::whole(
            |affine| Parameter::Layer(named, P::AttentionOutput(affine)),
            arch.hidden_size,
            there * dim,
            arch.attention_bias,
        )
        .keep_inputs(self.kept(layer).as_ref());
        if heads == 0 {
            return (self.bias_alone(&output), None);
        }
        let split = [0, 0, heads as i64, dim as i64];
        let query = self.projected(layer, x, P::Query, P::QueryNorm);
        let key = self.projected(layer, x, P::Key, P::KeyNorm);
        let value = self.linear(x, &self.to_kept_heads(layer, P::Value));
        let [mut query, mut key, value] = [query, key, value].map(|of| {
            let parts = self.graph.reshape(&of, &split);
            self.graph.transpose(&parts, &[0, 2, 1, 3])
        });
        if let Positions::Rotary(rotary) = arch.positions {
            query = self.turned(layer, rotary, &query);
            key = self.turned(layer, rotary, &key);
        }
        let scale = arch.score_scale.factor(dim, layer);
        query = self.graph.scaled(&query, scale);
        let turned_key = self.graph.transpose(&key, &[0, 1, 3, 2]);
        let mut scores = self.graph.matmul(&query, &turned_key);
        let products = self.products_with_distances(layer, &query, &key, scale);
        for product in products {
            scores = self.graph.add(&scores, &product);
        }
        let bias = self.added_to_scores(layer);
        scores = self.graph.add(&scores, &bias);
        let along_keys = [("axis", Attr::Int(-1))];
        let probabilities = self.graph.with("Softmax", &[&scores], &along_keys);
        let context = self.graph.matmul(&probabilities, &value);
        let context = self.graph.transpose(&context, &[0, 2, 1, 3]);
        let context = self.graph.reshape(&context, &[0, 0, (heads * dim) as i64]);
        (Some(self.linear(&context, &output)), Some(probabilities))
    }

    /// Queries or keys `[batch, heads, length, head_dim]`, turned by the angles of their positions.
    fn turned(&mut self, layer: usize, rotary: Rotary, value: &str) -> Name {
        let half = rotary.width / 2;
        let in_window = self.arch.reach(layer).is_some();
        let base = if in_window {
            rotary.window_base
        } else {
            rotary.base
        };
        let count = self.arch.max_positions;
        let positions = self.positions();
        let [cosines, sines] = [("cosines", f64::cos as fn(f64) -> f64), ("sines", f64::sin)].map(
            |(what, function)| {
                let name = format!("rotary.{what}.{base}");
                let table = || Data::Floats(angles(rotary, base, count, function));
                let table = self.graph.initializer(name, &[count, half], table);
                let rows = self.graph.gather(&table, &positions, 0);
                self.graph.unsqueeze(&rows, &[1])
            },
        );
        let dim = self.arch.head_dim();
        let bounds = [0, half, 2 * half, dim];
        let bounds = bounds.map(|bound| self.graph.ints(&[bound as i64]));
        let graph = &mut self.graph;
        let a = graph.slice(value, &bounds[0], &bounds[1], -1);
        let b = graph.slice(value, &bounds[1], &bounds[2], -1);
        let (ac, bs) = (graph.mul(&a, &cosines), graph.mul(&b, &sines));
        let first = graph.op("Sub", &[&ac, &bs]);
        let (bc, as_) = (graph.mul(&b, &cosines), graph.mul(&a, &sines));
        let second = graph.add(&bc, &as_);
        if rotary.width == dim {
            return graph.concat(&[&first, &second], -1);
        }
        let rest = graph.slice(value, &bounds[2], &bounds[3], -1);
        graph.concat(&[&first, &second, &rest], -1)
    }

    /// The probabilities of a layer without heads: `[batch, 0, query, key]`.
    pub(super) fn no_attention(&mut self) -> Name {
        let graph = &mut self.graph;
        let shape = graph.op("Shape", &[&self.ids]);
        let places = graph.ints(&[0, 1, 1]);
        let shape = graph.gather(&shape, &places, 0);
        let heads = graph.ints(&[0]);
        let (one, three) = (graph.ints(&[1]), graph.ints(&[3]));
        let zero = graph.ints(&[0]);
        let batch = graph.slice(&shape, &zero, &one, 0);
        let pair = graph.slice(&shape, &one, &three, 0);
        let shape = graph.concat(&[&batch, &heads, &pair], 0);
        graph.op("ConstantOfShape", &[&shape])
    }

    /// What is added to the scores of a layer, `[batch or 1, heads or 1, query or 1, key]`: what distance says, and a number
    /// below all scores for keys that are not seen.
    fn added_to_scores(&mut self, layer: usize) -> Name {
        let seen = self.seen(layer);
        let zero = self.graph.float(0.0);
        // Not infinite: a text that is all padding shall have attention that is a number.
        let never = self.graph.float(f32::MIN);
        let hidden = self.graph.op("Where", &[&seen, &zero, &never]);
        match self.bias_of_distances(layer) {
            None => hidden,
            Some(bias) => self.graph.add(&bias, &hidden),
        }
    }

    /// Which keys are seen, boolean: those that are no padding, and stand where the layer looks.
    fn seen(&mut self, layer: usize) -> Name {
        let real = self.real();
        let real = self.graph.unsqueeze(&real, &[1, 2]);
        let limit = match self.arch.reach(layer) {
            Some(reach) => {
                let behind = self.behind();
                let distance = self.graph.op("Abs", &[&behind]);
                let reach = self.graph.int(i64::try_from(reach).unwrap_or(i64::MAX));
                self.graph.op("LessOrEqual", &[&distance, &reach])
            }
            None if self.arch.causal => {
                let behind = self.behind();
                let zero = self.graph.int(0);
                self.graph.op("LessOrEqual", &[&behind, &zero])
            }
            None => return real,
        };
        self.graph.op("And", &[&real, &limit])
    }

    /// `[1]`: the length of the longest text.
    pub(super) fn length(&mut self) -> Name {
        let shape = self.graph.op("Shape", &[&self.ids]);
        let place = self.graph.ints(&[1]);
        self.graph.gather(&shape, &place, 0)
    }

    /// `[query, key]`: how many tokens the key stands behind the query.
    pub(super) fn behind(&mut self) -> Name {
        let shape = self.graph.op("Shape", &[&self.ids]);
        let graph = &mut self.graph;
        let (zero, one) = (graph.int(0), graph.int(1));
        let length = graph.gather(&shape, &one, 0);
        let places = graph.op("Range", &[&zero, &length, &one]);
        let keys = graph.unsqueeze(&places, &[0]);
        let queries = graph.unsqueeze(&places, &[1]);
        graph.op("Sub", &[&keys, &queries])
    }

    /// `[query, key]`, as numbers: how far apart they are.
    pub(super) fn distance(&mut self) -> Name {
        let behind = self.behind();
        let distance = self.graph.op("Abs", &[&behind]);
        self.graph.cast(&distance, Element::Float.code())
    }
}

/// `[positions, width / 2]`: a function of all angles, which are f32 numbers as in transformers.
fn angles(rotary: Rotary, base: f64, positions: usize, function: fn(f64) -> f64) -> Vec<f32> {
    let width = rotary.width;
    let frequencies: Vec<f32> = (0..width / 2)
        .map(|i| {
            let exponent = f64::from((2 * i) as f32 / width as f32);
            1.0 / base.powf(exponent) as f32 / rotary.slowdown as f32
        })
        .collect();
    let angles = (0..positions).flat_map(|at| frequencies.iter().map(move |f| at as f32 * f));
    angles
        .map(|angle| function(f64::from(angle)) as f32)
        .collect()
}
