//! `bertology verify`: a model against what another program computed with it.

use std::collections::BTreeMap;
use std::fmt::Write;

use bertology::OpenAs;
use bertology::verify::{
    Comparison, Reference, Tolerances, Verification, VerifyOptions, Worst, verify,
};
use serde_json::{Value, json};

use super::Done;
use crate::args::VerifyArgs;
use crate::failure::Failure;
use crate::session::{self, Opened, failure};
use crate::show::Screen;
use crate::show::text::plural;

pub(crate) fn run(args: VerifyArgs, screen: &Screen) -> Result<Done, Failure> {
    let reference = Reference::open(&args.reference).map_err(|e| failure(&e))?;
    let opened = Opened::new(&args.model, OpenAs::DeclaredOrEncoder, screen)?
        .computing(&args.computing, screen)?;
    let usual = Tolerances::of(args.computing.precision);
    let options = VerifyOptions {
        prefixes: args.prefix.clone(),
        tolerances: Tolerances {
            values: args.tolerance.unwrap_or(usual.values),
            loss: args.loss_tolerance.unwrap_or(usual.loss),
            gradients: args.gradient_tolerance.unwrap_or(usual.gradients),
        },
        threads: args.threads.map_or(0, usize::from),
    };
    let found = verify(opened.model.model(), &reference, &options).map_err(|e| failure(&e))?;
    screen.say(&report(&found, &args, &opened.located.name));
    let document = json!({
        "command": "verify",
        "model": opened.located.name,
        "device": session::device(&opened.model),
        "reference": args.reference,
        "prefixes": args.prefix,
        "agrees": found.agrees(),
        "first_divergence": found.first_divergence().map(|first| &first.name),
        "found": document(&found)?,
    });
    Ok(Done {
        failure: found
            .first_divergence()
            .map(|first| Failure::Work(divergence(&found, first))),
        ..document.into()
    })
}

fn document(found: &Verification) -> Result<Value, Failure> {
    serde_json::to_value(found)
        .map_err(|error| Failure::work(format!("cannot write the result as JSON: {error}")))
}

fn divergence(found: &Verification, first: &Comparison) -> String {
    let differ = found.comparisons.iter().filter(|c| !c.agrees).count();
    let worst = &first.worst;
    format!(
        "{differ} of {} differ from the reference; the first in the order of the computation is \
         {}, at {}: {} here, {} there",
        plural(found.comparisons.len() as u64, "tensor"),
        first.name,
        worst.place,
        worst.ours as f32,
        worst.theirs as f32
    )
}

fn report(found: &Verification, args: &VerifyArgs, model: &str) -> String {
    let mut text = format!("{model} against {}\n", args.reference.display());
    let _ = writeln!(
        text,
        "{}, {} compared, {} of padding left out",
        plural(found.sequences as u64, "sequence"),
        plural(found.tokens as u64, "token"),
        plural(found.padding as u64, "position"),
    );
    let reasons = found.ignored.iter().map(|i| i.reason.as_str());
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    reasons.for_each(|reason| *counts.entry(reason).or_default() += 1);
    for (reason, count) in counts {
        let _ = writeln!(text, "{} left aside: {reason}", plural(count, "tensor"));
    }
    text.push_str(&table(&found.comparisons, args.heads));
    let verdict = if found.agrees() {
        match found.comparisons.len() {
            1 => "The tensor agrees.".into(),
            count => format!("All {count} tensors agree."),
        }
    } else {
        "Tensors marked ! differ.".to_owned()
    };
    let _ = write!(text, "\n{verdict} Relative is to the tensor's scale.");
    text
}

/// Columns of a terminal.
const COLUMNS: usize = 80;

/// A line of the table, and the place that stands behind it where there is room.
struct Line {
    differs: bool,
    name: String,
    numbers: String,
    place: String,
}

/// A line a tensor, and one a head if asked for. Where names are so long that places would not fit, each has a line
/// of its own.
fn table(tensors: &[Comparison], heads: bool) -> String {
    let mut lines = Vec::new();
    for tensor in tensors {
        let layer = tensor.layer.map_or("–".into(), |l| l.to_string());
        let allowed = format!("{:.0e}", tensor.tolerance);
        lines.push(Line {
            differs: !tensor.agrees,
            name: tensor.name.clone(),
            numbers: format!("{layer:>5}  {}  {allowed:>7}", errors(&tensor.worst)),
            place: place(tensor),
        });
        for head in tensor.heads.iter().filter(|_| heads) {
            lines.push(Line {
                differs: head.worst.relative > tensor.tolerance,
                name: format!("  head {}", head.head),
                numbers: format!("{:>5}  {}  {:>7}", head.layer, errors(&head.worst), ""),
                place: at(&head.worst),
            });
        }
    }
    let widest = |of: &dyn Fn(&Line) -> &str, least: &str| {
        let all = lines.iter().map(|line| of(line).chars().count());
        all.max().unwrap_or_default().max(least.len())
    };
    let width = widest(&|line| &line.name, "tensor");
    let head = format!(
        "{:>5}  {:>8}  {:>8}  {:>7}",
        "layer", "absolute", "relative", "allowed"
    );
    const PLACE: &str = "largest at";
    let room = COLUMNS.saturating_sub(2 + width + 2 + head.len() + 2);
    let between = match widest(&|line| &line.place, PLACE) <= room {
        true => "  ",
        false => "\n      ",
    };
    let mut text = format!("\n  {:width$}  {head}{between}{PLACE}\n", "tensor");
    for line in &lines {
        let mark = if line.differs { "!" } else { " " };
        let Line {
            name,
            numbers,
            place,
            ..
        } = line;
        let _ = writeln!(text, "{mark} {name:width$}  {numbers}{between}{place}");
    }
    text.push_str(&format!("  {AXES}\n"));
    if lines.iter().any(|line| line.place == LEFT_OUT) {
        let _ = writeln!(
            text,
            "  {LEFT_OUT}: no head of the layer is there, or all are masked"
        );
    }
    text
}

fn errors(worst: &Worst) -> String {
    format!("{:>8.1e}  {:>8.1e}", worst.absolute, worst.relative)
}

/// Where the error is largest, a letter and a number an axis; [`AXES`] are the letters.
fn at(worst: &Worst) -> String {
    if worst.absolute == 0.0 {
        return "equal".into();
    }
    let place = &worst.place;
    let position = if place.key.is_some() { 'q' } else { 'p' };
    let parts = [
        ('s', place.sequence),
        ('l', place.layer),
        ('h', place.head),
        (position, place.position),
        ('k', place.key),
        ('c', place.column),
    ];
    let parts = parts
        .into_iter()
        .filter_map(|(axis, at)| Some(format!("{axis}{}", at?)));
    let parts: Vec<String> = parts.collect();
    match parts.is_empty() {
        true => "the only entry".into(),
        false => parts.join(" "),
    }
}

/// What the letters of [`at`] are.
const AXES: &str = "s sequence, l layer, h head, p position, q query, k key, c column, from 0";

fn place(tensor: &Comparison) -> String {
    if tensor.compared == 0 {
        return LEFT_OUT.into();
    }
    if tensor.scale == 0.0 {
        return "all zeros".into();
    }
    at(&tensor.worst)
}

const LEFT_OUT: &str = "left out";
