//! `bertology mask --schedule`: the score against the number of heads masked, for several orders.

use bertology::ablation::{AblationOptions, ablate};
use bertology::curve::{Curves, Order, counts};
use bertology::evaluate::evaluate;
use bertology::importance::{ImportanceOptions, importance};
use bertology::masking::{Direction, Metric};
use bertology::{Corpus, Error, HeadMask, HeadTable};
use bertology_run::results::{MaskResults, OrderCurve};
use bertology_run::rows::ScheduleRow;
use serde_json::json;

use super::{Done, search};
use crate::args::{MaskArgs, OrderArg};
use crate::command;
use crate::failure::Failure;
use crate::head_choice;
use crate::interrupt::{self, Graceful};
use crate::record::{self, Run};
use crate::run_folder::{self, Earlier, RunFolder};
use crate::session::{Opened, failure};
use crate::show::Screen;
use crate::show::text::{plural, seconds};
use crate::study;
use crate::tables::{metric_names, metric_values};
use crate::watcher::Watcher;

/// What is opened already.
pub(super) struct Opening<'a> {
    pub(super) args: &'a MaskArgs,
    pub(super) opened: &'a Opened,
    pub(super) corpus: &'a Corpus,
    /// On which heads are ranked, if not on the corpus.
    pub(super) choosing: Option<&'a Corpus>,
    pub(super) share: f64,
}

/// Refuses what only the search for heads reads.
pub(super) fn check(args: &MaskArgs) -> Result<(), Failure> {
    match args.masking.of_search() {
        Some(option) => Err(Failure::input(format!(
            "{option} says how a search for heads goes and when it ends, and --schedule masks all of them step by step; \
             leave one out"
        ))),
        None => Ok(()),
    }
}

pub(super) fn run(
    opening: &Opening<'_>,
    mut run: Run,
    (folder, earlier): (Option<RunFolder>, Earlier),
    screen: &Screen,
) -> Result<Done, Failure> {
    let Opening {
        args,
        opened,
        corpus,
        choosing,
        share,
    } = *opening;
    let metric = Metric::of(corpus, args.masking.metric.as_deref()).map_err(|e| failure(&e))?;
    let chosen_on = choosing.unwrap_or(corpus);
    screen.say(&study::headline(opened, corpus));
    search::say_choosing("ranked", choosing, screen);
    study::note_skipped(corpus, screen);
    run.clock.lap("load");
    let graceful = Graceful::begin();
    let orders = orders(opening, chosen_on, &metric, screen)?;
    let heads = opened.model.model().heads().count();
    let fresh = Curves::new(orders, counts(heads, share));
    let mut curves = match earlier {
        Earlier::Interrupted(state) if !state.is_null() && state != json!({}) => {
            let saved: Curves = command::saved(folder.as_ref(), state)?;
            saved
                .agrees(&fresh)
                .map_err(|e| command::of_state(folder.as_ref(), &e))?;
            screen.note(&format!(
                "resuming after {}",
                plural(saved.done().0 as u64, "pass")
            ));
            saved
        }
        _ => fresh,
    };
    let blank = HeadMask::ones(opened.model.model());
    let work = command::work(&args.work);
    while let Some(next) = curves.next(&blank) {
        let mut watcher = Watcher::new(screen).of(study::unit(corpus));
        let mask = next.mask.as_ref();
        let found = evaluate(&opened.model, corpus, mask, &work, &mut watcher);
        if let Some(failure) = watcher.into_failure() {
            return Err(failure);
        }
        screen.stop();
        let found = match found {
            Err(Error::Interrupted { .. }) if interrupt::requested() => {
                let done = plural(curves.done().0 as u64, "finished pass");
                return Err(command::interrupted(&done, folder.as_ref()));
            }
            found => found.map_err(|e| failure(&e))?,
        };
        let score = found.score(corpus, &metric.name).map_err(|e| failure(&e))?;
        curves.add(&next, found, &metric.name, score);
        if let Some(folder) = &folder {
            folder.save_state(&run.identity, json!(curves))?;
        }
    }
    drop(graceful);
    let time = run.clock.lap("masking");
    if let Some(folder) = &folder {
        table(folder, &curves)?;
    }
    let results = results(&curves, &metric, heads);
    let document = run_folder::complete(folder.as_ref(), run.document(&results))?;
    screen.say(&format!("\n{}\n{}", text(&curves, &metric), seconds(time)));
    super::say_folder(folder.as_ref(), screen);
    Ok(document.into())
}

/// Orders that were asked for, and those that are drawn.
fn orders(
    opening: &Opening<'_>,
    corpus: &Corpus,
    metric: &Metric,
    screen: &Screen,
) -> Result<Vec<Order>, Failure> {
    let Opening { args, opened, .. } = *opening;
    let model = &opened.model;
    let work = command::work(&args.work);
    let mut orders = Vec::new();
    for order in &args.schedule.order {
        let mut watcher = Watcher::new(screen).of(study::unit(corpus));
        let scores = match order {
            OrderArg::Random => continue,
            OrderArg::Importance => {
                let mut options = ImportanceOptions::default();
                options.granularity = study::granularity(&args.score, screen);
                let found = importance(model, corpus, &options, &work, &mut watcher);
                found.map(|found| {
                    let table = study::normalization(&args.score).apply(&found.raw);
                    Order::by_score("importance", &table)
                })
            }
            OrderArg::Ablation => {
                let options = AblationOptions::default();
                let found = ablate(model, corpus, &options, &work, &mut watcher);
                found
                    .and_then(|found| found.change(corpus, metric))
                    .map(|changes| Order::by_ablation(&changes, metric))
            }
            OrderArg::File(path) => {
                let (layers, heads) = opened.shape();
                let values = head_choice::read_mask(path, layers, heads)?;
                let all = HeadTable::from_values(layers, heads, values);
                let table = all.restricted(|id| model.model().has_head(id));
                Ok(Order::by_score(&path.display().to_string(), &table))
            }
        };
        if let Some(failure) = watcher.into_failure() {
            return Err(failure);
        }
        screen.stop();
        match scores {
            Err(Error::Interrupted { .. }) if interrupt::requested() => {
                return Err(command::interrupted("ranking the heads", None));
            }
            scores => orders.push(scores.map_err(|e| failure(&e))?),
        }
    }
    let heads: Vec<_> = model.model().heads().collect();
    let seeds = (0..u64::from(args.schedule.seeds.get())).map(|at| args.schedule.first_seed + at);
    orders.extend(seeds.map(|seed| Order::random(heads.iter().copied(), seed)));
    Ok(orders)
}

fn table(folder: &RunFolder, curves: &Curves) -> Result<(), Failure> {
    let names = curves.whole().map(|point| metric_names(&point.metrics));
    let rows = curves.every().map(|(order, point)| ScheduleRow {
        order: order.map_or_else(String::new, |order| order.name.clone()),
        seed: order.and_then(|order| order.seed),
        masked: point.masked,
        score: point.score,
        score_low: point.interval.map(|[low, _]| low),
        score_high: point.interval.map(|[_, high]| high),
        loss: point.loss,
        metrics: metric_values(&point.metrics),
    });
    Ok(folder.write_table::<ScheduleRow, _>(&names.unwrap_or_default(), rows)?)
}

fn results(curves: &Curves, metric: &Metric, heads: usize) -> MaskResults {
    let whole = curves.whole().and_then(|point| point.score);
    let orders = curves.orders().iter().enumerate();
    MaskResults {
        metric: Some(metric.name.clone()),
        higher_is_better: metric.direction == Direction::Higher,
        score_before: whole,
        heads_before: Some(heads as u64),
        curves: orders
            .map(|(at, order)| OrderCurve {
                order: order.name.clone(),
                seed: order.seed,
                heads: record::names(&order.heads),
                masked: curves
                    .points(at)
                    .iter()
                    .map(|point| point.masked as u64)
                    .collect(),
                scores: curves.points(at).iter().map(|point| point.score).collect(),
                intervals: curves
                    .points(at)
                    .iter()
                    .map(|point| point.interval.map(<(f64, f64)>::from))
                    .collect(),
            })
            .collect(),
        ..MaskResults::default()
    }
}

/// A line a count: the score of every order, and of the random ones mean and extremes.
fn text(curves: &Curves, metric: &Metric) -> String {
    let named: Vec<(usize, &Order)> = curves
        .orders()
        .iter()
        .enumerate()
        .filter(|(_, order)| order.seed.is_none())
        .collect();
    let drawn = curves.orders().len() - named.len();
    let number =
        |score: Option<f64>| score.map_or_else(|| "-".into(), |score| format!("{score:.4}"));
    let mut head = format!("{:>6}", "masked");
    for (_, order) in &named {
        let name = crate::show::escape::name(&order.name).into_owned();
        head.push_str(&format!("  {name:>10}"));
    }
    head.push_str(&format!("  {:>10}  {:>17}", "random", "lowest to highest"));
    let mut lines = vec![
        format!(
            "{} with all heads: {}; {} of random orders",
            metric.name,
            number(curves.whole().and_then(|point| point.score)),
            plural(drawn as u64, "seed")
        ),
        head,
    ];
    let counts = curves.points(0).iter().map(|point| point.masked);
    for (at, masked) in counts.enumerate() {
        let mut line = format!("{masked:>6}");
        for (order, _) in &named {
            let score = curves.points(*order).get(at).and_then(|point| point.score);
            line.push_str(&format!("  {:>10}", number(score)));
        }
        match curves.at_random(masked) {
            Some([mean, least, most]) => {
                line.push_str(&format!("  {mean:>10.4}  {least:>8.4} {most:>8.4}"));
            }
            None => line.push_str(&format!("  {:>10}", "-")),
        }
        lines.push(line);
    }
    lines.join("\n")
}
