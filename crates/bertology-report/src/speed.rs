//! How the speed of two models is put into words, the same everywhere.

/// How many times as fast the second of two models is, with its interval; where that spans 1 nothing is claimed.
///
/// ```
/// use bertology_report::times_as_fast;
/// assert_eq!(times_as_fast(1.234, (1.2, 1.26)), "1.23 times as fast (1.20 to 1.26)");
/// assert_eq!(times_as_fast(1.01, (0.98, 1.04)), "no measurable change (0.980 to 1.040 times as fast)");
/// ```
#[must_use]
pub fn times_as_fast(ratio: f64, (low, high): (f64, f64)) -> String {
    // Near 1 two decimals would hide on which side.
    let digits = if (ratio - 1.0).abs() < 0.05 { 3 } else { 2 };
    if spans_one((low, high)) {
        format!("no measurable change ({low:.digits$} to {high:.digits$} times as fast)")
    } else {
        format!("{ratio:.digits$} times as fast ({low:.digits$} to {high:.digits$})")
    }
}

/// Whether nothing can be claimed.
pub(crate) fn spans_one((low, high): (f64, f64)) -> bool {
    low <= 1.0 && 1.0 <= high
}

#[cfg(test)]
mod tests {
    use super::times_as_fast;

    #[test]
    fn what_could_be_no_change_is_called_so() {
        let doubt = "no measurable change";
        for (interval, told) in [
            ((0.97, 1.12), false),
            ((1.0, 1.12), false),
            ((0.9, 1.0), false),
            ((1.01, 1.12), true),
            ((0.8, 0.99), true),
        ] {
            let text = times_as_fast(1.08, interval);
            assert_eq!(text.starts_with(doubt), !told, "{text}");
            let (low, high) = interval;
            assert!(text.contains(&format!("({low:.2} to {high:.2}")), "{text}");
        }
        assert_eq!(
            times_as_fast(0.9, (0.88, 0.91)),
            "0.90 times as fast (0.88 to 0.91)"
        );
        assert_eq!(
            times_as_fast(1.004, (1.002, 1.006)),
            "1.004 times as fast (1.002 to 1.006)"
        );
    }
}
