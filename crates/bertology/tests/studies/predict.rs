//! Predictions without labels, against transformers.

use std::fs;

use bertology::drive::{Part, Progress, Study, Work, drive};
use bertology::evaluate::MaskedModel;
use bertology::extract::Texts;
use bertology::predict::{
    Answer, FIRST, PredictOptions, PredictState, Prediction, Predictions, Unlabelled,
};
use bertology::{Error, HeadMask, LoadedModel, Source, TooLong, Watch};
use bertology_testkit::Tensors;
use serde_json::Value;

use super::fixture::{Fixture, assets, embedded, golden};

/// f32 against f32, sums in another order: of a probability, and of a logit of size 1.
const TOLERANCE: f64 = 2e-6;

/// Keeps what is told.
#[derive(Default)]
struct Told(Vec<Prediction>);

impl Watch for Told {
    fn prediction(&mut self, said: &Prediction) {
        self.0.push(said.clone());
    }
}

fn predict(
    model: &LoadedModel,
    texts: impl Into<Texts>,
    options: &PredictOptions,
    mask: Option<&HeadMask>,
) -> (Predictions, Vec<Prediction>) {
    let texts = Unlabelled::new(model, texts.into(), options).unwrap();
    let masked = MaskedModel::new(model, mask, false).unwrap();
    let mut told = Vec::new();
    let mut found = None;
    for threads in [1, 3] {
        let work = Work {
            threads,
            batch_tokens: Some(20),
        };
        let mut progress = Progress::new(PredictState::new(&masked, &texts));
        let mut watch = Told::default();
        drive(masked.model(), &texts, &mut progress, &work, &mut watch).unwrap();
        let result = progress.study().finish().unwrap();
        assert!(found.get_or_insert(result.clone()) == &result);
        told = watch.0;
        assert!(told[..result.first.len()] == result.first);
    }
    (found.unwrap(), told)
}

/// Softmax as in any book.
fn softmax(logits: &[f32]) -> Vec<f64> {
    let powers: Vec<f64> = logits.iter().map(|l| f64::from(*l).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

#[test]
fn classes_and_numbers_are_those_of_transformers() {
    for (name, answer) in [
        ("bert-absolute", Answer::Class),
        ("distilbert", Answer::Class),
        ("gpt2", Answer::Class),
        ("bert-regression", Answer::Value),
    ] {
        let model = LoadedModel::open(golden(name)).unwrap();
        let file = Tensors::golden(&format!("engine/{name}/golden.safetensors"));
        let length = file.shape("input_ids")[1];
        let whole = |name: &str| -> Vec<u32> { file.whole(name) };
        let (ids, there) = (whole("input_ids"), whole("attention_mask"));
        let segments = match file.has("token_type_ids") {
            true => whole("token_type_ids"),
            false => vec![0; ids.len()],
        };
        // Ready ids have one segment.
        let rows = (0..file.shape("input_ids")[0]).map(|row| row * length..(row + 1) * length);
        let rows = rows
            .enumerate()
            .filter(|(_, row)| segments[row.clone()].iter().all(|s| *s == 0));
        let rows: Vec<_> = rows.collect();
        assert!(rows.len() >= 2, "{name}");
        let text = rows.iter().map(|(_, row)| {
            let words = row.clone().filter(|at| there[*at] == 1);
            let words: Vec<String> = words.map(|at| ids[at].to_string()).collect();
            words.join(" ") + "\n"
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ids.txt");
        fs::write(&path, text.collect::<String>()).unwrap();
        for (scenario, masked) in [("ones", false), ("some", true)] {
            let logits = format!("{scenario}.logits");
            if !file.has(&logits) {
                continue;
            }
            let shape = file.shape(&format!("{scenario}.head_mask"));
            let factors = file.f64(&format!("{scenario}.head_mask"));
            let mask = HeadMask::from_values(shape[0], shape[1], factors).unwrap();
            let options = PredictOptions::default();
            let source = Source::token_ids(&path);
            let (found, told) = predict(&model, source, &options, masked.then_some(&mask));
            assert_eq!((found.answer, told.len()), (answer, rows.len()), "{name}");
            let outputs = file.shape(&logits)[1];
            assert_eq!(found.classes.len(), outputs);
            let expected = file.f32(&logits);
            for ((row, _), said) in rows.iter().zip(&told) {
                let expected = &expected[row * outputs..(row + 1) * outputs];
                for (found, expected) in said.logits.iter().zip(expected) {
                    let apart = f64::from(found - expected).abs();
                    assert!(
                        apart < 5.0 * TOLERANCE,
                        "{name} {scenario}: {found} {expected}"
                    );
                }
                if answer == Answer::Value {
                    assert!(said.probabilities.is_empty() && said.classes.is_empty());
                    continue;
                }
                let expected = softmax(expected);
                for (found, expected) in said.probabilities.iter().zip(&expected) {
                    assert!(
                        (found - expected).abs() < TOLERANCE,
                        "{name}: {found} {expected}"
                    );
                }
                let most = expected.iter().copied().fold(0.0, f64::max);
                assert_eq!(expected[said.classes[0]], most, "{name}");
            }
            let given: u64 = found.given.iter().sum();
            assert_eq!(
                given,
                if answer == Answer::Value {
                    0
                } else {
                    rows.len() as u64
                }
            );
        }
    }
}

/// Minus the mean logarithm of the probabilities of the right labels is the loss that transformers has for a sentence.
#[test]
fn words_have_the_probabilities_of_transformers() {
    let folder = bertology_testkit::golden("studies/tags");
    let read = |name: &str| -> Value {
        serde_json::from_str(&fs::read_to_string(folder.join(name)).unwrap()).unwrap()
    };
    let (data, expected) = (read("data.json"), read("expected.json"));
    let model = LoadedModel::open(&folder).unwrap();
    let sentences = data.as_array().unwrap();
    let texts: Vec<String> = sentences
        .iter()
        .map(|sentence| {
            let words = sentence["words"].as_array().unwrap();
            let words: Vec<&str> = words.iter().map(|word| word.as_str().unwrap()).collect();
            words.join(" ")
        })
        .collect();
    let mut options = PredictOptions::default();
    options.max_length = Some(24);
    let (found, told) = predict(&model, Texts::given(texts.clone()), &options, None);
    assert_eq!(found.answer, Answer::Words);
    assert_eq!(found.classes[1], "B-PER");
    assert!(found.counts.cut > 0 && found.first.len() == FIRST && told.len() > FIRST);
    let mut compared = 0;
    for (at, sentence) in sentences.iter().enumerate() {
        let golden = &expected["sentences"][at];
        let scored = golden["labels"].as_array().unwrap().iter();
        let scored = scored.filter(|label| label.as_i64() != Some(-100)).count();
        let mut start = 0;
        let mut logs = Vec::new();
        for (word, tag) in sentence["words"]
            .as_array()
            .unwrap()
            .iter()
            .zip(sentence["tags"].as_array().unwrap())
        {
            let own = told.iter().find(|said| {
                said.index == at as u64 && said.word.is_some_and(|word| word.start == start)
            });
            if let Some(said) = own {
                logs.push(said.probabilities[tag.as_u64().unwrap() as usize].ln());
                assert_eq!(said.line, at as u64 + 1);
                let place = said.word.unwrap();
                let part: String = texts[at]
                    .chars()
                    .skip(place.start)
                    .take(place.end - place.start)
                    .collect();
                assert!(word.as_str().unwrap().starts_with(&part), "{part}");
            }
            start += word.as_str().unwrap().chars().count() + 1;
        }
        assert_eq!(logs.len(), scored, "{}", texts[at]);
        let loss = -logs.iter().sum::<f64>() / logs.len() as f64;
        let expected = golden["loss"].as_f64().unwrap();
        assert!(
            (loss - expected).abs() < 1e-5,
            "{loss} {expected}: {}",
            texts[at]
        );
        compared += 1;
    }
    assert_eq!(compared, sentences.len());
}

#[test]
fn parts_and_saved_states_are_the_whole_run() {
    let model = embedded("tiny-bert");
    let source = || Source::lines(&assets().join("grammar/dev.txt")).with_limit(Some(300));
    let options = PredictOptions::default();
    let (whole, told) = predict(&model, source(), &options, None);
    assert_eq!((whole.predictions, whole.counts.sequences), (300, 300));
    assert_eq!(told.len(), 300);
    let texts = Unlabelled::new(&model, source().into(), &options).unwrap();
    let masked = MaskedModel::new(&model, None, false).unwrap();
    let fresh = || {
        Progress::new(PredictState::new(&masked, &texts))
            .chunks_of(70)
            .unwrap()
    };
    // The sizes of batches change last digits.
    let mut alone = fresh();
    drive(&model, &texts, &mut alone, &Work::default(), &mut ()).unwrap();
    let alone = alone.study().finish().unwrap();
    assert_eq!((alone.counts, &alone.given), (whole.counts, &whole.given));
    let parts = (1..=2).map(|number| {
        let part: Part = format!("{number}/2").parse().unwrap();
        let mut progress = fresh().part(Some(part)).unwrap();
        drive(&model, &texts, &mut progress, &Work::default(), &mut ()).unwrap();
        progress.into_part(300).unwrap()
    });
    let merged = fresh().merge(parts.collect()).unwrap();
    assert!(merged.study().finish().unwrap() == alone);
    // A saved state that speaks of a class that is not there is refused.
    let mut state = serde_json::to_value(merged.study()).unwrap();
    let state_of = |value: &Value| serde_json::from_value::<PredictState>(value.clone()).unwrap();
    let blank = PredictState::new(&masked, &texts);
    state_of(&state).agrees(&blank).unwrap();
    state["first"][3]["classes"][0] = 9.into();
    let error = state_of(&state).agrees(&blank).unwrap_err();
    assert!(matches!(error, Error::StateImpossible { .. }), "{error}");
    state["classes"][0] = "other".into();
    let error = state_of(&state).agrees(&blank).unwrap_err();
    assert!(matches!(error, Error::StateMismatch { .. }), "{error}");
}

#[test]
fn what_has_no_answer_is_refused_and_long_texts_are_counted() {
    for name in ["tiny-gpt2", "tiny-gpt"] {
        let texts = Texts::given(["x"]);
        let refused = Unlabelled::new(&embedded(name), texts, &PredictOptions::default());
        let error = refused.unwrap_err();
        assert!(matches!(error, Error::NothingSaid { .. }), "{error}");
    }
    let fixture = Fixture::new();
    let model = fixture.model();
    let mut options = PredictOptions::default();
    options.too_long = TooLong::Window;
    let texts = || Texts::given(["w5 w6 w7 w8 w9", "", "w10"]);
    let error = Unlabelled::new(&model, texts(), &options).unwrap_err();
    assert!(error.to_string().contains("one answer"), "{error}");
    options.max_length = Some(4);
    options.too_long = TooLong::Cut;
    let (found, told) = predict(&model, texts(), &options, None);
    assert_eq!((found.counts.cut, found.counts.tokens_cut), (1, 3));
    assert_eq!((told[0].tokens, told[0].cut), (4, 3));
    options.too_long = TooLong::Skip;
    let (found, told) = predict(&model, texts(), &options, None);
    assert_eq!((found.counts.too_long, found.counts.sequences), (1, 2));
    assert_eq!((told[0].index, told[0].line), (1, 2));
}
