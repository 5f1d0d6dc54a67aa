//! Studies on a device, which makes tables of attention maps and keeps the maps.

use bertology::attention::cluster::{DistanceOptions, DistanceState, RowChoice};
use bertology::attention::coref::{CorefCounts, DocumentPassages};
use bertology::attention::distance::DistanceSums;
use bertology::attention::patterns::{Gradients, PatternOptions, PatternsState, TokenClasses};
use bertology::attention::syntax::{SyntaxCounts, SyntaxOptions};
use bertology::attention::{
    Fate, OfSentences, RowMode, SentencePassages, Supply, TextOptions, TextPassages,
    TreebankOptions,
};
use bertology::data::LabelOrder;
use bertology::data::conllu::Treebank;
use bertology::drive::{Lens, Progress, Study, drive};
use bertology::model::bertology_device::Host;
use bertology::{Device, Error, LoadedModel, Objective, Source};
use serde_json::Value;

use super::fixture::{assets, driven, embedded, spread};
use super::syntax::Written;

/// Studied on the processor and on a device: states whose numbers are within 1e-5 of each other's size, or 1e-6; and the bytes
/// that were carried to the device and back.
fn on_both<P, S>(name: &str, supply: &P, fresh: impl Fn(&LoadedModel) -> S) -> u64
where
    P: Supply,
    S: Study,
    S::Lens: Lens<Item = P::Item>,
{
    let work = spread(1, 256);
    let here = embedded(name);
    let there = embedded(name).on(&Device::Host).unwrap();
    let expected = driven(&here, supply, fresh(&here), &work);
    let found = driven(&there, supply, fresh(&there), &work);
    let [expected, found] = [expected, found].map(|state| serde_json::to_value(state).unwrap());
    near(&expected, &found, "");
    there.model().carried()
}

fn near(expected: &Value, found: &Value, place: &str) {
    match (expected, found) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            assert!((a - b).abs() <= 1e-6 + 1e-5 * a.abs(), "{place}: {a} {b}");
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{place}");
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                near(a, b, &format!("{place}[{at}]"));
            }
        }
        (Value::Object(a), Value::Object(b)) => {
            assert!(a.keys().eq(b.keys()), "{place}");
            for (name, a) in a {
                near(a, &b[name], &format!("{place}.{name}"));
            }
        }
        _ => assert_eq!(expected, found, "{place}"),
    }
}

fn texts(model: &LoadedModel, causal: bool) -> TextPassages {
    let source = Source::lines(&assets().join("grammar/dev.txt")).with_limit(Some(40));
    let passages = TextPassages::new(model, source, TextOptions::default()).unwrap();
    if causal {
        let objective = Objective::CausalLm { bos: false };
        return passages.objective(objective, LabelOrder::Task).unwrap();
    }
    passages
}

fn sentences(model: &LoadedModel) -> SentencePassages {
    let treebank = Treebank::new(&assets().join("grammar/dev.conllu")).with_limit(Some(40));
    SentencePassages::new(model, treebank, TreebankOptions::default()).unwrap()
}

fn patterns(model: &LoadedModel, gradients: Gradients, entropy_smoothing: bool) -> PatternsState {
    let classes = TokenClasses::of_model(model, None).unwrap();
    let options = PatternOptions {
        gradients,
        entropy_smoothing,
        ..PatternOptions::default()
    };
    PatternsState::new(model, classes, options).unwrap()
}

/// Bytes of all maps of the passages of a corpus.
fn of_maps<P: Supply>(name: &str, supply: &P) -> u64 {
    let heads = embedded(name).model().heads().count();
    let mut bytes = 0;
    for raw in supply.open(0).unwrap() {
        if let Fate::Studied(passages) = supply.prepare(raw.unwrap()).unwrap() {
            let squares = passages.iter().map(|one| one.sequence.len().pow(2));
            bytes += squares.sum::<usize>() * heads * 4;
        }
    }
    bytes as u64
}

#[test]
fn patterns_on_a_device() {
    for name in ["tiny-bert", "tiny-gpt2"] {
        let causal = name == "tiny-gpt2";
        let texts = texts(&embedded(name), causal);
        for smoothing in [false, true] {
            let plain = |model: &LoadedModel| patterns(model, Gradients::None, smoothing);
            on_both(name, &texts, plain);
        }
        if causal {
            for gradients in [Gradients::Plain, Gradients::TimesAttention] {
                on_both(name, &texts, |model| patterns(model, gradients, false));
            }
        }
    }
}

#[test]
fn distances_of_heads_on_a_device() {
    for (name, rows) in [
        ("tiny-bert", RowChoice::All),
        ("tiny-gpt2", RowChoice::Count(3)),
    ] {
        let texts = texts(&embedded(name), false);
        on_both(name, &texts, |model| {
            let options = DistanceOptions::default().rows(rows, 1);
            DistanceState::new(model, &options).unwrap()
        });
    }
}

#[test]
fn partners_of_words_on_a_device() {
    let model = embedded("tiny-bert");
    for rows in [RowMode::Mean, RowMode::First, RowMode::Last, RowMode::Max] {
        let sentences = sentences(&model);
        on_both("tiny-bert", &sentences, |_| {
            let options = SyntaxOptions {
                rows,
                ..SyntaxOptions::default()
            };
            SyntaxCounts::new(&sentences, &options)
        });
        let treebank = Treebank::new(&assets().join("grammar/dev.conllu")).with_limit(Some(40));
        let options = TreebankOptions::default();
        let documents = DocumentPassages::new(&model, treebank, options).unwrap();
        on_both("tiny-bert", &documents, |_| {
            CorefCounts::new(&documents, rows)
        });
    }
}

/// Several studies share a pass: each gets its own tables, or all get maps where one wants maps.
#[test]
fn studies_of_one_pass_on_a_device() {
    let model = embedded("tiny-bert");
    // Long enough for a map to be larger than tables of it.
    let word = |at: usize| match at {
        1 => "1 horses NOUN _ _ 0 root _".to_owned(),
        _ => format!("{at} see VERB _ _ {} dep _", at - 1),
    };
    let lines: Vec<String> = (1..=60).map(word).collect();
    let long = Written::new(&[lines.join("\n").as_str()]);
    let options = TreebankOptions::default();
    let sentences = SentencePassages::new(&model, long.treebank(), options).unwrap();
    let three = |model: &LoadedModel| {
        (
            Some(OfSentences(patterns(model, Gradients::None, false))),
            (
                Some(SyntaxCounts::new(&sentences, &SyntaxOptions::default())),
                Some(OfSentences(
                    DistanceState::new(model, &DistanceOptions::default()).unwrap(),
                )),
            ),
        )
    };
    let carried = on_both("tiny-bert", &sentences, three);
    let maps = of_maps("tiny-bert", &sentences);
    let with_maps = on_both("tiny-bert", &sentences, |model| {
        (three(model), DistanceSums::new(model, RowMode::Mean))
    });
    assert!(
        carried + maps / 2 < with_maps,
        "{carried} {with_maps} {maps}"
    );
    let none: Option<OfSentences<PatternsState>> = None;
    let alone = on_both("tiny-bert", &sentences, |_| {
        (
            none.clone(),
            SyntaxCounts::new(&sentences, &SyntaxOptions::default()),
        )
    });
    assert!(alone < carried);
}

/// A batch that no buffer holds is computed a half at a time, as often as it takes.
#[test]
fn a_batch_without_room_is_halved() {
    const TOKENS: usize = 2048;
    let arch = embedded("tiny-bert").architecture().clone();
    // Of the largest weights; what a batch needs is more.
    let limit = arch.intermediate_size * arch.hidden_size * 4;
    assert!(TOKENS / 2 * 3 * arch.hidden_size * 4 > limit);
    let study = |limit: usize| {
        let host = Host::with_limits(limit as u64, limit as u64);
        let model = embedded("tiny-bert").with_device(host).unwrap();
        let source = Source::lines(&assets().join("grammar/dev.txt")).with_limit(Some(300));
        let texts = TextPassages::new(&model, source, TextOptions::default()).unwrap();
        let mut progress = Progress::new(patterns(&model, Gradients::None, false));
        drive(&model, &texts, &mut progress, &spread(1, TOKENS), &mut ())?;
        Ok(serde_json::to_string(&progress.into_study()).unwrap())
    };
    assert_eq!(study(64 << 20).unwrap(), study(limit).unwrap());
    // One text alone.
    let error: Error = study(64).unwrap_err();
    assert!(error.to_string().contains("at most 64 bytes"), "{error}");
}
