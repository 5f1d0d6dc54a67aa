//! Checkpoints of which something is planted.

use bertology::drive::Work;
use bertology::dynamics::{Dynamics, DynamicsOptions, Moment, Subject, dispensable};
use bertology::evaluate::evaluate;
use bertology::importance::{ImportanceOptions, importance};
use bertology::masking::{Direction, Metric};
use bertology::normalize::ranks;
use bertology::{Error, HeadId, HeadMask};

use super::fixture::{Fixture, HEAD_DIM, HEADS, HIDDEN, LAYERS, rows};

/// A pass in f32 rounds otherwise where a head is left out; losses are about 1.
const ROUNDING: f64 = 1e-5;

/// The classifier in which a head says nothing: the columns of the output map that read it are zeros.
fn silent(head: HeadId) -> Fixture {
    let name = format!(
        "bert.encoder.layer.{}.attention.output.dense.weight",
        head.layer
    );
    Fixture::with_weights(|tensor, values| {
        if tensor == name {
            let own = head.head * HEAD_DIM..(head.head + 1) * HEAD_DIM;
            for row in values.chunks_mut(HIDDEN) {
                row[own.clone()].fill(0.0);
            }
        }
    })
}

fn moments() -> Vec<Moment> {
    let moment = |step, name: &str| Moment {
        step,
        name: name.to_owned(),
    };
    vec![moment(3, "c-3"), moment(10, "c-10")]
}

#[test]
fn each_checkpoint_lets_its_own_silent_head_go_first() {
    let planted = [(1, 2), (0, 3)].map(|(layer, head)| HeadId { layer, head });
    let fixtures = planted.map(silent);
    let models = fixtures.each_ref().map(Fixture::model);
    let rows = rows(24);
    let heads: Vec<HeadId> = models[0].model().heads().collect();
    let mut options = DynamicsOptions::default();
    // One head more at each point.
    options.share = 1.0 / heads.len() as f64;
    options.seeds = vec![7];
    let mut dynamics = Dynamics::new(moments(), heads.clone(), options);
    let work = Work::default();
    let metric = Metric {
        name: "loss".into(),
        direction: Direction::Lower,
    };
    while let Some(at) = dynamics.at() {
        let corpus = fixtures[at].corpus(&models[at], &rows);
        let subject = Subject {
            model: &models[at],
            corpus: &corpus,
            ranked_on: &corpus,
            metric: &metric,
        };
        dynamics.pass(&subject, &work, &mut ()).unwrap();
        // Nothing happens to one that is over.
        if dynamics.at().is_none() {
            let before = dynamics.clone();
            dynamics.pass(&subject, &work, &mut ()).unwrap();
            assert_eq!(dynamics, before);
        }
    }
    assert_eq!(dynamics.counts(), (1..=LAYERS * HEADS).collect::<Vec<_>>());
    for (at, head) in planted.into_iter().enumerate() {
        let found = &dynamics.found()[at];
        assert_eq!(found.raw.get(head), Some(0.0));
        assert_eq!(dynamics.importance(at).unwrap().get(head), Some(0.0));
        assert_eq!(found.curves.orders()[0].heads[0], head);
        let whole = found.curves.whole().unwrap();
        let first = &found.curves.points(0)[0];
        assert!((first.loss - whole.loss).abs() < ROUNDING, "{first:?}");
        assert_eq!(first.metrics, whole.metrics);
        assert!(dispensable(whole.score, found.curves.points(0), metric.direction) >= Some(1));
        // What the pieces say that the curve is made of.
        let corpus = fixtures[at].corpus(&models[at], &rows);
        let plain = ImportanceOptions::default();
        let scores = importance(&models[at], &corpus, &plain, &work, &mut ()).unwrap();
        assert_eq!(scores.raw, found.raw);
        for (order, of) in found.curves.orders().iter().enumerate() {
            let mut mask = HeadMask::ones(models[at].model());
            for head in &of.heads[..5] {
                mask.set(*head, 0.0);
            }
            let alone = evaluate(&models[at], &corpus, Some(&mask), &work, &mut ()).unwrap();
            let point = &found.curves.points(order)[4];
            assert_eq!((point.masked, point.loss), (5, alone.loss));
            assert_eq!(point.score, Some(alone.loss));
        }
    }
    let drawn = |at: usize| &dynamics.found()[at].curves.orders()[1];
    assert_eq!(drawn(0), drawn(1));
    // Without ties, 1 - 6 Σd² / (n (n² - 1)).
    let [one, other] = [0, 1].map(|at| ranks(&dynamics.importance(at).unwrap()));
    let squares = one.iter().zip(&other).map(|(a, b)| {
        let apart = a.unwrap() as f64 - b.unwrap() as f64;
        apart * apart
    });
    let n = one.len() as f64;
    let expected = 1.0 - 6.0 * squares.sum::<f64>() / (n * (n * n - 1.0));
    let agreement = dynamics.agreement(0, 1).unwrap();
    assert!(
        (agreement.spearman - expected).abs() < 1e-12,
        "{agreement:?}"
    );
    let itself = dynamics.agreement(1, 1).unwrap();
    assert!((itself.spearman - 1.0).abs() < 1e-12 && (itself.kendall - 1.0).abs() < 1e-12);
}

#[test]
fn a_checkpoint_without_one_of_the_heads_is_refused() {
    let fixture = Fixture::new();
    let whole = fixture.model();
    let fewer = whole.without_heads([HeadId { layer: 0, head: 0 }]).unwrap();
    let corpus = fixture.corpus(&whole, &rows(4));
    let heads = whole.model().heads().collect();
    let mut dynamics = Dynamics::new(moments(), heads, DynamicsOptions::default());
    let metric = Metric::of(&corpus, None).unwrap();
    let subject = Subject {
        model: &fewer,
        corpus: &corpus,
        ranked_on: &corpus,
        metric: &metric,
    };
    let error = dynamics
        .pass(&subject, &Work::default(), &mut ())
        .unwrap_err();
    assert!(matches!(error, Error::StateMismatch { .. }), "{error}");
    assert_eq!(dynamics.done().0, 0);
}
