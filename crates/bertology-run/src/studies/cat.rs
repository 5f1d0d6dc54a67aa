//! What `bertology cat` writes.

use crate::registry::{File, file, per_head, rows};
use crate::results::{Named, document, results_of};
use crate::table::{More, Row as _, of_head, row};

/// Mean score of every head.
pub const SCORES: &str = "cat.npy";
/// Mean correlation of attention and closeness with position held fast, of every head.
pub const PARTIAL: &str = "cat_partial_rho.npy";
/// The function that is shown.
pub const EXAMPLE: &str = "cat_example.json";

/// Every file.
pub(crate) const FILES: &[File] = &[
    file(
        CatLayerRow::FILE,
        rows::<CatLayerRow>(""),
        &["cat"],
        "every measure and control of every layer, with intervals",
    ),
    file(
        CatHeadRow::FILE,
        rows::<CatHeadRow>(""),
        &["cat"],
        "scores of every head, and what chance gives the best of them",
    ),
    file(
        CatKindRow::FILE,
        rows::<CatKindRow>("layer_0,layer_1,…"),
        &["cat"],
        "kinds of leaves, and how often attention from or to them is high in every layer",
    ),
    file(
        CatCurveRow::FILE,
        rows::<CatCurveRow>(""),
        &["cat"],
        "the score of every layer at other quantiles",
    ),
    file(
        CatSnippetRow::FILE,
        rows::<CatSnippetRow>("cat,off_diagonal,…"),
        &["cat"],
        "every measure of every function and layer",
    ),
    file(
        CatLegacyRow::FILE,
        rows::<CatLegacyRow>(""),
        &["cat"],
        "the score of every layer as the paper's released code computes it, if it was asked for",
    ),
    file(
        SCORES,
        per_head("<f8"),
        &["cat"],
        "mean CAT-score; NaN for heads without any",
    ),
    file(
        PARTIAL,
        per_head("<f8"),
        &["cat"],
        "mean rank correlation of attention and closeness with distance in the text held fast",
    ),
    file(
        EXAMPLE,
        crate::registry::Kind::Json,
        &["cat"],
        "attention and distances of the function that is shown",
    ),
];

row! {
    /// A measure of a layer.
    struct CatLayerRow in "cat_layers.csv" {
        /// `model`, or `random N` for the same architecture with first values.
        encoder: String,
        /// Layer, from 0.
        layer: usize,
        /// Name of the measure.
        measure: String,
        /// Functions in which it is defined.
        snippets: u64,
        /// Mean over functions.
        mean: Option<f64>,
        /// Of the mean.
        standard_error: Option<f64>,
        /// Middle 95 % over functions drawn again.
        low: Option<f64>,
        /// Middle 95 % over functions drawn again.
        high: Option<f64>,
        /// The score minus this control, both on the same functions.
        score_less: Option<f64>,
        /// Middle 95 % of `score_less`.
        score_less_low: Option<f64>,
        /// Middle 95 % of `score_less`.
        score_less_high: Option<f64>,
    }

    /// A head.
    struct CatHeadRow in "cat_heads.csv" {
        /// Layer.
        layer: usize,
        /// Head of the layer.
        head: usize,
        /// Mean CAT-score.
        cat: Option<f64>,
        /// Of `cat`, over functions.
        cat_standard_error: Option<f64>,
        /// Mean without the diagonal.
        off_diagonal: Option<f64>,
        /// Mean share of the way from chance to the ceiling.
        adjusted: Option<f64>,
        /// Mean rank correlation of attention and closeness.
        rho: Option<f64>,
        /// The same with distance in the text held fast.
        partial_rho: Option<f64>,
        /// Mean CAT-score with leaves permuted.
        permuted: Option<f64>,
        /// Share of permutations under which the best of all heads is as good.
        p_value: Option<f64>,
    }

    /// A kind of leaf. Shares of high attention in every layer stand behind.
    struct CatKindRow in "cat_kinds.csv" {
        /// The grammar's name.
        kind: String,
        /// Leaves.
        leaves: u64,
        /// Functions with any.
        snippets: u64,
        /// Cells in their rows and columns.
        cells: u64,
        /// By layer: the share of cells with high attention.
        layers: More<Option<f64>>,
    }

    /// A layer's score at a quantile.
    struct CatCurveRow in "cat_curve.csv" {
        /// Layer, from 0.
        layer: usize,
        /// Of attention; distances are below one minus it.
        quantile: f64,
        /// Mean over functions.
        cat: Option<f64>,
    }

    /// A layer's score by the paper's released code.
    struct CatLegacyRow in "cat_legacy.csv" {
        /// Of the functions.
        language: String,
        /// Layer, from 0.
        layer: usize,
        /// Which leaves: `all`, `static` for the code's list of kinds, `top` for the layer's own.
        leaves: String,
        /// Functions with a score.
        functions: u64,
        /// Functions without one.
        skipped: u64,
        /// Mean over functions.
        cat: Option<f64>,
        /// Of the mean.
        standard_error: Option<f64>,
        /// Share of the tokens that were given to a leaf.
        tokens_found: Option<f64>,
        /// Of `top`: the kinds, with a space between them.
        kinds: String,
    }

    /// A function in a layer. Measures stand behind, by name.
    struct CatSnippetRow in "cat_snippets.csv" {
        /// Of the function, from 0.
        index: u64,
        /// Of its file, from 1.
        line: u64,
        /// What it is called.
        name: String,
        /// Its language.
        language: String,
        /// Tokens that the model saw.
        tokens: u64,
        /// Leaves that take part.
        leaves: u64,
        /// Layer, from 0.
        layer: usize,
        /// By [measure](CatLayerRow::measure).
        measures: More<Option<f64>>,
    }
}

of_head!(CatHeadRow);

results_of! {
    CatResults: "cat"
}

document! {
    /// Of `bertology cat`.
    struct CatResults {
        /// What was read.
        counts: CatCounts,
        /// What became of tokens and leaves.
        alignment: CatAlignment,
        /// What stood in the functions' place before the parser: `joined`, `normalised`, `raw` or `tokens`.
        input: String,
        /// `ast`, `chain` or `chain+flow`.
        graph: String,
        /// Names and versions of the grammars.
        grammars: Named<String>,
        /// By layer.
        layers: Vec<CatLayer>,
        /// Kinds of leaves whose score is `frequent`, if any were asked for.
        frequent: Option<Vec<String>>,
        /// Functions on which those kinds were chosen, and which are not scored.
        held_out: Option<u64>,
        /// Encoders with first values beside the model.
        random_encoders: u64,
        /// A downstream score that was given, by name.
        downstream: Named<f64>,
    }

    /// What was read.
    struct CatCounts {
        /// Functions with a score.
        functions: u64,
        /// Their tokens.
        tokens: u64,
        /// Their leaves.
        leaves: u64,
        /// Functions whose end was cut off.
        cut: u64,
        /// Left out: not of their language.
        with_errors: u64,
        /// Left out: too large for their parser, or it gave up.
        not_parsed: u64,
        /// Left out: too few leaves.
        too_few_leaves: u64,
        /// Left out: too many tokens.
        too_long: u64,
        /// Left out: no token.
        empty: u64,
    }

    /// What became of tokens and leaves.
    struct CatAlignment {
        /// Tokens that are not special.
        tokens: u64,
        /// Of these, tokens of no leaf.
        in_no_leaf: u64,
        /// Tokens of several leaves.
        in_several: u64,
        /// Leaves that the model sees.
        leaves: u64,
        /// Leaves with a token that another leaf has, too.
        sharing: u64,
        /// Leaves without any token.
        without_tokens: u64,
        /// Leaves behind the end of what the model reads.
        beyond: u64,
    }

    /// A layer.
    struct CatLayer {
        /// From 0.
        layer: u64,
        /// Mean over functions.
        cat: Option<f64>,
        /// Middle 95 % over functions drawn again.
        cat_low: Option<f64>,
        /// Middle 95 % over functions drawn again.
        cat_high: Option<f64>,
        /// Over all cells of all functions together.
        cat_micro: Option<f64>,
        /// Share of the way from chance to the ceiling, mean of functions.
        adjusted: Option<f64>,
        /// The same of the means.
        adjusted_of_means: Option<f64>,
        /// Whether the score is above every control that knows positions alone.
        attends_to_structure: bool,
        /// Cells within 1e-7 of their threshold.
        threshold_near: u64,
    }
}
