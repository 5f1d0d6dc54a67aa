//! `bertology view`: the attention of one text as a page.

mod look;
mod predict;
mod show;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::Path;
use std::thread::available_parallelism;

use bertology::checkpoint::Positions;
use bertology::extract::{Heads, Layers};
use bertology::model::{PackedBatch, PassOptions, Workspace};
use bertology::{Architecture, Encoding, HeadId, OpenAs, Sequence};
use bertology_report::viewer::{Facts, Importance, MapForm, Vectors, Viewer};
use serde_json::json;

use super::Done;
use crate::args::ViewArgs;
use crate::data::note_words;
use crate::failure::Failure;
use crate::head_choice;
use crate::pages;
use crate::session::{Opened, failure};
use crate::show::Screen;
use crate::show::text::{bytes, plural};
use look::Look;

/// Largest page in bytes where no --size-limit says otherwise, for texts of usual length and for longer
/// ones.
const LIMIT: u64 = 4_000_000;
const LONG_LIMIT: u64 = 12_000_000;
const LONG: usize = 128;
/// What the page itself, its texts and its predictions may take of the limit.
const REST: u64 = 200_000;

pub(crate) fn run(mut args: ViewArgs, screen: &Screen) -> Result<Done, Failure> {
    args.model.give_back(&mut args.texts);
    let (text, pair) = match args.texts.as_slice() {
        [] => {
            return Err(Failure::input(
                "no text given: write it behind MODEL, in quotes, and a second one to make a pair",
            ));
        }
        [_, _, _, ..] => {
            return Err(Failure::input(format!(
                "{} texts are given, and a page shows one or a pair; put a text in quotes: bertology view MODEL \
                 \"{}\"",
                args.texts.len(),
                args.texts.join(" ")
            )));
        }
        [text, rest @ ..] => (text.as_str(), rest.first().map(String::as_str)),
    };
    if pair.is_some() {
        note_words(&args.texts, "read as a pair", screen);
    }
    if let Some(path) = &args.output {
        show::check(path, args.overwrite)?;
    }
    let opened = Opened::new(&args.model, OpenAs::DeclaredOrEncoder, screen)?;
    let encoding = encode(&opened, text, pair, args.max_length.map(usize::from))?;
    let arch = opened.model.architecture();
    let heads = heads(&args, &opened)?;
    let importance = args
        .importance
        .as_deref()
        .map(|path| importance(path, arch))
        .transpose()?;
    let asked = neuron_layers(args.neuron_layers.as_deref(), &heads, arch)?;

    let n = encoding.len();
    let limit = match args.size_limit {
        Some(megabytes) => (megabytes.get() as u64).saturating_mul(1_000_000),
        None if n <= LONG => LIMIT,
        None => LONG_LIMIT,
    };
    let form = MapForm::choose(n, arch.causal, heads.len(), limit.saturating_sub(REST))
        .map_err(|error| pages::failure(&error))?;

    let mut viewer = Viewer::new(facts(&opened));
    viewer.texts = [Some(text), pair]
        .into_iter()
        .flatten()
        .map(str::to_owned)
        .collect();
    viewer.tokens = tokens::tokens(
        &encoding,
        text,
        pair,
        opened.model.tokenizer().map_err(|e| failure(&e))?,
        arch,
    );
    viewer.truncated = encoding.truncated;
    viewer.importance = importance;
    if encoding.truncated > 0 {
        screen.note(&format!(
            "{} of the text cut off by --max-length",
            plural(encoding.truncated as u64, "token")
        ));
    }
    if arch.positions != Positions::Absolute {
        viewer.notes.push(
            "This model adds a term for the distance of two tokens to each score, which the products of queries \
             and keys do not show."
                .into(),
        );
    }
    let ids = encoding.ids.clone();
    let sequence = sequence(encoding);
    let look = attention(&opened, &sequence, &heads, form, args.threads, screen)?;
    let vectors = look.put(&mut viewer, arch)?;
    if args.no_masking {
        viewer
            .notes
            .push("The page was written with --no-masking.".into());
    } else {
        predict::predict(&mut viewer, &opened, &sequence, &ids, args.threads, screen)?;
    }
    let left_out = choose_vectors(&mut viewer, vectors, asked.as_ref(), limit)?;
    if !left_out.is_empty() {
        screen.note(&format!(
            "queries and keys of {} left out, to keep the page below {}; --neuron-layers chooses",
            plural(left_out.len() as u64, "layer"),
            bytes(limit)
        ));
    }
    let html = viewer.render().map_err(|error| pages::failure(&error))?;
    let loss = viewer.loss().clone();
    if let Some(kept) = form.kept() {
        screen.note(&format!(
            "only the {kept} largest weights of each token are kept, {:.1} % of all attention is not; --size-limit \
             allows for more, --layers or --heads for fewer heads",
            loss.mean_lost * 100.0
        ));
    }
    let path = match &args.output {
        Some(path) => {
            show::write(path, html.as_bytes(), args.overwrite)?;
            path.clone()
        }
        None => show::open(html.as_bytes(), screen)?,
    };
    screen.say(&format!(
        "{}: {}, {} of attention, {}",
        path.display(),
        plural(n as u64, "token"),
        plural(heads.len() as u64, "head"),
        bytes(html.len() as u64)
    ));
    Ok(json!({
        "command": "view",
        "model": opened.located.name,
        "output": path,
        "bytes": html.len(),
        "tokens": n,
        "truncated": viewer.truncated,
        "heads": heads.len(),
        "kept_weights": form.kept(),
        "largest_error": loss.largest_error,
        "largest_lost": loss.largest_lost,
        "mean_lost": loss.mean_lost,
        "neuron_layers_left_out": left_out,
        "predictions": viewer.predictions.len(),
    })
    .into())
}

fn encode(
    opened: &Opened,
    text: &str,
    pair: Option<&str>,
    max_length: Option<usize>,
) -> Result<Encoding, Failure> {
    let model = &opened.model;
    let encoding = match max_length {
        Some(_) => model
            .encode(text, pair, max_length)
            .map_err(|e| failure(&e))?,
        None => {
            let tokenizer = model.tokenizer().map_err(|e| failure(&e))?;
            let whole = tokenizer
                .encode(text, pair, None)
                .map_err(|error| failure(&error.into()))?;
            let limit = model.max_length();
            if whole.len() > limit {
                return Err(Failure::input(format!(
                    "the text has {}, but the model reads {limit} at most; --max-length {limit} cuts it",
                    plural(whole.len() as u64, "token")
                )));
            }
            whole
        }
    };
    if encoding.is_empty() {
        return Err(Failure::input("the text has no tokens"));
    }
    Ok(encoding)
}

/// Segments that are all 0 are left out: that is what absent ones mean to BERT, while GPT's are tokens.
fn sequence(encoding: Encoding) -> Sequence {
    let mut sequence = Sequence::new(encoding.ids);
    if encoding.segment_ids.iter().any(|segment| *segment != 0) {
        sequence.segments = encoding.segment_ids;
    }
    sequence
}

/// The heads to be shown, in order.
fn heads(args: &ViewArgs, opened: &Opened) -> Result<BTreeSet<HeadId>, Failure> {
    let mut chosen = args.heads.join(" ");
    if let Some(layers) = &args.layers {
        let layers = Layers::parse(layers).map_err(|e| failure(&e))?;
        let text = match layers {
            Layers::All => "all".to_owned(),
            Layers::These(layers) => {
                let words: Vec<String> = layers.iter().map(ToString::to_string).collect();
                words.join(" ")
            }
        };
        chosen = format!("{chosen} {text}");
    }
    if chosen.trim().is_empty() {
        "all".clone_into(&mut chosen);
    }
    let heads = Heads::parse(&chosen, opened.model.architecture()).map_err(|e| failure(&e))?;
    let found = heads
        .resolve(&opened.model)
        .map_err(|error| failure(&error.into()))?;
    if found.is_empty() {
        return Err(Failure::input(
            "no heads to show: all of those layers' were pruned",
        ));
    }
    Ok(found)
}

/// The layers whose queries and keys are asked for by name; `None` where as many as fit are wanted.
fn neuron_layers(
    text: Option<&str>,
    heads: &BTreeSet<HeadId>,
    arch: &Architecture,
) -> Result<Option<BTreeSet<usize>>, Failure> {
    let Some(text) = text else { return Ok(None) };
    if text.trim() == "none" {
        return Ok(Some(BTreeSet::new()));
    }
    let shown: BTreeSet<usize> = heads.iter().map(|head| head.layer).collect();
    let layers = match Layers::parse(text).map_err(|e| failure(&e))? {
        Layers::All => shown,
        Layers::These(layers) => {
            if let Some(layer) = layers.iter().find(|layer| !shown.contains(layer)) {
                return Err(Failure::input(format!(
                    "--neuron-layers {text}: no heads of layer {layer} are shown; the model has {}",
                    plural(arch.num_layers as u64, "layer")
                )));
            }
            layers
        }
    };
    Ok(Some(layers))
}

/// The importance that a run wrote.
fn importance(path: &Path, arch: &Architecture) -> Result<Importance, Failure> {
    const FILE: &str = "head_importance.npy";
    let file = if path.is_dir() {
        path.join(FILE)
    } else {
        path.to_owned()
    };
    if !file.exists() {
        return Err(Failure::input(format!(
            "--importance {}: there is no {FILE}; `bertology importance MODEL --output DIR` writes one",
            path.display()
        )));
    }
    let values = head_choice::read_mask(&file, arch.num_layers, arch.num_heads)?;
    Ok(Importance {
        // The name alone: pages are handed on, and paths say more than they should.
        source: path
            .file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy()
            .into_owned(),
        values,
    })
}

fn facts(opened: &Opened) -> Facts {
    let arch = opened.model.architecture();
    let present: BTreeSet<HeadId> = opened.model.model().heads().collect();
    let all = (0..arch.num_layers)
        .flat_map(|layer| (0..arch.num_heads).map(move |head| HeadId { layer, head }));
    Facts {
        name: opened.located.name.clone(),
        family: super::inspect::family(arch).to_owned(),
        causal: arch.causal,
        layers: arch.num_layers,
        heads: arch.num_heads,
        head_dim: arch.head_dim(),
        pruned: all
            .filter(|id| !present.contains(id))
            .map(|id| (id.layer, id.head))
            .collect(),
    }
}

/// One pass, in which every map is stored as soon as it is there.
fn attention<'s>(
    opened: &Opened,
    sequence: &Sequence,
    heads: &BTreeSet<HeadId>,
    form: MapForm,
    threads: Option<NonZeroUsize>,
    screen: &'s Screen,
) -> Result<Look<'s>, Failure> {
    let engine = opened.model.model();
    let arch = engine.architecture();
    let batch = PackedBatch::new(arch, std::slice::from_ref(sequence))
        .map_err(|error| failure(&error.into()))?;
    let mut look = Look::new(heads, sequence.len(), arch, form, screen);
    screen.start("attention", "heads", heads.len() as u64);
    let ran = engine.run(
        &batch,
        &PassOptions {
            threads: threads
                .or_else(|| available_parallelism().ok())
                .map_or(1, usize::from),
            ..PassOptions::default()
        },
        &mut Workspace::new(),
        &mut [&mut look],
    );
    screen.stop();
    look.check()?;
    ran.map_err(|error| failure(&error.into()))?;
    Ok(look)
}

/// Puts queries and keys into the page: those asked for, or those of as many layers as fit, spread from the
/// first to the last. Gives the layers left out for want of room.
fn choose_vectors(
    viewer: &mut Viewer,
    mut vectors: BTreeMap<usize, Vectors>,
    asked: Option<&BTreeSet<usize>>,
    limit: u64,
) -> Result<Vec<usize>, Failure> {
    if let Some(asked) = asked {
        vectors.retain(|layer, _| asked.contains(layer));
    }
    let packed: Vec<_> = vectors
        .iter()
        .map(|(layer, vectors)| (*layer, vectors.pack()))
        .collect();
    let mut chosen: BTreeSet<usize> = (0..packed.len()).collect();
    if asked.is_none() {
        let room = limit.saturating_sub(viewer.size() as u64 + REST / 2);
        while chosen
            .iter()
            .map(|at| packed[*at].1.size() as u64)
            .sum::<u64>()
            > room
        {
            let fewer = chosen.len() - 1;
            chosen = spread(packed.len(), fewer);
        }
    }
    let mut left_out = Vec::new();
    for (at, (layer, packed)) in packed.into_iter().enumerate() {
        if chosen.contains(&at) {
            viewer
                .add_vectors(layer, packed)
                .map_err(|error| pages::failure(&error))?;
        } else {
            left_out.push(layer);
        }
    }
    Ok(left_out)
}

/// So many of `0..all`, as far apart as can be, the first and the last among them.
fn spread(all: usize, some: usize) -> BTreeSet<usize> {
    match some {
        0 => BTreeSet::new(),
        1 => BTreeSet::from([0]),
        _ => (0..some)
            .map(|at| (at * (all - 1) + (some - 1) / 2) / (some - 1))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_spread_from_the_first_to_the_last() {
        let list = |all, some| spread(all, some).into_iter().collect::<Vec<_>>();
        assert_eq!(list(12, 3), [0, 6, 11]);
        assert_eq!(list(12, 12), (0..12).collect::<Vec<_>>());
        assert_eq!(list(12, 1), [0]);
        assert_eq!(list(12, 0), [0; 0]);
        for some in 2..12 {
            assert_eq!(spread(12, some).len(), some);
        }
    }
}
