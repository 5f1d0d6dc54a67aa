//! Which positions of which sequences the targets of some files point at.
//!
//! Files are read and aligned once, before any model runs. A sequence that several records have in common, of one task
//! or of many, is there once; of each only the positions in some span are wanted, since no probe looks at others. What
//! is held is the ids, some bytes a target, and nothing of the texts.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bertology::data::edge::{LabelCounts, Record, RecordInfo, Records, Vocabulary};
use bertology::drive::each;
use bertology::input::spans::{AlignedRecord, SpanAligner, SpanCounts};
use bertology::watch::Purpose;
use bertology::{Watch, drive::Work};
use sha2::{Digest, Sha256};

use super::{Split, StatesFault};
use crate::Error;

/// Records that a thread aligns at a time.
const JOB: usize = 64;

/// Reads files and gathers the positions that their targets point at.
#[derive(Debug)]
pub struct Gathering {
    aligner: SpanAligner,
    pieces: Pieces,
    /// Sequences by the hash of their ids.
    places: HashMap<u64, Vec<u32>>,
    labels: Names,
}

/// The targets of a file, aligned.
#[derive(Debug)]
pub struct Gathered {
    /// The account of the file.
    pub info: RecordInfo,
    /// What it took to align it.
    pub counts: SpanCounts,
    /// Labels of its targets, dropped ones included.
    pub labels: LabelCounts,
    /// Labels of the targets that were dropped.
    pub dropped: LabelCounts,
    /// Numbers of the targets that were dropped, counted through the file from 0: whoever reads the file again knows
    /// which of its targets are those of the split.
    pub dropped_targets: BTreeSet<u64>,
    /// Whether targets have two spans.
    pub two_spans: bool,
    targets: Targets,
}

/// Targets that were kept.
#[derive(Debug, Default)]
struct Targets {
    /// Where the targets of each record end.
    record_ends: Vec<u32>,
    sequences: Vec<u32>,
    /// Tokens of the sequence, `[target][role]`.
    spans: Vec<[u32; 2]>,
    /// Where the labels of each target end.
    label_ends: Vec<u32>,
    /// Numbers in the gathering's list of names.
    labels: Vec<u32>,
    names: Vec<String>,
}

/// The sequences that a model is to read, and the positions in them that are wanted.
#[derive(Debug, Clone, Default)]
pub struct Pieces {
    ids: Vec<u32>,
    /// For every id whether its position is wanted.
    wanted: Vec<bool>,
    /// Where each sequence's ids end.
    ends: Vec<usize>,
    /// Where each sequence's pieces end, if all positions are known.
    piece_ends: Vec<u32>,
    /// Of each sequence the line on which it stood first.
    lines: Vec<u64>,
    /// Files, each with its first sequence.
    files: Vec<(PathBuf, usize)>,
}

/// Texts and their numbers.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Names {
    pub(super) fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        // Distinct ones are fewer than targets, which are numbered.
        let number = self.names.len() as u32;
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }

    pub(super) fn into_vec(self) -> Vec<String> {
        self.names
    }
}

impl Gathering {
    /// Nothing yet, to be read with this aligner.
    #[must_use]
    pub fn new(aligner: SpanAligner) -> Self {
        Self {
            aligner,
            pieces: Pieces::default(),
            places: HashMap::new(),
            labels: Names::default(),
        }
    }

    /// Reads a file to its end.
    ///
    /// # Errors
    /// Records that are wrong or cannot be aligned, with file and line; a file none of whose targets is kept; more
    /// positions than can be numbered; an interruption.
    pub fn read(
        &mut self,
        records: &Records,
        work: &Work,
        watch: &mut dyn Watch,
    ) -> Result<Gathered, Error> {
        let path = records.path();
        let total = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        watch.begin(Purpose::Counting, 0, total);
        let first = self.pieces.ends.len();
        self.pieces.files.push((path.to_owned(), first));
        let mut reader = records.open().map_err(bertology::Error::from)?;
        let mut file = File::default();
        let aligner = self.aligner.clone();
        let mut jobs = Jobs {
            reader: &mut reader,
            ended: false,
        };
        let mut failure = None;
        let read = each(
            work.all(),
            &mut jobs,
            |_, job: Result<(Vec<Record>, u64), bertology::Error>| {
                let (records, bytes) = job?;
                let aligned = records.into_iter().map(|record| {
                    let aligned = aligner.align(path, &record)?;
                    Ok::<_, bertology::Error>((record, aligned))
                });
                Ok((aligned.collect::<Result<Vec<_>, _>>()?, bytes))
            },
            |(aligned, bytes)| {
                for (record, aligned) in aligned {
                    if let Err(fault) = self.add(&record, &aligned, &mut file) {
                        failure = Some(fault);
                        return Err(bertology::Error::Interrupted { done: 0, total });
                    }
                }
                if watch.advance(bytes.min(total), total).is_break() {
                    return Err(bertology::Error::Interrupted { done: bytes, total });
                }
                Ok(())
            },
        );
        if let Some(fault) = failure {
            return Err(fault.into());
        }
        read?;
        let two_spans = reader.two_spans().unwrap_or_default();
        let info = reader.finish().map_err(bertology::Error::from)?;
        if file.targets.sequences.is_empty() {
            let dropped = file.counts.dropped;
            let path = path.to_owned();
            return Err(StatesFault::AllDropped { path, dropped }.into());
        }
        file.targets.names.clone_from(&self.labels.names);
        Ok(Gathered {
            info,
            counts: file.counts,
            labels: file.labels,
            dropped: file.dropped,
            dropped_targets: file.dropped_targets,
            two_spans,
            targets: file.targets,
        })
    }

    fn add(
        &mut self,
        record: &Record,
        aligned: &AlignedRecord,
        file: &mut File,
    ) -> Result<(), StatesFault> {
        file.counts += aligned.counts;
        let sequences: Vec<u32> = aligned
            .sequences
            .iter()
            .map(|ids| self.sequence(ids, record.line))
            .collect::<Result<_, _>>()?;
        let targets = &mut file.targets;
        for (target, place) in record.targets.iter().zip(&aligned.targets) {
            let number = file.seen;
            file.seen += 1;
            file.labels.add_labels(&target.labels);
            let Some(place) = place else {
                file.dropped.add_labels(&target.labels);
                file.dropped_targets.insert(number);
                continue;
            };
            let sequence = sequences[place.sequence];
            for span in [Some(&place.span1), place.span2.as_ref()]
                .into_iter()
                .flatten()
            {
                self.pieces.want(sequence, span);
                // Sequences are as long as the model reads.
                targets.spans.push([span.start as u32, span.end as u32]);
            }
            for label in target.labels.set() {
                targets.labels.push(self.labels.number(label));
            }
            let end = u32::try_from(targets.labels.len()).map_err(|_| StatesFault::TooMany)?;
            targets.label_ends.push(end);
            targets.sequences.push(sequence);
        }
        let end = u32::try_from(targets.sequences.len()).map_err(|_| StatesFault::TooMany)?;
        targets.record_ends.push(end);
        Ok(())
    }

    /// The number of a sequence, which is added if it is new.
    fn sequence(&mut self, ids: &[u32], line: u64) -> Result<u32, StatesFault> {
        let mut hasher = DefaultHasher::new();
        ids.hash(&mut hasher);
        let alike = self.places.entry(hasher.finish()).or_default();
        if let Some(found) = alike
            .iter()
            .find(|at| self.pieces.ids(**at as usize) == ids)
        {
            return Ok(*found);
        }
        let number = u32::try_from(self.pieces.ends.len()).map_err(|_| StatesFault::TooMany)?;
        alike.push(number);
        let pieces = &mut self.pieces;
        pieces.ids.extend_from_slice(ids);
        pieces.wanted.resize(pieces.ids.len(), false);
        pieces.ends.push(pieces.ids.len());
        pieces.lines.push(line);
        Ok(number)
    }

    /// Everything was read.
    ///
    /// # Errors
    /// More positions than can be numbered.
    pub fn finish(self) -> Result<Pieces, Error> {
        let mut pieces = self.pieces;
        let mut ends = Vec::with_capacity(pieces.ends.len());
        let mut end = 0_u64;
        for sequence in 0..pieces.ends.len() {
            end += pieces.wanted(sequence).filter(|wanted| *wanted).count() as u64;
            ends.push(u32::try_from(end).map_err(|_| StatesFault::TooMany)?);
        }
        pieces.piece_ends = ends;
        Ok(pieces)
    }
}

/// What is known of a file that is being read.
#[derive(Debug, Default)]
struct File {
    counts: SpanCounts,
    labels: LabelCounts,
    dropped: LabelCounts,
    dropped_targets: BTreeSet<u64>,
    seen: u64,
    targets: Targets,
}

/// Some records at a time, and the bytes read so far.
struct Jobs<'a> {
    reader: &'a mut bertology::data::edge::RecordReader,
    ended: bool,
}

impl Iterator for Jobs<'_> {
    type Item = Result<(Vec<Record>, u64), bertology::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut job = Vec::new();
        while job.len() < JOB && !self.ended {
            match self.reader.next() {
                Some(Ok(record)) => job.push(record),
                Some(Err(error)) => {
                    self.ended = true;
                    return Some(Err(error.into()));
                }
                None => self.ended = true,
            }
        }
        (!job.is_empty()).then(|| Ok((job, self.reader.bytes_read())))
    }
}

impl Gathered {
    /// Targets that are kept.
    #[must_use]
    pub fn targets(&self) -> usize {
        self.targets.sequences.len()
    }

    /// Which sequence a target is in: targets of the same one stand in the same sentence.
    ///
    /// # Panics
    /// Past the last target.
    #[must_use]
    pub fn sequence_of(&self, target: usize) -> u32 {
        self.targets.sequences[target]
    }

    /// Which part of the targets was dropped.
    #[must_use]
    pub fn dropped_share(&self) -> f64 {
        self.counts.dropped as f64 / self.counts.targets.max(1) as f64
    }

    /// Refuses a file of whose targets more than [`MOST_DROPPED`] were dropped: a score of the others is none of the
    /// file.
    ///
    /// # Errors
    /// [`StatesFault::Dropped`].
    pub fn check_dropped(&self) -> Result<(), Error> {
        if self.dropped_share() <= MOST_DROPPED {
            return Ok(());
        }
        Err(StatesFault::Dropped {
            path: self.info.path.clone(),
            dropped: self.counts.dropped,
            targets: self.counts.targets,
        }
        .into())
    }
}

/// The largest part of a file's targets that may be dropped where it is scored.
pub const MOST_DROPPED: f64 = 0.005;

impl Pieces {
    /// Distinct sequences.
    #[must_use]
    pub fn sequences(&self) -> usize {
        self.ends.len()
    }

    /// Positions that are wanted.
    #[must_use]
    pub fn pieces(&self) -> usize {
        self.piece_ends.last().map_or(0, |end| *end as usize)
    }

    /// Tokens of all sequences.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// The tokens of a sequence.
    ///
    /// # Panics
    /// Past the last sequence.
    #[must_use]
    pub fn ids(&self, sequence: usize) -> &[u32] {
        &self.ids[self.range(sequence)]
    }

    fn range(&self, sequence: usize) -> Range<usize> {
        let start = sequence
            .checked_sub(1)
            .map_or(0, |before| self.ends[before]);
        start..self.ends[sequence]
    }

    fn wanted(&self, sequence: usize) -> impl Iterator<Item = bool> {
        self.wanted[self.range(sequence)].iter().copied()
    }

    /// The positions of a sequence that are wanted, ascending.
    ///
    /// # Panics
    /// Past the last sequence.
    pub fn positions(&self, sequence: usize) -> impl Iterator<Item = usize> {
        let wanted = self.wanted(sequence).enumerate();
        wanted.filter_map(|(at, wanted)| wanted.then_some(at))
    }

    fn want(&mut self, sequence: u32, span: &Range<usize>) {
        let start = self.range(sequence as usize).start;
        self.wanted[start + span.start..start + span.end].fill(true);
    }

    /// The line on which a sequence stood first.
    pub(super) fn line(&self, sequence: usize) -> u64 {
        self.lines[sequence]
    }

    /// Files and the sequences that stood first in them.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Path, Range<usize>)> {
        let next = self.files.iter().skip(1).map(|(_, first)| *first);
        let ends = next.chain([self.sequences()]);
        self.files
            .iter()
            .zip(ends)
            .map(|((path, first), end)| (path.as_path(), *first..end))
    }

    /// SHA-256 of all sequences and wanted positions, 64 lower-case hex digits.
    #[must_use]
    pub fn sha256(&self) -> String {
        let mut digest = Sha256::new();
        let mut bytes = Vec::new();
        for sequence in 0..self.sequences() {
            bytes.clear();
            let ids = self.ids(sequence);
            bytes.extend((ids.len() as u64).to_le_bytes());
            bytes.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
            bytes.extend(self.wanted(sequence).map(u8::from));
            digest.update(&bytes);
        }
        hex(&digest.finalize())
    }

    /// The targets of a file as a probe takes them: spans of stored pieces, labels of a vocabulary. Labels that it
    /// does not have are counted with their targets.
    ///
    /// # Errors
    /// No label, or more than can be numbered.
    pub fn split(&self, gathered: &Gathered, vocabulary: &Vocabulary) -> Result<Split, Error> {
        let roles = 1 + usize::from(gathered.two_spans);
        let mut split = Split::new(roles, vocabulary.len())?;
        let targets = &gathered.targets;
        let classes: Vec<Option<u16>> = targets
            .names
            .iter()
            .map(|name| vocabulary.index(name).and_then(|at| u16::try_from(at).ok()))
            .collect();
        // How many pieces are stored before each position of a sequence.
        let mut ranks: (Option<u32>, Vec<u32>) = (None, Vec::new());
        let (mut next, mut label) = (0, 0);
        for end in &targets.record_ends {
            for target in next..*end as usize {
                let sequence = targets.sequences[target];
                if ranks.0 != Some(sequence) {
                    ranks.0 = Some(sequence);
                    self.ranks(sequence as usize, &mut ranks.1);
                }
                let spans = &targets.spans[target * roles..][..roles];
                let stored = |span: &[u32; 2]| {
                    let first = ranks.1[span[0] as usize];
                    // All positions of a span are wanted.
                    [first, first + (span[1] - span[0])]
                };
                let labels = &targets.labels[label..targets.label_ends[target] as usize];
                label += labels.len();
                let known: Vec<u16> = labels
                    .iter()
                    .filter_map(|at| classes[*at as usize])
                    .collect();
                let unknown = u16::try_from(labels.len() - known.len()).unwrap_or(u16::MAX);
                split.target(stored(&spans[0]), spans.get(1).map(stored), &known, unknown)?;
            }
            next = *end as usize;
            split.end_sentence();
        }
        Ok(split)
    }

    fn ranks(&self, sequence: usize, ranks: &mut Vec<u32>) {
        let before = sequence.checked_sub(1);
        let mut rank = before.map_or(0, |before| self.piece_ends[before]);
        ranks.clear();
        for wanted in self.wanted(sequence) {
            ranks.push(rank);
            rank += u32::from(wanted);
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
