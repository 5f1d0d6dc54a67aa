//! The first reading: everything is checked and counted, nothing is written.

use std::io;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::Arc;

use bertology_data::{DatasetInfo, Example, Mark};
use bertology_store::{npz, shard, space};

use super::layout::{Layout, Sizes};
use super::texts::{Item, ItemMaker, Reading, Texts};
use super::{ExtractError, ExtractOptions, Format, Request};
use crate::drive::{Work, each};
use crate::input::account::TextCounts;
use crate::input::marks::Marks;
use crate::input::supply::{Fate, Passage, Supply, Units, after};
use crate::watch::Purpose;
use crate::{Error, LoadedModel, Watch};

/// Tokens counted at once by a worker.
const COUNTED_TOKENS: u64 = 4096;

/// A corpus, a model, and what shall be written: counted, checked, ready.
#[derive(Debug, Clone)]
pub struct Extraction {
    pub(super) model: LoadedModel,
    pub(super) texts: Texts,
    pub(super) options: ExtractOptions,
    pub(super) maker: ItemMaker,
    pub(super) layout: Arc<Layout>,
    pub(super) shards: Vec<Sizes>,
    pub(super) counts: TextCounts,
    info: Option<DatasetInfo>,
    /// Places to go on from, by examples.
    marks: Marks<Mark>,
}

/// Examples with their places, about a batch at a time, to be counted.
struct Jobs<'a> {
    reading: &'a mut Reading,
    next: u64,
    marks: &'a mut Marks<Mark>,
}

impl Iterator for Jobs<'_> {
    /// With the bytes of the file read so far.
    type Item = Result<(Vec<(u64, Example)>, u64), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut examples = Vec::new();
        let mut tokens = 0;
        while tokens < COUNTED_TOKENS {
            match self.reading.next() {
                None => break,
                Some(Err(error)) => return Some(Err(error)),
                Some(Ok(example)) => {
                    tokens += about_tokens(&example);
                    examples.push((self.next, example));
                    self.next += 1;
                    self.reading.offer(self.next, self.marks);
                }
            }
        }
        (!examples.is_empty()).then(|| Ok((examples, self.reading.bytes_read())))
    }
}

impl Supply for Extraction {
    type Raw = (u64, Example);
    type Item = Item;

    fn path(&self) -> &Path {
        self.texts.path()
    }

    fn total(&self) -> u64 {
        self.counts.examples
    }

    fn open(&self, first: u64) -> Result<Units<'_, (u64, Example)>, Error> {
        let (begun, reading) = self.texts.open(first, &self.marks)?;
        let examples = (begun..).zip(reading);
        after(
            first - begun,
            examples.map(|(index, example)| Ok((index, example?))),
        )
    }

    fn size(&self, (_, example): &(u64, Example)) -> usize {
        let most = self.maker.max_length() as u64;
        about_tokens(example).min(most) as usize
    }

    fn line(&self, (_, example): &(u64, Example)) -> u64 {
        example.line
    }

    fn prepare(&self, (index, example): (u64, Example)) -> Result<Fate<Vec<Passage<Item>>>, Error> {
        let items = match self.maker.items(index, &example)? {
            Fate::Studied(items) => items,
            Fate::LeftOut(why) => return Ok(Fate::LeftOut(why)),
        };
        let passage = |item: Item| Passage {
            sequence: item.sequence.clone(),
            target: item.target.clone(),
            item,
        };
        Ok(Fate::Studied(items.into_iter().map(passage).collect()))
    }
}

/// English has about four bytes a token.
fn about_tokens(example: &Example) -> u64 {
    match &example.token_ids {
        Some(ids) => ids.len() as u64,
        None => {
            let bytes = example.text.len() + example.pair.as_ref().map_or(0, String::len);
            3 + bytes as u64 / 4
        }
    }
}

impl Extraction {
    /// Reads all texts once: encodes, checks and counts them. Nothing is written.
    ///
    /// # Errors
    /// Layers or heads that do not exist, an objective that the model's head does not have, numbers
    /// that the format does not have; a text that cannot be read or encoded, or is too long; labels
    /// that the model does not know. Interruptions by the one who looks on.
    pub fn new(
        model: &LoadedModel,
        texts: Texts,
        request: &Request,
        options: ExtractOptions,
        work: &Work,
        watch: &mut dyn Watch,
    ) -> Result<Self, Error> {
        check(&options)?;
        let slots = request.resolve(model, options.pool)?;
        let layout = Layout::new(slots, &options, request.objective);
        let mut extraction = Self {
            maker: ItemMaker::new(model, &texts, request.objective, &options)?,
            model: model.clone(),
            texts,
            options,
            layout: Arc::new(layout),
            shards: Vec::new(),
            counts: TextCounts::default(),
            info: None,
            marks: Marks::default(),
        };
        extraction.count(work, watch)?;
        Ok(extraction)
    }

    /// The model that is looked into.
    #[must_use]
    pub fn model(&self) -> &LoadedModel {
        &self.model
    }

    /// What the texts are.
    #[must_use]
    pub fn counts(&self) -> &TextCounts {
        &self.counts
    }

    /// The account of the file; nothing for texts in memory.
    #[must_use]
    pub fn info(&self) -> Option<&DatasetInfo> {
        self.info.as_ref()
    }

    /// How many shards there are.
    #[must_use]
    pub fn num_shards(&self) -> usize {
        self.shards.len()
    }

    /// The limit in tokens, special ones included.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.maker.max_length()
    }

    /// The shards in which the units from `first` to before `end` are.
    #[must_use]
    pub fn shards_of(&self, first: u64, end: u64) -> Range<usize> {
        let size = self.options.shard_size as u64;
        let number = |shard: u64| usize::try_from(shard).unwrap_or(usize::MAX);
        let behind = end.div_ceil(size);
        let begin = if first < end { first / size } else { behind };
        number(begin)..number(behind)
    }

    /// Bytes on disk of some shards: exact for safetensors, nearly so for npz, about right for Parquet.
    #[must_use]
    pub fn bytes(&self, shards: Range<usize>) -> u64 {
        let these = self.shards.get(shards).unwrap_or_default();
        these.iter().map(|sizes| self.shard_bytes(*sizes)).sum()
    }

    pub(super) fn shard_bytes(&self, sizes: Sizes) -> u64 {
        let specs = self.layout.specs(sizes);
        match self.options.format {
            Format::Safetensors => shard::safetensors_bytes(&specs),
            Format::Npz => npz::npz_bytes(&specs),
            #[cfg(feature = "parquet")]
            Format::Parquet => super::tables::bytes(&self.layout, sizes),
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => 0,
        }
    }

    /// Bytes that the disk must have free for some shards: they themselves, and one more at a time where a
    /// shard is gathered first and then put in its format.
    #[must_use]
    pub fn bytes_needed(&self, shards: Range<usize>) -> u64 {
        let these = self.shards.get(shards.clone()).unwrap_or_default();
        let twice = match self.options.format {
            Format::Safetensors => 0,
            Format::Npz | Format::Parquet => these
                .iter()
                .map(|sizes| shard::safetensors_bytes(&self.layout.specs(*sizes)))
                .max()
                .unwrap_or(0),
        };
        self.bytes(shards) + twice
    }

    /// Refuses a disk that is too small for some shards; gives the bytes that are free.
    ///
    /// # Errors
    /// [`ExtractError::NoRoom`], [`ExtractError::Space`].
    pub fn check_room(&self, folder: &Path, shards: Range<usize>) -> Result<u64, Error> {
        self.check_room_with(folder, shards, space::available)
    }

    /// [`Extraction::check_room`] with another way to find out what is free.
    ///
    /// # Errors
    /// As [`Extraction::check_room`].
    pub fn check_room_with(
        &self,
        folder: &Path,
        shards: Range<usize>,
        available: impl FnOnce(&Path) -> io::Result<u64>,
    ) -> Result<u64, Error> {
        let available = available(folder).map_err(|source| ExtractError::Space { source })?;
        let needed = self.bytes_needed(shards);
        if needed > available {
            return Err(ExtractError::NoRoom { needed, available }.into());
        }
        Ok(available)
    }

    fn count(&mut self, work: &Work, watch: &mut dyn Watch) -> Result<(), Error> {
        let total = self.texts.bytes();
        watch.begin(Purpose::Counting, 0, total);
        let mut marks = Marks::default();
        let (_, mut reading) = self.texts.open(0, &marks)?;
        let (mut shards, mut counts) = (Vec::new(), TextCounts::default());
        let this = &*self;
        let jobs = Jobs {
            reading: &mut reading,
            next: 0,
            marks: &mut marks,
        };
        each(
            work.all(),
            jobs,
            |_, job| {
                let (examples, read) = job?;
                let counted = examples
                    .iter()
                    .map(|(index, example)| this.counted(*index, example));
                Ok((counted.collect::<Result<Vec<_>, _>>()?, read))
            },
            |(counted, read)| {
                for (sizes, more) in counted {
                    let shard = counts.examples as usize / this.options.shard_size;
                    if shards.len() <= shard {
                        shards.resize(shard + 1, Sizes::default());
                    }
                    shards[shard].add(sizes);
                    counts.add(&more);
                }
                match watch.advance(read.min(total), total) {
                    ControlFlow::Continue(()) => Ok(()),
                    ControlFlow::Break(()) => Err(Error::Interrupted { done: 0, total: 0 }),
                }
            },
        )?;
        self.info = reading.finish()?;
        self.marks = marks;
        self.shards = shards;
        self.counts = counts;
        if self.counts.sequences == 0 {
            return match self.counts.empty_examples {
                0 => Err(Error::NoExamples),
                texts => Err(ExtractError::NoTokens {
                    path: self.texts.path().to_owned(),
                    texts,
                }
                .into()),
            };
        }
        Ok(())
    }

    fn counted(&self, index: u64, example: &Example) -> Result<(Sizes, TextCounts), Error> {
        let items = self.maker.items(index, example);
        let items = items.map_err(|error| Error::Example {
            path: self.texts.path().to_owned(),
            line: example.line,
            source: Box::new(error),
        })?;
        let items = match items {
            Fate::Studied(items) => items,
            // Of the reasons there are, the options leave this one: it has no token.
            Fate::LeftOut(_) => Vec::new(),
        };
        let mut sizes = Sizes::default();
        let mut counts = TextCounts {
            examples: 1,
            windowed_examples: u64::from(items.len() > 1),
            empty_examples: u64::from(items.is_empty()),
            ..TextCounts::default()
        };
        for item in &items {
            sizes.add(Sizes::of(item));
            let tokens = item.sequence.len() as u64;
            counts.sequences += 1;
            counts.tokens += tokens;
            counts.words += item.words.len() as u64;
            let wordless = item.word.iter().filter(|word| **word < 0).count();
            counts.tokens_without_word += wordless as u64;
            counts.cut_examples += u64::from(item.cut > 0);
            counts.cut_tokens += item.cut as u64;
            counts.longest = counts.longest.max(tokens);
        }
        Ok((sizes, counts))
    }
}

/// Refuses options that mean nothing, whatever the model and the texts.
fn check(options: &ExtractOptions) -> Result<(), Error> {
    if options.shard_size == 0 {
        return Err(Error::Option {
            option: "the number of examples in a shard",
            value: "0".to_owned(),
            reason: "give at least 1",
        });
    }
    match options.format {
        Format::Safetensors => Ok(()),
        Format::Npz => npz::check(options.float).map_err(ExtractError::from),
        #[cfg(feature = "parquet")]
        Format::Parquet => super::tables::check(options.float).map_err(ExtractError::from),
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => Err(ExtractError::NoParquet),
    }
    .map_err(Error::from)
}
