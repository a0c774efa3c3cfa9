//! An export into a bucket: staged and verified in a temporary directory, then uploaded.
//!
//! A bucket has no rename, so that an earlier export cannot be moved away and back. The order of an upload:
//!
//! 1. The parts of the weights are sent. They are not visible before the upload is completed, so that the longest
//!    step changes nothing. Weights of at most 16 MiB are sent whole, in step 3.
//! 2. The small files are written. The earlier ones are kept in memory; one that is the same already is not written.
//! 3. The uploads of the weights are completed, after another look for weights of another program.
//! 4. The weights are read again, if the store verified no checksum.
//! 5. Files of an earlier export in the other layout are removed.
//!
//! So **a bucket directory with `model.safetensors` is a complete export**, and one without it is incomplete. If a
//! step before the end of 4 fails, or is cancelled, everything is taken back: uploads are aborted, new objects
//! removed, and the earlier small files written again; the earlier weights were there all the time.
//!
//! Where the guarantee ends: a process that is *killed* during step 2 or 3 while it replaces an export leaves new
//! small files beside the earlier weights; converting again with `--force` repairs that. A killed process also
//! leaves its multipart upload open, as does a beginning whose answer is lost. Only a lifecycle rule of the bucket
//! removes those. If two models replace earlier ones, and the second cannot be completed, the first is the new one
//! and the second the earlier one, each complete.
//!
//! Two programs that write into the same directory: small files and weights that are sent whole are written only if
//! there is no object of their name (`If-None-Match`). For an upload in parts stores offer no such condition to this
//! program; it looks right before it completes. Objects are recognised as its own by a mark in their metadata.
//!
//! What is checked after the upload: small files are read again and compared byte by byte. Of the weights the length and
//! the mark or the ETag are compared; S3 verified the SHA-256 of each request, which is a part of its signature. Where
//! the store verified no checksum (Google's and Azure's, and S3 with `AWS_UNSIGNED_PAYLOAD`), the weights are read
//! again, too.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use remote_files::{MULTIPART_FROM, Mode, Outbox, Stored, Undo, Upload};
use tempfile::TempDir;

use super::export_files::ExportFiles;
use super::in_bucket::{InBucket, below, failed, unread};
use super::journal::NEW;
use crate::export::files::WEIGHTS_FILE;
use crate::export::{Error, STAGED_FOR_UPLOAD};
use crate::progress::{Phase, Watch};

/// The most bytes of an earlier small file: it is kept in memory. The largest vocabulary has a tenth of it.
const MAX_EARLIER: u64 = 64 << 20;

/// An export that is being written. Dropping it removes the temporary directory.
#[derive(Debug)]
pub(crate) struct BucketStage {
    folder: TempDir,
    outbox: Arc<Outbox>,
    files: ExportFiles,
    force: bool,
}

impl BucketStage {
    /// Creates the temporary directory for `files`.
    pub(crate) fn new(outbox: Arc<Outbox>, files: ExportFiles, force: bool) -> Result<Self, Error> {
        let folder = tempfile::Builder::new()
            .prefix(STAGED_FOR_UPLOAD)
            .tempdir()
            .map_err(Error::writing(&std::env::temp_dir()))?;
        let stage = Self {
            folder,
            outbox,
            files,
            force,
        };
        for folder in stage.files.folders() {
            let path = stage.path(folder);
            fs::create_dir_all(&path).map_err(Error::writing(&path))?;
        }
        Ok(stage)
    }

    /// Returns the temporary directory.
    pub(super) fn root(&self) -> &Path {
        self.folder.path()
    }

    fn path(&self, file: &Path) -> PathBuf {
        self.root().join(NEW).join(file)
    }

    /// Uploads all files. Returns warnings about objects that stay beside them.
    ///
    /// # Errors
    /// After an error the bucket is as it was before, except after [`Error::Unclean`].
    pub(crate) fn publish(self, watch: &Watch<'_>) -> Result<Vec<String>, Error> {
        let mut publication = Publication {
            stage: &self,
            watch,
            uploads: Vec::new(),
            undo: Vec::new(),
            replaced: Vec::new(),
        };
        let published = publication.run();
        published.map_err(|error| publication.take_back(error))
    }
}

/// An upload that is running.
struct Publication<'a> {
    stage: &'a BucketStage,
    watch: &'a Watch<'a>,
    /// Uploads of weights, in the order of the files.
    uploads: Vec<Upload>,
    /// What takes back the changes so far, with the directory of the model.
    undo: Vec<(String, Undo)>,
    /// Weights whose earlier ones are gone.
    replaced: Vec<String>,
}

/// A file to upload.
struct Staged {
    /// The path below the output directory.
    path: String,
    file: PathBuf,
    len: u64,
}

impl Staged {
    fn is_weights(&self) -> bool {
        is_weights(&self.path)
    }
}

impl Publication<'_> {
    fn run(&mut self) -> Result<Vec<String>, Error> {
        let (weights, small): (Vec<_>, Vec<_>) =
            self.staged()?.into_iter().partition(Staged::is_weights);
        let files = weights.iter().chain(&small);
        self.watch
            .begin(Phase::Uploading, files.map(|file| file.len).sum());
        self.find_existing()?;
        for file in weights.iter().filter(|file| file.len > MULTIPART_FROM) {
            self.send(file)?;
        }
        // Again: the parts took time.
        let (replaced, warnings) = self.find_existing()?;
        let (own, other): (Vec<_>, Vec<_>) =
            replaced.into_iter().partition(|path| self.is_own(path));
        self.write_small(&small, &own)?;
        self.watch.check()?;
        // From here on the upload is not cancelled between the models.
        for file in &weights {
            self.publish_weights(file, own.contains(&file.path))?;
        }
        self.compare_weights(&weights)?;
        Ok(self.remove_other(other, warnings))
    }

    /// Returns the staged files with their lengths.
    fn staged(&self) -> Result<Vec<Staged>, Error> {
        let files = self.stage.files.paths().iter();
        let staged = files.map(|path| {
            let file = self.stage.path(path);
            let metadata = fs::metadata(&file).map_err(Error::reading(&file))?;
            Ok(Staged {
                path: below(path),
                file,
                len: metadata.len(),
            })
        });
        staged.collect()
    }

    /// Returns the paths of the objects that are replaced or removed, and warnings.
    fn find_existing(&self) -> Result<(Vec<String>, Vec<String>), Error> {
        let place = InBucket::connect(&self.stage.outbox)?;
        let existing = self.stage.files.find_existing(&place, self.stage.force)?;
        let replaced = existing.replaced.iter().map(|path| below(path));
        Ok((replaced.collect(), existing.warnings))
    }

    /// Returns true for a path in a directory of the models of this export.
    fn is_own(&self, path: &str) -> bool {
        let folders = self.stage.files.folders().iter();
        folders
            .map(|folder| below(folder))
            .any(|own| own == folder(path))
    }

    /// Sends the parts of weights.
    fn send(&mut self, staged: &Staged) -> Result<(), Error> {
        self.watch.check()?;
        let outbox = &self.stage.outbox;
        let file = File::open(&staged.file).map_err(Error::reading(&staged.file))?;
        let upload = Upload::begin(outbox, &staged.path).map_err(self.failed(&staged.path))?;
        self.uploads.push(upload);
        let upload = self.uploads.last().expect("pushed above");
        let sent = upload.send(outbox, &file, staged.len, &|len| self.advance(len));
        sent.map_err(self.failed(&staged.path))
    }

    /// Writes the small files and removes those of an earlier export that this one does not have; `replaced` are the
    /// paths of the earlier ones, with those of weights, which are left alone.
    fn write_small(&mut self, small: &[Staged], replaced: &[String]) -> Result<(), Error> {
        let outbox = &self.stage.outbox;
        let earlier: Vec<String> = replaced
            .iter()
            .filter(|path| !is_weights(path))
            .cloned()
            .collect();
        let read = outbox.read_all(&earlier, MAX_EARLIER);
        let read = read.map_err(|(path, error)| self.too_large(&path, error))?;
        let mut earlier: BTreeMap<String, Stored> = earlier
            .into_iter()
            .zip(read)
            .filter_map(|(path, stored)| Some((path, stored?)))
            .collect();

        let mut new = Vec::new();
        let mut changed = Vec::new();
        for file in small {
            let bytes = fs::read(&file.file).map_err(Error::reading(&file.file))?;
            match earlier.remove(&file.path) {
                Some(stored) if *stored.bytes == *bytes => self.advance(file.len),
                Some(stored) => {
                    self.take_back_by(Undo::Restore(file.path.clone(), stored));
                    changed.push((file.path.clone(), bytes));
                }
                None => {
                    self.take_back_by(Undo::Remove(file.path.clone()));
                    new.push((file.path.clone(), bytes));
                }
            }
        }
        let unchecked: Vec<_> = new.iter().chain(&changed).cloned().collect();
        for (files, mode) in [(new, Mode::Create), (changed, Mode::Replace)] {
            let put = outbox.put_all(files, mode, &|len| self.advance(len));
            put.map_err(|(path, error)| self.failed(&path)(error))?;
        }
        for (path, stored) in earlier {
            self.take_back_by(Undo::Restore(path.clone(), stored));
            outbox.remove(&path).map_err(self.failed(&path))?;
        }
        self.compare(&unchecked)
    }

    /// Compares objects with what was written.
    fn compare(&self, files: &[(String, Vec<u8>)]) -> Result<(), Error> {
        let paths: Vec<String> = files.iter().map(|(path, _)| path.clone()).collect();
        let read = self.stage.outbox.read_all(&paths, MAX_EARLIER);
        let outbox = &self.stage.outbox;
        let read = read.map_err(|(path, error)| unread(outbox, &path)(error))?;
        for ((path, bytes), stored) in files.iter().zip(read) {
            if stored.is_none_or(|stored| *stored.bytes != **bytes) {
                let what = "the object differs from the file after the upload";
                return Err(self.failed(path)(io::Error::other(what)));
            }
        }
        Ok(())
    }

    /// Makes the weights visible and checks them.
    fn publish_weights(&mut self, staged: &Staged, is_replaced: bool) -> Result<(), Error> {
        let path = &staged.path;
        let outbox = &self.stage.outbox;
        let mode = if is_replaced {
            Mode::Replace
        } else {
            // An object of another program is recognised and stays.
            self.take_back_by(Undo::Remove(path.clone()));
            Mode::Create
        };
        let at = self.uploads.iter().position(|upload| upload.path() == path);
        if let Some(at) = at {
            let completed = self.uploads[at].complete(outbox, mode);
            completed.map_err(self.failed(path))?;
            self.uploads.remove(at);
        } else {
            let bytes = fs::read(&staged.file).map_err(Error::reading(&staged.file))?;
            let files = vec![(path.clone(), bytes)];
            let put = outbox.put_all(files, mode, &|len| self.advance(len));
            put.map_err(|(_, error)| self.failed(path)(error))?;
        }
        if is_replaced {
            // The earlier weights are gone: the new small files belong to the new ones.
            let own = folder(path);
            self.undo.retain(|(folder, _)| folder != own);
            self.replaced.push(path.clone());
        }
        outbox.check(path, staged.len).map_err(self.failed(path))
    }

    /// Reads weights again, unless the store verified them.
    fn compare_weights(&self, weights: &[Staged]) -> Result<(), Error> {
        let outbox = &self.stage.outbox;
        if outbox.verifies_uploads().map_err(self.failed(""))? {
            return Ok(());
        }
        let total = weights.iter().map(|file| file.len).sum();
        self.watch.begin(Phase::ReadingBack, total);
        for staged in weights {
            let file = File::open(&staged.file).map_err(Error::reading(&staged.file))?;
            let compared =
                outbox.compare(&staged.path, &file, staged.len, &|len| self.advance(len));
            compared.map_err(self.failed(&staged.path))?;
        }
        Ok(())
    }

    /// Removes the objects of an earlier export in the other layout, weights first. The new export is complete: what
    /// cannot be removed is a warning.
    fn remove_other(&self, mut paths: Vec<String>, mut warnings: Vec<String>) -> Vec<String> {
        paths.sort_by_key(|path| !is_weights(path));
        for path in paths {
            if let Err(error) = self.stage.outbox.remove(&path) {
                let url = self.stage.outbox.url(&path);
                warnings.push(format!(
                    "{url} belongs to the earlier export and cannot be removed: {error}"
                ));
            }
        }
        warnings
    }

    fn take_back_by(&mut self, undo: Undo) {
        self.undo.push((folder(undo.path()).to_owned(), undo));
    }

    /// Takes all changes back after `error`, weights first. Returns the error to report.
    fn take_back(self, error: Error) -> Error {
        let outbox = &self.stage.outbox;
        let undo = self.undo.into_iter().map(|(_, undo)| undo);
        let (weights, mut others): (Vec<_>, Vec<_>) =
            undo.partition(|undo| is_weights(undo.path()));
        others.extend(self.uploads.into_iter().map(Undo::Abort));
        let mut failures = outbox.undo(weights);
        failures.extend(outbox.undo(others));
        if failures.is_empty() && self.replaced.is_empty() {
            return error;
        }
        let replaced = self.replaced.iter().map(|path| {
            let url = outbox.url(path);
            format!("{url} (the new weights, which replaced the earlier ones; convert again with --force)")
        });
        let left = failures.into_iter().map(|(undo, reason)| {
            let url = outbox.url(undo.path());
            match undo {
                Undo::Abort(_) => format!("the multipart upload of {url} (abort it: {reason})"),
                Undo::Remove(_) => format!("{url} (remove it: {reason})"),
                Undo::Restore(..) => format!("{url} (it replaced an earlier file: {reason})"),
            }
        });
        Error::Unclean {
            left: replaced.chain(left).collect::<Vec<_>>().join(", "),
            failed: Box::new(error),
        }
    }

    fn too_large(&self, path: &str, error: io::Error) -> Error {
        let error = match error.kind() {
            io::ErrorKind::FileTooLarge => io::Error::new(
                error.kind(),
                format!(
                    "the earlier file is larger than {} MiB, so that it could not be restored after a failure; \
                     remove it first",
                    MAX_EARLIER >> 20
                ),
            ),
            _ => error,
        };
        unread(&self.stage.outbox, path)(error)
    }

    fn failed(&self, path: &str) -> impl FnOnce(io::Error) -> Error {
        failed(&self.stage.outbox, path)
    }

    /// Reports progress. A cancellation reaches the outbox by another way.
    fn advance(&self, len: u64) {
        let _ = self.watch.advance(len);
    }
}

/// Returns the directory of a file.
fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn is_weights(path: &str) -> bool {
    path.rsplit('/').next() == Some(WEIGHTS_FILE)
}
