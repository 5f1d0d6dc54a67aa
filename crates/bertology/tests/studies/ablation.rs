//! The score without each head in turn.

use std::fs;
use std::ops::ControlFlow;

use bertology::ablation::{AblationOptions, ablate};
use bertology::data::Target;
use bertology::drive::{Progress, Study, Work, drive};
use bertology::evaluate::{Evaluation, Intervals, MaskedModel};
use bertology::masking::Metric;
use bertology::watch::Savable;
use bertology::{
    Ablation, AblationState, Corpus, CorpusOptions, Error, HeadId, HeadMask, LoadedModel, Outcome,
    Source, Watch, evaluate,
};
use serde_json::Value;

use super::fixture::{
    Fixture, HEAD_DIM, HEADS, HIDDEN, LAYERS, assets, budget, difference, driven, embedded,
    grammar, rows, spread, stop_after, stopped,
};
use super::language::{bert, evaluated, seeded, text};

fn all(model: &LoadedModel, corpus: &Corpus) -> Ablation {
    ablate(
        model,
        corpus,
        &AblationOptions::default(),
        &Work::default(),
        &mut (),
    )
    .unwrap()
}

/// Nothing added yet.
fn fresh(
    model: &LoadedModel,
    corpus: &Corpus,
    options: &AblationOptions<'_>,
) -> Result<AblationState, Error> {
    let masked = MaskedModel::new(model, options.mask, false)?;
    AblationState::new(model, &masked, corpus, options.heads, options.ablated)
}

/// What a model predicts, example by example.
#[derive(Default)]
struct Predictions(Vec<usize>);

impl Watch for Predictions {
    fn example(&mut self, outcome: &Outcome<'_>) {
        let Target::Class(class) = outcome.verdict.unwrap().prediction else {
            panic!("a class");
        };
        self.0.push(class);
    }
}

fn predictions(model: &LoadedModel, corpus: &Corpus) -> Vec<usize> {
    let mut seen = Predictions::default();
    evaluate::evaluate(model, corpus, None, &Work::threads(1), &mut seen).unwrap();
    seen.0
}

/// Two f32 passes whose sums differ in order.
const ROUNDING: f64 = 2e-6;

/// Every metric, loss and count is that of an evaluation of the model without the head.
fn agrees(model: &LoadedModel, corpus: &Corpus) {
    let found = all(model, corpus);
    let whole = evaluated(model, corpus);
    let alike = |a: &bertology::Evaluation, b: &bertology::Evaluation, what: &str| {
        assert_eq!(
            (a.examples, a.targets, a.tokens),
            (b.examples, b.targets, b.tokens)
        );
        assert!(
            (a.loss - b.loss).abs() < ROUNDING * b.loss.max(1.0),
            "{what}"
        );
        for ((name, a), (other, b)) in a.metrics.iter().zip(b.metrics.iter()) {
            assert_eq!(name, other);
            let close = (a - b).abs() < 4.0 * ROUNDING * b.abs().max(1.0);
            assert!(close || a.is_nan() && b.is_nan(), "{what}: {name} {a} {b}");
        }
    };
    alike(&found.whole, &whole, "whole");
    let heads: Vec<HeadId> = model.model().heads().collect();
    assert_eq!(found.without.len(), heads.len());
    let mut moved = 0.0_f64;
    for (head, without) in heads.iter().zip(&found.without) {
        assert_eq!(without.head, *head);
        let one = evaluated(&model.without_heads([*head]).unwrap(), corpus);
        alike(&without.evaluation, &one, &head.to_string());
        let change = one.loss - whole.loss;
        assert!((without.loss_change - change).abs() < 2.0 * ROUNDING * whole.loss.max(1.0));
        moved = moved.max(change.abs());
    }
    assert!(
        moved > 100.0 * ROUNDING,
        "no head matters, so nothing was compared"
    );
}

#[test]
fn it_is_an_evaluation_without_each_head() {
    let fixture = Fixture::new();
    let model = fixture.model();
    agrees(&model, &fixture.corpus(&model, &rows(23)));
}

#[test]
fn regressions_are_scored_too() {
    let fixture = Fixture::of("bert-regression", |_, _| {});
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(23));
    agrees(&model, &corpus);
    let found = all(&model, &corpus);
    // Numbers are neither right nor wrong.
    for without in &found.without {
        let paired = without.paired;
        let counts = (paired.changed, paired.right_to_wrong, paired.wrong_to_right);
        assert_eq!(counts, (0, 0, 0));
        assert!(paired.loss_standard_error > 0.0);
    }
}

#[test]
fn masked_language_models_are_scored_too() {
    let fixture = bert();
    let model = fixture.model();
    let path = fixture.write("lines.txt", text(40));
    let corpus = Corpus::new(&model, Source::text(&path, Default::default()), &seeded(3)).unwrap();
    agrees(&model, &corpus);
}

#[test]
fn causal_language_models_are_scored_too() {
    let model = embedded("tiny-gpt");
    let source = Source::text(&assets().join("grammar/dev.txt"), Default::default());
    let source = source.with_limit(Some(30));
    agrees(
        &model,
        &Corpus::new(&model, source, &CorpusOptions::default()).unwrap(),
    );
}

/// Labels are what the whole model says: without a head, just those examples are lost whose prediction
/// changes. Labels are what the model without the head says: they are won.
#[test]
fn planted_predictions_are_counted() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let texts = rows(60);
    let corpus = fixture.corpus(&model, &texts);
    let labelled = |labels: &[usize]| {
        let pairs = texts.iter().zip(labels);
        let rows: Vec<_> = pairs
            .map(|((text, _), label)| (text.clone(), *label))
            .collect();
        fixture.corpus(&model, &rows)
    };
    let whole = predictions(&model, &corpus);
    let lost = all(&model, &labelled(&whole));
    let mut flipped = 0;
    for head in model.model().heads() {
        let without = predictions(&model.without_heads([head]).unwrap(), &corpus);
        let different = whole.iter().zip(&without).filter(|(a, b)| a != b).count() as u64;
        flipped += different;
        let found = lost.get(head).unwrap();
        let paired = found.paired;
        assert_eq!(
            (paired.changed, paired.right_to_wrong),
            (different, different)
        );
        assert_eq!(paired.wrong_to_right, 0);
        let accuracy = 1.0 - different as f64 / 60.0;
        assert!((found.evaluation.metrics.get("acc").unwrap() - accuracy).abs() < 1e-12);
        // One side only: 2 / 2^n.
        let expected = 0.5_f64.powi(different as i32 - 1).min(1.0);
        assert!((paired.p_value() - expected).abs() < 1e-12);

        let corpus = labelled(&without);
        let options = AblationOptions::default();
        let won = ablate(
            &model,
            &corpus,
            &options.heads(&[head]),
            &budget(200),
            &mut (),
        )
        .unwrap();
        let paired = won.get(head).unwrap().paired;
        assert_eq!(
            (paired.changed, paired.wrong_to_right),
            (different, different)
        );
        assert_eq!(paired.right_to_wrong, 0);
    }
    assert!(
        flipped > 10,
        "{flipped} predictions of {} flipped",
        60 * LAYERS * HEADS
    );
}

#[test]
fn a_head_without_values_is_not_missed() {
    let dead = HeadId { layer: 1, head: 2 };
    let fixture = Fixture::with_weights(|name, values| {
        let rows = if name.ends_with("bias") {
            HEAD_DIM
        } else {
            HEAD_DIM * HIDDEN
        };
        if name.contains("layer.1.attention.self.value") {
            values[2 * rows..3 * rows].fill(0.0);
        }
    });
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(19));
    let found = all(&model, &corpus);
    let without = found.get(dead).unwrap();
    // Only the whole model's scores have intervals.
    let whole = Evaluation {
        intervals: Intervals::new(),
        ..found.whole.clone()
    };
    assert_eq!(without.evaluation, whole);
    assert_eq!(without.loss_change, 0.0);
    assert_eq!(without.paired.loss_standard_error, 0.0);
    assert_eq!(without.paired.p_value(), 1.0);
    for other in found.without.iter().filter(|other| other.head != dead) {
        assert!(other.loss_change.abs() > 1e-5, "{}", other.head);
    }
    let accuracy = Metric::of(&corpus, Some("acc")).unwrap();
    assert_eq!(
        found.change(&corpus, &accuracy).unwrap().get(dead),
        Some(0.0)
    );
}

#[test]
fn threads_change_no_bit_and_batches_only_rounding() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let mut first: Option<Ablation> = None;
    for tokens in [1, 40, 1000] {
        let corpus = fixture.corpus(&model, &rows(29));
        let options = AblationOptions::default();
        let one = ablate(&model, &corpus, &options, &spread(1, tokens), &mut ()).unwrap();
        let many = ablate(&model, &corpus, &options, &spread(3, tokens), &mut ()).unwrap();
        assert_eq!(one, many, "{tokens} tokens a batch");
        let first = first.get_or_insert_with(|| one.clone());
        let (a, b) = (first.loss_change(), one.loss_change());
        assert!(difference(a.values(), b.values()) < 1e-5);
    }
}

#[test]
fn it_goes_on_to_the_same_bits_and_merges() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(31));
    let options = AblationOptions::default();
    let whole = ablate(&model, &corpus, &options, &budget(40), &mut ()).unwrap();
    let mut progress = Progress::new(fresh(&model, &corpus, &options).unwrap());
    for stop in [7, 20] {
        progress = stopped(
            &model,
            &corpus,
            progress,
            &budget(40),
            &mut stop_after(stop),
        );
        assert!((stop..31).contains(&progress.done(31)));
    }
    let done = progress.done(31) as usize;
    drive(&model, &corpus, &mut progress, &budget(40), &mut ()).unwrap();
    assert_eq!(progress.study().finish().unwrap(), whole);

    // The rest, computed apart.
    let part = |rows: &[(String, usize)]| {
        let corpus = fixture.corpus(&model, rows);
        let state = fresh(&model, &corpus, &options).unwrap();
        driven(&model, &corpus, state, &budget(40))
    };
    let second = part(&rows(31)[done..]);
    let mut merged = part(&rows(31)[..done]);
    merged.merge(second.clone()).unwrap();
    let merged = merged.finish().unwrap();
    assert_eq!(merged.whole.metrics, whole.whole.metrics);
    for (a, b) in merged.without.iter().zip(&whole.without) {
        assert_eq!(a.evaluation.metrics, b.evaluation.metrics);
        assert!((a.loss_change - b.loss_change).abs() < ROUNDING);
        let errors = (a.paired.loss_standard_error, b.paired.loss_standard_error);
        assert!((errors.0 - errors.1).abs() < ROUNDING, "{errors:?}");
    }
    let some = [HeadId { layer: 0, head: 1 }];
    let other = fresh(&model, &corpus, &options.heads(&some)).unwrap();
    let error = second.clone().merge(other.clone()).unwrap_err().to_string();
    assert!(error.contains("different heads"), "{error}");
    let error = Progress::new(other).resume(progress.save().unwrap());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("12 of [3, 4], now 1 of [3, 4]"), "{error}");
}

/// Stops when what it is shown accounts for so many examples.
struct LooksOn {
    until: u64,
    shown: Vec<u64>,
}

impl Watch for LooksOn {
    fn safe_point(&mut self, state: &mut dyn Savable) -> ControlFlow<()> {
        let done = state.save().unwrap()["next"].as_u64().unwrap();
        self.shown.push(done);
        if done < self.until {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }
}

/// What can be saved is shown after every batch, without stopping the pass.
#[test]
fn the_state_is_shown_while_it_grows() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(31));
    let options = AblationOptions::default();
    let mut progress = Progress::new(fresh(&model, &corpus, &options).unwrap());
    let mut watch = LooksOn {
        until: 15,
        shown: Vec::new(),
    };
    let error = drive(&model, &corpus, &mut progress, &budget(40), &mut watch).unwrap_err();
    assert!(
        matches!(error, Error::Interrupted { total: 31, .. }),
        "{error}"
    );
    assert!(watch.shown.len() > 2 && watch.shown.is_sorted());
    assert_eq!(watch.shown.last(), Some(&progress.done(31)));
    drive(&model, &corpus, &mut progress, &budget(40), &mut ()).unwrap();
    let whole = ablate(&model, &corpus, &options, &budget(40), &mut ()).unwrap();
    assert_eq!(progress.study().finish().unwrap(), whole);
}

/// Under a mask it is the evaluation under the mask with one zero more, fractions and all.
#[test]
fn a_mask_stays_on() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(17));
    let (gone, weak) = (HeadId { layer: 0, head: 3 }, HeadId { layer: 2, head: 1 });
    let mut mask = HeadMask::ones(model.model());
    mask.set(gone, 0.0);
    mask.set(weak, 0.4);
    let options = AblationOptions::default().mask(&mask);
    let found = ablate(&model, &corpus, &options, &budget(64), &mut ()).unwrap();
    assert_eq!(found.without.len(), LAYERS * HEADS - 1);
    assert!(found.get(gone).is_none() && found.loss_change().get(gone).is_none());
    for without in &found.without {
        let mut mask = mask.clone();
        mask.set(without.head, 0.0);
        let one = evaluate::evaluate(&model, &corpus, Some(&mask), &budget(64), &mut ()).unwrap();
        assert!((without.evaluation.loss - one.loss).abs() < ROUNDING);
    }
    let error = fresh(&model, &corpus, &options.heads(&[gone])).unwrap_err();
    assert!(
        error.to_string().contains("L0H3 is masked already"),
        "{error}"
    );
}

#[test]
fn heads_that_cannot_be_left_out_are_refused() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(3));
    let refused = |model: &LoadedModel, heads: &[HeadId]| {
        let options = AblationOptions::default().heads(heads);
        fresh(model, &corpus, &options).unwrap_err().to_string()
    };
    let outside = refused(&model, &[HeadId { layer: 3, head: 0 }]);
    assert!(outside.contains("L3H0"), "{outside}");
    assert!(refused(&model, &[]).contains("name at least one head"));
    let gone = HeadId { layer: 1, head: 1 };
    let without = model.without_heads([gone]).unwrap();
    assert!(refused(&without, &[gone]).contains("pruned away"));
    let none = model.without_heads(model.model().heads()).unwrap();
    let error = fresh(&none, &corpus, &AblationOptions::default()).unwrap_err();
    assert!(
        error.to_string().contains("nothing to leave out"),
        "{error}"
    );
    let empty = fresh(&model, &corpus, &AblationOptions::default()).unwrap();
    assert!(matches!(empty.finish(), Err(Error::NoExamples)));
}

/// A head whose absence alone overflows: the head before it cancels it.
#[test]
fn numbers_that_are_not_finite_name_the_head_left_out() {
    let fixture = Fixture::with_weights(|name, values| {
        let huge = 3e38;
        if name == "bert.encoder.layer.2.attention.self.value.bias" {
            values[..HEAD_DIM * 2].fill(1.0);
        }
        if name == "bert.encoder.layer.2.attention.self.value.weight" {
            values[..HEAD_DIM * 2 * HIDDEN].fill(0.0);
        }
        if name == "bert.encoder.layer.2.attention.output.dense.weight" {
            for row in values.chunks_mut(HIDDEN) {
                row[..HEAD_DIM * 2].fill(0.0);
                // Products in turn above and below nothing, so that their sum stays small.
                row[0] = huge;
                row[HEAD_DIM] = -huge;
            }
        }
    });
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(3));
    evaluate::evaluate(&model, &corpus, None, &budget(64), &mut ()).unwrap();
    let error = ablate(
        &model,
        &corpus,
        &AblationOptions::default(),
        &budget(64),
        &mut (),
    )
    .unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("line 2") && error.contains("without L2H0"),
        "{error}"
    );
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

/// Metrics, counts, tests and errors are those of the record.
fn is_recorded(of: &Value, options: &AblationOptions<'_>) {
    let (model, corpus) = grammar(Some(of["sentences"].as_u64().unwrap() as usize));
    let found = ablate(&model, &corpus, options, &Work::default(), &mut ()).unwrap();
    assert_eq!(found.without.len(), of["heads"].as_object().unwrap().len());
    let mcc = |e: &bertology::Evaluation| e.metrics.get("mcc").unwrap();
    assert!((mcc(&found.whole) - number(&of["whole"]["mcc"])).abs() < 1e-9);
    let table = found
        .change(&corpus, &Metric::of(&corpus, None).unwrap())
        .unwrap();
    for without in &found.without {
        let HeadId { layer, head } = without.head;
        let expected = &of["heads"][format!("{layer}.{head}")];
        let change = number(&expected["mcc"]) - number(&of["whole"]["mcc"]);
        assert!((mcc(&without.evaluation) - number(&expected["mcc"])).abs() < 1e-9);
        assert!((table.get(without.head).unwrap() - change).abs() < 1e-9);
        let paired = without.paired;
        assert_eq!(
            paired.right_to_wrong,
            expected["right_to_wrong"].as_u64().unwrap()
        );
        assert_eq!(
            paired.wrong_to_right,
            expected["wrong_to_right"].as_u64().unwrap()
        );
        let p_value = number(&expected["p_value"]);
        assert!((paired.p_value() - p_value).abs() <= 1e-12 * p_value);
        let loss = number(&expected["loss"]);
        assert!(
            (without.evaluation.loss - loss).abs() < 2e-6,
            "{layer}.{head}"
        );
        let error = number(&expected["loss_standard_error"]);
        assert!((paired.loss_standard_error - error).abs() < 2e-6);
    }
}

/// `tools/golden/make_ablation_golden.py`: a head mask with one zero, or one other than zero in its layer, in transformers. Predictions are the
/// same; losses are f32 on either side.
#[test]
fn transformers_misses_the_same_heads() {
    let record: Value = serde_json::from_str(
        &std::fs::read_to_string(bertology_testkit::golden("studies/ablation.json")).unwrap(),
    )
    .unwrap();
    is_recorded(&record["tiny-bert"], &AblationOptions::default());
    let alone = AblationOptions::default().alone();
    is_recorded(&record["alone"]["tiny-bert"], &alone);
    let of = &record["tiny-gpt2"];
    let model = embedded("tiny-gpt2");
    let source = Source::text(&assets().join("grammar/dev.txt"), Default::default());
    let source = source.with_limit(Some(of["lines"].as_u64().unwrap() as usize));
    let corpus = Corpus::new(&model, source, &CorpusOptions::default()).unwrap();
    let found = all(&model, &corpus);
    assert_eq!(found.whole.targets, of["targets"].as_u64().unwrap());
    let base = number(&of["whole"]["loss"]);
    assert!((found.whole.loss - base).abs() < 2e-6);
    for without in &found.without {
        let HeadId { layer, head } = without.head;
        let expected = &of["heads"][format!("{layer}.{head}")];
        let change = number(&expected["loss"]) - base;
        assert!(
            (without.loss_change - change).abs() < 4e-6,
            "{layer}.{head}"
        );
        let error = number(&expected["loss_standard_error"]);
        assert!((without.paired.loss_standard_error - error).abs() < 2e-6);
    }
}

/// `assets/training.json`: PyTorch masked one head after another. Each step is one head left out of the
/// model under the mask of the steps before; the record has four decimals.
#[test]
fn the_recorded_masking_curve_is_a_chain_of_single_heads() {
    let text = fs::read_to_string(assets().join("training.json")).unwrap();
    let record: Value = serde_json::from_str(&text).unwrap();
    let (order, scores) = (&record["masking"]["order"], &record["masking"]["mcc"]);
    let (model, corpus) = grammar(None);
    let mut mask = HeadMask::ones(model.model());
    for step in 0..5 {
        let (layer, head) = order[step].as_str().unwrap().split_once(':').unwrap();
        let head = HeadId {
            layer: layer.parse().unwrap(),
            head: head.parse().unwrap(),
        };
        let heads = [head];
        let options = AblationOptions::default().heads(&heads).mask(&mask);
        let found = ablate(&model, &corpus, &options, &Work::default(), &mut ()).unwrap();
        let before = found.whole.metrics.get("mcc").unwrap();
        let after = found.without[0].evaluation.metrics.get("mcc").unwrap();
        assert!((before - number(&scores[step])).abs() < 6e-5, "step {step}");
        assert!(
            (after - number(&scores[step + 1])).abs() < 6e-5,
            "step {step}"
        );
        mask.set(head, 0.0);
    }
}
