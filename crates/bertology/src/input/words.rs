//! From tokens to words: which tokens a word consists of, and what attention between words is.
//!
//! Clark et al. 2019, section 4.1: attention *to* a word is the sum over its tokens, attention *from* a word
//! the mean over its tokens, so that attention from a word still sums to 1.

use std::ops::Range;

use bertology_model::Matrix;
use bertology_model::reduction::{Partners, Unit};
use bertology_tokenizer::Encoding;
use serde::{Deserialize, Serialize};

/// The units of a sequence in order: words, and the special tokens before and behind them, each a unit of its
/// own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// Tokens of each unit; none for a word that the tokenizer passes over.
    units: Vec<Range<usize>>,
    words: Range<usize>,
    tokens: usize,
    /// The token of the first word, if the words are as many tokens in a row.
    plain: Option<usize>,
}

/// Words, and what it took to find their tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alignment {
    /// The units.
    pub words: Words,
    /// Words without any token: nobody can attend to them.
    pub without_tokens: usize,
    /// Tokens with characters of two words, given to the one that has more of them (if equal, to the
    /// left one).
    pub straddling: usize,
}

impl Words {
    /// Units made by hand: all of a sequence of `tokens` tokens, of which those in `words` are words.
    ///
    /// # Panics
    /// If a unit goes beyond the tokens, or `words` beyond the units.
    #[must_use]
    #[track_caller]
    pub fn new(units: Vec<Range<usize>>, words: Range<usize>, tokens: usize) -> Self {
        assert!(words.end <= units.len() && units.iter().all(|unit| unit.end <= tokens));
        let of_words = &units[words.clone()];
        let first = of_words.first().map_or(0, |unit| unit.start);
        let in_a_row = |(at, unit): (usize, &Range<usize>)| *unit == (first + at..first + at + 1);
        Self {
            plain: of_words.iter().enumerate().all(in_a_row).then_some(first),
            units,
            words,
            tokens,
        }
    }

    /// Finds the tokens of words by the characters that both came from.
    ///
    /// `spans` are the words' characters in the text that was encoded, ascending; words that are written as
    /// one (`du` for `de` + `le`) have the same span and share its tokens. A token without a character of
    /// any word (a space) goes to the word behind it.
    #[must_use]
    pub fn align(encoding: &Encoding, spans: &[Range<usize>]) -> Alignment {
        let is_text = |at: &usize| !encoding.special[*at];
        let begin = (0..encoding.len()).find(is_text).unwrap_or(encoding.len());
        let end = (0..encoding.len())
            .rfind(is_text)
            .map_or(begin, |at| at + 1);
        let mut tokens: Vec<Range<usize>> = vec![0..0; spans.len()];
        let mut straddling = 0;
        let mut from = 0;
        for at in begin..end {
            let (start, stop) = encoding.offsets[at];
            while from < spans.len() && spans[from].end <= start {
                from += 1;
            }
            let mut best: Option<(usize, usize)> = None;
            let mut touched: Option<&Range<usize>> = None;
            let mut straddles = false;
            for (word, span) in spans.iter().enumerate().skip(from) {
                if span.start >= stop && span.start > start {
                    break;
                }
                let common = span.end.min(stop).saturating_sub(span.start.max(start));
                if common == 0 {
                    continue;
                }
                straddles |= touched.is_some_and(|other| other != span);
                touched = Some(span);
                if best.is_none_or(|(_, most)| common > most) {
                    best = Some((word, common));
                }
            }
            straddling += usize::from(straddles);
            let last = spans.len().checked_sub(1);
            let word = best
                .map(|(word, _)| word)
                .or(last.map(|last| from.min(last)));
            let Some(word) = word else {
                continue;
            };
            for other in word..spans.len() {
                if spans[other] != spans[word] {
                    break;
                }
                let range = &mut tokens[other];
                let first = if range.start == range.end {
                    at
                } else {
                    range.start
                };
                *range = first..at + 1;
            }
        }
        let without_tokens = tokens.iter().filter(|range| range.is_empty()).count();
        let units = (0..begin).map(|at| at..at + 1);
        let behind = (end..encoding.len()).map(|at| at..at + 1);
        Alignment {
            words: Self::new(
                units.chain(tokens).chain(behind).collect(),
                begin..begin + spans.len(),
                encoding.len(),
            ),
            without_tokens,
            straddling,
        }
    }

    /// Number of units.
    #[must_use]
    pub fn units(&self) -> usize {
        self.units.len()
    }

    /// The units that are words.
    #[must_use]
    pub fn words(&self) -> Range<usize> {
        self.words.clone()
    }

    /// Number of words.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there is no word.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Number of tokens of the sequence.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The tokens of a unit.
    ///
    /// # Panics
    /// If there is no such unit.
    #[must_use]
    #[track_caller]
    pub fn tokens_of(&self, unit: usize) -> Range<usize> {
        self.units[unit].clone()
    }

    /// The word of each token, counted from the first word; `None` for special tokens. Of words that share
    /// their tokens it is the first.
    #[must_use]
    pub fn of_tokens(&self) -> Vec<Option<usize>> {
        let mut words = vec![None; self.tokens];
        for (word, unit) in self.units[self.words.clone()].iter().enumerate() {
            for token in unit.clone() {
                words[token].get_or_insert(word);
            }
        }
        words
    }

    /// Whether word `word` (counted from the first word) has tokens.
    ///
    /// # Panics
    /// If there is no such word.
    #[must_use]
    #[track_caller]
    pub fn has_tokens(&self, word: usize) -> bool {
        !self.units[self.words.start + word].is_empty()
    }

    /// Attention from one word to all words, `[words]`: [`WordMap::word_row`] without the rest of the map.
    ///
    /// # Panics
    /// If the map is not `[tokens, tokens]`, if there is no such word, or if `row` is not `[words]`.
    #[track_caller]
    pub fn attention_from(
        &self,
        map: Matrix<'_, f32>,
        word: usize,
        rows: RowMode,
        row: &mut [f64],
    ) {
        assert_eq!((map.rows(), map.cols()), (self.tokens, self.tokens));
        assert_eq!(row.len(), self.words.len());
        let tokens = self.units[self.words.clone()][word].clone();
        if rows == RowMode::Max {
            return self.greatest_from(map, tokens, row);
        }
        let tokens = rows.of(tokens);
        row.fill(0.0);
        for token in tokens.clone() {
            let weights = map.row(token);
            if let Some(first) = self.plain {
                let weights = &weights[first..first + row.len()];
                for (to, weight) in row.iter_mut().zip(weights) {
                    *to += f64::from(*weight);
                }
            } else {
                for (to, keys) in row.iter_mut().zip(&self.units[self.words.clone()]) {
                    *to += sum(weights, keys);
                }
            }
        }
        if tokens.len() > 1 {
            row.iter_mut().for_each(|to| *to /= tokens.len() as f64);
        }
    }

    /// What a device needs for the partners of words, some of which are marked; words of the same `shared` tokens are no partners of
    /// each other. Nothing where rows are those of [`RowMode::Max`], which are no means.
    pub(crate) fn partners(
        &self,
        rows: RowMode,
        shared: &[Option<usize>],
        marked: impl Fn(usize) -> bool,
    ) -> Option<Partners> {
        let unit = |(word, tokens): (usize, &Range<usize>)| Unit {
            looks: rows.of(tokens.clone()),
            seen: tokens.clone(),
            class: shared[word].map_or(word, |range| self.len() + range) as u32,
            marked: marked(word),
        };
        let units = self.units[self.words.clone()].iter().enumerate();
        (rows != RowMode::Max).then(|| Partners {
            units: units.map(unit).collect(),
        })
    }

    fn greatest_from(&self, map: Matrix<'_, f32>, tokens: Range<usize>, row: &mut [f64]) {
        let greatest = |keys: &Range<usize>| {
            let sums = tokens.clone().map(|token| sum(map.row(token), keys));
            sums.fold(0.0, f64::max)
        };
        for (to, keys) in row.iter_mut().zip(&self.units[self.words.clone()]) {
            *to = greatest(keys);
        }
        let all: f64 = self.units.iter().map(greatest).sum();
        if all > 0.0 && all != 1.0 {
            row.iter_mut().for_each(|to| *to /= all);
        }
    }
}

/// Attention to the tokens of a unit together.
fn sum(weights: &[f32], keys: &Range<usize>) -> f64 {
    match &weights[keys.clone()] {
        [one] => f64::from(*one),
        several => several.iter().map(|weight| f64::from(*weight)).sum(),
    }
}

/// What the attention from a word of several tokens is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowMode {
    /// The mean over its tokens: the paper.
    #[default]
    Mean,
    /// That of its first token: what the paper's released code does by default.
    First,
    /// That of its last token, which in a causal model has seen the whole word.
    Last,
    /// The greatest of its tokens, then divided by the sum of the row.
    Max,
}

impl RowMode {
    /// The tokens of a word whose attention counts.
    fn of(self, tokens: Range<usize>) -> Range<usize> {
        match self {
            Self::First => tokens.start..tokens.end.min(tokens.start + 1),
            Self::Last => tokens.end.saturating_sub(1).max(tokens.start)..tokens.end,
            Self::Mean | Self::Max => tokens,
        }
    }
}

/// Attention between the units of a sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct WordMap {
    units: usize,
    values: Vec<f64>,
    words: Range<usize>,
}

impl WordMap {
    /// Merges an attention map `[query, key]` over tokens.
    ///
    /// A unit without tokens has a row and a column of zeros.
    ///
    /// # Panics
    /// If the map is not `[tokens, tokens]`.
    #[must_use]
    #[track_caller]
    pub fn new(map: Matrix<'_, f32>, words: &Words, rows: RowMode) -> Self {
        assert_eq!((map.rows(), map.cols()), (words.tokens, words.tokens));
        let units = words.units.len();
        let mut values = vec![0.0_f64; units * units];
        let mut row = vec![0.0_f64; units];
        for (unit, tokens) in words.units.iter().enumerate() {
            let merged = &mut values[unit * units..(unit + 1) * units];
            let taken = rows.of(tokens.clone());
            for token in taken.clone() {
                for (to, keys) in row.iter_mut().zip(&words.units) {
                    *to = sum(map.row(token), keys);
                }
                for (merged, to) in merged.iter_mut().zip(&row) {
                    if rows == RowMode::Max {
                        *merged = merged.max(*to);
                    } else {
                        *merged += to;
                    }
                }
            }
            let divisor = match rows {
                RowMode::Max => merged.iter().sum(),
                _ => taken.len() as f64,
            };
            if divisor > 0.0 && divisor != 1.0 {
                merged.iter_mut().for_each(|value| *value /= divisor);
            }
        }
        Self {
            units,
            values,
            words: words.words.clone(),
        }
    }

    /// Number of units, special tokens included.
    #[must_use]
    pub fn units(&self) -> usize {
        self.units
    }

    /// Number of words.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there is no word.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Attention from a unit to all units, `[units]`.
    ///
    /// # Panics
    /// If there is no such unit.
    #[must_use]
    #[track_caller]
    pub fn row(&self, unit: usize) -> &[f64] {
        &self.values[unit * self.units..(unit + 1) * self.units]
    }

    /// Attention from a word to the words alone, `[words]`, as it is: not divided by what the special tokens
    /// leave over.
    ///
    /// # Panics
    /// If there is no such word.
    #[must_use]
    #[track_caller]
    pub fn word_row(&self, word: usize) -> &[f64] {
        &self.row(self.words.start + word)[self.words.clone()]
    }

    /// Attention from one word to another.
    ///
    /// # Panics
    /// If there is no such word.
    #[must_use]
    #[track_caller]
    pub fn between(&self, from: usize, to: usize) -> f64 {
        self.word_row(from)[to]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoding(offsets: &[(usize, usize)], special: &[usize]) -> Encoding {
        let n = offsets.len();
        Encoding {
            ids: vec![0; n],
            segment_ids: vec![0; n],
            offsets: offsets.to_vec(),
            sequence: vec![Some(0); n],
            special: (0..n).map(|at| special.contains(&at)).collect(),
            words: vec![None; n],
            truncated: 0,
        }
    }

    #[test]
    fn tokens_find_their_words_by_characters() {
        // [CLS] "didn" "'" "t" "go" [SEP] over did+n't+go.
        let of_text = encoding(&[(0, 0), (0, 4), (4, 5), (5, 6), (7, 9), (0, 0)], &[0, 5]);
        let found = Words::align(&of_text, &[0..3, 3..6, 7..9]);
        assert_eq!(found.words.units, [0..1, 1..2, 2..4, 4..5, 5..6]);
        assert_eq!(found.words.words(), 1..4);
        assert_eq!((found.straddling, found.without_tokens), (1, 0));
        // Two words written as one share its tokens; that is no straddling.
        let du = encoding(&[(0, 2), (3, 5)], &[]);
        let found = Words::align(&du, &[0..2, 0..2, 3..5]);
        assert_eq!(found.words.units, [0..1, 0..1, 1..2]);
        assert_eq!((found.straddling, found.without_tokens), (0, 0));
        // A word that the tokenizer passes over, a token that is only a space, a tie between two words.
        let odd = encoding(&[(0, 1), (3, 4), (4, 6), (6, 8)], &[]);
        let found = Words::align(&odd, &[0..1, 2..3, 4..6, 6..7, 7..8]);
        assert_eq!(found.words.units, [0..1, 0..0, 1..3, 3..4, 0..0]);
        assert_eq!((found.straddling, found.without_tokens), (1, 2));
        // No word at all, no token at all.
        assert!(Words::align(&odd, &[]).words.units.is_empty());
        let word = std::slice::from_ref(&(0..2));
        let none = Words::align(&encoding(&[(0, 0), (0, 0)], &[0, 1]), word);
        assert_eq!(none.words.units(), 3);
        assert_eq!(none.without_tokens, 1);
    }

    /// The specification's worked example (section 13, 7).
    #[test]
    fn rows_are_merged_in_four_ways() {
        let map = [
            0.1_f32, 0.2, 0.3, 0.4, 0.4, 0.3, 0.2, 0.1, 0.25, 0.25, 0.25, 0.25, 0.7, 0.1, 0.1, 0.1,
        ];
        let words = Words::new(vec![0..1, 1..3, 3..4], 0..3, 4);
        let merge = |mode| WordMap::new(Matrix::new(&map, 4, 4), &words, mode);
        let close = |row: &[f64], expected: [f64; 3]| {
            let off = row.iter().zip(expected).map(|(a, b)| (a - b).abs());
            assert!(off.fold(0.0, f64::max) < 1e-6, "{row:?} {expected:?}");
        };
        for mode in [RowMode::Mean, RowMode::First, RowMode::Last, RowMode::Max] {
            close(merge(mode).row(0), [0.1, 0.5, 0.4]);
            close(merge(mode).row(2), [0.7, 0.2, 0.1]);
            let rows: f64 = merge(mode).row(1).iter().sum();
            assert!((rows - 1.0).abs() < 1e-6);
        }
        close(merge(RowMode::Mean).row(1), [0.325, 0.5, 0.175]);
        close(merge(RowMode::First).row(1), [0.4, 0.5, 0.1]);
        close(merge(RowMode::Last).row(1), [0.25, 0.5, 0.25]);
        close(merge(RowMode::Max).row(1), [0.347826, 0.434783, 0.217391]);
        // One token a word: the map itself. A word without tokens: zeros.
        let plain = Words::new(vec![0..1, 1..2, 2..3, 3..4, 2..2], 1..5, 4);
        let same = WordMap::new(Matrix::new(&map, 4, 4), &plain, RowMode::Max);
        assert!((same.between(0, 1) - 0.2).abs() < 1e-6);
        assert_eq!(same.row(4), [0.0; 5]);
        assert_eq!(same.between(0, 3), 0.0);
        // One word's row alone is that of the map, to the bit.
        let special = Words::new(vec![0..1, 1..3, 3..4], 1..3, 4);
        for words in [&words, &plain, &special] {
            for mode in [RowMode::Mean, RowMode::First, RowMode::Last, RowMode::Max] {
                let merged = WordMap::new(Matrix::new(&map, 4, 4), words, mode);
                for word in 0..words.len() {
                    let mut row = vec![9.0; words.len()];
                    words.attention_from(Matrix::new(&map, 4, 4), word, mode, &mut row);
                    assert_eq!(row, merged.word_row(word), "{mode:?} {word}");
                }
            }
        }
    }
}
