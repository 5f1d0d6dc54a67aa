//! The attention viewer: one text, every head that was asked for, in one file.
//!
//! ```
//! use bertology_report::viewer::{Facts, LayerHeads, MapForm, Maps, Token, Viewer};
//!
//! # fn main() -> Result<(), bertology_report::Error> {
//! let token = |text: &str| Token { text: text.into(), piece: text.into(), ..Token::default() };
//! let mut viewer = Viewer::new(Facts {
//!     name: "toy".into(),
//!     family: "BERT".into(),
//!     layers: 1,
//!     heads: 2,
//!     ..Facts::default()
//! });
//! viewer.tokens = vec![token("<b>"), token("&")];
//! let shown = LayerHeads { layer: 0, heads: vec![0, 1], score_scale: 1.0 };
//! let form = MapForm::choose(2, false, 2, 1 << 20)?;
//! let mut maps = Maps::new(2, false, form);
//! maps.push(&[0.25, 0.75, 1.0, 0.0])?; // head 0, [query, key]
//! maps.push(&[0.5, 0.5, 0.5, 0.5])?;
//! viewer.add_layer(shown, maps)?;
//! let html = viewer.render()?;
//! assert!(html.starts_with("<!doctype html>"));
//! # Ok(())
//! # }
//! ```

mod maps;
mod vectors;

use serde::Serialize;

pub use maps::{FEWEST, Loss, MapForm, Maps};
pub use vectors::Vectors;

use crate::Error;
use crate::page::{Packed, Page};

/// The page without its numbers.
pub const TEMPLATE: &str = include_str!("../../pages/viewer.html");

/// What is said of the model.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// As the user named it.
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
    /// The texts, one or two.
    pub texts: Vec<String>,
    /// The tokens, special ones included.
    pub tokens: Vec<Token>,
    /// Tokens that were cut off.
    pub truncated: usize,
    /// Importance of heads.
    pub importance: Option<Importance>,
    /// Predictions with heads left out.
    pub predictions: Vec<Prediction>,
    /// What else the reader should know, a sentence each.
    pub notes: Vec<String>,
    layers: Vec<LayerHeads>,
    maps: Vec<(usize, Packed)>,
    form: Option<MapForm>,
    loss: Loss,
    vectors: Vec<(usize, Packed)>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    page: &'static str,
    version: u32,
    generator: &'static str,
    model: &'a Facts,
    texts: &'a [String],
    tokens: &'a [Token],
    truncated: usize,
    layers: &'a [LayerHeads],
    maps: MapsDocument<'a>,
    vectors: Vec<usize>,
    importance: Option<&'a Importance>,
    predictions: &'a [Prediction],
    notes: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MapsDocument<'a> {
    kept: Option<usize>,
    #[serde(flatten)]
    loss: &'a Loss,
}

impl Viewer {
    /// A page about a model, with nothing to show yet.
    #[must_use]
    pub fn new(facts: Facts) -> Self {
        Self {
            facts,
            texts: Vec::new(),
            tokens: Vec::new(),
            truncated: 0,
            importance: None,
            predictions: Vec::new(),
            notes: Vec::new(),
            layers: Vec::new(),
            maps: Vec::new(),
            form: None,
            loss: Loss::default(),
            vectors: Vec::new(),
        }
    }

    /// Adds the maps of a layer, in the order of its heads. All layers are stored in one form.
    ///
    /// # Errors
    /// Maps of another number than the heads, or of another form than those before.
    pub fn add_layer(&mut self, shown: LayerHeads, maps: Maps) -> Result<(), Error> {
        let what = || format!("attention maps of layer {}", shown.layer);
        if maps.len() != shown.heads.len() {
            return Err(Error::Count {
                what: what(),
                expected: shown.heads.len(),
                found: maps.len(),
            });
        }
        let form = *self.form.get_or_insert(maps.form());
        if form != maps.form() {
            return Err(Error::Count {
                what: format!("weights kept of each row in the {}", what()),
                expected: form.kept().unwrap_or(usize::MAX),
                found: maps.form().kept().unwrap_or(usize::MAX),
            });
        }
        self.loss.add(maps.loss());
        self.maps.push((shown.layer, maps.pack()));
        self.layers.push(shown);
        Ok(())
    }

    /// Adds the queries and keys of a layer that was added.
    ///
    /// # Errors
    /// Vectors of another number than the layer's heads.
    pub fn add_vectors(&mut self, layer: usize, packed: Packed) -> Result<(), Error> {
        if !self.layers.iter().any(|shown| shown.layer == layer) {
            return Err(Error::Count {
                what: format!("maps of layer {layer}, whose queries and keys are given"),
                expected: 1,
                found: 0,
            });
        }
        self.vectors.push((layer, packed));
        Ok(())
    }

    /// Bytes of the page but for its texts.
    #[must_use]
    pub fn size(&self) -> usize {
        let arrays = self.maps.iter().chain(&self.vectors);
        let predictions: usize = self.predictions.iter().map(|p| p.values.len() * 5).sum();
        TEMPLATE.len() + arrays.map(|(_, packed)| packed.size()).sum::<usize>() + predictions
    }

    /// What the storage of the weights lost.
    #[must_use]
    pub fn loss(&self) -> &Loss {
        &self.loss
    }

    /// The text of the file.
    ///
    /// # Errors
    /// Numbers that do not fit each other, or are none.
    pub fn render(&self) -> Result<String, Error> {
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
            version: 1,
            generator: concat!("bertology ", env!("CARGO_PKG_VERSION")),
            model: &self.facts,
            texts: &self.texts,
            tokens: &self.tokens,
            truncated: self.truncated,
            layers: &self.layers,
            maps: MapsDocument {
                kept: self.form.and_then(MapForm::kept),
                loss: &self.loss,
            },
            vectors: self.vectors.iter().map(|(layer, _)| *layer).collect(),
            importance: self.importance.as_ref(),
            predictions: &self.predictions,
            notes: &self.notes,
        };
        let title = format!("Attention of {}", self.facts.name);
        let mut page = Page::new(TEMPLATE, &title, &document)?;
        for (layer, packed) in &self.maps {
            page = page.array(format!("maps.{layer}"), packed.clone());
        }
        for (layer, packed) in &self.vectors {
            page = page.array(format!("vectors.{layer}"), packed.clone());
        }
        for (at, prediction) in self.predictions.iter().enumerate() {
            let heads = prediction.heads.len();
            let expected = (1 + heads) * prediction.labels.len();
            count(&prediction.name, expected, prediction.values.len())?;
            count(&prediction.name, heads, prediction.effects.len())?;
            let numbers = prediction.values.iter().chain(&prediction.effects);
            let bytes: Vec<u8> = numbers.flat_map(|value| value.to_le_bytes()).collect();
            page = page.array(format!("prediction.{at}"), Packed::new(&bytes));
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
