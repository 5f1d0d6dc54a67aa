//! What is said at the end.

use bertology::attention::cat::{CatScores, CatState, LayerScores, Measure};

use crate::show::text::{count, percent, plural};

/// Heads named.
const NAMED: usize = 5;

/// A row a layer, what it means, and the best heads.
pub(super) fn text(scores: &CatScores, random: &[CatScores]) -> String {
    let mut lines = vec![
        "CAT-score of every layer (mean over its heads; layers and heads counted from 0), and its controls".to_owned(),
        format!(
            "{:>5}  {:>6}  {:>13}  {:>6}  {:>8}  {:>8}  {:>8}  {:>6}  {:>6}  {:>6}  {:>7}",
            "layer", "CAT", "95 %", "micro", "1/(1+d)", "offsets", "linear", "perm.", "random", "rho", "partial"
        ),
    ];
    lines.extend(scores.layers.iter().map(|layer| row(layer, random)));
    lines.push(String::new());
    lines.push(verdict(scores));
    if let Some(best) = best_heads(scores) {
        lines.push(best);
    }
    lines.join("\n")
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}

fn row(layer: &LayerScores, random: &[CatScores]) -> String {
    let mean = |measure: Measure| layer.mean(measure).map(|mean| mean.value);
    let interval = layer.mean(Measure::Cat).and_then(|mean| mean.interval);
    let interval = interval.map_or_else(
        || "-".to_owned(),
        |[low, high]| format!("{low:.3} - {high:.3}"),
    );
    let of_random = random
        .iter()
        .filter_map(|scores| scores.layers.get(layer.layer)?.mean(Measure::Cat));
    let values: Vec<f64> = of_random.map(|mean| mean.value).collect();
    let untrained = (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
    format!(
        "{:>5}  {:>6}  {interval:>13}  {:>6}  {:>8}  {:>8}  {:>8}  {:>6}  {:>6}  {:>6}  {:>7}{}",
        layer.layer,
        number(mean(Measure::Cat)),
        number(layer.micro),
        number(mean(Measure::Offset)),
        number(mean(Measure::MeanByOffset)),
        number(mean(Measure::Linear)),
        number(mean(Measure::Permuted)),
        number(untrained),
        number(mean(Measure::Rho)),
        number(mean(Measure::PartialRho)),
        if layer.attends_to_structure() { "  *" } else { "" }
    )
}

fn verdict(scores: &CatScores) -> String {
    let attending = scores.layers.iter().filter(|layer| layer.attends_to_structure());
    let names: Vec<String> = attending.map(|layer| layer.layer.to_string()).collect();
    match &names[..] {
        [] => "No layer's score is above all controls that know positions alone (1/(1+d), offsets, linear): nothing here says \
               that the model attends to structure."
            .to_owned(),
        [one] => format!("* Layer {one} attends to structure: its score is above all controls that know positions alone."),
        many => format!(
            "* Layers {} attend to structure: their scores are above all controls that know positions alone.",
            many.join(", ")
        ),
    }
}

/// Heads with the strongest correlation that position does not explain.
fn best_heads(scores: &CatScores) -> Option<String> {
    let heads = &scores.heads;
    let mut all: Vec<_> = heads.partial_rho.iter().collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    let named = all.iter().take(NAMED).map(|(id, rho)| {
        format!("L{}H{} {rho:.3} (CAT {})", id.layer, id.head, number(heads.cat.get(*id)))
    });
    let named: Vec<String> = named.collect();
    (!named.is_empty()).then(|| {
        format!(
            "Heads by rank correlation with closeness, position held fast: {}",
            named.join(", ")
        )
    })
}

/// Why functions have no score.
pub(super) fn left_out(state: &CatState) -> Option<String> {
    let counts = state.counts();
    let all = [
        (counts.with_errors, "not of their language"),
        (counts.too_few_leaves, "with too few leaves (--min-leaves)"),
        (counts.too_long, "too long"),
        (counts.not_parsed, "not parsed, too large or too far from any program"),
        (counts.empty, "empty"),
    ];
    let some = all.into_iter().filter(|(number, _)| *number > 0);
    let some: Vec<String> = some
        .map(|(number, why)| format!("{} left out, {why}", plural(number, "function")))
        .collect();
    (!some.is_empty()).then(|| some.join("; "))
}

/// What was studied, and what was not.
pub(super) fn account(state: &CatState, scores: &CatScores, held_out: Option<u64>) -> String {
    let (counts, alignment) = (state.counts(), state.alignment());
    let leaves = if scores.leaves == 1 { "leaf" } else { "leaves" };
    let mut text = format!(
        "{} with {} {leaves} and {}",
        plural(counts.sequences, "function"),
        count(scores.leaves),
        plural(counts.tokens, "token"),
    );
    if counts.cut > 0 {
        text.push_str(&format!(
            "; {} cut to the model's length ({})",
            plural(counts.cut, "function"),
            plural(counts.tokens_cut, "token")
        ));
    }
    if let Some(left_out) = left_out(state) {
        text.push_str("; ");
        text.push_str(&left_out);
    }
    if let Some(held_out) = held_out {
        text.push_str(&format!(
            "; {} held out to choose kinds on, not scored",
            plural(held_out, "function")
        ));
    }
    let share = |part: u64, whole: u64| percent(part, whole.max(1));
    text.push_str(&format!(
        "\n{} of the tokens are in no leaf, {} in several; {} of {} leaves share a token",
        share(alignment.in_no_leaf, alignment.tokens),
        share(alignment.in_several, alignment.tokens),
        share(alignment.sharing, alignment.leaves),
        count(alignment.leaves),
    ));
    text
}
