//! `tokenizer_config.json`, `special_tokens_map.json`, `added_tokens.json` and the few words of
//! `config.json` that choose a tokenizer, read as `PreTrainedTokenizerBase._from_pretrained` does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tokenizers::{AddedToken, TruncationDirection};

use crate::{TokenizerError, files};

/// Tokenizer classes whose constructors in transformers touch the tokenizer they load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Class {
    /// `BertTokenizerFast` and its copies.
    Bert {
        /// Whether the class hands token types to the model.
        segments: bool,
    },
    /// `RobertaTokenizerFast` and its copies.
    Roberta,
    /// `MPNetTokenizerFast`: BERT's pieces between RoBERTa's marks.
    MpNet,
    /// `AlbertTokenizerFast`: SentencePiece between BERT's marks.
    Albert,
    /// `DebertaV2TokenizerFast`: SentencePiece between BERT's marks.
    DebertaV2,
    /// `EsmTokenizer`: residues, each a token, with or without spaces between them.
    Esm,
    /// `OpenAIGPTTokenizerFast`.
    OpenAiGpt,
    /// `GPT2TokenizerFast`.
    Gpt2,
    /// `XLMRobertaTokenizerFast`.
    XlmRoberta,
    /// `CamembertTokenizerFast`.
    Camembert,
    /// Any other class, by name.
    Other(String),
    /// The folder does not say.
    Unknown,
}

impl Class {
    fn of_tokenizer_class(name: &str) -> Self {
        match name.strip_suffix("Fast").unwrap_or(name) {
            "BertTokenizer" | "ElectraTokenizer" | "MobileBertTokenizer" | "ConvBertTokenizer" => {
                Self::Bert { segments: true }
            }
            "DistilBertTokenizer" => Self::Bert { segments: false },
            "RobertaTokenizer" | "LongformerTokenizer" | "BartTokenizer" => Self::Roberta,
            "MPNetTokenizer" => Self::MpNet,
            "AlbertTokenizer" => Self::Albert,
            "DebertaV2Tokenizer" => Self::DebertaV2,
            "EsmTokenizer" | "EsmcTokenizer" => Self::Esm,
            "OpenAIGPTTokenizer" => Self::OpenAiGpt,
            "GPT2Tokenizer" => Self::Gpt2,
            "XLMRobertaTokenizer" => Self::XlmRoberta,
            "CamembertTokenizer" => Self::Camembert,
            _ => Self::Other(name.to_owned()),
        }
    }

    /// `TOKENIZER_MAPPING_NAMES` of transformers, as far as the classes above go.
    fn of_model_type(model_type: &str) -> Self {
        match model_type {
            "bert" | "electra" | "mobilebert" | "convbert" | "megatron-bert" | "nezha"
            | "nomic_bert" => Self::Bert { segments: true },
            "distilbert" => Self::Bert { segments: false },
            "roberta"
            | "roberta-prelayernorm"
            | "data2vec-text"
            | "ibert"
            | "longformer"
            | "bart" => Self::Roberta,
            "mpnet" => Self::MpNet,
            "albert" => Self::Albert,
            "deberta-v2" => Self::DebertaV2,
            "esm" | "esmc" => Self::Esm,
            "openai-gpt" => Self::OpenAiGpt,
            "gpt2" => Self::Gpt2,
            "xlm-roberta" | "gte" => Self::XlmRoberta,
            "camembert" => Self::Camembert,
            _ => Self::Other(model_type.to_owned()),
        }
    }

    /// Whether the class gives the model token types (`model_input_names`).
    fn segments(&self) -> bool {
        match self {
            Self::Bert { segments } => *segments,
            Self::Roberta
            | Self::MpNet
            | Self::Esm
            | Self::OpenAiGpt
            | Self::Gpt2
            | Self::XlmRoberta
            | Self::Camembert => false,
            Self::Albert | Self::DebertaV2 | Self::Other(_) | Self::Unknown => true,
        }
    }
}

/// A token with the flags that were given for it, before it is known whether it is special.
#[derive(Debug, Clone, Default)]
pub(crate) struct TokenSpec {
    pub(crate) content: String,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    /// Where absent, a special token is matched in the raw text and any other in the normalised.
    normalized: Option<bool>,
    special: bool,
}

impl TokenSpec {
    pub(crate) fn plain(content: &str) -> Self {
        Self {
            content: content.to_owned(),
            ..Self::default()
        }
    }

    pub(crate) fn added(&self, special: bool) -> AddedToken {
        let special = special || self.special;
        AddedToken::from(self.content.clone(), special)
            .single_word(self.single_word)
            .lstrip(self.lstrip)
            .rstrip(self.rstrip)
            .normalized(self.normalized.unwrap_or(!special))
    }

    fn from_json(path: &Path, key: &str, value: &Value) -> Result<Self, TokenizerError> {
        let wrong = || setting(path, key, value, "a string or an object with \"content\"");
        match value {
            Value::String(content) => Ok(Self::plain(content)),
            Value::Object(object) => {
                let flag = |name: &str| match object.get(name) {
                    None | Some(Value::Null) => Ok(None),
                    Some(Value::Bool(flag)) => Ok(Some(*flag)),
                    Some(_) => Err(wrong()),
                };
                Ok(Self {
                    content: object
                        .get("content")
                        .and_then(Value::as_str)
                        .ok_or_else(wrong)?
                        .to_owned(),
                    single_word: flag("single_word")?.unwrap_or(false),
                    lstrip: flag("lstrip")?.unwrap_or(false),
                    rstrip: flag("rstrip")?.unwrap_or(false),
                    normalized: flag("normalized")?,
                    special: flag("special")?.unwrap_or(false),
                })
            }
            _ => Err(wrong()),
        }
    }
}

/// The roles in the order in which transformers adds their tokens.
const ROLES: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// Everything the folder says about its tokenizer besides the vocabulary.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) class: Class,
    config: Option<Map<String, Value>>,
    config_path: PathBuf,
    roles: BTreeMap<&'static str, TokenSpec>,
    /// Special tokens without a role.
    additional: Vec<TokenSpec>,
    /// Tokens with declared ids, and the file that declares them.
    pub(crate) added: BTreeMap<u32, TokenSpec>,
    pub(crate) added_path: PathBuf,
    /// Files that were read.
    pub(crate) files: Vec<PathBuf>,
}

impl Settings {
    pub(crate) fn read(folder: &Path) -> Result<Self, TokenizerError> {
        let mut files = Vec::new();
        let mut object = |name: &str| {
            let path = folder.join(name);
            let object = files::optional_object(&path)?;
            if object.is_some() {
                files.push(path.clone());
            }
            Ok::<_, TokenizerError>((path, object))
        };
        let (config_path, config) = object("tokenizer_config.json")?;
        let (map_path, map) = object("special_tokens_map.json")?;
        let (added_path, added_json) = object("added_tokens.json")?;
        // Read for two words only, hence not among the tokenizer's files.
        let model_path = folder.join("config.json");
        let model = files::optional_object(&model_path)?;

        let mut settings = Self {
            class: class(&config_path, config.as_ref(), &model_path, model.as_ref())?,
            config,
            config_path,
            roles: BTreeMap::new(),
            additional: Vec::new(),
            added: BTreeMap::new(),
            added_path,
            files,
        };
        settings.read_declared()?;
        // The two older files count only where the newer key does not say it all.
        let newer = settings.value("added_tokens_decoder").is_some();
        settings.read_roles(if newer {
            None
        } else {
            map.as_ref().map(|map| (&*map_path, map))
        })?;
        if let (false, Some(added)) = (newer, added_json) {
            settings.read_added(&added)?;
        }
        settings.resolve_roles();
        Ok(settings)
    }

    fn read_declared(&mut self) -> Result<(), TokenizerError> {
        let expected = "an object from ids to tokens";
        let Some(value) = self.value("added_tokens_decoder") else {
            return Ok(());
        };
        let wrong = || setting(&self.config_path, "added_tokens_decoder", value, expected);
        let mut added = BTreeMap::new();
        for (id, token) in value.as_object().ok_or_else(wrong)? {
            let id = id.parse().map_err(|_| wrong())?;
            let spec = TokenSpec::from_json(&self.config_path, "added_tokens_decoder", token)?;
            added.insert(id, spec);
        }
        self.added = added;
        self.added_path = self.config_path.clone();
        Ok(())
    }

    fn read_roles(
        &mut self,
        map: Option<(&Path, &Map<String, Value>)>,
    ) -> Result<(), TokenizerError> {
        let config = self.config.clone().unwrap_or_default();
        let mut roles = self.default_roles();
        let mut additional = Vec::new();
        let key = "additional_special_tokens";
        let said =
            |object: Option<&Map<String, Value>>| object.is_some_and(|o| o.contains_key(key));
        if self.class == Class::Camembert && !said(Some(&config)) && !said(map.map(|(_, map)| map))
        {
            let unused = ["<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"];
            additional.extend(unused.map(TokenSpec::plain));
        }
        let sources = std::iter::once((&*self.config_path, &config, false))
            .chain(map.map(|(path, map)| (path, map, true)));
        for (path, source, from_map) in sources {
            for role in ROLES {
                match source.get(role) {
                    None => {}
                    Some(Value::Null) => drop(roles.remove(role)),
                    Some(value) => {
                        let mut spec = TokenSpec::from_json(path, role, value)?;
                        spec.special |= from_map && value.is_object();
                        roles.insert(role, spec);
                    }
                }
            }
            for key in ["additional_special_tokens", "extra_special_tokens"] {
                let tokens: Vec<&Value> = match source.get(key) {
                    None | Some(Value::Null) => Vec::new(),
                    Some(Value::Array(tokens)) => tokens.iter().collect(),
                    Some(Value::Object(tokens)) => tokens.values().collect(),
                    Some(value) => return Err(setting(path, key, value, "a list of tokens")),
                };
                for token in tokens {
                    let mut spec = TokenSpec::from_json(path, key, token)?;
                    spec.special |= from_map && token.is_object();
                    additional.push(spec);
                }
            }
        }
        (self.roles, self.additional) = (roles, additional);
        Ok(())
    }

    /// `added_tokens.json`: token to id; special where it has a role.
    fn read_added(&mut self, added: &Map<String, Value>) -> Result<(), TokenizerError> {
        for (token, id) in added {
            let id = id
                .as_u64()
                .and_then(|id| u32::try_from(id).ok())
                .ok_or_else(|| setting(&self.added_path, token, id, "a token id"))?;
            let special = self.special_tokens().any(|spec| spec.content == *token);
            let spec = TokenSpec {
                special,
                normalized: Some(!special),
                ..TokenSpec::plain(token)
            };
            self.added.insert(id, spec);
        }
        Ok(())
    }

    /// A role's token takes the flags of the added token of the same name.
    fn resolve_roles(&mut self) {
        for spec in self.roles.values_mut() {
            if let Some(added) = self
                .added
                .values()
                .find(|added| added.content == spec.content)
            {
                *spec = added.clone();
            }
        }
    }

    fn default_roles(&self) -> BTreeMap<&'static str, TokenSpec> {
        let plain = |roles: &[(&'static str, &str)]| {
            roles
                .iter()
                .map(|&(role, token)| (role, TokenSpec::plain(token)))
                .collect()
        };
        match self.class {
            Class::Bert { .. } => plain(&[
                ("unk_token", "[UNK]"),
                ("sep_token", "[SEP]"),
                ("pad_token", "[PAD]"),
                ("cls_token", "[CLS]"),
                ("mask_token", "[MASK]"),
            ]),
            Class::Roberta | Class::XlmRoberta | Class::Camembert => {
                let mut roles: BTreeMap<_, _> = plain(&[
                    ("bos_token", "<s>"),
                    ("eos_token", "</s>"),
                    ("unk_token", "<unk>"),
                    ("sep_token", "</s>"),
                    ("pad_token", "<pad>"),
                    ("cls_token", "<s>"),
                ]);
                // RoBERTa's mask swallows the space before it, like a word would.
                let mask = TokenSpec {
                    lstrip: true,
                    // XLM-RoBERTa's class leaves it at what is usual for words.
                    normalized: Some(self.class == Class::XlmRoberta),
                    ..TokenSpec::plain("<mask>")
                };
                roles.insert("mask_token", mask);
                roles
            }
            Class::MpNet => {
                // All of them are looked for in the normalised text, as words are.
                let spec = |token: &str, lstrip: bool| TokenSpec {
                    lstrip,
                    normalized: Some(true),
                    ..TokenSpec::plain(token)
                };
                let tokens = ["<s>", "</s>", "[UNK]", "</s>", "<pad>", "<s>", "<mask>"];
                let roles = ROLES.into_iter().zip(tokens);
                roles
                    .map(|(role, token)| (role, spec(token, role == "mask_token")))
                    .collect()
            }
            Class::Albert => {
                let mut roles: BTreeMap<_, _> = plain(&[
                    ("bos_token", "[CLS]"),
                    ("eos_token", "[SEP]"),
                    ("unk_token", "<unk>"),
                    ("sep_token", "[SEP]"),
                    ("pad_token", "<pad>"),
                    ("cls_token", "[CLS]"),
                ]);
                let mask = TokenSpec {
                    lstrip: true,
                    normalized: Some(false),
                    ..TokenSpec::plain("[MASK]")
                };
                roles.insert("mask_token", mask);
                roles
            }
            Class::DebertaV2 => {
                let mut roles: BTreeMap<_, _> = plain(&[
                    ("bos_token", "[CLS]"),
                    ("eos_token", "[SEP]"),
                    ("sep_token", "[SEP]"),
                    ("pad_token", "[PAD]"),
                    ("cls_token", "[CLS]"),
                    ("mask_token", "[MASK]"),
                ]);
                // Looked for as a word is, unlike its other marks.
                let unknown = TokenSpec {
                    normalized: Some(true),
                    ..TokenSpec::plain("[UNK]")
                };
                roles.insert("unk_token", unknown);
                roles
            }
            Class::Esm => plain(&[
                ("eos_token", "<eos>"),
                ("unk_token", "<unk>"),
                ("pad_token", "<pad>"),
                ("cls_token", "<cls>"),
                ("mask_token", "<mask>"),
            ]),
            Class::OpenAiGpt => plain(&[("unk_token", "<unk>")]),
            Class::Gpt2 => plain(&[
                ("bos_token", "<|endoftext|>"),
                ("eos_token", "<|endoftext|>"),
                ("unk_token", "<|endoftext|>"),
            ]),
            Class::Other(_) | Class::Unknown => BTreeMap::new(),
        }
    }

    /// Gives a folder that names no class the class that its files suggest.
    pub(crate) fn assume(&mut self, class: Class) {
        self.class = class;
        for (role, spec) in self.default_roles() {
            let explicit = self.value(role).is_some();
            if !explicit {
                self.roles.entry(role).or_insert(spec);
            }
        }
        self.resolve_roles();
    }

    pub(crate) fn role(&self, role: &str) -> Option<&TokenSpec> {
        self.roles.get(role)
    }

    /// Tokens with a role, in transformers' order, then the other special ones.
    pub(crate) fn special_tokens(&self) -> impl Iterator<Item = &TokenSpec> {
        ROLES
            .iter()
            .filter_map(|role| self.roles.get(role))
            .chain(&self.additional)
    }

    /// What transformers adds to a loaded tokenizer, in its order.
    pub(crate) fn tokens_to_add(&self) -> Vec<AddedToken> {
        let special = |token: &str| self.special_tokens().any(|spec| spec.content == token);
        self.added
            .values()
            .map(|spec| spec.added(special(&spec.content)))
            .chain(self.special_tokens().map(|spec| spec.added(true)))
            .collect()
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.config.as_ref()?.get(key)
    }

    /// A flag of `tokenizer_config.json`; `None` where it is absent or null.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, TokenizerError> {
        match self.value(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(value) => Err(setting(&self.config_path, key, value, "true or false")),
        }
    }

    /// `model_max_length`, or `max_len` as older files have it. transformers writes 10³⁰ where
    /// there is no limit.
    pub(crate) fn model_max_length(&self) -> Result<Option<usize>, TokenizerError> {
        let found = ["model_max_length", "max_len"]
            .into_iter()
            .find_map(|key| Some((key, self.value(key).filter(|value| !value.is_null())?)));
        let Some((key, value)) = found else {
            return Ok(None);
        };
        match value
            .as_f64()
            .or_else(|| bertology_file::python_float(value))
        {
            Some(length) if length >= 1e9 => Ok(None),
            Some(length) if length >= 1.0 && length.fract() == 0.0 => Ok(Some(length as usize)),
            _ => Err(setting(
                &self.config_path,
                key,
                value,
                "a whole number above zero",
            )),
        }
    }

    /// `truncation_side`; `None` where the file does not say.
    pub(crate) fn truncation_side(&self) -> Result<Option<TruncationDirection>, TokenizerError> {
        match self.value("truncation_side") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(side)) if side == "right" => Ok(Some(TruncationDirection::Right)),
            Some(Value::String(side)) if side == "left" => Ok(Some(TruncationDirection::Left)),
            Some(value) => {
                let key = "truncation_side";
                Err(setting(
                    &self.config_path,
                    key,
                    value,
                    "\"left\" or \"right\"",
                ))
            }
        }
    }

    /// Whether the model receives token types: `model_input_names`, else the class's habit.
    pub(crate) fn segments(&self) -> Result<bool, TokenizerError> {
        let key = "model_input_names";
        match self.value(key) {
            None | Some(Value::Null) => Ok(self.class.segments()),
            Some(Value::Array(names)) => Ok(names.iter().any(|name| name == "token_type_ids")),
            Some(value) => Err(setting(&self.config_path, key, value, "a list of names")),
        }
    }
}

fn class(
    config_path: &Path,
    config: Option<&Map<String, Value>>,
    model_path: &Path,
    model: Option<&Map<String, Value>>,
) -> Result<Class, TokenizerError> {
    let word = |path: &Path, object: Option<&Map<String, Value>>, key: &str| match object
        .and_then(|object| object.get(key))
    {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(word)) => Ok(Some(word.clone())),
        Some(value) => Err(setting(path, key, value, "a string")),
    };
    if let Some(name) = word(config_path, config, "tokenizer_class")? {
        return Ok(Class::of_tokenizer_class(&name));
    }
    if let Some(name) = word(model_path, model, "tokenizer_class")? {
        return Ok(Class::of_tokenizer_class(&name));
    }
    Ok(
        word(model_path, model, "model_type")?.map_or(Class::Unknown, |model_type| {
            Class::of_model_type(&model_type)
        }),
    )
}

fn setting(path: &Path, key: &str, value: &Value, expected: &'static str) -> TokenizerError {
    let found: String = bertology_file::shown(value).chars().take(60).collect();
    TokenizerError::Setting {
        path: path.to_owned(),
        key: key.to_owned(),
        found,
        expected,
    }
}
