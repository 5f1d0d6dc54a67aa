//! One suite of probes on its way from nothing to its scores, kept on disk between validations.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Write};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bertology::Watch;
use bertology::data::edge::Vocabulary;
use bertology::data::{Cells, Confusion, MetricError, Slice, argmax};
use bertology::watch::Purpose;
use half::f16;

use super::mdl::{CodeLength, online_code};
use super::strata::Strata;
use super::trace::{Traces, Window};
use super::{Counts, Course, Data, Fault, Output, Plan, Progress, Split, Suite, Tally};
use crate::Error;
use crate::shards::{whole, write_whole};

/// What stands for a label that the vocabulary lacks.
const UNSEEN: &str = "(not in the vocabulary)";
/// Logits of all probes, held until the targets they are of are told: so many bytes, or one sentence.
const WINDOW: usize = 32 << 20;

/// How many cores, where to, and who looks on.
pub(super) struct Shop<'w> {
    pub(super) folder: PathBuf,
    pub(super) threads: usize,
    pub(super) watch: &'w mut dyn Watch,
    pub(super) stop: Option<Arc<AtomicBool>>,
}

/// A probe and its scores on a split.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// How its training went.
    pub course: Course,
    /// Whether more training would not have helped.
    pub converged: bool,
    /// Mixing weights and γ, where layers are mixed.
    pub mixing: Option<(Vec<f32>, f32)>,
    /// Answers for the labels that the task is judged by.
    pub cells: Cells,
    /// Answers for every label.
    pub labels: Vec<(String, Cells)>,
    /// Targets with every answer right.
    pub exact_match: f64,
    /// Targets of one label whose label has the greatest logit.
    pub argmax_accuracy: Option<f64>,
    /// Right and wrong decisions of each sentence, of the labels that the task is judged by.
    pub sentences: Vec<Counts>,
    /// True positives, false positives and false negatives of each stratum, of the same labels; empty without strata.
    pub strata: Vec<[u64; 3]>,
}

impl Scored {
    /// F1 of the labels that the task is judged by, in [0, 1].
    #[must_use]
    pub fn f1(&self) -> f64 {
        self.cells.f1()
    }
}

/// What a suite is scored on.
pub(super) struct Judge<'a> {
    pub(super) split: &'a Split,
    pub(super) vocabulary: &'a Vocabulary,
    pub(super) slice: Slice,
    pub(super) strata: Option<&'a Strata>,
    /// Which labels count; nothing where all do.
    counted: Option<Vec<bool>>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(
        split: &'a Split,
        vocabulary: &'a Vocabulary,
        slice: Slice,
        strata: Option<&'a Strata>,
    ) -> Self {
        let names = vocabulary.names().iter();
        let counted = names.map(|name| slice.contains(name)).collect();
        Self {
            split,
            vocabulary,
            counted: (slice != Slice::All).then_some(counted),
            slice,
            strata,
        }
    }

    /// Scores of guesses: the labels given to each target.
    pub(super) fn guesses(&self, guesses: &[Vec<u16>]) -> Result<Cells, Error> {
        let mut scores = Confusion::new(self.vocabulary.clone());
        let mut given = vec![false; self.vocabulary.len()];
        for (target, guess) in guesses.iter().enumerate() {
            given.fill(false);
            for label in guess {
                given[usize::from(*label)] = true;
            }
            let first = guess.first().map_or(0, |label| usize::from(*label));
            observe(self.split, target, |labels, unseen| {
                scores.observe_given(&given, first, labels, unseen)
            })?;
        }
        Ok(scores.cells(&self.slice))
    }
}

/// Hands the labels of a target, known and unknown, to what counts it.
fn observe(
    split: &Split,
    target: usize,
    count: impl FnOnce(&[usize], &[&str]) -> Result<(), MetricError>,
) -> Result<(), Error> {
    let of = split.get(target);
    let labels: Vec<usize> = of.labels.iter().map(|label| usize::from(*label)).collect();
    let counted = count(&labels, &vec![UNSEEN; usize::from(of.unknown)]);
    counted.map_err(|error| bertology::Error::from(error).into())
}

/// Answers as they come, target by target.
struct Answers<'a> {
    tally: Tally<'a>,
    scores: Confusion,
    strata: Vec<[u64; 3]>,
    /// `[targets of the window, classes]`, where traces are wanted.
    logits: Vec<f32>,
    failure: Option<Error>,
}

impl Shop<'_> {
    fn stopped(&self) -> bool {
        self.stop
            .as_ref()
            .is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    /// Trains all probes of a plan to their ends, from where a run before left them.
    pub(super) fn train<'a>(
        &mut self,
        name: &str,
        data: Data<'a>,
        plan: Plan,
    ) -> Result<Suite<'a>, Error> {
        let path = self.folder.join(format!("training-{name}.bin"));
        let mut suite = match bertology_file::open(&path) {
            Ok(file) => Suite::resume(data, plan, &mut BufReader::new(file))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Suite::new(data, plan)?,
            Err(error) => return Err(Error::io("open", &path)(error)),
        };
        let most = u64::from(suite.plan().settings.most_validations);
        let done = |suite: &Suite<'_>| {
            let validations = suite.courses().map(|course| course.validations.len());
            validations.max().unwrap_or_default() as u64
        };
        self.watch.begin(Purpose::Training, done(&suite), most);
        while !suite.is_done() {
            let look = self.look();
            let round = suite.round(self.threads, &look);
            if self.stopped() {
                return Err(interrupted());
            }
            round?;
            save(&path, &suite)?;
            if self.watch.advance(done(&suite), most).is_break() {
                return Err(interrupted());
            }
        }
        Ok(suite)
    }

    /// The online code of each layer; made anew where a run before did not come to its end.
    pub(super) fn code(
        &mut self,
        name: &str,
        data: Data<'_>,
        plan: &Plan,
        order: u64,
    ) -> Result<Vec<CodeLength>, Error> {
        let path = self.folder.join(format!("code-{name}.json"));
        match bertology_file::read_up_to(&path, 1 << 26) {
            Ok(bytes) => {
                let what = |error: serde_json::Error| Fault::State {
                    what: format!("of code lengths cannot be read: {error}"),
                };
                return Ok(serde_json::from_slice(&bytes).map_err(what)?);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("read", &path)(error)),
        }
        let look = self.look();
        let found = online_code(data, plan, order, self.threads, &look);
        if self.stopped() {
            return Err(interrupted());
        }
        let found = found?;
        let bytes =
            serde_json::to_vec(&found).map_err(|error| Error::io("write", &path)(error.into()))?;
        write_whole(&path, &[&bytes])?;
        Ok(found)
    }

    fn look(&self) -> impl Fn(Progress) -> ControlFlow<()> + Sync + use<> {
        let stop = self.stop.clone();
        move |_| match &stop {
            Some(stop) if stop.load(Ordering::Relaxed) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }

    /// Scores of all probes, seed by seed, in each the readings in order.
    pub(super) fn score(
        &mut self,
        suite: &Suite<'_>,
        judge: &Judge<'_>,
    ) -> Result<Vec<Scored>, Error> {
        let whole = 0..judge.split.sentences();
        let answers = self.answers(suite, judge, whole, false, Vec::new())?;
        scored(suite, judge, answers)
    }

    /// As [`Shop::score`], and what the readings say of every target. Every label's probability goes to `keep`.
    pub(super) fn score_and_trace(
        &mut self,
        suite: &Suite<'_>,
        judge: &Judge<'_>,
        keep: Option<&Path>,
    ) -> Result<(Vec<Scored>, Traces), Error> {
        let (split, output) = (judge.split, suite.plan().design.output);
        let (readings, classes) = (suite.plan().readings.len(), split.classes());
        let file = keep.map(|path| File::create(path).map_err(Error::io("create", path)));
        let mut file = file.transpose()?.map(BufWriter::new);
        let mut traces = Traces::new(readings);
        let mut answers = Vec::new();
        for sentences in windows(split, suite.courses().len()) {
            let end = split.targets_of(sentences.end - 1).end;
            let targets = split.targets_of(sentences.start).start..end;
            answers = self.answers(suite, judge, sentences, true, answers)?;
            let mut window = Window::new(targets.len(), classes, readings, file.is_some());
            for (at, answers) in answers.iter().enumerate() {
                window.add(at % readings, &answers.logits, output);
            }
            traces.add(&window, split, targets.start);
            if let (Some(file), Some(path)) = (&mut file, keep) {
                let values = window.raw().map(|p| f16::from_f64(p).to_le_bytes());
                let bytes: Vec<u8> = values.flatten().collect();
                file.write_all(&bytes).map_err(Error::io("write", path))?;
            }
        }
        if let (Some(mut file), Some(path)) = (file, keep) {
            file.flush().map_err(Error::io("write", path))?;
        }
        Ok((scored(suite, judge, answers)?, traces))
    }

    /// Adds the answers of all probes for some sentences to those that are there.
    fn answers<'a>(
        &self,
        suite: &Suite<'_>,
        judge: &'a Judge<'_>,
        sentences: Range<usize>,
        traced: bool,
        before: Vec<Answers<'a>>,
    ) -> Result<Vec<Answers<'a>>, Error> {
        let output = suite.plan().design.output;
        let (split, classes) = (judge.split, judge.split.classes());
        let strata = judge.strata.map_or(0, Strata::len);
        let targets = match sentences.is_empty() {
            true => 0..0,
            false => {
                split.targets_of(sentences.start).start..split.targets_of(sentences.end - 1).end
            }
        };
        let first = targets.start;
        let mut before = before.into_iter();
        suite.evaluate_part(
            split,
            sentences,
            self.threads,
            |_| {
                let mut answers = before.next().unwrap_or_else(|| Answers {
                    tally: Tally::new(split, output, judge.counted.as_deref()),
                    scores: Confusion::new(judge.vocabulary.clone()),
                    strata: vec![[0; 3]; strata],
                    logits: Vec::new(),
                    failure: None,
                });
                answers
                    .logits
                    .resize(if traced { targets.len() * classes } else { 0 }, 0.0);
                answers
            },
            |answers, target, logits| {
                let counts = answers.tally.add(target, logits);
                for stratum in judge.strata.iter().flat_map(|strata| strata.of(target)) {
                    for (sum, count) in answers.strata[stratum].iter_mut().zip(counts) {
                        *sum += u64::from(count);
                    }
                }
                if traced {
                    let own = &mut answers.logits[(target - first) * classes..][..classes];
                    own.copy_from_slice(logits);
                }
                let scores = &mut answers.scores;
                let told = observe(split, target, |labels, unseen| match output {
                    Output::Sigmoid => scores.observe(logits, labels, unseen),
                    Output::Softmax => {
                        let greatest = argmax(logits)?;
                        scores.observe_given(&output.given(logits), greatest, labels, unseen)
                    }
                });
                if let Err(failure) = told {
                    answers.failure.get_or_insert(failure);
                }
            },
        )
    }
}

/// Sentences, in order, whose targets' logits of so many probes take no more than [`WINDOW`].
fn windows(split: &Split, probes: usize) -> Vec<Range<usize>> {
    let most = (WINDOW / (split.classes() * 4 * probes.max(1))).max(1);
    let mut windows = Vec::new();
    let (mut start, mut targets) = (0, 0);
    for sentence in 0..split.sentences() {
        let more = split.targets_of(sentence).len();
        if targets > 0 && targets + more > most {
            windows.push(start..sentence);
            (start, targets) = (sentence, 0);
        }
        targets += more;
    }
    if start < split.sentences() {
        windows.push(start..split.sentences());
    }
    windows
}

/// What the answers come to.
fn scored(
    suite: &Suite<'_>,
    judge: &Judge<'_>,
    answers: Vec<Answers<'_>>,
) -> Result<Vec<Scored>, Error> {
    let mut scored = Vec::with_capacity(answers.len());
    for (at, (answers, course)) in answers.into_iter().zip(suite.courses()).enumerate() {
        if let Some(failure) = answers.failure {
            return Err(failure);
        }
        let scores = answers.scores;
        scored.push(Scored {
            course: course.clone(),
            converged: course.converged(suite.plan().settings.selection),
            mixing: suite.mixing(at),
            cells: scores.cells(&judge.slice),
            labels: scores
                .rows()
                .map(|(name, cells)| (name.to_owned(), cells))
                .collect(),
            exact_match: scores.exact_match(),
            argmax_accuracy: scores.argmax_accuracy(),
            sentences: answers.tally.sentences().to_vec(),
            strata: answers.strata,
        });
    }
    Ok(scored)
}

fn interrupted() -> Error {
    Error::Interrupted {
        sentences: 0,
        total: 0,
    }
}

/// Whole or not at all.
fn save(path: &Path, suite: &Suite<'_>) -> Result<(), Error> {
    whole(path, |file| {
        let mut file = BufWriter::new(file);
        suite.save(&mut file)?;
        file.flush()
    })
}
