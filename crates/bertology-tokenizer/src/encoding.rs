//! One encoded text or pair of texts.

/// The tokens of a text, or of a pair of texts, special tokens included. All vectors have one
/// entry a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Rows of the token embedding (`input_ids`).
    pub ids: Vec<u32>,
    /// Rows of the segment embedding (`token_type_ids`): BERT's 0 and 1; all 0 where the
    /// tokenizer's class gives its model no token types (RoBERTa, GPT, GPT-2).
    pub segment_ids: Vec<u32>,
    /// Half-open range of **characters** (Unicode scalar values, as Python counts them) of the
    /// text that the token came from, see [`Encoding::sequence`]; `(0, 0)` for special tokens.
    /// [`Encoding::byte_offsets`] gives them in bytes. Several byte-level tokens (GPT-2, RoBERTa)
    /// that share one character each have the range of that whole character.
    pub offsets: Vec<(usize, usize)>,
    /// Which text the token belongs to: 0, or 1 for the second of a pair; `None` for special
    /// tokens.
    pub sequence: Vec<Option<u8>>,
    /// Whether the token was put there by the tokenizer (`special_tokens_mask`). A `[SEP]` that
    /// was written in the text is not special.
    pub special: Vec<bool>,
    /// Number of the word within its text, as the pre-tokenizer splits (punctuation counts as
    /// words of its own; of the byte-level tokenizers' words, a space before them is a part);
    /// `None` for special tokens. transformers' `word_ids()`.
    pub words: Vec<Option<u32>>,
    /// Number of tokens that truncation cut off.
    pub truncated: usize,
}

impl Encoding {
    /// Number of tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no token at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The offsets in UTF-8 bytes of the texts that were encoded, so that `&text[start..end]` is
    /// what a token stands for. Pass the same texts as to
    /// [`Tokenizer::encode`](crate::Tokenizer::encode); a position beyond a text's end gives that
    /// end.
    #[must_use]
    pub fn byte_offsets(&self, text: &str, pair: Option<&str>) -> Vec<(usize, usize)> {
        let texts = [Bytes::new(text), Bytes::new(pair.unwrap_or_default())];
        self.offsets
            .iter()
            .zip(&self.sequence)
            .map(|(&(start, end), sequence)| {
                match sequence.and_then(|sequence| texts.get(usize::from(sequence))) {
                    Some(text) => (text.byte(start), text.byte(end)),
                    None => (0, 0),
                }
            })
            .collect()
    }
}

/// Where each character of a text begins; nothing where characters are bytes.
struct Bytes {
    starts: Option<Vec<usize>>,
    len: usize,
}

impl Bytes {
    fn new(text: &str) -> Self {
        let starts =
            (!text.is_ascii()).then(|| text.char_indices().map(|(start, _)| start).collect());
        Self {
            starts,
            len: text.len(),
        }
    }

    fn byte(&self, character: usize) -> usize {
        match &self.starts {
            None => character.min(self.len),
            Some(starts) => starts.get(character).copied().unwrap_or(self.len),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_offsets_follow_each_text() {
        let encoding = Encoding {
            ids: vec![1; 4],
            offsets: vec![(0, 0), (0, 2), (1, 3), (9, 9)],
            sequence: vec![None, Some(0), Some(1), Some(1)],
            ..Encoding::default()
        };
        let bytes = encoding.byte_offsets("abc", Some("é漢x"));
        assert_eq!(bytes, [(0, 0), (0, 2), (2, 6), (6, 6)]);
    }
}
