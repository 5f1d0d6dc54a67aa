//! The embedded model and data: what PyTorch measured when they were made.

use std::fs;

use bertology::drive::Work;
use bertology::importance::{ImportanceOptions, importance};
use bertology::masking::{Threshold, mask_heads};
use bertology::normalize::Normalization;
use bertology::{Corpus, CorpusOptions, Granularity, HeadId, MaskingOptions, Source};

use super::fixture::{assets, embedded, grammar};

#[test]
fn importance_is_what_pytorch_found() {
    let text = fs::read_to_string(assets().join("training.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    let (model, corpus) = grammar(None);
    let options = ImportanceOptions::new(Granularity::Example);
    let found = importance(&model, &corpus, &options, &Work::default(), &mut ()).unwrap();
    assert_eq!(found.evaluation.examples, 1000);
    let mcc = record["dev"]["mcc"].as_f64().unwrap();
    assert!((found.evaluation.metrics.get("mcc").unwrap() - mcc).abs() < 1e-4);
    for (HeadId { layer, head }, score) in found.raw.iter() {
        let expected = record["masking"]["importance"][layer][head]
            .as_f64()
            .unwrap();
        // The record has six decimals.
        assert!(
            (score - expected).abs() < 2e-6,
            "{layer}:{head} {score} {expected}"
        );
    }
}

/// On the first 150 sentences: a good share of the heads can go at little loss.
#[test]
fn some_heads_can_go() {
    let (model, corpus) = grammar(Some(150));
    let mut options = MaskingOptions::default();
    options.threshold = Threshold::Relative(0.9);
    options.normalization = Normalization {
        by_layer: true,
        global: false,
    };
    let found = mask_heads(&model, &corpus, &options, &Work::default(), None, &mut ()).unwrap();
    assert_eq!(found.metric, "mcc");
    assert!(found.kept().live <= 12, "{}", found.kept().live);
    assert!(found.kept().score.unwrap() >= 0.9 * found.base_score);
    // Min-max over all heads changes no ranking.
    options.normalization.global = true;
    assert_eq!(
        mask_heads(&model, &corpus, &options, &Work::default(), None, &mut ())
            .unwrap()
            .mask(),
        found.mask()
    );
}

/// `assets/reference-lm.json`: loss of each sentence, and the mean of |∂loss/∂mask| over them. The
/// record rounds to six and eight decimals; both sides compute in f32.
#[test]
fn language_models_are_what_pytorch_found() {
    let text = fs::read_to_string(assets().join("reference-lm.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    for name in ["tiny-gpt", "tiny-gpt2"] {
        let model = embedded(name);
        let record = &record["models"][name];
        let sentences = record["sentences"].as_array().unwrap();
        assert_eq!(sentences.len(), 20);
        let mut sums = [0.0; 16];
        for sentence in sentences {
            let ids = sentence["ids"].as_array().unwrap().iter();
            let ids: Vec<u32> = ids.map(|id| id.as_u64().unwrap() as u32).collect();
            // GPT-2 read every sentence between two end marks.
            let text = sentence["text"].as_str().unwrap();
            let encoded = model.encode(text, None, None).unwrap().ids;
            let inside = if name == "tiny-gpt2" {
                &ids[1..ids.len() - 1]
            } else {
                &ids[..]
            };
            assert_eq!(encoded, inside, "{text}");
            let sequence = bertology::Sequence::new(ids);
            let experiment = model.experiment(&sequence).unwrap().next_tokens();
            let seen = experiment.run().unwrap();
            let expected = sentence["loss"].as_f64().unwrap();
            let loss = seen.loss().unwrap();
            assert!((loss - expected).abs() < 1e-5, "{text}: {loss} {expected}");
            for (id, gradient) in seen.mask_gradients().unwrap().iter() {
                sums[id.layer * 4 + id.head] += gradient.abs() / 20.0;
            }
        }
        for (at, sum) in sums.iter().enumerate() {
            let expected = record["importance"][at / 4][at % 4].as_f64().unwrap();
            assert!(
                (sum - expected).abs() < 1e-4 * expected,
                "{name} {at}: {sum} {expected}"
            );
        }
    }
}

/// GPT and GPT-2: losses and importance of sentences between two end marks.
#[test]
fn language_models_score_as_pytorch_found() {
    let text = fs::read_to_string(assets().join("reference-lm.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for name in ["tiny-gpt", "tiny-gpt2"] {
        let model = embedded(name);
        let record = &record["models"][name];
        let sentences = record["sentences"].as_array().unwrap();
        let rows: Vec<String> = sentences
            .iter()
            .map(|s| s["ids"].to_string().replace(['[', ',', ']'], " "))
            .collect();
        let path = folder.path().join(name);
        fs::write(&path, rows.join("\n")).unwrap();
        let source = Source::token_ids(&path);
        let corpus = Corpus::new(&model, source, &CorpusOptions::default()).unwrap();
        let options = ImportanceOptions::new(Granularity::Example);
        let found = importance(&model, &corpus, &options, &Work::default(), &mut ()).unwrap();
        for (HeadId { layer, head }, score) in found.raw.iter() {
            let expected = record["importance"][layer][head].as_f64().unwrap();
            // Seven digits of two f32 computations.
            assert!(
                (score - expected).abs() < 2e-6 + 1e-5 * expected,
                "{name} {layer}:{head} {score} {expected}"
            );
        }
        let (mut total, mut count) = (0.0, 0.0);
        for sentence in sentences {
            let targets = sentence["ids"].as_array().unwrap().len() as f64 - 1.0;
            total += sentence["loss"].as_f64().unwrap() * targets;
            count += targets;
        }
        assert_eq!(found.evaluation.targets as f64, count);
        // The record has six decimals.
        assert!(
            (found.evaluation.loss - total / count).abs() < 2e-6,
            "{name}"
        );
        let perplexity = found.evaluation.metrics.get("perplexity").unwrap();
        assert!((perplexity.ln() - found.evaluation.loss).abs() < 1e-12);
    }
}
