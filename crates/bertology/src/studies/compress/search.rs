//! Which units stay, where all that stay may cost so much.
//!
//! The loss without some units is taken as the sum of their scores, so that in each group those with the lowest scores go, and
//! what is left to choose is how many: one number a group. The best choice is found from fronts: all pairs of cost and loss of
//! the first groups of which no other is better in both, group after group. As long as a front has fewer points than
//! [`FRONT`] the result is the best of all choices; of longer ones the best point in each of so many equal steps of cost is
//! kept, true costs and losses with it, so that nothing is rounded and at most a step is lost.

use super::cost::Costs;
use super::groups::{Groups, Kind, PerUnit};

/// Points of a front that is kept whole.
const FRONT: usize = 4096;

/// Numbers of neurons between which is chosen in a layer, about; heads one by one.
const WIDTHS: usize = 128;

/// What is allowed besides the cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rules {
    /// Neurons all stay.
    pub heads_only: bool,
    /// Heads all stay.
    pub neurons_only: bool,
    /// Every layer keeps as many neurons.
    pub uniform: bool,
}

/// The cost cannot be reached: each group keeps a unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutOfReach {
    /// The least cost that can be had.
    pub least: f64,
}

/// One way to take a group.
#[derive(Debug, Clone, Copy)]
struct Choice {
    units: usize,
    cost: f64,
    loss: f64,
}

/// The first groups, taken in one way.
#[derive(Debug, Clone, Copy)]
struct Point {
    cost: f64,
    loss: f64,
    /// Place in the front before, and number of units of this group.
    from: usize,
    units: usize,
}

/// The units that stay: the sum of the scores of those that go is the least that there is for a cost of at most `budget`.
/// Each group keeps a unit at least. Of equal scores the later unit goes first.
///
/// # Errors
/// A budget that cannot be kept.
pub fn search(
    groups: &Groups,
    scores: &PerUnit<f64>,
    costs: &Costs,
    budget: f64,
    rules: Rules,
) -> Result<PerUnit<bool>, OutOfReach> {
    let orders: Vec<Vec<usize>> = scores.iter().map(|scores| order(scores)).collect();
    let choices: Vec<Vec<Choice>> = groups
        .iter()
        .enumerate()
        .map(|(group, (_, kind))| {
            let fixed = match kind {
                Kind::Heads => rules.neurons_only,
                Kind::Neurons => rules.heads_only,
            };
            choices(&orders[group], &scores[group], costs.group(group), fixed)
        })
        .collect();
    let budget = budget - costs.fixed();
    let counts = match rules.uniform {
        false => best(&choices, budget),
        true => even(groups, &choices, budget),
    };
    let counts = counts.ok_or_else(|| {
        let least = choices.iter().filter_map(|choices| choices.first());
        OutOfReach {
            least: costs.fixed() + least.map(|choice| choice.cost).sum::<f64>(),
        }
    })?;
    let mut keep: PerUnit<bool> = counts
        .iter()
        .zip(&orders)
        .map(|(count, order)| {
            let mut keep = vec![false; order.len()];
            order[..*count].iter().for_each(|unit| keep[*unit] = true);
            keep
        })
        .collect();
    if !rules.uniform {
        fill(&mut keep, &orders, scores, costs, budget + costs.fixed());
    }
    Ok(keep)
}

/// Units from the one that is to stay longest to the one that goes first.
fn order(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
    order
}

/// By rising number of units.
fn choices(order: &[usize], scores: &[f64], costs: &[f64], fixed: bool) -> Vec<Choice> {
    let all = order.len();
    let step = (all / WIDTHS).max(1);
    let mut lost = vec![0.0; all + 1];
    for kept in (0..all).rev() {
        lost[kept] = lost[kept + 1] + scores[order[kept]];
    }
    let first = if fixed { all } else { 1.min(all) };
    (first..=all)
        .filter(|units| *units == first || units.is_multiple_of(step) || *units == all)
        .map(|units| Choice {
            units,
            cost: costs[units],
            loss: lost[units],
        })
        .collect()
}

/// Units of each group.
fn best(groups: &[Vec<Choice>], budget: f64) -> Option<Vec<usize>> {
    // What the groups behind each cost at least.
    let mut behind = vec![0.0; groups.len() + 1];
    for (at, choices) in groups.iter().enumerate().rev() {
        let least = choices.iter().map(|choice| choice.cost);
        behind[at] = behind[at + 1] + least.fold(f64::INFINITY, f64::min);
    }
    // Sums of the same costs in another order differ in their last bits.
    let budget = budget + 1e-9 * budget.abs();
    let mut fronts: Vec<Vec<Point>> = vec![vec![Point {
        cost: 0.0,
        loss: 0.0,
        from: 0,
        units: 0,
    }]];
    for (at, choices) in groups.iter().enumerate() {
        let before = fronts.last().map_or(&[][..], Vec::as_slice);
        let mut points = Vec::with_capacity(before.len() * choices.len());
        for (from, point) in before.iter().enumerate() {
            for choice in choices {
                let cost = point.cost + choice.cost;
                if cost + behind[at + 1] <= budget {
                    points.push(Point {
                        cost,
                        loss: point.loss + choice.loss,
                        from,
                        units: choice.units,
                    });
                }
            }
        }
        fronts.push(front(points));
    }
    let last = fronts.last()?;
    // Losses fall along a front.
    let mut at = last.len().checked_sub(1)?;
    let mut counts = vec![0; groups.len()];
    for group in (0..groups.len()).rev() {
        let point = fronts[group + 1][at];
        counts[group] = point.units;
        at = point.from;
    }
    Some(counts)
}

/// The points that no other beats, by rising cost.
fn front(mut points: Vec<Point>) -> Vec<Point> {
    points.sort_by(|a, b| a.cost.total_cmp(&b.cost).then(a.loss.total_cmp(&b.loss)));
    let mut least = f64::INFINITY;
    points.retain(|point| {
        let better = point.loss < least;
        least = least.min(point.loss);
        better
    });
    if points.len() <= FRONT {
        return points;
    }
    let (first, last) = (points[0].cost, points[points.len() - 1].cost);
    let step = (last - first) / FRONT as f64;
    let bin = |point: &Point| ((point.cost - first) / step) as usize;
    // Losses fall: the last of a bin is its best; the first point of all stays, so that a choice is always left.
    let bins: Vec<usize> = points.iter().map(bin).collect();
    let mut at = 0;
    points.retain(|_| {
        at += 1;
        at == 1 || bins.get(at) != Some(&bins[at - 1])
    });
    points
}

/// Units of each group where all layers keep as many neurons: for each such number the best heads.
fn even(groups: &Groups, choices: &[Vec<Choice>], budget: f64) -> Option<Vec<usize>> {
    let heads: Vec<Vec<Choice>> = choices.iter().step_by(2).cloned().collect();
    let neurons = choices.iter().skip(1).step_by(2);
    // Every layer has the same numbers to choose from unless some have lost neurons already.
    let most = neurons
        .clone()
        .filter_map(|of| of.last())
        .map(|of| of.units);
    let widths: Vec<usize> = choices
        .get(1)
        .into_iter()
        .flatten()
        .map(|choice| choice.units)
        .filter(|units| most.clone().all(|most| *units <= most))
        .collect();
    let mut found: Option<(f64, Vec<usize>)> = None;
    for width in widths {
        let taken: Option<Vec<&Choice>> = neurons
            .clone()
            .map(|of| of.iter().find(|choice| choice.units == width))
            .collect();
        let Some(taken) = taken else { continue };
        let cost: f64 = taken.iter().map(|choice| choice.cost).sum();
        let Some(counts) = best(&heads, budget - cost) else {
            continue;
        };
        let of_heads = counts.iter().zip(&heads).map(|(units, choices)| {
            let choice = choices.iter().find(|choice| choice.units == *units);
            choice.map_or(0.0, |choice| choice.loss)
        });
        let loss = taken.iter().map(|choice| choice.loss).sum::<f64>() + of_heads.sum::<f64>();
        if found.as_ref().is_none_or(|(least, _)| loss < *least) {
            let all = (0..groups.layers()).flat_map(|layer| [counts[layer], width]);
            found = Some((loss, all.collect()));
        }
    }
    found.map(|(_, counts)| counts)
}

/// Takes back units, the best for their cost first, as long as the budget has room for one: widths were chosen in steps.
fn fill(
    keep: &mut PerUnit<bool>,
    orders: &[Vec<usize>],
    scores: &PerUnit<f64>,
    costs: &Costs,
    budget: f64,
) {
    let mut cost = costs.of(keep);
    let mut counts: Vec<usize> = keep
        .iter()
        .map(|keep| keep.iter().filter(|stays| **stays).count())
        .collect();
    loop {
        let candidates = (0..counts.len()).filter_map(|group| {
            let count = counts[group];
            let unit = *orders[group].get(count)?;
            let of = costs.group(group);
            let more = of[count + 1] - of[count];
            let fits = cost + more <= budget && scores[group][unit] > 0.0;
            fits.then_some((
                group,
                unit,
                more,
                scores[group][unit] / more.max(f64::MIN_POSITIVE),
            ))
        });
        let Some((group, unit, more, _)) = candidates.max_by(|a, b| a.3.total_cmp(&b.3)) else {
            return;
        };
        keep[group][unit] = true;
        counts[group] += 1;
        cost += more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Draws;

    /// The least loss of all ways to keep units.
    fn by_force(
        groups: &Groups,
        scores: &PerUnit<f64>,
        costs: &Costs,
        budget: f64,
        rules: Rules,
    ) -> Option<f64> {
        let counts = groups.counts();
        let units: usize = counts.iter().sum();
        let mut least: Option<f64> = None;
        for set in 0_u32..1 << units {
            let mut at = 0;
            let keep: PerUnit<bool> = counts
                .iter()
                .map(|count| {
                    at += count;
                    (at - count..at).map(|unit| set >> unit & 1 == 1).collect()
                })
                .collect();
            let empty = keep.iter().any(|keep| !keep.contains(&true));
            let all = |keep: &Vec<bool>| !keep.contains(&false);
            let neurons = || keep.iter().skip(1).step_by(2);
            let width = |keep: &Vec<bool>| keep.iter().filter(|stays| **stays).count();
            let uneven = neurons().any(|keep| width(keep) != width(neurons().next().unwrap()));
            if empty
                || costs.of(&keep) > budget
                || rules.heads_only && !neurons().all(all)
                || rules.neurons_only && !keep.iter().step_by(2).all(all)
                || rules.uniform && uneven
            {
                continue;
            }
            let loss = lost(scores, &keep);
            least = Some(least.map_or(loss, |least| least.min(loss)));
        }
        least
    }

    fn lost(scores: &PerUnit<f64>, keep: &PerUnit<bool>) -> f64 {
        let units = scores.iter().flatten().zip(keep.iter().flatten());
        units
            .filter(|(_, stays)| !**stays)
            .map(|(score, _)| score)
            .sum()
    }

    #[test]
    fn it_finds_what_trying_everything_finds() {
        let mut draws = Draws::new(7);
        let groups = Groups::for_tests(&[(3, 4), (2, 4), (1, 3)]);
        for trial in 0..40 {
            let counts = groups.counts();
            let scores: PerUnit<f64> = counts
                .iter()
                .map(|count| (0..*count).map(|_| draws.unit()).collect())
                .collect();
            // Rising, not linear.
            let costs: PerUnit<f64> = counts
                .iter()
                .map(|count| {
                    let mut sum = 0.0;
                    std::iter::once(0.0)
                        .chain((0..*count).map(|_| {
                            sum += draws.unit();
                            sum
                        }))
                        .collect()
                })
                .collect();
            let costs = Costs::new(costs, draws.unit());
            let budget = costs.fixed() + (costs.whole() - costs.fixed()) * draws.unit();
            let rules = Rules {
                heads_only: trial % 4 == 1,
                uniform: trial % 4 == 2,
                neurons_only: trial % 8 == 3,
            };
            let forced = by_force(&groups, &scores, &costs, budget, rules);
            match search(&groups, &scores, &costs, budget, rules) {
                Ok(keep) => {
                    assert!(costs.of(&keep) <= budget + 1e-8);
                    let forced = forced.expect("there is a way");
                    assert!((lost(&scores, &keep) - forced).abs() < 1e-12, "{trial}");
                }
                Err(refused) => {
                    assert_eq!(forced, None, "{trial}");
                    assert!(refused.least > budget);
                    // And what is said to be possible is.
                    let least = refused.least * (1.0 + 1e-12);
                    assert!(
                        search(&groups, &scores, &costs, least, rules).is_ok() || rules.uniform
                    );
                }
            }
        }
    }

    /// Wide layers, where fronts are thinned: within a step of what cannot be beaten.
    #[test]
    fn thinned_fronts_lose_next_to_nothing() {
        let mut draws = Draws::new(3);
        let groups = Groups::for_tests(&[(12, 1536); 6]);
        let counts = groups.counts();
        let scores: PerUnit<f64> = counts
            .iter()
            .map(|count| (0..*count).map(|_| draws.unit().powi(3)).collect())
            .collect();
        let costs: PerUnit<f64> = groups
            .iter()
            .zip(&counts)
            .map(|((_, kind), count)| {
                let each = if kind == Kind::Heads { 54_272.0 } else { 768.0 };
                (0..=*count).map(|k| each * k as f64).collect()
            })
            .collect();
        let costs = Costs::new(costs, 0.0);
        let budget = 0.6 * costs.whole();
        let keep = search(&groups, &scores, &costs, budget, Rules::default()).expect("found");
        let found = lost(&scores, &keep);
        // Two kinds of units, each of one cost: for each number of heads the best are known (Kwon et al. 2022, algorithm 1).
        let sorted = |kind: Kind| {
            let of = groups
                .iter()
                .zip(&scores)
                .filter(|((_, of), _)| *of == kind);
            let mut all: Vec<f64> = of.flat_map(|(_, scores)| scores.iter().copied()).collect();
            all.sort_by(|a, b| b.total_cmp(a));
            all
        };
        let (heads, neurons) = (sorted(Kind::Heads), sorted(Kind::Neurons));
        let best = (0..=heads.len())
            .filter_map(|kept| {
                let left = budget - 54_272.0 * kept as f64;
                let neurons_kept = (left / 768.0) as usize;
                (left >= 0.0).then(|| {
                    let lost = heads[kept..].iter().sum::<f64>();
                    lost + neurons[neurons_kept.min(neurons.len())..]
                        .iter()
                        .sum::<f64>()
                })
            })
            .fold(f64::INFINITY, f64::min);
        assert!(
            found >= best - 1e-9 && found < best * 1.002,
            "{found} {best}"
        );
    }
}
