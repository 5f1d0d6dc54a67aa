//! A small random classifier with a vocabulary of its own, and sentences for it.

use std::fmt::Write;
use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use bertology::attention::Supply;
use bertology::data::Columns;
use bertology::drive::{Lens, Progress, Study, Work, drive};
use bertology::model::{Event, LayerSite, Matrix, Pass, Tap};
use bertology::watch::Savable;
use bertology::{
    Corpus, CorpusOptions, Error, HeadId, LoadedModel, Outcome, Source, Split, Task, Watch,
};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use tempfile::TempDir;

pub(crate) const HIDDEN: usize = 32;
pub(crate) const HEAD_DIM: usize = 8;
pub(crate) const HEADS: usize = 4;
pub(crate) const LAYERS: usize = 3;

pub(crate) fn golden(name: &str) -> PathBuf {
    bertology_testkit::golden(&format!("engine/{name}"))
}

/// The folder of the embedded models and their corpora.
pub(crate) fn assets() -> PathBuf {
    bertology_testkit::workspace().join("assets")
}

/// An embedded model, such as `tiny-bert`.
pub(crate) fn embedded(name: &str) -> LoadedModel {
    LoadedModel::open(assets().join(name)).unwrap()
}

/// `tiny-bert` and the sentences it was trained to judge.
pub(crate) fn grammar(limit: Option<usize>) -> (LoadedModel, Corpus) {
    let model = embedded("tiny-bert");
    let source = Source::glue(&assets().join("grammar"), Task::Cola, Split::Dev).unwrap();
    let source = source.with_limit(limit);
    let corpus = Corpus::new(&model, source, &CorpusOptions::default()).unwrap();
    (model, corpus)
}

/// A folder with a model, a vocabulary and data files.
pub(crate) struct Fixture {
    pub(crate) folder: TempDir,
}

impl Fixture {
    /// The golden model `bert-absolute` (3 layers, 4 heads, 3 classes) with a vocabulary.
    pub(crate) fn new() -> Self {
        Self::with_weights(|_, _| {})
    }

    /// The same with weights changed by `edit(name, values)`.
    pub(crate) fn with_weights(edit: impl Fn(&str, &mut Vec<f32>)) -> Self {
        Self::of("bert-absolute", edit)
    }

    /// A golden model of the BERT family with a vocabulary, its weights changed likewise.
    pub(crate) fn of(model: &str, edit: impl Fn(&str, &mut Vec<f32>)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = golden(model);
        fs::copy(
            source.join("config.json"),
            folder.path().join("config.json"),
        )
        .unwrap();
        let bytes = fs::read(source.join("model.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let edited: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
            .iter()
            .map(|(name, tensor)| {
                let mut values: Vec<f32> = tensor
                    .data()
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                    .collect();
                edit(name, &mut values);
                let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                (name.to_owned(), tensor.shape().to_vec(), bytes)
            })
            .collect();
        let views = edited.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
            (name.clone(), view)
        });
        let file = folder.path().join("model.safetensors");
        safetensors::serialize_to_file(views, None, &file).unwrap();
        let mut vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n".to_owned();
        for word in 5..60 {
            writeln!(vocabulary, "w{word}").unwrap();
        }
        fs::write(folder.path().join("vocab.txt"), vocabulary).unwrap();
        Self { folder }
    }

    pub(crate) fn model(&self) -> LoadedModel {
        LoadedModel::open(self.folder.path()).unwrap()
    }

    /// Writes a file of this folder; gives its path.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Writes rows of (text, label) and opens them for `model`.
    pub(crate) fn corpus(&self, model: &LoadedModel, rows: &[(String, usize)]) -> Corpus {
        Corpus::new(model, self.source(rows), &CorpusOptions::default()).unwrap()
    }

    pub(crate) fn source(&self, rows: &[(String, usize)]) -> Source {
        let mut text = "text\tlabel\n".to_owned();
        for (sentence, label) in rows {
            writeln!(text, "{sentence}\t{label}").unwrap();
        }
        // Every corpus has a file of its own: tests keep several.
        let files = fs::read_dir(self.folder.path()).unwrap().count();
        let path = self.folder.path().join(format!("data-{files}.tsv"));
        fs::write(&path, text).unwrap();
        Source::table(&path, Columns::text("text").with_label("label")).unwrap()
    }
}

/// Sentences of different lengths (1 to 18 words) with labels 0 to 2, the same at every call.
pub(crate) fn rows(count: usize) -> Vec<(String, usize)> {
    let mut state = 7_u64;
    let mut random = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    (0..count)
        .map(|_| {
            let words: Vec<String> = (0..=random(18))
                .map(|_| format!("w{}", 5 + random(55)))
                .collect();
            (words.join(" "), random(3) as usize)
        })
        .collect()
}

pub(crate) fn budget(batch_tokens: usize) -> Work {
    spread(0, batch_tokens)
}

pub(crate) fn spread(threads: usize, batch_tokens: usize) -> Work {
    Work {
        threads,
        batch_tokens: Some(batch_tokens),
    }
}

/// What a lens sees of the attention, or its gradient, of one head.
pub(crate) fn seen(pass: Pass, head: HeadId, map: Matrix<'_, f32>) -> Event<'_, f32> {
    Event {
        pass,
        tap: Tap::Layer(head.layer, LayerSite::AttentionProbs),
        sequence: 0,
        head: Some(head.head),
        value: map,
    }
}

/// The study after a pass over all there is.
pub(crate) fn driven<P, S>(model: &LoadedModel, supply: &P, study: S, work: &Work) -> S
where
    P: Supply,
    S: Study,
    S::Lens: Lens<Item = P::Item>,
{
    let mut progress = Progress::new(study);
    drive(model, supply, &mut progress, work, &mut ()).unwrap();
    progress.into_study()
}

/// Goes on until `watch` stops it; gives what is read back from what was saved then.
pub(crate) fn stopped<P, S>(
    model: &LoadedModel,
    supply: &P,
    mut progress: Progress<S>,
    work: &Work,
    watch: &mut dyn Watch,
) -> Progress<S>
where
    P: Supply,
    S: Study,
    S::Lens: Lens<Item = P::Item>,
{
    let error = drive(model, supply, &mut progress, work, watch).unwrap_err();
    let Error::Interrupted { done, total } = error else {
        panic!("{error}");
    };
    assert!(done == progress.done(supply.total()) && done < total);
    let saved = progress.save().unwrap().to_string();
    let fresh = Progress::new(progress.fresh().empty());
    fresh.resume(serde_json::from_str(&saved).unwrap()).unwrap()
}

pub(crate) fn stop_after(examples: u64) -> StopAfter {
    StopAfter {
        examples,
        lines: Vec::new(),
    }
}

/// Largest difference relative to the largest value.
pub(crate) fn difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let scale = a.iter().fold(0.0_f64, |max, v| max.max(v.abs()));
    let largest = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    largest.fold(0.0, f64::max) / scale
}

/// Stops after so many examples; keeps what it saw.
pub(crate) struct StopAfter {
    pub(crate) examples: u64,
    pub(crate) lines: Vec<u64>,
}

impl Watch for StopAfter {
    fn advance(&mut self, done: u64, _total: u64) -> ControlFlow<()> {
        if done >= self.examples {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn example(&mut self, outcome: &Outcome<'_>) {
        self.lines.push(outcome.line);
    }
}
