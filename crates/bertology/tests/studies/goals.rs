//! Searches that end at a goal, and what they do where the score fails before.

use bertology::checkpoint::Export;
use bertology::evaluate::Metrics;
use bertology::importance::{ImportanceOptions, importance};
use bertology::masking::{
    Direction, Evaluator, Goal, Measured, Metric, ModelEvaluator, Recompute, Search, StopReason,
    Threshold, mask_heads, run,
};
use bertology::pruning::{file_bytes, masked_heads, write};
use bertology::watch::{Purpose, Savable};
use bertology::{
    Error, Granularity, HeadId, HeadMask, HeadTable, Kind, MaskingOptions, MaskingOutcome,
    MaskingState, SearchError, Watch,
};

use super::fixture::{Fixture, budget, rows};
use super::masking::{accuracy, live, ones, plain, scripted};

fn found(options: &MaskingOptions, score: impl FnMut(usize) -> f64) -> MaskingOutcome {
    let mut evaluator = scripted(score);
    run(
        ones(3, 4),
        &accuracy(),
        options,
        &mut evaluator,
        None,
        &mut (),
    )
    .unwrap()
}

fn to_heads(heads: usize) -> MaskingOptions {
    let mut options = plain();
    options.goal = Some(Goal::HeadsLeft(heads));
    options.threshold = Threshold::Unbounded;
    options
}

#[test]
fn so_many_heads_are_left_exactly_whatever_the_score() {
    for amount in [0.0, 0.25, 0.4, 1.0] {
        for heads in 0..=12 {
            let mut options = to_heads(heads);
            options.amount = amount;
            // Falls, and is not a number at last.
            let outcome = found(
                &options,
                |live| if live < 3 { f64::NAN } else { live as f64 },
            );
            assert_eq!(outcome.stop, StopReason::Goal, "{heads} by {amount}");
            assert_eq!((outcome.kept().live, outcome.bound), (heads, None));
            let masked: Vec<usize> = outcome
                .mask()
                .masked()
                .map(|id| id.layer * 4 + id.head)
                .collect();
            assert_eq!(masked, (0..12 - heads).collect::<Vec<_>>());
            // Blocks are whole but the last.
            let per_step = outcome.heads_per_step;
            let blocks = outcome.steps.len() - 1;
            assert_eq!(blocks, (12 - heads).div_ceil(per_step));
            for step in outcome.steps.iter().skip(1).rev().skip(1) {
                assert_eq!(step.masked.len(), per_step);
            }
        }
    }
}

#[test]
fn a_bound_that_is_given_too_ends_before_the_goal() {
    let mut options = to_heads(2);
    options.amount = 0.25;
    options.threshold = Threshold::Absolute(0.5);
    let outcome = found(&options, |live| live as f64 / 12.0);
    // 6 of 12 is 0.5 and passes, 3 of 12 does not.
    assert_eq!(
        (outcome.stop, outcome.kept().live),
        (StopReason::Threshold, 6)
    );
    assert_eq!(live(&outcome), [12, 9, 6, 3]);
    options.threshold = Threshold::Absolute(0.1);
    let outcome = found(&options, |live| live as f64 / 12.0);
    assert_eq!((outcome.stop, outcome.kept().live), (StopReason::Goal, 2));
    assert_eq!(live(&outcome), [12, 9, 6, 3, 2]);
}

/// Panics if a pass is begun.
struct NoPass;

impl Watch for NoPass {
    fn begin(&mut self, _: Purpose, _: u64, _: u64) {
        panic!("a pass was begun");
    }
}

fn refused(options: &MaskingOptions, metric: &Metric) -> Error {
    let mut evaluator = scripted(|_| panic!("a mask was measured"));
    run(ones(3, 4), metric, options, &mut evaluator, None, &mut ()).unwrap_err()
}

#[test]
fn goals_out_of_reach_are_refused_before_any_pass() {
    let error = refused(&to_heads(13), &accuracy());
    assert!(error.to_string().contains("from 0 to 12"), "{error}");
    assert_eq!(error.kind(), Kind::Input);
    let mut options = to_heads(5);
    options.min_heads_per_layer = 2;
    let error = refused(&options, &accuracy());
    assert!(error.to_string().contains("at least 6"), "{error}");
    for times in [1.0, 0.5, f64::NAN, f64::INFINITY] {
        options.goal = Some(Goal::Speedup(times));
        let error = refused(&options, &accuracy());
        assert!(error.to_string().contains("above 1"), "{error}");
    }
    // Whoever counts heads alone says so.
    options.goal = Some(Goal::FileBytes(100));
    let error = refused(&options, &accuracy());
    assert!(
        matches!(error, Error::Search(SearchError::UnknownGoal { .. })),
        "{error}"
    );
    // Nothing would ever stop it; nothing would be refined.
    options.goal = None;
    let error = refused(&options, &accuracy());
    assert!(error.to_string().contains("without a goal"), "{error}");
    let mut options = to_heads(3);
    options.refine = true;
    let error = refused(&options, &accuracy());
    assert!(error.to_string().contains("nothing to refine"), "{error}");
}

#[test]
fn a_bound_that_no_score_can_miss_is_refused() {
    let metric = |name: &str, direction| Metric {
        name: name.to_owned(),
        direction,
    };
    let mut options = plain();
    for (name, threshold, refuses) in [
        ("acc", Threshold::Drop(1.0), true),
        ("mnli/acc", Threshold::Drop(1.0), true),
        ("acc_and_f1", Threshold::Absolute(0.0), true),
        ("acc", Threshold::Absolute(-0.1), true),
        ("precision", Threshold::Drop(2.0), true),
        ("mcc", Threshold::Drop(2.0), true),
        ("corr", Threshold::Absolute(-1.0), true),
        ("acc", Threshold::Absolute(0.001), false),
        ("mcc", Threshold::Drop(1.9), false),
        ("corr", Threshold::Absolute(0.0), false),
        // In percent for answers.
        ("f1", Threshold::Drop(1.0), false),
        ("f1", Threshold::Drop(100.0), true),
        ("HasAns_f1", Threshold::Drop(1.0), false),
    ] {
        options.threshold = threshold;
        let metric = metric(name, Direction::Higher);
        let mut evaluator = scripted(|_| f64::NAN);
        let error = run(ones(3, 4), &metric, &options, &mut evaluator, None, &mut ()).unwrap_err();
        let found = matches!(error, Error::Search(SearchError::NeverMissed { .. }));
        assert_eq!(found, refuses, "{name} {threshold}: {error}");
    }
    // Known only once the first score is.
    options.threshold = Threshold::Drop(0.7);
    let mut evaluator = scripted(|_| 0.6);
    let error = run(
        ones(3, 4),
        &accuracy(),
        &options,
        &mut evaluator,
        None,
        &mut (),
    )
    .unwrap_err();
    let message = error.to_string();
    assert!(message.contains("acc is never below 0"), "{message}");
    // A loss can always grow.
    options.threshold = Threshold::Absolute(1e9);
    let mut evaluator = scripted(|_| 0.6);
    let loss = metric("loss", Direction::Lower);
    run(ones(3, 4), &loss, &options, &mut evaluator, None, &mut ()).unwrap();
}

fn refined(threshold: f64, amount: f64) -> MaskingOptions {
    let mut options = plain();
    options.threshold = Threshold::Absolute(threshold);
    options.amount = amount;
    options.refine = true;
    options
}

/// With a score that falls head by head, the refined search ends where single heads would.
#[test]
fn refining_finds_what_single_heads_find() {
    let fall = |live: usize| live as f64 / 12.0;
    for bound in [0.95, 0.8, 0.51, 0.5, 0.26, 0.1, 0.01] {
        let single = found(&refined(bound, 0.0), fall);
        for amount in [0.25, 0.34, 0.5, 1.0] {
            for recompute in [Recompute::Each, Recompute::Once] {
                let mut options = refined(bound, amount);
                options.recompute = recompute;
                let outcome = found(&options, fall);
                assert_eq!(outcome.mask(), single.mask(), "{bound} by {amount}");
                assert!(outcome.steps.iter().filter(|step| !step.passed).count() <= 2);
                options.refine = false;
                let coarse = found(&options, fall);
                assert!(coarse.kept().live >= outcome.kept().live);
                assert!(coarse.steps.iter().rev().skip(1).all(|step| step.passed));
                // The blocks are the same in both.
                assert_eq!(coarse.steps[..], outcome.steps[..coarse.steps.len()]);
            }
        }
    }
}

#[test]
fn single_heads_follow_the_block_that_fails() {
    // 5 heads a step: 12, 7, then 2 fails; 6 and 5 pass, 4 fails.
    let outcome = found(&refined(5.0 / 12.0, 0.45), |live| live as f64 / 12.0);
    assert_eq!(live(&outcome), [12, 7, 2, 6, 5, 4]);
    let passed: Vec<bool> = outcome.steps.iter().map(|step| step.passed).collect();
    assert_eq!(passed, [true, true, false, true, true, false]);
    assert_eq!(
        (outcome.last_passing, outcome.stop),
        (4, StopReason::Threshold)
    );
    let heads = |at: usize| -> Vec<usize> {
        let heads = outcome.steps[at].masked.iter();
        heads.map(|id: &HeadId| id.layer * 4 + id.head).collect()
    };
    assert_eq!(heads(2), [5, 6, 7, 8, 9]);
    assert_eq!((heads(3), heads(4), heads(5)), (vec![5], vec![6], vec![7]));
    // What the whole block scores is known: the last of its heads is not measured again.
    let outcome = found(&refined(3.0 / 12.0, 0.45), |live| live as f64 / 12.0);
    assert_eq!(live(&outcome), [12, 7, 2, 6, 5, 4, 3]);
    assert_eq!(
        (outcome.kept().live, outcome.stop),
        (3, StopReason::Threshold)
    );
    // A score that is no number is refined as any that fails; steps are counted through.
    let holes = |live: usize| if live < 4 { f64::NAN } else { 1.0 };
    let mut options = refined(0.5, 0.45);
    let outcome = found(&options, holes);
    assert_eq!(
        (outcome.kept().live, outcome.stop),
        (4, StopReason::MetricUndefined)
    );
    options.max_steps = Some(3);
    let outcome = found(&options, holes);
    assert_eq!(
        (live(&outcome), outcome.stop),
        (vec![12, 7, 2, 6], StopReason::MaxSteps)
    );
}

#[test]
fn refining_reaches_a_goal_and_no_more() {
    let mut options = refined(5.0 / 12.0, 0.45);
    options.goal = Some(Goal::HeadsLeft(5));
    // 7 - 5 = 2 heads are the block: it passes.
    let outcome = found(&options, |live| live as f64 / 12.0);
    assert_eq!(
        (live(&outcome), outcome.stop),
        (vec![12, 7, 5], StopReason::Goal)
    );
    // The first block fails although its heads one by one would not.
    let dip = |live: usize| if live == 7 { 0.0 } else { live as f64 / 12.0 };
    let outcome = found(&options, dip);
    assert_eq!(
        (outcome.kept().live, outcome.stop),
        (8, StopReason::Threshold)
    );
}

#[test]
fn importance_is_ranked_anew_while_refining() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(12));
    let mut options = MaskingOptions::default();
    options.metric = Some("loss".into());
    options.threshold = Threshold::Relative(1.005);
    options.amount = 0.5;
    options.refine = true;
    let whole = mask_heads(&model, &corpus, &options, &budget(100), None, &mut ()).unwrap();
    let failed = whole.steps.iter().position(|step| !step.passed).unwrap();
    assert!(whole.steps.len() > failed + 2, "{:?}", live(&whole));
    for step in &whole.steps[failed + 1..] {
        assert_eq!(step.masked.len(), 1);
        // The head that goes is the least important under the mask before it.
        let mut before = HeadMask::from_values(
            3,
            4,
            step.keep.iter().map(|k| f64::from(u8::from(*k))).collect(),
        )
        .unwrap();
        before.set(step.masked[0], 1.0);
        let request = ImportanceOptions::new(Granularity::Example).mask(&before);
        let scores = importance(&model, &corpus, &request, &budget(100), &mut ()).unwrap();
        let table = options.normalization.apply(&scores.raw);
        let least = before
            .live()
            .min_by(|a, b| table.get(*a).unwrap().total_cmp(&table.get(*b).unwrap()));
        assert_eq!(least, Some(step.masked[0]));
    }
    // Interrupted anywhere, within the refinement too, it comes to the same end.
    let metric = Metric::of(&corpus, Some("loss")).unwrap();
    for stop in 0..whole.steps.len() {
        let mut evaluator = ModelEvaluator::new(&model, &corpus, &options, budget(100)).unwrap();
        let mut search = Search::new(evaluator.start(), &metric, &options, None).unwrap();
        for _ in 0..=stop {
            search.step(&mut evaluator, &mut ()).unwrap().unwrap();
        }
        let saved = search.save().unwrap().to_string();
        let state: MaskingState = serde_json::from_str(&saved).unwrap();
        let expected = whole.steps[..=stop]
            .iter()
            .rfind(|step| step.passed)
            .unwrap();
        assert_eq!(state.mask().unwrap().live().count(), expected.live);
        let resumed = mask_heads(
            &model,
            &corpus,
            &options,
            &budget(100),
            Some(state),
            &mut (),
        )
        .unwrap();
        assert_eq!(resumed, whole, "after step {stop}");
    }
}

#[test]
fn states_that_cannot_have_come_about_are_refused() {
    let options = refined(5.0 / 12.0, 0.45);
    let mut evaluator = scripted(|live| live as f64 / 12.0);
    let metric = accuracy();
    let mut search = Search::new(ones(3, 4), &metric, &options, None).unwrap();
    while search.step(&mut evaluator, &mut ()).unwrap().is_some() {}
    let good = search.save().unwrap();
    let goes_on = |state: serde_json::Value| {
        let state: MaskingState = serde_json::from_value(state).unwrap();
        Search::new(ones(3, 4), &metric, &options, Some(state)).map(|_| ())
    };
    goes_on(good.clone()).unwrap();
    // More than one head at a step behind the block that failed.
    let mut bad = good.clone();
    bad["steps"][3]["masked"] = serde_json::json!([[1, 1], [1, 2]]);
    assert!(matches!(goes_on(bad), Err(Error::StateImpossible { .. })));
    // A step that begins where the failed one was.
    let mut bad = good.clone();
    bad["steps"][2]["passed"] = true.into();
    assert!(matches!(goes_on(bad), Err(Error::StateImpossible { .. })));
    // Steps behind a second failure.
    let mut bad = good.clone();
    bad["steps"][3]["passed"] = false.into();
    assert!(matches!(goes_on(bad), Err(Error::StateImpossible { .. })));
}

/// A state from before there were goals, written down as it was.
#[test]
fn states_of_before_are_read() {
    let text = r#"{"layers":1,"heads":2,"options":{"threshold":{"kind":"absolute","value":0.5},"amount":0.1,
        "recompute":"each","min_heads_per_layer":0,"max_steps":null,"metric":null,
        "normalization":{"by_layer":false,"global":false},"granularity":{"kind":"example"},"reference":false},
        "steps":[{"step":0,"masked":[],"live":2,"score":1.0,"metrics":{},"loss":0.0,"passed":true,"raw":null,
        "keep":[true,true]}]}"#;
    let state: MaskingState = serde_json::from_str(text).unwrap();
    let mut options = plain();
    options.threshold = Threshold::Absolute(0.5);
    Search::new(ones(1, 2), &accuracy(), &options, Some(state)).unwrap();
}

/// The size is that of the file that is written, no head more goes than it needs, and what cannot be is refused.
#[test]
fn a_file_is_as_large_as_it_may_be() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(12));
    let mut options = MaskingOptions::default();
    options.threshold = Threshold::Unbounded;
    options.amount = 0.5;
    let all = masked_heads(&HeadMask::from_values(3, 4, vec![0.0; 12]).unwrap());
    let whole = file_bytes(&model, &masked_heads(&ones(3, 4)), Export::Pruned).unwrap();
    let smallest = file_bytes(&model, &all, Export::Pruned).unwrap();
    for (number, share) in [0.95, 0.6, 0.3, 0.0].into_iter().enumerate() {
        let goal = smallest + ((whole - smallest) as f64 * share) as u64;
        options.goal = Some(Goal::FileBytes(goal));
        let found = mask_heads(&model, &corpus, &options, &budget(100), None, &mut ()).unwrap();
        assert_eq!(found.stop, StopReason::Goal);
        let folder = fixture.folder.path().join(format!("written-{number}"));
        let heads = masked_heads(&found.mask());
        let form = Export::Pruned;
        let form = bertology::checkpoint::WriteOptions::new(form);
        write(&model, &heads, &folder, &form, &[]).unwrap();
        let size = std::fs::metadata(folder.join("model.safetensors"))
            .unwrap()
            .len();
        assert_eq!(Some(size as f64), found.kept().toward);
        assert!(size <= goal, "{size} of {goal}");
        // With the head that went last the file is too large.
        let mut one_more = found.mask();
        one_more.set(*found.kept().masked.last().unwrap(), 1.0);
        assert!(file_bytes(&model, &masked_heads(&one_more), Export::Pruned).unwrap() > goal);
    }
    for (goal, part) in [
        (smallest - 1, "without any head would still have"),
        (whole, "with all heads already"),
    ] {
        options.goal = Some(Goal::FileBytes(goal));
        let error =
            mask_heads(&model, &corpus, &options, &budget(100), None, &mut NoPass).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    // A layer without heads is written with one of zeros, so one head a layer takes no more room, but for the list of heads
    // in the header.
    options.goal = Some(Goal::FileBytes(smallest + 64));
    options.min_heads_per_layer = 1;
    let found = mask_heads(&model, &corpus, &options, &budget(100), None, &mut ()).unwrap();
    assert_eq!((found.stop, found.kept().live), (StopReason::Goal, 3));
    options.min_heads_per_layer = 2;
    let error = mask_heads(&model, &corpus, &options, &budget(100), None, &mut NoPass).unwrap_err();
    assert!(
        error.to_string().contains("without all heads that may go"),
        "{error}"
    );
}

/// Tells times by the number of heads, and can be interrupted while it does.
struct Timed {
    times: fn(usize) -> f64,
    asked: Vec<usize>,
    interrupted: bool,
}

impl Evaluator for Timed {
    fn measure(
        &mut self,
        _: usize,
        mask: &HeadMask,
        scores: bool,
        _: &mut dyn Watch,
    ) -> Result<Measured, Error> {
        let table = HeadTable::from_values(3, 4, (0..12).map(f64::from).collect());
        Ok(Measured {
            score: 1.0,
            metrics: Metrics::default(),
            loss: 0.0,
            raw: scores.then(|| table.restricted(|id| mask.get(id) != 0.0)),
        })
    }

    fn toward(&mut self, _: Goal, mask: &HeadMask, _: &mut dyn Watch) -> Result<f64, Error> {
        if std::mem::take(&mut self.interrupted) {
            return Err(Error::Interrupted { done: 0, total: 1 });
        }
        self.asked.push(mask.live().count());
        Ok((self.times)(mask.live().count()))
    }
}

#[test]
fn speed_is_taken_after_every_block() {
    let mut options = plain();
    options.amount = 0.25;
    options.threshold = Threshold::Unbounded;
    options.goal = Some(Goal::Speedup(1.3));
    let metric = accuracy();
    let mut timed = Timed {
        times: |live| 1.0 + (12 - live) as f64 / 20.0,
        asked: Vec::new(),
        interrupted: false,
    };
    let found = run(ones(3, 4), &metric, &options, &mut timed, None, &mut ()).unwrap();
    // 1.15 after 3 heads, 1.3 after 6: reached; of the whole model nothing is asked.
    assert_eq!((found.stop, found.kept().live), (StopReason::Goal, 6));
    assert_eq!(timed.asked, [9, 6]);
    assert_eq!(found.kept().toward, Some(1.3));
    // Interrupted while it is timed, the pass is not lost.
    let mut search = Search::new(ones(3, 4), &metric, &options, None).unwrap();
    search.step(&mut timed, &mut ()).unwrap();
    timed.interrupted = true;
    assert!(matches!(
        search.step(&mut timed, &mut ()),
        Err(Error::Interrupted { .. })
    ));
    let state: MaskingState = serde_json::from_value(search.save().unwrap()).unwrap();
    assert_eq!(state.steps.len(), 2);
    let again = run(
        ones(3, 4),
        &metric,
        &options,
        &mut timed,
        Some(state),
        &mut (),
    )
    .unwrap();
    assert_eq!(again, found);
    // Never so fast.
    timed.times = |_| 1.1;
    let found = run(ones(3, 4), &metric, &options, &mut timed, None, &mut ()).unwrap();
    assert_eq!((found.stop, found.kept().live), (StopReason::Exhausted, 0));
}

/// On this machine, of a model of a few thousand numbers: only that it is measured at all.
#[test]
fn a_model_is_timed() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(3));
    let options = MaskingOptions::default();
    let mut evaluator = ModelEvaluator::new(&model, &corpus, &options, budget(100)).unwrap();
    let none = HeadMask::from_values(3, 4, vec![0.0; 12]).unwrap();
    let times = evaluator
        .toward(Goal::Speedup(1.1), &none, &mut ())
        .unwrap();
    assert!(times > 0.1 && times < 100.0, "{times}");
    let heads = evaluator
        .toward(Goal::HeadsLeft(3), &none, &mut ())
        .unwrap();
    assert_eq!(heads, 0.0);
}
