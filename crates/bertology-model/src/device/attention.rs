//! Attention on a device: [`crate::attention`] for many sequences and heads at once.

use std::ops::Range;

use bertology_device::{Columns, HeadMatrix, Reduce, Sight, Spread};
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
pub(super) fn projection(part: usize, width: usize) -> HeadMatrix {
    HeadMatrix::Tokens {
        first: part * width,
        stride: 3 * width,
    }
}

/// What positions have for queries and keys in a layer: what queries meet, then what keys meet, where they do.
pub(super) type Met<'a, B> = [Option<(&'a B, HeadMatrix)>; 2];

/// Maps of a group that somebody wants to see, end to end as on the device.
pub(super) type Seen<R> = Option<Vec<R>>;

impl<R: Real, D: Reduce<R>> DevicePass<'_, R, D> {
    /// Whether values of one of these sites have to come back on the way up.
    fn looked_at(&self, sites: &[LayerSite], taps: &Taps<'_, '_, '_, R>) -> bool {
        sites
            .iter()
            .any(|site| taps.wants(Pass::Forward, *site) || taps.alters(Site::Layer(*site)))
    }

    pub(super) fn sight(&self, layer: usize) -> Sight {
        Sight {
            causal: self.arch().causal,
            reach: self.arch().reach(layer),
        }
    }

    /// Every sequence and head of a group, in order.
    pub(super) fn slices<S>(
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
    pub(super) fn map_ranges(slices: &[(usize, HeadId, Slice)]) -> Vec<Range<usize>> {
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
        let seen = self.projections(layer, &host, &shapes, trace, taps)?;
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
            let tables = self.tables(layer, group, &map, taps)?;
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
                let place = at % group.heads.len();
                self.tell(Pass::Forward, group, &tables, (*sequence, *id), place, taps)?;
                let mut emit = |site, value: Matrix<'_, R>| {
                    taps.emit_head(Pass::Forward, site, *sequence, *id, value)
                };
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

    /// Queries, keys and values changed by whoever wants, and turned where something turns them.
    fn projections(
        &self,
        layer: usize,
        host: &AttentionPass<'_, R>,
        shapes: &Shapes<D::Shape>,
        trace: &mut Trace<D::Buffer>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<Projections<R>, Error> {
        let mut seen = Projections::default();
        let width = host.width();
        if host.weights.heads.is_empty() {
            return Ok(seen);
        }
        if self.looked_at(&PROJECTIONS, taps) {
            seen.given = Some(self.change(&PROJECTIONS, host, trace, taps)?);
        }
        if let Some((angles, half)) = self.angles(layer) {
            let positions = self.positions()?;
            for part in 0..2 {
                let x = (&mut trace.qkv, projection(part, width));
                let (device, angles) = (self.device, angles.each_ref());
                device.turn(&shapes.all, x, angles, positions, half, false);
            }
            if self.looked_at(&ROTATED, taps) {
                seen.turned = Some(self.change(&ROTATED, host, trace, taps)?);
            }
        }
        Ok(seen)
    }

    /// Packed projections as they are after whoever changes them.
    fn change(
        &self,
        sites: &[LayerSite],
        host: &AttentionPass<'_, R>,
        trace: &mut Trace<D::Buffer>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<Vec<R>, Error> {
        self.settle(taps)?;
        let mut qkv = self.rows_of(&trace.qkv, 3 * host.width())?;
        if sites.iter().any(|site| taps.alters(Site::Layer(*site))) {
            for (sequence, id, slice) in host.slices() {
                for (part, site) in sites.iter().enumerate() {
                    let place = AttentionPass::<R>::place(*site, sequence, id);
                    taps.edit(place, slice.write(&mut qkv, part))?;
                }
            }
            self.device.write(&mut trace.qkv, 0, &qkv)?;
        }
        Ok(qkv)
    }

    /// Scores of a group into `map`, with what positions add.
    pub(super) fn scores(
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

    pub(super) fn spread(&self, part: usize) -> Result<Spread<'_, D::Indices>, Error> {
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
        let (device, to) = (self.device, Columns::all(1));
        let mut rows = device.zeros(group.shape.tokens().end * group.heads.len())?;
        device.row_entropies(&group.on, (&mut rows, to), map, 0.0, Sight::default());
        let mut sums = device.zeros(numbers)?;
        device.sum_tokens(&group.on, &mut sums, 0, &rows);
        Ok(Some(device.read(&sums, 0..numbers)?))
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
    pub(super) fn mask_heads(&self, layer: usize, heads: &mut D::Buffer) -> Result<(), Error> {
        let block = self.host_block(layer);
        let host = block.attention(&[]);
        if matches!(self.options.masking, Masking::None) || host.weights.heads.is_empty() {
            return Ok(());
        }
        let factor = |(sequence, id, _)| R::from_f64(self.options.masking.factor(sequence, id));
        let factors: Vec<R> = host.slices().map(factor).collect();
        let factors = self.device.upload(&factors)?;
        let shapes = self.shapes(layer)?;
        self.device
            .scale_heads(&shapes.all, heads, host.width(), &factors);
        Ok(())
    }

    /// What positions have for queries and keys in this layer.
    pub(super) fn met<'t>(
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
pub(super) struct Projections<R> {
    pub(super) given: Seen<R>,
    pub(super) turned: Seen<R>,
}

impl<R> Default for Projections<R> {
    fn default() -> Self {
        Self {
            given: None,
            turned: None,
        }
    }
}
