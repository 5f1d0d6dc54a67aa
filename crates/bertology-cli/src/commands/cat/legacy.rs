//! The score as the paper's released code computes it.

use bertology::{Error, LoadedModel};
use bertology::attention::cat::{LegacyChoice, LegacyScores, legacy_scores};
use bertology::input::legacy::LegacyPassages;
use bertology_code::{CodeError, Functions, Refusal};
use bertology_run::studies::cat::CatLegacyRow;

use crate::args::cat::CatArgs;
use crate::failure::Failure;
use crate::session::failure;
use crate::show::Screen;
use crate::watcher::Watcher;

/// The functions, each of which needs its list of tokens.
pub(super) fn open(model: &LoadedModel, functions: Functions) -> Result<LegacyPassages, Failure> {
    LegacyPassages::new(model, functions).map_err(|error| match &error {
        Error::Code(CodeError::Refused {
            path,
            line,
            refusal: Refusal::NoTokens,
        }) => Failure::input(format!(
            "{}, line {line}: it has no `code_tokens`, which the paper's released code reads; leave out --legacy",
            path.display()
        )),
        _ => failure(&error),
    })
}

/// All functions once more, in two passes.
pub(super) fn scores(
    args: &CatArgs,
    model: &LoadedModel,
    passages: &LegacyPassages,
    screen: &Screen,
) -> Result<LegacyScores, Failure> {
    let mut watcher = Watcher::new(screen).of("function");
    let work = crate::command::work(&args.work);
    let found = legacy_scores(model, passages, &work, &mut watcher);
    screen.stop();
    found.map_err(|e| failure(&e))
}

pub(super) fn rows(found: &LegacyScores) -> impl Iterator<Item = CatLegacyRow> + '_ {
    found.scores.iter().map(|score| CatLegacyRow {
        language: score.language.clone(),
        layer: score.layer,
        leaves: score.choice.name().to_owned(),
        functions: score.functions,
        skipped: score.skipped,
        cat: score.cat,
        standard_error: score.standard_error,
        tokens_found: score.found,
        kinds: match score.choice {
            LegacyChoice::Top => found.kinds[score.layer][&score.language].join(" "),
            LegacyChoice::All | LegacyChoice::Static => String::new(),
        },
    })
}

/// A row a language and layer.
pub(super) fn text(found: &LegacyScores) -> String {
    let mut lines = vec![
        "As the paper's released code scores: its search for tokens, all leaves, its list of kinds, and the layer's own".to_owned(),
        format!("{:>5}  {:>6}  {:>6}  {:>6}  language", "layer", "all", "static", "top"),
    ];
    let all = found.scores.iter().filter(|score| score.choice == LegacyChoice::All);
    for score in all {
        let of = |choice: LegacyChoice| {
            let mut same = found.scores.iter().filter(|other| {
                (other.layer, &other.language, other.choice) == (score.layer, &score.language, choice)
            });
            let cat = same.next().and_then(|other| other.cat);
            cat.map_or_else(|| "-".to_owned(), |cat| format!("{cat:.3}"))
        };
        lines.push(format!(
            "{:>5}  {:>6}  {:>6}  {:>6}  {}",
            score.layer,
            of(LegacyChoice::All),
            of(LegacyChoice::Static),
            of(LegacyChoice::Top),
            score.language
        ));
    }
    lines.join("\n")
}
