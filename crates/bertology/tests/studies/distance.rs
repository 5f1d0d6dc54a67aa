//! How far heads look: planted maps whose distance is known exactly, and words that are not tokens.

use bertology::attention::distance::{DistanceSums, MeanDistance};
use bertology::attention::{
    Fate, InputMode, RowMode, SentenceItem, SentencePassages, Supply, TreebankOptions,
};
use bertology::data::conllu::Treebank;
use bertology::drive::{Contribution, Lens, Study};
use bertology::model::{Matrix, Pass};
use bertology::{Error, HeadId, LoadedModel};

use super::fixture::seen;
use super::syntax::{Plan, Written, assets, model};

const ONLY: HeadId = HeadId { layer: 0, head: 0 };

/// The distances of a head that attends as planned.
fn planted(
    passages: &SentencePassages,
    plan: impl Fn(&SentenceItem, &mut Plan),
) -> Result<[MeanDistance; 3], Error> {
    let model = LoadedModel::open(passages.model().checkpoint().folder()).unwrap();
    let mut sums = DistanceSums::new(&model, RowMode::Mean);
    let lens = sums.lens();
    for raw in passages.open(0).unwrap() {
        let Fate::Studied(mut given) = passages.prepare(raw.unwrap()).unwrap() else {
            panic!("all fit");
        };
        let passage = given.remove(0);
        let tokens = passage.sequence.len();
        let mut weights = Plan::new(tokens);
        plan(&passage.item, &mut weights);
        let mut part = lens.begin(&passage.item, &passage.sequence).unwrap();
        let map = Matrix::new(&weights.weights, tokens, tokens);
        lens.see(&passage.item, &mut part, &seen(Pass::Forward, ONLY, map));
        lens.close(&passage.item, &mut part)?;
        let item = &passage.item;
        let found = Contribution { item, part, tokens };
        sums.add(Fate::Studied(found)).unwrap();
    }
    sums.finish()
}

fn means(found: &[MeanDistance; 3]) -> [Option<f64>; 3] {
    found.each_ref().map(|of| of.mean.get(ONLY))
}

fn grammar(name: &str) -> SentencePassages {
    let treebank = Treebank::new(&assets().join("grammar/dev.conllu")).with_limit(Some(40));
    SentencePassages::new(&model(name), treebank, TreebankOptions::default()).unwrap()
}

fn tokens_of(item: &SentenceItem, word: usize) -> std::ops::Range<usize> {
    item.words.tokens_of(item.words.words().start + word)
}

/// Every token looks k to the left, where there is one: the distance is k, and sentences do not differ.
#[test]
fn a_head_that_looks_k_tokens_back_has_distance_k() {
    let passages = grammar("tiny-bert");
    for k in [0, 1, 3] {
        let found = planted(&passages, |_, plan| {
            for token in k..plan.tokens {
                plan.set(token..token + 1, token - k, 1.0);
            }
        });
        let found = found.unwrap();
        let [tokens, inner, _] = means(&found);
        assert_eq!((tokens, inner), (Some(k as f64), Some(k as f64)));
        assert!(found[0].standard_error.get(ONLY).unwrap() < 1e-6);
    }
}

/// Whatever the number of their tokens, words are one step apart.
#[test]
fn a_head_that_looks_k_words_back_has_distance_k() {
    let passages = grammar("tiny-bert");
    for k in [1, 2] {
        let found = planted(&passages, |item, plan| {
            for word in k..item.words.len() {
                let to = tokens_of(item, word - k).start;
                plan.set(tokens_of(item, word), to, 1.0);
            }
        });
        let found = found.unwrap();
        let [_, inner, words] = means(&found);
        assert!((words.unwrap() - k as f64).abs() < 1e-12);
        assert!(inner.unwrap() > k as f64, "some words have several tokens");
    }
}

/// A uniform row over n tokens: the sum of |i - j| over all pairs is n(n² - 1)/3, over n² weights.
#[test]
fn a_uniform_head_has_the_mean_distance_of_all_pairs() {
    let passages = grammar("tiny-gpt2");
    let lengths: Vec<f64> = passages
        .open(0)
        .unwrap()
        .map(|raw| match passages.prepare(raw.unwrap()).unwrap() {
            Fate::Studied(given) => given[0].sequence.len() as f64,
            Fate::LeftOut(why) => panic!("{why:?}"),
        })
        .collect();
    let found = planted(&passages, |_, plan| plan.weights.fill(0.5)).unwrap();
    let distance: f64 = lengths.iter().map(|n| n * (n * n - 1.0) / 3.0).sum();
    let weight: f64 = lengths.iter().map(|n| n * n).sum();
    let [tokens, inner, _] = means(&found);
    assert!((tokens.unwrap() - distance / weight).abs() < 1e-12);
    // Nothing is special here.
    assert_eq!(tokens, inner);
}

/// A head that looks at special tokens alone has a distance between tokens and none between words.
#[test]
fn special_tokens_count_where_it_is_said() {
    let passages = grammar("tiny-bert");
    let found = planted(&passages, |_, plan| {
        let end = plan.tokens - 1;
        plan.set(1..end, end, 1.0);
    });
    let found = found.unwrap();
    let [tokens, inner, words] = means(&found);
    assert!(tokens.unwrap() > 1.0);
    assert_eq!((inner, words), (None, None));
    assert_eq!(found.each_ref().map(|of| of.sentences[0]), [40, 0, 0]);
}

/// `du` is one word: from the noun behind it to the noun before it there are two steps, not three.
#[test]
fn words_that_share_their_tokens_are_one_word() {
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
    let found = planted(&passages, |item, plan| {
        plan.set(tokens_of(item, 3), tokens_of(item, 0).start, 1.0);
    });
    assert_eq!(means(&found.unwrap())[2], Some(2.0));
    let passages =
        SentencePassages::new(&model, own.treebank(), TreebankOptions::default()).unwrap();
    let found = planted(&passages, |item, plan| {
        plan.set(tokens_of(item, 3), tokens_of(item, 0).start, 1.0);
    });
    assert_eq!(means(&found.unwrap())[2], Some(3.0));
}

#[test]
fn a_map_that_is_not_finite_is_refused() {
    let passages = grammar("tiny-bert");
    let error = planted(&passages, |_, plan| plan.weights[1] = f32::NAN).unwrap_err();
    assert!(matches!(error, Error::NotFinite { .. }), "{error}");
}
