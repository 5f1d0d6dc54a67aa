//! What `bertology judge` writes.

use crate::registry::{File, file, rows};
use crate::results::{document, results_of};
use crate::table::{Row as _, row};

/// Every file.
pub(crate) const FILES: &[File] = &[
    file(
        MeasureRow::FILE,
        rows::<MeasureRow>(""),
        &["judge"],
        "the area under the curves of each measure",
    ),
    file(
        CurveRow::FILE,
        rows::<CurveRow>(""),
        &["judge"],
        "the score as units go, by measure and seed",
    ),
    file(
        DifferenceRow::FILE,
        rows::<DifferenceRow>(""),
        &["judge"],
        "which measures differ, pair by pair",
    ),
    file(
        UnitRow::FILE,
        rows::<UnitRow>(""),
        &["judge"],
        "what each measure gives to each unit, by seed",
    ),
];

row! {
    /// A measure.
    struct MeasureRow in "judged_measures.csv" {
        /// Its name.
        measure: String,
        /// Mean score between the first and the last share, over seeds.
        area: Option<f64>,
        /// Its 95 % interval.
        low: Option<f64>,
        /// Its 95 % interval.
        high: Option<f64>,
        /// Seeds that it is of.
        seeds: usize,
    }

    /// A smaller model.
    struct CurveRow in "judged_curves.csv" {
        /// Which units went first.
        measure: String,
        /// Of the draw of examples.
        seed: u64,
        /// Units that are left.
        left: usize,
        /// Share of all units.
        share: f64,
        /// Share of the multiply-adds of the blocks.
        operations: f64,
        /// The metric.
        score: Option<f64>,
        /// Mean loss.
        loss: Option<f64>,
    }

    /// Two measures.
    struct DifferenceRow in "judged_differences.csv" {
        /// The one with the better area.
        better: String,
        /// The other.
        worse: String,
        /// Of their areas; not negative.
        difference: f64,
        /// Its 95 % interval.
        low: Option<f64>,
        /// Its 95 % interval.
        high: Option<f64>,
        /// How likely it is where there is none.
        p_value: Option<f64>,
        /// Whether it is real, all pairs considered (Holm, 5 %).
        real: bool,
    }

    /// A head, a neuron or a layer.
    struct UnitRow in "judged_units.csv" {
        /// What scored it.
        measure: String,
        /// Of the draw of examples.
        seed: u64,
        /// From 0.
        layer: usize,
        /// Head or neuron of the layer, from 0; nothing for whole layers.
        unit: Option<usize>,
        /// The higher, the longer it stays.
        score: f64,
        /// Standard error over examples, where it is known.
        standard_error: Option<f64>,
    }
}

results_of! {
    JudgeResults: "judge"
}

document! {
    /// Which measure deserves trust.
    struct JudgeResults {
        /// `heads`, `neurons` or `layers`.
        units: String,
        /// How many of them the model has.
        count: u64,
        /// The metric of the curves.
        metric: String,
        /// Whether a lower one is better.
        falling: bool,
        /// Of the model as it is.
        whole: Option<f64>,
        /// Examples by which units are scored, of each seed.
        examples: u64,
        /// Seeds.
        seeds: Vec<u64>,
        /// Parts of the judging examples that are left out in turn.
        folds: u64,
        /// Measures, the best first.
        measures: Vec<String>,
        /// The area of each of them, with its interval where it is known.
        areas: Vec<(Option<f64>, Option<(f64, f64)>)>,
        /// Units that are left at the points of the curves.
        left: Vec<u64>,
        /// For each of the measures the mean score over seeds at these points.
        curves: Vec<Vec<Option<f64>>>,
        /// Pairs of measures, and how many of them differ.
        pairs: (u64, u64),
        /// Those that do.
        real: Vec<RealDifference>,
    }

    /// Two measures that differ.
    struct RealDifference {
        /// The one with the better area.
        better: String,
        /// The other.
        worse: String,
        /// Of their areas.
        difference: f64,
        /// Its 95 % interval.
        interval: Option<(f64, f64)>,
    }
}
