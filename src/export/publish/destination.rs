//! Where an export goes: a directory on a disk, or one in a bucket (feature `cloud`).

use std::fs;
use std::path::{Path, PathBuf};
#[cfg(feature = "cloud")]
use std::sync::Arc;

#[cfg(feature = "cloud")]
use remote_files::{Address, Outbox};
use tf_checkpoint::address::{self, Use};
use tf_checkpoint::storage::regular;

#[cfg(feature = "cloud")]
use super::bucket_stage::BucketStage;
use super::disk_stage::{DiskStage, STAGING};
use super::export_files::ExportFiles;
use super::files::find;
#[cfg(feature = "cloud")]
use super::in_bucket::{InBucket, below, unread};
use super::journal::{JOURNAL, NEW};
use crate::export::Error;
use crate::progress::Watch;

/// The subdirectory of the staging directory for files that are not published.
const SCRATCH: &str = "scratch";

/// The output directory.
#[derive(Clone, Debug)]
pub(crate) enum Destination {
    Disk(PathBuf),
    #[cfg(feature = "cloud")]
    Bucket(Arc<Outbox>),
}

impl Destination {
    /// Returns the destination for a path or a URL. Nothing is asked of a network.
    ///
    /// # Errors
    /// If it is a URL that cannot be written to.
    pub(crate) fn of(out: &Path) -> Result<Self, Error> {
        address::refuse(out, Use::Output)?;
        #[cfg(feature = "cloud")]
        if let Some(Ok(address)) = out.to_str().and_then(Address::parse) {
            return Ok(Self::Bucket(Arc::new(Outbox::new(address))));
        }
        Ok(Self::Disk(out.to_owned()))
    }

    /// Returns the path or the URL of a file, given by its path below the output directory.
    pub(crate) fn path(&self, file: &Path) -> PathBuf {
        match self {
            Self::Disk(out) => out.join(file),
            #[cfg(feature = "cloud")]
            Self::Bucket(outbox) => InBucket::url(outbox, file),
        }
    }

    /// Reads a small file; `None` if it does not exist.
    ///
    /// # Errors
    /// If the file cannot be read, or is longer than `limit`.
    pub(crate) fn read(&self, file: &Path, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        match self {
            Self::Disk(out) => {
                let path = out.join(file);
                match find(&path)? {
                    None => Ok(None),
                    Some(_) => regular::read(&path, limit).map(Some),
                }
                .map_err(Error::reading(&path))
            }
            #[cfg(feature = "cloud")]
            Self::Bucket(outbox) => {
                outbox.connect().map_err(unread(outbox, ""))?;
                let path = below(file);
                let read = outbox.read_all(std::slice::from_ref(&path), limit);
                let mut read = read.map_err(|(path, error)| unread(outbox, &path)(error))?;
                Ok(read.pop().flatten().map(|stored| stored.bytes.to_vec()))
            }
        }
    }

    /// Returns the length of a file in bytes; `None` if it does not exist.
    pub(crate) fn len(&self, file: &Path) -> Result<Option<u64>, Error> {
        match self {
            Self::Disk(out) => Ok(find(&out.join(file))?.map(|found| found.len())),
            #[cfg(feature = "cloud")]
            Self::Bucket(outbox) => {
                outbox.connect().map_err(unread(outbox, ""))?;
                let path = below(file);
                outbox.len(&path).map_err(unread(outbox, &path))
            }
        }
    }

    /// Returns true if a conversion was killed while it moved files into the directory, or is moving them now.
    pub(crate) fn is_unfinished(&self) -> Result<bool, Error> {
        match self {
            Self::Disk(out) => Ok(find(&out.join(STAGING).join(JOURNAL))?.is_some()),
            #[cfg(feature = "cloud")]
            Self::Bucket(_) => Ok(false),
        }
    }

    /// Removes what a killed conversion left in the directory, as [`Stage::new`] would. If it had moved some of its files,
    /// that is done only if `takes_back`: afterwards the directory is as it was before the killed conversion.
    ///
    /// # Errors
    /// [`Error::Busy`] if another conversion is writing into it now, or an error of the disk.
    pub(crate) fn recover(&self, takes_back: bool) -> Result<(), Error> {
        match self {
            Self::Disk(out) => DiskStage::recover(out, takes_back),
            #[cfg(feature = "cloud")]
            Self::Bucket(_) => Ok(()),
        }
    }

    /// Returns true if files are uploaded over a network.
    pub(crate) fn is_remote(&self) -> bool {
        !matches!(self, Self::Disk(_))
    }

    /// Ends all requests that wait for a network, with an error, except those that clean up.
    pub(crate) fn cancel(&self) {
        match self {
            Self::Disk(_) => {}
            #[cfg(feature = "cloud")]
            Self::Bucket(outbox) => outbox.cancel(),
        }
    }

    /// Connects to a bucket and looks for files that conflict with the export, before anything is read of the
    /// checkpoint. On a disk [`Stage::new`] does, once it holds the lock.
    ///
    /// # Errors
    /// If there are no credentials, the store refuses to list, or a file conflicts.
    #[cfg_attr(
        not(feature = "cloud"),
        expect(clippy::unnecessary_wraps, reason = "a bucket may refuse")
    )]
    pub(crate) fn check(&self, files: &ExportFiles, force: bool) -> Result<(), Error> {
        match self {
            Self::Disk(_) => {
                let _ = (files, force);
                Ok(())
            }
            #[cfg(feature = "cloud")]
            Self::Bucket(outbox) => {
                let place = InBucket::connect(outbox)?;
                files.find_existing(&place, force).map(drop)
            }
        }
    }
}

/// An export that is being written. Dropping it removes what was written.
#[derive(Debug)]
pub(crate) enum Stage {
    Disk(Box<DiskStage>),
    #[cfg(feature = "cloud")]
    Bucket(Box<BucketStage>),
}

impl Stage {
    /// Creates the staging directory for `files`.
    ///
    /// # Errors
    /// On a disk, if a file of an export exists and `force` is not given, or another conversion is writing into the
    /// output directory.
    pub(crate) fn new(
        destination: &Destination,
        files: ExportFiles,
        force: bool,
    ) -> Result<Self, Error> {
        Ok(match destination {
            Destination::Disk(out) => Self::Disk(Box::new(DiskStage::new(out, files, force)?)),
            #[cfg(feature = "cloud")]
            Destination::Bucket(outbox) => Self::Bucket(Box::new(BucketStage::new(
                Arc::clone(outbox),
                files,
                force,
            )?)),
        })
    }

    /// Returns where to write a file, given by its path below the output directory.
    pub(crate) fn path(&self, file: &Path) -> PathBuf {
        self.root().join(NEW).join(file)
    }

    /// Creates a directory for files that are needed during the conversion and are not published.
    pub(crate) fn scratch(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.root().join(SCRATCH).join(name);
        fs::create_dir_all(&path).map_err(Error::writing(&path))?;
        Ok(path)
    }

    fn root(&self) -> &Path {
        match self {
            Self::Disk(stage) => stage.root(),
            #[cfg(feature = "cloud")]
            Self::Bucket(stage) => stage.root(),
        }
    }

    /// Moves or uploads all files to their places. Returns warnings about files that stay beside them.
    ///
    /// # Errors
    /// After an error the output directory is as it was before, except after [`Error::Stranded`] and
    /// [`Error::Unclean`].
    pub(crate) fn publish(self, watch: &Watch<'_>) -> Result<Vec<String>, Error> {
        match self {
            Self::Disk(stage) => {
                // Moves take no time.
                let _ = watch;
                stage.publish()
            }
            #[cfg(feature = "cloud")]
            Self::Bucket(stage) => stage.publish(watch),
        }
    }
}
