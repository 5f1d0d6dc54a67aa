//! What all probes need to know of some sentences: which pieces, which spans.

use super::{Split, Target};

/// Some sentences of a split, made ready once for all probes.
///
/// Distinct spans are computed once: all dependents of a word share the span of their head, all arguments that of
/// their predicate.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Batch {
    /// Stored pieces that some span holds, ascending.
    pub(crate) pieces: Vec<u32>,
    /// What each piece is called whatever is stored beside it: its sentence in the split (the first of several that
    /// share it), and its place among the sentence's pieces that some span holds.
    pub(crate) keys: Vec<u64>,
    pub(crate) roles: Vec<Spans>,
    /// Numbers of the targets in the split. In an order in which the spans of the first role ascend.
    pub(crate) targets: Vec<u32>,
    /// Where the labels of each target end.
    pub(crate) label_ends: Vec<u32>,
    pub(crate) labels: Vec<u16>,
}

/// The distinct spans of a role.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Spans {
    /// Half-open ranges of the batch's pieces: those of several pieces first, then those of one, each by sentence.
    pub(crate) ranges: Vec<[u32; 2]>,
    /// How many have several pieces.
    pub(crate) several: usize,
    /// Which span each target has, or [`NOT_SEEN`].
    pub(crate) of_target: Vec<u32>,
}

/// In the place of a span: the target's is not looked at.
const NOT_SEEN: u32 = u32::MAX;

impl Spans {
    /// Whether target i has span i, and no two have the same.
    pub(crate) fn is_identity(&self) -> bool {
        self.ranges.len() == self.of_target.len()
            && self.of_target.iter().zip(0..).all(|(span, i)| *span == i)
    }

    /// Whether every target has a span.
    pub(crate) fn is_whole(&self) -> bool {
        !self.of_target.contains(&NOT_SEEN)
    }

    /// Targets that have a span, by their place in the batch, each with the span's.
    pub(crate) fn seen(&self) -> impl Iterator<Item = (usize, usize)> {
        let spans = self.of_target.iter().enumerate();
        let seen = spans.filter(|(_, span)| **span != NOT_SEEN);
        seen.map(|(target, span)| (target, *span as usize))
    }
}

impl Batch {
    /// Of all targets of these sentences.
    pub(crate) fn new(split: &Split, sentences: &[u32]) -> Self {
        let mut targets: Vec<u32> = Vec::new();
        let mut named: Vec<(u32, u64)> = Vec::new();
        let mut own = Vec::new();
        for sentence in sentences {
            own.clear();
            for target in split.targets_of(*sentence as usize) {
                // A split has fewer than 2³² targets.
                targets.push(target as u32);
                let target = split.get(target);
                for [start, end] in (0..split.roles()).filter_map(|role| target.span(role)) {
                    own.extend(start..end);
                }
            }
            own.sort_unstable();
            own.dedup();
            let first = u64::from(*sentence) << 32;
            named.extend(own.iter().copied().zip(first..));
        }
        named.sort_unstable();
        named.dedup_by_key(|(piece, _)| *piece);
        let (pieces, keys): (Vec<u32>, Vec<u64>) = named.into_iter().unzip();
        let mut roles: Vec<Spans> = (0..split.roles())
            .map(|role| distinct(split, &targets, role, &pieces))
            .collect();
        // By the spans of the first role; targets with the same keep their order.
        let mut order: Vec<usize> = (0..targets.len()).collect();
        if let Some(first) = roles.first() {
            order.sort_by_key(|at| first.of_target[*at]);
        }
        let targets: Vec<u32> = order.iter().map(|at| targets[*at]).collect();
        for spans in &mut roles {
            spans.of_target = order.iter().map(|at| spans.of_target[*at]).collect();
        }
        let mut batch = Self {
            pieces,
            keys,
            roles,
            ..Self::default()
        };
        for target in &targets {
            let Target { labels, .. } = split.get(*target as usize);
            batch.labels.extend(labels);
            batch.label_ends.push(batch.labels.len() as u32);
        }
        batch.targets = targets;
        batch
    }

    /// Whether every target has a span of every role.
    pub(crate) fn is_whole(&self) -> bool {
        self.roles.iter().all(Spans::is_whole)
    }

    /// Labels of the batch's target `at`.
    pub(crate) fn labels_of(&self, at: usize) -> &[u16] {
        let start = at
            .checked_sub(1)
            .map_or(0, |before| self.label_ends[before]);
        &self.labels[start as usize..self.label_ends[at] as usize]
    }
}

fn distinct(split: &Split, targets: &[u32], role: usize, pieces: &[u32]) -> Spans {
    let of = |target: &u32| split.get(*target as usize).span(role);
    let mut stored: Vec<[u32; 2]> = targets.iter().filter_map(of).collect();
    let key = |[start, end]: [u32; 2]| (end - start <= 1, start, end);
    stored.sort_unstable_by_key(|span| key(*span));
    stored.dedup();
    let find = |target: &u32| {
        of(target).map_or(NOT_SEEN, |span| {
            let wanted = key(span);
            stored.partition_point(|span| key(*span) < wanted) as u32
        })
    };
    // All pieces of a span are in the batch, and lie side by side in it.
    let place = |piece: u32| pieces.partition_point(|p| *p < piece) as u32;
    Spans {
        of_target: targets.iter().map(find).collect(),
        several: stored.partition_point(|[start, end]| end - start > 1),
        ranges: stored
            .iter()
            .map(|[start, end]| [place(*start), place(*start) + (end - start)])
            .collect(),
    }
}

/// Cuts sentences, in the order given, into batches of so many targets, or of so many sentences.
pub(crate) fn pack(split: &Split, sentences: &[u32], size: BatchSize) -> Vec<Vec<u32>> {
    let mut batches = Vec::new();
    let (mut open, mut targets) = (Vec::new(), 0);
    for sentence in sentences {
        let more = split.targets_of(*sentence as usize).len();
        if more == 0 {
            continue;
        }
        let full = match size {
            BatchSize::Targets(limit) => targets + more > limit,
            BatchSize::Sentences(limit) => open.len() >= limit,
        };
        if full && !open.is_empty() {
            batches.push(std::mem::take(&mut open));
            targets = 0;
        }
        open.push(*sentence);
        targets += more;
    }
    if !open.is_empty() {
        batches.push(open);
    }
    batches
}

/// How much a step of the training sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchSize {
    /// Whole sentences with at most so many targets together; a longer sentence by itself.
    Targets(usize),
    /// So many sentences.
    Sentences(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split() -> Split {
        let mut split = Split::new(2, 9).unwrap();
        split.target([10, 11], Some([12, 14]), &[1], 0).unwrap();
        split.target([12, 14], Some([12, 14]), &[2, 3], 0).unwrap();
        split.end_sentence();
        split.end_sentence();
        split.target([3, 4], Some([5, 6]), &[], 0).unwrap();
        split.target([5, 6], Some([5, 6]), &[4], 0).unwrap();
        split.target([8, 9], Some([3, 4]), &[5], 0).unwrap();
        split.end_sentence();
        split
    }

    #[test]
    fn spans_are_computed_once() {
        let batch = Batch::new(&split(), &[2, 0]);
        assert_eq!(batch.pieces, [3, 5, 8, 10, 12, 13]);
        let third = 2 << 32;
        assert_eq!(batch.keys, [third, third + 1, third + 2, 0, 1, 2]);
        let [first, second] = &batch.roles[..] else {
            panic!("two roles")
        };
        assert_eq!(first.ranges, [[4, 6], [0, 1], [1, 2], [2, 3], [3, 4]]);
        assert!(first.is_identity() && first.several == 1);
        assert_eq!(second.ranges, [[4, 6], [0, 1], [1, 2]]);
        assert_eq!(batch.targets, [1, 2, 3, 4, 0]);
        assert_eq!(second.of_target, [0, 2, 2, 1, 0]);
        let labels: Vec<_> = (0..5).map(|at| batch.labels_of(at)).collect();
        assert_eq!(labels, [&[2_u16, 3][..], &[], &[4], &[5], &[1]]);
    }

    #[test]
    fn spans_that_are_not_looked_at_are_not_there() {
        // Of each target the span that ends later; of (8, 9) and (3, 4) that is the first.
        let batch = Batch::new(&split().later_spans(), &[2, 0]);
        assert_eq!(batch.pieces, [5, 8, 12, 13]);
        let [first, second] = &batch.roles[..] else {
            panic!("two roles")
        };
        assert_eq!((&first.ranges, first.several), (&vec![[1, 2]], 0));
        assert_eq!((&second.ranges, second.several), (&vec![[2, 4], [0, 1]], 1));
        assert!(!first.is_whole() && !first.is_identity());
        assert_eq!(batch.targets, [4, 2, 3, 0, 1]);
        assert_eq!(first.seen().collect::<Vec<_>>(), [(0, 0)]);
        let seen: Vec<_> = second.seen().collect();
        assert_eq!(seen, [(1, 1), (2, 1), (3, 0), (4, 0)]);
    }

    #[test]
    fn batches_are_whole_sentences() {
        let split = split();
        let packed = |size| pack(&split, &[0, 1, 2], size);
        assert_eq!(packed(BatchSize::Targets(4)), [vec![0], vec![2]]);
        assert_eq!(packed(BatchSize::Targets(5)), [vec![0, 2]]);
        assert_eq!(packed(BatchSize::Targets(1)), [vec![0], vec![2]]);
        assert_eq!(packed(BatchSize::Sentences(2)), [vec![0, 2]]);
        assert!(pack(&split, &[1], BatchSize::Sentences(2)).is_empty());
    }
}
