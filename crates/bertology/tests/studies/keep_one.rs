//! Each head as the only one of its layer, and the same removals on two sets of data.

use bertology::ablation::{AblationOptions, ablate, agreement, significant};
use bertology::drive::Progress;
use bertology::evaluate::{self, Evaluation, Intervals, MaskedModel};
use bertology::masking::Metric;
use bertology::watch::Savable;
use bertology::{Ablation, AblationState, Corpus, HeadId, HeadMask, HeadTable, LoadedModel};

use super::fixture::{Fixture, HEAD_DIM, HEADS, HIDDEN, LAYERS, budget, rows, spread};

/// Two f32 passes whose sums differ in order.
const ROUNDING: f64 = 2e-6;

fn alone(model: &LoadedModel, corpus: &Corpus, mask: Option<&HeadMask>) -> Ablation {
    let mut options = AblationOptions::default().alone();
    options.mask = mask;
    ablate(model, corpus, &options, &budget(64), &mut ()).unwrap()
}

fn near(found: f64, expected: f64, what: &str) {
    let close = (found - expected).abs() < ROUNDING * expected.abs().max(1.0);
    assert!(close, "{what}: {found} {expected}");
}

/// Metrics, loss and counts are those of an evaluation with all other heads of the layer masked, also where a mask
/// already silences and weakens heads.
#[test]
fn it_is_an_evaluation_with_all_others_masked() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(23));
    let (gone, weak) = (HeadId { layer: 0, head: 3 }, HeadId { layer: 2, head: 1 });
    let ones = HeadMask::ones(model.model());
    let mut mask = ones.clone();
    mask.set(gone, 0.0);
    mask.set(weak, 0.4);
    for (given, base, studied) in [
        (None, &ones, LAYERS * HEADS),
        (Some(&mask), &mask, LAYERS * HEADS - 1),
    ] {
        let found = alone(&model, &corpus, given);
        assert_eq!(found.without.len(), studied);
        let evaluated = |mask: &HeadMask| {
            evaluate::evaluate(&model, &corpus, Some(mask), &budget(64), &mut ()).unwrap()
        };
        let whole = evaluated(base);
        let mut moved = 0.0_f64;
        for one in &found.without {
            let mut mask = base.clone();
            for head in (0..HEADS).filter(|head| *head != one.head.head) {
                mask.set(HeadId { head, ..one.head }, 0.0);
            }
            let expected = evaluated(&mask);
            let what = one.head.to_string();
            near(one.evaluation.loss, expected.loss, &what);
            near(one.loss_change, expected.loss - whole.loss, &what);
            assert_eq!(one.evaluation.metrics, expected.metrics, "{what}");
            moved = moved.max(one.loss_change.abs());
        }
        assert!(moved > 100.0 * ROUNDING, "nothing was compared");
    }
}

/// Where all other heads of a layer are dead, the one that lives is the whole model, to the bit, and it is chosen; a
/// dead head alone is the layer without attention.
#[test]
fn the_only_live_head_of_a_layer_is_the_whole_model() {
    let live = HeadId { layer: 1, head: 2 };
    let fixture = Fixture::with_weights(|name, values| {
        let rows = if name.ends_with("bias") {
            HEAD_DIM
        } else {
            HEAD_DIM * HIDDEN
        };
        if name.contains("layer.1.attention.self.value") {
            values[..2 * rows].fill(0.0);
            values[3 * rows..].fill(0.0);
        }
    });
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(29));
    let found = alone(&model, &corpus, None);
    let one = found.get(live).unwrap();
    // Only the whole model's scores have intervals.
    let whole = Evaluation {
        intervals: Intervals::new(),
        ..found.whole.clone()
    };
    assert_eq!(one.evaluation, whole);
    assert_eq!((one.loss_change, one.paired.p_value()), (0.0, 1.0));
    assert!(!significant(one, true) && !significant(one, false));
    let empty = HeadId { head: 0, ..live };
    let others: Vec<HeadId> = model.model().heads().filter(|h| h.layer == 1).collect();
    let bare = model.without_heads(others).unwrap();
    let bare = evaluate::evaluate(&bare, &corpus, None, &budget(64), &mut ()).unwrap();
    near(found.get(empty).unwrap().evaluation.loss, bare.loss, "none");
    let loss = Metric::of(&corpus, Some("loss")).unwrap();
    let best = found.best_of_each_layer(&corpus, &loss).unwrap();
    let layers: Vec<usize> = best.iter().map(|head| head.layer).collect();
    assert_eq!(layers, [0, 1, 2]);
    for head in best {
        let of_layer = found
            .without
            .iter()
            .filter(|one| one.head.layer == head.layer);
        let least = of_layer
            .map(|one| one.evaluation.loss)
            .fold(f64::MAX, f64::min);
        assert_eq!(found.get(head).unwrap().evaluation.loss, least);
    }
    // Accuracies of so few examples tie; the loss decides among them.
    let accuracy = Metric::of(&corpus, Some("acc")).unwrap();
    let scores = found.scores(&corpus, &accuracy).unwrap();
    for head in found.best_of_each_layer(&corpus, &accuracy).unwrap() {
        let of_layer = found
            .without
            .iter()
            .filter(|one| one.head.layer == head.layer);
        let key = |one: &bertology::ablation::WithoutHead| {
            (-scores.get(one.head).unwrap(), one.evaluation.loss)
        };
        let best = of_layer.map(key).min_by(|a, b| a.partial_cmp(b).unwrap());
        assert_eq!(Some(key(found.get(head).unwrap())), best);
    }
}

#[test]
fn threads_change_no_bit() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(29));
    let options = AblationOptions::default().alone();
    let one = ablate(&model, &corpus, &options, &spread(1, 40), &mut ()).unwrap();
    let many = ablate(&model, &corpus, &options, &spread(3, 40), &mut ()).unwrap();
    assert_eq!(one, many);
}

/// What was saved of the one experiment is not continued as the other.
#[test]
fn states_do_not_mix() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(5));
    let masked = MaskedModel::new(&model, None, false).unwrap();
    let state = |options: AblationOptions<'_>| {
        AblationState::new(&model, &masked, &corpus, None, options.ablated).unwrap()
    };
    let head = state(AblationOptions::default());
    let others = state(AblationOptions::default().alone());
    let saved = Progress::new(head).save().unwrap();
    let error = Progress::new(others).resume(saved).unwrap_err().to_string();
    assert!(error.contains("what is left out"), "{error}");
}

#[test]
fn the_same_data_twice_agree_wholly() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let options = AblationOptions::default();
    let of = |from: usize| {
        let corpus = fixture.corpus(&model, &rows(60)[from..from + 30]);
        let found = ablate(&model, &corpus, &options, &budget(64), &mut ()).unwrap();
        found.loss_change()
    };
    let (first, second) = (of(0), of(30));
    let same = agreement(&first, &first);
    assert_eq!((same.heads, same.pearson), (LAYERS * HEADS, 1.0));
    assert_eq!((same.p_value, same.interval), (Some(0.0), Some((1.0, 1.0))));
    assert_eq!(same.spearman, 1.0);
    let turned: HeadTable = first.map(|_, value| -3.0 * value);
    assert!((agreement(&first, &turned).pearson + 1.0).abs() < 1e-12);
    let other = agreement(&first, &second);
    assert!(other.pearson < 1.0 && other.spearman <= 1.0);
    let (low, high) = other.interval.unwrap();
    assert!(low < other.pearson && other.pearson < high);
    // Heads that only one side knows do not count.
    let some = second.restricted(|head| head.layer > 0);
    assert_eq!(agreement(&first, &some).heads, (LAYERS - 1) * HEADS);
}
