//! Exit codes: which there are, and which error gets which.

use electra_convert::model::LoadError;
use electra_convert::{Error, checkpoint, convert, electra, tokenizer, verify};

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        "verification failed: nothing was published",
    ),
];

/// An error in what was typed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// A folder that did not pass verification; the report says why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failed(pub(crate) String);

impl Exit {
    /// The code for an error, by the first cause that is one of ours.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        error
            .chain()
            .find_map(|cause| {
                let usage = cause.downcast_ref::<Usage>().map(|_| Self::Usage);
                let failed = cause.downcast_ref::<Failed>().map(|_| Self::Verification);
                usage
                    .or(failed)
                    .or_else(|| cause.downcast_ref().map(Self::of_error))
            })
            .unwrap_or(Self::Failure)
    }

    fn of_error(error: &Error) -> Self {
        match error {
            Error::Convert(error) | Error::Verify(verify::Error::Original(error)) => {
                Self::of_convert(error)
            }
            Error::Verify(verify::Error::Load(LoadError::Io { .. })) => Self::Failure,
            Error::Verify(verify::Error::Golden { .. } | verify::Error::Probe(_)) => Self::Usage,
            // A folder that cannot even be read as a model is not a right one.
            Error::Rejected { .. } | Error::Verify(_) => Self::Verification,
            _ => Self::Failure,
        }
    }

    fn of_convert(error: &convert::Error) -> Self {
        use convert::Error;
        match error {
            Error::Checkpoint(error) | Error::Electra(electra::Error::Graph(error)) => {
                Self::of_checkpoint(error)
            }
            Error::Tokenizer(tokenizer::Error::Io { .. }) => Self::Failure,
            Error::Electra(_) | Error::Tokenizer(_) | Error::Overflow { .. } => Self::Model,
            Error::Exists { .. } | Error::FolderInTheWay { .. } | Error::NotAFolder { .. } => {
                Self::Usage
            }
            _ => Self::Failure,
        }
    }

    fn of_checkpoint(error: &checkpoint::Error) -> Self {
        match error {
            checkpoint::Error::Io { .. } => Self::Failure,
            #[cfg(feature = "tensorflow")]
            checkpoint::Error::Library { .. } => Self::Failure,
            #[cfg(feature = "tensorflow")]
            checkpoint::Error::OutOfReach { .. } => Self::Usage,
            _ => Self::Checkpoint,
        }
    }

    /// The table for `--help`.
    pub(crate) fn help() -> String {
        let mut text = String::from("Exit codes:\n");
        for (exit, meaning) in MEANINGS {
            text.push_str(&format!("  {}  {meaning}\n", *exit as u8));
        }
        text
    }
}
