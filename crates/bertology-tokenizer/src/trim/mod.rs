//! A vocabulary without the tokens that nobody needs, for which the texts of a corpus are the same pieces as before.
//!
//! Which ids must stay so that this is so differs by the kind of model; each argument stands at the code that relies on it. What
//! is true of all kinds: added tokens and those that frame a text are found before the model sees anything and all stay, so that
//! it is given the same words as before; new ids are in the order of the old ones.

mod files;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use serde_json::Value;
use tokenizers::models::bpe::BPE;
use tokenizers::models::unigram::Unigram;
use tokenizers::{ModelWrapper, OffsetReferential, OffsetType, PreTokenizer};

use crate::guard::contained;
use crate::settings::Class;
use crate::{Tokenizer, TokenizerError};

pub(crate) use files::Places;

/// A smaller vocabulary, and the files that say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trimmed {
    /// Old ids of what stays, ascending; the new id of each is its place here.
    pub kept: Vec<u32>,
    /// Each of them as the vocabulary writes it; empty for an id that no token has.
    pub tokens: Vec<String>,
    /// Tokens before, added ones included.
    pub before: usize,
    /// The tokenizer's files by name, as they are to be. What is absent of those that the folder has cannot be rewritten
    /// (SentencePiece's own file, whose pieces are then in `tokenizer.json`) or does not agree with `tokenizer.json`.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Tokenizer {
    /// The vocabulary without what neither `needed` nor any tokenizer of its kind needs. There stay, too: special and added
    /// tokens, all single characters, bytes, and whatever tokens that stay are merged from.
    ///
    /// With all ids that some text is given by [`Tokenizer::encode`] or [`Tokenizer::encode_words`] and those that
    /// [`Tokenizer::tried`] gives for it, the text is the same pieces before and after.
    ///
    /// `folder` is what this tokenizer was read from.
    ///
    /// # Errors
    /// [`TokenizerError::Residues`] for the letters of proteins; files that have changed.
    pub fn trim(&self, folder: &Path, needed: &BTreeSet<u32>) -> Result<Trimmed, TokenizerError> {
        let before = self.vocab_size();
        if self.class == Class::Esm {
            return Err(TokenizerError::Residues {
                folder: folder.to_owned(),
                tokens: before,
            });
        }
        let build = |reason| TokenizerError::Build {
            path: folder.to_owned(),
            reason,
        };
        let ids = contained(|| {
            let mut ids = needed.clone();
            self.keep_special(&mut ids)?;
            self.keep_for_model(&mut ids)?;
            Ok(ids)
        });
        let ids = ids.and_then(|ids| ids).map_err(build)?;
        let kept: Vec<u32> = ids.into_iter().collect();
        let tokens = kept
            .iter()
            .map(|id| self.id_to_token(*id).unwrap_or_default())
            .collect();
        // Files that were sound when they were read may be others by now.
        let files = contained(|| self.rewritten(folder, &Places::new(&kept)));
        Ok(Trimmed {
            files: files.map_err(build)??,
            tokens,
            kept,
            before,
        })
    }

    /// Ids that `WordPiece` finds in a text on its way to words that it then calls unknown, and which no encoding shows.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] as [`Tokenizer::encode`].
    pub fn tried(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let ModelWrapper::WordPiece(model) = self.core.get_model() else {
            return Ok(Vec::new());
        };
        let most = model.max_input_chars_per_word;
        let found = contained(|| {
            self.check(text)?;
            let added = self.core.get_added_vocabulary();
            let mut words = added.extract_and_normalize(self.core.get_normalizer(), text);
            if let Some(splits) = self.core.get_pre_tokenizer() {
                splits
                    .pre_tokenize(&mut words)
                    .map_err(|error| error.to_string())?;
            }
            let mut ids = Vec::new();
            for (word, _, token) in words.get_splits(OffsetReferential::Original, OffsetType::None)
            {
                if token.is_none() && word.chars().count() <= most {
                    self.walk(word, &model.continuing_subword_prefix, &mut ids);
                }
            }
            Ok(ids)
        });
        found
            .and_then(|ids| ids)
            .map_err(|reason| TokenizerError::Encode {
                excerpt: text.chars().take(60).collect(),
                reason,
            })
    }

    /// The pieces that the greedy search takes of a word that it cannot finish; none of another.
    fn walk(&self, word: &str, prefix: &str, ids: &mut Vec<u32>) {
        let before = ids.len();
        let mut start = 0;
        while start < word.len() {
            let rest = word.get(start..).unwrap_or_default();
            let longest = rest.char_indices().rev().find_map(|(at, last)| {
                let piece = rest.get(..at + last.len_utf8())?;
                let id = match start {
                    0 => self.model_id(piece),
                    _ => self.model_id(&format!("{prefix}{piece}")),
                };
                Some((piece.len(), id?))
            });
            let Some((length, id)) = longest else {
                return;
            };
            ids.push(id);
            start += length;
        }
        ids.truncate(before);
    }

    /// Of the model's own vocabulary, added tokens aside.
    pub(super) fn model_id(&self, token: &str) -> Option<u32> {
        tokenizers::Model::token_to_id(self.core.get_model(), token)
    }

    /// Tokens that are found in a text, or put around it, before or behind the model.
    fn keep_special(&self, ids: &mut BTreeSet<u32>) -> Result<(), String> {
        ids.extend(self.core.get_added_tokens_decoder().keys());
        let special = [
            self.bos_id(),
            self.eos_id(),
            self.pad_id(),
            self.cls_id(),
            self.sep_id(),
            self.mask_id(),
            self.unk_id(),
        ];
        ids.extend(special.into_iter().flatten());
        if let Some(processor) = &self.processor {
            let mut written = serde_json::to_value(processor).map_err(|e| e.to_string())?;
            files::each_id(&mut written, &mut |id| {
                ids.insert(id);
                id
            });
        }
        Ok(())
    }

    fn keep_for_model(&self, ids: &mut BTreeSet<u32>) -> Result<(), String> {
        let model = self.core.get_model();
        match model {
            // The search takes the longest piece that the vocabulary has, again and again. Of a word of the corpus all pieces
            // taken stay, so that each is still there to be taken, and no longer one appears. A word that ends as unknown
            // shows no pieces, though those before the place where it failed were taken, and another way past that place
            // might be open without them: hence `tried`.
            ModelWrapper::WordPiece(model) => {
                ids.extend(self.model_id(&model.unk_token));
                self.keep_single(&model.continuing_subword_prefix, "", ids);
            }
            // A word is looked up whole.
            ModelWrapper::WordLevel(model) => {
                ids.extend(self.model_id(&model.unk_token));
                self.keep_single("", "", ids);
            }
            ModelWrapper::BPE(model) => {
                ids.extend(model.unk_token.as_ref().and_then(|unk| self.model_id(unk)));
                let prefix = model.continuing_subword_prefix.as_deref();
                let suffix = model.end_of_word_suffix.as_deref();
                let (prefix, suffix) = (prefix.unwrap_or(""), suffix.unwrap_or(""));
                self.keep_single(prefix, suffix, ids);
                if model.byte_fallback {
                    self.keep_bytes(ids);
                }
                self.keep_merged_from(model, prefix, ids)?;
            }
            ModelWrapper::Unigram(model) => {
                self.keep_single("", "", ids);
                if model.byte_fallback() {
                    self.keep_bytes(ids);
                }
                keep_scores(model, ids);
            }
        }
        Ok(())
    }

    /// Single characters: of these any text can be put together, and a character is unknown if and only if it was before.
    fn keep_single(&self, prefix: &str, suffix: &str, ids: &mut BTreeSet<u32>) {
        let single = |token: &str| {
            let mut characters = token.chars();
            characters.next().is_some() && characters.next().is_none()
        };
        for (token, id) in self.core.get_vocab(false) {
            let without = token.strip_prefix(prefix).unwrap_or(&token);
            let bare = without.strip_suffix(suffix).unwrap_or(without);
            let end = token.strip_suffix(suffix).unwrap_or(&token);
            if single(&token) || single(without) || single(bare) || single(end) {
                ids.insert(id);
            }
        }
    }

    /// `<0x00>` to `<0xFF>`, of which a character that no token has is put together.
    fn keep_bytes(&self, ids: &mut BTreeSet<u32>) {
        ids.extend((0..=255_u8).filter_map(|byte| self.model_id(&format!("<0x{byte:02X}>"))));
    }

    /// Whatever a token that stays is merged from, in every way that the list of merges knows.
    ///
    /// Merges are made in the order of their ranks, and nothing that was merged comes apart again: whatever appears on a word's
    /// way is a part of one of its tokens at the end. These stay, and so, by what is done here, does all that appears, and
    /// every merge that was made, since merges leave only with what they give. So at each step the merge that was made is still
    /// there, and whatever might have come before it was there already and did not.
    fn keep_merged_from(
        &self,
        model: &BPE,
        prefix: &str,
        ids: &mut BTreeSet<u32>,
    ) -> Result<(), String> {
        let written = serde_json::to_value(model).map_err(|error| error.to_string())?;
        let merges = written["merges"].as_array().map(Vec::as_slice);
        let mut of: HashMap<String, Vec<[&str; 2]>> = HashMap::new();
        for merge in merges.unwrap_or_default() {
            if let (Some(left), Some(right)) = (merge[0].as_str(), merge[1].as_str()) {
                let merged = files::merged(left, right, prefix.len());
                of.entry(merged).or_default().push([left, right]);
            }
        }
        let mut open: Vec<u32> = ids.iter().copied().collect();
        while let Some(id) = open.pop() {
            let Some(token) = tokenizers::Model::id_to_token(model, id) else {
                continue;
            };
            let parts = of.get(&token).into_iter().flatten().flatten();
            for part in parts.filter_map(|part| self.model_id(part)) {
                if ids.insert(part) {
                    open.push(part);
                }
            }
        }
        Ok(())
    }
}

/// The piece with the lowest score, from which unknown characters get theirs.
///
/// The best way through a word is the one with the largest sum of scores. For a text of the corpus its pieces stay, with their
/// scores; all other ways were no better before, and none gets better: a way through an unknown character exists where no
/// piece of that one character does, which [`Tokenizer::keep_single`] leaves as it was, and costs what it cost. Of two equally
/// good ways the one found first is taken, in the order of their first characters, which does not change either.
fn keep_scores(model: &Unigram, ids: &mut BTreeSet<u32>) {
    let scores = (0_u32..).zip(model.iter());
    let lowest = scores.min_by(|(_, (_, a)), (_, (_, b))| a.total_cmp(b));
    ids.extend(lowest.map(|(id, _)| id));
    // The unknown piece has no other name in the library than its place.
    let written = serde_json::to_value(model).unwrap_or_default();
    let unknown = written.get("unk_id").and_then(Value::as_u64);
    ids.extend(unknown.and_then(|id| u32::try_from(id).ok()));
}
