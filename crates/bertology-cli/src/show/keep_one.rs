//! Each head as the only one of its layer: a heat map, and the best head of each layer.

use bertology::ablation::WithoutHead;
use bertology::evaluate::LOSS;
use bertology::masking::Metric;

use super::Screen;
use super::escape::name;
use super::removals::{maps, p_value, short};
use super::text::{plural, wrapped};
use crate::tables::Removals;

/// Columns of the text.
const WIDTH: usize = 78;

/// The best head of a layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Best<'a> {
    /// With it alone, on the data that are scored.
    pub(crate) found: &'a WithoutHead,
    /// On the data on which it was chosen.
    pub(crate) selection_score: Option<f64>,
    pub(crate) score: Option<f64>,
    pub(crate) change: Option<f64>,
    /// At 0.01.
    pub(crate) significant: bool,
}

/// Where the best heads were chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Choice<'a> {
    /// On the data that are scored.
    Scored,
    /// On others.
    Other {
        file: &'a str,
        examples: u64,
        unit: &'a str,
    },
}

/// Heat map, table, the best head of each layer.
pub(crate) fn keep_one_text(
    removals: Removals<'_>,
    metric: &Metric,
    best: &[Best<'_>],
    choice: Choice<'_>,
    screen: &Screen,
) -> String {
    let titles = [
        "Each head as the only one of its layer, 9 hurts most, 0 helps most or hurts\nleast (layers and heads counted from \
         0; . not tried)",
        "with the head alone",
    ];
    let mut parts = maps(removals, metric, titles, screen);
    let title = match choice {
        Choice::Scored => {
            "The best head of each layer, selected on the data it is scored on: the best \
             of many looks better than it is"
                .to_owned()
        }
        Choice::Other {
            file,
            examples,
            unit,
        } => format!(
            "The best head of each layer, selected on {} of {}, scored on the data",
            plural(examples, unit),
            name(file)
        ),
    };
    let mut table = format!("{}\n{}", wrapped(&title, WIDTH), header(removals, metric));
    for best in best {
        table.push('\n');
        table.push_str(&row(removals, metric, best));
    }
    parts.push(table);
    let count = best.iter().filter(|best| best.significant).count();
    let by = if removals.classes {
        "by the exact sign test of lost (right with all heads, wrong with one) and won (the reverse)"
    } else {
        "where the change of the loss is more than 2.58 standard errors"
    };
    let said = format!(
        "The change is significant at 0.01 for {count} of {}, {by}.",
        plural(best.len() as u64, "layer")
    );
    let said = wrapped(&said, WIDTH).replace('\n', "\n  ");
    parts.push(format!("  {said}"));
    parts.join("\n\n")
}

fn header(removals: Removals<'_>, metric: &Metric) -> String {
    let mut text = format!("  layer  head  {:>10}   change", short(&metric.name));
    text.push_str(match removals.classes {
        true => "   lost   won      p",
        false if metric.name == LOSS => "    s.e.",
        false => "    loss change ± s.e.",
    });
    text.push_str("   at 0.01");
    text
}

fn row(removals: Removals<'_>, metric: &Metric, best: &Best<'_>) -> String {
    let (head, paired) = (best.found.head, best.found.paired);
    let mut text = format!(
        "  {:<5}  {:<4}  {:>10.4}  {:>+7.4}",
        head.layer,
        head.head,
        best.score.unwrap_or(f64::NAN),
        best.change.unwrap_or(f64::NAN)
    );
    if removals.classes {
        text.push_str(&format!(
            "  {:>5} {:>5}  {:>5}",
            paired.right_to_wrong,
            paired.wrong_to_right,
            p_value(paired.p_value())
        ));
    } else if metric.name == LOSS {
        text.push_str(&format!("  {:.4}", paired.loss_standard_error));
    } else {
        let error = paired.loss_standard_error;
        text.push_str(&format!("   {:>+9.4} ± {error:.4}", best.found.loss_change));
    }
    text.push_str(&format!(
        "  {:>8}",
        if best.significant { "yes" } else { "no" }
    ));
    text
}
