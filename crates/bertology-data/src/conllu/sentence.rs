//! A sentence: its words in a tree, and the tokens of its surface.

use std::ops::Range;
use std::sync::Arc;

use super::written::{SpannedText, WordSpan};

/// A word, one node of the dependency tree. Strings are as in the file, `_` where it has nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Word {
    /// FORM; `_` is an underscore. May hold spaces.
    pub form: String,
    /// LEMMA.
    pub lemma: String,
    /// UPOS, the universal part of speech.
    pub upos: String,
    /// XPOS, the treebank's own tag; `POS` is the possessive clitic in English treebanks.
    pub xpos: String,
    /// FEATS, such as `Number=Sing|Person=3`; see [`Word::feature`].
    pub features: String,
    /// The word it depends on, from 0; none for the root.
    pub head: Option<usize>,
    /// DEPREL, the relation to the head, with its subtype: `nmod:poss`.
    pub relation: String,
    /// Whether white space follows in the text. Within a multiword token nothing follows, and after
    /// its last word what follows the token.
    pub space_after: bool,
    /// MISC; see [`Word::misc_value`].
    pub misc: String,
    /// Line of the file, from 1.
    pub line: u64,
}

impl Word {
    /// The relation without its subtype: `nmod` of `nmod:poss`.
    #[must_use]
    pub fn base_relation(&self) -> &str {
        match self.relation.split_once(':') {
            Some((base, _)) => base,
            None => &self.relation,
        }
    }

    /// Whether its relation is `punct` (or a subtype).
    #[must_use]
    pub fn is_punctuation(&self) -> bool {
        self.base_relation() == "punct"
    }

    /// The value of a feature, such as `Plur` of `Number`.
    #[must_use]
    pub fn feature(&self, name: &str) -> Option<&str> {
        value_of(&self.features, name)
    }

    /// The value of an attribute in MISC, such as `No` of `SpaceAfter`.
    #[must_use]
    pub fn misc_value(&self, name: &str) -> Option<&str> {
        value_of(&self.misc, name)
    }
}

/// The value of `name` in `a=x|b=y`.
pub(super) fn value_of<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    attributes
        .split('|')
        .filter_map(|attribute| attribute.split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// Several words written as one token, such as `don't` for `do` and `n't`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MultiwordToken {
    /// Its words, from 0.
    pub words: Range<usize>,
    /// Its surface form.
    pub form: String,
    /// Whether white space follows in the text.
    pub space_after: bool,
    /// MISC.
    pub misc: String,
    /// Line of the file, from 1.
    pub line: u64,
}

/// A node of the enhanced graph that stands for no written word. It is in no tree; mentions may
/// cover it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EmptyNode {
    /// How many words of the sentence stand before it.
    pub after: usize,
    /// FORM of the word it stands for, or `_`.
    pub form: String,
    /// MISC.
    pub misc: String,
    /// Line of the file, from 1.
    pub line: u64,
}

/// A document or a paragraph begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Boundary {
    /// Its name, if it has one.
    pub id: Option<String>,
}

/// What is written as one token: a word, or several of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurfaceToken<'a> {
    /// The written form.
    pub form: &'a str,
    /// Its words, from 0.
    pub words: Range<usize>,
    /// Which of [`Sentence::ranges`] it is; none for a word of its own.
    pub range: Option<usize>,
    /// Whether white space follows.
    pub space_after: bool,
}

/// A sentence with its dependency tree.
///
/// From a reader the tree is checked: at least one word, exactly one without a head, every head
/// another word, no cycle; [`Sentence::ranges`] ascend and do not overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sentence {
    /// Its first line in the file, from 1; comments count.
    pub line: u64,
    /// `# sent_id`.
    pub id: Option<String>,
    /// `# text`.
    pub text: Option<String>,
    /// `# newdoc`: a document begins with this sentence.
    pub new_document: Option<Boundary>,
    /// `# newpar`: a paragraph begins with this sentence.
    pub new_paragraph: Option<Boundary>,
    /// The `# global.Entity` in force, as written; none if there was none so far.
    pub entity_layout: Option<Arc<str>>,
    /// The words, in order.
    pub words: Vec<Word>,
    /// The multiword tokens, in order.
    pub ranges: Vec<MultiwordToken>,
    /// The empty nodes, in order.
    pub empty_nodes: Vec<EmptyNode>,
}

impl Sentence {
    /// How many words there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there are no words; never from a reader.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The word without a head.
    #[must_use]
    pub fn root(&self) -> Option<usize> {
        self.words.iter().position(|word| word.head.is_none())
    }

    /// The words that depend on `word` directly, in order.
    pub fn children(&self, word: usize) -> impl Iterator<Item = usize> + '_ {
        let words = self.words.iter().enumerate();
        words.filter_map(move |(at, other)| (other.head == Some(word)).then_some(at))
    }

    /// The head word of a span: the leftmost whose own head lies outside it. None if the span has
    /// no word.
    #[must_use]
    pub fn head_of(&self, span: Range<usize>) -> Option<usize> {
        let words = self.words.get(span.clone())?;
        let outside = |word: &Word| word.head.is_none_or(|head| !span.contains(&head));
        words.iter().position(outside).map(|at| span.start + at)
    }

    /// What is written, token by token: multiword tokens take the place of their words.
    #[must_use]
    pub fn surface_tokens(&self) -> Vec<SurfaceToken<'_>> {
        let mut tokens = Vec::with_capacity(self.words.len());
        let mut ranges = self.ranges.iter().enumerate().peekable();
        let mut at = 0;
        while let Some(word) = self.words.get(at) {
            let token = match ranges.next_if(|(_, range)| range.words.start <= at) {
                Some((index, range)) => SurfaceToken {
                    form: &range.form,
                    words: at..range.words.end.clamp(at + 1, self.words.len()),
                    range: Some(index),
                    space_after: range.space_after,
                },
                None => SurfaceToken {
                    form: &word.form,
                    words: at..at + 1,
                    range: None,
                    space_after: word.space_after,
                },
            };
            at = token.words.end;
            tokens.push(token);
        }
        tokens
    }

    /// The words joined by single spaces, with each word's place. This is the text that the
    /// published analyses of attention and syntax give to the model; it differs from the written
    /// one in the spaces around punctuation and clitics.
    #[must_use]
    pub fn spaced_text(&self) -> SpannedText {
        let mut text = String::new();
        let mut spans = Vec::with_capacity(self.words.len());
        let mut start = 0;
        for (at, word) in self.words.iter().enumerate() {
            if at > 0 {
                text.push(' ');
                start += 1;
            }
            text.push_str(&word.form);
            let end = start + word.form.chars().count();
            spans.push(WordSpan {
                characters: start..end,
                shared: None,
            });
            start = end;
        }
        SpannedText { text, spans }
    }
}
