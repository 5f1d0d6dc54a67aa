//! Treebanks: a target a word.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fault::{ConvertFault, quote};
use super::{Corpus, LeftOut, fault};
use crate::conllu::{Sentence, Treebank, TreebankReader, Word};
use crate::edge::record::{Labels, Record, Target, WrittenText, is_space};
use crate::error::DataError;

/// What of a word is its label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UdTask {
    /// Its relation to its head: the word is the first span, the head the second.
    Dependencies(DependencyOptions),
    /// XPOS, the treebank's own part of speech: of English treebanks the nearest to the tags of the paper.
    Xpos,
    /// UPOS, the universal part of speech.
    Upos,
    /// FEATS. All of them are the labels of a word, as `Number=Sing`, and a word without any has no label; or of one
    /// feature its value, and a word without it is no target.
    Features(Option<String>),
}

/// Which dependencies there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DependencyOptions {
    /// What of `nmod:poss` is the label.
    pub subtypes: Subtypes,
    /// What of the word that has no head.
    pub root: Root,
    /// What of punctuation.
    pub punctuation: Punctuation,
    /// Repeat the faults of the published converter, so that its counts come out: sentences with empty nodes are
    /// left out, and so is the last sentence of a file; multiword tokens are an error.
    pub published_faults: bool,
}

/// What of `nmod:poss` is the label.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subtypes {
    /// All of it: the paper.
    #[default]
    Keep,
    /// `nmod`.
    Strip,
}

/// What of the word that has no head.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Root {
    /// It is its own head: the paper.
    #[default]
    Itself,
    /// It is no target.
    Drop,
}

/// What of words whose relation is `punct`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Punctuation {
    /// They are targets as others: the paper.
    #[default]
    Keep,
    /// They are none.
    Drop,
}

impl UdTask {
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Dependencies(_) => "give a treebank with words",
            Self::Xpos => {
                "this treebank has no XPOS (field 5); its universal parts of speech are another task"
            }
            Self::Upos => "this treebank has no UPOS (field 4); give another one",
            Self::Features(None) => "this treebank has no FEATS (field 6); give another one",
            Self::Features(Some(_)) => {
                "name a feature that its FEATS (field 6) have, such as Number"
            }
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Dependencies(_) => "ud-deps",
            Self::Xpos => "ud-pos",
            Self::Upos => "ud-upos",
            Self::Features(_) => "ud-feats",
        }
    }

    fn target(&self, at: usize, word: &Word, left_out: &mut LeftOut) -> Option<Target> {
        let span = at..at + 1;
        let tagged = |tag: &str, missing, left_out: &mut LeftOut| {
            if tag == "_" {
                left_out.add(missing);
                return None;
            }
            Some(Target::new(span.clone(), None, tag))
        };
        match self {
            Self::Dependencies(options) => options.target(at, word, left_out),
            Self::Xpos => tagged(&word.xpos, "words without XPOS", left_out),
            Self::Upos => tagged(&word.upos, "words without UPOS", left_out),
            Self::Features(None) => {
                let all = word.features.split('|');
                let features = all.filter(|feature| !feature.is_empty() && *feature != "_");
                let mut features: Vec<String> = features.map(str::to_owned).collect();
                features.sort_unstable();
                Some(Target {
                    labels: Labels::Several(features),
                    ..Target::new(span, None, "")
                })
            }
            Self::Features(Some(name)) => {
                let value = word.feature(name).unwrap_or("_");
                tagged(value, "words without the feature", left_out)
            }
        }
    }
}

impl DependencyOptions {
    fn target(&self, at: usize, word: &Word, left_out: &mut LeftOut) -> Option<Target> {
        if self.punctuation == Punctuation::Drop && word.is_punctuation() {
            left_out.add("words of punctuation");
            return None;
        }
        if self.root == Root::Drop && word.head.is_none() {
            left_out.add("words without a head");
            return None;
        }
        let head = word.head.unwrap_or(at);
        let label = match self.subtypes {
            Subtypes::Keep => &word.relation,
            Subtypes::Strip => word.base_relation(),
        };
        Some(Target::new(at..at + 1, Some(head..head + 1), label))
    }
}

pub(super) struct Ud {
    reader: TreebankReader,
    task: UdTask,
    faults: bool,
    /// Read, and not known yet to be another than the last.
    pending: Option<Sentence>,
    /// Whether any feature was there.
    featured: bool,
}

impl Ud {
    pub(super) fn new(treebank: &Treebank, task: UdTask) -> Result<Self, DataError> {
        let faults = matches!(&task, UdTask::Dependencies(options) if options.published_faults);
        Ok(Self {
            reader: treebank.open()?,
            task,
            faults,
            pending: None,
            featured: false,
        })
    }

    /// The next sentence that the published converter would have taken.
    fn sentence(&mut self, left_out: &mut LeftOut) -> Result<Option<Sentence>, DataError> {
        loop {
            let next = self.reader.next().transpose()?;
            if !self.faults {
                return Ok(next);
            }
            if let Some(range) = next.as_ref().and_then(|sentence| sentence.ranges.first()) {
                let (first, last) = (range.words.start + 1, range.words.end);
                let found = ConvertFault::Multiword { first, last };
                return Err(fault(self.reader.path(), range.line, found));
            }
            let ended = next.is_none();
            match std::mem::replace(&mut self.pending, next) {
                Some(_) if ended => left_out.add("the last sentence"),
                Some(sentence) if sentence.empty_nodes.is_empty() => return Ok(Some(sentence)),
                Some(_) => left_out.add("sentences with empty nodes"),
                None => {}
            }
            if ended {
                return Ok(None);
            }
        }
    }
}

/// A record of a sentence's words, with its text as it was written; without targets.
pub(super) fn record_of(
    sentence: &Sentence,
    reader: &std::path::Path,
    left_out: &mut LeftOut,
) -> Result<Record, DataError> {
    if let Some(word) = sentence.words.iter().find(|w| w.form.contains(is_space)) {
        let form = quote(&word.form);
        let found = ConvertFault::SpaceInForm { form };
        return Err(fault(reader, word.line, found));
    }
    let mut record = Record::of_words(sentence.words.iter().map(|word| word.form.as_str()));
    record.line = sentence.line;
    if let Some(id) = &sentence.id {
        record.note("sent_id", id.as_str());
    }
    match sentence.written_text(reader) {
        Ok(written) => record.set_written(&WrittenText {
            text: written.text,
            words: written.spans.into_iter().map(|s| s.characters).collect(),
        }),
        // The words are there all the same.
        Err(_) => left_out.add("texts as written that are not their words"),
    }
    Ok(record)
}

impl Corpus for Ud {
    fn read(&mut self, left_out: &mut LeftOut) -> Result<Option<Record>, DataError> {
        let Some(sentence) = self.sentence(left_out)? else {
            if self.task == UdTask::Features(None) && !self.featured {
                return Err(DataError::NothingConverted {
                    path: self.reader.path().to_owned(),
                    found: "no word has a feature".to_owned(),
                    hint: self.task.hint(),
                });
            }
            return Ok(None);
        };
        let mut record = record_of(&sentence, self.reader.path(), left_out)?;
        record.note("source", Value::from(self.task.name()));
        let words = sentence.words.iter().enumerate();
        record.targets = words
            .filter_map(|(at, word)| self.task.target(at, word, left_out))
            .collect();
        self.featured |= record
            .targets
            .iter()
            .any(|target| !target.labels.set().is_empty());
        Ok(Some(record))
    }

    fn finish(self: Box<Self>) -> Result<(u64, String), DataError> {
        let info = self.reader.finish()?;
        Ok((info.bytes, info.sha256))
    }
}
