//! Why there is no plan.

use crate::{tokenizer, variables};

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The variables do not make up the model.
    #[error(transparent)]
    Model(#[from] variables::Error),
    /// The vocabulary does not fit the model.
    #[error(transparent)]
    Tokenizer(#[from] tokenizer::Error),
}
