//! What is looked at before files are handed to the tokenizer library, which would panic or work for minutes.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::NormalizerWrapper;

use crate::growth::{self, Growth};
use crate::guard::contained;
use crate::{TokenizerError, files};

/// The longest token, in bytes: the library's time for added tokens grows with the square of their length.
const MOST_TOKEN: usize = 1024;
/// Bytes of all added tokens together.
const MOST_TOKENS: usize = 1 << 20;
/// The highest id that a token may declare: the library counts on from it in 32 bits.
const MOST_ID: u64 = 1 << 30;
/// The longest word that is looked up piece by piece; its pieces are counted by the square. BERT has 100.
const MOST_WORD: u64 = 1000;
/// Parts of a template, tokens that one of its parts stands for.
const MOST_PARTS: usize = 64;

/// The parts of `tokenizer.json` that are looked at; the vocabulary is passed over.
#[derive(Deserialize)]
struct Parts {
    #[serde(default)]
    added_tokens: Vec<Value>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    post_processor: Value,
    model: Model,
}

#[derive(Deserialize)]
struct Model {
    #[serde(default)]
    max_input_chars_per_word: Option<u64>,
}

/// Refuses a `tokenizer.json` that is damaged, or whose tokens, template or normalizer nobody could use.
pub(crate) fn tokenizer_json(path: &Path, bytes: &[u8]) -> Result<(), TokenizerError> {
    let parts: Parts =
        serde_json::from_slice(bytes).map_err(|error| files::json_error(path, &error))?;
    let build = |reason: String| TokenizerError::Build {
        path: path.to_owned(),
        reason,
    };
    growth::claims(&parts.normalizer).map_err(build)?;
    let normalizer = contained(|| {
        serde_json::from_value::<Option<NormalizerWrapper>>(parts.normalizer.clone())
            .map_err(|error| format!("its normalizer: {error}"))
    });
    let normalizer = normalizer.and_then(|read| read).map_err(build)?;
    let growth = contained(|| Growth::of(normalizer.as_ref())).and_then(|found| found);
    let growth = growth.map_err(build)?;
    let tokens = parts.added_tokens.iter().filter_map(|token| {
        let special = token.get("special").and_then(Value::as_bool) == Some(true);
        let normalized = token.get("normalized").and_then(Value::as_bool);
        let content = token.get("content")?.as_str()?;
        Some((content, normalized.unwrap_or(!special)))
    });
    added_tokens(path, &growth, tokens)?;
    let highest = parts
        .added_tokens
        .iter()
        .filter_map(|t| t.get("id")?.as_u64())
        .max();
    if let Some(id) = highest.filter(|id| *id > MOST_ID) {
        return Err(build(format!(
            "an added token has the id {id}, far above any vocabulary"
        )));
    }
    if let Some(most) = parts
        .model
        .max_input_chars_per_word
        .filter(|most| *most > MOST_WORD)
    {
        return Err(build(format!(
            "\"max_input_chars_per_word\" is {most}; up to {MOST_WORD} are accepted, and BERT has 100"
        )));
    }
    template(&parts.post_processor).map_err(build)
}

/// Refuses tokens that the library cannot look for: of nothing once normalised, or so long that it takes
/// minutes. Each with whether it is looked for in the normalised text.
pub(crate) fn added_tokens<'t>(
    path: &Path,
    growth: &Growth,
    tokens: impl Iterator<Item = (&'t str, bool)>,
) -> Result<(), TokenizerError> {
    let wrong = |token: &str, reason: String| {
        let shown: String = token.chars().take(40).collect();
        Err(TokenizerError::Build {
            path: path.to_owned(),
            reason: format!("the added token {shown:?} {reason}"),
        })
    };
    let mut sum = 0;
    for (token, normalized) in tokens {
        if token.len() > MOST_TOKEN {
            let length = token.len();
            return wrong(
                token,
                format!("has {length} bytes; up to {MOST_TOKEN} are accepted"),
            );
        }
        sum += token.len();
        if sum > MOST_TOKENS {
            return wrong(
                token,
                format!("is one of tokens of more than {MOST_TOKENS} bytes"),
            );
        }
        if normalized && !token.is_empty() {
            match contained(|| growth.normal(token)).and_then(|found| found) {
                Ok(normal) if normal.is_empty() => {
                    return wrong(
                        token,
                        "is nothing once the text is normalised, so that it stands everywhere"
                            .into(),
                    );
                }
                Ok(_) => {}
                Err(reason) => return wrong(token, format!("cannot be normalised: {reason}")),
            }
        }
    }
    Ok(())
}

/// Refuses a template that names tokens without saying what they are, or that repeats a text.
fn template(processor: &Value) -> Result<(), String> {
    if let Some(inner) = processor.get("processors").and_then(Value::as_array) {
        return inner.iter().try_for_each(template);
    }
    if processor.get("type").and_then(Value::as_str) != Some("TemplateProcessing") {
        return Ok(());
    }
    let known = processor.get("special_tokens").and_then(Value::as_object);
    for form in ["single", "pair"] {
        let parts = processor.get(form).and_then(Value::as_array);
        let parts = parts.map(Vec::as_slice).unwrap_or_default();
        if parts.len() > MOST_PARTS {
            return Err(format!(
                "the template \"{form}\" of its post-processor has {} parts; up to {MOST_PARTS} are accepted",
                parts.len()
            ));
        }
        for part in parts {
            let id = part.pointer("/SpecialToken/id").and_then(Value::as_str);
            let Some(id) = id else { continue };
            let Some(token) = known.and_then(|known| known.get(id)) else {
                return Err(format!(
                    "the template \"{form}\" of its post-processor names {id:?}, which \"special_tokens\" \
                     lacks"
                ));
            };
            let ids = token
                .get("ids")
                .and_then(Value::as_array)
                .map_or(0, Vec::len);
            if ids > MOST_PARTS {
                return Err(format!(
                    "{id:?} of its post-processor stands for {ids} tokens; up to {MOST_PARTS} are accepted"
                ));
            }
        }
    }
    Ok(())
}
