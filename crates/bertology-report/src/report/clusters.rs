//! `bertology cluster`.

use bertology_run::studies::cluster::{ClusterResults, ClusterRow, DISTANCES};
use bertology_run::table::Row as _;
use bertology_run::{HeadColumn, Rows, Run, RunError};

use super::{Page, Parts, heat};
use crate::document::{Block, Cell, Column, Row, Table};
use crate::figure::{Axis, Figure, Heat, Place, Room, Scale, Scatter};
use crate::number::{short, significant};
use crate::quantities;

pub(super) const PAGES: &[Page] = &[Page {
    command: "cluster",
    title: "Heads alike",
    write,
    quantities: quantities::clusters,
}];

fn write(parts: &mut Parts<'_>) -> Result<(), RunError> {
    parts.headline();
    let Some(rows) = Rows::of_clusters(parts.run)? else {
        parts.missing(ClusterRow::FILE, "map and clusters are not shown");
        return Ok(());
    };
    let results: ClusterResults = parts.run.results()?;
    let places = places(&rows.all);
    let most = places.iter().map(|place| place.kind + 1).max().unwrap_or(0);
    let kinds: Vec<String> = (0..most).map(|kind| format!("cluster {kind}")).collect();
    let mut map = map(&places, &kinds, "map-of-heads", "Map of heads, by cluster");
    if let Some(stress) = results.map.and_then(|map| map.relative_stress) {
        map.caption.push_str(&format!(
            " Relative stress {}: so much of the distances no plane can show.",
            significant(stress, 3)
        ));
    }
    parts.add("Map", vec![Block::Figures(vec![map])]);
    let mut figures = Vec::new();
    if let Some(quantity) = parts.quantity("silhouette") {
        let mut map = heat(quantity);
        map.title = "Silhouette of each head".into();
        map.caption =
            "1: well inside its cluster; 0: on the border; below 0: nearer to another.".into();
        figures.push(map);
    }
    match layer_distances(parts.run, results.tokens, &places)? {
        Some(figure) => figures.push(figure),
        None => parts.missing(DISTANCES, "distances between layers are not shown"),
    }
    parts.add("Distances", vec![Block::Figures(figures)]);
    parts.add("Clusters", vec![Block::Table(members(&places, parts))]);
    parts.heads_table("", "Silhouettes are those of the clusters.");
    Ok(())
}

/// The heads on the plane; their kind is their cluster.
pub(crate) fn places(rows: &[ClusterRow]) -> Vec<Place> {
    let known = rows
        .iter()
        .filter(|row| row.x.is_finite() && row.y.is_finite());
    let places = known.map(|row| Place {
        name: format!("L{}H{}", row.layer, row.head),
        x: row.x,
        y: row.y,
        kind: row.cluster,
        head: Some((row.layer, row.head)),
    });
    places.collect()
}

/// Heads that look at the same things lie close together.
pub(crate) fn map(places: &[Place], kinds: &[String], id: &str, title: &str) -> Figure {
    let scatter = Scatter {
        places,
        kinds,
        x: Axis::of("x", places.iter().map(|place| place.x)),
        y: Axis::of("y", places.iter().map(|place| place.y)),
        map: true,
        diagonal: false,
    };
    let caption = "Heads that attend alike lie close together; only distances mean something, directions do not.";
    scatter.draw().named(id, title, caption).takes(Room::Wide)
}

/// Mean divergence of a token between the heads of two layers.
fn layer_distances(run: &Run, tokens: u64, places: &[Place]) -> Result<Option<Figure>, RunError> {
    let count = places.len();
    let Some(distances) = run.shaped(DISTANCES, &[count, count])? else {
        return Ok(None);
    };
    let tokens = tokens.max(1) as f64;
    let layers = run.model().layers;
    let mut sums = vec![(0.0, 0_u32); layers * layers];
    for (a, place) in places.iter().enumerate() {
        for (b, other) in places.iter().enumerate() {
            let (Some((from, _)), Some((to, _))) = (place.head, other.head) else {
                continue;
            };
            // A head is no distance from itself, which says nothing of its layer.
            if a != b && from < layers && to < layers {
                let (sum, pairs) = &mut sums[from * layers + to];
                *sum += distances[a * count + b];
                *pairs += 1;
            }
        }
    }
    let values = HeadColumn {
        layers,
        heads: layers,
        values: sums
            .into_iter()
            .map(|(sum, pairs)| (pairs > 0).then(|| sum / f64::from(pairs) / tokens))
            .collect(),
    };
    let mut heat = Heat::new(&values, "mean divergence", "nats a token", Scale::Range);
    heat.axes = ["layer", "other layer"];
    heat.absent = "no two heads";
    let figure = heat.draw().named(
        "distances-of-layers",
        "Distances between layers",
        "Mean Jensen-Shannon divergence of the attention of two heads, one of each layer.",
    );
    Ok(Some(figure))
}

fn members(places: &[Place], parts: &Parts<'_>) -> Table {
    let silhouettes = parts.quantity("silhouette");
    let most = places.iter().map(|place| place.kind + 1).max().unwrap_or(0);
    let rows = (0..most).map(|kind| {
        let heads: Vec<&Place> = places.iter().filter(|place| place.kind == kind).collect();
        let known: Vec<f64> = heads
            .iter()
            .filter_map(|place| {
                let (layer, head) = place.head?;
                silhouettes?.values.get(layer, head)
            })
            .collect();
        let mean = (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64);
        let names: Vec<&str> = heads.iter().map(|place| place.name.as_str()).collect();
        Row {
            cells: vec![
                Cell::whole(kind),
                Cell::whole(heads.len()),
                Cell::number(mean, short),
                Cell::text(names.join(" ")),
            ],
            head: None,
        }
    });
    Table {
        id: "clusters".into(),
        title: "Clusters and their heads".into(),
        caption: String::new(),
        columns: vec![
            Column::number("cluster"),
            Column::number("heads"),
            Column::number("mean silhouette"),
            Column::text("which"),
        ],
        rows: rows.collect(),
        ..Table::default()
    }
}
