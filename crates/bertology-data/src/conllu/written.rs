//! The text of a sentence as it is written, and where its words are in it.

use std::ops::Range;
use std::path::Path;

use super::fault::{TreebankFault, quote};
use super::sentence::{Sentence, SurfaceToken};
use crate::error::DataError;

/// A text and the place of every word of a sentence in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpannedText {
    /// The text.
    pub text: String,
    /// One span a word, in order.
    pub spans: Vec<WordSpan>,
}

/// Where a word is in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordSpan {
    /// From its first character to behind its last one, in characters (Unicode scalar values) of
    /// the text and not in bytes, as the offsets of tokenizers are.
    pub characters: Range<usize>,
    /// For a word that has no span of its own: which of [`Sentence::ranges`] it belongs to, all
    /// words of which have the span of the whole token. French `du` (`de` and `le`) is of this
    /// kind.
    pub shared: Option<usize>,
}

impl Sentence {
    /// The sentence as it is written, with each word's place: `# text`, or else the tokens put
    /// together by `SpaceAfter`.
    ///
    /// The words of a multiword token have spans of their own where their forms add up to the
    /// token's (`do` and `n't`), and share its span where they do not ([`WordSpan::shared`]).
    ///
    /// `path` is the file, for the message of an error.
    ///
    /// # Errors
    ///
    /// [`DataError::Treebank`] if `# text` is not the tokens in order with nothing but white space
    /// between them, or if there is no `# text` and a multiword token has no form.
    pub fn written_text(&self, path: &Path) -> Result<SpannedText, DataError> {
        match &self.text {
            Some(text) => self.align(text),
            None => self.put_together(),
        }
        .map_err(|(line, fault)| DataError::Treebank {
            path: path.to_owned(),
            line,
            sentence: self.id.clone(),
            fault: Box::new(fault),
        })
    }

    fn align(&self, text: &str) -> Result<SpannedText, (u64, TreebankFault)> {
        let mut spans = Vec::with_capacity(self.words.len());
        let mut rest = text;
        let mut characters = 0;
        for token in self.surface_tokens() {
            // A form may begin with white space, an ideographic space for instance.
            if !rest.starts_with(token.form) {
                let trimmed = rest.trim_start();
                characters += rest.chars().count() - trimmed.chars().count();
                rest = trimmed;
            }
            let Some(after) = rest.strip_prefix(token.form) else {
                let fault = TreebankFault::TextMismatch {
                    form: quote(token.form),
                    found: quote(rest),
                    characters,
                };
                return Err((self.line_of(&token), fault));
            };
            characters = self.push_spans(&token, characters, &mut spans);
            rest = after;
        }
        if !rest.trim().is_empty() {
            let found = quote(rest.trim());
            return Err((self.line, TreebankFault::TextLeft { found }));
        }
        let text = text.to_owned();
        Ok(SpannedText { text, spans })
    }

    fn put_together(&self) -> Result<SpannedText, (u64, TreebankFault)> {
        let mut spans = Vec::with_capacity(self.words.len());
        let mut text = String::new();
        let mut characters = 0;
        let mut space = false;
        for token in self.surface_tokens() {
            if token.range.is_some() && token.form == "_" {
                let fault = TreebankFault::NoSurfaceForm {
                    first: token.words.start + 1,
                    last: token.words.end,
                };
                return Err((self.line_of(&token), fault));
            }
            if space {
                text.push(' ');
                characters += 1;
            }
            text.push_str(token.form);
            characters = self.push_spans(&token, characters, &mut spans);
            space = token.space_after;
        }
        Ok(SpannedText { text, spans })
    }

    /// Adds the spans of the words of a token that begins at `start`; gives its end.
    fn push_spans(
        &self,
        token: &SurfaceToken<'_>,
        start: usize,
        spans: &mut Vec<WordSpan>,
    ) -> usize {
        let end = start + token.form.chars().count();
        let words = self.words.get(token.words.clone()).unwrap_or_default();
        let mut rest = Some(token.form);
        for word in words {
            rest = rest.and_then(|rest| rest.strip_prefix(word.form.as_str()));
        }
        let shared = token.range.filter(|_| rest != Some(""));
        let mut at = start;
        for word in words {
            let characters = if shared.is_some() {
                start..end
            } else {
                at..at + word.form.chars().count()
            };
            at = characters.end;
            spans.push(WordSpan { characters, shared });
        }
        end
    }

    fn line_of(&self, token: &SurfaceToken<'_>) -> u64 {
        let range = token.range.and_then(|range| self.ranges.get(range));
        let word = self.words.get(token.words.start);
        range
            .map(|range| range.line)
            .or(word.map(|word| word.line))
            .unwrap_or(self.line)
    }
}
