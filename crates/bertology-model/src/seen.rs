//! Which keys the queries of a layer see, and in what blocks they are taken.

use std::ops::Range;

use bertology_kernels::Real;
use bertology_kernels::softmax::band;

use crate::attention::AttentionPass;
use crate::taps::Taps;

/// Queries that are taken together where not all keys are seen: a block as wide as it is tall is computed in vain
/// above its diagonal, and smaller products are slower ones.
const QUERY_BLOCK: usize = 128;

/// Some queries, and the keys that some of them see.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) queries: Range<usize>,
    pub(crate) keys: Range<usize>,
}

impl<R: Real> AttentionPass<'_, R> {
    /// How far to either side a query of this layer sees.
    pub(crate) fn reach(&self) -> Option<usize> {
        self.arch.reach(self.layer)
    }

    /// Queries, and the keys that some of them see, last ones first: all at once, or, where what follows or is far is hidden,
    /// a few queries at a time.
    pub(crate) fn blocks(&self, n: usize) -> impl Iterator<Item = Block> + use<R> {
        let reach = self.reach();
        let causal = self.arch.causal;
        let size = match (causal, reach) {
            (false, None) => n.max(1),
            _ => QUERY_BLOCK,
        };
        (0..n.div_ceil(size)).rev().map(move |block| {
            let queries = block * size..((block + 1) * size).min(n);
            let (start, end) = match reach {
                Some(reach) => (
                    band(queries.start, reach, n).start,
                    band(queries.end - 1, reach, n).end,
                ),
                None => (0, n),
            };
            let end = if causal { queries.end } else { end };
            Block {
                queries,
                keys: start..end,
            }
        })
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

    /// What a query cannot see has no score.
    pub(crate) fn hide_unseen(&self, scores: &mut [R], n: usize) {
        let hidden = R::from_f64(f64::NEG_INFINITY);
        for (i, row) in scores.chunks_exact_mut(n).enumerate() {
            if let Some(reach) = self.reach() {
                let seen = band(i, reach, n);
                row[..seen.start].fill(hidden);
                row[seen.end..].fill(hidden);
            }
            if self.arch.causal {
                row[i + 1..].fill(hidden);
            }
        }
    }
}
