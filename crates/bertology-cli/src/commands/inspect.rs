//! `bertology inspect`: what a model folder holds, whether or not it can be used.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use bertology::checkpoint::{
    Activation, Checkpoint, Dtype, Family, Inspection, NormKind, NormPlacement, Positions, Problem,
    Segments, TaskHead, TensorInfo,
};
use bertology::{Architecture, Error, Tokenizer};
use serde_json::{Value, json};

use super::Done;
use crate::args::InspectArgs;
use crate::failure::{Failure, sentence};
use crate::session::{self, failure};
use crate::show::Screen;
use crate::show::escape::name;
use crate::show::text::{bytes, count, percent, plural};

/// Tensors listed by name before the rest is only counted.
const LISTED: usize = 8;
/// Files listed by name of a folder that cannot be read.
const FILES: usize = 40;

pub(crate) fn run(args: InspectArgs, screen: &Screen) -> Result<Done, Failure> {
    let located = session::locate(&args.model, screen)?;
    let folder = &located.folder;
    // Commands that read texts refuse a folder without them.
    let tokenizer = Tokenizer::from_folder(folder).err();
    let tokenizer = tokenizer.map(|error| failure(&error.into()).to_string());
    let inspection = match Checkpoint::inspect(folder) {
        Ok(inspection) => inspection,
        Err(error) => return unreadable(folder, &error.into(), tokenizer, screen),
    };
    let problems = inspection.problems.iter().map(|problem| sentence(problem));
    let problems: Vec<String> = problems.chain(tokenizer).collect();
    screen.say(&report(folder, &inspection, &problems, args.tensors));
    Ok(Done {
        failure: summary(&problems).map(Failure::Work),
        ..document(folder, &inspection, &problems).into()
    })
}

/// The first problem, and how many more there are.
fn summary(problems: &[String]) -> Option<String> {
    match problems {
        [] => None,
        [only] => Some(only.clone()),
        [first, rest @ ..] => Some(format!(
            "{first} (and {})",
            plural(rest.len() as u64, "more problem")
        )),
    }
}

/// A folder whose config or weights cannot be read at all: what lies in it, and why it cannot.
fn unreadable(
    folder: &Path,
    error: &Error,
    tokenizer: Option<String>,
    screen: &Screen,
) -> Result<Done, Failure> {
    let mut files = files(folder)?;
    files.sort();
    let problems: Vec<String> = std::iter::once(sentence(error)).chain(tokenizer).collect();
    let mut text = format!("{}\n", folder.display());
    for (at, (name, size)) in files.iter().enumerate().take(FILES) {
        let title = if at == 0 { "files" } else { "" };
        let _ = writeln!(text, "  {title:<13} {name}, {}", bytes(*size));
    }
    if files.len() > FILES {
        let _ = writeln!(text, "  {:<13} … {} in all", "", files.len());
    }
    for (at, problem) in problems.iter().enumerate() {
        let title = if at == 0 { "problems" } else { "" };
        let _ = writeln!(text, "  {title:<13} {problem}");
    }
    screen.say(text.trim_end());
    let names: Vec<_> = files
        .into_iter()
        .map(|(name, _)| folder.join(name))
        .collect();
    let document = json!({
        "command": "inspect",
        "folder": folder,
        "files": names,
        "problems": problems,
    });
    Ok(Done {
        failure: Some(failure(error)),
        ..document.into()
    })
}

/// Names and sizes of the files in a folder.
fn files(folder: &Path) -> Result<Vec<(String, u64)>, Failure> {
    let read = || {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            // A link into a cache counts as what it leads to.
            if let Ok(found) = fs::metadata(entry.path())
                && found.is_file()
            {
                let name = entry.file_name().to_string_lossy().into_owned();
                files.push((name, found.len()));
            }
        }
        Ok(files)
    };
    read().map_err(|error: io::Error| Failure::io("read the folder", folder, &error))
}

/// The family as people write it.
pub(crate) fn family(architecture: &Architecture) -> &'static str {
    match architecture.family {
        Family::Bert => "BERT",
        Family::JinaBert => "JinaBERT",
        Family::Roberta => "RoBERTa",
        Family::XlmRoberta => "XLM-RoBERTa",
        Family::Camembert => "CamemBERT",
        Family::Electra => "ELECTRA",
        Family::DistilBert => "DistilBERT",
        Family::MpNet => "MPNet",
        Family::ModernBert => "ModernBERT",
        Family::Albert => "ALBERT",
        Family::Esm => "ESM",
        Family::Esmc => "ESM-C",
        Family::EuroBert => "EuroBERT",
        Family::NomicBert => "NomicBERT",
        Family::Gte | Family::GteNew => "GTE",
        Family::DebertaV2 => "DeBERTa",
        Family::OpenAiGpt => "GPT",
        Family::Gpt2 => "GPT-2",
    }
}

fn task(architecture: &Architecture) -> String {
    match &architecture.head {
        TaskHead::None => "base model without task head".into(),
        TaskHead::SequenceClassification {
            num_labels,
            problem,
        } => {
            let problem = match problem {
                Problem::SingleLabel => "one label per text",
                Problem::Regression => "regression",
                Problem::MultiLabel => "several labels per text",
            };
            format!(
                "sequence classification, {}, {problem}",
                plural(*num_labels as u64, "output")
            )
        }
        TaskHead::MaskedLm => "masked language model".into(),
        TaskHead::CausalLm => "causal language model".into(),
        TaskHead::NextSentence => "next-sentence prediction".into(),
        TaskHead::PreTraining => "masked language model and next-sentence prediction".into(),
        TaskHead::TokenClassification { num_labels } => format!(
            "token classification, {}",
            plural(*num_labels as u64, "output")
        ),
        TaskHead::QuestionAnswering => "question answering, the first and the last token".into(),
        TaskHead::ReplacedTokens => "replaced tokens, one score a token".into(),
    }
}

fn positions(architecture: &Architecture) -> String {
    let own = match architecture.positions {
        Positions::Absolute => "absolute",
        Positions::RelativeKey => "relative (key)",
        Positions::RelativeKeyQuery => "relative (key and query)",
        Positions::Rotary(_) => "rotary",
        Positions::Nowhere => "",
    };
    match (architecture.disentangled, own) {
        (None, "") => "none".into(),
        (None, own) => own.into(),
        (Some(_), "") => "distances with queries and keys of their own".into(),
        (Some(_), own) => format!("{own}, and distances with queries and keys of their own"),
    }
}

fn segments(architecture: &Architecture) -> String {
    match architecture.segments {
        Segments::None => "none".into(),
        Segments::Table(rows) => count(rows as u64),
        Segments::Words => "none, or rows of the vocabulary".into(),
    }
}

fn attention(architecture: &Architecture) -> String {
    let sight = match architecture.windows {
        _ if architecture.causal => "causal".to_owned(),
        None => "every token sees every other".to_owned(),
        Some(windows) => format!(
            "everything in layers 0, {}, …, else {} to either side",
            windows.global_every,
            plural(windows.reach as u64, "token"),
        ),
    };
    let scale = architecture.score_scale;
    let unusual = match (scale.by_head_dim, scale.by_layer) {
        (true, false) => "",
        (true, true) => ", scores also divided by layer + 1",
        (false, true) => ", scores divided by layer + 1 only",
        (false, false) => ", scores not scaled",
    };
    format!("{sight}{unusual}")
}

fn norms(architecture: &Architecture) -> String {
    let placement = match architecture.norm {
        NormPlacement::Post => "after attention and feed-forward",
        NormPlacement::Pre => "before attention and feed-forward, and a final one",
    };
    match architecture.norm_kind {
        NormKind::Layer => placement.into(),
        NormKind::RootMeanSquare => format!("{placement}, by the root mean square"),
    }
}

fn activation(architecture: &Architecture) -> &'static str {
    match architecture.activation {
        Activation::Gelu => "gelu",
        Activation::GeluTanh => "gelu (tanh form)",
        Activation::Relu => "relu",
        Activation::Silu => "silu",
        Activation::QuickGelu => "quick gelu",
        Activation::Tanh => "tanh",
    }
}

/// Number of heads that the checkpoint has, of all layers; those of zeros are none.
fn live_heads(architecture: &Architecture) -> usize {
    let zeroed: usize = architecture.zeroed_heads.values().map(BTreeSet::len).sum();
    let held: usize = (0..architecture.num_layers)
        .map(|layer| architecture.heads(layer).len())
        .sum();
    held.saturating_sub(zeroed)
}

fn types(tensors: &[TensorInfo]) -> String {
    let mut counts: BTreeMap<Dtype, usize> = BTreeMap::new();
    for tensor in tensors {
        *counts.entry(tensor.dtype).or_default() += 1;
    }
    let names: Vec<String> = counts.keys().map(ToString::to_string).collect();
    names.join(", ")
}

fn report(folder: &Path, inspection: &Inspection, problems: &[String], all: bool) -> String {
    let arch = &inspection.architecture;
    let total = arch.num_layers * arch.num_heads;
    let mut text = format!("{}\n", name(&folder.display().to_string()));
    let mut fact = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<13} {value}");
    };
    fact("family", family(arch).into());
    fact("task", task(arch));
    for (at, label) in arch.labels.iter().enumerate().take(LISTED) {
        fact(
            if at == 0 { "labels" } else { "" },
            format!("{at} {}", name(label)),
        );
    }
    if arch.labels.len() > LISTED {
        fact("", format!("… {} in all", arch.labels.len()));
    }
    let layers = count(arch.num_layers as u64);
    fact(
        "layers",
        match arch.shared_layers {
            None => layers,
            Some(shared) => format!(
                "{layers}, with the weights of {}",
                plural(shared.blocks() as u64, "block")
            ),
        },
    );
    fact(
        "heads",
        format!(
            "{} per layer, {} wide; {} of {total} present",
            arch.num_heads,
            arch.head_dim(),
            live_heads(arch)
        ),
    );
    for (heads, what) in [
        (&arch.pruned_heads, "lacks"),
        (&arch.zeroed_heads, "has zeros only for"),
    ] {
        for (layer, heads) in heads.iter().filter(|(_, heads)| !heads.is_empty()) {
            let names: Vec<String> = heads.iter().map(ToString::to_string).collect();
            fact("", format!("layer {layer} {what} {}", names.join(", ")));
        }
    }
    fact("hidden size", count(arch.hidden_size as u64));
    fact(
        "feed-forward",
        format!(
            "{}, {}",
            count(arch.intermediate_size as u64),
            activation(arch)
        ),
    );
    for (layer, left) in &arch.narrowed {
        fact(
            "",
            format!("layer {layer}: {} neurons left", count(*left as u64)),
        );
    }
    fact("vocabulary", count(arch.vocab_size as u64));
    fact(
        "positions",
        format!(
            "{} tokens, {}",
            count(arch.max_tokens() as u64),
            positions(arch)
        ),
    );
    fact("segments", segments(arch));
    fact("attention", attention(arch));
    fact("norms", norms(arch));

    let parts = &inspection.report.parts;
    let whole = parts.total();
    let _ = writeln!(
        text,
        "\n  {:<13} {:>13}  {:>8}",
        "parameters", "count", "share"
    );
    for (name, part) in [
        ("embeddings", parts.embeddings),
        ("attention", parts.attention),
        ("feed-forward", parts.feed_forward),
        ("norms", parts.norms),
        ("pooler", parts.pooler),
        ("task head", parts.task_head),
    ] {
        if part.parameters > 0 {
            let _ = writeln!(
                text,
                "  {name:<13} {:>13}  {:>8}",
                count(part.parameters),
                percent(part.parameters, whole.parameters)
            );
        }
    }
    let _ = writeln!(
        text,
        "  {:<13} {:>13}  {} as {}",
        "all",
        count(whole.parameters),
        bytes(whole.bytes),
        types(&inspection.report.used)
    );

    let account = &inspection.report;
    let _ = writeln!(
        text,
        "\n  {:<13} {} used, {} ignored, {} missing, {} unexpected",
        "tensors",
        account.used.len(),
        account.ignored.len(),
        account.missing.len(),
        account.unexpected.len()
    );
    let limit = if all { usize::MAX } else { LISTED };
    let mut list = |title: &str, lines: Vec<String>, limit: usize| {
        for (at, line) in lines.iter().enumerate().take(limit) {
            let title = if at == 0 { title } else { "" };
            let _ = writeln!(text, "  {title:<13} {line}");
        }
        if lines.len() > limit {
            let rest = lines.len() - limit;
            let _ = writeln!(text, "  {:<13} … and {rest} more; --tensors lists them", "");
        }
    };
    let named = |tensor: &TensorInfo| format!("{} {:?}", name(&tensor.name), tensor.shape);
    if all {
        list("used", account.used.iter().map(named).collect(), limit);
    }
    let ignored = account.ignored.iter();
    let ignored = ignored.map(|i| format!("{} ({})", name(&i.tensor.name), i.reason));
    list("ignored", ignored.collect(), limit);
    let missing = account.missing.iter();
    let missing = missing.map(|m| format!("{} {:?}", name(&m.name), m.shape));
    list("missing", missing.collect(), limit);
    list(
        "unexpected",
        account.unexpected.iter().map(named).collect(),
        limit,
    );
    let problems = problems.iter().map(|problem| name(problem).into_owned());
    list("problems", problems.collect(), usize::MAX);
    text.truncate(text.trim_end().len());
    text
}

fn document(folder: &Path, inspection: &Inspection, problems: &[String]) -> Value {
    let arch = &inspection.architecture;
    json!({
        "command": "inspect",
        "folder": folder,
        "family": family(arch),
        "task": task(arch),
        "labels": arch.labels,
        "num_layers": arch.num_layers,
        "num_heads": arch.num_heads,
        "head_dim": arch.head_dim(),
        "heads_present": live_heads(arch),
        "pruned_heads": arch.pruned_heads,
        "zeroed_heads": arch.zeroed_heads,
        "hidden_size": arch.hidden_size,
        "intermediate_size": arch.intermediate_size,
        "neurons": (0..arch.num_layers).map(|layer| arch.neurons(layer)).collect::<Vec<_>>(),
        "activation": activation(arch),
        "vocab_size": arch.vocab_size,
        "max_tokens": arch.max_tokens(),
        "positions": positions(arch),
        "segments": segments(arch),
        "attention": attention(arch),
        "norms": norms(arch),
        "parameters": inspection.report.parts.total().parameters,
        "bytes": inspection.report.parts.total().bytes,
        "tensors": inspection.report,
        "files": inspection.files,
        "problems": problems,
    })
}
