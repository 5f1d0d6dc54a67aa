//! A number per head: layers down, heads across.

use bertology_run::HeadColumn;

use std::fmt::Write;

use super::measure::{fitted, width};
use super::palette::{LEVELS, Paint};
use super::svg::{Anchor, Mark, Style, Svg};
use super::{Figure, SMALL, TEXT, ticks};
use crate::csv;
use crate::number;

/// How numbers become colours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scale {
    /// From the lowest to the highest number.
    Range,
    /// From 0 to the highest number, or between two that are given.
    Between(f64, f64),
    /// The middle is 0; both ends are as far as the farthest number.
    Signed,
    /// The same, with ends that are given.
    SignedTo(f64),
}

/// What is drawn.
#[derive(Debug, Clone)]
pub(crate) struct Heat<'a> {
    pub(crate) values: &'a HeadColumn,
    /// The name of the number, as in `importance`.
    pub(crate) name: &'a str,
    /// Its unit, or nothing.
    pub(crate) unit: &'a str,
    pub(crate) scale: Scale,
    /// Why a head may have no number, as in `not computed`.
    pub(crate) absent: &'a str,
    /// What rows and columns are.
    pub(crate) axes: [&'a str; 2],
    /// Heads with a cross through them, and what that means.
    pub(crate) crossed: Option<(&'a [bool], &'a str)>,
    /// What stands at rows and columns in the place of their numbers.
    pub(crate) labels: Option<&'a [String]>,
}

/// Room for labels.
const LABEL: f64 = 84.0;

impl<'a> Heat<'a> {
    pub(crate) fn new(values: &'a HeadColumn, name: &'a str, unit: &'a str, scale: Scale) -> Self {
        Self {
            values,
            name,
            unit,
            scale,
            absent: "not there or not computed",
            axes: ["layer", "head"],
            crossed: None,
            labels: None,
        }
    }

    pub(crate) fn draw(&self) -> Figure {
        let (layers, heads) = (self.values.layers, self.values.heads);
        let cell = (340.0 / heads.max(1) as f64).clamp(13.0, 40.0);
        let tall = cell.min(380.0 / layers.max(1) as f64).clamp(13.0, 40.0);
        let labels = self.label_room();
        let (left, top) = (46.0 + labels, 8.0);
        let (wide, high) = (cell * heads as f64, tall * layers as f64);
        let needed = (left + wide + 14.0).max(self.legend_width() + labels);
        let mut svg = Svg::new(needed, top + high + labels + 92.0);
        let (low, limit) = self.limits();

        for layer in 0..layers {
            let y = top + layer as f64 * tall;
            let at = [left - 7.0, y + tall / 2.0 + 3.5];
            if let Some(label) = self.label(layer) {
                svg.text(at, SMALL, Paint::Muted, Anchor::End, &label);
            } else if layer % every(tall) == 0 {
                svg.text(at, SMALL, Paint::Muted, Anchor::End, &layer.to_string());
            }
            for head in 0..heads {
                let x = left + head as f64 * cell;
                self.cell(&mut svg, (layer, head), [x, y, cell, tall], (low, limit));
            }
        }
        for head in 0..heads {
            let x = left + (head as f64 + 0.5) * cell;
            if let Some(label) = self.label(head) {
                let at = [x + 3.5, top + high + 7.0];
                svg.turned(at, SMALL, Paint::Muted, Anchor::End, -90.0, &label);
            } else if head % every(cell) == 0 {
                let at = [x, top + high + 15.0];
                svg.text(at, SMALL, Paint::Muted, Anchor::Middle, &head.to_string());
            }
        }
        let high = high + labels;
        let below = [left + wide / 2.0, top + high + 31.0];
        svg.text(below, TEXT, Paint::Ink, Anchor::Middle, self.axes[1]);
        let beside = [15.0, top + (high - labels) / 2.0];
        svg.turned(
            beside,
            TEXT,
            Paint::Ink,
            Anchor::Middle,
            -90.0,
            self.axes[0],
        );
        self.legend(
            &mut svg,
            [left, top + high + 48.0],
            wide.clamp(110.0, 260.0),
            (low, limit),
        );

        let column = match self.unit {
            "" => self.name.to_owned(),
            unit => format!("{} ({unit})", self.name),
        };
        let mut columns = vec![self.axes[0], self.axes[1], &column];
        if let Some((_, meaning)) = self.crossed {
            columns.push(meaning);
        }
        let mut figure = Figure::new(&columns, svg);
        figure.sortable = heads > 1 && self.of_heads();
        figure
    }

    /// Room for the longest of them.
    fn label_room(&self) -> f64 {
        let labels = self.labels.unwrap_or_default().iter();
        let longest = labels.map(|label| width(label, SMALL)).fold(0.0, f64::max);
        if longest > 0.0 {
            (longest - 18.0).clamp(8.0, LABEL)
        } else {
            0.0
        }
    }

    /// What stands at a row or column.
    fn label(&self, at: usize) -> Option<String> {
        let label = self.labels?.get(at)?;
        Some(fitted(label, SMALL, self.label_room() + 22.0))
    }

    fn of_heads(&self) -> bool {
        self.axes == ["layer", "head"]
    }

    fn limits(&self) -> (f64, f64) {
        let known = || self.values.values.iter().flatten().copied();
        let low = known().fold(f64::INFINITY, f64::min);
        let high = known().fold(f64::NEG_INFINITY, f64::max);
        match self.scale {
            _ if low > high => (0.0, 1.0),
            Scale::Between(low, high) => (low, high),
            Scale::SignedTo(most) => (-most, most),
            Scale::Range if low == high => (low - 0.5, high + 0.5),
            Scale::Range => (low, high),
            Scale::Signed => {
                let most = low.abs().max(high.abs());
                let most = if most == 0.0 { 1.0 } else { most };
                (-most, most)
            }
        }
    }

    fn paint(&self, share: f64) -> Paint {
        match self.scale {
            Scale::Signed | Scale::SignedTo(_) => Paint::signed(share * 2.0 - 1.0),
            _ => Paint::magnitude(share),
        }
    }

    fn cell(&self, svg: &mut Svg, id: (usize, usize), place: [f64; 4], (low, high): (f64, f64)) {
        let [x, y, wide, tall] = place;
        let (layer, head) = id;
        let at = layer * self.values.heads + head;
        let value = self.values.get(layer, head);
        let crossed = self
            .crossed
            .filter(|(crossed, _)| crossed.get(at).copied().unwrap_or(false));
        let [down, across] = self.axes;
        let mut says = format!("{down} {layer}, {across} {head}: ");
        match value {
            Some(value) => says.push_str(&number::read_out(value)),
            None => says.push_str(self.absent),
        }
        if value.is_some() && !self.unit.is_empty() {
            let _ = write!(says, " {}", self.unit);
        }
        if let Some((_, meaning)) = crossed {
            let _ = write!(says, ", {meaning}");
        }
        let mut row = vec![layer.to_string(), head.to_string(), csv::number(value)];
        if self.crossed.is_some() {
            row.push(u8::from(crossed.is_some()).to_string());
        }
        let mark = Mark {
            says,
            row: csv::line(row),
            head: self.of_heads().then_some(id),
        };
        let gap = 1.5;
        let inner = [x + gap / 2.0, y + gap / 2.0, wide - gap, tall - gap];
        match value {
            Some(value) => {
                let paint = self.paint((value - low) / (high - low));
                svg.rect(inner, 2.0, Style::fill(paint), Some(&mark));
            }
            None => {
                let style = Style::fill(Paint::Surface).outlined(Paint::Line, 1.0);
                let [x, y, wide, tall] = inner;
                svg.rect(
                    [x + 0.5, y + 0.5, wide - 1.0, tall - 1.0],
                    2.0,
                    style,
                    Some(&mark),
                );
            }
        }
        if crossed.is_some() || value.is_none() {
            let [x, y, wide, tall] = inner;
            let r = wide.min(tall) * 0.17;
            let path = cross(x + wide / 2.0, y + tall / 2.0, r);
            // Pale on dark cells, grey on pale ones: what is crossed out should recede.
            let dark = value.is_some_and(|value| (value - low) / (high - low) > 0.45);
            let paint = if dark { Paint::Surface } else { Paint::Muted };
            svg.path(&path, Style::stroke(paint, 1.2), None);
        }
    }

    fn legend_text(&self) -> String {
        match self.unit {
            "" => self.name.to_owned(),
            unit => format!("{} ({unit})", self.name),
        }
    }

    fn legend_width(&self) -> f64 {
        let text = 46.0 + width(&self.legend_text(), TEXT) + 8.0;
        match self.crossed {
            None => text,
            Some((_, meaning)) => text + width(meaning, SMALL) + 40.0,
        }
    }

    fn legend(&self, svg: &mut Svg, [x, y]: [f64; 2], wide: f64, (low, high): (f64, f64)) {
        let text = self.legend_text();
        svg.text([x, y + 4.0], TEXT, Paint::Ink, Anchor::Start, &text);
        let step = wide / LEVELS as f64;
        for level in 0..LEVELS {
            let share = level as f64 / (LEVELS - 1) as f64;
            // A hair wider, so that no line shows between two.
            let place = [x + level as f64 * step, y + 10.0, step + 0.3, 9.0];
            svg.rect(place, 0.0, Style::fill(self.paint(share)), None);
        }
        for (value, label) in ticks(low, high, if wide < 160.0 { 3 } else { 4 }) {
            let at = x + (value - low) / (high - low) * wide;
            svg.line(
                [at, y + 19.0],
                [at, y + 22.5],
                Style::stroke(Paint::Axis, 1.0),
            );
            svg.text([at, y + 33.0], SMALL, Paint::Muted, Anchor::Middle, &label);
        }
        if let Some((_, meaning)) = self.crossed {
            let at = x + width(&text, TEXT) + 30.0;
            svg.path(
                &cross(at - 9.0, y, 4.0),
                Style::stroke(Paint::Muted, 1.2),
                None,
            );
            svg.text([at, y + 4.0], SMALL, Paint::Muted, Anchor::Start, meaning);
        }
    }
}

fn cross(x: f64, y: f64, r: f64) -> String {
    format!(
        "M{:.2} {:.2}l{d:.2} {d:.2}m0 -{d:.2}l-{d:.2} {d:.2}",
        x - r,
        y - r,
        d = r * 2.0
    )
}

/// Every how many rows or columns of this size there is room for a number.
fn every(size: f64) -> usize {
    if size >= 15.0 { 1 } else { 2 }
}
