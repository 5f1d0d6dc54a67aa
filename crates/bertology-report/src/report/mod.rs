//! One run as a page: what its command computes, as figures and tables, and the record of how.

use bertology_run::results::Summary;
use bertology_run::{Run, RunError, text_of};
use serde_json::Value;

use crate::document::{Block, Cell, Column, Document, Row, Section, Table};
use crate::figure::{Heat, Scale};
use crate::number::{count, plural, seconds, short, significant};
use crate::place::Places;
use crate::quantities::{Quantity, of_whole, overall};

/// The page of a command.
struct Page {
    command: &'static str,
    /// What the command finds, as a heading.
    title: &'static str,
    /// Puts the sections together that are its own.
    write: fn(&mut Parts<'_>) -> Result<(), RunError>,
    /// Adds what there is of each head in its files, which other commands may write too.
    quantities: fn(&Run, &mut Vec<Quantity>) -> Result<(), RunError>,
}

macro_rules! pages {
    ($($module:ident,)*) => {
        $(pub(crate) mod $module;)*

        /// The pages that have something of their own; their numbers of heads stand in this order.
        const PAGES: &[&[Page]] = &[$($module::PAGES,)*];
    };
}

pages! {
    importance,
    ablate,
    masking,
    patterns,
    syntax,
    coref,
    clusters,
    probe,
    distance,
    cat,
    edge,
    finetune,
    bench,
    compress,
    judge,
    dynamics,
    predict,
    relations,
}

fn pages() -> impl Iterator<Item = &'static Page> {
    PAGES.iter().copied().flatten()
}

/// Everything that the run says of each head in numbers, the most telling first.
///
/// # Errors
/// A file that is there and damaged. Files that are not there give nothing.
pub(crate) fn quantities(run: &Run) -> Result<Vec<Quantity>, RunError> {
    let mut found = Vec::new();
    for page in pages() {
        (page.quantities)(run, &mut found)?;
    }
    Ok(found)
}

/// Makes the page of a run from its folder alone.
///
/// # Errors
/// A file that is there and damaged. What is not there is left out, and named in [`Document::notes`].
pub fn report(run: &Run) -> Result<Document, RunError> {
    let mut parts = Parts {
        run,
        places: Places::of(run),
        summary: run.summary()?,
        quantities: quantities(run)?,
        sections: Vec::new(),
        notes: Vec::new(),
    };
    match pages().find(|page| page.command == run.command()) {
        Some(page) => (page.write)(&mut parts)?,
        None => parts.plain(),
    }
    parts.record();
    let model = run.model();
    let facts = [
        parts.places.model().to_owned(),
        model.family.clone(),
        format!(
            "{}, {}",
            plural(model.layers as u64, "layer"),
            plural(model.present, "head")
        ),
        data_name(run).unwrap_or_default(),
    ];
    let facts: Vec<String> = facts.into_iter().filter(|fact| !fact.is_empty()).collect();
    Ok(Document {
        title: title(run.command()),
        facts: facts.join(" · "),
        file: run.command().to_owned(),
        sections: parts.sections,
        notes: parts.notes,
    })
}

/// What a command finds, as a heading.
pub(crate) fn title(command: &str) -> String {
    let page = pages().find(|page| page.command == command);
    match (page, command) {
        (Some(page), _) => page.title,
        (None, "evaluate") => "Evaluation",
        (None, "extract") => "Extraction",
        (None, other) => other,
    }
    .to_owned()
}

/// The data's file without its folders.
fn data_name(run: &Run) -> Option<String> {
    let path = run
        .said("/data/file/path")
        .or_else(|| run.said("/data/dev/path"))?;
    let name = path.rsplit(['/', '\\']).next().unwrap_or(&path);
    let task = run.said("/data/file/task");
    Some(task.map_or_else(|| name.to_owned(), |task| format!("{task}, {name}")))
}

/// A page being put together.
pub(crate) struct Parts<'a> {
    pub(crate) run: &'a Run,
    pub(crate) places: Places,
    pub(crate) summary: Summary,
    pub(crate) quantities: Vec<Quantity>,
    pub(crate) sections: Vec<Section>,
    pub(crate) notes: Vec<String>,
}

impl Parts<'_> {
    pub(crate) fn quantity(&self, key: &str) -> Option<&Quantity> {
        self.quantities.iter().find(|quantity| quantity.key == key)
    }

    pub(crate) fn add(&mut self, title: &str, blocks: Vec<Block>) {
        if !blocks.is_empty() {
            self.sections.push(Section::new(title, blocks));
        }
    }

    /// Names a file without which something is not shown.
    pub(crate) fn missing(&mut self, file: &str, what: &str) {
        self.notes
            .push(format!("{file} is not in the folder, so {what}."));
    }

    /// Metrics, counts and time: what every run has.
    pub(crate) fn headline(&mut self) {
        let run = self.run;
        let intervals = of_whole(&self.summary).map(|found| &found.intervals);
        let mut numbers: Vec<(String, String, String)> = overall(&self.summary)
            .into_iter()
            .map(|(name, value)| {
                let ends = intervals.and_then(|all| all.get(&name));
                let beside = ends.map_or_else(String::new, |(low, high)| {
                    format!("{} to {}", significant(*low, 4), significant(*high, 4))
                });
                (name, significant(value, 4), beside)
            })
            .collect();
        let evaluation = self.summary.evaluation.as_ref();
        let counts = self.summary.counts.clone().unwrap_or_default();
        let counted = [
            (evaluation.map(|found| found.examples), "examples"),
            (counts.examples, "texts"),
            (counts.sequences, "texts"),
            (counts.sentences, "sentences"),
            (counts.documents, "documents"),
            (counts.functions, "functions"),
        ];
        let first = |(number, name): (Option<u64>, &'static str)| Some((number?, name));
        if let Some((number, name)) = counted.into_iter().find_map(first) {
            let inside = [
                (evaluation.map(|found| found.tokens), "token"),
                (counts.tokens, "token"),
                (counts.words, "word"),
                (self.summary.tokens, "token"),
            ];
            let inside = inside.into_iter().find_map(first);
            let beside = inside.map_or_else(String::new, |(number, noun)| plural(number, noun));
            numbers.push((name.into(), count(number), beside));
        }
        if let Some(total) = run
            .record()
            .pointer("/seconds/total")
            .and_then(|v| v.as_f64())
        {
            let threads = run.said("/threads").unwrap_or_default();
            let beside = if threads.is_empty() {
                String::new()
            } else {
                threads
                    .parse()
                    .map_or(threads, |number| plural(number, "thread"))
            };
            numbers.push(("time".into(), seconds(total), beside));
        }
        if !numbers.is_empty() {
            self.add("Summary", vec![Block::Numbers(numbers)]);
        }
    }

    /// A page of a command that has no figures of its own.
    fn plain(&mut self) {
        self.headline();
        let results = self.run.record().get("results");
        let results = results.and_then(Value::as_object);
        let masked = results.and_then(|map| map.get("masked_heads")).map(text_of);
        if let Some(masked) = masked.filter(|text| !text.is_empty()) {
            let heads = Block::Facts(vec![("masked heads".into(), masked)]);
            self.add("Mask", vec![heads]);
        }
        let says = |key: &str| key.replace('_', " ");
        let mut facts = Vec::new();
        for (key, value) in results.into_iter().flatten() {
            match value {
                // Metrics are in the summary.
                _ if key == "evaluation" || key == "masked_heads" => {}
                Value::Null | Value::Array(_) => {}
                Value::Object(map) => {
                    let said = map
                        .iter()
                        .map(|(key, value)| (says(key), self.places.said(value)));
                    facts.extend(said);
                }
                value => facts.push((says(key), self.places.said(value))),
            }
        }
        if !facts.is_empty() {
            self.add("Results", vec![Block::Facts(facts)]);
        }
    }

    /// All that the run says of heads, as one table; `first` decides the order, largest first.
    pub(crate) fn heads_table(&mut self, first: &str, caption: &str) {
        let quantities: Vec<&Quantity> = self.quantities.iter().collect();
        let table = heads_table(&quantities, first, caption);
        if !table.rows.is_empty() {
            self.add("All heads", vec![Block::Table(table)]);
        }
    }

    /// Options, versions, hashes, times.
    fn record(&mut self) {
        let run = self.run;
        let mut facts = Vec::new();
        for (name, pointer) in [
            ("command", "/command"),
            ("bertology", "/bertology"),
            ("model", "/model/name"),
            ("model folder", "/model/folder"),
            ("revision", "/model/revision"),
            ("commit", "/model/commit"),
            ("family", "/model/family"),
            ("parameters", "/model/parameters"),
            ("model SHA-256", "/identity/model_sha256"),
            ("tokenizer SHA-256", "/identity/tokenizer_sha256"),
            ("data", "/data/file/path"),
            ("data SHA-256", "/identity/data_sha256"),
            ("objective", "/data/objective"),
            ("longest sequence", "/data/max_length"),
            ("labels", "/data/labels"),
            ("seed", "/seed"),
            ("started", "/started"),
            ("finished", "/finished"),
            ("threads", "/threads"),
        ] {
            let value = run
                .record()
                .pointer(pointer)
                .filter(|value| !value.is_null());
            facts.extend(value.map(|value| (name.to_owned(), self.places.said(value))));
        }
        let skipped = run
            .record()
            .pointer("/data/file/skipped")
            .and_then(|v| v.as_object());
        let skipped: Vec<String> = skipped
            .into_iter()
            .flatten()
            .filter(|(_, value)| value.as_u64().is_some_and(|value| value > 0))
            .map(|(key, value)| format!("{} {}", text_of(value), key.replace('_', " ")))
            .collect();
        if !skipped.is_empty() {
            facts.push(("lines skipped".into(), skipped.join(", ")));
        }
        let laps = run.record().get("seconds").and_then(|v| v.as_object());
        for (name, value) in laps.into_iter().flatten() {
            if let Some(value) = value.as_f64().filter(|_| name != "total") {
                facts.push((format!("time of {name}"), seconds(value)));
            }
        }
        let options = run.options().into_iter();
        let options: Vec<_> = options
            .map(|(key, value)| {
                let said = run.record().pointer(&format!("/options/{key}"));
                let said = said.map_or(value, |value| self.places.said(value));
                (format!("--{}", key.replace('_', "-")), said)
            })
            .collect();
        let mut blocks = Vec::new();
        if let Some(arguments) = run.record().pointer("/arguments") {
            let arguments = self.places.said(arguments);
            blocks.push(Block::Paragraph(format!("bertology {arguments}")));
        }
        blocks.push(Block::Facts(facts));
        blocks.push(Block::Paragraph(
            "Of paths the last part is shown; run.json has them whole.".into(),
        ));
        self.sections.push(Section::new("Record", blocks).folded());
        if !options.is_empty() {
            let options = Section::new("Options", vec![Block::Facts(options)]);
            self.sections.push(options.folded());
        }
    }
}

/// A heat map of a quantity.
pub(crate) fn heat(quantity: &Quantity) -> crate::figure::Figure {
    let scale = if quantity.signed {
        Scale::Signed
    } else if quantity.unit == "nats" || quantity.values.known().any(|value| value < 0.0) {
        Scale::Range
    } else {
        Scale::Between(0.0, quantity.values.known().fold(0.0, f64::max).max(1e-12))
    };
    let id = quantity.key.replace('_', "-");
    let title = capital(&quantity.name);
    Heat::new(&quantity.values, &quantity.name, quantity.unit, scale)
        .draw()
        .named(&format!("heat-{id}"), title, "")
}

/// With a capital at the front.
pub(crate) fn capital(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}

/// A row per head that has any of these numbers.
pub(crate) fn heads_table(quantities: &[&Quantity], first: &str, caption: &str) -> Table {
    let mut columns = vec![Column::number("layer"), Column::number("head")];
    let shares: Vec<(f64, f64)> = quantities
        .iter()
        .map(|quantity| {
            let known = || quantity.values.known();
            (
                known().fold(f64::INFINITY, f64::min),
                known().fold(f64::NEG_INFINITY, f64::max),
            )
        })
        .collect();
    for quantity in quantities {
        let unit = if quantity.unit.is_empty() {
            String::new()
        } else {
            format!(" ({})", quantity.unit)
        };
        columns.push(Column::number(&format!("{}{unit}", quantity.name)));
    }
    let (layers, heads) = quantities.first().map_or((0, 0), |quantity| {
        (quantity.values.layers, quantity.values.heads)
    });
    let mut rows = Vec::new();
    for layer in 0..layers {
        for head in 0..heads {
            let values: Vec<Option<f64>> = quantities
                .iter()
                .map(|quantity| quantity.values.get(layer, head))
                .collect();
            if values.iter().all(Option::is_none) {
                continue;
            }
            let mut cells = vec![Cell::whole(layer), Cell::whole(head)];
            for ((value, quantity), (low, high)) in values.iter().zip(quantities).zip(&shares) {
                let whole = matches!(quantity.key.as_str(), "cluster" | "kept");
                let write = |value: f64| {
                    if whole {
                        value.to_string()
                    } else {
                        short(value)
                    }
                };
                let share = value.filter(|_| high > low && *low >= 0.0 && !whole);
                cells.push(Cell::number(*value, write).with_share(share.map(|v| v / high)));
            }
            rows.push(Row {
                cells,
                head: Some((layer, head)),
            });
        }
    }
    let sorted = quantities.iter().position(|quantity| quantity.key == first);
    if let Some(at) = sorted {
        // Stable: heads with the same number stay in order. Rows without one come last.
        rows.sort_by(|a, b| {
            let key = |row: &Row| row.cells[at + 2].value.unwrap_or(f64::NEG_INFINITY);
            key(b).total_cmp(&key(a))
        });
    }
    Table {
        id: "heads".into(),
        title: plural(rows.len() as u64, "head"),
        caption: caption.to_owned(),
        columns,
        rows,
        sorted: sorted.map(|at| at + 2),
    }
}

/// `0.8627 (before 0.8676)` and the like.
pub(crate) fn both(before: f64, after: f64) -> (String, String) {
    let digits = |value: f64| crate::number::significant(value, 4);
    (digits(after), format!("before: {}", digits(before)))
}
