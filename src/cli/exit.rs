//! Exit codes, and the exit code of each error.

use std::path::PathBuf;

use crate::{Error, ErrorKind};

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    Done = 0,
    Failure = 1,
    Usage = 2,
    Checkpoint = 3,
    Model = 4,
    Verification = 5,
}

const MEANINGS: &[(Exit, &str)] = &[
    (Exit::Done, "done, verified (unless --no-verify)"),
    (Exit::Failure, "I/O or internal error"),
    (Exit::Usage, "wrong usage, or OUT has such files already"),
    (
        Exit::Checkpoint,
        "the checkpoint is missing, corrupt or of an unsupported kind",
    ),
    (
        Exit::Model,
        "this model cannot be exported from it: not in it, incomplete, unknown variables, or \
         sources that contradict each other",
    ),
    (
        Exit::Verification,
        "verification failed: nothing was published, or DIR is no complete export",
    ),
];

/// An error in the arguments.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// A directory that failed its verification; the report lists the failures.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failed(pub(crate) String);

/// A conversion that failed its verification, which a page shows.
#[derive(Debug, thiserror::Error)]
#[error("{error}; {} shows every check", page.display())]
pub(crate) struct Shown {
    /// The failure.
    pub(crate) error: Error,
    /// The page.
    pub(crate) page: PathBuf,
}

/// Some conversions of a batch failed; `exit` is the code of the worst.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Failures {
    pub(crate) exit: Exit,
    pub(crate) what: String,
}

impl Exit {
    /// Returns the code for an error, by the first cause that is an error of this package.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        error
            .chain()
            .find_map(|cause| {
                let usage = cause.downcast_ref::<Usage>().map(|_| Self::Usage);
                let failed = cause.downcast_ref::<Failed>().map(|_| Self::Verification);
                let shown = cause
                    .downcast_ref()
                    .map(|Shown { error, .. }| Self::of_error(error));
                let several = cause.downcast_ref::<Failures>().map(|found| found.exit);
                usage
                    .or(failed)
                    .or(shown)
                    .or(several)
                    .or_else(|| cause.downcast_ref().map(Self::of_error))
            })
            .unwrap_or(Self::Failure)
    }

    /// Returns the code for an error of the library.
    pub(crate) fn of_error(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Usage => Self::Usage,
            ErrorKind::Checkpoint => Self::Checkpoint,
            ErrorKind::Model => Self::Model,
            ErrorKind::Verification => Self::Verification,
            _ => Self::Failure,
        }
    }

    /// Returns the table for `--help`.
    pub(crate) fn help() -> String {
        let mut text = String::from("Exit codes:\n");
        for (exit, meaning) in MEANINGS {
            text.push_str(&format!("  {}  {meaning}\n", *exit as u8));
        }
        text
    }
}
