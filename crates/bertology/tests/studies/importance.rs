//! Importance and entropy.

use bertology::drive::{Progress, Study, drive};
use bertology::evaluate::MaskedModel;
use bertology::importance::{ImportanceOptions, importance};
use bertology::watch::Savable;
use bertology::{
    Corpus, Error, Granularity, HeadId, HeadMask, HeadTable, Importance, ImportanceState,
    LoadedModel, Target, evaluate,
};
use bertology_testkit::Tensors;

use super::fixture::{
    Fixture, HEAD_DIM, HEADS, HIDDEN, LAYERS, budget, difference, driven, rows, spread, stop_after,
    stopped,
};

const ALL: [Granularity; 4] = [
    Granularity::Example,
    Granularity::Token,
    Granularity::Batch { size: 3 },
    Granularity::Script { size: 3 },
];

fn run(
    fixture: &Fixture,
    model: &LoadedModel,
    rows: &[(String, usize)],
    granularity: Granularity,
) -> Importance {
    let corpus = fixture.corpus(model, rows);
    let options = ImportanceOptions::new(granularity);
    importance(model, &corpus, &options, &budget(64), &mut ()).unwrap()
}

/// Nothing added yet, of all heads.
fn fresh(
    model: &LoadedModel,
    corpus: &Corpus,
    granularity: Granularity,
) -> Result<ImportanceState, Error> {
    let whole = MaskedModel::new(model, None, false)?;
    ImportanceState::new(&whole, corpus, granularity)
}

#[test]
fn threads_change_no_bit_and_batches_only_rounding() {
    let fixture = Fixture::new();
    let model = fixture.model();
    for granularity in ALL {
        let mut first: Option<Importance> = None;
        for tokens in [1, 40, 1000] {
            let corpus = fixture.corpus(&model, &rows(29));
            let options = ImportanceOptions::new(granularity);
            let one = importance(&model, &corpus, &options, &spread(1, tokens), &mut ()).unwrap();
            let many = importance(&model, &corpus, &options, &spread(3, tokens), &mut ()).unwrap();
            assert_eq!(one, many, "{granularity}, {tokens} tokens a batch");
            let first = first.get_or_insert_with(|| one.clone());
            let raw = difference(first.raw.values(), one.raw.values());
            let entropy = difference(first.entropy.values(), one.entropy.values());
            assert!(
                raw < 1e-6 && entropy < 1e-6,
                "{granularity}: {raw:e} {entropy:e}"
            );
            assert_eq!(first.evaluation.metrics, one.evaluation.metrics);
        }
    }
}

/// Scoring everything twice is scoring it once, except where gradients are never cleared.
#[test]
fn repeating_or_reordering_the_data_changes_nothing_but_the_scripts_scores() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let once = rows(12);
    let twice = [once.clone(), once.clone()].concat();
    let reversed: Vec<_> = once.iter().rev().cloned().collect();
    for granularity in ALL {
        let base = run(&fixture, &model, &once, granularity);
        let doubled = run(&fixture, &model, &twice, granularity);
        let backwards = run(&fixture, &model, &reversed, granularity);
        let repeated = difference(base.raw.values(), doubled.raw.values());
        let reordered = difference(base.raw.values(), backwards.raw.values());
        let entropy = difference(base.entropy.values(), doubled.entropy.values());
        assert!(entropy < 1e-6, "{entropy:e}");
        assert!((base.evaluation.loss - doubled.evaluation.loss).abs() < 1e-6);
        if matches!(granularity, Granularity::Script { .. }) {
            assert!(repeated > 0.1 && reordered > 0.01, "{repeated} {reordered}");
        } else {
            // 12 is a multiple of the batch size, so the batches stay the same ones.
            assert!(
                repeated < 1e-6 && reordered < 1e-6,
                "{repeated:e} {reordered:e}"
            );
        }
    }
}

#[test]
fn granularities_are_ordered_and_meet_where_they_must() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let data = rows(20);
    let of = |granularity| run(&fixture, &model, &data, granularity);
    let example = of(Granularity::Example);
    let token = of(Granularity::Token);
    let ratio = example.evaluation.tokens as f64 / example.evaluation.examples as f64;
    let per_example =
        |found: &Importance| -> Vec<f64> { found.raw.values().iter().map(|v| v * ratio).collect() };
    let single = per_example(&of(Granularity::Batch { size: 1 }));
    assert!(difference(example.raw.values(), &single) < 1e-6);
    for size in [2, 7, 20, 50] {
        let batch = per_example(&of(Granularity::Batch { size }));
        for ((t, e), b) in token
            .raw
            .values()
            .iter()
            .zip(example.raw.values())
            .zip(&batch)
        {
            assert!(*t >= e - 1e-12 && *e >= b - 1e-12, "{t} {e} {b}");
        }
        assert!(
            difference(example.raw.values(), &batch) > 0.1,
            "batches of {size}"
        );
    }
    // One batch: nothing was there to be cleared.
    let (batch, script) = (
        Granularity::Batch { size: 20 },
        Granularity::Script { size: 20 },
    );
    assert_eq!(of(batch).raw, of(script).raw);
}

/// The definitions written out over signed gradients of single sentences.
#[test]
fn scores_are_those_of_the_definition() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let data = rows(11);
    let texts: Vec<&str> = data.iter().map(|(text, _)| text.as_str()).collect();
    let targets: Vec<_> = data.iter().map(|(_, l)| Target::Label(*l)).collect();
    let gradients = model.mask_gradients(&texts, &targets).unwrap();
    let tokens: usize = texts.iter().map(|t| t.split(' ').count() + 2).sum();
    let cells = LAYERS * HEADS;

    let mean = |rows: &[HeadTable], cell: usize| -> f64 {
        rows.iter().map(|g| g.values()[cell]).sum::<f64>() / rows.len() as f64
    };
    let check = |granularity, expected: Vec<f64>| {
        let found = run(&fixture, &model, &data, granularity);
        assert_eq!(found.evaluation.tokens, tokens as u64);
        let off = difference(&expected, found.raw.values());
        assert!(off < 1e-6, "{granularity}: {off:e}");
    };
    let example = (0..cells).map(|cell| {
        gradients
            .iter()
            .map(|g| g.values()[cell].abs())
            .sum::<f64>()
            / gradients.len() as f64
    });
    check(Granularity::Example, example.collect());
    for size in [1, 4, 11] {
        let batch = (0..cells).map(|cell| {
            let means = gradients.chunks(size).map(|batch| mean(batch, cell).abs());
            means.sum::<f64>() / tokens as f64
        });
        check(Granularity::Batch { size }, batch.collect());
        let script = (0..cells).map(|cell| {
            let mut running = 0.0;
            let sums = gradients.chunks(size).map(|batch| {
                running += mean(batch, cell);
                f64::abs(running)
            });
            sums.sum::<f64>() / tokens as f64
        });
        check(Granularity::Script { size }, script.collect());
    }
    let outputs = model.head_outputs(&texts).unwrap();
    let upward = model.head_output_gradients(&texts, &targets).unwrap();
    let token = (0..cells).map(|cell| {
        let id = HeadId {
            layer: cell / HEADS,
            head: cell % HEADS,
        };
        let sums = outputs.iter().zip(&upward).map(|(output, gradient)| {
            let rows = output[id]
                .data
                .chunks(HEAD_DIM)
                .zip(gradient[id].data.chunks(HEAD_DIM));
            rows.map(|(c, g)| {
                c.iter()
                    .zip(g)
                    .map(|(c, g)| f64::from(c * g))
                    .sum::<f64>()
                    .abs()
            })
            .sum::<f64>()
        });
        sums.sum::<f64>() / outputs.len() as f64
    });
    check(Granularity::Token, token.collect());
}

/// A small change of one factor changes the mean loss as its signed score says.
#[test]
fn a_score_is_the_slope_of_the_loss() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let data = rows(6);
    let corpus = fixture.corpus(&model, &data);
    let texts: Vec<&str> = data.iter().map(|(text, _)| text.as_str()).collect();
    let targets: Vec<_> = data.iter().map(|(_, l)| Target::Label(*l)).collect();
    let gradients = model.mask_gradients(&texts, &targets).unwrap();
    for id in model.model().heads() {
        let at = |factor: f64| {
            let mut mask = HeadMask::ones(model.model());
            mask.set(id, factor);
            let found =
                evaluate::evaluate(&model, &corpus, Some(&mask), &budget(200), &mut ()).unwrap();
            found.loss
        };
        let slope = (at(1.05) - at(0.95)) / 0.1;
        let signed = gradients.iter().filter_map(|g| g.get(id)).sum::<f64>() / 6.0;
        // f32 passes: 1e-7 of a loss near 1, divided by 0.1.
        assert!(
            (slope - signed).abs() < 2e-5 + 0.01 * signed.abs(),
            "{id}: {slope} {signed}"
        );
    }
}

#[test]
fn entropy_is_that_of_the_attention_and_bounded_by_the_number_of_keys() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let data = rows(9);
    let found = run(&fixture, &model, &data, Granularity::Example);
    let texts: Vec<&str> = data.iter().map(|(text, _)| text.as_str()).collect();
    let attentions = model.attentions(&texts).unwrap();
    let lengths = attentions
        .iter()
        .map(|a| a[HeadId { layer: 0, head: 0 }].rows as f64);
    let tokens: f64 = lengths.clone().sum();
    let bound = lengths.map(|n| n * n.ln()).sum::<f64>() / tokens;
    for (id, entropy) in found.entropy.iter() {
        let sum: f64 = attentions
            .iter()
            .flat_map(|a| &a[id].data)
            .map(|p| f64::from(*p))
            .filter(|p| *p > 0.0)
            .map(|p| -p * p.ln())
            .sum();
        assert!((entropy - sum / tokens).abs() < 1e-6, "{id}");
        assert!((0.0..=bound + 1e-9).contains(&entropy), "{id}");
    }
}

#[test]
fn heads_that_look_everywhere_alike_have_the_largest_entropy() {
    let fixture = Fixture::with_weights(|name, values| {
        if name.contains("attention.self.query") {
            values.fill(0.0);
        }
    });
    let model = fixture.model();
    let data = rows(9);
    let found = run(&fixture, &model, &data, Granularity::Example);
    let lengths = data
        .iter()
        .map(|(text, _)| (text.split(' ').count() + 2) as f64);
    let tokens: f64 = lengths.clone().sum();
    let expected = lengths.map(|n| n * n.ln()).sum::<f64>() / tokens;
    for (id, entropy) in found.entropy.iter() {
        assert!(
            (entropy - expected).abs() < 1e-6,
            "{id}: {entropy} {expected}"
        );
    }
}

/// The mask multiplies what comes after the softmax, so the last layer's entropy cannot see it.
#[test]
fn entropy_is_of_the_attention_before_the_mask() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(9));
    let mut mask = HeadMask::ones(model.model());
    for head in 0..HEADS {
        mask.set(
            HeadId {
                layer: LAYERS - 1,
                head,
            },
            0.0,
        );
    }
    let options = ImportanceOptions::new(Granularity::Example);
    let plain = importance(&model, &corpus, &options, &budget(100), &mut ()).unwrap();
    let request = options.mask(&mask).compute_masked(true);
    let masked = importance(&model, &corpus, &request, &budget(100), &mut ()).unwrap();
    assert_eq!(plain.entropy, masked.entropy);
    // A masked head has a slope too, and counts only if asked for.
    let last = HeadId {
        layer: LAYERS - 1,
        head: 0,
    };
    assert!(masked.raw.get(last).unwrap() > 0.0);
    let skipped = importance(&model, &corpus, &options.mask(&mask), &budget(100), &mut ()).unwrap();
    assert_eq!(skipped.raw.get(last), None);
    assert_eq!(skipped.entropy.get(last), None);
    assert_eq!(skipped.raw.live().count(), (LAYERS - 1) * HEADS);
    assert_eq!(skipped.raw.values()[(LAYERS - 1) * HEADS], 0.0);
    // Masked and not computed is the same function.
    assert_eq!(masked.evaluation.metrics, skipped.evaluation.metrics);
    assert!((masked.evaluation.loss - skipped.evaluation.loss).abs() < 1e-6);
}

#[test]
fn a_head_without_values_has_score_zero_and_is_not_missed() {
    let dead = HeadId { layer: 1, head: 2 };
    let fixture = Fixture::with_weights(|name, values| {
        let rows = if name.ends_with("bias") {
            HEAD_DIM
        } else {
            HEAD_DIM * HIDDEN
        };
        if name.contains("layer.1.attention.self.value") {
            values[2 * rows..3 * rows].fill(0.0);
        }
    });
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(9));
    for granularity in ALL {
        let options = ImportanceOptions::new(granularity);
        let found = importance(&model, &corpus, &options, &budget(100), &mut ()).unwrap();
        assert_eq!(found.raw.get(dead), Some(0.0), "{granularity}");
        assert!(
            found
                .raw
                .iter()
                .all(|(id, score)| id == dead || score > 0.0)
        );
    }
    let whole = evaluate::evaluate(&model, &corpus, None, &budget(100), &mut ()).unwrap();
    let without = model.without_heads([dead]).unwrap();
    let without = evaluate::evaluate(&without, &corpus, None, &budget(100), &mut ()).unwrap();
    assert!((whole.loss - without.loss).abs() < 1e-6);
}

/// Heads 0 and 1 made alike with half the output each: together what one was, and each half of it.
#[test]
fn a_doubled_head_shares_its_score() {
    let both = |halves: f32| {
        Fixture::with_weights(move |name, values| {
            if !name.contains("layer.1.attention") {
                return;
            }
            if name.contains("self.") {
                let rows = if name.ends_with("bias") {
                    HEAD_DIM
                } else {
                    HEAD_DIM * HIDDEN
                };
                values.copy_within(..rows, rows);
            } else if name.contains("attention.output.dense.weight") {
                for row in values.chunks_mut(HIDDEN) {
                    let first: Vec<f32> = row[..HEAD_DIM].to_vec();
                    for (j, value) in first.into_iter().enumerate() {
                        row[j] = value * halves;
                        row[HEAD_DIM + j] = value * (1.0 - halves);
                    }
                }
            }
        })
    };
    let (alone, shared) = (both(1.0), both(0.5));
    let (alone, shared) = (alone.model(), shared.model());
    let inputs = ["w7 w8 w9", "w20 w31"];
    let targets = [Target::Label(0), Target::Label(2)];
    let whole = alone.mask_gradients(&inputs, &targets).unwrap();
    let halves = shared.mask_gradients(&inputs, &targets).unwrap();
    for (whole, halves) in whole.iter().zip(&halves) {
        let score = |table: &HeadTable, head| table.get(HeadId { layer: 1, head }).unwrap();
        let half = score(whole, 0) / 2.0;
        assert!(half.abs() > 1e-7 && score(whole, 1) == 0.0);
        for head in 0..2 {
            assert!((score(halves, head) - half).abs() < 1e-4 * half.abs() + 1e-9);
        }
    }
}

/// Importance of a sentence is the size of its gradient in transformers.
#[test]
fn signed_scores_are_those_of_transformers() {
    let path = super::fixture::golden("bert-absolute");
    let golden = Tensors::read(&path.join("golden.safetensors"));
    let integers = |name: &str| golden.whole::<i64>(name);
    let (ids, segments) = (integers("input_ids"), integers("token_type_ids"));
    let (attended, labels) = (integers("attention_mask"), integers("labels"));
    let expected = golden.f64("ones.mask_grad");
    let width = ids.len() / labels.len();
    let mut inputs = Vec::new();
    for start in (0..ids.len()).step_by(width) {
        let keep = |all: &[i64]| -> Vec<u32> {
            let row = start..start + width;
            let row = row.filter(|i| attended[*i] == 1);
            row.map(|i| u32::try_from(all[i]).unwrap()).collect()
        };
        inputs.push(bertology::Sequence {
            segments: keep(&segments),
            ..bertology::Sequence::new(keep(&ids))
        });
    }
    let targets: Vec<_> = labels.iter().map(|l| Target::Label(*l as usize)).collect();
    let model = LoadedModel::open(&path).unwrap();
    let found = model.mask_gradients(&inputs, &targets).unwrap();
    let found: Vec<f64> = found.iter().flat_map(|t| t.values().to_vec()).collect();
    let off = difference(&expected, &found);
    assert!(off < 1e-4, "{off:e}");
}

#[test]
fn an_interrupted_run_goes_on_where_it_was_and_ends_with_the_same_bits() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(30));
    for granularity in ALL {
        let options = ImportanceOptions::new(granularity);
        let whole = importance(&model, &corpus, &options, &budget(30), &mut ()).unwrap();
        let state = fresh(&model, &corpus, granularity).unwrap();
        assert!(matches!(state.finish(), Err(Error::NoExamples)));
        let mut watch = stop_after(11);
        let progress = Progress::new(state);
        let mut progress = stopped(&model, &corpus, progress, &budget(30), &mut watch);
        let done = progress.done(30);
        assert!((11..30).contains(&done));
        let expected: Vec<u64> = (2..2 + done).collect();
        assert_eq!(watch.lines, expected);
        drive(&model, &corpus, &mut progress, &budget(30), &mut ()).unwrap();
        assert_eq!(progress.study().finish().unwrap(), whole, "{granularity}");
    }
}

#[test]
fn parts_add_up_where_they_can() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let data = rows(17);
    let part = |rows: &[(String, usize)], granularity| {
        let corpus = fixture.corpus(&model, rows);
        let state = fresh(&model, &corpus, granularity).unwrap();
        driven(&model, &corpus, state, &budget(50))
    };
    for granularity in ALL {
        let options = ImportanceOptions::new(granularity);
        let corpus = fixture.corpus(&model, &data);
        let whole = importance(&model, &corpus, &options, &budget(50), &mut ()).unwrap();
        let mut sum = part(&data[..9], granularity);
        let merged = sum.merge(part(&data[9..], granularity));
        if matches!(granularity, Granularity::Script { .. }) {
            assert!(matches!(merged, Err(Error::Merge { .. })));
            continue;
        }
        merged.unwrap();
        let sum = sum.finish().unwrap();
        assert!(difference(whole.raw.values(), sum.raw.values()) < 1e-6);
        assert_eq!(whole.evaluation.metrics, sum.evaluation.metrics);
    }
    // Nine examples are three whole batches; ten are not.
    let mut state = part(&data[..10], Granularity::Batch { size: 3 });
    let other = state.clone();
    assert!(matches!(state.merge(other), Err(Error::Merge { .. })));
}

#[test]
fn a_state_is_only_continued_by_the_study_that_made_it() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let corpus = fixture.corpus(&model, &rows(3));
    let state = fresh(&model, &corpus, Granularity::Example).unwrap();
    let saved = Progress::new(state).save().unwrap();
    let other = fresh(&model, &corpus, Granularity::Script { size: 4 }).unwrap();
    let error = Progress::new(other).resume(saved.clone()).unwrap_err();
    let expected = "the saved state does not fit this request: the granularity was example, now \
                    script:4";
    assert_eq!(error.to_string(), expected);
    let fewer = model.without_heads([HeadId { layer: 0, head: 0 }]).unwrap();
    let fewer = fresh(&fewer, &corpus, Granularity::Example).unwrap();
    let error = Progress::new(fewer).resume(saved).unwrap_err();
    assert!(
        matches!(
            error,
            Error::StateMismatch {
                what: "the set of heads",
                ..
            }
        ),
        "{error}"
    );
    let error = fresh(&model, &corpus, Granularity::Batch { size: 0 }).unwrap_err();
    assert!(error.to_string().contains("the batch size is 0"), "{error}");
}

#[test]
fn a_number_that_is_not_finite_names_its_line() {
    for (value, what) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let fixture = Fixture::with_weights(move |name, values| {
            // Only texts with the word w30 meet it.
            if name.contains("word_embeddings") {
                values[30 * HIDDEN] = value;
            }
        });
        let model = fixture.model();
        let mut data = rows(12);
        for (text, _) in &mut data {
            *text = text.replace("w30", "w31");
        }
        data[7].0 = "w6 w30".to_owned();
        let corpus = fixture.corpus(&model, &data);
        let options = ImportanceOptions::new(Granularity::Example);
        let error = importance(&model, &corpus, &options, &budget(40), &mut ()).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("line 9: the value at Embeddings is not a finite number"),
            "{what}: {message}"
        );
        let Error::Example { source, .. } = error else {
            panic!("{message}")
        };
        assert!(matches!(*source, Error::Model(_)));
    }
}

#[test]
fn without_heads_there_is_nothing_to_score() {
    let fixture = Fixture::new();
    let model = fixture.model();
    let none = model.without_heads(model.model().heads()).unwrap();
    let corpus = fixture.corpus(&model, &rows(3));
    let error = fresh(&none, &corpus, Granularity::Example).unwrap_err();
    assert!(matches!(error, Error::NoHeads { .. }), "{error}");
    // A layer without heads is no obstacle for the others.
    let layer = (0..HEADS).map(|head| HeadId { layer: 1, head });
    let partial = model.without_heads(layer).unwrap();
    let found = run(&fixture, &partial, &rows(5), Granularity::Example);
    assert_eq!(found.raw.live().count(), (LAYERS - 1) * HEADS);
    assert!(
        found
            .raw
            .values()
            .iter()
            .chain(found.entropy.values())
            .all(|v| v.is_finite())
    );
}
