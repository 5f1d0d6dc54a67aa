//! Rotary positions: the angles of all positions, and queries and keys turned by them, forth and back.

use bertology_checkpoint::{Architecture, Positions};
use bertology_kernels::{MatrixMut, Real};

/// Cosines and sines of all positions, for layers that see everything and for those that see a window.
#[derive(Debug, Clone)]
pub(crate) struct Rotary<R> {
    everywhere: Angles<R>,
    in_windows: Option<Angles<R>>,
}

/// Of one base, `[positions, width / 2]` each.
#[derive(Debug, Clone)]
pub(crate) struct Angles<R> {
    cosines: Vec<R>,
    sines: Vec<R>,
    half: usize,
}

impl<R: Real> Rotary<R> {
    /// Nothing where positions are not rotary.
    pub(crate) fn new(arch: &Architecture) -> Option<Self> {
        let Positions::Rotary(rotary) = arch.positions else {
            return None;
        };
        let half = rotary.width / 2;
        let angles = |base| Angles::new(arch.max_positions, half, base, rotary.slowdown);
        Some(Self {
            everywhere: angles(rotary.base),
            in_windows: arch.windows.map(|_| angles(rotary.window_base)),
        })
    }

    /// Those of a layer whose queries see so far.
    pub(crate) fn angles(&self, reach: Option<usize>) -> &Angles<R> {
        match (reach, &self.in_windows) {
            (Some(_), Some(angles)) => angles,
            _ => &self.everywhere,
        }
    }

    /// Cosines and sines of all positions, `[positions, half]`: of layers that see everything, then of those with windows.
    #[cfg(feature = "device")]
    pub(crate) fn tables(&self) -> impl Iterator<Item = [&[R]; 2]> {
        let all = std::iter::once(&self.everywhere).chain(&self.in_windows);
        all.map(|angles| [angles.cosines.as_slice(), angles.sines.as_slice()])
    }

    /// Which of [`Self::tables`] a layer whose queries see so far has, and `half`.
    #[cfg(feature = "device")]
    pub(crate) fn table_of(&self, reach: Option<usize>) -> (usize, usize) {
        let windows = reach.is_some() && self.in_windows.is_some();
        (usize::from(windows), self.everywhere.half)
    }
}

impl<R: Real> Angles<R> {
    /// In f32 whatever `R` is, as transformers computes them for models of every precision.
    fn new(positions: usize, half: usize, base: f64, slowdown: f64) -> Self {
        let width = 2 * half;
        let frequencies: Vec<f32> = (0..half)
            .map(|i| {
                1.0 / base.powf(f64::from((2 * i) as f32 / width as f32)) as f32 / slowdown as f32
            })
            .collect();
        let angles = (0..positions).flat_map(|at| frequencies.iter().map(move |f| at as f32 * f));
        let angles: Vec<f64> = angles.map(f64::from).collect();
        let table = |f: fn(f64) -> f64| angles.iter().map(|a| R::from_f32(f(*a) as f32)).collect();
        Self {
            cosines: table(f64::cos),
            sines: table(f64::sin),
            half,
        }
    }

    /// Turns rows `[n, head_dim]` by the angles of their positions: `(a, b)` becomes `(a cos - b sin, b cos + a sin)`.
    pub(crate) fn turn(&self, rows: MatrixMut<'_, R>, positions: &[u32]) {
        self.turn_by(rows, positions, R::ONE);
    }

    /// Turns them back, which is also what the gradient of [`Self::turn`] asks for.
    pub(crate) fn turn_back(&self, rows: MatrixMut<'_, R>, positions: &[u32]) {
        self.turn_by(rows, positions, -R::ONE);
    }

    fn turn_by(&self, mut rows: MatrixMut<'_, R>, positions: &[u32], sense: R) {
        for (i, position) in positions.iter().enumerate() {
            let first = *position as usize * self.half;
            let cosines = &self.cosines[first..][..self.half];
            let sines = &self.sines[first..][..self.half];
            let (a, b) = rows.row_mut(i)[..2 * self.half].split_at_mut(self.half);
            let angles = cosines.iter().zip(sines);
            for ((a, b), (cosine, sine)) in a.iter_mut().zip(b).zip(angles) {
                let sine = sense * *sine;
                (*a, *b) = (*a * *cosine - *b * sine, *b * *cosine + *a * sine);
            }
        }
    }
}
