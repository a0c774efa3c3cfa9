//! Why nothing was exported.

use std::io;
use std::path::{Path, PathBuf};

use crate::progress::Stopped;

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint cannot be found or read.
    #[error(transparent)]
    Checkpoint(#[from] tf_checkpoint::Error),
    /// A value that the target type cannot hold.
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
        /// The type asked for.
        dtype: String,
    },
    /// A file of that name is there already.
    #[error("{} exists already: choose another folder, or replace it with --force", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A folder has the name of a file to be written.
    #[error("{} is a folder, where a file of that name belongs: move it away", path.display())]
    FolderInTheWay {
        /// The folder.
        path: PathBuf,
    },
    /// OUT is no folder.
    #[error("{} is a file: give a folder to write into", path.display())]
    NotAFolder {
        /// The file.
        path: PathBuf,
    },
    /// Another conversion into OUT is running.
    #[error("another conversion is writing into {}: wait for it, or choose another folder", path.display())]
    Busy {
        /// OUT.
        path: PathBuf,
    },
    /// Another conversion into OUT is running or was killed, and there is no lock to tell which.
    #[error(
        "{} exists; cannot tell whether another conversion is running (this file system has no \
         locks): if none is, move the files in its folder `old` back and remove it",
        path.display()
    )]
    Unlocked {
        /// The staging directory in OUT.
        path: PathBuf,
    },
    /// What a killed conversion left cannot be understood, so that nothing was touched.
    #[error(
        "{} {what}: nothing was changed; files of an earlier export may be in its folder `old`, move \
         them back to where they belong, then remove {} and convert again",
        hidden.display(),
        hidden.display()
    )]
    UnknownJournal {
        /// The staging directory in OUT.
        hidden: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// OUT was moved or removed during the conversion.
    #[error(
        "{} is no longer the folder that it was when the conversion began: nothing was published",
        path.display()
    )]
    Replaced {
        /// OUT.
        path: PathBuf,
    },
    /// A file of another export, which this export has no counterpart of.
    #[error(
        "{} exists already and is not part of this export, but would be loaded with it: choose \
         another folder, or remove the files of the other export with --force",
        path.display()
    )]
    Leftover {
        /// The file.
        path: PathBuf,
    },
    /// A file beside the checkpoint that would be removed as part of an earlier export.
    #[error(
        "{} lies beside the checkpoint and would become part of this export, which does not write \
         it: choose another folder",
        path.display()
    )]
    BesideCheckpoint {
        /// The file.
        path: PathBuf,
    },
    /// A file of another kind that transformers may load instead of the export's.
    #[error(
        "{} exists already, and transformers may load it instead of this export ({why}): choose \
         another folder, move it away, or convert with --force, which leaves it",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Who loads it.
        why: &'static str,
    },
    /// The operating system refused to write.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The header breaks a rule of the format.
    #[error("the safetensors header is not valid: {0}")]
    Header(String),
    /// [`Progress`](crate::Progress) stopped the work.
    #[error("interrupted: nothing was written")]
    Interrupted,
    /// Neither the new files nor the old ones could be put in place.
    #[error(
        "cannot put {} back; the files of the earlier export are in {}, the next conversion into this \
         folder moves them back",
        path.display(),
        kept.display()
    )]
    Stranded {
        /// The file that could not be moved back.
        path: PathBuf,
        /// Where the old files are.
        kept: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl From<Stopped> for Error {
    fn from(Stopped: Stopped) -> Self {
        Self::Interrupted
    }
}

impl Error {
    pub(super) fn writing(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Write { path, source }
    }
}
