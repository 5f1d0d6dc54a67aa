//! Texts and proteins whose related units are known, as sequences that say which tokens each unit has.

use std::ops::Range;
use std::path::Path;

use bertology_checkpoint::Family;
use bertology_data::Example;
use bertology_data::relations::{
    Proteins, RelationFile, RelationInfo, RelationRecord, RelationText,
};
use bertology_tokenizer::{Encoding, Tokenizer};

use crate::input::align::{Aligned, Aligner};
use crate::input::prepare::{PrepareOptions, Preparer};
use crate::input::supply::{Fate, LeftOut, Passage, Supply, Units, after};
use crate::input::windows::TooLong;
use crate::input::words::Words;
use crate::{Error, LoadedModel, Outline};

/// Where records come from.
#[derive(Debug, Clone)]
pub enum RelationSource {
    /// A file of records.
    File(RelationFile),
    /// Sequences and their contacts.
    Proteins(Proteins),
}

/// How records are prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelationOptions {
    /// Longest sequence in tokens, special ones included; `None`: the model's limit.
    pub max_length: Option<usize>,
    /// What is done with longer ones; windows are refused.
    pub too_long: TooLong,
    /// Put the model's beginning-of-text token before texts whose tokenizer does not (GPT-2).
    pub bos: bool,
}

impl Default for RelationOptions {
    fn default() -> Self {
        Self {
            max_length: None,
            too_long: TooLong::Skip,
            bos: false,
        }
    }
}

/// Two units that are related, both of which the model reads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Related {
    /// Number of the first unit.
    pub from: usize,
    /// Of the second.
    pub to: usize,
    /// Number of the label, in the order of [`RelationPassages::labels`].
    pub label: usize,
    /// How much the pair counts.
    pub weight: f64,
}

/// What a study knows of a record.
#[derive(Debug, Clone)]
pub struct RelationItem {
    /// The line of the record.
    pub line: u64,
    /// What the file calls it.
    pub name: Option<String>,
    /// The tokens of the units that the model reads.
    pub words: Words,
    /// Whether a pair with this unit can be related or not: it has tokens of its own, is no special token, and something is
    /// known of it.
    pub takes_part: Vec<bool>,
    /// In the order of the file.
    pub related: Vec<Related>,
    /// Pairs with a unit that takes no part, or was cut off.
    pub lost: usize,
    /// Units that were cut off.
    pub beyond: usize,
    /// Units without any token.
    pub without_tokens: usize,
    /// Tokens with characters of two units.
    pub straddling: usize,
    /// Tokens of the sequence, special ones included.
    pub tokens: usize,
}

/// Records as sequences of one model.
#[derive(Debug)]
pub struct RelationPassages {
    aligner: Aligner,
    source: RelationSource,
    info: RelationInfo,
    /// In the order of the alphabet.
    labels: Vec<String>,
}

impl RelationPassages {
    /// Reads the source once to the end: every record is checked and counted before any model runs.
    ///
    /// # Errors
    /// Records that are wrong, a file without any pair, a maximum length out of range, a model without tokenizer.
    pub fn new(
        model: &LoadedModel,
        source: RelationSource,
        options: RelationOptions,
    ) -> Result<Self, Error> {
        let prepare = PrepareOptions {
            max_length: options.max_length,
            too_long: options.too_long,
            bos: options.bos,
            ..PrepareOptions::default()
        };
        let aligner = Aligner::new(Preparer::new(model, &prepare)?)?;
        let info = match &source {
            RelationSource::Proteins(proteins) => proteins.info()?,
            RelationSource::File(file) => {
                let mut reader = file.open()?;
                for record in reader.by_ref() {
                    record?;
                }
                reader.finish()?
            }
        };
        Ok(Self {
            aligner,
            labels: info.counts.labels.keys().cloned().collect(),
            source,
            info,
        })
    }

    /// The account of the source.
    #[must_use]
    pub fn info(&self) -> &RelationInfo {
        &self.info
    }

    /// All labels, in the order of the alphabet.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The longest sequence in tokens.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.aligner.preparer().max_length()
    }

    /// The model whose sequences these are.
    #[must_use]
    pub fn model(&self) -> &Outline {
        self.aligner.preparer().model()
    }

    /// A list of units as the model reads it, with what each is made of.
    fn aligned(&self, text: &RelationText) -> Result<Fate<Aligned>, Error> {
        // A protein's letters are tokens of ESM whether or not spaces stand between them; other vocabularies of residues are
        // read with spaces, as words.
        let family = self.model().architecture().family;
        let together = matches!(family, Family::Esm | Family::Esmc);
        let (text, spans) = match text {
            RelationText::Tokens(tokens) => return self.of_tokens(tokens),
            // ESM-C has no space among its letters: one would be an unknown residue.
            RelationText::Words(words) if family == Family::Esmc => {
                joined(words.iter().map(String::as_str), "")
            }
            RelationText::Words(words) => spaced(words.iter().map(String::as_str)),
            RelationText::Residues(letters) if together => {
                let spans = (0..letters.chars().count()).map(|at| at..at + 1);
                (letters.clone(), spans.collect())
            }
            RelationText::Residues(letters) => {
                let mut bytes = [0; 4];
                let letters = letters.chars();
                let letters: Vec<String> = letters
                    .map(|letter| letter.encode_utf8(&mut bytes).to_owned())
                    .collect();
                spaced(letters.iter().map(String::as_str))
            }
        };
        self.aligner.align(&text, &spans)
    }

    /// Tokens exactly as they are given, each a unit.
    fn of_tokens(&self, tokens: &[String]) -> Result<Fate<Aligned>, Error> {
        let tokenizer = self.model().tokenizer()?;
        let id = |token: &String| {
            let id = tokenizer.token_to_id(token);
            id.ok_or_else(|| Error::NoSuchToken {
                token: token.clone(),
            })
        };
        let ids = tokens.iter().map(id).collect::<Result<Vec<u32>, _>>()?;
        if ids.is_empty() {
            return Ok(Fate::LeftOut(LeftOut::Empty));
        }
        let example = Example {
            token_ids: Some(ids),
            ..Example::default()
        };
        let pieces = match self.aligner.preparer().pieces(&example)? {
            Fate::Studied(pieces) => pieces,
            Fate::LeftOut(why) => return Ok(Fate::LeftOut(why)),
        };
        let Some(piece) = pieces.into_iter().next() else {
            return Ok(Fate::LeftOut(LeftOut::Empty));
        };
        let mut encoding = piece.encoding;
        encoding.special = special(&encoding.ids, tokenizer);
        let kept = encoding.len();
        Ok(Fate::Studied(Aligned {
            words: Words::new((0..kept).map(|at| at..at + 1).collect(), 0..kept, kept),
            encoding,
            beyond: tokens.len() - kept,
            without_tokens: 0,
            straddling: 0,
        }))
    }

    fn item(&self, record: RelationRecord, aligned: &Aligned) -> RelationItem {
        let words = aligned.words.clone();
        let part = takes_part(&aligned.encoding, &words, &record.unknown);
        let mut related = Vec::with_capacity(record.pairs.len());
        for pair in &record.pairs {
            let there = |unit: usize| part.get(unit).copied().unwrap_or(false);
            if there(pair.from)
                && there(pair.to)
                && let Ok(label) = self.labels.binary_search(&pair.label)
            {
                related.push(Related {
                    from: pair.from,
                    to: pair.to,
                    label,
                    weight: pair.weight,
                });
            }
        }
        RelationItem {
            line: record.line,
            name: record.name,
            lost: record.pairs.len() - related.len(),
            takes_part: part,
            related,
            beyond: aligned.beyond,
            without_tokens: aligned.without_tokens,
            straddling: aligned.straddling,
            tokens: words.tokens(),
            words,
        }
    }
}

/// Words with single spaces between them, and the place of each in characters.
fn spaced<'a>(words: impl Iterator<Item = &'a str>) -> (String, Vec<Range<usize>>) {
    joined(words, " ")
}

/// Words with this between them, and where each stands.
fn joined<'a>(words: impl Iterator<Item = &'a str>, gap: &str) -> (String, Vec<Range<usize>>) {
    let (mut text, mut spans, mut at) = (String::new(), Vec::new(), 0);
    for word in words {
        if !text.is_empty() {
            text.push_str(gap);
            at += gap.chars().count();
        }
        let end = at + word.chars().count();
        text.push_str(word);
        spans.push(at..end);
        at = end;
    }
    (text, spans)
}

/// Which of these ids are of tokens that stand around texts.
fn special(ids: &[u32], tokenizer: &Tokenizer) -> Vec<bool> {
    let all = [
        tokenizer.cls_id(),
        tokenizer.sep_id(),
        tokenizer.bos_id(),
        tokenizer.eos_id(),
        tokenizer.pad_id(),
    ];
    ids.iter().map(|id| all.contains(&Some(*id))).collect()
}

fn takes_part(encoding: &Encoding, words: &Words, unknown: &[usize]) -> Vec<bool> {
    let first = words.words().start;
    let mut part: Vec<bool> = (0..words.len())
        .map(|unit| {
            let tokens = words.tokens_of(first + unit);
            !tokens.is_empty() && !encoding.special[tokens.start]
        })
        .collect();
    for unit in unknown {
        if let Some(part) = part.get_mut(*unit) {
            *part = false;
        }
    }
    part
}

impl Supply for RelationPassages {
    type Raw = RelationRecord;
    type Item = RelationItem;

    fn path(&self) -> &Path {
        match &self.source {
            RelationSource::File(file) => file.path(),
            RelationSource::Proteins(proteins) => proteins.path(),
        }
    }

    fn total(&self) -> u64 {
        self.info.counts.records
    }

    fn open(&self, first: u64) -> Result<Units<'_, RelationRecord>, Error> {
        match &self.source {
            RelationSource::File(file) => after(first, file.open()?.map(|record| Ok(record?))),
            RelationSource::Proteins(proteins) => {
                after(first, proteins.open()?.map(|record| Ok(record?)))
            }
        }
    }

    fn size(&self, record: &RelationRecord) -> usize {
        // English has about four tokens for three words.
        (2 + record.units() * 4 / 3).min(self.max_length())
    }

    fn line(&self, record: &RelationRecord) -> u64 {
        record.line
    }

    fn prepare(&self, record: RelationRecord) -> Result<Fate<Vec<Passage<RelationItem>>>, Error> {
        let aligned = match self.aligned(&record.text)? {
            Fate::Studied(aligned) if aligned.encoding.is_empty() => {
                return Ok(Fate::LeftOut(LeftOut::Empty));
            }
            Fate::Studied(aligned) => aligned,
            Fate::LeftOut(why) => return Ok(Fate::LeftOut(why)),
        };
        Ok(Fate::one(Passage {
            item: self.item(record, &aligned),
            sequence: LoadedModel::sequence(aligned.encoding),
            target: None,
        }))
    }
}
