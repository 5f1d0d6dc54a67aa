//! Averages over documents, for every head.

use bertology_model::HeadId;
use serde::{Deserialize, Serialize};

use crate::HeadTable;
use crate::studies::proportion::possible;

/// Ratios of documents on their way to an average; a cell a head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Ratios {
    /// Documents that had something to say.
    documents: u64,
    denominators: f64,
    /// Sums of ratios.
    sums: Vec<f64>,
    /// Sums of squared deviations from the mean ratio.
    deviations: Vec<f64>,
    numerators: Vec<f64>,
}

impl Ratios {
    pub(super) fn new(cells: usize) -> Self {
        Self {
            documents: 0,
            denominators: 0.0,
            sums: vec![0.0; cells],
            deviations: vec![0.0; cells],
            numerators: vec![0.0; cells],
        }
    }

    /// Adds a document; one whose denominator is 0 takes no part.
    pub(super) fn add(&mut self, numerators: &[f64], denominator: f64) {
        if denominator <= 0.0 {
            return;
        }
        let before = self.documents as f64;
        self.documents += 1;
        self.denominators += denominator;
        for (cell, numerator) in numerators.iter().enumerate() {
            let ratio = numerator / denominator;
            self.numerators[cell] += numerator;
            if before > 0.0 {
                // Of a sum of squares little would be left where all documents are nearly alike.
                let off = ratio - self.sums[cell] / before;
                self.deviations[cell] += off * off * before / (before + 1.0);
            }
            self.sums[cell] += ratio;
        }
    }

    /// Adds documents that were added up apart.
    pub(super) fn merge(&mut self, other: &Self) {
        let (a, b) = (self.documents as f64, other.documents as f64);
        if other.documents == 0 {
            return;
        }
        for cell in 0..self.sums.len() {
            if self.documents > 0 {
                let off = other.sums[cell] / b - self.sums[cell] / a;
                self.deviations[cell] += off * off * a * b / (a + b);
            }
            self.deviations[cell] += other.deviations[cell];
            self.sums[cell] += other.sums[cell];
            self.numerators[cell] += other.numerators[cell];
        }
        self.documents += other.documents;
        self.denominators += other.denominators;
    }

    /// Whether there is a number for each of so many cells.
    pub(super) fn has_cells(&self, cells: usize) -> bool {
        [&self.sums, &self.deviations, &self.numerators]
            .iter()
            .all(|values| values.len() == cells)
    }

    /// Documents that had something to say.
    pub(super) fn documents(&self) -> u64 {
        self.documents
    }

    /// Whether these can be ratios of at most `documents` documents, each at most `most` and with a denominator of at
    /// least 1, all denominators together at most `denominators`.
    pub(super) fn possible(&self, documents: u64, denominators: f64, most: f64) -> bool {
        let count = self.documents as f64;
        // Where there is no bound, there is one for no document all the same.
        let bound = |times: f64| if times > 0.0 { most * times } else { 0.0 };
        let within = |values: &[f64], most: f64| values.iter().all(|value| possible(*value, most));
        self.documents <= documents
            && possible(self.denominators, denominators)
            && possible(count, self.denominators)
            && within(&self.sums, bound(count))
            && within(&self.numerators, bound(self.denominators))
            && within(&self.deviations, bound(most * count))
    }

    /// The average over all documents of `heads`, a table of zeros.
    pub(super) fn finish(&self, heads: &HeadTable) -> Average {
        let documents = self.documents as f64;
        let fill = |known: bool, value: &dyn Fn(usize) -> f64| {
            let kept = heads.restricted(|_| known);
            kept.map(|id, _| value(id.layer * heads.heads() + id.head))
        };
        Average {
            documents: self.documents,
            mean: fill(self.documents > 0, &|cell| self.sums[cell] / documents),
            standard_error: fill(self.documents > 1, &|cell| {
                (self.deviations[cell] / (documents - 1.0) / documents).sqrt()
            }),
            micro: fill(self.documents > 0, &|cell| {
                self.numerators[cell] / self.denominators
            }),
        }
    }

    /// The mean of the first cell, for what is the same for all heads.
    pub(super) fn mean_of_first(&self) -> Option<f64> {
        let sum = self.sums.first()?;
        (self.documents > 0).then(|| sum / self.documents as f64)
    }
}

/// A quantity averaged over documents, for every head.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Average {
    /// Documents that had something to say: of attention to commas, those that had one, where
    /// [`Denominators::Exact`](super::Denominators::Exact) asks for one.
    pub documents: u64,
    /// Mean over documents, each counting alike; no head has a value if there is no document.
    pub mean: HeadTable,
    /// Standard error of that mean: the documents' standard deviation (divisor one less than their number)
    /// over the root of their number. No head has a value for fewer than two documents.
    pub standard_error: HeadTable,
    /// All numerators over all denominators: every row counts alike.
    pub micro: HeadTable,
}

impl Average {
    /// The mean of every layer's heads; `None` for a layer without heads, or without a document.
    #[must_use]
    pub fn layers(&self) -> Vec<Option<f64>> {
        let table = &self.mean;
        (0..table.layers())
            .map(|layer| {
                let heads = (0..table.heads()).filter_map(|head| table.get(HeadId { layer, head }));
                let values: Vec<f64> = heads.collect();
                (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_rows_are_averaged_apart() {
        let mut ratios = Ratios::new(1);
        // Ratios 1/2, 1 and 1/4: mean 7/12; deviations from it -1/12, 5/12 and -4/12, squared 42/144.
        for (numerator, denominator) in [(1.0, 2.0), (3.0, 3.0), (0.0, 0.0), (1.0, 4.0)] {
            ratios.add(&[numerator], denominator);
        }
        let found = ratios.finish(&HeadTable::from_values(1, 1, vec![0.0]));
        assert_eq!(found.documents, 3);
        let off = |table: &HeadTable, expected: f64| (table.values()[0] - expected).abs();
        assert!(off(&found.mean, 7.0 / 12.0) < 1e-15);
        assert!(off(&found.micro, 5.0 / 9.0) < 1e-15);
        assert!(off(&found.standard_error, (42.0_f64 / 144.0 / 2.0 / 3.0).sqrt()) < 1e-15);
        assert_eq!(found.layers(), [Some(found.mean.values()[0])]);
    }

    #[test]
    fn what_is_not_known_has_no_value() {
        let zeros = HeadTable::from_values(1, 2, vec![0.0; 2]);
        let mut ratios = Ratios::new(2);
        assert_eq!(ratios.finish(&zeros).mean.live().count(), 0);
        assert_eq!(ratios.finish(&zeros).layers(), [None]);
        ratios.add(&[1.0, 2.0], 2.0);
        let found = ratios.finish(&zeros);
        assert_eq!(found.mean.values(), [0.5, 1.0]);
        assert_eq!(found.standard_error.live().count(), 0);
    }
}
