//! Every file that any command writes into a run folder, named once.
//!
//! What is not here does not belong to a run, and no command removes it.

use crate::rows::{
    AblationRow, BehaviourRow, CorefBaselineRow, CorefRow, GradientRow, ImportanceRow, PatternRow,
    PredictionRow, ProbeRow, ScheduleRow, StepRow, SyntaxRow,
};
use crate::table::Row;

/// The file that says that a run is complete, and everything about it.
pub const RUN: &str = "run.json";
/// The page that shows a complete run; made from the other files.
pub const REPORT: &str = "report.html";
/// The saved state of a run that is not finished.
pub const STATE: &str = "state.json";
/// The predictions of a run that is not finished.
pub const STATE_PREDICTIONS: &str = "state-predictions.csv";
/// What part of a run a folder holds.
pub const PART: &str = "part.json";
/// The states of the chunks of a part, one a line.
pub const CHUNKS: &str = "chunks.jsonl";
/// The predictions of a finished run.
pub const PREDICTIONS: &str = "predictions.csv";
/// What the axes of [`SYNTAX_HEADS`] are.
pub const RELATIONS: &str = "relations.json";
/// Words right, `[direction, layer, head, relation]`.
pub const SYNTAX_HEADS: &str = "syntax_heads.npy";
/// Importance of every head.
pub const IMPORTANCE: &str = "head_importance.npy";
/// Importance before normalisation.
pub const IMPORTANCE_RAW: &str = "head_importance_raw.npy";
/// Ranks by importance.
pub const RANKS: &str = "head_ranks.npy";
/// Mean entropy of attention.
pub const ENTROPY: &str = "attn_entropy.npy";
/// Change of the metric without each head.
pub const ABLATION: &str = "head_ablation.npy";
/// Change of the loss without each head.
pub const ABLATION_LOSS: &str = "head_ablation_loss.npy";
/// Which heads are kept.
pub const MASK: &str = "head_mask.npy";
/// Which heads are kept, step by step.
pub const MASKS: &str = "masks.npy";
/// Weights of the probe of attention.
pub const PROBE_WEIGHTS: &str = "probe_weights.npy";
/// What is in the shards of an extraction.
pub const INDEX: &str = "index.json";
/// The folder of the checkpoint that `prune` writes.
pub const MODEL: &str = "model";
/// The folder of the word maps that `attention-probe` keeps while it runs.
pub const MAPS: &str = "maps";
/// The folder of the hidden states and trainings that `edge-probe` keeps while it runs.
const STATES: &str = "states";
/// Start of the names of files that are being written; writers of checkpoints and shards use the same.
pub const TEMPORARY: &str = ".bertology-";
/// The file that the process which writes into a folder has locked; gone when that process ends by itself.
pub const LOCK: &str = ".bertology-lock";

/// Of what kind a file is.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Kind {
    /// A NumPy array.
    Array {
        /// What the axes count.
        axes: &'static [&'static str],
        /// NumPy's name of the element type.
        dtype: &'static str,
    },
    /// A CSV table.
    Table {
        /// The columns that every run has.
        columns: fn() -> Vec<String>,
        /// The columns that depend on the run, in words.
        more: &'static str,
    },
    /// JSON, or JSON line by line.
    Json,
    /// An HTML page.
    Page,
    /// Arrays of a corpus, described by `index.json`.
    Shard,
    /// A file of a model's checkpoint.
    Checkpoint,
    /// Of a run that is not finished; gone when it is.
    State,
}

/// A name, or how names are made.
#[derive(Debug, Clone, Copy)]
enum Name {
    /// This one.
    Is(&'static str),
    /// `shard-00000` with this ending.
    Shard(&'static str),
    /// `shard-00000.parquet` in the folder of a table.
    TableShard,
    /// Files with this start in a folder.
    Within(&'static str, &'static str),
    /// Files in a folder of states.
    States,
    /// Those of a model's folder.
    Checkpoint,
    /// Those of the models on a training's way.
    OnTheWay,
}

/// A file that commands write.
#[derive(Debug, Clone, Copy)]
pub struct File {
    name: Name,
    /// As people write it: `shard-NNNNN.npz` stands for all shards.
    pub written: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What it means, in one line.
    pub means: &'static str,
    /// The commands that write it; none where all do.
    pub commands: &'static [&'static str],
}

impl File {
    /// Whether a path relative to the run folder, with `/` between, is this file's.
    #[must_use]
    pub fn is(&self, path: &str) -> bool {
        match self.name {
            Name::Is(name) => path == name,
            Name::Shard(ending) => shard(path) == Some(ending),
            Name::Checkpoint => of_checkpoint(path),
            Name::OnTheWay => path
                .rsplit_once('/')
                .is_some_and(|(folder, name)| is_on_the_way(folder) && of_checkpoint(name)),
            Name::TableShard => path
                .split_once('/')
                .is_some_and(|(folder, name)| is_table(folder) && shard(name) == Some("parquet")),
            Name::States => path
                .split_once('/')
                .is_some_and(|(folder, name)| is_states(folder) && !name.contains('/')),
            Name::Within(folder, start) => {
                let inside = path.strip_prefix(folder).and_then(|p| p.strip_prefix('/'));
                inside.is_some_and(|name| name.starts_with(start) && !name.contains('/'))
            }
        }
    }
}

/// The registered file that a path relative to the run folder names.
#[must_use]
pub fn known(path: &str) -> Option<&'static File> {
    files().find(|file| file.is(path))
}

/// Whether commands make a folder of this name.
pub(crate) fn is_folder(name: &str) -> bool {
    name == MAPS || is_states(name) || is_table(name)
}

/// `states`, and `states-1` and so on of encoders that have learnt nothing.
fn is_states(folder: &str) -> bool {
    let rest = folder.strip_prefix(STATES);
    rest.is_some_and(|rest| {
        rest.is_empty()
            || rest
                .strip_prefix('-')
                .is_some_and(|n| n.parse::<u32>().is_ok())
    })
}

/// Whether a file is the shard that an unfinished extraction was filling.
pub(crate) fn is_half_shard(name: &str) -> bool {
    shard(name) == Some(HALF)
}

/// The ending of a shard that is being filled.
const HALF: &str = "half";

/// The ending of `shard-00012.npz` and the like.
fn shard(name: &str) -> Option<&str> {
    let (number, ending) = name.strip_prefix("shard-")?.split_once('.')?;
    let counted = number.len() >= 5 && number.bytes().all(|byte| byte.is_ascii_digit());
    counted.then_some(ending)
}

/// The tables of an extraction in Parquet.
fn is_table(folder: &str) -> bool {
    const TABLES: [&str; 10] = [
        "examples",
        "tokens",
        "words",
        "queries",
        "keys",
        "values",
        "attention_scores",
        "attentions",
        "head_outputs",
        "head_contributions",
    ];
    TABLES.contains(&folder.strip_prefix("gradients_").unwrap_or(folder))
}

pub(crate) const fn file(
    name: &'static str,
    kind: Kind,
    commands: &'static [&'static str],
    means: &'static str,
) -> File {
    File {
        name: Name::Is(name),
        written: name,
        kind,
        means,
        commands,
    }
}

/// The files of a model that is the run folder itself. Whoever clears the folder takes away those that the run says it
/// has written, and no others.
pub(crate) const fn checkpoint(commands: &'static [&'static str], means: &'static str) -> File {
    File {
        name: Name::Checkpoint,
        written: "config.json",
        kind: Kind::Checkpoint,
        means,
        commands,
    }
}

/// Whether this is the folder of a model on a training's way, `checkpoints/step-00012`.
pub(crate) fn is_on_the_way(folder: &str) -> bool {
    let number = folder.strip_prefix("checkpoints/step-");
    number.is_some_and(|n| n.len() >= 5 && n.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What a model's folder holds, as this program writes it.
pub(crate) fn of_checkpoint(name: &str) -> bool {
    const NAMES: [&str; 7] = [
        "config.json",
        "model.safetensors",
        "merges.txt",
        "spm.model",
        "special_tokens_map.json",
        "added_tokens.json",
        "generation_config.json",
    ];
    const STARTS: [&str; 4] = ["tokenizer", "vocab", "LICENSE", "NOTICE"];
    let inside = !name.contains('/');
    inside && (NAMES.contains(&name) || STARTS.iter().any(|start| name.starts_with(start)))
}

/// Files of the checkpoints that a training leaves on its way.
pub(crate) const fn on_the_way(commands: &'static [&'static str], means: &'static str) -> File {
    File {
        name: Name::OnTheWay,
        written: "checkpoints/step-NNNNN/",
        kind: Kind::Checkpoint,
        means,
        commands,
    }
}

/// What `edge-probe` keeps while it runs.
pub(crate) const fn states(commands: &'static [&'static str], means: &'static str) -> File {
    File {
        name: Name::States,
        written: "states/*",
        kind: Kind::State,
        means,
        commands,
    }
}

pub(crate) const fn per_head(dtype: &'static str) -> Kind {
    let axes = &["layer", "head"];
    Kind::Array { axes, dtype }
}

pub(crate) const fn rows<R: Row>(more: &'static str) -> Kind {
    Kind::Table {
        columns: || R::columns(&[]),
        more,
    }
}

/// Every file, those of every run first, those of studies with a file of their own here last.
pub fn files() -> impl Iterator<Item = &'static File> {
    let own = crate::studies::FILES.iter().copied().flatten();
    FILES.iter().chain(own)
}

const FILES: &[File] = &[
    file(
        RUN,
        Kind::Json,
        &[],
        "what was asked, of what, and what came out; its presence says that the run is complete",
    ),
    file(
        REPORT,
        Kind::Page,
        &[],
        "the run as one page that needs no network",
    ),
    file(
        STATE,
        Kind::State,
        &[],
        "what an interrupted run has summed up, and whose it is",
    ),
    file(
        PART,
        Kind::Json,
        &[],
        "which part of a run this folder holds, where a run is made in parts",
    ),
    file(
        CHUNKS,
        Kind::State,
        &[],
        "the state of each finished chunk of a part, one a line",
    ),
    file(
        PREDICTIONS,
        rows::<PredictionRow>(
            "a `logit_` column a class; where tokens are predicted `index`, `line`, `window`, `tokens`, `targets`, `loss`; of \
             predict `index`, `line`, `label`, `probability` and `p_` and `logit_` with the name of each class, or `value`, of words \
             also their places",
        ),
        &["importance", "evaluate", "predict"],
        "what the model says of each example or window",
    ),
    file(
        STATE_PREDICTIONS,
        Kind::State,
        &["importance", "evaluate", "predict"],
        "the predictions of an interrupted run, as far as its state goes",
    ),
    File {
        name: Name::Shard(HALF),
        written: "shard-NNNNN.half",
        kind: Kind::State,
        means: "the shard that an interrupted extraction was filling, as far as its state goes",
        commands: &["extract"],
    },
    file(
        IMPORTANCE,
        per_head("<f4"),
        &["importance", "mask", "prune"],
        "importance, normalised; 0 where a head has no score",
    ),
    file(
        IMPORTANCE_RAW,
        per_head("<f8"),
        &["importance", "mask", "prune"],
        "importance before any normalisation",
    ),
    file(
        RANKS,
        per_head("<i8"),
        &["importance", "mask", "prune"],
        "0 the most important head, −1 one without a score",
    ),
    file(
        ENTROPY,
        Kind::Array {
            axes: &["layer", "head"],
            dtype: "<f4 or <f8",
        },
        &["importance", "patterns"],
        "mean entropy of attention, nats",
    ),
    file(
        ImportanceRow::FILE,
        rows::<ImportanceRow>(""),
        &["importance", "mask", "prune"],
        "importance, entropy and rank of every head",
    ),
    file(
        ABLATION,
        per_head("<f4"),
        &["ablate"],
        "change of the metric without each head; NaN where a head was not left out",
    ),
    file(
        ABLATION_LOSS,
        per_head("<f4"),
        &["ablate"],
        "change of the mean loss without each head, nats",
    ),
    file(
        AblationRow::FILE,
        rows::<AblationRow>("the metrics, by name"),
        &["ablate"],
        "what changes without each head, with errors and tests",
    ),
    file(
        MASK,
        per_head("<f4"),
        &["mask", "prune", "compress", "evaluate", "predict"],
        "1 keeps a head, 0 masks or removes it",
    ),
    file(
        MASKS,
        Kind::Array {
            axes: &["step", "layer", "head"],
            dtype: "<f4",
        },
        &["mask", "prune"],
        "the heads that are left at every step of the search",
    ),
    file(
        StepRow::FILE,
        rows::<StepRow>("the metrics, by name, before `masked_heads`"),
        &["mask", "prune"],
        "the score at every step of the search",
    ),
    file(
        ScheduleRow::FILE,
        rows::<ScheduleRow>("the metrics, by name"),
        &["mask"],
        "the score with more and more heads masked, in each order, where a schedule is asked for",
    ),
    File {
        name: Name::Within(MODEL, ""),
        written: "model/",
        kind: Kind::Checkpoint,
        means: "the model without what was taken out, as a folder of its own",
        commands: &["prune", "compress"],
    },
    file(
        PatternRow::FILE,
        rows::<PatternRow>(""),
        &["patterns"],
        "what each head looks at, in averages",
    ),
    file(
        BehaviourRow::FILE,
        rows::<BehaviourRow>(""),
        &["patterns"],
        "what each head does most",
    ),
    file(
        "attn_entropy_first.npy",
        per_head("<f8"),
        &["patterns"],
        "entropy of attention of the row that begins the text, nats",
    ),
    file(
        "attn_entropy_last.npy",
        per_head("<f8"),
        &["patterns"],
        "entropy of attention of the row that ends the text, for causal models, nats",
    ),
    file(
        GradientRow::FILE,
        rows::<GradientRow>(
            "`times_attention_` with the same four, before `documents`, where they are asked for",
        ),
        &["patterns"],
        "the loss's gradient with respect to attention, by class of token",
    ),
    file(
        SyntaxRow::FILE,
        rows::<SyntaxRow>(""),
        &["syntax"],
        "the best head of each relation in each direction",
    ),
    file(
        SYNTAX_HEADS,
        Kind::Array {
            axes: &["direction", "layer", "head", "relation"],
            dtype: "<i8",
        },
        &["syntax"],
        "words of a relation whose partner each head finds",
    ),
    file(
        RELATIONS,
        Kind::Json,
        &["syntax"],
        "what the axes of `syntax_heads.npy` are, and how often fixed offsets are right",
    ),
    file(
        CorefRow::FILE,
        rows::<CorefRow>(""),
        &["coref"],
        "how often each head finds an antecedent, by kind of mention",
    ),
    file(
        CorefBaselineRow::FILE,
        rows::<CorefBaselineRow>(""),
        &["coref"],
        "how often simple rules do",
    ),
    file(
        ProbeRow::FILE,
        rows::<ProbeRow>(""),
        &["attention-probe"],
        "scores of probes and baselines",
    ),
    file(
        PROBE_WEIGHTS,
        Kind::Array {
            axes: &["direction", "layer", "head"],
            dtype: "<f4",
        },
        &["attention-probe"],
        "weights of attention to the candidate, then from it; NaN for heads that are not there",
    ),
    File {
        name: Name::Within(MAPS, "maps-"),
        written: "maps/maps-*",
        kind: Kind::State,
        means: "attention between words, kept while probes are trained, and afterwards where it is asked for",
        commands: &["attention-probe"],
    },
    file(
        INDEX,
        Kind::Json,
        &["extract"],
        "what is in the shards: arrays, axes, counts",
    ),
    file(
        "tokens.json",
        Kind::Json,
        &["extract"],
        "the vocabulary's strings for the ids in the shards",
    ),
    File {
        name: Name::Shard("safetensors"),
        written: "shard-NNNNN.safetensors",
        kind: Kind::Shard,
        means: "arrays of some texts",
        commands: &["extract"],
    },
    File {
        name: Name::Shard("npz"),
        written: "shard-NNNNN.npz",
        kind: Kind::Shard,
        means: "the same for NumPy",
        commands: &["extract"],
    },
    File {
        name: Name::Shard("parquet"),
        written: "shard-NNNNN.parquet",
        kind: Kind::Shard,
        means: "the same as a Parquet table",
        commands: &["extract"],
    },
    File {
        name: Name::TableShard,
        written: "TABLE/shard-NNNNN.parquet",
        kind: Kind::Shard,
        means: "the same as tables for data frames: `examples`, `tokens`, `attentions` and others",
        commands: &["extract"],
    },
];
