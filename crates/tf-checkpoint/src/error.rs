//! Errors: why a checkpoint cannot be found or read.
//!
//! Every message names the file, states what was found against what was expected, and ends in what to
//! do next. A caller that knows more, such as the name of an option, matches on the variant and adds it.

use std::io;
use std::path::{Path, PathBuf};

use crate::file_kind::FileKind;
use crate::limits::TooDense;
use crate::protobuf::message::Malformed;
use crate::sstable;

/// A fault in the entry of a variable, raised where neither the variable nor the file is known.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The predicate of the sentence "the entry of variable … ".
    Entry(String),
    /// The file exceeds its memory limit.
    TooDense(TooDense),
}

impl Fault {
    /// Returns the error for `variable` of the file at `path`.
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
    /// Returns the error for a file that exceeds its memory limit.
    pub(crate) fn too_dense(path: &Path, source: TooDense) -> Self {
        Self::TooDense {
            path: path.to_owned(),
            source,
        }
    }

    /// Returns the checkpoint that the message recommends to read instead, if it names one.
    pub fn checkpoint(&self) -> Option<&Path> {
        match self {
            Self::NotFound { checkpoint, .. } | Self::Unsupported { checkpoint, .. } => {
                checkpoint.as_deref()
            }
            _ => None,
        }
    }

    /// Returns the error for the file at `path` that cannot be read because of `source`.
    ///
    /// An error about what the file is ([`io::ErrorKind::InvalidData`], `Unsupported`,
    /// `IsADirectory`) becomes [`Error::Archive`], every other one [`Error::Io`].
    pub fn reading(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            // Raised for members of an archive, and for paths that are not regular files.
            io::ErrorKind::InvalidData
            | io::ErrorKind::Unsupported
            | io::ErrorKind::IsADirectory => Self::Archive {
                path,
                what: source.to_string(),
            },
            _ => Self::Io { path, source },
        }
    }

    /// Returns the error for a table that cannot be read: an I/O error, or a damaged file.
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

/// The reason why a checkpoint cannot be found or read. Every message names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reading failed: permission denied, a failing disk, and the like.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A file changed between being opened and being read to its end.
    #[error(
        "{} has changed while it was read: if training is still running, use an earlier checkpoint or a \
         copy",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// There is no checkpoint at the path.
    #[error("no checkpoint at {}: {found}", path.display())]
    #[non_exhaustive]
    NotFound {
        /// The path as given.
        path: PathBuf,
        /// What was found instead, and what to do.
        found: String,
        /// A checkpoint that may have been meant.
        checkpoint: Option<PathBuf>,
    },
    /// A directory holds several checkpoints, and no state file selects one.
    #[error(
        "{} holds several checkpoints ({}): give the path of one of them",
        path.display(),
        names.join(", ")
    )]
    Ambiguous {
        /// The directory.
        path: PathBuf,
        /// Names of the checkpoints in it.
        names: Vec<String>,
    },
    /// The path leads to something else than a checkpoint, or to one of an unsupported version.
    #[error("{} is {what}: {advice}", path.display())]
    #[non_exhaustive]
    Unsupported {
        /// The file, directory or address.
        path: PathBuf,
        /// What it is, for callers that handle some kinds themselves.
        kind: FileKind,
        /// What it is, in words.
        what: String,
        /// What to do.
        advice: String,
        /// The checkpoint to read instead, if there is one.
        checkpoint: Option<PathBuf>,
    },
    /// A path that is not a regular file, or an archive or a member of one that cannot be read.
    #[error("cannot read {}: {what}", path.display())]
    Archive {
        /// The archive, or the path of the member in it.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// The index of a TensorBundle, or a file of a V1 checkpoint, is not a valid table.
    #[error("{} is damaged: copy it again from where it was trained", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: sstable::Error,
    },
    /// The table is valid, but its contents are not those of a checkpoint.
    #[error("{}: {what}", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What was found, and what was expected.
        what: String,
    },
    /// A structure of an HDF5 file is invalid.
    #[error(
        "{} is damaged: its {object} {what}; copy it again from where it was made",
        path.display()
    )]
    Hdf5 {
        /// The file.
        path: PathBuf,
        /// The object, such as `group "electra"`.
        object: String,
        /// What was found, and what was expected.
        what: String,
    },
    /// A variable that an HDF5 file stores twice has different values.
    #[error(
        "{}: variable {variable} is stored at byte {} and at byte {}, with different values; save the \
         model again with the class that wrote it",
        path.display(),
        offsets[0],
        offsets[1]
    )]
    CopiesDiffer {
        /// The file.
        path: PathBuf,
        /// Name of the variable.
        variable: String,
        /// The offsets of the two copies.
        offsets: [u64; 2],
    },
    /// The contents of a file exceed what [`Limits`](crate::Limits) allow for its length.
    #[error(
        "{} is damaged or was made to exhaust memory: copy it again from where it was trained",
        path.display()
    )]
    TooDense {
        /// The file.
        path: PathBuf,
        /// The limit.
        source: TooDense,
    },
    /// A [`Variable`](crate::Variable) of another checkpoint, or one that was modified.
    #[error("{} has no variable {variable} of this dtype, shape and location", path.display())]
    UnknownVariable {
        /// The prefix of the checkpoint.
        path: PathBuf,
        /// Name of the variable.
        variable: String,
    },
    /// The entry of a variable is invalid.
    #[error("{}: the entry of variable {variable} {what}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// Name of the variable.
        variable: String,
        /// What was found, and what was expected.
        what: String,
    },
    /// A table of a V1 checkpoint is missing.
    #[error(
        "{} is missing: it is one of the {count} files of this checkpoint; put it beside the others",
        path.display()
    )]
    TableMissing {
        /// The table.
        path: PathBuf,
        /// The number of tables, by their names.
        count: usize,
    },
    /// A data file that the index refers to is missing.
    #[error(
        "{} is missing: it holds variable {variable}; put it beside the .index file",
        path.display()
    )]
    ShardMissing {
        /// The data file.
        path: PathBuf,
        /// Name of a variable that is stored in it.
        variable: String,
    },
    /// A data file is shorter than its index states.
    #[error(
        "{} is cut short: variable {variable} ends at byte {end}, the file at {len}; \
         copy it again from where it was trained",
        path.display()
    )]
    ShardTruncated {
        /// The data file.
        path: PathBuf,
        /// Name of a variable that lies beyond the end.
        variable: String,
        /// End of the variable, in bytes.
        end: u64,
        /// Length of the file in bytes.
        len: u64,
    },
    /// The checksum of a variable's bytes does not match the one in the index.
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
        /// Offset of the first byte in the file.
        offset: u64,
        /// Number of bytes.
        len: u64,
        /// CRC-32C in the index.
        expected: u32,
        /// CRC-32C of the bytes in the file.
        found: u32,
    },
    /// TensorFlow's library cannot be loaded.
    #[cfg(feature = "tensorflow")]
    #[error(
        "TensorFlow's library cannot be used: {what}; set TENSORFLOW_DIR to the directory of \
         libtensorflow.so"
    )]
    Library {
        /// The error of the loader.
        what: String,
    },
    /// TensorFlow's library has no access to the checkpoint.
    #[cfg(feature = "tensorflow")]
    #[error("TensorFlow's library cannot read {}, which is {why}", path.display())]
    OutOfReach {
        /// The checkpoint.
        path: PathBuf,
        /// The reason.
        why: &'static str,
    },
    /// TensorFlow's library cannot read a variable.
    #[cfg(feature = "tensorflow")]
    #[error("TensorFlow cannot read variable {variable} of {}: {what}", path.display())]
    LibraryRead {
        /// The prefix or file pattern passed to the library.
        path: PathBuf,
        /// Name of the variable.
        variable: String,
        /// The error of the library.
        what: String,
    },
    /// A `.meta` file is not a training graph.
    #[error("{}: {what}; the file is optional: move it away to read the checkpoint without it", path.display())]
    MetaGraph {
        /// The `.meta` file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}
