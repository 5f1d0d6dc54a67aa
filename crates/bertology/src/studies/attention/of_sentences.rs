//! A study of texts on the sentences of a treebank, so that it can share a pass with a study of their words.

use std::ops::Range;

use bertology_model::reduction::{Reduction, Table};
use bertology_model::{Event, HeadId, Sequence, SequenceOutput};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::drive::{Contribution, Lens, Study, Wants};
use crate::input::passages::TextItem;
use crate::input::supply::Fate;
use crate::input::treebank::SentenceItem;
use crate::watch::Purpose;

/// A study, or its lens, that takes sentences for texts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(bound = "S: Serialize + DeserializeOwned", transparent)]
pub struct OfSentences<S>(pub S);

impl<L: Lens<Item = TextItem>> Lens for OfSentences<L> {
    type Item = SentenceItem;
    type Part = L::Part;

    fn wants(&self) -> Wants<'_> {
        self.0.wants()
    }

    fn begin(&self, item: &SentenceItem, sequence: &Sequence) -> Result<L::Part, Error> {
        self.0.begin(&item.text, sequence)
    }

    fn see(&self, item: &SentenceItem, part: &mut L::Part, event: &Event<'_, f32>) {
        self.0.see(&item.text, part, event);
    }

    fn tables(&self) -> usize {
        self.0.tables()
    }

    fn reductions(&self, item: &SentenceItem, part: &L::Part) -> Vec<Reduction> {
        self.0.reductions(&item.text, part)
    }

    fn see_table(&self, item: &SentenceItem, part: &mut L::Part, table: &Table<'_, f32>) {
        self.0.see_table(&item.text, part, table);
    }

    fn output(
        &self,
        item: &SentenceItem,
        part: &mut L::Part,
        without: Option<HeadId>,
        output: &SequenceOutput<f32>,
    ) -> Result<(), Error> {
        self.0.output(&item.text, part, without, output)
    }

    fn close(&self, item: &SentenceItem, part: &mut L::Part) -> Result<(), Error> {
        self.0.close(&item.text, part)
    }

    fn bytes(&self, tokens: u64) -> u64 {
        self.0.bytes(tokens)
    }
}

impl<S: Study<Lens: Lens<Item = TextItem>>> Study for OfSentences<S> {
    type Lens = OfSentences<S::Lens>;
    type Found = S::Found;

    const PURPOSE: Purpose = S::PURPOSE;

    fn lens(&self) -> Self::Lens {
        OfSentences(self.0.lens())
    }

    fn empty(&self) -> Self {
        Self(self.0.empty())
    }

    fn chunk(&self, wanted: u64) -> u64 {
        self.0.chunk(wanted)
    }

    fn agrees(&self, fresh: &Self) -> Result<(), Error> {
        self.0.agrees(&fresh.0)
    }

    fn covers(&self, units: Range<u64>) -> Result<(), Error> {
        self.0.covers(units)
    }

    fn add(&mut self, fate: Fate<Contribution<'_, Self>>) -> Result<(), Error> {
        self.0.add(match fate {
            Fate::LeftOut(why) => Fate::LeftOut(why),
            Fate::Studied(Contribution { item, part, tokens }) => Fate::Studied(Contribution {
                item: &item.text,
                part,
                tokens,
            }),
        })
    }

    fn adopt(&mut self, fresh: &Self) -> bool {
        self.0.adopt(&fresh.0)
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.0.flush()
    }

    fn close_chunk(&mut self) -> Result<(), Error> {
        self.0.close_chunk()
    }

    fn merge(&mut self, next: Self) -> Result<(), Error> {
        self.0.merge(next.0)
    }

    fn finish(&self) -> Result<S::Found, Error> {
        self.0.finish()
    }
}
