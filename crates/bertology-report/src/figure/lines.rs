//! Lines against layers, steps and the like, each with its name at its end.

use super::measure::width;
use super::palette::Paint;
use super::svg::{Anchor, Mark, Style, Svg, dash, symbol};
use super::{Axis, Figure, SMALL, TEXT, apart};
use crate::csv;
use crate::number;

/// A number at a place, with what is not sure about it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
}

impl Point {
    pub(crate) fn new(x: f64, y: f64) -> Self {
        Self {
            x,
            y,
            low: None,
            high: None,
        }
    }
}

/// A line.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<Point>,
    /// A level with nothing measured on it: no symbols, no colour.
    pub(crate) reference: bool,
}

/// One place that is pointed out.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) text: String,
}

/// What is drawn.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) series: Vec<Series>,
    pub(crate) chosen: Option<Chosen>,
    /// x runs from right to left, as heads left do while they grow fewer.
    pub(crate) falling: bool,
}

const HEIGHT: f64 = 230.0;
/// All line figures are of one width, so that those in a row are of one height.
const WIDTH: f64 = 408.0;

/// How lines are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kinds {
    /// By colours that say nothing.
    Apart,
    /// By one colour that grows from the first of so many to the last.
    InOrder(usize),
}

impl Kinds {
    fn paint(self, kind: usize) -> Paint {
        // The pale end of the scale does not stand out from paper.
        const LEAST: f64 = 0.32;
        match self {
            Self::Apart => Paint::Category(kind),
            Self::InOrder(all) => {
                let share = (kind + 1) as f64 / all.max(1) as f64;
                Paint::magnitude(LEAST + (1.0 - LEAST) * share)
            }
        }
    }

    fn dash(self, kind: usize) -> &'static str {
        match self {
            Self::Apart => dash(kind),
            Self::InOrder(_) => "",
        }
    }
}

impl Lines {
    pub(crate) fn draw(&self) -> Figure {
        self.draw_as(Kinds::Apart)
    }

    /// The same of lines that stand in an order, as those of a training do.
    pub(crate) fn draw_by_order(&self) -> Figure {
        let all = self.series.iter().filter(|series| !series.reference);
        self.draw_as(Kinds::InOrder(all.count()))
    }

    fn draw_as(&self, kinds: Kinds) -> Figure {
        let named = self.series.len() > 1 || self.series.iter().any(|series| series.reference);
        let names = self.series.iter().map(|series| width(&series.name, SMALL));
        let right = if named {
            names.fold(0.0, f64::max) + 22.0
        } else {
            18.0
        };
        let left = self.y.label_width(5) + 32.0;
        let plot = (WIDTH - left - right).max(200.0);
        let top = if self.chosen.is_some() { 20.0 } else { 14.0 };
        let frame = [left, top, left + plot, top + HEIGHT];
        let mut svg = Svg::new(left + plot + right, frame[3] + 44.0);
        self.y.draw_upright(&mut svg, frame, 5);
        self.draw_x(&mut svg, frame);
        let place = |x: f64, y: f64| {
            let share = self.x.share(x);
            let share = if self.falling { 1.0 - share } else { share };
            [frame[0] + share * plot, frame[3] - self.y.share(y) * HEIGHT]
        };
        let mut ends = Vec::new();
        let mut kind = 0;
        for series in &self.series {
            if series.reference {
                self.reference(&mut svg, series, place);
            } else {
                self.line(&mut svg, series, (kinds, kind), place);
            }
            if let Some(last) = series.points.last() {
                ends.push((place(last.x, last.y)[1], series, kind));
            }
            kind += usize::from(!series.reference);
        }
        if let Some(chosen) = &self.chosen {
            point_out(&mut svg, chosen, frame, place(chosen.x, chosen.y));
        }
        if named {
            let wanted: Vec<f64> = ends.iter().map(|(y, ..)| *y).collect();
            let places = apart(&wanted, 13.0, frame[1] + 2.0, frame[3]);
            for (y, (_, series, kind)) in places.into_iter().zip(&ends) {
                let paint = if series.reference {
                    Paint::Muted
                } else {
                    kinds.paint(*kind)
                };
                let at = [frame[2] + 14.0, y + 3.5];
                svg.text(at, SMALL, paint, Anchor::Start, &series.name);
            }
        }
        Figure::new(&["series", &self.x.name, &self.y.name, "low", "high"], svg)
    }

    fn draw_x(&self, svg: &mut Svg, frame: [f64; 4]) {
        if self.falling {
            for (value, label) in self.x.ticks(7) {
                let x = frame[2] - self.x.share(value) * (frame[2] - frame[0]);
                svg.line(
                    [x, frame[3]],
                    [x, frame[3] + 4.0],
                    Style::stroke(Paint::Axis, 1.0),
                );
                svg.text(
                    [x, frame[3] + 16.0],
                    SMALL,
                    Paint::Muted,
                    Anchor::Middle,
                    &label,
                );
            }
            let at = [f64::midpoint(frame[0], frame[2]), frame[3] + 33.0];
            svg.text(at, TEXT, Paint::Ink, Anchor::Middle, &self.x.name);
        } else {
            self.x.draw_level(svg, frame, 12, false);
        }
        let axis = Style::stroke(Paint::Axis, 1.0);
        svg.line([frame[0], frame[3]], [frame[2], frame[3]], axis);
    }

    fn reference(&self, svg: &mut Svg, series: &Series, place: impl Fn(f64, f64) -> [f64; 2]) {
        let style = Style::stroke(Paint::Muted, 1.2).dashed("4 4");
        for pair in series.points.windows(2) {
            let [a, b] = [pair[0], pair[1]].map(|point| place(point.x, point.y));
            svg.line(a, b, style);
        }
    }

    fn line(
        &self,
        svg: &mut Svg,
        series: &Series,
        (kinds, kind): (Kinds, usize),
        place: impl Fn(f64, f64) -> [f64; 2],
    ) {
        let paint = kinds.paint(kind);
        for point in &series.points {
            if let (Some(low), Some(high)) = (point.low, point.high) {
                let style = Style::stroke(paint, 1.0).faint(0.6);
                svg.line(place(point.x, low), place(point.x, high), style);
            }
        }
        let mut path = String::new();
        for (at, point) in series.points.iter().enumerate() {
            let [x, y] = place(point.x, point.y);
            let letter = if at == 0 { 'M' } else { 'L' };
            path.push_str(&format!("{letter}{x:.2} {y:.2}"));
        }
        svg.path(
            &path,
            Style::stroke(paint, 1.8).dashed(kinds.dash(kind)),
            None,
        );
        let radius = if series.points.len() > 40 { 2.4 } else { 3.4 };
        for point in &series.points {
            let mark = Mark {
                says: self.says(series, point),
                row: csv::line([
                    series.name.clone(),
                    csv::number(Some(point.x)),
                    csv::number(Some(point.y)),
                    csv::number(point.low),
                    csv::number(point.high),
                ]),
                head: None,
            };
            let path = symbol(kind, place(point.x, point.y), radius);
            let style = Style::fill(paint).outlined(Paint::Surface, 1.0);
            svg.path(&path, style, Some(&mark));
        }
    }

    fn says(&self, series: &Series, point: &Point) -> String {
        let mut says = format!(
            "{}, {} {}: {}",
            series.name,
            self.x.name,
            number::minus(&point.x.to_string()),
            number::read_out(point.y)
        );
        if let (Some(low), Some(high)) = (point.low, point.high) {
            says.push_str(&format!(
                " ({} to {})",
                number::short(low),
                number::short(high)
            ));
        }
        says
    }
}

/// A ring, a line up to the edge, and a text above it, where neither curves nor other names are.
fn point_out(svg: &mut Svg, chosen: &Chosen, frame: [f64; 4], [x, y]: [f64; 2]) {
    let style = Style::stroke(Paint::Warm, 1.2).dashed("2 3");
    svg.line([x, frame[1]], [x, y - 8.0], style);
    svg.circle([x, y], 7.5, Style::stroke(Paint::Warm, 2.0), None);
    let half = width(&chosen.text, SMALL) / 2.0;
    let at = x.clamp(frame[0] + half, (frame[2] - half).max(frame[0] + half));
    let above = [at, frame[1] - 4.0];
    svg.text(above, SMALL, Paint::Warm, Anchor::Middle, &chosen.text);
}
