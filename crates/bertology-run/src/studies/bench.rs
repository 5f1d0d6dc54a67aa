//! What `bertology bench` writes.

use crate::registry::{File, file, rows};
use crate::results::{document, results_of};
use crate::table::{Row as _, row};

/// Every file.
pub(crate) const FILES: &[File] = &[file(
    BenchRow::FILE,
    rows::<BenchRow>(""),
    &["bench"],
    "latency and throughput of each model at each size of batch, and the ratio of two models",
)];

row! {
    /// One model at one size of batch and one length.
    struct BenchRow in "bench.csv" {
        /// Its number in `run.json`: 0 is the model, 1 the one that it is held against.
        model: usize,
        /// Sequences of a batch.
        batch_size: u64,
        /// Tokens of a sequence.
        length: u64,
        /// Batches that were timed.
        rounds: u64,
        /// Median of their times, milliseconds.
        p50_ms: f64,
        /// Nine in ten take no longer.
        p90_ms: f64,
        /// Ninety-nine in a hundred take no longer.
        p99_ms: f64,
        /// Sequences a second, at the median.
        examples_per_second: f64,
        /// Tokens a second, at the median.
        tokens_per_second: f64,
        /// How many times as fast as model 0.
        speed: Option<f64>,
        /// Where its interval begins.
        low: Option<f64>,
        /// Where its interval ends.
        high: Option<f64>,
    }
}

results_of! {
    BenchResults: "bench"
}

document! {
    /// What was timed, and how.
    struct BenchResults {
        /// The model, and the one that it is held against.
        models: Vec<BenchedModel>,
        /// At work inside one batch.
        threads: u64,
        /// The most memory that the process held, all models together, where the system tells.
        peak_bytes: Option<u64>,
        /// Of the intervals of all cells together.
        coverage: f64,
        /// Each size of batch with each length.
        cells: Vec<BenchCell>,
    }

    /// A model.
    struct BenchedModel {
        /// As it was named.
        name: String,
        /// Of its weights.
        sha256: String,
        /// Numbers in it.
        parameters: u64,
        /// Heads that it has.
        heads: u64,
    }

    /// A size of batch with a length.
    struct BenchCell {
        /// Sequences of a batch.
        batch_size: u64,
        /// Tokens of a sequence.
        length: u64,
        /// `[model, round]`, seconds of every batch; those of a round came directly after each other.
        seconds: Vec<Vec<f64>>,
        /// How many times as fast the second model is.
        speed: Option<f64>,
        /// The interval of that.
        interval: Option<(f64, f64)>,
    }
}
