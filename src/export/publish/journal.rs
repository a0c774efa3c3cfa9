//! The journal: the list of files that publishing moves, with which the next conversion finishes or rolls
//! back the moves of a killed one.
//!
//! It is written under another name, synced and renamed before the first move, so that a journal of this
//! version is always complete. A journal that cannot be parsed was written by another version or is
//! damaged. Then the state of the files around it is unknown: they are kept, and the error names their
//! directory.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::files::{find, has_files, move_file, rename_new, sync, sync_folders};
use crate::export::Error;
use crate::export::files::{WEIGHTS_FILE, write_text};
use crate::sys::file_number;

/// Subdirectory of the staging directory for the files of the new export, also of one that is uploaded.
pub(super) const NEW: &str = "new";
/// Subdirectory of the staging directory for the files of the earlier export.
pub(super) const OLD: &str = "old";
pub(super) const JOURNAL: &str = "journal.json";
/// The name of the journal until it is complete.
const PARTIAL: &str = "journal.json.partial";
/// Must grow when the meaning of a field, or of a file beside the journal, changes.
const VERSION: u32 = 2;
/// The maximum length of a journal in bytes.
const MAX_LEN: u64 = 1 << 20;

/// The files that publishing moves. Weights come last in both lists.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    version: u32,
    /// Files of the earlier export, moved into the staging directory. Paths are relative to the output
    /// directory.
    old: Vec<PathBuf>,
    /// Files of the new export, moved out of the staging directory.
    new: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Relative to the output directory.
    path: PathBuf,
    identity: Identity,
}

/// Distinguishes a file from another one that took its place; a move does not change it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    inode: u64,
    len: u64,
    /// Seconds and nanoseconds since 1970; both are negative before.
    modified: (i64, i64),
}

impl Identity {
    fn of(metadata: &Metadata) -> io::Result<Self> {
        let (sign, distance) = match metadata.modified()?.duration_since(UNIX_EPOCH) {
            Ok(after) => (1, after),
            Err(before) => (-1, before.duration()),
        };
        let seconds = i64::try_from(distance.as_secs()).unwrap_or(i64::MAX);
        Ok(Self {
            inode: file_number(metadata),
            len: metadata.len(),
            modified: (sign * seconds, sign * i64::from(distance.subsec_nanos())),
        })
    }
}

/// How far the moves of a conversion came.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    /// A new file is still staged.
    Begun,
    /// All new files are at their places.
    Done,
    /// A new file is neither staged nor at its place: another program moved it.
    Unclear,
}

impl Journal {
    /// Writes the journal into the staging directory, where the files in `new` are, and syncs it.
    pub(super) fn write(
        staging: &Path,
        mut new: Vec<PathBuf>,
        mut old: Vec<PathBuf>,
    ) -> Result<Self, Error> {
        for files in [&mut new, &mut old] {
            files.sort_by_key(|file| is_weights(file));
        }
        sync_folders(&staging.join(NEW), &new)?;
        let entry = |path: PathBuf| {
            let staged = staging.join(NEW).join(&path);
            let metadata = fs::symlink_metadata(&staged).map_err(Error::writing(&staged))?;
            let identity = Identity::of(&metadata).map_err(Error::writing(&staged))?;
            Ok(Entry { path, identity })
        };
        let journal = Self {
            version: VERSION,
            old,
            new: new.into_iter().map(entry).collect::<Result<_, Error>>()?,
        };
        let text = serde_json::to_string(&journal).expect("plain data");
        let partial = staging.join(PARTIAL);
        write_text(&text, &partial)?;
        move_file(&partial, &staging.join(JOURNAL))?;
        sync(staging)?;
        Ok(journal)
    }

    /// Reads the journal of a killed conversion; `None` if no file was moved.
    fn read(staging: &Path) -> Result<Option<Self>, Error> {
        let path = staging.join(JOURNAL);
        let unknown = |what: String| Error::UnknownJournal {
            staging: staging.to_owned(),
            what,
        };
        let Some(found) = find(&path)? else {
            if has_files(&staging.join(OLD))? {
                return Err(unknown(format!("has no {JOURNAL}")));
            }
            return Ok(None);
        };
        if !found.is_file() || found.len() > MAX_LEN {
            return Err(unknown(format!(
                "has a {JOURNAL} that is not a file of up to {MAX_LEN} bytes"
            )));
        }
        let text = fs::read(&path).map_err(Error::reading(&path))?;
        let value: serde_json::Value = serde_json::from_slice(&text)
            .map_err(|error| unknown(format!("has a damaged {JOURNAL} ({error})")))?;
        if value["version"] != VERSION {
            return Err(unknown(format!(
                "has the {JOURNAL} of another version of electra-convert (format {}, this one reads \
                 {VERSION})",
                value["version"]
            )));
        }
        let journal: Self = serde_json::from_value(value)
            .map_err(|error| unknown(format!("has a {JOURNAL} that cannot be read ({error})")))?;
        let is_below = |path: &Path| path.components().all(|c| matches!(c, Component::Normal(_)));
        if !journal
            .old
            .iter()
            .chain(journal.new_paths())
            .all(|path| is_below(path))
        {
            return Err(unknown(format!("has a {JOURNAL} with paths outside of it")));
        }
        Ok(Some(journal))
    }

    fn new_paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.new.iter().map(|entry| &entry.path)
    }

    /// Moves all files, with a sync after each of the four steps. After an error some are moved.
    pub(super) fn move_all(&self, out: &Path, staging: &Path) -> Result<(), Error> {
        let [new, old] = [NEW, OLD].map(|root| staging.join(root));
        for weights in [true, false] {
            let files: Vec<&PathBuf> = of_kind(&self.old, weights).collect();
            for file in &files {
                move_file(&out.join(file), &old.join(file))?;
            }
            if !files.is_empty() {
                sync_folders(&old, files.iter().copied())?;
                sync_folders(out, files)?;
            }
        }
        for weights in [false, true] {
            let files: Vec<&PathBuf> = of_kind(self.new_paths(), weights).collect();
            for file in &files {
                move_file(&new.join(file), &out.join(file))?;
            }
            sync_folders(out, files)?;
        }
        Ok(())
    }

    /// Rolls back every move: the weights of the new export first, those of the earlier one last. May be
    /// repeated after an interruption.
    pub(super) fn roll_back(&self, out: &Path, staging: &Path) -> Result<(), Error> {
        let [new, old] = [NEW, OLD].map(|root| staging.join(root));
        let stranded = |path: PathBuf| {
            |source| Error::Stranded {
                path,
                kept: old.clone(),
                source,
            }
        };
        for Entry { path, identity } in self.new.iter().rev() {
            let target = out.join(path);
            let Some(found) = find(&target)? else {
                continue;
            };
            if Identity::of(&found).map_err(Error::writing(&target))? == *identity {
                rename_new(&target, &new.join(path)).map_err(stranded(target))?;
            }
        }
        for path in &self.old {
            let kept = old.join(path);
            if find(&kept)?.is_some() {
                let target = out.join(path);
                rename_new(&kept, &target).map_err(stranded(target))?;
            }
        }
        let files = self.old.iter().chain(self.new_paths());
        let is_there = |file: &&PathBuf| file.parent().is_some_and(|dir| out.join(dir).is_dir());
        sync_folders(out, files.filter(is_there))
    }

    fn progress(&self, out: &Path, staging: &Path) -> Result<Progress, Error> {
        let mut progress = Progress::Done;
        for path in self.new_paths() {
            if find(&staging.join(NEW).join(path))?.is_some() {
                return Ok(Progress::Begun);
            }
            if find(&out.join(path))?.is_none() {
                progress = Progress::Unclear;
            }
        }
        Ok(progress)
    }

    /// Removes the directories below `out` that are empty now that their files were moved.
    pub(super) fn remove_empty_folders(&self, out: &Path) {
        let files = self.old.iter().chain(self.new_paths());
        for folder in files.filter_map(|file| file.parent()) {
            // A directory with other files is not empty and stays.
            if folder != Path::new("") {
                let _ = fs::remove_dir(out.join(folder));
            }
        }
    }
}

fn is_weights(file: &Path) -> bool {
    file.ends_with(WEIGHTS_FILE)
}

fn of_kind<'a>(
    files: impl IntoIterator<Item = &'a PathBuf>,
    weights: bool,
) -> impl Iterator<Item = &'a PathBuf> {
    let files = files.into_iter();
    files.filter(move |file| is_weights(file) == weights)
}

/// Returns true if a killed conversion had moved none of its files, or all.
pub(super) fn is_done(out: &Path, staging: &Path) -> Result<bool, Error> {
    match Journal::read(staging)? {
        None => Ok(true),
        Some(journal) => Ok(matches!(journal.progress(out, staging)?, Progress::Done)),
    }
}

/// Rolls back the moves of a killed conversion, or removes the earlier files if its moves were complete;
/// then removes the staging directory.
pub(super) fn recover(out: &Path, staging: &Path) -> Result<(), Error> {
    if let Some(journal) = Journal::read(staging)? {
        let old = staging.join(OLD);
        let unknown = |what: &str| Error::UnknownJournal {
            staging: staging.to_owned(),
            what: what.to_owned(),
        };
        match journal.progress(out, staging)? {
            Progress::Done => journal.remove_empty_folders(out),
            Progress::Begun => {
                journal.roll_back(out, staging)?;
                if has_files(&old)? {
                    return Err(unknown("has files that its journal does not list"));
                }
                journal.remove_empty_folders(out);
            }
            Progress::Unclear if has_files(&old)? => {
                return Err(unknown(
                    "belongs to a conversion whose new files were moved or removed",
                ));
            }
            Progress::Unclear => {}
        }
    }
    remove(staging).map_err(Error::writing(staging))
}

/// Removes a staging directory: the files of the earlier export first and the journal after them, so that
/// an interrupted removal can be continued.
pub(super) fn remove(staging: &Path) -> io::Result<()> {
    let ignore_absence = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    };
    ignore_absence(fs::remove_dir_all(staging.join(OLD)))?;
    ignore_absence(fs::remove_file(staging.join(JOURNAL)))?;
    fs::remove_dir_all(staging)
}
