//! What a run says of each head.

use std::collections::HashSet;

use bertology_run::registry::{
    ABLATION, ABLATION_LOSS, ENTROPY, IMPORTANCE, IMPORTANCE_RAW, MASK, PROBE_WEIGHTS, RANKS,
    RELATIONS, SYNTAX_HEADS,
};
use bertology_run::results::{AblateResults, Evaluation, Metrics, Summary, SyntaxAxes};
use bertology_run::rows::{BehaviourRow, CorefRow, PatternRow};
use bertology_run::studies::removals::{ABLATION_AND, KEEP_ONE_CHANGE};
use bertology_run::{HeadColumn, Rows, Run, RunError};

/// A number per head.
#[derive(Debug, Clone)]
pub(crate) struct Quantity {
    /// A name for files and columns, of small letters, digits and `_`.
    pub(crate) key: String,
    /// A name for people.
    pub(crate) name: String,
    /// Its unit, or nothing.
    pub(crate) unit: &'static str,
    /// Zero is its middle.
    pub(crate) signed: bool,
    pub(crate) values: HeadColumn,
}

impl Quantity {
    pub(crate) fn new(key: &str, name: &str, unit: &'static str, values: HeadColumn) -> Self {
        Self {
            key: key.to_owned(),
            name: name.to_owned(),
            unit,
            signed: false,
            values,
        }
    }

    pub(crate) fn signed(mut self) -> Self {
        self.signed = true;
        self
    }
}

pub(crate) fn importance(run: &Run, found: &mut Vec<Quantity>) -> Result<(), RunError> {
    // In these arrays a head without a score is 0; its rank says that it has none.
    let ranks = run.head_array(RANKS)?;
    let scored = |values: HeadColumn| match &ranks {
        Some(ranks) => values.keep(|at| ranks.values[at].is_some_and(|rank| rank >= 0.0)),
        None => values,
    };
    if let Some(values) = run.head_array(IMPORTANCE)? {
        found.push(Quantity::new(
            "importance",
            "importance",
            "",
            scored(values),
        ));
    }
    if let Some(values) = run.head_array(IMPORTANCE_RAW)? {
        found.push(Quantity::new(
            "importance_raw",
            "raw importance",
            "",
            scored(values),
        ));
    }
    if let Some(values) = run.head_array(ENTROPY)? {
        found.push(Quantity::new("entropy", "entropy", "nats", scored(values)));
    }
    Ok(())
}

pub(crate) fn ablation(run: &Run, found: &mut Vec<Quantity>) -> Result<(), RunError> {
    let metric = metric(run.results::<AblateResults>()?.metric);
    if let Some(values) = run.head_array(ABLATION)? {
        let name = format!("change of {metric}");
        found.push(Quantity::new("ablation_change", &name, "", values).signed());
    }
    if let Some(values) = run.head_array(ABLATION_LOSS)? {
        found.push(Quantity::new("ablation_loss", "change of loss", "nats", values).signed());
    }
    if let Some(values) = run.head_array(ABLATION_AND)? {
        let name = format!("change of {metric}, second data");
        found.push(Quantity::new("ablation_and_change", &name, "", values).signed());
    }
    if let Some(values) = run.head_array(KEEP_ONE_CHANGE)? {
        let name = format!("change of {metric}, alone in its layer");
        found.push(Quantity::new("keep_one_change", &name, "", values).signed());
    }
    Ok(())
}

pub(crate) fn masked(run: &Run, found: &mut Vec<Quantity>) -> Result<(), RunError> {
    if let Some(values) = run.head_array(MASK)? {
        found.push(Quantity::new("kept", "kept", "", values));
    }
    Ok(())
}

/// Names of the averages of attention patterns, for people.
fn pattern(key: &str) -> (String, &'static str) {
    let name = match key {
        "self" => "attention to itself",
        "next" => "attention to the next token",
        "previous" => "attention to the previous token",
        "sep" => "attention to [SEP]",
        "cls" => "attention to [CLS]",
        "first" => "attention to the first token",
        "punct" => "attention to punctuation",
        "sep_sep" => "attention of [SEP] to [SEP]",
        "rest_sep" => "attention of other tokens to [SEP]",
        "entropy" => return ("entropy".into(), "nats"),
        "entropy_first" => return ("entropy of the first row".into(), "nats"),
        "entropy_last" => return ("entropy of the last row".into(), "nats"),
        "entropy_normalized" => return ("entropy as a share of what is possible".into(), ""),
        other => return (other.replace('_', " "), ""),
    };
    (name.into(), "")
}

pub(crate) fn patterns(run: &Run, found: &mut Vec<Quantity>) -> Result<(), RunError> {
    let Some(rows) = run.rows::<PatternRow>()? else {
        return Ok(());
    };
    let names = distinct(rows.all.iter().map(|row| row.key.as_str()));
    for name in names {
        let (says, unit) = pattern(name);
        let values = run.per_head(&rows, |row| row.mean.filter(|_| row.key == name))?;
        let key = if name.starts_with("entropy") {
            name.to_owned()
        } else {
            format!("attention_{name}")
        };
        // The array of the same name holds the same numbers.
        found.retain(|quantity| quantity.key != key);
        found.push(Quantity::new(&key, &says, unit, values));
    }
    Ok(())
}

/// Words right of every head and relation, and what the axes are.
pub(crate) struct SyntaxHeads {
    pub(crate) axes: SyntaxAxes,
    directions: usize,
    heads: usize,
    /// Row-major `[direction, head of all layers, relation]`.
    correct: Vec<f64>,
}

impl SyntaxHeads {
    /// Nothing where one of the files is not there.
    pub(crate) fn read(run: &Run) -> Result<Option<Self>, RunError> {
        let axes: Option<SyntaxAxes> = run.json(RELATIONS)?;
        let (Some(axes), Some(counts)) = (axes, run.array(SYNTAX_HEADS)?) else {
            return Ok(None);
        };
        let (layers, heads) = (run.model().layers, run.model().heads);
        let directions = counts.shape.first().copied().unwrap_or(0);
        let expected = [directions, layers, heads, axes.relations.len()];
        if counts.shape != expected {
            return Err(RunError::Shape {
                path: run.folder().join(SYNTAX_HEADS),
                found: counts.shape,
                expected: expected.to_vec(),
            });
        }
        Ok(Some(Self {
            axes,
            directions,
            heads: layers * heads,
            correct: counts.values,
        }))
    }

    pub(crate) fn directions(&self) -> usize {
        self.directions
    }

    /// `head` counts those of all layers.
    pub(crate) fn correct(&self, direction: usize, head: usize, relation: usize) -> f64 {
        let at = (direction * self.heads + head) * self.axes.relations.len() + relation;
        self.correct.get(at).copied().unwrap_or(0.0)
    }
}

/// How often each head is right over all words.
pub(crate) fn syntax(run: &Run, found: &mut Vec<Quantity>) -> Result<(), RunError> {
    let Some(counts) = SyntaxHeads::read(run)? else {
        return Ok(());
    };
    let relations = &counts.axes.relations;
    let all = relations.iter().position(|row| row.relation == "all");
    let Some((row, total)) = all.map(|row| (row, relations[row].total as f64)) else {
        return Ok(());
    };
    if total == 0.0 {
        return Ok(());
    }
    let (layers, heads) = (run.model().layers, run.model().heads);
    let present: HashSet<&str> = counts
        .axes
        .heads_present
        .iter()
        .map(String::as_str)
        .collect();
    for (direction, (key, name)) in [
        ("syntax_to_head", "words right, dependent to head"),
        ("syntax_to_dependent", "words right, head to dependent"),
    ]
    .into_iter()
    .enumerate()
    .take(counts.directions())
    {
        let mut values = HeadColumn::empty(layers, heads);
        for layer in 0..layers {
            for head in 0..heads {
                let name = format!("L{layer}H{head}");
                let there = present.is_empty() || present.contains(name.as_str());
                let value = counts.correct(direction, layer * heads + head, row) / total;
                values.set(layer, head, there.then_some(value));
            }
        }
        found.push(Quantity::new(key, name, "", values));
    }
    Ok(())
}

pub(crate) fn coref(run: &Run, found: &mut Vec<Quantity>) -> Result<(), RunError> {
    let Some(rows) = run.rows::<CorefRow>()? else {
        return Ok(());
    };
    let values = run.per_head(&rows, |row| {
        let all = row.candidates == "all" && row.category == "all";
        row.accuracy.filter(|_| all)
    })?;
    found.push(Quantity::new(
        "coreference",
        "antecedents right",
        "",
        values,
    ));
    Ok(())
}

pub(crate) fn clusters(run: &Run, found: &mut Vec<Quantity>) -> Result<(), RunError> {
    let Some(rows) = Rows::of_clusters(run)? else {
        return Ok(());
    };
    let clusters = run.per_head(&rows, |row| Some(row.cluster as f64))?;
    found.push(Quantity::new("cluster", "cluster", "", clusters));
    let silhouettes = run.per_head(&rows, |row| Some(row.silhouette))?;
    found.push(Quantity::new("silhouette", "silhouette", "", silhouettes).signed());
    Ok(())
}

pub(crate) fn probe(run: &Run, found: &mut Vec<Quantity>) -> Result<(), RunError> {
    let (layers, heads) = (run.model().layers, run.model().heads);
    let Some(weights) = run.shaped(PROBE_WEIGHTS, &[2, layers, heads])? else {
        return Ok(());
    };
    let size = layers * heads;
    for (at, (key, name)) in [
        ("probe_to_candidate", "weight of attention to the candidate"),
        (
            "probe_from_candidate",
            "weight of attention from the candidate",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let part = weights.get(at * size..(at + 1) * size).unwrap_or(&[]);
        let values = HeadColumn {
            layers,
            heads,
            values: part.iter().map(|v| v.is_finite().then_some(*v)).collect(),
        };
        found.push(Quantity::new(key, name, "", values).signed());
    }
    Ok(())
}

/// A word for each head.
pub(crate) type Words = Vec<((usize, usize), String)>;

/// Behaviour of each head, by `bertology patterns`; `none` where it has none of those known.
pub(crate) fn behaviours(run: &Run) -> Result<Option<Words>, RunError> {
    let Some(rows) = run.rows::<BehaviourRow>()? else {
        return Ok(None);
    };
    let rows = rows.all.into_iter().map(|row| {
        let known = !row.behaviour.is_empty();
        let name = if known { row.behaviour } else { "none".into() };
        ((row.layer, row.head), name)
    });
    Ok(Some(rows.collect()))
}

/// What a metric is called where the run does not say.
pub(crate) fn metric(name: Option<String>) -> String {
    name.unwrap_or_else(|| "score".into())
}

/// Each once, in the order in which they come.
pub(crate) fn distinct<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for one in all {
        if !found.contains(&one) {
            found.push(one);
        }
    }
    found
}

/// The metrics that are numbers.
pub(crate) fn numbers(metrics: &Metrics) -> impl Iterator<Item = (String, f64)> {
    let all = metrics.0.iter();
    all.filter_map(|(name, value)| Some((name.clone(), (*value)?)))
}

/// Scores of the whole model, wherever the command keeps them.
pub(crate) fn of_whole(summary: &Summary) -> Option<&Evaluation> {
    let evaluation = summary.evaluation.as_ref();
    evaluation.or(summary.evaluation_before.as_ref())
}

/// Metrics and loss of the whole model.
pub(crate) fn overall(summary: &Summary) -> Vec<(String, f64)> {
    let evaluation = of_whole(summary);
    let Some(evaluation) = evaluation else {
        return Vec::new();
    };
    let mut found: Vec<_> = numbers(&evaluation.metrics).collect();
    found.extend(evaluation.loss.map(|loss| ("loss".to_owned(), loss)));
    found
}
