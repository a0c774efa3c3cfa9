//! Reasons why an operation has no value.

/// The reason why an operation has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The operation, or one of its attributes, is not implemented.
    #[error("{0}")]
    Unsupported(String),
    /// Shapes, dtypes or values of the inputs do not fit the operation.
    #[error("{0}")]
    Invalid(String),
    /// A limit on memory or work is exceeded.
    #[error("{what} exceeds the limit: {needed} {unit} needed, {available} available")]
    TooLarge {
        /// The quantity that is limited.
        what: &'static str,
        /// The unit of the two numbers.
        unit: &'static str,
        /// The amount that the operation needs.
        needed: u64,
        /// The amount that is left.
        available: u64,
    },
    /// The caller cancelled the evaluation.
    #[error("cancelled")]
    Cancelled,
}

/// Returns [`Failure::Invalid`] with a message.
pub(crate) fn invalid<T>(message: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Invalid(message.into()))
}

/// Returns [`Failure::Unsupported`] with a message.
pub(crate) fn unsupported<T>(message: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Unsupported(message.into()))
}
