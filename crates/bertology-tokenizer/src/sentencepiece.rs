//! `spm.model`, SentencePiece's own file: pieces with their scores and a map of characters, as the `tokenizer.json` that
//! transformers' `DebertaV2Converter` makes of them. What is checked of such a file is checked of this one, too.
//!
//! The file is a message of protocol buffers (`sentencepiece_model.proto`): fields by number, each with its length.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::TokenizerError;
use crate::settings::Settings;

/// How a text is written with spaces that pieces can hold.
const SPACE: &str = "▁";

/// What a field holds.
enum Held<'a> {
    Number(u64),
    Four([u8; 4]),
    Bytes(&'a [u8]),
    /// Eight bytes, which no field that is read has.
    Other,
}

/// The fields of a message, in their order; the first fault ends them.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or("it ends within a field")?;
        self.rest = rest;
        Ok(taken)
    }

    /// A number in base 128, the lowest digits first.
    fn number(&mut self) -> Result<u64, String> {
        let mut number = 0_u64;
        for digit in 0..10 {
            let byte = self.take(1)?.first().copied().unwrap_or_default();
            number |= u64::from(byte & 0x7f).wrapping_shl(7 * digit);
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err("a number in it has no end".into())
    }

    fn field(&mut self) -> Result<(u64, Held<'a>), String> {
        let key = self.number()?;
        let held = match key & 7 {
            0 => Held::Number(self.number()?),
            1 => {
                self.take(8)?;
                Held::Other
            }
            2 => {
                let length = self.number()?;
                let length = usize::try_from(length).map_err(|_| "it ends within a field")?;
                Held::Bytes(self.take(length)?)
            }
            5 => Held::Four(self.take(4)?.try_into().unwrap_or_default()),
            kind => {
                return Err(format!(
                    "it has a field of kind {kind}, which no such file has"
                ));
            }
        };
        Ok((key >> 3, held))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Held<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let found = self.field();
        if found.is_err() {
            self.rest = &[];
        }
        Some(found)
    }
}

fn fields(bytes: &[u8]) -> Fields<'_> {
    Fields { rest: bytes }
}

/// What a file says of one piece.
struct Piece {
    text: String,
    score: f32,
    /// 1 an ordinary one, 2 the unknown one, 3 a mark, 4 one that a user defined, 6 a byte.
    kind: u64,
}

/// What is read of the whole file.
struct Model {
    pieces: Vec<Piece>,
    unknown: u64,
    /// `precompiled_charsmap`
    characters: Vec<u8>,
}

fn piece(bytes: &[u8]) -> Result<Piece, String> {
    let (mut text, mut score, mut kind) = ("", 0.0, 1);
    for field in fields(bytes) {
        match field? {
            (1, Held::Bytes(bytes)) => {
                text = std::str::from_utf8(bytes).map_err(|_| "a piece in it is no UTF-8")?;
            }
            (2, Held::Four(bytes)) => score = f32::from_le_bytes(bytes),
            (3, Held::Number(number)) => kind = number,
            _ => {}
        }
    }
    if !score.is_finite() {
        return Err(format!("the score of the piece {text:?} is not finite"));
    }
    Ok(Piece {
        text: text.to_owned(),
        score,
        kind,
    })
}

fn model(bytes: &[u8]) -> Result<Model, String> {
    let mut model = Model {
        pieces: Vec::new(),
        unknown: 0,
        characters: Vec::new(),
    };
    for field in fields(bytes) {
        match field? {
            (1, Held::Bytes(bytes)) => model.pieces.push(piece(bytes)?),
            (2, Held::Bytes(trainer)) => {
                for field in fields(trainer) {
                    match field? {
                        (3, Held::Number(1)) => {}
                        (3, Held::Number(kind)) => {
                            let kind = match kind {
                                2 => "merges (BPE)".to_owned(),
                                3 => "words".to_owned(),
                                4 => "characters".to_owned(),
                                other => format!("kind {other}"),
                            };
                            return Err(format!(
                                "it is a model of {kind}, and only those of Unigram are read; save the tokenizer as \
                                 tokenizer.json with transformers"
                            ));
                        }
                        (40, Held::Number(unknown)) => model.unknown = unknown,
                        _ => {}
                    }
                }
            }
            (3, Held::Bytes(normalizer)) => {
                for field in fields(normalizer) {
                    if let (2, Held::Bytes(map)) = field? {
                        model.characters = map.to_vec();
                    }
                }
            }
            _ => {}
        }
    }
    if usize::try_from(model.unknown).map_or(true, |unknown| unknown >= model.pieces.len()) {
        return Err(format!(
            "its unknown piece is number {}, but it has {}",
            model.unknown,
            model.pieces.len()
        ));
    }
    Ok(model)
}

/// [`tokenizer_json`] as the settings have it; what is wrong with the file, where something is.
pub(crate) fn of_settings(
    bytes: &[u8],
    settings: &Settings,
) -> Result<Result<Vec<u8>, String>, TokenizerError> {
    let lower = settings.flag("do_lower_case")?.unwrap_or(false);
    let punctuation = settings.flag("split_by_punct")?.unwrap_or(false);
    Ok(tokenizer_json(bytes, lower, punctuation))
}

/// The `tokenizer.json` that says the same, but for the marks around a text; `lower` and `punctuation` are the class's
/// `do_lower_case` and `split_by_punct`.
pub(crate) fn tokenizer_json(
    bytes: &[u8],
    lower: bool,
    punctuation: bool,
) -> Result<Vec<u8>, String> {
    let said =
        |reason: String| format!("it is no file of SentencePiece that can be read: {reason}");
    let model = model(bytes).map_err(said)?;
    let pieces = model.pieces.iter();
    let vocab: Vec<Value> = pieces
        .clone()
        .map(|piece| json!([piece.text, f64::from(piece.score)]))
        .collect();
    let added: Vec<Value> = pieces
        .enumerate()
        .filter(|(_, piece)| matches!(piece.kind, 3 | 4))
        .map(|(id, piece)| {
            json!({
                "id": id, "content": piece.text, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": piece.kind == 3,
            })
        })
        .collect();
    let mut normalizers = Vec::new();
    if lower {
        normalizers.push(json!({"type": "Lowercase"}));
    }
    normalizers.push(json!({"type": "Strip", "strip_left": true, "strip_right": true}));
    if !model.characters.is_empty() {
        let map = STANDARD.encode(&model.characters);
        normalizers.push(json!({"type": "Precompiled", "precompiled_charsmap": map}));
    }
    normalizers.push(json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}));
    let metaspace = json!({"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": true});
    let mut splits = vec![metaspace.clone()];
    if punctuation {
        splits.insert(0, json!({"type": "Punctuation", "behavior": "Isolated"}));
    }
    let whole = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": splits},
        "post_processor": null,
        "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": model.unknown, "vocab": vocab, "byte_fallback": false},
    });
    serde_json::to_vec(&whole).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of these fields: number, kind, bytes.
    fn message(fields: &[(u8, u8, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, kind, held) in fields {
            let key = u32::from(*number) << 3 | u32::from(*kind);
            if key >= 0x80 {
                bytes.push((key & 0x7f) as u8 | 0x80);
                bytes.push((key >> 7) as u8);
            } else {
                bytes.push(key as u8);
            }
            if *kind == 2 {
                bytes.push(held.len() as u8);
            }
            bytes.extend_from_slice(held);
        }
        bytes
    }

    fn small(trainer: &[(u8, u8, &[u8])]) -> Vec<u8> {
        let unknown = message(&[(1, 2, b"<unk>"), (2, 5, &0_f32.to_le_bytes()), (3, 0, &[2])]);
        let mark = message(&[(1, 2, b"[SEP]"), (3, 0, &[3])]);
        let word = message(&[(1, 2, "▁a".as_bytes()), (2, 5, &(-1.5_f32).to_le_bytes())]);
        let trainer = message(trainer);
        message(&[
            (1, 2, &unknown),
            (1, 2, &mark),
            (1, 2, &word),
            (2, 2, &trainer),
        ])
    }

    #[test]
    fn pieces_marks_and_the_unknown_one_are_found() {
        // A field of eight bytes and one of a number of several digits are passed by.
        let trainer: &[(u8, u8, &[u8])] = &[(7, 1, &[0; 8]), (4, 0, &[0xac, 0x02]), (3, 0, &[1])];
        let made: Value =
            serde_json::from_slice(&tokenizer_json(&small(trainer), true, false).unwrap()).unwrap();
        let model = &made["model"];
        assert_eq!(
            model["vocab"],
            json!([["<unk>", 0.0], ["[SEP]", 0.0], ["▁a", -1.5]])
        );
        assert_eq!(model["unk_id"], 0);
        assert_eq!(made["added_tokens"].as_array().unwrap().len(), 1);
        assert_eq!(made["added_tokens"][0]["id"], 1);
        let kinds = |of: &Value| -> Vec<String> {
            let list = of.as_array().unwrap().iter();
            list.map(|part| part["type"].as_str().unwrap().to_owned())
                .collect()
        };
        let normalizers = kinds(&made["normalizer"]["normalizers"]);
        assert_eq!(normalizers, ["Lowercase", "Strip", "Replace"]);
        assert_eq!(
            kinds(&made["pre_tokenizer"]["pretokenizers"]),
            ["Metaspace"]
        );
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let says = |bytes: &[u8], says: &str| {
            let error = tokenizer_json(bytes, false, false).unwrap_err();
            assert!(error.contains(says), "{error}");
        };
        let whole = small(&[]);
        says(&[], "its unknown piece is number 0, but it has 0");
        for end in 1..whole.len() {
            // Cut anywhere it is a shorter list of pieces or a field without its end.
            drop(tokenizer_json(&whole[..end], false, false));
        }
        says(&whole[..whole.len() - 3], "ends within a field");
        says(&small(&[(3, 0, &[2])]), "merges (BPE)");
        says(
            &small(&[(40, 0, &[9])]),
            "its unknown piece is number 9, but it has 3",
        );
        says(&[0xff; 12], "has no end");
        says(&[0x0b], "kind 3");
        let bad = message(&[(1, 2, &message(&[(2, 5, &f32::NAN.to_le_bytes())]))]);
        says(&bad, "not finite");
        let bad = message(&[(1, 2, &message(&[(1, 2, &[0xff])]))]);
        says(&bad, "no UTF-8");
    }
}
