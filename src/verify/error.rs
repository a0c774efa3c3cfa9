//! Errors of verification: reasons why it could not run.

use std::io;
use std::path::PathBuf;

use crate::export::{self, LoadError};
use crate::probe;
use crate::progress::Stopped;

/// The reason why verification could not run. A model that fails a check is not an error but a
/// [`Failure`](super::Failure).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// config.json, model.safetensors or a tokenizer file cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The checkpoint to compare with cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] export::Error),
    /// The path is not a directory.
    #[error("{} {what}: give the directory of an export", path.display())]
    NoDirectory {
        /// The given path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A file that every export has is missing.
    #[error("{}: {what}", path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The file of reference outputs cannot be read.
    #[error("cannot read {}", path.display())]
    Reference {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// [`Progress`](crate::Progress) cancelled the work.
    #[error("interrupted")]
    Interrupted,
    /// The system allows no threads.
    #[error("cannot start threads")]
    Threads(#[source] io::Error),
    /// The reference outputs are invalid, or not of this model.
    #[error("{}: {what}", path.display())]
    Golden {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The text cannot be measured.
    #[error(transparent)]
    Probe(#[from] probe::Error),
    /// A computation failed for a reason other than the model.
    #[error("the forward pass failed")]
    Candle(#[from] candle_core::Error),
}

impl From<Stopped> for Error {
    fn from(Stopped: Stopped) -> Self {
        Self::Interrupted
    }
}
