//! A model that knows only the tokens which a corpus needs: the same function of these texts, without the other rows of the
//! embeddings.
//!
//! 1. [`tally`]: which tokens the model's tokenizer gives for the texts, and how often.
//! 2. [`Vocabulary::of`]: these, and what must stay beside them: special and added tokens, ids that the model's configs name,
//!    single characters and bytes, what tokens are merged from ([`Tokenizer::trim`](bertology_tokenizer::Tokenizer::trim)).
//! 3. [`write`](fn@write): the checkpoint with these rows and the tokenizer with these tokens, opened again and compared with the whole
//!    model on all of the corpus.
//!
//! For every text of the corpus the pieces stay the same, under new ids, and with them all that the model computes. Other texts
//! fall to smaller pieces where a token is gone: [`missing`] counts that.

use std::collections::BTreeSet;

use bertology_checkpoint::TokenCut;
use bertology_data::{DatasetInfo, Example, Source};
use bertology_tokenizer::{Encoding, Tokenizer, Trimmed};

use crate::watch::Purpose;
use crate::{Error, LoadedModel, VocabularyError, Watch};

mod check;

pub use check::{Missing, Written, missing, write};

/// Texts that are encoded at once.
const AT_ONCE: usize = 512;

/// The tokens of some texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often each occurs, by id, special tokens around texts included.
    counts: Vec<u64>,
    /// Pieces that no text shows, on which it depends all the same that words stay unknown.
    tried: BTreeSet<u32>,
    /// Texts, a pair being two and a sentence in words one.
    pub texts: u64,
    /// Tokens in all, special tokens around texts included.
    pub tokens: u64,
    /// The files, and what was read of them.
    pub files: Vec<DatasetInfo>,
}

impl Tally {
    /// How often a token occurs.
    #[must_use]
    pub fn count(&self, id: u32) -> u64 {
        self.counts.get(id as usize).copied().unwrap_or(0)
    }

    /// Different tokens.
    #[must_use]
    pub fn distinct(&self) -> usize {
        self.counts.iter().filter(|count| **count > 0).count()
    }

    fn add(&mut self, tokenizer: &Tokenizer, inputs: &Inputs) -> Result<(), Error> {
        let unknown = tokenizer.unk_id();
        for (input, encoding) in inputs.all.iter().zip(inputs.encoded(tokenizer)?) {
            self.texts += input.texts();
            self.tokens += encoding.len() as u64;
            for id in &encoding.ids {
                let at = *id as usize;
                if at >= self.counts.len() {
                    self.counts.resize(at + 1, 0);
                }
                self.counts[at] += 1;
            }
            if unknown.is_some_and(|unknown| encoding.ids.contains(&unknown)) {
                for text in input.parts() {
                    let tried = tokenizer.tried(text);
                    self.tried.extend(tried.map_err(|e| input.at(e.into()))?);
                }
            }
        }
        Ok(())
    }
}

/// One input of the corpus, as the model is given it.
struct InputOf {
    path: std::path::PathBuf,
    line: u64,
    text: String,
    pair: Option<String>,
    words: Vec<String>,
}

impl InputOf {
    fn texts(&self) -> u64 {
        1 + u64::from(self.pair.is_some())
    }

    fn parts(&self) -> impl Iterator<Item = &str> {
        let texts = std::iter::once(self.text.as_str()).chain(self.pair.as_deref());
        texts.chain(self.words.iter().map(String::as_str))
    }

    fn encode(&self, tokenizer: &Tokenizer) -> Result<Encoding, Error> {
        let found = if self.words.is_empty() {
            tokenizer.encode(&self.text, self.pair.as_deref(), None)
        } else {
            let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
            tokenizer.encode_words(&words, None)
        };
        found.map_err(|error| self.at(error.into()))
    }

    fn at(&self, source: Error) -> Error {
        Error::Example {
            path: self.path.clone(),
            line: self.line,
            source: Box::new(source),
        }
    }
}

/// A few inputs.
#[derive(Default)]
struct Inputs {
    all: Vec<InputOf>,
}

impl Inputs {
    fn push(&mut self, source: &Source, example: Example) {
        self.all.push(InputOf {
            path: source.path().to_owned(),
            line: example.line,
            text: example.text,
            pair: example.pair,
            words: example.words.into_iter().map(|word| word.word).collect(),
        });
    }

    /// Uncut, on all threads where nothing is given in words.
    fn encoded(&self, tokenizer: &Tokenizer) -> Result<Vec<Encoding>, Error> {
        if self.all.iter().all(|input| input.words.is_empty()) {
            let texts: Vec<(&str, Option<&str>)> = self
                .all
                .iter()
                .map(|input| (input.text.as_str(), input.pair.as_deref()))
                .collect();
            if let Ok(found) = tokenizer.encode_batch(&texts, None) {
                return Ok(found);
            }
        }
        // Also to say which of them was refused.
        self.all
            .iter()
            .map(|input| input.encode(tokenizer))
            .collect()
    }
}

/// Reads all inputs of some sources, a few at a time.
fn each(
    sources: &[Source],
    watch: &mut dyn Watch,
    mut visit: impl FnMut(&Inputs) -> Result<(), Error>,
) -> Result<Vec<DatasetInfo>, Error> {
    let length = |source: &Source| bertology_file::length(source.path()).unwrap_or(0);
    let total: u64 = sources.iter().map(length).sum();
    watch.begin(Purpose::Counting, 0, total);
    let mut files = Vec::new();
    let mut before = 0;
    for source in sources {
        if source.has_token_ids() {
            return Err(VocabularyError::ReadyIds {
                path: source.path().to_owned(),
            }
            .into());
        }
        let mut reader = source.open()?;
        let mut inputs = Inputs::default();
        loop {
            let next = reader.next().transpose()?;
            let ended = next.is_none();
            if let Some(example) = next {
                inputs.push(source, example);
            }
            if inputs.all.len() == AT_ONCE || ended {
                visit(&inputs)?;
                inputs.all.clear();
                let done = (before + reader.bytes_read()).min(total);
                if watch.advance(done, total).is_break() {
                    return Err(Error::Interrupted { done, total });
                }
            }
            if ended {
                break;
            }
        }
        if reader.examples() == 0 {
            return Err(Error::NoTexts {
                path: source.path().to_owned(),
            });
        }
        before += length(source);
        files.push(reader.finish()?);
    }
    Ok(files)
}

/// The tokens that the model's tokenizer gives for all texts of `sources`, uncut.
///
/// # Errors
/// No tokenizer; texts that cannot be read or encoded; a source of ready ids, or without any text; an interruption.
pub fn tally(
    model: &LoadedModel,
    sources: &[Source],
    watch: &mut dyn Watch,
) -> Result<Tally, Error> {
    let tokenizer = model.tokenizer()?;
    let mut tally = Tally::default();
    tally.files = each(sources, watch, |inputs| tally.add(tokenizer, inputs))?;
    Ok(tally)
}

/// The tokens that stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    left: Trimmed,
    /// Rows of the token embedding before.
    rows: usize,
}

/// A token that stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept<'v> {
    /// Its id in the smaller vocabulary.
    pub id: u32,
    /// Its id in the whole one.
    pub old: u32,
    /// As the vocabulary writes it; empty for a row that no token has.
    pub token: &'v str,
}

impl Vocabulary {
    /// What these texts need, and what must stay beside it.
    ///
    /// # Errors
    /// No tokenizer, or one of proteins; [`VocabularyError::WholeVocabulary`] where nothing is left to go; files that cannot be read.
    pub fn of(model: &LoadedModel, tally: &Tally) -> Result<Self, Error> {
        let (tokenizer, checkpoint) = (model.tokenizer()?, model.checkpoint());
        let rows = model.architecture().vocab_size;
        let mut needed = checkpoint.named_tokens()?;
        needed.extend(&tally.tried);
        needed.extend((0_u32..).zip(&tally.counts).filter_map(|(id, count)| {
            let seen = *count > 0;
            seen.then_some(id)
        }));
        let left = tokenizer.trim(checkpoint.folder(), &needed)?;
        let found = Self { left, rows };
        if found.rows_left() >= rows {
            return Err(VocabularyError::WholeVocabulary {
                path: checkpoint.folder().to_owned(),
                tokens: rows,
            }
            .into());
        }
        Ok(found)
    }

    /// The tokens, by their new ids.
    pub fn kept(&self) -> impl Iterator<Item = Kept<'_>> {
        let all = self.left.kept.iter().zip(&self.left.tokens);
        (0_u32..).zip(all).map(|(id, (old, token))| Kept {
            id,
            old: *old,
            token,
        })
    }

    /// The new id of a token.
    #[must_use]
    pub fn id(&self, old: u32) -> Option<u32> {
        let place = self.left.kept.binary_search(&old).ok()?;
        u32::try_from(place).ok()
    }

    /// Tokens of the tokenizer before and after.
    #[must_use]
    pub fn tokens(&self) -> (usize, usize) {
        (self.left.before, self.left.kept.len())
    }

    /// Rows of the token embedding before and after. There may have been more than tokens, and there are no longer.
    #[must_use]
    pub fn rows(&self) -> (usize, usize) {
        (self.rows, self.rows_left())
    }

    fn rows_left(&self) -> usize {
        let with_row = self.left.kept.iter();
        with_row.filter(|id| (**id as usize) < self.rows).count()
    }

    /// For [`write_cut`](bertology_checkpoint::write_cut), alone or with heads and neurons.
    #[must_use]
    pub fn cut(&self) -> TokenCut {
        let rows = self.left.kept.iter().copied();
        TokenCut {
            rows: rows.filter(|id| (*id as usize) < self.rows).collect(),
            files: self.left.files.clone(),
        }
    }
}
