//! Heads on a plane and in clusters, on at most 80 columns.

use std::fmt::Write;

use bertology::attention::cluster::{Clusters, Layout};
use bertology::{HeadId, HeadSet};

/// Columns that every terminal has.
const COLUMNS: usize = 80;
/// Columns before the members of a cluster.
const INDENT: usize = 28;
/// Columns of the map.
const WIDTH: usize = 72;
/// Rows of the map, at the least and at the most; a row is as high as two columns are wide.
const HEIGHT: (usize, usize) = (6, 24);
/// A cluster's sign; those behind share the last.
const SIGNS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz#";
/// Where heads of several clusters share a place.
pub(crate) const MIXED: u8 = b'*';

/// Every cluster: its size, mean silhouette and members.
pub(crate) fn table(heads: &[HeadId], clusters: &Clusters) -> String {
    let mut text = String::from("  cluster  heads  silhouette  members (layer:heads)");
    for (label, members) in clusters.members().iter().enumerate() {
        let sum: f64 = members.iter().map(|at| clusters.silhouettes[*at]).sum();
        let _ = write!(
            text,
            "\n  {:<7}  {:>5}  {:>10.2}",
            char::from(sign(label)),
            members.len(),
            sum / members.len() as f64
        );
        let set: HeadSet = members
            .iter()
            .map(|at| (heads[*at].layer, heads[*at].head))
            .collect();
        let mut at = INDENT;
        for item in set.to_string().split(' ') {
            if at + 1 + item.len() > COLUMNS {
                let _ = write!(text, "\n{:INDENT$}", "");
                at = INDENT;
            }
            let _ = write!(text, " {item}");
            at += 1 + item.len();
        }
    }
    text
}

/// Each head as the sign of its cluster, where the map has it.
pub(crate) fn map(layout: &Layout, clusters: &Clusters) -> String {
    let axis = |axis: usize| layout.points.iter().map(move |point| point[axis]);
    let range = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        })
    };
    let (left, right) = range(&mut axis(0));
    let (bottom, top) = range(&mut axis(1));
    // One unit for both axes.
    let unit = ((right - left) / (WIDTH - 1) as f64)
        .max((top - bottom) / (2 * (HEIGHT.1 - 1)) as f64)
        .max(f64::MIN_POSITIVE);
    let height = (((top - bottom) / (2.0 * unit)).round() as usize + 1).clamp(HEIGHT.0, HEIGHT.1);
    let middle = ((left + right) / 2.0, (bottom + top) / 2.0);
    let mut rows = vec![vec![b' '; WIDTH]; height];
    for (&[x, y], &label) in layout.points.iter().zip(&clusters.labels) {
        let column = (x - middle.0) / unit + (WIDTH - 1) as f64 / 2.0;
        let row = (height - 1) as f64 / 2.0 - (y - middle.1) / (2.0 * unit);
        let place = &mut rows[(row.round() as usize).min(height - 1)]
            [(column.round() as usize).min(WIDTH - 1)];
        *place = match *place {
            b' ' => sign(label),
            there if there == sign(label) => there,
            _ => MIXED,
        };
    }
    let line = "-".repeat(WIDTH);
    let rows: Vec<String> = rows
        .iter()
        .map(|row| format!("  |{}|", String::from_utf8_lossy(row)))
        .collect();
    format!("  +{line}+\n{}\n  +{line}+", rows.join("\n"))
}

fn sign(label: usize) -> u8 {
    SIGNS[label.min(SIGNS.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(labels: Vec<usize>, points: Vec<[f64; 2]>) -> (Vec<HeadId>, Clusters, Layout) {
        let heads = (0..labels.len()).map(|at| HeadId {
            layer: at / 4,
            head: at % 4,
        });
        let clusters = Clusters {
            count: labels.iter().max().map_or(0, |last| last + 1),
            silhouettes: vec![0.5; labels.len()],
            labels,
            tried: Vec::new(),
        };
        let layout = Layout {
            points,
            stress: 0.0,
            relative_stress: 0.0,
            descents: Vec::new(),
        };
        (heads.collect(), clusters, layout)
    }

    #[test]
    fn clusters_are_listed_with_their_heads() {
        let (heads, clusters, _) = sample(vec![0, 0, 0, 1, 0, 1, 0, 2], vec![]);
        assert_eq!(
            table(&heads, &clusters),
            "  cluster  heads  silhouette  members (layer:heads)\n\
             \x20 0            5        0.50 0:0-2 1:0,2\n\
             \x20 1            2        0.50 0:3 1:1\n\
             \x20 2            1        0.50 1:3"
        );
        let (heads, clusters, _) = sample((0..600).map(|at| at % 5 / 4).collect(), vec![]);
        for line in table(&heads, &clusters).lines() {
            assert!(line.len() <= COLUMNS, "{line}");
        }
    }

    #[test]
    fn heads_stand_where_the_map_has_them() {
        let corners = vec![
            [-1.0, -0.5],
            [1.0, 0.5],
            [1.0, 0.5],
            [-1.0, 0.5],
            [0.0, 0.0],
        ];
        let (_, clusters, layout) = sample(vec![0, 0, 1, 2, 50], corners);
        let text = map(&layout, &clusters);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().all(|line| line.len() <= COLUMNS), "{text}");
        let last = lines.len() - 2;
        assert!(
            lines[1].starts_with("  |2") && lines[1].ends_with("*|"),
            "{text}"
        );
        assert!(lines[last].starts_with("  |0"), "{text}");
        assert!(lines[lines.len() / 2].contains('#'), "{text}");
        // In one place, or alone.
        for points in [vec![[0.0, 0.0]; 3], vec![[0.0, 0.0]]] {
            let (_, clusters, layout) = sample(vec![0; points.len()], points);
            assert_eq!(map(&layout, &clusters).matches('0').count(), 1);
        }
    }
}
