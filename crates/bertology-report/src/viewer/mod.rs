//! The attention viewer: one text or several, every head that was asked for, in one file.
//!
//! ```
//! use bertology_report::viewer::{Facts, LayerHeads, MapForm, Maps, Text, Token, Viewer};
//!
//! # fn main() -> Result<(), bertology_report::Error> {
//! let token = |text: &str| Token { text: text.into(), piece: text.into(), ..Token::default() };
//! let facts = Facts {
//!     name: "toy".into(),
//!     family: "BERT".into(),
//!     layers: 1,
//!     heads: 2,
//!     ..Facts::default()
//! };
//! let shown = LayerHeads { layer: 0, heads: vec![0, 1], score_scale: 1.0 };
//! let mut viewer = Viewer::new(facts, vec![shown]);
//! let form = MapForm::choose(2, false, 2, 1 << 20)?;
//! let mut maps = Maps::new(2, false, form);
//! maps.push(&[0.25, 0.75, 1.0, 0.0])?; // head 0, [query, key]
//! maps.push(&[0.5, 0.5, 0.5, 0.5])?;
//! let mut text = Text::new(vec!["<b>&".into()], vec![token("<b>"), token("&")]);
//! text.add_maps(0, &maps)?;
//! viewer.push(text)?;
//! let html = viewer.render()?;
//! assert!(html.starts_with("<!doctype html>"));
//! # Ok(())
//! # }
//! ```

mod maps;
mod start;
mod text;
mod vectors;

use serde::Serialize;

pub use maps::{FEWEST, Loss, MapForm, Maps};
pub use start::{Focus, Start};
pub use text::Text;
pub use vectors::Vectors;

use crate::Error;
use crate::page::{Packed, Page};

/// The page without its numbers.
pub const TEMPLATE: &str = include_str!("../../pages/viewer.html");

/// What is said of the model.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// Its hub id, or the last part of its folder: pages are handed on, and paths say more than they should.
    pub name: String,
    /// BERT, GPT-2 and so on.
    pub family: String,
    /// Whether a token sees only itself and those before it.
    pub causal: bool,
    /// Layers of the model.
    pub layers: usize,
    /// Heads of a layer of the unpruned model.
    pub heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Heads that were pruned away, as (layer, head).
    pub pruned: Vec<(usize, usize)>,
}

/// One token of the text.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// What is shown.
    pub text: String,
    /// What the vocabulary calls it.
    pub piece: String,
    /// Row of the embedding.
    pub id: u32,
    /// Put there by the tokenizer (`[CLS]`, `[SEP]`, `<s>`).
    pub special: bool,
    /// 0 or 1: the first or the second text; special tokens belong to the text that they close.
    pub sequence: u8,
    /// Number of the word within its text.
    pub word: Option<u32>,
}

/// A layer and those of its heads that are shown.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerHeads {
    /// Zero-based.
    pub layer: usize,
    /// Zero-based, ascending, as the unpruned model numbers them.
    pub heads: Vec<usize>,
    /// What `query · key` is multiplied with to give the score.
    pub score_scale: f64,
}

/// A number for every head, from a study.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Importance {
    /// Where the numbers are from.
    pub source: String,
    /// Row-major `[layers, heads]`.
    pub values: Vec<f64>,
}

/// What a prediction consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PredictionKind {
    /// Probabilities of classes that exclude each other.
    Classes,
    /// Probabilities of classes, each for itself.
    Labels,
    /// Outputs that are no probabilities.
    Values,
    /// Probabilities of tokens at one position.
    Tokens,
}

/// What the model says, and what it says without each head.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Prediction {
    /// What is predicted, for people.
    pub name: String,
    /// How the values are read.
    pub kind: PredictionKind,
    /// The token at which it is read.
    pub position: Option<usize>,
    /// What each value belongs to.
    pub labels: Vec<String>,
    /// The heads that were left out in turn.
    pub heads: Vec<(usize, usize)>,
    /// `[1 + heads, labels]`: of the whole model, then without each head.
    #[serde(skip)]
    pub values: Vec<f32>,
    /// `[heads]`: how far each head's absence moves the whole distribution. Kullback–Leibler divergence of
    /// the changed from the whole prediction in nats, summed over labels that stand for themselves; the
    /// largest change of an output where there are no probabilities.
    #[serde(skip)]
    pub effects: Vec<f32>,
}

/// Everything that a page shows.
#[derive(Debug, Clone)]
pub struct Viewer {
    facts: Facts,
    layers: Vec<LayerHeads>,
    /// Importance of heads.
    pub importance: Option<Importance>,
    /// The head that the page opens with; without it the first that is shown.
    pub start: Option<Start>,
    texts: Vec<Text>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    page: &'static str,
    version: u32,
    generator: &'static str,
    model: &'a Facts,
    layers: &'a [LayerHeads],
    importance: Option<&'a Importance>,
    start: Option<&'a Start>,
    texts: &'a [Text],
}

impl Viewer {
    /// A page about a model, with nothing to show yet of these heads: all texts show the same.
    #[must_use]
    pub fn new(facts: Facts, layers: Vec<LayerHeads>) -> Self {
        Self {
            facts,
            layers,
            importance: None,
            start: None,
            texts: Vec::new(),
        }
    }

    /// Adds a text, behind those before it.
    ///
    /// # Errors
    /// Maps of other layers, or of another number of heads, than the page shows.
    pub fn push(&mut self, text: Text) -> Result<(), Error> {
        let expected = self
            .layers
            .iter()
            .map(|shown| (shown.layer, shown.heads.len()));
        text.check(expected)?;
        self.texts.push(text);
        Ok(())
    }

    /// The texts, in order.
    #[must_use]
    pub fn texts(&self) -> &[Text] {
        &self.texts
    }

    /// Adds the queries and keys of a layer to a text.
    ///
    /// # Errors
    /// No such text, and as [`Text::add_vectors`].
    pub fn add_vectors(&mut self, text: usize, layer: usize, packed: Packed) -> Result<(), Error> {
        let count = self.texts.len();
        let text = self.texts.get_mut(text).ok_or(Error::Count {
            what: format!("texts, of which number {text} is given queries and keys"),
            expected: text + 1,
            found: count,
        })?;
        text.add_vectors(layer, packed)
    }

    /// Bytes of the page, but for what is written of its texts.
    #[must_use]
    pub fn size(&self) -> usize {
        TEMPLATE.len() + self.texts.iter().map(Text::size).sum::<usize>()
    }

    /// What the storage of the weights of all texts lost.
    #[must_use]
    pub fn loss(&self) -> Loss {
        let mut loss = Loss::default();
        for text in &self.texts {
            loss.add(text.loss());
        }
        loss
    }

    /// The text of the file.
    ///
    /// # Errors
    /// No text; numbers that do not fit each other, or are none.
    pub fn render(&self) -> Result<String, Error> {
        if self.texts.is_empty() {
            return Err(Error::Count {
                what: "texts of a page".into(),
                expected: 1,
                found: 0,
            });
        }
        if let Some(importance) = &self.importance {
            count(
                "importance of heads",
                self.facts.layers * self.facts.heads,
                importance.values.len(),
            )?;
            if importance.values.iter().any(|value| !value.is_finite()) {
                return Err(Error::NotFinite {
                    what: "the importance of a head".into(),
                });
            }
        }
        let document = Document {
            page: "viewer",
            version: 2,
            generator: concat!("bertology ", env!("CARGO_PKG_VERSION")),
            model: &self.facts,
            layers: &self.layers,
            importance: self.importance.as_ref(),
            start: self.start.as_ref(),
            texts: &self.texts,
        };
        let title = format!("Attention of {}", self.facts.name);
        let mut page = Page::new(TEMPLATE, &title, &document)?;
        for (at, text) in self.texts.iter().enumerate() {
            for (name, packed) in text.arrays(at)? {
                page = page.array(name, packed);
            }
        }
        Ok(page.render())
    }
}

fn count(what: &str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Count {
        what: what.to_owned(),
        expected,
        found,
    })
}
