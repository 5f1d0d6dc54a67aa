//! Mentions from the brackets of `Entity=`.

use std::collections::BTreeMap;

use bertology_data::conllu::{Mention, Mentions, Treebank};

use super::{documents, grammar, lines, message, path};

/// The mentions of the only document of these sentences.
fn mentions(sentences: &[&[&str]]) -> Mentions {
    let text: String = sentences.iter().map(|rows| lines(rows)).collect();
    let documents = documents(text).expect("the sentences can be read");
    assert_eq!(documents.len(), 1);
    documents[0]
        .mentions(path())
        .expect("the mentions can be read")
}

fn refused(rows: &[&str]) -> String {
    let documents = documents(lines(rows)).expect("the sentence can be read");
    let error = documents[0].mentions(path()).expect_err("must be refused");
    message(&error)
}

/// `entity sentence words head`.
fn brief(mentions: &Mentions) -> Vec<String> {
    let brief = |m: &Mention| format!("{} {} {:?} {}", m.entity, m.sentence, m.words, m.head());
    mentions.mentions.iter().map(brief).collect()
}

#[test]
fn nested_glued_and_crossing() {
    let first = [
        "1 the 2 det Entity=(e1-person-2(e2-person-2",
        "2 woman 5 nsubj SpaceAfter=No|Entity=e2)",
        "3 and 4 cc Entity=(e3--1",
        "4 I 2 conj Entity=(e4-person-1)e1)",
        "5 saw 0 root Entity=e3)(e5-event-1)",
    ];
    let second = ["1 her 2 obj Entity=(e2-person-1)", "2 x 0 root"];
    let found = mentions(&[&first, &second]);
    assert_eq!(
        brief(&found),
        [
            "e1 0 0..4 1",
            "e2 0 0..2 1",
            "e3 0 2..5 2",
            "e4 0 3..4 3",
            "e5 0 4..5 4",
            "e2 1 0..1 0",
        ]
    );
    let types: Vec<_> = found
        .mentions
        .iter()
        .map(|m| m.entity_type.as_deref())
        .collect();
    let person = Some("person");
    assert_eq!(types, [person, person, None, person, Some("event"), person]);
    assert_eq!((found.mentions[0].line, found.mentions[5].line), (1, 7));
    assert_eq!(found.entities(), 5);
    assert_eq!(found.chains()["e2"], [1, 5]);
    assert_eq!((found.discontinuous, found.without_words), (0, 0));
}

#[test]
fn one_entity_within_itself_closes_from_within() {
    let rows = [
        "1 a 0 root Entity=(e1-x-1",
        "2 b 1 dep Entity=(e1-x-1",
        "3 c 2 dep Entity=e1)",
        "4 d 1 dep Entity=e1)",
    ];
    assert_eq!(brief(&mentions(&[&rows])), ["e1 0 0..4 0", "e1 0 1..3 1"]);
}

#[test]
fn the_head_is_given_or_by_the_tree() {
    // Words 2 and 3 both have their head outside; the file prefers the second of them.
    let tree = |opening: &str| {
        let first = format!("2 b 1 dep Entity={opening}");
        let rows = ["1 a 0 root", &first, "3 c 1 dep", "4 d 3 dep Entity=e1)"];
        let found = mentions(&[&rows]);
        let mention = &found.mentions[0];
        (mention.given_head, mention.tree_head, mention.head())
    };
    assert_eq!(tree("(e1-x-2"), (Some(2), 1, 2));
    assert_eq!(tree("(e1-x-"), (None, 1, 1));
    assert_eq!(tree("(e1"), (None, 1, 1));
    let whole = mentions(&[&["1 a 2 dep Entity=(e1", "2 b 0 root Entity=e1)"]]);
    assert_eq!(
        whole.mentions[0].tree_head, 1,
        "the root has no head at all"
    );
}

#[test]
fn the_layout_is_declared() {
    let with = |layout: &str, opening: &str| {
        let comment = format!("# global.Entity = {layout}");
        let first = format!("1 a 0 root Entity={opening}");
        let found = mentions(&[&[&comment, &first, "2 b 1 dep Entity=e1)"]]);
        let mention = &found.mentions[0];
        (mention.entity_type.clone(), mention.given_head)
    };
    let person = || Some("person".to_owned());
    assert_eq!(with("eid-etype-head", "(e1-person-2"), (person(), Some(1)));
    assert_eq!(with("eid-head-etype", "(e1-2-person"), (person(), Some(1)));
    assert_eq!(with("GRP-etype-infstat", "(e1-person-2"), (person(), None));
    assert_eq!(with("eid", "(e1"), (None, None));
    let gum = "eid-etype-head-minspan-identity";
    assert_eq!(with(gum, "(e1-person-2-1,2-Coca-Cola"), (person(), Some(1)));
    assert_eq!(
        with("eid-etype-head-other", "(e1-person-2-x:a-b"),
        (person(), Some(1))
    );
}

#[test]
fn a_declaration_holds_until_the_next() {
    let declared = ["# global.Entity = eid-head", "1 a 0 root Entity=(e1-1)"];
    let later = ["1 a 0 root Entity=(e1-1)"];
    let other = ["# global.Entity = eid-etype", "1 a 0 root Entity=(e1-1)"];
    let found = mentions(&[&declared, &later, &other, &later]);
    let heads: Vec<_> = found.mentions.iter().map(|m| m.given_head).collect();
    assert_eq!(heads, [Some(0), Some(0), None, None]);
    let text = [&declared[..], &["1 b 0 root"]]
        .map(lines)
        .join("# newdoc\n");
    let layout = documents(text).unwrap()[1].sentences[0]
        .entity_layout
        .clone();
    assert_eq!(
        layout.as_deref(),
        Some("eid-head"),
        "also in the next document"
    );
}

#[test]
fn mentions_in_parts_are_left_out_and_counted() {
    let rows = [
        "1 a 0 root Entity=(e5[1/2]-x-1(e6-x-1)",
        "2 b 1 dep Entity=e5[1/2])(e7[1/3]-x-1)",
        "3 c 1 dep Entity=(e5[2/2]-x-1)(e7[2/3]-x-1)",
        "4 d 1 dep Entity=(e7[3/3]-x-1)",
    ];
    let found = mentions(&[&rows]);
    assert_eq!(brief(&found), ["e6 0 0..1 0"]);
    assert_eq!(found.discontinuous, 2);
    for part in ["[1]", "[0/2]", "[3/2]", "[1/1]", "[1/2", "[a/b]"] {
        let message = refused(&[&format!("1 a 0 root Entity=(e5{part}-x-1)")]);
        assert!(message.contains("does not name a part"), "{message}");
    }
}

#[test]
fn mentions_on_empty_nodes() {
    let rows = [
        "0.1 p _ _ Entity=(e1-x-1)(e2-x-2",
        "1 a 2 dep",
        "2 b 0 root Entity=e2)(e3-x-2",
        "2.1 q _ _ Entity=e3)(e4-x-1",
        "3 c 2 dep Entity=e4)",
    ];
    let found = mentions(&[&rows]);
    assert_eq!(brief(&found), ["e2 0 0..2 0", "e3 0 1..2 1", "e4 0 2..3 2"]);
    assert_eq!(found.without_words, 1, "e1 has no word");
    assert_eq!(found.heads_on_empty_nodes, 2, "of e3 and e4");
}

#[test]
fn no_coreference_is_no_fault() {
    assert_eq!(mentions(&[&["1 a 0 root"]]), Mentions::default());
    // Nothing was to be read with it.
    assert_eq!(
        mentions(&[&["# global.Entity = x", "1 a 0 root"]]),
        Mentions::default()
    );
}

#[test]
fn brackets_that_cannot_be_read() {
    assert_eq!(
        refused(&["# sent_id = s", "1 a 0 root Entity=(e1-x-1)e2"]),
        "a.conllu, line 2, sentence `s`: `Entity=(e1-x-1)e2` cannot be read at `e2`; expected \
         `(entity-...` to open a mention, `entity)` to close it and `(entity-...)` for a mention \
         of one word"
    );
    for value in ["_", "(", "()", ")", "(e1((e2", "e1(e2)", "(-x-1)"] {
        let message = refused(&[&format!("1 a 0 root Entity={value}")]);
        assert!(message.contains("cannot be read at"), "{value}: {message}");
    }
}

#[test]
fn mentions_end_in_their_sentence() {
    assert_eq!(
        refused(&["1 a 0 root", "2 b 1 dep Entity=(e1-x-1"]),
        "a.conllu, line 2: the mention of `e1` that opens here is not closed before its sentence \
         ends; a mention lies within one sentence, so add `e1)`"
    );
    assert_eq!(
        refused(&["1 a 0 root", "2 b 1 dep Entity=e1)"]),
        "a.conllu, line 2: `e1)` closes a mention that was not opened in this sentence; add \
         `(e1-...` or remove it"
    );
}

/// As GUM wrote them before CorefUD: type and number are the name, and nothing is declared.
const OLD: [&str; 3] = [
    "1 The 2 det Entity=(person-1",
    "2 women 0 root Entity=person-1)",
    "3 they 2 x Entity=(person-1)",
];

#[test]
fn brackets_of_old_releases_are_told_how_to_be_read() {
    assert_eq!(
        refused(&OLD),
        "a.conllu, line 2: `person-1)` closes the mention that `(person-1` opens, but that was read as \
         a mention of `person`, since the file declares no `# global.Entity`, and CorefUD's layout has \
         the entity up to the first hyphen; where the brackets hold nothing but the entity's name, put \
         the line `# global.Entity = eid` on top of the file"
    );
    let declared = |layout: &'static str| [&[layout], OLD.as_slice()].concat();
    let wrong = refused(&declared("# global.Entity = etype-eid"));
    assert!(
        wrong.contains("`# global.Entity = etype-eid` says so"),
        "{wrong}"
    );
    // What the message advises.
    let mentions = mentions(&[&declared("# global.Entity = eid")]);
    assert_eq!(brief(&mentions), ["person-1 0 0..2 1", "person-1 0 2..3 2"]);
}

#[test]
fn heads_lie_within_their_mention() {
    for head in ["0", "2", "x", "1,1"] {
        let message = refused(&[&format!("1 a 0 root Entity=(e1-x-{head})")]);
        let expected = format!("has head `{head}`, expected a number from 1 to 1");
        assert!(message.contains(&expected), "{message}");
    }
}

#[test]
fn layouts_that_cannot_be_used() {
    let declared = |layout: &str| {
        refused(&[
            &format!("# global.Entity = {layout}"),
            "1 a 0 root Entity=(e1-x-1-y)",
        ])
    };
    assert_eq!(
        declared("etype-head"),
        "a.conllu, line 1: `# global.Entity = etype-head` has no field `eid`; expected names \
         joined by `-`, such as eid-etype-head-other"
    );
    assert!(declared("eid-eid").contains("names a field twice"));
    assert_eq!(
        declared("eid-etype-head"),
        "a.conllu, line 2: the mention `(e1-x-1-y` has more fields than `# global.Entity` declares \
         (eid-etype-head); declare the layout of this file"
    );
}

#[test]
fn words_carry_mentions_and_ranges_do_not() {
    let message = refused(&["1-2 du _ _ Entity=(e1-x-1)", "1 de 0 root", "2 le 1 dep"]);
    assert!(
        message.contains("the multiword token 1-2 has an Entity"),
        "{message}"
    );
}

/// Counts by an independent program over the same file.
#[test]
fn the_grammar_corpus_has_its_mentions() {
    let mut types: BTreeMap<String, usize> = BTreeMap::new();
    let (mut entities, mut found) = (0, 0);
    for document in Treebank::new(&grammar()).open_documents().unwrap() {
        let mentions = document.unwrap().mentions(&grammar()).unwrap();
        assert_eq!(mentions.discontinuous + mentions.without_words, 0);
        entities += mentions.entities();
        found += mentions.mentions.len();
        for mention in mentions.mentions {
            assert_eq!(mention.given_head, Some(mention.tree_head));
            *types.entry(mention.entity_type.unwrap()).or_default() += 1;
        }
    }
    assert_eq!((found, entities), (2750, 2285));
    let types: Vec<_> = types
        .iter()
        .map(|(name, count)| (name.as_str(), *count))
        .collect();
    let expected = [
        ("animal", 138),
        ("object", 214),
        ("person", 2173),
        ("place", 225),
    ];
    assert_eq!(types, expected);
}
