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
use crate::session::{Opened, failure};
use crate::show::Screen;
use crate::show::text::plural;

pub(crate) fn run(args: VerifyArgs, screen: &Screen) -> Result<Done, Failure> {
    let reference = Reference::open(&args.reference).map_err(|e| failure(&e))?;
    let opened = Opened::new(&args.model, OpenAs::DeclaredOrEncoder, screen)?;
    let options = VerifyOptions {
        prefixes: args.prefix.clone(),
        tolerances: Tolerances {
            values: args.tolerance,
            loss: args.loss_tolerance,
            gradients: args.gradient_tolerance,
        },
        threads: args.threads.map_or(0, usize::from),
    };
    let found = verify(opened.model.model(), &reference, &options).map_err(|e| failure(&e))?;
    screen.say(&report(&found, &args, &opened.located.name));
    let document = json!({
        "command": "verify",
        "model": opened.located.name,
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
    let names = found.comparisons.iter().map(|c| c.name.len());
    let width = names.max().unwrap_or_default().max("tensor".len());
    let _ = writeln!(
        text,
        "\n  {:width$}  {:>5}  {:>8}  {:>8}  {:>7}  largest error at",
        "tensor", "layer", "absolute", "relative", "allowed"
    );
    for tensor in &found.comparisons {
        let layer = tensor.layer.map_or("–".into(), |l| l.to_string());
        let mark = if tensor.agrees { " " } else { "!" };
        let allowed = format!("{:.0e}", tensor.tolerance);
        let _ = writeln!(
            text,
            "{mark} {:width$}  {layer:>5}  {}  {allowed:>7}  {}",
            tensor.name,
            errors(&tensor.worst),
            place(tensor),
        );
        for head in tensor.heads.iter().filter(|_| args.heads) {
            let own = if head.worst.relative <= tensor.tolerance {
                " "
            } else {
                "!"
            };
            let name = format!("  head {}", head.head);
            let _ = writeln!(
                text,
                "{own} {name:width$}  {:>5}  {}  {:>7}  {}",
                head.layer,
                errors(&head.worst),
                "",
                at(&head.worst)
            );
        }
    }
    let verdict = if found.agrees() {
        match found.comparisons.len() {
            1 => "The tensor agrees.".into(),
            count => format!("All {count} tensors agree."),
        }
    } else {
        "Tensors marked ! differ.".to_owned()
    };
    let _ = write!(
        text,
        "\n{verdict} Everything is counted from 0; relative is to the tensor's scale."
    );
    text
}

fn errors(worst: &Worst) -> String {
    format!("{:>8.1e}  {:>8.1e}", worst.absolute, worst.relative)
}

fn at(worst: &Worst) -> String {
    if worst.absolute == 0.0 {
        "equal to the last bit".into()
    } else {
        worst.place.to_string()
    }
}

fn place(tensor: &Comparison) -> String {
    if tensor.compared == 0 {
        return "left out: no head of this layer is there, or all are masked".into();
    }
    if tensor.scale == 0.0 {
        return "zeros on both sides".into();
    }
    at(&tensor.worst)
}
