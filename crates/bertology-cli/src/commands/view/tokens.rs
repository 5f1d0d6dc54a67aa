//! Tokens as people read them.

use bertology::checkpoint::Family;
use bertology::{Architecture, Encoding, Tokenizer};
use bertology_report::viewer::Token;

/// What the page says of every token.
pub(super) fn tokens(
    encoding: &Encoding,
    text: &str,
    pair: Option<&str>,
    tokenizer: &Tokenizer,
    arch: &Architecture,
) -> Vec<Token> {
    let ranges = encoding.byte_offsets(text, pair);
    let texts = [text, pair.unwrap_or_default()];
    let mut sequence = 0;
    (0..encoding.len())
        .map(|at| {
            // A special token belongs to the text that it closes.
            sequence = encoding.sequence[at].unwrap_or(sequence);
            let id = encoding.ids[at];
            let piece = tokenizer
                .id_to_token(id)
                .unwrap_or_else(|| format!("#{id}"));
            let (start, end) = ranges[at];
            let written = texts
                .get(usize::from(sequence))
                .and_then(|text| text.get(start..end))
                .unwrap_or_default();
            let special = encoding.special[at];
            Token {
                text: if special {
                    piece.clone()
                } else {
                    shown(&piece, written, arch.family)
                },
                piece,
                id,
                special,
                sequence,
                word: encoding.words[at],
            }
        })
        .collect()
}

/// A token of a text: its piece where that can be read, else what the text has in its place.
fn shown(piece: &str, written: &str, family: Family) -> String {
    match family {
        Family::Bert
        | Family::JinaBert
        | Family::DistilBert
        | Family::Electra
        | Family::MpNet
        | Family::NomicBert
        | Family::Esm
        | Family::Esmc => piece.to_owned(),
        Family::OpenAiGpt => piece.trim_end_matches("</w>").to_owned(),
        Family::Roberta
        | Family::Gpt2
        | Family::XlmRoberta
        | Family::Camembert
        | Family::Albert
        | Family::Gte
        | Family::GteNew
        | Family::DebertaV2
        | Family::ModernBert
        | Family::EuroBert => {
            let word = written.trim();
            if word.is_empty() {
                visible(&text_of(piece, family))
            } else {
                word.to_owned()
            }
        }
    }
}

/// What a token stands for when the model writes it, with its space before it.
pub(super) fn text_of(piece: &str, family: Family) -> String {
    match family {
        Family::Bert
        | Family::JinaBert
        | Family::DistilBert
        | Family::Electra
        | Family::MpNet
        | Family::NomicBert
        | Family::Esm
        | Family::Esmc => piece.to_owned(),
        Family::OpenAiGpt => piece.trim_end_matches("</w>").to_owned(),
        Family::XlmRoberta
        | Family::Camembert
        | Family::Albert
        | Family::Gte
        | Family::GteNew
        | Family::DebertaV2 => piece.replace('▁', " "),
        Family::Roberta | Family::Gpt2 | Family::ModernBert | Family::EuroBert => {
            let bytes: Option<Vec<u8>> = piece.chars().map(byte_of).collect();
            match bytes {
                Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                None => piece.to_owned(),
            }
        }
    }
}

/// Blanks at the ends that can be seen.
pub(super) fn visible(text: &str) -> String {
    let inner = text.trim();
    let (before, after) = match text.find(inner) {
        Some(start) if !inner.is_empty() => (&text[..start], &text[start + inner.len()..]),
        _ => (text, ""),
    };
    let marked = |blanks: &str| -> String {
        let marks = blanks.chars().map(|blank| match blank {
            '\n' => '↵',
            '\t' => '⇥',
            _ => '␣',
        });
        marks.collect()
    };
    format!("{}{inner}{}", marked(before), marked(after))
}

/// The byte that a character of a byte-level vocabulary stands for: printable bytes stand for themselves, the
/// others for the characters from U+0100 on, in order.
fn byte_of(character: char) -> Option<u8> {
    let printable = |byte: u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let code = u32::from(character);
    match u8::try_from(code) {
        Ok(byte) => printable(byte).then_some(byte),
        Err(_) => (0..=255_u8)
            .filter(|byte| !printable(*byte))
            .nth(usize::try_from(code.checked_sub(0x100)?).ok()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_level_pieces_are_text() {
        assert_eq!(text_of("Ġthe", Family::Gpt2), " the");
        assert_eq!(text_of("Ã©", Family::Roberta), "é");
        assert_eq!(text_of("Ċ", Family::Gpt2), "\n");
        assert_eq!(text_of("the</w>", Family::OpenAiGpt), "the");
        assert_eq!(text_of("##ing", Family::Bert), "##ing");
        assert_eq!(text_of("▁the", Family::XlmRoberta), " the");
        assert_eq!(shown("▁", "", Family::Camembert), "␣");
        assert_eq!(shown("Ã", "é", Family::Gpt2), "é");
        assert_eq!(shown("Ċ", "\n", Family::Gpt2), "↵");
        assert_eq!(shown("Ġcat", " cat", Family::Gpt2), "cat");
        assert_eq!(visible(" not"), "␣not");
        assert_eq!(visible("\n \n"), "↵␣↵");
        assert_eq!(visible("a b"), "a b");
    }
}
