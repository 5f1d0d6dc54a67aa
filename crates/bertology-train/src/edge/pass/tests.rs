use super::*;
use crate::edge::design::{Classifier, Design, Output};
use crate::edge::masks::StepMasks;
use crate::edge::{HeldStates, Split};
use crate::random::Draws;

const LAYERS: usize = 4;
const HIDDEN: usize = 7;
const CLASSES: usize = 5;

fn numbers(count: usize, limit: f64, seed: u64) -> Vec<f64> {
    Draws::new(seed, "test").uniform(count, limit)
}

/// Spans of one piece, of two, of the whole sentence; overlapping and identical ones; both spans the same, as at a root.
fn split(roles: usize, single: bool) -> Split {
    let mut split = Split::new(roles, CLASSES).unwrap();
    let targets: [([u32; 2], [u32; 2], &[u16]); 7] = [
        ([0, 1], [0, 1], &[0]),
        ([0, 2], [1, 3], &[1, 4]),
        ([1, 3], [0, 6], &[]),
        ([0, 6], [4, 5], &[2]),
        ([4, 5], [4, 5], &[3]),
        ([4, 5], [2, 6], &[0, 1, 2]),
        ([2, 5], [0, 1], &[4]),
    ];
    for (at, (span1, span2, labels)) in targets.into_iter().enumerate() {
        let one = [(at % CLASSES) as u16];
        let labels = if single { &one } else { labels };
        let span2 = (roles == 2).then_some(span2);
        split.target(span1, span2, labels, 0).unwrap();
    }
    split.end_sentence();
    split
        .target([7, 9], (roles == 2).then_some([9, 10]), &[1], 0)
        .unwrap();
    split.end_sentence();
    split
}

struct Case {
    shape: Shape,
    layout: Layout,
    batch: Batch,
    states: Vec<f64>,
    masks: StepMasks,
}

impl Case {
    fn new(design: Design, reading: Reading, roles: usize) -> Self {
        Self::of(
            design,
            reading,
            &split(roles, design.output == Output::Softmax),
        )
    }

    fn of(design: Design, reading: Reading, split: &Split) -> Self {
        let held = HeldStates::new(LAYERS, HIDDEN, vec![0.0; 10 * LAYERS * HIDDEN]).unwrap();
        let shape = Shape::new(design, reading, &held, split).unwrap();
        let batch = Batch::new(split, &[0, 1]);
        Self {
            layout: shape.layout(),
            states: numbers(batch.pieces.len() * LAYERS * HIDDEN, 2.0, 3),
            masks: StepMasks::new(&shape, 5, 9),
            batch,
            shape,
        }
    }

    /// Two spans a target, of which the later one is looked at alone.
    fn later(design: Design, reading: Reading) -> Self {
        let split = split(2, design.output == Output::Softmax);
        let case = Self::of(design, reading, &split.later_spans());
        assert!(case.batch.roles.iter().all(|spans| !spans.is_whole()));
        case
    }

    fn values(&self) -> Vec<f64> {
        let mut values: Vec<f64> = self.shape.first_values(11);
        // Away from their first values, where much is zero.
        for (value, more) in values.iter_mut().zip(numbers(self.layout.size, 0.5, 4)) {
            *value += more;
        }
        values
    }

    fn loss(&self, values: &[f64], states: &[f64]) -> (f64, Workspace<f64>) {
        let mut work = Workspace::default();
        let (probe, input) = (self.probe(values), self.input(states));
        probe.forward(&mut work, input, Some(&self.masks));
        (probe.loss(&mut work, &self.batch, 0.25), work)
    }

    fn probe<'a>(&'a self, values: &'a [f64]) -> Probe<'a, f64> {
        Probe {
            shape: &self.shape,
            layout: &self.layout,
            values,
        }
    }

    fn input<'a>(&'a self, states: &'a [f64]) -> Input<'a, f64> {
        Input {
            batch: &self.batch,
            states,
            layers: LAYERS,
        }
    }

    fn gradient(&self, values: &[f64]) -> Vec<f64> {
        let (_, mut work) = self.loss(values, &self.states);
        let mut gradient = vec![f64::NAN; self.layout.size];
        let input = self.input(&self.states);
        self.probe(values)
            .backward(&mut gradient, &mut work, input, Some(&self.masks));
        gradient
    }
}

fn designs() -> Vec<Design> {
    let base = Design {
        projection: 6,
        classifier: Classifier::Mlp(8),
        ..Design::default()
    };
    let mut all = Vec::new();
    for pooling in [
        Pooling::Attention,
        Pooling::Mean,
        Pooling::Last,
        Pooling::Endpoints,
    ] {
        for classifier in [Classifier::Mlp(8), Classifier::Linear] {
            for output in [Output::Sigmoid, Output::Softmax] {
                all.push(Design {
                    pooling,
                    classifier,
                    output,
                    ..base
                });
            }
        }
    }
    all
}

/// Judge: central differences of the loss, for every parameter of every kind of probe, dropout included.
#[test]
fn gradients_are_central_differences() {
    const STEP: f64 = 1e-5;
    for design in designs() {
        for reading in [Reading::Mix(0), Reading::Mix(3), Reading::Single(2)] {
            let cases = [
                Case::new(design, reading, 1),
                Case::new(design, reading, 2),
                Case::later(design, reading),
            ];
            for (kind, case) in cases.into_iter().enumerate() {
                let values = case.values();
                let gradient = case.gradient(&values);
                let largest = gradient.iter().fold(0.0_f64, |m, g| m.max(g.abs()));
                for at in 0..values.len() {
                    let moved = |by: f64| {
                        let mut values = values.clone();
                        values[at] += by;
                        case.loss(&values, &case.states).0
                    };
                    let expected = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
                    let error = (gradient[at] - expected).abs();
                    // Relative to the parameter's own gradient, or to what the difference can resolve.
                    assert!(
                        error < 1e-6 * expected.abs().max(1e-3 * largest),
                        "{design:?} {reading:?} {kind} [{at}] of {:?}: {} {expected}",
                        case.layout,
                        gradient[at]
                    );
                }
                let mixing: f64 = gradient[case.layout.mixing.clone()].iter().sum();
                assert!(mixing.abs() < 1e-12, "shift of the logits: {mixing}");
                for role in &case.layout.roles {
                    if let Some(bias) = role.attention.clone().next_back() {
                        assert_eq!(gradient[bias], 0.0);
                    }
                }
            }
        }
    }
}

/// γ = 0 gives no factor to divide by.
#[test]
fn a_scale_of_zero_has_a_gradient() {
    let design = designs()[0];
    let case = Case::new(design, Reading::Mix(0), 2);
    let mut values = case.values();
    let gamma = case.layout.gamma.start;
    values[gamma] = 0.0;
    let gradient = case.gradient(&values);
    let moved = |by: f64| {
        let mut values = values.clone();
        values[gamma] = by;
        case.loss(&values, &case.states).0
    };
    let expected = (moved(1e-5) - moved(-1e-5)) / 2e-5;
    assert!((gradient[gamma] - expected).abs() < 1e-8 && expected.abs() > 1e-6);
}

/// Judge: the formulas as they stand, without joining or sharing anything.
#[test]
fn logits_follow_the_formulas() {
    for design in designs() {
        let reading = Reading::Mix(3);
        for case in [
            Case::new(design, reading, 1),
            Case::new(design, reading, 2),
            Case::later(design, reading),
        ] {
            let values = case.values();
            let mut work = Workspace::default();
            let probe = case.probe(&values);
            let found = probe
                .forward(&mut work, case.input(&case.states), None)
                .to_vec();
            let expected = plain(&case, &values);
            for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
                assert!(
                    (found - expected).abs() < 1e-12,
                    "{design:?} {at}: {found} {expected}"
                );
            }
        }
    }
}

fn plain(case: &Case, values: &[f64]) -> Vec<f64> {
    let (shape, layout) = (&case.shape, &case.layout);
    let at = |range: &Range<usize>| &values[range.clone()];
    let times = |m: &[f64], x: &[f64]| -> Vec<f64> {
        let row = |row: &[f64]| row.iter().zip(x).map(|(a, b)| a * b).sum();
        m.chunks_exact(x.len()).map(row).collect()
    };
    let plus =
        |a: Vec<f64>, b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a + b).collect() };
    let exps: Vec<f64> = at(&layout.mixing).iter().map(|a| a.exp()).collect();
    let total: f64 = exps.iter().sum();
    let gamma = values[layout.gamma.start];
    let mixed = |piece: usize| -> Vec<f64> {
        (0..HIDDEN)
            .map(|j| {
                let state = |l: usize| case.states[(piece * LAYERS + l) * HIDDEN + j];
                gamma
                    * exps
                        .iter()
                        .enumerate()
                        .map(|(l, e)| e / total * state(l))
                        .sum::<f64>()
            })
            .collect()
    };
    let mut logits = Vec::new();
    for target in 0..case.batch.targets.len() {
        let mut joined = Vec::new();
        for (role, spans) in layout.roles.iter().zip(&case.batch.roles) {
            let found = spans.seen().find(|(other, _)| *other == target);
            let Some((_, span)) = found else {
                // r = 0 in the place of a span that is not looked at.
                joined.extend(vec![0.0; shape.parts() * shape.design.projection]);
                continue;
            };
            let span = spans.ranges[span];
            let vectors: Vec<Vec<f64>> = range(span)
                .map(|piece| plus(times(at(&role.weight), &mixed(piece)), at(&role.bias)))
                .collect();
            let mean = |weights: &[f64]| -> Vec<f64> {
                let total: f64 = weights.iter().sum();
                (0..shape.design.projection)
                    .map(|j| {
                        weights
                            .iter()
                            .zip(&vectors)
                            .map(|(w, v)| w / total * v[j])
                            .sum()
                    })
                    .collect()
            };
            match shape.design.pooling {
                Pooling::Attention => {
                    let (bias, w) = at(&role.attention).split_last().unwrap();
                    let logits = vectors.iter().map(|v| times(w, v)[0] + bias);
                    joined.extend(mean(&logits.map(f64::exp).collect::<Vec<_>>()));
                }
                Pooling::Mean => joined.extend(mean(&vec![1.0; vectors.len()])),
                Pooling::Last => joined.extend(vectors.last().unwrap()),
                Pooling::Endpoints => {
                    joined.extend(&vectors[0]);
                    joined.extend(vectors.last().unwrap());
                }
            }
        }
        let mut units = plus(times(at(&layout.outer), &joined), at(&layout.outer_bias));
        if shape.is_mlp() {
            units.iter_mut().for_each(|u| *u = u.tanh());
            let width = units.len() as f64;
            let mean = units.iter().sum::<f64>() / width;
            let variance = units.iter().map(|u| (u - mean).powi(2)).sum::<f64>() / width;
            let [weight, bias] = &layout.norm;
            for ((unit, weight), bias) in units.iter_mut().zip(at(weight)).zip(at(bias)) {
                *unit = (*unit - mean) / (variance + 1e-5).sqrt() * weight + bias;
            }
            units = plus(times(at(&layout.inner), &units), at(&layout.inner_bias));
        }
        logits.extend(units);
    }
    logits
}

/// A piece outside a target's spans has no part in its logits, to the bit; that of one piece is taken as it is.
#[test]
fn spans_see_nothing_else() {
    for design in designs() {
        let case = Case::new(design, Reading::Mix(3), 2);
        let values: Vec<f32> = case.values().iter().map(|v| *v as f32).collect();
        let mut states: Vec<f32> = case.states.iter().map(|v| *v as f32).collect();
        let (shape, layout) = (&case.shape, &case.layout);
        let logits = |states: &[f32]| {
            let probe = Probe {
                shape,
                layout,
                values: &values,
            };
            let input = Input {
                batch: &case.batch,
                states,
                layers: LAYERS,
            };
            probe
                .forward(&mut Workspace::default(), input, None)
                .to_vec()
        };
        let before = logits(&states);
        let piece = 3;
        states[piece * LAYERS * HIDDEN..][..LAYERS * HIDDEN].fill(7.5);
        let after = logits(&states);
        let mut changed = 0;
        for target in 0..case.batch.targets.len() {
            let own = target * CLASSES..(target + 1) * CLASSES;
            let inside = case.batch.roles.iter().any(|spans| {
                let span = spans.ranges[spans.of_target[target] as usize];
                let sees = match design.pooling {
                    Pooling::Attention | Pooling::Mean => range(span),
                    Pooling::Last => span[1] as usize - 1..span[1] as usize,
                    // Of both ends the first that can be.
                    Pooling::Endpoints if span[0] as usize == piece => range(span),
                    Pooling::Endpoints => span[1] as usize - 1..span[1] as usize,
                };
                sees.contains(&piece)
            });
            if inside {
                changed += usize::from(before[own.clone()] != after[own]);
            } else {
                assert_eq!(before[own.clone()], after[own], "{design:?} {target}");
            }
        }
        let ends_there = matches!(design.pooling, Pooling::Last | Pooling::Endpoints);
        assert!(changed > 0 || ends_there, "{design:?}");
        // Attention over one piece is its mean.
        if design.pooling == Pooling::Attention {
            let mut other = case.shape;
            other.design.pooling = Pooling::Last;
            let single = Split::new(2, CLASSES).and_then(|mut split| {
                split.target([1, 2], Some([4, 5]), &[0], 0)?;
                split.end_sentence();
                Ok(split)
            });
            let batch = Batch::new(&single.unwrap(), &[0]);
            let last: Vec<f32> = {
                let attention: Vec<_> = layout.roles.iter().map(|r| r.attention.clone()).collect();
                let kept = values.iter().enumerate();
                let kept = kept.filter(|(at, _)| attention.iter().all(|r| !r.contains(at)));
                kept.map(|(_, value)| *value).collect()
            };
            let of = |shape: &Shape, values: &[f32]| {
                let probe = Probe {
                    shape,
                    layout: &shape.layout(),
                    values,
                };
                let input = Input {
                    batch: &batch,
                    states: &states,
                    layers: LAYERS,
                };
                probe
                    .forward(&mut Workspace::default(), input, None)
                    .to_vec()
            };
            assert_eq!(of(shape, &values), of(&other, &last));
        }
    }
}
