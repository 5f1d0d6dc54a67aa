//! The tokenizer's files with the ids of a smaller vocabulary.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use tokenizers::ModelWrapper;

use crate::assemble::{JSON, MERGES, SPM, VOCAB_JSON, VOCAB_TXT};
use crate::settings::Settings;
use crate::{Tokenizer, TokenizerError, files, sentencepiece};

/// Stands for the pieces of Unigram while the rest is written; no text of a file is this one.
const PIECES: &str = "\u{fdd0}pieces";

/// Where tokens that stay are found.
pub(crate) struct Places<'k> {
    kept: &'k [u32],
}

impl<'k> Places<'k> {
    /// Of these, ascending.
    pub(crate) fn new(kept: &'k [u32]) -> Self {
        Self { kept }
    }

    /// The new id.
    pub(crate) fn of(&self, old: u32) -> Option<u32> {
        u32::try_from(self.kept.binary_search(&old).ok()?).ok()
    }

    fn of_value(&self, old: &Value) -> Option<u32> {
        self.of(u32::try_from(old.as_u64()?).ok()?)
    }

    /// The same, or the old one for an id that is nobody's.
    fn or_old(&self, old: u32) -> u32 {
        self.of(old).unwrap_or(old)
    }
}

/// What two tokens become.
pub(super) fn merged(left: &str, right: &str, prefix: usize) -> String {
    format!("{left}{}", right.get(prefix..).unwrap_or_default())
}

/// Every id that a post-processor as it is written puts around a text, and what is to be in its place.
pub(super) fn each_id(processor: &mut Value, change: &mut dyn FnMut(u32) -> u32) {
    let mut of = |value: &mut Value| {
        if let Some(id) = value.as_u64().and_then(|id| u32::try_from(id).ok()) {
            *value = json!(change(id));
        }
    };
    match processor.get("type").and_then(Value::as_str) {
        Some("Sequence") => {
            let inner = processor["processors"].as_array_mut();
            for processor in inner.into_iter().flatten() {
                each_id(processor, change);
            }
        }
        Some("TemplateProcessing") => {
            let tokens = processor["special_tokens"].as_object_mut();
            for (_, token) in tokens.into_iter().flatten() {
                let ids = token["ids"].as_array_mut();
                ids.into_iter().flatten().for_each(&mut of);
            }
        }
        Some("BertProcessing" | "RobertaProcessing") => {
            for end in ["sep", "cls"] {
                if let Some(id) = processor[end].get_mut(1) {
                    of(id);
                }
            }
        }
        _ => {}
    }
}

/// The scores of Unigram's pieces as the file writes them: read and written as numbers they might become their neighbours.
#[derive(Deserialize)]
struct Scored<'a> {
    #[serde(borrow)]
    model: Pieces<'a>,
}

#[derive(Deserialize)]
struct Pieces<'a> {
    #[serde(borrow)]
    vocab: Vec<(String, &'a RawValue)>,
}

impl Tokenizer {
    /// Every file of the folder that can be rewritten, by name.
    pub(super) fn rewritten(
        &self,
        folder: &Path,
        places: &Places<'_>,
    ) -> Result<BTreeMap<String, Vec<u8>>, TokenizerError> {
        let there = |name: &str| bertology_file::exists(&folder.join(name));
        let mut all = BTreeMap::new();
        let main = if there(JSON) {
            Some(files::bytes(&folder.join(JSON))?)
        } else if self.files().iter().any(|file| file.ends_with(SPM)) {
            Some(self.of_pieces(folder)?)
        } else {
            None
        };
        let main = main.map(|bytes| self.tokenizer_json(folder, &bytes, places));
        if let Some(bytes) = main.transpose()? {
            all.insert(JSON.to_owned(), bytes);
        }
        if there(VOCAB_TXT)
            && let Some(text) = self.vocab_txt(&folder.join(VOCAB_TXT), places)?
        {
            all.insert(VOCAB_TXT.to_owned(), text.into_bytes());
        }
        if there(VOCAB_JSON)
            && there(MERGES)
            && let Some((vocab, merges)) = self.vocab_and_merges(folder, places)?
        {
            all.insert(VOCAB_JSON.to_owned(), vocab);
            all.insert(MERGES.to_owned(), merges.into_bytes());
        }
        if there("added_tokens.json") {
            let path = folder.join("added_tokens.json");
            let mut added: Map<String, Value> = files::json(&path)?;
            for (_, id) in &mut added {
                if let Some(place) = places.of_value(id) {
                    *id = json!(place);
                }
            }
            all.insert("added_tokens.json".to_owned(), written(&path, &added)?);
        }
        if there("tokenizer_config.json") {
            let bytes = self.settings(&folder.join("tokenizer_config.json"), places)?;
            all.insert("tokenizer_config.json".to_owned(), bytes);
        }
        // Names of tokens and no ids.
        if there("special_tokens_map.json") {
            let bytes = files::bytes(&folder.join("special_tokens_map.json"))?;
            all.insert("special_tokens_map.json".to_owned(), bytes);
        }
        Ok(all)
    }

    /// A `tokenizer.json` that says what SentencePiece's own file and the class say.
    fn of_pieces(&self, folder: &Path) -> Result<Vec<u8>, TokenizerError> {
        let path = folder.join(SPM);
        let wrong = |reason| TokenizerError::Build {
            path: path.clone(),
            reason,
        };
        let settings = Settings::read(folder)?;
        let bytes = sentencepiece::of_settings(&files::bytes(&path)?, &settings)?;
        let bytes = bytes.map_err(wrong)?;
        let mut whole: Value = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
        let own = serde_json::to_value(&self.core).map_err(|e| wrong(e.to_string()))?;
        whole["added_tokens"] = own["added_tokens"].clone();
        whole["post_processor"] =
            serde_json::to_value(&self.processor).map_err(|e| wrong(e.to_string()))?;
        serde_json::to_vec(&whole).map_err(|e| wrong(e.to_string()))
    }

    fn tokenizer_json(
        &self,
        folder: &Path,
        bytes: &[u8],
        places: &Places<'_>,
    ) -> Result<Vec<u8>, TokenizerError> {
        let path = folder.join(JSON);
        let json_error = |error: serde_json::Error| files::json_error(&path, &error);
        let mut whole: Value = serde_json::from_slice(bytes).map_err(json_error)?;
        for token in whole["added_tokens"].as_array_mut().into_iter().flatten() {
            // By its name: the library gives ids of its own to what the file numbers otherwise.
            let old = token["content"].as_str();
            let place = old.and_then(|token| places.of(self.token_to_id(token)?));
            if let Some(place) = place {
                token["id"] = json!(place);
            }
        }
        each_id(&mut whole["post_processor"], &mut |id| places.or_old(id));
        if let Some(id) = whole["padding"].get_mut("pad_id")
            && let Some(place) = places.of_value(id)
        {
            *id = json!(place);
        }
        let model = &mut whole["model"];
        let mut pieces = String::new();
        if matches!(self.core.get_model(), ModelWrapper::Unigram(_)) {
            let scored: Scored<'_> = serde_json::from_slice(bytes).map_err(json_error)?;
            let lines = (0_u32..).zip(&scored.model.vocab);
            let lines = lines.filter(|(id, _)| places.of(*id).is_some());
            let lines: Vec<String> = lines
                .map(|(_, (piece, score))| format!("      [{}, {}]", json!(piece), score.get()))
                .collect();
            pieces = format!("[\n{}\n    ]", lines.join(",\n"));
            model["vocab"] = json!(PIECES);
            if let Some(place) = places.of_value(&model["unk_id"]) {
                model["unk_id"] = json!(place);
            }
        } else {
            if let Some(vocab) = model["vocab"].as_object_mut() {
                vocab.retain(|_, id| places.of_value(id).is_some());
                for (_, id) in vocab.iter_mut() {
                    *id = json!(places.of_value(id));
                }
            }
            let prefix = model["continuing_subword_prefix"].as_str();
            let prefix = prefix.map_or(0, str::len);
            let vocab = model["vocab"].clone();
            if let Some(merges) = model["merges"].as_array_mut() {
                merges.retain(|merge| {
                    let line = merge.as_str().and_then(|line| line.split_once(' '));
                    let pair = merge[0].as_str().zip(merge[1].as_str());
                    let merged = line.or(pair).map(|(l, r)| merged(l, r, prefix));
                    merged.is_some_and(|merged| vocab.get(&merged).is_some())
                });
            }
        }
        let text = serde_json::to_string_pretty(&whole).map_err(json_error)?;
        let text = text.replacen(&format!("\"{PIECES}\""), &pieces, 1);
        Ok((text + "\n").into_bytes())
    }

    /// Whether the vocabulary has this token under this id.
    fn agrees(&self, token: &str, id: u32) -> bool {
        self.id_to_token(id).as_deref() == Some(token)
    }

    /// Whether these are all that stay of the model's own vocabulary.
    fn covered(&self, places: &Places<'_>, found: &HashSet<u32>) -> bool {
        let own = |id: &&u32| {
            let token = self.id_to_token(**id);
            token.and_then(|token| self.model_id(&token)) == Some(**id)
        };
        let mut own = places.kept.iter().filter(own);
        own.all(|id| found.contains(id))
    }

    /// Nothing where the file is about another vocabulary.
    fn vocab_txt(
        &self,
        path: &Path,
        places: &Places<'_>,
    ) -> Result<Option<String>, TokenizerError> {
        let text = files::text(path)?;
        let lines = text.strip_suffix('\n').unwrap_or(&text).split('\n');
        let mut left = String::new();
        let mut found = HashSet::new();
        for (id, token) in (0_u32..).zip(lines) {
            if places.of(id).is_none() {
                continue;
            }
            // Of two equal lines the later is the token; the earlier is no one.
            if !self.agrees(token, id) && self.token_to_id(token).is_none_or(|other| other <= id) {
                return Ok(None);
            }
            found.insert(id);
            left.push_str(token);
            left.push('\n');
        }
        Ok(self.covered(places, &found).then_some(left))
    }

    /// Nothing where the files are about another vocabulary.
    fn vocab_and_merges(
        &self,
        folder: &Path,
        places: &Places<'_>,
    ) -> Result<Option<(Vec<u8>, String)>, TokenizerError> {
        let path = folder.join(VOCAB_JSON);
        let mut vocab: Map<String, Value> = files::json(&path)?;
        vocab.retain(|_, id| places.of_value(id).is_some());
        let mut found = HashSet::new();
        for (token, id) in &mut vocab {
            let old = id.as_u64().and_then(|id| u32::try_from(id).ok());
            let Some(old) = old.filter(|old| self.agrees(token, *old)) else {
                return Ok(None);
            };
            found.insert(old);
            *id = json!(places.of(old));
        }
        if !self.covered(places, &found) {
            return Ok(None);
        }
        let text = files::text(&folder.join(MERGES))?;
        let mut lines = text.split('\n');
        // The first says which version it is, and no merge.
        let mut left = format!("{}\n", lines.next().unwrap_or_default());
        for line in lines {
            let mut words = line.split_whitespace();
            if let (Some(a), Some(b)) = (words.next(), words.next())
                && vocab.contains_key(&merged(a, b, 0))
            {
                left.push_str(line);
                left.push('\n');
            }
        }
        Ok(Some((written(&path, &vocab)?, left)))
    }

    /// `tokenizer_config.json`: `added_tokens_decoder` and whatever else names an id. All other values stay letter by letter.
    fn settings(&self, path: &Path, places: &Places<'_>) -> Result<Vec<u8>, TokenizerError> {
        let mut settings: BTreeMap<String, Box<RawValue>> = files::json(path)?;
        let mut changed = HashMap::new();
        for (key, raw) in &settings {
            if key == "added_tokens_decoder" {
                let tokens: Option<Map<String, Value>> =
                    serde_json::from_str(raw.get()).map_err(|e| files::json_error(path, &e))?;
                let renamed = tokens.into_iter().flatten().map(|(id, token)| {
                    let old = token["content"].as_str();
                    let old = old.and_then(|token| self.token_to_id(token));
                    let old = old.or_else(|| id.parse().ok());
                    let place = old.and_then(|old| places.of(old));
                    (place.map_or(id, |place| place.to_string()), token)
                });
                let renamed: Map<String, Value> = renamed.collect();
                changed.insert(key.clone(), json!(renamed));
            } else if key.ends_with("_token_id") {
                let id = serde_json::from_str::<Value>(raw.get()).ok();
                if let Some(place) = id.and_then(|id| places.of_value(&id)) {
                    changed.insert(key.clone(), json!(place));
                }
            }
        }
        if changed.is_empty() {
            return files::bytes(path);
        }
        for (key, value) in changed {
            let raw = to_raw_value(&value).map_err(|e| files::json_error(path, &e))?;
            settings.insert(key, raw);
        }
        written(path, &settings)
    }
}

fn written(path: &Path, object: &impl serde::Serialize) -> Result<Vec<u8>, TokenizerError> {
    let text = bertology_file::as_python_writes(object);
    let text = text.map_err(|error| files::json_error(path, &error))?;
    Ok((text + "\n").into_bytes())
}
