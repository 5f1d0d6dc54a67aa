//! Colours of figures: concrete in the file, so that it looks the same in every program, and named by a class,
//! so that a page can give them the colours of its theme.
//!
//! Scales of magnitude change in lightness from end to end and signed ones on both sides of the middle, so that
//! both can be read without full colour vision and in grey; categories have the colours of Okabe and Ito,
//! and always a shape or a stroke besides.

use std::fmt::Write;

/// Steps of a scale; an odd number, so that a signed one has a middle.
pub(crate) const LEVELS: usize = 49;

type Stops = [&'static str; 7];

const MAGNITUDE: [Stops; 2] = [
    [
        "#f4f6f9", "#cfe3ec", "#8fc4d3", "#4a9dba", "#1f6f9e", "#1b4480", "#1a1f4f",
    ],
    [
        "#1c2330", "#1f3a5f", "#1f6480", "#2a9083", "#6cba6b", "#c5d957", "#fdf3b0",
    ],
];
const SIGNED: [Stops; 2] = [
    [
        "#0b4f8a", "#4a9dcb", "#b9d9ea", "#f7f8fa", "#fbd3a5", "#e0862c", "#8f4300",
    ],
    [
        "#9bd3f7", "#3f8fc4", "#1f4468", "#1c2330", "#5e3a14", "#cc7a22", "#ffcf94",
    ],
];
const CATEGORIES: [[&str; 8]; 2] = [
    [
        "#0072b2", "#d55e00", "#009e73", "#c4679c", "#b88700", "#3aa0dc", "#7a5195", "#5b6675",
    ],
    [
        "#4aa8e8", "#f08a3c", "#2fc49a", "#e89cc8", "#e6b93f", "#9bd3f7", "#b797dd", "#aab4c2",
    ],
];

/// What something is painted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    /// Text and marks that carry the message.
    Ink,
    /// Text beside them.
    Muted,
    /// Lines of a grid.
    Line,
    /// Axes.
    Axis,
    /// What lies behind the figure.
    Surface,
    /// The one thing to be seen.
    Warm,
    /// A step of the scale of magnitudes.
    Magnitude(usize),
    /// A step of the scale of signed values.
    Signed(usize),
    /// One of several kinds.
    Category(usize),
}

impl Paint {
    /// A step of the scale of magnitudes, for a share of it.
    pub(crate) fn magnitude(share: f64) -> Self {
        Self::Magnitude(level(share))
    }

    /// A step of the signed scale, from -1 to 1.
    pub(crate) fn signed(share: f64) -> Self {
        Self::Signed(level(f64::midpoint(share, 1.0)))
    }

    /// Its name behind `f-` (fill) or `s-` (stroke).
    pub(crate) fn class(self) -> String {
        match self {
            Self::Ink => "ink".into(),
            Self::Muted => "muted".into(),
            Self::Line => "line".into(),
            Self::Axis => "axis".into(),
            Self::Surface => "surface".into(),
            Self::Warm => "warm".into(),
            Self::Magnitude(level) => format!("m{level}"),
            Self::Signed(level) => format!("d{level}"),
            Self::Category(kind) => format!("k{}", kind % 8),
        }
    }

    /// Its colour on white paper.
    pub(crate) fn hex(self) -> String {
        match self {
            Self::Ink => "#17202c".into(),
            Self::Muted => "#566273".into(),
            Self::Line => "#dce1e9".into(),
            Self::Axis => "#8a95a5".into(),
            Self::Surface => "#ffffff".into(),
            Self::Warm => "#b24a00".into(),
            Self::Magnitude(level) => at(&MAGNITUDE[0], level),
            Self::Signed(level) => at(&SIGNED[0], level),
            Self::Category(kind) => CATEGORIES[0][kind % 8].into(),
        }
    }
}

fn level(share: f64) -> usize {
    let last = (LEVELS - 1) as f64;
    // A share that is not a number is 0.
    (share.clamp(0.0, 1.0) * last).round() as usize
}

/// The colour of a step, straight between two stops.
fn at(stops: &Stops, level: usize) -> String {
    let place = level as f64 / (LEVELS - 1) as f64 * (stops.len() - 1) as f64;
    let low = (place as usize).min(stops.len() - 2);
    let share = place - low as f64;
    let mixed = rgb(stops[low]).into_iter().zip(rgb(stops[low + 1]));
    mixed.fold(String::from("#"), |mut text, (a, b)| {
        let value = a + (b - a) * share;
        let _ = write!(text, "{:02x}", value.round() as u8);
        text
    })
}

fn rgb(hex: &str) -> [f64; 3] {
    [1, 3, 5].map(|at| {
        let digits = hex.get(at..at + 2).unwrap_or("00");
        f64::from(u8::from_str_radix(digits, 16).unwrap_or(0))
    })
}

/// The rules with which a page gives figures the colours of its theme.
pub(crate) fn page_css() -> String {
    let variables = |theme: usize| {
        let mut text = String::new();
        for level in 0..LEVELS {
            let (m, d) = (at(&MAGNITUDE[theme], level), at(&SIGNED[theme], level));
            let _ = write!(text, "--m{level}:{m};--d{level}:{d};");
        }
        for (kind, colour) in CATEGORIES[theme].iter().enumerate() {
            let _ = write!(text, "--k{kind}:{colour};");
        }
        text
    };
    let (light, dark) = (variables(0), variables(1));
    let mut css = format!(
        ":root{{{light}}}@media(prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}}}}}\
         :root[data-theme=dark]{{{dark}}}"
    );
    let mut rule = |class: &str, value: &str| {
        let _ = write!(
            css,
            ".figure .f-{class}{{fill:var(--{value})}}.figure .s-{class}{{stroke:var(--{value})}}"
        );
    };
    for name in ["ink", "muted", "line", "surface", "warm"] {
        rule(name, name);
    }
    rule("axis", "strong-line");
    for kind in 0..8 {
        rule(&format!("k{kind}"), &format!("k{kind}"));
    }
    for level in 0..LEVELS {
        let _ = write!(
            css,
            ".f-m{level}{{fill:var(--m{level})}}.s-m{level}{{stroke:var(--m{level})}}.f-d{level}{{fill:var(--d{level})}}"
        );
    }
    css
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance of WCAG 2.
    fn luminance(hex: &str) -> f64 {
        let linear = rgb(hex).map(|value| {
            let value = value / 255.0;
            if value <= 0.04045 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    #[test]
    fn scales_can_be_read_in_grey() {
        for (theme, rising) in [(0, false), (1, true)] {
            let steps: Vec<f64> = (0..LEVELS)
                .map(|l| luminance(&at(&MAGNITUDE[theme], l)))
                .collect();
            assert!(
                steps.windows(2).all(|pair| (pair[1] > pair[0]) == rising),
                "{theme}"
            );
            let steps: Vec<f64> = (0..LEVELS)
                .map(|l| luminance(&at(&SIGNED[theme], l)))
                .collect();
            let (low, high) = steps.split_at(LEVELS / 2);
            assert!(
                low.windows(2).all(|pair| (pair[1] < pair[0]) == rising),
                "{theme}"
            );
            assert!(
                high.windows(2).all(|pair| (pair[1] > pair[0]) == rising),
                "{theme}"
            );
        }
    }

    #[test]
    fn ends_are_ends() {
        assert_eq!(Paint::magnitude(0.0).hex(), MAGNITUDE[0][0]);
        assert_eq!(Paint::magnitude(7.0).hex(), MAGNITUDE[0][6]);
        assert_eq!(Paint::magnitude(f64::NAN).hex(), MAGNITUDE[0][0]);
        assert_eq!(Paint::signed(-1.0).hex(), SIGNED[0][0]);
        assert_eq!(Paint::signed(1.0).hex(), SIGNED[0][6]);
    }
}
