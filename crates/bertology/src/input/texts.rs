//! Texts for studies of attention, from wherever: a file of texts, or the sentences of a treebank.

use std::path::Path;

use super::passages::{RawText, TextItem, TextPassages};
use super::supply::{Fate, Passage, Supply, Units};
use super::treebank::{SentenceItem, SentencePassages};
use crate::Error;

/// Texts as sequences of one model.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a run has one")]
pub enum TextSupply {
    /// Those of a file.
    File(TextPassages),
    /// The sentences of a treebank.
    Treebank(SentencePassages),
}

impl TextSupply {
    /// The longest sequence in tokens.
    #[must_use]
    pub fn max_length(&self) -> usize {
        match self {
            Self::File(texts) => texts.max_length(),
            Self::Treebank(sentences) => sentences.max_length(),
        }
    }

    /// SHA-256 of the file.
    #[must_use]
    pub fn sha256(&self) -> &str {
        match self {
            Self::File(texts) => &texts.info().sha256,
            Self::Treebank(sentences) => &sentences.info().sha256,
        }
    }
}

/// A text as it is read.
#[derive(Debug)]
pub enum RawOfSupply {
    /// Of a file.
    File(Box<RawText>),
    /// Of a treebank.
    Treebank(Box<<SentencePassages as Supply>::Raw>),
}

/// What a study of texts knows of a sentence.
fn as_text(passage: Passage<SentenceItem>) -> Passage<TextItem> {
    Passage {
        sequence: passage.sequence,
        target: passage.target,
        item: passage.item.text,
    }
}

impl Supply for TextSupply {
    type Raw = RawOfSupply;
    type Item = TextItem;

    fn path(&self) -> &Path {
        match self {
            Self::File(texts) => texts.path(),
            Self::Treebank(sentences) => sentences.path(),
        }
    }

    fn total(&self) -> u64 {
        match self {
            Self::File(texts) => texts.total(),
            Self::Treebank(sentences) => sentences.total(),
        }
    }

    fn open(&self, first: u64) -> Result<Units<'_, RawOfSupply>, Error> {
        Ok(match self {
            Self::File(texts) => {
                let units = texts.open(first)?;
                Box::new(units.map(|raw| raw.map(|raw| RawOfSupply::File(Box::new(raw)))))
            }
            Self::Treebank(sentences) => {
                let units = sentences.open(first)?;
                Box::new(units.map(|raw| raw.map(|raw| RawOfSupply::Treebank(Box::new(raw)))))
            }
        })
    }

    fn size(&self, raw: &RawOfSupply) -> usize {
        match (self, raw) {
            (Self::File(texts), RawOfSupply::File(raw)) => texts.size(raw),
            (Self::Treebank(sentences), RawOfSupply::Treebank(raw)) => sentences.size(raw),
            // Opened by another supply: a guess is good enough.
            _ => 1,
        }
    }

    fn line(&self, raw: &RawOfSupply) -> u64 {
        match (self, raw) {
            (Self::File(texts), RawOfSupply::File(raw)) => texts.line(raw),
            (_, RawOfSupply::Treebank(raw)) => raw.line,
            _ => 1,
        }
    }

    fn prepare(&self, raw: RawOfSupply) -> Result<Fate<Vec<Passage<TextItem>>>, Error> {
        match (self, raw) {
            (Self::File(texts), RawOfSupply::File(raw)) => texts.prepare(*raw),
            (Self::Treebank(sentences), RawOfSupply::Treebank(raw)) => {
                Ok(match sentences.prepare(*raw)? {
                    Fate::LeftOut(why) => Fate::LeftOut(why),
                    Fate::Studied(all) => Fate::Studied(all.into_iter().map(as_text).collect()),
                })
            }
            _ => Err(Error::NoExamples),
        }
    }
}
