//! Inputs longer than the model: cut, refused, or read through strided windows.
//!
//! The rule for windows is that of the perplexity guide of transformers' documentation. A document of
//! `n` tokens is read through windows of at most `length` tokens; each next one begins `stride` tokens
//! after the one before; the last one ends with the document. A token counts in the first window that
//! holds it, and in no other: in all later ones it is context. So every token counts exactly once, and
//! past the first window it has at least `length - stride` tokens before it. No window reaches beyond
//! its document.
//!
//! ```
//! use bertology::windows::{Window, windows};
//!
//! let found: Vec<_> = windows(10, 6, 3).map(|w| (w.start, w.fresh, w.end)).collect();
//! assert_eq!(found, [(0, 0, 6), (3, 6, 9), (6, 9, 10)]);
//! ```

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::Error;

/// What is done with an input that is longer than the maximum length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TooLong {
    /// It is an error that names the line.
    Error,
    /// It is left out and counted. The default for studies of attention, as in Clark et al. 2019; refused
    /// where every example is scored or written.
    Skip,
    /// Its end is cut off; what was cut is counted. The default for labelled examples.
    Cut,
    /// It is read through strided windows, see the [module](self). The default for language models;
    /// refused for labelled examples, because the label belongs to the whole.
    Window,
}

impl TooLong {
    /// All, in the order of the options.
    pub const ALL: [Self; 4] = [Self::Error, Self::Skip, Self::Cut, Self::Window];

    /// `error`, `skip`, `cut` or `window`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Skip => "skip",
            Self::Cut => "cut",
            Self::Window => "window",
        }
    }

    /// That this means nothing to an input, and why.
    pub(crate) fn refused<T>(self, reason: &'static str) -> Result<T, Error> {
        Err(Error::Option {
            option: "what is done with long texts",
            value: self.name().to_owned(),
            reason,
        })
    }
}

/// Part of a document, in tokens from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First token.
    pub start: usize,
    /// First token that no window before holds; those from `start` to here are context.
    pub fresh: usize,
    /// Behind the last token.
    pub end: usize,
}

impl Window {
    /// The tokens.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// The tokens that count here.
    #[must_use]
    pub fn counted(&self) -> Range<usize> {
        self.fresh..self.end
    }
}

/// The windows of a document, in order; see the [module](self). A stride of 0 counts as 1, one beyond
/// `length` as `length`: no token is passed over.
#[must_use]
pub fn windows(tokens: usize, length: usize, stride: usize) -> Windows {
    let length = length.max(1);
    Windows {
        tokens,
        length,
        stride: stride.clamp(1, length),
        start: 0,
        fresh: 0,
    }
}

/// Iterator over the windows of a document.
#[derive(Debug, Clone, Copy)]
pub struct Windows {
    tokens: usize,
    length: usize,
    stride: usize,
    start: usize,
    fresh: usize,
}

impl Iterator for Windows {
    type Item = Window;

    fn next(&mut self) -> Option<Window> {
        if self.fresh >= self.tokens {
            return None;
        }
        let window = Window {
            start: self.start,
            fresh: self.fresh,
            end: self.tokens.min(self.start.saturating_add(self.length)),
        };
        self.start += self.stride;
        self.fresh = window.end;
        Some(window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All documents, lengths and strides up to a size: every token counts once, in the window where
    /// it has the context promised.
    #[test]
    fn every_token_counts_exactly_once_and_with_the_context_promised() {
        for tokens in 0..40 {
            for length in 1..12 {
                for stride in 1..=length {
                    let all: Vec<_> = windows(tokens, length, stride).collect();
                    let counted: Vec<_> = all.iter().flat_map(Window::counted).collect();
                    assert_eq!(counted, (0..tokens).collect::<Vec<_>>());
                    for (k, window) in all.iter().enumerate() {
                        assert_eq!(window.start, k * stride);
                        assert!(window.range().len() <= length);
                        assert!(!window.counted().is_empty());
                        if k > 0 {
                            assert!(window.fresh - window.start >= length - stride);
                        }
                        if k + 1 < all.len() {
                            assert_eq!(window.range().len(), length);
                        }
                    }
                    assert_eq!(all.last().map_or(0, |w| w.end), tokens);
                    assert_eq!(all.len() == 1, tokens > 0 && tokens <= length);
                }
            }
        }
    }

    /// The loop of transformers' guide, written out: begin, end and the number of targets.
    #[test]
    fn windows_are_those_of_the_perplexity_guide() {
        let (tokens, length, stride) = (287, 64, 24);
        let mut expected = Vec::new();
        let mut previous = 0;
        let mut begin = 0;
        while begin < tokens {
            let end = (begin + length).min(tokens);
            expected.push((begin, end, end - previous));
            previous = end;
            if end == tokens {
                break;
            }
            begin += stride;
        }
        let found: Vec<_> = windows(tokens, length, stride)
            .map(|w| (w.start, w.end, w.counted().len()))
            .collect();
        assert_eq!(found, expected);
    }
}
