//! Sequences laid end to end: padding does not exist.

use std::ops::Range;

use bertology_checkpoint::{Architecture, PositionIds, Segments};

use crate::Error;

/// The tokens of one input, special tokens included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Segment ids (`token_type_ids`), one per token; empty means all 0, and for GPT and GPT-2, whose
    /// segment ids are rows of the token table, none.
    pub segments: Vec<u32>,
    /// Rows of the position table (`position_ids`), one per token; empty means the family's own rule,
    /// which also limits the length. For comparison with batches that were padded on the left, where transformers counts the
    /// padding too.
    pub positions: Vec<u32>,
}

impl Sequence {
    /// One segment.
    #[must_use]
    pub fn new(ids: Vec<u32>) -> Self {
        Self {
            ids,
            segments: Vec::new(),
            positions: Vec::new(),
        }
    }

    /// Number of tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no tokens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// A batch of sequences laid end to end: arrays over `[total_tokens]`, and where each one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedBatch {
    pub(crate) ids: Vec<u32>,
    /// `None`: nothing is added.
    pub(crate) segments: Vec<Option<u32>>,
    pub(crate) positions: Vec<u32>,
    offsets: Vec<usize>,
}

impl PackedBatch {
    /// Checks and packs sequences.
    ///
    /// # Errors
    /// An empty or over-long sequence, an id beyond its table, segment ids that do not match.
    pub fn new(arch: &Architecture, sequences: &[Sequence]) -> Result<Self, Error> {
        let total = sequences.iter().map(Sequence::len).sum();
        let mut batch = Self {
            ids: Vec::with_capacity(total),
            segments: Vec::with_capacity(total),
            positions: Vec::with_capacity(total),
            offsets: vec![0],
        };
        for (index, sequence) in sequences.iter().enumerate() {
            batch.push(arch, index, sequence)?;
        }
        Ok(batch)
    }

    fn push(&mut self, arch: &Architecture, index: usize, item: &Sequence) -> Result<(), Error> {
        if item.is_empty() {
            return Err(Error::EmptySequence { sequence: index });
        }
        let limit = arch.max_tokens();
        // Given positions say themselves which rows they read.
        if item.positions.is_empty() && item.len() > limit {
            return Err(Error::SequenceTooLong {
                sequence: index,
                tokens: item.len(),
                limit,
            });
        }
        if !item.segments.is_empty() && item.segments.len() != item.len() {
            return Err(Error::SegmentCount {
                sequence: index,
                tokens: item.len(),
                segments: item.segments.len(),
            });
        }
        let check =
            |what, ids: &[u32], rows: usize| match ids.iter().position(|id| *id as usize >= rows) {
                Some(position) => Err(Error::IdOutOfRange {
                    sequence: index,
                    what,
                    position,
                    id: ids[position],
                    rows,
                }),
                None => Ok(()),
            };
        check("token", &item.ids, arch.vocab_size)?;
        let (rows, absent) = match arch.segments {
            Segments::None => (0, None),
            Segments::Table(rows) => (rows, Some(0)),
            Segments::Words => (arch.vocab_size, None),
        };
        check("segment", &item.segments, rows)?;
        self.ids.extend_from_slice(&item.ids);
        if item.segments.is_empty() {
            self.segments.resize(self.ids.len(), absent);
        } else {
            self.segments
                .extend(item.segments.iter().copied().map(Some));
        }
        let first = self.positions.len();
        if item.positions.is_empty() {
            push_positions(&mut self.positions, arch.position_ids, &item.ids);
        } else if arch.positions.ignores_ids() {
            return Err(Error::PositionsUnused { sequence: index });
        } else if item.positions.len() == item.len() {
            self.positions.extend_from_slice(&item.positions);
        } else {
            return Err(Error::PositionCount {
                sequence: index,
                tokens: item.len(),
                positions: item.positions.len(),
            });
        }
        if !arch.positions.ignores_ids() {
            check("position", &self.positions[first..], arch.max_positions)?;
        }
        self.offsets.push(self.ids.len());
        Ok(())
    }

    /// The same sequences so many times behind each other.
    #[cfg(feature = "device")]
    pub(crate) fn repeated(&self, times: usize) -> Self {
        let tokens = self.tokens();
        let ends = (0..times).flat_map(|turn| {
            let ends = self.offsets[1..].iter();
            ends.map(move |end| turn * tokens + end)
        });
        Self {
            ids: self.ids.repeat(times),
            segments: self.segments.repeat(times),
            positions: self.positions.repeat(times),
            offsets: std::iter::once(0).chain(ends).collect(),
        }
    }

    /// Number of sequences.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there are no sequences.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tokens of all sequences together.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// The row of the position table that each packed token reads.
    #[must_use]
    pub fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// Token ids of sequence `i`.
    pub(crate) fn ids(&self, i: usize) -> &[u32] {
        &self.ids[self.range(i)]
    }

    /// Where sequence `i` lies among the packed tokens.
    #[must_use]
    pub fn range(&self, i: usize) -> Range<usize> {
        self.offsets[i]..self.offsets[i + 1]
    }

    /// All ranges in order.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        (0..self.len()).map(|i| self.range(i))
    }
}

fn push_positions(positions: &mut Vec<u32>, rule: PositionIds, ids: &[u32]) {
    match rule {
        PositionIds::FromZero => positions.extend((0_u32..).take(ids.len())),
        PositionIds::AfterPadding { pad_id } => {
            let mut count = 0;
            positions.extend(ids.iter().map(|id| {
                if *id == pad_id {
                    pad_id
                } else {
                    count += 1;
                    pad_id + count
                }
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The specification's example: pad 1, ids [0,5,6,2,1,1] → [2,3,4,5,1,1].
    #[test]
    fn roberta_positions_count_after_padding() {
        let mut positions = Vec::new();
        let rule = PositionIds::AfterPadding { pad_id: 1 };
        push_positions(&mut positions, rule, &[0, 5, 6, 2, 1, 1]);
        assert_eq!(positions, [2, 3, 4, 5, 1, 1]);
    }
}
