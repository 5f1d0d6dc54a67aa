//! One pass: what a signal costs, and several studies that share it.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bertology::ablation::{Ablated, AblationState};
use bertology::attention::cluster::{DistanceOptions, DistanceState};
use bertology::attention::patterns::PatternsState;
use bertology::attention::{Fate, Passage, Supply, Units};
use bertology::drive::{Progress, Study, Work, drive};
use bertology::evaluate::{EvaluationState, MaskedModel};
use bertology::watch::Savable;
use bertology::{Error, Granularity, HeadId, HeadMask, ImportanceState, Watch};

use super::fixture::{driven, spread, stop_after, stopped};
use super::parts::{bits, corpus, importance, patterns, texts};
use super::syntax::model;

/// Counts what is asked of another supply, and raises a signal when so many units were asked for.
struct Counted<P> {
    inner: P,
    prepared: AtomicU64,
    raise_at: u64,
    signal: Arc<AtomicBool>,
}

impl<P: Supply> Supply for Counted<P> {
    type Raw = P::Raw;
    type Item = P::Item;

    fn path(&self) -> &Path {
        self.inner.path()
    }

    fn total(&self) -> u64 {
        self.inner.total()
    }

    fn open(&self, first: u64) -> Result<Units<'_, P::Raw>, Error> {
        self.inner.open(first)
    }

    fn size(&self, raw: &P::Raw) -> usize {
        self.inner.size(raw)
    }

    fn line(&self, raw: &P::Raw) -> u64 {
        self.inner.line(raw)
    }

    fn prepare(&self, raw: P::Raw) -> Result<Fate<Vec<Passage<P::Item>>>, Error> {
        let before = self.prepared.fetch_add(1, Ordering::SeqCst);
        if before + 1 == self.raise_at {
            self.signal.store(true, Ordering::SeqCst);
        }
        self.inner.prepare(raw)
    }
}

/// Hands out a signal, and raises it itself when so many units are done.
struct Signalled {
    signal: Arc<AtomicBool>,
    raise_at: u64,
}

impl Watch for Signalled {
    fn stop_signal(&self) -> Option<Arc<AtomicBool>> {
        Some(Arc::clone(&self.signal))
    }

    fn advance(&mut self, done: u64, _: u64) -> ControlFlow<()> {
        if done == self.raise_at {
            self.signal.store(true, Ordering::SeqCst);
        }
        ControlFlow::Continue(())
    }
}

/// With one unit a job, wherever the signal comes from.
#[test]
fn a_signal_loses_at_most_one_job_a_thread() {
    let model = model("tiny-bert");
    let corpus = corpus(&model);
    let fresh = || importance(&model, &corpus, Granularity::Example);
    let grid = || Progress::new(fresh()).chunks_of(8).unwrap();
    let mut whole = grid();
    drive(&model, &corpus, &mut whole, &spread(1, 1), &mut ()).unwrap();
    for threads in [1, 2, 5] {
        for (within, between) in [(17, u64::MAX), (u64::MAX, 17)] {
            let signal = Arc::new(AtomicBool::new(false));
            let mut supply = Counted {
                inner: self::corpus(&model),
                prepared: AtomicU64::new(0),
                raise_at: within,
                signal: Arc::clone(&signal),
            };
            let mut watch = Signalled {
                signal,
                raise_at: between,
            };
            let mut progress = grid();
            let work = spread(threads, 1);
            let ended = drive(&model, &supply, &mut progress, &work, &mut watch);
            let Err(Error::Interrupted { done, total: 60 }) = ended else {
                panic!("{ended:?}");
            };
            assert_eq!(done, progress.done(60));
            let lost = supply.prepared.load(Ordering::SeqCst) - done;
            assert!(lost <= threads as u64, "{lost} of {threads} threads");
            // What was lost is made good.
            let saved = progress.save().unwrap();
            supply.raise_at = u64::MAX;
            let mut progress = grid().resume(saved).unwrap();
            drive(&model, &supply, &mut progress, &work, &mut ()).unwrap();
            assert!(bits(progress.study()) == bits(whole.study()));
            assert_eq!(supply.prepared.load(Ordering::SeqCst), 60 + lost);
        }
    }
}

/// Each of several studies comes to what it comes to alone: to the bit, if alone it would take as many gradients.
#[test]
fn studies_share_a_pass() {
    let model = model("tiny-bert");
    let masked = MaskedModel::new(&model, None, false).unwrap();
    let corpus = corpus(&model);
    let work = spread(2, 40);
    let example = || importance(&model, &corpus, Granularity::Example);
    let token = || importance(&model, &corpus, Granularity::Token);
    let said = || EvaluationState::new(&masked, &corpus);
    let evaluated = driven(&model, &corpus, said(), &work);
    let alone = [
        bits(&driven(&model, &corpus, example(), &work)),
        bits(&driven(&model, &corpus, token(), &work)),
        bits(&evaluated),
    ];
    let evaluated = evaluated.finish().unwrap();
    let three = (example(), (Some(token()), said()));
    let (one, (two, three)) = driven(&model, &corpus, three, &work);
    assert_eq!([bits(&one), bits(&two.unwrap())], alone[..2]);
    // A forward pass that keeps what gradients need rounds otherwise.
    let three = three.finish().unwrap();
    assert_eq!(three.metrics, evaluated.metrics);
    assert!((three.loss - evaluated.loss).abs() < 1e-6);
    assert_eq!(three, one.finish().unwrap().evaluation);
    let none: Option<ImportanceState> = None;
    let (none, one) = driven(&model, &corpus, (none, said()), &work);
    assert!(none.is_none());
    assert_eq!(bits(&one), alone[2]);
}

/// Maps are kept by one of them, so that there is one sequence at a time for both.
#[test]
fn studies_of_maps_share_a_pass_and_go_on_together() {
    let model = model("tiny-bert");
    let texts = texts(&model);
    let work = spread(2, 1);
    let distances = || DistanceState::new(&model, &DistanceOptions::default()).unwrap();
    let alone = (
        bits(&driven(&model, &texts, patterns(&model), &work)),
        bits(&driven(&model, &texts, distances(), &work)),
    );
    let both = || (patterns(&model), Some(distances()));
    let (one, other) = driven(&model, &texts, both(), &work);
    assert!(bits(&one) == alone.0 && bits(&other.unwrap()) == alone.1);
    let mut watch = stop_after(13);
    let mut progress = stopped(&model, &texts, Progress::new(both()), &work, &mut watch);
    let saved = progress.save().unwrap();
    drive(&model, &texts, &mut progress, &work, &mut ()).unwrap();
    let (one, other) = progress.into_study();
    assert!(bits(&one) == alone.0 && bits(&other.unwrap()) == alone.1);
    // One of them is not there any more.
    let fewer: (PatternsState, Option<DistanceState>) = (patterns(&model), None);
    let error = Progress::new(fewer).resume(saved).unwrap_err().to_string();
    assert!(error.contains("one of the studies was there"), "{error}");
}

#[test]
fn studies_that_want_passes_of_their_own_are_refused() {
    let model = model("tiny-bert");
    let corpus = corpus(&model);
    let whole = MaskedModel::new(&model, None, false).unwrap();
    let mut mask = HeadMask::ones(model.model());
    mask.set(HeadId { layer: 1, head: 0 }, 0.5);
    let weighed = MaskedModel::new(&model, Some(&mask), false).unwrap();
    let ablation = AblationState::new(&model, &whole, &corpus, None, Ablated::Head).unwrap();
    let said = || EvaluationState::new(&whole, &corpus);
    let masked = ImportanceState::new(&weighed, &corpus, Granularity::Example).unwrap();
    fn refused<S: Study>(ended: &Result<(), Error>, progress: &Progress<S>) {
        assert!(matches!(ended, Err(Error::Apart { .. })), "{ended:?}");
        assert_eq!(progress.done(60), 0);
    }
    let work = Work::default();
    let mut progress = Progress::new((said(), ablation));
    refused(
        &drive(&model, &corpus, &mut progress, &work, &mut ()),
        &progress,
    );
    let mut progress = Progress::new((said(), (Some(masked), said())));
    refused(
        &drive(&model, &corpus, &mut progress, &work, &mut ()),
        &progress,
    );
    // Chunks are those that both can take; with a script there is only the whole.
    let example = |granularity| importance(&model, &corpus, granularity);
    let script = example(Granularity::Script { size: 4 });
    let progress = Progress::new((example(Granularity::Example), script));
    assert_eq!(progress.chunk(), u64::MAX);
    let batches = (
        example(Granularity::Batch { size: 6 }),
        example(Granularity::Batch { size: 3 }),
    );
    assert_eq!(Progress::new(batches).chunks_of(7).unwrap().chunk(), 12);
}
