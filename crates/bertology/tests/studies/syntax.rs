//! Heads as predictors of syntactic heads: planted maps, numbers counted by hand, cases of one sentence.

use std::ops::ControlFlow;

use bertology::attention::syntax::{
    ALL, ALL_WITHOUT_PUNCT, Direction, SyntaxCounts, SyntaxOptions,
};
use bertology::attention::{
    Fate, InputMode, RowMode, SentenceItem, SentencePassages, Supply, TreebankOptions,
};
use bertology::data::conllu::Treebank;
use bertology::drive::{Contribution, Lens, Progress, Study, Work, drive};
use bertology::model::{Matrix, Pass};
use bertology::watch::Savable;
use bertology::{Error, HeadId, LoadedModel, Watch, watch};
use tempfile::TempDir;

pub(crate) use super::fixture::{assets, embedded as model};
use super::fixture::{driven, seen, spread, stopped};

const ONLY: HeadId = HeadId { layer: 0, head: 0 };
use Direction::{Both, DependentToHead, HeadToDependent};

fn grammar(model: &LoadedModel) -> SentencePassages {
    let treebank = Treebank::new(&assets().join("grammar/dev.conllu"));
    SentencePassages::new(model, treebank, TreebankOptions::default()).unwrap()
}

/// A treebank of the test's own.
pub(crate) struct Written {
    folder: TempDir,
}

impl Written {
    /// Lines of `id form upos xpos feats head deprel misc`.
    pub(crate) fn new(sentences: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut text = String::new();
        for sentence in sentences {
            for line in sentence.trim().lines().map(str::trim) {
                if line.starts_with('#') {
                    text.push_str(line);
                } else {
                    let c: Vec<&str> = line.split_whitespace().collect();
                    let columns = [c[0], c[1], "_", c[2], c[3], c[4], c[5], c[6], "_", c[7]];
                    text.push_str(&columns.join("\t"));
                }
                text.push('\n');
            }
            text.push('\n');
        }
        std::fs::write(folder.path().join("own.conllu"), text).unwrap();
        Self { folder }
    }

    pub(crate) fn treebank(&self) -> Treebank {
        Treebank::new(&self.folder.path().join("own.conllu"))
    }
}

/// A square of zeros over tokens, filled by words.
pub(crate) struct Plan {
    pub(crate) tokens: usize,
    pub(crate) weights: Vec<f32>,
}

impl Plan {
    pub(crate) fn new(tokens: usize) -> Self {
        Self {
            tokens,
            weights: vec![0.0; tokens * tokens],
        }
    }

    /// All tokens of a word attend to a token.
    pub(crate) fn set(&mut self, from: std::ops::Range<usize>, to: usize, weight: f32) {
        for token in from {
            self.weights[token * self.tokens + to] = weight;
        }
    }
}

/// The tokens of a word.
fn tokens_of(item: &SentenceItem, word: usize) -> std::ops::Range<usize> {
    item.words.tokens_of(item.words.words().start + word)
}

/// The counts of one head that attends as planned.
fn planted(
    passages: &SentencePassages,
    options: SyntaxOptions,
    plan: impl Fn(&SentenceItem, &mut Plan),
) -> SyntaxCounts {
    let rows = SyntaxCounts::new(passages, &options).rows().clone();
    let mut counts = SyntaxCounts::of_shape(options, rows, (1, 1), &[ONLY], false);
    let lens = counts.lens();
    for raw in passages.open(0).unwrap() {
        let Fate::Studied(mut given) = passages.prepare(raw.unwrap()).unwrap() else {
            panic!("all fit");
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

fn right(counts: &SyntaxCounts, direction: Direction, relation: &str) -> (u64, u64) {
    let row = counts.rows().find(relation).unwrap();
    let score = counts.score(direction, ONLY, row);
    (score.part, score.whole)
}

fn relations(counts: &SyntaxCounts) -> Vec<String> {
    let names = counts.rows().names().iter();
    let kept = names.filter(|name| *name != "root" && !name.starts_with("all"));
    kept.cloned().collect()
}

/// Specification 13.8: the tree itself as a map.
#[test]
fn a_map_that_is_the_tree_is_always_right() {
    let model = model("tiny-bert");
    let passages = grammar(&model);
    let to_head = |item: &SentenceItem, plan: &mut Plan| {
        let end = plan.tokens - 1;
        for (at, word) in item.sentence.words.iter().enumerate() {
            let to = word.head.map_or(end, |head| tokens_of(item, head).start);
            plan.set(tokens_of(item, at), to, 1.0);
        }
    };
    let to_dependents = |item: &SentenceItem, plan: &mut Plan| {
        for (at, word) in item.sentence.words.iter().enumerate() {
            if let Some(head) = word.head {
                plan.set(tokens_of(item, head), tokens_of(item, at).start, 1.0);
            }
        }
    };
    let options = SyntaxOptions::default();
    let there = planted(&passages, options, to_head);
    let back = planted(&passages, options, to_dependents);
    for (counts, direction) in [(&there, DependentToHead), (&back, HeadToDependent)] {
        for relation in relations(counts) {
            let (part, whole) = right(counts, direction, &relation);
            assert_eq!(part, whole, "{relation}");
        }
        // 1,000 sentences have 1,000 roots and 1,000 full stops.
        assert_eq!(right(counts, direction, ALL), (9273, 10273));
        assert_eq!(right(counts, direction, ALL_WITHOUT_PUNCT), (8273, 9273));
        assert_eq!(right(counts, direction, "root"), (0, 1000));
    }
    // Of a head's dependents none attends to another: the root alone names nobody.
    assert_eq!(there.abstained(DependentToHead, ONLY), 1000);
    assert_eq!(there.tally().studied(), 1000);
    assert_eq!(there.tally().words, 10273);
    // The same tree in the other direction is only right by accident, and in both at least as often as in one.
    assert!(right(&there, HeadToDependent, ALL).0 < 9273);
    assert!(right(&there, Both, ALL).0 > 5000);
}

/// Counted from the file by fifteen lines of Python that know nothing of this program.
#[test]
fn offsets_are_those_counted_by_hand() {
    let model = model("tiny-bert");
    let passages = grammar(&model);
    let counts = planted(&passages, SyntaxOptions::default(), |_, _| {});
    let best = counts.best(&counts);
    let found: Vec<(&str, u64, i64, u64)> = best
        .iter()
        .map(|r| {
            (
                r.relation.as_str(),
                r.total,
                r.baseline.offset,
                r.baseline.score.part,
            )
        })
        .collect();
    let expected = [
        (ALL, 10273, 1, 3383),
        (ALL_WITHOUT_PUNCT, 9273, 1, 3383),
        ("det", 1742, 1, 1398),
        ("nsubj", 1295, 1, 336),
        ("punct", 1000, -1, 221),
        ("obj", 825, -1, 378),
        ("advmod", 547, 1, 495),
        ("case", 540, 2, 418),
        ("aux", 483, 2, 311),
        ("amod", 358, 1, 353),
        ("nmod", 337, -3, 252),
        ("acl:relcl", 332, -4, 104),
        ("aux:pass", 234, 1, 196),
        ("nsubj:pass", 234, 2, 98),
        ("mark", 228, 1, 48),
        ("nummod", 195, 1, 160),
        ("cop", 151, 1, 123),
        ("cc", 133, 1, 81),
        ("conj", 133, -3, 56),
        ("advcl", 128, -5, 20),
        ("obl:agent", 122, -3, 90),
        ("obl", 108, -3, 72),
        ("ccomp", 69, -4, 14),
        ("xcomp", 48, -2, 48),
        ("nmod:poss", 31, 1, 21),
    ];
    assert_eq!(found, expected);
    // Before the beginning is the root.
    let root = counts.rows().find("root").unwrap();
    assert_eq!(counts.offset(-5, root).unwrap().part, 364);
    assert_eq!(counts.offset(5, root).unwrap().part, 0);
    assert_eq!(counts.offset(6, root), None);
    // A map of zeros names nobody.
    assert_eq!(right(&counts, DependentToHead, ALL), (0, 10273));
    assert_eq!(counts.abstained(Both, ONLY), 10273);
}

/// Specification 13.8: offsets as maps, a head that looks at itself, a uniform one.
#[test]
fn planted_offsets_are_their_baselines() {
    let model = model("tiny-bert");
    let passages = grammar(&model);
    let options = SyntaxOptions::default();
    for offset in [1_i64, -1, 3] {
        let counts = planted(&passages, options, |item, plan| {
            let end = plan.tokens - 1;
            for at in 0..item.sentence.len() {
                let to = usize::try_from(at as i64 + offset).ok();
                let to = to.filter(|to| *to < item.sentence.len());
                let to = to.map_or(end, |to| tokens_of(item, to).start);
                plan.set(tokens_of(item, at), to, 1.0);
            }
        });
        for relation in relations(&counts) {
            let row = counts.rows().find(&relation).unwrap();
            let (part, _) = right(&counts, DependentToHead, &relation);
            let baseline = counts.offset(offset, row).unwrap().part;
            // Beyond the end the baseline names the last word, the map nobody.
            assert!(
                part == baseline || offset > 1 && part < baseline,
                "{relation} {offset}"
            );
        }
        assert_eq!(
            counts.abstained(DependentToHead, ONLY),
            1000 * offset.unsigned_abs()
        );
    }
    let itself = planted(&passages, options, |item, plan| {
        for at in 0..item.sentence.len() {
            plan.set(tokens_of(item, at), tokens_of(item, at).start, 1.0);
        }
    });
    for direction in Direction::ALL {
        assert_eq!(itself.abstained(direction, ONLY), 10273);
        assert_eq!(right(&itself, direction, ALL).0, 0);
    }
}

/// Of equals the first: every word but the first names the first, the first the second.
#[test]
fn of_equals_the_first_is_named() {
    let model = model("tiny-bert");
    let own = Written::new(&["
        1 horses NOUN _ _ 2 nsubj _
        2 run VERB _ _ 0 root _
        3 not PART _ _ 2 advmod _
        4 horses NOUN _ _ 1 conj _"]);
    let passages =
        SentencePassages::new(&model, own.treebank(), TreebankOptions::default()).unwrap();
    let counts = planted(&passages, SyntaxOptions::default(), |_, plan| {
        plan.weights.fill(0.125);
    });
    for direction in Direction::ALL {
        // nsubj names 2, conj names 1.
        assert_eq!(right(&counts, direction, "nsubj"), (1, 1));
        assert_eq!(right(&counts, direction, "conj"), (1, 1));
        assert_eq!(right(&counts, direction, "advmod"), (0, 1));
    }
}

const POSSESSOR: &str = "
    1 dogs NOUN NNS _ 3 nmod:poss _
    2 's PART POS _ 1 case _
    3 house NOUN NN _ 0 root _
    4 by ADP IN _ 5 case _
    5 rivers NOUN NNS _ 3 nmod _";

#[test]
fn possessors_and_prepositions_can_be_counted_as_in_the_paper() {
    let model = model("tiny-bert");
    let own = Written::new(&[POSSESSOR]);
    let passages =
        SentencePassages::new(&model, own.treebank(), TreebankOptions::default()).unwrap();
    // The ending attends to the possessed, the possessor to the ending; the preposition to what is modified, the noun to
    // its preposition.
    let stanford = |item: &SentenceItem, plan: &mut Plan| {
        for (from, to) in [(0, 1), (1, 2), (3, 2), (4, 3)] {
            plan.set(tokens_of(item, from), tokens_of(item, to).start, 1.0);
        }
    };
    let plain = SyntaxOptions::default();
    let counts = planted(&passages, plain, stanford);
    assert_eq!(right(&counts, DependentToHead, "nmod:poss"), (0, 1));
    assert_eq!(right(&counts, DependentToHead, "case"), (0, 2));
    assert_eq!(right(&counts, DependentToHead, ALL), (0, 5));
    assert_eq!(right(&counts, HeadToDependent, "case"), (2, 2));
    let row = counts.rows().find("nmod:poss").unwrap();
    assert_eq!(counts.offset(2, row).unwrap().part, 1);

    let paper = SyntaxOptions {
        possessive_clitic: true,
        sd_view: true,
        base_relations: true,
        ..plain
    };
    let counts = planted(&passages, paper, stanford);
    // Of nmod and nmod:poss together the possessor is right, by its ending; and so is the baseline.
    assert_eq!(right(&counts, DependentToHead, "nmod"), (1, 2));
    let row = counts.rows().find("nmod").unwrap();
    assert_eq!(counts.offset(1, row).unwrap().part, 1);
    assert_eq!(right(&counts, DependentToHead, "sd:prep"), (1, 1));
    assert_eq!(right(&counts, DependentToHead, "sd:pobj"), (1, 1));
    // Stanford's arcs are not among all words.
    assert_eq!(right(&counts, DependentToHead, ALL), (1, 5));
}

/// French writes two words as one: they share its tokens, name each other neither, and no arc between them counts.
#[test]
fn words_with_the_same_tokens_are_no_candidates_for_each_other() {
    let model = model("tiny-bert");
    let own = Written::new(&["
        # text = horses du river
        1 horses NOUN _ _ 0 root _
        2-3 du _ _ _ _ _ _
        2 de ADP _ _ 4 case _
        3 le DET _ _ 2 det _
        4 river NOUN _ _ 1 nmod _"]);
    let text = TreebankOptions {
        input: Some(InputMode::Text),
        ..TreebankOptions::default()
    };
    let passages = SentencePassages::new(&model, own.treebank(), text).unwrap();
    let counts = planted(&passages, SyntaxOptions::default(), |item, plan| {
        assert_eq!(tokens_of(item, 1), tokens_of(item, 2));
        // Most to itself, some to the noun.
        plan.set(tokens_of(item, 1), tokens_of(item, 1).start, 0.75);
        plan.set(tokens_of(item, 1), tokens_of(item, 3).start, 0.25);
    });
    assert_eq!(right(&counts, DependentToHead, "case"), (1, 1));
    assert_eq!(right(&counts, DependentToHead, "det"), (0, 0));
    assert_eq!(right(&counts, DependentToHead, ALL), (1, 3));
    assert_eq!((counts.tally().internal, counts.tally().shared), (1, 2));
    // As words of their own they are nothing special.
    let passages =
        SentencePassages::new(&model, own.treebank(), TreebankOptions::default()).unwrap();
    let counts = planted(&passages, SyntaxOptions::default(), |_, _| {});
    assert_eq!(right(&counts, DependentToHead, ALL), (0, 4));
    assert_eq!((counts.tally().internal, counts.tally().shared), (0, 0));
}

#[test]
fn a_causal_model_reaches_only_what_it_sees() {
    let model = model("tiny-gpt2");
    let passages = grammar(&model);
    assert_eq!(passages.input(), InputMode::Text);
    let counts = SyntaxCounts::new(&passages, &SyntaxOptions::default());
    let counts = driven(&model, &passages, counts, &Work::default());
    assert!(counts.is_causal());
    for (row, name) in counts.rows().names().iter().enumerate() {
        let total = counts.total(row);
        let [there, back, both] = Direction::ALL.map(|d| counts.reachable(d, row));
        assert_eq!(there + back, both, "{name}");
        if !name.starts_with("all") && name != "root" {
            assert_eq!(both, total, "{name}");
        }
        for direction in Direction::ALL {
            for head in counts.live() {
                let right = counts.score(direction, head, row).part;
                assert!(right <= counts.reachable(direction, row), "{name}");
            }
        }
    }
    let det = counts.rows().find("det").unwrap();
    // Of 1,742 determiners 27 stand behind the word that they belong to.
    assert_eq!(counts.reachable(DependentToHead, det), 27);
    assert_eq!(counts.reachable(HeadToDependent, det), 1715);
    let best = counts.best(&counts);
    let of = |name: &str| best.iter().find(|row| row.relation == name).unwrap();
    // Determiners stand before their nouns: only attention of the noun can find them.
    assert_eq!(of("det").best().direction, HeadToDependent);
    assert!(of("det").best().score.part > 0);
    let [there, back, both] = of("det").directions;
    assert_eq!(
        (there.baseline_in_reach, back.baseline_in_reach),
        (false, true)
    );
    assert!(both.baseline_in_reach);
    let [there, back, _] = of("obj").directions;
    assert_eq!(
        (there.baseline_in_reach, back.baseline_in_reach),
        (true, false)
    );
}

#[test]
fn sentences_that_do_not_fit_are_counted() {
    let model = model("tiny-bert");
    let treebank = Treebank::new(&assets().join("grammar/dev.conllu")).with_limit(Some(50));
    let short = TreebankOptions {
        max_length: Some(12),
        ..TreebankOptions::default()
    };
    let passages = SentencePassages::new(&model, treebank.clone(), short).unwrap();
    let counts = SyntaxCounts::new(&passages, &SyntaxOptions::default());
    let counts = driven(&model, &passages, counts, &Work::default());
    let tally = *counts.tally();
    assert_eq!(tally.sentences, 50);
    let long = treebank.open().unwrap().filter(|sentence| {
        let text = sentence.as_ref().unwrap().spaced_text().text;
        model.encode(&text, None, None).unwrap().len() > 12
    });
    let long = long.count() as u64;
    assert!(long > 0);
    assert_eq!((tally.too_long, tally.studied()), (long, 50 - long));
    assert_eq!(counts.total(0), tally.words);
    assert!(tally.words < passages.info().counts.words);
}

/// Stops after so many steps.
struct Stop(usize);

impl Watch for Stop {
    fn advance(&mut self, _: u64, _: u64) -> ControlFlow<()> {
        if self.0 == 0 {
            return ControlFlow::Break(());
        }
        self.0 -= 1;
        ControlFlow::Continue(())
    }

    fn begin(&mut self, pass: watch::Purpose, _: u64, _: u64) {
        assert_eq!(pass, watch::Purpose::Attention);
    }
}

#[test]
fn counts_go_on_and_depend_on_no_threads() {
    let model = model("tiny-bert");
    let treebank = Treebank::new(&assets().join("grammar/dev.conllu")).with_limit(Some(120));
    let passages = SentencePassages::new(&model, treebank, TreebankOptions::default()).unwrap();
    let options = SyntaxOptions {
        rows: RowMode::First,
        sd_view: true,
        ..SyntaxOptions::default()
    };
    let counts = SyntaxCounts::new(&passages, &options);
    let whole = driven(&model, &passages, counts.clone(), &spread(1, 100));
    let progress = Progress::new(counts);
    let mut progress = stopped(&model, &passages, progress, &spread(2, 100), &mut Stop(2));
    let done = progress.done(120);
    assert!(done > 0 && done < 120, "{done}");
    drive(&model, &passages, &mut progress, &spread(3, 100), &mut ()).unwrap();
    assert_eq!(*progress.study(), whole);
    // Counts of another treebank do not go on here.
    let own = Written::new(&[POSSESSOR]);
    let other = SentencePassages::new(&model, own.treebank(), TreebankOptions::default()).unwrap();
    let other = SyntaxCounts::new(&other, &options);
    let refused = Progress::new(other).resume(progress.save().unwrap());
    assert!(matches!(
        refused,
        Err(Error::StateMismatch {
            what: "the treebank",
            ..
        })
    ));
}

/// Chosen on one treebank, scored on another.
#[test]
fn heads_can_be_chosen_elsewhere() {
    let model = model("tiny-bert");
    let open = |limit| {
        let treebank = Treebank::new(&assets().join("grammar/dev.conllu")).with_limit(Some(limit));
        SentencePassages::new(&model, treebank, TreebankOptions::default()).unwrap()
    };
    let count = |passages: &SentencePassages| {
        let counts = SyntaxCounts::new(passages, &SyntaxOptions::default());
        driven(&model, passages, counts, &Work::default())
    };
    let (few, many) = (count(&open(30)), count(&open(200)));
    let honest = many.best(&few);
    let same = many.best(&many);
    assert!(
        honest.len() < same.len(),
        "some relations are not among the first 30 sentences"
    );
    for found in &honest {
        let best = same
            .iter()
            .find(|other| other.relation == found.relation)
            .unwrap();
        assert!(
            found.best().score.part
                <= best.directions.map(|d| d.score.part)[found.best().direction as usize]
        );
        assert!(found.baseline.score.part <= best.baseline.score.part);
        let row = few.rows().find(&found.relation).unwrap();
        assert_eq!(found.best().chosen_by.whole, few.total(row));
        assert_eq!(found.best().score.whole, found.total);
    }
}
