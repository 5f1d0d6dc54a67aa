//! What can be wrong with scoring.

use bertology_error::Kind;

/// A fault while scoring predictions.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// There is nothing to take a maximum of.
    #[error("an example has no logits; the model needs a classification head")]
    NoLogits,
    /// A logit or a predicted value is NaN.
    #[error(
        "output {index} of the model is NaN for this example; check the weights and their precision"
    )]
    NotANumber {
        /// Index of the output.
        index: usize,
    },
    /// A class was given to a regression metric or a number to a classification metric.
    #[error("the metrics {} need a {expected}, but the {what} is a {found}", keys.join(", "))]
    Kind {
        /// The metrics being computed.
        keys: &'static [&'static str],
        /// `prediction` or `label`.
        what: &'static str,
        /// `class` or `number`.
        expected: &'static str,
        /// `class` or `number`.
        found: &'static str,
    },
    /// A class id is not below the number of classes.
    #[error("the {what} is class {class}, but there are only {num_classes} classes (0 to {})", num_classes.saturating_sub(1))]
    ClassOutOfRange {
        /// `prediction`, `label` or `positive class`.
        what: &'static str,
        /// The class id.
        class: usize,
        /// How many classes there are.
        num_classes: usize,
    },
    /// The number of classes does not suit the metrics.
    #[error("{} classes cannot be scored with {}: {reason}", num_classes, keys.join(", "))]
    NumClasses {
        /// The metrics asked for.
        keys: &'static [&'static str],
        /// How many classes there are.
        num_classes: usize,
        /// What is wrong with that.
        reason: &'static str,
    },
    /// Two states of different kinds cannot be merged.
    #[error("cannot merge scores of different kinds: {} over {} classes with {} over {} classes", left.0.join(", "), left.1, right.0.join(", "), right.1)]
    Merge {
        /// Metrics and classes of the one.
        left: (&'static [&'static str], usize),
        /// Metrics and classes of the other.
        right: (&'static [&'static str], usize),
    },
    /// The task has no metric of this name.
    #[error("no metric `{name}` here; expected one of {}", available.join(", "))]
    UnknownMetric {
        /// The name as given.
        name: String,
        /// The metrics that there are.
        available: &'static [&'static str],
    },
}

impl MetricError {
    /// Whose fault it was.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotANumber { .. } => Kind::Numeric,
            Self::NoLogits
            | Self::Kind { .. }
            | Self::ClassOutOfRange { .. }
            | Self::NumClasses { .. }
            | Self::Merge { .. }
            | Self::UnknownMetric { .. } => Kind::Input,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prediction_that_is_no_number_is_numeric() {
        assert_eq!(MetricError::NotANumber { index: 0 }.kind(), Kind::Numeric);
        assert_eq!(MetricError::NoLogits.kind(), Kind::Input);
    }
}
