//! Programs as sequences of one model, every leaf of their trees with its tokens.
//!
//! The model reads a text made of a function ([`Reading`]), and a token belongs to every leaf with which it has a byte in
//! common, blanks at its ends aside. Nothing is found by looking for a token's text: a map of bytes says where each leaf
//! is, the tokenizer where each token is.

use std::ops::Range;
use std::path::Path;

use bertology_code::{
    Code, Distances, FunctionInfo, FunctionMark, Functions, GraphKind, Reading, Refusal, Shape,
    Snippet, Tail,
};
use bertology_tokenizer::{Encoding, Tokenizer};
use serde::{Deserialize, Serialize};

use crate::input::marks::Marks;
use crate::input::prepare::{bos_of, insert, put_bos};
use crate::input::snippet::{AlignmentCounts, LeafTokens, SnippetItem};
use crate::input::supply::{Fate, LeftOut, Passage, Supply, Units, after};
use crate::input::windows::TooLong;
use crate::random::Draws;
use crate::{Error, LoadedModel};

/// What becomes of a token with bytes of several leaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SharedTokens {
    /// It counts for each of them.
    #[default]
    Share,
    /// It counts for the first.
    First,
    /// It counts for the one with the most of its bytes, the first of equal ones.
    MaxOverlap,
    /// It counts for none.
    Drop,
}

/// What stands before a program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prefix {
    /// What the tokenizer puts there.
    #[default]
    None,
    /// UniXcoder's own: `<s> <encoder-only> </s>`.
    EncoderOnly,
}

/// How programs become sequences.
#[derive(Debug, Clone, Copy)]
pub struct CodeOptions {
    /// What the model reads, and which leaves there are.
    pub reading: Reading,
    /// What is joined to what.
    pub graph: GraphKind,
    /// What becomes of leaves that the model does not read.
    pub tail: Tail,
    /// What becomes of tokens of several leaves.
    pub shared: SharedTokens,
    /// What stands before a program.
    pub prefix: Prefix,
    /// Programs with fewer leaves, counted in what the model reads, are left out.
    pub min_leaves: usize,
    /// Longest sequence in tokens, special ones included; `None`: the model's limit.
    pub max_length: Option<usize>,
    /// What is done with longer ones.
    pub too_long: TooLong,
    /// Put the model's beginning-of-text token before texts whose tokenizer does not (GPT-2).
    pub bos: bool,
    /// Of trees that are drawn.
    pub seed: u64,
}

/// On chain and flow fewer leaves leave nothing near but a leaf itself.
pub const DEFAULT_MIN_LEAVES: usize = 12;

impl Default for CodeOptions {
    fn default() -> Self {
        Self {
            reading: Reading::default(),
            graph: GraphKind::default(),
            tail: Tail::default(),
            shared: SharedTokens::default(),
            prefix: Prefix::default(),
            min_leaves: DEFAULT_MIN_LEAVES,
            max_length: None,
            too_long: TooLong::Cut,
            bos: false,
            seed: 0,
        }
    }
}

/// Other programs whose distances may stand in for a program's own.
const STRANGERS: usize = 32;
/// Leaves of theirs that are kept.
const STRANGER_LEAVES: usize = 256;

const RANDOM_TREE: u64 = 0x7472_6565;
const OTHER_TREE: u64 = 0x6f74_6865;

/// The functions of a file or a folder as sequences of one model.
#[derive(Debug)]
pub struct CodePassages {
    model: LoadedModel,
    tokenizer: Tokenizer,
    /// Put in front by hand.
    bos: Option<u32>,
    /// Behind the first special token.
    prefix: Vec<u32>,
    max_length: usize,
    functions: Functions,
    options: CodeOptions,
    info: FunctionInfo,
    /// Number of a function, and its distances.
    strangers: Vec<(u64, Distances)>,
    marks: Marks<FunctionMark>,
}

impl CodePassages {
    /// Reads the file once to the end: every line is checked and counted before any model runs.
    ///
    /// # Errors
    /// Lines that are wrong, a maximum length out of range, a model without tokenizer, or without the special tokens
    /// that are asked for; windows.
    pub fn new(
        model: &LoadedModel,
        functions: Functions,
        options: CodeOptions,
    ) -> Result<Self, Error> {
        if options.too_long == TooLong::Window {
            return options.too_long.refused(
                "attention is studied in whole sequences; leave programs that are too long out, cut them, or make \
                 them an error",
            );
        }
        let tokenizer = model.tokenizer()?.without_special_tokens_in_text();
        let bos = options.bos.then(|| bos_of(model.outline())).transpose()?;
        let prefix = match options.prefix {
            Prefix::None => Vec::new(),
            Prefix::EncoderOnly => encoder_only(&tokenizer)?,
        };
        let max_length = model.checked_length(options.max_length)?;
        let special = tokenizer.special_tokens(false) + prefix.len() + usize::from(bos.is_some());
        if max_length <= special {
            return Err(Error::Option {
                option: "the maximum length",
                value: max_length.to_string(),
                reason: "it leaves no token beside the special ones",
            });
        }
        let mut reader = functions.open()?;
        let (mut marks, mut strangers) = (Marks::default(), Vec::new());
        loop {
            marks.offer(reader.counts().functions, || reader.mark());
            let Some(code) = reader.next() else { break };
            let code = code?;
            if strangers.len() < STRANGERS {
                strangers.extend(stranger(code, &options));
            }
        }
        let info = reader.finish()?;
        Ok(Self {
            model: model.clone(),
            tokenizer,
            bos,
            prefix,
            max_length,
            functions,
            options,
            info,
            strangers,
            marks,
        })
    }

    /// The account of the file.
    #[must_use]
    pub fn info(&self) -> &FunctionInfo {
        &self.info
    }

    /// How programs become sequences.
    #[must_use]
    pub fn options(&self) -> &CodeOptions {
        &self.options
    }

    /// The longest sequence in tokens.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The model whose sequences these are.
    #[must_use]
    pub fn model(&self) -> &LoadedModel {
        &self.model
    }

    /// The tokens of a text, cut if that is what is done, or why it is left out.
    fn encode(&self, text: &str) -> Result<Fate<Encoding>, Error> {
        let limit = self.max_length;
        let room = limit - self.prefix.len() - usize::from(self.bos.is_some());
        let cut = (self.options.too_long == TooLong::Cut).then_some(room);
        let mut encoding = self.tokenizer.encode(text, None, cut)?;
        if let Some(bos) = self.bos {
            put_bos(&mut encoding, bos);
        }
        let at = usize::from(encoding.special.first() == Some(&true));
        for (next, id) in self.prefix.iter().enumerate() {
            insert(&mut encoding, at + next, *id, true);
        }
        let tokens = encoding.len();
        match self.options.too_long {
            _ if tokens <= limit => Ok(Fate::Studied(encoding)),
            TooLong::Error => Err(Error::TooLong { tokens, limit }),
            TooLong::Skip | TooLong::Cut | TooLong::Window => {
                Ok(Fate::LeftOut(LeftOut::TooLong { tokens }))
            }
        }
    }

    /// A snippet as the model reads it, with the leaves that have tokens.
    fn align(&self, snippet: &Snippet) -> Result<Fate<AlignedSnippet>, Error> {
        let text = snippet.model_text();
        let encoding = match self.encode(text)? {
            Fate::Studied(encoding) => encoding,
            Fate::LeftOut(why) => return Ok(Fate::LeftOut(why)),
        };
        let places = encoding.byte_offsets(text, None);
        let places: Vec<Range<usize>> = places
            .into_iter()
            .zip(&encoding.special)
            .map(|((start, end), special)| {
                if *special {
                    0..0
                } else {
                    trimmed(text, start..end)
                }
            })
            .collect();
        let end = match encoding.truncated {
            0 => text.len(),
            _ => places.iter().map(|place| place.end).max().unwrap_or(0),
        };
        let visible = snippet.visible(end);
        let spans: Vec<Range<usize>> = visible
            .iter()
            .filter_map(|leaf| snippet.spans()[*leaf].clone())
            .collect();
        let (of_leaves, mut counts) =
            assign(&places, &encoding.special, &spans, self.options.shared);
        let seen = snippet.spans().iter().flatten().count();
        counts.beyond = (seen - visible.len()) as u64;
        let mut tokens = LeafTokens::default();
        let mut kept = Vec::with_capacity(visible.len());
        for (leaf, own) in visible.iter().zip(of_leaves) {
            if own.is_empty() {
                counts.without_tokens += 1;
            } else {
                kept.push(*leaf);
                tokens.push(own);
            }
        }
        Ok(Fate::Studied(AlignedSnippet {
            encoding,
            tokens,
            leaves: kept,
            visible,
            counts,
        }))
    }

    /// A program as a sequence.
    ///
    /// # Errors
    /// A text that cannot be encoded or is too long where that is an error, a program without tokens where these are read,
    /// distances that cannot be had.
    pub fn read(&self, code: Code) -> Result<Fate<ReadCode>, Error> {
        let (index, line, language) = (code.index, code.line, code.language.name);
        let (path, name) = (code.path.clone(), code.name.clone());
        let snippet = match Snippet::new(code, &self.options.reading) {
            Ok(snippet) => snippet,
            Err(Refusal::Empty) => return Ok(Fate::LeftOut(LeftOut::Empty)),
            Err(Refusal::Faulty { .. }) => return Ok(Fate::LeftOut(LeftOut::WithErrors)),
            Err(Refusal::TooLarge { .. } | Refusal::NotParsed { .. }) => {
                return Ok(Fate::LeftOut(LeftOut::NotParsed));
            }
            Err(refusal) => {
                return Err(bertology_code::CodeError::Refused {
                    path: path.to_path_buf(),
                    line,
                    refusal,
                }
                .into());
            }
        };
        let aligned = match self.align(&snippet)? {
            Fate::Studied(aligned) => aligned,
            Fate::LeftOut(why) => return Ok(Fate::LeftOut(why)),
        };
        let leaves = aligned.leaves.len();
        if leaves < self.options.min_leaves.max(1) {
            return Ok(Fate::LeftOut(LeftOut::TooFewLeaves { leaves }));
        }
        let item = SnippetItem {
            line,
            name: name.unwrap_or_default(),
            language: language.to_owned(),
            ..self.item(index, &snippet, &aligned)?
        };
        let passage = Passage {
            target: None,
            item,
            sequence: LoadedModel::sequence(aligned.encoding),
        };
        Ok(Fate::Studied(ReadCode {
            passage,
            snippet,
            leaves: aligned.leaves,
        }))
    }

    fn item(
        &self,
        index: u64,
        snippet: &Snippet,
        aligned: &AlignedSnippet,
    ) -> Result<SnippetItem, Error> {
        let CodeOptions {
            graph, tail, seed, ..
        } = self.options;
        let kept = &aligned.leaves;
        let own = snippet.graph(graph, tail, &aligned.visible);
        let tree = snippet.graph(GraphKind::Ast, tail, &aligned.visible);
        let shaped = |shape: Shape| -> Result<Vec<u16>, Error> {
            Ok(values(own.with_tree(shape).distances(kept)?))
        };
        let random = Draws::of([seed, RANDOM_TREE, index]).bits();
        let other = self.stranger_of(index, kept.len());
        Ok(SnippetItem {
            index,
            kinds: kept
                .iter()
                .map(|leaf| snippet.leaves()[*leaf].kind.to_owned())
                .collect(),
            tokens: aligned.tokens.clone(),
            distances: values(own.distances(kept)?),
            tree: values(tree.distances(kept)?),
            strangers: [
                shaped(Shape::Random { seed: random })?,
                other.map(values).unwrap_or_default(),
                shaped(Shape::RightBranching)?,
                shaped(Shape::Balanced)?,
            ],
            cut: aligned.encoding.truncated,
            alignment: aligned.counts,
            ..SnippetItem::default()
        })
    }

    /// Distances of another function with as many leaves, the same whenever it is asked for.
    fn stranger_of(&self, index: u64, leaves: usize) -> Option<Distances> {
        let count = self.strangers.len();
        let first = Draws::of([self.options.seed, OTHER_TREE, index]).below(count.max(1));
        let all = self.strangers.iter().cycle().skip(first).take(count);
        let mut others = all.filter(|(number, _)| *number != index);
        others.find_map(|(_, distances)| distances.truncated(leaves))
    }
}

/// A program as a sequence, and what was read of it.
#[derive(Debug, Clone)]
pub struct ReadCode {
    /// The sequence.
    pub passage: Passage<SnippetItem>,
    /// Tree and text.
    pub snippet: Snippet,
    /// Numbers there of the leaves that take part.
    pub leaves: Vec<usize>,
}

/// A snippet with the tokens of its leaves.
struct AlignedSnippet {
    encoding: Encoding,
    /// Of every leaf that has any.
    tokens: LeafTokens,
    /// Numbers of those leaves in the snippet.
    leaves: Vec<usize>,
    /// Numbers of the leaves that the model reads, with tokens or without.
    visible: Vec<usize>,
    counts: AlignmentCounts,
}

fn values(distances: Distances) -> Vec<u16> {
    distances.values().to_vec()
}

/// The distances of a function that others may be compared with.
fn stranger(code: Code, options: &CodeOptions) -> Option<(u64, Distances)> {
    let index = code.index;
    let snippet = Snippet::new(code, &options.reading).ok()?;
    let leaves = snippet.visible(usize::MAX);
    let leaves = &leaves[..leaves.len().min(STRANGER_LEAVES)];
    let graph = snippet.graph(options.graph, options.tail, leaves);
    let distances = (leaves.len() >= options.min_leaves).then(|| graph.distances(leaves));
    Some((index, distances?.ok()?))
}

fn encoder_only(tokenizer: &Tokenizer) -> Result<Vec<u32>, Error> {
    let mode = tokenizer.token_to_id("<encoder-only>");
    mode.zip(tokenizer.sep_id())
        .map(|(mode, sep)| vec![mode, sep])
        .ok_or(Error::Option {
            option: "the prefix",
            value: "encoder-only".to_owned(),
            reason: "the vocabulary has no `<encoder-only>`, which is UniXcoder's; take none",
        })
}

/// Without ASCII blanks at its ends.
fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let said = text.get(range.clone()).unwrap_or_default();
    let blank = |c: char| c.is_ascii_whitespace() || c == '\u{b}';
    let start = range.start + (said.len() - said.trim_start_matches(blank).len());
    start..start + said.trim_matches(blank).len()
}

/// The tokens of every leaf. Leaves ascend and do not overlap; the places of tokens ascend, and may.
fn assign(
    places: &[Range<usize>],
    special: &[bool],
    leaves: &[Range<usize>],
    shared: SharedTokens,
) -> (Vec<Vec<usize>>, AlignmentCounts) {
    let mut of_leaves = vec![Vec::new(); leaves.len()];
    let mut sharing = vec![false; leaves.len()];
    let mut counts = AlignmentCounts {
        leaves: leaves.len() as u64,
        ..AlignmentCounts::default()
    };
    for (token, (place, special)) in places.iter().zip(special).enumerate() {
        if *special {
            continue;
        }
        counts.tokens += 1;
        let first = leaves.partition_point(|leaf| leaf.end <= place.start);
        let last = leaves
            .partition_point(|leaf| leaf.start < place.end)
            .max(first);
        let found = if place.is_empty() {
            first..first
        } else {
            first..last
        };
        let overlap =
            |leaf: usize| leaves[leaf].end.min(place.end) - leaves[leaf].start.max(place.start);
        counts.in_no_leaf += u64::from(found.is_empty());
        let kept = if found.len() < 2 {
            found
        } else {
            counts.in_several += 1;
            sharing[found.clone()].fill(true);
            match shared {
                SharedTokens::Share => found,
                SharedTokens::First => first..first + 1,
                SharedTokens::MaxOverlap => {
                    let most = found.clone().map(overlap).max().unwrap_or_default();
                    let best = found
                        .clone()
                        .find(|leaf| overlap(*leaf) == most)
                        .unwrap_or(first);
                    best..best + 1
                }
                SharedTokens::Drop => first..first,
            }
        };
        for leaf in kept {
            of_leaves[leaf].push(token);
        }
    }
    counts.sharing = sharing.iter().filter(|sharing| **sharing).count() as u64;
    (of_leaves, counts)
}

impl Supply for CodePassages {
    type Raw = Code;
    type Item = SnippetItem;

    fn path(&self) -> &Path {
        self.functions.path()
    }

    fn total(&self) -> u64 {
        self.info.counts.functions
    }

    fn open(&self, first: u64) -> Result<Units<'_, Code>, Error> {
        let (begun, reader) = match self.marks.before(first) {
            Some((unit, mark)) => (unit, self.functions.open_at(mark)?),
            None => (0, self.functions.open()?),
        };
        after(first - begun, reader.map(|code| Ok(code?)))
    }

    fn size(&self, code: &Code) -> usize {
        // Code has about three bytes a token.
        (2 + code.text.len() / 3).min(self.max_length)
    }

    fn line(&self, code: &Code) -> u64 {
        code.line
    }

    fn prepare(&self, code: Code) -> Result<Fate<Vec<Passage<SnippetItem>>>, Error> {
        Ok(match self.read(code)? {
            Fate::Studied(read) => Fate::one(read.passage),
            Fate::LeftOut(why) => Fate::LeftOut(why),
        })
    }
}

#[cfg(test)]
mod tests;
