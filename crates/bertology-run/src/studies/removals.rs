//! What `bertology ablate` writes besides the table of single removals: one head a layer, and a second set of data.

use crate::registry::{File, file, per_head, rows};
use crate::results::{Grid, document};
use crate::table::{More, Row as _, of_head, row};

/// The metric with each head as the only one of its layer.
pub const KEEP_ONE: &str = "keep_one.npy";
/// Its change against the whole model.
pub const KEEP_ONE_CHANGE: &str = "keep_one_change.npy";
/// Change of the metric without each head, on the second data.
pub const ABLATION_AND: &str = "head_ablation_and.npy";

/// Every file.
pub(crate) const FILES: &[File] = &[
    file(
        KEEP_ONE,
        per_head("<f4"),
        &["ablate"],
        "the metric with each head as the only one of its layer; NaN where a head was not tried",
    ),
    file(
        KEEP_ONE_CHANGE,
        per_head("<f4"),
        &["ablate"],
        "its change against the whole model",
    ),
    file(
        KeepOneRow::FILE,
        rows::<KeepOneRow>("the metrics, by name"),
        &["ablate"],
        "what changes with each head as the only one of its layer, with errors and tests",
    ),
    file(
        KeepOneLayerRow::FILE,
        rows::<KeepOneLayerRow>(""),
        &["ablate"],
        "the best head of each layer, and what changes with it alone",
    ),
    file(
        ABLATION_AND,
        per_head("<f4"),
        &["ablate"],
        "change of the metric without each head, on the second data",
    ),
    file(
        AblationAndRow::FILE,
        rows::<AblationAndRow>(""),
        &["ablate"],
        "what changes without each head on the second data, beside the first",
    ),
];

row! {
    /// A head as the only one of its layer, other layers whole. Metrics with it alone stand behind, by name.
    struct KeepOneRow in "keep_one.csv" {
        /// Layer.
        layer: usize,
        /// Head of the layer.
        head: usize,
        /// The metric that decides, with the head alone.
        score: Option<f64>,
        /// Of the metric: with the head alone less the whole model.
        change: Option<f64>,
        /// Of the mean loss, nats.
        loss_change: f64,
        /// Of `loss_change`, over pairs of examples.
        loss_standard_error: Option<f64>,
        /// Predictions that are others.
        changed: Option<u64>,
        /// Predictions that the whole model has right and the head alone wrong.
        right_to_wrong: Option<u64>,
        /// The other way round.
        wrong_to_right: Option<u64>,
        /// Of the exact two-sided sign test.
        p_value: Option<f64>,
        /// Whether the change is significant at 0.01: by the sign test; without classes by the loss.
        significant: bool,
        /// Mean loss with the head alone, nats.
        loss: Option<f64>,
        /// Metrics with the head alone.
        metrics: More<Option<f64>>,
    }

    /// The best head of a layer.
    struct KeepOneLayerRow in "keep_one_layers.csv" {
        /// Layer.
        layer: usize,
        /// Its best head.
        head: usize,
        /// The metric with it alone, on the data on which it was chosen.
        selection_score: Option<f64>,
        /// The metric with it alone, on the data that are scored.
        score: Option<f64>,
        /// Of the metric: with it alone less the whole model.
        change: Option<f64>,
        /// Of the mean loss, nats.
        loss_change: f64,
        /// Of `loss_change`, over pairs of examples.
        loss_standard_error: Option<f64>,
        /// Predictions that the whole model has right and the head alone wrong.
        right_to_wrong: Option<u64>,
        /// The other way round.
        wrong_to_right: Option<u64>,
        /// Of the exact two-sided sign test.
        p_value: Option<f64>,
        /// Whether the change is significant at 0.01: by the sign test; without classes by the loss.
        significant: bool,
    }

    /// What changes without a head on two sets of data.
    struct AblationAndRow in "ablation_and.csv" {
        /// Layer.
        layer: usize,
        /// Head of the layer.
        head: usize,
        /// Of the metric, on the first data.
        change: Option<f64>,
        /// Of the metric, on the second data.
        change_and: Option<f64>,
        /// Of the mean loss on the first data, nats.
        loss_change: Option<f64>,
        /// Of the mean loss on the second data, nats.
        loss_change_and: Option<f64>,
        /// Of `loss_change_and`, over pairs of examples.
        loss_standard_error_and: Option<f64>,
        /// Predictions on the second data that are right with the head and wrong without it.
        right_to_wrong_and: Option<u64>,
        /// The other way round.
        wrong_to_right_and: Option<u64>,
        /// Of the exact two-sided sign test on the second data.
        p_value_and: Option<f64>,
    }
}

of_head!(KeepOneRow, KeepOneLayerRow, AblationAndRow);

document! {
    /// Each head as the only one of its layer.
    struct KeepOneResults {
        /// Whether the best heads were chosen on the data that they are scored on.
        selected_on_scored_data: bool,
        /// The file on which they were chosen.
        selected_on: String,
        /// Its examples.
        selection_examples: Option<u64>,
        /// The best head of each layer.
        layers: Vec<KeptHead>,
        /// Layers whose change is significant at 0.01.
        significant_layers: Option<u64>,
        /// The metric with each head alone in its layer.
        score: Grid,
        /// Its change against the whole model.
        change: Grid,
        /// Change of the mean loss, nats.
        loss_change: Grid,
    }

    /// The best head of a layer.
    struct KeptHead {
        /// Such as `L3H5`.
        head: String,
        /// On the data on which it was chosen.
        selection_score: Option<f64>,
        /// On the data that are scored.
        score: Option<f64>,
        /// Of the metric: with it alone less the whole model.
        change: Option<f64>,
        /// Of the mean loss, nats.
        loss_change: Option<f64>,
        /// Of `loss_change`, over pairs of examples.
        loss_standard_error: Option<f64>,
        /// Of the exact two-sided sign test; of classifiers.
        p_value: Option<f64>,
        /// At 0.01.
        significant: bool,
    }

    /// The same removals on a second set of data.
    struct AndResults {
        /// Its file.
        file: String,
        /// The metric there.
        metric: Option<String>,
        /// Of the whole model.
        evaluation: Option<crate::results::Evaluation>,
        /// Of the metric's changes.
        change: Correlation,
        /// Of the changes of the loss.
        loss_change: Correlation,
        /// Change of the metric on the second data.
        head_ablation: Grid,
    }

    /// How two changes go together over heads.
    struct Correlation {
        /// With a change on both data.
        heads: u64,
        /// Pearson's r.
        pearson: Option<f64>,
        /// Its 95 % interval, by Fisher's transform.
        pearson_interval: Option<(f64, f64)>,
        /// Against none, two-sided.
        pearson_p_value: Option<f64>,
        /// Spearman's ρ.
        spearman: Option<f64>,
        /// Against none, two-sided.
        spearman_p_value: Option<f64>,
    }
}
