//! File operations that never replace and never guess: an I/O error is not treated as absence.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use crate::export::Error;
use crate::sys;

/// Returns the metadata of the entry at `path`, without following links; `None` if there is no entry.
pub(super) fn find(path: &Path) -> Result<Option<Metadata>, Error> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(Error::reading(path)(error)),
    }
}

/// True for an error that means that there is no entry at a path.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Moves a file; [`Error::Exists`] if there is an entry at `to`.
pub(super) fn move_file(from: &Path, to: &Path) -> Result<(), Error> {
    rename_new(from, to).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists {
            path: to.to_owned(),
        },
        _ => Error::writing(to)(error),
    })
}

/// Renames a file; `AlreadyExists` if there is an entry at `to`.
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let mut path = TempPath::try_from_path(from)?;
    // On failure the caller decides what to do with the file.
    path.disable_cleanup(true);
    path.persist_noclobber(to).map_err(|error| error.error)
}

/// Syncs `root` and the directories of `files`, which are paths below `root`.
pub(super) fn sync_folders<'a>(
    root: &Path,
    files: impl IntoIterator<Item = &'a PathBuf>,
) -> Result<(), Error> {
    let parents = files.into_iter().filter_map(|file| file.parent());
    let mut folders: Vec<PathBuf> = parents.map(|folder| root.join(folder)).collect();
    folders.push(root.to_owned());
    folders.sort();
    // `root` and `root/` are the same directory.
    folders.dedup_by(|a, b| a.components().eq(b.components()));
    folders.iter().try_for_each(|folder| sync(folder))
}

/// Syncs a directory.
pub(super) fn sync(folder: &Path) -> Result<(), Error> {
    sys::sync_directory(folder).map_err(Error::writing(folder))
}

/// True if there is an entry other than a directory below `folder`.
pub(super) fn has_files(folder: &Path) -> Result<bool, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::reading(folder)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(Error::reading(folder))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(Error::reading(&path))?;
        if !kind.is_dir() || has_files(&path)? {
            return Ok(true);
        }
    }
    Ok(false)
}
