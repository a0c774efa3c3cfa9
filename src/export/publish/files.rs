//! File operations that never replace and never guess: an I/O error is not treated as absence.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use super::Error;

/// The metadata of what is at `path`, links not followed; `None` if there is nothing.
pub(super) fn find(path: &Path) -> Result<Option<Metadata>, Error> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(Error::writing(path)(error)),
    }
}

/// True when an error means that nothing is at a path.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Moves a file to where nothing is.
pub(super) fn move_file(from: &Path, to: &Path) -> Result<(), Error> {
    rename_new(from, to).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists {
            path: to.to_owned(),
        },
        _ => Error::writing(to)(error),
    })
}

/// Renames a file; fails when there is something at `to`.
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let mut path = TempPath::try_from_path(from)?;
    // The file must survive a failure: the caller decides what becomes of it.
    path.disable_cleanup(true);
    path.persist_noclobber(to).map_err(|error| error.error)
}

/// Syncs a directory and those of its sub-directories that the files are in.
pub(super) fn sync_folders<'a>(
    root: &Path,
    files: impl IntoIterator<Item = &'a PathBuf>,
) -> Result<(), Error> {
    let parents = files.into_iter().filter_map(|file| file.parent());
    let mut folders: Vec<PathBuf> = parents.map(|folder| root.join(folder)).collect();
    folders.push(root.to_owned());
    folders.sort();
    // `root` and `root/` are one.
    folders.dedup_by(|a, b| a.components().eq(b.components()));
    folders.iter().try_for_each(|folder| sync(folder))
}

/// Syncs a directory.
pub(super) fn sync(folder: &Path) -> Result<(), Error> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(Error::writing(folder))
}

/// True when there is anything but directories below `folder`.
pub(super) fn has_files(folder: &Path) -> Result<bool, Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::writing(folder)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(Error::writing(folder))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(Error::writing(&path))?;
        if !kind.is_dir() || has_files(&path)? {
            return Ok(true);
        }
    }
    Ok(false)
}
