//! The kinds of errors.
//!
//! Every error enum of every library crate has a method `kind`, a match over all its variants that stands
//! beside them. What a program does about an error follows from its kind alone: the command takes its exit
//! code from it, a binding its class of exception.

/// Whose fault it was that something could not be done.
///
/// Not `non_exhaustive`: whoever turns kinds into something else decides for every one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// What was asked for, or the data that were given, are wrong. Asking otherwise helps.
    Input,
    /// Files, disk, network, or a model folder that cannot be used. The same request may succeed later or
    /// elsewhere.
    Environment,
    /// A number that is not finite, so that no result can be trusted.
    Numeric,
    /// Whoever looks on asked to stop.
    Interrupted,
    /// A fault of this library.
    Internal,
}
