//! What each command puts into `run.json` under `results`.
//!
//! Field names are the keys of the file. A key that is not there reads as nothing, so that folders of older
//! versions can be read; a key of another kind is an error. Numbers that are not finite are `null`.

mod attention;
mod scores;

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use attention::{
    AveragePattern, BestAntecedents, CacheUse, CorefCounts, CorefResults, GradientPatterns,
    OffsetScore, PatternsResults, ProbeAccount, ProbeResults, ProbeScore, RelationCounts,
    RelationHead, RelationResult, Score, SyntaxAxes, SyntaxCounts, SyntaxResults, TextCounts,
    UasScore, UnknownWords,
};
pub use scores::{
    AblateResults, AblatedHead, CheckpointReport, CheckpointWritten, ComparedResults,
    EvaluateResults, Evaluation, ExtractCounts, ExtractResults, ImportanceResults, MaskResults,
    MaskStep, OrderCurve, PairedChange, PruneResults, Sizes, Timing, WeightsSize,
};

/// The results of a command.
pub trait Results: Serialize + DeserializeOwned {
    /// The command.
    const COMMAND: &'static str;
}

/// A number per head, layer by layer; none where a head has none.
pub type Grid = Vec<Vec<Option<f64>>>;

/// A number that JSON can hold.
#[must_use]
pub fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// Values under names, in an order that means something.
#[derive(Debug, Clone, PartialEq)]
pub struct Named<T>(pub Vec<(String, T)>);

/// Metrics by name; none where one is not a number.
pub type Metrics = Named<Option<f64>>;

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T, N: Into<String>> FromIterator<(N, T)> for Named<T> {
    fn from_iter<I: IntoIterator<Item = (N, T)>>(all: I) -> Self {
        Self(
            all.into_iter()
                .map(|(name, value)| (name.into(), value))
                .collect(),
        )
    }
}

impl<T> Named<T> {
    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&T> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value)
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a name, put in behind the others if there is none.
    pub fn entry(&mut self, name: &str) -> &mut T
    where
        T: Default,
    {
        let place = self.0.iter().position(|(other, _)| other == name);
        let at = place.unwrap_or_else(|| {
            self.0.push((name.to_owned(), T::default()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }
}

impl<T: Serialize> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder(PhantomData))
    }
}

struct InOrder<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for InOrder<T> {
    type Value = Named<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(entry) = map.next_entry()? {
            all.push(entry);
        }
        Ok(Named(all))
    }
}

/// Structs of `run.json`: what is not there is nothing.
macro_rules! document {
    ($(
        $(#[$about:meta])*
        struct $name:ident {
            $($(#[$means:meta])* $field:ident: $kind:ty,)+
        }
    )+) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name {
            $($(#[$means])* pub $field: $kind,)+
        }
    )+};
}

macro_rules! results_of {
    ($($name:ident: $command:literal),+) => {$(
        impl $crate::results::Results for $name {
            const COMMAND: &'static str = $command;
        }
    )+};
}

pub(crate) use {document, results_of};

document! {
    /// What runs of most commands have, whichever command it was.
    struct Summary {
        /// Of the whole model.
        evaluation: Option<Evaluation>,
        /// Of the model before pruning.
        evaluation_before: Option<Evaluation>,
        /// Of the model after pruning.
        evaluation_after: Option<Evaluation>,
        /// What was read.
        counts: Option<Counted>,
        /// Tokens, of clusters.
        tokens: Option<u64>,
        /// Of a masking search.
        heads_left: Option<u64>,
        /// Of a masking search.
        score_after: Option<f64>,
    }

    /// What was read, in whatever a command counts.
    struct Counted {
        /// Texts of an extraction.
        examples: Option<u64>,
        /// Texts.
        sequences: Option<u64>,
        /// Of a treebank.
        sentences: Option<u64>,
        /// Of a treebank with coreference.
        documents: Option<u64>,
        /// Of code.
        functions: Option<u64>,
        /// The model's.
        tokens: Option<u64>,
        /// Of a treebank.
        words: Option<u64>,
    }
}
