//! The studies on small random checkpoints: properties that hold for any model, closed forms, and
//! what transformers computed.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a test's own helper fails the test"
)]

mod studies {
    mod ablation;
    mod cluster;
    mod compress;
    mod coref;
    mod corpus;
    mod distance;
    mod dynamics;
    mod embedded;
    mod experiments;
    mod extract;
    mod extract_limits;
    #[cfg(feature = "parquet")]
    mod extract_tables;
    mod fixture;
    mod goals;
    #[cfg(feature = "code")]
    mod golden_cat;
    mod golden_treebank;
    mod importance;
    mod inside;
    mod keep_one;
    mod language;
    mod language_inputs;
    #[cfg(feature = "code")]
    mod legacy_cat;
    mod masking;
    mod measures;
    mod paired;
    mod parts;
    mod passes;
    mod pattern_golden;
    mod pattern_gradients;
    mod pattern_runs;
    mod patterns;
    mod places;
    mod predict;
    mod pruning;
    mod relations;
    mod spans;
    mod syntax;
    #[cfg(feature = "gpu")]
    mod tables;
    mod vocabulary;
    mod words;
}
