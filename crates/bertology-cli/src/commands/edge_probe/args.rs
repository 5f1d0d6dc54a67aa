//! The options of `bertology edge-probe`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use bertology::data::EdgeTask;
use bertology_train::edge::experiment::Known;
use bertology_train::edge::{Classifier, LastLayer, LayerZero, Output, Pooling, Profile};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::args::{
    CacheDtypeArg, ComputingArgs, EdgeReadingArgs, ModelArgs, NoParts, OutputArgs, ResumeArgs,
    WorkArgs,
};

pub(crate) const ABOUT: &str = "\
What every layer knows of the structure of sentences: probes of spans, layer by layer.

A probe reads the hidden states of the layers from 0 up to one layer, mixed, at the tokens of one or two spans, and names \
their relation (Tenney et al. 2019, both papers). The score that each layer adds says where a task is solved. What is \
needed to judge it is computed besides: guesses, words without context, encoders that have learnt nothing, labels that mean \
nothing, code lengths, intervals over seeds and sentences.

Records are made by `bertology edge-data`.";

/// `bertology edge-probe`
#[derive(Debug, Args, Serialize)]
pub(crate) struct EdgeProbeArgs {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) computing: ComputingArgs,
    /// Records to train on, one JSON object a line.
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Data",
        required_unless_present = "suite"
    )]
    pub(crate) train: Option<PathBuf>,
    /// Records that decide when training ends.
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Data",
        required_unless_present = "suite"
    )]
    pub(crate) dev: Option<PathBuf>,
    /// Records to score [default: those of --dev].
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub(crate) test: Option<PathBuf>,
    /// Name of the task in tables [default: the name of the training file].
    #[arg(long, value_name = "NAME", help_heading = "Data")]
    pub(crate) task: Option<String>,
    /// Labels that the score is of.
    #[arg(
        long,
        value_name = "LABELS",
        default_value = "all",
        help_heading = "Data"
    )]
    pub(crate) score: ScoreArg,
    /// Many tasks over one store of states: a TOML file with a table `[[task]]` of `name`, `train`, `dev`, `test` and
    /// `score` each.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["train", "dev", "test", "task", "score"],
        help_heading = "Data"
    )]
    pub(crate) suite: Option<PathBuf>,
    /// Labels that a probe can give.
    #[arg(
        long,
        value_name = "FILES",
        default_value = "train",
        help_heading = "Data"
    )]
    pub(crate) labels: LabelsArg,
    /// Score on --dev although there is a --test, as the papers do.
    #[arg(long, help_heading = "Data")]
    pub(crate) paper_dev: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) reading: EdgeReadingArgs,
    /// Score although more than 0.5 % of a file's targets are dropped.
    #[arg(long, help_heading = "Sequences")]
    pub(crate) allow_dropped: bool,
    /// How probes are trained.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "fast",
        help_heading = "Probes"
    )]
    pub(crate) profile: ProfileArg,
    /// Epochs at most [default: 100; of `paper` as its steps have].
    #[arg(long, value_name = "N", help_heading = "Probes")]
    pub(crate) epochs: Option<std::num::NonZeroU32>,
    /// Probes of each layer.
    #[arg(long, value_name = "N", default_value = "5", help_heading = "Probes")]
    pub(crate) seeds: std::num::NonZeroU16,
    /// The first seed; the others follow it.
    #[arg(
        long,
        value_name = "SEED",
        default_value_t = 1,
        help_heading = "Probes"
    )]
    pub(crate) seed: u64,
    /// Probes that read one layer each, instead of all layers up to one.
    #[arg(long, help_heading = "Probes")]
    pub(crate) single_layers: bool,
    /// From the span to logits.
    #[arg(
        long,
        value_name = "KIND",
        default_value = "mlp",
        help_heading = "Probes"
    )]
    pub(crate) probe: ClassifierArg,
    /// Width of the projection and of the classifier's hidden layer.
    #[arg(long, value_name = "N", default_value = "256", help_heading = "Probes")]
    pub(crate) hidden: NonZeroUsize,
    /// From the tokens of a span to a vector.
    #[arg(
        long,
        value_name = "HOW",
        default_value = "attention",
        help_heading = "Probes"
    )]
    pub(crate) pooling: PoolingArg,
    /// From logits to labels.
    #[arg(
        long,
        value_name = "HOW",
        default_value = "sigmoid",
        help_heading = "Probes"
    )]
    pub(crate) decide: DecideArg,
    /// What is trained to hold the probes against; may be given several times.
    #[arg(
        long,
        value_name = "WHAT",
        value_delimiter = ',',
        default_value = "all",
        help_heading = "Controls"
    )]
    pub(crate) controls: Vec<ControlArg>,
    /// Encoders that have learnt nothing.
    #[arg(long, value_name = "N", default_value_t = 3, help_heading = "Controls")]
    pub(crate) random_encoder: u32,
    /// Times that sentences are drawn again for intervals.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1000,
        help_heading = "Controls"
    )]
    pub(crate) resamples: usize,
    /// What layer 0 is.
    #[arg(
        long,
        value_name = "WHAT",
        default_value = "full",
        help_heading = "States"
    )]
    pub(crate) layer0: LayerZeroArg,
    /// What the last layer of models is that have a norm behind it (GPT-2).
    #[arg(
        long,
        value_name = "WHERE",
        default_value = "before-norm",
        help_heading = "States"
    )]
    pub(crate) last_layer: LastLayerArg,
    /// Probes read layers of one length: each less its mean over the training data, by the root of the mean square that is left.
    #[arg(long, help_heading = "States")]
    pub(crate) standardize: bool,
    /// How exactly states are kept.
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "f16",
        help_heading = "States"
    )]
    pub(crate) cache_dtype: CacheDtypeArg,
    /// Leave the states in OUTPUT/states when the run is complete.
    #[arg(long, requires = "output", help_heading = "States")]
    pub(crate) keep_cache: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) work: WorkArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) output: OutputArgs,
    /// Write the probability of every label for every scored target.
    #[arg(long, requires = "output", help_heading = "Output")]
    pub(crate) label_probabilities: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) resume: ResumeArgs,
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) parts: NoParts,
}

macro_rules! choices {
    ($(
        $(#[$about:meta])*
        $name:ident -> $of:ty { $($(#[$means:meta])* $variant:ident => $value:expr,)+ }
    )+) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub(crate) enum $name {
            $($(#[$means])* $variant,)+
        }

        impl $name {
            pub(crate) fn value(self) -> $of {
                match self {
                    $(Self::$variant => $value,)+
                }
            }
        }
    )+};
}

choices! {
    /// Labels that a score is of.
    ScoreArg -> EdgeTask {
        /// All labels.
        #[default]
        All => EdgeTask::Plain,
        /// `1`: both spans speak of the same thing.
        Coref => EdgeTask::Coref,
        /// Core and modifier roles, without C-* and R-*.
        Srl => EdgeTask::Srl,
        /// All but `Other` (SemEval-2010 task 8).
        Relations => EdgeTask::SemEval,
    }
    /// Which labels a probe can give.
    LabelsArg -> Known {
        /// Those of the training file.
        #[default]
        Train => Known::Train,
        /// Those of all files, as in the papers' code.
        All => Known::All,
    }
    /// How probes are trained.
    ProfileArg -> Profile {
        /// Ends when nothing gets better.
        #[default]
        Fast => Profile::Fast,
        /// The settings of the papers' code.
        Paper => Profile::Paper,
    }
    /// From the tokens of a span to a vector, and whether the later span is looked at alone.
    PoolingArg -> (Pooling, bool) {
        /// A mean with learnt weights, as in the papers.
        #[default]
        Attention => (Pooling::Attention, false),
        /// Their mean.
        Mean => (Pooling::Mean, false),
        /// The last one.
        Last => (Pooling::Last, false),
        /// The last one of the span that ends later; of the other nothing.
        LastOfLater => (Pooling::Last, true),
        /// The first and the last one.
        Endpoints => (Pooling::Endpoints, false),
    }
    /// From logits to labels.
    DecideArg -> Output {
        /// Yes or no for each label, as in the papers.
        #[default]
        Sigmoid => Output::Sigmoid,
        /// One of all labels.
        Softmax => Output::Softmax,
    }
    /// What layer 0 is.
    LayerZeroArg -> LayerZero {
        /// What the first block reads: words, positions, segments.
        #[default]
        Full => LayerZero::Full,
        /// Words alone.
        WordOnly => LayerZero::WordOnly,
    }
    /// What the last layer is.
    LastLayerArg -> LastLayer {
        /// The residual stream, as of the layers before.
        #[default]
        BeforeNorm => LastLayer::BeforeNorm,
        /// What the norm makes of it, as in transformers' hidden_states.
        AfterNorm => LastLayer::AfterNorm,
    }
}

/// From the span to logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClassifierArg {
    /// One hidden layer, as in the papers.
    Mlp,
    /// None.
    Linear,
}

impl ClassifierArg {
    pub(crate) fn value(self, hidden: usize) -> Classifier {
        match self {
            Self::Mlp => Classifier::Mlp(hidden),
            Self::Linear => Classifier::Linear,
        }
    }
}

/// What is trained beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ControlArg {
    /// Everything.
    All,
    /// Nothing.
    None,
    /// Words without position, segment and context.
    Words,
    /// Encoders that have learnt nothing (--random-encoder says how many).
    RandomEncoder,
    /// Labels shuffled among the targets.
    Shuffled,
    /// Labels drawn once for each text.
    ControlTask,
    /// Code length of the labels.
    CodeLength,
}
