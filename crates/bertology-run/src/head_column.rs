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
        self.values.get(self.place(layer, head)?).copied().flatten()
    }

    /// Where a head's number lies, if there is such a head: its numbers come out of files.
    fn place(&self, layer: usize, head: usize) -> Option<usize> {
        (layer < self.layers && head < self.heads).then(|| layer * self.heads + head)
    }

    /// Sets the number of a head; false if there is no such head.
    pub fn set(&mut self, layer: usize, head: usize, value: Option<f64>) -> bool {
        let slot = self.place(layer, head);
        match slot.and_then(|at| self.values.get_mut(at)) {
            Some(slot) => {
                *slot = value;
                true
            }
            None => false,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_no_model_has_is_none() {
        let mut column = HeadColumn::empty(2, 3);
        assert!(column.set(1, 2, Some(4.0)));
        assert_eq!(column.get(1, 2), Some(4.0));
        for (layer, head) in [(2, 0), (0, 3), (usize::MAX, 0), (usize::MAX, usize::MAX)] {
            assert!(!column.set(layer, head, Some(1.0)), "{layer}.{head}");
            assert_eq!(column.get(layer, head), None);
        }
    }
}
