//! The second reading: texts go through the model, values into shards.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bertology_model::{Observer, PackedBatch, PassOptions, Sequence, Target, Workspace, parallel};
use bertology_store::{FullShard, ShardWriter, StoreError, write_whole};
use serde::{Deserialize, Serialize};

use super::layout::{Content, PerSequence, PerToken, PerWord, Sizes, Span};
use super::plan::{Extraction, Job};
use super::recorder::Recorder;
use super::texts::Item;
use super::{ExtractError, Format};
use crate::watch::Pass;
use crate::{Error, Watch};

/// What is in a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRecord {
    /// Its files, relative to the output folder.
    pub files: Vec<PathBuf>,
    /// Number of its first example, zero-based.
    pub first_example: u64,
    /// Examples in it.
    pub examples: u64,
    /// Sequences: examples, or their windows.
    pub sequences: u64,
    /// Tokens of its sequences.
    pub tokens: u64,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The shards, those of earlier runs included.
    pub shards: Vec<ShardRecord>,
    /// Bytes of the shards that this call wrote.
    pub bytes: u64,
    /// Finite values that became infinite because their type on disk cannot hold them, in the shards
    /// that this call wrote.
    pub overflows: u64,
}

/// What a worker made of its examples.
struct Block {
    shard: usize,
    sizes: Sizes,
    items: Vec<Item>,
    losses: Vec<f64>,
    /// Bytes by slot.
    values: Vec<Vec<u8>>,
    overflows: u64,
}

/// A shard that is being filled.
struct Open {
    shard: usize,
    writer: ShardWriter,
    sizes: Sizes,
    overflows: u64,
}

impl Extraction {
    /// Writes the shards from number `first` on, then `index.json`, and for formats without strings
    /// `tokens.json`, the strings of the vocabulary by id. The folder must exist.
    ///
    /// Each shard appears whole or not at all and is reported to [`Watch::shard`]; after an
    /// interruption the call can be repeated with the number of shards that are there, and the files
    /// have the same bytes as without the interruption.
    ///
    /// # Errors
    /// [`ExtractError::MissingShard`] if one before `first` is not there; a disk that is full; texts
    /// that have changed; an example that cannot be put through the model; an interruption.
    pub fn write(
        &self,
        folder: &Path,
        first: usize,
        watch: &mut dyn Watch,
    ) -> Result<Summary, Error> {
        for shard in 0..first.min(self.shards.len()) {
            for file in self.files(shard) {
                let path = folder.join(file);
                if !path.exists() {
                    return Err(ExtractError::MissingShard { path }.into());
                }
            }
        }
        let mut progress = Progress {
            extraction: self,
            folder,
            strings: self.strings(),
            open: None,
            done: self.examples_before(first),
            bytes: 0,
            overflows: 0,
        };
        progress.run(first, watch)?;
        let summary = Summary {
            shards: (0..self.shards.len())
                .map(|shard| self.record(shard))
                .collect(),
            bytes: progress.bytes,
            overflows: progress.overflows,
        };
        if self.options.format != Format::Parquet {
            let strings = serde_json::to_vec(&*progress.strings).unwrap_or_default();
            write_whole(&folder.join("tokens.json"), &strings).map_err(ExtractError::from)?;
        }
        let mut index = serde_json::to_vec_pretty(&self.index(&summary)).unwrap_or_default();
        index.push(b'\n');
        write_whole(&folder.join("index.json"), &index).map_err(ExtractError::from)?;
        Ok(summary)
    }

    fn examples_before(&self, shard: usize) -> u64 {
        let shards = self.shards.iter().take(shard);
        shards.map(|sizes| sizes.examples).sum()
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
        let name = format!("shard-{shard:05}.{}", self.options.format.extension());
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

    fn work(&self, workspace: &mut Workspace<f32>, job: &Job) -> Result<Block, Error> {
        let mut block = Block {
            shard: job.shard,
            sizes: Sizes::default(),
            items: Vec::new(),
            losses: Vec::new(),
            values: vec![Vec::new(); self.layout.slots.len()],
            overflows: 0,
        };
        for (index, example) in &job.examples {
            block.items.extend(self.preparer.items(*index, example)?);
        }
        let items = std::mem::take(&mut block.items);
        let mut rest = items.as_slice();
        while !rest.is_empty() {
            let mut tokens = 0;
            let fitting = rest.iter().take_while(|item| {
                let first = tokens == 0;
                tokens += item.sequence.len();
                first || tokens <= self.options.batch_tokens
            });
            let (batch, after) = rest.split_at(fitting.count());
            self.batch(workspace, batch, &mut block)?;
            rest = after;
        }
        block.items = items;
        for item in &block.items {
            block.sizes.add(Sizes::of(item));
        }
        Ok(block)
    }

    fn batch(
        &self,
        workspace: &mut Workspace<f32>,
        items: &[Item],
        block: &mut Block,
    ) -> Result<(), Error> {
        let sequences: Vec<Sequence> = items.iter().map(|item| item.sequence.clone()).collect();
        let batch = PackedBatch::new(self.model.architecture(), &sequences)?;
        let targets: Option<Vec<Target>> = items.iter().map(|item| item.target.clone()).collect();
        let options = PassOptions {
            targets: targets.as_deref(),
            ..PassOptions::default()
        };
        let (float, pool) = (self.options.float, self.options.pool);
        let mut recorder = Recorder::new(&self.layout.slots, items, float, pool);
        let observers: &mut [&mut dyn Observer<f32>] = &mut [&mut recorder];
        let output = self
            .model
            .model()
            .run(&batch, &options, workspace, observers)?;
        let (values, overflows) = recorder.finish();
        for (all, more) in block.values.iter_mut().zip(values) {
            if all.is_empty() {
                *all = more;
            } else {
                all.extend(more);
            }
        }
        block.overflows += overflows;
        for (item, output) in items.iter().zip(output.sequences) {
            let Some(mut loss) = output.loss else {
                continue;
            };
            if matches!(item.target, Some(Target::Tokens(_))) && item.targets() == 0 {
                // A mean over nothing.
                loss = f64::NAN;
            } else if !loss.is_finite() {
                return Err(Error::Example {
                    path: self.texts.path(),
                    line: item.line,
                    source: Box::new(Error::NotFinite {
                        what: "loss".to_owned(),
                        value: loss,
                    }),
                });
            }
            block.losses.push(loss);
        }
        Ok(())
    }
}

/// The state of a run.
struct Progress<'a> {
    extraction: &'a Extraction,
    folder: &'a Path,
    strings: Arc<[String]>,
    open: Option<Open>,
    /// Examples in shards or on their way there.
    done: u64,
    bytes: u64,
    overflows: u64,
}

impl Progress<'_> {
    fn run(&mut self, first: usize, watch: &mut dyn Watch) -> Result<(), Error> {
        let extraction = self.extraction;
        let total = extraction.counts.examples;
        watch.begin(Pass::Extraction, self.done, total);
        let mut reading = extraction.texts.open()?;
        for example in reading.by_ref().take(self.done as usize) {
            example?;
        }
        if first >= extraction.shards.len() {
            return Ok(());
        }
        let start = self.done;
        let mut failure = None;
        parallel::in_order(
            extraction.threads(),
            extraction.jobs(&mut reading, start),
            |workspace, job| extraction.work(workspace, &job?),
            |block| match block.and_then(|block| self.take(&block, watch)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            },
        );
        match failure {
            Some(error) => Err(error),
            None if self.done != total || self.open.is_some() => Err(self.changed()),
            None => Ok(()),
        }
    }

    fn changed(&self) -> Error {
        Error::DataChanged {
            path: self.extraction.texts.path(),
            before: self.extraction.counts.examples,
            now: self.done,
        }
    }

    /// Puts a block in its shard, and the shard in its place when it is full.
    fn take(&mut self, block: &Block, watch: &mut dyn Watch) -> Result<(), Error> {
        let extraction = self.extraction;
        let total = extraction.counts.examples;
        let Some(planned) = extraction.shards.get(block.shard).copied() else {
            return Err(self.changed());
        };
        let mut open = match self.open.take() {
            Some(open) if open.shard == block.shard => open,
            Some(_) => return Err(self.changed()),
            None => self.begin(block.shard, planned)?,
        };
        put(extraction, &mut open, block)?;
        open.overflows += block.overflows;
        self.done += block.sizes.examples;
        if open.sizes.examples == planned.examples {
            let shard = open.writer.finish().map_err(ExtractError::from)?;
            self.bytes += self.save(shard, block.shard)?;
            self.overflows += open.overflows;
            if watch.shard(block.shard + 1, open.overflows).is_break() {
                return Err(self.interrupted());
            }
        } else {
            self.open = Some(open);
        }
        match watch.advance(self.done, total) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(self.interrupted()),
        }
    }

    fn interrupted(&self) -> Error {
        Error::Interrupted {
            done: self.done,
            total: self.extraction.counts.examples,
        }
    }

    fn begin(&self, shard: usize, sizes: Sizes) -> Result<Open, Error> {
        let extraction = self.extraction;
        let specs = extraction.layout.specs(sizes);
        let writer = ShardWriter::create(self.folder, specs).map_err(ExtractError::from)?;
        let mut open = Open {
            shard,
            writer,
            sizes: Sizes::default(),
            overflows: 0,
        };
        for (at, array) in extraction.layout.arrays.iter().enumerate() {
            if matches!(array.content, Content::Offsets(_)) {
                let zero = 0_i64.to_le_bytes();
                open.writer.append(at, &zero).map_err(ExtractError::from)?;
            }
        }
        Ok(open)
    }

    /// Gives a full shard its format and its name; gives its bytes on disk.
    fn save(&self, shard: FullShard, number: usize) -> Result<u64, Error> {
        let files = self.extraction.files(number);
        let path = |at: usize| self.folder.join(&files[at]);
        let saved = match self.extraction.options.format {
            Format::Safetensors => shard.save_safetensors(&path(0)),
            Format::Npz => shard.save_npz(&path(0)),
            Format::Parquet => self.save_tables(&shard, number, &files),
        };
        Ok(saved.map_err(ExtractError::from)?)
    }

    #[cfg(feature = "parquet")]
    fn save_tables(
        &self,
        shard: &FullShard,
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
                .save(shard, self.folder, &self.folder.join(file))?;
        }
        Ok(bytes)
    }

    #[cfg(not(feature = "parquet"))]
    fn save_tables(&self, _: &FullShard, _: usize, _: &[PathBuf]) -> Result<u64, StoreError> {
        // Refused when the extraction was planned.
        Ok(0)
    }
}

/// Appends a block to every array of its shard.
fn put(extraction: &Extraction, open: &mut Open, block: &Block) -> Result<(), Error> {
    let mut bytes = Vec::new();
    for (at, array) in extraction.layout.arrays.iter().enumerate() {
        let bytes = match array.content {
            Content::Values(slot) => &block.values[slot],
            content => {
                bytes.clear();
                describe(content, block, open.sizes, &mut bytes);
                &bytes
            }
        };
        open.writer.append(at, bytes).map_err(ExtractError::from)?;
    }
    open.sizes.add(block.sizes);
    Ok(())
}

/// The numbers that say what the values belong to.
fn describe(content: Content, block: &Block, before: Sizes, to: &mut Vec<u8>) {
    match content {
        Content::Values(_) => {}
        Content::PerSequence(PerSequence::Loss) => {
            to.extend(block.losses.iter().flat_map(|loss| loss.to_le_bytes()));
        }
        Content::PerSequence(what) => {
            for item in &block.items {
                per_sequence(what, item, to);
            }
        }
        Content::Offsets(span) => {
            let mut sizes = before;
            for item in &block.items {
                sizes.add(Sizes::of(item));
                let end = match span {
                    Span::Tokens => sizes.tokens,
                    Span::Pairs => sizes.pairs,
                    Span::Words => sizes.words,
                };
                to.extend((end as i64).to_le_bytes());
            }
        }
        Content::PerToken(what) => {
            for item in &block.items {
                per_token(what, item, to);
            }
        }
        Content::PerWord(what) => {
            for item in &block.items {
                per_word(what, item, to);
            }
        }
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
