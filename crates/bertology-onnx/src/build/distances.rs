//! What distances add to scores: numbers by themselves, or products with queries and keys.

use bertology_checkpoint::{Disentangled, LayerParameter, Parameter, Positions, ScoreBias};

use super::{Builder, Map, Weight};
use crate::graph::Name;
use crate::weights::Data;

/// Which rows of a table of distances are read, one after the other.
#[derive(Debug, Clone, Copy)]
enum Order {
    /// For keys ever further behind the query.
    ByKey,
    /// For queries ever further behind the key.
    ByQuery,
}

impl Builder<'_> {
    /// What the scores of a layer gain by distance alone, `[heads, query, key]`.
    pub(super) fn bias_of_distances(&mut self, layer: usize) -> Option<Name> {
        let arch = self.arch;
        let heads = self.heads(layer);
        let of_heads = if heads.len() == arch.num_heads {
            String::new()
        } else {
            format!(".{}", self.named_heads(layer))
        };
        match arch.score_bias {
            ScoreBias::None => None,
            ScoreBias::Slopes => {
                let slopes = || {
                    let slope = |head: &usize| -ScoreBias::slope(*head, arch.num_heads) as f32;
                    Data::Floats(heads.iter().map(slope).collect())
                };
                let name = format!("slopes{of_heads}");
                let slopes = self.graph.initializer(name, &[heads.len(), 1, 1], slopes);
                let distance = self.distance();
                Some(self.graph.mul(&slopes, &distance))
            }
            ScoreBias::Buckets => {
                let parameter = Parameter::RelativeAttentionBias;
                let table = self.table(parameter, ScoreBias::BUCKETS, arch.num_heads);
                let places = arch.max_positions as isize - 1;
                let buckets = || {
                    let bucket = |offset| ScoreBias::bucket(offset) as i64;
                    Data::Ints((-places..=places).map(bucket).collect())
                };
                let count = 2 * arch.max_positions - 1;
                let buckets = self.graph.initializer("buckets".into(), &[count], buckets);
                // By tables alone, so that runtimes compute it once: `[heads, distances]`.
                let graph = &mut self.graph;
                let turned = graph.transpose(&table, &[1, 0]);
                let by_offset = graph.gather(&turned, &buckets, 1);
                let by_offset = if of_heads.is_empty() {
                    by_offset
                } else {
                    let heads: Vec<i64> = heads.iter().map(|head| *head as i64).collect();
                    let heads = graph.ints(&heads);
                    graph.gather(&by_offset, &heads, 0)
                };
                let behind = self.behind();
                let first = self.graph.int(places as i64);
                let places = self.graph.add(&behind, &first);
                Some(self.graph.gather(&by_offset, &places, 1))
            }
        }
    }

    /// The heads of a layer in a name.
    fn named_heads(&self, layer: usize) -> String {
        let heads: Vec<String> = self.heads(layer).iter().map(usize::to_string).collect();
        heads.join("_")
    }

    /// Products of queries, already scaled, and of keys with what distances have, `[batch, heads, query, key]` each.
    pub(super) fn products_with_distances(
        &mut self,
        layer: usize,
        query: &str,
        key: &str,
        scale: f64,
    ) -> Vec<Name> {
        let mut products = Vec::new();
        let [keys, queries] = self.of_distances(layer);
        if let Some(keys) = keys {
            products.push(self.by_distance(query, &keys, Order::ByKey));
        }
        if let Some(queries) = queries {
            let key = self.graph.scaled(key, scale);
            let product = self.by_distance(&key, &queries, Order::ByQuery);
            products.push(self.graph.transpose(&product, &[0, 1, 3, 2]));
        }
        products
    }

    /// The keys that distances have in a layer, then their queries, where they have them: `[heads or nothing, head_dim, rows]`.
    fn of_distances(&mut self, layer: usize) -> [Option<Name>; 2] {
        let arch = self.arch;
        if arch.positions.is_relative() {
            let own = arch.weights_of(layer);
            let parameter = Parameter::Layer(own, LayerParameter::DistanceEmbedding);
            let rows = 2 * arch.max_positions - 1;
            let mut table = Weight::whole(parameter, rows, arch.head_dim());
            table.piece.transposed = true;
            let table = self.weight(&table);
            let both = arch.positions == Positions::RelativeKeyQuery;
            return [Some(table.clone()), both.then_some(table)];
        }
        let Some(rule) = arch.disentangled else {
            return [None, None];
        };
        let keys = rule.keys.then(|| {
            let make = if rule.shared {
                LayerParameter::Key
            } else {
                LayerParameter::DistanceKey
            };
            self.through(layer, rule, self.to_kept_heads(layer, make))
        });
        let queries = rule.queries.then(|| {
            let make = if rule.shared {
                LayerParameter::Query
            } else {
                LayerParameter::DistanceQuery
            };
            self.through(layer, rule, self.to_kept_heads(layer, make))
        });
        [keys, queries]
    }

    /// The rows of all distances through a map of a layer, `[heads, head_dim, rows]`.
    fn through(&mut self, layer: usize, rule: Disentangled, map: Map) -> Name {
        let (arch, width) = (self.arch, self.arch.hidden_size);
        let mut rows = self.table(Parameter::RelativeEmbeddings, rule.rows(), width);
        if rule.normed {
            rows = self.norm(&rows, Parameter::RelativeNorm, width, arch.norm_bias);
        }
        let (heads, dim) = (self.heads(layer).len() as i64, arch.head_dim() as i64);
        let mapped = self.linear(&rows, &map);
        let parts = self.graph.reshape(&mapped, &[-1, heads, dim]);
        self.graph.transpose(&parts, &[1, 2, 0])
    }

    /// `[batch, heads, n, n]`: `value [batch, heads, n, head_dim]` times what each distance has, `met [.., head_dim, rows]`. A row
    /// of the result belongs to one token, its columns to the others.
    fn by_distance(&mut self, value: &str, met: &str, order: Order) -> Name {
        let arch = self.arch;
        let reach = arch.max_positions as isize;
        let name = match order {
            Order::ByKey => "distances.by_key",
            Order::ByQuery => "distances.by_query",
        };
        let row = |behind: isize| match arch.disentangled {
            Some(rule) => rule.row(behind),
            None => (behind + reach - 1)
                .unsigned_abs()
                .min(2 * arch.max_positions - 2),
        };
        // One for each offset of two tokens from the least on, and one more that nobody reads.
        let rows = || {
            let rows = (1 - reach..=reach).map(|offset| match order {
                Order::ByKey => row(-offset) as i64,
                Order::ByQuery => row(offset) as i64,
            });
            Data::Ints(rows.collect())
        };
        let table = self
            .graph
            .initializer(name.into(), &[2 * arch.max_positions], rows);
        let length = self.length();
        let graph = &mut self.graph;
        // The offsets that there are within n tokens, 2n with the one that nobody reads.
        let all = graph.ints(&[arch.max_positions as i64]);
        let start = graph.op("Sub", &[&all, &length]);
        let end = graph.add(&all, &length);
        let rows = graph.slice(&table, &start, &end, 0);
        let met = graph.gather(met, &rows, -1);
        let products = graph.matmul(value, &met);
        // Row i of `[n, 2n]` is wanted from its place n - 1 - i on. Laid end to end, from n - 1 on, in rows that are shorter
        // by one, all of them begin there.
        let flat = graph.reshape(&products, &[0, 0, -1]);
        let one = graph.ints(&[1]);
        let first = graph.op("Sub", &[&length, &one]);
        let two = graph.ints(&[2]);
        let double = graph.mul(&length, &two);
        let shorter = graph.op("Sub", &[&double, &one]);
        let count = graph.mul(&shorter, &length);
        let last = graph.add(&first, &count);
        let flat = graph.slice(&flat, &first, &last, 2);
        let same = graph.ints(&[0, 0]);
        let shape = graph.concat(&[&same, &length, &shorter], 0);
        let skewed = graph.op("Reshape", &[&flat, &shape]);
        let zero = graph.ints(&[0]);
        graph.slice(&skewed, &zero, &length, 3)
    }
}
