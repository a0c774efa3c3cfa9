//! The location of a checkpoint: its storage, its prefix and the names of its files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::prefix::{INDEX, META, Prefix, SAVED_MODEL_GRAPH};
use crate::address::Use;
use crate::error::Error;
use crate::formats::Format;
use crate::limits::Limits;
use crate::storage::{self, Storage};

/// The location of a checkpoint: the prefix of its files, in a storage.
#[derive(Clone, Debug)]
pub struct Location {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) prefix: Prefix,
    pub(super) files: Files,
    pub(super) limits: Limits,
    /// HDF5 files in the directory from which a SavedModel was found.
    pub(super) passed_over: Vec<PathBuf>,
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
    /// `variables/variables.index` and its data files, beside `saved_model.pb`. The prefix is
    /// `DIRECTORY/variables/variables`.
    SavedModel,
}

impl Location {
    /// Returns the path that the files share, such as `runs/model.ckpt-400`; the path of an HDF5 file, the
    /// directory of a SavedModel. It ends in a separator if the files have no base name (`runs/.index`).
    pub fn prefix(&self) -> &Path {
        match self.files {
            Files::SavedModel => self.folder(),
            _ => self.prefix.path(),
        }
    }

    /// Returns the directory of the files; of a SavedModel, the one that holds `saved_model.pb`.
    pub fn folder(&self) -> &Path {
        let directory = self.prefix.directory();
        match self.files {
            Files::SavedModel => directory.parent().unwrap_or(directory),
            _ => directory,
        }
    }

    /// Returns the HDF5 files in the directory from which a SavedModel was found: `save_pretrained` of
    /// transformers writes the weights to both. Empty if the path led to the SavedModel itself.
    pub fn passed_over(&self) -> &[PathBuf] {
        &self.passed_over
    }

    /// Returns the limits for reading the files.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the storage of the files.
    pub fn storage(&self) -> &dyn Storage {
        self.storage.as_ref()
    }

    /// Returns the same location in a storage of its own, which remembers nothing that was read before. Archives and
    /// web addresses, whose storage cannot be opened again by a path, are shared.
    ///
    /// # Errors
    /// If the client of a store cannot be set up.
    pub fn reopened(&self) -> Result<Self, Error> {
        let mut location = self.clone();
        if self.storage.archive().is_none() && self.storage.lists_directories() {
            location.storage = match self.storage.reopened(self.prefix.path()) {
                Some(storage) => storage?,
                None => storage::of(self.prefix.path(), Use::Checkpoint)?.0,
            };
        }
        Ok(location)
    }

    /// Returns the files whose content stands for that of the whole checkpoint: the index of a TensorBundle, which has
    /// the checksum of every variable; all files of the other formats.
    pub fn identifying_files(&self) -> Vec<PathBuf> {
        match self.files {
            Files::Bundle | Files::SavedModel => vec![self.index_path()],
            Files::Table | Files::Hdf5 => vec![self.data_path(0, 1)],
            Files::Tables(count) => (0..count).map(|at| self.data_path(at, count)).collect(),
        }
    }

    /// Returns the format of the files.
    pub fn format(&self) -> Format {
        match self.files {
            Files::Bundle => Format::TensorBundle,
            Files::Table | Files::Tables(_) => Format::V1,
            Files::Hdf5 => Format::Hdf5,
            Files::SavedModel => Format::SavedModel,
        }
    }

    /// Returns the last component of the prefix, such as `model.ckpt-400`; the name of the directory and a
    /// slash if the files have no base name; `saved_model.pb` for every SavedModel, whose directory has the
    /// number of a version as its name.
    pub fn name(&self) -> String {
        match self.files {
            Files::SavedModel => SAVED_MODEL_GRAPH.to_owned(),
            _ => self.prefix.name(),
        }
    }

    /// Returns the name of the checkpoint among those that are found from `directory`.
    pub(super) fn name_from(&self, directory: &Path) -> String {
        match (self.files, self.folder().strip_prefix(directory)) {
            (Files::SavedModel, Ok(below)) if !below.as_os_str().is_empty() => {
                below.display().to_string()
            }
            (Files::SavedModel, _) => self.folder().display().to_string(),
            _ => self.name(),
        }
    }

    /// Returns the training step if the name ends in one: 400 for `model.ckpt-400`.
    pub fn step_in_name(&self) -> Option<u64> {
        self.prefix.step()
    }

    /// Returns true for the files of the prefix: `PREFIX`, `PREFIX.index`, `PREFIX-00000-of-00002`. The
    /// state file and other checkpoints, which training continues to write, are not part.
    pub(crate) fn is_part(&self, path: &Path) -> bool {
        let is_graph = || matches!(self.files, Files::SavedModel) && path == self.graph_path();
        self.prefix.is_of(path) || is_graph()
    }

    /// Returns the path of a TensorBundle's index, `PREFIX.index`.
    pub fn index_path(&self) -> PathBuf {
        self.prefix.with(INDEX)
    }

    /// Returns the path of the training graph, `PREFIX.meta`, which need not exist, or of the graph of a
    /// SavedModel, `saved_model.pb`.
    pub fn graph_path(&self) -> PathBuf {
        match self.files {
            Files::SavedModel => self.folder().join(SAVED_MODEL_GRAPH),
            _ => self.prefix.with(META),
        }
    }

    /// Returns the path of a file with values: `PREFIX.data-00000-of-00001` of a TensorBundle, a table of a
    /// V1 checkpoint, an HDF5 file. `shard` counts from 0.
    pub fn data_path(&self, shard: usize, shard_count: usize) -> PathBuf {
        let shard = match self.files {
            Files::Bundle | Files::SavedModel => format!(".data-{shard:05}-of-{shard_count:05}"),
            Files::Table | Files::Hdf5 => String::new(),
            Files::Tables(_) => format!("-{shard:05}-of-{shard_count:05}"),
        };
        self.prefix.with(&shard)
    }

    /// Returns the files as TensorFlow expects them: the prefix of a TensorBundle, one file pattern for the
    /// tables of a V1 checkpoint.
    #[cfg(feature = "tensorflow")]
    pub(crate) fn pattern(&self) -> PathBuf {
        match self.files {
            Files::Tables(count) => self.prefix.with(&format!("-?????-of-{count:05}")),
            _ => self.prefix.path().to_owned(),
        }
    }

    /// Returns the number of tables of a V1 checkpoint, by the names of its files.
    pub(crate) fn table_count(&self) -> usize {
        match self.files {
            Files::Tables(count) => count,
            _ => 1,
        }
    }
}
