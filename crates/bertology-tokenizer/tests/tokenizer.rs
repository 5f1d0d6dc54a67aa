//! The tokenizer against files and numbers written by transformers, and against broken folders.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use bertology_tokenizer::{Encoding, Tokenizer, TokenizerError};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Case {
    text: String,
    pair: Option<String>,
    max_length: Option<usize>,
    input_ids: Vec<u32>,
    token_type_ids: Vec<u32>,
    attention_mask: Vec<u32>,
    offsets: Vec<(usize, usize)>,
    /// Only in the language models' folders.
    word_ids: Option<Vec<Option<u32>>>,
    /// Without special tokens, uncut.
    #[serde(default)]
    plain: bool,
}

impl Case {
    /// The cases were encoded one by one, where transformers takes an empty second text for
    /// none; here it is one, as in a batch.
    fn pair(&self) -> Option<&str> {
        self.pair.as_deref().filter(|pair| !pair.is_empty())
    }
}

fn golden(name: &str) -> PathBuf {
    bertology_testkit::golden(&format!("tokenizer/{name}"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn cases(folder: &Path) -> Vec<Case> {
    serde_json::from_str(&read(&folder.join("cases.json"))).unwrap()
}

/// A folder with files of a golden folder, and others of its own.
fn folder(base: &str, files: &[&str], own: &[(&str, Value)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        fs::copy(golden(base).join(file), folder.path().join(file)).unwrap();
    }
    for (name, value) in own {
        fs::write(folder.path().join(name), value.to_string()).unwrap();
    }
    folder
}

fn error(folder: &tempfile::TempDir) -> TokenizerError {
    Tokenizer::from_folder(folder.path()).unwrap_err()
}

#[test]
fn tokenizers_that_are_python_code_are_called_so() {
    let class = json!({"tokenizer_class": "PhobertTokenizer"});
    let named = folder(
        "bert-cased",
        &["vocab.txt"],
        &[("tokenizer_config.json", class)],
    );
    let model = json!({"model_type": "roberta"});
    let codes = folder(
        "bert-cased",
        &["vocab.txt"],
        &[("config.json", model), ("bpe.codes", json!("a b 1"))],
    );
    for (folder, evidence) in [(named, "PhobertTokenizer"), (codes, "bpe.codes")] {
        let error = error(&folder);
        assert!(
            matches!(error, TokenizerError::PythonOnly { .. }),
            "{error}"
        );
        let text = error.to_string();
        assert!(text.contains(evidence), "{text}");
        assert!(
            !text.contains("save_pretrained"),
            "it would not help: {text}"
        );
    }
    let model = json!({"model_type": "xlm-roberta"});
    let text = error(&folder("bert-cased", &[], &[("config.json", model)])).to_string();
    assert!(
        text.contains("SentencePiece") && text.contains("save_pretrained"),
        "{text}"
    );
}

#[test]
fn golden_cases_of_transformers() {
    let (mut folders, mut worded) = (0, 0);
    let parts = ["tokenizer", "sentencepiece"].into_iter();
    for name in parts.flat_map(|part| {
        let names = bertology_testkit::golden_folders(part).into_iter();
        names.map(move |name| format!("{part}/{name}"))
    }) {
        let folder = bertology_testkit::golden(&name);
        let tokenizer = Tokenizer::from_folder(&folder).unwrap();
        let cases = cases(&folder);
        assert!(cases.len() > 10, "{name}");
        for case in &cases {
            let what = format!(
                "{name}: {:?} {:?} {:?}",
                case.text, case.pair, case.max_length
            );
            let pair = case.pair();
            let encoding = if case.plain {
                tokenizer.encode_plain(&case.text).unwrap()
            } else {
                tokenizer.encode(&case.text, pair, case.max_length).unwrap()
            };
            assert_eq!(encoding.ids, case.input_ids, "{what}");
            assert_eq!(encoding.segment_ids, case.token_type_ids, "{what}");
            assert_eq!(encoding.offsets, case.offsets, "{what}");
            if let Some(words) = &case.word_ids {
                assert_eq!(&encoding.words, words, "{what}");
                worded += 1;
            }
            // Nothing is padded, so the mask says nothing more than the length.
            assert_eq!(case.attention_mask, vec![1; encoding.len()], "{what}");
            check_consistency(&tokenizer, case, &what);
        }

        let texts: Vec<_> = cases
            .iter()
            .map(|case| (&case.text, case.pair.as_ref()))
            .collect();
        let batch = tokenizer.encode_batch(&texts, Some(12)).unwrap();
        for ((text, pair), encoding) in texts.into_iter().zip(batch) {
            let alone = tokenizer
                .encode(text, pair.map(String::as_str), Some(12))
                .unwrap();
            assert_eq!(encoding, alone, "{name}: {text:?}");
        }
        folders += 1;
    }
    assert!(folders >= 20, "only {folders} golden folders found");
    assert!(worded >= 6 * 200, "only {worded} cases with words");
}

/// What must hold for any encoding, whatever its ids.
fn check_consistency(tokenizer: &Tokenizer, case: &Case, what: &str) {
    let (text, pair) = (case.text.as_str(), case.pair());
    let encoding = tokenizer.encode(text, pair, case.max_length).unwrap();
    let whole = tokenizer.encode(text, pair, None).unwrap();
    assert_eq!(whole.truncated, 0, "{what}");
    assert_eq!(encoding.len() + encoding.truncated, whole.len(), "{what}");

    let special = encoding.special.iter().filter(|&&special| special).count();
    assert_eq!(special, tokenizer.special_tokens(pair.is_some()), "{what}");
    for index in 0..encoding.len() {
        assert_eq!(
            encoding.special[index],
            encoding.sequence[index].is_none(),
            "{what}"
        );
        assert_eq!(
            encoding.special[index],
            encoding.words[index].is_none(),
            "{what}"
        );
    }
    if pair.is_none() {
        check_plain(tokenizer, text, &whole);
    }
    let bytes = encoding.byte_offsets(text, pair);
    for ((&(start, end), &(from, to)), sequence) in
        encoding.offsets.iter().zip(&bytes).zip(&encoding.sequence)
    {
        let source = match sequence {
            None => "",
            Some(0) => text,
            Some(_) => pair.unwrap(),
        };
        let characters: String = source.chars().skip(start).take(end - start).collect();
        assert_eq!(source[from..to], characters, "{what}");
    }
}

/// A plain encoding is the ordinary one less its special tokens.
fn check_plain(tokenizer: &Tokenizer, text: &str, whole: &Encoding) {
    fn kept<T: Clone>(whole: &Encoding, values: &[T]) -> Vec<T> {
        let pairs = values.iter().zip(&whole.special);
        pairs
            .filter(|&(_, &special)| !special)
            .map(|(value, _)| value.clone())
            .collect()
    }
    let plain = tokenizer.encode_plain(text).unwrap();
    let expected = Encoding {
        ids: kept(whole, &whole.ids),
        segment_ids: kept(whole, &whole.segment_ids),
        offsets: kept(whole, &whole.offsets),
        sequence: kept(whole, &whole.sequence),
        special: kept(whole, &whole.special),
        words: kept(whole, &whole.words),
        truncated: 0,
    };
    assert_eq!(plain, expected, "{text:?}");
}

/// The expected numbers of the following tests were printed by transformers 4.57.6 for the same
/// folders.
#[test]
fn gpt2_files_with_and_without_first_token() {
    let names = json!({"tokenizer_class": "GPT2Tokenizer", "bos_token": "<s>",
        "eos_token": "<s>", "unk_token": "<s>"});
    let files = ["vocab.json", "merges.txt"];
    let plain = folder(
        "roberta",
        &files,
        &[("tokenizer_config.json", names.clone())],
    );
    let tokenizer = Tokenizer::from_folder(plain.path()).unwrap();
    let encoding = tokenizer.encode("the cat", Some("a river"), None).unwrap();
    assert_eq!(encoding.ids, [88, 262, 293, 273, 69, 340]);
    assert_eq!(
        encoding.offsets,
        [(0, 1), (1, 3), (3, 5), (5, 7), (0, 1), (1, 7)]
    );
    assert_eq!(encoding.segment_ids, [0; 6]);
    assert_eq!(tokenizer.special_tokens(true), 0);

    let mut first = names;
    first["add_bos_token"] = json!(true);
    let first = folder("roberta", &files, &[("tokenizer_config.json", first)]);
    let tokenizer = Tokenizer::from_folder(first.path()).unwrap();
    let encoding = tokenizer.encode("the cat", Some("a river"), None).unwrap();
    assert_eq!(encoding.ids, [0, 88, 262, 293, 273, 69, 340]);
    assert_eq!(
        (tokenizer.cls_id(), tokenizer.pad_id(), tokenizer.unk_id()),
        (None, None, Some(0))
    );
}

#[test]
fn an_empty_second_text_is_a_second_text() {
    let tokenizer = Tokenizer::from_folder(golden("bert-uncased")).unwrap();
    let encoding = tokenizer.encode("the dog", Some(""), None).unwrap();
    assert_eq!(encoding.ids, [2, 142, 181, 3, 3]);
    assert_eq!(encoding.segment_ids, [0, 0, 0, 0, 1]);
}

#[test]
fn truncation_side_left() {
    let side = json!({"tokenizer_class": "BertTokenizer", "truncation_side": "left"});
    let folder = folder(
        "bert-uncased",
        &["vocab.txt"],
        &[("tokenizer_config.json", side)],
    );
    let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
    let text = "the cat walks on the river bank";
    let encoding = tokenizer.encode(text, Some("a cat"), Some(9)).unwrap();
    assert_eq!(encoding.ids, [2, 151, 142, 167, 168, 3, 51, 179, 3]);
    assert_eq!(encoding.segment_ids, [0, 0, 0, 0, 0, 0, 1, 1, 1]);
    assert_eq!(&encoding.offsets[1..3], [(14, 16), (17, 20)]);
    assert_eq!(encoding.truncated, 3);
}

#[test]
fn added_tokens_of_the_older_files() {
    let folder = folder(
        "bert-uncased",
        &["vocab.txt"],
        &[
            ("config.json", json!({"model_type": "bert"})),
            ("added_tokens.json", json!({"Zyx": 294, "<e1>": 295})),
            (
                "special_tokens_map.json",
                json!({"additional_special_tokens": ["<e1>"]}),
            ),
        ],
    );
    let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
    // A special token is found as it is written, another after lower-casing.
    let encoding = tokenizer
        .encode("the Zyx zyx <e1>cat <E1>", None, None)
        .unwrap();
    assert_eq!(
        encoding.ids,
        [2, 142, 294, 294, 295, 179, 23, 55, 282, 24, 3]
    );
    assert_eq!(tokenizer.vocab_size(), 296);
    assert_eq!(tokenizer.token_to_id("<e1>"), Some(295));
    assert_eq!(tokenizer.id_to_token(282).as_deref(), Some("##1"));
    assert_eq!(tokenizer.id_to_token(296), None);
    assert_eq!(tokenizer.files().len(), 3);
}

#[test]
fn the_class_decides_what_overrides_tokenizer_json() {
    let ids = |own: &[(&str, Value)]| {
        let folder = folder("bert-cased-json", &["tokenizer.json"], own);
        let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
        let encoding = tokenizer.encode("The CAT", Some("Anna"), None).unwrap();
        (encoding.ids, encoding.segment_ids)
    };
    let (cased, lowered) = (vec![2, 205, 1, 3, 208, 3], vec![2, 142, 179, 3]);
    // BERT's class lower-cases unless told otherwise, whatever tokenizer.json says.
    assert_eq!(
        ids(&[("config.json", json!({"model_type": "bert"}))]).0[..4],
        lowered
    );
    let generic = json!({"tokenizer_class": "PreTrainedTokenizerFast"});
    let model = ("config.json", json!({"model_type": "bert"}));
    let pair = vec![0, 0, 0, 0, 1, 1];
    assert_eq!(
        ids(&[model, ("tokenizer_config.json", generic)]),
        (cased.clone(), pair.clone())
    );
    let distil = json!({"tokenizer_class": "DistilBertTokenizer", "do_lower_case": false});
    assert_eq!(
        ids(&[("tokenizer_config.json", distil)]),
        (cased.clone(), vec![0; 6])
    );
    // No class at all: tokenizer.json as it stands, unless a setting speaks.
    assert_eq!(ids(&[]), (cased, pair));
    let setting = json!({"do_lower_case": true});
    assert_eq!(ids(&[("tokenizer_config.json", setting)]).0[..4], lowered);
}

#[test]
fn a_protein_has_an_end_and_no_separator() {
    let tokenizer = Tokenizer::from_folder(golden("esm")).unwrap();
    let ids = (tokenizer.cls_id(), tokenizer.sep_id(), tokenizer.eos_id());
    assert_eq!(ids, (Some(0), Some(2), Some(2)));
    let ids = (tokenizer.pad_id(), tokenizer.unk_id(), tokenizer.mask_id());
    assert_eq!(ids, (Some(1), Some(3), Some(32)));
    let encoding = tokenizer.encode("MKT", None, None).unwrap();
    assert_eq!(encoding.ids, [0, 20, 15, 11, 2]);
    assert!(encoding.special[0] && encoding.special[4] && !encoding.special[1]);
    assert_eq!(encoding.words, [None, Some(0), Some(1), Some(2), None]);
}

/// Its file says all: letters, marks, and what ends a chain.
#[test]
fn a_newer_proteins_letters_are_those_of_its_file() {
    let tokenizer = Tokenizer::from_folder(golden("esmc")).unwrap();
    let ids = (tokenizer.cls_id(), tokenizer.sep_id(), tokenizer.eos_id());
    assert_eq!(ids, (Some(0), Some(2), Some(2)));
    let ids = (tokenizer.pad_id(), tokenizer.unk_id(), tokenizer.mask_id());
    assert_eq!(ids, (Some(1), Some(3), Some(32)));
    let encoding = tokenizer.encode("MK|T", None, None).unwrap();
    assert_eq!(encoding.ids, [0, 20, 15, 31, 11, 2]);
    assert!(encoding.special[0] && !encoding.special[3] && encoding.special[5]);
}

#[test]
fn special_ids_and_lengths() {
    let tokenizer = Tokenizer::from_folder(golden("bert-uncased")).unwrap();
    let ids = (
        tokenizer.pad_id(),
        tokenizer.cls_id(),
        tokenizer.sep_id(),
        tokenizer.mask_id(),
    );
    assert_eq!(ids, (Some(0), Some(2), Some(3), Some(4)));
    assert_eq!(tokenizer.special_tokens(false), 2);
    assert_eq!(tokenizer.special_tokens(true), 3);
    assert_eq!(tokenizer.token_to_id("[CLS]"), Some(2));

    let length = |value: Value| {
        let config = json!({"tokenizer_class": "BertTokenizer", "model_max_length": value});
        let folder = folder(
            "bert-uncased",
            &["vocab.txt"],
            &[("tokenizer_config.json", config)],
        );
        Tokenizer::from_folder(folder.path()).map(|tokenizer| tokenizer.model_max_length())
    };
    assert_eq!(length(json!(512)).unwrap(), Some(512));
    assert_eq!(length(Value::Null).unwrap(), None);
    assert_eq!(length(json!(1e30)).unwrap(), None);
    let huge: Value = serde_json::from_str("1000000000000000019884624838656").unwrap();
    assert_eq!(length(huge).unwrap(), None);
    assert!(matches!(
        length(json!(-1)),
        Err(TokenizerError::Setting { .. })
    ));

    fn shared<T: Send + Sync>(_: &T) {}
    shared(&tokenizer);
}

#[test]
fn a_length_below_the_special_tokens_is_refused() {
    let tokenizer = Tokenizer::from_folder(golden("bert-uncased")).unwrap();
    // Exactly the special tokens is what transformers allows too.
    assert_eq!(
        tokenizer.encode("the cat", None, Some(2)).unwrap().ids,
        [2, 3]
    );
    let error = tokenizer.encode("the cat", Some("a"), Some(2)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a maximum length of 2 is too small: a pair of texts takes 3 special tokens before any word"
    );
    assert!(tokenizer.encode("the cat", None, Some(0)).is_err());
    assert!(
        tokenizer
            .encode_batch(&[("the cat", None::<&str>)], Some(1))
            .is_err()
    );
}

#[test]
fn folders_without_tokenizer() {
    let empty = folder("", &[], &[("config.json", json!({"hidden_size": 2}))]);
    let said = error(&empty).to_string();
    for name in ["tokenizer.json", "vocab.txt", "vocab.json and merges.txt"] {
        assert!(said.contains(name), "{said}");
    }
    let bert = folder(
        "roberta",
        &["vocab.json", "merges.txt"],
        &[("config.json", json!({"model_type": "bert"}))],
    );
    let said = error(&bert).to_string();
    assert!(
        said.contains("tokenizer.json or vocab.txt (its configuration names"),
        "{said}"
    );

    let half = folder(
        "roberta",
        &["vocab.json"],
        &[("config.json", json!({"model_type": "roberta"}))],
    );
    let said = error(&half).to_string();
    assert!(
        said.contains("holds vocab.json but not merges.txt"),
        "{said}"
    );

    let other = json!({"tokenizer_class": "BertJapaneseTokenizer"});
    let other = folder(
        "bert-uncased",
        &["vocab.txt"],
        &[("tokenizer_config.json", other)],
    );
    let said = error(&other).to_string();
    assert!(
        said.contains("is a BertJapaneseTokenizer without tokenizer.json"),
        "{said}"
    );

    let missing = Tokenizer::from_folder(empty.path().join("nowhere")).unwrap_err();
    assert!(missing.to_string().contains("is not a folder"), "{missing}");
}

#[test]
fn broken_json_is_placed() {
    let broken = |name: &str, text: &str| {
        let folder = folder("bert-uncased", &["vocab.txt"], &[]);
        fs::write(folder.path().join(name), text).unwrap();
        error(&folder).to_string()
    };
    for name in [
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
    ] {
        let said = broken(name, "{\n \"version\": \"1.0\",\n x}");
        assert!(
            said.contains(&format!("{name}, line 3, column 2: key must be a string")),
            "{said}"
        );
    }
    let said = broken(
        "tokenizer.json",
        "{\"version\": \"1.0\", \"model\": {\"type\": \"Other\"}}",
    );
    assert!(said.contains("tokenizer.json, line 1, column"), "{said}");
    let said = broken("tokenizer.json", "");
    assert!(
        said.contains("line 1, column 0: EOF while parsing"),
        "{said}"
    );
    let said = broken("added_tokens.json", "{\"x\": -1}");
    assert!(said.contains("\"x\" is -1, expected a token id"), "{said}");
}

#[test]
fn settings_of_the_wrong_kind() {
    for (key, value, expected) in [
        (
            "do_lower_case",
            json!("yes"),
            "\"do_lower_case\" is \"yes\", expected true or false",
        ),
        ("strip_accents", json!(1), "expected true or false"),
        (
            "truncation_side",
            json!("middle"),
            "expected \"left\" or \"right\"",
        ),
        (
            "cls_token",
            json!(3),
            "expected a string or an object with \"content\"",
        ),
        ("tokenizer_class", json!(["A"]), "expected a string"),
        (
            "added_tokens_decoder",
            json!({"a": "b"}),
            "expected an object from ids to tokens",
        ),
        (
            "model_input_names",
            json!("ids"),
            "expected a list of names",
        ),
    ] {
        let config = ("tokenizer_config.json", json!({ key: value }));
        let folder = folder("bert-uncased", &["vocab.txt"], &[config]);
        let said = error(&folder).to_string();
        assert!(
            said.contains("tokenizer_config.json") && said.contains(expected),
            "{said}"
        );
    }
}

#[test]
fn a_vocabulary_without_special_tokens() {
    let lacking = |own: &[(&str, Value)], from: &str, to: &str| {
        let folder = folder("", &[], own);
        let vocab = read(&golden("bert-uncased").join("vocab.txt")).replace(from, to);
        fs::write(folder.path().join("vocab.txt"), vocab).unwrap();
        error(&folder)
    };
    let said = lacking(&[], "[CLS]", "[BEGIN]").to_string();
    assert!(said.contains("vocab.txt lacks [CLS] (cls_token)"), "{said}");
    let said = lacking(&[], "[UNK]\n[CLS]\n[SEP]", "a\nb\nc").to_string();
    let all = "lacks [UNK] (unk_token), [CLS] (cls_token), [SEP] (sep_token)";
    assert!(said.contains(all), "{said}");
    let none = json!({"tokenizer_class": "BertTokenizer", "sep_token": null});
    let error = lacking(&[("tokenizer_config.json", none)], "x", "x");
    assert!(matches!(&error, TokenizerError::Lacks { tokens, .. } if tokens == "sep_token"));

    // The same for a WordPiece model in tokenizer.json, which would fail only at some later text.
    let path = golden("bert-uncased-json").join("tokenizer.json");
    let mut json: Value = serde_json::from_str(&read(&path)).unwrap();
    json["model"]["unk_token"] = json!("[NONE]");
    let folder = folder("", &[], &[("tokenizer.json", json)]);
    let said = self::error(&folder).to_string();
    assert!(said.contains("tokenizer.json lacks [NONE]"), "{said}");
}

#[test]
fn vocabulary_files_that_do_not_fit() {
    let added = folder(
        "bert-uncased",
        &["vocab.txt"],
        &[("added_tokens.json", json!({"Zyx": 7}))],
    );
    let said = error(&added).to_string();
    assert!(
        said.contains("gives \"Zyx\" the id 7, but behind this vocabulary it gets 294"),
        "{said}"
    );

    let merges = |text: &str| {
        let folder = folder("roberta", &["vocab.json"], &[]);
        fs::write(folder.path().join("merges.txt"), text).unwrap();
        error(&folder).to_string()
    };
    let said = merges("#version: 0.2\na b c\n");
    assert!(
        said.contains("merges.txt, line 2: expected two tokens to merge, found 3"),
        "{said}"
    );
    let said = merges("#version: 0.2\nqqq h\n");
    assert!(
        said.contains("line 2: \"qqq\" is not in vocab.json"),
        "{said}"
    );

    let binary = folder("", &[], &[]);
    fs::write(binary.path().join("vocab.txt"), b"[PAD]\n[UNK]\n\xff\xfe\n").unwrap();
    let said = error(&binary).to_string();
    assert!(said.contains("vocab.txt, line 3: not UTF-8"), "{said}");
}

#[test]
fn line_endings_of_windows() {
    let folder = folder("", &[], &[]);
    let vocab = read(&golden("bert-vocab-only").join("vocab.txt")).replace('\n', "\r\n");
    fs::write(folder.path().join("vocab.txt"), vocab).unwrap();
    let windows = Tokenizer::from_folder(folder.path()).unwrap();
    for case in cases(&golden("bert-vocab-only")) {
        let encoding = windows
            .encode(&case.text, case.pair(), case.max_length)
            .unwrap();
        assert_eq!(encoding.ids, case.input_ids, "{:?}", case.text);
    }
}
