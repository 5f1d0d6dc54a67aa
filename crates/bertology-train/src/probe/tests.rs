use bertology_testkit::Tensors;

use super::*;
use crate::{Features, Layout};

/// Float32 on both sides, sums in another order, twelve steps of Adam; relative to the largest entry.
const TOLERANCE: f32 = 1e-5;
const HEADS: usize = 4;
const DIM: usize = 3;
/// The probes of the file.
const NAMES: [&str; 7] = [
    "attention",
    "attention_causal",
    "words",
    "words_legacy",
    "words_causal",
    "distance",
    "distance_legacy",
];
/// That of the file.
const ADAM: Adam = Adam {
    learning_rate: 0.002,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weight_decay: 0.0,
    amsgrad: false,
};

/// The file of expected values.
struct Golden(Tensors);

fn golden() -> Golden {
    Golden(Tensors::golden("probes/probes.safetensors"))
}

impl Golden {
    fn examples(&self, causal: bool) -> Vec<Example> {
        (0..3)
            .map(|at| {
                let name = |what: &str| format!("sentence.{at}.{what}");
                let heads: Vec<u32> = self.0.whole(&name("heads"));
                let (maps, layout) = if causal {
                    (
                        self.0.f32(&name("causal_maps")),
                        Layout::causal(heads.len()),
                    )
                } else {
                    (self.0.f32(&name("maps")), Layout::bert(heads.len()))
                };
                Example {
                    features: Features::from_maps(&maps, HEADS, &layout).unwrap(),
                    vectors: self.0.f32(&name("vectors")),
                    heads,
                }
            })
            .collect()
    }

    /// A probe with the first values of the file.
    fn probe<T: Real>(&self, name: &str) -> Probe<T> {
        let (kind, of) = name.split_once('_').unwrap_or((name, ""));
        let kind = *Kind::ALL.iter().find(|k| k.name() == kind).unwrap();
        let shape = Shape {
            channels: 2 * HEADS,
            roots: if of == "causal" { 1 } else { 2 },
            dim: DIM,
        };
        let alignment = match of {
            "legacy" => Alignment::Legacy,
            _ => Alignment::Correct,
        };
        let mut values = Vec::new();
        for (key, sizes) in layout(kind, shape) {
            let before = format!("{name}.before.{key}");
            assert_eq!(self.0.shape(&before), sizes, "{name} {key}");
            let array = self.0.f32(&before);
            values.extend(array.into_iter().map(T::from_f32));
        }
        Probe::with(kind, shape, alignment, ADAM, values)
    }
}

/// The same numbers in double precision.
fn widened(example: &Example) -> Example<f64> {
    let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect();
    let Features {
        words,
        roots,
        channels,
        ref values,
    } = example.features;
    Example {
        features: Features {
            words,
            roots,
            channels,
            values: wide(values),
        },
        vectors: wide(&example.vectors),
        heads: example.heads.clone(),
    }
}

#[track_caller]
fn close(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1.0_f32, |max, v| max.max(v.abs()));
    for (at, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!(
            (a - b).abs() <= TOLERANCE * scale,
            "{what}[{at}]: {a}, torch {b}"
        );
    }
}

/// Compares the arrays of a probe one by one: each has a scale of its own.
#[track_caller]
fn close_arrays(golden: &Golden, name: &str, what: &str, probe: &Probe, found: &[f32]) {
    let mut rest = found;
    for (key, sizes) in layout(probe.kind, probe.shape) {
        let (array, behind) = rest.split_at(sizes.iter().product());
        rest = behind;
        let expected = golden.0.f32(&format!("{name}.{what}.{key}"));
        close(&format!("{name} {what} {key}"), array, &expected);
    }
    assert!(rest.is_empty());
}

#[test]
fn training_is_torchs() {
    let golden = golden();
    for name in NAMES {
        let examples = golden.examples(name.ends_with("causal"));
        let mut probe: Probe = golden.probe(name);
        let logits = probe.forward(&examples[0]).unwrap().logits;
        close(name, &logits, &golden.0.f32(&format!("{name}.logits")));
        let gradient = probe.gradient(&examples[0]).unwrap().1;
        close_arrays(&golden, name, "gradient", &probe, &gradient);
        let losses = golden.0.f32(&format!("{name}.losses"));
        for (step, loss) in losses.iter().enumerate() {
            let found = probe.step(step, &examples[step % 3]).unwrap();
            close(&format!("{name} loss {step}"), &[found as f32], &[*loss]);
        }
        close_arrays(&golden, name, "after", &probe, &probe.values);
    }
}

/// Central differences in f64: error h² times a third derivative of order one.
#[test]
fn gradients_are_differences_of_the_loss() {
    let golden = golden();
    let step = 1e-5;
    for name in NAMES {
        let example = widened(&golden.examples(name.ends_with("causal"))[0]);
        let mut probe: Probe<f64> = golden.probe(name);
        let gradient = probe.gradient(&example).unwrap().1;
        let start = probe.values.clone();
        // Of the thousands of the distances' probe, a few from all its arrays.
        let stride = (start.len() / 60).max(1);
        for at in (0..start.len()).step_by(stride) {
            let mut loss = |delta: f64| {
                probe.values[at] = start[at] + delta;
                probe.loss(&example).unwrap()
            };
            let slope = (loss(step) - loss(-step)) / (2.0 * step);
            probe.values[at] = start[at];
            assert!(
                (slope - gradient[at]).abs() < 1e-7 * (1.0 + slope.abs()),
                "{name} {at}: {slope}, {}",
                gradient[at]
            );
        }
    }
}

#[test]
fn zero_weights_know_nothing() {
    let golden = golden();
    for kind in Kind::ALL {
        let mut probe: Probe<f64> = golden.probe(kind.name());
        probe.values.fill(0.0);
        for example in golden.examples(false).iter().map(widened) {
            let words = example.features.words() as f64;
            let loss = probe.loss(&example).unwrap();
            assert!(
                (loss - words * (words + 1.0).ln()).abs() < 1e-12,
                "{kind}: {loss}"
            );
            assert!(
                probe
                    .predict(&example)
                    .unwrap()
                    .iter()
                    .all(|head| *head == 0)
            );
        }
    }
}

/// A head that attends to the gold head (ROOT: to [SEP]) among others that are uniform.
fn planted(gold: &[u32], heads: usize, at: usize) -> Example {
    let (words, units) = (gold.len(), gold.len() + 2);
    let mut maps = vec![1.0 / units as f32; heads * units * units];
    let map = &mut maps[at * units * units..][..units * units];
    for (word, head) in gold.iter().enumerate() {
        let row = &mut map[(word + 1) * units..][..units];
        row.fill(0.0);
        row[if *head == 0 {
            units - 1
        } else {
            *head as usize
        }] = 1.0;
    }
    Example {
        features: Features::from_maps(&maps, heads, &Layout::bert(words)).unwrap(),
        vectors: Vec::new(),
        heads: gold.to_vec(),
    }
}

#[test]
fn a_planted_head_with_a_large_weight_is_always_right() {
    let shape = Shape {
        channels: 6,
        roots: 2,
        dim: 0,
    };
    let gold = [3, 1, 0, 3, 4, 4];
    let example = planted(&gold, 3, 1);
    let probe = |theta: [f32; 6], root: [f32; 2]| {
        let values = [&theta[..], &root].concat();
        Probe::with(Kind::Attention, shape, Alignment::Correct, ADAM, values)
    };
    // Without evidence for ROOT the root word errs, and no other.
    let blind = probe([0.0, 50.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0]);
    let found = blind.predict(&example).unwrap();
    for (found, gold) in found.iter().zip(gold) {
        assert_eq!(*found == gold, gold != 0 || *found == 0, "{found} {gold}");
    }
    let seeing = probe([0.0, 50.0, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0]);
    assert_eq!(seeing.predict(&example).unwrap(), gold);
    // The other direction: the weight of α_ji, on the transposed map, finds dependents instead.
    let turned = probe([0.0, 0.0, 0.0, 0.0, 50.0, 0.0], [0.0, 1.0]);
    assert_ne!(turned.predict(&example).unwrap(), gold);
    // And it is learnt.
    let mut learner = Probe::new(Kind::Attention, shape, Alignment::Correct, ADAM, 1);
    let first = learner.loss(&example).unwrap();
    for step in 0..1500 {
        learner.step(step, &example).unwrap();
    }
    assert!(learner.loss(&example).unwrap() < first / 2.0);
    assert_eq!(learner.predict(&example).unwrap(), gold);
}

/// Only what the shifted vectors reach may differ: with vectors of one word set to zero in both alignments the
/// columns that bear them agree.
#[test]
fn the_legacy_alignment_shifts_the_candidates_by_one() {
    let golden = golden();
    let mut example = golden.examples(false).swap_remove(0);
    let words = example.features.words();
    // Word 3 alone has a vector: correct, candidate 3 bears it; legacy, candidate 2.
    for (word, vector) in example.vectors.chunks_exact_mut(DIM).enumerate() {
        if word != 2 {
            vector.fill(0.0);
        }
    }
    for name in ["words", "distance"] {
        let correct: Probe = golden.probe(name);
        let mut legacy: Probe = golden.probe(name);
        legacy.alignment = Alignment::Legacy;
        let [a, b] = [correct, legacy].map(|probe| probe.forward(&example).unwrap().logits);
        for column in 0..=words {
            let of_column = (column..a.len()).step_by(words + 1);
            let differs = of_column
                .map(|at| (a[at] - b[at]).abs())
                .any(|by| by > 1e-6);
            assert_eq!(
                differs,
                column == 2 || column == 3,
                "{name} column {column}"
            );
        }
    }
    // ROOT bears word 1's vector, and the last candidate none.
    for (word, vector) in example.vectors.chunks_exact_mut(DIM).enumerate() {
        vector.fill(if word == 0 { 1.0 } else { 0.0 });
    }
    let legacy: Probe = golden.probe("words_legacy");
    let borne = legacy.candidates(&example, 2);
    assert_eq!(borne.len(), (2 + words) * DIM);
    assert_eq!(borne[..2 * DIM], [1.0; 2 * DIM]);
    assert!(borne[2 * DIM..].iter().all(|value| *value == 0.0));
}

/// With the factors of ROOT fixed the loss is convex in theta; Newton's method in f64 finds its minimum.
#[test]
fn training_reaches_the_optimum_of_the_convex_problem() {
    const CHANNELS: usize = 4;
    let mut draws = Draws::new(5, "convex");
    let words = 12;
    let units = words + 2;
    let maps: Vec<f32> = draws
        .glorot(2 * units * units, 3, 3)
        .iter()
        .map(|v| (v + 1.0) as f32)
        .collect();
    let heads: Vec<u32> = (0..words)
        .map(|j| ((j * 7 + 3) % (words + 1)) as u32)
        .collect();
    let example = Example {
        features: Features::from_maps(&maps, 2, &Layout::bert(words)).unwrap(),
        vectors: Vec::new(),
        heads: heads.clone(),
    };
    let shape = Shape {
        channels: CHANNELS,
        roots: 2,
        dim: 0,
    };
    let mut probe = Probe::new(Kind::Attention, shape, Alignment::Correct, ADAM, 9);
    let root = probe.values[CHANNELS..].to_vec();
    // The same features from the formula, with these factors.
    let value = |word: usize, candidate: usize, channel: usize| {
        let at = |from: usize, to: usize| {
            let (from, to) = if channel < 2 { (from, to) } else { (to, from) };
            f64::from(maps[(channel % 2) * units * units + from * units + to])
        };
        match candidate {
            0 => f64::from(root[0]) * at(word, 0) + f64::from(root[1]) * at(word, units - 1),
            _ => at(word, candidate),
        }
    };
    let mut theta = [0.0_f64; CHANNELS];
    let mut optimum = f64::INFINITY;
    for _ in 0..50 {
        let mut loss = 0.0;
        let mut gradient = [0.0; CHANNELS];
        let mut hessian = [[0.0; CHANNELS]; CHANNELS];
        for word in 1..=words {
            let features: Vec<[f64; CHANNELS]> = (0..=words)
                .map(|candidate| std::array::from_fn(|c| value(word, candidate, c)))
                .collect();
            let logits: Vec<f64> = features
                .iter()
                .map(|f| f.iter().zip(&theta).map(|(f, t)| f * t).sum())
                .collect();
            let total: f64 = logits.iter().map(|l: &f64| l.exp()).sum();
            let gold = heads[word - 1] as usize;
            loss += total.ln() - logits[gold];
            let chances: Vec<f64> = logits.iter().map(|l| l.exp() / total).collect();
            let mean: [f64; CHANNELS] =
                std::array::from_fn(|c| features.iter().zip(&chances).map(|(f, p)| f[c] * p).sum());
            for a in 0..CHANNELS {
                gradient[a] += mean[a] - features[gold][a];
                for b in 0..CHANNELS {
                    let second: f64 = features
                        .iter()
                        .zip(&chances)
                        .map(|(f, p)| f[a] * f[b] * p)
                        .sum();
                    hessian[a][b] += second - mean[a] * mean[b];
                }
            }
        }
        optimum = loss;
        let move_by = solve(hessian, gradient);
        for (theta, by) in theta.iter_mut().zip(move_by) {
            *theta -= by;
        }
    }
    // Adam moves theta alone: the optimiser is given no other parameter.
    let adam = Adam {
        learning_rate: 0.02,
        ..ADAM
    };
    let mut optimizer = Optimizer::new(adam, CHANNELS);
    let before = probe.loss(&example).unwrap();
    for _ in 0..4000 {
        let gradient = probe.gradient(&example).unwrap().1;
        optimizer.step(&mut probe.values[..CHANNELS], &gradient[..CHANNELS], 1.0);
    }
    let after = probe.loss(&example).unwrap();
    assert!(before > optimum + 0.1, "{before} {optimum}");
    // The loss is a sum of twelve f32 terms of about 2.5.
    assert!((after - optimum).abs() < 1e-4, "{after} {optimum}");
}

/// Gaussian elimination; the matrix is positive definite.
fn solve<const N: usize>(mut a: [[f64; N]; N], mut b: [f64; N]) -> [f64; N] {
    for pivot in 0..N {
        let upper = a[pivot];
        for row in pivot + 1..N {
            let factor = a[row][pivot] / upper[pivot];
            for (value, upper) in a[row].iter_mut().zip(upper) {
                *value -= factor * upper;
            }
            b[row] -= factor * b[pivot];
        }
    }
    for row in (0..N).rev() {
        for column in row + 1..N {
            b[row] -= a[row][column] * b[column];
        }
        b[row] /= a[row][row];
    }
    b
}

#[test]
fn sizes_are_the_papers() {
    let bert = |kind, dim| {
        let shape = Shape {
            channels: 288,
            roots: 2,
            dim,
        };
        Probe::new(kind, shape, Alignment::Correct, ADAM, 0).size()
    };
    assert_eq!(bert(Kind::Attention, 0), 290);
    assert_eq!(bert(Kind::Words, 100), 57_890);
    assert_eq!(bert(Kind::Distance, 100), 256 * (208 + 2));
}

#[test]
fn what_does_not_fit_is_refused() {
    let golden = golden();
    let mut probe: Probe = golden.probe("words");
    let example = golden.examples(false).swap_remove(0);
    let before = probe.parameters();
    let mut bad = example.clone();
    bad.heads[2] = 6;
    assert!(probe.loss(&bad).is_err());
    let mut bad = example.clone();
    bad.vectors.pop();
    assert!(probe.loss(&bad).is_err());
    assert!(probe.loss(&golden.examples(true)[0]).is_err());
    let mut bad = example;
    bad.vectors[0] = f32::NAN;
    let error = probe.step(17, &bad).unwrap_err().to_string();
    assert!(error.contains("sentence 17"), "{error}");
    assert_eq!(probe.parameters(), before);
}

#[test]
fn a_seed_gives_the_same_bits_and_another_seed_others() {
    let golden = golden();
    let example = golden.examples(false).swap_remove(0);
    let train = |kind, seed| {
        let shape = Shape {
            channels: 8,
            roots: 2,
            dim: DIM,
        };
        let mut probe = Probe::new(kind, shape, Alignment::Correct, ADAM, seed);
        for step in 0..5 {
            probe.step(step, &example).unwrap();
        }
        probe.parameters()
    };
    for kind in Kind::ALL {
        assert_eq!(train(kind, 4), train(kind, 4));
        assert_ne!(train(kind, 4), train(kind, 5));
    }
}
