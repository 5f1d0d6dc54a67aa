//! Points on a plane, of several kinds, with the names of as many as there is room for.

use super::measure::width;
use super::palette::Paint;
use super::svg::{Anchor, Mark, Style, Svg, symbol};
use super::{Axis, Figure, SMALL};
use crate::csv;
use crate::number;

/// A point.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) x: f64,
    pub(crate) y: f64,
    /// Index of its kind.
    pub(crate) kind: usize,
    pub(crate) head: Option<(usize, usize)>,
}

/// What is drawn.
#[derive(Debug, Clone)]
pub(crate) struct Scatter<'a> {
    pub(crate) places: &'a [Place],
    /// Names of the kinds.
    pub(crate) kinds: &'a [String],
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    /// Both axes have the same scale: distances mean something, and the axes themselves do not.
    pub(crate) map: bool,
    /// A line on which both numbers are the same.
    pub(crate) diagonal: bool,
}

const SIZE: f64 = 440.0;
const RADIUS: f64 = 5.0;

impl Scatter<'_> {
    pub(crate) fn draw(&self) -> Figure {
        let (x, y) = self.axes();
        let left = if self.map {
            14.0
        } else {
            y.label_width(5) + 32.0
        };
        let high = if self.map {
            // As wide as it must be for the same scale, and not too flat.
            ((y.high - y.low) / (x.high - x.low) * SIZE).clamp(200.0, SIZE)
        } else {
            SIZE * 0.75
        };
        let frame = [left, 12.0, left + SIZE, 12.0 + high];
        let below = if self.map { 16.0 } else { 46.0 };
        let rows = self.legend_rows(left + SIZE);
        let mut svg = Svg::new(
            left + SIZE + 14.0,
            frame[3] + below + rows.len() as f64 * 18.0 + 4.0,
        );
        if self.map {
            let style = Style::fill(Paint::Surface).outlined(Paint::Line, 1.0);
            svg.rect([frame[0], frame[1], SIZE, high], 4.0, style, None);
        } else {
            y.draw_upright(&mut svg, frame, 5);
            x.draw_level(&mut svg, frame, 6, true);
        }
        if self.diagonal {
            self.draw_diagonal(&mut svg, frame, (&x, &y));
        }
        let centre = |place: &Place| {
            [
                frame[0] + x.share(place.x) * SIZE,
                frame[3] - y.share(place.y) * high,
            ]
        };
        let centres: Vec<[f64; 2]> = self.places.iter().map(centre).collect();
        for (at, name) in labels(self.places, &centres, frame) {
            svg.text(at, 8.5, Paint::Muted, Anchor::Start, name);
        }
        for (place, centre) in self.places.iter().zip(&centres) {
            let path = symbol(place.kind, *centre, RADIUS);
            let style = Style::fill(Paint::Category(place.kind)).outlined(Paint::Surface, 1.0);
            svg.path(&path, style, Some(&self.mark(place)));
        }
        self.legend(&mut svg, &rows, frame[3] + below);
        Figure::new(&["name", "layer", "head", &x.name, &y.name, "kind"], svg)
    }

    /// Of a map: with the same scale on both.
    fn axes(&self) -> (Axis, Axis) {
        let (mut x, mut y) = (self.x.clone().padded(), self.y.clone().padded());
        if self.map {
            // No flatter than the frame, no higher than wide.
            let (wide, high) = (x.high - x.low, y.high - y.low);
            let grow = |axis: &mut Axis, to: f64| {
                let more = (to - (axis.high - axis.low)) / 2.0;
                axis.low -= more;
                axis.high += more;
            };
            if high > wide {
                grow(&mut x, high);
            } else if high < wide * 200.0 / SIZE {
                grow(&mut y, wide * 200.0 / SIZE);
            }
        }
        (x, y)
    }

    fn draw_diagonal(&self, svg: &mut Svg, frame: [f64; 4], (x, y): (&Axis, &Axis)) {
        let (low, high) = (x.low.max(y.low), x.high.min(y.high));
        if low >= high {
            return;
        }
        let place = |value: f64| {
            [
                frame[0] + x.share(value) * (frame[2] - frame[0]),
                frame[3] - y.share(value) * (frame[3] - frame[1]),
            ]
        };
        svg.line(
            place(low),
            place(high),
            Style::stroke(Paint::Muted, 1.2).dashed("4 4"),
        );
    }

    fn mark(&self, place: &Place) -> Mark {
        let kind = self.kinds.get(place.kind).map_or("", String::as_str);
        let mut says = format!(
            "{}: {} {}, {} {}",
            place.name,
            self.x.name,
            number::read_out(place.x),
            self.y.name,
            number::read_out(place.y)
        );
        if self.kinds.len() > 1 {
            says.push_str(&format!(", {kind}"));
        }
        let (layer, head) = place
            .head
            .map_or((String::new(), String::new()), |(layer, head)| {
                (layer.to_string(), head.to_string())
            });
        Mark {
            says,
            row: csv::line([
                &place.name,
                &layer,
                &head,
                &csv::number(Some(place.x)),
                &csv::number(Some(place.y)),
                kind,
            ]),
            head: place.head,
        }
    }

    /// Where each kind stands in the legend: rows of (x, kind).
    fn legend_rows(&self, right: f64) -> Vec<Vec<(f64, usize)>> {
        let mut rows: Vec<Vec<(f64, usize)>> = Vec::new();
        if self.kinds.len() < 2 {
            return rows;
        }
        let mut x = f64::INFINITY;
        for (kind, name) in self.kinds.iter().enumerate() {
            if !self.places.iter().any(|place| place.kind == kind) {
                continue;
            }
            let needed = 18.0 + width(name, SMALL) + 16.0;
            if x + needed > right {
                rows.push(Vec::new());
                x = 20.0;
            }
            if let Some(row) = rows.last_mut() {
                row.push((x, kind));
            }
            x += needed;
        }
        rows
    }

    fn legend(&self, svg: &mut Svg, rows: &[Vec<(f64, usize)>], top: f64) {
        for (at, row) in rows.iter().enumerate() {
            let y = top + at as f64 * 18.0 + 6.0;
            for (x, kind) in row {
                let style = Style::fill(Paint::Category(*kind));
                svg.path(&symbol(*kind, [*x, y], RADIUS), style, None);
                let name = self.kinds.get(*kind).map_or("", String::as_str);
                svg.text([x + 11.0, y + 3.5], SMALL, Paint::Ink, Anchor::Start, name);
            }
        }
    }
}

/// Names beside their points, where they cover neither a point nor another name.
fn labels<'p>(
    places: &'p [Place],
    centres: &[[f64; 2]],
    frame: [f64; 4],
) -> Vec<([f64; 2], &'p str)> {
    const TALL: f64 = 9.0;
    let mut taken: Vec<[f64; 4]> = centres
        .iter()
        .map(|[x, y]| [x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS])
        .collect();
    let mut found = Vec::new();
    for (place, [x, y]) in places.iter().zip(centres) {
        let wide = width(&place.name, 8.5);
        let spots = [
            [x + RADIUS + 2.5, y + 3.0],
            [x - RADIUS - 2.5 - wide, y + 3.0],
            [x - wide / 2.0, y - RADIUS - 3.0],
            [x - wide / 2.0, y + RADIUS + 9.0],
        ];
        let fits = spots.into_iter().find_map(|[left, base]| {
            let own = [left - 1.0, base - TALL + 1.0, left + wide + 1.0, base + 1.5];
            let inside =
                own[0] > frame[0] && own[1] > frame[1] && own[2] < frame[2] && own[3] < frame[3];
            let free = taken.iter().all(|other| {
                own[2] <= other[0] || own[0] >= other[2] || own[3] <= other[1] || own[1] >= other[3]
            });
            (inside && free).then_some((own, [left, base]))
        });
        if let Some((own, at)) = fits {
            taken.push(own);
            found.push((at, place.name.as_str()));
        }
    }
    found
}
