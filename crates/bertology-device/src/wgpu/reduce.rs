//! Tables of maps, by a card.

use super::Wgpu;
use super::kernel::{FLAT, Kernel};
use super::memory::{Buffer, Indices, Table};
use super::operations::holds;
use super::stream::Run;
use super::told::{sight_words, word};
use crate::reduce::{PARTNERS, Reduce, UNIT};
use crate::{Columns, Sight};

/// What is seen, then what else an operation is told.
fn told(sight: Sight, more: [u32; 4]) -> Vec<u32> {
    let [mode, reach, _] = sight_words(sight, 0.0);
    [mode, reach, 0, 0].into_iter().chain(more).collect()
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "rounding to f32 is the purpose"
)]
fn bits(smoothing: f64) -> u32 {
    (smoothing as f32).to_bits()
}

impl Reduce<f32> for Wgpu {
    fn row_entropies(
        &self,
        table: &Table,
        (out, to): (&mut Buffer, Columns),
        probs: &Buffer,
        smoothing: f64,
        sight: Sight,
    ) {
        holds(out, table.shape.tokens().end * table.heads() * to.stride);
        holds(probs, table.shape.map_numbers());
        let told = told(
            sight,
            [
                word(to.stride),
                word(to.first),
                bits(smoothing),
                word(to.width),
            ],
        );
        self.run_rows(table, Kernel::RowEntropies, &told, &[&out.0, &probs.0]);
    }

    fn class_sums(
        &self,
        table: &Table,
        (out, to): (&mut Buffer, Columns),
        (map, times): (&Buffer, Option<&Buffer>),
        classes: &Indices,
        sight: Sight,
        absolute: bool,
    ) {
        holds(out, table.shape.tokens().end * table.heads() * to.stride);
        holds(map, table.shape.map_numbers());
        // What is bound and not read may be anything that is not written.
        let y = times.unwrap_or(map);
        holds(y, table.shape.map_numbers());
        let how = u32::from(absolute) | u32::from(times.is_some()) << 1;
        let told = told(
            sight,
            [word(to.stride), word(to.first), word(to.width), how],
        );
        let operands = [&out.0, &map.0, &classes.0, &y.0];
        self.run_rows(table, Kernel::ClassSums, &told, &operands);
    }

    fn neighbours(&self, table: &Table, (out, to): (&mut Buffer, Columns), map: &Buffer) {
        let rows = table.shape.tokens().len() * table.heads();
        holds(out, table.shape.tokens().end * table.heads() * to.stride);
        holds(map, table.shape.map_numbers());
        let run = Run {
            kernel: Kernel::Neighbours,
            groups: rows.div_ceil(FLAT) as u64,
            work: rows as u64,
        };
        let told = told(Sight::default(), [word(to.stride), word(to.first), 0, 0]);
        self.run_shaped(table, run, &told, &[&out.0, &map.0]);
    }

    fn sum_rows(
        &self,
        table: &Table,
        out: &mut Buffer,
        rows: &Buffer,
        classes: &Indices,
        [count, columns]: [usize; 2],
    ) {
        let (pairs, tokens) = (
            table.shape.sequences.len() * table.heads(),
            table.shape.tokens(),
        );
        holds(out, pairs * count * columns);
        holds(rows, tokens.end * table.heads() * columns);
        assert!(tokens.end <= classes.0.len());
        let run = Run {
            kernel: Kernel::SumRows,
            groups: pairs as u64,
            work: (tokens.len() * table.heads() * count * columns) as u64,
        };
        let told = told(Sight::default(), [word(count), word(columns), 0, 0]);
        self.run_shaped(table, run, &told, &[&out.0, &rows.0, &classes.0]);
    }

    fn fold(
        &self,
        units: &Table,
        out: &mut Buffer,
        tokens: &Table,
        map: &Buffer,
        described: &Indices,
    ) {
        holds(out, units.shape.map_numbers());
        holds(map, tokens.shape.map_numbers());
        let rows = units.shape.tokens().len() * units.heads();
        let run = Run {
            kernel: Kernel::Fold,
            groups: rows as u64,
            work: tokens.squares * units.heads() as u64,
        };
        let operands = [&out.0, &map.0, &described.0, &tokens.words];
        self.run_shaped(units, run, &[], &operands);
    }

    fn strongest(&self, units: &Table, out: &mut Buffer, map: &Buffer, described: &Indices) {
        let shape = &units.shape;
        holds(out, shape.tokens().end * units.heads() * PARTNERS);
        holds(map, shape.map_numbers());
        assert!(shape.tokens().end * UNIT <= described.0.len());
        let rows = shape.tokens().len() * units.heads();
        let run = Run {
            kernel: Kernel::Strongest,
            groups: rows.div_ceil(64) as u64,
            work: units.squares * units.heads() as u64 * 16,
        };
        self.run_shaped(units, run, &[], &[&out.0, &map.0, &described.0]);
    }

    fn keep_rows(
        &self,
        table: &Table,
        (out, first): (&mut Buffer, usize),
        map: &Buffer,
        rows: &Indices,
        smoothing: f64,
        sight: Sight,
    ) {
        let n = table.shape.longest;
        let kept = table.heads() * rows.0.len();
        holds(out, first + kept * n);
        holds(map, table.shape.map_numbers());
        let run = Run {
            kernel: Kernel::KeepRows,
            groups: kept as u64,
            work: (kept * n) as u64,
        };
        let told = told(sight, [word(first), word(rows.0.len()), bits(smoothing), 0]);
        self.run_shaped(table, run, &told, &[&out.0, &map.0, &rows.0]);
    }

    fn divergences(&self, out: &mut Buffer, maps: &Buffer, [count, cells]: [usize; 2]) {
        let pairs = count * count.saturating_sub(1) / 2;
        holds(out, pairs);
        holds(maps, count * cells);
        let run = Run {
            kernel: Kernel::Divergences,
            groups: pairs as u64,
            work: (pairs * cells) as u64 * 32,
        };
        self.run(run, &[word(count), word(cells)], &[&out.0, &maps.0]);
    }
}
