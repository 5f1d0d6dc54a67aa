//! Hidden states of all layers on disk, at the positions that some target points at.
//!
//! A folder holds the states of one model for one set of sequences: `states.json` says of what they are, and files of
//! some megabytes hold them, piece by piece with the layers inside: `[piece, layer, hidden]`, in the order of
//! [`Pieces`]. Files appear whole or not at all, so that an extraction that was interrupted goes on where it was; it
//! comes to the same bytes.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bertology::attention::{Fate, Passage, Supply, Units};
use bertology::checkpoint::NormPlacement;
use bertology::drive::{Lens, Wants, Work};
use bertology::model::{Event, Interests, LayerSite, ModelSite, Tap};
use bertology::store::space;
use bertology::watch::Purpose;
use bertology::{LoadedModel, Sequence, Watch};
use half::f16;
use half::slice::HalfFloatSliceExt;
use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::pieces::hex;
use super::{Fault, LayerStates, Pieces, StatesFault};
use crate::handover::{Arrived, Ended, Handed, hand_over};
use crate::shards::{Kind, Shards, write_whole};
use crate::{Error, Precision};

const STATES: Kind = Kind {
    magic: b"BTLSTAT1",
    prefix: STATE_FILE_PREFIX,
};
/// Start of the names of the files of states.
pub const STATE_FILE_PREFIX: &str = "states-";
/// The file that says of what a folder's states are.
pub const STATE_MANIFEST: &str = "states.json";
const FORMAT: u32 = 1;
/// Numbers of half precision stay below this; what it can hold ends at 65,504.
const MOST: f32 = 6e4;
/// When the maps may have grown by so many bytes, their memory is given back.
const RESIDENT: u64 = 64 << 20;
/// The least that a map grows by where something of it is read: the system maps the pages around it, too.
const AROUND: usize = 64 << 10;

/// What layer 0 is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerZero {
    /// What the first block reads: words, positions and segments, normalised where the family does so.
    #[default]
    Full,
    /// Words alone: they know neither where they stand nor how long their span is.
    WordOnly,
}

/// What the last layer of a model is that has a norm behind its last block. Other models have one last layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LastLayer {
    /// The residual stream, as of the layers before.
    #[default]
    BeforeNorm,
    /// What the norm makes of it, as the last of transformers' `hidden_states`.
    AfterNorm,
}

/// How states are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateOptions {
    /// How exactly.
    pub precision: Precision,
    /// What layer 0 is.
    pub layer_zero: LayerZero,
    /// What the last layer is.
    pub last_layer: LastLayer,
    /// What makes this model another than the one in its folder: weights drawn at random with a seed, heads taken out.
    pub variant: Option<String>,
}

/// Of what a folder's states are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    /// SHA-256 of the model's files.
    model: String,
    /// SHA-256 of the tokenizer's files.
    tokenizer: String,
    #[serde(flatten)]
    options: StateOptions,
    /// SHA-256 of all sequences and positions.
    sequences: String,
    layers: usize,
    hidden: usize,
    pieces: usize,
}

impl Manifest {
    fn new(model: &LoadedModel, pieces: &Pieces, options: &StateOptions) -> Result<Self, Error> {
        let arch = model.architecture();
        let of_model = model.checkpoint().content_hash();
        let mut tokenizer = Sha256::new();
        for path in model.tokenizer()?.files() {
            tokenizer.update(bertology_file::read(path).map_err(Error::io("read", path))?);
        }
        Ok(Self {
            format: FORMAT,
            model: of_model.map_err(bertology::Error::from)?.to_owned(),
            tokenizer: hex(&tokenizer.finalize()),
            options: options.clone(),
            sequences: pieces.sha256(),
            layers: arch.num_layers + 1,
            hidden: arch.hidden_size,
            pieces: pieces.pieces(),
        })
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    fn key(&self) -> String {
        hex(&Sha256::digest(self.bytes()))
    }

    /// Refuses states of something else.
    fn check(&self, folder: &Path, stored: &Self) -> Result<(), StatesFault> {
        let variant = |options: &StateOptions| options.variant.clone().unwrap_or("none".into());
        let options = |o: &StateOptions| {
            (
                format!("{:?}", o.precision),
                format!("{:?}", o.layer_zero),
                format!("{:?}", o.last_layer),
            )
        };
        let (was, is) = (options(&stored.options), options(&self.options));
        let pairs = [
            ("format", stored.format.to_string(), self.format.to_string()),
            ("model", stored.model.clone(), self.model.clone()),
            (
                "variant of the model",
                variant(&stored.options),
                variant(&self.options),
            ),
            (
                "tokenizer",
                stored.tokenizer.clone(),
                self.tokenizer.clone(),
            ),
            ("precision", was.0, is.0),
            ("layer 0", was.1, is.1),
            ("last layer", was.2, is.2),
            (
                "set of records, or way to read them",
                stored.sequences.clone(),
                self.sequences.clone(),
            ),
        ];
        match pairs.into_iter().find(|(_, was, is)| was != is) {
            None => Ok(()),
            Some((what, was, is)) => Err(StatesFault::Mismatch {
                folder: folder.to_owned(),
                what,
                was: short(was),
                is: short(is),
            }),
        }
    }
}

/// The beginning of a digest.
fn short(mut text: String) -> String {
    if text.len() == 64 {
        text.truncate(12);
    }
    text
}

/// States on disk.
#[derive(Debug)]
pub struct StateStore {
    folder: PathBuf,
    shards: Shards,
    precision: Precision,
    layers: usize,
    hidden: usize,
    /// Of each file its map and its first piece.
    maps: Vec<(Mmap, u32)>,
    pieces: usize,
    /// Bytes read since the memory was given back.
    touched: AtomicU64,
}

impl StateStore {
    /// Bytes that the states will take on disk.
    #[must_use]
    pub fn bytes_needed(model: &LoadedModel, pieces: &Pieces, precision: Precision) -> u64 {
        let arch = model.architecture();
        let piece = (arch.num_layers + 1) * arch.hidden_size * precision.bytes();
        // Heads of files are 8 bytes a sequence and little besides.
        pieces.pieces() as u64 * piece as u64 + 8 * pieces.sequences() as u64
    }

    /// The states of a model at these positions: those that the folder holds, and the others from the model, which
    /// go into it.
    ///
    /// # Errors
    /// A folder with states of something else, a disk without room, what the model refuses (with file and line),
    /// numbers that half precision cannot hold; an interruption, after which the folder holds what was done.
    pub fn extract(
        folder: &Path,
        model: &LoadedModel,
        pieces: &Pieces,
        options: &StateOptions,
        work: &Work,
        watch: &mut dyn Watch,
    ) -> Result<Self, Error> {
        Self::extract_with(
            folder,
            model,
            pieces,
            options,
            work,
            watch,
            space::available,
        )
    }

    /// [`StateStore::extract`] with another way to find out what is free on the disk.
    ///
    /// # Errors
    /// As [`StateStore::extract`].
    pub fn extract_with(
        folder: &Path,
        model: &LoadedModel,
        pieces: &Pieces,
        options: &StateOptions,
        work: &Work,
        watch: &mut dyn Watch,
        available: impl FnOnce(&Path) -> io::Result<u64>,
    ) -> Result<Self, Error> {
        let manifest = Manifest::new(model, pieces, options)?;
        let path = folder.join(STATE_MANIFEST);
        let stored = match bertology_file::read_up_to(&path, 1 << 16) {
            Ok(bytes) => {
                let stored = serde_json::from_slice(&bytes);
                let stored: Manifest = stored.map_err(|error| StatesFault::Manifest {
                    path: path.clone(),
                    reason: error.to_string(),
                })?;
                manifest.check(folder, &stored)?;
                true
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        let size = options.precision.bytes();
        let needed = Self::bytes_needed(model, pieces, options.precision);
        let open = || Shards::open(folder, STATES, &manifest.key(), size, u64::MAX);
        let kept = if stored { open()?.bytes() } else { 0 };
        let free = available(folder).map_err(Error::io("find out the free room of", folder))?;
        let more = needed.saturating_sub(kept);
        if more > free {
            return Err(StatesFault::NoRoom {
                folder: folder.to_owned(),
                needed: more,
                available: free,
            }
            .into());
        }
        let mut shards = open()?;
        if !stored {
            write_whole(&path, &[&manifest.bytes()])?;
        }
        let lens = StateLens {
            model: model.clone(),
            layers: manifest.layers,
            hidden: manifest.hidden,
            options: options.clone(),
        };
        for (file, sequences) in pieces.files() {
            let done = shards.kept().max(sequences.start) - sequences.start;
            if done >= sequences.len() {
                continue;
            }
            let supply = Sequences {
                pieces,
                path: file,
                range: sequences,
            };
            let mut take = |arrived: Vec<Arrived<StateLens>>| {
                for fate in arrived {
                    let Fate::Studied((item, part)) = fate else {
                        // No sequence is empty, and none is left out otherwise.
                        continue;
                    };
                    if let Some((layer, value)) = part.too_large {
                        return Err(StatesFault::TooLarge {
                            path: file.to_owned(),
                            line: item.line,
                            layer,
                            value,
                        }
                        .into());
                    }
                    shards.put(|out| part.values.put(out));
                }
                shards.commit()
            };
            let ended = hand_over(model, &supply, &lens, done as u64, work, watch, &mut take);
            // What was closed is whole, whatever ended the pass.
            let flushed = shards.flush();
            let ended = ended?;
            flushed?;
            if let Ended::Interrupted { .. } = ended {
                return Err(Error::Interrupted {
                    sentences: shards.kept(),
                    total: pieces.sequences(),
                });
            }
        }
        Self::map(folder, shards, &manifest, pieces)
    }

    fn map(
        folder: &Path,
        shards: Shards,
        manifest: &Manifest,
        pieces: &Pieces,
    ) -> Result<Self, Error> {
        let piece = manifest.layers * manifest.hidden * manifest.options.precision.bytes();
        let mut maps = Vec::with_capacity(shards.files().len());
        let mut first = 0_usize;
        for (at, shard) in shards.files().iter().enumerate() {
            let path = &shard.path;
            let file = bertology_file::open(path).map_err(Error::io("open", path))?;
            #[allow(unsafe_code, reason = "mapping a file has no safe interface")]
            // SAFETY: the map is read-only and handed out only as numbers, for which every bit pattern is valid.
            // That nobody shortens or rewrites the file meanwhile holds for what this crate writes: it replaces files
            // by renaming, which leaves a mapped one intact.
            let map = unsafe { Mmap::map(&file) }.map_err(Error::io("map", path))?;
            shards.check(at, &map)?;
            give_back(&map);
            // Numbers of pieces were counted before.
            maps.push((map, first as u32));
            let values = shard.offsets.last().zip(shard.offsets.first());
            first += values.map_or(0, |(end, start)| (end - start) / piece);
        }
        if first != pieces.pieces() {
            let path = folder.join(STATE_MANIFEST);
            let reason = format!("it has {first} positions of {}", pieces.pieces());
            return Err(StatesFault::Manifest { path, reason }.into());
        }
        Ok(Self {
            folder: folder.to_owned(),
            shards,
            precision: manifest.options.precision,
            layers: manifest.layers,
            hidden: manifest.hidden,
            maps,
            pieces: first,
            touched: AtomicU64::new(0),
        })
    }

    /// Bytes on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shards.bytes()
    }

    /// Removes the states from the disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove(self) -> Result<(), Error> {
        drop(self.maps);
        self.shards.remove_from(0)?;
        let path = self.folder.join(STATE_MANIFEST);
        fs::remove_file(&path).map_err(Error::io("remove", &path))
    }

    /// The bytes of a piece, `[layer, hidden]`.
    fn bytes_of(&self, piece: u32) -> Option<&[u8]> {
        let after = self.maps.partition_point(|(_, first)| *first <= piece);
        let at = after.checked_sub(1)?;
        let ((map, first), shard) = (self.maps.get(at)?, self.shards.files().get(at)?);
        let size = self.layers * self.hidden * self.precision.bytes();
        let start = shard.offsets.first()? + (piece - first) as usize * size;
        map.get(start..start + size)
    }

    /// Gives memory back now and then: the system counts what was read of a map as the process's own.
    fn count(&self, bytes: u64) {
        let touched = self.touched.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if touched < RESIDENT {
            return;
        }
        self.touched.store(0, Ordering::Relaxed);
        self.maps.iter().for_each(|(map, _)| give_back(map));
    }
}

/// What was read of a map is read again from the file, or from what the system holds of it.
#[cfg_attr(not(unix), allow(unused_variables))]
fn give_back(map: &Mmap) {
    #[cfg(unix)]
    #[allow(unsafe_code, reason = "advice on a map may discard changes to it")]
    // SAFETY: the map is read-only and backed by a file, so there are no changes to discard.
    let _ = unsafe { map.unchecked_advise(UncheckedAdvice::DontNeed) };
}

impl LayerStates for StateStore {
    fn layers(&self) -> usize {
        self.layers
    }

    fn hidden(&self) -> usize {
        self.hidden
    }

    fn pieces(&self) -> usize {
        self.pieces
    }

    fn gather(&self, pieces: &[u32], out: &mut [f32]) -> Result<(), Error> {
        let size = self.layers * self.hidden;
        crate::error::expect("room for the states", out.len(), pieces.len() * size)?;
        for (piece, out) in pieces.iter().zip(out.chunks_exact_mut(size)) {
            let bytes = self.bytes_of(*piece);
            let bytes = bytes.ok_or(Fault::Piece {
                piece: *piece,
                pieces: self.pieces,
            })?;
            self.precision.decode(bytes, out);
        }
        let each = (size * self.precision.bytes()).max(AROUND);
        self.count((pieces.len() * each) as u64);
        Ok(())
    }
}

/// The sequences that stood first in one file.
struct Sequences<'a> {
    pieces: &'a Pieces,
    path: &'a Path,
    range: Range<usize>,
}

/// What is known of a sequence.
#[derive(Debug, Clone)]
struct StateItem {
    /// Positions that are wanted.
    positions: Arc<[usize]>,
    line: u64,
}

impl Supply for Sequences<'_> {
    type Raw = usize;
    type Item = StateItem;

    fn path(&self) -> &Path {
        self.path
    }

    fn total(&self) -> u64 {
        self.range.len() as u64
    }

    fn open(&self, first: u64) -> Result<Units<'_, usize>, bertology::Error> {
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        Ok(Box::new(self.range.clone().skip(first).map(Ok)))
    }

    fn size(&self, raw: &usize) -> usize {
        self.pieces.ids(*raw).len()
    }

    fn line(&self, raw: &usize) -> u64 {
        self.pieces.line(*raw)
    }

    fn prepare(&self, raw: usize) -> Result<Fate<Vec<Passage<StateItem>>>, bertology::Error> {
        Ok(Fate::one(Passage {
            sequence: Sequence::new(self.pieces.ids(raw).to_vec()),
            target: None,
            item: StateItem {
                positions: self.pieces.positions(raw).collect(),
                line: self.pieces.line(raw),
            },
        }))
    }
}

/// Takes the states of all layers at some positions.
#[derive(Debug, Clone)]
struct StateLens {
    model: LoadedModel,
    layers: usize,
    hidden: usize,
    options: StateOptions,
}

/// `[piece, layer, hidden]` of a sequence.
#[derive(Debug)]
struct StatePart {
    values: Values,
    /// A layer with a number that half precision cannot hold.
    too_large: Option<(usize, f32)>,
}

#[derive(Debug)]
enum Values {
    F16(Vec<f16>),
    F32(Vec<f32>),
}

impl Values {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::F16(values) if cfg!(target_endian = "little") => {
                out.extend_from_slice(bytemuck::cast_slice(values));
            }
            Self::F32(values) if cfg!(target_endian = "little") => {
                out.extend_from_slice(bytemuck::cast_slice(values));
            }
            Self::F16(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::F32(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        }
    }
}

impl StateLens {
    /// Whether the model has a norm behind its last block, of which the input is wanted.
    fn residual(&self) -> bool {
        let norm = self.model.architecture().norm;
        self.options.last_layer == LastLayer::BeforeNorm && norm == NormPlacement::Pre
    }

    /// Which of the stored layers a value is.
    fn layer(&self, tap: Tap) -> Option<usize> {
        match tap {
            Tap::Model(ModelSite::Embeddings) => Some(0),
            Tap::Model(ModelSite::LastResidual) => Some(self.layers - 1),
            Tap::Layer(layer, LayerSite::HiddenState) => {
                let last = layer + 2 == self.layers;
                (!last || !self.residual()).then_some(layer + 1)
            }
            _ => None,
        }
    }

    fn put(&self, part: &mut StatePart, piece: usize, layer: usize, row: &[f32]) {
        let start = (piece * self.layers + layer) * self.hidden;
        match &mut part.values {
            Values::F32(values) => values[start..start + self.hidden].copy_from_slice(row),
            Values::F16(values) => {
                values[start..start + self.hidden].convert_from_f32_slice(row);
                let greatest = row
                    .iter()
                    .fold(0.0_f32, |most, value| most.max(value.abs()));
                if greatest >= MOST && part.too_large.is_none() {
                    part.too_large = Some((layer, greatest));
                }
            }
        }
    }
}

impl Handed for StateLens {
    const PURPOSE: Purpose = Purpose::Extraction;
}

impl Lens for StateLens {
    type Item = StateItem;
    type Part = StatePart;

    fn wants(&self) -> Wants<'_> {
        let mut sites = Interests::none().value(LayerSite::HiddenState);
        if self.options.layer_zero == LayerZero::Full {
            sites = sites.value(ModelSite::Embeddings);
        }
        if self.residual() {
            sites = sites.value(ModelSite::LastResidual);
        }
        Wants::sites(sites)
    }

    fn begin(&self, item: &StateItem, sequence: &Sequence) -> Result<StatePart, bertology::Error> {
        let size = item.positions.len() * self.layers * self.hidden;
        let mut part = StatePart {
            values: match self.options.precision {
                Precision::F16 => Values::F16(vec![f16::ZERO; size]),
                Precision::F32 => Values::F32(vec![0.0; size]),
            },
            too_large: None,
        };
        if self.options.layer_zero == LayerZero::WordOnly {
            let ids: Vec<u32> = item.positions.iter().map(|at| sequence.ids[*at]).collect();
            let rows = self.model.model().word_embeddings(&ids)?;
            for (piece, row) in rows.chunks_exact(self.hidden).enumerate() {
                self.put(&mut part, piece, 0, row);
            }
        }
        Ok(part)
    }

    fn see(&self, item: &StateItem, part: &mut StatePart, event: &Event<'_, f32>) {
        let Some(layer) = self.layer(event.tap) else {
            return;
        };
        for (piece, position) in item.positions.iter().enumerate() {
            self.put(part, piece, layer, event.value.row(*position));
        }
    }

    fn bytes(&self, tokens: u64) -> u64 {
        let size = self.layers * self.hidden * self.options.precision.bytes();
        tokens * size as u64
    }
}
