//! How numbers are spread: a dot for each head, stacked over the number's place on the axis.

use bertology_run::HeadColumn;

use super::palette::Paint;
use super::svg::{Mark, Style, Svg};
use super::{Axis, Figure};
use crate::csv;
use crate::number;

/// What is drawn.
#[derive(Debug, Clone)]
pub(crate) struct Dots<'a> {
    pub(crate) values: &'a HeadColumn,
    pub(crate) axis: Axis,
}

const PLOT: f64 = 360.0;
const HEIGHT: f64 = 170.0;

impl Dots<'_> {
    pub(crate) fn draw(&self) -> Figure {
        let (left, top) = (16.0, 10.0);
        let frame = [left, top, left + PLOT, top + HEIGHT];
        let mut svg = Svg::new(left + PLOT + 18.0, frame[3] + 44.0);
        self.axis.draw_level(&mut svg, frame, 6, true);
        let known: Vec<((usize, usize), f64)> = self.values.iter().collect();
        // The largest dots with which no stack is higher than the frame.
        let mut radius = 5.0;
        let mut stacks = self.stacks(&known, radius);
        while radius > 1.0
            && stacks
                .iter()
                .any(|(_, row)| (row * 2.0 + 2.0) * radius > HEIGHT)
        {
            radius -= 0.5;
            stacks = self.stacks(&known, radius);
        }
        for ((id, value), (column, row)) in known.iter().zip(stacks) {
            let x = left + (column + 0.5) * radius * 2.0;
            let y = frame[3] - (row * 2.0 + 1.0) * radius - 1.0;
            let mark = Mark {
                says: format!(
                    "layer {}, head {}: {}",
                    id.0,
                    id.1,
                    number::read_out(*value)
                ),
                row: csv::line([
                    id.0.to_string(),
                    id.1.to_string(),
                    csv::number(Some(*value)),
                ]),
                head: Some(*id),
            };
            let style = Style::fill(Paint::Category(0)).outlined(Paint::Surface, 0.8);
            svg.circle([x, y], radius, style, Some(&mark));
        }
        let axis = Style::stroke(Paint::Axis, 1.2);
        svg.line([left, frame[3]], [frame[2], frame[3]], axis);
        Figure::new(&["layer", "head", &self.axis.name], svg)
    }

    /// Column and row of each dot; the lower number lies lower.
    fn stacks(&self, known: &[((usize, usize), f64)], radius: f64) -> Vec<(f64, f64)> {
        let columns = (PLOT / (radius * 2.0)).floor().max(1.0);
        let mut heights = std::collections::HashMap::new();
        let mut order: Vec<usize> = (0..known.len()).collect();
        order.sort_by(|a, b| known[*a].1.total_cmp(&known[*b].1));
        let mut places = vec![(0.0, 0.0); known.len()];
        for at in order {
            let share = self.axis.share(known[at].1).clamp(0.0, 1.0);
            let column = (share * columns).floor().min(columns - 1.0);
            let height = heights.entry(column as u64).or_insert(0_u32);
            places[at] = (column, f64::from(*height));
            *height += 1;
        }
        places
    }
}
