//! The journal: which files publishing moves, so that the next conversion can finish or undo what a
//! killed one began.
//!
//! It is written under another name, synced and renamed before the first move, so a journal of this
//! version is always complete. A journal that cannot be parsed was written by another version or is
//! damaged. Then nothing is known of the files around it: they stay, and the error says where.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::{find, has_files, move_file, rename_new, sync, sync_folders};
use super::{Error, NEW, OLD};
use crate::export::files::{WEIGHTS_FILE, write_text};

const JOURNAL: &str = "journal.json";
/// The name until it is complete.
const PARTIAL: &str = "journal.json.partial";
/// Changes whenever the meaning of a field, or of a file beside the journal, does.
const VERSION: u32 = 2;
/// The longest journal read, in bytes.
const MAX_LEN: u64 = 1 << 20;

/// What publishing moves. Weights come last in both lists.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    version: u32,
    /// Files of the earlier export, below OUT, moved into the staging directory.
    old: Vec<PathBuf>,
    /// Files of the new export, moved out of it.
    new: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Below OUT.
    path: PathBuf,
    identity: Identity,
}

/// What tells a file from another one that has taken its place; a move does not change it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

/// How far a conversion came.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    /// Some file was not moved to its place.
    Begun,
    /// All files are at their places.
    Done,
    /// A file is neither staged nor at its place: somebody else moved it.
    Unclear,
}

impl Journal {
    /// Records the moves and syncs them; the files in `new` are staged in `hidden`.
    pub(super) fn write(
        hidden: &Path,
        mut new: Vec<PathBuf>,
        mut old: Vec<PathBuf>,
    ) -> Result<Self, Error> {
        for files in [&mut new, &mut old] {
            files.sort_by_key(|file| is_weights(file));
        }
        sync_folders(&hidden.join(NEW), &new)?;
        let entry = |path: PathBuf| {
            let staged = hidden.join(NEW).join(&path);
            let metadata = fs::symlink_metadata(&staged).map_err(Error::writing(&staged))?;
            Ok(Entry {
                path,
                identity: Identity::of(&metadata),
            })
        };
        let journal = Self {
            version: VERSION,
            old,
            new: new.into_iter().map(entry).collect::<Result<_, Error>>()?,
        };
        let text = serde_json::to_string(&journal).expect("plain data");
        let partial = hidden.join(PARTIAL);
        write_text(&text, &partial)?;
        move_file(&partial, &hidden.join(JOURNAL))?;
        sync(hidden)?;
        Ok(journal)
    }

    /// Reads the journal of a killed conversion; `None` where nothing was moved yet.
    fn read(hidden: &Path) -> Result<Option<Self>, Error> {
        let path = hidden.join(JOURNAL);
        let unknown = |what: String| Error::UnknownJournal {
            hidden: hidden.to_owned(),
            what,
        };
        let Some(found) = find(&path)? else {
            if has_files(&hidden.join(OLD))? {
                return Err(unknown(format!("has no {JOURNAL}")));
            }
            return Ok(None);
        };
        if !found.is_file() || found.len() > MAX_LEN {
            return Err(unknown(format!(
                "has a {JOURNAL} that is not a file of up to {MAX_LEN} bytes"
            )));
        }
        let text = fs::read(&path).map_err(Error::writing(&path))?;
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

    /// Makes all moves, with a sync after each of the four steps. Where one fails, some are made.
    pub(super) fn move_all(&self, out: &Path, hidden: &Path) -> Result<(), Error> {
        let [new, old] = [NEW, OLD].map(|root| hidden.join(root));
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

    /// Takes every move back: the weights of the new export first, those of the old one last. Can be
    /// repeated when it was interrupted.
    pub(super) fn undo(&self, out: &Path, hidden: &Path) -> Result<(), Error> {
        let [new, old] = [NEW, OLD].map(|root| hidden.join(root));
        let stranded = |path: PathBuf| {
            |source| Error::Stranded {
                path,
                kept: old.clone(),
                source,
            }
        };
        for Entry { path, identity } in self.new.iter().rev() {
            let target = out.join(path);
            if find(&target)?.is_some_and(|found| Identity::of(&found) == *identity) {
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

    fn progress(&self, out: &Path, hidden: &Path) -> Result<Progress, Error> {
        let mut progress = Progress::Done;
        for path in self.new_paths() {
            if find(&hidden.join(NEW).join(path))?.is_some() {
                return Ok(Progress::Begun);
            }
            if find(&out.join(path))?.is_none() {
                progress = Progress::Unclear;
            }
        }
        Ok(progress)
    }

    /// Removes the directories below OUT that only held files of an export that is gone.
    pub(super) fn remove_empty_folders(&self, out: &Path) {
        let files = self.old.iter().chain(self.new_paths());
        for folder in files.filter_map(|file| file.parent()) {
            // OUT itself is not below OUT. A directory with other files is not empty.
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

/// Undoes what a killed conversion began, or removes what a complete one left.
pub(super) fn recover(out: &Path, hidden: &Path) -> Result<(), Error> {
    if let Some(journal) = Journal::read(hidden)? {
        let old = hidden.join(OLD);
        let unknown = |what: &str| Error::UnknownJournal {
            hidden: hidden.to_owned(),
            what: what.to_owned(),
        };
        match journal.progress(out, hidden)? {
            Progress::Done => journal.remove_empty_folders(out),
            Progress::Begun => {
                journal.undo(out, hidden)?;
                if has_files(&old)? {
                    return Err(unknown("has files that its journal does not list"));
                }
                journal.remove_empty_folders(out);
            }
            Progress::Unclear if has_files(&old)? => {
                return Err(unknown(
                    "is of a conversion whose new files were moved or removed",
                ));
            }
            Progress::Unclear => {}
        }
    }
    remove(hidden).map_err(Error::writing(hidden))
}

/// Removes a staging directory from which nothing is needed: saved files first and the journal after
/// them, so that a removal that is interrupted can be continued.
pub(super) fn remove(hidden: &Path) -> std::io::Result<()> {
    let ignore_absence = |result: std::io::Result<()>| match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result,
    };
    ignore_absence(fs::remove_dir_all(hidden.join(OLD)))?;
    ignore_absence(fs::remove_file(hidden.join(JOURNAL)))?;
    fs::remove_dir_all(hidden)
}
