//! Numbers as people read them: a true minus, no more digits than they have to say.

/// So many significant digits, trailing zeros kept; powers of ten for very large and very small ones.
pub(crate) fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".into();
    }
    if !value.is_finite() {
        return if value.is_nan() {
            "not a number".into()
        } else {
            minus(&format!("{value}"))
        };
    }
    let scientific = format!("{value:.*e}", digits.saturating_sub(1));
    let Some((_, exponent)) = scientific.split_once('e') else {
        return minus(&scientific);
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..9).contains(&exponent) {
        return minus(&scientific);
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    minus(&format!("{value:.decimals$}"))
}

/// A number in a table or on an axis.
pub(crate) fn short(value: f64) -> String {
    significant(value, 3)
}

/// A number under the pointer.
pub(crate) fn read_out(value: f64) -> String {
    significant(value, 6)
}

/// With its sign, whatever it is.
pub(crate) fn change(value: f64) -> String {
    let text = short(value);
    if value > 0.0 {
        format!("+{text}")
    } else {
        text
    }
}

/// A share in per cent.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A hyphen is no minus.
pub(crate) fn minus(text: &str) -> String {
    text.replace('-', "−")
}

/// `1 head`, `12,345 heads`.
#[must_use]
pub fn plural(value: u64, noun: &str) -> String {
    let s = if value == 1 { "" } else { "s" };
    format!("{} {noun}{s}", count(value))
}

/// `12345678` as `12,345,678`.
#[must_use]
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes with a decimal unit.
#[must_use]
pub fn bytes(value: u64) -> String {
    let scaled = value as f64;
    match value {
        0..1_000 => format!("{value} B"),
        1_000..1_000_000 => format!("{:.1} kB", scaled / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", scaled / 1e6),
        _ => format!("{:.2} GB", scaled / 1e9),
    }
}

/// A duration in seconds to two or three digits; begun seconds are left away beyond two minutes.
#[must_use]
pub fn seconds(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2} s")
    } else if value < 120.0 {
        format!("{value:.1} s")
    } else {
        let whole = value as u64;
        format!("{} min {} s", whole / 60, whole % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_asked_for() {
        assert_eq!(significant(0.123_456_78, 3), "0.123");
        assert_eq!(significant(-1.5, 3), "−1.50");
        assert_eq!(significant(1234.5, 3), "1234");
        assert_eq!(significant(9.999, 3), "10.0");
        assert_eq!(significant(1.23e-7, 3), "1.23e−7");
        assert_eq!(significant(0.0, 6), "0");
        assert_eq!(read_out(0.5), "0.500000");
        assert_eq!(change(0.25), "+0.250");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(seconds(125.2), "2 min 5 s");
        assert_eq!(seconds(179.7), "2 min 59 s");
    }
}
