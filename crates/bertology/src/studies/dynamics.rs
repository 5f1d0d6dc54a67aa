//! Heads along a training: at every checkpoint the importance of each head, and the score against the number of heads
//! masked; section 6 of *Are Sixteen Heads Really Better than One?* (Michel, Levy and Neubig 2019).
//!
//! Each checkpoint ranks its own heads by its own importance. Orders that are drawn are the same at all of them.

use bertology_data::{kendall, spearman};
use bertology_error::Kind;
use bertology_model::{HeadId, HeadMask};
use serde::{Deserialize, Serialize};

use crate::drive::Work;
use crate::studies::curve::{Curves, Next, Order, Point, counts};
use crate::studies::evaluate::{Evaluation, evaluate};
use crate::studies::importance::{Granularity, ImportanceOptions, importance};
use crate::studies::metric::{Direction, Metric};
use crate::studies::normalize::Normalization;
use crate::{Corpus, Error, HeadTable, LoadedModel, Watch};

/// By how much of the unpruned score it may get worse where heads are said to be dispensable ([`dispensable`]).
pub const WITHIN: f64 = 0.1;

/// Of a score, by which the bound of [`dispensable`] is widened: 0.9 · 0.8 is a little more than 0.72 in f64.
const ROUNDING: f64 = 1e-12;

/// A moment of a training.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Steps of the optimiser before it.
    pub step: u64,
    /// What the checkpoint is called.
    pub name: String,
}

/// Why checkpoints have no order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MomentError {
    /// The name of a checkpoint says no step.
    #[error(
        "{name}: the name of this checkpoint has no number that could be its step, as in checkpoint-500 or step_20k"
    )]
    NoStep {
        /// Of the checkpoint.
        name: String,
    },
    /// Two checkpoints cannot be told apart.
    #[error("{first} and {second} are both of step {step}")]
    SameStep {
        /// Of both.
        step: u64,
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
}

impl MomentError {
    /// Whose fault it was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoStep { .. } | Self::SameStep { .. } => Kind::Input,
        }
    }
}

/// The step that a name says: its last number, times a thousand or a million where `k` or `m` stands behind it, as in
/// `checkpoint-500`, `step_20k`, `1.5m`. The number of a seed is none.
///
/// `None` for a name without such a number, and for one of 2⁶⁴ or more.
#[must_use]
pub fn step_of(name: &str) -> Option<u64> {
    let bytes = name.as_bytes();
    let end = bytes.iter().rposition(u8::is_ascii_digit)? + 1;
    let digits_before = |end: usize| {
        let digits = bytes[..end].iter().rev().take_while(|b| b.is_ascii_digit());
        end - digits.count()
    };
    let start = digits_before(end);
    // `k` of `20k`, but not of `20known`.
    let alone = bytes
        .get(end + 1)
        .is_none_or(|b| !b.is_ascii_alphanumeric());
    let zeros = match bytes.get(end) {
        Some(b'k' | b'K') if alone => 3,
        Some(b'm' | b'M') if alone => 6,
        _ => 0,
    };
    let before = name.get(..start).unwrap_or_default();
    if zeros == 0 {
        let word = before.trim_end_matches(['_', '-', '.', '=', ' ']);
        let of_seed = word.to_ascii_lowercase().ends_with("seed");
        return name[start..end].parse().ok().filter(|_| !of_seed);
    }
    // A fraction of thousands or millions, as long as it is a whole number of steps.
    let (whole, fraction) = match before.strip_suffix('.') {
        Some(before) if before.ends_with(|c: char| c.is_ascii_digit()) => {
            let first = digits_before(before.len());
            (&name[first..before.len()], &name[start..end])
        }
        _ => (&name[start..end], ""),
    };
    let missing = zeros_left(zeros, fraction.len())?;
    format!("{whole}{fraction}{missing}").parse().ok()
}

/// The zeros behind so many digits of a fraction.
fn zeros_left(zeros: usize, digits: usize) -> Option<String> {
    Some("0".repeat(zeros.checked_sub(digits)?))
}

/// Checkpoints by ascending step; with each what belongs to it.
///
/// # Errors
/// A name without a step, where none is given; two of one step.
pub fn in_order<T>(
    named: impl IntoIterator<Item = (Option<u64>, String, T)>,
) -> Result<Vec<(Moment, T)>, MomentError> {
    let mut all = Vec::new();
    for (given, name, what) in named {
        match given.or_else(|| step_of(&name)) {
            Some(step) => all.push((Moment { step, name }, what)),
            None => return Err(MomentError::NoStep { name }),
        }
    }
    all.sort_by_key(|(moment, _)| moment.step);
    let twice = all.windows(2).find(|pair| pair[0].0.step == pair[1].0.step);
    if let Some([(first, _), (second, _)]) = twice {
        return Err(MomentError::SameStep {
            step: first.step,
            first: first.name.clone(),
            second: second.name.clone(),
        });
    }
    Ok(all)
}

/// What is asked of every checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DynamicsOptions {
    /// Share of the heads from one point of a curve to the next, above 0 and at most 1 ([`counts`]).
    pub share: f64,
    /// Of the orders that are drawn.
    pub seeds: Vec<u64>,
    /// What is summed before the absolute value.
    pub granularity: Granularity,
    /// Of importance before heads are ranked.
    pub normalization: Normalization,
}

impl Default for DynamicsOptions {
    fn default() -> Self {
        Self {
            share: 0.1,
            seeds: (1..=5).collect(),
            granularity: Granularity::default(),
            normalization: Normalization::default(),
        }
    }
}

/// What is known of one checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AtMoment {
    /// Importance of the heads before any normalisation.
    pub raw: HeadTable,
    /// The first order is that by importance, the others are drawn.
    pub curves: Curves,
}

/// A study of checkpoints on its way, pass by pass: it can be saved and continued.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dynamics {
    moments: Vec<Moment>,
    #[serde(with = "crate::studies::masking::head_ids")]
    heads: Vec<HeadId>,
    options: DynamicsOptions,
    found: Vec<AtMoment>,
}

/// One checkpoint, and the data that it is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The checkpoint.
    pub model: &'a LoadedModel,
    /// What it is scored on.
    pub corpus: &'a Corpus,
    /// What its heads are ranked on; the same data flatter the order by importance.
    pub ranked_on: &'a Corpus,
    /// The score that decides.
    pub metric: &'a Metric,
}

impl Dynamics {
    /// Nothing done yet. `moments` are in order; all checkpoints have these heads.
    #[must_use]
    pub fn new(moments: Vec<Moment>, heads: Vec<HeadId>, options: DynamicsOptions) -> Self {
        Self {
            moments,
            heads,
            options,
            found: Vec::new(),
        }
    }

    /// Refuses a saved state that is of other checkpoints or options, or cannot be.
    ///
    /// # Errors
    /// [`Error::StateMismatch`], [`Error::StateImpossible`].
    pub fn agrees(&self, fresh: &Self) -> Result<(), Error> {
        if self.moments != fresh.moments {
            let say = |moments: &[Moment]| {
                let names: Vec<&str> = moments.iter().map(|m| m.name.as_str()).collect();
                names.join(", ")
            };
            let (was, is) = (say(&self.moments), say(&fresh.moments));
            return Error::state_mismatch("the checkpoints", was, is);
        }
        if self.heads != fresh.heads || self.options != fresh.options {
            let say = |of: &Self| format!("{} heads, {:?}", of.heads.len(), of.options);
            return Error::state_mismatch("the curves", say(self), say(fresh));
        }
        Error::unless_possible(
            self.found.len() <= self.moments.len(),
            "found",
            "there are more than checkpoints",
        )?;
        for (at, found) in self.found.iter().enumerate() {
            let fits = found.raw.live().eq(self.heads.iter().copied())
                && found.raw.values().iter().all(|value| *value >= 0.0);
            Error::unless_possible(fits, "raw", "these are no scores of the heads")?;
            found.curves.agrees(&self.curves(&found.raw))?;
            let last = at + 1 == self.found.len();
            Error::unless_possible(
                last || is_whole(&found.curves),
                "curves",
                "a later checkpoint was begun before",
            )?;
        }
        Ok(())
    }

    /// The checkpoints.
    #[must_use]
    pub fn moments(&self) -> &[Moment] {
        &self.moments
    }

    /// What is known so far, checkpoint by checkpoint.
    #[must_use]
    pub fn found(&self) -> &[AtMoment] {
        &self.found
    }

    /// Heads of a checkpoint, in order.
    #[must_use]
    pub fn heads(&self) -> &[HeadId] {
        &self.heads
    }

    /// What is asked of every checkpoint.
    #[must_use]
    pub fn options(&self) -> &DynamicsOptions {
        &self.options
    }

    /// Heads masked at each point of a curve.
    #[must_use]
    pub fn counts(&self) -> Vec<usize> {
        counts(self.heads.len(), self.options.share)
    }

    /// Passes made, and passes in all: one that ranks and those of the curves, at each checkpoint.
    #[must_use]
    pub fn done(&self) -> (usize, usize) {
        let each = 2 + (1 + self.options.seeds.len()) * self.counts().len();
        let made = self.found.iter().map(|found| 1 + found.curves.done().0);
        (made.sum(), each * self.moments.len())
    }

    /// Of which checkpoint the next pass is; none when all is done.
    #[must_use]
    pub fn at(&self) -> Option<usize> {
        match self.found.last() {
            Some(found) if !is_whole(&found.curves) => Some(self.found.len() - 1),
            _ => (self.found.len() < self.moments.len()).then_some(self.found.len()),
        }
    }

    /// Makes the next pass, on the checkpoint that [`Self::at`] says; none when all is done.
    ///
    /// # Errors
    /// A model of other heads; as [`importance`] and [`evaluate`]. Nothing is lost of the passes before.
    pub fn pass(
        &mut self,
        subject: &Subject<'_>,
        work: &Work,
        watch: &mut dyn Watch,
    ) -> Result<(), Error> {
        let Subject {
            model,
            corpus,
            ranked_on,
            metric,
        } = *subject;
        if !model.model().heads().eq(self.heads.iter().copied()) {
            let count = |heads: usize| format!("{heads} heads");
            let (was, is) = (
                count(self.heads.len()),
                count(model.model().heads().count()),
            );
            return Error::state_mismatch("the set of heads that the model has", was, is);
        }
        if self.at().is_none() {
            return Ok(());
        }
        let Some(next) = self.next(&HeadMask::ones(model.model())) else {
            let options = ImportanceOptions::new(self.options.granularity);
            let found = importance(model, ranked_on, &options, work, watch)?;
            self.rank(found.raw);
            return Ok(());
        };
        let found = evaluate(model, corpus, next.mask.as_ref(), work, watch)?;
        let score = found.score(corpus, &metric.name)?;
        self.add(&next, found, &metric.name, score);
        Ok(())
    }

    /// The next pass under a mask; none where heads are to be ranked first, or all is done.
    fn next(&self, blank: &HeadMask) -> Option<Next> {
        self.found.last()?.curves.next(blank)
    }

    fn rank(&mut self, raw: HeadTable) {
        let curves = self.curves(&raw);
        self.found.push(AtMoment { raw, curves });
    }

    fn add(&mut self, next: &Next, found: Evaluation, metric: &str, score: f64) {
        if let Some(last) = self.found.last_mut() {
            last.curves.add(next, found, metric, score);
        }
    }

    fn curves(&self, raw: &HeadTable) -> Curves {
        let shown = self.options.normalization.apply(raw);
        let drawn = self.options.seeds.iter();
        let drawn = drawn.map(|seed| Order::random(self.heads.iter().copied(), *seed));
        let orders = [Order::by_score("importance", &shown)]
            .into_iter()
            .chain(drawn);
        Curves::new(orders.collect(), self.counts())
    }

    /// Importance at a checkpoint that is ranked, normalised as the options say.
    #[must_use]
    pub fn importance(&self, at: usize) -> Option<HeadTable> {
        let found = self.found.get(at)?;
        Some(self.options.normalization.apply(&found.raw))
    }

    /// How alike two checkpoints, which are ranked, rank their heads.
    #[must_use]
    pub fn agreement(&self, one: usize, other: usize) -> Option<Agreement> {
        Some(Agreement::of(
            &self.importance(one)?,
            &self.importance(other)?,
        ))
    }
}

/// Nothing is left to do.
fn is_whole(curves: &Curves) -> bool {
    let (made, all) = curves.done();
    made == all
}

/// How alike two tables rank heads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// Spearman's ρ; NaN where a table has one value for all heads.
    pub spearman: f64,
    /// Kendall's τ-b, likewise.
    pub kendall: f64,
}

impl Agreement {
    /// Over the heads that have a number in both.
    #[must_use]
    pub fn of(one: &HeadTable, other: &HeadTable) -> Self {
        let pairs = one.iter().filter_map(|(id, x)| Some((x, other.get(id)?)));
        let pairs: Vec<(f64, f64)> = pairs.collect();
        Self {
            spearman: spearman(&pairs),
            kendall: kendall(&pairs),
        }
    }
}

/// A score over that of the whole model. None where one is not a number, and where the whole model's is not above 0: a
/// share of nothing, or of less, says nothing.
#[must_use]
pub fn relative(score: Option<f64>, whole: Option<f64>) -> Option<f64> {
    let whole = whole.filter(|whole| *whole > 0.0)?;
    score.map(|score| score / whole)
}

/// How many heads can be masked along a curve before the score is worse than the whole model's by more than [`WITHIN`] of
/// it: the last point before the first that is. `points` by ascending number of masked heads. None where the whole model's
/// score is not above 0.
#[must_use]
pub fn dispensable(whole: Option<f64>, points: &[Point], direction: Direction) -> Option<usize> {
    let whole = whole.filter(|whole| *whole > 0.0)?;
    let good = |point: &&Point| {
        point.score.is_some_and(|score| match direction {
            Direction::Higher => score >= whole * (1.0 - WITHIN - ROUNDING),
            Direction::Lower => score <= whole * (1.0 + WITHIN + ROUNDING),
        })
    };
    let last = points.iter().take_while(good).last();
    Some(last.map_or(0, |point| point.masked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::studies::evaluate::Metrics;

    #[test]
    fn names_say_steps() {
        for (name, step) in [
            ("checkpoint-500", Some(500)),
            ("step-00115", Some(115)),
            ("step_20k", Some(20_000)),
            ("multiberts-seed_0-step_1000k", Some(1_000_000)),
            ("multiberts-seed_0-step_0k", Some(0)),
            ("step2M-final", Some(2_000_000)),
            ("steps.1.5m", Some(1_500_000)),
            ("0.5k", Some(500)),
            ("v2.step_30k", Some(30_000)),
            ("epoch3", Some(3)),
            ("global_step100_best", Some(100)),
            ("3known", Some(3)),
            ("1.0005k", None),
            ("multiberts-seed_0", None),
            ("seed7", None),
            ("best", None),
            ("", None),
            ("größe-7k", Some(7_000)),
            ("99999999999999999999", None),
            ("99999999999999999m", None),
        ] {
            assert_eq!(step_of(name), step, "{name}");
        }
    }

    #[test]
    fn checkpoints_stand_in_the_order_of_their_steps() {
        let named = |names: &[(Option<u64>, &str)]| {
            let all = names.iter().enumerate();
            in_order(all.map(|(at, (step, name))| (*step, (*name).to_owned(), at)))
        };
        let found = named(&[(None, "c-1000"), (None, "c-20"), (Some(300), "c")]).unwrap();
        let order: Vec<(u64, usize)> = found.iter().map(|(m, at)| (m.step, *at)).collect();
        assert_eq!(order, [(20, 1), (300, 2), (1000, 0)]);
        let error = named(&[(None, "a-7"), (None, "best")]).unwrap_err();
        assert!(matches!(&error, MomentError::NoStep { name } if name == "best"));
        let error = named(&[(None, "a-1k"), (None, "z-2"), (None, "b-1000")]).unwrap_err();
        assert_eq!(error.to_string(), "a-1k and b-1000 are both of step 1000");
        assert_eq!(error.kind(), Kind::Input);
    }

    fn point(masked: usize, score: Option<f64>) -> Point {
        Point {
            masked,
            score,
            interval: None,
            metrics: Metrics::default(),
            loss: 0.0,
            examples: 1,
        }
    }

    #[test]
    fn heads_are_dispensable_up_to_the_first_point_that_is_worse() {
        let of = |scores: &[Option<f64>], direction| {
            let points = scores.iter().zip(1..).map(|(s, at)| point(at * 10, *s));
            dispensable(Some(0.8), &points.collect::<Vec<_>>(), direction)
        };
        let higher = |scores: &[f64]| {
            let scores: Vec<Option<f64>> = scores.iter().copied().map(Some).collect();
            of(&scores, Direction::Higher)
        };
        // 0.72 is nine tenths exactly, and what comes back later does not count.
        assert_eq!(higher(&[0.81, 0.72, 0.7199, 0.8]), Some(20));
        assert_eq!(higher(&[0.5, 0.8]), Some(0));
        assert_eq!(higher(&[0.8, 0.8, 0.8]), Some(30));
        let undefined = [Some(0.8), None, Some(0.8)];
        assert_eq!(of(&undefined, Direction::Higher), Some(10));
        let losses = [Some(0.7), Some(0.88), Some(0.8801)];
        assert_eq!(of(&losses, Direction::Lower), Some(20));
        for whole in [None, Some(0.0), Some(-0.2)] {
            let points = [point(1, Some(0.5))];
            assert_eq!(dispensable(whole, &points, Direction::Higher), None);
            assert_eq!(relative(Some(0.5), whole), None);
        }
        assert_eq!(relative(Some(0.2), Some(0.8)), Some(0.25));
        assert_eq!(relative(None, Some(0.8)), None);
    }

    fn table(values: &[f64]) -> HeadTable {
        HeadTable::from_values(2, 2, values.to_vec())
    }

    #[test]
    fn agreement_is_that_of_ranks() {
        // scipy: spearmanr([4, 3, 2, 1], [4, 2, 3, 1]) is 0.8, kendalltau 2/3.
        let (one, other) = (table(&[4., 3., 2., 1.]), table(&[9., 0.5, 0.7, 0.1]));
        let found = Agreement::of(&one, &other);
        assert!((found.spearman - 0.8).abs() < 1e-12, "{found:?}");
        assert!((found.kendall - 2.0 / 3.0).abs() < 1e-12, "{found:?}");
        assert!(Agreement::of(&one, &table(&[1.0; 4])).spearman.is_nan());
        // Without head 1.1 the three that are left are ranked 3 1 2 and 3 2 1.
        let fewer = table(&[3., 1., 2., 0.]).restricted(|id| id.layer + id.head < 2);
        let found = Agreement::of(&one, &fewer);
        assert!((found.spearman - 0.5).abs() < 1e-12, "{found:?}");
        assert!((found.kendall - 1.0 / 3.0).abs() < 1e-12, "{found:?}");
    }

    /// Scores are planted: at checkpoint `c` each head masked costs `c + 1` hundredths.
    #[test]
    fn passes_come_in_order_and_a_saved_state_goes_on() {
        let moments = in_order([(Some(5), "a".into(), ()), (Some(9), "b".into(), ())]).unwrap();
        let moments: Vec<Moment> = moments.into_iter().map(|(moment, ())| moment).collect();
        let heads: Vec<HeadId> = table(&[0.0; 4]).live().collect();
        let options = DynamicsOptions {
            share: 0.5,
            seeds: vec![1, 2],
            ..DynamicsOptions::default()
        };
        let fresh = Dynamics::new(moments, heads, options);
        let blank = HeadMask::from_values(2, 2, vec![1.0; 4]).unwrap();
        let mut dynamics = fresh.clone();
        let mut visited = Vec::new();
        // Ranking, the whole model, three orders of two points.
        assert_eq!(dynamics.done(), (0, 2 * 8));
        while let Some(at) = dynamics.at() {
            visited.push(at);
            match dynamics.next(&blank) {
                None => dynamics.rank(table(&[0.1, 0.2, 0.3, 0.4 - at as f64])),
                Some(next) => {
                    let score = 0.9 - next.masked as f64 * (at + 1) as f64 / 100.0;
                    let found = Evaluation {
                        metrics: Metrics::new([("acc", score)]),
                        intervals: Default::default(),
                        loss: 1.0,
                        examples: 3,
                        targets: 3,
                        tokens: 9,
                        truncation: crate::corpus::Truncation::default(),
                        confusion: Vec::new(),
                    };
                    dynamics.add(&next, found, "acc", score);
                }
            }
            let text = serde_json::to_string(&dynamics).unwrap();
            dynamics = serde_json::from_str(&text).unwrap();
            if at == 0 {
                dynamics.agrees(&fresh).unwrap();
            }
        }
        assert_eq!(visited, [[0; 8], [1; 8]].concat());
        assert_eq!(dynamics.done(), (16, 16));
        let curves = &dynamics.found()[0].curves;
        assert_eq!(dynamics.counts(), [2, 4]);
        assert_eq!(curves.points(0)[1].score, Some(0.9 - 0.04));
        // The same orders are drawn at both, and each has its own by importance.
        let other = &dynamics.found()[1].curves;
        assert_eq!(curves.orders()[1..], other.orders()[1..]);
        assert_ne!(curves.orders()[0], other.orders()[0]);
        // At the second checkpoint a score is below 0, which no head can have.
        let error = dynamics.agrees(&fresh).unwrap_err();
        assert!(matches!(error, Error::StateImpossible { field: "raw", .. }));
        let mut seeds = fresh.clone();
        seeds.options.seeds = vec![1, 3];
        let error = fresh.agrees(&seeds).unwrap_err();
        assert!(matches!(error, Error::StateMismatch { .. }), "{error}");
    }
}
