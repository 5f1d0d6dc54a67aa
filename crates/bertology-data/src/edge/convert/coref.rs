//! Coreference within sentences: a target a pair of mentions.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::ud::record_of;
use super::{ConvertFault, Corpus, LeftOut, fault};
use crate::conllu::{Document, DocumentReader, Mention, Treebank};
use crate::edge::record::{Record, Target};
use crate::error::DataError;

/// What of entities that are mentioned once in a document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Singletons {
    /// Their mentions are mentions as others.
    #[default]
    Keep,
    /// They are none, as in OntoNotes, which marks no such entity.
    Drop,
}

/// Mentions of a sentence, of which every two make a target: far above what people write.
const MOST_MENTIONS: usize = 300;

pub(super) struct Coref {
    documents: DocumentReader,
    singletons: Singletons,
    ready: VecDeque<Record>,
}

impl Coref {
    pub(super) fn new(treebank: &Treebank, singletons: Singletons) -> Result<Self, DataError> {
        Ok(Self {
            documents: treebank.open_documents()?,
            singletons,
            ready: VecDeque::new(),
        })
    }

    fn add(&mut self, document: &Document, left_out: &mut LeftOut) -> Result<(), DataError> {
        let path = self.documents.path();
        let found = document.mentions(path)?;
        for (count, reason) in [
            (found.discontinuous, "mentions in several parts"),
            (found.without_words, "mentions without a word"),
        ] {
            (0..count).for_each(|_| left_out.add(reason));
        }
        let alone: BTreeSet<&str> = match self.singletons {
            Singletons::Keep => BTreeSet::new(),
            Singletons::Drop => {
                let chains = found.chains().into_iter();
                let alone = chains.filter(|(_, mentions)| mentions.len() == 1);
                alone.map(|(entity, _)| entity).collect()
            }
        };
        let mut mentions = found.mentions.iter().peekable();
        for (at, sentence) in document.sentences.iter().enumerate() {
            let mut of_sentence: Vec<&Mention> = Vec::new();
            let mut seen = BTreeSet::new();
            while let Some(mention) = mentions.next_if(|mention| mention.sentence == at) {
                let (start, end) = (mention.words.start, mention.words.end);
                if alone.contains(mention.entity.as_str()) {
                    left_out.add("mentions of entities mentioned once");
                } else if !seen.insert((start, end, mention.entity.as_str())) {
                    left_out.add("mentions written twice");
                } else {
                    of_sentence.push(mention);
                }
            }
            if of_sentence.len() > MOST_MENTIONS {
                let mentions = of_sentence.len();
                let most = MOST_MENTIONS;
                let found = ConvertFault::TooManyMentions { mentions, most };
                return Err(fault(path, sentence.line, found));
            }
            if of_sentence.len() < 2 {
                left_out.add("sentences of fewer than two mentions");
                continue;
            }
            let mut record = record_of(sentence, path, left_out)?;
            record.note("source", "coref");
            for (number, first) in of_sentence.iter().enumerate() {
                for second in &of_sentence[number + 1..] {
                    let label = if first.entity == second.entity {
                        "1"
                    } else {
                        "0"
                    };
                    let (one, other) = (first.words.clone(), second.words.clone());
                    record.targets.push(Target::new(one, Some(other), label));
                }
            }
            self.ready.push_back(record);
        }
        Ok(())
    }
}

impl Corpus for Coref {
    fn read(&mut self, left_out: &mut LeftOut) -> Result<Option<Record>, DataError> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                return Ok(Some(record));
            }
            match self.documents.next().transpose()? {
                None => return Ok(None),
                Some(document) => self.add(&document, left_out)?,
            }
        }
    }

    fn finish(self: Box<Self>) -> Result<(u64, String), DataError> {
        let info = self.documents.finish()?;
        Ok((info.bytes, info.sha256))
    }
}
