//! Attention on a device: [`crate::attention`] for many sequences and heads at once.

use std::ops::Range;

use bertology_device::{Columns, Device, HeadMatrix, Sight, Spread};
use bertology_kernels::{Matrix, MatrixMut, Real};

use super::block::Trace;
use super::groups::{Group, Shapes};
use super::pass::DevicePass;
use crate::Error;
use crate::Masking;
use crate::attention::{AttentionPass, PROJECTIONS, ROTATED, Slice};
use crate::mask::HeadId;
use crate::taps::{LayerSite, Pass, Site, Taps};

/// Queries, keys and values among the packed projections of a layer.
fn projection(part: usize, width: usize) -> HeadMatrix {
    HeadMatrix::Tokens {
        first: part * width,
        stride: 3 * width,
    }
}

/// What positions have for queries and keys in a layer: what queries meet, then what keys meet, where they do.
type Met<'a, B> = [Option<(&'a B, HeadMatrix)>; 2];

/// Maps of a group that somebody wants to see, end to end as on the device.
type Seen<R> = Option<Vec<R>>;

impl<R: Real, D: Device<R>> DevicePass<'_, R, D> {
    /// Whether values of one of these sites have to come back on the way up.
    fn looked_at(&self, sites: &[LayerSite], taps: &Taps<'_, '_, '_, R>) -> bool {
        sites
            .iter()
            .any(|site| taps.wants(Pass::Forward, *site) || taps.alters(Site::Layer(*site)))
    }

    fn sight(&self, layer: usize) -> Sight {
        Sight {
            causal: self.arch().causal,
            reach: self.arch().reach(layer),
        }
    }

    /// Every sequence and head of a group, in order.
    fn slices<S>(
        attention: &AttentionPass<'_, R>,
        group: &Group<S>,
    ) -> Vec<(usize, HeadId, Slice)> {
        let of = |sequence| group.heads.clone().map(move |place| (sequence, place));
        let all = group.sequences.clone().flat_map(of);
        all.map(|(sequence, place)| {
            let (id, slice) = attention.slice(sequence, place);
            (sequence, id, slice)
        })
        .collect()
    }

    /// The part of a buffer of maps that belongs to each slice of a group, in order.
    fn map_ranges(slices: &[(usize, HeadId, Slice)]) -> Vec<Range<usize>> {
        let mut from = 0;
        let ranges = slices.iter().map(|(_, _, slice)| {
            let range = from..from + slice.len() * slice.len();
            from = range.end;
            range
        });
        ranges.collect()
    }

    /// From queries, keys and values in `trace.qkv` to head outputs in `trace.context`.
    pub(super) fn attend(
        &self,
        layer: usize,
        trace: &mut Trace<D::Buffer>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        let block = self.host_block(layer);
        let host = block.attention(&[]);
        let shapes = self.shapes(layer)?;
        let width = host.width();
        let everything = self.all_slices(&host);
        let seen = self.projections(layer, &host, &shapes, &everything, trace, taps)?;
        trace.distances = self.meet_distances(layer)?;
        let mut context = vec![R::ZERO; 0];
        let outputs = self.looked_at(&[LayerSite::HeadOutput], taps);
        if outputs {
            context.resize(self.batch.tokens() * width, R::ZERO);
        }
        for group in &shapes.groups {
            let slices = Self::slices(&host, group);
            let mut map = self.device.zeros(group.shape.map_numbers())?;
            let maps = self.probabilities(layer, &host, group, &slices, trace, &mut map, taps)?;
            let entropies = self.entropies(group, &map, taps)?;
            let tokens = HeadMatrix::Tokens {
                first: 0,
                stride: width,
            };
            self.device.products(
                &group.on,
                (&mut trace.context, tokens),
                (&map, HeadMatrix::Map.plain()),
                (&trace.qkv, projection(2, width).plain()),
                R::ONE,
                false,
            );
            if outputs {
                let rows = group.shape.tokens();
                let rows = rows.start * width..rows.end * width;
                context[rows.clone()]
                    .copy_from_slice(&self.device.read(&trace.context, rows.clone())?);
                let site = LayerSite::HeadOutput;
                if taps.alters(Site::Layer(site)) {
                    for (sequence, id, slice) in &slices {
                        let place = AttentionPass::<R>::place(site, *sequence, *id);
                        taps.edit(place, slice.context_mut(&mut context))?;
                    }
                    self.device
                        .write(&mut trace.context, rows.start, &context[rows.clone()])?;
                }
            }
            // Everything of a head after the other, as the engine's own pass tells it.
            let ranges = Self::map_ranges(&slices);
            for (at, ((sequence, id, slice), range)) in slices.iter().zip(&ranges).enumerate() {
                let mut emit = |site, value: Matrix<'_, R>| {
                    taps.emit_head(Pass::Forward, site, *sequence, *id, value)
                };
                for (part, site) in PROJECTIONS.into_iter().enumerate() {
                    if let Some(qkv) = &seen.given {
                        emit(site, slice.read(qkv, part))?;
                    }
                }
                for (part, site) in ROTATED.into_iter().enumerate() {
                    if let Some(qkv) = &seen.turned {
                        emit(site, slice.read(qkv, part))?;
                    }
                }
                let n = slice.len();
                let sites = [LayerSite::AttentionScores, LayerSite::AttentionProbs];
                for (site, maps) in sites.into_iter().zip(&maps) {
                    if let Some(maps) = maps {
                        emit(site, Matrix::new(&maps[range.clone()], n, n))?;
                    }
                }
                if let Some(entropies) = &entropies {
                    let sum = Matrix::new(&entropies[at..=at], 1, 1);
                    emit(LayerSite::AttentionEntropy, sum)?;
                }
                if outputs {
                    emit(LayerSite::HeadOutput, slice.context(&context))?;
                }
            }
        }
        Ok(())
    }

    /// Every sequence and head of the batch, in order.
    fn all_slices(&self, attention: &AttentionPass<'_, R>) -> Vec<(usize, HeadId, Slice)> {
        attention.slices().collect()
    }

    /// Queries, keys and values changed by whoever wants, and turned where something turns them.
    fn projections(
        &self,
        layer: usize,
        host: &AttentionPass<'_, R>,
        shapes: &Shapes<D::Shape>,
        slices: &[(usize, HeadId, Slice)],
        trace: &mut Trace<D::Buffer>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<Projections<R>, Error> {
        let mut seen = Projections::default();
        let width = host.width();
        if slices.is_empty() {
            return Ok(seen);
        }
        if self.looked_at(&PROJECTIONS, taps) {
            seen.given = Some(self.change(&PROJECTIONS, slices, trace, width, taps)?);
        }
        if let Some((angles, half)) = self.angles(layer) {
            let positions = self.positions()?;
            for part in 0..2 {
                let x = (&mut trace.qkv, projection(part, width));
                let (device, angles) = (self.device, angles.each_ref());
                device.turn(&shapes.all, x, angles, positions, half, false);
            }
            if self.looked_at(&ROTATED, taps) {
                seen.turned = Some(self.change(&ROTATED, slices, trace, width, taps)?);
            }
        }
        Ok(seen)
    }

    /// Packed projections as they are after whoever changes them.
    fn change(
        &self,
        sites: &[LayerSite],
        slices: &[(usize, HeadId, Slice)],
        trace: &mut Trace<D::Buffer>,
        width: usize,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<Vec<R>, Error> {
        self.settle(taps)?;
        let mut qkv = self.rows_of(&trace.qkv, 3 * width)?;
        if sites.iter().any(|site| taps.alters(Site::Layer(*site))) {
            for (sequence, id, slice) in slices {
                for (part, site) in sites.iter().enumerate() {
                    let place = AttentionPass::<R>::place(*site, *sequence, *id);
                    taps.edit(place, slice.write(&mut qkv, part))?;
                }
            }
            self.device.write(&mut trace.qkv, 0, &qkv)?;
        }
        Ok(qkv)
    }

    /// Scores of a group into `map`, with what positions add.
    fn scores(
        &self,
        layer: usize,
        host: &AttentionPass<'_, R>,
        group: &Group<D::Shape>,
        trace: &Trace<D::Buffer>,
        map: &mut D::Buffer,
    ) -> Result<(), Error> {
        let (width, device) = (host.width(), self.device);
        device.products(
            &group.on,
            (map, HeadMatrix::Map),
            (&trace.qkv, projection(0, width).plain()),
            (&trace.qkv, projection(1, width).transposed()),
            host.scale(),
            false,
        );
        let mut scratch = Vec::new();
        let mut by_offset = Vec::new();
        for place in group.heads.clone() {
            let head = host.weights.heads[place];
            if let Some(bias) = host.by_offset(|| head, group.shape.longest, &mut scratch) {
                by_offset.extend_from_slice(bias);
            }
        }
        if !by_offset.is_empty() {
            let by_offset = device.upload(&by_offset)?;
            device.add_by_offset(&group.on, map, &by_offset);
        }
        let met = self.met(layer, host, trace);
        for (part, met) in met.into_iter().enumerate() {
            let Some((rows, matrix)) = met else { continue };
            let mut spread = device.zeros(group.shape.spread_numbers())?;
            device.products(
                &group.on,
                (&mut spread, HeadMatrix::Spread),
                (&trace.qkv, projection(part, width).plain()),
                (rows, matrix.transposed()),
                host.scale(),
                false,
            );
            device.add_spread(&group.on, map, &spread, self.spread(part)?);
        }
        Ok(())
    }

    fn spread(&self, part: usize) -> Result<Spread<'_, D::Indices>, Error> {
        Ok(Spread {
            columns: self.columns()?,
            by_key: part == 1,
        })
    }

    /// Attention probabilities of a group into `map`; gives scores and probabilities as far as somebody wants to see them.
    #[allow(clippy::too_many_arguments, reason = "one call site, all of one pass")]
    fn probabilities(
        &self,
        layer: usize,
        host: &AttentionPass<'_, R>,
        group: &Group<D::Shape>,
        slices: &[(usize, HeadId, Slice)],
        trace: &Trace<D::Buffer>,
        map: &mut D::Buffer,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<[Seen<R>; 2], Error> {
        self.scores(layer, host, group, trace, map)?;
        let sight = self.sight(layer);
        let site = LayerSite::AttentionScores;
        if taps.wants(Pass::Forward, site) || taps.changes() {
            self.device.hide(&group.on, map, sight);
        }
        let scores = self.change_maps(site, group, slices, map, taps)?;
        self.device.softmax(&group.on, map, sight);
        let probs = self.change_maps(LayerSite::AttentionProbs, group, slices, map, taps)?;
        Ok([scores, probs])
    }

    /// The entropies of every sequence and head, if somebody wants them.
    fn entropies(
        &self,
        group: &Group<D::Shape>,
        map: &D::Buffer,
        taps: &Taps<'_, '_, '_, R>,
    ) -> Result<Seen<R>, Error> {
        if !taps.wants(Pass::Forward, LayerSite::AttentionEntropy) {
            return Ok(None);
        }
        let numbers = group.sequences.len() * group.heads.len();
        let mut out = self.device.zeros(numbers)?;
        self.device.entropies(&group.on, &mut out, map);
        Ok(Some(self.device.read(&out, 0..numbers)?))
    }

    /// Maps as they are after whoever changes them, if somebody looks.
    fn change_maps(
        &self,
        site: LayerSite,
        group: &Group<D::Shape>,
        slices: &[(usize, HeadId, Slice)],
        map: &mut D::Buffer,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<Seen<R>, Error> {
        if !self.looked_at(&[site], taps) {
            return Ok(None);
        }
        self.settle(taps)?;
        let mut maps = self.device.read(map, 0..group.shape.map_numbers())?;
        if taps.alters(Site::Layer(site)) {
            for ((sequence, id, slice), range) in slices.iter().zip(Self::map_ranges(slices)) {
                let n = slice.len();
                let place = AttentionPass::<R>::place(site, *sequence, *id);
                taps.edit(place, MatrixMut::new(&mut maps[range], n, n))?;
            }
            self.device.write(map, 0, &maps)?;
        }
        Ok(Some(maps))
    }

    /// Head outputs times the head mask; nothing where there is none.
    pub(super) fn masked_heads(
        &self,
        layer: usize,
        context: &D::Buffer,
    ) -> Result<Option<D::Buffer>, Error> {
        if matches!(self.options.masking, Masking::None) {
            return Ok(None);
        }
        let block = self.host_block(layer);
        let width = block.attention(&[]).width();
        let (tokens, all) = (self.batch.tokens(), Columns::all(width));
        let mut masked = self.device.zeros(tokens * width)?;
        self.device.copy(&mut masked, all, context, all, tokens);
        self.mask_heads(layer, &mut masked)?;
        Ok(Some(masked))
    }

    /// Multiplies `heads [tokens, W]` by the head mask.
    fn mask_heads(&self, layer: usize, heads: &mut D::Buffer) -> Result<(), Error> {
        let block = self.host_block(layer);
        let host = block.attention(&[]);
        if matches!(self.options.masking, Masking::None) || host.weights.heads.is_empty() {
            return Ok(());
        }
        let factor = |(sequence, id, _): &(usize, HeadId, Slice)| {
            R::from_f64(self.options.masking.factor(*sequence, *id))
        };
        let factors: Vec<R> = self.all_slices(&host).iter().map(factor).collect();
        let factors = self.device.upload(&factors)?;
        let shapes = self.shapes(layer)?;
        self.device
            .scale_heads(&shapes.all, heads, host.width(), &factors);
        Ok(())
    }

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
                for (sequence, id, slice) in self.all_slices(&host) {
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
            for ((sequence, id, slice), range) in slices.iter().zip(&ranges) {
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

    /// What positions have for queries and keys in this layer.
    fn met<'t>(
        &'t self,
        layer: usize,
        host: &AttentionPass<'_, R>,
        trace: &'t Trace<D::Buffer>,
    ) -> Met<'t, D::Buffer> {
        let (attention, _) = self.layer(layer);
        let (arch, width) = (self.arch(), host.width());
        if let (Some(rule), Some(values)) = (arch.disentangled, &trace.distances) {
            let stride = match &attention.distance_maps {
                Some(maps) => maps.outputs,
                None => 2 * width,
            };
            return crate::distances::columns(rule, width).map(|first| {
                let matrix = HeadMatrix::Distances {
                    first: first?,
                    stride,
                    by_head: true,
                };
                Some((values, matrix))
            });
        }
        let Some(rows) = &attention.distance else {
            return [None, None];
        };
        let dim = arch.head_dim();
        let matrix = HeadMatrix::Distances {
            first: (arch.max_positions - self.extent.longest) * dim,
            stride: dim,
            by_head: false,
        };
        let keys_too = arch.positions == bertology_checkpoint::Positions::RelativeKeyQuery;
        [Some((rows, matrix)), keys_too.then_some((rows, matrix))]
    }

    /// Queries and keys of the distances of this batch; nothing where they have none.
    fn meet_distances(&self, layer: usize) -> Result<Option<D::Buffer>, Error> {
        let (attention, _) = self.layer(layer);
        let used = self
            .arch()
            .disentangled
            .is_some_and(|rule| rule.keys || rule.queries);
        let heads = &self.model.layer(layer).attention.heads;
        let (Some(rows), true, false) = (&self.distance_rows, used, heads.is_empty()) else {
            return Ok(None);
        };
        let count = self.extent.distances;
        let (map, outputs) = match &attention.distance_maps {
            Some(maps) => (maps, maps.outputs),
            None => (&attention.qkv, 2 * attention.output.inputs),
        };
        let mut values = self.device.zeros(count * outputs)?;
        let size = [count, map.inputs, outputs];
        self.device
            .linear(&mut values, rows, &map.weight, map.bias.as_ref(), size);
        Ok(Some(values))
    }
}

/// Packed projections that somebody wants to see: as the maps give them, and turned.
struct Projections<R> {
    given: Seen<R>,
    turned: Seen<R>,
}

impl<R> Default for Projections<R> {
    fn default() -> Self {
        Self {
            given: None,
            turned: None,
        }
    }
}

/// Gradients below the head outputs that somebody wants to see.
struct Below<R> {
    /// Of probabilities, then of scores.
    maps: [Seen<R>; 2],
    projections: Projections<R>,
}

impl<R> Default for Below<R> {
    fn default() -> Self {
        Self {
            maps: [None, None],
            projections: Projections::default(),
        }
    }
}
