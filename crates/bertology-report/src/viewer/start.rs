//! The head that a page opens with. All heads at once are a tangle; one shows what a head is.

use serde::Serialize;

use super::{Importance, LayerHeads, Token};
use crate::Error;

/// The head that is chosen when a page opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// Zero-based.
    pub layer: usize,
    /// Zero-based, as the unpruned model numbers them.
    pub head: usize,
    /// Why this one: what goes on with "the head".
    pub why: String,
}

impl Start {
    /// The most important of the heads that are shown; of several the first. Nothing if none is shown, or if there
    /// are fewer numbers than heads.
    #[must_use]
    pub fn most_important(
        importance: &Importance,
        heads: usize,
        shown: &[LayerHeads],
    ) -> Option<Self> {
        let (layer, head) = first_of_largest(shown, |layer, head| {
            importance.values.get(layer * heads + head).copied()
        })?;
        Some(Self {
            layer,
            head,
            why: format!("that {} finds most important", importance.source),
        })
    }
}

/// The first of the heads with the largest number.
fn first_of_largest(
    shown: &[LayerHeads],
    number: impl Fn(usize, usize) -> Option<f64>,
) -> Option<(usize, usize)> {
    let mut best: Option<(f64, (usize, usize))> = None;
    for LayerHeads { layer, heads, .. } in shown {
        for head in heads {
            let found = number(*layer, *head)?;
            if best.is_none_or(|(largest, _)| found > largest) {
                best = Some((found, (*layer, *head)));
            }
        }
    }
    best.map(|(_, id)| id)
}

/// How much every head picks out single words, which is worth a first look: the mean over the queries of all texts
/// of the largest weight that a query gives to another token. Special tokens count on neither side, and in causal
/// models the first token is no such key either: most heads rest there when nothing else is to be seen.
#[derive(Debug, Clone)]
pub struct Focus {
    causal: bool,
    /// Head by head as they came: layer, head, sum of largest weights, queries.
    heads: Vec<(usize, usize, f64, u64)>,
}

impl Focus {
    /// Of no text yet.
    #[must_use]
    pub fn new(causal: bool) -> Self {
        Self {
            causal,
            heads: Vec::new(),
        }
    }

    /// Adds the map of a head for a text, `[query, key]`.
    ///
    /// # Errors
    /// A map of another size than the tokens'.
    pub fn push(
        &mut self,
        head: (usize, usize),
        map: &[f32],
        tokens: &[Token],
    ) -> Result<(), Error> {
        let n = tokens.len();
        super::count("weights of an attention map", n * n, map.len())?;
        let ordinary = |at: usize| !tokens[at].special;
        let (mut sum, mut queries) = (0.0, 0);
        for query in (0..n).filter(|at| ordinary(*at)) {
            let seen = if self.causal { 1..query } else { 0..n };
            let keys = seen.filter(|key| *key != query && ordinary(*key));
            if let Some(largest) = keys.map(|key| map[query * n + key]).reduce(f32::max) {
                sum += f64::from(largest);
                queries += 1;
            }
        }
        match self
            .heads
            .iter_mut()
            .find(|(layer, number, ..)| (*layer, *number) == head)
        {
            Some((_, _, sums, all)) => {
                *sums += sum;
                *all += queries;
            }
            None => self.heads.push((head.0, head.1, sum, queries)),
        }
        Ok(())
    }

    /// The head that picks out most; of several the first. Nothing if none of them was looked at.
    #[must_use]
    pub fn start(&self, shown: &[LayerHeads]) -> Option<Start> {
        let (layer, head) = first_of_largest(shown, |layer, head| {
            let mut heads = self.heads.iter();
            let (.., sum, queries) = heads.find(|(l, h, ..)| (*l, *h) == (layer, head))?;
            Some(if *queries == 0 {
                0.0
            } else {
                sum / *queries as f64
            })
        })?;
        Some(Start {
            layer,
            head,
            why: "whose tokens pick out one other token most clearly".into(),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shown(heads: &[usize]) -> Vec<LayerHeads> {
        vec![LayerHeads {
            layer: 3,
            heads: heads.to_vec(),
            score_scale: 1.0,
        }]
    }

    /// Tokens of which those are special.
    fn tokens(special: [bool; 4]) -> Vec<Token> {
        let token = |special| Token {
            special,
            ..Token::default()
        };
        special.map(token).to_vec()
    }

    #[test]
    fn the_most_important_head_that_is_shown_comes_first() {
        let importance = Importance {
            source: "run".into(),
            values: [[9.0; 3]; 3]
                .concat()
                .into_iter()
                .chain([0.5, 2.0, 2.0])
                .collect(),
        };
        let start = |heads: &[usize]| Start::most_important(&importance, 3, &shown(heads));
        let found = start(&[0, 1, 2]).unwrap();
        assert_eq!((found.layer, found.head), (3, 1));
        assert_eq!(found.why, "that run finds most important");
        assert_eq!(start(&[0]).unwrap().head, 0);
        assert_eq!(start(&[]), None);
        assert_eq!(start(&[5]), None);
    }

    #[test]
    fn else_the_head_whose_words_pick_out_another_word() {
        // All weight to [CLS] and to itself; then a third of it to one other word.
        let rests = [
            [1.0, 0.0, 0.0, 0.0],
            [0.5, 0.5, 0.0, 0.0],
            [0.5, 0.0, 0.5, 0.0],
            [1.0, 0.0, 0.0, 0.0],
        ]
        .concat();
        let picks = [
            [1.0, 0.0, 0.0, 0.0],
            [0.25, 0.25, 0.5, 0.0],
            [0.25, 0.25, 0.25, 0.25],
            [1.0, 0.0, 0.0, 0.0],
        ]
        .concat();
        let bert = tokens([true, false, false, true]);
        let mut focus = Focus::new(false);
        focus.push((3, 0), &rests, &bert).unwrap();
        focus.push((3, 1), &picks, &bert).unwrap();
        assert_eq!(focus.heads[1], (3, 1, 0.75, 2));
        assert_eq!(focus.start(&shown(&[0, 1])).unwrap().head, 1);
        assert_eq!(focus.start(&shown(&[0])).unwrap().head, 0);
        assert_eq!(focus.start(&shown(&[2])), None);
        // Two texts: the mean over the queries of both.
        focus.push((3, 1), &rests, &bert).unwrap();
        assert_eq!(focus.heads[1], (3, 1, 0.75, 4));
        assert!(focus.push((3, 1), &picks, &bert[..3]).is_err());
        // Where the first token is all that there is to see, there is nothing to pick out.
        let mut causal = Focus::new(true);
        causal.push((3, 0), &picks, &tokens([false; 4])).unwrap();
        assert_eq!(causal.heads[0], (3, 0, 0.25, 2));
    }
}
