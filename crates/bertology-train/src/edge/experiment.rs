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
use super::control::{Control, by_type, majority, shuffled};
use super::mdl::CodeLength;
use super::stage::{Judge, Scored, Shop};
use super::strata::Strata;
use super::summary::{expected_layer, layer_norms, mean_curve};
use super::texts::{Place, SpanTexts, WordStates};
use super::trace::{Traces, precedence};
use super::{
    Data, Design, Gathered, Gathering, LayerStates, Output, Pieces, Plan, Profile, Reading, Room,
    Settings, Split, Standardized, StateOptions, StateStore,
};
use crate::Error;

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
    /// Which labels a probe can give.
    pub known: Known,
    /// How records become sequences.
    pub spans: SpanOptions,
    /// How states are stored.
    pub states: StateOptions,
    /// Whether probes read layers of one length, [`Standardized`], instead of the states as they are.
    pub standardize: bool,
    /// What is trained beside.
    pub controls: Controls,
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

/// The online code of each layer.
pub type Codes = Vec<CodeLength>;

/// What came out of a task.
#[derive(Debug)]
pub struct TaskOutcome {
    /// Its name.
    pub name: String,
    /// The labels that its score is of.
    pub slice: Slice,
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
    /// Of single words, `[seed]`.
    pub words: Vec<Scored>,
    /// Of untrained encoders, `[encoder][layer]`.
    pub untrained: Vec<Vec<Scored>>,
    /// Learnt on shuffled labels, by layer.
    pub shuffled: Vec<Scored>,
    /// Learnt and scored on drawn labels, by layer.
    pub control: Vec<Scored>,
    /// Which part of the scored targets has texts that the training data have. Each probe of `control` has strata: of the
    /// others and of these.
    pub control_seen: Option<f64>,
    /// By layer.
    pub codes: Option<Codes>,
    /// Mean length of each layer's states, as the probes read them.
    pub norms: Vec<f64>,
    /// Every scored target's probabilities over the layers; `None` where they would take too much memory.
    pub traces: Option<Traces>,
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
    pub fn place(&self, target: usize) -> &Place {
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
    /// second, at the same layer. Nothing where the tasks are not of the same sentences, or where targets are not told one by
    /// one.
    #[must_use]
    pub fn precedence(&self, first: usize, second: usize) -> Option<[u64; 3]> {
        let tasks = [first, second].map(|task| &self.tasks[task]);
        let [one, other] = tasks;
        let sentences = one.split().sentences();
        if one.texts.sentences != other.texts.sentences || sentences != other.split().sentences() {
            return None;
        }
        let [first, second] = [one.stable_layers()?, other.stable_layers()?];
        let both = first.iter().zip(&second);
        Some(precedence(both.map(|(a, b)| [&a[..], &b[..]])))
    }
}

impl TaskOutcome {
    /// The layers from which on the targets of each sentence are right.
    fn stable_layers(&self) -> Option<Vec<Vec<Option<usize>>>> {
        let (split, traces) = (self.split(), self.traces.as_ref()?);
        let of = |target| traces.trace(split, target).and_then(|trace| trace.stable);
        let sentences = 0..split.sentences();
        Some(
            sentences
                .map(|sentence| split.targets_of(sentence).map(of).collect())
                .collect(),
        )
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
            let judge = Judge {
                split: outcome.split(),
                vocabulary: &outcome.vocabulary,
                slice: outcome.slice.clone(),
                strata: None,
            };
            let (scored, _) = shop.score(&suite, &judge, false)?;
            outcome.untrained.push(scored);
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
    fn new(files: &[Read], vocabulary: &Vocabulary, pieces: &Pieces) -> Result<Self, Error> {
        let split = |role: &str| {
            let file = files.iter().find(|file| file.role == role);
            file.map(|file| pieces.split(&file.gathered, vocabulary))
                .transpose()
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

/// The states with layers of one length, if they are wanted so.
fn standard<'s>(
    options: &Options,
    states: &'s dyn LayerStates,
    train: &Split,
) -> Result<Option<Standardized<'s>>, Error> {
    let wanted = options.standardize;
    wanted.then(|| Standardized::new(states, train)).transpose()
}

/// What probes read.
fn read_by<'s>(
    standard: &'s Option<Standardized<'s>>,
    states: &'s dyn LayerStates,
) -> &'s dyn LayerStates {
    match standard {
        Some(standard) => standard,
        None => states,
    }
}

fn one_seed(options: &Options) -> &[u64] {
    &options.seeds[..options.seeds.len().min(1)]
}

fn plan(settings: Settings, options: &Options, states: &dyn LayerStates, seeds: &[u64]) -> Plan {
    let mut plan = Plan::cumulative(options.design, states.layers(), seeds, settings);
    if options.single {
        // Layers are far fewer than 2¹⁶.
        plan.readings = (0..states.layers())
            .map(|layer| Reading::Single(layer as u16))
            .collect();
    }
    plan
}

/// All that is learnt of the trained encoder.
fn trained(
    shop: &mut Shop<'_>,
    at: usize,
    prepared: Prepared<'_>,
    store: &StateStore,
    (pieces, model): (&Pieces, &LoadedModel),
    options: &Options,
) -> Result<TaskOutcome, Error> {
    let Prepared {
        task,
        files,
        vocabulary,
    } = prepared;
    let splits = Splits::new(&files, &vocabulary, pieces)?;
    let scored_on = match &splits.test {
        Some(_) if !options.score_dev => "test",
        _ => "dev",
    };
    let texts = |role: &str| {
        let records = match (role, &task.test) {
            ("train", _) => &task.train,
            ("test", Some(test)) => test,
            _ => &task.dev,
        };
        let file = files.iter().find(|file| file.role == role);
        file.map_or_else(
            || Ok(SpanTexts::default()),
            |file| SpanTexts::read(records, &file.gathered),
        )
    };
    let (of_train, of_scored) = (texts("train")?, texts(scored_on)?);
    let scored_split = splits.scored(scored_on);
    let strata = of_scored.strata();
    let judge = Judge {
        split: scored_split,
        vocabulary: &vocabulary,
        slice: task.judged.reported(),
        strata: Some(&strata),
    };
    let standardized = standard(options, store, &splits.train)?;
    let store = read_by(&standardized, store);
    let mut settings = options.profile.settings(&splits.train);
    if let Some(epochs) = options.epochs {
        settings = settings.with_epochs(epochs, &splits.train);
    }
    let layers = store.layers();
    let whole = plan(settings, options, store, &options.seeds);
    let suite = shop.train(&format!("{at}-given"), splits.data(store), whole)?;
    let (given, traces) = shop.score(&suite, &judge, true)?;
    drop(suite);
    let given: Vec<Vec<Scored>> = given.chunks(layers).map(<[Scored]>::to_vec).collect();

    let mut words = Vec::new();
    if options.controls.words {
        let states = WordStates::new(model, pieces);
        let standardized = standard(options, &states, &splits.train)?;
        let states = read_by(&standardized, &states);
        let plan = Plan {
            readings: vec![Reading::Single(0)],
            ..plan(settings, options, states, &options.seeds)
        };
        let suite = shop.train(&format!("{at}-words"), splits.data(states), plan)?;
        words = shop.score(&suite, &judge, false)?.0;
    }
    let one = || plan(settings, options, store, one_seed(options));
    let seed = options.seeds.first().copied().unwrap_or_default();
    let mut without_meaning = Vec::new();
    if options.controls.shuffled {
        let train = shuffled(&splits.train, seed)?;
        let data = Data {
            train: &train,
            ..splits.data(store)
        };
        let suite = shop.train(&format!("{at}-shuffled"), data, one())?;
        without_meaning = shop.score(&suite, &judge, false)?.0;
    }
    let (mut drawn, mut control_seen) = (Vec::new(), None);
    if options.controls.control {
        let control = Control::new(&task.name, seed, &splits.train, false)?;
        let redrawn =
            |split: &Split, texts: &SpanTexts| control.relabel(split, &|target| texts.of(target));
        let train = redrawn(&splits.train, &of_train)?;
        let scored = redrawn(scored_split, &of_scored)?;
        // Where the development split is the scored one, it is read and drawn already.
        let dev = match scored_on {
            "dev" => None,
            _ => Some(redrawn(&splits.dev, &texts("dev")?)?),
        };
        let seen = control.seen(
            (&splits.train, &|target| of_train.of(target)),
            (scored_split, &|target| of_scored.of(target)),
        );
        let known = seen.iter().filter(|seen| **seen).count();
        control_seen = Some(known as f64 / seen.len().max(1) as f64);
        let seen = Strata::of_seen(&seen);
        let data = Data {
            states: store,
            train: &train,
            dev: dev.as_ref().unwrap_or(&scored),
        };
        let suite = shop.train(&format!("{at}-control"), data, one())?;
        let judge = Judge {
            split: &scored,
            vocabulary: &vocabulary,
            slice: Slice::All,
            strata: Some(&seen),
        };
        drawn = shop.score(&suite, &judge, false)?.0;
    }
    let mut codes = None;
    if options.controls.code {
        let mut plan = one();
        if splits.train.is_single_label() {
            plan.design.output = Output::Softmax;
        }
        codes = Some(shop.code(&format!("{at}"), splits.data(store), &plan, seed)?);
    }
    let most = majority(&splits.train);
    let guesses = by_type(
        (&splits.train, &|target| of_train.of(target)),
        (scored_split, &|target| of_scored.of(target)),
    );
    let by_majority = judge.guesses(&vec![most; scored_split.targets()])?.f1();
    let by_type = judge.guesses(&guesses)?.f1();
    let norms = layer_norms(store, scored_split)?;
    Ok(TaskOutcome {
        name: task.name.clone(),
        slice: task.judged.reported(),
        scored_on,
        settings,
        majority: by_majority,
        type_majority: by_type,
        given,
        words,
        untrained: Vec::new(),
        shuffled: without_meaning,
        control: drawn,
        control_seen,
        codes,
        norms,
        traces,
        strata,
        splits,
        texts: of_scored,
        files,
        vocabulary,
    })
}
