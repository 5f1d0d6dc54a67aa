//! The paper's two-segment packing; see [`super::passages`].

use bertology_tokenizer::{Encoding, Tokenizer};

use crate::Error;
use crate::random::Draws;

/// The special tokens of a pair: before, between and behind the texts, each with its segment.
#[derive(Debug)]
pub(super) struct Frame {
    before: Vec<(u32, u32)>,
    between: Vec<(u32, u32)>,
    behind: Vec<(u32, u32)>,
    /// Of the two texts.
    segments: [u32; 2],
}

impl Frame {
    /// What a tokenizer puts around two texts, with `bos` in front if it is not there.
    pub(super) fn of(tokenizer: &Tokenizer, bos: Option<u32>) -> Result<Self, Error> {
        let pattern = tokenizer.encode("a", Some("a"), None)?;
        let mut parts = [Vec::new(), Vec::new(), Vec::new()];
        let mut segments = [0; 2];
        let mut part = 0;
        for at in 0..pattern.len() {
            let (id, segment) = (pattern.ids[at], pattern.segment_ids[at]);
            match pattern.sequence[at] {
                Some(text) if !pattern.special[at] => {
                    let text = usize::from(text).min(1);
                    part = text + 1;
                    segments[text] = segment;
                }
                _ => parts[part].push((id, segment)),
            }
        }
        let [mut before, between, behind] = parts;
        if let Some(bos) = bos.filter(|bos| before.first().is_none_or(|(id, _)| id != bos)) {
            before.insert(0, (bos, 0));
        }
        Ok(Self {
            before,
            between,
            behind,
            segments,
        })
    }

    fn tokens(&self) -> usize {
        self.before.len() + self.between.len() + self.behind.len()
    }
}

/// Packs sentences.
#[derive(Debug)]
pub(super) struct Pairs {
    frame: Frame,
    /// Tokens of both texts together.
    budget: usize,
    seed: u64,
}

impl Pairs {
    pub(super) fn new(frame: Frame, max_length: usize, seed: u64) -> Result<Self, Error> {
        let budget = max_length.saturating_sub(frame.tokens());
        if budget < 2 {
            return Err(Error::Option {
                option: "the maximum length",
                value: max_length.to_string(),
                reason: "a pair of segments needs a token each besides the special ones; give more",
            });
        }
        Ok(Self {
            frame,
            budget,
            seed,
        })
    }

    /// The pairs of a document, in order; `None` for a chunk of one sentence, of which there is no pair.
    ///
    /// Sentences are taken until they fill the budget or the document ends; the chunk is split between two
    /// sentences, all places equally likely, and single tokens go from the front or the back of the longer
    /// side (if equal, the second) until it fits.
    pub(super) fn of_document(
        &self,
        sentences: &[Vec<u32>],
        document: u64,
    ) -> Vec<Option<[Vec<u32>; 2]>> {
        let mut found = Vec::new();
        let mut chunk: Vec<&[u32]> = Vec::new();
        let mut tokens = 0;
        let mut rest = sentences
            .iter()
            .filter(|sentence| !sentence.is_empty())
            .peekable();
        while let Some(sentence) = rest.next() {
            tokens += sentence.len();
            chunk.push(sentence);
            if tokens < self.budget && rest.peek().is_some() {
                continue;
            }
            let mut draws = Draws::of_window(self.seed, document, found.len() as u64);
            found.push(self.pair(&chunk, &mut draws));
            chunk.clear();
            tokens = 0;
        }
        found
    }

    fn pair(&self, chunk: &[&[u32]], draws: &mut Draws) -> Option<[Vec<u32>; 2]> {
        if chunk.len() < 2 {
            return None;
        }
        let at = 1 + draws.below(chunk.len() - 1);
        let (first, second) = chunk.split_at(at);
        let (first, second) = (first.concat(), second.concat());
        let (mut a, mut b) = (0..first.len(), 0..second.len());
        while a.len() + b.len() > self.budget {
            let longer = if a.len() > b.len() { &mut a } else { &mut b };
            if draws.unit() < 0.5 {
                longer.start += 1;
            } else {
                longer.end -= 1;
            }
        }
        Some([first[a].to_vec(), second[b].to_vec()])
    }

    /// The whole input of the model.
    pub(super) fn encoding(&self, sides: [Vec<u32>; 2]) -> Encoding {
        let frame = &self.frame;
        let [first, second] = sides;
        let text = |ids: Vec<u32>, side: usize| {
            ids.into_iter()
                .map(move |id| (id, frame.segments[side], u8::from(side == 1), false))
        };
        let special =
            |tokens: &[(u32, u32)]| tokens.iter().map(|&(id, s)| (id, s, 0, true)).collect();
        let parts: [Vec<(u32, u32, u8, bool)>; 5] = [
            special(&frame.before),
            text(first, 0).collect(),
            special(&frame.between),
            text(second, 1).collect(),
            special(&frame.behind),
        ];
        let mut encoding = Encoding::default();
        for (id, segment, side, special) in parts.into_iter().flatten() {
            encoding.ids.push(id);
            encoding.segment_ids.push(segment);
            encoding.offsets.push((0, 0));
            encoding.sequence.push((!special).then_some(side));
            encoding.special.push(special);
            encoding.words.push(None);
        }
        encoding
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(budget: usize) -> Pairs {
        let frame = Frame {
            before: vec![(101, 0)],
            between: vec![(102, 0)],
            behind: vec![(102, 1)],
            segments: [0, 1],
        };
        Pairs::new(frame, budget + 3, 7).expect("room")
    }

    /// Sentence `k` of a document is `len` tokens `100 k, 100 k + 1, ...`.
    fn sentences(lengths: &[usize]) -> Vec<Vec<u32>> {
        let numbered = (0_u32..).zip(lengths);
        numbered
            .map(|(k, len)| (0..*len as u32).map(|i| 100 * k + i).collect())
            .collect()
    }

    #[test]
    fn chunks_fill_the_budget_and_split_between_sentences() {
        let pairs = pairs(10);
        let text = sentences(&[4, 5, 3, 0, 2, 2, 9]);
        for document in 0..200 {
            let found = pairs.of_document(&text, document);
            // 4 + 5 + 3 fill it, 2 + 2 + 9, and nothing is left.
            assert_eq!(found.len(), 2);
            for (sides, starts) in found.iter().zip([[0, 100, 200], [400, 500, 600]]) {
                let [a, b] = sides.as_ref().expect("two sentences and more");
                assert_eq!(a.len() + b.len(), 10);
                assert!(a.len().abs_diff(b.len()) <= 9);
                for side in [a, b] {
                    // Cut at the ends only: what is left is in order and without gaps within sentences.
                    assert!(side.windows(2).all(|w| w[1] > w[0]));
                    assert!(side.iter().all(|id| starts.contains(&(id / 100 * 100))));
                }
                assert!(a.last() < b.first());
            }
        }
        let all: std::collections::BTreeSet<_> = (0..200)
            .map(|d| pairs.of_document(&text, d)[0].clone())
            .collect();
        assert!(all.len() > 5, "splits and cuts are drawn");
        assert_eq!(pairs.of_document(&text, 3), pairs.of_document(&text, 3));
    }

    #[test]
    fn a_lone_sentence_gives_no_pair_and_ends_nothing() {
        let pairs = pairs(10);
        let found = pairs.of_document(&sentences(&[12, 3, 3]), 0);
        assert_eq!(found[0], None);
        assert_eq!(found[1], Some([vec![100, 101, 102], vec![200, 201, 202]]));
        assert!(pairs.of_document(&[], 0).is_empty());
        let frame = Frame {
            before: Vec::new(),
            between: Vec::new(),
            behind: Vec::new(),
            segments: [0, 0],
        };
        assert!(Pairs::new(frame, 1, 0).is_err());
    }

    #[test]
    fn special_tokens_stand_around_the_sides() {
        let encoding = pairs(4).encoding([vec![1, 2], vec![3]]);
        assert_eq!(encoding.ids, [101, 1, 2, 102, 3, 102]);
        assert_eq!(encoding.segment_ids, [0, 0, 0, 0, 1, 1]);
        assert_eq!(encoding.special, [true, false, false, true, false, true]);
    }
}
