//! Makes the output appear complete or not at all, whenever the program ends.
//!
//! Everything is written into a hidden folder inside OUT, on the same file system, and synced. Then a
//! journal in it lists what will be moved, and four steps move it, with a sync after each: old
//! weights into the hidden folder, other old files after them, new files to their places, new weights
//! last. So **a folder with `model.safetensors` is a complete export, the old one or the new one; a
//! folder without it is incomplete**, after a crash of the program or of the machine too (on a file
//! system that keeps what it has synced). If a step fails, all moves are taken back. If the program
//! was killed, the next conversion into OUT does that: it takes back what the journal lists, or, where
//! nothing is left to be moved, removes the old files; and then the hidden folder.
//!
//! A conversion holds a lock (`flock`) on OUT, which the system drops with the process. A rename never
//! replaces a file that appeared in the meantime (`renameat2` with `RENAME_NOREPLACE`, through
//! `tempfile`), and only files that are still those that were moved there (by inode, length and time)
//! are taken back. Dropping a [`Stage`] removes the hidden folder, and OUT itself where it was made
//! for this export.

use std::fs::{self, File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::TempPath;

use super::{Error, WEIGHTS_FILE, write_text};

/// The hidden folder.
const HIDDEN: &str = ".electra-convert";
/// Its sub-folders.
const NEW: &str = "new";
const OLD: &str = "old";
const SCRATCH: &str = "scratch";
/// The journal in it, which is there from before the first move on.
const JOURNAL: &str = "journal.json";
/// The longest journal read, in bytes.
const MAX_JOURNAL_LEN: u64 = 1 << 20;

/// Files that are on their way into OUT.
#[derive(Debug)]
pub(crate) struct Stage {
    // In the order in which they must go: the hidden folder, the folders around it, the lock.
    hidden: Hidden,
    created: CreatedFolders,
    _lock: Option<File>,
    out: PathBuf,
    /// Paths below OUT, in the order in which they will appear.
    files: Vec<PathBuf>,
    force: bool,
}

/// The hidden folder, removed unless kept.
#[derive(Debug)]
struct Hidden {
    path: PathBuf,
    keep: bool,
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Folders that were made for this export, outermost first; removed unless kept.
#[derive(Debug, Default)]
struct CreatedFolders(Vec<PathBuf>);

impl CreatedFolders {
    fn create(&mut self, path: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = path
            .ancestors()
            .take_while(|p| !p.as_os_str().is_empty() && !p.exists())
            .collect();
        for folder in missing.into_iter().rev() {
            match fs::create_dir(folder) {
                // Somebody else was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => {
                    made?;
                    self.0.push(folder.to_owned());
                }
            }
        }
        Ok(())
    }
}

impl Drop for CreatedFolders {
    fn drop(&mut self) {
        for folder in self.0.iter().rev() {
            // Fails where somebody else has put a file; then it is no longer ours to remove.
            let _ = fs::remove_dir(folder);
        }
    }
}

impl Stage {
    /// Prepares OUT for `files` (paths below it, weights last), after undoing what a conversion that
    /// was killed has begun there. Fails when one of the files exists and `force` is not given, or another
    /// conversion into OUT is running.
    pub(crate) fn new(out: &Path, files: Vec<PathBuf>, force: bool) -> Result<Self, Error> {
        if out.exists() && !out.is_dir() {
            return Err(Error::NotAFolder {
                path: out.to_owned(),
            });
        }
        let mut created = CreatedFolders::default();
        created.create(out).map_err(Error::writing(out))?;
        let lock = lock(out)?;
        let path = out.join(HIDDEN);
        if find(&path)?.is_some_and(|found| found.is_dir()) {
            if lock.is_none() {
                return Err(Error::Leftover { path });
            }
            recover(out, &path)?;
        }
        check_targets(out, &files, force)?;
        fs::create_dir(&path).map_err(Error::writing(&path))?;
        let hidden = Hidden { path, keep: false };
        for root in [NEW, OLD] {
            for folder in files.iter().filter_map(|file| file.parent()) {
                let path = hidden.path.join(root).join(folder);
                fs::create_dir_all(&path).map_err(Error::writing(&path))?;
            }
        }
        Ok(Self {
            hidden,
            created,
            _lock: lock,
            out: out.to_owned(),
            files,
            force,
        })
    }

    /// Where to write a file, given by its path below OUT, until it is published.
    pub(crate) fn path(&self, file: &Path) -> PathBuf {
        self.hidden.path.join(NEW).join(file)
    }

    /// A folder for files that are needed on the way and not published.
    pub(crate) fn scratch(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.hidden.path.join(SCRATCH).join(name);
        fs::create_dir_all(&path).map_err(Error::writing(&path))?;
        Ok(path)
    }

    /// Moves all files to their places; on failure everything is as it was.
    pub(crate) fn publish(mut self) -> Result<(), Error> {
        for folder in self.files.iter().filter_map(|file| file.parent()) {
            let folder = self.out.join(folder);
            self.created
                .create(&folder)
                .map_err(Error::writing(&folder))?;
        }
        check_targets(&self.out, &self.files, self.force)?;

        let journal = Journal::write(&self.hidden.path, &self.files)?;
        if let Err(error) = self.move_all() {
            if let Err(stranded) = journal.undo(&self.out, &self.hidden.path) {
                // The old files are all that is left of the earlier export.
                self.hidden.keep = true;
                self.created.0.clear();
                return Err(stranded);
            }
            return Err(error);
        }
        self.created.0.clear();
        Ok(())
    }

    fn move_all(&self) -> Result<(), Error> {
        let [new, old] = [NEW, OLD].map(|root| self.hidden.path.join(root));
        let is_weights = |file: &&PathBuf| file.ends_with(WEIGHTS_FILE);
        let (weights, texts): (Vec<_>, Vec<_>) = self.files.iter().partition(is_weights);
        for files in [&weights, &texts] {
            let mut is_moved = false;
            for file in files {
                let target = self.out.join(file);
                if find(&target)?.is_some() {
                    move_file(&target, &old.join(file))?;
                    is_moved = true;
                }
            }
            if is_moved {
                sync_folders(&old, &self.files)?;
                sync_folders(&self.out, &self.files)?;
            }
        }
        for files in [&texts, &weights] {
            for file in files {
                move_file(&new.join(file), &self.out.join(file))?;
            }
            sync_folders(&self.out, &self.files)?;
        }
        Ok(())
    }
}

/// The lock on OUT; `None` where the file system has none.
fn lock(out: &Path) -> Result<Option<File>, Error> {
    let folder = File::open(out).map_err(Error::writing(out))?;
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(TryLockError::WouldBlock) => Err(Error::Busy {
            path: out.to_owned(),
        }),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// What is about to be moved from the hidden folder to OUT.
#[derive(Debug, Serialize, Deserialize)]
struct Journal {
    files: Vec<Entry>,
}

/// A file to be moved.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    /// Below OUT.
    path: PathBuf,
    identity: Identity,
}

/// What tells a file from another one that has taken its place; a move does not change it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    inode: u64,
    len: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl Journal {
    /// Notes the files, all of which are in the hidden folder.
    fn write(hidden: &Path, files: &[PathBuf]) -> Result<Self, Error> {
        let entry = |path: &PathBuf| {
            let staged = hidden.join(NEW).join(path);
            let metadata = fs::symlink_metadata(&staged).map_err(Error::writing(&staged))?;
            Ok(Entry {
                path: path.clone(),
                identity: Identity::of(&metadata),
            })
        };
        let entries = files.iter().map(entry).collect::<Result<_, Error>>()?;
        let journal = Self { files: entries };
        sync_folders(&hidden.join(NEW), files)?;
        let text = serde_json::to_string(&journal).expect("plain data");
        write_text(&text, &hidden.join(JOURNAL))?;
        sync(hidden)?;
        Ok(journal)
    }

    /// Reads what a killed conversion noted; `None` where it had not come to that: it moves nothing
    /// before the journal is complete.
    fn read(hidden: &Path) -> Result<Option<Self>, Error> {
        let path = hidden.join(JOURNAL);
        if find(&path)?.is_none_or(|found| found.len() > MAX_JOURNAL_LEN) {
            return Ok(None);
        }
        let text = fs::read(&path).map_err(Error::writing(&path))?;
        let journal: Option<Self> = serde_json::from_slice(&text).ok();
        let is_below = |path: &Path| path.components().all(|c| matches!(c, Component::Normal(_)));
        Ok(journal.filter(|journal| journal.files.iter().all(|entry| is_below(&entry.path))))
    }

    /// True when every file was moved.
    fn is_done(&self, hidden: &Path) -> Result<bool, Error> {
        for entry in &self.files {
            if find(&hidden.join(NEW).join(&entry.path))?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes every move back, the weights of the new export first and those of the old one last. Can
    /// be repeated when it was cut short.
    fn undo(&self, out: &Path, hidden: &Path) -> Result<(), Error> {
        let [new, old] = [NEW, OLD].map(|root| hidden.join(root));
        let stranded = |path: PathBuf| {
            |source| Error::Stranded {
                path,
                kept: old.clone(),
                source,
            }
        };
        for Entry { path, identity } in self.files.iter().rev() {
            let target = out.join(path);
            if find(&target)?.is_some_and(|found| Identity::of(&found) == *identity) {
                rename_new(&target, &new.join(path)).map_err(stranded(target))?;
            }
        }
        for Entry { path, .. } in &self.files {
            let kept = old.join(path);
            if find(&kept)?.is_some() {
                let target = out.join(path);
                rename_new(&kept, &target).map_err(stranded(target))?;
            }
        }
        Ok(())
    }
}

/// Undoes what a killed conversion began, and removes what it left.
fn recover(out: &Path, hidden: &Path) -> Result<(), Error> {
    if let Some(journal) = Journal::read(hidden)?
        && !journal.is_done(hidden)?
    {
        journal.undo(out, hidden)?;
        sync(out)?;
    }
    fs::remove_dir_all(hidden).map_err(Error::writing(hidden))
}

/// Syncs a folder and those of its sub-folders that the files are in.
fn sync_folders(root: &Path, files: &[PathBuf]) -> Result<(), Error> {
    let parents = files.iter().filter_map(|file| file.parent());
    let mut folders: Vec<PathBuf> = parents.map(|folder| root.join(folder)).collect();
    folders.push(root.to_owned());
    folders.sort();
    // `root` and `root/` are one.
    folders.dedup_by(|a, b| a.components().eq(b.components()));
    folders.iter().try_for_each(|folder| sync(folder))
}

fn sync(folder: &Path) -> Result<(), Error> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(Error::writing(folder))
}

/// What is at `path`, if anything is. That it cannot be told is not that nothing is.
fn find(path: &Path) -> Result<Option<Metadata>, Error> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::writing(path)(error)),
    }
}

/// A move to where nothing is.
fn move_file(from: &Path, to: &Path) -> Result<(), Error> {
    rename_new(from, to).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists {
            path: to.to_owned(),
        },
        _ => Error::writing(to)(error),
    })
}

/// A rename that fails when there is something at `to`.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    let mut path = TempPath::try_from_path(from)?;
    // The file must survive a failure: whoever owns it decides.
    path.disable_cleanup(true);
    path.persist_noclobber(to).map_err(|error| error.error)
}

/// Refuses to replace files without `force`, and anything but files with it.
fn check_targets(out: &Path, files: &[PathBuf], force: bool) -> Result<(), Error> {
    for file in files {
        let path = out.join(file);
        match find(&path)? {
            Some(metadata) if metadata.is_dir() => return Err(Error::FolderInTheWay { path }),
            Some(_) if !force => return Err(Error::Exists { path }),
            _ => {}
        }
    }
    Ok(())
}
