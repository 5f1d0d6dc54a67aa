//! The processor as a device: the operations by way of `bertology-kernels`.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use bertology_kernels::elementwise::{add_assign, all_finite, dot};
use bertology_kernels::norm::{layer_norm, layer_norm_backward};
use bertology_kernels::product::{linear, linear_backward_input};
use bertology_kernels::softmax::{
    log_sum_exp, softmax_rows_backward, softmax_seen, weighted_softmax,
};
use bertology_kernels::{Matrix, MatrixMut, Product, Real};

use crate::device::{Activate, Columns, Device, Info, Kind, MAP_BYTES, Spread};
use crate::{Error, Factor, HeadMatrix, Shape, Sight};

mod reduce;

/// The processor. Not a way to run fast, for it computes a batch operation by operation where the engine's own pass goes by what
/// is hot in the cache: it is there to judge the pass that other devices run, in `f64` too.
#[derive(Debug)]
pub struct Host {
    info: Info,
    carried: AtomicU64,
}

impl Host {
    /// The processor.
    #[must_use]
    pub fn new() -> Self {
        Self {
            info: Info {
                name: "host".to_owned(),
                kind: Kind::Host,
                through: "bertology-kernels".to_owned(),
                largest_buffer: u64::MAX,
                map_bytes: MAP_BYTES,
            },
            carried: AtomicU64::new(0),
        }
    }

    /// The processor with the limits that another device may have: bytes of a buffer, and of maps that are computed together.
    #[must_use]
    pub fn with_limits(largest_buffer: u64, map_bytes: u64) -> Self {
        let mut host = Self::new();
        host.info.largest_buffer = largest_buffer;
        host.info.map_bytes = map_bytes;
        host
    }

    fn carry<T>(&self, values: &[T]) {
        self.carried
            .fetch_add(size_of_val(values) as u64, Ordering::Relaxed);
    }

    fn room<R>(&self, len: usize) -> Result<(), Error> {
        let (needed, limit) = ((len * size_of::<R>()) as u64, self.info.largest_buffer);
        if needed > limit {
            return Err(Error::TooLarge {
                device: self.info.name.clone(),
                needed,
                limit,
            });
        }
        Ok(())
    }
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

/// Every sequence and head of a shape.
fn each(shape: &Shape) -> impl Iterator<Item = (usize, usize)> + use<> {
    let heads = shape.slots.len();
    (0..shape.sequences.len())
        .flat_map(move |sequence| (0..heads).map(move |head| (sequence, head)))
}

fn view<'a, R: Real>(
    shape: &Shape,
    x: &'a [R],
    factor: Factor,
    sequence: usize,
    head: usize,
) -> Matrix<'a, R> {
    let [first, rows, cols, stride] = factor.matrix.place(shape, sequence, head);
    let matrix = Matrix::strided(&x[first..], rows, cols, stride);
    if factor.transposed {
        matrix.transposed()
    } else {
        matrix
    }
}

fn map_of<'a, R>(
    shape: &Shape,
    map: &'a mut [R],
    sequence: usize,
    head: usize,
) -> (&'a mut [R], usize) {
    let [first, n, ..] = HeadMatrix::Map.place(shape, sequence, head);
    (&mut map[first..][..n * n], n)
}

impl<R: Real> Device<R> for Host {
    type Buffer = Vec<R>;
    type Indices = Vec<u32>;
    type Shape = Shape;

    fn info(&self) -> &Info {
        &self.info
    }

    fn zeros(&self, len: usize) -> Result<Vec<R>, Error> {
        self.room::<R>(len)?;
        Ok(vec![R::ZERO; len])
    }

    fn upload(&self, values: &[R]) -> Result<Vec<R>, Error> {
        self.room::<R>(values.len())?;
        self.carry(values);
        Ok(values.to_vec())
    }

    fn indices(&self, rows: &[u32]) -> Result<Vec<u32>, Error> {
        self.carry(rows);
        Ok(rows.to_vec())
    }

    fn shape(&self, shape: &Shape) -> Result<Shape, Error> {
        self.carry(&shape.sequences);
        self.carry(&shape.slots);
        Ok(shape.clone())
    }

    fn write(&self, buffer: &mut Vec<R>, first: usize, values: &[R]) -> Result<(), Error> {
        self.carry(values);
        buffer[first..][..values.len()].copy_from_slice(values);
        Ok(())
    }

    fn read(&self, buffer: &Vec<R>, range: Range<usize>) -> Result<Vec<R>, Error> {
        self.carry(&buffer[range.clone()]);
        Ok(buffer[range].to_vec())
    }

    fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }

    fn fill(&self, out: &mut Vec<R>, value: R) {
        out.fill(value);
    }

    fn copy(&self, out: &mut Vec<R>, to: Columns, x: &Vec<R>, from: Columns, rows: usize) {
        for row in 0..rows {
            let x = &x[from.first + row * from.stride..][..from.width];
            out[to.first + row * to.stride..][..to.width].copy_from_slice(x);
        }
    }

    fn gather(&self, out: &mut Vec<R>, table: &Vec<R>, rows: &Vec<u32>, width: usize, add: bool) {
        for (row, at) in out.chunks_exact_mut(width).zip(rows) {
            let found = (*at != u32::MAX).then(|| &table[*at as usize * width..][..width]);
            match found {
                Some(found) if add => add_assign(row, found),
                Some(found) => row.copy_from_slice(found),
                None if add => {}
                None => row.fill(R::ZERO),
            }
        }
    }

    fn scatter(&self, out: &mut Vec<R>, x: &Vec<R>, rows: &Vec<u32>, width: usize) {
        for (row, at) in x.chunks_exact(width).zip(rows) {
            out[*at as usize * width..][..width].copy_from_slice(row);
        }
    }

    fn add(&self, out: &mut Vec<R>, x: &Vec<R>, len: usize) {
        add_assign(&mut out[..len], &x[..len]);
    }

    fn multiply(&self, out: &mut Vec<R>, x: &Vec<R>, len: usize) {
        for (out, x) in out[..len].iter_mut().zip(&x[..len]) {
            *out *= *x;
        }
    }

    fn scale(&self, out: &mut Vec<R>, factor: R, len: usize) {
        out[..len].iter_mut().for_each(|value| *value *= factor);
    }

    fn scale_rows(&self, out: &mut Vec<R>, factors: &Vec<R>, rows: usize, width: usize) {
        for (row, factor) in out[..rows * width].chunks_exact_mut(width).zip(factors) {
            row.iter_mut().for_each(|value| *value *= *factor);
        }
    }

    fn scale_columns(&self, out: &mut Vec<R>, factors: &Vec<R>, rows: usize, width: usize) {
        for row in out[..rows * width].chunks_exact_mut(width.max(1)) {
            row.iter_mut()
                .zip(factors)
                .for_each(|(value, factor)| *value *= *factor);
        }
    }

    fn linear(
        &self,
        y: &mut Vec<R>,
        x: &Vec<R>,
        weight: &Vec<R>,
        bias: Option<&Vec<R>>,
        [rows, inputs, outputs]: [usize; 3],
    ) {
        let x = Matrix::new(&x[..rows * inputs], rows, inputs);
        let weight = Matrix::new(&weight[..outputs * inputs], outputs, inputs);
        let bias = bias.map_or(&[][..], |bias| &bias[..outputs]);
        linear(&mut y[..rows * outputs], x, weight, bias, 1);
    }

    fn linear_backward(
        &self,
        dx: &mut Vec<R>,
        dy: &Vec<R>,
        weight: &Vec<R>,
        [rows, inputs, outputs]: [usize; 3],
    ) {
        let dy = Matrix::new(&dy[..rows * outputs], rows, outputs);
        let weight = Matrix::new(&weight[..outputs * inputs], outputs, inputs);
        linear_backward_input(&mut dx[..rows * inputs], dy, weight, 1);
    }

    fn norm(
        &self,
        y: &mut Vec<R>,
        hat: &mut Vec<R>,
        rstd: &mut Vec<R>,
        weight: &Vec<R>,
        bias: &Vec<R>,
        [rows, width]: [usize; 2],
        epsilon: f64,
        centred: bool,
    ) {
        let (y, hat) = (&mut y[..rows * width], &mut hat[..rows * width]);
        layer_norm(y, hat, &mut rstd[..rows], weight, bias, epsilon, centred);
    }

    fn norm_backward(
        &self,
        d: &mut Vec<R>,
        hat: &Vec<R>,
        rstd: &Vec<R>,
        weight: &Vec<R>,
        [rows, width]: [usize; 2],
        centred: bool,
    ) {
        let (d, hat) = (&mut d[..rows * width], &hat[..rows * width]);
        layer_norm_backward(d, hat, &rstd[..rows], weight, centred);
    }

    fn activate(&self, out: &mut Vec<R>, pre: &Vec<R>, rows: usize, by: Activate) {
        let inner = by.inner;
        if inner == 0 {
            return;
        }
        let out = &mut out[..rows * inner];
        if !by.gated {
            by.function.forward(out, &pre[..rows * inner]);
            return;
        }
        for (y, pre) in out.chunks_exact_mut(inner).zip(pre.chunks_exact(2 * inner)) {
            let (x, gate) = pre.split_at(inner);
            by.function.forward(y, x);
            y.iter_mut().zip(gate).for_each(|(y, gate)| *y *= *gate);
        }
    }

    fn activate_backward(
        &self,
        d_pre: &mut Vec<R>,
        d: &Vec<R>,
        pre: &Vec<R>,
        rows: usize,
        by: Activate,
    ) {
        let inner = by.inner;
        if inner == 0 {
            return;
        }
        let d = &d[..rows * inner];
        if !by.gated {
            let d_pre = &mut d_pre[..rows * inner];
            d_pre.copy_from_slice(d);
            by.function.backward(d_pre, &pre[..rows * inner]);
            return;
        }
        let rows = d_pre.chunks_exact_mut(2 * inner).zip(d.chunks_exact(inner));
        for ((d_pre, d), pre) in rows.zip(pre.chunks_exact(2 * inner)) {
            let (x, gate) = pre.split_at(inner);
            let (dx, d_gate) = d_pre.split_at_mut(inner);
            by.function.forward(d_gate, x);
            d_gate.iter_mut().zip(d).for_each(|(out, d)| *out *= *d);
            for (dx, (d, gate)) in dx.iter_mut().zip(d.iter().zip(gate)) {
                *dx = *d * *gate;
            }
            by.function.backward(dx, x);
        }
    }

    fn cross_entropy(
        &self,
        logits: &mut Vec<R>,
        losses: &mut Vec<R>,
        labels: &Vec<u32>,
        weights: &Vec<R>,
        [rows, columns]: [usize; 2],
    ) {
        let mut given = vec![R::ZERO; columns];
        let all = logits[..rows * columns].chunks_exact_mut(columns);
        for (row, logits) in all.enumerate() {
            let (label, weight) = (labels[row] as usize, weights[row]);
            given.copy_from_slice(logits);
            let normalizer = log_sum_exp(&given);
            let loss = weight.to_f64() * (normalizer - given[label].to_f64());
            losses[row] = R::from_f64(loss);
            weighted_softmax(logits, &given, normalizer, weight.to_f64());
            logits[label] += -weight;
        }
    }

    fn products(
        &self,
        shape: &Shape,
        out: (&mut Vec<R>, HeadMatrix),
        a: (&Vec<R>, Factor),
        b: (&Vec<R>, Factor),
        scale: R,
        accumulate: bool,
    ) {
        let product = Product {
            scale,
            accumulate,
            threads: 1,
        };
        for (sequence, head) in each(shape) {
            let [first, rows, cols, stride] = out.1.place(shape, sequence, head);
            product.run(
                MatrixMut::strided(&mut out.0[first..], rows, cols, stride),
                view(shape, a.0, a.1, sequence, head),
                view(shape, b.0, b.1, sequence, head),
            );
        }
    }

    fn add_by_offset(&self, shape: &Shape, map: &mut Vec<R>, by_offset: &Vec<R>) {
        let offsets = 2 * shape.longest - 1;
        for (sequence, head) in each(shape) {
            let (map, n) = map_of(shape, map, sequence, head);
            let by_offset = &by_offset[head * offsets..][..offsets];
            for (query, row) in map.chunks_exact_mut(n).enumerate() {
                add_assign(row, &by_offset[shape.longest - 1 - query..][..n]);
            }
        }
    }

    fn add_spread(
        &self,
        shape: &Shape,
        map: &mut Vec<R>,
        spread: &Vec<R>,
        by: Spread<'_, Vec<u32>>,
    ) {
        let width = shape.distances;
        for (sequence, head) in each(shape) {
            let spread = &spread[shape.spread(sequence, head)..];
            let (map, n) = map_of(shape, map, sequence, head);
            for (query, row) in map.chunks_exact_mut(n).enumerate() {
                for (key, score) in row.iter_mut().enumerate() {
                    let column = by.columns[query + shape.longest - 1 - key] as usize;
                    let reader = if by.by_key { key } else { query };
                    *score += spread[reader * width + column];
                }
            }
        }
    }

    fn sum_spread(
        &self,
        shape: &Shape,
        spread: &mut Vec<R>,
        map: &Vec<R>,
        by: Spread<'_, Vec<u32>>,
    ) {
        let width = shape.distances;
        for (sequence, head) in each(shape) {
            let [first, n, ..] = HeadMatrix::Map.place(shape, sequence, head);
            let map = &map[first..][..n * n];
            let spread = &mut spread[shape.spread(sequence, head)..][..n * width];
            spread.fill(R::ZERO);
            for (query, row) in map.chunks_exact(n).enumerate() {
                for (key, value) in row.iter().enumerate() {
                    let column = by.columns[query + shape.longest - 1 - key] as usize;
                    let reader = if by.by_key { key } else { query };
                    spread[reader * width + column] += *value;
                }
            }
        }
    }

    fn hide(&self, shape: &Shape, map: &mut Vec<R>, sight: Sight) {
        let hidden = R::from_f64(f64::NEG_INFINITY);
        for (sequence, head) in each(shape) {
            let (map, n) = map_of(shape, map, sequence, head);
            for (query, row) in map.chunks_exact_mut(n).enumerate() {
                let seen = sight.of(query, n);
                row[..seen.start].fill(hidden);
                row[seen.end..].fill(hidden);
            }
        }
    }

    fn softmax(&self, shape: &Shape, map: &mut Vec<R>, sight: Sight) {
        for (sequence, head) in each(shape) {
            let (map, n) = map_of(shape, map, sequence, head);
            softmax_seen(map, n, |query| sight.of(query, n));
        }
    }

    fn softmax_backward(&self, shape: &Shape, d: &mut Vec<R>, probs: &Vec<R>) {
        for (sequence, head) in each(shape) {
            let [first, n, ..] = HeadMatrix::Map.place(shape, sequence, head);
            let (d, probs) = (&mut d[first..][..n * n], &probs[first..][..n * n]);
            softmax_rows_backward(d, probs, n);
        }
    }

    fn turn(
        &self,
        shape: &Shape,
        (x, matrix): (&mut Vec<R>, HeadMatrix),
        [cosines, sines]: [&Vec<R>; 2],
        positions: &Vec<u32>,
        half: usize,
        back: bool,
    ) {
        let sense = if back { -R::ONE } else { R::ONE };
        for (sequence, head) in each(shape) {
            let [first, rows, _, stride] = matrix.place(shape, sequence, head);
            let positions = &positions[shape.sequences[sequence].token..][..rows];
            for (row, position) in positions.iter().enumerate() {
                let at = *position as usize * half;
                let angles = cosines[at..][..half].iter().zip(&sines[at..][..half]);
                let row = &mut x[first + row * stride..][..2 * half];
                let (a, b) = row.split_at_mut(half);
                for ((a, b), (cosine, sine)) in a.iter_mut().zip(b).zip(angles) {
                    let sine = sense * *sine;
                    (*a, *b) = (*a * *cosine - *b * sine, *b * *cosine + *a * sine);
                }
            }
        }
    }

    fn scale_heads(&self, shape: &Shape, x: &mut Vec<R>, width: usize, factors: &Vec<R>) {
        for (at, (sequence, head)) in each(shape).enumerate() {
            let place = shape.sequences[sequence];
            for token in place.token..place.token + place.tokens {
                let first = token * width + shape.slots[head] * shape.dim;
                let row = &mut x[first..][..shape.dim];
                row.iter_mut().for_each(|value| *value *= factors[at]);
            }
        }
    }

    fn head_dots(&self, shape: &Shape, out: &mut Vec<R>, a: &Vec<R>, b: &Vec<R>, width: usize) {
        let heads = shape.slots.len();
        for token in shape.tokens() {
            for (head, slot) in shape.slots.iter().enumerate() {
                let first = token * width + slot * shape.dim;
                let rows = [a, b].map(|x| &x[first..][..shape.dim]);
                out[token * heads + head] = dot(rows[0], rows[1]);
            }
        }
    }

    fn sum_tokens(&self, shape: &Shape, out: &mut Vec<R>, first: usize, x: &Vec<R>) {
        let heads = shape.slots.len();
        for (at, (sequence, head)) in each(shape).enumerate() {
            let place = shape.sequences[sequence];
            let tokens = place.token..place.token + place.tokens;
            let sum: f64 = tokens.map(|token| x[token * heads + head].to_f64()).sum();
            out[first + at] = R::from_f64(sum);
        }
    }

    fn flag_nonfinite(
        &self,
        shape: &Shape,
        flags: &mut Vec<R>,
        first: usize,
        x: &Vec<R>,
        width: usize,
    ) {
        for (sequence, place) in shape.sequences.iter().enumerate() {
            let rows = &x[place.token * width..][..place.tokens * width];
            flags[first + sequence] = if all_finite(rows) { R::ZERO } else { R::ONE };
        }
    }
}
