//! Which keys the queries of a layer see, and in what blocks they are taken.

use std::ops::Range;

use bertology_kernels::Real;
use bertology_kernels::softmax::band;

use crate::attention::AttentionPass;
use crate::taps::Taps;

/// Queries that are taken together where not all keys are seen: a block as wide as it is tall is computed in vain
/// above its diagonal, and smaller products are slower ones.
const QUERY_BLOCK: usize = 128;
/// Queries that are taken together where all keys are seen: their scores for 2,048 keys are 2 MiB of `f32`. Fewer are
/// slower, for every product arranges the keys anew.
const QUERY_TILE: usize = 256;

/// Some queries, and the keys that some of them see.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) queries: Range<usize>,
    pub(crate) keys: Range<usize>,
}

/// Which keys the queries of a layer see.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight {
    /// None that stand behind them.
    causal: bool,
    /// None further away.
    reach: Option<usize>,
}

impl Sight {
    /// The keys, of `n`, that one query sees.
    pub(crate) fn of(self, query: usize, n: usize) -> Range<usize> {
        match self.reach {
            Some(reach) => band(query, reach, n),
            None if self.causal => 0..query + 1,
            None => 0..n,
        }
    }

    /// [`Self::of`], counted from the first of these keys.
    pub(crate) fn among(self, keys: &Range<usize>, query: usize, n: usize) -> Range<usize> {
        let seen = self.of(query, n);
        seen.start - keys.start..seen.end - keys.start
    }

    fn is_everything(self) -> bool {
        !self.causal && self.reach.is_none()
    }

    /// So many queries at a time with the keys that some of them see, last ones first.
    fn blocks(self, size: usize, n: usize) -> impl Iterator<Item = Block> {
        let size = size.max(1);
        (0..n.div_ceil(size)).rev().map(move |block| {
            let queries = block * size..((block + 1) * size).min(n);
            let keys = self.of(queries.start, n).start..self.of(queries.end - 1, n).end;
            Block { queries, keys }
        })
    }
}

impl<R: Real> AttentionPass<'_, R> {
    /// How far to either side a query of this layer sees.
    pub(crate) fn reach(&self) -> Option<usize> {
        self.arch.reach(self.layer)
    }

    pub(crate) fn sight(&self) -> Sight {
        Sight {
            causal: self.arch.causal,
            reach: self.reach(),
        }
    }

    /// Queries, and the keys that some of them see, last ones first: all at once, or, where what follows or is far is hidden,
    /// a few queries at a time.
    pub(crate) fn blocks(&self, n: usize) -> impl Iterator<Item = Block> + use<R> {
        let sight = self.sight();
        let size = if sight.is_everything() {
            n
        } else {
            QUERY_BLOCK
        };
        sight.blocks(size, n)
    }

    /// [`Self::blocks`], or everything at once where interventions may put anything anywhere.
    pub(crate) fn blocks_seen(
        &self,
        n: usize,
        taps: &Taps<'_, '_, '_, R>,
    ) -> impl Iterator<Item = Block> + use<R> {
        let whole = taps.changes() && n > 0;
        let blocks = self.blocks(n).filter(move |_| !whole);
        blocks.chain(whole.then_some(Block {
            queries: 0..n,
            keys: 0..n,
        }))
    }

    /// [`Self::blocks`], a few queries at a time everywhere.
    pub(crate) fn tiles(&self, n: usize) -> impl Iterator<Item = Block> + use<R> {
        let sight = self.sight();
        let size = if sight.is_everything() {
            QUERY_TILE
        } else {
            QUERY_BLOCK
        };
        // The masks of what is dropped count keys from the first.
        let from_first = self.drops_probs();
        sight.blocks(size, n).map(move |Block { queries, keys }| {
            let start = if from_first { 0 } else { keys.start };
            Block {
                queries,
                keys: start..keys.end,
            }
        })
    }

    /// What a query cannot see has no score.
    pub(crate) fn hide_unseen(&self, scores: &mut [R], n: usize) {
        let hidden = R::from_f64(f64::NEG_INFINITY);
        let sight = self.sight();
        for (i, row) in scores.chunks_exact_mut(n).enumerate() {
            let seen = sight.of(i, n);
            row[..seen.start].fill(hidden);
            row[seen.end..].fill(hidden);
        }
    }
}
