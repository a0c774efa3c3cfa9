//! Makes the output appear complete or not at all, whenever the program ends.
//!
//! Everything is written into a staging directory inside OUT, on the same file system, and synced.
//! Then a journal in it lists what will be moved, and four steps move it, with a sync after each: old
//! weights into the staging directory, other old files after them, new files to their places, new
//! weights last. So **a directory with `model.safetensors` is a complete export, the old one or the
//! new one; a directory without it is incomplete**, after a crash of the program or of the machine too
//! (on a file system that keeps what it has synced). If a step fails, all moves are taken back. If the
//! program was killed, the next conversion into OUT does that, or, where nothing is left to be moved,
//! removes the old files; and then the staging directory.
//!
//! | question | in |
//! |---|---|
//! | which files belong to an export, and which are in its way? | `contents` |
//! | who else uses OUT? | `lock` |
//! | what was moved, and what does a killed conversion leave? | `journal` |
//!
//! A rename never replaces a file that appeared in the meantime (`renameat2` with `RENAME_NOREPLACE`,
//! through `tempfile`), and only files that are still those that were moved there (by inode, length
//! and time) are taken back. Dropping a [`Stage`] removes the staging directory, and OUT itself where
//! it was created for this export.

mod contents;
mod files;
mod journal;
mod lock;

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::export::Error;
pub(crate) use contents::Contents;
use files::find;
use journal::Journal;
use lock::{Created, Held, Lock};

/// The staging directory.
pub(crate) const HIDDEN: &str = ".electra-convert";
/// Its sub-directories.
const NEW: &str = "new";
const OLD: &str = "old";
const SCRATCH: &str = "scratch";

/// Files that are on their way into OUT.
#[derive(Debug)]
pub(crate) struct Stage {
    // In the order in which they must go: the staging directory, the directories around it, the lock.
    hidden: Hidden,
    created: Created,
    lock: Lock,
    out: PathBuf,
    contents: Contents,
    force: bool,
}

/// The staging directory, removed unless kept.
#[derive(Debug)]
struct Hidden {
    path: PathBuf,
    /// Device and inode: if OUT was moved away, its path leads to the directory of somebody else.
    directory: (u64, u64),
    keep: bool,
}

impl Hidden {
    fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path)
            .is_ok_and(|found| lock::directory(&found) == self.directory)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if !self.keep && self.is_there() {
            let _ = journal::remove(&self.path);
        }
    }
}

impl Stage {
    /// Prepares OUT for `contents`, after undoing what a conversion that was killed has begun there.
    /// Fails when a file of an export exists and `force` is not given, or another conversion into OUT
    /// is running.
    pub(crate) fn new(out: &Path, contents: Contents, force: bool) -> Result<Self, Error> {
        if out.exists() && !out.is_dir() {
            return Err(Error::NotAFolder {
                path: out.to_owned(),
            });
        }
        let (lock, created, hidden) = Self::hold(out)?;
        contents.find(out, force)?;
        for root in [NEW, OLD] {
            for folder in contents.files.iter().filter_map(|file| file.parent()) {
                let path = hidden.path.join(root).join(folder);
                fs::create_dir_all(&path).map_err(Error::writing(&path))?;
            }
        }
        Ok(Self {
            hidden,
            created,
            lock,
            out: out.to_owned(),
            contents,
            force,
        })
    }

    /// Locks OUT, recovers it and creates the staging directory.
    fn hold(out: &Path) -> Result<(Lock, Created, Hidden), Error> {
        let path = out.join(HIDDEN);
        for _ in 0..lock::ATTEMPTS {
            let Held { mut created, lock } = Held::new(out)?;
            if find(&path)?.is_some_and(|found| found.is_dir()) {
                created.keep();
                if !lock.is_locked() {
                    return Err(Error::Unlocked { path });
                }
                journal::recover(out, &path)?;
            }
            match lock.create_dir(HIDDEN) {
                Ok(()) => {}
                // OUT was removed by the conversion that created it, which has failed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !lock.is_locked() => {
                    created.keep();
                    return Err(Error::Unlocked { path });
                }
                Err(error) => return Err(Error::writing(&path)(error)),
            }
            let metadata = fs::symlink_metadata(&path).map_err(Error::writing(&path))?;
            let hidden = Hidden {
                directory: lock::directory(&metadata),
                keep: false,
                path,
            };
            return Ok((lock, created, hidden));
        }
        Err(Error::Busy {
            path: out.to_owned(),
        })
    }

    /// Where to write a file, given by its path below OUT, until it is published.
    pub(crate) fn path(&self, file: &Path) -> PathBuf {
        self.hidden.path.join(NEW).join(file)
    }

    /// A directory for files that are needed on the way and not published.
    pub(crate) fn scratch(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.hidden.path.join(SCRATCH).join(name);
        fs::create_dir_all(&path).map_err(Error::writing(&path))?;
        Ok(path)
    }

    /// Moves all files to their places; on failure everything is as it was. Returns warnings about
    /// what stays beside them.
    pub(crate) fn publish(mut self) -> Result<Vec<String>, Error> {
        let is_of_out = self.lock.is_of(&self.out);
        if !is_of_out.map_err(Error::writing(&self.out))? || !self.hidden.is_there() {
            return Err(Error::Replaced {
                path: self.out.clone(),
            });
        }
        let found = self.contents.find(&self.out, self.force)?;
        for folder in self.contents.files.iter().filter_map(|file| file.parent()) {
            let folder = self.out.join(folder);
            self.created
                .create(&folder)
                .map_err(Error::writing(&folder))?;
        }
        for folder in found.old.iter().filter_map(|file| file.parent()) {
            let folder = self.hidden.path.join(OLD).join(folder);
            fs::create_dir_all(&folder).map_err(Error::writing(&folder))?;
        }
        self.created.sync()?;
        let journal = Journal::write(&self.hidden.path, self.contents.files.clone(), found.old)?;
        if let Err(error) = journal.move_all(&self.out, &self.hidden.path) {
            if let Err(stranded) = journal.undo(&self.out, &self.hidden.path) {
                // The old files are all that is left of the earlier export.
                self.hidden.keep = true;
                self.created.keep();
                return Err(stranded);
            }
            return Err(error);
        }
        self.created.keep();
        journal.remove_empty_folders(&self.out);
        Ok(found.warnings)
    }
}
