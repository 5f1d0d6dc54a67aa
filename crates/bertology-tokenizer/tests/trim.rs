//! Vocabularies without the tokens that a corpus does not need, of every kind of tokenizer that there are golden files for.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bertology_tokenizer::{Tokenizer, TokenizerError, Trimmed};
use serde_json::{Value, json};

/// What a corpus needs of a tokenizer.
fn needed(tokenizer: &Tokenizer, texts: &[&str]) -> BTreeSet<u32> {
    let mut ids = BTreeSet::new();
    for text in texts {
        ids.extend(tokenizer.encode(text, None, None).unwrap().ids);
        ids.extend(tokenizer.encode_words(&[text], None).unwrap().ids);
        ids.extend(tokenizer.tried(text).unwrap());
    }
    ids
}

/// The trimmed tokenizer, opened from its own files and the folder's `config.json`.
fn trimmed(folder: &Path, texts: &[&str]) -> (Tokenizer, Trimmed, Tokenizer, tempfile::TempDir) {
    let whole = Tokenizer::from_folder(folder).unwrap();
    let left = whole.trim(folder, &needed(&whole, texts)).unwrap();
    let out = tempfile::tempdir().unwrap();
    for (name, bytes) in &left.files {
        fs::write(out.path().join(name), bytes).unwrap();
    }
    if folder.join("config.json").exists() {
        fs::copy(folder.join("config.json"), out.path().join("config.json")).unwrap();
    }
    let smaller = Tokenizer::from_folder(out.path()).unwrap();
    (whole, left, smaller, out)
}

fn place(left: &Trimmed, old: u32) -> u32 {
    u32::try_from(left.kept.binary_search(&old).unwrap()).unwrap()
}

/// Both give the same pieces for every text, under the ids that the trimmed one says.
fn same(whole: &Tokenizer, left: &Trimmed, smaller: &Tokenizer, texts: &[&str], what: &str) {
    for text in texts {
        let (old, new) = (
            whole.encode(text, None, None).unwrap(),
            smaller.encode(text, None, None).unwrap(),
        );
        let mapped: Vec<u32> = old.ids.iter().map(|id| place(left, *id)).collect();
        assert_eq!(new.ids, mapped, "{what}: {text:?}");
        assert_eq!(
            (&new.offsets, &new.segment_ids, &new.special, &new.words),
            (&old.offsets, &old.segment_ids, &old.special, &old.words),
            "{what}: {text:?}"
        );
        let pair = |of: &Tokenizer| of.encode(text, Some(text), None).unwrap();
        let mapped: Vec<u32> = pair(whole).ids.iter().map(|id| place(left, *id)).collect();
        assert_eq!(pair(smaller).ids, mapped, "{what}: {text:?} twice");
        let words: Vec<&str> = text.split_whitespace().collect();
        let (old, new) = (
            whole.encode_words(&words, None).unwrap(),
            smaller.encode_words(&words, None).unwrap(),
        );
        if old.ids.iter().all(|id| left.kept.contains(id)) {
            let mapped: Vec<u32> = old.ids.iter().map(|id| place(left, *id)).collect();
            assert_eq!(new.ids, mapped, "{what}: {text:?} in words");
        }
    }
    let special = |of: &Tokenizer| {
        let ids = [
            of.bos_id(),
            of.eos_id(),
            of.pad_id(),
            of.cls_id(),
            of.sep_id(),
        ];
        [ids.to_vec(), vec![of.mask_id(), of.unk_id()]].concat()
    };
    let mapped: Vec<Option<u32>> = special(whole)
        .into_iter()
        .map(|id| id.map(|id| place(left, id)))
        .collect();
    assert_eq!(special(smaller), mapped, "{what}");
    for (token, new) in left.tokens.iter().zip(0..) {
        assert_eq!(smaller.id_to_token(new).as_ref(), Some(token), "{what}");
        assert_eq!(smaller.token_to_id(token), Some(new), "{what}");
    }
    assert_eq!(smaller.vocab_size(), left.kept.len(), "{what}");
}

fn golden() -> Vec<(String, PathBuf)> {
    let parts = ["tokenizer", "sentencepiece"].into_iter();
    let all = parts.flat_map(|part| {
        let names = bertology_testkit::golden_folders(part).into_iter();
        names.map(move |name| format!("{part}/{name}"))
    });
    let mut folders: Vec<_> = all
        .map(|name| (name.clone(), bertology_testkit::golden(&name)))
        .collect();
    for name in ["tiny-bert", "tiny-code", "tiny-gpt", "tiny-gpt2"] {
        let folder = bertology_testkit::workspace().join("assets").join(name);
        folders.push((name.to_owned(), folder));
    }
    folders
}

#[test]
fn texts_of_the_corpus_stay_the_same_pieces_in_every_kind() {
    let mut done = 0;
    for (name, folder) in golden() {
        if name.contains("esm") {
            continue;
        }
        let texts: Vec<String> = match fs::read(folder.join("cases.json")) {
            Ok(cases) => serde_json::from_slice::<Vec<Value>>(&cases)
                .unwrap()
                .iter()
                .filter_map(|case| case["text"].as_str().map(str::to_owned))
                .collect(),
            Err(_) => [
                "a woman faints .",
                "The dogs [UNK] ☃ xq",
                "def f(x): return x",
            ]
            .map(str::to_owned)
            .to_vec(),
        };
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        // Of all texts, of every third, of one alone.
        for step in [1, 3, texts.len()] {
            let corpus: Vec<&str> = texts.iter().step_by(step).copied().collect();
            let (whole, left, smaller, out) = trimmed(&folder, &corpus);
            let what = format!("{name}, every {step}");
            same(&whole, &left, &smaller, &corpus, &what);
            assert_eq!(left.before, whole.vocab_size());
            if step == texts.len() {
                assert!(left.kept.len() < left.before, "{what}: {}", left.before);
            }
            // Once more nothing changes.
            let again = smaller
                .trim(out.path(), &needed(&smaller, &corpus))
                .unwrap();
            assert_eq!(again.kept.len(), left.kept.len(), "{what}");
        }
        done += 1;
    }
    assert!(done > 25, "{done}");
}

#[test]
fn every_other_file_of_the_vocabulary_says_the_same() {
    let (_, left, _, out) = trimmed(
        &bertology_testkit::golden("tokenizer/bert-uncased-json"),
        &["the"],
    );
    let lines = fs::read_to_string(out.path().join("vocab.txt")).unwrap();
    assert_eq!(lines.lines().collect::<Vec<_>>(), left.tokens);
    let assets = bertology_testkit::workspace().join("assets");
    for name in ["tiny-gpt", "tiny-gpt2", "tiny-code"] {
        let (whole, left, smaller, out) = trimmed(&assets.join(name), &["a woman faints ."]);
        // Without tokenizer.json the older files are read.
        fs::remove_file(out.path().join("tokenizer.json")).unwrap();
        let older = Tokenizer::from_folder(out.path()).unwrap();
        same(&whole, &left, &older, &["a woman faints ."], name);
        assert_eq!(older.vocab_size(), smaller.vocab_size());
        let merges = fs::read_to_string(out.path().join("merges.txt")).unwrap();
        let before = fs::read_to_string(assets.join(name).join("merges.txt")).unwrap();
        assert_eq!(merges.lines().next(), before.lines().next());
        assert!(merges.lines().count() < before.lines().count());
    }
    // SentencePiece's own file has become tokenizer.json.
    let folder = bertology_testkit::golden("sentencepiece/deberta");
    let (_, left, ..) = trimmed(&folder, &["the"]);
    assert!(left.files.contains_key("tokenizer.json"));
    assert!(!left.files.contains_key("spm.model"));
    // A list that is another vocabulary's is not made to look like this one's.
    let mixed = tempfile::tempdir().unwrap();
    let from = bertology_testkit::golden("tokenizer/bert-uncased-json");
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        fs::copy(from.join(name), mixed.path().join(name)).unwrap();
    }
    let lines = fs::read_to_string(from.join("vocab.txt")).unwrap();
    let turned: Vec<&str> = lines.lines().rev().collect();
    fs::write(mixed.path().join("vocab.txt"), turned.join("\n")).unwrap();
    let (_, left, ..) = trimmed(mixed.path(), &["the"]);
    assert!(!left.files.contains_key("vocab.txt"));
}

#[test]
fn letters_of_proteins_are_all_needed() {
    for name in ["tokenizer/esm", "tokenizer/esmc"] {
        let folder = bertology_testkit::golden(name);
        let tokenizer = Tokenizer::from_folder(&folder).unwrap();
        let error = tokenizer.trim(&folder, &BTreeSet::new()).unwrap_err();
        assert!(matches!(error, TokenizerError::Residues { .. }), "{error}");
        assert!(error.to_string().contains("nothing to gain"), "{error}");
    }
}

/// A folder of one `tokenizer.json`.
fn of(json: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokenizer.json"), json.to_string()).unwrap();
    folder
}

fn tokenizer_json(model: &Value, added: &Value, processor: &Value) -> Value {
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": processor, "decoder": null, "model": model,
    })
}

/// `abcd` is merged from `ab` and `cd`, with which no word of the corpus ends; another merge, `bc`, was never made.
fn planted_merges(prefixed: bool) -> Value {
    let merges = json!([["a", "b"], ["c", "d"], ["b", "c"], ["ab", "cd"], ["x", "y"]]);
    let lines = json!(["a b", "c d", "b c", "ab cd", "x y"]);
    json!({
        "type": "BPE", "dropout": null, "unk_token": "?", "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
        "vocab": {"x": 0, "xy": 1, "a": 2, "ab": 3, "bc": 4, "?": 5, "b": 6, "c": 7, "d": 8, "cd": 9, "abcd": 10, "y": 11},
        "merges": if prefixed { lines } else { merges },
    })
}

#[test]
fn whatever_a_token_is_merged_from_stays_and_other_merges_go() {
    for lines in [false, true] {
        let folder = of(&tokenizer_json(
            &planted_merges(lines),
            &json!([]),
            &json!(null),
        ));
        let (whole, left, smaller, out) = trimmed(folder.path(), &["abcd"]);
        assert_eq!(whole.encode("abcd", None, None).unwrap().ids, [10]);
        same(&whole, &left, &smaller, &["abcd"], "planted");
        // All but `xy` and `bc`, in the old order.
        assert_eq!(left.kept, [0, 2, 3, 5, 6, 7, 8, 9, 10, 11]);
        let path = out.path().join("tokenizer.json");
        let written: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert_eq!(written["model"]["merges"].as_array().unwrap().len(), 3);
        // What is no text of the corpus falls into smaller pieces.
        let pieces = |of: &Tokenizer| of.encode("xy bc", None, None).unwrap().ids.len();
        assert_eq!([pieces(&whole), pieces(&smaller)], [2, 4]);
    }
}

#[test]
fn a_word_that_cannot_be_finished_stays_unknown() {
    // `xyz` is taken first and `☃` fails behind it; with `xy` taken in its place `##z☃` would be found.
    let model = json!({
        "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
        "vocab": {"[UNK]": 0, "xyz": 1, "xy": 2, "##z☃": 3, "x": 4, "##y": 5, "##z": 6, "other": 7},
    });
    let folder = of(&tokenizer_json(&model, &json!([]), &json!(null)));
    let corpus = ["xyz☃", "xz☃", "xy"];
    let (whole, left, smaller, _out) = trimmed(folder.path(), &corpus);
    assert_eq!(whole.encode("xyz☃", None, None).unwrap().ids, [0]);
    assert_eq!(whole.encode("xz☃", None, None).unwrap().ids, [4, 3]);
    same(&whole, &left, &smaller, &corpus, "unknown");
}

#[test]
fn unknown_characters_cost_what_they_did() {
    // An unknown character costs the lowest score less 10: with `rare` gone it would be cheaper than `k☃`.
    let model = json!({
        "type": "Unigram", "unk_id": 0, "byte_fallback": false,
        "vocab": [["?", 0.0], ["☃k", -12.0], ["k", -1.0], ["rare", -30.0], ["never", -2.0]],
    });
    let folder = of(&tokenizer_json(&model, &json!([]), &json!(null)));
    let corpus = ["☃k", "k☃☃k"];
    let (whole, left, smaller, out) = trimmed(folder.path(), &corpus);
    assert_eq!(whole.encode("☃k", None, None).unwrap().ids, [1]);
    same(&whole, &left, &smaller, &corpus, "scores");
    assert_eq!(left.kept, [0, 1, 2, 3]);
    // Scores are what they were, to the letter.
    let text = fs::read_to_string(out.path().join("tokenizer.json")).unwrap();
    assert!(text.contains(r#"["☃k", -12.0]"#), "{text}");
}

#[test]
fn marks_around_a_text_have_their_new_ids_in_every_form() {
    let model = json!({
        "type": "WordLevel", "unk_token": "[UNK]",
        "vocab": {"gone": 0, "word": 1, "[UNK]": 2, "other": 3, "[CLS]": 4, "gone too": 5, "[SEP]": 6},
    });
    let added = json!([{
        "id": 7, "content": "<new>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true
    }]);
    let template = json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [4], "tokens": ["[CLS]"]},
            "[SEP]": {"id": "[SEP]", "ids": [6], "tokens": ["[SEP]"]}},
    });
    let bert = json!({"type": "BertProcessing", "sep": ["[SEP]", 6], "cls": ["[CLS]", 4]});
    let roberta = json!({
        "type": "RobertaProcessing", "sep": ["[SEP]", 6], "cls": ["[CLS]", 4], "trim_offsets": true, "add_prefix_space": false
    });
    let sequence = json!({"type": "Sequence", "processors": [{"type": "ByteLevel", "add_prefix_space": true,
        "trim_offsets": false, "use_regex": true}, template.clone()]});
    for processor in [template, bert, roberta, sequence] {
        let mut json = tokenizer_json(&model, &added, &processor);
        json["padding"] = json!({"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 7, "pad_type_id": 0, "pad_token": "<new>"});
        let folder = of(&json);
        let config = json!({"added_tokens_decoder": {"7": {"content": "<new>", "special": true}},
            "pad_token": "<new>", "model_max_length": 1e30});
        fs::write(
            folder.path().join("tokenizer_config.json"),
            config.to_string(),
        )
        .unwrap();
        fs::write(
            folder.path().join("added_tokens.json"),
            json!({"<new>": 7}).to_string(),
        )
        .unwrap();
        let corpus = ["word <new> nobody"];
        let (whole, left, smaller, out) = trimmed(folder.path(), &corpus);
        let old = whole.encode(corpus[0], None, None).unwrap().ids;
        assert_eq!(old, [4, 1, 7, 2, 6]);
        assert_eq!(left.kept, [1, 2, 4, 6, 7]);
        same(&whole, &left, &smaller, &corpus, &processor.to_string());
        let read = |name: &str| -> Value {
            serde_json::from_slice(&fs::read(out.path().join(name)).unwrap()).unwrap()
        };
        assert_eq!(read("tokenizer.json")["padding"]["pad_id"], 4);
        assert_eq!(read("added_tokens.json")["<new>"], 4);
        let decoder = read("tokenizer_config.json")["added_tokens_decoder"].clone();
        assert_eq!(decoder["4"]["content"], "<new>");
    }
}

#[test]
fn files_that_have_changed_since_are_an_error() {
    let model = json!({"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"gone": 0, "[UNK]": 1, "a": 2}});
    let whole = tokenizer_json(&model, &json!([]), &json!(null));
    for (name, text) in [
        ("tokenizer.json", "[]"),
        ("tokenizer.json", "{\"model\": 3, \"added_tokens\": {}}"),
        ("tokenizer.json", "{"),
        ("added_tokens.json", "[1]"),
        ("tokenizer_config.json", "{\"added_tokens_decoder\": [1]}"),
        ("vocab.txt", "\u{1}"),
    ] {
        let folder = of(&whole);
        let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
        fs::write(folder.path().join(name), text).unwrap();
        let found = tokenizer.trim(folder.path(), &BTreeSet::new());
        match found {
            Err(error) => assert!(!error.to_string().is_empty(), "{name}"),
            // A list of another vocabulary has no place beside this one.
            Ok(left) => assert!(
                name == "vocab.txt" && !left.files.contains_key(name),
                "{text}"
            ),
        }
    }
}
