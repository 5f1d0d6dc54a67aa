//! The tokenizers of OpenAI GPT and GPT-2: how their folders are told apart and what language
//! models need of them. The expected ids, offsets and words were printed by transformers 4.57.6
//! for the same folders.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use bertology_tokenizer::{Tokenizer, TokenizerError};
use serde_json::{Value, json};

fn golden(name: &str) -> PathBuf {
    bertology_testkit::golden(&format!("tokenizer/{name}"))
}

/// `vocab.json` and `merges.txt` of a golden folder, and other files.
fn folder(base: &str, own: &[(&str, Value)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["vocab.json", "merges.txt"] {
        fs::copy(golden(base).join(file), folder.path().join(file)).unwrap();
    }
    for (name, value) in own {
        fs::write(folder.path().join(name), value.to_string()).unwrap();
    }
    folder
}

const TEXT: &str = "The River, a😀b";

#[test]
fn gpt_by_class_by_model_type_and_by_vocabulary() {
    let class = json!({"tokenizer_class": "OpenAIGPTTokenizerFast"});
    // The class lower-cases whatever this says.
    let cased = json!({"tokenizer_class": "OpenAIGPTTokenizer", "do_lower_case": false});
    for own in [
        ("tokenizer_config.json", class),
        ("tokenizer_config.json", cased),
        ("config.json", json!({"model_type": "openai-gpt"})),
        ("tokenizer_config.json", json!({})),
    ] {
        let folder = folder("gpt", std::slice::from_ref(&own));
        let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
        let encoding = tokenizer.encode(TEXT, None, None).unwrap();
        assert_eq!(encoding.ids, [184, 257, 103, 39, 0, 131], "{own:?}");
        let offsets = [(0, 3), (4, 9), (9, 10), (11, 12), (12, 13), (13, 14)];
        assert_eq!(encoding.offsets, offsets);
        assert_eq!(encoding.words, [0, 1, 2, 3, 3, 3].map(Some));

        // Nothing stands between the texts of a pair, and they have no token types.
        let pair = tokenizer.encode("the cat", Some("A river"), None).unwrap();
        assert_eq!(pair.ids, [184, 41, 232, 130, 257]);
        assert_eq!(pair.sequence, [0, 0, 0, 1, 1].map(Some));
        assert_eq!(pair.segment_ids, [0; 5]);
        assert_eq!(pair.words, [0, 1, 1, 0, 1].map(Some));
        assert_eq!(tokenizer.special_tokens(true), 0);
    }
}

#[test]
fn gpt2_by_model_type_and_by_vocabulary() {
    for own in [
        ("config.json", json!({"model_type": "gpt2"})),
        ("tokenizer_config.json", json!({})),
    ] {
        let folder = folder("gpt2", std::slice::from_ref(&own));
        let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
        let encoding = tokenizer.encode(TEXT, None, None).unwrap();
        let ids = [320, 221, 50, 327, 12, 261, 173, 254, 247, 223, 66];
        assert_eq!(encoding.ids, ids, "{own:?}");
        // Four tokens share the emoji; a space belongs to the word behind it.
        assert_eq!(encoding.offsets[5], (10, 12));
        assert_eq!(encoding.offsets[6..10], [(12, 13); 4]);
        assert_eq!(encoding.words, [0, 1, 1, 1, 2, 3, 4, 4, 4, 4, 5].map(Some));
        assert_eq!(tokenizer.eos_id(), Some(0));
    }
}

#[test]
fn a_vocabulary_with_the_first_token_of_roberta_is_roberta() {
    let folder = folder("roberta", &[]);
    let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
    let encoding = tokenizer.encode("the cat", None, None).unwrap();
    assert_eq!((encoding.ids[0], encoding.ids.last()), (0, Some(&2)));
    assert_eq!((tokenizer.cls_id(), tokenizer.sep_id()), (Some(0), Some(2)));
}

/// A byte-level vocabulary may have learnt `</w>` from HTML, and one of word ends may hold `Ġ`.
#[test]
fn one_odd_token_does_not_decide_the_class() {
    let with = |base: &str, token: &str| {
        let folder = folder(base, &[]);
        let path = folder.path().join("vocab.json");
        let mut vocab: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        vocab[token] = json!(vocab.as_object().unwrap().len());
        fs::write(&path, vocab.to_string()).unwrap();
        let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
        tokenizer.encode(TEXT, None, None).unwrap().ids[0]
    };
    assert_eq!(with("gpt2", "</w>"), 320);
    assert_eq!(with("gpt", "Ġthe"), 184);
    assert_eq!(with("gpt", "<s>"), 184);
}

#[test]
fn first_and_last_tokens_by_role() {
    for (name, bos, eos) in [
        ("gpt", None, None),
        ("gpt-json", None, None),
        ("gpt2", Some(0), Some(0)),
        ("gpt2-json", Some(0), Some(0)),
        ("gpt2-bos", Some(0), Some(0)),
        ("roberta", Some(0), Some(2)),
        ("bert-uncased", None, None),
    ] {
        let tokenizer = Tokenizer::from_folder(golden(name)).unwrap();
        assert_eq!(
            (tokenizer.bos_id(), tokenizer.eos_id()),
            (bos, eos),
            "{name}"
        );
        if name.starts_with("gpt") {
            assert_eq!((tokenizer.pad_id(), tokenizer.cls_id()), (None, None));
            assert_eq!(tokenizer.unk_id(), Some(0), "{name}");
        }
    }
}

#[test]
fn special_tokens_beyond_the_vocabulary() {
    let names = json!({"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<s>",
        "unk_token": "<unk>"});
    let open = |base: &str, model_type: &str| {
        let model = ("config.json", json!({"model_type": model_type}));
        let folder = folder(base, &[model, ("tokenizer_config.json", names.clone())]);
        Tokenizer::from_folder(folder.path()).unwrap()
    };
    let roles = |tokenizer: &Tokenizer| {
        let (bos, eos) = (tokenizer.bos_id(), tokenizer.eos_id());
        [bos, eos, tokenizer.pad_id(), tokenizer.unk_id()].map(Option::unwrap)
    };
    let text = "the<eos> cat<pad>😀 <unk>";
    let gpt = open("gpt", "openai-gpt");
    assert_eq!(gpt.vocab_size(), 336);
    assert_eq!(roles(&gpt), [333, 334, 335, 0]);
    let encoding = gpt.encode_plain(text).unwrap();
    assert_eq!(encoding.ids, [184, 334, 41, 232, 335, 0, 0]);

    let gpt2 = open("gpt2", "gpt2");
    assert_eq!(gpt2.vocab_size(), 364);
    assert_eq!(roles(&gpt2), [360, 361, 363, 362]);
    let ids = [84, 258, 361, 289, 269, 363, 173, 254, 247, 223, 221, 362];
    assert_eq!(gpt2.encode_plain(text).unwrap().ids, ids);
}

#[test]
fn a_gpt_vocabulary_without_its_unknown_token_is_refused() {
    let class = json!({"tokenizer_class": "OpenAIGPTTokenizer", "unk_token": "<none>"});
    let older = folder("gpt", &[("tokenizer_config.json", class.clone())]);
    let error = Tokenizer::from_folder(older.path()).unwrap_err();
    assert!(
        matches!(&error, TokenizerError::Lacks { tokens, .. } if tokens == "<none> (unk_token)"),
        "{error}"
    );

    let path = golden("gpt-json").join("tokenizer.json");
    let mut json: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    json["model"]["unk_token"] = json!("<none>");
    let newer = tempfile::tempdir().unwrap();
    fs::write(newer.path().join("tokenizer.json"), json.to_string()).unwrap();
    fs::write(
        newer.path().join("tokenizer_config.json"),
        class.to_string(),
    )
    .unwrap();
    let error = Tokenizer::from_folder(newer.path()).unwrap_err();
    assert!(
        error.to_string().contains("tokenizer.json lacks <none>"),
        "{error}"
    );
}

#[test]
fn half_a_gpt_folder_is_refused() {
    let folder = folder(
        "gpt",
        &[("config.json", json!({"model_type": "openai-gpt"}))],
    );
    fs::remove_file(folder.path().join("merges.txt")).unwrap();
    let error = Tokenizer::from_folder(folder.path()).unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("holds vocab.json but not merges.txt"),
        "{said}"
    );
    fs::remove_file(folder.path().join("vocab.json")).unwrap();
    let said = Tokenizer::from_folder(folder.path())
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("names a RoBERTa, GPT or GPT-2 tokenizer"),
        "{said}"
    );
}

#[test]
fn a_plain_encoding_of_a_long_document_is_whole() {
    let document = "the cat walks on the river bank. ".repeat(2000);
    let tokenizer = Tokenizer::from_folder(golden("gpt2-bos")).unwrap();
    let plain = tokenizer.encode_plain(&document).unwrap();
    assert!(plain.len() > tokenizer.model_max_length().unwrap());
    assert_eq!(plain.truncated, 0);
    assert!(plain.special.iter().all(|&special| !special));
    // Every character belongs to a token, in order.
    assert_eq!(plain.offsets[0].0, 0);
    assert_eq!(plain.offsets.last().unwrap().1, document.len());
    assert!(plain.offsets.windows(2).all(|two| two[0].1 == two[1].0));

    let first = tokenizer.encode("the cat", None, None).unwrap();
    assert_eq!((first.ids[0], first.special[0]), (0, true));
}
