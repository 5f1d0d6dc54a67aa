//! Sentences with their attention: from the model, or from the cache where they are there.

use std::collections::BTreeMap;
use std::path::Path;

use bertology::attention::{
    Fate, LeftOut, Passage, RowMode, SentenceItem, SentencePassages, Supply, Units, WordMap, Words,
};
use bertology::data::conllu::Word;
use bertology::drive::{Lens, Wants, Work};
use bertology::model::{Event, Interests, LayerSite};
use bertology::{HeadId, LoadedModel, Sequence, Watch, watch};
use serde::{Deserialize, Serialize};

use crate::handover::{Arrived, Ended, Handed, hand_over};
use crate::{Error, Features, Layout, MapCache, Precision};

/// What the probes need to know of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// The words among the units of the sequence.
    pub words: Words,
    /// The sequence's token ids.
    pub ids: Vec<u32>,
    /// The words as they are written.
    pub forms: Vec<String>,
    /// Head of each word: 0 for ROOT, else the word's number from 1.
    pub heads: Vec<u32>,
    /// Which words are punctuation.
    pub punct: Vec<bool>,
}

/// What was read of a treebank.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Sentences that were used.
    pub sentences: u64,
    /// Sentences of more tokens than the model may see.
    pub too_long: u64,
    /// Sentences that give no sequence for another reason.
    pub left_out: u64,
    /// Words of the sentences that were used.
    pub words: u64,
    /// Of these, words without any token: no attention is known of them.
    pub without_tokens: u64,
    /// Sentences with such a word.
    pub sentences_without_tokens: u64,
}

/// A model and how its maps are read.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) model: &'a LoadedModel,
    maps_of: Maps,
    pub(crate) work: Work,
    causal: bool,
    /// Whether maps are wanted at all.
    pub(crate) maps: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(
        model: &'a LoadedModel,
        rows: RowMode,
        precision: Precision,
        work: Work,
        maps: bool,
    ) -> Self {
        let heads = model.model().heads().enumerate();
        Self {
            model,
            maps_of: Maps {
                heads: heads.map(|(at, head)| (head, at)).collect(),
                rows,
                precision,
            },
            work,
            causal: model.architecture().causal,
            maps,
        }
    }

    /// The heads of the model in the order of the channels.
    pub(crate) fn heads(&self) -> impl Iterator<Item = HeadId> {
        self.maps_of.heads.keys().copied()
    }

    /// Twice the heads.
    pub(crate) fn channels(&self) -> usize {
        2 * self.maps_of.heads.len()
    }

    /// Pieces of evidence for ROOT: the first and the last column, of a causal model the first alone.
    pub(crate) fn roots(&self) -> usize {
        if self.causal { 1 } else { 2 }
    }

    pub(crate) fn features(&self, sentence: &Sentence, maps: &[f32]) -> Result<Features, Error> {
        let words = &sentence.words;
        let last = words.units().saturating_sub(1);
        let layout = Layout {
            units: words.units(),
            words: words
                .words()
                .enumerate()
                .map(|(word, unit)| words.has_tokens(word).then_some(unit))
                .collect(),
            roots: if self.causal { vec![0] } else { vec![0, last] },
        };
        Features::from_maps(maps, self.maps_of.heads.len(), &layout)
    }

    /// Hands every sentence of a treebank over, in order, with its maps `[head, unit, unit]`.
    pub(crate) fn pass<P, F>(
        &self,
        supply: &P,
        mut cache: Option<&mut MapCache>,
        watch: &mut dyn Watch,
        mut each: F,
    ) -> Result<Account, Error>
    where
        P: Supply<Item = Sentence>,
        F: FnMut(usize, &Sentence, &[f32]) -> Result<(), Error>,
    {
        let mut account = Account::default();
        let mut done = 0;
        let total = supply.total();
        let kept = match &cache {
            // Without a model there is nothing to keep or to wait for.
            _ if !self.maps => usize::try_from(total).unwrap_or(usize::MAX),
            Some(cache) => cache.len(),
            None => 0,
        };
        if kept > 0 {
            watch.begin(watch::Purpose::Attention, 0, total);
            for raw in supply.open(0)?.take(kept) {
                let values = match &mut cache {
                    Some(cache) if self.maps => cache.get(done)?.unwrap_or_default(),
                    _ => Vec::new(),
                };
                let raw = raw?;
                let line = supply.line(&raw);
                let fate = supply
                    .prepare(raw)
                    .map_err(|error| bertology::Error::Example {
                        path: supply.path().to_owned(),
                        line,
                        source: Box::new(error),
                    })?;
                match fate {
                    Fate::Studied(passages) => {
                        for passage in passages {
                            account.add(&passage.item);
                            each(done, &passage.item, &values)?;
                        }
                    }
                    Fate::LeftOut(why) => account.leave_out(why),
                }
                done += 1;
                if watch.advance(done as u64, total).is_break() {
                    return Err(interrupted(done, total));
                }
            }
        }
        if (done as u64) < total {
            self.ask_model(supply, cache, watch, done, &mut account, &mut each)?;
        }
        Ok(account)
    }

    fn ask_model<P, F>(
        &self,
        supply: &P,
        mut cache: Option<&mut MapCache>,
        watch: &mut dyn Watch,
        mut done: usize,
        account: &mut Account,
        each: &mut F,
    ) -> Result<(), Error>
    where
        P: Supply<Item = Sentence>,
        F: FnMut(usize, &Sentence, &[f32]) -> Result<(), Error>,
    {
        let (maps, begun) = (&self.maps_of, done as u64);
        let mut take = |arrived: Vec<Arrived<Maps>>| {
            for fate in arrived {
                let mut values = Vec::new();
                match fate {
                    Fate::Studied((sentence, maps)) => {
                        values = maps;
                        account.add(&sentence);
                        each(done, &sentence, &values)?;
                    }
                    Fate::LeftOut(why) => account.leave_out(why),
                }
                if let Some(cache) = &mut cache {
                    cache.put(done, &values);
                }
                done += 1;
            }
            match &mut cache {
                Some(cache) => cache.commit(),
                None => Ok(()),
            }
        };
        let ended = hand_over(
            self.model, supply, maps, begun, &self.work, watch, &mut take,
        );
        let flushed = match cache {
            Some(cache) => cache.flush(),
            None => Ok(()),
        };
        let ended = ended?;
        flushed?;
        match ended {
            Ended::Whole => Ok(()),
            Ended::Interrupted { total } => Err(interrupted(done, total)),
        }
    }
}

fn interrupted(done: usize, total: u64) -> Error {
    Error::Interrupted {
        sentences: done,
        total: usize::try_from(total).unwrap_or(usize::MAX),
    }
}

impl Account {
    fn add(&mut self, sentence: &Sentence) {
        let words = &sentence.words;
        let without = (0..words.len())
            .filter(|word| !words.has_tokens(*word))
            .count();
        self.sentences += 1;
        self.words += words.len() as u64;
        self.without_tokens += without as u64;
        self.sentences_without_tokens += u64::from(without > 0);
    }

    fn leave_out(&mut self, why: LeftOut) {
        match why {
            LeftOut::TooLong { .. } => self.too_long += 1,
            _ => self.left_out += 1,
        }
    }
}

/// Word maps of a sequence, `[head, unit, unit]`.
#[derive(Debug, Clone, Default)]
struct Maps {
    /// Where each head's map is among the channels.
    heads: BTreeMap<HeadId, usize>,
    rows: RowMode,
    precision: Precision,
}

impl Handed for Maps {
    const PURPOSE: watch::Purpose = watch::Purpose::Attention;
}

impl Lens for Maps {
    type Item = Sentence;
    type Part = Vec<f32>;

    fn wants(&self) -> Wants<'_> {
        Wants::sites(Interests::none().value(LayerSite::AttentionProbs))
    }

    fn begin(&self, sentence: &Sentence, _: &Sequence) -> Result<Vec<f32>, bertology::Error> {
        Ok(vec![0.0; self.heads.len() * sentence.words.units().pow(2)])
    }

    fn see(&self, sentence: &Sentence, part: &mut Vec<f32>, event: &Event<'_, f32>) {
        let head = event.head_id();
        let Some(at) = head.and_then(|head| self.heads.get(&head)) else {
            return;
        };
        let units = sentence.words.units();
        let map = WordMap::new(event.value, &sentence.words, self.rows);
        let room = &mut part[at * units * units..(at + 1) * units * units];
        for (unit, row) in room.chunks_exact_mut(units).enumerate() {
            for (to, value) in row.iter_mut().zip(map.row(unit)) {
                *to = *value as f32;
            }
        }
    }

    fn close(&self, _: &Sentence, part: &mut Vec<f32>) -> Result<(), bertology::Error> {
        self.precision.round(part);
        Ok(())
    }
}

/// The sentences of a treebank as the probes take them.
#[derive(Debug)]
pub struct Sentences(SentencePassages);

impl Sentences {
    /// Of these sequences.
    #[must_use]
    pub fn new(passages: SentencePassages) -> Self {
        Self(passages)
    }

    /// The sequences.
    #[must_use]
    pub fn passages(&self) -> &SentencePassages {
        &self.0
    }
}

/// What the probes need to know of it.
fn passage(passage: Passage<SentenceItem>) -> Passage<Sentence> {
    let SentenceItem {
        sentence, words, ..
    } = passage.item;
    Passage {
        target: passage.target,
        item: Sentence {
            words,
            ids: passage.sequence.ids.clone(),
            heads: sentence
                .words
                .iter()
                // Sentences are far shorter than 2³².
                .map(|word| word.head.map_or(0, |head| head as u32 + 1))
                .collect(),
            punct: sentence.words.iter().map(Word::is_punctuation).collect(),
            forms: sentence.words.into_iter().map(|word| word.form).collect(),
        },
        sequence: passage.sequence,
    }
}

impl Supply for Sentences {
    type Raw = <SentencePassages as Supply>::Raw;
    type Item = Sentence;

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn total(&self) -> u64 {
        self.0.total()
    }

    fn open(&self, first: u64) -> Result<Units<'_, Self::Raw>, bertology::Error> {
        self.0.open(first)
    }

    fn size(&self, raw: &Self::Raw) -> usize {
        self.0.size(raw)
    }

    fn line(&self, raw: &Self::Raw) -> u64 {
        self.0.line(raw)
    }

    fn prepare(&self, raw: Self::Raw) -> Result<Fate<Vec<Passage<Sentence>>>, bertology::Error> {
        Ok(match self.0.prepare(raw)? {
            Fate::LeftOut(why) => Fate::LeftOut(why),
            Fate::Studied(passages) => Fate::Studied(passages.into_iter().map(passage).collect()),
        })
    }
}
