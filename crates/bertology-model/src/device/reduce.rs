//! Tables of attention maps, made where the maps lie: [`crate::reduction`].

use std::cell::RefCell;
use std::ops::Range;

use bertology_device::{Columns, PARTNERS, Reduce, Shape, Sight, UNIT};
use bertology_kernels::{Matrix, Real};

use super::groups::Group;
use super::pass::DevicePass;
use crate::mask::HeadId;
use crate::reduction::{Divergences, Masses, Partners, Reduction, Table};
use crate::taps::{LayerSite, Pass, Tap, Taps};
use crate::{Error, Place};

// Observers read the columns in the order in which devices write them.
const _: () = assert!(Partners::COLUMNS == PARTNERS);

/// What is made of maps in this pass, and for whom.
pub(super) struct Asked<B, I> {
    observer: usize,
    which: usize,
    of: Prepared<B, I>,
}

/// A reduction of all sequences of the batch, as a device reads it.
enum Prepared<B, I> {
    Masses {
        classes: I,
        count: usize,
        /// Classes of queries, and how many there are.
        queries: (I, usize),
        smoothing: f64,
        /// Classes of gradients, how many there are, and whether gradients are weighted, too.
        gradients: (I, usize, bool),
    },
    Partners {
        described: I,
        /// The units of each sequence.
        units: Vec<Range<usize>>,
    },
    Divergences {
        /// Of each sequence.
        kept: Vec<Kept<B, I>>,
        smoothing: f64,
    },
}

/// Nothing where a reduction cannot be made.
type Ready<B, I> = Option<Prepared<B, I>>;

/// Rows of a sequence that are kept until the last layer has been seen.
struct Kept<B, I> {
    /// `[heads of all layers, rows, n]`
    maps: RefCell<B>,
    rows: I,
    count: usize,
}

/// Tables of a group of sequences and heads, as they came from the device.
pub(super) struct Tables<R> {
    observer: usize,
    which: usize,
    values: Vec<R>,
    columns: usize,
    rows: Rows,
}

/// Where the rows of a sequence and head are.
enum Rows {
    /// `[sequences, heads, rows, columns]`: so many rows each.
    ByHead(usize),
    /// `[rows, heads, columns]`: these rows of each sequence.
    ByRow(Vec<Range<usize>>),
}

/// All, if they are of one kind.
fn each<'r, T>(
    of: &'r [Reduction],
    one: impl Fn(&'r Reduction) -> Option<&'r T>,
) -> Option<Vec<&'r T>> {
    of.iter().map(one).collect()
}

impl<R: Real, D: Reduce<R>> DevicePass<'_, R, D> {
    /// Prepares what observers make of maps, if that is all that anyone wants of them and there is room for it.
    pub(super) fn prepare(&mut self, taps: &mut Taps<'_, '_, '_, R>) -> Result<(), Error> {
        let backward = taps.wants(Pass::Backward, LayerSite::AttentionProbs);
        let mut all = Vec::new();
        for (observer, which, of) in taps.reductions() {
            let Some(of) = self.prepared(&of, backward)? else {
                return Ok(());
            };
            all.push(Asked {
                observer,
                which,
                of,
            });
        }
        if !all.is_empty() {
            taps.reduce();
            self.reducing = all;
        }
        Ok(())
    }

    /// Nothing where this cannot be made of the maps of this batch.
    fn prepared(
        &self,
        of: &[Reduction],
        backward: bool,
    ) -> Result<Ready<D::Buffer, D::Indices>, Error> {
        if of.len() != self.batch.len() {
            return Ok(None);
        }
        if let Some(all) = each(of, |one| match one {
            Reduction::Masses(one) => Some(one),
            _ => None,
        }) {
            return self.masses(&all);
        }
        // Only masses are made of gradients.
        if backward {
            return Ok(None);
        }
        if let Some(all) = each(of, |one| match one {
            Reduction::Partners(one) => Some(one),
            _ => None,
        }) {
            return self.partners(&all);
        }
        let divergences = each(of, |one| match one {
            Reduction::Divergences(one) => Some(one),
            _ => None,
        });
        divergences.map_or(Ok(None), |all| self.divergent(&all))
    }

    fn masses(&self, all: &[&Masses]) -> Result<Ready<D::Buffer, D::Indices>, Error> {
        let Some(Masses {
            count,
            gradients,
            query_classes,
            smoothing,
            weighted,
            ..
        }) = all.first().copied().cloned()
        else {
            return Ok(None);
        };
        let fits = |(one, range): (&&Masses, Range<usize>)| {
            one.classes.len() == range.len()
                && one.queries.len() == range.len()
                && (one.count, one.gradients) == (count, gradients)
                && one.query_classes == query_classes
                && (one.smoothing, one.weighted) == (smoothing, weighted)
        };
        let bits = count.saturating_add(gradients);
        if bits >= 32 || !all.iter().zip(self.batch.ranges()).all(fits) {
            return Ok(None);
        }
        let classes: Vec<u32> = all.iter().flat_map(|one| one.classes.clone()).collect();
        let of_gradients: Vec<u32> = classes.iter().map(|bits| bits >> count).collect();
        let queries: Vec<u32> = all.iter().flat_map(|one| one.queries.clone()).collect();
        Ok(Some(Prepared::Masses {
            queries: (self.device.indices(&queries)?, query_classes),
            classes: self.device.indices(&classes)?,
            count,
            smoothing,
            gradients: (self.device.indices(&of_gradients)?, gradients, weighted),
        }))
    }

    fn partners(&self, all: &[&Partners]) -> Result<Ready<D::Buffer, D::Indices>, Error> {
        let mut described: Vec<u32> = Vec::new();
        let mut units = Vec::with_capacity(all.len());
        for (one, range) in all.iter().zip(self.batch.ranges()) {
            let first = described.len() / UNIT;
            for unit in &one.units {
                if unit.looks.end.max(unit.seen.end) > range.len() {
                    return Ok(None);
                }
                let ends = [
                    unit.looks.start,
                    unit.looks.end,
                    unit.seen.start,
                    unit.seen.end,
                ];
                described.extend(ends.map(|token| token as u32));
                described.extend([unit.class, u32::from(unit.marked)]);
            }
            units.push(first..described.len() / UNIT);
        }
        Ok(Some(Prepared::Partners {
            described: self.device.indices(&described)?,
            units,
        }))
    }

    fn divergent(&self, all: &[&Divergences]) -> Result<Ready<D::Buffer, D::Indices>, Error> {
        let smoothing = all.first().map_or(0.0, |one| one.smoothing);
        let heads = self.heads_below(self.model.depth());
        let limit = self.device.info().largest_buffer / size_of::<R>() as u64;
        let mut kept = Vec::with_capacity(all.len());
        for (one, range) in all.iter().zip(self.batch.ranges()) {
            let numbers = heads * one.rows.len() * range.len();
            let beyond = one.rows.iter().any(|row| *row >= range.len());
            if numbers as u64 > limit || one.smoothing != smoothing || beyond {
                return Ok(None);
            }
            let maps = match self.device.zeros(numbers) {
                // Maps that are handed out need less.
                Err(bertology_device::Error::OutOfMemory { .. }) => return Ok(None),
                maps => maps?,
            };
            let rows: Vec<u32> = one.rows.iter().map(|row| *row as u32).collect();
            kept.push(Kept {
                maps: RefCell::new(maps),
                rows: self.device.indices(&rows)?,
                count: rows.len(),
            });
        }
        Ok(Some(Prepared::Divergences { kept, smoothing }))
    }

    /// How many heads the layers below this one have.
    fn heads_below(&self, layer: usize) -> usize {
        let layers = 0..layer;
        layers
            .map(|layer| self.model.layer(layer).attention.heads.len())
            .sum()
    }

    /// Causal or not; how far a window reaches is no matter of tables.
    fn whole_sight(&self) -> Sight {
        Sight {
            causal: self.arch().causal,
            reach: None,
        }
    }

    /// What is made of the probabilities of a group.
    pub(super) fn tables(
        &self,
        layer: usize,
        group: &Group<D::Shape>,
        map: &D::Buffer,
        taps: &Taps<'_, '_, '_, R>,
    ) -> Result<Vec<Tables<R>>, Error> {
        let mut found = Vec::new();
        if !taps.reduces(Pass::Forward) {
            return Ok(found);
        }
        self.settle(taps)?;
        for asked in &self.reducing {
            match &asked.of {
                Prepared::Masses {
                    classes,
                    count,
                    queries,
                    smoothing,
                    ..
                } => {
                    let (device, sight) = (self.device, self.whole_sight());
                    let columns = count + 5;
                    let to = |first, width| Columns {
                        first,
                        stride: columns,
                        width,
                    };
                    let mut out = self.table_of(group, columns)?;
                    let sums = (&mut out, to(0, *count));
                    device.class_sums(&group.on, sums, (map, None), classes, sight, false);
                    device.neighbours(&group.on, (&mut out, to(*count, 3)), map);
                    let nats = (&mut out, to(count + 3, 2));
                    device.row_entropies(&group.on, nats, map, *smoothing, sight);
                    found.push(self.table(asked, group, &out, queries, columns)?);
                }
                Prepared::Partners { described, units } => {
                    let found_here = self.named(asked, group, map, (described, units))?;
                    found.push(found_here);
                }
                Prepared::Divergences { kept, smoothing } => {
                    self.keep(layer, group, map, kept, *smoothing)?;
                }
            }
        }
        Ok(found)
    }

    /// What is made of the gradient `d` of the probabilities of a group.
    pub(super) fn tables_back(
        &self,
        group: &Group<D::Shape>,
        d: &D::Buffer,
        probs: &D::Buffer,
        taps: &Taps<'_, '_, '_, R>,
    ) -> Result<Vec<Tables<R>>, Error> {
        let mut found = Vec::new();
        if !taps.reduces(Pass::Backward) {
            return Ok(found);
        }
        self.settle(taps)?;
        for asked in &self.reducing {
            if let Prepared::Masses {
                gradients, queries, ..
            } = &asked.of
            {
                let (classes, count, weighted) = gradients;
                let factors = [None, Some(probs)];
                let factors = &factors[..1 + usize::from(*weighted)];
                let columns = factors.len() * count;
                let mut out = self.table_of(group, columns)?;
                for (at, times) in factors.iter().enumerate() {
                    let to = Columns {
                        first: at * count,
                        stride: columns,
                        width: *count,
                    };
                    let (maps, sight) = ((d, *times), self.whole_sight());
                    self.device
                        .class_sums(&group.on, (&mut out, to), maps, classes, sight, true);
                }
                found.push(self.table(asked, group, &out, queries, columns)?);
            }
        }
        Ok(found)
    }

    fn table_of(&self, group: &Group<D::Shape>, columns: usize) -> Result<D::Buffer, Error> {
        let rows = group.shape.tokens().end * group.heads.len();
        Ok(self.device.zeros(rows * columns)?)
    }

    /// The table of the classes of queries of a group, made of that of its tokens.
    fn table(
        &self,
        asked: &Asked<D::Buffer, D::Indices>,
        group: &Group<D::Shape>,
        of_tokens: &D::Buffer,
        (queries, classes): &(D::Indices, usize),
        columns: usize,
    ) -> Result<Tables<R>, Error> {
        let (count, heads) = (group.sequences.len(), group.heads.len());
        let numbers = count * heads * classes * columns;
        let (device, size) = (self.device, [*classes, columns]);
        let mut out = device.zeros(numbers)?;
        device.sum_rows(&group.on, &mut out, of_tokens, queries, size);
        Ok(Tables {
            observer: asked.observer,
            which: asked.which,
            values: device.read(&out, 0..numbers)?,
            columns,
            rows: Rows::ByHead(*classes),
        })
    }

    fn named(
        &self,
        asked: &Asked<D::Buffer, D::Indices>,
        group: &Group<D::Shape>,
        map: &D::Buffer,
        (described, units): (&D::Indices, &[Range<usize>]),
    ) -> Result<Tables<R>, Error> {
        let device = self.device;
        let units = &units[group.sequences.clone()];
        let longest = units.iter().map(ExactSizeIterator::len).max();
        let slots = group.shape.slots.clone();
        let shape = Shape::new(
            units.iter().cloned(),
            slots,
            1,
            longest.unwrap_or(0).max(1),
            0,
        );
        let on = device.shape(&shape)?;
        let mut weights = device.zeros(shape.map_numbers())?;
        device.fold(&on, &mut weights, &group.on, map, described);
        let (all, width) = (shape.tokens(), group.heads.len() * Partners::COLUMNS);
        let mut out = device.zeros(all.end * width)?;
        device.strongest(&on, &mut out, &weights, described);
        Ok(Tables {
            observer: asked.observer,
            which: asked.which,
            values: device.read(&out, all.start * width..all.end * width)?,
            columns: Partners::COLUMNS,
            rows: Rows::ByRow(
                units
                    .iter()
                    .map(|units| units.start - all.start..units.end - all.start)
                    .collect(),
            ),
        })
    }

    fn keep(
        &self,
        layer: usize,
        group: &Group<D::Shape>,
        map: &D::Buffer,
        kept: &[Kept<D::Buffer, D::Indices>],
        smoothing: f64,
    ) -> Result<(), Error> {
        let head = self.heads_below(layer) + group.heads.start;
        let of_group = &kept[group.sequences.clone()];
        for (place, kept) in group.shape.sequences.iter().zip(of_group) {
            let shape = Shape {
                sequences: vec![*place],
                longest: place.tokens,
                ..group.shape.clone()
            };
            let first = head * kept.count * place.tokens;
            let (mut maps, sight) = (kept.maps.borrow_mut(), self.whole_sight());
            let on = self.device.shape(&shape)?;
            self.device
                .keep_rows(&on, (&mut *maps, first), map, &kept.rows, smoothing, sight);
        }
        Ok(())
    }

    /// Tells what was made of the maps of all layers.
    pub(super) fn tables_of_all(&self, taps: &mut Taps<'_, '_, '_, R>) -> Result<(), Error> {
        let heads = self.heads_below(self.model.depth());
        let pairs = heads * heads.saturating_sub(1) / 2;
        for asked in &self.reducing {
            let Prepared::Divergences { kept, .. } = &asked.of else {
                continue;
            };
            self.settle(taps)?;
            for (sequence, (kept, range)) in kept.iter().zip(self.batch.ranges()).enumerate() {
                let mut out = self.device.zeros(pairs)?;
                let cells = kept.count * range.len();
                self.device
                    .divergences(&mut out, &kept.maps.borrow(), [heads, cells]);
                let values = self.device.read(&out, 0..pairs)?;
                let table = Table {
                    pass: Pass::Forward,
                    head: None,
                    sequence,
                    which: asked.which,
                    value: Matrix::new(&values, 1, pairs),
                };
                self.hand_out(asked.observer, &table, taps)?;
            }
        }
        Ok(())
    }

    /// Hands out what was made of one sequence and head: the `place`-th head of the group.
    pub(super) fn tell(
        &self,
        pass: Pass,
        group: &Group<D::Shape>,
        tables: &[Tables<R>],
        (sequence, head): (usize, HeadId),
        place: usize,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        for of_group in tables {
            let (heads, at) = (group.heads.len(), sequence - group.sequences.start);
            let places: Vec<usize> = match &of_group.rows {
                Rows::ByHead(count) => {
                    let first = (at * heads + place) * count;
                    (first..first + count).collect()
                }
                Rows::ByRow(rows) => rows[at].clone().map(|row| row * heads + place).collect(),
            };
            let (count, columns) = (places.len(), of_group.columns);
            let mut values = Vec::with_capacity(count * columns);
            for place in places {
                let first = place * columns;
                values.extend_from_slice(&of_group.values[first..first + columns]);
            }
            let table = Table {
                pass,
                head: Some(head),
                sequence,
                which: of_group.which,
                value: Matrix::new(&values, count, columns),
            };
            self.hand_out(of_group.observer, &table, taps)?;
        }
        Ok(())
    }

    fn hand_out(
        &self,
        observer: usize,
        table: &Table<'_, R>,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        // A table is what it is for its maps.
        let place = Place {
            tap: Tap::Layer(
                table.head.map_or(0, |head| head.layer),
                LayerSite::AttentionProbs,
            ),
            sequence: table.sequence,
            head: table.head.map(|head| head.head),
        };
        taps.emit_table(observer, place, table)
    }
}
