//! One suite of probes on its way from nothing to its scores, kept on disk between validations.

use std::io::{BufReader, BufWriter, ErrorKind, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bertology::Watch;
use bertology::data::edge::Vocabulary;
use bertology::data::{Cells, Confusion, MetricError, Slice, argmax};
use bertology::watch::Purpose;

use super::mdl::{CodeLength, online_code};
use super::strata::Strata;
use super::trace::Traces;
use super::{Counts, Course, Data, Fault, Output, Plan, Progress, Split, Suite, Tally};
use crate::Error;
use crate::shards::{whole, write_whole};

/// What stands for a label that the vocabulary lacks.
const UNSEEN: &str = "(not in the vocabulary)";
/// Traces take so many bytes at most: of more targets there are none.
const MOST_TRACES: usize = 512 << 20;

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
}

impl Judge<'_> {
    /// Which labels count; nothing where all do.
    fn counted(&self) -> Option<Vec<bool>> {
        let names = self.vocabulary.names().iter();
        (self.slice != Slice::All).then(|| names.map(|name| self.slice.contains(name)).collect())
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
    /// `[targets, classes]`, where traces are wanted.
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

    /// Scores of all probes, seed by seed, in each the readings in order; and what every target's probabilities are over
    /// the readings, if they are wanted and are not too many.
    pub(super) fn score(
        &mut self,
        suite: &Suite<'_>,
        judge: &Judge<'_>,
        traces: bool,
    ) -> Result<(Vec<Scored>, Option<Traces>), Error> {
        let output = suite.plan().design.output;
        let readings = suite.plan().readings.len();
        let (targets, classes) = (judge.split.targets(), judge.split.classes());
        let traced = traces && targets * classes * 4 * suite.courses().len() <= MOST_TRACES;
        let counted = judge.counted();
        let strata = judge.strata.map_or(0, Strata::len);
        let answers = suite.evaluate(
            judge.split,
            self.threads,
            |_| Answers {
                tally: Tally::new(judge.split, output, counted.as_deref()),
                scores: Confusion::new(judge.vocabulary.clone()),
                strata: vec![[0; 3]; strata],
                logits: vec![0.0; if traced { targets * classes } else { 0 }],
                failure: None,
            },
            |answers, target, logits| {
                let counts = answers.tally.add(target, logits);
                for stratum in judge.strata.map_or(&[][..], |strata| strata.of(target)) {
                    let sums = &mut answers.strata[usize::from(*stratum)];
                    for (sum, count) in sums.iter_mut().zip(counts) {
                        *sum += u64::from(count);
                    }
                }
                if traced {
                    answers.logits[target * classes..][..classes].copy_from_slice(logits);
                }
                let scores = &mut answers.scores;
                let told = observe(judge.split, target, |labels, unseen| match output {
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
        )?;
        let mut traces = traced.then(|| Traces::new(judge.split, readings));
        let mut scored = Vec::with_capacity(answers.len());
        for (at, (answers, course)) in answers.into_iter().zip(suite.courses()).enumerate() {
            if let Some(failure) = answers.failure {
                return Err(failure);
            }
            if let Some(traces) = &mut traces {
                traces.add(at % readings, &answers.logits, output);
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
        Ok((scored, traces))
    }
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
