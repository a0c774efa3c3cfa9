//! Which files of a directory belong to an export, a new one or an earlier one.
//!
//! An export is one model in the output directory itself, or two models in a directory each. All of
//! [`EXPORT_FILES`] in these directories belong to it, even if it does not write each of them: an old
//! tokenizer beside new weights would be loaded with them. So an export replaces all of them, in both
//! layouts, or none.

use std::path::{Path, PathBuf};

use tf_checkpoint::storage::FileId;

use super::files::find;
use crate::export::Error;
#[cfg(feature = "cloud")]
use crate::export::files::CARD_FILE;
use crate::export::files::{EXPORT_FILES, Parts, WEIGHTS_FILE, written_files};
use crate::tokenizer::{TOKENIZER_FILE, VOCAB_FILE};
use crate::variables::Model;

/// Files that no export writes and that transformers 4 and 5 may load from the same directory, each with
/// the reason. Sharded weights are found by their index alone.
const FOREIGN_FILES: [(&str, &str); 9] = [
    (
        "adapter_config.json",
        "the Auto classes load the base model that it names",
    ),
    (
        "generation_config.json",
        "ElectraForCausalLM reads its settings",
    ),
    ("model.safetensors.index.json", SECOND_CHOICE),
    ("pytorch_model.bin", SECOND_CHOICE),
    ("pytorch_model.bin.index.json", SECOND_CHOICE),
    ("tf_model.h5", SECOND_CHOICE),
    ("tf_model.h5.index.json", SECOND_CHOICE),
    ("flax_model.msgpack", FLAX),
    ("flax_model.msgpack.index.json", FLAX),
];
const SECOND_CHOICE: &str = "it is loaded with use_safetensors=False";
const FLAX: &str = "the Flax classes prefer it";

/// Every name that an export or a conflict may have in a directory.
#[cfg(feature = "cloud")]
pub(super) fn known_names() -> impl Iterator<Item = &'static str> {
    let foreign = FOREIGN_FILES.iter().map(|(file, _)| *file);
    EXPORT_FILES.into_iter().chain([CARD_FILE]).chain(foreign)
}

/// The output directory, as far as it decides which files conflict with an export. Paths are relative to it.
pub(super) trait Place {
    /// Returns the path or the URL of a file, for messages.
    fn path(&self, file: &Path) -> PathBuf;

    /// Returns what is at a path, without following links; `None` if there is nothing.
    fn find(&self, file: &Path) -> Result<Option<Entry>, Error>;

    /// Returns true for a directory that may hold an earlier export.
    fn is_folder(&self, folder: &Path) -> Result<bool, Error>;

    /// Returns true if the file or directory is the one at `path`.
    fn is_same(&self, file: &Path, path: &Path) -> bool;
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Directory,
    /// A file, or a link to anything.
    Other,
}

/// An output directory on a disk.
pub(super) struct OnDisk<'a>(pub(super) &'a Path);

impl Place for OnDisk<'_> {
    fn path(&self, file: &Path) -> PathBuf {
        self.0.join(file)
    }

    fn find(&self, file: &Path) -> Result<Option<Entry>, Error> {
        let found = find(&self.0.join(file))?;
        Ok(found.map(|found| {
            if found.is_dir() {
                Entry::Directory
            } else {
                Entry::Other
            }
        }))
    }

    fn is_folder(&self, folder: &Path) -> Result<bool, Error> {
        // The target of a link is outside the output directory.
        Ok(self.find(folder)? == Some(Entry::Directory))
    }

    fn is_same(&self, file: &Path, path: &Path) -> bool {
        let id = |path: &Path| Some(FileId::of(&std::fs::metadata(path).ok()?));
        let own = id(&self.0.join(file));
        own.is_some() && own == id(path)
    }
}

/// The files of an export; all paths are relative to the output directory.
#[derive(Clone, Debug)]
pub(crate) struct ExportFiles {
    /// The directory of each model: the empty path for a single one.
    folders: Vec<PathBuf>,
    /// In the order in which they are published, weights last.
    paths: Vec<PathBuf>,
    inputs: Inputs,
}

/// What a conversion reads. It is not replaced or removed, not even with `--force`, unless an export wrote it.
#[derive(Clone, Debug)]
pub(crate) struct Inputs {
    /// The directories of the checkpoint: its own, those to which its files are linked, that of its archive.
    pub(crate) directories: Vec<PathBuf>,
    /// The vocabulary, and the config.json.
    pub(crate) files: Vec<PathBuf>,
}

/// Files of earlier exports and other programs in the output directory.
#[derive(Debug, Default)]
pub(super) struct ExistingFiles {
    /// Paths of the files to move away, relative to the output directory.
    pub(super) replaced: Vec<PathBuf>,
    /// Warnings about files that stay although transformers may load them.
    pub(super) warnings: Vec<String>,
}

impl ExportFiles {
    /// Lists the files of an export: for each model its directory, relative to the output directory, and its parts.
    pub(crate) fn new(models: impl IntoIterator<Item = (PathBuf, Parts)>, inputs: Inputs) -> Self {
        let mut files = Self {
            folders: Vec::new(),
            paths: Vec::new(),
            inputs,
        };
        for (folder, parts) in models {
            let names = written_files(parts);
            files.paths.extend(names.map(|name| folder.join(name)));
            files.folders.push(folder);
        }
        files
    }

    /// Returns the paths of all files, weights last.
    pub(super) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Returns the directory of each model.
    #[cfg(feature = "cloud")]
    pub(super) fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Finds the files in `place` that this export replaces.
    ///
    /// # Errors
    /// If there is one and `force` is false, or one that must not be replaced.
    pub(super) fn find_existing(
        &self,
        place: &dyn Place,
        force: bool,
    ) -> Result<ExistingFiles, Error> {
        let mut existing = ExistingFiles::default();
        let others = Self::other_folders(&self.folders, place, &mut existing.warnings)?;
        for folder in self.folders.iter().chain(&others) {
            self.check_inputs(folder, place)?;
        }
        for file in &self.paths {
            if is_replaced(place, file, force, |path| Error::Exists { path })? {
                existing.replaced.push(file.clone());
            }
        }
        for folder in self.folders.iter().chain(&others) {
            let files = EXPORT_FILES.iter().map(|file| folder.join(file));
            for file in files.filter(|file| !self.paths.contains(file)) {
                if is_replaced(place, &file, force, |path| Error::Leftover { path })? {
                    existing.replaced.push(file);
                }
            }
        }
        for folder in &self.folders {
            for (file, why) in FOREIGN_FILES {
                let file = folder.join(file);
                if place.find(&file)?.is_none() {
                    continue;
                }
                let path = place.path(&file);
                if !force {
                    return Err(Error::Foreign { path, why });
                }
                let path = path.display();
                existing.warnings.push(format!(
                    "{path} is not part of this export and stays: {why}; remove it if it belongs to \
                     another model"
                ));
            }
        }
        Ok(existing)
    }

    /// Fails if a file in `folder` is an input. An export has weights, and all tokenizer files or none: other files are
    /// not those of an export.
    fn check_inputs(&self, folder: &Path, place: &dyn Place) -> Result<(), Error> {
        let has = |name: &str| Ok::<_, Error>(place.find(&folder.join(name))?.is_some());
        let has_weights = has(WEIGHTS_FILE)?;
        let mut directories = self.inputs.directories.iter();
        let is_checkpoint = directories.any(|directory| place.is_same(folder, directory));
        for name in EXPORT_FILES {
            let is_exported = has_weights && (name != VOCAB_FILE || has(TOKENIZER_FILE)?);
            if is_exported || !has(name)? {
                continue;
            }
            let file = folder.join(name);
            let mut inputs = self.inputs.files.iter();
            let why = if inputs.any(|input| place.is_same(&file, input)) {
                "is read by this conversion"
            } else if is_checkpoint {
                "is beside the checkpoint"
            } else {
                continue;
            };
            let path = place.path(&file);
            return Err(Error::Input { path, why });
        }
        Ok(())
    }

    /// Returns the directories of an earlier export in the other layout: the output directory itself if
    /// this export has two models, the two directories if it has one.
    fn other_folders(
        folders: &[PathBuf],
        place: &dyn Place,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<PathBuf>, Error> {
        let is_single = folders.iter().all(|folder| folder == Path::new(""));
        if !is_single {
            // Without weights there is no earlier export. A single config.json or vocab.txt may belong to
            // anything, such as the checkpoint.
            let is_export = place.find(Path::new(WEIGHTS_FILE))?.is_some();
            return Ok(is_export.then(PathBuf::new).into_iter().collect());
        }
        let mut exports = Vec::new();
        for folder in Model::BOTH.map(|model| PathBuf::from(model.key())) {
            let weights = folder.join(WEIGHTS_FILE);
            if place.is_folder(&folder)? && place.find(&weights)?.is_some() {
                exports.push(folder);
            }
        }
        if let [single] = &exports[..] {
            // `--model both` writes two, so that this one was exported on its own.
            let path = place.path(single);
            warnings.push(format!(
                "{} contains a separate export, which stays",
                path.display()
            ));
            exports.clear();
        }
        Ok(exports)
    }
}

/// True if there is a file and `force` is given; without `force` the file is the error `refused`.
fn is_replaced(
    place: &dyn Place,
    file: &Path,
    force: bool,
    refused: impl FnOnce(PathBuf) -> Error,
) -> Result<bool, Error> {
    let path = || place.path(file);
    match place.find(file)? {
        None => Ok(false),
        Some(Entry::Directory) => Err(Error::DirectoryInTheWay { path: path() }),
        Some(_) if !force => Err(refused(path())),
        Some(_) => Ok(true),
    }
}
