//! The error type of the library.

use std::io;
use std::path::PathBuf;

use crate::progress::Stopped;
use crate::variables::{self, Model};
use crate::{batch, export, plan, probe, tokenizer, verify};

/// The kind of an error, which decides the exit code of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An I/O error, or an internal one.
    Failure,
    /// The request is impossible, or the output exists already.
    Usage,
    /// A checkpoint is missing, corrupt, or of an unsupported kind.
    Checkpoint,
    /// The model cannot be exported from this checkpoint.
    Model,
    /// Verification failed.
    Verification,
    /// [`Progress`](crate::Progress) stopped the work.
    Interrupted,
}

/// An error of the library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint cannot be found or read.
    #[error(transparent)]
    Checkpoint(#[from] tf_checkpoint::Error),
    /// A SavedModel and an HDF5 file in the same directory hold different weights.
    #[error(
        "{} and {} hold different weights: {what}; they are not from the same save, choose one of them",
        saved_model.display(),
        hdf5.display()
    )]
    SavedTwice {
        /// The path that chooses the SavedModel.
        saved_model: PathBuf,
        /// The HDF5 file.
        hdf5: PathBuf,
        /// The first variable that differs.
        what: String,
    },
    /// The variables do not make up the model.
    #[error(transparent)]
    Model(#[from] variables::Error),
    /// The vocabulary does not fit the model, or cannot be read.
    #[error(transparent)]
    Tokenizer(#[from] tokenizer::Error),
    /// The export cannot be written.
    #[error(transparent)]
    Export(export::Error),
    /// Verification could not run.
    #[error(transparent)]
    Verify(#[from] verify::Error),
    /// A conversion of many checkpoints cannot be planned, or one of them cannot be done.
    #[error(transparent)]
    Batch(#[from] batch::Error),
    /// The system allows no more threads.
    #[error("cannot start threads")]
    Threads(#[source] io::Error),
    /// The export was written, failed its verification, and was not published.
    #[error("the {model} was not published, it did not pass verification: {}", report.summary())]
    Rejected {
        /// The model.
        model: Model,
        /// Every check.
        report: Box<verify::Report>,
    },
}

impl Error {
    /// Returns the error of the checkpoint library, if this error is one.
    pub fn checkpoint(&self) -> Option<&tf_checkpoint::Error> {
        match self {
            Self::Checkpoint(error)
            | Self::Model(variables::Error::Graph(error))
            | Self::Export(export::Error::Checkpoint(error))
            | Self::Verify(verify::Error::Checkpoint(export::Error::Checkpoint(error))) => {
                Some(error)
            }
            _ => None,
        }
    }

    /// Returns the kind.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Checkpoint(error) | Self::Model(variables::Error::Graph(error)) => {
                of_checkpoint(error)
            }
            Self::SavedTwice { .. } => ErrorKind::Checkpoint,
            Self::Model(_) => ErrorKind::Model,
            Self::Tokenizer(error) => of_tokenizer(error),
            Self::Export(error) => of_export(error),
            Self::Verify(error) => of_verify(error),
            Self::Batch(error) => of_batch(error),
            Self::Threads(_) => ErrorKind::Failure,
            Self::Rejected { .. } => ErrorKind::Verification,
        }
    }
}

fn of_checkpoint(error: &tf_checkpoint::Error) -> ErrorKind {
    match error {
        tf_checkpoint::Error::Io { .. } => ErrorKind::Failure,
        #[cfg(feature = "tensorflow")]
        tf_checkpoint::Error::Library { .. } => ErrorKind::Failure,
        #[cfg(feature = "tensorflow")]
        tf_checkpoint::Error::OutOfReach { .. } => ErrorKind::Usage,
        _ => ErrorKind::Checkpoint,
    }
}

fn of_tokenizer(error: &tokenizer::Error) -> ErrorKind {
    match error {
        tokenizer::Error::Io { .. } => ErrorKind::Failure,
        tokenizer::Error::Needed { .. } => ErrorKind::Usage,
        _ => ErrorKind::Model,
    }
}

fn of_export(error: &export::Error) -> ErrorKind {
    use export::Error;
    match error {
        Error::Checkpoint(error) => of_checkpoint(error),
        Error::Overflow { .. } => ErrorKind::Model,
        Error::Interrupted => ErrorKind::Interrupted,
        Error::Exists { .. }
        | Error::DirectoryInTheWay { .. }
        | Error::NotADirectory { .. }
        | Error::Leftover { .. }
        | Error::Foreign { .. }
        | Error::Input { .. } => ErrorKind::Usage,
        _ => ErrorKind::Failure,
    }
}

fn of_batch(error: &batch::Error) -> ErrorKind {
    match error {
        batch::Error::NoSpace { .. }
        | batch::Error::Summary { .. }
        | batch::Error::Unwritable { .. } => ErrorKind::Failure,
        batch::Error::ChangedSincePlanning { .. } => ErrorKind::Checkpoint,
        _ => ErrorKind::Usage,
    }
}

fn of_verify(error: &verify::Error) -> ErrorKind {
    use verify::Error;
    match error {
        Error::Checkpoint(error) => of_export(error),
        Error::Load(error) => of_load(error),
        Error::Probe(error) => of_probe(error),
        Error::Incomplete { .. } => ErrorKind::Verification,
        Error::NoDirectory { .. } | Error::Golden { .. } => ErrorKind::Usage,
        Error::Reference { source, .. } if is_wrong_path(source) => ErrorKind::Usage,
        Error::Interrupted => ErrorKind::Interrupted,
        _ => ErrorKind::Failure,
    }
}

/// A directory that cannot be read as a model fails its verification.
fn of_load(error: &export::LoadError) -> ErrorKind {
    match error {
        export::LoadError::Io { .. } => ErrorKind::Failure,
        _ => ErrorKind::Verification,
    }
}

fn of_probe(error: &probe::Error) -> ErrorKind {
    use probe::Error;
    match error {
        Error::Load(error) => of_load(error),
        Error::Unfit { .. } | Error::Tokenizer { .. } => ErrorKind::Verification,
        Error::Candle(_) => ErrorKind::Failure,
        Error::Interrupted => ErrorKind::Interrupted,
        // The model is valid, but not one for this question.
        _ => ErrorKind::Usage,
    }
}

/// True if there is no file at a path.
fn is_wrong_path(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory
    )
}

impl From<export::Error> for Error {
    fn from(error: export::Error) -> Self {
        match error {
            export::Error::Checkpoint(error) => Self::Checkpoint(error),
            error => Self::Export(error),
        }
    }
}

impl From<plan::Error> for Error {
    fn from(error: plan::Error) -> Self {
        match error {
            plan::Error::Model(error) => error.into(),
            plan::Error::Tokenizer(error) => error.into(),
        }
    }
}

impl From<Stopped> for Error {
    fn from(stopped: Stopped) -> Self {
        export::Error::from(stopped).into()
    }
}
