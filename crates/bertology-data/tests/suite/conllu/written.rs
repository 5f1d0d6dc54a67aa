//! The text of a sentence and the place of its words.

use bertology_data::conllu::{Sentence, SpannedText};

use super::{message, path, read, sentence};

/// What the text has at each word's span, and the range that shares it.
fn words(text: &SpannedText) -> Vec<(String, Option<usize>)> {
    let cut = |span: &bertology_data::conllu::WordSpan| {
        let characters = text.text.chars();
        let skipped = characters.skip(span.characters.start);
        skipped.take(span.characters.len()).collect::<String>()
    };
    let spans = text.spans.iter();
    spans.map(|span| (cut(span), span.shared)).collect()
}

fn own(forms: &[&str]) -> Vec<(String, Option<usize>)> {
    forms
        .iter()
        .map(|form| ((*form).to_owned(), None))
        .collect()
}

fn written(sentence: &Sentence) -> SpannedText {
    sentence
        .written_text(path())
        .expect("text and tokens agree")
}

fn refused(rows: &[&str]) -> String {
    let written = sentence(rows).written_text(path());
    message(&written.expect_err("text and tokens disagree"))
}

const CLITICS: [&str; 6] = [
    "1-2 don't",
    "1 do 0 root SpaceAfter=No",
    "2 n't 1 advmod",
    "3 naïve 1 obj SpaceAfter=No",
    "4 — 1 punct SpaceAfter=No",
    "5 😀 1 dep",
];

#[test]
fn words_joined_by_single_spaces() {
    let text = sentence(&CLITICS).spaced_text();
    assert_eq!(text.text, "do n't naïve — 😀");
    assert_eq!(words(&text), own(&["do", "n't", "naïve", "—", "😀"]));
    let last = text.spans.last().unwrap();
    assert_eq!(last.characters, 15..16, "characters, not bytes");
}

#[test]
fn without_text_the_tokens_are_put_together() {
    let text = written(&sentence(&CLITICS));
    assert_eq!(text.text, "don't naïve—😀");
    assert_eq!(words(&text), own(&["do", "n't", "naïve", "—", "😀"]));
}

#[test]
fn the_text_is_kept_as_it_is_written() {
    let mut sentence = sentence(&CLITICS);
    sentence.text = Some("don't  naïve — \u{a0}😀 ".to_owned());
    let text = written(&sentence);
    assert_eq!(Some(&text.text), sentence.text.as_ref());
    assert_eq!(words(&text), own(&["do", "n't", "naïve", "—", "😀"]));
}

#[test]
fn a_token_that_is_not_its_words_is_shared() {
    let rows = [
        "# text = Il va au marché du soir.",
        "1 Il 2 nsubj",
        "2 va 0 root",
        "3-4 au",
        "3 à 5 case",
        "4 le 5 det",
        "5 marché 2 obl",
        "6-7 du _ _ SpaceAfter=Yes",
        "6 de 8 case",
        "7 le 8 det",
        "8 soir 5 nmod SpaceAfter=No",
        "9 . 2 punct",
    ];
    let shared = |form: &str, range| (form.to_owned(), Some(range));
    let mut expected = own(&["Il", "va"]);
    expected.extend([shared("au", 0), shared("au", 0)]);
    expected.extend(own(&["marché"]));
    expected.extend([shared("du", 1), shared("du", 1)]);
    expected.extend(own(&["soir", "."]));
    let with = written(&sentence(&rows));
    assert_eq!(words(&with), expected);
    assert_eq!(
        written(&sentence(&rows[1..])),
        with,
        "SpaceAfter says the same"
    );
}

#[test]
fn parts_must_add_up_to_the_whole_token() {
    // `can` and `no` begin `cannot`, but one letter is left.
    let text = written(&sentence(&["1-2 cannot", "1 can 0 root", "2 no 1 advmod"]));
    assert_eq!(text.spans[0].shared, Some(0));
    assert_eq!(text.spans[1].characters, 0..6);
}

#[test]
fn a_form_may_be_white_space() {
    let rows = [
        "1 a 0 root SpaceAfter=No",
        "2 \u{3000} 1 punct SpaceAfter=No",
        "3 b 1 dep",
    ];
    let mut sentence = sentence(&rows);
    sentence.text = Some("a\u{3000}b".to_owned());
    assert_eq!(words(&written(&sentence)), own(&["a", "\u{3000}", "b"]));
}

#[test]
fn text_and_tokens_must_agree() {
    let rows = [
        "# sent_id = s",
        "# text = a cat sat",
        "1 a 2 det",
        "2 dog 0 root",
    ];
    assert_eq!(
        refused(&rows),
        "a.conllu, line 4, sentence `s`: `# text` goes on with `cat sat` after 2 characters, \
         expected the token `dog`; make them agree (where they look alike, one is not in Unicode \
         normal form C)"
    );
    let composed = ["# text = caf\u{e9}", "1 cafe\u{301} 0 root"];
    assert!(refused(&composed).contains("one is not in Unicode normal form C"));
    assert!(refused(&["# text = a", "1 a 0 root", "2 b 1 dep"]).contains("goes on with ``"));
    assert_eq!(
        refused(&["# sent_id = s", "# text = a b c", "1 a 0 root"]),
        "a.conllu, line 1, sentence `s`: `# text` still has `b c` after the last token; make text \
         and tokens agree"
    );
    // White space alone may be passed over: `b` does not count as found behind `x`.
    assert!(refused(&["# text = a x b", "1 a 0 root", "2 b 1 dep"]).contains("goes on with `x b`"));
    assert!(
        refused(&[
            "# text = do n't",
            "1-2 don't",
            "1 do 0 root",
            "2 n't 1 advmod"
        ])
        .contains("line 2: `# text` goes on with `do n't`")
    );
}

#[test]
fn a_token_without_form_needs_a_text() {
    assert_eq!(
        refused(&["1-2 _", "1 do 0 root", "2 n't 1 advmod"]),
        "a.conllu, line 1: the sentence has no `# text`, and the multiword token 1-2 has no form; \
         write one of them"
    );
}

#[test]
fn spaced_text_needs_no_text() {
    let (sentences, _) = read("1\t_\t_\t_\t_\t_\t0\troot\t_\t_\n").unwrap();
    assert_eq!(sentences[0].spaced_text().text, "_");
}
