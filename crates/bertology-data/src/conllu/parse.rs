//! Lines become a sentence, and the sentence a checked tree.

use std::sync::Arc;

use super::fault::{TreebankFault, quote};
use super::sentence::{Boundary, EmptyNode, MultiwordToken, Sentence, Word, value_of};

/// A fault and its line.
pub(super) type Fault = (u64, TreebankFault);

/// The ten fields of a line.
type Fields<'a> = [&'a str; 10];

const MISC: usize = 9;

/// A sentence under way.
#[derive(Debug, Default)]
pub(super) struct Draft {
    sentence: Sentence,
    /// HEAD of every word as in the file; the words they point to may be still to come.
    heads: Vec<usize>,
    /// How many empty nodes follow the last word.
    empty_here: usize,
    /// Line of the first token, from 1; none while there are only comments.
    tokens_from: Option<u64>,
    bytes: usize,
}

/// What the first field of a line says.
enum Id {
    Word(usize),
    Range(usize, usize),
    Empty(usize, usize),
}

impl Draft {
    /// Name of the sentence, as far as it is known.
    pub(super) fn id(&self) -> Option<&str> {
        self.sentence.id.as_deref()
    }

    /// Bytes of the lines of tokens so far.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the next line, which is not blank. `limit` is the most bytes of a sentence.
    pub(super) fn push(
        &mut self,
        text: &str,
        line: u64,
        limit: usize,
        layout: &mut Option<Arc<str>>,
    ) -> Result<(), Fault> {
        if self.sentence.line == 0 {
            self.sentence.line = line;
        }
        if let Some(comment) = text.strip_prefix('#') {
            // Further down, a comment belongs to no sentence: where a blank line is missing it
            // would rename this one before the ids show it.
            if self.tokens_from.is_some() {
                return Ok(());
            }
            return self.comment(comment, layout).map_err(|fault| (line, fault));
        }
        let first = *self.tokens_from.get_or_insert(line);
        self.bytes += text.len() + 1;
        if self.bytes > limit {
            return Err((first, TreebankFault::SentenceTooLong { limit }));
        }
        self.token(text, line).map_err(|fault| (line, fault))
    }

    /// Ends the sentence at a blank line or at the end of the file. None if nothing began.
    pub(super) fn finish(
        &mut self,
        end_of_file: bool,
        layout: Option<&Arc<str>>,
    ) -> Result<Option<Sentence>, Fault> {
        if self.tokens_from.is_none() {
            // Blank lines between comments and words are harmless; a name without words is not.
            let named = self.sentence.id.is_some() || self.sentence.text.is_some();
            return if end_of_file && named {
                Err((self.sentence.line, TreebankFault::NoWords))
            } else {
                Ok(None)
            };
        }
        self.check()?;
        let mut sentence = std::mem::take(self).sentence;
        sentence.entity_layout = layout.cloned();
        Ok(Some(sentence))
    }

    fn comment(
        &mut self,
        comment: &str,
        layout: &mut Option<Arc<str>>,
    ) -> Result<(), TreebankFault> {
        let (key, value) = match comment.split_once('=') {
            Some((key, value)) => (key, Some(value.trim())),
            None => (comment, None),
        };
        let mut names = key.split_whitespace();
        let name = (names.next(), names.next(), names.next());
        let sentence = &mut self.sentence;
        match (name, value) {
            ((Some("sent_id"), None, None), Some(value)) => {
                if sentence.id.is_some() {
                    return Err(TreebankFault::TwoComments { key: "sent_id" });
                }
                sentence.id = Some(value.to_owned());
            }
            ((Some("text"), None, None), Some(value)) => {
                if sentence.text.is_some() {
                    return Err(TreebankFault::TwoComments { key: "text" });
                }
                sentence.text = Some(value.to_owned());
            }
            ((Some("newdoc"), None | Some("id"), None), value) => {
                sentence.new_document = Some(Boundary::named(value));
            }
            ((Some("newpar"), None | Some("id"), None), value) => {
                sentence.new_paragraph = Some(Boundary::named(value));
            }
            ((Some("global.Entity"), None, None), Some(value))
                if layout.as_deref() != Some(value) =>
            {
                *layout = Some(value.into());
            }
            _ => {}
        }
        Ok(())
    }

    fn token(&mut self, text: &str, line: u64) -> Result<(), TreebankFault> {
        let mut fields: Fields<'_> = [""; 10];
        let mut found = 0;
        for field in text.split('\t') {
            if let Some(slot) = fields.get_mut(found) {
                *slot = field;
            }
            found += 1;
        }
        if text.trim().is_empty() {
            return Err(TreebankFault::BlankFields { found });
        }
        if found != fields.len() {
            return Err(TreebankFault::FieldCount { found });
        }
        match parse_id(fields[0]).ok_or_else(|| TreebankFault::BadId {
            found: quote(fields[0]),
        })? {
            Id::Word(id) => self.word(id, &fields, line),
            Id::Range(first, last) => self.range(first, last, &fields, line),
            Id::Empty(after, number) => self.empty_node(after, number, &fields, line),
        }
    }

    fn word(&mut self, id: usize, fields: &Fields<'_>, line: u64) -> Result<(), TreebankFault> {
        let expected = self.sentence.words.len() + 1;
        if id != expected {
            return Err(TreebankFault::WordOrder {
                found: id,
                expected,
            });
        }
        let [
            _,
            form,
            lemma,
            upos,
            xpos,
            features,
            head,
            relation,
            _,
            misc,
        ] = *fields;
        if form.is_empty() {
            return Err(TreebankFault::EmptyForm);
        }
        let Some(head) = number(head) else {
            return Err(TreebankFault::BadHead { found: quote(head) });
        };
        if head == id {
            return Err(TreebankFault::OwnHead { id });
        }
        if matches!(relation, "" | "_") {
            return Err(TreebankFault::NoRelation { id });
        }
        let inside = self.sentence.ranges.last().filter(|r| r.words.end >= id);
        let space_after = match inside {
            Some(range) => range.space_after && range.words.end == id,
            None => space_after(misc),
        };
        self.sentence.words.push(Word {
            form: form.to_owned(),
            lemma: lemma.to_owned(),
            upos: upos.to_owned(),
            xpos: xpos.to_owned(),
            features: features.to_owned(),
            head: head.checked_sub(1),
            relation: relation.to_owned(),
            space_after,
            misc: misc.to_owned(),
            line,
        });
        self.heads.push(head);
        self.empty_here = 0;
        Ok(())
    }

    fn range(
        &mut self,
        first: usize,
        last: usize,
        fields: &Fields<'_>,
        line: u64,
    ) -> Result<(), TreebankFault> {
        let expected = self.sentence.words.len() + 1;
        if let Some(previous) = self.sentence.ranges.last()
            && first <= previous.words.end
        {
            return Err(TreebankFault::RangeOverlap {
                first,
                last,
                previous: previous.words.end,
            });
        }
        if first != expected || last < first {
            return Err(TreebankFault::RangeOrder {
                first,
                last,
                expected,
            });
        }
        if fields[1].is_empty() {
            return Err(TreebankFault::EmptyForm);
        }
        self.sentence.ranges.push(MultiwordToken {
            words: first - 1..last,
            form: fields[1].to_owned(),
            space_after: space_after(fields[MISC]),
            misc: fields[MISC].to_owned(),
            line,
        });
        Ok(())
    }

    fn empty_node(
        &mut self,
        after: usize,
        number: usize,
        fields: &Fields<'_>,
        line: u64,
    ) -> Result<(), TreebankFault> {
        let expected = (self.sentence.words.len(), self.empty_here + 1);
        if (after, number) != expected {
            return Err(TreebankFault::EmptyNodeOrder {
                found: quote(fields[0]),
                expected: format!("{}.{}", expected.0, expected.1),
            });
        }
        self.empty_here += 1;
        self.sentence.empty_nodes.push(EmptyNode {
            after,
            form: fields[1].to_owned(),
            misc: fields[MISC].to_owned(),
            line,
        });
        Ok(())
    }

    /// What only the whole sentence shows.
    fn check(&self) -> Result<(), Fault> {
        let Sentence { words, ranges, .. } = &self.sentence;
        let count = words.len();
        let start = self.tokens_from.unwrap_or(self.sentence.line);
        if count == 0 {
            return Err((start, TreebankFault::NoWords));
        }
        if let Some(range) = ranges.last().filter(|range| range.words.end > count) {
            let fault = TreebankFault::RangeEnd {
                first: range.words.start + 1,
                last: range.words.end,
                words: count,
            };
            return Err((range.line, fault));
        }
        let mut root = None;
        for (at, (word, &head)) in words.iter().zip(&self.heads).enumerate() {
            let id = at + 1;
            if head > count {
                let fault = TreebankFault::HeadOutOfRange {
                    id,
                    head,
                    words: count,
                };
                return Err((word.line, fault));
            }
            if head > 0 {
                continue;
            }
            if let Some(first) = root {
                return Err((word.line, TreebankFault::SeveralRoots { first, second: id }));
            }
            root = Some(id);
        }
        if root.is_none() {
            return Err((start, TreebankFault::NoRoot));
        }
        match cycle(&self.heads) {
            Some(circle) => {
                let first = circle.first().and_then(|id| words.get(id - 1));
                let line = first.map_or(start, |word| word.line);
                Err((line, TreebankFault::Cycle { words: circle }))
            }
            None => Ok(()),
        }
    }
}

impl Boundary {
    fn named(value: Option<&str>) -> Self {
        let id = value.filter(|value| !value.is_empty());
        Self {
            id: id.map(str::to_owned),
        }
    }
}

fn parse_id(field: &str) -> Option<Id> {
    if let Some((first, last)) = field.split_once('-') {
        return Some(Id::Range(number(first).filter(|&n| n > 0)?, number(last)?));
    }
    if let Some((after, minor)) = field.split_once('.') {
        return Some(Id::Empty(number(after)?, number(minor)?));
    }
    number(field).map(Id::Word)
}

/// A number of nothing but digits.
fn number(field: &str) -> Option<usize> {
    let digits = field.bytes().all(|byte| byte.is_ascii_digit());
    if digits { field.parse().ok() } else { None }
}

fn space_after(misc: &str) -> bool {
    value_of(misc, "SpaceAfter") != Some("No")
}

/// The first circle of HEADs (1-based, 0 the root, none out of range), beginning with its smallest
/// id.
fn cycle(heads: &[usize]) -> Option<Vec<usize>> {
    // The walk, from 1, that came by a word first; 0 for none.
    let mut walks = vec![0; heads.len() + 1];
    for start in 1..=heads.len() {
        let mut at = start;
        while at != 0 && walks[at] == 0 {
            walks[at] = start;
            at = heads[at - 1];
        }
        if at != 0 && walks[at] == start {
            let mut circle = vec![at];
            let mut next = heads[at - 1];
            while next != at {
                circle.push(next);
                next = heads[next - 1];
            }
            let smallest = circle.iter().enumerate().min_by_key(|&(_, &id)| id);
            let turn = smallest.map_or(0, |(place, _)| place);
            circle.rotate_left(turn);
            return Some(circle);
        }
    }
    None
}
