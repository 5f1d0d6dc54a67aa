//! A corpus in parts: whatever the parts, and whatever happens to them, the sums are the same bits.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use bertology::ablation::{Ablated, AblationState};
use bertology::attention::cluster::{DistanceOptions, DistanceState};
use bertology::attention::coref::{CorefCounts, DocumentPassages};
use bertology::attention::patterns::{PatternOptions, PatternsState, TokenClasses};
use bertology::attention::syntax::{SyntaxCounts, SyntaxOptions};
use bertology::attention::{
    RowMode, SentencePassages, Supply, TextOptions, TextPassages, TreebankOptions,
};
use bertology::data::conllu::Treebank;
use bertology::drive::{DEFAULT_CHUNK, Lens, Part, PartState, Progress, Study, Work, drive};
use bertology::evaluate::{EvaluationState, MaskedModel};
use bertology::extract::{ExtractOptions, Extraction, GradientOf, Heads, Layers, Request, Texts};
use bertology::measures::{NormsState, ShapleyState};
use bertology::watch::Savable;
use bertology::{
    Corpus, CorpusOptions, Error, Granularity, HeadId, HeadMask, ImportanceState, LoadedModel,
    Source, Split, Task, Watch,
};

use super::fixture::spread;
use super::syntax::{assets, model};

/// Units in a chunk, of the [`UNITS`] of a corpus.
const CHUNK: u64 = 8;
const UNITS: usize = 60;

pub(super) fn corpus(model: &LoadedModel) -> Corpus {
    let source = Source::glue(&assets().join("grammar"), Task::Cola, Split::Dev).unwrap();
    let source = source.with_limit(Some(UNITS));
    Corpus::new(model, source, &CorpusOptions::default()).unwrap()
}

pub(super) fn texts(model: &LoadedModel) -> TextPassages {
    let source = Source::lines(&assets().join("grammar/dev.txt")).with_limit(Some(UNITS));
    TextPassages::new(model, source, TextOptions::default()).unwrap()
}

fn treebank() -> Treebank {
    Treebank::new(&assets().join("grammar/dev.conllu")).with_limit(Some(UNITS))
}

pub(super) fn patterns(model: &LoadedModel) -> PatternsState {
    let classes = TokenClasses::of_model(model, None).unwrap();
    PatternsState::new(model, classes, PatternOptions::default()).unwrap()
}

pub(super) fn importance(
    model: &LoadedModel,
    corpus: &Corpus,
    granularity: Granularity,
) -> ImportanceState {
    let masked = MaskedModel::new(model, None, false).unwrap();
    ImportanceState::new(&masked, corpus, granularity).unwrap()
}

/// Numbers as text that is read back to the same bits, each of them.
pub(super) fn bits<S: Study>(study: &S) -> String {
    serde_json::to_string(study).unwrap()
}

/// Stops as soon as a chunk is left unfinished, behind the first of several.
struct WithinChunk {
    chunk: u64,
    stopped: bool,
}

impl Watch for WithinChunk {
    fn advance(&mut self, done: u64, total: u64) -> ControlFlow<()> {
        let behind = done > self.chunk || total <= self.chunk;
        self.stopped = behind && !done.is_multiple_of(self.chunk) && done < total;
        match self.stopped {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

/// Makes a part as a machine of its own would, stopped within a chunk if it takes several jobs; what it sends, as
/// it is sent, and whether it was stopped.
fn made<P, S>(
    model: &LoadedModel,
    supply: &P,
    fresh: &impl Fn() -> Progress<S>,
    part: Part,
    work: &Work,
) -> (String, bool)
where
    P: Supply,
    S: Study,
    S::Lens: Lens<Item = P::Item>,
{
    let begin = || fresh().part(Some(part)).unwrap();
    let mut progress = begin();
    let mut watch = WithinChunk {
        chunk: progress.chunk(),
        stopped: false,
    };
    let ended = drive(model, supply, &mut progress, work, &mut watch);
    let interrupted = matches!(ended, Err(Error::Interrupted { .. }));
    assert!(ended.is_ok() || interrupted, "{part}: {ended:?}");
    assert_eq!(interrupted, watch.stopped);
    let saved = progress.save().unwrap().to_string();
    drop(progress);
    let mut progress = begin()
        .resume(serde_json::from_str(&saved).unwrap())
        .unwrap();
    drive(model, supply, &mut progress, work, &mut ()).unwrap();
    let part = progress.into_part(supply.total()).unwrap();
    (serde_json::to_string(&part).unwrap(), interrupted)
}

/// Whatever the parts, their threads and their order: the bits of the whole.
fn parts_are_the_whole<P, S>(model: &LoadedModel, supply: &P, fresh: impl Fn() -> S)
where
    P: Supply,
    S: Study,
    S::Lens: Lens<Item = P::Item>,
{
    let fresh = || Progress::new(fresh()).chunks_of(CHUNK).unwrap();
    let mut whole = fresh();
    drive(model, supply, &mut whole, &spread(1, 40), &mut ()).unwrap();
    assert_eq!(whole.done(supply.total()), supply.total());
    let whole = bits(whole.study());
    assert_ne!(whole, bits(fresh().study()));
    for of in [1, 2, 5] {
        let made = |number| made(model, supply, &fresh, Part { number, of }, &spread(2, 40));
        let (mut sent, stopped): (Vec<String>, Vec<bool>) = (1..=of).map(made).unzip();
        assert!(stopped.contains(&true), "{of} parts, none of them stopped");
        sent.rotate_left(of as usize / 2);
        sent.reverse();
        let parts = sent.iter().map(|part| serde_json::from_str(part).unwrap());
        let merged = fresh().merge(parts.collect()).unwrap();
        assert!(bits(merged.study()) == whole, "{of} parts");
        assert_eq!(merged.done(supply.total()), supply.total());
    }
}

#[test]
fn importance_in_parts() {
    let model = model("tiny-bert");
    let corpus = corpus(&model);
    for granularity in [
        Granularity::Example,
        Granularity::Token,
        Granularity::Batch { size: 3 },
    ] {
        parts_are_the_whole(&model, &corpus, || importance(&model, &corpus, granularity));
    }
}

#[test]
fn importance_of_a_language_model_in_parts() {
    let model = model("tiny-gpt2");
    let source = Source::lines(&assets().join("grammar/dev.txt")).with_limit(Some(UNITS));
    let mut options = CorpusOptions::default();
    options.max_length = Some(6);
    let corpus = Corpus::new(&model, source, &options).unwrap();
    assert!(corpus.documents().unwrap().windowed > 0);
    parts_are_the_whole(&model, &corpus, || {
        importance(&model, &corpus, Granularity::Example)
    });
}

#[test]
fn measures_of_heads_in_parts() {
    let model = model("tiny-bert");
    let corpus = corpus(&model);
    parts_are_the_whole(&model, &corpus, || NormsState::new(model.model()));
    parts_are_the_whole(&model, &corpus, || {
        ShapleyState::new(model.model(), 1, 3).unwrap()
    });
}

#[test]
fn ablation_and_evaluation_in_parts() {
    let model = model("tiny-bert");
    let corpus = corpus(&model);
    let mut mask = HeadMask::ones(model.model());
    mask.set(HeadId { layer: 0, head: 1 }, 0.0);
    mask.set(HeadId { layer: 1, head: 0 }, 0.5);
    let masked = MaskedModel::new(&model, Some(&mask), false).unwrap();
    let heads = [HeadId { layer: 0, head: 0 }, HeadId { layer: 2, head: 1 }];
    parts_are_the_whole(masked.model(), &corpus, || {
        AblationState::new(&model, &masked, &corpus, Some(&heads), Ablated::Others).unwrap()
    });
    parts_are_the_whole(masked.model(), &corpus, || {
        EvaluationState::new(&masked, &corpus)
    });
}

#[test]
fn patterns_and_distances_in_parts() {
    let model = model("tiny-bert");
    let texts = texts(&model);
    parts_are_the_whole(&model, &texts, || patterns(&model));
    parts_are_the_whole(&model, &texts, || {
        DistanceState::new(&model, &DistanceOptions::default()).unwrap()
    });
}

#[test]
fn syntax_and_coreference_in_parts() {
    let model = model("tiny-bert");
    let options = TreebankOptions::default();
    let sentences = SentencePassages::new(&model, treebank(), options).unwrap();
    parts_are_the_whole(&model, &sentences, || {
        SyntaxCounts::new(&sentences, &SyntaxOptions::default())
    });
    let documents = DocumentPassages::new(&model, treebank(), options).unwrap();
    parts_are_the_whole(&model, &documents, || {
        CorefCounts::new(&documents, RowMode::Mean)
    });
}

/// Bytes by name.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// The shards of a part are those of the whole; the last to come writes the index.
#[test]
fn extraction_in_parts() {
    let model = model("tiny-bert");
    let lines = fs::read_to_string(assets().join("grammar/dev.txt")).unwrap();
    let lines: Vec<&str> = lines.lines().take(UNITS).collect();
    let request = Request::new()
        .hidden_states(Layers::All)
        .attentions(Heads::parse("2.0 L3H1", model.architecture()).unwrap())
        .gradients(GradientOf::Class(1));
    let mut options = ExtractOptions::default();
    options.shard_size = CHUNK as usize;
    let work = spread(2, 40);
    let extraction = Extraction::new(
        &model,
        Texts::given(lines.clone()),
        &request,
        options,
        &work,
        &mut (),
    )
    .unwrap();
    let whole = tempfile::tempdir().unwrap();
    let summary = extraction.write(whole.path(), &work, &mut ()).unwrap();
    assert_eq!(summary.shards.len(), 8);
    for of in [1, 2, 5] {
        let folder = tempfile::tempdir().unwrap();
        let fresh = || Progress::new(extraction.study(folder.path()));
        let mut parts: Vec<PartState> = Vec::new();
        for number in (1..=of).rev() {
            let part = Part { number, of };
            let (sent, stopped) = made(&model, &extraction, &fresh, part, &work);
            assert!(stopped || number == of);
            parts.push(serde_json::from_str(&sent).unwrap());
        }
        parts.rotate_left(of as usize / 2);
        let merged = fresh().merge(parts).unwrap();
        let found = extraction.finish(folder.path(), merged.study()).unwrap();
        assert_eq!(found.bytes, summary.bytes);
        assert!(files(folder.path()) == files(whole.path()), "{of} parts");
    }
}

/// Batches are never torn; what depends on all before it has no parts.
#[test]
fn chunks_are_what_the_study_can_take() {
    let model = model("tiny-bert");
    let corpus = corpus(&model);
    let progress = |granularity| Progress::new(importance(&model, &corpus, granularity));
    let whole = progress(Granularity::Example);
    assert_eq!(whole.chunk(), DEFAULT_CHUNK);
    assert_eq!(whole.chunks_of(7).unwrap().chunk(), 7);
    let batches = progress(Granularity::Batch { size: 3 });
    assert_eq!(batches.chunk(), 1026);
    assert_eq!(batches.chunks_of(4).unwrap().chunk(), 6);
    let script = progress(Granularity::Script { size: 3 })
        .chunks_of(4)
        .unwrap();
    assert_eq!(script.bounds(60), (0, 60));
    let refused = script.part(Some(Part { number: 1, of: 2 })).unwrap_err();
    assert!(matches!(refused, Error::NotInParts { .. }), "{refused}");
    let refused = progress(Granularity::Example).chunks_of(0).unwrap_err();
    assert!(matches!(refused, Error::Option { .. }), "{refused}");
    for (number, of) in [(0, 0), (0, 2), (3, 2)] {
        let part = Some(Part { number, of });
        let refused = progress(Granularity::Example).part(part).unwrap_err();
        assert!(matches!(refused, Error::Option { .. }), "{refused}");
    }
}

/// Every unit is in one part, and no chunk in two.
#[test]
fn parts_cover_the_corpus() {
    let model = model("tiny-bert");
    let corpus = corpus(&model);
    for (total, of) in [(60, 1), (60, 7), (60, 100), (1, 3), (64, 8), (65, 8)] {
        let mut next = 0;
        for number in 1..=of {
            let progress = Progress::new(importance(&model, &corpus, Granularity::Example));
            let progress = progress.chunks_of(CHUNK).unwrap();
            let progress = progress.part(Some(Part { number, of })).unwrap();
            let (first, end) = progress.bounds(total);
            assert_eq!(first, next, "{number}/{of} of {total}");
            assert!(end == total || end.is_multiple_of(CHUNK));
            next = end;
        }
        assert_eq!(next, total);
    }
}

/// What does not make up the whole is refused, and no part is taken for another.
#[test]
fn parts_that_do_not_fit_are_refused() {
    let model = model("tiny-bert");
    let corpus = corpus(&model);
    let work = spread(2, 0x400);
    let grid = |units| {
        let study = EvaluationState::new(&MaskedModel::new(&model, None, false).unwrap(), &corpus);
        Progress::new(study).chunks_of(units).unwrap()
    };
    let made = |number, of, units| {
        let mut progress = grid(units).part(Some(Part { number, of })).unwrap();
        drive(&model, &corpus, &mut progress, &work, &mut ()).unwrap();
        progress.into_part(60).unwrap()
    };
    let halves = [made(1, 2, CHUNK), made(2, 2, CHUNK)];
    let [first, second] = halves.clone();
    assert_eq!((first.end, second.first), (32, 32));
    let refused = |parts: &[PartState], why: &str| {
        let error = grid(CHUNK).merge(parts.to_vec()).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, Error::Merge { .. }), "{message}");
        assert!(message.contains(why), "{message}");
    };
    grid(CHUNK).merge(halves.to_vec()).unwrap();
    refused(&[], "there is none");
    refused(&halves[..1], "the last part is not there");
    refused(&halves[1..], "side by side");
    // A gap, an overlap, one twice.
    let fifths: Vec<PartState> = (1..=5).map(|number| made(number, 5, CHUNK)).collect();
    refused(
        &[fifths[..2].to_vec(), fifths[3..].to_vec()].concat(),
        "side by side",
    );
    refused(
        &[vec![first.clone()], fifths[1..].to_vec()].concat(),
        "side by side",
    );
    refused(
        &[first.clone(), second.clone(), second.clone()],
        "side by side",
    );
    // Another grid; one that lacks a chunk; one of another corpus.
    refused(&[first.clone(), made(2, 2, 4)], "chunks of different sizes");
    let mut torn = second.clone();
    torn.chunks.pop();
    refused(&[first.clone(), torn], "not finished");
    let mut other = second.clone();
    other.total += 1;
    refused(&[first, other], "different sizes");
    // Of another study.
    let scores = importance(&model, &corpus, Granularity::Example);
    let scores = Progress::new(scores).chunks_of(CHUNK).unwrap();
    let error = scores.merge(halves.to_vec()).unwrap_err();
    assert!(matches!(error, Error::State { .. }), "{error}");

    // The state of one part does not go on as another, or as the whole; nor is it sent before its end.
    let half = |number| grid(CHUNK).part(Some(Part { number, of: 2 })).unwrap();
    let mut progress = half(2);
    let mut watch = WithinChunk {
        chunk: CHUNK,
        stopped: false,
    };
    drive(&model, &corpus, &mut progress, &spread(1, 40), &mut watch).unwrap_err();
    let saved = progress.save().unwrap();
    for other in [half(1), grid(CHUNK)] {
        let error = other.resume(saved.clone()).unwrap_err().to_string();
        assert!(error.contains("the part of the corpus was 2/2"), "{error}");
    }
    let error = grid(4).part(Some(Part { number: 2, of: 2 })).unwrap();
    let error = error.resume(saved).unwrap_err().to_string();
    assert!(error.contains("the size of chunks was 8, now 4"), "{error}");
    let error = progress.into_part(60).unwrap_err().to_string();
    assert!(error.contains("not finished"), "{error}");
    assert!(grid(CHUNK).into_part(60).is_err());
}
