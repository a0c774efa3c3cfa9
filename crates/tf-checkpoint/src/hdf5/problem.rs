//! Errors of a structure, raised where neither the file nor the object is known.

use std::io;
use std::path::Path;

use crate::error::Error;
use crate::file_kind::FileKind;
use crate::limits::TooDense;

/// What to do about an unsupported part of HDF5: the tool writes the oldest version of the format.
const ADVICE: &str =
    "rewrite it with the HDF5 tools (h5repack -l CONTI -f NONE IN.h5 OUT.h5) and give OUT.h5";

/// What is wrong with an object. The texts are predicates of a sentence about the object.
#[derive(Debug)]
pub(super) enum Problem {
    /// Reading the file failed.
    Io(io::Error),
    /// The object is not valid.
    Damaged(String),
    /// The object uses a part of HDF5 that is not read.
    Unsupported(String),
    /// The file exceeds its memory limit.
    TooDense(TooDense),
}

impl Problem {
    pub(super) fn damaged(what: &str) -> Self {
        Self::Damaged(what.to_owned())
    }

    pub(super) fn unsupported(what: &str) -> Self {
        Self::Unsupported(what.to_owned())
    }

    /// Returns the error for an object of the file at `path`, such as `group "electra"`.
    pub(super) fn at(self, path: &Path, object: &str) -> Error {
        match self {
            Self::Io(source) => Error::reading(path, source),
            Self::Damaged(what) => Error::Hdf5 {
                path: path.to_owned(),
                object: object.to_owned(),
                what,
            },
            Self::Unsupported(what) => Error::Unsupported {
                path: path.to_owned(),
                kind: FileKind::Model,
                what: format!("an HDF5 file that is not read, because its {object} {what}"),
                advice: ADVICE.to_owned(),
                checkpoint: None,
            },
            Self::TooDense(source) => Error::too_dense(path, source),
        }
    }
}

impl From<TooDense> for Problem {
    fn from(error: TooDense) -> Self {
        Self::TooDense(error)
    }
}
