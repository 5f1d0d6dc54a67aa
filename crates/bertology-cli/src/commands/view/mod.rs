//! `bertology view`: the attention of one text, or of several, as a page.

mod look;
mod predict;
mod room;
mod show;
mod texts;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::Path;
use std::thread::available_parallelism;

use bertology::checkpoint::{Positions, ScoreBias};
use bertology::extract::{Heads, Layers};
use bertology::model::{PackedBatch, PassOptions, Workspace};
use bertology::{Architecture, Encoding, HeadId, OpenAs, Sequence};
use bertology_report::page::Packed;
use bertology_report::viewer::{
    Facts, Focus, Importance, LayerHeads, MapForm, Start, Text, Token, Viewer,
};
use serde_json::json;

use super::Done;
use crate::args::ViewArgs;
use crate::failure::Failure;
use crate::head_choice;
use crate::pages;
use crate::session::{self, Opened, failure};
use crate::show::Screen;
use crate::show::text::{bytes, plural};
use look::{Found, Look};
use texts::Given;

/// Largest page in bytes where no --size-limit says otherwise: for each text of usual length, for each longer one, and
/// for all of them together, unless a single one has more.
const LIMIT: u64 = 4_000_000;
const LONG_LIMIT: u64 = 12_000_000;
const MOST: u64 = 40_000_000;
const LONG: usize = 128;
/// What the page itself may take of the limit, and what the tokens and predictions of each text.
const REST: u64 = 100_000;
const REST_OF_TEXT: u64 = 100_000;

pub(crate) fn run(mut args: ViewArgs, screen: &Screen) -> Result<Done, Failure> {
    let given = texts::given(&mut args, screen)?;
    if let Some(path) = &args.output {
        show::check(path, args.overwrite)?;
    }
    let opened = Opened::new(&args.model, OpenAs::DeclaredOrEncoder, screen)?
        .computing(&args.computing, screen)?;
    let arch = opened.model.architecture();
    let max_length = args.max_length.map(usize::from);
    let encodings = given.iter().map(|given| encode(&opened, given, max_length));
    let encodings: Vec<Encoding> = encodings.collect::<Result<_, _>>()?;
    let heads = heads(&args, &opened)?;
    let shown = layers(&heads, arch);
    let importance = args
        .importance
        .as_deref()
        .map(|path| importance(path, arch))
        .transpose()?;
    let asked = neuron_layers(args.neuron_layers.as_deref(), &heads, arch)?;

    let lengths: Vec<usize> = encodings.iter().map(Encoding::len).collect();
    let limit = size_limit(args.size_limit, &lengths);
    let rest = REST + REST_OF_TEXT * given.len() as u64;
    let room = limit.saturating_sub(rest);
    let forms = MapForm::choose_all(&lengths, arch.causal, heads.len(), room)
        .map_err(|error| pages::failure(&error))?;

    let mut viewer = Viewer::new(facts(&opened), shown.clone());
    let mut focus = Focus::new(arch.causal);
    let mut vectors = Vec::new();
    for (at, ((given, encoding), form)) in given.iter().zip(encodings).zip(&forms).enumerate() {
        let work = Work {
            opened: &opened,
            heads: &heads,
            asked: asked.as_ref(),
            args: &args,
            screen,
            // Of one text nothing need be said.
            before: (lengths.len() > 1)
                .then(|| format!("text {at} of 0 to {}: ", lengths.len() - 1)),
        };
        let (text, its) = work.look(given, encoding, *form, &mut focus)?;
        viewer.push(text).map_err(|error| pages::failure(&error))?;
        vectors.push(its);
    }
    viewer.start = match &importance {
        Some(importance) => Start::most_important(importance, arch.num_heads, &shown),
        None => focus.start(&shown),
    };
    viewer.importance = importance;
    let left_out = room::choose_vectors(&mut viewer, vectors, asked.is_some(), limit, rest / 2)?;
    notes(&viewer, &left_out, limit, screen);
    let html = viewer.render().map_err(|error| pages::failure(&error))?;
    let path = match &args.output {
        Some(path) => {
            show::write(path, html.as_bytes(), args.overwrite)?;
            path.clone()
        }
        None => show::open(html.as_bytes(), screen)?,
    };
    let tokens: usize = lengths.iter().sum();
    let of = match lengths.len() {
        1 => String::new(),
        texts => format!("{}, ", plural(texts as u64, "text")),
    };
    screen.say(&format!(
        "{}: {of}{}, {} of attention, {}",
        path.display(),
        plural(tokens as u64, "token"),
        plural(heads.len() as u64, "head"),
        bytes(html.len() as u64)
    ));
    let texts = viewer.texts();
    let loss = viewer.loss();
    Ok(json!({
        "command": "view",
        "model": opened.located.name,
        "device": session::device(&opened.model),
        "output": path,
        "bytes": html.len(),
        "texts": texts.len(),
        "tokens": tokens,
        "truncated": texts.iter().map(|text| text.truncated).sum::<usize>(),
        "heads": heads.len(),
        "kept_weights": forms.iter().filter_map(|form| form.kept()).min(),
        "largest_error": loss.largest_error,
        "largest_lost": loss.largest_lost,
        "mean_lost": loss.mean_lost,
        "neuron_layers_left_out": left_out,
        "predictions": texts.iter().map(|text| text.predictions.len()).sum::<usize>(),
    })
    .into())
}

/// Bytes that the page may take.
fn size_limit(asked: Option<NonZeroUsize>, lengths: &[usize]) -> u64 {
    if let Some(megabytes) = asked {
        return (megabytes.get() as u64).saturating_mul(1_000_000);
    }
    let own = |length: &usize| if *length <= LONG { LIMIT } else { LONG_LIMIT };
    lengths.iter().map(own).sum::<u64>().min(MOST)
}

/// What the user should know of what was left out.
fn notes(viewer: &Viewer, left_out: &[usize], limit: u64, screen: &Screen) {
    let texts = viewer.texts();
    let cut: usize = texts.iter().map(|text| text.truncated).sum();
    if cut > 0 {
        screen.note(&format!(
            "{} of the {} cut off by --max-length",
            plural(cut as u64, "token"),
            if texts.len() == 1 { "text" } else { "texts" }
        ));
    }
    if !left_out.is_empty() {
        screen.note(&format!(
            "queries and keys of {} left out, to keep the page below {}; --neuron-layers chooses",
            plural(left_out.len() as u64, "layer"),
            bytes(limit)
        ));
    }
    let kept = texts.iter().filter_map(|text| text.form()?.kept()).min();
    if let Some(kept) = kept {
        let (mean, fewer) = (viewer.loss().mean_lost * 100.0, texts.len() > 1);
        screen.note(&format!(
            "only the {kept} largest weights of each token are kept, {mean:.1} % of all attention is not; --size-limit \
             allows for more, --layers or --heads for fewer heads{}",
            if fewer { ", and fewer texts leave more room" } else { "" }
        ));
    }
}

/// What there is to do for a text.
struct Work<'a> {
    opened: &'a Opened,
    heads: &'a BTreeSet<HeadId>,
    asked: Option<&'a BTreeSet<usize>>,
    args: &'a ViewArgs,
    screen: &'a Screen,
    /// Said before the name of the work.
    before: Option<String>,
}

impl Work<'_> {
    fn name(&self, work: &str) -> String {
        format!("{}{work}", self.before.as_deref().unwrap_or_default())
    }

    /// Everything that the page shows of a text, and its queries and keys by layer, as far as they are wanted.
    fn look(
        &self,
        given: &Given,
        encoding: Encoding,
        form: MapForm,
        focus: &mut Focus,
    ) -> Result<(Text, BTreeMap<usize, Packed>), Failure> {
        let model = &self.opened.model;
        let arch = model.architecture();
        let tokenizer = model.tokenizer().map_err(|e| failure(&e))?;
        let pair = given.pair.as_deref();
        let tokens = tokens::tokens(&encoding, &given.text, pair, tokenizer, arch);
        let mut text = Text::new(given.texts(), tokens);
        text.truncated = encoding.truncated;
        if matches!(arch.positions, Positions::Rotary(_)) {
            text.notes.push(
                "This model turns queries and keys by their positions before it multiplies them; they are shown as \
                 they are before that."
                    .into(),
            );
        }
        if arch.positions.is_relative()
            || arch.score_bias != ScoreBias::None
            || arch.disentangled.is_some()
        {
            text.notes.push(
                "This model adds a term for the distance of two tokens to each score, which the products of queries \
                 and keys do not show."
                    .into(),
            );
        }
        let ids = encoding.ids.clone();
        let sequence = sequence(encoding);
        let Found { maps, vectors } = self.attention(&sequence, text.tokens(), form, focus)?;
        look::put(&maps, &mut text)?;
        if self.args.no_masking {
            text.notes
                .push("The page was written with --no-masking.".into());
        } else {
            let name = self.name("predictions without each head");
            let threads = self.args.threads;
            predict::predict(
                &mut text,
                &name,
                self.opened,
                &sequence,
                &ids,
                threads,
                self.screen,
            )?;
        }
        let wanted = |layer: &usize| self.asked.is_none_or(|asked| asked.contains(layer));
        let vectors = vectors.into_iter().filter(|(layer, _)| wanted(layer));
        Ok((
            text,
            vectors.map(|(layer, its)| (layer, its.pack())).collect(),
        ))
    }

    /// One pass, in which every map is stored as soon as it is there.
    fn attention(
        &self,
        sequence: &Sequence,
        tokens: &[Token],
        form: MapForm,
        focus: &mut Focus,
    ) -> Result<Found, Failure> {
        let engine = self.opened.model.model();
        let arch = engine.architecture();
        let batch = PackedBatch::new(arch, std::slice::from_ref(sequence))
            .map_err(|error| failure(&error.into()))?;
        let mut look = Look::new(self.heads, tokens, arch, form, focus, self.screen);
        let heads = self.heads.len() as u64;
        self.screen.start(&self.name("attention"), "heads", heads);
        let threads = self.args.threads;
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
        self.screen.stop();
        look.check()?;
        ran.map_err(|error| failure(&error.into()))?;
        Ok(look.found())
    }
}

fn encode(opened: &Opened, given: &Given, max_length: Option<usize>) -> Result<Encoding, Failure> {
    let model = &opened.model;
    let (text, pair) = (given.text.as_str(), given.pair.as_deref());
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
                return Err(given.fault(&format!(
                    "the text has {}, but the model reads {limit} at most; --max-length {limit} cuts it",
                    plural(whole.len() as u64, "token")
                )));
            }
            whole
        }
    };
    if encoding.is_empty() {
        return Err(given.fault("the text has no tokens"));
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

/// The layers of these heads, in order.
fn layers(heads: &BTreeSet<HeadId>, arch: &Architecture) -> Vec<LayerHeads> {
    let layers: BTreeSet<usize> = heads.iter().map(|head| head.layer).collect();
    let of = |layer| heads.iter().filter(move |head| head.layer == layer);
    let layers = layers.into_iter().map(|layer| LayerHeads {
        layer,
        heads: of(layer).map(|head| head.head).collect(),
        score_scale: arch.score_scale.factor(arch.head_dim(), layer),
    });
    layers.collect()
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
        name: opened.located.brief(),
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
