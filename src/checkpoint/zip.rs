//! A zip archive as a place that holds files, as Google publishes its models.
//!
//! A file in it has a path of its own, `electra_small.zip!/electra_small/vocab.txt`, so that finding a
//! checkpoint, and every error, goes as in a folder. A stored member is read in place. A deflated one
//! is inflated when it is first read, once, into an unnamed file in the folder for temporary files
//! ([`env::temp_dir`]), never into memory.
//!
//! An archive comes from a stranger: names that lead out of it, names that are there twice and members
//! that inflate to more than weights can are refused.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::{env, fmt};

use zip::{CompressionMethod, ZipArchive};

use super::Error;
use super::regular::{self, Kind, check_limit};
use super::source::{self, LocalFile, ReadAt, Storage};
use crate::threads::lock;

/// What follows the name of an archive in the path of a file in it.
const MARK: u8 = b'!';
/// The first bytes of an archive that is not empty.
const MAGIC: &[u8] = b"PK\x03\x04";
/// The most that a member may grow by inflating; weights shrink by less than half.
const MAX_RATIO: u64 = 200;
/// Members up to this size, in bytes, may grow by any ratio.
const ANY_RATIO_LEN: u64 = 1 << 20;
/// The bits of a mode that say what a file is, and two of their values (`sys/stat.h`).
const FILE_TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
/// Bytes inflated at a time.
const CHUNK_LEN: usize = 1 << 20;

/// An open archive.
pub(super) struct Archive {
    /// The archive's path and [`MARK`]: the folder around everything in it.
    root: PathBuf,
    path: PathBuf,
    zip: Arc<Mutex<ZipArchive<File>>>,
    file: Arc<LocalFile>,
    /// The files, by their path below the root.
    members: BTreeMap<PathBuf, Arc<Member>>,
    /// The folders, by their path below the root, which is the empty one.
    folders: BTreeSet<PathBuf>,
}

struct Member {
    index: usize,
    len: u64,
    compressed_len: u64,
    method: CompressionMethod,
    encrypted: bool,
    /// What it is, if it is not a regular file.
    special: Option<&'static str>,
    inflated: Mutex<Option<Arc<LocalFile>>>,
}

impl Archive {
    /// The archive that `path` leads to or into, with the path in it; `None` when it does not.
    pub(super) fn behind(path: &Path) -> Result<Option<(Self, PathBuf)>, Error> {
        let kind = |path: &Path| {
            let kind = regular::kind(path);
            kind.map_err(|source| Error::reading(path, source))
        };
        let kind_here = kind(path)?;
        if kind_here == Some(Kind::File) {
            if !is_zip(path).map_err(|source| Error::reading(path, source))? {
                return Ok(None);
            }
            let archive = Self::open(path)?;
            let root = archive.root.clone();
            return Ok(Some((archive, root)));
        }
        // Without a slash at its end.
        let path = path.components().as_path();
        for ancestor in path.ancestors() {
            let name = ancestor.as_os_str().as_bytes().strip_suffix(&[MARK]);
            let archive = name.map(|name| Path::new(OsStr::from_bytes(name)));
            if let Some(archive) = archive
                && kind_here.is_none()
                && kind(archive)? == Some(Kind::File)
            {
                return Ok(Some((Self::open(archive)?, path.to_owned())));
            }
        }
        Ok(None)
    }

    fn open(path: &Path) -> Result<Self, Error> {
        let io_error = |source| Error::reading(path, source);
        let damaged = |what: String| Error::Archive {
            path: path.to_owned(),
            what,
        };
        let file = regular::open(path).map_err(io_error)?;
        let again = file.try_clone().map_err(io_error)?;
        let file = LocalFile::new(file).map_err(io_error)?;
        let zip = ZipArchive::new(again).map_err(|error| damaged(error.to_string()))?;
        if zip.has_duplicate_names() {
            return Err(damaged("a name is in it twice".into()));
        }

        let mut members = BTreeMap::new();
        let mut folders = BTreeSet::from([PathBuf::new()]);
        for index in 0..zip.len() {
            let entry = zip
                .by_index_data(index)
                .map_err(|error| damaged(error.to_string()))?;
            let name = entry.name().map_err(|error| damaged(error.to_string()))?;
            let inside = inside(&name).ok_or_else(|| {
                damaged(format!(
                    "the name {name:?} in it leads elsewhere; unpack it by hand if you trust it"
                ))
            })?;
            // macOS packs what it knows of each file into files beside it.
            if inside.starts_with("__MACOSX") {
                continue;
            }
            if let Some(folder) = inside.parent() {
                folders.extend(folder.ancestors().map(Path::to_owned));
            }
            if entry.is_dir() {
                folders.insert(inside);
                continue;
            }
            let member = Member {
                index,
                len: entry.size(),
                compressed_len: entry.compressed_size(),
                method: entry.compression(),
                encrypted: entry.encrypted(),
                special: special(entry.unix_mode()),
                inflated: Mutex::default(),
            };
            if members.insert(inside, Arc::new(member)).is_some() {
                return Err(damaged(format!("the file {name:?} is in it twice")));
            }
        }
        if let Some(path) = members.keys().find(|path| folders.contains(*path)) {
            return Err(damaged(format!(
                "{:?} is in it as a file and as a directory",
                path.display().to_string()
            )));
        }
        let mut root = path.as_os_str().to_owned();
        root.push(OsStr::from_bytes(&[MARK]));
        Ok(Self {
            root: root.into(),
            path: path.to_owned(),
            zip: Arc::new(Mutex::new(zip)),
            file: Arc::new(file),
            members,
            folders,
        })
    }

    fn member(&self, path: &Path) -> io::Result<&Arc<Member>> {
        let inside = path.strip_prefix(&self.root);
        let member = inside.ok().and_then(|inside| self.members.get(inside));
        let member = member.ok_or(io::ErrorKind::NotFound)?;
        member.check()?;
        Ok(member)
    }
}

/// True when the file is an archive, by its name or by its first bytes.
fn is_zip(path: &Path) -> io::Result<bool> {
    let by_name = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("zip"));
    let start = source::start(&LocalFile::open(path)?)?;
    Ok(by_name || start.starts_with(MAGIC))
}

/// What a member is by the mode that the archive has of it, if it is not a regular file.
fn special(mode: Option<u32>) -> Option<&'static str> {
    match mode? & FILE_TYPE {
        0 | REGULAR => None,
        LINK => Some("a symbolic link"),
        _ => Some("a special file"),
    }
}

/// The path below the root that a name stands for; `None` when it leads out of the archive, or could
/// steer a terminal.
fn inside(name: &str) -> Option<PathBuf> {
    if name.contains(char::is_control) {
        return None;
    }
    let mut path = PathBuf::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::ParentDir => return None,
        }
    }
    Some(path)
}

impl Member {
    /// Refuses what cannot be read, and what is no honest file.
    fn check(&self) -> io::Result<()> {
        let unsupported = |what: String| Err(io::Error::new(io::ErrorKind::Unsupported, what));
        if let Some(what) = self.special {
            return unsupported(format!(
                "it is {what} in the archive, which is not followed; unpack the archive if you trust it"
            ));
        }
        if self.encrypted {
            return unsupported("it is encrypted; unpack the archive first".into());
        }
        match self.method {
            CompressionMethod::Stored | CompressionMethod::Deflated => {}
            other => {
                return unsupported(format!(
                    "it is compressed by {other}, which is not read here; unpack the archive first"
                ));
            }
        }
        let ratio = self.len / self.compressed_len.max(1);
        if self.len > ANY_RATIO_LEN && ratio > MAX_RATIO {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "{} bytes of it are said to inflate to {}, {ratio} times as many: no weights do",
                    self.compressed_len, self.len
                ),
            ));
        }
        Ok(())
    }
}

impl Storage for Archive {
    /// A link counts as a file, so that whoever needs it learns why it cannot be opened.
    fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
        let Ok(inside) = path.strip_prefix(&self.root) else {
            return Ok(None);
        };
        Ok(if self.members.contains_key(inside) {
            Some(Kind::File)
        } else {
            self.folders.contains(inside).then_some(Kind::Directory)
        })
    }

    fn file_names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        if self.kind(folder)? != Some(Kind::Directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let folder = folder.strip_prefix(&self.root).expect("a folder in it");
        let files = self.members.keys();
        Ok(files
            .filter(|path| path.parent() == Some(folder))
            .filter_map(|path| path.file_name().map(OsStr::to_owned))
            .collect())
    }

    fn folders(&self, folder: &Path) -> Vec<PathBuf> {
        let below = folder.strip_prefix(&self.root).unwrap_or(folder);
        self.folders
            .iter()
            .filter(|folder| folder.starts_with(below))
            .map(|folder| self.root.join(folder))
            .collect()
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
        let outdated = self.file.stamp().is_outdated(&self.path)?;
        Ok(outdated.then(|| self.path.clone()))
    }

    fn inflated_bytes(&self) -> Option<u64> {
        let inflated = self
            .members
            .values()
            .filter_map(|member| lock(&member.inflated).as_deref().map(ReadAt::len));
        Some(inflated.sum())
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        let member = self.member(path)?;
        if member.method == CompressionMethod::Deflated {
            return Ok(Arc::new(Deflated {
                zip: Arc::clone(&self.zip),
                member: Arc::clone(member),
            }));
        }
        let mut zip = lock(&self.zip);
        let data = zip.by_index(member.index).map_err(zip_error)?;
        let start = data.data_start().ok_or(io::ErrorKind::InvalidData)?;
        let end = start.checked_add(member.len);
        if member.len != member.compressed_len || end.is_none_or(|end| end > self.file.len()) {
            let what = "it is said to lie where the archive has no room for it";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Arc::new(Stored {
            file: Arc::clone(&self.file),
            start,
            len: member.len,
        }))
    }

    /// Checks the CRC-32 that the archive has of the file, and needs no temporary one.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let member = self.member(path)?;
        let len = check_limit(member.len, limit)?;
        let mut zip = lock(&self.zip);
        let data = zip.by_index(member.index).map_err(zip_error)?;
        let mut bytes = Vec::new();
        data.take(member.len.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(inflating)?;
        check_len(bytes.len() as u64, len as u64)?;
        Ok(bytes)
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Archive").field(&self.root).finish()
    }
}

fn zip_error(error: zip::result::ZipError) -> io::Error {
    match error {
        zip::result::ZipError::Io(error) => error,
        error => io::Error::new(io::ErrorKind::InvalidData, error.to_string()),
    }
}

/// What the decoder says of bytes that it cannot make sense of.
fn inflating(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            io::Error::new(io::ErrorKind::InvalidData, error)
        }
        _ => error,
    }
}

fn check_len(found: u64, expected: u64) -> io::Result<()> {
    if found == expected {
        return Ok(());
    }
    let what =
        format!("it inflates to another length than the {expected} bytes that it is said to");
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

/// A member that lies in the archive as it is.
#[derive(Debug)]
struct Stored {
    file: Arc<LocalFile>,
    start: u64,
    len: u64,
}

impl ReadAt for Stored {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.read_exact_at(buf, self.start + offset)
    }
}

/// A member that is inflated when it is first read.
struct Deflated {
    zip: Arc<Mutex<ZipArchive<File>>>,
    member: Arc<Member>,
}

impl Deflated {
    fn inflated(&self) -> io::Result<Arc<LocalFile>> {
        let mut inflated = lock(&self.member.inflated);
        if let Some(file) = &*inflated {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(self.inflate()?);
        *inflated = Some(Arc::clone(&file));
        Ok(file)
    }

    fn inflate(&self) -> io::Result<LocalFile> {
        let folder = env::temp_dir();
        let needs = self.member.len;
        let full = |has: String| {
            let what = format!(
                "it takes {needs} bytes to inflate, {} has {has}; \
                 let TMPDIR name a folder with more room",
                folder.display()
            );
            io::Error::new(io::ErrorKind::StorageFull, what)
        };
        let file = tempfile::tempfile_in(&folder).map_err(|error| {
            let what = format!("no temporary file in {}: {error}", folder.display());
            io::Error::new(error.kind(), what)
        })?;
        if let Ok(room) = rustix::fs::fstatvfs(&file) {
            let free = room.f_bavail.saturating_mul(room.f_frsize);
            if free < needs {
                return Err(full(format!("{free} free")));
            }
        }
        let mut zip = lock(&self.zip);
        let data = zip.by_index(self.member.index).map_err(zip_error)?;
        let mut target = io::BufWriter::with_capacity(CHUNK_LEN, &file);
        let copied = io::copy(&mut data.take(needs.saturating_add(1)), &mut target)
            .and_then(|copied| target.flush().map(|()| copied))
            .map_err(|error| match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => full("too few".into()),
                _ => inflating(error),
            })?;
        check_len(copied, needs)?;
        drop(target);
        LocalFile::new(file)
    }
}

impl ReadAt for Deflated {
    fn len(&self) -> u64 {
        self.member.len
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.inflated()?.read_exact_at(buf, offset)
    }

    /// Inflates as far as the bytes reach, and keeps nothing.
    fn read_once(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if let Some(file) = &*lock(&self.member.inflated) {
            return file.read_exact_at(buf, offset);
        }
        let mut zip = lock(&self.zip);
        let mut data = zip.by_index(self.member.index).map_err(zip_error)?;
        let skipped = io::copy(&mut data.by_ref().take(offset), &mut io::sink());
        if skipped.map_err(inflating)? < offset {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        data.read_exact(buf).map_err(inflating)
    }
}

impl fmt::Debug for Deflated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Deflated").field(&self.member.index).finish()
    }
}
