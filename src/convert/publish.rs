//! Makes the output appear complete or not at all.
//!
//! Everything is written into a hidden folder inside OUT, on the same file system, and moved to its
//! place at the end by renames: the weights last, so that a folder with `model.safetensors` is a
//! complete export. Files that are replaced are first moved into the hidden folder, the old weights
//! before all others, and moved back if anything fails. Dropping a [`Stage`] removes the hidden
//! folder, and OUT itself where it was made for this export.
//!
//! A rename never replaces a file that appeared in the meantime (`renameat2` with
//! `RENAME_NOREPLACE`, through `tempfile`).

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::{TempDir, TempPath};

use super::Error;

/// Start of the hidden folder's name.
const PREFIX: &str = ".electra-convert-";
/// Sub-folders of the hidden folder.
const NEW: &str = "new";
const OLD: &str = "old";
const SCRATCH: &str = "scratch";

/// Files that are on their way into OUT.
#[derive(Debug)]
pub(crate) struct Stage {
    // Declared before `created`: the hidden folder must go before the folders around it.
    hidden: TempDir,
    created: CreatedFolders,
    out: PathBuf,
    /// Paths below OUT, in the order in which they will appear.
    files: Vec<PathBuf>,
    force: bool,
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
            fs::create_dir(folder)?;
            self.0.push(folder.to_owned());
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
    /// Prepares OUT for `files` (paths below it, weights last). Fails when one of them exists and
    /// `force` is not given.
    pub(crate) fn new(out: &Path, files: Vec<PathBuf>, force: bool) -> Result<Self, Error> {
        check_targets(out, &files, force)?;
        let mut created = CreatedFolders::default();
        created.create(out).map_err(Error::writing(out))?;
        let hidden = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(out)
            .map_err(Error::writing(out))?;
        for root in [NEW, OLD] {
            for folder in files.iter().filter_map(|file| file.parent()) {
                let path = hidden.path().join(root).join(folder);
                fs::create_dir_all(&path).map_err(Error::writing(&path))?;
            }
        }
        Ok(Self {
            hidden,
            created,
            out: out.to_owned(),
            files,
            force,
        })
    }

    /// Where to write a file, given by its path below OUT, until it is published.
    pub(crate) fn path(&self, file: &Path) -> PathBuf {
        self.hidden.path().join(NEW).join(file)
    }

    /// A folder for files that are needed on the way and not published.
    pub(crate) fn scratch(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.hidden.path().join(SCRATCH).join(name);
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

        let mut moves = Moves::default();
        if let Err(error) = self.move_all(&mut moves) {
            if let Err((path, undo)) = moves.undo() {
                // The old files are all that is left of the earlier export: keep them.
                let kept = self.hidden.keep();
                self.created.0.clear();
                return Err(Error::Stranded {
                    path,
                    kept: kept.join(OLD),
                    source: undo,
                });
            }
            return Err(error);
        }
        self.created.0.clear();
        Ok(())
    }

    fn move_all(&self, moves: &mut Moves) -> Result<(), Error> {
        for file in self.files.iter().rev() {
            let target = self.out.join(file);
            if target.symlink_metadata().is_ok() {
                moves.rename(&target, &self.hidden.path().join(OLD).join(file))?;
            }
        }
        for file in &self.files {
            moves.rename(
                &self.hidden.path().join(NEW).join(file),
                &self.out.join(file),
            )?;
        }
        let mut folders: Vec<PathBuf> = self
            .files
            .iter()
            .filter_map(|file| Some(self.out.join(file.parent()?)))
            .chain([self.out.clone()])
            .collect();
        folders.sort();
        folders.dedup();
        for folder in folders {
            File::open(&folder)
                .and_then(|folder| folder.sync_all())
                .map_err(Error::writing(&folder))?;
        }
        Ok(())
    }
}

/// Renames that were done, so that they can be undone.
#[derive(Debug, Default)]
struct Moves(Vec<(PathBuf, PathBuf)>);

impl Moves {
    fn rename(&mut self, from: &Path, to: &Path) -> Result<(), Error> {
        rename_new(from, to).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists {
                path: to.to_owned(),
            },
            _ => Error::writing(to)(error),
        })?;
        self.0.push((from.to_owned(), to.to_owned()));
        Ok(())
    }

    /// Takes everything back, the last first.
    fn undo(self) -> Result<(), (PathBuf, io::Error)> {
        for (from, to) in self.0.into_iter().rev() {
            rename_new(&to, &from).map_err(|error| (from, error))?;
        }
        Ok(())
    }
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
    if out.exists() && !out.is_dir() {
        return Err(Error::NotAFolder {
            path: out.to_owned(),
        });
    }
    for file in files {
        let path = out.join(file);
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => return Err(Error::FolderInTheWay { path }),
            Ok(_) if !force => return Err(Error::Exists { path }),
            _ => {}
        }
    }
    Ok(())
}
