//! Records of labelled spans as sequences: which tokens a span has, and what becomes of long records.

use std::path::Path;

use bertology::LoadedModel;
use bertology::data::edge::{Record, Target, WrittenText};
use bertology::input::spans::{AlignedRecord, LongRecords, SpanAligner, SpanOptions};
use bertology::input::treebank::InputMode;

fn model(name: &str) -> LoadedModel {
    LoadedModel::open(bertology_testkit::workspace().join("assets").join(name)).unwrap()
}

fn aligner(model: &LoadedModel, options: SpanOptions) -> SpanAligner {
    SpanAligner::new(model, &options).unwrap()
}

fn align(aligner: &SpanAligner, record: &Record) -> AlignedRecord {
    aligner.align(Path::new("file.jsonl"), record).unwrap()
}

/// A record with every word as a target.
fn every_word(text: &str) -> Record {
    let mut record = Record::of_words(text.split(' '));
    record.targets = (0..record.words().count())
        .map(|at| Target::new(at..at + 1, None, "x"))
        .collect();
    record
}

/// Words that tokenizers and aligners have stumbled over.
const HARD: [&str; 16] = [
    "Élan",
    "the",
    "Zzyzx",
    "\u{200b}",
    "a\u{ad}b",
    "\u{ad}",
    "x\u{200d}y",
    "🦀",
    "👩‍👩‍👧",
    "-LRB-",
    "``",
    "''",
    "\"",
    "naïve",
    "漢字",
    ".",
];

#[test]
fn every_word_has_tokens_and_they_are_in_order() {
    let long = "pneumono".repeat(20);
    let texts = [
        HARD.join(" "),
        format!("{long} the {long}"),
        HARD.iter().rev().copied().collect::<Vec<_>>().join(" "),
    ];
    for name in ["tiny-bert", "tiny-gpt", "tiny-gpt2"] {
        let model = model(name);
        let options = SpanOptions {
            too_long: LongRecords::Window,
            ..SpanOptions::default()
        };
        let aligner = aligner(&model, options);
        for text in &texts {
            let record = every_word(text);
            let found = align(&aligner, &record);
            let mut end = (0, 0);
            for target in found.targets.iter().flatten() {
                let tokens = &target.span1;
                assert!(!tokens.is_empty(), "{name} {text}");
                assert!(tokens.end <= found.sequences[target.sequence].len());
                if target.sequence == end.0 {
                    assert!(end.1 <= tokens.start, "{name} {text}");
                }
                end = (target.sequence, tokens.end);
            }
            assert_eq!(found.counts.words, record.targets.len() as u64);
        }
    }
}

/// `tokenizer(words, is_split_into_words=True).word_ids()` of transformers 4.57.6 (GPT-2 with `add_prefix_space=True`):
/// how many tokens each of [`HARD`] has. Where it gives none, ours is one unknown token.
#[test]
fn words_have_the_tokens_that_transformers_gives_them() {
    for (name, expected) in [
        (
            "tiny-bert",
            [4, 1, 5, 0, 2, 0, 2, 1, 1, 5, 2, 2, 1, 5, 2, 1],
        ),
        ("tiny-gpt", [2, 1, 5, 0, 2, 0, 2, 1, 3, 5, 2, 2, 1, 3, 2, 1]),
        (
            "tiny-gpt2",
            [5, 1, 6, 4, 4, 3, 6, 5, 19, 6, 3, 3, 2, 5, 7, 2],
        ),
    ] {
        let model = model(name);
        let options = SpanOptions {
            too_long: LongRecords::Window,
            ..SpanOptions::default()
        };
        let found = align(&aligner(&model, options), &every_word(&HARD.join(" ")));
        let tokens = found
            .targets
            .iter()
            .map(|target| target.clone().unwrap().span1.len());
        let expected = expected.map(|count: usize| count.max(1));
        assert_eq!(tokens.collect::<Vec<_>>(), expected, "{name}");
    }
}

/// The tokens of a span, without their markers, are its characters.
#[test]
fn the_tokens_of_a_span_spell_it() {
    let text = "The women admire the horses ( quickly ) .";
    for name in ["tiny-bert", "tiny-gpt", "tiny-gpt2"] {
        let model = model(name);
        let aligner = aligner(&model, SpanOptions::default());
        let words: Vec<&str> = text.split(' ').collect();
        let mut record = Record::of_words(words.iter().copied());
        for start in 0..words.len() {
            for end in start + 1..=words.len() {
                record
                    .targets
                    .push(Target::new(start..end, Some(0..1), "x"));
            }
        }
        let found = align(&aligner, &record);
        let tokenizer = model.tokenizer().unwrap();
        let ids = &found.sequences[0];
        for (target, place) in record.targets.iter().zip(&found.targets) {
            let tokens = place.as_ref().unwrap().span1.clone();
            let spelt: String = ids[tokens]
                .iter()
                .map(|id| tokenizer.id_to_token(*id).unwrap())
                .map(|token| token.replace("##", "").replace("</w>", "").replace('Ġ', ""))
                .collect();
            let mut expected = words[target.span1.clone()].concat();
            let lowered = name != "tiny-gpt2";
            if lowered {
                expected = expected.to_lowercase();
            }
            if !spelt.contains("[UNK]") && !spelt.contains("<unk>") {
                assert_eq!(spelt, expected, "{name}");
            }
        }
    }
}

/// A text as the tokenizers here see it, without its spaces: those of BERT and GPT lower its letters, take accents away and
/// leave control and format characters out; that of GPT-2 keeps all bytes.
fn plain(text: &str, bytes: bool) -> Vec<u8> {
    let kept = text.chars().filter(|c| !c.is_whitespace());
    if bytes {
        return kept.collect::<String>().into_bytes();
    }
    let mut plain = String::new();
    for letter in kept.flat_map(char::to_lowercase) {
        let control = letter.is_control() || ('\u{200b}'..='\u{200f}').contains(&letter);
        // Marks that stand behind the letter that they belong to.
        let mark = ('\u{300}'..='\u{36f}').contains(&letter) || letter == '\u{fe0f}';
        if control || mark || letter == '\u{ad}' || letter == '\u{feff}' {
            continue;
        }
        plain.push(match letter {
            'à'..='å' => 'a',
            'ç' => 'c',
            'è'..='ë' => 'e',
            'ì'..='ï' => 'i',
            'ñ' => 'n',
            'ò'..='ö' => 'o',
            'ù'..='ü' => 'u',
            other => other,
        });
    }
    plain.into_bytes()
}

/// The characters that stand for bytes in GPT-2's vocabulary (Radford et al. 2019, `bytes_to_unicode`).
fn byte(character: char) -> u8 {
    let shown = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let code = u32::from(character);
    match u8::try_from(code).ok().filter(shown) {
        Some(byte) => byte,
        // The others follow from 256 on, in their order.
        None => (0..=255_u8)
            .filter(|byte| !shown(byte))
            .nth(code as usize - 256)
            .unwrap(),
    }
}

/// How many spans of records are spelt by their tokens without markers, of how many; those with an unknown token apart.
#[derive(Debug, Default, PartialEq)]
struct Spelt {
    right: u64,
    spans: u64,
    unknown: u64,
}

fn spelling(model: &LoadedModel, bytes: bool, records: impl Iterator<Item = Record>) -> Spelt {
    let options = SpanOptions {
        too_long: LongRecords::Window,
        ..SpanOptions::default()
    };
    let aligner = aligner(model, options);
    let tokenizer = model.tokenizer().unwrap();
    let unknown = tokenizer.unk_id().filter(|_| !bytes);
    let mut spelt = Spelt::default();
    for record in records {
        let found = align(&aligner, &record);
        let words: Vec<&str> = record.words().collect();
        for (target, place) in record.targets.iter().zip(&found.targets) {
            // No model here reads the whole of a very long word.
            let Some(place) = place else {
                continue;
            };
            let sequence = &found.sequences[place.sequence];
            let spans = [Some(&target.span1), target.span2.as_ref()];
            let tokens = [Some(&place.span1), place.span2.as_ref()];
            for (span, tokens) in spans.into_iter().zip(tokens) {
                let (Some(span), Some(tokens)) = (span, tokens) else {
                    continue;
                };
                let ids = &sequence[tokens.clone()];
                spelt.spans += 1;
                if ids.iter().any(|id| Some(*id) == unknown) {
                    spelt.unknown += 1;
                    continue;
                }
                let pieces = ids.iter().map(|id| tokenizer.id_to_token(*id).unwrap());
                let pieces = pieces.map(|piece| match bytes {
                    true => piece
                        .chars()
                        .map(byte)
                        .filter(|byte| *byte != b' ')
                        .collect(),
                    false => {
                        let piece = piece.strip_prefix("##").unwrap_or(&piece).to_owned();
                        piece.replace("</w>", "").into_bytes()
                    }
                });
                let pieces: Vec<Vec<u8>> = pieces.collect();
                spelt.right +=
                    u64::from(pieces.concat() == plain(&words[span.clone()].concat(), bytes));
            }
        }
    }
    spelt
}

/// Relations of the built-in treebank, and every pair of words of the hard ones: what the tokens of a span say is what its
/// words say.
#[test]
fn the_tokens_of_every_span_spell_it() {
    use bertology::data::edge::convert::{Conversion, UdTask};
    let path = bertology_testkit::workspace().join("assets/grammar/dev.conllu");
    let long = "pneumono".repeat(20);
    let hard: Vec<&str> = HARD.iter().copied().chain([long.as_str(), "the"]).collect();
    let mut all = Record::of_words(hard.iter().copied());
    for start in 0..hard.len() {
        for end in start + 1..=hard.len().min(start + 3) {
            all.targets.push(Target::new(start..end, None, "x"));
        }
    }
    for (name, bytes) in [
        ("tiny-bert", false),
        ("tiny-gpt", false),
        ("tiny-gpt2", true),
    ] {
        let model = model(name);
        let records = Conversion::ud(&path, UdTask::Dependencies(Default::default())).unwrap();
        let found = spelling(&model, bytes, records.map(Result::unwrap));
        assert!(found.spans > 2000, "{name}: {found:?}");
        assert_eq!(
            (found.right, found.unknown),
            (found.spans, 0),
            "{name}: {found:?}"
        );
        let found = spelling(&model, bytes, std::iter::once(all.clone()));
        assert_eq!(
            found.right + found.unknown,
            found.spans,
            "{name}: {found:?}"
        );
        assert!(found.right > 5, "{name}: {found:?}");
        assert_eq!(found.unknown == 0, bytes, "{name}: {found:?}");
    }
}

/// What a word is made of does not depend on whether it comes first.
#[test]
fn the_first_word_is_encoded_as_all_others() {
    for name in ["tiny-gpt2", "tiny-bert", "tiny-gpt"] {
        let model = model(name);
        let aligner = aligner(&model, SpanOptions::default());
        for word in ["women", "Élan", "the"] {
            let found = align(&aligner, &every_word(&format!("{word} the {word}")));
            let ids = |at: usize| {
                let tokens = found.targets[at].clone().unwrap().span1;
                found.sequences[0][tokens].to_vec()
            };
            assert_eq!(ids(0), ids(2), "{name} {word}");
        }
    }
}

#[test]
fn gpt2_begins_with_its_token_unless_told_otherwise() {
    let model = model("tiny-gpt2");
    let record = every_word("the women");
    let bos = model.tokenizer().unwrap().bos_id().unwrap();
    let ids = |bos| {
        let options = SpanOptions {
            bos,
            ..SpanOptions::default()
        };
        align(&aligner(&model, options), &record).sequences[0].clone()
    };
    let (with, without) = (ids(None), ids(Some(false)));
    assert_eq!(with[0], bos);
    assert_eq!(with[1..], without);
    assert_eq!(ids(Some(true)), with);
}

#[test]
fn a_word_of_which_nothing_is_left_is_one_unknown_token() {
    let model = model("tiny-bert");
    let aligner = aligner(&model, SpanOptions::default());
    let found = align(&aligner, &every_word("the \u{200b} \u{200d}\u{ad} women"));
    let unknown = model.tokenizer().unwrap().unk_id().unwrap();
    let ids = &found.sequences[0];
    for at in [1, 2] {
        let tokens = found.targets[at].clone().unwrap().span1;
        assert_eq!(ids[tokens], [unknown]);
    }
    let counts = found.counts;
    assert_eq!((counts.words_without_pieces, counts.unknown_words), (2, 0));
}

/// `don't`, written as one, may be a token that is a part of both words.
#[test]
fn words_of_a_written_text_may_have_a_token_in_common() {
    let model = model("tiny-bert");
    let options = SpanOptions {
        input: InputMode::Text,
        ..SpanOptions::default()
    };
    let aligner = aligner(&model, options);
    let mut record = every_word("wom en the du du \u{ad}");
    record.set_written(&WrittenText {
        text: "women the women \u{ad}".to_owned(),
        words: vec![0..3, 3..5, 6..9, 10..15, 10..15, 16..17],
    });
    let found = align(&aligner, &record);
    let spans = found
        .targets
        .iter()
        .map(|target| target.clone().unwrap().span1);
    // "women" is one token of the built-in model, and of the last word nothing is left.
    let spans: Vec<_> = spans.collect();
    assert_eq!(spans, [1..2, 1..2, 2..3, 3..4, 3..4, 4..5]);
    let counts = found.counts;
    assert_eq!((counts.sharing_words, counts.words_without_pieces), (1, 1));
    // A record that does not keep it.
    let bare = every_word("the women");
    let refused = aligner.align(Path::new("f.jsonl"), &bare).unwrap_err();
    assert!(refused.to_string().contains("`info.raw`"), "{refused}");
}

/// Ten words of one token each for a model that is told to read eight with its special tokens.
fn long(too_long: LongRecords, spans: &[(usize, usize)]) -> (AlignedRecord, Vec<u32>) {
    let model = model("tiny-bert");
    let options = SpanOptions {
        max_length: Some(8),
        too_long,
        ..SpanOptions::default()
    };
    let aligner = aligner(&model, options);
    let words = "the women admire the horses the women admire the horses";
    let mut record = Record::of_words(words.split(' '));
    for (first, second) in spans {
        let (one, other) = (*first..first + 1, *second..second + 1);
        record.targets.push(Target::new(one, Some(other), "x"));
    }
    let whole = model
        .tokenizer()
        .unwrap()
        .encode(words, None, None)
        .unwrap();
    assert_eq!(whole.len(), 12);
    (align(&aligner, &record), whole.ids)
}

#[test]
fn a_span_that_ends_at_the_limit_is_kept_and_one_past_it_is_dropped() {
    let (found, whole) = long(LongRecords::Drop, &[(0, 5), (5, 0), (0, 6), (6, 0), (9, 9)]);
    let kept: Vec<bool> = found.targets.iter().map(Option::is_some).collect();
    assert_eq!(kept, [true, true, false, false, false]);
    assert_eq!((found.counts.dropped, found.counts.too_long), (3, 1));
    assert_eq!(found.sequences.len(), 1);
    assert_eq!(found.sequences[0][..7], whole[..7]);
    assert_eq!(found.sequences[0][7], whole[11]);
    let target = found.targets[0].clone().unwrap();
    assert_eq!((target.span1, target.span2), (1..2, Some(6..7)));
    let (nothing, _) = long(LongRecords::Drop, &[(9, 9)]);
    assert!(nothing.sequences.is_empty());
}

#[test]
fn a_window_has_both_spans_in_its_middle() {
    let targets = [(4, 5), (5, 4), (0, 1), (9, 8), (2, 7), (1, 7)];
    let (found, whole) = long(LongRecords::Window, &targets);
    // Six words fit. Those of the middle have two before and two behind; the ends have no more.
    let starts: Vec<Option<usize>> = found
        .targets
        .iter()
        .map(|target| {
            let target = target.as_ref()?;
            let ids = &found.sequences[target.sequence];
            assert_eq!((ids.len(), ids[0], ids[7]), (8, whole[0], whole[11]));
            (1..6).find(|start| whole[*start..start + 6] == ids[1..7])
        })
        .collect();
    assert_eq!(found.targets.iter().filter(|t| t.is_none()).count(), 1);
    let target = |at: usize| found.targets[at].clone().unwrap();
    assert_eq!((target(0).span1, target(0).span2), (3..4, Some(4..5)));
    assert_eq!(target(0).sequence, target(1).sequence);
    assert_eq!((target(2).span1, target(2).span2), (1..2, Some(2..3)));
    assert_eq!((target(3).span1, target(3).span2), (6..7, Some(5..6)));
    assert_eq!((target(4).span1, target(4).span2), (1..2, Some(6..7)));
    assert_eq!(found.targets[5], None);
    // The words repeat after five, so that windows that begin five apart are the same.
    assert!(starts[..5].iter().all(Option::is_some));
    assert_eq!(found.counts.dropped, 1);
}

#[test]
fn long_records_are_errors_unless_told_otherwise() {
    let model = model("tiny-bert");
    let options = SpanOptions {
        max_length: Some(8),
        ..SpanOptions::default()
    };
    let aligner = aligner(&model, options);
    let mut record = every_word("the women admire the horses the women");
    record.line = 7;
    let refused = aligner.align(Path::new("f.jsonl"), &record).unwrap_err();
    let refused = refused.to_string();
    assert!(refused.contains("f.jsonl, line 7: 9 tokens"), "{refused}");
    let options = SpanOptions {
        max_length: Some(2),
        ..SpanOptions::default()
    };
    assert!(SpanAligner::new(&model, &options).is_err());
}

/// The sentences of the built-in corpus: every word as it is written in it.
#[test]
fn the_built_in_treebank_is_aligned_in_both_modes() {
    let model = model("tiny-bert");
    let path = bertology_testkit::workspace().join("assets/grammar/dev.conllu");
    for input in [InputMode::Words, InputMode::Text] {
        let options = SpanOptions {
            input,
            ..SpanOptions::default()
        };
        let aligner = aligner(&model, options);
        let records = bertology::data::edge::convert::Conversion::ud(
            &path,
            bertology::data::edge::convert::UdTask::Upos,
        );
        let mut words = 0;
        for record in records.unwrap() {
            let found = align(&aligner, &record.unwrap());
            assert_eq!((found.counts.dropped, found.counts.sharing_words), (0, 0));
            words += found.counts.words;
        }
        assert!(words > 1000, "{words}");
    }
}
