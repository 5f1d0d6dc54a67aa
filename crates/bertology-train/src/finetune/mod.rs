//! Training a whole model for a task: the input of *Are Sixteen Heads Really Better than One?*, and what comes after its
//! heads are pruned.
//!
//! AdamW, its schedules and clipping are PyTorch's and transformers' (`Trainer`); what is dropped, and the order of the
//! examples, come from a seed, the step and the place alone, so that threads change no bit and a training that was killed
//! comes to the same weights.

mod examples;
mod learner;
mod options;
mod saved;
mod teacher;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bertology::evaluate::{Metrics, evaluate};
use bertology::masking::{Direction, Metric};
use bertology::model::{TaughtStates, TrainingOptions};
use bertology::watch::Purpose;
use bertology::{Corpus, LoadedModel, Objective, Outline, Target, TokenMasking, Watch};
use serde::{Deserialize, Serialize};

use self::examples::{Example, Examples, order};
use self::learner::Learner;
pub use self::options::{Decline, Distillation, Freeze, Keep, Options};
use self::saved::Course;
use crate::{Error, Schedule};

/// The file of a training that is not over.
pub const STATE: &str = "training.state";
/// The folder of the checkpoints on the way.
pub const CHECKPOINTS: &str = "checkpoints";
/// How much work a kill may cost.
const SAVE_EVERY: Duration = Duration::from_secs(60);

/// One step of the optimiser.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Mean loss of its examples before the step, in nats where they are labels or tokens.
    pub loss: f64,
    /// The learning rate.
    pub rate: f64,
    /// Norm of the gradient before it was clipped.
    pub norm: f64,
}

/// One look at the dev set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluated {
    /// Steps taken by then.
    pub step: u64,
    /// Mean loss.
    pub loss: f64,
    /// All scores.
    pub metrics: Metrics,
    /// The one that decides.
    pub score: f64,
}

/// What came out.
#[derive(Debug)]
pub struct Outcome {
    /// The trained model, with config and tokenizer to be saved with.
    pub model: LoadedModel,
    /// Every step.
    pub steps: Vec<Step>,
    /// Every look at the dev set.
    pub evaluated: Vec<Evaluated>,
    /// Which of them belongs to the weights of the result, if any.
    pub chosen: Option<usize>,
    /// The metric that decides, where there is something to look at.
    pub metric: Option<String>,
    /// Whether it ended before its last step, because nothing got better.
    pub stopped_early: bool,
    /// Examples trained on.
    pub examples: u64,
    /// Units of the file that were not.
    pub left_out: u64,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
    /// Checkpoints on the way, by the steps before them.
    pub checkpoints: Vec<(u64, PathBuf)>,
}

/// What a model is trained with.
#[derive(Debug, Clone, Copy)]
pub struct Data<'a> {
    /// To learn from.
    pub train: &'a Corpus,
    /// To look at on the way.
    pub dev: Option<&'a Corpus>,
    /// A model whose logits are learnt besides the labels, and the same examples as it sees them.
    pub teacher: Option<(&'a LoadedModel, &'a Corpus)>,
}

/// Trains `model` in memory. `place` is a folder for what a killed training goes on from, `key` says whose it is; the
/// result is not written. [`remove`] takes the state away once the result is safe.
///
/// # Errors
/// Examples that the model cannot take, weights that are no numbers any more, a state of another training, an
/// interruption.
///
/// # Cost
/// Beside the examples four numbers for each weight: the weight itself, its gradient and Adam's two means; one more with
/// [`Keep::Best`]; and what [`TrainingWorkspace`](bertology::model::TrainingWorkspace) says of a batch. The model is taken by value
/// because somebody else who held it would hold its first weights.
pub fn run(
    model: LoadedModel,
    data: Data<'_>,
    options: &Options,
    place: &Path,
    key: &str,
    watch: &mut dyn Watch,
) -> Result<Outcome, Error> {
    Training::begin(model, data, options, place, key)?.run(watch)
}

/// Whether a file is what a training of this key and so many weights has saved, for whoever tries readers with bytes that
/// nobody wrote.
///
/// # Errors
/// What is wrong with it.
#[doc(hidden)]
pub fn is_saved(path: &Path, key: &str, size: usize) -> Result<bool, Error> {
    Ok(saved::read(path, key, size)?.is_some())
}

/// Removes what a killed training would go on from.
///
/// # Errors
/// What the system refuses.
pub fn remove(place: &Path) -> Result<(), Error> {
    let path = place.join(STATE);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove", &path)(error))
        }
        _ => Ok(()),
    }
}

struct Training<'a> {
    of: Outline,
    data: Data<'a>,
    options: &'a Options,
    place: &'a Path,
    key: &'a str,
    learner: Learner,
    examples: Examples,
    /// Which epoch's masks the examples have, where they differ.
    masked_for: u64,
    /// An epoch and the order of its examples, shuffled once.
    order: Option<(u64, Vec<usize>)>,
    /// The teacher's logits, one row an example.
    taught: Vec<Vec<f32>>,
    schedule: Schedule,
    total: u64,
    per_epoch: u64,
    course: Course,
    best: Option<Vec<f32>>,
}

impl<'a> Training<'a> {
    fn begin(
        of: LoadedModel,
        data: Data<'a>,
        options: &'a Options,
        place: &'a Path,
        key: &'a str,
    ) -> Result<Self, Error> {
        if let Some(dev) = data.dev {
            // A name that the data do not have is refused before the first step.
            Metric::of(dev, options.metric.as_deref())?;
        }
        let examples = Examples::read(data.train)?;
        let (of, model) = of.into_parts();
        let learner = Learner::new(model, options, options.work.all())?;
        // The learner's weights are its own now, and no longer those of the mapped file.
        of.checkpoint().release();
        let per_step = options.batch_size.max(1) * options.accumulation.max(1);
        let per_epoch = examples.len().div_ceil(per_step) as u64;
        let total = options
            .max_steps
            .unwrap_or(per_epoch * options.epochs)
            .max(1);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of the steps"
        )]
        let warmup = (options.warmup * total as f64).ceil() as u64;
        let schedule = match options.decline {
            Decline::Linear => Schedule::Linear { warmup, total },
            Decline::Cosine => Schedule::Cosine { warmup, total },
            Decline::Constant => Schedule::Linear {
                warmup,
                total: u64::MAX,
            },
        };
        let taught = match data.teacher {
            Some((teacher, corpus)) => {
                let inputs = Examples::read(corpus)?;
                if options.distillation.hidden > 0.0 {
                    teacher::check(teacher, &inputs, learner.model.architecture(), &examples)?;
                }
                teacher::logits(teacher, inputs, &examples, &learner.work)?
            }
            None => Vec::new(),
        };
        let mut training = Self {
            learner,
            of,
            data,
            options,
            place,
            key,
            examples,
            masked_for: 0,
            order: None,
            taught,
            schedule,
            total,
            per_epoch,
            course: Course::default(),
            best: None,
        };
        training.resume()?;
        Ok(training)
    }

    fn resume(&mut self) -> Result<(), Error> {
        let path = self.place.join(STATE);
        let Some(saved) = saved::read(&path, self.key, self.learner.size())? else {
            return Ok(());
        };
        self.learner.set_values(&saved.values);
        for (own, of) in self.learner.moments_mut().into_iter().zip(&saved.moments) {
            own.copy_from_slice(of);
        }
        self.learner.steps = saved.course.steps.len() as u64;
        self.course = saved.course;
        self.best = saved.best;
        Ok(())
    }

    fn save(&self) -> Result<(), Error> {
        saved::write(
            &self.place.join(STATE),
            self.key,
            &self.course,
            &self.learner,
            self.best.as_deref(),
        )
    }

    fn run(mut self, watch: &mut dyn Watch) -> Result<Outcome, Error> {
        watch.begin(Purpose::FineTuning, self.learner.steps, self.total);
        let stop = watch.stop_signal();
        let mut last_saved = Instant::now();
        if self.learner.steps == 0 {
            self.checkpoint()?;
        }
        loop {
            let done = self.learner.steps;
            let due = match self.options.evaluate_every {
                Some(every) => done.is_multiple_of(every.max(1)),
                None => done.is_multiple_of(self.per_epoch),
            };
            let looked = self.course.evaluated.last().map(|look| look.step) == Some(done);
            if done > 0 && (due || done == self.total) && !looked {
                self.look(watch)?;
                self.save()?;
                last_saved = Instant::now();
                watch.begin(Purpose::FineTuning, done, self.total);
            }
            if done >= self.total || self.course.stopped_early {
                break;
            }
            match self.step(stop.as_deref()) {
                Err(Error::Study(bertology::Error::Interrupted { .. })) => {
                    self.save()?;
                    return Err(self.interrupted());
                }
                other => other?,
            }
            if let Some(step) = self.course.steps.last() {
                watch.learnt(step.loss, step.rate);
            }
            let goes_on = watch.advance(self.learner.steps, self.total).is_continue();
            if !goes_on || last_saved.elapsed() >= SAVE_EVERY {
                self.save()?;
                last_saved = Instant::now();
            }
            if !goes_on {
                return Err(self.interrupted());
            }
        }
        self.finish()
    }

    /// The model as it is, with its weights shared: they must be let go before the next step.
    fn now(&self) -> LoadedModel {
        LoadedModel::from_parts(self.of.clone(), self.learner.model.clone())
    }

    fn interrupted(&self) -> Error {
        Error::TrainingInterrupted {
            steps: self.learner.steps,
            total: self.total,
        }
    }

    /// One step of the optimiser.
    fn step(&mut self, stop: Option<&std::sync::atomic::AtomicBool>) -> Result<(), Error> {
        let step = self.learner.steps;
        let epoch = step / self.per_epoch;
        self.mask_for(epoch)?;
        self.order_for(epoch);
        let options = self.options;
        let (batch, batches) = (options.batch_size.max(1), options.accumulation.max(1));
        let order = self.order.as_ref().map_or(&[][..], |(_, order)| order);
        let at = usize::try_from(step % self.per_epoch).unwrap_or(0) * batch * batches;
        let chosen = &order[at..order.len().min(at + batch * batches)];
        let all: usize = chosen
            .iter()
            .map(|at| self.examples.all[*at].predictions)
            .sum();
        let passes = chosen.len().div_ceil(batch);
        let dropout = options.dropout.then_some(options.seed);
        let mut loss = 0.0;
        for (pass, some) in chosen.chunks(batch).enumerate() {
            let (mut sequences, mut targets, mut weights) = (Vec::new(), Vec::new(), Vec::new());
            for at in some {
                let example = &self.examples.all[*at];
                sequences.push(example.sequence.clone());
                targets.push(self.target(*at, example));
                // Every batch counts alike, as in transformers; of tokens every one does.
                weights.push(match example.target {
                    Target::Tokens(_) | Target::TokenLabels(_) | Target::PreTraining { .. } => {
                        example.predictions as f64 / all as f64
                    }
                    _ => 1.0 / (some.len() * passes) as f64,
                });
            }
            // No two passes of a step drop the same values.
            let seed = dropout.map(|seed| seed.wrapping_add((pass as u64) << 32));
            let weight = options.distillation.hidden;
            let states = match self.data.teacher {
                Some((teacher, _)) if weight > 0.0 => {
                    Some(teacher::states(teacher, &sequences, &self.learner.work)?)
                }
                _ => None,
            };
            let states = states.as_ref();
            let options = TrainingOptions {
                targets: &targets,
                weights: &weights,
                dropout: seed.map(|seed| (seed, self.learner.steps)),
                stop,
                states: states.map(|states| TaughtStates { states, weight }),
            };
            let outputs = self.learner.add(&sequences, &options)?;
            for (output, weight) in outputs.iter().zip(&weights) {
                loss += weight * output.loss.unwrap_or(f64::NAN);
            }
        }
        let rate = options.adam.learning_rate * self.schedule.factor(step);
        let norm = self.learner.step(rate)?;
        self.course.steps.push(Step { loss, rate, norm });
        Ok(())
    }

    fn target(&self, at: usize, example: &Example) -> Target {
        match self.taught.get(at) {
            Some(logits) => Target::Taught {
                target: Box::new(example.target.clone()),
                teacher: logits.clone(),
                temperature: self.options.distillation.temperature,
                share: self.options.distillation.share,
            },
            None => example.target.clone(),
        }
    }

    fn order_for(&mut self, epoch: u64) {
        if self.order.as_ref().is_none_or(|(of, _)| *of != epoch) {
            let order = order(self.examples.len(), self.options.seed, epoch);
            self.order = Some((epoch, order));
        }
    }

    /// Masked language models guess other tokens in each epoch.
    fn mask_for(&mut self, epoch: u64) -> Result<(), Error> {
        let masked = matches!(
            self.data.train.objective(),
            Objective::MaskedLm {
                masking: TokenMasking::Random { .. }
            }
        );
        if !masked || self.masked_for == epoch {
            return Ok(());
        }
        let seed = self.options.seed.wrapping_add(epoch);
        self.examples = Examples::read(&self.data.train.masked_anew(seed))?;
        self.masked_for = epoch;
        Ok(())
    }

    /// Scores the dev set and keeps account of what is best.
    fn look(&mut self, watch: &mut dyn Watch) -> Result<(), Error> {
        self.checkpoint()?;
        let Some(dev) = self.data.dev else {
            return Ok(());
        };
        let model = self.now();
        let found = match evaluate(&model, dev, None, &self.options.work, watch) {
            Err(bertology::Error::Interrupted { .. }) => {
                // The look is repeated when the training goes on.
                self.save()?;
                return Err(self.interrupted());
            }
            other => other?,
        };
        let metric = Metric::of(dev, self.options.metric.as_deref())?;
        let score = found.score(dev, &metric.name)?;
        let lower = metric.direction == Direction::Lower;
        let better = match self.course.best {
            None => true,
            Some(at) => {
                let before = self.course.evaluated[at].score;
                if lower {
                    score < before
                } else {
                    score > before
                }
            }
        };
        self.course.evaluated.push(Evaluated {
            step: self.learner.steps,
            loss: found.loss,
            metrics: found.metrics,
            score,
        });
        let last = self.course.evaluated.len() - 1;
        if better {
            self.course.best = Some(last);
            if self.options.keep == Keep::Best {
                self.best = Some(self.learner.values());
            }
        }
        if let (Some(patience), Some(best)) = (self.options.patience, self.course.best) {
            self.course.stopped_early = last - best >= patience as usize;
        }
        Ok(())
    }

    fn checkpoint(&self) -> Result<(), Error> {
        if !self.options.checkpoints {
            return Ok(());
        }
        let folder = checkpoint_path(self.place, self.learner.steps);
        if folder.join("config.json").exists() {
            return Ok(());
        }
        let model = self.now();
        // Within the folder of the run, so that what a kill leaves is found there.
        model.save(&folder, self.place)?;
        Ok(())
    }

    fn finish(mut self) -> Result<Outcome, Error> {
        let chosen = match self.options.keep {
            Keep::Best => self.course.best,
            Keep::Last => {
                let now = |look: &Evaluated| look.step == self.learner.steps;
                self.course.evaluated.iter().position(now)
            }
        };
        if let (Keep::Best, Some(best)) = (self.options.keep, self.best.take()) {
            self.learner.set_values(&best);
        }
        let metric = match self.data.dev {
            Some(dev) => Some(Metric::of(dev, self.options.metric.as_deref())?.name),
            None => None,
        };
        let looks = self.course.evaluated.iter().map(|look| look.step);
        let checkpoints = std::iter::once(0)
            .chain(looks)
            .map(|step| (step, checkpoint_path(self.place, step)))
            .filter(|(_, path)| path.exists())
            .collect();
        Ok(Outcome {
            model: LoadedModel::from_parts(self.of, self.learner.model),
            steps: self.course.steps,
            evaluated: self.course.evaluated,
            chosen,
            metric,
            stopped_early: self.course.stopped_early,
            examples: self.examples.len() as u64,
            left_out: self.examples.left_out,
            steps_per_epoch: self.per_epoch,
            checkpoints,
        })
    }
}

fn checkpoint_path(place: &Path, step: u64) -> PathBuf {
    place.join(CHECKPOINTS).join(format!("step-{step:05}"))
}

#[cfg(test)]
mod tests;
