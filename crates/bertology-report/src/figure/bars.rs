//! Rows with a name and a number each: bars from zero, or dots with an interval.

use super::measure::{fitted, width};
use super::palette::Paint;
use super::svg::{Anchor, Mark, Style, Svg};
use super::{Axis, Figure, SMALL, TEXT};
use crate::csv;
use crate::number;

/// How a number is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A bar from zero.
    Bar,
    /// A dot, for numbers to which zero is no beginning.
    Dot,
}

/// A row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bar {
    pub(crate) name: String,
    /// Stands behind the name, in grey.
    pub(crate) note: String,
    pub(crate) value: f64,
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
    /// What the number is compared with.
    pub(crate) baseline: Option<f64>,
    /// Drawn in grey: something to compare with, not a finding.
    pub(crate) pale: bool,
    pub(crate) head: Option<(usize, usize)>,
}

/// What is drawn.
#[derive(Debug, Clone)]
pub(crate) struct Bars<'a> {
    pub(crate) rows: &'a [Bar],
    pub(crate) axis: Axis,
    pub(crate) shape: Shape,
    /// What the rows are, as a column's name.
    pub(crate) kind: &'a str,
    /// What the diamonds are.
    pub(crate) baseline: Option<&'a str>,
    /// What the whiskers are.
    pub(crate) interval: Option<&'a str>,
    /// How the number at the end of a row is written.
    pub(crate) write: fn(f64) -> String,
}

const ROW: f64 = 22.0;
const PLOT: f64 = 215.0;
const LABEL: f64 = 190.0;

impl Bars<'_> {
    pub(crate) fn draw(&self) -> Figure {
        // Notes and names have a column each.
        let notes = self
            .rows
            .iter()
            .map(|row| width(&row.note, SMALL))
            .fold(0.0, f64::max);
        let notes = if notes > 0.0 { notes + 9.0 } else { 0.0 };
        let names = self
            .rows
            .iter()
            .map(|row| width(&row.name, TEXT))
            .fold(40.0, f64::max);
        let left = names.min(LABEL) + notes + 18.0;
        let ends = self
            .rows
            .iter()
            .map(|row| width(&(self.write)(row.value), SMALL));
        let right = ends.fold(0.0, f64::max) + 22.0;
        let top = if self.baseline.is_some() || self.interval.is_some() {
            26.0
        } else {
            8.0
        };
        let bottom = top + ROW * self.rows.len() as f64 + 4.0;
        let frame = [left, top, left + PLOT, bottom];
        let mut svg = Svg::new(left + PLOT + right, bottom + 44.0);
        self.legend(&mut svg, left);
        self.axis.draw_level(&mut svg, frame, 5, true);
        let zero = left + self.axis.share(0.0).clamp(0.0, 1.0) * PLOT;
        for (at, row) in self.rows.iter().enumerate() {
            let y = top + 2.0 + (at as f64 + 0.5) * ROW;
            self.row(&mut svg, row, (frame, notes), zero, y);
        }
        let axis = Style::stroke(Paint::Axis, 1.2);
        svg.line([zero, top], [zero, bottom], axis);
        let mut columns = vec![self.kind, &self.axis.name, "low", "high"];
        columns.extend(self.baseline);
        Figure::new(&columns, svg)
    }

    fn legend(&self, svg: &mut Svg, left: f64) {
        let mut x = left;
        if let Some(text) = self.interval {
            svg.line([x, 12.0], [x + 18.0, 12.0], Style::stroke(Paint::Ink, 1.3));
            svg.text([x + 24.0, 15.5], SMALL, Paint::Muted, Anchor::Start, text);
            x += 24.0 + width(text, SMALL) + 18.0;
        }
        if let Some(text) = self.baseline {
            diamond(svg, [x + 6.0, 12.0]);
            svg.text([x + 16.0, 15.5], SMALL, Paint::Muted, Anchor::Start, text);
        }
    }

    fn row(&self, svg: &mut Svg, row: &Bar, (frame, notes): ([f64; 4], f64), zero: f64, y: f64) {
        let left = frame[0];
        let place = |value: f64| left + self.axis.share(value).clamp(0.0, 1.0) * PLOT;
        if !row.note.is_empty() {
            svg.text(
                [left - 10.0, y + 3.5],
                SMALL,
                Paint::Muted,
                Anchor::End,
                &row.note,
            );
        }
        let name = fitted(&row.name, TEXT, LABEL + 2.0);
        svg.text(
            [left - 10.0 - notes, y + 4.0],
            TEXT,
            Paint::Ink,
            Anchor::End,
            &name,
        );
        let x = place(row.value);
        let paint = if row.pale {
            Paint::Axis
        } else {
            Paint::Category(0)
        };
        let mark = self.mark(row);
        if self.shape == Shape::Bar {
            let place = [zero.min(x), y - 6.5, (x - zero).abs().max(0.8), 13.0];
            svg.rect(place, 1.5, Style::fill(paint), Some(&mark));
        }
        let mut reach = x;
        if let (Some(low), Some(high)) = (row.low, row.high) {
            let (low, high) = (place(low), place(high));
            let style = Style::stroke(Paint::Ink, 1.3);
            svg.line([low, y], [high, y], style);
            for end in [low, high] {
                svg.line([end, y - 3.0], [end, y + 3.0], style);
            }
            reach = reach.max(high);
        }
        if self.shape == Shape::Dot {
            let style = Style::fill(paint).outlined(Paint::Surface, 1.0);
            svg.circle([x, y], 4.6, style, Some(&mark));
        }
        let text = (self.write)(row.value);
        let mut start = reach.max(zero) + 7.0;
        if let Some(baseline) = row.baseline {
            let x = place(baseline);
            diamond(svg, [x, y]);
            // The number is the row's: it stands beside the row unless the diamond does.
            if (start - 7.0..start + width(&text, SMALL) + 7.0).contains(&x) {
                start = x + 12.0;
            }
        }
        svg.text([start, y + 3.5], SMALL, Paint::Muted, Anchor::Start, &text);
    }

    fn mark(&self, row: &Bar) -> Mark {
        let mut says = format!("{}: {}", row.name, number::read_out(row.value));
        if let (Some(low), Some(high)) = (row.low, row.high) {
            says.push_str(&format!(
                " ({} to {})",
                number::short(low),
                number::short(high)
            ));
        }
        if let (Some(baseline), Some(name)) = (row.baseline, self.baseline) {
            says.push_str(&format!(", {name} {}", number::short(baseline)));
        }
        if !row.note.is_empty() {
            says.push_str(&format!(", {}", row.note));
        }
        let mut fields = vec![
            row.name.clone(),
            csv::number(Some(row.value)),
            csv::number(row.low),
            csv::number(row.high),
        ];
        if self.baseline.is_some() {
            fields.push(csv::number(row.baseline));
        }
        Mark {
            says,
            row: csv::line(fields),
            head: row.head,
        }
    }
}

fn diamond(svg: &mut Svg, [x, y]: [f64; 2]) {
    let path = format!("M{x:.2} {:.2}l5.5 5.5l-5.5 5.5l-5.5 -5.5Z", y - 5.5);
    let style = Style::fill(Paint::Warm).outlined(Paint::Surface, 1.2);
    svg.path(&path, style, None);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::short;

    /// Where the number of a bar of 1 on an axis to 4 begins, with a diamond at `baseline`.
    fn number_at(baseline: Option<f64>) -> f64 {
        let rows = [Bar {
            name: "task".into(),
            value: 1.0,
            baseline,
            ..Bar::default()
        }];
        let bars = Bars {
            rows: &rows,
            axis: Axis::of("layer", [0.0, 4.0]),
            shape: Shape::Bar,
            kind: "task",
            baseline: Some("centre"),
            interval: None,
            write: short,
        };
        let file = bars.draw().file();
        let text = file.split("<text ").find(|text| text.contains(">1.00<"));
        let x = text.and_then(|text| text.split("x=\"").nth(1)?.split('"').next()?.parse().ok());
        x.unwrap_or_else(|| panic!("no number in {file}"))
    }

    #[test]
    fn the_number_stands_beside_the_bar_unless_the_diamond_does() {
        let alone = number_at(None);
        assert_eq!(number_at(Some(0.5)), alone);
        assert_eq!(number_at(Some(3.5)), alone);
        assert!(number_at(Some(1.2)) > alone + 5.0);
    }
}
