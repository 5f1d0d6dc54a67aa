//! What the spans of targets say: for labels that follow texts, and for whoever looks at targets one by one.

use std::ops::Range;

use bertology::LoadedModel;
use bertology::data::edge::{Record, Records};
use sha2::{Digest, Sha256};

use super::pieces::Names;
use super::strata::Strata;
use super::{Gathered, LayerStates, Pieces};
use crate::Error;

/// Where a target stands and what its spans are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Line of the file.
    pub line: u64,
    /// Words, half-open.
    pub spans: Vec<Range<usize>>,
    /// Words strictly between both spans, where there are two.
    pub distance: Option<usize>,
    /// `info.height` of the target, where it is noted: that of a constituent.
    pub height: Option<u64>,
}

/// The targets of a split that were kept, with the words of their spans.
#[derive(Debug, Default)]
pub(super) struct SpanTexts {
    names: Vec<String>,
    /// `[target][role]`
    spans: Vec<u32>,
    roles: usize,
    /// Words, half-open: `[target][role]`
    words: Vec<[u32; 2]>,
    lines: Vec<u64>,
    heights: Vec<Option<u32>>,
    /// SHA-256 of the texts of all records: splits that have it in common are of the same sentences.
    pub(super) sentences: [u8; 32],
    /// SHA-256 of those texts and of the places of the targets.
    pub(super) targets: [u8; 32],
}

impl SpanTexts {
    /// Reads a file once more.
    pub(super) fn read(records: &Records, gathered: &Gathered) -> Result<Self, Error> {
        let mut texts = Self {
            roles: 1 + usize::from(gathered.two_spans),
            ..Self::default()
        };
        let mut names = Names::default();
        let (mut digest, mut targets) = (Sha256::new(), Sha256::new());
        let mut number = 0;
        for record in records.open().map_err(bertology::Error::from)? {
            let record: Record = record.map_err(bertology::Error::from)?;
            digest.update(record.text.as_bytes());
            digest.update([0]);
            let words: Vec<&str> = record.words().collect();
            for target in &record.targets {
                let dropped = gathered.dropped_targets.contains(&number);
                number += 1;
                if dropped {
                    continue;
                }
                let spans: Vec<Range<usize>> = [Some(target.span1.clone()), target.span2.clone()]
                    .into_iter()
                    .flatten()
                    .collect();
                for span in &spans {
                    // A record has fewer than 2³² words.
                    texts.words.push([span.start as u32, span.end as u32]);
                    let text = words.get(span.clone()).unwrap_or_default().join(" ");
                    texts.spans.push(names.number(&text));
                }
                targets.update(record.line.to_le_bytes());
                for end in spans.iter().flat_map(|span| [span.start, span.end]) {
                    targets.update((end as u64).to_le_bytes());
                }
                let info = target.info.as_ref();
                texts.lines.push(record.line);
                let height = info.and_then(|info| info.get("height")?.as_u64());
                let height = height.map(|height| u32::try_from(height).unwrap_or(u32::MAX));
                texts.heights.push(height);
            }
        }
        texts.names = names.into_vec();
        texts.sentences = digest.finalize().into();
        targets.update(texts.sentences);
        texts.targets = targets.finalize().into();
        Ok(texts)
    }

    /// The words of a target's spans.
    pub(super) fn of(&self, target: usize) -> Vec<String> {
        let spans = &self.spans[target * self.roles..][..self.roles];
        spans
            .iter()
            .map(|name| self.names[*name as usize].clone())
            .collect()
    }

    pub(super) fn strata(&self) -> Strata {
        Strata::of_places((0..self.lines.len()).map(|target| self.place(target)))
    }

    pub(super) fn place(&self, target: usize) -> Place {
        let spans = self.words[target * self.roles..][..self.roles].iter();
        let spans: Vec<Range<usize>> = spans
            .map(|[start, end]| *start as usize..*end as usize)
            .collect();
        let between = |one: &Range<usize>, other: &Range<usize>| {
            let [first, second] = if one.start <= other.start {
                [one, other]
            } else {
                [other, one]
            };
            second.start.saturating_sub(first.end)
        };
        Place {
            line: self.lines[target],
            distance: match &spans[..] {
                [one, other] => Some(between(one, other)),
                _ => None,
            },
            height: self.heights[target].map(u64::from),
            spans,
        }
    }
}

/// The words of every piece by themselves as the only layer: no position, no segment, no context.
#[derive(Debug)]
pub(super) struct WordStates<'a> {
    model: &'a LoadedModel,
    /// Of each stored piece.
    ids: Vec<u32>,
}

impl<'a> WordStates<'a> {
    pub(super) fn new(model: &'a LoadedModel, pieces: &Pieces) -> Self {
        let ids = (0..pieces.sequences()).flat_map(|sequence| {
            let ids = pieces.ids(sequence);
            pieces.positions(sequence).map(|at| ids[at])
        });
        Self {
            model,
            ids: ids.collect(),
        }
    }
}

impl LayerStates for WordStates<'_> {
    fn layers(&self) -> usize {
        1
    }

    fn hidden(&self) -> usize {
        self.model.architecture().hidden_size
    }

    fn pieces(&self) -> usize {
        self.ids.len()
    }

    fn gather(&self, pieces: &[u32], out: &mut [f32]) -> Result<(), Error> {
        let ids: Vec<u32> = pieces
            .iter()
            .map(|piece| self.ids[*piece as usize])
            .collect();
        let found = self.model.model().word_embeddings(&ids);
        out.copy_from_slice(&found.map_err(bertology::Error::from)?);
        Ok(())
    }
}
