//! Heads as finders of antecedents: planted maps and cases of one document.

use bertology::attention::coref::{
    AntecedentRule, Candidates, Category, CorefCounts, DocumentItem, DocumentPassages,
};
use bertology::attention::{Fate, RowMode, Supply, TreebankOptions};
use bertology::data::conllu::Treebank;
use bertology::drive::{Contribution, Lens, Progress, Study, drive};
use bertology::model::{Matrix, Pass};
use bertology::watch::Savable;
use bertology::{Error, HeadId, LoadedModel};

use super::fixture::{driven, seen, spread};
use super::syntax::{Plan, Written, assets, model};

const ONLY: HeadId = HeadId { layer: 0, head: 0 };

fn grammar(model: &LoadedModel) -> DocumentPassages {
    let treebank = Treebank::new(&assets().join("grammar/dev.conllu"));
    DocumentPassages::new(model, treebank, TreebankOptions::default()).unwrap()
}

fn tokens_of(item: &DocumentItem, word: usize) -> std::ops::Range<usize> {
    item.words.tokens_of(item.words.words().start + word)
}

/// The counts of one head that attends as planned.
fn planted(passages: &DocumentPassages, plan: impl Fn(&DocumentItem, &mut Plan)) -> CorefCounts {
    let mut counts = CorefCounts::of_shape(RowMode::Mean, (1, 1), &[ONLY]);
    let lens = counts.lens();
    for raw in passages.open(0).unwrap() {
        let Fate::Studied(mut given) = passages.prepare(raw.unwrap()).unwrap() else {
            panic!("all are studied");
        };
        let passage = given.remove(0);
        let tokens = passage.sequence.len();
        let mut weights = Plan::new(tokens);
        plan(&passage.item, &mut weights);
        let mut part = lens.begin(&passage.item, &passage.sequence).unwrap();
        let event = seen(
            Pass::Forward,
            ONLY,
            Matrix::new(&weights.weights, tokens, tokens),
        );
        lens.see(&passage.item, &mut part, &event);
        lens.close(&passage.item, &mut part).unwrap();
        let item = &passage.item;
        let found = Contribution { item, part, tokens };
        counts.add(Fate::Studied(found)).unwrap();
    }
    counts
}

/// Specification 13.9: a mention that attends to its nearest antecedent, and one to its nearest mention.
#[test]
fn planted_antecedents_are_found() {
    let model = model("tiny-bert");
    let passages = grammar(&model);
    let antecedents = planted(&passages, |item, plan| {
        for at in item.mentions.scored() {
            let from = tokens_of(item, item.mentions.mentions[at].head);
            let to = item.mentions.antecedents(at).last().unwrap().head;
            plan.set(from, tokens_of(item, to).start, 1.0);
        }
    });
    let nearest = planted(&passages, |item, plan| {
        let mentions = &item.mentions.mentions;
        for pair in mentions.windows(2) {
            plan.set(
                tokens_of(item, pair[1].head),
                tokens_of(item, pair[0].head).start,
                1.0,
            );
        }
    });
    assert!(antecedents.total(Category::All) > 100);
    for candidates in Candidates::ALL {
        for category in Category::ALL {
            let score = antecedents.score(candidates, ONLY, category);
            assert_eq!(score.part, score.whole);
            assert_eq!(
                nearest.score(candidates, ONLY, category),
                nearest.rule(AntecedentRule::Nearest, category)
            );
        }
    }
    assert_eq!(antecedents.abstained(Candidates::All, ONLY), 0);
    let whole: u64 = Category::ALL[1..]
        .iter()
        .map(|c| antecedents.total(*c))
        .sum();
    assert_eq!(whole, antecedents.total(Category::All));
    let tally = antecedents.tally();
    assert_eq!(
        tally.mentions - tally.first,
        antecedents.total(Category::All)
    );
    assert_eq!(
        tally.mentions + tally.same_head + tally.outside,
        passages.mentions()
    );
    assert_eq!((tally.documents, tally.cut, tally.outside), (1000, 0, 0));
}

/// The readings differ in what may be named.
#[test]
fn candidates_are_what_the_reading_says() {
    let model = model("tiny-bert");
    let own = Written::new(&["
        # global.Entity = eid-etype-head
        1 horses NOUN _ _ 2 nsubj Entity=(e1-animal-1)
        2 see VERB _ _ 0 root _
        3 them PRON _ _ 2 obj Entity=(e1-animal-1)
        4 not PART _ _ 2 advmod _
        5 rivers NOUN _ _ 2 obl Entity=(e2-place-1)"]);
    let passages =
        DocumentPassages::new(&model, own.treebank(), TreebankOptions::default()).unwrap();
    // In order of weight: a word behind, another mention, a word before, the antecedent.
    let counts = |order: &[usize]| {
        let counts = planted(&passages, |item, plan| {
            let from = tokens_of(item, 2);
            // Itself most of all, which does not count.
            plan.set(from.clone(), tokens_of(item, 2).start, 0.5);
            for (at, word) in order.iter().enumerate() {
                let weight = 0.25 / (at + 1) as f32;
                plan.set(from.clone(), tokens_of(item, *word).start, weight);
            }
        });
        Candidates::ALL.map(|c| counts.score(c, ONLY, Category::All).part)
    };
    assert_eq!(counts(&[0]), [1, 1, 1]);
    assert_eq!(counts(&[3, 0]), [0, 1, 1]);
    assert_eq!(counts(&[1, 0]), [0, 0, 1]);
    assert_eq!(counts(&[4, 0]), [0, 1, 0]);
    assert_eq!(counts(&[]), [0, 0, 0]);
    let none = planted(&passages, |_, _| {});
    assert_eq!(none.abstained(Candidates::Preceding, ONLY), 1);
    assert_eq!(
        (none.total(Category::Pronoun), none.total(Category::Nominal)),
        (1, 0)
    );
}

/// One document per sieve: the last mention's antecedent is found by this sieve and no earlier one, past a nearer
/// mention that later sieves would take.
#[test]
fn sieves_are_asked_in_order() {
    let model = model("tiny-bert");
    let mention = |id: usize, form: &str, upos: &str, feats: &str, entity: &str| {
        let head = if id == 1 { "0 root" } else { "1 dep" };
        format!("{id} {form} {upos} _ {feats} {head} Entity=({entity}-x-1)\n")
    };
    // The same words before the same head word: `Rivers` at 1 against `old rivers` at 2-3.
    let same_words = format!(
        "{}2 Old ADJ _ _ 3 amod Entity=(e2-x-2\n3 rivers NOUN _ Number=Plur 1 dep Entity=e2)\n{}",
        mention(1, "Rivers", "NOUN", "Number=Plur", "e1"),
        mention(4, "rivers", "NOUN", "Number=Plur", "e1"),
    );
    // The same head word before agreement: `old rivers` at 1-2 against `dogs`.
    let same_head = format!(
        "1 Old ADJ _ _ 2 amod Entity=(e1-x-2\n2 Rivers NOUN _ Number=Plur 0 root Entity=e1)\n{}{}",
        "3 dogs NOUN _ Number=Plur 2 dep Entity=(e2-x-1)\n",
        "4 rivers NOUN _ Number=Plur 2 dep Entity=(e1-x-1)\n",
    );
    // Agreement before nearness: `she` is not `dogs`.
    let agreement = format!(
        "{}{}{}",
        mention(1, "woman", "NOUN", "Number=Sing", "e1"),
        mention(2, "dogs", "NOUN", "Number=Plur", "e2"),
        mention(3, "she", "PRON", "Gender=Fem|Number=Sing|Person=3", "e1"),
    );
    // Nothing fits: the nearest. `I` is the first person, all others the third.
    let any = format!(
        "{}{}{}",
        mention(1, "dogs", "NOUN", "Number=Plur", "e2"),
        mention(2, "woman", "NOUN", "Number=Sing", "e1"),
        mention(3, "I", "PRON", "Number=Sing|Person=1", "e1"),
    );
    // Nearest, head match and sieves.
    for (document, expected) in [
        (same_words, [0, 0, 1]),
        (same_head, [0, 1, 1]),
        (agreement, [0, 0, 1]),
        (any, [1, 0, 1]),
    ] {
        let text = format!("# global.Entity = eid-etype-head\n{document}");
        let own = Written::new(&[&text]);
        let passages =
            DocumentPassages::new(&model, own.treebank(), TreebankOptions::default()).unwrap();
        let counts = planted(&passages, |_, _| {});
        assert_eq!(counts.total(Category::All), 1, "{document}");
        let found = AntecedentRule::ALL.map(|rule| counts.rule(rule, Category::All).part);
        assert_eq!(found, expected, "{document}");
    }
}

/// Of mentions on one head word the longest stands; what is not in the window is counted.
#[test]
fn windows_end_between_words() {
    let model = model("tiny-bert");
    let own = Written::new(&[
        "
        # global.Entity = eid-etype-head
        1 The DET _ _ 2 det Entity=(e1-x-2
        2 horses NOUN _ _ 3 nsubj Entity=(e3-x-1)e1)
        3 admire VERB _ _ 0 root _
        4 themselves PRON _ _ 3 obj Entity=(e1-x-1)",
        "
        1 The DET _ _ 2 det Entity=(e1-x-2
        2 horses NOUN _ _ 3 nsubj Entity=e1)
        3 admire VERB _ _ 0 root _
        4 themselves PRON _ _ 3 obj Entity=(e1-x-1)",
    ]);
    let open = |max_length| {
        let options = TreebankOptions {
            max_length,
            ..TreebankOptions::default()
        };
        DocumentPassages::new(&model, own.treebank(), options).unwrap()
    };
    let whole = planted(&open(None), |_, _| {});
    let tally = *whole.tally();
    assert_eq!((tally.documents, tally.words, tally.cut), (1, 8, 0));
    assert_eq!((tally.mentions, tally.same_head, tally.first), (4, 1, 1));
    let length = usize::try_from(tally.tokens).unwrap();
    for max_length in 2..length {
        let counts = planted(&open(Some(max_length)), |item, plan| {
            assert!(plan.tokens <= max_length);
            // Every token is that of a word in the window, or special.
            assert_eq!(item.words.units(), item.words.len() + 2);
            if !item.words.is_empty() {
                let last = item.words.words().end;
                assert_eq!(item.words.tokens_of(last).end, plan.tokens);
            }
        });
        let tally = *counts.tally();
        assert_eq!((tally.cut, tally.words + tally.words_beyond), (1, 8));
        assert_eq!(tally.mentions + tally.same_head + tally.outside, 5);
        assert!(tally.words as usize <= max_length - 2);
    }
}

#[test]
fn treebanks_without_coreference_are_refused() {
    let model = model("tiny-bert");
    let own = Written::new(&["1 run VERB _ _ 0 root _"]);
    let refused = DocumentPassages::new(&model, own.treebank(), TreebankOptions::default());
    let Err(Error::NoMentions { .. }) = refused else {
        panic!("{refused:?}");
    };
}

#[test]
fn counts_go_on_from_where_they_end() {
    let model = model("tiny-bert");
    let treebank = Treebank::new(&assets().join("grammar/dev.conllu")).with_limit(Some(60));
    let passages = DocumentPassages::new(&model, treebank, TreebankOptions::default()).unwrap();
    let counts = CorefCounts::new(&passages, RowMode::Mean);
    let mut progress = Progress::new(counts.clone());
    drive(&model, &passages, &mut progress, &spread(1, 64), &mut ()).unwrap();
    let saved = progress.save().unwrap().to_string();
    let whole = progress.into_study();
    let again = Progress::new(counts.clone());
    let mut again = again.resume(serde_json::from_str(&saved).unwrap()).unwrap();
    drive(&model, &passages, &mut again, &spread(2, 64), &mut ()).unwrap();
    assert_eq!(*again.study(), whole);
    let other = driven(&model, &passages, counts, &spread(2, 64));
    assert_eq!(other, whole);
    assert!(whole.best(Candidates::All).is_some());
}
