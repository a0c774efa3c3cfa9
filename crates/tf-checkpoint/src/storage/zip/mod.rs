//! A zip archive as a [`Storage`]; Google publishes its models in this format.
//!
//! A member has a path below the archive, `small.zip!/small/model.ckpt.index`, so that searching for
//! checkpoints and reporting errors work as in a directory. The [`directory`] lists the members; a
//! [`member`] is read in place or inflated.
//!
//! An archive is not trusted: names that lead out of it or occur twice are errors, and so are members
//! that share bytes or inflate to more than [`Limits`] allow. Files are kept by directory, so that
//! listing takes time in proportion to the files listed. Directories that hold only directories are not
//! kept, because one name of 64 KiB can have 32,000 of them.

mod directory;
mod member;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::ops::Bound;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use crate::error::Error;
use crate::limits::Limits;
use crate::storage::regular::{self, Kind};
use crate::storage::{LocalFile, ReadAt, Storage};
use crate::sys;

use self::member::{Inflation, Member};

/// The text between the name of an archive and the path of a member.
const MARK: &str = "!";
/// The first bytes of an archive that is not empty.
const MAGIC: &[u8] = b"PK\x03\x04";

/// The files of a directory, by name.
type Files = BTreeMap<OsString, Arc<Member>>;

/// An open archive.
pub(crate) struct Archive {
    /// The archive's path and [`MARK`]: the directory that holds all members.
    root: PathBuf,
    path: PathBuf,
    file: Arc<LocalFile>,
    /// The directories that hold files or have a record of their own, by their path below the root; the
    /// root has the empty path. The order is such that the contents of a directory follow it.
    folders: BTreeMap<PathBuf, Files>,
}

impl Archive {
    /// Opens the archive that `path` leads to or into and returns it with the path in it; `None` if there
    /// is no archive.
    pub(crate) fn behind(path: &Path, limits: &Limits) -> Result<Option<(Self, PathBuf)>, Error> {
        let kind = |path: &Path| {
            let kind = regular::kind(path);
            kind.map_err(|source| Error::reading(path, source))
        };
        let kind_here = kind(path)?;
        if kind_here == Some(Kind::File) {
            if !is_zip(path).map_err(|source| Error::reading(path, source))? {
                return Ok(None);
            }
            let archive = Self::open(path, limits)?;
            let root = archive.root.clone();
            return Ok(Some((archive, root)));
        }
        // Without a slash at its end.
        let path = path.components().as_path();
        for ancestor in path.ancestors() {
            let name = ancestor.as_os_str().as_encoded_bytes();
            let archive = name.strip_suffix(MARK.as_bytes()).map(sys::os_string);
            if let Some(archive) = archive.map(PathBuf::from)
                && kind_here.is_none()
                && kind(&archive)? == Some(Kind::File)
            {
                return Ok(Some((Self::open(&archive, limits)?, path.to_owned())));
            }
        }
        Ok(None)
    }

    fn open(path: &Path, limits: &Limits) -> Result<Self, Error> {
        let io_error = |source| Error::reading(path, source);
        let damaged = |what: String| Error::Archive {
            path: path.to_owned(),
            what,
        };
        let file = Arc::new(LocalFile::open(path).map_err(io_error)?);
        let mut budget = limits.budget(file.len());
        let records = directory::read(&file, &mut budget).map_err(io_error)?;
        let inflation = Arc::new(Inflation::new(limits, file.len()));

        let mut folders = BTreeMap::from([(PathBuf::new(), Files::new())]);
        for record in records {
            let inside = inside(&record.name).ok_or_else(|| {
                let name = String::from_utf8_lossy(&record.name);
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
            budget
                .take(2 * record.name.len() + size_of::<(PathBuf, Files)>() + size_of::<Member>())
                .map_err(|error| Error::too_dense(path, error))?;
            if record.is_folder() {
                folders.entry(inside).or_default();
                continue;
            }
            let (Some(folder), Some(name)) = (inside.parent(), inside.file_name()) else {
                return Err(damaged("an entry has no name".into()));
            };
            let name = name.to_owned();
            let member = Arc::new(Member::new(record, &file, &inflation));
            let files = match folders.get_mut(folder) {
                Some(files) => files,
                None => folders.entry(folder.to_owned()).or_default(),
            };
            if files.insert(name, member).is_some() {
                let path = inside.display().to_string();
                return Err(damaged(format!("the file {path:?} is in it twice")));
            }
        }
        let mut root = path.as_os_str().to_owned();
        root.push(MARK);
        let archive = Self {
            root: root.into(),
            path: path.to_owned(),
            file,
            folders,
        };
        match archive.file_with_files_below() {
            Some(file) => Err(damaged(format!(
                "{:?} is in it as a file and as a directory",
                file.display().to_string()
            ))),
            None => Ok(archive),
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

    fn member(&self, path: &Path) -> Option<&Arc<Member>> {
        let inside = path.strip_prefix(&self.root).ok()?;
        let files = self.folders.get(inside.parent()?)?;
        files.get(inside.file_name()?)
    }

    /// Returns true for a directory; `path` is without the root.
    fn is_folder(&self, path: &Path) -> bool {
        self.at_and_below(path).next().is_some()
    }

    /// Returns the directories at and below `path`, which is without the root.
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

/// Returns true if the file is an archive by its name or by its first bytes.
fn is_zip(path: &Path) -> io::Result<bool> {
    let by_name = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("zip"));
    let start = crate::foreign::start(&LocalFile::open(path)?)?;
    Ok(by_name || start.starts_with(MAGIC))
}

/// Returns the path below the root for the name of a member; `None` if it leads out of the archive or
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

impl Storage for Archive {
    /// A link counts as a file, so that opening it reports why it is not followed.
    fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
        let Ok(inside) = path.strip_prefix(&self.root) else {
            return Ok(None);
        };
        Ok(if self.member(path).is_some() {
            Some(Kind::File)
        } else {
            self.is_folder(inside).then_some(Kind::Directory)
        })
    }

    fn file_names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        if self.kind(folder)? != Some(Kind::Directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = folder.strip_prefix(&self.root).unwrap_or(folder);
        let files = self
            .folders
            .get(inside)
            .into_iter()
            .flat_map(BTreeMap::keys);
        Ok(files.cloned().collect())
    }

    fn folders(&self, folder: &Path) -> Vec<PathBuf> {
        let inside = folder.strip_prefix(&self.root).unwrap_or(folder);
        let with_files = self
            .at_and_below(inside)
            .filter(|(_, files)| !files.is_empty());
        let below = with_files.map(|(below, _)| self.root.join(below));
        // The directory itself comes first and is listed even if it holds no files.
        let all: BTreeSet<PathBuf> = std::iter::once(folder.to_owned()).chain(below).collect();
        all.into_iter().collect()
    }

    fn plain_path(&self, path: &Path) -> Option<PathBuf> {
        let mut plain = PathBuf::new();
        for component in path.strip_prefix(&self.root).ok()?.components() {
            match component {
                Component::Normal(part) => plain.push(part),
                Component::ParentDir if plain.pop() => {}
                Component::CurDir => {}
                _ => return None,
            }
        }
        Some(self.root.join(plain))
    }

    fn above(&self, folder: &Path) -> Option<PathBuf> {
        let above = folder.parent()?;
        above.starts_with(&self.root).then(|| above.to_owned())
    }

    fn changed(&self, _: &dyn Fn(&Path) -> bool) -> Result<Option<PathBuf>, Error> {
        let outdated = self.file.stamp().is_outdated(&self.path);
        let outdated = outdated.map_err(|source| Error::reading(&self.path, source))?;
        Ok(outdated.then(|| self.path.clone()))
    }

    fn inflated_bytes(&self) -> Option<u64> {
        let members = self.folders.values().flat_map(BTreeMap::values);
        Some(members.filter_map(|member| member.inflated_len()).sum())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        let member = self.member(path).ok_or(io::ErrorKind::NotFound)?;
        Member::open(member)
    }

    /// Reads into memory without a temporary file, and checks the member's CRC-32.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let member = self.member(path).ok_or(io::ErrorKind::NotFound)?;
        member.read(limit)
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Archive").field(&self.root).finish()
    }
}
