//! What `bertology relations` and `bertology contacts` write.

use crate::registry::{File, Kind, file, rows};
use crate::results::{Named, document, results_of};
use crate::table::{Row as _, of_head, row};

/// The regression over all heads, and how it was fitted.
pub const REGRESSION: &str = "regression.json";
/// What the regression finds in the first text.
pub const EXAMPLE: &str = "relation_example.json";

const COMMANDS: &[&str] = &["relations", "contacts"];

/// Every file.
pub(crate) const FILES: &[File] = &[
    file(
        RelationHeadRow::FILE,
        rows::<RelationHeadRow>(""),
        COMMANDS,
        "how the attention of each head follows each label in each range of distances",
    ),
    file(
        RelationRegressionRow::FILE,
        rows::<RelationRegressionRow>(""),
        COMMANDS,
        "how well regressions over all heads find each label",
    ),
    file(
        REGRESSION,
        Kind::Json,
        COMMANDS,
        "weights of the regression a label, `[layers · heads]`, with how it was fitted",
    ),
    file(
        EXAMPLE,
        Kind::Json,
        COMMANDS,
        "related pairs of the first text, and those that a regression finds most probable",
    ),
];

row! {
    /// A head, a label and a range of distances.
    struct RelationHeadRow in "relation_heads.csv" {
        /// The label.
        label: String,
        /// The range.
        distances: String,
        /// Layer.
        layer: usize,
        /// Head of the layer.
        head: usize,
        /// Of all attention between units in the range, the part along related pairs.
        share: Option<f64>,
        /// 95 % interval over texts.
        share_low: Option<f64>,
        /// Its other end.
        share_high: Option<f64>,
        /// Of all pairs in the range, the part that is related.
        background: Option<f64>,
        /// What of the share is more than along unrelated pairs of the same texts and distances.
        excess: Option<f64>,
        /// 95 % interval over texts.
        excess_low: Option<f64>,
        /// Its other end.
        excess_high: Option<f64>,
        /// Of the strongest pairs, as many as are related, the part that is.
        precision: Option<f64>,
        /// 95 % interval over texts.
        precision_low: Option<f64>,
        /// Its other end.
        precision_high: Option<f64>,
        /// Of as many as there are units.
        precision_length: Option<f64>,
        /// Of half as many.
        precision_half: Option<f64>,
        /// Of a fifth as many.
        precision_fifth: Option<f64>,
        /// Units where a related pair begins whose strongest partner is related.
        from_correct: u64,
        /// Units where a related pair begins.
        from_total: u64,
        /// Their share.
        from_accuracy: Option<f64>,
        /// Wilson's 95 % interval.
        from_low: Option<f64>,
        /// Its other end.
        from_high: Option<f64>,
        /// The same of unrelated pairs of the same texts and distances.
        from_matched: Option<f64>,
        /// Units where a related pair ends whose strongest partner is related.
        to_correct: u64,
        /// Units where a related pair ends; 0 where pairs have no direction.
        to_total: u64,
        /// Their share.
        to_accuracy: Option<f64>,
        /// Wilson's 95 % interval.
        to_low: Option<f64>,
        /// Its other end.
        to_high: Option<f64>,
        /// The same of unrelated pairs of the same texts and distances.
        to_matched: Option<f64>,
        /// How often a related pair has more attention than an unrelated one of the same text and distance.
        matched_auc: Option<f64>,
        /// 95 % interval over texts.
        matched_auc_low: Option<f64>,
        /// Its other end.
        matched_auc_high: Option<f64>,
    }

    /// A regression, a label and a range of distances.
    struct RelationRegressionRow in "relation_regressions.csv" {
        /// Its name.
        regression: String,
        /// The label.
        label: String,
        /// The range.
        distances: String,
        /// Texts with related pairs.
        texts: u64,
        /// Of the most probable pairs, as many as are related, the part that is.
        precision: Option<f64>,
        /// 95 % interval over texts.
        precision_low: Option<f64>,
        /// Its other end.
        precision_high: Option<f64>,
        /// Of as many as there are units.
        precision_length: Option<f64>,
        /// 95 % interval over texts.
        precision_length_low: Option<f64>,
        /// Its other end.
        precision_length_high: Option<f64>,
        /// Of half as many.
        precision_half: Option<f64>,
        /// Of a fifth as many.
        precision_fifth: Option<f64>,
        /// Units whose most probable partner is related.
        from_accuracy: Option<f64>,
        /// The same of unrelated pairs of the same texts and distances.
        from_matched: Option<f64>,
        /// Units where a pair ends whose most probable partner is related.
        to_accuracy: Option<f64>,
        /// The same of unrelated pairs of the same texts and distances.
        to_matched: Option<f64>,
        /// Area under precision over recall, a text at a time.
        average_precision: Option<f64>,
        /// 95 % interval over texts.
        average_precision_low: Option<f64>,
        /// Its other end.
        average_precision_high: Option<f64>,
        /// Area under the receiver's curve, a text at a time.
        auc: Option<f64>,
        /// 95 % interval over texts.
        auc_low: Option<f64>,
        /// Its other end.
        auc_high: Option<f64>,
        /// Against unrelated pairs of the same text and distance alone.
        matched_auc: Option<f64>,
        /// 95 % interval over texts.
        matched_auc_low: Option<f64>,
        /// Its other end.
        matched_auc_high: Option<f64>,
    }
}

of_head!(RelationHeadRow);

results_of! {
    RelationResults: "relations"
}

document! {
    /// Of `bertology relations` and `bertology contacts`.
    struct RelationResults {
        /// What was read.
        counts: Option<RelationCounts>,
        /// How a unit's attention is made of that of its tokens.
        row_mode: String,
        /// Whether pairs have no direction.
        symmetric: bool,
        /// Whether attention is corrected by its average product.
        apc: bool,
        /// 0, or from how much attention on an entry counts for shares.
        min_attention: f64,
        /// A label and a range each.
        relations: Vec<RelationBest>,
    }

    /// What was read.
    struct RelationCounts {
        /// Texts studied.
        sequences: u64,
        /// Their tokens, special ones included.
        tokens: u64,
        /// Their units.
        words: u64,
        /// Related pairs that were looked at.
        pairs: u64,
        /// Related pairs with a unit that was cut off, has no token or of which nothing is known.
        pairs_lost: u64,
        /// Texts that were cut.
        cut: u64,
        /// Units that were cut off.
        units_cut: u64,
        /// Texts left out as too long.
        too_long: u64,
        /// Texts without a token.
        empty: u64,
        /// Units without a token.
        without_tokens: u64,
        /// Tokens with characters of two units.
        straddling: u64,
    }

    /// The heads that follow a label most, on these very texts.
    struct RelationBest {
        /// The label.
        label: String,
        /// The range.
        distances: String,
        /// Related pairs, by their weights.
        pairs: f64,
        /// Of all pairs in the range, the part that is related.
        background: Option<f64>,
        /// By share of attention; beside it what unrelated pairs of the same texts and distances would have.
        share: Option<BestValue>,
        /// By precision of as many pairs as are related.
        precision: Option<BestValue>,
        /// By accuracy from where pairs begin.
        from: Option<BestValue>,
        /// By accuracy from where pairs end.
        to: Option<BestValue>,
        /// By name.
        regressions: Named<RegressionScores>,
    }

    /// A head and what it has.
    struct BestValue {
        /// As `L2H3`.
        head: String,
        /// Its value.
        value: f64,
        /// 95 % interval.
        low: Option<f64>,
        /// Its other end.
        high: Option<f64>,
        /// What pairs of the same texts and distances give.
        matched: Option<f64>,
    }

    /// How well a regression finds a label.
    struct RegressionScores {
        /// Of as many pairs as are related.
        precision: Option<f64>,
        /// Of as many as there are units, half of them, a fifth.
        precision_at: Named<Option<f64>>,
        /// Area under precision over recall.
        average_precision: Option<f64>,
        /// Area under the receiver's curve.
        auc: Option<f64>,
        /// Against unrelated pairs of the same text and distance alone.
        matched_auc: Option<f64>,
    }

    /// What a regression finds in the first text.
    struct RelationMap {
        /// The regression.
        regression: String,
        /// The line of the record.
        line: u64,
        /// What the file calls it.
        name: Option<String>,
        /// Units.
        units: u64,
        /// The label.
        label: String,
        /// Pairs that are related, units counted from 0.
        related: Vec<(u32, u32)>,
        /// The most probable pairs, with their probability.
        strongest: Vec<(u32, u32, f64)>,
    }
}
