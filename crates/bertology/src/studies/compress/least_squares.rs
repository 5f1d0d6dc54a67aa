//! `min_m ‖A m - b‖² + λ ‖m - 1‖²`, where `A` is known by `AᵀA` and `Aᵀb`.

/// A system of normal equations, summed up over tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Normal {
    /// `AᵀA [units, units]`, row-major.
    pub square: Vec<f64>,
    /// `Aᵀb [units]`.
    pub right: Vec<f64>,
    /// `‖b‖²`
    pub target: f64,
}

impl Normal {
    /// Of some of the units, in this order: the others' factors are 0.
    ///
    /// # Panics
    /// If there is no such unit.
    #[must_use]
    pub fn of(&self, units: &[usize]) -> Self {
        let all = self.right.len();
        let mut square = Vec::with_capacity(units.len() * units.len());
        for i in units {
            square.extend(units.iter().map(|j| self.square[i * all + j]));
        }
        Self {
            square,
            right: units.iter().map(|i| self.right[*i]).collect(),
            target: self.target,
        }
    }

    /// `‖A m - b‖²`.
    #[must_use]
    pub fn residual(&self, m: &[f64]) -> f64 {
        let product = self.product(m);
        let terms = m.iter().zip(product.iter().zip(&self.right));
        let sum: f64 = terms
            .map(|(m, (square, right))| m * (square - 2.0 * right))
            .sum();
        (sum + self.target).max(0.0)
    }

    fn product(&self, m: &[f64]) -> Vec<f64> {
        let rows = self.square.chunks_exact(m.len().max(1));
        rows.map(|row| row.iter().zip(m).map(|(a, b)| a * b).sum())
            .collect()
    }

    /// The minimum, by conjugate gradients from `m = 1` on, scaled by the diagonal, to a residual of `1e-10` of the first.
    /// `λ = ridge · mean diagonal of AᵀA`.
    #[must_use]
    pub fn solve(&self, ridge: f64) -> Vec<f64> {
        let units = self.right.len();
        let diagonal: Vec<f64> = (0..units).map(|i| self.square[i * units + i]).collect();
        let lambda = ridge * diagonal.iter().sum::<f64>() / units.max(1) as f64;
        let scale = |at: usize| 1.0 / (diagonal[at] + lambda).max(f64::MIN_POSITIVE);
        let apply = |x: &[f64]| -> Vec<f64> {
            let product = self.product(x);
            product.iter().zip(x).map(|(a, x)| a + lambda * x).collect()
        };
        let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        // Of the difference from 1: the ridge pulls there.
        let mut x = vec![0.0; units];
        let ones = vec![1.0; units];
        let product = self.product(&ones);
        let mut r: Vec<f64> = self.right.iter().zip(product).map(|(b, a)| b - a).collect();
        let scaled = |r: &[f64]| -> Vec<f64> { (0..units).map(|at| r[at] * scale(at)).collect() };
        let mut z = scaled(&r);
        let mut p = z.clone();
        let mut rz = dot(&r, &z);
        let enough = 1e-20 * rz;
        for _ in 0..10 * units.max(10) {
            if rz <= enough || rz <= f64::MIN_POSITIVE {
                break;
            }
            let ap = apply(&p);
            let step = rz / dot(&p, &ap);
            for at in 0..units {
                x[at] += step * p[at];
                r[at] -= step * ap[at];
            }
            z = scaled(&r);
            let next = dot(&r, &z);
            let share = next / rz;
            rz = next;
            for at in 0..units {
                p[at] = z[at] + share * p[at];
            }
        }
        x.into_iter().map(|x| 1.0 + x).collect()
    }
}
