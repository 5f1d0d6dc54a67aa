use bertology_testkit::Tensors;

use super::*;
use crate::Adam;
use crate::edge::{BatchSize, Classifier, Design, HeldStates, Profile, Split};

const LAYERS: usize = 3;
const HIDDEN: usize = 9;
const CLASSES: usize = 5;
const UNITS: usize = 7;
const STEPS: usize = 50;
/// What 50 steps in f32 may differ by, in whichever order sums are added.
const TOLERANCE: f32 = 1e-4;

/// Those of `make_edge_golden.py`: the spans of a target.
type Spans = ([u32; 2], [u32; 2]);
const SENTENCES: [&[Spans]; 4] = [
    &[
        ([0, 1], [1, 2]),
        ([1, 2], [1, 2]),
        ([2, 5], [1, 2]),
        ([3, 4], [2, 6]),
    ],
    &[([6, 8], [8, 9]), ([8, 9], [8, 9]), ([9, 10], [6, 10])],
    &[
        ([10, 11], [12, 15]),
        ([12, 15], [10, 11]),
        ([11, 13], [12, 15]),
        ([14, 15], [14, 15]),
        ([10, 15], [12, 13]),
    ],
    &[
        ([16, 17], [17, 18]),
        ([18, 22], [17, 18]),
        ([19, 20], [17, 18]),
    ],
];
const BATCHES: [&[u32]; 4] = [&[0, 1], &[2], &[3, 0], &[1, 2, 3]];

/// The factors of one step, from the file; or none.
struct Recorded {
    input: Vec<f32>,
    units: Vec<f32>,
}

impl Recorded {
    /// Of every step.
    fn all(golden: &Tensors, on: bool) -> Vec<Self> {
        let factors = |name: &str, dropout: f32, step: usize| -> Vec<f32> {
            let kept: Vec<u8> = golden.whole(name);
            let size = kept.len() / STEPS;
            let kept = kept[step * size..][..size].iter();
            let factor = |kept: &u8| match (on, *kept) {
                (false, _) => 1.0,
                (true, 0) => 0.0,
                (true, _) => 1.0 / (1.0 - dropout),
            };
            kept.map(factor).collect()
        };
        (0..STEPS)
            .map(|step| Self {
                input: factors("kept.input", 0.2, step),
                units: factors("kept.units", 0.3, step),
            })
            .collect()
    }
}

fn apply(row: &mut [f32], factors: &[f32], at: u32) {
    let factors = factors[at as usize * row.len()..].iter();
    row.iter_mut()
        .zip(factors)
        .for_each(|(value, factor)| *value *= factor);
}

impl Masks<f32> for Recorded {
    fn input(&self, key: u64, row: &mut [f32]) {
        // All of a sentence's pieces are in some span.
        let first = SENTENCES[(key >> 32) as usize]
            .iter()
            .map(|(a, b)| a[0].min(b[0]))
            .min();
        apply(row, &self.input, first.unwrap() + key as u32);
    }

    fn units(&self, target: u32, row: &mut [f32]) {
        apply(row, &self.units, target);
    }
}

#[test]
fn fifty_steps_are_torchs() {
    let golden = Tensors::golden("probes/edge.safetensors");
    let labels: Vec<u16> = golden.whole("labels");
    let states = HeldStates::new(LAYERS, HIDDEN, golden.f32("states")).unwrap();
    let mut split = Split::new(2, CLASSES).unwrap();
    let mut rows = labels.chunks_exact(CLASSES);
    for sentence in SENTENCES {
        for (span1, span2) in sentence {
            let row = rows.next().unwrap().iter().zip(0..);
            let own: Vec<u16> = row
                .filter(|(y, _)| **y == 1)
                .map(|(_, label)| label)
                .collect();
            split.target(*span1, Some(*span2), &own, 0).unwrap();
        }
        split.end_sentence();
    }
    let settings = Settings {
        batch: BatchSize::Sentences(1),
        adam: Adam {
            learning_rate: 0.01,
            amsgrad: true,
            ..Adam::default()
        },
        mixing_rate: 0.03,
        clip: 2.0,
        ..Profile::Fast.settings(&split)
    };
    let design = Design {
        projection: 6,
        classifier: Classifier::Mlp(UNITS),
        ..Design::default()
    };
    let shape = Shape::new(design, Reading::Mix(2), &states, &split).unwrap();
    for seed in [0, 1] {
        for dropout in ["off", "on"] {
            let mut training = Training::new(shape, seed, &settings);
            let mut before = Vec::new();
            for array in training.arrays() {
                let values = golden.f32(&format!("{seed}.before.{}", array.name));
                assert_eq!(values.len(), array.values.len(), "{}", array.name);
                before.extend(values);
            }
            training.values.copy_from_slice(&before);
            let losses = golden.f32(&format!("{seed}.{dropout}.losses"));
            let mut room = Room::default();
            for (step, masks) in Recorded::all(&golden, dropout == "on").iter().enumerate() {
                let batch = Batch::new(&split, BATCHES[step % BATCHES.len()]);
                let size = LAYERS * HIDDEN;
                let all = states.values();
                let own = batch
                    .pieces
                    .iter()
                    .flat_map(|piece| &all[*piece as usize * size..][..size]);
                let input = Input {
                    states: &own.copied().collect::<Vec<_>>(),
                    batch: &batch,
                    layers: LAYERS,
                };
                let sum = |training: &Training| training.live.as_ref().unwrap().losses;
                let earlier = sum(&training);
                training
                    .step_with(&mut room, input, &settings, masks)
                    .unwrap();
                let loss = (sum(&training) - earlier) as f32;
                let expected = losses[step];
                assert!(
                    (loss - expected).abs() < TOLERANCE,
                    "{seed} {dropout} {step}: {loss} {expected}"
                );
            }
            for array in training.arrays() {
                // It has no effect and no gradient; torch moves it by the noise of its sums.
                let fixed = array.name.ends_with("attention.bias");
                let when = if fixed {
                    "before"
                } else {
                    &format!("{dropout}.after")
                };
                let expected = golden.f32(&format!("{seed}.{when}.{}", array.name));
                for (at, (found, expected)) in array.values.iter().zip(expected).enumerate() {
                    assert!(
                        (found - expected).abs() < TOLERANCE,
                        "{seed} {dropout} {}[{at}]: {found}, torch {expected}",
                        array.name
                    );
                }
            }
        }
    }
}

/// Random first values fire by chance; then nothing fires for some epochs, while the loss falls all the time.
#[test]
fn a_loss_that_falls_is_progress() {
    let mut split = Split::new(1, 2).unwrap();
    split.target([0, 1], None, &[0], 0).unwrap();
    split.end_sentence();
    let scores = [0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.2, 0.6, 0.9];
    let ended = |profile: Profile, loss: fn(usize) -> f64| {
        let settings = Settings {
            patience: 5,
            halving_patience: 1,
            most_validations: 99,
            ..profile.settings(&split)
        };
        let mut course = Course::new(Reading::Single(0), 1);
        let ends = scores.iter().enumerate().find(|(at, f1)| {
            let validation = Validation {
                step: *at as u64,
                train_loss: 1.0,
                loss: loss(*at),
                f1: **f1,
                factor: 1.0,
            };
            course.add(validation, &settings);
            course.stop.is_some()
        });
        (ends.map(|(at, _)| at), course.factor)
    };
    assert_eq!(
        ended(Profile::Fast, |at| 1.0 / (at + 1) as f64),
        (None, 1.0)
    );
    let (end, factor) = ended(Profile::Fast, |_| 1.0);
    assert!(end == Some(5) && factor < 1.0);
    let (end, _) = ended(Profile::Paper, |at| 1.0 / (at + 1) as f64);
    assert_eq!(end, Some(5));
}
