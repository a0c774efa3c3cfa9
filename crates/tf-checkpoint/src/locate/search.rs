//! The rules by which a path selects one checkpoint of a storage.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::Path;

use super::finder::{Finder, listed};
use super::location::Location;
use super::missing;
use super::prefix::Prefix;
use super::state_file::{self, STATE_FILE, StatePaths};
use crate::address;
use crate::error::Error;
use crate::storage::regular::Kind;

impl Finder {
    /// Finds the checkpoint at `path`; `step` selects one of several.
    pub(super) fn locate(&self, path: &Path, step: Option<u64>) -> Result<Location, Error> {
        let kind = self.kind(path)?;
        if kind == Some(Kind::Directory) {
            return self.below(path, step);
        }
        if path.file_name() == Some(OsStr::new(STATE_FILE)) && kind.is_some() {
            return self.in_folder(Prefix::of(path).directory(), step);
        }
        let prefix = Prefix::of(path);
        let exact = match self.at(&prefix)? {
            None => self.saved_model_around(path)?,
            exact => exact,
        };
        let Some(step) = step else {
            return exact.ok_or_else(|| self.not_found(path));
        };
        if let Some(location) = exact.filter(|location| location.step_in_name() == Some(step)) {
            return Ok(location);
        }
        // Step 400 of `model.ckpt` is `model.ckpt-400`.
        self.at(&prefix.extended(&format!("-{step}")))?
            .ok_or_else(|| self.no_step(path, step, prefix.directory()))
    }

    /// Searches a directory and, in an archive, the directories below it.
    fn below(&self, folder: &Path, step: Option<u64>) -> Result<Location, Error> {
        let folders = self.folders(folder)?;
        if let [folder] = &folders[..] {
            return self.in_folder(folder, step);
        }
        let mut inhabited = Vec::new();
        // A SavedModel is found from its own directory, and from those above and below it.
        let mut known = HashSet::new();
        for folder in folders {
            let mut found = self.all_in(&folder)?;
            found.retain(|location| known.insert(location.prefix().to_owned()));
            if !found.is_empty() {
                inhabited.push((folder, found));
            }
        }
        if inhabited.len() < 2 {
            let only = inhabited.pop();
            return self.in_folder(only.as_ref().map_or(folder, |(folder, _)| folder), step);
        }
        let found = inhabited.into_iter().flat_map(|(_, found)| found);
        let is_meant = |at: &Location| step.is_none_or(|_| at.step_in_name() == step);
        let mut found: Vec<Location> = found.filter(is_meant).collect();
        match found.len() {
            0 => Err(self.no_step(folder, step.unwrap_or_default(), folder)),
            1 => Ok(found.remove(0)),
            _ => Err(Error::Ambiguous {
                path: folder.to_owned(),
                names: listed(&found, |at| at.prefix().display().to_string()),
            }),
        }
    }

    /// Selects one of the checkpoints in a directory.
    fn in_folder(&self, folder: &Path, step: Option<u64>) -> Result<Location, Error> {
        if step.is_none()
            && let Some(latest) = self.latest(folder)?
        {
            return Ok(latest);
        }
        let mut found = self.all_in(folder)?;
        found.retain(|location| step.is_none_or(|_| location.step_in_name() == step));
        match (found.len(), step) {
            (0, Some(step)) => Err(self.no_step(folder, step, folder)),
            (0, None) => match self.saved_model_around(folder)? {
                Some(location) => Ok(location),
                None => Err(self.not_found(folder)),
            },
            (1, _) => Ok(found.remove(0)),
            _ => Err(Error::Ambiguous {
                path: folder.to_owned(),
                names: listed(&found, |at| at.name_from(folder)),
            }),
        }
    }

    /// Returns the checkpoint that a directory's state file names; `None` if there is no state file.
    fn latest(&self, folder: &Path) -> Result<Option<Location>, Error> {
        let listing = || self.listing(folder);
        let Some(text) = state_file::latest(self.storage.as_ref(), folder, listing)? else {
            return Ok(None);
        };
        let listed = StatePaths::new(&text, folder);
        for inside in &listed.inside {
            let prefix = Prefix::within(folder, inside.as_os_str());
            if let Some(location) = self.at(&prefix)? {
                return Ok(Some(location));
            }
        }
        for inside in &listed.inside {
            let prefix = Prefix::within(folder, inside.as_os_str());
            if self.kind(prefix.path())? != Some(Kind::Directory)
                && let Some(error) = missing::recognised(self, prefix.path())?
            {
                return Err(error);
            }
        }
        let outside = listed.outside.filter(|outside| {
            // An I/O error is not treated as absence.
            let found = self.storage.plain_path(outside);
            found.is_some_and(|path| !matches!(self.at(&Prefix::of(&path)), Ok(None)))
        });
        let found = match &outside {
            Some(outside) => format!(
                "its `{STATE_FILE}` file names {text}, which is outside of the directory and is not \
                 followed; to read that checkpoint, give the path {}",
                address::quoted(outside.as_os_str())
            ),
            None => format!(
                "its `{STATE_FILE}` file names {text}, which is not there; {}",
                self.listing(folder)
            ),
        };
        Err(Error::NotFound {
            path: folder.to_owned(),
            found,
            checkpoint: outside,
        })
    }

    fn no_step(&self, path: &Path, step: u64, folder: &Path) -> Error {
        Error::NotFound {
            path: path.to_owned(),
            found: format!("there is no step {step}; {}", self.listing(folder)),
            checkpoint: None,
        }
    }

    /// Returns the error for a path without a checkpoint.
    fn not_found(&self, path: &Path) -> Error {
        missing::explain(self, path).unwrap_or_else(|error| error)
    }
}
