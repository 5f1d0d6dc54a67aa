//! A number per head.

/// A number per head, `[layers, heads]`; none where the head is not there, masked or was not asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadColumn {
    /// Number of layers.
    pub layers: usize,
    /// Heads per layer of the unpruned model.
    pub heads: usize,
    /// Row-major `[layers, heads]`.
    pub values: Vec<Option<f64>>,
}

impl HeadColumn {
    /// A table without a number.
    #[must_use]
    pub fn empty(layers: usize, heads: usize) -> Self {
        Self {
            layers,
            heads,
            values: vec![None; layers * heads],
        }
    }

    /// The number of a head; `None` if it has none or does not exist.
    #[must_use]
    pub fn get(&self, layer: usize, head: usize) -> Option<f64> {
        let inside = layer < self.layers && head < self.heads;
        self.values
            .get(layer * self.heads + head)
            .copied()
            .flatten()
            .filter(|_| inside)
    }

    /// Sets the number of a head; false if there is no such head.
    pub fn set(&mut self, layer: usize, head: usize, value: Option<f64>) -> bool {
        let inside = layer < self.layers && head < self.heads;
        match self.values.get_mut(layer * self.heads + head) {
            Some(slot) if inside => {
                *slot = value;
                true
            }
            _ => false,
        }
    }

    /// All heads that have a number.
    pub fn iter(&self) -> impl Iterator<Item = ((usize, usize), f64)> {
        let heads = self.heads.max(1);
        let all = self.values.iter().enumerate();
        all.filter_map(move |(at, value)| Some(((at / heads, at % heads), (*value)?)))
    }

    /// All numbers.
    pub fn known(&self) -> impl Iterator<Item = f64> {
        self.values.iter().flatten().copied()
    }

    /// The mean of each layer's heads.
    #[must_use]
    pub fn layer_means(&self) -> Vec<Option<f64>> {
        let rows = self.values.chunks(self.heads.max(1));
        rows.map(|row| {
            let known: Vec<f64> = row.iter().flatten().copied().collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        })
        .collect()
    }

    /// The same numbers, of these places only.
    #[must_use]
    pub fn keep(mut self, keep: impl Fn(usize) -> bool) -> Self {
        for (at, value) in self.values.iter_mut().enumerate() {
            if !keep(at) {
                *value = None;
            }
        }
        self
    }
}
