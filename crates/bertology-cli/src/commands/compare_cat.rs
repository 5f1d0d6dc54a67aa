//! `bertology compare` of runs of the CAT-score: any number of models, and of two of one shape also head by head.

use std::fmt::Write as _;

use bertology_report::{CatComparison, Document, Error};
use bertology_run::Run;
use serde_json::{Value, json};

use super::compare;
use crate::failure::Failure;
use crate::pages;
use crate::show::escape::name as escaped;
use crate::show::text::wrapped;

/// The command whose runs these are.
pub(super) const COMMAND: &str = "cat";

/// What is said, the page, and all of it as JSON.
pub(super) fn compare(runs: &[&Run]) -> Result<(String, Document, Value), Failure> {
    let failed = |error: Error| pages::failure(&error);
    let found = bertology_report::compare_cat(runs).map_err(failed)?;
    let [first, second] = runs else {
        return Ok((
            text(&found),
            found.document(),
            json!({ "models": json(&found) }),
        ));
    };
    match bertology_report::compare(first, second) {
        Ok(heads) => {
            let said = format!("{}\n\n{}", compare::text(&heads), text(&found));
            let mut all = compare::json(&heads);
            all["models"] = json(&found);
            Ok((said, found.within(heads.document()), all))
        }
        // Heads of models of other shapes are other heads; their layers can be looked at all the same.
        Err(Error::DifferentShapes { .. }) => Ok((
            text(&found),
            found.document(),
            json!({ "models": json(&found) }),
        )),
        Err(error) => Err(failed(error)),
    }
}

fn text(found: &CatComparison) -> String {
    let mut text = "CAT-score of every layer".to_owned();
    for (run, scores) in found.runs().zip(found.scores()) {
        let _ = write!(text, "\n  {}\n   ", escaped(run));
        for score in scores {
            match score {
                Some(score) => {
                    let _ = write!(text, " {score:.3}");
                }
                None => text.push_str("     -"),
            }
        }
    }
    let sentences = found
        .downstream
        .iter()
        .map(bertology_report::Downstream::sentence);
    for said in sentences.chain(found.notes()) {
        let _ = write!(text, "\n\n{}", wrapped(&escaped(&said), 80));
    }
    text
}

fn json(found: &CatComparison) -> Value {
    let runs = found.runs().zip(found.scores());
    let runs = runs.map(|(run, scores)| json!({ "name": run, "cat": scores }));
    let downstream = found.downstream.iter().map(|of| {
        let models = of.models.iter();
        let models =
            models.map(|(run, cat, score)| json!({ "name": run, "cat": cat, "score": score }));
        json!({
            "name": of.name,
            "models": models.collect::<Vec<_>>(),
            "spearman": of.rho,
            "p_value": of.p_value,
        })
    });
    json!({
        "runs": runs.collect::<Vec<_>>(),
        "downstream": downstream.collect::<Vec<_>>(),
        "notes": found.notes(),
    })
}
