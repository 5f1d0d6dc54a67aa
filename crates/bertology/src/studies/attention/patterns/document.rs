//! What one document's maps contribute.

use bertology_model::Matrix;
use bertology_model::kernels::softmax::entropy;

use super::classes::Places;
use super::{Denominators, Key, KeyClass, PAPER_SMOOTHING};

/// Where the attention of a query goes, or that of several together.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueryMass {
    pub(super) own: f64,
    pub(super) next: f64,
    pub(super) previous: f64,
    pub(super) begin: f64,
    pub(super) sep: f64,
    pub(super) punctuation: f64,
}

impl QueryMass {
    /// Of the query in row `i`, `[key]`.
    pub(super) fn of_row(i: usize, row: &[f32], places: &Places) -> Self {
        let at = |key: usize| row.get(key).copied().map_or(0.0, f64::from);
        let to = |keys: &[usize]| keys.iter().map(|key| at(*key)).sum();
        Self {
            own: at(i),
            next: at(i + 1),
            previous: i.checked_sub(1).map_or(0.0, at),
            begin: to(&places.begin),
            sep: to(&places.sep),
            punctuation: to(&places.punctuation),
        }
    }
}

/// The sums over one map that the averages of [`Key`]s are made of.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct KeySums {
    own: f64,
    next: f64,
    previous: f64,
    begin: f64,
    punctuation: f64,
    sep_to_sep: f64,
    rest_to_sep: f64,
}

impl KeySums {
    /// Of all rows of a map, `[query, key]`.
    pub(super) fn of_map(map: Matrix<'_, f32>, places: &Places) -> Self {
        let mut sums = Self::default();
        let mut sep_rows = places.sep.iter().peekable();
        for (i, row) in map.iter_rows().enumerate() {
            let is_sep = sep_rows.next_if(|at| **at == i).is_some();
            sums.add(&QueryMass::of_row(i, row, places), is_sep);
        }
        sums
    }

    /// Adds queries, which are separators or are not.
    pub(super) fn add(&mut self, queries: &QueryMass, are_sep: bool) {
        self.own += queries.own;
        self.next += queries.next;
        self.previous += queries.previous;
        self.begin += queries.begin;
        self.punctuation += queries.punctuation;
        *if are_sep {
            &mut self.sep_to_sep
        } else {
            &mut self.rest_to_sep
        } += queries.sep;
    }

    pub(super) fn of(&self, key: Key) -> f64 {
        match key {
            Key::Itself => self.own,
            Key::Next => self.next,
            Key::Previous => self.previous,
            Key::Sep => self.sep_to_sep + self.rest_to_sep,
            Key::Cls | Key::First => self.begin,
            Key::Punctuation => self.punctuation,
            Key::SepToSep => self.sep_to_sep,
            Key::RestToSep => self.rest_to_sep,
        }
    }
}

/// What [`KeySums::of`] a key is divided by; 0 where the document says nothing about the key.
pub(super) fn key_denominator(key: Key, places: &Places, how: Denominators) -> f64 {
    let n = places.tokens;
    let seps = places.sep.len();
    // Rows that see one of these: in causal models those from the first of them on.
    let seeing = |keys: &[usize]| match keys.first() {
        None => 0,
        Some(first) if places.causal => n - first,
        Some(_) => n,
    };
    let rows = match (how, key) {
        (_, Key::SepToSep) => seps,
        (Denominators::Paper, Key::RestToSep) => n - seps,
        (Denominators::Exact, Key::RestToSep) if seps == 0 => 0,
        (Denominators::Exact, Key::RestToSep) => n - seps,
        (Denominators::Paper, _) | (Denominators::Exact, Key::Itself) => n,
        (Denominators::Exact, Key::Next | Key::Previous) => n.saturating_sub(1),
        (Denominators::Exact, Key::Sep) => seeing(&places.sep),
        (Denominators::Exact, Key::Cls | Key::First) => seeing(&places.begin),
        (Denominators::Exact, Key::Punctuation) => seeing(&places.punctuation),
    };
    rows as f64
}

/// Entropies of one map: the sum over rows, that of the one row that has an average of its own, and the sum of
/// shares of what is possible.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct EntropySums {
    pub(super) all: f64,
    /// The first row; of causal models the last.
    pub(super) one: f64,
    /// Over rows that see more than one key.
    pub(super) normalized: f64,
}

/// Entropies of a map in nats; `scratch` is reused from map to map.
pub(super) fn entropies(
    map: Matrix<'_, f32>,
    causal: bool,
    smoothing: bool,
    scratch: &mut Vec<f64>,
) -> EntropySums {
    let mut found = EntropySums {
        all: 0.0,
        one: 0.0,
        normalized: 0.0,
    };
    for (i, row) in map.iter_rows().enumerate() {
        let seen = if causal { &row[..=i] } else { row };
        let nats = if smoothing {
            let share = PAPER_SMOOTHING / seen.len() as f64;
            scratch.clear();
            scratch.extend(
                seen.iter()
                    .map(|p| (1.0 - PAPER_SMOOTHING) * f64::from(*p) + share),
            );
            entropy(scratch)
        } else {
            f64::from(entropy(seen))
        };
        found.all += nats;
        if causal || i == 0 {
            found.one = nats;
        }
        if seen.len() > 1 {
            found.normalized += nats / (seen.len() as f64).ln();
        }
    }
    found
}

/// `Σ ln(keys that a row sees)` over rows, and how many rows see more than one.
pub(super) fn uniform(tokens: usize, causal: bool) -> (f64, usize) {
    if causal {
        let logs = (2..=tokens).map(|keys| (keys as f64).ln());
        return (logs.sum(), tokens.saturating_sub(1));
    }
    let sum = tokens as f64 * (tokens as f64).ln();
    (sum, if tokens > 1 { tokens } else { 0 })
}

/// The class of every token: the first of `targets` that has it.
pub(super) fn target_of(places: &Places, targets: &[KeyClass]) -> Vec<usize> {
    let other = targets.len().saturating_sub(1);
    let mut of = vec![other; places.tokens];
    for (class, target) in targets.iter().enumerate().rev() {
        let members = match target {
            KeyClass::Cls | KeyClass::First => &places.begin,
            KeyClass::Sep => &places.sep,
            KeyClass::Punctuation => &places.punctuation,
            KeyClass::Other => continue,
        };
        for at in members {
            of[*at] = class;
        }
    }
    of
}

/// Pairs of a query and a key of each class that it sees.
pub(super) fn pairs(target_of: &[usize], classes: usize, causal: bool) -> Vec<u64> {
    let n = target_of.len();
    let mut pairs = vec![0; classes];
    for (key, class) in target_of.iter().enumerate() {
        pairs[*class] += if causal { n - key } else { n } as u64;
    }
    pairs
}

/// Sums of `|value|` over a map's cells by the class of their key, each value times that of `weights` where
/// there are any.
pub(super) fn sums_by_target(
    map: Matrix<'_, f32>,
    weights: Option<&[f32]>,
    target_of: &[usize],
    classes: usize,
    causal: bool,
    columns: &mut Vec<f64>,
) -> Vec<f64> {
    let n = target_of.len();
    columns.clear();
    columns.resize(n, 0.0);
    for (i, row) in map.iter_rows().enumerate() {
        // What a causal query does not see is no attention: its weight is 0, but its gradient is not.
        let seen = if causal { i + 1 } else { n };
        match weights {
            None => {
                for (sum, value) in columns.iter_mut().zip(&row[..seen]) {
                    *sum += f64::from(value.abs());
                }
            }
            Some(weights) => {
                let weights = &weights[i * n..][..seen];
                for ((sum, value), weight) in columns.iter_mut().zip(&row[..seen]).zip(weights) {
                    *sum += (f64::from(*value) * f64::from(*weight)).abs();
                }
            }
        }
    }
    let mut sums = vec![0.0; classes];
    for (class, column) in target_of.iter().zip(columns.iter()) {
        sums[*class] += column;
    }
    sums
}
