//! Every sequence through the model, its attention maps through a study.
//!
//! No map outlives the moment in which it is seen, unless the study keeps it in what a sequence contributes;
//! that is handed over in the order of the input, so that sums do not depend on the number of threads.

use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;

use bertology_model::{
    Event, HeadId, Interests, LayerSite, Matrix, Observer, Pass, PassOptions, Sequence, Tap,
    Workspace, parallel,
};

use crate::input::corpus::{DEFAULT_BATCH_TOKENS, packed};
use crate::input::supply::{Fate, LeftOut, Passage, Supply};
use crate::model::loaded::all_threads;
use crate::{Error, LoadedModel, Watch, watch};

/// A study of attention maps, one sequence at a time.
pub trait MapStudy: Sync {
    /// What a sequence brings along: its words, its classes of tokens ...
    type Item: Send;
    /// What a sequence contributes.
    type Part: Send;

    /// The sites that [`MapStudy::see`] sees; those that are per head.
    fn interests(&self) -> Interests {
        Interests::none().value(LayerSite::AttentionProbs)
    }

    /// Nothing seen yet of a sequence.
    fn begin(&self, item: &Self::Item, sequence: &Sequence) -> Self::Part;

    /// Sees one map: layers and heads ascending in the forward pass, layers descending in the backward pass.
    fn see(&self, item: &Self::Item, part: &mut Self::Part, view: &MapView<'_>);

    /// Every map of the sequence was seen; still on the thread of a worker.
    fn close(&self, item: &Self::Item, part: &mut Self::Part) {
        let _ = (item, part);
    }

    /// Whether what a closed sequence contributes can be trusted; an error ends the study and names the
    /// sequence's line.
    ///
    /// # Errors
    /// Numbers that are not finite, and the like.
    fn check(&self, item: &Self::Item, part: &Self::Part) -> Result<(), Error> {
        let _ = (item, part);
        Ok(())
    }
}

/// What a study sees.
#[derive(Debug, Clone, Copy)]
pub struct MapView<'a> {
    /// Values or gradients.
    pub pass: Pass,
    /// Attention probabilities, unless the study asked for other sites.
    pub site: LayerSite,
    /// Whose map it is; its number in the unpruned model.
    pub head: HeadId,
    /// `[query, key]` of the sequence's true length.
    pub map: Matrix<'a, f32>,
}

/// Tokens put through the model at once where no gradients are asked for: without a backward pass nothing is
/// kept of a layer (measured: from 512 to 2048 the times are the same within the noise).
pub const FORWARD_TOKENS: usize = 1024;

/// How the work is spread; no result depends on it beyond rounding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SurveyOptions {
    /// 0: all that the machine offers.
    pub threads: usize,
    /// Tokens put through the model at once; `None`: [`FORWARD_TOKENS`], with gradients
    /// [`DEFAULT_BATCH_TOKENS`].
    pub batch_tokens: Option<usize>,
    /// One sequence at a time, for studies that keep maps until they are closed.
    pub one_at_a_time: bool,
}

/// What one sequence contributed.
#[derive(Debug)]
pub struct Contribution<I, P> {
    /// What was known of it.
    pub item: I,
    /// What the study found.
    pub part: P,
    /// Its length.
    pub tokens: usize,
}

/// Runs a study from unit `done` on. `add` receives what became of every unit, in order, before the study can
/// be interrupted: it has then received exactly those that were reported as done.
///
/// # Errors
/// Units that cannot be read or taken, with file and line; an interruption; a file that has changed.
pub fn survey<P, S>(
    model: &LoadedModel,
    supply: &P,
    study: &S,
    options: &SurveyOptions,
    done: u64,
    watch: &mut dyn Watch,
    mut add: impl FnMut(Fate<Contribution<S::Item, S::Part>>),
) -> Result<(), Error>
where
    P: Supply,
    S: MapStudy<Item = P::Item>,
{
    let batch_tokens = options.batch_tokens.unwrap_or_else(|| {
        if study.interests().any_gradient() {
            DEFAULT_BATCH_TOKENS
        } else {
            FORWARD_TOKENS
        }
    });
    if batch_tokens == 0 {
        return Err(Error::Option {
            option: "the number of tokens in a batch",
            value: "0".to_owned(),
            reason: "give at least 1",
        });
    }
    let total = supply.total();
    let threads = match options.threads {
        0 => all_threads(),
        threads => threads,
    };
    let stop = watch.stop_signal();
    let work = Work {
        model,
        supply,
        study,
        options,
        batch_tokens,
        stop: stop.as_deref(),
    };
    watch.begin(watch::Pass::Attention, done, total);
    let mut raws = supply.open()?;
    for raw in raws
        .by_ref()
        .take(usize::try_from(done).unwrap_or(usize::MAX))
    {
        raw?;
    }
    let jobs = Jobs {
        raws,
        supply,
        tokens: batch_tokens,
    };
    let mut now = done;
    let mut failure = None;
    parallel::in_order(
        threads,
        jobs,
        |workspace, job| work.job(workspace, job?),
        |found: Result<Vec<_>, Error>| {
            let found = match found {
                Ok(found) => found,
                Err(Error::Model(bertology_model::Error::Stopped)) => {
                    failure = Some(Error::Interrupted { done: now, total });
                    return ControlFlow::Break(());
                }
                Err(error) => {
                    failure = Some(error);
                    return ControlFlow::Break(());
                }
            };
            now += found.len() as u64;
            found.into_iter().for_each(&mut add);
            if watch.advance(now, total).is_break() {
                failure = Some(Error::Interrupted { done: now, total });
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        },
    );
    match failure {
        Some(error) => Err(error),
        None if now != total => Err(Error::DataChanged {
            path: supply.path().to_owned(),
            before: total,
            now,
        }),
        None => Ok(()),
    }
}

/// About a batch of units at a time.
struct Jobs<'a, P: Supply, I> {
    raws: I,
    supply: &'a P,
    tokens: usize,
}

impl<P, I> Iterator for Jobs<'_, P, I>
where
    P: Supply,
    I: Iterator<Item = Result<P::Raw, Error>>,
{
    type Item = Result<Vec<P::Raw>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut job = Vec::new();
        let mut tokens = 0;
        while tokens < self.tokens {
            match self.raws.next() {
                None => break,
                Some(Err(error)) => return Some(Err(error)),
                Some(Ok(raw)) => {
                    tokens += self.supply.size(&raw).max(1);
                    job.push(raw);
                }
            }
        }
        (!job.is_empty()).then_some(Ok(job))
    }
}

struct Work<'a, P, S> {
    model: &'a LoadedModel,
    supply: &'a P,
    study: &'a S,
    options: &'a SurveyOptions,
    batch_tokens: usize,
    stop: Option<&'a AtomicBool>,
}

type Found<S> = Fate<Contribution<<S as MapStudy>::Item, <S as MapStudy>::Part>>;

impl<P, S> Work<'_, P, S>
where
    P: Supply,
    S: MapStudy<Item = P::Item>,
{
    fn job(
        &self,
        workspace: &mut Workspace<f32>,
        raws: Vec<P::Raw>,
    ) -> Result<Vec<Found<S>>, Error> {
        let mut found = Vec::with_capacity(raws.len());
        let mut batch: Vec<(usize, u64, Passage<P::Item>)> = Vec::new();
        let mut tokens = 0;
        for raw in raws {
            let line = self.supply.line(&raw);
            let fate = self.supply.prepare(raw).map_err(|e| self.blame(line, e))?;
            let passage = match fate {
                Fate::Studied(passage) if passage.sequence.is_empty() => {
                    found.push(Some(Fate::LeftOut(LeftOut::Empty)));
                    continue;
                }
                Fate::Studied(passage) => passage,
                Fate::LeftOut(why) => {
                    found.push(Some(Fate::LeftOut(why)));
                    continue;
                }
            };
            let more = passage.sequence.len();
            let full = tokens + more > self.batch_tokens || self.options.one_at_a_time;
            if full && !batch.is_empty() {
                self.run(workspace, std::mem::take(&mut batch), &mut found)?;
                tokens = 0;
            }
            tokens += more;
            batch.push((found.len(), line, passage));
            found.push(None);
        }
        self.run(workspace, batch, &mut found)?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Runs a batch and puts what it contributes in its places.
    fn run(
        &self,
        workspace: &mut Workspace<f32>,
        batch: Vec<(usize, u64, Passage<P::Item>)>,
        found: &mut [Option<Found<S>>],
    ) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let arch = self.model.architecture();
        let mut sequences = Vec::with_capacity(batch.len());
        let mut targets = Vec::new();
        let mut items = Vec::with_capacity(batch.len());
        let mut places = Vec::with_capacity(batch.len());
        for (place, line, passage) in batch {
            items.push(passage.item);
            targets.extend(passage.target);
            places.push((place, line, passage.sequence.len()));
            sequences.push(passage.sequence);
        }
        let packed = packed(arch, &sequences, |at, error| {
            self.blame(places[at].1, error)
        })?;
        let begin = |(item, sequence)| {
            let part = self.study.begin(&item, sequence);
            (item, part)
        };
        let views = items.into_iter().zip(&sequences).map(begin).collect();
        let options = PassOptions {
            targets: (!targets.is_empty()).then_some(&targets),
            observed_only: targets.is_empty(),
            stop: self.stop,
            ..PassOptions::default()
        };
        let mut watcher = Viewer {
            study: self.study,
            views,
        };
        self.model
            .model()
            .run(&packed, &options, workspace, &mut [&mut watcher])?;
        for ((place, line, tokens), (item, mut part)) in places.into_iter().zip(watcher.views) {
            self.study.close(&item, &mut part);
            self.study
                .check(&item, &part)
                .map_err(|e| self.blame(line, e))?;
            found[place] = Some(Fate::Studied(Contribution { item, part, tokens }));
        }
        Ok(())
    }

    fn blame(&self, line: u64, error: Error) -> Error {
        Error::Example {
            path: self.supply.path().to_owned(),
            line,
            source: Box::new(error),
        }
    }
}

/// Hands every map to the study.
struct Viewer<'a, S: MapStudy> {
    study: &'a S,
    views: Vec<(S::Item, S::Part)>,
}

impl<S: MapStudy> Observer<f32> for Viewer<'_, S> {
    fn interests(&self) -> Interests {
        self.study.interests()
    }

    fn observe(&mut self, event: &Event<'_, f32>) -> ControlFlow<()> {
        if let (Tap::Layer(layer, site), Some(head)) = (event.tap, event.head) {
            let (item, part) = &mut self.views[event.sequence];
            let view = MapView {
                pass: event.pass,
                site,
                head: HeadId { layer, head },
                map: event.value,
            };
            self.study.see(item, part, &view);
        }
        ControlFlow::Continue(())
    }
}
