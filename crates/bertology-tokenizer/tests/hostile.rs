//! Tokenizer folders that the tokenizer library panics on, or works on without end, are refused by name.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bertology_tokenizer::{Tokenizer, TokenizerError};
use serde_json::{Value, json};

/// Far above what any of these takes, far below what they took.
const QUICK: Duration = Duration::from_secs(5);

/// BERT's tokenizer in small, with what `edit` makes of its `tokenizer.json` and of its settings.
fn folder(edit: impl FnOnce(&mut Value, &mut Value)) -> tempfile::TempDir {
    let special = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    };
    let mut tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(0, "[UNK]"), special(1, "[CLS]"), special(2, "[SEP]")],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [1], "tokens": ["[CLS]"]}}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3, "##a": 4}},
    });
    let mut settings = json!({});
    edit(&mut tokenizer, &mut settings);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    fs::write(
        folder.path().join("tokenizer_config.json"),
        settings.to_string(),
    )
    .unwrap();
    folder
}

/// What reading the folder, or encoding a text with it, says.
fn said(folder: &tempfile::TempDir, text: &str) -> String {
    let begin = Instant::now();
    let error = Tokenizer::from_folder(folder.path())
        .and_then(|tokenizer| tokenizer.encode(text, None, None))
        .expect_err("must be refused");
    assert!(begin.elapsed() < QUICK, "{:?}: {error}", begin.elapsed());
    error.to_string()
}

fn says(folder: &tempfile::TempDir, part: &str) {
    let text = said(folder, "a aa");
    assert!(text.contains(part), "`{text}` does not say `{part}`");
}

#[test]
fn the_folder_that_the_others_are_made_of_is_sound() {
    let tokenizer = Tokenizer::from_folder(folder(|_, _| ()).path()).unwrap();
    assert_eq!(
        tokenizer.encode("a AA", None, None).unwrap().ids,
        [1, 3, 3, 4]
    );
}

#[test]
fn a_half_copied_file_is_damaged_and_no_panic() {
    let folder = folder(|_, _| ());
    let path = folder.path().join("tokenizer.json");
    let whole = fs::read(&path).unwrap();
    for end in 0..whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        let error = Tokenizer::from_folder(folder.path()).unwrap_err();
        assert!(
            matches!(error, TokenizerError::Json { .. }),
            "{end}: {error}"
        );
    }
}

#[test]
fn what_the_library_panics_on_becomes_an_error() {
    let decoder = folder(|json, _| json["decoder"] = json!({"type": "WordPiece"}));
    says(&decoder, "tokenizer.json");
    let class = folder(|json, _| json["model"]["type"] = json!(3));
    says(&class, "tokenizer.json");
}

#[test]
fn a_template_of_unknown_tokens_is_refused() {
    let unknown = folder(|json, _| {
        json["post_processor"]["single"][0]["SpecialToken"]["id"] = json!("[CLSX]");
    });
    says(&unknown, "names \"[CLSX]\", which \"special_tokens\" lacks");
    let inside = folder(|json, _| {
        json["post_processor"]["pair"][0] = json!({"SpecialToken": {"id": "X", "type_id": 0}});
        let template = json["post_processor"].take();
        json["post_processor"] = json!({"type": "Sequence", "processors": [template]});
    });
    says(&inside, "names \"X\"");
    let again = folder(|json, _| {
        json["post_processor"]["single"] =
            json!(vec![json!({"Sequence": {"id": "A", "type_id": 0}}); 999]);
    });
    says(&again, "has 999 parts");
}

#[test]
fn a_token_that_normalises_to_nothing_is_refused() {
    let control = |json: &mut Value| {
        json["normalizer"] = json!({"type": "BertNormalizer", "clean_text": true,
            "handle_chinese_chars": true, "strip_accents": null, "lowercase": true});
    };
    let config = folder(|json, settings| {
        control(json);
        settings["added_tokens_decoder"] = json!({"5": "\u{0}"});
    });
    says(
        &config,
        "the added token \"\\0\" is nothing once the text is normalised",
    );
    let file = folder(|json, _| {
        control(json);
        json["added_tokens"][0] = json!({"id": 5, "content": "\u{0}", "normalized": true, "special": false,
            "single_word": false, "lstrip": false, "rstrip": false});
    });
    says(&file, "is nothing once");
}

#[test]
fn long_tokens_are_refused_before_the_library_works_on_them() {
    let long = "x".repeat(16_000);
    let file = folder(|json, _| json["added_tokens"][0]["content"] = json!(long));
    says(&file, "has 16000 bytes");
    let role = folder(|_, settings| settings["mask_token"] = json!(long));
    says(&role, "has 16000 bytes");
    let id = folder(|json, _| json["added_tokens"][0]["id"] = json!(u32::MAX));
    says(&id, "has the id 4294967295");
    let word = folder(|json, _| json["model"]["max_input_chars_per_word"] = json!(1_000_000));
    says(&word, "\"max_input_chars_per_word\" is 1000000");
}

#[test]
fn normalizers_that_grow_without_end_are_refused() {
    let step = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
    let growing = folder(|json, _| {
        json["normalizer"]["normalizers"] = json!(vec![step.clone(); 60]);
    });
    says(&growing, "the normalizer of tokenizer.json makes");
    // The tokens of the file are normalised when it is read.
    let token = folder(|json, _| {
        json["normalizer"]["normalizers"] = json!(vec![step.clone(); 60]);
        json["added_tokens"][0] = json!({"id": 5, "content": "a", "normalized": true, "special": false,
            "single_word": false, "lstrip": false, "rstrip": false});
    });
    says(&token, "cannot be normalised");
}

/// The form of SentencePiece's compiled maps: the length of a tree, the tree, and texts with a zero behind each. This
/// tree turns `a` into the first text.
fn map_of_a(text: &str) -> Vec<u8> {
    // A node's children are at its place XOR the offset XOR the character; a leaf's value is at the offset.
    let mut tree = vec![0_u32; 256];
    tree[0] = 1 << 10;
    tree[usize::from(b'a') ^ 1] = u32::from(b'a') | 1 << 8 | 3 << 10;
    tree[usize::from(b'a') ^ 1 ^ 3] = 1 << 31;
    let mut bytes = (4 * tree.len() as u32).to_le_bytes().to_vec();
    bytes.extend(tree.iter().flat_map(|unit| unit.to_le_bytes()));
    bytes.extend(text.as_bytes());
    bytes.push(0);
    bytes
}

#[test]
fn a_map_that_makes_much_of_a_character_is_refused() {
    let with = |bytes: &[u8], times: usize| {
        let written = STANDARD.encode(bytes);
        let map = json!({"type": "Precompiled", "precompiled_charsmap": written});
        folder(|json, _| json["normalizer"]["normalizers"] = json!(vec![map; times]))
    };
    let sound = with(&map_of_a("aa"), 1);
    let tokenizer = Tokenizer::from_folder(sound.path()).unwrap();
    assert_eq!(tokenizer.encode("a", None, None).unwrap().ids, [1, 3, 4]);
    says(
        &with(&map_of_a(&"a".repeat(300)), 1),
        "puts 300 bytes in the place of a character",
    );
    says(
        &with(&map_of_a("aa"), 60),
        "the normalizer of tokenizer.json makes",
    );
    // Sixteen million times longer, and none of it is written.
    says(
        &with(&map_of_a(&"a".repeat(256)), 3),
        "the normalizer of tokenizer.json makes",
    );
    // Four gigabytes would be reserved for a tree of four bytes.
    let mut claims = map_of_a("aa");
    claims[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    says(&with(&claims, 1), "claims 4294967295 bytes");
    says(&with(b"abc", 1), "is no map");
}

#[test]
fn patterns_that_look_without_end_are_refused() {
    let text = "a".repeat(3000);
    for pattern in [r"(?:a+)+(?=b)", r"(?:a|a|ab)+(?!.)(?<=c)|a", r"(a*)*\1b"] {
        let split = json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        let inside =
            json!({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, split]});
        for splits in [split, inside] {
            let folder = folder(|json, _| json["pre_tokenizer"] = splits);
            let said = said(&folder, &text);
            assert!(
                said.contains("would look for matches in these 3000 bytes for too long"),
                "{said}"
            );
            // A text that it has done with soon is encoded.
            let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
            tokenizer.encode("a cat", None, None).unwrap();
        }
        let replace = json!({"type": "Replace", "pattern": {"Regex": pattern}, "content": "a"});
        let folder = folder(|json, _| json["normalizer"] = replace);
        let said = said(&folder, &text);
        assert!(said.contains("for too long"), "{said}");
    }
}

#[test]
fn many_tokens_of_the_longest_kind_are_read_quickly() {
    let folder = folder(|json, _| {
        let tokens = (0..500).map(|at| {
            json!({"id": 5 + at, "content": format!("{at:0>1000}"), "normalized": at % 2 == 0, "special": at % 3 == 0,
                "single_word": false, "lstrip": true, "rstrip": true})
        });
        json["added_tokens"].as_array_mut().unwrap().extend(tokens);
    });
    let begin = Instant::now();
    let tokenizer = Tokenizer::from_folder(folder.path()).unwrap();
    let encoding = tokenizer.encode(&"a ".repeat(5000), None, None).unwrap();
    assert_eq!(encoding.ids.len(), 5001);
    assert!(begin.elapsed() < 4 * QUICK, "{:?}", begin.elapsed());
}

#[cfg(unix)]
#[test]
fn pipes_and_pointers_are_refused() {
    let folder = folder(|_, _| ());
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n";
    for name in [
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
    ] {
        let path = folder.path().join(name);
        let before = fs::read(&path).ok();
        fs::write(&path, pointer).unwrap();
        says(&folder, "git lfs pull");
        fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        says(&folder, "it is a pipe");
        fs::remove_file(&path).unwrap();
        if let Some(before) = before {
            fs::write(&path, before).unwrap();
        }
    }
}
