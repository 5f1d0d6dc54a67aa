//! How often the head is right.

use std::ops::AddAssign;

use bertology::attention::Proportion;
use serde::{Deserialize, Serialize};

/// Unlabelled attachment, root words included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uas {
    /// Without punctuation: the field's usual number.
    pub without_punct: Proportion,
    /// All words.
    pub all: Proportion,
}

impl Uas {
    /// Adds a sentence: predicted and gold heads (0 is ROOT), and which words are punctuation.
    pub fn add(&mut self, predicted: &[u32], gold: &[u32], punct: &[bool]) {
        for ((predicted, gold), punct) in predicted.iter().zip(gold).zip(punct) {
            let right = u64::from(predicted == gold);
            let counted = [
                Some(&mut self.all),
                (!punct).then_some(&mut self.without_punct),
            ];
            for proportion in counted.into_iter().flatten() {
                proportion.part += right;
                proportion.whole += 1;
            }
        }
    }
}

impl AddAssign for Uas {
    fn add_assign(&mut self, other: Self) {
        for (sum, more) in [
            (&mut self.without_punct, other.without_punct),
            (&mut self.all, other.all),
        ] {
            sum.part += more.part;
            sum.whole += more.whole;
        }
    }
}

/// The head at a fixed offset: word `j` (from 1) of `words` gets `j + offset`, cut to 0 (ROOT) and the last
/// word.
#[must_use]
pub fn at_offset(words: usize, offset: i32) -> Vec<u32> {
    let last = i64::try_from(words).unwrap_or(i64::MAX);
    (1..=last)
        .map(|word| {
            let head = (word + i64::from(offset)).clamp(0, last);
            u32::try_from(head).unwrap_or(u32::MAX)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_cut_to_the_sentence() {
        assert_eq!(at_offset(3, 1), [2, 3, 3]);
        assert_eq!(at_offset(3, -2), [0, 0, 1]);
        assert_eq!(at_offset(0, 1), [0_u32; 0]);
    }

    #[test]
    fn punctuation_counts_only_where_it_should() {
        let mut uas = Uas::default();
        uas.add(&[2, 0, 3], &[2, 0, 2], &[false, false, true]);
        uas.add(&[1], &[0], &[false]);
        assert_eq!((uas.without_punct.part, uas.without_punct.whole), (2, 3));
        assert_eq!((uas.all.part, uas.all.whole), (2, 4));
    }
}
