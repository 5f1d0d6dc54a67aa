//! The tokenizer of proteins, put together from its vocabulary.

use std::collections::HashMap;
use std::path::PathBuf;

use tokenizers::AddedToken;
use tokenizers::models::bpe::Vocab;
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;

use crate::assemble::{Parts, add_tokens, build, content, framed, require};
use crate::growth::Growth;
use crate::settings::Settings;
use crate::{TokenizerError, check, files};

/// `EsmTokenizer`, for which transformers has Python code alone: every line of the vocabulary is found wherever it stands,
/// the longest first, and what is left between spaces is unknown, each piece one token.
pub(crate) fn residues(path: PathBuf, settings: Settings) -> Result<Parts, TokenizerError> {
    let text = files::text(&path)?;
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut vocab = HashMap::new();
    for (id, token) in lines.iter().enumerate() {
        let id = u32::try_from(id).map_err(|_| TokenizerError::Build {
            path: path.clone(),
            reason: format!("more than {} lines", u32::MAX),
        })?;
        // Of two equal lines the later id wins, as in Python's dictionary.
        vocab.insert((*token).to_owned(), id);
    }
    let needed = ["unk_token", "cls_token", "eos_token"];
    require(&path, &settings, &needed, |token| vocab.contains_key(token))?;
    let model = WordLevel::builder()
        .vocab(vocab.into_iter().collect::<Vocab>())
        .unk_token(content(&settings, "unk_token"))
        .build()
        .map_err(|error| build(&path, &error))?;
    let mut core = tokenizers::Tokenizer::new(model);
    core.with_pre_tokenizer(Some(WhitespaceSplit));
    add_tokens(&mut core, &settings)?;
    let found: Vec<AddedToken> = lines
        .iter()
        .filter(|line| !line.is_empty())
        .map(|line| AddedToken::from(*line, false).normalized(false))
        .filter(|token| !core.get_added_vocabulary().is_special_token(&token.content))
        .collect();
    let growth = Growth::default();
    let seen = found.iter().map(|token| (token.content.as_str(), false));
    check::added_tokens(&path, &growth, seen)?;
    core.add_tokens(&found);
    framed(core, path, settings, "eos_token", 1)
}
