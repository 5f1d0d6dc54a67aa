//! What can be wrong with a tokenizer folder or with a request.

use std::path::PathBuf;

use bertology_error::Kind;

/// Why a tokenizer could not be read or a text not be encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The path is not a folder.
    #[error("{path} is not a folder, so no tokenizer can be read from it")]
    NotAFolder {
        /// The path that was given.
        path: PathBuf,
    },

    /// The folder holds none of the files that a tokenizer can be read from.
    #[error(
        "no tokenizer in {folder}: looked for {looked_for}{reason}; copy them from the model this \
         checkpoint was trained from, or write tokenizer.json with transformers: \
         AutoTokenizer.from_pretrained(…).save_pretrained(folder)"
    )]
    NoFiles {
        /// The folder searched.
        folder: PathBuf,
        /// The names, as a sentence.
        looked_for: String,
        /// Why these, empty or beginning with a space.
        reason: String,
    },

    /// One of two files that belong together is missing.
    #[error("{folder} holds {present} but not {missing}: both are needed")]
    Incomplete {
        /// The folder searched.
        folder: PathBuf,
        /// The file that is there.
        present: &'static str,
        /// The file that is not.
        missing: &'static str,
    },

    /// The tokenizer exists as Python code only.
    #[error(
        "the tokenizer of {folder} ({codes}: BERTweet's and PhoBERT's kind) exists as Python code only: \
         transformers cannot write it as tokenizer.json; encode the texts with AutoTokenizer in Python \
         and give the model their token ids"
    )]
    PythonOnly {
        /// The folder.
        folder: PathBuf,
        /// The file or the class that shows it.
        codes: String,
    },

    /// The tokenizer's class has no reader for its older files here.
    #[error(
        "the tokenizer of {folder} is a {class} without tokenizer.json, and only the older files \
         of BERT, RoBERTa, GPT and GPT-2 are read; write tokenizer.json with transformers: \
         AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
    )]
    UnsupportedClass {
        /// The folder.
        folder: PathBuf,
        /// `tokenizer_class`, or the `model_type` that stands for it.
        class: String,
    },

    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// A text file is not UTF-8.
    #[error("{path}, line {line}: not UTF-8; the file is damaged or is another kind of file")]
    Utf8 {
        /// The file.
        path: PathBuf,
        /// One-based line of the first bad byte.
        line: usize,
    },

    /// A JSON file is broken, or does not hold what a tokenizer needs.
    #[error("{path}, line {line}, column {column}: {message}; download the file again")]
    Json {
        /// The file.
        path: PathBuf,
        /// One-based line.
        line: usize,
        /// One-based column.
        column: usize,
        /// What is wrong there.
        message: String,
    },

    /// A setting has a value of the wrong kind.
    #[error("{path}: \"{key}\" is {found}, expected {expected}")]
    Setting {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The value found, as JSON, shortened.
        found: String,
        /// What would be right.
        expected: &'static str,
    },

    /// The vocabulary lacks tokens without which nothing can be encoded.
    #[error(
        "{path} lacks {tokens}: no text can be encoded without; if the model's special tokens \
         have other names, give them in tokenizer_config.json or special_tokens_map.json"
    )]
    Lacks {
        /// The vocabulary file.
        path: PathBuf,
        /// The tokens missing, separated by commas, each with its role.
        tokens: String,
    },

    /// A line of `merges.txt` is not a merge of two known tokens.
    #[error("{path}, line {line}: {reason}")]
    Merges {
        /// The file.
        path: PathBuf,
        /// One-based line.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },

    /// An added token would receive another id than its file says.
    #[error(
        "{path} gives {token:?} the id {declared}, but behind this vocabulary it gets {assigned}: \
         the files do not belong together"
    )]
    AddedTokenId {
        /// The file that declares the id.
        path: PathBuf,
        /// The token.
        token: String,
        /// The declared id.
        declared: u32,
        /// The id it would receive.
        assigned: u32,
    },

    /// The parts read do not make a tokenizer.
    #[error("{path}: {reason}")]
    Build {
        /// The file that the fault was found in.
        path: PathBuf,
        /// What the tokenizer library said.
        reason: String,
    },

    /// A vocabulary of which nothing is worth taking away.
    #[error(
        "the vocabulary of {folder} is the letters of proteins and the marks around them, {tokens} tokens in all: none can be \
         spared, and there is nothing to gain"
    )]
    Residues {
        /// The folder.
        folder: PathBuf,
        /// How many tokens it has.
        tokens: usize,
    },

    /// `max_length` leaves no room for the special tokens.
    #[error(
        "a maximum length of {max_length} is too small: {what} takes {special} special tokens \
         before any word"
    )]
    MaxLength {
        /// The length asked for.
        max_length: usize,
        /// Special tokens that are always added.
        special: usize,
        /// `a text` or `a pair of texts`.
        what: &'static str,
    },

    /// The tokenizer library refused a text.
    #[error("cannot encode {excerpt:?}: {reason}")]
    Encode {
        /// The beginning of the text.
        excerpt: String,
        /// What the tokenizer library said.
        reason: String,
    },
}

impl TokenizerError {
    /// Whose fault it was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoFiles { .. }
            | Self::Incomplete { .. }
            | Self::PythonOnly { .. }
            | Self::UnsupportedClass { .. }
            | Self::Read { .. }
            | Self::Utf8 { .. }
            | Self::Json { .. }
            | Self::Setting { .. }
            | Self::Lacks { .. }
            | Self::Merges { .. }
            | Self::AddedTokenId { .. }
            | Self::Build { .. } => Kind::Environment,
            Self::NotAFolder { .. }
            | Self::Residues { .. }
            | Self::MaxLength { .. }
            | Self::Encode { .. } => Kind::Input,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_the_surroundings_and_a_text_is_the_input() {
        let folder = TokenizerError::Incomplete {
            folder: PathBuf::from("model"),
            present: "vocab.json",
            missing: "merges.txt",
        };
        assert_eq!(folder.kind(), Kind::Environment);
        let text = TokenizerError::Encode {
            excerpt: "a".to_owned(),
            reason: String::new(),
        };
        assert_eq!(text.kind(), Kind::Input);
    }
}
