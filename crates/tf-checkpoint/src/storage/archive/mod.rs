//! An archive as a [`Storage`]: zip, tar, or tar compressed with gzip.
//!
//! A member has a path below the archive, `small.zip!/small/model.ckpt.index`, so that searching for
//! checkpoints and reporting errors work as in a directory. A module for each format lists the entries
//! ([`packed`]); the [`tree`] of names and reading a [`member`] in place or from a temporary file are the
//! same for all.
//!
//! An archive is not trusted: names that lead out of it or occur twice are errors, and so are members
//! that share bytes or inflate to more than [`Limits`] allow.

mod format;
mod inflation;
mod member;
mod packed;
pub(crate) mod tar;
mod tree;
pub(crate) mod zip;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use self::inflation::Inflation;
use self::member::Member;
use self::tree::Tree;
use crate::error::Error;
use crate::formats::ArchiveFormat;
use crate::limits::Limits;
use crate::storage::regular::Kind;
use crate::storage::{ReadAt, Storage};
use crate::sys;

/// The text between the name of an archive and the path of a member.
const MARK: &str = "!";

/// An open archive.
pub(crate) struct Archive {
    /// The archive's path and [`MARK`]: the directory that holds all members.
    root: PathBuf,
    path: PathBuf,
    /// The storage that holds the archive.
    holder: Arc<dyn Storage>,
    format: ArchiveFormat,
    tree: Tree,
    /// The number of bytes that were inflated to list the members.
    inflated: u64,
}

impl Archive {
    /// Opens the archive that `path` leads to or into and returns it with the path in it; `None` if there
    /// is no archive.
    pub(crate) fn behind(
        holder: &Arc<dyn Storage>,
        path: &Path,
        limits: &Limits,
    ) -> Result<Option<(Self, PathBuf)>, Error> {
        let kind = |path: &Path| {
            let kind = holder.kind(path);
            kind.map_err(|source| Error::reading(path, source))
        };
        let format = |path: &Path| {
            let format = ArchiveFormat::of(holder.as_ref(), path);
            format.map_err(|source| Error::reading(path, source))
        };
        let kind_here = kind(path)?;
        if kind_here == Some(Kind::File) {
            let Some(format) = format(path)? else {
                return Ok(None);
            };
            let archive = Self::open(holder, path, format, limits)?;
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
                // A zip archive may begin with other bytes: a program that unpacks it.
                let format = format(&archive)?.unwrap_or(ArchiveFormat::Zip);
                let opened = Self::open(holder, &archive, format, limits)?;
                return Ok(Some((opened, path.to_owned())));
            }
        }
        Ok(None)
    }

    fn open(
        holder: &Arc<dyn Storage>,
        path: &Path,
        format: ArchiveFormat,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let io_error = |source| Error::reading(path, source);
        let file = holder.open(path).map_err(io_error)?;
        let mut budget = limits.budget(file.len());
        let inflation = Arc::new(Inflation::new(limits, file.len()));
        let listing = match format {
            ArchiveFormat::Zip => zip::list(&file, &inflation, &mut budget),
            ArchiveFormat::Tar => tar::list(&file, &inflation, &mut budget),
            ArchiveFormat::TarGz => tar::list_gzipped(&file, &inflation, &mut budget),
        };
        let listing = listing.map_err(io_error)?;
        let inflated = listing.inflated;
        let tree = Tree::new(path, listing, &mut budget)?;
        let mut root = path.as_os_str().to_owned();
        root.push(MARK);
        Ok(Self {
            root: root.into(),
            path: path.to_owned(),
            holder: Arc::clone(holder),
            format,
            tree,
            inflated,
        })
    }

    fn member(&self, path: &Path) -> Option<&Arc<Member>> {
        self.tree.member(path.strip_prefix(&self.root).ok()?)
    }
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
            self.tree.is_folder(inside).then_some(Kind::Directory)
        })
    }

    fn file_names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        if self.kind(folder)? != Some(Kind::Directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = folder.strip_prefix(&self.root).unwrap_or(folder);
        Ok(self.tree.names(inside).cloned().collect())
    }

    fn folders(&self, folder: &Path) -> Vec<PathBuf> {
        let inside = folder.strip_prefix(&self.root).unwrap_or(folder);
        let below = self.tree.inhabited(inside);
        let below = below.map(|below| self.root.join(below));
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
        self.holder.changed(&|path| path == self.path)
    }

    fn is_remote(&self) -> bool {
        self.holder.is_remote()
    }

    fn fetched_bytes(&self) -> Option<u64> {
        self.holder.fetched_bytes()
    }

    fn cancel(&self) {
        self.holder.cancel();
    }

    fn archive(&self) -> Option<ArchiveFormat> {
        Some(self.format)
    }

    fn inflated_bytes(&self) -> Option<u64> {
        let members = self.tree.members();
        let of_members: u64 = members.filter_map(|member| member.inflated_len()).sum();
        Some(self.inflated + of_members)
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
