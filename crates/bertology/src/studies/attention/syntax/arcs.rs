//! From a sentence's tree to questions with answers, and the rows of a table in which they count.

use std::collections::{BTreeMap, BTreeSet};

use bertology_data::conllu::{Sentence, Word};
use serde::{Deserialize, Serialize};

use super::SyntaxOptions;

/// The row of all words.
pub const ALL: &str = "all";
/// The row of all words but those whose relation is `punct`.
pub const ALL_WITHOUT_PUNCT: &str = "all without punct";
/// Stanford's `prep`: a preposition, of which UD has no arc, depends on the head of the noun that it marks. Counted
/// with `sd_view`.
pub const SD_PREPOSITION: &str = "sd:prep";
/// Stanford's `pobj`: the noun depends on its preposition (UD's `case` turned round). Counted with `sd_view`.
pub const SD_OBJECT: &str = "sd:pobj";

/// The possessor's relation.
const POSSESSOR: &str = "nmod:poss";
/// The tag (XPOS) of the possessive ending, whatever its form: `'s`, `’s`, `s`, `'`.
const POSSESSIVE_ENDING: &str = "POS";

/// The rows of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rows {
    /// [`ALL`], [`ALL_WITHOUT_PUNCT`], relations by name, those of Stanford.
    names: Vec<String>,
}

impl Rows {
    /// The rows for a treebank with these relations (full labels).
    #[must_use]
    pub fn new(relations: &BTreeMap<String, u64>, options: &SyntaxOptions) -> Self {
        let labels: BTreeSet<&str> = relations
            .keys()
            .map(|label| label_of(label, options))
            .collect();
        let sd: &[&str] = if options.sd_view {
            &[SD_PREPOSITION, SD_OBJECT]
        } else {
            &[]
        };
        let names = [ALL, ALL_WITHOUT_PUNCT].into_iter().chain(labels);
        Self {
            names: names.chain(sd.iter().copied()).map(str::to_owned).collect(),
        }
    }

    /// Their names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Which row has this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|row| row == name)
    }
}

fn label_of<'a>(relation: &'a str, options: &SyntaxOptions) -> &'a str {
    match relation.split_once(':') {
        Some((base, _)) if options.base_relations => base,
        _ => relation,
    }
}

/// One question: which word is the head?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    /// The word that is asked: the dependent, or the ending of a possessor.
    pub(super) asked: usize,
    /// The answer; none for a root.
    pub(super) head: Option<usize>,
    /// The row of its relation.
    pub(super) row: usize,
    /// Whether it counts in [`ALL`], and whether in [`ALL_WITHOUT_PUNCT`].
    pub(super) counts: (bool, bool),
}

/// The questions of a sentence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Questions {
    pub(super) list: Vec<Question>,
    /// Arcs between words that have the same tokens: nobody can be asked.
    pub(super) internal: u64,
}

impl Questions {
    /// `shared`: words with the same number have the same tokens.
    pub(super) fn new(
        sentence: &Sentence,
        shared: &[Option<usize>],
        rows: &Rows,
        options: &SyntaxOptions,
    ) -> Self {
        let mut questions = Self::default();
        for (at, word) in sentence.words.iter().enumerate() {
            let Some(row) = rows.find(label_of(&word.relation, options)) else {
                continue;
            };
            let clitic = options.possessive_clitic && is_possessor(sentence, at);
            questions.ask(
                shared,
                Question {
                    asked: at + usize::from(clitic),
                    head: word.head,
                    row,
                    counts: (true, !word.is_punctuation()),
                },
            );
        }
        let (prep, object) = (rows.find(SD_PREPOSITION), rows.find(SD_OBJECT));
        if let (Some(prep), Some(object)) = (prep, object) {
            for phrase in prepositional_phrases(sentence) {
                for (asked, head, row) in [
                    (phrase.preposition, phrase.governor, prep),
                    (phrase.noun, phrase.preposition, object),
                ] {
                    questions.ask(
                        shared,
                        Question {
                            asked,
                            head: Some(head),
                            row,
                            counts: (false, false),
                        },
                    );
                }
            }
        }
        questions
    }

    fn ask(&mut self, shared: &[Option<usize>], question: Question) {
        let same = |head: usize| shared[question.asked].is_some_and(|a| shared[head] == Some(a));
        if question.head.is_some_and(same) {
            self.internal += 1;
        } else {
            self.list.push(question);
        }
    }
}

fn is_possessor(sentence: &Sentence, at: usize) -> bool {
    let ending = sentence.words.get(at + 1);
    sentence.words[at].relation == POSSESSOR
        && ending.is_some_and(|word| word.xpos == POSSESSIVE_ENDING)
}

struct Phrase {
    preposition: usize,
    noun: usize,
    governor: usize,
}

/// Nouns that are `obl` or `nmod` (no possessors) with a `case` that is no possessive ending, the first if several.
fn prepositional_phrases(sentence: &Sentence) -> impl Iterator<Item = Phrase> {
    let mark = |word: &Word| word.base_relation() == "case" && word.xpos != POSSESSIVE_ENDING;
    let words = sentence.words.iter().enumerate();
    words.filter_map(move |(noun, word)| {
        let fits = matches!(word.base_relation(), "obl" | "nmod") && word.relation != POSSESSOR;
        let governor = word.head.filter(|_| fits)?;
        let preposition = sentence
            .children(noun)
            .find(|child| mark(&sentence.words[*child]))?;
        Some(Phrase {
            preposition,
            noun,
            governor,
        })
    })
}
