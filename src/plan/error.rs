//! Errors of planning.

use crate::{tokenizer, variables};

/// The reason why no plan could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The variables do not form the model.
    #[error(transparent)]
    Model(#[from] variables::Error),
    /// The vocabulary does not fit the model.
    #[error(transparent)]
    Tokenizer(#[from] tokenizer::Error),
}
