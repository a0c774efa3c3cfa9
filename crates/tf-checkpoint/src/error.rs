//! What can be wrong with a checkpoint.

use std::io;
use std::path::{Path, PathBuf};

use crate::limits::TooDense;
use crate::protobuf::message::Malformed;
use crate::sstable;

/// What is wrong with the entry of a variable, before it is known which variable of which file it is.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Completes the sentence "the entry of variable … ".
    Entry(String),
    /// The file would take too much memory.
    TooDense(TooDense),
}

impl Fault {
    /// The error about a variable of a file.
    pub(crate) fn at(self, path: &Path, variable: &str) -> Error {
        match self {
            Self::Entry(what) => Error::Entry {
                path: path.to_owned(),
                variable: variable.to_owned(),
                what,
            },
            Self::TooDense(error) => Error::too_dense(path, error),
        }
    }
}

impl From<String> for Fault {
    fn from(what: String) -> Self {
        Self::Entry(what)
    }
}

impl From<&str> for Fault {
    fn from(what: &str) -> Self {
        Self::Entry(what.to_owned())
    }
}

impl From<Malformed> for Fault {
    fn from(error: Malformed) -> Self {
        Self::Entry(format!("is malformed: {error}"))
    }
}

impl From<TooDense> for Fault {
    fn from(error: TooDense) -> Self {
        Self::TooDense(error)
    }
}

impl Error {
    /// A file that would take too much memory.
    pub(crate) fn too_dense(path: &Path, source: TooDense) -> Self {
        Self::TooDense {
            path: path.to_owned(),
            source,
        }
    }

    /// Returns the error for a file at `path` that cannot be read.
    pub fn reading(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            // Of members of an archive, and of what is not a regular file.
            io::ErrorKind::InvalidData
            | io::ErrorKind::Unsupported
            | io::ErrorKind::IsADirectory => Self::Archive {
                path,
                what: source.to_string(),
            },
            _ => Self::Io { path, source },
        }
    }

    /// A table that cannot be read: the device failed, or the file is damaged.
    pub(crate) fn table(path: &Path, source: sstable::Error) -> Self {
        match source {
            sstable::Error::Io(source) if source.kind() != io::ErrorKind::UnexpectedEof => {
                Self::reading(path, source)
            }
            sstable::Error::TooDense(source) => Self::too_dense(path, source),
            source => Self::Table {
                path: path.to_owned(),
                source,
            },
        }
    }
}

/// Why a checkpoint cannot be found or read. Every message names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file that is no longer what it was when it was opened.
    #[error(
        "{} has changed while it was read: if training still runs, take a checkpoint that it no longer \
         writes, or a copy",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// No checkpoint at the path.
    #[error("no checkpoint at {}: {found}", path.display())]
    NotFound {
        /// The path as given.
        path: PathBuf,
        /// What is there instead, and what to type.
        found: String,
    },
    /// A folder with several checkpoints and nothing that says which.
    #[error(
        "{} holds several checkpoints ({}): name one of them, or pick one with --step",
        path.display(),
        names.join(", ")
    )]
    Ambiguous {
        /// The folder.
        path: PathBuf,
        /// Names of the checkpoints in it.
        names: Vec<String>,
    },
    /// A file that is not part of a checkpoint, or an address.
    #[error("{} is {kind}: {advice}", path.display())]
    Unsupported {
        /// The file or address.
        path: PathBuf,
        /// What it is.
        kind: String,
        /// What to do.
        advice: String,
    },
    /// A path that is not a regular file, or an archive, or a file in one, that cannot be read.
    #[error("cannot read {}: {what}", path.display())]
    Archive {
        /// The archive, or the path of the file in it.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// An index, or a file of a V1 checkpoint, is not a sound table.
    #[error("{} is damaged: copy it again from where it was trained", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: sstable::Error,
    },
    /// The table is sound, but what it says is not.
    #[error("{}: {what}", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What was found, and what was expected.
        what: String,
    },
    /// A file that describes more than [`Limits`](crate::Limits) allow for its length.
    #[error(
        "{} is damaged or was made to exhaust memory: copy it again from where it was trained",
        path.display()
    )]
    TooDense {
        /// The file.
        path: PathBuf,
        /// What was allowed.
        source: TooDense,
    },
    /// A variable that is not one of this checkpoint's.
    #[error("{} has no variable {variable} with this description", path.display())]
    Foreign {
        /// The prefix of the checkpoint.
        path: PathBuf,
        /// Name of the variable.
        variable: String,
    },
    /// The entry of one variable makes no sense.
    #[error("{}: the entry of variable {variable} {what}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// Name of the variable.
        variable: String,
        /// What was found, and what was expected.
        what: String,
    },
    /// One of the tables of a V1 checkpoint is not there.
    #[error(
        "{} is missing: it is one of the {count} files of this checkpoint; put it beside the others",
        path.display()
    )]
    TableMissing {
        /// The table.
        path: PathBuf,
        /// How many there should be.
        count: usize,
    },
    /// A data file that the index needs is not there.
    #[error(
        "{} is missing: it holds variable {variable}; put it beside the .index file",
        path.display()
    )]
    ShardMissing {
        /// The data file.
        path: PathBuf,
        /// Name of a variable in it.
        variable: String,
    },
    /// A data file is too short.
    #[error(
        "{} is cut short: variable {variable} ends at byte {end}, the file at {len}; \
         copy it again from where it was trained",
        path.display()
    )]
    ShardTruncated {
        /// The data file.
        path: PathBuf,
        /// Name of a variable that is cut.
        variable: String,
        /// Where the variable ends, in bytes.
        end: u64,
        /// Length of the file in bytes.
        len: u64,
    },
    /// A variable's bytes are not those that were saved.
    #[error(
        "{} is damaged: the {len} bytes of variable {variable} at {offset} have the CRC-32C \
         {found:#010x}, its index says {expected:#010x}; copy both files again from where they \
         were trained",
        path.display()
    )]
    Checksum {
        /// The data file.
        path: PathBuf,
        /// Name of the variable.
        variable: String,
        /// First byte in the file.
        offset: u64,
        /// Number of bytes.
        len: u64,
        /// CRC-32C that the index holds.
        expected: u32,
        /// CRC-32C of the bytes in the file.
        found: u32,
    },
    /// The official library is not there, or not as it should be.
    #[cfg(feature = "tensorflow")]
    #[error(
        "TensorFlow's library cannot be used: {what}; let TENSORFLOW_DIR name the folder of \
         libtensorflow.so (scripts/libtensorflow.sh installs it), or go without --reader tensorflow"
    )]
    Library {
        /// What the loader said.
        what: String,
    },
    /// The official library does not reach the checkpoint.
    #[cfg(feature = "tensorflow")]
    #[error(
        "TensorFlow's library does not reach {}, which is {why}: go without --reader tensorflow",
        path.display()
    )]
    OutOfReach {
        /// The checkpoint.
        path: PathBuf,
        /// What keeps it out of reach.
        why: &'static str,
    },
    /// The official library cannot read a variable.
    #[cfg(feature = "tensorflow")]
    #[error("TensorFlow cannot read variable {variable} of {}: {what}", path.display())]
    LibraryRead {
        /// What it was given to read.
        path: PathBuf,
        /// Name of the variable.
        variable: String,
        /// What it said.
        what: String,
    },
    /// The `.meta` file is not a training graph.
    #[error(
        "{}: {what}; it is optional: move it away to go without it, and give \
         --num-attention-heads and --hidden-act",
        path.display()
    )]
    MetaGraph {
        /// The `.meta` file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}
