//! From files of records to what layers know: probes of every layer, controls, and what they come to.

use std::fs;
use std::path::{Path, PathBuf};

use bertology::data::edge::{Records, Vocabulary};
use bertology::data::{EdgeTask, Slice};
use bertology::drive::Work;
use bertology::input::spans::{SpanAligner, SpanOptions};
use bertology::store::space;
use bertology::{LoadedModel, Watch};
use serde::{Deserialize, Serialize};

use super::chance::{Comparison, Estimate};
use super::mdl::CodeLength;
use super::stage::{Judge, Scored, Shop};
use super::strata::Strata;
use super::summary::{expected_layer, mean_curve};
use super::texts::{Place, SpanTexts};
use super::trace::{Traces, precedence};
use super::{
    Data, Design, Gathered, Gathering, LayerStates, Pieces, Profile, Room, Settings, Split,
    StateOptions, StateStore,
};
use crate::Error;
use trained::{one_seed, plan, read_by, standard, trained};

mod trained;

/// A task: files of records, and which labels its score is of.
#[derive(Debug, Clone)]
pub struct Task {
    /// Names it in tables.
    pub name: String,
    /// Which labels its score is of.
    pub judged: EdgeTask,
    /// What is learnt.
    pub train: Records,
    /// What decides about rates, stopping and the best parameters.
    pub dev: Records,
    /// What is scored; the development file where there is none.
    pub test: Option<Records>,
}

/// Which labels a probe can give.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Known {
    /// Those of the training file: others count as missed.
    #[default]
    Train,
    /// Those of all files, as in the papers' code.
    All,
}

/// What is trained beside the probes of the task, to hold them against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controls {
    /// Encoders of the same architecture that have learnt nothing; one probe seed each.
    pub untrained: u32,
    /// Labels shuffled among the training targets; one seed.
    pub shuffled: bool,
    /// Labels drawn once for each text (Hewitt and Liang 2019); one seed.
    pub control: bool,
    /// Words without position, segment or context; all seeds.
    pub words: bool,
    /// Online code of the training labels (Voita and Titov 2020); one seed.
    pub code: bool,
}

/// What is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// What the probes are.
    pub design: Design,
    /// How they are trained.
    pub profile: Profile,
    /// Epochs at most; `None`: those of the profile.
    pub epochs: Option<u32>,
    /// Of first values, dropout and the order of batches: a probe each for every layer.
    pub seeds: Vec<u64>,
    /// Probes of single layers in the place of cumulative ones.
    pub single: bool,
    /// Of two spans look at the later one alone: [`Split::later_spans`].
    pub later: bool,
    /// Which labels a probe can give.
    pub known: Known,
    /// How records become sequences.
    pub spans: SpanOptions,
    /// How states are stored.
    pub states: StateOptions,
    /// Whether probes read layers of one length, [`Standardized`](super::Standardized), instead of the states as they are.
    pub standardize: bool,
    /// What is trained beside.
    pub controls: Controls,
    /// Keep the probability of every label for every scored target.
    pub probabilities: bool,
    /// Score on the development file even where there is a test file, as the papers do.
    pub score_dev: bool,
    /// Score although more than [`MOST_DROPPED`](super::MOST_DROPPED) of a file's targets are dropped.
    pub allow_dropped: bool,
    /// How the work is spread.
    pub work: Work,
}

/// One file of a task.
#[derive(Debug)]
pub struct Read {
    /// What it is for: `train`, `dev` or `test`.
    pub role: &'static str,
    /// What was read.
    pub gathered: Gathered,
}

/// Probes of labels that were drawn once for each text (Hewitt and Liang 2019).
#[derive(Debug)]
pub struct Drawn {
    /// Learnt and scored on the drawn labels, by layer. Each has strata: targets whose texts the training data lack, and
    /// those whose texts they have.
    pub probes: Vec<Scored>,
    /// Which part of the scored targets has texts that the training data have.
    pub seen: f64,
}

/// The online code of each layer.
pub type Codes = Vec<CodeLength>;

/// What came out of a task.
#[derive(Debug)]
pub struct TaskOutcome {
    /// Its name.
    pub name: String,
    /// The labels that its score is of.
    pub slice: Slice,
    /// Groups of labels that are told besides.
    pub others: &'static [Slice],
    /// All labels, in the order of the probes' logits.
    pub vocabulary: Vocabulary,
    /// Its files.
    pub files: Vec<Read>,
    /// Which file is scored.
    pub scored_on: &'static str,
    /// How the probes were trained.
    pub settings: Settings,
    /// F1 of the most frequent labels.
    pub majority: f64,
    /// F1 of the most frequent labels of the words.
    pub type_majority: f64,
    /// `[seed][layer]`
    pub given: Vec<Vec<Scored>>,
    /// Of single words, with spans as the design has them: layer 0 without positions. `[seed]`
    pub words: Vec<Scored>,
    /// Of single words, a span being their mean: a bag of words. `[seed]`
    pub bag: Vec<Scored>,
    /// Of untrained encoders, `[encoder][layer]`.
    pub untrained: Vec<Vec<Scored>>,
    /// Learnt on shuffled labels, by layer.
    pub shuffled: Vec<Scored>,
    /// Of labels drawn for the texts of all spans.
    pub control: Option<Drawn>,
    /// Of labels drawn for the text of the first span alone, where there are two: most texts of two spans are new, those of one
    /// are not.
    pub control_first: Option<Drawn>,
    /// By layer.
    pub codes: Option<Codes>,
    /// Mean length of each layer's states, as the probes read them.
    pub norms: Vec<f64>,
    /// What the layers say of every scored target.
    pub traces: Traces,
    /// Where every label's probability for every scored target is, if that was wanted: `[target, layer, label]` in half precision,
    /// little-endian, means over seeds.
    pub probabilities: Option<PathBuf>,
    /// Those of the scored targets; each probe of `given` has counts of them.
    pub strata: Strata,
    splits: Splits,
    /// Of the scored targets.
    texts: SpanTexts,
}

impl TaskOutcome {
    /// SHA-256 of the scored targets: the texts, and where their spans are. Labels and what a model makes of a text are no part of it.
    #[must_use]
    pub fn targets_sha256(&self) -> String {
        super::pieces::hex(&self.texts.targets)
    }

    /// The scored targets.
    #[must_use]
    pub fn split(&self) -> &Split {
        self.splits.scored(self.scored_on)
    }

    /// Labels of the scored targets that the probes cannot give.
    #[must_use]
    pub fn unseen(&self) -> u64 {
        let split = self.split();
        (0..split.targets())
            .map(|target| u64::from(split.get(target).unknown))
            .sum()
    }

    /// Where a scored target stands.
    ///
    /// # Panics
    /// Past the last target.
    #[must_use]
    pub fn place(&self, target: usize) -> Place {
        self.texts.place(target)
    }

    /// The words of a scored target's spans.
    ///
    /// # Panics
    /// Past the last target.
    #[must_use]
    pub fn words_of(&self, target: usize) -> Vec<String> {
        self.texts.of(target)
    }

    /// Whether all probes of the given labels are trained to their end.
    #[must_use]
    pub fn converged(&self) -> bool {
        self.given.iter().flatten().all(|probe| probe.converged)
    }
}

/// What came out.
#[derive(Debug)]
pub struct Outcome {
    /// In the order given.
    pub tasks: Vec<TaskOutcome>,
    /// Bytes of the stored states of the trained encoder.
    pub state_bytes: u64,
    /// Stored positions.
    pub pieces: usize,
    /// Distinct sequences.
    pub sequences: usize,
}

impl Outcome {
    /// Which of two tasks lies lower, by the gains of their layers; nothing where a seed has no gain.
    #[must_use]
    pub fn compare(&self, first: usize, second: usize, resamples: usize) -> Option<Comparison> {
        let tasks = [first, second].map(|task| &self.tasks[task]);
        let layers = tasks.map(|task| -> Option<Vec<f64>> {
            let curves = curves(&task.given);
            curves.iter().map(|curve| expected_layer(curve)).collect()
        });
        let [Some(a), Some(b)] = layers else {
            return None;
        };
        let decisions = tasks.map(TaskOutcome::decisions);
        let paired = tasks[0].texts.sentences == tasks[1].texts.sentences;
        Comparison::new(
            [&a, &b],
            [&decisions[0], &decisions[1]],
            paired,
            resamples,
            mean_expected_layer,
        )
    }
}

impl Outcome {
    /// Pairs of targets of two tasks that stand in one sentence: how many are decided at a lower layer in the first task, in the
    /// second, at the same layer. Nothing where the tasks are not of the same sentences.
    #[must_use]
    pub fn precedence(&self, first: usize, second: usize) -> Option<[u64; 3]> {
        let tasks = [first, second].map(|task| &self.tasks[task]);
        let [one, other] = tasks;
        let sentences = one.split().sentences();
        if one.texts.sentences != other.texts.sentences || sentences != other.split().sentences() {
            return None;
        }
        let [first, second] = [one.stable_layers(), other.stable_layers()];
        let both = first.iter().zip(&second);
        Some(precedence(both.map(|(a, b)| [&a[..], &b[..]])))
    }
}

impl TaskOutcome {
    /// The layers from which on the targets of each sentence are right.
    fn stable_layers(&self) -> Vec<Vec<Option<usize>>> {
        let split = self.split();
        let of = |target| self.traces.trace(target).and_then(|trace| trace.stable);
        let sentences = 0..split.sentences();
        sentences
            .map(|sentence| split.targets_of(sentence).map(of).collect())
            .collect()
    }

    fn decisions(&self) -> Vec<super::chance::Decisions<'_>> {
        let given = self.given.iter();
        given
            .map(|probes| probes.iter().map(|probe| &probe.sentences[..]).collect())
            .collect()
    }

    /// A statistic of the score curves `[seed][layer]` under resampling of sentences.
    #[must_use]
    pub fn over_sentences(
        &self,
        resamples: usize,
        statistic: impl Fn(&[Vec<f64>]) -> Option<f64>,
    ) -> Option<Estimate> {
        super::chance::over_sentences(&self.decisions(), resamples, 0, statistic)
    }
}

/// The score curves of probes, `[seed][layer]`.
#[must_use]
pub fn curves(probes: &[Vec<Scored>]) -> Vec<Vec<f64>> {
    let curve = |probes: &Vec<Scored>| probes.iter().map(Scored::f1).collect();
    probes.iter().map(curve).collect()
}

/// E_Δ of the mean curve of all seeds.
#[must_use]
pub fn mean_expected_layer(curves: &[Vec<f64>]) -> Option<f64> {
    expected_layer(&mean_curve(curves))
}

/// A task whose files were read.
struct Prepared<'t> {
    task: &'t Task,
    files: Vec<Read>,
    vocabulary: Vocabulary,
}

/// Reads all files, stores the states that their targets need in folders of `folder`, and trains and scores everything. What is in
/// the folder from an earlier run of the same options is gone on with, to the same bytes. [`remove`] empties it. `tell`
/// hears how large the states will be, before any is written.
///
/// # Errors
/// Files that cannot be read or aligned, splits without a target, tasks of other spans in their files, states that cannot
/// be stored, losses that are not finite; an interruption.
pub fn run(
    model: &LoadedModel,
    tasks: &[Task],
    options: &Options,
    folder: &Path,
    tell: &mut dyn FnMut(&Room),
    watch: &mut dyn Watch,
) -> Result<Outcome, Error> {
    let mut gathering = Gathering::new(SpanAligner::new(model, &options.spans)?);
    let mut prepared = Vec::new();
    for task in tasks {
        prepared.push(read(&mut gathering, task, options, watch)?);
    }
    let pieces = gathering.finish()?;
    let places = (0..=options.controls.untrained).map(|encoder| states_in(folder, encoder));
    let places = places.collect::<Result<Vec<_>, _>>()?;
    let room = Room::new(model, &pieces, &options.states, &places, space::available)?;
    tell(&room);
    room.check()?;
    let own = states_in(folder, 0)?;
    let work = &options.work;
    let store = StateStore::extract(&own, model, &pieces, &options.states, work, watch)?;
    let mut shop = Shop {
        folder: own,
        threads: work.all(),
        stop: watch.stop_signal(),
        watch,
    };
    let mut found = Vec::new();
    for (at, task) in prepared.into_iter().enumerate() {
        let of = (&pieces, model);
        found.push(trained(&mut shop, at, task, &store, of, options)?);
    }
    for encoder in 1..=options.controls.untrained {
        let untrained = model.untrained(u64::from(encoder));
        let states = StateOptions {
            variant: Some(format!("untrained {encoder}")),
            ..options.states.clone()
        };
        let own = states_in(folder, encoder)?;
        let work = &options.work;
        let store = StateStore::extract(&own, &untrained, &pieces, &states, work, shop.watch)?;
        for (at, outcome) in found.iter_mut().enumerate() {
            let standard = standard(options, &store, &outcome.splits.train)?;
            let states = read_by(&standard, &store);
            let plan = plan(outcome.settings, options, states, one_seed(options));
            let name = format!("{at}-untrained-{encoder}");
            let suite = shop.train(&name, outcome.splits.data(states), plan)?;
            let (split, slice) = (outcome.split(), outcome.slice.clone());
            let judge = Judge::new(split, &outcome.vocabulary, slice, None);
            outcome.untrained.push(shop.score(&suite, &judge)?);
        }
    }
    Ok(Outcome {
        tasks: found,
        state_bytes: store.bytes(),
        pieces: pieces.pieces(),
        sequences: pieces.sequences(),
    })
}

/// Start of the names of the folders that [`run`] keeps things in.
pub const STATES: &str = "states";

/// The folder of the trained encoder's states (0), or of those of one that has learnt nothing.
fn states_in(folder: &Path, encoder: u32) -> Result<PathBuf, Error> {
    let path = match encoder {
        0 => folder.join(STATES),
        encoder => folder.join(format!("{STATES}-{encoder}")),
    };
    fs::create_dir_all(&path).map_err(Error::io("create the folder", &path))?;
    Ok(path)
}

/// Removes what [`run`] keeps in its folder.
///
/// # Errors
/// A file that cannot be removed.
pub fn remove(folder: &Path, untrained: u32) -> Result<(), Error> {
    for encoder in 0..=untrained {
        let path = states_in(folder, encoder)?;
        fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
    }
    Ok(())
}

fn read<'t>(
    gathering: &mut Gathering,
    task: &'t Task,
    options: &Options,
    watch: &mut dyn Watch,
) -> Result<Prepared<'t>, Error> {
    let files = [
        Some(("train", &task.train)),
        Some(("dev", &task.dev)),
        task.test.as_ref().map(|test| ("test", test)),
    ];
    let mut found = Vec::new();
    for (role, records) in files.into_iter().flatten() {
        let gathered = gathering.read(records, &options.work, watch)?;
        if role != "train" && !options.allow_dropped {
            gathered.check_dropped()?;
        }
        found.push(Read { role, gathered });
    }
    let known = match options.known {
        Known::Train => &found[..1],
        Known::All => &found[..],
    };
    let labels = known.iter().flat_map(|file| file.gathered.labels.labels());
    Ok(Prepared {
        task,
        vocabulary: Vocabulary::new(labels),
        files: found,
    })
}

/// The splits of a task.
#[derive(Debug)]
struct Splits {
    train: Split,
    dev: Split,
    test: Option<Split>,
}

impl Splits {
    fn new(
        files: &[Read],
        vocabulary: &Vocabulary,
        pieces: &Pieces,
        later: bool,
    ) -> Result<Self, Error> {
        let split = |role: &str| {
            let file = files.iter().find(|file| file.role == role);
            let split = file.map(|file| pieces.split(&file.gathered, vocabulary));
            let split = split.transpose()?;
            Ok::<_, Error>(split.map(|split| if later { split.later_spans() } else { split }))
        };
        let (train, dev) = (split("train")?, split("dev")?);
        Ok(Self {
            // Every task has both.
            train: train.ok_or(super::Fault::NoTargets)?,
            dev: dev.ok_or(super::Fault::NoTargets)?,
            test: split("test")?,
        })
    }

    fn scored(&self, on: &str) -> &Split {
        match &self.test {
            Some(test) if on == "test" => test,
            _ => &self.dev,
        }
    }

    fn data<'a>(&'a self, states: &'a dyn LayerStates) -> Data<'a> {
        Data {
            states,
            train: &self.train,
            dev: &self.dev,
        }
    }
}
