//! Mentions of entities from the brackets that `Entity=` in MISC holds.
//!
//! `(e1-person-2` opens a mention of `e1` at a word, `e1)` closes it at its last one, `(e1-person-1)`
//! is a mention of one word; several stand side by side, as in `e3)(e1-person-1)(e5-place-2`.
//! Mentions may nest and cross. What the fields between the hyphens are is declared by
//! `# global.Entity`. Format: CorefUD 1.0.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use super::document::Document;
use super::fault::{TreebankFault, quote};
use super::parse::Fault;
use super::sentence::{Sentence, value_of};
use crate::error::DataError;

/// The fields of a mention where the file declares none: the layout of CorefUD.
pub const DEFAULT_ENTITY_LAYOUT: &str = "eid-etype-head-other";

/// Fields whose values are free text and may hold hyphens, if they come last.
const FREE_FIELDS: [&str; 3] = ["other", "identity", "link"];

/// A span of words that refers to an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// The entity; mentions of one document with the same one refer to the same thing.
    pub entity: String,
    /// The entity's type, such as `person`; none if the file gives none.
    pub entity_type: Option<String>,
    /// The sentence, counted from 0 within the document.
    pub sentence: usize,
    /// Its words within the sentence; at least one.
    pub words: Range<usize>,
    /// The head word that the file gives; none if it gives none, or an empty node.
    pub given_head: Option<usize>,
    /// The head word by the tree: the leftmost word whose own head lies outside the mention.
    pub tree_head: usize,
    /// Line of the file on which it opens, from 1.
    pub line: u64,
}

impl Mention {
    /// The head word within the sentence: the one that the file gives, else the one by the tree.
    #[must_use]
    pub fn head(&self) -> usize {
        self.given_head.unwrap_or(self.tree_head)
    }
}

/// The mentions of a document, and how many could not be taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mentions {
    /// In the order of the text: by sentence, first word, then the longer before the shorter.
    pub mentions: Vec<Mention>,
    /// Mentions in several parts, left out.
    pub discontinuous: u64,
    /// Mentions that cover empty nodes and no word, left out.
    pub without_words: u64,
    /// Mentions kept whose given head is an empty node, so that the tree's is used.
    pub heads_on_empty_nodes: u64,
}

impl Mentions {
    /// How many entities have a mention here.
    #[must_use]
    pub fn entities(&self) -> usize {
        self.chains().len()
    }

    /// The mentions of each entity, as indices into [`Mentions::mentions`] in order. By the name of
    /// the entity.
    #[must_use]
    pub fn chains(&self) -> BTreeMap<&str, Vec<usize>> {
        let mut chains: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, mention) in self.mentions.iter().enumerate() {
            chains.entry(&mention.entity).or_default().push(at);
        }
        chains
    }
}

impl Document {
    /// Resolves the mentions of the document. No mention at all is no fault.
    ///
    /// `path` is the file, for the message of an error.
    ///
    /// # Errors
    ///
    /// [`DataError::Treebank`] if `# global.Entity` or an `Entity=` cannot be read, if a mention is
    /// not closed in the sentence in which it opens or closed without having been opened, or if its
    /// head is not within it.
    pub fn mentions(&self, path: &Path) -> Result<Mentions, DataError> {
        let mut mentions = Mentions::default();
        for (at, sentence) in self.sentences.iter().enumerate() {
            read_sentence(sentence, at, &mut mentions).map_err(|(line, fault)| {
                DataError::Treebank {
                    path: path.to_owned(),
                    line,
                    sentence: sentence.id.clone(),
                    fault: Box::new(fault),
                }
            })?;
        }
        mentions.mentions.sort_by(|a, b| {
            let place = |m: &Mention| (m.sentence, m.words.start, std::cmp::Reverse(m.words.end));
            place(a).cmp(&place(b))
        });
        Ok(mentions)
    }
}

/// The names of the fields of an opening bracket.
struct Layout<'a> {
    declared: &'a str,
    fields: usize,
    entity: usize,
    entity_type: Option<usize>,
    head: Option<usize>,
    /// The last field takes what is left, hyphens included.
    open_ended: bool,
}

impl<'a> Layout<'a> {
    fn parse(declared: &'a str) -> Result<Self, TreebankFault> {
        let fault = |reason| TreebankFault::EntityLayout {
            declared: quote(declared),
            reason,
        };
        let names: Vec<&str> = declared.split('-').collect();
        let find = |name: &str| {
            let mut at = names
                .iter()
                .enumerate()
                .filter(|&(_, &other)| other == name);
            match (at.next(), at.next()) {
                (_, Some(_)) => Err(fault("names a field twice")),
                (found, None) => Ok(found.map(|(at, _)| at)),
            }
        };
        // GUM calls the entity a group.
        let entity = match find("eid")? {
            Some(at) => Some(at),
            None => find("GRP")?,
        };
        Ok(Self {
            declared,
            fields: names.len(),
            entity: entity.ok_or_else(|| fault("has no field `eid`"))?,
            entity_type: find("etype")?,
            head: find("head")?,
            // Where nothing else is declared, the entity's name may hold hyphens, as in old releases of GUM.
            open_ended: names.len() == 1
                || names.last().is_some_and(|name| FREE_FIELDS.contains(name)),
        })
    }

    /// Splits what stands behind an opening bracket.
    fn split<'b>(&self, opening: &'b str) -> Result<Opening<'b>, TreebankFault> {
        let fields: Vec<&str> = opening.splitn(self.fields, '-').collect();
        let too_many = fields.len() == self.fields
            && !self.open_ended
            && fields.last().is_some_and(|last| last.contains('-'));
        if too_many {
            return Err(TreebankFault::EntityFields {
                opening: quote(opening),
                declared: quote(self.declared),
            });
        }
        let field = |at: usize| fields.get(at).copied().filter(|field| !field.is_empty());
        Ok(Opening {
            whole: opening,
            entity: field(self.entity).unwrap_or_default(),
            entity_type: self.entity_type.and_then(field),
            head: self.head.and_then(field),
        })
    }
}

/// The fields of an opening bracket that are used.
#[derive(Clone, Copy)]
struct Opening<'a> {
    /// All that stands behind the bracket.
    whole: &'a str,
    /// With the `[part/parts]` of a discontinuous mention.
    entity: &'a str,
    entity_type: Option<&'a str>,
    head: Option<&'a str>,
}

enum Bracket<'a> {
    Open(&'a str),
    Close(&'a str),
    Single(&'a str),
}

/// Cuts the next bracket off the front.
fn next_bracket(text: &str) -> Option<(Bracket<'_>, &str)> {
    let Some(opening) = text.strip_prefix('(') else {
        let (entity, rest) = text.split_once(')')?;
        let sound = !entity.is_empty() && !entity.contains('(');
        return sound.then_some((Bracket::Close(entity), rest));
    };
    let end = opening.find(['(', ')']).unwrap_or(opening.len());
    let (fields, rest) = opening.split_at(end);
    if fields.is_empty() {
        return None;
    }
    Some(match rest.strip_prefix(')') {
        Some(rest) => (Bracket::Single(fields), rest),
        None => (Bracket::Open(fields), rest),
    })
}

/// A node that a mention can cover: a word or an empty node.
struct Node<'a> {
    word: Option<usize>,
    misc: &'a str,
    line: u64,
}

fn nodes(sentence: &Sentence) -> Vec<Node<'_>> {
    let mut nodes = Vec::with_capacity(sentence.words.len() + sentence.empty_nodes.len());
    let mut empty = sentence.empty_nodes.iter().peekable();
    for at in 0..=sentence.words.len() {
        while let Some(node) = empty.next_if(|node| node.after <= at) {
            nodes.push(Node {
                word: None,
                misc: &node.misc,
                line: node.line,
            });
        }
        if let Some(word) = sentence.words.get(at) {
            nodes.push(Node {
                word: Some(at),
                misc: &word.misc,
                line: word.line,
            });
        }
    }
    nodes
}

/// A mention that was opened at a node.
struct Open<'a> {
    opening: Opening<'a>,
    node: usize,
}

fn read_sentence(sentence: &Sentence, at: usize, mentions: &mut Mentions) -> Result<(), Fault> {
    let annotated = |misc: &str| value_of(misc, "Entity").is_some();
    if let Some(range) = sentence.ranges.iter().find(|range| annotated(&range.misc)) {
        let fault = TreebankFault::EntityOnRange {
            first: range.words.start + 1,
            last: range.words.end,
        };
        return Err((range.line, fault));
    }
    let nodes = nodes(sentence);
    if !nodes.iter().any(|node| annotated(node.misc)) {
        return Ok(());
    }
    let declared = sentence.entity_layout.as_deref();
    let layout = Layout::parse(declared.unwrap_or(DEFAULT_ENTITY_LAYOUT))
        .map_err(|fault| (sentence.line, fault))?;
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut take = |open: &Open<'_>, last: usize| {
        close(sentence, at, &nodes, open, last, mentions)
            .map_err(|fault| (nodes[open.node].line, fault))
    };
    for (node, Node { misc, line, .. }) in nodes.iter().enumerate() {
        let value = value_of(misc, "Entity").unwrap_or_default();
        let mut rest = value;
        while !rest.is_empty() {
            let malformed = || TreebankFault::EntityBrackets {
                value: quote(value),
                rest: quote(rest),
            };
            let (bracket, after) = next_bracket(rest).ok_or_else(|| (*line, malformed()))?;
            match bracket {
                Bracket::Open(fields) | Bracket::Single(fields) => {
                    let opening = layout.split(fields).map_err(|fault| (*line, fault))?;
                    if opening.entity.is_empty() {
                        return Err((*line, malformed()));
                    }
                    let mention = Open { opening, node };
                    if matches!(bracket, Bracket::Single(_)) {
                        take(&mention, node)?;
                    } else {
                        open.push(mention);
                    }
                }
                // Of two open mentions of one entity the inner one is meant.
                Bracket::Close(entity) => {
                    let inner = open.iter().rposition(|open| open.opening.entity == entity);
                    let Some(inner) = inner else {
                        return Err((*line, not_open(entity, &open, declared)));
                    };
                    take(&open.remove(inner), node)?;
                }
            }
            rest = after;
        }
    }
    match open.first() {
        Some(first) => {
            let entity = quote(first.opening.entity);
            Err((
                nodes[first.node].line,
                TreebankFault::MentionOpen { entity },
            ))
        }
        None => Ok(()),
    }
}

/// Why no open mention is the one that is closed.
fn not_open(entity: &str, open: &[Open<'_>], declared: Option<&str>) -> TreebankFault {
    match open.iter().rfind(|open| open.opening.whole == entity) {
        Some(open) => TreebankFault::MentionNamedWhole {
            opening: quote(entity),
            entity: quote(open.opening.entity),
            declared: declared.map(quote),
        },
        None => TreebankFault::MentionNotOpen {
            entity: quote(entity),
        },
    }
}

/// Adds the mention that closes at the node `last`, or counts it as left out.
fn close(
    sentence: &Sentence,
    at: usize,
    nodes: &[Node<'_>],
    open: &Open<'_>,
    last: usize,
    mentions: &mut Mentions,
) -> Result<(), TreebankFault> {
    let Opening {
        entity,
        entity_type,
        head,
        ..
    } = open.opening;
    if let Some(part) = part(entity)? {
        mentions.discontinuous += u64::from(part == 1);
        return Ok(());
    }
    let covered = nodes.get(open.node..=last).unwrap_or_default();
    let head = match head {
        Some(field) => {
            let place = field
                .parse()
                .ok()
                .and_then(|head: usize| head.checked_sub(1));
            let node = place.and_then(|place| covered.get(place));
            let node = node.ok_or_else(|| TreebankFault::MentionHead {
                entity: quote(entity),
                found: quote(field),
                nodes: covered.len(),
            })?;
            Some(node.word)
        }
        None => None,
    };
    let mut words = covered.iter().filter_map(|node| node.word);
    let span = words
        .next()
        .map(|first| first..words.next_back().unwrap_or(first) + 1);
    let Some((words, tree_head)) =
        span.and_then(|span| Some((span.clone(), sentence.head_of(span)?)))
    else {
        mentions.without_words += 1;
        return Ok(());
    };
    mentions.heads_on_empty_nodes += u64::from(head == Some(None));
    mentions.mentions.push(Mention {
        entity: entity.to_owned(),
        entity_type: entity_type.map(str::to_owned),
        sentence: at,
        words,
        given_head: head.flatten(),
        tree_head,
        line: nodes[open.node].line,
    });
    Ok(())
}

/// Which part of a discontinuous mention `e5[1/2]` is; none for a whole mention.
fn part(entity: &str) -> Result<Option<usize>, TreebankFault> {
    let Some((_, suffix)) = entity.split_once('[') else {
        return Ok(None);
    };
    let numbers = suffix
        .strip_suffix(']')
        .and_then(|part| part.split_once('/'));
    let parsed = numbers.and_then(|(part, parts)| {
        Some((part.parse::<usize>().ok()?, parts.parse::<usize>().ok()?))
    });
    match parsed {
        Some((part, parts)) if (1..=parts).contains(&part) && parts > 1 => Ok(Some(part)),
        _ => Err(TreebankFault::MentionPart {
            found: quote(entity),
        }),
    }
}
