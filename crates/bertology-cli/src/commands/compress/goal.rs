//! Which units stay under a goal, searched as often as the goal needs it.

use bertology::checkpoint::{Export, cut_file_bytes};
use bertology::compress::{
    Chosen, Compressed, Costs, Gradients, PerUnit, Rules, choose, cut, factors,
};
use bertology::evaluate::evaluate_some;
use bertology::input::sample::Sample;
use bertology::masking::Metric;
use bertology::{Corpus, LoadedModel, Sequence};
use bertology_run::studies::compress::PointRow;

use super::args::MeasureArg;
use super::{CLOSE, Study};
use crate::commands::search;
use crate::failure::Failure;
use crate::session::failure;
use crate::show::text::percent;
use crate::study;
use crate::watcher::Watcher;

/// A search, as often as a goal needs it.
pub(super) struct Search<'a> {
    pub(super) study: &'a Study<'a>,
    pub(super) taken: Gradients,
    pub(super) scores: PerUnit<f64>,
    pub(super) tune_on: &'a [Sequence],
}

impl Search<'_> {
    pub(super) fn within(&self, costs: &Costs, budget: f64) -> Result<Chosen, Failure> {
        let Study { args, groups, .. } = self.study;
        let rules = Rules {
            heads_only: args.heads_only,
            neurons_only: args.neurons_only,
            uniform: args.uniform,
        };
        let exchange = !args.no_exchange && args.measure != MeasureArg::Random;
        let chosen = choose(
            groups,
            &self.taken,
            &self.scores,
            costs,
            budget,
            rules,
            exchange,
        );
        chosen.map_err(|refused| self.study.out_of_reach(costs, refused))
    }

    /// [`Self::within`], the file's header counted as well, whose length depends on what it says.
    pub(super) fn within_bytes(&self, costs: &Costs, goal: f64) -> Result<Chosen, Failure> {
        let checkpoint = self.study.opened.model.checkpoint();
        let mut budget = goal;
        loop {
            let chosen = self.within(costs, budget)?;
            let gone = cut(&self.study.groups, &factors(&chosen.keep));
            let written = cut_file_bytes(checkpoint, &gone, Export::Pruned);
            let over = written.map_err(|e| failure(&e.into()))? as f64 - goal;
            if over <= 0.0 {
                return Ok(chosen);
            }
            budget -= over;
        }
    }

    /// The smallest model whose score keeps to the bound: the share of the operations is halved between what passed and what
    /// failed.
    pub(super) fn by_score(
        &self,
        operations: &Costs,
        [whole, apart]: [&Sample<'_, Corpus>; 2],
        points: &mut Vec<PointRow>,
        bound: &mut Option<(Metric, f64)>,
    ) -> Result<(Chosen, Compressed), Failure> {
        let study = self.study;
        let metric = Metric::of(study.chosen_on, study.args.metric.as_deref());
        let metric = metric.map_err(|e| failure(&e))?;
        let Some(given) = study.args.max_drop else {
            return Err(Failure::input("--max-drop is not given"));
        };
        let threshold = search::drop_of(
            given,
            &metric,
            metric.point(study.chosen_on),
            "--flops 60% for a model that no score chooses",
        )?;
        let score = |model: &LoadedModel, corpus: &Corpus, apart: &Sample<'_, Corpus>| {
            let mut watcher = Watcher::new(study.screen).of(study::unit(corpus));
            let found = evaluate_some(model, corpus, apart, None, &study.work, &mut watcher);
            study.screen.stop();
            let found = found.map_err(|e| failure(&e))?;
            let score = found.score(corpus, &metric.name);
            score.map_err(|e| failure(&e))
        };
        // With its own vocabulary the whole model reads the same examples.
        let base = score(study.whole.model, study.whole.chosen_on, whole)?;
        let least = metric.bound(threshold, base).map_err(|e| failure(&e))?;
        let Some(least) = least else {
            return Err(Failure::input("--max-drop gives no bound"));
        };
        let whole = operations.whole();
        let counts = study.groups.counts();
        let mut point = |share: f64, keep: Option<&PerUnit<bool>>, score: f64, passed: bool| {
            let left = |first: usize| -> usize {
                let all = |group: usize| {
                    keep.map_or(counts[group], |keep| {
                        keep[group].iter().filter(|stays| **stays).count()
                    })
                };
                (first..counts.len()).step_by(2).map(all).sum()
            };
            points.push(PointRow {
                point: points.len(),
                operations: share,
                heads: left(0),
                neurons: left(1),
                score: Some(score).filter(|score| score.is_finite()),
                passed,
            });
        };
        point(1.0, None, base, true);
        let (mut low, mut high) = (0.0_f64, 1.0_f64);
        let mut best = None;
        while high - low > CLOSE {
            let share = f64::midpoint(low, high);
            // What cannot be had at all is below every bound.
            let Ok(chosen) = self.within(operations, share * whole) else {
                low = share;
                continue;
            };
            let smaller = study.finish(&chosen, self.tune_on)?;
            let found = score(&smaller.model, study.chosen_on, apart)?;
            let passed = metric.passes(found, least);
            point(chosen.cost / whole, Some(&chosen.keep), found, passed);
            study.screen.say(&format!(
                "  {:>5.1}% of the operations: {} {found:.4} {}",
                100.0 * chosen.cost / whole,
                metric.name,
                if passed { "" } else { "(too little)" }
            ));
            if passed {
                high = share;
                best = Some((chosen, smaller));
            } else {
                low = share;
            }
        }
        *bound = Some((metric.clone(), least));
        best.ok_or_else(|| {
            Failure::input(format!(
                "--max-drop {given}: {} falls below {least:.4} with {} of the operations already; allow more, or give --flops",
                metric.name,
                percent((1000.0 * low) as u64, 1000)
            ))
        })
    }
}
