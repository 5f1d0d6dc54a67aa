//! Tables of maps, by the processor.

use bertology_kernels::Real;
use bertology_kernels::divergence::add_divergences;
use bertology_kernels::softmax::entropy;

use super::{Host, each};
use crate::reduce::{PARTNERS, Reduce, UNIT};
use crate::{Columns, HeadMatrix, Shape, Sight};

/// Every row of all maps: its place in a table, its query, and where it begins.
fn rows(shape: &Shape) -> impl Iterator<Item = Row> {
    let heads = shape.slots.len();
    each(shape).flat_map(move |(sequence, head)| {
        let [first, n, ..] = HeadMatrix::Map.place(shape, sequence, head);
        let token = shape.sequences[sequence].token;
        (0..n).map(move |query| Row {
            place: (token + query) * heads + head,
            query,
            first: first + query * n,
            n,
        })
    })
}

struct Row {
    /// Of its token and head.
    place: usize,
    query: usize,
    first: usize,
    n: usize,
}

/// The row, smoothed over these keys.
fn smoothed<'a, R: Real>(seen: &'a [R], smoothing: f64) -> impl Iterator<Item = f64> + 'a {
    let share = smoothing / seen.len() as f64;
    seen.iter()
        .map(move |p| (1.0 - smoothing) * p.to_f64() + share)
}

impl<R: Real> Reduce<R> for Host {
    fn row_entropies(
        &self,
        shape: &Shape,
        (out, to): (&mut Vec<R>, Columns),
        probs: &Vec<R>,
        smoothing: f64,
        sight: Sight,
    ) {
        let mut scratch = Vec::new();
        for row in rows(shape) {
            let seen = &probs[row.first..][..row.n][sight.of(row.query, row.n)];
            let nats = if smoothing == 0.0 {
                entropy(seen).to_f64()
            } else {
                scratch.clear();
                scratch.extend(smoothed(seen, smoothing));
                entropy(&scratch)
            };
            let place = row.place * to.stride + to.first;
            out[place] = R::from_f64(nats);
            if to.width == 2 {
                let most = (seen.len() as f64).ln();
                out[place + 1] = R::from_f64(if most > 0.0 { nats / most } else { 0.0 });
            }
        }
    }

    fn class_sums(
        &self,
        shape: &Shape,
        (out, to): (&mut Vec<R>, Columns),
        (map, times): (&Vec<R>, Option<&Vec<R>>),
        classes: &Vec<u32>,
        sight: Sight,
        absolute: bool,
    ) {
        for row in rows(shape) {
            let token = row.place / shape.slots.len() - row.query;
            let mut sums = vec![0.0; to.width];
            for key in sight.of(row.query, row.n) {
                let mut value = map[row.first + key].to_f64();
                if let Some(times) = times {
                    value *= times[row.first + key].to_f64();
                }
                if absolute {
                    value = value.abs();
                }
                for (class, sum) in sums.iter_mut().enumerate() {
                    if classes[token + key] >> class & 1 == 1 {
                        *sum += value;
                    }
                }
            }
            let out = &mut out[row.place * to.stride + to.first..];
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = R::from_f64(sum);
            }
        }
    }

    fn neighbours(&self, shape: &Shape, (out, to): (&mut Vec<R>, Columns), map: &Vec<R>) {
        for row in rows(shape) {
            let keys = [
                Some(row.query),
                Some(row.query + 1),
                row.query.checked_sub(1),
            ];
            let found = keys.map(|key| match key {
                Some(key) if key < row.n => map[row.first + key],
                _ => R::ZERO,
            });
            out[row.place * to.stride + to.first..][..3].copy_from_slice(&found);
        }
    }

    fn sum_rows(
        &self,
        shape: &Shape,
        out: &mut Vec<R>,
        table: &Vec<R>,
        classes: &Vec<u32>,
        [count, columns]: [usize; 2],
    ) {
        let heads = shape.slots.len();
        for (at, (sequence, head)) in each(shape).enumerate() {
            let place = shape.sequences[sequence];
            let mut sums = vec![0.0; count * columns];
            for token in place.token..place.token + place.tokens {
                let row = &table[(token * heads + head) * columns..][..columns];
                let members = (0..count).filter(|class| classes[token] >> class & 1 == 1);
                for class in members {
                    let sums = &mut sums[class * columns..][..columns];
                    sums.iter_mut()
                        .zip(row)
                        .for_each(|(sum, x)| *sum += x.to_f64());
                }
            }
            let out = &mut out[at * sums.len()..];
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = R::from_f64(sum);
            }
        }
    }

    fn fold(
        &self,
        units: &Shape,
        out: &mut Vec<R>,
        tokens: &Shape,
        map: &Vec<R>,
        described: &Vec<u32>,
    ) {
        for (sequence, head) in each(units) {
            let [first, n, ..] = HeadMatrix::Map.place(tokens, sequence, head);
            let map = &map[first..][..n * n];
            let [first, count, ..] = HeadMatrix::Map.place(units, sequence, head);
            let of = |unit: usize| -> &[u32] {
                &described[(units.sequences[sequence].token + unit) * UNIT..][..UNIT]
            };
            for (from, row) in out[first..][..count * count]
                .chunks_exact_mut(count.max(1))
                .enumerate()
            {
                for (to, weight) in row.iter_mut().enumerate() {
                    let (from, to) = (of(from), of(to));
                    let queries = from[0] as usize..from[1] as usize;
                    let keys = to[2] as usize..to[3] as usize;
                    let mut sum = 0.0;
                    if from[4] != to[4] {
                        for query in queries.clone() {
                            let row = &map[query * n..][keys.clone()];
                            sum += row.iter().map(|p| p.to_f64()).sum::<f64>();
                        }
                    }
                    *weight = R::from_f64(sum / queries.len().max(1) as f64);
                }
            }
        }
    }

    fn strongest(&self, units: &Shape, out: &mut Vec<R>, map: &Vec<R>, described: &Vec<u32>) {
        let heads = units.slots.len();
        for (sequence, head) in each(units) {
            let [first, n, ..] = HeadMatrix::Map.place(units, sequence, head);
            let token = units.sequences[sequence].token;
            let weight = |from: usize, to: usize| map[first + from * n + to];
            for unit in 0..n {
                let mut best = [R::ZERO; PARTNERS];
                let mut named = [-R::ONE; PARTNERS];
                for other in 0..n {
                    let (row, column) = (weight(unit, other), weight(other, unit));
                    let marked = described[(token + other) * UNIT + 5] != 0;
                    let offers = [
                        Some(row),
                        Some(column),
                        Some(row + column),
                        (other < unit).then_some(row),
                        marked.then_some(row),
                    ];
                    for ((best, named), offer) in best.iter_mut().zip(&mut named).zip(offers) {
                        if let Some(offer) = offer
                            && offer > *best
                        {
                            (*best, *named) = (offer, R::from_f64(other as f64));
                        }
                    }
                }
                let place = (token + unit) * heads + head;
                out[place * PARTNERS..][..PARTNERS].copy_from_slice(&named);
            }
        }
    }

    fn keep_rows(
        &self,
        shape: &Shape,
        (out, first): (&mut Vec<R>, usize),
        map: &Vec<R>,
        rows: &Vec<u32>,
        smoothing: f64,
        sight: Sight,
    ) {
        for head in 0..shape.slots.len() {
            let [from, n, ..] = HeadMatrix::Map.place(shape, 0, head);
            for (at, query) in rows.iter().enumerate() {
                let query = *query as usize;
                let row = &map[from + query * n..][..n];
                let kept = &mut out[first + (head * rows.len() + at) * n..][..n];
                kept.fill(R::ZERO);
                let seen = sight.of(query, n);
                for (kept, p) in kept[seen.clone()]
                    .iter_mut()
                    .zip(smoothed(&row[seen], smoothing))
                {
                    *kept = R::from_f64(p);
                }
            }
        }
    }

    fn divergences(&self, out: &mut Vec<R>, maps: &Vec<R>, [count, cells]: [usize; 2]) {
        let mut sums = vec![0.0; count * count.saturating_sub(1) / 2];
        add_divergences(&mut sums, &maps[..count * cells], count);
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = R::from_f64(sum);
        }
    }
}
