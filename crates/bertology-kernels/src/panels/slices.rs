//! How much of a panel the tiles of some rows go through before the next rows: measured on the products themselves.
//!
//! A panel of AVX-512 is larger than a first-level cache. Where the second level is fast enough every tile takes the whole
//! panel; elsewhere it is faster to take a slice that stays in the first level for many rows, although their sums have to
//! be put aside between two slices. Which it is differs between processors (Zen 5: whole panels, by 4 %) and changes no
//! bit of a result. So the first strips of a process are computed in one way and the other by turns, with a clock beside
//! them: nothing is computed twice for it, and nothing is kept between processes.

use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::{DEPTH, ROWS};

/// Rows whose sums are put aside at once: 48 KiB of them with the widest panel.
pub(super) const ROWS_ASIDE: usize = 32 * ROWS;
/// Terms of a slice, the whole panel first.
pub(super) const CHOICES: [usize; 3] = [DEPTH, DEPTH / 2, DEPTH / 4];
/// Strips that each choice is measured on.
const STRIPS: usize = 12;
/// A slice has to be so much faster than the whole panel that it is no accident.
const FASTER: f64 = 0.97;

/// The choice of this process.
pub(super) static SLICES: Slices = Slices::new();

/// Measures the choices, then keeps to one.
#[derive(Debug)]
pub(super) struct Slices {
    /// Terms of a slice.
    settled: OnceLock<usize>,
    measured: Mutex<Measured>,
}

/// How a strip is to be computed.
#[derive(Debug)]
pub(super) struct Trial {
    /// Terms of its slices.
    pub(super) slice: usize,
    /// Which choice is measured, on how many multiply-adds, from when on.
    clock: Option<(usize, usize, Instant)>,
}

#[derive(Debug)]
struct Measured {
    strips: usize,
    /// The least time of a multiply-add by choice, in seconds: noise only adds to it.
    least: [f64; CHOICES.len()],
}

impl Slices {
    /// A choice that somebody else made.
    #[cfg(test)]
    pub(super) fn of(terms: usize) -> Self {
        Self {
            settled: OnceLock::from(terms),
            ..Self::new()
        }
    }

    const fn new() -> Self {
        Self {
            settled: OnceLock::new(),
            measured: Mutex::new(Measured {
                strips: 0,
                least: [f64::INFINITY; CHOICES.len()],
            }),
        }
    }

    /// Of so many rows those whose sums may have to be put aside, where a panel has `depth` terms.
    pub(super) fn rows_aside(&self, rows: usize, depth: usize) -> usize {
        match self.settled.get() {
            Some(slice) if *slice >= depth => 0,
            // As long as nothing is settled, another thread may settle on slices before the product is done.
            _ => ROWS_ASIDE.min(rows),
        }
    }

    /// For a strip of `rows` rows, `terms` terms and so many columns, about to be computed.
    ///
    /// Strips that are too small to tell one choice from another are not measured.
    pub(super) fn trial(&self, [rows, terms, columns]: [usize; 3]) -> Trial {
        let whole = Trial {
            slice: DEPTH,
            clock: None,
        };
        if let Some(settled) = self.settled.get() {
            return Trial {
                slice: *settled,
                ..whole
            };
        }
        if terms <= CHOICES[1] || rows < ROWS_ASIDE {
            return whole;
        }
        // Whoever comes while another thread looks at the measurements takes the whole panel.
        let Ok(mut measured) = self.measured.try_lock() else {
            return whole;
        };
        measured.strips += 1;
        let choice = measured.strips % CHOICES.len();
        Trial {
            slice: CHOICES[choice],
            clock: Some((choice, rows * terms * columns, Instant::now())),
        }
    }

    /// The strip is computed.
    pub(super) fn done(&self, trial: &Trial) {
        if let Some((choice, products, start)) = trial.clock {
            self.note(choice, start.elapsed(), products);
        }
    }

    fn note(&self, choice: usize, time: Duration, products: usize) {
        let Ok(mut measured) = self.measured.lock() else {
            return;
        };
        let least = &mut measured.least[choice];
        *least = least.min(time.as_secs_f64() / products as f64);
        if measured.strips < STRIPS * CHOICES.len() {
            return;
        }
        let [whole, slices @ ..] = measured.least;
        let best = (1..)
            .zip(slices)
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .filter(|(_, time)| *time < FASTER * whole)
            .map_or(0, |(choice, _)| choice);
        // Of two threads that end the measurement both have the same in hand.
        let _ = self.settled.set(CHOICES[best]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(times: [u64; 3]) -> Option<usize> {
        let slices = Slices::new();
        for strip in 0..STRIPS * CHOICES.len() {
            assert_eq!(slices.settled.get(), None);
            let choice = strip % CHOICES.len();
            slices.measured.lock().unwrap().strips += 1;
            // Noise, in all but one strip.
            let noise = if strip / CHOICES.len() == 4 { 0 } else { 500 };
            slices.note(choice, Duration::from_micros(times[choice] + noise), 1000);
        }
        slices.settled.get().copied()
    }

    #[test]
    fn the_fastest_is_kept_and_the_whole_panel_in_doubt() {
        assert_eq!(settled([100, 80, 90]), Some(256));
        assert_eq!(settled([100, 90, 80]), Some(128));
        assert_eq!(settled([100, 105, 120]), Some(512));
        assert_eq!(settled([100, 98, 99]), Some(512));
    }

    #[test]
    fn every_choice_is_tried_on_tall_strips_only() {
        let slices = Slices::new();
        let mut tried = Vec::new();
        assert_eq!(slices.trial([ROWS_ASIDE - 1, 512, 64]).slice, 512);
        assert_eq!(slices.trial([1000, 256, 64]).slice, 512);
        for _ in 0..STRIPS * CHOICES.len() {
            let trial = slices.trial([1000, 384, 64]);
            tried.push(trial.slice);
            slices.done(&trial);
        }
        for choice in CHOICES {
            let strips = tried.iter().filter(|terms| **terms == choice).count();
            assert_eq!(strips, STRIPS, "{choice}");
        }
        let settled = slices.settled.get().copied().unwrap();
        assert_eq!(slices.trial([1000, 384, 64]).slice, settled);
    }
}
