//! The second reading: texts go through the model, values into shards.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bertology_store::{ArraySpec, ShardWriter, StoreError, write_whole};
use serde::{Deserialize, Serialize};

use super::layout::{Content, PerSequence, PerToken, PerWord, Sizes, Span};
use super::plan::Extraction;
use super::recorder::{Recorded, Recorder};
use super::texts::Item;
use super::{ExtractError, Format};
use crate::drive::{Contribution, Progress, Study, Work, drive};
use crate::input::account::MOST;
use crate::input::supply::{Fate, Supply};
use crate::watch::Purpose;
use crate::{Error, Watch};

/// Bytes that are gathered before they are written.
const BUFFER_BYTES: usize = 8 << 20;

/// What is in a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRecord {
    /// Its files, relative to the output folder; none where none of its examples has a token.
    pub files: Vec<PathBuf>,
    /// Number of its first example, zero-based.
    pub first_example: u64,
    /// Examples in it, without those that have no token.
    pub examples: u64,
    /// Sequences: examples, or their windows.
    pub sequences: u64,
    /// Tokens of its sequences.
    pub tokens: u64,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// All shards.
    pub shards: Vec<ShardRecord>,
    /// Bytes of the shards on disk.
    pub bytes: u64,
    /// Finite values that became infinite because their type on disk cannot hold them.
    pub overflows: u64,
    /// Values that were NaN or infinite as the model gave them ([`ExtractOptions::allow_nonfinite`](super::ExtractOptions::allow_nonfinite)).
    pub nonfinite: u64,
}

/// Shards on their way to disk. A chunk is a shard, which appears whole or not at all.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ExtractState {
    /// Shards written.
    shards: u64,
    bytes: u64,
    overflows: u64,
    nonfinite: u64,
    /// Where they go; not for those read back, which only count.
    #[serde(skip)]
    target: Option<Arc<Destination>>,
    #[serde(skip)]
    open: Option<Open>,
    /// What is on disk of the shard that is being filled.
    half: Option<Half>,
}

/// How far a shard was filled that is to be gone on with.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Half {
    shard: usize,
    sizes: Sizes,
    /// By array.
    filled: Vec<u64>,
}

/// What is written, and where.
#[derive(Debug)]
struct Destination {
    extraction: Extraction,
    folder: PathBuf,
    #[cfg(feature = "parquet")]
    strings: Arc<[String]>,
}

/// A shard that is being filled.
#[derive(Debug)]
struct Open {
    shard: usize,
    writer: ShardWriter,
    sizes: Sizes,
    /// By array: what waits to be written.
    buffers: Vec<Vec<u8>>,
    buffered: usize,
}

impl ExtractState {
    /// Shards written.
    #[must_use]
    pub fn shards(&self) -> u64 {
        self.shards
    }

    /// Bytes of the shards written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Finite values that became infinite because their type on disk cannot hold them.
    #[must_use]
    pub fn overflows(&self) -> u64 {
        self.overflows
    }
}

impl Study for ExtractState {
    type Lens = Recorder;
    type Found = Self;

    const PURPOSE: Purpose = Purpose::Extraction;

    /// # Panics
    /// Of a state that was read back: what was asked for is known to [`Extraction::study`] alone.
    fn lens(&self) -> Recorder {
        let target = self
            .target
            .as_ref()
            .expect("a study of `Extraction::study`");
        let Extraction {
            layout, options, ..
        } = &target.extraction;
        Recorder::new(layout, options)
    }

    fn empty(&self) -> Self {
        Self {
            target: self.target.clone(),
            ..Self::default()
        }
    }

    /// A shard.
    fn chunk(&self, wanted: u64) -> u64 {
        let target = self.target.as_ref();
        target.map_or(wanted, |target| target.extraction.options.shard_size as u64)
    }

    /// Which values and how many to a shard is in the command's identity; here is what a file cannot hold.
    fn agrees(&self, fresh: &Self) -> Result<(), Error> {
        let Some(target) = &fresh.target else {
            return Ok(());
        };
        let Extraction { layout, shards, .. } = &target.extraction;
        Error::unless_possible(
            self.shards <= shards.len() as u64,
            "shards",
            "more are written than there will be",
        )?;
        let values: u64 = shards.iter().map(|sizes| layout.values(*sizes)).sum();
        let odd = self.overflows.checked_add(self.nonfinite);
        Error::unless_possible(
            odd.is_some_and(|odd| odd <= values),
            "overflows",
            "more values are infinite than there will be",
        )?;
        let Some(half) = &self.half else {
            return Ok(());
        };
        let Some(planned) = shards.get(half.shard) else {
            return Error::unless_possible(false, "half", "there is no such shard");
        };
        Error::unless_possible(
            half.sizes.within(*planned)
                && (1..=half.sizes.sequences).contains(&half.sizes.examples),
            "half",
            "other sequences are in a shard than it has room for",
        )?;
        let filled = layout.specs(half.sizes);
        Error::unless_possible(
            filled
                .iter()
                .map(ArraySpec::bytes)
                .eq(half.filled.iter().copied()),
            "half",
            "its arrays are not filled as far as its tokens go",
        )
    }

    fn covers(&self, units: Range<u64>) -> Result<(), Error> {
        let Some(target) = &self.target else {
            // A chunk of a part, whose files lie elsewhere.
            return Error::unless_possible(
                self.shards <= 1 && self.half.is_none() && self.bytes <= MOST,
                "shards",
                "more are written than texts are done",
            );
        };
        let size = target.extraction.options.shard_size as u64;
        let done = units.end.saturating_sub(units.start);
        Error::unless_possible(
            self.shards <= done.div_ceil(size),
            "shards",
            "more are written than texts are done",
        )?;
        let shards = units.start / size..units.end.div_ceil(size);
        let written = match self.shards {
            0 => 0,
            _ => target.bytes(shards),
        };
        Error::unless_possible(
            self.bytes == written,
            "bytes",
            "they are not those of the shards in the folder",
        )?;
        let here =
            |half: &Half| half.shard as u64 == units.start / size && half.sizes.examples <= done;
        Error::unless_possible(
            self.half.as_ref().is_none_or(here),
            "half",
            "it is not the shard of the texts that are done",
        )
    }

    fn add(&mut self, fate: Fate<Contribution<'_, Self>>) -> Result<(), Error> {
        let (Fate::Studied(Contribution { item, part, .. }), Some(target)) = (fate, &self.target)
        else {
            return Ok(());
        };
        let open = match (&mut self.open, self.half.take()) {
            (Some(open), _) => open,
            (none, Some(half)) => none.insert(target.go_on(half)?),
            (none, None) => none.insert(target.begin(item)?),
        };
        open.put(&target.extraction, item, &part)?;
        self.overflows += part.overflows;
        self.nonfinite += part.nonfinite;
        Ok(())
    }

    fn adopt(&mut self, fresh: &Self) -> bool {
        self.target.clone_from(&fresh.target);
        // A process that was killed may have finished the shard without saying so.
        match (&self.half, &self.target) {
            (Some(half), Some(target)) => target.half(half.shard).exists(),
            _ => true,
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        if let (Some(open), Some(target)) = (&mut self.open, &self.target) {
            self.half = Some(open.keep(&target.half(open.shard))?);
        }
        Ok(())
    }

    fn close_chunk(&mut self) -> Result<(), Error> {
        self.half = None;
        if let (Some(open), Some(target)) = (self.open.take(), &self.target) {
            self.bytes += target.save(open)?;
            self.shards += 1;
        }
        Ok(())
    }

    fn merge(&mut self, next: Self) -> Result<(), Error> {
        self.shards += next.shards;
        self.bytes += next.bytes;
        self.overflows += next.overflows;
        self.nonfinite += next.nonfinite;
        Ok(())
    }

    fn finish(&self) -> Result<Self, Error> {
        Ok(Self {
            shards: self.shards,
            bytes: self.bytes,
            overflows: self.overflows,
            nonfinite: self.nonfinite,
            ..Self::default()
        })
    }
}

impl Extraction {
    /// The study that writes the shards into a folder, which must exist; drive this extraction through it and
    /// then call [`Extraction::finish`].
    #[must_use]
    pub fn study(&self, folder: &Path) -> ExtractState {
        ExtractState {
            target: Some(Arc::new(Destination {
                extraction: self.clone(),
                folder: folder.to_owned(),
                #[cfg(feature = "parquet")]
                strings: self.strings(),
            })),
            ..ExtractState::default()
        }
    }

    /// Writes all shards, `index.json`, and for formats without strings `tokens.json`, the strings of the
    /// vocabulary by id. The folder must exist.
    ///
    /// Each shard appears whole or not at all, with the same bytes whether or not the ones before it were
    /// written by the same run.
    ///
    /// # Errors
    /// A disk that is full; texts that have changed; an example that cannot be put through the model; an
    /// interruption.
    pub fn write(
        &self,
        folder: &Path,
        work: &Work,
        watch: &mut dyn Watch,
    ) -> Result<Summary, Error> {
        let mut progress = Progress::new(self.study(folder));
        drive(self.model(), self, &mut progress, work, watch)?;
        self.finish(folder, progress.study())
    }

    /// Refuses to go on where one of these shards is not there.
    ///
    /// # Errors
    /// [`ExtractError::MissingShard`].
    pub fn check_shards(&self, folder: &Path, shards: Range<usize>) -> Result<(), Error> {
        for shard in shards.start..shards.end.min(self.shards.len()) {
            for file in self.files(shard) {
                let path = folder.join(file);
                if !path.exists() {
                    return Err(ExtractError::MissingShard { path }.into());
                }
            }
        }
        Ok(())
    }

    /// Writes `index.json` and `tokens.json` beside all shards.
    ///
    /// # Errors
    /// [`ExtractError::MissingShard`]; a disk that is full.
    pub fn finish(&self, folder: &Path, state: &ExtractState) -> Result<Summary, Error> {
        self.check_shards(folder, 0..self.shards.len())?;
        let summary = Summary {
            shards: (0..self.shards.len())
                .map(|shard| self.record(shard))
                .collect(),
            bytes: state.bytes,
            overflows: state.overflows,
            nonfinite: state.nonfinite,
        };
        if self.options.format != Format::Parquet {
            let strings = serde_json::to_vec(&*self.strings()).unwrap_or_default();
            write_whole(&folder.join("tokens.json"), &strings).map_err(ExtractError::from)?;
        }
        let mut index = serde_json::to_vec_pretty(&self.index(&summary)).unwrap_or_default();
        index.push(b'\n');
        write_whole(&folder.join("index.json"), &index).map_err(ExtractError::from)?;
        Ok(summary)
    }

    fn record(&self, shard: usize) -> ShardRecord {
        let sizes = self.shards[shard];
        ShardRecord {
            files: self.files(shard),
            first_example: (shard * self.options.shard_size) as u64,
            examples: sizes.examples,
            sequences: sizes.sequences,
            tokens: sizes.tokens,
        }
    }

    fn files(&self, shard: usize) -> Vec<PathBuf> {
        // Nothing was ever begun where all texts are without tokens.
        if self.shards[shard].sequences == 0 {
            return Vec::new();
        }
        let name = format!("{}.{}", stem(shard), self.options.format.extension());
        match self.options.format {
            Format::Safetensors | Format::Npz => vec![name.into()],
            #[cfg(feature = "parquet")]
            Format::Parquet => super::tables::names(&self.layout)
                .into_iter()
                .map(|table| Path::new(&table).join(&name))
                .collect(),
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => Vec::new(),
        }
    }

    /// The vocabulary by id; empty strings for ids without a token, and without a tokenizer.
    fn strings(&self) -> Arc<[String]> {
        let tokenizer = self.model.tokenizer().ok();
        (0..self.model.architecture().vocab_size)
            .map(|id| {
                let id = u32::try_from(id).ok();
                let token = tokenizer.and_then(|tokenizer| tokenizer.id_to_token(id?));
                token.unwrap_or_default()
            })
            .collect()
    }
}

/// The name of a shard's files, without the ending.
fn stem(shard: usize) -> String {
    format!("shard-{shard:05}")
}

impl Destination {
    /// Begins the shard of an example.
    fn begin(&self, item: &Item) -> Result<Open, Error> {
        let Extraction {
            options,
            shards,
            layout,
            ..
        } = &self.extraction;
        let shard = item.example as usize / options.shard_size;
        let Some(planned) = shards.get(shard) else {
            return Err(self.changed(item.example + 1));
        };
        let writer = ShardWriter::create(&self.folder, layout.specs(*planned));
        let mut open = Open {
            shard,
            writer: writer.map_err(ExtractError::from)?,
            sizes: Sizes::default(),
            buffers: vec![Vec::new(); layout.arrays.len()],
            buffered: 0,
        };
        for (array, buffer) in layout.arrays.iter().zip(&mut open.buffers) {
            if matches!(array.content, Content::Offsets(_)) {
                buffer.extend(0_i64.to_le_bytes());
            }
        }
        Ok(open)
    }

    /// Bytes of the files of these shards.
    fn bytes(&self, shards: Range<u64>) -> u64 {
        let files = shards.flat_map(|shard| self.extraction.files(shard as usize));
        let sizes = files.filter_map(|file| std::fs::metadata(self.folder.join(file)).ok());
        sizes.map(|file| file.len()).sum()
    }

    /// Where a shard is that is not full. Each has a name of its own, so that a state never speaks of another.
    fn half(&self, shard: usize) -> PathBuf {
        self.folder.join(format!("{}.half", stem(shard)))
    }

    /// Goes on with the shard that was being filled.
    fn go_on(&self, half: Half) -> Result<Open, Error> {
        let Half {
            shard,
            sizes,
            filled,
        } = half;
        let layout = &self.extraction.layout;
        let Some(planned) = self.extraction.shards.get(shard) else {
            return Err(self.changed(0));
        };
        let writer = ShardWriter::resume(&self.half(shard), layout.specs(*planned), filled);
        Ok(Open {
            shard,
            writer: writer.map_err(ExtractError::from)?,
            sizes,
            buffers: vec![Vec::new(); layout.arrays.len()],
            buffered: 0,
        })
    }

    fn changed(&self, now: u64) -> Error {
        Error::DataChanged {
            path: self.extraction.path().to_owned(),
            before: self.extraction.counts.examples,
            now,
        }
    }

    /// Gives a full shard its format and its name; gives its bytes on disk.
    fn save(&self, mut open: Open) -> Result<u64, Error> {
        open.flush()?;
        let number = open.shard;
        if open.sizes != self.extraction.shards[number] {
            let first = (number * self.extraction.options.shard_size) as u64;
            return Err(self.changed(first + open.sizes.examples));
        }
        let shard = open.writer.finish().map_err(ExtractError::from)?;
        let files = self.extraction.files(number);
        let path = |at: usize| self.folder.join(&files[at]);
        let saved = match self.extraction.options.format {
            Format::Safetensors => shard.save_safetensors(&path(0)),
            Format::Npz => shard.save_npz(&path(0)),
            Format::Parquet => self.save_tables(&shard, number, &files),
        };
        let bytes = saved.map_err(ExtractError::from)?;
        let half = self.half(number);
        match std::fs::remove_file(&half) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                let action = "remove";
                let path = half;
                Err(ExtractError::from(StoreError::Io {
                    action,
                    path,
                    source,
                })
                .into())
            }
            _ => Ok(bytes),
        }
    }

    #[cfg(feature = "parquet")]
    fn save_tables(
        &self,
        shard: &bertology_store::FullShard,
        number: usize,
        files: &[PathBuf],
    ) -> Result<u64, StoreError> {
        let sizes = self.extraction.shards[number];
        let tables = super::tables::tables(&self.extraction.layout, sizes, &self.strings);
        let mut bytes = 0;
        for (named, file) in tables.into_iter().zip(files) {
            let folder = self.folder.join(&named.name);
            std::fs::create_dir_all(&folder).map_err(|source| StoreError::Io {
                action: "create the folder",
                path: folder,
                source,
            })?;
            bytes += named
                .table
                .save(shard, &self.folder, &self.folder.join(file))?;
        }
        Ok(bytes)
    }

    #[cfg(not(feature = "parquet"))]
    fn save_tables(
        &self,
        _: &bertology_store::FullShard,
        _: usize,
        _: &[PathBuf],
    ) -> Result<u64, StoreError> {
        // Refused when the extraction was planned.
        Ok(0)
    }
}

impl Open {
    /// Appends a sequence to every array.
    fn put(&mut self, extraction: &Extraction, item: &Item, part: &Recorded) -> Result<(), Error> {
        let arrays = &extraction.layout.arrays;
        for (array, buffer) in arrays.iter().zip(&mut self.buffers) {
            let before = buffer.len();
            describe(array.content, item, part, self.sizes, buffer);
            self.buffered += buffer.len() - before;
        }
        self.sizes.add(Sizes::of(item));
        if self.buffered >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Puts everything on disk where it is found again.
    fn keep(&mut self, path: &Path) -> Result<Half, Error> {
        self.flush()?;
        let filled = self.writer.keep(path);
        Ok(Half {
            shard: self.shard,
            sizes: self.sizes,
            filled: filled.map_err(ExtractError::from)?.to_vec(),
        })
    }

    fn flush(&mut self) -> Result<(), Error> {
        for (at, buffer) in self.buffers.iter_mut().enumerate() {
            self.writer.append(at, buffer).map_err(ExtractError::from)?;
            buffer.clear();
        }
        self.buffered = 0;
        Ok(())
    }
}

/// The values of a sequence, and the numbers that say what they belong to.
fn describe(content: Content, item: &Item, part: &Recorded, before: Sizes, to: &mut Vec<u8>) {
    match content {
        Content::Values(slot) => to.extend_from_slice(&part.values[slot]),
        Content::PerSequence(PerSequence::Loss) => {
            to.extend(part.loss.iter().flat_map(|loss| loss.to_le_bytes()));
        }
        Content::PerSequence(what) => per_sequence(what, item, to),
        Content::Offsets(span) => {
            let mut sizes = before;
            sizes.add(Sizes::of(item));
            let end = match span {
                Span::Tokens => sizes.tokens,
                Span::Pairs => sizes.pairs,
                Span::Words => sizes.words,
            };
            to.extend((end as i64).to_le_bytes());
        }
        Content::PerToken(what) => per_token(what, item, to),
        Content::PerWord(what) => per_word(what, item, to),
    }
}

fn small(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn per_sequence(what: PerSequence, item: &Item, to: &mut Vec<u8>) {
    match what {
        PerSequence::Example => to.extend((item.example as i64).to_le_bytes()),
        PerSequence::Line => to.extend((item.line as i64).to_le_bytes()),
        PerSequence::Window => to.extend(item.window.to_le_bytes()),
        PerSequence::Tokens => to.extend(small(item.sequence.len()).to_le_bytes()),
        PerSequence::CutTokens => to.extend(small(item.cut).to_le_bytes()),
        PerSequence::ContextTokens => to.extend(small(item.context).to_le_bytes()),
        PerSequence::Targets => to.extend(small(item.targets()).to_le_bytes()),
        // Not of an item but of its pass.
        PerSequence::Loss => {}
    }
}

fn per_token(what: PerToken, item: &Item, to: &mut Vec<u8>) {
    let tokens = item.sequence.len();
    let mut all = |values: &mut dyn Iterator<Item = i32>| {
        to.extend(values.flat_map(i32::to_le_bytes));
    };
    match what {
        PerToken::Example => {
            for _ in 0..tokens {
                to.extend((item.example as i64).to_le_bytes());
            }
        }
        PerToken::Window => all(&mut std::iter::repeat_n(item.window, tokens)),
        PerToken::Token => all(&mut (0..tokens).map(small)),
        PerToken::Id => all(&mut item.sequence.ids.iter().map(|id| *id as i32)),
        PerToken::Segment => all(&mut item.segments.iter().map(|id| *id as i32)),
        PerToken::CharStart => all(&mut item.char_start.iter().copied()),
        PerToken::CharEnd => all(&mut item.char_end.iter().copied()),
        PerToken::Word => all(&mut item.word.iter().copied()),
        PerToken::Text => all(&mut item.text.iter().copied()),
        PerToken::Keys => all(&mut std::iter::repeat_n(small(tokens), tokens)),
    }
}

fn per_word(what: PerWord, item: &Item, to: &mut Vec<u8>) {
    for word in &item.words {
        let value = match what {
            PerWord::Example => {
                to.extend((item.example as i64).to_le_bytes());
                continue;
            }
            PerWord::Window => item.window,
            PerWord::Number => word.number,
            PerWord::Text => word.text,
            PerWord::CharStart => word.start_char,
            PerWord::CharEnd => word.end_char,
            PerWord::Tokens => small(word.end - word.first),
        };
        to.extend(value.to_le_bytes());
    }
}
