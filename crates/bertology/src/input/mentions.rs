//! The mentions of a document in the window that the model reads.

use std::collections::BTreeMap;
use std::ops::Range;

use bertology_data::conllu::{Document, Mention};
use serde::{Deserialize, Serialize};

/// What a mention is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// Of any kind: the column of all.
    All,
    /// `she`, `themselves`.
    Pronoun,
    /// `Marie Curie`.
    Proper,
    /// `the physicist`.
    Nominal,
}

impl Category {
    /// All, in the order of every table.
    pub const ALL: [Self; 4] = [Self::All, Self::Pronoun, Self::Proper, Self::Nominal];

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Pronoun => "pronoun",
            Self::Proper => "proper",
            Self::Nominal => "nominal",
        }
    }

    /// By the tag (UPOS) of a head word.
    #[must_use]
    pub fn of(upos: &str) -> Self {
        match upos {
            "PRON" => Self::Pronoun,
            "PROPN" => Self::Proper,
            _ => Self::Nominal,
        }
    }
}

/// A mention, its words counted over the whole document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentMention {
    /// Mentions with the same entity refer to the same thing.
    pub entity: String,
    /// Its words.
    pub words: Range<usize>,
    /// Its head word.
    pub head: usize,
    /// What it is.
    pub category: Category,
    /// Its words with single spaces between them, in lower case.
    pub text: String,
    /// The form of its head word, in lower case.
    pub head_form: String,
    /// Number, gender and person of its head word, as far as its features say them.
    pub agreement: [Option<String>; 3],
}

/// The mentions of a window, one a head word, in the order of their head words, and what became of the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MentionsIn {
    /// One a head word.
    pub mentions: Vec<DocumentMention>,
    /// Mentions that have the head word of a longer one (or of an earlier one that is as long).
    pub same_head: u64,
    /// Mentions that are not wholly in the window.
    pub outside: u64,
}

impl MentionsIn {
    /// `mentions` are those of the document, the window its first `window` words.
    #[must_use]
    pub fn new(document: &Document, mentions: &[Mention], window: usize) -> Self {
        let mut starts = Vec::with_capacity(document.sentences.len());
        let mut words = 0;
        for sentence in &document.sentences {
            starts.push(words);
            words += sentence.len();
        }
        let mut found = Self::default();
        let mut by_head: BTreeMap<usize, DocumentMention> = BTreeMap::new();
        for mention in mentions {
            let start = starts[mention.sentence];
            if start + mention.words.end > window {
                found.outside += 1;
                continue;
            }
            let mention = DocumentMention::new(document, mention, start);
            match by_head.get_mut(&mention.head) {
                None => drop(by_head.insert(mention.head, mention)),
                Some(other) => {
                    found.same_head += 1;
                    if mention.words.len() > other.words.len() {
                        *other = mention;
                    }
                }
            }
        }
        found.mentions = by_head.into_values().collect();
        found
    }

    /// The antecedents of a mention: earlier ones of the same entity.
    pub fn antecedents(&self, mention: usize) -> impl Iterator<Item = &DocumentMention> {
        let entity = &self.mentions[mention].entity;
        self.mentions[..mention]
            .iter()
            .filter(move |other| other.entity == *entity)
    }

    /// The mentions that have antecedents.
    pub fn scored(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.mentions.len()).filter(|at| self.antecedents(*at).next().is_some())
    }
}

impl DocumentMention {
    /// `start`: words before the mention's sentence.
    fn new(document: &Document, mention: &Mention, start: usize) -> Self {
        let sentence = &document.sentences[mention.sentence];
        let head = &sentence.words[mention.tree_head];
        let forms = sentence.words[mention.words.clone()].iter();
        let forms: Vec<&str> = forms.map(|word| word.form.as_str()).collect();
        let category = Category::of(&head.upos);
        let agreement = ["Number", "Gender", "Person"].map(|name| {
            // Who is no pronoun is spoken of.
            let spoken_of = name == "Person" && category != Category::Pronoun;
            let value = head.feature(name).or(spoken_of.then_some("3"));
            value.map(str::to_owned)
        });
        Self {
            entity: mention.entity.clone(),
            words: start + mention.words.start..start + mention.words.end,
            head: start + mention.tree_head,
            category,
            text: forms.join(" ").to_lowercase(),
            head_form: head.form.to_lowercase(),
            agreement,
        }
    }

    /// Whether number, gender and person do not contradict; what a word does not say fits everything.
    #[must_use]
    pub fn agrees(&self, other: &Self) -> bool {
        let mut pairs = self.agreement.iter().zip(&other.agreement);
        pairs.all(|(a, b)| a.is_none() || b.is_none() || a == b)
    }
}
