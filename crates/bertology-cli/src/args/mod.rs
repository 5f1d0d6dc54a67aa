//! The command line: one struct per command, and the spellings of `run_bertology.py`.

mod ablate;
mod attention_probe;
#[cfg(feature = "code")]
pub(crate) mod cat;
mod cluster;
#[cfg(feature = "code")]
pub(crate) mod code;
mod data;
mod edge_data;
mod extract;
mod legacy;
pub(crate) mod masking;
mod model;
mod pages;
mod parts;
mod passages;
mod patterns;
pub(crate) mod relations;
mod schedule;
mod sequence;
mod survey;
mod treebank;
mod verify;
mod view;

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use bertology::drive::Part;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::failure::Failure;

pub(crate) use ablate::AblateArgs;
pub(crate) use attention_probe::{AttentionProbeArgs, CacheDtypeArg, ProbeArg};
pub(crate) use cluster::{ClusterArgs, ClustersArg, DistanceArg, SmoothingArg};
pub(crate) use data::{DataArgs, DocumentsArg, HeaderArg, ObjectiveArg, SourceArgs};
pub(crate) use edge_data::{
    ConvertArgs, EdgeCheckArgs, EdgeData, EdgeDataArgs, EdgeReadingArgs, KeepArg, PartArg, RootArg,
    SubtypesArg, UdDepsArgs,
};
pub(crate) use extract::{DtypeArg, ExtractArgs, FormatArg, PoolArg, TextArgs, ValueArgs};
pub(crate) use legacy::{Legacy, LegacyMasking, LegacySteps, Masks, normalise};
pub(crate) use masking::{DropArg, MaskingArgs, RecomputeArg, ThresholdModeArg};
pub(crate) use model::{ComputingArgs, DeviceArgs, ModelArgs};
pub(crate) use pages::{CompareArgs, HeadsArgs, ReportArgs};
pub(crate) use parts::{MergeArgs, StatusArgs};
pub(crate) use passages::{PackingArg, PassageArgs};
pub(crate) use patterns::{DenominatorsArg, GradientArgs, PatternsArgs};
pub(crate) use schedule::{OrderArg, ScheduleArgs, share_of_heads};
pub(crate) use sequence::{SequenceArgs, TooLongArg};
pub(crate) use survey::{StudyArg, SurveyArgs};
pub(crate) use treebank::{CorefArgs, InputArg, RowModeArg, SyntaxArgs, TreebankArgs};
pub(crate) use verify::VerifyArgs;
pub(crate) use view::ViewArgs;

const AFTER_HELP: &str = "\
Exit codes: 0 done; 1 the work failed (files, network, a model folder that cannot be used); \
2 the command line or the input is wrong; 3 `status`: parts are missing; 130 interrupted.

Layers and heads are counted from 0. The options of run_bertology.py are accepted, with _ or -.

Start with: bertology demo";

/// Head importance, masking and pruning of BERT, RoBERTa, GPT and GPT-2 checkpoints.
#[derive(Debug, Parser)]
#[command(name = "bertology", version, propagate_version = true, after_help = AFTER_HELP, max_term_width = 100)]
#[command(arg_required_else_help = true, infer_long_args = false)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) display: Display,
}

/// What is shown, and how.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Display {
    /// Print one JSON document on stdout instead of text.
    #[arg(long, global = true, help_heading = "Display")]
    pub(crate) json: bool,
    /// Print nothing but errors (and the document of --json).
    #[arg(long, short, global = true, help_heading = "Display")]
    pub(crate) quiet: bool,
    /// When to use colours; NO_COLOR switches them off in `auto`.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    #[arg(help_heading = "Display")]
    pub(crate) color: When,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Entropy and importance of every head.
    Importance(Box<ImportanceArgs>),
    /// What the score loses without each head, one head at a time.
    Ablate(Box<AblateArgs>),
    /// Mask heads, least important first, until the score falls below a threshold.
    Mask(Box<MaskArgs>),
    /// Remove heads for good: compare score, size and speed, write the smaller checkpoint.
    #[command(long_about = PRUNE_ABOUT)]
    Prune(Box<PruneArgs>),
    /// Smaller and faster without training: heads and neurons go under a cost, what stays is weighed anew.
    #[command(long_about = crate::commands::compress::ABOUT)]
    Compress(Box<crate::commands::compress::CompressArgs>),
    /// Which measure of heads, neurons or layers deserves trust: curves of the score as units go, with chance beside them.
    #[command(long_about = crate::commands::judge::ABOUT)]
    Judge(Box<crate::commands::judge::JudgeArgs>),
    /// The model as one ONNX file, for other runtimes: all families and heads, pruned shapes too.
    #[command(long_about = crate::commands::export::ABOUT)]
    Export(Box<crate::commands::export::ExportArgs>),
    /// The task's metrics or a text's perplexity, with or without a head mask.
    Evaluate(Box<EvaluateArgs>),
    /// What a classifier says of texts without labels: classes with their probabilities, a number, a label of every word.
    #[command(long_about = crate::commands::predict::ABOUT)]
    Predict(Box<crate::commands::predict::PredictArgs>),
    /// Hidden states, attention, head outputs, their gradients: written to files for a whole corpus.
    #[command(long_about = extract::ABOUT)]
    Extract(Box<ExtractArgs>),
    /// What every head looks at: neighbours, special tokens, punctuation; entropy, gradients.
    #[command(long_about = patterns::ABOUT)]
    Patterns(Box<PatternsArgs>),
    /// Which heads look at the same things: distances, a map, clusters.
    #[command(long_about = cluster::ABOUT)]
    Cluster(Box<ClusterArgs>),
    /// Every head as a predictor of dependency relations, with fixed-offset baselines.
    Syntax(Box<SyntaxArgs>),
    /// Every head as a finder of antecedents, with the usual baselines.
    Coref(Box<CorefArgs>),
    /// Whether attention follows labelled pairs of words, tokens or residues: every head, and all together.
    #[command(long_about = relations::ABOUT)]
    Relations(Box<relations::RelationsArgs>),
    /// Whether attention follows the contacts of proteins.
    #[command(long_about = relations::CONTACTS_ABOUT)]
    Contacts(Box<relations::ContactsArgs>),
    /// How far every head looks, in tokens and in words.
    #[command(long_about = crate::commands::distance::ABOUT)]
    Distance(Box<crate::commands::distance::DistanceArgs>),
    /// How much of dependency trees all attention maps hold together: probes for the head of every word.
    AttentionProbe(Box<AttentionProbeArgs>),
    /// Labelled spans for edge probing: corpora as records, and a look at records.
    #[command(long_about = edge_data::ABOUT)]
    EdgeData(Box<EdgeDataArgs>),
    /// What every layer knows of the structure of sentences: probes of spans, layer by layer.
    #[command(long_about = crate::commands::edge_probe::ABOUT)]
    EdgeProbe(Box<crate::commands::edge_probe::EdgeProbeArgs>),
    /// Train a model for a task: GLUE, your own labels, masked or next words; also after pruning, with a teacher.
    #[command(long_about = crate::commands::finetune::ABOUT)]
    Finetune(Box<crate::commands::finetune::FinetuneArgs>),
    /// Importance of every head and pruning curves at every checkpoint of a training.
    #[command(long_about = crate::commands::dynamics::ABOUT)]
    Dynamics(Box<crate::commands::dynamics::DynamicsArgs>),
    /// How fast a model is, and whether another is faster: latency, throughput, memory at several sizes of batch.
    #[command(long_about = crate::commands::bench::ABOUT)]
    Bench(Box<crate::commands::bench::BenchArgs>),
    /// The processor and the graphics cards of this machine, as --device takes them.
    #[command(long_about = crate::commands::devices::ABOUT)]
    Devices,
    /// Family, sizes, heads, parameters by part, tensors used, ignored and missing.
    Inspect(InspectArgs),
    /// Compare hidden states, attention, logits and gradients with a file written by transformers.
    Verify(VerifyArgs),
    /// The attention of a text as a page for the browser.
    #[command(long_about = view::ABOUT)]
    View(Box<ViewArgs>),
    /// How a model of code attends to its structure: the CAT-score of every layer and head, with controls.
    #[cfg(feature = "code")]
    #[command(long_about = cat::ABOUT)]
    Cat(Box<cat::CatArgs>),
    /// The tree of a program, its tokens and how far they are from each other: to look at.
    #[cfg(feature = "code")]
    #[command(long_about = crate::commands::cat_tree::ABOUT)]
    CatTree(Box<crate::commands::cat_tree::CatTreeArgs>),
    /// Several studies of a treebank in one pass, a run folder each.
    Survey(Box<SurveyArgs>),
    /// Put the parts of a run (--part K/N) together.
    Merge(MergeArgs),
    /// What is done of the parts of a run, and what is missing.
    Status(StatusArgs),
    /// Make the page of a run again, from its folder alone, and its figures as SVG files.
    Report(ReportArgs),
    /// One table of heads from several runs of one model: importance, entropy, behaviour, cost of removal.
    Heads(HeadsArgs),
    /// Two runs of one command side by side: differences of every head, rank correlation.
    Compare(CompareArgs),
    /// Importance, masking and pruning of the built-in model, or edge probing of it; no data, no network.
    Demo(DemoArgs),
    /// A script that completes commands and options in a shell, on stdout.
    Completions(CompletionsArgs),
    /// Manual pages of all commands, written into a folder.
    Man(ManArgs),
}

const PRUNE_ABOUT: &str = "\
Remove heads for good and write the smaller checkpoint to OUTPUT/model.

With data (--task and --data, --data and --text-column, --text or --token-ids), the heads are those \
that `bertology mask` would mask; with --mask or --heads they are given, and no data is needed. With both, the data serve to compare \
the score and the speed before and after.";

/// Each thread has memory of its own, and a million of them bring a machine down.
pub(crate) fn threads(text: &str) -> Result<NonZeroUsize, String> {
    const MOST: usize = 4096;
    let number: NonZeroUsize = text.parse().map_err(|error| format!("{error}"))?;
    if number.get() > MOST {
        return Err(format!("{number} is more than {MOST}"));
    }
    Ok(number)
}

/// How the work is spread.
#[derive(Debug, Args, Serialize)]
pub(crate) struct WorkArgs {
    /// Threads; the results do not depend on it [default: all cores].
    #[arg(long, value_name = "N", help_heading = "Work", value_parser = threads)]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Tokens put through the model at once; changes speed, memory and the last digits.
    #[arg(long, value_name = "N", help_heading = "Work")]
    pub(crate) tokens_per_batch: Option<NonZeroUsize>,
}

/// Where results go.
#[derive(Debug, Args, Serialize)]
pub(crate) struct OutputArgs {
    /// Folder for the results; without it they are only printed.
    #[arg(
        long,
        short,
        value_name = "DIR",
        alias = "output-dir",
        help_heading = "Output"
    )]
    pub(crate) output: Option<PathBuf>,
    /// Replace the results of an earlier run in that folder.
    #[arg(
        long,
        alias = "overwrite-output-dir",
        requires = "output",
        help_heading = "Output"
    )]
    pub(crate) overwrite: bool,
}

/// Going on where an interrupted run stopped.
#[derive(Debug, Args, Serialize)]
pub(crate) struct ResumeArgs {
    /// Continue an interrupted run in the output folder (or begin, if there is none).
    #[arg(
        long,
        requires = "output",
        conflicts_with = "overwrite",
        help_heading = "Output"
    )]
    pub(crate) resume: bool,
}

/// How importance is computed.
#[derive(Debug, Args, Serialize)]
pub(crate) struct ScoreArgs {
    /// What is summed before the absolute value is taken.
    #[arg(
        long,
        value_name = "UNIT",
        default_value = "example",
        help_heading = "Importance"
    )]
    pub(crate) granularity: GranularityArg,
    /// Examples per batch in file order, for --granularity batch and script [default: 1].
    #[arg(long, value_name = "N", help_heading = "Importance")]
    pub(crate) batch_size: Option<NonZeroUsize>,
    /// Do not divide each layer's scores by their L2 norm.
    #[arg(long, help_heading = "Importance")]
    pub(crate) dont_normalize_importance_by_layer: bool,
    /// Do not bring the scores to [0, 1] over all heads.
    #[arg(long, help_heading = "Importance")]
    pub(crate) dont_normalize_global_importance: bool,
}

/// What is summed before the absolute value is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GranularityArg {
    /// Over each example: the paper's definition.
    Example,
    /// Nothing: every token counts on its own.
    Token,
    /// Over each batch: what run_bertology.py intends.
    Batch,
    /// Over all batches so far: what run_bertology.py prints.
    Script,
}

/// The grid of chunks that a corpus is cut into.
#[derive(Debug, Args, Serialize)]
pub(crate) struct GridArgs {
    /// Units (rows, windows, sentences, documents) in a chunk; sums are made chunk by chunk, so that it
    /// changes their last digits [default: 1024].
    #[arg(long, value_name = "N", help_heading = "Work")]
    pub(crate) chunk: Option<NonZeroU64>,
    /// Only the K-th of N parts, from 1; `bertology merge` puts the parts together.
    #[arg(long, value_name = "K/N", help_heading = "Work", requires = "output")]
    pub(crate) part: Option<Part>,
}

/// A study of a corpus: `I` says which, `O` what is asked of it.
#[derive(Debug, Args, Serialize)]
pub(crate) struct StudyArgs<I: Args, O: Args> {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) computing: ComputingArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) input: I,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) own: O,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) work: WorkArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) grid: GridArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) resume: ResumeArgs,
}

/// A command whose steps depend on each other has no parts; asked for one, it says why.
#[derive(Debug, Args)]
pub(crate) struct NoParts {
    #[arg(long, value_name = "K/N", hide = true)]
    part: Option<String>,
}

impl NoParts {
    pub(crate) fn refuse(&self, reason: &str) -> Result<(), Failure> {
        match &self.part {
            None => Ok(()),
            Some(part) => Err(Failure::input(format!(
                "--part {part}: {reason}; leave --part out"
            ))),
        }
    }
}

/// `bertology importance`
pub(crate) type ImportanceArgs = StudyArgs<DataArgs, ImportanceOwn>;

/// What is asked of importance.
#[derive(Debug, Args, Serialize)]
pub(crate) struct ImportanceOwn {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) score: ScoreArgs,
    /// Score the heads of the model with this head mask on: .npy or .json, 1 keeps, 0 masks.
    #[arg(long, value_name = "FILE", help_heading = "Importance")]
    pub(crate) mask: Option<PathBuf>,
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) legacy: LegacyMasking,
}

/// `bertology mask`
#[derive(Debug, Args, Serialize)]
pub(crate) struct MaskArgs {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) computing: ComputingArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) masking: MaskingArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) schedule: ScheduleArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) score: ScoreArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) work: WorkArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) resume: ResumeArgs,
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) parts: NoParts,
}

/// `bertology prune`
#[derive(Debug, Args, Serialize)]
pub(crate) struct PruneArgs {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) place: DeviceArgs,
    /// Heads to remove, by a head mask: .npy or .json, 1 keeps, 0 removes.
    #[arg(long, value_name = "FILE", help_heading = "Pruning")]
    pub(crate) mask: Option<PathBuf>,
    /// Heads to remove: 3.5, L3H5, 3:5, 0:1,3 or 5:0-4; may be repeated.
    #[arg(
        long,
        value_name = "HEADS",
        help_heading = "Pruning",
        conflicts_with = "mask"
    )]
    pub(crate) heads: Vec<String>,
    /// Write a checkpoint of full shape with zeroed heads, for software that cannot load pruned
    /// ones (transformers 5).
    #[arg(long, help_heading = "Pruning")]
    pub(crate) keep_shape: bool,
    /// Say which heads would go and what that would change, and write nothing.
    #[arg(long, help_heading = "Pruning", conflicts_with_all = ["resume", "overwrite"])]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) masking: MaskingArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) score: ScoreArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) work: WorkArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) resume: ResumeArgs,
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) parts: NoParts,
}

/// `bertology evaluate`
pub(crate) type EvaluateArgs = StudyArgs<DataArgs, EvaluateOwn>;

/// Under which mask.
#[derive(Debug, Args, Serialize)]
pub(crate) struct EvaluateOwn {
    /// A head mask: .npy or .json, 1 keeps, 0 masks.
    #[arg(long, value_name = "FILE")]
    pub(crate) mask: Option<PathBuf>,
    /// Heads to mask: 3.5, L3H5, 3:5, 0:1,3 or 5:0-4; may be repeated.
    #[arg(long, value_name = "HEADS", conflicts_with = "mask")]
    pub(crate) heads: Vec<String>,
    #[command(flatten)]
    #[serde(skip)]
    pub(crate) legacy: LegacyMasking,
}

/// `bertology inspect`
#[derive(Debug, Args, Serialize)]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) model: ModelArgs,
    /// List every tensor.
    #[arg(long)]
    pub(crate) tensors: bool,
}

/// `bertology completions`
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Which shell.
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// `bertology man`
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Folder for `bertology.1`, `bertology-importance.1` and so on.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

/// The models that are built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DemoModel {
    /// A BERT that tells acceptable sentences from broken ones.
    TinyBert,
    /// A GPT language model.
    TinyGpt,
    /// A GPT-2 language model.
    TinyGpt2,
}

/// What a demonstration shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DemoStory {
    /// Which heads matter, and what is left without the others.
    Heads,
    /// What every layer knows of four tasks whose answer is known.
    EdgeProbe,
    /// How a model of code attends to the trees of programs.
    #[cfg(feature = "code")]
    Cat,
}

/// `bertology demo`
#[derive(Debug, Args, Serialize)]
pub(crate) struct DemoArgs {
    /// What is shown.
    #[arg(value_name = "WHAT", default_value = "heads")]
    pub(crate) story: DemoStory,
    /// Which built-in model.
    #[arg(long, value_name = "NAME", default_value = "tiny-bert")]
    pub(crate) model: DemoModel,
    /// Folder for the model, the data and the results.
    #[arg(long, short, value_name = "DIR", default_value = "bertology-demo")]
    pub(crate) output: PathBuf,
    /// Replace an earlier demonstration in that folder.
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Threads [default: all cores].
    #[arg(long, value_name = "N", value_parser = threads)]
    pub(crate) threads: Option<NonZeroUsize>,
}
