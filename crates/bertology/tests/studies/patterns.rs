//! Surface patterns of planted maps: closed forms, and identities that hold for any map.

use bertology::attention::patterns::{
    Anchors, Average, Behaviour, Denominators, Gradients, Key, KeyClass, PatternOptions, Patterns,
    PatternsState, Thresholds, TokenClasses,
};
use bertology::attention::{Fate, LeftOut, TextItem};
use bertology::drive::{Contribution, Lens, Study};
use bertology::model::{Matrix, Pass};
use bertology::{HeadId, Sequence};
use proptest::prelude::{ProptestConfig, any, prop, proptest};
use proptest::test_runner::TestCaseError;

use super::fixture::{Fixture, seen};

pub(super) const CLS: u32 = 2;
pub(super) const SEP: u32 = 3;
const DOT: u32 = 10;
const COMMA: u32 = 11;
const HEAD: HeadId = HeadId { layer: 1, head: 2 };

pub(super) fn classes(causal: bool) -> TokenClasses {
    TokenClasses {
        anchors: match causal {
            true => Anchors::First,
            false => Anchors::Special { cls: CLS, sep: SEP },
        },
        punctuation: [('.', vec![DOT]), (',', vec![COMMA])].into(),
    }
}

pub(super) fn exact() -> PatternOptions {
    PatternOptions {
        denominators: Denominators::Exact,
        ..PatternOptions::default()
    }
}

fn smoothed() -> PatternOptions {
    PatternOptions {
        entropy_smoothing: true,
        ..PatternOptions::default()
    }
}

/// A document: token ids, the map of [`HEAD`], and its gradient where that is studied.
struct Document {
    ids: Vec<u32>,
    map: Vec<f32>,
    gradient: Option<Vec<f32>>,
}

impl Document {
    fn new(ids: &[u32], cell: impl Fn(usize, usize) -> f64) -> Self {
        let n = ids.len();
        let cells = (0..n * n).map(|at| cell(at / n, at % n) as f32);
        Self {
            ids: ids.to_vec(),
            map: cells.collect(),
            gradient: None,
        }
    }
}

/// Puts planted maps of one head through the lens.
fn planted(state: &mut PatternsState, document: &Document) {
    let lens = state.lens();
    let item = TextItem {
        ids: document.ids.clone(),
        special: vec![false; document.ids.len()],
        cut: 0,
    };
    let n = item.ids.len();
    let mut part = lens.begin(&item, &Sequence::new(item.ids.clone())).unwrap();
    let mut see = |pass, values: &[f32]| {
        let event = seen(pass, HEAD, Matrix::new(values, n, n));
        lens.see(&item, &mut part, &event);
    };
    see(Pass::Forward, &document.map);
    if let Some(gradient) = &document.gradient {
        see(Pass::Backward, gradient);
    }
    lens.close(&item, &mut part).unwrap();
    let found = Contribution {
        item: &item,
        part,
        tokens: n,
    };
    state.add(Fate::Studied(found)).unwrap();
}

fn measured(causal: bool, options: PatternOptions, documents: &[Document]) -> Patterns {
    let model = Fixture::new().model();
    let mut state = PatternsState::new(&model, classes(causal), options).unwrap();
    for document in documents {
        planted(&mut state, document);
    }
    state.finish().unwrap()
}

fn value(average: &Average) -> f64 {
    average.mean.get(HEAD).unwrap()
}

fn key(found: &Patterns, key: Key) -> f64 {
    value(found.key(key).unwrap())
}

/// f32 maps: 2⁻²⁴ a cell; entropy is summed in f32.
#[track_caller]
fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 2e-6, "{found} {expected}");
}

/// `[CLS] w . w w , w [SEP]`
const IDS: [u32; 8] = [CLS, 20, DOT, 21, 22, COMMA, 23, SEP];
const N: usize = IDS.len();

fn one_hot(target: impl Fn(usize) -> usize) -> impl Fn(usize, usize) -> f64 {
    move |i, j| f64::from(u8::from(j == target(i)))
}

#[test]
fn a_head_that_looks_at_the_next_token() {
    let next = || [Document::new(&IDS, one_hot(|i| (i + 1).min(N - 1)))];
    let n = N as f64;
    let found = measured(false, PatternOptions::default(), &next());
    close(key(&found, Key::Next), (n - 1.0) / n);
    close(key(&found, Key::Itself), 1.0 / n);
    close(key(&found, Key::Previous), 0.0);
    assert_eq!(value(&found.entropy.all), 0.0);
    assert_eq!(value(&found.entropy.normalized), 0.0);
    let thresholds = Thresholds::default();
    let at = found.behaviours(&thresholds);
    assert!(at.contains(&(HEAD, Some(Behaviour::Next))));
    assert_eq!(at.iter().filter(|(_, b)| b.is_some()).count(), 1);
    let found = measured(false, exact(), &next());
    assert_eq!(key(&found, Key::Next), 1.0);

    let previous = [Document::new(&IDS, one_hot(|i| i.saturating_sub(1)))];
    let found = measured(false, exact(), &previous);
    assert_eq!(key(&found, Key::Previous), 1.0);
    close(key(&found, Key::Itself), 1.0 / n);
    let found = measured(false, smoothed(), &previous);
    close(key(&found, Key::Previous), (n - 1.0) / n);
    // One-hot rows, smoothed: the specification's number for n = 8.
    assert!((value(&found.entropy.all) - 1.0754e-3).abs() < 5e-8);
    let ids: Vec<u32> = (20..148).collect();
    let long = [Document::new(&ids, one_hot(|i| (i + 1) % 128))];
    let found = measured(false, smoothed(), &long);
    assert!((value(&found.entropy.all) - 1.4945e-3).abs() < 5e-8);
    assert!((value(&found.entropy.one) - 1.4945e-3).abs() < 5e-8);
}

#[test]
fn a_head_that_looks_everywhere() {
    let n = N as f64;
    for options in [PatternOptions::default(), exact(), smoothed()] {
        let uniform = [Document::new(&IDS, |_, _| 1.0 / n)];
        let found = measured(false, options, &uniform);
        let neighbour = match options.denominators {
            Denominators::Paper => (n - 1.0) / n / n,
            Denominators::Exact => 1.0 / n,
        };
        close(key(&found, Key::Itself), 1.0 / n);
        close(key(&found, Key::Next), neighbour);
        close(key(&found, Key::Previous), neighbour);
        for of in [Key::Cls, Key::Sep, Key::SepToSep, Key::RestToSep] {
            close(key(&found, of), 1.0 / n);
        }
        close(key(&found, Key::Punctuation), 2.0 / n);
        for entropy in [&found.entropy.all, &found.entropy.one] {
            close(value(entropy), n.ln());
        }
        close(value(&found.entropy.normalized), 1.0);
        assert!((found.entropy.uniform - n.ln()).abs() < 1e-12);
    }
}

#[test]
fn a_head_that_looks_at_the_end() {
    // The sink is every [SEP], wherever it occurs: half of the attention to each of two.
    let two = [CLS, 20, SEP, 21, DOT, SEP];
    let found = measured(
        false,
        PatternOptions::default(),
        &[
            Document::new(&IDS, one_hot(|_| N - 1)),
            Document::new(&two, |_, j| if two[j] == SEP { 0.5 } else { 0.0 }),
        ],
    );
    for of in [Key::Sep, Key::SepToSep, Key::RestToSep] {
        assert_eq!(key(&found, of), 1.0);
        let error = &found.key(of).unwrap().standard_error;
        assert_eq!(error.get(HEAD), Some(0.0));
    }
    close(value(&found.entropy.all), std::f64::consts::LN_2 / 2.0);
    let named = found.behaviours(&Thresholds::default());
    assert!(named.contains(&(HEAD, Some(Behaviour::Sep))));

    // Half itself, half the next token; the last row itself.
    let n = N as f64;
    let half = Document::new(&IDS, |i, j| match j {
        _ if i == N - 1 => f64::from(u8::from(j == i)),
        _ if j == i || j == i + 1 => 0.5,
        _ => 0.0,
    });
    let found = measured(false, exact(), &[half]);
    close(key(&found, Key::Next), 0.5);
    close(
        value(&found.entropy.all),
        std::f64::consts::LN_2 * (n - 1.0) / n,
    );
}

#[test]
fn a_document_without_a_class_says_nothing_of_it() {
    let plain = [20, 21, 22, 23];
    let documents = || {
        [
            Document::new(&IDS, one_hot(|_| 2)),
            Document::new(&plain, one_hot(|_| 2)),
        ]
    };
    // The paper divides by all tokens and so counts a document without punctuation as 0.
    let found = measured(false, PatternOptions::default(), &documents());
    let punctuation = found.key(Key::Punctuation).unwrap();
    assert_eq!((punctuation.documents, value(punctuation)), (2, 0.5));
    let within = found.key(Key::SepToSep).unwrap();
    assert_eq!((within.documents, value(within)), (1, 0.0));
    let found = measured(false, exact(), &documents());
    let punctuation = found.key(Key::Punctuation).unwrap();
    assert_eq!((punctuation.documents, value(punctuation)), (1, 1.0));
    assert_eq!(punctuation.standard_error.live().count(), 0);
    assert_eq!(found.key(Key::RestToSep).unwrap().documents, 1);
    // Rows count alike in the micro average: 8 of the first document, 4 of the second.
    let plain = found.key(Key::Itself).unwrap();
    close(plain.micro.get(HEAD).unwrap(), 2.0 / 12.0);
    close(value(plain), (1.0 / 8.0 + 1.0 / 4.0) / 2.0);
    let error = plain.standard_error.get(HEAD).unwrap();
    close(error, 1.0 / 16.0);
}

#[test]
fn later_behaviours_override_earlier_ones() {
    // All attention goes to the period that is the next token of one row, and to it alone: punctuation.
    let all = [20, DOT, DOT, DOT, DOT, DOT];
    let named = |ids: &[u32], cell: &dyn Fn(usize, usize) -> f64, thresholds: &Thresholds| {
        let found = measured(false, exact(), &[Document::new(ids, cell)]);
        let all = found.behaviours(thresholds);
        all.iter().find(|(id, _)| *id == HEAD).unwrap().1
    };
    let default = Thresholds::default();
    let next = one_hot(|i| (i + 1).min(5));
    assert_eq!(named(&all, &next, &default), Some(Behaviour::Punctuation));
    let none = Thresholds {
        class: 1.0,
        ..default
    };
    assert_eq!(named(&all, &next, &none), Some(Behaviour::Next));
    // Exactly at the threshold is not above it.
    let one = Thresholds {
        neighbour: 1.0,
        ..none
    };
    assert_eq!(named(&all, &next, &one), None);
    // 49 tokens: ln 49 is 3.89.
    let long: Vec<u32> = (20..69).collect();
    let broad = |_: usize, _: usize| 1.0 / 49.0;
    assert_eq!(named(&long, &broad, &default), Some(Behaviour::Broad));
}

#[test]
fn causal_maps() {
    for (n, expected) in [(8, 1.325_575), (128, 3.878_168)] {
        let ids: Vec<u32> = (0..n).map(|at| 20 + at).collect();
        let uniform = |i: usize, j: usize| match j <= i {
            true => 1.0 / (i + 1) as f64,
            false => 0.0,
        };
        for smoothing in [false, true] {
            let options = PatternOptions {
                entropy_smoothing: smoothing,
                ..PatternOptions::default()
            };
            let found = measured(true, options, &[Document::new(&ids, uniform)]);
            assert!((found.entropy.uniform - expected).abs() < 1e-6);
            close(value(&found.entropy.all), found.entropy.uniform);
            close(value(&found.entropy.one), f64::from(n).ln());
            close(value(&found.entropy.normalized), 1.0);
            assert!(found.key(Key::Next).is_none());
        }
    }
    // Rows that see no punctuation are no evidence against it; the first row sees nothing before it.
    let ids = [20, 21, DOT, 22];
    let to_dot = |i: usize, j: usize| f64::from(u8::from(j == if i < 2 { 0 } else { 2 }));
    let found = measured(true, exact(), &[Document::new(&ids, to_dot)]);
    assert_eq!(key(&found, Key::Punctuation), 1.0);
    assert_eq!(key(&found, Key::First), 0.5);
    let previous = one_hot(|i| i.saturating_sub(1));
    let found = measured(true, exact(), &[Document::new(&ids, previous)]);
    assert_eq!(key(&found, Key::Previous), 1.0);
    // A single token sees itself and has no share of anything.
    let found = measured(true, exact(), &[Document::new(&[DOT], |_, _| 1.0)]);
    assert_eq!(key(&found, Key::Itself), 1.0);
    assert_eq!(value(&found.entropy.all), 0.0);
    assert_eq!(found.entropy.normalized.documents, 0);
    assert_eq!(found.key(Key::Previous).unwrap().documents, 0);
}

#[test]
fn gradients_by_what_attention_goes_to() {
    let options = PatternOptions {
        gradients: Gradients::TimesAttention,
        ..PatternOptions::default()
    };
    // |G| is 1 to [CLS], 2 to [SEP], 3 to punctuation, 4 elsewhere, with signs; 8 rows.
    let size = |j: usize| match IDS[j] {
        CLS => 1.0,
        SEP => 2.0,
        DOT | COMMA => 3.0,
        _ => 4.0,
    };
    let signed = |i: usize, j: usize| size(j) * if (i + j).is_multiple_of(2) { 1.0 } else { -1.0 };
    let n = N as f64;
    let mut document = Document::new(&IDS, |_, _| 1.0 / n);
    document.gradient = Some(Document::new(&IDS, signed).map);
    let mut causal = Document::new(&IDS, |_, _| 1.0 / n);
    causal.gradient.clone_from(&document.gradient);

    let found = measured(false, options, &[document]);
    let expected = [
        (KeyClass::Cls, 1.0, 1.0),
        (KeyClass::Sep, 2.0, 2.0),
        (KeyClass::Punctuation, 3.0, 6.0),
        (KeyClass::Other, 4.0, 16.0),
    ];
    assert_eq!(found.gradients.len(), expected.len());
    for (of, (target, mean, row_sum)) in found.gradients.iter().zip(expected) {
        assert_eq!(of.target, target);
        assert_eq!(value(&of.mean), mean);
        assert_eq!(value(&of.row_sum), row_sum);
        let [weighted, weighted_sum] = of.times_attention.as_ref().unwrap();
        close(value(weighted), mean / n);
        close(value(weighted_sum), row_sum / n);
    }
    // What a causal query does not see has a gradient and does not count: [SEP], last, is seen by one row.
    let found = measured(true, options, &[causal]);
    let [first, punctuation, other] = &found.gradients[..] else {
        panic!("three classes");
    };
    assert_eq!(first.target, KeyClass::First);
    assert_eq!((value(&first.mean), value(&first.row_sum)), (1.0, 1.0));
    assert_eq!(value(&punctuation.mean), 3.0);
    close(value(&punctuation.row_sum), 3.0 * (6.0 + 3.0) / n);
    // Keys 1, 3, 4, 6 of size 4 and 7 of size 2, seen by 7, 5, 4, 2 and 1 rows.
    close(value(&other.mean), (4.0 * 18.0 + 2.0) / 19.0);
}

#[test]
fn what_is_left_out_is_counted_and_what_is_not_finite_refused() {
    let model = Fixture::new().model();
    let mut state = PatternsState::new(&model, classes(false), exact()).unwrap();
    assert!(state.finish().is_err());
    state
        .add(Fate::LeftOut(LeftOut::TooLong { tokens: 200 }))
        .unwrap();
    state.add(Fate::LeftOut(LeftOut::Unpaired)).unwrap();
    planted(&mut state, &Document::new(&IDS, one_hot(|_| 0)));
    assert_eq!(state.done(), 3);
    let counts = state.finish().unwrap().counts;
    assert_eq!((counts.sequences, counts.tokens), (1, 8));
    assert_eq!((counts.too_long, counts.unpaired), (1, 1));

    let lens = state.lens();
    let item = TextItem {
        ids: vec![CLS, SEP],
        special: vec![true; 2],
        cut: 0,
    };
    let mut part = lens.begin(&item, &Sequence::new(item.ids.clone())).unwrap();
    let map = [0.5, f32::NAN, 0.5, 0.5];
    let event = seen(Pass::Forward, HEAD, Matrix::new(&map, 2, 2));
    lens.see(&item, &mut part, &event);
    let error = lens.close(&item, &mut part).unwrap_err();
    assert!(error.to_string().contains("attention of L1H2"), "{error}");
}

/// Rows that sum to 1, and ids of all classes.
fn random(seed: u32, ids: &[u32], causal: bool) -> Document {
    let mut state = u64::from(seed) + 1;
    let n = ids.len();
    let mut map = vec![0.0_f32; n * n];
    for (i, row) in map.chunks_exact_mut(n).enumerate() {
        let seen = if causal { i + 1 } else { n };
        let mut sum = 0.0;
        let mut values = vec![0.0_f64; seen];
        for value in &mut values {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            // Some of them 0.
            *value = ((state >> 40) as f64 / f64::from(1 << 24) - 0.2).max(0.0);
            sum += *value;
        }
        if sum == 0.0 {
            values[0] = 1.0;
            sum = 1.0;
        }
        for (to, value) in row.iter_mut().zip(values) {
            *to = (value / sum) as f32;
        }
    }
    Document {
        ids: ids.to_vec(),
        map,
        gradient: None,
    }
}

/// What the words of the specification say, cell by cell.
fn by_definition(document: &Document, key: Key) -> f64 {
    let n = document.ids.len();
    let is = |at: usize, id: u32| document.ids[at] == id;
    let mut sum = 0.0;
    for (at, weight) in document.map.iter().enumerate() {
        let (i, j) = (at / n, at % n);
        let counts = match key {
            Key::Itself => i == j,
            Key::Next => i + 1 == j,
            Key::Previous => i == j + 1,
            Key::Sep => is(j, SEP),
            Key::Cls => is(j, CLS),
            Key::First => j == 0,
            Key::Punctuation => is(j, DOT) || is(j, COMMA),
            Key::SepToSep => is(i, SEP) && is(j, SEP),
            Key::RestToSep => !is(i, SEP) && is(j, SEP),
            _ => false,
        };
        if counts {
            sum += f64::from(*weight);
        }
    }
    sum
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sums_follow_their_definitions(
        picks in prop::collection::vec(0_usize..6, 1..24),
        seed in any::<u32>(),
        causal in any::<bool>(),
    ) {
        let ids: Vec<u32> = picks.iter().map(|at| [CLS, SEP, DOT, COMMA, 20, 21][*at]).collect();
        let n = ids.len() as f64;
        let document = random(seed, &ids, causal);
        let paper = measured(causal, PatternOptions::default(), std::slice::from_ref(&document));
        let eligible = measured(causal, exact(), std::slice::from_ref(&document));
        let seps = ids.iter().filter(|id| **id == SEP).count() as f64;
        for (key, average) in &paper.keys {
            let rows = match key {
                Key::SepToSep => seps,
                Key::RestToSep => n - seps,
                _ => n,
            };
            if rows > 0.0 {
                close(value(average) * rows, by_definition(&document, *key));
            } else {
                assert_eq!(average.documents, 0);
            }
            // Divided by fewer rows, never by more.
            let exact = eligible.key(*key).unwrap();
            if exact.documents > 0 {
                assert!(value(exact) >= value(average) - 1e-12 && value(exact) <= 1.0 + 1e-6);
            } else if rows > 0.0 {
                assert_eq!(value(average), 0.0);
            }
        }
        if !causal && seps > 0.0 && seps < n {
            let parts = seps * key(&paper, Key::SepToSep) + (n - seps) * key(&paper, Key::RestToSep);
            assert!((n * key(&paper, Key::Sep) - parts).abs() < 1e-12 * n);
        }
        let entropy = value(&paper.entropy.all);
        assert!((0.0..=paper.entropy.uniform + 1e-6).contains(&entropy), "{entropy}");
    }

    #[test]
    fn entropy_does_not_depend_on_the_order_of_keys(
        n in 1_usize..40,
        seed in any::<u32>(),
        turn in 0_usize..40,
    ) {
        let ids: Vec<u32> = (20..20 + n as u32).collect();
        let document = random(seed, &ids, false);
        let turned = Document::new(&ids, |i, j| f64::from(document.map[i * n + (j + turn) % n]));
        let of = |document: Document| measured(false, exact(), &[document]).entropy;
        let (a, b) = (of(document), of(turned));
        for (a, b) in [(&a.all, &b.all), (&a.one, &b.one)] {
            close(value(a), value(b));
        }
    }

    /// Shards in any order: sums of f64 rounded in another order.
    #[test]
    fn shards_agree_in_any_order(
        lengths in prop::collection::vec(1_usize..9, 2..7),
        seed in any::<u32>(),
        split in 0_usize..7,
    ) {
        let documents: Vec<Document> = lengths
            .iter()
            .enumerate()
            .map(|(at, n)| random(seed ^ at as u32, &IDS[N - n..], false))
            .collect();
        let model = Fixture::new().model();
        let of = |documents: &mut dyn Iterator<Item = &Document>| {
            let mut state = PatternsState::new(&model, classes(false), exact()).unwrap();
            documents.for_each(|document| planted(&mut state, document));
            state
        };
        let whole = of(&mut documents.iter()).finish().unwrap();
        let split = split.min(documents.len());
        let mut parts = of(&mut documents[split..].iter().rev());
        parts.merge(of(&mut documents[..split].iter())).unwrap();
        let parts = parts.finish().unwrap();
        assert_eq!(whole.counts, parts.counts);
        let all = |found: &Patterns| {
            let entropy = &found.entropy;
            let keys = found.keys.iter().map(|(_, average)| average);
            let all = keys.chain([&entropy.all, &entropy.one, &entropy.normalized]);
            all.flat_map(|average| [&average.mean, &average.micro, &average.standard_error])
                .map(|table| table.get(HEAD))
                .collect::<Vec<_>>()
        };
        for (a, b) in all(&whole).into_iter().zip(all(&parts)) {
            let alike = match (a, b) {
                // A standard error near 0 is the root of a difference of rounded numbers.
                (Some(a), Some(b)) => (a - b).abs() <= 1e-12 * a.abs().max(1e-3),
                (a, b) => a == b,
            };
            if !alike {
                return Err(TestCaseError::fail(format!("{a:?} {b:?}")));
            }
        }
    }
}
