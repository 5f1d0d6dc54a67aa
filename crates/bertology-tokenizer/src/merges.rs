//! Tokenizers that put pairs of pieces together, from their vocabulary and the list of what is merged.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::{PostProcessorWrapper, TruncationDirection};

use crate::assemble::{Parts, VOCAB_JSON, add_tokens, build, content, require, special, template};
use crate::settings::{Class, Settings};
use crate::{TokenizerError, files};

/// What GPT's last token of a word ends with.
const WORD_END: &str = "</w>";
/// How byte-level vocabularies spell a space.
const SPACE: char = 'Ġ';

/// Of three classes with the same files, GPT is the one that marks the ends of words and not the
/// spaces before them (either may occur by chance, as part of HTML for example), and RoBERTa the
/// one of the others whose vocabulary has `<s>`.
pub(crate) fn bpe_class(path: &Path) -> Result<Class, TokenizerError> {
    let vocab: HashMap<String, u32> = files::json(path)?;
    let ends = vocab.keys().filter(|token| token.ends_with(WORD_END));
    let spaces = vocab.keys().filter(|token| token.starts_with(SPACE));
    Ok(if ends.count() > spaces.count() {
        Class::OpenAiGpt
    } else if vocab.contains_key("<s>") {
        Class::Roberta
    } else {
        Class::Gpt2
    })
}

/// `OpenAIGPTTokenizer` and `OpenAIGPTConverter`. The class lower-cases whatever its settings say
/// and adds no special tokens, so that there is no post-processor.
pub(crate) fn word_end(
    vocab_path: PathBuf,
    merges_path: PathBuf,
    settings: Settings,
) -> Result<Parts, TokenizerError> {
    let vocab: HashMap<String, u32> = files::json(&vocab_path)?;
    require(&vocab_path, &settings, &["unk_token"], |token| {
        vocab.contains_key(token)
    })?;
    let merges = merges(&merges_path, &vocab)?;
    let model = BPE::builder()
        .vocab_and_merges(vocab.into_iter().collect::<Vocab>(), merges)
        .unk_token(content(&settings, "unk_token"))
        .end_of_word_suffix(WORD_END.to_owned())
        .build()
        .map_err(|error| build(&merges_path, &error))?;

    let mut core = tokenizers::Tokenizer::new(model);
    core.with_normalizer(Some(BertNormalizer::new(true, true, None, true)));
    core.with_pre_tokenizer(Some(BertPreTokenizer));
    add_tokens(&mut core, &settings)?;
    Ok(Parts {
        core,
        settings,
        direction: TruncationDirection::Right,
        pad: None,
        files: vec![vocab_path, merges_path],
    })
}

/// `RobertaTokenizer` and `RobertaConverter`, `GPT2Tokenizer` and `GPT2Converter`.
pub(crate) fn byte_level(
    vocab_path: PathBuf,
    merges_path: PathBuf,
    settings: Settings,
) -> Result<Parts, TokenizerError> {
    let vocab: HashMap<String, u32> = files::json(&vocab_path)?;
    let bos = settings.class == Class::Gpt2 && settings.flag("add_bos_token")?.unwrap_or(false);
    let needed: &[&'static str] = match settings.class {
        Class::Roberta => &["cls_token", "sep_token"],
        _ if bos => &["bos_token"],
        _ => &[],
    };
    require(&vocab_path, &settings, needed, |token| {
        vocab.contains_key(token)
    })?;
    let merges = merges(&merges_path, &vocab)?;
    let model = BPE::builder()
        .vocab_and_merges(vocab.into_iter().collect::<Vocab>(), merges)
        .continuing_subword_prefix(String::new())
        .end_of_word_suffix(String::new())
        .build()
        .map_err(|error| build(&merges_path, &error))?;

    let prefix = settings.flag("add_prefix_space")?.unwrap_or(false);
    let mut core = tokenizers::Tokenizer::new(model);
    core.with_pre_tokenizer(Some(ByteLevel::default().add_prefix_space(prefix)));
    add_tokens(&mut core, &settings)?;

    let processor = if settings.class == Class::Roberta {
        let sep = special(&core, &vocab_path, &settings, "sep_token")?;
        let cls = special(&core, &vocab_path, &settings, "cls_token")?;
        let trim = settings.flag("trim_offsets")?.unwrap_or(true);
        let processing = RobertaProcessing::new(sep, cls);
        processing
            .add_prefix_space(prefix)
            .trim_offsets(trim)
            .into()
    } else if bos {
        let (bos, id) = special(&core, &vocab_path, &settings, "bos_token")?;
        template(
            &vocab_path,
            vec![format!("{bos}:0"), "$A:0".into()],
            vec![format!("{bos}:0"), "$A:0".into(), "$B:1".into()],
            vec![(bos, id)],
        )?
        .into()
    } else {
        PostProcessorWrapper::ByteLevel(ByteLevel::default().trim_offsets(false))
    };
    core.with_post_processor(Some(processor));
    let files = vec![vocab_path, merges_path];
    Ok(Parts {
        core,
        settings,
        direction: TruncationDirection::Right,
        pad: None,
        files,
    })
}

/// The merges in order of rank. transformers drops the first line unread (it is `#version`) and
/// whatever follows the last line end.
fn merges(
    path: &Path,
    vocab: &HashMap<String, u32>,
) -> Result<Vec<(String, String)>, TokenizerError> {
    let text = files::text(path)?;
    let lines: Vec<&str> = text.split('\n').collect();
    let mut seen = HashSet::new();
    let mut merges = Vec::with_capacity(lines.len());
    let last = lines.len().saturating_sub(1);
    for (index, line) in lines.iter().enumerate().take(last).skip(1) {
        let fault = |reason| TokenizerError::Merges {
            path: path.to_owned(),
            line: index + 1,
            reason,
        };
        let mut words = line.split_whitespace();
        let (Some(left), Some(right), None) = (words.next(), words.next(), words.next()) else {
            let found = line.split_whitespace().count();
            return Err(fault(format!(
                "expected two tokens to merge, found {found}"
            )));
        };
        let merged = format!("{left}{right}");
        for token in [left, right, &merged] {
            if !vocab.contains_key(token) {
                return Err(fault(format!(
                    "{token:?} is not in {VOCAB_JSON}: the two files do not belong together"
                )));
            }
        }
        if seen.insert((left, right)) {
            merges.push((left.to_owned(), right.to_owned()));
        }
    }
    Ok(merges)
}
