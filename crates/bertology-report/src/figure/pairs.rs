//! Pairs of units as a square: those that are related, and those that are found most probable.

use super::palette::Paint;
use super::svg::{Anchor, Mark, Style, Svg};
use super::{Axis, Figure, SMALL};
use crate::csv;
use crate::number;

/// What is drawn. Units are counted from 0.
#[derive(Debug, Clone)]
pub(crate) struct Pairs<'a> {
    pub(crate) units: u64,
    pub(crate) related: &'a [(u32, u32)],
    /// With their probability.
    pub(crate) strongest: &'a [(u32, u32, f64)],
    /// Pairs have no direction: related ones lie below the diagonal, found ones above it.
    pub(crate) halves: bool,
}

const SIZE: f64 = 420.0;

impl Pairs<'_> {
    pub(crate) fn draw(&self) -> Figure {
        let units = self.units.max(1) as f64;
        let axis = Axis::of("unit", [0.0, units]);
        let left = axis.label_width(5) + 32.0;
        let frame = [left, 12.0, left + SIZE, 12.0 + SIZE];
        let mut svg = Svg::new(left + SIZE + 14.0, frame[3] + 74.0);
        axis.draw_level(&mut svg, frame, 6, false);
        let outline = Style::fill(Paint::Surface).outlined(Paint::Axis, 1.0);
        svg.rect([left, 12.0, SIZE, SIZE], 0.0, outline, None);
        svg.line(
            [left, 12.0],
            [frame[2], frame[3]],
            Style::stroke(Paint::Line, 1.0),
        );
        let cell = SIZE / units;
        // The first unit of a pair is a row, counted from above; never smaller than can be seen.
        let square = cell.max(2.4);
        let related = Style::fill(Paint::Axis).faint(0.6);
        for (from, to) in self.related {
            let (row, column) = if self.halves {
                (*to, *from)
            } else {
                (*from, *to)
            };
            let x = left + (f64::from(column) + 0.5) * cell - square / 2.0;
            let y = frame[1] + (f64::from(row) + 0.5) * cell - square / 2.0;
            svg.rect(
                [x, y, square, square],
                0.0,
                related,
                Some(&self.mark(*from, *to, None)),
            );
        }
        let (right, wrong) = (Paint::Category(0), Paint::Warm);
        for (from, to, probability) in self.strongest {
            let known = self.related.contains(&(*from, *to));
            let x = left + (f64::from(*to) + 0.5) * cell;
            let y = frame[1] + (f64::from(*from) + 0.5) * cell;
            let style = Style::fill(if known { right } else { wrong });
            let radius = (cell * 0.4).clamp(1.6, 7.0);
            svg.circle(
                [x, y],
                radius,
                style,
                Some(&self.mark(*from, *to, Some(*probability))),
            );
        }
        let legend = [
            (Paint::Axis, "related"),
            (right, "found, related"),
            (wrong, "found, not related"),
        ];
        for (at, (paint, name)) in legend.into_iter().enumerate() {
            let (x, y) = (left + at as f64 * 130.0, frame[3] + 62.0);
            svg.circle([x + 4.0, y - 3.5], 4.0, Style::fill(paint), None);
            svg.text([x + 14.0, y], SMALL, Paint::Ink, Anchor::Start, name);
        }
        Figure::new(&["from", "to", "probability", "related"], svg)
    }

    fn mark(&self, from: u32, to: u32, probability: Option<f64>) -> Mark {
        let known = probability.is_none() || self.related.contains(&(from, to));
        let said = probability.map_or(String::new(), |p| {
            format!(" probability {},", number::read_out(p))
        });
        let related = if known { "related" } else { "not related" };
        Mark {
            says: format!("units {from} and {to}:{said} {related}"),
            row: csv::line([
                from.to_string(),
                to.to_string(),
                csv::number(probability),
                known.to_string(),
            ]),
            head: None,
        }
    }
}
