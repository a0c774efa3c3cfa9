//! Finds the checkpoint for a path that a user gives.
//!
//! A checkpoint is named by a prefix: `model.ckpt-400` stands for `model.ckpt-400.index`, `.meta` and
//! `.data-00000-of-00001`. (In V1 it may be the file itself, or stand for
//! `model.ckpt-400-00000-of-00002`.) Users give the prefix, any of the files, the directory, or the
//! `checkpoint` state file that TensorFlow writes, whose paths are often those of another machine. An
//! HDF5 file is recognised by its content, and in a directory without other checkpoints. A SavedModel is found
//! from any path in it or around it.
//! Nothing is guessed: if several checkpoints qualify, the error lists them; if none does, `missing`
//! reports what is there instead.

mod finder;
mod location;
mod missing;
mod prefix;
mod runs;
mod saved_model;
mod search;
mod state_file;

pub use location::Location;
pub use runs::{Incomplete, Run, runs};

use std::path::Path;
use std::sync::Arc;

use crate::address::Use;
use crate::error::Error;
use crate::foreign::Start;
use crate::formats::Format;
use crate::limits::Limits;
use crate::storage::archive::Archive;
use crate::storage::{self, Storage};
use finder::Finder;

/// Finds the checkpoint at `path`: a prefix, one of its files, a directory, a SavedModel, a zip or tar archive, or any
/// of these in an archive (`archive.zip!/directory/prefix`); with the feature `cloud`, also the URL of any of these.
/// `step` selects one of several.
///
/// In a directory without `step` the state file decides, if there is one. A path in it that leads out of
/// the directory is followed by its base name only.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Ambiguous`], [`Error::Unsupported`], [`Error::Archive`], or
/// [`Error::Io`] if a file cannot be read.
pub fn locate(path: &Path, step: Option<u64>) -> Result<Location, Error> {
    locate_within(path, step, &Limits::default())
}

/// As [`locate()`], with limits for reading an archive and, later, the checkpoint.
///
/// # Errors
/// As [`locate()`].
pub fn locate_within(path: &Path, step: Option<u64>, limits: &Limits) -> Result<Location, Error> {
    let (storage, path) = storage::of(path, Use::Checkpoint)?;
    let path = &path;
    let opened = match Archive::behind(&storage, path, limits) {
        Ok(None) => return Finder::new(storage, limits).locate(path, step),
        Ok(Some((archive, inside))) => Finder::new(Arc::new(archive), limits).locate(&inside, step),
        Err(error) => Err(error),
    };
    // Some formats, such as PyTorch's, are zip archives; Keras' has an HDF5 file in it.
    match &opened {
        Err(Error::NotFound { .. } | Error::Archive { .. } | Error::Unsupported { .. }) => {}
        Ok(location) if location.format() == Format::Hdf5 => {}
        _ => return opened,
    }
    format_of(storage.as_ref(), path).map_or(opened, Err)
}

/// Returns the error for a file of another format, whatever its name, that was read as an archive.
fn format_of(storage: &dyn Storage, path: &Path) -> Option<Error> {
    let start = storage.start(path).ok()?;
    let start = Start {
        bytes: &start,
        path,
        in_archive: false,
    };
    start.not_plain_archive()
}
