//! Semantic proto-roles: what is true of an argument of a verb, as people answered.
//!
//! The two releases have thresholds of their own, which the paper keeps: of the first a property holds where the
//! response is above 3, of the second where the mean of the responses is at least 4 (both of 1 to 5).

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::fault::{ConvertFault, quote};
use super::{Corpus, LeftOut, fault};
use crate::conllu::{Treebank, TreebankReader};
use crate::content::Content;
use crate::edge::record::{Labels, Record, Target, is_space};
use crate::error::DataError;
use crate::line::LineReader;
use crate::source::ReadOptions;

/// Sums of the responses by property.
type Responses = BTreeMap<String, (f64, u64)>;

fn respond(responses: &mut Responses, property: &str, response: f64) {
    let sums = responses.entry(property.to_owned()).or_default();
    sums.0 += response;
    sums.1 += 1;
}

/// The properties whose mean response passes.
fn holding(responses: &Responses, passes: impl Fn(f64) -> bool) -> Labels {
    let hold = responses
        .iter()
        .filter(|(_, (sum, count))| passes(sum / *count as f64));
    Labels::Several(hold.map(|(property, _)| property.clone()).collect())
}

/// The first release with its sentences, a JSON object a line, as it was prepared for Rudinger et al. 2018.
pub(super) struct Spr1 {
    lines: LineReader,
    split: Option<String>,
}

#[derive(Deserialize)]
struct Spr1Sentence {
    tokens: Vec<String>,
    split: Option<String>,
    sent_id: Option<Value>,
    spr1: Vec<Spr1Pair>,
}

#[derive(Deserialize)]
struct Spr1Pair {
    pred_idx: usize,
    arg_idx: usize,
    responses: Vec<Spr1Response>,
}

#[derive(Deserialize)]
struct Spr1Response {
    spr_property: String,
    response: f64,
}

const SPR1: &str = "an object with `tokens` and `spr1`; the table of the release holds no sentences, so give the JSON \
                    that was made of it and the Penn Treebank";

impl Spr1 {
    pub(super) fn new(
        path: &Path,
        split: Option<&str>,
        options: ReadOptions,
    ) -> Result<Self, DataError> {
        Ok(Self {
            lines: LineReader::open(path, options.max_line_bytes, &Content::default())?,
            split: split.map(str::to_owned),
        })
    }
}

/// One word, if it is there.
fn word(at: usize, words: usize) -> Result<Range<usize>, ConvertFault> {
    span(at, at, words)
}

fn span(start: usize, end: usize, words: usize) -> Result<Range<usize>, ConvertFault> {
    if start > end || end >= words {
        return Err(ConvertFault::NoSuchWord { start, end, words });
    }
    Ok(start..end + 1)
}

impl Corpus for Spr1 {
    fn read(&mut self, left_out: &mut LeftOut) -> Result<Option<Record>, DataError> {
        let path = self.lines.path().to_owned();
        while let Some(line) = self.lines.next_line()? {
            let (text, number) = (line.text, line.number);
            if text.trim().is_empty() {
                continue;
            }
            let sentence: Spr1Sentence = serde_json::from_str(text).map_err(|_| {
                let found = quote(text);
                let expected = SPR1;
                fault(&path, number, ConvertFault::Layout { found, expected })
            })?;
            if self.split.is_some() && sentence.split != self.split {
                left_out.add("sentences of another split");
                continue;
            }
            let spaced = |token: &&String| token.is_empty() || token.contains(is_space);
            if let Some(token) = sentence.tokens.iter().find(spaced) {
                let form = quote(token);
                return Err(fault(&path, number, ConvertFault::SpaceInForm { form }));
            }
            let mut record = Record::of_words(sentence.tokens.iter().map(String::as_str));
            record.line = number;
            record.note("source", "spr1");
            for (key, value) in [
                ("split", sentence.split.map(Value::from)),
                ("sent_id", sentence.sent_id),
            ] {
                if let Some(value) = value {
                    record.note(key, value);
                }
            }
            let words = sentence.tokens.len();
            for pair in sentence.spr1 {
                let mut responses = Responses::new();
                for Spr1Response {
                    spr_property,
                    response,
                } in pair.responses
                {
                    respond(&mut responses, &spr_property, response);
                }
                let at = |place| word(place, words).map_err(|found| fault(&path, number, found));
                record.targets.push(Target {
                    labels: holding(&responses, |mean| mean > 3.0),
                    ..Target::new(at(pair.pred_idx)?, Some(at(pair.arg_idx)?), "")
                });
            }
            return Ok(Some(record));
        }
        Ok(None)
    }

    fn finish(self: Box<Self>) -> Result<(u64, String), DataError> {
        self.lines.finish()
    }
}

/// What was asked of a pair of spans.
struct Asked {
    /// Of the table.
    line: u64,
    predicate: usize,
    argument: (usize, usize),
    info: Map<String, Value>,
    responses: Responses,
}

/// The second release: a table of responses, and the treebank that it speaks of.
pub(super) struct Spr2 {
    table: PathBuf,
    digest: (u64, String),
    treebank: PathBuf,
    sentences: TreebankReader,
    split: String,
    /// By the number of the sentence, from 1, in the order of the table.
    asked: BTreeMap<u64, Vec<Asked>>,
    counted: LeftOut,
}

/// Columns that the table must have.
const COLUMNS: [&str; 7] = [
    "Sentence.ID",
    "Pred.Token",
    "Arg.Tokens.Begin",
    "Arg.Tokens.End",
    "Property",
    "Response",
    "Applicable",
];

/// `dev` of `en-ud-dev.conllu`.
fn split_of(name: &str) -> &str {
    let stem = name.split_once(".con").map_or(name, |(stem, _)| stem);
    stem.rsplit('-').next().unwrap_or(stem)
}

impl Spr2 {
    pub(super) fn new(
        path: &Path,
        treebank: &Path,
        split: Option<&str>,
        options: ReadOptions,
    ) -> Result<Self, DataError> {
        let name = treebank.file_name().unwrap_or_default().to_string_lossy();
        let split = split.unwrap_or_else(|| split_of(&name)).to_owned();
        let sentences = Treebank::new(treebank).open()?;
        let mut lines = LineReader::open(path, options.max_line_bytes, &Content::default())?;
        let header = lines.next_line()?;
        let header = header.map_or_else(Vec::new, |line| fields(line.text));
        let mut places = [0; COLUMNS.len()];
        for (place, column) in places.iter_mut().zip(COLUMNS) {
            let found = header.iter().position(|name| name == column);
            *place = found.ok_or_else(|| fault(path, 1, ConvertFault::Column { column }))?;
        }
        let notes = ["Pred.Lemma", "Arg.Phrase", "Is.Pilot", "Sent.Grammatical"];
        let notes = notes.map(|name| (name, header.iter().position(|other| other == name)));
        let mut found = Self {
            table: path.to_owned(),
            digest: (0, String::new()),
            treebank: treebank.to_owned(),
            sentences,
            split,
            asked: BTreeMap::new(),
            counted: LeftOut::default(),
        };
        while let Some(line) = lines.next_line()? {
            if !line.text.is_empty() {
                let row = fields(line.text);
                found.add(&row, line.number, &places, &notes)?;
            }
        }
        found.digest = lines.finish()?;
        Ok(found)
    }

    fn add(
        &mut self,
        row: &[String],
        line: u64,
        places: &[usize; COLUMNS.len()],
        notes: &[(&str, Option<usize>)],
    ) -> Result<(), DataError> {
        let field = |at: usize| {
            places
                .get(at)
                .and_then(|at| row.get(*at))
                .map_or("", String::as_str)
        };
        let wrong = |at: usize, expected| {
            let (name, found) = (
                COLUMNS.get(at).copied().unwrap_or_default(),
                quote(field(at)),
            );
            let found = ConvertFault::Field {
                field: name,
                found,
                expected,
            };
            fault(&self.table, line, found)
        };
        if field(6) == "no" {
            self.counted.add("responses that do not apply");
            return Ok(());
        }
        let sentence = field(0).split_once(' ');
        let sentence = sentence.and_then(|(file, number)| Some((file, number.parse().ok()?)));
        let (file, number): (&str, u64) = sentence.ok_or_else(|| {
            wrong(
                0,
                "a file and the number of a sentence, as en-ud-dev.conllu 1",
            )
        })?;
        if split_of(file) != self.split {
            self.counted.add("responses of another split");
            return Ok(());
        }
        let word = |at: usize| {
            let number = field(at).parse::<usize>();
            number.map_err(|_| wrong(at, "the number of a word, from 0"))
        };
        let (predicate, argument) = (word(1)?, (word(2)?, word(3)?));
        let response = field(5)
            .parse::<f64>()
            .ok()
            .filter(|value| value.is_finite());
        let response = response.ok_or_else(|| wrong(5, "a number from 1 to 5"))?;
        let property = field(4);
        let asked = self.asked.entry(number).or_default();
        let same = |other: &&mut Asked| other.predicate == predicate && other.argument == argument;
        match asked.iter_mut().find(same) {
            Some(other) => respond(&mut other.responses, property, response),
            None => {
                let mut responses = Responses::new();
                respond(&mut responses, property, response);
                let info = notes.iter().filter_map(|(name, at)| {
                    let value = at.and_then(|at| row.get(at))?;
                    Some(((*name).to_owned(), Value::from(value.as_str())))
                });
                asked.push(Asked {
                    line,
                    predicate,
                    argument,
                    info: info.collect(),
                    responses,
                });
            }
        }
        Ok(())
    }
}

/// The fields of a row; some writers of tables put quotes around texts.
fn fields(line: &str) -> Vec<String> {
    line.split('\t')
        .map(|field| {
            let inner = field
                .strip_prefix('"')
                .and_then(|field| field.strip_suffix('"'));
            inner.map_or_else(|| field.to_owned(), |inner| inner.replace("\"\"", "\""))
        })
        .collect()
}

impl Corpus for Spr2 {
    fn read(&mut self, left_out: &mut LeftOut) -> Result<Option<Record>, DataError> {
        for (reason, count) in std::mem::take(&mut self.counted).0 {
            *left_out.0.entry(reason).or_default() += count;
        }
        if self.asked.is_empty() {
            return Ok(None);
        }
        let Some(sentence) = self.sentences.next().transpose()? else {
            let Some((number, asked)) = self.asked.pop_first() else {
                return Ok(None);
            };
            let found = ConvertFault::NoSuchSentence {
                number,
                treebank: self.treebank.display().to_string(),
                sentences: self.sentences.counts().sentences,
            };
            let line = asked.first().map_or(1, |asked| asked.line);
            return Err(fault(&self.table, line, found));
        };
        let number = self.sentences.counts().sentences;
        let mut record = super::ud::record_of(&sentence, &self.treebank, left_out)?;
        record.note("source", "spr2");
        record.note("split", self.split.as_str());
        record.note("sentence", number);
        // A sentence of the treebank about which nothing was asked is no loss.
        let words = sentence.words.len();
        for asked in self.asked.remove(&number).unwrap_or_default() {
            let wrong = |found| fault(&self.table, asked.line, found);
            let span1 = word(asked.predicate, words).map_err(wrong)?;
            let (start, end) = asked.argument;
            let span2 = span(start, end, words).map_err(wrong)?;
            record.targets.push(Target {
                labels: holding(&asked.responses, |mean| mean >= 4.0),
                info: Some(asked.info),
                ..Target::new(span1, Some(span2), "")
            });
        }
        Ok(Some(record))
    }

    fn finish(self: Box<Self>) -> Result<(u64, String), DataError> {
        Ok(self.digest)
    }
}
