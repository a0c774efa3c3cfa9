//! Finds every checkpoint of every training run at a path.
//!
//! A run is a directory that holds checkpoints. Directories below it are searched too, except hidden ones, those of
//! a SavedModel and those in which a save was interrupted. A link to a directory is followed if it leads out of the given
//! directory, but not to one above it: what is inside is found under its own path. The order is that of the names, so that
//! two searches of the same files give the same list.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::finder::Finder;
use super::location::Location;
use super::prefix::{INDEX, Prefix, is_part, is_unfinished_save, is_unfinished_shard, step_of};
use crate::address::Use;
use crate::error::Error;
use crate::formats::Format;
use crate::limits::Limits;
use crate::storage::archive::Archive;
use crate::storage::{self, Kind};

/// How many directories deep runs are searched for.
const MAX_DEPTH: usize = 16;
/// The most directories that are searched.
const MAX_DIRECTORIES: usize = 100_000;

/// The checkpoints in one directory.
#[derive(Debug)]
#[non_exhaustive]
pub struct Run {
    /// The directory, relative to the path that was given: empty for that path itself.
    pub below: PathBuf,
    /// The directory.
    pub folder: PathBuf,
    /// The checkpoints, ordered by step, then by name.
    pub checkpoints: Vec<Location>,
    /// Checkpoints that cannot be opened because their index is missing.
    pub incomplete: Vec<Incomplete>,
}

/// A checkpoint without its index: training is writing or deleting it, or a copy is incomplete.
#[derive(Debug)]
#[non_exhaustive]
pub struct Incomplete {
    /// The path that its files share.
    pub prefix: PathBuf,
    /// The training step in its name.
    pub step: Option<u64>,
    /// What is missing.
    pub error: Error,
}

/// Finds every run at `path`: a directory with checkpoints, one with such directories below it, a prefix in a bucket
/// (feature `cloud`), an archive of any of these, or the path of a single checkpoint.
///
/// Unlike [`locate()`](super::locate()), it ignores the state file, and returns all checkpoints of a directory.
///
/// # Errors
/// [`Error::NotFound`] if there is no checkpoint, or the error of a directory or a file that cannot be read.
pub fn runs(path: &Path, limits: &Limits) -> Result<Vec<Run>, Error> {
    let (storage, inside) = storage::of(path, Use::Checkpoint)?;
    let mut search = match Archive::behind(&storage, &inside, limits)? {
        None => Search::new(Finder::new(storage, limits), inside),
        Some((archive, inside)) => Search::new(Finder::new(Arc::new(archive), limits), inside),
    };
    search.run()?;
    Ok(search.found)
}

struct Search {
    finder: Finder,
    start: PathBuf,
    /// The start without links, where there are links.
    real_start: Option<PathBuf>,
    searched: HashSet<PathBuf>,
    directories: usize,
    known: HashSet<PathBuf>,
    found: Vec<Run>,
}

impl Search {
    fn new(finder: Finder, start: PathBuf) -> Self {
        Self {
            finder,
            start,
            real_start: None,
            searched: HashSet::new(),
            directories: 0,
            known: HashSet::new(),
            found: Vec::new(),
        }
    }

    fn run(&mut self) -> Result<(), Error> {
        let start = self.start.clone();
        if self.finder.storage.archive().is_some() {
            for folder in self.finder.folders(&start)? {
                self.add(&folder, &self.names(&folder)?)?;
            }
        } else if self.finder.storage.lists_directories()
            && self.finder.kind(&start)? == Some(Kind::Directory)
        {
            self.real_start = self.real(&start)?;
            self.walk(&start, 0)?;
        }
        if self.found.is_empty() {
            // A single checkpoint, or the error that explains what is there.
            let location = self.finder.locate(&start, None)?;
            self.found.push(Run {
                below: PathBuf::new(),
                folder: location.folder().to_owned(),
                checkpoints: vec![location],
                incomplete: Vec::new(),
            });
        }
        Ok(())
    }

    fn walk(&mut self, folder: &Path, depth: usize) -> Result<(), Error> {
        self.directories += 1;
        let too_many = if depth > MAX_DEPTH {
            Some(format!(
                "more than {MAX_DEPTH} directories deep: give a directory nearer to the runs"
            ))
        } else if self.directories > MAX_DIRECTORIES {
            Some(format!(
                "more than {MAX_DIRECTORIES} directories: give a directory nearer to the runs"
            ))
        } else {
            None
        };
        if let Some(found) = too_many {
            return Err(Error::NotFound {
                path: folder.to_owned(),
                found,
                checkpoint: None,
            });
        }
        let names = self.names(folder)?;
        if folder != self.start && is_unfinished_save(folder, &names) {
            return Ok(());
        }
        let inner = self.add(folder, &names)?;
        for name in names {
            let is_hidden = name.as_encoded_bytes().starts_with(b".");
            if is_hidden || is_part(&name) {
                continue;
            }
            let path = folder.join(&name);
            if !inner.contains(&path)
                && self.finder.kind(&path)? == Some(Kind::Directory)
                && self.is_new(folder, &path)?
            {
                self.walk(&path, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Returns the names in a directory, sorted.
    fn names(&self, folder: &Path) -> Result<Vec<OsString>, Error> {
        let names = self.finder.storage.file_names(folder);
        let mut names = names.map_err(|source| Error::reading(folder, source))?;
        names.sort();
        Ok(names)
    }

    /// Adds the checkpoints of a directory. Returns the directories that are part of them.
    fn add(&mut self, folder: &Path, names: &[OsString]) -> Result<HashSet<PathBuf>, Error> {
        let mut checkpoints = self.finder.all_in(folder)?;
        let mut inner = HashSet::new();
        for location in &checkpoints {
            if location.format() == Format::SavedModel {
                let own = location.folder().ancestors();
                inner.extend(own.take_while(|path| *path != folder).map(Path::to_owned));
                inner.extend(["variables", "assets"].map(|name| location.folder().join(name)));
            }
        }
        checkpoints.retain(|location| self.known.insert(location.prefix().to_owned()));
        let incomplete = incomplete(folder, names);
        if !checkpoints.is_empty() || !incomplete.is_empty() {
            let below = folder.strip_prefix(&self.start).unwrap_or(folder);
            self.found.push(Run {
                below: below.to_owned(),
                folder: folder.to_owned(),
                checkpoints,
                incomplete,
            });
        }
        Ok(inner)
    }

    /// Returns the path of a directory without links; `None` where there are no links.
    fn real(&self, folder: &Path) -> Result<Option<PathBuf>, Error> {
        let real = self.finder.storage.without_links(folder);
        real.map_err(|source| Error::reading(folder, source))
    }

    /// Returns false for a link to a directory that is found elsewhere.
    fn is_new(&mut self, above: &Path, folder: &Path) -> Result<bool, Error> {
        let Some(real) = self.real(folder)? else {
            return Ok(true);
        };
        let above = self.real(above)?.unwrap_or_default();
        let is_link = real.parent() != Some(&above) || real.file_name() != folder.file_name();
        // Into the given directory, or above it, where it is found again.
        let leads_in =
            |start: &PathBuf| is_link && (real.starts_with(start) || start.starts_with(&real));
        Ok(!self.real_start.as_ref().is_some_and(leads_in) && self.searched.insert(real))
    }
}

/// Returns the checkpoints of a directory whose data files are there and whose index is not.
fn incomplete(folder: &Path, names: &[OsString]) -> Vec<Incomplete> {
    let has = |name: &OsStr| names.binary_search_by(|known| (**known).cmp(name)).is_ok();
    let mut found: Vec<Incomplete> = Vec::new();
    for name in names {
        let prefix = Prefix::of(&folder.join(name));
        let is_data = is_part(name) && name.to_string_lossy().contains(".data-");
        let is_hidden = name.as_encoded_bytes().starts_with(b"._");
        let mut index = prefix.base().to_owned();
        index.push(INDEX);
        let is_listed = found
            .last()
            .is_some_and(|last| last.prefix == prefix.path());
        let is_left_over = is_hidden || is_unfinished_shard(prefix.base());
        if !is_data || is_left_over || is_listed || has(&index) {
            continue;
        }
        found.push(Incomplete {
            step: step_of(prefix.base()),
            error: Error::NotFound {
                path: prefix.path().to_owned(),
                found: format!(
                    "{} is there, but {} is not: training may be writing or deleting this checkpoint, or the copy is \
                     incomplete",
                    name.display(),
                    index.display()
                ),
                checkpoint: None,
            },
            prefix: prefix.path().to_owned(),
        });
    }
    found.sort_by_key(|checkpoint| checkpoint.step);
    found
}
