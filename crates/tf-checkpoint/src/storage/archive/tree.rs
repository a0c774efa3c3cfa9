//! The names in an archive, as a tree of directories.
//!
//! Files are kept by directory, so that listing takes time in proportion to the files listed.
//! Directories that hold only directories are not kept, because one name of 64 KiB can have 32,000 of
//! them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Bound;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::member::Member;
use super::packed::Listing;
use crate::error::Error;
use crate::limits::Budget;
use crate::sys;

/// The files of a directory, by name.
type Files = BTreeMap<OsString, Arc<Member>>;

/// The files of an archive.
pub(super) struct Tree {
    /// The directories that hold files or have an entry of their own, by their path in the archive; the
    /// root has the empty path. The order is such that the contents of a directory follow it.
    folders: BTreeMap<PathBuf, Files>,
}

impl Tree {
    /// Builds the tree of the archive at `path`.
    pub(super) fn new(path: &Path, listing: Listing, budget: &mut Budget) -> Result<Self, Error> {
        let damaged = |what: String| Error::Archive {
            path: path.to_owned(),
            what,
        };
        let mut folders = BTreeMap::from([(PathBuf::new(), Files::new())]);
        for listed in listing.entries {
            let inside = inside(&listed.name).ok_or_else(|| {
                let name = String::from_utf8_lossy(&listed.name);
                damaged(format!(
                    "the path {name:?} of an entry leads out of the archive; unpack it by hand if you \
                     trust it"
                ))
            })?;
            // macOS stores the metadata of each file in a file beside it.
            if inside.starts_with("__MACOSX") {
                continue;
            }
            // For the path of a directory and the name of a file, each with its node in a tree.
            let member_size = size_of::<Member>() + listing.member_size;
            budget
                .take(2 * listed.name.len() + size_of::<(PathBuf, Files)>() + member_size)
                .map_err(|error| Error::too_dense(path, error))?;
            let Some(packed) = listed.member else {
                folders.entry(inside).or_default();
                continue;
            };
            let (Some(folder), Some(name)) = (inside.parent(), inside.file_name()) else {
                return Err(damaged("an entry has no name".into()));
            };
            let name = name.to_owned();
            let member = Arc::new(Member::new(packed));
            let files = match folders.get_mut(folder) {
                Some(files) => files,
                None => folders.entry(folder.to_owned()).or_default(),
            };
            if files.insert(name, member).is_some() {
                let path = inside.display().to_string();
                return Err(damaged(format!("the file {path:?} is in it twice")));
            }
        }
        let tree = Self { folders };
        match tree.file_with_files_below() {
            Some(file) => Err(damaged(format!(
                "{:?} is in it as a file and as a directory",
                file.display().to_string()
            ))),
            None => Ok(tree),
        }
    }

    /// Returns a file whose path is also the path of a directory.
    fn file_with_files_below(&self) -> Option<PathBuf> {
        let files = self.folders.iter().flat_map(|(folder, files)| {
            let names = files.keys();
            names.map(|name| folder.join(name))
        });
        files.into_iter().find(|file| self.is_folder(file))
    }

    pub(super) fn member(&self, path: &Path) -> Option<&Arc<Member>> {
        self.folders.get(path.parent()?)?.get(path.file_name()?)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.folders.values().flat_map(BTreeMap::values)
    }

    pub(super) fn is_folder(&self, path: &Path) -> bool {
        self.at_and_below(path).next().is_some()
    }

    /// Returns the names of the files in a directory.
    pub(super) fn names(&self, folder: &Path) -> impl Iterator<Item = &OsString> {
        let files = self.folders.get(folder);
        files.into_iter().flat_map(BTreeMap::keys)
    }

    /// Returns the directories at and below `path` that hold files.
    pub(super) fn inhabited<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a PathBuf> {
        self.at_and_below(path)
            .filter(|(_, files)| !files.is_empty())
            .map(|(folder, _)| folder)
    }

    /// Returns the directories at and below `path`.
    fn at_and_below<'a>(
        &'a self,
        path: &'a Path,
    ) -> impl Iterator<Item = (&'a PathBuf, &'a Files)> {
        // The order of paths is that of their components.
        self.folders
            .range::<Path, _>((Bound::Included(path), Bound::Unbounded))
            .take_while(move |(folder, _)| folder.starts_with(path))
    }
}

/// Returns the path in the archive for the name of an entry; `None` if it leads out of the archive or
/// contains control characters, which could act on a terminal.
fn inside(name: &[u8]) -> Option<PathBuf> {
    if String::from_utf8_lossy(name).contains(char::is_control) {
        return None;
    }
    let mut path = PathBuf::with_capacity(name.len());
    for component in Path::new(&sys::os_string(name)).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::ParentDir => return None,
        }
    }
    Some(path)
}
