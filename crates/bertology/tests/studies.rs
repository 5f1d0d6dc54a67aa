//! The studies on small random checkpoints: properties that hold for any model, closed forms, and
//! what transformers computed.

mod studies {
    mod corpus;
    mod fixture;
    mod importance;
    mod inside;
    mod masking;
    mod pruning;
}
