//! Definite pronouns: does a pronoun speak of this phrase? Recast as entailment (White et al. 2017): the hypothesis is
//! the text with a phrase in the place of the pronoun.
//!
//! ```text
//! provenance: TRAIN
//! index: 1
//! text: The cat chased the mouse because it was hungry.
//! hypothesis: The cat chased the mouse because the cat was hungry.
//! entailed: entailed
//! partof: train
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use super::fault::{ConvertFault, quote};
use super::{Corpus, LeftOut, fault};
use crate::content::Content;
use crate::edge::record::{Record, Target, is_space};
use crate::error::DataError;
use crate::line::LineReader;
use crate::source::{DEFAULT_MAX_DOCUMENT_BYTES, ReadOptions};

/// An example of the file.
struct Example {
    line: u64,
    text: String,
    hypothesis: String,
    entailed: String,
    part: String,
}

/// Of one text: where it stood first, its split, and its hypotheses.
struct OfText {
    line: u64,
    text: String,
    part: String,
    hypotheses: Vec<(String, String)>,
}

pub(super) struct Dpr {
    lines: LineReader,
    split: Option<String>,
    /// Of the whole file: examples of one text need not stand together.
    texts: Option<VecDeque<OfText>>,
}

impl Dpr {
    pub(super) fn new(
        path: &Path,
        split: Option<&str>,
        options: ReadOptions,
    ) -> Result<Self, DataError> {
        Ok(Self {
            lines: LineReader::open(path, options.max_line_bytes, &Content::default())?,
            split: split.map(str::to_owned),
            texts: None,
        })
    }

    /// The next block of lines.
    fn example(&mut self) -> Result<Option<Example>, DataError> {
        let mut begun = 0;
        let mut values: BTreeMap<String, String> = BTreeMap::new();
        let path = self.lines.path().to_owned();
        while let Some(line) = self.lines.next_line()? {
            let text = line.text.trim();
            if text.is_empty() {
                if values.is_empty() {
                    continue;
                }
                break;
            }
            if values.is_empty() {
                begun = line.number;
            }
            let (key, value) = text.split_once(':').ok_or_else(|| {
                let expected = "a key, a colon and a value, such as `entailed: not-entailed`";
                let found = quote(text);
                fault(&path, line.number, ConvertFault::Layout { found, expected })
            })?;
            values.insert(key.trim().to_owned(), value.trim().to_owned());
        }
        if values.is_empty() {
            return Ok(None);
        }
        let mut value = |field, expected| {
            let found = values.remove(field).filter(|value| !value.is_empty());
            found.ok_or_else(|| {
                let found = String::new();
                let found = ConvertFault::Field {
                    field,
                    found,
                    expected,
                };
                fault(&path, begun, found)
            })
        };
        let example = Example {
            line: begun,
            text: value("text", "a sentence")?,
            hypothesis: value("hypothesis", "the sentence with a phrase for its pronoun")?,
            entailed: value("entailed", "entailed or not-entailed")?,
            part: value("partof", "train, dev or test")?,
        };
        if !["entailed", "not-entailed"].contains(&example.entailed.as_str()) {
            let found = ConvertFault::Field {
                field: "entailed",
                found: quote(&example.entailed),
                expected: "entailed or not-entailed",
            };
            return Err(fault(&path, begun, found));
        }
        Ok(Some(example))
    }

    fn load(&mut self) -> Result<VecDeque<OfText>, DataError> {
        let mut texts: VecDeque<OfText> = VecDeque::new();
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        while let Some(example) = self.example()? {
            // Examples of one text need not stand together, so all are held: the published file has a few hundred kilobytes.
            if self.lines.bytes_read() > DEFAULT_MAX_DOCUMENT_BYTES as u64 {
                return Err(DataError::DocumentTooLong {
                    path: self.lines.path().to_owned(),
                    line: 1,
                    limit: DEFAULT_MAX_DOCUMENT_BYTES,
                });
            }
            let at = *places.entry(example.text.clone()).or_insert(texts.len());
            let hypothesis = (example.hypothesis, example.entailed);
            match texts.get_mut(at) {
                Some(of) if of.part == example.part => of.hypotheses.push(hypothesis),
                Some(of) => {
                    let (first, second) = (of.part.clone(), example.part);
                    let found = ConvertFault::TwoSplits { first, second };
                    return Err(fault(self.lines.path(), example.line, found));
                }
                None => texts.push_back(OfText {
                    line: example.line,
                    text: example.text,
                    part: example.part,
                    hypotheses: vec![hypothesis],
                }),
            }
        }
        Ok(texts)
    }
}

impl Corpus for Dpr {
    fn read(&mut self, left_out: &mut LeftOut) -> Result<Option<Record>, DataError> {
        let mut texts = match self.texts.take() {
            Some(texts) => texts,
            None => self.load()?,
        };
        let record = loop {
            let Some(of) = texts.pop_front() else {
                break None;
            };
            if self.split.as_ref().is_some_and(|split| *split != of.part) {
                left_out.add("texts of another split");
                continue;
            }
            let words = tokens(&of.text);
            let mut record = Record::of_words(words.iter().map(String::as_str));
            record.line = of.line;
            record.note("source", "dpr");
            record.note("split", of.part.as_str());
            for (hypothesis, entailed) in &of.hypotheses {
                match target(&words, &tokens(hypothesis), entailed) {
                    Some(target) => record.targets.push(target),
                    None => left_out.add("hypotheses whose phrase is not found before the pronoun"),
                }
            }
            break Some(record);
        };
        self.texts = Some(texts);
        Ok(record)
    }

    fn finish(self: Box<Self>) -> Result<(u64, String), DataError> {
        self.lines.finish()
    }
}

/// The pronoun is the first word that the hypothesis has not; the phrase in its place is looked for from the beginning
/// of the text on. There it may begin with a capital.
fn target(text: &[String], hypothesis: &[String], label: &str) -> Option<Target> {
    let length = (hypothesis.len() + 1).checked_sub(text.len())?;
    let mut pairs = text.iter().zip(hypothesis);
    let pronoun = pairs.position(|(word, other)| word != other)?;
    let phrase = hypothesis.get(pronoun..pronoun + length)?;
    let (first, rest) = phrase.split_first()?;
    let found = (0..=pronoun).find(|&at| {
        let Some((word, others)) = text.get(at..at + length).and_then(<[String]>::split_first)
        else {
            return false;
        };
        let same = word == first || at == 0 && *word == capitalised(first);
        same && others == rest
    })?;
    Some(Target::new(
        pronoun..pronoun + 1,
        Some(found..found + length),
        label,
    ))
}

fn capitalised(word: &str) -> String {
    let mut characters = word.chars();
    let first = characters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(characters).collect()
}

/// Words of a sentence, punctuation apart and `'s` from what is before it, after the rules of the Moses tokenizer for
/// English as far as the sentences of this corpus need them.
fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut words = text
        .split(is_space)
        .filter(|word| !word.is_empty())
        .peekable();
    while let Some(word) = words.next() {
        let last = words.peek().is_none();
        let mut rest = word;
        let mut behind: Vec<&str> = Vec::new();
        while let Some(end) = split_last(rest).filter(|(before, mark)| {
            !before.is_empty()
                && (ENDS.contains(mark) || *mark == "." && (last || !abbreviation(before)))
        }) {
            rest = end.0;
            behind.push(end.1);
        }
        while let Some(first) = rest.chars().next()
            && rest.len() > first.len_utf8()
            && BEGINS.contains(&first)
        {
            found.push(first.to_string());
            rest = &rest[first.len_utf8()..];
        }
        // "cat's" is "cat" and "'s", "don't" is "don" and "'t".
        let letter = char::is_alphabetic;
        let clitic = rest.char_indices().find(|&(at, mark)| {
            let (before, after) = (&rest[..at], &rest[at + mark.len_utf8()..]);
            "'\u{2019}".contains(mark) && before.ends_with(letter) && after.starts_with(letter)
        });
        match clitic {
            Some((at, _)) => found.extend([rest[..at].to_owned(), rest[at..].to_owned()]),
            None => found.push(rest.to_owned()),
        }
        found.extend(behind.into_iter().rev().map(str::to_owned));
    }
    found
}

const ENDS: [&str; 10] = [",", "!", "?", ";", ":", ")", "\"", "'", "]", "\u{201d}"];
const BEGINS: [char; 5] = ['(', '"', '\'', '[', '\u{201c}'];

fn split_last(word: &str) -> Option<(&str, &str)> {
    let (at, _) = word.char_indices().next_back()?;
    Some(word.split_at(at))
}

/// Whether a full stop behind it, within a sentence, belongs to it.
fn abbreviation(word: &str) -> bool {
    const TITLES: [&str; 8] = ["Mr", "Mrs", "Ms", "Dr", "Prof", "St", "Jr", "Sr"];
    TITLES.contains(&word) || word.contains('.') || word.chars().count() == 1
}
