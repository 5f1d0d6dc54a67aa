//! One text, or a pair of texts: its tokens, its maps, and what the model says of it.

use serde::{Serialize, Serializer};

use super::{Loss, MapForm, Maps, Prediction, Token, count};
use crate::Error;
use crate::page::Packed;

/// What a page shows of one text, or of a pair. The weights lie in arrays of their own, which the page unpacks when
/// the text is looked at.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Text {
    texts: Vec<String>,
    tokens: Vec<Token>,
    /// Tokens that were cut off.
    pub truncated: usize,
    /// Predictions with heads left out.
    pub predictions: Vec<Prediction>,
    /// What else the reader should know, a sentence each.
    pub notes: Vec<String>,
    #[serde(skip)]
    maps: Vec<(usize, usize, Packed)>,
    #[serde(serialize_with = "layers")]
    vectors: Vec<(usize, Packed)>,
    #[serde(rename = "maps")]
    stored: Stored,
}

#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    #[serde(serialize_with = "kept")]
    kept: Option<MapForm>,
    #[serde(flatten)]
    loss: Loss,
}

fn kept<S: Serializer>(form: &Option<MapForm>, to: S) -> Result<S::Ok, S::Error> {
    form.and_then(MapForm::kept).serialize(to)
}

fn layers<S: Serializer>(vectors: &[(usize, Packed)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(vectors.iter().map(|(layer, _)| layer))
}

impl Text {
    /// A text, or two that make a pair, and its tokens, special ones included; no maps yet.
    #[must_use]
    pub fn new(texts: Vec<String>, tokens: Vec<Token>) -> Self {
        Self {
            texts,
            tokens,
            truncated: 0,
            predictions: Vec::new(),
            notes: Vec::new(),
            maps: Vec::new(),
            vectors: Vec::new(),
            stored: Stored::default(),
        }
    }

    /// The tokens, special ones included.
    #[must_use]
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Which weights are kept; nothing before there are maps.
    #[must_use]
    pub fn form(&self) -> Option<MapForm> {
        self.stored.kept
    }

    /// What the storage of the weights lost.
    #[must_use]
    pub fn loss(&self) -> &Loss {
        &self.stored.loss
    }

    /// Adds the maps of a layer, in the order of its heads. All layers of a text are stored in one form.
    ///
    /// # Errors
    /// Maps of another form than those before.
    pub fn add_maps(&mut self, layer: usize, maps: &Maps) -> Result<(), Error> {
        let form = *self.stored.kept.get_or_insert(maps.form());
        if form != maps.form() {
            return Err(Error::Count {
                what: format!("weights kept of each row in the attention maps of layer {layer}"),
                expected: form.kept().unwrap_or(usize::MAX),
                found: maps.form().kept().unwrap_or(usize::MAX),
            });
        }
        self.stored.loss.add(maps.loss());
        self.maps.push((layer, maps.len(), maps.pack()));
        Ok(())
    }

    /// Adds the queries and keys of a layer that was added.
    ///
    /// # Errors
    /// A layer without maps.
    pub fn add_vectors(&mut self, layer: usize, packed: Packed) -> Result<(), Error> {
        if !self.maps.iter().any(|(shown, ..)| *shown == layer) {
            return Err(Error::Count {
                what: format!("maps of layer {layer}, whose queries and keys are given"),
                expected: 1,
                found: 0,
            });
        }
        self.vectors.push((layer, packed));
        Ok(())
    }

    /// Refuses other maps than these, as layer and number of heads.
    pub(super) fn check(
        &self,
        expected: impl Iterator<Item = (usize, usize)>,
    ) -> Result<(), Error> {
        let expected: Vec<_> = expected.collect();
        count(
            "layers with attention maps",
            expected.len(),
            self.maps.len(),
        )?;
        for ((layer, heads), (found, maps, _)) in expected.into_iter().zip(&self.maps) {
            count("layer of these attention maps", layer, *found)?;
            count(&format!("attention maps of layer {layer}"), heads, *maps)?;
        }
        Ok(())
    }

    /// Bytes of its arrays.
    pub(super) fn size(&self) -> usize {
        let maps = self.maps.iter().map(|(.., packed)| packed.size());
        let vectors = self.vectors.iter().map(|(_, packed)| packed.size());
        let predictions = self.predictions.iter().map(|p| p.values.len() * 5);
        maps.chain(vectors).chain(predictions).sum()
    }

    /// Its arrays under the names that the page looks for; `at` is its number.
    pub(super) fn arrays(&self, at: usize) -> Result<Vec<(String, Packed)>, Error> {
        let maps = self.maps.iter();
        let maps = maps.map(|(layer, _, packed)| (format!("maps.{at}.{layer}"), packed.clone()));
        let vectors = self.vectors.iter();
        let vectors =
            vectors.map(|(layer, packed)| (format!("vectors.{at}.{layer}"), packed.clone()));
        let mut arrays: Vec<_> = maps.chain(vectors).collect();
        for (which, prediction) in self.predictions.iter().enumerate() {
            let heads = prediction.heads.len();
            let expected = (1 + heads) * prediction.labels.len();
            count(&prediction.name, expected, prediction.values.len())?;
            count(&prediction.name, heads, prediction.effects.len())?;
            let numbers = prediction.values.iter().chain(&prediction.effects);
            let bytes: Vec<u8> = numbers.flat_map(|value| value.to_le_bytes()).collect();
            arrays.push((format!("prediction.{at}.{which}"), Packed::new(&bytes)));
        }
        Ok(arrays)
    }
}
