//! Values of all heads, layer by layer, on at most 80 columns.

use std::fmt::Write;

/// Columns that every terminal has.
const COLUMNS: usize = 80;
/// `layer 12 `
const LABEL: usize = 10;

/// Background and foreground (of the 256 colours) for each of ten levels: dark blue to yellow.
const LEVELS: [(u8, u8); 10] = [
    (17, 250),
    (18, 252),
    (24, 255),
    (30, 255),
    (36, 232),
    (72, 232),
    (108, 232),
    (143, 232),
    (185, 232),
    (226, 232),
];

/// A value per head, `[layers, heads]` row by row; heads that are masked or pruned have none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid<'a> {
    values: &'a [Option<f64>],
    heads: usize,
    /// What the digits 0 and 9 stand for.
    range: (f64, f64),
}

impl<'a> Grid<'a> {
    pub(crate) fn new(values: &'a [Option<f64>], heads: usize) -> Self {
        Self {
            values,
            heads,
            range: range(values),
        }
    }

    /// The digits of another grid: 0 for its lowest value, 9 for its highest.
    pub(crate) fn on_the_scale_of(self, all: &[Option<f64>]) -> Self {
        Self {
            range: range(all),
            ..self
        }
    }

    fn rows(self) -> impl Iterator<Item = &'a [Option<f64>]> {
        self.values.chunks(self.heads.max(1))
    }

    /// One digit per head, from 0 for the lowest value to 9 for the highest, a dot where there is
    /// no value; with colours the digits stand on a heat map.
    pub(crate) fn strip(self, color: bool) -> String {
        let width = self.cell_width();
        let mut text = self.header(0, self.heads, width);
        let (low, high) = self.range;
        for (layer, row) in self.rows().enumerate() {
            let _ = write!(text, "\n{:<LABEL$}", format!("  layer {layer}"));
            for value in row {
                text.push_str(&cell(*value, low, high, width, color));
            }
        }
        text
    }

    /// The power of ten by which the numbers of [`Grid::table`] are divided: 0 unless two decimals
    /// would say nothing of the largest value, or would not fit.
    pub(crate) fn exponent(self) -> i32 {
        let largest = self.range.0.abs().max(self.range.1.abs());
        if !largest.is_finite() || largest == 0.0 || (0.1..99.0).contains(&largest) {
            return 0;
        }
        largest.log10().floor() as i32
    }

    /// Two decimals per head; models with many heads get several tables. The longest number, its sign included, has a
    /// space before it.
    pub(crate) fn table(self) -> String {
        let unit = 10_f64.powi(self.exponent());
        let ends = [self.range.0, self.range.1].map(|value| decimals(value / unit).len());
        let width = (1 + ends[0].max(ends[1])).max(5);
        let fit = (COLUMNS - LABEL) / width;
        let parts = self.heads.div_ceil(fit).max(1);
        let step = self.heads.div_ceil(parts).max(1);
        let mut tables = Vec::with_capacity(parts);
        for from in (0..self.heads).step_by(step) {
            let to = self.heads.min(from + step);
            let mut text = self.header(from, to, width);
            for (layer, row) in self.rows().enumerate() {
                let _ = write!(text, "\n{:<LABEL$}", format!("  layer {layer}"));
                for value in row.iter().take(to).skip(from) {
                    let number = value.map_or_else(|| ".".into(), |value| decimals(value / unit));
                    let _ = write!(text, "{number:>width$}");
                }
            }
            tables.push(text);
        }
        tables.join("\n")
    }

    fn cell_width(self) -> usize {
        match self.heads {
            0..=23 => 3,
            24..=35 => 2,
            _ => 1,
        }
    }

    fn header(self, from: usize, to: usize, width: usize) -> String {
        let mut text = format!("{:<LABEL$}", "  head");
        for head in from..to {
            // Narrow columns have no room for two digits: number every fifth.
            if width > 2 || self.heads <= 10 {
                let _ = write!(text, "{head:>width$}");
            } else if head % 5 == 0 {
                let room = 5.min(to - head) * width;
                let _ = write!(text, "{:<room$}", format!("{:>width$}", head));
            }
        }
        text.truncate(text.trim_end().len());
        text
    }
}

/// Two decimals, and no sign before a zero.
fn decimals(value: f64) -> String {
    let text = format!("{value:.2}");
    match text.strip_prefix('-') {
        Some("0.00") => "0.00".into(),
        _ => text,
    }
}

fn range(values: &[Option<f64>]) -> (f64, f64) {
    values
        .iter()
        .flatten()
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(*value), high.max(*value))
        })
}

fn cell(value: Option<f64>, low: f64, high: f64, width: usize, color: bool) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else {
        return format!("{:>width$}", '.');
    };
    let share = if high > low {
        (value - low) / (high - low)
    } else {
        0.0
    };
    let level = ((share * 10.0) as usize).min(LEVELS.len() - 1);
    match LEVELS.get(level) {
        Some((back, front)) if color => {
            let text = format!("{level:^width$}");
            format!("\x1b[48;5;{back};38;5;{front}m{text}\x1b[0m")
        }
        _ => format!("{level:>width$}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_two_digits_do_not_touch() {
        for (values, expected) in [
            ([Some(-22.64), Some(-3.45)], "-22.64  -3.45"),
            ([Some(12.5), Some(98.0)], " 12.50 98.00"),
            ([Some(-0.5), Some(0.25)], " -0.50  0.25"),
        ] {
            let table = Grid::new(&values, 2).table();
            assert!(table.ends_with(expected), "{table}");
        }
    }

    #[test]
    fn a_strip_has_a_digit_per_head_and_a_dot_where_there_is_none() {
        let values = [
            Some(0.0),
            Some(0.5),
            Some(1.0),
            None,
            Some(0.19),
            Some(f64::NAN),
        ];
        let text = Grid::new(&values, 3).strip(false);
        assert_eq!(
            text,
            "  head      0  1  2\n  layer 0   0  5  9\n  layer 1   .  1  ."
        );
        let colored = Grid::new(&values, 3).strip(true);
        assert!(
            colored.contains("\x1b[48;5;226;38;5;232m 9 \x1b[0m"),
            "{colored}"
        );
    }

    #[test]
    fn equal_values_are_all_lowest() {
        let text = Grid::new(&[Some(2.0), Some(2.0)], 2).strip(false);
        assert!(text.ends_with("  0  0"), "{text}");
        assert!(Grid::new(&[], 0).strip(false).starts_with("  head"));
    }

    #[test]
    fn small_numbers_are_shown_with_a_power_of_ten() {
        let values = [Some(0.0012), Some(0.0345)];
        let grid = Grid::new(&values, 2);
        assert_eq!(grid.exponent(), -2);
        assert!(grid.table().ends_with(" 0.12 3.45"), "{}", grid.table());
        assert_eq!(Grid::new(&[Some(3.7)], 1).exponent(), 0);
        assert_eq!(Grid::new(&[Some(0.0), None], 2).exponent(), 0);
    }

    #[test]
    fn negative_numbers_stay_apart() {
        let values = [Some(-1.234), Some(-0.5), Some(-0.001), None];
        let text = Grid::new(&values, 4).table();
        assert!(text.ends_with(" -1.23 -0.50  0.00     ."), "{text}");
        for heads in [12, 16, 64] {
            let values = vec![Some(-0.25); heads];
            let text = Grid::new(&values, heads).table();
            assert!(text.lines().all(|line| line.chars().count() <= COLUMNS));
        }
    }

    #[test]
    fn a_part_is_shown_on_the_scale_of_the_whole() {
        let (all, part) = ([Some(0.0), Some(0.5), Some(1.0)], [None, Some(0.5), None]);
        let text = Grid::new(&part, 3).on_the_scale_of(&all).strip(false);
        assert!(text.ends_with("  .  5  ."), "{text}");
    }

    #[test]
    fn every_model_fits_80_columns() {
        for heads in [1, 4, 10, 11, 12, 14, 16, 20, 23, 24, 32, 35, 36, 64, 70] {
            let values = vec![Some(0.25); heads * 24];
            let grid = Grid::new(&values, heads);
            for line in grid.strip(false).lines().chain(grid.table().lines()) {
                assert!(line.chars().count() <= COLUMNS, "{heads} heads: {line}");
            }
        }
    }

    #[test]
    fn the_table_names_every_head_once() {
        let values: Vec<_> = (0..40).map(|i| Some(f64::from(i) / 40.0)).collect();
        let text = Grid::new(&values, 20).table();
        assert_eq!(text.matches("  head").count(), 2);
        assert!(text.contains(" 0.47") && text.contains(" 0.97"), "{text}");
    }
}
