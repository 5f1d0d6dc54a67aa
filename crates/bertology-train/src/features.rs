//! A sentence as a probe sees it.

use crate::Error;
use crate::error::expect;

/// Which rows and columns of a sentence's word maps are its words, and which columns speak for ROOT.
///
/// The units of BERT are `[CLS] w1 … wm [SEP]`: words 1 to m, evidence for ROOT at the first and the last
/// column. A causal model has `w1 … wm`, and its first column is the evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Rows (and columns) of a map.
    pub units: usize,
    /// For each word its unit; nothing for a word without pieces, whose features are zero.
    pub words: Vec<Option<usize>>,
    /// Columns that are evidence for ROOT, each with a factor that is learnt.
    pub roots: Vec<usize>,
}

impl Layout {
    /// `[CLS] w1 … wm [SEP]`.
    #[must_use]
    pub fn bert(words: usize) -> Self {
        Self {
            units: words + 2,
            words: (1..=words).map(Some).collect(),
            roots: vec![0, words + 1],
        }
    }

    /// `w1 … wm`, the first column as evidence for ROOT.
    #[must_use]
    pub fn causal(words: usize) -> Self {
        Self {
            units: words,
            words: (0..words).map(Some).collect(),
            roots: vec![0],
        }
    }
}

/// `[word, column, channel]`: attention from a word and to it.
///
/// Columns are the pieces of evidence for ROOT, then the words as candidates. Channel `k < heads` is the
/// attention of head k from the word to the column (α_ij), channel `heads + k` that from the column to the
/// word (α_ji): Clark et al. 2019, section 5.2.
#[derive(Debug, Clone, PartialEq)]
pub struct Features<T = f32> {
    pub(crate) words: usize,
    pub(crate) roots: usize,
    pub(crate) channels: usize,
    pub(crate) values: Vec<T>,
}

impl Features {
    /// From the word maps `[head, unit, unit]` of a sentence.
    ///
    /// # Errors
    /// [`Error::Shape`] where the maps are not whole or the layout points beyond them.
    pub fn from_maps(maps: &[f32], heads: usize, layout: &Layout) -> Result<Self, Error> {
        let units = layout.units;
        expect("maps of a sentence", maps.len(), heads * units * units)?;
        let columns: Vec<Option<usize>> = layout
            .roots
            .iter()
            .map(|unit| Some(*unit))
            .chain(layout.words.iter().copied())
            .collect();
        if let Some(beyond) = columns.iter().flatten().find(|unit| **unit >= units) {
            expect("layout of a sentence", *beyond + 1, units)?;
        }
        let (words, channels) = (layout.words.len(), 2 * heads);
        let mut values = vec![0.0; words * columns.len() * channels];
        for (word, row) in values
            .chunks_exact_mut(columns.len() * channels)
            .enumerate()
        {
            let Some(from) = layout.words[word] else {
                continue;
            };
            for (column, cell) in columns.iter().zip(row.chunks_exact_mut(channels)) {
                let Some(to) = *column else { continue };
                let (forth, back) = cell.split_at_mut(heads);
                for (head, (forth, back)) in forth.iter_mut().zip(back).enumerate() {
                    let map = &maps[head * units * units..];
                    *forth = map[from * units + to];
                    *back = map[to * units + from];
                }
            }
        }
        Ok(Self {
            words,
            roots: layout.roots.len(),
            channels,
            values,
        })
    }

    /// Those of a sentence whose attention nobody reads.
    pub(crate) fn none(words: usize) -> Self {
        Self {
            words,
            roots: 0,
            channels: 0,
            values: Vec::new(),
        }
    }
}

impl<T> Features<T> {
    /// Number of words, m.
    #[must_use]
    pub fn words(&self) -> usize {
        self.words
    }

    /// Columns in all.
    pub(crate) fn columns(&self) -> usize {
        self.roots + self.words
    }
}

/// A sentence with its features, the vectors of its words and its gold heads.
#[derive(Debug, Clone, PartialEq)]
pub struct Example<T = f32> {
    /// Attention from and to each word.
    pub features: Features<T>,
    /// `[word, dim]`; empty where no probe reads words.
    pub vectors: Vec<T>,
    /// Head of each word: 0 for ROOT, else the word's number from 1.
    pub heads: Vec<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Map values that say where they come from: head, row, column.
    fn maps(heads: usize, units: usize) -> Vec<f32> {
        let mut maps = Vec::new();
        for head in 0..heads {
            for row in 0..units {
                maps.extend((0..units).map(|column| (100 * head + 10 * row + column) as f32));
            }
        }
        maps
    }

    #[test]
    fn both_directions_and_the_evidence_for_root() {
        let features = Features::from_maps(&maps(2, 4), 2, &Layout::bert(2)).unwrap();
        assert_eq!(
            (features.words, features.columns(), features.channels),
            (2, 4, 4)
        );
        let cell = |word: usize, column: usize| &features.values[(word * 4 + column) * 4..][..4];
        assert_eq!(cell(0, 0), [10.0, 110.0, 1.0, 101.0]); // word 1, [CLS]
        assert_eq!(cell(0, 1), [13.0, 113.0, 31.0, 131.0]); // word 1, [SEP]
        assert_eq!(cell(0, 3), [12.0, 112.0, 21.0, 121.0]); // word 1, word 2
        assert_eq!(cell(1, 2), [21.0, 121.0, 12.0, 112.0]); // word 2, word 1
    }

    #[test]
    fn a_causal_model_has_one_piece_of_evidence() {
        let features = Features::from_maps(&maps(1, 2), 1, &Layout::causal(2)).unwrap();
        assert_eq!((features.roots, features.columns()), (1, 3));
        assert_eq!(features.values[6..8], [10.0, 1.0]); // word 2, ROOT
        assert_eq!(features.values[8..10], [10.0, 1.0]); // word 2, word 1
    }

    #[test]
    fn a_word_without_pieces_is_all_zero() {
        let mut layout = Layout::bert(2);
        layout.words = vec![Some(1), None];
        layout.units = 3;
        layout.roots = vec![0, 2];
        let features = Features::from_maps(&maps(1, 3), 1, &layout).unwrap();
        assert_eq!(
            features.values[..8],
            [10.0, 1.0, 12.0, 21.0, 11.0, 11.0, 0.0, 0.0]
        );
        assert!(features.values[8..].iter().all(|value| *value == 0.0));
    }

    #[test]
    fn maps_of_another_size_are_refused() {
        assert!(Features::from_maps(&maps(2, 4), 2, &Layout::bert(3)).is_err());
        let mut layout = Layout::bert(2);
        layout.words[1] = Some(4);
        assert!(Features::from_maps(&maps(2, 4), 2, &layout).is_err());
    }
}
