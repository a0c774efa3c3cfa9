//! Exit codes: which there are, and which error gets which.

use std::io::{self, ErrorKind};

use electra_convert::model::LoadError;
use electra_convert::{Error, checkpoint, convert, electra, probe, tokenizer, verify};

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
        "verification failed: nothing was published, or DIR is no complete export",
    ),
];

/// An error in what was typed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// True when there is no file at a path.
fn is_wrong_path(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory
    )
}

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
            Error::Convert(error) => Self::of_convert(error),
            Error::Verify(error) => Self::of_verify(error),
            Error::Rejected { .. } => Self::Verification,
            _ => Self::Failure,
        }
    }

    fn of_verify(error: &verify::Error) -> Self {
        use verify::Error;
        match error {
            Error::Original(error) => Self::of_convert(error),
            Error::Load(error) => Self::of_load(error),
            Error::Probe(error) => Self::of_probe(error),
            Error::Incomplete { .. } => Self::Verification,
            Error::NoFolder { .. } | Error::Golden { .. } => Self::Usage,
            Error::Reference { source, .. } if is_wrong_path(source) => Self::Usage,
            _ => Self::Failure,
        }
    }

    /// A folder that cannot even be read as a model is not a right one.
    fn of_load(error: &LoadError) -> Self {
        match error {
            LoadError::Io { .. } => Self::Failure,
            _ => Self::Verification,
        }
    }

    fn of_probe(error: &probe::Error) -> Self {
        use probe::Error;
        match error {
            Error::Load(error) => Self::of_load(error),
            Error::Unfit { .. } | Error::Tokenizer { .. } => Self::Verification,
            Error::Candle(_) | Error::Interrupted => Self::Failure,
            // The folder is right, and not one for this question.
            _ => Self::Usage,
        }
    }

    fn of_convert(error: &convert::Error) -> Self {
        use convert::Error;
        match error {
            Error::Checkpoint(error) | Error::Electra(electra::Error::Graph(error)) => {
                Self::of_checkpoint(error)
            }
            Error::Tokenizer(error) => Self::of_tokenizer(error),
            Error::Electra(_) | Error::Overflow { .. } => Self::Model,
            Error::Exists { .. }
            | Error::FolderInTheWay { .. }
            | Error::NotAFolder { .. }
            | Error::Leftover { .. }
            | Error::Foreign { .. }
            | Error::BesideCheckpoint { .. } => Self::Usage,
            _ => Self::Failure,
        }
    }

    fn of_tokenizer(error: &tokenizer::Error) -> Self {
        match error {
            tokenizer::Error::Io { .. } => Self::Failure,
            tokenizer::Error::Needed { .. } => Self::Usage,
            _ => Self::Model,
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
