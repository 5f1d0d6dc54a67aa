//! One number per head.

use serde::{Deserialize, Serialize};

use bertology_model::{HeadId, Model, Real};

use crate::Error;

/// One number per head, `[layers, heads]`, and which heads have one.
///
/// Heads without a number (pruned away, or masked and not computed) hold 0 and are never part of a
/// norm, an extreme or a ranking.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct HeadTable {
    layers: usize,
    heads: usize,
    values: Vec<f64>,
    live: Vec<bool>,
}

/// A table as a file may hold it.
#[derive(Deserialize)]
struct Unchecked {
    layers: usize,
    heads: usize,
    values: Vec<f64>,
    live: Vec<bool>,
}

impl TryFrom<Unchecked> for HeadTable {
    type Error = String;

    fn try_from(table: Unchecked) -> Result<Self, String> {
        let Unchecked {
            layers,
            heads,
            values,
            live,
        } = table;
        if layers.checked_mul(heads) == Some(values.len()) && live.len() == values.len() {
            Ok(Self {
                layers,
                heads,
                values,
                live,
            })
        } else {
            Err(format!(
                "a table [{layers}, {heads}] with {} values and {} flags",
                values.len(),
                live.len()
            ))
        }
    }
}

impl HeadTable {
    /// How many heads have numbers, for messages.
    pub(crate) fn describe(&self) -> String {
        let count = self.live().count();
        format!("{count} of [{}, {}]", self.layers, self.heads)
    }

    /// Zeros for every head that `model` has.
    #[must_use]
    pub fn zeros<R: Real>(model: &Model<R>) -> Self {
        let arch = model.architecture();
        let cells = arch.num_layers * arch.num_heads;
        let mut live = vec![false; cells];
        for id in model.heads() {
            live[id.layer * arch.num_heads + id.head] = true;
        }
        Self {
            layers: arch.num_layers,
            heads: arch.num_heads,
            values: vec![0.0; cells],
            live,
        }
    }

    /// From row-major values; every head is live.
    ///
    /// # Panics
    /// If there are not `layers · heads` values.
    #[track_caller]
    #[must_use]
    pub fn from_values(layers: usize, heads: usize, values: Vec<f64>) -> Self {
        assert_eq!(values.len(), layers * heads, "[{layers}, {heads}]");
        Self {
            live: vec![true; values.len()],
            layers,
            heads,
            values,
        }
    }

    /// The same numbers, of these heads only.
    #[must_use]
    pub fn restricted(&self, keep: impl Fn(HeadId) -> bool) -> Self {
        let mut table = self.clone();
        for i in 0..table.values.len() {
            if !keep(self.id(i)) {
                table.live[i] = false;
                table.values[i] = 0.0;
            }
        }
        table
    }

    /// Number of layers.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// Heads per layer of the unpruned model.
    #[must_use]
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// The number of a head; `None` if it has none or does not exist.
    #[must_use]
    pub fn get(&self, id: HeadId) -> Option<f64> {
        if id.layer >= self.layers || id.head >= self.heads {
            return None;
        }
        let index = id.layer * self.heads + id.head;
        self.live[index].then(|| self.values[index])
    }

    /// Row-major values `[layers, heads]`; 0 for heads that are not live.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Which heads are live, row-major `[layers, heads]`.
    #[must_use]
    pub fn live_flags(&self) -> &[bool] {
        &self.live
    }

    /// The heads that have a number, in order.
    pub fn live(&self) -> impl Iterator<Item = HeadId> + '_ {
        (0..self.values.len())
            .filter(|i| self.live[*i])
            .map(|i| self.id(i))
    }

    /// Live heads and their numbers, in order.
    pub fn iter(&self) -> impl Iterator<Item = (HeadId, f64)> + '_ {
        (0..self.values.len())
            .filter(|i| self.live[*i])
            .map(|i| (self.id(i), self.values[i]))
    }

    /// Row-major values as NumPy files hold them.
    #[must_use]
    pub fn to_f32(&self) -> Vec<f32> {
        self.values.iter().map(|v| *v as f32).collect()
    }

    /// Applies `f` to every live number.
    #[must_use]
    pub fn map(&self, f: impl Fn(HeadId, f64) -> f64) -> Self {
        let mut table = self.clone();
        for i in 0..table.values.len() {
            if table.live[i] {
                table.values[i] = f(self.id(i), self.values[i]);
            }
        }
        table
    }

    fn id(&self, index: usize) -> HeadId {
        HeadId {
            layer: index / self.heads,
            head: index % self.heads,
        }
    }
}

/// Refuses a number of a head that is not finite; `values` are `[layers, heads]`, or nothing.
pub(crate) fn check_finite(what: &str, values: &[f64], heads: usize) -> Result<(), Error> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => {
            let id = HeadId {
                layer: at / heads,
                head: at % heads,
            };
            Err(Error::NotFinite {
                what: format!("{what} of {id}"),
                value: values[at],
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_read_from_a_file_has_its_shape() {
        let table = HeadTable::from_values(1, 2, vec![0.1, 0.2]);
        let text = serde_json::to_string(&table).unwrap();
        assert_eq!(serde_json::from_str::<HeadTable>(&text).unwrap(), table);
        let wrong = text.replace("\"heads\":2", "\"heads\":3");
        let error = serde_json::from_str::<HeadTable>(&wrong).unwrap_err();
        assert!(
            error.to_string().contains("[1, 3] with 2 values"),
            "{error}"
        );
    }
}
