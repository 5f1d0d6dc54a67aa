//! SemEval-2010 task 8: two nominals in a sentence, and the relation between them.
//!
//! ```text
//! 7<TAB>"The <e1>fire</e1> was caused by a faulty <e2>wire</e2>."
//! Cause-Effect(e2,e1)
//! Comment: none
//! ```

use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::fault::{ConvertFault, quote};
use super::{Corpus, LeftOut, fault};
use crate::content::Content;
use crate::edge::record::{Record, Target, is_space};
use crate::edge::twister::MersenneTwister;
use crate::error::DataError;
use crate::line::LineReader;
use crate::source::ReadOptions;

/// Which examples of a file.
///
/// The organisers published no development split. That of the paper is made of the training file: an example stays in
/// the training split if a number of Python's generator, seeded with 42, is at most 0.85; one number an example, in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SemEvalPart {
    /// All.
    #[default]
    All,
    /// Those of the paper's training split: 6,851 of 8,000.
    Train,
    /// Those of its development split: 1,149.
    Dev,
}

/// The seed of the paper's split, and the share of the training split.
const SPLIT: (u64, f64) = (42, 0.85);

pub(super) struct SemEval {
    lines: LineReader,
    part: SemEvalPart,
    draws: MersenneTwister,
}

const EXAMPLE: &str = "an example, which begins with a number and its sentence in double quotes; give TRAIN_FILE.TXT or \
                       TEST_FILE_FULL.TXT";

impl SemEval {
    pub(super) fn new(
        path: &Path,
        part: SemEvalPart,
        options: ReadOptions,
    ) -> Result<Self, DataError> {
        Ok(Self {
            lines: LineReader::open(path, options.max_line_bytes, &Content::default())?,
            part,
            draws: MersenneTwister::new(SPLIT.0),
        })
    }

    /// The next line, its spaces before and behind left out; none at the end of the file.
    fn line(&mut self) -> Result<Option<(u64, String)>, DataError> {
        let line = self.lines.next_line()?;
        Ok(line.map(|line| (line.number, line.text.trim().to_owned())))
    }

    fn example(&mut self) -> Result<Option<Record>, DataError> {
        let (number, sentence) = loop {
            match self.line()? {
                None => return Ok(None),
                Some((_, text)) if text.is_empty() => {}
                Some(found) => break found,
            }
        };
        let path = self.lines.path().to_owned();
        let layout = |line, text: &str, expected| {
            let found = quote(text);
            fault(&path, line, ConvertFault::Layout { found, expected })
        };
        let parts = sentence.split_once(is_space);
        let parts = parts.and_then(|(id, text)| Some((id.parse::<u64>().ok()?, text.trim())));
        let quoted = parts.and_then(|(id, text)| {
            let text = text.strip_prefix('"')?.strip_suffix('"')?;
            Some((id, text))
        });
        let (id, text) = quoted.ok_or_else(|| layout(number, &sentence, EXAMPLE))?;
        let relation =
            "the relation, such as Cause-Effect(e1,e2) or Other, which stands below its sentence";
        let (below, label) = self.line()?.unwrap_or((number, String::new()));
        if label.is_empty() || label.contains(is_space) {
            return Err(layout(below, &label, relation));
        }
        let mut comment = None;
        if let Some((line, text)) = self.line()?
            && !text.is_empty()
        {
            let below = "a comment or a blank line, one of which stands below a relation";
            let found = text.strip_prefix("Comment:");
            let found = found.ok_or_else(|| layout(line, &text, below))?;
            comment = Some(found.trim().to_owned());
        }
        let (plain, spans) = untagged(text).map_err(|found| fault(&path, number, found))?;
        let [span1, span2] = spans;
        let mut target = Target::new(span1, Some(span2), &label);
        if let Some(comment) = comment.filter(|comment| !comment.is_empty()) {
            target.info = Some(
                [("comment".to_owned(), comment.into())]
                    .into_iter()
                    .collect(),
            );
        }
        let mut record = Record::of_words(plain.split(is_space).filter(|word| !word.is_empty()));
        record.line = number;
        record.targets.push(target);
        record.note("source", "semeval");
        record.note("id", id);
        Ok(Some(record))
    }
}

/// The sentence without its tags, and the words that they mark.
fn untagged(text: &str) -> Result<(String, [Range<usize>; 2]), ConvertFault> {
    let mut plain = text.to_owned();
    let mut bytes = [0..0, 0..0];
    for (tag, open, close) in [("e1", "<e1>", "</e1>"), ("e2", "<e2>", "</e2>")] {
        for mark in [open, close] {
            if text.matches(mark).count() != 1 {
                return Err(ConvertFault::Tags { tag });
            }
        }
    }
    // Places in the text without any tag.
    let place = |mark: &str| {
        let at = text.find(mark)?;
        let marks = ["<e1>", "</e1>", "<e2>", "</e2>"].into_iter();
        let before = marks.filter(|other| text.find(other).is_some_and(|other| other < at));
        Some(at - before.map(str::len).sum::<usize>())
    };
    for (range, tag) in bytes.iter_mut().zip(["e1", "e2"]) {
        let (open, close) = (place(&format!("<{tag}>")), place(&format!("</{tag}>")));
        if let (Some(open), Some(close)) = (open, close) {
            *range = open..close;
        }
    }
    for mark in ["<e1>", "</e1>", "<e2>", "</e2>"] {
        plain = plain.replace(mark, "");
    }
    let mut words: Vec<Range<usize>> = Vec::new();
    let mut inside = false;
    for (at, character) in plain.char_indices() {
        let end = at + character.len_utf8();
        if is_space(character) {
            inside = false;
        } else if inside {
            if let Some(word) = words.last_mut() {
                word.end = end;
            }
        } else {
            words.push(at..end);
            inside = true;
        }
    }
    let span = |bytes: &Range<usize>, tag| {
        let touched = |word: &Range<usize>| word.start < bytes.end && bytes.start < word.end;
        let first = words.iter().position(touched);
        let last = words.iter().rposition(touched);
        match (first, last) {
            (Some(first), Some(last)) => Ok(first..last + 1),
            _ => Err(ConvertFault::Tags { tag }),
        }
    };
    let spans = [span(&bytes[0], "e1")?, span(&bytes[1], "e2")?];
    Ok((plain, spans))
}

impl Corpus for SemEval {
    fn read(&mut self, left_out: &mut LeftOut) -> Result<Option<Record>, DataError> {
        loop {
            let Some(record) = self.example()? else {
                return Ok(None);
            };
            let train = self.draws.next_f64() <= SPLIT.1;
            match self.part {
                SemEvalPart::Train if !train => left_out.add("examples of the development split"),
                SemEvalPart::Dev if train => left_out.add("examples of the training split"),
                _ => return Ok(Some(record)),
            }
        }
    }

    fn finish(self: Box<Self>) -> Result<(u64, String), DataError> {
        self.lines.finish()
    }
}
