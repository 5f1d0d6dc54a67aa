//! The way back through attention on a device.

use bertology_device::{HeadMatrix, Reduce};
use bertology_kernels::{Matrix, MatrixMut, Real};

use super::attention::{Projections, Seen, projection};
use super::block::Trace;
use super::groups::Group;
use super::pass::DevicePass;
use super::reduce::Tables;
use crate::Error;
use crate::attention::{AttentionPass, PROJECTIONS, ROTATED, Slice};
use crate::mask::HeadId;
use crate::taps::{LayerSite, Pass, Site, Taps};

impl<R: Real, D: Reduce<R>> DevicePass<'_, R, D> {
    /// From the gradient of the masked head outputs, `d_heads [tokens, W]`, to that of the projections, `[tokens, 3W]`, if
    /// `deeper`; the gradients of the head mask, `[sequences, heads]`, go to the layer's place in `mask_gradients`. The
    /// formulas are those of [`AttentionPass::backward`].
    pub(super) fn attend_backward(
        &self,
        layer: usize,
        mut d_heads: D::Buffer,
        trace: &Trace<D::Buffer>,
        deeper: bool,
        mask_gradients: &mut D::Buffer,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<Option<D::Buffer>, Error> {
        let pass = Pass::Backward;
        let block = self.host_block(layer);
        let host = block.attention(&[]);
        let shapes = self.shapes(layer)?;
        let (width, heads) = (host.width(), host.weights.heads.len());
        let tokens = self.batch.tokens();
        if heads > 0 {
            let mut each = self.device.zeros(tokens * heads)?;
            let device = self.device;
            device.head_dots(&shapes.all, &mut each, &trace.context, &d_heads, width);
            let first = self.mask_gradients_of(layer);
            device.sum_tokens(&shapes.all, mask_gradients, first, &each);
            if taps.wants(pass, LayerSite::HeadMask) {
                self.settle(taps)?;
                let each = self.rows_of(&each, heads)?;
                for (sequence, range) in self.batch.ranges().enumerate() {
                    for place in 0..heads {
                        let (id, _) = host.slice(sequence, place);
                        let column: Vec<R> =
                            range.clone().map(|t| each[t * heads + place]).collect();
                        let value = Matrix::new(&column, column.len(), 1);
                        taps.emit_head(pass, LayerSite::HeadMask, sequence, id, value)?;
                    }
                }
            }
        }
        self.mask_heads(layer, &mut d_heads)?;
        let mut seen = None;
        let alters = taps.alters(Site::Layer(LayerSite::HeadOutput));
        if taps.wants(pass, LayerSite::HeadOutput) || alters {
            self.settle(taps)?;
            let given = self.rows_of(&d_heads, width)?;
            if alters && deeper {
                let mut stopped = given.clone();
                for (sequence, id, slice) in host.slices() {
                    let place = AttentionPass::<R>::place(LayerSite::HeadOutput, sequence, id);
                    taps.edits().block(&place, slice.context_mut(&mut stopped));
                }
                self.device.write(&mut d_heads, 0, &stopped)?;
            }
            seen = Some(given);
        }
        let mut d_qkv = None;
        if deeper {
            d_qkv = Some(self.device.zeros(tokens * 3 * width)?);
        }
        for group in &shapes.groups {
            let slices = Self::slices(&host, group);
            let below = match &mut d_qkv {
                Some(d_qkv) => {
                    self.group_backward(layer, &host, group, &slices, &d_heads, trace, d_qkv, taps)?
                }
                None => Below::default(),
            };
            let ranges = Self::map_ranges(&slices);
            for (at, ((sequence, id, slice), range)) in slices.iter().zip(&ranges).enumerate() {
                let place = at % group.heads.len();
                self.tell(pass, group, &below.tables, (*sequence, *id), place, taps)?;
                let mut emit =
                    |site, value: Matrix<'_, R>| taps.emit_head(pass, site, *sequence, *id, value);
                if let Some(d_heads) = &seen {
                    emit(LayerSite::HeadOutput, slice.context(d_heads))?;
                }
                let n = slice.len();
                let sites = [LayerSite::AttentionProbs, LayerSite::AttentionScores];
                for (site, maps) in sites.into_iter().zip(&below.maps) {
                    if let Some(maps) = maps {
                        emit(site, Matrix::new(&maps[range.clone()], n, n))?;
                    }
                }
                for (part, site) in ROTATED.into_iter().enumerate() {
                    if let Some(d_qkv) = &below.projections.turned {
                        emit(site, slice.read(d_qkv, part))?;
                    }
                }
                for (part, site) in PROJECTIONS.into_iter().enumerate() {
                    if let Some(d_qkv) = &below.projections.given {
                        emit(site, slice.read(d_qkv, part))?;
                    }
                }
            }
        }
        Ok(d_qkv)
    }

    /// The part of [`Self::attend_backward`] below the head outputs, for one group; gives what somebody wants to see of it.
    #[allow(clippy::too_many_arguments, reason = "one call site, all of one pass")]
    fn group_backward(
        &self,
        layer: usize,
        host: &AttentionPass<'_, R>,
        group: &Group<D::Shape>,
        slices: &[(usize, HeadId, Slice)],
        d_heads: &D::Buffer,
        trace: &Trace<D::Buffer>,
        d_qkv: &mut D::Buffer,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<Below<R>, Error> {
        let (device, on) = (self.device, &group.on);
        let (width, numbers) = (host.width(), group.shape.map_numbers());
        let heads = HeadMatrix::Tokens {
            first: 0,
            stride: width,
        };
        let [query, key, value] = [0, 1, 2].map(|part| projection(part, width));
        // 1. The weights again, with the changes that were made on the way up.
        let mut probs = device.zeros(numbers)?;
        self.scores(layer, host, group, trace, &mut probs)?;
        self.replay(
            LayerSite::AttentionScores,
            slices,
            &mut probs,
            numbers,
            taps,
        )?;
        device.softmax(on, &mut probs, self.sight(layer));
        self.replay(LayerSite::AttentionProbs, slices, &mut probs, numbers, taps)?;
        // 2. The product with the values.
        let mut d = device.zeros(numbers)?;
        let (p, d_context) = (
            (&probs, HeadMatrix::Map.transposed()),
            (d_heads, heads.plain()),
        );
        device.products(on, (d_qkv, value), p, d_context, R::ONE, false);
        let values = (&trace.qkv, value.transposed());
        device.products(
            on,
            (&mut d, HeadMatrix::Map),
            d_context,
            values,
            R::ONE,
            false,
        );
        // 3. The softmax.
        let tables = self.tables_back(group, &d, &probs, taps)?;
        let site = LayerSite::AttentionProbs;
        let d_probs = self.stop_maps(site, slices, &mut d, numbers, taps)?;
        device.softmax_backward(on, &mut d, &probs);
        let site = LayerSite::AttentionScores;
        let d_scores = self.stop_maps(site, slices, &mut d, numbers, taps)?;
        // 4. The product of queries and keys.
        let scale = host.scale();
        let map = HeadMatrix::Map;
        let keys = (&trace.qkv, key.plain());
        device.products(on, (d_qkv, query), (&d, map.plain()), keys, scale, false);
        let queries = (&trace.qkv, query.plain());
        device.products(
            on,
            (d_qkv, key),
            (&d, map.transposed()),
            queries,
            scale,
            false,
        );
        // 5. What positions add to them.
        for (part, met) in self.met(layer, host, trace).into_iter().enumerate() {
            let Some((rows, matrix)) = met else { continue };
            let mut spread = device.zeros(group.shape.spread_numbers())?;
            device.sum_spread(on, &mut spread, &d, self.spread(part)?);
            let out = (&mut *d_qkv, projection(part, width));
            let spread = (&spread, HeadMatrix::Spread.plain());
            device.products(on, out, spread, (rows, matrix.plain()), scale, true);
        }
        let mut below = Below {
            tables,
            maps: [d_probs, d_scores],
            projections: Projections::default(),
        };
        if let Some((angles, half)) = self.angles(layer) {
            below.projections.turned = self.stop(&ROTATED, group, slices, d_qkv, width, taps)?;
            let positions = self.positions()?;
            for part in 0..2 {
                let x = (&mut *d_qkv, projection(part, width));
                device.turn(on, x, angles.each_ref(), positions, half, true);
            }
        }
        below.projections.given = self.stop(&PROJECTIONS, group, slices, d_qkv, width, taps)?;
        Ok(below)
    }

    /// Puts new values in the place of those that were computed again.
    fn replay(
        &self,
        site: LayerSite,
        slices: &[(usize, HeadId, Slice)],
        map: &mut D::Buffer,
        numbers: usize,
        taps: &Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        if !taps.alters(Site::Layer(site)) {
            return Ok(());
        }
        let mut maps = self.device.read(map, 0..numbers)?;
        for ((sequence, id, _), range) in slices.iter().zip(Self::map_ranges(slices)) {
            let place = AttentionPass::<R>::place(site, *sequence, *id);
            taps.edits().replay(&place, &mut maps[range]);
        }
        Ok(self.device.write(map, 0, &maps)?)
    }

    /// The gradient of maps, if somebody wants to see it; it stops where they were changed.
    fn stop_maps(
        &self,
        site: LayerSite,
        slices: &[(usize, HeadId, Slice)],
        d: &mut D::Buffer,
        numbers: usize,
        taps: &Taps<'_, '_, '_, R>,
    ) -> Result<Seen<R>, Error> {
        let alters = taps.alters(Site::Layer(site));
        if !alters && !taps.wants(Pass::Backward, site) {
            return Ok(None);
        }
        self.settle(taps)?;
        let given = self.device.read(d, 0..numbers)?;
        if alters {
            let mut stopped = given.clone();
            for ((sequence, id, slice), range) in slices.iter().zip(Self::map_ranges(slices)) {
                let n = slice.len();
                let place = AttentionPass::<R>::place(site, *sequence, *id);
                let gradient = MatrixMut::new(&mut stopped[range], n, n);
                taps.edits().block(&place, gradient);
            }
            self.device.write(d, 0, &stopped)?;
        }
        Ok(Some(given))
    }

    /// The gradient of packed projections, in the place of the group's tokens, if somebody wants to see it; it stops where they
    /// were changed.
    fn stop(
        &self,
        sites: &[LayerSite],
        group: &Group<D::Shape>,
        slices: &[(usize, HeadId, Slice)],
        d_qkv: &mut D::Buffer,
        width: usize,
        taps: &Taps<'_, '_, '_, R>,
    ) -> Result<Seen<R>, Error> {
        let alters = sites.iter().any(|site| taps.alters(Site::Layer(*site)));
        let wanted = sites.iter().any(|site| taps.wants(Pass::Backward, *site));
        if !alters && !wanted {
            return Ok(None);
        }
        self.settle(taps)?;
        let rows = group.shape.tokens();
        let rows = rows.start * 3 * width..rows.end * 3 * width;
        let mut given = vec![R::ZERO; rows.end];
        given[rows.clone()].copy_from_slice(&self.device.read(d_qkv, rows.clone())?);
        if alters {
            let mut stopped = given.clone();
            for (sequence, id, slice) in slices {
                for (part, site) in sites.iter().enumerate() {
                    let place = AttentionPass::<R>::place(*site, *sequence, *id);
                    taps.edits().block(&place, slice.write(&mut stopped, part));
                }
            }
            self.device.write(d_qkv, rows.start, &stopped[rows])?;
        }
        Ok(Some(given))
    }
}

/// Gradients below the head outputs that somebody wants to see.
struct Below<R> {
    tables: Vec<Tables<R>>,
    /// Of probabilities, then of scores.
    maps: [Seen<R>; 2],
    projections: Projections<R>,
}

impl<R> Default for Below<R> {
    fn default() -> Self {
        Self {
            tables: Vec::new(),
            maps: [None, None],
            projections: Projections::default(),
        }
    }
}
