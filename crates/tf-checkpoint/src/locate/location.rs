//! The location of a checkpoint: its storage, its prefix and the names of its files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::prefix::{INDEX, META, Prefix};
use crate::limits::Limits;
use crate::storage::Storage;

/// The format of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// An index and data files, the default since TensorFlow 1.0.
    TensorBundle,
    /// Tables that hold the values, the format before 1.0 and an option since.
    V1,
    /// An HDF5 file of Keras weights, such as `tf_model.h5`.
    Hdf5,
}

impl Format {
    /// Returns the identifier for machines: `tensor_bundle`, `v1` or `hdf5`.
    pub fn key(self) -> &'static str {
        match self {
            Self::TensorBundle => "tensor_bundle",
            Self::V1 => "v1",
            Self::Hdf5 => "hdf5",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::TensorBundle => "TensorBundle",
            Self::V1 => "V1 checkpoint",
            Self::Hdf5 => "HDF5 file of Keras weights",
        })
    }
}

/// The location of a checkpoint: the prefix of its files, in a storage.
#[derive(Clone, Debug)]
pub struct Location {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) prefix: Prefix,
    pub(super) files: Files,
    pub(super) limits: Limits,
}

/// The naming scheme of a checkpoint's files.
#[derive(Clone, Copy, Debug)]
pub(super) enum Files {
    /// `PREFIX.index`, `PREFIX.data-00000-of-00001`
    Bundle,
    /// `PREFIX`
    Table,
    /// `PREFIX-00000-of-00002`, with the number of files.
    Tables(usize),
    /// `PREFIX`, an HDF5 file.
    Hdf5,
}

impl Location {
    /// Returns the path that the files share, such as `runs/model.ckpt-400`; the path of an HDF5 file. It
    /// ends in a separator if the files have no base name (`runs/.index`).
    pub fn prefix(&self) -> &Path {
        self.prefix.path()
    }

    /// Returns the directory of the files.
    pub fn folder(&self) -> &Path {
        self.prefix.directory()
    }

    /// Returns the limits for reading the files.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the storage of the files.
    pub fn storage(&self) -> &dyn Storage {
        self.storage.as_ref()
    }

    /// Returns the format of the files.
    pub fn format(&self) -> Format {
        match self.files {
            Files::Bundle => Format::TensorBundle,
            Files::Table | Files::Tables(_) => Format::V1,
            Files::Hdf5 => Format::Hdf5,
        }
    }

    /// Returns the last component of the prefix, such as `model.ckpt-400`; the name of the directory and a
    /// slash if the files have no base name.
    pub fn name(&self) -> String {
        self.prefix.name()
    }

    /// Returns the training step if the name ends in one: 400 for `model.ckpt-400`.
    pub fn step_in_name(&self) -> Option<u64> {
        self.prefix.step()
    }

    /// Returns true for the files of the prefix: `PREFIX`, `PREFIX.index`, `PREFIX-00000-of-00002`. The
    /// state file and other checkpoints, which training continues to write, are not part.
    pub(crate) fn is_part(&self, path: &Path) -> bool {
        self.prefix.is_of(path)
    }

    /// Returns the path of a TensorBundle's index, `PREFIX.index`.
    pub fn index_path(&self) -> PathBuf {
        self.prefix.with(INDEX)
    }

    /// Returns the path of the training graph, `PREFIX.meta`, which need not exist.
    pub fn meta_path(&self) -> PathBuf {
        self.prefix.with(META)
    }

    /// Returns the path of a file with values: `PREFIX.data-00000-of-00001` of a TensorBundle, a table of a
    /// V1 checkpoint, an HDF5 file. `shard` counts from 0.
    pub fn data_path(&self, shard: usize, shard_count: usize) -> PathBuf {
        let shard = match self.files {
            Files::Bundle => format!(".data-{shard:05}-of-{shard_count:05}"),
            Files::Table | Files::Hdf5 => String::new(),
            Files::Tables(_) => format!("-{shard:05}-of-{shard_count:05}"),
        };
        self.prefix.with(&shard)
    }

    /// Returns the tables of a V1 checkpoint as one file pattern, the form that TensorFlow expects.
    #[cfg(feature = "tensorflow")]
    pub(crate) fn table_pattern(&self) -> PathBuf {
        match self.files {
            Files::Tables(count) => self.prefix.with(&format!("-?????-of-{count:05}")),
            Files::Bundle | Files::Table | Files::Hdf5 => self.prefix().to_owned(),
        }
    }

    /// Returns the number of tables of a V1 checkpoint, by the names of its files.
    pub(crate) fn table_count(&self) -> usize {
        match self.files {
            Files::Tables(count) => count,
            Files::Bundle | Files::Table | Files::Hdf5 => 1,
        }
    }
}
