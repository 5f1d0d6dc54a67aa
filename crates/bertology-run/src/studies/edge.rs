//! What `bertology edge-probe` writes.

use serde_json::Value;

use crate::registry::{File, Kind, file, rows, states};
use crate::results::{document, results_of};
use crate::table::{Row as _, row};

/// Probabilities of each target at each layer.
pub const PROBABILITIES: &str = "edge_probabilities.npy";
/// Probabilities of every label.
pub const LABEL_PROBABILITIES: &str = "edge_label_probabilities.npy";
/// Right and wrong decisions of each sentence.
pub const DECISIONS: &str = "edge_decisions.npy";

/// Every file.
pub(crate) const FILES: &[File] = &[
    file(
        EdgeLayerRow::FILE,
        rows::<EdgeLayerRow>(""),
        &["edge-probe"],
        "score, gain, mixing weight and controls of every layer, with intervals",
    ),
    file(
        EdgeScoreRow::FILE,
        rows::<EdgeScoreRow>(""),
        &["edge-probe"],
        "every probe that was trained: its counts, scores and how its training ended",
    ),
    file(
        EdgeLabelRow::FILE,
        rows::<EdgeLabelRow>(""),
        &["edge-probe"],
        "counts and scores of every label at every layer, and of groups of them, summed over seeds",
    ),
    file(
        EdgeStratumRow::FILE,
        rows::<EdgeStratumRow>(""),
        &["edge-probe"],
        "counts and scores at every layer of targets by distance and height, summed over seeds",
    ),
    file(
        EdgeWeightRow::FILE,
        rows::<EdgeWeightRow>(""),
        &["edge-probe"],
        "mixing weights of every probe and seed",
    ),
    file(
        EdgeExampleRow::FILE,
        rows::<EdgeExampleRow>(""),
        &["edge-probe"],
        "every target that was scored, and the layer at which it is decided",
    ),
    file(
        PROBABILITIES,
        Kind::Array {
            axes: &["target", "layer", "right or strongest wrong label"],
            dtype: "<f4",
        },
        &["edge-probe"],
        "probability of the label and of its strongest rival, means of seeds, in the order of `edge_examples.csv`",
    ),
    file(
        LABEL_PROBABILITIES,
        Kind::Array {
            axes: &["target", "layer", "label"],
            dtype: "<f2",
        },
        &["edge-probe"],
        "where they are asked for, of every label of every target; one task behind another, NaN beyond a task's labels",
    ),
    file(
        DECISIONS,
        Kind::Array {
            axes: &["seed", "layer", "sentence", "true positives, false positives, false negatives"],
            dtype: "<f4",
        },
        &["edge-probe"],
        "decisions of every sentence, those of one task behind those of another: what `compare` draws again",
    ),
    states(
        &["edge-probe"],
        "hidden states and trainings of a run that is not finished",
    ),
];

row! {
    /// A layer of a task.
    struct EdgeLayerRow in "edge_layers.csv" {
        /// Name of the task.
        task: String,
        /// 0 is what goes into the first block.
        layer: usize,
        /// Mean over seeds of the reported F1 of the probe that reads the layers up to this one.
        score: Option<f64>,
        /// 95 % over seeds.
        score_low: Option<f64>,
        /// 95 % over seeds.
        score_high: Option<f64>,
        /// Score minus that of the layer below.
        gain: Option<f64>,
        /// 95 % over seeds.
        gain_low: Option<f64>,
        /// 95 % over seeds.
        gain_high: Option<f64>,
        /// Mixing weight of the probe that reads all layers, mean over seeds.
        weight: Option<f64>,
        /// 95 % over seeds.
        weight_low: Option<f64>,
        /// 95 % over seeds.
        weight_high: Option<f64>,
        /// The weight times the mean norm of the layer, normalised.
        weight_by_norm: Option<f64>,
        /// Mean norm of the layer's states at the pieces of spans.
        norm: Option<f64>,
        /// Score on a randomly initialised encoder, mean over seeds and encoders.
        random_encoder: Option<f64>,
        /// Score with shuffled labels.
        shuffled: Option<f64>,
        /// Score on the control task.
        control: Option<f64>,
        /// Score on the control task, of targets whose texts the training data have.
        control_seen: Option<f64>,
        /// Score on the control task whose labels follow the first span alone, where there are two.
        control_first: Option<f64>,
        /// The same, of targets whose first text the training data have.
        control_first_seen: Option<f64>,
        /// Score minus that on the control task.
        selectivity: Option<f64>,
        /// Online code of the training labels, bits.
        code_bits: Option<f64>,
        /// Bits of the uniform code over those of the online code.
        compression: Option<f64>,
    }

    /// A probe.
    struct EdgeScoreRow in "edge_scores.csv" {
        /// Name of the task.
        task: String,
        /// `trained`, `words alone`, `words alone, means` (a span is the mean of its words), or `untrained N`.
        encoder: String,
        /// `given`, `shuffled`, `control` or `control of the first span`.
        labels: String,
        /// `mix` reads the layers up to this one, `single` this one.
        reads: String,
        /// 0 is what goes into the first block.
        layer: usize,
        /// Of the probe.
        seed: u64,
        /// `dev` or `test`.
        split: String,
        /// Reported F1: that of the labels that the task is judged by.
        f1: Option<f64>,
        /// Of the same labels.
        precision: Option<f64>,
        /// Of the same labels.
        recall: Option<f64>,
        /// Of the same labels.
        true_positives: u64,
        /// Of the same labels.
        false_positives: u64,
        /// Of the same labels.
        false_negatives: u64,
        /// Targets whose set of labels is right.
        exact_match: Option<f64>,
        /// Pairs of a target and a label that are right.
        cell_accuracy: Option<f64>,
        /// Targets of one label whose strongest label is right.
        argmax_accuracy: Option<f64>,
        /// Matthews' correlation over all pairs of a target and a label.
        mcc: Option<f64>,
        /// Factor of the mixed states.
        gamma: Option<f64>,
        /// Steps of the optimiser.
        steps: u64,
        /// The validation that was best, from 1.
        best_validation: u64,
        /// Why training ended.
        stopped: String,
        /// Whether it ended because nothing was to be gained.
        converged: bool,
    }

    /// A label at a layer.
    struct EdgeLabelRow in "edge_labels.csv" {
        /// Name of the task.
        task: String,
        /// 0 is what goes into the first block.
        layer: usize,
        /// `label`, or `group` of labels.
        kind: String,
        /// As the data name it; of a group what it is of.
        label: String,
        /// Targets that have it, times seeds.
        support: u64,
        /// Summed over seeds.
        true_positives: u64,
        /// Summed over seeds.
        false_positives: u64,
        /// Summed over seeds.
        false_negatives: u64,
        /// Of the sums.
        precision: Option<f64>,
        /// Of the sums.
        recall: Option<f64>,
        /// Of the sums.
        f1: Option<f64>,
    }

    /// Targets of one kind at a layer.
    struct EdgeStratumRow in "edge_strata.csv" {
        /// Name of the task.
        task: String,
        /// What targets are divided by: `distance`, words strictly between both spans, or `height`, `info.height` of the
        /// target.
        by: String,
        /// One number or several, such as `3-5`.
        stratum: String,
        /// Targets of it.
        targets: u64,
        /// 0 is what goes into the first block.
        layer: usize,
        /// Of the labels that the task is judged by, summed over seeds.
        true_positives: u64,
        /// Of the same labels.
        false_positives: u64,
        /// Of the same labels.
        false_negatives: u64,
        /// Of the sums.
        precision: Option<f64>,
        /// Of the sums.
        recall: Option<f64>,
        /// Of the sums.
        f1: Option<f64>,
    }

    /// A layer in the mix of a probe.
    struct EdgeWeightRow in "edge_weights.csv" {
        /// Name of the task.
        task: String,
        /// Of the probe.
        seed: u64,
        /// The probe reads the layers up to this one.
        probe: usize,
        /// 0 is what goes into the first block.
        layer: usize,
        /// Its share.
        weight: f64,
        /// The share times the mean norm of the layer, normalised.
        weight_by_norm: f64,
    }

    /// A target, and what the layers say of it.
    struct EdgeExampleRow in "edge_examples.csv" {
        /// Name of the task.
        task: String,
        /// Line of the file of records.
        line: u64,
        /// Words of the first span, half-open.
        span1_start: usize,
        /// Words of the first span, half-open.
        span1_end: usize,
        /// Words of the second span.
        span2_start: Option<usize>,
        /// Words of the second span.
        span2_end: Option<usize>,
        /// Words of the first span.
        text1: String,
        /// Words of the second span.
        text2: String,
        /// Its labels, with spaces between.
        label: String,
        /// The wrong label that is strongest over all layers.
        rival: String,
        /// First layer at which it is right.
        first_right: Option<usize>,
        /// Layer from which on it is right.
        stable_from: Option<usize>,
        /// How often right and wrong change from layer to layer.
        flips: usize,
        /// Mean layer of the gains in the probability of its label, where they come to 0.1 or more.
        expected_layer: Option<f64>,
        /// No label has a mean probability over 0.7.
        ambiguous: bool,
    }
}

results_of! {
    EdgeResults: "edge-probe"
}

document! {
    /// Of `bertology edge-probe`.
    struct EdgeResults {
        /// What the probes are and how they were trained.
        probe: Value,
        /// In the order in which they were given.
        tasks: Vec<EdgeTask>,
        /// Pairs of tasks.
        order: Vec<EdgeOrder>,
        /// The cache of states.
        cache: Value,
    }

    /// A number with its interval over seeds.
    struct EdgeQuantity {
        /// Mean over seeds.
        value: Option<f64>,
        /// 95 % over seeds.
        low: Option<f64>,
        /// 95 % over seeds.
        high: Option<f64>,
        /// 95 % over sentences, drawn again.
        bootstrap_low: Option<f64>,
        /// 95 % over sentences, drawn again.
        bootstrap_high: Option<f64>,
    }

    /// A task.
    struct EdgeTask {
        /// Its name.
        name: String,
        /// The labels that the score is of.
        judged_by: String,
        /// How many labels there are.
        labels: u64,
        /// Spans of a target.
        spans: u64,
        /// What became of the records of each split.
        splits: Value,
        /// The split that the scores are of.
        scored_on: String,
        /// Labels of its targets that no probe can give; they count as missed.
        unseen_labels: u64,
        /// Sentences of that split.
        sentences: u64,
        /// Targets of that split.
        targets: u64,
        /// SHA-256 of their texts and spans: runs that have it in common are scored on the same targets.
        targets_sha256: String,
        /// Score of the commonest label.
        majority: Option<f64>,
        /// Score of the commonest label of the words.
        type_majority: Option<f64>,
        /// Score of embeddings without positions.
        word_only: Option<EdgeQuantity>,
        /// Score of a bag of words: embeddings without positions, a span being their mean.
        word_bag: Option<EdgeQuantity>,
        /// Groups of labels that are scored besides.
        groups: Vec<EdgeGroup>,
        /// Score of layer 0.
        bottom: EdgeQuantity,
        /// Score of the probe that reads all layers.
        top: EdgeQuantity,
        /// Mean layer by mixing weight.
        centre_of_gravity: EdgeQuantity,
        /// The same with weights corrected for norms.
        centre_of_gravity_by_norm: EdgeQuantity,
        /// Mean layer by gain.
        expected_layer: EdgeQuantity,
        /// Mean layer by gain, losses left out.
        expected_layer_clipped: EdgeQuantity,
        /// Mean layer by gain of the best score so far.
        expected_layer_running: EdgeQuantity,
        /// Divergence of the mixing weights from uniform ones, bits.
        weight_divergence: EdgeQuantity,
        /// Divergence of the gains from uniform ones, bits.
        gain_divergence: EdgeQuantity,
        /// Why there is no mean layer by gain.
        guard: Option<String>,
        /// Whether all probes of given labels are trained to their end.
        converged: bool,
        /// Targets by the layer from which on they are right; the last number is of those that never are.
        stable_from: Vec<u64>,
        /// Score of the top with a randomly initialised encoder.
        random_encoder: Option<EdgeQuantity>,
        /// Keys of the control task that the training data hold.
        control: Value,
    }

    /// Some labels of a task together.
    struct EdgeGroup {
        /// The labels that it is of.
        name: String,
        /// How many of the task's labels it holds.
        labels: u64,
        /// Scored targets' labels that are among them.
        support: u64,
        /// Score of layer 0.
        bottom: EdgeQuantity,
        /// Score of the probe that reads all layers.
        top: EdgeQuantity,
    }

    /// Which of two tasks comes first.
    struct EdgeOrder {
        /// A task.
        first: String,
        /// Another.
        second: String,
        /// Its mean layer by gain minus that of the first.
        difference: EdgeQuantity,
        /// Whether the interval leaves 0 out.
        ordered: bool,
        /// Pairs of targets in one sentence of which that of the first task is decided at a lower layer.
        first_earlier: Option<u64>,
        /// Of which that of the second is.
        second_earlier: Option<u64>,
        /// Which are decided at the same layer.
        at_once: Option<u64>,
    }
}
