//! Tables that a device makes of maps, judged by their definitions on the processor's maps.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

use bertology_kernels::Real;
use bertology_kernels::divergence::jensen_shannon;
use bertology_model::bertology_device::Host;
use bertology_model::reduction::{Divergences, Masses, Partners, Reduction, Table, Unit};
use bertology_model::{
    Capture, Captured, Error, Event, HeadId, Interests, LayerSite, Model, Observer, PackedBatch,
    Pass, PassOptions, Sequence, Workspace,
};

use crate::fixture::{Fixture, placed};

const SMOOTHING: f64 = 0.001;
const CLASSES: usize = 3;
/// Classes of gradients: the bits behind those.
const GRADIENTS: usize = 2;
const QUERIES: usize = 3;

const MODELS: [&str; 6] = [
    "bert-absolute",
    "bert-relative-key-query",
    "bert-absolute-pruned",
    "deberta",
    "gpt2",
    "modernbert",
];

type Key = (usize, Pass, Option<HeadId>, usize);

/// Wants the probabilities and their gradients, and makes do with tables.
struct Tabling {
    reductions: Vec<Vec<Reduction>>,
    interests: Interests,
    found: BTreeMap<Key, Captured<f64>>,
    maps: usize,
}

impl<R: Real> Observer<R> for Tabling {
    fn interests(&self) -> Interests {
        self.interests
    }

    fn observe(&mut self, _: &Event<'_, R>) -> ControlFlow<()> {
        self.maps += 1;
        ControlFlow::Continue(())
    }

    fn reductions(&self) -> Vec<Vec<Reduction>> {
        self.reductions.clone()
    }

    fn reduced(&mut self, table: &Table<'_, R>) -> ControlFlow<()> {
        let key = (table.which, table.pass, table.head, table.sequence);
        let value = Captured {
            rows: table.value.rows(),
            cols: table.value.cols(),
            data: table.value.to_vec().iter().map(|v| v.to_f64()).collect(),
        };
        assert!(self.found.insert(key, value).is_none(), "{key:?} twice");
        ControlFlow::Continue(())
    }
}

/// Units of one and two tokens; the first token is in none, the third unit has no token, the last two share theirs.
fn units(n: usize) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut from = 1;
    while from < n {
        let at = units.len() as u32;
        let to = (from + 1 + from % 2).min(n);
        let seen = if at == 2 { from..from } else { from..to };
        units.push(Unit {
            // As of models that speak by the last token of a word.
            looks: seen.end.saturating_sub(1).max(seen.start)..seen.end,
            seen,
            class: at,
            marked: at.is_multiple_of(2),
        });
        from = to;
    }
    units.extend(units.last().cloned());
    units
}

fn rows(n: usize) -> Vec<usize> {
    (0..n).filter(|row| row % 3 != 1).collect()
}

fn classes(n: usize) -> Vec<u32> {
    (0..n as u32).map(|at| (at * at) % 29).collect()
}

fn queries(n: usize) -> Vec<u32> {
    (0..n as u32).map(|at| (at * at + 1) % 7).collect()
}

/// Rows of queries, summed by their classes.
fn by_query(rows: &[Vec<f64>]) -> Vec<f64> {
    let (classes, width) = (queries(rows.len()), rows[0].len());
    let of = |class: usize, column: usize| {
        let members = rows
            .iter()
            .zip(&classes)
            .filter(|(_, bits)| *bits >> class & 1 == 1);
        members.map(|(row, _)| row[column]).sum()
    };
    (0..QUERIES * width)
        .map(|at| of(at / width, at % width))
        .collect()
}

fn of_maps(lengths: &[usize], backward: bool) -> Vec<Vec<Reduction>> {
    let masses = lengths.iter().map(|n| {
        Reduction::Masses(Masses {
            classes: classes(*n),
            count: CLASSES,
            gradients: GRADIENTS,
            queries: queries(*n),
            query_classes: QUERIES,
            smoothing: SMOOTHING,
            weighted: true,
        })
    });
    let mut all = vec![masses.collect()];
    if !backward {
        let partners = |n: &usize| Reduction::Partners(Partners { units: units(*n) });
        all.push(lengths.iter().map(partners).collect());
        let divergences = |n: &usize| {
            Reduction::Divergences(Divergences {
                rows: rows(*n),
                smoothing: SMOOTHING,
            })
        };
        all.push(lengths.iter().map(divergences).collect());
    }
    all
}

fn interests(backward: bool) -> Interests {
    let site = LayerSite::AttentionProbs;
    let values = Interests::none().value(site);
    if backward {
        values.gradient(site)
    } else {
        values
    }
}

fn tabling(lengths: &[usize], backward: bool) -> Tabling {
    Tabling {
        reductions: of_maps(lengths, backward),
        interests: interests(backward),
        found: BTreeMap::new(),
        maps: 0,
    }
}

fn run<R: Real + bertology_model::Real>(
    fixture: &Fixture,
    model: &Model<R>,
    backward: bool,
    observers: &mut [&mut dyn Observer<R>],
) -> Result<(), Error> {
    let targets = fixture.targets();
    let options = PassOptions {
        targets: backward.then_some(&targets),
        ..PassOptions::default()
    };
    let batch = fixture.batch(model);
    model
        .run(&batch, &options, &mut Workspace::new(), observers)
        .map(drop)
}

fn entropy(row: &[f64]) -> f64 {
    -row.iter()
        .filter(|p| **p > 0.0)
        .map(|p| p * p.ln())
        .sum::<f64>()
}

fn smoothed(row: &[f64]) -> Vec<f64> {
    let share = SMOOTHING / row.len() as f64;
    row.iter().map(|p| (1.0 - SMOOTHING) * p + share).collect()
}

/// Sums over the keys of each of these classes that are among the first `seen`.
fn by_class(row: &[f64], seen: usize, of: Range<usize>) -> Vec<f64> {
    let classes = classes(row.len());
    let sum = |class: usize| {
        let keys = (0..seen).filter(|key| classes[*key] >> class & 1 == 1);
        keys.map(|key| row[key]).sum()
    };
    of.map(sum).collect()
}

fn masses(map: &[f64], n: usize, causal: bool) -> Vec<f64> {
    let rows = map.chunks_exact(n).enumerate().map(|(at, row)| {
        let seen = if causal { at + 1 } else { n };
        let mut all = by_class(row, seen, 0..CLASSES);
        let nats = entropy(&smoothed(&row[..seen]));
        let share = if seen > 1 {
            nats / (seen as f64).ln()
        } else {
            0.0
        };
        all.push(row[at]);
        all.push(row.get(at + 1).copied().unwrap_or(0.0));
        all.push(at.checked_sub(1).map_or(0.0, |before| row[before]));
        all.extend([nats, share]);
        all
    });
    by_query(&rows.collect::<Vec<_>>())
}

fn gradient_masses(d: &[f64], probs: &[f64], n: usize, causal: bool) -> Vec<f64> {
    let rows = d.chunks_exact(n).zip(probs.chunks_exact(n)).enumerate();
    let rows = rows.map(|(at, (d, p))| {
        let seen = if causal { at + 1 } else { n };
        let behind = CLASSES..CLASSES + GRADIENTS;
        let plain: Vec<f64> = d.iter().map(|d| d.abs()).collect();
        let weighted: Vec<f64> = d.iter().zip(p).map(|(d, p)| (d * p).abs()).collect();
        let mut all = by_class(&plain, seen, behind.clone());
        all.extend(by_class(&weighted, seen, behind));
        all
    });
    by_query(&rows.collect::<Vec<_>>())
}

/// The weights between units.
fn folded(map: &[f64], n: usize) -> Vec<Vec<f64>> {
    let units = units(n);
    let weight = |from: &Unit, to: &Unit| {
        if from.class == to.class || from.looks.is_empty() {
            return 0.0;
        }
        let sums = from.looks.clone().map(|query| {
            let keys = to.seen.clone();
            keys.map(|key| map[query * n + key]).sum::<f64>()
        });
        sums.sum::<f64>() / from.looks.len() as f64
    };
    let row = |from| units.iter().map(|to| weight(from, to)).collect();
    units.iter().map(row).collect()
}

/// How much less than the greatest weight that of what is named is, at each place of the table.
fn short_of(map: &[f64], n: usize, named: &Captured<f64>) -> f64 {
    let (weights, units) = (folded(map, n), units(n));
    let mut most = 0.0_f64;
    for (unit, own) in weights.iter().enumerate() {
        let offers = |column: usize, other: usize| match column {
            Partners::IN_ROW => own[other],
            Partners::IN_COLUMN => weights[other][unit],
            Partners::IN_BOTH => own[other] + weights[other][unit],
            Partners::BEFORE if other < unit => own[other],
            Partners::MARKED if units[other].marked => own[other],
            _ => 0.0,
        };
        for column in 0..Partners::COLUMNS {
            let greatest = (0..units.len()).map(|other| offers(column, other));
            let greatest = greatest.fold(0.0, f64::max);
            let of = named.data[unit * Partners::COLUMNS + column];
            let found = if of < 0.0 {
                0.0
            } else {
                offers(column, of as usize)
            };
            most = most.max(greatest - found);
        }
    }
    most
}

/// Tables of a model on a device beside those of the maps that the processor gives.
fn judge<R: Real + bertology_model::Real>(fixture: &Fixture, model: &Model<R>, tolerance: f64) {
    let exact = fixture.model::<f64>();
    let causal = exact.architecture().causal;
    let sequences = fixture.sequences();
    let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.len()).collect();
    for backward in [false, true] {
        let name = format!("{}, backward {backward}", fixture.name);
        let mut maps = Capture::new(interests(backward));
        run(fixture, &exact, backward, &mut [&mut maps]).expect("a pass");
        let mut tables = tabling(&lengths, backward);
        run(fixture, model, backward, &mut [&mut tables]).expect("a pass on a device");
        assert_eq!(tables.maps, 0, "{name}: maps came back");
        let near = |what: &str, expected: &[f64], found: &Captured<f64>| {
            assert_eq!(expected.len(), found.data.len(), "{name}: {what}");
            let scale = expected.iter().fold(0.0_f64, |most, v| most.max(v.abs()));
            for (a, b) in expected.iter().zip(&found.data) {
                assert!(
                    (a - b).abs() <= tolerance * scale.max(1e-3),
                    "{name}: {what}: {a} {b}"
                );
            }
        };
        let mut seen = 0;
        for (pass, tap, sequence, head, map) in maps.iter() {
            let (n, head) = (lengths[sequence], head.expect("a head"));
            let bertology_model::Tap::Layer(layer, _) = tap else {
                panic!("{tap:?}");
            };
            let head = HeadId { layer, head };
            let of = |which| &tables.found[&(which, pass, Some(head), sequence)];
            if pass == Pass::Backward {
                let probs = maps.get_head(Pass::Forward, head, LayerSite::AttentionProbs, sequence);
                let probs = &probs.expect("a map").data;
                let expected = gradient_masses(&map.data, probs, n, causal);
                near("gradients", &expected, of(0));
                seen += 1;
                continue;
            }
            near("masses", &masses(&map.data, n, causal), of(0));
            seen += 1;
            if !backward {
                let named = of(1);
                assert_eq!(named.rows, units(n).len());
                let short = short_of(&map.data, n, named);
                assert!(short <= tolerance, "{name}: short by {short}");
                seen += 1;
            }
        }
        for (sequence, n) in lengths.iter().enumerate().filter(|_| !backward) {
            let kept: Vec<Vec<f64>> = maps
                .iter()
                .filter(|(_, _, of, ..)| *of == sequence)
                .map(|(.., map)| {
                    let of_row = |row: usize| {
                        let seen = if causal { row + 1 } else { *n };
                        smoothed(&map.data[row * n..][..seen])
                    };
                    rows(*n).into_iter().flat_map(of_row).collect()
                })
                .collect();
            let mut expected = Vec::new();
            for (at, one) in kept.iter().enumerate() {
                expected.extend(
                    kept[at + 1..]
                        .iter()
                        .map(|other| jensen_shannon(one, other)),
                );
            }
            let found = &tables.found[&(2, Pass::Forward, None, sequence)];
            near("divergences", &expected, found);
            seen += 1;
        }
        assert_eq!(tables.found.len(), seen, "{name}");
    }
}

#[test]
fn tables_are_those_of_the_maps() {
    for name in MODELS {
        // Pruned models bring no labels of their own.
        let fixture = Fixture::with_values_of(
            name,
            &format!("engine/{}", name.trim_end_matches("-pruned")),
        );
        let longest = fixture.sequences().iter().map(|s| s.len()).max().unwrap();
        // The maps of three heads of four together, or of one where distances are met.
        let bytes = (3 * longest * longest * 8) as u64;
        for host in [Host::new(), Host::with_limits(u64::MAX, bytes)] {
            let model = fixture.model::<f64>().on_device(host).expect("placed");
            judge(&fixture, &model, 1e-9);
        }
        // 2e-5 of their scale, as all values, a few sums of them; gradients have 1e-4.
        let single = fixture.model::<f32>();
        let single = match placed(single.clone()) {
            placed if placed.device().is_some() => placed,
            _ => single.on_device(Host::new()).expect("placed"),
        };
        judge(&fixture, &single, 1e-4);
    }
}

/// Who wants maps gets them, and then everybody does.
#[test]
fn maps_come_where_somebody_wants_them() {
    let fixture = Fixture::open("bert-absolute");
    let model = fixture
        .model::<f64>()
        .on_device(Host::new())
        .expect("placed");
    let lengths: Vec<usize> = fixture.sequences().iter().map(|s| s.len()).collect();
    let mut tables = tabling(&lengths, false);
    let mut maps = Capture::new(interests(false));
    run(&fixture, &model, false, &mut [&mut tables, &mut maps]).expect("a pass");
    assert!(tables.found.is_empty());
    assert_eq!(tables.maps, maps.iter().count());
    // Other sites do not matter.
    let mut tables = tabling(&lengths, false);
    let mut states = Capture::new(Interests::none().value(LayerSite::HiddenState));
    run(&fixture, &model, false, &mut [&mut states, &mut tables]).expect("a pass");
    assert_eq!(tables.maps, 0);
    assert!(!tables.found.is_empty());
}

/// Maps of all layers that no buffer holds, gradients of which nothing can be made, and what fits other texts: maps come.
#[test]
fn maps_come_where_tables_cannot_be_made() {
    let fixture = Fixture::open("bert-absolute");
    let lengths: Vec<usize> = fixture.sequences().iter().map(|s| s.len()).collect();
    let whole = fixture
        .model::<f64>()
        .on_device(Host::new())
        .expect("placed");
    let only = |which: usize, lengths: &[usize], backward| {
        let mut tables = tabling(lengths, false);
        tables.reductions = vec![tables.reductions.swap_remove(which)];
        tables.interests = interests(backward);
        tables
    };
    let mut shifted = lengths.clone();
    shifted[0] += 1;
    let mut longer = lengths.clone();
    longer[0] += 4;
    for (mut tables, backward) in [
        (only(1, &lengths, true), true),
        (only(2, &lengths, true), true),
        (only(0, &shifted, false), false),
        (only(1, &longer, false), false),
        (only(2, &longer, false), false),
        (only(0, &lengths[1..], false), false),
    ] {
        run(&fixture, &whole, backward, &mut [&mut tables]).expect("a pass");
        assert!(tables.maps > 0 && tables.found.is_empty());
    }
    // One long text: a buffer holds everything but the maps of all layers.
    let n = 24;
    let text = Sequence::new((0..n as u32).map(|at| 5 + at % 20).collect());
    let bytes = whole.heads().count() * rows(n).len() * n * 8;
    for (limit, tabled) in [(bytes, true), (bytes - 1, false)] {
        let host = Host::with_limits(limit as u64, 16 << 10);
        let model = fixture.model::<f64>().on_device(host).expect("placed");
        let batch = PackedBatch::new(model.architecture(), std::slice::from_ref(&text));
        let mut tables = only(2, &[n], false);
        model
            .run(
                &batch.expect("a batch"),
                &PassOptions::default(),
                &mut Workspace::new(),
                &mut [&mut tables],
            )
            .expect("a pass");
        assert_eq!(
            (tables.maps == 0, tables.found.len()),
            (tabled, usize::from(tabled))
        );
    }
}
