//! The masking loop, over scripted evaluators and over a model.

use bertology::drive::Work;
use bertology::evaluate::Metrics;
use bertology::importance::{ImportanceOptions, importance};
use bertology::masking::{
    Direction, Evaluator, Goal, Measured, Metric, ModelEvaluator, Recompute, Search, StopReason,
    Threshold, mask_heads, run,
};
use bertology::normalize::Normalization;
use bertology::watch::Savable;
use bertology::{
    Error, Granularity, HeadId, HeadMask, HeadTable, MaskingOptions, MaskingOutcome, MaskingState,
    Watch, evaluate,
};

use super::fixture::{Fixture, HEADS, LAYERS, budget, rows};

/// Scores a mask by a function of the number of live heads; head `i` has importance `i`.
pub(super) struct Scripted<F> {
    score: F,
    asked: Vec<bool>,
}

impl<F: FnMut(usize) -> f64> Evaluator for Scripted<F> {
    fn measure(
        &mut self,
        _step: usize,
        mask: &HeadMask,
        scores: bool,
        _watch: &mut dyn Watch,
    ) -> Result<Measured, Error> {
        self.asked.push(scores);
        let cells = mask.layers() * mask.heads();
        let values = (0..cells).map(|i| i as f64).collect();
        let table = HeadTable::from_values(mask.layers(), mask.heads(), values);
        Ok(Measured {
            score: (self.score)(mask.live().count()),
            metrics: Metrics::default(),
            loss: 0.0,
            raw: scores.then(|| table.restricted(|id| mask.get(id) != 0.0)),
        })
    }
}

pub(super) fn scripted<F: FnMut(usize) -> f64>(score: F) -> Scripted<F> {
    Scripted {
        score,
        asked: Vec::new(),
    }
}

pub(super) fn ones(layers: usize, heads: usize) -> HeadMask {
    HeadMask::from_values(layers, heads, vec![1.0; layers * heads]).unwrap()
}

pub(super) fn accuracy() -> Metric {
    Metric {
        name: "acc".to_owned(),
        direction: Direction::Higher,
    }
}

/// Raw order: head `i` is the `i`-th to go.
pub(super) fn plain() -> MaskingOptions {
    let mut options = MaskingOptions::default();
    options.normalization = Normalization {
        by_layer: false,
        global: false,
    };
    options
}

fn outcome(options: &MaskingOptions, score: impl FnMut(usize) -> f64) -> MaskingOutcome {
    let found = run(
        ones(3, 4),
        &accuracy(),
        options,
        &mut scripted(score),
        None,
        &mut (),
    );
    let found = found.unwrap();
    // Whatever happens: the live set shrinks, and the result passed.
    for pair in found.steps.windows(2) {
        assert!(pair[1].live < pair[0].live);
        assert_eq!(pair[1].live + pair[1].masked.len(), pair[0].live);
    }
    assert!(found.kept().passed);
    assert!(found.kept().score.unwrap() >= found.bound.unwrap());
    found
}

pub(super) fn live(found: &MaskingOutcome) -> Vec<usize> {
    found.steps.iter().map(|s| s.live).collect()
}

#[test]
fn a_metric_that_never_falls_ends_without_heads() {
    for (amount, steps) in [(0.0, 12), (0.1, 12), (0.25, 4), (0.4, 3), (1.0, 1)] {
        let mut options = plain();
        options.amount = amount;
        let found = outcome(&options, |_| 0.5);
        assert_eq!(found.stop, StopReason::Exhausted);
        assert_eq!(found.steps.len(), steps + 1, "amount {amount}");
        assert_eq!(found.mask().live().count(), 0);
    }
}

#[test]
fn the_last_step_masks_what_is_left() {
    let mut options = plain();
    options.amount = 0.45; // 5 of 12
    let found = outcome(&options, |_| 1.0);
    assert_eq!(live(&found), [12, 7, 2, 0]);
    assert_eq!(found.heads_per_step, 5);
}

#[test]
fn the_least_important_go_first_and_the_failing_step_is_undone() {
    let mut options = plain();
    options.amount = 0.25;
    let found = outcome(&options, |live| live as f64 / 12.0);
    // 9 of 12 is 0.75 < 0.9: not even the first step passes, so nothing is masked.
    assert_eq!((found.stop, found.last_passing), (StopReason::Threshold, 0));
    assert_eq!(found.mask().live().count(), 12);
    options.threshold = Threshold::Relative(0.5);
    let found = outcome(&options, |live| live as f64 / 12.0);
    assert_eq!(live(&found), [12, 9, 6, 3]);
    assert_eq!(found.kept().live, 6);
    let masked: Vec<_> = found
        .mask()
        .masked()
        .map(|id| id.layer * 4 + id.head)
        .collect();
    assert_eq!(masked, [0, 1, 2, 3, 4, 5]);
    assert!(!found.steps[3].passed);
}

#[test]
fn thresholds_of_every_kind() {
    let fall = |live: usize| live as f64 / 12.0 - 0.5; // 0.5 down to -0.5
    let mut options = plain();
    options.amount = 0.0;
    options.threshold = Threshold::Absolute(0.2);
    assert_eq!(outcome(&options, fall).kept().live, 9);
    options.threshold = Threshold::Drop(0.3);
    assert_eq!(outcome(&options, fall).kept().live, 9);
    options.threshold = Threshold::Drop(0.0);
    assert_eq!(outcome(&options, fall).kept().live, 12);
    // Negative scores are fine with a threshold that is not relative.
    let correlation = Metric {
        name: "corr".to_owned(),
        direction: Direction::Higher,
    };
    let go = |threshold| {
        let mut options = options.clone();
        options.threshold = threshold;
        let mut evaluator = scripted(|live| fall(live) - 0.4);
        run(
            ones(3, 4),
            &correlation,
            &options,
            &mut evaluator,
            None,
            &mut (),
        )
    };
    assert_eq!(go(Threshold::Drop(0.3)).unwrap().kept().live, 9);
    let found = go(Threshold::Absolute(-0.95)).unwrap();
    assert_eq!(found.stop, StopReason::Exhausted);
}

/// 0.07 - 0.01 is 0.06000000000000001 in binary, and 0.06 is no worse than a fall of one point.
#[test]
fn a_fall_of_just_the_amount_passes() {
    let mut options = plain();
    options.amount = 0.0;
    options.max_steps = Some(1);
    options.threshold = Threshold::Drop(0.01);
    let found = outcome(&options, |live| if live == 12 { 0.07 } else { 0.06 });
    assert_eq!(found.kept().live, 11);
    let found = outcome(&options, |live| if live == 12 { 0.07 } else { 0.0599 });
    assert_eq!(found.kept().live, 12);
}

#[test]
fn a_loss_may_grow() {
    let loss = Metric {
        name: "loss".to_owned(),
        direction: Direction::Lower,
    };
    let mut options = plain();
    options.amount = 0.0;
    options.threshold = Threshold::Relative(1.5);
    let rising = |live: usize| 1.0 + (12 - live) as f64 / 10.0;
    let go = |options: &MaskingOptions| {
        run(
            ones(3, 4),
            &loss,
            options,
            &mut scripted(rising),
            None,
            &mut (),
        )
    };
    assert_eq!(go(&options).unwrap().kept().live, 7);
    options.threshold = Threshold::Drop(0.25);
    assert_eq!(go(&options).unwrap().kept().live, 10);
    options.threshold = Threshold::Relative(0.9);
    let message = go(&options).unwrap_err().to_string();
    assert!(message.contains("at least 1, such as 1.1"), "{message}");
}

fn refused(options: &MaskingOptions, score: f64) -> String {
    let found = run(
        ones(3, 4),
        &accuracy(),
        options,
        &mut scripted(|_| score),
        None,
        &mut (),
    );
    found.unwrap_err().to_string()
}

#[test]
fn a_relative_threshold_needs_a_score_above_zero() {
    for score in [0.0, -0.3] {
        let message = refused(&MaskingOptions::default(), score);
        assert!(
            message.contains("absolute threshold") && message.contains("drop"),
            "{message}"
        );
    }
    let message = refused(&MaskingOptions::default(), f64::NAN);
    assert!(message.contains("acc is not a number before"), "{message}");
    let mut options = plain();
    options.threshold = Threshold::Absolute(0.8);
    let message = refused(&options, 0.7);
    assert!(
        message.contains("already on the wrong side of the threshold 0.8"),
        "{message}"
    );
}

#[test]
fn options_out_of_range_are_refused() {
    let mut options = plain();
    for amount in [-0.1, 1.1, f64::NAN] {
        options.amount = amount;
        assert!(refused(&options, 1.0).contains("the masking amount"));
    }
    options.amount = 0.1;
    for threshold in [
        Threshold::Relative(0.0),
        Threshold::Relative(1.2),
        Threshold::Relative(f64::NAN),
        Threshold::Drop(-1.0),
        Threshold::Absolute(f64::INFINITY),
    ] {
        options.threshold = threshold;
        assert!(
            refused(&options, 1.0).contains("the threshold"),
            "{threshold}"
        );
    }
}

#[test]
fn an_undefined_metric_ends_the_loop() {
    let mut options = plain();
    options.amount = 0.25;
    let found = outcome(&options, |live| if live < 7 { f64::NAN } else { 1.0 });
    assert_eq!(found.stop, StopReason::MetricUndefined);
    assert_eq!((found.kept().live, live(&found)), (9, vec![12, 9, 6]));
    assert_eq!(found.steps[2].score, None);
}

#[test]
fn steps_and_heads_per_layer_have_limits() {
    let mut options = plain();
    options.max_steps = Some(2);
    options.amount = 0.0;
    let found = outcome(&options, |_| 1.0);
    assert_eq!(
        (found.stop, live(&found)),
        (StopReason::MaxSteps, vec![12, 11, 10])
    );
    options.max_steps = None;
    options.amount = 0.3;
    options.min_heads_per_layer = 2;
    let found = outcome(&options, |_| 1.0);
    assert_eq!((found.stop, found.kept().live), (StopReason::MinHeads, 6));
    let kept: Vec<_> = found.mask().live().map(|id| id.head).collect();
    assert_eq!(kept, [2, 3, 2, 3, 2, 3]);
}

#[test]
fn ranking_once_asks_for_scores_once() {
    let mut options = plain();
    options.amount = 0.25;
    let mut each = scripted(|_| 1.0);
    run(ones(3, 4), &accuracy(), &options, &mut each, None, &mut ()).unwrap();
    // Nothing is left to score in the last pass.
    assert_eq!(each.asked, [true, true, true, true, false]);
    options.recompute = Recompute::Once;
    let mut once = scripted(|_| 1.0);
    let found = run(ones(3, 4), &accuracy(), &options, &mut once, None, &mut ()).unwrap();
    assert_eq!(once.asked, [true, false, false, false, false]);
    assert_eq!(
        found.steps[1].masked,
        [0, 1, 2].map(|head| HeadId { layer: 0, head })
    );
}

#[test]
fn equal_scores_go_in_the_order_of_layer_and_head() {
    struct Flat;
    impl Evaluator for Flat {
        fn measure(
            &mut self,
            _: usize,
            mask: &HeadMask,
            _: bool,
            _: &mut dyn Watch,
        ) -> Result<Measured, Error> {
            Ok(Measured {
                score: 1.0,
                metrics: Metrics::default(),
                loss: 0.0,
                raw: Some(HeadTable::from_values(
                    mask.layers(),
                    mask.heads(),
                    vec![0.0; 6],
                )),
            })
        }
    }
    let mut options = MaskingOptions::default();
    options.amount = 0.34;
    let found = run(ones(2, 3), &accuracy(), &options, &mut Flat, None, &mut ()).unwrap();
    let order: Vec<_> = found.steps.iter().flat_map(|s| s.masked.clone()).collect();
    let expected: Vec<_> = ones(2, 3).live().collect();
    assert_eq!(order, expected);
}

#[test]
fn an_interrupted_loop_goes_on_to_the_same_end() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(12));
    let work = budget(100);
    let mut options = MaskingOptions::default();
    options.threshold = Threshold::Unbounded;
    options.goal = Some(Goal::HeadsLeft(0));
    options.amount = 0.3;
    let whole = mask_heads(&model, &corpus, &options, &work, None, &mut ()).unwrap();
    assert_eq!(live(&whole), [12, 9, 6, 3, 0]);
    // What a loop that is left after a step has saved.
    let left = |stop: usize| -> MaskingState {
        let metric = Metric::of(&corpus, None).unwrap();
        let mut evaluator = ModelEvaluator::new(&model, &corpus, &options, work).unwrap();
        let mut search = Search::new(evaluator.start(), &metric, &options, None).unwrap();
        for step in 0..=stop {
            let found = search.step(&mut evaluator, &mut ()).unwrap();
            assert_eq!(found.unwrap().step, step);
        }
        let saved = search.save().unwrap().to_string();
        serde_json::from_str(&saved).unwrap()
    };
    for stop in 0..4 {
        let state = left(stop);
        assert_eq!(state.mask().unwrap().live().count(), 12 - 3 * stop);
        let resumed = mask_heads(&model, &corpus, &options, &work, Some(state), &mut ()).unwrap();
        assert_eq!(resumed, whole);
    }
    // Not with other options.
    let state = left(1);
    options.amount = 0.2;
    let error = mask_heads(&model, &corpus, &options, &work, Some(state), &mut ()).unwrap_err();
    assert!(matches!(error, Error::StateMismatch { .. }), "{error}");
}

#[test]
fn masked_heads_are_scored_only_for_the_reference() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(12));
    let mut options = MaskingOptions::default();
    options.threshold = Threshold::Unbounded;
    options.goal = Some(Goal::HeadsLeft(0));
    options.amount = 0.25;
    options.max_steps = Some(2);
    for reference in [false, true] {
        options.reference = reference;
        let found = mask_heads(&model, &corpus, &options, &budget(100), None, &mut ()).unwrap();
        for step in &found.steps {
            let table = step.raw.as_ref().unwrap();
            let scored = if reference { LAYERS * HEADS } else { step.live };
            assert_eq!(table.live().count(), scored);
            // Each pass is the importance under that mask.
            let keep = step.keep.iter().map(|k| f64::from(u8::from(*k))).collect();
            let mask = HeadMask::from_values(LAYERS, HEADS, keep).unwrap();
            let request = ImportanceOptions::new(Granularity::Example)
                .mask(&mask)
                .compute_masked(reference);
            let again = importance(&model, &corpus, &request, &budget(100), &mut ()).unwrap();
            assert_eq!(&again.raw, table);
            assert_eq!(again.evaluation.metrics, step.metrics);
        }
        let mask = found.mask();
        let scored =
            evaluate::evaluate(&model, &corpus, Some(&mask), &budget(100), &mut ()).unwrap();
        assert_eq!(
            Some(scored.score(&corpus, "acc").unwrap()),
            found.kept().score
        );
    }
    let reference = MaskingOptions::reference();
    assert_eq!(reference.granularity, Granularity::Example);
    assert!(reference.reference);
}

#[test]
fn the_metric_is_checked_before_any_pass() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(4));
    assert_eq!(Metric::of(&corpus, None).unwrap(), accuracy());
    assert_eq!(
        Metric::of(&corpus, Some("loss")).unwrap().direction,
        Direction::Lower
    );
    let mut options = MaskingOptions::default();
    options.metric = Some("mcc".to_owned());
    struct NoPass;
    impl Watch for NoPass {
        fn begin(&mut self, _: bertology::watch::Purpose, _: u64, _: u64) {
            panic!("a pass was begun");
        }
    }
    let error = mask_heads(
        &model,
        &corpus,
        &options,
        &Work::default(),
        None,
        &mut NoPass,
    )
    .unwrap_err();
    assert!(error.to_string().contains("expected one of acc"), "{error}");
    let none = model.without_heads(model.model().heads()).unwrap();
    let options = MaskingOptions::default();
    let error = mask_heads(
        &none,
        &corpus,
        &options,
        &Work::default(),
        None,
        &mut NoPass,
    )
    .unwrap_err();
    assert!(matches!(error, Error::NoHeads { .. }), "{error}");
}
