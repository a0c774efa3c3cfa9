//! The staging directory of an export on a disk, from its creation to publication or removal.

use std::path::{Path, PathBuf};
use std::{fs, io};

use tf_checkpoint::storage::FileId;

use super::export_files::{ExportFiles, OnDisk};
use super::files::find;
use super::journal::{self, Journal, NEW, OLD};
use super::lock::{ATTEMPTS, LockedDirectory};
use crate::export::Error;

/// The name of the staging directory.
pub(crate) const STAGING: &str = ".electra-convert";

/// An export that is being written. Dropping it removes the staging directory.
#[derive(Debug)]
pub(crate) struct DiskStage {
    // Dropped in this order: the lock is released last.
    staging: StagingDirectory,
    locked: LockedDirectory,
    out: PathBuf,
    files: ExportFiles,
    force: bool,
}

/// The staging directory, removed on drop unless kept.
#[derive(Debug)]
struct StagingDirectory {
    path: PathBuf,
    /// If the output directory was moved away, the path can name the directory of another conversion.
    id: FileId,
    keep: bool,
}

impl StagingDirectory {
    fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|found| FileId::of(&found) == self.id)
    }
}

impl Drop for StagingDirectory {
    fn drop(&mut self) {
        if !self.keep && self.is_there() {
            let _ = journal::remove(&self.path);
        }
    }
}

impl DiskStage {
    /// Locks `out`, recovers it from a killed conversion, and creates the staging directory for `files`.
    ///
    /// # Errors
    /// If a file of an export exists and `force` is not given, or another conversion is writing into `out`.
    pub(crate) fn new(out: &Path, files: ExportFiles, force: bool) -> Result<Self, Error> {
        if out.exists() && !out.is_dir() {
            return Err(Error::NotADirectory {
                path: out.to_owned(),
            });
        }
        let (locked, staging) = Self::prepare(out)?;
        files.find_existing(&OnDisk(out), force)?;
        for root in [NEW, OLD] {
            for folder in files.paths().iter().filter_map(|file| file.parent()) {
                let path = staging.path.join(root).join(folder);
                fs::create_dir_all(&path).map_err(Error::writing(&path))?;
            }
        }
        Ok(Self {
            staging,
            locked,
            out: out.to_owned(),
            files,
            force,
        })
    }

    /// Recovers `out` from a killed conversion; from one that had moved some of its files only if `takes_back`: these
    /// moves are taken back.
    ///
    /// # Errors
    /// [`Error::Busy`] if another conversion is writing into it.
    pub(super) fn recover(out: &Path, takes_back: bool) -> Result<(), Error> {
        let path = out.join(STAGING);
        let is_there = || Ok::<_, Error>(find(&path)?.is_some_and(|found| found.is_dir()));
        if !is_there()? {
            return Ok(());
        }
        let mut locked = LockedDirectory::new(out)?;
        // Another conversion may have removed it before the lock was free.
        if !is_there()? || !(takes_back || journal::is_done(out, &path)?) {
            return Ok(());
        }
        locked.created.keep();
        if !locked.lock.is_exclusive() {
            return Err(Error::Unlocked { path });
        }
        journal::recover(out, &path)
    }

    fn prepare(out: &Path) -> Result<(LockedDirectory, StagingDirectory), Error> {
        let path = out.join(STAGING);
        for _ in 0..ATTEMPTS {
            let mut locked = LockedDirectory::new(out)?;
            if find(&path)?.is_some_and(|found| found.is_dir()) {
                locked.created.keep();
                if !locked.lock.is_exclusive() {
                    return Err(Error::Unlocked { path });
                }
                journal::recover(out, &path)?;
            }
            match locked.lock.create_dir(STAGING) {
                Ok(()) => {}
                // The conversion that created `out` failed and removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists
                        && !locked.lock.is_exclusive() =>
                {
                    locked.created.keep();
                    return Err(Error::Unlocked { path });
                }
                Err(error) => return Err(Error::writing(&path)(error)),
            }
            let metadata = fs::symlink_metadata(&path).map_err(Error::writing(&path))?;
            let staging = StagingDirectory {
                id: FileId::of(&metadata),
                keep: false,
                path,
            };
            return Ok((locked, staging));
        }
        Err(Error::Busy {
            path: out.to_owned(),
        })
    }

    /// Returns the staging directory.
    pub(super) fn root(&self) -> &Path {
        &self.staging.path
    }

    /// Moves all files to their places. Returns warnings about files that stay beside them.
    ///
    /// # Errors
    /// After an error the output directory is as it was before, except after [`Error::Stranded`].
    pub(crate) fn publish(mut self) -> Result<Vec<String>, Error> {
        let is_current = self.locked.lock.is_of(&self.out);
        if !is_current.map_err(Error::writing(&self.out))? || !self.staging.is_there() {
            return Err(Error::Replaced {
                path: self.out.clone(),
            });
        }
        let staging = &self.staging.path;
        let created = &mut self.locked.created;
        let existing = self.files.find_existing(&OnDisk(&self.out), self.force)?;
        for folder in self.files.paths().iter().filter_map(|file| file.parent()) {
            let folder = self.out.join(folder);
            created.create(&folder).map_err(Error::writing(&folder))?;
        }
        for folder in existing.replaced.iter().filter_map(|file| file.parent()) {
            let folder = staging.join(OLD).join(folder);
            fs::create_dir_all(&folder).map_err(Error::writing(&folder))?;
        }
        created.sync()?;
        let journal = Journal::write(staging, self.files.paths().to_vec(), existing.replaced)?;
        if let Err(error) = journal.move_all(&self.out, staging) {
            if let Err(stranded) = journal.roll_back(&self.out, staging) {
                // It holds the only copy of the earlier export.
                self.staging.keep = true;
                created.keep();
                return Err(stranded);
            }
            return Err(error);
        }
        created.keep();
        journal.remove_empty_folders(&self.out);
        Ok(existing.warnings)
    }
}
