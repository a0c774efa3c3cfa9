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
use crate::export::files::{EXPORT_FILES, WEIGHTS_FILE, written_files};
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

/// The files of an export; all paths are relative to the output directory.
#[derive(Clone, Debug)]
pub(crate) struct ExportFiles {
    /// The directory of each model: the empty path for a single one.
    folders: Vec<PathBuf>,
    /// In the order in which they are published, weights last.
    paths: Vec<PathBuf>,
    /// The directory of the checkpoint, whose files are never removed.
    checkpoint: PathBuf,
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
    /// Lists the files of an export: for each model its directory, relative to the output directory, and
    /// whether it has a tokenizer. `checkpoint` is the directory of the checkpoint.
    pub(crate) fn new(
        models: impl IntoIterator<Item = (PathBuf, bool)>,
        checkpoint: PathBuf,
    ) -> Self {
        let mut files = Self {
            folders: Vec::new(),
            paths: Vec::new(),
            checkpoint,
        };
        for (folder, has_tokenizer) in models {
            let names = written_files(has_tokenizer);
            files.paths.extend(names.map(|name| folder.join(name)));
            files.folders.push(folder);
        }
        files
    }

    /// Returns the paths of all files, weights last.
    pub(super) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Finds the files in `out` that this export replaces.
    ///
    /// # Errors
    /// If there is one and `force` is false, or one that must not be replaced.
    pub(super) fn find_existing(&self, out: &Path, force: bool) -> Result<ExistingFiles, Error> {
        let mut existing = ExistingFiles::default();
        for file in &self.paths {
            if is_replaced(out.join(file), force, |path| Error::Exists { path })? {
                existing.replaced.push(file.clone());
            }
        }
        let others = self.other_folders(out, &mut existing.warnings)?;
        for folder in self.folders.iter().chain(&others) {
            let files = EXPORT_FILES.iter().map(|file| folder.join(file));
            for file in files.filter(|file| !self.paths.contains(file)) {
                let path = out.join(&file);
                if !is_replaced(path.clone(), force, |path| Error::Leftover { path })? {
                    continue;
                }
                if self.is_beside_checkpoint(&path) {
                    return Err(Error::BesideCheckpoint { path });
                }
                existing.replaced.push(file);
            }
        }
        for folder in &self.folders {
            for (file, why) in FOREIGN_FILES {
                let path = out.join(folder).join(file);
                if find(&path)?.is_none() {
                    continue;
                }
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

    /// Returns the directories of an earlier export in the other layout: the output directory itself if
    /// this export has two models, the two directories if it has one.
    fn other_folders(&self, out: &Path, warnings: &mut Vec<String>) -> Result<Vec<PathBuf>, Error> {
        let is_single = self.folders.iter().all(|folder| folder == Path::new(""));
        if !is_single {
            // Without weights there is no earlier export. A single config.json or vocab.txt may belong to
            // anything, such as the checkpoint.
            let is_export = find(&out.join(WEIGHTS_FILE))?.is_some();
            return Ok(is_export.then(PathBuf::new).into_iter().collect());
        }
        let mut exports = Vec::new();
        for folder in Model::BOTH.map(|model| PathBuf::from(model.key())) {
            // The target of a link is outside the output directory.
            let is_folder = find(&out.join(&folder))?.is_some_and(|found| found.is_dir());
            if is_folder && find(&out.join(&folder).join(WEIGHTS_FILE))?.is_some() {
                exports.push(folder);
            }
        }
        if let [single] = &exports[..] {
            // `--model both` writes two, so that this one was exported on its own.
            let path = out.join(single);
            warnings.push(format!(
                "{} contains a separate export, which stays",
                path.display()
            ));
            exports.clear();
        }
        Ok(exports)
    }

    fn is_beside_checkpoint(&self, path: &Path) -> bool {
        let [Some(folder), Some(checkpoint)] = [path.parent().unwrap_or(path), &self.checkpoint]
            .map(|folder| {
                let metadata = std::fs::metadata(folder).ok()?;
                Some(FileId::of(&metadata))
            })
        else {
            return false;
        };
        folder == checkpoint
    }
}

/// True if there is a file at `path` and `force` is given; without `force` the file is the error `refused`.
fn is_replaced(
    path: PathBuf,
    force: bool,
    refused: impl FnOnce(PathBuf) -> Error,
) -> Result<bool, Error> {
    match find(&path)? {
        None => Ok(false),
        Some(metadata) if metadata.is_dir() => Err(Error::DirectoryInTheWay { path }),
        Some(_) if !force => Err(refused(path)),
        Some(_) => Ok(true),
    }
}
