//! Kinds of leaves that the model attends to most, chosen on functions that are not scored.

use std::collections::{BTreeMap, BTreeSet};

use bertology::attention::cat::{CatOptions, CatState};
use bertology::drive::{Progress, Study as _, drive};
use bertology::input::code::CodePassages;
use bertology_code::{Functions, sample};

use crate::args::cat::{CatArgs, FractionArg};
use crate::failure::Failure;
use crate::session::{Opened, failure};
use crate::show::Screen;
use crate::watcher::Watcher;

/// Of the functions, unless somebody says otherwise.
const HELD_OUT: FractionArg = FractionArg {
    numerator: 1,
    denominator: 5,
};

/// What was chosen, and what is left to be scored.
pub(super) struct Chosen {
    pub(super) kinds: BTreeMap<String, BTreeSet<String>>,
    pub(super) held_out: u64,
    pub(super) rest: Functions,
}

/// Draws the functions that are held out and asks the model for the kinds of each language.
pub(super) fn choose(
    args: &CatArgs,
    opened: &Opened,
    functions: &Functions,
    options: &CatOptions,
    screen: &Screen,
) -> Result<Chosen, Failure> {
    let read = |error: bertology_code::CodeError| failure(&error.into());
    let mut all: Vec<(u64, &'static str)> = Vec::new();
    for code in functions.open().map_err(read)? {
        let code = code.map_err(read)?;
        all.push((code.index, code.language.name));
    }
    let FractionArg {
        numerator,
        denominator,
    } = args.own.held_out.unwrap_or(HELD_OUT);
    let count = all.len() as u64;
    let held = (u128::from(count) * u128::from(numerator)).div_ceil(u128::from(denominator));
    let held = sample(count, held as u64, args.own.seed);
    if held.is_empty() || held.len() == all.len() {
        return Err(Failure::input(format!(
            "--frequent own: of {count} functions {} would be held out to choose kinds on; some have to be, and some have to be \
             left (--held-out)",
            held.len()
        )));
    }
    let mut of_language: BTreeMap<&'static str, Vec<u64>> = BTreeMap::new();
    for at in &held {
        let (index, language) = all[*at as usize];
        of_language.entry(language).or_default().push(index);
    }
    let mut kinds = BTreeMap::new();
    for (language, indices) in of_language {
        let of = functions.clone().with_limit(None).with_selected(indices);
        let chosen = of_functions(args, opened, of, options, screen)?;
        if !chosen.is_empty() {
            kinds.insert(language.to_owned(), chosen);
        }
    }
    if kinds.is_empty() {
        return Err(Failure::input(format!(
            "--frequent own: none of the {} functions that were held out has a score; hold out more (--held-out), or \
             take smaller ones (--min-leaves)",
            held.len()
        )));
    }
    let held_out: BTreeSet<u64> = held.iter().map(|at| all[*at as usize].0).collect();
    let rest = all.iter().map(|(index, _)| *index);
    let rest = rest.filter(|index| !held_out.contains(index)).collect();
    Ok(Chosen {
        kinds,
        held_out: held.len() as u64,
        rest: functions.clone().with_limit(None).with_selected(rest),
    })
}

/// Functions of one language.
fn of_functions(
    args: &CatArgs,
    opened: &Opened,
    functions: Functions,
    options: &CatOptions,
    screen: &Screen,
) -> Result<BTreeSet<String>, Failure> {
    let failed = |error: bertology::Error| failure(&error);
    let passages = CodePassages::new(&opened.model, functions, args.code_options());
    let passages = passages.map_err(failed)?;
    // Of all that is measured only the counts of kinds are wanted.
    let mut options = options.clone();
    (options.resamples, options.permutations) = (0, 0);
    let state = CatState::new(&opened.model, options).map_err(failed)?;
    let mut progress = Progress::new(state);
    let mut watcher = Watcher::new(screen).of("function");
    let work = crate::command::work(&args.work);
    let driven = drive(&opened.model, &passages, &mut progress, &work, &mut watcher);
    driven.map_err(failed)?;
    screen.stop();
    let scores = progress.into_study().finish().map_err(failed)?;
    Ok(scores.frequent_kinds().into_iter().collect())
}
