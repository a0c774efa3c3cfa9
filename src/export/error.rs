//! Errors of writing and of reading an export.

use std::io;
use std::path::{Path, PathBuf};

use crate::progress::Stopped;

/// An error of writing or publishing an export.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint cannot be found or read.
    #[error(transparent)]
    Checkpoint(#[from] tf_checkpoint::Error),
    /// A value that the target type cannot represent.
    #[error(
        "tensor {tensor} does not fit {dtype}: element {index} of variable {variable} is {value:e}; \
         write it with a wider --dtype (bf16, f32)"
    )]
    Overflow {
        /// Name of the tensor.
        tensor: String,
        /// Name of the variable.
        variable: String,
        /// Index of the element in the variable, row-major.
        index: usize,
        /// Its value.
        value: f64,
        /// The target type.
        dtype: String,
    },
    /// A file of the export exists already.
    #[error(
        "{} exists already: choose another directory, or replace it with --force",
        path.display()
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A directory has the name of a file of the export.
    #[error("{} is a directory, and a file of that name is to be written: move it away", path.display())]
    DirectoryInTheWay {
        /// The directory.
        path: PathBuf,
    },
    /// The output directory is not a directory.
    #[error("{} is not a directory: give a directory to write into", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// Another conversion is writing into the output directory.
    #[error(
        "another conversion is writing into {}: wait for it, or choose another directory",
        path.display()
    )]
    Busy {
        /// The output directory.
        path: PathBuf,
    },
    /// There is a staging directory, and the file system has no locks to find out whether a conversion is
    /// using it.
    #[error(
        "{} exists; cannot tell whether another conversion is running (this file system has no \
         locks): if none is, move the files in its directory `old` back and remove it",
        path.display()
    )]
    Unlocked {
        /// The staging directory.
        path: PathBuf,
    },
    /// The staging directory of a killed conversion is damaged or was written by another version. Nothing was
    /// changed.
    #[error(
        "{} {what}: nothing was changed; files of an earlier export may be in its directory `old`: \
         move them back to their places, then remove {} and convert again",
        staging.display(),
        staging.display()
    )]
    UnknownJournal {
        /// The staging directory.
        staging: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The output directory was moved or removed during the conversion.
    #[error(
        "{} was moved, removed or replaced since the conversion began: nothing was published",
        path.display()
    )]
    Replaced {
        /// The output directory.
        path: PathBuf,
    },
    /// A file of an earlier export that this export does not write.
    #[error(
        "{} exists already and is not part of this export, but would be loaded with it: choose \
         another directory, or remove the files of the earlier export with --force",
        path.display()
    )]
    Leftover {
        /// The file.
        path: PathBuf,
    },
    /// A file beside the checkpoint, or one that is read, in the place of a file of the export.
    #[error(
        "{} {why} and would be replaced or removed: choose another directory, or move it away",
        path.display()
    )]
    Input {
        /// The file.
        path: PathBuf,
        /// Why it must stay.
        why: &'static str,
    },
    /// A file that no export writes and that transformers may load instead.
    #[error(
        "{} exists already, and transformers may load it instead of this export ({why}): choose \
         another directory, move it away, or convert with --force, which keeps it",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What loads it.
        why: &'static str,
    },
    /// An I/O error of reading what is in the output directory.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// An I/O error of writing.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// Uploading failed, and so did taking back what was uploaded.
    #[error(
        "{}; what was uploaded could not be taken back: {left}",
        with_cause(failed)
    )]
    Unclean {
        /// What is left in the bucket, with what to do.
        left: String,
        /// Why uploading failed.
        failed: Box<Error>,
    },
    /// The header of the weights breaks a rule of the safetensors format.
    #[error("the safetensors header is not valid: {0}")]
    Header(String),
    /// [`Progress`](crate::Progress) cancelled the work.
    #[error("interrupted: nothing was written")]
    Interrupted,
    /// Publishing failed, and so did the rollback.
    #[error(
        "cannot move {} back; the files of the earlier export are in {}, the next conversion into this \
         directory moves them back",
        path.display(),
        kept.display()
    )]
    Stranded {
        /// The file that could not be moved back.
        path: PathBuf,
        /// The directory of the files of the earlier export.
        kept: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

/// Returns the message of an error of writing with the error of the system.
fn with_cause(error: &Error) -> String {
    match error {
        Error::Read { source, .. } | Error::Write { source, .. } => format!("{error}: {source}"),
        error => error.to_string(),
    }
}

impl From<Stopped> for Error {
    fn from(Stopped: Stopped) -> Self {
        Self::Interrupted
    }
}

impl Error {
    /// Returns a function that adds the path to an I/O error of reading.
    pub(super) fn reading(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Read { path, source }
    }

    /// Returns a function that adds the path to an I/O error of writing.
    pub(super) fn writing(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Write { path, source }
    }
}

/// An error of reading an export.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// An I/O error of reading.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The header, or the length of the file, breaks a rule of the safetensors format.
    #[error("{} is not a valid safetensors file: {what}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// config.json is invalid.
    #[error("{} is not a valid ELECTRA configuration: {what}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl LoadError {
    /// Returns a function that adds the path to an I/O error.
    pub(crate) fn reading(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }
}
