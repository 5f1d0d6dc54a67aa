//! The checkpoints of a training: opened one at a time, and the same in everything but their weights.

use bertology::dynamics::Moment;
use bertology::{Architecture, HeadId, LoadedModel, OpenAs, Tokenizer};
use serde_json::{Value, json};

use super::args::DynamicsArgs;
use crate::data;
use crate::failure::Failure;
use crate::session::{self, Located, Opened};
use crate::show::Screen;

/// A text with what tokenizers treat in several ways: case, accents, numbers, punctuation.
const PROBE: &str = "The Woman's café, naïve: 1,234 don't-s [MASK] 猫!";

/// All checkpoints, none of them open.
pub(super) struct Training {
    pub(super) moments: Vec<Moment>,
    /// Of the weights of each.
    pub(super) sha256: Vec<String>,
    located: Vec<Located>,
    open_as: OpenAs,
}

/// What all checkpoints of a training have in common.
struct Common {
    architecture: Architecture,
    heads: Vec<HeadId>,
    tokens: Option<Tokens>,
}

/// What a tokenizer does.
#[derive(Debug, PartialEq)]
struct Tokens {
    /// By id.
    vocabulary: Vec<Option<String>>,
    /// Ids of the probe, if it can be expressed.
    probe: Option<Vec<u32>>,
}

impl Training {
    /// Finds all checkpoints, and holds each against the first. Gives the last one, open.
    pub(super) fn open(
        args: &DynamicsArgs,
        places: Vec<(Moment, String)>,
        screen: &Screen,
    ) -> Result<(Self, Opened), Failure> {
        let mut training = Self {
            moments: Vec::new(),
            sha256: Vec::new(),
            located: Vec::new(),
            open_as: data::open_as(&args.data),
        };
        for (moment, place) in places {
            training
                .located
                .push(session::locate(&args.model(&place), screen)?);
            training.moments.push(moment);
        }
        let silent = Screen::silent();
        let mut first: Option<Common> = None;
        let mut last = None;
        screen.start("checkpoints", "models", training.located.len() as u64);
        for at in 0..training.located.len() {
            // One at a time is in memory.
            drop(last.take());
            // What is noted of one is noted of all, so once will do.
            let of = if at == 0 { screen } else { &silent };
            let opened = training.model(args, at, of)?;
            let own = Common::of(&opened.model);
            match &first {
                None => first = Some(own),
                Some(first) => training.compare(at, first, &own)?,
            }
            training.sha256.push(opened.sha256()?);
            screen.advance_to(at as u64 + 1);
            last = Some(opened);
        }
        screen.stop();
        let last = last.ok_or_else(|| Failure::input("no checkpoints given"))?;
        Ok((training, last))
    }

    /// A checkpoint, opened.
    pub(super) fn model(
        &self,
        args: &DynamicsArgs,
        at: usize,
        screen: &Screen,
    ) -> Result<Opened, Failure> {
        let located = self.located[at].clone();
        let model = args.model(&located.name);
        let opened = Opened::at(located, &model, self.open_as, screen)?;
        let computing = &args.computing;
        opened
            .in_precision(computing.precision)?
            .on(&computing.place, screen)
    }

    pub(super) fn located(&self) -> &[Located] {
        &self.located
    }

    /// For the identity of the run: which weights at which step.
    pub(super) fn identity(&self) -> Value {
        let all = self.moments.iter().zip(&self.sha256);
        json!(
            all.map(|(moment, sha256)| json!([moment.step, sha256]))
                .collect::<Vec<_>>()
        )
    }

    fn compare(&self, at: usize, first: &Common, own: &Common) -> Result<(), Failure> {
        let (a, b) = (&first.architecture, &own.architecture);
        let shape = |of: &Architecture| {
            format!(
                "{} layers of {} heads, hidden size {}",
                of.num_layers, of.num_heads, of.hidden_size
            )
        };
        let labels = |of: &Architecture| match of.labels.is_empty() {
            true => "no classes".to_owned(),
            false => of.labels.join(", "),
        };
        let differs = [
            (
                a.family != b.family,
                "families",
                format!("{:?}", a.family),
                format!("{:?}", b.family),
            ),
            (shape(a) != shape(b), "shapes", shape(a), shape(b)),
            (
                first.heads != own.heads,
                "heads",
                format!("{} of them", first.heads.len()),
                format!("{}", own.heads.len()),
            ),
            (
                a.head != b.head,
                "task heads",
                a.head.description().to_owned(),
                b.head.description().to_owned(),
            ),
            (a.labels != b.labels, "classes", labels(a), labels(b)),
            (
                a.vocab_size != b.vocab_size,
                "vocabularies",
                format!("{} tokens", a.vocab_size),
                format!("{}", b.vocab_size),
            ),
            (
                first.tokens != own.tokens,
                "tokenizers",
                "the one that it has".into(),
                "one with other tokens or ids".into(),
            ),
        ];
        let found = differs.into_iter().find(|(differs, ..)| *differs);
        let Some((_, what, was, is)) = found else {
            return Ok(());
        };
        Err(Failure::input(format!(
            "{} and {} have different {what}: {was}, and {is}; checkpoints of one training differ in nothing but their \
             weights, so leave one out",
            self.located[0].name, self.located[at].name
        )))
    }
}

impl Common {
    fn of(model: &LoadedModel) -> Self {
        Self {
            architecture: model.architecture().clone(),
            heads: model.model().heads().collect(),
            tokens: model.tokenizer().ok().map(Tokens::of),
        }
    }
}

impl Tokens {
    fn of(tokenizer: &Tokenizer) -> Self {
        let ids = 0..u32::try_from(tokenizer.vocab_size()).unwrap_or(u32::MAX);
        Self {
            vocabulary: ids.map(|id| tokenizer.id_to_token(id)).collect(),
            probe: tokenizer
                .encode_plain(PROBE)
                .ok()
                .map(|encoding| encoding.ids),
        }
    }
}
