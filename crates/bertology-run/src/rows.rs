//! The rows of every table that a command writes.
//!
//! A field that is `Option` is empty where the number is unknown or not finite; columns of older versions may
//! lack. Layers and heads are counted from 0.

use crate::table::{More, of_head, row};

row! {
    /// A head with its importance.
    struct ImportanceRow in "heads.csv" {
        /// Layer.
        layer: usize,
        /// Head of the layer.
        head: usize,
        /// Normalised as the run's options say.
        importance: Option<f64>,
        /// Before any normalisation.
        importance_raw: Option<f64>,
        /// Mean entropy of attention, nats.
        entropy: Option<f64>,
        /// 0 is the most important.
        rank: Option<usize>,
        /// Whether the head has a score.
        live: bool,
        /// Of `importance_raw`, over examples.
        standard_error: Option<f64>,
        /// Lower end of the 95 % interval of `importance`.
        importance_low: Option<f64>,
        /// Its upper end.
        importance_high: Option<f64>,
        /// The best rank within the 95 % interval.
        rank_low: Option<usize>,
        /// The worst.
        rank_high: Option<usize>,
    }

    /// What is said when a head is left out. Metrics without the head stand behind, by name.
    struct AblationRow in "ablation.csv" {
        /// Layer.
        layer: usize,
        /// Head of the layer.
        head: usize,
        /// Of the metric that decides: the value without the head less the value with it.
        change: Option<f64>,
        /// Of the mean loss, nats.
        loss_change: f64,
        /// Of `loss_change`, over pairs of examples.
        loss_standard_error: Option<f64>,
        /// Predictions that are others.
        changed: Option<u64>,
        /// Predictions that are right with the head and wrong without it.
        right_to_wrong: Option<u64>,
        /// The other way round.
        wrong_to_right: Option<u64>,
        /// Of the exact two-sided sign test.
        p_value: Option<f64>,
        /// Mean loss without the head, nats.
        loss: Option<f64>,
        /// Metrics without the head.
        metrics: More<Option<f64>>,
    }

    /// A pass of the masking loop. Metrics stand between, by name.
    struct StepRow in "curve.csv" {
        /// From 0, the pass with all heads.
        step: usize,
        /// Heads that are not masked.
        heads_left: usize,
        /// Of the metric that decides.
        score: Option<f64>,
        /// Whether the score keeps to the bound.
        passed: bool,
        /// Mean loss, nats.
        loss: f64,
        /// Metrics of the pass.
        metrics: More<Option<f64>>,
        /// Masked by this step besides those of the last row that passed, with spaces between.
        masked_heads: String,
    }

    /// The score with some heads masked, in one order. Metrics stand behind, by name.
    struct ScheduleRow in "schedule.csv" {
        /// `importance`, `ablation`, `random` or the file; empty for the model with all heads.
        order: String,
        /// Of a random order.
        seed: Option<u64>,
        /// Heads masked.
        masked: usize,
        /// Of the metric that decides.
        score: Option<f64>,
        /// Lower end of the 95 % interval of `score`.
        score_low: Option<f64>,
        /// Its upper end.
        score_high: Option<f64>,
        /// Mean loss, nats.
        loss: f64,
        /// Metrics of the pass.
        metrics: More<Option<f64>>,
    }

    /// What a classifier says of an example. The logits stand behind, `logit_0` and so on.
    struct PredictionRow in "predictions.csv" {
        /// Of the example, from 0.
        index: u64,
        /// Of the file, from 1.
        line: u64,
        /// The class or number of the data.
        label: String,
        /// The model's.
        prediction: String,
        /// Nats, or squared error.
        loss: f64,
        /// Of the sequence.
        tokens: u64,
        /// In the model's units.
        logits: More<Option<f32>>,
    }

    /// What a language model makes of a window.
    struct WindowRow in "predictions.csv" {
        /// Of the window among all, from 0.
        index: u64,
        /// Of the file, where its document begins, from 1.
        line: u64,
        /// Of the window in its document, from 0.
        window: u64,
        /// Of the window.
        tokens: u64,
        /// Tokens that are predicted.
        targets: u64,
        /// Mean over the targets, nats.
        loss: f64,
    }

    /// An average of attention or entropy of a head.
    struct PatternRow in "attention_patterns.csv" {
        /// Layer.
        layer: usize,
        /// Head of the layer.
        head: usize,
        /// What is averaged.
        key: String,
        /// Over documents.
        mean: Option<f64>,
        /// Of the mean.
        standard_error: Option<f64>,
        /// Over all tokens together.
        micro: Option<f64>,
        /// Documents in the mean.
        documents: u64,
    }

    /// What a head does most, by the rules of Clark and others (2019).
    struct BehaviourRow in "behaviours.csv" {
        /// Layer.
        layer: usize,
        /// Head of the layer.
        head: usize,
        /// Empty where it is none of those known.
        behaviour: String,
    }

    /// The size of the loss's gradient with respect to a head's attention to a class of tokens. Where it is
    /// asked for, the same of the gradient times attention stands before `documents`.
    struct GradientRow in "attention_gradients.csv" {
        /// Layer.
        layer: usize,
        /// Head of the layer.
        head: usize,
        /// Of the key's token.
        class: String,
        /// Over pairs of a query and a key of the class.
        mean: Option<f64>,
        /// Of the mean.
        mean_standard_error: Option<f64>,
        /// Over queries, summed over keys.
        row_sum: Option<f64>,
        /// Of the sum.
        row_sum_standard_error: Option<f64>,
        /// [`TIMES_ATTENTION`], or nothing.
        times_attention: More<Option<f64>>,
        /// Documents in the mean.
        documents: u64,
    }

    /// The best head of a relation in a direction.
    struct SyntaxRow in "syntax.csv" {
        /// Of the treebank.
        relation: String,
        /// `dep->head` or `head<-dep`.
        direction: String,
        /// Whether this direction is the better one.
        best: Option<bool>,
        /// Layer.
        layer: usize,
        /// Head of the layer.
        head: usize,
        /// Words whose strongest attention goes where the relation does.
        correct: u64,
        /// Words of the relation.
        total: u64,
        /// Their share.
        accuracy: Option<f64>,
        /// Lower end of the 95 % interval (Wilson).
        low: Option<f64>,
        /// Its upper end.
        high: Option<f64>,
        /// Words whose partner the head can see.
        reachable: Option<u64>,
        /// Share of them that are right.
        reachable_accuracy: Option<f64>,
        /// Words from the dependent to the head: the best fixed guess.
        baseline_offset: Option<i64>,
        /// Words that the guess finds.
        baseline_correct: Option<u64>,
        /// Their share.
        baseline_accuracy: Option<f64>,
        /// Whether the head can see where the guess points.
        baseline_in_reach: Option<bool>,
        /// Words right where the head was chosen.
        chosen_by_correct: Option<u64>,
        /// Words of the relation there.
        chosen_by_total: Option<u64>,
    }

    /// How often a head finds an antecedent.
    struct CorefRow in "coref.csv" {
        /// Among which words the strongest attention is looked for.
        candidates: String,
        /// Layer.
        layer: usize,
        /// Head of the layer.
        head: usize,
        /// Of mention.
        category: String,
        /// Mentions whose antecedent is found.
        correct: u64,
        /// Mentions that have one.
        total: u64,
        /// Share.
        accuracy: Option<f64>,
        /// Lower end of the 95 % interval (Wilson).
        low: Option<f64>,
        /// Its upper end.
        high: Option<f64>,
        /// Mentions without a candidate that gets attention; over all categories.
        abstained: Option<u64>,
    }

    /// How often a rule finds an antecedent.
    struct CorefBaselineRow in "coref_baselines.csv" {
        /// The rule.
        baseline: String,
        /// Of mention.
        category: String,
        /// Mentions whose antecedent is found.
        correct: u64,
        /// Mentions that have one.
        total: u64,
        /// Share.
        accuracy: Option<f64>,
        /// Lower end of the 95 % interval (Wilson).
        low: Option<f64>,
        /// Its upper end.
        high: Option<f64>,
    }

    /// A probe or a baseline with its score on dev.
    struct ProbeRow in "probes.csv" {
        /// Its name.
        probe: String,
        /// Numbers that are learnt; a baseline has none.
        parameters: usize,
        /// Words whose head is found, punctuation left out.
        correct: u64,
        /// Words, punctuation left out.
        total: u64,
        /// Unlabelled attachment score.
        uas: Option<f64>,
        /// Lower end of the 95 % interval (Wilson).
        low: Option<f64>,
        /// Its upper end.
        high: Option<f64>,
        /// The same with punctuation.
        correct_with_punct: u64,
        /// Words with punctuation.
        total_with_punct: u64,
        /// Unlabelled attachment score with punctuation.
        uas_with_punct: Option<f64>,
    }
}

of_head!(
    ImportanceRow,
    AblationRow,
    PatternRow,
    BehaviourRow,
    GradientRow,
    SyntaxRow,
    CorefRow
);

/// The columns of [`GradientRow::times_attention`].
pub const TIMES_ATTENTION: [&str; 4] = [
    "times_attention_mean",
    "times_attention_mean_standard_error",
    "times_attention_row_sum",
    "times_attention_row_sum_standard_error",
];
