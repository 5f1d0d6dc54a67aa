//! The tokenizer that a model folder holds.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tokenizers::parallelism::MaybeParallelRefIterator;
use tokenizers::{
    PostProcessor, PostProcessorWrapper, PreTokenizerWrapper, TruncationDirection,
    TruncationParams, TruncationStrategy, truncate_encodings,
};

use crate::growth::Growth;
use crate::guard::contained;
use crate::patterns::{self, Pattern};
use crate::settings::Class;
use crate::{Encoding, TokenizerError, assemble};

/// Turns texts into the ids of one model's vocabulary.
///
/// It can be shared between threads; results do not depend on which thread asks or on what was
/// encoded before.
pub struct Tokenizer {
    /// Everything up to the special tokens.
    pub(crate) core: tokenizers::Tokenizer,
    /// What its normalizer may make of a text.
    growth: Growth,
    /// Patterns at which it splits, of which a text must be tried with each.
    patterns: Vec<Pattern>,
    /// The same with a space before every word of a text in words, where this one puts none; made when it is asked for.
    of_words: OnceLock<Option<Box<tokenizers::Tokenizer>>>,
    /// Adds the special tokens. Kept apart so that the maximum length is an argument and not a
    /// state.
    pub(crate) processor: Option<PostProcessorWrapper>,
    pub(crate) class: Class,
    direction: TruncationDirection,
    segments: bool,
    ids: SpecialIds,
    vocab_size: usize,
    model_max_length: Option<usize>,
    files: Vec<PathBuf>,
}

#[derive(Debug, Clone, Default)]
struct SpecialIds {
    bos: Option<u32>,
    eos: Option<u32>,
    pad: Option<u32>,
    cls: Option<u32>,
    sep: Option<u32>,
    mask: Option<u32>,
    unk: Option<u32>,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The vocabulary would fill the screen.
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size)
            .field("model_max_length", &self.model_max_length)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Reads the tokenizer of a model folder.
    ///
    /// `tokenizer.json` is used where it exists, else `vocab.txt` (BERT), else `vocab.json` with
    /// `merges.txt` (RoBERTa, GPT, GPT-2); `tokenizer_class` in `tokenizer_config.json` or
    /// `config.json`, or else `model_type` in the latter, says which. Where nothing does, a
    /// vocabulary of `</w>` word ends is GPT's, one with `<s>` RoBERTa's, another GPT-2's. As in
    /// transformers 4.57:
    ///
    /// - for BERT's class, `do_lower_case` (default true), `strip_accents` and
    ///   `tokenize_chinese_chars` (default true) of `tokenizer_config.json` override
    ///   `tokenizer.json`, **also where the file is absent or silent**;
    /// - `add_prefix_space` (default false) overrides it likewise;
    /// - `add_bos_token` (GPT-2, default false) acts on the older files only: in
    ///   `tokenizer.json` the first token is there or not;
    /// - GPT's class (`OpenAIGPTTokenizerFast`) always lower-cases the older files' texts;
    /// - padding and maximum length stored in `tokenizer.json` are not applied; the side from
    ///   which texts are cut is.
    ///
    /// A folder with `tokenizer.json` that names no class at all is obeyed as `tokenizer.json`
    /// stands (transformers refuses it).
    ///
    /// # Errors
    /// No tokenizer files, broken ones, a setting of the wrong kind, or a vocabulary without the
    /// special tokens: see [`TokenizerError`].
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, TokenizerError> {
        let assemble::Parts {
            mut core,
            settings,
            direction,
            pad,
            files: vocabulary,
        } = assemble::read(folder.as_ref())?;
        let processor = core.get_post_processor().cloned();
        core.with_post_processor(None::<PostProcessorWrapper>);
        let id = |role: &str| core.token_to_id(&settings.role(role)?.content);
        let ids = SpecialIds {
            bos: id("bos_token"),
            eos: id("eos_token"),
            pad: id("pad_token").or(pad),
            cls: id("cls_token"),
            // A protein has no separator: its end is what stands behind it.
            sep: id(match settings.class {
                Class::Esm => "eos_token",
                _ => "sep_token",
            }),
            mask: id("mask_token"),
            unk: id("unk_token"),
        };
        let build = |reason| TokenizerError::Build {
            path: folder.as_ref().to_owned(),
            reason,
        };
        let growth = Growth::of(core.get_normalizer()).map_err(build)?;
        let patterns = patterns::slow(core.get_pre_tokenizer()).map_err(build)?;
        Ok(Self {
            growth,
            patterns,
            of_words: OnceLock::new(),
            vocab_size: core.get_vocab_size(true),
            segments: settings.segments()?,
            model_max_length: settings.model_max_length()?,
            files: vocabulary.into_iter().chain(settings.files).collect(),
            class: settings.class,
            ids,
            processor,
            direction,
            core,
        })
    }

    /// The same tokenizer, for which `</s>` or `[MASK]` written in a text is text like any other: programs hold such
    /// strings.
    #[must_use]
    pub fn without_special_tokens_in_text(&self) -> Self {
        let mut core = self.core.clone();
        core.set_encode_special_tokens(true);
        Self {
            core,
            of_words: OnceLock::new(),
            growth: self.growth.clone(),
            patterns: self.patterns.clone(),
            processor: self.processor.clone(),
            class: self.class.clone(),
            direction: self.direction,
            segments: self.segments,
            ids: self.ids.clone(),
            vocab_size: self.vocab_size,
            model_max_length: self.model_max_length,
            files: self.files.clone(),
        }
    }

    /// Encodes a text, or a pair of texts, with its special tokens. `Some("")` is a pair whose
    /// second text is empty, as in a batch given to transformers (which takes it for no pair
    /// when a single example is given).
    ///
    /// With `max_length` (special tokens included) tokens are cut from the end
    /// (`truncation_side`) of the longer text first until the whole fits: the lengths kept are
    /// those of `truncation="longest_first"` of transformers' fast tokenizers, which for two
    /// over-long texts are `⌊n/2⌋` of the shorter and the rest of the longer.
    ///
    /// # Errors
    /// [`TokenizerError::MaxLength`] where the special tokens alone exceed `max_length`;
    /// [`TokenizerError::Encode`] where the tokenizer cannot express the text (no unknown token).
    pub fn encode(
        &self,
        text: &str,
        pair: Option<&str>,
        max_length: Option<usize>,
    ) -> Result<Encoding, TokenizerError> {
        let first = self.tokens(text)?;
        let second = pair.map(|pair| self.tokens(pair)).transpose()?;
        self.fitted(first, second, max_length, text)
    }

    /// Encodes a text whose words are known, with its special tokens: `is_split_into_words=True` of transformers.
    /// [`Encoding::words`] counts the words given, and offsets are within each. Where spaces are part of the words
    /// behind them (RoBERTa, GPT-2), every word has one before it, as `run_ner.py` asks for
    /// (`add_prefix_space=True`).
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_words(
        &self,
        words: &[&str],
        max_length: Option<usize>,
    ) -> Result<Encoding, TokenizerError> {
        let core = self.of_words.get_or_init(|| {
            let PreTokenizerWrapper::ByteLevel(spaces) = self.core.get_pre_tokenizer()? else {
                return None;
            };
            if spaces.add_prefix_space {
                return None;
            }
            let mut core = self.core.clone();
            core.with_pre_tokenizer(Some(spaces.add_prefix_space(true)));
            Some(Box::new(core))
        });
        let excerpt = || words.join(" ");
        let encoded = contained(|| {
            words.iter().try_for_each(|word| self.check(word))?;
            let core = core.as_deref().unwrap_or(&self.core);
            core.encode_char_offsets(words, false)
        });
        let first = encoded.unwrap_or_else(|reason| Err(reason.into()));
        let first = first.map_err(|error| refused(&excerpt(), error.as_ref()))?;
        self.fitted(first, None, max_length, &excerpt())
    }

    /// Cut to the maximum length and with special tokens.
    fn fitted(
        &self,
        mut first: tokenizers::Encoding,
        mut second: Option<tokenizers::Encoding>,
        max_length: Option<usize>,
        text: &str,
    ) -> Result<Encoding, TokenizerError> {
        let pair = second.is_some();
        let special = self.special_tokens(pair);
        let room = max_length
            .map(|max_length| {
                max_length
                    .checked_sub(special)
                    .ok_or(TokenizerError::MaxLength {
                        max_length,
                        special,
                        what: if pair { "a pair of texts" } else { "a text" },
                    })
            })
            .transpose()?;
        let whole = first.len() + second.as_ref().map_or(0, tokenizers::Encoding::len);
        if let Some(room) = room.filter(|&room| room < whole) {
            let params = TruncationParams {
                max_length: room,
                strategy: TruncationStrategy::LongestFirst,
                stride: 0,
                direction: self.direction,
            };
            (first, second) = truncate_encodings(first, second, &params)
                .map_err(|error| refused(text, error.as_ref()))?;
            // The parts cut off would go through the post-processor too.
            first.take_overflowing();
            if let Some(second) = &mut second {
                second.take_overflowing();
            }
        }
        let kept = first.len() + second.as_ref().map_or(0, tokenizers::Encoding::len);

        let encoding = self.processed(first, second, true);
        let encoding = encoding.map_err(|error| refused(text, error.as_ref()))?;
        Ok(self.described(&encoding, whole - kept))
    }

    /// Encodes a text, however long, without special tokens and without cutting anything: the
    /// stream of tokens that windows over a long document are taken from. Offsets, words and
    /// segments are those of transformers' `tokenizer(text, add_special_tokens=False)`; a special
    /// token that is *written* in the text is found as in [`Tokenizer::encode`].
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] where the tokenizer cannot express the text (no unknown token).
    pub fn encode_plain(&self, text: &str) -> Result<Encoding, TokenizerError> {
        let tokens = self.tokens(text)?;
        let encoding = self.processed(tokens, None, false);
        let encoding = encoding.map_err(|error| refused(text, error.as_ref()))?;
        Ok(self.described(&encoding, 0))
    }

    /// Post-processed: without special tokens too, since offsets may be trimmed there.
    fn processed(
        &self,
        first: tokenizers::Encoding,
        second: Option<tokenizers::Encoding>,
        special_tokens: bool,
    ) -> tokenizers::Result<tokenizers::Encoding> {
        match &self.processor {
            Some(processor) => contained(|| processor.process(first, second, special_tokens))?,
            None => Ok(join(first, second)),
        }
    }

    fn described(&self, encoding: &tokenizers::Encoding, truncated: usize) -> Encoding {
        let sequence = encoding.get_sequence_ids();
        Encoding {
            ids: encoding.get_ids().to_vec(),
            segment_ids: if self.segments {
                encoding.get_type_ids().to_vec()
            } else {
                vec![0; encoding.len()]
            },
            offsets: encoding.get_offsets().to_vec(),
            sequence: sequence
                .into_iter()
                .map(|id| id.map(|id| u8::from(id != 0)))
                .collect(),
            special: encoding
                .get_special_tokens_mask()
                .iter()
                .map(|&flag| flag != 0)
                .collect(),
            words: encoding.get_word_ids().to_vec(),
            truncated,
        }
    }

    /// Encodes many texts or pairs, each as [`Tokenizer::encode`] does, in parallel on rayon's
    /// current pool (`TOKENIZERS_PARALLELISM=false` turns that off), and in their order.
    ///
    /// # Errors
    /// The error of one of the texts that failed.
    pub fn encode_batch<T, P>(
        &self,
        texts: &[(T, Option<P>)],
        max_length: Option<usize>,
    ) -> Result<Vec<Encoding>, TokenizerError>
    where
        T: AsRef<str> + Sync,
        P: AsRef<str> + Sync,
    {
        texts
            .maybe_par_iter()
            .map(|(text, pair)| {
                self.encode(text.as_ref(), pair.as_ref().map(AsRef::as_ref), max_length)
            })
            .collect()
    }

    /// Number of special tokens that [`Tokenizer::encode`] adds to a text, or to a pair.
    #[must_use]
    pub fn special_tokens(&self, pair: bool) -> usize {
        self.processor
            .as_ref()
            .map_or(0, |processor| processor.added_tokens(pair))
    }

    /// The token with this id.
    #[must_use]
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.core.id_to_token(id)
    }

    /// The id of a token, spelled as in the vocabulary (`##ing`, `Ġthe`).
    #[must_use]
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.core.token_to_id(token)
    }

    /// Id of the token that begins a text (`bos_token`: `<s>`, `<|endoftext|>`), where the
    /// tokenizer has one. Whether [`Tokenizer::encode`] puts it there is another matter: GPT-2
    /// does so with `add_bos_token` only. BERT and GPT have none.
    #[must_use]
    pub fn bos_id(&self) -> Option<u32> {
        self.ids.bos
    }

    /// Id of the token that ends a text (`eos_token`: `</s>`, `<|endoftext|>`), where the
    /// tokenizer has one. BERT and GPT have none.
    #[must_use]
    pub fn eos_id(&self) -> Option<u32> {
        self.ids.eos
    }

    /// Id of the padding token, where the tokenizer has one (GPT and GPT-2 have none).
    #[must_use]
    pub fn pad_id(&self) -> Option<u32> {
        self.ids.pad
    }

    /// Id of the token before a text (`[CLS]`, `<s>`), where the tokenizer has one.
    #[must_use]
    pub fn cls_id(&self) -> Option<u32> {
        self.ids.cls
    }

    /// Id of the token behind a text (`[SEP]`, `</s>`, ESM's `<eos>`), where the tokenizer has one.
    #[must_use]
    pub fn sep_id(&self) -> Option<u32> {
        let end = self.ids.eos.filter(|_| self.ids.cls.is_some());
        self.ids.sep.or(end)
    }

    /// Id of the token that masked-language-model training hides words behind, where the
    /// tokenizer has one.
    #[must_use]
    pub fn mask_id(&self) -> Option<u32> {
        self.ids.mask
    }

    /// Id of the unknown token, where the tokenizer has one.
    #[must_use]
    pub fn unk_id(&self) -> Option<u32> {
        self.ids.unk
    }

    /// Number of different tokens, added ones included (transformers' `len(tokenizer)`). The
    /// model's embedding must have at least this many rows.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The longest encoding, special tokens included, that the model's maker declares
    /// (`model_max_length`); `None` where there is no limit or nothing is said.
    #[must_use]
    pub fn model_max_length(&self) -> Option<usize> {
        self.model_max_length
    }

    /// The files that were read, for copying along with a model or for hashing. (`config.json`,
    /// of which only the tokenizer's class is taken, is not among them.)
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Refuses a text that would take too long, or become too long.
    pub(crate) fn check(&self, text: &str) -> Result<(), String> {
        self.growth.check(text)?;
        if !self.patterns.is_empty() {
            let normal = self.growth.normal(text)?;
            for pattern in &self.patterns {
                pattern.find_in(&normal)?;
            }
        }
        Ok(())
    }

    fn tokens(&self, text: &str) -> Result<tokenizers::Encoding, TokenizerError> {
        let encoded = contained(|| {
            self.check(text)?;
            self.core.encode_char_offsets(text, false)
        });
        encoded
            .unwrap_or_else(|reason| Err(reason.into()))
            .map_err(|error| refused(text, error.as_ref()))
    }
}

/// What a tokenizer without post-processor does: the texts one behind the other.
fn join(
    mut first: tokenizers::Encoding,
    second: Option<tokenizers::Encoding>,
) -> tokenizers::Encoding {
    first.set_sequence_id(0);
    if let Some(mut second) = second {
        second.set_sequence_id(1);
        second.set_type_ids(vec![1; second.len()]);
        first.merge_with(second, false);
    }
    first
}

fn refused(text: &str, error: &(dyn std::error::Error + 'static)) -> TokenizerError {
    TokenizerError::Encode {
        excerpt: text.chars().take(60).collect(),
        reason: error.to_string(),
    }
}
