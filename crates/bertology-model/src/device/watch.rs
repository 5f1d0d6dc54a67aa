//! What comes back from a device: values for those who look or change, and whether all others are finite.

use std::cell::RefCell;

use bertology_device::Reduce;
use bertology_kernels::Real;

use super::pass::DevicePass;
use crate::Error;
use crate::rows::Rows;
use crate::taps::{Pass, Tap, Taps};

/// Values that nobody looked at: for each whether it was finite, told once something is read anyway.
pub(super) struct Flags<B> {
    flags: RefCell<(B, Vec<(Pass, Tap)>)>,
    sequences: usize,
    room: usize,
}

impl<B> Flags<B> {
    pub(super) fn new<R: Real, D: Reduce<R, Buffer = B>>(
        device: &D,
        room: usize,
        sequences: usize,
    ) -> Result<Self, bertology_device::Error> {
        Ok(Self {
            flags: RefCell::new((device.zeros(room * sequences)?, Vec::new())),
            sequences,
            room,
        })
    }
}

impl<R: Real, D: Reduce<R>> DevicePass<'_, R, D> {
    /// Notes whether `x [tokens, width]` is finite.
    fn flag(
        &self,
        pass: Pass,
        tap: Tap,
        x: &D::Buffer,
        width: usize,
        taps: &Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        if self.options.allow_nonfinite {
            return Ok(());
        }
        if self.flags.flags.borrow().1.len() == self.flags.room {
            self.settle(taps)?;
        }
        let mut flags = self.flags.flags.borrow_mut();
        let (buffer, places) = &mut *flags;
        let first = places.len() * self.flags.sequences;
        self.device
            .flag_nonfinite(&self.sequences, buffer, first, x, width);
        places.push((pass, tap));
        Ok(())
    }

    /// Ends the pass where something was not finite so far, as the engine's own pass does at once.
    pub(super) fn settle(&self, taps: &Taps<'_, '_, '_, R>) -> Result<(), Error> {
        let mut flags = self.flags.flags.borrow_mut();
        let (buffer, places) = &mut *flags;
        let sequences = self.flags.sequences;
        if places.is_empty() {
            return Ok(());
        }
        let found = self.device.read(buffer, 0..places.len() * sequences)?;
        let broken = found.iter().position(|flag| *flag != R::ZERO);
        match broken.map(|at| (places[at / sequences], at % sequences)) {
            Some(((pass, tap), sequence)) => Err(taps.not_finite(pass, tap, sequence)),
            None => {
                places.clear();
                Ok(())
            }
        }
    }

    /// Rows of all tokens.
    pub(super) fn rows_of(&self, x: &D::Buffer, width: usize) -> Result<Vec<R>, Error> {
        Ok(self.device.read(x, 0..self.batch.tokens() * width)?)
    }

    /// Lets `x [tokens, width]` be changed, then seen.
    pub(super) fn pass_by(
        &self,
        tap: Tap,
        x: &mut D::Buffer,
        width: usize,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        self.look(tap, x, width, taps)?;
        self.flag(Pass::Forward, tap, x, width, taps)
    }

    /// [`Self::pass_by`] where nobody asks whether it is finite.
    pub(super) fn look(
        &self,
        tap: Tap,
        x: &mut D::Buffer,
        width: usize,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        let (pass, alters) = (Pass::Forward, taps.alters(tap.site()));
        if !alters && !taps.wants(pass, tap.site()) {
            return Ok(());
        }
        self.settle(taps)?;
        let mut data = self.rows_of(x, width)?;
        taps.edit_rows(tap, self.batch, &mut data, width)?;
        if alters {
            self.device.write(x, 0, &data)?;
        }
        taps.emit_rows(pass, tap, self.batch, &data, width)
    }

    /// Lets the gradient of `x [tokens, width]` be seen, then stops it where the value was changed.
    pub(super) fn pass_back(
        &self,
        tap: Tap,
        gradient: &mut D::Buffer,
        width: usize,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        self.flag(Pass::Backward, tap, gradient, width, taps)?;
        self.look_back(tap, gradient, width, taps)
    }

    /// [`Self::pass_back`] where nobody asks whether it is finite.
    pub(super) fn look_back(
        &self,
        tap: Tap,
        gradient: &mut D::Buffer,
        width: usize,
        taps: &mut Taps<'_, '_, '_, R>,
    ) -> Result<(), Error> {
        let (pass, alters) = (Pass::Backward, taps.alters(tap.site()));
        if !alters && !taps.wants(pass, tap.site()) {
            return Ok(());
        }
        self.settle(taps)?;
        let mut data = self.rows_of(gradient, width)?;
        taps.emit_rows(pass, tap, self.batch, &data, width)?;
        if alters {
            taps.block_rows(tap, self.batch, &mut data, width);
            self.device.write(gradient, 0, &data)?;
        }
        Ok(())
    }

    /// The rows that heads of tasks read, `[rows, hidden]`.
    pub(super) fn rows_read(
        &self,
        x: &D::Buffer,
        rows: &Rows,
        width: usize,
    ) -> Result<Vec<R>, Error> {
        let Rows::Some { tokens, .. } = rows else {
            return self.rows_of(x, width);
        };
        let places: Vec<u32> = tokens.iter().map(|token| *token as u32).collect();
        let mut some = self.device.zeros(places.len() * width)?;
        let places = self.device.indices(&places)?;
        self.device.gather(&mut some, x, &places, width, false);
        Ok(self.device.read(&some, 0..tokens.len() * width)?)
    }

    /// What [`Self::rows_read`] gives back: a gradient of all tokens.
    pub(super) fn spread_rows(
        &self,
        gradient: &[R],
        rows: &Rows,
        width: usize,
    ) -> Result<D::Buffer, Error> {
        let some = self.device.upload(gradient)?;
        let Rows::Some { tokens, .. } = rows else {
            return Ok(some);
        };
        let places: Vec<u32> = tokens.iter().map(|token| *token as u32).collect();
        let mut all = self.device.zeros(self.batch.tokens() * width)?;
        let places = self.device.indices(&places)?;
        self.device.scatter(&mut all, &some, &places, width);
        Ok(all)
    }
}
