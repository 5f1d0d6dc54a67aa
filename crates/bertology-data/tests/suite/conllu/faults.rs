//! Every sentence that is refused, and what is said of it.

use bertology_data::DataError;
use bertology_data::conllu::TreebankFault;

use super::{lines, message, read};

fn refused(content: impl AsRef<[u8]>) -> String {
    message(&read(content).expect_err("the file must be refused"))
}

fn fault(rows: &[&str]) -> String {
    refused(lines(rows))
}

#[test]
fn the_place_is_named() {
    let rows = ["# sent_id = weblog-1", "1 a 0 root", "2 b 2 dep"];
    assert_eq!(
        fault(&rows),
        "a.conllu, line 3, sentence `weblog-1`: word 2 is its own HEAD; give it another one, or 0 \
         if it is the root"
    );
    assert!(fault(&rows[1..]).starts_with("a.conllu, line 2: word 2 is"));
    match read(lines(&rows)) {
        Err(DataError::Treebank { fault, line: 3, .. }) => {
            assert_eq!(*fault, TreebankFault::OwnHead { id: 2 });
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn ten_fields() {
    let spaces = "1 a a X X _ 0 root _ _\n";
    assert_eq!(
        refused(spaces),
        "a.conllu, line 1: 1 field, expected 10 separated by tabs; if there are spaces between \
         the fields, write tabs"
    );
    let nine = "1\ta\ta\tX\tX\t_\t0\troot\t_\n";
    assert_eq!(
        refused(nine),
        "a.conllu, line 1: 9 fields, expected 10 separated by tabs; check for a missing field, or \
         for a tab within one"
    );
    let eleven = "1\ta\ta\tX\tX\t_\t0\troot\t_\t_\t_\n";
    assert!(refused(eleven).contains("11 fields"));
    assert!(
        refused("\t\t\t\n").contains("4 fields"),
        "tabs are no blank line"
    );
    let word = "1\ta\ta\tX\tX\t_\t0\troot\t_\t_\n";
    for (tabs, fields) in [("\t", 2), (" \t \t", 3), ("\t\t\t\t\t\t\t\t\t", 10)] {
        assert_eq!(
            refused(format!("{word}{tabs}\n{word}")),
            format!(
                "a.conllu, line 2: the line looks blank, but its tabs make it {fields} fields, all empty; remove \
                 the tabs if the sentence ends here, else write the word that is missing"
            )
        );
    }
}

#[test]
fn ids() {
    for bad in [
        "", "_", "a", "-1", "+1", "1-", "0-1", "1.x", ".1", "1-2-3", "1.2.3",
    ] {
        let found = fault(&[&format!("{bad} a 0 root")]);
        assert!(found.contains(&format!("`{bad}` is not an id")), "{found}");
    }
    assert!(fault(&["99999999999999999999999 a 0 root"]).contains("is not an id"));
    assert!(fault(&["1 a 0 root", "3 b 1 dep"]).contains("has id 3, expected 2; the words"));
    assert!(fault(&["0 a 0 root"]).contains("has id 0, expected 1"));
    let joined = "# sent_id = one\n1\ta\t_\t_\t_\t_\t0\troot\t_\t_\n# sent_id = two\n1\tb\t_\t_\t_\t_\t0\troot\t_\t_\n";
    assert_eq!(
        refused(joined),
        "a.conllu, line 4, sentence `one`: the word has id 1, expected 2; a blank line must stand \
         before a new sentence"
    );
}

#[test]
fn multiword_tokens() {
    let range = |rows: &[&str]| fault(&[&["1 a 0 root"], rows].concat());
    assert!(range(&["1-2 ab"]).contains("1-2 must stand just before its first word"));
    assert!(range(&["3-4 ab", "2 b 1 dep"]).contains("the next word is 2"));
    assert!(range(&["2-1 ab", "2 b 1 dep"]).contains("2-1 must stand"));
    assert_eq!(
        range(&["2-3 ab", "2 b 1 dep", "3-4 bc", "3 c 1 dep", "4 d 1 dep"]),
        "a.conllu, line 4: the multiword token 3-4 overlaps the one before, which ends with word \
         3; a word belongs to one surface token"
    );
    assert!(range(&["2-3 ab", "2-2 b", "2 b 1 dep", "3 c 1 dep"]).contains("overlaps"));
    assert_eq!(
        range(&["2-4 bcd", "2 b 1 dep", "3 c 1 dep"]),
        "a.conllu, line 2: the multiword token 2-4 ends after the last word of the sentence, 3; \
         add the missing words or correct the range"
    );
    assert!(fault(&["1-2 ab"]).contains("the sentence has no words"));
    assert!(range(&["2-3  _", "2 b 1 dep", "3 c 1 dep"]).contains("FORM (field 2) is empty"));
}

#[test]
fn empty_nodes() {
    assert_eq!(
        fault(&["1 a 0 root", "2.1 b"]),
        "a.conllu, line 2: the empty node 2.1 must be 1.1 here; empty nodes after word k count \
         k.1, k.2 and so on"
    );
    assert!(fault(&["1 a 0 root", "1.1 b", "1.1 c"]).contains("1.1 must be 1.2"));
    assert!(fault(&["0.1 a"]).contains("the sentence has no words"));
    assert!(fault(&["1 a 1.1 dep", "1.1 b"]).contains("the HEAD (field 7) is `1.1`"));
}

#[test]
fn heads_and_relations() {
    assert!(fault(&["1 a _ _"]).contains("the HEAD (field 7) is `_`"));
    for bad in ["-1", "+1", "one", "1.0"] {
        assert!(fault(&["1 a 0 root", &format!("2 b {bad} dep")]).contains("(field 7)"));
    }
    assert_eq!(
        fault(&["1 a 0 root", "2 b 7 dep"]),
        "a.conllu, line 2: word 2 has HEAD 7, but the sentence has 2 words; correct the HEAD or \
         add the missing words"
    );
    assert!(fault(&["1 a 0 _"]).contains("word 1 has no relation"));
    assert!(fault(&["1  0 root"]).contains("FORM (field 2) is empty"));
}

#[test]
fn trees() {
    assert_eq!(
        fault(&["# sent_id = s", "1 a 2 dep", "2 b 1 dep"]),
        "a.conllu, line 2, sentence `s`: no word has HEAD 0, so this is not a tree; give the root \
         HEAD 0"
    );
    assert!(fault(&["1 a 0 root", "2 b 0 root"]).contains("words 1 and 2 both have HEAD 0"));
    assert_eq!(
        fault(&[
            "1 a 0 root",
            "2 b 1 dep",
            "3 c 6 dep",
            "4 d 3 dep",
            "5 e 4 dep",
            "6 f 5 dep"
        ]),
        "a.conllu, line 3: the HEADs of words 3, 6, 5, 4 run in a circle, so this is not a tree; \
         attach one of them to a word outside"
    );
    // Words 2 and 3 hang from the circle of 4 and 5 without being in it.
    let hanging = [
        "1 a 0 root",
        "2 b 3 dep",
        "3 c 5 dep",
        "4 d 5 dep",
        "5 e 4 dep",
    ];
    assert!(fault(&hanging).contains("line 4: the HEADs of words 4, 5 run"));
}

#[test]
fn comments_without_words() {
    assert!(refused("# sent_id = s\n").contains("line 1, sentence `s`: the sentence has no words"));
    assert!(refused("1\ta\t_\t_\t_\t_\t0\troot\t_\t_\n\n# text = b\n\n").contains("line 3: the"));
    assert_eq!(
        refused("# sent_id = s\n\n# sent_id = t\n1\ta\t_\t_\t_\t_\t0\troot\t_\t_\n"),
        "a.conllu, line 3, sentence `s`: a second `# sent_id` before the first word; remove one of \
         them, or add the missing words between them"
    );
    assert!(fault(&["# text = a", "# text = b", "1 a 0 root"]).contains("a second `# text`"));
}

#[test]
fn files_without_sentences() {
    for content in ["", "\n", "\u{feff}", "# only\n# comments\n", "\r\n \n"] {
        assert_eq!(
            refused(content),
            "a.conllu: no sentence; expected CoNLL-U, one word a line in 10 fields separated by \
             tabs and a blank line after each sentence"
        );
    }
}

#[test]
fn bytes_that_are_no_text() {
    let latin = b"1\tcaf\xe9\t_\t_\t_\t_\t0\troot\t_\t_\n";
    assert!(refused(latin).starts_with("a.conllu, line 1: not UTF-8 from byte 6"));
    assert!(refused("1\ta\0").contains("NUL byte"));
}
