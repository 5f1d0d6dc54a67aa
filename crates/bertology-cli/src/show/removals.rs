//! What the removal of each head does: a heat map, and the heads that are missed most and least.

use bertology::ablation::WithoutHead;
use bertology::evaluate::LOSS;
use bertology::masking::{Direction, Metric};

use super::Screen;
use super::heat::Grid;
use crate::study::times;
use crate::tables::{Removals, cells};

/// Heads in each of the two lists.
const LISTED: usize = 6;
/// Below this, a p-value is called small.
const SMALL: f64 = 0.05;

/// Heat map, table, the heads whose removal hurts and helps most.
pub(crate) fn removals_text(removals: Removals<'_>, metric: &Metric, screen: &Screen) -> String {
    let titles = [
        "Each head removed alone, 9 hurts most, 0 helps most or hurts least\n(layers and heads counted from 0; . not \
         removed)",
        "without the head",
    ];
    let mut parts = maps(removals, metric, titles, screen);
    parts.extend(lists(removals, metric));
    parts.join("\n\n")
}

/// How much each head hurts as digits, then the change of the metric as numbers. The first title is whole, the second stands
/// behind the metric's name.
pub(super) fn maps(
    removals: Removals<'_>,
    metric: &Metric,
    [harms, change]: [&str; 2],
    screen: &Screen,
) -> Vec<String> {
    let changes = cells(removals.change);
    let harm: Vec<Option<f64>> = changes
        .iter()
        .map(|value| value.map(|value| harm(value, metric.direction)))
        .collect();
    let heads = removals.change.heads();
    let grid = Grid::new(&changes, heads);
    let hurts = match metric.direction {
        Direction::Higher => "negative",
        Direction::Lower => "positive",
    };
    vec![
        format!("{harms}\n{}", Grid::new(&harm, heads).strip(screen.color())),
        format!(
            "Change of {} {change}{}; {hurts} hurts\n{}",
            metric.name,
            times(grid),
            grid.table()
        ),
    ]
}

/// The change, turned so that more is worse.
fn harm(change: f64, direction: Direction) -> f64 {
    match direction {
        // Not the negative of it, for which nothing would be -0.
        Direction::Higher => 0.0 - change,
        Direction::Lower => change,
    }
}

fn lists(removals: Removals<'_>, metric: &Metric) -> Vec<String> {
    let mut ranked: Vec<(f64, &WithoutHead)> = removals
        .found
        .without
        .iter()
        .filter_map(|without| {
            let change = removals.change.get(without.head)?;
            Some((harm(change, metric.direction), without))
        })
        .filter(|(harm, _)| !harm.is_nan())
        .collect();
    // The worst first; where the metric cannot tell them apart, by the loss.
    ranked.sort_by(|(a, x), (b, y)| {
        let by_loss = || y.loss_change.total_cmp(&x.loss_change);
        b.total_cmp(a).then_with(by_loss)
    });
    let verdict = |(harm, without): &&(f64, &WithoutHead)| match *harm {
        0.0 => without.loss_change,
        harm => harm,
    };
    let row = |(_, without): &(f64, &WithoutHead)| row(removals, metric, without);
    let worst = ranked.iter().filter(|entry| verdict(entry) > 0.0);
    let best = ranked.iter().rev().filter(|entry| verdict(entry) < 0.0);
    let worst: Vec<String> = worst.take(LISTED).map(row).collect();
    let best: Vec<String> = best.take(LISTED).map(row).collect();
    let mut lists = Vec::new();
    for (title, rows) in [("Removal hurts most", worst), ("Removal helps most", best)] {
        if !rows.is_empty() {
            let head = header(removals, metric);
            lists.push(format!("{title}\n{head}\n{}", rows.join("\n")));
        }
    }
    if removals.classes && !lists.is_empty() {
        lists.push(legend(removals));
    }
    lists
}

fn header(removals: Removals<'_>, metric: &Metric) -> String {
    let mut text = format!("  {:<7}", "head");
    if metric.name != LOSS {
        text.push_str(&format!("  {:>10}   change", short(&metric.name)));
    }
    text.push_str(&format!("  {:>8}   change ± s.e. ", LOSS));
    if removals.classes {
        text.push_str("   lost   won      p");
    }
    text.truncate(text.trim_end().len());
    text
}

fn row(removals: Removals<'_>, metric: &Metric, without: &WithoutHead) -> String {
    let mut text = format!("  {:<7}", without.head.to_string());
    let paired = without.paired;
    if metric.name != LOSS {
        let value = without.evaluation.metrics.get(&metric.name);
        text.push_str(&format!(
            "  {:>10.4}  {:>+7.4}",
            value.unwrap_or(f64::NAN),
            removals.change.get(without.head).unwrap_or(f64::NAN)
        ));
    }
    text.push_str(&format!(
        "  {:>8.4}  {:>+7.4} ± {:.4}",
        without.evaluation.loss, without.loss_change, paired.loss_standard_error
    ));
    if removals.classes {
        text.push_str(&format!(
            "  {:>5} {:>5}  {:>5}",
            paired.right_to_wrong,
            paired.wrong_to_right,
            p_value(paired.p_value())
        ));
    }
    text
}

/// A long name would push the columns apart.
pub(super) fn short(name: &str) -> &str {
    match name {
        "pseudo_perplexity" => "pseudo_ppl",
        "bits_per_byte" => "bits/byte",
        name => name,
    }
}

pub(crate) fn p_value(p: f64) -> String {
    if p >= 0.001 {
        format!("{p:.3}")
    } else {
        format!("{p:.0e}")
    }
}

fn legend(removals: Removals<'_>) -> String {
    let all = removals.found.without.len();
    let small = removals.found.without.iter();
    let small = small.filter(|without| without.paired.p_value() < SMALL);
    format!(
        "  lost: right with the head, wrong without; won: the reverse; p: exact sign\n  test of \
         the two. p is below {SMALL} for {} of {all} heads; chance alone makes up\n  to {:.1} so.",
        small.count(),
        SMALL * all as f64
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_short() {
        assert_eq!(p_value(1.0), "1.000");
        assert_eq!(p_value(0.0213), "0.021");
        assert_eq!(p_value(7.6e-6), "8e-6");
        assert_eq!(p_value(0.0), "0e0");
    }

    #[test]
    fn harm_is_turned_and_has_no_negative_zero() {
        assert_eq!(harm(-0.25, Direction::Higher), 0.25);
        assert_eq!(harm(-0.25, Direction::Lower), -0.25);
        assert!(harm(0.0, Direction::Higher).is_sign_positive());
    }
}
