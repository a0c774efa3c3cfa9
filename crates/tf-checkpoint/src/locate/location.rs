//! Where a checkpoint is: the storage, the prefix, and how its files are named.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::prefix::{INDEX, META, Prefix};
use crate::limits::Limits;
use crate::storage::Storage;

/// The format of a checkpoint's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An index and data files: what TensorFlow writes since 1.0.
    TensorBundle,
    /// Tables that hold the values themselves: what it wrote before, and by request since.
    V1,
}

impl Format {
    /// The name in JSON.
    pub fn key(self) -> &'static str {
        match self {
            Self::TensorBundle => "tensor_bundle",
            Self::V1 => "v1",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::TensorBundle => "TensorBundle",
            Self::V1 => "V1 checkpoint",
        })
    }
}

/// A checkpoint that was found: where it is, and the prefix that its files share.
#[derive(Clone, Debug)]
pub struct Location {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) prefix: Prefix,
    pub(super) files: Files,
    pub(super) limits: Limits,
}

/// How the files behind a prefix are named.
#[derive(Clone, Copy, Debug)]
pub(super) enum Files {
    /// `PREFIX.index`, `PREFIX.data-00000-of-00001`
    Bundle,
    /// `PREFIX`
    Table,
    /// `PREFIX-00000-of-00002`, with the number of them.
    Tables(usize),
}

impl Location {
    /// The path that the files share, such as `runs/model.ckpt-400`. It ends in a slash where the files
    /// have no base name (`runs/.index`).
    pub fn prefix(&self) -> &Path {
        self.prefix.path()
    }

    /// The folder that the files are in.
    pub fn folder(&self) -> &Path {
        self.prefix.directory()
    }

    /// How much memory reading the files may take.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What the files are in.
    pub fn storage(&self) -> &dyn Storage {
        self.storage.as_ref()
    }

    /// The format of the files.
    pub fn format(&self) -> Format {
        match self.files {
            Files::Bundle => Format::TensorBundle,
            Files::Table | Files::Tables(_) => Format::V1,
        }
    }

    /// The last part of the prefix, such as `model.ckpt-400`; the folder's name and a slash where the
    /// files have no base name.
    pub fn name(&self) -> String {
        self.prefix.name()
    }

    /// The training step, where the name ends in one: 400 in `model.ckpt-400`.
    pub fn step_in_name(&self) -> Option<u64> {
        self.prefix.step()
    }

    /// True for the files behind the prefix: `PREFIX`, `PREFIX.index`, `PREFIX-00000-of-00002`. The
    /// state file and other checkpoints, which training goes on writing, are not.
    pub(crate) fn is_part(&self, path: &Path) -> bool {
        self.prefix.is_of(path)
    }

    /// The index of a bundle, `PREFIX.index`.
    pub fn index_path(&self) -> PathBuf {
        self.prefix.with(INDEX)
    }

    /// The training graph, `PREFIX.meta`, which need not exist.
    pub fn meta_path(&self) -> PathBuf {
        self.prefix.with(META)
    }

    /// A file with values: `PREFIX.data-00000-of-00001` of a bundle, a table of a V1 checkpoint.
    pub fn data_path(&self, shard: usize, shard_count: usize) -> PathBuf {
        let shard = match self.files {
            Files::Bundle => format!(".data-{shard:05}-of-{shard_count:05}"),
            Files::Table => String::new(),
            Files::Tables(_) => format!("-{shard:05}-of-{shard_count:05}"),
        };
        self.prefix.with(&shard)
    }

    /// The tables of a V1 checkpoint as one pattern, as TensorFlow takes them.
    #[cfg(feature = "tensorflow")]
    pub(crate) fn table_pattern(&self) -> PathBuf {
        match self.files {
            Files::Tables(count) => self.prefix.with(&format!("-?????-of-{count:05}")),
            Files::Bundle | Files::Table => self.prefix().to_owned(),
        }
    }

    /// Number of tables of a V1 checkpoint, by the names of its files.
    pub(crate) fn table_count(&self) -> usize {
        match self.files {
            Files::Tables(count) => count,
            Files::Bundle | Files::Table => 1,
        }
    }
}
