//! Files around a checkpoint that belong to the same model: its vocabulary, its config.json, its params.yaml.
//!
//! Whether a config.json describes the checkpoint depends on what wrote the directory. `save_pretrained` of
//! transformers writes it beside `tf_model.h5` and, if it also writes a SavedModel, beside `saved_model/`.
//! Beside any other TensorFlow checkpoint the origin of a config.json is unknown, and it is not read.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{env, iter};

use tf_checkpoint::{Format, Location};

use crate::config::{ConfigFile, ParamsFile};
use crate::error::Error;
use crate::export::{CONFIG_FILE, MAX_CONFIG_LEN};
use crate::tokenizer::VOCAB_FILE;
use crate::variables;

/// How many directories above the checkpoint may hold its vocabulary.
const VOCABULARY_LEVELS: usize = 2;
/// The configuration that Model Garden's `Trainer` writes in the directory of its checkpoints.
const PARAMS_FILE: &str = "params.yaml";
/// The greatest length of a params.yaml. Those of Model Garden have a few KB.
const MAX_PARAMS_LEN: u64 = 1 << 20;
/// The directory in a SavedModel with the files that its graph needs, such as a vocabulary.
const ASSETS: &str = "assets";
/// The directory in which `save_pretrained` numbers the SavedModels that it writes.
const SAVED_MODELS: &str = "saved_model";

/// Returns the paths where a vocabulary is looked for, in order.
pub(crate) fn vocabulary_places(location: &Location) -> Vec<PathBuf> {
    let beside = location.folder().to_owned();
    let assets = (location.format() == Format::SavedModel).then(|| beside.join(ASSETS));
    let above = directories_above(location).take(VOCABULARY_LEVELS);
    let directories = assets.into_iter().chain([beside]).chain(above);
    directories
        .map(|directory| directory.join(VOCAB_FILE))
        .collect()
}

/// Returns the directories above the checkpoint, the nearest first. Paths below the working directory are
/// relative to it.
fn directories_above(location: &Location) -> impl Iterator<Item = PathBuf> {
    let beside = location.folder();
    let current = env::current_dir().ok();
    let plain = move |path: PathBuf| match &current {
        Some(current) => path
            .strip_prefix(current)
            .map(Path::to_owned)
            .unwrap_or(path),
        None => path,
    };
    let start = if beside.as_os_str().is_empty() {
        Path::new(".")
    } else {
        beside
    };
    let above = |folder: &PathBuf| location.storage().above(folder);
    iter::successors(above(&start.to_owned()), above).map(plain)
}

/// Reads the config.json that `save_pretrained` wrote for the checkpoint; `None` if there is no such file.
pub(crate) fn config(location: &Location) -> Result<Option<ConfigFile>, Error> {
    for directory in pretrained_directories(location) {
        let path = directory.join(CONFIG_FILE);
        let text = location.storage().read_if_there(&path, MAX_CONFIG_LEN);
        let text = text.map_err(|source| tf_checkpoint::Error::reading(&path, source))?;
        let Some(text) = text else {
            continue;
        };
        tf_checkpoint::refuse_stand_in(&path, &text)?;
        let file = ConfigFile::from_json(path.clone(), &text)
            .map_err(|what| variables::Error::ConfigFile { path, what })?;
        return Ok(Some(file));
    }
    Ok(None)
}

/// Reads the params.yaml of the training run: beside the checkpoint, or in the directory above, where the best
/// checkpoint has a directory of its own. `None` if there is no such file.
pub(crate) fn params(location: &Location) -> Result<Option<ParamsFile>, Error> {
    for path in params_places(location) {
        let text = location.storage().read_if_there(&path, MAX_PARAMS_LEN);
        let text = text.map_err(|source| tf_checkpoint::Error::reading(&path, source))?;
        let Some(text) = text else {
            continue;
        };
        tf_checkpoint::refuse_stand_in(&path, &text)?;
        return Ok(Some(ParamsFile::parse(path, &text)?));
    }
    Ok(None)
}

/// Returns the paths where a params.yaml is looked for, in order.
pub(crate) fn params_places(location: &Location) -> impl Iterator<Item = PathBuf> {
    let beside = location.folder().to_owned();
    let directories = iter::once(beside).chain(directories_above(location).take(1));
    directories.map(|directory| directory.join(PARAMS_FILE))
}

/// Returns the directories that `save_pretrained` may have written.
fn pretrained_directories(location: &Location) -> Vec<PathBuf> {
    let own = location.folder().to_owned();
    match location.format() {
        Format::SavedModel if is_version(&own) => {
            let around = directories_above(location).nth(1);
            iter::once(own).chain(around).collect()
        }
        Format::Hdf5 | Format::SavedModel => vec![own],
        _ => Vec::new(),
    }
}

/// Returns true for the directories that `save_pretrained` gives SavedModels: `saved_model/1`.
fn is_version(directory: &Path) -> bool {
    let named = match directory.file_name() {
        Some(_) => Some(directory.to_owned()),
        // `.` has no name.
        None => directory.canonicalize().ok(),
    };
    let above = |path: &Path| match path.parent() {
        // A relative path may be a number alone.
        Some(parent) if parent.as_os_str().is_empty() => Path::new(".").canonicalize().ok(),
        parent => parent.map(Path::to_owned),
    };
    named.is_some_and(|named| {
        let name = named.file_name().unwrap_or_default().as_encoded_bytes();
        let is_number = !name.is_empty() && name.iter().all(u8::is_ascii_digit);
        is_number
            && above(&named)
                .is_some_and(|parent| parent.file_name() == Some(OsStr::new(SAVED_MODELS)))
    })
}
