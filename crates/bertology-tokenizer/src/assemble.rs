//! From files to the tokenizer library's parts: `tokenizer.json` with the class's overrides, or
//! the older files put together as transformers' `convert_slow_tokenizer` does.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tokenizers::models::bpe::Vocab;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, TruncationDirection,
};

use crate::growth::Growth;
use crate::guard::contained;
use crate::merges::{bpe_class, byte_level, word_end};
use crate::residues::residues;
use crate::sentencepiece;
use crate::settings::{Class, Settings};
use crate::{TokenizerError, check, files};

/// What was read: the library's tokenizer (its post-processor included) and where from.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) core: tokenizers::Tokenizer,
    pub(crate) settings: Settings,
    /// From which end a text is cut.
    pub(crate) direction: TruncationDirection,
    /// The padding token of `tokenizer.json`, which stands in where no setting names one.
    pub(crate) pad: Option<u32>,
    /// The vocabulary files.
    pub(crate) files: Vec<PathBuf>,
}

pub(crate) const JSON: &str = "tokenizer.json";
pub(crate) const VOCAB_TXT: &str = "vocab.txt";
pub(crate) const VOCAB_JSON: &str = "vocab.json";
pub(crate) const MERGES: &str = "merges.txt";
/// SentencePiece's own file, under DeBERTa's name for it.
pub(crate) const SPM: &str = "spm.model";
/// Merges of BERTweet and PhoBERT.
const CODES: &str = "bpe.codes";
/// Classes for which transformers has neither a fast tokenizer nor a converter.
const PYTHON_ONLY: [&str; 2] = ["BertweetTokenizer", "PhobertTokenizer"];

pub(crate) fn read(folder: &Path) -> Result<Parts, TokenizerError> {
    if !bertology_file::is_folder(folder) {
        return Err(TokenizerError::NotAFolder {
            path: folder.to_owned(),
        });
    }
    let settings = Settings::read(folder)?;
    let json = folder.join(JSON);
    let from = if bertology_file::exists(&json) {
        json.clone()
    } else {
        folder.to_owned()
    };
    let parts = contained(|| {
        if bertology_file::exists(&json) {
            from_json(json, settings)
        } else {
            from_older(folder, settings)
        }
    });
    let mut parts = parts.map_err(|reason| TokenizerError::Build { path: from, reason })??;

    if let Some(direction) = parts.settings.truncation_side()? {
        parts.direction = direction;
    }
    let split_special = parts
        .settings
        .flag("split_special_tokens")?
        .unwrap_or(false);
    parts.core.set_encode_special_tokens(split_special);
    Ok(parts)
}

fn from_json(path: PathBuf, settings: Settings) -> Result<Parts, TokenizerError> {
    let bytes = files::bytes(&path)?;
    from_bytes(path, &bytes, settings)
}

/// `DebertaV2Converter`: what the file says, between the class's marks.
fn pieces(path: PathBuf, settings: Settings) -> Result<Parts, TokenizerError> {
    let bytes = sentencepiece::of_settings(&files::bytes(&path)?, &settings)?;
    let bytes = bytes.map_err(|reason| TokenizerError::Build {
        path: path.clone(),
        reason,
    })?;
    let mut parts = from_bytes(path.clone(), &bytes, settings)?;
    add_tokens(&mut parts.core, &parts.settings)?;
    framed(parts.core, path, parts.settings, "sep_token", 1)
}

/// What a `tokenizer.json` says, with the class's overrides.
fn from_bytes(path: PathBuf, bytes: &[u8], settings: Settings) -> Result<Parts, TokenizerError> {
    check::tokenizer_json(&path, bytes)?;
    let mut core = tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| match error
        .downcast_ref::<serde_json::Error>(
    ) {
        Some(json) => files::json_error(&path, json),
        None => TokenizerError::Build {
            path: path.clone(),
            reason: error.to_string(),
        },
    })?;
    // transformers takes the side from here, though not the length; padding never applies.
    let direction = core
        .get_truncation()
        .map(|stored| stored.direction)
        .unwrap_or_default();
    let pad = core.get_padding().map(|stored| stored.pad_token.clone());
    core.with_padding(None);
    core.with_truncation(None)
        .map_err(|error| TokenizerError::Build {
            path: path.clone(),
            reason: error.to_string(),
        })?;

    override_normalizer(&mut core, &settings)?;
    override_spaces(&mut core, &settings)?;
    add_all(&mut core, &settings)?;

    let unknown = match core.get_model() {
        ModelWrapper::WordPiece(model) => Some(model.unk_token.as_str()),
        // Byte-level vocabularies name one that they never need, and may lack.
        ModelWrapper::BPE(model) if settings.class == Class::OpenAiGpt => {
            model.unk_token.as_deref()
        }
        _ => None,
    };
    if let Some(token) = unknown.filter(|token| core.get_model_token(token).is_none()) {
        let tokens = format!("{token} (unknown)");
        return Err(TokenizerError::Lacks { path, tokens });
    }
    let pad = pad.and_then(|pad| core.token_to_id(&pad));
    Ok(Parts {
        core,
        settings,
        direction,
        pad,
        files: vec![path],
    })
}

/// Looks a token up in the model's own vocabulary, added tokens aside.
trait ModelToken {
    fn get_model_token(&self, token: &str) -> Option<u32>;
}

impl ModelToken for tokenizers::Tokenizer {
    fn get_model_token(&self, token: &str) -> Option<u32> {
        tokenizers::Model::token_to_id(self.get_model(), token)
    }
}

/// `BertTokenizerFast.__init__`: lower-casing, accents and Chinese characters follow
/// `tokenizer_config.json`, and where that is silent the class's defaults, whatever
/// `tokenizer.json` says. A folder that names no class keeps what `tokenizer.json` says, except
/// where the configuration speaks.
fn override_normalizer(
    core: &mut tokenizers::Tokenizer,
    settings: &Settings,
) -> Result<(), TokenizerError> {
    let stored = match core.get_normalizer() {
        Some(NormalizerWrapper::BertNormalizer(stored)) => *stored,
        _ => return Ok(()),
    };
    let bert = match settings.class {
        Class::Bert { .. } | Class::MpNet => true,
        Class::Unknown => false,
        _ => return Ok(()),
    };
    let pick = |flag: Option<bool>, default: bool, stored: bool| {
        flag.unwrap_or(if bert { default } else { stored })
    };
    let lowercase = pick(settings.flag("do_lower_case")?, true, stored.lowercase);
    let chinese = match settings.class {
        // This class leaves them as they are stored, whatever its settings say.
        Class::MpNet => stored.handle_chinese_chars,
        _ => pick(
            settings.flag("tokenize_chinese_chars")?,
            true,
            stored.handle_chinese_chars,
        ),
    };
    let accents = settings.flag("strip_accents")?;
    let accents = if bert {
        accents
    } else {
        accents.or(stored.strip_accents)
    };
    let normalizer = BertNormalizer::new(stored.clean_text, chinese, accents, lowercase);
    core.with_normalizer(Some(normalizer));
    Ok(())
}

/// `PreTrainedTokenizerFast.__init__` makes the pre-tokenizer's `add_prefix_space` follow the
/// configuration for every class (false where it is silent), `RobertaTokenizerFast.__init__` the
/// post-processor's too.
fn override_spaces(
    core: &mut tokenizers::Tokenizer,
    settings: &Settings,
) -> Result<(), TokenizerError> {
    let prefix = match (settings.flag("add_prefix_space")?, &settings.class) {
        (None, Class::Unknown) => None,
        (flag, _) => Some(flag.unwrap_or(false)),
    };
    let trim = settings.flag("trim_offsets")?.unwrap_or(true);

    if let (Some(prefix), Some(PreTokenizerWrapper::ByteLevel(stored))) =
        (prefix, core.get_pre_tokenizer())
    {
        let changed = stored.add_prefix_space(prefix);
        core.with_pre_tokenizer(Some(changed));
    }
    if settings.class == Class::Roberta {
        let prefix = prefix.unwrap_or(false);
        let changed = match core.get_post_processor() {
            Some(PostProcessorWrapper::Roberta(stored)) => Some(PostProcessorWrapper::Roberta(
                stored.clone().add_prefix_space(prefix).trim_offsets(trim),
            )),
            Some(PostProcessorWrapper::ByteLevel(stored)) => Some(PostProcessorWrapper::ByteLevel(
                stored.add_prefix_space(prefix).trim_offsets(trim),
            )),
            _ => None,
        };
        if let Some(changed) = changed {
            core.with_post_processor(Some(changed));
        }
    }
    Ok(())
}

/// Which older files the folder's class, or else the folder's contents, call for.
fn from_older(folder: &Path, mut settings: Settings) -> Result<Parts, TokenizerError> {
    let there = |name: &str| bertology_file::exists(&folder.join(name));
    let python_only = |codes: &str| TokenizerError::PythonOnly {
        folder: folder.to_owned(),
        codes: codes.to_owned(),
    };
    if there(CODES) {
        return Err(python_only(CODES));
    }
    if let Class::Other(class) = &settings.class
        && PYTHON_ONLY.contains(&class.as_str())
    {
        return Err(python_only(class));
    }
    if let Class::Other(class) = &settings.class
        && [VOCAB_TXT, VOCAB_JSON, MERGES].into_iter().any(there)
    {
        return Err(TokenizerError::UnsupportedClass {
            folder: folder.to_owned(),
            class: class.clone(),
        });
    }
    if settings.class == Class::Unknown {
        if there(VOCAB_TXT) {
            settings.assume(Class::Bert { segments: true });
        } else if there(SPM) {
            settings.assume(Class::DebertaV2);
        } else if there(VOCAB_JSON) && there(MERGES) {
            settings.assume(bpe_class(&folder.join(VOCAB_JSON))?);
        }
    }
    match settings.class {
        Class::Bert { .. } | Class::MpNet if there(VOCAB_TXT) => {
            bert(folder.join(VOCAB_TXT), settings)
        }
        Class::Roberta | Class::OpenAiGpt | Class::Gpt2 if there(VOCAB_JSON) || there(MERGES) => {
            for (present, missing) in [(VOCAB_JSON, MERGES), (MERGES, VOCAB_JSON)] {
                if !there(missing) {
                    let folder = folder.to_owned();
                    return Err(TokenizerError::Incomplete {
                        folder,
                        present,
                        missing,
                    });
                }
            }
            let (vocab, merges) = (folder.join(VOCAB_JSON), folder.join(MERGES));
            match settings.class {
                Class::OpenAiGpt => word_end(vocab, merges, settings),
                _ => byte_level(vocab, merges, settings),
            }
        }
        Class::Esm if there(VOCAB_TXT) => residues(folder.join(VOCAB_TXT), settings),
        Class::DebertaV2 if there(SPM) => pieces(folder.join(SPM), settings),
        Class::DebertaV2 => Err(no_files(
            folder,
            &format!("{JSON} or {SPM}"),
            " (its configuration names a DeBERTa tokenizer)",
        )),
        Class::Esm => Err(no_files(
            folder,
            &format!("{JSON} or {VOCAB_TXT}"),
            " (its configuration names an ESM tokenizer)",
        )),
        Class::Bert { .. } | Class::MpNet => Err(no_files(
            folder,
            &format!("{JSON} or {VOCAB_TXT}"),
            " (its configuration names a BERT or MPNet tokenizer)",
        )),
        Class::Roberta | Class::OpenAiGpt | Class::Gpt2 => Err(no_files(
            folder,
            &format!("{JSON}, or {VOCAB_JSON} and {MERGES}"),
            " (its configuration names a RoBERTa, GPT or GPT-2 tokenizer)",
        )),
        Class::XlmRoberta | Class::Camembert | Class::Albert => Err(no_files(
            folder,
            JSON,
            " (SentencePiece's own file is read for DeBERTa alone)",
        )),
        Class::Other(_) | Class::Unknown => Err(no_files(
            folder,
            &format!("{JSON}; {VOCAB_TXT}; {SPM}; {VOCAB_JSON} and {MERGES}"),
            "",
        )),
    }
}

fn no_files(folder: &Path, looked_for: &str, reason: &str) -> TokenizerError {
    TokenizerError::NoFiles {
        folder: folder.to_owned(),
        looked_for: looked_for.to_owned(),
        reason: reason.to_owned(),
    }
}

/// `BertTokenizer` and `BertConverter`, `MPNetTokenizer` and `MPNetConverter`.
fn bert(path: PathBuf, settings: Settings) -> Result<Parts, TokenizerError> {
    let text = files::text(&path)?;
    let mut vocab = HashMap::new();
    for (id, token) in text
        .strip_suffix('\n')
        .unwrap_or(&text)
        .split('\n')
        .enumerate()
    {
        let id = u32::try_from(id).map_err(|_| TokenizerError::Build {
            path: path.clone(),
            reason: format!("more than {} lines", u32::MAX),
        })?;
        // Of two equal lines the later id wins, as in Python's dictionary.
        vocab.insert(token.to_owned(), id);
    }
    require(
        &path,
        &settings,
        &["unk_token", "cls_token", "sep_token"],
        |token| vocab.contains_key(token),
    )?;
    let unk = content(&settings, "unk_token");
    let model = WordPiece::builder()
        .vocab(vocab.into_iter().collect::<Vocab>())
        .unk_token(unk)
        .build()
        .map_err(|error| build(&path, &error))?;

    let lowercase = settings.flag("do_lower_case")?.unwrap_or(true);
    let chinese = settings.flag("tokenize_chinese_chars")?.unwrap_or(true);
    let accents = settings.flag("strip_accents")?;
    let mut core = tokenizers::Tokenizer::new(model);
    core.with_normalizer(Some(BertNormalizer::new(true, chinese, accents, lowercase)));
    core.with_pre_tokenizer(Some(BertPreTokenizer));
    add_tokens(&mut core, &settings)?;

    let ends = if settings.class == Class::MpNet { 2 } else { 1 };
    framed(core, path, settings, "sep_token", ends)
}

/// A tokenizer of one vocabulary that puts `cls_token` before a text and the token of role `end` behind it; so many of the
/// latter stand between the texts of a pair.
pub(crate) fn framed(
    mut core: tokenizers::Tokenizer,
    path: PathBuf,
    settings: Settings,
    end: &'static str,
    between: usize,
) -> Result<Parts, TokenizerError> {
    let (cls, cls_id) = special(&core, &path, &settings, "cls_token")?;
    let (end, end_id) = special(&core, &path, &settings, end)?;
    let single = vec![format!("{cls}:0"), "$A:0".into(), format!("{end}:0")];
    let mut pair = vec![format!("{cls}:0"), "$A:0".into()];
    pair.extend(std::iter::repeat_n(format!("{end}:0"), between));
    pair.extend(["$B:1".into(), format!("{end}:1")]);
    let tokens = vec![(cls, cls_id), (end, end_id)];
    let template = template(&path, single, pair, tokens)?;
    core.with_post_processor(Some(template));
    Ok(Parts {
        core,
        settings,
        direction: TruncationDirection::Right,
        pad: None,
        files: vec![path],
    })
}

/// Adds the tokens that the configuration names, after a look at each.
fn add_all(core: &mut tokenizers::Tokenizer, settings: &Settings) -> Result<(), TokenizerError> {
    let tokens = settings.tokens_to_add();
    let path = &settings.added_path;
    let growth = Growth::of(core.get_normalizer()).map_err(|reason| TokenizerError::Build {
        path: path.clone(),
        reason,
    })?;
    let seen = tokens
        .iter()
        .map(|token| (token.content.as_str(), token.normalized));
    check::added_tokens(path, &growth, seen)?;
    core.add_tokens(&tokens);
    Ok(())
}

/// Adds the declared tokens and the special ones; a declared id must be the one received.
pub(crate) fn add_tokens(
    core: &mut tokenizers::Tokenizer,
    settings: &Settings,
) -> Result<(), TokenizerError> {
    add_all(core, settings)?;
    for (&declared, spec) in &settings.added {
        let assigned = core.token_to_id(&spec.content);
        if let Some(assigned) = assigned.filter(|&assigned| assigned != declared) {
            return Err(TokenizerError::AddedTokenId {
                path: settings.added_path.clone(),
                token: spec.content.clone(),
                declared,
                assigned,
            });
        }
    }
    Ok(())
}

/// Refuses a vocabulary without the tokens of `roles`. Tokens with a declared id count as there.
pub(crate) fn require(
    path: &Path,
    settings: &Settings,
    roles: &[&'static str],
    in_vocab: impl Fn(&str) -> bool,
) -> Result<(), TokenizerError> {
    let missing: Vec<String> = roles
        .iter()
        .filter_map(|role| {
            let Some(spec) = settings.role(role) else {
                return Some((*role).to_owned());
            };
            let declared = settings
                .added
                .values()
                .any(|added| added.content == spec.content);
            // The unknown token is looked up in the vocabulary proper.
            let there = in_vocab(&spec.content) || (declared && *role != "unk_token");
            (!there).then(|| format!("{} ({role})", spec.content))
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(TokenizerError::Lacks {
        path: path.to_owned(),
        tokens: missing.join(", "),
    })
}

pub(crate) fn content(settings: &Settings, role: &str) -> String {
    settings
        .role(role)
        .map(|spec| spec.content.clone())
        .unwrap_or_default()
}

pub(crate) fn special(
    core: &tokenizers::Tokenizer,
    path: &Path,
    settings: &Settings,
    role: &'static str,
) -> Result<(String, u32), TokenizerError> {
    let token = content(settings, role);
    let id = core
        .token_to_id(&token)
        .ok_or_else(|| TokenizerError::Lacks {
            path: path.to_owned(),
            tokens: format!("{token} ({role})"),
        })?;
    Ok((token, id))
}

pub(crate) fn template(
    path: &Path,
    single: Vec<String>,
    pair: Vec<String>,
    mut tokens: Vec<(String, u32)>,
) -> Result<TemplateProcessing, TokenizerError> {
    tokens.dedup();
    TemplateProcessing::builder()
        .try_single(single)
        .and_then(|builder| builder.try_pair(pair))
        .map_err(|reason| TokenizerError::Build {
            path: path.to_owned(),
            reason,
        })?
        .special_tokens(tokens)
        .build()
        .map_err(|error| TokenizerError::Build {
            path: path.to_owned(),
            reason: error.to_string(),
        })
}

pub(crate) fn build(path: &Path, error: &tokenizers::Error) -> TokenizerError {
    TokenizerError::Build {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
