//! Below the blocks: what a token is before any layer has seen it.

use bertology_checkpoint::{Architecture, Segments};
use bertology_kernels::elementwise::add_assign;
use bertology_kernels::product::linear;
use bertology_kernels::{Matrix, Real};

use crate::dropout::{DropSite, Drops};
use crate::rows::Rows;
use crate::taps::{ModelSite, Pass, Tap, Taps};
use crate::workspace::{EmbeddingTrace, sized};
use crate::{Error, Model, PackedBatch};

/// `hidden [tokens, hidden]` ← norm(word + segment + position); the norm where the family has one, then
/// the map to the hidden size where the tables have another width.
pub(crate) fn embed<R: Real>(
    model: &Model<R>,
    batch: &PackedBatch,
    hidden: &mut Vec<R>,
    trace: &mut EmbeddingTrace<R>,
    drops: Option<&Drops>,
    threads: usize,
    taps: &mut Taps<'_, '_, '_, R>,
) -> Result<(), Error> {
    let shell = &model.shell;
    let arch = model.architecture();
    let width = arch.embedding_size;
    let segments: &[R] = match arch.segments {
        Segments::Words => &shell.words,
        Segments::None | Segments::Table(_) => &shell.segments,
    };
    let row = |table: &[R], id: u32| -> std::ops::Range<usize> {
        let first = id as usize * width;
        debug_assert!(first + width <= table.len());
        first..first + width
    };
    let sum = sized(&mut trace.hat, batch.tokens() * width);
    for (token, out) in sum.chunks_exact_mut(width).enumerate() {
        out.copy_from_slice(&shell.words[row(&shell.words, batch.ids[token])]);
    }
    drop_masks(arch, batch.ranges().map(|range| &batch.ids[range]), sum);
    for (token, out) in sum.chunks_exact_mut(width).enumerate() {
        if let Some(segment) = batch.segments[token] {
            add_assign(out, &segments[row(segments, segment)]);
        }
        if let Some(positions) = &shell.positions {
            add_assign(out, &positions[row(positions, batch.positions[token])]);
        }
    }
    finish(model, trace, hidden, threads, |data| {
        if let Some(drops) = drops {
            drops.rows(DropSite::Embeddings, 0, batch, &Rows::All, data, width);
        }
    });
    let width = arch.hidden_size;
    let tap = Tap::Model(ModelSite::Embeddings);
    taps.edit_rows(tap, batch, hidden, width)?;
    taps.check_rows(Pass::Forward, tap, batch, &Rows::All, hidden)?;
    taps.emit_rows(Pass::Forward, tap, batch, hidden, width)
}

/// What [`TokenDropout`](bertology_checkpoint::TokenDropout) does to the rows of the words of some texts, `[tokens,
/// embedding size]`, and to their gradients, since it is linear; nothing where the family has none.
pub(crate) fn drop_masks<'i, R: Real>(
    arch: &Architecture,
    texts: impl Iterator<Item = &'i [u32]>,
    rows: &mut [R],
) {
    let Some(rule) = arch.token_dropout else {
        return;
    };
    let mut rows = rows.chunks_exact_mut(arch.embedding_size);
    for ids in texts {
        let factor = R::from_f64(rule.factor(ids));
        for (id, row) in ids.iter().zip(&mut rows) {
            if *id == rule.mask_id {
                row.fill(R::ZERO);
            } else {
                row.iter_mut().for_each(|value| *value *= factor);
            }
        }
    }
}

/// `hidden [tokens, hidden]` ← the norm of the sum `trace.hat [tokens, width]` where the family has one, changed by
/// `drop`, then the map to the hidden size.
fn finish<R: Real>(
    model: &Model<R>,
    trace: &mut EmbeddingTrace<R>,
    hidden: &mut Vec<R>,
    threads: usize,
    drop: impl FnOnce(&mut [R]),
) {
    let shell = &model.shell;
    let arch = model.architecture();
    let EmbeddingTrace { hat, rstd, narrow } = trace;
    let tokens = hat.len() / arch.embedding_size;
    let summed = match &shell.projection {
        Some(_) => sized(narrow, hat.len()),
        None => sized(hidden, hat.len()),
    };
    match &shell.norm {
        Some(norm) => {
            norm.forward(summed, hat, sized(rstd, tokens), arch.norm_epsilon);
        }
        None => summed.copy_from_slice(hat),
    }
    drop(summed);
    if let Some(projection) = &shell.projection {
        let wide = sized(hidden, tokens * projection.outputs);
        let input = Matrix::new(narrow, tokens, arch.embedding_size);
        linear(wide, input, projection.matrix(), &projection.bias, threads);
    }
}

impl<R: Real> Model<R> {
    /// What tokens are by themselves: their rows of the table of words, with the norm (and the map to the hidden size)
    /// of the embeddings, but without position and segment. ESM's are scaled as in a text without masks, and its mask is
    /// zeros.
    ///
    /// # Shapes
    /// `[ids, hidden]`
    ///
    /// # Errors
    /// [`Error::IdOutOfRange`]: an id beyond the table.
    pub fn word_embeddings(&self, ids: &[u32]) -> Result<Vec<R>, Error> {
        let arch = self.architecture();
        let (words, width) = (&self.shell.words, arch.embedding_size);
        let mut sum = Vec::with_capacity(ids.len() * width);
        for (position, id) in ids.iter().enumerate() {
            if *id as usize >= arch.vocab_size {
                return Err(Error::IdOutOfRange {
                    sequence: 0,
                    what: "token",
                    position,
                    id: *id,
                    rows: arch.vocab_size,
                });
            }
            sum.extend_from_slice(&words[*id as usize * width..][..width]);
        }
        drop_masks(arch, ids.chunks(1), &mut sum);
        let mut hidden = Vec::new();
        let mut trace = EmbeddingTrace {
            hat: sum,
            ..EmbeddingTrace::default()
        };
        finish(self, &mut trace, &mut hidden, 1, |_| {});
        Ok(hidden)
    }
}
