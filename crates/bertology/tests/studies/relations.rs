//! Relations: planted maps that follow them exactly, shuffled ones at background, records of every kind.

use std::path::PathBuf;

use bertology::attention::relations::{
    RelationItem, RelationOptions, RelationPassages, RelationSettings, RelationSource, Relations,
};
use bertology::attention::{Fate, Supply};
use bertology::data::relations::{Proteins, RelationFile};
use bertology::drive::{Contribution, Lens, Study};
use bertology::model::{Matrix, Pass};
use bertology::{HeadId, TooLong};
use tempfile::TempDir;

use super::fixture::seen;
use super::syntax::{Plan, model};

const ONLY: HeadId = HeadId { layer: 0, head: 0 };

struct Written {
    folder: TempDir,
}

impl Written {
    fn new(lines: &[String]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("own.jsonl"), lines.join("\n")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn passages(&self, options: RelationOptions) -> RelationPassages {
        let file = RelationFile::new(&self.path("own.jsonl"));
        RelationPassages::new(&model("tiny-bert"), RelationSource::File(file), options).unwrap()
    }
}

/// Twenty texts of five to fourteen words, each word related to another by a rule without a fixed distance.
fn texts() -> Vec<String> {
    (0..20_usize)
        .map(|text| {
            let n = 5 + text % 10;
            let words = vec!["dog"; n].join(" ");
            let pairs: Vec<String> = (0..n)
                .filter(|i| (i * 7 + text) % n != *i)
                .map(|i| format!("[{i}, {}, \"rule\"]", (i * 7 + text) % n))
                .collect();
            format!(
                "{{\"text\": \"{words}\", \"pairs\": [{}]}}",
                pairs.join(", ")
            )
        })
        .collect()
}

/// What is found of a head that attends as planned.
fn planted(
    passages: &RelationPassages,
    settings: RelationSettings,
    plan: impl Fn(usize, &RelationItem, &mut Plan),
) -> Relations {
    let model = model("tiny-bert");
    let mut sums = Relations::new(&model, passages, settings, Vec::new()).unwrap();
    let lens = sums.lens();
    for (number, raw) in passages.open(0).unwrap().enumerate() {
        let Fate::Studied(mut given) = passages.prepare(raw.unwrap()).unwrap() else {
            panic!("all fit");
        };
        let passage = given.remove(0);
        let tokens = passage.sequence.len();
        let mut weights = Plan::new(tokens);
        plan(number, &passage.item, &mut weights);
        let mut part = lens.begin(&passage.item, &passage.sequence).unwrap();
        let map = Matrix::new(&weights.weights, tokens, tokens);
        lens.see(&passage.item, &mut part, &seen(Pass::Forward, ONLY, map));
        lens.close(&passage.item, &mut part).unwrap();
        let item = &passage.item;
        sums.add(Fate::Studied(Contribution { item, part, tokens }))
            .unwrap();
    }
    sums
}

fn token(item: &RelationItem, unit: usize) -> usize {
    item.words.tokens_of(item.words.words().start + unit).start
}

#[test]
fn a_head_that_follows_a_relation_is_found_exactly() {
    let written = Written::new(&texts());
    let passages = written.passages(RelationOptions::default());
    let found = planted(&passages, RelationSettings::default(), |_, item, plan| {
        for pair in &item.related {
            let (from, to) = (token(item, pair.from), token(item, pair.to));
            plan.set(from..from + 1, to, 1.0);
        }
    });
    let head = found.head(0, 0, ONLY);
    assert_eq!(head.share.unwrap().share, 1.0);
    assert_eq!(head.scored.precision[0].mean(), Some(1.0));
    let [from, to] = head.scored.accuracy;
    assert_eq!((from.share(), to.share()), (Some(1.0), Some(1.0)));
    assert_eq!(from.whole, found.tally().pairs);
    // Unrelated pairs of the same distance have none of it, where there are any.
    let (mut with, mut all) = (0_usize, 0_usize);
    for text in 0..20_usize {
        let n = 5 + text % 10;
        let to = |i: usize| (i * 7 + text) % n;
        for i in (0..n).filter(|i| to(*i) != *i) {
            let distance = to(i) as i64 - i as i64;
            let other = |k: usize| {
                let there = k as i64 + distance;
                (0..n as i64).contains(&there) && to(k) as i64 != there
            };
            with += usize::from((0..n).any(other));
            all += 1;
        }
    }
    assert!((head.excess.unwrap().share - with as f64 / all as f64).abs() < 1e-12);
    assert_eq!(head.scored.matched_auc.mean(), Some(1.0));
    assert_eq!(head.scored.matched_accuracy[0].mean(), Some(0.0));
    // Without direction, and corrected: the strongest are the same pairs.
    let settings = RelationSettings {
        symmetric: true,
        ..RelationSettings::default()
    };
    let found = planted(&passages, settings, |_, item, plan| {
        for pair in &item.related {
            let (from, to) = (token(item, pair.from), token(item, pair.to));
            plan.set(from..from + 1, to, 1.0);
        }
    });
    let head = found.head(0, 0, ONLY);
    assert_eq!(
        (head.share.unwrap().share, head.scored.precision[0].mean()),
        (1.0, Some(1.0))
    );
    assert_eq!(head.scored.accuracy[1].whole, 0);
}

/// A head that looks everywhere alike has the background of everything; one that follows the relation of another text no more
/// than that.
#[test]
fn a_head_without_preference_and_a_shuffled_one_are_at_background() {
    let written = Written::new(&texts());
    let passages = written.passages(RelationOptions::default());
    let alike = planted(&passages, RelationSettings::default(), |_, _, plan| {
        plan.weights.fill(0.125);
    });
    let background = alike.background(0, 0).unwrap();
    let head = alike.head(0, 0, ONLY);
    assert!((head.share.unwrap().share - background).abs() < 1e-12);
    assert!(head.excess.unwrap().share.abs() < 1e-12);
    assert_eq!(head.scored.matched_auc.mean(), Some(0.5));
    // As many pairs as are related, of all of them: expected to be the background of each text.
    let expected: Vec<f64> = (0..20_usize)
        .map(|text| {
            let n = 5 + text % 10;
            let related = (0..n).filter(|i| (i * 7 + text) % n != *i).count();
            related as f64 / (n * (n - 1)) as f64
        })
        .collect();
    let mean = expected.iter().sum::<f64>() / 20.0;
    assert!((head.scored.precision[0].mean().unwrap() - mean).abs() < 1e-12);

    let shuffled = planted(
        &passages,
        RelationSettings::default(),
        |text, item, plan| {
            let n = item.takes_part.len();
            for i in 0..n {
                let other = (i * 3 + text / 2 + 1) % n;
                let (from, to) = (token(item, i), token(item, other));
                plan.set(from..from + 1, to, 1.0);
            }
        },
    );
    let share = shuffled.head(0, 0, ONLY).share.unwrap();
    let (low, high) = share.interval.unwrap();
    assert!(
        low < background && background < high,
        "{share:?} {background}"
    );
}

#[test]
fn units_without_tokens_and_cut_ones_take_no_part() {
    let long = vec!["dog"; 30].join(" ");
    let written = Written::new(&[
        format!("{{\"text\": \"{long}\", \"pairs\": [[0, 1, \"a\"], [2, 29, \"a\"]]}}"),
        // A character that the tokenizer passes over.
        "{\"words\": [\"The\", \"\\u0000\", \"dog\"], \"pairs\": [[0, 1, \"a\"], [2, 0, \"b\"]]}".to_owned(),
        "{\"tokens\": [\"[CLS]\", \"the\", \"dog\", \"[SEP]\"], \"pairs\": [[2, 1, \"b\"], [0, 1, \"b\"]]}".to_owned(),
        "{\"residues\": \"MKT\", \"pairs\": []}".to_owned(),
    ]);
    let options = RelationOptions {
        max_length: Some(12),
        too_long: TooLong::Cut,
        bos: false,
    };
    let passages = written.passages(options);
    assert_eq!(passages.labels(), ["a", "b"]);
    let items: Vec<RelationItem> = passages
        .open(0)
        .unwrap()
        .map(|raw| {
            let Fate::Studied(mut given) = passages.prepare(raw.unwrap()).unwrap() else {
                panic!("all fit");
            };
            given.remove(0).item
        })
        .collect();
    assert_eq!(
        (items[0].takes_part.len(), items[0].beyond, items[0].lost),
        (10, 20, 1)
    );
    assert_eq!(items[1].takes_part, [true, false, true]);
    assert_eq!((items[1].lost, items[1].without_tokens), (1, 1));
    assert_eq!(items[2].takes_part, [false, true, true, false]);
    assert_eq!(
        (items[2].lost, items[2].related.len(), items[2].tokens),
        (1, 1, 4)
    );
    // A vocabulary of words reads residues as words of a letter.
    assert_eq!(items[3].takes_part, [true; 3]);
    let skipped = written.passages(RelationOptions {
        max_length: Some(12),
        ..RelationOptions::default()
    });
    let first = skipped.open(0).unwrap().next().unwrap().unwrap();
    assert!(matches!(skipped.prepare(first).unwrap(), Fate::LeftOut(_)));
    // From the second on.
    assert_eq!(passages.open(1).unwrap().count(), 3);
    let unknown = Written::new(&[
        "{\"tokens\": [\"xyzzy\"], \"pairs\": []}".to_owned(),
        texts().remove(0),
    ]);
    let passages = unknown.passages(RelationOptions::default());
    let raw = passages.open(0).unwrap().next().unwrap().unwrap();
    let wrong = passages.prepare(raw).unwrap_err();
    assert!(wrong.to_string().contains("no token `xyzzy`"), "{wrong}");
}

#[test]
fn contacts_are_found_by_name_and_by_coordinates() {
    let written = Written::new(&[]);
    std::fs::write(
        written.path("two.fasta"),
        ">p1 first\nMKTAYIAK\n>p2\nGGSGG\n",
    )
    .unwrap();
    let contacts = [
        "{\"id\": \"p2\", \"contacts\": [[4, 0], [0, 4], [1, 3]]}",
        "{\"id\": \"p1\", \"coordinates\": [[0,0,0],[20,0,0],[40,0,0],null,[3,0,0],[0,7.9,0],[0,8,0],[60,0,0]]}",
        "{\"id\": \"other\", \"contacts\": []}",
    ];
    std::fs::write(written.path("contacts.jsonl"), contacts.join("\n")).unwrap();
    let proteins = Proteins::new(
        &written.path("two.fasta"),
        &written.path("contacts.jsonl"),
        None,
    )
    .unwrap();
    let records: Vec<_> = proteins.open().unwrap().map(Result::unwrap).collect();
    let pairs = |at: usize| -> Vec<(usize, usize)> {
        records[at]
            .pairs
            .iter()
            .map(|pair| (pair.from, pair.to))
            .collect()
    };
    assert_eq!(pairs(0), [(0, 4), (0, 5), (5, 6)]);
    assert_eq!(records[0].unknown, [3]);
    assert_eq!(pairs(1), [(0, 4), (1, 3)]);
    let info = proteins.info().unwrap();
    assert_eq!(
        (info.counts.records, info.counts.pairs(), info.counts.unused),
        (2, 5, 1)
    );
    for (fasta, contacts, says) in [
        (
            ">p1\nMK\n",
            "{\"id\": \"p1\", \"coordinates\": [[0,0,0]]}",
            "1 coordinates",
        ),
        (
            ">p1\nMK\n",
            "{\"id\": \"p2\", \"contacts\": [[0, 1]]}",
            "`id` is `p1`",
        ),
        (
            ">p1\nMK\n>p1\nMK\n",
            "{\"id\": \"p1\", \"contacts\": [[0, 1]]}",
            "`p1` is there twice",
        ),
        (
            ">p1\nMK\n",
            "{\"id\": \"p1\", \"contacts\": [[0, 2]]}",
            "there are 2, counted from 0",
        ),
        (
            ">p1\nMK\n",
            "{\"id\": \"p1\", \"contacts\": [[1, 1]]}",
            "to itself",
        ),
        (">\nMK\n", "{\"id\": \"p1\", \"contacts\": []}", "no name"),
        (
            ">p1\nMK\n",
            "{\"id\": \"p1\", \"contact\": []}",
            "no `contact`",
        ),
        (">p1\nMK\n", "{\"id\": \"p1\"}", "either `contacts`"),
        (
            ">p1\nMK\n",
            "{\"id\": \"p1\", \"contacts\": [[0]]}",
            "cannot be read",
        ),
        (
            ">p1\nMK\n",
            "{\"id\": \"p1\", \"contacts\": []}",
            "has a pair",
        ),
        (
            ">p1\nMK\n",
            "{\"id\": 1, \"contacts\": []}",
            "`id` cannot be read",
        ),
        (">p1\nMK\n", "", "empty"),
    ] {
        std::fs::write(written.path("f.fasta"), fasta).unwrap();
        std::fs::write(written.path("c.jsonl"), contacts).unwrap();
        let proteins = Proteins::new(&written.path("f.fasta"), &written.path("c.jsonl"), None);
        let wrong = proteins.and_then(|proteins| proteins.info()).unwrap_err();
        assert!(wrong.to_string().contains(says), "{wrong}");
    }
}

#[test]
fn records_that_are_wrong_are_named() {
    for (line, says) in [
        ("{\"text\": \"a b\"}", "no `pairs`"),
        ("{\"pairs\": []}", "has 0 of `text`"),
        (
            "{\"text\": \"a\", \"words\": [\"a\"], \"pairs\": []}",
            "has 2 of `text`",
        ),
        (
            "{\"text\": \"a b\", \"pairs\": [[0, 2, \"x\"]]}",
            "pair 1 (from 1) is of units 0 and 2, and there are 2",
        ),
        (
            "{\"text\": \"a b\", \"pairs\": [[0, 0, \"x\"]]}",
            "to itself",
        ),
        (
            "{\"text\": \"a b\", \"pairs\": [[0, 1, \"x\"], [0, 1, \"x\"]]}",
            "pair 2 (from 1) says again",
        ),
        (
            "{\"text\": \"a b\", \"pairs\": [[0, 1, \"x\", 0]]}",
            "weight 0",
        ),
        (
            "{\"text\": \"a b\", \"pairs\": [[0, 1]]}",
            "pair 1 (from 1) cannot be read",
        ),
        (
            "{\"text\": \"a b\", \"pairs\": [[0, 1, \" \"]]}",
            "cannot be read",
        ),
        (
            "{\"text\": \"a b\", \"pairs\": [{\"from\": 0, \"to\": 1, \"lable\": \"x\"}]}",
            "cannot be read",
        ),
        (
            "{\"text\": \"a b\", \"pair\": []}",
            "no `pair` in such a record",
        ),
        ("{\"words\": [\"a b\"], \"pairs\": []}", "`words` 0"),
        (
            "{\"residues\": \"M K\", \"pairs\": []}",
            "without white space",
        ),
        ("{\"text\": 1, \"pairs\": []}", "`text` cannot be read"),
        ("[1]", "it is a list"),
        (
            "{\"text\": \"a b\", \"pairs\": []}",
            "not one of the 1 records has a pair",
        ),
        ("", "empty"),
    ] {
        let written = Written::new(&[line.to_owned()]);
        let file = RelationFile::new(&written.path("own.jsonl"));
        let wrong = file.open().unwrap().find_map(Result::err).unwrap();
        assert!(wrong.to_string().contains(says), "{line}: {wrong}");
    }
}
