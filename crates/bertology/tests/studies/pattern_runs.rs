//! Patterns of real models: planted weights, batches, interruption, classes found in vocabularies.

use bertology::attention::patterns::{
    Anchors, Denominators, Gradients, Key, PatternOptions, Patterns, PatternsState, TokenClasses,
};
use bertology::attention::{TextOptions, TextPassages};
use bertology::data::{Documents, LabelOrder};
use bertology::drive::{Progress, Study, Work, drive};
use bertology::watch::Savable;
use bertology::{Error, HeadId, HeadTable, LoadedModel, Objective, Source, TooLong};

use super::fixture::{
    Fixture, HEAD_DIM, HEADS, HIDDEN, difference, driven, embedded, rows, spread, stop_after,
    stopped,
};
use super::language::text;

pub(super) fn exact() -> PatternOptions {
    PatternOptions {
        denominators: Denominators::Exact,
        ..PatternOptions::default()
    }
}

fn lines(fixture: &Fixture, name: &str, content: &str) -> Source {
    Source::text(&fixture.write(name, content), Documents::Lines)
}

fn state(model: &LoadedModel, options: PatternOptions) -> PatternsState {
    let classes = TokenClasses::of_model(model, None).unwrap();
    PatternsState::new(model, classes, options).unwrap()
}

fn measured(model: &LoadedModel, passages: &TextPassages, work: &Work) -> Patterns {
    let state = driven(model, passages, state(model, exact()), work);
    state.finish().unwrap()
}

/// `position · stretch` on a half circle, in the first two of a hidden state's numbers (and mirrored in the next
/// two, so that their mean is 0): the embeddings' norm turns it into four times itself.
fn on_a_circle(position: usize) -> [f32; 4] {
    let angle = std::f64::consts::PI * position as f64 / 26.0;
    [angle.cos(), angle.sin(), -angle.cos(), -angle.sin()].map(|v| v as f32)
}

/// A checkpoint whose first layer has a head that looks at the next token, one that looks at the previous one,
/// and two that look everywhere.
fn planted() -> Fixture {
    Fixture::with_weights(|name, values| {
        let first = name.contains("encoder.layer.0.attention.self.");
        if name.contains("embeddings.word_embeddings") || name.contains("token_type_embeddings") {
            values.fill(0.0);
        } else if name.contains("position_embeddings") {
            for (position, row) in values.chunks_exact_mut(HIDDEN).enumerate() {
                row.fill(0.0);
                row[..4].copy_from_slice(&on_a_circle(position));
            }
        } else if name.contains("embeddings.LayerNorm.weight") {
            values.fill(1.0);
        } else if name.contains("embeddings.LayerNorm.bias")
            || first && (name.contains("query.bias") || name.contains("key.bias"))
        {
            values.fill(0.0);
        } else if first && (name.contains("query.weight") || name.contains("key.weight")) {
            values.fill(0.0);
            let query = name.contains("query");
            for (head, step) in [(0, 1.0), (1, -1.0)] {
                // Queries are turned a position further or back, and so large that nothing but the nearest key
                // is left after the softmax.
                let (turn, scale) = match query {
                    true => (std::f64::consts::PI * step / 26.0, 2e4),
                    false => (0.0, 1.0),
                };
                let rotation = [[turn.cos(), -turn.sin()], [turn.sin(), turn.cos()]];
                for (i, row) in rotation.iter().enumerate() {
                    for (j, value) in row.iter().enumerate() {
                        values[(head * HEAD_DIM + i) * HIDDEN + j] = (value * scale) as f32;
                    }
                }
            }
        }
    })
}

/// Through a real checkpoint: a next-token head has exactly 1, or (n − 1)/n by the paper's count.
#[test]
fn planted_heads_are_found() {
    let fixture = planted();
    let model = fixture.model();
    let texts = lines(&fixture, "texts.txt", &text(12));
    let passages = TextPassages::new(&model, texts, TextOptions::default()).unwrap();
    let found = measured(&model, &passages, &spread(1, 64));
    let of = |key: Key, head: usize| {
        let table = &found.key(key).unwrap().mean;
        table.get(HeadId { layer: 0, head }).unwrap()
    };
    assert_eq!(of(Key::Next, 0), 1.0);
    assert_eq!(of(Key::Previous, 1), 1.0);
    for uniform in 2..HEADS {
        let id = HeadId {
            layer: 0,
            head: uniform,
        };
        let entropy = found.entropy.all.mean.get(id).unwrap();
        assert!((entropy - found.entropy.uniform).abs() < 2e-6);
        assert!((of(Key::Itself, uniform) - of(Key::Next, uniform)).abs() < 1e-6);
    }
    assert_eq!(
        found.entropy.all.mean.get(HeadId { layer: 0, head: 0 }),
        Some(0.0)
    );

    let paper = state(&model, PatternOptions::default());
    let paper = driven(&model, &passages, paper, &spread(1, 64));
    let paper = paper.finish().unwrap();
    let lengths: Vec<f64> = rows(12)
        .iter()
        .map(|(text, _)| text.split(' ').count() as f64 + 2.0)
        .collect();
    let expected = lengths.iter().map(|n| (n - 1.0) / n).sum::<f64>() / lengths.len() as f64;
    let next = paper
        .key(Key::Next)
        .unwrap()
        .mean
        .get(HeadId { layer: 0, head: 0 });
    assert!((next.unwrap() - expected).abs() < 1e-12);
}

/// Every mean and standard error.
fn tables(found: &Patterns) -> Vec<&HeadTable> {
    let entropy = &found.entropy;
    let keys = found.keys.iter().map(|(_, average)| average);
    let all = keys.chain([&entropy.all, &entropy.one, &entropy.normalized]);
    let gradients = found.gradients.iter();
    let gradients = gradients.flat_map(|of| [&of.mean, &of.row_sum]);
    all.chain(gradients)
        .flat_map(|average| [&average.mean, &average.micro, &average.standard_error])
        .collect()
}

#[test]
fn company_and_threads_change_nothing() {
    for name in ["tiny-bert", "tiny-gpt2"] {
        let model = embedded(name);
        let fixture = Fixture::new();
        let content = "The horses were admired.\nEvery horse behind some houses runs, and Mary \
                       says that the boy sleeps.\nSleep.\nMary says that some horses were admired.\n";
        let texts = lines(&fixture, "texts.txt", &content.repeat(3));
        let options = TextOptions::default();
        let passages = TextPassages::new(&model, texts, options).unwrap();
        let alone = measured(&model, &passages, &spread(1, 1));
        assert_eq!(alone.counts.sequences, 12);
        assert_eq!(measured(&model, &passages, &spread(3, 1)), alone);
        // In company products of another height are rounded in another order: 1e-5, as everywhere.
        let together = measured(&model, &passages, &spread(2, 768));
        for (a, b) in tables(&alone).into_iter().zip(tables(&together)) {
            let off = a.iter().zip(b.iter()).map(|((_, a), (_, b))| (a - b).abs());
            assert!(off.fold(0.0, f64::max) < 1e-5, "{name}");
        }
    }
}

#[test]
fn an_interrupted_study_goes_on_to_the_same_numbers() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let options = PatternOptions {
        gradients: Gradients::TimesAttention,
        ..exact()
    };
    let passages = || {
        let source = fixture.source(&rows(40));
        let passages = TextPassages::new(&model, source, TextOptions::default()).unwrap();
        passages
            .objective(Objective::Labels, LabelOrder::Task)
            .unwrap()
    };
    let work = spread(2, 32);
    let fresh = || state(&model, options);
    let whole = driven(&model, &passages(), fresh(), &work);
    let mut progress = Progress::new(fresh());
    for examples in [1, 17] {
        let watch = &mut stop_after(examples);
        progress = stopped(&model, &passages(), progress, &work, watch);
        assert!((examples..40).contains(&progress.done(40)));
    }
    drive(&model, &passages(), &mut progress, &work, &mut ()).unwrap();
    let saved = progress.save().unwrap();
    let mut parts = progress.into_study();
    assert_eq!(parts, whole);
    assert_eq!(parts.finish().unwrap(), whole.finish().unwrap());

    // A state of another model is refused, and so are parts of different studies.
    let fewer = model.without_heads([HeadId { layer: 0, head: 1 }]).unwrap();
    let other = state(&fewer, options);
    let error = Progress::new(other.clone()).resume(saved).unwrap_err();
    assert!(matches!(error, Error::StateMismatch { .. }), "{error}");
    let error = parts.merge(state(&model, exact())).unwrap_err();
    assert!(error.to_string().contains("different options"), "{error}");
    let other = driven(&fewer, &passages(), other, &work);
    assert!(parts.merge(other.clone()).is_err());
    let found = other.finish().unwrap();
    assert_eq!(found.entropy.all.mean.live().count(), 11);
}

#[test]
fn long_texts_are_skipped_cut_or_refused() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let content = format!("w5 w6 w7\n{}\nw8\n", "w9 ".repeat(30));
    let of = |too_long: TooLong| {
        let options = TextOptions {
            too_long,
            ..TextOptions::default()
        };
        let source = lines(&fixture, "long.txt", &content);
        let passages = TextPassages::new(&model, source, options).unwrap();
        let mut progress = Progress::new(state(&model, exact()));
        drive(&model, &passages, &mut progress, &spread(1, 64), &mut ())?;
        Ok::<_, Error>(*progress.study().counts())
    };
    let counts = of(TooLong::Skip).unwrap();
    assert_eq!(
        (counts.sequences, counts.tokens, counts.too_long),
        (2, 8, 1)
    );
    let counts = of(TooLong::Cut).unwrap();
    assert_eq!((counts.sequences, counts.tokens), (3, 32));
    assert_eq!((counts.cut, counts.tokens_cut), (1, 8));
    let error = of(TooLong::Error).unwrap_err().to_string();
    assert!(
        error.contains("line 2") && error.contains("32 tokens"),
        "{error}"
    );
}

#[test]
fn gradients_need_a_loss() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let passages = |objective| {
        let source = lines(&fixture, "plain.txt", "w5 w6\n");
        let passages = TextPassages::new(&model, source, TextOptions::default()).unwrap();
        passages.objective(objective, LabelOrder::Task)
    };
    let error = passages(Objective::Labels).unwrap_err();
    assert!(matches!(error, Error::NoLabels { .. }), "{error}");
    let error = passages(Objective::CausalLm { bos: false }).unwrap_err();
    assert!(matches!(error, Error::WrongObjective { .. }), "{error}");
    // Without any the engine refuses, and no number is made up.
    let options = PatternOptions {
        gradients: Gradients::Plain,
        ..exact()
    };
    let source = lines(&fixture, "plain.txt", "w5 w6\n");
    let plain = TextPassages::new(&model, source, TextOptions::default()).unwrap();
    let mut progress = Progress::new(state(&model, options));
    let error = drive(&model, &plain, &mut progress, &spread(1, 64), &mut ()).unwrap_err();
    assert!(matches!(error, Error::Model(_)), "{error}");
}

#[test]
fn classes_are_found_in_the_vocabulary() {
    let bert = embedded("tiny-bert");
    let tokenizer = bert.tokenizer().unwrap();
    let classes = TokenClasses::of_model(&bert, None).unwrap();
    let id = |token: &str| tokenizer.token_to_id(token).unwrap();
    assert_eq!(
        classes.anchors,
        Anchors::Special {
            cls: id("[CLS]"),
            sep: id("[SEP]")
        }
    );
    assert_eq!(classes.punctuation[&'.'], [id(".")]);
    let gpt = TokenClasses::of_model(&embedded("tiny-gpt"), Some(".")).unwrap();
    assert_eq!(gpt.anchors, Anchors::First);
    let tokenizer = embedded("tiny-gpt");
    let tokenizer = tokenizer.tokenizer().unwrap();
    let both = [".", ".</w>"].map(|token| tokenizer.token_to_id(token).unwrap());
    assert_eq!(gpt.punctuation[&'.'], both);

    // The paper's marks are taken as far as they exist; those that someone names must.
    let model = Fixture::new().model();
    let found = TokenClasses::of_model(&model, None).unwrap();
    assert_eq!(found.missing().collect::<String>(), ",.");
    let error = TokenClasses::of_model(&model, Some(";")).unwrap_err();
    assert!(error.to_string().contains("`;`"), "{error}");
    let error = TokenClasses::of_model(&model, Some("")).unwrap_err();
    assert!(error.to_string().contains("at least one"), "{error}");
}

/// Masks of a fixed seed: the loss, and so its gradient, does not depend on batches.
#[test]
fn masked_tokens_are_those_of_the_seed() {
    let fixture = super::language::bert();
    let model = fixture.model();
    let of = |seed: u64, work: &Work| {
        let masking = bertology::TokenMasking::Random {
            probability: 0.15,
            seed,
        };
        let source = lines(&fixture, "masked.txt", &text(20));
        let passages = TextPassages::new(&model, source, TextOptions::default()).unwrap();
        let passages = passages
            .objective(Objective::MaskedLm { masking }, LabelOrder::Task)
            .unwrap();
        let options = PatternOptions {
            gradients: Gradients::Plain,
            ..exact()
        };
        let state = driven(&model, &passages, state(&model, options), work);
        state.finish().unwrap()
    };
    let one = of(7, &spread(1, 1));
    let together = of(7, &spread(2, 768));
    for (a, b) in tables(&one).into_iter().zip(tables(&together)) {
        if a.live().count() > 0 && a.values().iter().any(|v| *v != 0.0) {
            assert!(difference(a.values(), b.values()) < 1e-4);
        }
    }
    let other = of(8, &spread(1, 1));
    assert_ne!(one.gradients, other.gradients);
    let size = one.gradients.last().unwrap().mean.mean.values();
    assert!(size.iter().all(|g| *g > 0.0));
}
