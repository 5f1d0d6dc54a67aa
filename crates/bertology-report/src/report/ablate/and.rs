//! The same removals on a second set of data.

use bertology_run::RunError;
use bertology_run::studies::removals::{AblationAndRow, AndResults, Correlation};
use bertology_run::table::Row as _;

use super::super::Parts;
use crate::document::Block;
use crate::figure::{Axis, Figure, Place, Room, Scatter};
use crate::number::significant;

/// A point a head, of the metric and of the loss.
pub(super) fn write(
    parts: &mut Parts<'_>,
    found: &AndResults,
    metric: &str,
) -> Result<(), RunError> {
    let Some(rows) = parts.run.rows::<AblationAndRow>()? else {
        parts.missing(
            AblationAndRow::FILE,
            "the changes on both data are not shown",
        );
        return Ok(());
    };
    let of = |name: &str, id: &str, of: &Correlation, pair: &dyn Fn(&AblationAndRow) -> Pair| {
        let places: Vec<Place> = rows.all.iter().filter_map(|row| place(row, pair)).collect();
        scatter(&places, name, id, of)
    };
    let mut figures = Vec::new();
    figures.extend(of(metric, "both-data", &found.change, &|row| {
        (row.change, row.change_and)
    }));
    if metric != "loss" {
        figures.extend(of("loss", "both-data-loss", &found.loss_change, &|row| {
            (row.loss_change, row.loss_change_and)
        }));
    }
    let said = Block::Paragraph(format!(
        "The same heads were left out on {}. Noise of either change pulls a correlation towards 0.",
        found.file
    ));
    if !figures.is_empty() {
        parts.add("On both data", vec![said, Block::Figures(figures)]);
    }
    Ok(())
}

type Pair = (Option<f64>, Option<f64>);

fn place(row: &AblationAndRow, pair: &dyn Fn(&AblationAndRow) -> Pair) -> Option<Place> {
    let (x, y) = pair(row);
    Some(Place {
        name: format!("L{}H{}", row.layer, row.head),
        x: x?,
        y: y?,
        kind: 0,
        head: Some((row.layer, row.head)),
    })
}

fn scatter(places: &[Place], name: &str, id: &str, found: &Correlation) -> Option<Figure> {
    if places.len() < 2 {
        return None;
    }
    let scatter = Scatter {
        places,
        kinds: &[String::new()],
        x: Axis::of(
            &format!("change of {name}, the data"),
            places.iter().map(|place| place.x),
        )
        .with_zero(),
        y: Axis::of(
            &format!("change of {name}, the second data"),
            places.iter().map(|place| place.y),
        )
        .with_zero(),
        map: false,
        diagonal: true,
    };
    let number = |value: Option<f64>| value.map_or_else(|| "–".into(), |v| significant(v, 3));
    let interval = found
        .pearson_interval
        .map_or_else(String::new, |(low, high)| {
            let (low, high) = (significant(low, 2), significant(high, 2));
            format!(" (95 % {low} to {high}, p {})", number(found.pearson_p_value))
        });
    let caption = format!(
        "Over {} heads Pearson r {}{interval}, Spearman ρ {} (p {}); on the dashed line both changes are the same. \
         Michel, Levy and Neubig (2019) found r 0.68 between MNLI's two sets.",
        found.heads,
        number(found.pearson),
        number(found.spearman),
        number(found.spearman_p_value)
    );
    let figure = scatter.draw();
    let title = format!("Change of {name} without each head on both data");
    Some(figure.named(id, title, caption).takes(Room::Wide))
}
