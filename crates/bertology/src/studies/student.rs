//! Student's distribution.

/// P(|T| < t) for so many degrees of freedom (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4).
#[must_use]
pub fn within(t: f64, degrees: usize) -> f64 {
    let n = degrees as f64;
    let angle = (t / n.sqrt()).atan();
    let (sin, cos) = angle.sin_cos();
    let odd = degrees % 2 == 1;
    // Odd: cos + 2/3 cos³ + ..., even: 1 + 1/2 cos² + ...
    let mut term = if odd { cos } else { 1.0 };
    let mut sum = 0.0;
    let mut power = if odd { 1 } else { 0 };
    while power + 2 <= degrees {
        sum += term;
        let next = power as f64 + 2.0;
        term *= cos * cos * (next - 1.0) / next;
        power += 2;
    }
    if odd {
        (angle + sin * sum) * std::f64::consts::FRAC_2_PI
    } else {
        sin * sum
    }
}

/// What |T| is below in 95 of 100 cases.
#[must_use]
pub fn quantile(degrees: usize) -> f64 {
    let (mut low, mut high) = (0.0, 16.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if within(middle, degrees) < 0.95 {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Judge: published tables of the 0.975 quantile.
    #[test]
    fn quantiles_are_students() {
        for (degrees, expected) in [
            (1, 12.706_204_736),
            (2, 4.302_652_730),
            (3, 3.182_446_305),
            (4, 2.776_445_105),
            (9, 2.262_157_163),
            (30, 2.042_272_456),
            (100, 1.983_971_518),
        ] {
            let found = quantile(degrees);
            assert!((found - expected).abs() < 2e-9, "{degrees}: {found}");
        }
    }
}
