//! Programs as the paper's released code reads them: for comparison with recorded figures alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bertology_code::{
    Code, CodeError, DEFAULT_MAX_BYTES, Functions, LegacyLeaves, LegacySearch, Refusal,
};
use bertology_tokenizer::Tokenizer;

use crate::input::snippet::LeafTokens;
use crate::input::supply::{Fate, LeftOut, Passage, Supply, Units, after};
use crate::{Error, LoadedModel};

/// A function as the released code of the paper sees it, once for every choice of kinds ([`LegacyKinds`]).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LegacyItem {
    /// The name of its language.
    pub language: String,
    /// Tokens that were cut off.
    pub cut: usize,
    /// In the order of the choices.
    pub views: Vec<LegacyView>,
}

/// The leaves that were found under one choice of kinds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LegacyView {
    /// The kinds that are listed for the leaves; behind the first one they may be those of neighbours, and there may be
    /// more of them than leaves.
    pub kinds: Vec<String>,
    /// The tokens of every leaf that was found.
    pub tokens: LeafTokens,
    /// Distances between them, `[leaves, leaves]`.
    pub distances: Vec<u16>,
    /// Tokens that were looked for.
    pub sought: u64,
    /// Of these, tokens that were given to a leaf.
    pub found: u64,
}

/// Which kinds of leaves tokens are looked for in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LegacyKinds {
    /// All.
    All,
    /// By language; all of a language that is not there.
    Some(BTreeMap<String, BTreeSet<String>>),
}

impl LegacyItem {
    /// Refuses parts that do not fit together.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let fits = |view: &LegacyView| {
            let n = view.tokens.len();
            view.kinds.len() >= n && view.distances.len() == n * n
        };
        if self.views.iter().all(fits) {
            Ok(())
        } else {
            Err(Error::Option {
                option: "a snippet",
                value: format!("{} choices of kinds", self.views.len()),
                reason: "the kinds and distances of each are those of as many leaves",
            })
        }
    }
}

/// The longest sequence of the released code, special tokens included.
const MAX_LENGTH: usize = 256;
/// Tokens that it does not look for, even where a program has them as text.
const SPECIAL: [&str; 3] = ["<s>", "</s>", "<pad>"];

/// The functions of a file as the released code reads them ([`LegacyLeaves`]). Each needs its list of tokens.
#[derive(Debug, Clone)]
pub struct LegacyPassages {
    model: LoadedModel,
    max_length: usize,
    functions: Functions,
    total: u64,
    kinds: Vec<LegacyKinds>,
}

impl LegacyPassages {
    /// Reads the file once to the end.
    ///
    /// # Errors
    /// Lines that are wrong, functions without a list of tokens, a model without tokenizer.
    pub fn new(model: &LoadedModel, functions: Functions) -> Result<Self, Error> {
        model.tokenizer()?;
        let most = model.checked_length(None)?;
        let mut total = 0;
        for code in functions.open()? {
            let code = code?;
            if code.tokens.is_none() {
                return Err(refused(&code, Refusal::NoTokens));
            }
            total += 1;
        }
        Ok(Self {
            model: model.clone(),
            max_length: MAX_LENGTH.min(most),
            functions,
            total,
            kinds: Vec::new(),
        })
    }

    /// The same functions, each once for every choice of kinds.
    #[must_use]
    pub fn with_kinds(&self, kinds: Vec<LegacyKinds>) -> Self {
        Self {
            kinds,
            ..self.clone()
        }
    }

    /// The longest sequence in tokens.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    fn view(
        leaves: &LegacyLeaves,
        tokens: &[Option<&str>],
        language: &str,
        kinds: &LegacyKinds,
    ) -> Result<LegacyView, Error> {
        let LegacySearch { leaves: of, kinds } = leaves.search(
            tokens,
            match kinds {
                LegacyKinds::All => None,
                LegacyKinds::Some(kinds) => kinds.get(language),
            },
        );
        let mut own: Vec<(usize, Vec<usize>)> = Vec::new();
        for (token, leaf) in of.iter().enumerate() {
            let Some(leaf) = leaf else { continue };
            match own.last_mut() {
                Some((last, tokens)) if last == leaf => tokens.push(token),
                _ => own.push((*leaf, vec![token])),
            }
        }
        let numbers: Vec<usize> = own.iter().map(|(leaf, _)| *leaf).collect();
        let mut all = LeafTokens::default();
        own.into_iter().for_each(|(_, tokens)| all.push(tokens));
        Ok(LegacyView {
            kinds: kinds.into_iter().map(str::to_owned).collect(),
            distances: leaves.distances(&numbers)?.values().to_vec(),
            tokens: all,
            sought: tokens.iter().flatten().count() as u64,
            found: of.iter().flatten().count() as u64,
        })
    }
}

fn refused(code: &Code, refusal: Refusal) -> Error {
    let (path, line) = (code.path.to_path_buf(), code.line);
    CodeError::Refused {
        path,
        line,
        refusal,
    }
    .into()
}

/// Every token's name in the vocabulary; nothing for special ones.
fn names(tokenizer: &Tokenizer, ids: &[u32], special: &[bool]) -> Vec<Option<String>> {
    let each = ids.iter().zip(special).map(|(id, special)| {
        let name = tokenizer.id_to_token(*id).filter(|_| !special)?;
        (!SPECIAL.contains(&&*name)).then_some(name)
    });
    each.collect()
}

impl Supply for LegacyPassages {
    type Raw = Code;
    type Item = LegacyItem;

    fn path(&self) -> &Path {
        self.functions.path()
    }

    fn total(&self) -> u64 {
        self.total
    }

    fn open(&self, first: u64) -> Result<Units<'_, Code>, Error> {
        after(first, self.functions.open()?.map(|code| Ok(code?)))
    }

    fn size(&self, code: &Code) -> usize {
        (2 + code.text.len() / 3).min(self.max_length)
    }

    fn line(&self, code: &Code) -> u64 {
        code.line
    }

    fn prepare(&self, code: Code) -> Result<Fate<Vec<Passage<LegacyItem>>>, Error> {
        let language = code.language.name;
        let leaves = match LegacyLeaves::new(code.clone(), DEFAULT_MAX_BYTES) {
            Ok(leaves) => leaves,
            Err(Refusal::TooLarge { .. } | Refusal::NotParsed { .. }) => {
                return Ok(Fate::LeftOut(LeftOut::NotParsed));
            }
            Err(refusal) => return Err(refused(&code, refusal)),
        };
        let tokenizer = self.model.tokenizer()?;
        let encoding = tokenizer.encode(leaves.model_text(), None, Some(self.max_length))?;
        if encoding.is_empty() {
            return Ok(Fate::LeftOut(LeftOut::Empty));
        }
        let names = names(tokenizer, &encoding.ids, &encoding.special);
        let tokens: Vec<Option<&str>> = names.iter().map(Option::as_deref).collect();
        let views = self
            .kinds
            .iter()
            .map(|kinds| Self::view(&leaves, &tokens, language, kinds));
        let item = LegacyItem {
            language: language.to_owned(),
            cut: encoding.truncated,
            views: views.collect::<Result<_, _>>()?,
        };
        Ok(Fate::one(Passage {
            target: None,
            item,
            sequence: LoadedModel::sequence(encoding),
        }))
    }
}
