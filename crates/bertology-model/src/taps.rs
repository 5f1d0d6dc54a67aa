//! Named sites of the two passes, and the observers that listen there.
//!
//! An observer declares which sites it wants; the engine materialises only those and hands each
//! value over while it is hot, one sequence (and, inside attention, one head) at a time. Nothing is
//! kept unless the observer keeps it, and an observer can never change a result, save for the order in
//! which sums are rounded: positions of the last layer that nobody reads are not computed. Sequences come
//! with their true length: no padding ever reaches an observer.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bertology_kernels::Real;
use bertology_kernels::elementwise::all_finite;

use crate::intervention::{Edits, Intervention, Place, check};
use crate::mask::HeadId;
use crate::reduction::{Reduction, Table};
use crate::rows::Rows;
use crate::{Error, Matrix, MatrixMut, Removal};

mod sites;

pub(crate) use sites::ATTENTION_SITES;
pub use sites::{Interests, LayerSite, ModelSite, Pass, Site, Tap};

/// One value handed to an observer.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a, R> {
    /// Values or gradients.
    pub pass: Pass,
    /// Where.
    pub tap: Tap,
    /// Which sequence of the batch, zero-based.
    pub sequence: usize,
    /// Which head (number in the unpruned model), at sites that are per head.
    pub head: Option<usize>,
    /// The value; rows and columns as the site says. Borrowed: copy what you keep.
    pub value: Matrix<'a, R>,
}

impl<R> Event<'_, R> {
    /// The head, at sites of a layer that are per head.
    #[must_use]
    pub fn head_id(&self) -> Option<HeadId> {
        match (self.tap, self.head) {
            (Tap::Layer(layer, _), Some(head)) => Some(HeadId { layer, head }),
            _ => None,
        }
    }
}

/// Someone who looks.
pub trait Observer<R: Real> {
    /// The sites that [`Observer::observe`] wants to see. Asked once per pass.
    fn interests(&self) -> Interests;

    /// Sees one value. Events of a layer come in the order of the computation, sequences and heads
    /// ascending; `Break` ends the pass with [`Error::Stopped`].
    fn observe(&mut self, event: &Event<'_, R>) -> ControlFlow<()>;

    /// What a device may make of attention maps in the place of handing them out at [`LayerSite::AttentionProbs`], each time one
    /// for every sequence of the batch; nothing where maps are wanted. Asked once per pass on a device, never on the processor;
    /// maps come all the same where another observer wants them, where the device has no room, and of reductions that do not fit the
    /// sequences or each other.
    fn reductions(&self) -> Vec<Vec<Reduction>> {
        Vec::new()
    }

    /// Sees one table of [`Observer::reductions`], in the place of the maps that it is made of.
    fn reduced(&mut self, table: &Table<'_, R>) -> ControlFlow<()> {
        let _ = table;
        ControlFlow::Continue(())
    }
}

/// Those who look and those who change in a pass, asked for their wishes once.
pub(crate) struct Taps<'a, 'o, 'i, R: Real> {
    observers: &'a mut [&'o mut dyn Observer<R>],
    /// Of each observer.
    wishes: Vec<Interests>,
    /// Of all together.
    interests: Interests,
    interventions: &'a mut [&'i mut dyn Intervention<R>],
    /// Of each intervention.
    intentions: Vec<Interests>,
    /// What was changed so far.
    edits: Edits<R>,
    /// Values that are not finite pass, too.
    allow_nonfinite: bool,
    /// What this part of a pass leaves out.
    without: Option<Removal>,
    /// Whether attention probabilities are reduced where they lie, and nobody gets them.
    #[cfg(feature = "device")]
    reduced: bool,
}

impl<'a, 'o, 'i, R: Real> Taps<'a, 'o, 'i, R> {
    pub(crate) fn new(
        observers: &'a mut [&'o mut dyn Observer<R>],
        interventions: &'a mut [&'i mut dyn Intervention<R>],
    ) -> Result<Self, Error> {
        let wishes: Vec<Interests> = observers.iter().map(|o| o.interests()).collect();
        let interests = wishes
            .iter()
            .copied()
            .fold(Interests::none(), Interests::union);
        interests.check()?;
        let intentions: Vec<Interests> = interventions.iter().map(|i| i.interests()).collect();
        intentions.iter().try_for_each(check)?;
        Ok(Self {
            observers,
            wishes,
            interests,
            interventions,
            intentions,
            edits: Edits::default(),
            allow_nonfinite: false,
            without: None,
            #[cfg(feature = "device")]
            reduced: false,
        })
    }

    /// Lets values pass that are not finite, if so.
    pub(crate) fn allow_nonfinite(&mut self, allow: bool) {
        self.allow_nonfinite = allow;
    }

    pub(crate) fn interests(&self) -> Interests {
        self.interests
    }

    /// Refuses a site that this model does not have, if someone wants it.
    pub(crate) fn refuse(&self, site: impl Into<Site>, reason: &'static str) -> Result<(), Error> {
        let site = site.into();
        let all = self
            .intentions
            .iter()
            .fold(self.interests, |all, more| all.union(*more));
        for (pass, direction) in [(Pass::Forward, "forward"), (Pass::Backward, "backward")] {
            if all.contains(pass, site) {
                return Err(Error::NoSuchSite {
                    site: match site {
                        Site::Layer(site) => format!("{site:?}"),
                        Site::Model(site) => format!("{site:?}"),
                    },
                    direction,
                    reason,
                });
            }
        }
        Ok(())
    }

    /// Whether anyone may change values.
    pub(crate) fn changes(&self) -> bool {
        !self.interventions.is_empty()
    }

    /// Whether someone looks at rows of a layer that its own head may not read, or changes anything.
    pub(crate) fn looks_at_rows(&self) -> bool {
        let forward = [
            Site::Layer(LayerSite::HeadOutput),
            Site::Layer(LayerSite::HeadContribution),
            Site::Layer(LayerSite::AttentionOutput),
            Site::Layer(LayerSite::MlpInner),
            Site::Layer(LayerSite::MlpOutput),
            Site::Layer(LayerSite::HiddenState),
            Site::Model(ModelSite::LastResidual),
        ];
        let all = self.interests;
        let values = forward
            .iter()
            .any(|site| all.contains(Pass::Forward, *site));
        let attention = ATTENTION_SITES.map(Site::Layer);
        let gradients = forward
            .iter()
            .chain(&attention)
            .chain(&[Site::Layer(LayerSite::NeuronMask)])
            .any(|site| all.contains(Pass::Backward, *site));
        values || gradients || self.changes()
    }

    /// Whether somebody changes values at a site.
    #[cfg(feature = "device")]
    pub(crate) fn alters(&self, site: impl Into<Site>) -> bool {
        let site = site.into();
        let mut all = self.intentions.iter();
        all.any(|wishes| wishes.contains(Pass::Forward, site))
    }

    pub(crate) fn wants(&self, pass: Pass, site: impl Into<Site>) -> bool {
        let site = site.into();
        #[cfg(feature = "device")]
        if self.reduced && site == Site::Layer(LayerSite::AttentionProbs) {
            return false;
        }
        self.interests.contains(pass, site)
    }

    /// Whether tables are made of attention probabilities, or of their gradients.
    #[cfg(feature = "device")]
    pub(crate) fn reduces(&self, pass: Pass) -> bool {
        self.reduced && self.interests.contains(pass, LayerSite::AttentionProbs)
    }

    /// What everyone who wants attention probabilities makes of them, with the number of the observer and that of the reduction;
    /// nothing where somebody wants the maps.
    #[cfg(feature = "device")]
    pub(crate) fn reductions(&self) -> Vec<(usize, usize, Vec<Reduction>)> {
        let mut all = Vec::new();
        for (at, (observer, wishes)) in self.observers.iter().zip(&self.wishes).enumerate() {
            let wants = |pass| wishes.contains(pass, LayerSite::AttentionProbs);
            if !wants(Pass::Forward) && !wants(Pass::Backward) {
                continue;
            }
            let of_one = observer.reductions();
            if of_one.is_empty() {
                return Vec::new();
            }
            let numbered = of_one.into_iter().enumerate();
            all.extend(numbered.map(|(which, reduction)| (at, which, reduction)));
        }
        all
    }

    /// From here on nobody gets attention probabilities.
    #[cfg(feature = "device")]
    pub(crate) fn reduce(&mut self) {
        self.reduced = true;
    }

    /// Hands a table to the observer who asked for it.
    #[cfg(feature = "device")]
    pub(crate) fn emit_table(
        &mut self,
        observer: usize,
        place: Place,
        table: &Table<'_, R>,
    ) -> Result<(), Error> {
        if !self.allow_nonfinite && !table.value.iter_rows().all(all_finite) {
            return Err(Error::NotFinite {
                place,
                gradient: table.pass == Pass::Backward,
                without: self.without,
            });
        }
        let wanted = self.wishes[observer].contains(table.pass, LayerSite::AttentionProbs);
        if wanted && self.observers[observer].reduced(table).is_break() {
            return Err(Error::Stopped);
        }
        Ok(())
    }

    /// Says what is left out from here on.
    pub(crate) fn leave_out(&mut self, removal: Option<Removal>) {
        self.without = removal;
    }

    /// Refuses a value or gradient that is not finite.
    pub(crate) fn check_finite(
        &self,
        pass: Pass,
        place: Place,
        value: Matrix<'_, R>,
    ) -> Result<(), Error> {
        let sound = match place.tap.site() {
            _ if self.allow_nonfinite => true,
            // Hidden keys have a score of -∞, and what comes of scores is checked behind the softmax.
            Site::Layer(LayerSite::AttentionScores) => true,
            // One such score makes its row NaN throughout. Interventions may do otherwise.
            Site::Layer(LayerSite::AttentionProbs) if pass == Pass::Forward && !self.changes() => {
                // Each query sees the key at its own place.
                value
                    .iter_rows()
                    .enumerate()
                    .all(|(i, row)| row[i].is_finite())
            }
            Site::Layer(_) | Site::Model(_) => value.iter_rows().all(all_finite),
        };
        if sound {
            return Ok(());
        }
        let tap = match place.tap {
            // An entropy is what it is for its map.
            Tap::Layer(layer, LayerSite::AttentionEntropy) => {
                Tap::Layer(layer, LayerSite::AttentionProbs)
            }
            tap => tap,
        };
        Err(Error::NotFinite {
            place: Place { tap, ..place },
            gradient: pass == Pass::Backward,
            without: self.without,
        })
    }

    /// [`Self::check_finite`] for rows of all sequences, watched or not: `data [rows, width]`.
    pub(crate) fn check_rows(
        &self,
        pass: Pass,
        tap: Tap,
        batch: &crate::PackedBatch,
        rows: &Rows,
        data: &[R],
    ) -> Result<(), Error> {
        if self.allow_nonfinite || all_finite(data) {
            return Ok(());
        }
        let width = data.len() / rows.count(batch).max(1);
        let broken = (0..batch.len()).find(|sequence| {
            let rows = rows.range(batch, *sequence);
            !all_finite(&data[rows.start * width..rows.end * width])
        });
        Err(self.not_finite(pass, tap, broken.unwrap_or_default()))
    }

    /// What is said of rows of a sequence that are not finite.
    pub(crate) fn not_finite(&self, pass: Pass, tap: Tap, sequence: usize) -> Error {
        Error::NotFinite {
            place: Place {
                tap,
                sequence,
                head: None,
            },
            gradient: pass == Pass::Backward,
            without: self.without,
        }
    }

    pub(crate) fn emit(&mut self, event: Event<'_, R>) -> Result<(), Error> {
        let place = Place {
            tap: event.tap,
            sequence: event.sequence,
            head: event.head,
        };
        self.check_finite(event.pass, place, event.value)?;
        let site = event.tap.site();
        for (observer, wishes) in self.observers.iter_mut().zip(&self.wishes) {
            if wishes.contains(event.pass, site) && observer.observe(&event).is_break() {
                return Err(Error::Stopped);
            }
        }
        Ok(())
    }

    /// Lets interventions change a value, before anyone sees it.
    pub(crate) fn edit(&mut self, place: Place, mut value: MatrixMut<'_, R>) -> Result<(), Error> {
        let site = place.tap.site();
        for (intervention, wishes) in self.interventions.iter_mut().zip(&self.intentions) {
            if wishes.contains(Pass::Forward, site) {
                let replaced = intervention.intervene(&place, value.reborrow())?;
                self.edits.record(place, &replaced, value.as_view());
            }
        }
        Ok(())
    }

    /// [`Self::edit`] for every sequence of a `[tokens, width]` array.
    pub(crate) fn edit_rows(
        &mut self,
        tap: Tap,
        batch: &crate::PackedBatch,
        data: &mut [R],
        width: usize,
    ) -> Result<(), Error> {
        if self.interventions.is_empty() {
            return Ok(());
        }
        for (sequence, range) in batch.ranges().enumerate() {
            let rows = &mut data[range.start * width..range.end * width];
            let place = Place {
                tap,
                sequence,
                head: None,
            };
            self.edit(place, MatrixMut::new(rows, range.len(), width))?;
        }
        Ok(())
    }

    /// What the forward pass replaced.
    pub(crate) fn edits(&self) -> &Edits<R> {
        &self.edits
    }

    /// Stops the gradient of every sequence of a `[tokens, width]` array where it was replaced.
    pub(crate) fn block_rows(
        &self,
        tap: Tap,
        batch: &crate::PackedBatch,
        gradient: &mut [R],
        width: usize,
    ) {
        if self.interventions.is_empty() {
            return;
        }
        for (sequence, range) in batch.ranges().enumerate() {
            let rows = &mut gradient[range.start * width..range.end * width];
            let place = Place {
                tap,
                sequence,
                head: None,
            };
            self.edits
                .block(&place, MatrixMut::new(rows, range.len(), width));
        }
    }

    /// Emits a per-head value, if someone wants it.
    pub(crate) fn emit_head(
        &mut self,
        pass: Pass,
        site: LayerSite,
        sequence: usize,
        id: HeadId,
        value: Matrix<'_, R>,
    ) -> Result<(), Error> {
        if !self.wants(pass, site) {
            return Ok(());
        }
        let tap = Tap::Layer(id.layer, site);
        self.emit(Event {
            pass,
            tap,
            sequence,
            head: Some(id.head),
            value,
        })
    }

    /// Emits the rows of every sequence of a `[tokens, width]` array, if someone wants them.
    pub(crate) fn emit_rows(
        &mut self,
        pass: Pass,
        tap: Tap,
        batch: &crate::PackedBatch,
        data: &[R],
        width: usize,
    ) -> Result<(), Error> {
        if !self.wants(pass, tap.site()) {
            return Ok(());
        }
        for (sequence, range) in batch.ranges().enumerate() {
            let value = Matrix::new(
                &data[range.start * width..range.end * width],
                range.len(),
                width,
            );
            self.emit(Event {
                pass,
                tap,
                sequence,
                head: None,
                value,
            })?;
        }
        Ok(())
    }
}

/// A value that [`Capture`] kept: rows, columns and row-major numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Captured<R> {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Row-major values, `rows × cols`.
    pub data: Vec<R>,
}

/// Keeps everything that it was told to want.
///
/// # Cost
/// All of it stays in memory: attention of one 512-token sequence in BERT-base is 144 maps of
/// 1 MiB. For corpora, write an observer that reduces.
#[derive(Debug, Clone)]
pub struct Capture<R> {
    interests: Interests,
    values: BTreeMap<CaptureKey, Captured<R>>,
}

type CaptureKey = (Pass, Tap, usize, Option<usize>);

impl<R: Real> Capture<R> {
    /// Will keep these sites.
    #[must_use]
    pub fn new(interests: Interests) -> Self {
        Self {
            interests,
            values: BTreeMap::new(),
        }
    }

    /// The value of a site that is not per head, for one sequence of the batch.
    #[must_use]
    pub fn get(&self, pass: Pass, tap: Tap, sequence: usize) -> Option<&Captured<R>> {
        self.values.get(&(pass, tap, sequence, None))
    }

    /// The value of a per-head site.
    #[must_use]
    pub fn get_head(
        &self,
        pass: Pass,
        id: HeadId,
        site: LayerSite,
        sequence: usize,
    ) -> Option<&Captured<R>> {
        self.values
            .get(&(pass, Tap::Layer(id.layer, site), sequence, Some(id.head)))
    }

    /// Everything kept, ordered by pass, tap, sequence and head.
    pub fn iter(&self) -> impl Iterator<Item = (Pass, Tap, usize, Option<usize>, &Captured<R>)> {
        self.values
            .iter()
            .map(|((pass, tap, seq, head), v)| (*pass, *tap, *seq, *head, v))
    }
}

impl<R: Real> Observer<R> for Capture<R> {
    fn interests(&self) -> Interests {
        self.interests
    }

    fn observe(&mut self, event: &Event<'_, R>) -> ControlFlow<()> {
        self.values.insert(
            (event.pass, event.tap, event.sequence, event.head),
            Captured {
                rows: event.value.rows(),
                cols: event.value.cols(),
                data: event.value.to_vec(),
            },
        );
        ControlFlow::Continue(())
    }
}
