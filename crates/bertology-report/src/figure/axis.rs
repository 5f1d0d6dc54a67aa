//! Axes: round numbers in round places.

use super::measure::width;
use super::palette::Paint;
use super::svg::{Anchor, Style, Svg};
use super::{SMALL, TEXT};
use crate::number::minus;

/// A range of numbers on a stretch of the paper.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    pub(crate) name: String,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Only whole numbers are of meaning.
    pub(crate) whole: bool,
}

impl Axis {
    /// An axis that holds these numbers; NaN and infinities are passed over.
    pub(crate) fn of(name: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.into_iter().filter(|value| value.is_finite()) {
            low = low.min(value);
            high = high.max(value);
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if low == high {
            let room = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
            (low, high) = (low - room, high + room);
        }
        Self {
            name: name.to_owned(),
            low,
            high,
            whole: false,
        }
    }

    /// Reaches to 0.
    pub(crate) fn with_zero(mut self) -> Self {
        self.low = self.low.min(0.0);
        self.high = self.high.max(0.0);
        self
    }

    pub(crate) fn whole(mut self) -> Self {
        self.whole = true;
        self
    }

    /// A little room at both ends, and none where the end is 0.
    pub(crate) fn padded(mut self) -> Self {
        let room = (self.high - self.low) * 0.06;
        if self.low != 0.0 {
            self.low -= room;
        }
        if self.high != 0.0 {
            self.high += room;
        }
        self
    }

    /// Ends in round numbers.
    pub(crate) fn rounded(mut self, most: usize) -> Self {
        let step = step(self.low, self.high, most);
        self.low = (self.low / step + 1e-9).floor() * step;
        self.high = (self.high / step - 1e-9).ceil() * step;
        self
    }

    /// The place of a number as a share of the axis.
    pub(crate) fn share(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    pub(crate) fn ticks(&self, most: usize) -> Vec<(f64, String)> {
        let mut found = ticks(self.low, self.high, most);
        if self.whole {
            found.retain(|(value, _)| value.fract() == 0.0);
            for (value, label) in &mut found {
                *label = minus(&format!("{value:.0}"));
            }
        }
        found
    }

    /// Room that the numbers of an upright axis take.
    pub(crate) fn label_width(&self, most: usize) -> f64 {
        let ticks = self.ticks(most);
        let widths = ticks.iter().map(|(_, label)| width(label, SMALL));
        widths.fold(0.0, f64::max)
    }

    /// Lines across the frame `[left, top, right, bottom]` and numbers to its left.
    pub(crate) fn draw_upright(&self, svg: &mut Svg, frame: [f64; 4], most: usize) {
        let [left, top, right, bottom] = frame;
        for (value, label) in self.ticks(most) {
            let y = bottom - self.share(value) * (bottom - top);
            svg.line([left, y], [right, y], Style::stroke(Paint::Line, 1.0));
            svg.text(
                [left - 7.0, y + 3.5],
                SMALL,
                Paint::Muted,
                Anchor::End,
                &label,
            );
        }
        let x = left - self.label_width(most) - 16.0;
        let middle = f64::midpoint(top, bottom);
        svg.turned(
            [x, middle],
            TEXT,
            Paint::Ink,
            Anchor::Middle,
            -90.0,
            &self.name,
        );
    }

    /// Numbers below the frame, and lines across it if asked for.
    pub(crate) fn draw_level(&self, svg: &mut Svg, frame: [f64; 4], most: usize, grid: bool) {
        let [left, top, right, bottom] = frame;
        for (value, label) in self.ticks(most) {
            let x = left + self.share(value) * (right - left);
            if grid {
                svg.line([x, top], [x, bottom], Style::stroke(Paint::Line, 1.0));
            } else {
                svg.line(
                    [x, bottom],
                    [x, bottom + 4.0],
                    Style::stroke(Paint::Axis, 1.0),
                );
            }
            svg.text(
                [x, bottom + 16.0],
                SMALL,
                Paint::Muted,
                Anchor::Middle,
                &label,
            );
        }
        let middle = f64::midpoint(left, right);
        svg.text(
            [middle, bottom + 33.0],
            TEXT,
            Paint::Ink,
            Anchor::Middle,
            &self.name,
        );
    }
}

/// 1, 2 or 5 times a power of ten, with at most so many steps in the range.
fn step(low: f64, high: f64, most: usize) -> f64 {
    let rough = (high - low) / most.max(1) as f64;
    let power = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| *step >= rough * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

/// Round numbers in a range, and how they are written.
pub(crate) fn ticks(low: f64, high: f64, most: usize) -> Vec<(f64, String)> {
    let span = high - low;
    if !(span.is_finite() && span > 0.0) {
        return Vec::new();
    }
    let step = step(low, high, most);
    let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    let scientific = high.abs().max(low.abs()) >= 1e6 || decimals > 4;
    (first..=last)
        .map(|at| {
            let value = at as f64 * step;
            let label = if at == 0 && scientific {
                "0".to_owned()
            } else if scientific {
                format!("{value:.1e}").replace(".0e", "e")
            } else {
                format!("{value:.decimals$}")
            };
            (value, minus(&label))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(low: f64, high: f64) -> Vec<String> {
        ticks(low, high, 5)
            .into_iter()
            .map(|(_, label)| label)
            .collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(0.0, 1.0), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(0.0, 12.0), ["0", "5", "10"]);
        assert_eq!(labels(-0.013, 0.021), ["−0.01", "0.00", "0.01", "0.02"]);
        assert_eq!(labels(0.0, 3e-7), ["0", "1e−7", "2e−7", "3e−7"]);
        assert!(labels(1.0, 1.0).is_empty());
    }

    #[test]
    fn whole_numbers_have_no_decimals() {
        let axis = Axis::of("layer", [0.0, 1.0]).whole();
        let labels: Vec<String> = axis.ticks(12).into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, ["0", "1"]);
    }

    #[test]
    fn axes_hold_what_they_are_of() {
        let axis = Axis::of("x", [3.0, f64::NAN, 7.0]).with_zero().rounded(5);
        assert_eq!((axis.low, axis.high), (0.0, 8.0));
        let axis = Axis::of("x", [5.0]);
        assert!(axis.low < 5.0 && axis.high > 5.0);
        let axis = Axis::of("x", []);
        assert_eq!((axis.low, axis.high), (0.0, 1.0));
    }
}
