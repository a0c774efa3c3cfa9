//! A bucket, container or web server as a [`Storage`].
//!
//! Paths are URLs without their query: `gs://bucket/run/model.ckpt-400`. Joining and splitting them works as for other
//! paths.

use std::ffi::OsString;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use remote_files::{Address, Bucket, Entry, RemoteFile};

use super::read_at::ReadAt;
use super::regular::{Kind, check_limit};
use super::{Storage, Use};
use crate::address;
use crate::error::Error;

/// A bucket, container or web server.
#[derive(Debug)]
pub(super) struct BucketStorage {
    /// The URL of the bucket, without a slash at its end.
    root: String,
    bucket: Bucket,
}

impl BucketStorage {
    /// Connects to the bucket of a URL and returns it with the path in it; `None` for other paths.
    pub(super) fn of(path: &Path, given_as: Use) -> Option<Result<(Self, PathBuf), Error>> {
        if given_as == Use::Output {
            return None;
        }
        let address = match Address::parse(path.to_str()?)? {
            Ok(address) => address,
            Err(error) => return Some(Err(address::unusable(error))),
        };
        let path = PathBuf::from(address.to_string());
        let bucket = match Bucket::open(&address) {
            Ok(bucket) => bucket,
            Err(source) => return Some(Err(Error::reading(&path, source))),
        };
        let root = address.root().to_owned();
        Some(Ok((Self { root, bucket }, path)))
    }

    /// Returns the path in the bucket; `None` for a path elsewhere.
    fn inside(&self, path: &Path) -> Option<String> {
        let text = path.to_str()?;
        // Components that are joined again lose one of the two slashes.
        let below = match text.strip_prefix(&self.root[..]) {
            Some(below) => below,
            None => text.strip_prefix(&self.root.replacen("://", ":/", 1)[..])?,
        };
        let mut plain: Vec<&str> = Vec::new();
        for part in below.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    plain.pop()?;
                }
                part => plain.push(part),
            }
        }
        let is_below = below.is_empty() || below.starts_with('/');
        is_below.then(|| plain.join("/"))
    }

    fn path_of(&self, inside: &str) -> PathBuf {
        match inside {
            "" => PathBuf::from(&self.root),
            inside => PathBuf::from(format!("{}/{inside}", self.root)),
        }
    }

    fn file(&self, path: &Path) -> io::Result<RemoteFile> {
        let inside = self.inside(path).ok_or(io::ErrorKind::NotFound)?;
        self.bucket.file(&inside)
    }
}

impl Storage for BucketStorage {
    fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
        let Some(inside) = self.inside(path) else {
            return Ok(None);
        };
        Ok(self.bucket.entry(&inside)?.map(|entry| match entry {
            Entry::File(_) => Kind::File,
            Entry::Directory => Kind::Directory,
        }))
    }

    fn file_names(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        let inside = self.inside(folder).ok_or(io::ErrorKind::NotFound)?;
        let names = self.bucket.names(&inside)?;
        Ok(names.into_iter().map(OsString::from).collect())
    }

    fn lists_directories(&self) -> bool {
        self.bucket.lists_directories()
    }

    fn plain_path(&self, path: &Path) -> Option<PathBuf> {
        Some(self.path_of(&self.inside(path)?))
    }

    fn above(&self, folder: &Path) -> Option<PathBuf> {
        let inside = self.inside(folder).filter(|inside| !inside.is_empty())?;
        let above = inside.rsplit_once('/').map_or("", |(above, _)| above);
        Some(self.path_of(above))
    }

    fn changed(&self, is_part: &dyn Fn(&Path) -> bool) -> Result<Option<PathBuf>, Error> {
        let changed = self.bucket.changed(|inside| is_part(&self.path_of(inside)));
        let root = Path::new(&self.root);
        let changed = changed.map_err(|source| Error::reading(root, source))?;
        Ok(changed.map(|inside| self.path_of(&inside)))
    }

    fn reopened(&self, path: &Path) -> Option<Result<Arc<dyn Storage>, Error>> {
        let address = match Address::parse(path.to_str()?)? {
            Ok(address) => address,
            Err(error) => return Some(Err(address::unusable(error))),
        };
        let root = self.root.clone();
        let bucket = self.bucket.reopened(&address);
        let bucket = bucket.map_err(|source| Error::reading(path, source));
        Some(bucket.map(|bucket| Arc::new(Self { root, bucket }) as _))
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn fetched_bytes(&self) -> Option<u64> {
        Some(self.bucket.fetched())
    }

    fn cancel(&self) {
        self.bucket.cancel();
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>> {
        Ok(Arc::new(self.file(path)?))
    }

    /// By one request, without a temporary file.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let file = self.file(path)?;
        let mut bytes = vec![0; check_limit(file.len(), limit)?];
        file.read_once(&mut bytes, 0)?;
        Ok(bytes)
    }
}

impl ReadAt for RemoteFile {
    fn len(&self) -> u64 {
        self.len()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buf, offset)
    }

    fn read_once(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_once(buf, offset)
    }

    fn prepare(&self, ranges: &[Range<u64>]) {
        self.prepare(ranges);
    }

    fn is_pending(&self, range: &Range<u64>) -> bool {
        self.is_pending(range)
    }
}
