//! Spearman's rank correlation of attention with closeness, plain and with position held fast.

/// Ranks, averaged over ties, less their mean and divided by their norm: the product of two is Spearman's ρ.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Ranks {
    values: Vec<f64>,
}

/// Room for sorting.
#[derive(Debug, Default)]
pub(crate) struct RankRoom {
    order: Vec<u64>,
}

/// Bits in the order of the numbers.
fn key(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 1 {
        !bits
    } else {
        bits | 1 << 31
    }
}

impl Ranks {
    /// Nothing where all values are the same, or there are fewer than two.
    pub(crate) fn of(values: impl Iterator<Item = f32>, room: &mut RankRoom) -> Option<Self> {
        let order = &mut room.order;
        order.clear();
        // -0 is 0.
        order.extend(
            (0_u64..)
                .zip(values)
                .map(|(at, value)| u64::from(key(value + 0.0)) << 32 | at),
        );
        order.sort_unstable();
        let count = order.len();
        let mut ranks = vec![0.0; count];
        let (mut start, mut squares) = (0, 0.0);
        let middle = (count as f64 - 1.0) / 2.0;
        while start < count {
            let value = order[start] >> 32;
            let tied = order[start..].iter().take_while(|o| **o >> 32 == value);
            let end = start + tied.count();
            let rank = (start + end - 1) as f64 / 2.0 - middle;
            for at in &order[start..end] {
                ranks[(at & u64::from(u32::MAX)) as usize] = rank;
            }
            squares += rank * rank * (end - start) as f64;
            start = end;
        }
        if squares == 0.0 {
            return None;
        }
        let scale = squares.sqrt().recip();
        ranks.iter_mut().for_each(|rank| *rank *= scale);
        Some(Self { values: ranks })
    }

    /// Spearman's ρ.
    pub(crate) fn rho(&self, other: &Self) -> f64 {
        let pairs = self.values.iter().zip(&other.values);
        pairs.map(|(a, b)| a * b).sum::<f64>().clamp(-1.0, 1.0)
    }
}

/// The correlation of two that is left when a third is held fast: nothing where the third says all of one of them.
pub(crate) fn partial(ab: f64, ac: f64, bc: f64) -> Option<f64> {
    let rest = (1.0 - ac * ac) * (1.0 - bc * bc);
    (rest > 1e-12).then(|| ((ab - ac * bc) / rest.sqrt()).clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranks(values: &[f32]) -> Option<Ranks> {
        Ranks::of(values.iter().copied(), &mut RankRoom::default())
    }

    /// `scipy.stats.spearmanr` of these.
    #[test]
    fn rho_with_ties() {
        let a = ranks(&[0.1, 0.4, 0.4, 0.0, 0.9, 0.2]).unwrap();
        let b = ranks(&[3.0, 1.0, 2.0, 3.0, -1.0, 5.0]).unwrap();
        assert!((a.rho(&b) - -27.0 / 34.0).abs() < 1e-12, "{}", a.rho(&b));
        assert!((a.rho(&a) - 1.0).abs() < 1e-15);
        assert_eq!(ranks(&[2.0, 2.0]), None);
        assert_eq!(ranks(&[0.0, -0.0]), None);
        assert_eq!(ranks(&[]), None);
    }

    /// Of three random variables by regression: the correlation of what a line in the third leaves.
    #[test]
    fn partial_is_the_correlation_of_residuals() {
        let mut draws = crate::random::Draws::of([9]);
        let mut unit = || (0..50).map(|_| draws.unit() as f32).collect::<Vec<f32>>();
        let third = unit();
        let with = |own: Vec<f32>| {
            own.iter()
                .zip(&third)
                .map(|(x, z)| x + z)
                .collect::<Vec<f32>>()
        };
        let [a, b, c] = [with(unit()), with(unit()), third.clone()].map(|v| ranks(&v).unwrap());
        let residual = |x: &Ranks| {
            let slope = x.rho(&c);
            let pairs = x.values.iter().zip(&c.values);
            pairs.map(|(x, z)| x - slope * z).collect::<Vec<f64>>()
        };
        let (x, y) = (residual(&a), residual(&b));
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let expected = dot(&x, &y) / (dot(&x, &x) * dot(&y, &y)).sqrt();
        let found = partial(a.rho(&b), a.rho(&c), b.rho(&c)).unwrap();
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        assert_eq!(partial(0.3, 1.0, 0.3), None);
    }
}
