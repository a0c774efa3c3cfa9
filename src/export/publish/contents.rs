//! Which files of a directory belong to an export, its own or an earlier one.
//!
//! An export is one model in OUT itself, or two in a directory each. Whatever it writes of
//! [`EXPORT_FILES`], all of them belong to it: a tokenizer that is left over beside new weights would
//! be loaded with them. So an export replaces all of them, in both layouts, or none.

use std::path::{Path, PathBuf};

use super::files::find;
use super::{Error, lock};
use crate::export::files::{CONFIG_FILE, WEIGHTS_FILE};
use crate::tokenizer;
use crate::variables::Model;

/// Every file that an export may have.
const EXPORT_FILES: [&str; 2 + tokenizer::FILES.len()] = {
    let [vocab, tokenizer, tokenizer_config, special_tokens] = tokenizer::FILES;
    [
        CONFIG_FILE,
        vocab,
        tokenizer,
        tokenizer_config,
        special_tokens,
        WEIGHTS_FILE,
    ]
};

/// Files that no export has and that transformers 4 and 5 may load from the same directory, each with
/// who does. Sharded weights are found by their index alone.
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
const SECOND_CHOICE: &str = "it is loaded where use_safetensors is False";
const FLAX: &str = "the Flax classes prefer it";

/// The files of an export, below OUT.
#[derive(Clone, Debug)]
pub(crate) struct Contents {
    /// The directory of each model, below OUT: OUT itself for a single one.
    folders: Vec<PathBuf>,
    /// In the order in which they appear, weights last.
    pub(super) files: Vec<PathBuf>,
    /// The directory of the checkpoint, whose files are never removed.
    checkpoint: PathBuf,
}

/// What is in OUT already.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Files below OUT to move away.
    pub(super) old: Vec<PathBuf>,
    /// What stays there although transformers may load it.
    pub(super) warnings: Vec<String>,
}

impl Contents {
    /// An export of models with their files; `checkpoint` is the directory of the checkpoint.
    pub(crate) fn new(folders: Vec<PathBuf>, files: Vec<PathBuf>, checkpoint: PathBuf) -> Self {
        Self {
            folders,
            files,
            checkpoint,
        }
    }

    /// Finds the files of an earlier export in OUT. Without `force` one that is there is an error.
    pub(super) fn find(&self, out: &Path, force: bool) -> Result<Found, Error> {
        let mut found = Found::default();
        for file in &self.files {
            if is_in_the_way(out.join(file), force, |path| Error::Exists { path })? {
                found.old.push(file.clone());
            }
        }
        let others = self.other_folders(out, &mut found.warnings)?;
        for folder in self.folders.iter().chain(&others) {
            let files = EXPORT_FILES.iter().map(|file| folder.join(file));
            for file in files.filter(|file| !self.files.contains(file)) {
                let path = out.join(&file);
                if !is_in_the_way(path.clone(), force, |path| Error::Leftover { path })? {
                    continue;
                }
                if self.is_beside_checkpoint(&path) {
                    return Err(Error::BesideCheckpoint { path });
                }
                found.old.push(file);
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
                found.warnings.push(format!(
                    "{path} is not part of this export and stays: {why}; remove it if it is of \
                     another model"
                ));
            }
        }
        Ok(found)
    }

    /// Directories of an earlier export in the other layout: OUT itself if this one has two models,
    /// the two directories if it has one.
    fn other_folders(&self, out: &Path, warnings: &mut Vec<String>) -> Result<Vec<PathBuf>, Error> {
        let is_single = self.folders.iter().all(|folder| folder == Path::new(""));
        if !is_single {
            // Without weights there is no earlier export. A config.json or vocab.txt of its own may
            // be of anything, such as the checkpoint.
            let is_export = find(&out.join(WEIGHTS_FILE))?.is_some();
            return Ok(is_export.then(PathBuf::new).into_iter().collect());
        }
        let mut exports = Vec::new();
        for folder in Model::BOTH.map(|model| PathBuf::from(model.key())) {
            // The target of a link is not in OUT.
            let is_folder = find(&out.join(&folder))?.is_some_and(|found| found.is_dir());
            if is_folder && find(&out.join(&folder).join(WEIGHTS_FILE))?.is_some() {
                exports.push(folder);
            }
        }
        if let [single] = &exports[..] {
            // `--model both` writes two. Somebody else has put this one there.
            let path = out.join(single);
            warnings.push(format!(
                "{} holds an export of its own, which stays",
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
                Some(lock::directory(&metadata))
            })
        else {
            return false;
        };
        folder == checkpoint
    }
}

/// True when there is a file at `path`, which is `refused` without `force`.
fn is_in_the_way(
    path: PathBuf,
    force: bool,
    refused: impl FnOnce(PathBuf) -> Error,
) -> Result<bool, Error> {
    match find(&path)? {
        None => Ok(false),
        Some(metadata) if metadata.is_dir() => Err(Error::FolderInTheWay { path }),
        Some(_) if !force => Err(refused(path)),
        Some(_) => Ok(true),
    }
}
