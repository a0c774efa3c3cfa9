//! SavedModels: directories with a graph, `saved_model.pb`, and its variables, a TensorBundle.
//!
//! | path | leads to |
//! |---|---|
//! | `DIR`, which holds `saved_model.pb` | this SavedModel |
//! | `DIR/saved_model.pb`, `DIR/variables`, `DIR/variables/variables.index`, `DIR/assets/vocab.txt` | the SavedModel around the file |
//! | a directory of versions, `saved_model/` with `1/` and `2/` | its only SavedModel |
//! | the directory that `save_pretrained` wrote, with `saved_model/1/` | the same |
//!
//! The variables are a checkpoint on their own. With a graph beside them, they are always read as a
//! SavedModel: the graph is evidence that must not be passed over.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::finder::Finder;
use super::location::{Files, Location};
use super::prefix::{INDEX, Prefix, SAVED_MODEL_GRAPH as GRAPH};
use crate::error::Error;
use crate::file_kind::FileKind;
use crate::storage::regular::Kind;

/// The file with the graph as text.
const TEXT_GRAPH: &str = "saved_model.pbtxt";
/// The directory of the variables, and the base name of their files.
const VARIABLES: &str = "variables";
/// The directories in a SavedModel.
const DIRECTORIES: [&str; 3] = [VARIABLES, "assets", "assets.extra"];
/// The files in a SavedModel, and `saved_model`, the name of the graph without its extension.
const FILES: [&str; 5] = [
    GRAPH,
    TEXT_GRAPH,
    "saved_model",
    "keras_metadata.pb",
    "fingerprint.pb",
];
/// The directory in which `save_pretrained` of transformers numbers SavedModels.
const VERSIONS: &str = "saved_model";

impl Finder {
    /// Returns the SavedModel in `directory`; `None` if `directory` is not a SavedModel.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a graph in text form, or if the variables are missing.
    pub(super) fn saved_model(&self, directory: &Path) -> Result<Option<Location>, Error> {
        let graph = directory.join(GRAPH);
        match self.kind(&graph)? {
            Some(Kind::File) => {}
            Some(other @ Kind::Other(_)) => {
                let error = other.check().err();
                return error.map_or(Ok(None), |error| Err(Error::reading(&graph, error)));
            }
            Some(Kind::Directory) | None => {
                let text = directory.join(TEXT_GRAPH);
                return match self.kind(&text)? {
                    Some(Kind::File) => Err(unsupported(
                        directory,
                        "a SavedModel with its graph as text, saved_model.pbtxt",
                        "save it again without as_text=True; or copy the files in its variables/ \
                         to another directory, to read them without the graph",
                    )),
                    _ => Ok(None),
                };
            }
        }
        let prefix = Prefix::within(&directory.join(VARIABLES), OsStr::new(VARIABLES));
        if self.kind(&prefix.with(INDEX))?.is_none() {
            return Err(unsupported(
                directory,
                "a SavedModel without variables",
                "its variables/variables.index is missing; copy the whole directory again, or give \
                 the training checkpoint",
            ));
        }
        Ok(Some(self.location(&prefix, Files::SavedModel)))
    }

    /// Returns the SavedModel whose variables have this prefix.
    pub(super) fn saved_model_of(&self, prefix: &Prefix) -> Result<Option<Location>, Error> {
        match directory_of_variables(prefix) {
            Some(directory) => self.saved_model(&directory),
            None => Ok(None),
        }
    }

    /// Returns the SavedModel that a path leads into: to one of its files or directories.
    pub(super) fn saved_model_around(&self, path: &Path) -> Result<Option<Location>, Error> {
        let named = |path: &Path, names: &[&str]| {
            let name = path.file_name();
            name.is_some_and(|name| names.iter().any(|known| name == OsStr::new(known)))
        };
        let around = |path: &Path| match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Some(PathBuf::from(".")),
            parent => parent.map(Path::to_owned),
        };
        let directory = match around(path) {
            Some(parent) if named(&parent, &DIRECTORIES) => around(&parent),
            parent if named(path, &DIRECTORIES) || named(path, &FILES) => parent,
            _ => None,
        };
        match directory {
            Some(directory) => self.saved_model(&directory),
            None => Ok(None),
        }
    }

    /// Returns the versions of a SavedModel in `folder`, or else in its directory `saved_model`.
    pub(super) fn versions_below(&self, folder: &Path) -> Result<Vec<Location>, Error> {
        let found = self.versions(folder)?;
        if !found.is_empty() || folder.file_name() == Some(OsStr::new(VERSIONS)) {
            return Ok(found);
        }
        self.versions(&folder.join(VERSIONS))
    }

    /// Returns the SavedModels in the numbered directories of `folder`, in the order of their numbers.
    fn versions(&self, folder: &Path) -> Result<Vec<Location>, Error> {
        let mut numbered: Vec<(u64, PathBuf)> = Vec::new();
        for name in self.names(folder)?.unwrap_or_default() {
            numbered.extend(number(&name).map(|number| (number, folder.join(name))));
        }
        // An archive lists the files of a directory only.
        if folder.file_name() == Some(OsStr::new(VERSIONS)) {
            for below in self.storage.folders(folder) {
                let name = below.file_name().filter(|_| below.parent() == Some(folder));
                let number = name.and_then(number);
                numbered.extend(number.map(|number| (number, below)));
            }
        }
        numbered.sort();
        numbered.dedup();
        let mut found = Vec::new();
        for (_, directory) in numbered {
            if self.kind(&directory)? == Some(Kind::Directory) {
                found.extend(self.saved_model(&directory)?);
            }
        }
        Ok(found)
    }
}

/// Returns the directory of the SavedModel that may have variables with this prefix.
fn directory_of_variables(prefix: &Prefix) -> Option<PathBuf> {
    if prefix.base() != OsStr::new(VARIABLES) {
        return None;
    }
    let directory = prefix.directory();
    // `.` has no name.
    let named = match directory.file_name() {
        Some(_) => directory.to_owned(),
        None => directory.canonicalize().ok()?,
    };
    if named.file_name() != Some(OsStr::new(VARIABLES)) {
        return None;
    }
    match named.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(PathBuf::from(".")),
        parent => parent.map(Path::to_owned),
    }
}

/// Returns the number that is the name of a version.
fn number(name: &OsStr) -> Option<u64> {
    let name = name.to_str()?;
    let is_number = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| name.parse().ok())?
}

fn unsupported(directory: &Path, what: &str, advice: &str) -> Error {
    Error::Unsupported {
        path: directory.to_owned(),
        kind: FileKind::SavedModel,
        what: what.to_owned(),
        advice: advice.to_owned(),
        checkpoint: None,
    }
}
