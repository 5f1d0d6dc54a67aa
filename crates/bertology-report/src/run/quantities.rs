//! What a run says of each head.

use super::{HeadValues, Run, RunError, Table};

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
    pub(crate) values: HeadValues,
}

impl Quantity {
    fn new(key: &str, name: &str, unit: &'static str, values: HeadValues) -> Self {
        Self {
            key: key.to_owned(),
            name: name.to_owned(),
            unit,
            signed: false,
            values,
        }
    }

    fn signed(mut self) -> Self {
        self.signed = true;
        self
    }
}

/// Everything that the run says of each head in numbers, the most telling first.
///
/// # Errors
/// A file that is there and damaged. Files that are not there give nothing.
pub(crate) fn quantities(run: &Run) -> Result<Vec<Quantity>, RunError> {
    let mut found = Vec::new();
    importance(run, &mut found)?;
    ablation(run, &mut found)?;
    masked(run, &mut found)?;
    patterns(run, &mut found)?;
    syntax(run, &mut found)?;
    coref(run, &mut found)?;
    clusters(run, &mut found)?;
    probe(run, &mut found)?;
    Ok(found)
}

fn importance(run: &Run, found: &mut Vec<Quantity>) -> Result<(), RunError> {
    // In these arrays a head without a score is 0; its rank says that it has none.
    let ranks = run.head_array("head_ranks.npy")?;
    let scored = |values: HeadValues| match &ranks {
        Some(ranks) => values.keep(|at| ranks.values[at].is_some_and(|rank| rank >= 0.0)),
        None => values,
    };
    if let Some(values) = run.head_array("head_importance.npy")? {
        found.push(Quantity::new(
            "importance",
            "importance",
            "",
            scored(values),
        ));
    }
    if let Some(values) = run.head_array("head_importance_raw.npy")? {
        found.push(Quantity::new(
            "importance_raw",
            "raw importance",
            "",
            scored(values),
        ));
    }
    if let Some(values) = run.head_array("attn_entropy.npy")? {
        found.push(Quantity::new("entropy", "entropy", "nats", scored(values)));
    }
    Ok(())
}

fn ablation(run: &Run, found: &mut Vec<Quantity>) -> Result<(), RunError> {
    let metric = run.result_text("/metric").unwrap_or("score").to_owned();
    if let Some(values) = run.head_array("head_ablation.npy")? {
        let name = format!("change of {metric}");
        found.push(Quantity::new("ablation_change", &name, "", values).signed());
    }
    if let Some(values) = run.head_array("head_ablation_loss.npy")? {
        found.push(Quantity::new("ablation_loss", "change of loss", "nats", values).signed());
    }
    Ok(())
}

fn masked(run: &Run, found: &mut Vec<Quantity>) -> Result<(), RunError> {
    if let Some(values) = run.head_array("head_mask.npy")? {
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

fn patterns(run: &Run, found: &mut Vec<Quantity>) -> Result<(), RunError> {
    let Some(table) = run.table("attention_patterns.csv")? else {
        return Ok(());
    };
    let keys = table.texts("key")?;
    let mut names: Vec<&str> = Vec::new();
    for key in &keys {
        if !names.contains(key) {
            names.push(key);
        }
    }
    for name in names {
        let (says, unit) = pattern(name);
        let values = table.head_values(run, "mean", |row| keys[row] == name)?;
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

/// Rows of `syntax.csv` where a head is the best of its relation, as a table knows them.
fn syntax(run: &Run, found: &mut Vec<Quantity>) -> Result<(), RunError> {
    let axes = run.json("relations.json")?;
    let counts = run.array("syntax_heads.npy")?;
    let (Some(axes), Some(counts)) = (axes, counts) else {
        return Ok(());
    };
    let (layers, heads) = (run.model().layers, run.model().heads);
    let relations = axes.get("relations").and_then(|v| v.as_array());
    let relations = relations.map_or(&[][..], Vec::as_slice);
    let all = relations
        .iter()
        .position(|row| row.get("relation").and_then(|v| v.as_str()) == Some("all"));
    let total = all.and_then(|row| relations.get(row)?.get("total")?.as_f64());
    let (Some(row), Some(total)) = (all, total.filter(|total| *total > 0.0)) else {
        return Ok(());
    };
    let [directions, l, h, r] = counts.shape[..] else {
        return Ok(());
    };
    if (l, h, r) != (layers, heads, relations.len()) {
        return Err(RunError::Shape {
            path: run.folder().join("syntax_heads.npy"),
            found: counts.shape,
            expected: vec![directions, layers, heads, relations.len()],
        });
    }
    let present = axes.get("heads_present").and_then(|v| v.as_array());
    for (direction, name) in ["dependent to head", "head to dependent"]
        .into_iter()
        .enumerate()
    {
        if direction >= directions {
            break;
        }
        let mut values = HeadValues::empty(layers, heads);
        for layer in 0..layers {
            for head in 0..heads {
                let id = format!("L{layer}H{head}");
                let there = present.is_none_or(|all| all.iter().any(|v| v.as_str() == Some(&id)));
                let at = ((direction * layers + layer) * heads + head) * r + row;
                let value = counts.values.get(at).map(|correct| correct / total);
                values.set(layer, head, value.filter(|_| there));
            }
        }
        let key = ["syntax_to_head", "syntax_to_dependent"][direction];
        let name = format!("words right, {name}");
        found.push(Quantity::new(key, &name, "", values));
    }
    Ok(())
}

fn coref(run: &Run, found: &mut Vec<Quantity>) -> Result<(), RunError> {
    let Some(table) = run.table("coref.csv")? else {
        return Ok(());
    };
    let (candidates, categories) = (table.texts("candidates")?, table.texts("category")?);
    let values = table.head_values(run, "accuracy", |row| {
        candidates[row] == "all" && categories[row] == "all"
    })?;
    found.push(Quantity::new(
        "coreference",
        "antecedents right",
        "",
        values,
    ));
    Ok(())
}

fn clusters(run: &Run, found: &mut Vec<Quantity>) -> Result<(), RunError> {
    let Some(table) = run.table("clusters.csv")? else {
        return Ok(());
    };
    for (column, key, name) in [
        ("cluster", "cluster", "cluster"),
        ("silhouette", "silhouette", "silhouette"),
    ] {
        let values = table.head_values(run, column, |_| true)?;
        let quantity = Quantity::new(key, name, "", values);
        found.push(if key == "silhouette" {
            quantity.signed()
        } else {
            quantity
        });
    }
    Ok(())
}

fn probe(run: &Run, found: &mut Vec<Quantity>) -> Result<(), RunError> {
    let (layers, heads) = (run.model().layers, run.model().heads);
    let Some(weights) = run.shaped("probe_weights.npy", &[2, layers, heads])? else {
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
        let values = HeadValues {
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
    let Some(table) = run.table("behaviours.csv")? else {
        return Ok(None);
    };
    behaviours_of(&table).map(Some)
}

fn behaviours_of(table: &Table) -> Result<Words, RunError> {
    let names = table.texts("behaviour")?;
    let rows = table.heads()?.into_iter().zip(names);
    Ok(rows
        .filter_map(|(head, name)| {
            let name = if name.is_empty() { "none" } else { name };
            Some((head?, name.to_owned()))
        })
        .collect())
}
