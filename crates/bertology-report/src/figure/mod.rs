//! Figures as SVG: good enough for a paper on their own, and able to take a page's colours.
//!
//! A figure's file has concrete colours everywhere and real text, and needs neither styles nor scripts. Each
//! shape also bears the name of its colour as a class, by which a page repaints it; and each that stands for
//! a number bears that number as a sentence (`<title>`, which browsers show) and as a row of the figure's
//! table (`data-row`, CSV).

mod axis;
mod bars;
mod code_tree;
mod dots;
mod heat;
mod lines;
mod measure;
mod pairs;
mod palette;
mod scatter;
mod svg;

pub(crate) use axis::{Axis, ticks};
pub(crate) use bars::{Bar, Bars, Shape};
pub use code_tree::{CodeLeaf, CodeNode, CodeTree, MOST_LEAVES, MOST_LEVELS};
pub(crate) use dots::Dots;
pub(crate) use heat::{Heat, Scale};
pub(crate) use lines::{Chosen, Lines, Point, Series};
pub(crate) use pairs::Pairs;
pub(crate) use palette::page_css;
pub(crate) use scatter::{Place, Scatter};

use svg::Svg;

/// Size of ordinary text in a figure.
const TEXT: f64 = 11.0;
/// Size of numbers on axes.
const SMALL: f64 = 10.0;

/// How much room a figure takes among others on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// As the others.
    One,
    /// The whole width.
    Wide,
    /// The height of two.
    Tall,
}

/// One figure with what is said of it.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Name of its files, of letters, digits and dashes.
    pub(crate) id: String,
    /// What it shows.
    pub(crate) title: String,
    /// How it is read.
    pub(crate) caption: String,
    /// The names of the columns of its table, as a line of CSV.
    pub(crate) columns: String,
    svg: Svg,
    /// Whether the cells of its rows can be put in order.
    pub(crate) sortable: bool,
    /// How much room it takes among others.
    pub(crate) room: Room,
}

impl Figure {
    fn new(columns: &[&str], svg: Svg) -> Self {
        Self {
            id: String::new(),
            title: String::new(),
            caption: String::new(),
            columns: crate::csv::line(columns.iter().copied()),
            svg,
            sortable: false,
            room: Room::One,
        }
    }

    /// Gives it its names.
    pub(crate) fn named(
        mut self,
        id: &str,
        title: impl Into<String>,
        caption: impl Into<String>,
    ) -> Self {
        self.id = id.to_owned();
        self.title = title.into();
        self.caption = caption.into();
        self
    }

    pub(crate) fn takes(mut self, room: Room) -> Self {
        self.room = room;
        self
    }

    /// Name of its files, of letters, digits and dashes, without an ending.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it shows, in a few words.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The text of an SVG file.
    #[must_use]
    pub fn file(&self) -> String {
        self.svg.render(&self.title, true)
    }

    /// The element of a page.
    pub(crate) fn element(&self) -> String {
        self.svg.render(&self.title, false)
    }

    /// Its width on paper.
    pub(crate) fn width(&self) -> f64 {
        self.svg.width
    }
}

/// Puts texts of this height one below the other where they would overlap, each as near as can be to where it
/// wants to be, between two bounds.
fn apart(wanted: &[f64], height: f64, low: f64, high: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|a, b| wanted[*a].total_cmp(&wanted[*b]));
    // Runs of texts that touch, each about the middle of what its members want.
    let mut runs: Vec<(f64, Vec<usize>)> = Vec::new();
    let place = |members: &[usize]| {
        let mean = members.iter().map(|at| wanted[*at]).sum::<f64>() / members.len() as f64;
        let half = (members.len() - 1) as f64 * height / 2.0;
        (mean - half).min(high - 2.0 * half).max(low)
    };
    for at in order {
        let mut members = vec![at];
        let mut top = place(&members);
        while let Some((before, run)) = runs.last() {
            if before + run.len() as f64 * height <= top {
                break;
            }
            let mut joined = run.clone();
            joined.append(&mut members);
            members = joined;
            top = place(&members);
            runs.pop();
        }
        runs.push((top, members));
    }
    let mut places = vec![0.0; wanted.len()];
    for (top, members) in runs {
        for (row, at) in members.into_iter().enumerate() {
            places[at] = top + row as f64 * height;
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_overlap() {
        let places = apart(&[10.0, 11.0, 50.0, 12.0, 99.0], 10.0, 0.0, 100.0);
        assert_eq!(places, [1.0, 11.0, 50.0, 21.0, 99.0]);
        let mut places = apart(&[99.0, 100.0, 98.0, 97.0], 12.0, 0.0, 100.0);
        places.sort_by(f64::total_cmp);
        assert_eq!(places, [64.0, 76.0, 88.0, 100.0]);
        assert!(apart(&[], 10.0, 0.0, 1.0).is_empty());
    }
}
