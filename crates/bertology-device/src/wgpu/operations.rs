//! The operations of a card: what each program is told, and how many workgroups it takes.

use std::ops::Range;

use super::Wgpu;
use super::kernel::{FLAT, Kernel};
use super::memory::{Buffer, Indices, Table, Words};
use super::stream::Run;
use super::told::{activate_words, matrix_words, norm_words, sight_words, table_words, word};
use crate::device::{Activate, Columns, Device, Info, Spread};
use crate::{Error, Factor, HeadMatrix, Shape, Sight};

/// Rows or columns up to which products are made of small tiles: the others would compute mostly what nobody needs.
const FEW: usize = 32;

pub(super) fn holds(buffer: &Buffer, len: usize) {
    assert!(len <= buffer.0.len(), "{len} of {}", buffer.0.len());
}

/// One thread a number.
fn flat(kernel: Kernel, len: usize) -> Run {
    Run {
        kernel,
        groups: len.div_ceil(FLAT) as u64,
        work: len as u64,
    }
}

impl Wgpu {
    pub(super) fn run(&self, run: Run, parameters: &[u32], operands: &[&Words]) {
        self.card.run(run, parameters, operands);
    }

    fn upload_words(&self, values: &[u32]) -> Result<Words, Error> {
        let words = self.card.allocate(values.len())?;
        self.card.write(&words, 0, values, true);
        Ok(words)
    }

    /// An operation by sequences and heads.
    pub(super) fn run_shaped(&self, table: &Table, run: Run, told: &[u32], operands: &[&Words]) {
        let mut parameters = table.parameters(1);
        parameters.extend_from_slice(told);
        let operands: Vec<&Words> = [&table.words]
            .into_iter()
            .chain(operands.iter().copied())
            .collect();
        self.run(run, &parameters, &operands);
    }

    /// One workgroup for every row of all maps.
    pub(super) fn run_rows(
        &self,
        table: &Table,
        kernel: Kernel,
        told: &[u32],
        operands: &[&Words],
    ) {
        let rows = table.shape.tokens().len() * table.heads();
        let run = Run {
            kernel,
            groups: rows as u64,
            work: table.squares * table.heads() as u64 * 8,
        };
        self.run_shaped(table, run, told, operands);
    }

    fn tiles(
        &self,
        [rows, inner, columns]: [usize; 3],
        [b_row, b_column]: [usize; 2],
        bias: Option<&Words>,
        [out, a, b]: [&Words; 3],
    ) {
        let few = rows <= FEW || columns <= FEW;
        let kernel = if few {
            Kernel::LinearSmall
        } else {
            Kernel::Linear
        };
        let tile = kernel.tile();
        let run = Run {
            kernel,
            groups: rows.div_ceil(tile) as u64 * columns.div_ceil(tile) as u64,
            work: rows as u64 * inner as u64 * columns as u64,
        };
        let told = [
            rows,
            columns,
            inner,
            b_row,
            b_column,
            usize::from(bias.is_some()),
        ];
        // What is bound and not read may be anything that is not written.
        self.run(run, &told.map(word), &[out, a, b, bias.unwrap_or(b)]);
    }
}

/// Rows and columns of a factor.
fn sides(shape: &Shape, factor: Factor, sequence: usize) -> [usize; 2] {
    let [_, rows, columns, _] = factor.matrix.place(shape, sequence, 0);
    if factor.transposed {
        [columns, rows]
    } else {
        [rows, columns]
    }
}

impl Device<f32> for Wgpu {
    type Buffer = Buffer;
    type Indices = Indices;
    type Shape = Table;

    fn info(&self) -> &Info {
        &self.card.info
    }

    fn zeros(&self, len: usize) -> Result<Buffer, Error> {
        let words = self.card.allocate(len)?;
        // A new one is zeros.
        if words.before().is_some() {
            self.card.clear(&words);
        }
        Ok(Buffer(words))
    }

    fn upload(&self, values: &[f32]) -> Result<Buffer, Error> {
        self.upload_words(bytemuck::cast_slice(values)).map(Buffer)
    }

    fn indices(&self, rows: &[u32]) -> Result<Indices, Error> {
        self.upload_words(rows).map(Indices)
    }

    fn shape(&self, shape: &Shape) -> Result<Table, Error> {
        let tokens = shape.tokens();
        let most = shape.map_numbers().max(shape.spread_numbers()) as u64 * 4;
        let too_large = || Error::TooLarge {
            device: self.card.info.name.clone(),
            needed: most,
            limit: self.card.info.largest_buffer,
        };
        if most > u64::from(u32::MAX) * 4 {
            return Err(too_large());
        }
        let words = table_words(shape, &tokens).ok_or_else(too_large)?;
        let words = self.upload_words(&words)?;
        let squares = shape.sequences.iter().map(|place| place.tokens as u64);
        let squares = squares.map(|tokens| tokens * tokens).sum();
        Ok(Table {
            words,
            squares,
            shape: shape.clone(),
        })
    }

    fn write(&self, buffer: &mut Buffer, first: usize, values: &[f32]) -> Result<(), Error> {
        holds(buffer, first + values.len());
        self.card.faults.alive()?;
        self.card
            .write(&buffer.0, first, bytemuck::cast_slice(values), false);
        Ok(())
    }

    fn read(&self, buffer: &Buffer, range: Range<usize>) -> Result<Vec<f32>, Error> {
        let words = self.card.read(&buffer.0, range)?;
        Ok(bytemuck::cast_vec(words))
    }

    fn carried(&self) -> u64 {
        self.card.carried()
    }

    fn fill(&self, out: &mut Buffer, value: f32) {
        let len = out.0.len();
        let told = [word(len), 0, value.to_bits()];
        self.run(flat(Kernel::Fill, len), &told, &[&out.0]);
    }

    fn copy(&self, out: &mut Buffer, to: Columns, x: &Buffer, from: Columns, rows: usize) {
        assert_eq!(to.width, from.width);
        let len = rows * to.width;
        if len == 0 {
            return;
        }
        holds(out, to.first + (rows - 1) * to.stride + to.width);
        holds(x, from.first + (rows - 1) * from.stride + from.width);
        let told = [
            len,
            to.width,
            0,
            to.first,
            to.stride,
            from.first,
            from.stride,
        ];
        self.run(flat(Kernel::Copy, len), &told.map(word), &[&out.0, &x.0]);
    }

    fn gather(&self, out: &mut Buffer, table: &Buffer, rows: &Indices, width: usize, add: bool) {
        let len = (out.0.len() / width).min(rows.0.len()) * width;
        let kernel = if add {
            Kernel::GatherAdd
        } else {
            Kernel::Gather
        };
        let told = [word(len), word(width)];
        self.run(flat(kernel, len), &told, &[&out.0, &table.0, &rows.0]);
    }

    fn scatter(&self, out: &mut Buffer, x: &Buffer, rows: &Indices, width: usize) {
        let len = (x.0.len() / width).min(rows.0.len()) * width;
        let told = [word(len), word(width)];
        self.run(flat(Kernel::Scatter, len), &told, &[&out.0, &x.0, &rows.0]);
    }

    fn add(&self, out: &mut Buffer, x: &Buffer, len: usize) {
        holds(out, len);
        holds(x, len);
        self.run(flat(Kernel::Add, len), &[word(len)], &[&out.0, &x.0]);
    }

    fn multiply(&self, out: &mut Buffer, x: &Buffer, len: usize) {
        holds(out, len);
        holds(x, len);
        self.run(flat(Kernel::Multiply, len), &[word(len)], &[&out.0, &x.0]);
    }

    fn scale(&self, out: &mut Buffer, factor: f32, len: usize) {
        holds(out, len);
        let told = [word(len), 0, factor.to_bits()];
        self.run(flat(Kernel::Scale, len), &told, &[&out.0]);
    }

    fn scale_rows(&self, out: &mut Buffer, factors: &Buffer, rows: usize, width: usize) {
        let len = rows * width;
        holds(out, len);
        holds(factors, rows);
        let told = [word(len), word(width)];
        self.run(flat(Kernel::ScaleRows, len), &told, &[&out.0, &factors.0]);
    }

    fn scale_columns(&self, out: &mut Buffer, factors: &Buffer, rows: usize, width: usize) {
        let len = rows * width;
        holds(out, len);
        holds(factors, width);
        let told = [word(len), word(width)];
        let run = flat(Kernel::ScaleColumns, len);
        self.run(run, &told, &[&out.0, &factors.0]);
    }

    fn linear(
        &self,
        y: &mut Buffer,
        x: &Buffer,
        weight: &Buffer,
        bias: Option<&Buffer>,
        [rows, inputs, outputs]: [usize; 3],
    ) {
        holds(y, rows * outputs);
        holds(x, rows * inputs);
        holds(weight, outputs * inputs);
        if let Some(bias) = bias {
            holds(bias, outputs);
        }
        let size = [rows, inputs, outputs];
        let bias = bias.map(|bias| &bias.0);
        self.tiles(size, [1, inputs], bias, [&y.0, &x.0, &weight.0]);
    }

    fn linear_backward(
        &self,
        dx: &mut Buffer,
        dy: &Buffer,
        weight: &Buffer,
        [rows, inputs, outputs]: [usize; 3],
    ) {
        holds(dx, rows * inputs);
        holds(dy, rows * outputs);
        holds(weight, outputs * inputs);
        let size = [rows, outputs, inputs];
        self.tiles(size, [inputs, 1], None, [&dx.0, &dy.0, &weight.0]);
    }

    fn norm(
        &self,
        y: &mut Buffer,
        hat: &mut Buffer,
        rstd: &mut Buffer,
        weight: &Buffer,
        bias: &Buffer,
        [rows, width]: [usize; 2],
        epsilon: f64,
        centred: bool,
    ) {
        holds(y, rows * width);
        holds(hat, rows * width);
        holds(rstd, rows);
        holds(weight, width);
        holds(bias, width);
        let told = norm_words([rows, width], epsilon, centred);
        let run = norm_run(Kernel::Norm, rows, width);
        let operands = [&y.0, &hat.0, &rstd.0, &weight.0, &bias.0];
        self.run(run, &told, &operands);
    }

    fn norm_backward(
        &self,
        d: &mut Buffer,
        hat: &Buffer,
        rstd: &Buffer,
        weight: &Buffer,
        [rows, width]: [usize; 2],
        centred: bool,
    ) {
        holds(d, rows * width);
        holds(hat, rows * width);
        holds(rstd, rows);
        holds(weight, width);
        let told = norm_words([rows, width], 0.0, centred);
        let run = norm_run(Kernel::NormBackward, rows, width);
        self.run(run, &told, &[&d.0, &hat.0, &rstd.0, &weight.0]);
    }

    fn cross_entropy(
        &self,
        logits: &mut Buffer,
        losses: &mut Buffer,
        labels: &Indices,
        weights: &Buffer,
        [rows, columns]: [usize; 2],
    ) {
        holds(logits, rows * columns);
        holds(losses, rows);
        holds(weights, rows);
        let told = norm_words([rows, columns], 0.0, false);
        let run = norm_run(Kernel::CrossEntropy, rows, columns);
        let operands = [&logits.0, &losses.0, &labels.0, &weights.0];
        self.run(run, &told, &operands);
    }

    fn activate(&self, out: &mut Buffer, pre: &Buffer, rows: usize, by: Activate) {
        let len = rows * by.inner;
        holds(out, len);
        holds(pre, len << usize::from(by.gated));
        let told = activate_words(len, by);
        self.run(flat(Kernel::Activate, len), &told, &[&out.0, &pre.0]);
    }

    fn activate_backward(
        &self,
        d_pre: &mut Buffer,
        d: &Buffer,
        pre: &Buffer,
        rows: usize,
        by: Activate,
    ) {
        let len = rows * by.inner;
        holds(d_pre, len << usize::from(by.gated));
        holds(pre, len << usize::from(by.gated));
        holds(d, len);
        let told = activate_words(len, by);
        let run = flat(Kernel::ActivateBackward, len);
        self.run(run, &told, &[&d_pre.0, &pre.0, &d.0]);
    }

    fn products(
        &self,
        table: &Table,
        (out, to): (&mut Buffer, HeadMatrix),
        (a, first): (&Buffer, Factor),
        (b, second): (&Buffer, Factor),
        scale: f32,
        accumulate: bool,
    ) {
        let shape = &table.shape;
        let heads = table.heads();
        if heads == 0 {
            return;
        }
        let (mut most, mut work) = ([0; 2], 0);
        for sequence in 0..shape.sequences.len() {
            let [_, rows, columns, _] = to.place(shape, sequence, 0);
            let [a, b] = [first, second].map(|factor| sides(shape, factor, sequence));
            assert_eq!([a[0], b[1]], [rows, columns]);
            assert_eq!(a[1], b[0]);
            most = [most[0].max(rows), most[1].max(columns)];
            work += (rows * columns) as u64 * a[1] as u64 * heads as u64;
        }
        let few = most.iter().any(|side| *side <= FEW);
        let kernel = if few {
            Kernel::ProductsSmall
        } else {
            Kernel::Products
        };
        let [down, across] = most.map(|side| side.div_ceil(kernel.tile()));
        if down * across == 0 {
            return;
        }
        let run = Run {
            kernel,
            groups: (shape.sequences.len() * heads) as u64 * (down * across) as u64,
            work,
        };
        let turned = u32::from(first.transposed) + 2 * u32::from(second.transposed);
        let mut told = table.parameters(down * across);
        for matrix in [to, first.matrix, second.matrix] {
            told.extend(matrix_words(matrix));
        }
        told.extend([turned, word(across), u32::from(accumulate), scale.to_bits()]);
        self.run(run, &told, &[&table.words, &out.0, &a.0, &b.0]);
    }

    fn add_by_offset(&self, table: &Table, map: &mut Buffer, by_offset: &Buffer) {
        holds(map, table.shape.map_numbers());
        holds(by_offset, table.heads() * (2 * table.shape.longest - 1));
        self.run_rows(table, Kernel::AddByOffset, &[], &[&map.0, &by_offset.0]);
    }

    fn add_spread(
        &self,
        table: &Table,
        map: &mut Buffer,
        spread: &Buffer,
        by: Spread<'_, Indices>,
    ) {
        holds(map, table.shape.map_numbers());
        holds(spread, table.shape.spread_numbers());
        let told = [u32::from(by.by_key)];
        let operands = [&map.0, &spread.0, &by.columns.0];
        self.run_rows(table, Kernel::AddSpread, &told, &operands);
    }

    fn sum_spread(
        &self,
        table: &Table,
        spread: &mut Buffer,
        map: &Buffer,
        by: Spread<'_, Indices>,
    ) {
        holds(map, table.shape.map_numbers());
        holds(spread, table.shape.spread_numbers());
        let rows = table.shape.tokens().len() * table.heads();
        let run = Run {
            kernel: Kernel::SumSpread,
            groups: rows.div_ceil(64) as u64,
            work: table.squares * table.heads() as u64 * 8,
        };
        let told = [u32::from(by.by_key)];
        let operands = [&spread.0, &map.0, &by.columns.0];
        self.run_shaped(table, run, &told, &operands);
    }

    fn hide(&self, table: &Table, map: &mut Buffer, sight: Sight) {
        holds(map, table.shape.map_numbers());
        let told = sight_words(sight, f32::NEG_INFINITY);
        self.run_rows(table, Kernel::Hide, &told, &[&map.0]);
    }

    fn softmax(&self, table: &Table, map: &mut Buffer, sight: Sight) {
        holds(map, table.shape.map_numbers());
        let told = sight_words(sight, f32::NAN);
        self.run_rows(table, Kernel::Softmax, &told, &[&map.0]);
    }

    fn softmax_backward(&self, table: &Table, d: &mut Buffer, probs: &Buffer) {
        holds(d, table.shape.map_numbers());
        holds(probs, table.shape.map_numbers());
        self.run_rows(table, Kernel::SoftmaxBackward, &[], &[&d.0, &probs.0]);
    }

    fn turn(
        &self,
        table: &Table,
        (x, matrix): (&mut Buffer, HeadMatrix),
        [cosines, sines]: [&Buffer; 2],
        positions: &Indices,
        half: usize,
        back: bool,
    ) {
        let HeadMatrix::Tokens { first, stride } = matrix else {
            unreachable!("only rows of tokens are turned");
        };
        let len = table.shape.tokens().len() * table.heads() * half;
        let told = [word(stride), word(first), word(half), u32::from(back)];
        let operands = [&x.0, &cosines.0, &sines.0, &positions.0];
        self.run_shaped(table, flat(Kernel::Turn, len), &told, &operands);
    }

    fn scale_heads(&self, table: &Table, x: &mut Buffer, width: usize, factors: &Buffer) {
        let shape = &table.shape;
        holds(x, shape.tokens().end * width);
        holds(factors, shape.sequences.len() * table.heads());
        let len = shape.tokens().len() * table.heads() * shape.dim;
        let run = flat(Kernel::ScaleHeads, len);
        self.run_shaped(table, run, &[word(width)], &[&x.0, &factors.0]);
    }

    fn head_dots(&self, table: &Table, out: &mut Buffer, a: &Buffer, b: &Buffer, width: usize) {
        let tokens = table.shape.tokens();
        holds(out, tokens.end * table.heads());
        holds(a, tokens.end * width);
        holds(b, tokens.end * width);
        let run = flat(Kernel::HeadDots, tokens.len() * table.heads());
        self.run_shaped(table, run, &[word(width)], &[&out.0, &a.0, &b.0]);
    }

    fn sum_tokens(&self, table: &Table, out: &mut Buffer, first: usize, x: &Buffer) {
        let pairs = table.shape.sequences.len() * table.heads();
        holds(out, first + pairs);
        holds(x, table.shape.tokens().end * table.heads());
        let run = Run {
            kernel: Kernel::SumTokens,
            groups: pairs as u64,
            work: (table.shape.tokens().len() * table.heads()) as u64,
        };
        self.run_shaped(table, run, &[word(first)], &[&out.0, &x.0]);
    }

    fn flag_nonfinite(
        &self,
        table: &Table,
        flags: &mut Buffer,
        first: usize,
        x: &Buffer,
        width: usize,
    ) {
        let shape = &table.shape;
        holds(flags, first + shape.sequences.len());
        holds(x, shape.tokens().end * width);
        let run = Run {
            kernel: Kernel::FlagNonfinite,
            groups: shape.sequences.len() as u64,
            work: (shape.tokens().len() * width) as u64,
        };
        let told = [word(width), word(first)];
        self.run_shaped(table, run, &told, &[&flags.0, &x.0]);
    }
}

fn norm_run(kernel: Kernel, rows: usize, width: usize) -> Run {
    Run {
        kernel,
        groups: rows as u64,
        work: (rows * width * 8) as u64,
    }
}
