//! What a probe reads: hidden states of all layers at stored positions, and targets that point at them.

use std::fmt;
use std::ops::Range;

use super::Fault;
use crate::Error;

/// Hidden states of all layers at stored positions, the pieces: piece-major, layers inner.
///
/// Piece numbers are those of the store, `0..pieces()`. A sentence that several tasks, or several records of a
/// task, have in common is stored once.
pub trait LayerStates: Sync {
    /// Layers of a piece, embeddings included: L + 1.
    fn layers(&self) -> usize;

    /// Numbers of a layer.
    fn hidden(&self) -> usize;

    /// Stored pieces.
    fn pieces(&self) -> usize;

    /// The states of some pieces, in the order asked for.
    ///
    /// # Shapes
    /// `out [pieces, layers, hidden]`.
    ///
    /// # Errors
    /// A piece that is not stored; a store that cannot be read.
    fn gather(&self, pieces: &[u32], out: &mut [f32]) -> Result<(), Error>;
}

/// States in memory.
#[derive(Clone, PartialEq)]
pub struct HeldStates {
    layers: usize,
    hidden: usize,
    values: Vec<f32>,
}

impl fmt::Debug for HeldStates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeldStates")
            .field("pieces", &self.pieces())
            .field("layers", &self.layers)
            .field("hidden", &self.hidden)
            .finish_non_exhaustive()
    }
}

impl HeldStates {
    /// From `values [pieces, layers, hidden]`.
    ///
    /// # Errors
    /// No layer, layers of no width, or a number of values that is no multiple of both.
    pub fn new(layers: usize, hidden: usize, values: Vec<f32>) -> Result<Self, Error> {
        let piece = layers * hidden;
        if piece == 0 || !values.len().is_multiple_of(piece) {
            let found = values.len();
            return Err(Fault::States {
                layers,
                hidden,
                found,
            }
            .into());
        }
        Ok(Self {
            layers,
            hidden,
            values,
        })
    }

    /// `[pieces, layers, hidden]`
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The same, to be changed in place.
    #[must_use]
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }
}

impl LayerStates for HeldStates {
    fn layers(&self) -> usize {
        self.layers
    }

    fn hidden(&self) -> usize {
        self.hidden
    }

    fn pieces(&self) -> usize {
        self.values.len() / (self.layers * self.hidden)
    }

    fn gather(&self, pieces: &[u32], out: &mut [f32]) -> Result<(), Error> {
        let size = self.layers * self.hidden;
        crate::error::expect("room for the states", out.len(), pieces.len() * size)?;
        for (piece, out) in pieces.iter().zip(out.chunks_exact_mut(size)) {
            let stored = self.values.chunks_exact(size).nth(*piece as usize);
            let Some(stored) = stored else {
                return Err(Fault::Piece {
                    piece: *piece,
                    pieces: self.pieces(),
                }
                .into());
            };
            out.copy_from_slice(stored);
        }
        Ok(())
    }
}

/// A target: one or two spans and the labels that apply to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// Its spans by role, half-open ranges of stored pieces; an empty one is not looked at ([`Split::later_spans`]).
    pub spans: &'a [[u32; 2]],
    /// Classes that apply, ascending; none of them is legal.
    pub labels: &'a [u16],
    /// Labels that apply and are not among the classes: no probe can find them, and they count as missed.
    pub unknown: u16,
}

impl Target<'_> {
    /// The span of a role, 0 or 1; nothing where the task has no such role, or the target's is not looked at.
    #[must_use]
    pub fn span(&self, role: usize) -> Option<[u32; 2]> {
        let span = self.spans.get(role).copied();
        span.filter(|[start, end]| start < end)
    }
}

/// One split as a probe sees it: targets, sentence by sentence, each with spans of stored pieces.
///
/// Ragged arrays without padding: a target takes 16 bytes for its two spans and 10 for a label.
///
/// ```
/// use bertology_train::edge::Split;
/// # fn main() -> Result<(), bertology_train::Error> {
/// let mut split = Split::new(2, 49)?;
/// split.target([0, 1], Some([1, 3]), &[7], 0)?;
/// split.target([1, 3], Some([1, 3]), &[40], 0)?;
/// split.end_sentence();
/// assert_eq!((split.sentences(), split.targets()), (1, 2));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    roles: usize,
    classes: usize,
    /// Where the targets of each sentence end.
    sentence_ends: Vec<u32>,
    /// `[target][role]`
    spans: Vec<[u32; 2]>,
    /// Where the labels of each target end.
    label_ends: Vec<u32>,
    labels: Vec<u16>,
    unknown: Vec<u16>,
}

impl Split {
    /// Without targets: those to come have one or two spans each (`roles`), and labels among `classes`.
    ///
    /// # Errors
    /// Another number of spans; no class, or more than 65,535.
    pub fn new(roles: usize, classes: usize) -> Result<Self, Error> {
        if !(1..=2).contains(&roles) {
            return Err(Fault::Roles { roles }.into());
        }
        if !(1..=usize::from(u16::MAX)).contains(&classes) {
            return Err(Fault::Classes { classes }.into());
        }
        Ok(Self {
            roles,
            classes,
            sentence_ends: Vec::new(),
            spans: Vec::new(),
            label_ends: Vec::new(),
            labels: Vec::new(),
            unknown: Vec::new(),
        })
    }

    /// Adds a target to the sentence that is open. Labels may come in any order, and more than once.
    ///
    /// # Errors
    /// A span without pieces, a second span too many or too few, a label that is no class, more than 2³² targets.
    /// Then the target is not added.
    pub fn target(
        &mut self,
        span1: [u32; 2],
        span2: Option<[u32; 2]>,
        labels: &[u16],
        unknown: u16,
    ) -> Result<(), Error> {
        let target = self.label_ends.len();
        if span2.is_some() != (self.roles == 2) {
            return Err(Fault::SecondSpan {
                target,
                expected: self.roles == 2,
            }
            .into());
        }
        let spans = || [Some(span1), span2].into_iter().flatten();
        if let Some([start, end]) = spans().find(|[start, end]| start >= end) {
            return Err(Fault::Span { target, start, end }.into());
        }
        let spans: Vec<[u32; 2]> = spans().collect();
        self.put(&spans, labels, unknown)
    }

    /// Adds a target whose spans are known to be sound.
    fn put(&mut self, spans: &[[u32; 2]], labels: &[u16], unknown: u16) -> Result<(), Error> {
        let target = self.label_ends.len();
        if let Some(label) = labels.iter().find(|l| usize::from(**l) >= self.classes) {
            return Err(Fault::Label {
                target,
                label: *label,
                classes: self.classes,
            }
            .into());
        }
        let mut labels = labels.to_vec();
        labels.sort_unstable();
        labels.dedup();
        let Ok(end) = u32::try_from(self.labels.len() + labels.len()) else {
            return Err(Fault::TooMany { target }.into());
        };
        if u32::try_from(target + 1).is_err() {
            return Err(Fault::TooMany { target }.into());
        }
        self.spans.extend(spans);
        self.labels.extend(labels);
        self.label_ends.push(end);
        self.unknown.push(unknown);
        Ok(())
    }

    /// Ends the sentence that is open, even one without targets. What stands behind the last end is no part of the
    /// split.
    pub fn end_sentence(&mut self) {
        // `target` has seen to it that they can be counted.
        self.sentence_ends.push(self.label_ends.len() as u32);
    }

    /// Spans of a target: 1 or 2.
    #[must_use]
    pub fn roles(&self) -> usize {
        self.roles
    }

    /// Labels that there are.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Sentences, those without targets included.
    #[must_use]
    pub fn sentences(&self) -> usize {
        self.sentence_ends.len()
    }

    /// Targets of all sentences that have ended.
    #[must_use]
    pub fn targets(&self) -> usize {
        self.sentence_ends.last().map_or(0, |end| *end as usize)
    }

    /// Numbers of a sentence's targets.
    ///
    /// # Panics
    /// Past the last sentence.
    #[must_use]
    pub fn targets_of(&self, sentence: usize) -> Range<usize> {
        let start = sentence
            .checked_sub(1)
            .map_or(0, |before| self.sentence_ends[before]);
        start as usize..self.sentence_ends[sentence] as usize
    }

    /// The sentence of a target.
    #[must_use]
    pub fn sentence_of(&self, target: usize) -> usize {
        self.sentence_ends
            .partition_point(|end| *end as usize <= target)
    }

    /// A target.
    ///
    /// # Panics
    /// Past the last one.
    #[must_use]
    pub fn get(&self, target: usize) -> Target<'_> {
        Target {
            spans: &self.spans[target * self.roles..][..self.roles],
            labels: &self.labels[self.labels_of(target)],
            unknown: self.unknown[target],
        }
    }

    fn labels_of(&self, target: usize) -> Range<usize> {
        let start = target
            .checked_sub(1)
            .map_or(0, |before| self.label_ends[before]);
        start as usize..self.label_ends[target] as usize
    }

    /// Whether every target has exactly one label, known or not.
    #[must_use]
    pub fn is_single_label(&self) -> bool {
        (0..self.targets()).all(|target| {
            let target = self.get(target);
            target.labels.len() + usize::from(target.unknown) == 1
        })
    }

    /// The same targets with other labels: those of target `t`, and how many of them are unknown, become `labels(t)`.
    ///
    /// # Errors
    /// A label that is no class.
    pub fn relabelled(
        &self,
        mut labels: impl FnMut(usize) -> (Vec<u16>, u16),
    ) -> Result<Self, Error> {
        let mut other = Self::new(self.roles, self.classes)?;
        for sentence in 0..self.sentences() {
            for target in self.targets_of(sentence) {
                let (labels, unknown) = labels(target);
                other.put(self.get(target).spans, &labels, unknown)?;
            }
            other.end_sentence();
        }
        Ok(other)
    }

    /// Some sentences of it, in the order given.
    ///
    /// # Errors
    /// None that sentences of a split can have.
    ///
    /// # Panics
    /// Past the last sentence.
    pub fn subset(&self, sentences: &[u32]) -> Result<Self, Error> {
        let mut other = Self::new(self.roles, self.classes)?;
        for sentence in sentences {
            for target in self.targets_of(*sentence as usize) {
                let of = self.get(target);
                other.put(of.spans, of.labels, of.unknown)?;
            }
            other.end_sentence();
        }
        Ok(other)
    }

    /// The same targets, of whose two spans the later one is looked at alone: that which ends later, the second of equals. A
    /// probe has the vector zero in the place of the other. In a causal model it is the later one that has seen
    /// both.
    #[must_use]
    pub fn later_spans(&self) -> Self {
        let mut other = self.clone();
        if self.roles == 2 {
            let (both, _) = other.spans.as_chunks_mut::<2>();
            for [first, second] in both {
                let earlier = if first[1] > second[1] { second } else { first };
                *earlier = [0; 2];
            }
        }
        other
    }

    /// Refuses spans that reach beyond what is stored, and a split without targets.
    ///
    /// # Errors
    /// Either of them.
    pub fn check(&self, states: &dyn LayerStates) -> Result<(), Error> {
        if self.targets() == 0 || self.sentences() == 0 {
            return Err(Fault::NoTargets.into());
        }
        let beyond = |end: u32| end as usize > states.pieces();
        if let Some(at) = self.spans.iter().position(|[_, end]| beyond(*end)) {
            let [start, end] = self.spans[at];
            return Err(Fault::Beyond {
                target: at / self.roles,
                start,
                end,
                pieces: states.pieces(),
            }
            .into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_is_what_was_added() {
        let mut split = Split::new(2, 5).unwrap();
        split.end_sentence();
        split.target([3, 5], Some([0, 1]), &[4, 0, 4], 1).unwrap();
        split.target([0, 1], Some([0, 1]), &[], 0).unwrap();
        split.end_sentence();
        split.target([7, 8], Some([8, 9]), &[2], 0).unwrap();
        split.end_sentence();
        assert_eq!((split.sentences(), split.targets()), (3, 3));
        assert_eq!(split.targets_of(0), 0..0);
        assert_eq!(split.targets_of(1), 0..2);
        assert_eq!(split.targets_of(2), 2..3);
        let first = split.get(0);
        assert_eq!(first.spans, [[3, 5], [0, 1]]);
        assert_eq!((first.labels, first.unknown), (&[0, 4][..], 1));
        assert!(split.get(1).labels.is_empty());
        assert_eq!(split.get(2).labels, [2]);
        assert!(!split.is_single_label());
        let other = split.relabelled(|target| (vec![target as u16], 0)).unwrap();
        assert!(other.is_single_label());
        assert_eq!(other.get(2).labels, [2]);
        assert_eq!(other.targets_of(1), 0..2);
        let later = split.later_spans();
        let seen = |target, role| later.get(target).span(role);
        assert_eq!((seen(0, 0), seen(0, 1)), (Some([3, 5]), None));
        assert_eq!((seen(1, 0), seen(1, 1)), (None, Some([0, 1])));
        assert_eq!((seen(2, 0), seen(2, 1)), (None, Some([8, 9])));
        assert_eq!(later.get(0).labels, [0, 4]);
        let drawn = later.relabelled(|_| (vec![1], 0)).unwrap();
        assert_eq!(drawn.get(2).span(0), None);
        assert_eq!(later.subset(&[2]).unwrap().get(0).span(0), None);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_not_added() {
        let mut split = Split::new(1, 2).unwrap();
        assert!(split.target([1, 1], None, &[0], 0).is_err());
        assert!(split.target([2, 1], None, &[0], 0).is_err());
        assert!(split.target([0, 1], Some([0, 1]), &[0], 0).is_err());
        assert!(split.target([0, 1], None, &[2], 0).is_err());
        split.target([0, 1], None, &[0], 0).unwrap();
        assert_eq!(
            (split.targets(), split.sentences()),
            (0, 0),
            "no sentence has ended"
        );
        let mut split = Split::new(1, 2).unwrap();
        assert!(Split::new(3, 2).is_err() && Split::new(1, 0).is_err());
        let states = HeldStates::new(2, 3, vec![0.0; 24]).unwrap();
        assert!(split.check(&states).is_err());
        split.target([0, 5], None, &[1], 0).unwrap();
        split.end_sentence();
        let refused = split.check(&states).unwrap_err().to_string();
        assert!(
            refused.contains("0..5") && refused.contains('4'),
            "{refused}"
        );
        assert!(
            Split::new(2, 2)
                .unwrap()
                .target([0, 1], None, &[], 0)
                .is_err()
        );
    }

    #[test]
    fn states_come_in_the_order_asked_for() {
        let values: Vec<f32> = (0..12_u8).map(f32::from).collect();
        let states = HeldStates::new(2, 2, values).unwrap();
        let mut out = [0.0; 8];
        states.gather(&[2, 0], &mut out).unwrap();
        assert_eq!(out, [8.0, 9.0, 10.0, 11.0, 0.0, 1.0, 2.0, 3.0]);
        assert!(states.gather(&[3], &mut out[..4]).is_err());
        assert!(HeldStates::new(2, 2, vec![0.0; 3]).is_err());
    }
}
